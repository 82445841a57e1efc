/*
 * tap_header_fuzz.c - what one read of a tap gives: any header, any frame.
 *
 * The input: a byte that says whether there is a header, 2 bytes of how much
 * longer the frame is, in twos (its last byte goes on), the header, the frame.
 *
 * Checked: what is taken has a legal length and metadata that the lane will
 * believe; short frames are filled up with zeros and nothing of an earlier
 * frame; the header that is made of the metadata says the same; the flow does
 * not depend on what is behind the ports, and no byte beyond the frame is read.
 */
#include "backends/backend_tap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LONGER_MAX (FRAME_BYTES_MAX + 64u)
#define WIRE_BYTES 60u
/* Ethernet, IPv4 with all options, ports; and IPv6 is shorter. */
#define FLOW_BYTES (14u + 60u + 4u)
#define OLD_BYTE   0xa5

static void
demand(int truth)
{
	if (!truth)
		abort();
}

static void
look_at_flow(const uint8_t *frame, uint32_t len)
{
	/* Exactly as long as it is: sanitizers see overreads. */
	uint8_t *own = malloc(len);
	uint32_t flow;

	if (own == NULL)
		return;
	memcpy(own, frame, len);
	flow = tap_flow(own, len);
	if (len > FLOW_BYTES)
		memset(own + FLOW_BYTES, ~own[len - 1], len - FLOW_BYTES);
	demand(tap_flow(own, len) == flow);
	free(own);
}

/* To the kernel and back it is the same. */
static void
look_at_meta(const uint8_t *frame, uint32_t len, const struct frame_meta *m)
{
	struct frame f = {.data = frame, .len = len, .meta = *m};
	struct virtio_net_hdr h;
	struct frame_meta again;

	demand(frame_meta_valid(m, len));
	memset(&h, OLD_BYTE, sizeof h);
	tap_header(m, &f, &h);
	demand(h.hdr_len <= len);
	if (m->gso_type != META_GSO_NONE && len <= UINT16_MAX &&
	    (m->flags & META_NEEDS_CSUM) != 0)
		demand(h.hdr_len >= m->csum_start + m->csum_offset + 2);
	demand(tap_meta(&h, len, &again) == 0);
	demand(memcmp(&again, m, sizeof again) == 0);
}

static void
look_at(const struct virtio_net_hdr *h, uint8_t *buf, size_t got, size_t head)
{
	struct frame_meta m;
	uint32_t len = 0, i;
	int rc = tap_judge(h, buf, got, &len, &m);

	if (rc < 0) {
		demand(rc == -EMSGSIZE || (rc == -EINVAL && h != NULL));
		return;
	}
	demand(len >= WIRE_BYTES && len <= FRAME_BYTES_MAX);
	demand(len == got - head || len == WIRE_BYTES);
	for (i = (uint32_t)(got - head); i < len; i++)
		demand(buf[i] == 0);
	if (h == NULL)
		demand(frame_meta_is_zero(&m));
	look_at_meta(buf, len, &m);
	look_at_flow(buf, len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtio_net_hdr h = {0};
	size_t longer, head = 0;
	uint8_t *buf;

	if (size < 4)
		return 0;
	if (data[0] & 1)
		head = sizeof h;
	longer = (data[1] * 256u + data[2]) * 2u % LONGER_MAX;
	data += 3;
	size -= 3;
	memcpy(&h, data, size < head ? size : head);
	/* Room as the backend has it. */
	buf = malloc(FRAME_BYTES_MAX + 1);
	if (buf == NULL)
		return 0;
	memset(buf, OLD_BYTE, FRAME_BYTES_MAX + 1);
	if (size > head) {
		size_t body = size - head;

		if (body > FRAME_BYTES_MAX + 1)
			body = FRAME_BYTES_MAX + 1;
		if (longer > FRAME_BYTES_MAX + 1 - body)
			longer = FRAME_BYTES_MAX + 1 - body;
		memcpy(buf, data + head, body);
		memset(buf + body, data[size - 1], longer);
		size = head + body + longer;
	}
	look_at(head > 0 ? &h : NULL, buf, size, head);
	free(buf);
	return 0;
}
