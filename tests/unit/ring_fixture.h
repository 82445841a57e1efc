/*
 * ring_fixture.h - both ends of one ring in one process, for the ring's tests.
 */
#ifndef TESTS_UNIT_RING_FIXTURE_H
#define TESTS_UNIT_RING_FIXTURE_H

#include "proto/ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SIZE RING_BYTES_MIN

/* One direction, both ends in this process; `p` is the producer's memory. */
static struct fixture {
	uint8_t *p, *c;
	struct ring_page *prod_page, *cons_page;
	struct ring_tx tx;
	struct ring_rx rx;
} fx;

/* Both ends at position `at`, which is a multiple of 8. */
static inline void
start_at(uint64_t at)
{
	memset(fx.p, 0xee, port_bytes(SIZE));
	memset(fx.p, 0, RING_PAGE_BYTES);
	memset(fx.c, 0, RING_PAGE_BYTES);
	fx.prod_page->prod = at;
	fx.cons_page->cons = at;
	ring_tx_attach(&fx.tx, fx.p, fx.c, SIZE);
	ring_rx_attach(&fx.rx, fx.c, fx.p, SIZE);
}

static inline int
setup(void **state)
{
	(void)state;
	fx.p = aligned_alloc(4096, port_bytes(SIZE));
	fx.c = aligned_alloc(4096, port_bytes(SIZE));
	assert_non_null(fx.p);
	assert_non_null(fx.c);
	fx.prod_page = (void *)fx.p;
	fx.cons_page = (void *)fx.c;
	start_at(0);
	return 0;
}

static inline int
teardown(void **state)
{
	(void)state;
	free(fx.p);
	free(fx.c);
	return 0;
}

static inline int
push(uint32_t len, uint8_t fill)
{
	uint8_t *room = NULL;
	int rc = ring_reserve(&fx.tx, len, &room);

	if (rc <= 0)
		return rc;
	memset(room, fill, len);
	ring_commit(&fx.tx, len);
	return 1;
}

static inline void
expect_frame(uint32_t len, uint8_t fill)
{
	struct frame f = {0};
	uint32_t i;

	assert_int_equal(ring_next(&fx.rx, &f), 1);
	assert_int_equal(f.len, len);
	for (i = 0; i < len; i++)
		assert_int_equal(f.data[i], fill);
}

static inline void
expect_empty(void)
{
	struct frame f = {0};

	assert_int_equal(ring_next(&fx.rx, &f), 0);
}

static inline void
expect_fault(void)
{
	struct frame f = {0};

	assert_int_equal(ring_next(&fx.rx, &f), -EPROTO);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
