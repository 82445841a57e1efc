/*
 * toy_backend.h - a backend type whose outside is a list of what it was given.
 *
 * Included by one test program each; includes backend_kit.h.
 */
#ifndef TESTS_UNIT_TOY_BACKEND_H
#define TESTS_UNIT_TOY_BACKEND_H

#include "backends/backend_state.h"

static size_t take_most = SIZE_MAX; /* frames that one call takes */
static size_t taken, calls, rooms;
static uint32_t last_len;
static bool any_order; /* frames may have any length and metadata */
static struct seen {
	uint32_t len;
	struct frame_meta meta;
	uint8_t ip_id; /* its low byte, or what is at that place */
	uint32_t seq;  /* of TCP, or what is there */
	unsigned takes;
} seen[1 << 14];

static struct backend *toy_be;

static uint32_t
toy_seq(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 |
	       (uint32_t)at[2] << 8 | at[3];
}

static int
toy_open(void *self, struct backend *be, const void *options, struct err *err)
{
	(void)self;
	(void)options;
	(void)err;
	toy_be = be;
	return 0;
}

static size_t
toy_frames(void *self, const struct frame *f, size_t count)
{
	size_t n = count < take_most ? count : take_most, i;

	(void)self;
	calls++;
	for (i = 0; i < n; i++) {
		/* In order: each is one longer than the one before. */
		BUG_ON(!any_order && last_len && f[i].len != last_len + 1);
		last_len = f[i].len;
		if (taken + i < sizeof seen / sizeof *seen)
			seen[taken + i] = (struct seen){.len = f[i].len,
			    .meta = f[i].meta,
			    .ip_id = f[i].len > 20 ? f[i].data[19] : 0,
			    .seq = f[i].len > 42 ? toy_seq(f[i].data + 38) : 0,
			    .takes = toy_be->takes};
	}
	taken += n;
	return n;
}

static void
toy_room(void *self)
{
	(void)self;
	rooms++;
}

static int
toy_start(void *self, struct err *err)
{
	(void)self;
	(void)err;
	return 0;
}

static void
toy_close(void *self)
{
	(void)self;
}

const struct backend_type backend_type = {
    .name = "toy",
    .self_bytes = 1,
    .open = toy_open,
    .start = toy_start,
    .frames = toy_frames,
    .room = toy_room,
    .close = toy_close,
};

#include "tests/unit/backend_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct kit kit;
static uint8_t frame[FRAME_BYTES_MAX];

static inline int
start(void **state)
{
	struct err err;

	(void)state;
	take_most = SIZE_MAX;
	taken = calls = rooms = 0;
	last_len = 0;
	any_order = false;
	kit_init(&kit, RING_BYTES_MIN);
	return kit_open(&kit, NULL, &err);
}

static inline int
finish(void **state)
{
	(void)state;
	kit_fini(&kit);
	return 0;
}

static inline bool
has_taken(struct kit *k, void *arg)
{
	(void)k;
	return taken >= *(size_t *)arg;
}

static inline void
wait_taken(size_t count)
{
	kit_until(&kit, has_taken, &count);
	assert_int_equal(taken, count);
}

static inline bool
got_room(struct kit *k, void *arg)
{
	(void)k;
	(void)arg;
	return rooms > 0;
}

/* A TCP segment of `payload` bytes over IPv4, of which the IP id is `id`. */
static inline struct frame_meta
large_frame(uint32_t payload, uint16_t gso_size, uint8_t id)
{
	uint32_t total = 40 + payload;

	memset(frame, 0, 54);
	frame[12] = 8;
	frame[14] = 0x45;
	frame[16] = (uint8_t)(total >> 8);
	frame[17] = (uint8_t)total;
	frame[19] = id;
	frame[23] = 6;
	frame[46] = 0x50;
	return (struct frame_meta){.flags = META_NEEDS_CSUM,
	    .gso_type = META_GSO_TCPV4,
	    .gso_size = gso_size,
	    .csum_start = 34,
	    .csum_offset = 16};
}

static inline void
send_large(uint32_t payload, uint16_t gso_size, uint8_t id)
{
	struct frame_meta m = large_frame(payload, gso_size, id);

	assert_true(kit_send_meta(&kit, frame, 54 + payload, &m));
}

#endif
