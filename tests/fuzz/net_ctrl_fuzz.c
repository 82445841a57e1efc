/*
 * net_ctrl_fuzz.c - a hostile driver's control commands, one after the other.
 * Input: features acked (8 bytes), then commands, each with its length in two
 * bytes before it.
 *
 * Checked: an error changes nothing; the filter stays within its bounds, and
 * can be asked about any frame; pairs and offloads stay within what is there.
 */
#include "backends/backend_net_ctrl.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct net_ctrl_config config = {
    .mac = UINT64_C(0x525400123456),
    .mtu = 1500,
    .pairs = 3,
    .csum = true,
    .guest_csum = true,
    .guest_tso4 = true,
    .guest_tso6 = true,
    .guest_ecn = true,
    .guest_ufo = true,
    .mrg_rxbuf = true,
    .ctrl_vq = true,
};

static void
check(const struct net_ctrl *n)
{
	const struct rx_filter *f = &n->filter;

	if (f->uni_count > RX_FILTER_MACS || f->multi_count > RX_FILTER_MACS ||
	    f->uni_count + f->multi_count > RX_FILTER_MACS ||
	    (f->uni_overflow && f->uni_count > 0) ||
	    (f->multi_overflow && f->multi_count > 0) ||
	    f->mac >= UINT64_C(1) << 48 || n->pairs < 1 ||
	    n->pairs > config.pairs || n->guest_offloads & ~n->acked)
		abort();
}

static void
obey(struct net_ctrl *n, const uint8_t *data, size_t len)
{
	uint8_t *exact = malloc(len ? len : 1), frame[16] = {0}, space[40];
	enum net_ctrl_event event;
	struct net_ctrl before;

	memcpy(exact, data, len);
	memcpy(&before, n, sizeof before);
	if (net_ctrl_command(n, exact, len, &event) == VIRTIO_NET_OK) {
		if (event == NET_CTRL_NOTHING)
			abort();
	} else if (event != NET_CTRL_NOTHING ||
		   memcmp(&before, n, sizeof before) != 0) {
		abort();
	}
	check(n);
	memcpy(frame, exact, len < sizeof frame ? len : sizeof frame);
	(void)rx_filter_accepts(&n->filter, frame, sizeof frame);
	net_ctrl_config_read(n, frame[0], space, frame[1] % sizeof space);
	free(exact);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct net_ctrl n;
	uint64_t acked;
	uint16_t len;

	if (size < sizeof acked)
		return 0;
	memcpy(&acked, data, sizeof acked);
	data += sizeof acked;
	size -= sizeof acked;
	net_ctrl_init(&n, &config);
	net_ctrl_ack(&n, acked & net_ctrl_features(&n));
	while (size >= sizeof len) {
		memcpy(&len, data, sizeof len);
		data += sizeof len;
		size -= sizeof len;
		if (len > size)
			len = (uint16_t)size;
		n.announce = len % 2;
		obey(&n, data, len);
		data += len;
		size -= len;
	}
	return 0;
}
