/*
 * backend_cross_kit.h - two backends in one process, a lane between them that
 * moves some frames when the test says so, and the test as their broker.
 *
 * Included by one test program each.
 */
#ifndef TESTS_UNIT_BACKEND_CROSS_KIT_H
#define TESTS_UNIT_BACKEND_CROSS_KIT_H

#include "backends/backend_state.h"
#include "gen/control.h"
#include "proto/bell.h"
#include "proto/chan.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#define RING ((size_t)RING_BYTES_MIN)

/* One backend, its outside, and the lane's half of its port. */
struct end {
	struct backend be;
	struct chan *broker;
	void *lane_own, *lane_peer; /* L and P */
	struct ring_tx to;
	struct ring_rx from;
	int bell;             /* the lane's */
	uint32_t sends, made; /* frames that its outside has, and has sent */
	uint32_t seen;        /* the last number from the other */
	bool gaps;            /* some may be missing */
	size_t takes;         /* frames that its outside takes at once */
	unsigned rooms;
	/* what its broker heard */
	unsigned crossed, uncrossed, ended, stalls, lies;
	struct cross_counts counts;
};

static struct end end[2];
static struct loop *loop;
static struct timer *tick;
static uint32_t serial;
static int far[3] = {-1, -1, -1}; /* for a test that plays the other end */

static struct end *
other(const struct end *e)
{
	return e == &end[0] ? &end[1] : &end[0];
}

/* --- the type --- */

struct toy {
	struct end *end;
};

static size_t
toy_frames(void *self, const struct frame *f, size_t count)
{
	struct end *e = ((struct toy *)self)->end;
	size_t n = count < e->takes ? count : e->takes;

	for (size_t i = 0; i < n; i++) {
		uint32_t number;

		memcpy(&number, f[i].data + 16, sizeof number);
		if (e->gaps)
			assert_true(number > e->seen);
		else
			assert_int_equal(number, e->seen + 1);
		assert_int_equal(f[i].len, 60 + number % 1400);
		e->seen = number;
	}
	return n;
}

/* Send what the outside has, until there is no room. */
static void
send_some(struct end *e)
{
	while (e->made < e->sends) {
		uint32_t number = e->made + 1, len = 60 + number % 1400;
		uint8_t *room;

		if (backend_reserve(&e->be, len, &room) == 0)
			break;
		memset(room, 0, len);
		memcpy(room + 16, &number, sizeof number);
		backend_commit(&e->be, len);
		e->made++;
	}
	backend_flush(&e->be);
}

static void
toy_room(void *self)
{
	struct end *e = ((struct toy *)self)->end;

	e->rooms++;
	send_some(e);
}

static const struct backend_type type = {
    .name = "toy",
    .frames = toy_frames,
    .room = toy_room,
};

/* --- the broker --- */

int
broker_on_crossed(void *self, uint32_t seq, const struct ctl_crossed *m)
{
	struct end *e = self;

	(void)seq;
	assert_null(m->error);
	e->crossed++;
	return 0;
}

int
broker_on_uncrossed(void *self, uint32_t seq, const struct ctl_uncrossed *m)
{
	struct end *e = self;

	(void)seq;
	assert_int_equal(m->serial, serial);
	e->uncrossed++;
	return 0;
}

int
broker_on_cross_ended(void *self, uint32_t seq, const struct ctl_cross_ended *m)
{
	struct end *e = self;

	(void)seq;
	assert_int_equal(m->counts.serial, serial);
	e->ended++;
	e->counts = m->counts;
	return 0;
}

int
broker_on_cross_trouble(
    void *self, uint32_t seq, const struct ctl_cross_trouble *m)
{
	struct end *e = self;

	(void)seq;
	assert_int_equal(m->serial, serial);
	if (m->stalled)
		e->stalls++;
	else
		e->lies++;
	return 0;
}

#define NEVER(name)                                                            \
	int broker_on_##name(                                                  \
	    void *self, uint32_t seq, const struct ctl_##name *m)              \
	{                                                                      \
		(void)self, (void)seq, (void)m;                                \
		fail();                                                        \
		return -EPROTO;                                                \
	}
#define IGNORED(name)                                                          \
	int broker_on_##name(                                                  \
	    void *self, uint32_t seq, const struct ctl_##name *m)              \
	{                                                                      \
		(void)self, (void)seq, (void)m;                                \
		return 0;                                                      \
	}
IGNORED(hello)
IGNORED(ready)
IGNORED(lane_stalled)
NEVER(pong)
NEVER(connected)
NEVER(reconnect)
NEVER(notice)
NEVER(backend_stats)
NEVER(rx_filter)
NEVER(rx_filter_state)
NEVER(nic_state)
NEVER(detached)
NEVER(port_fault)
NEVER(port_stalled)
NEVER(lane_stats)
NEVER(arena_viewed)
NEVER(arena_ended)

static int
message(void *self, const uint8_t *buf, size_t len, int *fds, size_t n)
{
	return broker_dispatch(self, CTL_ROLE_BACKEND, buf, len, fds, n);
}

static void
closed(void *self, int reason)
{
	(void)self, (void)reason;
	fail();
}

/* --- the world --- */

static int
memory(void **map)
{
	int fd;

	assert_true(sys_memfd("test", port_bytes(RING), &fd) >= 0);
	if (map)
		assert_int_equal(sys_map(fd, port_bytes(RING), true, map), 0);
	return fd;
}

static void
make_end(struct end *e)
{
	static const struct chan_ops ops = {message, closed};
	int chans[2], bells[2], p, l;
	struct toy *toy = calloc(1, sizeof *toy);
	struct err err;

	*e = (struct end){.takes = SIZE_MAX};
	assert_non_null(toy);
	toy->end = e;
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, chans), 0);
	e->broker = chan_new(loop, chans[0], 0, &ops, e);
	e->be.loop = loop;
	e->be.type = &type;
	e->be.self = toy;
	e->be.ring_bytes = RING;
	assert_int_equal(backend_control_open(&e->be, chans[1], "hash"), 0);
	p = memory(&e->lane_peer);
	l = memory(&e->lane_own);
	assert_int_equal(bell_pair(bells), 0);
	e->bell = bells[0];
	ring_tx_attach(&e->to, e->lane_own, e->lane_peer, RING);
	ring_rx_attach(&e->from, e->lane_own, e->lane_peer, RING);
	assert_int_equal(backend_rings_open(&e->be, p, l, bells[1], &err), 0);
	backend_control_ready(&e->be, NULL);
	backend_rings_start(&e->be);
}

static void
tick_expired(void *self)
{
	(void)self;
	loop_stop(loop, 0);
}

/* Turn the loop for so long. */
static void
turn(uint64_t ns)
{
	timer_set_ns(tick, ns);
	loop_run(loop);
}

static int
start(void **state)
{
	(void)state;
	loop = loop_new();
	tick = timer_new(loop, tick_expired, NULL);
	assert_non_null(tick);
	make_end(&end[0]);
	make_end(&end[1]);
	turn(1000000);
	return 0;
}

static int
finish(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		struct end *e = &end[i];

		backend_rings_close(&e->be);
		backend_control_close(&e->be);
		free(e->be.self);
		chan_free(e->broker);
		fd_close(&e->bell);
		sys_unmap(e->lane_own, port_bytes(RING));
		sys_unmap(e->lane_peer, port_bytes(RING));
	}
	for (int i = 0; i < 3; i++)
		fd_close(&far[i]);
	timer_free(tick);
	loop_free(loop);
	return 0;
}

/* The lane moves up to `most` frames from one end to the other. */
static void
move(struct end *from, size_t most)
{
	struct end *to = other(from);
	struct frame f;
	uint8_t *room;

	(void)bell_clear(from->bell);
	while (most-- > 0 && ring_peek(&from->from, &f) > 0 &&
	       ring_reserve(&to->to, f.len, &room) > 0) {
		memcpy(room, f.data, f.len);
		ring_commit(&to->to, f.len);
		ring_skip(&from->from);
	}
	if (ring_publish(&to->to))
		bell_ring(to->bell);
	if (ring_release(&from->from))
		bell_ring(from->bell);
}

static void
move_all(void)
{
	for (int i = 0; i < 40; i++) {
		move(&end[0], SIZE_MAX);
		move(&end[1], SIZE_MAX);
		turn(100000);
	}
}

static void
tell_cross(struct end *e, int own, int peer, int bell)
{
	const struct ctl_cross m = {
	    .serial = serial, .own_bytes = RING, .peer_bytes = RING};
	int fds[3] = {own, peer, bell};

	assert_int_equal(ctl_send_cross(e->broker, 7, &m, fds), 0);
}

static void
tell_uncross(struct end *e)
{
	const struct ctl_uncross m = {.serial = serial};

	(void)ctl_send_uncross(e->broker, 8, &m);
}

static void
tell_end(struct end *e, bool dead)
{
	const struct ctl_cross_end m = {.serial = serial, .dead = dead};

	(void)ctl_send_cross_end(e->broker, 0, &m);
}

#endif
