/*
 * backend_net_ctrl.h - what a virtio network card knows about itself: features,
 * config space, control commands, receive filter, announcements. Pure: bytes
 * in, bytes out, no descriptor, no queue.
 *
 * Specification: VIRTIO 1.2, 5.1; virtio-net-control.md.
 */
#ifndef BACKENDS_BACKEND_NET_CTRL_H
#define BACKENDS_BACKEND_NET_CTRL_H

#include "proto/rx_filter.h"

#include <linux/virtio_net.h>
#include <stddef.h>

/* Queue pairs that a card can have. */
#define NET_PAIRS_MAX 16u
/* A control command is copied out of guest memory before it is looked at: the
 * longest has two full MAC tables, many times over; longer ones get ERR. */
#define NET_COMMAND_BYTES_MAX 65536u

/* Newer than the headers of Debian 12. VIRTIO 1.3, 5.1.3. */
#define NET_F_GUEST_USO4 54
#define NET_F_GUEST_USO6 55
#define NET_F_HOST_USO   56

struct net_ctrl_config {
	uint64_t mac;
	uint16_t mtu;   /* 0: not offered */
	uint16_t pairs; /* 1..NET_PAIRS_MAX */
	/* What is offered. */
	bool csum; /* HOST side: CSUM */
	bool guest_csum;
	bool tso4, tso6, ecn, ufo, uso; /* HOST_*: from the guest */
	bool guest_tso4, guest_tso6, guest_ecn, guest_ufo;
	bool guest_uso4, guest_uso6;
	bool mrg_rxbuf, ctrl_vq, packed, event_idx, indirect;
};

struct net_ctrl {
	struct net_ctrl_config config; /* copied */
	uint64_t told;                 /* what the driver acked, as told */
	uint64_t acked;                /* of that, what has all that it needs */
	bool link_up;
	bool announce;           /* ANNOUNCE is set in the status field */
	uint16_t pairs;          /* active now */
	uint64_t guest_offloads; /* bits in force: acked, or as SET last */
	struct rx_filter filter;
	bool filter_changed; /* a command succeeded since it was cleared */
};

void net_ctrl_init(struct net_ctrl *n, const struct net_ctrl_config *c);

/* net_ctrl_features - what the device offers (bits of VIRTIO, without the
 * vhost-user one). Dependencies are kept: no CTRL_RX without CTRL_VQ. */
uint64_t net_ctrl_features(const struct net_ctrl *n);

/*
 * net_ctrl_features_ok - a subset, and possible? Missing dependencies among
 * the network's own bits are no reason to refuse: front-ends that serve the
 * control queue themselves keep its bit and pass on those that need it
 * (vhost-user.md 2); net_ctrl_ack leaves them out.
 */
bool net_ctrl_features_ok(const struct net_ctrl *n, uint64_t acked);

/*
 * net_ctrl_ack - the driver's features; sets filter.known, vlan_filter, VLAN
 * map, pairs and offloads as after FEATURES_OK. The same ones again (a message
 * for each pair of queues) change nothing.
 */
void net_ctrl_ack(struct net_ctrl *n, uint64_t acked);

static inline bool
net_ctrl_has(const struct net_ctrl *n, unsigned feature)
{
	return (n->acked >> feature & 1) != 0;
}

/* enum offload bits that the guest takes now, for backend_takes(). */
unsigned net_ctrl_takes(const struct net_ctrl *n);

/* net_ctrl_reset - as new; the configured mac is the mac again. */
void net_ctrl_reset(struct net_ctrl *n);

/* Config space in the layout of struct virtio_net_config, little endian. */
void net_ctrl_config_read(
    const struct net_ctrl *n, uint32_t offset, uint8_t *data, uint32_t len);
/* Only the mac, and only by legacy drivers without CTRL_MAC_ADDR; -EINVAL when
 * out of range, 0 when written or politely ignored. */
int net_ctrl_config_write(
    struct net_ctrl *n, uint32_t offset, const uint8_t *data, uint32_t len);

/* Index of the control queue with what is acked, or -1 without CTRL_VQ. */
int net_ctrl_queue(const struct net_ctrl *n);

/*
 * net_ctrl_command - obey one command: `len` readable bytes of the chain
 * (class, command, data), already copied. Returns VIRTIO_NET_OK or
 * VIRTIO_NET_ERR; an ERR has changed nothing. *event says what happened.
 */
enum net_ctrl_event {
	NET_CTRL_NOTHING,
	NET_CTRL_FILTER,   /* a command about filter, VLANs or mac was obeyed */
	NET_CTRL_PAIRS,    /* n->pairs is new */
	NET_CTRL_OFFLOADS, /* n->guest_offloads is new */
	NET_CTRL_ANNOUNCED, /* the driver has announced itself */
};
uint8_t net_ctrl_command(struct net_ctrl *n, const uint8_t *data, size_t len,
    enum net_ctrl_event *event);

/* Bytes of the header before each frame: 12 with VERSION_1 or MRG_RXBUF. */
unsigned net_ctrl_header_bytes(const struct net_ctrl *n);

#endif
