/*
 * backend_framing.h - frames on a byte stream: a 32-bit big-endian length,
 * then the frame. Pure: no descriptor, no ring, no allocation.
 *
 * The reader splits what was received; the writer tells what to send next and
 * remembers how much of the first frame has left. Used by every type that
 * speaks this format; the bytes read are hostile.
 */
#ifndef BACKENDS_BACKEND_FRAMING_H
#define BACKENDS_BACKEND_FRAMING_H

#include "proto/ring.h"

#include <stdbool.h>
#include <sys/uio.h>

#define FRAMING_WORD_BYTES 4u

/* One read takes up to this much; it holds at least three of any frame. */
#define FRAMING_IN_BYTES (256u << 10)

/* Received and not yet split. `buf` is owned by whoever embeds this. */
struct framing_in {
	uint8_t *buf;    /* borrowed, FRAMING_IN_BYTES */
	size_t at, end;  /* what is in it: [at, end) */
	uint64_t empty;  /* length words of 0, skipped */
	uint64_t short_; /* frames below FRAME_BYTES_MIN, skipped */
};

/* framing_in_reset - forget what was received: a new connection. */
void framing_in_reset(struct framing_in *in, uint8_t *buf);

/* framing_in_room - where the next bytes go; never less than 64 KiB. */
struct iovec framing_in_room(struct framing_in *in);

/* framing_in_fill - `bytes` <= the room have been put there. */
void framing_in_fill(struct framing_in *in, size_t bytes);

/*
 * framing_in_peek - the next whole frame; it stays until framing_in_take.
 * Length 0 and frames too short to be Ethernet are skipped and counted.
 * Returns 1 and *out (valid until the next framing_in_room); 0 when more
 * bytes are needed; -EPROTO when a length is above FRAME_BYTES_MAX, told as
 * soon as the length word is there: the connection cannot be used any more.
 */
int framing_in_peek(struct framing_in *in, struct frame *out);
void framing_in_take(struct framing_in *in, const struct frame *f);

/* Frames gathered for one system call, and the parts they are made of. */
#define FRAMING_OUT_FRAMES 256u
#define FRAMING_OUT_PARTS  ((size_t)2 * FRAMING_OUT_FRAMES)
/* Up to this length a frame is copied beside its length word: a copy of so
 * little costs less than one more part of the system call. */
#define FRAMING_COPY_BYTES 1024u
#define FRAMING_STAGE_BYTES                                                    \
	(FRAMING_OUT_FRAMES * FRAMING_WORD_BYTES + (64u << 10))

struct framing_out {
	size_t sent; /* bytes of the first frame and its word that have left */
	struct iovec part[FRAMING_OUT_PARTS];
	size_t parts;
	uint8_t stage[FRAMING_STAGE_BYTES];
};

/*
 * framing_out_gather - fill part[] with what is to be sent of `f`, from where
 * the last call stopped. Returns how many frames part[] covers (at least one
 * when count > 0); their memory must stay until framing_out_sent.
 */
size_t framing_out_gather(
    struct framing_out *out, const struct frame *f, size_t count);

/*
 * framing_out_sent - `bytes` of what was gathered have left. Returns how many
 * frames are complete; the next gather must begin with the one after them.
 */
size_t framing_out_sent(
    struct framing_out *out, const struct frame *f, size_t count, size_t bytes);

#endif
