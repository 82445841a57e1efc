/*
 * islands.c - which lane serves which ports, and with which plan.
 *
 * Runs in: the broker. Trusts: the launcher; nothing from outside gets here.
 * Specification: DESIGN 1, 4, 7.
 *
 * Theory of operation: a lane has at most one island in its life. It is made
 * as the spare, becomes the lane of an island when one needs it, and ends
 * (unwanted) when no port wants it or is still in it. Whoever dies between is
 * started again in the same slot with the next epoch (island.c).
 */
#include "broker/islands.h"

#include "broker/arena.h"
#include "broker/crossover.h"
#include "broker/launch_client.h"
#include "broker/ports.h"
#include "proto/chan.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <stdlib.h>

/* --- plans --- */

static const struct plan_port *
find_sent(const struct island *i, uint32_t port)
{
	for (size_t k = 0; k < i->sent_count; k++)
		if (i->sent[k].port == port)
			return &i->sent[k];
	return NULL;
}

static bool
plans_equal(const struct plan_port *a, const struct plan_port *b, size_t n)
{
	for (size_t k = 0; k < n; k++)
		if (a[k].port != b[k].port || a[k].group != b[k].group ||
		    a[k].link_up != b[k].link_up || a[k].drop != b[k].drop)
			return false;
	return true;
}

/* The wanted plan; without the ports that are new while some are coming. */
static size_t
plan_now(const struct island *i, struct plan_port *out, bool *whole)
{
	size_t n = 0;

	*whole = true;
	for (size_t k = 0; k < i->wanted_count; k++)
		if (port_is_coming(i->all->ports[i->wanted[k].port], i))
			*whole = false;
	for (size_t k = 0; k < i->wanted_count; k++)
		if (*whole || find_sent(i, i->wanted[k].port))
			out[n++] = i->wanted[k];
	return n;
}

void
island_push(struct island *i)
{
	struct ctl_plan m = {0};
	struct plan_port *now;
	bool whole;
	size_t n;

	if (i->state != IS_READY)
		return;
	now = calloc(i->wanted_count + 1, sizeof *now);
	if (!now) {
		island_fault(i, "out of memory for its plan");
		return;
	}
	n = plan_now(i, now, &whole);
	if (n != i->sent_count || !plans_equal(now, i->sent, n)) {
		free(i->sent);
		i->sent = now;
		i->sent_count = n;
		m.serial = ++i->serial;
		m.ports.count = n;
		m.ports.items = now;
		if (ctl_send_plan(control_chan(i->control), 0, &m) < 0) {
			island_fault(i, "takes no messages");
			return;
		}
	} else {
		free(now);
	}
	if (whole && i->returning) {
		i->returning = false;
		i->all->ops->restarted(
		    i->all->self, i, sys_mono_ns() - i->died_ns);
	}
}

/* --- which lanes there are --- */

void
islands_tidy(struct islands *all)
{
	struct island *i, *next;

	TAILQ_FOREACH (i, &all->list, entry)
		i->needed = i->wanted_count > 0 || i == all->spare;
	for (uint32_t n = 0; n < LAUNCH_SLOTS; n++) {
		const struct port *p = all->ports[n];

		if (p && p->want)
			p->want->needed = true;
		if (p && p->lane)
			p->lane->needed = true;
	}
	for (i = TAILQ_FIRST(&all->list); i; i = next) {
		next = TAILQ_NEXT(i, entry);
		if (i->needed || i->unwanted)
			continue;
		i->unwanted = true;
		if (island_may(i, IE_RETIRE))
			island_step(i, IE_RETIRE);
	}
}

static void
need_spare(struct islands *all)
{
	if (!all->spare && !all->stopping)
		all->spare = island_new(all);
}

void
islands_start(struct islands *all)
{
	need_spare(all);
}

void
islands_stop(struct islands *all)
{
	all->stopping = true;
}

/* One island's share of a new plan, made ready before anything changes. */
struct share {
	struct island *island;
	struct plan_port *ports; /* owned */
	size_t count;
};

static void
shares_free(struct share *s, uint32_t count)
{
	for (uint32_t k = 0; s && k < count; k++)
		free(s[k].ports);
	free(s);
}

/* A lane for the island: the one that has its ports, the spare, a new one. */
static int
find_lane(struct islands *all, uint32_t number, struct share *s, struct err *e)
{
	if (number != PLAN_LANE_NONE)
		s->island = all->by_number[number];
	if (!s->island && all->spare) {
		s->island = all->spare;
		all->spare = NULL;
	}
	if (!s->island)
		s->island = island_new(all);
	if (!s->island)
		return err_set(e, -ENOSPC, "there is no room for another lane");
	return 0;
}

static int
make_shares(struct islands *all, const struct plan *plan, struct share *s,
    struct err *e)
{
	uint32_t *lane_of = calloc(plan->count + 1, sizeof *lane_of);
	uint32_t *lane = calloc(plan->islands + 1u, sizeof *lane);
	int rc = -ENOMEM;

	for (size_t k = 0; k < plan->count && lane_of; k++) {
		const struct island *i = all->ports[plan->ports[k].port]->want;

		lane_of[k] = i ? i->number : PLAN_LANE_NONE;
	}
	if (lane_of && lane)
		rc = plan_place(plan, lane_of, lane);
	if (rc < 0)
		(void)err_set(e, rc, "out of memory");
	for (uint32_t n = 0; n < plan->islands && rc == 0; n++)
		rc = find_lane(all, lane[n], &s[n], e);
	for (size_t k = 0; k < plan->count && rc == 0; k++)
		s[plan->ports[k].island].count++;
	for (uint32_t n = 0; n < plan->islands && rc == 0; n++) {
		s[n].ports = calloc(s[n].count + 1, sizeof *s[n].ports);
		s[n].count = 0;
		if (!s[n].ports)
			rc = err_set(e, -ENOMEM, "out of memory");
	}
	for (size_t k = 0; k < plan->count && rc == 0; k++) {
		const struct plan_entry *p = &plan->ports[k];
		struct share *to = &s[p->island];

		to->ports[to->count++] =
		    (struct plan_port){p->port, p->group, p->link_up, p->drop};
	}
	free(lane_of);
	free(lane);
	return rc;
}

static void
install(struct islands *all, struct share *s, uint32_t count)
{
	struct island *i;

	TAILQ_FOREACH (i, &all->list, entry)
		i->wanted_count = 0;
	for (uint32_t n = 0; n < count; n++) {
		i = s[n].island;
		free(i->wanted);
		i->wanted = ptr_take(s[n].ports);
		i->wanted_count = s[n].count;
	}
}

/* Where each port of the plan belongs; the others belong nowhere. */
static void
want_all(struct islands *all)
{
	struct island *home[LAUNCH_SLOTS] = {NULL};
	struct island *i;

	TAILQ_FOREACH (i, &all->list, entry)
		for (size_t k = 0; k < i->wanted_count; k++)
			home[i->wanted[k].port] = i;
	for (uint32_t n = 0; n < LAUNCH_SLOTS; n++)
		if (all->ports[n])
			port_want(all->ports[n], home[n]);
}

int
islands_apply(struct islands *all, const struct plan *plan, struct err *e)
{
	struct share *s = calloc(plan->islands + 1u, sizeof *s);
	struct island *i;
	int rc;

	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	rc = make_shares(all, plan, s, e);
	if (rc == 0) {
		install(all, s, plan->islands);
		want_all(all);
		/* The old plans first: they stop what is about to move. */
		TAILQ_FOREACH (i, &all->list, entry)
			island_push(i);
		for (uint32_t n = 0; n < LAUNCH_SLOTS; n++)
			if (all->ports[n])
				port_settle(all->ports[n]);
	}
	crossovers_look(all->crossovers);
	arenas_look(all->arenas);
	islands_tidy(all);
	need_spare(all);
	shares_free(s, plan->islands);
	return rc;
}

struct islands *
islands_new(struct loop *l, struct launch_client *launch,
    const struct islands_ops *ops, void *self)
{
	struct islands *all = calloc(1, sizeof *all);

	if (!all)
		return NULL;
	TAILQ_INIT(&all->list);
	all->loop = l;
	all->launch = launch;
	all->ops = ops;
	all->self = self;
	all->crossovers = crossovers_new(all);
	all->arenas = arenas_new(all);
	if (!all->crossovers || !all->arenas)
		islands_free(ptr_take(all));
	return all;
}

void
islands_free(struct islands *all)
{
	struct island *i;

	if (!all)
		return;
	all->spare = NULL;
	while ((i = TAILQ_FIRST(&all->list)))
		island_free(i);
	crossovers_free(all->crossovers);
	arenas_free(all->arenas);
	free(all);
}
