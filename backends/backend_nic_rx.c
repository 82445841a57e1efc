/*
 * backend_nic_rx.c - frames from the lane to the guest.
 *
 * Runs in: nic.
 * Trusts: neither side. A frame's bytes can change between the look that finds
 * its queue or filters it and the copy: then the guest has a frame that it did
 * not ask for, which the lane could have sent it anyway.
 * Specification: VIRTIO 1.2, 5.1.6.3 to 5.1.6.5.
 *
 * Which pair: a hash over addresses and ports that is the same for both
 * directions of a flow, so a flow stays in its order.
 * A frame waits when its queue has no chain (rx_blocked): the ring to us then
 * fills, and the lane's patience decides. One that waits although there are
 * chains, of which even all are too small, may wait for ever, if these are all
 * that the guest has: it is dropped after STUCK_NS.
 */
#include "backends/backend_nic.h"

#include "backends/backend_offload.h"
#include "backends/backend_pace.h"
#include "proto/loop.h"

#include <endian.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <string.h>

#define STUCK_NS UINT64_C(100000000)
/* Looks at a queue in one turn that said it had more. */
#define VAIN_MAX 8u

#define VLAN_BYTES      4u
#define IPV4_BYTES      20u
#define IPV4_FRAGMENTED 0x3fffu /* more fragments, or not the first */
#define IPV6_BYTES      40u
#define TCP_BYTES       20u
#define UDP_BYTES       8u

/* --- which pair ----------------------------------------------------------- */

static uint32_t
read32(const uint8_t *at)
{
	uint32_t word;

	memcpy(&word, at, sizeof word);
	return word;
}

static uint32_t
read16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

/* Both ports of TCP or UDP behind an IP header, or 0. */
static uint32_t
hash_ports(const uint8_t *at, uint32_t left, uint8_t protocol)
{
	if ((protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) || left < 4)
		return 0;
	return read16(at) ^ read16(at + 2);
}

static uint32_t
hash_ipv4(const uint8_t *ip, uint32_t left)
{
	uint32_t hash = read32(ip + 12) ^ read32(ip + 16);
	/* Once: the peer can change it between the check and the use. */
	uint32_t bytes = (*(const volatile uint8_t *)ip & 15u) * 4;

	if (read16(ip + 6) & IPV4_FRAGMENTED || bytes > left)
		return hash;
	return hash ^ hash_ports(ip + bytes, left - bytes, ip[9]);
}

static uint32_t
hash_ipv6(const uint8_t *ip, uint32_t left)
{
	uint32_t hash = 0;
	unsigned i;

	for (i = 8; i < IPV6_BYTES; i += 4)
		hash ^= read32(ip + i);
	return hash ^ hash_ports(ip + IPV6_BYTES, left - IPV6_BYTES, ip[6]);
}

static uint32_t
flow_hash(const struct frame *f)
{
	uint32_t at = ETHER_HDR_LEN, type = read16(f->data + 12), hash;

	if (type == ETHERTYPE_VLAN && f->len >= at + VLAN_BYTES) {
		type = read16(f->data + 16);
		at += VLAN_BYTES;
	}
	if (type == ETHERTYPE_IP && f->len >= at + IPV4_BYTES)
		hash = hash_ipv4(f->data + at, f->len - at);
	else if (type == ETHERTYPE_IPV6 && f->len >= at + IPV6_BYTES)
		hash = hash_ipv6(f->data + at, f->len - at);
	else
		hash = read32(f->data + 2) ^ read32(f->data + 8);
	/* Neighbours are to be spread: Knuth's multiplier, upper bits. */
	return hash * 2654435761u;
}

static struct nic_queue *
pick(const struct nic *n, const struct frame *f)
{
	if (n->rx_count == 1)
		return n->rx_live[0];
	return n->rx_live[(uint64_t)flow_hash(f) * n->rx_count >> 32];
}

/* --- header --------------------------------------------------------------- */

/* Where the segments' payload begins: a hint, as all of hdr_len is. */
static uint16_t
header_hint(const struct frame *f)
{
	uint32_t at = f->meta.csum_start, bytes = UDP_BYTES;

	if (f->meta.gso_type == META_GSO_NONE || at + TCP_BYTES > f->len)
		return 0;
	if ((f->meta.gso_type & ~META_GSO_ECN) == META_GSO_TCPV4 ||
	    (f->meta.gso_type & ~META_GSO_ECN) == META_GSO_TCPV6)
		bytes = (f->data[at + 12] >> 4) * 4u;
	return (uint16_t)(at + bytes);
}

static void
fill_head(const struct nic *n, const struct frame *f, unsigned chains,
    struct virtio_net_hdr_mrg_rxbuf *h)
{
	const struct frame_meta *m = &f->meta;

	memset(h, 0, sizeof *h);
	h->num_buffers = htole16((uint16_t)chains);
	if (__builtin_expect(frame_meta_is_zero(m), 1))
		return;
	if (n->takes & OFFLOAD_CSUM)
		h->hdr.flags = m->flags;
	h->hdr.gso_type = m->gso_type;
	h->hdr.gso_size = htole16(m->gso_size);
	h->hdr.hdr_len = htole16(header_hint(f));
	h->hdr.csum_start = htole16(m->csum_start);
	h->hdr.csum_offset = htole16(m->csum_offset);
}

/* --- into the guest's memory ---------------------------------------------- */

/* Copy to a chain from `off` on; what of `len` has room there. */
static uint32_t
scatter(const struct nic_queue *q, const struct nic_buffer *b, uint32_t off,
    const uint8_t *from, uint32_t len)
{
	const struct virtq_segment *s = q->segment + b->first;
	const struct virtq_segment *end = s + b->count;
	uint32_t done = 0, some;

	for (; s < end && done < len; s++) {
		if (off >= s->len) {
			off -= s->len;
			continue;
		}
		some = s->len - off;
		if (some > len - done)
			some = len - done;
		memcpy(s->base + off, from + done, some);
		done += some;
		off = 0;
	}
	return done;
}

/* Header and frame into the first `chains` chains, which have room. */
static void
write_frame(
    struct nic *n, struct nic_queue *q, const struct frame *f, unsigned chains)
{
	const struct nic_buffer *b = &q->ahead[q->at];
	const struct virtq_segment *s = q->segment + b->first;
	struct virtio_net_hdr_mrg_rxbuf head;
	uint32_t off = n->head_bytes, done, some;

	n->rx_frames++;
	n->rx_bytes += f->len;
	fill_head(n, f, chains, &head);
	if (__builtin_expect(s->len >= off + f->len, 1)) {
		memcpy(s->base, &head.hdr, sizeof head.hdr);
		if (off == sizeof head)
			memcpy(s->base + sizeof head.hdr, &head.num_buffers,
			    sizeof head.num_buffers);
		frame_copy(s->base + off, f->data, f->len);
		nic_queue_push(q, off + f->len);
		return;
	}
	(void)scatter(q, b, 0, (const uint8_t *)&head, off);
	for (done = 0; chains > 0; chains--, off = 0) {
		b = &q->ahead[q->at];
		some = scatter(q, b, off, f->data + done, f->len - done);
		done += some;
		nic_queue_push(q, off + some);
	}
}

/* --- one frame ------------------------------------------------------------ */

enum room { ROOM_LATER = -1, ROOM_NEVER = 0 }; /* else: chains */

/* How many chains does a frame need that is `need` bytes with its header? */
static int
count_chains(struct nic *n, struct nic_queue *q, uint32_t need)
{
	uint64_t room = 0;
	unsigned i;

	if (q->at == q->end)
		return ROOM_LATER;
	if (q->ahead[q->at].bytes < n->head_bytes) {
		nic_queue_break(q, "a receive chain shorter than its header");
		return ROOM_NEVER;
	}
	if (!n->mergeable)
		return q->ahead[q->at].bytes >= need ? 1 : ROOM_NEVER;
	for (i = q->at; i < q->end; i++) {
		room += q->ahead[i].bytes;
		if (room >= need)
			return (int)(i - q->at) + 1;
	}
	return i - q->at >= NIC_AHEAD ? ROOM_NEVER : ROOM_LATER;
}

/* It does not fit into what the guest gives us. */
static void
drop_large(struct nic *n, const struct frame *f)
{
	backend_count(n->be, BC_OUT_DROP_SIZE, 1);
	/* Without mergeable buffers drivers that take large frames should give
	 * large buffers. This one does not: no large ones any more. */
	if (!n->mergeable && f->meta.gso_type != META_GSO_NONE &&
	    !n->small_buffers) {
		n->small_buffers = true;
		nic_agreed(n, false);
	}
}

/*
 * Wait until there are more chains; false: there are some by now. A guest that
 * adds them quickly would kick for each of its batches before we wake: it is
 * looked at again instead, for as long as that pays.
 */
static bool
wait_for_chains(struct nic *n, struct nic_queue *q)
{
	struct nic_pace *p = &n->rx_pace;

	/* It gives no more before it has seen what it got. */
	nic_queue_call(q);
	q->hurry = true;
	if (pace_may_spin(
		PACE_SPIN_NS, &p->looked_ns, p->frames_ns, p->gap_ns)) {
		n->rx_blocked = n->rx_retry = n->rx_looks = true;
		nic_again(n);
		return true;
	}
	/* Those that we hold are known: armed for what comes behind them. */
	if (virtq_arm(&q->vq->q))
		return false;
	n->rx_blocked = true;
	if (q->at < q->end && !timer_pending(n->stuck))
		timer_set_ns(n->stuck, STUCK_NS);
	return true;
}

/*
 * Chains for one frame; `left` frames are there with it. ROOM_LATER: it has to
 * wait. Bounded: each turn has more chains than the one before, or the driver
 * has taken back what it had added.
 */
static int
find_chains(
    struct nic *n, struct nic_queue *q, const struct frame *f, size_t left)
{
	uint32_t need = n->head_bytes + f->len;
	unsigned want = left < NIC_AHEAD ? (unsigned)left : NIC_AHEAD;
	unsigned vain = 0;
	int chains;

	for (;;) {
		chains = count_chains(n, q, need);
		if (chains != ROOM_LATER)
			return chains;
		if (q->at < q->end)
			want = NIC_AHEAD;
		if (nic_queue_fill(n, q, want, true))
			continue;
		if (!virtq_running(&q->vq->q) || n->rx_stuck ||
		    nic_queue_is_full(q))
			return ROOM_NEVER;
		if (wait_for_chains(n, q))
			return ROOM_LATER;
		if (++vain == VAIN_MAX) {
			n->rx_blocked = n->rx_retry = true;
			nic_again(n);
			return ROOM_LATER;
		}
	}
}

/* May the guest have this frame, as it is? Counts if not. */
static bool
is_wanted(struct nic *n, const struct frame *f)
{
	if (!rx_filter_accepts(&n->ctrl.filter, f->data, f->len)) {
		backend_count(n->be, BC_OUT_DROP_FILTER, 1);
		return false;
	}
	/* It was on its way when the driver took back what it takes. */
	if (!frame_meta_is_zero(&f->meta) &&
	    !offload_covered(&f->meta, n->takes)) {
		backend_count(n->be, BC_OUT_DROP_OFFLOAD, 1);
		return false;
	}
	return true;
}

/* Deliver one frame, or drop it; false: it has to wait. */
static bool
deliver(struct nic *n, const struct frame *f, size_t left)
{
	struct nic_queue *q;
	int chains;

	if (!is_wanted(n, f))
		return true;
	q = pick(n, f);
	chains = find_chains(n, q, f, left);
	if (chains == ROOM_LATER)
		return false;
	n->rx_stuck = false;
	if (chains == ROOM_NEVER) {
		drop_large(n, f);
		return true;
	}
	write_frame(n, q, f, (unsigned)chains);
	nic_queue_gave(q, f->len);
	if (q->pushed >= NIC_FLUSH)
		nic_queue_show(n, q);
	return true;
}

size_t
nic_rx_frames(struct nic *n, const struct frame *f, size_t count)
{
	size_t done = 0;
	unsigned i;

	if (n->rx_count == 0 || !n->ctrl.link_up) {
		backend_count(n->be, BC_OUT_DROP_DISCONNECTED, count);
		return count;
	}
	while (done < count && deliver(n, &f[done], count - done))
		done++;
	/* One that turns out to be broken changes which ones are live. */
	for (i = 0; i < n->ctrl.config.pairs; i++) {
		if (n->rx[i]->vq)
			nic_queue_done(n, n->rx[i]);
	}
	backend_count(n->be, BC_OUT_FRAMES, n->rx_frames);
	backend_count(n->be, BC_OUT_BYTES, n->rx_bytes);
	n->rx_frames = n->rx_bytes = 0;
	if (done > 0)
		pace_frames(&n->rx_pace.frames_ns, &n->rx_pace.gap_ns);
	return done;
}

void
nic_rx_retry(struct nic *n)
{
	if (!n->rx_blocked)
		return;
	n->rx_blocked = false;
	timer_stop(n->stuck);
	backend_more(n->be);
}
