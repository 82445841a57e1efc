/*
 * backend_conn.c - the connection of a stream netdev, which comes and goes.
 *
 * Runs in: backends of stream kind; their sockets come from the launcher, and
 * new connections too. The only socket made here is by accept4.
 * Trusts: nothing that comes from the sockets.
 * Specification: QEMU net/socket.c and net/stream.c, but lost connections are
 * made again, and a peer that comes and goes is slowed down.
 */
#include "backends/backend_conn.h"
#include "backends/backend_retry.h"

#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#define MS_NS UINT64_C(1000000)

/* A peer that has silently gone frees its place after about two minutes. */
#define KEEPALIVE_IDLE_S  60
#define KEEPALIVE_EVERY_S 10
#define KEEPALIVE_COUNT   6

/* --- the connection comes and goes ---------------------------------------- */

static void
peer_found(struct conn *c, int fd, enum stream_origin origin, const char *peer)
{
	if (stream_start(&c->stream, fd, origin) < 0) {
		backend_notice(c->be, "peer", "no memory for the connection");
		return;
	}
	c->retry_ms = RETRY_MS_FIRST;
	c->since_ns = sys_mono_ns();
	backend_connected(c->be, true, peer);
}

/* After a failure: when to ask for the next connection, if ever. */
static void
retry_later(struct conn *c)
{
	int64_t ms = c->reconnect_ms;

	if (ms != CONN_RECONNECT_USUAL) {
		if (ms > 0)
			timer_set_ns(
			    c->retry, (ms < RETRY_MS_LEAST ? RETRY_MS_LEAST
							   : (uint64_t)ms) *
					  MS_NS);
		return;
	}
	timer_set_ns(c->retry, c->retry_ms * MS_NS);
	c->retry_ms *= 2;
	if (c->retry_ms > RETRY_MS_LAST)
		c->retry_ms = RETRY_MS_LAST;
}

static void accept_ready(void *self, unsigned events);

/* Has there been one short connection after the other? */
static bool
is_flood(struct conn *c)
{
	if (sys_mono_ns() - c->since_ns >= SHORT_NS)
		c->shortlived = 0;
	else if (c->shortlived < SHORT_MAX)
		c->shortlived++;
	return c->shortlived == SHORT_MAX;
}

static void
peer_lost(void *owner, const char *why)
{
	struct conn *c = owner;

	backend_connected(c->be, false, why);
	c->told(c->owner, NULL);
	if (c->listening >= 0) {
		if (is_flood(c)) {
			timer_set_ns(c->retry, SHORT_PAUSE_MS * MS_NS);
			return;
		}
		watch_set(c->accept_watch, WATCH_READ);
		/* One that waits already misses no frame in between. */
		accept_ready(c, 0);
	} else if (c->connects) {
		retry_later(c);
	}
}

/* Of a socket that we or the launcher made. */
static enum stream_origin
origin_of(const struct addr *peer)
{
	return peer->sa.sa_family == AF_UNIX ? STREAM_UNIX : STREAM_INET;
}

/* --- listen ----------------------------------------------------------------
 */

static void
name_peer(struct conn *c, const struct addr *from, char text[ADDR_TEXT_BYTES])
{
	/* A unix peer has no name of its own: say where it came in. */
	if (from->sa.sa_family == AF_UNIX || from->len == 0)
		snprintf(text, ADDR_TEXT_BYTES, "%s", c->name);
	else
		addr_text(from, text);
}

/* One peer at a time: the next waits in the backlog until this one goes. */
static void
accept_ready(void *self, unsigned events)
{
	struct conn *c = self;
	struct addr from = {.len = sizeof from - offsetof(struct addr, sa)};
	char text[ADDR_TEXT_BYTES];
	int fd;

	(void)events;
	fd = (int)sys_result(accept4(
	    c->listening, &from.sa, &from.len, SOCK_NONBLOCK | SOCK_CLOEXEC));
	if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM || fd == -ENOBUFS) {
		backend_notice(c->be, "accept", strerror(-fd));
		watch_set(c->accept_watch, 0);
		timer_set_ns(c->retry, RETRY_MS_LAST * MS_NS);
	}
	/* Others: it went away while it waited. */
	if (fd < 0)
		return;
	watch_set(c->accept_watch, 0);
	name_peer(c, &from, text);
	c->told(c->owner, text);
	peer_found(c, fd, origin_of(&from), text);
}

/* What accepted sockets inherit on Linux; no such call is left for later. */
static void
prepare_listening(int fd)
{
	static const int on = 1, idle = KEEPALIVE_IDLE_S,
			 every = KEEPALIVE_EVERY_S, count = KEEPALIVE_COUNT;

	/* Refused on unix sockets, which need none of it. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof every);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

/* --- connect ---------------------------------------------------------------
 */

static void
connect_failed(struct conn *c, const char *why)
{
	watch_free(ptr_take(c->connect_watch));
	fd_close(&c->connecting);
	/* Once per outage: the broker knows the state, the log the reason. */
	if (c->retry_ms == RETRY_MS_FIRST)
		log_event(LOG_INFO, "peer.absent", "peer=%s why=%s",
		    log_quote(c->name), log_quote(why));
	retry_later(c);
}

static void
connect_done(void *self, unsigned events)
{
	struct conn *c = self;
	struct addr peer = {0};
	char text[ADDR_TEXT_BYTES];
	socklen_t len = sizeof(int);
	int error = 0;

	(void)events;
	if (getsockopt(c->connecting, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = EBADF;
	len = sizeof peer - offsetof(struct addr, sa);
	/* A unix connect that was refused at once leaves no error behind. */
	if (error == 0 && getpeername(c->connecting, &peer.sa, &len) < 0)
		error = ECONNREFUSED;
	peer.len = len;
	if (error) {
		connect_failed(c, strerror(error));
		return;
	}
	watch_free(ptr_take(c->connect_watch));
	name_peer(c, &peer, text);
	c->told(c->owner, text);
	peer_found(c, fd_take(&c->connecting), origin_of(&peer), text);
}

void
conn_connection(struct conn *c, int fd, const char *text)
{
	fd_close(&c->connecting);
	c->connecting = fd;
	if (fd < 0) {
		connect_failed(c, text);
		return;
	}
	c->connect_watch =
	    watch_new(backend_loop(c->be), fd, WATCH_WRITE, connect_done, c);
	if (!c->connect_watch)
		connect_failed(c, "out of memory");
}

static void
retry_expired(void *self)
{
	struct conn *c = self;

	if (c->listening >= 0)
		watch_set(c->accept_watch, WATCH_READ);
	else
		backend_reconnect(c->be, c->index);
}

/* --- life ------------------------------------------------------------------
 */

int
conn_open(struct conn *c, struct err *err)
{
	c->given = c->listening = c->connecting = -1;
	c->retry_ms = RETRY_MS_FIRST;
	c->retry = timer_new(backend_loop(c->be), retry_expired, c);
	if (!c->retry || stream_open(&c->stream, c->be, peer_lost, c) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	return 0;
}

int
conn_listen(struct conn *c, int fd, struct err *err)
{
	int rc;

	c->listening = fd;
	if (fd < 0)
		return err_set(err, -EBADF, "the listening socket is missing");
	prepare_listening(fd);
	/* A peer that leaves the backlog must not make accept4 wait. */
	rc = sys_nonblock(fd, true);
	return rc < 0 ? err_set(err, rc, "cannot listen on %s: %s", c->name,
			    strerror(-rc))
		      : 0;
}

void
conn_connect(struct conn *c, int fd, unsigned index, int64_t reconnect_ms)
{
	c->connects = true;
	c->given = fd;
	c->index = index;
	c->reconnect_ms = reconnect_ms;
}

void
conn_given(struct conn *c, int fd)
{
	c->given = fd;
}

int
conn_start(struct conn *c, struct err *err)
{
	if (c->listening >= 0) {
		c->accept_watch = watch_new(backend_loop(c->be), c->listening,
		    WATCH_READ, accept_ready, c);
		if (!c->accept_watch)
			return err_set(err, -ENOMEM, "out of memory");
	} else if (c->connects) {
		conn_connection(c, fd_take(&c->given), "not connected");
	} else {
		peer_found(c, fd_take(&c->given), STREAM_GIVEN, c->name);
	}
	return 0;
}

void
conn_close(struct conn *c)
{
	watch_free(ptr_take(c->accept_watch));
	watch_free(ptr_take(c->connect_watch));
	timer_free(ptr_take(c->retry));
	stream_close(&c->stream);
	fd_close(&c->given);
	fd_close(&c->listening);
	fd_close(&c->connecting);
}
