/*
 * backend_virtq.h - the device's side of a virtqueue, split or packed.
 *
 * The driver is the tenant: every index, descriptor and table is read once,
 * copied, and then judged (vhost-user.md 7 and 9; VIRTIO 1.2, 2.7 and 2.8).
 * A queue whose driver broke the rules is `broken`: pop says -EPROTO for ever
 * until virtq_start() again; nobody else is concerned.
 *
 * Use: virtq_pop() chains, fill or read their segments, virtq_push() them in
 * the order in which they were popped, virtq_flush() once per batch. Chains
 * that were popped and not pushed can be given back with virtq_unpop().
 */
#ifndef BACKENDS_BACKEND_VIRTQ_H
#define BACKENDS_BACKEND_VIRTQ_H

#include "backends/backend_guest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Largest queue: VIRTIO's 32768 entries; a chain is at most that long, but a
 * network buffer has few parts: more than this breaks the queue. */
#define VIRTQ_SIZE_MAX     32768u
#define VIRTQ_SEGMENTS_MAX 256u

/* A part of a chain, in host memory that the guest can change. */
struct virtq_segment {
	uint8_t *base;
	uint32_t len; /* > 0 */
};

/* A popped chain: `out` is read by the device, then `in` is written by it. */
struct virtq_chain {
	uint16_t id;        /* head (split), buffer id (packed) */
	uint32_t out_count; /* segments[0..out_count) */
	uint32_t in_count;  /* segments[out_count..out_count+in_count) */
	/* Not beside id: who copies both would load them as one word before
	 * their two stores have left the store buffer. */
	uint16_t slots; /* ring entries it takes (packed), 1 (split) */
	uint64_t out_bytes, in_bytes;
	struct virtq_segment segment[VIRTQ_SEGMENTS_MAX];
};

/* Chains that may be pushed before a flush; more are flushed in between. */
#define VIRTQ_BATCH 256u

/*
 * What a queue leaves to the process that follows when this one dies. A split
 * ring says itself how far it was used; a packed one does not, and its
 * front-end does not know. In memory that outlives us; whoever is next believes
 * nothing of it (backend_virtq_packed.c). Zeroed: it says nothing.
 */
struct virtq_mark {
	uint64_t desc; /* of what ring, */
	uint32_t size;
	uint32_t told;   /* and what its front-end said or heard last */
	uint64_t places; /* 0: nothing */
	/* The last batch, to be written again. */
	struct virtq_mark_used {
		uint64_t word;
		uint32_t at;
	} used[VIRTQ_BATCH];
};

/* What a queue is made from; addresses are the front-end's (uva). */
struct virtq_config {
	uint32_t size; /* 1..VIRTQ_SIZE_MAX; split: a power of two */
	uint64_t desc, avail, used; /* packed: ring, driver area, device area */
	uint32_t base; /* as SET_VRING_BASE: split 16 bits; packed 0x80008000
			* or 0x8000 form; any value is accepted */
	uint32_t told; /* the base that the front-end knows */
	bool packed, event_idx, indirect;
	struct virtq_mark *mark; /* packed: borrowed while it runs */
};

/* Zeroed = stopped. Borrows the memory while it runs. */
struct virtq {
	const struct guest_memory *memory; /* NULL: stopped */
	bool packed, event_idx, indirect;
	bool broken;
	bool notify_always; /* the first notification after a start */
	bool armed;         /* the driver was asked for kicks */
	uint32_t size;
	uint32_t near; /* the region that the last address was in */
	/* split: */
	void *desc;            /* of descriptors, or the packed ring */
	void *avail;           /* avail ring, or the driver event area */
	void *used;            /* used ring, or the device event area */
	uint16_t next_avail;   /* free-running (split), slot (packed) */
	uint16_t known_avail;  /* split: last checked avail.idx */
	uint16_t next_used;    /* written by us, not all published */
	uint16_t flushed_used; /* published */
	bool avail_wrap, used_wrap, flushed_wrap; /* packed */
	struct virtq_mark *mark; /* packed: has what is not flushed */
	uint32_t batch;          /* ... of so many chains */
	uint32_t in_flight;      /* ring entries popped and not pushed */
	uint32_t unflushed;      /* ring entries pushed and not flushed */
	const char *why;         /* broken: a few words */
};

/*
 * virtq_start - take up a queue, and arm it. 0; -EINVAL: size or an address is
 * impossible (then it stays stopped). In-order: where the next chain is taken
 * and where the next one is returned are the same place. Split: the used index
 * in the ring says it, which the driver sees too and which a predecessor that
 * died kept up to date; only if the avail index is impossible behind it, base
 * does. Packed: base says it (its used half if it has one, else its lower
 * half); or the mark, if it is of this ring and the front-end knows nothing
 * newer than the process that died.
 */
int virtq_start(struct virtq *q, const struct guest_memory *m,
    const struct virtq_config *c);

/* virtq_stop - forget it; returns the base to report (GET_VRING_BASE), 0 if it
 * does not run. What was popped and not flushed counts as not popped: push what
 * is done and flush before. Touches no memory. */
uint32_t virtq_stop(struct virtq *q);

/* The base as it would be reported now. */
uint32_t virtq_base(const struct virtq *q);

static inline bool
virtq_running(const struct virtq *q)
{
	return q->memory && !q->broken;
}

/* virtq_pop - the next chain: 1; 0: none, or stopped; -EPROTO: broken, see
 * q->why. A broken queue still takes back what was popped before. */
int virtq_pop(struct virtq *q, struct virtq_chain *chain);

/* virtq_unpop - the last `count` chains popped were not; `slots` is the sum of
 * their slots. */
void virtq_unpop(struct virtq *q, uint32_t count, uint32_t slots);

/* virtq_push - the device is done with a chain and wrote `written` bytes. In
 * the order of the pops. Not visible before virtq_flush. */
void virtq_push(struct virtq *q, uint16_t id, uint16_t slots, uint32_t written);

/* virtq_flush - publish; true: interrupt the driver (call descriptor). All
 * chains pushed since the last flush become visible together. */
bool virtq_flush(struct virtq *q);

/*
 * virtq_arm - ask for a kick at the next chain, fence, look again: true when
 * something is there already (do not sleep). virtq_disarm - no kicks, please.
 */
bool virtq_arm(struct virtq *q);
void virtq_disarm(struct virtq *q);

#endif
