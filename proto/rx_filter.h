/*
 * rx_filter.h - the receive filter of a virtio network card: which frames its
 * guest wants. Used by the nic (the truth) and by its lane (a gift: what the
 * nic would throw away is not copied).
 *
 * Specification: VIRTIO 1.2, 5.1.6.5; table size and order of the decision as
 * QEMU's hw/net/virtio-net.c. Addresses are numbers of 48 bits, first byte
 * on the wire most significant.
 */
#ifndef PROTO_RX_FILTER_H
#define PROTO_RX_FILTER_H

#include <stdbool.h>
#include <stdint.h>

/* Unicast and multicast entries together (QEMU's MAC_TABLE_ENTRIES). */
#define RX_FILTER_MACS 64u
#define RX_FILTER_VIDS 4096u

struct rx_filter {
	bool known;   /* the driver has a control queue that sets this */
	bool promisc; /* everything, VLANs too */
	bool allmulti, alluni, nomulti, nouni, nobcast;
	bool uni_overflow, multi_overflow; /* more than the table holds */
	bool vlan_filter; /* the driver has CTRL_VLAN: `vlan` counts */
	uint64_t mac;     /* the card's own */
	uint32_t uni_count, multi_count; /* of `table`: unicast first */
	uint64_t table[RX_FILTER_MACS];
	uint64_t vlan[RX_FILTER_VIDS / 64]; /* bit VID % 64 of word VID / 64 */
};

/* rx_filter_reset - as after a device reset: everything passes. */
void rx_filter_reset(struct rx_filter *f, uint64_t mac);

/* rx_filter_accepts - may the guest have this frame? `len` >= 14. */
bool rx_filter_accepts(
    const struct rx_filter *f, const uint8_t *frame, uint32_t len);

bool rx_filter_equal(const struct rx_filter *a, const struct rx_filter *b);

/* Six bytes as a number, and back. */
uint64_t mac_number(const uint8_t mac[6]);
void mac_bytes(uint64_t number, uint8_t mac[6]);

#define MAC_TEXT_BYTES 18
/* mac_parse - six hexadecimal bytes with ':' or '-'. 0 or -EINVAL.
 * mac_text - lower case, with colons. */
int mac_parse(const char *text, uint64_t *number);
const char *mac_text(uint64_t number, char buf[MAC_TEXT_BYTES]);

#endif
