/*
 * backend_vhost_net_state.h - pairs of virtqueues that we drive, for the three
 * files that do it: backend_vhost_net.c (memory, turns of the loop), _in.c and
 * _out.c (frames).
 */
#ifndef BACKENDS_BACKEND_VHOST_NET_STATE_H
#define BACKENDS_BACKEND_VHOST_NET_STATE_H

#include "backends/backend_vhost_net.h"
#include "backends/backend_vring.h"

#include <linux/virtio_net.h>

struct watch;

/* linux/virtio_net.h since Linux 6.2. */
#ifndef VIRTIO_NET_F_GUEST_USO4
#define VIRTIO_NET_F_GUEST_USO4 54
#define VIRTIO_NET_F_GUEST_USO6 55
#define VIRTIO_NET_F_HOST_USO   56
#endif

#define NET_RING_SIZE 512u
/* A buffer, and where it begins in its place: a frame behind a header is then
 * aligned as records of our rings are. */
#define NET_BUFFER_PLACE 2048u
#define NET_BUFFER_SKEW  4u
#define NET_BUFFER_BYTES (NET_BUFFER_PLACE - NET_BUFFER_SKEW)
/* VERSION_1: with num_buffers, whatever else was agreed. */
#define NET_HEADER_BYTES ((uint32_t)sizeof(struct virtio_net_hdr_v1))
/* The longest that a virtio-net device has to take (VIRTIO 1.2, 5.1.6.2). */
#define NET_OUT_BYTES_MAX 65550u
#define NET_OUT_PARTS_MAX                                                      \
	((NET_OUT_BYTES_MAX + NET_HEADER_BYTES + NET_BUFFER_BYTES - 1) /       \
	    NET_BUFFER_BYTES)

/* Places in a pair. */
enum { NET_RX, NET_TX };

struct net_queue {
	struct vring_driver ring;
	uint8_t *buffers; /* borrowed: NET_RING_SIZE of them */
	int kick;         /* owned */
	bool dirty;       /* added and not published */
	bool waiting;     /* TX: frames wait for buffers */
};

struct vhost_net {
	struct backend *be;                          /* borrowed */
	void (*broken)(void *self, const char *why); /* with self */
	void *self;
	int memfd; /* owned */
	void *memory;
	size_t bytes;
	unsigned pairs;
	int call; /* owned, as the next two */
	struct watch *call_watch;
	struct again *again;
	uint64_t features;
	unsigned takes; /* enum offload bits */
	bool running;
	bool held;         /* the ring to the lane is full */
	const char *fault; /* to be told from the loop */
	bool soon;         /* look again by ourselves */
	unsigned first;    /* pair whose turn it is */
	uint64_t frames_ns, looked_ns;
	struct vhost_fe_ring lent[2 * VHOST_FE_PAIRS_MAX];
	struct vring_done done[NET_RING_SIZE]; /* buffers of one frame */
	struct net_queue *queue;               /* owned: 2 * pairs */
};

static inline bool
net_has(const struct vhost_net *n, unsigned bit)
{
	return (n->features >> bit & 1) != 0;
}

static inline uint8_t *
net_buffer(const struct net_queue *q, uint16_t id)
{
	return q->buffers + (size_t)id * NET_BUFFER_PLACE;
}

/* --- backend_vhost_net.c ---------------------------------------------------
 */

/* Publish what was added; kick the back-end where it wants that. */
void net_flush(struct net_queue *q);

/* Another turn of the loop, without a call. */
void net_soon(struct vhost_net *n);

/* The back-end broke the ring: told from the next turn. Returns -EPROTO. */
int net_fault(struct vhost_net *n, const struct net_queue *q);

/* --- backend_vhost_net_in.c ------------------------------------------------
 */

/* Every buffer that is free goes to the back-end. */
void net_refill(struct net_queue *q);

/*
 * Up to *budget frames of a receive queue; counts it down.
 * Returns 0: there are no more; 1: the budget is spent; -EAGAIN: the ring to
 * the lane is full; -EPROTO.
 */
int net_receive(struct vhost_net *n, struct net_queue *q, unsigned *budget);

/* --- backend_vhost_net_out.c -----------------------------------------------
 */

/* Frames wait for buffers: have some come back? 0 or -EPROTO. */
int net_look_for_buffers(struct vhost_net *n);

#endif
