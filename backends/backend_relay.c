/*
 * backend_relay.c - two stream sockets, connected through this process.
 *
 * Runs in: user (guestfwd). Trusts: neither side.
 * Bounded: two buffers per relay, one read or write per wake-up and direction.
 */
#include "backends/backend_relay.h"

#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

/* One direction. */
struct flow {
	size_t at, end; /* bytes held: buf[at..end) */
	bool ended;     /* the source has said all */
	bool closed;    /* and the sink has been told */
	char buf[RELAY_BYTES];
};

struct end {
	struct relay *relay; /* the one it is in */
	int fd;              /* owned */
	struct watch *watch; /* owned */
	struct flow in;      /* what was read here, for the other end */
};

struct relay {
	struct relay_set *set; /* the one that owns it */
	struct relay *next, **link;
	struct end end[2];
};

static void
relay_free(struct relay *r)
{
	int i;

	for (i = 0; i < 2; i++) {
		watch_free(ptr_take(r->end[i].watch));
		fd_close(&r->end[i].fd);
	}
	if (r->link) {
		*r->link = r->next;
		if (r->next)
			r->next->link = r->link;
		r->set->count--;
	}
	free(r);
}

static struct end *
other(struct end *e)
{
	return &e->relay->end[e == &e->relay->end[0] ? 1 : 0];
}

/* Watch for what can be done now. */
static void
want(struct end *e)
{
	const struct flow *out = &other(e)->in;
	unsigned events = 0;

	if (!e->in.ended && e->in.at == e->in.end)
		events |= WATCH_READ;
	if (out->at < out->end)
		events |= WATCH_WRITE;
	watch_set(e->watch, events);
}

/* 0, or -errno: the connection is over. */
static int
take(struct end *e)
{
	struct flow *f = &e->in;
	ssize_t got;

	if (f->ended || f->at < f->end)
		return 0;
	got = sys_result(recv(e->fd, f->buf, sizeof f->buf, MSG_DONTWAIT));
	if (got == -EAGAIN || got == -EINTR)
		return 0;
	if (got < 0)
		return (int)got;
	f->ended = got == 0;
	f->at = 0;
	f->end = (size_t)got;
	return 0;
}

static int
give(struct end *e)
{
	struct flow *f = &other(e)->in;
	ssize_t sent;

	if (f->at < f->end) {
		sent = sys_result(send(e->fd, f->buf + f->at, f->end - f->at,
		    MSG_DONTWAIT | MSG_NOSIGNAL));
		if (sent < 0)
			return sent == -EAGAIN || sent == -EINTR ? 0
								 : (int)sent;
		f->at += (size_t)sent;
	}
	if (f->ended && f->at == f->end && !f->closed) {
		f->closed = true;
		(void)shutdown(e->fd, SHUT_WR);
	}
	return 0;
}

static void
ready(void *self, unsigned events)
{
	struct end *e = self;
	struct relay *r = e->relay;
	int rc;

	if (events & WATCH_WRITE) {
		rc = give(e);
	} else {
		rc = take(e);
		if (rc == 0)
			rc = give(other(e));
	}
	if (rc < 0 || (r->end[0].in.closed && r->end[1].in.closed)) {
		relay_free(r);
		return;
	}
	want(&r->end[0]);
	want(&r->end[1]);
}

int
relay_add(struct relay_set *set, struct loop *l, int a, int b)
{
	struct relay *r = NULL;
	int i, rc = -EMFILE;

	if (set->count >= RELAYS_MAX)
		goto out;
	rc = -ENOMEM;
	r = calloc(1, sizeof *r);
	if (!r)
		goto out;
	r->set = set;
	r->end[0].fd = fd_take(&a);
	r->end[1].fd = fd_take(&b);
	for (i = 0; i < 2; i++) {
		r->end[i].relay = r;
		r->end[i].watch =
		    watch_new(l, r->end[i].fd, WATCH_READ, ready, &r->end[i]);
		if (!r->end[i].watch)
			goto out;
	}
	r->link = &set->first;
	r->next = set->first;
	if (r->next)
		r->next->link = &r->next;
	set->first = r;
	set->count++;
	return 0;
out:
	if (r)
		relay_free(r);
	fd_close(&a);
	fd_close(&b);
	return rc;
}

int
relay_connect(
    struct relay_set *set, struct loop *l, int a, const struct addr *to)
{
	int rc, b;

	b = (int)sys_result(socket(
	    to->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
	if (b < 0) {
		fd_close(&a);
		return b;
	}
	rc = (int)sys_result(connect(b, &to->sa, to->len));
	if (rc < 0 && rc != -EINPROGRESS) {
		fd_close(&a);
		fd_close(&b);
		return rc;
	}
	return relay_add(set, l, a, b);
}

void
relay_close_all(struct relay_set *set)
{
	struct relay *r = set->first, *next;

	*set = (struct relay_set){0};
	for (; r; r = next) {
		next = r->next;
		r->link = NULL;
		relay_free(r);
	}
}
