/*
 * ring_wake_test.c - between sleeping peers no wake-up is lost.
 *
 * Run it under -fsanitize=thread too: the second test is for that.
 */
#include "proto/ring.h"

#include "proto/bell.h"
#include "proto/sys.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SIZE RING_BYTES_MIN

#define STRESS_FRAMES 60000u
/* A bell that does not come in this time does not come. */
#define DEADLINE_MS 10000

struct stress {
	void *p, *l; /* memories of the producer and of the consumer */
	void *p_seen, *l_seen; /* as the other side sees them */
	int bell[2];           /* [0] producer's end, [1] consumer's */
};

static uint32_t
next_random(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

/* Sleep until the bell rings. 0, or 1 when it never does. */
static int
await_bell(int fd)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};

	return poll(&wait, 1, DEADLINE_MS) != 1 || bell_clear(fd) != 0;
}

static uint32_t
stress_len(uint32_t number)
{
	return 14 + number * 2654435761u % (number % 97 == 0 ? 60000 : 2000);
}

/* Returns 0, or the number of the check that failed. */
static int
stress_producer(const struct stress *s)
{
	uint32_t number = 0, seed = 1, batch, len;
	struct ring_tx tx;
	uint8_t *room = NULL;
	int rc;

	ring_tx_attach(&tx, s->p, s->l_seen, SIZE);
	while (number < STRESS_FRAMES) {
		batch = 1 + next_random(&seed) % 8;
		rc = 1;
		while (batch-- > 0 && number < STRESS_FRAMES) {
			len = stress_len(number);
			rc = ring_reserve(&tx, len, &room);
			if (rc <= 0)
				break;
			memset(room, (int)(number & 0xff), len);
			memcpy(room, &number, sizeof number);
			ring_commit(&tx, len);
			number++;
		}
		if (ring_publish(&tx))
			bell_ring(s->bell[0]);
		if (rc == 0)
			rc = ring_want_space(&tx);
		if (rc == 0 && await_bell(s->bell[0]) != 0)
			return 1;
		if (rc < 0)
			return 2;
		if (next_random(&seed) % 64 == 0)
			sched_yield();
	}
	return 0;
}

static int
stress_consumer(const struct stress *s)
{
	uint32_t number = 0, seed = 2, got, taken = 0;
	struct ring_rx rx;
	struct frame f = {0};
	int rc;

	ring_rx_attach(&rx, s->l, s->p_seen, SIZE);
	while (number < STRESS_FRAMES) {
		rc = ring_next(&rx, &f);
		if (rc < 0)
			return 3;
		if (rc == 1) {
			memcpy(&got, f.data, sizeof got);
			if (got != number || f.len != stress_len(number) ||
			    f.data[f.len - 1] != (number & 0xff))
				return 4;
			number++;
			taken++;
		}
		if (taken > next_random(&seed) % 16 || rc == 0) {
			taken = 0;
			if (ring_release(&rx))
				bell_ring(s->bell[1]);
		}
		if (rc != 0)
			continue;
		rc = ring_arm(&rx);
		if (rc < 0)
			return 5;
		if (rc == 0 && await_bell(s->bell[1]) != 0)
			return 6;
	}
	return 0;
}

/*
 * Memories as in the product: each side maps the other's read-only. Threads
 * see them through one mapping, or a sanitizer could not compare accesses.
 */
static void
stress_open(struct stress *s, bool twins)
{
	const size_t bytes = port_bytes(SIZE);
	int p = -1, l = -1;

	assert_int_equal(sys_memfd("p", bytes, &p), 0);
	assert_int_equal(sys_memfd("l", bytes, &l), 0);
	assert_int_equal(sys_map(p, bytes, true, &s->p), 0);
	assert_int_equal(sys_map(l, bytes, true, &s->l), 0);
	s->p_seen = s->p;
	s->l_seen = s->l;
	if (twins) {
		assert_int_equal(sys_map(p, bytes, false, &s->p_seen), 0);
		assert_int_equal(sys_map(l, bytes, false, &s->l_seen), 0);
	}
	fd_close(&p);
	fd_close(&l);
	assert_int_equal(bell_pair(s->bell), 0);
}

static void
stress_close(struct stress *s)
{
	const size_t bytes = port_bytes(SIZE);

	if (s->p_seen != s->p) {
		sys_unmap(s->p_seen, bytes);
		sys_unmap(s->l_seen, bytes);
	}
	sys_unmap(s->p, bytes);
	sys_unmap(s->l, bytes);
	fd_close(&s->bell[0]);
	fd_close(&s->bell[1]);
}

static void
test_two_processes_lose_no_wake_up(void **state)
{
	struct stress s;
	int status = 0;
	pid_t pid;

	(void)state;
	stress_open(&s, true);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(stress_producer(&s));
	assert_int_equal(stress_consumer(&s), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	stress_close(&s);
}

static void *
producer_thread(void *arg)
{
	return stress_producer(arg) == 0 ? NULL : arg;
}

static void
test_two_threads_race_nowhere(void **state)
{
	struct stress s;
	pthread_t thread;
	void *failed = NULL;

	(void)state;
	stress_open(&s, false);
	assert_int_equal(pthread_create(&thread, NULL, producer_thread, &s), 0);
	assert_int_equal(stress_consumer(&s), 0);
	assert_int_equal(pthread_join(thread, &failed), 0);
	assert_null(failed);
	stress_close(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_two_processes_lose_no_wake_up),
	    cmocka_unit_test(test_two_threads_race_nowhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
