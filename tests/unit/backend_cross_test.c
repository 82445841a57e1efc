/*
 * backend_cross_test.c - crossovers begin and end under load, at any moment:
 * every frame arrives once and in its order, and is counted.
 */
#include "tests/unit/backend_cross_kit.h"

static void
cross(void)
{
	int a = memory(NULL), b = memory(NULL), bells[2];

	serial++;
	assert_int_equal(bell_pair(bells), 0);
	tell_cross(&end[0], a, b, bells[0]);
	tell_cross(&end[1], b, a, bells[1]);
	fd_close(&a);
	fd_close(&b);
	fd_close(&bells[0]);
	fd_close(&bells[1]);
}

static bool
both_on(void)
{
	return end[0].be.cross.state == CROSS_ON &&
	       end[1].be.cross.state == CROSS_ON;
}

static void
until_on(void)
{
	for (int i = 0; i < 100 && !both_on(); i++) {
		move(&end[0], 50);
		move(&end[1], 50);
		turn(200000);
	}
	assert_true(both_on());
}

static uint64_t random_state;

/* xorshift64 (Marsaglia 2003) */
static uint32_t
dice(uint32_t sides)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 33) % sides;
}

static void
test_frames_go_without_the_lane(void **state)
{
	(void)state;
	cross();
	until_on();
	assert_int_equal(end[0].crossed + end[1].crossed, 2);
	end[0].sends = end[1].sends = 10000;
	send_some(&end[0]);
	send_some(&end[1]);
	/* The lane moves nothing. */
	for (int i = 0; i < 400 && end[0].seen + end[1].seen < 20000; i++)
		turn(1000000);
	assert_int_equal(end[0].seen, 10000);
	assert_int_equal(end[1].seen, 10000);
}

/* Where a story's crossover is. */
static enum { AT_LANE, AT_CROSS, AT_LEFT, AT_END } at;
static unsigned before[2]; /* answers heard until then */

static void
remember(unsigned first, unsigned second)
{
	before[0] = first;
	before[1] = second;
}

static void
counts_agree(void)
{
	assert_int_equal(end[0].counts.sent_frames, end[1].counts.taken_frames);
	assert_int_equal(end[1].counts.sent_bytes, end[0].counts.taken_bytes);
	assert_int_equal(end[0].counts.unread_frames, 0);
}

/* The broker's next word, if it is time. */
static void
next_chapter(void)
{
	if (at == AT_LANE) {
		cross();
		at = AT_CROSS;
	} else if (at == AT_CROSS) {
		remember(end[0].uncrossed, end[1].uncrossed);
		tell_uncross(&end[dice(2)]);
		turn(dice(2) * 50000);
		tell_uncross(&end[0]);
		tell_uncross(&end[1]);
		at = AT_LEFT;
	} else if (at == AT_LEFT && end[0].uncrossed > before[0] &&
		   end[1].uncrossed > before[1]) {
		remember(end[0].ended, end[1].ended);
		tell_end(&end[0], false);
		tell_end(&end[1], false);
		at = AT_END;
	} else if (at == AT_END && end[0].ended > before[0] &&
		   end[1].ended > before[1]) {
		counts_agree();
		at = AT_LANE;
	}
}

/* All arrives, wherever it is. */
static void
all_arrives(void)
{
	end[0].takes = end[1].takes = SIZE_MAX;
	for (int i = 0; i < 200 && (end[0].seen < end[1].sends ||
				       end[1].seen < end[0].sends);
	     i++) {
		backend_more(&end[0].be);
		backend_more(&end[1].be);
		move(&end[0], SIZE_MAX);
		move(&end[1], SIZE_MAX);
		turn(300000);
	}
	assert_int_equal(end[0].seen, end[1].sends);
	assert_int_equal(end[1].seen, end[0].sends);
}

static void
one_story(void)
{
	at = AT_LANE;
	for (int step = 0; step < 300; step++) {
		struct end *e = &end[dice(2)];

		switch (dice(8)) {
		case 0:
		case 1:
			e->sends += dice(200);
			send_some(e);
			break;
		case 2:
			move(e, dice(80));
			break;
		case 3:
			e->takes = dice(3) ? SIZE_MAX : dice(20);
			backend_more(&e->be);
			break;
		case 4:
			turn(dice(3) * 20000);
			break;
		default:
			if (dice(6) == 0)
				next_chapter();
		}
	}
	all_arrives();
}

static void
test_any_story_keeps_every_frame_and_its_order(void **state)
{
	for (uint64_t seed = 1; seed <= 100; seed++) {
		random_state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
		one_story();
		(void)finish(state);
		(void)start(state);
	}
}

static void
test_what_a_dead_one_did_not_read_is_counted(void **state)
{
	(void)state;
	cross();
	until_on();
	end[1].takes = 0;
	end[0].sends = 30;
	send_some(&end[0]);
	turn(1000000);
	/* end 1 has taken a batch out of the ring, and read none of it */
	assert_int_equal(end[1].seen, 0);
	tell_end(&end[0], true);
	turn(2000000);
	assert_int_equal(end[0].ended, 1);
	assert_int_equal(end[0].counts.sent_frames, 30);
	assert_int_equal(end[0].counts.unread_frames, 30);
	assert_true(end[0].counts.unread_bytes > 30 * 60);
	assert_int_equal(end[0].be.cross.state, CROSS_NONE);
}

static void
test_one_that_does_not_drain_is_told_and_left(void **state)
{
	(void)state;
	cross();
	until_on();
	end[1].takes = 0;
	end[0].sends = 3000;
	send_some(&end[0]);
	assert_true(end[0].made < 3000);
	for (int i = 0; i < 100 && end[0].stalls == 0; i++)
		turn(1000000);
	assert_int_equal(end[0].stalls, 1);
	assert_int_equal(end[0].be.cross.state, CROSS_LEFT);
	/* The lane has the rest. */
	move(&end[0], SIZE_MAX);
	turn(1000000);
	assert_true(end[0].rooms > 0);
	end[1].takes = SIZE_MAX;
	backend_more(&end[1].be);
	tell_uncross(&end[1]);
	move_all();
	assert_int_equal(end[0].made, 3000);
	assert_int_equal(end[1].seen, 3000);
	assert_int_equal(end[0].stalls, 1);
	assert_int_equal(end[0].lies + end[1].lies, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, finish)
	    TEST(test_frames_go_without_the_lane),
	    TEST(test_any_story_keeps_every_frame_and_its_order),
	    TEST(test_what_a_dead_one_did_not_read_is_counted),
	    TEST(test_one_that_does_not_drain_is_told_and_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
