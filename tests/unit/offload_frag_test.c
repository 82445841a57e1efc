/*
 * offload_frag_test.c - fragments, put together again and compared; and frames
 * that lie about their headers.
 */
#include "tests/unit/offload_kit.h"

/* One datagram, put together again. */
static struct {
	uint8_t bytes[FRAME_BYTES_MAX];
	uint32_t filled, id;
	bool ended;
	unsigned count;
} whole;

static void
take_fragment(const uint8_t *part, uint32_t bytes, uint32_t offset, bool more)
{
	assert_false(whole.ended);
	assert_int_equal(offset, whole.filled);
	assert_true(!more || bytes % 8 == 0);
	memcpy(whole.bytes + offset, part, bytes);
	whole.filled += bytes;
	whole.ended = !more;
	whole.count++;
}

static void
gather_v4(const struct frame *f, uint16_t id)
{
	const uint8_t *ip = f->data + l3;
	uint16_t word = be16(ip + 6);

	assert_int_equal(be16(ip + 2), f->len - l3);
	assert_int_equal(be16(ip + 4), id);
	assert_int_equal(slow_sum(0, ip, l4 - l3), 0xffff);
	take_fragment(f->data + l4, f->len - l4, (word & 0x1fff) * 8u,
	    (word & 0x2000) != 0);
}

/* `at`: where the fragment header must be, after which byte, telling what. */
static void
gather_v6(const struct frame *f, uint32_t at, uint32_t next_at, uint8_t next)
{
	const uint8_t *frag = f->data + at;

	assert_int_equal(be16(f->data + l3 + 4), f->len - l3 - 40);
	assert_int_equal(f->data[next_at], 44);
	assert_int_equal(frag[0], next);
	if (whole.count == 0)
		whole.id = be32(frag + 4);
	assert_int_equal(be32(frag + 4), whole.id);
	take_fragment(
	    frag + 8, f->len - at - 8, be16(frag + 2) & 0xfff8u, frag[3] & 1);
}

/* The datagram is what was sent, with a checksum that is right. */
static void
judge_whole(const struct large *g, uint32_t udp_at)
{
	const uint8_t *udp = whole.bytes + udp_at;
	uint32_t bytes = 8 + g->payload, sum;

	assert_true(whole.ended);
	assert_int_equal(whole.filled, udp_at + bytes);
	assert_memory_equal(udp, frame + l4, 6);
	assert_memory_equal(udp + 8, frame + body, g->payload);
	sum = pseudo_sum(frame + l3, g->v6, 17, bytes);
	assert_int_equal(slow_sum(sum, udp, bytes), 0xffff);
}

static void
fragment(const struct large *g, uint32_t frag_at, uint32_t next_at)
{
	uint32_t id_before = whole.id;
	struct frame f, out[7];
	uint8_t next = frame[next_at];
	size_t n, i;

	memset(&whole, 0, sizeof whole);
	f = made();
	begin(&f);
	while ((n = next_pieces(out, 7)) > 0)
		for (i = 0; i < n; i++) {
			assert_true(frame_meta_is_zero(&out[i].meta));
			assert_memory_equal(out[i].data, frame, l3);
			if (g->v6)
				gather_v6(&out[i], frag_at, next_at, next);
			else
				gather_v4(&out[i], g->id);
		}
	judge_whole(g, l4 - frag_at);
	if (g->v6)
		assert_int_not_equal(whole.id, id_before);
	assert_int_equal(whole.count,
	    (whole.filled + g->gso_size / 8 * 8 - 1) / (g->gso_size / 8 * 8));
}

static void
test_a_large_datagram_becomes_fragments(void **state)
{
	static const uint32_t payloads[] = {473, 1473, 2952, 2953, 9999, 65000};
	static const uint16_t sizes[] = {48, 55, 480, 1480};
	struct large g = {.udp = true, .gso_type = META_GSO_UDP, .id = 99};
	size_t i, k;

	(void)state;
	for (i = 0; i < sizeof payloads / sizeof *payloads; i++)
		for (k = 0; k < sizeof sizes / sizeof *sizes; k++) {
			g.payload = payloads[i];
			g.gso_size = sizes[k];
			g.vlans = (unsigned)k % 3;
			g.v6 = false;
			make(&g);
			if (g.payload + 8 <= g.gso_size)
				continue;
			fragment(&g, l4, l3);
			g.v6 = true;
			make(&g);
			fragment(&g, l4, l3 + 6);
			fragment(&g, l4, l3 + 6);
		}
}

static void
test_extension_headers_stand_where_they_must(void **state)
{
	struct large g = {.udp = true,
	    .v6 = true,
	    .extensions = 3,
	    .gso_type = META_GSO_UDP,
	    .payload = 4000,
	    .gso_size = 1400};

	(void)state;
	/* Destination options alone are for the last station: fragmented. */
	make(&g);
	fragment(&g, l3 + 40, l3 + 6);
	/* Those before a routing header are for routers: repeated. */
	make(&g);
	frame[l3 + 40] = 43;
	fragment(&g, l3 + 56, l3 + 48);
	/* Hop by hop. */
	make(&g);
	frame[l3 + 6] = 0;
	fragment(&g, l3 + 48, l3 + 40);
}

static void
test_options_that_are_not_to_be_copied_are_not(void **state)
{
	/* Record route (not copied), strict source route (copied), end. */
	static const uint8_t options[12] = {
	    7, 3, 4, 1, 137, 3, 4, 7, 3, 4, 0, 0};
	static const uint8_t later[12] = {1, 1, 1, 1, 137, 3, 4, 1, 1, 1, 0, 0};
	struct large g = {.udp = true,
	    .gso_type = META_GSO_UDP,
	    .ip_options = 12,
	    .payload = 4000,
	    .gso_size = 1400};
	struct frame f, out[3];

	(void)state;
	make(&g);
	memcpy(frame + l3 + 20, options, 12);
	f = made();
	begin(&f);
	assert_int_equal(offload_next(offload, out, 3), 3);
	assert_memory_equal(out[0].data + l3 + 20, options, 12);
	assert_memory_equal(out[1].data + l3 + 20, later, 12);
	assert_memory_equal(out[2].data + l3 + 20, later, 12);
	memset(&whole, 0, sizeof whole);
	gather_v4(&out[0], 0);
	gather_v4(&out[1], 0);
	gather_v4(&out[2], 0);
	judge_whole(&g, 0);
}

static void
test_a_datagram_whose_sum_was_done_keeps_it(void **state)
{
	struct large g = {.udp = true,
	    .gso_type = META_GSO_UDP,
	    .payload = 4000,
	    .gso_size = 1400};
	struct frame f, out[3];

	(void)state;
	make(&g);
	set16(frame + l4 + 6, 0x1234);
	meta.flags = 0;
	f = made();
	begin(&f);
	assert_int_equal(offload_next(offload, out, 3), 3);
	assert_int_equal(be16(out[0].data + l4 + 6), 0x1234);
}

/* --- lies ----------------------------------------------------------------- */

static void
refused(const char *lie)
{
	struct frame f = made(), out[1];

	if (offload_begin(offload, &f) != -EINVAL)
		fail_msg("taken: %s", lie);
	assert_int_equal(offload_next(offload, out, 1), 0);
}

/* A good frame with one field changed. */
static void
refuse_field(const struct large *g, const char *lie, int at, uint8_t value)
{
	make(g);
	frame[at] = value;
	refused(lie);
}

static void
test_ipv4_that_lies(void **state)
{
	struct large g = {.gso_type = META_GSO_TCPV4,
	    .payload = 3000,
	    .gso_size = 1000,
	    .tcp_flags = 0x10};

	(void)state;
	refuse_field(&g, "not IP", 12, 0x99);
	refuse_field(&g, "IPv6 for TCPv4", 12, 0x86);
	refuse_field(&g, "version 6", 14, 0x65);
	refuse_field(&g, "header of 16", 14, 0x44);
	refuse_field(&g, "header of 60 into TCP", 14, 0x4f);
	refuse_field(&g, "longer than the frame", 16, 0x0c);
	refuse_field(&g, "more fragments", 20, 0x20);
	refuse_field(&g, "a fragment", 21, 1);
	refuse_field(&g, "reserved bit", 20, 0x80);
	refuse_field(&g, "UDP for TCP", 23, 17);
	refuse_field(&g, "GRE", 23, 47);
	refuse_field(&g, "TCP header of 16", 46, 0x40);
	refuse_field(&g, "SYN", 47, 0x12);
	refuse_field(&g, "RST", 47, 0x14);
	make(&g);
	set16(frame + l3 + 2, 20);
	refused("IP without TCP");
	make(&g);
	set16(frame + l3 + 2, 40);
	refused("IP without payload");
	make(&g);
	set16(frame + l3 + 2, 19);
	refused("IP shorter than its header");
	make(&g);
	frame[46] = 0xf0;
	set16(frame + l3 + 2, 20 + 59);
	refused("TCP options behind IP");
	make(&g);
	meta.csum_start += 2;
	refused("sum of something else");
	make(&g);
	meta.csum_offset = 6;
	refused("UDP's field in TCP");
	g.payload = 65000;
	make(&g);
	set16(frame + l3 + 2, 0);
	frame_len = 14 + 65536;
	refused("longer than IP can say");
	frame_len--;
	assert_int_equal(
	    offload_begin(offload, &(struct frame){frame, frame_len, meta}), 0);
}

static void
test_ipv6_that_lies(void **state)
{
	struct large g = {.v6 = true,
	    .gso_type = META_GSO_TCPV6,
	    .payload = 3000,
	    .gso_size = 1000,
	    .extensions = 1};
	unsigned i;

	(void)state;
	refuse_field(&g, "version 4", 14, 0x45);
	refuse_field(&g, "longer than the frame", 18, 0xff);
	refuse_field(&g, "a fragment", 20, 44);
	refuse_field(&g, "authentication", 20, 51);
	refuse_field(&g, "none", 20, 59);
	refuse_field(&g, "extension of 2048", 55, 255);
	refuse_field(&g, "extension of 256", 55, 31);
	g.extensions = 9;
	make(&g);
	refused("nine extensions");
	g.extensions = 8;
	for (i = 0; i < 8; i++)
		refuse_field(&g, "long extensions", (int)(55 + 8 * i), 40);
	make(&g);
	set16(frame + 18, 8);
	refused("ends in its extensions");
}

static void
test_tags_and_udp_that_lie(void **state)
{
	struct large g = {.udp = true,
	    .vlans = 2,
	    .gso_type = META_GSO_UDP_L4,
	    .payload = 3000,
	    .gso_size = 1000};

	(void)state;
	refuse_field(&g, "three tags", 20, 0x81);
	refuse_field(&g, "UDP length", (int)46, 0);
	refuse_field(&g, "TCP for UDP", 22 + 9, 6);
	make(&g);
	set16(frame + l4 + 4, 0);
	refused("UDP length 0");
	g.payload = 0;
	make(&g);
	refused("no payload");
	g.gso_type = META_GSO_UDP;
	g.payload = 3000;
	make(&g);
	set16(frame + l3 + 2, 20 + 5);
	set16(frame + l4 + 4, 5);
	refused("UDP of 5 bytes");
	make(&g);
	frame[l3] = 0x44; /* then this is the UDP header's length: */
	set16(frame + l4, frame_len - (l4 - 4));
	meta.flags = 0;
	refused("IPv4 header of 16");
	g.v6 = true;
	g.extensions = 6;
	g.gso_size = 48;
	make(&g);
	refused("first fragment without UDP's header");
}

static void
test_frames_that_end_anywhere(void **state)
{
	static const uint8_t types[] = {
	    META_GSO_TCPV4, META_GSO_TCPV6, META_GSO_UDP, META_GSO_UDP_L4};
	struct large g = {.payload = 100, .gso_size = 50, .vlans = 1};
	uint32_t len;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof types; i++) {
		g.gso_type = types[i];
		g.v6 = types[i] == META_GSO_TCPV6;
		g.udp = i > 1;
		make(&g);
		for (len = frame_len - 1; len > 0; len--) {
			frame_len = len;
			refused("cut off");
		}
	}
}

static void
test_metadata_that_lies(void **state)
{
	struct large g = {
	    .gso_type = META_GSO_TCPV4, .payload = 300, .gso_size = 47};

	(void)state;
	make(&g);
	refused("tiny segments");
	meta.gso_size = 100;
	meta.flags = 0;
	refused("no checksum");
	meta.flags = 0xff;
	refused("unknown flags");
	meta.flags = 1;
	meta.gso_type = 0x7f;
	refused("unknown type");
	meta.gso_type = 0;
	meta.csum_offset = 9999;
	refused("field outside");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_large_datagram_becomes_fragments),
	    cmocka_unit_test(test_extension_headers_stand_where_they_must),
	    cmocka_unit_test(test_options_that_are_not_to_be_copied_are_not),
	    cmocka_unit_test(test_a_datagram_whose_sum_was_done_keeps_it),
	    cmocka_unit_test(test_ipv4_that_lies),
	    cmocka_unit_test(test_ipv6_that_lies),
	    cmocka_unit_test(test_tags_and_udp_that_lie),
	    cmocka_unit_test(test_frames_that_end_anywhere),
	    cmocka_unit_test(test_metadata_that_lies),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
