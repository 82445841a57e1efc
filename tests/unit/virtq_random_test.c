/*
 * virtq_random_test.c - a driver and the device exchange chains of every shape
 * for many turns of the ring: nothing is lost, changed or told too late.
 *
 * SEED= in the environment repeats a run.
 */
#include "tests/unit/virtq_kit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define PARTS_MAX 6
#define QUEUE_MAX 64u
#define STEPS     60000u

static uint64_t seed;

static uint32_t
dice(uint32_t sides)
{
	seed =
	    seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963);
	return (uint32_t)(seed >> 33) % sides;
}

/* What the driver offered, in order; the device must see just this. */
struct sent {
	uint32_t id, out, in;
	uint32_t written; /* by the device */
	struct part part[PARTS_MAX];
	uint32_t parts;
};

static struct {
	struct sent sent[65536];
	uint32_t offered, popped, pushed, reaped; /* counts */
	uint32_t limit;                           /* longest buffer */
	uint64_t bump;                            /* where buffers come from */
	bool driver_sleeps, device_sleeps;
	uint32_t flushed, seams, tables, returned;
} run;

/* The byte at `i` of what chain `n` carries. */
static uint8_t
byte_of(uint32_t n, uint32_t i, bool in)
{
	return (uint8_t)(n * 31 + i * 7 + (in ? 101 : 0));
}

static struct sent *
nth(uint32_t n)
{
	return &run.sent[n % 65536];
}

/* Memory for `bytes`: round and round, over the seam. */
static uint64_t
room(uint32_t bytes)
{
	uint64_t at = run.bump;

	if (at + bytes > GPA_END)
		at = GPA_LOW;
	run.bump = at + bytes;
	run.seams += at < GPA_SEAM && at + bytes > GPA_SEAM;
	return at;
}

/* All behind the first `keep` parts into a table; returns the parts left. */
static uint32_t
into_table(struct part *p, uint32_t count, uint32_t keep)
{
	uint64_t table = room(16 * (count - keep));
	uint32_t i;

	for (i = keep; i < count; i++)
		put_desc(table + 16 * (i - keep), p[i].addr, p[i].len,
		    p[i].flags | (i + 1 < count ? D_NEXT : 0), i - keep + 1);
	p[keep] = (struct part){table, 16 * (count - keep), D_INDIRECT};
	run.tables++;
	return keep + 1;
}

static void
offer_random(void)
{
	struct part p[PARTS_MAX];
	struct sent *s = nth(run.offered);
	uint32_t count = 1 + dice(PARTS_MAX), outs, i, b, sum[2] = {0, 0};

	if (count > vm.size)
		count = vm.size;
	outs = dice(count + 1);
	if (count > vm.free)
		return;
	for (i = 0; i < count; i++) {
		p[i].len = 1 + dice(run.limit);
		p[i].addr = room(p[i].len);
		p[i].flags = i < outs ? 0 : D_WRITE;
		for (b = 0; i < outs && b < p[i].len; b++)
			*(uint8_t *)gpa(p[i].addr + b) =
			    byte_of(run.offered, sum[0] + b, false);
		sum[i >= outs] += p[i].len;
	}
	*s = (struct sent){.out = sum[0], .in = sum[1], .parts = count};
	memcpy(s->part, p, sizeof p);
	if (vm.config.indirect && dice(2) == 0)
		count = into_table(p, count, dice(3) == 0 ? dice(count) : 0);
	s->id = offer(p, count);
	run.offered++;
	if (kick_due())
		run.device_sleeps = false;
}

/* Read what is readable, write what is writable, both to the end. */
static void
work(const struct sent *s, uint32_t n)
{
	const struct virtq_segment *g = vm.chain.segment;
	uint32_t i, b, at = 0;

	assert_int_equal(vm.chain.id, s->id);
	assert_int_equal(vm.chain.out_bytes, s->out);
	assert_int_equal(vm.chain.in_bytes, s->in);
	for (i = 0; i < vm.chain.out_count; i++)
		for (b = 0; b < g[i].len; b++, at++)
			assert_int_equal(g[i].base[b], byte_of(n, at, false));
	assert_int_equal(at, s->out);
	for (at = 0; i < vm.chain.out_count + vm.chain.in_count; i++)
		for (b = 0; b < g[i].len; b++, at++)
			g[i].base[b] = byte_of(n, at, true);
	assert_int_equal(at, s->in);
}

/* Take a few, give some of them back to the ring, push the others. */
static void
serve(void)
{
	struct {
		uint16_t id, slots;
	} got[QUEUE_MAX];
	uint32_t want = 1 + dice(9), n = 0, keep, i, slots = 0;

	run.device_sleeps = false;
	virtq_disarm(&vm.q);
	for (; n < want && virtq_pop(&vm.q, &vm.chain) == 1; n++) {
		assert_true(run.popped < run.offered);
		work(nth(run.popped), run.popped);
		got[n].id = vm.chain.id;
		got[n].slots = vm.chain.slots;
		run.popped++;
	}
	assert_false(vm.q.broken);
	assert_true(n == want || run.popped == run.offered);
	keep = dice(4) == 0 ? dice(n + 1) : n;
	for (i = keep; i < n; i++)
		slots += got[i].slots;
	if (keep < n)
		virtq_unpop(&vm.q, n - keep, slots);
	run.popped -= n - keep;
	run.returned += n - keep;
	for (i = 0; i < keep; i++) {
		struct sent *s = nth(run.pushed++);

		s->written = dice(2) == 0 ? s->in : dice(s->in + 1);
		virtq_push(&vm.q, got[i].id, got[i].slots, s->written);
	}
}

static void
flush(void)
{
	bool tell = virtq_flush(&vm.q);

	if (tell)
		run.driver_sleeps = false;
	else
		assert_false(run.driver_sleeps && run.flushed != run.pushed);
	run.flushed = run.pushed;
}

static void
reap_all(void)
{
	uint32_t id, len;

	run.driver_sleeps = false;
	while (reap(&id, &len)) {
		const struct sent *s = nth(run.reaped);
		uint32_t i, b, at = 0;

		assert_true(run.reaped < run.flushed);
		assert_int_equal(id, s->id);
		assert_int_equal(len, s->written);
		for (i = 0; i < s->parts; i++)
			for (b = 0; (s->part[i].flags & D_WRITE) != 0 &&
				    b < s->part[i].len;
			     b++, at++)
				assert_int_equal(
				    *(uint8_t *)gpa(s->part[i].addr + b),
				    byte_of(run.reaped, at, true));
		run.reaped++;
	}
	assert_int_equal(run.reaped, run.flushed);
}

/* The back-end goes and comes: what it did not flush comes again. Its
 * front-end may have asked where it was, or not. */
static void
restart(void)
{
	flush();
	vm.config.base = virtq_stop(&vm.q);
	if (dice(2) == 0)
		vm.config.told = vm.config.base;
	run.device_sleeps = false;
	assert_int_equal(virtq_start(&vm.q, &vm.memory, &vm.config), 0);
}

static uint64_t *
used_word(uint32_t i)
{
	return (uint64_t *)gpa(desc_at(vm.mark.used[i].at)) + 1;
}

/* Killed while it writes a batch into the ring: after none or some of it, but
 * not its first. All of it is in the mark. */
static void
die_in_flush(void)
{
	uint64_t before[VIRTQ_BATCH];
	uint32_t i, count = vm.q.batch, written = 1 + dice(count);

	for (i = 0; i < count; i++)
		before[i] = *used_word(i);
	(void)virtq_flush(&vm.q);
	*used_word(0) = before[0];
	for (i = written; i < count; i++)
		*used_word(i) = before[i];
}

/* As after a driver's start: is nothing there that was used with counter 1? */
static bool
ring_is_new(void)
{
	uint32_t i;

	for (i = 0; i < vm.size; i++)
		if ((get16(desc_at(i) + 14) & D_USED) != 0)
			return false;
	return true;
}

/*
 * It is killed, and nobody knows where it was: the front-end says what it said
 * before. The driver goes on meanwhile.
 */
static void
die(void)
{
	bool interrupted = vm.config.packed && vm.q.batch > 0 && dice(2) == 0;
	bool completes = interrupted, is_new;
	uint32_t to;

	if (interrupted)
		die_in_flush();
	to = virtq_base(&vm.q);
	memset(&vm.q, 0xa5, sizeof vm.q);
	if (dice(2) == 0)
		offer_random();
	vm.config.base = vm.config.told;
	is_new = vm.config.packed && ring_is_new();
	run.device_sleeps = run.driver_sleeps = false;
	assert_int_equal(virtq_start(&vm.q, &vm.memory, &vm.config), 0);
	/* Where none was used, the first ones are done once more. */
	completes = completes && virtq_base(&vm.q) == to;
	assert_true(completes || !interrupted || is_new);
	if (completes)
		run.flushed = run.pushed;
	else
		run.popped = run.pushed = run.flushed;
}

static void
step(void)
{
	switch (dice(9)) {
	case 0:
	case 1:
	case 2:
		offer_random();
		break;
	case 3:
		serve();
		break;
	case 4:
		flush();
		break;
	case 5:
		reap_all();
		break;
	case 6:
		reap_all();
		driver_arm();
		run.driver_sleeps = true;
		break;
	case 7:
		run.device_sleeps = !virtq_arm(&vm.q);
		assert_int_equal(run.device_sleeps, run.popped == run.offered);
		break;
	default:
		if (dice(50) == 0)
			restart();
		else if (dice(20) == 0)
			die();
		break;
	}
	/* Who sleeps has nothing to do, or was told. */
	assert_false(run.device_sleeps && run.popped != run.offered);
	assert_false(run.driver_sleeps && run.reaped != run.flushed);
}

static void
run_kind(unsigned how, uint32_t size, uint32_t place)
{
	uint32_t i;

	memset(&run, 0, sizeof run);
	run.bump = GPA_LOW + dice(MIB);
	/* What is offered at once must fit between two turns of `room`. */
	run.limit = dice(2) == 0 ? 100 : 1500;
	both_start(size, how, place);
	for (i = 0; i < STEPS; i++)
		step();
	for (i = 0; i < 1000 && run.reaped != run.offered; i++) {
		serve();
		flush();
		reap_all();
	}
	assert_int_equal(run.reaped, run.offered);
	assert_int_equal(vm.free, vm.size);
	assert_true(run.offered > 20 * size);
	assert_true(!vm.config.indirect || run.tables > 0);
	/* In a run with much memory, all of it comes. */
	assert_true(size < 60 || run.returned > 0);
	assert_true(size < 60 || run.limit == 100 || run.seams > 0);
}

static void
test_nothing_is_lost_in_split_rings(void **state)
{
	(void)state;
	run_kind(SPLIT, 64, 65500);
	run_kind(SPLIT | EVENT, 16, 0);
	run_kind(SPLIT | EVENT | INDIRECT, 64, 65530);
	run_kind(SPLIT | INDIRECT, 2, 32760);
}

static void
test_nothing_is_lost_in_packed_rings(void **state)
{
	(void)state;
	run_kind(PACKED, 64, 0x8000);
	run_kind(PACKED | EVENT, 17, 0x8000 | 16);
	run_kind(PACKED | EVENT | INDIRECT, 61, 60);
	run_kind(PACKED | INDIRECT, 1, 0x8000);
	run_kind(PACKED | EVENT, 7, 0x8003);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_##name, vm_boot, vm_off)
	const struct CMUnitTest tests[] = {
	    T(nothing_is_lost_in_split_rings),
	    T(nothing_is_lost_in_packed_rings),
	};
	const char *given = getenv("SEED");

	seed = given ? strtoull(given, NULL, 0) : sys_mono_ns();
	print_message("SEED=%llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
