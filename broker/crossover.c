/*
 * crossover.c - the life of a crossover between two backends.
 *
 * Runs in: the broker. Trusts: the launcher. Backends are checked: what they
 * may not say now is a fault, what they do not say has a deadline, and of two
 * who accuse each other none is believed, but they are kept apart.
 * Specification: schema/control.json (cross and what follows it).
 *
 * Theory of operation: WAITING and ASKING are our own business, and end without
 * a trace. From MAKING on two processes know of it, and the way out is one:
 * `uncross` to both, so that no frame can come through the lane before an older
 * one has been put into the crossover; when both have stopped, or one hangs,
 * `cross-end`. Who has died stops without being asked. The last report frees
 * the record. crossovers_look() compares all with what plans and ports say
 * now; every event ends in it.
 */
#include "broker/crossover_state.h"
#include "broker/islands.h"
#include "broker/launch_client.h"
#include "broker/netdev.h"
#include "broker/ports.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <stdlib.h>

#define MS UINT64_C(1000000)

/* Without any change, before two are connected. */
#define CALM_NS (200 * MS)
/* From `uncross` until we go on without the answer: it comes when the lane has
 * taken what was before the crossover, and the lane may have to be started. */
#define PART_NS (250 * MS)
/* On for so long: earlier trouble is forgotten. */
#define FORGIVE_NS (60000 * MS)

static uint64_t
deadline_ns(enum ctl_id id)
{
	return ctl_deadline_ms(id) * MS;
}

struct cross_end *
cross_other(struct crossover *x, const struct cross_end *e)
{
	return &x->end[e == &x->end[0]];
}

struct crossover *
crossover_at(const struct port *p, uint32_t serial, struct cross_end **end)
{
	struct crossover *x = p->crossover;

	if (!x || x->state < CX_MAKING || x->serial != serial)
		return NULL;
	*end = &x->end[x->end[0].port != p];
	return (*end)->epoch == p->live ? x : NULL;
}

static const char *
name_of(const struct cross_end *e)
{
	return e->port ? e->port->ops->name(e->port->self) : "";
}

/* --- the end --- */

/* Is anybody's report still to come? Frees the record if not. */
static void
look_done(struct crossover *x)
{
	for (int k = 0; k < 2; k++)
		if (!x->end[k].gone && !x->end[k].reported)
			return;
	cross_count_silent(x);
	cross_free(x);
}

/* Who has reported has stopped, whether it said so or not. */
static bool
owes(const struct cross_end *e)
{
	return e->owes && !e->gone && !e->reported;
}

static bool
is_owed(const struct crossover *x)
{
	return owes(&x->end[0]) || owes(&x->end[1]);
}

static void
look_late(struct crossover *x)
{
	if (!is_owed(x))
		timer_stop(x->due);
	else if (!timer_pending(x->due))
		timer_set_ns(x->due, deadline_ns(CTL_UNCROSS));
}

/* Nobody puts anything into it any more. */
static void
end(struct crossover *x)
{
	x->state = CX_ENDING;
	timer_stop(x->due);
	look_late(x);
	for (int k = 0; k < 2; k++)
		cross_send_end(x, &x->end[k]);
	for (int k = 0; k < 2; k++) {
		struct port *p = x->end[k].port;

		/* Who leaves has waited for this (crossover_holds()). */
		if (p && !x->end[k].gone && port_is_away(p))
			p->ops->away(p->self);
	}
	look_done(x);
}

static void
tell_off(const struct crossover *x, const char *reason)
{
	if (x->state == CX_ON)
		log_event(LOG_INFO, "cross.off", "id=%s other=%s reason=%s",
		    name_of(&x->end[0]), name_of(&x->end[1]),
		    log_quote(reason));
}

/* They are kept apart from now on. `from`: who says so; NULL: we. */
static void
tell_fault(
    const struct crossover *x, const struct cross_end *from, const char *reason)
{
	log_event(LOG_WARN, "cross.fault", "id=%s other=%s from=%s reason=%s",
	    name_of(&x->end[0]), name_of(&x->end[1]),
	    from ? name_of(from) : "-", log_quote(reason));
}

/* It must end; of MAKING and ON. */
static void
part(struct crossover *x, const char *reason)
{
	tell_off(x, reason);
	x->state = CX_PARTING;
	timer_set_ns(x->due, PART_NS);
	for (int k = 0; k < 2; k++)
		cross_send_uncross(x, &x->end[k]);
}

/* That end does nothing more with it. The record may be freed. */
static void
lose(struct crossover *x, struct cross_end *e, const char *reason)
{
	e->gone = true;
	if (x->state < CX_ENDING) {
		tell_off(x, reason);
		end(x);
		return;
	}
	look_late(x);
	cross_send_end(x, cross_other(x, e));
	look_done(x);
}

/* --- the beginning --- */

static void
make(struct crossover *x, const int fds[6])
{
	if (++x->all->serial == 0)
		x->all->serial = 1;
	x->serial = x->all->serial;
	x->state = CX_MAKING;
	timer_set_ns(x->due, deadline_ns(CTL_CROSS));
	cross_send(x, 0, fds);
	cross_send(x, 1, fds + 3);
}

/* The launcher has made what they share; or cannot, for now. */
static void
made(void *self, const struct launch_msg *m, int *fds)
{
	struct crossover *x = self;
	struct crossovers *all = x->all;
	bool whole = m->result.error == 0;

	x->ask = 0;
	for (int i = 0; i < 6; i++)
		whole = whole && fds[i] >= 0;
	if (whole && cross_may_go_on(x)) {
		make(x, fds);
	} else {
		if (!whole)
			cross_remember(x, false);
		cross_free(x);
	}
	crossovers_look(all);
}

static void
ask(struct crossover *x)
{
	const struct cross_end *a = &x->end[0], *b = &x->end[1];
	struct launch_msg m = {.type = LAUNCH_CROSS, .slot = a->port->number};

	m.cross.epoch = a->epoch;
	m.cross.other = b->port->number;
	m.cross.other_epoch = b->epoch;
	x->ask = launch_ask(x->all->islands->launch, &m, -1, made, x);
	if (x->ask == 0)
		timer_set_ns(x->due, CALM_NS);
	else
		x->state = CX_ASKING;
}

static void late(void *self);

static uint64_t
wait_ns(const struct cross_past *past)
{
	uint64_t now_ns = sys_mono_ns();

	if (past && past->again_ns > now_ns + CALM_NS)
		return past->again_ns - now_ns;
	return CALM_NS;
}

/* Two that may be connected and are not: the time begins to run. */
static void
begin(struct crossovers *all, const struct island *i)
{
	struct crossover *x = cross_new(all, i, late);
	const struct cross_past *past;

	if (!x)
		return; /* the lane does as well; next time */
	past = cross_past(x);
	if (past && past->never)
		cross_free(x);
	else
		timer_set_ns(x->due, wait_ns(past));
}

/* --- all of them --- */

static void
end_some(struct crossovers *all)
{
	struct crossover *x, *next;

	for (x = TAILQ_FIRST(&all->list); x; x = next) {
		next = TAILQ_NEXT(x, entry);
		if (cross_may_go_on(x))
			continue;
		if (x->state < CX_MAKING)
			cross_free(x);
		else
			part(x, "no longer two that hear each other");
	}
}

static void
begin_some(struct crossovers *all)
{
	const struct island *i;

	if (!all->on)
		return;
	TAILQ_FOREACH (i, &all->islands->list, entry)
		if (cross_may_begin(i) &&
		    !all->islands->ports[i->wanted[0].port]->crossover &&
		    !all->islands->ports[i->wanted[1].port]->crossover)
			begin(all, i);
}

/* One of those who must be killed; the port comes back as dead. */
static bool
fault_one(struct crossovers *all)
{
	struct crossover *x;

	TAILQ_FOREACH (x, &all->list, entry)
		for (int k = 0; k < 2; k++) {
			struct cross_end *e = &x->end[k];
			const char *why = ptr_take(e->fault);

			if (!why || !e->port || e->gone)
				continue;
			e->port->ops->fault(e->port->self, why);
			return true;
		}
	return false;
}

/* What happens in it may call it again: that is then done by the first. */
void
crossovers_look(struct crossovers *all)
{
	all->again = true;
	if (all->looking)
		return;
	all->looking = true;
	while (all->again) {
		all->again = false;
		end_some(all);
		begin_some(all);
		if (fault_one(all))
			all->again = true;
	}
	all->looking = false;
}

/* The state has lasted long enough. The record may be freed. */
static void
late(void *self)
{
	struct crossover *x = self;
	struct crossovers *all = x->all;

	switch (x->state) {
	case CX_WAITING:
		if (cross_may_go_on(x))
			ask(x);
		break;
	case CX_MAKING:
		tell_fault(x, NULL, "no answer");
		cross_remember(x, true);
		part(x, "no answer");
		break;
	case CX_ON:
		cross_forgive(x);
		break;
	case CX_PARTING:
		end(x);
		break;
	default:
		for (int k = 0; k < 2; k++)
			if (owes(&x->end[k]))
				x->end[k].fault = "deadline:uncross";
	}
	crossovers_look(all);
}

struct crossovers *
crossovers_new(struct islands *islands)
{
	struct crossovers *all = calloc(1, sizeof *all);

	if (!all)
		return NULL;
	all->islands = islands;
	all->on = true;
	TAILQ_INIT(&all->list);
	return all;
}

void
crossovers_free(struct crossovers *all)
{
	struct crossover *x;

	if (!all)
		return;
	while ((x = TAILQ_FIRST(&all->list)))
		cross_free(x);
	free(all);
}

void
crossovers_switch(struct crossovers *all, bool on)
{
	all->on = on;
	crossovers_look(all);
}

bool
crossovers_settled(const struct crossovers *all)
{
	const struct crossover *x;

	TAILQ_FOREACH (x, &all->list, entry)
		if (x->state == CX_PARTING)
			return false;
	return true;
}

/* --- a port --- */

static struct cross_end *
end_of(const struct port *p)
{
	struct crossover *x = p->crossover;

	return x ? &x->end[x->end[0].port != p] : NULL;
}

void
crossover_dead(struct port *p)
{
	struct crossover *x = p->crossover;
	struct cross_end *e = end_of(p);
	struct crossovers *all = p->all->crossovers;

	if (!e || e->gone || e->epoch != p->live)
		return;
	if (x->state < CX_MAKING)
		cross_free(x);
	else
		lose(x, e, "its process has ended");
	crossovers_look(all);
}

/* Its process is gone, unless everything is ending. */
void
crossover_forget(struct port *p)
{
	struct crossover *x = p->crossover;
	struct cross_end *e = end_of(p);

	if (!e)
		return;
	e->port = NULL;
	e->gone = true;
	if (x->state < CX_MAKING || !cross_other(x, e)->port)
		cross_free(x);
}

bool
crossover_holds(const struct port *p)
{
	const struct cross_end *e = end_of(p);

	return e && !e->gone && p->crossover->state >= CX_MAKING &&
	       p->crossover->state < CX_ENDING;
}

const struct port *
crossover_other(const struct port *p)
{
	struct crossover *x = p->crossover;

	return x && x->state == CX_ON ? cross_other(x, end_of(p))->port : NULL;
}

/* --- what the ends say --- */

int
crossover_crossed(struct port *p, const struct ctl_crossed *m)
{
	struct crossovers *all = p->all->crossovers;
	char clean[LIFE_TEXT_BYTES];
	struct cross_end *e;
	struct crossover *x = crossover_at(p, m->serial, &e);

	if (!x)
		return 0;
	if (e->crossed || e->gone)
		return -EPROTO;
	if (m->error) {
		text_clean(clean, sizeof clean, m->error);
		tell_fault(x, e, clean);
		cross_remember(x, true);
		lose(x, e, "");
	} else {
		e->crossed = true;
		if (x->state == CX_MAKING && cross_other(x, e)->crossed) {
			x->state = CX_ON;
			if (cross_past(x))
				timer_set_ns(x->due, FORGIVE_NS);
			else
				timer_stop(x->due);
			log_event(LOG_INFO, "cross.on", "id=%s other=%s",
			    name_of(&x->end[0]), name_of(&x->end[1]));
		}
	}
	crossovers_look(all);
	return 0;
}

int
crossover_uncrossed(struct port *p, const struct ctl_uncrossed *m)
{
	struct crossovers *all = p->all->crossovers;
	struct cross_end *e;
	struct crossover *x = crossover_at(p, m->serial, &e);

	if (!x)
		return 0;
	if (!e->owes || (!e->crossed && !e->gone))
		return -EPROTO;
	e->owes = false;
	if (x->state == CX_PARTING && !is_owed(x))
		end(x);
	else if (x->state == CX_ENDING)
		look_late(x);
	crossovers_look(all);
	return 0;
}

/* It reads and sends nothing more, as it was told. */
int
crossover_ended(struct port *p, const struct ctl_cross_ended *m)
{
	struct crossovers *all = p->all->crossovers;
	struct cross_end *e;
	struct crossover *x = crossover_at(p, m->counts.serial, &e);

	if (!x)
		return 0;
	if (x->state != CX_ENDING || !e->crossed || e->gone || e->reported ||
	    cross_report(e, &m->counts) < 0)
		return -EPROTO;
	look_late(x);
	cross_send_end(x, cross_other(x, e));
	look_done(x);
	crossovers_look(all);
	return 0;
}

int
crossover_trouble(struct port *p, const struct ctl_cross_trouble *m)
{
	struct crossovers *all = p->all->crossovers;
	char clean[LIFE_TEXT_BYTES];
	struct cross_end *e;
	struct crossover *x = crossover_at(p, m->serial, &e);

	if (!x)
		return 0;
	if (!e->crossed || e->gone || e->reported)
		return -EPROTO;
	text_clean(clean, sizeof clean, m->reason);
	if (!m->stalled && !x->severed) {
		tell_fault(x, e, clean);
		cross_remember(x, true);
		x->severed = true;
	}
	if (x->state < CX_PARTING) {
		if (m->stalled)
			cross_remember(x, false);
		part(x, clean);
	} else if (x->state == CX_ENDING && x->severed) {
		cross_send_end(x, &x->end[0]);
		cross_send_end(x, &x->end[1]);
	}
	crossovers_look(all);
	return 0;
}
