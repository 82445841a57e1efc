/*
 * backend_vhost.c - vhost-user messages on a unix socket.
 *
 * Runs in: nic (back-end), vhost-user (front-end).
 * Trusts: nothing that arrives, nor when.
 * Specification: vhost-user (QEMU, docs/interop/vhost-user.rst), unix(7).
 *
 * Theory of operation
 * In: the 12 bytes of the header, then exactly the payload that it announces,
 * so nothing of the next message is ever held and its descriptors stay in the
 * kernel. Descriptors belong to the header's bytes; a peer that sends more
 * than fit, or some with the payload, is sent away. A message that has begun
 * must be whole within VHOST_MESSAGE_NS, however slowly its bytes come. After
 * VHOST_TURN_MESSAGES others have their turn.
 * Out: each message with one system call; what the socket does not take waits
 * here. While something waits, a back-end reads no further requests, so that
 * a front-end which reads no replies fills nothing but its own socket. Nothing
 * taken for VHOST_MESSAGE_NS, or too much waiting, is the end.
 * Every call says MSG_DONTWAIT: O_NONBLOCK belongs to the file, which others
 * may share.
 */
#include "backends/backend_vhost.h"

#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Messages that may wait for the socket. */
#define WAITING_MAX 64u
#define WHY_BYTES   256u

struct header {
	uint32_t request, flags, size;
};

_Static_assert(sizeof(struct header) == 12, "the header of the wire");

#define PAYLOAD_BYTES ((uint32_t)sizeof((union vhost_payload){0}.bytes))

/* A message, or the rest of one, that the socket did not take. */
struct waiting {
	struct waiting *next; /* owned */
	size_t sent, bytes;
	unsigned fd_count;
	int fds[VHOST_FDS_MAX]; /* owned copies */
	uint8_t data[sizeof(struct header) + sizeof(union vhost_payload)];
};

struct vhost_conn {
	const struct vhost_conn_ops *ops; /* borrowed */
	void *self;
	enum vhost_role role;
	int fd;              /* owned; -1: ended */
	struct watch *watch; /* owned */
	/* A message is half here; something waits, or the end is due. */
	struct timer *in_time, *out_time; /* owned */
	bool *gone; /* set by vhost_conn_free while a callback runs */
	bool dead;  /* nothing more is sent or read; the end is due */
	bool said;  /* `why` has been set */
	size_t got; /* bytes of header and payload */
	struct header header;
	struct vhost_msg in;
	struct waiting *first, **last; /* owned */
	unsigned waiting;
	char why[WHY_BYTES];
};

/* --- the end -------------------------------------------------------------- */

void
vhost_conn_fail(struct vhost_conn *c, const char *fmt, ...)
{
	va_list args;

	/* The first cause is the cause. */
	if (c->said)
		return;
	va_start(args, fmt);
	if (vsnprintf(c->why, sizeof c->why, fmt, args) < 0)
		c->why[0] = '\0';
	va_end(args);
	c->said = true;
}

static void
fds_close(int *fds, unsigned *count)
{
	unsigned i;

	for (i = 0; i < *count; i++)
		fd_close_foreign(&fds[i]);
	*count = 0;
}

static void
waiting_free(struct waiting *w)
{
	fds_close(w->fds, &w->fd_count);
	free(w);
}

static void
dequeue(struct vhost_conn *c)
{
	struct waiting *w = c->first;

	c->first = w->next;
	if (!c->first)
		c->last = &c->first;
	c->waiting--;
	waiting_free(w);
}

/* Let go of everything but the struct. */
static void
shut(struct vhost_conn *c)
{
	c->dead = true;
	watch_free(ptr_take(c->watch));
	timer_free(ptr_take(c->in_time));
	timer_free(ptr_take(c->out_time));
	fd_close_foreign(&c->fd);
	vhost_msg_close(&c->in);
	while (c->first)
		dequeue(c);
}

/* The callback may free c: nothing may follow. */
static void
end(struct vhost_conn *c)
{
	vhost_conn_fail(c, "the connection ended");
	shut(c);
	c->ops->closed(c->self, c->why);
}

/* From inside a call of our user: the end comes from the loop. */
static void
end_soon(struct vhost_conn *c)
{
	c->dead = true;
	watch_set(c->watch, 0);
	timer_stop(c->in_time);
	timer_set_ns(c->out_time, 0);
}

static void
watch_wanted(struct vhost_conn *c)
{
	bool reads = c->role == VHOST_FRONTEND || !c->first;

	if (!c->dead)
		watch_set(c->watch, (reads ? (unsigned)WATCH_READ : 0u) |
					(c->first ? (unsigned)WATCH_WRITE : 0));
}

/* --- out ------------------------------------------------------------------ */

/* Room for the descriptors of one message, aligned as cmsg(3) wants it. */
union rights {
	struct cmsghdr align;
	char room[CMSG_SPACE(sizeof(int) * VHOST_FDS_MAX)];
};

/* What of w the socket took now, or -errno. */
static ssize_t
send_some(int fd, struct waiting *w)
{
	struct iovec iov = {w->data + w->sent, w->bytes - w->sent};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	union rights rights;
	struct cmsghdr *head;
	ssize_t rc;

	if (w->fd_count > 0) {
		memset(&rights, 0, sizeof rights);
		msg.msg_control = &rights;
		msg.msg_controllen = CMSG_SPACE(w->fd_count * sizeof(int));
		head = CMSG_FIRSTHDR(&msg);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(w->fd_count * sizeof(int));
		memcpy(CMSG_DATA(head), w->fds, w->fd_count * sizeof(int));
	}
	do
		rc = sys_result(sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL));
	while (rc == -EINTR);
	return rc;
}

/* As much of the queue as the socket takes. 0 or -errno. */
static int
send_queue(struct vhost_conn *c)
{
	struct waiting *w;
	ssize_t rc;

	while ((w = c->first)) {
		rc = send_some(c->fd, w);
		if (rc == -EAGAIN)
			return 0;
		if (rc < 0)
			return (int)rc;
		timer_set_ns(c->out_time, VHOST_MESSAGE_NS);
		/* They went with the first byte. */
		fds_close(w->fds, &w->fd_count);
		w->sent += (size_t)rc;
		if (w->sent == w->bytes)
			dequeue(c);
	}
	timer_stop(c->out_time);
	return 0;
}

/* w, whose descriptors are borrowed, becomes one that waits. */
static int
enqueue(struct vhost_conn *c, const struct waiting *w)
{
	struct waiting *copy;
	unsigned i;
	int rc = 0;

	if (c->waiting == WAITING_MAX)
		return -ENOBUFS;
	copy = malloc(sizeof *copy);
	if (!copy)
		return -ENOMEM;
	*copy = *w;
	copy->fd_count = 0;
	for (i = 0; i < w->fd_count && rc >= 0; i++) {
		rc = (int)sys_result(fcntl(w->fds[i], F_DUPFD_CLOEXEC, 0));
		if (rc >= 0)
			copy->fds[copy->fd_count++] = rc;
	}
	if (rc < 0) {
		waiting_free(copy);
		return rc;
	}
	copy->next = NULL;
	*c->last = copy;
	c->last = &copy->next;
	c->waiting++;
	if (!timer_pending(c->out_time))
		timer_set_ns(c->out_time, VHOST_MESSAGE_NS);
	watch_wanted(c);
	return 0;
}

int
vhost_conn_send(struct vhost_conn *c, const struct vhost_msg *m)
{
	struct header header = {m->request, m->flags, m->size};
	struct waiting w;
	ssize_t rc = -EAGAIN;

	BUG_ON(m->size > PAYLOAD_BYTES || m->fd_count > VHOST_FDS_MAX);
	if (c->dead)
		return -EPIPE;
	w.next = NULL;
	w.sent = 0;
	w.bytes = sizeof header + m->size;
	memcpy(w.data, &header, sizeof header);
	memcpy(w.data + sizeof header, &m->payload, m->size);
	w.fd_count = m->fd_count;
	memcpy(w.fds, m->fds, sizeof w.fds);
	if (!c->first)
		rc = send_some(c->fd, &w);
	if (rc >= 0 && (size_t)rc < w.bytes) {
		w.sent = (size_t)rc;
		w.fd_count = 0;
		rc = -EAGAIN;
	}
	if (rc == -EAGAIN)
		rc = enqueue(c, &w);
	if (rc >= 0)
		return 0;
	vhost_conn_fail(c,
	    rc == -ENOBUFS ? "its peer reads nothing" : "closed by its peer");
	end_soon(c);
	return (int)rc;
}

int
vhost_reply(
    struct vhost_conn *c, uint32_t request, const void *payload, uint32_t size)
{
	struct vhost_msg m = {
	    .request = request,
	    .flags = VHOST_VERSION | VHOST_REPLY,
	    .size = size,
	};

	BUG_ON(size > PAYLOAD_BYTES);
	memcpy(&m.payload, payload, size);
	return vhost_conn_send(c, &m);
}

/* --- in ------------------------------------------------------------------- */

/* Move the descriptors that came to the message; false: more than fit. */
static bool
rights_take(struct msghdr *msg, struct vhost_msg *m)
{
	struct cmsghdr *head;
	size_t count, i;
	bool fits = true;
	int fd;

	for (head = CMSG_FIRSTHDR(msg); head; head = CMSG_NXTHDR(msg, head)) {
		if (head->cmsg_level != SOL_SOCKET ||
		    head->cmsg_type != SCM_RIGHTS)
			continue;
		count = (head->cmsg_len - CMSG_LEN(0)) / sizeof fd;
		for (i = 0; i < count; i++) {
			memcpy(&fd, CMSG_DATA(head) + i * sizeof fd, sizeof fd);
			if (m->fd_count < VHOST_FDS_MAX) {
				m->fds[m->fd_count++] = fd;
			} else {
				fd_close_foreign(&fd);
				fits = false;
			}
		}
	}
	return fits && !(msg->msg_flags & MSG_CTRUNC);
}

/*
 * read_some - up to `bytes` to `to`, with the descriptors if `rights`.
 * Returns how many, or -EAGAIN, or another negative number: `why` is set.
 */
static ssize_t
read_some(struct vhost_conn *c, void *to, size_t bytes, bool wants_rights)
{
	struct iovec iov = {to, bytes};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	union rights rights;
	ssize_t got;

	if (wants_rights) {
		msg.msg_control = &rights;
		msg.msg_controllen = sizeof rights;
	}
	do
		got = sys_result(
		    recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
	while (got == -EINTR);
	if (got == -EAGAIN)
		return got;
	if (got == 0 || got == -ECONNRESET)
		vhost_conn_fail(c, "closed by its peer%s",
		    c->got ? " in the middle of a message" : "");
	else if (got < 0)
		vhost_conn_fail(c, "receiving failed: %s", strerror((int)-got));
	if (got > 0 && rights_take(&msg, &c->in))
		return got;
	/* Also what was more than the process may have open. */
	vhost_conn_fail(c, "more descriptors than a message may have");
	return got < 0 ? got : -EPROTO;
}

/* The header is whole: can what follows be read? */
static int
judge_header(struct vhost_conn *c)
{
	const struct header *h = &c->header;
	uint32_t flags = h->flags;
	bool ok;

	if (c->role == VHOST_FRONTEND)
		ok = flags == (VHOST_VERSION | VHOST_REPLY);
	else
		ok = (flags & ~VHOST_NEED_REPLY) == VHOST_VERSION;
	if (!ok)
		vhost_conn_fail(c, "message %u has impossible flags 0x%x",
		    h->request, flags);
	else if (h->size > PAYLOAD_BYTES)
		vhost_conn_fail(c, "message %u announces %u bytes, at most %u",
		    h->request, h->size, PAYLOAD_BYTES);
	c->in.request = h->request;
	c->in.flags = flags;
	c->in.size = h->size;
	return ok && h->size <= PAYLOAD_BYTES ? 0 : -EPROTO;
}

/* Read on: 1 when the message is whole, -EAGAIN, or another negative. */
static int
read_message(struct vhost_conn *c)
{
	const size_t head = sizeof c->header;
	ssize_t got;

	while (c->got < head) {
		got = read_some(
		    c, (uint8_t *)&c->header + c->got, head - c->got, true);
		if (got < 0)
			return (int)got;
		c->got += (size_t)got;
		if (c->got == head && judge_header(c) < 0)
			return -EPROTO;
	}
	while (c->got < head + c->in.size) {
		/* No room for descriptors: the kernel closes and tells. */
		got = read_some(c, c->in.payload.bytes + (c->got - head),
		    head + c->in.size - c->got, false);
		if (got < 0)
			return (int)got;
		c->got += (size_t)got;
	}
	return 1;
}

/* A whole message. 0, or negative: the end; 1: c is no more. */
static int
handle(struct vhost_conn *c)
{
	struct vhost_msg m = c->in;
	bool gone = false;
	const char *wrong;
	int rc = -EPROTO;

	c->in = (struct vhost_msg){0};
	c->got = 0;
	timer_stop(c->in_time);
	wrong = vhost_msg_wrong(&m, c->role);
	c->gone = &gone;
	if (!wrong) {
		rc = c->ops->message(c->self, &m);
	} else {
		vhost_msg_close(&m);
		if (c->role == VHOST_BACKEND && c->ops->bad)
			rc = c->ops->bad(c->self, &m, wrong);
		if (!gone && rc < 0)
			vhost_conn_fail(c, "message %u %s", m.request, wrong);
	}
	vhost_msg_close(&m);
	if (gone)
		return 1;
	c->gone = NULL;
	if (rc < 0)
		vhost_conn_fail(c, "message %u was refused", m.request);
	return rc < 0 || c->dead ? -EPROTO : 0;
}

static void
readable(struct vhost_conn *c)
{
	unsigned turn;
	int rc;

	for (turn = 0; turn < VHOST_TURN_MESSAGES; turn++) {
		rc = read_message(c);
		if (rc == -EAGAIN) {
			if (c->got > 0 && !timer_pending(c->in_time))
				timer_set_ns(c->in_time, VHOST_MESSAGE_NS);
			return;
		}
		if (rc > 0)
			rc = handle(c);
		if (rc < 0)
			end(c);
		if (rc != 0)
			return;
		/* Its reply waits: so does its next request. */
		if (c->role == VHOST_BACKEND && c->first)
			return;
	}
}

static void
ready(void *self, unsigned events)
{
	struct vhost_conn *c = self;

	if (!(events & WATCH_WRITE)) {
		readable(c);
		return;
	}
	if (send_queue(c) < 0) {
		vhost_conn_fail(c, "closed by its peer");
		end(c);
		return;
	}
	watch_wanted(c);
}

/* --- life ----------------------------------------------------------------- */

static void
in_expired(void *self)
{
	struct vhost_conn *c = self;

	vhost_conn_fail(c, "its peer stopped in the middle of a message");
	end(c);
}

static void
out_expired(void *self)
{
	struct vhost_conn *c = self;

	vhost_conn_fail(c, "its peer reads nothing");
	end(c);
}

struct vhost_conn *
vhost_conn_new(struct loop *l, int fd, enum vhost_role role,
    const struct vhost_conn_ops *ops, void *self)
{
	struct vhost_conn *c = calloc(1, sizeof *c);

	if (!c) {
		fd_close_foreign(&fd);
		return NULL;
	}
	c->ops = ops;
	c->self = self;
	c->role = role;
	c->fd = fd_take(&fd);
	c->last = &c->first;
	c->in_time = timer_new(l, in_expired, c);
	c->out_time = timer_new(l, out_expired, c);
	c->watch = watch_new(l, c->fd, WATCH_READ, ready, c);
	if (c->in_time && c->out_time && c->watch)
		return c;
	vhost_conn_free(c);
	return NULL;
}

void
vhost_conn_free(struct vhost_conn *c)
{
	if (!c)
		return;
	if (c->gone)
		*c->gone = true;
	shut(c);
	free(c);
}
