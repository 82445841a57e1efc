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
#include "backends/backend_conn.h"
#include "backends/backend_dgram.h"
#include "proto/addr.h"
#include "proto/sys.h"

#include <errno.h>
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

struct sock {
	struct backend *be;                       /* borrowed */
	const struct netdev_socket_options *opts; /* borrowed */
	struct conn conn;
	struct dgram dgram;
	bool is_dgram;
};

static void
peer_told(void *self, const char *peer)
{
	struct sock *s = self;

	if (!peer)
		backend_info(s->be, "%s", "");
	else if (s->opts->connect)
		backend_info(s->be, "socket: connect to %s", s->opts->connect);
	else
		backend_info(s->be, "socket: connection from %s", peer);
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

static bool
is_listening(int fd)
{
	int on = 0;
	socklen_t len = sizeof on;

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) == 0 && on;
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
	if (is_listening(fd)) {
		fd_close(&fd);
		return err_set(err, -EINVAL,
		    "fd=%s is a socket that listens: a connected one is "
		    "expected",
		    s->opts->fd);
	}
	(void)getsockname(fd, (struct sockaddr *)&own, &own_len);
	if (type == SOCK_STREAM)
		backend_info(s->be, "socket: fd=%s", s->opts->fd);
	else
		backend_info(s->be, "socket: fd=%s %s", s->opts->fd,
		    own.ss_family == AF_UNIX ? "unix" : "inet");
	if (type == SOCK_DGRAM)
		return open_dgram(s, fd, NULL, err);
	conn_given(&s->conn, fd);
	return 0;
}

static int
open_mcast(struct sock *s, struct err *err)
{
	int fd = backend_resource(s->be, RESOURCE_MCAST);
	struct addr group = {.len = sizeof group.un};

	if (fd < 0)
		return err_set(err, -EBADF, "the multicast socket is missing");
	/* It is bound to the group, which the option may give by name. */
	if (getsockname(fd, &group.sa, &group.len) < 0 ||
	    group.sa.sa_family != AF_INET) {
		fd_close(&fd);
		return err_set(err, -EBADF, "the multicast socket is unbound");
	}
	backend_info(s->be, "socket: mcast=%s", s->opts->mcast);
	return open_dgram(s, fd, &group, err);
}

static int
open_udp(struct sock *s, struct err *err)
{
	int fd = backend_resource(s->be, RESOURCE_UDP), rc;

	if (fd < 0)
		return err_set(err, -EBADF, "the UDP socket is missing");
	backend_info(s->be, "socket: udp=%s", s->opts->udp);
	rc = open_dgram(s, fd, NULL, err);
	if (rc == 0)
		dgram_merge(&s->dgram);
	return rc;
}

static int
open_stream(struct sock *s, struct err *err)
{
	const struct netdev_socket_options *o = s->opts;

	s->conn = (struct conn){.be = s->be,
	    .told = peer_told,
	    .owner = s,
	    .name = o->listen    ? o->listen
		    : o->connect ? o->connect
				 : o->fd};
	if (conn_open(&s->conn, err) < 0)
		return -ENOMEM;
	if (o->listen)
		return conn_listen(
		    &s->conn, backend_resource(s->be, RESOURCE_LISTEN), err);
	if (o->fd)
		return open_fd(s, err);
	conn_connect(&s->conn, backend_resource(s->be, RESOURCE_CONNECT),
	    RESOURCE_CONNECT,
	    o->has_reconnect_ms ? (int64_t)o->reconnect_ms
				: CONN_RECONNECT_USUAL);
	return 0;
}

static int
sock_open(void *self, struct backend *be, const void *options, struct err *err)
{
	struct sock *s = self;
	int rc;

	s->be = be;
	s->opts = options;
	s->dgram.fd = -1;
	rc = check_options(s->opts, err);
	if (rc < 0)
		return rc;
	if (s->opts->mcast)
		return open_mcast(s, err);
	if (s->opts->udp)
		return open_udp(s, err);
	return open_stream(s, err);
}

static int
sock_start(void *self, struct err *err)
{
	struct sock *s = self;

	if (!s->is_dgram)
		return conn_start(&s->conn, err);
	if (dgram_start(&s->dgram) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	backend_connected(s->be, true, "");
	return 0;
}

/* --- frames ----------------------------------------------------------------
 */

static size_t
sock_frames(void *self, const struct frame *f, size_t count)
{
	struct sock *s = self;

	return s->is_dgram ? dgram_frames(&s->dgram, f, count)
			   : stream_frames(&s->conn.stream, f, count);
}

static void
sock_room(void *self)
{
	struct sock *s = self;

	if (s->is_dgram)
		dgram_room(&s->dgram);
	else
		stream_room(&s->conn.stream);
}

static void
sock_connection(void *self, int fd, const char *text)
{
	struct sock *s = self;

	conn_connection(&s->conn, fd, text);
}

static void
sock_close(void *self)
{
	struct sock *s = self;

	if (s->conn.be)
		conn_close(&s->conn);
	if (s->is_dgram)
		dgram_close(&s->dgram);
}

static const struct sysrule sock_rules[] = {
    SYS(sendfile, "frames from an arena"),
    SYS_IF(setsockopt, "how much a peer may be behind",
	{1, ARG_EQ, 0xffffffff, SOL_SOCKET},
	{2, ARG_EQ, 0xffffffff, SO_SNDBUF}),
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
