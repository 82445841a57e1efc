/*
 * backend_virtq_split.c - the device's side of a split virtqueue.
 *
 * Runs in: nic, the process of one VM.
 * Trusts: its private struct (see backend_virtq.c).
 *
 *   driver                              device
 *   write descriptors, avail ring       load avail idx (acquire)       [1]
 *   store avail idx (release)    [1]    load avail ring, descriptors
 *   full fence                   [2]    write buffers, used ring
 *   load avail event or flags    [2]    store used idx (release)       [3]
 *   load used idx (acquire)      [3]    full fence                     [4]
 *   when it waits:                      load used event or flags       [4]
 *   store used event or flags    [4]    when it waits (virtq_arm):
 *   full fence                   [4]    store avail event or flags     [2]
 *   load used idx                       full fence                     [2]
 *                                       load avail idx
 *
 * A batch costs one load of avail idx for all chains known then, one store of
 * used idx and one fence; the lines that both sides write change their
 * processor once in a batch.
 *
 * Specification: VIRTIO 1.2, section 2.7.
 */
#include "backends/backend_virtq_ring.h"

#include <errno.h>
#include <linux/virtio_ring.h>

/* Of the rings' heads and tails, beside the entries. */
#define RING_HEAD_BYTES  4u
#define RING_EVENT_BYTES 2u

static uint16_t
load_avail_idx(const struct virtq *q)
{
	const struct vring_avail *avail = q->avail;

	/* [1] */
	return __atomic_load_n(&avail->idx, __ATOMIC_ACQUIRE);
}

int
virtq_split_start(struct virtq *q, const struct virtq_config *c)
{
	uint64_t event = c->event_idx ? RING_EVENT_BYTES : 0;
	const struct vring_used *used;
	uint16_t place;

	if ((c->size & (c->size - 1)) != 0)
		return -EINVAL;
	q->desc = guest_at_uva(q->memory, c->desc,
	    (uint64_t)c->size * VIRTQ_DESC_BYTES, VIRTQ_DESC_BYTES);
	q->avail = guest_at_uva(q->memory, c->avail,
	    RING_HEAD_BYTES + 2 * (uint64_t)c->size + event, 2);
	q->used = guest_at_uva(q->memory, c->used,
	    RING_HEAD_BYTES + 8 * (uint64_t)c->size + event, 4);
	if (!q->desc || !q->avail || !q->used)
		return -EINVAL;
	used = q->used;
	place = __atomic_load_n(&used->idx, __ATOMIC_RELAXED);
	if ((uint16_t)(load_avail_idx(q) - place) > q->size)
		place = (uint16_t)c->base;
	q->next_avail = q->known_avail = place;
	q->next_used = q->flushed_used = place;
	return 0;
}

/* See what the driver has added. 1: something; 0; -EPROTO: impossible. */
static int
look(struct virtq *q)
{
	uint16_t idx = load_avail_idx(q);
	uint16_t count = (uint16_t)(idx - q->next_avail);

	/* What we hold it cannot have offered again. */
	if (count > q->size - virtq_held(q))
		return virtq_break(q, "the avail index jumped");
	q->known_avail = idx;
	return count > 0;
}

/* Load descriptor `i`, once. */
static inline void
load(const struct virtq *q, size_t i, uint64_t word[2])
{
	const volatile virtq_word *desc = q->desc;

	word[0] = desc[2 * i];
	word[1] = desc[2 * i + 1];
}

/*
 * Walk a chain from its first descriptor, which is loaded: over several, and
 * behind them, or at once, into an indirect table.
 */
static __attribute__((noinline)) int
walk(struct virtq *q, struct virtq_chain *c, uint64_t head_addr,
    uint64_t head_rest)
{
	uint64_t word[2] = {head_addr, head_rest};
	struct virtq_table table = {.count = 0};
	uint32_t left = q->size - 1u; /* descriptors that may still come */
	uint32_t len, next;
	uint16_t flags;
	int rc;

	virtq_chain_begin(c);
	for (;;) {
		len = (uint32_t)word[1];
		flags = (uint16_t)(word[1] >> 32);
		next = (uint16_t)(word[1] >> 48);
		if (__builtin_expect(flags & VRING_DESC_F_INDIRECT, 0)) {
			if (table.count > 0)
				return virtq_break(q, "a table in a table");
			if ((flags & VRING_DESC_F_NEXT) != 0)
				return virtq_break(
				    q, "INDIRECT together with NEXT");
			rc = virtq_table_open(q, &table, word[0], len);
			left = table.count;
			next = 0;
		} else {
			rc = virtq_add(q, c, word[0], len,
			    (flags & VRING_DESC_F_WRITE) != 0);
			if (rc < 0 || (flags & VRING_DESC_F_NEXT) == 0)
				return rc;
		}
		if (rc < 0)
			return rc;
		if (left-- == 0)
			return virtq_break(q, "a chain that does not end");
		if (next >= (table.count > 0 ? table.count : q->size))
			return virtq_break(q, "a next outside of the table");
		if (table.count == 0)
			load(q, next, word);
		else if ((rc = virtq_table_load(q, &table, next, word)) < 0)
			return rc;
	}
}

int
virtq_split_pop(struct virtq *q, struct virtq_chain *chain)
{
	const struct vring_avail *avail = q->avail;
	const volatile virtq_word *desc = q->desc;
	uint64_t addr, rest;
	uint16_t head, flags;
	int rc;

	if (q->known_avail == q->next_avail) {
		rc = look(q);
		if (rc <= 0)
			return rc;
	}
	head = *(const volatile uint16_t *)&avail
		    ->ring[q->next_avail & (q->size - 1)];
	if (head >= q->size)
		return virtq_break(q, "a head outside of the table");
	addr = desc[2 * (size_t)head];
	rest = desc[2 * (size_t)head + 1];
	flags = (uint16_t)(rest >> 32);
	if ((flags & (VRING_DESC_F_NEXT | VRING_DESC_F_INDIRECT)) != 0 ||
	    !virtq_chain_single(q, chain, addr, (uint32_t)rest,
		(flags & VRING_DESC_F_WRITE) != 0)) {
		rc = walk(q, chain, addr, rest);
		if (rc < 0)
			return rc;
	}
	virtq_chain_fetch(chain);
	chain->id = head;
	chain->slots = 1;
	q->next_avail++;
	q->in_flight++;
	return 1;
}

void
virtq_split_unpop(struct virtq *q, uint32_t slots)
{
	q->next_avail = (uint16_t)(q->next_avail - slots);
}

void
virtq_split_push(struct virtq *q, uint16_t id, uint32_t written)
{
	struct vring_used *used = q->used;
	struct vring_used_elem *e = &used->ring[q->next_used & (q->size - 1)];

	e->id = id;
	e->len = written;
	q->next_used++;
}

bool
virtq_split_flush(struct virtq *q)
{
	const struct vring_avail *avail = q->avail;
	struct vring_used *used = q->used;
	uint16_t old = q->flushed_used, new = q->next_used, word;

	__atomic_store_n(&used->idx, new, __ATOMIC_RELEASE); /* [3] */
	q->flushed_used = new;
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* [4] */
	if (!q->event_idx) {
		word = __atomic_load_n(&avail->flags, __ATOMIC_RELAXED);
		return (word & VRING_AVAIL_F_NO_INTERRUPT) == 0;
	}
	word = __atomic_load_n(&avail->ring[q->size], __ATOMIC_RELAXED);
	return (uint16_t)(new - word - 1) < (uint16_t)(new - old);
}

bool
virtq_split_arm(struct virtq *q)
{
	struct vring_used *used = q->used;

	if (q->event_idx)
		__atomic_store_n((uint16_t *)(void *)&used->ring[q->size],
		    q->next_avail, __ATOMIC_RELAXED); /* [2] */
	else
		__atomic_store_n(&used->flags, 0, __ATOMIC_RELAXED); /* [2] */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);                     /* [2] */
	return load_avail_idx(q) != q->next_avail;
}

void
virtq_split_disarm(struct virtq *q)
{
	struct vring_used *used = q->used;

	/* With event-idx, an old event is as good. */
	if (!q->event_idx)
		__atomic_store_n(
		    &used->flags, VRING_USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
}
