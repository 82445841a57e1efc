/*
 * lane_filter_test.c - receive filters in the lane: what a port does not want
 * is counted, not copied, and holds nobody.
 */
#include <stdio.h>

#include "broker/lane_filter.h"
#include "tests/unit/lane_kit.h"

/* A filter that takes what pen `from` sends, and nothing else. */
static struct rx_filter
only(uint32_t from)
{
	return (struct rx_filter){.known = true, .mac = pen_mac(from)};
}

static void
set(uint32_t id, const struct rx_filter *f)
{
	lane_filter_set(lane, id, pens[id].epoch, f);
}

static void
test_unwanted_frames_are_counted_and_not_copied(void **state)
{
	const struct rx_filter f = only(0);

	(void)state;
	kit_start("aaa");
	set(2, &f);
	pen_send(0, 10, 100);
	pen_send(1, 20, 100);
	kit_run();
	assert_int_equal(pen_take(2, 100), 10);
	assert_int_equal(pens[2].got[0], 10);
	assert_int_equal(pens[2].got[1], 0);
	assert_int_equal(count(2, LC_RX_FRAMES), 10);
	assert_int_equal(count(2, LC_RX_BYTES), 1000);
	assert_int_equal(count(2, LC_RX_FILTERED), 20);
	/* The others hear all. */
	assert_int_equal(pen_take(0, 100), 20);
	assert_int_equal(pen_take(1, 100), 10);
	kit_end();
}

/* One batch in which wanted and unwanted frames take turns. */
static void
test_a_mixed_batch_keeps_its_order(void **state)
{
	const struct rx_filter f = only(5);
	uint8_t *room = NULL;

	(void)state;
	kit_start("aa");
	set(1, &f);
	for (unsigned i = 0; i < 60; i++) {
		assert_int_equal(ring_reserve(&pens[0].tx, 200, &room), 1);
		frame_fill(room, 0, i, 200);
		room[5] = i % 3 == 0 ? 5 : 6;
		ring_commit(&pens[0].tx, 200);
	}
	pen_flush(0);
	kit_run();
	for (unsigned i = 0; i < 20; i++) {
		struct frame got = {0};
		struct mark m;

		assert_int_equal(ring_next(&pens[1].rx, &got), 1);
		memcpy(&m, got.data, sizeof m);
		assert_int_equal(m.seq, 3 * i);
	}
	assert_int_equal(count(1, LC_RX_FRAMES), 20);
	assert_int_equal(count(1, LC_RX_FILTERED), 40);
	kit_end();
}

static void
test_what_a_full_port_does_not_want_holds_nobody(void **state)
{
	const struct rx_filter f = only(0);

	(void)state;
	kit_start("aaa"); /* 1 wants only what 0 sends, and never reads */
	set(1, &f);
	do {
		while (pen_put(0, 1500))
			;
		pen_flush(0);
		kit_run();
		pen_take(2, 100000);
	} while (!port(1)->holding);
	/* 0 waits for port 1; what 2 sends is nothing to it. */
	assert_int_equal(port(0)->state, LP_HELD);
	for (unsigned i = 0; i < 50; i++) {
		pen_send(2, 10, 1500);
		kit_run();
		assert_int_not_equal(port(2)->state, LP_HELD);
		pen_take(0, 100000);
	}
	assert_int_equal(count(1, LC_RX_FILTERED), 500);
	assert_int_equal(count(1, LC_RX_DROP_FULL), 0);
	assert_int_equal(count(0, LC_RX_FRAMES), 500);
	kit_end();
}

/* Of a batch only the wanted part must fit, and the limit is found there. */
static void
test_a_held_batch_goes_on_where_it_stopped(void **state)
{
	const struct rx_filter f = only(5);
	uint64_t sent = 0, wanted = 0, taken = 0;
	uint8_t *room = NULL;

	(void)state;
	kit_start("aa");
	set(1, &f);
	for (unsigned round = 0; round < 3000; round++) {
		while (sent < 20000 &&
		       ring_reserve(&pens[0].tx, 1500, &room) == 1) {
			frame_fill(room, 0, sent, 1500);
			room[5] = sent % 2 == 0 ? 5 : 6;
			wanted += sent++ % 2 == 0;
			ring_commit(&pens[0].tx, 1500);
		}
		pen_flush(0);
		kit_run();
		for (unsigned i = 0; i < 7; i++) {
			struct frame got = {0};
			struct mark m;

			if (ring_next(&pens[1].rx, &got) != 1)
				break;
			memcpy(&m, got.data, sizeof m);
			assert_int_equal(m.seq, 2 * taken++);
		}
		if (ring_release(&pens[1].rx))
			bell_ring(pens[1].bell);
		kit_run();
	}
	assert_int_equal(sent, 20000);
	assert_int_equal(taken, wanted);
	assert_int_equal(count(1, LC_RX_FILTERED), sent - wanted);
	assert_int_equal(count(1, LC_RX_DROP_FULL), 0);
	kit_end();
}

static void
test_a_filter_belongs_to_one_life_of_a_port(void **state)
{
	uint64_t counters[LC_COUNT];
	const struct rx_filter f = only(5);

	(void)state;
	kit_start("aa");
	/* Of another epoch, of a port that is not there: nothing. */
	lane_filter_set(lane, 1, pens[1].epoch + 1, &f);
	lane_filter_set(lane, 77, 1, &f);
	pen_send(0, 1, 100);
	kit_run();
	assert_int_equal(pen_take(1, 10), 1);
	set(1, &f);
	pen_send(0, 1, 100);
	kit_run();
	assert_int_equal(pen_take(1, 10), 0);
	lane_detach(lane, 1, pens[1].epoch, false, counters);
	assert_int_equal(pen_attach(1), 0);
	pen_send(0, 1, 100);
	kit_run();
	assert_int_equal(pen_take(1, 10), 1);
	assert_int_equal(count(1, LC_RX_FILTERED), 1);
	kit_end();
}

static void
test_a_filter_that_takes_everything_is_none(void **state)
{
	struct rx_filter f = only(5);

	(void)state;
	kit_start("aa");
	set(1, &f);
	assert_non_null(port(1)->filter);
	f.promisc = true;
	set(1, &f);
	assert_null(port(1)->filter);
	f = only(5);
	set(1, &f);
	/* What the card's address is says nothing before its driver does. */
	f.known = false;
	set(1, &f);
	assert_null(port(1)->filter);
	f = only(5);
	set(1, &f);
	set(1, NULL);
	assert_null(port(1)->filter);
	pen_send(0, 1, 100);
	kit_run();
	assert_int_equal(pen_take(1, 10), 1);
	kit_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_unwanted_frames_are_counted_and_not_copied),
	    cmocka_unit_test(test_a_mixed_batch_keeps_its_order),
	    cmocka_unit_test(test_what_a_full_port_does_not_want_holds_nobody),
	    cmocka_unit_test(test_a_held_batch_goes_on_where_it_stopped),
	    cmocka_unit_test(test_a_filter_belongs_to_one_life_of_a_port),
	    cmocka_unit_test(test_a_filter_that_takes_everything_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
