/*
 * backend_reports_test.c - what a nic tells of its guest goes one message at a
 * time, the latest state wins, and no change is lost; the link reaches it.
 */
#include "backends/backend_state.h"
#include "gen/control.h"
#include "proto/chan.h"
#include "proto/sys.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* --- the broker's side --- */

static struct {
	unsigned filters, states, answers, links;
	bool changed, link;
	uint64_t mac, features;
	uint32_t pairs, uni, multi;
} heard;

static struct loop *loop;
static struct chan *broker;
static struct backend be;

static void
hear(const struct rx_filter_state *s, bool changed)
{
	assert_int_equal(s->vlans.count, RX_FILTER_VIDS / 64);
	heard.changed = changed;
	heard.mac = s->mac;
	heard.uni = (uint32_t)s->unicast.count;
	heard.multi = (uint32_t)s->multicast.count;
	loop_stop(loop, 0);
}

int
broker_on_rx_filter(void *self, uint32_t seq, const struct ctl_rx_filter *m)
{
	(void)self, (void)seq;
	heard.filters++;
	hear(&m->filter, m->changed);
	return 0;
}

int
broker_on_rx_filter_state(
    void *self, uint32_t seq, const struct ctl_rx_filter_state *m)
{
	(void)self;
	assert_int_equal(seq, 77);
	heard.answers++;
	hear(&m->filter, m->changed);
	return 0;
}

int
broker_on_nic_state(void *self, uint32_t seq, const struct ctl_nic_state *m)
{
	(void)self, (void)seq;
	heard.states++;
	heard.features = m->features;
	heard.pairs = m->pairs;
	loop_stop(loop, 0);
	return 0;
}

int
broker_on_pong(void *self, uint32_t seq, const struct ctl_pong *m)
{
	(void)self, (void)seq, (void)m;
	loop_stop(loop, 0);
	return 0;
}

int
broker_on_hello(void *self, uint32_t seq, const struct ctl_hello *m)
{
	(void)self, (void)seq, (void)m;
	return 0;
}

int
broker_on_ready(void *self, uint32_t seq, const struct ctl_ready *m)
{
	(void)self, (void)seq, (void)m;
	return 0;
}

/* What is not said here. */
#define NEVER(name)                                                            \
	int broker_on_##name(                                                  \
	    void *self, uint32_t seq, const struct ctl_##name *m)              \
	{                                                                      \
		(void)self, (void)seq, (void)m;                                \
		fail();                                                        \
		return -EPROTO;                                                \
	}
NEVER(connected)
NEVER(reconnect)
NEVER(notice)
NEVER(backend_stats)
NEVER(lane_stalled)
NEVER(detached)
NEVER(port_fault)
NEVER(port_stalled)
NEVER(lane_stats)
NEVER(crossed)
NEVER(uncrossed)
NEVER(cross_ended)
NEVER(cross_trouble)
NEVER(arena_viewed)
NEVER(arena_ended)

static int
message(void *self, const uint8_t *buf, size_t len, int *fds, size_t n)
{
	(void)self;
	return broker_dispatch(NULL, CTL_ROLE_BACKEND, buf, len, fds, n);
}

static void
closed(void *self, int reason)
{
	(void)self, (void)reason;
	fail();
}

/* --- the backend's side --- */

static void
told_link(void *self, bool up)
{
	(void)self;
	heard.links++;
	heard.link = up;
}

static const struct backend_type type = {.name = "nic", .link = told_link};

static void
start(bool ready)
{
	static const struct chan_ops ops = {message, closed};
	int fds[2];

	memset(&heard, 0, sizeof heard);
	memset(&be, 0, sizeof be);
	loop = loop_new();
	assert_non_null(loop);
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	broker = chan_new(loop, fds[0], 0, &ops, NULL);
	be.loop = loop;
	be.type = &type;
	be.link_up = true;
	assert_int_equal(backend_control_open(&be, fds[1], "hash"), 0);
	if (ready)
		backend_control_ready(&be, NULL);
}

static void
end(void)
{
	backend_control_close(&be);
	chan_free(broker);
	loop_free(loop);
}

/* Everything that was said before this has been heard after it. */
static void
flush(void)
{
	const struct ctl_ping m = {0};

	(void)ctl_send_ping(broker, 1, &m);
	for (int i = 0; i < 20; i++) {
		const struct ctl_ping again = {0};

		loop_run(loop);
		(void)ctl_send_ping(broker, 1, &again);
	}
}

static void
taken(void)
{
	const struct ctl_nic_taken m = {0};

	(void)ctl_send_nic_taken(broker, 0, &m);
	flush();
}

static struct rx_filter
filter(uint64_t mac)
{
	return (struct rx_filter){
	    .known = true, .mac = mac, .uni_count = 3, .multi_count = 5};
}

static void
say(uint64_t mac, bool changed)
{
	const struct rx_filter f = filter(mac);

	backend_rx_filter(&be, &f, changed);
	flush();
}

static void
test_one_report_is_under_way_and_the_latest_wins(void **state)
{
	(void)state;
	start(true);
	say(1, false);
	assert_int_equal(heard.filters, 1);
	assert_int_equal(heard.uni, 3);
	assert_int_equal(heard.multi, 5);
	say(2, true);
	say(3, false);
	assert_int_equal(heard.filters, 1);
	taken();
	/* The change of 2 is told with the state of 3. */
	assert_int_equal(heard.filters, 2);
	assert_int_equal(heard.mac, 3);
	assert_true(heard.changed);
	taken();
	assert_int_equal(heard.filters, 2);
	say(4, false);
	assert_int_equal(heard.filters, 3);
	assert_false(heard.changed);
	end();
}

static void
test_states_and_filters_wait_for_each_other(void **state)
{
	(void)state;
	start(true);
	backend_nic_state(&be, 5, 1);
	say(1, true);
	backend_nic_state(&be, 6, 2);
	flush();
	assert_int_equal(heard.states, 1);
	assert_int_equal(heard.filters, 0);
	taken();
	assert_int_equal(heard.states, 2);
	assert_int_equal(heard.features, 6);
	assert_int_equal(heard.pairs, 2);
	taken();
	assert_int_equal(heard.filters, 1);
	taken();
	/* The same again is no news. */
	backend_nic_state(&be, 6, 2);
	flush();
	assert_int_equal(heard.states, 2);
	end();
}

static void
test_nothing_is_said_before_ready(void **state)
{
	(void)state;
	start(false);
	say(9, true);
	backend_nic_state(&be, 5, 1);
	flush();
	assert_int_equal(heard.filters + heard.states, 0);
	backend_control_ready(&be, NULL);
	flush();
	assert_int_equal(heard.states, 1);
	taken();
	assert_int_equal(heard.mac, 9);
	end();
}

static void
test_an_answer_brings_what_was_to_be_told(void **state)
{
	const struct ctl_rx_filter_ask ask = {0};

	(void)state;
	start(true);
	say(1, true);
	say(2, true);
	(void)ctl_send_rx_filter_ask(broker, 77, &ask);
	flush();
	assert_int_equal(heard.answers, 1);
	assert_int_equal(heard.mac, 2);
	assert_true(heard.changed);
	/* It is not told again. */
	taken();
	assert_int_equal(heard.filters, 1);
	(void)ctl_send_rx_filter_ask(broker, 77, &ask);
	flush();
	assert_int_equal(heard.answers, 2);
	assert_false(heard.changed);
	end();
}

static void
test_only_changes_of_the_link_reach_the_type(void **state)
{
	struct ctl_link m = {.up = true};

	(void)state;
	start(true);
	(void)ctl_send_link(broker, 0, &m);
	flush();
	assert_int_equal(heard.links, 0);
	m.up = false;
	(void)ctl_send_link(broker, 0, &m);
	(void)ctl_send_link(broker, 0, &m);
	flush();
	assert_int_equal(heard.links, 1);
	assert_false(heard.link);
	assert_false(backend_link_up(&be));
	end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_one_report_is_under_way_and_the_latest_wins),
	    cmocka_unit_test(test_states_and_filters_wait_for_each_other),
	    cmocka_unit_test(test_nothing_is_said_before_ready),
	    cmocka_unit_test(test_an_answer_brings_what_was_to_be_told),
	    cmocka_unit_test(test_only_changes_of_the_link_reach_the_type),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
