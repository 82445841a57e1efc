/*
 * launch_client.c - requests to the launcher, its answers and its notices.
 *
 * Runs in: the broker. Trusts: the launcher; a message of the wrong size or
 * an answer that nobody asked for ends the channel all the same, so that a
 * version mix-up is seen at once.
 * Specification: proto/launch.h.
 *
 * A request's number is its place in the table plus a multiple of the table's
 * size that changes with each use, so an answer to a forgotten request cannot
 * be taken for the answer to a newer one.
 */
#include "broker/launch_client.h"

#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Messages read in one turn. */
#define TURN_MESSAGES 64

struct pending {
	launch_answer answer; /* NULL: forgotten */
	void *self;
	uint32_t seq;  /* 0: free */
	uint32_t type; /* of the answer */
};

struct queued {
	struct queued *next;
	struct launch_msg m;
	int fd; /* owned, or -1 */
};

struct slot {
	const struct slot_ops *ops; /* NULL: free */
	void *self;
	uint32_t epoch; /* last one used; stays when the slot is given back */
};

struct launch_client {
	const struct launch_ops *ops;
	void *self;
	int fd; /* owned */
	struct watch *watch;
	struct queued *first, **last;
	size_t pending_count, slot_count;
	uint32_t next; /* place in the table to look at first */
	struct pending pending[LAUNCH_PENDING_MAX];
	struct slot slots[LAUNCH_SLOTS];
};

static void lost(struct launch_client *c, int reason);

static uint32_t
answer_type(uint32_t type)
{
	switch (type) {
	case LAUNCH_OPEN:
		return LAUNCH_OPENED;
	case LAUNCH_TAKE:
		return LAUNCH_TAKEN;
	case LAUNCH_SPAWN:
		return LAUNCH_SPAWNED;
	case LAUNCH_RELEASE:
		return LAUNCH_RELEASED;
	case LAUNCH_PORT_ASK:
		return LAUNCH_PORT;
	case LAUNCH_CROSS:
		return LAUNCH_CROSSED;
	case LAUNCH_ARENA:
		return LAUNCH_ARENA_MADE;
	case LAUNCH_LATCH:
		return LAUNCH_LATCHED;
	default:
		return LAUNCH_NONE;
	}
}

/* One datagram out. 0, -EAGAIN, or another -errno. */
static int
put(int fd, const struct launch_msg *m, int attached)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {
	    .iov_base = (void *)(uintptr_t)m, .iov_len = sizeof *m};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t rc;

	memset(&control, 0, sizeof control);
	if (attached >= 0) {
		msg.msg_control = control.room;
		msg.msg_controllen = sizeof control.room;
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.head), &attached, sizeof attached);
	}
	rc = sys_result(sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL));
	return rc < 0 ? (int)rc : 0;
}

/* Send what is queued, as far as it goes. */
static void
drain(struct launch_client *c)
{
	struct queued *q;
	int rc = 0;

	while ((q = c->first)) {
		rc = put(c->fd, &q->m, q->fd);
		if (rc < 0)
			break;
		c->first = q->next;
		if (!c->first)
			c->last = &c->first;
		fd_close_foreign(&q->fd);
		free(q);
	}
	if (rc < 0 && rc != -EAGAIN && rc != -EINTR) {
		lost(c, rc);
		return;
	}
	watch_set(c->watch, WATCH_READ | (c->first ? WATCH_WRITE : 0u));
}

/*
 * The queue's length is bounded by the pending table and by what lives in the
 * slots (each process is signalled a fixed number of times).
 */
static void
enqueue(struct launch_client *c, const struct launch_msg *m, int fd)
{
	struct queued *q = malloc(sizeof *q);

	BUG_ON(!q);
	q->next = NULL;
	q->m = *m;
	q->fd = fd;
	*c->last = q;
	c->last = &q->next;
	watch_set(c->watch, WATCH_READ | WATCH_WRITE);
}

static void
send_or_queue(struct launch_client *c, const struct launch_msg *m, int fd)
{
	int rc = -EAGAIN;

	if (!c->first)
		rc = put(c->fd, m, fd);
	if (rc == 0)
		fd_close_foreign(&fd);
	else
		enqueue(c, m, fd); /* drain() meets any other error again */
}

uint32_t
launch_ask(struct launch_client *c, struct launch_msg *m, int fd,
    launch_answer answer, void *self)
{
	struct pending *p;

	if (c->pending_count >= LAUNCH_PENDING_MAX) {
		fd_close_foreign(&fd);
		return 0;
	}
	while (c->pending[c->next % LAUNCH_PENDING_MAX].seq != 0)
		c->next++;
	if (c->next == 0)
		c->next = LAUNCH_PENDING_MAX;
	p = &c->pending[c->next % LAUNCH_PENDING_MAX];
	BUG_ON(p->seq != 0);
	p->seq = c->next++;
	p->answer = answer;
	p->self = self;
	p->type = answer_type(m->type);
	BUG_ON(p->type == LAUNCH_NONE);
	c->pending_count++;
	m->magic = LAUNCH_MAGIC;
	m->seq = p->seq;
	send_or_queue(c, m, fd);
	return p->seq;
}

void
launch_tell(struct launch_client *c, struct launch_msg *m)
{
	m->magic = LAUNCH_MAGIC;
	m->seq = 0;
	send_or_queue(c, m, -1);
}

void
launch_forget(struct launch_client *c, uint32_t ask)
{
	struct pending *p = &c->pending[ask % LAUNCH_PENDING_MAX];

	if (ask != 0 && p->seq == ask)
		p->answer = NULL;
}

/* --- slots that were lost --- */

static void
nobody(void *self, const struct launch_result *r)
{
	(void)self;
	(void)r;
}

static const struct slot_ops lost_ops = {nobody, nobody};

/* Released at last, when nobody waited for it any more. */
static void
find_again(struct launch_client *c, uint32_t slot)
{
	if (slot > 0 && slot < LAUNCH_SLOTS && c->slots[slot].ops == &lost_ops)
		slot_give(c, slot);
}

static int
take_answer(struct launch_client *c, const struct launch_msg *m, int *fds)
{
	struct pending *p = &c->pending[m->seq % LAUNCH_PENDING_MAX];
	launch_answer answer = p->answer;

	if (m->seq == 0 || p->seq != m->seq || p->type != m->type)
		return -EPROTO;
	p->seq = 0;
	p->answer = NULL;
	c->pending_count--;
	if (answer)
		answer(p->self, m, fds);
	else if (m->type == LAUNCH_RELEASED)
		find_again(c, m->slot);
	return 0;
}

static int
take_notice(struct launch_client *c, const struct launch_msg *m, int *fds)
{
	const struct slot *s;

	if (m->type == LAUNCH_LISTENER) {
		c->ops->listener(c->self, fd_take(&fds[0]), m->result.text);
		return 0;
	}
	if (m->type == LAUNCH_SIGNALLED) {
		c->ops->signalled(c->self, m->result.code);
		return 0;
	}
	if (m->slot >= LAUNCH_SLOTS)
		return -EPROTO;
	s = &c->slots[m->slot];
	/* A slot that was given back: news of a life that nobody follows. */
	if (s->ops && (m->slot == 0 || m->result.epoch == s->epoch)) {
		if (m->type == LAUNCH_ATTESTED)
			s->ops->attested(s->self, &m->result);
		else
			s->ops->exited(s->self, &m->result);
	}
	return 0;
}

static int
take(struct launch_client *c, struct launch_msg *m, int *fds)
{
	if (m->magic != LAUNCH_MAGIC)
		return -EPROTO;
	m->result.text[LAUNCH_TEXT - 1] = '\0';
	switch (m->type) {
	case LAUNCH_OPENED:
	case LAUNCH_TAKEN:
	case LAUNCH_SPAWNED:
	case LAUNCH_RELEASED:
	case LAUNCH_PORT:
	case LAUNCH_CROSSED:
	case LAUNCH_ARENA_MADE:
	case LAUNCH_LATCHED:
		return take_answer(c, m, fds);
	case LAUNCH_LISTENER:
	case LAUNCH_SIGNALLED:
	case LAUNCH_ATTESTED:
	case LAUNCH_EXITED:
		return take_notice(c, m, fds);
	default:
		return -EPROTO;
	}
}

/* One datagram in. Its size, or -errno; fds that came are in `fds`. */
static ssize_t
get(int fd, struct launch_msg *m, int *fds)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(LAUNCH_FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = m, .iov_len = sizeof *m};
	struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.room,
	    .msg_controllen = sizeof control.room};
	struct cmsghdr *h;
	ssize_t len;

	for (size_t i = 0; i < LAUNCH_FDS_MAX; i++)
		fds[i] = -1;
	len = sys_result(recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
	if (len <= 0)
		return len;
	h = CMSG_FIRSTHDR(&msg);
	if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS &&
	    h->cmsg_len <= CMSG_LEN(LAUNCH_FDS_MAX * sizeof(int)))
		memcpy(fds, CMSG_DATA(h), h->cmsg_len - CMSG_LEN(0));
	if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		return -EPROTO;
	return len;
}

static void
lost(struct launch_client *c, int reason)
{
	watch_set(c->watch, 0);
	c->ops->lost(c->self, reason);
}

/*
 * Answers may change everything but never free the client: it lives as long
 * as the process.
 */
static void
ready(void *self, unsigned events)
{
	struct launch_client *c = self;
	int fds[LAUNCH_FDS_MAX];
	struct launch_msg m;
	ssize_t len;
	int rc = 0;

	if (events & WATCH_WRITE)
		drain(c);
	for (int n = 0; n < TURN_MESSAGES && rc == 0; n++) {
		len = get(c->fd, &m, fds);
		if (len == -EAGAIN || len == -EINTR)
			return;
		if (len == 0) {
			lost(c, 0);
			return;
		}
		rc = len == (ssize_t)sizeof m ? take(c, &m, fds) : -EPROTO;
		for (size_t i = 0; i < LAUNCH_FDS_MAX; i++)
			fd_close(&fds[i]);
	}
	if (rc < 0)
		lost(c, rc);
}

struct launch_client *
launch_client_new(
    struct loop *l, int fd, const struct launch_ops *ops, void *self)
{
	struct launch_client *c = calloc(1, sizeof *c);

	if (c)
		c->watch = watch_new(l, fd, WATCH_READ, ready, c);
	if (!c || !c->watch) {
		free(c);
		fd_close(&fd);
		return NULL;
	}
	c->fd = fd;
	c->ops = ops;
	c->self = self;
	c->last = &c->first;
	c->next = 1;
	return c;
}

void
launch_client_free(struct launch_client *c)
{
	struct queued *q;

	if (!c)
		return;
	while ((q = c->first)) {
		c->first = q->next;
		fd_close(&q->fd);
		free(q);
	}
	watch_free(c->watch);
	fd_close(&c->fd);
	free(c);
}

void
slot_own(struct launch_client *c, uint32_t slot, const struct slot_ops *ops,
    void *self)
{
	BUG_ON(slot >= LAUNCH_SLOTS);
	c->slots[slot].ops = ops;
	c->slots[slot].self = self;
}

uint32_t
slot_take(struct launch_client *c, const struct slot_ops *ops, void *self)
{
	for (uint32_t i = 1; i < LAUNCH_SLOTS; i++) {
		if (c->slots[i].ops)
			continue;
		c->slots[i].ops = ops;
		c->slots[i].self = self;
		c->slot_count++;
		return i;
	}
	return 0;
}

void
slot_give(struct launch_client *c, uint32_t slot)
{
	BUG_ON(slot == 0 || slot >= LAUNCH_SLOTS || !c->slots[slot].ops);
	c->slots[slot].ops = NULL;
	c->slots[slot].self = NULL;
	c->slot_count--;
}

void
slot_lose(struct launch_client *c, uint32_t slot)
{
	c->slots[slot].ops = &lost_ops;
	c->slots[slot].self = NULL;
}

uint32_t
slot_epoch_next(struct launch_client *c, uint32_t slot)
{
	return ++c->slots[slot].epoch;
}

void
slot_kill(struct launch_client *c, uint32_t slot, uint32_t epoch, int signo)
{
	struct launch_msg m = {.type = LAUNCH_STOP, .slot = slot};

	m.stop.epoch = epoch;
	m.stop.signo = (uint32_t)signo;
	launch_tell(c, &m);
}

const char *
launch_why(const struct launch_result *r)
{
	return r->text[0] != '\0' ? r->text : strerror(-r->error);
}

bool
launch_may_come_later(int error)
{
	switch (error) {
	case -ECONNREFUSED:
	case -ECONNRESET:
	case -ENOENT:
	case -EAGAIN:
	case -ETIMEDOUT:
	case -ENETUNREACH:
	case -EHOSTUNREACH:
	case -ENETDOWN:
	case -EHOSTDOWN:
		return true;
	default:
		return false;
	}
}

size_t
launch_pending(const struct launch_client *c)
{
	return c->pending_count;
}

size_t
slot_count(const struct launch_client *c)
{
	return c->slot_count;
}
