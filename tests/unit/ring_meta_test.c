/*
 * ring_meta_test.c - metadata in a ring's records: it comes out as it went in,
 * takes its room, and no lie in it passes.
 */
#include "tests/unit/ring_fixture.h"

static const struct frame_meta large = {
    .flags = META_NEEDS_CSUM,
    .gso_type = META_GSO_TCPV4,
    .gso_size = 1448,
    .csum_start = 34,
    .csum_offset = 16,
};

static int
push_meta(uint32_t len, uint8_t fill, const struct frame_meta *m)
{
	uint8_t *room = NULL;
	int rc = ring_reserve_meta(&fx.tx, len, &room);

	if (rc <= 0)
		return rc;
	memset(room, fill, len);
	ring_commit_meta(&fx.tx, len, m);
	return 1;
}

static void
expect_meta(uint32_t len, uint8_t fill, const struct frame_meta *m)
{
	struct frame f = {0};
	uint32_t i;

	assert_int_equal(ring_next(&fx.rx, &f), 1);
	assert_int_equal(f.len, len);
	assert_memory_equal(&f.meta, m, sizeof f.meta);
	for (i = 0; i < len; i++)
		assert_int_equal(f.data[i], fill);
}

static void
test_metadata_comes_out_as_it_went_in(void **state)
{
	struct frame_meta valid = {.flags = META_DATA_VALID};
	struct frame_meta none = {0};
	struct frame f = {.meta = large};

	(void)state;
	assert_int_equal(push_meta(3000, 1, &large), 1);
	assert_int_equal(push(60, 2), 1);
	assert_int_equal(push_meta(14, 3, &valid), 1);
	assert_int_equal(push_meta(FRAME_BYTES_MAX, 4, &large), 1);
	ring_publish(&fx.tx);
	assert_int_equal(ring_peek(&fx.rx, &f), 1);
	expect_meta(3000, 1, &large);
	/* Nothing of the frame before stays. */
	f.meta = large;
	assert_int_equal(ring_peek(&fx.rx, &f), 1);
	assert_true(frame_meta_is_zero(&f.meta));
	expect_meta(60, 2, &none);
	expect_meta(14, 3, &valid);
	expect_meta(FRAME_BYTES_MAX, 4, &large);
	expect_empty();
}

static void
test_a_record_has_the_bytes_that_it_says(void **state)
{
	struct frame f = {.len = 61, .meta = large};
	uint64_t before = fx.tx.pos;

	(void)state;
	assert_int_equal(push_meta(61, 1, &large), 1);
	assert_int_equal(fx.tx.pos - before, 80);
	assert_int_equal(ring_frame_bytes(&f), 80);
	f.meta = (struct frame_meta){0};
	assert_int_equal(ring_frame_bytes(&f), 72);
}

/* The last record before the end of the area, for all places of the end. */
static void
test_metadata_at_the_end_of_the_area(void **state)
{
	uint64_t before;

	(void)state;
	for (before = 8; before < 200; before += 8) {
		start_at(SIZE - before);
		assert_int_equal(push_meta(64, 5, &large), 1);
		assert_int_equal(push_meta(64, 6, &large), 1);
		assert_int_equal(push(64, 7), 1);
		ring_publish(&fx.tx);
		expect_meta(64, 5, &large);
		expect_meta(64, 6, &large);
		expect_frame(64, 7);
		expect_empty();
		ring_release(&fx.rx);
	}
}

static void
test_a_full_ring_refuses_exactly(void **state)
{
	struct frame_meta valid = {.flags = META_DATA_VALID};
	unsigned n = 0;

	(void)state;
	while (push_meta(48, 1, &valid) == 1)
		n++;
	assert_int_equal(n, SIZE / 64);
	assert_int_equal(ring_tx_backlog(&fx.tx), SIZE);
	ring_publish(&fx.tx);
	expect_meta(48, 1, &valid);
	ring_release(&fx.rx);
	/* 64 bytes are free: with metadata 56 bytes of frame do not fit. */
	assert_int_equal(push_meta(49, 1, &valid), 0);
	assert_int_equal(push(56, 2), 1);
	ring_publish(&fx.tx);
	while (n-- > 1)
		expect_meta(48, 1, &valid);
	expect_frame(56, 2);
}

/* --- lies ----------------------------------------------------------------- */

static void
forge(uint64_t at, uint32_t len, uint16_t flags, uint16_t meta_len,
    const struct frame_meta *m)
{
	uint64_t head = len | (uint64_t)flags << 32 | (uint64_t)meta_len << 48;
	uint8_t *to = fx.p + RING_PAGE_BYTES + at % SIZE;

	memcpy(to, &head, sizeof head);
	memcpy(to + 8, m, sizeof *m);
}

static void
expect_lie(
    uint32_t len, uint16_t flags, uint16_t meta_len, const struct frame_meta *m)
{
	start_at(0);
	forge(0, len, flags, meta_len, m);
	fx.prod_page->prod = 4096;
	expect_fault();
}

static void
test_heads_that_lie_about_metadata(void **state)
{
	struct frame f = {0};
	unsigned bit;

	(void)state;
	forge(0, 64, RING_FLAG_META, 8, &large);
	fx.prod_page->prod = 4096;
	assert_int_equal(ring_next(&fx.rx, &f), 1);
	expect_lie(64, RING_FLAG_META, 0, &large);
	expect_lie(64, 0, 8, &large);
	for (bit = 0; bit < 16; bit++) {
		expect_lie(
		    64, RING_FLAG_META, (uint16_t)(8 ^ 1u << bit), &large);
		expect_lie(
		    64, (uint16_t)(RING_FLAG_META ^ 1u << bit), 8, &large);
	}
	expect_lie(13, RING_FLAG_META, 8, &large);
	expect_lie(0, RING_FLAG_META, 8, &large);
	expect_lie(FRAME_BYTES_MAX + 1, RING_FLAG_META, 8, &large);
	expect_lie(UINT32_MAX, RING_FLAG_META, 8, &large);
}

static void
test_metadata_that_lies(void **state)
{
	struct frame_meta m = {0};

	(void)state;
	expect_lie(64, RING_FLAG_META, 8, &m); /* none: has no such word */
	m.flags = 4;
	expect_lie(64, RING_FLAG_META, 8, &m);
	m = large;
	m.gso_size = 0;
	expect_lie(64, RING_FLAG_META, 8, &m);
	m = large;
	expect_lie(34 + 16 + 1, RING_FLAG_META, 8, &m);
	m.csum_start = UINT16_MAX;
	expect_lie(64, RING_FLAG_META, 8, &m);
	m = large;
	m.gso_type = 2;
	expect_lie(64, RING_FLAG_META, 8, &m);
}

static void
test_metadata_past_what_is_published(void **state)
{
	struct frame f = {0};

	(void)state;
	forge(0, 64, RING_FLAG_META, 8, &large); /* a record of 80 */
	fx.prod_page->prod = 72;
	expect_fault();
	start_at(0);
	forge(0, 64, RING_FLAG_META, 8, &large);
	fx.prod_page->prod = 80;
	assert_int_equal(ring_next(&fx.rx, &f), 1);
	/* Past the end of the area: the frame alone would fit. */
	start_at(SIZE - 72);
	forge(SIZE - 72, 64, RING_FLAG_META, 8, &large);
	fx.prod_page->prod = SIZE + 128;
	expect_fault();
	start_at(SIZE - 80);
	forge(SIZE - 80, 64, RING_FLAG_META, 8, &large);
	fx.prod_page->prod = SIZE + 128;
	assert_int_equal(ring_next(&fx.rx, &f), 1);
	assert_ptr_equal(f.data, fx.p + RING_PAGE_BYTES + SIZE - 64);
}

static void
test_pads_have_no_metadata(void **state)
{
	struct frame f = {0};

	(void)state;
	start_at(SIZE - 64);
	forge(SIZE - 64, 56, RING_FLAG_PAD, 0, &large);
	forge(SIZE, 64, RING_FLAG_META, 8, &large);
	fx.prod_page->prod = SIZE + 80;
	assert_int_equal(ring_next(&fx.rx, &f), 1);
	assert_memory_equal(&f.meta, &large, sizeof large);
	assert_int_equal(fx.rx.pos, SIZE + 80);
	start_at(SIZE - 64);
	forge(SIZE - 64, 48, RING_FLAG_PAD | RING_FLAG_META, 8, &large);
	forge(SIZE, 64, RING_FLAG_META, 8, &large);
	fx.prod_page->prod = SIZE + 80;
	expect_fault();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_metadata_comes_out_as_it_went_in),
	    TEST(test_a_record_has_the_bytes_that_it_says),
	    TEST(test_metadata_at_the_end_of_the_area),
	    TEST(test_a_full_ring_refuses_exactly),
	    TEST(test_heads_that_lie_about_metadata),
	    TEST(test_metadata_that_lies),
	    TEST(test_metadata_past_what_is_published),
	    TEST(test_pads_have_no_metadata),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
