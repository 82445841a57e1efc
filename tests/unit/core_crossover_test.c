/*
 * core_crossover_test.c - crossovers in the broker's core: when they begin,
 * what ends them, and who waits for that. With the fakes of core_kit.h.
 */
#include "tests/unit/core_crossover_kit.h"

#include "broker/nic.h"
#include "broker/settle.h"

/* --- the beginning --- */

static void
test_two_that_are_alone_are_connected_after_a_while(void **state)
{
	struct netdev nd = {.id = text("a"), .type = NET_CLIENT_DRIVER_SOCKET};
	unsigned fds = open_fds();
	struct answer a;

	(void)state;
	kit_start(NULL);
	nd.u.socket.connect = text("127.0.0.1:1");
	nd.has_ring_size = true;
	nd.ring_size = 0x40000;
	add(&nd, &a);
	assert_ok(&a);
	add_hubport("pa", 0, "a");
	add_on_hub("b");
	kit_wait(KIT_CALM - KIT_MS);
	assert_int_equal(kit_crosses, 0);
	kit_wait(KIT_MS);
	assert_int_equal(kit_crosses, 1);
	assert_true(is_on("a", "b"));
	/* Each fills as much as it was made for. */
	assert_int_equal(kit_child("a")->own_bytes, 0x40000);
	assert_int_equal(kit_child("b")->peer_bytes, 0x40000);
	assert_int_equal(kit_child("a")->peer_bytes, kit_child("b")->own_bytes);
	assert_int_not_equal(kit_child("b")->own_bytes, 0x40000);
	assert_string_equal(counters_of("a").other, "b");
	assert_string_equal(counters_of("b").other, "a");
	/* It stays, and nothing ticks. */
	kit_wait(300 * KIT_SECOND);
	assert_true(is_on("a", "b"));
	assert_int_equal(kit_crosses, 1);
	for (struct timer *t = TAILQ_FIRST(&kit_loop.timers); t;
	     t = TAILQ_NEXT(t, entry))
		assert_false(t->set);
	kit_end();
	assert_int_equal(open_fds(), fds);
}

static void
test_a_card_and_its_netdev_are_two(void **state)
{
	(void)state;
	kit_start(NULL);
	add_socket("u");
	add_nic("n", "u");
	kit_wait(KIT_CALM);
	assert_true(is_on("u", "n"));
	kit_end();
}

static void
test_changes_elsewhere_put_nothing_off(void **state)
{
	(void)state;
	begin_pair();
	for (int n = 0; n < 4; n++) {
		add_hubport("x", 7, NULL);
		kit_wait(KIT_CALM / 8);
		del("x");
		kit_wait(KIT_CALM / 8);
	}
	assert_true(is_on("a", "b"));
	kit_end();
}

static void
test_a_change_of_their_own_begins_the_time_anew(void **state)
{
	(void)state;
	begin_pair();
	kit_wait(KIT_CALM - KIT_MS);
	set_link("a", false);
	set_link("a", true);
	kit_wait(KIT_CALM - KIT_MS);
	assert_int_equal(kit_crosses, 0);
	kit_wait(KIT_MS);
	assert_true(is_on("a", "b"));
	kit_end();
}

/* --- reasons against it, each with its opposite --- */

static void
third_comes(void)
{
	add_on_hub("c");
}

static void
third_goes(void)
{
	del("pc");
	del("c");
}

static void
switch_off(void)
{
	core_crossover(kit_core, false);
	kit_settle(0);
}

static void
switch_on(void)
{
	core_crossover(kit_core, true);
	kit_settle(0);
}

static const struct {
	void (*comes)(void), (*goes)(void);
} reasons[] = {
    {third_comes, third_goes},
    {link_goes, link_comes},
    {port_goes, port_comes},
    {unplug, plug},
    {drop_begins, drop_ends},
    {switch_off, switch_on},
    {filter_comes, filter_goes},
};

#define REASONS (sizeof reasons / sizeof *reasons)

static void
test_it_does_not_begin_while_something_is_against_it(void **state)
{
	(void)state;
	for (size_t i = 0; i < REASONS; i++) {
		begin_pair();
		reasons[i].comes();
		kit_wait(10 * KIT_SECOND);
		assert_int_equal(kit_crosses, 0);
		assert_apart();
		reasons[i].goes();
		kit_wait(KIT_CALM);
		assert_true(is_on("a", "b"));
		kit_end();
	}
}

static void
test_it_ends_at_once_and_begins_again(void **state)
{
	(void)state;
	for (size_t i = 0; i < REASONS; i++) {
		struct child *a, *b;

		begin_crossed();
		a = kit_child("a");
		b = kit_child("b");
		reasons[i].comes();
		assert_apart();
		assert_true(a->parted && b->parted);
		assert_true(a->ended && b->ended);
		kit_wait(10 * KIT_SECOND);
		assert_int_equal(kit_crosses, 1);
		reasons[i].goes();
		kit_wait(KIT_CALM);
		assert_true(is_on("a", "b"));
		/* Nobody died of it. */
		assert_ptr_equal(kit_child("a"), a);
		assert_ptr_equal(kit_child("b"), b);
		kit_end();
	}
}

static void
test_it_ends_at_any_moment(void **state)
{
	(void)state;
	for (size_t i = 0; i < REASONS; i++)
		for (int steps = 0; steps < 12; steps++) {
			unsigned fds = open_fds();

			begin_pair();
			kit_wait(KIT_CALM - 1);
			assert_true(turn_timers(UINT64_MAX));
			for (int n = 0; n < steps; n++)
				(void)turn_watches();
			reasons[i].comes();
			assert_apart();
			reasons[i].goes();
			kit_wait(KIT_CALM);
			assert_true(is_on("a", "b"));
			kit_end();
			assert_int_equal(open_fds(), fds);
		}
}

static void
test_what_happens_to_the_lane_is_nothing_to_it(void **state)
{
	uint32_t serial;

	(void)state;
	begin_crossed();
	serial = cross_at("a")->serial;
	child_die(kit_lane_of("a"));
	kit_wait(10 * KIT_SECOND);
	assert_true(is_on("a", "b"));
	assert_int_equal(cross_at("a")->serial, serial);
	assert_int_equal(kit_crosses, 1);
	kit_end();
}

/* The lane is where frames go when it ends. */
static void
test_it_does_not_begin_while_there_is_no_lane(void **state)
{
	struct child *lane;

	(void)state;
	for (int stuck = 0; stuck < 2; stuck++) {
		no_lanes = false;
		begin_pair();
		kit_fate = no_lane;
		no_lanes = true;
		kit_cross_stuck = stuck != 0;
		if (stuck)
			kit_wait(KIT_CALM);
		for (uint32_t s = 1; s < LAUNCH_SLOTS; s++) {
			lane = places[s].child;
			if (lane && lane->role == ROLE_LANE)
				child_die(lane);
		}
		kit_wait(10 * KIT_SECOND);
		assert_int_equal(kit_crosses, stuck);
		no_lanes = false;
		kit_cross_stuck = false;
		kit_wait(100 * KIT_SECOND);
		assert_true(is_on("a", "b"));
		kit_end();
	}
}

/* Their own links are up; the one between their hubs is not. */
static void
test_two_that_do_not_hear_each_other_are_not_connected(void **state)
{
	(void)state;
	kit_start(NULL);
	add_on_hub("a");
	add_socket("b");
	add_hubport("pb", 1, "b");
	add_hubport("h0", 0, NULL);
	add_hubport("h1", 1, "h0");
	set_link("h0", false);
	kit_wait(10 * KIT_SECOND);
	assert_ptr_equal(kit_lane_of("a"), kit_lane_of("b"));
	assert_int_equal(kit_crosses, 0);
	set_link("h0", true);
	kit_wait(KIT_CALM);
	assert_true(is_on("a", "b"));
	set_link("h0", false);
	assert_apart();
	kit_end();
}

/* --- commands wait for it --- */

static void
settled(void *self)
{
	++*(unsigned *)self;
}

static void
test_a_command_is_answered_when_nothing_more_goes_in(void **state)
{
	unsigned done = 0;
	struct err e;

	(void)state;
	begin_crossed();
	kit_child("b")->fate = FATE_UNCROSS_SILENT;
	assert_int_equal(core_set_link(kit_core, "a", false, &e), 0);
	core_settle(kit_core, settled, &done);
	kit_wait(KIT_PART - KIT_MS);
	assert_int_equal(done, 0);
	assert_true(kit_child("a")->parted);
	assert_false(kit_child("a")->ended);
	/* One that hangs is not waited for. */
	kit_wait(2 * KIT_MS);
	assert_int_equal(done, 1);
	assert_true(kit_child("a")->ended);
	kit_end();
	/* One that does not is. */
	done = 0;
	begin_crossed();
	assert_int_equal(core_set_link(kit_core, "a", false, &e), 0);
	core_settle(kit_core, settled, &done);
	assert_int_equal(done, 0);
	kit_run(KIT_MS);
	assert_int_equal(done, 1);
	assert_apart();
	kit_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		test_two_that_are_alone_are_connected_after_a_while),
	    cmocka_unit_test(test_a_card_and_its_netdev_are_two),
	    cmocka_unit_test(test_changes_elsewhere_put_nothing_off),
	    cmocka_unit_test(test_a_change_of_their_own_begins_the_time_anew),
	    cmocka_unit_test(
		test_it_does_not_begin_while_something_is_against_it),
	    cmocka_unit_test(test_it_ends_at_once_and_begins_again),
	    cmocka_unit_test(test_it_ends_at_any_moment),
	    cmocka_unit_test(test_what_happens_to_the_lane_is_nothing_to_it),
	    cmocka_unit_test(test_it_does_not_begin_while_there_is_no_lane),
	    cmocka_unit_test(
		test_two_that_do_not_hear_each_other_are_not_connected),
	    cmocka_unit_test(
		test_a_command_is_answered_when_nothing_more_goes_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
