/*
 * offload_fuzz.c - a frame that is anything, with metadata that is anything.
 *
 * The input: 8 bytes of metadata, 1 byte of how many frames are taken at once
 * (from 128 on: TCP is not cut),
 * 2 bytes of how long the frame is (its last byte goes on), then the frame.
 * Whatever it says, what comes out is complete frames, no more of them and no
 * more bytes than a frame can become.
 */
#include "backends/backend_offload.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Headers of a frame are repeated in each: see META_GSO_SIZE_MIN. */
#define PIECES_MAX (FRAME_BYTES_MAX / META_GSO_SIZE_MIN + 1)
#define HEADS_MAX  (256u + 8u)
#define AT_ONCE    64u

static void
demand(int truth)
{
	if (!truth)
		abort();
}

/* So that reading is not left out. */
static volatile uint64_t sum_of_all;

static uint64_t
look_at(const struct frame *f)
{
	uint64_t sum = 0;
	uint32_t i;

	demand(f->len >= FRAME_BYTES_MIN && f->len <= FRAME_BYTES_MAX);
	demand(frame_meta_is_zero(&f->meta));
	for (i = 0; i < f->len; i++)
		sum += f->data[i];
	return sum;
}

static void
take_all(struct offload_work *o, const struct frame *in, size_t max)
{
	struct frame out[AT_ONCE];
	uint64_t bytes = 0, frames = 0;
	size_t n, i;

	while (offload_left(o)) {
		n = offload_next(o, out, max);
		demand(n <= max);
		if (n == 0) {
			/* Once it is empty there is room for one. */
			offload_reset(o);
			n = offload_next(o, out, max);
			demand(n > 0);
		}
		for (i = 0; i < n; i++) {
			sum_of_all += look_at(&out[i]);
			bytes += out[i].len;
		}
		frames += n;
	}
	demand(frames > 0 && frames <= PIECES_MAX);
	demand(bytes <= in->len + frames * HEADS_MAX);
	if (in->meta.gso_type == META_GSO_NONE)
		demand(frames == 1 && bytes == in->len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct offload_work *works[2];
	struct offload_work *o;
	struct frame f = {.len = 0};
	uint8_t *own;
	size_t max;

	if (works[1] == NULL) {
		works[0] = offload_new();
		works[1] = offload_new();
		demand(works[0] != NULL && works[1] != NULL);
		offload_long(works[1]);
	}
	if (size < 12)
		return 0;
	o = works[data[8] >> 7];
	memcpy(&f.meta, data, sizeof f.meta);
	max = 1 + data[8] % AT_ONCE;
	f.len = FRAME_BYTES_MIN + (data[9] * 256u + data[10]) %
				      (FRAME_BYTES_MAX - FRAME_BYTES_MIN + 1);
	data += 11;
	size -= 11;
	if (size > f.len)
		size = f.len;
	/* Exactly as long as it is: sanitizers see overreads. */
	own = malloc(f.len);
	if (own == NULL)
		return 0;
	memset(own, data[size - 1], f.len);
	memcpy(own, data, size);
	f.data = own;
	offload_reset(o);
	if (offload_begin(o, &f) == 0)
		take_all(o, &f, max);
	else
		demand(!offload_left(o));
	free(own);
	return 0;
}
