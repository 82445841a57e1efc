/*
 * nic_peer_test.c - how often a nic tries to have a front-end: the pauses
 * between connections that it makes, and between those that it takes.
 *
 * The clock is the loop's and stands still, so pauses are measured exactly.
 */
#include "tests/unit/still_loop.h"

#include "proto/sys.h"

/* The unit under test, by that clock. */
#define sys_mono_ns() (kit_loop.now_ns)
#include "backends/backend_nic_peer.c"
#undef sys_mono_ns

#include "tests/unit/nic_kit.h"

#include <sys/resource.h>

#define MS    UINT64_C(1000000)
#define NEVER UINT64_MAX

static char chardev_id[] = "c0";

/* --- the loop, as backend_kit.h wants it ---------------------------------- */

struct loop *
loop_new(void)
{
	memset(&kit_loop, 0, sizeof kit_loop);
	TAILQ_INIT(&kit_loop.watches);
	TAILQ_INIT(&kit_loop.timers);
	kit_loop.now_ns = 3600 * KIT_SECOND;
	return &kit_loop;
}

void
loop_free(struct loop *l)
{
	sweep_watches();
	assert_true(TAILQ_EMPTY(&l->watches));
}

int
loop_run(struct loop *l)
{
	l->stopped = 0;
	while (!l->stopped)
		assert_true(turn_watches() || turn_timers(NEVER));
	return l->code;
}

/* How long it takes until that is so; NEVER: not within a minute. */
static uint64_t
time_until(bool (*met)(void))
{
	uint64_t from_ns = kit_loop.now_ns;

	while (!met())
		if (!turn_watches() && !turn_timers(from_ns + 60 * KIT_SECOND))
			return NEVER;
	return kit_loop.now_ns - from_ns;
}

static bool
has_asked(void)
{
	return timer_pending(kit.be.reconnect);
}

static bool
is_there(void)
{
	return kit.be.connected;
}

static bool
is_gone(void)
{
	return !kit.be.connected;
}

/* --- it connects ---------------------------------------------------------- */

/* A nic whose first connection has failed; ms < 0: nothing was said. */
static void
client_up(int ms)
{
	struct err err;

	nic_kit_init();
	kit.be.has_reconnect_ms = ms >= 0;
	kit.be.reconnect_ms = (uint32_t)ms;
	options.chardev = chardev_id;
	if (kit_open(&kit, &options, &err) < 0)
		fail_msg("%s", err.text);
	fe_init();
	fe.sock = fe.request = listener = -1;
}

/* The launcher could not connect. */
static void
refuse_connection(void)
{
	assert_true(has_asked());
	timer_stop(kit.be.reconnect);
	backend_type.connection(kit.be.self, -1, "no such file");
}

/* It could, and the front-end is there. */
static void
give_connection(void)
{
	int pair[2];

	assert_true(has_asked());
	timer_stop(kit.be.reconnect);
	fd_close(&fe.sock);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	fe.sock = pair[1];
	backend_type.connection(kit.be.self, pair[0], NULL);
	assert_int_equal(time_until(is_there), 0);
}

static void
front_end_goes(void)
{
	fd_close(&fe.sock);
	assert_int_equal(time_until(is_gone), 0);
}

static void
test_pauses_double_up_to_a_second(void **state)
{
	static const unsigned pauses[] = {100, 200, 400, 800, 1000, 1000, 1000};
	unsigned i, turn;

	(void)state;
	client_up(-1);
	for (turn = 0; turn < 3; turn++) {
		for (i = 0; i < sizeof pauses / sizeof *pauses; i++) {
			assert_int_equal(time_until(has_asked), pauses[i] * MS);
			refuse_connection();
		}
		assert_int_equal(time_until(has_asked), 1000 * MS);
		/* Who was there is soon tried again, */
		for (i = 0; i < 3; i++) {
			give_connection();
			front_end_goes();
			assert_int_equal(time_until(has_asked), 100 * MS);
		}
		/* and a new outage begins as the first. */
		give_connection();
		front_end_goes();
	}
	tear_down();
}

static void
test_pauses_are_those_of_the_chardev(void **state)
{
	static const struct {
		int said;
		unsigned kept;
	} cases[] = {{250, 250}, {60000, 60000}, {25, 25}, {24, 25}, {1, 25}};
	unsigned i, turn;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		client_up(cases[i].said);
		for (turn = 0; turn < 5; turn++) {
			assert_int_equal(
			    time_until(has_asked), cases[i].kept * MS);
			refuse_connection();
		}
		for (turn = 0; turn < 5; turn++) {
			assert_int_equal(
			    time_until(has_asked), cases[i].kept * MS);
			give_connection();
			front_end_goes();
		}
		tear_down();
	}
}

static void
test_never_again_means_never(void **state)
{
	struct err err;
	int pair[2];

	(void)state;
	client_up(0);
	assert_int_equal(time_until(has_asked), NEVER);
	tear_down();
	/* Nor after the one that there was. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	nic_kit_init();
	kit.be.has_reconnect_ms = true;
	kit.be.resource[RESOURCE_CHARDEV] = pair[0];
	options.chardev = chardev_id;
	assert_int_equal(kit_open(&kit, &options, &err), 0);
	fe_init();
	fe.sock = pair[1];
	fe.request = listener = -1;
	assert_int_equal(time_until(is_there), 0);
	front_end_goes();
	assert_int_equal(time_until(has_asked), NEVER);
	tear_down();
}

/* A connection that is made and fails at once, as on a path without a
 * listener, is a failure like others. */
static void
test_a_connection_that_was_refused_is_tried_again(void **state)
{
	(void)state;
	client_up(-1);
	assert_int_equal(time_until(has_asked), 100 * MS);
	timer_stop(kit.be.reconnect);
	backend_type.connection(
	    kit.be.self, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), NULL);
	assert_int_equal(time_until(has_asked), 200 * MS);
	assert_false(kit.be.connected);
	tear_down();
}

/* --- it is connected to --------------------------------------------------- */

/* Somebody comes; how long it waited. */
static uint64_t
front_end_comes(void)
{
	struct sockaddr_un to;
	socklen_t len = sizeof to;

	assert_int_equal(fe.sock, -1);
	fe.sock = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(getsockname(listener, (void *)&to, &len), 0);
	assert_int_equal(connect(fe.sock, (void *)&to, len), 0);
	return time_until(is_there);
}

static void
test_a_flood_of_connections_is_taken_slowly(void **state)
{
	unsigned i, turn;

	(void)state;
	nic_up();
	fe_init();
	for (turn = 0; turn < 3; turn++) {
		for (i = 0; i < SHORT_MAX; i++) {
			assert_int_equal(front_end_comes(), 0);
			kit_loop.now_ns += SHORT_NS - 1;
			front_end_goes();
		}
		for (i = 0; i < 5; i++) {
			assert_int_equal(front_end_comes(), 100 * MS);
			front_end_goes();
		}
		/* One that stays makes it good. */
		assert_int_equal(front_end_comes(), 100 * MS);
		kit_loop.now_ns += SHORT_NS;
		front_end_goes();
	}
	tear_down();
}

static void
test_without_descriptors_it_waits_a_second(void **state)
{
	struct rlimit usual, none;
	int least = dup(0);

	(void)state;
	assert_int_equal(close(least), 0);
	nic_up();
	fe_init();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
	none = usual;
	none.rlim_cur = (rlim_t)least;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	accept_ready(the_nic(), WATCH_READ);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
	assert_int_equal(front_end_comes(), 1000 * MS);
	front_end_goes();
	assert_int_equal(front_end_comes(), 0);
	tear_down();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_pauses_double_up_to_a_second),
	    cmocka_unit_test(test_pauses_are_those_of_the_chardev),
	    cmocka_unit_test(test_never_again_means_never),
	    cmocka_unit_test(test_a_connection_that_was_refused_is_tried_again),
	    cmocka_unit_test(test_a_flood_of_connections_is_taken_slowly),
	    cmocka_unit_test(test_without_descriptors_it_waits_a_second),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
