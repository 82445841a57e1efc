/*
 * backend_vhost_net.c - frames over pairs of virtqueues that we drive.
 *
 * Runs in: bulkhead-vhost-user.
 * Trusts: nothing in the memory that the back-end has mapped.
 * Specification: VIRTIO 1.2, 5.1.6; vhost-user.md 7 to 9.
 *
 * Theory of operation
 * In: a used element, its header (copied once, judged on the copy), the other
 * buffers of a large frame; then the bytes are copied into the ring to the
 * lane, which the back-end cannot see, and the buffers go back. When that ring
 * is full nothing is taken and the back-end runs out of buffers.
 * Out: a frame goes to the queue that its flow has. Completions are looked
 * for with the next frames, and asked for only when buffers are short; the
 * batch then stays in the lane's ring. A back-end that keeps every buffer
 * stops this port and nothing else.
 * Calls come on one descriptor for all rings. It and the kicks are eventfds,
 * whose O_NONBLOCK the back-end may clear: we read with RWF_NOWAIT, and write
 * only after the descriptor said that it takes it. A back-end that fills the
 * counter in between hangs its own port; the broker's ping ends that.
 * After so many frames, or while frames come quickly, it takes another turn of
 * the loop instead of waiting for a call.
 */
#include "backends/backend_vhost_net_state.h"

#include "backends/backend_pace.h"

#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

#define BIT(n) (UINT64_C(1) << (n))

/* Where the memory is for the back-end: neither number is one of ours. */
#define GPA_BASE UINT64_C(0x100000000)
#define UVA_BASE UINT64_C(0x7000000000)

/* Frames from the back-end in one turn of the loop. */
#define TURN_FRAMES 256u

#define WANTED                                                                 \
	(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_EVENT_IDX) |              \
	    BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) |            \
	    BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) |      \
	    BIT(VIRTIO_NET_F_GUEST_ECN) | BIT(VIRTIO_NET_F_GUEST_UFO) |        \
	    BIT(VIRTIO_NET_F_GUEST_USO4) | BIT(VIRTIO_NET_F_GUEST_USO6) |      \
	    BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) |        \
	    BIT(VIRTIO_NET_F_HOST_ECN) | BIT(VIRTIO_NET_F_HOST_UFO) |          \
	    BIT(VIRTIO_NET_F_HOST_USO) | BIT(VIRTIO_NET_F_MRG_RXBUF) |         \
	    BIT(VIRTIO_NET_F_MQ))

/* --- memory ----------------------------------------------------------------
 */

static size_t
ring_offset(unsigned i)
{
	return (size_t)i * vring_bytes(NET_RING_SIZE);
}

static size_t
buffers_offset(const struct vhost_net *n, unsigned i)
{
	return ring_offset(2 * n->pairs) +
	       (size_t)i * NET_RING_SIZE * NET_BUFFER_PLACE;
}

static void call_ready(void *self, unsigned events);
static void again_ready(void *self);

static int
open_memory(struct vhost_net *n)
{
	int rc;

	n->bytes = buffers_offset(n, 2 * n->pairs);
	rc = sys_memfd("vhost-user", n->bytes, &n->memfd);
	if (rc == 0)
		rc = sys_map(n->memfd, n->bytes, true, &n->memory);
	return rc;
}

static int
open_descriptors(struct vhost_net *n)
{
	struct loop *l = backend_loop(n->be);
	unsigned i;

	for (i = 0; i < 2 * n->pairs; i++) {
		n->queue[i].kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (n->queue[i].kick < 0)
			return -EMFILE;
	}
	n->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (n->call < 0)
		return -EMFILE;
	n->call_watch = watch_new(l, n->call, 0, call_ready, n);
	n->again = again_new(l, again_ready, n);
	return n->call_watch && n->again ? 0 : -ENOMEM;
}

int
vhost_net_new(struct backend *be, unsigned pairs,
    void (*broken)(void *self, const char *why), void *self,
    struct vhost_net **out)
{
	struct vhost_net *n = calloc(1, sizeof *n);
	unsigned i;
	int rc;

	BUG_ON(pairs == 0 || pairs > VHOST_FE_PAIRS_MAX);
	if (!n)
		return -ENOMEM;
	n->be = be;
	n->broken = broken;
	n->self = self;
	n->pairs = pairs;
	n->memfd = n->call = -1;
	n->queue = calloc(2 * pairs, sizeof *n->queue);
	for (i = 0; n->queue && i < 2 * pairs; i++)
		n->queue[i].kick = -1;
	rc = n->queue ? open_memory(n) : -ENOMEM;
	if (rc == 0)
		rc = open_descriptors(n);
	if (rc < 0)
		vhost_net_free(ptr_take(n));
	*out = n;
	return rc;
}

void
vhost_net_free(struct vhost_net *n)
{
	unsigned i;

	if (!n)
		return;
	watch_free(n->call_watch);
	again_free(n->again);
	for (i = 0; n->queue && i < 2 * n->pairs; i++)
		fd_close(&n->queue[i].kick);
	free(n->queue);
	fd_close(&n->call);
	fd_close(&n->memfd);
	sys_unmap(n->memory, n->bytes);
	free(n);
}

void
vhost_net_config(struct vhost_net *n, struct vhost_fe_config *c)
{
	unsigned i;

	for (i = 0; i < 2 * n->pairs; i++) {
		uint64_t at = UVA_BASE + ring_offset(i);

		n->lent[i] = (struct vhost_fe_ring){
		    .size = NET_RING_SIZE,
		    .desc = at + VRING_DESC_OFFSET,
		    .avail = at + vring_avail_offset(NET_RING_SIZE),
		    .used = at + vring_used_offset(NET_RING_SIZE),
		    .kick = n->queue[i].kick,
		    .call = n->call,
		};
	}
	*c = (struct vhost_fe_config){
	    .pairs = n->pairs,
	    .ring = n->lent,
	    .memory = n->memfd,
	    .region = {GPA_BASE, n->bytes, UVA_BASE, 0},
	    .features = WANTED,
	};
}

/* --- kicks and calls -------------------------------------------------------
 */

static void
kick(const struct net_queue *q)
{
	struct pollfd p = {.fd = q->kick, .events = POLLOUT};
	const uint64_t one = 1;

	/* A full counter wakes its reader as well. */
	if (poll(&p, 1, 0) == 1 && (p.revents & POLLOUT))
		(void)sys_write(q->kick, &one, sizeof one);
}

void
net_flush(struct net_queue *q)
{
	q->dirty = false;
	if (vring_publish(&q->ring))
		kick(q);
}

/* --- turns of the loop -----------------------------------------------------
 */

void
net_soon(struct vhost_net *n)
{
	n->soon = true;
	again_set(n->again, true);
}

int
net_fault(struct vhost_net *n, const struct net_queue *q)
{
	n->fault = q->ring.why ? q->ring.why : "it broke a ring";
	/* The owner may free us: not in the middle of its own call. */
	net_soon(n);
	return -EPROTO;
}

/* No frame is there: look again soon, or sleep until the call. */
static void
rest(struct vhost_net *n)
{
	bool there = false;
	unsigned i;

	if (pace_may_spin(PACE_SPIN_NS, &n->looked_ns, n->frames_ns, 0)) {
		net_soon(n);
		(void)sched_yield();
		return;
	}
	for (i = NET_RX; i < 2 * n->pairs; i += 2)
		there |= vring_arm(&n->queue[i].ring, 0);
	if (there)
		net_soon(n);
}

/* One look at every receive queue. As net_receive(). */
static int
receive_all(struct vhost_net *n)
{
	unsigned budget = TURN_FRAMES, i;
	int rc = 0;

	for (i = 0; i < n->pairs && rc == 0; i++) {
		struct net_queue *q =
		    &n->queue[2 * ((n->first + i) % n->pairs) + NET_RX];

		vring_disarm(&q->ring);
		rc = net_receive(n, q, &budget);
		if (rc == -EPROTO)
			(void)net_fault(n, q);
	}
	n->first++;
	if (budget < TURN_FRAMES) {
		backend_flush(n->be);
		n->frames_ns = sys_mono_ns();
	}
	return rc;
}

static void
turn(struct vhost_net *n)
{
	int rc = 0;

	if (!n->running)
		return;
	n->soon = false;
	if (!n->fault)
		rc = net_look_for_buffers(n);
	if (!n->fault && !n->held)
		rc = receive_all(n);
	if (n->fault) {
		n->running = false;
		watch_set(n->call_watch, 0);
		again_set(n->again, false);
		n->broken(n->self, n->fault);
		return;
	}
	n->held = n->held || rc == -EAGAIN;
	if (rc == 1)
		net_soon(n);
	else if (!n->held)
		rest(n);
	if (!n->soon)
		again_set(n->again, false);
}

static void
call_ready(void *self, unsigned events)
{
	struct vhost_net *n = self;
	uint64_t calls;
	struct iovec v = {&calls, sizeof calls};

	(void)events;
	/* Nothing there any more is no error: look anyway. */
	(void)sys_result(preadv2(n->call, &v, 1, -1, RWF_NOWAIT));
	turn(n);
}

static void
again_ready(void *self)
{
	turn(self);
}

void
vhost_net_room(struct vhost_net *n)
{
	n->held = false;
	turn(n);
}

/* --- start
 * ----------------------------------------------------------------------------
 */

static unsigned
takes(const struct vhost_net *n)
{
	unsigned t = 0;

	t |= net_has(n, VIRTIO_NET_F_CSUM) ? OFFLOAD_CSUM : 0u;
	t |= net_has(n, VIRTIO_NET_F_HOST_TSO4) ? OFFLOAD_TSO4 : 0u;
	t |= net_has(n, VIRTIO_NET_F_HOST_TSO6) ? OFFLOAD_TSO6 : 0u;
	t |= net_has(n, VIRTIO_NET_F_HOST_ECN) ? OFFLOAD_ECN : 0u;
	t |= net_has(n, VIRTIO_NET_F_HOST_UFO) ? OFFLOAD_UFO : 0u;
	t |= net_has(n, VIRTIO_NET_F_HOST_USO) ? OFFLOAD_USO4 | OFFLOAD_USO6
					       : 0u;
	return t;
}

void
vhost_net_run(struct vhost_net *n, uint64_t features)
{
	unsigned i;

	n->features = features;
	n->takes = takes(n);
	for (i = 0; i < 2 * n->pairs; i++) {
		struct net_queue *q = &n->queue[i];
		const struct vring_config c = {
		    .memory = (uint8_t *)n->memory + ring_offset(i),
		    .size = NET_RING_SIZE,
		    .buffers =
			GPA_BASE + buffers_offset(n, i) + NET_BUFFER_SKEW,
		    .buffer_bytes = NET_BUFFER_PLACE,
		    .event_idx = net_has(n, VIRTIO_RING_F_EVENT_IDX),
		};

		q->buffers = (uint8_t *)n->memory + buffers_offset(n, i) +
			     NET_BUFFER_SKEW;
		vring_start(&q->ring, &c);
		if (i % 2 == NET_RX)
			net_refill(q); /* its first kick is in it */
		else
			vring_disarm(&q->ring);
	}
	for (i = NET_TX; i < 2 * n->pairs; i += 2)
		kick(&n->queue[i]);
	backend_takes(n->be, n->takes);
	n->running = true;
	watch_set(n->call_watch, WATCH_READ);
	again_set(n->again, true);
}
