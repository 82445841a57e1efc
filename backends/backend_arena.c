/*
 * backend_arena.c - the arenas that frames for outside may be in.
 *
 * Runs in: every backend.
 * Trusts: the broker for the memory and its size; the lane no more than for its
 * ring: a reference that leads out of an arena, or to none, ends us (ring.c).
 * What is in an arena is read as a frame in a ring is, or sent without being
 * read. Specification: schema/control.json (arena-view, arena-close);
 * proto/arena.h.
 *
 * An arena is opened before the lane refers to it, and closed after the broker
 * has said that there are no more references than those in the ring by then:
 * `end` is where the last one may be. So there may be two at a time.
 */
#include "backends/backend_state.h"

#include "proto/arena.h"
#include "proto/chan.h"
#include "proto/log.h"
#include "proto/sys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "gen/control.h"

static struct arena_view *
find(struct backend *be, uint32_t serial)
{
	for (unsigned i = 0; i < RING_ARENAS; i++)
		if (be->arena.view[i].open &&
		    be->arenas.view[i].serial == serial)
			return &be->arena.view[i];
	return NULL;
}

static int
take_up(struct backend *be, const struct ctl_arena_view *m, int fd)
{
	struct arena_view *v = NULL;
	struct ring_arena *a = NULL;
	void *base = NULL;
	int rc;

	for (unsigned i = 0; i < RING_ARENAS && !v; i++)
		if (!be->arena.view[i].open) {
			v = &be->arena.view[i];
			a = &be->arenas.view[i];
		}
	if (!v)
		return -EBUSY;
	if (m->serial == 0 || !arena_bytes_valid(m->bytes))
		return -EINVAL;
	rc = sys_map(fd, (size_t)m->bytes, false, &base);
	if (rc < 0)
		return rc;
	*v = (struct arena_view){.open = true, .fd = fd};
	*a = (struct ring_arena){
	    .base = base, .bytes = m->bytes, .serial = m->serial};
	return 0;
}

static void
let_go(struct backend *be, struct arena_view *v)
{
	struct ring_arena *a = &be->arenas.view[v - be->arena.view];

	sys_unmap((void *)(uintptr_t)a->base, (size_t)a->bytes);
	fd_close(&v->fd);
	*v = (struct arena_view){0};
	*a = (struct ring_arena){0};
}

int
backend_on_arena_view(
    void *self, uint32_t seq, const struct ctl_arena_view *m, int *fds)
{
	struct backend *be = self;
	struct ctl_arena_viewed answer = {.serial = m->serial};
	char text[64];
	int fd = fd_take(&fds[0]), rc;

	if (!be->ready || find(be, m->serial)) {
		fd_close(&fd);
		return -EPROTO;
	}
	rc = take_up(be, m, fd);
	if (rc < 0) {
		fd_close(&fd);
		snprintf(text, sizeof text, "cannot map the arena: %s",
		    strerror(-rc));
		answer.error = text;
	}
	if (be->control)
		(void)ctl_send_arena_viewed(be->control, seq, &answer);
	return 0;
}

int
backend_on_arena_close(
    void *self, uint32_t seq, const struct ctl_arena_close *m)
{
	struct backend *be = self;
	struct arena_view *v = find(be, m->serial);

	(void)seq;
	if (!v || v->closing)
		return 0;
	if (ring_rx_more_(&be->lane.rx) < 0)
		rings_fault(
		    be, &be->lane, "impossible producer position or record");
	v->closing = true;
	v->end = be->lane.rx.prod;
	be->arena.closing = true;
	backend_arena_tidy(be);
	return 0;
}

void
backend_arena_tidy(struct backend *be)
{
	bool more = false;

	for (unsigned i = 0; i < RING_ARENAS; i++) {
		struct arena_view *v = &be->arena.view[i];

		if (!v->closing)
			continue;
		/* Signed: positions may wrap. */
		if ((int64_t)(be->lane.rx.released - v->end) >= 0)
			let_go(be, v);
		else
			more = true;
	}
	be->arena.closing = more;
}

void
backend_arena_close(struct backend *be)
{
	for (unsigned i = 0; i < RING_ARENAS; i++)
		if (be->arena.view[i].open)
			let_go(be, &be->arena.view[i]);
}

/* The arena that the bytes are in, or NULL. */
static const struct arena_view *
arena_of(const struct backend *be, const uint8_t *data)
{
	for (unsigned i = 0; i < RING_ARENAS; i++) {
		const struct ring_arena *a = &be->arenas.view[i];

		if (a->base && data >= a->base && data < a->base + a->bytes)
			return &be->arena.view[i];
	}
	return NULL;
}

size_t
backend_arena_run(const struct backend *be, const struct frame *f, size_t count,
    struct arena_run *run)
{
	const struct arena_view *v = arena_of(be, f->data);
	size_t n = 1;

	*run = (struct arena_run){.fd = -1};
	if (!v) {
		while (n < count && !arena_of(be, f[n].data))
			n++;
		return n;
	}
	run->fd = v->fd;
	run->at =
	    (uint64_t)(f->data - be->arenas.view[v - be->arena.view].base) -
	    ARENA_WORD_BYTES;
	run->bytes = ARENA_WORD_BYTES + f->len;
	for (; n < count &&
	       f[n].data == f[n - 1].data + f[n - 1].len + ARENA_WORD_BYTES;
	     n++)
		run->bytes += ARENA_WORD_BYTES + f[n].len;
	return n;
}
