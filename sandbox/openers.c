/*
 * openers.c - one function per kind of resource.
 *
 * Runs in: launcher. Trusts: the policy, and before the latch the operator's
 * own command line. Of the broker's words it believes nothing but that
 * request.c found them well-formed.
 *
 * Paths. A path is taken apart into a directory and a last component. The
 * directory is opened first and everything else is done relative to that
 * descriptor, so that nobody can move it between a check and a use. Beneath
 * the directory that a policy rule names no symbolic link is followed.
 * A unix socket is reached through /proc/self/fd, for the same reason.
 * Specification: openat2(2), unix(7), ip(7); netdevs.md sections 8 and 10.
 */
#include "sandbox/open_tap.h"

#include "proto/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Connections that may wait for a backend that is being restarted. */
#define BACKLOG 16

/* The kernel doubles it and counts what its buffers take: about 900 frames of
 * 1514 bytes. The usual is 90, less than a sender's batches. */
#define RECEIVE_BYTES (1 << 20)

#define SOCKET_FLAGS (SOCK_CLOEXEC | SOCK_NONBLOCK)

static int
set_on(int fd, int level, int option)
{
	int on = 1;

	return (int)sys_result(setsockopt(fd, level, option, &on, sizeof on));
}

static int
world_says(struct err *err, int rc, const char *what, const char *object)
{
	return err_set(
	    err, rc, "cannot %s %s: %s", what, object, strerrordesc_np(-rc));
}

/* --- streams ---------------------------------------------------------- */

static int
listen_ip(struct opening *o)
{
	const struct addr *a = &o->args->local;
	int rc;

	o->fd = rc = (int)sys_result(
	    socket(a->sa.sa_family, SOCK_STREAM | SOCKET_FLAGS, 0));
	if (rc >= 0)
		rc = set_on(o->fd, SOL_SOCKET, SO_REUSEADDR);
	if (rc >= 0)
		rc = (int)sys_result(bind(o->fd, &a->sa, a->len));
	if (rc >= 0)
		rc = (int)sys_result(listen(o->fd, BACKLOG));
	return rc;
}

/* A peer that has silently gone is noticed after about two minutes. */
static void
keep_alive(int fd)
{
	static const int idle_s = 60, every_s = 10, count = 6;

	(void)set_on(fd, SOL_SOCKET, SO_KEEPALIVE);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
	(void)setsockopt(
	    fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof every_s);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

static int
connect_ip(struct opening *o)
{
	const struct addr *a = &o->args->remote;
	int rc;

	o->fd = rc = (int)sys_result(
	    socket(a->sa.sa_family, SOCK_STREAM | SOCKET_FLAGS, 0));
	if (rc >= 0) {
		(void)set_on(o->fd, IPPROTO_TCP, TCP_NODELAY);
		keep_alive(o->fd);
	}
	if (rc >= 0)
		rc = (int)sys_result(connect(o->fd, &a->sa, a->len));
	return rc == -EINPROGRESS ? 0 : rc;
}

int
opener_stream_listen(struct opening *o)
{
	const struct addr *a = &o->args->local;
	char name[ADDR_TEXT_BYTES];
	int rc;

	addr_text(a, name);
	if (a->len == 0)
		return err_set(o->err, -EINVAL, "no address to listen on");
	if (a->sa.sa_family == AF_UNIX) {
		rc = opener_allowed_unix(o, "listen on", a);
		return rc < 0 ? rc : opener_unix_listen(o, name);
	}
	rc = opener_allowed_address(o, POLICY_LISTEN, "listen on", a);
	if (rc < 0)
		return rc;
	rc = listen_ip(o);
	return rc < 0 ? world_says(o->err, rc, "listen on", name) : 0;
}

int
opener_stream_connect(struct opening *o)
{
	const struct addr *a = &o->args->remote;
	const struct addr to = policy_destination(a);
	char name[ADDR_TEXT_BYTES];
	int rc;

	addr_text(a, name);
	if (a->len == 0)
		return err_set(o->err, -EINVAL, "no address to connect to");
	if (a->sa.sa_family == AF_UNIX)
		rc = opener_allowed_unix(o, "connect to", a);
	else
		rc = opener_allowed_address(
		    o, POLICY_CONNECT, "connect to", &to);
	if (rc < 0)
		return rc;
	rc =
	    a->sa.sa_family == AF_UNIX ? opener_unix_connect(o) : connect_ip(o);
	/* A refusal has its words already. */
	if (rc < 0 && !o->granted)
		return rc;
	return rc < 0 ? world_says(o->err, rc, "connect to", name) : 0;
}

int
opener_permit_listen(struct opening *o)
{
	const struct addr *a = &o->args->local;

	if (a->len == 0 || a->sa.sa_family == AF_UNIX)
		return err_set(o->err, -EINVAL, "no IP address to listen on");
	return opener_allowed_address(o, POLICY_LISTEN, "listen on", a);
}

/* --- datagrams -------------------------------------------------------- */

void
opener_roomy(int fd)
{
	int bytes = RECEIVE_BYTES;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) <
	    0)
		(void)setsockopt(
		    fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

static int
bind_udp(struct opening *o, const struct addr *a)
{
	int rc;

	o->fd = rc = (int)sys_result(
	    socket(a->sa.sa_family, SOCK_DGRAM | SOCKET_FLAGS, 0));
	if (rc >= 0)
		rc = set_on(o->fd, SOL_SOCKET, SO_REUSEADDR);
	if (rc < 0)
		return rc;
	opener_roomy(o->fd);
	return (int)sys_result(bind(o->fd, &a->sa, a->len));
}

int
opener_udp(struct opening *o)
{
	const struct addr *local = &o->args->local, *to = &o->args->remote;
	const struct addr end = policy_destination(to);
	char name[ADDR_TEXT_BYTES];
	int rc;

	if (local->len == 0 || to->len == 0 || local->sa.sa_family == AF_UNIX ||
	    local->sa.sa_family != to->sa.sa_family)
		return err_set(o->err, -EINVAL,
		    "UDP needs two IP addresses of one family");
	rc = opener_allowed_address(o, POLICY_UDP, "receive UDP on", local);
	if (rc >= 0)
		rc = opener_allowed_address(o, POLICY_UDP, "send UDP to", &end);
	if (rc < 0)
		return rc;
	rc = bind_udp(o, local);
	if (rc < 0)
		return world_says(o->err, rc, "bind", addr_text(local, name));
	rc = (int)sys_result(connect(o->fd, &to->sa, to->len));
	if (rc < 0)
		return world_says(o->err, rc, "send to", addr_text(to, name));
	return 0;
}

/* Membership, and frames leave by the same interface as they come. */
static int
join_group(int fd, const struct addr *group, const struct addr *local)
{
	struct ip_mreq join = {.imr_multiaddr = group->in.sin_addr};
	int rc;

	if (local->len != 0)
		join.imr_interface = local->in.sin_addr;
	rc = (int)sys_result(
	    setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &join, sizeof join));
	/* Other netdevs of this host are in the group as well. */
	if (rc >= 0)
		rc = set_on(fd, IPPROTO_IP, IP_MULTICAST_LOOP);
	if (rc >= 0 && local->len != 0)
		rc = (int)sys_result(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF,
		    &join.imr_interface, sizeof join.imr_interface));
	return rc;
}

int
opener_mcast(struct opening *o)
{
	const struct addr *group = &o->args->remote, *local = &o->args->local;
	char name[ADDR_TEXT_BYTES];
	int rc;

	addr_text(group, name);
	if (group->len == 0 || group->sa.sa_family != AF_INET ||
	    !IN_MULTICAST(ntohl(group->in.sin_addr.s_addr)))
		return err_set(o->err, -EINVAL,
		    "%s is not an IPv4 multicast address", name);
	if (local->len != 0 && local->sa.sa_family != AF_INET)
		return err_set(
		    o->err, -EINVAL, "localaddr is not an IPv4 address");
	rc = opener_allowed_address(o, POLICY_MCAST, "join", group);
	if (rc < 0)
		return rc;
	rc = bind_udp(o, group);
	if (rc >= 0)
		rc = join_group(o->fd, group, local);
	return rc < 0 ? world_says(o->err, rc, "join", name) : 0;
}

/* --- descriptors ------------------------------------------------------ */

static int
is_socket(int fd, const char *what, struct err *err)
{
	socklen_t len = sizeof(int);
	int type, rc;

	/* Not fstat(2): a file system may be anybody's, and let us wait. */
	rc = (int)sys_result(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len));
	return rc < 0 ? err_set(err, rc, "%s is not a socket", what) : 0;
}

int
opener_take(struct opening *o, char what[OPENER_WHAT_BYTES])
{
	if (o->given >= 0) {
		(void)snprintf(
		    what, OPENER_WHAT_BYTES, "the passed descriptor");
		o->fd = fd_take(&o->given);
		return 0;
	}
	(void)snprintf(
	    what, OPENER_WHAT_BYTES, "descriptor %u", o->args->number);
	o->fd = inherit_take(o->l, o->args->number, o->err);
	return o->fd < 0 ? o->fd : 0;
}

int
opener_fd(struct opening *o)
{
	char what[OPENER_WHAT_BYTES];
	int rc = opener_take(o, what);

	if (rc >= 0)
		rc = is_socket(o->fd, what, o->err);
	return rc < 0 ? rc : sys_nonblock(o->fd, true);
}

/* --- files and directories -------------------------------------------- */

int
opener_directory(struct opening *o)
{
	const char *path = o->args->path;
	const char *name;
	int dir, rc;

	if (path[0] == '\0')
		return err_set(o->err, -EINVAL, "no directory");
	dir = rc = opener_parent(o, POLICY_DIRECTORY, "show", path, &name);
	if (rc < 0)
		return rc;
	/* The operator may name a link; a client may not. */
	o->fd = rc = (int)sys_result(openat(dir, name,
	    O_PATH | O_DIRECTORY | O_CLOEXEC | (o->free ? 0 : O_NOFOLLOW)));
	fd_close(&dir);
	return rc < 0 ? world_says(o->err, rc, "show", path) : 0;
}

int
opener_resolver(struct opening *o)
{
	int rc = opener_allowed_network(o);

	if (rc < 0)
		return rc;
	o->fd = resolver_open(o->l);
	return o->fd < 0 ? world_says(o->err, o->fd, "copy", "resolv.conf") : 0;
}

int
opener_lookup(struct opening *o)
{
	int rc = opener_allowed_lookup(o);

	if (rc < 0)
		return rc;
	o->fd = resolver_open_names(o->l);
	return o->fd < 0 ? world_says(o->err, o->fd, "copy", "/etc/hosts") : 0;
}

/* Of its own slot and nobody else's: there is nothing to allow. */
int
opener_memory(struct opening *o)
{
	int rc = sys_memfd("bulkhead-kept", LAUNCH_MEMORY_BYTES, &o->fd);

	o->granted = true;
	return rc < 0 ? world_says(o->err, rc, "make", "memory") : 0;
}

/* --- all of them ------------------------------------------------------ */

static int (*const openers[RES_COUNT])(struct opening *o) = {
    [RES_STREAM_LISTEN] = opener_stream_listen,
    [RES_STREAM_CONNECT] = opener_stream_connect,
    [RES_UDP] = opener_udp,
    [RES_MCAST] = opener_mcast,
    [RES_RAW_IP] = opener_raw_ip,
    [RES_UNIX_DGRAM] = opener_unix_dgram,
    [RES_FD] = opener_fd,
    [RES_FILE_CREATE] = opener_file_create,
    [RES_DIRECTORY] = opener_directory,
    [RES_RESOLVER] = opener_resolver,
    [RES_LOOKUP] = opener_lookup,
    [RES_CHARDEV] = opener_chardev,
    [RES_VDE_CONTROL] = opener_vde_control,
    [RES_VDE_DATA] = opener_vde_data,
    [RES_NETMAP] = opener_netmap,
    [RES_PERMIT_LISTEN] = opener_permit_listen,
    [RES_TAP] = opener_tap,
    [RES_TAP_FD] = opener_tap_fd,
    [RES_BRIDGE] = opener_bridge,
    [RES_SCRIPT] = opener_script,
    [RES_DOWNSCRIPT] = opener_downscript,
    [RES_MEMORY] = opener_memory,
};

static bool
same_args(const struct launch_open *a, const struct launch_open *b)
{
	/* That of VDE_DATA says what to do with the socket. */
	if (a->number != b->number && a->kind != RES_VDE_DATA)
		return false;
	return a->kind == b->kind && a->udp == b->udp && a->mode == b->mode &&
	       a->group == b->group && addr_equal(&a->local, &b->local) &&
	       addr_equal(&a->remote, &b->remote) && a->sndbuf == b->sndbuf &&
	       strcmp(a->name, b->name) == 0 && strcmp(a->path, b->path) == 0;
}

/* A connection was for one process; an interface may have been deleted. */
static bool
still_good(struct opening *o, const struct resource *r)
{
	struct ifreq req;

	if (r->fd < 0)
		return false;
	if (o->args->kind == RES_TAP || o->args->kind == RES_BRIDGE)
		return tap_query(r->fd, &req) >= 0;
	return !opener_is_connection(o->l, o->args);
}

/* What was opened, or may be tried again. */
static void
keep(struct opening *o, struct resource *r)
{
	r->granted = true;
	r->free = o->free;
	r->args = *o->args;
	r->fd = fd_take(&o->fd);
	r->made = o->made;
	r->made_dev = o->made_dev;
	r->made_ino = o->made_ino;
	r->run = o->run;
}

/* As if for the first time: whoever lets policy decide needs no grant. */
static int
open_judged(struct opening *o, struct resource *r)
{
	int rc;

	o->free = !o->l->latched;
	rc = openers[o->args->kind](o);
	if (rc < 0)
		fd_close_foreign(&o->fd);
	/* The world said no, policy did not: it may be tried again. */
	if (rc < 0 && (!o->granted || !opener_is_connection(o->l, o->args)))
		return rc;
	fd_close_foreign(&r->fd);
	keep(o, r);
	return rc;
}

/* What was granted stays granted; what is still good stays open. */
static int
open_again(struct opening *o, struct resource *r)
{
	bool same = r->granted && same_args(&r->args, o->args);
	int rc;

	/* A name has another address, or has several. */
	if (!same && o->args->kind == RES_STREAM_CONNECT &&
	    o->args->remote.sa.sa_family != AF_UNIX &&
	    (!r->granted || r->args.kind == RES_STREAM_CONNECT))
		return open_judged(o, r);
	if (!same)
		return err_set(o->err, -EPERM,
		    "only what the slot was granted can be opened again");
	/* Policy would say the same, but no link may have come in between. */
	o->free = r->free;
	/* The socket stays: only its peer is looked for. */
	if (r->fd >= 0 && o->args->kind == RES_UNIX_DGRAM)
		return opener_unix_join(o, r->fd);
	if (o->args->kind == RES_VDE_DATA && o->args->number != 0)
		return opener_vde_connect(o, r);
	if (opener_vde_later(o->args)) {
		fd_close_foreign(&r->fd);
		return 0;
	}
	if (still_good(o, r))
		return 0;
	fd_close_foreign(&r->fd);
	rc = openers[o->args->kind](o);
	if (rc < 0)
		fd_close_foreign(&o->fd);
	r->fd = fd_take(&o->fd);
	return rc;
}

static int
open_first(struct opening *o, struct resource *r)
{
	/* One permission per rule of hostfwd, all under one index. */
	if (r->granted && (o->args->kind != RES_PERMIT_LISTEN ||
			      r->args.kind != RES_PERMIT_LISTEN))
		return err_set(o->err, -EEXIST,
		    "resource %u of the slot is open", o->args->index);
	return open_judged(o, r);
}

int
opener_open(struct launcher *l, struct slot *s, const struct launch_open *args,
    int given, struct err *err)
{
	struct resource *r = &s->resources[args->index];
	struct opening o = {.l = l,
	    .slot = s,
	    .args = args,
	    .given = given,
	    .err = err,
	    .fd = -1};
	int rc;

	if (args->qmp && l->latched)
		rc = err_set(
		    err, -EPERM, "QMP endpoints are for the command line");
	else
		rc = args->again ? open_again(&o, r) : open_first(&o, r);
	fd_close_foreign(&o.given);
	return rc < 0 || rc == OPENER_LATER ? rc : 0;
}

void
opener_close(struct launcher *l, struct resource *r)
{
	if (r->made)
		opener_unix_remove(l, r);
	if (r->granted && r->args.kind == RES_VDE_DATA)
		opener_vde_remove(l, r);
	fd_close_foreign(&r->fd);
	r->granted = r->made = r->run = false;
}
