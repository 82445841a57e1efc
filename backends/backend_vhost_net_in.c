/*
 * backend_vhost_net_in.c - frames from a back-end whose rings we drive.
 *
 * Runs in: bulkhead-vhost-user.
 * Trusts: nothing in the memory that the back-end has mapped: a header is
 * copied once and judged on the copy, a frame's bytes are copied to where the
 * back-end cannot reach them, lengths are those of the used ring, clamped.
 * Specification: VIRTIO 1.2, 5.1.6.4; vhost-user.md 8 and 9.
 */
#include "backends/backend_vhost_net_state.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

/* Frames before their buffers go back to the back-end. */
#define BATCH_RETURN 64u

static bool
gso_agreed(const struct vhost_net *n, uint8_t type)
{
	if ((type & META_GSO_ECN) && !net_has(n, VIRTIO_NET_F_GUEST_ECN))
		return false;
	switch (type & ~META_GSO_ECN) {
	case META_GSO_NONE:
		return true;
	case META_GSO_TCPV4:
		return net_has(n, VIRTIO_NET_F_GUEST_TSO4);
	case META_GSO_TCPV6:
		return net_has(n, VIRTIO_NET_F_GUEST_TSO6);
	case META_GSO_UDP:
		return net_has(n, VIRTIO_NET_F_GUEST_UFO);
	case META_GSO_UDP_L4:
		return net_has(n, VIRTIO_NET_F_GUEST_USO4) ||
		       net_has(n, VIRTIO_NET_F_GUEST_USO6);
	default:
		return false;
	}
}

/* What a header, already a copy, says of its frame; false: it cannot be. */
static bool
judge(const struct vhost_net *n, const struct virtio_net_hdr_v1 *h,
    uint32_t len, struct frame_meta *m)
{
	uint8_t known = net_has(n, VIRTIO_NET_F_GUEST_CSUM)
			    ? META_NEEDS_CSUM | META_DATA_VALID
			    : 0;

	memset(m, 0, sizeof *m);
	if ((h->flags & ~known) != 0 || !gso_agreed(n, h->gso_type))
		return false;
	m->flags = h->flags;
	if (h->flags & META_NEEDS_CSUM) {
		m->csum_start = le16toh(h->csum_start);
		m->csum_offset = le16toh(h->csum_offset);
	}
	if (h->gso_type != META_GSO_NONE) {
		m->gso_type = h->gso_type;
		m->gso_size = le16toh(h->gso_size);
	}
	return frame_meta_valid(m, len);
}

/*
 * collect - the buffers of the next frame into done[], its length and header.
 * Returns how many; 0: no frame is there; -EPROTO. *lied: a length was more
 * than its buffer.
 */
static int
collect(struct vhost_net *n, struct net_queue *q, struct virtio_net_hdr_v1 *h,
    uint32_t *bytes, bool *lied)
{
	unsigned count = 1, i;
	int rc = vring_peek(&q->ring, 0, &n->done[0]);

	if (rc <= 0)
		return rc;
	*bytes = n->done[0].bytes;
	*lied = n->done[0].lied;
	/* Once: what is judged is what is used. */
	memcpy(h, net_buffer(q, n->done[0].id), sizeof *h);
	/* Where it wrote no header there is nothing to be read in it. */
	if (net_has(n, VIRTIO_NET_F_MRG_RXBUF) && *bytes >= NET_HEADER_BYTES)
		count = le16toh(h->num_buffers);
	for (i = 1; i < count && i < NET_RING_SIZE; i++) {
		rc = vring_peek(&q->ring, i, &n->done[i]);
		if (rc <= 0)
			break;
		*bytes += n->done[i].bytes; /* at most NET_RING_SIZE buffers */
		*lied |= n->done[i].lied;
	}
	if (rc < 0)
		return rc;
	/* The buffers of a frame have to become visible together. */
	if (count == 0 || i < count) {
		q->ring.why = "a frame in other buffers than its header says";
		return -EPROTO;
	}
	return (int)count;
}

/* The frame's bytes, out of its buffers. */
static void
copy_in(const struct vhost_net *n, const struct net_queue *q, uint8_t *to,
    uint32_t len)
{
	const uint8_t *from = net_buffer(q, n->done[0].id) + NET_HEADER_BYTES;
	uint32_t part = n->done[0].bytes - NET_HEADER_BYTES;
	unsigned i = 0;

	if (part == len) {
		frame_copy(to, from, len);
		return;
	}
	for (;;) {
		memcpy(to, from, part);
		to += part;
		len -= part;
		if (len == 0)
			return;
		i++;
		from = net_buffer(q, n->done[i].id);
		part = n->done[i].bytes;
	}
}

/* 1: a frame was taken, or dropped; 0: none; -EAGAIN: no room; -EPROTO. */
static int
receive_one(struct vhost_net *n, struct net_queue *q)
{
	enum backend_counter drop = BC_IN_DROP_OFFLOAD;
	struct virtio_net_hdr_v1 h;
	struct frame_meta m;
	uint32_t bytes, len = 0;
	uint8_t *room;
	bool lied, good = false;
	int count, rc;

	count = collect(n, q, &h, &bytes, &lied);
	if (count <= 0)
		return count;
	if (lied) {
		drop = BC_IN_ERRORS;
	} else if (bytes < NET_HEADER_BYTES + FRAME_BYTES_MIN ||
		   bytes > NET_HEADER_BYTES + FRAME_BYTES_MAX) {
		drop = BC_IN_DROP_SIZE;
	} else {
		len = bytes - NET_HEADER_BYTES;
		good = judge(n, &h, len, &m);
	}
	if (good) {
		if (backend_reserve_meta(n->be, len, &m, &room) == 0)
			return -EAGAIN;
		copy_in(n, q, room, len);
	}
	rc = vring_return(&q->ring, n->done, (unsigned)count);
	if (rc < 0)
		return rc;
	if (good)
		backend_commit_meta(n->be, len, &m);
	else
		backend_count(n->be, drop, 1);
	return 1;
}

void
net_refill(struct net_queue *q)
{
	const uint32_t len = NET_BUFFER_BYTES;
	uint16_t id;

	while (vring_take(&q->ring, 1, &id) == 0)
		vring_add(&q->ring, &id, &len, 1, true);
	net_flush(q);
}

int
net_receive(struct vhost_net *n, struct net_queue *q, unsigned *budget)
{
	unsigned batch = 0;
	int rc = 1;

	while (rc == 1 && *budget > 0) {
		rc = receive_one(n, q);
		if (rc != 1)
			break;
		--*budget;
		if (++batch == BATCH_RETURN) {
			net_refill(q);
			batch = 0;
		}
	}
	if (batch > 0)
		net_refill(q);
	return rc;
}
