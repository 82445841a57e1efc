/*
 * backend_vring.h - the driver's side of a split virtqueue in memory that a
 * hostile device can write.
 *
 * Every descriptor has a buffer of its own, of one size, in one piece of that
 * memory. What decides anything is private: the descriptor table and the
 * available ring are written and never read; of the device's ring each word is
 * read once and judged (vhost-user.md 7 and 9, "BE hostile to our FE"). A ring
 * whose device broke the rules is `broken` for good.
 *
 * Use: vring_take() descriptors, fill their buffers, vring_add() them as one
 * chain, vring_publish() once per batch; vring_peek() at what came back and
 * vring_return() it. Between an add and the next peek there is a publish.
 */
#ifndef BACKENDS_BACKEND_VRING_H
#define BACKENDS_BACKEND_VRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VRING_SIZE_MAX 1024u

struct vring_desc;
struct vring_avail;
struct vring_used;

/* Where the three areas stand, from the start of the ring's memory. */
#define VRING_DESC_OFFSET 0u
uint32_t vring_avail_offset(uint32_t size);
uint32_t vring_used_offset(uint32_t size);
uint32_t vring_bytes(uint32_t size); /* of all, a multiple of 4096 */

struct vring_config {
	void *memory;          /* vring_bytes(size), zeroed; borrowed */
	uint32_t size;         /* a power of two, at most VRING_SIZE_MAX */
	uint64_t buffers;      /* address of buffer 0, as the device has it */
	uint32_t buffer_bytes; /* from one to the next; none is longer */
	bool event_idx;        /* VIRTIO_RING_F_EVENT_IDX was agreed */
};

/* Private state of a descriptor. */
struct vring_slot {
	uint32_t bytes; /* head: of the chain's buffers */
	uint16_t count; /* head that the device has: its descriptors; else 0 */
	uint16_t next;  /* in its chain, or in the free list */
};

struct vring_driver {
	struct vring_desc *desc;       /* borrowed; never read */
	struct vring_avail *avail;     /* borrowed; never read */
	const struct vring_used *used; /* borrowed; the device's */
	uint64_t buffers;
	uint32_t buffer_bytes;
	uint32_t size;
	bool event_idx, broken;
	bool notify_always;   /* nothing was published yet */
	uint16_t added;       /* free-running, as all of these */
	uint16_t published;   /* the device may know chains below it */
	uint16_t taken;       /* next used element */
	uint16_t seen;        /* last checked used.idx */
	uint16_t outstanding; /* chains published and not returned */
	uint16_t free_head, free_count;
	const char *why; /* broken: a few words */
	struct vring_slot slot[VRING_SIZE_MAX];
};

/* vring_start - a fresh ring: all descriptors free, nothing published. */
void vring_start(struct vring_driver *q, const struct vring_config *c);

/*
 * vring_take - `count` free descriptors, the last freed first. They must be
 * given to vring_add before anything else is done with the ring.
 * Returns 0; -ENOSPC: so many are not free.
 */
int vring_take(struct vring_driver *q, unsigned count, uint16_t *ids);

/*
 * vring_add - those descriptors as one chain of buffers, for the device to
 * write (`in`) or to read.
 *   lens  bytes of each
 */
void vring_add(struct vring_driver *q, const uint16_t *ids,
    const uint32_t *lens, unsigned count, bool in);

/* vring_publish - show what was added; true: kick the device. */
bool vring_publish(struct vring_driver *q);

/* A chain that came back. */
struct vring_done {
	uint16_t id;    /* its first descriptor: which buffer */
	uint32_t bytes; /* what the device wrote, at most what it was given */
	bool lied;      /* it said more than that */
};

/*
 * vring_peek - the chain that is `ahead` places behind the next one, without
 * taking it. Two peeks can differ: what was decided on an older one is void.
 * Returns 1; 0: there is none; -EPROTO: broken, see q->why.
 */
int vring_peek(struct vring_driver *q, unsigned ahead, struct vring_done *d);

/*
 * vring_return - the next `count` chains, as peeked, are done with: their
 * descriptors are free. 0; -EPROTO: one of them twice, broken.
 */
int vring_return(
    struct vring_driver *q, const struct vring_done *d, unsigned count);

/*
 * vring_arm - ask for a call when more than `ahead` chains are back, fence,
 * look again: true when that is so already (do not sleep). vring_disarm: no
 * calls, please.
 */
bool vring_arm(struct vring_driver *q, unsigned ahead);
void vring_disarm(struct vring_driver *q);

#endif
