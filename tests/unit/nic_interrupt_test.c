/*
 * nic_interrupt_test.c - when a guest is interrupted: once for a batch, at once
 * for what it waits for, a few times for what it does not, and always at last.
 */
#include "tests/unit/nic_kit.h"

static void
test_the_guest_is_interrupted_once_for_a_batch(void **state)
{
	unsigned i;

	(void)state;
	set_up(FE_FEATURES, 2);
	(void)fe_calls(0); /* of its start */
	for (i = 0; i < 20; i++) {
		fe_post(0, i * 256, 256);
		fill_frame(60, 1);
		assert_true(kit_send(&kit, frame, 60));
	}
	kit_publish(&kit);
	for (i = 0; i < 20; i++)
		(void)fe_used(0, NULL);
	assert_int_equal(fe_calls(0), 1);
	tear_down();
}

static void
test_what_was_sent_interrupts_a_few_times_and_at_last(void **state)
{
	uint64_t all = 0;
	unsigned i;

	(void)state;
	set_up(FE_FEATURES, 2); /* a driver that wants one for each */
	(void)fe_calls(1);      /* of its start */
	fill_frame(60, 1);
	kit.look_ns = NIC_OWED_NS / 20;
	for (i = 0; i < 40; i++) {
		fe_transmit(1, i * 256, frame, 60, NULL);
		(void)fe_used(1, NULL);
		all += fe_calls(1);
	}
	assert_in_range(all, 40 / NIC_OWED, 39);
	/* The last one is told by the clock. */
	kit.look_ns = 0;
	fe_transmit(1, 0, frame, 60, NULL);
	assert_true(kit_until(&kit, is_called, &fe.q[1]));
	tear_down();
}

/* A long frame for the guest, who sees it; interrupts for it so far. */
static uint64_t
receive_long(uint32_t len)
{
	fe_post(0, 0, HEAD + len);
	lane_sends(len, 1);
	assert_int_equal(fe_used(0, NULL), HEAD + len);
	kit_turn(&kit, 0);
	return fe_calls(0);
}

/* As many as make a stream of it; each is told. */
static void
begin_stream(void)
{
	for (unsigned i = 0; i < NIC_LONG_RUN; i++)
		assert_int_equal(receive_long(NIC_LONG), 1);
}

static void
test_a_stream_of_long_frames_interrupts_a_few_times(void **state)
{
	uint64_t all = 0;

	(void)state;
	set_up(FE_FEATURES, 2);
	(void)fe_calls(0); /* of its start */
	kit.look_ns = NIC_OWED_NS / 50;
	begin_stream();
	for (unsigned i = 0; i < 60; i++)
		all += receive_long(20000);
	assert_in_range(all, 60 / NIC_OWED, 50);
	/* The last one is told by the clock. */
	kit.look_ns = 0;
	(void)receive_long(20000);
	(void)receive_long(20000);
	if (the_nic()->rx[0]->owed > 0)
		assert_true(kit_until(&kit, is_called, &fe.q[0]));
	tear_down();
}

static void
test_a_short_frame_is_told_at_once_and_ends_the_stream(void **state)
{
	(void)state;
	set_up(FE_FEATURES, 2);
	(void)fe_calls(0);
	kit.look_ns = NIC_OWED_NS / 50;
	begin_stream();
	(void)receive_long(20000);
	assert_in_range(receive_long(NIC_LONG - 1), 1, 2);
	/* From the beginning. */
	begin_stream();
	tear_down();
}

static void
test_a_guest_without_buffers_is_told_what_it_has(void **state)
{
	struct nic *n;

	(void)state;
	set_up(FE_FEATURES, 2);
	(void)fe_calls(0);
	n = the_nic();
	begin_stream();
	/* Ten minutes: the clock will not do it. */
	timer_set_ns(n->owed, UINT64_C(600000000000));
	assert_int_equal(receive_long(20000), 0);
	lane_sends(20000, 1);
	assert_true(kit_until(&kit, is_called, &fe.q[0]));
	tear_down();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_the_guest_is_interrupted_once_for_a_batch),
	    cmocka_unit_test(
		test_what_was_sent_interrupts_a_few_times_and_at_last),
	    cmocka_unit_test(
		test_a_stream_of_long_frames_interrupts_a_few_times),
	    cmocka_unit_test(
		test_a_short_frame_is_told_at_once_and_ends_the_stream),
	    cmocka_unit_test(test_a_guest_without_buffers_is_told_what_it_has),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
