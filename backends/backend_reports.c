/*
 * backend_reports.c - what a nic tells of its guest: its receive filter, what
 * its driver agreed to; and what it is told: the link that the guest sees.
 *
 * Runs in: every backend; only nic calls it.
 * Trusts: the broker for its options. The state itself is the guest's word and
 * is told as such.
 * Specification: schema/control.json (rx-filter, nic-state, nic-taken, link).
 *
 * A guest can send commands as fast as they are answered. So one message at
 * most is on its way: the next goes when the broker has taken it, with the
 * state of then.
 */
#include "backends/backend_state.h"

#include "proto/chan.h"

#include "gen/control.h"

/* `out` borrows the arrays of *f. */
static void
fill_state(struct rx_filter_state *out, struct rx_filter *f)
{
	*out = (struct rx_filter_state){
	    .known = f->known,
	    .promiscuous = f->promisc,
	    .all_multicast = f->allmulti,
	    .all_unicast = f->alluni,
	    .no_multicast = f->nomulti,
	    .no_unicast = f->nouni,
	    .no_broadcast = f->nobcast,
	    .unicast_overflow = f->uni_overflow,
	    .multicast_overflow = f->multi_overflow,
	    .vlan_filter = f->vlan_filter,
	    .mac = f->mac,
	    .unicast = {f->uni_count, f->table},
	    .multicast = {f->multi_count, f->table + f->uni_count},
	    .vlans = {RX_FILTER_VIDS / 64, f->vlan},
	};
}

static void
tell_state(struct backend *be)
{
	struct backend_reports *r = &be->reports;
	const struct ctl_nic_state m = {
	    .features = r->features, .pairs = r->pairs};

	r->state_due = false;
	(void)ctl_send_nic_state(be->control, 0, &m);
}

static void
tell_filter(struct backend *be)
{
	struct backend_reports *r = &be->reports;
	struct ctl_rx_filter m = {.changed = r->changed};

	r->filter_due = false;
	r->changed = false;
	fill_state(&m.filter, &r->filter);
	(void)ctl_send_rx_filter(be->control, 0, &m);
}

void
backend_reports_go(struct backend *be)
{
	struct backend_reports *r = &be->reports;

	if (r->waiting || !be->ready || !be->control)
		return;
	if (!r->state_due && !r->filter_due)
		return;
	r->waiting = true;
	if (r->state_due)
		tell_state(be);
	else
		tell_filter(be);
}

void
backend_rx_filter(struct backend *be, const struct rx_filter *f, bool changed)
{
	be->reports.filter = *f;
	be->reports.filter_due = true;
	be->reports.changed |= changed;
	backend_reports_go(be);
}

void
backend_nic_state(struct backend *be, uint64_t features, unsigned pairs)
{
	struct backend_reports *r = &be->reports;

	if (r->features == features && r->pairs == pairs)
		return;
	r->features = features;
	r->pairs = pairs;
	r->state_due = true;
	backend_reports_go(be);
}

bool
backend_link_up(const struct backend *be)
{
	return be->link_up;
}

/* --- what the broker says ------------------------------------------------- */

int
backend_on_nic_taken(void *self, uint32_t seq, const struct ctl_nic_taken *m)
{
	struct backend *be = self;

	(void)seq;
	(void)m;
	be->reports.waiting = false;
	backend_reports_go(be);
	return 0;
}

int
backend_on_rx_filter_ask(
    void *self, uint32_t seq, const struct ctl_rx_filter_ask *m)
{
	struct backend *be = self;
	struct backend_reports *r = &be->reports;
	struct ctl_rx_filter_state answer = {.changed = r->changed};

	(void)m;
	r->filter_due = false;
	r->changed = false;
	fill_state(&answer.filter, &r->filter);
	(void)ctl_send_rx_filter_state(be->control, seq, &answer);
	return 0;
}

int
backend_on_link(void *self, uint32_t seq, const struct ctl_link *m)
{
	struct backend *be = self;

	(void)seq;
	if (be->link_up == m->up)
		return 0;
	be->link_up = m->up;
	if (be->type->link)
		be->type->link(be->self, m->up);
	return 0;
}
