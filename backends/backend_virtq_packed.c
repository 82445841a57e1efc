/*
 * backend_virtq_packed.c - the device's side of a packed virtqueue.
 *
 * Runs in: nic, the process of one VM.
 * Trusts: its private struct (see backend_virtq.c).
 *
 *   driver                              device
 *   write the chain but its head's      load the head's flags (acquire) [1]
 *     flags; store these (release) [1]  load the chain
 *   full fence                     [2]  write buffers, used descriptors
 *   load device event area         [2]  store the first's flags
 *   load flags at its used place           (release)                    [3]
 *     (acquire)                    [3]  full fence                      [4]
 *   when it waits:                      load driver event area          [4]
 *   store driver event area        [4]  when it waits (virtq_arm):
 *   full fence                     [4]  store device event area         [2]
 *   load flags at its used place        full fence                      [2]
 *                                       load flags at our avail place
 *
 * A batch of used descriptors becomes visible with the flags of its first: the
 * driver looks at them one after the other and stops at the first that is not
 * used. They lie at the first slots of their chains, which the device has read.
 *
 * When we die
 * How far the ring was used is nowhere in it: a used chain is one descriptor,
 * and of how many it was made is forgotten. Front-ends tell what they told the
 * dead process. So each batch is written down in the mark first, in memory that
 * the next process gets; then into the ring, its first at last. Who finds the
 * first of the batch still available writes all of it once more; else the batch
 * was complete. Places of a mark that is not of this ring, or of one in which
 * nothing was used yet, are not believed. A mark that lies leads astray the
 * queue of the guest that wrote it: everything in it is an offset in its ring.
 *
 * Specification: VIRTIO 1.2, section 2.8.
 */
#include "backends/backend_virtq_ring.h"

#include <errno.h>
#include <linux/virtio_ring.h>

#define FLAG_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define FLAG_USED  (1u << VRING_PACKED_DESC_F_USED)
#define PLACE_WRAP (1u << VRING_PACKED_EVENT_F_WRAP_CTR)

/* Both event areas as one word: they are aligned, so it is one store. */
#define EVENT_FLAGS_SHIFT 16

/* Second words of a descriptor: len, id, flags. */
static inline uint16_t
flags_of(uint64_t word)
{
	return (uint16_t)(word >> 48);
}

static inline uint64_t
word_of(uint32_t len, uint16_t id, uint16_t flags)
{
	return len | (uint64_t)id << 32 | (uint64_t)flags << 48;
}

/*
 * A base of 0 says: first slot, wrap counter 0. A front-end that knows split
 * rings only (user-mode Linux) says it for a new ring too, whose counters start
 * at 1. In a new ring nothing was used, and what is available has counter 1, so
 * no slot has the flag of used ones. In a ring that is at counter 0 again at
 * least one slot of its last round has it: a chain's first that was used.
 */
static bool
is_new_ring(const struct virtq *q)
{
	const struct vring_packed_desc *ring = q->desc;
	uint32_t i;

	for (i = 0; i < q->size; i++)
		if (__atomic_load_n(&ring[i].flags, __ATOMIC_RELAXED) &
		    FLAG_USED)
			return false;
	return true;
}

/* Has it anything but what a driver offers with counter 1? What was used with
 * counter 0 has neither flag, but is there. */
static bool
is_untouched(const struct virtq *q)
{
	const virtq_word *ring = q->desc;
	uint64_t addr, word;
	size_t i;

	for (i = 0; i < q->size; i++) {
		addr = __atomic_load_n(&ring[2 * i], __ATOMIC_RELAXED);
		word = __atomic_load_n(&ring[2 * i + 1], __ATOMIC_RELAXED);
		if ((flags_of(word) & FLAG_AVAIL) == 0 && (addr | word) != 0)
			return false;
	}
	return is_new_ring(q);
}

/* --- the mark ------------------------------------------------------------- */

/*
 * Places of a mark: from, to (slot and wrap counter, 16 bits each), number of
 * chains between them, and three bits. One store changes them.
 * A ring in which no slot has the flag of used ones is new, or its driver's
 * counter is 1 again and the last chain that was used, with counter 0, reached
 * over the ring's end. That is what MARK_CROSSED says of this batch and
 * MARK_CROSSING of the one before, if this one did not get into the ring.
 */
#define MARK_TO_SHIFT    16
#define MARK_COUNT_SHIFT 32
#define MARK_CROSSING    (UINT64_C(1) << 61)
#define MARK_CROSSED     (UINT64_C(1) << 62)
#define MARK_SAYS        (UINT64_C(1) << 63)

static inline uint32_t
place_of(uint16_t slot, bool wrap)
{
	return slot | (wrap ? PLACE_WRAP : 0);
}

static inline void
mark_set(struct virtq_mark *m, uint64_t places)
{
	/* Who is killed was killed between two instructions: the order of the
	 * stores is all that counts. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&m->places, places, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static void
mark_begin(const struct virtq *q, const struct virtq_config *c)
{
	uint64_t place = place_of(q->flushed_used, q->flushed_wrap);
	struct virtq_mark *m = q->mark;
	uint64_t crossed = m->places & (MARK_CROSSED | MARK_CROSSING);

	if (m->desc != c->desc || m->size != c->size ||
	    (uint16_t)(m->places >> MARK_TO_SHIFT) != place)
		crossed = 0;
	mark_set(m, 0);
	m->desc = c->desc;
	m->size = c->size;
	m->told = c->told;
	mark_set(m, MARK_SAYS | crossed | place << MARK_TO_SHIFT | place);
}

void
virtq_packed_stop(struct virtq *q)
{
	mark_set(q->mark, q->mark->places & ~MARK_SAYS);
}

/* What is to be shown, and where it ends. */
static inline void
mark_batch(struct virtq *q)
{
	uint64_t places =
	    MARK_SAYS | place_of(q->flushed_used, q->flushed_wrap);

	places |= (uint64_t)place_of(q->next_used, q->used_wrap)
		  << MARK_TO_SHIFT;
	places |= (uint64_t)q->batch << MARK_COUNT_SHIFT;
	/* A chain can be as long as the ring. */
	if (q->next_used > 0 && q->mark->used[q->batch - 1].at >= q->next_used)
		places |= MARK_CROSSED;
	if ((q->mark->places & MARK_CROSSED) != 0)
		places |= MARK_CROSSING;
	mark_set(q->mark, places);
}

/* The batch of the mark into the ring; its first is what makes it visible. */
static inline void
show_batch(struct virtq *q, uint32_t count)
{
	const struct virtq_mark_used *used = q->mark->used;
	virtq_word *ring = q->desc;
	uint32_t i;

	for (i = 1; i < count; i++)
		if (used[i].at < q->size)
			ring[2 * (size_t)used[i].at + 1] = used[i].word;
	/* [3] Its length and id with it: an aligned word is one store. */
	if (used[0].at < q->size)
		__atomic_store_n(&ring[2 * (size_t)used[0].at + 1],
		    used[0].word, __ATOMIC_RELEASE);
}

/* Is what is there what a driver offers when its counter is that? */
static inline bool
is_offer(uint64_t word, bool wrap)
{
	uint16_t flags = flags_of(word);

	return ((flags & FLAG_AVAIL) != 0) == wrap &&
	       ((flags & FLAG_USED) != 0) != wrap;
}

/* Where the dead process was, after what it did not complete; or `place`. */
static uint32_t
resume(struct virtq *q, const struct virtq_config *c, uint32_t place)
{
	const virtq_word *ring = q->desc;
	const struct virtq_mark *m = q->mark;
	uint64_t places = __atomic_load_n(&m->places, __ATOMIC_RELAXED);
	uint32_t from = (uint16_t)places;
	uint32_t to = (uint16_t)(places >> MARK_TO_SHIFT);
	uint32_t slot = from & (PLACE_WRAP - 1);
	uint32_t count = (uint16_t)(places >> MARK_COUNT_SHIFT);

	if ((places & MARK_SAYS) == 0 || m->desc != c->desc ||
	    m->size != c->size || m->told != c->told || c->base != c->told ||
	    slot >= c->size || (to & (PLACE_WRAP - 1)) >= c->size ||
	    count > VIRTQ_BATCH)
		return place;
	/* A driver that started anew while nobody was here. */
	if (place == PLACE_WRAP && is_untouched(q) &&
	    (places & (MARK_CROSSED | MARK_CROSSING)) == 0)
		return place;
	if (count > 0 && is_offer(__atomic_load_n(&ring[2 * (size_t)slot + 1],
				      __ATOMIC_RELAXED),
			     (from & PLACE_WRAP) != 0))
		show_batch(q, count);
	return to;
}

/* --- life ----------------------------------------------------------------- */

int
virtq_packed_start(struct virtq *q, const struct virtq_config *c)
{
	uint32_t place = c->base > UINT16_MAX ? c->base >> 16 : c->base;

	q->desc = guest_at_uva(q->memory, c->desc,
	    (uint64_t)c->size * VIRTQ_DESC_BYTES, VIRTQ_DESC_BYTES);
	q->avail = guest_at_uva(
	    q->memory, c->avail, sizeof(struct vring_packed_desc_event), 4);
	q->used = guest_at_uva(
	    q->memory, c->used, sizeof(struct vring_packed_desc_event), 4);
	if (!q->desc || !q->avail || !q->used)
		return -EINVAL;
	if (place == 0 && is_new_ring(q))
		place = PLACE_WRAP;
	q->mark = c->mark;
	place = resume(q, c, place);
	q->avail_wrap = (place & PLACE_WRAP) != 0;
	q->next_avail = (uint16_t)((place & (PLACE_WRAP - 1)) % c->size);
	q->used_wrap = q->flushed_wrap = q->avail_wrap;
	q->next_used = q->flushed_used = q->next_avail;
	mark_begin(q, c);
	return 0;
}

/* Forward by `slots` <= size; at the ring's end the counter flips. */
static inline void
advance(const struct virtq *q, uint16_t *at, bool *wrap, uint32_t slots)
{
	uint32_t to = *at + slots;

	if (to >= q->size) {
		to -= q->size;
		*wrap = !*wrap;
	}
	*at = (uint16_t)to;
}

/* The second word of the next head, if it is available; else 0. */
static inline bool
available(const struct virtq *q, uint64_t *word)
{
	const virtq_word *ring = q->desc;

	if (virtq_held(q) == q->size)
		return false;
	*word = __atomic_load_n(
	    &ring[2 * (size_t)q->next_avail + 1], __ATOMIC_ACQUIRE); /* [1] */
	return is_offer(*word, q->avail_wrap);
}

/*
 * All of a table, in its order: NEXT means nothing there, and drivers leave it
 * and the ring's flags set.
 */
static int
walk_table(struct virtq *q, struct virtq_chain *c, uint64_t gpa, uint32_t len)
{
	struct virtq_table table;
	uint64_t word[2];
	uint16_t flags;
	uint32_t i;
	int rc;

	rc = virtq_table_open(q, &table, gpa, len);
	for (i = 0; rc == 0 && i < table.count; i++) {
		rc = virtq_table_load(q, &table, i, word);
		if (rc < 0)
			break;
		flags = flags_of(word[1]);
		if ((flags & VRING_DESC_F_INDIRECT) != 0)
			rc = virtq_break(q, "a table in a table");
		else
			rc = virtq_add(q, c, word[0], (uint32_t)word[1],
			    (flags & VRING_DESC_F_WRITE) != 0);
	}
	return rc;
}

/*
 * Walk a chain from its head, which is loaded. Returns its slots and the last
 * descriptor's second word, or -EPROTO.
 */
static __attribute__((noinline)) int
walk(struct virtq *q, struct virtq_chain *c, uint64_t addr, uint64_t *word)
{
	const volatile virtq_word *ring = q->desc;
	uint32_t left = q->size - virtq_held(q), slots = 0;
	size_t at = q->next_avail;
	uint16_t flags;
	int rc;

	virtq_chain_begin(c);
	for (;;) {
		flags = flags_of(*word);
		if ((flags & VRING_DESC_F_INDIRECT) != 0)
			rc = walk_table(q, c, addr, (uint32_t)*word);
		else
			rc = virtq_add(q, c, addr, (uint32_t)*word,
			    (flags & VRING_DESC_F_WRITE) != 0);
		if (rc < 0)
			return rc;
		slots++;
		if ((flags & VRING_DESC_F_NEXT) == 0)
			return (int)slots;
		if (slots == left)
			return virtq_break(q, "a chain that does not end");
		at = at + 1 == q->size ? 0 : at + 1;
		addr = ring[2 * at];
		*word = ring[2 * at + 1];
	}
}

int
virtq_packed_pop(struct virtq *q, struct virtq_chain *chain)
{
	const volatile virtq_word *ring = q->desc;
	uint64_t addr, word;
	uint16_t flags;
	int slots = 1;

	if (!available(q, &word))
		return 0;
	addr = ring[2 * (size_t)q->next_avail];
	flags = flags_of(word);
	if ((flags & (VRING_DESC_F_NEXT | VRING_DESC_F_INDIRECT)) != 0 ||
	    !virtq_chain_single(q, chain, addr, (uint32_t)word,
		(flags & VRING_DESC_F_WRITE) != 0)) {
		slots = walk(q, chain, addr, &word);
		if (slots < 0)
			return slots;
	}
	virtq_chain_fetch(chain);
	chain->id = (uint16_t)(word >> 32); /* the last one's */
	chain->slots = (uint16_t)slots;
	advance(q, &q->next_avail, &q->avail_wrap, (uint32_t)slots);
	q->in_flight += (uint32_t)slots;
	return 1;
}

void
virtq_packed_unpop(struct virtq *q, uint32_t slots)
{
	/* Back by n is forward by size - n, with one flip less. */
	q->avail_wrap = !q->avail_wrap;
	advance(q, &q->next_avail, &q->avail_wrap, q->size - slots);
}

void
virtq_packed_push(
    struct virtq *q, uint16_t id, uint16_t slots, uint32_t written)
{
	struct virtq_mark_used *used = &q->mark->used[q->batch++];
	uint16_t flags = 0;

	if (q->used_wrap)
		flags = FLAG_AVAIL | FLAG_USED;
	if (written > 0)
		flags |= VRING_DESC_F_WRITE;
	used->word = word_of(written, id, flags);
	used->at = q->next_used;
	advance(q, &q->next_used, &q->used_wrap, slots);
}

/* Is the driver's event among the slots from `old` to `new`? */
static bool
passed(const struct virtq *q, uint16_t old, uint16_t event, bool event_wrap)
{
	uint16_t new = q->next_used;

	if (new <= old)
		old = (uint16_t)(old - q->size);
	if (event_wrap != q->used_wrap)
		event = (uint16_t)(event - q->size);
	return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

bool
virtq_packed_flush(struct virtq *q)
{
	uint16_t old = q->flushed_used;
	uint32_t word, how;

	mark_batch(q);
	show_batch(q, q->batch);
	q->batch = 0;
	q->flushed_used = q->next_used;
	q->flushed_wrap = q->used_wrap;
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* [4] */
	word = __atomic_load_n((uint32_t *)q->avail, __ATOMIC_RELAXED);
	how = word >> EVENT_FLAGS_SHIFT;
	if (how == VRING_PACKED_EVENT_FLAG_DESC && q->event_idx)
		return passed(q, old, (uint16_t)(word & (PLACE_WRAP - 1)),
		    (word & PLACE_WRAP) != 0);
	return how != VRING_PACKED_EVENT_FLAG_DISABLE;
}

bool
virtq_packed_arm(struct virtq *q)
{
	uint32_t word = VRING_PACKED_EVENT_FLAG_ENABLE;
	uint64_t ignored;

	if (q->event_idx)
		word = q->next_avail | (q->avail_wrap ? PLACE_WRAP : 0) |
		       VRING_PACKED_EVENT_FLAG_DESC << EVENT_FLAGS_SHIFT;
	__atomic_store_n((uint32_t *)q->used, word, __ATOMIC_RELAXED); /* [2] */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);                       /* [2] */
	return available(q, &ignored);
}

void
virtq_packed_disarm(struct virtq *q)
{
	uint32_t word = VRING_PACKED_EVENT_FLAG_DISABLE << EVENT_FLAGS_SHIFT;

	__atomic_store_n((uint32_t *)q->used, word, __ATOMIC_RELAXED);
}
