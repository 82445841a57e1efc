/*
 * backend_stream.c - frames over one connected stream socket.
 *
 * Runs in: backends of stream kind.
 * Trusts: nothing that the peer sends, nor when it reads.
 * Specification: backend_framing.h.
 *
 * Theory of operation
 * In: one large read, split into the ring; when the ring is full the rest
 * stays in the buffer and the socket is not watched, so the peer is slowed
 * down by its own socket. Out: everything that the ring gave goes with one
 * system call; a partial write stops in the middle of a frame and continues
 * exactly there, so frames never mix. While the socket is full the batch stays
 * in the ring, which is how the lane sees that we are slow. A frame that was
 * half sent when the peer went is lost and counted; a new peer starts with a
 * whole frame. Every call says MSG_DONTWAIT: O_NONBLOCK belongs to the file,
 * which others may share. A run of frames in an arena goes from there without
 * being copied or looked at; sendfile(2) cannot say MSG_DONTWAIT, so only to a
 * socket that is nobody else's.
 */
#include "backends/backend_stream.h"

#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

/* Reads in one turn of the loop. */
#define TURN_READS 4u

/*
 * Asked of a unix socket for what it has not given to its reader: what comes
 * in one burst then fits, and nobody wakes us in the middle of it. The usual
 * net.core.wmem_max allows four fifths. Observed, hub of 16, 1514 bytes, 256 of
 * them under way: 7 % more frames than with the kernel's own.
 */
#define SEND_BYTES (256 << 10)

static void
end_connection(struct stream *s, const char *why)
{
	bool waiting = s->blocked;

	stream_stop(s);
	s->lost(s->owner, why);
	/* What waited for this socket is dropped, not held. */
	if (waiting)
		backend_more(s->be);
}

static void
watch_wanted(struct stream *s)
{
	watch_set(s->watch, (s->held ? 0u : (unsigned)WATCH_READ) |
				(s->blocked ? (unsigned)WATCH_WRITE : 0u));
}

/* --- in --------------------------------------------------------------------
 */

static void
count_skipped(struct stream *s)
{
	uint64_t skipped = s->in.empty + s->in.short_;

	s->in.empty = s->in.short_ = 0;
	if (skipped)
		backend_count(s->be, BC_IN_DROP_SIZE, skipped);
}

/*
 * split - put the whole frames of the buffer into the ring.
 * Returns 1 when all are in, 0 when the ring is full, -EPROTO.
 */
static int
split(struct stream *s)
{
	struct frame f;
	uint8_t *room;
	int rc;

	while ((rc = framing_in_peek(&s->in, &f)) > 0) {
		if (backend_reserve(s->be, f.len, &room) == 0) {
			count_skipped(s);
			s->held = true;
			return 0;
		}
		memcpy(room, f.data, f.len);
		backend_commit(s->be, f.len);
		framing_in_take(&s->in, &f);
	}
	count_skipped(s);
	return rc < 0 ? rc : 1;
}

/* The peer's length word cannot be: nothing after it can be understood. */
static void
bad_length(struct stream *s)
{
	backend_count(s->be, BC_IN_ERRORS, 1);
	backend_notice(s->be, "peer-framing",
	    "the peer announced a frame above 69632 bytes: connection closed");
	end_connection(s, "frame length out of range");
}

static void
readable(struct stream *s)
{
	unsigned turn;
	struct iovec room;
	ssize_t got;
	int rc = 1;

	for (turn = 0; turn < TURN_READS && rc > 0; turn++) {
		room = framing_in_room(&s->in);
		got = sys_result(
		    recv(s->fd, room.iov_base, room.iov_len, MSG_DONTWAIT));
		if (got == -EAGAIN || got == -EINTR)
			break;
		if (got <= 0) {
			backend_flush(s->be);
			end_connection(s, got == 0 ? "closed by the peer"
						   : strerror((int)-got));
			return;
		}
		framing_in_fill(&s->in, (size_t)got);
		rc = split(s);
		/* A short read has emptied the socket. */
		if ((size_t)got < room.iov_len)
			break;
	}
	backend_flush(s->be);
	if (rc < 0)
		bad_length(s);
	else
		watch_wanted(s);
}

void
stream_room(struct stream *s)
{
	int rc;

	if (s->fd < 0 || !s->held)
		return;
	s->held = false;
	rc = split(s);
	backend_flush(s->be);
	if (rc < 0)
		bad_length(s);
	else
		watch_wanted(s);
}

/* --- out -------------------------------------------------------------------
 */

static ssize_t
send_parts(struct stream *s)
{
	struct msghdr msg = {
	    .msg_iov = s->out.part,
	    .msg_iovlen = s->out.parts,
	};

	return sys_result(sendmsg(s->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL));
}

/*
 * Send some of the first frames. Returns the bytes or -errno; *covered = frames
 * that they are of.
 */
static ssize_t
send_some(
    struct stream *s, const struct frame *f, size_t count, size_t *covered)
{
	struct arena_run run;
	off_t at;

	*covered = backend_arena_run(s->be, f, count, &run);
	if (s->files && run.fd >= 0) {
		ssize_t sent;

		at = (off_t)(run.at + s->out.sent);
		sent = sys_result(
		    sendfile(s->fd, run.fd, &at, run.bytes - s->out.sent));
		if (sent != 0 && sent != -EINVAL)
			return sent;
		/* A kernel that cannot. (SIGPIPE is ignored by all.) */
		s->files = false;
	}
	*covered = framing_out_gather(&s->out, f, *covered);
	return send_parts(s);
}

static void
count_out(struct stream *s, const struct frame *f, size_t count)
{
	uint64_t bytes = 0;
	size_t i;

	for (i = 0; i < count; i++)
		bytes += f[i].len;
	backend_count(s->be, BC_OUT_FRAMES, count);
	backend_count(s->be, BC_OUT_BYTES, bytes);
}

size_t
stream_frames(struct stream *s, const struct frame *f, size_t count)
{
	size_t done = 0, now, whole;
	ssize_t sent;

	while (done < count) {
		if (s->torn) {
			s->torn = false;
			backend_count(s->be, BC_OUT_DROP_DISCONNECTED, 1);
			done++;
			continue;
		}
		if (s->fd < 0)
			break;
		sent = send_some(s, f + done, count - done, &now);
		if (sent == -EAGAIN) {
			s->blocked = true;
			watch_wanted(s);
			return done;
		}
		/* After this the owner may have another connection. */
		if (sent < 0 && sent != -EINTR)
			end_connection(s, strerror((int)-sent));
		if (sent < 0)
			continue;
		whole = framing_out_sent(&s->out, f + done, now, (size_t)sent);
		count_out(s, f + done, whole);
		done += whole;
	}
	backend_count(s->be, BC_OUT_DROP_DISCONNECTED, count - done);
	return count;
}

static void
ready(void *self, unsigned events)
{
	struct stream *s = self;

	if (events & WATCH_WRITE) {
		s->blocked = false;
		backend_more(s->be);
		if (s->fd >= 0)
			watch_wanted(s);
	} else {
		readable(s);
	}
}

/* --- life ------------------------------------------------------------------
 */

int
stream_open(struct stream *s, struct backend *be,
    void (*lost)(void *owner, const char *why), void *owner)
{
	s->be = be;
	s->fd = -1;
	s->lost = lost;
	s->owner = owner;
	s->buf = malloc(FRAMING_IN_BYTES);
	return s->buf ? 0 : -ENOMEM;
}

void
stream_close(struct stream *s)
{
	stream_stop(s);
	free(ptr_take(s->buf));
}

int
stream_start(struct stream *s, int fd, enum stream_origin origin)
{
	static const int bytes = SEND_BYTES;

	BUG_ON(s->fd >= 0);
	s->fd = fd;
	s->files = origin != STREAM_GIVEN;
	if (origin == STREAM_UNIX)
		(void)setsockopt(
		    fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
	framing_in_reset(&s->in, s->buf);
	s->held = s->blocked = false;
	s->out.sent = 0;
	s->watch = watch_new(backend_loop(s->be), fd, WATCH_READ, ready, s);
	if (s->watch)
		return 0;
	stream_stop(s);
	return -ENOMEM;
}

void
stream_stop(struct stream *s)
{
	watch_free(ptr_take(s->watch));
	fd_close(&s->fd);
	if (s->out.sent)
		s->torn = true;
	s->out.sent = 0;
	s->held = s->blocked = false;
}
