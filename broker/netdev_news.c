/*
 * netdev_news.c - what the world is told about netdevs: obituaries, restarts,
 * connections, notices, as log lines and QMP events.
 *
 * Runs in: the broker. Trusts: nobody; texts of backends are cleaned before
 * they go anywhere.
 * Specification: DESIGN 7, schema/bulkhead.json, style B5.12.
 */
#include "broker/events.h"
#include "broker/netdev.h"
#include "broker/ports.h"
#include "proto/log.h"
#include "proto/sys.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define MS UINT64_C(1000000)
#define US UINT64_C(1000)

/* Bytes of the UTF-8 sequence at `s`, 0 when it is none (RFC 3629). */
static size_t
utf8_length(const unsigned char *s)
{
	size_t len = s[0] < 0x80                   ? 1
		     : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
		     : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
		     : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
						   : 0;

	for (size_t i = 1; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return len;
}

void
text_clean(char *to, size_t size, const char *from)
{
	size_t out = 0;

	while (*from != '\0') {
		size_t len = utf8_length((const unsigned char *)from);
		bool plain =
		    len > 0 && (unsigned char)*from >= ' ' && *from != 0x7f;

		if (out + (len > 0 ? len : 1) >= size)
			break;
		if (plain)
			memcpy(to + out, from, len);
		else
			to[out] = '?';
		out += plain ? len : 1;
		from += len > 0 ? len : 1;
	}
	to[out] = '\0';
}

const char *
news_cause(
    const struct launch_result *r, const char *fault, char buf[LIFE_TEXT_BYTES])
{
	if (strncmp(fault, "deadline:", 9) == 0)
		(void)snprintf(buf, LIFE_TEXT_BYTES, "%s", fault);
	else if (fault[0] != '\0')
		(void)snprintf(buf, LIFE_TEXT_BYTES, "fault:%.200s", fault);
	else if (r->wait_code == CLD_EXITED)
		(void)snprintf(buf, LIFE_TEXT_BYTES, "exit:%d", r->wait_status);
	else if (r->wait_code == CLD_KILLED || r->wait_code == CLD_DUMPED)
		(void)snprintf(
		    buf, LIFE_TEXT_BYTES, "signal:%d", r->wait_status);
	else
		(void)snprintf(buf, LIFE_TEXT_BYTES, "start:%d", -r->error);
	return buf;
}

void
news_exited(struct life *nd, uint64_t ran_ns)
{
	char cause[LIFE_TEXT_BYTES], words[LIFE_TEXT_BYTES];
	bool again = !backoff_spent(&nd->backoff);
	uint64_t wait_ns = backoff_wait_ns(&nd->backoff);
	struct backend_exited_data d = {.id = nd->options.id,
	    .epoch = nd->epoch,
	    .ran_ms = ran_ns / MS,
	    .has_restart_ms = again,
	    .restart_ms = wait_ns / MS};

	text_clean(words, sizeof words,
	    nd->last.text[0] != '\0' ? nd->last.text : nd->error.text);
	(void)news_cause(&nd->last, nd->fault, cause);
	log_event(LOG_WARN, "netdev.exit",
	    "id=%s type=%s epoch=%u cause=%s ran_ms=%llu restart_ms=%lld "
	    "words=%s",
	    nd->options.id, nd->type->type, nd->epoch, log_quote(cause),
	    (unsigned long long)(ran_ns / MS),
	    again ? (long long)(wait_ns / MS) : -1ll, log_quote(words));
	d.role = (char *)(uintptr_t)nd->type->type;
	d.cause = cause;
	d.words = words[0] != '\0' ? words : NULL;
	event_emit(EVENT_BACKEND_EXITED, &d);
}

void
news_held(struct life *nd)
{
	const struct backend_quarantined_data d = {
	    .id = nd->options.id, .deaths = nd->backoff.quick};

	log_event(LOG_ERROR, "netdev.quarantine", "id=%s deaths=%u",
	    nd->options.id, nd->backoff.quick);
	event_emit(EVENT_BACKEND_QUARANTINED, &d);
}

/* The lane has told what it dropped while the netdev was away, or cannot. */
static void
restarted(struct life *nd, uint64_t frames)
{
	struct backend_restarted_data d = {.id = nd->options.id,
	    .epoch = nd->epoch,
	    .outage_us = nd->outage_ns / US};

	if (frames > nd->dead_seen)
		d.dropped_frames = frames - nd->dead_seen;
	nd->dead_seen = frames;
	log_event(LOG_INFO, "netdev.restart",
	    "id=%s epoch=%u outage_us=%llu dropped_frames=%llu", nd->options.id,
	    nd->epoch, (unsigned long long)d.outage_us,
	    (unsigned long long)d.dropped_frames);
	event_emit(EVENT_BACKEND_RESTARTED, &d);
}

/* Of the dead epochs, in the lane's ring and in a crossover's. */
static uint64_t
dead_frames(const struct life *nd)
{
	return nd->port->base[LC_RX_DROP_DEAD] +
	       nd->port->crossed[LC_RX_DROP_DEAD];
}

static void
drops_told(struct control_ask *a, const uint64_t *counters, size_t count)
{
	struct life *nd =
	    (struct life *)(void *)((char *)a - offsetof(struct life, drops));
	uint64_t frames = dead_frames(nd);

	if (count == LC_COUNT)
		frames += counters[LC_RX_DROP_DEAD];
	restarted(nd, frames);
}

void
news_restarted(struct life *nd)
{
	nd->outage_ns = sys_mono_ns() - nd->died_ns;
	nd->drops.told = drops_told;
	if (port_ask(nd->port, &nd->drops) < 0)
		restarted(nd, dead_frames(nd));
}

/* It died again before the lane answered: tell what is known. */
void
news_restarted_cancel(struct life *nd)
{
	if (!nd->drops.control)
		return;
	control_ask_cancel(&nd->drops);
	restarted(nd, dead_frames(nd));
}

void
news_notice(struct life *nd, const char *kind, const char *text)
{
	char clean_kind[64], clean_text[1024];
	struct backend_notice_data d = {
	    .id = nd->options.id, .kind = clean_kind, .text = clean_text};

	text_clean(clean_kind, sizeof clean_kind, kind);
	text_clean(clean_text, sizeof clean_text, text);
	log_event(LOG_WARN, "netdev.notice", "id=%s kind=%s text=%s",
	    nd->options.id, log_quote(clean_kind), log_quote(clean_text));
	event_emit(EVENT_BACKEND_NOTICE, &d);
}

/* Is its outside a stream, which comes and goes? */
static bool
is_stream(const struct life *nd)
{
	if (nd->options.type == NET_CLIENT_DRIVER_DGRAM)
		return false;
	for (size_t i = 0; i < nd->resources.count; i++) {
		uint32_t kind = nd->resources.items[i].open.kind;

		if (kind == RES_STREAM_LISTEN || kind == RES_STREAM_CONNECT ||
		    kind == RES_FD)
			return true;
	}
	return false;
}

/* The peer's address as the schema has it; texts are borrowed. */
static void
fill_address(struct socket_address *out, const char *peer, char *host)
{
	const char *colon = strrchr(peer, ':');
	char *text = (char *)(uintptr_t)peer;
	size_t len;

	if (!colon || strchr(peer, '/') || peer[0] == '@') {
		out->type = SOCKET_ADDRESS_TYPE_UNIX;
		out->u.unix_.has_abstract = peer[0] == '@';
		out->u.unix_.abstract = peer[0] == '@';
		out->u.unix_.path = text + (peer[0] == '@');
		return;
	}
	len = (size_t)(colon - peer);
	memcpy(host, peer, len);
	host[len] = '\0';
	if (host[0] == '[' && len > 1 && host[len - 1] == ']') {
		host[len - 1] = '\0';
		host++;
	}
	out->type = SOCKET_ADDRESS_TYPE_INET;
	out->u.inet.host = host;
	out->u.inet.port = text + (colon - peer) + 1;
}

static void
tell_stream(const struct life *nd)
{
	struct netdev_stream_connected_data up = {.netdev_id = nd->options.id};
	struct netdev_stream_disconnected_data down = {
	    .netdev_id = nd->options.id};
	char host[LIFE_TEXT_BYTES];

	if (nd->connected) {
		if (nd->options.type != NET_CLIENT_DRIVER_STREAM ||
		    nd->options.u.stream.addr.type == SOCKET_ADDRESS_TYPE_INET)
			fill_address(&up.addr, nd->peer, host);
		else /* borrowed: unix peers seldom have a name of their own */
			up.addr = nd->options.u.stream.addr;
		event_emit(EVENT_NETDEV_STREAM_CONNECTED, &up);
	} else if (nd->wanted) {
		event_emit(EVENT_NETDEV_STREAM_DISCONNECTED, &down);
	}
}

static void
tell_vhost_user(const struct life *nd)
{
	struct netdev_vhost_user_connected_data up = {
	    .netdev_id = nd->options.id,
	    .chardev_id = nd->options.u.vhost_user.chardev};
	struct netdev_vhost_user_disconnected_data down = {
	    .netdev_id = nd->options.id};

	if (nd->connected)
		event_emit(EVENT_NETDEV_VHOST_USER_CONNECTED, &up);
	else if (nd->wanted)
		event_emit(EVENT_NETDEV_VHOST_USER_DISCONNECTED, &down);
}

void
news_connected(struct life *nd)
{
	bool vhost_user = nd->options.type == NET_CLIENT_DRIVER_VHOST_USER;

	if ((!vhost_user && !nd->nic && !is_stream(nd)) ||
	    nd->told_connected == nd->connected)
		return;
	nd->told_connected = nd->connected;
	log_event(LOG_INFO,
	    nd->connected ? "netdev.connect" : "netdev.disconnect",
	    "id=%s peer=%s", nd->options.id, log_quote(nd->peer));
	/* Of a card's front-end query-nics tells; QEMU has no event for it. */
	if (vhost_user)
		tell_vhost_user(nd);
	else if (!nd->nic)
		tell_stream(nd);
}
