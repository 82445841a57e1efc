/*
 * hostile_backend.c - a backend that lies in exactly one way.
 *
 * Put in the place of a backend program (libexec/bulkhead-TYPE) it takes its
 * netdev's id for the name of its lie: `prod-ahead`, or `prod-ahead.7`. It
 * speaks the real contract (descriptors 3 to 7, hello, ready) as far as the
 * lie allows, through the real stages of confinement, with a list of system
 * calls that lets it try what honest backends may not. An id that names no lie
 * is an honest backend that throws away what it gets.
 *
 * The lies are in hostile_rings.h, hostile_talk.h, hostile_cross.h and
 * hostile_nic.h, of which the last are a network card's; `hostile_backend
 * --list` prints their names.
 *
 * Runs in: a sandbox of its own. Trusts: nobody, and is not to be trusted.
 * Specification: the reference on style, B5.8 and B5.9 (what a peer can do).
 */
#include "gen/control.h"
#include "gen/schema.h"
#include "proto/bell.h"
#include "proto/chan.h"
#include "proto/counter.h"
#include "proto/launch.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "proto/ring.h"
#include "proto/sys.h"
#include "sandbox/confine.h"
#include "tests/hostile/hostile_cross.h"
#include "tests/hostile/hostile_nic.h"
#include "tests/hostile/hostile_rings.h"
#include "tests/hostile/hostile_talk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

/* After ready, time for the lane to take up the port. */
#define LIE_AFTER_NS UINT64_C(50000000)

static struct hostile self;

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
    {"filter-count", RUNNING, filter_count},
    {"filter-huge", RUNNING, filter_huge},
    {"filter-wide", RUNNING, filter_wide},
    {"filter-vlans", RUNNING, filter_vlans},
    {"filter-flood", RUNNING, filter_flood},
    {"filter-churn", RUNNING, filter_churn},
    {"filter-nothing", RUNNING, filter_nothing},
    {"filter-early", AT_READY, filter_nothing},
    {"state-pairs", RUNNING, state_pairs},
    {"state-flood", RUNNING, state_flood},
    {"connect-flood", RUNNING, connect_flood},
    {"answer-unasked", RUNNING, answer_unasked},
    {"answer-often", AT_ASK, answer_often},
    {"answer-garbage", AT_ASK, answer_garbage},
    {"answer-never", AT_ASK, answer_never},
    {"cross-prod", AT_CROSS, cross_prod},
    {"cross-record", AT_CROSS, cross_record},
    {"cross-cons", AT_CROSS, cross_cons},
    {"cross-bells", AT_CROSS, cross_bells},
    {"cross-shut", AT_CROSS, cross_shut},
    {"cross-idle", AT_CROSS, cross_idle},
    {"cross-stays", AT_CROSS, cross_stays},
    {"cross-blames", AT_CROSS, cross_blames},
    {"cross-others", AT_CROSS, cross_others},
    {"cross-early", AT_CROSS, cross_early},
    {"view-twice", AT_VIEW, view_twice},
    {"view-never", AT_VIEW, view_never},
    {"view-others", RUNNING, view_others},
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

/* --- the honest part
 * ------------------------------------------------------------ */

static void
lie_now(void *arg)
{
	struct hostile *h = arg;

	if (h->lie->tell(h))
		timer_set_ns(h->timer, LIE_AFTER_NS / 100);
}

/* Throw away what came, ask for a bell at the next. */
static void
bell_readable(void *arg, unsigned events)
{
	struct hostile *h = arg;
	struct frame f;

	(void)events;
	(void)bell_clear(FD_PORT_BELL);
	do {
		while (ring_next(&h->rx, &f) == 1)
			h->frames++;
		if (ring_release(&h->rx))
			bell_ring(FD_PORT_BELL);
	} while (ring_arm(&h->rx) == 1);
}

static void
launcher_readable(void *arg, unsigned events)
{
	(void)events;
	loop_stop(arg, 0);
}

static const struct sysrule rules[] = {
    SYS(ftruncate, "to try it on sealed memory"),
    SYS(fallocate, "to try a hole in sealed memory"),
    SYS(fcntl, "to clear the O_NONBLOCK that both ends share"),
    SYS(shutdown, "to shut bells and channels"),
    SYS(mmap, "to map the other's memory writable"),
    SYS(mprotect, "to make it writable"),
};

static void
lock(void)
{
	static const struct syslist list = {
	    .role = "hostile",
	    .rules = rules,
	    .count = sizeof rules / sizeof *rules,
	};

	confine_lock(&list);
	confine_ready();
}

int
backend_on_configure(void *arg, uint32_t seq, const struct ctl_configure *m)
{
	struct hostile *h = arg;
	const struct ctl_ready ready = {.connected = true};
	size_t bytes = (size_t)m->ring_bytes;
	void *own, *peer;

	BUG_ON(!ring_bytes_valid(bytes));
	h->mem_bytes = port_bytes(bytes);
	BUG_ON(sys_map(FD_PORT_OWN, h->mem_bytes, true, &own) < 0);
	BUG_ON(sys_map(FD_PORT_PEER, h->mem_bytes, false, &peer) < 0);
	h->own = own;
	h->peer = peer;
	ring_tx_attach(&h->tx, own, peer, bytes);
	ring_rx_attach(&h->rx, own, peer, bytes);
	if (lies_at(h, AT_READY)) {
		(void)h->lie->tell(h);
		return 0;
	}
	lock();
	(void)ctl_send_ready(h->control, seq, &ready);
	if (watch_new(h->loop, FD_PORT_BELL, WATCH_READ, bell_readable, h) ==
	    NULL)
		abort();
	bell_readable(h, WATCH_READ);
	if (lies_at(h, RUNNING))
		timer_set_ns(h->timer, LIE_AFTER_NS);
	return 0;
}

int
backend_on_connection(
    void *arg, uint32_t seq, const struct ctl_connection *m, int *fds)
{
	(void)arg, (void)seq, (void)m;
	fd_close(&fds[0]);
	return 0;
}

int
backend_on_ping(void *arg, uint32_t seq, const struct ctl_ping *m)
{
	struct hostile *h = arg;
	const struct ctl_pong answer = {0};

	(void)m;
	(void)ctl_send_pong(h->control, seq, &answer);
	return 0;
}

int
backend_on_stop(void *arg, uint32_t seq, const struct ctl_stop *m)
{
	struct hostile *h = arg;

	(void)seq, (void)m;
	loop_stop(h->loop, 0);
	return 0;
}

static int
take_up(struct hostile *h, const struct ctl_cross *m, int *fds)
{
	void *own, *peer;

	if (sys_map(fds[0], port_bytes(m->own_bytes), true, &own) < 0 ||
	    sys_map(fds[1], port_bytes(m->peer_bytes), false, &peer) < 0)
		return -EINVAL;
	h->cross_own = own;
	h->cross_bell = fd_take(&fds[2]);
	h->cross_serial = m->serial;
	ring_tx_attach(&h->cross_tx, own, peer, m->own_bytes);
	ring_rx_attach(&h->cross_rx, own, peer, m->peer_bytes);
	return 0;
}

/* Only who has a lie for it goes to a crossover; others say that they cannot.
 */
int
backend_on_cross(void *arg, uint32_t seq, const struct ctl_cross *m, int *fds)
{
	struct hostile *h = arg;
	char no[] = "not\nme";
	struct ctl_crossed answer = {.serial = m->serial};

	if (!lies_at(h, AT_CROSS) || take_up(h, m, fds) < 0)
		answer.error = no;
	for (int i = 0; i < 3; i++)
		fd_close(&fds[i]);
	(void)ctl_send_crossed(h->control, seq, &answer);
	if (!answer.error)
		timer_set_ns(h->timer, LIE_AFTER_NS);
	return 0;
}

static bool
says_no_end(const struct hostile *h)
{
	return h->lie && h->lie->tell == cross_stays;
}

int
backend_on_uncross(void *arg, uint32_t seq, const struct ctl_uncross *m)
{
	struct hostile *h = arg;
	const struct ctl_uncrossed answer = {.serial = m->serial};

	if (!says_no_end(h))
		(void)ctl_send_uncrossed(h->control, seq, &answer);
	return 0;
}

/* With a lie about what it did. */
int
backend_on_cross_end(void *arg, uint32_t seq, const struct ctl_cross_end *m)
{
	struct hostile *h = arg;
	const struct ctl_cross_ended answer = {.counts = {
						   .serial = m->serial,
						   .sent_frames = UINT64_MAX,
						   .unread_bytes = UINT64_MAX,
					       }};

	(void)seq;
	if (!says_no_end(h))
		(void)ctl_send_cross_ended(h->control, 0, &answer);
	return 0;
}

/* Only who has a lie for it views. */
int
backend_on_arena_view(
    void *arg, uint32_t seq, const struct ctl_arena_view *m, int *fds)
{
	struct hostile *h = arg;

	(void)seq;
	fd_close(&fds[0]);
	h->arena = m->serial;
	if (lies_at(h, AT_VIEW))
		(void)h->lie->tell(h);
	else
		say_viewed(h, m->serial, "not\nme");
	return 0;
}

int
backend_on_arena_close(void *arg, uint32_t seq, const struct ctl_arena_close *m)
{
	(void)arg, (void)seq, (void)m;
	return 0;
}

int
backend_on_link(void *arg, uint32_t seq, const struct ctl_link *m)
{
	(void)arg;
	(void)seq;
	(void)m;
	return 0;
}

int
backend_on_nic_taken(void *arg, uint32_t seq, const struct ctl_nic_taken *m)
{
	struct hostile *h = arg;

	(void)seq;
	(void)m;
	h->taken++;
	return 0;
}

int
backend_on_rx_filter_ask(
    void *arg, uint32_t seq, const struct ctl_rx_filter_ask *m)
{
	struct hostile *h = arg;
	struct rx_filter f = one_address(1);

	(void)m;
	h->asked = seq;
	if (lies_at(h, AT_ASK))
		(void)h->lie->tell(h);
	else
		answer_filter(h, seq, &f);
	return 0;
}

int
backend_on_backend_stats_ask(
    void *arg, uint32_t seq, const struct ctl_backend_stats_ask *m)
{
	struct hostile *h = arg;
	uint64_t counters[BC_COUNT] = {[BC_OUT_FRAMES] = h->frames};
	const struct ctl_backend_stats answer = {
	    .counters = {.count = BC_COUNT, .items = counters},
	};

	(void)m;
	(void)ctl_send_backend_stats(h->control, seq, &answer);
	return 0;
}

static int
message(void *arg, const uint8_t *buf, size_t len, int *fds, size_t fd_count)
{
	return backend_dispatch(arg, CTL_ROLE_BROKER, buf, len, fds, fd_count);
}

static void
closed(void *arg, int reason)
{
	(void)arg;
	(void)reason;
}

static const struct chan_ops chan_ops = {message, closed};

static void
hello(struct hostile *h, const char *type)
{
	char hash[64], role[64];
	const struct ctl_hello m = {.schema = hash, .role = role};

	(void)snprintf(hash, sizeof hash, "%s", schema_hash);
	(void)snprintf(role, sizeof role, "%s", type);
	(void)ctl_send_hello(h->control, 0, &m);
}

/* The type in whose place we are: the end of bulkhead-TYPE. */
static const char *
type_of(const char *path)
{
	const char *dash = strrchr(path, '-');

	return dash != NULL ? dash + 1 : "dump";
}

int
main(int argc, char **argv)
{
	struct hostile *h = &self;

	if (argc == 2 && strcmp(argv[1], "--list") == 0) {
		for (size_t i = 0; i < sizeof lies / sizeof *lies; i++)
			(void)puts(lies[i].name);
		return 0;
	}
	confine_begin("hostile");
	h->lie = lie_of(confine_id());
	h->loop = loop_new();
	BUG_ON(h->loop == NULL);
	h->timer = timer_new(h->loop, lie_now, h);
	BUG_ON(watch_new(h->loop, FD_LAUNCHER, WATCH_READ, launcher_readable,
		   h->loop) == NULL);
	if (lies_at(h, AT_START))
		(void)h->lie->tell(h);
	h->control = chan_new(h->loop, FD_CONTROL, 1, &chan_ops, h);
	BUG_ON(h->control == NULL || h->timer == NULL);
	if (lies_at(h, AT_HELLO))
		(void)h->lie->tell(h);
	else
		hello(h, type_of(argv[0]));
	return loop_run(h->loop);
}
