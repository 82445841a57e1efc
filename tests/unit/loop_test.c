/*
 * loop_test.c - readiness, timers and signals come when due and not otherwise.
 */
#include "proto/loop.h"

#include "proto/log.h"
#include "proto/sys.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MS UINT64_C(1000000)

static struct loop *loop;
static int fds[2];
static struct watch *watch;
static struct timer *timers[8];
static unsigned seen, calls;
static int order[16], order_count;

static int
setup(void **state)
{
	(void)state;
	loop = loop_new();
	seen = calls = 0;
	order_count = 0;
	return loop == NULL ? -1 : sys_pair(fds);
}

static int
teardown(void **state)
{
	size_t i;

	(void)state;
	watch_free(ptr_take(watch));
	for (i = 0; i < 8; i++)
		timer_free(ptr_take(timers[i]));
	loop_free(ptr_take(loop));
	fd_close(&fds[0]);
	fd_close(&fds[1]);
	return 0;
}

static void
ready(void *self, unsigned events)
{
	(void)self;
	seen |= events;
	if (++calls >= 4)
		loop_stop(loop, 4);
}

static void
ready_once(void *self, unsigned events)
{
	(void)self;
	seen |= events;
	calls++;
	watch_free(ptr_take(watch));
	loop_stop(loop, 1);
}

static void
expired(void *self)
{
	order[order_count++] = (int)((struct timer **)self - timers);
	calls++;
}

static void
expired_last(void *self)
{
	expired(self);
	loop_stop(loop, 2);
}

static void
test_watch_is_level_triggered(void **state)
{
	(void)state;
	watch = watch_new(loop, fds[0], WATCH_READ, ready, NULL);
	assert_int_equal(send(fds[1], "x", 1, 0), 1);
	assert_int_equal(loop_run(loop), 4);
	assert_int_equal(seen, WATCH_READ);
}

static void
test_watch_reports_only_what_is_set(void **state)
{
	(void)state;
	watch = watch_new(loop, fds[0], 0, ready, NULL);
	timers[0] = timer_new(loop, expired_last, &timers[0]);
	assert_int_equal(send(fds[1], "x", 1, 0), 1);
	timer_set_ns(timers[0], 5 * MS);
	assert_int_equal(loop_run(loop), 2);
	assert_int_equal(seen, 0);
	watch_set(watch, WATCH_WRITE);
	calls = 0;
	assert_int_equal(loop_run(loop), 4);
	assert_int_equal(seen, WATCH_WRITE);
	watch_set(watch, WATCH_READ | WATCH_WRITE);
	calls = 0;
	assert_int_equal(loop_run(loop), 4);
	assert_int_equal(seen, WATCH_READ | WATCH_WRITE);
	watch_set(watch, WATCH_READ);
	seen = calls = 0;
	assert_int_equal(loop_run(loop), 4);
	assert_int_equal(seen, WATCH_READ);
}

static void
test_watch_may_be_freed_in_its_callback(void **state)
{
	(void)state;
	/* Both directions are ready: the second must not be called. */
	watch =
	    watch_new(loop, fds[0], WATCH_READ | WATCH_WRITE, ready_once, NULL);
	assert_int_equal(send(fds[1], "x", 1, 0), 1);
	assert_int_equal(loop_run(loop), 1);
	assert_int_equal(calls, 1);
}

static void
test_watch_of_a_file_is_refused(void **state)
{
	FILE *file = tmpfile();

	(void)state;
	assert_non_null(file);
	log_open("test", "-", LOG_ERROR); /* libevent warns of it */
	/* epoll(7) takes no regular file. */
	assert_null(watch_new(loop, fileno(file), WATCH_READ, ready, NULL));
	fclose(file);
}

static void
test_timers_end_in_order_and_never_early(void **state)
{
	static const unsigned ms[] = {30, 10, 20, 10, 0};
	uint64_t start_ns = sys_mono_ns();
	size_t i;

	(void)state;
	for (i = 0; i < 5; i++) {
		timers[i] = timer_new(
		    loop, i == 0 ? expired_last : expired, &timers[i]);
		assert_false(timer_pending(timers[i]));
		timer_set_ns(timers[i], ms[i] * MS);
		assert_true(timer_pending(timers[i]));
	}
	assert_int_equal(loop_run(loop), 2);
	assert_true(sys_mono_ns() - start_ns >= 30 * MS);
	assert_true(sys_mono_ns() - start_ns < 5000 * MS);
	assert_int_equal(order_count, 5);
	assert_int_equal(order[0], 4);
	assert_int_equal(order[1], 1);
	assert_int_equal(order[2], 3);
	assert_int_equal(order[3], 2);
	assert_int_equal(order[4], 0);
	assert_false(timer_pending(timers[0]));
}

static void
test_setting_a_timer_again_replaces(void **state)
{
	uint64_t start_ns = sys_mono_ns();

	(void)state;
	timers[0] = timer_new(loop, expired_last, &timers[0]);
	timers[1] = timer_new(loop, expired, &timers[1]);
	timer_set_ns(timers[0], 1 * MS);
	timer_set_ns(timers[0], 20 * MS);
	timer_set_ns(timers[1], 3600000 * MS);
	timer_set_ns(timers[1], 2 * MS);
	assert_int_equal(loop_run(loop), 2);
	assert_true(sys_mono_ns() - start_ns >= 20 * MS);
	assert_int_equal(order_count, 2);
	assert_int_equal(order[0], 1);
}

static void
test_stopped_timer_does_not_end(void **state)
{
	(void)state;
	timers[0] = timer_new(loop, expired, &timers[0]);
	timers[1] = timer_new(loop, expired_last, &timers[1]);
	timer_set_ns(timers[0], 1 * MS);
	timer_set_ns(timers[1], 10 * MS);
	timer_stop(timers[0]);
	timer_stop(timers[0]);
	assert_false(timer_pending(timers[0]));
	assert_int_equal(loop_run(loop), 2);
	assert_int_equal(order_count, 1);
}

static void
expired_again(void *self)
{
	struct timer **t = self;

	if (++calls == 100) {
		timer_free(ptr_take(*t)); /* in its own callback */
		loop_stop(loop, 3);
		return;
	}
	timer_set_ns(*t, 0);
}

static void
test_timer_may_set_and_free_itself(void **state)
{
	(void)state;
	timers[0] = timer_new(loop, expired_again, &timers[0]);
	timer_set_ns(timers[0], 0);
	/* A watch gets its turns between. */
	watch = watch_new(loop, fds[0], WATCH_WRITE, ready_once, NULL);
	assert_int_equal(loop_run(loop), 1);
	assert_true(calls < 10);
	assert_int_equal(loop_run(loop), 3);
}

static void
test_longest_time_does_not_overflow(void **state)
{
	(void)state;
	timers[0] = timer_new(loop, expired, &timers[0]);
	timers[1] = timer_new(loop, expired_last, &timers[1]);
	timer_set_ns(timers[0], UINT64_MAX);
	timer_set_ns(timers[1], 1 * MS);
	assert_int_equal(loop_run(loop), 2);
	assert_int_equal(order_count, 1);
	assert_true(timer_pending(timers[0]));
}

static void
test_stop_before_the_run_ends_it_at_once(void **state)
{
	(void)state;
	loop_stop(loop, 7);
	assert_int_equal(loop_run(loop), 7);
}

static void
stopper(void *self, unsigned events)
{
	(void)self;
	(void)events;
	loop_stop(loop, 8);
}

/* Times that the process gave up the processor by itself. */
static long
sleeps(void)
{
	struct rusage usage;

	assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
	return usage.ru_nvcsw;
}

static void
test_idle_loop_does_not_tick(void **state)
{
	pid_t pid;
	long before;

	(void)state;
	timers[0] = timer_new(loop, expired, &timers[0]);
	timer_set_ns(timers[0], 1 * MS);
	timer_stop(timers[0]);
	watch = watch_new(loop, fds[0], WATCH_READ, stopper, NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		usleep(200000);
		_exit(send(fds[1], "x", 1, 0) != 1);
	}
	before = sleeps();
	assert_int_equal(loop_run(loop), 8);
	/* The stopped timer wakes it once, the peer once. */
	assert_true(sleeps() - before <= 3);
	assert_int_equal(calls, 0);
	waitpid(pid, NULL, 0);
}

static void
caught(void *self)
{
	(void)self;
	loop_stop(loop, 9);
}

static void
test_signal_is_caught_in_the_loop(void **state)
{
	struct onsig *onsig = onsig_new(loop, SIGUSR1, caught, NULL);

	(void)state;
	assert_non_null(onsig);
	assert_int_equal(raise(SIGUSR1), 0);
	assert_int_equal(loop_run(loop), 9);
	onsig_free(onsig);
}

static void
test_freeing_nothing_is_allowed(void **state)
{
	(void)state;
	watch_free(NULL);
	timer_free(NULL);
	onsig_free(NULL);
	loop_free(NULL);
}

/* --- another turn --------------------------------------------------------- */

static struct again *turns;

static void
take_turn(void *self)
{
	(void)self;
	if (++calls == 5)
		again_set(turns, false);
}

/* The descriptor that became ready in between has had its turn. */
static void
heard_between(void *self, unsigned events)
{
	(void)self;
	seen |= events;
	assert_in_range(calls, 1, 999);
	again_free(ptr_take(turns));
	loop_stop(loop, 0);
}

static void
turn_and_write(void *self)
{
	(void)self;
	if (++calls == 1)
		assert_int_equal(write(fds[1], "x", 1), 1);
	assert_in_range(calls, 1, 1000);
}

static void
time_is_up(void *self)
{
	(void)self;
	loop_stop(loop, 0);
}

static void
test_again_turns_until_it_is_off(void **state)
{
	(void)state;
	turns = again_new(loop, take_turn, NULL);
	assert_non_null(turns);
	again_set(turns, true);
	again_set(turns, true);
	timers[0] = timer_new(loop, time_is_up, NULL);
	timer_set_ns(timers[0], 20 * MS);
	loop_run(loop);
	assert_int_equal(calls, 5);
	again_free(ptr_take(turns));
}

static void
test_again_lets_descriptors_have_their_turn(void **state)
{
	(void)state;
	turns = again_new(loop, turn_and_write, NULL);
	watch = watch_new(loop, fds[0], WATCH_READ, heard_between, NULL);
	again_set(turns, true);
	loop_run(loop);
	assert_int_equal(seen, WATCH_READ);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_watch_is_level_triggered),
	    TEST(test_watch_reports_only_what_is_set),
	    TEST(test_watch_may_be_freed_in_its_callback),
	    TEST(test_watch_of_a_file_is_refused),
	    TEST(test_timers_end_in_order_and_never_early),
	    TEST(test_setting_a_timer_again_replaces),
	    TEST(test_stopped_timer_does_not_end),
	    TEST(test_timer_may_set_and_free_itself),
	    TEST(test_longest_time_does_not_overflow),
	    TEST(test_stop_before_the_run_ends_it_at_once),
	    TEST(test_idle_loop_does_not_tick),
	    TEST(test_signal_is_caught_in_the_loop),
	    TEST(test_freeing_nothing_is_allowed),
	    TEST(test_again_turns_until_it_is_off),
	    TEST(test_again_lets_descriptors_have_their_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
