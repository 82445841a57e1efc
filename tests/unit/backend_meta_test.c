/*
 * backend_meta_test.c - frames with metadata between a backend's rings and its
 * type: as they are, or completed in their turn.
 */
#include "tests/unit/toy_backend.h"

static void
test_a_type_that_takes_all_gets_frames_as_they_are(void **state)
{
	struct frame_meta m = large_frame(5000, 1000, 1);

	(void)state;
	any_order = true;
	backend_takes(&kit.be, OFFLOAD_CSUM | OFFLOAD_TSO4);
	send_large(5000, 1000, 1);
	assert_true(kit_send(&kit, frame, 60));
	kit_publish(&kit);
	wait_taken(2);
	assert_int_equal(seen[0].len, 5054);
	assert_memory_equal(&seen[0].meta, &m, sizeof m);
	assert_int_equal(seen[1].len, 60);
	assert_true(frame_meta_is_zero(&seen[1].meta));
	/* Not a batch for each. */
	assert_int_equal(calls, 1);
}

/* Frames of one batch as they must come out: plain, 5 pieces, plain. */
static void
expect_pieces(void)
{
	static const uint32_t len[] = {60, 1054, 1054, 1054, 1054, 1054, 70};
	static const uint8_t id[] = {0, 9, 10, 11, 12, 13, 0};
	size_t i;

	for (i = 0; i < 7; i++) {
		assert_int_equal(seen[i].len, len[i]);
		assert_int_equal(seen[i].ip_id, id[i]);
		assert_true(frame_meta_is_zero(&seen[i].meta));
	}
}

static void
send_mixed(void)
{
	memset(frame, 0, 100);
	assert_true(kit_send(&kit, frame, 60));
	send_large(5000, 1000, 9);
	memset(frame, 0, 100);
	assert_true(kit_send(&kit, frame, 70));
	kit_publish(&kit);
}

static void
test_a_large_frame_is_cut_in_its_turn(void **state)
{
	(void)state;
	any_order = true;
	send_mixed();
	wait_taken(7);
	expect_pieces();
	/* What it became and what is behind it go together. */
	assert_int_equal(calls, 2);
	kit_turn(&kit, 2);
	assert_int_equal(ring_tx_refresh(&kit.to_backend), 0);
	assert_int_equal(ring_tx_backlog(&kit.to_backend), 0);
}

static void
test_pieces_wait_for_a_type_that_takes_few(void **state)
{
	size_t n, most;

	(void)state;
	any_order = true;
	for (most = 1; most < 4; most++) {
		take_most = most;
		taken = 0;
		send_mixed();
		/* All of what was offered at first, then of the pieces. */
		wait_taken(1 + most);
		for (n = 0; taken < 7 && n < 7; n++) {
			kit_turn(&kit, 1);
			/* It is not asked before it says so, and the ring is
			 * not released. */
			assert_int_equal(ring_tx_refresh(&kit.to_backend), 0);
			assert_true(ring_tx_backlog(&kit.to_backend) > 0);
			backend_more(&kit.be);
		}
		assert_int_equal(taken, 7);
		expect_pieces();
		kit_turn(&kit, 2);
		assert_int_equal(ring_tx_refresh(&kit.to_backend), 0);
		assert_int_equal(ring_tx_backlog(&kit.to_backend), 0);
	}
}

/* A guest's usual frames: each wants its checksum, and they stay a batch. */
static void
test_frames_without_checksum_stay_together(void **state)
{
	struct frame_meta m = large_frame(100, 0, 0);
	size_t i;

	(void)state;
	any_order = true;
	m.gso_type = META_GSO_NONE;
	for (i = 0; i < 100; i++) {
		frame[19] = (uint8_t)i;
		if (i % 10 == 9)
			m.flags = META_DATA_VALID;
		else
			m.flags = META_NEEDS_CSUM;
		assert_true(kit_send_meta(&kit, frame, 154, &m));
	}
	kit_publish(&kit);
	wait_taken(100);
	assert_int_equal(calls, 1);
	for (i = 0; i < 100; i++) {
		assert_int_equal(seen[i].len, 154);
		assert_int_equal(seen[i].ip_id, i);
		assert_true(frame_meta_is_zero(&seen[i].meta));
	}
}

static void
test_more_pieces_than_one_call(void **state)
{
	size_t i;

	(void)state;
	any_order = true;
	take_most = 50;
	send_large(60000, 48, 0);
	kit_publish(&kit);
	kit_turn(&kit, 5);
	for (i = 0; i < 100 && taken < 1250; i++)
		backend_more(&kit.be);
	assert_int_equal(taken, 1250);
	for (i = 0; i < 1250; i++)
		assert_int_equal(seen[i].ip_id, (uint8_t)i);
}

static void
test_a_frame_that_lies_is_dropped_and_counted(void **state)
{
	struct frame_meta m = large_frame(5000, 1000, 1);

	(void)state;
	any_order = true;
	frame[23] = 17; /* UDP */
	assert_true(kit_send_meta(&kit, frame, 5054, &m));
	send_mixed();
	assert_true(kit_send_meta(&kit, frame, 5054, &m));
	kit_publish(&kit);
	wait_taken(7);
	expect_pieces();
	kit_turn(&kit, 2);
	assert_int_equal(kit_counter(&kit, BC_OUT_DROP_OFFLOAD), 2);
	assert_int_equal(ring_tx_refresh(&kit.to_backend), 0);
	assert_int_equal(ring_tx_backlog(&kit.to_backend), 0);
}

static void
test_what_is_taken_can_change_in_the_middle_of_a_batch(void **state)
{
	(void)state;
	any_order = true;
	take_most = 1;
	backend_takes(&kit.be, OFFLOAD_CSUM | OFFLOAD_TSO4);
	send_large(2000, 1000, 1);
	send_large(2000, 1000, 2);
	send_large(2000, 1000, 3);
	kit_publish(&kit);
	wait_taken(1);
	assert_int_equal(seen[0].len, 2054);
	/* A driver without offloads has taken over. */
	backend_takes(&kit.be, 0);
	backend_more(&kit.be);
	assert_int_equal(taken, 2);
	assert_int_equal(seen[1].len, 1054);
	assert_int_equal(seen[1].ip_id, 2);
	/* And one with them: what was cut stays cut. */
	backend_takes(&kit.be, OFFLOAD_CSUM | OFFLOAD_TSO4);
	take_most = SIZE_MAX;
	send_large(2000, 1000, 4);
	kit_publish(&kit);
	backend_more(&kit.be);
	assert_int_equal(taken, 6);
	assert_int_equal(seen[2].ip_id, 3);
	assert_int_equal(seen[3].ip_id, 3);
	assert_int_equal(seen[4].ip_id, 4);
	assert_int_equal(seen[5].len, 2054);
	assert_int_equal(seen[5].ip_id, 4);
	assert_false(frame_meta_is_zero(&seen[5].meta));
}

static uint64_t random_state = 1;

static uint32_t
roll(uint32_t sides)
{
	random_state = random_state * UINT64_C(6364136223846793005) + 1;
	return (uint32_t)(random_state >> 33) % sides;
}

/* Any kind of frame; its payload goes on in a stream where `seq` ended. */
static uint32_t
send_any(uint32_t seq)
{
	uint32_t payload = 6 + roll(roll(4) ? 300 : 8000);
	struct frame_meta m =
	    large_frame(payload, (uint16_t)(48 + roll(2000)), 0);
	unsigned i, kind = roll(4);

	for (i = 0; i < 4; i++)
		frame[38 + i] = (uint8_t)(seq >> (24 - 8 * i));
	if (kind == 0) {
		assert_true(kit_send(&kit, frame, 54 + payload));
		return payload;
	}
	if (kind < 3)
		m.gso_type = META_GSO_NONE;
	if (kind == 1)
		m.flags = META_DATA_VALID;
	assert_true(kit_send_meta(&kit, frame, 54 + payload, &m));
	return payload;
}

/* A type that takes few, then many, and changes its mind between calls. */
static void
test_nothing_is_lost_or_out_of_order(void **state)
{
	static const unsigned kinds[] = {
	    0, OFFLOAD_CSUM, OFFLOAD_CSUM | OFFLOAD_TSO4};
	uint32_t sent = 0, seq = 0;
	unsigned n;
	size_t i;

	(void)state;
	any_order = true;
	while (taken < 4000) {
		for (n = roll(20); n > 0; n--)
			sent += send_any(sent);
		kit_publish(&kit);
		do {
			take_most = roll(40);
			if (roll(3) == 0)
				backend_takes(&kit.be, kinds[roll(3)]);
			if (kit.be.blocked)
				backend_more(&kit.be);
			else
				kit_turn(&kit, 0);
		} while (ring_tx_refresh(&kit.to_backend) == 0 &&
			 ring_tx_backlog(&kit.to_backend) > 0);
	}
	assert_true(taken <= sizeof seen / sizeof *seen);
	for (i = 0; i < taken; i++) {
		assert_int_equal(seen[i].seq, seq);
		seq += seen[i].len - 54;
		/* What it has at the time is what it takes. */
		assert_true(offload_covered(&seen[i].meta, seen[i].takes));
	}
	assert_int_equal(seq, sent);
}

/* What was committed with metadata arrives with it. */
static void
test_metadata_goes_to_the_lane(void **state)
{
	struct frame_meta m = large_frame(5000, 1000, 1), none = {0};
	struct frame f;
	uint8_t *room;

	(void)state;
	assert_int_equal(backend_reserve_meta(&kit.be, 5054, &m, &room), 1);
	memcpy(room, frame, 5054);
	backend_commit_meta(&kit.be, 5054, &m);
	assert_int_equal(backend_reserve_meta(&kit.be, 60, &none, &room), 1);
	memcpy(room, frame, 60);
	backend_commit_meta(&kit.be, 60, &none);
	backend_flush(&kit.be);
	assert_int_equal(ring_next(&kit.from_backend, &f), 1);
	assert_int_equal(f.len, 5054);
	assert_memory_equal(&f.meta, &m, sizeof m);
	assert_memory_equal(f.data, frame, 5054);
	assert_int_equal(ring_next(&kit.from_backend, &f), 1);
	assert_int_equal(f.len, 60);
	assert_true(frame_meta_is_zero(&f.meta));
	assert_int_equal(kit_counter(&kit, BC_IN_FRAMES), 2);
	assert_int_equal(kit_counter(&kit, BC_IN_BYTES), 5114);
}

static void
test_room_is_told_for_frames_with_metadata(void **state)
{
	struct frame_meta m = large_frame(5000, 1000, 1);
	uint8_t *room;
	size_t n = 0;

	(void)state;
	while (backend_reserve_meta(&kit.be, 5054, &m, &room)) {
		memcpy(room, frame, 5054);
		backend_commit_meta(&kit.be, 5054, &m);
		n++;
	}
	assert_true(n >= RING_BYTES_MIN / 5100);
	while (n-- > 0)
		assert_int_equal(kit_receive(&kit, frame), 5054);
	assert_true(kit_until(&kit, got_room, NULL));
	assert_int_equal(rooms, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		test_a_type_that_takes_all_gets_frames_as_they_are, start,
		finish),
	    cmocka_unit_test_setup_teardown(
		test_a_large_frame_is_cut_in_its_turn, start, finish),
	    cmocka_unit_test_setup_teardown(
		test_pieces_wait_for_a_type_that_takes_few, start, finish),
	    cmocka_unit_test_setup_teardown(
		test_frames_without_checksum_stay_together, start, finish),
	    cmocka_unit_test_setup_teardown(
		test_nothing_is_lost_or_out_of_order, start, finish),
	    cmocka_unit_test_setup_teardown(
		test_more_pieces_than_one_call, start, finish),
	    cmocka_unit_test_setup_teardown(
		test_a_frame_that_lies_is_dropped_and_counted, start, finish),
	    cmocka_unit_test_setup_teardown(
		test_what_is_taken_can_change_in_the_middle_of_a_batch, start,
		finish),
	    cmocka_unit_test_setup_teardown(
		test_metadata_goes_to_the_lane, start, finish),
	    cmocka_unit_test_setup_teardown(
		test_room_is_told_for_frames_with_metadata, start, finish),
	};

	log_open("test", "-", LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
