/*
 * core_arena_test.c - arenas in the broker's core: when they begin, who views
 * them, and what ends them. With the fakes of core_kit.h.
 */
#include "tests/unit/core_arena_kit.h"

/* --- the beginning --- */

static void
test_a_large_hub_has_one_after_a_while(void **state)
{
	unsigned fds = open_fds();

	(void)state;
	begin_hub(LEAST);
	kit_wait(KIT_CALM - KIT_MS);
	assert_int_equal(kit_arenas, 0);
	assert_false(shown("a"));
	kit_wait(KIT_MS);
	assert_int_equal(kit_arenas, 1);
	assert_on(LEAST);
	assert_int_equal(kit_arena_bytes, arena_bytes_for(LEAST));
	assert_true(shown("a"));
	/* It stays, and nothing ticks. */
	kit_wait(300 * KIT_SECOND);
	assert_on(LEAST);
	assert_int_equal(kit_arenas, 1);
	for (struct timer *t = TAILQ_FIRST(&kit_loop.timers); t;
	     t = TAILQ_NEXT(t, entry))
		assert_false(t->set);
	kit_end();
	assert_int_equal(open_fds(), fds);
}

static void
test_a_small_hub_has_none(void **state)
{
	(void)state;
	begin_hub(LEAST - 1);
	kit_wait(10 * KIT_SECOND);
	assert_int_equal(kit_arenas, 0);
	/* Others, whom they do not hear, do not count. */
	add_on("z", 1);
	add_hubport("h0", 0, NULL);
	add_hubport("h1", 1, "h0");
	set_link("h0", false);
	kit_wait(10 * KIT_SECOND);
	assert_ptr_equal(kit_lane_of("a"), kit_lane_of("z"));
	assert_int_equal(kit_arenas, 0);
	set_link("h0", true);
	kit_wait(KIT_CALM);
	assert_int_equal(kit_lane_of("z")->viewers, LEAST);
	assert_true(is_viewer("a"));
	assert_true(is_viewer("z"));
	kit_end();
}

static void
test_a_change_of_their_own_begins_the_time_anew(void **state)
{
	(void)state;
	begin_hub(LEAST);
	kit_wait(KIT_CALM - KIT_MS);
	set_link("a", false);
	set_link("a", true);
	kit_wait(KIT_CALM - KIT_MS);
	assert_int_equal(kit_arenas, 0);
	kit_wait(KIT_MS);
	assert_on(LEAST);
	/* That of others does not. */
	add_hubport("x", 7, NULL);
	add_socket("y");
	add_hubport("py", 8, "y");
	assert_on(LEAST);
	kit_wait(KIT_CALM);
	assert_on(LEAST);
	assert_int_equal(kit_arenas, 1);
	kit_end();
}

static void
test_of_two_groups_the_larger_one_has_it(void **state)
{
	(void)state;
	begin_hub(LEAST);
	for (unsigned k = LEAST; k < 2 * LEAST + 1; k++)
		add_on(nth(k), 1);
	add_hubport("h0", 0, NULL);
	add_hubport("h1", 1, "h0");
	set_link("h0", false);
	kit_wait(KIT_CALM);
	assert_ptr_equal(kit_lane_of("a"), kit_lane_of(nth(LEAST)));
	for (unsigned k = 0; k < 2 * LEAST + 1; k++) {
		assert_int_equal(is_viewer(nth(k)), k >= LEAST);
		assert_int_equal(views_of(nth(k)), k >= LEAST);
	}
	kit_end();
}

/* --- what is against it --- */

static void
test_it_does_not_begin_while_something_is_against_it(void **state)
{
	(void)state;
	for (size_t i = 0; i < REASONS; i++) {
		begin_hub(LEAST);
		reasons[i].comes();
		kit_wait(10 * KIT_SECOND);
		assert_int_equal(kit_arenas, 0);
		reasons[i].goes();
		kit_wait(KIT_CALM);
		assert_on(LEAST);
		kit_end();
	}
}

static void
test_it_ends_at_once_and_begins_again(void **state)
{
	(void)state;
	for (size_t i = 0; i < REASONS; i++) {
		unsigned spawns;

		begin_on(LEAST);
		spawns = kit_spawns;
		reasons[i].comes();
		assert_off(LEAST);
		assert_int_equal(kit_arena_closes, LEAST);
		kit_wait(10 * KIT_SECOND);
		assert_int_equal(kit_arenas, 1);
		reasons[i].goes();
		kit_wait(KIT_CALM);
		assert_on(LEAST);
		assert_int_equal(kit_arenas, 2);
		/* Nobody died of it; a lane more for who was away. */
		assert_in_range(kit_spawns, spawns, spawns + 2);
		kit_end();
	}
}

static void
test_it_ends_at_any_moment(void **state)
{
	(void)state;
	for (size_t i = 0; i < REASONS; i++)
		for (int steps = 0; steps < 16; steps++) {
			unsigned fds = open_fds();

			begin_hub(LEAST);
			kit_wait(KIT_CALM - 1);
			assert_true(turn_timers(UINT64_MAX));
			for (int n = 0; n < steps; n++)
				(void)turn_watches();
			reasons[i].comes();
			assert_off(LEAST);
			reasons[i].goes();
			kit_wait(KIT_CALM);
			assert_on(LEAST);
			kit_end();
			assert_int_equal(open_fds(), fds);
		}
}

/* With one more than are needed, the others go on without it. */
static void
test_others_go_on_without_one_that_may_not(void **state)
{
	(void)state;
	for (size_t i = 0; i < REASONS; i++) {
		unsigned viewers = 0;

		begin_on(LEAST + 1);
		reasons[i].comes();
		assert_off(LEAST + 1);
		kit_wait(KIT_CALM);
		for (unsigned k = 0; k < LEAST + 1; k++)
			viewers += is_viewer(nth(k));
		assert_int_equal(
		    viewers, reasons[i].comes == switch_off ? 0 : LEAST);
		reasons[i].goes();
		kit_wait(KIT_CALM);
		assert_on(LEAST + 1);
		kit_end();
	}
}

static void
test_one_more_is_waited_for(void **state)
{
	(void)state;
	begin_on(LEAST);
	add_on_hub(nth(LEAST));
	assert_off(LEAST + 1);
	kit_wait(KIT_CALM);
	assert_on(LEAST + 1);
	assert_int_equal(kit_arenas, 2);
	assert_int_equal(kit_arena_bytes, arena_bytes_for(LEAST + 1));
	kit_end();
}

/* The same viewers, but the lane has given it up. */
static void
test_any_plan_ends_it(void **state)
{
	(void)state;
	begin_hub(LEAST + 1);
	filter_comes();
	kit_wait(KIT_CALM);
	assert_int_equal(kit_arenas, 1);
	set_link("a", false);
	assert_off(LEAST + 1);
	assert_int_equal(kit_arena_closes, LEAST);
	kit_wait(KIT_CALM);
	assert_int_equal(kit_arenas, 2);
	assert_int_equal(kit_lane_of("b")->viewers, LEAST);
	assert_int_equal(views_of("a"), 0);
	kit_end();
}

/* --- who dies --- */

static void
test_a_dead_viewer_ends_it_and_comes_back(void **state)
{
	(void)state;
	begin_on(LEAST);
	child_die(kit_child("b"));
	kit_settle(0);
	assert_off(LEAST);
	assert_int_equal(kit_arena_closes, LEAST - 1);
	kit_wait(10 * KIT_SECOND);
	assert_on(LEAST);
	kit_end();
	/* One that is deleted does not; its number is used again. */
	begin_on(LEAST + 1);
	del("pb");
	del("b");
	assert_int_equal(kit_arena_closes, LEAST + 1);
	add_on_hub("b");
	kit_wait(KIT_CALM);
	assert_on(LEAST + 1);
	kit_end();
}

static void
test_it_dies_with_its_lane(void **state)
{
	struct child *lane;

	(void)state;
	begin_on(LEAST);
	/* The spare takes its place. */
	lane = kit_lane_of("a");
	child_die(lane);
	kit_settle(0);
	assert_off(LEAST);
	assert_int_equal(kit_arena_closes, LEAST);
	kit_wait(KIT_CALM);
	assert_on(LEAST);
	/* There is none. */
	kit_fate = no_lane;
	no_lanes = true;
	for (uint32_t s = 1; s < LAUNCH_SLOTS; s++) {
		lane = places[s].child;
		if (lane && lane->role == ROLE_LANE)
			child_die(lane);
	}
	kit_settle(0);
	assert_off(LEAST);
	kit_wait(10 * KIT_SECOND);
	assert_int_equal(kit_arenas, 2);
	no_lanes = false;
	kit_wait(100 * KIT_SECOND);
	assert_on(LEAST);
	kit_end();
}

/* --- everything at once --- */

static void
churn(unsigned count)
{
	const char *id = nth((unsigned)rand() % count);
	size_t i = (size_t)rand() % REASONS;

	switch (rand() % 6) {
	case 0:
		if (kit_child(id))
			child_die(kit_child(id));
		break;
	case 1:
		if (kit_lane_of(id))
			child_die(kit_lane_of(id));
		break;
	case 2:
		if (kit_lane_of(id))
			kit_lane_of(id)->fate = FATE_ARENA_STAYS;
		break;
	case 3:
		if (kit_child(id))
			kit_child(id)->fate =
			    rand() % 2 ? FATE_VIEW_FAILS : FATE_VIEW_SILENT;
		break;
	case 4:
		kit_arena_error = rand() % 2 ? -ENOMEM : 0;
		break;
	default:
		reasons[i].comes();
		kit_settle((uint64_t)rand() % (2 * KIT_CALM));
		reasons[i].goes();
	}
	kit_settle((uint64_t)rand() % (2 * KIT_CALM));
}

static void
test_random_stories_end_well(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 40; seed++) {
		unsigned fds = open_fds();

		srand(seed);
		begin_hub(LEAST + 1);
		for (int n = 0; n < 30; n++)
			churn(LEAST + 1);
		for (unsigned k = 0; k < LEAST + 1; k++) {
			if (kit_lane_of(nth(k)))
				kit_lane_of(nth(k))->fate = FATE_GOOD;
			/* Who owes an answer is told of nothing more. */
			if (kit_child(nth(k)))
				child_die(kit_child(nth(k)));
		}
		kit_arena_error = 0;
		set_link("a", false);
		set_link("a", true);
		kit_wait(300 * KIT_SECOND);
		assert_on(LEAST + 1);
		kit_end();
		assert_int_equal(open_fds(), fds);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_large_hub_has_one_after_a_while),
	    cmocka_unit_test(test_a_small_hub_has_none),
	    cmocka_unit_test(test_a_change_of_their_own_begins_the_time_anew),
	    cmocka_unit_test(test_of_two_groups_the_larger_one_has_it),
	    cmocka_unit_test(
		test_it_does_not_begin_while_something_is_against_it),
	    cmocka_unit_test(test_it_ends_at_once_and_begins_again),
	    cmocka_unit_test(test_it_ends_at_any_moment),
	    cmocka_unit_test(test_others_go_on_without_one_that_may_not),
	    cmocka_unit_test(test_one_more_is_waited_for),
	    cmocka_unit_test(test_any_plan_ends_it),
	    cmocka_unit_test(test_a_dead_viewer_ends_it_and_comes_back),
	    cmocka_unit_test(test_it_dies_with_its_lane),
	    cmocka_unit_test(test_random_stories_end_well),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
