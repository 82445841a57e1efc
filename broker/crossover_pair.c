/*
 * crossover_pair.c - which two ports may be connected without a lane, the
 * record of two, and what has been between them before.
 *
 * Runs in: the broker. Trusts: the plan and the ports' records (our own).
 */
#include "broker/crossover_state.h"
#include "broker/islands.h"
#include "broker/launch_client.h"
#include "broker/ports.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <stdlib.h>

/* After trouble; doubled each time. */
#define AGAIN_NS        UINT64_C(1000000000)
#define AGAIN_SHIFT_MAX 6u

/* --- who may --- */

/* Two healthy ports that hear each other and nobody else. */
static bool
is_pair(const struct island *i)
{
	const struct plan_port *w = i->wanted;

	if (i->wanted_count != 2 || w[0].group != w[1].group)
		return false;
	for (int k = 0; k < 2; k++) {
		const struct port *p = i->all->ports[w[k].port];

		if (!w[k].link_up || w[k].drop || !p || !p->live ||
		    p->want != i || p->filter)
			return false;
	}
	return true;
}

static bool
is_in_lane(const struct port *p, const struct island *i)
{
	return p->state == PORT_ATTACHED && p->lane == i && p->epoch == p->live;
}

bool
cross_may_begin(const struct island *i)
{
	struct port *const *ports = i->all->ports;

	return island_is_ready(i) && is_pair(i) &&
	       is_in_lane(ports[i->wanted[0].port], i) &&
	       is_in_lane(ports[i->wanted[1].port], i);
}

/* May they stay? What happens to their lane is nothing to them. */
static bool
may_stay(const struct crossover *x)
{
	const struct cross_end *a = &x->end[0], *b = &x->end[1];
	const struct island *i;

	if (!x->all->on || !a->port || !b->port || a->gone || b->gone)
		return false;
	i = a->port->want;
	return i && b->port->want == i && is_pair(i) &&
	       a->epoch == a->port->live && b->epoch == b->port->live;
}

bool
cross_may_go_on(const struct crossover *x)
{
	if (x->state >= CX_PARTING)
		return true;
	return may_stay(x) &&
	       (x->state >= CX_MAKING || cross_may_begin(x->end[0].port->want));
}

/* --- the record of two --- */

struct crossover *
cross_new(
    struct crossovers *all, const struct island *i, void (*late)(void *self))
{
	struct crossover *x = calloc(1, sizeof *x);

	if (x)
		x->due = timer_new(all->islands->loop, late, x);
	if (!x || !x->due) {
		free(x);
		return NULL;
	}
	x->all = all;
	for (int k = 0; k < 2; k++) {
		struct port *p = all->islands->ports[i->wanted[k].port];

		x->end[k].port = p;
		x->end[k].epoch = p->live;
		p->crossover = x;
	}
	TAILQ_INSERT_TAIL(&all->list, x, entry);
	return x;
}

void
cross_free(struct crossover *x)
{
	launch_forget(x->all->islands->launch, x->ask);
	for (int k = 0; k < 2; k++)
		if (x->end[k].port)
			x->end[k].port->crossover = NULL;
	TAILQ_REMOVE(&x->all->list, x, entry);
	timer_free(x->due);
	free(x);
}

/* --- what was between two --- */

static struct cross_past *
past_at(const struct crossover *x, int k)
{
	return &x->all->past[x->end[k].port->number];
}

/* Kept at both: who was with a third one in between has lost his half. */
const struct cross_past *
cross_past(const struct crossover *x)
{
	for (int k = 0; k < 2; k++) {
		const struct cross_past *past = past_at(x, k);
		const struct cross_end *o = &x->end[!k];

		if (past->epoch == x->end[k].epoch &&
		    past->other == o->port->number &&
		    past->other_epoch == o->epoch)
			return past;
	}
	return NULL;
}

/* While both live, their ports do. */
void
cross_remember(struct crossover *x, bool never)
{
	const struct cross_past *before;
	struct cross_past now = {.never = never, .tries = 1};
	unsigned shift = 0;

	if (!x->end[0].port || !x->end[1].port)
		return;
	before = cross_past(x);
	if (before) {
		shift = before->tries;
		now.tries = shift < AGAIN_SHIFT_MAX ? shift + 1 : shift;
	}
	now.again_ns = sys_mono_ns() + (AGAIN_NS << shift);
	for (int k = 0; k < 2; k++) {
		now.epoch = x->end[k].epoch;
		now.other = x->end[!k].port->number;
		now.other_epoch = x->end[!k].epoch;
		*past_at(x, k) = now;
	}
}

void
cross_forgive(struct crossover *x)
{
	for (int k = 0; k < 2; k++)
		past_at(x, k)->tries = 0;
}
