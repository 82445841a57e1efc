/*
 * lane_arena.c - frames that are written once for all who view the arena.
 *
 * Runs in: bulkhead-lane.
 * Trusts: the broker for who may view. Of a viewer only its position, as
 * ring.c checks it, says what it has read; of a source nothing but the lengths,
 * which are private: what it changes while the kernel copies is its own frame.
 * Specification: proto/arena.h; performance.md 5, topology C.
 *
 * Theory of operation
 * Chunks. One is filled at a time. `refs` counts the viewers that have not
 * consumed all references to a chunk; each viewer knows its chunks, oldest
 * first, with the position in its ring behind the last reference. A chunk that
 * is full and that nobody needs is cut out of the memory and used again: its
 * next pages are other pages. So what a receiver has put into a socket stays
 * what it was, and who keeps a page sees nothing that was written later.
 * Behind. A viewer keeps at most ARENA_VIEWER_CHUNKS from being used again.
 * One that needs more gets copies until it has read everything, with the
 * back-pressure that copies have. When no chunk is free all get copies.
 * Isolation. Viewers are those who get all frames of the group anyway. When
 * that may change (a plan, a filter, a detach, a fault), the lane leaves the
 * arena, at once and for good, and the broker makes another one for who
 * remains.
 */
#include "broker/lane.h"

#include "proto/log.h"
#include "proto/ring_copy.h"
#include "proto/sys.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

_Static_assert(ARENA_CHUNK_BYTES >= LANE_ARENA_BATCH + FRAME_BYTES_MAX +
					BATCH_FRAMES * ARENA_WORD_BYTES,
    "a batch fits into a chunk");

void
lane_arena_init(struct lane *l)
{
	l->arena.serial = 0;
	l->arena.fd = -1;
}

/* It needs no seal: nothing is mapped. */
static bool
memory_is_fit(int fd, uint64_t bytes)
{
	struct stat st;

	return arena_bytes_valid(bytes) && fstat(fd, &st) == 0 &&
	       st.st_size >= 0 && (uint64_t)st.st_size == bytes;
}

int
lane_arena_begin(struct lane *l, uint32_t serial, uint64_t bytes, int fd)
{
	struct lane_arena *a = &l->arena;

	lane_arena_leave(l);
	if (serial == 0 || !memory_is_fit(fd, bytes)) {
		fd_close(&fd);
		return -EINVAL;
	}
	a->serial = serial;
	a->fd = fd_take(&fd);
	a->member = NULL;
	a->viewers = 0;
	a->chunks = (uint32_t)(bytes / ARENA_CHUNK_BYTES);
	a->now = a->chunks;
	a->free_count = 0;
	while (a->free_count < a->chunks) {
		a->refs[a->free_count] = 0;
		a->free[a->free_count] = a->chunks - 1 - a->free_count;
		a->free_count++;
	}
	return 0;
}

void
lane_arena_view(struct lane *l, uint32_t serial, uint32_t port, uint32_t epoch)
{
	struct lane_arena *a = &l->arena;
	struct port *p = lane_port_find(l, port);

	if (a->serial == 0 || serial != a->serial || p == NULL ||
	    !p->attached || p->epoch != epoch || p->member == NULL ||
	    p->filter != NULL || p->drop || p->viewer.on)
		return;
	if (a->member == NULL)
		a->member = p->member;
	if (p->member != a->member)
		return;
	p->viewer.on = true;
	a->viewers++;
}

/* --- chunks --------------------------------------------------------------- */

/* Nobody needs it: its pages go, and others come when it is written again. A
 * chunk that cannot be cut out is not used again. */
static void
give_back(struct lane_arena *a, uint32_t chunk)
{
	int rc = fallocate(a->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	    (off_t)chunk * ARENA_CHUNK_BYTES, ARENA_CHUNK_BYTES);

	if (rc == 0)
		a->free[a->free_count++] = chunk;
}

static void
unrefer(struct lane_arena *a, uint32_t chunk)
{
	if (--a->refs[chunk] == 0 && chunk != a->now)
		give_back(a, chunk);
}

/* What has the viewer read? 0 or -EPROTO. */
static int
look_at(struct port *p)
{
	struct lane_viewer *v = &p->viewer;
	unsigned done = 0;
	int rc = ring_tx_refresh(&p->out);

	if (rc < 0)
		return rc;
	/* Signed: positions may wrap. */
	while (
	    done < v->count && (int64_t)(p->out.cons - v->hold[done].end) >= 0)
		unrefer(&p->lane->arena, v->hold[done++].chunk);
	v->count -= done;
	memmove(v->hold, v->hold + done, v->count * sizeof v->hold[0]);
	if (p->out.cons == p->out.pos)
		v->lags = false;
	return 0;
}

/*
 * Another chunk; false: all are needed, or a viewer lied. The lie of a source
 * is found at its bell: now its memory is in use.
 */
static bool
next_chunk(struct lane_arena *a, const struct port *source)
{
	uint32_t full = a->now;
	struct port *p;

	a->now = a->chunks;
	a->used = 0;
	if (full != a->chunks && a->refs[full] == 0)
		give_back(a, full);
	for (size_t i = 0; i < a->member[0]->member_count; i++) {
		p = a->member[i];
		if (p->viewer.on && look_at(p) < 0 && p != source) {
			lane_port_fault(p, "rx-ring");
			return false;
		}
	}
	if (a->free_count == 0)
		return false;
	a->now = a->free[--a->free_count];
	return true;
}

/*
 * Nothing changes for who has not read everything. What nobody needs does not
 * stay in memory until the last viewer has let go of it.
 */
void
lane_arena_leave(struct lane *l)
{
	struct lane_arena *a = &l->arena;

	if (a->serial == 0)
		return;
	log_event(LOG_DEBUG, "arena.leave", "serial=%u", a->serial);
	for (size_t i = 0; i < l->port_count; i++)
		if (l->port[i].viewer.on)
			(void)look_at(&l->port[i]);
	if (a->now != a->chunks && a->refs[a->now] == 0)
		give_back(a, a->now);
	for (size_t i = 0; i < l->port_count; i++)
		l->port[i].viewer = (struct lane_viewer){0};
	fd_close(&a->fd);
	a->serial = 0;
	a->member = NULL;
}

/* --- a batch -------------------------------------------------------------- */

/* The parts of a batch, with their places behind `at`; bytes of all. */
static uint64_t
lay_out(struct lane_arena *a, const struct lane_batch *b, size_t n,
    uint32_t *words, struct iovec *part, int *parts)
{
	uint64_t bytes = 0;

	*parts = 0;
	for (size_t i = 0; i < n; i++) {
		const struct frame *f = &b->frame[i];

		a->batch[i] = 0;
		if (!frame_meta_is_zero(&f->meta))
			continue;
		words[i] = htobe32(f->len);
		part[(*parts)++] = (struct iovec){&words[i], sizeof words[i]};
		/* The kernel only reads it; struct iovec has no const. */
		part[(*parts)++] =
		    (struct iovec){(void *)(uintptr_t)f->data, f->len};
		bytes += ARENA_WORD_BYTES;
		a->batch[i] = bytes; /* never 0; its place is added below */
		bytes += f->len;
	}
	return bytes;
}

/* Room for so much in one chunk? Where it begins in *at. */
static bool
make_room(struct lane_arena *a, const struct port *source, uint64_t bytes,
    uint64_t *at)
{
	if (a->now == a->chunks || bytes > ARENA_CHUNK_BYTES - a->used)
		if (!next_chunk(a, source))
			return false;
	*at = (uint64_t)a->now * ARENA_CHUNK_BYTES + a->used;
	return true;
}

bool
lane_arena_has(const struct lane *l, const struct port *p)
{
	const struct lane_arena *a = &l->arena;

	return a->serial != 0 && a->viewers >= LANE_ARENA_VIEWERS &&
	       p->member == a->member;
}

bool
lane_arena_write(struct lane *l, const struct port *source,
    const struct lane_batch *b, size_t n)
{
	struct lane_arena *a = &l->arena;
	struct iovec part[2 * BATCH_FRAMES];
	uint32_t words[BATCH_FRAMES];
	uint64_t bytes, at;
	int64_t done;
	int parts;

	if (!lane_arena_has(l, source) || b->record_bytes < LANE_ARENA_LEAST)
		return false;
	bytes = lay_out(a, b, n, words, part, &parts);
	if (bytes < LANE_ARENA_LEAST || !make_room(a, source, bytes, &at))
		return false;
	done = sys_result(pwritev(a->fd, part, parts, (off_t)at));
	if (done != (int64_t)bytes) {
		log_event(LOG_ERROR, "arena.fail", "serial=%u error=%d",
		    a->serial, done < 0 ? (int)-done : 0);
		lane_arena_leave(l);
		return false;
	}
	a->used += (uint32_t)bytes;
	for (size_t i = 0; i < n; i++)
		if (a->batch[i] != 0)
			a->batch[i] += at | (uint64_t)a->serial << 32;
	return true;
}

bool
lane_arena_serves(struct port *p)
{
	struct lane_viewer *v = &p->viewer;
	uint32_t now = p->lane->arena.now;

	if (!v->on)
		return false;
	if (!v->lags && v->count == ARENA_VIEWER_CHUNKS &&
	    v->hold[v->count - 1].chunk != now)
		v->lags = true;
	/* A liar is found out by the copies that it gets. */
	if (v->lags && look_at(p) < 0)
		return false;
	return !v->lags;
}

/* From now on p needs the present chunk, until it has read up to here. */
static void
hold(struct port *p)
{
	struct lane_viewer *v = &p->viewer;
	struct lane_arena *a = &p->lane->arena;

	if (v->count == 0 || v->hold[v->count - 1].chunk != a->now) {
		BUG_ON(v->count == ARENA_VIEWER_CHUNKS);
		a->refs[a->now]++;
		v->hold[v->count++].chunk = a->now;
	}
	v->hold[v->count - 1].end = p->out.pos;
}

/* How many frames from the front are in the arena, or are not? */
static unsigned
run_of(const uint64_t *ref, size_t count)
{
	unsigned n = 1;

	while (n < count && (ref[n] != 0) == (ref[0] != 0))
		n++;
	return n;
}

int
lane_arena_refer(struct port *p, const struct lane_batch *b, size_t n,
    uint64_t *shared, uint64_t *bytes)
{
	const uint64_t *ref = p->lane->arena.batch;
	struct ring_tx out = p->out;
	size_t done = 0;

	*shared = *bytes = 0;
	while (done < n) {
		unsigned run = run_of(ref + done, n - done);
		int rc = ref[done] != 0 ? ring_refer(&out, &b->frame[done],
					      ref + done, run)
					: ring_copy(&out, &b->frame[done], run);

		if (rc < 0)
			return rc;
		if (ref[done] != 0)
			*shared += (unsigned)rc;
		for (int i = 0; i < rc; i++)
			*bytes += b->frame[done++].len;
		if ((unsigned)rc < run)
			break;
	}
	p->out = out;
	if (*shared > 0)
		hold(p);
	return (int)done;
}
