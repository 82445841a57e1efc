/*
 * control.c - one control channel: what arrives goes to the right function.
 *
 * Runs in: the broker. Trusts: nobody; the sender of a message that is
 * malformed or comes at the wrong time loses its channel, and with that its
 * process.
 * Specification: schema/control.json.
 */
#include "broker/control.h"

#include "proto/chan.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <stdlib.h>

struct control {
	struct chan *chan;      /* owned */
	struct timer *pong_due; /* owned */
	enum ctl_role from;
	uint32_t seq;      /* last one used */
	uint32_t ping_seq; /* 0: no ping on its way */
	const struct control_ops *ops;
	void *self;
	TAILQ_HEAD(, control_ask) asks;
};

static int
message(void *self, const uint8_t *buf, size_t len, int *fds, size_t fd_count)
{
	struct control *k = self;

	return broker_dispatch(k, k->from, buf, len, fds, fd_count);
}

static void
closed(void *self, int reason)
{
	struct control *k = self;

	timer_stop(k->pong_due);
	k->ops->closed(k->self, reason);
}

static void
pong_late(void *self)
{
	struct control *k = self;

	k->ping_seq = 0;
	k->ops->hung(k->self);
}

struct control *
control_new(struct loop *l, int fd, enum ctl_role from,
    const struct control_ops *ops, void *self)
{
	static const struct chan_ops chan_ops = {message, closed};
	struct control *k = calloc(1, sizeof *k);

	if (!k) {
		fd_close(&fd);
		return NULL;
	}
	TAILQ_INIT(&k->asks);
	k->from = from;
	k->ops = ops;
	k->self = self;
	k->chan = chan_new(l, fd, 0, &chan_ops, k);
	k->pong_due = timer_new(l, pong_late, k);
	if (!k->chan || !k->pong_due) {
		control_free(k);
		return NULL;
	}
	return k;
}

static void
tell(struct control_ask *a, const uint64_t *counters, size_t count)
{
	TAILQ_REMOVE(&a->control->asks, a, entry);
	a->control = NULL;
	a->told(a, counters, count);
}

void
control_free(struct control *k)
{
	struct control_ask *a;

	if (!k)
		return;
	while ((a = TAILQ_FIRST(&k->asks)))
		tell(a, NULL, 0);
	if (k->chan)
		chan_free(k->chan);
	if (k->pong_due)
		timer_free(k->pong_due);
	free(k);
}

void
control_own(struct control *k, void *self)
{
	k->self = self;
}

struct chan *
control_chan(struct control *k)
{
	return k->chan;
}

uint32_t
control_seq(struct control *k)
{
	if (++k->seq == 0)
		k->seq = 1;
	return k->seq;
}

/* A send that failed is noticed as the end of the channel, by the loop. */
void
control_ping(struct control *k)
{
	const struct ctl_ping m = {0};

	if (k->ping_seq != 0)
		return;
	k->ping_seq = control_seq(k);
	timer_set_ns(
	    k->pong_due, ctl_deadline_ms(CTL_PING) * UINT64_C(1000000));
	(void)ctl_send_ping(k->chan, k->ping_seq, &m);
}

static void
wait_for(struct control *k, struct control_ask *a, uint32_t seq)
{
	a->control = k;
	a->seq = seq;
	TAILQ_INSERT_TAIL(&k->asks, a, entry);
}

void
control_ask_port(struct control *k, struct control_ask *a, uint32_t port)
{
	const struct ctl_lane_stats_ask m = {.has_port = true, .port = port};
	uint32_t seq = control_seq(k);

	wait_for(k, a, seq);
	if (ctl_send_lane_stats_ask(k->chan, seq, &m) < 0)
		tell(a, NULL, 0);
}

void
control_ask_backend(struct control *k, struct control_ask *a)
{
	const struct ctl_backend_stats_ask m = {0};
	uint32_t seq = control_seq(k);

	wait_for(k, a, seq);
	if (ctl_send_backend_stats_ask(k->chan, seq, &m) < 0)
		tell(a, NULL, 0);
}

void
control_ask_filter(struct control *k, struct control_ask *a)
{
	const struct ctl_rx_filter_ask m = {0};
	uint32_t seq = control_seq(k);

	wait_for(k, a, seq);
	if (ctl_send_rx_filter_ask(k->chan, seq, &m) < 0)
		tell(a, NULL, 0);
}

void
control_ask_end(struct control_ask *a)
{
	if (a->control)
		tell(a, NULL, 0);
}

void
control_ask_cancel(struct control_ask *a)
{
	if (!a->control)
		return;
	TAILQ_REMOVE(&a->control->asks, a, entry);
	a->control = NULL;
}

static struct control_ask *
find_ask(struct control *k, uint32_t seq)
{
	struct control_ask *a;

	TAILQ_FOREACH (a, &k->asks, entry)
		if (a->seq == seq)
			return a;
	return NULL;
}

int
broker_on_hello(void *self, uint32_t seq, const struct ctl_hello *m)
{
	struct control *k = self;

	(void)seq;
	return k->ops->hello(k->self, m);
}

int
broker_on_ready(void *self, uint32_t seq, const struct ctl_ready *m)
{
	struct control *k = self;

	(void)seq;
	return k->ops->ready(k->self, m);
}

int
broker_on_connected(void *self, uint32_t seq, const struct ctl_connected *m)
{
	struct control *k = self;

	(void)seq;
	return k->ops->connected(k->self, m);
}

int
broker_on_reconnect(void *self, uint32_t seq, const struct ctl_reconnect *m)
{
	struct control *k = self;

	return k->ops->reconnect(k->self, seq, m);
}

int
broker_on_notice(void *self, uint32_t seq, const struct ctl_notice *m)
{
	struct control *k = self;

	(void)seq;
	return k->ops->notice(k->self, m);
}

int
broker_on_lane_stalled(
    void *self, uint32_t seq, const struct ctl_lane_stalled *m)
{
	struct control *k = self;

	(void)seq;
	(void)m;
	return k->ops->lane_stalled(k->self);
}

int
broker_on_rx_filter(void *self, uint32_t seq, const struct ctl_rx_filter *m)
{
	struct control *k = self;

	(void)seq;
	return k->ops->rx_filter(k->self, m);
}

int
broker_on_nic_state(void *self, uint32_t seq, const struct ctl_nic_state *m)
{
	struct control *k = self;

	(void)seq;
	return k->ops->nic_state(k->self, m);
}

/* As with counters: an answer that nobody waits for may be late. */
int
broker_on_rx_filter_state(
    void *self, uint32_t seq, const struct ctl_rx_filter_state *m)
{
	struct control *k = self;
	struct control_ask *a = find_ask(k, seq);
	int rc = a ? k->ops->rx_filter_state(k->self, m) : 0;

	if (rc == 0 && a)
		tell(a, NULL, 0);
	return rc;
}

int
broker_on_crossed(void *self, uint32_t seq, const struct ctl_crossed *m)
{
	struct control *k = self;

	(void)seq;
	return k->ops->crossed(k->self, m);
}

int
broker_on_uncrossed(void *self, uint32_t seq, const struct ctl_uncrossed *m)
{
	struct control *k = self;

	(void)seq;
	return k->ops->uncrossed(k->self, m);
}

int
broker_on_cross_ended(void *self, uint32_t seq, const struct ctl_cross_ended *m)
{
	struct control *k = self;

	(void)seq;
	return k->ops->cross_ended(k->self, m);
}

int
broker_on_cross_trouble(
    void *self, uint32_t seq, const struct ctl_cross_trouble *m)
{
	struct control *k = self;

	(void)seq;
	return k->ops->cross_trouble(k->self, m);
}

int
broker_on_arena_viewed(
    void *self, uint32_t seq, const struct ctl_arena_viewed *m)
{
	struct control *k = self;

	(void)seq;
	return k->ops->arena_viewed(k->self, m);
}

int
broker_on_arena_ended(void *self, uint32_t seq, const struct ctl_arena_ended *m)
{
	struct control *k = self;

	(void)seq;
	return k->ops->arena_ended(k->self, m);
}

int
broker_on_detached(void *self, uint32_t seq, const struct ctl_detached *m)
{
	struct control *k = self;

	(void)seq;
	return k->ops->detached(k->self, m);
}

int
broker_on_port_fault(void *self, uint32_t seq, const struct ctl_port_fault *m)
{
	struct control *k = self;

	(void)seq;
	return k->ops->port_fault(k->self, m);
}

int
broker_on_port_stalled(
    void *self, uint32_t seq, const struct ctl_port_stalled *m)
{
	struct control *k = self;

	(void)seq;
	return k->ops->port_stalled(k->self, m);
}

/* A pong that nobody waits for may be late; it is no fault. */
int
broker_on_pong(void *self, uint32_t seq, const struct ctl_pong *m)
{
	struct control *k = self;

	(void)m;
	if (seq == k->ping_seq) {
		k->ping_seq = 0;
		timer_stop(k->pong_due);
	}
	return 0;
}

int
broker_on_backend_stats(
    void *self, uint32_t seq, const struct ctl_backend_stats *m)
{
	struct control *k = self;
	struct control_ask *a = find_ask(k, seq);

	if (a && m->info)
		k->ops->info(k->self, m->info);
	if (a && m->cross)
		k->ops->cross_counts(k->self, m->cross);
	if (a)
		tell(a, m->counters.items, m->counters.count);
	return 0;
}

int
broker_on_lane_stats(void *self, uint32_t seq, const struct ctl_lane_stats *m)
{
	struct control_ask *a = find_ask(self, seq);

	if (!a)
		return 0;
	if (m->ports.count == 1)
		tell(a, m->ports.items[0].counters.items,
		    m->ports.items[0].counters.count);
	else
		tell(a, NULL, 0);
	return 0;
}
