/*
 * backend_cross_lies_test.c - who lies in a crossover loses it, and nothing
 * else: the lane goes on for both.
 */
#include "tests/unit/backend_cross_kit.h"

/* The test is the other end. */

static struct ring_page *
lie_to_end_0(void)
{
	void *theirs;
	int a = memory(NULL), b = memory(&theirs), bells[2];

	serial++;
	assert_int_equal(bell_pair(bells), 0);
	tell_cross(&end[0], a, b, bells[0]);
	fd_close(&bells[0]);
	far[0] = a;
	far[1] = b;
	far[2] = bells[1];
	turn(1000000);
	assert_int_equal(end[0].crossed, 1);
	return theirs;
}

/* Its crossover is over; the lane's frames come and go as ever. */
static void
lane_serves_end_0(unsigned lies)
{
	for (int i = 0; i < 30 && end[0].lies < lies; i++)
		turn(1000000);
	assert_int_equal(end[0].lies, lies);
	end[0].sends += 100;
	send_some(&end[0]);
	end[1].sends += 100;
	send_some(&end[1]);
	move_all();
	assert_int_equal(end[0].seen, end[1].sends);
	assert_int_equal(end[1].seen, end[0].sends);
	tell_end(&end[0], true);
	turn(2000000);
	assert_int_equal(end[0].ended, 1);
	assert_int_equal(end[0].be.cross.state, CROSS_NONE);
}

static void
test_a_lie_about_positions_ends_the_crossover_only(void **state)
{
	static const uint64_t lies[] = {
	    3, RING + 8, UINT64_C(1) << 63, 1 << 30};

	for (size_t i = 0; i < 2 * sizeof lies / sizeof lies[0]; i++) {
		struct ring_page *page = lie_to_end_0();
		uint64_t lie = lies[i / 2];

		page->counter[0] = page->counter[1] = 1;
		if (i % 2)
			page->prod = lie;
		else
			page->cons = lie;
		bell_ring(far[2]);
		lane_serves_end_0(1);
		sys_unmap(page, port_bytes(RING));
		(void)finish(state);
		(void)start(state);
	}
}

static void
test_a_lie_in_a_record_ends_the_crossover_only(void **state)
{
	static const uint64_t heads[] = {0, 13, FRAME_BYTES_MAX + 1, UINT64_MAX,
	    UINT64_C(1) << 32 | 64, UINT64_C(9) << 48 | 64};

	for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
		struct ring_page *page = lie_to_end_0();

		page->counter[0] = page->counter[1] = 1;
		memcpy((uint8_t *)page + RING_PAGE_BYTES, &heads[i], 8);
		page->prod = 128;
		bell_ring(far[2]);
		lane_serves_end_0(1);
		sys_unmap(page, port_bytes(RING));
		(void)finish(state);
		(void)start(state);
	}
}

static void
test_bells_without_end_are_a_lie(void **state)
{
	struct ring_page *page = lie_to_end_0();

	(void)state;
	for (int i = 0; i < 5000 && end[0].lies == 0; i++) {
		bell_ring(far[2]);
		turn(20000);
	}
	lane_serves_end_0(1);
	sys_unmap(page, port_bytes(RING));
}

static void
test_a_bell_that_closes_leaves_the_rest_readable(void **state)
{
	struct ring_page *page = lie_to_end_0();

	(void)state;
	page->counter[0] = page->counter[1] = 1;
	fd_close(&far[2]);
	for (int i = 0; i < 30 && end[0].stalls == 0; i++)
		turn(1000000);
	assert_int_equal(end[0].stalls, 1);
	lane_serves_end_0(0);
	sys_unmap(page, port_bytes(RING));
}

static void
test_one_that_never_reads_what_it_was_ready_for(void **state)
{
	struct ring_page *page = lie_to_end_0();

	(void)state;
	page->counter[0] = 1;
	bell_ring(far[2]);
	turn(2000000);
	assert_int_equal(end[0].be.cross.state, CROSS_ON);
	end[1].gaps = true;
	end[0].sends = 3000;
	send_some(&end[0]);
	for (int i = 0; i < 100 && end[0].stalls == 0; i++)
		turn(1000000);
	assert_int_equal(end[0].stalls, 1);
	/* It waits for what the other has seen; the broker does not. */
	assert_int_equal(end[0].be.cross.state, CROSS_ON);
	tell_uncross(&end[0]);
	turn(2000000);
	assert_int_equal(end[0].uncrossed, 0);
	tell_end(&end[0], true);
	turn(2000000);
	move_all();
	assert_int_equal(end[0].made, 3000);
	assert_int_equal(end[1].seen, 3000);
	assert_int_equal(end[0].ended, 1);
	assert_int_equal(
	    end[0].counts.unread_frames, end[0].counts.sent_frames);
	assert_true(end[0].counts.sent_frames > 100);
	sys_unmap(page, port_bytes(RING));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, finish)
	    TEST(test_a_lie_about_positions_ends_the_crossover_only),
	    TEST(test_a_lie_in_a_record_ends_the_crossover_only),
	    TEST(test_bells_without_end_are_a_lie),
	    TEST(test_a_bell_that_closes_leaves_the_rest_readable),
	    TEST(test_one_that_never_reads_what_it_was_ready_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
