/*
 * backend_l2tp.h - what stands around a frame of an L2TPv3 pseudo-wire.
 *
 * Pure: no socket, no ring. The datagrams come from and go to
 * backend_dgram.[ch].
 */
#ifndef BACKENDS_BACKEND_L2TP_H
#define BACKENDS_BACKEND_L2TP_H

#include "proto/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct netdev_l2tpv3_options;

#define L2TP_OFFSET_MAX 256u
/* Flags, session, cookie, counter, offset area. */
#define L2TP_HEAD_MAX (4u + 4u + 8u + 4u + L2TP_OFFSET_MAX)
/* Headers that are ready at a time. */
#define L2TP_HEADS 64u

/* One pseudo-wire, both directions. Zeroed before l2tp_setup. */
struct l2tp {
	bool udp;              /* a flags word comes first */
	bool has_counter;      /* a counter comes last */
	bool pinned;           /* ... and is always 0 */
	unsigned cookie_bytes; /* 0, 4 or 8 */
	uint32_t offset;       /* zeros between header and frame */
	uint32_t tx_session, rx_session;
	uint64_t tx_cookie, rx_cookie;
	uint32_t sent;       /* frames, modulo 2^32 */
	uint32_t head_bytes; /* of everything before the frame */
	uint8_t heads[L2TP_HEADS][L2TP_HEAD_MAX];
};

/* What is wrong with a datagram. */
enum l2tp_flaw {
	L2TP_FINE,
	L2TP_SHORT,    /* no room for a header and a frame */
	L2TP_NOT_DATA, /* control message, other version, no IPv4 header */
	L2TP_SESSION,
	L2TP_COOKIE
};

/*
 * l2tp_setup - take the options; those of addresses are not looked at.
 * 0, or -EINVAL with *err.
 */
int l2tp_setup(
    struct l2tp *l, const struct netdev_l2tpv3_options *o, struct err *err);

/*
 * l2tp_head - the header of the i-th frame (i < L2TP_HEADS) that is not yet
 * known to be sent. Valid until the next call with that i.
 */
struct iovec l2tp_head(struct l2tp *l, size_t i);

/* l2tp_sent - so many of those frames are on their way. */
void l2tp_sent(struct l2tp *l, size_t count);

/*
 * l2tp_open - is this a frame of the wire?
 *   ip     the datagram begins with its IPv4 header, as raw sockets give it
 * L2TP_FINE and *at, where the frame begins (at < len), or what is wrong.
 */
enum l2tp_flaw l2tp_open(const struct l2tp *l, bool ip, const uint8_t *data,
    size_t len, uint32_t *at);

#endif
