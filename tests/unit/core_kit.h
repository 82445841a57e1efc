/*
 * core_kit.h - the broker's core with everything around it faked in one
 * process: a loop with its own clock, a launcher, lanes and backends at the
 * other ends of real channels. Included once per test program.
 *
 * The fakes assert what the real ones rely on: a port is in at most one lane,
 * a lane that gives up a live port has no plan with it any more, and a plan
 * that names a live port comes after its attach.
 */
#ifndef TESTS_CORE_KIT_H
#define TESTS_CORE_KIT_H

#include "broker/core_state.h"
#include "broker/events.h"
#include "broker/filter_state.h"
#include "broker/launch_client.h"
#include "broker/ports.h"
#include "broker/session.h"
#include "gen/control.h"
#include "gen/schema.h"
#include "proto/chan.h"
#include "proto/sys.h"
#include "tests/unit/still_loop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* --- what the core tells the world --- */

static unsigned kit_events[EVENT__MAX];
static uint64_t kit_dropped; /* as BACKEND_RESTARTED told last */

void
event_emit(enum event_id id, const void *data)
{
	const struct backend_restarted_data *restarted = data;

	assert_non_null(data);
	kit_events[id]++;
	if (id == EVENT_BACKEND_RESTARTED)
		kit_dropped = restarted->dropped_frames;
}

void
qmp_listener(int fd, const char *name)
{
	(void)name;
	close(fd);
}

void
session_shutdown(void)
{
}

/* --- processes --- */

/* How a fake process fails; the numbers are steps of its life. */
enum fate {
	FATE_GOOD,
	FATE_NO_SPAWN,     /* the launcher refuses */
	FATE_DIES_AT_ONCE, /* before it says anything */
	FATE_SAYS_NOTHING, /* and stays */
	FATE_BAD_HELLO,
	FATE_DIES_AFTER_HELLO,
	FATE_DIES_CONFIGURED, /* backend: instead of `ready` */
	FATE_REFUSES,         /* backend: `ready` with an error */
	FATE_NEVER_READY,     /* backend */
	FATE_NEVER_ATTESTED,
	FATE_GARBAGE,         /* after ready (backend), at attach (lane) */
	FATE_DIES_AT_ATTACH,  /* lane */
	FATE_DIES_AT_DETACH,  /* lane */
	FATE_HANGS_AT_DETACH, /* lane: no answer */
	FATE_IGNORES_STOP,
	FATE_CROSS_FAILS,    /* backend: `crossed` with an error */
	FATE_CROSS_SILENT,   /* backend: never says `crossed` */
	FATE_UNCROSS_SILENT, /* backend: never says `uncrossed` */
	FATE_NEVER_ENDS,     /* backend: says `cross-ended` only of the dead */
	FATE_CROSS_ACCUSES,  /* backend: says that the other lied */
	FATE_CROSS_STALLS,   /* backend: says that the other does not drain */
	FATE_ARENA_STAYS,    /* lane: does not give an arena up */
	FATE_VIEW_FAILS,     /* backend: `arena-viewed` with an error */
	FATE_VIEW_SILENT,    /* backend: never says it */
	FATE_COUNT
};

#define KIT_PORTS LAUNCH_SLOTS

struct child {
	uint32_t slot, epoch, role;
	enum fate fate;
	bool alive, deaf;
	struct chan *chan;
	/* nics: the link as told, and how often; reports taken */
	bool link_up;
	unsigned links, taken, asked;
	bool mute;              /* does not answer rx-filter-ask */
	struct rx_filter state; /* what it answers */
	bool changed;
	/* backends: the crossover that they are at, 0: none */
	uint32_t cross;
	bool parted, ended, ended_dead; /* uncross, cross-end, that with dead */
	uint64_t own_bytes, peer_bytes; /* as told */
	unsigned crosses;               /* how often */
	struct cross_counts cross_counts; /* what they say */
	uint32_t views[4]; /* arenas that they were told of; 0: room */
	/* lanes */
	uint32_t arena;   /* 0: none */
	unsigned viewers; /* of it, as the next */
	bool viewing[KIT_PORTS];
	uint64_t filter_mac[KIT_PORTS]; /* of the port's filter, 0: none */
	uint32_t attached[KIT_PORTS];   /* epoch, 0: not */
	bool planned[KIT_PORTS];
};

/* The launcher's side of one slot. */
struct place {
	struct child *child;
	uint32_t epoch; /* of its memories; 0: none */
	bool opened[LAUNCH_RESOURCES];
	uint32_t lane;   /* slot of the lane that has it attached, or 0 */
	uint32_t was_in; /* last epoch that was in a lane */
};

static struct place places[LAUNCH_SLOTS];
static int kit_fd = -1; /* the launcher's end */
static struct watch *kit_watch;
static enum fate (*kit_fate)(uint32_t slot, bool is_lane);
static int kit_open_error;           /* for LAUNCH_OPEN */
static bool kit_stuck;               /* the launcher answers nothing */
static struct launch_msg kit_opened; /* the last of them */
static bool kit_opened_fd;           /* ... came with a descriptor */
static int64_t kit_reconnect_ms;     /* what `configure` said, or -1 */
static bool kit_alone;               /* backends have no peer at first */
static unsigned kit_spawns, kit_quits;
static unsigned kit_crosses; /* LAUNCH_CROSS that were asked */
static int kit_cross_error;  /* for them */
static bool kit_cross_stuck; /* they are not answered */
static struct core *kit_core;

static void
tell_broker(struct launch_msg *m, const int *fds, size_t count)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(LAUNCH_FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = m, .iov_len = sizeof *m};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	memset(&control, 0, sizeof control);
	if (count > 0) {
		msg.msg_control = control.room;
		msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&control.head), fds, count * sizeof(int));
	}
	m->magic = LAUNCH_MAGIC;
	assert_true(sendmsg(kit_fd, &msg, MSG_NOSIGNAL) > 0);
}

static void
tell_slot(uint32_t type, const struct child *c)
{
	struct launch_msg m = {.type = type, .slot = c->slot};

	m.result.epoch = c->epoch;
	m.result.wait_code = CLD_KILLED;
	m.result.wait_status = SIGKILL;
	tell_broker(&m, NULL, 0);
}

/* The process is gone, and everything that it had mapped with it. */
static void
child_die(struct child *c)
{
	if (!c->alive)
		return;
	c->alive = false;
	chan_free(c->chan);
	c->chan = NULL;
	for (uint32_t p = 0; p < KIT_PORTS; p++)
		if (c->attached[p] != 0)
			places[p].lane = 0;
	tell_slot(LAUNCH_EXITED, c);
	places[c->slot].child = NULL;
	free(c);
}

/* Die, but not under the feet of who called. */
static void
child_doom(struct child *c)
{
	c->deaf = true;
	c->fate = FATE_DIES_AT_ONCE;
}

/* Let those go who were doomed. */
static void
kit_reap(void)
{
	for (uint32_t s = 1; s < LAUNCH_SLOTS; s++)
		if (places[s].child && places[s].child->deaf &&
		    places[s].child->fate == FATE_DIES_AT_ONCE)
			child_die(places[s].child);
}

static int
child_message(
    void *self, const uint8_t *buf, size_t len, int *fds, size_t fd_count)
{
	struct child *c = self;
	int rc;

	if (c->deaf) {
		for (size_t i = 0; i < fd_count; i++)
			close(fds[i]);
		return 0;
	}
	if (c->role == ROLE_LANE)
		rc = lane_dispatch(c, CTL_ROLE_BROKER, buf, len, fds, fd_count);
	else
		rc = backend_dispatch(
		    c, CTL_ROLE_BROKER, buf, len, fds, fd_count);
	assert_int_equal(rc, 0);
	return 0;
}

/* The broker has closed: the kill that goes with it is under way. */
static void
child_closed(void *self, int reason)
{
	struct child *c = self;

	(void)reason;
	c->deaf = true;
}

static char *
text(const char *constant)
{
	return (char *)(uintptr_t)constant;
}

static void
child_greet(struct child *c)
{
	struct ctl_hello h = {
	    .schema = text(schema_hash), .role = text("lane")};

	if (c->role >= ROLE_BACKEND)
		h.role = text(backend_entries[c->role - ROLE_BACKEND].type);
	if (c->fate == FATE_BAD_HELLO)
		h.schema = text("another build");
	if (c->fate == FATE_SAYS_NOTHING)
		return;
	(void)ctl_send_hello(c->chan, 0, &h);
	if (c->fate != FATE_NEVER_ATTESTED)
		tell_slot(LAUNCH_ATTESTED, c);
	if (c->fate == FATE_DIES_AFTER_HELLO)
		child_doom(c);
}

static void
spawn_child(const struct launch_msg *ask)
{
	static const struct chan_ops ops = {child_message, child_closed};
	struct launch_msg m = {
	    .type = LAUNCH_SPAWNED, .slot = ask->slot, .seq = ask->seq};
	struct child *c = calloc(1, sizeof *c);
	int fds[2];

	assert_non_null(c);
	assert_null(places[ask->slot].child);
	kit_spawns++;
	c->slot = ask->slot;
	c->role = ask->spawn.role;
	c->epoch = ask->spawn.epoch;
	c->fate =
	    kit_fate ? kit_fate(c->slot, c->role == ROLE_LANE) : FATE_GOOD;
	if (c->fate == FATE_NO_SPAWN) {
		free(c);
		m.result.error = -EAGAIN;
		tell_broker(&m, NULL, 0);
		return;
	}
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	m.result.pid = 1000 + (int32_t)kit_spawns;
	m.result.epoch = c->epoch;
	tell_broker(&m, fds, 1);
	close(fds[0]);
	c->alive = true;
	c->chan = chan_new(&kit_loop, fds[1], 1, &ops, c);
	places[c->slot].child = c;
	/* Fresh memories: nobody may have the old ones. */
	assert_int_equal(places[c->slot].lane, 0);
	places[c->slot].epoch = c->role == ROLE_LANE ? 0 : c->epoch;
	if (c->fate == FATE_DIES_AT_ONCE)
		c->deaf = true;
	else
		child_greet(c);
}

/* --- the launcher --- */

static void
answer_open(const struct launch_msg *ask)
{
	struct launch_msg m = {
	    .type = LAUNCH_OPENED, .slot = ask->slot, .seq = ask->seq};
	bool *opened = &places[ask->slot].opened[ask->open.index];
	int fds[2];

	assert_true(*opened == (ask->open.again != 0));
	/* A nic's memory is not from outside: it is there. */
	if (ask->open.kind != RES_MEMORY) {
		kit_opened = *ask;
		m.result.error = kit_open_error;
	}
	if (m.result.error != 0) {
		(void)snprintf(
		    m.result.text, sizeof m.result.text, "cannot open");
		tell_broker(&m, NULL, 0);
		return;
	}
	*opened = true;
	if (!ask->open.give) {
		tell_broker(&m, NULL, 0);
		return;
	}
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	tell_broker(&m, fds, 1);
	close(fds[0]);
	close(fds[1]);
}

static void
answer_port(const struct launch_msg *ask)
{
	struct launch_msg m = {
	    .type = LAUNCH_PORT, .slot = ask->slot, .seq = ask->seq};
	int fds[3];

	m.result.epoch = places[ask->slot].epoch;
	if (m.result.epoch == 0)
		m.result.error = -ENOENT;
	for (int i = 0; i < 3; i++)
		fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
	tell_broker(&m, fds, m.result.error ? 0 : 3);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}

static void
answer_cross(const struct launch_msg *ask)
{
	struct launch_msg m = {
	    .type = LAUNCH_CROSSED, .slot = ask->slot, .seq = ask->seq};
	const struct place *one = &places[ask->slot];
	const struct place *other = &places[ask->cross.other];
	int fds[6];

	assert_int_not_equal(ask->slot, ask->cross.other);
	kit_crosses++;
	if (kit_cross_stuck)
		return;
	m.result.error = kit_cross_error;
	if (!one->child || !other->child || one->epoch != ask->cross.epoch ||
	    other->epoch != ask->cross.other_epoch)
		m.result.error = -ENOENT;
	for (int i = 0; i < 6; i++)
		fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
	tell_broker(&m, fds, m.result.error ? 0 : 6);
	for (int i = 0; i < 6; i++)
		close(fds[i]);
}

#include "tests/unit/core_arena_fakes.h"

static void
answer_release(const struct launch_msg *ask)
{
	struct launch_msg m = {
	    .type = LAUNCH_RELEASED, .slot = ask->slot, .seq = ask->seq};

	assert_int_equal(places[ask->slot].lane, 0);
	if (places[ask->slot].child)
		child_die(places[ask->slot].child);
	memset(&places[ask->slot], 0, sizeof places[ask->slot]);
	tell_broker(&m, NULL, 0);
}

static void
launcher_take(struct launch_msg *m)
{
	struct child *c = places[m->slot].child;
	struct launch_msg latched = {.type = LAUNCH_LATCHED, .seq = m->seq};

	assert_int_equal(m->magic, LAUNCH_MAGIC);
	if (kit_stuck)
		return;
	switch (m->type) {
	case LAUNCH_OPEN:
		answer_open(m);
		break;
	case LAUNCH_SPAWN:
		spawn_child(m);
		break;
	case LAUNCH_STOP:
		if (c && c->epoch == m->stop.epoch)
			child_die(c);
		break;
	case LAUNCH_RELEASE:
		answer_release(m);
		break;
	case LAUNCH_PORT_ASK:
		answer_port(m);
		break;
	case LAUNCH_CROSS:
		answer_cross(m);
		break;
	case LAUNCH_ARENA:
		answer_arena(m);
		break;
	case LAUNCH_LATCH:
		tell_broker(&latched, NULL, 0);
		break;
	case LAUNCH_QUIT:
		kit_quits++;
		break;
	default:
		fail();
	}
}

static void
launcher_ready(void *self, unsigned got)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct launch_msg m;
	struct iovec iov = {.iov_base = &m, .iov_len = sizeof m};
	struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = sizeof control};
	ssize_t len = recvmsg(kit_fd, &msg, MSG_DONTWAIT);
	struct cmsghdr *h;
	int fd;

	(void)self;
	(void)got;
	if (len < 0)
		return;
	assert_int_equal(len, sizeof m);
	h = CMSG_FIRSTHDR(&msg);
	kit_opened_fd = h != NULL;
	if (h) {
		memcpy(&fd, CMSG_DATA(h), sizeof fd);
		close(fd);
	}
	launcher_take(&m);
	if (rand() % 2)
		kit_reap();
}

#include "tests/unit/core_children.h"

/* --- begin and end --- */

static __attribute__((unused)) unsigned
open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* Run, with the dead reaped, for `ns` of our time. */
static void
kit_settle(uint64_t ns)
{
	for (int i = 0; i < 40; i++) {
		kit_run(0);
		kit_reap();
	}
	kit_run(ns);
	kit_reap();
	kit_run(0);
}

static void kit_start(enum fate (*fate)(uint32_t slot, bool is_lane))
{
	int fds[2];

	memset(places, 0, sizeof places);
	memset(kit_events, 0, sizeof kit_events);
	memset(&kit_loop, 0, sizeof kit_loop);
	TAILQ_INIT(&kit_loop.watches);
	TAILQ_INIT(&kit_loop.timers);
	kit_spawns = kit_quits = kit_crosses = 0;
	kit_cross_error = kit_arena_error = 0;
	kit_cross_stuck = kit_arena_stuck = false;
	kit_arenas = kit_arena_closes = 0;
	kit_open_error = 0;
	kit_fate = fate;
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	kit_fd = fds[1];
	kit_watch =
	    watch_new(&kit_loop, kit_fd, WATCH_READ, launcher_ready, NULL);
	kit_core = core_new(&kit_loop, fds[0]);
	assert_non_null(kit_core);
	core_begin(kit_core);
}

static void
kit_end(void)
{
	for (uint32_t s = 1; s < LAUNCH_SLOTS; s++)
		if (places[s].child)
			child_die(places[s].child);
	core_free(kit_core);
	watch_free(kit_watch);
	close(kit_fd);
	sweep_watches();
	assert_true(TAILQ_EMPTY(&kit_loop.watches));
	assert_true(TAILQ_EMPTY(&kit_loop.timers));
}

/* The process of a netdev, or NULL. */
static inline struct child *
kit_child(const char *id)
{
	struct life *nd = netdev_by_id(&kit_core->netdevs, id);

	return nd ? places[nd->slot].child : NULL;
}

/* The lane that has the netdev's port, or NULL. */
static inline struct child *
kit_lane_of(const char *id)
{
	struct life *nd = netdev_by_id(&kit_core->netdevs, id);
	uint32_t lane = nd ? places[nd->slot].lane : 0;

	return lane ? places[lane].child : NULL;
}

#endif
