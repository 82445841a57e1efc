/*
 * lane_filter.c - what a nic's guest does not want is not copied to it.
 *
 * Runs in: bulkhead-lane.
 * Trusts: the broker for the form of a filter; a guest chose what is in it.
 * A frame's head is read from the memory of its source, which can change it
 * before it is copied: then its receiver throws it away, or misses it.
 * Specification: DESIGN 4; proto/rx_filter.h.
 */
#include "broker/lane_filter.h"

#include "broker/filter_state.h"
#include "broker/lane_control.h"
#include "gen/control.h"
#include "proto/ring_copy.h"

const struct lane_pick *
lane_filter_pick(const struct port *p, const struct lane_batch *b, size_t n)
{
	struct lane_pick *pick = p->lane->pick;
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		const struct frame *f = &b->frame[i];

		if (!rx_filter_accepts(p->filter, f->data, f->len))
			continue;
		pick->batch.frame[kept] = *f;
		pick->before[kept++] = (uint8_t)i;
	}
	pick->before[kept] = (uint8_t)n;
	pick->batch.count = kept;
	pick->batch.record_bytes = b->record_bytes;
	return pick;
}

void
lane_filter_set(
    struct lane *l, uint32_t port, uint32_t epoch, const struct rx_filter *f)
{
	struct port *p = lane_port_find(l, port);
	struct rx_filter *place;

	if (p == NULL || !p->attached || p->epoch != epoch)
		return;
	p->filter = NULL;
	if (f == NULL || !f->known || f->promisc)
		return;
	/* What it does not want it may not see. */
	if (p->viewer.on)
		lane_arena_leave(l);
	place = &l->filter[p - l->port];
	*place = *f;
	p->filter = place;
}

int
lane_on_port_filter(void *self, uint32_t seq, const struct ctl_port_filter *m)
{
	struct lane_process *lp = self;
	struct rx_filter f;
	int rc = m->filter != NULL ? filter_state_to(&f, m->filter) : 0;

	(void)seq;
	if (rc == 0)
		lane_filter_set(
		    lp->lane, m->port, m->epoch, m->filter != NULL ? &f : NULL);
	return rc;
}
