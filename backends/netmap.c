/*
 * netmap.c - a port of netmap: a card, a VALE switch, a pipe.
 *
 * Runs in: its own process; the port is bound by the launcher and mapped
 * here before the lock. The only requests left are the two syncs.
 * Trusts: the kernel; of the rings nothing (backend_netmap.c).
 * Specification: netmap's interface, API 14 and 15; QEMU net/netmap.c for the
 * options, but: devname is heeded, every ring is read, many frames are sent
 * with one sync, a frame that a card would send in pieces is dropped.
 *
 * Theory of operation
 * Frames move in a sync only, in both directions, also when epoll has already
 * said that there are some: so each turn begins with RXSYNC, and what was taken
 * is given back with another; each batch out ends with TXSYNC.
 * A sync on an interface that is down does not return, and no signal ends it.
 * The broker hears no more of us then and lets us go; nobody waits for our end.
 * An interface that was removed gives EIO for ever: we end, and the next
 * process tries to bind it.
 */
#include "backends/backend.h"
#include "backends/backend_netmap.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "gen/types.h"

/* Position in "opens" of schema/backends.json. */
enum { RESOURCE_PORT };

/* Turns of RXSYNC before others of the loop have theirs. */
#define TURN_SYNCS 4u
/* Frames that the kernel has not taken are offered again: when poll(2) tells of
 * room, or after the first of these, doubling up to the second. */
#define LOOK_NS_FIRST UINT64_C(2000000)
#define LOOK_NS_LAST  UINT64_C(256000000)

struct netmap {
	struct backend *be; /* borrowed */
	int fd;             /* owned */
	void *map;          /* owned mapping */
	uint64_t map_bytes;
	struct nmp_port port;
	struct watch *watch; /* owned */
	struct timer *look;  /* owned: on while the kernel has not taken all */
	uint64_t look_ns;
	bool held; /* the ring to the lane is full */
};

/* 0, or the port has gone. Interrupted is as good as done: it comes again. */
static int
sync_rings(struct netmap *n, unsigned long request)
{
	int rc = (int)sys_result(ioctl(n->fd, request, 0));

	return rc == -EINTR || rc == -EAGAIN ? 0 : rc;
}

static void
port_gone(struct netmap *n, int error)
{
	backend_connected(n->be, false, strerror(-error));
	backend_notice(n->be, "port", "netmap's port has gone");
	/* With an error: the next process binds it again, or waits for it. */
	loop_stop(backend_loop(n->be), 1);
}

/* --- in ------------------------------------------------------------------ */

/* All that is there of one ring. False: the lane's ring is full. */
static bool
drain(struct netmap *n, struct nmp_ring *r, bool *any)
{
	enum nmp_found found;
	struct nmp_span span;
	uint8_t *room;

	while ((found = nmp_next(r, &span)) != NMP_NONE) {
		if (found == NMP_FRAME &&
		    backend_reserve(n->be, span.len, &room) == 0)
			return false;
		if (found == NMP_FRAME && nmp_copy(r, &span, room))
			backend_commit(n->be, span.len);
		else
			backend_count(n->be, BC_IN_DROP_SIZE, 1);
		nmp_drop(r, &span);
		*any = true;
	}
	return true;
}

static void
readable(struct netmap *n)
{
	bool any = true;
	unsigned turn, i;
	int rc = 0;

	for (turn = 0; turn < TURN_SYNCS && any && !n->held; turn++) {
		any = false;
		rc = sync_rings(n, NETMAP_IOC_RXSYNC);
		if (rc < 0)
			break;
		for (i = 0; i < n->port.rx_count && !n->held; i++) {
			nmp_load(&n->port.rx[i]);
			n->held = !drain(n, &n->port.rx[i], &any);
			nmp_publish(&n->port.rx[i]);
		}
	}
	/* What the last turn took is given back. */
	if (rc == 0 && any)
		rc = sync_rings(n, NETMAP_IOC_RXSYNC);
	backend_flush(n->be);
	if (rc < 0)
		port_gone(n, rc);
}

static void
watch_wanted(struct netmap *n)
{
	watch_set(n->watch,
	    (n->held ? 0u : (unsigned)WATCH_READ) |
		(timer_pending(n->look) ? (unsigned)WATCH_WRITE : 0u));
}

static void
netmap_room(void *self)
{
	struct netmap *n = self;

	if (!n->held)
		return;
	n->held = false;
	readable(n);
	watch_wanted(n);
}

/* --- out ----------------------------------------------------------------- */

static int
push(struct netmap *n)
{
	int rc;

	nmp_publish(&n->port.tx);
	rc = sync_rings(n, NETMAP_IOC_TXSYNC);
	nmp_load(&n->port.tx);
	return rc;
}

static void
look_later(struct netmap *n, uint64_t ns)
{
	n->look_ns = ns;
	nmp_want_room(&n->port.tx);
	timer_set_ns(n->look, ns);
	watch_wanted(n);
}

static size_t
netmap_frames(void *self, const struct frame *f, size_t count)
{
	struct netmap *n = self;
	uint64_t bytes = 0, sent = 0;
	bool pushed = false;
	size_t i;
	int rc = 0;

	for (i = 0; i < count && rc == 0; i++) {
		enum nmp_put put = n->port.has_tx
				       ? nmp_put(&n->port, f[i].data, f[i].len)
				       : NMP_BROKEN;

		if (put == NMP_FULL && !pushed) {
			/* The kernel may be done with all of it. */
			rc = push(n);
			pushed = true;
			i--;
			continue;
		}
		if (put == NMP_FULL)
			break;
		pushed = false;
		if (put == NMP_PUT) {
			bytes += f[i].len;
			sent++;
		} else {
			backend_count(n->be,
			    put == NMP_TOO_LONG ? BC_OUT_DROP_SIZE
						: BC_OUT_DROP_ERROR,
			    1);
		}
	}
	if (rc == 0)
		rc = push(n);
	backend_count(n->be, BC_OUT_FRAMES, sent);
	backend_count(n->be, BC_OUT_BYTES, bytes);
	if (rc < 0)
		port_gone(n, rc);
	else if (nmp_pending(&n->port.tx))
		look_later(n, LOOK_NS_FIRST);
	return i;
}

static void
look_again(void *self)
{
	struct netmap *n = self;
	uint64_t ns = n->look_ns * 2;
	int rc;

	timer_stop(n->look);
	rc = push(n);
	if (rc < 0) {
		port_gone(n, rc);
		return;
	}
	if (nmp_pending(&n->port.tx))
		look_later(n, ns < LOOK_NS_LAST ? ns : LOOK_NS_LAST);
	else
		watch_wanted(n);
	backend_more(n->be);
}

static void
port_ready(void *self, unsigned events)
{
	struct netmap *n = self;

	if (events & WATCH_WRITE)
		look_again(n);
	if ((events & WATCH_READ) && !n->held) {
		readable(n);
		watch_wanted(n);
	}
}

/* --- life ---------------------------------------------------------------- */

static int
netmap_open(
    void *self, struct backend *be, const void *options, struct err *err)
{
	const struct netdev_netmap_options *o = options;
	struct netmap *n = self;
	struct netmap_port port;
	uint64_t offset;
	int rc;

	n->be = be;
	n->map = MAP_FAILED;
	n->fd = backend_resource(be, RESOURCE_PORT);
	rc = netmap_port_parse(o->ifname, &port, err);
	if (rc < 0)
		return rc;
	confine_map(&offset, &n->map_bytes);
	if (n->fd < 0)
		return err_set(err, -EBADF, "the netmap port is missing");
	rc = sys_map(n->fd, (size_t)n->map_bytes, true, &n->map);
	if (rc < 0) {
		n->map = MAP_FAILED;
		return err_set(
		    err, rc, "cannot map netmap's memory: %s", strerror(-rc));
	}
	rc = nmp_attach(&n->port, n->map, n->map_bytes, offset,
	    port.kind != NETMAP_NIC, err);
	if (rc < 0)
		return rc;
	n->look = timer_new(backend_loop(be), look_again, n);
	if (!n->look)
		return err_set(err, -ENOMEM, "out of memory");
	backend_info(be, "netmap: ifname=%s", o->ifname);
	return 0;
}

static int
netmap_start(void *self, struct err *err)
{
	struct netmap *n = self;

	n->watch =
	    watch_new(backend_loop(n->be), n->fd, WATCH_READ, port_ready, n);
	if (!n->watch)
		return err_set(err, -ENOMEM, "out of memory");
	backend_connected(n->be, true, "");
	return 0;
}

static void
netmap_close(void *self)
{
	struct netmap *n = self;

	watch_free(ptr_take(n->watch));
	timer_free(ptr_take(n->look));
	if (n->map != MAP_FAILED)
		sys_unmap(n->map, n->map_bytes);
	n->map = MAP_FAILED;
	fd_close(&n->fd);
}

#define LOW32 0xffffffffu

static const struct sysrule netmap_rules[] = {
    SYS_IF(ioctl, "give frames to the kernel",
	{1, ARG_EQ, LOW32, NETMAP_IOC_TXSYNC}),
    SYS_IF(ioctl, "take frames from the kernel, give slots back",
	{1, ARG_EQ, LOW32, NETMAP_IOC_RXSYNC}),
};

const struct backend_type backend_type = {
    .name = "netmap",
    .self_bytes = sizeof(struct netmap),
    .open = netmap_open,
    .start = netmap_start,
    .frames = netmap_frames,
    .room = netmap_room,
    .close = netmap_close,
    .syscalls = {"netmap", netmap_rules,
	sizeof netmap_rules / sizeof *netmap_rules},
};
