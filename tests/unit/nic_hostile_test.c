/*
 * nic_hostile_test.c - drivers that break the rules or have odd tastes: each
 * costs itself something, and nobody else.
 */
#include "tests/unit/nic_kit.h"

/* --- broken queues -------------------------------------------------------- */

static void
test_a_broken_queue_concerns_no_other(void **state)
{
	const struct part in = {FE_BUFFERS, 100, true};

	(void)state;
	set_up(FE_FEATURES, 2);
	fill_frame(60, 1);
	fe_transmit(1, 4096, frame, 60, NULL);
	assert_int_equal(next_frame(NULL), 60);
	fe_add(1, &in, 1);
	fe_kick(1);
	fe_barrier();
	kit_turn(&kit, 2);
	assert_true(the_nic()->dev.queue[1].q.broken);
	fe_transmit(1, 4096, frame, 60, NULL);
	fe_post(0, 0, 2048);
	lane_sends(60, 2);
	assert_int_equal(fe_used(0, NULL), HEAD + 60);
	assert_int_equal(kit_counter(&kit, BC_IN_FRAMES), 1);
	assert_true(kit.be.connected);
	tear_down();
}

static void
test_receive_chains_that_cannot_be_written_break_theirs(void **state)
{
	const struct part out = {FE_BUFFERS, 100, false};
	const struct part small = {FE_BUFFERS, HEAD - 1, true};

	(void)state;
	set_up(FE_FEATURES, 2);
	fe_add(0, &out, 1);
	lane_sends(60, 1);
	wait_counter(BC_OUT_DROP_SIZE, 1);
	assert_true(the_nic()->dev.queue[0].q.broken);
	/* Nobody is there to take the next. */
	lane_sends(60, 1);
	wait_counter(BC_OUT_DROP_DISCONNECTED, 1);
	fill_frame(60, 1);
	fe_transmit(1, 4096, frame, 60, NULL);
	assert_int_equal(next_frame(NULL), 60);
	tear_down();
	set_up(FE_FEATURES, 2);
	fe_add(0, &small, 1);
	lane_sends(60, 1);
	wait_counter(BC_OUT_DROP_SIZE, 1);
	assert_true(the_nic()->dev.queue[0].q.broken);
	tear_down();
}

static void
test_a_transmit_chain_shorter_than_its_header_breaks_it(void **state)
{
	const struct part small = {FE_BUFFERS, HEAD - 1, false};

	(void)state;
	set_up(FE_FEATURES, 2);
	fe_add(1, &small, 1);
	fe_kick(1);
	kit_turn(&kit, 3);
	assert_true(the_nic()->dev.queue[1].q.broken);
	tear_down();
}

static void
test_an_index_that_jumps_breaks_its_queue(void **state)
{
	(void)state;
	set_up(FE_FEATURES, 2);
	__atomic_store_n(&fe.q[1].avail->idx, FE_SIZE + 1, __ATOMIC_RELEASE);
	fe_kick(1);
	fe_barrier();
	kit_turn(&kit, 2);
	assert_true(the_nic()->dev.queue[1].q.broken);
	/* A new start is a new chance. */
	fe.q[1].avail->idx = 0;
	fe_queue_start(1);
	fe_barrier();
	fill_frame(60, 1);
	fe_transmit(1, 0, frame, 60, NULL);
	assert_int_equal(next_frame(NULL), 60);
	tear_down();
}

/* --- odd buffers ---------------------------------------------------------- */

/* More small buffers than one frame may take: dropped, not waited for. */
static void
test_a_long_frame_takes_no_hundreds_of_buffers(void **state)
{
	unsigned i;

	(void)state;
	set_up(FE_FEATURES, 2);
	for (i = 0; i < FE_SIZE; i++)
		fe_post(0, i * 512, 512);
	lane_sends(60000, 1);
	wait_counter(BC_OUT_DROP_SIZE, 1);
	assert_false(the_nic()->rx_blocked);
	lane_sends(60, 2);
	assert_int_equal(fe_used(0, NULL), HEAD + 60);
	lane_sends(30000, 3);
	for (i = 0; i < 59; i++)
		(void)fe_used(0, NULL);
	wait_counter(BC_OUT_FRAMES, 2);
	tear_down();
}

static void
test_a_buffer_of_many_parts_is_filled(void **state)
{
	struct part parts[FE_SIZE];
	uint32_t i, at = 0;

	(void)state;
	set_up(FE_FEATURES, 2);
	for (i = 0; i < FE_SIZE; i++) {
		parts[i] = (struct part){FE_BUFFERS + at, 1 + i, true};
		at += 1 + i;
	}
	fe_add(0, parts, FE_SIZE);
	for (i = 0; i < 2000; i++)
		frame[i] = (uint8_t)(i * 3);
	memcpy(frame, "\x52\x54\x00\x12\x34\x56", 6);
	assert_true(kit_send(&kit, frame, 2000));
	kit_publish(&kit);
	assert_int_equal(fe_used(0, NULL), HEAD + 2000);
	assert_memory_equal(fe.mem + FE_BUFFERS + HEAD, frame, 2000);
	tear_down();
}

static void
test_buffers_of_all_sizes_in_one_frame(void **state)
{
	uint32_t i, done = 0, some;

	(void)state;
	set_up(FE_FEATURES, 2);
	for (i = 0; i < 20; i++)
		fe_post(0, i * 2048, HEAD + i * 97);
	for (i = 0; i < 9000; i++)
		frame[i] = (uint8_t)(i * 5);
	memcpy(frame, "\x52\x54\x00\x12\x34\x56", 6);
	assert_true(kit_send(&kit, frame, 9000));
	kit_publish(&kit);
	for (i = 0; done < 9000; i++) {
		some = fe_used(0, NULL) - (i == 0 ? HEAD : 0);
		assert_memory_equal(
		    fe.mem + FE_BUFFERS + i * 2048 + (i == 0 ? HEAD : 0),
		    frame + done, some);
		done += some;
	}
	assert_int_equal(done, 9000);
	assert_int_equal(fe.mem[FE_BUFFERS + 10], i);
	tear_down();
}

/* --- at odd times --------------------------------------------------------- */

static void
test_a_queue_that_stops_and_starts_goes_on(void **state)
{
	uint32_t reply[2];

	(void)state;
	set_up(FE_FEATURES, 2);
	lane_sends(60, 1);
	kit_turn(&kit, 2);
	assert_true(the_nic()->rx_blocked);
	fe_send_state(VHOST_GET_VRING_BASE, 0, 0);
	fe_reply(VHOST_GET_VRING_BASE, reply, sizeof reply);
	/* Nobody is there: it does not wait. */
	wait_counter(BC_OUT_DROP_DISCONNECTED, 1);
	fe_queue_start(0);
	fe_barrier();
	fe_post(0, 0, 2048);
	lane_sends(60, 2);
	assert_int_equal(fe_used(0, NULL), HEAD + 60);
	tear_down();
}

/* The memory may be given anew at any time. */
static void
test_memory_is_exchanged_under_way(void **state)
{
	unsigned i;

	(void)state;
	set_up(FE_FEATURES, 2);
	for (i = 0; i < 20; i++) {
		fill_frame(60, (uint8_t)i);
		fe_transmit(1, 0, frame, 60, NULL);
		fe_memory();
		fe_post(0, 4096, 256);
		assert_int_equal(next_frame(NULL), 60);
		assert_int_equal(got[20], i);
		lane_sends(60, (uint8_t)i);
		assert_int_equal(fe_used(0, NULL), HEAD + 60);
		(void)fe_used(1, NULL);
	}
	tear_down();
}

/* Without a lane that drains, and then without a link: its frames are taken. */
static void
test_a_link_that_goes_down_takes_what_the_ring_does_not(void **state)
{
	unsigned i;

	(void)state;
	set_up(FE_FEATURES, 2);
	fill_frame(60000, 1);
	for (i = 0; i < 40; i++)
		fe_transmit(1, i * 61440, frame, 60000, NULL);
	kit_turn(&kit, 5);
	assert_true(the_nic()->tx_full);
	backend_type.link(kit.be.self, false);
	while (fe.q[1].seen < 40)
		(void)fe_used(1, NULL);
	assert_int_equal(kit_counter(&kit, BC_IN_FRAMES) +
			     kit_counter(&kit, BC_IN_DROP_LINK),
	    40);
	tear_down();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_broken_queue_concerns_no_other),
	    cmocka_unit_test(
		test_receive_chains_that_cannot_be_written_break_theirs),
	    cmocka_unit_test(
		test_a_transmit_chain_shorter_than_its_header_breaks_it),
	    cmocka_unit_test(test_an_index_that_jumps_breaks_its_queue),
	    cmocka_unit_test(test_a_long_frame_takes_no_hundreds_of_buffers),
	    cmocka_unit_test(test_a_buffer_of_many_parts_is_filled),
	    cmocka_unit_test(test_buffers_of_all_sizes_in_one_frame),
	    cmocka_unit_test(test_a_queue_that_stops_and_starts_goes_on),
	    cmocka_unit_test(test_memory_is_exchanged_under_way),
	    cmocka_unit_test(
		test_a_link_that_goes_down_takes_what_the_ring_does_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
