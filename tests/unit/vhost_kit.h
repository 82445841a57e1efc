/*
 * vhost_kit.h - the front-end's end of a vhost-user connection, as raw as
 * hostile ones need it, in the loop of still_loop.h. Included once per test
 * program.
 */
#ifndef TESTS_VHOST_KIT_H
#define TESTS_VHOST_KIT_H

#include "tests/unit/still_loop.h"

#include "backends/backend_vhost.h"
#include "proto/sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* The front-end's end of the connection; ours goes to the code under test. */
static int peer = -1;

static void
kit_loop_open(void)
{
	memset(&kit_loop, 0, sizeof kit_loop);
	TAILQ_INIT(&kit_loop.watches);
	TAILQ_INIT(&kit_loop.timers);
}

/* Everything that was made in it has been freed. */
static void
kit_loop_close(void)
{
	sweep_watches();
	assert_true(TAILQ_EMPTY(&kit_loop.watches));
	assert_true(TAILQ_EMPTY(&kit_loop.timers));
}

/* Let time pass, whether or not something is due. */
static inline void
pass_ns(uint64_t ns)
{
	uint64_t until_ns = kit_loop.now_ns + ns;

	kit_run(ns);
	kit_loop.now_ns = until_ns;
}

static unsigned
open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(d);
	while (readdir(d))
		count++;
	(void)closedir(d);
	return count;
}

/* A connection: `peer` and what is returned. */
static int
kit_pair(void)
{
	int fds[2];

	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	peer = fds[1];
	return fds[0];
}

/* Any bytes, with copies of `count` descriptors. The count or -errno. */
static ssize_t
say_bytes(const void *bytes, size_t len, const int *fds, unsigned count)
{
	static union {
		struct cmsghdr align;
		char room[CMSG_SPACE(64 * sizeof(int))];
	} u;
	struct iovec iov = {.iov_len = len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *head = &u.align;

	memcpy(&iov.iov_base, &bytes, sizeof bytes);
	if (count > 0) {
		msg.msg_control = &u;
		msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(head), fds, count * sizeof(int));
	}
	return sys_result(sendmsg(peer, &msg, MSG_NOSIGNAL | MSG_DONTWAIT));
}

static void
say_fds(uint32_t request, uint32_t flags, const void *payload, uint32_t size,
    const int *fds, unsigned count)
{
	uint8_t bytes[4096];
	const uint32_t head[3] = {request, flags, size};

	assert_true(sizeof head + size <= sizeof bytes);
	memcpy(bytes, head, sizeof head);
	if (size > 0)
		memcpy(bytes + sizeof head, payload, size);
	assert_int_equal(say_bytes(bytes, sizeof head + size, fds, count),
	    sizeof head + size);
}

static inline void
say(uint32_t request, uint32_t flags, const void *payload, uint32_t size)
{
	say_fds(request, flags, payload, size, NULL, 0);
}

static inline void
say_u64(uint32_t request, uint32_t flags, uint64_t value)
{
	say(request, flags, &value, sizeof value);
}

static inline void
say_state(uint32_t request, uint32_t flags, uint32_t index, uint32_t num)
{
	const uint32_t state[2] = {index, num};

	say(request, flags, state, sizeof state);
}

/* The next message to the front-end must be a reply to `request`. */
static inline void
hear(uint32_t request, void *payload, uint32_t size)
{
	uint32_t head[3];

	kit_run(0);
	assert_int_equal(
	    recv(peer, head, sizeof head, MSG_DONTWAIT), sizeof head);
	assert_int_equal(head[0], request);
	assert_int_equal(head[1], 5);
	assert_int_equal(head[2], size);
	if (size > 0)
		assert_int_equal(recv(peer, payload, size, MSG_DONTWAIT), size);
}

static inline uint64_t
hear_u64(uint32_t request)
{
	uint64_t value = 0;

	hear(request, &value, sizeof value);
	return value;
}

/* The front-end has been told nothing. */
static inline void
hear_nothing(void)
{
	char byte;

	kit_run(0);
	assert_int_equal(
	    sys_result(recv(peer, &byte, 1, MSG_DONTWAIT | MSG_PEEK)), -EAGAIN);
}

static inline int
event_new(int flags)
{
	int fd = eventfd(0, EFD_CLOEXEC | flags);

	assert_true(fd >= 0);
	return fd;
}

#endif
