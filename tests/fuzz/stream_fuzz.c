/*
 * stream_fuzz.c - the splitter of frames on a byte stream, fed with any bytes
 * in pieces of any size. The first byte of the input chooses the pieces.
 *
 * Checked: every frame handed out is inside the buffer and of legal length,
 * and what came out is what a second, plain reading of the input finds.
 */
#include "backends/backend_framing.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t buf[FRAMING_IN_BYTES];

/* Where the next frame of the whole input begins; advances *at over it. */
static const uint8_t *
plain_next(const uint8_t *data, size_t size, size_t *at, uint32_t *len)
{
	uint32_t word;

	while (size - *at >= 4) {
		memcpy(&word, data + *at, 4);
		*len = be32toh(word);
		if (*len > FRAME_BYTES_MAX || *len > size - *at - 4)
			return NULL;
		*at += 4 + *len;
		if (*len >= FRAME_BYTES_MIN)
			return data + *at - *len;
	}
	return NULL;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t at = 0, plain_at = 0, piece, step;
	const uint8_t *plain;
	struct framing_in in;
	struct iovec room;
	struct frame f;
	uint32_t len;
	int rc;

	if (size < 1)
		return 0;
	step = data[0] ? (size_t)data[0] * data[0] : 1;
	data++;
	size--;
	framing_in_reset(&in, buf);
	while (at < size) {
		room = framing_in_room(&in);
		piece = size - at < step ? size - at : step;
		if (piece > room.iov_len)
			piece = room.iov_len;
		memcpy(room.iov_base, data + at, piece);
		framing_in_fill(&in, piece);
		at += piece;
		while ((rc = framing_in_peek(&in, &f)) > 0) {
			plain = plain_next(data, size, &plain_at, &len);
			if (!plain || len != f.len || f.data < buf ||
			    f.data + f.len > buf + sizeof buf ||
			    memcmp(plain, f.data, len) != 0)
				abort();
			framing_in_take(&in, &f);
		}
		if (rc < 0)
			return 0;
	}
	if (plain_next(data, size, &plain_at, &len))
		abort();
	return 0;
}
