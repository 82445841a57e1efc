/*
 * offload_test.c - checksums and segments, put together again and compared; and
 * who has to do it.
 */
#include "tests/unit/offload_kit.h"

/* What the segments have brought so far. */
static struct {
	uint32_t payload, count;
	uint8_t last_flags;
} got;

static void
judge_ip(const struct large *g, const uint8_t *ip, uint32_t bytes)
{
	if (g->v6) {
		assert_int_equal(be16(ip + 4), bytes - 40);
		return;
	}
	assert_int_equal(be16(ip + 2), bytes);
	assert_int_equal(be16(ip + 4), (uint16_t)(g->id + got.count));
	assert_int_equal(slow_sum(0, ip, l4 - l3), 0xffff);
}

static void
judge_l4(const struct large *g, const uint8_t *ip, const uint8_t *at,
    uint32_t bytes, bool last)
{
	uint8_t want = g->tcp_flags;
	uint32_t sum;

	sum = pseudo_sum(ip, g->v6, g->udp ? 17 : 6, bytes);
	assert_int_equal(slow_sum(sum, at, bytes), 0xffff);
	if (g->udp) {
		assert_int_equal(be16(at + 4), bytes);
		assert_int_not_equal(be16(at + 6), 0);
		return;
	}
	assert_int_equal(be32(at + 4), g->seq + got.payload);
	if (!last)
		want &= (uint8_t)~0x09; /* FIN, PSH */
	if (got.count > 0)
		want &= (uint8_t)~0x80; /* CWR */
	assert_int_equal(at[13], want);
	/* Ack, window and options are everybody's. */
	assert_memory_equal(at + 8, frame + l4 + 8, 5);
	assert_memory_equal(at + 14, frame + l4 + 14, 2);
	assert_memory_equal(at + 18, frame + l4 + 18, body - l4 - 18);
}

/* One segment: all of it, from the Ethernet header on. */
static void
judge(const struct large *g, const struct frame *f)
{
	uint32_t part = f->len - body, i;
	bool last = got.payload + part == g->payload;

	assert_true(frame_meta_is_zero(&f->meta));
	assert_true(f->len > body);
	assert_memory_equal(f->data, frame, l3);
	judge_ip(g, f->data + l3, f->len - l3);
	judge_l4(g, f->data + l3, f->data + l4, f->len - l4, last);
	if (!last)
		assert_int_equal(part, g->gso_size);
	else
		assert_true(part <= g->gso_size);
	for (i = 0; i < part; i++)
		if (f->data[body + i] != payload_byte(got.payload + i))
			fail_msg("payload differs at %u", got.payload + i);
	got.payload += part;
	got.count++;
}

/* Cut it, `max` at a time, and judge all. */
static void
cut(const struct large *g, size_t max)
{
	struct frame f, out[256];
	size_t n, i;

	make(g);
	f = made();
	memset(&got, 0, sizeof got);
	begin(&f);
	while ((n = next_pieces(out, max)) > 0)
		for (i = 0; i < n; i++)
			judge(g, &out[i]);
	assert_int_equal(got.payload, g->payload);
	assert_int_equal(
	    got.count, (g->payload + g->gso_size - 1) / g->gso_size);
	assert_int_equal(offload_next(offload, out, max), 0);
}

/* All shapes that have to do with lengths, for one kind. */
static void
cut_shapes(struct large g)
{
	static const uint32_t payloads[] = {
	    1, 47, 48, 49, 1447, 1448, 1449, 2896, 2897, 9001, 60001, 65001};
	static const uint16_t sizes[] = {48, 49, 536, 1448, 8999, 65535};
	size_t i, k;

	for (i = 0; i < sizeof payloads / sizeof *payloads; i++)
		for (k = 0; k < sizeof sizes / sizeof *sizes; k++) {
			g.payload = payloads[i];
			g.gso_size = sizes[k];
			cut(&g, k % 2 ? 256 : 3);
		}
}

static void
test_tcp_over_ipv4(void **state)
{
	struct large g = {.gso_type = META_GSO_TCPV4,
	    .id = 0xfffe,
	    .seq = 0xffffff00,
	    .tcp_flags = 0x10};

	(void)state;
	cut_shapes(g);
	g.tcp_options = 12;
	cut_shapes(g);
	g.ip_options = 40;
	g.tcp_options = 40;
	g.vlans = 2;
	cut_shapes(g);
}

static void
test_tcp_over_ipv6(void **state)
{
	struct large g = {.v6 = true,
	    .gso_type = META_GSO_TCPV6,
	    .seq = 77,
	    .tcp_flags = 0x10,
	    .tcp_options = 12};

	(void)state;
	cut_shapes(g);
	g.extensions = 1;
	g.vlans = 1;
	cut_shapes(g);
	g.extensions = 8;
	g.vlans = 2;
	g.tcp_options = 40;
	/* 22 + 40 + 64 + 60 bytes of headers */
	cut_shapes(g);
}

static void
test_flags_go_to_the_right_segment(void **state)
{
	struct large g = {.gso_type = META_GSO_TCPV4 | META_GSO_ECN,
	    .payload = 5000,
	    .gso_size = 1448};
	unsigned flags;

	(void)state;
	for (flags = 0; flags < 256; flags++) {
		if (flags & 0x06) /* SYN, RST */
			continue;
		g.tcp_flags = (uint8_t)flags;
		cut(&g, 256);
	}
}

static void
test_a_datagram_for_each_udp_segment(void **state)
{
	struct large g = {
	    .udp = true, .gso_type = META_GSO_UDP_L4, .id = 0xffff};

	(void)state;
	cut_shapes(g);
	g.vlans = 1;
	g.ip_options = 8;
	cut_shapes(g);
	g.v6 = true;
	g.vlans = 0;
	cut_shapes(g);
	g.extensions = 3;
	cut_shapes(g);
}

static void
test_a_total_length_of_nothing_means_to_the_end(void **state)
{
	struct large g = {
	    .gso_type = META_GSO_TCPV4, .payload = 5000, .gso_size = 1000};
	struct frame f, out[8];

	(void)state;
	make(&g);
	set16(frame + l3 + 2, 0);
	f = made();
	memset(&got, 0, sizeof got);
	begin(&f);
	assert_int_equal(offload_next(offload, out, 8), 5);
	judge(&g, &out[0]);
}

static void
test_padding_behind_ip_is_left_out(void **state)
{
	struct large g = {
	    .gso_type = META_GSO_TCPV4, .payload = 100, .gso_size = 60};
	struct frame f, out[8];

	(void)state;
	make(&g);
	frame_len += 9;
	f = made();
	memset(&got, 0, sizeof got);
	begin(&f);
	assert_int_equal(offload_next(offload, out, 8), 2);
	judge(&g, &out[0]);
	judge(&g, &out[1]);
	assert_int_equal(got.payload, 100);
}

static void
test_a_datagram_that_fits_is_no_fragment(void **state)
{
	struct large g = {.udp = true,
	    .gso_type = META_GSO_UDP,
	    .payload = 1000,
	    .gso_size = 1480};

	(void)state;
	cut(&g, 4);
	g.v6 = true;
	g.extensions = 1;
	cut(&g, 4);
}

/* --- checksums alone ------------------------------------------------------ */

static void
complete(const struct large *g)
{
	struct frame f, out[2];

	f = made();
	begin(&f);
	assert_int_equal(offload_next(offload, out, 2), 1);
	assert_int_equal(out[0].len, frame_len);
	memset(&got, 0, sizeof got);
	judge(g, &out[0]);
	assert_int_equal(offload_next(offload, out, 2), 0);
}

static void
test_checksums_of_all_lengths(void **state)
{
	struct large g = {.gso_size = UINT16_MAX};

	(void)state;
	for (g.payload = 1; g.payload < 200; g.payload++) {
		g.v6 = g.payload & 1;
		g.udp = g.payload & 2;
		make(&g);
		complete(&g);
	}
	g.payload = 65000;
	make(&g);
	complete(&g);
	/* All ones: the sum has every carry. */
	memset(frame + body, 0xff, g.payload);
	assert_int_equal(slow_sum(0, frame + body, g.payload), 0xffff);
}

static void
test_a_udp_checksum_of_zero_is_all_ones(void **state)
{
	struct large g = {.udp = true, .payload = 2, .gso_size = UINT16_MAX};
	struct frame f, out[1];
	uint32_t sum;

	(void)state;
	make(&g);
	set16(frame + body, 0);
	sum = slow_sum(0, frame + l4, frame_len - l4);
	/* What is missing to 0xffff makes the checksum 0. */
	set16(frame + body, 0xffff - sum);
	f = made();
	begin(&f);
	assert_int_equal(offload_next(offload, out, 1), 1);
	assert_int_equal(be16(out[0].data + l4 + 6), 0xffff);
}

/* Any field of any protocol, also at odd places: virtio says only where. */
static void
test_a_checksum_anywhere(void **state)
{
	struct frame f, out[1];
	uint32_t start, offset, want;

	(void)state;
	for (start = 14; start < 60; start++) {
		offset = (start * 7) % (64 - start - 1);
		frame_len = 64;
		for (want = 0; want < frame_len; want++)
			frame[want] = payload_byte(want + start);
		meta = (struct frame_meta){.flags = META_NEEDS_CSUM,
		    .csum_start = (uint16_t)start,
		    .csum_offset = (uint16_t)offset};
		f = made();
		want = 0xffff & ~slow_sum(0, frame + start, 64 - start);
		begin(&f);
		assert_int_equal(offload_next(offload, out, 1), 1);
		assert_int_equal(
		    be16(out[0].data + start + offset), want ? want : 0xffff);
		set16(frame + start + offset, want ? want : 0xffff);
		assert_memory_equal(out[0].data, frame, 64);
	}
}

/* Several frames, and what each became, stay until the next reset. */
static void
test_pieces_stay_until_they_are_forgotten(void **state)
{
	struct large g = {
	    .gso_type = META_GSO_TCPV4, .payload = 5000, .gso_size = 1000};
	struct frame f, out[64];
	size_t n = 0, i;

	(void)state;
	make(&g);
	f = made();
	offload_reset(offload);
	while (n + 5 <= 64) {
		assert_int_equal(offload_begin(offload, &f), 0);
		n += offload_next(offload, out + n, 64 - n);
		assert_false(offload_left(offload));
	}
	assert_int_equal(n, 60);
	for (i = 0; i < n; i++) {
		if (i % 5 == 0)
			memset(&got, 0, sizeof got);
		judge(&g, &out[i]);
	}
	/* All room is taken at some time, and none is taken twice. */
	do {
		assert_int_equal(offload_begin(offload, &f), 0);
		n = offload_next(offload, out, 64);
	} while (n == 5);
	assert_true(offload_left(offload));
	assert_int_equal(offload_next(offload, out, 64), 0);
	offload_reset(offload);
	assert_int_equal(n + offload_next(offload, out, 64), 5);
	assert_false(offload_left(offload));
}

static void
test_data_valid_is_no_work(void **state)
{
	struct frame f, out[2];

	(void)state;
	make(&(struct large){.payload = 100});
	meta = (struct frame_meta){.flags = META_DATA_VALID};
	f = made();
	begin(&f);
	assert_int_equal(offload_next(offload, out, 2), 1);
	assert_int_equal(out[0].len, frame_len);
	assert_memory_equal(out[0].data, frame, frame_len);
	assert_true(frame_meta_is_zero(&out[0].meta));
}

/* One frame that is as complete as its segments would be. */
static void
test_tcp_in_one_piece(void **state)
{
	struct offload_work *usual = offload;
	struct large g = {.gso_type = META_GSO_TCPV4,
	    .id = 7,
	    .seq = 5,
	    .tcp_options = 12,
	    .tcp_flags = 0x19};

	(void)state;
	offload = offload_new();
	assert_non_null(offload);
	offload_long(offload);
	for (g.payload = 1; g.payload < 65000; g.payload += 6007) {
		g.v6 = !g.v6;
		g.gso_type = g.v6 ? META_GSO_TCPV6 : META_GSO_TCPV4;
		g.gso_size = 1448;
		make(&g);
		g.gso_size = UINT16_MAX;
		complete(&g);
	}
	/* Datagrams are as long as they are. */
	g.udp = true;
	g.gso_type = META_GSO_UDP_L4;
	g.payload = 5000;
	g.gso_size = 1000;
	cut(&g, 3);
	offload_free(offload);
	offload = usual;
}

/* --- who takes what ------------------------------------------------------- */

static void
test_what_is_covered(void **state)
{
	static const struct {
		struct frame_meta m;
		unsigned needs;
	} cases[] = {
	    {{0}, 0},
	    {{.gso_size = 99, .csum_start = 9}, 0},
	    {{.flags = META_NEEDS_CSUM}, OFFLOAD_CSUM},
	    {{.flags = META_DATA_VALID}, OFFLOAD_CSUM},
	    {{.flags = 1, .gso_type = 1}, OFFLOAD_CSUM | OFFLOAD_TSO4},
	    {{.flags = 1, .gso_type = 0x81},
		OFFLOAD_CSUM | OFFLOAD_TSO4 | OFFLOAD_ECN},
	    {{.flags = 1, .gso_type = 4}, OFFLOAD_CSUM | OFFLOAD_TSO6},
	    {{.flags = 1, .gso_type = 0x84},
		OFFLOAD_CSUM | OFFLOAD_TSO6 | OFFLOAD_ECN},
	    {{.flags = 1, .gso_type = 3}, OFFLOAD_CSUM | OFFLOAD_UFO},
	    {{.gso_type = 3}, OFFLOAD_UFO},
	    {{.flags = 1, .gso_type = 5},
		OFFLOAD_CSUM | OFFLOAD_USO4 | OFFLOAD_USO6},
	};
	unsigned takes;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof *cases; i++)
		for (takes = 0; takes < 128; takes++)
			assert_int_equal(offload_covered(&cases[i].m, takes),
			    (cases[i].needs & ~takes) == 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_tcp_over_ipv4),
	    cmocka_unit_test(test_tcp_over_ipv6),
	    cmocka_unit_test(test_flags_go_to_the_right_segment),
	    cmocka_unit_test(test_a_datagram_for_each_udp_segment),
	    cmocka_unit_test(test_a_total_length_of_nothing_means_to_the_end),
	    cmocka_unit_test(test_padding_behind_ip_is_left_out),
	    cmocka_unit_test(test_a_datagram_that_fits_is_no_fragment),
	    cmocka_unit_test(test_checksums_of_all_lengths),
	    cmocka_unit_test(test_a_udp_checksum_of_zero_is_all_ones),
	    cmocka_unit_test(test_a_checksum_anywhere),
	    cmocka_unit_test(test_pieces_stay_until_they_are_forgotten),
	    cmocka_unit_test(test_data_valid_is_no_work),
	    cmocka_unit_test(test_tcp_in_one_piece),
	    cmocka_unit_test(test_what_is_covered),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
