/*
 * user_merge_test.c - what was cut is put together again; what does not belong
 * together stays apart.
 */
#include "backends/backend_user_merge.h"
#include "tests/unit/offload_kit.h"

#include <net/ethernet.h>

static struct merge merge;

/* Cut `g` into complete segments, as libslirp would send them; how many. */
static size_t
segments(const struct large *g, struct frame *out, size_t max)
{
	struct frame f;
	size_t n;

	make(g);
	f = made();
	begin(&f);
	n = offload_next(offload, out, max);
	assert_false(offload_left(offload));
	return n;
}

/* A frame in memory of its own length, so that sanitizers see overreads. */
static bool
add(const uint8_t *data, size_t len)
{
	uint8_t *own = malloc(len ? len : 1);
	bool added;

	assert_non_null(own);
	memcpy(own, data, len);
	added = merge_add(&merge, own, len);
	free(own);
	return added;
}

static void
expect_large(void)
{
	struct frame_meta m;

	assert_int_equal(merge_take(&merge, &m), frame_len);
	assert_memory_equal(merge.frame, frame, frame_len);
	assert_memory_equal(&m, &meta, sizeof m);
	assert_true(frame_meta_valid(&m, frame_len));
	assert_int_equal(merge_take(&merge, &m), 0);
}

static void
there_and_back(struct large g)
{
	static const uint32_t payloads[] = {97, 2896, 2897, 9001, 65000};
	static const uint16_t sizes[] = {48, 1448, 1460, 9000};
	struct frame out[2000];
	size_t i, k, n, s;

	for (i = 0; i < sizeof payloads / sizeof *payloads; i++)
		for (k = 0; k < sizeof sizes / sizeof *sizes; k++) {
			g.payload = payloads[i];
			g.gso_size = sizes[k];
			if (g.payload <= g.gso_size ||
			    g.payload > 90u * sizes[k])
				continue;
			n = segments(&g, out, 2000);
			for (s = 0; s < n; s++)
				assert_true(add(out[s].data, out[s].len));
			expect_large();
		}
}

static void
test_there_and_back(void **state)
{
	struct large g = {.gso_type = META_GSO_TCPV4,
	    .id = 0xfffe,
	    .seq = 0xffffff00,
	    .tcp_flags = 0x10};

	(void)state;
	there_and_back(g);
	g.tcp_options = 12;
	there_and_back(g);
	g.tcp_flags = 0x18; /* PSH, which the last has */
	there_and_back(g);
	g.v6 = true;
	g.gso_type = META_GSO_TCPV6;
	there_and_back(g);
}

/* Two segments of 1000 bytes, and what they are when the second is changed. */
static struct frame two[2];

static const struct large usual = {.gso_type = META_GSO_TCPV4,
    .payload = 2000,
    .gso_size = 1000,
    .tcp_options = 12,
    .tcp_flags = 0x10};

static bool
merged_if_changed(size_t which, size_t at, uint8_t bits)
{
	uint8_t copy[2][1100];
	struct frame_meta m;
	bool first, second;
	size_t i;

	for (i = 0; i < 2; i++)
		memcpy(copy[i], two[i].data, two[i].len);
	copy[which][at] ^= bits;
	first = add(copy[0], two[0].len);
	second = first && add(copy[1], two[1].len);
	(void)merge_take(&merge, &m);
	assert_int_equal(!frame_meta_is_zero(&m), second);
	return second;
}

/* Every bit of the headers counts, but those that segments differ in. */
static void
each_bit_counts(const struct large *g, const char *free_bytes)
{
	size_t at;
	unsigned bit;

	assert_int_equal(segments(g, two, 2), 2);
	for (at = 0; at < body; at++)
		for (bit = 0; bit < 8; bit++) {
			uint8_t bits = (uint8_t)(1u << bit);
			bool push = at == l4 + 13 && bits == 0x08;
			uint32_t length = l3 + (g->v6 ? 4 : 2);

			/* Shorter is the last one, longer a lie. */
			if (at == length || at == length + 1)
				continue;
			assert_int_equal(merged_if_changed(1, at, bits),
			    push || memchr(free_bytes, (int)at,
					strlen(free_bytes)) != NULL);
		}
}

static void
test_what_differs_stays_apart(void **state)
{
	struct large g = usual;

	(void)state;
	/* IPv4: id and sum; TCP: sum and the urgent pointer without URG. */
	each_bit_counts(&g, "\x12\x13\x18\x19\x32\x33\x34\x35");
	g.v6 = true;
	g.gso_type = META_GSO_TCPV6;
	each_bit_counts(&g, "\x46\x47\x48\x49");
}

static void
test_what_the_first_may_not_have(void **state)
{
	unsigned flags;

	(void)state;
	assert_int_equal(segments(&usual, two, 2), 2);
	for (flags = 1; flags < 256; flags++) /* FIN, SYN, RST, PSH, URG... */
		assert_false(merged_if_changed(0, l4 + 13, (uint8_t)flags));
	assert_false(merged_if_changed(0, 12, 0x10));     /* type */
	assert_false(merged_if_changed(0, l3, 0x01));     /* IP options */
	assert_false(merged_if_changed(0, l3 + 6, 0x20)); /* fragments */
	assert_false(merged_if_changed(0, l3 + 7, 0x01));
	assert_false(merged_if_changed(0, l3 + 9, 0x10));  /* protocol */
	assert_false(merged_if_changed(0, l4 + 12, 0x80)); /* TCP's length */
}

static void
test_sizes(void **state)
{
	struct large g = usual;
	struct frame out[64];
	struct frame_meta m;

	(void)state;
	/* A shorter one is the last, a longer one does not follow. */
	g.payload = 2500;
	assert_int_equal(segments(&g, out, 64), 3);
	assert_true(add(out[0].data, out[0].len));
	assert_true(add(out[1].data, out[1].len));
	assert_false(add(out[1].data, out[1].len));
	assert_true(add(out[2].data, out[2].len));
	assert_false(add(out[2].data, out[2].len));
	expect_large();
	assert_true(add(out[2].data, out[2].len));
	assert_false(add(out[0].data, out[0].len));
	assert_int_equal(merge_take(&merge, &m), out[2].len);
	assert_memory_equal(merge.frame, out[2].data, out[2].len);
	assert_true(frame_meta_is_zero(&m));
	/* No segment of less than 48 bytes is told of in metadata. */
	assert_int_equal(segments(&usual, two, 2), 2);
	set16(frame + l3 + 2, body - l3 + 47);
	frame[l4 + 13] = 0x10;
	assert_true(add(frame, body + 47));
	frame[l4 + 7] = (uint8_t)(frame[l4 + 7] + 47);
	assert_false(add(frame, body + 47));
	assert_int_equal(merge_take(&merge, &m), body + 47);
}

/* What comes goes no further than IP's length can tell. */
static void
test_not_longer_than_ip(void **state)
{
	struct large g = usual;
	struct frame_meta m;
	uint32_t seq;
	unsigned n;

	(void)state;
	g.payload = 1001;
	assert_int_equal(segments(&g, two, 2), 2);
	memcpy(frame, two[0].data, two[0].len);
	for (n = 0; n < 100; n++) {
		seq = n * 1000;
		set16(frame + l4 + 4, seq >> 16);
		set16(frame + l4 + 6, seq);
		if (!add(frame, two[0].len))
			break;
	}
	assert_int_equal(n, 65);
	assert_int_equal(merge_take(&merge, &m), body + 65000);
	assert_true(frame_meta_valid(&m, body + 65000));
}

/* Whatever the lengths say: nothing is read behind the frame. */
static void
test_lengths_that_lie(void **state)
{
	struct frame_meta m;
	struct large g = usual;
	size_t len;
	unsigned v;

	(void)state;
	for (v = 0; v < 2; v++) {
		g.v6 = v;
		g.gso_type = v ? META_GSO_TCPV6 : META_GSO_TCPV4;
		assert_int_equal(segments(&g, two, 2), 2);
		for (len = 0; len < two[0].len; len++)
			assert_false(add(two[0].data, len));
		memcpy(frame, two[0].data, two[0].len);
		for (len = 0; len < 65536; len++) {
			set16(frame + l3 + (v ? 4 : 2), (uint32_t)len);
			if (add(frame, two[0].len))
				assert_true(
				    merge_take(&merge, &m) <= two[0].len);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_there_and_back),
	    cmocka_unit_test(test_what_differs_stays_apart),
	    cmocka_unit_test(test_what_the_first_may_not_have),
	    cmocka_unit_test(test_sizes),
	    cmocka_unit_test(test_not_longer_than_ip),
	    cmocka_unit_test(test_lengths_that_lie),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
