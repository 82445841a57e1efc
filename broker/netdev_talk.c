/*
 * netdev_talk.c - what a backend says, and the few things it may ask for.
 *
 * Runs in: the broker. Trusts: nobody. A message at the wrong time, about
 * something the backend does not have, or too often is a fault: the negative
 * value returned here closes its channel, and life_closed() kills it.
 * Specification: schema/control.json.
 */
#include "broker/arena.h"
#include "broker/crossover.h"
#include "broker/launch_client.h"
#include "broker/names.h"
#include "broker/netdev.h"
#include "broker/nic.h"
#include "broker/ports.h"
#include "gen/schema.h"
#include "proto/chan.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <string.h>

/* Of each kind in one second. A backend that wants to reconnect waits 100 ms
 * between attempts; notices are limited by the backend itself. */
#define RECONNECTS_MAX 50u
#define NOTICES_MAX    20u
#define CONNECTS_MAX   200u /* comings and goings: events for every client */
#define TROUBLES_MAX   20u  /* one or two for each crossover */
#define SECOND_NS      UINT64_C(1000000000)

static int
life_hello(void *self, const struct ctl_hello *m)
{
	struct life *nd = self;

	if (nd->state != ND_HELLO || strcmp(m->schema, schema_hash) != 0 ||
	    strcmp(m->role, nd->type->type) != 0)
		return -EPROTO;
	life_step(nd, EV_HELLO);
	return 0;
}

static void
life_info(void *self, const char *text)
{
	struct life *nd = self;

	text_clean(nd->info, sizeof nd->info, text);
}

static int
life_ready(void *self, const struct ctl_ready *m)
{
	struct life *nd = self;

	if (nd->state != ND_CONFIGURING || nd->ready)
		return -EPROTO;
	if (m->error) {
		text_clean(nd->error.text, sizeof nd->error.text, m->error);
		life_step(nd, EV_REFUSED);
		return 0;
	}
	nd->ready = true;
	if (m->info)
		life_info(nd, m->info);
	nd->connected = m->connected;
	nd->all->ops->connected(nd->all->self, nd, m->connected);
	/* A descriptor that was passed in has its peer from the start. */
	if (nd->options.type == NET_CLIENT_DRIVER_STREAM)
		news_connected(nd);
	if (nd->attested)
		life_step(nd, EV_READY);
	return 0;
}

void
life_set_connected(struct life *nd, bool connected, const char *peer)
{
	nd->connected = connected;
	text_clean(nd->peer, sizeof nd->peer, peer ? peer : "");
	nd->all->ops->connected(nd->all->self, nd, connected);
	news_connected(nd);
	life_answer(nd);
}

/* A new second begins everybody's count anew. */
static void
second_look(struct life *nd)
{
	uint64_t now_ns = sys_mono_ns();

	if (now_ns - nd->second_ns >= SECOND_NS) {
		nd->second_ns = now_ns;
		nd->reconnects = 0;
		nd->notices = 0;
		nd->connects = 0;
		nd->troubles = 0;
		if (nd->nic)
			nd->nic->reports = 0;
	}
}

/* Count one more of something in this second. */
static bool
too_many(struct life *nd, unsigned *count, unsigned max)
{
	second_look(nd);
	return ++*count > max;
}

static int
life_connected(void *self, const struct ctl_connected *m)
{
	struct life *nd = self;

	if (!nd->ready || too_many(nd, &nd->connects, CONNECTS_MAX))
		return -EPROTO;
	life_set_connected(nd, m->connected, m->peer);
	return 0;
}

static struct resource *
find_stream(struct life *nd, uint32_t index)
{
	for (size_t i = 0; i < nd->resources.count; i++) {
		struct resource *r = &nd->resources.items[i];

		if (r->open.index == index && resource_asks_again(r) &&
		    r->granted)
			return r;
	}
	return NULL;
}

/* The answer: a descriptor, or why there is none. */
static void
give_connection(struct life *nd, const char *why, int *fds)
{
	struct ctl_connection c = {.index = nd->reconnect_index};
	char text[LAUNCH_TEXT];

	if (!nd->control)
		return;
	if (why) {
		text_clean(text, sizeof text, why);
		c.error = text;
	}
	if (ctl_send_connection(control_chan(nd->control), nd->reconnect_seq,
		&c, why ? NULL : fds) < 0)
		life_fault(nd, "takes no messages");
}

static void
reopened(void *self, const struct launch_msg *m, int *fds)
{
	struct life *nd = self;
	bool failed = m->result.error != 0 || fds[0] < 0;

	nd->reconnect_ask = 0;
	give_connection(nd, failed ? launch_why(&m->result) : NULL, fds);
}

static void
ask_connection(struct life *nd, const struct resource *r)
{
	struct launch_msg ask = {.type = LAUNCH_OPEN, .slot = nd->slot};

	ask.open = r->open;
	ask.open.again = 1;
	ask.open.give = 1;
	if (nd->reconnect_number >= 0)
		ask.open.number = (uint32_t)nd->reconnect_number;
	nd->reconnect_ask = launch_ask(nd->all->launch, &ask, -1, reopened, nd);
}

/* What its name means now; the last address is followed by the first. */
static void
refound(void *self, int rc)
{
	struct resource *r = self;
	struct life *nd = r->owner;
	struct err e;

	if (rc == 0 && (names_next(r) || names_first(r))) {
		ask_connection(nd, r);
		return;
	}
	names_error(r, &e);
	give_connection(nd, e.text, NULL);
}

/* Asking again before the answer only renews the question's number. */
static int
life_reconnect(void *self, uint32_t seq, const struct ctl_reconnect *m)
{
	struct life *nd = self;
	struct resource *r = find_stream(nd, m->index);
	int rc;

	if (!nd->ready || !r || too_many(nd, &nd->reconnects, RECONNECTS_MAX) ||
	    (m->has_number && r->open.kind != RES_VDE_DATA))
		return -EPROTO;
	nd->reconnect_seq = seq;
	nd->reconnect_index = m->index;
	if (nd->reconnect_ask != 0)
		return 0;
	nd->reconnect_number = m->has_number ? (int64_t)m->number : -1;
	if (!r->names) {
		ask_connection(nd, r);
		return 0;
	}
	rc = names_find(r, refound, r);
	if (rc != 0)
		refound(r, rc < 0 ? rc : 0);
	return 0;
}

static int
life_notice(void *self, const struct ctl_notice *m)
{
	struct life *nd = self;

	if (!too_many(nd, &nd->notices, NOTICES_MAX))
		news_notice(nd, m->kind, m->text);
	return 0;
}

/* --- what a network card says --- */

/* May it say anything of that kind, and now? */
static int
nic_may_report(struct life *nd)
{
	if (!nd->nic || !nd->ready)
		return -EPROTO;
	second_look(nd);
	return nic_reported(nd->nic);
}

static int
life_rx_filter(void *self, const struct ctl_rx_filter *m)
{
	struct life *nd = self;

	if (nic_may_report(nd) < 0)
		return -EPROTO;
	return nic_filter_told(nd->nic, &m->filter, m->changed);
}

static int
life_rx_filter_state(void *self, const struct ctl_rx_filter_state *m)
{
	struct life *nd = self;

	if (!nd->nic || !nd->ready)
		return -EPROTO;
	return nic_filter_told(nd->nic, &m->filter, m->changed);
}

static int
life_nic_state(void *self, const struct ctl_nic_state *m)
{
	struct life *nd = self;

	if (nic_may_report(nd) < 0)
		return -EPROTO;
	return nic_state_told(nd->nic, m->features, m->pairs);
}

/* Our lane does not drain: is it alive? */
static int
life_lane_stalled(void *self)
{
	struct life *nd = self;

	if (!nd->ready)
		return -EPROTO;
	port_lane_suspect(nd->port);
	return 0;
}

/* --- what it says of its crossover --- */

static int
life_crossed(void *self, const struct ctl_crossed *m)
{
	struct life *nd = self;

	return nd->ready ? crossover_crossed(nd->port, m) : -EPROTO;
}

static int
life_uncrossed(void *self, const struct ctl_uncrossed *m)
{
	struct life *nd = self;

	return nd->ready ? crossover_uncrossed(nd->port, m) : -EPROTO;
}

static int
life_cross_ended(void *self, const struct ctl_cross_ended *m)
{
	struct life *nd = self;

	return nd->ready ? crossover_ended(nd->port, m) : -EPROTO;
}

static int
life_cross_trouble(void *self, const struct ctl_cross_trouble *m)
{
	struct life *nd = self;

	if (!nd->ready || too_many(nd, &nd->troubles, TROUBLES_MAX))
		return -EPROTO;
	return crossover_trouble(nd->port, m);
}

static void
life_cross_counts(void *self, const struct cross_counts *c)
{
	struct life *nd = self;

	crossover_told(nd->port, c);
}

/* --- what it says of its group's arena --- */

static int
life_arena_viewed(void *self, const struct ctl_arena_viewed *m)
{
	struct life *nd = self;

	return nd->ready ? arena_viewed(nd->port, m) : -EPROTO;
}

static void
life_closed(void *self, int reason)
{
	struct life *nd = self;

	if (reason == 0 &&
	    (nd->state == ND_STOPPING || nd->state == ND_CONFIGURING))
		return; /* it ends by itself; its deadline stands */
	if (reason == 0)
		life_lost(nd, "closed its channel");
	else
		life_fault(nd, "broke the rules of its channel");
}

static void
life_hung(void *self)
{
	struct life *nd = self;

	if (!life_may(nd, EV_HUNG))
		return;
	text_clean(nd->fault, sizeof nd->fault, "deadline:ping");
	life_step(nd, EV_HUNG);
}

const struct control_ops life_control_ops = {
    .hello = life_hello,
    .ready = life_ready,
    .connected = life_connected,
    .info = life_info,
    .reconnect = life_reconnect,
    .notice = life_notice,
    .lane_stalled = life_lane_stalled,
    .rx_filter = life_rx_filter,
    .rx_filter_state = life_rx_filter_state,
    .nic_state = life_nic_state,
    .crossed = life_crossed,
    .uncrossed = life_uncrossed,
    .cross_ended = life_cross_ended,
    .cross_trouble = life_cross_trouble,
    .cross_counts = life_cross_counts,
    .arena_viewed = life_arena_viewed,
    .closed = life_closed,
    .hung = life_hung,
};
