/*
 * backend_tap.c - frames over the queues of one tap.
 *
 * Runs in: tap, bridge. The launcher opened and configured the interface; we
 * have no ioctl.
 * Trusts: the kernel for what it is, not for each header; no frame.
 * Specification: Linux Documentation/networking/tuntap.rst; netdevs.md 5, 8.
 *
 * Theory of operation
 * One readv or writev is one frame: the kernel has nothing that takes more.
 * But with the header a frame may be 64 KiB of a TCP stream in one piece,
 * both ways, and that is where the bytes go; it is read into the ring, where
 * room for the longest is found before. A queue that has frames is read
 * until it has none or TURN_FRAMES came, then the others have their turn.
 * Frames shorter than 60 bytes are filled up with zeros, as QEMU does with a
 * tap's: they never were on a wire, and what is behind the hub may insist.
 * Frames to the kernel are spread by their flow, so that each flow keeps its
 * order; the kernel then answers a flow on the queue that it came from.
 *
 * An interface that is down takes no frames (EIO): they are dropped and
 * counted, and the operational state says so until one goes through again or
 * comes. One that was deleted (EBADFD): if the launcher made it, this process
 * ends and the next one gets a new interface. One that was passed to us is not
 * asked again; what comes is dropped, and the state and a notice tell it.
 */
#include "backends/backend_tap.h"

#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

/* Frames of one queue in one turn. */
#define TURN_FRAMES 64u

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

static void ready(void *self, unsigned events);
static void poll_turn(void *self);

/* --- state -----------------------------------------------------------------
 */

static void
watch_wanted(struct tap *t)
{
	unsigned i, events = 0;

	if (!t->gone)
		events = (t->held ? 0u : (unsigned)WATCH_READ) |
			 (t->blocked ? (unsigned)WATCH_WRITE : 0u);
	for (i = 0; i < t->count; i++)
		if (t->queues[i].watch)
			watch_set(t->queues[i].watch, events);
}

static void
set_down(struct tap *t, bool down)
{
	if (t->down == down || t->gone)
		return;
	t->down = down;
	backend_connected(t->be, !down, down ? "the interface is down" : "");
}

/* Deleted from outside. There is nothing to wait for on this descriptor. */
static void
set_gone(struct tap *t)
{
	unsigned i;

	if (t->gone)
		return;
	t->gone = true;
	if (t->remade) {
		backend_notice(t->be, "tap-gone",
		    "the interface was deleted; it is made again");
		backend_renew(t->be, -ENODEV, "the interface was deleted");
	}
	t->blocked = false;
	for (i = 0; i < t->count; i++)
		watch_free(ptr_take(t->queues[i].watch));
	if (t->poll)
		again_set(t->poll, false);
	backend_connected(t->be, false, "the interface was deleted");
	backend_notice(t->be, "tap-gone",
	    "the interface was deleted; delete the netdev and add it again");
	backend_more(t->be);
}

/* --- frames from the kernel
 * --------------------------------------------------- */

/* Room for whatever comes next, metadata before it. False: there is none. */
static bool
make_room(struct tap *t, uint8_t **room)
{
	/* Which metadata it will be makes no difference to the room. */
	static const struct frame_meta some = {.flags = META_DATA_VALID};

	t->held =
	    backend_reserve_meta(t->be, FRAME_BYTES_MAX, &some, room) == 0;
	return !t->held;
}

/* What readv has put into that room: a frame for the lane, or counted. */
static void
take(struct tap *t, const struct virtio_net_hdr *h, uint8_t *at, size_t got)
{
	struct frame_meta m;
	uint8_t *room;
	uint32_t len;
	int rc = tap_judge(t->header ? h : NULL, at, got, &len, &m);

	if (rc < 0) {
		backend_count(
		    t->be, rc == -EMSGSIZE ? BC_IN_DROP_SIZE : BC_IN_ERRORS, 1);
		return;
	}
	/* Without metadata it moves to where that would be: those are short,
	 * and there is less to find room for than before. */
	if (frame_meta_is_zero(&m)) {
		BUG_ON(backend_reserve(t->be, len, &room) == 0);
		memmove(room, at, len);
	}
	backend_commit_meta(t->be, len, &m);
}

static ssize_t
read_one(struct tap *t, int fd, struct virtio_net_hdr *h, uint8_t *room)
{
	/* One byte more than a frame may have: too long is seen. */
	uint8_t spare;
	struct iovec piece[3] = {
	    {h, sizeof *h}, {room, FRAME_BYTES_MAX}, {&spare, 1}};

	return sys_result(
	    t->header ? readv(fd, piece, 3) : readv(fd, piece + 1, 2));
}

/* How many frames the queue had, up to a turn's worth. */
static unsigned
read_queue(struct tap_queue *q)
{
	struct tap *t = q->tap;
	struct virtio_net_hdr h;
	uint8_t *room;
	unsigned n;
	ssize_t got;

	for (n = 0; n < TURN_FRAMES && make_room(t, &room); n++) {
		got = read_one(t, q->fd, &h, room);
		if (got == -EAGAIN || got == -EINTR)
			break;
		if (got == -EBADFD || got == -ENODEV || got == 0) {
			set_gone(t);
			break;
		}
		if (got < 0) {
			backend_count(t->be, BC_IN_ERRORS, 1);
			break;
		}
		take(t, &h, room, (size_t)got);
	}
	if (n > 0) {
		backend_flush(t->be);
		set_down(t, false);
	}
	if (t->held)
		watch_wanted(t);
	return n;
}

/* Frames came a moment ago: look for more before we sleep. */
static void
poll_turn(void *self)
{
	struct tap *t = self;
	uint64_t now = sys_mono_ns();
	unsigned i, n = 0;

	for (i = 0; i < t->count && !t->gone && !t->held; i++)
		n += read_queue(&t->queues[i]);
	if (n > 0)
		t->last_ns = now;
	else
		(void)sched_yield();
	again_set(
	    t->poll, !t->gone && !t->held && now - t->last_ns < t->poll_ns);
}

void
tap_room(void *self)
{
	struct tap *t = self;

	if (!t->held)
		return;
	t->held = false;
	watch_wanted(t);
}

/* --- frames to the kernel
 * ------------------------------------------------------- */

static void
dropped(struct tap *t, ssize_t rc)
{
	if (rc == -EBADFD || rc == -ENODEV)
		set_gone(t);
	if (rc == -EIO)
		set_down(t, true);
	backend_count(t->be,
	    t->gone || t->down ? BC_OUT_DROP_DISCONNECTED : BC_OUT_DROP_ERROR,
	    1);
}

static ssize_t
write_one(struct tap *t, const struct frame *f)
{
	unsigned q = t->count > 1 ? tap_flow(f->data, f->len) % t->count : 0;
	struct virtio_net_hdr h;
	/* The kernel only reads it; struct iovec has no const. */
	struct iovec piece[2] = {
	    {&h, sizeof h}, {(void *)(uintptr_t)f->data, f->len}};

	if (!t->header)
		return sys_result(writev(t->queues[q].fd, piece + 1, 1));
	tap_header(&f->meta, f, &h);
	return sys_result(writev(t->queues[q].fd, piece, 2));
}

size_t
tap_frames(void *self, const struct frame *f, size_t count)
{
	struct tap *t = self;
	uint64_t bytes = 0, sent = 0;
	size_t i;

	for (i = 0; i < count; i++) {
		ssize_t rc = t->gone ? -EBADFD : write_one(t, &f[i]);

		if (rc == -EINTR)
			rc = write_one(t, &f[i]);
		if (rc == -EAGAIN) {
			t->blocked = true;
			watch_wanted(t);
			break;
		}
		if (rc < 0) {
			dropped(t, rc);
			continue;
		}
		sent++;
		bytes += f[i].len;
	}
	if (sent > 0)
		set_down(t, false);
	backend_count(t->be, BC_OUT_FRAMES, sent);
	backend_count(t->be, BC_OUT_BYTES, bytes);
	return i;
}

static void
ready(void *self, unsigned events)
{
	struct tap_queue *q = self;
	struct tap *t = q->tap;

	if (events & WATCH_WRITE && t->blocked) {
		t->blocked = false;
		watch_wanted(t);
		backend_more(t->be);
	}
	if (t->gone || t->held || !(events & WATCH_READ))
		return;
	if (read_queue(q) > 0 && t->poll && !t->gone) {
		t->last_ns = sys_mono_ns();
		again_set(t->poll, true);
	}
}

/* --- life
 * ------------------------------------------------------------------------- */

/*
 * What the kernel takes from us. Before the lock, where there still is an
 * ioctl: the flags are those that the launcher has set, and whether they are
 * known says which kernel this is.
 */
static unsigned
kernel_takes(int fd)
{
	unsigned long most = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 |
			     TUN_F_TSO_ECN | TUN_F_USO4 | TUN_F_USO6;
	unsigned takes =
	    OFFLOAD_CSUM | OFFLOAD_TSO4 | OFFLOAD_TSO6 | OFFLOAD_ECN;

	if (ioctl(fd, TUNSETOFFLOAD, most) == 0)
		takes |= OFFLOAD_USO4 | OFFLOAD_USO6;
	return takes;
}

static int
open_queue(struct tap *t, int fd, struct err *err)
{
	struct tap_queue *q = &t->queues[t->count++];
	struct ifreq req = {0};
	bool header;
	int rc;

	q->tap = t;
	q->fd = fd;
	rc = (int)sys_result(ioctl(fd, TUNGETIFF, &req));
	if (rc < 0)
		return err_set(err, rc, "the tap cannot be used: %s",
		    strerrordesc_np(-rc));
	header = (req.ifr_flags & IFF_VNET_HDR) != 0;
	if (t->count > 1 && header != t->header)
		return err_set(err, -EINVAL,
		    "vnet_hdr not consistent across given tap fds");
	t->header = header;
	snprintf(t->name, sizeof t->name, "%.15s", req.ifr_name);
	return 0;
}

int
tap_open(struct tap *t, struct backend *be, uint32_t poll_us, struct err *err)
{
	unsigned i;
	int fd, rc = 0;

	t->be = be;
	for (i = 0; i < TAP_QUEUES_MAX && rc == 0; i++) {
		fd = backend_resource(be, i);
		if (fd >= 0)
			rc = open_queue(t, fd, err);
	}
	if (rc < 0)
		return rc;
	if (t->count == 0)
		return err_set(err, -EBADF, "there is no tap");
	if (t->header)
		backend_takes(be, kernel_takes(t->queues[0].fd));
	t->poll_ns = (uint64_t)poll_us * 1000;
	if (poll_us > 0)
		t->poll = again_new(backend_loop(be), poll_turn, t);
	if (poll_us > 0 && !t->poll)
		return err_set(err, -ENOMEM, "out of memory");
	return 0;
}

int
tap_start(void *self, struct err *err)
{
	struct tap *t = self;
	unsigned i;

	for (i = 0; i < t->count; i++) {
		struct tap_queue *q = &t->queues[i];

		q->watch =
		    watch_new(backend_loop(t->be), q->fd, WATCH_READ, ready, q);
		if (!q->watch)
			return err_set(err, -ENOMEM, "out of memory");
	}
	backend_connected(t->be, true, "");
	return 0;
}

void
tap_close(void *self)
{
	struct tap *t = self;
	unsigned i;

	for (i = 0; i < t->count; i++) {
		watch_free(ptr_take(t->queues[i].watch));
		fd_close(&t->queues[i].fd);
	}
	again_free(ptr_take(t->poll));
}
