/*
 * virtq_test.c - what both layouts of a virtqueue promise to honest drivers.
 */
#include "tests/unit/virtq_kit.h"

#include <errno.h>

#define BUF GPA_LOW

static void
pop_one(uint32_t id, uint32_t out, uint32_t in)
{
	assert_int_equal(virtq_pop(&vm.q, &vm.chain), 1);
	assert_int_equal(vm.chain.id, id);
	assert_int_equal(vm.chain.out_bytes, out);
	assert_int_equal(vm.chain.in_bytes, in);
}

static void
push_popped(uint32_t written)
{
	virtq_push(&vm.q, vm.chain.id, vm.chain.slots, written);
}

static void
reap_one(uint32_t id, uint32_t len)
{
	uint32_t got_id = 0, got_len = 0;

	assert_true(reap(&got_id, &got_len));
	assert_int_equal(got_id, id);
	assert_int_equal(got_len, len);
}

static void
reap_none(void)
{
	uint32_t id, len;

	assert_false(reap(&id, &len));
}

/* Each test below runs for all of these. */
static const unsigned kinds[] = {
    SPLIT,
    PACKED,
    SPLIT | EVENT,
    PACKED | EVENT,
    SPLIT | EVENT | INDIRECT,
    PACKED | EVENT | INDIRECT,
};
#define EACH_KIND(k)                                                           \
	for (const unsigned *k = kinds; k < kinds + sizeof kinds / sizeof *k;  \
	     k++)

static void
test_chains_come_whole_and_go_back(void **state)
{
	struct part p[] = {
	    {BUF, 12, 0},
	    {BUF + 0x1000, 100, 0},
	    {BUF + 0x2000, 2000, D_WRITE},
	};
	uint32_t a, b, c;

	(void)state;
	EACH_KIND(k)
	{
		both_start(8, *k, (*k & PACKED) != 0 ? 0x8000 : 0);
		assert_int_equal(virtq_pop(&vm.q, &vm.chain), 0);
		a = offer(p, 3);
		b = offer(p + 2, 1);
		c = offer(p, 2);
		pop_one(a, 112, 2000);
		assert_int_equal(vm.chain.out_count, 2);
		assert_int_equal(vm.chain.in_count, 1);
		assert_int_equal(vm.chain.slots, (*k & PACKED) != 0 ? 3 : 1);
		vm.chain.segment[2].base[1999] = 77;
		assert_int_equal(*(uint8_t *)gpa(BUF + 0x2000 + 1999), 77);
		assert_int_equal(vm.chain.segment[1].len, 100);
		push_popped(2000);
		pop_one(b, 0, 2000);
		push_popped(1);
		reap_none(); /* not flushed */
		assert_true(virtq_flush(&vm.q));
		reap_one(a, 2000);
		reap_one(b, 1);
		reap_none();
		pop_one(c, 112, 0);
		assert_int_equal(virtq_pop(&vm.q, &vm.chain), 0);
		push_popped(0);
		(void)virtq_flush(&vm.q);
		reap_one(c, 0);
		reap_none();
		assert_int_equal(vm.free, 8);
	}
}

static void
test_buffers_over_a_seam_are_split(void **state)
{
	struct part p = {GPA_SEAM - 10, 30, D_WRITE};

	(void)state;
	EACH_KIND(k)
	{
		both_start(4, *k, 0);
		(void)offer(&p, 1);
		pop_one(0, 0, 30);
		assert_int_equal(vm.chain.in_count, 2);
		assert_int_equal(vm.chain.segment[0].len, 10);
		assert_int_equal(vm.chain.segment[1].len, 20);
		memset(vm.chain.segment[0].base, 1, 10);
		memset(vm.chain.segment[1].base, 2, 20);
		assert_int_equal(*(uint8_t *)gpa(GPA_SEAM - 1), 1);
		assert_int_equal(*(uint8_t *)gpa(GPA_SEAM), 2);
		assert_int_equal(*(uint8_t *)gpa(GPA_SEAM + 19), 2);
	}
}

/* A table of 20 with its fourth descriptor in two regions; split: entered
 * behind a plain descriptor, and linked backwards. */
static void
test_tables_may_lie_anywhere(void **state)
{
	uint64_t table = GPA_SEAM - 3 * 16 - 5;
	struct part p[] = {{BUF, 12, 0}, {table, 20 * 16, D_INDIRECT}};
	bool packed;
	uint32_t i, at;

	(void)state;
	for (i = 0; i < 2; i++) {
		packed = i == 1;
		both_start(4, (packed ? PACKED : SPLIT) | INDIRECT,
		    packed ? 0x8000 : 0);
		for (at = 0; at < 20; at++) {
			uint32_t n = packed || at == 0 ? at : 20 - at;

			put_desc(table + 16 * n, BUF + 0x1000 * (at + 1),
			    100 + at,
			    (at < 19 ? D_NEXT : 0) | (at > 15 ? D_WRITE : 0),
			    packed ? 0 : 19 - at);
		}
		(void)offer(p, 2);
		assert_int_equal(virtq_pop(&vm.q, &vm.chain), 1);
		assert_int_equal(vm.chain.out_count, 17);
		assert_int_equal(vm.chain.in_count, 4);
		for (at = 0; at < 20; at++) {
			assert_int_equal(
			    vm.chain.segment[at + 1].len, 100 + at);
			vm.chain.segment[at + 1].base[0] = (uint8_t)at;
			assert_int_equal(
			    *(uint8_t *)gpa(BUF + 0x1000 * (at + 1)), at);
		}
		push_popped(5);
		assert_true(virtq_flush(&vm.q));
		reap_one(0, 5);
	}
}

/* --- notifications ---------------------------------------------------------
 */

static const struct row {
	uint32_t size, how, old, count, event;
	bool notify;
} table_of_7[] = {
    {256, SPLIT, 10, 3, 11, true},
    {256, SPLIT, 10, 3, 13, false},
    {256, SPLIT, 10, 3, 9, false},
    {256, SPLIT, 10, 3, 10, true},
    {256, SPLIT, 65534, 4, 65535, true},
    {256, SPLIT, 65534, 4, 2, false},
    /* packed: `old` and `event` with their wrap counters */
    {256, PACKED, 248 | 0x8000, 4, 250 | 0x8000, true},
    {256, PACKED, 248 | 0x8000, 12, 2, true},
    {256, PACKED, 248 | 0x8000, 12, 250 | 0x8000, true},
    {256, PACKED, 248 | 0x8000, 12, 246 | 0x8000, false},
    {256, PACKED, 248 | 0x8000, 12, 4, false},
    {256, PACKED, 248 | 0x8000, 8, 255 | 0x8000, true},
    {256, PACKED, 248 | 0x8000, 8, 0, false},
    {256, PACKED, 248, 12, 3 | 0x8000, true},
    {7, PACKED, 5 | 0x8000, 7, 4, true},
    {7, PACKED, 5 | 0x8000, 7, 5, false},
    {7, PACKED, 5, 3, 6, true},
};

static void
test_interrupts_come_when_the_event_is_passed(void **state)
{
	struct part p = {BUF, 64, 0};
	uint32_t i, n;

	(void)state;
	for (i = 0; i < sizeof table_of_7 / sizeof table_of_7[0]; i++) {
		const struct row *r = &table_of_7[i];

		/* One before: the first is always told. */
		both_start(r->size, r->how | EVENT,
		    (r->old & 0x8000) | (((r->old & 0x7fff) - 1) & 0x7fff));
		if (r->how == SPLIT)
			both_start(
			    r->size, r->how | EVENT, (r->old - 1) & 0xffff);
		(void)offer(&p, 1);
		assert_int_equal(virtq_pop(&vm.q, &vm.chain), 1);
		push_popped(0);
		assert_true(virtq_flush(&vm.q));
		assert_true(reap(&n, &n));
		if (r->how == SPLIT)
			put16(GPA_RINGS + AT_AVAIL + 4 + 2 * r->size, r->event);
		else
			put32(GPA_RINGS + AT_AVAIL, r->event | 2u << 16);
		for (n = 0; n < r->count; n++) {
			(void)offer(&p, 1);
			assert_int_equal(virtq_pop(&vm.q, &vm.chain), 1);
			push_popped(0);
		}
		assert_int_equal(virtq_flush(&vm.q), r->notify);
		assert_false(virtq_flush(&vm.q)); /* nothing is new */
	}
}

static void
test_interrupts_obey_flags_but_for_the_first(void **state)
{
	struct part p = {BUF, 64, 0};
	uint32_t turn, id, len;

	(void)state;
	EACH_KIND(k)
	{
		both_start(8, *k, 0x8000);
		assert_false(virtq_flush(&vm.q));
		for (turn = 0; turn < 20; turn++) {
			bool wanted = turn % 3 == 0;

			if (wanted)
				driver_arm();
			else
				driver_disarm();
			(void)offer(&p, 1);
			assert_int_equal(virtq_pop(&vm.q, &vm.chain), 1);
			push_popped(0);
			/* With event-idx an old event is "no". */
			assert_int_equal(
			    virtq_flush(&vm.q), wanted || turn == 0);
			assert_true(reap(&id, &len));
		}
		/* Flags that mean nothing, or "event" without the feature. */
		if (*k == PACKED) {
			put32(GPA_RINGS + AT_AVAIL, 2u << 16 | 0x7fff);
			(void)offer(&p, 1);
			assert_int_equal(virtq_pop(&vm.q, &vm.chain), 1);
			push_popped(0);
			assert_true(virtq_flush(&vm.q));
		}
	}
}

static void
test_arm_asks_for_kicks_and_looks_again(void **state)
{
	struct part p = {BUF, 64, 0};
	uint32_t turn, id, len;

	(void)state;
	EACH_KIND(k)
	{
		both_start(4, *k, 0x8000);
		(void)offer(&p, 1);
		assert_true(kick_due()); /* a start arms */
		assert_true(virtq_arm(&vm.q));
		for (turn = 0; turn < 70000; turn++) {
			assert_int_equal(virtq_pop(&vm.q, &vm.chain), 1);
			assert_int_equal(virtq_pop(&vm.q, &vm.chain), 0);
			push_popped(0);
			virtq_disarm(&vm.q);
			(void)virtq_flush(&vm.q);
			assert_true(reap(&id, &len));
			if (turn % 5 == 0) {
				(void)offer(&p, 1);
				assert_false(kick_due());
				assert_true(virtq_arm(&vm.q));
				continue;
			}
			assert_false(virtq_arm(&vm.q));
			(void)offer(&p, 1);
			assert_true(kick_due());
		}
	}
}

/* --- places ----------------------------------------------------------------
 */

/* A place for `turn` of a ring of `size`. */
static uint32_t
place_at(uint32_t size, unsigned kind, uint32_t turn)
{
	static const uint32_t split[] = {
	    0, 1, 5, 255, 256, 32767, 32768, 65535};

	if ((kind & PACKED) == 0)
		return split[turn];
	return (turn * 37 % size) | (turn % 2) << 15;
}

static void
test_queues_start_and_stop_anywhere(void **state)
{
	struct part p[] = {{BUF, 64, 0}, {BUF + 4096, 64, D_WRITE}};
	uint32_t turn, a, b, c, base, want;

	(void)state;
	EACH_KIND(k) for (turn = 0; turn < 8; turn++)
	{
		driver_start(8, *k, place_at(8, *k, turn));
		/* It did not wait for us. */
		a = offer(p, 2);
		b = offer(p, 2);
		c = offer(p, 1);
		assert_int_equal(virtq_start(&vm.q, &vm.memory, &vm.config), 0);
		base = virtq_base(&vm.q);
		assert_int_equal(base & 0xffff, place_at(8, *k, turn));
		pop_one(a, 64, 64);
		push_popped(3);
		(void)virtq_flush(&vm.q);
		pop_one(b, 64, 64);
		/* b was not pushed, so it is not counted. */
		want = (vm.config.packed ? vm.used + 2u : vm.used + 1u);
		base = virtq_stop(&vm.q);
		assert_false(virtq_running(&vm.q));
		assert_int_equal(virtq_pop(&vm.q, &vm.chain), 0);
		assert_int_equal(
		    base & 0x7fff, vm.config.packed ? want % 8 : want & 0x7fff);
		reap_one(a, 3);
		if (vm.config.packed) {
			assert_int_equal(base >> 16, base & 0xffff);
			assert_int_equal(base >> 15 & 1, vm.used_wrap);
		}
		vm.config.base = turn % 2 ? base : base & 0xffff;
		if (!vm.config.packed && turn > 3)
			vm.config.base = 12345; /* the ring knows better */
		if (vm.config.base == 0 && vm.config.packed)
			vm.config.base = base;
		assert_int_equal(virtq_start(&vm.q, &vm.memory, &vm.config), 0);
		assert_int_equal(virtq_base(&vm.q), base);
		pop_one(b, 64, 64);
		push_popped(64);
		pop_one(c, 64, 0);
		push_popped(0);
		assert_true(virtq_flush(&vm.q)); /* first after a start */
		reap_one(b, 64);
		reap_one(c, 0);
		reap_none();
	}
}

static void
test_base_counts_when_the_used_index_is_impossible(void **state)
{
	struct part p = {BUF, 64, 0};
	uint32_t id;

	(void)state;
	driver_start(8, SPLIT, 40000);
	put16(GPA_RINGS + AT_USED + 2, 0); /* nobody wrote it */
	id = offer(&p, 1);
	assert_int_equal(virtq_start(&vm.q, &vm.memory, &vm.config), 0);
	pop_one(id, 64, 0);
	push_popped(0);
	assert_true(virtq_flush(&vm.q));
	assert_int_equal(get16(GPA_RINGS + AT_USED + 2), 40001);
	reap_one(id, 0);
}

/* What a front-end says that has never heard of packed rings. */
static void
test_a_new_packed_ring_may_be_said_to_begin_at_0(void **state)
{
	struct part p = {BUF, 64, 0};
	uint32_t size, i, id;

	(void)state;
	for (size = 1; size <= 8; size++) {
		driver_start(size, PACKED, 0x8000);
		vm.config.base = 0;
		assert_int_equal(virtq_start(&vm.q, &vm.memory, &vm.config), 0);
		assert_int_equal(virtq_base(&vm.q), 0x80008000);
		for (i = 0; i < 3 * size; i++) {
			id = offer(&p, 1);
			pop_one(id, 64, 0);
			push_popped(0);
			(void)virtq_flush(&vm.q);
			reap_one(id, 0);
		}
		/* Also when its driver was faster than its front-end. */
		driver_start(size, PACKED, 0x8000);
		vm.config.base = 0;
		for (i = 0; i < size; i++)
			(void)offer(&p, 1);
		assert_int_equal(virtq_start(&vm.q, &vm.memory, &vm.config), 0);
		for (i = 0; i < size; i++)
			pop_one(i, 64, 0);
		assert_int_equal(virtq_pop(&vm.q, &vm.chain), 0);
	}
}

/* There 0 means what it says: the first slot, and a counter of 0. Slots of
 * long chains but the first keep the flags that they had when available. */
static void
test_a_packed_ring_that_went_round_goes_on_at_0(void **state)
{
	struct part p[8];
	uint32_t turn, slots, len, i, id, got;

	(void)state;
	for (i = 0; i < 8; i++)
		p[i] = (struct part){BUF, 64, 0};
	for (turn = 0; turn < 16; turn++) {
		slots = turn % 2 == 0 ? 8 : 24; /* one round, or three */
		len = 1 + turn / 2;
		if (slots % len != 0)
			continue;
		both_start(8, PACKED, 0x8000);
		for (i = 0; i < slots; i += len) {
			(void)offer(p, len);
			assert_int_equal(virtq_pop(&vm.q, &vm.chain), 1);
			push_popped(0);
			(void)virtq_flush(&vm.q);
			assert_true(reap(&id, &got));
		}
		assert_int_equal(virtq_stop(&vm.q), 0);
		/* The driver may have gone on, or not. */
		if (turn % 3 == 0)
			(void)offer(p, 1);
		vm.config.base = 0;
		assert_int_equal(virtq_start(&vm.q, &vm.memory, &vm.config), 0);
		assert_int_equal(virtq_base(&vm.q), 0);
		/* What is there from the last round is not offered again. */
		assert_int_equal(virtq_pop(&vm.q, &vm.chain), turn % 3 == 0);
	}
}

static void
test_any_base_is_accepted(void **state)
{
	static const uint32_t bases[] = {0, 1, 7, 8, 100, 0x7fff, 0x8000,
	    0x8007, 0xffff, 0x10000, 0x80008000, 0x80000000, 0xffffffff,
	    0x12345678};
	uint32_t i, base;

	(void)state;
	EACH_KIND(k) for (i = 0; i < sizeof bases / sizeof bases[0]; i++)
	{
		driver_start(8, *k, 0x8000);
		vm.config.base = bases[i];
		assert_int_equal(virtq_start(&vm.q, &vm.memory, &vm.config), 0);
		(void)virtq_pop(&vm.q, &vm.chain);
		base = virtq_stop(&vm.q);
		assert_true(!vm.config.packed || (base & 0x7fff) < 8);
	}
}

static void
test_chains_can_be_given_back_to_the_ring(void **state)
{
	struct part p[] = {{BUF, 10, 0}, {BUF + 64, 20, 0}, {BUF, 30, D_WRITE}};
	uint32_t turn, id[3], i, slots;

	(void)state;
	EACH_KIND(k)
	{
		both_start(7 + ((*k & PACKED) == 0), *k,
		    (*k & PACKED) ? 0x8000 : 65500);
		for (turn = 0; turn < 200; turn++) {
			for (i = 0; i < 3; i++)
				id[i] = offer(p + i % 2, 1 + (turn + i) % 2);
			for (i = 0, slots = 0; i < 3; i++) {
				assert_int_equal(
				    virtq_pop(&vm.q, &vm.chain), 1);
				assert_int_equal(vm.chain.id, id[i]);
				slots += i > 0 ? vm.chain.slots : 0;
				if (i == 0)
					push_popped(0);
			}
			virtq_unpop(&vm.q, 2, slots);
			assert_true(virtq_arm(&vm.q));
			for (i = 1; i < 3; i++) {
				assert_int_equal(
				    virtq_pop(&vm.q, &vm.chain), 1);
				assert_int_equal(vm.chain.id, id[i]);
				push_popped(i);
			}
			assert_int_equal(virtq_pop(&vm.q, &vm.chain), 0);
			(void)virtq_flush(&vm.q);
			for (i = 0; i < 3; i++)
				reap_one(id[i], i);
			reap_none();
		}
	}
}

/* Every slot in flight at once, the largest and the least queue. */
static void
test_full_rings_drain(void **state)
{
	static const uint32_t sizes[] = {1, 2, 32768, 3, 255};
	struct part p = {BUF, 64, D_WRITE};
	uint32_t s, i, turn;

	(void)state;
	EACH_KIND(k) for (s = 0; s < ((*k & PACKED) ? 5 : 3); s++)
	{
		both_start(sizes[s], *k, 0x8000);
		for (turn = 0; turn < 3; turn++) {
			for (i = 0; i < sizes[s]; i++)
				(void)offer(&p, 1);
			for (i = 0; i < sizes[s]; i++) {
				assert_int_equal(
				    virtq_pop(&vm.q, &vm.chain), 1);
				push_popped(i + 1);
				if (i == 0)
					driver_arm();
			}
			assert_int_equal(virtq_pop(&vm.q, &vm.chain), 0);
			assert_int_equal(virtq_arm(&vm.q), false);
			assert_true(virtq_flush(&vm.q));
			for (i = 0; i < sizes[s]; i++) {
				uint32_t id, len;

				assert_true(reap(&id, &len));
				assert_int_equal(len, i + 1);
			}
			reap_none();
		}
	}
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_##name, vm_boot, vm_off)
	const struct CMUnitTest tests[] = {
	    T(chains_come_whole_and_go_back),
	    T(buffers_over_a_seam_are_split),
	    T(tables_may_lie_anywhere),
	    T(interrupts_come_when_the_event_is_passed),
	    T(interrupts_obey_flags_but_for_the_first),
	    T(arm_asks_for_kicks_and_looks_again),
	    T(queues_start_and_stop_anywhere),
	    T(base_counts_when_the_used_index_is_impossible),
	    T(a_new_packed_ring_may_be_said_to_begin_at_0),
	    T(a_packed_ring_that_went_round_goes_on_at_0),
	    T(any_base_is_accepted),
	    T(chains_can_be_given_back_to_the_ring),
	    T(full_rings_drain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
