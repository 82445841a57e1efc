/* backend_framing_test.c - splitting and gathering frames on a byte stream. */
#include "backends/backend_framing.h"
#include "proto/log.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static uint8_t in_buf[FRAMING_IN_BYTES];
static struct framing_out out;

static uint32_t
random_below(uint64_t *state, uint32_t bound)
{
	*state = *state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(*state >> 33) % bound;
}

/* Append one length word and its bytes; returns the new size. */
static size_t
put(uint8_t *wire, size_t at, uint32_t len, uint8_t fill)
{
	uint32_t word = htobe32(len);

	memcpy(wire + at, &word, 4);
	memset(wire + at + 4, fill, len);
	return at + 4 + len;
}

static void
feed(struct framing_in *in, const uint8_t *data, size_t bytes)
{
	struct iovec room = framing_in_room(in);

	assert_true(bytes <= room.iov_len);
	memcpy(room.iov_base, data, bytes);
	framing_in_fill(in, bytes);
}

static void
test_a_frame_cut_at_any_byte_is_reassembled(void **state)
{
	uint8_t wire[4 + 100 + 4 + 14];
	struct framing_in in;
	struct frame f;
	size_t cut, at;
	int seen;

	(void)state;
	at = put(wire, 0, 100, 0xaa);
	at = put(wire, at, 14, 0xbb);
	for (cut = 0; cut <= at; cut++) {
		framing_in_reset(&in, in_buf);
		seen = 0;
		feed(&in, wire, cut);
		while (framing_in_peek(&in, &f) > 0) {
			framing_in_take(&in, &f);
			seen++;
		}
		feed(&in, wire + cut, at - cut);
		while (framing_in_peek(&in, &f) > 0) {
			assert_int_equal(f.len, seen ? 14 : 100);
			assert_int_equal(f.data[f.len - 1], seen ? 0xbb : 0xaa);
			framing_in_take(&in, &f);
			seen++;
		}
		assert_int_equal(seen, 2);
	}
}

static void
test_an_impossible_length_is_told_with_its_word(void **state)
{
	static const uint32_t bad[] = {
	    FRAME_BYTES_MAX + 1, 0x7fffffff, 0x80000000, 0xffffffff};
	struct framing_in in;
	struct frame f;
	uint32_t word;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		framing_in_reset(&in, in_buf);
		word = htobe32(bad[i]);
		feed(&in, (uint8_t *)&word, 3);
		assert_int_equal(framing_in_peek(&in, &f), 0);
		feed(&in, (uint8_t *)&word + 3, 1);
		assert_int_equal(framing_in_peek(&in, &f), -EPROTO);
	}
}

static void
test_the_longest_frame_passes(void **state)
{
	static uint8_t wire[4 + FRAME_BYTES_MAX];
	struct framing_in in;
	struct frame f;

	(void)state;
	framing_in_reset(&in, in_buf);
	feed(&in, wire, put(wire, 0, FRAME_BYTES_MAX, 7));
	assert_int_equal(framing_in_peek(&in, &f), 1);
	assert_int_equal(f.len, FRAME_BYTES_MAX);
}

static void
test_empty_and_short_frames_are_skipped_and_counted(void **state)
{
	uint8_t wire[256];
	struct framing_in in;
	struct frame f;
	size_t at = 0;

	(void)state;
	at = put(wire, at, 0, 0);
	at = put(wire, at, 13, 1);
	at = put(wire, at, 0, 0);
	at = put(wire, at, 14, 2);
	framing_in_reset(&in, in_buf);
	feed(&in, wire, at);
	assert_int_equal(framing_in_peek(&in, &f), 1);
	assert_int_equal(f.len, 14);
	assert_int_equal(in.empty, 2);
	assert_int_equal(in.short_, 1);
}

static void
test_a_full_buffer_always_has_room_for_more_once_split(void **state)
{
	static uint8_t wire[4 + FRAME_BYTES_MAX];
	uint64_t seed = 1;
	struct framing_in in;
	struct frame f;
	struct iovec room;
	size_t total, at, part, round;

	(void)state;
	framing_in_reset(&in, in_buf);
	for (round = 0; round < 3000; round++) {
		total =
		    put(wire, 0, 14 + random_below(&seed, FRAME_BYTES_MAX - 13),
			(uint8_t)round);
		for (at = 0; at < total; at += part) {
			room = framing_in_room(&in);
			part = 1 + random_below(&seed, 70000);
			if (part > total - at)
				part = total - at;
			if (part > room.iov_len)
				part = room.iov_len;
			memcpy(room.iov_base, wire + at, part);
			framing_in_fill(&in, part);
			while (framing_in_peek(&in, &f) > 0) {
				assert_int_equal(f.len, total - 4);
				assert_int_equal(f.data[0], (uint8_t)round);
				framing_in_take(&in, &f);
			}
		}
	}
}

/* Gather and "send" with every write cut by `most` bytes, into `wire`. */
static size_t
send_all(const struct frame *f, size_t count, uint8_t *wire, size_t most)
{
	size_t done = 0, at = 0, n, left, i, take, sent;

	out.sent = 0;
	while (done < count) {
		n = framing_out_gather(&out, f + done, count - done);
		assert_true(n > 0);
		for (left = most, sent = i = 0; i < out.parts && left; i++) {
			take = out.part[i].iov_len;
			if (take > left)
				take = left;
			memcpy(wire + at, out.part[i].iov_base, take);
			at += take;
			left -= take;
			sent += take;
		}
		done += framing_out_sent(&out, f + done, n, sent);
	}
	assert_int_equal(out.sent, 0);
	return at;
}

static void
test_partial_writes_continue_at_every_byte(void **state)
{
	static uint8_t data[6][3000], want[20000], got[20000];
	static const uint32_t len[6] = {14, 1514, 60, 1024, 1025, 2999};
	struct frame f[6];
	size_t i, size = 0, most;

	(void)state;
	for (i = 0; i < 6; i++) {
		memset(data[i], (int)i + 1, len[i]);
		f[i] = (struct frame){.data = data[i], .len = len[i]};
		size = put(want, size, len[i], (uint8_t)(i + 1));
	}
	for (most = 1; most <= size; most++) {
		assert_int_equal(send_all(f, 6, got, most), size);
		assert_memory_equal(got, want, size);
	}
}

static void
test_any_frames_survive_the_way_out_and_in(void **state)
{
	static uint8_t data[400][5000], wire[400 * 5004];
	static struct frame f[400];
	struct framing_in in;
	struct frame g;
	uint64_t seed = 7;
	size_t i, n, round, size, at, part, next;

	(void)state;
	for (round = 0; round < 50; round++) {
		n = 1 + random_below(&seed, 400);
		for (i = 0; i < n; i++) {
			f[i] = (struct frame){.data = data[i],
			    .len = 14 + random_below(&seed, 4900)};
			memset(data[i], (int)(i + round), f[i].len);
		}
		size = send_all(f, n, wire, 1 + random_below(&seed, 100000));
		framing_in_reset(&in, in_buf);
		for (at = next = 0; at < size; at += part) {
			part = 1 + random_below(&seed, 60000);
			if (part > size - at)
				part = size - at;
			feed(&in, wire + at, part);
			while (framing_in_peek(&in, &g) > 0) {
				assert_int_equal(g.len, f[next].len);
				assert_memory_equal(
				    g.data, f[next].data, g.len);
				framing_in_take(&in, &g);
				next++;
			}
		}
		assert_int_equal(next, n);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_frame_cut_at_any_byte_is_reassembled),
	    cmocka_unit_test(test_an_impossible_length_is_told_with_its_word),
	    cmocka_unit_test(test_the_longest_frame_passes),
	    cmocka_unit_test(
		test_empty_and_short_frames_are_skipped_and_counted),
	    cmocka_unit_test(
		test_a_full_buffer_always_has_room_for_more_once_split),
	    cmocka_unit_test(test_partial_writes_continue_at_every_byte),
	    cmocka_unit_test(test_any_frames_survive_the_way_out_and_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
