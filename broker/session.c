/*
 * session.c - QMP over unix sockets.
 *
 * Runs in: the broker.
 * Trusts: nobody. What a client can do, and what comes of it:
 *   flood              one block and a few requests per wake-up; others first
 *   not read           64 KiB unsent: its input is not read; 1 MiB: closed
 *   send while a command is in work: stays in its socket (a block here)
 *   half close         what was sent is answered, then end of file
 *   disconnect         a command in work is completed, its answer dropped
 *   half a message     dropped with its session
 *   descriptors        the first of the last set is kept for the next command
 *                      that wants one; others are closed
 *   65th client        one line that says so, then end of file
 * Specification: QEMU docs/interop/qmp-spec.txt; what existing clients want:
 *   greeting alone in its write, CR LF, one line a message, no blank line.
 *
 * Nothing is freed below a callback: a session that must end is marked dead
 * and freed by the reaper, so that no caller on the stack is surprised.
 */
#include "broker/session.h"

#include "broker/dispatch.h"
#include "broker/framer.h"
#include "broker/greeting.h"
#include "broker/text.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BLOCK_BYTES       ((size_t)16 * 1024)
#define REQUESTS_PER_TURN 32u
#define SENDS_PER_FLUSH   8u
/* Descriptors looked at per read; the kernel closes what does not fit. */
#define RIGHTS_MAX 8u
/* After accept() failed for want of descriptors or memory. */
#define ACCEPT_RETRY_NS UINT64_C(100000000)
/* Refused clients are logged once in that time. */
#define REFUSED_LOG_NS UINT64_C(1000000000)

struct listener {
	int fd;              /* owned */
	struct watch *watch; /* owned */
	struct timer *retry; /* owned */
	char *name;          /* owned */
	unsigned clients;    /* connected now */
	uint64_t refused;    /* since the last log line */
	uint64_t refused_ns; /* of that line, monotonic */
};

struct session {
	struct asker asker;        /* first member: an asker is a session */
	struct session *next;      /* of all */
	struct listener *listener; /* borrowed, lives longer */
	int fd;                    /* owned */
	struct watch *watch;       /* owned */
	struct timer *turn;        /* owned: go on with input in hand */
	struct framer framer;
	struct text out;            /* answers and events */
	size_t sent;                /* bytes of out that are gone */
	size_t block_at, block_len; /* unread part of block */
	bool ended;                 /* client sends no more */
	bool dead;                  /* waits for the reaper */
	bool busy;                  /* session_work() is on the stack */
	char block[BLOCK_BYTES];
};

/* The endpoint: one per process, as the event loop is. */
static struct {
	struct loop *loop;     /* borrowed */
	struct timer *reaper;  /* owned */
	struct session *first; /* owned list */
	size_t count;
	struct listener listeners[SESSION_LISTENERS_MAX];
	size_t listener_count;
	bool closing;
} endpoint;

static size_t
unsent(const struct session *s)
{
	return s->out.len - s->sent;
}

/* --- end of a session --------------------------------------------------- */

static void
session_end(struct session *s, const char *reason)
{
	if (s->dead)
		return;
	s->dead = true;
	log_event(LOG_DEBUG, "qmp.end", "listener=%s reason=%s unsent=%zu",
	    log_quote(s->listener->name), reason, unsent(s));
	watch_set(s->watch, 0);
	timer_set_ns(endpoint.reaper, 0);
}

static void
session_free(struct session *s)
{
	asker_fini(&s->asker);
	watch_free(s->watch);
	timer_free(s->turn);
	fd_close(&s->fd);
	framer_fini(&s->framer);
	text_free(&s->out);
	s->listener->clients--;
	endpoint.count--;
	free(s);
}

static void
reap(void *self)
{
	struct session **at = &endpoint.first;

	(void)self;
	while (*at != NULL) {
		struct session *s = *at;

		if (s->dead) {
			*at = s->next;
			session_free(s);
		} else {
			at = &s->next;
		}
	}
}

/* --- output ------------------------------------------------------------- */

/* Give the socket what it takes. */
static void
session_flush(struct session *s)
{
	for (unsigned i = 0; i < SENDS_PER_FLUSH && unsent(s) > 0; i++) {
		ssize_t rc = sys_result(send(s->fd, s->out.data + s->sent,
		    unsent(s), MSG_DONTWAIT | MSG_NOSIGNAL));

		if (rc == -EINTR)
			continue;
		if (rc == -EAGAIN)
			break;
		if (rc < 0) {
			session_end(s, "gone");
			return;
		}
		s->sent += (size_t)rc;
	}
	if (unsent(s) == 0) {
		text_clear(&s->out, FRAMER_KEEP_BYTES);
		s->sent = 0;
	} else if (s->sent >= unsent(s)) {
		/* Each byte is moved at most once on average */
		memmove(s->out.data, s->out.data + s->sent, unsent(s));
		s->out.len -= s->sent;
		s->sent = 0;
	}
}

static void
session_say(struct session *s, const struct text *line)
{
	if (s->dead)
		return;
	if (unsent(s) > SESSION_UNSENT_MAX) {
		log_event(LOG_WARN, "qmp.slow-reader",
		    "listener=%s unsent=%zu action=close",
		    log_quote(s->listener->name), unsent(s));
		session_end(s, "slow-reader");
		return;
	}
	text_add(&s->out, line->data, line->len);
	text_add(&s->out, "\r\n", 2);
	if (s->out.failed)
		session_end(s, "no-memory");
}

/* --- work --------------------------------------------------------------- */

static bool
may_work(const struct session *s)
{
	return !s->dead && !endpoint.closing && s->asker.pending == NULL &&
	       unsent(s) < SESSION_UNSENT_PAUSE;
}

/* Send, and decide what to wait for. */
static void
session_settle(struct session *s)
{
	bool input = s->block_at < s->block_len;
	unsigned events = 0;

	session_flush(s);
	if (s->dead)
		return;
	if (may_work(s) && input)
		timer_set_ns(s->turn, 0);
	else if (may_work(s) && !s->ended)
		events |= WATCH_READ;
	if (unsent(s) > 0)
		events |= WATCH_WRITE;
	watch_set(s->watch, events);
	if (s->ended && !input && s->asker.pending == NULL && unsent(s) == 0)
		session_end(s, "closed");
}

/* Requests from the block in hand, a few at a time. */
static void
session_work(struct session *s)
{
	unsigned left = REQUESTS_PER_TURN;
	struct framer_item item;

	s->busy = true;
	while (may_work(s) && s->block_at < s->block_len && left > 0) {
		s->block_at += framer_feed(&s->framer, s->block + s->block_at,
		    s->block_len - s->block_at, &item);
		if (item.kind == FRAMER_MORE)
			continue;
		asker_request(&s->asker, &item);
		left--;
	}
	s->busy = false;
	session_settle(s);
}

static void
session_answered(struct asker *a, const struct text *line, const struct err *e)
{
	struct session *s = (struct session *)a;

	(void)e;
	session_say(s, line);
	if (!s->busy && !s->dead)
		session_settle(s);
}

static void
turn_expired(void *self)
{
	session_work(self);
}

/* --- input -------------------------------------------------------------- */

union rights {
	struct cmsghdr align;
	char room[CMSG_SPACE(sizeof(int) * RIGHTS_MAX)];
};

/* Keep the first descriptor of the set for the session, close the others. */
static void
take_rights(struct session *s, struct msghdr *msg)
{
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		size_t count;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		fd_close_foreign(&s->asker.fd);
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (i == 0)
				s->asker.fd = fd;
			else
				fd_close_foreign(&fd);
		}
	}
}

/* One block from the socket; only when the one before is used up. */
static void
session_read(struct session *s)
{
	struct iovec iov = {s->block, sizeof(s->block)};
	union rights rights;
	struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = &rights,
	    .msg_controllen = sizeof(rights)};
	ssize_t rc =
	    sys_result(recvmsg(s->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));

	if (rc == -EAGAIN || rc == -EINTR)
		return;
	if (rc < 0) {
		session_end(s, "gone");
		return;
	}
	take_rights(s, &msg);
	s->block_at = 0;
	s->block_len = (size_t)rc;
	if (rc == 0)
		s->ended = true;
}

static void
session_ready(void *self, unsigned events)
{
	struct session *s = self;

	if (s->dead)
		return;
	if ((events & WATCH_READ) && s->block_at == s->block_len && may_work(s))
		session_read(s);
	session_work(s);
}

/* --- clients ------------------------------------------------------------ */

static const struct asker_ops session_ops = {.answered = session_answered};

static void
session_open(struct listener *l, int fd)
{
	struct session *s = calloc(1, sizeof(*s));

	if (s == NULL) {
		fd_close(&fd);
		return;
	}
	asker_init(&s->asker, &session_ops, false);
	framer_init(&s->framer);
	s->listener = l;
	s->fd = fd;
	s->watch = watch_new(endpoint.loop, fd, 0, session_ready, s);
	s->turn = timer_new(endpoint.loop, turn_expired, s);
	s->next = endpoint.first;
	endpoint.first = s;
	endpoint.count++;
	l->clients++;
	log_event(LOG_DEBUG, "qmp.connect", "listener=%s clients=%u",
	    log_quote(l->name), l->clients);
	if (s->watch == NULL || s->turn == NULL) {
		s->dead = true;
		timer_set_ns(endpoint.reaper, 0);
		return;
	}
	greeting_add(&s->out);
	session_settle(s);
}

static void
client_refuse(struct listener *l, int fd)
{
	static const char line[] = "{\"error\": {\"class\": \"GenericError\", "
				   "\"desc\": \"too many clients\"}}\r\n";
	uint64_t now_ns = sys_mono_ns();

	/* A full buffer is impossible on a new socket; a gone peer is not */
	(void)sys_result(
	    send(fd, line, sizeof(line) - 1, MSG_DONTWAIT | MSG_NOSIGNAL));
	fd_close(&fd);
	l->refused++;
	if (l->refused_ns != 0 && now_ns - l->refused_ns < REFUSED_LOG_NS)
		return;
	log_event(LOG_WARN, "qmp.refused",
	    "listener=%s reason=too-many-clients clients=%u refused=%llu",
	    log_quote(l->name), l->clients, (unsigned long long)l->refused);
	l->refused = 0;
	l->refused_ns = now_ns;
}

static void
listener_ready(void *self, unsigned events)
{
	struct listener *l = self;
	int fd;

	(void)events;
	fd = (int)sys_result(
	    accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
	if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM || fd == -ENOBUFS) {
		log_event(LOG_WARN, "qmp.accept-failed", "listener=%s errno=%d",
		    log_quote(l->name), -fd);
		watch_set(l->watch, 0);
		timer_set_ns(l->retry, ACCEPT_RETRY_NS);
		return;
	}
	if (fd < 0)
		return;
	if (l->clients >= SESSION_CLIENTS_MAX)
		client_refuse(l, fd);
	else
		session_open(l, fd);
}

static void
retry_expired(void *self)
{
	struct listener *l = self;

	watch_set(l->watch, WATCH_READ);
}

/* The name stays: sessions that are ending show it. */
static void
listener_close(struct listener *l)
{
	watch_free(l->watch);
	timer_free(l->retry);
	l->watch = NULL;
	l->retry = NULL;
	fd_close(&l->fd);
}

/* --- the endpoint ------------------------------------------------------- */

void
session_init(struct loop *l)
{
	BUG_ON(endpoint.reaper != NULL);
	endpoint.loop = l;
	endpoint.closing = false;
	endpoint.reaper = timer_new(l, reap, NULL);
	BUG_ON(endpoint.reaper == NULL);
}

void
qmp_listener(int fd, const char *name)
{
	struct listener *l;

	if (endpoint.listener_count >= SESSION_LISTENERS_MAX ||
	    endpoint.closing) {
		log_event(LOG_ERROR, "qmp.listen-failed",
		    "listener=%s reason=too-many-listeners", log_quote(name));
		fd_close(&fd);
		return;
	}
	l = &endpoint.listeners[endpoint.listener_count++];
	*l = (struct listener){.fd = fd, .name = strdup(name)};
	l->watch = watch_new(endpoint.loop, fd, WATCH_READ, listener_ready, l);
	l->retry = timer_new(endpoint.loop, retry_expired, l);
	if (l->name == NULL || l->watch == NULL || l->retry == NULL) {
		log_event(LOG_ERROR, "qmp.listen-failed",
		    "listener=%s reason=no-memory", log_quote(name));
		listener_close(l);
		return;
	}
	log_event(LOG_INFO, "qmp.listen", "listener=%s", log_quote(name));
}

void
session_broadcast(const struct text *line)
{
	for (struct session *s = endpoint.first; s != NULL; s = s->next) {
		if (s->dead || !s->asker.negotiated)
			continue;
		session_say(s, line);
		/* A session at work sends when it settles */
		if (!s->busy && !s->dead)
			session_settle(s);
	}
}

size_t
session_count(void)
{
	return endpoint.count;
}

void
session_shutdown(void)
{
	endpoint.closing = true;
	for (size_t i = 0; i < endpoint.listener_count; i++)
		listener_close(&endpoint.listeners[i]);
	for (struct session *s = endpoint.first; s != NULL; s = s->next) {
		if (s->dead)
			continue;
		session_flush(s);
		session_end(s, "shutdown");
	}
}

void
session_fini(void)
{
	session_shutdown();
	reap(NULL);
	for (size_t i = 0; i < endpoint.listener_count; i++) {
		free(endpoint.listeners[i].name);
		endpoint.listeners[i].name = NULL;
	}
	endpoint.listener_count = 0;
	timer_free(endpoint.reaper);
	endpoint.reaper = NULL;
}
