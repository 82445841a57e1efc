/*
 * backend_offload.h - complete frames in software: checksums, TCP and UDP
 * segments, IP fragments. For a receiver whose outside cannot do it.
 *
 * Input is hostile: headers are read from the frame, once, into a private
 * copy, and every offset in them is judged. Pure but for its scratch memory.
 * Specification: RFC 791, 793, 768, 8200; VIRTIO 1.2, 5.1.6.
 */
#ifndef BACKENDS_BACKEND_OFFLOAD_H
#define BACKENDS_BACKEND_OFFLOAD_H

#include "proto/ring.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * offload_covered - can an outside that takes `takes` (enum offload bits)
 * have a frame with this metadata as it is? USO does not say which IP it is,
 * so both are wanted.
 */
bool offload_covered(const struct frame_meta *m, unsigned takes);

struct offload_work; /* scratch for one large frame and what it becomes */

struct offload_work *offload_new(void);
void offload_free(struct offload_work *o);

/*
 * offload_long - from now on TCP segments stay in one piece, which is as
 * complete as each of them would be: lengths, ids and checksums are true of it.
 */
void offload_long(struct offload_work *o);

/*
 * offload_begin - take up a frame. Its headers are copied and judged now, its
 * data is borrowed while offload_left (it is copied once, to where it is sent
 * from). 0, or -EINVAL: its headers are not what its metadata says; it
 * must be dropped and counted.
 */
int offload_begin(struct offload_work *o, const struct frame *f);

/* offload_left - is there more of the frame that was taken up last? */
bool offload_left(const struct offload_work *o);

/*
 * offload_next - up to `max` of the frames that it becomes, in order, complete
 * (meta zero), valid until offload_reset. 0: that was all, or there is no room
 * for more before the next reset.
 */
size_t offload_next(struct offload_work *o, struct frame *out, size_t max);

/* offload_reset - forget what offload_next has given: its room is free. */
void offload_reset(struct offload_work *o);

#endif
