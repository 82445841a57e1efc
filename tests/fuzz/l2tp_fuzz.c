/*
 * l2tp_fuzz.c - any datagram against a pseudo-wire with any options. The first
 * eight bytes of the input are the options.
 *
 * Checked: what is taken for a frame is inside the datagram and not empty, and
 * its header, made again from the options as the peer has them, is the one
 * that came, but for what a receiver does not look at.
 */
#include "backends/backend_l2tp.h"

#include <stdlib.h>
#include <string.h>

#include "gen/types.h"

#define OPTION_BYTES 8u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct l2tp wire;

static void
options_of(const uint8_t *b, struct netdev_l2tpv3_options *o)
{
	memset(o, 0, sizeof *o);
	o->has_udp = o->udp = b[0] & 1;
	o->has_counter = o->counter = b[0] & 2;
	o->has_pincounter = o->pincounter = b[0] & 4;
	o->has_cookie64 = b[0] & 8;
	o->cookie64 = b[0] & 16;
	o->has_rxcookie = b[0] & 32;
	o->has_txcookie = b[0] & 64;
	o->has_offset = true;
	o->offset = (uint32_t)b[1] + (b[2] & 1);
	o->txsession = b[3];
	o->rxcookie = b[4] | (uint64_t)b[5] << (o->has_cookie64 ? 32 : 8);
	o->txcookie = o->rxcookie;
	if (b[6] & 1)
		o->rxcookie <<= b[7] % 64;
}

static bool
same(const uint8_t *data, size_t len, uint32_t at)
{
	struct iovec head = l2tp_head(&wire, 0);
	const uint8_t *made = head.iov_base, *came = data + at - head.iov_len;
	size_t session = wire.udp ? 4 : 0;

	return at < len && at >= head.iov_len &&
	       memcmp(made + session, came + session, 4 + wire.cookie_bytes) ==
		   0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct netdev_l2tpv3_options o;
	struct err err;
	uint8_t *copy;
	uint32_t at;
	bool ip;

	if (size < OPTION_BYTES)
		return 0;
	memset(&wire, 0, sizeof wire);
	options_of(data, &o);
	ip = data[0] & 128;
	if (l2tp_setup(&wire, &o, &err) < 0)
		return 0;
	data += OPTION_BYTES;
	size -= OPTION_BYTES;
	/* Of exactly that size, so that the sanitizer sees its end. */
	copy = malloc(size ? size : 1);
	if (!copy)
		return 0;
	memcpy(copy, data, size);
	if (l2tp_open(&wire, ip, copy, size, &at) == L2TP_FINE &&
	    wire.rx_cookie == wire.tx_cookie && !same(copy, size, at))
		abort();
	free(copy);
	return 0;
}
