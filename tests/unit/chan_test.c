/*
 * chan_test.c - a channel delivers, bounds, and survives what peers send.
 */
#include "proto/chan.h"

#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_NS UINT64_C(10000000000)

/* Our channel `chan`, the peer's raw descriptor `peer`. */
static struct fixture {
	struct loop *loop;
	struct timer *deadline;
	struct chan *chan;
	int peer;
	int free_fd; /* lowest free descriptor before the channel was made */
	int answer;  /* what message() is to return */
	int messages, closes, reason;
	size_t last_len, last_fds, fds_total, stop_after;
	uint8_t last[CHAN_BYTES_MAX];
	int free_in_message;
} fx;

static int
lowest_free_fd(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	close(fd);
	return fd;
}

static int
message(void *self, const uint8_t *buf, size_t len, int *fds, size_t fd_count)
{
	size_t i;

	assert_ptr_equal(self, &fx);
	fx.messages++;
	fx.last_len = len;
	fx.last_fds = fd_count;
	fx.fds_total += fd_count;
	memcpy(fx.last, buf, len);
	for (i = 0; i < fd_count; i++) {
		assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
		close(fds[i]);
	}
	if (fx.free_in_message) {
		chan_free(ptr_take(fx.chan));
		loop_stop(fx.loop, 0);
	}
	if (fx.stop_after != 0 && (size_t)fx.messages >= fx.stop_after)
		loop_stop(fx.loop, 0);
	return fx.answer;
}

static void
closed(void *self, int reason)
{
	assert_ptr_equal(self, &fx);
	fx.closes++;
	fx.reason = reason;
	chan_free(ptr_take(fx.chan));
	loop_stop(fx.loop, 0);
}

static const struct chan_ops ops = {.message = message, .closed = closed};

static void
expired(void *self)
{
	(void)self;
	loop_stop(fx.loop, 99);
}

static void
start(int wants_fds)
{
	int fds[2];

	memset(&fx, 0, sizeof fx);
	fx.loop = loop_new();
	fx.deadline = timer_new(fx.loop, expired, NULL);
	fx.free_fd = lowest_free_fd();
	assert_int_equal(sys_pair(fds), 0);
	fx.peer = fds[1];
	fx.chan = chan_new(fx.loop, fds[0], wants_fds, &ops, &fx);
	assert_non_null(fx.chan);
}

/* Everything is closed, and nothing else is open. */
static void
finish(void)
{
	chan_free(ptr_take(fx.chan));
	fd_close(&fx.peer);
	assert_int_equal(lowest_free_fd(), fx.free_fd);
	timer_free(fx.deadline);
	loop_free(fx.loop);
}

/* Run until loop_stop; 0, or 99 when nothing happened in time. */
static int
run(void)
{
	timer_set_ns(fx.deadline, DEADLINE_NS);
	return loop_run(fx.loop);
}

static void
say(const void *buf, size_t len)
{
	assert_int_equal(send(fx.peer, buf, len, MSG_NOSIGNAL), len);
}

/* Send one message with `count` copies of a descriptor. 0 or -errno. */
static int
say_with_fds(size_t count)
{
	static union {
		struct cmsghdr align;
		char room[CMSG_SPACE(253 * sizeof(int))];
	} u;
	char text[] = "fds";
	struct iovec iov = {.iov_base = text, .iov_len = sizeof text};
	struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = &u,
	    .msg_controllen = CMSG_SPACE(count * sizeof(int))};
	struct cmsghdr *c = &u.align;
	int fds[253];
	size_t i;

	for (i = 0; i < count; i++)
		fds[i] = fx.peer;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(c), fds, count * sizeof(int));
	return (int)sys_result(sendmsg(fx.peer, &msg, MSG_NOSIGNAL));
}

static void
expect_fault(int reason)
{
	assert_int_equal(run(), 0);
	assert_int_equal(fx.closes, 1);
	assert_int_equal(fx.reason, reason);
}

/* --- honest peers ------------------------------------------------------------
 */

static void
test_messages_arrive_whole_and_in_order(void **state)
{
	uint8_t *big = calloc(1, CHAN_BYTES_MAX);

	(void)state;
	assert_non_null(big);
	start(0);
	say("one", 3);
	memset(big, 7, CHAN_BYTES_MAX);
	say(big, CHAN_BYTES_MAX);
	fx.stop_after = 2;
	assert_int_equal(run(), 0);
	assert_int_equal(fx.messages, 2);
	assert_int_equal(fx.last_len, CHAN_BYTES_MAX);
	assert_memory_equal(fx.last, big, CHAN_BYTES_MAX);
	assert_int_equal(fx.last_fds, 0);
	free(big);
	finish();
}

static void
test_descriptors_arrive_and_are_ours(void **state)
{
	(void)state;
	start(1);
	assert_true(say_with_fds(CHAN_FDS_MAX) > 0);
	fx.stop_after = 1;
	assert_int_equal(run(), 0);
	assert_int_equal(fx.last_fds, CHAN_FDS_MAX);
	finish();
}

static void
test_end_of_file_ends_the_channel(void **state)
{
	(void)state;
	start(0);
	say("last", 4);
	fd_close(&fx.peer);
	expect_fault(0);
	assert_int_equal(fx.messages, 1); /* what was said before is heard */
	finish();
}

static void
test_sent_messages_are_queued_and_keep_their_order(void **state)
{
	const uint32_t count = CHAN_QUEUE_MAX;
	uint8_t buf[64];
	uint32_t i, got, fd_seen = 0;
	int fds[CHAN_FDS_MAX];
	size_t fd_count = 0;

	(void)state;
	start(0);
	for (i = 0; i < count; i++)
		assert_int_equal(
		    chan_send(fx.chan, &i, sizeof i, &fx.peer, i % 100 == 99),
		    0);
	for (i = 0; i < count; i++) {
		/* The queue moves when our loop turns. */
		while (recv(fx.peer, buf, sizeof buf, MSG_PEEK | MSG_DONTWAIT) <
		       0) {
			fx.messages = 0;
			fx.stop_after = 1;
			say("go", 2);
			assert_int_equal(run(), 0);
		}
		assert_int_equal(chan_receive(fx.peer, buf, sizeof buf, fds,
				     &fd_count, 1000),
		    4);
		memcpy(&got, buf, sizeof got);
		assert_int_equal(got, i);
		assert_int_equal(fd_count, i % 100 == 99);
		fd_seen += (uint32_t)fd_count;
		if (fd_count > 0)
			fd_close(&fds[0]);
	}
	assert_int_equal(fd_seen, count / 100);
	finish();
}

static void
test_channel_may_be_freed_in_its_callback(void **state)
{
	(void)state;
	start(0);
	say("a", 1);
	say("b", 1);
	fx.free_in_message = 1;
	assert_int_equal(run(), 0);
	assert_int_equal(fx.messages, 1);
	assert_null(fx.chan);
	finish();
}

/* --- faults
 * -------------------------------------------------------------------- */

static void
test_answer_of_the_callback_faults_the_peer(void **state)
{
	(void)state;
	start(0);
	fx.answer = -EPROTO;
	say("a", 1);
	say("b", 1);
	expect_fault(-EPROTO);
	assert_int_equal(fx.messages, 1);
	finish();
}

static void
test_too_long_message_is_a_fault(void **state)
{
	uint8_t *big = calloc(1, CHAN_BYTES_MAX + 1);

	(void)state;
	assert_non_null(big);
	start(0);
	say(big, CHAN_BYTES_MAX + 1);
	expect_fault(-EPROTO);
	assert_int_equal(fx.messages, 0);
	free(big);
	finish();
}

static void
test_empty_message_ends_the_channel(void **state)
{
	(void)state;
	start(1);
	say("", 0);
	expect_fault(0);
	assert_int_equal(fx.messages, 0);
	finish();
}

static void
test_one_descriptor_too_many_is_a_fault(void **state)
{
	(void)state;
	start(1);
	assert_true(say_with_fds(CHAN_FDS_MAX + 1) > 0);
	expect_fault(-EPROTO);
	assert_int_equal(fx.messages, 0);
	finish();
}

static void
test_253_descriptors_leak_none(void **state)
{
	(void)state;
	start(1);
	assert_true(say_with_fds(253) > 0);
	expect_fault(-EPROTO);
	finish();
}

static void
test_descriptors_where_none_are_wanted_are_refused(void **state)
{
	(void)state;
	start(0);
	/* A kernel with SO_PASSRIGHTS refuses the sender already. */
	if (say_with_fds(1) > 0) {
		expect_fault(-EPROTO);
		assert_int_equal(fx.messages, 0);
	}
	finish();
}

static void
test_descriptors_with_a_too_long_message_leak_none(void **state)
{
	uint8_t buf[2];
	int fds[CHAN_FDS_MAX];
	size_t fd_count = 9;

	(void)state;
	start(1);
	assert_int_equal(chan_send(fx.chan, "long", 4, &fx.peer, 1), 0);
	assert_int_equal(
	    chan_receive(fx.peer, buf, sizeof buf, fds, &fd_count, 1000),
	    -EPROTO);
	assert_int_equal(fd_count, 0);
	finish();
}

static int turns; /* of another descriptor's watch */

static void
other_ready(void *self, unsigned events)
{
	(void)self;
	(void)events;
	turns++;
}

static void
test_flood_leaves_turns_for_others(void **state)
{
	struct watch *other;
	int fds[2], i;

	(void)state;
	start(0);
	turns = 0;
	assert_int_equal(sys_pair(fds), 0);
	assert_int_equal(send(fds[1], "x", 1, 0), 1);
	other = watch_new(fx.loop, fds[0], WATCH_READ, other_ready, NULL);
	for (i = 0; i < 200; i++)
		say("flood", 5);
	fx.stop_after = 200;
	assert_int_equal(run(), 0);
	assert_true(turns >= 200 / 16 - 1);
	watch_free(other);
	fd_close(&fds[0]);
	fd_close(&fds[1]);
	finish();
}

static void
test_peer_that_does_not_read_fills_a_bounded_queue(void **state)
{
	int rc = 0, sent = 0;

	(void)state;
	start(0);
	while (rc == 0 && sent < 100000) {
		rc = chan_send(fx.chan, &sent, sizeof sent, NULL, 0);
		sent += rc == 0;
	}
	assert_int_equal(rc, -ENOBUFS);
	assert_in_range(sent, CHAN_QUEUE_MAX, CHAN_QUEUE_MAX + 2000);
	finish();
}

static void
test_long_messages_fill_it_by_bytes(void **state)
{
	uint8_t *big = calloc(1, CHAN_BYTES_MAX);
	int rc = 0, sent = 0;

	(void)state;
	assert_non_null(big);
	start(0);
	while (rc == 0 && sent < 100000) {
		rc = chan_send(fx.chan, big, CHAN_BYTES_MAX, NULL, 0);
		sent += rc == 0;
	}
	assert_int_equal(rc, -ENOBUFS);
	assert_in_range(sent, 64, 64 + 16);
	free(big);
	finish();
}

static void
test_sending_refuses_what_no_peer_would_take(void **state)
{
	uint8_t *big = calloc(1, CHAN_BYTES_MAX + 1);

	(void)state;
	assert_non_null(big);
	start(0);
	assert_int_equal(
	    chan_send(fx.chan, big, CHAN_BYTES_MAX + 1, NULL, 0), -EMSGSIZE);
	free(big);
	finish();
}

static void
test_sending_to_a_gone_peer_is_an_error(void **state)
{
	(void)state;
	start(0);
	fd_close(&fx.peer);
	assert_int_equal(chan_send(fx.chan, "x", 1, NULL, 0), -EPIPE);
	assert_int_equal(fx.closes, 0); /* told by the loop, not from here */
	expect_fault(0);
	finish();
}

static void
test_half_shut_peer_is_noticed(void **state)
{
	(void)state;
	start(0);
	assert_int_equal(shutdown(fx.peer, SHUT_WR), 0);
	expect_fault(0);
	finish();
	start(0);
	assert_int_equal(shutdown(fx.peer, SHUT_RD), 0);
	assert_int_equal(chan_send(fx.chan, "x", 1, NULL, 0), -EPIPE);
	finish();
}

/* The kernel says ECONNRESET then; it is an end like any other. */
static void
test_peer_that_dies_without_having_read_has_ended(void **state)
{
	(void)state;
	start(0);
	assert_int_equal(chan_send(fx.chan, "unread", 6, NULL, 0), 0);
	fd_close(&fx.peer);
	expect_fault(0);
	finish();
}

static void
test_peer_that_dies_with_a_queue_behind_it_frees_it(void **state)
{
	int i;

	(void)state;
	start(0);
	for (i = 0; i < 1000; i++)
		assert_int_equal(
		    chan_send(fx.chan, "queued", 6, &fx.peer, i % 7 == 0), 0);
	/* Unread messages reset the connection. */
	assert_int_equal(shutdown(fx.peer, SHUT_RDWR), 0);
	assert_int_equal(run(), 0);
	assert_int_equal(fx.closes, 1);
	finish();
}

/* --- waiting at start
 * ---------------------------------------------------------- */

static void
test_receive_ends_at_its_deadline(void **state)
{
	uint8_t buf[8];
	uint64_t start_ns;

	(void)state;
	start(0);
	start_ns = sys_mono_ns();
	assert_int_equal(
	    chan_receive(fx.peer, buf, sizeof buf, NULL, NULL, 30), -ETIMEDOUT);
	assert_true(sys_mono_ns() - start_ns >= 30000000u);
	assert_int_equal(chan_send(fx.chan, "hi", 2, NULL, 0), 0);
	assert_int_equal(
	    chan_receive(fx.peer, buf, sizeof buf, NULL, NULL, 0), 2);
	assert_int_equal(chan_send(fx.chan, "fd", 2, &fx.peer, 1), 0);
	assert_int_equal(
	    chan_receive(fx.peer, buf, sizeof buf, NULL, NULL, 1000), -EPROTO);
	chan_free(ptr_take(fx.chan));
	assert_int_equal(
	    chan_receive(fx.peer, buf, sizeof buf, NULL, NULL, 1000), 0);
	finish();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_messages_arrive_whole_and_in_order),
	    cmocka_unit_test(test_descriptors_arrive_and_are_ours),
	    cmocka_unit_test(test_end_of_file_ends_the_channel),
	    cmocka_unit_test(
		test_sent_messages_are_queued_and_keep_their_order),
	    cmocka_unit_test(test_channel_may_be_freed_in_its_callback),
	    cmocka_unit_test(test_answer_of_the_callback_faults_the_peer),
	    cmocka_unit_test(test_too_long_message_is_a_fault),
	    cmocka_unit_test(test_empty_message_ends_the_channel),
	    cmocka_unit_test(test_one_descriptor_too_many_is_a_fault),
	    cmocka_unit_test(test_253_descriptors_leak_none),
	    cmocka_unit_test(
		test_descriptors_where_none_are_wanted_are_refused),
	    cmocka_unit_test(
		test_descriptors_with_a_too_long_message_leak_none),
	    cmocka_unit_test(test_flood_leaves_turns_for_others),
	    cmocka_unit_test(
		test_peer_that_does_not_read_fills_a_bounded_queue),
	    cmocka_unit_test(test_long_messages_fill_it_by_bytes),
	    cmocka_unit_test(test_sending_refuses_what_no_peer_would_take),
	    cmocka_unit_test(test_sending_to_a_gone_peer_is_an_error),
	    cmocka_unit_test(test_half_shut_peer_is_noticed),
	    cmocka_unit_test(test_peer_that_dies_without_having_read_has_ended),
	    cmocka_unit_test(
		test_peer_that_dies_with_a_queue_behind_it_frees_it),
	    cmocka_unit_test(test_receive_ends_at_its_deadline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
