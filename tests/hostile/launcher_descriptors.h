/*
 * launcher_descriptors.h - a broker that hands over descriptors of all sorts,
 * or wants some that nobody gave.
 */
#ifndef TESTS_HOSTILE_LAUNCHER_DESCRIPTORS_H
#define TESTS_HOSTILE_LAUNCHER_DESCRIPTORS_H

#include "tests/hostile/launcher_fakes.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>

/* A file to write that is this descriptor. */
static int
pass_file(uint32_t slot, int fd)
{
	struct launch_msg msg = open_message(slot, 0, RES_FILE_CREATE);

	snprintf(msg.open.path, LAUNCH_PATH, "/dev/fdset/1");
	(void)post_raw(&msg, sizeof msg, &fd, 1);
	take_type(LAUNCH_OPENED, slot);
	return got.msg.result.error;
}

static void
pass_and_close(int fd, int expected)
{
	EXPECT(fd >= 0 && pass_file(1, fd) == expected);
	fd_close(&fd);
}

static void
take_number(uint32_t number, int expected)
{
	struct launch_msg msg = message(LAUNCH_TAKE, 0);

	msg.open.number = number;
	ask(&msg, LAUNCH_TAKEN);
	EXPECT(got.msg.result.error == expected && got.fd_count == 0);
}

/* Nothing that was refused stays in the slot; what was granted does. */
static void
scenario_descriptors(void)
{
	int pair[2], file = memfd_create("file", MFD_CLOEXEC);
	struct launch_msg msg;

	take_number(0, -EBADF);
	take_number(3, -EBADF);
	take_number(4000000000u, -EBADF);
	latch(0);
	take_number(0, -EPERM);

	EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	pass_and_close(pair[0], -EINVAL);
	pass_and_close(pair[1], -EINVAL);
	EXPECT(pipe2(pair, O_CLOEXEC) == 0);
	pass_and_close(pair[0], -EINVAL);
	pass_and_close(pair[1], -EINVAL);
	pass_and_close(epoll_create1(EPOLL_CLOEXEC), -EINVAL);
	EXPECT(pass_file(1, STDIN_FILENO) == -EINVAL);
	/* Of a port's memories the first is a file to read only */
	start(2, ROLE_BACKEND, "good");
	take_type(LAUNCH_ATTESTED, 2);
	msg = message(LAUNCH_PORT_ASK, 2);
	ask(&msg, LAUNCH_PORT);
	EXPECT(got.fd_count == 3);
	pass_and_close(fd_take(&got.fds[0]), -EACCES);
	release(2);
	EXPECT(pass_file(1, file) == 0);
	EXPECT(pass_file(1, file) == -EEXIST);
	release(1);
	EXPECT(pass_file(1, file) == 0);
	release(1);
	fd_close(&file);
}

#endif
