/* backend_pollset_test.c - a poll list kept in epoll by differences. */
#include "backends/backend_pollset.h"
#include "proto/log.h"
#include "proto/sys.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct pollset set;
static int pair[2], other[2];

static int
start(void **state)
{
	(void)state;
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	socketpair(AF_UNIX, SOCK_STREAM, 0, other);
	return pollset_open(&set);
}

static int
finish(void **state)
{
	int i;

	(void)state;
	pollset_close(&set);
	for (i = 0; i < 2; i++) {
		fd_close(&pair[i]);
		fd_close(&other[i]);
	}
	return 0;
}

static bool
ready(void)
{
	struct pollfd p = {.fd = set.epoll, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

static void
want(int fd, uint32_t events)
{
	pollset_begin(&set);
	if (events)
		pollset_add(&set, fd, events);
	pollset_end(&set);
}

static void
test_what_is_wanted_is_found_by_index(void **state)
{
	int a, b;

	(void)state;
	pollset_begin(&set);
	a = pollset_add(&set, pair[0], EPOLLIN);
	b = pollset_add(&set, other[0], EPOLLIN | EPOLLOUT);
	pollset_end(&set);
	assert_int_equal(write(pair[1], "x", 1), 1);
	assert_true(ready());
	pollset_look(&set);
	assert_int_equal(pollset_found(&set, a), EPOLLIN);
	assert_int_equal(pollset_found(&set, b), EPOLLOUT);
}

static void
test_what_is_wanted_no_more_is_not_watched(void **state)
{
	(void)state;
	want(pair[0], EPOLLIN);
	assert_int_equal(write(pair[1], "x", 1), 1);
	assert_true(ready());
	want(pair[0], 0);
	assert_false(ready());
	/* Not even for its end, which epoll would tell always. */
	close(fd_take(&pair[1]));
	assert_false(ready());
	want(pair[0], EPOLLIN);
	assert_true(ready());
}

static void
test_changes_of_interest_are_seen(void **state)
{
	(void)state;
	want(pair[0], EPOLLIN);
	assert_false(ready());
	want(pair[0], EPOLLOUT);
	assert_true(ready());
	want(pair[0], EPOLLIN);
	assert_false(ready());
}

static void
test_a_number_that_comes_back_is_watched_again(void **state)
{
	int fd = pair[0];

	(void)state;
	want(fd, EPOLLIN);
	pollset_forget(&set, fd);
	close(fd_take(&pair[0]));
	close(fd_take(&pair[1]));
	assert_int_equal(dup2(other[0], fd), fd);
	want(fd, EPOLLIN);
	assert_false(ready());
	assert_int_equal(write(other[1], "x", 1), 1);
	assert_true(ready());
	pollset_forget(&set, fd);
	close(fd);
}

static void
test_nothing_found_is_left_from_an_earlier_turn(void **state)
{
	char c;

	(void)state;
	assert_int_equal(write(pair[1], "x", 1), 1);
	want(pair[0], EPOLLIN);
	pollset_look(&set);
	assert_int_equal(pollset_found(&set, 0), EPOLLIN);
	assert_int_equal(read(pair[0], &c, 1), 1);
	want(pair[0], EPOLLIN);
	pollset_look(&set);
	assert_int_equal(pollset_found(&set, 0), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		test_what_is_wanted_is_found_by_index, start, finish),
	    cmocka_unit_test_setup_teardown(
		test_what_is_wanted_no_more_is_not_watched, start, finish),
	    cmocka_unit_test_setup_teardown(
		test_changes_of_interest_are_seen, start, finish),
	    cmocka_unit_test_setup_teardown(
		test_a_number_that_comes_back_is_watched_again, start, finish),
	    cmocka_unit_test_setup_teardown(
		test_nothing_found_is_left_from_an_earlier_turn, start, finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
