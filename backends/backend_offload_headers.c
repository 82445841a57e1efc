/*
 * backend_offload_headers.c - where are IP, TCP, UDP and the payload?
 *
 * Runs in: backends whose outside wants complete frames.
 * Trusts: that the bytes are private. Every length and offset in them may be a
 * lie: a header must be whole, inside of the one around it, and be what the
 * metadata says.
 * Specification: IEEE 802.1Q, 802.1ad; RFC 791, 8200, 9293, 768. A total
 * length of 0 means "to the end": some drivers leave it to the card.
 */
#include "backends/backend_offload_parts.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/virtio_net.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>

#define VLAN_TAGS_MAX  2u
#define VLAN_TAG_BYTES 4u
#define EXTENSIONS_MAX 8u
/* The unit of IPv4's and TCP's header lengths. */
#define WORD_BYTES 4u
/* Longest packet that IPv4's length and IPv6's can tell. */
#define IP_BYTES_MAX 65535u

/* A reader of the private head: nothing is read behind `len`. */
struct reader {
	const uint8_t *head;
	uint32_t len;
	uint32_t at;
};

static bool
has(const struct reader *r, uint32_t bytes)
{
	return bytes <= r->len - r->at;
}

/* Behind Ethernet and VLAN tags; the type of what is there, or 0. */
static uint16_t
read_ether(struct reader *r)
{
	uint16_t type;
	unsigned tags;

	r->at = ETH_HLEN;
	type = get16(r->head + ETH_HLEN - 2);
	for (tags = 0; tags < VLAN_TAGS_MAX; tags++) {
		if (type != ETH_P_8021Q && type != ETH_P_8021AD)
			break;
		if (!has(r, VLAN_TAG_BYTES))
			return 0;
		r->at += VLAN_TAG_BYTES;
		type = get16(r->head + r->at - 2);
	}
	return type;
}

/* The packet ends `bytes` behind its beginning, or, if 0, with the frame. */
static int
set_end(struct offload_headers *h, uint32_t bytes, uint32_t len)
{
	if (bytes == 0)
		bytes = len - h->l3;
	if (bytes > len - h->l3 || bytes > IP_BYTES_MAX)
		return -EINVAL;
	h->end = h->l3 + bytes;
	return 0;
}

/* Returns the protocol behind IPv4, or -EINVAL. */
static int
read_ipv4(struct offload_headers *h, struct reader *r, uint32_t len)
{
	const uint8_t *ip = r->head + r->at;
	uint32_t bytes;

	if (!has(r, sizeof(struct iphdr)) || ip[0] >> 4 != IPVERSION)
		return -EINVAL;
	bytes = (ip[0] & 15u) * WORD_BYTES;
	if (bytes < sizeof(struct iphdr) || !has(r, bytes))
		return -EINVAL;
	/* A fragment is no whole datagram that could be cut. */
	if ((get16(ip + offsetof(struct iphdr, frag_off)) & ~IP_DF) != 0)
		return -EINVAL;
	if (set_end(h, get16(ip + offsetof(struct iphdr, tot_len)), len) < 0)
		return -EINVAL;
	r->at += bytes;
	h->frag = r->at;
	return ip[offsetof(struct iphdr, protocol)];
}

/*
 * One extension header after another up to TCP or UDP. Fragments repeat what
 * routers look at: all up to the last hop-by-hop or routing header (RFC 8200,
 * 4.5).
 */
static int
read_extensions(struct offload_headers *h, struct reader *r, int next)
{
	unsigned n;

	for (n = 0; n <= EXTENSIONS_MAX; n++) {
		const uint8_t *ext = r->head + r->at;
		uint32_t bytes;

		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING &&
		    next != IPPROTO_DSTOPTS)
			return next;
		if (!has(r, 8))
			return -EINVAL;
		bytes = (ext[1] + 1u) * 8;
		if (!has(r, bytes))
			return -EINVAL;
		if (next != IPPROTO_DSTOPTS) {
			h->next_at = r->at;
			h->frag = r->at + bytes;
		}
		next = ext[0];
		r->at += bytes;
	}
	return -EINVAL;
}

/* Returns the protocol behind IPv6 and its extensions, or -EINVAL. */
static int
read_ipv6(struct offload_headers *h, struct reader *r, uint32_t len)
{
	const uint8_t *ip = r->head + r->at;
	uint32_t payload;

	if (!has(r, sizeof(struct ip6_hdr)) || ip[0] >> 4 != 6)
		return -EINVAL;
	payload = get16(ip + offsetof(struct ip6_hdr, ip6_plen));
	if (set_end(h, payload ? payload + sizeof(struct ip6_hdr) : 0, len) < 0)
		return -EINVAL;
	h->next_at = r->at + offsetof(struct ip6_hdr, ip6_nxt);
	r->at += sizeof(struct ip6_hdr);
	h->frag = r->at;
	return read_extensions(h, r, r->head[h->next_at]);
}

/* The TCP header at `at`, and where the payload begins. */
static int
read_tcp(struct offload_headers *h, struct reader *r)
{
	const uint8_t *tcp = r->head + r->at;
	uint32_t bytes;

	if (!has(r, sizeof(struct tcphdr)))
		return -EINVAL;
	bytes = (tcp[12] >> 4) * WORD_BYTES;
	if (bytes < sizeof(struct tcphdr) || !has(r, bytes))
		return -EINVAL;
	/* Each segment would open or end the connection. */
	if ((tcp[13] & (TH_SYN | TH_RST)) != 0)
		return -EINVAL;
	h->payload = r->at + bytes;
	return 0;
}

static int
read_udp(struct offload_headers *h, struct reader *r)
{
	const uint8_t *udp = r->head + r->at;

	if (!has(r, sizeof(struct udphdr)) ||
	    get16(udp + offsetof(struct udphdr, len)) != h->end - r->at)
		return -EINVAL;
	h->payload = r->at + (uint32_t)sizeof(struct udphdr);
	return 0;
}

/* Which IP and which protocol does this kind of segment have? */
static bool
kind_fits(const struct frame_meta *m, bool v6, int protocol)
{
	switch (m->gso_type & ~META_GSO_ECN) {
	case META_GSO_TCPV4:
		return !v6 && protocol == IPPROTO_TCP;
	case META_GSO_TCPV6:
		return v6 && protocol == IPPROTO_TCP;
	default:
		return protocol == IPPROTO_UDP;
	}
}

/* Does the checksum that is asked for belong to this TCP or UDP header? */
static bool
csum_fits(
    const struct frame_meta *m, const struct offload_headers *h, int protocol)
{
	size_t field = protocol == IPPROTO_TCP ? offsetof(struct tcphdr, check)
					       : offsetof(struct udphdr, check);

	return (m->flags & META_NEEDS_CSUM) == 0 ||
	       (m->csum_start == h->l4 && m->csum_offset == field);
}

int
offload_headers(struct offload_headers *h, const uint8_t *head,
    uint32_t head_len, uint32_t len, const struct frame_meta *m)
{
	struct reader r = {.head = head, .len = head_len};
	uint16_t type = read_ether(&r);
	int protocol, rc;

	*h = (struct offload_headers){.l3 = r.at, .v6 = type == ETH_P_IPV6};
	if (type == ETH_P_IP)
		protocol = read_ipv4(h, &r, len);
	else if (type == ETH_P_IPV6)
		protocol = read_ipv6(h, &r, len);
	else
		return -EINVAL;
	if (protocol < 0 || !kind_fits(m, h->v6, protocol))
		return -EINVAL;
	/* Nor is TCP or UDP read behind the packet's end. */
	if (r.at > h->end)
		return -EINVAL;
	if (r.len > h->end)
		r.len = h->end;
	h->l4 = r.at;
	rc = protocol == IPPROTO_TCP ? read_tcp(h, &r) : read_udp(h, &r);
	if (rc == 0 && !csum_fits(m, h, protocol))
		rc = -EINVAL;
	return rc;
}
