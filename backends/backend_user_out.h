/*
 * backend_user_out.h - libslirp's frames on their way to the lane: put together
 * where they can be, filled up where they are short.
 */
#ifndef BACKENDS_BACKEND_USER_OUT_H
#define BACKENDS_BACKEND_USER_OUT_H

#include "backends/backend.h"
#include "backends/backend_user_merge.h"

struct user_out {
	struct backend *be; /* borrowed */
	bool full;          /* the ring was, when it was last asked for room */
	struct merge merge; /* not in the ring yet */
};

/* user_out_add - take a frame, whose order among the others is kept. What finds
 * no room is dropped and counted. */
void user_out_add(struct user_out *o, const uint8_t *frame, size_t len);

/* user_out_flush - the lane sees all that was taken. */
void user_out_flush(struct user_out *o);

#endif
