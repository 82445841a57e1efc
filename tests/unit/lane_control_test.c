/*
 * lane_control_test.c - a lane in a process of its own, with its real loop,
 * bells, timers and channel; this program is the broker and the backends.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/unit/lane_kit.h"

#include "broker/lane_control.h"
#include "gen/control.h"
#include "gen/schema.h"
#include "proto/chan.h"
#include "proto/loop.h"

#define DEADLINE_MS 20000

static int wire = -1;
static struct loop *loop;
static struct chan *chan;
static pid_t lane_pid;

/* The last message, and what was in it. */
static struct {
	enum ctl_id id;
	uint32_t seq, port, epoch;
	uint64_t counters[LC_COUNT];
	size_t ports;
	char text[64];
} heard;

static void
hear(enum ctl_id id, uint32_t seq)
{
	heard.id = id;
	heard.seq = seq;
	loop_stop(loop, 0);
}

int
broker_on_hello(void *self, uint32_t seq, const struct ctl_hello *m)
{
	(void)self;
	assert_string_equal(m->schema, schema_hash);
	snprintf(heard.text, sizeof heard.text, "%s", m->role);
	hear(CTL_HELLO, seq);
	return 0;
}

int
broker_on_pong(void *self, uint32_t seq, const struct ctl_pong *m)
{
	(void)self, (void)m;
	hear(CTL_PONG, seq);
	return 0;
}

int
broker_on_detached(void *self, uint32_t seq, const struct ctl_detached *m)
{
	(void)self;
	assert_int_equal(m->counters.count, LC_COUNT);
	memcpy(heard.counters, m->counters.items, sizeof heard.counters);
	heard.port = m->port;
	heard.epoch = m->epoch;
	hear(CTL_DETACHED, seq);
	return 0;
}

int
broker_on_port_fault(void *self, uint32_t seq, const struct ctl_port_fault *m)
{
	(void)self;
	heard.port = m->port;
	heard.epoch = m->epoch;
	snprintf(heard.text, sizeof heard.text, "%s", m->reason);
	hear(CTL_PORT_FAULT, seq);
	return 0;
}

int
broker_on_port_stalled(
    void *self, uint32_t seq, const struct ctl_port_stalled *m)
{
	(void)self;
	heard.port = m->port;
	heard.epoch = m->epoch;
	hear(CTL_PORT_STALLED, seq);
	return 0;
}

int
broker_on_lane_stats(void *self, uint32_t seq, const struct ctl_lane_stats *m)
{
	(void)self;
	heard.ports = m->ports.count;
	if (m->ports.count > 0) {
		const struct lane_port *last =
		    &m->ports.items[m->ports.count - 1];

		heard.port = last->port;
		heard.epoch = last->epoch;
		assert_int_equal(last->counters.count, LC_COUNT);
		memcpy(heard.counters, last->counters.items,
		    sizeof heard.counters);
	}
	hear(CTL_LANE_STATS, seq);
	return 0;
}

int
broker_on_arena_ended(void *self, uint32_t seq, const struct ctl_arena_ended *m)
{
	(void)self;
	(void)m;
	hear(CTL_ARENA_ENDED, seq);
	return 0;
}

/* What backends say; no lane does. */
#define NEVER(name)                                                            \
	int broker_on_##name(                                                  \
	    void *self, uint32_t seq, const struct ctl_##name *m)              \
	{                                                                      \
		(void)self, (void)seq, (void)m;                                \
		fail();                                                        \
		return -EPROTO;                                                \
	}
NEVER(ready)
NEVER(connected)
NEVER(reconnect)
NEVER(notice)
NEVER(crossed)
NEVER(uncrossed)
NEVER(cross_ended)
NEVER(cross_trouble)
NEVER(arena_viewed)
NEVER(backend_stats)
NEVER(lane_stalled)
NEVER(nic_state)
NEVER(rx_filter)
NEVER(rx_filter_state)

static int
message(void *self, const uint8_t *buf, size_t len, int *fds, size_t n)
{
	(void)self;
	assert_int_equal(
	    broker_dispatch(NULL, CTL_ROLE_LANE, buf, len, fds, n), 0);
	return 0;
}

static void
closed(void *self, int reason)
{
	(void)self, (void)reason;
	hear(CTL__MAX, 0);
}

static const struct chan_ops chan_ops = {message, closed};

/* Wait for one message of that kind. */
static void
expect(enum ctl_id id)
{
	alarm(DEADLINE_MS / 1000);
	do
		(void)loop_run(loop);
	while (heard.id != id);
	alarm(0);
}

_Noreturn static void
run_lane(int control)
{
	struct lane_process lp;
	struct loop *own = loop_new();

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	BUG_ON(own == NULL || lane_process_init(&lp, own, control) < 0);
	lane_process_hello(&lp);
	_exit(loop_run(own));
}

/* A lane with no ports, and ports that wait to be attached. */
static void
start(uint32_t ports)
{
	int ends[2];

	memset(&heard, 0, sizeof heard);
	for (uint32_t id = 0; id < ports; id++) {
		pens[id].epoch = 0;
		pen_make(id);
	}
	assert_int_equal(sys_pair(ends), 0);
	lane_pid = fork();
	assert_true(lane_pid >= 0);
	if (lane_pid == 0) {
		fd_close(&ends[0]);
		run_lane(ends[1]);
	}
	fd_close(&ends[1]);
	wire = ends[0];
	loop = loop_new();
	chan = chan_new(loop, wire, true, &chan_ops, NULL);
	assert_non_null(chan);
	expect(CTL_HELLO);
	assert_string_equal(heard.text, "lane");
}

static void
end(void)
{
	(void)kill(lane_pid, SIGKILL);
	(void)waitpid(lane_pid, NULL, 0);
	chan_free(ptr_take(chan));
	loop_free(ptr_take(loop));
	for (uint32_t id = 0; id < PENS; id++)
		pen_end(id);
}

static void
attach(uint32_t id)
{
	struct ctl_attach m = {
	    .port = id,
	    .epoch = pens[id].epoch,
	    .ring_bytes = KIT_BYTES,
	};
	int fds[3] = {pens[id].p_fd, pens[id].l_fd, pens[id].lane_bell};

	assert_int_equal(ctl_send_attach(chan, 1, &m, fds), 0);
}

static void
plan(uint32_t ports)
{
	struct plan_port items[PENS];
	struct ctl_plan m = {
	    .serial = 5, .ports = {.count = ports, .items = items}};

	for (uint32_t id = 0; id < ports; id++)
		items[id] = (struct plan_port){.port = id, .link_up = true};
	assert_int_equal(ctl_send_plan(chan, 2, &m), 0);
}

static void
ping(uint32_t seq)
{
	const struct ctl_ping m = {0};

	assert_int_equal(ctl_send_ping(chan, seq, &m), 0);
	expect(CTL_PONG);
	assert_int_equal(heard.seq, seq);
}

static void
start_attached(uint32_t ports)
{
	start(ports);
	for (uint32_t id = 0; id < ports; id++)
		attach(id);
	plan(ports);
	ping(3);
}

/* Take frames as they come, asleep on the bell between, until there are
 * `frames` of them. */
static void
take(uint32_t id, uint64_t frames)
{
	struct pollfd bell = {.fd = pens[id].bell, .events = POLLIN};

	for (uint64_t got = 0; got < frames;) {
		got += pen_take(id, 64);
		if (got < frames && ring_arm(&pens[id].rx) == 0) {
			assert_int_equal(poll(&bell, 1, DEADLINE_MS), 1);
			assert_int_equal(bell_clear(pens[id].bell), 0);
		}
	}
}

static void
test_frames_flow_by_bells_alone(void **state)
{
	(void)state;
	start_attached(3);
	for (int i = 0; i < 200; i++) {
		pen_send(0, 1 + (unsigned)i % 90, 100);
		take(1, 1 + (unsigned)i % 90);
		take(2, 1 + (unsigned)i % 90);
	}
	end();
}

static void
test_attach_after_plan_delivers_what_was_waiting(void **state)
{
	(void)state;
	start(2);
	plan(2);
	pen_send(0, 10, 100);
	attach(1);
	attach(0);
	take(1, 10);
	end();
}

static void
test_held_source_goes_on_without_any_bell(void **state)
{
	uint64_t sent = 0;

	(void)state;
	start_attached(3);
	/* Port 2 never reads; nothing but the lane's own timer ends its hold,
	 * and port 1 gets every frame. */
	for (int i = 0; i < 60; i++) {
		while (sent < 100 * (uint64_t)(i + 1))
			if (pen_put(0, 1000))
				sent++;
		pen_flush(0);
		take(1, 100);
	}
	assert_int_equal(pens[1].got[0], 6000);
	expect(CTL_PORT_STALLED);
	assert_int_equal(heard.port, 2);
	assert_int_equal(heard.epoch, pens[2].epoch);
	end();
}

static void
test_stats_are_told_for_one_port_or_all(void **state)
{
	struct ctl_lane_stats_ask all = {.has_port = false};
	struct ctl_lane_stats_ask one = {.has_port = true, .port = 1};
	struct ctl_lane_stats_ask none = {.has_port = true, .port = 77};

	(void)state;
	start_attached(3);
	pen_send(0, 12, 100);
	take(1, 12);
	assert_int_equal(ctl_send_lane_stats_ask(chan, 40, &all), 0);
	expect(CTL_LANE_STATS);
	assert_int_equal(heard.seq, 40);
	assert_int_equal(heard.ports, 3);
	assert_int_equal(ctl_send_lane_stats_ask(chan, 41, &one), 0);
	expect(CTL_LANE_STATS);
	assert_int_equal(heard.ports, 1);
	assert_int_equal(heard.port, 1);
	assert_int_equal(heard.counters[LC_RX_FRAMES], 12);
	assert_int_equal(heard.counters[LC_RX_BYTES], 1200);
	assert_int_equal(ctl_send_lane_stats_ask(chan, 42, &none), 0);
	expect(CTL_LANE_STATS);
	assert_int_equal(heard.ports, 0);
	end();
}

static void
test_detach_answers_with_the_last_counters(void **state)
{
	struct ctl_detach m = {.port = 1, .epoch = 1, .dead = true};

	(void)state;
	start_attached(2);
	pen_send(0, 30, 100);
	take(1, 30);
	assert_int_equal(ctl_send_detach(chan, 50, &m), 0);
	expect(CTL_DETACHED);
	assert_int_equal(heard.seq, 50);
	assert_int_equal(heard.port, 1);
	assert_int_equal(heard.counters[LC_RX_FRAMES], 30);
	/* What is not there is answered too. */
	m.port = 99;
	assert_int_equal(ctl_send_detach(chan, 51, &m), 0);
	expect(CTL_DETACHED);
	assert_int_equal(heard.port, 99);
	assert_int_equal(heard.counters[LC_RX_FRAMES], 0);
	end();
}

static void
test_faults_are_told_with_port_epoch_and_reason(void **state)
{
	struct ctl_attach m = {.port = 9, .epoch = 4, .ring_bytes = 4096};
	int fds[3];

	(void)state;
	start_attached(2);
	fds[0] = fds[1] = fds[2] = pens[0].lane_bell;
	assert_int_equal(ctl_send_attach(chan, 1, &m, fds), 0);
	expect(CTL_PORT_FAULT);
	assert_int_equal(heard.port, 9);
	assert_int_equal(heard.epoch, 4);
	assert_string_equal(heard.text, "memory");
	(void)shutdown(pens[1].bell, SHUT_RDWR);
	expect(CTL_PORT_FAULT);
	assert_int_equal(heard.port, 1);
	assert_string_equal(heard.text, "bell");
	end();
}

static void
test_frames_flow_while_there_is_no_broker(void **state)
{
	(void)state;
	start_attached(2);
	chan_free(ptr_take(chan));
	for (int i = 0; i < 50; i++) {
		pen_send(0, 20, 100);
		take(1, 20);
	}
	end();
}

static void
test_broken_message_ends_the_channel_and_no_frame(void **state)
{
	(void)state;
	start_attached(2);
	assert_int_equal(send(wire, "\xc1 nonsense", 10, 0), 10);
	expect(CTL__MAX);
	for (int i = 0; i < 50; i++) {
		pen_send(0, 20, 100);
		take(1, 20);
	}
	end();
}

static void
test_plan_that_names_a_port_twice_ends_the_channel(void **state)
{
	struct plan_port items[2] = {{.port = 3}, {.port = 3}};
	struct ctl_plan m = {.ports = {.count = 2, .items = items}};

	(void)state;
	start_attached(2);
	assert_int_equal(ctl_send_plan(chan, 2, &m), 0);
	expect(CTL__MAX);
	pen_send(0, 20, 100);
	take(1, 20);
	end();
}

static void
test_stop_ends_the_process(void **state)
{
	const struct ctl_stop m = {0};
	int status;

	(void)state;
	start_attached(2);
	assert_int_equal(ctl_send_stop(chan, 0, &m), 0);
	alarm(DEADLINE_MS / 1000);
	assert_int_equal(waitpid(lane_pid, &status, 0), lane_pid);
	alarm(0);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	end();
}

static uint64_t
cpu_ns(void)
{
	struct timespec t;
	clockid_t clock;

	assert_int_equal(clock_getcpuclockid(lane_pid, &clock), 0);
	assert_int_equal(clock_gettime(clock, &t), 0);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void
test_idle_lane_uses_no_processor(void **state)
{
	const struct timespec pause = {.tv_nsec = 300000000};
	uint64_t before;

	(void)state;
	start_attached(6);
	for (int i = 0; i < 20; i++) {
		pen_send(0, 20, 100);
		take(1, 20);
	}
	/* It has gone to sleep when its ping is answered and a moment over. */
	ping(9);
	(void)nanosleep(&pause, NULL);
	before = cpu_ns();
	(void)nanosleep(&pause, NULL);
	assert_int_equal(cpu_ns() - before, 0);
	end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_frames_flow_by_bells_alone),
	    cmocka_unit_test(test_attach_after_plan_delivers_what_was_waiting),
	    cmocka_unit_test(test_held_source_goes_on_without_any_bell),
	    cmocka_unit_test(test_stats_are_told_for_one_port_or_all),
	    cmocka_unit_test(test_detach_answers_with_the_last_counters),
	    cmocka_unit_test(test_faults_are_told_with_port_epoch_and_reason),
	    cmocka_unit_test(test_frames_flow_while_there_is_no_broker),
	    cmocka_unit_test(test_broken_message_ends_the_channel_and_no_frame),
	    cmocka_unit_test(
		test_plan_that_names_a_port_twice_ends_the_channel),
	    cmocka_unit_test(test_stop_ends_the_process),
	    cmocka_unit_test(test_idle_lane_uses_no_processor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
