/*
 * backend_tap_header.c - the header that the kernel puts before a tap's
 * frames, and which queue a frame belongs to.
 *
 * Runs in: tap, bridge. Trusts: no byte of a frame or header.
 * Specification: VIRTIO 1.2, 5.1.6, and linux/virtio_net.h: with a legacy
 * header numbers are in the host's order, as those of struct frame_meta.
 */
#include "backends/backend_tap.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

/* Offsets in an Ethernet frame: IEEE 802.3, RFC 791, RFC 8200. */
#define AT_TYPE   12u
#define AT_IP     14u
#define TYPE_IP4  0x0800u
#define TYPE_IP6  0x86ddu
#define IP4_BYTES 20u
#define IP6_BYTES 40u
#define PORTS     4u
/* Least frame that the lane gets from us (IEEE 802.3, without the FCS). */
#define WIRE_BYTES_MIN 60u

int
tap_meta(const struct virtio_net_hdr *h, uint32_t len, struct frame_meta *out)
{
	unsigned known = META_NEEDS_CSUM | META_DATA_VALID;

	*out = (struct frame_meta){0};
	/* A bit that we do not know may only be a hint. */
	out->flags = (uint8_t)(h->flags & known);
	out->gso_type = h->gso_type;
	if ((out->flags & META_NEEDS_CSUM) != 0) {
		out->csum_start = h->csum_start;
		out->csum_offset = h->csum_offset;
	}
	if (h->gso_type != VIRTIO_NET_HDR_GSO_NONE)
		out->gso_size = h->gso_size;
	return frame_meta_valid(out, len) ? 0 : -EINVAL;
}

int
tap_judge(const struct virtio_net_hdr *h, uint8_t *buf, size_t got,
    uint32_t *len, struct frame_meta *meta)
{
	size_t head = h == NULL ? 0 : sizeof *h;

	*meta = (struct frame_meta){0};
	if (got < head + FRAME_BYTES_MIN || got > head + FRAME_BYTES_MAX)
		return -EMSGSIZE;
	*len = (uint32_t)(got - head);
	if (h != NULL && tap_meta(h, *len, meta) < 0)
		return -EINVAL;
	if (*len < WIRE_BYTES_MIN) {
		memset(buf + *len, 0, WIRE_BYTES_MIN - *len);
		*len = WIRE_BYTES_MIN;
	}
	return 0;
}

void
tap_header(const struct frame_meta *m, const struct frame *f,
    struct virtio_net_hdr *out)
{
	uint32_t reach;

	memset(out, 0, sizeof *out);
	out->flags = m->flags;
	if ((m->flags & META_NEEDS_CSUM) != 0) {
		out->csum_start = m->csum_start;
		out->csum_offset = m->csum_offset;
	}
	if (m->gso_type == META_GSO_NONE)
		return;
	out->gso_type = m->gso_type;
	out->gso_size = m->gso_size;
	/* A hint, but the kernel wants one that reaches the checksum. */
	reach = (uint32_t)m->csum_start + m->csum_offset + 2;
	if (reach > f->len)
		reach = f->len;
	out->hdr_len = (uint16_t)(reach < UINT16_MAX ? reach : UINT16_MAX);
}

/* FNV-1a, and its upper bits brought down: few queues use the lowest. */
static uint32_t
hash(uint32_t h, const uint8_t *bytes, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		h = (h ^ bytes[i]) * 16777619u;
	return h;
}

static bool
has_ports(uint8_t protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP;
}

uint32_t
tap_flow(const uint8_t *frame, size_t len)
{
	const uint8_t *ip = frame + AT_IP;
	uint32_t h = 2166136261u;
	unsigned type = 0;
	size_t at;

	if (len >= AT_IP)
		type = (unsigned)(frame[AT_TYPE] << 8 | frame[AT_TYPE + 1]);
	if (type == TYPE_IP4 && len >= AT_IP + IP4_BYTES) {
		/* Once: the peer can change it before it is used. */
		at = AT_IP + (*(const volatile uint8_t *)ip & 15u) * 4u;
		h = hash(h, ip + 9, 1);
		h = hash(h, ip + 12, 8);
		/* The pieces of a datagram have no ports but the first. */
		if ((ip[6] & 0x3f) == 0 && ip[7] == 0 && has_ports(ip[9]) &&
		    len >= at + PORTS)
			h = hash(h, frame + at, PORTS);
	} else if (type == TYPE_IP6 && len >= AT_IP + IP6_BYTES) {
		h = hash(h, ip + 6, 1);
		h = hash(h, ip + 8, 32);
		at = AT_IP + IP6_BYTES;
		if (has_ports(ip[6]) && len >= at + PORTS)
			h = hash(h, frame + at, PORTS);
	} else {
		h = hash(h, frame, len < 12 ? len : 12);
	}
	return h ^ h >> 16;
}
