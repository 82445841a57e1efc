/*
 * core_test.c - netdevs, lanes and ports against fakes that die at every
 * step: answers exactly once, nothing leaks, no two lanes write one memory.
 */
#include "tests/unit/core_kit.h"

/* --- one answer, counted --- */

struct answer {
	unsigned told;
	bool failed;
	struct err e;
};

static void
told(void *self, const struct err *e)
{
	struct answer *a = self;

	a->told++;
	a->failed = e != NULL;
	if (e)
		a->e = *e;
}

static void
add_socket(const char *id, struct answer *a)
{
	struct netdev nd = {.id = text(id), .type = NET_CLIENT_DRIVER_SOCKET};

	memset(a, 0, sizeof *a);
	nd.u.socket.connect = text("127.0.0.1:1");
	core_netdev_add(kit_core, &nd, told, a);
}

static void
add_hubport(const char *id, int32_t hubid, const char *netdev, struct answer *a)
{
	struct netdev nd = {.id = text(id), .type = NET_CLIENT_DRIVER_HUBPORT};

	memset(a, 0, sizeof *a);
	nd.u.hubport.hubid = hubid;
	nd.u.hubport.netdev = text(netdev);
	core_netdev_add(kit_core, &nd, told, a);
}

static void
del(const char *id, struct answer *a)
{
	memset(a, 0, sizeof *a);
	core_netdev_del(kit_core, id, told, a);
}

static void
assert_ok(const struct answer *a)
{
	assert_int_equal(a->told, 1);
	assert_false(a->failed);
}

/* --- fates --- */

static enum fate next_backend, next_lane;
static unsigned fates_left;

/* The first `fates_left` processes of a kind have the fate, then all is well.
 */
static enum fate
scripted(uint32_t slot, bool is_lane)
{
	enum fate f = is_lane ? next_lane : next_backend;

	(void)slot;
	if (f == FATE_GOOD || fates_left == 0)
		return FATE_GOOD;
	fates_left--;
	return f;
}

static void
script(enum fate backend, enum fate lane, unsigned times)
{
	next_backend = backend;
	next_lane = lane;
	fates_left = times;
}

/* --- tests --- */

static void
test_a_netdev_is_answered_when_it_is_in_a_lane(void **state)
{
	unsigned fds = open_fds();
	struct answer a;

	(void)state;
	kit_start(NULL);
	add_socket("a", &a);
	assert_int_equal(a.told, 0);
	kit_settle(0);
	assert_ok(&a);
	assert_non_null(kit_child("a"));
	assert_non_null(kit_lane_of("a"));
	assert_true(kit_lane_of("a")->planned[kit_child("a")->slot]);
	del("a", &a);
	assert_int_equal(a.told, 0);
	kit_settle(0);
	assert_ok(&a);
	assert_null(netdev_by_id(&kit_core->netdevs, "a"));
	/* The spare lane is all that is left. */
	assert_int_equal(slot_count(kit_core->launch), 1);
	assert_int_equal(kit_core->graph.count, 0);
	kit_end();
	assert_int_equal(open_fds(), fds);
}

static void
test_a_first_start_that_fails_leaves_nothing(void **state)
{
	static const enum fate fates[] = {FATE_NO_SPAWN, FATE_DIES_AT_ONCE,
	    FATE_SAYS_NOTHING, FATE_BAD_HELLO, FATE_DIES_AFTER_HELLO,
	    FATE_DIES_CONFIGURED, FATE_REFUSES, FATE_NEVER_READY,
	    FATE_NEVER_ATTESTED};
	struct answer a;

	(void)state;
	for (size_t i = 0; i < sizeof fates / sizeof *fates; i++) {
		unsigned fds = open_fds();

		script(fates[i], FATE_GOOD, 1);
		kit_start(scripted);
		add_socket("a", &a);
		kit_settle(60 * KIT_SECOND);
		assert_int_equal(a.told, 1);
		assert_true(a.failed);
		assert_true(a.e.text[0] != '\0');
		if (fates[i] == FATE_REFUSES)
			assert_string_equal(
			    a.e.text, "these options are wrong");
		assert_int_equal(kit_core->graph.count, 0);
		assert_int_equal(slot_count(kit_core->launch), 1);
		assert_int_equal(kit_events[EVENT_BACKEND_EXITED], 0);
		/* The same command again is as good as new. */
		add_socket("a", &a);
		kit_settle(0);
		assert_ok(&a);
		kit_end();
		assert_int_equal(open_fds(), fds);
	}
}

static void
test_a_resource_that_is_refused_gives_its_text(void **state)
{
	struct answer a;

	(void)state;
	kit_start(NULL);
	kit_open_error = -EPERM;
	add_socket("a", &a);
	kit_settle(0);
	assert_int_equal(a.told, 1);
	assert_true(a.failed);
	assert_string_equal(a.e.text, "cannot open");
	assert_int_equal(kit_core->graph.count, 0);
	/* That nobody listens yet is no refusal. */
	kit_open_error = -ECONNREFUSED;
	add_socket("a", &a);
	kit_settle(0);
	assert_ok(&a);
	kit_end();
}

static void
test_a_backend_that_dies_comes_back(void **state)
{
	struct answer a;
	struct life *nd;

	(void)state;
	kit_start(NULL);
	add_socket("a", &a);
	kit_settle(0);
	nd = netdev_by_id(&kit_core->netdevs, "a");
	for (unsigned n = 1; n < 10; n++) {
		child_die(kit_child("a"));
		kit_settle(40 * KIT_SECOND);
		assert_int_equal(nd->state, ND_RUNNING);
		assert_int_equal(nd->epoch, n + 1);
		assert_int_equal(kit_lane_of("a")->attached[nd->slot], n + 1);
		assert_int_equal(kit_events[EVENT_BACKEND_EXITED], n);
		assert_int_equal(kit_events[EVENT_BACKEND_RESTARTED], n);
		/* Each life's counters were added up by then. */
		assert_int_equal(nd->port->base[LC_RX_DROP_DEAD], n);
	}
	/* The tenth quick death in a row. */
	child_die(kit_child("a"));
	kit_settle(100 * KIT_SECOND);
	assert_int_equal(nd->state, ND_HELD);
	assert_int_equal(kit_events[EVENT_BACKEND_QUARANTINED], 1);
	netdev_resume(nd);
	kit_settle(0);
	assert_int_equal(nd->state, ND_RUNNING);
	del("a", &a);
	kit_settle(0);
	assert_ok(&a);
	kit_end();
}

static void
test_a_restart_that_fails_at_any_step_is_tried_again(void **state)
{
	static const enum fate fates[] = {FATE_NO_SPAWN, FATE_DIES_AT_ONCE,
	    FATE_SAYS_NOTHING, FATE_BAD_HELLO, FATE_DIES_AFTER_HELLO,
	    FATE_DIES_CONFIGURED, FATE_REFUSES, FATE_NEVER_READY,
	    FATE_NEVER_ATTESTED, FATE_GARBAGE};
	struct answer a;
	struct life *nd;

	(void)state;
	for (size_t i = 0; i < sizeof fates / sizeof *fates; i++) {
		script(FATE_GOOD, FATE_GOOD, 0);
		kit_start(scripted);
		add_socket("a", &a);
		kit_settle(0);
		assert_ok(&a);
		script(fates[i], FATE_GOOD, 2);
		child_die(kit_child("a"));
		kit_settle(100 * KIT_SECOND);
		nd = netdev_by_id(&kit_core->netdevs, "a");
		assert_int_equal(nd->state, ND_RUNNING);
		assert_int_equal(nd->restarts, 3);
		assert_int_equal(kit_events[EVENT_BACKEND_EXITED], 3);
		assert_non_null(kit_lane_of("a"));
		kit_end();
	}
}

static void
test_deleting_works_in_every_state(void **state)
{
	static const enum fate fates[] = {FATE_GOOD, FATE_SAYS_NOTHING,
	    FATE_NEVER_READY, FATE_NEVER_ATTESTED, FATE_IGNORES_STOP,
	    FATE_DIES_AT_ONCE};
	struct answer a, d;

	(void)state;
	for (size_t i = 0; i < sizeof fates / sizeof *fates; i++)
		for (int steps = 0; steps < 40; steps++) {
			unsigned fds = open_fds();

			script(fates[i], FATE_GOOD, 1);
			kit_start(scripted);
			add_socket("a", &a);
			for (int n = 0; n < steps; n++)
				(void)turn_watches();
			if (a.told == 0) {
				del("a", &d);
				kit_settle(30 * KIT_SECOND);
				assert_int_equal(a.told, 1);
				if (!d.failed)
					assert_true(a.failed);
			} else {
				del("a", &d);
				kit_settle(30 * KIT_SECOND);
			}
			assert_int_equal(d.told, 1);
			assert_int_equal(kit_core->graph.count, 0);
			assert_int_equal(slot_count(kit_core->launch), 1);
			kit_end();
			assert_int_equal(open_fds(), fds);
		}
}

static void
test_islands_join_and_split_without_a_port_in_two_lanes(void **state)
{
	static const enum fate fates[] = {FATE_GOOD, FATE_DIES_AT_ATTACH,
	    FATE_DIES_AT_DETACH, FATE_HANGS_AT_DETACH, FATE_GARBAGE};
	struct answer a[8];

	(void)state;
	for (size_t i = 0; i < sizeof fates / sizeof *fates; i++) {
		unsigned fds = open_fds();

		script(FATE_GOOD, fates[i], 1);
		kit_start(scripted);
		add_socket("a", &a[0]);
		add_socket("b", &a[1]);
		add_socket("c", &a[2]);
		kit_settle(60 * KIT_SECOND);
		add_hubport("pa", 0, "a", &a[3]);
		add_hubport("pb", 0, "b", &a[4]);
		add_hubport("pc", 1, "c", &a[5]);
		add_hubport("h0", 0, NULL, &a[6]);
		add_hubport("h1", 1, "h0", &a[7]);
		for (int k = 0; k < 8; k++)
			assert_ok(&a[k]);
		kit_settle(60 * KIT_SECOND);
		assert_non_null(kit_lane_of("a"));
		assert_ptr_equal(kit_lane_of("a"), kit_lane_of("b"));
		assert_ptr_equal(kit_lane_of("a"), kit_lane_of("c"));
		/* Three netdevs, their lane, the spare. */
		assert_int_equal(slot_count(kit_core->launch), 5);
		del("h1", &a[0]);
		del("pb", &a[1]);
		kit_settle(60 * KIT_SECOND);
		assert_ptr_not_equal(kit_lane_of("a"), kit_lane_of("b"));
		assert_ptr_not_equal(kit_lane_of("a"), kit_lane_of("c"));
		assert_ptr_not_equal(kit_lane_of("b"), kit_lane_of("c"));
		assert_int_equal(slot_count(kit_core->launch), 7);
		kit_end();
		assert_int_equal(open_fds(), fds);
	}
}

static void
test_a_lane_that_dies_comes_back_with_its_ports(void **state)
{
	struct answer a;
	struct child *lane;
	uint32_t slot;

	(void)state;
	kit_start(NULL);
	add_socket("a", &a);
	add_socket("b", &a);
	kit_settle(0);
	add_hubport("pa", 0, "a", &a);
	add_hubport("pb", 0, "b", &a);
	kit_settle(0);
	lane = kit_lane_of("a");
	slot = lane->slot;
	child_die(lane);
	assert_null(kit_lane_of("a"));
	kit_settle(0);
	assert_non_null(kit_lane_of("a"));
	assert_ptr_equal(kit_lane_of("a"), kit_lane_of("b"));
	(void)slot;
	assert_int_equal(kit_events[EVENT_BACKEND_EXITED], 1);
	assert_int_equal(kit_events[EVENT_BACKEND_RESTARTED], 1);
	/* Nobody else noticed. */
	assert_int_equal(netdev_by_id(&kit_core->netdevs, "a")->restarts, 0);
	kit_end();
}

static void
test_backend_and_lane_may_die_together(void **state)
{
	struct answer a;
	struct life *nd;

	(void)state;
	for (int order = 0; order < 2; order++) {
		kit_start(NULL);
		add_socket("a", &a);
		kit_settle(0);
		nd = netdev_by_id(&kit_core->netdevs, "a");
		if (order == 0)
			child_die(kit_child("a"));
		child_die(kit_lane_of("a"));
		if (order == 1)
			child_die(kit_child("a"));
		kit_settle(KIT_SECOND);
		assert_int_equal(nd->state, ND_RUNNING);
		assert_int_equal(kit_lane_of("a")->attached[nd->slot], 2);
		/* What the first life counted was not lost. */
		assert_int_equal(nd->port->base[LC_RX_DROP_DEAD], 1);
		kit_end();
	}
}

static void
test_quit_ends_every_backend_in_order(void **state)
{
	struct answer a;

	(void)state;
	script(FATE_IGNORES_STOP, FATE_GOOD, 1);
	kit_start(scripted);
	add_socket("a", &a);
	add_socket("b", &a);
	kit_settle(0);
	core_quit(kit_core, 0, "test");
	core_quit(kit_core, 0, "test");
	add_socket("c", &a);
	assert_true(a.failed);
	kit_settle(10 * KIT_SECOND);
	assert_int_equal(kit_quits, 1);
	assert_true(TAILQ_EMPTY(&kit_core->netdevs.list));
	kit_end();
}

/* --- the soak: everything at once, at random --- */

#define SOAK_NAMES 12
#define SOAK_CALLS 600

static struct answer soak_answers[SOAK_CALLS];
static bool soak_calm;

static enum fate
random_fate(uint32_t slot, bool is_lane)
{
	(void)slot;
	(void)is_lane;
	if (soak_calm || rand() % 4 != 0)
		return FATE_GOOD;
	return (enum fate)(rand() % FATE_COUNT);
}

static void
soak_command(struct answer *a)
{
	char id[16], other[16];

	(void)snprintf(id, sizeof id, "x%d", rand() % SOAK_NAMES);
	(void)snprintf(other, sizeof other, "x%d", rand() % SOAK_NAMES);
	switch (rand() % 6) {
	case 0:
	case 1:
		add_socket(id, a);
		break;
	case 2:
	case 3:
		add_hubport(id, rand() % 3, rand() % 4 ? other : NULL, a);
		break;
	case 4:
		del(id, a);
		break;
	default:
		memset(a, 0, sizeof *a);
		told(a, core_set_link(kit_core, id, rand() % 2, &a->e) < 0
			    ? &a->e
			    : NULL);
	}
}

static void
soak_kill(void)
{
	uint32_t slot = 1 + (uint32_t)rand() % 40;

	if (places[slot].child)
		child_die(places[slot].child);
}

/* Every netdev that runs is in the lane that its plan names. */
static void
assert_calm(void)
{
	struct life *nd;

	TAILQ_FOREACH (nd, &kit_core->netdevs.list, entry)
		if (nd->state == ND_HELD)
			netdev_resume(nd);
	kit_settle(200 * KIT_SECOND);
	TAILQ_FOREACH (nd, &kit_core->netdevs.list, entry) {
		const struct child *lane = kit_lane_of(nd->options.id);

		assert_int_equal(nd->state, ND_RUNNING);
		assert_non_null(lane);
		assert_int_equal(lane->attached[nd->slot], nd->epoch);
		assert_true(lane->planned[nd->slot]);
		assert_int_equal(lane->slot, nd->port->want->slot);
	}
}

static void
test_random_commands_and_deaths(void **state)
{
	unsigned fds = open_fds();

	(void)state;
	for (unsigned seed = 1; seed <= 12; seed++) {
		srand(seed);
		soak_calm = false;
		kit_start(random_fate);
		for (int n = 0; n < SOAK_CALLS; n++) {
			soak_command(&soak_answers[n]);
			for (int t = rand() % 30; t > 0; t--)
				(void)turn_watches();
			if (rand() % 5 == 0)
				soak_kill();
			if (rand() % 8 == 0)
				kit_reap();
			if (rand() % 10 == 0)
				(void)turn_timers(UINT64_MAX);
		}
		soak_calm = true;
		kit_settle(200 * KIT_SECOND);
		assert_calm();
		for (int n = 0; n < SOAK_CALLS; n++)
			assert_int_equal(soak_answers[n].told, 1);
		kit_end();
		assert_int_equal(open_fds(), fds);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_netdev_is_answered_when_it_is_in_a_lane),
	    cmocka_unit_test(test_a_first_start_that_fails_leaves_nothing),
	    cmocka_unit_test(test_a_resource_that_is_refused_gives_its_text),
	    cmocka_unit_test(test_a_backend_that_dies_comes_back),
	    cmocka_unit_test(
		test_a_restart_that_fails_at_any_step_is_tried_again),
	    cmocka_unit_test(test_deleting_works_in_every_state),
	    cmocka_unit_test(
		test_islands_join_and_split_without_a_port_in_two_lanes),
	    cmocka_unit_test(test_a_lane_that_dies_comes_back_with_its_ports),
	    cmocka_unit_test(test_backend_and_lane_may_die_together),
	    cmocka_unit_test(test_quit_ends_every_backend_in_order),
	    cmocka_unit_test(test_random_commands_and_deaths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
