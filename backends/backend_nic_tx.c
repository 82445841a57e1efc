/*
 * backend_nic_tx.c - frames from the guest to the lane.
 *
 * Runs in: nic.
 * Trusts: nothing in guest memory. Every byte is read once: the header into
 * two words that are judged, the frame into its record of the ring.
 * Specification: VIRTIO 1.2, 5.1.6 and 5.1.6.2.2; vhost-user.md 8.
 */
#include "backends/backend_nic.h"

#include <endian.h>
#include <linux/virtio_config.h>
#include <string.h>

/* Batches of one turn, over all queues. */
#define TURN_BATCHES 8u

/* The header before a frame: what of it counts is in the first ten bytes. */
union head {
	struct virtio_net_hdr_mrg_rxbuf h;
	struct {
		uint64_t first;  /* flags to csum_start */
		uint16_t second; /* csum_offset */
	} word;
};

/* Loads that happen once, wherever the bytes are. */
typedef uint64_t word64 __attribute__((aligned(1), may_alias));
typedef uint16_t word16 __attribute__((aligned(1), may_alias));

/* Where in a chain we are. */
struct place {
	const struct virtq_segment *segment;
	uint32_t off;
};

/* Copy the next `len` bytes, which are there, out of a chain. */
static void
gather(struct place *p, uint8_t *to, uint32_t len)
{
	uint32_t some;

	while (len > 0) {
		some = p->segment->len - p->off;
		if (some > len)
			some = len;
		memcpy(to, p->segment->base + p->off, some);
		to += some;
		len -= some;
		p->off += some;
		if (p->off == p->segment->len) {
			p->segment++;
			p->off = 0;
		}
	}
}

/* Read the header. Leaves *p behind it. */
static void
take_head(const struct nic *n, struct place *p, union head *out)
{
	const uint8_t *at = p->segment->base;
	uint8_t copy[sizeof out->h];

	if (__builtin_expect(p->segment->len >= n->head_bytes, 1)) {
		out->word.first = *(const volatile word64 *)(const void *)at;
		out->word.second =
		    *(const volatile word16 *)(const void *)(at + 8);
		p->off = n->head_bytes;
		if (p->off == p->segment->len) {
			p->segment++;
			p->off = 0;
		}
		return;
	}
	gather(p, copy, n->head_bytes);
	/* The copy is what is judged. */
	__asm__ volatile("" : : "r"(copy) : "memory");
	memcpy(out, copy, sizeof out->word.first + sizeof out->word.second);
}

static bool
is_gso_agreed(const struct net_ctrl *c, uint8_t type)
{
	bool ecn = (type & META_GSO_ECN) != 0;

	if (ecn && !net_ctrl_has(c, VIRTIO_NET_F_HOST_ECN))
		return false;
	switch (type & ~META_GSO_ECN) {
	case META_GSO_NONE:
		return !ecn;
	case META_GSO_TCPV4:
		return net_ctrl_has(c, VIRTIO_NET_F_HOST_TSO4);
	case META_GSO_TCPV6:
		return net_ctrl_has(c, VIRTIO_NET_F_HOST_TSO6);
	case META_GSO_UDP:
		return !ecn && net_ctrl_has(c, VIRTIO_NET_F_HOST_UFO);
	case META_GSO_UDP_L4:
		return !ecn && net_ctrl_has(c, NET_F_HOST_USO);
	default:
		return false;
	}
}

/* What the header says, if that was agreed and possible for `len` bytes. */
static bool
judge(const struct net_ctrl *c, const union head *head, uint32_t len,
    struct frame_meta *m)
{
	const struct virtio_net_hdr *h = &head->h.hdr;

	memset(m, 0, sizeof *m);
	if (__builtin_expect((h->flags | h->gso_type) == 0, 1))
		return true;
	/* Of all flags only this one is a driver's to set. */
	if (h->flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM ||
	    (h->flags && !net_ctrl_has(c, VIRTIO_NET_F_CSUM)) ||
	    !is_gso_agreed(c, h->gso_type))
		return false;
	m->flags = h->flags;
	m->gso_type = h->gso_type;
	if (h->gso_type)
		m->gso_size = le16toh(h->gso_size);
	if (h->flags) {
		m->csum_start = le16toh(h->csum_start);
		m->csum_offset = le16toh(h->csum_offset);
	}
	return frame_meta_valid(m, len);
}

/* One frame; false: the ring is full and nothing has happened. */
static bool
send_one(struct nic *n, const struct nic_queue *q, const struct nic_buffer *b)
{
	struct place p = {q->segment + b->first, 0};
	uint32_t len = b->bytes - n->head_bytes;
	struct frame_meta m;
	union head head;
	uint8_t *room;

	/* Less than a header, too: that wraps. */
	if (b->bytes < n->head_bytes + FRAME_BYTES_MIN ||
	    len > FRAME_BYTES_MAX) {
		backend_count(n->be, BC_IN_DROP_SIZE, 1);
		return true;
	}
	take_head(n, &p, &head);
	if (!judge(&n->ctrl, &head, len, &m)) {
		backend_count(n->be, BC_IN_DROP_OFFLOAD, 1);
		return true;
	}
	if (backend_reserve_meta(n->be, len, &m, &room) == 0)
		return false;
	if (p.segment->len - p.off >= len)
		frame_copy(room, p.segment->base + p.off, len);
	else
		gather(&p, room, len);
	backend_commit_meta(n->be, len, &m);
	return true;
}

/* A batch of one queue. True: there was something. */
static bool
send_batch(struct nic *n, struct nic_queue *q)
{
	bool some = nic_queue_fill(n, q, NIC_AHEAD, false);
	bool drops = !n->ctrl.link_up;

	if (drops)
		backend_count(n->be, BC_IN_DROP_LINK, q->end - q->at);
	while (q->at < q->end) {
		if (q->ahead[q->at].bytes < n->head_bytes) {
			nic_queue_break(
			    q, "a transmit chain shorter than its header");
			break;
		}
		if (!drops && !send_one(n, q, &q->ahead[q->at])) {
			n->tx_full = true;
			break;
		}
		nic_queue_push(q, 0);
	}
	nic_queue_done(n, q);
	return some;
}

bool
nic_tx_turn(struct nic *n)
{
	unsigned left = TURN_BATCHES, idle = 0, i;
	bool any = false;

	while (left > 0 && idle < n->tx_count && !nic_tx_waits(n)) {
		i = n->tx_turn++ % n->tx_count;
		if (send_batch(n, n->tx_live[i])) {
			any = true;
			idle = 0;
			left--;
		} else {
			idle++;
		}
	}
	if (any)
		backend_flush(n->be);
	return any;
}
