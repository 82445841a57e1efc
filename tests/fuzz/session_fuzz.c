/*
 * session_fuzz.c - a QMP client that does anything, in any order.
 *
 * The input is a list of steps: a byte that says what, a byte that says how
 * much, then the bytes. Promises checked: every line that comes is one JSON
 * object of printable ASCII that ends in CR LF, the first is the greeting;
 * no descriptor leaks; all sessions end with their clients.
 */
#include "broker/session.h"

#include "broker/fdset.h"
#include "broker/getfd.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"
#include "tests/unit/fake_core.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(cond)                                                            \
	do {                                                                   \
		if (!(cond))                                                   \
			abort();                                               \
	} while (0)

#define CLIENTS         2
#define TURNS_TO_SETTLE 2000
#define FDS_MAX         ((int)GETFD_MAX + 64)

static struct loop *loop;
static struct timer *stop;
static struct sockaddr_un address;
static socklen_t address_len;

static struct client {
	int fd;
	char got[1 << 20];
	size_t len;
} clients[CLIENTS];

static void
stop_now(void *self)
{
	(void)self;
	loop_stop(loop, 0);
}

static void
turn(void)
{
	timer_set_ns(stop, 0);
	loop_run(loop);
}

static void
listen_anew(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	address = (struct sockaddr_un){.sun_family = AF_UNIX};
	address_len = sizeof(address);
	CHECK(bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)) == 0);
	CHECK(listen(fd, 16) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)&address, &address_len) == 0);
	session_init(loop);
	qmp_listener(fd, "fuzz");
}

static void
client_open(struct client *c)
{
	c->len = 0;
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(connect(c->fd, (struct sockaddr *)&address, address_len) == 0);
	turn();
}

static void
client_read(struct client *c)
{
	ssize_t n;

	do {
		n = recv(c->fd, c->got + c->len, sizeof(c->got) - c->len,
		    MSG_DONTWAIT);
		if (n > 0)
			c->len += (size_t)n;
	} while (n > 0 && c->len < sizeof(c->got));
}

static void
check_line(const char *line, size_t len, bool first)
{
	json_t *tree;

	CHECK(len >= 4 && line[len - 1] == '\r');
	for (size_t i = 0; i < len - 1; i++)
		CHECK(line[i] >= ' ' && line[i] <= '~');
	tree = json_loadb(line, len - 1, JSON_ALLOW_NUL, NULL);
	/* jansson reads no integer beyond int64, and an id may be one */
	CHECK(tree != NULL || memmem(line, len, "\"id\": ", 6) != NULL);
	if (first)
		CHECK(json_object_get(tree, "QMP") != NULL);
	json_decref(tree);
}

static void
check_output(const struct client *c)
{
	const char *at = c->got;
	const char *end = c->got + c->len;
	const char *nl;

	while ((nl = memchr(at, '\n', (size_t)(end - at))) != NULL) {
		check_line(at, (size_t)(nl - at), at == c->got);
		at = nl + 1;
	}
}

static void
send_bytes(struct client *c, const uint8_t *bytes, size_t len, bool with_fd)
{
	struct iovec iov = {(void *)(uintptr_t)bytes, len};
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(2 * sizeof(int))];
	} control = {0};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	const int fds[2] = {0, 0};

	if (with_fd) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		CMSG_FIRSTHDR(&msg)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&msg)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&msg)->cmsg_len = CMSG_LEN(sizeof(fds));
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), fds, sizeof(fds));
	}
	(void)!sendmsg(c->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void
release(void)
{
	struct call *held = fake.held;

	fake.held = NULL;
	if (held != NULL)
		call_return(held, NULL, NULL);
}

/* One step; returns how many of the bytes it used. */
static size_t
step(uint8_t what, const uint8_t *bytes, size_t len)
{
	static const struct backend_quarantined_data event = {.deaths = 1};
	struct client *c = &clients[what >> 4 & (CLIENTS - 1)];

	switch (what & 7) {
	case 0:
	case 1:
		send_bytes(c, bytes, len, false);
		turn();
		return len;
	case 2:
		send_bytes(c, bytes, len, true);
		turn();
		return len;
	case 3:
		/* Two calls cannot be held at once here */
		fake.hold = fake.held == NULL && !fake.hold;
		return 0;
	case 4:
		fake.hold = false;
		release();
		return 0;
	case 5:
		event_emit(EVENT_BACKEND_QUARANTINED, &event);
		return 0;
	case 6:
		shutdown(c->fd, SHUT_WR);
		turn();
		return 0;
	default:
		client_read(c);
		turn();
		return 0;
	}
}

static void
start(void)
{
	log_open("fuzz", "-", LOG_ERROR);
	json_object_seed(1);
	loop = loop_new();
	stop = timer_new(loop, stop_now, NULL);
	listen_anew();
}

static void
finish(void)
{
	static const char names[] = "abcdefgh";
	char name[2] = {0, 0};
	int fd;

	fake.hold = false;
	release();
	for (unsigned i = 0; i < 8; i++)
		turn();
	for (unsigned i = 0; i < CLIENTS; i++) {
		client_read(&clients[i]);
		check_output(&clients[i]);
		fd_close(&clients[i].fd);
	}
	for (unsigned i = 0; session_count() > 0; i++) {
		CHECK(i < TURNS_TO_SETTLE);
		turn();
		release();
	}
	for (unsigned i = 0; i < sizeof(names) - 1; i++) {
		name[0] = names[i];
		fd = getfd_take(name);
		fd_close(&fd);
	}
	fdset_clear();
	/* The lowest free number: names may hold GETFD_MAX, nothing leaks */
	fd = dup(0);
	CHECK(fd >= 0 && fd < FDS_MAX);
	fd_close(&fd);
	if (fake.quit_code >= 0) {
		session_fini();
		listen_anew();
	}
	fake = (struct core){.quit_code = -1, .netdevs = "[]"};
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char hello[] = "{'execute':'qmp_capabilities'}";
	size_t at = 0;

	if (loop == NULL)
		start();
	for (unsigned i = 0; i < CLIENTS; i++)
		client_open(&clients[i]);
	send_bytes(
	    &clients[0], (const uint8_t *)hello, sizeof(hello) - 1, false);
	turn();
	while (at + 2 <= size && fake.quit_code < 0) {
		size_t len = data[at + 1];

		if (len > size - at - 2)
			len = size - at - 2;
		at += 2 + step(data[at], data + at + 2, len);
		/* A second hold while a call is held would lose the first */
		fake.hold = fake.hold && fake.held == NULL;
	}
	finish();
	return 0;
}
