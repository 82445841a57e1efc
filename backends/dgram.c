/*
 * dgram.c - frames over a datagram socket, with the options of newer QEMU: UDP
 * to one peer, a multicast group, two paths, or a socket that was passed in.
 *
 * Runs in: its own process, in an empty network namespace; the sockets come
 * from the launcher.
 * Trusts: nothing that comes from the sockets.
 * Specification: QEMU net/dgram.c (options, wire, texts of `info network`), but
 * the quirks that socket.c avoids are avoided here, whose engine this is.
 *
 * Theory of operation
 * The peer's path cannot be reached from in here: the launcher connects the
 * socket, which it holds too, when there is something to send and again when
 * the peer has gone. A connected socket hears its peer alone, so one that
 * neither sent nor received for IDLE_NS is disconnected: a peer that has come
 * anew is heard without our having to speak first. Who may write to the file of
 * our path may speak while we are not connected.
 */
#include "backends/backend_dgram.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "gen/types.h"

/* Positions in "opens" of schema/backends.json. */
enum { RESOURCE_FD, RESOURCE_UDP, RESOURCE_MCAST, RESOURCE_UNIX };

#define IDLE_NS      UINT64_C(1000000000)
#define MS_NS        UINT64_C(1000000)
#define ASK_MS_FIRST 50u /* the broker takes 50 requests in a second */
#define ASK_MS_LAST  1000u

struct gram {
	struct backend *be;                      /* borrowed */
	const struct netdev_dgram_options *opts; /* borrowed */
	struct dgram d;
	bool paths;  /* the peer is a path: connected as needed */
	bool joined; /* connected to it, as far as is known */
	bool asked;  /* the launcher is connecting it */
	bool told;   /* in the log, that nobody is there */
	uint32_t ask_ms;
	uint64_t next_ask_ns;
	struct timer *idle; /* owned */
};

/* --- a peer that is a path -------------------------------------------------
 */

static void
peer_left(struct gram *g)
{
	g->joined = false;
	g->d.alone = false;
	timer_stop(g->idle);
}

static void
idle_expired(void *self)
{
	static const struct sockaddr none = {.sa_family = AF_UNSPEC};
	struct gram *g = self;

	if (!g->d.used && !g->d.blocked) {
		(void)connect(g->d.fd, &none, sizeof none.sa_family);
		peer_left(g);
		return;
	}
	g->d.used = false;
	timer_set_ns(g->idle, IDLE_NS);
}

/* What waits is given to frames() again, by which it goes or is dropped. */
static void
gram_connection(void *self, int fd, const char *text)
{
	struct gram *g = self;

	g->asked = false;
	g->joined = fd >= 0;
	/* The same socket as ours. */
	fd_close(&fd);
	if (g->joined) {
		g->ask_ms = ASK_MS_FIRST;
		g->told = false;
		g->d.used = true;
		timer_set_ns(g->idle, IDLE_NS);
	} else {
		if (!g->told)
			log_event(LOG_INFO, "peer.absent", "peer=%s why=%s",
			    log_quote(g->opts->remote->u.unix_.path),
			    log_quote(text));
		g->told = true;
		g->ask_ms *= 2;
		if (g->ask_ms > ASK_MS_LAST)
			g->ask_ms = ASK_MS_LAST;
		g->next_ask_ns = sys_mono_ns() + g->ask_ms * MS_NS;
	}
	backend_more(g->be);
}

/* Nobody is there: ask for a connection, or drop until it is time to. */
static size_t
frames_alone(struct gram *g, size_t count)
{
	uint64_t now_ns = sys_mono_ns();

	if (g->asked)
		return 0;
	if (now_ns < g->next_ask_ns) {
		backend_count(g->be, BC_OUT_DROP_DISCONNECTED, count);
		return count;
	}
	g->next_ask_ns = now_ns + g->ask_ms * MS_NS;
	g->asked = true;
	backend_reconnect(g->be, RESOURCE_UNIX);
	return 0;
}

static size_t
gram_frames(void *self, const struct frame *f, size_t count)
{
	struct gram *g = self;
	size_t done = 0;

	if (g->paths && !g->joined)
		return frames_alone(g, count);
	done = dgram_frames(&g->d, f, count);
	if (!g->d.alone)
		return done;
	peer_left(g);
	return done + frames_alone(g, count - done);
}

/* --- open, one function per sort of address ------------------------------- */

static int
take(struct gram *g, int fd, const struct addr *group, struct err *err)
{
	int rc;

	if (fd < 0)
		return err_set(err, -EBADF, "the socket is missing");
	rc = dgram_open(&g->d, g->be, fd, group, group != NULL);
	return rc < 0 ? err_set(
			    err, rc, "cannot use the socket: %s", strerror(-rc))
		      : 0;
}

static int
open_fd(struct gram *g, struct err *err)
{
	int fd = backend_resource(g->be, RESOURCE_FD), type = 0;
	const char *name = g->opts->local->u.fd.str;
	struct addr own = {.len = sizeof own.un};
	socklen_t len = sizeof type;

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
	    type != SOCK_DGRAM || getsockname(fd, &own.sa, &own.len) < 0) {
		fd_close(&fd);
		return err_set(
		    err, -EINVAL, "fd=%s is not a datagram socket", name);
	}
	backend_info(g->be, "fd=%s %s", name,
	    own.sa.sa_family == AF_UNIX ? "unix" : "inet");
	return take(g, fd, NULL, err);
}

static int
open_group(struct gram *g, int fd, struct err *err)
{
	const struct inet_socket_address *r = &g->opts->remote->u.inet;
	struct addr group;
	int rc = addr_host_port(r->host, r->port, &group, err);

	if (rc < 0) {
		fd_close(&fd);
		return rc;
	}
	backend_info(g->be, "mcast=%s:%s", r->host, r->port);
	return take(g, fd, &group, err);
}

static int
open_udp(struct gram *g, struct err *err)
{
	const struct inet_socket_address *l = &g->opts->local->u.inet;
	const struct inet_socket_address *r = &g->opts->remote->u.inet;
	int rc;

	backend_info(
	    g->be, "udp=%s:%s/%s:%s", l->host, l->port, r->host, r->port);
	rc = take(g, backend_resource(g->be, RESOURCE_UDP), NULL, err);
	if (rc == 0)
		dgram_merge(&g->d);
	return rc;
}

static int
open_paths(struct gram *g, int fd, struct err *err)
{
	struct addr peer = {.len = sizeof peer.un};

	g->paths = true;
	g->d.fickle = true;
	g->ask_ms = ASK_MS_FIRST;
	backend_info(g->be, "udp=%s:%s", g->opts->local->u.unix_.path,
	    g->opts->remote->u.unix_.path);
	/* The process before us has perhaps left it so. */
	g->joined = getpeername(fd, &peer.sa, &peer.len) == 0;
	g->idle = timer_new(backend_loop(g->be), idle_expired, g);
	if (!g->idle) {
		fd_close(&fd);
		return err_set(err, -ENOMEM, "out of memory");
	}
	return take(g, fd, NULL, err);
}

static int
gram_open(void *self, struct backend *be, const void *options, struct err *err)
{
	struct gram *g = self;
	int fd;

	g->be = be;
	g->opts = options;
	g->d.fd = -1;
	fd = backend_resource(be, RESOURCE_MCAST);
	if (fd >= 0)
		return open_group(g, fd, err);
	fd = backend_resource(be, RESOURCE_UNIX);
	if (fd >= 0)
		return open_paths(g, fd, err);
	if (g->opts->local && g->opts->local->type == SOCKET_ADDRESS_TYPE_FD)
		return open_fd(g, err);
	if (!g->opts->local || !g->opts->remote)
		return err_set(err, -EINVAL, "dgram requires local= parameter");
	return open_udp(g, err);
}

/* --- life ------------------------------------------------------------------
 */

static int
gram_start(void *self, struct err *err)
{
	struct gram *g = self;

	if (dgram_start(&g->d) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	if (g->joined)
		timer_set_ns(g->idle, IDLE_NS);
	backend_connected(g->be, true, "");
	return 0;
}

static void
gram_room(void *self)
{
	struct gram *g = self;

	dgram_room(&g->d);
}

static void
gram_close(void *self)
{
	struct gram *g = self;

	timer_free(ptr_take(g->idle));
	dgram_close(&g->d);
}

static const struct sysrule dgram_rules[] = {
    SYS(recvmmsg, "datagrams in"),
    SYS(sendmmsg, "datagrams out"),
    SYS_IF(connect, "to nothing: the length has no room for an address",
	{2, ARG_EQ, 0xffffffff, sizeof(sa_family_t)}),
};

const struct backend_type backend_type = {
    .name = "dgram",
    .self_bytes = sizeof(struct gram),
    .open = gram_open,
    .start = gram_start,
    .frames = gram_frames,
    .room = gram_room,
    .connection = gram_connection,
    .close = gram_close,
    .syscalls = {"dgram", dgram_rules,
	sizeof dgram_rules / sizeof *dgram_rules},
};
