/*
 * ring_bench.c - one ring between two processes, against memcpy.
 *
 * One process puts frames in from a pool that stays in its cache, the other
 * copies them out, as fast as both can; each on a processor of its own. Polled
 * ("ring") and asleep between ("ring-bell"). Every frame's number is checked,
 * nothing may be lost. The result is the ratio to what memcpy of that size
 * does on one processor in the same sample; absolute numbers say more about
 * the machine. Beside it stands the ratio to what the two processors hand over
 * if nothing is copied, where a ring of this size ends. Before and after a
 * sample the time is taken that a cache line needs from one processor to the
 * other: where it differs by half the sample is repeated, because the machine
 * was moved under it; and where others had our processors for a while, too.
 *
 *   ring_bench [--json] [--first] [--ms N] [--size N]
 *
 * --first: before all ordinary processes, which stand still meanwhile.
 */
#include "proto/ring.h"

#include "proto/bell.h"
#include "proto/log.h"
#include "proto/sys.h"
#include "tests/bench/yardstick.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define SAMPLES 11u
#define TRIES   5u
/* Between two looks at what the other writes: a look takes the line away from
 * it, and it needs the line for its next batch. */
#define PAUSES    16u
#define POLLS     256u /* before the processor is offered to others */
#define PING_PONG 2000u
/* Lines that are handed over at once, and how far ahead they are asked for. */
#define LINES_BATCH 256u
#define LINES_AHEAD 32u

/* What the two processes share beside the ring. */
struct shared {
	uint64_t ball __attribute__((aligned(128)));
	uint64_t ready __attribute__((aligned(128)));
	uint64_t taken;   /* by the consumer, at its end */
	uint64_t bad;     /* wrong number or length */
	uint64_t stop_at; /* frames or lines; UINT64_MAX until it is known */
	uint64_t lines __attribute__((aligned(128))); /* that can be read */
};

struct seat {
	void *p, *l;           /* writable: the producer's, the consumer's */
	void *p_seen, *l_seen; /* read-only */
	int bell[2];
};

static struct shared *shared;
static struct seat seat;
static unsigned run_ms = 15;
static bool json;

static void
pin(size_t cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	(void)sched_setaffinity(0, sizeof set, &set); /* one processor only */
}

/* Called in a loop that waits for the other process. */
static void
idle(unsigned *polls, unsigned pauses)
{
	if (++*polls % POLLS == 0)
		(void)sched_yield();
	while (pauses-- > 0)
		__builtin_ia32_pause();
}

/* Run `run` in a process on the second processor. */
static pid_t
spawn(void (*run)(uint32_t size), uint32_t size)
{
	pid_t pid = fork();

	BUG_ON(pid < 0);
	if (pid > 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	pin(1);
	__atomic_store_n(&shared->ready, 1, __ATOMIC_RELEASE);
	run(size);
	_exit(0);
}

static void
join(pid_t pid)
{
	int status;

	BUG_ON(waitpid(pid, &status, 0) != pid || status != 0);
}

/* --- how far apart the processors are ------------------------------------- */

static void
throw_back(uint32_t size)
{
	unsigned polls = 0;

	(void)size;
	for (uint64_t i = 0; i < PING_PONG; i++) {
		while (__atomic_load_n(&shared->ball, __ATOMIC_ACQUIRE) !=
		       2 * i + 1)
			idle(&polls, 1);
		__atomic_store_n(&shared->ball, 2 * i + 2, __ATOMIC_RELEASE);
	}
}

/* Half a round trip of one line, the best of blocks of 100. */
static double
line_ns(void)
{
	uint64_t best = UINT64_MAX, begin = 0, took;
	unsigned polls = 0;
	pid_t pid;

	*shared = (struct shared){0};
	pid = spawn(throw_back, 0);
	for (uint64_t i = 0; i < PING_PONG; i++) {
		if (i % 100 == 0) {
			took = sys_mono_ns() - begin;
			best = took < best ? took : best;
			begin = sys_mono_ns();
		}
		__atomic_store_n(&shared->ball, 2 * i + 1, __ATOMIC_RELEASE);
		while (__atomic_load_n(&shared->ball, __ATOMIC_ACQUIRE) !=
		       2 * i + 2)
			idle(&polls, 1);
	}
	join(pid);
	return (double)best / 200.0;
}

/* --- the ring ---------------------------------------------------------------
 */

static void
seat_make(void)
{
	size_t bytes = port_bytes(RING_BYTES_USUAL);
	int fd = -1;

	BUG_ON(sys_memfd("P", bytes, &fd) < 0);
	BUG_ON(sys_map(fd, bytes, true, &seat.p) < 0);
	BUG_ON(sys_map(fd, bytes, false, &seat.p_seen) < 0);
	fd_close(&fd);
	BUG_ON(sys_memfd("L", bytes, &fd) < 0);
	BUG_ON(sys_map(fd, bytes, true, &seat.l) < 0);
	BUG_ON(sys_map(fd, bytes, false, &seat.l_seen) < 0);
	fd_close(&fd);
	BUG_ON(bell_pair(seat.bell) < 0);
	memset(seat.p, 0, bytes); /* pages are there before the clock runs */
	memset(seat.l, 0, RING_PAGE_BYTES);
}

static void
seat_end(void)
{
	size_t bytes = port_bytes(RING_BYTES_USUAL);

	sys_unmap(seat.p, bytes);
	sys_unmap(seat.p_seen, bytes);
	sys_unmap(seat.l, bytes);
	sys_unmap(seat.l_seen, bytes);
	fd_close(&seat.bell[0]);
	fd_close(&seat.bell[1]);
}

static void
bell_wait(int fd)
{
	struct pollfd bell = {.fd = fd, .events = POLLIN};

	/* With an end, so that the last frame is not waited for. */
	BUG_ON(poll(&bell, 1, 10) < 0);
	BUG_ON(bell_clear(fd) < 0);
}

/*
 * Copy out a batch; returns how many frames there were. A local copy of the
 * struct stays in registers, here and in put().
 */
static unsigned
take(struct ring_rx *ring, uint8_t *to, uint32_t size, uint64_t seq)
{
	struct ring_rx rx = *ring;
	struct frame f = {0};
	uint64_t got, bad = 0;
	unsigned n = 0;
	int rc = 0;

	while (n < BATCH_FRAMES && n * size < BATCH_BYTES &&
	       (rc = ring_next(&rx, &f)) == 1) {
		uint8_t *at = to + (n % POOL) * (size_t)size;

		frame_copy(at, f.data, f.len < size ? f.len : size);
		memcpy(&got, at, sizeof got);
		bad += f.len != size || got != seq;
		seq++;
		n++;
	}
	BUG_ON(rc < 0);
	shared->bad += bad;
	*ring = rx;
	if (ring_release(ring))
		bell_ring(seat.bell[1]);
	return n;
}

static void
consume(uint32_t size, bool sleeps)
{
	uint8_t *to = malloc((size_t)POOL * size);
	uint64_t seq = 0;
	unsigned polls = 0, n;
	struct ring_rx rx;

	BUG_ON(to == NULL);
	memset(to, 0, (size_t)POOL * size);
	ring_rx_attach(&rx, seat.l, seat.p_seen, RING_BYTES_USUAL);
	while (seq < __atomic_load_n(&shared->stop_at, __ATOMIC_ACQUIRE)) {
		n = take(&rx, to, size, seq);
		seq += n;
		if (n > 0)
			continue;
		if (!sleeps) {
			idle(&polls, PAUSES);
		} else if (ring_arm(&rx) == 0) {
			bell_wait(seat.bell[1]);
		}
	}
	__atomic_store_n(&shared->taken, seq, __ATOMIC_RELEASE);
	free(to);
}

static void
consume_polling(uint32_t size)
{
	consume(size, false);
}

static void
consume_sleeping(uint32_t size)
{
	consume(size, true);
}

/* Put a batch in; returns how many frames there was room for. */
static unsigned
put(struct ring_tx *ring, const uint8_t *pool, uint32_t size, uint64_t seq)
{
	struct ring_tx tx = *ring;
	unsigned n = 0;
	uint8_t *room;
	int rc = 1;

	while (n < BATCH_FRAMES && n * size < BATCH_BYTES &&
	       (rc = ring_reserve(&tx, size, &room)) == 1) {
		frame_copy(room, pool + (seq % POOL) * size, size);
		memcpy(room, &seq, sizeof seq);
		ring_commit(&tx, size);
		seq++;
		n++;
	}
	BUG_ON(rc < 0);
	*ring = tx;
	if (ring_publish(ring))
		bell_ring(seat.bell[0]);
	return n;
}

/* As ring_want_space: one wait for half a ring, not one for each batch. */
static void
await_space(struct ring_tx *tx)
{
	unsigned polls = 0;

	do {
		idle(&polls, PAUSES);
		BUG_ON(ring_tx_refresh(tx) < 0);
	} while (ring_tx_backlog(tx) > RING_BYTES_USUAL / 2);
}

static uint64_t
produce(uint32_t size, bool sleeps, uint64_t end_ns)
{
	uint8_t *pool = calloc(POOL, size);
	unsigned turns = 0, n;
	uint64_t seq = 0;
	struct ring_tx tx;

	BUG_ON(pool == NULL);
	ring_tx_attach(&tx, seat.p, seat.l_seen, RING_BYTES_USUAL);
	while (++turns % 32 != 0 || sys_mono_ns() < end_ns) {
		n = put(&tx, pool, size, seq);
		seq += n;
		if (n > 0)
			continue;
		if (sleeps && ring_want_space(&tx) == 0)
			bell_wait(seat.bell[0]);
		else if (!sleeps)
			await_space(&tx);
	}
	__atomic_store_n(&shared->stop_at, seq, __ATOMIC_RELEASE);
	free(pool);
	return seq;
}

/* Frames per second that went all the way. */
static double
ring_per_second(uint32_t size, bool sleeps)
{
	uint64_t begin, end, frames;
	unsigned polls = 0;
	pid_t pid;

	*shared = (struct shared){.stop_at = UINT64_MAX};
	seat_make();
	pid = spawn(sleeps ? consume_sleeping : consume_polling, size);
	while (__atomic_load_n(&shared->ready, __ATOMIC_ACQUIRE) == 0)
		idle(&polls, 1);
	begin = sys_mono_ns();
	frames = produce(size, sleeps, begin + run_ms * UINT64_C(1000000));
	while (__atomic_load_n(&shared->taken, __ATOMIC_ACQUIRE) != frames)
		idle(&polls, 1);
	end = sys_mono_ns();
	join(pid);
	seat_end();
	BUG_ON(shared->bad != 0);
	return (double)frames * 1e9 / (double)(end - begin);
}

/* --- what they hand over if nothing is copied ------------------------------
 */

static uint64_t *
line_at(uint64_t pos)
{
	uint8_t *data = (uint8_t *)seat.p + RING_PAGE_BYTES;

	return (uint64_t *)(void *)(data + pos * 64 % RING_BYTES_USUAL);
}

static void
read_lines(uint32_t size)
{
	uint64_t pos = 0, end, sum = 0;
	unsigned polls = 0;

	(void)size;
	while (pos < __atomic_load_n(&shared->stop_at, __ATOMIC_ACQUIRE)) {
		end = __atomic_load_n(&shared->lines, __ATOMIC_ACQUIRE);
		if (end == pos)
			idle(&polls, PAUSES);
		for (; pos != end; pos++)
			sum += *line_at(pos);
		__atomic_store_n(&shared->taken, pos, __ATOMIC_RELEASE);
	}
	shared->bad = sum != pos * (pos - 1) / 2;
}

/*
 * Cache lines per second, over and over through a memory of the ring's size,
 * one word of each written here and read there: what a ring cannot pass but by
 * the noise of two samples.
 */
static double
lines_per_second(void)
{
	const uint64_t all = RING_BYTES_USUAL / 64;
	uint64_t begin, took, pos = 0;
	unsigned polls = 0;
	pid_t pid;

	*shared = (struct shared){.stop_at = UINT64_MAX};
	seat_make();
	pid = spawn(read_lines, 0);
	while (__atomic_load_n(&shared->ready, __ATOMIC_ACQUIRE) == 0)
		idle(&polls, 1);
	begin = sys_mono_ns();
	while (sys_mono_ns() < begin + run_ms * UINT64_C(1000000)) {
		uint64_t end = pos + LINES_BATCH;

		while (end - __atomic_load_n(&shared->taken, __ATOMIC_ACQUIRE) >
		       all)
			idle(&polls, PAUSES);
		for (; pos != end; pos++) {
			RING_FETCH_TO_WRITE(line_at(pos + LINES_AHEAD));
			*line_at(pos) = pos;
		}
		__atomic_store_n(&shared->lines, pos, __ATOMIC_RELEASE);
	}
	took = sys_mono_ns() - begin;
	__atomic_store_n(&shared->stop_at, pos, __ATOMIC_RELEASE);
	join(pid);
	seat_end();
	BUG_ON(shared->bad != 0);
	return (double)pos * 1e9 / (double)took;
}

/* --- samples ----------------------------------------------------------------
 */

struct sample {
	double ratio, copies, rate, line_ns;
	double of_lines; /* of what both hand over if nothing is copied */
};

/* How often others were given a processor of ours, until now. */
static long
switches(void)
{
	struct rusage own, children;

	BUG_ON(getrusage(RUSAGE_SELF, &own) != 0);
	BUG_ON(getrusage(RUSAGE_CHILDREN, &children) != 0);
	return own.ru_nivcsw + children.ru_nivcsw;
}

/* The least disturbed of a few samples; an undisturbed one ends the search. */
static struct sample
sample_take(uint32_t size, bool sleeps)
{
	struct sample best = {0}, s = {0};
	double after, noise, least = 1e9;

	for (unsigned i = 0; i < TRIES && least >= 1.5; i++) {
		noise = -(double)switches();
		s.line_ns = line_ns();
		s.copies = copies_per_second(size, run_ms);
		s.rate = ring_per_second(size, sleeps);
		s.ratio = s.rate / s.copies;
		s.of_lines = s.rate * (double)ring_record_bytes(size) / 64 /
			     lines_per_second();
		after = line_ns();
		noise += (double)switches();
		noise +=
		    after > s.line_ns ? after / s.line_ns : s.line_ns / after;
		if (noise < least) {
			least = noise;
			best = s;
		}
	}
	return best;
}

static int
by_ratio(const void *a, const void *b)
{
	const struct sample *x = a, *y = b;

	return (x->ratio > y->ratio) - (x->ratio < y->ratio);
}

static int
by_lines(const void *a, const void *b)
{
	const struct sample *x = a, *y = b;

	return (x->of_lines > y->of_lines) - (x->of_lines < y->of_lines);
}

/* One frame size, polled or asleep, and its samples. */
struct series {
	uint32_t size;
	bool sleeps;
	struct sample s[SAMPLES];
};

static const char *
series_name(const struct series *r)
{
	return r->sleeps ? "ring-bell" : "ring";
}

static void
series_sample(struct series *r, unsigned i)
{
	struct sample *s = &r->s[i];

	*s = sample_take(r->size, r->sleeps);
	if (!json)
		printf("  %-9s %5u B: %7.2f Mpps, memcpy %7.2f, line %3.0f ns, "
		       "of lines %.2f\n",
		    series_name(r), r->size, s->rate / 1e6, s->copies / 1e6,
		    s->line_ns, s->of_lines);
}

static void
series_tell(struct series *r)
{
	const struct sample *s = r->s, *m = &s[SAMPLES / 2];
	double of_lines;

	qsort(r->s, SAMPLES, sizeof *s, by_lines);
	of_lines = m->of_lines;
	qsort(r->s, SAMPLES, sizeof *s, by_ratio);
	printf("{\"what\": \"%s\", \"size\": %u, \"ratio\": %.3f, "
	       "\"least\": %.3f, \"most\": %.3f, \"mpps\": %.2f, "
	       "\"memcpy_mpps\": %.2f, \"line_ns\": %.0f, "
	       "\"of_lines\": %.2f}\n",
	    series_name(r), r->size, m->ratio, s[0].ratio, s[SAMPLES - 1].ratio,
	    m->rate / 1e6, m->copies / 1e6, m->line_ns, of_lines);
	(void)fflush(stdout);
}

/* Their samples in turn: what disturbs the machine for a second then costs each
 * series one of them, and not one series all. */
static void
bench(struct series *all, size_t count, unsigned long only)
{
	for (unsigned i = 0; i < SAMPLES; i++)
		for (size_t k = 0; k < count; k++)
			if (only == 0 || only == all[k].size)
				series_sample(&all[k], i);
	for (size_t k = 0; k < count; k++)
		if (only == 0 || only == all[k].size)
			series_tell(&all[k]);
}

int
main(int argc, char **argv)
{
	static struct series all[] = {
	    {.size = 64},
	    {.size = 64, .sleeps = true},
	    {.size = 512},
	    {.size = 512, .sleeps = true},
	    {.size = 1514},
	    {.size = 1514, .sleeps = true},
	    {.size = 9000},
	    {.size = 9000, .sleeps = true},
	};
	const struct sched_param first = {.sched_priority = 1};
	unsigned long only = 0;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			json = true;
		else if (strcmp(argv[i], "--first") == 0)
			(void)sched_setscheduler(0, SCHED_FIFO, &first);
		else if (i + 1 < argc && strcmp(argv[i], "--ms") == 0)
			run_ms = (unsigned)strtoul(argv[++i], NULL, 10);
		else if (i + 1 < argc && strcmp(argv[i], "--size") == 0)
			only = strtoul(argv[++i], NULL, 10);
	}
	log_open("bench", "-", LOG_WARN);
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	BUG_ON(shared == MAP_FAILED);
	pin(0);
	bench(all, sizeof all / sizeof all[0], only);
	return 0;
}
