/*
 * backend_offload_frag.c - one large UDP datagram becomes IP fragments.
 *
 * Runs in: backends whose outside wants complete frames.
 * Trusts: headers that backend_offload_headers.c has judged.
 * Specification: RFC 791 (fragmentation, options), RFC 8200, 4.5; RFC 7112
 * (the first fragment has all headers).
 *
 * The datagram's checksum must be in the first fragment, so the sum is made
 * before anything is copied. A peer that changes the payload between the two
 * has a datagram with a wrong checksum, and nothing else.
 */
#include "backends/backend_offload_parts.h"

#include <errno.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>

/* Fragments but the last have a multiple of this (both IPs). */
#define FRAG_UNIT         8u
#define FRAG_HEADER_BYTES ((uint32_t)sizeof(struct ip6_frag))

/* Bytes of the fragment; what of them are headers comes from our copy. */
static void
copy_part(const struct offload_work *o, uint8_t *to, uint32_t take)
{
	uint32_t at = o->from + o->done, known = 0;

	if (at < o->h.payload) {
		known = o->h.payload - at;
		if (known > take)
			known = take;
		memcpy(to, o->head + at, known);
	}
	memcpy(to + known, o->data + at + known, take - known);
}

static bool
is_last(const struct offload_work *o, uint32_t take)
{
	return o->from + o->done + take == o->end;
}

/* Later fragments keep only the options that say so; the rest become NOPs. */
static void
strip_options(uint8_t *at, const uint8_t *end)
{
	while (at < end && *at != IPOPT_EOL) {
		uint32_t bytes = 1;

		if (*at != IPOPT_NOP) {
			bytes = end - at >= 2 ? at[1] : 0;
			if (bytes < 2 || bytes > (uint32_t)(end - at))
				return; /* broken: receivers refuse it */
			if (!IPOPT_COPIED(*at))
				memset(at, IPOPT_NOP, bytes);
		}
		at += bytes;
	}
}

static uint32_t
cut_v4(struct offload_work *o, uint8_t *to, uint32_t take)
{
	uint8_t *ip = to + o->h.l3;
	uint32_t header = o->h.l4 - o->h.l3, offset = o->done / FRAG_UNIT;

	memcpy(to, o->head, o->from);
	copy_part(o, to + o->from, take);
	if (o->index > 0)
		strip_options(ip + sizeof(struct iphdr), ip + header);
	put16(ip + offsetof(struct iphdr, frag_off),
	    offset | (is_last(o, take) ? 0 : IP_MF));
	offload_ipv4_finish(ip, header, header + take);
	return o->from + take;
}

static uint32_t
cut_v6(struct offload_work *o, uint8_t *to, uint32_t take)
{
	uint8_t *frag = to + o->from;
	uint32_t length;

	memcpy(to, o->head, o->from);
	to[o->h.next_at] = IPPROTO_FRAGMENT;
	frag[0] = o->head[o->h.next_at];
	frag[1] = 0;
	put16(frag + offsetof(struct ip6_frag, ip6f_offlg),
	    o->done | (is_last(o, take) ? 0 : 1)); /* 1: more follow */
	put32(frag + offsetof(struct ip6_frag, ip6f_ident), o->frag_id);
	copy_part(o, frag + FRAG_HEADER_BYTES, take);
	length = o->from + FRAG_HEADER_BYTES + take;
	put16(to + o->h.l3 + offsetof(struct ip6_hdr, ip6_plen),
	    length - o->h.l3 - (uint32_t)sizeof(struct ip6_hdr));
	return length;
}

/* It fits into one: no fragment, but with its checksum. */
static uint32_t
cut_whole(struct offload_work *o, uint8_t *to, uint32_t take)
{
	memcpy(to, o->head, o->from);
	copy_part(o, to + o->from, take);
	return o->from + take;
}

int
offload_frag_begin(struct offload_work *o)
{
	uint8_t *field = o->head + o->h.l4 + offsetof(struct udphdr, check);
	uint64_t sum;

	o->from = o->h.frag;
	o->end = o->h.end;
	o->piece = o->meta.gso_size & ~(FRAG_UNIT - 1);
	o->overhead = o->from + (o->h.v6 ? FRAG_HEADER_BYTES : 0);
	if (o->meta.flags & META_NEEDS_CSUM) {
		/* The header's 8 bytes first: an even number. */
		sum = offload_sum(0, o->head + o->h.l4, o->h.payload - o->h.l4);
		sum = offload_sum(
		    sum, o->data + o->h.payload, o->end - o->h.payload);
		put_csum(field, offload_csum(sum));
	}
	if (o->end - o->from <= o->piece) {
		o->cut = cut_whole;
		return 0;
	}
	o->cut = o->h.v6 ? cut_v6 : cut_v4;
	o->frag_id++;
	return o->h.payload - o->from <= o->piece ? 0 : -EINVAL;
}
