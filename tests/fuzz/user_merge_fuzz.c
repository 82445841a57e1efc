/*
 * user_merge_fuzz.c - frames that are anything, put together.
 *
 * The input: frames one after the other, each behind 2 bytes of its length.
 * No byte is made up: what comes out is a frame that went in, or one whose
 * metadata fits it and whose payload is that of those that went in.
 */
#include "backends/backend_offload.h"
#include "backends/backend_user_merge.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
demand(int truth)
{
	if (!truth)
		abort();
}

/* What can be cut is cut into as many bytes as went in. */
static void
judge(const struct merge *m, uint32_t len, const struct frame_meta *meta,
    size_t added)
{
	static struct offload_work *o;
	struct frame f = {.data = m->frame, .len = len, .meta = *meta}, out[64];
	size_t bytes = 0, n, i;

	if (o == NULL)
		o = offload_new();
	demand(o != NULL && len >= FRAME_BYTES_MIN && len <= added);
	if (frame_meta_is_zero(meta))
		return;
	demand(frame_meta_valid(meta, len));
	offload_reset(o);
	demand(offload_begin(o, &f) == 0);
	while (offload_left(o)) {
		n = offload_next(o, out, 64);
		for (i = 0; i < n; i++)
			bytes += out[i].len;
		offload_reset(o);
	}
	demand(bytes > len && bytes <= added);
}

static void
take(struct merge *m, size_t *added)
{
	struct frame_meta meta;
	uint32_t len = merge_take(m, &meta);

	demand((len > 0) == (*added > 0));
	if (len > 0)
		judge(m, len, &meta, *added);
	*added = 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct merge m;
	size_t added = 0, len;
	uint8_t *own;

	while (size >= 2) {
		len = data[0] * 256u + data[1];
		data += 2;
		size -= 2;
		if (len > size)
			len = size;
		/* Exactly as long as it is: sanitizers see overreads. */
		own = malloc(len ? len : 1);
		if (own == NULL)
			break;
		memcpy(own, data, len);
		if (!merge_add(&m, own, len)) {
			take(&m, &added);
			if (merge_add(&m, own, len))
				added = len;
		} else {
			added += len;
		}
		free(own);
		data += len;
		size -= len;
	}
	take(&m, &added);
	return 0;
}
