/*
 * offload_kit.h - large frames, and a slow and plain judge of what they become.
 *
 * Written without a look at the code that it judges: one byte pair after the
 * other, every checksum from the addresses in the header.
 */
#ifndef TESTS_UNIT_OFFLOAD_KIT_H
#define TESTS_UNIT_OFFLOAD_KIT_H

#include "backends/backend_offload.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* What to make. */
struct large {
	bool v6, udp;
	unsigned vlans;      /* tags */
	unsigned ip_options; /* bytes, IPv4 */
	unsigned extensions; /* destination options of 8 bytes, IPv6 */
	unsigned tcp_options;
	uint32_t payload;
	uint16_t gso_size;
	uint8_t gso_type;
	uint8_t tcp_flags;
	uint16_t id;
	uint32_t seq;
};

/* What was made. */
static uint8_t frame[FRAME_BYTES_MAX];
static uint32_t frame_len, l3, l4, body;
static struct frame_meta meta;

static inline uint16_t
be16(const uint8_t *p)
{
	return (uint16_t)(p[0] * 256 + p[1]);
}

static inline uint32_t
be32(const uint8_t *p)
{
	return be16(p) * 65536u + be16(p + 2);
}

static inline void
set16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v / 256);
	p[1] = (uint8_t)v;
}

/* RFC 1071, as its first example. */
static inline uint32_t
slow_sum(uint32_t sum, const uint8_t *p, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		sum += i % 2 ? p[i] : p[i] * 256u;
	while (sum > 0xffff)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* The sum over both addresses, the protocol and the length. */
static inline uint32_t
pseudo_sum(const uint8_t *ip, bool v6, unsigned protocol, uint32_t bytes)
{
	uint8_t rest[4] = {0, (uint8_t)protocol};
	uint32_t sum = v6 ? slow_sum(0, ip + 8, 32) : slow_sum(0, ip + 12, 8);

	set16(rest + 2, bytes);
	return slow_sum(sum, rest, 4);
}

static inline uint8_t
payload_byte(uint32_t at)
{
	return (uint8_t)(at * 7 + at / 251 + at / 65521);
}

static inline uint32_t
make_ether(const struct large *g)
{
	uint32_t at = 12;
	unsigned i;

	memcpy(frame, "\x52\x54\0\x12\x34\x57\x52\x54\0\x12\x34\x56", 12);
	for (i = 0; i < g->vlans; i++, at += 4) {
		set16(frame + at, i == 0 && g->vlans > 1 ? 0x88a8 : 0x8100);
		set16(frame + at + 2, 100 + i);
	}
	set16(frame + at, g->v6 ? 0x86dd : 0x0800);
	return at + 2;
}

static inline uint32_t
make_ip(const struct large *g, uint8_t *ip, uint32_t l4_bytes)
{
	uint8_t protocol = g->udp ? 17 : 6;
	uint32_t header, i;

	if (g->v6) {
		header = 40 + 8 * g->extensions;
		memset(ip, 0, header);
		ip[0] = 0x60;
		set16(ip + 4, header - 40 + l4_bytes);
		ip[6] = g->extensions ? 60 : protocol;
		ip[7] = 64;
		for (i = 0; i < 32; i++)
			ip[8 + i] = (uint8_t)(0xfd - 5 * i);
		for (i = 0; i < g->extensions; i++) {
			ip[40 + 8 * i] = i + 1 < g->extensions ? 60 : protocol;
			ip[40 + 8 * i + 2] = 1; /* PadN of 6 bytes */
			ip[40 + 8 * i + 3] = 4;
		}
		return header;
	}
	header = 20 + g->ip_options;
	memset(ip, 1, header); /* options: NOP */
	ip[0] = (uint8_t)(0x40 + header / 4);
	ip[1] = 0;
	set16(ip + 2, header + l4_bytes);
	set16(ip + 4, g->id);
	set16(ip + 6, g->udp ? 0 : 0x4000);
	ip[8] = 64;
	ip[9] = protocol;
	set16(ip + 10, 0);
	memcpy(ip + 12, "\x0a\0\2\x0f\x0a\0\2\2", 8);
	set16(ip + 10, ~slow_sum(0, ip, header));
	return header;
}

static inline uint32_t
make_l4(const struct large *g, uint8_t *at)
{
	uint32_t header = g->udp ? 8 : 20 + g->tcp_options;

	memset(at, 1, header); /* options: NOP */
	set16(at, 40000);
	set16(at + 2, 80);
	if (g->udp) {
		set16(at + 4, 8 + g->payload);
		return header;
	}
	set16(at + 4, g->seq >> 16);
	set16(at + 6, g->seq);
	memcpy(at + 8, "\1\2\3\4", 4);
	at[12] = (uint8_t)(header / 4 << 4);
	at[13] = g->tcp_flags;
	set16(at + 14, 0xfff0);
	set16(at + 18, 0);
	return header;
}

/* Make a frame as a guest would; the checksum field has the partial sum. */
static inline void
make(const struct large *g)
{
	uint32_t field = g->udp ? 6 : 16, i;
	uint32_t l4_bytes = (g->udp ? 8 : 20 + g->tcp_options) + g->payload;

	l3 = make_ether(g);
	l4 = l3 + make_ip(g, frame + l3, l4_bytes);
	body = l4 + make_l4(g, frame + l4);
	for (i = 0; i < g->payload; i++)
		frame[body + i] = payload_byte(i);
	frame_len = body + g->payload;
	assert_true(frame_len <= FRAME_BYTES_MAX);
	set16(frame + l4 + field,
	    pseudo_sum(frame + l3, g->v6, g->udp ? 17 : 6, l4_bytes));
	meta = (struct frame_meta){
	    .flags = META_NEEDS_CSUM,
	    .gso_type = g->gso_type,
	    .gso_size = g->gso_size,
	    .csum_start = (uint16_t)l4,
	    .csum_offset = (uint16_t)field,
	};
}

/* The frame in memory of its own length, so that sanitizers see overreads. */
static inline struct frame
made(void)
{
	static uint8_t *own;

	free(own);
	own = malloc(frame_len);
	assert_non_null(own);
	memcpy(own, frame, frame_len);
	return (struct frame){.data = own, .len = frame_len, .meta = meta};
}

static struct offload_work *offload;

static inline int
setup(void **state)
{
	(void)state;
	offload = offload_new();
	return offload ? 0 : -1;
}

static inline void
begin(const struct frame *f)
{
	offload_reset(offload);
	assert_int_equal(offload_begin(offload, f), 0);
}

static inline int
teardown(void **state)
{
	(void)state;
	offload_free(offload);
	return 0;
}

/* What was given before need not stay. */
static inline size_t
next_pieces(struct frame *out, size_t max)
{
	size_t n = offload_next(offload, out, max);

	if (n > 0 || !offload_left(offload))
		return n;
	offload_reset(offload);
	n = offload_next(offload, out, max);
	assert_true(n > 0);
	return n;
}

#endif
