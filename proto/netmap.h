/*
 * netmap.h - the netmap device as seen by a program: requests and what is in
 * the shared memory. Written from the facts of the interface (API 14 and 15,
 * LP64, the host's byte order); Debian has no header for it.
 */
#ifndef PROTO_NETMAP_H
#define PROTO_NETMAP_H

#include "proto/err.h"

#include <stddef.h>
#include <stdint.h>

#define NETMAP_DEVICE "/dev/netmap"
#define NETMAP_API    14

/* ioctl(2) numbers; the syncs have no argument. */
#define NETMAP_IOC_REGISTER_OLD UINT32_C(0xc03c6992)
#define NETMAP_IOC_TXSYNC       UINT32_C(0x00006994)
#define NETMAP_IOC_RXSYNC       UINT32_C(0x00006995)
#define NETMAP_IOC_CONTROL      UINT32_C(0xc0586997)

enum { NETMAP_REQ_REGISTER = 1 };

enum netmap_mode {
	NETMAP_MODE_NIC = 1,      /* all rings of the card, or of a port */
	NETMAP_MODE_HOST = 2,     /* those of the host's stack */
	NETMAP_MODE_NIC_HOST = 3, /* both */
	NETMAP_MODE_ONE = 4,      /* one pair */
};

#define NETMAP_REG_EXCLUSIVE  UINT64_C(0x800)
#define NETMAP_REG_NO_TX_POLL UINT64_C(0x20000)

struct netmap_header {
	uint16_t version, type;
	uint32_t reserved; /* comes back as 1 from some errors */
	char name[64];
	uint64_t options, body;
};

struct netmap_register {
	uint64_t offset, bytes; /* out */
	uint32_t tx_slots, rx_slots;
	uint16_t tx_rings, rx_rings, host_tx_rings, host_rx_rings;
	uint16_t mem_id, ring;
	uint32_t mode, extra_bufs, pad;
	uint64_t flags;
};

struct netmap_register_old {
	char name[16];
	uint32_t version, offset, bytes, tx_slots, rx_slots;
	uint16_t tx_rings, rx_rings;
	uint16_t ring; /* 0x1000: no poll of tx; 0x4000: one ring */
	uint16_t cmd, arg1, mem_id;
	uint32_t extra_bufs, flags, spare;
};

#define NETMAP_OLD_NO_TX_POLL 0x1000u
#define NETMAP_OLD_ONE_RING   0x4000u

/* In the shared memory. Behind it: ring offsets from here, int64 each: tx, host
 * tx, rx, host rx; 0: that ring is not ours. */
struct netmap_if {
	char name[16];
	uint32_t version, flags;
	uint32_t tx_rings, rx_rings, bufs_head;
	uint32_t host_tx_rings, host_rx_rings;
	uint32_t spare[3];
};

struct netmap_slot {
	uint32_t buf;
	uint16_t len, flags;
	uint64_t ptr;
};

#define NETMAP_SLOT_MORE 0x0020u /* the frame goes on in the next slot */

struct netmap_ring {
	int64_t buf_ofs; /* from here to buffer 0 */
	uint32_t slots, buf_bytes;
	uint16_t id, dir;
	uint32_t head, cur; /* ours */
	uint32_t tail;      /* the kernel's */
	uint32_t flags;
	uint32_t pad;
	int64_t stamp[2];
	uint64_t offset_mask, buf_align;
	uint8_t room[56];
	uint8_t opaque[128];
	struct netmap_slot slot[];
};

/* Buffers 0 and 1 belong to nobody. */
#define NETMAP_BUF_FIRST 2u

_Static_assert(sizeof(struct netmap_header) == 88, "header");
_Static_assert(sizeof(struct netmap_register) == 56, "register");
_Static_assert(sizeof(struct netmap_register_old) == 60, "nmreq");
_Static_assert(sizeof(struct netmap_if) == 56, "if");
_Static_assert(sizeof(struct netmap_slot) == 16, "slot");
_Static_assert(sizeof(struct netmap_ring) == 256, "ring");
_Static_assert(offsetof(struct netmap_ring, tail) == 28, "tail");
_Static_assert(offsetof(struct netmap_ring, stamp) == 40, "stamp");
_Static_assert(offsetof(struct netmap_ring, offset_mask) == 56, "mask");

enum netmap_kind { NETMAP_NIC, NETMAP_VALE, NETMAP_PIPE };

/* A port's name taken apart. */
struct netmap_port {
	enum netmap_kind kind;
	char name[64]; /* as the kernel wants it */
	enum netmap_mode mode;
	uint16_t ring;
	uint16_t mem_id; /* 0: the kernel chooses */
};

/*
 * netmap_port_parse - "netmap:NAME" or "valeSWITCH:NAME", then for a card "-N"
 * (one ring), "^" (the host's rings) or "*" (both), "{ID" or "}ID" (an end of a
 * pipe), "/x" and "@N". 0, or -EINVAL with *err.
 */
int netmap_port_parse(
    const char *text, struct netmap_port *out, struct err *err);

#endif
