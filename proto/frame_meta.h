/*
 * frame_meta.h - what a frame still needs before it may be on a wire: a
 * checksum, or to be cut into segments.
 *
 * It travels beside the frame in a ring record, one aligned 64-bit word, so it
 * is read in one load and what was checked is what is used. All zero: the
 * frame is complete as it is. Values are those of struct virtio_net_hdr
 * (VIRTIO 1.2, 5.1.6; linux/virtio_net.h) in host order, without hdr_len, which
 * is a hint that nobody may trust.
 */
#ifndef PROTO_FRAME_META_H
#define PROTO_FRAME_META_H

#include <stdbool.h>
#include <stdint.h>

#define META_NEEDS_CSUM 1u /* VIRTIO_NET_HDR_F_NEEDS_CSUM */
#define META_DATA_VALID 2u /* VIRTIO_NET_HDR_F_DATA_VALID */

#define META_GSO_NONE   0u
#define META_GSO_TCPV4  1u
#define META_GSO_UDP    3u /* UFO: IP fragments of one datagram */
#define META_GSO_TCPV6  4u
#define META_GSO_UDP_L4 5u /* USO: a datagram for each segment */
#define META_GSO_ECN    0x80u

/*
 * Least payload of a segment: Linux's TCP_MIN_SND_MSS (net/tcp.h). Less would
 * let one frame cost its receivers a hundred times its bytes.
 */
#define META_GSO_SIZE_MIN 48u

struct frame_meta {
	uint8_t flags;        /* META_NEEDS_CSUM, META_DATA_VALID */
	uint8_t gso_type;     /* META_GSO_*, with META_GSO_ECN for TCP */
	uint16_t gso_size;    /* payload bytes of a segment */
	uint16_t csum_start;  /* offset in the frame */
	uint16_t csum_offset; /* of the checksum field, from csum_start */
} __attribute__((aligned(8)));

/* What an outside takes as it is; bits of backend_takes(). */
enum offload {
	OFFLOAD_CSUM = 1, /* frames that need a checksum */
	OFFLOAD_TSO4 = 2,
	OFFLOAD_TSO6 = 4,
	OFFLOAD_ECN = 8, /* TSO with CWR set, needs TSO4 or TSO6 */
	OFFLOAD_UFO = 16,
	OFFLOAD_USO4 = 32,
	OFFLOAD_USO6 = 64,
};

/*
 * frame_meta_valid - can this belong to a frame of `len` bytes? Unknown bits,
 * a checksum field outside of the frame, segments of nothing or of less than
 * META_GSO_SIZE_MIN, TCP or USO segments without NEEDS_CSUM: false. Does not
 * look at the frame's bytes.
 */
bool frame_meta_valid(const struct frame_meta *m, uint32_t len);

static inline bool
frame_meta_is_zero(const struct frame_meta *m)
{
	return *(const uint64_t __attribute__((may_alias)) *)(const void *)m ==
	       0;
}

#endif
