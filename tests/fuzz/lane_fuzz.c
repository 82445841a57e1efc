/*
 * lane_fuzz.c - a lane whose first port's memory holds whatever the input
 * says, before and between its turns. The other two ports are honest: what
 * they get must be well-formed, and the lane must stay in order.
 *
 * Input: operations of one byte and their arguments, see step().
 */
#include "broker/lane.h"
#include "proto/bell.h"
#include "proto/log.h"
#include "proto/sys.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len);

#define PORTS 3
#define BYTES ((size_t)RING_BYTES_MIN)

static struct seat {
	int p_fd, l_fd, bell[2];
	struct ring_page *p;
	const struct ring_page *l;
	struct ring_tx tx;
	struct ring_rx rx;
} seats[PORTS];

static uint64_t clock_ns = 1;

static uint64_t
now(void)
{
	return clock_ns += 1000;
}

static const struct lane_ops ops = {.now_ns = now};

/* For inputs of some lengths: all three view it. */
#define ARENA_BYTES ((size_t)2 * ARENA_CHUNK_BYTES)
static struct ring_arenas arenas;
static uint64_t sum; /* of what was read, so that reading is not left out */

static void
arena_begin(struct lane *l)
{
	int fd;
	void *base;

	BUG_ON(sys_memfd("arena", ARENA_BYTES, &fd) < 0);
	BUG_ON(sys_map(fd, ARENA_BYTES, false, &base) < 0);
	arenas.view[0] = (struct ring_arena){base, ARENA_BYTES, 1};
	BUG_ON(lane_arena_begin(l, 1, ARENA_BYTES, fd) < 0);
	for (uint32_t id = 0; id < PORTS; id++) {
		seats[id].rx.arenas = &arenas;
		lane_arena_view(l, 1, id, 0);
	}
}

static void
arena_end(void)
{
	void *base = (void *)(uintptr_t)arenas.view[0].base;

	sys_unmap(base, ARENA_BYTES);
	arenas.view[0] = (struct ring_arena){0};
}

/* The rest of the input. */
struct feed {
	const uint8_t *at;
	size_t left;
};

static uint64_t
number(struct feed *f, size_t bytes)
{
	uint64_t n = 0;

	for (; bytes > 0 && f->left > 0; bytes--, f->left--)
		n = n << 8 | *f->at++;
	return n;
}

static void
seat_make(struct seat *s)
{
	size_t bytes = port_bytes(BYTES);
	void *p, *l;

	BUG_ON(sys_memfd("P", bytes, &s->p_fd) < 0);
	BUG_ON(sys_memfd("L", bytes, &s->l_fd) < 0);
	BUG_ON(bell_pair(s->bell) < 0);
	BUG_ON(sys_map(s->p_fd, bytes, true, &p) < 0);
	BUG_ON(sys_map(s->l_fd, bytes, false, &l) < 0);
	s->p = p;
	s->l = l;
	ring_tx_attach(&s->tx, p, l, BYTES);
	ring_rx_attach(&s->rx, p, l, BYTES);
}

static void
seat_end(struct seat *s)
{
	void *l = (void *)(uintptr_t)s->l;

	sys_unmap(s->p, port_bytes(BYTES));
	sys_unmap(l, port_bytes(BYTES));
	fd_close(&s->p_fd);
	fd_close(&s->l_fd);
	fd_close(&s->bell[0]);
	fd_close(&s->bell[1]);
}

/* Longer than any frame: a record with metadata, in three bytes. */
#define META_BIT UINT64_C(0x800000)

static void
honest_send(struct seat *s, uint32_t frames)
{
	uint8_t *room;

	for (; frames > 0; frames--) {
		if (ring_reserve(&s->tx, 100, &room) != 1)
			break;
		memset(room, (int)frames, 100);
		ring_commit(&s->tx, 100);
	}
	if (ring_publish(&s->tx))
		bell_ring(s->bell[0]);
}

static void
honest_take(struct seat *s, uint32_t frames)
{
	struct frame f;
	int rc = 1;

	for (; frames > 0 && rc == 1; frames--) {
		rc = ring_next(&s->rx, &f);
		BUG_ON(rc == 1 && !frame_meta_valid(&f.meta, f.len));
		for (uint32_t i = 0; rc == 1 && i < f.len; i += 61)
			sum += f.data[i];
	}
	BUG_ON(rc < 0);
	if (ring_release(&s->rx))
		bell_ring(s->bell[0]);
}

/* A record of the villain with metadata of its choice. */
static void
villain_meta(struct feed *f, uint32_t len)
{
	struct seat *villain = &seats[0];
	uint8_t *data = (uint8_t *)villain->p + RING_PAGE_BYTES;
	uint64_t word = len | RING_HEAD_META_, meta = number(f, 8);

	memcpy(data + (villain->p->prod & (BYTES - 8)), &word, 8);
	memcpy(data + ((villain->p->prod + 8) & (BYTES - 8)), &meta, 8);
	villain->p->prod += ring_record_bytes(len) + RING_META_BYTES;
}

/* One operation of the villain or of the honest. */
static void
step(struct lane *l, struct feed *f)
{
	struct seat *villain = &seats[0];
	uint8_t op = (uint8_t)number(f, 1);
	uint8_t *data = (uint8_t *)villain->p + RING_PAGE_BYTES;
	uint64_t word;

	switch (op % 9) {
	case 0:
		villain->p->prod = number(f, 8);
		break;
	case 1:
		villain->p->prod += number(f, 3);
		break;
	case 2:
		villain->p->cons = number(f, 8);
		break;
	case 3:
		villain->p->cons += number(f, 3);
		break;
	case 4: /* a record's head, at prod */
		word = number(f, 8);
		memcpy(data + (villain->p->prod & (BYTES - 8)), &word, 8);
		break;
	case 5:
		word = number(f, 3);
		if (word & META_BIT) {
			villain_meta(f, (uint32_t)(word & ~META_BIT));
			break;
		}
		memcpy(data + (villain->p->prod & (BYTES - 8)), &word, 8);
		villain->p->prod += ring_record_bytes((uint32_t)word);
		break;
	case 6:
		villain->p->space_event = number(f, 8);
		villain->p->data_event = number(f, 8);
		break;
	case 7:
		honest_send(&seats[1 + op / 9 % 2], op);
		break;
	default:
		honest_take(&seats[1 + op / 9 % 2], op);
		clock_ns += op * UINT64_C(100000);
		break;
	}
	for (uint32_t id = 0; id < PORTS; id++) {
		struct port *p = lane_port_find(l, id);

		if (p != NULL && p->attached)
			lane_bell(l, p);
	}
	(void)lane_turn(l);
}

int
LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
	struct plan_port plan[PORTS];
	struct feed f = {.at = input, .left = len};
	struct lane *l = lane_new(&ops, NULL);
	unsigned steps = 0;

	BUG_ON(l == NULL);
	if (len % 2 != 0)
		l->footprint_bytes = 0; /* rings rewind */
	for (uint32_t id = 0; id < PORTS; id++) {
		struct lane_grant g = {.port = id, .ring_bytes = BYTES};

		seat_make(&seats[id]);
		g.peer = fd_take(&seats[id].p_fd);
		g.own = fd_take(&seats[id].l_fd);
		g.bell = fd_take(&seats[id].bell[1]);
		BUG_ON(lane_attach(l, &g) < 0);
		plan[id] = (struct plan_port){.port = id, .link_up = true};
	}
	BUG_ON(lane_plan(l, 1, plan, PORTS) < 0);
	if (len % 4 >= 2)
		arena_begin(l);
	while (f.left > 0 && steps++ < 1000)
		step(l, &f);
	for (int i = 0; i < 100; i++)
		(void)lane_turn(l);
	for (uint32_t id = 1; id < PORTS; id++) {
		BUG_ON(!lane_port_find(l, id)->attached);
		honest_take(&seats[id], UINT32_MAX);
	}
	lane_free(l);
	arena_end();
	for (uint32_t id = 0; id < PORTS; id++)
		seat_end(&seats[id]);
	return 0;
}
