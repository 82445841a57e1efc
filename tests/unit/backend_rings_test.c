/*
 * backend_rings_test.c - batches, back-pressure and faults of a backend's
 * rings, with a toy type outside and a test as the lane.
 */
#include "tests/unit/toy_backend.h"

#include <sys/wait.h>

static void
send_frames(uint32_t first_len, uint32_t count)
{
	uint32_t i;

	for (i = 0; i < count; i++)
		assert_true(kit_send(&kit, frame, first_len + i));
	kit_publish(&kit);
}

static void
test_frames_come_in_order_and_are_released(void **state)
{
	(void)state;
	send_frames(14, 500);
	wait_taken(500);
	kit_turn(&kit, 2);
	assert_int_equal(ring_tx_refresh(&kit.to_backend), 0);
	assert_int_equal(ring_tx_backlog(&kit.to_backend), 0);
	/* Few calls: 256 frames or 128 KiB each. */
	assert_true(calls <= 6);
}

static void
test_what_a_type_does_not_take_comes_again_when_it_asks(void **state)
{
	size_t asked;

	(void)state;
	take_most = 7;
	send_frames(14, 100);
	wait_taken(7);
	kit_turn(&kit, 5);
	assert_int_equal(taken, 7);
	/* The batch is not released while any of it is left. */
	assert_int_equal(ring_tx_refresh(&kit.to_backend), 0);
	assert_true(ring_tx_backlog(&kit.to_backend) > 0);
	for (asked = 0; taken < 100; asked++)
		backend_more(&kit.be);
	assert_int_equal(asked, 14);
	kit_turn(&kit, 2);
	assert_int_equal(ring_tx_refresh(&kit.to_backend), 0);
	assert_int_equal(ring_tx_backlog(&kit.to_backend), 0);
	/* And it goes on with what comes later. */
	take_most = SIZE_MAX;
	send_frames(114, 5);
	wait_taken(105);
}

/* Commit frames of 1000 bytes until the ring is full. */
static size_t
fill(void)
{
	uint8_t *room;
	size_t n = 0;

	while (backend_reserve(&kit.be, 1000, &room)) {
		memset(room, 0, 1000);
		backend_commit(&kit.be, 1000);
		n++;
	}
	return n;
}

static void
test_room_is_told_when_half_the_ring_is_drained(void **state)
{
	size_t n = fill(), i;

	(void)state;
	assert_true(n > RING_BYTES_MIN / 1100);
	for (i = 0; i < n / 2 - 2; i++)
		assert_int_equal(kit_receive(&kit, frame), 1000);
	kit_turn(&kit, 3);
	assert_int_equal(rooms, 0);
	for (; i < n; i++)
		assert_int_equal(kit_receive(&kit, frame), 1000);
	assert_true(kit_until(&kit, got_room, NULL));
	assert_int_equal(rooms, 1);
	assert_true(fill() > 0);
}

static bool
stall_was_told(struct kit *k, void *arg)
{
	(void)arg;
	return k->be.stall_told;
}

static void
test_a_lane_that_drains_nothing_is_told_after_a_second(void **state)
{
	uint64_t began = sys_mono_ns();
	size_t n = fill();

	(void)state;
	assert_true(kit_until(&kit, stall_was_told, NULL));
	assert_true(sys_mono_ns() - began >= 900000000);
	while (n-- > 0)
		assert_int_equal(kit_receive(&kit, frame), 1000);
	assert_true(kit_until(&kit, got_room, NULL));
	assert_false(kit.be.stall_told);
}

/* What a lying lane does, in a child; it must end with code 1. */
static void
ends_when(void (*lie)(void))
{
	unsigned ms = 500;
	int status;
	pid_t pid;

	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		/* Its own loop: an epoll instance is shared over fork. */
		kit_init(&kit, RING_BYTES_MIN);
		kit_open(&kit, NULL, NULL);
		log_open("test", "-", LOG_ERROR);
		close(STDERR_FILENO);
		lie();
		kit_until(&kit, kit_never, &ms);
		_exit(42);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
}

static void
lie_about_prod(void)
{
	struct ring_page *page = kit.own;

	page->prod = UINT64_C(1) << 40;
	bell_ring(kit.bell);
}

static void
lie_about_cons(void)
{
	struct ring_page *page = kit.own;

	page->cons = 8;
	fill();
}

static void
lie_about_length(void)
{
	uint32_t *head = (uint32_t *)(void *)kit.to_backend.data;

	send_frames(100, 1);
	head[0] = FRAME_BYTES_MAX + 1;
}

static void
close_the_bell(void)
{
	fd_close(&kit.bell);
}

static void
lie_about_metadata(void)
{
	uint8_t *word = kit.to_backend.data + RING_HEAD_BYTES;

	send_large(5000, 1000, 1);
	word[0] = 0xff;
	kit_publish(&kit);
}

static void
test_a_lying_lane_ends_the_process(void **state)
{
	(void)state;
	ends_when(lie_about_prod);
	ends_when(lie_about_cons);
	ends_when(lie_about_length);
	ends_when(lie_about_metadata);
	ends_when(close_the_bell);
}

static void
test_notices_are_few_and_count_the_rest(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 100; i++)
		backend_notice(&kit.be, "kind", "text");
	assert_int_equal(kit.be.notices.told, 4);
	assert_int_equal(kit.be.notices.swallowed, 96);
	kit.be.notices.since_ns = 0;
	backend_notice(&kit.be, "kind", "text");
	assert_int_equal(kit.be.notices.swallowed, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		test_frames_come_in_order_and_are_released, start, finish),
	    cmocka_unit_test_setup_teardown(
		test_what_a_type_does_not_take_comes_again_when_it_asks, start,
		finish),
	    cmocka_unit_test_setup_teardown(
		test_room_is_told_when_half_the_ring_is_drained, start, finish),
	    cmocka_unit_test_setup_teardown(
		test_a_lane_that_drains_nothing_is_told_after_a_second, start,
		finish),
	    cmocka_unit_test(test_a_lying_lane_ends_the_process),
	    cmocka_unit_test_setup_teardown(
		test_notices_are_few_and_count_the_rest, start, finish),
	};

	log_open("test", "-", LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
