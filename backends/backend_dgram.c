/*
 * backend_dgram.c - frames over one datagram socket.
 *
 * Runs in: backends of datagram kind.
 * Trusts: no datagram. The launcher connected the socket where only one peer
 * may speak, so strangers never get here.
 * Specification: QEMU net/socket.c, dgram kind: one datagram is one frame.
 *
 * Theory of operation
 * An empty datagram is skipped: it is no end of anything. But a socket whose
 * other holder shut it down also gives empty datagrams, without end; after a
 * whole batch of nothing else the socket rests for PAUSE_NS, so neither that
 * nor a flood of them takes the CPU. Datagrams longer than a frame are cut by
 * the kernel, seen by MSG_TRUNC, and dropped. What the kernel drops because we
 * were slow is told by SO_RXQ_OVFL on internet sockets and counted; a unix
 * socket gets no control buffer, so that descriptors sent to us are dropped
 * by the kernel, and loses nothing.
 */
#include "backends/backend_dgram.h"

#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define BUF_BYTES  ((size_t)DGRAM_IN_FRAMES * DGRAM_SLOT_BYTES)
#define PAUSE_NS   10000000u
#define TURN_READS 4u
/* Refusals of earlier datagrams that one may meet; a dead unix peer refuses
 * for ever. */
#define REFUSALS_MAX 8u

static void ready(void *self, unsigned events);
static void pause_expired(void *self);

/* --- in --------------------------------------------------------------------
 */

static void
watch_wanted(struct dgram *d)
{
	bool in = !d->held && !timer_pending(d->pause);

	watch_set(d->watch, (in ? (unsigned)WATCH_READ : 0u) |
				(d->blocked ? (unsigned)WATCH_WRITE : 0u));
}

static uint8_t *
slot(const struct dgram *d, size_t i)
{
	return d->buf + i * DGRAM_SLOT_BYTES;
}

/* Is what came in slot i a frame for the lane? Counts it when not. */
static bool
is_frame(struct dgram *d, size_t i, uint64_t now_ns)
{
	uint32_t len = d->len[i];

	if (len < FRAME_BYTES_MIN || len > FRAME_BYTES_MAX) {
		backend_count(d->be, BC_IN_DROP_SIZE, 1);
		return false;
	}
	if (d->echo && echo_is_own(d->echo, slot(d, i), len, now_ns)) {
		backend_count(d->be, BC_IN_DROP_SOURCE, 1);
		return false;
	}
	return true;
}

/* Put what was received into the ring. False: it is full. */
static bool
deliver(struct dgram *d)
{
	uint64_t now_ns = d->echo ? sys_mono_ns() : 0;
	uint8_t *room;

	for (; d->at < d->end; d->at++) {
		/* Once: an echo is recognised one time only. */
		if (!d->held && !is_frame(d, d->at, now_ns))
			continue;
		d->held = backend_reserve(d->be, d->len[d->at], &room) == 0;
		if (d->held)
			return false;
		memcpy(room, slot(d, d->at), d->len[d->at]);
		backend_commit(d->be, d->len[d->at]);
	}
	return true;
}

/* The kernel's running count of datagrams that found no room. */
static void
count_overflow(struct dgram *d, struct msghdr *m)
{
	struct cmsghdr *c;
	uint32_t total;

	for (c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET ||
		    c->cmsg_type != SO_RXQ_OVFL ||
		    c->cmsg_len < CMSG_LEN(sizeof total))
			continue;
		memcpy(&total, CMSG_DATA(c), sizeof total);
		backend_count(d->be, BC_IN_DROP_FULL, total - d->overflow);
		d->overflow = total;
	}
}

/* Receive one batch. Its size, 0 when there is nothing, or -errno. */
static int
receive(struct dgram *d)
{
	struct mmsghdr msgs[DGRAM_IN_FRAMES];
	struct iovec iov[DGRAM_IN_FRAMES];
	union {
		char buf[CMSG_SPACE(sizeof(uint32_t))];
		struct cmsghdr align;
	} control[DGRAM_IN_FRAMES];
	ssize_t got;
	size_t i;

	memset(msgs, 0, sizeof msgs);
	for (i = 0; i < DGRAM_IN_FRAMES; i++) {
		iov[i] = (struct iovec){slot(d, i), FRAME_BYTES_MAX + 1};
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
		if (d->inet) {
			msgs[i].msg_hdr.msg_control = &control[i];
			msgs[i].msg_hdr.msg_controllen = sizeof control[i];
		}
	}
	got = sys_result(
	    recvmmsg(d->fd, msgs, DGRAM_IN_FRAMES, MSG_DONTWAIT, NULL));
	if (got <= 0)
		return (int)got;
	for (i = 0; i < (size_t)got; i++) {
		d->len[i] = msgs[i].msg_len;
		if (msgs[i].msg_hdr.msg_flags & MSG_TRUNC)
			d->len[i] = FRAME_BYTES_MAX + 1;
	}
	if (d->inet)
		count_overflow(d, &msgs[got - 1].msg_hdr);
	d->at = 0;
	d->end = (size_t)got;
	return (int)got;
}

static bool
all_empty(const struct dgram *d)
{
	size_t i;

	for (i = 0; i < d->end; i++) {
		if (d->len[i] != 0)
			return false;
	}
	return d->end == DGRAM_IN_FRAMES;
}

static void
readable(struct dgram *d)
{
	unsigned turn;
	int got;

	for (turn = 0; turn < TURN_READS; turn++) {
		got = receive(d);
		/* ECONNREFUSED and the like: an earlier datagram of ours had
		 * no taker. Having been told, the kernel forgets it. */
		if (got < 0 && got != -EAGAIN && got != -EINTR)
			backend_count(d->be, BC_IN_ERRORS, 1);
		if (got <= 0)
			break;
		if (all_empty(d))
			timer_set_ns(d->pause, PAUSE_NS);
		if (!deliver(d) || got < (int)DGRAM_IN_FRAMES ||
		    timer_pending(d->pause))
			break;
	}
	backend_flush(d->be);
	watch_wanted(d);
}

static void
pause_expired(void *self)
{
	watch_wanted(self);
}

void
dgram_room(struct dgram *d)
{
	if (!d->held)
		return;
	(void)deliver(d);
	backend_flush(d->be);
	watch_wanted(d);
}

/* --- out -------------------------------------------------------------------
 */

static int
send_batch(struct dgram *d, const struct frame *f, size_t count)
{
	struct mmsghdr msgs[DGRAM_OUT_FRAMES];
	struct iovec iov[DGRAM_OUT_FRAMES];
	size_t i;

	if (count > DGRAM_OUT_FRAMES)
		count = DGRAM_OUT_FRAMES;
	memset(msgs, 0, count * sizeof msgs[0]);
	for (i = 0; i < count; i++) {
		/* The kernel only reads it; struct iovec has no const. */
		iov[i] = (struct iovec){(void *)(uintptr_t)f[i].data, f[i].len};
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
		if (d->to.len) {
			msgs[i].msg_hdr.msg_name = &d->to.sa;
			msgs[i].msg_hdr.msg_namelen = d->to.len;
		}
	}
	return (int)sys_result(sendmmsg(
	    d->fd, msgs, (unsigned)count, MSG_DONTWAIT | MSG_NOSIGNAL));
}

static void
note_sent(struct dgram *d, const struct frame *f, size_t count)
{
	uint64_t bytes = 0, now_ns = d->echo ? sys_mono_ns() : 0;
	size_t i;

	for (i = 0; i < count; i++) {
		bytes += f[i].len;
		if (d->echo)
			echo_sent(d->echo, f[i].data, f[i].len, now_ns);
	}
	backend_count(d->be, BC_OUT_FRAMES, count);
	backend_count(d->be, BC_OUT_BYTES, bytes);
}

size_t
dgram_frames(struct dgram *d, const struct frame *f, size_t count)
{
	size_t done = 0;
	unsigned refusals = 0;
	int rc;

	while (done < count) {
		rc = send_batch(d, f + done, count - done);
		if (rc > 0) {
			note_sent(d, f + done, (size_t)rc);
			done += (size_t)rc;
			refusals = 0;
		} else if (rc == -EAGAIN) {
			d->blocked = true;
			watch_wanted(d);
			return done;
		} else if (rc == -EINTR ||
			   (rc == -ECONNREFUSED && refusals < REFUSALS_MAX)) {
			/* The refusal was about an earlier datagram. */
			refusals += rc == -ECONNREFUSED;
		} else {
			backend_count(d->be,
			    rc == -EMSGSIZE ? BC_OUT_DROP_SIZE
					    : BC_OUT_DROP_ERROR,
			    1);
			done++;
			refusals = 0;
		}
	}
	return count;
}

static void
ready(void *self, unsigned events)
{
	struct dgram *d = self;

	if (events & WATCH_WRITE) {
		d->blocked = false;
		backend_more(d->be);
		watch_wanted(d);
	} else {
		readable(d);
	}
}

/* --- life ------------------------------------------------------------------
 */

int
dgram_open(struct dgram *d, struct backend *be, int fd, const struct addr *to,
    bool echo)
{
	struct sockaddr_storage own = {0};
	socklen_t len = sizeof own;
	int on = 1;
	void *buf;

	d->be = be;
	d->fd = fd;
	d->inet = getsockname(fd, (struct sockaddr *)&own, &len) == 0 &&
		  own.ss_family != AF_UNIX;
	/* Without it the kernel's drops are not counted, no more than that. */
	if (d->inet)
		(void)setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on);
	if (to)
		d->to = *to;
	if (echo)
		d->echo = calloc(1, sizeof *d->echo);
	d->pause = timer_new(backend_loop(be), pause_expired, d);
	buf = mmap(NULL, BUF_BYTES, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	d->buf = buf == MAP_FAILED ? NULL : buf;
	if (!d->buf || !d->pause || (echo && !d->echo))
		return -ENOMEM;
	return 0;
}

int
dgram_start(struct dgram *d)
{
	d->watch = watch_new(backend_loop(d->be), d->fd, WATCH_READ, ready, d);
	return d->watch ? 0 : -ENOMEM;
}

void
dgram_close(struct dgram *d)
{
	watch_free(ptr_take(d->watch));
	timer_free(ptr_take(d->pause));
	fd_close(&d->fd);
	free(ptr_take(d->echo));
	sys_unmap(ptr_take(d->buf), BUF_BYTES);
}
