/*
 * backend_virtq.c - the device's side of a virtqueue: what both layouts share.
 *
 * Runs in: nic, the process of one VM.
 * Trusts: its private struct. The rings, the descriptors and the tables are
 * the tenant's and can change while they are looked at: each word is loaded
 * once, and the copy is judged and used. The bound of every walk is private.
 * Specification: VIRTIO 1.2, sections 2.7 and 2.8; vhost-user for the base.
 */
#include "backends/backend_virtq_ring.h"

#include "proto/log.h"

#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "as the rings");
_Static_assert(sizeof(struct vring_desc) == VIRTQ_DESC_BYTES, "layout");
_Static_assert(sizeof(struct vring_packed_desc) == VIRTQ_DESC_BYTES, "layout");

int
virtq_start(
    struct virtq *q, const struct guest_memory *m, const struct virtq_config *c)
{
	int rc;

	*q = (struct virtq){
	    .memory = m,
	    .packed = c->packed,
	    .event_idx = c->event_idx,
	    .indirect = c->indirect,
	    .notify_always = true,
	    .size = c->size,
	};
	if (c->size == 0 || c->size > VIRTQ_SIZE_MAX)
		rc = -EINVAL;
	else if (c->packed)
		rc = virtq_packed_start(q, c);
	else
		rc = virtq_split_start(q, c);
	if (rc < 0) {
		*q = (struct virtq){0};
		return rc;
	}
	(void)virtq_arm(q);
	return 0;
}

uint32_t
virtq_base(const struct virtq *q)
{
	uint32_t place = q->flushed_used;

	if (!q->packed)
		return place;
	place |= (uint32_t)q->flushed_wrap << 15;
	return place | place << 16;
}

uint32_t
virtq_stop(struct virtq *q)
{
	uint32_t base = virtq_base(q);

	if (q->memory && q->packed)
		virtq_packed_stop(q);
	*q = (struct virtq){0};
	return base;
}

int
virtq_break(struct virtq *q, const char *why)
{
	if (!q->broken)
		q->why = why;
	q->broken = true;
	return -EPROTO;
}

/* --- buffers and tables ----------------------------------------------------
 */

/* The region of an address: found by guest_at, remembered in q->near. */
static uint8_t *
look_up(struct virtq *q, uint64_t gpa, uint64_t len, uint64_t *run)
{
	const struct guest_region *r = q->memory->region;
	uint8_t *host = guest_at(q->memory, gpa, len, run);
	uint32_t i;

	for (i = 0; host && i < q->memory->count; i++)
		if (gpa - r[i].gpa < r[i].size)
			q->near = i;
	return host;
}

int
virtq_add_slow_(struct virtq *q, struct virtq_chain *c, uint64_t gpa,
    uint32_t len, bool write)
{
	uint32_t n = c->out_count + c->in_count;
	uint64_t run;
	uint8_t *host;

	if (len == 0)
		return virtq_break(q, "a buffer of no length");
	if (!write && c->in_count > 0)
		return virtq_break(
		    q, "a readable buffer behind a writable one");
	for (; len > 0; len -= (uint32_t)run, gpa += run, n++) {
		if (n == VIRTQ_SEGMENTS_MAX)
			return virtq_break(q, "too many buffers in a chain");
		host = look_up(q, gpa, len, &run);
		if (!host)
			return virtq_break(q, "a buffer outside of memory");
		c->segment[n].base = host;
		c->segment[n].len = (uint32_t)run;
		*(write ? &c->in_count : &c->out_count) += 1;
		*(write ? &c->in_bytes : &c->out_bytes) += run;
	}
	return 0;
}

int
virtq_table_open(
    struct virtq *q, struct virtq_table *t, uint64_t gpa, uint32_t len)
{
	if (!q->indirect)
		return virtq_break(q, "an indirect table, not negotiated");
	if (len == 0 || len % VIRTQ_DESC_BYTES != 0 ||
	    len > VIRTQ_SIZE_MAX * VIRTQ_DESC_BYTES)
		return virtq_break(q, "an indirect table of impossible length");
	if (gpa > UINT64_MAX - len)
		return virtq_break(q, "an indirect table outside of memory");
	*t = (struct virtq_table){.gpa = gpa, .count = len / VIRTQ_DESC_BYTES};
	return 0;
}

int
virtq_table_load(
    struct virtq *q, const struct virtq_table *t, uint32_t i, uint64_t word[2])
{
	uint64_t gpa = t->gpa + (uint64_t)i * VIRTQ_DESC_BYTES, run = 0, done;
	const struct guest_region *r = &q->memory->region[q->near];
	uint64_t at = gpa - r->gpa;
	const uint8_t *from;

	if (at < r->size && r->size - at >= VIRTQ_DESC_BYTES) {
		const volatile virtq_table_word *w =
		    (const void *)(r->host + at);

		word[0] = w[0];
		word[1] = w[1];
		return 0;
	}
	/* Another region, or two: a copy in as many pieces. */
	for (done = 0; done < VIRTQ_DESC_BYTES; done += run) {
		from = look_up(q, gpa + done, VIRTQ_DESC_BYTES - done, &run);
		if (!from)
			return virtq_break(
			    q, "an indirect table outside of memory");
		memcpy((uint8_t *)word + done, from, run);
	}
	/* The copy is all there is: nothing may be loaded again below. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return 0;
}

/* --- the calls: which layout -----------------------------------------------
 */

int
virtq_pop(struct virtq *q, struct virtq_chain *chain)
{
	if (!virtq_running(q))
		return q->broken ? -EPROTO : 0;
	return q->packed ? virtq_packed_pop(q, chain)
			 : virtq_split_pop(q, chain);
}

void
virtq_unpop(struct virtq *q, uint32_t count, uint32_t slots)
{
	BUG_ON(slots > q->in_flight || count > slots);
	BUG_ON(!q->packed && count != slots);
	q->in_flight -= slots;
	if (q->packed)
		virtq_packed_unpop(q, slots);
	else
		virtq_split_unpop(q, slots);
}

void
virtq_push(struct virtq *q, uint16_t id, uint16_t slots, uint32_t written)
{
	BUG_ON(slots == 0 || slots > q->in_flight);
	/* Whether to interrupt is decided with the last ones. */
	if (q->batch == VIRTQ_BATCH && virtq_flush(q))
		q->notify_always = true;
	q->in_flight -= slots;
	if (q->packed)
		virtq_packed_push(q, id, slots, written);
	else
		virtq_split_push(q, id, written);
	q->unflushed += slots;
}

bool
virtq_flush(struct virtq *q)
{
	bool notify;

	if (q->unflushed == 0)
		return false;
	q->unflushed = 0;
	notify = q->packed ? virtq_packed_flush(q) : virtq_split_flush(q);
	notify |= q->notify_always;
	q->notify_always = false;
	return notify;
}

bool
virtq_arm(struct virtq *q)
{
	if (!virtq_running(q))
		return false;
	q->armed = true;
	return q->packed ? virtq_packed_arm(q) : virtq_split_arm(q);
}

void
virtq_disarm(struct virtq *q)
{
	if (!q->armed)
		return;
	q->armed = false;
	if (q->packed)
		virtq_packed_disarm(q);
	else
		virtq_split_disarm(q);
}
