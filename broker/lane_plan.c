/*
 * lane_plan.c - take a new plan between two batches.
 *
 * Runs in: bulkhead-lane.
 * Trusts: the broker, but not its arithmetic: a bad plan changes nothing.
 * Specification: DESIGN 4.
 */
#include "broker/lane.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Give back places that neither a plan nor a process refers to. */
static void
sweep(struct lane *l)
{
	for (size_t i = 0; i < l->port_count; i++) {
		struct port *p = &l->port[i];

		if (!p->planned && !p->attached && !p->faulted)
			p->used = false;
	}
	while (l->port_count > 0 && !l->port[l->port_count - 1].used)
		l->port_count--;
}

/* Find or make the place of each port; refuse a plan that names one twice. */
static int
check(struct lane *l, const struct plan_port *ports, size_t count)
{
	if (count > LANE_PORTS_MAX)
		return -ENOSPC;
	for (size_t i = 0; i < l->port_count; i++)
		l->port[i].named = false;
	for (size_t i = 0; i < count; i++) {
		struct port *p = lane_port_take(l, ports[i].port);

		if (p == NULL)
			return -ENOSPC;
		if (p->named)
			return -EINVAL;
		p->named = true;
	}
	return 0;
}

static int
by_group(const void *a, const void *b)
{
	const struct port *const *p = a;
	const struct port *const *q = b;

	if ((*p)->group != (*q)->group)
		return (*p)->group < (*q)->group ? -1 : 1;
	return (*p)->id < (*q)->id ? -1 : (*p)->id > (*q)->id;
}

/* Lay the link-up ports of each group side by side in l->member. */
static void
group(struct lane *l)
{
	size_t n = 0, first = 0;

	for (size_t i = 0; i < l->port_count; i++) {
		struct port *p = &l->port[i];

		p->member = NULL;
		p->member_count = 0;
		if (p->used && p->planned && p->link_up)
			l->member[n++] = p;
	}
	qsort(l->member, n, sizeof(struct port *), by_group);
	for (size_t i = 0; i < n; i++) {
		if (l->member[i]->group != l->member[first]->group)
			first = i;
		l->member[i]->member = &l->member[first];
	}
	/* Backwards: the last of a group knows how many there are. */
	for (size_t i = n; i-- > 0;) {
		struct port *p = l->member[i];
		size_t at = (size_t)(&l->member[i] - p->member);
		bool last = i + 1 == n || l->member[i + 1]->member != p->member;

		p->member_count =
		    last ? at + 1 : l->member[i + 1]->member_count;
	}
}

int
lane_plan(struct lane *l, uint32_t serial, const struct plan_port *ports,
    size_t count)
{
	int rc = check(l, ports, count);

	if (rc < 0) {
		sweep(l);
		return rc;
	}
	/* Who may see everything may be others now. */
	lane_arena_leave(l);
	for (size_t i = 0; i < l->port_count; i++) {
		lane_hold_end(&l->port[i]);
		l->port[i].planned = false;
	}
	for (size_t i = 0; i < count; i++) {
		struct port *p = lane_port_find(l, ports[i].port);

		p->planned = true;
		p->group = ports[i].group;
		p->link_up = ports[i].link_up;
		p->drop = ports[i].drop;
	}
	group(l);
	for (size_t i = 0; i < l->port_count; i++) {
		struct port *p = &l->port[i];

		if (!p->planned || !p->attached)
			lane_port_state(p, LP_OFF);
		else if (p->state == LP_OFF || p->state == LP_HELD)
			lane_port_state(p, LP_READY);
	}
	l->serial = serial;
	sweep(l);
	return 0;
}
