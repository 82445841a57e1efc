/*
 * backoff_test.c - waits between lives, and when to give up.
 */
#include "broker/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MS UINT64_C(1000000)

static void
test_waits_are_0_100_200_up_to_30_s(void **state)
{
	static const uint64_t waits_ms[] = {
	    0, 100, 200, 400, 800, 1600, 3200, 6400, 12800};
	struct backoff b = {0};

	(void)state;
	for (size_t i = 0; i < sizeof waits_ms / sizeof *waits_ms; i++) {
		backoff_death(&b, 5 * MS);
		assert_int_equal(backoff_wait_ns(&b), waits_ms[i] * MS);
		assert_false(backoff_spent(&b));
	}
	for (int i = 0; i < 100; i++)
		backoff_death(&b, 0);
	assert_true(backoff_wait_ns(&b) <= BACKOFF_MAX_NS);
}

static void
test_ten_quick_deaths_in_a_row_are_enough(void **state)
{
	struct backoff b = {0};

	(void)state;
	for (int i = 0; i < 9; i++)
		backoff_death(&b, BACKOFF_QUICK_NS - 1);
	assert_false(backoff_spent(&b));
	backoff_death(&b, 0);
	assert_true(backoff_spent(&b));
	backoff_reset(&b);
	assert_false(backoff_spent(&b));
	assert_int_equal(backoff_wait_ns(&b), 0);
}

static void
test_a_long_life_forgives_what_was_before(void **state)
{
	struct backoff b = {0};

	(void)state;
	for (int i = 0; i < 9; i++)
		backoff_death(&b, 0);
	backoff_death(&b, BACKOFF_QUICK_NS);
	assert_int_equal(backoff_wait_ns(&b), 0);
	backoff_death(&b, 0);
	assert_false(backoff_spent(&b));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_waits_are_0_100_200_up_to_30_s),
	    cmocka_unit_test(test_ten_quick_deaths_in_a_row_are_enough),
	    cmocka_unit_test(test_a_long_life_forgives_what_was_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
