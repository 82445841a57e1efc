/*
 * ring_arena_test.c - references in a ring: they lead to the frame that was
 * meant, in an arena that the consumer knows, or nowhere at all.
 */
#include "proto/arena.h"
#include "proto/ring_copy.h"
#include "tests/unit/ring_fixture.h"

#define BYTES 4096u

static uint8_t memory[2][BYTES];
static const struct ring_arenas arenas = {
    .view = {{memory[0], BYTES, 7}, {memory[1], BYTES, 8}}};

static uint64_t
to(uint32_t serial, uint32_t at)
{
	return at | (uint64_t)serial << 32;
}

/* One reference, as a lane without scruples would write it. */
static void
refer(uint32_t len, uint64_t ref)
{
	const struct frame f = {.len = len};

	fx.rx.arenas = &arenas;
	assert_int_equal(ring_refer(&fx.tx, &f, &ref, 1), 1);
	ring_publish(&fx.tx);
}

static void
expect_at(const uint8_t *data, uint32_t len)
{
	struct frame f = {.meta = {.flags = 1}};

	assert_int_equal(ring_next(&fx.rx, &f), 1);
	assert_ptr_equal(f.data, data);
	assert_int_equal(f.len, len);
	assert_true(frame_meta_is_zero(&f.meta));
}

static void
test_references_lead_to_their_arena(void **state)
{
	(void)state;
	refer(60, to(7, 4));
	refer(1514, to(8, 1000));
	assert_int_equal(push(100, 5), 1);
	ring_publish(&fx.tx);
	refer(14, to(7, BYTES - 14));
	assert_int_equal(fx.tx.pos, 3 * 16 + 112);
	expect_at(memory[0] + 4, 60);
	expect_at(memory[1] + 1000, 1514);
	expect_frame(100, 5);
	expect_at(memory[0] + BYTES - 14, 14);
	expect_empty();
}

static void
test_references_that_lead_elsewhere_are_faults(void **state)
{
	static const struct {
		uint32_t len;
		uint32_t serial, at;
	} lies[] = {
	    {60, 6, 4}, /* an arena that nobody knows */
	    {60, 0, 4}, /* none */
	    {60, 7, 3}, /* no place for a length word */
	    {60, 7, 0},
	    {60, 7, BYTES - 59}, /* beyond the end */
	    {60, 7, BYTES},
	    {60, 7, BYTES + 1},
	    {60, 8, UINT32_MAX},
	    {60, 8, UINT32_MAX - 59}, /* around the end of 32 bits */
	    {FRAME_BYTES_MAX, 7, 4},
	    {FRAME_BYTES_MIN - 1, 7, 4},
	    {FRAME_BYTES_MAX + 1, 7, 4},
	    {0, 7, 4},
	};

	(void)state;
	for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
		start_at(0);
		refer(lies[i].len, to(lies[i].serial, lies[i].at));
		expect_fault();
	}
}

static void
test_who_knows_no_arena_takes_no_reference(void **state)
{
	static const struct ring_arenas none;

	(void)state;
	refer(60, to(7, 4));
	fx.rx.arenas = NULL;
	expect_fault();
	fx.rx.arenas = &none;
	expect_fault();
}

/* Flags that do not belong together, and other sizes of what follows. */
static void
test_heads_must_be_exact(void **state)
{
	static const uint64_t heads[] = {
	    60 | (uint64_t)RING_FLAG_ARENA << 32,
	    60 | (uint64_t)RING_FLAG_ARENA << 32 | UINT64_C(16) << 48,
	    60 | (uint64_t)(RING_FLAG_ARENA | RING_FLAG_META) << 32 |
		UINT64_C(8) << 48,
	    60 | (uint64_t)(RING_FLAG_ARENA | RING_FLAG_PAD) << 32 |
		UINT64_C(8) << 48,
	    60 | (uint64_t)8 << 32 | UINT64_C(8) << 48,
	};

	(void)state;
	for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
		start_at(0);
		refer(60, to(7, 4));
		memcpy(fx.p + RING_PAGE_BYTES, &heads[i], 8);
		expect_fault();
	}
	/* Half of it published. */
	start_at(0);
	refer(60, to(7, 4));
	fx.prod_page->prod = 8;
	expect_fault();
}

static void
test_references_at_the_end_of_the_area(void **state)
{
	(void)state;
	for (uint64_t left = 8; left <= 40; left += 8) {
		start_at(SIZE - left);
		for (uint32_t i = 0; i < 5; i++)
			refer(60 + i, to(7, 4 + i));
		for (uint32_t i = 0; i < 5; i++)
			expect_at(memory[0] + 4 + i, 60 + i);
		expect_empty();
	}
}

static void
test_a_full_ring_refuses_and_goes_on(void **state)
{
	struct frame f[300];
	uint64_t ref[300];
	uint32_t n = 0;
	int rc;

	(void)state;
	fx.rx.arenas = &arenas;
	for (unsigned i = 0; i < 300; i++) {
		f[i].len = 60;
		ref[i] = to(7, 4);
	}
	while ((rc = ring_refer(&fx.tx, f, ref, 300)) > 0)
		n += (uint32_t)rc;
	assert_int_equal(rc, 0);
	assert_int_equal(n, SIZE / 16);
	assert_int_equal(fx.tx.batch, n);
	ring_publish(&fx.tx);
	for (uint32_t i = 0; i < n; i++)
		expect_at(memory[0] + 4, 60);
	expect_empty();
	ring_release(&fx.rx);
	refer(61, to(8, 5));
	expect_at(memory[1] + 5, 61);
}

/* Many at once, wherever the area ends and however little room there is. */
static void
test_many_at_once(void **state)
{
	struct frame f[64];
	uint64_t ref[64];
	uint32_t sent = 0, seen = 0;

	(void)state;
	start_at(SIZE - 8 * 77);
	fx.rx.arenas = &arenas;
	for (unsigned round = 0; round < 20000; round++) {
		unsigned count = 1 + round * 7 % 64;
		int rc;

		for (unsigned i = 0; i < count; i++) {
			f[i].len = 14 + (sent + i) % 2000;
			ref[i] = to(7 + (sent + i) % 2, 4 + (sent + i) % 1000);
		}
		rc = ring_refer(&fx.tx, f, ref, count);
		assert_in_range(rc, 0, count);
		sent += (uint32_t)rc;
		if (round % 5 == 0 && push(77, 1) == 1)
			ref[0] = 0;
		ring_publish(&fx.tx);
		for (unsigned i = 0; i < 30 + round % 9; i++) {
			struct frame got;

			if (ring_next(&fx.rx, &got) != 1)
				break;
			if (got.len == 77 && got.data[0] == 1)
				continue;
			assert_int_equal(got.len, 14 + seen % 2000);
			assert_ptr_equal(
			    got.data, memory[seen % 2] + 4 + seen % 1000);
			seen++;
		}
		ring_release(&fx.rx);
	}
	assert_true(seen > 300000);
}

/* At the end of a ring: how much was not read, wherever it is. */
static void
test_unread_references_are_counted(void **state)
{
	uint64_t bytes = 0;

	(void)state;
	refer(60, to(7, 4));
	refer(1000, to(99, 4));
	assert_int_equal(push(100, 5), 1);
	ring_publish(&fx.tx);
	assert_int_equal(ring_tx_unread(&fx.tx, &bytes), 3);
	assert_int_equal(bytes, 1160);
	expect_at(memory[0] + 4, 60);
	ring_release(&fx.rx);
	bytes = 0;
	assert_int_equal(ring_tx_unread(&fx.tx, &bytes), 2);
	assert_int_equal(bytes, 1100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_references_lead_to_their_arena),
	    TEST(test_references_that_lead_elsewhere_are_faults),
	    TEST(test_who_knows_no_arena_takes_no_reference),
	    TEST(test_heads_must_be_exact),
	    TEST(test_references_at_the_end_of_the_area),
	    TEST(test_a_full_ring_refuses_and_goes_on),
	    TEST(test_many_at_once),
	    TEST(test_unread_references_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
