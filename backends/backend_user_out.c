/*
 * backend_user_out.c - libslirp's frames on their way to the lane.
 *
 * Runs in: user.
 * Trusts: libslirp's frames for what they are; not their lengths.
 * Specification: IEEE 802.3 for the least frame.
 */
#include "backends/backend_user_out.h"

#include <string.h>

/* IEEE 802.3's least frame without its check sequence. */
#define FRAME_BYTES_PADDED 60u
/*
 * A large frame of so much is shown to the lane at once. All of a window of
 * 64 KiB in one frame costs as little, but then all others sleep while we make
 * it: 1.9 Gbit/s to a tap instead of 2.5.
 */
#define LARGE_BYTES 8192u

/* A frame to the lane, or counted. */
static void
send_frame(struct user_out *o, const uint8_t *frame, size_t len,
    const struct frame_meta *m)
{
	size_t padded = len < FRAME_BYTES_PADDED ? FRAME_BYTES_PADDED : len;
	uint8_t *room;

	if (backend_reserve_meta(o->be, (uint32_t)padded, m, &room) == 0) {
		o->full = true;
		backend_count(o->be, BC_IN_DROP_FULL, 1);
		return;
	}
	memcpy(room, frame, len);
	memset(room + len, 0, padded - len);
	backend_commit_meta(o->be, (uint32_t)padded, m);
}

static void
send_merged(struct user_out *o)
{
	struct frame_meta m;
	uint32_t len = merge_take(&o->merge, &m);

	if (len > 0)
		send_frame(o, o->merge.frame, len, &m);
}

void
user_out_flush(struct user_out *o)
{
	send_merged(o);
	backend_flush(o->be);
}

void
user_out_add(struct user_out *o, const uint8_t *frame, size_t len)
{
	if (merge_add(&o->merge, frame, len)) {
		if (o->merge.len >= LARGE_BYTES)
			user_out_flush(o);
		return;
	}
	send_merged(o);
	if (len > FRAME_BYTES_MAX)
		backend_count(o->be, BC_IN_DROP_SIZE, 1);
	else if (!merge_add(&o->merge, frame, len))
		send_frame(o, frame, len, &(struct frame_meta){0});
}
