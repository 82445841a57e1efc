/*
 * ring_copy.h - many frames from one ring's memory into another ring.
 *
 * Owns nothing. Used by lanes.
 */
#ifndef PROTO_RING_COPY_H
#define PROTO_RING_COPY_H

#include "proto/ring.h"

/*
 * ring_copy - reserve, copy and commit frames from the front of `f`.
 *   f  as ring_next handed them out: `len` and `meta` are private and checked,
 *      `data` may be in memory that a peer can change
 * Frames whose records lie one behind the other are copied in one piece; the
 * heads are written from what is private, so what a peer changes in the
 * meantime reaches nobody but in the frames' own bytes.
 * Returns how many were committed (fewer than `count`: the next does not fit),
 * or -EPROTO when the peer's cons is impossible (some may be committed).
 */
int ring_copy(struct ring_tx *r, const struct frame *f, unsigned count);

/*
 * ring_reserve_frame, ring_commit_frame - as ring_reserve and ring_commit, with
 * the frame's metadata if it has some.
 */
int ring_reserve_frame(
    struct ring_tx *r, const struct frame *f, uint8_t **room);
void ring_commit_frame(struct ring_tx *r, const struct frame *f);

/*
 * ring_refer - reserve and commit records that say where frames are, instead
 * of the frames.
 *   f    their lengths; private
 *   ref  for each, the arena's serial in the upper 32 bits, in the lower ones
 *        where it begins; it stays as it is until the record was consumed
 * Returns how many, as ring_copy, or -EPROTO.
 */
int ring_refer(struct ring_tx *r, const struct frame *f, const uint64_t *ref,
    unsigned count);

/*
 * ring_rewind - let the next record begin at the start of the area, if the
 * peer has drained nearly everything and three quarters are still to come.
 *   bytes  of records that will follow; there must be one at least
 * A stream that never fills the ring then uses the same quarter of it again
 * and again, and stays in the caches, instead of walking through all of it.
 * Returns 1 when it did, 0, or -EPROTO as ring_copy.
 */
int ring_rewind(struct ring_tx *r, uint64_t bytes);

#endif
