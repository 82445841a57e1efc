/*
 * socket.c - frames over a socket: TCP or unix stream (listening, connecting,
 * inherited), UDP to one peer, a multicast group, or an inherited datagram
 * socket.
 *
 * Runs in: its own process, in an empty network namespace; the sockets come
 * from the launcher, and new connections too. The only socket made here is by
 * accept4.
 * Trusts: nothing that comes from the sockets.
 * Specification: QEMU net/socket.c (options, texts, wire), but: empty frames
 * and datagrams are skipped, strangers are not heard, own multicast frames are
 * not taken back, a bad length ends the connection at once, lost connections
 * are made again and told.
 */
#include "backends/backend_dgram.h"
#include "backends/backend_stream.h"
#include "proto/addr.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "gen/types.h"

/* Positions in "opens" of schema/backends.json. */
enum {
	RESOURCE_FD,
	RESOURCE_LISTEN,
	RESOURCE_CONNECT,
	RESOURCE_MCAST,
	RESOURCE_UDP
};

/* Without reconnect-ms: from the first to the second, doubling. */
#define RETRY_MS_FIRST 100u
#define RETRY_MS_LAST  1000u
/* Whatever reconnect-ms says: the broker takes 50 requests in a second. */
#define RETRY_MS_LEAST 25u
/*
 * A peer that comes and goes: so many short connections are taken at once,
 * then one per pause. A long one makes that good.
 */
#define SHORT_MAX      10u
#define SHORT_NS       UINT64_C(1000000000)
#define SHORT_PAUSE_MS 100u
#define MS_NS          UINT64_C(1000000)

/* A peer that has silently gone frees its place after about two minutes. */
#define KEEPALIVE_IDLE_S  60
#define KEEPALIVE_EVERY_S 10
#define KEEPALIVE_COUNT   6

struct sock {
	struct backend *be;                       /* borrowed */
	const struct netdev_socket_options *opts; /* borrowed */
	struct stream stream;
	struct dgram dgram;
	bool is_dgram;
	int given;      /* owned until start: fd= or the first connection */
	int listening;  /* owned; -1: not in that mode */
	int connecting; /* owned; a connection not yet made */
	struct watch *accept_watch, *connect_watch; /* owned */
	struct timer *retry; /* owned: the next try to connect or accept */
	uint32_t retry_ms;
	uint64_t since_ns;   /* of the connection */
	unsigned shortlived; /* connections in a row */
};

/* --- the connection comes and goes ---------------------------------------- */

static void
peer_found(struct sock *s, int fd, const char *peer)
{
	if (stream_start(&s->stream, fd) < 0) {
		backend_notice(s->be, "peer", "no memory for the connection");
		return;
	}
	s->retry_ms = RETRY_MS_FIRST;
	s->since_ns = sys_mono_ns();
	backend_connected(s->be, true, peer);
}

/* After a failure: when to ask for the next connection, if ever. */
static void
retry_later(struct sock *s)
{
	uint32_t ms = s->opts->reconnect_ms;

	if (s->opts->has_reconnect_ms) {
		if (ms > 0)
			timer_set_ns(s->retry,
			    (ms < RETRY_MS_LEAST ? RETRY_MS_LEAST : ms) *
				MS_NS);
		return;
	}
	timer_set_ns(s->retry, s->retry_ms * MS_NS);
	s->retry_ms *= 2;
	if (s->retry_ms > RETRY_MS_LAST)
		s->retry_ms = RETRY_MS_LAST;
}

static void accept_ready(void *self, unsigned events);

/* Has there been one short connection after the other? */
static bool
is_flood(struct sock *s)
{
	if (sys_mono_ns() - s->since_ns >= SHORT_NS)
		s->shortlived = 0;
	else if (s->shortlived < SHORT_MAX)
		s->shortlived++;
	return s->shortlived == SHORT_MAX;
}

static void
peer_lost(void *owner, const char *why)
{
	struct sock *s = owner;

	backend_connected(s->be, false, why);
	if (s->listening >= 0) {
		backend_info(s->be, "%s", "");
		if (is_flood(s)) {
			timer_set_ns(s->retry, SHORT_PAUSE_MS * MS_NS);
			return;
		}
		watch_set(s->accept_watch, WATCH_READ);
		/* One that waits already misses no frame in between. */
		accept_ready(s, 0);
	} else if (s->opts->connect) {
		retry_later(s);
	}
}

/* --- listen ----------------------------------------------------------------
 */

static void
name_peer(struct sock *s, const struct addr *from, char text[ADDR_TEXT_BYTES])
{
	/* A unix peer has no name of its own: say where it came in. */
	if (from->sa.sa_family == AF_UNIX || from->len == 0)
		snprintf(text, ADDR_TEXT_BYTES, "%s", s->opts->listen);
	else
		addr_text(from, text);
}

/* One peer at a time: the next waits in the backlog until this one goes. */
static void
accept_ready(void *self, unsigned events)
{
	struct sock *s = self;
	struct addr from = {.len = sizeof from - offsetof(struct addr, sa)};
	char text[ADDR_TEXT_BYTES];
	int fd;

	(void)events;
	fd = (int)sys_result(accept4(
	    s->listening, &from.sa, &from.len, SOCK_NONBLOCK | SOCK_CLOEXEC));
	if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM || fd == -ENOBUFS) {
		backend_notice(s->be, "accept", strerror(-fd));
		watch_set(s->accept_watch, 0);
		timer_set_ns(s->retry, RETRY_MS_LAST * MS_NS);
	}
	/* Others: it went away while it waited. */
	if (fd < 0)
		return;
	watch_set(s->accept_watch, 0);
	name_peer(s, &from, text);
	backend_info(s->be, "socket: connection from %s", text);
	peer_found(s, fd, text);
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
connect_failed(struct sock *s, const char *why)
{
	watch_free(ptr_take(s->connect_watch));
	fd_close(&s->connecting);
	/* Once per outage: the broker knows the state, the log the reason. */
	if (s->retry_ms == RETRY_MS_FIRST)
		log_event(LOG_INFO, "peer.absent", "peer=%s why=%s",
		    log_quote(s->opts->connect), log_quote(why));
	retry_later(s);
}

static void
connect_done(void *self, unsigned events)
{
	struct sock *s = self;
	struct addr peer;
	socklen_t len = sizeof(int);
	int error = 0;

	(void)events;
	if (getsockopt(s->connecting, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = EBADF;
	len = sizeof peer - offsetof(struct addr, sa);
	/* A unix connect that was refused at once leaves no error behind. */
	if (error == 0 && getpeername(s->connecting, &peer.sa, &len) < 0)
		error = ECONNREFUSED;
	if (error) {
		connect_failed(s, strerror(error));
		return;
	}
	watch_free(ptr_take(s->connect_watch));
	backend_info(s->be, "socket: connect to %s", s->opts->connect);
	peer_found(s, fd_take(&s->connecting), s->opts->connect);
}

static void
sock_connection(void *self, int fd, const char *text)
{
	struct sock *s = self;

	fd_close(&s->connecting);
	s->connecting = fd;
	if (fd < 0) {
		connect_failed(s, text);
		return;
	}
	s->connect_watch =
	    watch_new(backend_loop(s->be), fd, WATCH_WRITE, connect_done, s);
	if (!s->connect_watch)
		connect_failed(s, "out of memory");
}

static void
retry_expired(void *self)
{
	struct sock *s = self;

	if (s->listening >= 0)
		watch_set(s->accept_watch, WATCH_READ);
	else
		backend_reconnect(s->be, RESOURCE_CONNECT);
}

/* --- options ---------------------------------------------------------------
 */

static int
check_options(const struct netdev_socket_options *o, struct err *err)
{
	int modes =
	    !!o->fd + !!o->listen + !!o->connect + !!o->mcast + !!o->udp;

	if (modes != 1)
		return err_set(err, -EINVAL,
		    "exactly one of listen=, connect=, mcast= or udp= is "
		    "required");
	if (o->localaddr && !o->mcast && !o->udp)
		return err_set(err, -EINVAL,
		    "localaddr= is only valid with mcast= or udp=");
	if (o->udp && !o->localaddr)
		return err_set(
		    err, -EINVAL, "localaddr= is mandatory with udp=");
	if (o->has_reconnect_ms && !o->connect)
		return err_set(
		    err, -EINVAL, "reconnect-ms= is only valid with connect=");
	return 0;
}

/* --- open, one function per mode ------------------------------------------ */

static int
open_dgram(struct sock *s, int fd, const struct addr *to, struct err *err)
{
	int rc;

	s->is_dgram = true;
	rc = dgram_open(&s->dgram, s->be, fd, to, to != NULL);
	if (rc < 0)
		err_set(err, rc, "cannot use the socket: %s", strerror(-rc));
	return rc;
}

static int
open_fd(struct sock *s, struct err *err)
{
	int fd = backend_resource(s->be, RESOURCE_FD), type = 0;
	struct sockaddr_storage own = {0};
	socklen_t len = sizeof type, own_len = sizeof own;

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0) {
		fd_close(&fd);
		return err_set(err, -EINVAL, "can't get socket option SO_TYPE");
	}
	if (type != SOCK_STREAM && type != SOCK_DGRAM) {
		fd_close(&fd);
		return err_set(err, -EINVAL,
		    "socket type=%d for fd=%s must be either SOCK_DGRAM or "
		    "SOCK_STREAM",
		    type, s->opts->fd);
	}
	(void)getsockname(fd, (struct sockaddr *)&own, &own_len);
	if (type == SOCK_STREAM)
		backend_info(s->be, "socket: fd=%s", s->opts->fd);
	else
		backend_info(s->be, "socket: fd=%s %s", s->opts->fd,
		    own.ss_family == AF_UNIX ? "unix" : "inet");
	if (type == SOCK_DGRAM)
		return open_dgram(s, fd, NULL, err);
	s->given = fd;
	return 0;
}

static int
open_listen(struct sock *s, struct err *err)
{
	s->listening = backend_resource(s->be, RESOURCE_LISTEN);
	if (s->listening < 0)
		return err_set(err, -EBADF, "the listening socket is missing");
	prepare_listening(s->listening);
	/* A peer that leaves the backlog must not make accept4 wait. */
	return sys_nonblock(s->listening, true);
}

static int
open_mcast(struct sock *s, struct err *err)
{
	int fd = backend_resource(s->be, RESOURCE_MCAST), rc;
	struct addr group;

	rc = addr_parse(s->opts->mcast, &group, err);
	if (rc < 0) {
		fd_close(&fd);
		return rc;
	}
	if (fd < 0)
		return err_set(err, -EBADF, "the multicast socket is missing");
	backend_info(s->be, "socket: mcast=%s", s->opts->mcast);
	return open_dgram(s, fd, &group, err);
}

static int
open_udp(struct sock *s, struct err *err)
{
	int fd = backend_resource(s->be, RESOURCE_UDP);

	if (fd < 0)
		return err_set(err, -EBADF, "the UDP socket is missing");
	backend_info(s->be, "socket: udp=%s", s->opts->udp);
	return open_dgram(s, fd, NULL, err);
}

static int
sock_open(void *self, struct backend *be, const void *options, struct err *err)
{
	struct sock *s = self;
	int rc;

	s->be = be;
	s->opts = options;
	s->given = s->listening = s->connecting = s->dgram.fd = -1;
	s->retry_ms = RETRY_MS_FIRST;
	rc = check_options(s->opts, err);
	if (rc < 0)
		return rc;
	s->retry = timer_new(backend_loop(be), retry_expired, s);
	if (!s->retry || stream_open(&s->stream, be, peer_lost, s) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	if (s->opts->fd)
		return open_fd(s, err);
	if (s->opts->listen)
		return open_listen(s, err);
	if (s->opts->mcast)
		return open_mcast(s, err);
	if (s->opts->udp)
		return open_udp(s, err);
	/* It may have failed at once already; that is no error. */
	s->given = backend_resource(be, RESOURCE_CONNECT);
	return 0;
}

static int
sock_start(void *self, struct err *err)
{
	struct sock *s = self;
	struct loop *l = backend_loop(s->be);

	if (s->is_dgram) {
		if (dgram_start(&s->dgram) < 0)
			return err_set(err, -ENOMEM, "out of memory");
		backend_connected(s->be, true, "");
	} else if (s->listening >= 0) {
		s->accept_watch =
		    watch_new(l, s->listening, WATCH_READ, accept_ready, s);
		if (!s->accept_watch)
			return err_set(err, -ENOMEM, "out of memory");
	} else if (s->opts->fd) {
		peer_found(s, fd_take(&s->given), s->opts->fd);
	} else {
		sock_connection(s, fd_take(&s->given), "not connected");
	}
	return 0;
}

/* --- frames ----------------------------------------------------------------
 */

static size_t
sock_frames(void *self, const struct frame *f, size_t count)
{
	struct sock *s = self;

	return s->is_dgram ? dgram_frames(&s->dgram, f, count)
			   : stream_frames(&s->stream, f, count);
}

static void
sock_room(void *self)
{
	struct sock *s = self;

	if (s->is_dgram)
		dgram_room(&s->dgram);
	else
		stream_room(&s->stream);
}

static void
sock_close(void *self)
{
	struct sock *s = self;

	watch_free(ptr_take(s->accept_watch));
	watch_free(ptr_take(s->connect_watch));
	timer_free(ptr_take(s->retry));
	stream_close(&s->stream);
	if (s->is_dgram)
		dgram_close(&s->dgram);
	fd_close(&s->given);
	fd_close(&s->listening);
	fd_close(&s->connecting);
}

static const struct sysrule sock_rules[] = {
    SYS(recvmmsg, "datagrams in"),
    SYS(sendmmsg, "datagrams out"),
    SYS(accept4, "listen: the next peer"),
    SYS_IF(getsockopt, "connect: did it succeed?",
	{1, ARG_EQ, 0xffffffff, SOL_SOCKET}, {2, ARG_EQ, 0xffffffff, SO_ERROR}),
    SYS(getpeername, "connect: is there a peer?"),
};

const struct backend_type backend_type = {
    .name = "socket",
    .self_bytes = sizeof(struct sock),
    .open = sock_open,
    .start = sock_start,
    .frames = sock_frames,
    .room = sock_room,
    .connection = sock_connection,
    .close = sock_close,
    .syscalls = {"socket", sock_rules, sizeof sock_rules / sizeof *sock_rules},
};
