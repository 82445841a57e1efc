/*
 * chan.c - one control channel: datagrams in, datagrams out, never waiting.
 *
 * Runs in: broker, lanes, backends. Trusts: nothing that arrives. What a
 * hostile peer can do, and what comes of it:
 *   - a message longer than CHAN_BYTES_MAX, or more descriptors than wanted:
 *     the kernel cuts them and says so (MSG_TRUNC, MSG_CTRUNC): a fault, and
 *     what did arrive is closed;
 *   - descriptors where none are wanted: refused at the sender by
 *     SO_PASSRIGHTS, or dropped by the kernel for want of room: a fault;
 *   - a flood: MESSAGES_PER_TURN per wake-up, other descriptors in between;
 *   - not reading: our queue grows to its bound, then sending fails;
 *   - an empty message: cannot be told from the end, and is taken for it.
 * Specification: unix(7), cmsg(3), recvmsg(2).
 */
#include "proto/chan.h"

#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define MESSAGES_PER_TURN 16

/* One message that the kernel did not take yet. */
struct pending {
	size_t len;
	size_t fd_count;
	int fds[CHAN_FDS_MAX]; /* owned copies */
	uint8_t bytes[];
};

struct chan {
	struct watch *watch; /* owned; NULL once closed */
	const struct chan_ops *ops;
	void *self;
	bool *gone; /* set by chan_free while a callback runs */
	int fd;     /* owned; -1 once closed */
	bool wants_fds;
	/* Messages that wait, oldest at `first`, a ring of pointers. */
	size_t first, count, bytes;
	struct pending *queue[CHAN_QUEUE_MAX]; /* owned */
	uint8_t inbox[CHAN_BYTES_MAX];
};

/* Room for the descriptors of one message, aligned as cmsg(3) wants it. */
union rights {
	struct cmsghdr align;
	char room[CMSG_SPACE(sizeof(int) * CHAN_FDS_MAX)];
};

static void
fds_close(int *fds, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		fd_close(&fds[i]);
}

/* --- receiving ------------------------------------------------------------ */

/*
 * rights_take - move the descriptors of a received message to fds.
 * The kernel filled no more than the room for CHAN_FDS_MAX.
 */
static size_t
rights_take(struct msghdr *msg, int fds[CHAN_FDS_MAX])
{
	struct cmsghdr *c;
	size_t count = 0, more, i;
	int fd;

	for (c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		more = (c->cmsg_len - CMSG_LEN(0)) / sizeof fd;
		for (i = 0; i < more; i++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
			if (count < CHAN_FDS_MAX)
				fds[count++] = fd;
			else
				fd_close(&fd);
		}
	}
	return count;
}

/*
 * receive_one - one message, without waiting.
 *   fds  NULL, or room for CHAN_FDS_MAX; then *fd_count is set
 * Returns its length; 0 at the end; -EAGAIN; -EPROTO for what is too long or
 * brought too many descriptors (all closed); or -errno.
 */
static ssize_t
receive_one(int fd, uint8_t *buf, size_t size, int *fds, size_t *fd_count)
{
	struct iovec iov = {.iov_base = buf, .iov_len = size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	union rights rights;
	size_t count = 0;
	ssize_t got;

	if (fds != NULL) {
		msg.msg_control = &rights;
		msg.msg_controllen = sizeof rights;
	}
	do
		got = sys_result(
		    recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
	while (got == -EINTR);
	if (got < 0)
		return got;
	if (fds != NULL)
		count = rights_take(&msg, fds);
	if ((msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 || got == 0) {
		fds_close(fds, count);
		count = 0;
		if (got > 0 || (msg.msg_flags & MSG_CTRUNC) != 0)
			got = -EPROTO;
	}
	if (fd_count != NULL)
		*fd_count = count;
	return got;
}

int
chan_receive(int fd, uint8_t *buf, size_t size, int *fds, size_t *fd_count,
    int deadline_ms)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	uint64_t now = sys_mono_ns(), end_ns;
	int rc, left_ms;
	ssize_t got;

	BUG_ON(size > CHAN_BYTES_MAX || deadline_ms < 0);
	end_ns = now + (uint64_t)deadline_ms * 1000000u;
	for (;;) {
		got = receive_one(fd, buf, size, fds, fd_count);
		if (got != -EAGAIN)
			return (int)got;
		now = sys_mono_ns();
		if (now >= end_ns)
			return -ETIMEDOUT;
		left_ms = (int)((end_ns - now + 999999u) / 1000000u);
		rc = (int)sys_result(poll(&wait, 1, left_ms));
		if (rc < 0 && rc != -EINTR)
			return rc;
	}
}

/* --- sending -------------------------------------------------------------- */

/* 0, or -errno with nothing sent. */
static int
send_one(int fd, const void *buf, size_t len, const int *fds, size_t fd_count)
{
	struct iovec iov = {.iov_len = len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	union rights rights;
	struct cmsghdr *c;
	ssize_t rc;

	/* The kernel only reads; its struct has no const. */
	memcpy(&iov.iov_base, &buf, sizeof buf);
	if (fd_count > 0) {
		memset(&rights, 0, sizeof rights);
		msg.msg_control = &rights;
		msg.msg_controllen = CMSG_SPACE(fd_count * sizeof *fds);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(fd_count * sizeof *fds);
		memcpy(CMSG_DATA(c), fds, fd_count * sizeof *fds);
	}
	do
		rc = sys_result(sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL));
	while (rc == -EINTR);
	return rc < 0 ? (int)rc : 0;
}

static void
pending_free(struct pending *p)
{
	if (p == NULL)
		return;
	fds_close(p->fds, p->fd_count);
	free(p);
}

/* A copy of a message with copies of its descriptors. 0 or -errno. */
static int
pending_new(struct pending **out, const void *buf, size_t len, const int *fds,
    size_t fd_count)
{
	struct pending *p = malloc(sizeof *p + len);
	int rc = 0;

	if (p == NULL)
		return -ENOMEM;
	p->len = len;
	p->fd_count = 0;
	memcpy(p->bytes, buf, len);
	while (p->fd_count < fd_count) {
		rc = (int)sys_result(
		    fcntl(fds[p->fd_count], F_DUPFD_CLOEXEC, 0));
		if (rc < 0)
			goto out;
		p->fds[p->fd_count++] = rc;
	}
	*out = ptr_take(p);
	rc = 0;
out:
	pending_free(p);
	return rc;
}

static int
enqueue(struct chan *c, const void *buf, size_t len, const int *fds,
    size_t fd_count)
{
	struct pending *p = NULL;
	int rc;

	if (c->count == CHAN_QUEUE_MAX || c->bytes + len > CHAN_QUEUE_BYTES_MAX)
		return -ENOBUFS;
	rc = pending_new(&p, buf, len, fds, fd_count);
	if (rc < 0)
		return rc;
	c->queue[(c->first + c->count) % CHAN_QUEUE_MAX] = p;
	c->count++;
	c->bytes += len;
	watch_set(c->watch, WATCH_READ | WATCH_WRITE);
	return 0;
}

/* Forget the oldest message that waits. */
static void
dequeue(struct chan *c)
{
	struct pending *p = c->queue[c->first];

	c->queue[c->first] = NULL;
	c->first = (c->first + 1) % CHAN_QUEUE_MAX;
	c->count--;
	c->bytes -= p->len;
	pending_free(p);
}

int
chan_send(struct chan *c, const void *buf, size_t len, const int *fds,
    size_t fd_count)
{
	int rc = -EAGAIN;

	BUG_ON(len == 0 || fd_count > CHAN_FDS_MAX);
	if (len > CHAN_BYTES_MAX)
		return -EMSGSIZE;
	if (c->fd < 0)
		return -EPIPE;
	if (c->count == 0)
		rc = send_one(c->fd, buf, len, fds, fd_count);
	if (rc == -EAGAIN)
		rc = enqueue(c, buf, len, fds, fd_count);
	return rc;
}

/* --- the channel ---------------------------------------------------------- */

/* Let go of everything but the struct, which is its owner's. */
static void
shut(struct chan *c)
{
	watch_free(ptr_take(c->watch));
	fd_close(&c->fd);
	while (c->count > 0)
		dequeue(c);
}

/* The end of the channel; the callback may free it. */
static void
end(struct chan *c, int reason)
{
	shut(c);
	c->ops->closed(c->self, reason);
}

static void
writable(struct chan *c)
{
	struct pending *p;
	int rc;

	while (c->count > 0) {
		p = c->queue[c->first];
		rc = send_one(c->fd, p->bytes, p->len, p->fds, p->fd_count);
		if (rc == -EAGAIN)
			return;
		if (rc < 0) {
			end(c, rc);
			return;
		}
		dequeue(c);
	}
	watch_set(c->watch, WATCH_READ);
}

static void
readable(struct chan *c)
{
	int fds[CHAN_FDS_MAX];
	bool gone = false;
	size_t fd_count;
	ssize_t got;
	int i, rc;

	for (i = 0; i < MESSAGES_PER_TURN; i++) {
		got = receive_one(c->fd, c->inbox, sizeof c->inbox,
		    c->wants_fds ? fds : NULL, &fd_count);
		if (got == -EAGAIN)
			return;
		if (got <= 0) {
			/* Reset: it ended and had not read all. */
			end(c, got == -ECONNRESET ? 0 : (int)got);
			return;
		}
		c->gone = &gone;
		rc = c->ops->message(
		    c->self, c->inbox, (size_t)got, fds, fd_count);
		if (gone)
			return;
		c->gone = NULL;
		if (rc < 0) {
			end(c, rc);
			return;
		}
	}
}

static void
chan_ready(void *self, unsigned events)
{
	struct chan *c = self;

	/* One of the two at a time, so c outlives the call it is needed in. */
	if ((events & WATCH_WRITE) != 0)
		writable(c);
	else
		readable(c);
}

struct chan *
chan_new(struct loop *l, int fd, int wants_fds, const struct chan_ops *ops,
    void *self)
{
	struct chan *c = malloc(sizeof *c);

	/* Not calloc: the inbox and the queue are touched when used. */
	if (c == NULL)
		goto out;
	memset(c, 0, offsetof(struct chan, queue));
	c->fd = -1;
	c->wants_fds = wants_fds != 0;
	c->ops = ops;
	c->self = self;
	c->watch = watch_new(l, fd, WATCH_READ, chan_ready, c);
	if (c->watch == NULL)
		goto out;
	/* An older kernel cannot, and we give it no room. */
	if (!wants_fds)
		sys_refuse_rights(fd);
	c->fd = fd_take(&fd);
	return c;
out:
	fd_close(&fd);
	free(c);
	return NULL;
}

void
chan_free(struct chan *c)
{
	if (c == NULL)
		return;
	if (c->gone != NULL)
		*c->gone = true;
	shut(c);
	free(c);
}
