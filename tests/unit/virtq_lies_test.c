/*
 * virtq_lies_test.c - drivers that break rules: the queue is broken, nothing
 * outside of the guest's memory is touched, and no walk is longer than it may.
 */
#include "tests/unit/virtq_kit.h"

#include <errno.h>
#include <pthread.h>

#define BUF   GPA_LOW
#define TABLE (GPA_LOW + 0x8000)

static const unsigned layouts[] = {SPLIT, PACKED};
#define EACH_LAYOUT(k) for (const unsigned *k = layouts; k < layouts + 2; k++)

static void
fresh(unsigned how)
{
	both_start(8, how, 0x8000);
}

/* The last word of the driver: broken, for this reason, for good. */
static void
expect_broken(const char *why)
{
	assert_int_equal(virtq_pop(&vm.q, &vm.chain), -EPROTO);
	assert_string_equal(vm.q.why, why);
	assert_false(virtq_running(&vm.q));
	assert_int_equal(virtq_pop(&vm.q, &vm.chain), -EPROTO);
	assert_false(virtq_arm(&vm.q));
	/* A start heals, and one driver's lies are not another's. */
	fresh(vm.config.packed ? PACKED : SPLIT);
	(void)offer(&(struct part){BUF, 60, 0}, 1);
	assert_int_equal(virtq_pop(&vm.q, &vm.chain), 1);
}

static void
test_avail_index_may_not_jump(void **state)
{
	static const uint32_t jumps[] = {9, 100, 32768, 65535};
	uint32_t i;

	(void)state;
	for (i = 0; i < 4; i++) {
		fresh(SPLIT);
		put16(GPA_RINGS + AT_AVAIL + 2, 0x8000 + jumps[i]);
		expect_broken("the avail index jumped");
	}
	/* Nor over what was not given back. */
	fresh(SPLIT);
	for (i = 0; i < 8; i++)
		(void)offer(&(struct part){BUF, 60, 0}, 1);
	assert_int_equal(virtq_pop(&vm.q, &vm.chain), 1);
	virtq_push(&vm.q, vm.chain.id, 1, 0); /* but not flushed */
	for (i = 0; i < 7; i++)
		assert_int_equal(virtq_pop(&vm.q, &vm.chain), 1);
	put16(GPA_RINGS + AT_AVAIL + 2, 0x8000 + 9);
	expect_broken("the avail index jumped");
}

static void
test_avail_index_may_not_go_back(void **state)
{
	(void)state;
	fresh(SPLIT);
	(void)offer(&(struct part){BUF, 60, 0}, 1);
	(void)offer(&(struct part){BUF, 60, 0}, 1);
	assert_int_equal(virtq_pop(&vm.q, &vm.chain), 1);
	assert_int_equal(virtq_pop(&vm.q, &vm.chain), 1);
	put16(GPA_RINGS + AT_AVAIL + 2, 0x8001);
	expect_broken("the avail index jumped");
}

static void
test_head_and_next_stay_in_the_table(void **state)
{
	static const uint32_t out[] = {8, 9, 4096, 65535};
	struct part p[] = {{BUF, 60, 0}, {BUF, 60, 0}};
	uint32_t i;

	(void)state;
	for (i = 0; i < 4; i++) {
		fresh(SPLIT);
		(void)offer(p, 1);
		put16(GPA_RINGS + AT_AVAIL + 4, out[i]);
		expect_broken("a head outside of the table");
		fresh(SPLIT);
		(void)offer(p, 2);
		put_desc(desc_at(0), BUF, 60, D_NEXT, out[i]);
		expect_broken("a next outside of the table");
		fresh(SPLIT | INDIRECT);
		(void)offer(&(struct part){TABLE, 8 * 16, D_INDIRECT}, 1);
		put_desc(TABLE, BUF, 60, D_NEXT, out[i]);
		expect_broken("a next outside of the table");
	}
}

static void
test_loops_end(void **state)
{
	struct part p[] = {{BUF, 60, 0}, {BUF, 60, 0}};
	uint32_t i;

	(void)state;
	fresh(SPLIT);
	(void)offer(p, 1);
	put_desc(desc_at(0), BUF, 60, D_NEXT, 0);
	expect_broken("a chain that does not end");
	fresh(SPLIT);
	(void)offer(p, 2);
	put_desc(desc_at(1), BUF, 60, D_NEXT, 0);
	expect_broken("a chain that does not end");
	fresh(SPLIT | INDIRECT);
	(void)offer(&(struct part){TABLE, 32, D_INDIRECT}, 1);
	put_desc(TABLE, BUF, 60, D_NEXT, 1);
	put_desc(TABLE + 16, BUF, 60, D_NEXT, 0);
	expect_broken("a chain that does not end");
	/* A packed ring that is one chain without an end. */
	fresh(PACKED);
	for (i = 0; i < 8; i++)
		put_desc(desc_at(i), BUF, 60, D_NEXT | D_AVAIL, i);
	expect_broken("a chain that does not end");
	/* Or one that bites what is not given back. */
	fresh(PACKED);
	(void)offer(p, 1);
	assert_int_equal(virtq_pop(&vm.q, &vm.chain), 1);
	for (i = 1; i < 8; i++)
		put_desc(desc_at(i), BUF, 60, D_NEXT | D_AVAIL, i);
	put_desc(desc_at(0), BUF, 60, 0, 0);
	expect_broken("a chain that does not end");
}

/* The longest chain that is legal, and the least that is not. */
static void
test_chains_have_a_longest(void **state)
{
	struct part p[8];
	uint32_t i;

	(void)state;
	for (i = 0; i < 8; i++)
		p[i] = (struct part){BUF, 1, 0};
	EACH_LAYOUT(k)
	{
		fresh(*k);
		(void)offer(p, 8);
		assert_int_equal(virtq_pop(&vm.q, &vm.chain), 1);
		assert_int_equal(vm.chain.out_count, 8);
		for (i = VIRTQ_SEGMENTS_MAX; i < VIRTQ_SEGMENTS_MAX + 2; i++) {
			uint32_t n;

			fresh(*k | INDIRECT);
			for (n = 0; n < i; n++)
				put_desc(TABLE + 16 * n, BUF, 1,
				    n + 1 < i ? D_NEXT : 0, n + 1);
			(void)offer(
			    &(struct part){TABLE, 16 * i, D_INDIRECT}, 1);
			if (i > VIRTQ_SEGMENTS_MAX)
				break;
			assert_int_equal(virtq_pop(&vm.q, &vm.chain), 1);
			assert_int_equal(
			    vm.chain.out_count, VIRTQ_SEGMENTS_MAX);
		}
		expect_broken("too many buffers in a chain");
		/* The last one is cut at the seam: one too many, too. */
		fresh(*k | INDIRECT);
		for (i = 0; i < VIRTQ_SEGMENTS_MAX; i++)
			put_desc(TABLE + 16 * i, GPA_SEAM - 1, i == 255 ? 2 : 1,
			    i < 255 ? D_NEXT : 0, i + 1);
		(void)offer(
		    &(struct part){TABLE, 16 * VIRTQ_SEGMENTS_MAX, D_INDIRECT},
		    1);
		expect_broken("too many buffers in a chain");
	}
}

static void
test_tables_are_judged(void **state)
{
	static const uint32_t lens[] = {
	    0, 1, 15, 17, 16 * 32768 + 16, 0xfffffff0, 0xffffffff};
	static const uint64_t wheres[] = {GPA_END, GPA_END - 15, 0, UINT64_MAX,
	    UINT64_MAX - 15, UINT64_MAX - 16, GPA_LOW - 1};
	uint32_t i;

	(void)state;
	EACH_LAYOUT(k)
	{
		fresh(*k); /* not negotiated */
		(void)offer(&(struct part){TABLE, 16, D_INDIRECT}, 1);
		expect_broken("an indirect table, not negotiated");
		for (i = 0; i < sizeof lens / sizeof lens[0]; i++) {
			fresh(*k | INDIRECT);
			put_desc(TABLE, BUF, 60, 0, 0);
			(void)offer(
			    &(struct part){TABLE, lens[i], D_INDIRECT}, 1);
			expect_broken("an indirect table of impossible length");
		}
		for (i = 0; i < sizeof wheres / sizeof wheres[0]; i++) {
			fresh(*k | INDIRECT);
			(void)offer(
			    &(struct part){wheres[i], 16, D_INDIRECT}, 1);
			expect_broken("an indirect table outside of memory");
		}
		/* A table in itself. */
		fresh(*k | INDIRECT);
		put_desc(TABLE, TABLE, 16, D_INDIRECT, 0);
		(void)offer(&(struct part){TABLE, 16, D_INDIRECT}, 1);
		expect_broken("a table in a table");
		fresh(*k | INDIRECT);
		put_desc(TABLE, BUF, 60, D_NEXT, 1);
		put_desc(TABLE + 16, TABLE, 32, D_INDIRECT, 0);
		(void)offer(&(struct part){TABLE, 32, D_INDIRECT}, 1);
		expect_broken("a table in a table");
	}
	fresh(SPLIT | INDIRECT);
	put_desc(TABLE, BUF, 60, 0, 0);
	(void)offer(&(struct part){TABLE, 16, D_INDIRECT | D_NEXT}, 1);
	expect_broken("INDIRECT together with NEXT");
}

/* A table that ends outside, of which only the inside is walked, is fine. */
static void
test_tables_are_looked_at_as_far_as_they_are_walked(void **state)
{
	(void)state;
	fresh(SPLIT | INDIRECT);
	put_desc(GPA_END - 16, BUF, 60, 0, 0);
	(void)offer(&(struct part){GPA_END - 16, 64, D_INDIRECT}, 1);
	assert_int_equal(virtq_pop(&vm.q, &vm.chain), 1);
	fresh(PACKED | INDIRECT);
	put_desc(GPA_END - 16, BUF, 60, 0, 0);
	(void)offer(&(struct part){GPA_END - 16, 64, D_INDIRECT}, 1);
	expect_broken("an indirect table outside of memory");
}

static void
test_buffers_lie_in_memory(void **state)
{
	static const struct part bad[] = {
	    {GPA_END, 1, 0},
	    {GPA_END - 1, 2, 0},
	    {GPA_LOW - 1, 10, D_WRITE},
	    {GPA_LOW, 2 * MIB + 1, 0},
	    {GPA_LOW, 0xffffffff, D_WRITE},
	    {0, 1, 0},
	    {UINT64_MAX, 1, 0},
	    {UINT64_MAX, 0xffffffff, 0},
	    {UINT64_MAX - 0xfffffffe, 0xffffffff, D_WRITE},
	    {UVA_RINGS, 1, 0}, /* the wrong address space */
	    {(uint64_t)GPA_LOW << 32, 1, 0},
	};
	uint32_t i;

	(void)state;
	EACH_LAYOUT(k) for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
	{
		fresh(*k);
		(void)offer(&bad[i], 1);
		expect_broken("a buffer outside of memory");
		fresh(*k | INDIRECT);
		put_desc(TABLE, bad[i].addr, bad[i].len, bad[i].flags, 0);
		(void)offer(&(struct part){TABLE, 16, D_INDIRECT}, 1);
		expect_broken("a buffer outside of memory");
	}
}

static void
test_lengths_are_summed_in_64_bits(void **state)
{
	struct guest_grant big = {
	    UINT64_C(1) << 40, UINT64_C(5) << 30, UINT64_C(1) << 41, 0};
	struct part p[8];
	struct err err;
	uint32_t i;
	int fd = memfd_create("big", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(ftruncate(fd, (off_t)big.size), 0);
	assert_int_equal(guest_memory_add(&vm.memory, &big, fd, &err), 0);
	for (i = 0; i < 8; i++)
		p[i] =
		    (struct part){big.gpa + i, 0xffffffff, i < 4 ? 0 : D_WRITE};
	EACH_LAYOUT(k)
	{
		fresh(*k);
		(void)offer(p, 8);
		assert_int_equal(virtq_pop(&vm.q, &vm.chain), 1);
		assert_true(vm.chain.out_bytes == 4 * UINT64_C(0xffffffff));
		assert_true(vm.chain.in_bytes == 4 * UINT64_C(0xffffffff));
	}
}

static void
test_empty_buffers_and_wrong_order_are_refused(void **state)
{
	struct part empty[] = {{BUF, 60, 0}, {BUF, 0, 0}};
	struct part order[] = {{BUF, 60, 0}, {BUF, 60, D_WRITE}, {BUF, 60, 0}};
	struct part seam[] = {{BUF, 60, D_WRITE}, {GPA_SEAM - 1, 2, 0}};

	(void)state;
	EACH_LAYOUT(k)
	{
		fresh(*k);
		(void)offer(empty, 2);
		expect_broken("a buffer of no length");
		fresh(*k);
		(void)offer(empty + 1, 1);
		expect_broken("a buffer of no length");
		fresh(*k);
		(void)offer(order, 3);
		expect_broken("a readable buffer behind a writable one");
		fresh(*k);
		(void)offer(seam, 2);
		expect_broken("a readable buffer behind a writable one");
	}
}

/* A ring that says "available" for ever. */
static void
test_packed_driver_cannot_offer_what_it_did_not_get_back(void **state)
{
	uint32_t i;

	(void)state;
	fresh(PACKED);
	for (i = 0; i < 8; i++)
		(void)offer(&(struct part){BUF, 60, 0}, 1);
	for (i = 0; i < 8; i++)
		assert_int_equal(virtq_pop(&vm.q, &vm.chain), 1);
	for (i = 0; i < 8; i++)
		put_desc(desc_at(i), BUF, 60, D_USED, i);
	assert_int_equal(virtq_pop(&vm.q, &vm.chain), 0);
	assert_false(virtq_arm(&vm.q));
	virtq_push(&vm.q, vm.chain.id, 1, 0);
	assert_int_equal(virtq_pop(&vm.q, &vm.chain), 0);
	(void)virtq_flush(&vm.q);
	/* Once it is flushed, its place is the driver's. */
	put_desc(desc_at(0), BUF, 60, D_USED, 0);
	assert_int_equal(virtq_pop(&vm.q, &vm.chain), 1);
}

/* What was popped before the lie can still go back. */
static void
test_a_broken_queue_takes_back_what_it_gave(void **state)
{
	uint32_t id, len;

	(void)state;
	EACH_LAYOUT(k)
	{
		fresh(*k);
		(void)offer(&(struct part){BUF, 60, 0}, 1);
		(void)offer(&(struct part){BUF, 0, 0}, 1);
		assert_int_equal(virtq_pop(&vm.q, &vm.chain), 1);
		assert_int_equal(virtq_pop(&vm.q, &vm.chain), -EPROTO);
		virtq_push(&vm.q, 0, 1, 0);
		assert_true(virtq_flush(&vm.q));
		assert_true(reap(&id, &len));
		assert_int_equal(id, 0);
	}
}

/* Wrong in one thing: `field` is set to `split` or `packed`. */
static const struct wrong {
	size_t field; /* offset of a u64 in the configuration, or 0: size */
	uint64_t split, packed;
} wrongs[] = {
#define RINGS_END (UVA_RINGS + RINGS_SIZE)
#define F(name)   offsetof(struct virtq_config, name)
    {0, 0, 0},
    {0, 100, VIRTQ_SIZE_MAX + 1},
    {0, VIRTQ_SIZE_MAX * 2, 0x80000008},
    {F(desc), UVA_RINGS + 8, UVA_RINGS + 8},
    {F(avail), UVA_RINGS + AT_AVAIL + 1, UVA_RINGS + AT_AVAIL + 2},
    {F(used), UVA_RINGS + AT_USED + 2, UVA_RINGS + AT_USED + 2},
    /* Beyond the end; one entry less without the event. */
    {F(desc), RINGS_END - 7 * 16, RINGS_END - 7 * 16},
    {F(avail), RINGS_END - 20, RINGS_END},
    {F(used), RINGS_END - 68, RINGS_END},
    {F(desc), UINT64_MAX - 15, UINT64_MAX - 15},
    {F(used), UINT64_MAX - 3, UINT64_MAX - 3},
    {F(avail), 0, 0},
    /* The guest's addresses. */
    {F(used), GPA_RINGS, GPA_RINGS},
    {F(desc), GPA_LOW, GPA_LOW},
    /* Over the seam of two regions. */
    {F(desc), 0x7fff00000000 + MIB - 64, 0x7fff00000000 + MIB - 64},
};

static void
test_impossible_queues_do_not_start(void **state)
{
	uint32_t i;

	(void)state;
	EACH_LAYOUT(k) for (i = 0; i < sizeof wrongs / sizeof wrongs[0]; i++)
	{
		const struct wrong *w = &wrongs[i];
		uint64_t value = *k == PACKED ? w->packed : w->split;

		driver_start(8, *k | EVENT, 0);
		if (w->field == 0)
			vm.config.size = (uint32_t)value;
		else
			memcpy((uint8_t *)&vm.config + w->field, &value, 8);
		memset(&vm.q, 0x55, sizeof vm.q);
		assert_int_equal(
		    virtq_start(&vm.q, &vm.memory, &vm.config), -EINVAL);
		assert_false(virtq_running(&vm.q));
		assert_int_equal(virtq_pop(&vm.q, &vm.chain), 0);
		assert_false(virtq_flush(&vm.q));
		assert_false(virtq_arm(&vm.q));
		assert_int_equal(virtq_stop(&vm.q), 0);
	}
	/* To the last byte. */
	driver_start(8, SPLIT, 0);
	vm.config.avail = RINGS_END - 20;
	assert_int_equal(virtq_start(&vm.q, &vm.memory, &vm.config), 0);
	vm.config.used = RINGS_END - 68;
	vm.config.avail = UVA_RINGS + AT_AVAIL;
	assert_int_equal(virtq_start(&vm.q, &vm.memory, &vm.config), 0);
}

/* --- memory that changes while it is looked at ---------------------------- */

static struct {
	int done;
	uint32_t turns;
} flipper;

/* Flips a descriptor between two legal shapes, whose mixtures are not. */
static void *
flip(void *unused)
{
	static const uint64_t word[2][2] = {{GPA_LOW, 16}, {GPA_END - 8, 8}};
	uint64_t *desc = gpa(TABLE);
	uint32_t i;

	for (i = 0; !__atomic_load_n(&flipper.done, __ATOMIC_RELAXED); i++) {
		__atomic_store_n(&desc[0], word[i & 1][0], __ATOMIC_RELAXED);
		__atomic_store_n(&desc[1], word[i & 1][1], __ATOMIC_RELAXED);
		__atomic_store_n(&flipper.turns, i, __ATOMIC_RELEASE);
	}
	return unused;
}

/* Offer and take a full ring; returns how many chains were good. */
static uint32_t
take_turn(void)
{
	const struct virtq_segment *s = vm.chain.segment;
	const uint8_t *low = vm.memory.region[0].host;
	const uint8_t *high = vm.memory.region[1].host;
	uint32_t i;

	fresh(SPLIT | INDIRECT);
	for (i = 0; i < 8; i++) {
		(void)offer(&(struct part){TABLE, 16, D_INDIRECT}, 1);
		if (virtq_pop(&vm.q, &vm.chain) != 1) {
			assert_string_equal(
			    vm.q.why, "a buffer outside of memory");
			break;
		}
		assert_true((s->base == low && s->len <= 16) ||
			    (s->base == high + MIB - 8 && s->len == 8));
		assert_int_equal(vm.chain.out_bytes, s->len);
	}
	return i;
}

static void
test_what_is_handed_out_was_checked(void **state)
{
	uint64_t deadline = sys_mono_ns() + UINT64_C(20000000000);
	uint32_t turn, good = 0;
	pthread_t thread;

	(void)state;
	memset(&flipper, 0, sizeof flipper);
	assert_int_equal(pthread_create(&thread, NULL, flip, NULL), 0);
	while (__atomic_load_n(&flipper.turns, __ATOMIC_ACQUIRE) == 0)
		;
	/* The other may be off its processor in the middle of a mixture. */
	for (turn = 0; turn < 20000 || good == 0; turn++) {
		good += take_turn();
		assert_true(sys_mono_ns() < deadline);
	}
	__atomic_store_n(&flipper.done, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_int_not_equal(good, 0);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_##name, vm_boot, vm_off)
	const struct CMUnitTest tests[] = {
	    T(avail_index_may_not_jump),
	    T(avail_index_may_not_go_back),
	    T(head_and_next_stay_in_the_table),
	    T(loops_end),
	    T(chains_have_a_longest),
	    T(tables_are_judged),
	    T(tables_are_looked_at_as_far_as_they_are_walked),
	    T(buffers_lie_in_memory),
	    T(lengths_are_summed_in_64_bits),
	    T(empty_buffers_and_wrong_order_are_refused),
	    T(packed_driver_cannot_offer_what_it_did_not_get_back),
	    T(a_broken_queue_takes_back_what_it_gave),
	    T(impossible_queues_do_not_start),
	    T(what_is_handed_out_was_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
