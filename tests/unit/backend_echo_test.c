/* backend_echo_test.c - own frames are recognised once, others never. */
#include "backends/backend_echo.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct echo echo;
static uint8_t frame[1514];

static void
test_each_sent_frame_is_own_once(void **state)
{
	(void)state;
	memset(&echo, 0, sizeof echo);
	echo_sent(&echo, frame, 60, 10);
	echo_sent(&echo, frame, 60, 11);
	assert_true(echo_is_own(&echo, frame, 60, 20));
	assert_true(echo_is_own(&echo, frame, 60, 20));
	assert_false(echo_is_own(&echo, frame, 60, 20));
}

static void
test_other_bytes_and_lengths_are_not_own(void **state)
{
	size_t i;

	(void)state;
	memset(&echo, 0, sizeof echo);
	echo_sent(&echo, frame, sizeof frame, 10);
	assert_false(echo_is_own(&echo, frame, sizeof frame - 1, 20));
	for (i = 0; i < sizeof frame; i++) {
		frame[i] ^= 0x40;
		assert_false(echo_is_own(&echo, frame, sizeof frame, 20));
		frame[i] ^= 0x40;
	}
	assert_true(echo_is_own(&echo, frame, sizeof frame, 20));
}

static void
test_after_a_second_a_frame_is_no_echo(void **state)
{
	(void)state;
	memset(&echo, 0, sizeof echo);
	echo_sent(&echo, frame, 60, 10);
	assert_false(echo_is_own(&echo, frame, 60, 11 + ECHO_NS));
}

static void
test_a_thousand_in_flight_are_all_own(void **state)
{
	uint32_t i, found = 0;

	(void)state;
	memset(&echo, 0, sizeof echo);
	for (i = 0; i < 1000; i++) {
		memcpy(frame, &i, sizeof i);
		echo_sent(&echo, frame, 100, 10 + i);
	}
	for (i = 0; i < 1000; i++) {
		memcpy(frame, &i, sizeof i);
		found += echo_is_own(&echo, frame, 100, 2000);
	}
	/* A set of four that got five has lost one. */
	assert_true(found >= 990);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_each_sent_frame_is_own_once),
	    cmocka_unit_test(test_other_bytes_and_lengths_are_not_own),
	    cmocka_unit_test(test_after_a_second_a_frame_is_no_echo),
	    cmocka_unit_test(test_a_thousand_in_flight_are_all_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
