/*
 * backend_dgram.c - frames over one datagram socket.
 *
 * Runs in: backends of datagram kind.
 * Trusts: no datagram. The launcher connected the socket where only one peer
 * may speak, so strangers never get here, but for what came between its bind
 * and its connect. With L2TPv3 each sender is looked at.
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
 * Merged (dgram_merge), frames of one length go to the kernel as one message
 * that it cuts into datagrams as late as it can, and datagrams of one length
 * come as one: the way through the kernel is paid once for up to 64. On the
 * wire nothing changes.
 */
#include "backends/backend_dgram.h"

#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define BUF_BYTES  ((size_t)DGRAM_IN_FRAMES * DGRAM_SLOT_BYTES)
#define PAUSE_NS   10000000u
#define TURN_READS 4u
/* Slots of 64 KiB that are read at a time: what the caches have room for. */
#define MERGED_SLOTS 8u
/* One datagram of many: so many parts, so many bytes. */
#define GROUP_PARTS 64u
#define GROUP_BYTES 65000u
/* Refusals of earlier datagrams that one may meet; a dead unix peer refuses
 * for ever. */
#define REFUSALS_MAX 8u

_Static_assert(L2TP_HEADS >= DGRAM_OUT_FRAMES, "a header for each frame");

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

/* The next datagram of those received. False: there is none. */
static bool
next_datagram(struct dgram *d, struct datagram *g)
{
	uint32_t left;

	if (d->at == d->end)
		return false;
	left = d->len[d->at] - d->pos;
	g->data = slot(d, d->at) + d->pos;
	g->strange = d->strange[d->at];
	g->len =
	    d->seg[d->at] > 0 && d->seg[d->at] < left ? d->seg[d->at] : left;
	d->pos += g->len;
	if (d->pos == d->len[d->at]) {
		d->at++;
		d->pos = 0;
	}
	return true;
}

/* Find the frame in the pseudo-wire's datagram; counts others. */
static bool
unwrap(struct dgram *d, struct datagram *g)
{
	static const enum backend_counter reasons[] = {
	    [L2TP_SHORT] = BC_IN_DROP_SIZE,
	    [L2TP_NOT_DATA] = BC_IN_ERRORS,
	    [L2TP_SESSION] = BC_IN_DROP_SESSION,
	    [L2TP_COOKIE] = BC_IN_DROP_COOKIE,
	};
	enum l2tp_flaw flaw = L2TP_SHORT;
	uint32_t skip = 0;

	if (g->strange) {
		backend_count(d->be, BC_IN_DROP_SOURCE, 1);
		return false;
	}
	/* A longer one was cut off. */
	if (g->len <= FRAME_BYTES_MAX)
		flaw = l2tp_open(d->l2tp, d->raw_ipv4, g->data, g->len, &skip);
	if (flaw != L2TP_FINE) {
		backend_count(d->be, reasons[flaw], 1);
		return false;
	}
	g->data += skip;
	g->len -= skip;
	return true;
}

/* Is a frame for the lane in it? Leaves that of it, or counts it. */
static bool
is_frame(struct dgram *d, struct datagram *g, uint64_t now_ns)
{
	if (d->l2tp && !unwrap(d, g))
		return false;
	if (g->len < FRAME_BYTES_MIN || g->len > FRAME_BYTES_MAX) {
		backend_count(d->be, BC_IN_DROP_SIZE, 1);
		return false;
	}
	if (d->echo && echo_is_own(d->echo, g->data, g->len, now_ns)) {
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

	while (d->held || next_datagram(d, &d->frame)) {
		/* Once: an echo is recognised one time only. */
		if (!d->held && !is_frame(d, &d->frame, now_ns))
			continue;
		d->held = backend_reserve(d->be, d->frame.len, &room) == 0;
		if (d->held)
			return false;
		memcpy(room, d->frame.data, d->frame.len);
		backend_commit(d->be, d->frame.len);
	}
	return true;
}

/* The kernel's running count of datagrams that found no room, and whether
 * slot i has many. */
static void
read_control(struct dgram *d, size_t i, struct msghdr *m)
{
	struct cmsghdr *c;
	uint32_t word;

	d->seg[i] = 0;
	for (c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_len < CMSG_LEN(sizeof word))
			continue;
		memcpy(&word, CMSG_DATA(c), sizeof word);
		if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO)
			d->seg[i] = word;
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SO_RXQ_OVFL)
			continue;
		backend_count(d->be, BC_IN_DROP_FULL, word - d->overflow);
		d->overflow = word;
	}
}

static bool
is_peer(const struct dgram *d, const struct addr *from)
{
	const struct addr *p = &d->peer;

	if (from->sa.sa_family != p->sa.sa_family)
		return false;
	if (p->sa.sa_family == AF_INET)
		return from->in.sin_addr.s_addr == p->in.sin_addr.s_addr &&
		       from->in.sin_port == p->in.sin_port;
	return p->sa.sa_family == AF_INET6 &&
	       IN6_ARE_ADDR_EQUAL(&from->in6.sin6_addr, &p->in6.sin6_addr) &&
	       from->in6.sin6_port == p->in6.sin6_port;
}

/* Receive one batch. Its size, 0 when there is nothing, or -errno. */
static int
receive(struct dgram *d)
{
	struct mmsghdr msgs[DGRAM_IN_FRAMES];
	struct iovec iov[DGRAM_IN_FRAMES];
	struct addr from[DGRAM_IN_FRAMES];
	union {
		char buf[2 * CMSG_SPACE(sizeof(uint32_t))];
		struct cmsghdr align;
	} control[DGRAM_IN_FRAMES];
	ssize_t got;
	size_t i;

	memset(msgs, 0, sizeof msgs);
	for (i = 0; i < d->ask; i++) {
		iov[i] = (struct iovec){slot(d, i), FRAME_BYTES_MAX + 1};
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
		if (d->l2tp) {
			from[i].sa.sa_family = AF_UNSPEC;
			msgs[i].msg_hdr.msg_name = &from[i].sa;
			msgs[i].msg_hdr.msg_namelen = sizeof from[i].in6;
		}
		if (d->inet) {
			msgs[i].msg_hdr.msg_control = &control[i];
			msgs[i].msg_hdr.msg_controllen = sizeof control[i];
		}
	}
	got = sys_result(
	    recvmmsg(d->fd, msgs, (unsigned)d->ask, MSG_DONTWAIT, NULL));
	if (got <= 0)
		return (int)got;
	d->ask = DGRAM_IN_FRAMES;
	for (i = 0; i < (size_t)got; i++) {
		d->len[i] = msgs[i].msg_len;
		read_control(d, i, &msgs[i].msg_hdr);
		if (d->seg[i] > 0)
			d->ask = MERGED_SLOTS;
		if (msgs[i].msg_hdr.msg_flags & MSG_TRUNC)
			d->len[i] = FRAME_BYTES_MAX + 1;
		d->strange[i] = d->l2tp && !is_peer(d, &from[i]);
	}
	d->at = 0;
	d->end = (size_t)got;
	d->used = true;
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
	size_t asked;
	int got;

	for (turn = 0; turn < TURN_READS; turn++) {
		asked = d->ask;
		got = receive(d);
		/* ECONNREFUSED and the like: an earlier datagram of ours had
		 * no taker. Having been told, the kernel forgets it. */
		if (got < 0 && got != -EAGAIN && got != -EINTR)
			backend_count(d->be, BC_IN_ERRORS, 1);
		if (got <= 0)
			break;
		if (all_empty(d))
			timer_set_ns(d->pause, PAUSE_NS);
		if (!deliver(d) || (size_t)got < asked ||
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

/* Up to DGRAM_OUT_FRAMES frames as messages for the kernel. */
struct outgoing {
	struct mmsghdr msgs[DGRAM_OUT_FRAMES];
	struct iovec iov[2 * DGRAM_OUT_FRAMES];
	uint8_t frames[DGRAM_OUT_FRAMES]; /* in each message */
	union {
		char buf[CMSG_SPACE(sizeof(uint16_t))];
		struct cmsghdr align;
	} control[DGRAM_OUT_FRAMES];
};

/* Bytes that go with this frame. */
static uint32_t
datagram_bytes(const struct dgram *d, const struct frame *f)
{
	return f->len + (d->l2tp ? d->l2tp->head_bytes : 0);
}

/* How many of the next frames can be one message: all of one length, but for
 * the last, which may be shorter. */
static size_t
group(const struct dgram *d, const struct frame *f, size_t count)
{
	uint32_t bytes = datagram_bytes(d, &f[0]), total = bytes;
	size_t n = 1;

	if (bytes > d->group_most)
		return 1;
	while (n < count && n < GROUP_PARTS && f[n - 1].len == f[0].len &&
	       f[n].len <= f[0].len &&
	       total + datagram_bytes(d, &f[n]) <= GROUP_BYTES)
		total += datagram_bytes(d, &f[n++]);
	return n;
}

/* Tell the kernel where to cut the i-th message. */
static void
set_parts(struct outgoing *o, size_t i, uint32_t bytes)
{
	struct msghdr *m = &o->msgs[i].msg_hdr;
	uint16_t part = (uint16_t)bytes;
	struct cmsghdr *c;

	m->msg_control = &o->control[i];
	m->msg_controllen = sizeof o->control[i];
	c = CMSG_FIRSTHDR(m);
	c->cmsg_level = SOL_UDP;
	c->cmsg_type = UDP_SEGMENT;
	c->cmsg_len = CMSG_LEN(sizeof part);
	memcpy(CMSG_DATA(c), &part, sizeof part);
}

/* Make messages of `count` frames; how many. */
static size_t
make_messages(
    struct dgram *d, struct outgoing *o, const struct frame *f, size_t count)
{
	size_t i = 0, k, n, messages = 0;
	struct iovec *iov = o->iov;

	for (; i < count; i += n, messages++) {
		struct msghdr *m = &o->msgs[messages].msg_hdr;

		n = group(d, f + i, count - i);
		*m = (struct msghdr){.msg_iov = iov};
		for (k = i; k < i + n; k++) {
			if (d->l2tp)
				*iov++ = l2tp_head(d->l2tp, k);
			/* The kernel only reads it; there is no const. */
			*iov++ = (struct iovec){
			    (void *)(uintptr_t)f[k].data, f[k].len};
		}
		m->msg_iovlen = (size_t)(iov - m->msg_iov);
		if (n > 1)
			set_parts(o, messages, datagram_bytes(d, &f[i]));
		if (d->to.len) {
			m->msg_name = &d->to.sa;
			m->msg_namelen = d->to.len;
		}
		o->frames[messages] = (uint8_t)n;
	}
	return messages;
}

/*
 * The kernel cuts nothing that would then be in fragments, and nothing at all
 * on some paths: such datagrams go one by one from now on.
 */
static bool
is_uncut(
    struct dgram *d, const struct outgoing *o, const struct frame *f, int rc)
{
	if (o->frames[0] == 1 || (rc != -EINVAL && rc != -EMSGSIZE &&
				     rc != -EIO && rc != -EOPNOTSUPP))
		return false;
	d->group_most =
	    rc == -EINVAL || rc == -EMSGSIZE ? datagram_bytes(d, f) - 1 : 0;
	return true;
}

/* How many frames were sent, or -errno of the first. */
static int
send_batch(struct dgram *d, const struct frame *f, size_t count)
{
	struct outgoing o;
	size_t messages, i;
	int rc, frames = 0;

	if (count > DGRAM_OUT_FRAMES)
		count = DGRAM_OUT_FRAMES;
	messages = make_messages(d, &o, f, count);
	rc = (int)sys_result(sendmmsg(
	    d->fd, o.msgs, (unsigned)messages, MSG_DONTWAIT | MSG_NOSIGNAL));
	if (rc < 0)
		return is_uncut(d, &o, f, rc) ? -EINTR : rc;
	for (i = 0; i < (size_t)rc; i++)
		frames += o.frames[i];
	return frames;
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
	if (d->l2tp)
		l2tp_sent(d->l2tp, count);
	d->used = true;
	backend_count(d->be, BC_OUT_FRAMES, count);
	backend_count(d->be, BC_OUT_BYTES, bytes);
}

/* May this error be about an earlier datagram that had no taker? */
static bool
is_refusal(int rc)
{
	return rc == -ECONNREFUSED || rc == -ENOPROTOOPT;
}

/* Does it say that nobody is at the peer's path any more? */
static bool
is_alone(int rc)
{
	return rc == -ECONNREFUSED || rc == -ENOTCONN || rc == -ECONNRESET;
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
		} else if (d->fickle && is_alone(rc)) {
			d->alone = true;
			return done;
		} else if (rc == -EINTR ||
			   (is_refusal(rc) && refusals < REFUSALS_MAX)) {
			refusals += rc != -EINTR;
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
	d->ask = DGRAM_IN_FRAMES;
	d->pause = timer_new(backend_loop(be), pause_expired, d);
	buf = mmap(NULL, BUF_BYTES, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	d->buf = buf == MAP_FAILED ? NULL : buf;
	if (!d->buf || !d->pause || (echo && !d->echo))
		return -ENOMEM;
	return 0;
}

int
dgram_wrap(struct dgram *d, struct l2tp *l2tp)
{
	socklen_t len = sizeof(int);
	int type;

	d->peer.len = sizeof d->peer.un;
	if (getpeername(d->fd, &d->peer.sa, &d->peer.len) < 0 ||
	    getsockopt(d->fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return -EBADF;
	if (type == SOCK_RAW) {
		/* Senders are told without that of open_raw_ip.c. */
		d->raw_ipv4 = d->peer.sa.sa_family == AF_INET;
		if (d->raw_ipv4)
			d->peer.in.sin_port = 0;
		else
			d->peer.in6.sin6_port = 0;
	}
	d->l2tp = l2tp;
	return 0;
}

void
dgram_merge(struct dgram *d)
{
	int on = 1;

	if (setsockopt(d->fd, SOL_UDP, UDP_GRO, &on, sizeof on) == 0)
		d->group_most = GROUP_BYTES;
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
