/*
 * backend_framing.c - frames on a byte stream, both directions.
 *
 * Runs in: every backend that speaks the format.
 * Trusts: nothing that was received. A length is read once, into a local.
 * Specification: QEMU net/socket.c and net/stream.c, as observed: u32
 * big-endian length, then that many bytes.
 */
#include "backends/backend_framing.h"

#include "proto/log.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

_Static_assert(FRAMING_IN_BYTES >= 3 * (FRAME_BYTES_MAX + FRAMING_WORD_BYTES),
    "a whole frame fits beside the least room");

/* Room below which what is left is moved to the front. */
#define ROOM_LEAST (64u << 10)

void
framing_in_reset(struct framing_in *in, uint8_t *buf)
{
	*in = (struct framing_in){.buf = buf};
}

struct iovec
framing_in_room(struct framing_in *in)
{
	if (in->at == in->end) {
		in->at = in->end = 0;
	} else if (FRAMING_IN_BYTES - in->end < ROOM_LEAST) {
		memmove(in->buf, in->buf + in->at, in->end - in->at);
		in->end -= in->at;
		in->at = 0;
	}
	BUG_ON(FRAMING_IN_BYTES - in->end < ROOM_LEAST);
	return (struct iovec){in->buf + in->end, FRAMING_IN_BYTES - in->end};
}

void
framing_in_fill(struct framing_in *in, size_t bytes)
{
	BUG_ON(bytes > FRAMING_IN_BYTES - in->end);
	in->end += bytes;
}

int
framing_in_peek(struct framing_in *in, struct frame *out)
{
	uint32_t word, len;

	while (in->end - in->at >= FRAMING_WORD_BYTES) {
		memcpy(&word, in->buf + in->at, sizeof word);
		len = be32toh(word);
		if (len > FRAME_BYTES_MAX)
			return -EPROTO;
		if (len > in->end - in->at - FRAMING_WORD_BYTES)
			return 0;
		if (len >= FRAME_BYTES_MIN) {
			*out = (struct frame){
			    .data = in->buf + in->at + FRAMING_WORD_BYTES,
			    .len = len,
			};
			return 1;
		}
		if (len == 0)
			in->empty++;
		else
			in->short_++;
		in->at += FRAMING_WORD_BYTES + len;
	}
	return 0;
}

void
framing_in_take(struct framing_in *in, const struct frame *f)
{
	BUG_ON(f->data != in->buf + in->at + FRAMING_WORD_BYTES);
	in->at += FRAMING_WORD_BYTES + f->len;
}

/* Add bytes to part[], growing the last part when they follow it. */
static void
add_part(struct framing_out *out, const uint8_t *data, size_t bytes)
{
	struct iovec *last = out->parts ? &out->part[out->parts - 1] : NULL;

	if (last && (uint8_t *)last->iov_base + last->iov_len == data) {
		last->iov_len += bytes;
		return;
	}
	BUG_ON(out->parts == FRAMING_OUT_PARTS);
	/* The kernel only reads it; struct iovec has no const. */
	out->part[out->parts++] =
	    (struct iovec){(void *)(uintptr_t)data, bytes};
}

/* Drop the first `bytes` of part[], which are of one frame. */
static void
skip_sent(struct framing_out *out, size_t bytes)
{
	size_t i = 0, now;

	while (bytes > 0) {
		BUG_ON(i == out->parts);
		now =
		    bytes < out->part[i].iov_len ? bytes : out->part[i].iov_len;
		out->part[i].iov_base = (uint8_t *)out->part[i].iov_base + now;
		out->part[i].iov_len -= now;
		bytes -= now;
		i++;
	}
}

size_t
framing_out_gather(struct framing_out *out, const struct frame *f, size_t count)
{
	uint8_t *stage = out->stage;
	uint32_t word;
	size_t n, copy, room;

	out->parts = 0;
	if (count > FRAMING_OUT_FRAMES)
		count = FRAMING_OUT_FRAMES;
	for (n = 0; n < count; n++) {
		copy = f[n].len <= FRAMING_COPY_BYTES ? f[n].len : 0;
		room = (size_t)(out->stage + sizeof out->stage - stage);
		if (room < sizeof word + copy)
			break;
		word = htobe32(f[n].len);
		memcpy(stage, &word, sizeof word);
		memcpy(stage + sizeof word, f[n].data, copy);
		add_part(out, stage, sizeof word + copy);
		stage += sizeof word + copy;
		if (!copy)
			add_part(out, f[n].data, f[n].len);
	}
	skip_sent(out, n ? out->sent : 0);
	return n;
}

size_t
framing_out_sent(
    struct framing_out *out, const struct frame *f, size_t count, size_t bytes)
{
	size_t n;

	out->sent += bytes;
	for (n = 0; n < count; n++) {
		if (out->sent < FRAMING_WORD_BYTES + (size_t)f[n].len)
			return n;
		out->sent -= FRAMING_WORD_BYTES + (size_t)f[n].len;
	}
	BUG_ON(out->sent != 0);
	return n;
}
