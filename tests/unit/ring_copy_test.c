/*
 * ring_copy_test.c - copying in one piece gives what copying one by one gives.
 */
#include "proto/ring_copy.h"
#include "proto/sys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BYTES ((size_t)RING_BYTES_MIN)

/* A ring whose two memories are both in our hands. */
struct pipe_pair {
	uint8_t *p, *l;
	struct ring_tx tx;
	struct ring_rx rx;
};

static void
pair_make(struct pipe_pair *r)
{
	BUG_ON((r->p = calloc(1, port_bytes(BYTES))) == NULL);
	BUG_ON((r->l = calloc(1, port_bytes(BYTES))) == NULL);
	ring_tx_attach(&r->tx, r->p, r->l, BYTES);
	ring_rx_attach(&r->rx, r->l, r->p, BYTES);
}

static void
pair_end(struct pipe_pair *r)
{
	free(r->p);
	free(r->l);
}

static uint64_t state = 88172645463325252u;

static uint32_t
roll(uint32_t sides)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 33) % sides;
}

static uint32_t
some_length(void)
{
	switch (roll(10)) {
	case 0:
		return FRAME_BYTES_MIN + roll(60000);
	case 1:
		return FRAME_BYTES_MIN;
	default:
		return FRAME_BYTES_MIN + roll(200);
	}
}

/* Every other frame has metadata, never the same. */
static struct frame_meta
some_meta(void)
{
	struct frame_meta m = {0};

	if (roll(2) == 0)
		return m;
	m.flags = META_DATA_VALID;
	m.gso_size = (uint16_t)roll(65536);
	m.csum_start = (uint16_t)roll(65536);
	return m;
}

/* Put frames in until there is no room or there are enough. */
static void
fill(struct pipe_pair *r, unsigned frames)
{
	uint8_t *room;

	while (frames-- > 0) {
		struct frame f = {.len = some_length(), .meta = some_meta()};
		uint32_t len = f.len;

		if (ring_reserve_frame(&r->tx, &f, &room) != 1)
			break;
		for (uint32_t i = 0; i < len; i++)
			room[i] = (uint8_t)roll(256);
		ring_commit_frame(&r->tx, &f);
	}
	(void)ring_publish(&r->tx);
}

static unsigned
gather(struct pipe_pair *r, struct frame f[BATCH_FRAMES])
{
	unsigned n = 0;

	while (n < BATCH_FRAMES && ring_next(&r->rx, &f[n]) == 1)
		n++;
	return n;
}

static void
expect_same(const struct frame *got, const struct frame *f)
{
	assert_int_equal(got->len, f->len);
	assert_memory_equal(&got->meta, &f->meta, sizeof f->meta);
	assert_memory_equal(got->data, f->data, f->len);
}

static void
test_copy_gives_what_was_there_in_order(void **unused)
{
	struct pipe_pair from, to;
	struct frame f[BATCH_FRAMES], got;
	uint64_t copied = 0;

	(void)unused;
	pair_make(&from);
	pair_make(&to);
	for (int round = 0; round < 4000; round++) {
		unsigned n, done = 0;

		fill(&from, roll(BATCH_FRAMES + 1));
		n = gather(&from, f);
		while (done < n) {
			int rc = ring_copy(&to.tx, &f[done], n - done);

			assert_true(rc >= 0 && (unsigned)rc <= n - done);
			(void)ring_publish(&to.tx);
			for (int i = 0; i < rc; i++) {
				assert_int_equal(ring_next(&to.rx, &got), 1);
				expect_same(&got, &f[done++]);
			}
			/* Now and then the reader leaves something behind. */
			if (roll(4) != 0 || rc == 0)
				(void)ring_release(&to.rx);
			copied += (unsigned)rc;
		}
		assert_int_equal(ring_next(&to.rx, &got), 0);
		(void)ring_release(&from.rx);
	}
	assert_true(copied > 50000);
	pair_end(&from);
	pair_end(&to);
}

static void
test_rewound_ring_gives_what_was_there_in_order(void **unused)
{
	struct pipe_pair from, to;
	struct frame f[BATCH_FRAMES], got;
	uint64_t rewound = 0;

	(void)unused;
	pair_make(&from);
	pair_make(&to);
	for (int round = 0; round < 4000; round++) {
		uint64_t bytes = 0, off, left;
		int rc, skipped;
		unsigned n;

		fill(&from, 1 + roll(20));
		n = gather(&from, f);
		for (unsigned i = 0; i < n; i++)
			bytes += ring_frame_bytes(&f[i]);
		off = to.tx.pos % BYTES;
		left = to.tx.pos;
		skipped = ring_rewind(&to.tx, bytes);
		left -= to.tx.cons;
		assert_true(skipped == 0 ||
			    (off >= BYTES / 4 && to.tx.pos % BYTES == 0 &&
				left <= BYTES / 8));
		rewound += skipped > 0;
		rc = ring_copy(&to.tx, f, n);
		/* It never takes room that was there for what follows. */
		assert_true(skipped == 0 || (unsigned)rc == n);
		(void)ring_publish(&to.tx);
		for (int i = 0; i < rc; i++) {
			assert_int_equal(ring_next(&to.rx, &got), 1);
			expect_same(&got, &f[i]);
		}
		if (roll(4) != 0 || (unsigned)rc < n)
			(void)ring_release(&to.rx);
		(void)ring_release(&from.rx);
	}
	assert_true(rewound > 100);
	pair_end(&from);
	pair_end(&to);
}

static void
test_full_ring_takes_the_front_and_says_how_many(void **unused)
{
	struct pipe_pair from, to;
	struct frame f[BATCH_FRAMES];
	uint64_t total = 0;

	(void)unused;
	pair_make(&from);
	pair_make(&to);
	for (;;) {
		unsigned n;
		int rc;

		fill(&from, BATCH_FRAMES);
		n = gather(&from, f);
		rc = ring_copy(&to.tx, f, n);
		assert_true(rc >= 0);
		total += (unsigned)rc;
		(void)ring_publish(&to.tx);
		(void)ring_release(&from.rx);
		if ((unsigned)rc < n) {
			uint8_t *room;

			/* That one really has no room. */
			assert_int_equal(
			    ring_reserve_frame(&to.tx, &f[rc], &room), 0);
			assert_int_equal(ring_copy(&to.tx, &f[rc], 1), 0);
			break;
		}
	}
	for (uint64_t i = 0; i < total; i++)
		assert_int_equal(ring_next(&to.rx, &f[0]), 1);
	assert_int_equal(ring_next(&to.rx, &f[0]), 0);
	pair_end(&from);
	pair_end(&to);
}

static void
test_heads_that_change_after_the_look_are_not_copied(void **unused)
{
	struct pipe_pair from, to;
	struct frame f[BATCH_FRAMES], got;
	unsigned n;

	(void)unused;
	pair_make(&from);
	pair_make(&to);
	fill(&from, 40);
	n = gather(&from, f);
	assert_true(n > 10);
	memset(from.p + RING_PAGE_BYTES, 0xff, BYTES);
	assert_int_equal(ring_copy(&to.tx, f, n), n);
	(void)ring_publish(&to.tx);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(ring_next(&to.rx, &got), 1);
		assert_int_equal(got.len, f[i].len);
		assert_memory_equal(&got.meta, &f[i].meta, sizeof got.meta);
	}
	assert_int_equal(ring_next(&to.rx, &got), 0);
	pair_end(&from);
	pair_end(&to);
}

static void
test_impossible_cons_is_told(void **unused)
{
	struct pipe_pair from, to;
	struct frame f[BATCH_FRAMES];
	unsigned n;
	int rc = 0;

	(void)unused;
	pair_make(&from);
	pair_make(&to);
	((struct ring_page *)(void *)to.l)->cons = 12345;
	for (int i = 0; i < 1000 && rc >= 0; i++) {
		fill(&from, BATCH_FRAMES);
		n = gather(&from, f);
		rc = ring_copy(&to.tx, f, n);
		if (rc >= 0)
			(void)ring_publish(&to.tx);
		(void)ring_release(&from.rx);
	}
	assert_int_equal(rc, -EPROTO);
	pair_end(&from);
	pair_end(&to);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_copy_gives_what_was_there_in_order),
	    cmocka_unit_test(test_rewound_ring_gives_what_was_there_in_order),
	    cmocka_unit_test(test_full_ring_takes_the_front_and_says_how_many),
	    cmocka_unit_test(
		test_heads_that_change_after_the_look_are_not_copied),
	    cmocka_unit_test(test_impossible_cons_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
