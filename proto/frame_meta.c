/*
 * frame_meta.c - what a frame still needs before it may be on a wire.
 *
 * Runs in: lanes and backends, for every record that has metadata.
 * Trusts: nothing in it.
 * Specification: VIRTIO 1.2, 5.1.6; linux/virtio_net.h.
 */
#include "proto/frame_meta.h"

#include <linux/virtio_net.h>
#include <stddef.h>

_Static_assert(META_NEEDS_CSUM == VIRTIO_NET_HDR_F_NEEDS_CSUM, "as virtio");
_Static_assert(META_DATA_VALID == VIRTIO_NET_HDR_F_DATA_VALID, "as virtio");
_Static_assert(META_GSO_NONE == VIRTIO_NET_HDR_GSO_NONE, "as virtio");
_Static_assert(META_GSO_TCPV4 == VIRTIO_NET_HDR_GSO_TCPV4, "as virtio");
_Static_assert(META_GSO_UDP == VIRTIO_NET_HDR_GSO_UDP, "as virtio");
_Static_assert(META_GSO_TCPV6 == VIRTIO_NET_HDR_GSO_TCPV6, "as virtio");
_Static_assert(META_GSO_ECN == VIRTIO_NET_HDR_GSO_ECN, "as virtio");
_Static_assert(sizeof(struct frame_meta) == 8, "one word of a record");

/* A checksum field, in bytes (RFC 1071). */
#define CSUM_BYTES 2u

/* Is the kind of segment known, and does it come with what it needs? */
static bool
gso_valid(const struct frame_meta *m)
{
	bool needs_csum = (m->flags & META_NEEDS_CSUM) != 0;

	switch (m->gso_type) {
	case META_GSO_NONE:
		return true; /* gso_size says nothing then */
	case META_GSO_TCPV4:
	case META_GSO_TCPV4 | META_GSO_ECN:
	case META_GSO_TCPV6:
	case META_GSO_TCPV6 | META_GSO_ECN:
	case META_GSO_UDP_L4:
		return needs_csum && m->gso_size >= META_GSO_SIZE_MIN;
	case META_GSO_UDP:
		return m->gso_size >= META_GSO_SIZE_MIN;
	default:
		return false;
	}
}

bool
frame_meta_valid(const struct frame_meta *m, uint32_t len)
{
	if ((m->flags & ~(META_NEEDS_CSUM | META_DATA_VALID)) != 0)
		return false;
	/* Without overflow: both are 16 bits. */
	if ((m->flags & META_NEEDS_CSUM) != 0 &&
	    (uint32_t)m->csum_start + m->csum_offset + CSUM_BYTES > len)
		return false;
	return gso_valid(m);
}
