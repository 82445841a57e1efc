/*
 * ring.h - a byte ring between two processes that do not trust each other.
 *
 * One port has two memories (memfds of port_bytes()), each written by one side
 * only and mapped read-only by the other:
 *   P  written by the backend: frames from outside, and its cursors
 *   L  written by the lane:    frames for outside, its cursors and counters
 * Page 0 of each holds words (struct ring_page), the data follows.
 *
 * A record is an 8-byte header, 8 bytes of metadata if the frame has some, then
 * the frame, padded to 8; or a header and a reference to a frame in an arena
 * (arena.h). Positions are free-running byte counts. Publishing is per batch; a
 * doorbell is due only when the other side armed its event word.
 * The rules a consumer follows are at the head of ring.c.
 */
#ifndef PROTO_RING_H
#define PROTO_RING_H

#include "proto/frame_meta.h"
#include "proto/log.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define RING_MAGIC      0x47524b42u /* "BKRG" */
#define RING_VERSION    1u
#define RING_PAGE_BYTES 4096u

/* Longest frame in a record: QEMU's NET_BUFSIZE, 65536 + 4096. */
#define FRAME_BYTES_MAX 69632u
/* Shortest: an Ethernet header (IEEE 802.3). */
#define FRAME_BYTES_MIN 14u

/*
 * The least ring takes the longest frame wherever it stands: the rest of the
 * area as padding (shorter than the record) and the record.
 */
#define RING_BYTES_MIN   (256u << 10)
#define RING_BYTES_MAX   (64u << 20)
#define RING_BYTES_USUAL (2u << 20)

/*
 * Frames handled in one turn, and bytes after which a batch is published: what
 * the producer's first cache still holds when the consumer comes for it.
 */
#define BATCH_FRAMES 64u
#define BATCH_BYTES  (16u << 10)

#define PORT_COUNTERS 32u

/*
 * Page 0 of P and of L; each word is stored by the memory's owner only. Words
 * that change with every batch are 128 bytes from those that are read with
 * every batch: two lines, as processors fetch lines in pairs.
 */
struct ring_page {
	uint32_t magic; /* RING_MAGIC, for people who look into a memory */
	uint32_t version;
	uint64_t data_bytes; /* information only: both sides were told */
	char pad0[112];
	uint64_t prod; /* owner's output: end of what is published */
	char pad1[120];
	uint64_t cons; /* owner's input: end of what is consumed */
	char pad2[120];
	uint64_t space_event; /* owner wants a bell when cons passes this */
	uint64_t data_event;  /* owner wants a bell when prod passes this */
	char pad3[112];
	uint64_t counter[PORT_COUNTERS]; /* owner's statistics, see counter.h */
};

/*
 * A record's header, one aligned load or store: bytes of the frame in the low
 * 32 bits, flags in the next 16, in the upper 16 bytes of what follows beside
 * the frame: 0, or with RING_FLAG_META those of a struct frame_meta, which is
 * not zero, or with RING_FLAG_ARENA those of a reference: where the frame
 * begins in its arena in the low 32 bits, the arena's serial in the upper ones.
 */
#define RING_HEAD_BYTES 8u
#define RING_FLAG_PAD   1u /* nothing up to the end of the area */
#define RING_FLAG_META  2u /* metadata between header and frame */
#define RING_FLAG_ARENA 4u /* a reference instead of the frame */
#define RING_META_BYTES 8u
#define RING_HEAD_META_                                                        \
	((uint64_t)RING_FLAG_META << 32 | (uint64_t)RING_META_BYTES << 48)
#define RING_REF_BYTES 8u
#define RING_HEAD_REF_                                                         \
	((uint64_t)RING_FLAG_ARENA << 32 | (uint64_t)RING_REF_BYTES << 48)

/*
 * How far ahead a consumer fetches: a head is needed to find the next one, so
 * at one cache miss for each head nothing else would go on. Frames mostly have
 * neighbours of their size: four records on there is a head, or for short
 * ones, this many bytes on there are some. Observed, 64 bytes: 0.46 of memcpy
 * at 1024, 0.51 at 1536, no more beyond.
 */
#define RING_AHEAD_BYTES 1536u

/*
 * Who writes a long record, or a run of any, asks for the lines that lie so far
 * behind it: the consumer's cache has them since the last time round, and a
 * store waits until they are taken from it. Not further, for they must still be
 * in the first cache when they are written: at 16 KiB most of the gain is gone.
 * Observed, 1514 bytes: 0.46 of memcpy without, 0.64 with it.
 */
#define RING_FETCH_BYTES 4096u
#define RING_FETCH_LEAST 1024u /* bytes of a long record */

/* Size of P or L for a ring of `data_bytes`. */
size_t port_bytes(size_t data_bytes);

/* May a ring have this size? A power of two, RING_BYTES_MIN to _MAX. */
bool ring_bytes_valid(uint64_t data_bytes);

/* A frame handed over by a ring: borrowed until ring_release. */
struct frame {
	const uint8_t *data; /* in memory that the PEER can change: copy once */
	uint32_t len;        /* bytes, FRAME_BYTES_MIN..FRAME_BYTES_MAX */
	struct frame_meta meta; /* private and valid; zero: complete */
};

/*
 * The two private halves. A loop over a batch works on a local copy of the
 * struct and stores it back at the end: the positions then stay in registers,
 * while a store of a frame's bytes would make the compiler read them again.
 */

/* Producer's half. */
struct ring_tx {
	struct ring_page *own;        /* borrowed mapping, writable */
	const struct ring_page *peer; /* borrowed mapping, read-only */
	uint8_t *data;                /* own's data area */
	uint64_t size;                /* data bytes, power of two */
	uint64_t pos;                 /* next byte to write */
	uint64_t published;           /* last value stored to own->prod */
	uint64_t cons;                /* last checked value of peer->cons */
	uint32_t reserved; /* frame bytes of the open reservation, 0: none */
	uint32_t reserved_meta; /* the same, of one with metadata */
	uint32_t pad;           /* bytes to the area's end that it leaves out */
	uint32_t wanted; /* bytes that the last refused reservation needed */
	uint32_t batch;  /* records since the last publish */
};

/* Where references of one serial lead to. */
struct ring_arena {
	const uint8_t *base; /* borrowed mapping, read-only; NULL: none */
	uint64_t bytes;
	uint32_t serial; /* never 0 in a reference */
};

/* The arenas that a consumer knows: the present one, and the one before it,
 * of which there may be references that were not read yet. */
#define RING_ARENAS 2u
struct ring_arenas {
	struct ring_arena view[RING_ARENAS];
};

/* Consumer's half. */
struct ring_rx {
	struct ring_page *own;            /* borrowed mapping, writable */
	const struct ring_page *peer;     /* borrowed mapping, read-only */
	const uint8_t *data;              /* peer's data area */
	uint64_t size;                    /* data bytes, power of two */
	uint64_t pos;                     /* next byte to read */
	uint64_t released;                /* last value stored to own->cons */
	uint64_t prod;                    /* last checked value of peer->prod */
	uint64_t next;                    /* behind the record last peeked at */
	const struct ring_arenas *arenas; /* borrowed; NULL: no references */
};

/*
 * ring_tx_attach, ring_rx_attach - take up a ring where own->prod/own->cons
 * stand (0 in fresh memory; a restarted lane continues). `own_mem` must be
 * memory that the peer could never write. data_bytes as told by the broker,
 * never as read from memory.
 * Afterwards the caller rings the peer's bell once and looks at its rings:
 * its predecessor may have died between a publish and its bell.
 */
void ring_tx_attach(
    struct ring_tx *r, void *own_mem, const void *peer_mem, size_t data_bytes);
void ring_rx_attach(
    struct ring_rx *r, void *own_mem, const void *peer_mem, size_t data_bytes);

/*
 * What the inline functions below call when a cached index does not do. They
 * take values, not the struct, so that a caller's loop over a local copy of
 * the struct keeps it in registers; not for other callers.
 */
int ring_tx_look_(const struct ring_page *peer, uint64_t last_cons,
    uint64_t published, uint64_t *cons);
int ring_rx_look_(const struct ring_page *peer, uint64_t released,
    uint64_t last_prod, uint64_t size, uint64_t *prod);
struct ring_odd_ {
	const uint8_t *data;
	uint64_t size, prod, head;
	const struct ring_arenas *arenas;
};
int ring_rx_odd_(const struct ring_odd_ *r, uint64_t *pos, struct frame *out);

/* Bytes of a record with a frame of `len` bytes and no metadata. */
static inline uint64_t
ring_record_bytes(uint32_t len)
{
	return ((uint64_t)len + RING_HEAD_BYTES + 7) & ~UINT64_C(7);
}

/* Bytes of the record that this frame takes. */
static inline uint64_t
ring_frame_bytes(const struct frame *f)
{
	return ring_record_bytes(f->len) +
	       (frame_meta_is_zero(&f->meta) ? 0 : RING_META_BYTES);
}

/*
 * Ask for a line in order to write it. Without -mprfchw gcc makes a read of
 * __builtin_prefetch(at, 1), which is worse than nothing: the line comes
 * shared, and is asked for again (observed, 1514 bytes: 0.20 of memcpy).
 * x86-64 processors that cannot do it ignore the instruction.
 */
#ifdef __x86_64__
#define RING_FETCH_TO_WRITE(at) __asm__ volatile("prefetchw %0" : : "m"(*(at)))
#else
#define RING_FETCH_TO_WRITE(at) __builtin_prefetch(at, 1)
#endif

/* Sixteen bytes to be moved at once, wherever they stand. */
struct frame_block {
	uint64_t low, high;
} __attribute__((packed, may_alias));

/* The first and the last `n` blocks of `len` bytes; they may overlap. */
static inline __attribute__((always_inline)) void
frame_copy_ends_(uint8_t *to, const uint8_t *from, size_t len, const size_t n)
{
	const struct frame_block *head = (const void *)from;
	const struct frame_block *tail = (const void *)(from + len - 16 * n);
	struct frame_block *to_head = (void *)to;
	struct frame_block *to_tail = (void *)(to + len - 16 * n);
	size_t i;

	for (i = 0; i < n; i++)
		to_head[i] = head[i];
	for (i = 0; i < n; i++)
		to_tail[i] = tail[i];
}

/*
 * frame_copy - copy a frame of at least 8 bytes; short ones without a call.
 * The source may change meanwhile: what counts is the copy.
 */
static inline void
frame_copy(uint8_t *to, const uint8_t *from, size_t len)
{
	if (len < 16 || len > 128)
		memcpy(to, from, len);
	else if (len <= 32)
		frame_copy_ends_(to, from, len, 1);
	else if (len <= 64)
		frame_copy_ends_(to, from, len, 2);
	else
		frame_copy_ends_(to, from, len, 4);
}

/* Re-read and check the peer's cons. 0 or -EPROTO. */
static inline int
ring_tx_refresh(struct ring_tx *r)
{
	uint64_t cons = r->cons;
	int rc = ring_tx_look_(r->peer, r->cons, r->published, &cons);

	r->cons = cons;
	return rc;
}

/* A reservation's slow path: `total` bytes are not known to be free. */
static inline int
ring_tx_room_(struct ring_tx *r, uint64_t total)
{
	int rc;

	if (total <= r->size - (r->pos - r->cons))
		return 1;
	rc = ring_tx_refresh(r);
	if (rc < 0)
		return rc;
	if (total <= r->size - (r->pos - r->cons))
		return 1;
	r->wanted = (uint32_t)total; /* < 2 records */
	r->reserved = 0;
	return 0;
}

/* May the lines behind the next `bytes` be asked for? Only if they are free:
 * the others are what the consumer is to read. */
static inline bool
ring_tx_may_fetch_(const struct ring_tx *r, uint64_t bytes)
{
	return r->size - (r->pos - r->cons) >= RING_FETCH_BYTES + bytes;
}

/* Ask for the lines that begin RING_FETCH_BYTES behind a record of `bytes` at
 * `pos`: of records one behind the other, for each line once. */
static inline void
ring_tx_fetch_(const struct ring_tx *r, uint64_t pos, uint64_t bytes)
{
	uint64_t at = pos + RING_FETCH_BYTES, i; /* may wrap */

	for (i = -at & 63; i < bytes; i += 64)
		RING_FETCH_TO_WRITE(r->data + ((at + i) & (r->size - 1)));
}

/* Room for a frame of at most `len` bytes behind a head of `head`. */
static inline __attribute__((always_inline)) int
ring_reserve_(
    struct ring_tx *r, uint32_t len, const uint32_t head, uint8_t **room)
{
	uint64_t need = ring_record_bytes(len) + head - RING_HEAD_BYTES;
	uint64_t off = r->pos & (r->size - 1);
	uint64_t tail = r->size - off, left = r->size - (r->pos - r->cons);
	uint64_t pad = 0;
	int rc;

	BUG_ON(len - 1 >= FRAME_BYTES_MAX); /* 0 too */
	if (__builtin_expect(need > (left < tail ? left : tail), 0)) {
		pad = need > tail ? tail : 0;
		rc = ring_tx_room_(r, pad + need);
		if (rc <= 0)
			return rc;
		off = (off + pad) & (r->size - 1);
	}
	r->pad = (uint32_t)pad; /* < a record */
	*room = r->data + off + head;
	return 1;
}

/*
 * ring_reserve_only - room for one frame of at most `len` bytes. A reservation
 * not committed is forgotten by the next one. Returns 1 and *room; 0 when the
 * ring is full (see ring_want_space); -EPROTO when the peer's cons is
 * impossible.
 */
static inline int
ring_reserve_only(struct ring_tx *r, uint32_t len, uint8_t **room)
{
	int rc = ring_reserve_(r, len, RING_HEAD_BYTES, room);

	if (rc > 0)
		r->reserved = len;
	return rc;
}

/* ring_reserve_meta - the same for a frame that has metadata: to be committed
 * with ring_commit_meta. */
static inline int
ring_reserve_meta(struct ring_tx *r, uint32_t len, uint8_t **room)
{
	int rc = ring_reserve_(r, len, RING_HEAD_BYTES + RING_META_BYTES, room);

	r->reserved = 0;
	r->reserved_meta = rc > 0 ? len : 0;
	return rc;
}

/* ring_reserve_only, for who then writes frame by frame. */
static inline int
ring_reserve(struct ring_tx *r, uint32_t len, uint8_t **room)
{
	uint64_t need = ring_record_bytes(len);

	if (need >= RING_FETCH_LEAST && ring_tx_may_fetch_(r, need))
		ring_tx_fetch_(r, r->pos, need);
	return ring_reserve_only(r, len, room);
}

/* Write a record's head at pos. Pairs with its load in ring_peek, ordered by
 * the store and load of prod. */
static inline void
ring_tx_head_(struct ring_tx *r, uint64_t head)
{
	uint8_t *at = r->data + (r->pos & (r->size - 1));

	__atomic_store_n((uint64_t *)(void *)at, head, __ATOMIC_RELAXED);
}

/* The pad that the open reservation needs, if it does. */
static inline void
ring_tx_pad_(struct ring_tx *r)
{
	if (__builtin_expect(r->pad == 0, 1))
		return;
	ring_tx_head_(
	    r, (r->pad - RING_HEAD_BYTES) | (uint64_t)RING_FLAG_PAD << 32);
	r->pos += r->pad;
}

/* The head and metadata of a record at pos whose frame is in its place. */
static inline void
ring_tx_meta_(struct ring_tx *r, uint32_t len, const struct frame_meta *m)
{
	uint8_t *at = r->data + (r->pos & (r->size - 1)) + RING_HEAD_BYTES;

	ring_tx_head_(r, len | RING_HEAD_META_);
	memcpy(at, m, sizeof *m);
	r->pos += ring_record_bytes(len) + RING_META_BYTES;
	r->batch++;
}

/*
 * ring_commit_meta - as ring_commit, after ring_reserve_meta. `m` is not zero,
 * and valid for `len` bytes (frame_meta_valid), or the peer faults us.
 */
static inline void
ring_commit_meta(struct ring_tx *r, uint32_t len, const struct frame_meta *m)
{
	BUG_ON(len < FRAME_BYTES_MIN || len > r->reserved_meta);
	BUG_ON(frame_meta_is_zero(m));
	ring_tx_pad_(r);
	ring_tx_meta_(r, len, m);
	r->reserved_meta = 0;
}

/*
 * ring_commit - the reserved room holds a frame of `len` <= reserved bytes,
 * at least FRAME_BYTES_MIN. The peer sees it after ring_publish.
 */
static inline void
ring_commit(struct ring_tx *r, uint32_t len)
{
	BUG_ON(len < FRAME_BYTES_MIN || len > r->reserved);
	ring_tx_pad_(r);
	ring_tx_head_(r, len);
	r->pos += ring_record_bytes(len);
	r->reserved = 0;
	r->batch++;
}

/* ring_publish - show committed frames; true: ring the peer's bell. */
bool ring_publish(struct ring_tx *r);

/*
 * ring_want_space - ask for a bell once half the ring is free (more, if the
 * frame that was refused needs more), look again. Publish first.
 * Returns 1 when there is that much room already (do not sleep), 0, or
 * -EPROTO.
 */
int ring_want_space(struct ring_tx *r);

/* Bytes between the peer's checked cons and our pos: what is not drained. */
static inline uint64_t
ring_tx_backlog(const struct ring_tx *r)
{
	return r->pos - r->cons;
}

/*
 * ring_tx_unread - published frames that the peer did not take, as far as it
 * ever said so; their bytes are added to *bytes. For the end of a ring.
 */
uint64_t ring_tx_unread(struct ring_tx *r, uint64_t *bytes);

/*
 * ring_rx_more_ - read the peer's prod. Returns 1 when it is another than what
 * was known, 0 when not, or -EPROTO.
 */
static inline int
ring_rx_more_(struct ring_rx *r)
{
	uint64_t prod = r->prod;
	int rc = ring_rx_look_(r->peer, r->released, r->prod, r->size, &prod);

	r->prod = prod;
	return rc;
}

/*
 * ring_peek - the next frame, without moving on. Two peeks can differ when the
 * peer is hostile: what was decided on an older one is void.
 * Returns 1 and *out; 0 when the ring is empty; -EPROTO when the peer's index
 * or record is impossible (the caller must fault the peer).
 */
static inline int
ring_peek(struct ring_rx *r, struct frame *out)
{
	uint64_t pos = r->pos, off = pos & (r->size - 1), tail = r->size - off;
	uint64_t head, need, left, ahead;
	int rc;

	if (__builtin_expect(pos == r->prod, 0)) {
		rc = ring_rx_more_(r);
		if (rc <= 0)
			return rc;
	}
	left = r->prod - pos;
	/* Once: the peer can change it between a check and a use. Pairs with
	 * the store in ring_tx_head_, ordered by prod. */
	head = __atomic_load_n(
	    (const uint64_t *)(const void *)(r->data + off), __ATOMIC_RELAXED);
	if (__builtin_expect(head > UINT32_MAX, 0)) {
		/* A pad, metadata or a reference: by values, see above. */
		const struct ring_odd_ at = {
		    r->data, r->size, r->prod, head, r->arenas};
		uint64_t next = pos;
		struct frame odd;

		if (RING_AHEAD_BYTES < left)
			__builtin_prefetch(r->data + ((pos + RING_AHEAD_BYTES) &
							 (r->size - 1)));
		rc = ring_rx_odd_(&at, &next, &odd);
		if (rc > 0) {
			*out = odd;
			r->next = next;
		}
		return rc;
	}
	if (__builtin_expect(
		head - FRAME_BYTES_MIN > FRAME_BYTES_MAX - FRAME_BYTES_MIN, 0))
		return -EPROTO;
	need = ring_record_bytes((uint32_t)head);
	if (__builtin_expect(need > (left < tail ? left : tail), 0))
		return -EPROTO;
	ahead = 4 * need < RING_AHEAD_BYTES ? RING_AHEAD_BYTES : 4 * need;
	if (ahead < left)
		__builtin_prefetch(r->data + ((pos + ahead) & (r->size - 1)));
	out->data = r->data + off + RING_HEAD_BYTES;
	out->len = (uint32_t)head;
	out->meta = (struct frame_meta){0};
	r->next = pos + need;
	return 1;
}

/* ring_skip - move on from the frame that ring_peek showed. */
static inline void
ring_skip(struct ring_rx *r)
{
	r->pos = r->next;
}

/* ring_next - ring_peek and ring_skip in one. */
static inline int
ring_next(struct ring_rx *r, struct frame *out)
{
	int rc = ring_peek(r, out);

	if (rc > 0)
		ring_skip(r);
	return rc;
}

/*
 * ring_release - give back what was moved on from; true: ring the bell.
 */
bool ring_release(struct ring_rx *r);

/*
 * ring_arm - ask for a bell at the next frame, look again. Release first.
 * Returns 1 when a frame slipped in (do not sleep), 0, or -EPROTO.
 */
int ring_arm(struct ring_rx *r);

#endif
