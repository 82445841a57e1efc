/*
 * core_crossover_fault_test.c - crossovers in the broker's core with processes
 * that hang, refuse, do not drain, lie or talk out of turn. With the fakes of
 * core_kit.h.
 */
#include "tests/unit/core_crossover_kit.h"

/* --- processes that hang or refuse --- */

static void
test_one_that_does_not_stop_is_killed(void **state)
{
	struct child *a;

	(void)state;
	begin_crossed();
	a = kit_child("a");
	kit_child("b")->fate = FATE_UNCROSS_SILENT;
	set_link("a", false);
	kit_wait(KIT_PART + 1900 * KIT_MS);
	assert_int_equal(kit_events[EVENT_BACKEND_EXITED], 0);
	kit_wait(200 * KIT_MS);
	assert_int_equal(kit_events[EVENT_BACKEND_EXITED], 1);
	assert_string_equal(life_of("b")->fault_before, "deadline:uncross");
	assert_ptr_equal(kit_child("a"), a);
	assert_int_equal(a->cross, 0);
	kit_wait(KIT_SECOND);
	set_link("a", true);
	kit_wait(KIT_CALM);
	assert_true(is_on("a", "b"));
	kit_end();
}

static void
test_one_that_does_not_answer_is_left_alone_then_killed(void **state)
{
	(void)state;
	begin_pair();
	kit_child("b")->fate = FATE_CROSS_SILENT;
	kit_wait(KIT_CALM + 1900 * KIT_MS);
	assert_false(kit_child("a")->parted);
	kit_wait(KIT_PART + 110 * KIT_MS);
	assert_true(kit_child("a")->parted);
	assert_true(kit_child("a")->ended);
	assert_int_equal(kit_events[EVENT_BACKEND_EXITED], 0);
	kit_wait(2100 * KIT_MS);
	assert_int_equal(kit_events[EVENT_BACKEND_EXITED], 1);
	/* The next process is another. */
	kit_wait(KIT_SECOND);
	assert_true(is_on("a", "b"));
	kit_end();
}

static void
test_one_that_has_stopped_late_lives(void **state)
{
	struct child *b;
	uint32_t serial;

	(void)state;
	begin_crossed();
	serial = cross_at("a")->serial;
	b = kit_child("b");
	b->fate = FATE_UNCROSS_SILENT;
	set_link("a", false);
	kit_wait(KIT_SECOND);
	assert_int_equal(cross_at("b")->state, CX_ENDING);
	say_uncrossed("b", serial);
	kit_wait(10 * KIT_SECOND);
	assert_ptr_equal(kit_child("b"), b);
	b->cross = 0;
	say_ended("b", b->cross_counts);
	assert_apart();
	kit_end();
}

static void
test_one_that_cannot_is_not_asked_again(void **state)
{
	struct child *a, *b;

	(void)state;
	for (int both = 0; both < 2; both++) {
		begin_pair();
		a = kit_child("a");
		b = kit_child("b");
		b->fate = FATE_CROSS_FAILS;
		if (both)
			a->fate = FATE_CROSS_FAILS;
		kit_wait(500 * KIT_SECOND);
		assert_int_equal(kit_crosses, 1);
		assert_apart();
		assert_ptr_equal(kit_child("a"), a);
		assert_ptr_equal(kit_child("b"), b);
		if (!both)
			assert_true(a->ended_dead);
		/* With another it may. */
		a->fate = FATE_GOOD;
		del("pb");
		add_on_hub("c");
		kit_wait(KIT_CALM);
		assert_true(is_on("a", "c"));
		kit_end();
	}
}

static void
test_a_launcher_that_cannot_is_asked_later(void **state)
{
	(void)state;
	begin_pair();
	kit_cross_error = -ENOMEM;
	kit_wait(KIT_CALM + 900 * KIT_MS);
	assert_int_equal(kit_crosses, 1);
	kit_wait(200 * KIT_MS);
	assert_int_equal(kit_crosses, 2);
	kit_cross_error = 0;
	kit_wait(2100 * KIT_MS);
	assert_true(is_on("a", "b"));
	kit_end();
}

/* --- trouble --- */

static void
test_one_that_does_not_drain_is_tried_again_ever_later(void **state)
{
	static const unsigned waits[] = {1, 2, 4, 8, 16, 32, 64, 64, 64};

	(void)state;
	begin_pair();
	kit_child("b")->fate = FATE_CROSS_STALLS;
	kit_wait(KIT_CALM);
	for (unsigned n = 0; n < sizeof waits / sizeof *waits; n++) {
		assert_int_equal(kit_crosses, n + 1);
		kit_wait(waits[n] * KIT_SECOND - 100 * KIT_MS);
		assert_int_equal(kit_crosses, n + 1);
		kit_wait(100 * KIT_MS);
	}
	/* All is well for a minute, and it begins with a second again. */
	kit_child("b")->fate = FATE_GOOD;
	kit_wait(64 * KIT_SECOND);
	assert_true(is_on("a", "b"));
	kit_wait(61 * KIT_SECOND);
	say_trouble("a", cross_at("a")->serial, true);
	assert_apart();
	kit_wait(1100 * KIT_MS);
	assert_true(is_on("a", "b"));
	kit_end();
}

static void
test_one_that_is_said_to_lie_is_not_tried_again(void **state)
{
	(void)state;
	begin_pair();
	kit_child("b")->fate = FATE_CROSS_ACCUSES;
	kit_wait(KIT_CALM);
	assert_apart();
	/* Neither waits for the other to read anything. */
	assert_true(kit_child("a")->ended_dead);
	assert_true(kit_child("b")->ended_dead);
	kit_wait(500 * KIT_SECOND);
	assert_int_equal(kit_crosses, 1);
	assert_int_equal(kit_events[EVENT_BACKEND_EXITED], 0);
	/* Nor after a third has been there. */
	add_on_hub("c");
	del("pc");
	del("c");
	kit_wait(500 * KIT_SECOND);
	assert_int_equal(kit_crosses, 1);
	child_die(kit_child("b"));
	kit_wait(5 * KIT_SECOND);
	assert_true(is_on("a", "b"));
	kit_end();
}

static void
test_a_lie_is_found_in_the_end(void **state)
{
	(void)state;
	begin_crossed();
	kit_child("a")->fate = FATE_NEVER_ENDS;
	kit_child("b")->fate = FATE_NEVER_ENDS;
	set_link("a", false);
	kit_wait(100 * KIT_SECOND);
	assert_int_equal(cross_at("a")->state, CX_ENDING);
	say_trouble("a", cross_at("a")->serial, false);
	assert_apart();
	set_link("a", true);
	kit_wait(100 * KIT_SECOND);
	assert_int_equal(kit_crosses, 1);
	kit_end();
}

static void
test_one_that_never_reads_the_rest_holds_nobody_but_that_pair(void **state)
{
	struct answer gone = {0};

	(void)state;
	begin_crossed();
	kit_child("a")->fate = FATE_NEVER_ENDS;
	kit_child("b")->fate = FATE_NEVER_ENDS;
	set_link("a", false);
	set_link("a", true);
	kit_wait(100 * KIT_SECOND);
	assert_int_equal(kit_crosses, 1);
	assert_int_equal(cross_at("a")->state, CX_ENDING);
	assert_int_equal(kit_events[EVENT_BACKEND_EXITED], 0);
	core_netdev_del(kit_core, "a", told, &gone);
	kit_wait(KIT_SECOND);
	assert_ok(&gone);
	assert_int_equal(kit_child("b")->cross, 0);
	add_on_hub("c");
	kit_wait(KIT_CALM);
	assert_int_equal(kit_crosses, 2);
	kit_end();
}

/* --- messages out of turn --- */

static void
test_what_is_said_of_another_one_is_late(void **state)
{
	struct cross_counts counts = {0};
	struct child *a;
	uint32_t serial;

	(void)state;
	begin_crossed();
	a = kit_child("a");
	serial = cross_at("a")->serial;
	for (uint32_t other = serial - 1; other <= serial + 1; other += 2) {
		counts.serial = other;
		say_crossed("a", other);
		say_uncrossed("a", other);
		say_ended("a", counts);
		say_trouble("a", other, false);
	}
	assert_true(is_on("a", "b"));
	set_link("a", false);
	assert_apart();
	/* Nor is it at any now. */
	counts.serial = serial;
	say_crossed("a", serial);
	say_uncrossed("a", serial);
	say_ended("a", counts);
	say_trouble("a", serial, false);
	assert_ptr_equal(kit_child("a"), a);
	set_link("a", true);
	kit_wait(KIT_CALM);
	assert_true(is_on("a", "b"));
	assert_int_equal(kit_events[EVENT_BACKEND_EXITED], 0);
	kit_end();
}

enum nonsense {
	SAYS_CROSSED_TWICE,
	SAYS_UNCROSSED_UNASKED,
	SAYS_IMPOSSIBLE_COUNTS,
	SAYS_TROUBLE_TOO_OFTEN,
	SAYS_ENDED_UNASKED,
	SAYS_ENDED_TWICE,
	SAYS_TROUBLE_BEFORE,
	SAYS_ENDED_BEFORE,
	NONSENSES
};

static void
say_nonsense(enum nonsense what, uint32_t serial)
{
	struct cross_counts c = {.serial = serial};

	switch (what) {
	case SAYS_CROSSED_TWICE:
		say_crossed("a", serial);
		break;
	case SAYS_UNCROSSED_UNASKED:
		say_uncrossed("a", serial);
		break;
	case SAYS_IMPOSSIBLE_COUNTS:
		kit_child("a")->cross_counts.unread_frames = 1;
		set_link("a", false);
		break;
	case SAYS_TROUBLE_TOO_OFTEN:
		for (int n = 0; n < 21; n++)
			say_trouble("a", serial + 1, true);
		break;
	case SAYS_ENDED_TWICE:
		kit_child("b")->fate = FATE_UNCROSS_SILENT;
		set_link("a", false);
		kit_wait(KIT_PART);
		say_ended("a", c);
		break;
	case SAYS_TROUBLE_BEFORE:
		say_trouble("a", serial, true);
		break;
	default:
		say_ended("a", c);
	}
}

static void
test_nonsense_is_a_fault(void **state)
{
	(void)state;
	for (int what = 0; what < NONSENSES; what++) {
		begin_pair();
		if (what >= SAYS_TROUBLE_BEFORE)
			kit_child("a")->fate = FATE_CROSS_SILENT;
		kit_wait(KIT_CALM);
		say_nonsense((enum nonsense)what, cross_at("a")->serial);
		kit_settle(0);
		assert_int_equal(kit_events[EVENT_BACKEND_EXITED], 1);
		assert_string_equal(life_of("a")->fault_before,
		    "broke the rules of its channel");
		assert_int_equal(life_of("b")->restarts, 0);
		kit_end();
	}
}

/* It has stopped, and does not say that but the end of it. */
static void
test_one_that_reports_owes_nothing_more(void **state)
{
	struct child *b;

	(void)state;
	begin_crossed();
	b = kit_child("b");
	b->fate = FATE_UNCROSS_SILENT;
	kit_child("a")->fate = FATE_NEVER_ENDS;
	set_link("a", false);
	kit_wait(KIT_PART);
	assert_true(b->ended);
	b->cross = 0;
	say_ended("b", b->cross_counts);
	kit_wait(10 * KIT_SECOND);
	assert_apart();
	assert_ptr_equal(kit_child("b"), b);
	kit_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_one_that_does_not_stop_is_killed),
	    cmocka_unit_test(
		test_one_that_does_not_answer_is_left_alone_then_killed),
	    cmocka_unit_test(test_one_that_has_stopped_late_lives),
	    cmocka_unit_test(test_one_that_cannot_is_not_asked_again),
	    cmocka_unit_test(test_a_launcher_that_cannot_is_asked_later),
	    cmocka_unit_test(
		test_one_that_does_not_drain_is_tried_again_ever_later),
	    cmocka_unit_test(test_one_that_is_said_to_lie_is_not_tried_again),
	    cmocka_unit_test(test_a_lie_is_found_in_the_end),
	    cmocka_unit_test(
		test_one_that_never_reads_the_rest_holds_nobody_but_that_pair),
	    cmocka_unit_test(test_what_is_said_of_another_one_is_late),
	    cmocka_unit_test(test_nonsense_is_a_fault),
	    cmocka_unit_test(test_one_that_reports_owes_nothing_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
