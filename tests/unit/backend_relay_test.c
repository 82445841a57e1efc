/* backend_relay_test.c - bytes through a relay, half-closed ends, refusals. */
#include "backends/backend_relay.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct loop *loop;
static struct timer *pace;
static struct relay_set set;

static void
stop(void *self)
{
	(void)self;
	loop_stop(loop, 0);
}

/* Turn the loop for a millisecond. */
static void
turn(void)
{
	timer_set_ns(pace, 1000000);
	loop_run(loop);
}

static int
start(void **state)
{
	(void)state;
	loop = loop_new();
	pace = timer_new(loop, stop, NULL);
	return 0;
}

static int
finish(void **state)
{
	(void)state;
	relay_close_all(&set);
	assert_int_equal(set.count, 0);
	timer_free(pace);
	loop_free(loop);
	return 0;
}

/* A relay between two pairs; our ends. */
static void
join(int *left, int *right)
{
	int a[2], b[2];

	socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, a);
	socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b);
	assert_int_equal(relay_add(&set, loop, a[1], b[1]), 0);
	*left = a[0];
	*right = b[0];
}

/* What arrives at fd within a second: a count, 0 at the end, or -1. */
static ssize_t
receive(int fd, void *buf, size_t size)
{
	ssize_t n = -1;
	int i;

	for (i = 0; i < 1000 && n < 0; i++) {
		turn();
		n = read(fd, buf, size);
	}
	return n;
}

static void
test_more_than_the_buffers_hold_passes_both_ways(void **state)
{
	static uint8_t data[1 << 20], in[2][1 << 20];
	size_t sent[2] = {0}, got[2] = {0}, i, rounds;
	int fd[2];
	ssize_t n;

	(void)state;
	for (i = 0; i < sizeof data; i++)
		data[i] = (uint8_t)(i * 7 + i / 251);
	join(&fd[0], &fd[1]);
	for (rounds = 0; rounds < 5000 && got[0] + got[1] < 2 * sizeof data;
	     rounds++) {
		for (i = 0; i < 2; i++) {
			n = write(fd[i], data + sent[i], sizeof data - sent[i]);
			sent[i] += n > 0 ? (size_t)n : 0;
			n = read(fd[i], in[i] + got[i], sizeof data - got[i]);
			got[i] += n > 0 ? (size_t)n : 0;
		}
		turn();
	}
	assert_memory_equal(in[0], data, sizeof data);
	assert_memory_equal(in[1], data, sizeof data);
	close(fd[0]);
	close(fd[1]);
}

static void
test_an_end_that_has_said_all_still_hears(void **state)
{
	char buf[16];
	int left, right;

	(void)state;
	join(&left, &right);
	assert_int_equal(write(left, "ask", 3), 3);
	shutdown(left, SHUT_WR);
	assert_int_equal(receive(right, buf, sizeof buf), 3);
	assert_int_equal(receive(right, buf, sizeof buf), 0);
	assert_int_equal(write(right, "answer", 6), 6);
	close(right);
	assert_int_equal(receive(left, buf, sizeof buf), 6);
	assert_int_equal(receive(left, buf, sizeof buf), 0);
	close(left);
	turn();
	assert_int_equal(set.count, 0);
}

static void
test_a_refused_target_ends_the_other_side(void **state)
{
	struct addr to = {.len = sizeof to.in};
	int a[2], rc;
	char c;

	(void)state;
	to.in.sin_family = AF_INET;
	to.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	to.in.sin_port = htons(1);
	socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, a);
	rc = relay_connect(&set, loop, a[1], &to);
	assert_true(rc == 0 || rc == -ECONNREFUSED);
	assert_int_equal(receive(a[0], &c, 1), 0);
	assert_int_equal(set.count, 0);
	close(a[0]);
}

static void
test_their_number_is_bounded(void **state)
{
	int left[RELAYS_MAX], right[RELAYS_MAX], a[2], b[2];
	unsigned i;

	(void)state;
	for (i = 0; i < RELAYS_MAX; i++)
		join(&left[i], &right[i]);
	socketpair(AF_UNIX, SOCK_STREAM, 0, a);
	socketpair(AF_UNIX, SOCK_STREAM, 0, b);
	assert_int_equal(relay_add(&set, loop, a[1], b[1]), -EMFILE);
	for (i = 0; i < RELAYS_MAX; i++) {
		close(left[i]);
		close(right[i]);
	}
	close(a[0]);
	close(b[0]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		test_more_than_the_buffers_hold_passes_both_ways, start,
		finish),
	    cmocka_unit_test_setup_teardown(
		test_an_end_that_has_said_all_still_hears, start, finish),
	    cmocka_unit_test_setup_teardown(
		test_a_refused_target_ends_the_other_side, start, finish),
	    cmocka_unit_test_setup_teardown(
		test_their_number_is_bounded, start, finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
