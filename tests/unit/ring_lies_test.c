/*
 * ring_lies_test.c - every lie that a peer can tell in a ring is a fault.
 */
#include "tests/unit/ring_fixture.h"

/* Write a record head as a peer may, at a position. */
static void
forge(uint64_t at, uint32_t len, uint16_t flags, uint16_t meta_len)
{
	uint64_t head = len | (uint64_t)flags << 32 | (uint64_t)meta_len << 48;

	memcpy(fx.p + RING_PAGE_BYTES + at % SIZE, &head, sizeof head);
}

/* --- lying producers --------------------------------------------------------
 */

static void
test_prod_ahead_of_the_ring_is_a_fault(void **state)
{
	(void)state;
	fx.prod_page->prod = SIZE + 8;
	expect_fault();
	assert_int_equal(ring_arm(&fx.rx), -EPROTO);
	fx.prod_page->prod = UINT64_MAX - 7;
	expect_fault();
}

static void
test_prod_over_what_we_still_hold_is_a_fault(void **state)
{
	(void)state;
	forge(0, 64, 0, 0);
	fx.prod_page->prod = 72;
	expect_frame(64, 0xee);
	fx.prod_page->prod = SIZE + 72; /* we did not release the frame */
	expect_fault();
	ring_release(&fx.rx);
	forge(72, 64, 0, 0);
	expect_frame(64, 0xee);
}

static void
test_prod_moving_back_is_a_fault(void **state)
{
	(void)state;
	assert_int_equal(push(64, 1), 1);
	assert_int_equal(push(64, 1), 1);
	ring_publish(&fx.tx);
	expect_frame(64, 1);
	expect_frame(64, 1);
	ring_release(&fx.rx);
	fx.prod_page->prod = 72;
	expect_fault();
	assert_int_equal(ring_arm(&fx.rx), -EPROTO);
}

static void
test_misaligned_prod_is_a_fault(void **state)
{
	unsigned i;

	(void)state;
	for (i = 1; i < 8; i++) {
		fx.prod_page->prod = 64 + i;
		expect_fault();
	}
}

static void
test_impossible_lengths_are_faults(void **state)
{
	static const uint32_t lens[] = {0, 1, 13, FRAME_BYTES_MAX + 1, 1u << 31,
	    UINT32_MAX, UINT32_MAX - 7};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof lens / sizeof lens[0]; i++) {
		start_at(0);
		forge(0, lens[i], 0, 0);
		fx.prod_page->prod = SIZE;
		expect_fault();
	}
}

static void
test_record_past_prod_is_a_fault(void **state)
{
	struct frame f = {0};

	(void)state;
	forge(0, 64, 0, 0); /* a record of 72 */
	fx.prod_page->prod = 64;
	expect_fault();
	start_at(0);
	forge(0, 64, 0, 0);
	fx.prod_page->prod = 72;
	assert_int_equal(ring_next(&fx.rx, &f), 1);
	start_at(0);
	forge(0, 65, 0, 0);
	fx.prod_page->prod = 72;
	expect_fault();
}

static void
test_record_past_the_end_of_the_area_is_a_fault(void **state)
{
	struct frame f = {0};

	(void)state;
	start_at(SIZE - 64);
	forge(SIZE - 64, 57, 0, 0);
	fx.prod_page->prod = SIZE + 128;
	expect_fault();
	start_at(SIZE - 64);
	forge(SIZE - 64, 56, 0, 0); /* ends exactly there */
	fx.prod_page->prod = SIZE + 128;
	assert_int_equal(ring_next(&fx.rx, &f), 1);
}

static void
test_unknown_flags_and_metadata_are_faults(void **state)
{
	unsigned bit;

	(void)state;
	for (bit = 1; bit < 16; bit++) {
		start_at(0);
		forge(0, 64, (uint16_t)(1u << bit), 0);
		fx.prod_page->prod = 1024;
		expect_fault();
	}
	for (bit = 0; bit < 16; bit++) {
		start_at(0);
		forge(0, 64, 0, (uint16_t)(1u << bit));
		fx.prod_page->prod = 1024;
		expect_fault();
	}
	start_at(0);
	forge(0, 64, 0, 12);
	fx.prod_page->prod = 1024;
	expect_fault();
}

/* A pad head at SIZE - 64, a good frame behind it; published up to `prod`. */
static void
forge_pad(uint32_t len, uint16_t flags, uint16_t meta_len, uint64_t prod)
{
	start_at(SIZE - 64);
	forge(SIZE - 64, len, flags, meta_len);
	forge(SIZE, 64, 0, 0);
	fx.prod_page->prod = prod;
}

static void
test_wrong_pads_are_faults(void **state)
{
	struct frame f = {0};

	(void)state;
	forge_pad(56, RING_FLAG_PAD, 0, SIZE + 72);
	assert_int_equal(ring_next(&fx.rx, &f), 1);
	assert_int_equal(f.len, 64);

	forge_pad(48, RING_FLAG_PAD, 0, SIZE + 72); /* short of the end */
	expect_fault();
	forge_pad(64, RING_FLAG_PAD, 0, SIZE + 72); /* past the end */
	expect_fault();
	forge_pad(0, RING_FLAG_PAD, 0, SIZE + 72);
	expect_fault();
	forge_pad(56, RING_FLAG_PAD, 8, SIZE + 72); /* metadata */
	expect_fault();
	forge_pad(56, RING_FLAG_PAD | 2, 0, SIZE + 72); /* unknown flag */
	expect_fault();
	forge_pad(56, RING_FLAG_PAD, 0, SIZE); /* nothing behind it */
	expect_fault();
	forge_pad(56, RING_FLAG_PAD, 0, SIZE - 8); /* half published */
	expect_fault();
	forge_pad(56, RING_FLAG_PAD, 0, SIZE + 64); /* half a frame behind */
	expect_fault();
}

static void
test_two_pads_in_a_row_are_a_fault(void **state)
{
	(void)state;
	start_at(SIZE - 64);
	forge(SIZE - 64, 56, RING_FLAG_PAD, 0);
	forge(SIZE, SIZE - 8, RING_FLAG_PAD, 0);
	fx.prod_page->prod = 2 * SIZE - 64;
	expect_fault();
	/* A pad over the whole area would never be needed. */
	start_at(0);
	forge(0, SIZE - 8, RING_FLAG_PAD, 0);
	fx.prod_page->prod = SIZE;
	expect_fault();
}

/* --- lying consumers --------------------------------------------------------
 */

static void
test_cons_ahead_of_what_was_published_is_a_fault(void **state)
{
	uint8_t *room = NULL;

	(void)state;
	while (push(1000, 5) == 1)
		continue;
	ring_publish(&fx.tx);
	fx.cons_page->cons = fx.tx.published + 8;
	assert_int_equal(ring_reserve(&fx.tx, 1000, &room), -EPROTO);
	assert_int_equal(ring_want_space(&fx.tx), -EPROTO);
	assert_int_equal(ring_tx_refresh(&fx.tx), -EPROTO);
	/* Committed, not published: it cannot have read that. */
	start_at(0);
	assert_int_equal(push(1000, 5), 1);
	fx.cons_page->cons = 8;
	assert_int_equal(ring_tx_refresh(&fx.tx), -EPROTO);
}

static void
test_cons_moving_back_is_a_fault(void **state)
{
	(void)state;
	assert_int_equal(push(64, 1), 1);
	assert_int_equal(push(64, 1), 1);
	ring_publish(&fx.tx);
	fx.cons_page->cons = 144;
	assert_int_equal(ring_tx_refresh(&fx.tx), 0);
	fx.cons_page->cons = 72;
	assert_int_equal(ring_tx_refresh(&fx.tx), -EPROTO);
	start_at(8 * SIZE);
	fx.cons_page->cons = 7 * SIZE - 8;
	assert_int_equal(ring_tx_refresh(&fx.tx), -EPROTO);
}

static void
test_misaligned_cons_is_a_fault(void **state)
{
	unsigned i;

	(void)state;
	assert_int_equal(push(64, 1), 1);
	ring_publish(&fx.tx);
	for (i = 1; i < 8; i++) {
		fx.cons_page->cons = i;
		assert_int_equal(ring_tx_refresh(&fx.tx), -EPROTO);
	}
}

static void
test_lies_of_event_words_cost_only_bells(void **state)
{
	static const uint64_t lies[] = {0, 1, 7, UINT64_MAX, SIZE, 1ull << 63};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof lies / sizeof lies[0]; i++) {
		start_at(64);
		fx.prod_page->space_event = lies[i];
		fx.cons_page->data_event = lies[i];
		fx.prod_page->data_bytes = lies[i];
		fx.cons_page->magic = (uint32_t)lies[i];
		assert_int_equal(push(64, 1), 1);
		(void)ring_publish(&fx.tx);
		expect_frame(64, 1);
		(void)ring_release(&fx.rx);
		assert_int_equal(ring_tx_refresh(&fx.tx), 0);
		assert_int_equal(ring_tx_backlog(&fx.tx), 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_prod_ahead_of_the_ring_is_a_fault),
	    TEST(test_prod_over_what_we_still_hold_is_a_fault),
	    TEST(test_prod_moving_back_is_a_fault),
	    TEST(test_misaligned_prod_is_a_fault),
	    TEST(test_impossible_lengths_are_faults),
	    TEST(test_record_past_prod_is_a_fault),
	    TEST(test_record_past_the_end_of_the_area_is_a_fault),
	    TEST(test_unknown_flags_and_metadata_are_faults),
	    TEST(test_wrong_pads_are_faults),
	    TEST(test_two_pads_in_a_row_are_a_fault),
	    TEST(test_cons_ahead_of_what_was_published_is_a_fault),
	    TEST(test_cons_moving_back_is_a_fault),
	    TEST(test_misaligned_cons_is_a_fault),
	    TEST(test_lies_of_event_words_cost_only_bells),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
