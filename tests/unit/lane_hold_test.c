/*
 * lane_hold_test.c - back-pressure: lossless among those who drain, lossy for
 * those who do not, and nobody can hold a hub.
 */
#include <stdio.h>
#include <sys/socket.h>

#include "tests/unit/lane_kit.h"

#define MS UINT64_C(1000000)

/* Keep sending until the lane takes no more of it and the ring is full. */
static uint64_t
fill(uint32_t id, uint32_t len)
{
	uint64_t before = pens[id].sent;

	do {
		while (pen_put(id, len))
			;
		pen_flush(id);
		kit_run();
	} while (pen_put(id, len));
	pen_flush(id);
	return pens[id].sent - before;
}

static void
run_at(uint64_t later_ns)
{
	clock_ns += later_ns;
	kit_run();
}

static void
test_source_is_held_while_a_full_receiver_has_patience(void **state)
{
	uint64_t sent, got = 0;

	(void)state;
	kit_start("aa");
	sent = fill(0, 1000);
	assert_true(port(1)->holding);
	assert_int_equal(port(0)->state, LP_HELD);
	assert_int_equal(count(1, LC_RX_DROP_FULL), 0);
	/* The alarm is set for the end of the patience, and nothing else. */
	assert_int_equal(kit_run(), LANE_PATIENCE_NS);
	clock_ns += LANE_PATIENCE_NS / 2;
	while (got < sent) {
		unsigned n = pen_take(1, 50);

		got += n;
		kit_run();
		if (n == 0)
			break;
	}
	assert_int_equal(got, sent);
	assert_int_equal(count(1, LC_RX_DROP_FULL), 0);
	assert_int_equal(count(1, LC_HELD_NS), LANE_PATIENCE_NS / 2);
	assert_int_equal(kit_run(), LANE_SLEEP);
	kit_end();
}

static void
test_fast_receiver_loses_nothing_beside_a_stalled_one(void **state)
{
	uint64_t got = 0, first;

	(void)state;
	kit_start("aaa"); /* 0 sends, 1 is fast, 2 never reads */
	for (unsigned round = 0; round < 2000; round++) {
		pen_send(0, 10, 1500);
		kit_run();
		got += pen_take(1, 1000);
		if (port(0)->state == LP_HELD)
			run_at(MS);
		got += pen_take(1, 1000);
	}
	assert_int_equal(got, 20000);
	assert_int_equal(count(1, LC_RX_DROP_FULL), 0);
	/* The stalled one has the first frames, without a gap. */
	first = pen_take(2, 1000000);
	assert_true(first > 100);
	assert_int_equal(pens[2].next[0], first);
	assert_int_equal(count(2, LC_RX_FRAMES), first);
	assert_int_equal(count(2, LC_RX_DROP_FULL), 20000 - first);
	/* And it held the hub for its patience, once. */
	assert_int_equal(count(2, LC_HELD_NS), LANE_PATIENCE_NS);
	assert_int_equal(count(1, LC_HELD_NS), 0);
	kit_end();
}

static void
test_a_dead_receiver_costs_its_patience_once(void **state)
{
	(void)state;
	kit_start("aa");
	fill(0, 1500);
	run_at(LANE_PATIENCE_NS - 1);
	assert_int_equal(port(0)->state, LP_HELD);
	run_at(1);
	assert_int_not_equal(port(0)->state, LP_HELD);
	for (int i = 0; i < 1000; i++) {
		pen_send(0, 5, 1500);
		assert_int_equal(kit_run(), LANE_SLEEP);
		clock_ns += MS;
	}
	assert_int_equal(count(1, LC_HELD_NS), LANE_PATIENCE_NS);
	assert_int_equal(count(0, LC_TX_FRAMES),
	    count(1, LC_RX_FRAMES) + count(1, LC_RX_DROP_FULL));
	kit_end();
}

static void
test_a_dripper_costs_its_patience_once_in_half_a_ring(void **state)
{
	uint64_t refills, drained = 0;

	(void)state;
	kit_start("aa");
	fill(0, 1000);
	for (int i = 0; i < 3000; i++) {
		drained += pen_take(1, 1);
		run_at(MS); /* a frame now and then */
		while (pen_put(0, 1000))
			;
		pen_flush(0);
		kit_run();
	}
	refills = drained * 1008 / (KIT_BYTES / 2);
	assert_true(refills > 10);
	assert_true(count(1, LC_HELD_NS) <= (refills + 1) * LANE_PATIENCE_NS);
	assert_true(count(1, LC_RX_DROP_FULL) > 0);
	kit_end();
}

static void
test_a_receiver_that_drains_half_gets_its_patience_back(void **state)
{
	(void)state;
	kit_start("aa");
	for (int i = 0; i < 100; i++) {
		unsigned got = 0;

		fill(0, 1000);
		assert_int_equal(port(0)->state, LP_HELD);
		run_at(4 * MS); /* nearly used up, each time */
		while (got < KIT_BYTES / 2 / 1008 + 1)
			got += pen_take(1, 1);
		kit_run();
		assert_int_not_equal(port(1)->patience_ns, MS);
	}
	assert_int_equal(count(1, LC_RX_DROP_FULL), 0);
	assert_true(count(1, LC_HELD_NS) >= 400 * MS);
	kit_end();
}

/* Port 1 drains half its ring in a patience and a half, `others` with it; what
 * it lost. */
static uint64_t
lost_by_a_slow_one(bool others)
{
	uint64_t lost;

	kit_start("aaa");
	for (int i = 0; i < 100; i++) {
		unsigned got = 0;

		fill(0, 1000);
		if (!others)
			pen_take(2, 1000);
		run_at(4 * MS);
		while (got < KIT_BYTES / 3 / 1008) {
			got += pen_take(1, 1);
			pen_take(2, 1);
		}
		kit_run();
	}
	lost = count(1, LC_RX_DROP_FULL);
	kit_end();
	return lost;
}

static void
test_those_who_are_behind_share_what_is_charged(void **state)
{
	(void)state;
	assert_true(lost_by_a_slow_one(false) > 0);
	assert_int_equal(lost_by_a_slow_one(true), 0);
}

/* Ports 2 and 3 are dead; that gives 1, which drips, no time. */
static void
test_who_cannot_pay_is_no_excuse(void **state)
{
	uint64_t refills, drained = 0;

	(void)state;
	kit_start("aaaa");
	for (int i = 0; i < 2000; i++) {
		drained += pen_take(1, 1);
		run_at(MS);
		while (pen_put(0, 1000))
			;
		pen_flush(0);
		kit_run();
	}
	refills = drained * 1008 / (KIT_BYTES / 2);
	assert_true(count(1, LC_HELD_NS) + count(2, LC_HELD_NS) <=
		    (refills + 4) * LANE_PATIENCE_NS);
	assert_int_equal(port(2)->patience_ns, 0);
	assert_int_equal(port(3)->patience_ns, 0);
	assert_true(count(1, LC_RX_DROP_FULL) > 0);
	kit_end();
}

static void
test_our_own_lateness_is_not_held_against_a_receiver(void **state)
{
	(void)state;
	kit_start("aa");
	fill(0, 1000);
	pen_take(1, 100000);
	/* Its bell and our alarm come late, both at once. */
	run_at(50 * MS);
	assert_int_equal(port(1)->patience_ns, LANE_PATIENCE_NS);
	assert_int_equal(count(1, LC_RX_DROP_FULL), 0);
	pen_take(1, 100000);
	assert_int_equal(count(1, LC_RX_DROP_FULL), 0);
	kit_end();
}

static void
test_a_bell_without_draining_does_not_prolong_a_hold(void **state)
{
	(void)state;
	kit_start("aa");
	fill(0, 1000);
	for (int i = 0; i < 10; i++) {
		bell_ring(pens[1].bell);
		run_at(LANE_PATIENCE_NS / 10);
	}
	assert_int_not_equal(port(0)->state, LP_HELD);
	assert_int_equal(count(1, LC_HELD_NS), LANE_PATIENCE_NS);
	assert_int_equal(faults, 0);
	kit_end();
}

static void
test_drop_flag_means_that_nobody_waits(void **state)
{
	(void)state;
	kit_start("aa!a");
	for (int i = 0; i < 1000; i++) {
		pen_send(0, 10, 1000);
		assert_int_equal(kit_run(), LANE_SLEEP);
		pen_take(2, 1000);
	}
	assert_int_equal(count(1, LC_HELD_NS), 0);
	assert_true(count(1, LC_RX_DROP_FULL) > 5000);
	assert_int_equal(pens[2].got[0], 10000);
	kit_end();
}

static void
test_held_frame_reaches_all_receivers_once(void **state)
{
	uint64_t sent = 0;

	(void)state;
	/* 1 and 2 drain at different times, so that the head of the batch is
	 * held for the one and then for the other. frame_check sees doubles. */
	kit_start("aaaa");
	for (unsigned round = 0; round < 3000; round++) {
		for (int i = 0; i < 20 && pen_put(0, 100 + round % 1400); i++)
			sent++;
		for (int i = 0; i < 7 && pen_put(3, 700); i++)
			sent++;
		pen_flush(0);
		pen_flush(3);
		kit_run();
		clock_ns += MS / 100;
		if (round % 40 == 10)
			pen_take(1, 100000);
		if (round % 40 == 30)
			pen_take(2, 100000);
		pen_take(0, 100000);
		pen_take(3, 100000);
	}
	for (int i = 0; i < 100; i++) {
		kit_run();
		for (uint32_t id = 0; id < 4; id++)
			pen_take(id, 100000);
	}
	for (uint32_t id = 1; id < 3; id++) {
		assert_int_equal(count(id, LC_RX_DROP_FULL), 0);
		assert_int_equal(pens[id].got[0] + pens[id].got[3], sent);
	}
	assert_true(count(1, LC_HELD_NS) > 0);
	assert_true(count(2, LC_HELD_NS) > 0);
	kit_end();
}

static void
test_only_the_receiver_that_others_wait_for_is_charged(void **state)
{
	(void)state;
	kit_start("aaa");
	fill(0, 1000);
	pen_take(2, 100000); /* 2 is as full as 1 was: now it is not */
	run_at(2 * MS);
	assert_int_equal(port(0)->state, LP_HELD);
	assert_false(port(2)->holding);
	run_at(3 * MS);
	assert_int_equal(count(1, LC_HELD_NS), LANE_PATIENCE_NS);
	assert_true(count(2, LC_HELD_NS) <= 2 * MS);
	kit_end();
}

static void
test_other_groups_do_not_wait(void **state)
{
	(void)state;
	kit_start("aabb");
	fill(0, 1000);
	for (int i = 0; i < 100; i++) {
		pen_send(2, 10, 64);
		kit_run();
		assert_int_equal(pen_take(3, 100), 10);
	}
	assert_int_equal(port(0)->state, LP_HELD);
	kit_end();
}

static void
test_hold_ends_when_the_receiver_goes(void **state)
{
	uint64_t counters[LC_COUNT];

	(void)state;
	kit_start("aaa");
	fill(0, 1000);
	pen_take(2, 100000);
	lane_detach(lane, 1, pens[1].epoch, true, counters);
	assert_int_equal(kit_run(), LANE_SLEEP);
	assert_true(pen_take(2, 100000) > 0);
	assert_int_equal(port(0)->state, LP_IDLE);
	kit_end();
}

static void
test_hold_ends_with_a_new_plan(void **state)
{
	(void)state;
	kit_start("aaa");
	fill(0, 1000);
	pen_take(2, 100000);
	kit_plan("aba");
	assert_int_equal(kit_run(), LANE_SLEEP);
	assert_true(pen_take(2, 100000) > 0);
	assert_int_equal(count(1, LC_RX_DROP_FULL), 0);
	kit_end();
}

static void
test_held_source_can_be_detached_without_loss(void **state)
{
	uint64_t counters[LC_COUNT], sent, got;

	(void)state;
	kit_start("aa");
	sent = fill(0, 1000);
	lane_detach(lane, 0, pens[0].epoch, false, counters);
	got = pen_take(1, 100000);
	kit_run();
	assert_int_equal(pen_attach(0), 0);
	for (int i = 0; i < 100; i++) {
		kit_run();
		got += pen_take(1, 100000);
	}
	assert_int_equal(got, sent);
	kit_end();
}

static void
test_stall_is_told_once_until_something_is_drained(void **state)
{
	(void)state;
	kit_start("aa");
	fill(0, 1000);
	run_at(LANE_PATIENCE_NS - 1);
	assert_int_equal(stalls, 0);
	run_at(1);
	assert_int_equal(stalls, 1);
	for (int i = 0; i < 100; i++) {
		pen_send(0, 1, 1000);
		run_at(100 * MS);
	}
	assert_int_equal(stalls, 1);
	/* It drains and stops again: another suspicion. */
	pen_take(1, 1);
	pen_send(0, 100, 1000);
	run_at(MS);
	pen_send(0, 1, 1000);
	run_at(MS);
	assert_int_equal(stalls, 1);
	pen_send(0, 1, 1000);
	run_at(LANE_PATIENCE_NS);
	assert_int_equal(stalls, 2);
	kit_end();
}

static void
test_a_dripper_is_not_suspected_more_than_once_a_second(void **state)
{
	(void)state;
	kit_start("aa!");
	pen_send(0, KIT_BYTES / 1008, 1000);
	kit_run();
	for (int i = 0; i < 500; i++) { /* 5 seconds */
		pen_take(1, 1);
		pen_send(0, 20, 1000);
		run_at(6 * MS);
		pen_send(0, 1, 1000);
		run_at(4 * MS);
	}
	assert_true(stalls <= 6);
	kit_end();
}

static void
test_an_idle_receiver_is_not_suspected_at_its_first_burst(void **state)
{
	(void)state;
	kit_start("aa");
	pen_send(0, 10, 1000);
	kit_run();
	pen_take(1, 100);
	clock_ns += 3600000 * MS;
	fill(0, 1000);
	assert_true(port(1)->holding);
	assert_int_equal(stalls, 0);
	pen_take(1, 100000);
	run_at(4 * MS);
	assert_int_equal(stalls, 0);
	kit_end();
}

static void
test_longest_frames_wait_for_room_too(void **state)
{
	uint64_t sent = 0, got = 0;

	(void)state;
	kit_start("aa");
	for (int i = 0; i < 500; i++) {
		if (pen_put(0, FRAME_BYTES_MAX - (uint32_t)i))
			sent++;
		pen_flush(0);
		kit_run();
		clock_ns += MS;
		if (i % 2)
			got += pen_take(1, 1);
	}
	for (int i = 0; i < 20; i++) {
		got += pen_take(1, 1);
		kit_run();
	}
	assert_int_equal(got, sent);
	assert_int_equal(count(1, LC_RX_DROP_FULL), 0);
	kit_end();
}

static void
test_rewound_rings_lose_nothing_and_give_no_patience(void **state)
{
	(void)state;
	kit_start("aaa");
	lane->footprint_bytes = 0;
	/* A light stream stays in the first quarter of the ring and a bit. */
	for (int i = 0; i < 5000; i++) {
		pen_send(0, 20, 300);
		kit_run();
		assert_int_equal(pen_take(1, 1000), 20);
		assert_int_equal(pen_take(2, 1000), 20);
		assert_true((port(1)->out.pos & (KIT_BYTES - 1)) <=
			    KIT_BYTES / 4 + 6240);
	}
	/* A dead one still costs its patience once: what was skipped does not
	 * count as drained. */
	for (int i = 0; i < 1000; i++) {
		pen_send(0, 5, 1500);
		kit_run();
		pen_take(1, 1000);
		clock_ns += MS;
	}
	for (int i = 0; i < 100; i++) {
		clock_ns += MS;
		kit_run();
		pen_take(1, 1000);
	}
	assert_int_equal(count(2, LC_HELD_NS), LANE_PATIENCE_NS);
	assert_int_equal(pens[1].got[0], 105000);
	kit_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		test_source_is_held_while_a_full_receiver_has_patience),
	    cmocka_unit_test(
		test_fast_receiver_loses_nothing_beside_a_stalled_one),
	    cmocka_unit_test(test_a_dead_receiver_costs_its_patience_once),
	    cmocka_unit_test(
		test_a_dripper_costs_its_patience_once_in_half_a_ring),
	    cmocka_unit_test(
		test_a_receiver_that_drains_half_gets_its_patience_back),
	    cmocka_unit_test(test_those_who_are_behind_share_what_is_charged),
	    cmocka_unit_test(test_who_cannot_pay_is_no_excuse),
	    cmocka_unit_test(
		test_our_own_lateness_is_not_held_against_a_receiver),
	    cmocka_unit_test(
		test_a_bell_without_draining_does_not_prolong_a_hold),
	    cmocka_unit_test(test_drop_flag_means_that_nobody_waits),
	    cmocka_unit_test(test_held_frame_reaches_all_receivers_once),
	    cmocka_unit_test(
		test_only_the_receiver_that_others_wait_for_is_charged),
	    cmocka_unit_test(test_other_groups_do_not_wait),
	    cmocka_unit_test(test_hold_ends_when_the_receiver_goes),
	    cmocka_unit_test(test_hold_ends_with_a_new_plan),
	    cmocka_unit_test(test_held_source_can_be_detached_without_loss),
	    cmocka_unit_test(
		test_stall_is_told_once_until_something_is_drained),
	    cmocka_unit_test(
		test_a_dripper_is_not_suspected_more_than_once_a_second),
	    cmocka_unit_test(
		test_an_idle_receiver_is_not_suspected_at_its_first_burst),
	    cmocka_unit_test(test_longest_frames_wait_for_room_too),
	    cmocka_unit_test(
		test_rewound_rings_lose_nothing_and_give_no_patience),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
