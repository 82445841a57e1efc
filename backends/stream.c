/*
 * stream.c - frames over a stream socket, with the options of newer QEMU.
 *
 * Runs in: its own process, in an empty network namespace; the sockets come
 * from the launcher, and new connections too. The only socket made here is by
 * accept4.
 * Trusts: nothing that comes from the sockets.
 * Specification: QEMU net/stream.c (options, wire, texts of `info network`);
 * everything else is as in socket.c, whose engine this is.
 */
#include "backends/backend_conn.h"
#include "proto/sys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "gen/types.h"

/* Positions in "opens" of schema/backends.json. */
enum { RESOURCE_FD, RESOURCE_LISTEN, RESOURCE_CONNECT };

/* Those that wait while one is served or a process is being restarted. */
#define BACKLOG 16

struct stream_netdev {
	struct backend *be;                       /* borrowed */
	const struct netdev_stream_options *opts; /* borrowed */
	struct conn conn;
	char name[ADDR_TEXT_BYTES]; /* of opts->addr */
};

static bool
is_server(const struct stream_netdev *s)
{
	return s->opts->has_server && s->opts->server;
}

static void
peer_told(void *self, const char *peer)
{
	struct stream_netdev *s = self;

	if (!peer && is_server(s))
		backend_info(s->be, "listening");
	else if (!peer)
		backend_info(s->be, "%s", s->conn.connects ? "connecting" : "");
	else if (s->opts->addr.type == SOCKET_ADDRESS_TYPE_INET)
		backend_info(s->be, "tcp:%s", peer);
	else if (s->opts->addr.type == SOCKET_ADDRESS_TYPE_UNIX)
		backend_info(s->be, "unix:%s", s->opts->addr.u.unix_.path);
	else
		backend_info(s->be, "fd:%s", peer);
}

/* What the peer is called when its socket has no name. */
static void
name_it(struct stream_netdev *s)
{
	const struct socket_address *a = &s->opts->addr;
	const struct unix_socket_address *u = &a->u.unix_;

	if (a->type == SOCKET_ADDRESS_TYPE_FD)
		(void)snprintf(s->name, sizeof s->name, "%s", a->u.fd.str);
	else if (a->type == SOCKET_ADDRESS_TYPE_INET)
		(void)snprintf(s->name, sizeof s->name, "%s:%s", a->u.inet.host,
		    a->u.inet.port);
	else
		(void)snprintf(s->name, sizeof s->name, "%s%s",
		    u->has_abstract && u->abstract ? "@" : "", u->path);
}

/* --- descriptors that were handed over ------------------------------------ */

static int
socket_number(int fd, int option)
{
	socklen_t len = sizeof(int);
	int value = -1;

	if (getsockopt(fd, SOL_SOCKET, option, &value, &len) < 0)
		return -1;
	return value;
}

/* QEMU listens on it as well, whether it did before or not. */
static int
open_server_fd(struct stream_netdev *s, int fd, struct err *err)
{
	int rc = (int)sys_result(listen(fd, BACKLOG));

	if (rc < 0) {
		fd_close(&fd);
		return err_set(err, rc,
		    "Failed to listen on fd socket: fd=%s: %s", s->name,
		    strerror(-rc));
	}
	peer_told(s, NULL);
	return conn_listen(&s->conn, fd, err);
}

static int
open_fd(struct stream_netdev *s, struct err *err)
{
	int fd = backend_resource(s->be, RESOURCE_FD);

	if (fd < 0 || socket_number(fd, SO_TYPE) != SOCK_STREAM) {
		fd_close(&fd);
		return err_set(
		    err, -EINVAL, "fd=%s is not a stream socket", s->name);
	}
	if (is_server(s))
		return open_server_fd(s, fd, err);
	if (socket_number(fd, SO_ACCEPTCONN) != 0) {
		fd_close(&fd);
		return err_set(err, -EINVAL,
		    "fd=%s is a listening socket: add server=on", s->name);
	}
	backend_info(s->be, "fd:%s", s->name);
	conn_given(&s->conn, fd);
	return 0;
}

/* --- life ------------------------------------------------------------------
 */

static int64_t
reconnect_ms(const struct netdev_stream_options *o)
{
	if (o->has_reconnect_ms)
		return o->reconnect_ms;
	return o->has_reconnect ? o->reconnect * 1000 : CONN_RECONNECT_USUAL;
}

static int
stream_netdev_open(
    void *self, struct backend *be, const void *options, struct err *err)
{
	struct stream_netdev *s = self;

	s->be = be;
	s->opts = options;
	name_it(s);
	s->conn = (struct conn){
	    .be = be, .told = peer_told, .owner = s, .name = s->name};
	if (conn_open(&s->conn, err) < 0)
		return -ENOMEM;
	if (s->opts->addr.type == SOCKET_ADDRESS_TYPE_FD)
		return open_fd(s, err);
	if (!is_server(s))
		conn_connect(&s->conn, backend_resource(be, RESOURCE_CONNECT),
		    RESOURCE_CONNECT, reconnect_ms(s->opts));
	peer_told(s, NULL);
	return is_server(s) ? conn_listen(&s->conn,
				  backend_resource(be, RESOURCE_LISTEN), err)
			    : 0;
}

static int
stream_netdev_start(void *self, struct err *err)
{
	struct stream_netdev *s = self;

	return conn_start(&s->conn, err);
}

static size_t
stream_netdev_frames(void *self, const struct frame *f, size_t count)
{
	struct stream_netdev *s = self;

	return stream_frames(&s->conn.stream, f, count);
}

static void
stream_netdev_room(void *self)
{
	struct stream_netdev *s = self;

	stream_room(&s->conn.stream);
}

static void
stream_netdev_connection(void *self, int fd, const char *text)
{
	struct stream_netdev *s = self;

	conn_connection(&s->conn, fd, text);
}

static void
stream_netdev_close(void *self)
{
	struct stream_netdev *s = self;

	conn_close(&s->conn);
}

static const struct sysrule stream_rules[] = {
    SYS(sendfile, "frames from an arena"),
    SYS_IF(setsockopt, "how much a peer may be behind",
	{1, ARG_EQ, 0xffffffff, SOL_SOCKET},
	{2, ARG_EQ, 0xffffffff, SO_SNDBUF}),
    SYS(accept4, "server: the next peer"),
    SYS_IF(getsockopt, "did the connection succeed?",
	{1, ARG_EQ, 0xffffffff, SOL_SOCKET}, {2, ARG_EQ, 0xffffffff, SO_ERROR}),
    SYS(getpeername, "is there a peer, and what is it called?"),
};

const struct backend_type backend_type = {
    .name = "stream",
    .self_bytes = sizeof(struct stream_netdev),
    .open = stream_netdev_open,
    .start = stream_netdev_start,
    .frames = stream_netdev_frames,
    .room = stream_netdev_room,
    .connection = stream_netdev_connection,
    .close = stream_netdev_close,
    .syscalls = {"stream", stream_rules,
	sizeof stream_rules / sizeof *stream_rules},
};
