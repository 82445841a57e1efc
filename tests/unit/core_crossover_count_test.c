/*
 * core_crossover_count_test.c - crossovers in the broker's core: what went
 * over them is counted once whoever dies and whenever; deletion and death at
 * every moment; everything at random. With the fakes of core_kit.h.
 */
#include "tests/unit/core_crossover_kit.h"

/* --- counters --- */

static void
set_counts(const char *id, uint64_t sent, uint64_t taken, uint64_t unread)
{
	struct cross_counts *c = &kit_child(id)->cross_counts;

	c->sent_frames = sent;
	c->sent_bytes = 10 * sent;
	c->taken_frames = taken;
	c->taken_bytes = 10 * taken;
	c->unread_frames = unread;
	c->unread_bytes = 10 * unread;
}

static void
assert_counters(const char *id, uint64_t tx, uint64_t rx)
{
	struct told_counters t = counters_of(id);

	assert_int_equal(t.tx, tx);
	assert_int_equal(t.tx_bytes, 10 * tx);
	assert_int_equal(t.rx, rx);
	assert_int_equal(t.rx_bytes, 10 * rx);
}

static void
test_counters_are_those_of_a_lane(void **state)
{
	(void)state;
	begin_crossed();
	set_counts("a", 100, 50, 0);
	set_counts("b", 50, 100, 0);
	assert_counters("a", 100, 50);
	assert_counters("b", 50, 100);
	set_counts("a", 101, 51, 0);
	assert_counters("a", 101, 51);
	set_link("a", false);
	assert_apart();
	assert_counters("a", 101, 51);
	assert_counters("b", 50, 100);
	/* The next one begins with nothing. */
	set_counts("a", 0, 0, 0);
	set_counts("b", 0, 0, 0);
	set_link("a", true);
	kit_wait(KIT_CALM);
	assert_counters("a", 101, 51);
	set_counts("a", 9, 0, 0);
	assert_counters("a", 110, 51);
	/* Both die: what they said last is what is known. */
	child_die(kit_child("a"));
	child_die(kit_child("b"));
	kit_wait(KIT_SECOND);
	assert_counters("a", 110, 51);
	assert_counters("b", 50, 100);
	kit_end();
}

/* When the other has not reported yet. */
static void
test_a_report_is_not_added_to_what_was_told_before(void **state)
{
	(void)state;
	begin_crossed();
	set_counts("a", 100, 50, 0);
	set_counts("b", 50, 100, 0);
	kit_child("b")->fate = FATE_UNCROSS_SILENT;
	assert_counters("a", 100, 50);
	set_link("a", false);
	kit_wait(KIT_PART + KIT_MS);
	assert_true(cross_at("a")->end[0].reported);
	assert_false(cross_at("a")->end[1].reported);
	assert_counters("a", 100, 50);
	assert_counters("b", 50, 100);
	kit_end();
}

/* The report may come before, between and behind the two answers. */
static void
test_a_report_between_two_answers_is_counted_once(void **state)
{
	struct err e;

	(void)state;
	for (unsigned seed = 0; seed < 200; seed++) {
		struct told_counters t;
		struct call c;

		srand(seed);
		begin_crossed();
		set_counts("a", 100, 50, 0);
		set_counts("b", 50, 100, 0);
		(void)counters_of("a");
		if (seed % 2) {
			ask_counters("a", &c);
			(void)turn_timers(UINT64_MAX);
		}
		for (unsigned n = seed % 9; n > 0; n--)
			(void)turn_watches();
		assert_int_equal(core_set_link(kit_core, "a", false, &e), 0);
		if (seed % 2 == 0)
			ask_counters("a", &c);
		kit_settle(0);
		t = take_counters(&c);
		assert_int_equal(t.tx, 100);
		assert_int_equal(t.rx, 50);
		assert_counters("a", 100, 50);
		assert_counters("b", 50, 100);
		kit_end();
	}
}

static void
test_the_living_counts_for_the_dead(void **state)
{
	struct told_counters t;

	(void)state;
	for (int asked = 0; asked < 2; asked++) {
		begin_crossed();
		set_counts("a", 100, 50, 7);
		set_counts("b", 53, 92, 0);
		if (asked)
			assert_counters("b", 53, 92);
		child_die(kit_child("b"));
		kit_run(0);
		assert_true(kit_child("a")->ended_dead);
		assert_false(kit_child("a")->parted);
		kit_wait(KIT_CALM / 2);
		assert_counters("a", 100, 50);
		assert_counters("b", 50, 93);
		t = counters_of("b");
		/* One is the fake lane's for each epoch. */
		assert_int_equal(t.dead, 1 + 1 + 7);
		assert_int_equal(kit_events[EVENT_BACKEND_RESTARTED], 1);
		assert_int_equal(kit_dropped, 1 + 1 + 7);
		kit_wait(KIT_CALM);
		assert_true(is_on("a", "b"));
		kit_end();
	}
}

static void
test_a_survivor_that_says_nothing_is_not_waited_for(void **state)
{
	(void)state;
	begin_crossed();
	kit_child("a")->fate = FATE_UNCROSS_SILENT;
	set_counts("a", 100, 50, 7);
	child_die(kit_child("b"));
	kit_wait(KIT_SECOND);
	assert_int_equal(kit_events[EVENT_BACKEND_RESTARTED], 1);
	assert_int_equal(kit_dropped, 1 + 1);
	assert_int_equal(cross_at("a")->state, CX_ENDING);
	/* What it says later is counted all the same. */
	say_ended("a", kit_child("a")->cross_counts);
	kit_child("a")->cross = 0;
	assert_apart();
	assert_counters("b", 50, 93);
	kit_end();
}

/* Large numbers are wrong numbers, of these two. */
static void
test_huge_counts_hurt_nobody_else(void **state)
{
	(void)state;
	begin_crossed();
	add_socket("c");
	set_counts("a", 100, 50, 0);
	kit_child("a")->cross_counts.sent_frames = UINT64_MAX;
	kit_child("a")->cross_counts.sent_bytes = UINT64_MAX;
	kit_child("a")->cross_counts.unread_bytes = UINT64_MAX;
	kit_child("a")->cross_counts.taken_bytes = UINT64_MAX;
	child_die(kit_child("b"));
	kit_wait(KIT_SECOND);
	assert_true(is_on("a", "b"));
	(void)counters_of("a");
	(void)counters_of("b");
	assert_counters("c", 0, 0);
	kit_end();
}

/* --- deletion and death --- */

static const struct moment {
	enum cross_state state;
	enum fate fate; /* of b */
} moments[] = {
    {CX_WAITING, FATE_GOOD},
    {CX_ASKING, FATE_GOOD},
    {CX_MAKING, FATE_CROSS_SILENT},
    {CX_ON, FATE_GOOD},
    {CX_PARTING, FATE_UNCROSS_SILENT},
    {CX_ENDING, FATE_UNCROSS_SILENT},
    {CX_ENDING, FATE_NEVER_ENDS},
};

#define MOMENTS (sizeof moments / sizeof *moments)

static void
come_to(const struct moment *m)
{
	struct err e;

	begin_pair();
	kit_cross_stuck = m->state == CX_ASKING;
	kit_child("b")->fate = m->fate;
	if (m->fate == FATE_NEVER_ENDS)
		kit_child("a")->fate = m->fate;
	if (m->state == CX_WAITING)
		kit_wait(KIT_CALM / 2);
	else
		kit_wait(KIT_CALM);
	if (m->state >= CX_PARTING) {
		assert_true(is_on("a", "b"));
		assert_int_equal(core_set_link(kit_core, "a", false, &e), 0);
		kit_run(KIT_MS);
	}
	if (m->state == CX_ENDING)
		kit_wait(KIT_PART);
	assert_int_equal(cross_at("a")->state, m->state);
	assert_ptr_equal(cross_at("a"), cross_at("b"));
}

static void
test_deleting_works_at_every_moment(void **state)
{
	(void)state;
	for (size_t i = 0; i < 4 * MOMENTS; i++) {
		const char *first = i & 1 ? "a" : "b";
		const char *then = i & 1 ? "b" : "a";
		struct answer one = {0}, other = {0};
		unsigned fds = open_fds();

		come_to(&moments[i / 4]);
		core_netdev_del(kit_core, first, told, &one);
		if (i & 2)
			kit_wait(10 * KIT_SECOND);
		core_netdev_del(kit_core, then, told, &other);
		kit_wait(10 * KIT_SECOND);
		assert_ok(&one);
		assert_ok(&other);
		assert_true(TAILQ_EMPTY(&kit_core->islands->crossovers->list));
		assert_int_equal(slot_count(kit_core->launch), 1);
		kit_end();
		assert_int_equal(open_fds(), fds);
	}
}

static void
test_who_is_deleted_stops_when_nothing_more_comes(void **state)
{
	struct answer gone = {0};

	(void)state;
	begin_crossed();
	kit_child("a")->fate = FATE_UNCROSS_SILENT;
	core_netdev_del(kit_core, "b", told, &gone);
	kit_wait(KIT_PART - KIT_MS);
	/* It is in no lane, has said that it puts nothing in, and waits. */
	assert_int_equal(gone.told, 0);
	assert_null(kit_lane_of("b"));
	assert_true(kit_child("b")->parted);
	assert_int_equal(life_of("b")->state, ND_LEAVING);
	kit_wait(2 * KIT_MS);
	assert_ok(&gone);
	/* The one that hung is told that there is nobody, and lives on. */
	assert_true(kit_child("a")->ended_dead);
	kit_end();
}

static void
test_death_works_at_every_moment(void **state)
{
	(void)state;
	for (size_t i = 0; i < 4 * MOMENTS; i++) {
		unsigned fds = open_fds();
		struct err e;

		come_to(&moments[i / 4]);
		child_die(kit_child(i & 1 ? "a" : "b"));
		if (i & 2)
			kit_run(0);
		if (i & 2)
			child_die(kit_child(i & 1 ? "b" : "a"));
		kit_settle(0);
		/* Those that come after are good. */
		kit_cross_stuck = false;
		kit_wait(5 * KIT_SECOND);
		kit_child("a")->fate = kit_child("b")->fate = FATE_GOOD;
		(void)core_set_link(kit_core, "a", true, &e);
		kit_wait(5 * KIT_SECOND);
		if (i & 2)
			assert_true(is_on("a", "b"));
		kit_end();
		assert_int_equal(open_fds(), fds);
	}
}

static void
test_the_end_of_everything_comes_at_every_moment(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2 * MOMENTS; i++) {
		unsigned fds = open_fds();

		come_to(&moments[i / 2]);
		if (i & 1)
			core_quit(kit_core, 0, "test");
		if (i & 1)
			kit_wait(10 * KIT_SECOND);
		kit_end();
		assert_int_equal(open_fds(), fds);
	}
}

/* --- at random --- */

#define NAMES 6

static bool calm;

static enum fate
random_fate(uint32_t slot, bool is_lane)
{
	(void)slot;
	if (calm || is_lane || rand() % 3 == 0)
		return FATE_GOOD;
	return (enum fate)(
	    FATE_CROSS_FAILS + rand() % (FATE_COUNT - FATE_CROSS_FAILS));
}

static void
nobody(void *self, const struct err *e)
{
	(void)self;
	(void)e;
}

static void
random_command(void)
{
	struct netdev nd = {.type = NET_CLIENT_DRIVER_HUBPORT};
	char id[8], port[16];
	struct err e;

	(void)snprintf(id, sizeof id, "x%d", rand() % NAMES);
	(void)snprintf(port, sizeof port, "p%s", id);
	switch (rand() % 6) {
	case 0:
		nd.type = NET_CLIENT_DRIVER_SOCKET;
		nd.id = id;
		nd.u.socket.connect = text("127.0.0.1:1");
		core_netdev_add(kit_core, &nd, nobody, NULL);
		break;
	case 1:
	case 2:
		nd.id = port;
		nd.u.hubport.hubid = rand() % 3;
		nd.u.hubport.netdev = id;
		core_netdev_add(kit_core, &nd, nobody, NULL);
		break;
	case 3:
		core_netdev_del(kit_core, port, nobody, NULL);
		break;
	case 4:
		if (rand() % 4 == 0)
			core_netdev_del(kit_core, id, nobody, NULL);
		break;
	default:
		(void)core_set_link(kit_core, id, rand() % 4, &e);
	}
}

static void
kill_some(bool all)
{
	for (uint32_t s = 1; s < 40; s++)
		if (places[s].child && (all || rand() % 10 == 0))
			child_die(places[s].child);
}

/* With good processes all pairs are connected, and no others. */
static void
assert_connected(void)
{
	const struct life *nd;

	TAILQ_FOREACH (nd, &kit_core->netdevs.list, entry) {
		const struct island *i = nd->port->want;

		assert_int_equal(nd->state, ND_RUNNING);
		assert_int_equal(
		    crossover_other(nd->port) != NULL, cross_may_begin(i));
		assert_int_equal(kit_child(nd->options.id)->cross != 0,
		    crossover_other(nd->port) != NULL);
	}
}

static void
test_random_commands_and_deaths(void **state)
{
	unsigned fds = open_fds(), crosses = 0;

	(void)state;
	for (unsigned seed = 1; seed <= 20; seed++) {
		srand(seed);
		calm = false;
		kit_start(random_fate);
		for (int n = 0; n < 400; n++) {
			random_command();
			for (int t = rand() % 60; t > 0; t--)
				(void)turn_watches();
			if (rand() % 20 == 0)
				kill_some(false);
			if (rand() % 3 == 0)
				(void)turn_timers(UINT64_MAX);
			if (rand() % 10 == 0)
				kit_wait((uint64_t)rand() % KIT_SECOND);
		}
		crosses += kit_crosses;
		calm = true;
		kit_wait(100 * KIT_SECOND);
		kill_some(true);
		kit_wait(200 * KIT_SECOND);
		assert_connected();
		kit_end();
		assert_int_equal(open_fds(), fds);
	}
	assert_true(crosses > 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_counters_are_those_of_a_lane),
	    cmocka_unit_test(
		test_a_report_is_not_added_to_what_was_told_before),
	    cmocka_unit_test(test_a_report_between_two_answers_is_counted_once),
	    cmocka_unit_test(test_the_living_counts_for_the_dead),
	    cmocka_unit_test(
		test_a_survivor_that_says_nothing_is_not_waited_for),
	    cmocka_unit_test(test_huge_counts_hurt_nobody_else),
	    cmocka_unit_test(test_deleting_works_at_every_moment),
	    cmocka_unit_test(test_who_is_deleted_stops_when_nothing_more_comes),
	    cmocka_unit_test(test_death_works_at_every_moment),
	    cmocka_unit_test(test_the_end_of_everything_comes_at_every_moment),
	    cmocka_unit_test(test_random_commands_and_deaths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
