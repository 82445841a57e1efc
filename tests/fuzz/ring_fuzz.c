/*
 * ring_fuzz.c - a peer that stores anything, anywhere, at any time.
 *
 * The input is a script: our calls of the ring, and between them stores into
 * the peer's page and data. Whatever it says, frames and rooms stay inside
 * the memories, and our positions inside what a ring can hold.
 */
#include "proto/arena.h"
#include "proto/ring.h"

#include <stdlib.h>
#include <string.h>

#define SIZE        RING_BYTES_MIN
#define ARENA_BYTES 70000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* P is the peer's memory, L is ours: we consume from P and produce into L. */
static struct {
	uint8_t *p, *l;
	struct ring_page *p_page, *l_page;
	struct ring_tx tx;
	struct ring_rx rx;
	uint8_t *room; /* of the open reservation */
	uint32_t reserved;
	bool with_meta;
	uint8_t *arena;
	struct ring_arenas arenas; /* the same memory twice */
	uint64_t sum; /* of all bytes read, so that reading is not left out */
} fz;

struct script {
	const uint8_t *at, *end;
};

static uint64_t
take(struct script *s, size_t bytes)
{
	uint64_t number = 0;

	if (bytes > (size_t)(s->end - s->at))
		bytes = (size_t)(s->end - s->at);
	memcpy(&number, s->at, bytes);
	s->at += bytes;
	return number;
}

static void
demand(int truth)
{
	if (!truth)
		abort();
}

/* A position near where it matters, or anything. */
static uint64_t
position(struct script *s, uint64_t near)
{
	uint8_t how = (uint8_t)take(s, 1);

	switch (how & 3) {
	case 0:
		return near + take(s, 1) * 8;
	case 1:
		return near + take(s, 3);
	case 2:
		return near + SIZE - take(s, 2);
	default:
		return take(s, 8);
	}
}

/* The peer writes a record head at its prod, or at a place of its choice. */
static void
forge(struct script *s)
{
	uint8_t how = (uint8_t)take(s, 1);
	uint64_t at = (how & 1) != 0 ? fz.rx.pos : take(s, 3) * 8;
	uint64_t head;

	at &= SIZE - 1;
	if ((how & 2) != 0)
		head = (SIZE - at - 8) | (uint64_t)RING_FLAG_PAD << 32;
	else if ((how & 4) != 0)
		head = take(s, 3);
	else if ((how & 8) != 0)
		head = take(s, 3) | RING_HEAD_META_;
	else if ((how & 16) != 0)
		head = take(s, 3) | RING_HEAD_REF_;
	else
		head = take(s, 8);
	memcpy(fz.p + RING_PAGE_BYTES + at, &head, sizeof head);
	if ((how & 24) == 0)
		return;
	if ((how & 8) != 0)
		head = take(s, 8);
	else
		head = take(s, 3) | (take(s, 1) & 3) << 32;
	at = (at + sizeof head) & (SIZE - 1);
	memcpy(fz.p + RING_PAGE_BYTES + at, &head, sizeof head);
}

static void
see_frame(const struct frame *f)
{
	const uint8_t *area = fz.p + RING_PAGE_BYTES;
	uint32_t i;

	demand(f->len >= FRAME_BYTES_MIN && f->len <= FRAME_BYTES_MAX);
	demand((f->data >= area + RING_HEAD_BYTES &&
		   f->data + f->len <= area + SIZE) ||
	       (f->data >= fz.arena + ARENA_WORD_BYTES &&
		   f->data + f->len <= fz.arena + ARENA_BYTES));
	demand(frame_meta_valid(&f->meta, f->len));
	for (i = 0; i < f->len; i += 61)
		fz.sum += f->data[i];
	fz.sum += f->data[f->len - 1];
}

static void
consume(struct script *s)
{
	struct frame f;

	switch (take(s, 1) % 5) {
	case 0:
		if (ring_peek(&fz.rx, &f) == 1) {
			see_frame(&f);
			ring_skip(&fz.rx);
		}
		break;
	case 1:
		if (ring_peek(&fz.rx, &f) == 1)
			see_frame(&f);
		break;
	case 2:
		(void)ring_release(&fz.rx);
		break;
	case 3:
		(void)ring_release(&fz.rx);
		(void)ring_arm(&fz.rx);
		break;
	default:
		if (ring_next(&fz.rx, &f) == 1)
			see_frame(&f);
		break;
	}
	demand(fz.rx.prod - fz.rx.pos <= SIZE);
	demand(fz.rx.pos - fz.rx.released <= SIZE);
	demand((fz.rx.pos & 7) == 0);
}

static void
reserve(struct script *s)
{
	const uint8_t *area = fz.l + RING_PAGE_BYTES;
	uint32_t len = 14 + (uint32_t)take(s, 3) % (FRAME_BYTES_MAX - 13);

	fz.reserved = 0;
	fz.with_meta = len % 3 == 0;
	if (fz.with_meta ? ring_reserve_meta(&fz.tx, len, &fz.room) != 1
			 : ring_reserve(&fz.tx, len, &fz.room) != 1)
		return;
	demand(fz.room >= area + RING_HEAD_BYTES);
	demand(fz.room + len <= area + SIZE);
	fz.reserved = len;
}

static void
produce(struct script *s)
{
	static const struct frame_meta meta = {.flags = META_DATA_VALID};
	uint32_t len;

	switch (take(s, 1) % 4) {
	case 0:
		if (fz.reserved == 0)
			break;
		len = 14 + (uint32_t)take(s, 3) % (fz.reserved - 13);
		memset(fz.room, 0x5a, len);
		if (fz.with_meta)
			ring_commit_meta(&fz.tx, len, &meta);
		else
			ring_commit(&fz.tx, len);
		fz.reserved = 0;
		break;
	case 1:
		(void)ring_publish(&fz.tx);
		break;
	case 2:
		(void)ring_publish(&fz.tx);
		(void)ring_want_space(&fz.tx);
		break;
	default:
		reserve(s);
		break;
	}
	demand(ring_tx_backlog(&fz.tx) <= SIZE);
	demand(fz.l_page->prod == fz.tx.published);
	demand((fz.tx.pos & 7) == 0);
}

static void
step(struct script *s)
{
	switch (take(s, 1) % 8) {
	case 0:
		fz.p_page->prod = position(s, fz.rx.pos);
		break;
	case 1:
		fz.p_page->cons = position(s, fz.tx.cons);
		break;
	case 2:
		fz.p_page->data_event = position(s, fz.tx.pos);
		break;
	case 3:
		fz.p_page->space_event = position(s, fz.rx.pos);
		break;
	case 4:
		forge(s);
		break;
	case 5:
		produce(s);
		break;
	default:
		consume(s);
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script s = {.at = data, .end = data + size};
	uint64_t at;

	if (fz.p == NULL) {
		/* Exactly as long as they are: sanitizers see overruns. */
		fz.p = malloc(port_bytes(SIZE));
		fz.l = malloc(port_bytes(SIZE));
		fz.arena = calloc(1, ARENA_BYTES);
		if (fz.p == NULL || fz.l == NULL || fz.arena == NULL)
			return 0;
		for (uint32_t i = 0; i < RING_ARENAS; i++)
			fz.arenas.view[i] =
			    (struct ring_arena){fz.arena, ARENA_BYTES, i + 1};
		memset(fz.p, 0, port_bytes(SIZE));
		fz.p_page = (struct ring_page *)(void *)fz.p;
		fz.l_page = (struct ring_page *)(void *)fz.l;
	}
	memset(fz.p, 0, RING_PAGE_BYTES);
	memset(fz.l, 0, RING_PAGE_BYTES);
	at = take(&s, 8) & ~UINT64_C(7);
	fz.p_page->prod = fz.p_page->cons = at;
	fz.l_page->prod = fz.l_page->cons = at;
	fz.reserved = 0;
	ring_tx_attach(&fz.tx, fz.l, fz.p, SIZE);
	ring_rx_attach(&fz.rx, fz.l, fz.p, SIZE);
	if ((at & 8) != 0)
		fz.rx.arenas = &fz.arenas;
	while (s.at < s.end)
		step(&s);
	return 0;
}
