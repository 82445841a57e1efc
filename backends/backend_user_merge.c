/*
 * backend_user_merge.c - libslirp's TCP segments, put together again.
 *
 * Runs in: user.
 * Trusts: libslirp, for the checksums that it has just made; they are made
 * again from the same bytes. No length in a header.
 * Specification: RFC 9293, 791, 8200; VIRTIO 1.2, 5.1.6: a frame that is to be
 * cut has the sum of its pseudo-header in the checksum field.
 *
 * Part of one frame are segments of one connection that follow each other,
 * equal in all header fields but IP's length, id and sum and TCP's sequence
 * number, PSH and sum. All but the last have the first one's length. libslirp
 * counts IPv4 ids up by one, as whoever cuts the frame does.
 */
#include "backends/backend_user_merge.h"

#include "backends/backend_offload_parts.h"

#include <linux/if_ether.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>

#define IP_AT ETH_HLEN
/* Longest packet that IPv4's length and IPv6's can tell. */
#define IP_BYTES_MAX 65535u
/* Of a TCP header, from its beginning. */
#define TCP_ACK_AT   offsetof(struct tcphdr, ack_seq)
#define TCP_FLAGS_AT 13u
#define TCP_WIN_AT   offsetof(struct tcphdr, window)

/* Of a frame that may be part of a large one. */
struct segment {
	bool v6;
	uint32_t tcp;     /* where the TCP header is */
	uint32_t head;    /* where the payload is */
	uint32_t payload; /* bytes; more than 0 */
};

/* IPv4 without options or fragments. Its packet's length, or 0. */
static uint32_t
read_ipv4(const uint8_t *ip, size_t len)
{
	if (len < sizeof(struct iphdr) || ip[0] != (IPVERSION << 4 | 5) ||
	    ip[offsetof(struct iphdr, protocol)] != IPPROTO_TCP ||
	    (get16(ip + offsetof(struct iphdr, frag_off)) & ~IP_DF) != 0)
		return 0;
	return get16(ip + offsetof(struct iphdr, tot_len));
}

/* IPv6 without extensions. */
static uint32_t
read_ipv6(const uint8_t *ip, size_t len)
{
	if (len < sizeof(struct ip6_hdr) || ip[0] >> 4 != 6 ||
	    ip[offsetof(struct ip6_hdr, ip6_nxt)] != IPPROTO_TCP)
		return 0;
	return get16(ip + offsetof(struct ip6_hdr, ip6_plen)) +
	       (uint32_t)sizeof(struct ip6_hdr);
}

/* Data of an open connection, without anything that is out of the usual. */
static bool
read_segment(struct segment *s, const uint8_t *frame, size_t len)
{
	const uint8_t *tcp;
	uint32_t bytes, end;
	uint16_t type;

	if (len < IP_AT)
		return false;
	type = get16(frame + IP_AT - 2);
	s->v6 = type == ETH_P_IPV6;
	if (!s->v6 && type != ETH_P_IP)
		return false;
	bytes = s->v6 ? read_ipv6(frame + IP_AT, len - IP_AT)
		      : read_ipv4(frame + IP_AT, len - IP_AT);
	end = IP_AT + bytes;
	s->tcp = IP_AT + (uint32_t)(s->v6 ? sizeof(struct ip6_hdr)
					  : sizeof(struct iphdr));
	if (bytes == 0 || end > len || end < s->tcp + sizeof(struct tcphdr))
		return false;
	tcp = frame + s->tcp;
	s->head = s->tcp + (tcp[12] >> 4) * 4u;
	if (s->head < s->tcp + sizeof(struct tcphdr) || s->head >= end)
		return false;
	s->payload = end - s->head;
	return (tcp[TCP_FLAGS_AT] & ~TH_PUSH) == TH_ACK;
}

/* Equal in all that segments of one large frame have in common? */
static bool
is_alike(const struct merge *m, const struct segment *s, const uint8_t *f)
{
	const uint8_t *a = m->frame + IP_AT, *b = f + IP_AT;
	const uint8_t *x = m->frame + s->tcp, *y = f + s->tcp;
	size_t from = TCP_FLAGS_AT + 1, to = m->head - s->tcp;

	if (s->v6 != m->v6 || s->head != m->head ||
	    memcmp(m->frame, f, IP_AT) != 0)
		return false;
	/* Version, class and flow; hop limit and addresses. */
	if (s->v6 && (memcmp(a, b, 4) != 0 || memcmp(a + 6, b + 6, 34) != 0))
		return false;
	/* Version, service; fragments, time to live; addresses. */
	if (!s->v6 && (memcmp(a, b, 2) != 0 || memcmp(a + 6, b + 6, 4) != 0 ||
			  memcmp(a + 12, b + 12, 8) != 0))
		return false;
	/* Ports; ack, length; window; options. */
	return memcmp(x, y, 4) == 0 &&
	       memcmp(x + TCP_ACK_AT, y + TCP_ACK_AT,
		   TCP_FLAGS_AT - TCP_ACK_AT) == 0 &&
	       memcmp(x + from, y + from, 2) == 0 &&
	       memcmp(x + sizeof(struct tcphdr), y + sizeof(struct tcphdr),
		   to - sizeof(struct tcphdr)) == 0;
}

static bool
follows(const struct merge *m, const struct segment *s, const uint8_t *f)
{
	return !m->ended && s->payload <= m->segment &&
	       get32(f + s->tcp + offsetof(struct tcphdr, seq)) == m->next &&
	       m->len + s->payload <= IP_AT + IP_BYTES_MAX && is_alike(m, s, f);
}

bool
merge_add(struct merge *m, const uint8_t *frame, size_t len)
{
	struct segment s;
	uint8_t push;

	if (len > FRAME_BYTES_MAX || !read_segment(&s, frame, len))
		return false;
	push = frame[s.tcp + TCP_FLAGS_AT] & TH_PUSH;
	if (m->len == 0) {
		memcpy(m->frame, frame, s.head + s.payload);
		m->v6 = s.v6;
		m->len = m->head = s.head;
		m->segment = s.payload;
		m->next = get32(frame + s.tcp + offsetof(struct tcphdr, seq));
	} else if (follows(m, &s, frame)) {
		memcpy(m->frame + m->len, frame + s.head, s.payload);
		m->frame[s.tcp + TCP_FLAGS_AT] |= push;
	} else {
		return false;
	}
	m->len += s.payload;
	m->next += s.payload;
	m->ended = push != 0 || s.payload < m->segment ||
		   m->segment < META_GSO_SIZE_MIN;
	return true;
}

/* The sum of the pseudo-header, with the length that there is now. */
static void
put_pseudo_sum(struct merge *m, uint32_t tcp)
{
	const uint8_t *ip = m->frame + IP_AT;
	uint8_t rest[4] = {0, IPPROTO_TCP};
	uint64_t sum;

	put16(rest + 2, m->len - tcp);
	sum = offload_sum(0, rest, sizeof rest);
	sum =
	    m->v6 ? offload_sum(sum, ip + 8, 32) : offload_sum(sum, ip + 12, 8);
	put_csum(
	    m->frame + tcp + offsetof(struct tcphdr, check), offload_fold(sum));
}

uint32_t
merge_take(struct merge *m, struct frame_meta *meta)
{
	uint8_t *ip = m->frame + IP_AT;
	uint32_t len = m->len, tcp = IP_AT;

	m->len = 0;
	*meta = (struct frame_meta){0};
	/* One segment is what it was. */
	if (len <= m->head + m->segment)
		return len;
	m->len = len;
	tcp +=
	    (uint32_t)(m->v6 ? sizeof(struct ip6_hdr) : sizeof(struct iphdr));
	put_pseudo_sum(m, tcp);
	if (m->v6)
		put16(ip + offsetof(struct ip6_hdr, ip6_plen), len - tcp);
	else
		offload_ipv4_finish(ip, sizeof(struct iphdr), len - IP_AT);
	*meta = (struct frame_meta){.flags = META_NEEDS_CSUM,
	    .gso_type = m->v6 ? META_GSO_TCPV6 : META_GSO_TCPV4,
	    .gso_size = (uint16_t)m->segment,
	    .csum_start = (uint16_t)tcp,
	    .csum_offset = offsetof(struct tcphdr, check)};
	m->len = 0;
	return len;
}
