/*
 * backend_net_ctrl.c - features, config space and control commands of a virtio
 * network card.
 *
 * Runs in: the nic. Pure.
 * Trusts: its configuration. Commands are the guest's and are private copies.
 * Specification: VIRTIO 1.2, 5.1.3 to 5.1.6.5; table sizes and what a reset
 * sets as in QEMU's hw/net/virtio-net.c. Stricter than that: a command needs
 * its feature, counts are compared in 64 bits.
 */
#include "backends/backend_net_ctrl.h"

#include "proto/frame_meta.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>

#define BIT(n) (UINT64_C(1) << (n))

#define MAC_BYTES 6u

/* --- features ------------------------------------------------------------- */

/* What a feature is worth nothing without: at least one of `one_of`. Those
 * that others need come first, so one pass is enough. */
static const struct need {
	unsigned feature;
	uint64_t one_of;
} needs[] = {
    {VIRTIO_NET_F_GUEST_TSO4, BIT(VIRTIO_NET_F_GUEST_CSUM)},
    {VIRTIO_NET_F_GUEST_TSO6, BIT(VIRTIO_NET_F_GUEST_CSUM)},
    {VIRTIO_NET_F_GUEST_UFO, BIT(VIRTIO_NET_F_GUEST_CSUM)},
    {NET_F_GUEST_USO4, BIT(VIRTIO_NET_F_GUEST_CSUM)},
    {NET_F_GUEST_USO6, BIT(VIRTIO_NET_F_GUEST_CSUM)},
    {VIRTIO_NET_F_GUEST_ECN,
	BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6)},
    {VIRTIO_NET_F_HOST_TSO4, BIT(VIRTIO_NET_F_CSUM)},
    {VIRTIO_NET_F_HOST_TSO6, BIT(VIRTIO_NET_F_CSUM)},
    {VIRTIO_NET_F_HOST_UFO, BIT(VIRTIO_NET_F_CSUM)},
    {NET_F_HOST_USO, BIT(VIRTIO_NET_F_CSUM)},
    {VIRTIO_NET_F_HOST_ECN,
	BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6)},
    {VIRTIO_NET_F_CTRL_RX, BIT(VIRTIO_NET_F_CTRL_VQ)},
    {VIRTIO_NET_F_CTRL_RX_EXTRA, BIT(VIRTIO_NET_F_CTRL_RX)},
    {VIRTIO_NET_F_CTRL_VLAN, BIT(VIRTIO_NET_F_CTRL_VQ)},
    {VIRTIO_NET_F_GUEST_ANNOUNCE, BIT(VIRTIO_NET_F_CTRL_VQ)},
    {VIRTIO_NET_F_GUEST_ANNOUNCE, BIT(VIRTIO_NET_F_STATUS)},
    {VIRTIO_NET_F_MQ, BIT(VIRTIO_NET_F_CTRL_VQ)},
    {VIRTIO_NET_F_CTRL_MAC_ADDR, BIT(VIRTIO_NET_F_CTRL_VQ)},
    {VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, BIT(VIRTIO_NET_F_CTRL_VQ)},
};

/* Features of frames to the guest that GUEST_OFFLOADS_SET may switch. */
#define GUEST_OFFLOADS                                                         \
	(BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) |         \
	    BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_ECN) |       \
	    BIT(VIRTIO_NET_F_GUEST_UFO) | BIT(NET_F_GUEST_USO4) |              \
	    BIT(NET_F_GUEST_USO6))

static uint64_t
without_needy(uint64_t features)
{
	size_t i;

	for (i = 0; i < sizeof needs / sizeof *needs; i++) {
		if (!(features & needs[i].one_of))
			features &= ~BIT(needs[i].feature);
	}
	return features;
}

static uint64_t
offer(bool yes, unsigned feature)
{
	return yes ? BIT(feature) : 0;
}

uint64_t
net_ctrl_features(const struct net_ctrl *n)
{
	const struct net_ctrl_config *c = &n->config;
	uint64_t f =
	    BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_IN_ORDER) |
	    BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS) |
	    BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) |
	    BIT(VIRTIO_NET_F_CTRL_VLAN) | BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) |
	    BIT(VIRTIO_NET_F_CTRL_MAC_ADDR);

	f |= offer(c->ctrl_vq, VIRTIO_NET_F_CTRL_VQ);
	f |= offer(c->guest_csum, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
	f |= offer(c->pairs > 1, VIRTIO_NET_F_MQ);
	f |= offer(c->mtu != 0, VIRTIO_NET_F_MTU);
	f |= offer(c->mrg_rxbuf, VIRTIO_NET_F_MRG_RXBUF);
	f |= offer(c->packed, VIRTIO_F_RING_PACKED);
	f |= offer(c->event_idx, VIRTIO_RING_F_EVENT_IDX);
	f |= offer(c->indirect, VIRTIO_RING_F_INDIRECT_DESC);
	f |= offer(c->csum, VIRTIO_NET_F_CSUM);
	f |= offer(c->tso4, VIRTIO_NET_F_HOST_TSO4);
	f |= offer(c->tso6, VIRTIO_NET_F_HOST_TSO6);
	f |= offer(c->ecn, VIRTIO_NET_F_HOST_ECN);
	f |= offer(c->ufo, VIRTIO_NET_F_HOST_UFO);
	f |= offer(c->uso, NET_F_HOST_USO);
	f |= offer(c->guest_csum, VIRTIO_NET_F_GUEST_CSUM);
	f |= offer(c->guest_tso4, VIRTIO_NET_F_GUEST_TSO4);
	f |= offer(c->guest_tso6, VIRTIO_NET_F_GUEST_TSO6);
	f |= offer(c->guest_ecn, VIRTIO_NET_F_GUEST_ECN);
	f |= offer(c->guest_ufo, VIRTIO_NET_F_GUEST_UFO);
	f |= offer(c->guest_uso4, NET_F_GUEST_USO4);
	f |= offer(c->guest_uso6, NET_F_GUEST_USO6);
	return without_needy(f);
}

bool
net_ctrl_features_ok(const struct net_ctrl *n, uint64_t acked)
{
	if (acked & ~net_ctrl_features(n))
		return false;
	/* Packed rings are of the new kind of device only. */
	return !(acked & BIT(VIRTIO_F_RING_PACKED)) ||
	       (acked & BIT(VIRTIO_F_VERSION_1));
}

/* --- life ----------------------------------------------------------------- */

void
net_ctrl_init(struct net_ctrl *n, const struct net_ctrl_config *c)
{
	memset(n, 0, sizeof *n);
	n->config = *c;
	n->link_up = true;
	net_ctrl_reset(n);
}

void
net_ctrl_reset(struct net_ctrl *n)
{
	n->told = n->acked = n->guest_offloads = 0;
	n->announce = n->filter_changed = false;
	n->pairs = 1;
	rx_filter_reset(&n->filter, n->config.mac);
}

void
net_ctrl_ack(struct net_ctrl *n, uint64_t acked)
{
	if (acked == n->told)
		return;
	n->told = acked;
	n->acked = without_needy(acked);
	n->guest_offloads = n->acked & GUEST_OFFLOADS;
	n->announce = false;
	rx_filter_reset(&n->filter, n->filter.mac);
	n->filter.known = net_ctrl_has(n, VIRTIO_NET_F_CTRL_RX);
	n->filter.vlan_filter = net_ctrl_has(n, VIRTIO_NET_F_CTRL_VLAN);
	/* Who keeps the control queue to itself enables the pairs one by one:
	 * all may be used. */
	n->pairs = 1;
	if (acked & BIT(VIRTIO_NET_F_MQ) && !net_ctrl_has(n, VIRTIO_NET_F_MQ))
		n->pairs = n->config.pairs;
}

int
net_ctrl_queue(const struct net_ctrl *n)
{
	if (!net_ctrl_has(n, VIRTIO_NET_F_CTRL_VQ))
		return -1;
	return net_ctrl_has(n, VIRTIO_NET_F_MQ) ? 2 * n->config.pairs : 2;
}

unsigned
net_ctrl_header_bytes(const struct net_ctrl *n)
{
	if (net_ctrl_has(n, VIRTIO_F_VERSION_1) ||
	    net_ctrl_has(n, VIRTIO_NET_F_MRG_RXBUF))
		return sizeof(struct virtio_net_hdr_mrg_rxbuf);
	return sizeof(struct virtio_net_hdr);
}

unsigned
net_ctrl_takes(const struct net_ctrl *n)
{
	static const struct {
		unsigned feature, offload;
	} map[] = {
	    {VIRTIO_NET_F_GUEST_CSUM, OFFLOAD_CSUM},
	    {VIRTIO_NET_F_GUEST_TSO4, OFFLOAD_TSO4},
	    {VIRTIO_NET_F_GUEST_TSO6, OFFLOAD_TSO6},
	    {VIRTIO_NET_F_GUEST_ECN, OFFLOAD_ECN},
	    {VIRTIO_NET_F_GUEST_UFO, OFFLOAD_UFO},
	    {NET_F_GUEST_USO4, OFFLOAD_USO4},
	    {NET_F_GUEST_USO6, OFFLOAD_USO6},
	};
	unsigned takes = 0;
	size_t i;

	/* The set in force can have lost what the others need. */
	for (i = 0; i < sizeof map / sizeof *map; i++) {
		if (without_needy(n->guest_offloads) & BIT(map[i].feature))
			takes |= map[i].offload;
	}
	return takes;
}

/* --- config space --------------------------------------------------------- */

static void
fill_config(const struct net_ctrl *n, struct virtio_net_config *c)
{
	uint64_t offered = net_ctrl_features(n);

	memset(c, 0, sizeof *c);
	mac_bytes(n->filter.mac, c->mac);
	c->status =
	    htole16((uint16_t)((n->link_up ? VIRTIO_NET_S_LINK_UP : 0) |
			       (n->announce ? VIRTIO_NET_S_ANNOUNCE : 0)));
	if (offered & BIT(VIRTIO_NET_F_MQ))
		c->max_virtqueue_pairs = htole16(n->config.pairs);
	c->mtu = htole16(n->config.mtu);
}

void
net_ctrl_config_read(
    const struct net_ctrl *n, uint32_t offset, uint8_t *data, uint32_t len)
{
	struct virtio_net_config c;
	uint32_t most;

	memset(data, 0, len);
	if (offset >= sizeof c)
		return;
	fill_config(n, &c);
	most = (uint32_t)sizeof c - offset;
	memcpy(data, (const uint8_t *)&c + offset, len < most ? len : most);
}

int
net_ctrl_config_write(
    struct net_ctrl *n, uint32_t offset, const uint8_t *data, uint32_t len)
{
	uint8_t mac[MAC_BYTES];
	uint32_t i;

	if ((uint64_t)offset + len > sizeof(struct virtio_net_config))
		return -EINVAL;
	if (net_ctrl_has(n, VIRTIO_NET_F_CTRL_MAC_ADDR) ||
	    net_ctrl_has(n, VIRTIO_F_VERSION_1))
		return 0;
	mac_bytes(n->filter.mac, mac);
	for (i = 0; i < len && offset + i < MAC_BYTES; i++)
		mac[offset + i] = data[i];
	n->filter.mac = mac_number(mac);
	return 0;
}

/* --- commands ------------------------------------------------------------- */

/* What is left of a command's data. */
struct reader {
	const uint8_t *at;
	size_t left;
};

static bool
take(struct reader *r, void *out, size_t bytes)
{
	if (r->left < bytes)
		return false;
	memcpy(out, r->at, bytes);
	r->at += bytes;
	r->left -= bytes;
	return true;
}

static bool
obey_rx(struct net_ctrl *n, uint8_t cmd, struct reader *r)
{
	struct rx_filter *f = &n->filter;
	bool *const mode[] = {
	    [VIRTIO_NET_CTRL_RX_PROMISC] = &f->promisc,
	    [VIRTIO_NET_CTRL_RX_ALLMULTI] = &f->allmulti,
	    [VIRTIO_NET_CTRL_RX_ALLUNI] = &f->alluni,
	    [VIRTIO_NET_CTRL_RX_NOMULTI] = &f->nomulti,
	    [VIRTIO_NET_CTRL_RX_NOUNI] = &f->nouni,
	    [VIRTIO_NET_CTRL_RX_NOBCAST] = &f->nobcast,
	};
	unsigned feature = cmd >= VIRTIO_NET_CTRL_RX_ALLUNI
			       ? VIRTIO_NET_F_CTRL_RX_EXTRA
			       : VIRTIO_NET_F_CTRL_RX;
	uint8_t on;

	if (cmd >= sizeof mode / sizeof *mode || !net_ctrl_has(n, feature) ||
	    !take(r, &on, sizeof on))
		return false;
	*mode[cmd] = on != 0;
	return true;
}

/* One list of addresses; into `table` when it has `room`. */
static bool
take_list(struct reader *r, uint64_t *table, uint32_t room, uint32_t *stored,
    bool *overflow)
{
	uint32_t count, i;

	if (!take(r, &count, sizeof count))
		return false;
	count = le32toh(count);
	/* In 64 bits: six times a count can wrap in 32. */
	if ((uint64_t)count * MAC_BYTES > r->left)
		return false;
	*overflow = count > room;
	*stored = *overflow ? 0 : count;
	for (i = 0; i < *stored; i++)
		table[i] = mac_number(r->at + (size_t)i * MAC_BYTES);
	r->at += (size_t)count * MAC_BYTES;
	r->left -= (size_t)count * MAC_BYTES;
	return true;
}

static bool
set_tables(struct net_ctrl *n, struct reader *r)
{
	uint64_t table[RX_FILTER_MACS];
	uint32_t uni, multi;
	bool uni_overflow, multi_overflow;

	if (!take_list(r, table, RX_FILTER_MACS, &uni, &uni_overflow) ||
	    !take_list(r, table + uni, RX_FILTER_MACS - uni, &multi,
		&multi_overflow) ||
	    r->left != 0)
		return false;
	n->filter.uni_count = uni;
	n->filter.multi_count = multi;
	n->filter.uni_overflow = uni_overflow;
	n->filter.multi_overflow = multi_overflow;
	memcpy(n->filter.table, table, (uni + multi) * sizeof table[0]);
	return true;
}

static bool
obey_mac(struct net_ctrl *n, uint8_t cmd, struct reader *r)
{
	uint8_t mac[MAC_BYTES];

	if (cmd == VIRTIO_NET_CTRL_MAC_TABLE_SET)
		return net_ctrl_has(n, VIRTIO_NET_F_CTRL_RX) &&
		       set_tables(n, r);
	if (cmd != VIRTIO_NET_CTRL_MAC_ADDR_SET ||
	    !net_ctrl_has(n, VIRTIO_NET_F_CTRL_MAC_ADDR) ||
	    r->left != sizeof mac || !take(r, mac, sizeof mac))
		return false;
	n->filter.mac = mac_number(mac);
	return true;
}

static bool
obey_vlan(struct net_ctrl *n, uint8_t cmd, struct reader *r)
{
	uint64_t bit;
	uint16_t vid;

	if (!net_ctrl_has(n, VIRTIO_NET_F_CTRL_VLAN) ||
	    !take(r, &vid, sizeof vid))
		return false;
	vid = le16toh(vid);
	if (vid >= RX_FILTER_VIDS)
		return false;
	bit = BIT(vid % 64);
	if (cmd == VIRTIO_NET_CTRL_VLAN_ADD)
		n->filter.vlan[vid / 64] |= bit;
	else if (cmd == VIRTIO_NET_CTRL_VLAN_DEL)
		n->filter.vlan[vid / 64] &= ~bit;
	else
		return false;
	return true;
}

static bool
obey_announce(struct net_ctrl *n, uint8_t cmd)
{
	if (cmd != VIRTIO_NET_CTRL_ANNOUNCE_ACK ||
	    !net_ctrl_has(n, VIRTIO_NET_F_GUEST_ANNOUNCE) || !n->announce)
		return false;
	n->announce = false;
	return true;
}

static bool
obey_mq(struct net_ctrl *n, uint8_t cmd, struct reader *r)
{
	uint16_t pairs;

	if (cmd != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET ||
	    !net_ctrl_has(n, VIRTIO_NET_F_MQ) || !take(r, &pairs, sizeof pairs))
		return false;
	pairs = le16toh(pairs);
	if (pairs < VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MIN || pairs > n->config.pairs)
		return false;
	n->pairs = pairs;
	return true;
}

static bool
obey_offloads(struct net_ctrl *n, uint8_t cmd, struct reader *r)
{
	uint64_t wanted;

	if (cmd != VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET ||
	    !net_ctrl_has(n, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) ||
	    !take(r, &wanted, sizeof wanted))
		return false;
	wanted = le64toh(wanted);
	if (wanted & ~(n->acked & GUEST_OFFLOADS))
		return false;
	n->guest_offloads = wanted;
	return true;
}

static bool
obey(struct net_ctrl *n, const struct virtio_net_ctrl_hdr *head,
    struct reader *r, enum net_ctrl_event *event)
{
	switch (head->class) {
	case VIRTIO_NET_CTRL_RX:
		*event = NET_CTRL_FILTER;
		return obey_rx(n, head->cmd, r);
	case VIRTIO_NET_CTRL_MAC:
		*event = NET_CTRL_FILTER;
		return obey_mac(n, head->cmd, r);
	case VIRTIO_NET_CTRL_VLAN:
		*event = NET_CTRL_FILTER;
		return obey_vlan(n, head->cmd, r);
	case VIRTIO_NET_CTRL_ANNOUNCE:
		*event = NET_CTRL_ANNOUNCED;
		return obey_announce(n, head->cmd);
	case VIRTIO_NET_CTRL_MQ:
		*event = NET_CTRL_PAIRS;
		return obey_mq(n, head->cmd, r);
	case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
		*event = NET_CTRL_OFFLOADS;
		return obey_offloads(n, head->cmd, r);
	default:
		return false;
	}
}

uint8_t
net_ctrl_command(struct net_ctrl *n, const uint8_t *data, size_t len,
    enum net_ctrl_event *event)
{
	struct reader r = {data, len};
	struct virtio_net_ctrl_hdr head;

	if (!take(&r, &head, sizeof head) || !obey(n, &head, &r, event)) {
		*event = NET_CTRL_NOTHING;
		return VIRTIO_NET_ERR;
	}
	if (*event == NET_CTRL_FILTER)
		n->filter_changed = true;
	return VIRTIO_NET_OK;
}
