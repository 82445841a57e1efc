/*
 * settle.c - answer a command when the lanes do what it said.
 *
 * Runs in: the broker. Trusts: nothing of the lanes but that an answer comes
 * after the plan that was sent before the question, on the same channel.
 *
 * LOOKING, every SETTLE_LOOK_NS, until no port is on its way; then ASKING each
 * lane with a plan that it has not been seen to know, until all have answered.
 */
#include "broker/settle.h"

#include "broker/core_state.h"
#include "broker/crossover.h"
#include "broker/ports.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <stdlib.h>

#define SETTLE_LOOK_NS UINT64_C(500000)
#define SETTLE_NS_MAX  UINT64_C(1000000000)

/* One lane that was asked. */
struct settle_ask {
	struct control_ask ask; /* first: it is what the answer comes with */
	struct settle *settle;  /* borrowed */
	struct island *island;  /* borrowed; valid when it answers */
	uint32_t serial;
};

struct settle {
	struct core *core; /* borrowed */
	void (*done)(void *self);
	void *self;
	struct timer *look; /* owned */
	uint64_t end_ns;
	struct settle_ask *asks; /* owned; NULL while looking */
	size_t ask_count;
	size_t open; /* asked and not told */
};

static void
finish(struct settle *s)
{
	for (size_t k = 0; k < s->ask_count; k++)
		control_ask_cancel(&s->asks[k].ask);
	timer_free(s->look);
	s->done(s->self);
	free(s->asks);
	free(s);
}

/* Is every port where its plan wants it, and nobody behind the lanes' backs? */
static bool
all_arrived(const struct islands *all)
{
	const struct island *i;

	TAILQ_FOREACH (i, &all->list, entry)
		if (i->wanted_count > 0 && i->state != IS_READY)
			return false;
	for (uint32_t n = 0; n < LAUNCH_SLOTS; n++) {
		const struct port *p = all->ports[n];

		if (p &&
		    (p->state == PORT_DETACHING || p->state == PORT_ASKING ||
			(p->want && port_is_coming(p, p->want))))
			return false;
	}
	return crossovers_settled(all->crossovers);
}

static void
told(struct control_ask *a, const uint64_t *counters, size_t count)
{
	struct settle_ask *sa = (struct settle_ask *)a;

	(void)counters;
	if (count > 0)
		sa->island->synced = sa->serial;
	if (--sa->settle->open == 0)
		finish(sa->settle);
}

static void
ask_lanes(struct settle *s)
{
	struct islands *all = s->core->islands;
	struct island *i;
	size_t n = 0;

	TAILQ_FOREACH (i, &all->list, entry)
		n += i->state == IS_READY && i->sent_count > 0 &&
		     i->synced != i->serial;
	s->asks = calloc(n + 1, sizeof *s->asks);
	if (!s->asks || n == 0) {
		finish(s);
		return;
	}
	s->open = 1; /* ours: nobody finishes while we ask */
	TAILQ_FOREACH (i, &all->list, entry) {
		struct settle_ask *sa = &s->asks[s->ask_count];

		if (s->ask_count == n || i->state != IS_READY ||
		    i->sent_count == 0 || i->synced == i->serial)
			continue;
		*sa = (struct settle_ask){.ask.told = told,
		    .settle = s,
		    .island = i,
		    .serial = i->serial};
		s->ask_count++;
		s->open++;
		control_ask_port(i->control, &sa->ask, i->sent[0].port);
	}
	if (--s->open == 0)
		finish(s);
	else
		timer_set_ns(s->look, SETTLE_NS_MAX);
}

static void
look(void *self)
{
	struct settle *s = self;

	if (s->asks || sys_mono_ns() >= s->end_ns)
		finish(s);
	else if (all_arrived(s->core->islands))
		ask_lanes(s);
	else
		timer_set_ns(s->look, SETTLE_LOOK_NS);
}

void
core_settle(struct core *c, void (*done)(void *self), void *self)
{
	struct settle *s = calloc(1, sizeof *s);

	if (s)
		s->look = timer_new(c->loop, look, s);
	if (!s || !s->look) {
		free(s);
		done(self);
		return;
	}
	s->core = c;
	s->done = done;
	s->self = self;
	s->end_ns = sys_mono_ns() + SETTLE_NS_MAX;
	look(s);
}
