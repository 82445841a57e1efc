/*
 * backend_vring.c - the driver's side of a split virtqueue.
 *
 * Runs in: bulkhead-vhost-user. Trusts: nothing in the used ring.
 * Specification: VIRTIO 1.2, 2.7; vhost-user.md 7 and 9.
 *
 * Theory of operation
 * The device may return chains in any order, but only chains that it has:
 * slot[].count tells, and becomes 0 when a chain is returned, so none comes
 * back twice. Its index may be ahead of us by at most what is outstanding.
 * Neither check needs anything that the device could have changed.
 */
#include "backends/backend_vring.h"

#include "proto/log.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

/* Areas that both sides write stand on lines of their own. */
#define LINE_BYTES 128u
#define PAGE_BYTES 4096u

static uint32_t
round_up(uint32_t bytes, uint32_t to)
{
	return (bytes + to - 1) & ~(to - 1);
}

uint32_t
vring_avail_offset(uint32_t size)
{
	return round_up(size * (uint32_t)sizeof(struct vring_desc), LINE_BYTES);
}

uint32_t
vring_used_offset(uint32_t size)
{
	/* flags, idx, ring, used_event */
	return round_up(vring_avail_offset(size) + 6 + 2 * size, LINE_BYTES);
}

uint32_t
vring_bytes(uint32_t size)
{
	/* flags, idx, ring, avail_event */
	return round_up(vring_used_offset(size) + 6 + 8 * size, PAGE_BYTES);
}

void
vring_start(struct vring_driver *q, const struct vring_config *c)
{
	uint8_t *memory = c->memory;
	uint32_t i;

	BUG_ON(c->size == 0 || c->size > VRING_SIZE_MAX);
	BUG_ON((c->size & (c->size - 1)) != 0);
	memset(q, 0, sizeof *q);
	q->desc = (void *)(memory + VRING_DESC_OFFSET);
	q->avail = (void *)(memory + vring_avail_offset(c->size));
	q->used = (const void *)(memory + vring_used_offset(c->size));
	q->buffers = c->buffers;
	q->buffer_bytes = c->buffer_bytes;
	q->size = c->size;
	q->event_idx = c->event_idx;
	q->notify_always = true;
	q->free_count = (uint16_t)c->size;
	for (i = 0; i < c->size; i++)
		q->slot[i].next = (uint16_t)(i + 1);
}

static int
broken(struct vring_driver *q, const char *why)
{
	q->broken = true;
	q->why = why;
	return -EPROTO;
}

/* --- to the device -------------------------------------------------------- */

int
vring_take(struct vring_driver *q, unsigned count, uint16_t *ids)
{
	unsigned i;

	if (count > q->free_count)
		return -ENOSPC;
	for (i = 0; i < count; i++) {
		ids[i] = q->free_head;
		q->free_head = q->slot[q->free_head].next;
	}
	q->free_count = (uint16_t)(q->free_count - count);
	return 0;
}

void
vring_add(struct vring_driver *q, const uint16_t *ids, const uint32_t *lens,
    unsigned count, bool in)
{
	uint16_t flags = in ? VRING_DESC_F_WRITE : 0;
	struct vring_slot *head = &q->slot[ids[0]];
	unsigned i;

	BUG_ON(count == 0 || head->count != 0);
	head->bytes = 0;
	for (i = 0; i < count; i++) {
		struct vring_desc *d = &q->desc[ids[i]];
		bool last = i + 1 == count;

		BUG_ON(lens[i] > q->buffer_bytes);
		head->bytes += lens[i];
		q->slot[ids[i]].next = last ? 0 : ids[i + 1];
		d->addr =
		    htole64(q->buffers + (uint64_t)ids[i] * q->buffer_bytes);
		d->len = htole32(lens[i]);
		d->flags =
		    htole16((uint16_t)(flags | (last ? 0 : VRING_DESC_F_NEXT)));
		d->next = htole16(last ? 0 : ids[i + 1]);
	}
	head->count = (uint16_t)count;
	q->avail->ring[q->added & (q->size - 1)] = htole16(ids[0]);
	q->added++;
}

/* Does the device want to hear of [old, now)? A guess of its own: whatever it
 * says costs us one kick too many or it one too few. */
static bool
wants_kick(const struct vring_driver *q, uint16_t old)
{
	const uint16_t *event = (const void *)&q->used->ring[q->size];

	if (q->event_idx)
		return vring_need_event(
		    le16toh(__atomic_load_n(event, __ATOMIC_RELAXED)),
		    q->published, old);
	return !(le16toh(__atomic_load_n(&q->used->flags, __ATOMIC_RELAXED)) &
		 VRING_USED_F_NO_NOTIFY);
}

bool
vring_publish(struct vring_driver *q)
{
	uint16_t old = q->published;

	if (q->added == old)
		return false;
	q->outstanding =
	    (uint16_t)(q->outstanding + (uint16_t)(q->added - old));
	q->published = q->added;
	/* Pairs with the device's acquire of avail.idx. */
	__atomic_store_n(
	    &q->avail->idx, htole16(q->published), __ATOMIC_RELEASE);
	/* The index before the look at what it wants: its arm does the same
	 * the other way round. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (q->notify_always) {
		q->notify_always = false;
		return true;
	}
	return wants_kick(q, old);
}

/* --- from the device ------------------------------------------------------ */

/* Chains that are back and not yet returned; -EPROTO. */
static int
look(struct vring_driver *q)
{
	/* Pairs with the device's release of used.idx. */
	uint16_t idx =
	    le16toh(__atomic_load_n(&q->used->idx, __ATOMIC_ACQUIRE));

	if ((uint16_t)(idx - q->taken) > q->outstanding)
		return broken(q, "its used index is ahead of what it got");
	q->seen = idx;
	return (uint16_t)(idx - q->taken);
}

int
vring_peek(struct vring_driver *q, unsigned ahead, struct vring_done *d)
{
	const struct vring_used_elem *e;
	uint32_t id, len;
	int rc;

	BUG_ON(q->added != q->published);
	if (q->broken)
		return -EPROTO;
	if (ahead >= (uint16_t)(q->seen - q->taken)) {
		rc = look(q);
		if (rc < 0)
			return rc;
		if (ahead >= (unsigned)rc)
			return 0;
	}
	e = &q->used->ring[(q->taken + ahead) & (q->size - 1)];
	/* Once each: the device can change them at any time. */
	id = le32toh(__atomic_load_n(&e->id, __ATOMIC_RELAXED));
	len = le32toh(__atomic_load_n(&e->len, __ATOMIC_RELAXED));
	if (id >= q->size || q->slot[id].count == 0)
		return broken(q, "it returned a buffer that it did not have");
	d->id = (uint16_t)id;
	d->lied = len > q->slot[id].bytes;
	d->bytes = d->lied ? q->slot[id].bytes : len;
	return 1;
}

/* The chain's descriptors go to the front of the free list, in order. */
static void
free_chain(struct vring_driver *q, uint16_t head)
{
	uint16_t count = q->slot[head].count, last = head, i;

	for (i = 1; i < count; i++)
		last = q->slot[last].next;
	q->slot[last].next = q->free_head;
	q->free_head = head;
	q->free_count = (uint16_t)(q->free_count + count);
	q->slot[head].count = 0;
}

int
vring_return(struct vring_driver *q, const struct vring_done *d, unsigned count)
{
	unsigned i;

	BUG_ON(count > (uint16_t)(q->seen - q->taken));
	for (i = 0; i < count; i++) {
		if (q->slot[d[i].id].count == 0)
			return broken(q, "it returned a buffer twice");
		free_chain(q, d[i].id);
	}
	q->taken = (uint16_t)(q->taken + count);
	q->outstanding = (uint16_t)(q->outstanding - count);
	return 0;
}

bool
vring_arm(struct vring_driver *q, unsigned ahead)
{
	uint16_t *event = &q->avail->ring[q->size];

	if (q->event_idx)
		__atomic_store_n(event, htole16((uint16_t)(q->taken + ahead)),
		    __ATOMIC_RELAXED);
	else
		__atomic_store_n(&q->avail->flags, 0, __ATOMIC_RELAXED);
	/* The wish before the look: the device does the reverse. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	/* A broken ring is found by the next peek. */
	return q->broken || look(q) < 0 ||
	       (uint16_t)(q->seen - q->taken) > ahead;
}

void
vring_disarm(struct vring_driver *q)
{
	/* With event indices a wish is used up by the call that it brings. */
	if (!q->event_idx)
		__atomic_store_n(&q->avail->flags,
		    htole16(VRING_AVAIL_F_NO_INTERRUPT), __ATOMIC_RELAXED);
}
