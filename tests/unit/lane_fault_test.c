/*
 * lane_fault_test.c - a port's process lies in its memory or about its bell:
 * it is let go of at once with a reason, and its neighbours lose nothing.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "tests/unit/lane_kit.h"

/* Frames still go from 1 to 2 and back, whatever 0 did. */
static void
neighbours_are_well(void)
{
	uint64_t got = pens[2].got[1];

	assert_false(port(0)->attached);
	for (int i = 0; i < 10; i++) {
		pen_send(1, 10, 100);
		kit_run();
		pen_take(2, 1000);
	}
	assert_int_equal(pens[2].got[1], got + 100);
	assert_true(count(0, LC_RX_DROP_DEAD) >= 100);
	assert_true(port(1)->attached && port(2)->attached);
}

static void
fault_is(const char *reason)
{
	assert_int_equal(faults, 1);
	assert_int_equal(fault_port, 0);
	assert_string_equal(fault_reason, reason);
	neighbours_are_well();
	assert_int_equal(faults, 1);
	kit_end();
}

/* --- the ring that it writes -----------------------------------------------
 */

static void
lie_in_prod(uint64_t prod)
{
	kit_start("aaa");
	pen_send(0, 10, 100);
	kit_run();
	pen_take(1, 100);
	pen_take(2, 100);
	__atomic_store_n(&pens[0].p_mem->prod, prod, __ATOMIC_RELEASE);
	bell_ring(pens[0].bell);
	kit_run();
	assert_int_equal(pen_take(1, 100), 0);
	fault_is("tx-ring");
}

static void
test_prod_that_lies_is_a_fault(void **state)
{
	uint64_t pos = 10 * ring_record_bytes(100);

	(void)state;
	lie_in_prod(pos + KIT_BYTES + 8);
	lie_in_prod(pos + 4);
	lie_in_prod(pos - 8);
	lie_in_prod(0);
	lie_in_prod(UINT64_MAX);
	lie_in_prod(UINT64_MAX - 7);
	lie_in_prod(UINT64_C(1) << 63);
}

/* What stands behind the head. */
static struct frame_meta meta_word;

/* A record with this head, and `bytes` published from there on. */
static void
lie_in_head(uint64_t head, uint64_t bytes)
{
	uint64_t at;

	kit_start("aaa");
	pen_send(0, 3, 100);
	kit_run();
	pen_take(1, 100);
	pen_take(2, 100);
	at = pens[0].tx.pos;
	memcpy((uint8_t *)pens[0].p_mem + RING_PAGE_BYTES + at, &head, 8);
	memcpy(
	    (uint8_t *)pens[0].p_mem + RING_PAGE_BYTES + at + 8, &meta_word, 8);
	__atomic_store_n(&pens[0].p_mem->prod, at + bytes, __ATOMIC_RELEASE);
	bell_ring(pens[0].bell);
	kit_run();
	assert_int_equal(pen_take(1, 100), 0);
	assert_int_equal(count(1, LC_RX_FRAMES), 3);
	fault_is("tx-ring");
}

static void
test_record_that_lies_is_a_fault(void **state)
{
	(void)state;
	lie_in_head(0, 64);
	lie_in_head(1, 64);
	lie_in_head(FRAME_BYTES_MIN - 1, 64);
	lie_in_head(FRAME_BYTES_MAX + 1, 128 << 10);
	lie_in_head(UINT32_MAX, 64);
	lie_in_head(100, 64);               /* ends behind prod */
	lie_in_head(60, 64);                /* 72 bytes of 64 */
	lie_in_head(UINT64_C(1) << 32, 64); /* a pad in the middle */
	lie_in_head((UINT64_C(1) << 32) | 56, 64);
	lie_in_head((UINT64_C(4) << 32) | 50, 64);  /* unknown flag */
	lie_in_head((UINT64_C(12) << 48) | 50, 64); /* metadata */
	lie_in_head(UINT64_MAX, 64);
}

static void
test_metadata_that_lies_is_a_fault(void **state)
{
	const uint64_t head = UINT64_C(2) << 32 | UINT64_C(8) << 48 | 1000;

	(void)state;
	lie_in_head(head, 1016); /* there is none */
	meta_word = (struct frame_meta){.flags = 0x80};
	lie_in_head(head, 1016);
	meta_word = (struct frame_meta){
	    .flags = META_NEEDS_CSUM, .csum_start = 990, .csum_offset = 9};
	lie_in_head(head, 1016);
	meta_word = (struct frame_meta){.gso_type = META_GSO_TCPV4};
	lie_in_head(head, 1016);
	meta_word = (struct frame_meta){.flags = META_DATA_VALID};
	lie_in_head(head, 1008); /* ends behind prod */
	memset(&meta_word, 0, sizeof meta_word);
}

static void
test_lie_behind_good_frames_delivers_nothing_of_that_batch(void **state)
{
	uint64_t head = 7, at;

	(void)state;
	kit_start("aaa");
	for (int i = 0; i < 5; i++)
		pen_put(0, 100);
	at = pens[0].tx.pos;
	memcpy((uint8_t *)pens[0].p_mem + RING_PAGE_BYTES + at, &head, 8);
	memcpy(
	    (uint8_t *)pens[0].p_mem + RING_PAGE_BYTES + at + 8, &meta_word, 8);
	__atomic_store_n(&pens[0].p_mem->prod, at + 64, __ATOMIC_RELEASE);
	bell_ring(pens[0].bell);
	kit_run();
	assert_int_equal(pen_take(1, 100), 0);
	fault_is("tx-ring");
}

static void
test_length_that_changes_after_the_look_reaches_nobody(void **state)
{
	struct frame f;

	(void)state;
	kit_start("aaa");
	/* Held: the head was read, nothing of it was given to anybody. */
	do {
		while (pen_put(0, 1000))
			;
		pen_flush(0);
		kit_run();
		pen_take(2, 100000);
	} while (port(0)->state != LP_HELD);
	memset((uint8_t *)pens[0].p_mem + RING_PAGE_BYTES, 0xff, KIT_BYTES);
	while (ring_next(&pens[1].rx, &f) == 1)
		assert_int_equal(f.len, 1000);
	ring_release(&pens[1].rx);
	bell_ring(pens[1].bell);
	kit_run();
	fault_is("tx-ring");
}

/* --- the ring that it reads ------------------------------------------------
 */

static void
lie_in_cons(uint64_t cons, bool full)
{
	kit_start("aaa");
	pen_send(1, 10, 100);
	kit_run();
	pen_take(2, 100);
	if (full)
		pen_take(0, 5);
	__atomic_store_n(&pens[0].p_mem->cons, cons, __ATOMIC_RELEASE);
	/* It is read when the ring looks full. */
	for (int i = 0; i < 400 && faults == 0; i++) {
		pen_send(1, 10, 100);
		kit_run();
		pen_take(2, 100);
	}
	fault_is("rx-ring");
}

static void
test_cons_that_lies_is_a_fault(void **state)
{
	(void)state;
	lie_in_cons(UINT64_C(1) << 40, false);
	lie_in_cons(4, false);
	lie_in_cons(UINT64_MAX - 7, false);
	lie_in_cons(UINT64_MAX, true);
}

static void
test_cons_that_runs_back_is_a_fault(void **state)
{
	(void)state;
	kit_start("aaa");
	for (int i = 0; i < 400; i++) { /* far enough that it is looked at */
		pen_send(1, 10, 1000);
		kit_run();
		pen_take(0, 100);
		pen_take(2, 100);
	}
	__atomic_store_n(&pens[0].p_mem->cons, pens[0].p_mem->cons - KIT_BYTES,
	    __ATOMIC_RELEASE);
	for (int i = 0; i < 400 && faults == 0; i++) {
		pen_send(1, 10, 1000);
		kit_run();
		pen_take(2, 100);
	}
	fault_is("rx-ring");
}

static void
test_lying_receiver_does_not_cost_the_source_its_frames(void **state)
{
	uint64_t before;

	(void)state;
	kit_start("aaa");
	before = count(2, LC_RX_FRAMES);
	__atomic_store_n(&pens[0].p_mem->cons, 1 << 30, __ATOMIC_RELEASE);
	for (int i = 0; i < 1000; i++) {
		pen_send(1, 7, 300);
		kit_run();
		pen_take(2, 100);
	}
	assert_int_equal(pens[2].got[1], 7000);
	assert_int_equal(count(2, LC_RX_FRAMES) - before, 7000);
	/* Each frame for the liar is counted: none was delivered. */
	assert_int_equal(count(0, LC_RX_DROP_DEAD) + count(0, LC_RX_FRAMES) +
			     count(0, LC_RX_DROP_FULL),
	    7000);
	kit_end();
}

/* --- the bell --------------------------------------------------------------
 */

static void
test_bell_that_is_closed_is_a_fault(void **state)
{
	(void)state;
	kit_start("aaa");
	fd_close(&pens[0].bell);
	kit_run();
	fault_is("bell");
}

static void
test_bell_that_is_shut_is_a_fault(void **state)
{
	(void)state;
	kit_start("aaa");
	assert_int_equal(shutdown(pens[0].bell, SHUT_RDWR), 0);
	kit_run();
	fault_is("bell");
}

static void
test_bell_with_a_long_message_is_a_fault(void **state)
{
	static const char noise[2000];

	(void)state;
	kit_start("aaa");
	assert_true(send(pens[0].bell, noise, sizeof noise, 0) > 0);
	kit_run();
	fault_is("bell");
}

static void
test_bell_that_is_never_cleared_does_not_block_the_lane(void **state)
{
	int flags;

	(void)state;
	kit_start("aaa");
	/* What a hostile backend could do with a shared eventfd. */
	flags = fcntl(pens[0].bell, F_GETFL);
	(void)fcntl(pens[0].bell, F_SETFL, flags & ~O_NONBLOCK);
	alarm(20);
	for (int i = 0; i < 5000; i++) {
		/* Each frame crosses the armed word: each rings the bell. */
		pens[0].p_mem->data_event = pens[0].l_mem->prod;
		pen_send(1, 1, 64);
		kit_run();
		pen_take(2, 10);
		clock_ns += LANE_PATIENCE_NS / 10;
	}
	alarm(0);
	assert_int_equal(pens[2].got[1], 5000);
	kit_end();
}

static void
test_bells_for_nothing_are_counted_and_then_not_heard(void **state)
{
	uint64_t idle;
	int i;

	(void)state;
	kit_start("aaa");
	kit_run();
	for (i = 0; i < 1000 && !muted[0]; i++) {
		bell_ring(pens[0].bell);
		kit_run();
	}
	assert_int_equal(i, LANE_BELLS_IDLE);
	assert_int_equal(count(0, LC_BELLS_IDLE), LANE_BELLS_IDLE);
	assert_int_equal(faults, 0);
	/* After a while we listen again, to one bell; frames clear its name. */
	assert_int_equal(lane_turn(lane), LANE_MUTE_NS);
	clock_ns += LANE_MUTE_NS;
	assert_int_equal(lane_turn(lane), LANE_SLEEP);
	assert_false(muted[0]);
	idle = count(0, LC_BELLS_IDLE);
	bell_ring(pens[0].bell);
	kit_run();
	assert_true(muted[0]);
	assert_int_equal(count(0, LC_BELLS_IDLE), idle + 1);
	clock_ns += LANE_MUTE_NS;
	lane_turn(lane);
	pen_send(0, 1, 64);
	kit_run();
	bell_ring(pens[0].bell);
	kit_run();
	assert_false(muted[0]);
	assert_int_equal(pen_take(1, 10), 1);
	kit_end();
}

/* --- what comes with attach ------------------------------------------------
 */

static int
attach_with(int peer, int own, uint64_t ring_bytes)
{
	struct lane_grant g = {
	    .port = 1,
	    .epoch = 9,
	    .ring_bytes = ring_bytes,
	    .peer = peer,
	    .own = own,
	    .bell = dup(pens[1].lane_bell),
	};

	return lane_attach(lane, &g);
}

static void
test_memory_that_is_not_sealed_or_of_another_size_is_refused(void **state)
{
	uint64_t counters[LC_COUNT];
	int loose = memfd_create("loose", MFD_ALLOW_SEALING), small;

	(void)state;
	kit_start("aa");
	lane_detach(lane, 1, pens[1].epoch, true, counters);
	assert_int_equal(ftruncate(loose, (off_t)port_bytes(KIT_BYTES)), 0);
	assert_int_equal(sys_memfd("small", 4096, &small), 0);
	assert_int_equal(
	    attach_with(dup(loose), dup(pens[1].l_fd), KIT_BYTES), -EINVAL);
	assert_int_equal(
	    attach_with(dup(pens[1].p_fd), dup(loose), KIT_BYTES), -EINVAL);
	assert_int_equal(
	    attach_with(dup(small), dup(pens[1].l_fd), KIT_BYTES), -EINVAL);
	assert_int_equal(
	    attach_with(dup(pens[1].p_fd), dup(pens[1].l_fd), 2 * KIT_BYTES),
	    -EINVAL);
	assert_int_equal(
	    attach_with(dup(pens[1].p_fd), dup(pens[1].l_fd), 4096), -EINVAL);
	assert_int_equal(
	    attach_with(dup(pens[1].p_fd), dup(pens[1].l_fd), KIT_BYTES - 8),
	    -EINVAL);
	assert_int_equal(
	    attach_with(dup(pens[1].bell), dup(pens[1].bell), KIT_BYTES),
	    -EINVAL);
	assert_int_equal(attach_with(-1, -1, KIT_BYTES), -EINVAL);
	assert_false(port(1)->attached);
	pen_send(0, 4, 64);
	kit_run();
	assert_int_equal(count(1, LC_RX_DROP_DEAD), 4);
	fd_close(&loose);
	fd_close(&small);
	kit_end();
}

static void
test_memory_with_impossible_positions_is_refused(void **state)
{
	uint64_t counters[LC_COUNT];

	(void)state;
	kit_start("aa");
	lane_detach(lane, 1, pens[1].epoch, true, counters);
	/* As a lane that ran wild could have left them. */
	pens[1].l_mem->prod = 12;
	assert_int_equal(pen_attach(1), -EINVAL);
	pens[1].l_mem->prod = 0;
	pens[1].l_mem->cons = 3;
	assert_int_equal(pen_attach(1), -EINVAL);
	pens[1].l_mem->cons = 0;
	pens[1].p_mem->cons = 1 << 20;
	assert_int_equal(pen_attach(1), -EINVAL);
	pens[1].p_mem->cons = 0;
	assert_int_equal(pen_attach(1), 0);
	kit_end();
}

static void
test_no_descriptor_is_left_open(void **state)
{
	uint64_t counters[LC_COUNT];
	int before, after;

	(void)state;
	kit_start("aa");
	lane_detach(lane, 1, pens[1].epoch, true, counters);
	before = dup(0);
	close(before);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(pen_attach(1), 0);
		assert_int_equal(pen_attach(1), 0);
		lane_detach(lane, 1, pens[1].epoch, i % 2, counters);
		attach_with(dup(pens[1].bell), dup(pens[1].bell), KIT_BYTES);
	}
	after = dup(0);
	close(after);
	assert_int_equal(before, after);
	kit_end();
}

static void
test_faulted_port_answers_detach_with_its_counters_once(void **state)
{
	uint64_t counters[LC_COUNT];

	(void)state;
	kit_start("aaa");
	pen_send(0, 6, 100);
	pen_send(1, 4, 100);
	kit_run();
	fd_close(&pens[0].bell);
	kit_run();
	assert_int_equal(faults, 1);
	lane_detach(lane, 0, pens[0].epoch, true, counters);
	assert_int_equal(counters[LC_TX_FRAMES], 6);
	assert_int_equal(counters[LC_RX_DROP_DEAD], 4);
	assert_int_equal(counters[LC_RX_FRAMES], 0);
	lane_detach(lane, 0, pens[0].epoch, true, counters);
	assert_int_equal(counters[LC_TX_FRAMES], 0);
	kit_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_prod_that_lies_is_a_fault),
	    cmocka_unit_test(test_record_that_lies_is_a_fault),
	    cmocka_unit_test(test_metadata_that_lies_is_a_fault),
	    cmocka_unit_test(
		test_lie_behind_good_frames_delivers_nothing_of_that_batch),
	    cmocka_unit_test(
		test_length_that_changes_after_the_look_reaches_nobody),
	    cmocka_unit_test(test_cons_that_lies_is_a_fault),
	    cmocka_unit_test(test_cons_that_runs_back_is_a_fault),
	    cmocka_unit_test(
		test_lying_receiver_does_not_cost_the_source_its_frames),
	    cmocka_unit_test(test_bell_that_is_closed_is_a_fault),
	    cmocka_unit_test(test_bell_that_is_shut_is_a_fault),
	    cmocka_unit_test(test_bell_with_a_long_message_is_a_fault),
	    cmocka_unit_test(
		test_bell_that_is_never_cleared_does_not_block_the_lane),
	    cmocka_unit_test(
		test_bells_for_nothing_are_counted_and_then_not_heard),
	    cmocka_unit_test(
		test_memory_that_is_not_sealed_or_of_another_size_is_refused),
	    cmocka_unit_test(test_memory_with_impossible_positions_is_refused),
	    cmocka_unit_test(test_no_descriptor_is_left_open),
	    cmocka_unit_test(
		test_faulted_port_answers_detach_with_its_counters_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
