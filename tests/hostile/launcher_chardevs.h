/*
 * launcher_chardevs.h - a broker that lends what slots keep, and tries to
 * lend what it may not.
 */
#ifndef TESTS_HOSTILE_LAUNCHER_CHARDEVS_H
#define TESTS_HOSTILE_LAUNCHER_CHARDEVS_H

#include "tests/hostile/launcher_fakes.h"

/* A chardev in a slot: its resource 0. */
static struct launch_msg
keep(uint32_t slot, uint32_t kind, const char *path)
{
	struct launch_msg msg = open_message(slot, 0, kind);

	set_unix(kind == RES_STREAM_LISTEN ? &msg.open.local : &msg.open.remote,
	    path);
	ask(&msg, LAUNCH_OPENED);
	return msg;
}

/* Resource `index` of `slot` is to be what `keeper` keeps. */
static struct launch_msg
lend(uint32_t slot, uint32_t index, uint32_t keeper)
{
	struct launch_msg msg = open_message(slot, index, RES_CHARDEV);

	msg.open.number = keeper;
	msg.open.give = 1;
	snprintf(msg.open.path, LAUNCH_PATH, "c%u", keeper);
	return msg;
}

static void
lent(uint32_t slot, uint32_t index, uint32_t keeper, uint32_t again)
{
	struct launch_msg msg = lend(slot, index, keeper);

	msg.open.again = again;
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == 0 && got.fd_count == 1);
}

static void
not_lent(
    uint32_t slot, uint32_t index, uint32_t keeper, uint32_t again, int error)
{
	struct launch_msg msg = lend(slot, index, keeper);

	msg.open.again = again;
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == error && got.fd_count == 0);
}

/* Is the descriptor that came last one end of an open connection? */
static void
connected(bool wanted)
{
	char byte;
	ssize_t len =
	    sys_result(recv(got.fds[0], &byte, 1, MSG_DONTWAIT | MSG_PEEK));

	EXPECT((len == -EAGAIN) == wanted);
}

static void
try_wrong_keepers(void)
{
	struct launch_msg msg;

	/* nobody, the broker, out of range, itself */
	not_lent(9, 0, 0, 0, -EINVAL);
	not_lent(9, 0, LAUNCH_SLOTS, 0, -EINVAL);
	not_lent(9, 0, UINT32_MAX, 0, -EINVAL);
	not_lent(9, 0, LAUNCH_SLOTS - 1, 0, -EINVAL);
	not_lent(9, 0, 9, 0, -EINVAL);
	keep(6, RES_STREAM_LISTEN, in_run_dir("self.sock"));
	not_lent(6, 1, 6, 0, -EINVAL);
	release(6);
	/* nothing in it, or something that is no chardev's */
	not_lent(9, 0, 8, 0, -EINVAL);
	msg = open_message(7, 0, RES_FILE_CREATE);
	snprintf(msg.open.path, LAUNCH_PATH, "%s", in_run_dir("f"));
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == 0);
	not_lent(9, 0, 7, 0, -EINVAL);
	release(7);
	not_lent(9, 0, 7, 0, -EINVAL);
	/* in another place than the first */
	msg = open_message(7, 1, RES_STREAM_LISTEN);
	set_unix(&msg.open.local, in_run_dir("second.sock"));
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == 0);
	not_lent(9, 0, 7, 0, -EINVAL);
	release(7);
}

/* A keeper with a process is none, and neither is one that had one. */
static void
try_living_keepers(void)
{
	struct launch_msg msg = message(LAUNCH_STOP, 7);

	keep(7, RES_STREAM_LISTEN, in_run_dir("living.sock"));
	start(7, ROLE_BACKEND, "good");
	take_type(LAUNCH_ATTESTED, 7);
	not_lent(9, 0, 7, 0, -EINVAL);
	msg.stop.epoch = 1;
	msg.stop.signo = SIGKILL;
	post(&msg);
	take_type(LAUNCH_EXITED, 7);
	not_lent(9, 0, 7, 0, -EINVAL);
	release(7);
	keep(7, RES_STREAM_LISTEN, in_run_dir("living.sock"));
	lent(9, 0, 7, 0);
	/* It comes to life while it is lent. */
	start(7, ROLE_BACKEND, "good");
	take_type(LAUNCH_ATTESTED, 7);
	release(9);
	not_lent(9, 0, 7, 0, -EINVAL);
	release(7);
}

static void
lend_a_listener(void)
{
	keep(1, RES_STREAM_LISTEN, in_run_dir("l.sock"));
	EXPECT(got.msg.result.error == 0);
	lent(2, 0, 1, 0);
	/* Twice to one slot, or to two of them */
	not_lent(2, 1, 1, 0, -EBUSY);
	not_lent(2, 0, 1, 0, -EEXIST);
	not_lent(3, 0, 1, 0, -EBUSY);
	not_lent(3, 0, 1, 1, -EPERM);
	lent(2, 0, 1, 1);
	/* Its user goes: the next one has it. */
	release(2);
	not_lent(2, 0, 1, 1, -EPERM);
	lent(3, 0, 1, 0);
	/* It goes itself, and its place is taken by another. */
	release(1);
	keep(1, RES_STREAM_CONNECT, in_run_dir("absent.sock"));
	EXPECT(got.msg.result.error == -ENOENT);
	not_lent(3, 0, 1, 1, -EBUSY);
	not_lent(2, 0, 1, 0, -ENOENT); /* granted, but nobody is there */
	not_lent(3, 0, 1, 1, -EBUSY);
	release(3);
	not_lent(4, 0, 1, 0, -EBUSY); /* still that of 2 */
	release(2);
	release(1);
}

static void
lend_a_connection(void)
{
	keep(1, RES_STREAM_LISTEN, in_run_dir("far.sock"));
	EXPECT(got.msg.result.error == 0);
	keep(2, RES_STREAM_CONNECT, in_run_dir("far.sock"));
	EXPECT(got.msg.result.error == 0);
	lent(3, 0, 2, 0); /* the one that was made at first */
	connected(true);
	lent(3, 0, 2, 1); /* a fresh one */
	connected(true);
	release(1);
	not_lent(3, 0, 2, 1, -ENOENT);
	keep(1, RES_STREAM_LISTEN, in_run_dir("far.sock"));
	lent(3, 0, 2, 1);
	connected(true);
	release(3);
	release(2);
	release(1);
}

static void
lend_a_descriptor(void)
{
	struct launch_msg msg = open_message(1, 0, RES_FD);
	int pair[2], udp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	(void)post_raw(&msg, sizeof msg, pair, 1);
	take_type(LAUNCH_OPENED, 1);
	EXPECT(got.msg.result.error == 0);
	lent(2, 0, 1, 0);
	connected(true);
	lent(2, 0, 1, 1);
	connected(true);
	not_lent(3, 0, 1, 0, -EBUSY);
	release(2);
	release(1);
	/* No descriptors go over TCP. */
	(void)post_raw(&msg, sizeof msg, &udp, 1);
	take_type(LAUNCH_OPENED, 1);
	EXPECT(got.msg.result.error == 0);
	not_lent(2, 0, 1, 0, -EPROTOTYPE);
	EXPECT(strstr(got.msg.result.text, "FD passing") != NULL);
	release(1);
	fd_close(&pair[0]);
	fd_close(&pair[1]);
	fd_close(&udp);
}

static void
scenario_chardevs(void)
{
	try_wrong_keepers();
	lend_a_listener();
	lend_a_connection();
	lend_a_descriptor();
	try_living_keepers();
}

/* As root and without a policy file: nothing outside of the run directory. */
static void
scenario_chardev_policy(void)
{
	struct launch_msg msg;

	latch(0);
	keep(1, RES_STREAM_LISTEN, "/run/other.sock");
	EXPECT(got.msg.result.error == -EPERM);
	EXPECT(strstr(got.msg.result.text, "allow unix /run") != NULL);
	not_lent(2, 0, 1, 0, -EINVAL);
	keep(1, RES_STREAM_CONNECT, "/run/other.sock");
	EXPECT(got.msg.result.error == -EPERM);
	not_lent(2, 0, 1, 0, -EINVAL);
	msg = keep(1, RES_STREAM_LISTEN, in_run_dir("mine.sock"));
	EXPECT(got.msg.result.error == 0);
	lent(2, 0, 1, 0);
	/* What was lent is that and nothing else. */
	msg = lend(2, 0, 1);
	msg.open.again = 1;
	msg.open.number = 3;
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == -EPERM);
	msg = open_message(2, 0, RES_STREAM_LISTEN);
	msg.open.again = 1;
	set_unix(&msg.open.local, in_run_dir("mine.sock"));
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == -EPERM);
}

#endif
