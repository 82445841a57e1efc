/*
 * island.c - the life of one lane.
 *
 * Runs in: the broker. Trusts: the launcher. Lanes are unprivileged and may
 * be taken over by a frame: what they say is checked, and a lane that lies or
 * hangs is killed and started again; its ports' memories outlive it.
 * Specification: DESIGN 1, 4, 7; style B6.3 for the rule table.
 */
#include "broker/islands.h"

#include "broker/arena.h"
#include "broker/launch_client.h"
#include "broker/ports.h"
#include "gen/schema.h"
#include "proto/chan.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS UINT64_C(1000000)

/* From the spawn request to a lane that takes messages. */
#define START_DUE_NS (10000 * MS)
/* From `stop` to the end, and from SIGABRT to SIGKILL. */
#define STOP_DUE_NS  (1000 * MS)
#define ABORT_DUE_NS (1000 * MS)
/* From SIGKILL until a process is given up as stuck in the kernel. */
#define KILL_DUE_NS (5000 * MS)
/* From the end of its channel until the launcher must have reaped it. */
#define FADE_DUE_NS (200 * MS)

static void spawn(struct island *i);
static void serve(struct island *i);
static void stop(struct island *i);
static void fade(struct island *i);
static void kill_it(struct island *i);
static void abort_it(struct island *i);
static void bury(struct island *i);
static void wait_again(struct island *i);
static void start_afresh(struct island *i);
static void release(struct island *i);
static void forget(struct island *i);

/* Every legal step; any other pair is a bug of the broker. */
static const struct island_rule {
	enum island_state from;
	enum island_event event;
	enum island_state to;
	void (*act)(struct island *i);
} island_rules[] = {
    {IS_SPAWNING, IE_SPAWNED, IS_HELLO, NULL},
    {IS_SPAWNING, IE_REFUSED, IS_DEAD, bury},
    {IS_SPAWNING, IE_EXIT, IS_DEAD, bury},
    {IS_SPAWNING, IE_TIMER, IS_DYING, kill_it},
    {IS_SPAWNING, IE_RETIRE, IS_DYING, kill_it},
    {IS_HELLO, IE_UP, IS_READY, serve},
    {IS_HELLO, IE_FAULT, IS_DYING, kill_it},
    {IS_HELLO, IE_LOST, IS_FADING, fade},
    {IS_HELLO, IE_EXIT, IS_DEAD, bury},
    {IS_HELLO, IE_TIMER, IS_DYING, kill_it},
    {IS_HELLO, IE_RETIRE, IS_DYING, kill_it},
    {IS_READY, IE_FAULT, IS_DYING, kill_it},
    {IS_READY, IE_LOST, IS_FADING, fade},
    {IS_READY, IE_HUNG, IS_ABORTING, abort_it},
    {IS_READY, IE_EXIT, IS_DEAD, bury},
    {IS_READY, IE_RETIRE, IS_STOPPING, stop},
    {IS_STOPPING, IE_FAULT, IS_DYING, kill_it},
    {IS_STOPPING, IE_HUNG, IS_DYING, kill_it},
    {IS_STOPPING, IE_EXIT, IS_DEAD, bury},
    {IS_STOPPING, IE_TIMER, IS_DYING, kill_it},
    {IS_ABORTING, IE_EXIT, IS_DEAD, bury},
    {IS_ABORTING, IE_TIMER, IS_DYING, kill_it},
    {IS_ABORTING, IE_RETIRE, IS_ABORTING, NULL},
    {IS_FADING, IE_EXIT, IS_DEAD, bury},
    {IS_FADING, IE_TIMER, IS_DYING, kill_it},
    {IS_FADING, IE_RETIRE, IS_FADING, NULL},
    {IS_DYING, IE_SPAWNED, IS_DYING, kill_it}, /* late answer */
    {IS_DYING, IE_REFUSED, IS_DEAD, bury},     /* late answer */
    {IS_DYING, IE_EXIT, IS_DEAD, bury},
    {IS_DYING, IE_TIMER, IS_DEAD, bury}, /* stuck in the kernel: abandoned */
    {IS_DYING, IE_RETIRE, IS_DYING, NULL},
    {IS_DEAD, IE_AGAIN, IS_BACKOFF, wait_again},
    {IS_DEAD, IE_TAKE, IS_READY, serve}, /* the spare's process is ours */
    {IS_READY, IE_GIVE, IS_BACKOFF, start_afresh}, /* and it gets the grave */
    {IS_DEAD, IE_LEAVE, IS_RELEASING, release},
    {IS_BACKOFF, IE_TIMER, IS_SPAWNING, spawn},
    {IS_BACKOFF, IE_RETIRE, IS_RELEASING, release},
    {IS_RELEASING, IE_RELEASED, IS_GONE, forget},
    {IS_RELEASING, IE_TIMER, IS_GONE, forget},
};

const char *
island_state_name(enum island_state state)
{
	static const char *const names[IS_STATES] = {"spawning", "hello",
	    "ready", "stopping", "aborting", "fading", "dying", "dead",
	    "backoff", "releasing", "gone"};

	return names[state];
}

const char *
island_name(const struct island *i, char buf[ISLAND_NAME_BYTES])
{
	(void)snprintf(buf, ISLAND_NAME_BYTES, "lane%u", i->number);
	return buf;
}

void
island_step(struct island *i, enum island_event event)
{
	const struct island_rule *r = island_rules;
	const struct island_rule *end =
	    r + sizeof island_rules / sizeof *island_rules;

	while (r < end && (r->from != i->state || r->event != event))
		r++;
	BUG_ON(r == end);
	log_event(LOG_DEBUG, "lane.step", "lane=%u from=%s to=%s", i->number,
	    island_state_name(i->state), island_state_name(r->to));
	i->state = r->to;
	if (r->act)
		r->act(i);
}

bool
island_may(const struct island *i, enum island_event event)
{
	for (size_t k = 0; k < sizeof island_rules / sizeof *island_rules; k++)
		if (island_rules[k].from == i->state &&
		    island_rules[k].event == event)
			return true;
	return false;
}

bool
island_is_ready(const struct island *i)
{
	return i->state == IS_READY;
}

void
island_fault(struct island *i, const char *reason)
{
	char name[ISLAND_NAME_BYTES];

	if (!island_may(i, IE_FAULT))
		return;
	log_event(LOG_WARN, "lane.fault", "id=%s epoch=%u reason=%s",
	    island_name(i, name), i->epoch, log_quote(reason));
	i->fault = reason;
	island_step(i, IE_FAULT);
}

static void
expired(void *self)
{
	struct island *i = self;

	if (i->state != IS_BACKOFF && !i->fault)
		i->fault = i->state == IS_STOPPING ? "deadline:stop"
						   : "deadline:start";
	island_step(i, IE_TIMER);
}

/* --- what the lane says --- */

static void
look_up(struct island *i)
{
	if (i->state == IS_HELLO && i->said_hello && i->attested)
		island_step(i, IE_UP);
}

static int
lane_hello(void *self, const struct ctl_hello *m)
{
	struct island *i = self;

	if (i->said_hello || i->state != IS_HELLO ||
	    strcmp(m->schema, schema_hash) != 0 || strcmp(m->role, "lane") != 0)
		return -EPROTO;
	i->said_hello = true;
	look_up(i);
	return 0;
}

/* The port that it talks about, if that is one of its own. */
static struct port *
own_port(struct island *i, uint32_t number, uint32_t epoch)
{
	struct port *p = number < LAUNCH_SLOTS ? i->all->ports[number] : NULL;

	if (!p || p->lane != i || p->epoch != epoch)
		return NULL;
	return p;
}

static int
lane_detached(void *self, const struct ctl_detached *m)
{
	struct island *i = self;
	struct port *p = own_port(i, m->port, m->epoch);

	return p ? port_detached(p, i, m) : 0;
}

static int
lane_port_fault(void *self, const struct ctl_port_fault *m)
{
	struct port *p = own_port(self, m->port, m->epoch);

	if (!p || p->live != m->epoch)
		return 0;
	if (strcmp(m->reason, "bell") == 0)
		p->ops->lost(p->self);
	else
		p->ops->fault(p->self, m->reason);
	return 0;
}

static int
lane_port_stalled(void *self, const struct ctl_port_stalled *m)
{
	struct port *p = own_port(self, m->port, m->epoch);

	if (p && p->live == m->epoch)
		p->ops->stalled(p->self);
	return 0;
}

static int
lane_arena_ended(void *self, const struct ctl_arena_ended *m)
{
	return arena_ended(self, m);
}

static void
lane_closed(void *self, int reason)
{
	struct island *i = self;

	if (i->state == IS_STOPPING && reason == 0)
		return; /* it ends, as it was asked to */
	if (reason != 0)
		island_fault(i, "broke the rules of its channel");
	else if (island_may(i, IE_LOST))
		island_step(i, IE_LOST);
}

static void
lane_hung(void *self)
{
	struct island *i = self;

	if (!island_may(i, IE_HUNG))
		return;
	i->fault = "deadline:ping";
	island_step(i, IE_HUNG);
}

static const struct control_ops lane_ops = {
    .hello = lane_hello,
    .detached = lane_detached,
    .port_fault = lane_port_fault,
    .port_stalled = lane_port_stalled,
    .arena_ended = lane_arena_ended,
    .closed = lane_closed,
    .hung = lane_hung,
};

/* --- what the launcher says --- */

static void
lane_attested(void *self, const struct launch_result *r)
{
	struct island *i = self;

	i->attested = true;
	i->process.layers = r->layers;
	i->process.missing = r->missing;
	look_up(i);
}

static void
lane_exited(void *self, const struct launch_result *r)
{
	struct island *i = self;

	i->last = *r;
	if (island_may(i, IE_EXIT))
		island_step(i, IE_EXIT);
}

static const struct slot_ops lane_slot_ops = {lane_attested, lane_exited};

static void
spawned(void *self, const struct launch_msg *m, int *fds)
{
	struct island *i = self;

	i->spawn_ask = 0;
	if (m->result.error != 0 || fds[0] < 0) {
		i->last = m->result;
		island_step(i, IE_REFUSED);
		return;
	}
	i->process = m->result;
	if (i->state == IS_SPAWNING) {
		i->control = control_new(i->all->loop, fd_take(&fds[0]),
		    CTL_ROLE_LANE, &lane_ops, i);
		i->fault = i->control ? i->fault : "out of memory";
	}
	island_step(
	    i, i->state == IS_DYING || i->control ? IE_SPAWNED : IE_TIMER);
}

/* --- acts --- */

static void
spawn(struct island *i)
{
	struct launch_msg m = {.type = LAUNCH_SPAWN, .slot = i->slot};
	char name[ISLAND_NAME_BYTES];

	i->epoch = slot_epoch_next(i->all->launch, i->slot);
	i->said_hello = false;
	i->attested = false;
	i->fault = NULL;
	i->killed = false;
	i->since_ns = sys_mono_ns();
	memset(&i->last, 0, sizeof i->last);
	m.spawn.role = ROLE_LANE;
	m.spawn.epoch = i->epoch;
	(void)snprintf(
	    m.spawn.id, sizeof m.spawn.id, "%s", island_name(i, name));
	timer_set_ns(i->timer, START_DUE_NS);
	i->spawn_ask = launch_ask(i->all->launch, &m, -1, spawned, i);
	if (i->spawn_ask == 0)
		island_step(i, IE_REFUSED);
}

/* Call for every port that wants the lane, or is in it. */
static void
settle_ports(struct island *i)
{
	for (uint32_t n = 0; n < LAUNCH_SLOTS; n++) {
		struct port *p = i->all->ports[n];

		if (p && (p->want == i || p->lane == i))
			port_settle(p);
	}
}

static void
serve(struct island *i)
{
	timer_stop(i->timer);
	settle_ports(i);
	island_push(i);
}

static void
stop(struct island *i)
{
	const struct ctl_stop m = {0};

	timer_set_ns(i->timer, STOP_DUE_NS);
	(void)ctl_send_stop(control_chan(i->control), 0, &m);
}

static void
drop_control(struct island *i)
{
	struct control *k = i->control;

	i->control = NULL;
	control_free(k);
}

static void
fade(struct island *i)
{
	i->fault = "closed its channel";
	drop_control(i);
	timer_set_ns(i->timer, FADE_DUE_NS);
}

static void
kill_it(struct island *i)
{
	i->killed = true;
	drop_control(i);
	timer_set_ns(i->timer, KILL_DUE_NS);
	slot_kill(i->all->launch, i->slot, i->epoch, SIGKILL);
}

static void
abort_it(struct island *i)
{
	i->killed = true;
	timer_set_ns(i->timer, ABORT_DUE_NS);
	slot_kill(i->all->launch, i->slot, i->epoch, SIGABRT);
}

/*
 * Change places with the spare, unless deaths come so quickly that a pause is
 * due: the spare is confined and has said hello, so the ports need not wait
 * for a start. It has served nobody yet. Whether it was done.
 */
static bool
take_spare(struct island *i)
{
	struct launch_client *c = i->all->launch;
	struct island *spare = i->all->spare;
	uint32_t slot = i->slot;

	if (!spare || spare == i || spare->state != IS_READY ||
	    backoff_wait_ns(&i->backoff) > 0)
		return false;
	i->slot = spare->slot;
	i->epoch = spare->epoch;
	i->control = ptr_take(spare->control);
	i->process = spare->process;
	i->since_ns = spare->since_ns;
	i->killed = false;
	i->fault = NULL;
	i->restarts++;
	spare->slot = slot;
	control_own(i->control, i);
	slot_own(c, i->slot, &lane_slot_ops, i);
	slot_own(c, spare->slot, &lane_slot_ops, spare);
	island_step(spare, IE_GIVE);
	return true;
}

/* The process is gone: what it had of ports can go elsewhere now. */
static void
bury(struct island *i)
{
	struct islands *all = i->all;
	bool mourned = !i->unwanted && !all->stopping;

	timer_stop(i->timer);
	launch_forget(all->launch, i->spawn_ask);
	i->spawn_ask = 0;
	drop_control(i);
	i->sent_count = 0;
	if (!i->killed)
		i->fault = NULL;
	if (mourned) {
		if (!i->returning)
			i->died_ns = sys_mono_ns();
		i->returning = true;
		backoff_death(&i->backoff, sys_mono_ns() - i->since_ns);
		all->ops->exited(
		    all->self, i, &i->last, backoff_wait_ns(&i->backoff));
	}
	i->before = i->last;
	i->fault_before = i->fault;
	arena_lane_gone(i);
	for (uint32_t n = 0; n < LAUNCH_SLOTS; n++)
		if (all->ports[n])
			port_lane_gone(all->ports[n], i);
	if (!mourned)
		island_step(i, IE_LEAVE);
	else
		island_step(i, take_spare(i) ? IE_TAKE : IE_AGAIN);
}

static void
wait_again(struct island *i)
{
	i->restarts++;
	timer_set_ns(i->timer, backoff_wait_ns(&i->backoff));
}

static void
start_afresh(struct island *i)
{
	timer_set_ns(i->timer, 0);
}

static void
released(void *self, const struct launch_msg *m, int *fds)
{
	(void)m;
	(void)fds;
	island_step(self, IE_RELEASED);
}

static void
release(struct island *i)
{
	struct launch_msg m = {.type = LAUNCH_RELEASE, .slot = i->slot};

	timer_set_ns(i->timer, KILL_DUE_NS);
	i->spawn_ask = launch_ask(i->all->launch, &m, -1, released, i);
}

/* A slot that was not released in time is lost, not used again. */
static void
forget(struct island *i)
{
	if (timer_pending(i->timer))
		slot_give(i->all->launch, i->slot);
	else
		slot_lose(i->all->launch, i->slot);
	launch_forget(i->all->launch, i->spawn_ask);
	island_free(i);
}

void
island_free(struct island *i)
{
	BUG_ON(i->all->spare == i);
	arena_forget(i);
	TAILQ_REMOVE(&i->all->list, i, entry);
	i->all->by_number[i->number] = NULL;
	drop_control(i);
	timer_free(i->timer);
	free(i->wanted);
	free(i->sent);
	free(i);
}

/* The lowest free number; there are no more lanes than slots. */
static uint32_t
free_number(const struct islands *all)
{
	uint32_t n = 0;

	while (all->by_number[n])
		n++;
	return n;
}

struct island *
island_new(struct islands *all)
{
	struct island *i = calloc(1, sizeof *i);

	if (!i)
		return NULL;
	i->timer = timer_new(all->loop, expired, i);
	if (i->timer)
		i->slot = slot_take(all->launch, &lane_slot_ops, i);
	if (!i->timer || i->slot == 0) {
		if (i->timer)
			timer_free(i->timer);
		free(i);
		return NULL;
	}
	i->all = all;
	i->number = free_number(all);
	i->state = IS_BACKOFF;
	all->by_number[i->number] = i;
	TAILQ_INSERT_TAIL(&all->list, i, entry);
	island_step(i, IE_TIMER);
	return i;
}
