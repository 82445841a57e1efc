/*
 * backend_l2tp.c - the header of an L2TPv3 data message, made and read.
 *
 * Runs in: the l2tpv3 backend.
 * Trusts: no datagram.
 * Specification: RFC 3931 section 4.1 (data messages over UDP and IP), RFC
 * 4719 (Ethernet); QEMU net/l2tpv3.c for the options.
 *
 * All numbers are big-endian, in this order: flags and version (over UDP
 * only), session, cookie (4 or 8 bytes, if there is one), counter (if there is
 * one), `offset` zeros, the frame. The counter is where Linux has the layer 2
 * specific sublayer. Received ones are not looked at: frames of a hub have no
 * order that this could restore.
 */
#include "backends/backend_l2tp.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "gen/types.h"

/* A data message of version 3; the other bits are reserved. */
#define FLAGS_DATA    0x00030000u
#define FLAGS_CONTROL 0x80000000u
#define FLAGS_VERSION 0x000f0000u

#define IPV4_HEAD_MIN 20u

static uint32_t
get32(const uint8_t *at)
{
	uint32_t word;

	memcpy(&word, at, sizeof word);
	return be32toh(word);
}

static uint8_t *
put32(uint8_t *at, uint32_t value)
{
	uint32_t word = htobe32(value);

	memcpy(at, &word, sizeof word);
	return at + sizeof word;
}

/* --- options -------------------------------------------------------------- */

static int
take_cookies(
    struct l2tp *l, const struct netdev_l2tpv3_options *o, struct err *err)
{
	if (o->has_rxcookie != o->has_txcookie)
		return err_set(err, -EINVAL,
		    "require both 'rxcookie' and 'txcookie' or neither");
	if (!o->has_rxcookie)
		return 0;
	l->cookie_bytes = o->has_cookie64 && o->cookie64 ? 8 : 4;
	if (l->cookie_bytes == 4 &&
	    (o->rxcookie > UINT32_MAX || o->txcookie > UINT32_MAX))
		return err_set(err, -EINVAL,
		    "'%s' has more than 32 bits: set cookie64=on",
		    o->rxcookie > UINT32_MAX ? "rxcookie" : "txcookie");
	l->rx_cookie = o->rxcookie;
	l->tx_cookie = o->txcookie;
	return 0;
}

/* What is the same in every frame's header. */
static void
make_heads(struct l2tp *l)
{
	uint8_t *at = l->heads[0];
	size_t i;

	if (l->udp)
		at = put32(at, FLAGS_DATA);
	at = put32(at, l->tx_session);
	if (l->cookie_bytes == 8)
		at = put32(at, (uint32_t)(l->tx_cookie >> 32));
	if (l->cookie_bytes > 0)
		at = put32(at, (uint32_t)l->tx_cookie);
	if (l->has_counter)
		at = put32(at, 0);
	memset(at, 0, l->offset);
	l->head_bytes = (uint32_t)(at - l->heads[0]) + l->offset;
	for (i = 1; i < L2TP_HEADS; i++)
		memcpy(l->heads[i], l->heads[0], l->head_bytes);
}

int
l2tp_setup(
    struct l2tp *l, const struct netdev_l2tpv3_options *o, struct err *err)
{
	int rc;

	rc = take_cookies(l, o, err);
	if (rc < 0)
		return rc;
	if (o->has_offset && o->offset > L2TP_OFFSET_MAX)
		return err_set(err, -EINVAL, "offset must be at most %u bytes",
		    L2TP_OFFSET_MAX);
	l->udp = o->has_udp && o->udp;
	l->pinned = o->has_pincounter && o->pincounter;
	l->has_counter = l->pinned || (o->has_counter && o->counter);
	l->offset = o->has_offset ? o->offset : 0;
	l->tx_session = o->txsession;
	l->rx_session = o->has_rxsession ? o->rxsession : o->txsession;
	make_heads(l);
	return 0;
}

/* --- out ------------------------------------------------------------------ */

struct iovec
l2tp_head(struct l2tp *l, size_t i)
{
	uint8_t *head = l->heads[i];

	if (l->has_counter && !l->pinned)
		(void)put32(head + l->head_bytes - l->offset - 4,
		    l->sent + 1 + (uint32_t)i);
	return (struct iovec){head, l->head_bytes};
}

void
l2tp_sent(struct l2tp *l, size_t count)
{
	l->sent += (uint32_t)count;
}

/* --- in ------------------------------------------------------------------- */

/* Bytes of the IPv4 header, its options included; 0: it is none. */
static uint32_t
ipv4_head(const uint8_t *data, size_t len)
{
	uint32_t bytes;

	if (len < IPV4_HEAD_MIN || data[0] >> 4 != 4)
		return 0;
	bytes = (data[0] & 15u) * 4;
	return bytes < IPV4_HEAD_MIN ? 0 : bytes;
}

static bool
is_cookie(const struct l2tp *l, const uint8_t *at)
{
	if (l->cookie_bytes == 8)
		return get32(at) == l->rx_cookie >> 32 &&
		       get32(at + 4) == (uint32_t)l->rx_cookie;
	return l->cookie_bytes == 0 || get32(at) == l->rx_cookie;
}

enum l2tp_flaw
l2tp_open(const struct l2tp *l, bool ip, const uint8_t *data, size_t len,
    uint32_t *at)
{
	uint32_t skip = 0, flags;

	if (ip) {
		skip = ipv4_head(data, len);
		if (skip == 0)
			return len < IPV4_HEAD_MIN ? L2TP_SHORT : L2TP_NOT_DATA;
	}
	if (len <= skip + l->head_bytes)
		return L2TP_SHORT;
	*at = skip + l->head_bytes;
	data += skip;
	if (l->udp) {
		flags = get32(data);
		if ((flags & (FLAGS_CONTROL | FLAGS_VERSION)) != FLAGS_DATA)
			return L2TP_NOT_DATA;
		data += 4;
	}
	if (get32(data) != l->rx_session)
		return L2TP_SESSION;
	return is_cookie(l, data + 4) ? L2TP_FINE : L2TP_COOKIE;
}
