/*
 * bell_test.c - a doorbell rings, and no peer can hang its ringer.
 */
#include "proto/bell.h"

#include "proto/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* fds[0] is ours, fds[1] the peer's. */
static int fds[2];

static int
setup(void **state)
{
	(void)state;
	return bell_pair(fds);
}

static int
teardown(void **state)
{
	(void)state;
	alarm(0);
	fd_close(&fds[0]);
	fd_close(&fds[1]);
	return 0;
}

static int
rings(int fd)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};

	return poll(&wait, 1, 0) == 1;
}

static void
test_ring_is_heard_and_cleared(void **state)
{
	(void)state;
	assert_false(rings(fds[1]));
	bell_ring(fds[0]);
	assert_true(rings(fds[1]));
	assert_false(rings(fds[0])); /* one direction */
	assert_int_equal(bell_clear(fds[1]), 0);
	assert_false(rings(fds[1]));
	assert_int_equal(bell_clear(fds[1]), 0); /* nothing there: no fault */
	bell_ring(fds[1]);
	assert_true(rings(fds[0]));
}

static void
test_full_bell_does_not_block_its_ringer(void **state)
{
	int i;

	(void)state;
	alarm(10);
	for (i = 0; i < 5000; i++)
		bell_ring(fds[0]);
	assert_true(rings(fds[1]));
}

static void
test_peer_that_clears_nonblock_cannot_hang_us(void **state)
{
	int i;

	(void)state;
	alarm(10);
	assert_int_equal(sys_nonblock(fds[0], false), 0);
	assert_int_equal(sys_nonblock(fds[1], false), 0);
	for (i = 0; i < 5000; i++)
		bell_ring(fds[0]);
	/* Reading an empty one does not wait either. */
	assert_int_equal(bell_clear(fds[0]), 0);
}

static void
test_flood_is_taken_in_bounded_pieces(void **state)
{
	int i, turns = 0;
	char ring = 1;

	(void)state;
	alarm(10);
	i = 1 << 20;
	assert_int_equal(
	    setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &i, sizeof i), 0);
	for (i = 0; i < 100; i++)
		assert_int_equal(send(fds[1], &ring, 1, MSG_DONTWAIT), 1);
	while (rings(fds[0])) {
		assert_int_equal(bell_clear(fds[0]), 0);
		turns++;
	}
	assert_in_range(turns, 5, 100);
}

static void
test_what_is_no_ring_is_a_fault(void **state)
{
	static const char big[2000];

	(void)state;
	assert_int_equal(send(fds[1], big, sizeof big, MSG_DONTWAIT), 2000);
	assert_int_equal(bell_clear(fds[0]), -EPROTO);
	assert_int_equal(send(fds[1], big, 2, MSG_DONTWAIT), 2);
	assert_int_equal(bell_clear(fds[0]), -EPROTO);
	assert_int_equal(send(fds[1], big, 0, MSG_DONTWAIT), 0);
	assert_int_equal(bell_clear(fds[0]), -EPROTO);
	assert_int_equal(bell_clear(fds[0]), 0);
}

static void
test_peer_that_shuts_or_closes_is_a_fault(void **state)
{
	(void)state;
	assert_int_equal(shutdown(fds[1], SHUT_RDWR), 0);
	bell_ring(fds[0]); /* no signal, no wait */
	assert_int_equal(bell_clear(fds[0]), -EPROTO);
	fd_close(&fds[1]);
	bell_ring(fds[0]);
	assert_int_equal(bell_clear(fds[0]), -EPROTO);
}

static void
test_half_shut_bell_still_does_not_signal(void **state)
{
	(void)state;
	assert_int_equal(shutdown(fds[1], SHUT_RD), 0);
	bell_ring(fds[0]);
	assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
	assert_int_equal(bell_clear(fds[0]), -EPROTO);
}

static int
lowest_free_fd(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	close(fd);
	return fd;
}

static void
test_descriptors_sent_with_a_ring_do_not_arrive(void **state)
{
	char ring = 1, room[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {.iov_base = &ring, .iov_len = 1};
	struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = room,
	    .msg_controllen = sizeof room};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int before, zero = 0;

	(void)state;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof zero);
	memcpy(CMSG_DATA(c), &zero, sizeof zero);
	before = lowest_free_fd();
	/* Refused at the sender where the kernel can, else dropped here. */
	if (sendmsg(fds[1], &msg, MSG_DONTWAIT) == 1)
		assert_int_equal(bell_clear(fds[0]), 0);
	assert_int_equal(lowest_free_fd(), before);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_ring_is_heard_and_cleared),
	    TEST(test_full_bell_does_not_block_its_ringer),
	    TEST(test_peer_that_clears_nonblock_cannot_hang_us),
	    TEST(test_flood_is_taken_in_bounded_pieces),
	    TEST(test_what_is_no_ring_is_a_fault),
	    TEST(test_peer_that_shuts_or_closes_is_a_fault),
	    TEST(test_half_shut_bell_still_does_not_signal),
	    TEST(test_descriptors_sent_with_a_ring_do_not_arrive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
