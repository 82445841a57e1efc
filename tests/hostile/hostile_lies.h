/*
 * hostile_lies.h - the lies of hostile_backend.c, one function each.
 *
 * Where the system itself stops the attempt, the attempt's errno is told in a
 * notice of kind `tried`. Included by hostile_backend.c only.
 */
#ifndef TESTS_HOSTILE_LIES_H
#define TESTS_HOSTILE_LIES_H

#include "gen/control.h"
#include "gen/schema.h"
#include "proto/bell.h"
#include "proto/chan.h"
#include "proto/launch.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "proto/ring.h"
#include "proto/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define FLOOD_PER_TURN 1000

enum when {
	AT_START, /* instead of hello */
	AT_HELLO, /* instead of an honest hello */
	AT_READY, /* instead of ready, after configure */
	RUNNING,  /* some time after ready; again every time it returns true */
};

struct hostile {
	struct loop *loop;
	struct chan *control;
	struct timer *timer;
	struct ring_page *own;        /* P */
	const struct ring_page *peer; /* L */
	struct ring_tx tx;
	struct ring_rx rx;
	size_t mem_bytes;
	const struct lie *lie; /* NULL: honest */
	uint64_t frames;       /* thrown away */
};

struct lie {
	const char *name;
	enum when when;
	bool (*tell)(struct hostile *h); /* true: do it again soon */
};

static void
tried(struct hostile *h, ssize_t rc)
{
	char kind[] = "tried", text[64];
	struct ctl_notice m = {.kind = kind, .text = text};

	(void)snprintf(text, sizeof text, "%s: %s", h->lie->name,
	    rc < 0 ? strerrorname_np((int)-rc) : "done");
	(void)ctl_send_notice(h->control, 0, &m);
}

_Noreturn static void
hang(void)
{
	for (;;)
		(void)clock_nanosleep(
		    CLOCK_MONOTONIC, 0, &(struct timespec){.tv_sec = 1}, NULL);
}

/* --- lies in the ring that it writes ----------------------------------------
 */

static bool
publish(struct hostile *h, uint64_t prod)
{
	__atomic_store_n(&h->own->prod, prod, __ATOMIC_RELEASE);
	bell_ring(FD_PORT_BELL);
	return false;
}

static bool
prod_ahead(struct hostile *h)
{
	return publish(h, h->tx.pos + h->tx.size + 8);
}

static bool
prod_misaligned(struct hostile *h)
{
	return publish(h, h->tx.pos + 12);
}

static bool
prod_wild(struct hostile *h)
{
	return publish(h, UINT64_MAX);
}

/* One honest frame, and a moment later its taking back. */
static bool
prod_back(struct hostile *h)
{
	uint8_t *room;

	if (h->tx.pos > 0)
		return publish(h, 0);
	if (ring_reserve(&h->tx, 60, &room) == 1) {
		memset(room, 0x55, 60);
		ring_commit(&h->tx, 60);
		(void)ring_publish(&h->tx);
		bell_ring(FD_PORT_BELL);
	}
	return true;
}

/* A record with this head, `bytes` of it published. */
static bool
head(struct hostile *h, uint64_t word, uint64_t bytes)
{
	uint64_t at = h->tx.pos & (h->tx.size - 1);

	memcpy(h->tx.data + at, &word, sizeof word);
	return publish(h, h->tx.pos + bytes);
}

static bool
len_zero(struct hostile *h)
{
	return head(h, 0, 64);
}

static bool
len_short(struct hostile *h)
{
	return head(h, FRAME_BYTES_MIN - 1, 64);
}

static bool
len_huge(struct hostile *h)
{
	return head(h, UINT32_MAX, 64);
}

static bool
len_beyond(struct hostile *h)
{
	return head(h, 1514, 64);
}

static bool
flags_unknown(struct hostile *h)
{
	return head(h, (UINT64_C(0x8000) << 32) | 56, 64);
}

static bool
pad_misplaced(struct hostile *h)
{
	return head(h, ((uint64_t)RING_FLAG_PAD << 32) | 56, 64);
}

/* Rewrite a header and a frame for ever while they are being read. */
static bool
changing(struct hostile *h)
{
	uint64_t *word = (uint64_t *)(void *)h->tx.data;

	(void)head(h, 1000, 1008);
	for (unsigned i = 0; i < 10000000; i++)
		__atomic_store_n(
		    word, i % 2 ? 1000 : UINT32_MAX - i, __ATOMIC_RELAXED);
	return true;
}

/* --- lies in the ring that it reads -----------------------------------------
 */

static bool
consumed(struct hostile *h, uint64_t cons)
{
	__atomic_store_n(&h->own->cons, cons, __ATOMIC_RELEASE);
	bell_ring(FD_PORT_BELL);
	return false;
}

static bool
cons_ahead(struct hostile *h)
{
	return consumed(h, UINT64_C(1) << 40);
}

static bool
cons_misaligned(struct hostile *h)
{
	return consumed(h, h->rx.pos + 4);
}

static bool
cons_back(struct hostile *h)
{
	return consumed(h, h->rx.pos - h->rx.size);
}

/* --- what it may not do to memory -------------------------------------------
 */

static bool
truncate_own(struct hostile *h)
{
	tried(h, sys_result(ftruncate(FD_PORT_OWN, 0)));
	return false;
}

static bool
punch_own(struct hostile *h)
{
	tried(h, sys_result(fallocate(FD_PORT_OWN,
		     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		     (off_t)h->mem_bytes)));
	return false;
}

static bool
truncate_peer(struct hostile *h)
{
	tried(h, sys_result(ftruncate(FD_PORT_PEER, 0)));
	return false;
}

static bool
write_peer(struct hostile *h)
{
	void *mem;

	tried(h, sys_map(FD_PORT_PEER, h->mem_bytes, true, &mem));
	return false;
}

static bool
protect_peer(struct hostile *h)
{
	tried(h, sys_result(syscall(__NR_mprotect, h->peer, h->mem_bytes,
		     PROT_READ | PROT_WRITE)));
	return false;
}

/* --- lies about the bell -----------------------------------------------------
 */

static bool
bell_shut(struct hostile *h)
{
	(void)h;
	(void)shutdown(FD_PORT_BELL, SHUT_RDWR);
	return false;
}

static bool
bell_close(struct hostile *h)
{
	(void)h;
	(void)close(FD_PORT_BELL);
	return false;
}

static bool
bell_long(struct hostile *h)
{
	static const char noise[4096];

	(void)h;
	(void)send(FD_PORT_BELL, noise, sizeof noise, MSG_DONTWAIT);
	return false;
}

static bool
bell_empty(struct hostile *h)
{
	(void)h;
	(void)send(FD_PORT_BELL, "", 0, MSG_DONTWAIT);
	return false;
}

static bool
bell_flood(struct hostile *h)
{
	(void)h;
	for (int i = 0; i < FLOOD_PER_TURN; i++)
		bell_ring(FD_PORT_BELL);
	return true;
}

/* Send this descriptor along with `len` bytes. */
static void
send_with_fd(int to, const void *buf, size_t len, int fd)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof fd)];
	} rights = {.room = {0}};
	char copy[64] = {0};
	struct iovec part = {.iov_base = copy, .iov_len = len};
	struct msghdr msg = {
	    .msg_iov = &part,
	    .msg_iovlen = 1,
	    .msg_control = rights.room,
	    .msg_controllen = sizeof rights.room,
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	BUG_ON(len > sizeof copy);
	memcpy(copy, buf, len);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	(void)sendmsg(to, &msg, MSG_DONTWAIT);
}

static bool
bell_fds(struct hostile *h)
{
	(void)h;
	for (int i = 0; i < 100; i++)
		send_with_fd(FD_PORT_BELL, "\1", 1, FD_PORT_OWN);
	return true;
}

/* As an eventfd could be saturated: make the bell block, never clear it, and
 * always ask for the next. */
static bool
bell_block(struct hostile *h)
{
	int flags = fcntl(FD_PORT_BELL, F_GETFL);

	(void)fcntl(FD_PORT_BELL, F_SETFL, flags & ~O_NONBLOCK);
	for (;;)
		__atomic_store_n(&h->own->data_event,
		    __atomic_load_n(&h->peer->prod, __ATOMIC_ACQUIRE),
		    __ATOMIC_SEQ_CST);
}

/* --- lies on the control channel ---------------------------------------------
 */

static bool
control_raw(const void *bytes, size_t len)
{
	(void)send(FD_CONTROL, bytes, len, MSG_DONTWAIT);
	return false;
}

static bool
control_garbage(struct hostile *h)
{
	static const char noise[] = "\xff\xfe{\"execute\": \"quit\"}\r\n";

	(void)h;
	return control_raw(noise, sizeof noise);
}

/* msgpack: an array of 2^32-1 elements; and nested arrays. */
static bool
control_bomb(struct hostile *h)
{
	(void)h;
	return control_raw("\xdd\xff\xff\xff\xff", 5);
}

static bool
control_deep(struct hostile *h)
{
	static char deep[60000];

	(void)h;
	memset(deep, 0x91, sizeof deep);
	return control_raw(deep, sizeof deep);
}

static bool
control_oversize(struct hostile *h)
{
	static char much[CHAN_BYTES_MAX + 1];

	(void)h;
	return control_raw(much, sizeof much);
}

static bool
control_direction(struct hostile *h)
{
	const struct ctl_detached m = {.port = 0};

	/* A lane says this, no backend does. */
	(void)ctl_send_detached(h->control, 0, &m);
	return false;
}

static bool
control_order(struct hostile *h)
{
	const struct ctl_ready m = {.connected = true};

	(void)ctl_send_ready(h->control, 0, &m);
	return false;
}

static bool
control_twice(struct hostile *h)
{
	char hash[] = "0", role[] = "dump";
	const struct ctl_hello m = {.schema = hash, .role = role};

	(void)ctl_send_hello(h->control, 0, &m);
	return false;
}

static bool
control_unasked(struct hostile *h)
{
	const struct ctl_pong m = {0};
	const struct ctl_backend_stats stats = {.info = NULL};

	(void)ctl_send_pong(h->control, 12345, &m);
	(void)ctl_send_backend_stats(h->control, 54321, &stats);
	return false;
}

static bool
control_fds(struct hostile *h)
{
	(void)h;
	send_with_fd(FD_CONTROL, "\x93\x07\x00\x90", 4, FD_PORT_OWN);
	return false;
}

static bool
control_flood(struct hostile *h)
{
	char kind[] = "flood", text[4000];
	const struct ctl_notice m = {.kind = kind, .text = text};

	memset(text, '\n', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	for (int i = 0; i < FLOOD_PER_TURN; i++)
		(void)ctl_send_notice(h->control, 0, &m);
	return true;
}

static bool
control_reconnect(struct hostile *h)
{
	const struct ctl_reconnect m = {.index = UINT32_MAX};

	(void)ctl_send_reconnect(h->control, 0, &m);
	return false;
}

static bool
control_shut(struct hostile *h)
{
	(void)h;
	(void)shutdown(FD_CONTROL, SHUT_RDWR);
	return false;
}

/* --- lies to the launcher
 * ----------------------------------------------------- */

static bool
launcher_garbage(struct hostile *h)
{
	(void)h;
	(void)send(FD_LAUNCHER, "mount / rw", 10, MSG_DONTWAIT);
	return false;
}

static bool
launcher_spawn(struct hostile *h)
{
	const struct launch_msg m = {
	    .magic = LAUNCH_MAGIC,
	    .type = LAUNCH_SPAWN,
	    .slot = 0,
	    .spawn = {.role = ROLE_BROKER},
	};

	(void)h;
	(void)send(FD_LAUNCHER, &m, sizeof m, MSG_DONTWAIT);
	return false;
}

/* --- ends, and no ends
 * --------------------------------------------------------- */

static bool
die(struct hostile *h)
{
	(void)h;
	abort();
}

static bool
leave(struct hostile *h)
{
	(void)h;
	_exit(0);
}

static bool
silent(struct hostile *h)
{
	(void)h;
	hang();
}

static bool
busy(struct hostile *h)
{
	volatile uint64_t turns = 0;

	(void)h;
	for (;;)
		turns++;
}

static bool
wrong_hash(struct hostile *h)
{
	char hash[] = "0123456789abcdef", role[] = "dump";
	const struct ctl_hello m = {.schema = hash, .role = role};

	(void)ctl_send_hello(h->control, 0, &m);
	return false;
}

static bool
wrong_role(struct hostile *h)
{
	char hash[64], role[] = "lane";
	const struct ctl_hello m = {.schema = hash, .role = role};

	(void)snprintf(hash, sizeof hash, "%s", schema_hash);
	(void)ctl_send_hello(h->control, 0, &m);
	return false;
}

static const struct lie lies[] = {
    {"prod-ahead", RUNNING, prod_ahead},
    {"prod-misaligned", RUNNING, prod_misaligned},
    {"prod-wild", RUNNING, prod_wild},
    {"prod-back", RUNNING, prod_back},
    {"len-zero", RUNNING, len_zero},
    {"len-short", RUNNING, len_short},
    {"len-huge", RUNNING, len_huge},
    {"len-beyond", RUNNING, len_beyond},
    {"flags-unknown", RUNNING, flags_unknown},
    {"pad-misplaced", RUNNING, pad_misplaced},
    {"changing", RUNNING, changing},
    {"cons-ahead", RUNNING, cons_ahead},
    {"cons-misaligned", RUNNING, cons_misaligned},
    {"cons-back", RUNNING, cons_back},
    {"truncate-own", RUNNING, truncate_own},
    {"punch-own", RUNNING, punch_own},
    {"truncate-peer", RUNNING, truncate_peer},
    {"write-peer", RUNNING, write_peer},
    {"protect-peer", RUNNING, protect_peer},
    {"bell-shut", RUNNING, bell_shut},
    {"bell-close", RUNNING, bell_close},
    {"bell-long", RUNNING, bell_long},
    {"bell-empty", RUNNING, bell_empty},
    {"bell-flood", RUNNING, bell_flood},
    {"bell-fds", RUNNING, bell_fds},
    {"bell-block", RUNNING, bell_block},
    {"control-garbage", RUNNING, control_garbage},
    {"control-bomb", RUNNING, control_bomb},
    {"control-deep", RUNNING, control_deep},
    {"control-oversize", RUNNING, control_oversize},
    {"control-direction", RUNNING, control_direction},
    {"control-order", RUNNING, control_order},
    {"control-twice", RUNNING, control_twice},
    {"control-unasked", RUNNING, control_unasked},
    {"control-fds", RUNNING, control_fds},
    {"control-flood", RUNNING, control_flood},
    {"control-reconnect", RUNNING, control_reconnect},
    {"control-shut", RUNNING, control_shut},
    {"launcher-garbage", RUNNING, launcher_garbage},
    {"launcher-spawn", RUNNING, launcher_spawn},
    {"abort", RUNNING, die},
    {"silent", RUNNING, silent},
    {"busy", RUNNING, busy},
    {"hello-hash", AT_HELLO, wrong_hash},
    {"hello-role", AT_HELLO, wrong_role},
    {"hello-never", AT_START, silent},
    {"hello-exit", AT_START, leave},
    {"ready-never", AT_READY, silent},
    {"ready-exit", AT_READY, leave},
    {"ready-garbage", AT_READY, control_garbage},
};

static const struct lie *
lie_of(const char *id)
{
	size_t len = strcspn(id, ".");

	for (size_t i = 0; i < sizeof lies / sizeof *lies; i++)
		if (strlen(lies[i].name) == len &&
		    strncmp(lies[i].name, id, len) == 0)
			return &lies[i];
	return NULL;
}

static bool
lies_at(const struct hostile *h, enum when when)
{
	return h->lie != NULL && h->lie->when == when;
}

#endif
