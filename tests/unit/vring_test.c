/* vring_test.c - the driver's side of a virtqueue against honest devices and
 * such as lie. */
#include "backends/backend_vring.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SIZE    16u
#define BUFFER  256u
#define BUFFERS UINT64_C(0x123456000)

/* The device: it sees the shared areas and nothing else. */
static struct device {
	uint8_t *memory;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t seen;  /* of avail.idx */
	uint16_t given; /* used.idx as it is to be */
} dev;

static struct vring_driver ring;

static void
open_ring(bool event_idx)
{
	struct vring_config c = {.size = SIZE,
	    .buffers = BUFFERS,
	    .buffer_bytes = BUFFER,
	    .event_idx = event_idx};

	free(dev.memory);
	memset(&dev, 0, sizeof dev);
	dev.memory = aligned_alloc(4096, vring_bytes(SIZE));
	assert_non_null(dev.memory);
	memset(dev.memory, 0, vring_bytes(SIZE));
	dev.desc = (void *)(dev.memory + VRING_DESC_OFFSET);
	dev.avail = (void *)(dev.memory + vring_avail_offset(SIZE));
	dev.used = (void *)(dev.memory + vring_used_offset(SIZE));
	c.memory = dev.memory;
	vring_start(&ring, &c);
}

static int
close_ring(void **state)
{
	(void)state;
	free(dev.memory);
	dev.memory = NULL;
	return 0;
}

/* A chain of `count` buffers; its head. */
static uint16_t
add(unsigned count, bool in)
{
	uint32_t lens[SIZE];
	uint16_t ids[SIZE];
	unsigned i;

	for (i = 0; i < count; i++)
		lens[i] = BUFFER - i;
	assert_int_equal(vring_take(&ring, count, ids), 0);
	vring_add(&ring, ids, lens, count, in);
	return ids[0];
}

/* The device's next chain; -1: none. */
static int
device_pop(void)
{
	uint16_t idx = __atomic_load_n(&dev.avail->idx, __ATOMIC_ACQUIRE);

	if (idx == dev.seen)
		return -1;
	return dev.avail->ring[dev.seen++ % SIZE];
}

static void
device_push(uint32_t id, uint32_t len)
{
	dev.used->ring[dev.given % SIZE].id = id;
	dev.used->ring[dev.given % SIZE].len = len;
	dev.given++;
}

static void
device_publish(void)
{
	__atomic_store_n(&dev.used->idx, dev.given, __ATOMIC_RELEASE);
}

/* Everything back, in order. */
static unsigned
device_echo(uint32_t len)
{
	unsigned n = 0;
	int id;

	while ((id = device_pop()) >= 0) {
		device_push((uint32_t)id, len);
		n++;
	}
	device_publish();
	return n;
}

/* --- honest devices ----------------------------------------------------------
 */

static void
test_the_areas_are_aligned_and_do_not_touch(void **state)
{
	uint32_t size;

	(void)state;
	for (size = 1; size <= VRING_SIZE_MAX; size *= 2) {
		assert_int_equal(vring_avail_offset(size) % 2, 0);
		assert_int_equal(vring_used_offset(size) % 4, 0);
		assert_true(vring_avail_offset(size) >= 16 * size);
		assert_true(vring_used_offset(size) >=
			    vring_avail_offset(size) + 6 + 2 * size);
		assert_true(vring_bytes(size) >=
			    vring_used_offset(size) + 6 + 8 * size);
		assert_int_equal(vring_bytes(size) % 4096, 0);
	}
}

static void
test_a_chain_is_what_the_device_sees(void **state)
{
	uint16_t at, head;
	unsigned i;

	(void)state;
	open_ring(false);
	head = add(3, false);
	assert_int_equal(device_pop(), -1); /* not published yet */
	vring_publish(&ring);
	at = (uint16_t)device_pop();
	assert_int_equal(at, head);
	for (i = 0; i < 3; i++) {
		const struct vring_desc *d = &dev.desc[at];

		assert_true(d->addr == BUFFERS + (uint64_t)at * BUFFER);
		assert_int_equal(d->len, BUFFER - i);
		assert_int_equal(d->flags, i < 2 ? VRING_DESC_F_NEXT : 0);
		at = d->next;
	}
	head = add(1, true);
	vring_publish(&ring);
	assert_int_equal(device_pop(), head);
	assert_int_equal(dev.desc[head].flags, VRING_DESC_F_WRITE);
}

static void
test_chains_come_back_in_any_order_for_ever(void **state)
{
	unsigned round, i, n;
	uint16_t heads[5];
	struct vring_done d;

	(void)state;
	open_ring(true);
	/* More than 65536 chains: every index wraps. */
	for (round = 0; round < 20000; round++) {
		for (n = 0; n < 5; n++)
			add(1 + (round + n) % 3, n % 2);
		vring_publish(&ring);
		for (i = 0; i < n; i++)
			heads[i] = (uint16_t)device_pop();
		for (i = 0; i < n; i++)
			device_push(heads[(i + round) % n], i);
		device_publish();
		for (i = 0; i < n; i++) {
			assert_int_equal(vring_peek(&ring, 0, &d), 1);
			assert_int_equal(d.id, heads[(i + round) % n]);
			assert_int_equal(d.bytes, i);
			assert_false(d.lied);
			assert_int_equal(vring_return(&ring, &d, 1), 0);
		}
		assert_int_equal(vring_peek(&ring, 0, &d), 0);
		assert_int_equal(ring.free_count, SIZE);
		assert_int_equal(ring.outstanding, 0);
	}
}

static void
test_a_full_ring_takes_no_more_and_loses_nothing(void **state)
{
	bool seen[SIZE] = {false};
	uint16_t id;
	unsigned i;

	(void)state;
	open_ring(false);
	for (i = 0; i < SIZE; i++) {
		assert_int_equal(vring_take(&ring, 1, &id), 0);
		assert_false(seen[id]);
		seen[id] = true;
		vring_add(&ring, &id, &(uint32_t){1}, 1, true);
	}
	assert_int_equal(vring_take(&ring, 1, &id), -ENOSPC);
	vring_publish(&ring);
	assert_int_equal(device_echo(1), SIZE);
	for (i = 0; i < SIZE; i++) {
		struct vring_done d;

		assert_int_equal(vring_peek(&ring, 0, &d), 1);
		assert_int_equal(vring_return(&ring, &d, 1), 0);
	}
	/* All of them, as one chain. */
	add(SIZE, false);
}

static void
test_a_peek_ahead_takes_nothing(void **state)
{
	struct vring_done d[3];
	unsigned i;

	(void)state;
	open_ring(false);
	for (i = 0; i < 3; i++)
		add(1, true);
	vring_publish(&ring);
	device_echo(7);
	for (i = 0; i < 3; i++)
		assert_int_equal(vring_peek(&ring, i, &d[i]), 1);
	assert_int_equal(vring_peek(&ring, 3, &d[0]), 0);
	assert_int_equal(vring_peek(&ring, 0, &d[0]), 1);
	assert_int_equal(ring.free_count, SIZE - 3);
	assert_int_equal(vring_return(&ring, d, 3), 0);
	assert_int_equal(ring.free_count, SIZE);
}

/* --- kicks and calls
 * ------------------------------------------------------------ */

static void
set_avail_event(uint16_t event)
{
	memcpy((uint8_t *)&dev.used->ring[SIZE], &event, sizeof event);
}

static uint16_t
used_event(void)
{
	return dev.avail->ring[SIZE];
}

static void
return_all(void)
{
	struct vring_done d;

	while (vring_peek(&ring, 0, &d) == 1)
		assert_int_equal(vring_return(&ring, &d, 1), 0);
}

static void
test_the_first_publish_kicks_whatever_the_device_says(void **state)
{
	(void)state;
	open_ring(false);
	dev.used->flags = VRING_USED_F_NO_NOTIFY;
	assert_false(vring_publish(&ring)); /* nothing was added */
	add(1, true);
	assert_true(vring_publish(&ring));
	add(1, true);
	assert_false(vring_publish(&ring));
	dev.used->flags = 0;
	add(1, true);
	assert_true(vring_publish(&ring));
}

static void
test_kicks_follow_the_event_index(void **state)
{
	/* old, new, event, kick: vhost-user.md 7, "Suppression" */
	static const struct {
		uint16_t old, new, event;
		bool kick;
	} cases[] = {
	    {10, 13, 11, true},
	    {10, 13, 13, false},
	    {10, 13, 9, false},
	    {10, 13, 10, true},
	    {65534, 2, 65535, true},
	    {65534, 2, 2, false},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint16_t n = (uint16_t)(cases[i].new - cases[i].old), k;

		open_ring(true);
		add(1, true);
		vring_publish(&ring);
		device_echo(0);
		return_all();
		/* As if so many had gone through. */
		ring.added = ring.published = cases[i].old;
		ring.taken = ring.seen = cases[i].old;
		for (k = 0; k < n; k++)
			add(1, true);
		set_avail_event(cases[i].event);
		assert_int_equal(vring_publish(&ring), cases[i].kick);
	}
}

static void
test_arm_looks_again_before_it_lets_sleep(void **state)
{
	(void)state;
	open_ring(true);
	add(1, true);
	add(1, true);
	vring_publish(&ring);
	assert_false(vring_arm(&ring, 0));
	assert_int_equal(used_event(), 0);
	/* What came between the last look and the arm is seen. */
	device_push((uint32_t)device_pop(), 0);
	device_publish();
	assert_true(vring_arm(&ring, 0));
	assert_false(vring_arm(&ring, 1));
	assert_int_equal(used_event(), 1);
	device_push((uint32_t)device_pop(), 0);
	device_publish();
	assert_true(vring_arm(&ring, 1));
	return_all();
	assert_false(vring_arm(&ring, 0));
	assert_int_equal(used_event(), 2);
}

static void
test_without_event_indices_flags_ask_for_calls(void **state)
{
	(void)state;
	open_ring(false);
	vring_disarm(&ring);
	assert_int_equal(dev.avail->flags, VRING_AVAIL_F_NO_INTERRUPT);
	assert_false(vring_arm(&ring, 0));
	assert_int_equal(dev.avail->flags, 0);
	open_ring(true);
	vring_disarm(&ring);
	assert_int_equal(dev.avail->flags, 0);
}

/* --- liars
 * ------------------------------------------------------------------------ */

static void
expect_broken(void)
{
	struct vring_done d;

	assert_int_equal(vring_peek(&ring, 0, &d), -EPROTO);
	assert_true(ring.broken);
	assert_non_null(ring.why);
	/* For good, and nobody sleeps on it. */
	assert_int_equal(vring_peek(&ring, 0, &d), -EPROTO);
	assert_true(vring_arm(&ring, 0));
}

static void
test_an_index_that_runs_ahead_breaks_the_ring(void **state)
{
	static const uint16_t ahead[] = {3, SIZE, SIZE + 1, 0x8000, 0xffff};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof ahead / sizeof *ahead; i++) {
		open_ring(true);
		add(1, true);
		add(1, true);
		vring_publish(&ring);
		dev.given = ahead[i];
		device_publish();
		expect_broken();
	}
}

static void
test_an_index_that_goes_back_breaks_the_ring(void **state)
{
	(void)state;
	open_ring(true);
	add(1, true);
	add(1, true);
	vring_publish(&ring);
	device_echo(1);
	return_all();
	dev.given = 1;
	device_publish();
	expect_broken();
}

static void
test_buffers_that_the_device_does_not_have_break_the_ring(void **state)
{
	/* A free one, one behind the end, one far away, a chain's second. */
	static const uint32_t ids[] = {9, SIZE, 0xffffffff, 0x10000, 1};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof ids / sizeof *ids; i++) {
		open_ring(false);
		assert_int_equal(add(3, true), 0);
		vring_publish(&ring);
		device_push(ids[i], 1);
		device_publish();
		expect_broken();
	}
}

static void
test_a_buffer_returned_twice_breaks_the_ring(void **state)
{
	struct vring_done d[2];

	(void)state;
	/* One after the other ... */
	open_ring(false);
	add(1, true);
	add(1, true);
	vring_publish(&ring);
	device_push(0, 1);
	device_push(0, 1);
	device_publish();
	assert_int_equal(vring_peek(&ring, 0, &d[0]), 1);
	assert_int_equal(vring_return(&ring, d, 1), 0);
	expect_broken();
	/* ... and both for one frame. */
	open_ring(false);
	add(1, true);
	add(1, true);
	vring_publish(&ring);
	device_push(0, 1);
	device_push(0, 1);
	device_publish();
	assert_int_equal(vring_peek(&ring, 0, &d[0]), 1);
	assert_int_equal(vring_peek(&ring, 1, &d[1]), 1);
	assert_int_equal(vring_return(&ring, d, 2), -EPROTO);
	assert_true(ring.broken);
}

static void
test_a_length_beyond_the_chain_is_clamped_and_told(void **state)
{
	struct vring_done d;

	(void)state;
	open_ring(false);
	add(2, true); /* 256 + 255 bytes */
	vring_publish(&ring);
	device_push(0, 511);
	device_publish();
	assert_int_equal(vring_peek(&ring, 0, &d), 1);
	assert_false(d.lied);
	dev.used->ring[0].len = 512;
	assert_int_equal(vring_peek(&ring, 0, &d), 1);
	assert_true(d.lied);
	assert_int_equal(d.bytes, 511);
	dev.used->ring[0].len = 0xffffffff;
	assert_int_equal(vring_peek(&ring, 0, &d), 1);
	assert_true(d.lied);
	assert_int_equal(d.bytes, 511);
}

static void
test_scribbles_over_our_own_areas_change_nothing(void **state)
{
	struct vring_done d;
	unsigned round, i;
	int id;

	(void)state;
	open_ring(true);
	for (round = 0; round < 1000; round++) {
		add(1 + round % 5, true);
		add(1, false);
		vring_publish(&ring);
		for (i = 0; i < 2; i++) {
			id = device_pop();
			assert_true(id >= 0);
			device_push((uint32_t)id, 5);
		}
		/* The table and the available ring, all but its index, which
		 * this device needs itself. */
		memset(dev.desc, 0xa5 ^ (int)round, SIZE * sizeof *dev.desc);
		memset(dev.avail->ring, 0x5a, 2 * (SIZE + 1));
		device_publish();
		for (i = 0; i < 2; i++) {
			assert_int_equal(vring_peek(&ring, 0, &d), 1);
			assert_int_equal(d.bytes, 5);
			assert_int_equal(vring_return(&ring, &d, 1), 0);
		}
		assert_int_equal(ring.free_count, SIZE);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_the_areas_are_aligned_and_do_not_touch),
	    cmocka_unit_test(test_a_chain_is_what_the_device_sees),
	    cmocka_unit_test(test_chains_come_back_in_any_order_for_ever),
	    cmocka_unit_test(test_a_full_ring_takes_no_more_and_loses_nothing),
	    cmocka_unit_test(test_a_peek_ahead_takes_nothing),
	    cmocka_unit_test(
		test_the_first_publish_kicks_whatever_the_device_says),
	    cmocka_unit_test(test_kicks_follow_the_event_index),
	    cmocka_unit_test(test_arm_looks_again_before_it_lets_sleep),
	    cmocka_unit_test(test_without_event_indices_flags_ask_for_calls),
	    cmocka_unit_test(test_an_index_that_runs_ahead_breaks_the_ring),
	    cmocka_unit_test(test_an_index_that_goes_back_breaks_the_ring),
	    cmocka_unit_test(
		test_buffers_that_the_device_does_not_have_break_the_ring),
	    cmocka_unit_test(test_a_buffer_returned_twice_breaks_the_ring),
	    cmocka_unit_test(
		test_a_length_beyond_the_chain_is_clamped_and_told),
	    cmocka_unit_test(test_scribbles_over_our_own_areas_change_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, close_ring);
}
