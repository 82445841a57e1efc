/*
 * core_arena_fault_test.c - arenas in the broker's core: lanes and backends
 * that lie or do not answer, a launcher that refuses. With the fakes of
 * core_kit.h.
 */
#include "tests/unit/core_arena_kit.h"

#include "broker/settle.h"

/* --- a lane that does not do as it is told --- */

static void
settled(void *self)
{
	++*(unsigned *)self;
}

static void
test_a_lane_that_keeps_it_is_killed_and_holds_nobody(void **state)
{
	unsigned done = 0;
	struct child *lane;

	(void)state;
	begin_on(LEAST + 1);
	lane = kit_lane_of("a");
	lane->fate = FATE_ARENA_STAYS;
	set_link("a", false);
	core_settle(kit_core, settled, &done);
	kit_run(KIT_MS);
	assert_int_equal(done, 1);
	/* It is in no hurry to let go: nobody is told to, nothing begins. */
	kit_wait(4 * KIT_SECOND);
	assert_int_equal(kit_arena_closes, 0);
	assert_int_equal(kit_arenas, 1);
	assert_int_equal(views_of("a"), 1);
	assert_false(shown("b"));
	set_link("a", true);
	assert_int_equal(kit_arenas, 1);
	assert_ptr_equal(kit_lane_of("a"), lane);
	/* Its time is over. */
	kit_wait(2 * KIT_SECOND);
	assert_int_equal(kit_arena_closes, LEAST + 1);
	assert_on(LEAST + 1);
	kit_end();
}

/* It is late, but not too late. */
static void
test_a_lane_may_take_its_time(void **state)
{
	struct child *lane;
	uint32_t serial;

	(void)state;
	begin_on(LEAST + 1);
	lane = kit_lane_of("a");
	serial = lane->arena;
	lane->fate = FATE_ARENA_STAYS;
	set_link("a", false);
	kit_wait(4 * KIT_SECOND);
	assert_int_equal(kit_arena_closes, 0);
	lane->fate = FATE_GOOD;
	say_given_up(lane, serial);
	assert_int_equal(kit_arena_closes, LEAST + 1);
	assert_off(LEAST + 1);
	kit_wait(KIT_CALM);
	assert_ptr_equal(kit_lane_of("a"), lane);
	assert_int_equal(kit_arenas, 2);
	assert_true(is_viewer("b"));
	kit_end();
}

static void
test_a_lane_that_lies_is_killed(void **state)
{
	(void)state;
	for (int how = 0; how < 4; how++) {
		struct child *lane;
		uint32_t serial, epoch;

		begin_on(LEAST + 1);
		lane = kit_lane_of("a");
		serial = lane->arena;
		epoch = life_of("a")->port->lane->restarts;
		if (how == 1)
			lane->fate = FATE_ARENA_STAYS;
		if (how == 1 || how == 2)
			set_link("a", false);
		/* Unasked; of another, when asked; twice; of none. */
		say_given_up(lane, how == 1   ? serial + 1
				   : how == 3 ? 0
					      : serial);
		assert_int_equal(life_of("b")->port->lane->restarts, epoch + 1);
		assert_int_equal(kit_arena_closes, LEAST + 1);
		kit_wait(KIT_CALM);
		assert_true(is_viewer("b"));
		kit_end();
	}
}

/* It is on its way out when the launcher has made one for it. */
static void
test_a_lane_may_die_at_any_moment(void **state)
{
	(void)state;
	for (int steps = 0; steps < 40; steps++) {
		const struct ctl_arena_ended m = {.serial = 1};
		unsigned fds = open_fds();

		begin_hub(LEAST);
		kit_wait(KIT_CALM - 1);
		assert_true(turn_timers(UINT64_MAX));
		for (int n = 0; n < steps / 2; n++)
			(void)turn_watches();
		if (steps % 2)
			child_die(kit_lane_of("a"));
		else
			(void)ctl_send_arena_ended(
			    kit_lane_of("a")->chan, 0, &m);
		kit_settle(0);
		assert_off(LEAST);
		kit_wait(KIT_CALM);
		assert_on(LEAST);
		kit_end();
		assert_int_equal(open_fds(), fds);
	}
}

/* --- backends that do not do as they are told --- */

static void
begin_with_b(enum fate fate)
{
	begin_hub(LEAST + 1);
	kit_child("b")->fate = fate;
	kit_wait(KIT_CALM);
}

static void
test_who_cannot_view_gets_copies(void **state)
{
	(void)state;
	begin_with_b(FATE_VIEW_FAILS);
	assert_true(is_viewer("a"));
	assert_false(shown("b"));
	assert_int_equal(kit_lane_of("a")->viewers, LEAST);
	/* It has nothing of it, and hears no more of it. */
	set_link("c", false);
	assert_int_equal(kit_arena_closes, LEAST);
	kit_end();

	begin_with_b(FATE_VIEW_SILENT);
	kit_wait(10 * KIT_SECOND);
	assert_true(is_viewer("a"));
	assert_false(shown("b"));
	assert_int_equal(kit_lane_of("a")->viewers, LEAST);
	/* Late, and still in time. */
	say_viewed("b", kit_lane_of("a")->arena, NULL);
	assert_on(LEAST + 1);
	kit_end();

	begin_with_b(FATE_VIEW_SILENT);
	set_link("c", false);
	assert_int_equal(kit_arena_closes, LEAST + 1);
	kit_end();
}

/* While the lane gives it up: it is no viewer any more, and lets go. */
static void
test_an_answer_may_come_too_late(void **state)
{
	struct child *lane, *b;
	uint32_t serial;

	(void)state;
	begin_with_b(FATE_VIEW_SILENT);
	lane = kit_lane_of("a");
	b = kit_child("b");
	serial = lane->arena;
	lane->fate = FATE_ARENA_STAYS;
	set_link("c", false);
	say_viewed("b", serial, NULL);
	assert_int_equal(lane->viewers, 0);
	assert_false(shown("b"));
	lane->fate = FATE_GOOD;
	say_given_up(lane, serial);
	assert_int_equal(kit_arena_closes, LEAST + 1);
	/* It is over. */
	say_viewed("b", serial, "so\nlate");
	say_viewed("b", serial, NULL);
	assert_ptr_equal(kit_child("b"), b);
	kit_end();
}

/* However many there were meanwhile: one that does not read holds one. */
static void
test_who_has_not_answered_is_told_of_no_other(void **state)
{
	uint32_t first;

	(void)state;
	begin_with_b(FATE_VIEW_SILENT);
	first = kit_lane_of("a")->arena;
	for (int n = 0; n < 5; n++) {
		set_link("c", n % 2 != 0);
		assert_int_equal(views_of("b"), 0);
		kit_wait(KIT_CALM);
		assert_true(is_viewer("a"));
		assert_int_equal(views_of("b"), 0);
	}
	set_link("c", true);
	kit_wait(KIT_CALM);
	assert_int_equal(kit_lane_of("a")->viewers, LEAST);
	/* It speaks at last, of the first: all begin anew, with it. */
	kit_child("b")->fate = FATE_GOOD;
	say_viewed("b", first, NULL);
	assert_off(LEAST + 1);
	kit_wait(KIT_CALM);
	assert_on(LEAST + 1);
	kit_end();

	/* Of one that it was not told of, it may not. */
	begin_with_b(FATE_VIEW_SILENT);
	set_link("c", false);
	kit_wait(KIT_CALM);
	first = kit_child("b")->epoch;
	kit_child("b")->fate = FATE_GOOD;
	say_viewed("b", kit_lane_of("a")->arena, NULL);
	set_link("c", true);
	kit_wait(10 * KIT_SECOND);
	assert_int_equal(kit_child("b")->epoch, first + 1);
	assert_on(LEAST + 1);
	kit_end();
}

static void
test_many_in_a_row_are_not_made_at_once(void **state)
{
	unsigned made;

	(void)state;
	begin_on(LEAST + 1);
	for (int n = 0; n < 100; n++) {
		set_link("a", n % 2 != 0);
		kit_wait(KIT_CALM);
	}
	assert_in_range(kit_arenas, 20, 40);
	assert_off(LEAST + 1);
	made = kit_arenas;
	kit_wait(10 * KIT_SECOND);
	assert_int_equal(kit_arenas, made + 1);
	assert_on(LEAST + 1);
	kit_end();
}

static void
test_a_backend_may_not_say_it_twice(void **state)
{
	(void)state;
	for (int how = 0; how < 2; how++) {
		uint32_t epoch, serial;

		begin_on(LEAST);
		epoch = kit_child("b")->epoch;
		serial = kit_lane_of("a")->arena;
		say_viewed("b", serial, how ? "\x01\n%s" : NULL);
		assert_off(LEAST);
		kit_wait(10 * KIT_SECOND);
		assert_on(LEAST);
		assert_int_equal(kit_child("b")->epoch, epoch + 1);
		kit_end();
	}
}

static void
test_what_is_said_of_others_is_not_heard(void **state)
{
	struct child *z;
	uint32_t serial;

	(void)state;
	begin_hub(LEAST);
	/* There is none yet. */
	say_viewed("a", 0, "no");
	say_viewed("a", 0, NULL);
	assert_int_equal(kit_child("a")->epoch, 1);
	kit_wait(KIT_CALM);
	assert_on(LEAST);
	serial = kit_lane_of("a")->arena;
	add_on("z", 1);
	z = kit_child("z");
	/* Of one that is not its own, of none, of those to come. */
	for (int n = 0; n < 3; n++) {
		say_viewed("z", serial, NULL);
		say_viewed("z", serial, "\x01%s");
		say_viewed("z", 0, NULL);
		say_viewed("z", serial + 1, NULL);
		say_viewed("z", UINT32_MAX, "no");
		say_viewed("a", serial + 1, NULL);
		say_viewed("a", 0, "no");
	}
	assert_ptr_equal(kit_child("z"), z);
	assert_int_equal(kit_lane_of("z")->arena, 0);
	assert_on(LEAST);
	assert_false(shown("z"));
	kit_end();
}

/* --- the launcher --- */

static void
test_the_launcher_is_asked_again_and_again(void **state)
{
	uint64_t pause = KIT_SECOND;

	(void)state;
	begin_hub(LEAST);
	kit_arena_error = -ENFILE;
	kit_wait(KIT_CALM);
	assert_int_equal(kit_arenas, 1);
	for (unsigned n = 1; n < 10; n++) {
		kit_wait(pause - KIT_MS);
		assert_int_equal(kit_arenas, n);
		kit_wait(KIT_MS);
		assert_int_equal(kit_arenas, n + 1);
		assert_off(LEAST);
		if (pause < 64 * KIT_SECOND)
			pause *= 2;
	}
	kit_arena_error = 0;
	kit_wait(pause);
	assert_on(LEAST);
	assert_int_equal(kit_arenas, 11);
	kit_end();
}

static void
test_what_comes_too_late_from_the_launcher_is_let_go(void **state)
{
	unsigned fds = open_fds();

	(void)state;
	begin_hub(LEAST);
	kit_arena_stuck = true;
	kit_wait(10 * KIT_SECOND);
	assert_int_equal(kit_arenas, 1);
	assert_off(LEAST);
	set_link("a", false);
	kit_arena_stuck = false;
	set_link("a", true);
	kit_wait(KIT_CALM);
	assert_int_equal(kit_arenas, 2);
	assert_on(LEAST);
	kit_end();
	assert_int_equal(open_fds(), fds);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		test_a_lane_that_keeps_it_is_killed_and_holds_nobody),
	    cmocka_unit_test(test_a_lane_may_take_its_time),
	    cmocka_unit_test(test_a_lane_that_lies_is_killed),
	    cmocka_unit_test(test_a_lane_may_die_at_any_moment),
	    cmocka_unit_test(test_who_cannot_view_gets_copies),
	    cmocka_unit_test(test_an_answer_may_come_too_late),
	    cmocka_unit_test(test_who_has_not_answered_is_told_of_no_other),
	    cmocka_unit_test(test_many_in_a_row_are_not_made_at_once),
	    cmocka_unit_test(test_a_backend_may_not_say_it_twice),
	    cmocka_unit_test(test_what_is_said_of_others_is_not_heard),
	    cmocka_unit_test(test_the_launcher_is_asked_again_and_again),
	    cmocka_unit_test(
		test_what_comes_too_late_from_the_launcher_is_let_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
