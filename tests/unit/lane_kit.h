/*
 * lane_kit.h - a lane without a process: ports in memory, a clock by hand.
 *
 * Each unit test of the lane includes this once. A `pen` plays the backend of
 * one port: it sends numbered frames and checks what it gets. Times stand
 * still unless a test moves clock_ns.
 */
#ifndef TESTS_LANE_KIT_H
#define TESTS_LANE_KIT_H

#include "broker/lane.h"
#include "proto/bell.h"
#include "proto/ring_copy.h"
#include "proto/sys.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define PENS      8
#define KIT_BYTES ((size_t)RING_BYTES_MIN)
#define FAULTS    16

/* What every test frame begins with. */
struct mark {
	uint8_t ether[14];
	uint8_t pad[2];
	uint32_t from;
	uint32_t len;
	uint64_t seq;
};

struct pen {
	uint32_t id;
	uint32_t epoch;
	int p_fd, l_fd, bell;
	int lane_bell; /* our copy of the lane's end, for a second attach */
	struct ring_page *p_mem, *l_mem; /* both writable: tests may lie */
	struct ring_tx tx;
	struct ring_rx rx;
	uint64_t sent;
	uint64_t got[PENS];  /* frames from each other pen */
	uint64_t next[PENS]; /* least sequence number that may come */
};

static uint64_t clock_ns;
static struct pen pens[PENS];
static struct lane *lane;
static unsigned faults, stalls;
static uint32_t fault_port;
static char fault_reason[32];
static bool muted[PENS];

static inline uint64_t
kit_now(void)
{
	return clock_ns;
}

static inline void
kit_fault(void *self, const struct port *p, const char *reason)
{
	(void)self;
	faults++;
	fault_port = p->id;
	snprintf(fault_reason, sizeof fault_reason, "%s", reason);
}

static inline void
kit_stalled(void *self, const struct port *p)
{
	(void)self;
	(void)p;
	stalls++;
}

static inline void
kit_listen(void *self, struct port *p, bool on)
{
	(void)self;
	if (p->id < PENS)
		muted[p->id] = !on;
}

static const struct lane_ops kit_ops = {
    .now_ns = kit_now,
    .fault = kit_fault,
    .stalled = kit_stalled,
    .listen = kit_listen,
};

/* Fresh memories and a fresh bell, as the launcher makes for every epoch. */
static inline void
pen_make(uint32_t id)
{
	struct pen *n = &pens[id];
	int ends[2];
	void *mem;

	*n = (struct pen){.id = id, .epoch = n->epoch + 1};
	assert_int_equal(sys_memfd("P", port_bytes(KIT_BYTES), &n->p_fd), 0);
	assert_int_equal(sys_memfd("L", port_bytes(KIT_BYTES), &n->l_fd), 0);
	assert_int_equal(bell_pair(ends), 0);
	n->bell = ends[0];
	n->lane_bell = ends[1];
	assert_int_equal(
	    sys_map(n->p_fd, port_bytes(KIT_BYTES), true, &mem), 0);
	n->p_mem = mem;
	assert_int_equal(
	    sys_map(n->l_fd, port_bytes(KIT_BYTES), true, &mem), 0);
	n->l_mem = mem;
	ring_tx_attach(&n->tx, n->p_mem, n->l_mem, KIT_BYTES);
	ring_rx_attach(&n->rx, n->p_mem, n->l_mem, KIT_BYTES);
}

static inline void
pen_end(uint32_t id)
{
	struct pen *n = &pens[id];

	if (n->p_mem == NULL)
		return;
	sys_unmap(ptr_take(n->p_mem), port_bytes(KIT_BYTES));
	sys_unmap(ptr_take(n->l_mem), port_bytes(KIT_BYTES));
	fd_close(&n->p_fd);
	fd_close(&n->l_fd);
	fd_close(&n->bell);
	fd_close(&n->lane_bell);
}

static inline int
pen_attach(uint32_t id)
{
	struct pen *n = &pens[id];
	struct lane_grant g = {
	    .port = id,
	    .epoch = n->epoch,
	    .ring_bytes = KIT_BYTES,
	    .peer = dup(n->p_fd),
	    .own = dup(n->l_fd),
	    .bell = dup(n->lane_bell),
	};

	return lane_attach(lane, &g);
}

/* All pens in the groups of `map`: one letter for each pen, '-' = not in the
 * plan, upper case = link down, '!' behind a letter = flow=drop. */
static inline void
kit_plan(const char *map)
{
	struct plan_port ports[PENS];
	size_t n = 0;

	for (uint32_t id = 0; *map != '\0'; map++, id++) {
		if (*map == '-')
			continue;
		ports[n] = (struct plan_port){
		    .port = id,
		    .group = (uint32_t)(*map | 0x20),
		    .link_up = (*map & 0x20) != 0,
		    .drop = map[1] == '!',
		};
		map += ports[n++].drop;
	}
	assert_int_equal(lane_plan(lane, 1, ports, n), 0);
}

static inline void
kit_start(const char *map)
{
	uint32_t count = 0;

	clock_ns = 1000000000;
	faults = stalls = 0;
	memset(fault_reason, 0, sizeof fault_reason);
	memset(muted, 0, sizeof muted);
	lane = lane_new(&kit_ops, NULL);
	assert_non_null(lane);
	for (const char *c = map; *c != '\0'; c++)
		count += *c != '!';
	for (uint32_t id = 0; id < count; id++) {
		pens[id].epoch = 0;
		pen_make(id);
		assert_int_equal(pen_attach(id), 0);
	}
	kit_plan(map);
}

static inline void
kit_end(void)
{
	lane_free(ptr_take(lane));
	for (uint32_t id = 0; id < PENS; id++)
		pen_end(id);
}

static inline struct port *
port(uint32_t id)
{
	struct port *p = lane_port_find(lane, id);

	assert_non_null(p);
	return p;
}

static inline uint64_t
count(uint32_t id, enum lane_counter c)
{
	return port(id)->count[c];
}

/* The unicast address to which all frames of a pen go. */
static inline uint64_t
pen_mac(uint32_t from)
{
	return UINT64_C(0x020000000000) + from;
}

/* Fill one frame of `len` bytes; every byte depends on sender and number. */
static inline void
frame_fill(uint8_t *room, uint32_t from, uint64_t seq, uint32_t len)
{
	struct mark m = {.from = from, .len = len, .seq = seq};

	m.ether[0] = 2;
	m.ether[5] = (uint8_t)from;

	memset(room, (int)(from * 31 + seq), len);
	memcpy(room, &m, len < sizeof m ? len : sizeof m);
}

/* Every so many frames of a pen have metadata; 0: none has. */
static uint64_t meta_every;

static inline struct frame_meta
frame_meta_of(uint64_t seq)
{
	struct frame_meta m = {0};

	if (meta_every == 0 || seq % meta_every != 0)
		return m;
	m.flags = META_NEEDS_CSUM;
	m.csum_start = (uint16_t)(14 + seq % 7);
	m.gso_size = (uint16_t)seq;
	return m;
}

/* Send one frame; false when the ring is full. Not yet published. */
static inline bool
pen_put(uint32_t id, uint32_t len)
{
	struct pen *n = &pens[id];
	struct frame f = {.len = len, .meta = frame_meta_of(n->sent)};
	uint8_t *room;

	if (ring_reserve_frame(&n->tx, &f, &room) != 1)
		return false;
	frame_fill(room, id, n->sent++, len);
	ring_commit_frame(&n->tx, &f);
	return true;
}

static inline void
pen_flush(uint32_t id)
{
	if (ring_publish(&pens[id].tx))
		bell_ring(pens[id].bell);
}

static inline void
pen_send(uint32_t id, unsigned frames, uint32_t len)
{
	for (unsigned i = 0; i < frames; i++)
		assert_true(pen_put(id, len));
	pen_flush(id);
}

static inline void
frame_check(struct pen *n, const struct frame *f)
{
	struct frame_meta meta;
	struct mark m;

	assert_true(f->len >= sizeof m);
	memcpy(&m, f->data, sizeof m);
	assert_true(m.from < PENS);
	assert_int_equal(m.len, f->len);
	meta = frame_meta_of(m.seq);
	assert_memory_equal(&f->meta, &meta, sizeof meta);
	assert_true(m.seq >= n->next[m.from]); /* order; no frame twice */
	for (uint32_t i = sizeof m; i < f->len; i++)
		if (f->data[i] != (uint8_t)(m.from * 31 + m.seq))
			fail_msg("byte %u of a frame is wrong", i);
	n->next[m.from] = m.seq + 1;
	n->got[m.from]++;
}

/* Take at most `max` frames; returns how many there were. */
static inline unsigned
pen_take(uint32_t id, unsigned max)
{
	struct pen *n = &pens[id];
	struct frame f;
	unsigned taken = 0;

	while (taken < max && ring_next(&n->rx, &f) == 1) {
		frame_check(n, &f);
		taken++;
	}
	if (ring_release(&n->rx))
		bell_ring(n->bell);
	return taken;
}

/* As the loop would: bells that ring, then turns until the lane sleeps. */
static inline uint64_t
kit_run(void)
{
	uint64_t wait_ns;
	unsigned turns = 0;

	for (size_t i = 0; i < lane->port_count; i++) {
		struct port *p = &lane->port[i];
		struct pollfd bell = {.fd = p->bell, .events = POLLIN};

		if (p->used && p->attached && poll(&bell, 1, 0) > 0)
			lane_bell(lane, p);
	}
	do {
		wait_ns = lane_turn(lane);
		assert_true(turns++ < 100000);
	} while (wait_ns == 0);
	return wait_ns;
}

#endif
