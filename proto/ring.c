/*
 * ring.c - a byte ring between two processes that do not trust each other.
 *
 * Runs in: lanes and backends. Trusts: its own private struct, and its own
 * page as far as it wrote it. Nothing that is read from the peer's memory.
 *
 * Theory of operation
 *
 * Positions are byte counts from the ring's birth, 64 bits, and never wrap in
 * practice (at 100 GB/s in 5 years); the code is right if they do. All are
 * multiples of 8. A byte's place is its position modulo the size.
 *
 * Who writes what. One direction has a producer and a consumer. The producer's
 * memory holds prod, space_event and the records; the consumer's holds cons
 * and data_event. Each sees the other's memory read-only, so that a word has
 * one writer, and what a process wrote it can believe after a restart.
 *
 *   producer                            consumer
 *   write records (plain)               load prod (acquire)            [1]
 *   store prod (release)         [1]    read records
 *   full fence                   [2]    store cons (release)           [3]
 *   load data_event (relaxed)    [2]    full fence                     [4]
 *   bell if prod passed it              load space_event (relaxed)     [4]
 *                                       bell if cons passed it
 *   when full:                          when empty:
 *   store space_event (relaxed)  [4]    store data_event (relaxed)     [2]
 *   full fence                   [4]    full fence                     [2]
 *   load cons (acquire)          [3]    load prod (acquire)            [1]
 *   sleep unless there is room          sleep unless there is something
 *
 * [1] and [3] are release/acquire pairs: records are complete when prod says
 * so, and have been read when cons says so. [2] and [4] are store-then-load on
 * both sides: with a full fence between, at least one side sees the other's
 * store, so either the sleeper does not sleep or the other rings. Release and
 * acquire alone allow both to miss, on x86 too.
 *
 * Event words. "Bell when prod passes e" is true for the one publish that
 * moves prod from at or before e to after it. A consumer that is awake leaves
 * an old e behind, nobody rings, and nothing needs to be disarmed. A peer that
 * lies in its event word gets a bell too many or too few, which is its own
 * loss. A space event is set at half the ring, so that a producer is woken
 * once in half a ring and not for every frame.
 *
 * Lines. What counts is how many cache lines change their processor. prod and
 * cons do with every batch; the event words, read with every batch, hardly
 * ever change, so they have lines of their own. Positions of the peer are
 * cached until they do not do. A batch is published while the producer's
 * first cache still holds it. A consumer fetches ahead (RING_AHEAD_BYTES).
 *
 * The end of the area. A record does not wrap: when the rest is too short, a
 * pad record fills it. The pad is published together with the record behind
 * it, never alone, so a consumer never moves over a pad without handing out a
 * frame, and there is at most one pad in front of a frame.
 *
 * Hostile peers. Each shared word is read once into a local, the local is
 * checked and used. A prod must lie between the last one and released + size, a
 * cons between the last one and prod; both multiples of 8. A head must be a
 * frame of legal length that ends before prod and before the end of the area,
 * or a pad that does so exactly. Metadata must be what a frame of that length
 * can have. Else -EPROTO: the caller detaches and faults the peer. Metadata is
 * one word, so what was checked is what is used. The frame's bytes can change
 * while they are read: the caller copies them once, to where the next reader
 * reads, and decides on the copy.
 *
 * Restarts. A lane that dies leaves prod and cons in memory that only lanes
 * write; the next one continues there. Records copied but not published are
 * written again; frames read but not released are read again, so the last
 * batch can be repeated and none is lost. A bell that was due may not have
 * been rung: who attaches rings once. Event words of the peer stay true.
 *
 * Specification: none outside; the measurements behind it are in the
 * project's notes on performance (byte ring, 8-byte heads, event index).
 */
#include "proto/ring.h"
#include "proto/arena.h"

#include "proto/log.h"

#include <errno.h>

/* gcc's thread sanitizer does not model fences; it has no need to here, as it
 * looks for data races, and fences only order stores before loads. */
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wtsan"
#endif

_Static_assert(offsetof(struct ring_page, prod) == 128, "own lines");
_Static_assert(offsetof(struct ring_page, cons) == 256, "own lines");
_Static_assert(offsetof(struct ring_page, space_event) == 384, "own lines");
_Static_assert(offsetof(struct ring_page, counter) == 512, "own lines");
_Static_assert(sizeof(struct ring_page) <= RING_PAGE_BYTES, "one page");
_Static_assert(RING_REF_BYTES == sizeof(uint64_t), "one word");
_Static_assert(RING_META_BYTES == sizeof(struct frame_meta), "one word");
_Static_assert(RING_BYTES_MIN >= 2 * (FRAME_BYTES_MAX + 2 * RING_HEAD_BYTES +
					 RING_META_BYTES),
    "a pad and the longest record fit");

bool
ring_bytes_valid(uint64_t data_bytes)
{
	return data_bytes >= RING_BYTES_MIN && data_bytes <= RING_BYTES_MAX &&
	       (data_bytes & (data_bytes - 1)) == 0;
}

size_t
port_bytes(size_t data_bytes)
{
	BUG_ON(!ring_bytes_valid(data_bytes));
	return RING_PAGE_BYTES + data_bytes;
}

/* The page's marks are for people; both attaches may write the same. */
static void
mark(struct ring_page *own, size_t data_bytes)
{
	own->magic = RING_MAGIC;
	own->version = RING_VERSION;
	own->data_bytes = data_bytes;
}

void
ring_tx_attach(
    struct ring_tx *r, void *own_mem, const void *peer_mem, size_t data_bytes)
{
	BUG_ON(!ring_bytes_valid(data_bytes));
	*r = (struct ring_tx){
	    .own = own_mem,
	    .peer = peer_mem,
	    .data = (uint8_t *)own_mem + RING_PAGE_BYTES,
	    .size = data_bytes,
	};
	mark(r->own, data_bytes);
	/* No pair: the last writer was this process's predecessor. */
	r->pos = r->published =
	    __atomic_load_n(&r->own->prod, __ATOMIC_RELAXED);
	/* As if full, so that the first reservation reads the peer's cons. */
	r->cons = r->pos - r->size;
}

void
ring_rx_attach(
    struct ring_rx *r, void *own_mem, const void *peer_mem, size_t data_bytes)
{
	BUG_ON(!ring_bytes_valid(data_bytes));
	*r = (struct ring_rx){
	    .own = own_mem,
	    .peer = peer_mem,
	    .data = (const uint8_t *)peer_mem + RING_PAGE_BYTES,
	    .size = data_bytes,
	};
	mark(r->own, data_bytes);
	/* No pair: the last writer was this process's predecessor. */
	r->pos = r->released = r->prod = r->next =
	    __atomic_load_n(&r->own->cons, __ATOMIC_RELAXED);
}

/* --- producer ------------------------------------------------------------- */

/*
 * ring_tx_look_ - read and check the peer's cons.
 * Returns 0 and *cons, or -EPROTO with *cons untouched.
 */
int
ring_tx_look_(const struct ring_page *peer, uint64_t last_cons,
    uint64_t published, uint64_t *cons)
{
	/* Pairs [3] with the store in ring_release. */
	uint64_t seen = __atomic_load_n(&peer->cons, __ATOMIC_ACQUIRE);

	/* Neither behind what it once said nor ahead of what it could see. */
	if ((seen & 7) != 0 || seen - last_cons > published - last_cons)
		return -EPROTO;
	*cons = seen;
	return 0;
}

bool
ring_publish(struct ring_tx *r)
{
	uint64_t old = r->published, event;

	r->batch = 0;
	if (r->pos == old)
		return false;
	r->published = r->pos;
	/* Pairs [1] with the load in ring_rx_look_. */
	__atomic_store_n(&r->own->prod, r->pos, __ATOMIC_RELEASE);
	/* Pairs [2] with the fence in ring_arm. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	event = __atomic_load_n(&r->peer->data_event, __ATOMIC_RELAXED);
	return r->pos - event - 1 < r->pos - old;
}

int
ring_want_space(struct ring_tx *r)
{
	uint64_t want = r->size / 2;
	int rc;

	/* The peer cannot drain what it cannot see. */
	BUG_ON(r->pos != r->published);
	if (want < r->wanted)
		want = r->wanted;
	/* Free bytes are size - (pos - cons): enough once cons passes this.
	 * Pairs [4] with the load in ring_release. */
	__atomic_store_n(&r->own->space_event, r->pos - r->size + want - 1,
	    __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* [4] */
	rc = ring_tx_refresh(r);
	if (rc < 0)
		return rc;
	return r->size - (r->pos - r->cons) >= want;
}

/* For who only counts: leads nowhere. */
static const struct ring_arenas any_arena;

uint64_t
ring_tx_unread(struct ring_tx *r, uint64_t *bytes)
{
	struct ring_rx walk;
	struct frame f;
	uint64_t frames = 0;

	/* A lie leaves the last checked position in r->cons. */
	(void)ring_tx_refresh(r);
	/* We read what we wrote: the roles of the pages are swapped. */
	walk = (struct ring_rx){
	    .arenas = &any_arena,
	    .peer = r->own,
	    .data = r->data,
	    .size = r->size,
	    .pos = r->cons,
	    .released = r->cons,
	    .prod = r->published,
	};
	while (walk.pos != r->published && ring_next(&walk, &f) > 0) {
		frames++;
		*bytes += f.len;
	}
	return frames;
}

/* --- consumer ------------------------------------------------------------- */

/*
 * ring_rx_look_ - read and check the peer's prod.
 * Returns 1 and *prod when it moved, 0 when not, or -EPROTO with *prod
 * untouched.
 */
int
ring_rx_look_(const struct ring_page *peer, uint64_t released,
    uint64_t last_prod, uint64_t size, uint64_t *prod)
{
	/* Pairs [1] with the store in ring_publish. */
	uint64_t seen = __atomic_load_n(&peer->prod, __ATOMIC_ACQUIRE);

	/* Neither behind what it once said nor over what we still hold. */
	if ((seen & 7) != 0 || seen - released > size ||
	    seen - released < last_prod - released)
		return -EPROTO;
	*prod = seen;
	return seen != last_prod;
}

/* The metadata of a frame, read once. 0 or -EPROTO. */
static int
meta_at(const uint8_t *at, uint32_t len, struct frame_meta *m)
{
	uint64_t word = __atomic_load_n(
	    (const uint64_t *)(const void *)at, __ATOMIC_RELAXED);

	memcpy(m, &word, sizeof *m);
	return word != 0 && frame_meta_valid(m, len) ? 0 : -EPROTO;
}

/* The frame that a reference leads to. 0 or -EPROTO. */
static int
refer(const struct ring_arenas *arenas, const uint8_t *at, struct frame *out)
{
	uint64_t word = __atomic_load_n(
	    (const uint64_t *)(const void *)at, __ATOMIC_RELAXED);
	uint64_t from = word & UINT32_MAX;
	unsigned i;

	out->data = NULL;
	if (arenas == &any_arena)
		return 0;
	for (i = 0; arenas != NULL && i < RING_ARENAS; i++) {
		const struct ring_arena *a = &arenas->view[i];

		if (a->base == NULL || a->serial != word >> 32)
			continue;
		/* The length word before it, too. */
		if (from < ARENA_WORD_BYTES || from > a->bytes ||
		    out->len > a->bytes - from)
			return -EPROTO;
		out->data = a->base + from;
		return 0;
	}
	return -EPROTO;
}

/*
 * ring_rx_odd_ - ring_peek where the head at *pos has flags. Returns 1, *out
 * and in *pos the end of the record, or -EPROTO.
 */
int
ring_rx_odd_(const struct ring_odd_ *r, uint64_t *pos, struct frame *out)
{
	uint64_t off = *pos & (r->size - 1), tail = r->size - off, need;
	uint64_t left = r->prod - *pos, head = r->head, flags;
	const uint8_t *at;

	/* A pad goes exactly to the end, and has a frame behind it. */
	if (head ==
	    ((tail - RING_HEAD_BYTES) | (uint64_t)RING_FLAG_PAD << 32)) {
		if (tail >= left)
			return -EPROTO;
		*pos += tail;
		left -= tail;
		tail = r->size;
		off = 0;
		head = __atomic_load_n(
		    (const uint64_t *)(const void *)r->data, __ATOMIC_RELAXED);
	}
	flags = head & ~(uint64_t)UINT32_MAX;
	head &= UINT32_MAX;
	if (head < FRAME_BYTES_MIN || head > FRAME_BYTES_MAX)
		return -EPROTO;
	at = r->data + off + RING_HEAD_BYTES;
	*out = (struct frame){.data = at, .len = (uint32_t)head};
	if (flags == RING_HEAD_REF_)
		need = RING_HEAD_BYTES + RING_REF_BYTES;
	else if (flags == RING_HEAD_META_)
		need = ring_record_bytes(out->len) + RING_META_BYTES;
	else if (flags == 0)
		need = ring_record_bytes(out->len);
	else
		return -EPROTO;
	if (need > (left < tail ? left : tail))
		return -EPROTO;
	*pos += need;
	if (flags == RING_HEAD_REF_)
		return refer(r->arenas, at, out) < 0 ? -EPROTO : 1;
	if (flags == 0)
		return 1;
	out->data += RING_META_BYTES;
	return meta_at(at, out->len, &out->meta) < 0 ? -EPROTO : 1;
}

bool
ring_release(struct ring_rx *r)
{
	uint64_t old = r->released, event;

	if (r->pos == old)
		return false;
	r->released = r->pos;
	/* Pairs [3] with the load in ring_tx_look_. */
	__atomic_store_n(&r->own->cons, r->pos, __ATOMIC_RELEASE);
	/* Pairs [4] with the fence in ring_want_space. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	event = __atomic_load_n(&r->peer->space_event, __ATOMIC_RELAXED);
	return r->pos - event - 1 < r->pos - old;
}

int
ring_arm(struct ring_rx *r)
{
	/* A producer that waits for space would wait for what we hold. */
	BUG_ON(r->pos != r->released);
	if (r->pos != r->prod)
		return 1;
	/* Pairs [2] with the load in ring_publish. */
	__atomic_store_n(&r->own->data_event, r->pos, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* [2] */
	return ring_rx_more_(r);
}
