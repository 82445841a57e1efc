/*
 * netdev.c - the life of a netdev as a table of rules.
 *
 * Runs in: the broker. Trusts: the launcher. What a backend does, in any
 * order, ends in a legal event or in a fault of the backend.
 * Specification: DESIGN 7 (first row), style B6.3.
 *
 * Theory of operation. Up: resources, process, hello, options, ready and
 * attested, port into a lane. Down by itself: kill if need be, wait for the
 * end, have the lane count what was lost, wait, start again with the next
 * epoch on the same resources. Down by netdev_del: port out of the lane
 * first, so that the backend can finish what is in its ring, then `stop`.
 * A first start that fails goes down the same road and then away; its
 * netdev_add is answered when nothing is left. "Wanted" is what commands say;
 * the state is what is.
 */
#include "broker/netdev.h"

#include "broker/launch_client.h"
#include "broker/nic.h"
#include "broker/ports.h"
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

/* From netdev_del until the lane has let go (its own deadlines are shorter),
 * then until the process has ended. */
#define LEAVE_DUE_NS (8000 * MS)
#define STOP_DUE_NS  (2000 * MS)
/* From SIGABRT to SIGKILL, and until a process counts as stuck in the kernel.
 */
#define ABORT_DUE_NS (1000 * MS)
#define KILL_DUE_NS  (5000 * MS)
/* From the end of its channel until the launcher must have reaped it. */
#define FADE_DUE_NS (200 * MS)
/* Until the port is in a lane, which may have to be started again first. */
#define ATTACH_DUE_NS  (20000 * MS)
#define RELEASE_DUE_NS (10000 * MS)
/* The same, of a slot whose process nobody waits for any more. */
#define RELEASE_ABANDONED_NS (200 * MS)

static void attach(struct life *nd);
static void serve(struct life *nd);
static void leave(struct life *nd);
static void stop(struct life *nd);
static void fade(struct life *nd);
static void kill_it(struct life *nd);
static void abort_it(struct life *nd);
static void bury(struct life *nd);
static void abandon(struct life *nd);
static void decide(struct life *nd);
static void look_away(struct life *nd);
static void wait_again(struct life *nd);
static void hold(struct life *nd);
static void release(struct life *nd);
static void vanish(struct life *nd);

/* Every legal step; any other pair is a bug of the broker. */
static const struct life_rule {
	enum life_state from;
	enum life_event event;
	enum life_state to;
	void (*act)(struct life *nd);
} life_rules[] = {
    {ND_NEW, EV_START, ND_OPENING, life_open},
    {ND_OPENING, EV_OPENED, ND_SPAWNING, life_spawn},
    {ND_OPENING, EV_REFUSED, ND_DEAD, bury},
    {ND_OPENING, EV_TIMER, ND_DEAD, bury},
    {ND_OPENING, EV_DEL, ND_DEAD, bury},
    {ND_SPAWNING, EV_SPAWNED, ND_HELLO, NULL},
    {ND_SPAWNING, EV_REFUSED, ND_DEAD, bury},
    {ND_SPAWNING, EV_EXIT, ND_DEAD, bury},
    {ND_SPAWNING, EV_TIMER, ND_DYING, kill_it},
    {ND_SPAWNING, EV_DEL, ND_DYING, kill_it},
    {ND_HELLO, EV_HELLO, ND_CONFIGURING, life_configure},
    {ND_HELLO, EV_FAULT, ND_DYING, kill_it},
    {ND_HELLO, EV_LOST, ND_FADING, fade},
    {ND_HELLO, EV_EXIT, ND_DEAD, bury},
    {ND_HELLO, EV_TIMER, ND_DYING, kill_it},
    {ND_HELLO, EV_DEL, ND_DYING, kill_it},
    {ND_CONFIGURING, EV_READY, ND_ATTACHING, attach},
    {ND_CONFIGURING, EV_REFUSED, ND_DYING, kill_it},
    {ND_CONFIGURING, EV_FAULT, ND_DYING, kill_it},
    {ND_CONFIGURING, EV_LOST, ND_FADING, fade},
    {ND_CONFIGURING, EV_EXIT, ND_DEAD, bury},
    {ND_CONFIGURING, EV_TIMER, ND_DYING, kill_it},
    {ND_CONFIGURING, EV_DEL, ND_DYING, kill_it},
    {ND_ATTACHING, EV_ATTACHED, ND_RUNNING, serve},
    {ND_ATTACHING, EV_FAULT, ND_DYING, kill_it},
    {ND_ATTACHING, EV_LOST, ND_FADING, fade},
    {ND_ATTACHING, EV_HUNG, ND_ABORTING, abort_it},
    {ND_ATTACHING, EV_EXIT, ND_DEAD, bury},
    {ND_ATTACHING, EV_TIMER, ND_DYING, kill_it},
    {ND_ATTACHING, EV_DEL, ND_LEAVING, leave},
    {ND_RUNNING, EV_FAULT, ND_DYING, kill_it},
    {ND_RUNNING, EV_LOST, ND_FADING, fade},
    {ND_RUNNING, EV_HUNG, ND_ABORTING, abort_it},
    {ND_RUNNING, EV_EXIT, ND_DEAD, bury},
    {ND_RUNNING, EV_DEL, ND_LEAVING, leave},
    {ND_LEAVING, EV_AWAY, ND_STOPPING, stop},
    {ND_LEAVING, EV_FAULT, ND_DYING, kill_it},
    {ND_LEAVING, EV_LOST, ND_FADING, fade},
    {ND_LEAVING, EV_HUNG, ND_ABORTING, abort_it},
    {ND_LEAVING, EV_EXIT, ND_DEAD, bury},
    {ND_LEAVING, EV_TIMER, ND_DYING, kill_it},
    {ND_STOPPING, EV_FAULT, ND_DYING, kill_it},
    {ND_STOPPING, EV_HUNG, ND_ABORTING, abort_it},
    {ND_STOPPING, EV_EXIT, ND_DEAD, bury},
    {ND_STOPPING, EV_TIMER, ND_DYING, kill_it},
    {ND_ABORTING, EV_EXIT, ND_DEAD, bury},
    {ND_ABORTING, EV_TIMER, ND_DYING, kill_it},
    {ND_ABORTING, EV_AWAY, ND_ABORTING, NULL},
    {ND_ABORTING, EV_DEL, ND_ABORTING, NULL},
    {ND_FADING, EV_EXIT, ND_DEAD, bury},
    {ND_FADING, EV_TIMER, ND_DYING, kill_it},
    {ND_FADING, EV_AWAY, ND_FADING, NULL},
    {ND_FADING, EV_DEL, ND_FADING, NULL},
    {ND_DYING, EV_SPAWNED, ND_DYING, kill_it}, /* late answer */
    {ND_DYING, EV_REFUSED, ND_DEAD, bury},     /* late answer */
    {ND_DYING, EV_EXIT, ND_DEAD, bury},
    {ND_DYING, EV_TIMER, ND_DEAD, abandon},
    {ND_DYING, EV_AWAY, ND_DYING, NULL},
    {ND_DYING, EV_DEL, ND_DYING, NULL},
    {ND_DEAD, EV_AWAY, ND_DEAD, decide},
    {ND_DEAD, EV_DEL, ND_DEAD, look_away},
    {ND_DEAD, EV_AGAIN, ND_BACKOFF, wait_again},
    {ND_DEAD, EV_HOLD, ND_HELD, hold},
    {ND_DEAD, EV_LEAVE, ND_RELEASING, release},
    {ND_BACKOFF, EV_TIMER, ND_OPENING, life_reopen},
    {ND_BACKOFF, EV_RESUME, ND_OPENING, life_reopen},
    {ND_BACKOFF, EV_DEL, ND_RELEASING, release},
    {ND_HELD, EV_RESUME, ND_OPENING, life_reopen},
    {ND_HELD, EV_EXIT, ND_OPENING, life_reopen}, /* one that was abandoned */
    {ND_HELD, EV_DEL, ND_RELEASING, release},
    {ND_RELEASING, EV_RELEASED, ND_GONE, vanish},
    {ND_RELEASING, EV_TIMER, ND_GONE, vanish},
};

#define RULES (sizeof life_rules / sizeof *life_rules)

const char *
life_state_name(enum life_state state)
{
	static const char *const names[ND_STATES] = {"new", "opening",
	    "spawning", "hello", "configuring", "attaching", "running",
	    "leaving", "stopping", "aborting", "fading", "dying", "dead",
	    "backoff", "held", "releasing", "gone"};

	return names[state];
}

enum netdev_state
life_public_state(const struct life *nd)
{
	if (!nd->wanted)
		return NETDEV_STATE_STOPPING;
	switch (nd->state) {
	case ND_RUNNING:
		return NETDEV_STATE_RUNNING;
	case ND_HELD:
		return NETDEV_STATE_QUARANTINED;
	default:
		return nd->served ? NETDEV_STATE_RESTARTING
				  : NETDEV_STATE_STARTING;
	}
}

static const struct life_rule *
find_rule(enum life_state from, enum life_event event)
{
	for (size_t i = 0; i < RULES; i++)
		if (life_rules[i].from == from && life_rules[i].event == event)
			return &life_rules[i];
	return NULL;
}

bool
life_rule(enum life_state from, enum life_event event, enum life_state *to)
{
	const struct life_rule *r = find_rule(from, event);

	if (r)
		*to = r->to;
	return r != NULL;
}

bool
life_may(const struct life *nd, enum life_event event)
{
	return find_rule(nd->state, event) != NULL;
}

/* The record may be freed in it: nothing of *nd may be used afterwards. */
void
life_step(struct life *nd, enum life_event event)
{
	const struct life_rule *r = find_rule(nd->state, event);

	BUG_ON(!r);
	log_event(LOG_DEBUG, "netdev.step", "id=%s from=%s to=%s",
	    nd->options.id, life_state_name(nd->state), life_state_name(r->to));
	nd->state = r->to;
	if (r->act)
		r->act(nd);
}

void
life_lost(struct life *nd, const char *reason)
{
	if (!life_may(nd, EV_LOST))
		return;
	text_clean(nd->fault, sizeof nd->fault, reason);
	life_step(nd, EV_LOST);
}

void
life_fault(struct life *nd, const char *reason)
{
	if (!life_may(nd, EV_FAULT))
		return;
	text_clean(nd->fault, sizeof nd->fault, reason);
	log_event(LOG_WARN, "netdev.fault", "id=%s epoch=%u reason=%s",
	    nd->options.id, nd->epoch, log_quote(nd->fault));
	life_step(nd, EV_FAULT);
}

/* --- acts --- */

static void
attach(struct life *nd)
{
	struct err e = {0};

	timer_set_ns(nd->timer, ATTACH_DUE_NS);
	if (!nd->served && nd->all->ops->attaching(nd->all->self, nd, &e) < 0) {
		nd->error = e;
		life_fault(nd, e.text);
		return;
	}
	port_live(nd->port, nd->epoch, nd->ring_bytes);
}

void
life_answer(struct life *nd)
{
	core_done added = nd->added;

	if (!added || !nd->served || (nd->wait_peer && !nd->connected))
		return;
	nd->added = NULL;
	added(nd->added_self, NULL);
}

static void
serve(struct life *nd)
{
	timer_stop(nd->timer);
	if (nd->returning)
		news_restarted(nd);
	nd->returning = false;
	if (nd->served)
		return;
	nd->served = true;
	nd->all->ops->up(nd->all->self, nd);
	life_answer(nd);
}

static void
leave(struct life *nd)
{
	timer_set_ns(nd->timer, LEAVE_DUE_NS);
	look_away(nd);
}

static void
look_away(struct life *nd)
{
	if (port_is_away(nd->port))
		life_step(nd, EV_AWAY);
}

static void
stop(struct life *nd)
{
	const struct ctl_stop m = {0};

	timer_set_ns(nd->timer, STOP_DUE_NS);
	if (nd->control)
		(void)ctl_send_stop(control_chan(nd->control), 0, &m);
}

void
life_drop_control(struct life *nd)
{
	struct control *k = nd->control;

	nd->control = NULL;
	control_free(k);
	if (nd->nic)
		nic_forget(nd->nic);
}

/* The moment from which on it serves nobody. */
static void
note_death(struct life *nd)
{
	if (nd->returning || !nd->served)
		return;
	nd->returning = true;
	nd->died_ns = sys_mono_ns();
}

static void
fade(struct life *nd)
{
	note_death(nd);
	life_drop_control(nd);
	timer_set_ns(nd->timer, FADE_DUE_NS);
	port_dead(nd->port);
}

static void
kill_it(struct life *nd)
{
	note_death(nd);
	nd->killed = true;
	life_drop_control(nd);
	timer_set_ns(nd->timer, KILL_DUE_NS);
	slot_kill(nd->all->launch, nd->slot, nd->epoch, SIGKILL);
	port_dead(nd->port);
}

static void
abort_it(struct life *nd)
{
	note_death(nd);
	nd->killed = true;
	timer_set_ns(nd->timer, ABORT_DUE_NS);
	slot_kill(nd->all->launch, nd->slot, nd->epoch, SIGABRT);
}

/* What netdev_add is told when nobody else has said why. */
static void
explain(struct life *nd)
{
	const char *words = nd->last.text;

	if (nd->error.text[0] != '\0')
		return;
	if (!nd->wanted)
		(void)err_set(&nd->error, -ECANCELED,
		    "netdev '%s' was deleted while it was starting",
		    nd->options.id);
	else if (words[0] != '\0')
		(void)err_set(&nd->error, -EIO, "%s", words);
	else
		(void)err_set(&nd->error, -EIO,
		    "the backend of '%s' ended before it was ready (%s)",
		    nd->options.id,
		    nd->fault[0] != '\0' ? nd->fault : "no reason given");
}

static void
bury(struct life *nd)
{
	uint64_t now_ns = sys_mono_ns();
	uint64_t ran_ns = now_ns - nd->since_ns;

	note_death(nd);
	timer_stop(nd->timer);
	life_forget_asks(nd);
	life_drop_control(nd);
	news_restarted_cancel(nd);
	if (nd->connected)
		life_set_connected(nd, false, NULL);
	if (!nd->served) {
		explain(nd);
		nd->wanted = false;
		nd->all->ops->failed(nd->all->self, nd);
	}
	if (!nd->killed && nd->last.wait_code != 0)
		nd->fault[0] = '\0';
	if (nd->wanted) {
		backoff_death(&nd->backoff, ran_ns);
		news_exited(nd, ran_ns);
	}
	nd->before = nd->last;
	memcpy(nd->fault_before, nd->fault, sizeof nd->fault_before);
	nd->fault[0] = '\0';
	port_dead(nd->port);
	look_away(nd);
}

/*
 * Killed, and still there: it hangs in the kernel, as on a card that was set
 * down. The slot is in use for as long, so there is no next process before it
 * has ended; who deletes the netdev does not wait.
 */
static void
abandon(struct life *nd)
{
	nd->abandoned = true;
	log_event(LOG_ERROR, "netdev.abandon", "id=%s epoch=%u", nd->options.id,
	    nd->epoch);
	text_clean(nd->fault, sizeof nd->fault, "it hangs in the kernel");
	bury(nd);
}

static void
decide(struct life *nd)
{
	if (!nd->wanted)
		life_step(nd, EV_LEAVE);
	else if (nd->abandoned || backoff_spent(&nd->backoff))
		life_step(nd, EV_HOLD);
	else
		life_step(nd, EV_AGAIN);
}

static void
wait_again(struct life *nd)
{
	timer_set_ns(nd->timer, backoff_wait_ns(&nd->backoff));
}

static void
hold(struct life *nd)
{
	news_held(nd);
}

static void
released(void *self, const struct launch_msg *m, int *fds)
{
	struct life *nd = self;

	(void)m;
	(void)fds;
	nd->ask = 0;
	life_step(nd, EV_RELEASED);
}

static void
release(struct life *nd)
{
	struct launch_msg m = {.type = LAUNCH_RELEASE, .slot = nd->slot};

	timer_set_ns(
	    nd->timer, nd->abandoned ? RELEASE_ABANDONED_NS : RELEASE_DUE_NS);
	nd->ask = launch_ask(nd->all->launch, &m, -1, released, nd);
}

/* A slot that was not released in time is lost, not used again. */
static void
vanish(struct life *nd)
{
	core_done added = nd->added, deleted = nd->deleted;
	void *added_self = nd->added_self, *deleted_self = nd->deleted_self;
	struct err e = nd->error;

	BUG_ON(!port_is_away(nd->port));
	if (timer_pending(nd->timer))
		slot_give(nd->all->launch, nd->slot);
	else
		slot_lose(nd->all->launch, nd->slot);
	nd->all->ops->gone(nd->all->self, nd);
	life_free(nd);
	if (added)
		added(added_self, &e);
	if (deleted)
		deleted(deleted_self, NULL);
}
