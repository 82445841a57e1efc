/*
 * backend_vhost_net_out.c - frames to a back-end whose rings we drive.
 *
 * Runs in: bulkhead-vhost-user.
 * Trusts: nothing in the memory that the back-end has mapped: buffers are
 * written and never read. Of the lane's frames only their length is used,
 * which is private.
 * Specification: VIRTIO 1.2, 5.1.6.2; vhost-user.md 8.
 */
#include "backends/backend_vhost_net_state.h"

#include "backends/backend_offload.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

/* Mix of what makes a flow; read once, nothing but the choice depends on it. */
static unsigned
flow_hash(const struct frame *f)
{
	uint8_t b[64] = {0};
	uint32_t hash = 2166136261u, from = 0, to = 14, i;
	size_t got = f->len < sizeof b ? f->len : sizeof b;

	memcpy(b, f->data, got);
	if (b[12] == 0x08 && b[13] == 0x00 && (b[14] & 0xf0) == 0x40) {
		bool ports = (b[14] & 0x0f) == 5 && (b[20] & 0x3f) == 0 &&
			     b[21] == 0 && (b[23] == 6 || b[23] == 17);

		from = 26; /* addresses, then ports */
		to = ports ? 38 : 34;
	} else if (b[12] == 0x86 && b[13] == 0xdd) {
		from = 22;
		to = b[20] == 6 || b[20] == 17 ? 58 : 54;
	}
	for (i = from; i < to; i++)
		hash = (hash ^ b[i]) * 16777619u;
	return hash ^ hash >> 16;
}

static struct net_queue *
choose(struct vhost_net *n, const struct frame *f)
{
	return n->pairs == 1
		   ? &n->queue[NET_TX]
		   : &n->queue[2 * (flow_hash(f) % n->pairs) + NET_TX];
}

/* Take back what the back-end is done with. 0 or -EPROTO. */
static int
reap(struct net_queue *q)
{
	struct vring_done d;
	unsigned i;
	int rc = 1;

	for (i = 0; i < NET_RING_SIZE && rc == 1; i++) {
		rc = vring_peek(&q->ring, 0, &d);
		if (rc == 1 && vring_return(&q->ring, &d, 1) < 0)
			rc = -EPROTO;
	}
	return rc < 0 ? rc : 0;
}

/*
 * make_room - `parts` descriptors shall be free. 1; 0: not now, a call will
 * come; -EPROTO.
 */
static int
make_room(struct vhost_net *n, struct net_queue *q, unsigned parts)
{
	unsigned look;

	for (look = 0; look < 2; look++) {
		if (q->ring.free_count >= parts)
			return 1;
		if (q->dirty)
			net_flush(q);
		if (reap(q) < 0)
			return net_fault(n, q);
		if (q->ring.free_count >= parts) {
			vring_disarm(&q->ring);
			return 1;
		}
		/* A part of them: a call for each would cost more. */
		if (!vring_arm(&q->ring, q->ring.outstanding / 4u))
			break;
	}
	q->waiting = true;
	/* Something is there at every look: look again by ourselves. */
	if (look == 2)
		net_soon(n);
	return 0;
}

/* Bytes of the headers up to the payload, for the device's convenience. */
static uint16_t
header_hint(const struct frame *f)
{
	const struct frame_meta *m = &f->meta;
	uint32_t hint = m->csum_start + 8u, at = m->csum_start + 12u;

	if (m->gso_type == META_GSO_UDP)
		hint = 14 + 20 + 8;
	else if (m->gso_type != META_GSO_UDP_L4 && at < f->len)
		hint = m->csum_start + 4u * (f->data[at] >> 4);
	return (uint16_t)(hint < f->len ? hint : f->len);
}

static void
fill_header(struct virtio_net_hdr_v1 *h, const struct frame *f)
{
	const struct frame_meta *m = &f->meta;

	memset(h, 0, sizeof *h);
	/* DATA_VALID is a device's word, not a driver's (5.1.6.2). */
	if (m->flags & META_NEEDS_CSUM) {
		h->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		h->csum_start = htole16(m->csum_start);
		h->csum_offset = htole16(m->csum_offset);
	}
	if (m->gso_type != META_GSO_NONE) {
		h->gso_type = m->gso_type;
		h->gso_size = htole16(m->gso_size);
		h->hdr_len = htole16(header_hint(f));
	}
}

/* Header and frame into as many buffers as they need, of which `parts` are
 * free. */
static void
send_one(struct net_queue *q, const struct frame *f, unsigned parts)
{
	uint32_t lens[NET_OUT_PARTS_MAX], left = f->len,
					  skip = NET_HEADER_BYTES;
	uint16_t ids[NET_OUT_PARTS_MAX];
	const uint8_t *from = f->data;
	struct virtio_net_hdr_v1 h;
	unsigned i;

	BUG_ON(vring_take(&q->ring, parts, ids) < 0);
	fill_header(&h, f);
	memcpy(net_buffer(q, ids[0]), &h, sizeof h);
	for (i = 0; i < parts; i++) {
		uint32_t part = NET_BUFFER_BYTES - skip;

		if (part > left)
			part = left;
		if (parts == 1)
			frame_copy(net_buffer(q, ids[0]) + skip, from, part);
		else
			memcpy(net_buffer(q, ids[i]) + skip, from, part);
		lens[i] = part + skip;
		from += part;
		left -= part;
		skip = 0;
	}
	vring_add(&q->ring, ids, lens, parts, false);
	q->dirty = true;
}

/* 1: done with it; 0: it must wait; -EPROTO. */
static int
send_frame(struct vhost_net *n, const struct frame *f)
{
	unsigned parts = (f->len + NET_HEADER_BYTES + NET_BUFFER_BYTES - 1) /
			 NET_BUFFER_BYTES;
	struct net_queue *q;
	int rc;

	if (f->len > NET_OUT_BYTES_MAX) {
		backend_count(n->be, BC_OUT_DROP_SIZE, 1);
		return 1;
	}
	/* It was let pass for an earlier back-end, which took more. */
	if (!offload_covered(&f->meta, n->takes)) {
		backend_count(n->be, BC_OUT_DROP_OFFLOAD, 1);
		return 1;
	}
	q = choose(n, f);
	rc = make_room(n, q, parts);
	if (rc <= 0)
		return rc;
	send_one(q, f, parts);
	backend_count(n->be, BC_OUT_FRAMES, 1);
	backend_count(n->be, BC_OUT_BYTES, f->len);
	return 1;
}

size_t
vhost_net_frames(struct vhost_net *n, const struct frame *f, size_t count)
{
	size_t i;
	unsigned k;
	int rc = 1;

	for (i = 0; i < count && rc == 1; i += rc == 1)
		rc = n->fault ? -EPROTO : send_frame(n, &f[i]);
	for (k = NET_TX; k < 2 * n->pairs; k += 2)
		if (n->queue[k].dirty)
			net_flush(&n->queue[k]);
	if (rc < 0) {
		backend_count(n->be, BC_OUT_DROP_DISCONNECTED, count - i);
		return count;
	}
	return i;
}

int
net_look_for_buffers(struct vhost_net *n)
{
	bool more = false;
	unsigned i;
	int rc;

	for (i = NET_TX; i < 2 * n->pairs; i += 2) {
		struct net_queue *q = &n->queue[i];

		if (!q->waiting)
			continue;
		q->waiting = false;
		rc = make_room(n, q, NET_OUT_PARTS_MAX);
		if (rc < 0)
			return rc;
		more |= rc > 0;
	}
	if (more)
		backend_more(n->be);
	return n->fault ? -EPROTO : 0;
}
