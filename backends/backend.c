/*
 * backend.c - a backend's conversation with the broker, and the calls that a
 * type makes into the common program.
 *
 * Runs in: every backend.
 * Trusts: the broker for its options, not for its wording: the generated
 * dispatcher has checked every message. The broker may go away and a new one
 * come; frames flow on meanwhile.
 * Specification: schema/control.json.
 */
#include "backends/backend_state.h"

#include "proto/chan.h"
#include "proto/log.h"
#include "proto/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gen/backends.h"
#include "gen/control.h"

#define SECOND_NS           UINT64_C(1000000000)
#define RECONNECT_ANSWER_NS (10 * SECOND_NS)
#define NOTICES_PER_SECOND  4u

_Noreturn void
backend_end(int code, const char *words)
{
	if (code)
		log_event(
		    LOG_ERROR, "backend.end", "words=%s", log_quote(words));
	if (code)
		confine_fail(STAGE_RUN, EPROTO, words);
	_exit(0);
}

_Noreturn void
backend_renew(struct backend *be, int error, const char *words)
{
	(void)be;
	log_event(LOG_WARN, "backend.renew", "words=%s", log_quote(words));
	confine_fail(STAGE_RUN, -error, words);
}

/* --- what the broker says ------------------------------------------------- */

/* The generated dispatcher calls these; `self` is the struct backend. */

int
backend_on_configure(void *self, uint32_t seq, const struct ctl_configure *m)
{
	struct backend *be = self;

	if (be->configured)
		return -EPROTO;
	if (desc_copy(&desc_netdev, &be->netdev, &m->netdev) < 0)
		return -ENOMEM;
	be->configure_seq = seq;
	be->ring_bytes = m->ring_bytes;
	be->has_reconnect_ms = m->has_reconnect_ms;
	be->reconnect_ms = m->reconnect_ms;
	be->link_up = !m->has_link_up || m->link_up;
	be->configured = true;
	/* main() goes on with the start. */
	loop_stop(be->loop, 0);
	return 0;
}

int
backend_on_connection(
    void *self, uint32_t seq, const struct ctl_connection *m, int *fds)
{
	struct backend *be = self;

	(void)seq;
	/* Late: we stopped waiting, or never asked for that one. */
	if (!timer_pending(be->reconnect) || m->index != be->reconnect_index) {
		fd_close(&fds[0]);
		return 0;
	}
	timer_stop(be->reconnect);
	if (!be->type->connection) {
		fd_close(&fds[0]);
		return 0;
	}
	be->type->connection(be->self, fd_take(&fds[0]),
	    m->error ? m->error : "no descriptor came");
	return 0;
}

int
backend_on_ping(void *self, uint32_t seq, const struct ctl_ping *m)
{
	struct backend *be = self;

	(void)m;
	(void)ctl_send_pong(be->control, seq, &(struct ctl_pong){0});
	return 0;
}

int
backend_on_stop(void *self, uint32_t seq, const struct ctl_stop *m)
{
	struct backend *be = self;

	(void)seq;
	(void)m;
	loop_stop(be->loop, 0);
	return 0;
}

int
backend_on_backend_stats_ask(
    void *self, uint32_t seq, const struct ctl_backend_stats_ask *m)
{
	struct backend *be = self;
	uint64_t counters[BC_COUNT] = {0};
	struct ctl_backend_stats stats = {0};
	struct cross_counts cross;

	(void)m;
	if (be->lane.own_mem)
		backend_rings_counters(be, counters);
	if (backend_cross_counts(be, &cross))
		stats.cross = &cross;
	stats.counters.count = BC_COUNT;
	stats.counters.items = counters;
	stats.info = be->info;
	(void)ctl_send_backend_stats(be->control, seq, &stats);
	return 0;
}

static int
control_message(
    void *self, const uint8_t *buf, size_t len, int *fds, size_t fd_count)
{
	return backend_dispatch(self, CTL_ROLE_BROKER, buf, len, fds, fd_count);
}

/*
 * The broker is being replaced, or it spoke nonsense: frames flow on either
 * way. Before ready nobody would ever configure us, so that is the end.
 */
static void
control_closed(void *self, int reason)
{
	struct backend *be = self;

	chan_free(ptr_take(be->control));
	if (!be->configured)
		loop_stop(be->loop, 1);
	log_event(
	    reason ? LOG_WARN : LOG_INFO, "control.closed", "error=%d", reason);
}

static const struct chan_ops control_ops = {
    .message = control_message,
    .closed = control_closed,
};

static void
reconnect_expired(void *self)
{
	struct backend *be = self;

	if (be->type->connection)
		be->type->connection(be->self, -1, "no answer from the broker");
}

/* --- what we say ---------------------------------------------------------- */

/* A copy of text that lives as long as the message; struct fields are char *.
 */
static char *
text_field(char *buf, size_t size, const char *text)
{
	snprintf(buf, size, "%s", text);
	return buf;
}

int
backend_control_open(struct backend *be, int fd, const char *schema_hash)
{
	char hash[128], role[64];
	struct ctl_hello hello;

	be->reconnect = timer_new(be->loop, reconnect_expired, be);
	be->control = chan_new(be->loop, fd, 1, &control_ops, be);
	if (!be->reconnect || !be->control)
		return -ENOMEM;
	hello = (struct ctl_hello){
	    .schema = text_field(hash, sizeof hash, schema_hash),
	    .role = text_field(role, sizeof role, be->type->name),
	};
	return ctl_send_hello(be->control, 0, &hello);
}

void
backend_control_close(struct backend *be)
{
	chan_free(ptr_take(be->control));
	timer_free(ptr_take(be->reconnect));
	desc_free(&desc_netdev, &be->netdev);
}

void
backend_control_ready(struct backend *be, const char *error)
{
	char text[ERR_TEXT_BYTES];
	struct ctl_ready m = {.connected = be->connected};

	if (error)
		m.error = text_field(text, sizeof text, error);
	else if (be->info[0])
		m.info = be->info;
	if (be->control)
		(void)ctl_send_ready(be->control, be->configure_seq, &m);
	be->ready = true;
	backend_reports_go(be);
}

void
backend_connected(struct backend *be, bool connected, const char *peer)
{
	struct ctl_connected m = {.connected = connected};

	be->connected = connected;
	snprintf(be->peer, sizeof be->peer, "%s", peer ? peer : "");
	log_event(LOG_INFO, connected ? "peer.connected" : "peer.gone",
	    "peer=%s", log_quote(be->peer));
	if (!be->ready || !be->control)
		return;
	m.peer = be->peer;
	(void)ctl_send_connected(be->control, 0, &m);
}

void
backend_info(struct backend *be, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(be->info, sizeof be->info, fmt, ap);
	va_end(ap);
}

static void
reconnect(struct backend *be, const struct ctl_reconnect *m)
{
	be->reconnect_index = m->index;
	/* Also without a broker: the type hears of it and tries again. */
	timer_set_ns(be->reconnect, RECONNECT_ANSWER_NS);
	if (be->control)
		(void)ctl_send_reconnect(be->control, 0, m);
}

void
backend_reconnect(struct backend *be, unsigned index)
{
	reconnect(be, &(struct ctl_reconnect){.index = index});
}

void
backend_reconnect_to(struct backend *be, unsigned index, uint32_t number)
{
	reconnect(
	    be, &(struct ctl_reconnect){
		    .index = index, .has_number = true, .number = number});
}

int
backend_reconnect_ms(const struct backend *be)
{
	if (!be->has_reconnect_ms)
		return -1;
	return be->reconnect_ms > INT32_MAX ? INT32_MAX : (int)be->reconnect_ms;
}

/* May one more notice be told? */
static bool
notice_allowed(struct notice_rate *r)
{
	uint64_t now = sys_mono_ns();

	if (now - r->since_ns >= SECOND_NS) {
		r->since_ns = now;
		r->told = 0;
	}
	if (r->told >= NOTICES_PER_SECOND) {
		r->swallowed++;
		return false;
	}
	r->told++;
	return true;
}

void
backend_notice(struct backend *be, const char *kind, const char *text)
{
	char kind_copy[64], full[512];
	struct ctl_notice m;

	if (!notice_allowed(&be->notices))
		return;
	if (be->notices.swallowed)
		snprintf(full, sizeof full, "%s (%llu notices not told)", text,
		    (unsigned long long)be->notices.swallowed);
	else
		snprintf(full, sizeof full, "%s", text);
	be->notices.swallowed = 0;
	log_event(LOG_WARN, "backend.notice", "kind=%s text=%s",
	    log_quote(kind), log_quote(full));
	m = (struct ctl_notice){
	    .kind = text_field(kind_copy, sizeof kind_copy, kind),
	    .text = full,
	};
	if (be->control)
		(void)ctl_send_notice(be->control, 0, &m);
}

/* --- small things a type asks for ----------------------------------------- */

struct loop *
backend_loop(struct backend *be)
{
	return be->loop;
}

int
backend_resource(struct backend *be, unsigned index)
{
	BUG_ON(index >= LAUNCH_RESOURCES);
	return fd_take(&be->resource[index]);
}

void
backend_takes_long(struct backend *be)
{
	offload_long(be->offload);
}
