/*
 * socket_kit.h - the socket backend between a test that plays the lane and
 * real sockets with a test behind them. One test program each.
 */
#ifndef TESTS_UNIT_SOCKET_KIT_H
#define TESTS_UNIT_SOCKET_KIT_H

#include "backends/socket.c"

#include "tests/unit/backend_kit.h"

#include <arpa/inet.h>
#include <endian.h>
#include <fcntl.h>
#include <poll.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct kit kit;
static uint8_t frame[FRAME_BYTES_MAX + 8], got[FRAME_BYTES_MAX];

static struct netdev_socket_options fd_options = {.fd = (char[]){"7"}};

/* A type with fd= over one end of a pair; the other end is returned. */
static inline int
open_pair(int type)
{
	struct err err;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, fds), 0);
	kit_init(&kit, KIT_RING_BYTES);
	kit.be.resource[RESOURCE_FD] = fds[0];
	assert_int_equal(kit_open(&kit, &fd_options, &err), 0);
	return fds[1];
}

static inline void
write_all(int fd, const void *data, size_t bytes)
{
	const uint8_t *at = data;
	ssize_t n;

	while (bytes > 0) {
		n = write(fd, at, bytes);
		if (n < 0 && errno == EAGAIN) {
			kit_turn(&kit, 1);
			continue;
		}
		assert_true(n > 0);
		at += n;
		bytes -= (size_t)n;
	}
}

static inline void
write_frame(int fd, uint32_t len, uint8_t fill)
{
	uint32_t word = htobe32(len);

	write_all(fd, &word, 4);
	memset(frame, fill, len);
	write_all(fd, frame, len);
}

static inline bool
has_frame(struct kit *k, void *arg)
{
	uint32_t *len = arg;

	if (*len == 0)
		*len = kit_receive(k, got);
	return *len != 0;
}

/* The next frame at the lane's side: its length; 0 after a long wait. */
static inline uint32_t
next_frame(void)
{
	uint32_t len = 0;

	kit_until(&kit, has_frame, &len);
	return len;
}

struct counted {
	enum backend_counter counter;
	uint64_t least;
};

static inline bool
is_counted(struct kit *k, void *arg)
{
	struct counted *c = arg;

	return kit_counter(k, c->counter) >= c->least;
}

static inline void
wait_counter(enum backend_counter counter, uint64_t value)
{
	struct counted c = {counter, value};

	kit_until(&kit, is_counted, &c);
	assert_int_equal(kit_counter(&kit, counter), value);
}

static inline bool
is_disconnected(struct kit *k, void *arg)
{
	(void)arg;
	return !k->be.connected;
}

static inline bool
is_connected(struct kit *k, void *arg)
{
	(void)arg;
	return k->be.connected;
}

/* Read `bytes` at the outside, at most `step` at a time. */
static inline void
read_all(int fd, uint8_t *out, size_t bytes, size_t step)
{
	size_t at = 0, most;
	unsigned waits = 0;
	ssize_t n;

	while (at < bytes) {
		most = bytes - at < step ? bytes - at : step;
		n = read(fd, out + at, most);
		if (n < 0) {
			assert_int_equal(errno, EAGAIN);
			assert_true(waits++ < KIT_WAIT_MS);
			kit_turn(&kit, 1);
			continue;
		}
		assert_true(n > 0);
		at += (size_t)n;
	}
}

#endif
