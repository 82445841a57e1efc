/*
 * backend_offload_parts.h - what the files of backend_offload share: the
 * internet checksum, headers that were read and judged, one frame's state.
 *
 * Nobody else includes this: see backend_offload.h.
 */
#ifndef BACKENDS_BACKEND_OFFLOAD_PARTS_H
#define BACKENDS_BACKEND_OFFLOAD_PARTS_H

#include "backends/backend_offload.h"

#include <stdbool.h>
#include <string.h>

/* --- backend_offload_csum.c: RFC 1071 ------------------------------------- */

/*
 * offload_sum - add `len` bytes to a sum, in host order throughout. What was
 * added before must have been an even number of bytes. 0 to begin with.
 */
uint64_t offload_sum(uint64_t sum, const uint8_t *bytes, size_t len);

/* The sum's 16 bits, not inverted: what to store into two bytes. */
static inline uint16_t
offload_fold(uint64_t sum)
{
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	return (uint16_t)sum;
}

/*
 * What belongs into a checksum field after `sum`. Never 0, which for UDP
 * would say that there is none (RFC 768) and is the same for all others.
 */
static inline uint16_t
offload_csum(uint64_t sum)
{
	uint16_t csum = (uint16_t)~offload_fold(sum);

	return csum != 0 ? csum : UINT16_MAX;
}

/* --- numbers in headers --------------------------------------------------- */

static inline uint16_t
get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t
get32(const uint8_t *at)
{
	return (uint32_t)get16(at) << 16 | get16(at + 2);
}

static inline void
put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static inline void
put32(uint8_t *at, uint32_t value)
{
	put16(at, value >> 16);
	put16(at + 2, value);
}

/* A sum, as offload_sum makes it, goes into its field as it is. */
static inline void
put_csum(uint8_t *at, uint16_t csum)
{
	memcpy(at, &csum, sizeof csum);
}

/* --- backend_offload_headers.c -------------------------------------------- */

/*
 * The most bytes of headers in front of the payload. Two VLAN tags, IPv4 and
 * TCP with all their options take 142; IPv6 and TCP leave 134 for extension
 * headers. The bound keeps what one frame can become near its own size.
 */
#define OFFLOAD_HEADERS_MAX 256u

/* Where things are in a frame that will be cut; all bounds hold. */
struct offload_headers {
	bool v6;
	uint32_t l3;      /* IP header */
	uint32_t l4;      /* TCP or UDP header */
	uint32_t payload; /* behind that; <= OFFLOAD_HEADERS_MAX */
	uint32_t end;     /* of the IP packet; what follows it is padding */
	/* What an IP fragment repeats ends here; IPv6: and the header that
	 * says what follows says so in the byte `next_at`. */
	uint32_t frag;
	uint32_t next_at;
};

/*
 * offload_headers - read the headers of a frame of `len` bytes, of which
 * `head` has the first `head_len` in private memory. 0, or -EINVAL: they are
 * not what `m` says, or do not fit into each other.
 */
int offload_headers(struct offload_headers *h, const uint8_t *head,
    uint32_t head_len, uint32_t len, const struct frame_meta *m);

/* --- one frame's state ---------------------------------------------------- */

/* Room for the longest frame, or for all that a usual large one becomes. */
#define OFFLOAD_OUT_BYTES (128u << 10)

struct offload_work {
	/* Makes the next frame at `to` out of `take` payload bytes from
	 * `done` on; returns its length. */
	uint32_t (*cut)(struct offload_work *o, uint8_t *to, uint32_t take);
	const uint8_t *data; /* borrowed: the frame, in the PEER's memory */
	struct frame_meta meta;
	struct offload_headers h;
	bool whole;         /* TCP is not cut */
	uint32_t piece;     /* payload bytes of each frame but the last */
	uint32_t from, end; /* payload, as `cut` sees it, in the frame */
	uint32_t done;      /* what has become frames already, from `from` on */
	uint32_t overhead;  /* bytes that a frame has more than its payload */
	uint32_t index;     /* of the next frame */
	uint32_t frag_id;   /* IPv6 fragments: of the present datagram */
	uint32_t used;      /* bytes of `out` that offload_next gave away */
	uint8_t head[OFFLOAD_HEADERS_MAX]; /* private copy of the headers */
	uint8_t out[OFFLOAD_OUT_BYTES];
};

/* --- backend_offload_gso.c, backend_offload_frag.c ------------------------ */

/* Prepare to cut a frame whose headers are read. 0 or -EINVAL. */
int offload_gso_begin(struct offload_work *o);
int offload_frag_begin(struct offload_work *o);

/* IPv4: new length, new sum. */
void offload_ipv4_finish(uint8_t *ip, uint32_t header, uint32_t total);

#endif
