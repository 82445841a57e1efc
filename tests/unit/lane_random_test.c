/*
 * lane_random_test.c - conservation: under any mixture of traffic, plans,
 * deaths and moves, every frame taken from a port is delivered to each port
 * it should reach, once and in order, or counted there as dropped; and a lane
 * that is killed at any moment loses nothing.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "broker/lane_filter.h"
#include "tests/unit/lane_kit.h"

#define PORTS 6u
/* Of a lane that hangs; one that waits for a busy machine needs less. */
#define TALK_NS_MAX UINT64_C(60000000000)

static uint64_t random_state;

static uint32_t
roll(uint32_t sides)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 33) % sides;
}

/* What the test knows of one port beside its pen. */
static struct model {
	char letter; /* in the plan's map */
	bool attached;
	uint64_t expected;       /* frames that should have reached it */
	uint64_t told[LC_COUNT]; /* by lives that are over */
	uint64_t flown;    /* of its frames, already given to `expected` */
	uint64_t taken;    /* by this life's pen */
	uint64_t vanished; /* died in P, before the lane took them */
} model[PORTS];

static uint64_t
total(uint32_t id, enum lane_counter c)
{
	return model[id].told[c] + count(id, c);
}

/* Frames that were taken from a port since the last call go to its group. */
static void
credit(void)
{
	for (uint32_t s = 0; s < PORTS; s++) {
		uint64_t flown = total(s, LC_TX_FRAMES) -
				 total(s, LC_TX_DROP_LINK_DOWN) -
				 total(s, LC_TX_DROP_NO_PEER);
		uint64_t new = flown - model[s].flown;

		model[s].flown = flown;
		for (uint32_t r = 0; new > 0 && r < PORTS; r++)
			if (r != s && model[r].letter == model[s].letter)
				model[r].expected += new;
	}
}

static void
check(void)
{
	for (uint32_t r = 0; r < PORTS; r++) {
		uint64_t accounted =
		    total(r, LC_RX_FRAMES) + total(r, LC_RX_DROP_FULL) +
		    total(r, LC_RX_FILTERED) + total(r, LC_RX_DROP_DEAD);

		assert_int_equal(accounted, model[r].expected);
		assert_true(model[r].taken <= count(r, LC_RX_FRAMES));
	}
}

static void
random_plan(void)
{
	static const char letters[] = "aaabbA";
	char map[2 * PORTS + 1];
	size_t at = 0;

	for (uint32_t id = 0; id < PORTS; id++) {
		model[id].letter = letters[roll(sizeof letters - 1)];
		map[at++] = model[id].letter;
		if (roll(4) == 0)
			map[at++] = '!';
	}
	map[at] = '\0';
	kit_plan(map);
}

static void
die(uint32_t id)
{
	uint64_t counters[LC_COUNT], sent = pens[id].sent;

	lane_detach(lane, id, pens[id].epoch, true, counters);
	/* What was not read was not delivered. */
	assert_int_equal(counters[LC_RX_FRAMES], model[id].taken);
	for (size_t i = 0; i < LC_COUNT; i++)
		model[id].told[i] += counters[i];
	model[id].attached = false;
	model[id].taken = 0;
	model[id].vanished = sent - model[id].told[LC_TX_FRAMES];
	pen_end(id);
	pen_make(id);
	pens[id].sent = sent;
}

/*
 * A filter by the sender of a frame, whose number the test puts where the
 * address is: frames of half of the others are wanted. Or none.
 */
static void
random_filter(uint32_t id)
{
	struct rx_filter f = {.known = true, .mac = UINT64_C(0xffff)};

	for (uint32_t from = 0; from < PORTS; from++)
		if (roll(2) == 0)
			f.table[f.uni_count++] = pen_mac(from);
	lane_filter_set(lane, id, pens[id].epoch, roll(3) == 0 ? NULL : &f);
}

static void
step(void)
{
	uint32_t id = roll(PORTS), dice = roll(1000), n;
	uint64_t counters[LC_COUNT];

	if (dice < 3) {
		random_plan();
	} else if (dice < 5 && model[id].attached) {
		die(id);
	} else if (dice < 7 && model[id].attached) {
		/* Moves away and comes back: nothing is lost. */
		lane_detach(lane, id, pens[id].epoch, false, counters);
		assert_int_equal(pen_attach(id), 0);
	} else if (dice < 12 && model[id].attached) {
		random_filter(id);
	} else if (dice < 20 && !model[id].attached) {
		assert_int_equal(pen_attach(id), 0);
		model[id].attached = true;
	} else if (dice < 400) {
		uint32_t len =
		    roll(20) == 0 ? 32 + roll(65000) : 32 + roll(1500);

		for (n = roll(200); n > 0 && pen_put(id, len); n--)
			;
		pen_flush(id);
	} else if (dice < 800) {
		/* Ports differ in how eager they are; one never reads. */
		if (id != 5)
			model[id].taken += pen_take(id, roll(80 * (id + 1)));
	} else {
		clock_ns += roll(100000);
	}
	kit_run();
	credit();
}

/* When nobody waits any more, every frame that was sent has been taken. */
static void
settle(void)
{
	for (uint32_t id = 0; id < PORTS; id++)
		if (!model[id].attached)
			assert_int_equal(pen_attach(id), 0);
	for (int i = 0; i < 200; i++) {
		clock_ns += LANE_PATIENCE_NS;
		kit_run();
		for (uint32_t id = 0; id < PORTS; id++)
			pen_take(id, 1000000);
	}
	for (uint32_t id = 0; id < PORTS; id++)
		assert_int_equal(pens[id].sent,
		    total(id, LC_TX_FRAMES) + model[id].vanished);
	assert_int_equal(kit_run(), LANE_SLEEP);
}

static void
conservation(uint64_t seed)
{
	random_state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	memset(model, 0, sizeof model);
	kit_start("aaaaaa");
	if (seed % 2 != 0)
		lane->footprint_bytes = 0; /* rings rewind */
	meta_every = seed / 2 % 4;
	for (uint32_t id = 0; id < PORTS; id++)
		model[id] = (struct model){.letter = 'a', .attached = true};
	for (int i = 0; i < 6000; i++) {
		step();
		check();
	}
	settle();
	assert_int_equal(faults, 0);
	kit_end();
}

static void
test_every_frame_is_delivered_or_counted(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 8; seed++)
		conservation(seed);
}

/* --- a lane that is killed --------------------------------------------------
 */

/* One life of a lane, in a process of its own. */
_Noreturn static void
live(void)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	lane = lane_new(&kit_ops, NULL);
	for (uint32_t id = 0; id < 3; id++)
		if (pen_attach(id) < 0)
			_exit(1);
	kit_plan("aaa");
	for (;;) {
		clock_ns += 1000;
		(void)kit_run();
	}
}

struct listener {
	uint64_t next;     /* first number never seen */
	uint64_t repeated; /* since the lane was last killed */
};

static void
hear(uint32_t id, struct listener *l)
{
	struct frame f;
	struct mark m;

	while (ring_next(&pens[id].rx, &f) == 1) {
		memcpy(&m, f.data, sizeof m);
		assert_int_equal(m.from, 0);
		assert_int_equal(m.len, f.len);
		if (m.seq > l->next)
			fail_msg(
			    "port %u: %lu frames lost", id, m.seq - l->next);
		if (m.seq < l->next)
			l->repeated++;
		else
			l->next++;
	}
	if (ring_release(&pens[id].rx))
		bell_ring(pens[id].bell);
	/* The last batch, at most. */
	assert_true(l->repeated <= BATCH_FRAMES);
}

static void
talk(struct listener heard[3])
{
	uint64_t slowest =
	    heard[1].next < heard[2].next ? heard[1].next : heard[2].next;

	/* Never so far ahead that a ring could be full. */
	while (pens[0].sent < slowest + 800 &&
	       pen_put(0, 60 + (uint32_t)(pens[0].sent % 90)))
		;
	pen_flush(0);
	hear(1, &heard[1]);
	hear(2, &heard[2]);
}

/* Until both have heard so many new frames; how long that takes is the
 * machine's affair. */
static void
talk_until(struct listener heard[3], uint64_t more)
{
	uint64_t first = heard[1].next + more, second = heard[2].next + more;
	uint64_t deadline = sys_mono_ns() + TALK_NS_MAX;

	while (heard[1].next < first || heard[2].next < second) {
		talk(heard);
		if (sys_mono_ns() > deadline)
			fail_msg("the lane moves nothing");
	}
}

/*
 * Each life ends at some moment: in its start, or when it has moved some
 * frames and is busy with others.
 */
static void
test_killed_lane_loses_nothing_and_repeats_one_batch_at_most(void **state)
{
	struct listener heard[3] = {0};
	uint64_t wanted = 0, more;

	(void)state;
	kit_start("aaa");
	lane_free(ptr_take(lane));
	random_state = 7;
	for (int life = 0; life < 60; life++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0)
			live();
		heard[1].repeated = heard[2].repeated = 0;
		more = roll(8) == 0 ? 0 : roll(1200);
		wanted += more;
		talk_until(heard, more);
		for (uint32_t turns = roll(2000); turns > 0; turns--)
			talk(heard);
		(void)kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		hear(1, &heard[1]);
		hear(2, &heard[2]);
	}
	assert_true(wanted > 10000);
	/* A last one moves what is left, and nothing was lost at all. */
	lane = lane_new(&kit_ops, NULL);
	for (uint32_t id = 0; id < 3; id++)
		assert_int_equal(pen_attach(id), 0);
	kit_plan("aaa");
	heard[1].repeated = heard[2].repeated = 0;
	for (int i = 0; i < 100; i++) {
		(void)kit_run();
		hear(1, &heard[1]);
		hear(2, &heard[2]);
	}
	assert_int_equal(heard[1].next, pens[0].sent);
	assert_int_equal(heard[2].next, pens[0].sent);
	kit_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_frame_is_delivered_or_counted),
	    cmocka_unit_test(
		test_killed_lane_loses_nothing_and_repeats_one_batch_at_most),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
