/*
 * qmp_client.h - QMP clients for unit tests, in the process and the event
 * loop of the endpoint that they talk to. Included once per test program.
 */
#ifndef TESTS_QMP_CLIENT_H
#define TESTS_QMP_CLIENT_H

#include "broker/session.h"

#include "proto/loop.h"
#include "proto/sys.h"
#include "tests/unit/fake_core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#define DEADLINE_NS UINT64_C(20000000000)
/* Of a millisecond each, or more */
#define TURNS_MAX    20000u
#define CLIENT_BYTES ((size_t)4 * 1024 * 1024)

static struct loop *loop;
static struct timer *deadline;
static struct sockaddr_un address;
static socklen_t address_len;

/* One QMP client, in the same process and loop. */
struct client {
	int fd;
	struct watch *watch;
	char *got; /* all that came */
	size_t len;
	size_t want_lines; /* stop the loop at so many lines; 0: at the end */
	bool ended;
};

static inline size_t
lines_of(const struct client *c)
{
	size_t lines = 0;

	for (size_t i = 0; i < c->len; i++)
		lines += c->got[i] == '\n';
	return lines;
}

static inline void
client_ready(void *self, unsigned what)
{
	struct client *c = self;
	ssize_t n;

	(void)what;
	n = recv(
	    c->fd, c->got + c->len, CLIENT_BYTES - c->len - 1, MSG_DONTWAIT);
	if (n <= 0)
		c->ended = true;
	else
		c->len += (size_t)n;
	c->got[c->len] = '\0';
	if (c->ended || (c->want_lines > 0 && lines_of(c) >= c->want_lines)) {
		watch_set(c->watch, 0);
		loop_stop(loop, 0);
	}
}

/* Turn the loop until the client has so many lines in all, or its end. */
static inline void
wait_lines(struct client *c, size_t lines)
{
	c->want_lines = lines;
	if (c->ended || (lines > 0 && lines_of(c) >= lines))
		return;
	watch_set(c->watch, WATCH_READ);
	timer_set_ns(deadline, DEADLINE_NS);
	assert_int_equal(loop_run(loop), 0);
	timer_stop(deadline);
}

static inline void
too_late(void *self)
{
	(void)self;
	loop_stop(loop, 1);
}

static inline void
stop_now(void *self)
{
	(void)self;
	loop_stop(loop, 0);
}

/* Turn the loop for a while when there is nothing to wait for. */
static inline void
turn(uint64_t for_ns)
{
	struct timer *t = timer_new(loop, stop_now, NULL);

	timer_set_ns(t, for_ns);
	loop_run(loop);
	timer_free(t);
}

/* Turn the loop until so many clients are connected, as the endpoint sees. */
static inline void
wait_sessions(size_t count)
{
	for (unsigned i = 0; session_count() != count; i++) {
		assert_true(i < TURNS_MAX);
		turn(1000000);
	}
}

/* Turn the loop until a netdev_add is held. */
static inline void
wait_held(void)
{
	for (unsigned i = 0; fake.held == NULL; i++) {
		assert_true(i < TURNS_MAX);
		turn(1000000);
	}
}

static inline void
client_open(struct client *c)
{
	*c = (struct client){.got = malloc(CLIENT_BYTES)};
	assert_non_null(c->got);
	c->got[0] = '\0';
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(c->fd >= 0);
	assert_int_equal(
	    connect(c->fd, (struct sockaddr *)&address, address_len), 0);
	c->watch = watch_new(loop, c->fd, 0, client_ready, c);
	assert_non_null(c->watch);
}

static inline void
client_close(struct client *c)
{
	watch_free(c->watch);
	fd_close(&c->fd);
	free(c->got);
	c->got = NULL;
}

static inline void
say(struct client *c, const char *text)
{
	assert_int_equal(
	    send(c->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Past greeting and negotiation, nothing in `got`. */
static inline void
client_ready_to_ask(struct client *c)
{
	client_open(c);
	say(c, "{\"execute\":\"qmp_capabilities\"}");
	wait_lines(c, 2);
	c->len = 0;
	c->got[0] = '\0';
}

static inline const char *
ask(struct client *c, const char *text)
{
	c->len = 0;
	say(c, text);
	wait_lines(c, 1);
	return c->got;
}

#define ASK(command, args)                                                     \
	"{\"execute\":\"" command "\",\"arguments\":" args "}"
#define G(text)                                                                \
	"{\"error\": {\"class\": \"GenericError\", \"desc\": \"" text "\"}}"   \
	"\r\n"
#define N(text)                                                                \
	"{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"" text       \
	"\"}}\r\n"
#define OK "{\"return\": {}}\r\n"
#define GREETING                                                               \
	"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": 12, "    \
	"\"major\": 2}, \"package\": \"bulkhead-" BULKHEAD_VERSION             \
	"\"}, \"capabilities\": []}}\r\n"

static inline int
set_up(void **state)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)state;
	loop = loop_new();
	deadline = timer_new(loop, too_late, NULL);
	/* An abstract name that the kernel picks */
	address.sun_family = AF_UNIX;
	if (bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)) != 0 ||
	    listen(fd, 128) != 0)
		return -1;
	address_len = sizeof(address);
	if (getsockname(fd, (struct sockaddr *)&address, &address_len) != 0)
		return -1;
	session_init(loop);
	qmp_listener(fd, "test");
	return 0;
}

static inline int
tear_down(void **state)
{
	(void)state;
	session_fini();
	timer_free(deadline);
	loop_free(loop);
	return 0;
}

#endif
