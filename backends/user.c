/*
 * user.c - a small network behind one port: DHCP, DNS, TFTP, and the guests'
 * connections made again by ordinary sockets of the host. libslirp does it.
 *
 * Runs in: its own process, alone in the host's network namespace, with a root
 * that shows resolv.conf and the TFTP directory and nothing else.
 * Trusts: the options once checked; not the guests, not the outside. libslirp
 * parses what guests send: a guest that finds a hole in it is in this process.
 * Specification: QEMU net/slirp.c for the options, libslirp 4.7's header.
 *
 * Theory of operation
 * libslirp wants a poll loop. Its descriptors are in an epoll instance of
 * their own, which the loop watches as one descriptor; after every turn the
 * library names what it waits for, and only differences go to the kernel.
 * Nothing is polled while the ring to the lane has no room for one long frame:
 * the senders' sockets fill instead.
 * Time: the library always asks to be called again within a second. It means
 * it when TCP or UDP sessions exist; listeners of hostfwd alone, or nothing,
 * need no clock, so an idle network sleeps. The library's idea of the time is
 * then old and is renewed before a frame is given to it.
 * Large frames: libslirp takes a TCP segment of any length, as long as it is
 * complete (backend_takes_long), and what it sends in small ones is put
 * together (backend_user_merge.c).
 * guestfwd: libslirp would start a program with one end of a socket pair. The
 * function that it calls for that is ours (see the end of the file): it starts
 * nothing and relays the socket to the rule's address.
 */
#include "backends/backend.h"
#include "backends/backend_pollset.h"
#include "backends/backend_relay.h"
#include "backends/backend_user_out.h"
#include "backends/backend_user_plan.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <net/if.h>
#include <slirp/libslirp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define MS_NS UINT64_C(1000000)
/* Without a frame for so long, no fragment can be waiting: libslirp keeps
 * them for 30 s. */
#define QUIET_NS (60000 * MS_NS)
/* What slirp_pollfds_fill says when it waits for sessions; more is "idle". */
#define TICK_MS_SESSIONS 500u
#define EVENTS_PER_TURN  128
#define FILES_MAX        65536u

struct user {
	struct backend *be;                     /* borrowed */
	const struct netdev_user_options *opts; /* borrowed */
	struct user_plan plan;
	Slirp *slirp;            /* owned */
	struct timer *tick;      /* owned: libslirp wants to be called */
	struct pollset set;      /* what libslirp waits for */
	struct watch *set_watch; /* owned */
	uint64_t active_ns;      /* the last frame or event */
	uint64_t clock_ns;       /* when libslirp last looked at the clock */
	const char **search;     /* owned; its strings are the options' */
	struct relay_set relays;
	struct user_out out;            /* frames for the lane */
	uint8_t frame[FRAME_BYTES_MAX]; /* the guest's, private */
};

/* libslirp's timer: router advertisements. */
struct user_timer {
	struct user *user;   /* borrowed */
	struct timer *timer; /* owned */
	SlirpTimerId id;
	void *opaque; /* libslirp's */
};

/* One per process: g_spawn_async_with_fds has no way to say whose it is. */
static struct user *only;

/* --- what libslirp calls ----------------------------------------------------
 */

static ssize_t
to_lane(const void *buf, size_t len, void *opaque)
{
	struct user *u = opaque;

	user_out_add(&u->out, buf, len);
	return (ssize_t)len;
}

static void
guest_error(const char *msg, void *opaque)
{
	/* Guests can cause any number of these; libslirp drops the frame. */
	(void)msg, (void)opaque;
}

static int64_t
clock_now(void *opaque)
{
	return (void)opaque, (int64_t)sys_mono_ns();
}

static void user_flush(struct user *u);

static void
user_timer_expired(void *self)
{
	struct user_timer *t = self;

	slirp_handle_timer(t->user->slirp, t->id, t->opaque);
	user_flush(t->user);
}

static void *
user_timer_new(SlirpTimerId id, void *timer_opaque, void *opaque)
{
	struct user_timer *t = calloc(1, sizeof *t);

	BUG_ON(!t);
	t->user = opaque;
	t->id = id;
	t->opaque = timer_opaque;
	t->timer = timer_new(backend_loop(t->user->be), user_timer_expired, t);
	BUG_ON(!t->timer);
	return t;
}

static void
user_timer_free(void *timer, void *opaque)
{
	struct user_timer *t = timer;

	(void)opaque;
	timer_free(t->timer);
	free(t);
}

static void
user_timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
	struct user_timer *t = timer;
	uint64_t now = sys_mono_ns(), when = (uint64_t)expire_ms * MS_NS;

	(void)opaque;
	timer_set_ns(t->timer, expire_ms > 0 && when > now ? when - now : 0);
}

static void
fd_registered(int fd, void *opaque)
{
	(void)fd, (void)opaque;
}

/* It is about to be closed, which takes it out of the epoll instance. */
static void
fd_unregistered(int fd, void *opaque)
{
	struct user *u = opaque;

	pollset_forget(&u->set, fd);
}

static void
notified(void *opaque)
{
	/* Every call into libslirp is followed by a refill. */
	(void)opaque;
}

static const SlirpCb callbacks = {
    .send_packet = to_lane,
    .guest_error = guest_error,
    .clock_get_ns = clock_now,
    .timer_free = user_timer_free,
    .timer_mod = user_timer_mod,
    .register_poll_fd = fd_registered,
    .unregister_poll_fd = fd_unregistered,
    .notify = notified,
    .timer_new_opaque = user_timer_new,
};

/* --- descriptors that libslirp waits for ------------------------------------
 */

static uint32_t
to_epoll(int events)
{
	return (events & SLIRP_POLL_IN ? (uint32_t)EPOLLIN : 0) |
	       (events & SLIRP_POLL_OUT ? (uint32_t)EPOLLOUT : 0) |
	       (events & SLIRP_POLL_PRI ? (uint32_t)EPOLLPRI : 0) |
	       (events & SLIRP_POLL_ERR ? (uint32_t)EPOLLERR : 0) |
	       (events & SLIRP_POLL_HUP ? (uint32_t)EPOLLHUP : 0);
}

static int
from_epoll(uint32_t events)
{
	return (events & (uint32_t)EPOLLIN ? SLIRP_POLL_IN : 0) |
	       (events & (uint32_t)EPOLLOUT ? SLIRP_POLL_OUT : 0) |
	       (events & (uint32_t)EPOLLPRI ? SLIRP_POLL_PRI : 0) |
	       (events & (uint32_t)EPOLLERR ? SLIRP_POLL_ERR : 0) |
	       (events & (uint32_t)EPOLLHUP ? SLIRP_POLL_HUP : 0);
}

static int
add_wanted(int fd, int events, void *opaque)
{
	struct user *u = opaque;

	return pollset_add(&u->set, fd, to_epoll(events));
}

static int
found_events(int index, void *opaque)
{
	struct user *u = opaque;

	return from_epoll(pollset_found(&u->set, index));
}

/* --- turns ------------------------------------------------------------------
 */

/* Does libslirp have more than listeners? Its own table tells. */
static bool
has_sessions(struct user *u)
{
	char *table = slirp_connection_info(u->slirp);
	bool has = user_table_has_sessions(table);

	g_free(table);
	return has;
}

static void
set_tick(struct user *u, uint32_t wait_ms)
{
	bool idle = wait_ms > TICK_MS_SESSIONS;

	if (!idle && wait_ms >= TICK_MS_SESSIONS - 1)
		idle =
		    sys_mono_ns() - u->active_ns > QUIET_NS && !has_sessions(u);
	if (idle)
		timer_stop(u->tick);
	else
		timer_set_ns(u->tick, wait_ms * MS_NS);
}

/* After any call into libslirp: send what it made, wait for what it wants. */
static void
user_flush(struct user *u)
{
	uint32_t wait_ms = UINT32_MAX;

	user_out_flush(&u->out);
	pollset_begin(&u->set);
	slirp_pollfds_fill(u->slirp, &wait_ms, add_wanted, u);
	pollset_end(&u->set);
	watch_set(u->set_watch, u->out.full ? 0 : WATCH_READ);
	set_tick(u, wait_ms);
}

/* Renew libslirp's clock and run what is due; look at no descriptor. */
static void
renew_clock(struct user *u)
{
	uint64_t now = sys_mono_ns();

	if (now - u->clock_ns < MS_NS)
		return;
	u->clock_ns = now;
	slirp_pollfds_poll(u->slirp, 1, found_events, u);
}

static void
tick_expired(void *self)
{
	struct user *u = self;

	renew_clock(u);
	user_flush(u);
}

static void
set_ready(void *self, unsigned events)
{
	struct user *u = self;
	uint8_t *room;

	(void)events;
	u->out.full = backend_reserve(u->be, FRAME_BYTES_MAX, &room) == 0;
	if (u->out.full) {
		watch_set(u->set_watch, 0);
		return;
	}
	pollset_look(&u->set);
	u->active_ns = u->clock_ns = sys_mono_ns();
	slirp_pollfds_poll(u->slirp, 0, found_events, u);
	user_flush(u);
}

static void
user_room(void *self)
{
	struct user *u = self;

	u->out.full = false;
	watch_set(u->set_watch, WATCH_READ);
}

static size_t
user_frames(void *self, const struct frame *f, size_t count)
{
	struct user *u = self;
	uint64_t bytes = 0, refused = 0, foreign = 0;
	size_t i;

	u->active_ns = sys_mono_ns();
	renew_clock(u);
	for (i = 0; i < count; i++) {
		/* Private first: it is checked here and parsed there. */
		memcpy(u->frame, f[i].data, f[i].len);
		if (!user_frame_is_ours(u->frame, f[i].len)) {
			foreign++;
			continue;
		}
		if (!user_frame_allowed(&u->plan, u->frame, f[i].len)) {
			refused++;
			continue;
		}
		bytes += f[i].len;
		slirp_input(u->slirp, u->frame, (int)f[i].len);
	}
	backend_count(u->be, BC_OUT_FRAMES, count - refused - foreign);
	backend_count(u->be, BC_OUT_BYTES, bytes);
	backend_count(u->be, BC_OUT_DROP_POLICY, refused);
	backend_count(u->be, BC_OUT_DROP_ADDRESS, foreign);
	user_flush(u);
	return count;
}

/* --- open -------------------------------------------------------------------
 */

static int
open_polling(struct user *u)
{
	struct loop *l = backend_loop(u->be);

	if (pollset_open(&u->set) < 0)
		return -ENOMEM;
	u->tick = timer_new(l, tick_expired, u);
	u->set_watch = watch_new(l, u->set.epoll, 0, set_ready, u);
	return u->tick && u->set_watch ? 0 : -ENOMEM;
}

static int
list_search(struct user *u)
{
	const struct string_list *names = &u->opts->dnssearch;
	size_t i;

	if (names->count == 0)
		return 0;
	u->search = calloc(names->count + 1, sizeof *u->search);
	if (!u->search)
		return -ENOMEM;
	for (i = 0; i < names->count; i++)
		u->search[i] = names->items[i].str;
	return 0;
}

static int
open_slirp(struct user *u)
{
	const struct netdev_user_options *o = u->opts;
	const struct user_plan *p = &u->plan;
	SlirpConfig cfg = {
	    .version = 4,
	    .restricted = p->restricted,
	    .in_enabled = p->ipv4,
	    .vnetwork = p->net,
	    .vnetmask = p->mask,
	    .vhost = p->host,
	    .in6_enabled = p->ipv6,
	    .vprefix_addr6 = p->prefix6,
	    .vprefix_len = p->prefix6_len,
	    .vhost6 = p->host6,
	    .vhostname = o->hostname,
	    .tftp_server_name = o->tftp_server_name,
	    .tftp_path = o->tftp ? "/tftp" : NULL,
	    .bootfile = o->bootfile,
	    .vdhcp_start = p->dhcp,
	    .vnameserver = p->dns,
	    .vnameserver6 = p->dns6,
	    .vdnssearch = u->search,
	    .vdomainname = o->domainname,
	    .disable_host_loopback = !p->host_loopback,
	};

	u->slirp = slirp_new(&cfg, &callbacks, u);
	return u->slirp ? 0 : -EINVAL;
}

static int
open_rules(struct user *u, struct err *err)
{
	struct user_plan *p = &u->plan;
	char command[32];
	size_t i;
	int rc;

	for (i = 0; i < p->hostfwd_count; i++) {
		const struct hostfwd *h = &p->hostfwd[i];

		rc = (int)sys_result(slirp_add_hostfwd(u->slirp, h->udp,
		    h->host, h->host_port, h->guest, h->guest_port));
		if (rc < 0)
			return err_set(err, rc,
			    "Could not set up host forwarding rule '%s': %s",
			    u->opts->hostfwd.items[i].str, strerror(-rc));
	}
	for (i = 0; i < p->guestfwd_count; i++) {
		struct guestfwd *g = &p->guestfwd[i];

		/* See g_spawn_async_with_fds below. */
		snprintf(command, sizeof command, "guestfwd %zu", i);
		if (slirp_add_exec(u->slirp, command, &g->server, g->port) < 0)
			return err_set(err, -EINVAL,
			    "Conflicting/invalid host:port in guest "
			    "forwarding rule '%s'",
			    u->opts->guestfwd.items[i].str);
	}
	return 0;
}

static int
user_open(void *self, struct backend *be, const void *options, struct err *err)
{
	struct user *u = self;
	char net[INET_ADDRSTRLEN];
	int rc;

	u->be = u->out.be = be;
	u->opts = options;
	u->set.epoll = -1;
	only = u;
	rc = user_plan(u->opts, &u->plan, err);
	if (rc < 0)
		return rc;
	if (open_polling(u) < 0 || list_search(u) < 0)
		return err_set(err, -ENOMEM, "out of memory or descriptors");
	if (open_slirp(u) < 0)
		return err_set(err, -EINVAL, "libslirp refused the options");
	rc = open_rules(u, err);
	if (rc < 0)
		return rc;
	backend_takes_long(be);
	backend_info(be, "net=%s,restrict=%s",
	    inet_ntop(AF_INET, &u->plan.net, net, sizeof net),
	    u->plan.restricted ? "on" : "off");
	return 0;
}

static int
user_start(void *self, struct err *err)
{
	struct user *u = self;

	(void)err;
	backend_connected(u->be, true, "");
	if (u->plan.note)
		backend_notice(u->be, "option", u->plan.note);
	user_flush(u);
	return 0;
}

static void
user_close(void *self)
{
	struct user *u = self;

	relay_close_all(&u->relays);
	if (u->slirp)
		slirp_cleanup(ptr_take(u->slirp));
	watch_free(ptr_take(u->set_watch));
	timer_free(ptr_take(u->tick));
	pollset_close(&u->set);
	free(ptr_take(u->search));
}

/* --- guestfwd: in place of starting a program -------------------------------
 */

/*
 * g_spawn_async_with_fds - GLib's function by name and type, defined here so
 * that libslirp finds this one: nothing in this process can start a program.
 * The command is "guestfwd N", N a rule of the plan; `in` is the socket that
 * the guest's connection is behind, closed by libslirp when we return.
 */
gboolean
g_spawn_async_with_fds(const gchar *directory, gchar **argv, gchar **envp,
    GSpawnFlags flags, GSpawnChildSetupFunc child_setup, gpointer user_data,
    GPid *pid, gint in, gint out, gint err, GError **error)
{
	struct user *u = only;
	unsigned long rule = strtoul(argv[1], NULL, 10);
	int guest;

	(void)directory, (void)envp, (void)flags, (void)child_setup;
	(void)user_data, (void)pid, (void)out, (void)err;
	BUG_ON(rule >= u->plan.guestfwd_count);
	guest = fcntl(in, F_DUPFD_CLOEXEC, 0);
	if (guest >= 0 && relay_connect(&u->relays, backend_loop(u->be), guest,
			      &u->plan.guestfwd[rule].target) == 0)
		return TRUE;
	g_set_error_literal(error, G_SPAWN_ERROR, G_SPAWN_ERROR_FAILED,
	    "the target of guestfwd cannot be reached");
	return FALSE;
}

/* --- system calls -----------------------------------------------------------
 */

#define LOW32     0xffffffffu
#define TYPE_BITS 0xfu /* without SOCK_NONBLOCK, SOCK_CLOEXEC */

/* The socket call: one line per family and type. */
#define SOCKET_OF(family, type, reason)                                        \
	SYS_IF(socket, reason, {0, ARG_EQ, LOW32, family},                     \
	    {1, ARG_EQ, TYPE_BITS, type})

static const struct sysrule user_rules[] = {
    SOCKET_OF(AF_INET, SOCK_STREAM, "the guest's TCP, guestfwd"),
    SOCKET_OF(AF_INET, SOCK_DGRAM, "the guest's UDP and ping"),
    SOCKET_OF(AF_INET6, SOCK_STREAM, "the same over IPv6"),
    SOCKET_OF(AF_INET6, SOCK_DGRAM, "the same over IPv6"),
    {.nr = __NR_socket,
	.name = "socket",
	.why = "libslirp's second try at ping: needs a capability",
	.error = EACCES,
	.args = {{0, ARG_EQ, LOW32, AF_INET},
	    {1, ARG_EQ, TYPE_BITS, SOCK_RAW}}},
    {.nr = __NR_socket,
	.name = "socket",
	.why = "libc, for the scope of a link-local name server",
	.error = EACCES,
	.args = {{0, ARG_EQ, LOW32, AF_UNIX}}},
    SYS(connect, "the guest's connections"),
    SYS(bind, "UDP sessions, guestfwd's socket pair"),
    SYS(listen, "guestfwd's socket pair"),
    SYS(accept, "hostfwd, guestfwd's socket pair"),
    SYS(getsockname, "hostfwd"),
    SYS(getpeername, "how a connection ended"),
    SYS(getsockopt, "how a connection ended"),
    SYS(setsockopt, "OOBINLINE, NODELAY, TTL of sessions"),
    SYS(shutdown, "half-closed connections"),
    SYS_IF(fcntl, "accepted sockets", {1, ARG_EQ, LOW32, F_GETFL}),
    SYS_IF(fcntl, "accepted sockets: may set O_NONBLOCK, never clear it",
	{1, ARG_EQ, LOW32, F_SETFL}, {2, ARG_EQ, O_NONBLOCK, O_NONBLOCK}),
    SYS_IF(fcntl, "guestfwd: keep our end of the pair",
	{1, ARG_EQ, LOW32, F_DUPFD_CLOEXEC}),
    SYS_IF(fcntl, "libslirp's sockets", {1, ARG_EQ, LOW32, F_SETFD}),
    SYS_IF(ioctl, "how long a datagram is", {1, ARG_EQ, LOW32, FIONREAD}),
    SYS_IF(ioctl, "the scope of a link-local name server",
	{1, ARG_EQ, LOW32, SIOCGIFINDEX}),
    SYS_IF(openat, "resolv.conf, TFTP: reading only",
	{2, ARG_CLEAR, O_ACCMODE | O_CREAT | O_TRUNC, 0}),
    SYS(newfstatat, "has resolv.conf changed? size of a file for TFTP"),
    SYS(lseek, "TFTP: any block"),
};

const struct backend_type backend_type = {
    .name = "user",
    .self_bytes = sizeof(struct user),
    .open = user_open,
    .start = user_start,
    .frames = user_frames,
    .room = user_room,
    .close = user_close,
    .syscalls = {"user", user_rules, sizeof user_rules / sizeof *user_rules},
};
