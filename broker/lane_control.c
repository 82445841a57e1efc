/*
 * lane_control.c - what the broker tells a lane, and what a lane tells it.
 *
 * Runs in: bulkhead-lane.
 * Trusts: the broker, decoded by generated code. It holds no frame and the
 * lane no secret, so a message that is well-formed and makes no sense (a port
 * that is not there) is answered as far as it can be, and changes nothing.
 * Specification: schema/control.json, DESIGN 4, 6 and 7.
 */
#include "broker/lane_control.h"

#include "gen/control.h"
#include "gen/schema.h"
#include "proto/chan.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

/* A LanePort takes at most 16 bytes and 9 for each counter on the wire. */
#define STATS_PORTS_MAX (CHAN_BYTES_MAX / (16u + 9u * LC_COUNT) - 1u)

/* --- the loop ------------------------------------------------------------- */

static void
turn(struct lane_process *lp)
{
	uint64_t wait_ns = lane_turn(lp->lane);

	again_set(lp->again, wait_ns == 0);
	if (wait_ns != 0 && wait_ns != LANE_SLEEP)
		timer_set_ns(lp->alarm, wait_ns);
	else if (timer_pending(lp->alarm))
		timer_stop(lp->alarm);
}

static void
again_ready(void *self)
{
	turn(self);
}

static void
alarm_expired(void *self)
{
	turn(self);
}

static void
bell_readable(void *self, unsigned events)
{
	struct port *p = self;
	struct lane *l = p->lane;

	(void)events;
	lane_bell(l, p);
	turn(l->self);
}

/* --- what the lane asks of us --------------------------------------------- */

static void
yield(void)
{
	(void)sched_yield();
}

static void
tell_fault(void *self, const struct port *p, const char *reason)
{
	struct lane_process *lp = self;
	char text[32];
	struct ctl_port_fault m = {
	    .port = p->id,
	    .epoch = p->epoch,
	    .reason = text,
	};

	(void)snprintf(text, sizeof text, "%s", reason);
	log_event(LOG_DEBUG, "port.fault", "port=%u epoch=%u reason=%s", p->id,
	    p->epoch, reason);
	if (lp->chan != NULL)
		(void)ctl_send_port_fault(lp->chan, 0, &m);
}

static void
tell_stalled(void *self, const struct port *p)
{
	struct lane_process *lp = self;
	struct ctl_port_stalled m = {.port = p->id, .epoch = p->epoch};

	if (lp->chan != NULL)
		(void)ctl_send_port_stalled(lp->chan, 0, &m);
}

static void
listen_to(void *self, struct port *p, bool on)
{
	struct lane_process *lp = self;

	if (p->watch == NULL)
		p->watch = watch_new(lp->loop, p->bell, 0, bell_readable, p);
	/* A lane that cannot hear is replaced by one that can. */
	BUG_ON(p->watch == NULL);
	watch_set(p->watch, on ? WATCH_READ : 0);
}

static void
closing(void *self, struct port *p)
{
	(void)self;
	watch_free(ptr_take(p->watch));
}

static const struct lane_ops ops = {
    .now_ns = sys_mono_ns,
    .yield = yield,
    .fault = tell_fault,
    .stalled = tell_stalled,
    .listen = listen_to,
    .closing = closing,
};

/* --- messages ------------------------------------------------------------- */

int
lane_on_attach(void *self, uint32_t seq, const struct ctl_attach *m, int *fds)
{
	struct lane_process *lp = self;
	struct lane_grant g = {
	    .port = m->port,
	    .epoch = m->epoch,
	    .ring_bytes = m->ring_bytes,
	    .peer = fd_take(&fds[0]),
	    .own = fd_take(&fds[1]),
	    .bell = fd_take(&fds[2]),
	};
	const struct port refused = {.id = m->port, .epoch = m->epoch};

	(void)seq;
	if (lane_attach(lp->lane, &g) < 0)
		tell_fault(lp, &refused, "memory");
	turn(lp);
	return 0;
}

int
lane_on_detach(void *self, uint32_t seq, const struct ctl_detach *m)
{
	struct lane_process *lp = self;
	uint64_t counters[LC_COUNT];
	struct ctl_detached answer = {
	    .port = m->port,
	    .epoch = m->epoch,
	    .counters = {.count = LC_COUNT, .items = counters},
	};

	lane_detach(lp->lane, m->port, m->epoch, m->dead, counters);
	(void)ctl_send_detached(lp->chan, seq, &answer);
	turn(lp);
	return 0;
}

int
lane_on_plan(void *self, uint32_t seq, const struct ctl_plan *m)
{
	struct lane_process *lp = self;
	int rc;

	(void)seq;
	rc = lane_plan(lp->lane, m->serial, m->ports.items, m->ports.count);
	if (rc < 0)
		log_event(LOG_ERROR, "plan.refuse", "serial=%u error=%d",
		    m->serial, -rc);
	turn(lp);
	return rc;
}

int
lane_on_arena(void *self, uint32_t seq, const struct ctl_arena *m, int *fds)
{
	struct lane_process *lp = self;

	(void)seq;
	if (lane_arena_begin(lp->lane, m->serial, m->bytes, fd_take(&fds[0])) <
	    0)
		log_event(LOG_ERROR, "arena.refuse", "serial=%u", m->serial);
	return 0;
}

int
lane_on_arena_viewer(void *self, uint32_t seq, const struct ctl_arena_viewer *m)
{
	struct lane_process *lp = self;

	(void)seq;
	lane_arena_view(lp->lane, m->serial, m->port, m->epoch);
	return 0;
}

int
lane_on_arena_end(void *self, uint32_t seq, const struct ctl_arena_end *m)
{
	struct lane_process *lp = self;
	const struct ctl_arena_ended answer = {.serial = m->serial};

	if (lp->lane->arena.serial == m->serial)
		lane_arena_leave(lp->lane);
	(void)ctl_send_arena_ended(lp->chan, seq, &answer);
	return 0;
}

/* One message holds so many ports; who has more asks port by port. */
int
lane_on_lane_stats_ask(
    void *self, uint32_t seq, const struct ctl_lane_stats_ask *m)
{
	struct lane_process *lp = self;
	struct lane_port told[STATS_PORTS_MAX];
	struct ctl_lane_stats answer = {.ports = {.items = told}};
	size_t n = 0;

	for (size_t i = 0; i < lp->lane->port_count; i++) {
		struct port *p = &lp->lane->port[i];

		if (!p->used || (m->has_port && m->port != p->id))
			continue;
		if (n == STATS_PORTS_MAX)
			break;
		told[n++] = (struct lane_port){
		    .port = p->id,
		    .epoch = p->epoch,
		    .counters = {.count = LC_COUNT, .items = p->count},
		};
	}
	answer.ports.count = n;
	(void)ctl_send_lane_stats(lp->chan, seq, &answer);
	return 0;
}

int
lane_on_ping(void *self, uint32_t seq, const struct ctl_ping *m)
{
	struct lane_process *lp = self;
	const struct ctl_pong answer = {0};

	(void)m;
	(void)ctl_send_pong(lp->chan, seq, &answer);
	return 0;
}

int
lane_on_stop(void *self, uint32_t seq, const struct ctl_stop *m)
{
	struct lane_process *lp = self;

	(void)seq;
	(void)m;
	loop_stop(lp->loop, 0);
	return 0;
}

/* --- the channel ---------------------------------------------------------- */

static int
message(void *self, const uint8_t *buf, size_t len, int *fds, size_t fd_count)
{
	return lane_dispatch(self, CTL_ROLE_BROKER, buf, len, fds, fd_count);
}

/* The broker is being replaced, or at fault: carry on with the plan we have.
 * The launcher ends us when there is to be no broker. */
static void
closed(void *self, int reason)
{
	struct lane_process *lp = self;

	log_event(reason < 0 ? LOG_WARN : LOG_INFO, "broker.gone", "error=%d",
	    -reason);
	chan_free(ptr_take(lp->chan));
}

static const struct chan_ops chan_ops = {
    .message = message,
    .closed = closed,
};

int
lane_process_init(struct lane_process *lp, struct loop *loop, int control)
{
	*lp = (struct lane_process){.loop = loop};
	lp->chan = chan_new(loop, control, true, &chan_ops, lp);
	lp->lane = lane_new(&ops, lp);
	lp->alarm = timer_new(loop, alarm_expired, lp);
	lp->again = again_new(loop, again_ready, lp);
	if (lp->chan != NULL && lp->lane != NULL && lp->alarm != NULL &&
	    lp->again != NULL)
		return 0;
	lane_process_fini(lp);
	return -ENOMEM;
}

void
lane_process_fini(struct lane_process *lp)
{
	lane_free(ptr_take(lp->lane));
	chan_free(ptr_take(lp->chan));
	timer_free(ptr_take(lp->alarm));
	again_free(ptr_take(lp->again));
}

void
lane_process_hello(struct lane_process *lp)
{
	char hash[sizeof "0123456789abcdef"], role[] = "lane";
	const struct ctl_hello m = {.schema = hash, .role = role};

	(void)snprintf(hash, sizeof hash, "%s", schema_hash);
	(void)ctl_send_hello(lp->chan, 0, &m);
}
