/*
 * backend_offload_gso.c - one large frame becomes TCP segments, or UDP
 * datagrams.
 *
 * Runs in: backends whose outside wants complete frames.
 * Trusts: headers that backend_offload_headers.c has judged. The checksum
 * field holds the pseudo-header's sum, as virtio says; if it does not, the
 * segments' checksums are as wrong as the frame's would have been.
 * Specification: RFC 9293, 768, 791, 3168 (6.1.2: CWR in one segment only);
 * VIRTIO 1.2, 5.1.6.2.
 */
#include "backends/backend_offload_parts.h"

#include <errno.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>

/* Of a TCP header's byte 13; netinet/tcp.h does not have it (RFC 3168). */
#define TCP_CWR 0x80u

void
offload_ipv4_finish(uint8_t *ip, uint32_t header, uint32_t total)
{
	uint8_t *check = ip + offsetof(struct iphdr, check);

	put16(ip + offsetof(struct iphdr, tot_len), total);
	put16(check, 0);
	put_csum(check, (uint16_t)~offload_fold(offload_sum(0, ip, header)));
}

/* The IP header of one more segment of `total` bytes, IP header included. */
static void
finish_ip(const struct offload_work *o, uint8_t *ip, uint32_t total)
{
	uint8_t *id = ip + offsetof(struct iphdr, id);

	if (o->h.v6) {
		put16(ip + offsetof(struct ip6_hdr, ip6_plen),
		    total - (uint32_t)sizeof(struct ip6_hdr));
		return;
	}
	put16(id, get16(id) + o->index);
	offload_ipv4_finish(ip, o->h.l4 - o->h.l3, total);
}

/*
 * The checksum at `l4` of `bytes` bytes. The field has the sum of a
 * pseudo-header whose length was the whole frame's: take that out, put ours
 * in.
 */
static void
finish_csum(const struct offload_work *o, uint8_t *l4, uint32_t bytes)
{
	uint8_t length[4], *field = l4 + o->meta.csum_offset;
	uint64_t sum;

	put16(length, bytes);
	put16(length + 2, ~(o->h.end - o->h.l4));
	sum = offload_sum(0, length, sizeof length);
	put_csum(field, offload_csum(offload_sum(sum, l4, bytes)));
}

/* What all segments have: headers, then their part of the payload. */
static uint32_t
cut_plain(struct offload_work *o, uint8_t *to, uint32_t take)
{
	memcpy(to, o->head, o->h.payload);
	memcpy(to + o->h.payload, o->data + o->from + o->done, take);
	finish_ip(o, to + o->h.l3, o->h.payload - o->h.l3 + take);
	return o->h.payload + take;
}

static uint32_t
cut_tcp(struct offload_work *o, uint8_t *to, uint32_t take)
{
	uint32_t len = cut_plain(o, to, take);
	uint8_t *tcp = to + o->h.l4;
	uint8_t *seq = tcp + offsetof(struct tcphdr, seq);

	put32(seq, get32(seq) + o->done);
	if (o->index > 0)
		tcp[13] &= (uint8_t)~TCP_CWR;
	if (o->from + o->done + take < o->end)
		tcp[13] &= (uint8_t) ~(TH_FIN | TH_PUSH);
	finish_csum(o, tcp, len - o->h.l4);
	return len;
}

static uint32_t
cut_udp(struct offload_work *o, uint8_t *to, uint32_t take)
{
	uint32_t len = cut_plain(o, to, take);
	uint8_t *udp = to + o->h.l4;

	put16(udp + offsetof(struct udphdr, len), len - o->h.l4);
	finish_csum(o, udp, len - o->h.l4);
	return len;
}

int
offload_gso_begin(struct offload_work *o)
{
	bool udp = o->meta.gso_type == META_GSO_UDP_L4;

	/* Nothing to send is nothing to cut. */
	if (o->h.payload >= o->h.end)
		return -EINVAL;
	o->cut = udp ? cut_udp : cut_tcp;
	o->piece =
	    o->whole && !udp ? o->h.end - o->h.payload : o->meta.gso_size;
	o->from = o->h.payload;
	o->end = o->h.end;
	o->overhead = o->h.payload;
	return 0;
}
