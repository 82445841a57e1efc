/*
 * lane_test.c - what a lane promises about frames that have room: everybody
 * of the group gets each once and in order, and every frame is counted.
 */
#include <stdio.h>
#include <sys/socket.h>

#include "tests/unit/lane_kit.h"

static void
test_frame_reaches_every_other_port_once(void **state)
{
	(void)state;
	kit_start("aaaa");
	pen_send(1, 5, 100);
	assert_int_equal(kit_run(), LANE_SLEEP);
	for (uint32_t id = 0; id < 4; id++) {
		assert_int_equal(pen_take(id, 100), id == 1 ? 0 : 5);
		assert_int_equal(count(id, LC_RX_FRAMES), id == 1 ? 0 : 5);
		assert_int_equal(count(id, LC_RX_BYTES), id == 1 ? 0 : 500);
	}
	assert_int_equal(count(1, LC_TX_FRAMES), 5);
	assert_int_equal(count(1, LC_TX_BYTES), 500);
	kit_end();
}

static void
test_groups_do_not_hear_each_other(void **state)
{
	(void)state;
	kit_start("abab");
	pen_send(0, 3, 64);
	pen_send(1, 4, 64);
	kit_run();
	assert_int_equal(pen_take(0, 100), 0);
	assert_int_equal(pen_take(1, 100), 0);
	assert_int_equal(pen_take(2, 100), 3);
	assert_int_equal(pen_take(3, 100), 4);
	assert_int_equal(pens[2].got[0], 3);
	assert_int_equal(pens[3].got[1], 4);
	kit_end();
}

static void
test_order_is_kept_for_each_pair_over_many_batches(void **state)
{
	(void)state;
	kit_start("aaa");
	for (unsigned round = 0; round < 200; round++) {
		pen_send(0, 37, 60 + round);
		pen_send(1, 21, 1514);
		kit_run();
		for (uint32_t id = 0; id < 3; id++)
			pen_take(id, 1000); /* frame_check sees to order */
	}
	assert_int_equal(pens[2].got[0], 200 * 37);
	assert_int_equal(pens[2].got[1], 200 * 21);
	assert_int_equal(pens[0].got[1], 200 * 21);
	kit_end();
}

static void
test_frames_of_every_length_arrive_unchanged(void **state)
{
	static const uint32_t lens[] = {32, 33, 39, 40, 41, 63, 64, 65, 1513,
	    1514, 1515, 9000, 65535, 65536, FRAME_BYTES_MAX};

	(void)state;
	kit_start("aa");
	for (unsigned round = 0; round < 50; round++)
		for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
			pen_send(0, 1, lens[i]);
			kit_run();
			assert_int_equal(pen_take(1, 10), 1);
		}
	kit_end();
}

static void
test_shortest_frame_passes(void **state)
{
	struct frame f;

	(void)state;
	kit_start("aa");
	pen_send(0, 2, FRAME_BYTES_MIN);
	kit_run();
	assert_int_equal(ring_next(&pens[1].rx, &f), 1);
	assert_int_equal(f.len, FRAME_BYTES_MIN);
	assert_int_equal(ring_next(&pens[1].rx, &f), 1);
	assert_int_equal(ring_next(&pens[1].rx, &f), 0);
	kit_end();
}

static void
test_alone_in_a_group_means_drained_and_counted(void **state)
{
	(void)state;
	kit_start("ab");
	pen_send(0, 20, 64);
	assert_int_equal(kit_run(), LANE_SLEEP);
	assert_int_equal(count(0, LC_TX_DROP_NO_PEER), 20);
	assert_int_equal(ring_tx_refresh(&pens[0].tx), 0);
	assert_int_equal(ring_tx_backlog(&pens[0].tx), 0);
	/* A port that is added later hears what comes later (QEMU: never). */
	kit_plan("aa");
	pen_send(0, 3, 64);
	kit_run();
	assert_int_equal(pen_take(1, 100), 3);
	kit_end();
}

static void
test_down_link_is_drained_and_hears_nothing(void **state)
{
	(void)state;
	kit_start("aAa");
	pen_send(1, 7, 64);
	pen_send(0, 5, 64);
	kit_run();
	assert_int_equal(count(1, LC_TX_DROP_LINK_DOWN), 7);
	assert_int_equal(count(1, LC_TX_FRAMES), 7);
	assert_int_equal(count(1, LC_RX_FRAMES), 0);
	assert_int_equal(pen_take(1, 100), 0);
	assert_int_equal(pen_take(2, 100), 5);
	assert_int_equal(pens[2].got[1], 0);
	kit_plan("aaa");
	pen_send(1, 2, 64);
	kit_run();
	assert_int_equal(pen_take(2, 100), 2);
	kit_end();
}

static void
test_all_others_down_is_no_peer(void **state)
{
	(void)state;
	kit_start("aAA");
	pen_send(0, 5, 64);
	kit_run();
	assert_int_equal(count(0, LC_TX_DROP_NO_PEER), 5);
	kit_end();
}

static void
test_port_without_plan_is_left_alone(void **state)
{
	(void)state;
	kit_start("a-a");
	pen_send(1, 6, 64);
	kit_run();
	assert_int_equal(count(1, LC_TX_FRAMES), 0);
	kit_plan("aaa");
	kit_run();
	assert_int_equal(pen_take(0, 100), 6);
	assert_int_equal(pen_take(2, 100), 6);
	kit_end();
}

static void
test_plan_is_swapped_whole_or_not_at_all(void **state)
{
	struct plan_port twice[2] = {
	    {.port = 0, .group = 9, .link_up = true},
	    {.port = 0, .group = 8, .link_up = true},
	};

	(void)state;
	kit_start("aab");
	assert_int_equal(lane_plan(lane, 7, twice, 2), -EINVAL);
	assert_int_equal(lane->serial, 1);
	pen_send(0, 2, 64);
	kit_run();
	assert_int_equal(pen_take(1, 100), 2);
	kit_plan("aba");
	pen_send(0, 3, 64);
	kit_run();
	assert_int_equal(pen_take(1, 100), 0);
	assert_int_equal(pen_take(2, 100), 3);
	kit_end();
}

static void
test_plan_of_too_many_ports_is_refused(void **state)
{
	static struct plan_port many[LANE_PORTS_MAX + 1];

	(void)state;
	kit_start("aa");
	for (uint32_t i = 0; i < LANE_PORTS_MAX + 1; i++)
		many[i] = (struct plan_port){.port = 100 + i, .link_up = true};
	assert_int_equal(lane_plan(lane, 2, many, LANE_PORTS_MAX + 1), -ENOSPC);
	assert_int_equal(lane_plan(lane, 2, many, LANE_PORTS_MAX), -ENOSPC);
	assert_int_equal(lane->port_count, 2);
	pen_send(0, 2, 64);
	kit_run();
	assert_int_equal(pen_take(1, 100), 2);
	kit_end();
}

static void
test_frames_for_an_absent_port_are_counted_for_it(void **state)
{
	uint64_t counters[LC_COUNT];

	(void)state;
	kit_start("aaa");
	lane_detach(lane, 1, pens[1].epoch, true, counters);
	pen_send(0, 9, 64);
	kit_run();
	assert_int_equal(pen_take(2, 100), 9);
	assert_int_equal(count(1, LC_RX_DROP_DEAD), 9);
	/* Its next life takes the count over. */
	pen_end(1);
	pen_make(1);
	assert_int_equal(pen_attach(1), 0);
	assert_int_equal(count(1, LC_RX_DROP_DEAD), 9);
	assert_int_equal(pens[1].l_mem->counter[LC_RX_DROP_DEAD], 9);
	pen_send(0, 1, 64);
	kit_run();
	assert_int_equal(pen_take(1, 100), 1);
	kit_end();
}

static void
test_detach_of_the_dead_counts_what_it_did_not_read(void **state)
{
	uint64_t counters[LC_COUNT];

	(void)state;
	kit_start("aa");
	pen_send(0, 50, 200);
	kit_run();
	assert_int_equal(pen_take(1, 20), 20);
	lane_detach(lane, 1, pens[1].epoch, true, counters);
	assert_int_equal(counters[LC_RX_DROP_DEAD], 30);
	assert_int_equal(counters[LC_RX_FRAMES], 20);
	assert_int_equal(counters[LC_RX_BYTES], 20 * 200);
	/* Told once. */
	lane_detach(lane, 1, pens[1].epoch, true, counters);
	assert_int_equal(counters[LC_RX_DROP_DEAD], 0);
	kit_end();
}

static void
test_detach_of_the_dead_survives_a_lying_position(void **state)
{
	static const uint64_t lies[] = {8, 4, 1ull << 40, UINT64_MAX - 7};
	uint64_t counters[LC_COUNT];

	(void)state;
	for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
		kit_start("aa");
		pen_send(0, 50, 200);
		kit_run();
		pens[1].p_mem->cons = lies[i];
		lane_detach(lane, 1, pens[1].epoch, true, counters);
		assert_true(counters[LC_RX_DROP_DEAD] <= 50);
		assert_true(
		    counters[LC_RX_DROP_DEAD] + counters[LC_RX_FRAMES] == 50);
		kit_end();
	}
}

static void
test_detach_of_another_epoch_changes_nothing(void **state)
{
	uint64_t counters[LC_COUNT];

	(void)state;
	kit_start("aa");
	lane_detach(lane, 1, 77, true, counters);
	lane_detach(lane, 55, 1, true, counters);
	assert_true(port(1)->attached);
	assert_int_equal(counters[LC_RX_FRAMES], 0);
	pen_send(0, 3, 64);
	kit_run();
	assert_int_equal(pen_take(1, 100), 3);
	kit_end();
}

static void
test_port_moves_to_another_lane_without_loss(void **state)
{
	struct lane *first;
	uint64_t counters[LC_COUNT];

	(void)state;
	kit_start("aa");
	pen_send(0, 30, 300);
	kit_run();
	pen_send(0, 10, 300); /* not taken before the move */
	first = lane;
	for (uint32_t id = 0; id < 2; id++) {
		lane_detach(first, id, pens[id].epoch, false, counters);
		assert_int_equal(counters[LC_RX_DROP_DEAD], 0);
	}
	lane = lane_new(&kit_ops, NULL);
	assert_int_equal(pen_attach(0), 0);
	assert_int_equal(pen_attach(1), 0);
	kit_plan("aa");
	kit_run();
	assert_int_equal(pen_take(1, 100), 40);
	assert_int_equal(count(1, LC_RX_FRAMES), 40); /* counters moved too */
	lane_free(first);
	kit_end();
}

static void
test_a_flood_at_one_port_does_not_starve_another(void **state)
{
	(void)state;
	kit_start("aaa");
	while (pen_put(0, 64))
		;
	pen_flush(0);
	pen_send(1, 3, 64);
	kit_run();
	/* One batch of the flood went first, at most. */
	assert_true(pen_take(2, 3 + BATCH_FRAMES) == 3 + BATCH_FRAMES);
	assert_int_equal(pens[2].got[1], 3);
	kit_end();
}

static void
test_who_armed_in_a_large_group_is_rung_by_the_end_of_the_turn(void **state)
{
	uint64_t rung[6];

	(void)state;
	kit_start("aaaaaa");
	kit_run();
	for (unsigned i = 1; i < 6; i++) {
		assert_int_equal(ring_arm(&pens[i].rx), 0);
		rung[i] = count(i, LC_BELLS);
	}
	for (unsigned i = 0; i < 3 * BATCH_FRAMES; i++)
		assert_true(pen_put(0, 60));
	pen_flush(0);
	lane_bell(lane, port(0));
	(void)lane_turn(lane);
	for (unsigned i = 1; i < 6; i++) {
		assert_int_equal(count(i, LC_RX_FRAMES), 3 * BATCH_FRAMES);
		assert_int_equal(count(i, LC_BELLS), rung[i] + 1);
	}
	kit_end();
}

static void
test_work_of_one_turn_is_bounded(void **state)
{
	(void)state;
	kit_start("aaaaaa");
	while (pen_put(0, 60))
		;
	pen_flush(0);
	lane_bell(lane, port(0));
	assert_int_equal(lane_turn(lane), 0); /* more to do */
	/* A batch costs one for each of its five deliveries, and two. */
	assert_true(count(0, LC_TX_FRAMES) <=
		    (LANE_BUDGET / 7 + 1) * (uint64_t)BATCH_FRAMES);
	kit_end();
}

static void
test_bell_is_rung_only_when_it_was_armed(void **state)
{
	uint64_t rung;

	(void)state;
	kit_start("aa");
	kit_run();
	assert_int_equal(ring_arm(&pens[1].rx), 0);
	rung = count(1, LC_BELLS);
	pen_send(0, 1, 64);
	kit_run();
	assert_int_equal(count(1, LC_BELLS), rung + 1);
	for (int i = 0; i < 100; i++) {
		pen_send(0, 1, 64);
		kit_run();
	}
	assert_int_equal(count(1, LC_BELLS), rung + 1);
	kit_end();
}

static void
test_an_idle_lane_sleeps_without_a_timer(void **state)
{
	(void)state;
	kit_start("aaaaaa");
	assert_int_equal(kit_run(), LANE_SLEEP);
	pen_send(3, 1, 64);
	assert_int_equal(kit_run(), LANE_SLEEP);
	clock_ns += 3600u * UINT64_C(1000000000);
	assert_int_equal(lane_turn(lane), LANE_SLEEP);
	kit_end();
}

static void
test_the_second_attach_of_a_port_replaces_the_first(void **state)
{
	(void)state;
	kit_start("aa");
	pen_send(0, 5, 64);
	kit_run();
	pen_end(1);
	pen_make(1);
	assert_int_equal(pen_attach(1), 0);
	assert_int_equal(count(1, LC_RX_DROP_DEAD), 5);
	pen_send(0, 5, 64);
	kit_run();
	assert_int_equal(pen_take(1, 100), 5);
	kit_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_frame_reaches_every_other_port_once),
	    cmocka_unit_test(test_groups_do_not_hear_each_other),
	    cmocka_unit_test(
		test_order_is_kept_for_each_pair_over_many_batches),
	    cmocka_unit_test(test_frames_of_every_length_arrive_unchanged),
	    cmocka_unit_test(test_shortest_frame_passes),
	    cmocka_unit_test(test_alone_in_a_group_means_drained_and_counted),
	    cmocka_unit_test(test_down_link_is_drained_and_hears_nothing),
	    cmocka_unit_test(test_all_others_down_is_no_peer),
	    cmocka_unit_test(test_port_without_plan_is_left_alone),
	    cmocka_unit_test(test_plan_is_swapped_whole_or_not_at_all),
	    cmocka_unit_test(test_plan_of_too_many_ports_is_refused),
	    cmocka_unit_test(test_frames_for_an_absent_port_are_counted_for_it),
	    cmocka_unit_test(
		test_detach_of_the_dead_counts_what_it_did_not_read),
	    cmocka_unit_test(test_detach_of_the_dead_survives_a_lying_position),
	    cmocka_unit_test(test_detach_of_another_epoch_changes_nothing),
	    cmocka_unit_test(test_port_moves_to_another_lane_without_loss),
	    cmocka_unit_test(test_a_flood_at_one_port_does_not_starve_another),
	    cmocka_unit_test(
		test_who_armed_in_a_large_group_is_rung_by_the_end_of_the_turn),
	    cmocka_unit_test(test_work_of_one_turn_is_bounded),
	    cmocka_unit_test(test_bell_is_rung_only_when_it_was_armed),
	    cmocka_unit_test(test_an_idle_lane_sleeps_without_a_timer),
	    cmocka_unit_test(
		test_the_second_attach_of_a_port_replaces_the_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
