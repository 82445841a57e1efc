/*
 * ring_test.c - what a ring promises to honest peers.
 */
#include "tests/unit/ring_fixture.h"

static void
test_frames_come_out_in_order_and_whole(void **state)
{
	(void)state;
	expect_empty();
	assert_int_equal(push(14, 1), 1);
	assert_int_equal(push(64, 2), 1);
	expect_empty(); /* nothing was published */
	ring_publish(&fx.tx);
	assert_int_equal(push(FRAME_BYTES_MAX, 3), 1);
	ring_publish(&fx.tx);
	expect_frame(14, 1);
	expect_frame(64, 2);
	expect_frame(FRAME_BYTES_MAX, 3);
	expect_empty();
}

static void
test_commit_may_be_shorter_than_the_reservation(void **state)
{
	uint8_t *room = NULL;

	(void)state;
	assert_int_equal(ring_reserve(&fx.tx, FRAME_BYTES_MAX, &room), 1);
	memset(room, 7, 99);
	ring_commit(&fx.tx, 99);
	assert_int_equal(fx.tx.pos, 112);
	/* A reservation that is given up leaves nothing behind. */
	assert_int_equal(ring_reserve(&fx.tx, 1000, &room), 1);
	assert_int_equal(push(15, 8), 1);
	ring_publish(&fx.tx);
	expect_frame(99, 7);
	expect_frame(15, 8);
	expect_empty();
}

/* Fill and drain through several turns of the area, from a start position. */
static void
run_round(uint64_t at)
{
	static const uint32_t lens[] = {
	    14, 15, 16, 60, 64, 1514, 9000, 65535, FRAME_BYTES_MAX, 17, 4096};
	uint32_t in = 0, out = 0, held = 0, len;
	const uint32_t kinds = sizeof lens / sizeof lens[0];
	int rc;

	start_at(at);
	while (out < 2000) {
		len = lens[in % kinds];
		rc = in < 2000 ? push(len, (uint8_t)in) : 0;
		assert_in_range(rc, 0, 1);
		if (rc == 1) {
			in++;
			held++;
			continue;
		}
		assert_true(held > 0);
		ring_publish(&fx.tx);
		for (; held > 0; held--, out++)
			expect_frame(lens[out % kinds], (uint8_t)out);
		expect_empty();
		ring_release(&fx.rx);
	}
	assert_int_equal(ring_tx_refresh(&fx.tx), 0);
	assert_int_equal(ring_tx_backlog(&fx.tx), 0);
}

static void
test_positions_may_start_anywhere(void **state)
{
	(void)state;
	run_round(0);
	run_round(SIZE - 8);
	run_round((UINT64_C(1) << 32) - 64);
}

static void
test_positions_may_wrap_64_bits(void **state)
{
	(void)state;
	run_round(UINT64_MAX - 7);
	run_round(UINT64_MAX - SIZE + 1);
	run_round(UINT64_MAX - 3 * SIZE + 9);
}

static void
test_longest_frame_fits_the_least_ring_at_every_place(void **state)
{
	uint64_t at;

	(void)state;
	for (at = 0; at < SIZE; at += 8) {
		fx.prod_page->prod = at;
		fx.cons_page->cons = at;
		ring_tx_attach(&fx.tx, fx.p, fx.c, SIZE);
		ring_rx_attach(&fx.rx, fx.c, fx.p, SIZE);
		uint8_t *room = NULL;
		struct frame f = {0};

		assert_int_equal(
		    ring_reserve(&fx.tx, FRAME_BYTES_MAX, &room), 1);
		assert_true(room >= fx.p + RING_PAGE_BYTES + RING_HEAD_BYTES);
		assert_true(room + FRAME_BYTES_MAX <= fx.p + port_bytes(SIZE));
		ring_commit(&fx.tx, FRAME_BYTES_MAX);
		ring_publish(&fx.tx);
		assert_int_equal(ring_next(&fx.rx, &f), 1);
		assert_int_equal(f.len, FRAME_BYTES_MAX);
		assert_ptr_equal(f.data, room);
	}
}

static void
test_peek_does_not_move_on(void **state)
{
	struct frame f = {0};

	(void)state;
	start_at(SIZE - 16); /* the frame stands behind a pad */
	assert_int_equal(push(64, 1), 1);
	assert_int_equal(push(65, 2), 1);
	ring_publish(&fx.tx);
	assert_int_equal(ring_peek(&fx.rx, &f), 1);
	assert_int_equal(ring_peek(&fx.rx, &f), 1);
	assert_int_equal(f.len, 64);
	assert_false(ring_release(&fx.rx));
	assert_int_equal(fx.cons_page->cons, SIZE - 16);
	ring_skip(&fx.rx);
	ring_release(&fx.rx);
	expect_frame(65, 2);
	expect_empty();
}

static void
test_full_ring_refuses_and_takes_again_when_drained(void **state)
{
	uint32_t count = 0, i;

	(void)state;
	while (push(1000, 5) == 1)
		count++;
	assert_int_equal(count, SIZE / 1008);
	ring_publish(&fx.tx);
	assert_int_equal(ring_want_space(&fx.tx), 0);
	for (i = 0; i < count; i++)
		expect_frame(1000, 5);
	/* Space is not ours before it was released. */
	assert_int_equal(push(1000, 6), 0);
	ring_release(&fx.rx);
	assert_int_equal(ring_want_space(&fx.tx), 1);
	assert_int_equal(push(1000, 6), 1);
}

static void
test_bells_are_due_only_when_armed(void **state)
{
	(void)state;
	assert_int_equal(ring_arm(&fx.rx), 0);
	assert_int_equal(push(60, 1), 1);
	assert_true(ring_publish(&fx.tx));
	assert_int_equal(push(60, 2), 1);
	assert_false(ring_publish(&fx.tx)); /* it was rung for the first */
	assert_false(ring_publish(&fx.tx)); /* nothing new */
	expect_frame(60, 1);
	ring_release(&fx.rx);
	assert_int_equal(ring_arm(&fx.rx), 1); /* one more is there */
	expect_frame(60, 2);
	expect_empty();
	ring_release(&fx.rx);
	assert_int_equal(push(60, 3), 1);
	assert_false(ring_publish(&fx.tx)); /* awake: no bell */
	expect_frame(60, 3);
	ring_release(&fx.rx);
	assert_int_equal(ring_arm(&fx.rx), 0);
	assert_int_equal(push(60, 4), 1);
	assert_true(ring_publish(&fx.tx));
}

static void
test_space_bell_comes_once_at_half_the_ring(void **state)
{
	uint32_t count = 0, bells = 0, at_bell = 0, i;

	(void)state;
	while (push(1000, 5) == 1)
		count++;
	ring_publish(&fx.tx);
	for (i = 0; i < 3; i++) { /* the fresh page's event word passes */
		expect_frame(1000, 5);
		ring_release(&fx.rx);
	}
	assert_int_equal(ring_want_space(&fx.tx), 0);
	for (; i < count; i++) {
		expect_frame(1000, 5);
		if (ring_release(&fx.rx)) {
			bells++;
			at_bell = i + 1;
		}
	}
	assert_int_equal(bells, 1);
	assert_in_range(at_bell, count / 2, count / 2 + 1);
}

static void
test_space_bell_waits_for_a_frame_that_needs_more_than_half(void **state)
{
	struct frame f = {0};
	uint8_t *room = NULL;
	int rc;

	(void)state;
	/* The longest frame behind the longest pad: more than half of SIZE. */
	start_at(SIZE - 69640 + 8);
	fx.cons_page->cons -= 131072;
	fx.tx.cons = fx.tx.pos - SIZE;
	rc = ring_reserve(&fx.tx, FRAME_BYTES_MAX, &room);
	assert_int_equal(rc, 0);
	assert_int_equal(ring_want_space(&fx.tx), 0);
	fx.cons_page->cons += 131072;
	assert_int_equal(ring_want_space(&fx.tx), 1);
	assert_int_equal(ring_reserve(&fx.tx, FRAME_BYTES_MAX, &room), 1);
	ring_commit(&fx.tx, FRAME_BYTES_MAX);
	ring_publish(&fx.tx);
	assert_int_equal(ring_next(&fx.rx, &f), 1);
	assert_int_equal(f.len, FRAME_BYTES_MAX);
}

static void
test_restarted_ends_continue_where_they_stood(void **state)
{
	(void)state;
	assert_int_equal(push(100, 1), 1);
	assert_int_equal(push(100, 2), 1);
	ring_publish(&fx.tx);
	assert_int_equal(push(100, 3), 1); /* never published */
	ring_tx_attach(&fx.tx, fx.p, fx.c, SIZE);
	assert_int_equal(push(100, 4), 1);
	ring_publish(&fx.tx);
	expect_frame(100, 1);
	ring_release(&fx.rx);
	expect_frame(100, 2); /* never released: comes again */
	ring_rx_attach(&fx.rx, fx.c, fx.p, SIZE);
	expect_frame(100, 2);
	expect_frame(100, 4);
	expect_empty();
}

static void
test_ring_sizes_are_powers_of_two_in_range(void **state)
{
	(void)state;
	assert_true(ring_bytes_valid(RING_BYTES_MIN));
	assert_true(ring_bytes_valid(RING_BYTES_USUAL));
	assert_true(ring_bytes_valid(RING_BYTES_MAX));
	assert_false(ring_bytes_valid(0));
	assert_false(ring_bytes_valid(RING_BYTES_MIN / 2));
	assert_false(ring_bytes_valid(RING_BYTES_MAX * UINT64_C(2)));
	assert_false(ring_bytes_valid(RING_BYTES_USUAL + 8));
	assert_false(ring_bytes_valid(UINT64_MAX));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_frames_come_out_in_order_and_whole),
	    TEST(test_commit_may_be_shorter_than_the_reservation),
	    TEST(test_positions_may_start_anywhere),
	    TEST(test_positions_may_wrap_64_bits),
	    TEST(test_longest_frame_fits_the_least_ring_at_every_place),
	    TEST(test_peek_does_not_move_on),
	    TEST(test_full_ring_refuses_and_takes_again_when_drained),
	    TEST(test_bells_are_due_only_when_armed),
	    TEST(test_space_bell_comes_once_at_half_the_ring),
	    TEST(test_space_bell_waits_for_a_frame_that_needs_more_than_half),
	    TEST(test_restarted_ends_continue_where_they_stood),
	    TEST(test_ring_sizes_are_powers_of_two_in_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
