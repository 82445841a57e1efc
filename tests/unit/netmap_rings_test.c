/*
 * netmap_rings_test.c - a netmap port's rings in memory that lies.
 */
#include "backends/backend_netmap.h"

#include "proto/ring.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* --- hostile memory ------------------------------------------------------ */

#define MAP_BYTES (64u * 1024 + 40)

/* A memory that is right: one ring each way, 8 slots, buffers of 2 KiB. */
struct memory {
	uint8_t *map;
	struct netmap_if *nif;
	int64_t *table;
	struct netmap_ring *tx, *rx;
	struct nmp_port port;
};

static void
memory_init(struct memory *m)
{
	uint32_t i;

	m->map = calloc(1, MAP_BYTES);
	assert_non_null(m->map);
	m->nif = (struct netmap_if *)(void *)(m->map + 64);
	m->table = (int64_t *)(void *)(m->nif + 1);
	m->tx = (struct netmap_ring *)(void *)(m->map + 1024);
	m->rx = (struct netmap_ring *)(void *)(m->map + 4096);
	m->nif->tx_rings = m->nif->rx_rings = 1;
	m->table[0] = 1024 - 64;
	m->table[1] = 4096 - 64;
	m->tx->slots = m->rx->slots = 8;
	m->tx->buf_bytes = m->rx->buf_bytes = 2048;
	m->tx->buf_ofs = 8192 - 1024;
	m->rx->buf_ofs = 8192 - 4096;
	m->tx->tail = 7;
	for (i = 0; i < 8; i++) {
		m->tx->slot[i].buf = 2 + i;
		m->rx->slot[i].buf = 10 + i;
	}
}

static int
attaches(struct memory *m)
{
	struct err err;

	return nmp_attach(&m->port, m->map, MAP_BYTES, 64, true, &err);
}

static void
layout_is_judged(void **state)
{
	static const int64_t offsets[] = {1, -1, INT64_MIN, INT64_MAX,
	    MAP_BYTES, MAP_BYTES - 64 - 200, -64 - 8, 960 + 4};
	struct memory m;
	struct err err;
	size_t i;

	(void)state;
	memory_init(&m);
	assert_int_equal(attaches(&m), 0);
	assert_int_equal(m.port.rx_count, 1);
	assert_int_equal(
	    nmp_attach(&m.port, m.map, MAP_BYTES, MAP_BYTES, true, &err),
	    -EPROTO);
	assert_int_equal(
	    nmp_attach(&m.port, m.map, MAP_BYTES, UINT64_MAX - 7, true, &err),
	    -EPROTO);
	assert_int_equal(
	    nmp_attach(&m.port, m.map, MAP_BYTES, 65, true, &err), -EPROTO);
	for (i = 0; i < sizeof offsets / sizeof *offsets; i++) {
		m.table[0] = offsets[i];
		assert_int_equal(attaches(&m), -EPROTO);
	}
	m.table[0] = 1024 - 64;
#define REFUSED(field, value)                                                  \
	do {                                                                   \
		__typeof__(field) was = field;                                 \
		field = (value);                                               \
		assert_int_equal(attaches(&m), -EPROTO);                       \
		field = was;                                                   \
		assert_int_equal(attaches(&m), 0);                             \
	} while (0)
	REFUSED(m.nif->tx_rings, UINT32_MAX);
	REFUSED(m.nif->rx_rings, 60000);
	REFUSED(m.nif->host_rx_rings, UINT32_MAX);
	REFUSED(m.table[1], 0);
	REFUSED(m.rx->slots, 0);
	REFUSED(m.rx->slots, 1);
	REFUSED(m.rx->slots, UINT32_MAX);
	REFUSED(m.rx->slots, 1u << 28);
	REFUSED(m.rx->buf_bytes, 0);
	REFUSED(m.rx->buf_bytes, UINT32_MAX);
	REFUSED(m.rx->buf_ofs, INT64_MAX);
	REFUSED(m.rx->buf_ofs, INT64_MIN);
	REFUSED(m.rx->buf_ofs, -4097);
	REFUSED(m.rx->buf_ofs, MAP_BYTES - 4096 - 100);
	REFUSED(m.rx->head, 8);
	REFUSED(m.tx->tail, UINT32_MAX);
	free(m.map);
}

static void
received_slots_are_judged(void **state)
{
	struct nmp_span span;
	uint8_t out[FRAME_BYTES_MAX];
	struct nmp_ring *r;
	struct memory m;
	uint32_t i;

	(void)state;
	memory_init(&m);
	assert_int_equal(attaches(&m), 0);
	r = &m.port.rx[0];
	assert_int_equal(nmp_next(r, &span), NMP_NONE);
	/* good, too short, buffers and lengths that cannot be, good */
	for (i = 0; i < 7; i++)
		m.rx->slot[i].len = 60;
	m.rx->slot[0].flags = 0x0100;
	m.rx->slot[1].len = 13;
	m.rx->slot[2].buf = 1;
	m.rx->slot[3].buf = UINT32_MAX;
	m.rx->slot[4].buf = r->buf_end;
	m.rx->slot[5].len = 2049;
	m.rx->tail = 7;
	nmp_load(r);
	for (i = 0; i < 7; i++) {
		assert_int_equal(
		    nmp_next(r, &span), i == 0 || i == 6 ? NMP_FRAME : NMP_BAD);
		assert_int_equal(span.slots, 1);
		if (i == 0)
			assert_true(nmp_copy(r, &span, out));
		nmp_drop(r, &span);
	}
	nmp_publish(r);
	assert_int_equal(m.rx->head, 7);
	/* The last buffer of the mapping is one. */
	m.rx->slot[7].buf = r->buf_end - 1;
	m.rx->slot[7].len = 2048;
	m.rx->tail = 0;
	nmp_load(r);
	assert_int_equal(nmp_next(r, &span), NMP_FRAME);
	assert_true(nmp_copy(r, &span, out));
	/* It changes between the look and the copy. */
	m.rx->slot[7].len = 2047;
	assert_false(nmp_copy(r, &span, out));
	m.rx->slot[7].len = 2048;
	m.rx->slot[7].buf = 0;
	assert_false(nmp_copy(r, &span, out));
	nmp_drop(r, &span);
	/* A tail that cannot be is none. */
	m.rx->tail = 8;
	nmp_load(r);
	assert_int_equal(nmp_next(r, &span), NMP_NONE);
	m.rx->tail = UINT32_MAX;
	nmp_load(r);
	assert_int_equal(nmp_next(r, &span), NMP_NONE);
	free(m.map);
}

static void
frames_over_slots(void **state)
{
	struct nmp_span span;
	uint8_t out[FRAME_BYTES_MAX];
	struct nmp_ring *r;
	struct memory m;
	uint32_t i;

	(void)state;
	memory_init(&m);
	assert_int_equal(attaches(&m), 0);
	r = &m.port.rx[0];
	for (i = 0; i < 8; i++) {
		m.rx->slot[i].buf = 10 + i;
		m.rx->slot[i].len = 1000;
		m.rx->slot[i].flags = NETMAP_SLOT_MORE;
	}
	/* Not all there yet: wait. */
	m.rx->tail = 3;
	nmp_load(r);
	assert_int_equal(nmp_next(r, &span), NMP_NONE);
	m.rx->slot[3].flags = 0x0400;
	m.rx->tail = 4;
	nmp_load(r);
	assert_int_equal(nmp_next(r, &span), NMP_FRAME);
	assert_int_equal(span.slots, 4);
	assert_int_equal(span.len, 4000);
	assert_true(nmp_copy(r, &span, out));
	/* One bad part makes all of it bad, to its end. */
	m.rx->slot[1].buf = 0;
	assert_int_equal(nmp_next(r, &span), NMP_BAD);
	assert_int_equal(span.slots, 4);
	nmp_drop(r, &span);
	/* Without end, and the ring is full of it. */
	m.rx->slot[3].flags = NETMAP_SLOT_MORE;
	m.rx->tail = 3;
	nmp_load(r);
	assert_int_equal(nmp_next(r, &span), NMP_BAD);
	assert_int_equal(span.slots, 7);
	nmp_drop(r, &span);
	assert_int_equal(nmp_next(r, &span), NMP_NONE);
	free(m.map);
}

static void
sent_slots_are_judged(void **state)
{
	static uint8_t frame[FRAME_BYTES_MAX];
	struct memory m;
	unsigned i;

	(void)state;
	memory_init(&m);
	assert_int_equal(attaches(&m), 0);
	assert_int_equal(nmp_put(&m.port, frame, 2048), NMP_PUT);
	assert_int_equal(m.tx->slot[0].flags, 0);
	assert_int_equal(nmp_put(&m.port, frame, 2049), NMP_PUT);
	assert_int_equal(m.tx->slot[1].flags, NETMAP_SLOT_MORE);
	assert_int_equal(m.tx->slot[2].len, 1);
	assert_int_equal(m.tx->slot[2].flags, 0);
	assert_int_equal(m.tx->head, 0);
	nmp_publish(&m.port.tx);
	assert_int_equal(m.tx->head, 3);
	assert_int_equal(m.tx->cur, 3);
	/* A buffer that is nowhere in the middle: nothing of it leaves. */
	m.tx->slot[4].buf = 0;
	assert_int_equal(nmp_put(&m.port, frame, 5000), NMP_BROKEN);
	for (i = 3; i < 5; i++) {
		assert_int_equal(m.tx->slot[i].len, 0);
		assert_int_equal(m.tx->slot[i].flags, 0);
	}
	assert_int_equal(nmp_put(&m.port, frame, 4096), NMP_PUT);
	assert_int_equal(nmp_put(&m.port, frame, 60), NMP_FULL);
	assert_int_equal(nmp_put(&m.port, frame, 7 * 2048 + 1), NMP_TOO_LONG);
	m.port.multi = false;
	assert_int_equal(nmp_put(&m.port, frame, 2049), NMP_TOO_LONG);
	free(m.map);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(layout_is_judged),
	    cmocka_unit_test(received_slots_are_judged),
	    cmocka_unit_test(frames_over_slots),
	    cmocka_unit_test(sent_slots_are_judged),
	};

	return cmocka_run_group_tests_name("netmap_rings", tests, NULL, NULL);
}
