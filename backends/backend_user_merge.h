/*
 * backend_user_merge.h - libslirp's TCP segments, put together again.
 *
 * libslirp gives the bytes of one connection as one small frame after the
 * other. Those that differ in nothing but their place in the stream become one
 * large frame with metadata, as a card with receive offload does it; who
 * cannot take that cuts it into the same segments. Pure.
 */
#ifndef BACKENDS_BACKEND_USER_MERGE_H
#define BACKENDS_BACKEND_USER_MERGE_H

#include "proto/frame_meta.h"
#include "proto/ring.h"

struct merge {
	uint32_t len;     /* of the frame so far; 0: there is none */
	uint32_t head;    /* bytes of all its headers */
	uint32_t segment; /* payload bytes of the first */
	uint32_t next;    /* sequence number that goes on */
	bool v6;
	bool ended; /* nothing may follow */
	uint8_t frame[FRAME_BYTES_MAX];
};

/*
 * merge_add - make a frame part of the large one, or the first of it. False:
 * it does not follow, or is not such as could be in a large one.
 */
bool merge_add(struct merge *m, const uint8_t *frame, size_t len);

/*
 * merge_take - the large frame's headers are made true of it; its length, or
 * 0: there is none. m->frame holds it until the next merge_add, which begins
 * another.
 */
uint32_t merge_take(struct merge *m, struct frame_meta *meta);

#endif
