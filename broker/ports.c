/*
 * ports.c - bring each port's rings into the lane where the plan wants them.
 *
 * Runs in: the broker. Trusts: the launcher. Lanes are checked: a `detached`
 * that nobody asked for, or of another epoch, changes nothing.
 * Specification: DESIGN 4 (islands join and split), 7 (lane and backend die).
 *
 * AWAY -> ASKING -> ATTACHED -> DETACHING -> AWAY; port_settle() decides the
 * next step from what is wanted, and every event ends in it. The lane of a
 * port that is ATTACHED or DETACHING is forgotten only when the lane said
 * `detached` or its process is gone: two lanes never write one memory.
 */
#include "broker/ports.h"

#include "broker/arena.h"
#include "broker/crossover.h"
#include "broker/filter_state.h"
#include "broker/islands.h"
#include "broker/launch_client.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* How often a dead epoch is brought back to be counted when lanes die on it. */
#define OWED_TRIES_MAX 2

static void detach_late(void *self);

struct port *
port_new(struct islands *all, uint32_t number, const struct port_ops *ops,
    void *self)
{
	struct port *p = calloc(1, sizeof *p);

	BUG_ON(number >= LAUNCH_SLOTS || all->ports[number]);
	if (p)
		p->due = timer_new(all->loop, detach_late, p);
	if (!p || !p->due) {
		free(p);
		return NULL;
	}
	p->all = all;
	p->ops = ops;
	p->self = self;
	p->number = number;
	all->ports[number] = p;
	return p;
}

void
port_free(struct port *p)
{
	if (!p)
		return;
	launch_forget(p->all->launch, p->ask);
	crossover_forget(p);
	p->all->ports[p->number] = NULL;
	timer_free(p->due);
	free(p);
}

bool
port_is_away(const struct port *p)
{
	return p->state == PORT_AWAY && !crossover_holds(p) &&
	       ((!p->live && !p->owed) || !p->want);
}

bool
port_is_coming(const struct port *p, const struct island *i)
{
	return p->want == i && p->live &&
	       !(p->state == PORT_ATTACHED && p->lane == i &&
		   p->epoch == p->live);
}

/* The epoch that should be attached now, or 0. */
static uint32_t
due_epoch(const struct port *p)
{
	return p->owed ? p->owed : p->live;
}

/* Something about it has changed that others build on. */
static void
look(struct port *p)
{
	crossovers_look(p->all->crossovers);
	arenas_look(p->all->arenas);
}

/* Its lane is told what its process takes. */
static void
tell_filter(struct port *p)
{
	struct ctl_port_filter m = {.port = p->number, .epoch = p->epoch};
	struct rx_filter_state s;

	if (p->filter) {
		filter_state_from(&s, p->filter);
		m.filter = &s;
	}
	if (ctl_send_port_filter(control_chan(p->lane->control), 0, &m) < 0)
		island_fault(p->lane, "takes no messages");
}

void
port_filter(struct port *p, const struct rx_filter *f)
{
	bool had = p->filter != NULL;

	p->filter = f && f->known && !f->promisc ? f : NULL;
	if ((had || p->filter) && p->state == PORT_ATTACHED &&
	    p->epoch == p->live && island_is_ready(p->lane))
		tell_filter(p);
	if (had != (p->filter != NULL))
		look(p);
}

/* The descriptors are here: is this still what we want? */
static void
attach(struct port *p, const struct launch_msg *m, int *fds)
{
	const struct ctl_attach a = {
	    .port = p->number, .epoch = p->epoch, .ring_bytes = p->ring_bytes};
	struct island *i = p->want;

	if (p->epoch != due_epoch(p) || !i || !island_is_ready(i)) {
		port_settle(p);
		return;
	}
	if (m->result.error != 0 || m->result.epoch != p->epoch) {
		p->owed = 0;
		if (p->live)
			p->ops->fault(p->self, "no descriptors for its port");
		else
			p->ops->away(p->self);
		return;
	}
	if (ctl_send_attach(control_chan(i->control), 0, &a, fds) < 0) {
		island_fault(i, "takes no messages");
		return;
	}
	p->state = PORT_ATTACHED;
	p->lane = i;
	p->seen = p->epoch;
	if (p->filter && p->epoch == p->live)
		tell_filter(p);
	island_push(i);
	look(p);
	if (p->epoch == p->live)
		p->ops->attached(p->self);
	else
		port_settle(p);
}

static void
port_answer(void *self, const struct launch_msg *m, int *fds)
{
	struct port *p = self;

	p->ask = 0;
	p->state = PORT_AWAY;
	attach(p, m, fds);
}

static void
ask(struct port *p)
{
	struct launch_msg m = {.type = LAUNCH_PORT_ASK, .slot = p->number};

	if (!due_epoch(p) || !p->want || !island_is_ready(p->want))
		return;
	p->ask = launch_ask(p->all->launch, &m, -1, port_answer, p);
	if (p->ask == 0)
		return; /* the next plan or lane tries again */
	p->epoch = due_epoch(p);
	p->state = PORT_ASKING;
}

static void
detach(struct port *p)
{
	struct ctl_detach m = {.port = p->number, .epoch = p->epoch};
	struct island *i = p->lane;

	BUG_ON(!i);
	if (!island_is_ready(i))
		return; /* it is being killed: port_lane_gone() will come */
	m.dead = p->epoch != p->live;
	p->dead = m.dead;
	p->state = PORT_DETACHING;
	timer_set_ns(p->due, ctl_deadline_ms(CTL_DETACH) * UINT64_C(1000000));
	if (ctl_send_detach(
		control_chan(i->control), control_seq(i->control), &m) < 0)
		island_fault(i, "takes no messages");
}

void
port_settle(struct port *p)
{
	if (p->state == PORT_AWAY)
		ask(p);
	else if (p->state == PORT_ATTACHED &&
		 (p->want != p->lane || p->epoch != p->live))
		detach(p);
}

static void
detach_late(void *self)
{
	struct port *p = self;

	BUG_ON(p->state != PORT_DETACHING);
	island_fault(p->lane, "does not let go of a port");
}

/* It is in no lane now. May free the port. */
static void
gone_away(struct port *p)
{
	timer_stop(p->due);
	p->state = PORT_AWAY;
	p->lane = NULL;
	if (port_is_away(p))
		p->ops->away(p->self);
	else
		port_settle(p);
}

int
port_detached(struct port *p, struct island *i, const struct ctl_detached *m)
{
	struct islands *all = p->all;

	if (p->state != PORT_DETACHING || p->lane != i || p->epoch != m->epoch)
		return 0;
	if (m->counters.count != LC_COUNT)
		return -EPROTO;
	for (size_t c = 0; c < LC_COUNT && p->dead; c++)
		p->base[c] += m->counters.items[c];
	if (p->dead)
		p->owed = 0;
	gone_away(p);
	islands_tidy(all);
	return 0;
}

/*
 * The lane's process is gone. A dead epoch that it was about to count must
 * be counted by another; but not for ever, should its rings be what kills.
 */
void
port_lane_gone(struct port *p, struct island *i)
{
	if (p->lane != i)
		return;
	if (p->epoch != p->live) {
		p->owed = p->epoch;
		if (!p->want || ++p->owed_tries > OWED_TRIES_MAX)
			p->owed = 0;
		if (!p->owed)
			log_event(LOG_WARN, "port.uncounted",
			    "port=%u epoch=%u", p->number, p->epoch);
	}
	gone_away(p);
}

void
port_live(struct port *p, uint32_t epoch, uint64_t ring_bytes)
{
	BUG_ON(p->state != PORT_AWAY || p->owed || p->live);
	p->live = epoch;
	p->ring_bytes = ring_bytes;
	p->owed_tries = 0;
	p->unviewed = 0;
	port_settle(p);
}

void
port_dead(struct port *p)
{
	uint32_t epoch = p->live;
	struct island *i = p->want;

	if (epoch == 0)
		return;
	crossover_dead(p);
	p->live = 0;
	if (p->state == PORT_ASKING) {
		launch_forget(p->all->launch, p->ask);
		p->ask = 0;
		p->state = PORT_AWAY;
	}
	/* It was somewhere, is not there now, or leaves as if it lived. */
	if (p->seen == epoch && p->want &&
	    (p->state == PORT_AWAY || (p->state == PORT_DETACHING && !p->dead)))
		p->owed = epoch;
	port_settle(p);
	if (i)
		island_push(i);
	arenas_look(p->all->arenas);
}

void
port_want(struct port *p, struct island *i)
{
	if (p->want == i)
		return;
	p->want = i;
	if (p->state == PORT_ASKING) {
		launch_forget(p->all->launch, p->ask);
		p->ask = 0;
		p->state = PORT_AWAY;
	}
	if (!i)
		p->owed = 0;
}

int
port_ask(struct port *p, struct control_ask *a)
{
	if (p->state != PORT_ATTACHED || !island_is_ready(p->lane))
		return -ENOTCONN;
	control_ask_port(p->lane->control, a, p->number);
	return 0;
}

void
port_lane_suspect(struct port *p)
{
	if (p->state == PORT_ATTACHED && island_is_ready(p->lane))
		control_ping(p->lane->control);
}
