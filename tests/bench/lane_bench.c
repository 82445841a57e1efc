/*
 * lane_bench.c - ring, lane, ring with doorbells, against memcpy.
 *
 * Real processes: one sends as fast as the lane takes it, one lane runs the
 * product's own code, one receives at all other ports and copies every frame
 * out. Closed loop by back-pressure: nothing may be lost, and every sample
 * checks that. Results are ratios to memcpy of the same size in the same run
 * (all deliveries, when there are several receivers). Nothing is pinned.
 *
 *   lane_bench [--json] [--pin] [--ms N] [--ports N] [--size N]
 *              [--pace US] [--no-poll]
 *
 * --pace sends bursts of eight frames so often and tells the time of their
 * way; --no-poll makes the lane arm its bells at once (lane.c, wait_briefly).
 */
#include "broker/lane_control.h"

#include "gen/control.h"
#include "proto/bell.h"
#include "proto/chan.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"
#include "tests/bench/yardstick.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PORTS_MAX  64u
#define PUT_FRAMES 32u
#define SAMPLES    5u
#define BURST      8u
#define BURSTS     65536u
#define WAYS_MAX   100000u

/* One port as its backend and the launcher know it. */
struct seat {
	int p_fd, l_fd;
	int bell[2]; /* the backend's end, the lane's end */
	void *p_mem, *l_mem;
	struct ring_tx tx;
	struct ring_rx rx;
};

/* What the processes tell the one that measures. */
struct tally {
	uint64_t delivered;
	uint64_t bad;              /* out of order or of another length */
	uint64_t sleeps;           /* of the receiving process */
	uint64_t waits;            /* of the sending process */
	uint64_t burst_ns[BURSTS]; /* when it was sent */
	uint64_t ways;             /* how many of `way_ns` are filled */
	uint32_t way_ns[WAYS_MAX];
};

static struct seat seats[PORTS_MAX];
static struct tally *tally;
static unsigned port_count = 2, run_ms = 200;
static unsigned pace_us;
static bool json, pinned, no_poll;

static void
seats_make(void)
{
	for (unsigned i = 0; i < port_count; i++) {
		struct seat *s = &seats[i];
		size_t bytes = port_bytes(RING_BYTES_USUAL);

		BUG_ON(sys_memfd("P", bytes, &s->p_fd) < 0);
		BUG_ON(sys_memfd("L", bytes, &s->l_fd) < 0);
		BUG_ON(bell_pair(s->bell) < 0);
		BUG_ON(sys_map(s->p_fd, bytes, true, &s->p_mem) < 0);
		BUG_ON(sys_map(s->l_fd, bytes, false, &s->l_mem) < 0);
		ring_tx_attach(&s->tx, s->p_mem, s->l_mem, RING_BYTES_USUAL);
		ring_rx_attach(&s->rx, s->p_mem, s->l_mem, RING_BYTES_USUAL);
	}
}

static void
seats_end(void)
{
	for (unsigned i = 0; i < port_count; i++) {
		struct seat *s = &seats[i];
		size_t bytes = port_bytes(RING_BYTES_USUAL);

		sys_unmap(s->p_mem, bytes);
		sys_unmap(s->l_mem, bytes);
		fd_close(&s->p_fd);
		fd_close(&s->l_fd);
		fd_close(&s->bell[0]);
		fd_close(&s->bell[1]);
	}
}

static void
bell_wait(struct pollfd *fds, unsigned count)
{
	BUG_ON(poll(fds, count, -1) < 0);
	for (unsigned i = 0; i < count; i++)
		if (fds[i].revents != 0)
			BUG_ON(bell_clear(fds[i].fd) < 0);
}

/* Numbered frames, from a pool that stays in the cache. */
static uint8_t *
pool_make(uint32_t size)
{
	size_t bytes = ((size_t)POOL * size + 4095u) & ~(size_t)4095u;
	uint8_t *pool = aligned_alloc(4096, bytes);

	BUG_ON(pool == NULL);
	memset(pool, 1, bytes);
	return pool;
}

/* Put at most `frames` in; returns how many there was room for. */
static unsigned
put(const uint8_t *pool, uint32_t size, uint64_t seq, unsigned frames)
{
	struct ring_tx tx = seats[0].tx;
	unsigned n = 0;
	uint8_t *room;
	int rc = 1;

	while (n < frames && n * size < BATCH_BYTES &&
	       (rc = ring_reserve(&tx, size, &room)) == 1) {
		frame_copy(room, pool + (seq % POOL) * size, size);
		memcpy(room, &seq, sizeof seq);
		ring_commit(&tx, size);
		seq++;
		n++;
	}
	BUG_ON(rc < 0);
	seats[0].tx = tx;
	return n;
}

/* Bursts at a fixed rate, whatever becomes of them. */
_Noreturn static void
send_bursts(uint32_t size)
{
	struct seat *s = &seats[0];
	uint8_t *pool = pool_make(size);
	uint64_t seq = 0, next = sys_mono_ns();

	for (;;) {
		while (sys_mono_ns() < next)
			;
		next += pace_us * UINT64_C(1000);
		tally->burst_ns[seq / BURST % BURSTS] = sys_mono_ns();
		seq += put(pool, size, seq, BURST);
		if (ring_publish(&s->tx))
			bell_ring(s->bell[0]);
	}
}

_Noreturn static void
send_frames(uint32_t size)
{
	struct seat *s = &seats[0];
	struct pollfd bell = {.fd = s->bell[0], .events = POLLIN};
	uint8_t *pool = pool_make(size);
	uint64_t seq = 0;

	for (;;) {
		unsigned n = put(pool, size, seq, PUT_FRAMES);

		seq += n;
		if (ring_publish(&s->tx))
			bell_ring(s->bell[0]);
		if (n == 0 && ring_want_space(&s->tx) == 0) {
			tally->waits++;
			bell_wait(&bell, 1);
		}
	}
}

/* Frame `seq` has come: how long did its burst take? */
static void
way_note(uint64_t seq)
{
	uint64_t sent_ns = tally->burst_ns[seq / BURST % BURSTS];

	if (tally->ways < WAYS_MAX)
		tally->way_ns[tally->ways++] =
		    (uint32_t)(sys_mono_ns() - sent_ns);
}

/* A batch of one port; returns how many frames there were. */
static unsigned
take(struct seat *s, uint32_t size, uint64_t *next, uint8_t *to)
{
	struct ring_rx rx = s->rx;
	struct frame f = {0};
	uint64_t seq, bad = 0;
	unsigned n = 0;
	int rc = 0;

	while (n < BATCH_FRAMES && n * size < BATCH_BYTES &&
	       (rc = ring_next(&rx, &f)) == 1) {
		uint8_t *at = to + (n % POOL) * (size_t)size;

		frame_copy(at, f.data, f.len < size ? f.len : size);
		memcpy(&seq, at, sizeof seq);
		bad += f.len != size || seq != *next;
		*next = seq + 1;
		n++;
	}
	BUG_ON(rc < 0);
	tally->bad += bad;
	if (pace_us != 0 && n > 0)
		way_note(*next - 1);
	s->rx = rx;
	if (ring_release(&s->rx))
		bell_ring(s->bell[0]);
	return n;
}

_Noreturn static void
receive_frames(uint32_t size)
{
	uint8_t *to = pool_make(size);
	static uint64_t next[PORTS_MAX];
	struct pollfd bells[PORTS_MAX];

	for (unsigned i = 1; i < port_count; i++)
		bells[i - 1] =
		    (struct pollfd){.fd = seats[i].bell[0], .events = POLLIN};
	for (;;) {
		unsigned got = 0;

		for (unsigned i = 1; i < port_count; i++)
			got += take(&seats[i], size, &next[i], to);
		__atomic_fetch_add(&tally->delivered, got, __ATOMIC_RELAXED);
		if (got > 0)
			continue;
		for (unsigned i = 1; i < port_count; i++)
			got += ring_arm(&seats[i].rx) != 0;
		if (got > 0)
			continue;
		tally->sleeps++;
		bell_wait(bells, port_count - 1);
	}
}

/* The lane, as lane_main runs it, without its confinement. */
_Noreturn static void
run_lane(int control)
{
	struct lane_process lp;
	struct loop *loop = loop_new();

	BUG_ON(loop == NULL || lane_process_init(&lp, loop, control) < 0);
	if (no_poll) {
		static struct lane_ops quiet;

		quiet = *lp.lane->ops;
		quiet.yield = NULL;
		lp.lane->ops = &quiet;
	}
	exit(loop_run(loop));
}

static void
plan_send(struct chan *c)
{
	struct plan_port ports[PORTS_MAX];
	struct ctl_plan plan = {
	    .serial = 1,
	    .ports = {.count = port_count, .items = ports},
	};

	for (unsigned i = 0; i < port_count; i++) {
		struct ctl_attach m = {
		    .port = i,
		    .epoch = 1,
		    .ring_bytes = RING_BYTES_USUAL,
		};
		int fds[3] = {seats[i].p_fd, seats[i].l_fd, seats[i].bell[1]};

		BUG_ON(ctl_send_attach(c, 0, &m, fds) < 0);
		ports[i] = (struct plan_port){.port = i, .link_up = true};
	}
	BUG_ON(ctl_send_plan(c, 0, &plan) < 0);
}

/* The lane on one core, both ends on the other: as the limits of
 * performance.md 2 were measured. */
static void
pin(size_t cpu)
{
	cpu_set_t set;

	if (!pinned)
		return;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	(void)sched_setaffinity(0, sizeof set, &set);
}

static pid_t
spawn(void (*run)(uint32_t size), uint32_t size, int control)
{
	pid_t pid = fork();

	BUG_ON(pid < 0);
	if (pid > 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	pin(run == NULL ? 1 : 0);
	if (run != NULL)
		run(size);
	run_lane(control);
}

static uint64_t
cpu_ns(pid_t pid)
{
	struct timespec t;
	clockid_t clock;

	BUG_ON(clock_getcpuclockid(pid, &clock) != 0);
	BUG_ON(clock_gettime(clock, &t) != 0);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int message(void *, const uint8_t *, size_t, int *, size_t);
static void closed(void *, int);
static const struct chan_ops chan_ops = {message, closed};

static int
message(void *self, const uint8_t *buf, size_t len, int *fds, size_t n)
{
	(void)self, (void)buf, (void)len, (void)fds, (void)n;
	return 0;
}

static void
closed(void *self, int reason)
{
	(void)self, (void)reason;
}

struct sample {
	double rate;      /* deliveries per second */
	double cpu_ns;    /* of all processes, per delivery */
	double lane_ns;   /* of the lane, per delivery */
	uint64_t bells;   /* rung by the lane, per million deliveries */
	uint64_t held_us; /* sources waited for receivers */
	uint64_t lost;
};

static void
nap(unsigned ms)
{
	struct timespec t = {.tv_sec = 0, .tv_nsec = ms * 1000000L};

	(void)nanosleep(&t, NULL);
}

static uint64_t
counted(enum lane_counter c)
{
	uint64_t sum = 0;

	for (unsigned i = 1; i < port_count; i++)
		sum += ((struct ring_page *)seats[i].l_mem)->counter[c];
	return sum;
}

static struct sample
measure(uint32_t size)
{
	uint64_t begin, ns, first, count, bells, cpu[3] = {0}, used[3] = {0};
	struct loop *loop = loop_new();
	struct sample s;
	struct chan *c;
	pid_t pid[3];
	int ends[2];

	memset(tally, 0, sizeof *tally);
	seats_make();
	BUG_ON(sys_pair(ends) < 0);
	pid[0] = spawn(NULL, 0, ends[1]);
	c = chan_new(loop, ends[0], false, &chan_ops, NULL);
	plan_send(c);
	pid[1] = spawn(receive_frames, size, -1);
	pid[2] = spawn(pace_us ? send_bursts : send_frames, size, -1);
	nap(50);
	for (int i = 0; i < 3; i++)
		cpu[i] = cpu_ns(pid[i]);
	begin = sys_mono_ns();
	first = __atomic_load_n(&tally->delivered, __ATOMIC_RELAXED);
	bells = counted(LC_BELLS);
	nap(run_ms);
	count = __atomic_load_n(&tally->delivered, __ATOMIC_RELAXED) - first;
	ns = sys_mono_ns() - begin;
	for (int i = 0; i < 3; i++)
		used[i] = cpu_ns(pid[i]) - cpu[i];
	s = (struct sample){
	    .rate = (double)count * 1e9 / (double)ns,
	    .cpu_ns = (double)(used[0] + used[1] + used[2]) / (double)count,
	    .lane_ns = (double)used[0] / (double)count,
	    .bells = (counted(LC_BELLS) - bells) * 1000000 / (count + 1),
	    .held_us = counted(LC_HELD_NS) / 1000,
	    .lost = counted(LC_RX_DROP_FULL) + tally->bad,
	};
	for (int i = 0; i < 3; i++) {
		(void)kill(pid[i], SIGKILL);
		(void)waitpid(pid[i], NULL, 0);
	}
	chan_free(c);
	loop_free(loop);
	fd_close(&ends[1]);
	seats_end();
	return s;
}

static int
by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int
by_time(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void
pace(uint32_t size)
{
	for (unsigned i = 0; i < SAMPLES; i++) {
		struct sample s = measure(size);
		uint64_t n = tally->ways;

		qsort(tally->way_ns, n, sizeof(uint32_t), by_time);
		printf("  %2u ports %5u B, 8 frames each %u us: way %u ns "
		       "(p99 %u), lane %.0f ns cpu for a frame, lost %lu\n",
		    port_count, size, pace_us, tally->way_ns[n / 2],
		    tally->way_ns[n - n / 100 - 1], s.lane_ns, s.lost);
	}
}

static uint64_t
bench(uint32_t size)
{
	double ratio[SAMPLES], rate[SAMPLES];
	struct sample s = {0};
	uint64_t lost = 0;

	for (unsigned i = 0; i < SAMPLES; i++) {
		double copies = copies_per_second(size, 100);

		s = measure(size);
		rate[i] = s.rate / 1e6;
		ratio[i] = s.rate / copies;
		lost += s.lost;
		if (!json)
			printf("  %2u ports %5u B: %7.2f Mpps, memcpy %7.2f, "
			       "%5.1f ns cpu (lane %5.1f), %6lu bells/M, "
			       "sleeps %lu, waits %lu, held %lu us, lost %lu\n",
			    port_count, size, rate[i], copies / 1e6, s.cpu_ns,
			    s.lane_ns, s.bells, tally->sleeps, tally->waits,
			    s.held_us, s.lost);
	}
	qsort(ratio, SAMPLES, sizeof *ratio, by_value);
	qsort(rate, SAMPLES, sizeof *rate, by_value);
	printf("{\"what\": \"lane%s\", \"ports\": %u, \"size\": %u, "
	       "\"ratio\": %.3f, \"least\": %.3f, \"most\": %.3f, "
	       "\"mpps\": %.2f, \"lost\": %lu}\n",
	    port_count == 2 ? "" : "-16", port_count, size, ratio[SAMPLES / 2],
	    ratio[0], ratio[SAMPLES - 1], rate[SAMPLES / 2], lost);
	(void)fflush(stdout);
	return lost;
}

int
main(int argc, char **argv)
{
	static const uint32_t sizes[] = {64, 1514};
	unsigned only_ports = 0, only_size = 0;
	uint64_t lost = 0;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			json = true;
		else if (strcmp(argv[i], "--pin") == 0)
			pinned = true;
		else if (strcmp(argv[i], "--no-poll") == 0)
			no_poll = true;
		else if (i + 1 < argc && strcmp(argv[i], "--pace") == 0)
			pace_us = (unsigned)atoi(argv[++i]);
		else if (i + 1 < argc && strcmp(argv[i], "--ms") == 0)
			run_ms = (unsigned)atoi(argv[++i]);
		else if (i + 1 < argc && strcmp(argv[i], "--ports") == 0)
			only_ports = (unsigned)atoi(argv[++i]);
		else if (i + 1 < argc && strcmp(argv[i], "--size") == 0)
			only_size = (unsigned)atoi(argv[++i]);
	}
	log_open("bench", "-", LOG_WARN);
	tally = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	BUG_ON(tally == MAP_FAILED || run_ms > 900 || only_ports > PORTS_MAX);
	for (unsigned ports = 2; ports <= 16; ports += 14) {
		port_count = only_ports != 0 ? only_ports : ports;
		for (unsigned i = 0; i < 2; i++)
			if (pace_us != 0)
				pace(sizes[i]);
			else if (only_size == 0 || only_size == sizes[i])
				lost += bench(sizes[i]);
		if (only_ports != 0)
			break;
	}
	return lost != 0;
}
