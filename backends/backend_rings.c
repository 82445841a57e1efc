/*
 * backend_rings.c - a backend's two rings, its doorbell and its back-pressure.
 *
 * Runs in: every backend.
 * Trusts: nothing in the lane's memory: an impossible position ends us.
 *
 * Theory of operation
 * To the lane: backend_commit publishes every BATCH_FRAMES or BATCH_BYTES, the
 * type's backend_flush the rest. A full ring asks for a bell and the type stops
 * to read; a second without any progress is told once (lane-stalled).
 * From the lane: a wake-up takes batches until the ring is empty or the type
 * takes less than it got. The batch's lengths are private from the moment the
 * ring gave them, and its bytes are released only when all of it is done.
 * Frames that the outside does not take as they are (backend_takes) are made
 * complete in their turn, into memory for a few large ones; what the type does
 * not take of that is kept, and nothing more is cut before it is taken.
 * Sleeping: while batches come faster than SPIN_NS, an empty ring is looked at
 * again for that long, yielding the CPU in between, before the bell is armed;
 * not when others want the CPU, which a slow yield shows.
 * The loop's descriptors have their turn between two batches.
 */
#include "backends/backend_pace.h"
#include "backends/backend_state.h"

#include "proto/bell.h"
#include "proto/log.h"
#include "proto/sys.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gen/control.h"

/* Batches given to the type in one turn of the loop. */
#define TURN_BATCHES 4u
#define STALL_NS     1000000000u
/*
 * How long one end of a crossover waits for the other to drain half a ring. It
 * holds nobody else: longer than a lane's patience, so that a busy processor is
 * not taken for a stalled peer.
 */
#define CROSS_STALL_NS 25000000u

_Static_assert(BC_COUNT <= PORT_COUNTERS, "counters fit their page");

/* The launcher made it; a wrong size is a wrong descriptor. */
static bool
memory_is_fit(int fd, size_t bytes)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_size >= 0 &&
	       (size_t)st.st_size == bytes;
}

static void bell_readable(void *self, unsigned events);
static void again_ready(void *self);
static void stall_expired(void *self);

int
backend_rings_open(
    struct backend *be, int own_fd, int peer_fd, int bell, struct err *err)
{
	int rc;

	be->cross.rail.bell = -1;
	be->out = be->in = &be->lane;
	be->lane.own_bytes = be->lane.peer_bytes = be->ring_bytes;
	if (ring_bytes_valid(be->ring_bytes) &&
	    (!memory_is_fit(own_fd, port_bytes(be->ring_bytes)) ||
		!memory_is_fit(peer_fd, port_bytes(be->ring_bytes))))
		be->lane.own_bytes = 0;
	rc = rail_open(be, &be->lane, own_fd, peer_fd, bell, bell_readable);
	if (rc < 0)
		return err_set(
		    err, rc, "cannot map the rings: %s", strerror(-rc));
	be->lane.rx.arenas = &be->arenas;
	be->offload = offload_new();
	be->again = again_new(be->loop, again_ready, be);
	be->stall = timer_new(be->loop, stall_expired, be);
	if (!be->stall || !be->again || !be->offload)
		rc = err_set(err, -ENOMEM, "out of memory or descriptors");
	return rc;
}

void
backend_rings_close(struct backend *be)
{
	backend_cross_close(be);
	backend_arena_close(be);
	again_free(ptr_take(be->again));
	timer_free(ptr_take(be->stall));
	offload_free(ptr_take(be->offload));
	rail_close(&be->lane);
}

int
backend_rings_start(struct backend *be)
{
	watch_set(be->lane.watch, WATCH_READ);
	/* A bell may have been lost with whoever was here before us. */
	bell_ring(be->lane.bell);
	/* The first turn looks at the ring and arms the bell. */
	again_set(be->again, true);
	return 0;
}

void
backend_rings_counters(const struct backend *be, uint64_t out[BC_COUNT])
{
	memcpy(out, be->lane.tx.own->counter, BC_COUNT * sizeof out[0]);
}

void
rings_fault(struct backend *be, struct rail *r, const char *what)
{
	char words[64];

	if (r == &be->cross.rail) {
		backend_cross_fault(be, what);
		return;
	}
	snprintf(words, sizeof words, "lane: %s", what);
	backend_end(1, words);
}

/* --- frames from outside -------------------------------------------------- */

static const char bad_consumer[] = "impossible consumer position";

static void
wait_for_room(struct backend *be)
{
	bool crossed = be->out != &be->lane;

	be->full = true;
	if (be->stall_told || timer_pending(be->stall))
		return;
	be->stall_cons = be->out->tx.cons;
	timer_set_ns(be->stall, crossed ? CROSS_STALL_NS : STALL_NS);
}

static void
stall_expired(void *self)
{
	struct backend *be = self;

	if (!be->full)
		return;
	if (be->out != &be->lane) {
		backend_cross_stalled(be);
		return;
	}
	if (ring_tx_refresh(&be->out->tx) < 0)
		rings_fault(be, be->out, bad_consumer);
	if (be->out->tx.cons != be->stall_cons) {
		wait_for_room(be);
		return;
	}
	be->stall_told = true;
	log_event(LOG_WARN, "lane.stalled", "backlog_bytes=%llu",
	    (unsigned long long)ring_tx_backlog(&be->out->tx));
	if (be->control)
		(void)ctl_send_lane_stalled(
		    be->control, 0, &(struct ctl_lane_stalled){0});
}

/* The ring is full: may it be tried again at once? */
static bool
make_room(struct backend *be)
{
	int rc;

	/* What is not published cannot be drained. */
	backend_flush(be);
	rc = ring_want_space(&be->out->tx);
	if (rc < 0)
		rings_fault(be, be->out, bad_consumer);
	return rc > 0;
}

/* No room, or a liar at the other end: the type is called when it may go on. */
static int
refused(struct backend *be, int rc)
{
	if (rc < 0)
		rings_fault(be, be->out, bad_consumer);
	wait_for_room(be);
	return 0;
}

int
backend_reserve(struct backend *be, uint32_t len, uint8_t **room)
{
	int rc = ring_reserve(&be->out->tx, len, room);

	if (__builtin_expect(rc > 0, 1))
		return rc;
	if (rc == 0 && make_room(be))
		rc = ring_reserve(&be->out->tx, len, room);
	return rc > 0 ? rc : refused(be, rc);
}

int
backend_reserve_meta(struct backend *be, uint32_t len,
    const struct frame_meta *m, uint8_t **room)
{
	int rc;

	if (frame_meta_is_zero(m))
		return backend_reserve(be, len, room);
	rc = ring_reserve_meta(&be->out->tx, len, room);
	if (rc > 0)
		return rc;
	if (rc == 0 && make_room(be))
		rc = ring_reserve_meta(&be->out->tx, len, room);
	return rc > 0 ? rc : refused(be, rc);
}

/* Show what was committed since the last time, and count it. */
static void
publish(struct backend *be)
{
	struct ring_tx *tx = &be->out->tx;

	backend_count(be, BC_IN_FRAMES, tx->batch);
	backend_count(be, BC_IN_BYTES, be->unflushed_bytes);
	if (be->out != &be->lane) {
		be->cross.sent_frames += tx->batch;
		be->cross.sent_bytes += be->unflushed_bytes;
	}
	be->unflushed_bytes = 0;
	be->bell_due |= ring_publish(tx);
}

static void
committed(struct backend *be, uint32_t len)
{
	be->unflushed_bytes += len;
	if (be->unflushed_bytes >= BATCH_BYTES ||
	    be->out->tx.batch >= BATCH_FRAMES)
		publish(be);
}

void
backend_commit(struct backend *be, uint32_t len)
{
	ring_commit(&be->out->tx, len);
	committed(be, len);
}

void
backend_commit_meta(
    struct backend *be, uint32_t len, const struct frame_meta *m)
{
	if (frame_meta_is_zero(m))
		ring_commit(&be->out->tx, len);
	else
		ring_commit_meta(&be->out->tx, len, m);
	committed(be, len);
}

void
backend_flush(struct backend *be)
{
	publish(be);
	if (!be->bell_due)
		return;
	be->bell_due = false;
	bell_ring(be->out->bell);
}

void
backend_count(struct backend *be, enum backend_counter c, uint64_t add)
{
	uint64_t *word = &be->lane.tx.own->counter[c];

	/* Only we write it; others may read it at any time. */
	__atomic_store_n(word, *word + add, __ATOMIC_RELAXED);
}

static void
room(struct backend *be)
{
	timer_stop(be->stall);
	be->stall_told = false;
	if (!be->full)
		return;
	be->full = false;
	if (be->type->room)
		be->type->room(be->self);
}

/* A bell came while we waited for room: is there some? */
static void
look_for_room(struct backend *be)
{
	int rc;

	if (!be->full)
		return;
	/* A shorter frame may have found room since. */
	backend_flush(be);
	rc = ring_want_space(&be->out->tx);
	if (rc < 0)
		rings_fault(be, be->out, bad_consumer);
	if (rc > 0)
		room(be);
}

/* --- frames for outside --------------------------------------------------- */

static const char bad_producer[] = "impossible producer position or record";

/* Take the next batch out of a ring into batch[]. */
static bool
collect(struct backend *be)
{
	struct rail *r = &be->lane;
	uint64_t end = RAIL_NO_END;
	size_t most = BACKEND_BATCH_BYTES, bytes = 0, n = 0;
	bool meta = false;
	int rc = 1;

	if (backend_arena_any(be))
		most = BACKEND_ARENA_BYTES;
	if (be->cross.state != CROSS_NONE)
		r = backend_cross_rail(be, &end);
	while (n < BACKEND_BATCH_FRAMES && bytes < most && r->rx.pos != end) {
		rc = ring_next(&r->rx, &be->batch[n]);
		if (rc <= 0)
			break;
		meta |= !frame_meta_is_zero(&be->batch[n].meta);
		bytes += be->batch[n++].len;
	}
	if (rc < 0)
		rings_fault(be, r, bad_producer);
	be->in = r;
	be->batch_at = 0;
	be->batch_end = n;
	be->batch_plain = meta ? 0 : n;
	if (r != &be->lane && n > 0)
		backend_cross_taken(be, n, bytes);
	return n > 0;
}

void
backend_takes(struct backend *be, unsigned offloads)
{
	be->takes = offloads;
	/* Frames of this batch are judged again. */
	if (be->batch_plain > be->batch_at)
		be->batch_plain = be->batch_at;
}

/* Offer frames to the type; how many it is done with. */
static size_t
offer(struct backend *be, const struct frame *f, size_t count)
{
	size_t done;

	be->pumping = true;
	done = be->type->frames(be->self, f, count);
	be->pumping = false;
	BUG_ON(done > count);
	return done;
}

/* Nothing is missing; that its checksum is known to be good is left out. */
static bool
is_complete(const struct frame_meta *m)
{
	return (m->flags & META_NEEDS_CSUM) == 0 &&
	       m->gso_type == META_GSO_NONE;
}

/* Is the batch's next frame such as the type takes? Looks up to where they
 * are. */
static bool
plain_is_next(struct backend *be)
{
	size_t i = be->batch_plain;

	if (i > be->batch_at)
		return true;
	for (i = be->batch_at; i < be->batch_end; i++)
		if (!offload_covered(&be->batch[i].meta, be->takes))
			break;
	be->batch_plain = i;
	return i > be->batch_at;
}

/*
 * The type does not take the batch's next frame as it is, or has not taken all
 * that the last one became: fill cut[] again. Complete frames in between go
 * with the others, in their order, so that the type has batches; what has
 * metadata that the type takes waits, for it may not take it later.
 */
static void
complete(struct backend *be)
{
	struct frame *out = be->cut;
	size_t n = 0;

	offload_reset(be->offload);
	n += offload_next(be->offload, out, BACKEND_CUT_FRAMES);
	while (n < BACKEND_CUT_FRAMES && !offload_left(be->offload) &&
	       be->batch_at < be->batch_end) {
		const struct frame *f = &be->batch[be->batch_at];

		if (is_complete(&f->meta)) {
			out[n] = *f;
			out[n++].meta = (struct frame_meta){0};
		} else if (offload_covered(&f->meta, be->takes)) {
			break;
		} else if (offload_begin(be->offload, f) < 0) {
			backend_count(be, BC_OUT_DROP_OFFLOAD, 1);
		}
		be->batch_at++;
		n += offload_next(be->offload, out + n, BACKEND_CUT_FRAMES - n);
	}
	be->cut_at = 0;
	be->cut_end = n;
}

/* Offer what is in cut[]. False: the type takes no more. */
static bool
give_cut(struct backend *be)
{
	be->cut_at += offer(be, be->cut + be->cut_at, be->cut_end - be->cut_at);
	return be->cut_at == be->cut_end;
}

/* Offer the batch's frames that the type takes as they are. */
static bool
give_plain(struct backend *be)
{
	size_t count = be->batch_plain - be->batch_at;
	size_t done = offer(be, be->batch + be->batch_at, count);

	be->batch_at += done;
	return done == count;
}

/* Has the type taken the batch, and all that its frames became? */
static bool
all_given(const struct backend *be)
{
	return be->batch_at == be->batch_end && be->cut_at == be->cut_end &&
	       !offload_left(be->offload);
}

/* Give the batch to the type. False: it takes no more, backend_more is due. */
static bool
give(struct backend *be)
{
	size_t count = be->batch_end - be->batch_at;

	if (!be->type->frames) {
		backend_count(be, BC_OUT_DROP_DISCONNECTED, count);
		be->batch_at = be->batch_end;
		return true;
	}
	while (!all_given(be)) {
		bool taken = true;

		if (be->cut_at < be->cut_end)
			taken = give_cut(be);
		else if (!offload_left(be->offload) && plain_is_next(be))
			taken = give_plain(be);
		else
			complete(be);
		if (!taken)
			return false;
	}
	return true;
}

/* Nothing left: look again soon, or sleep until a bell. */
static void
rest(struct backend *be)
{
	uint64_t spin_ns =
	    be->out == &be->lane ? PACE_SPIN_NS : PACE_CROSS_SPIN_NS;
	bool more = false;
	int rc;

	if (be->arena.closing)
		backend_arena_tidy(be);
	if (pace_may_spin(spin_ns, &be->looked_ns, be->frames_ns, be->gap_ns)) {
		again_set(be->again, true);
		(void)sched_yield();
		return;
	}
	if (be->cross.state != CROSS_NONE)
		more = backend_cross_arm(be);
	rc = ring_arm(&be->lane.rx);
	if (rc < 0)
		rings_fault(be, &be->lane, bad_producer);
	again_set(be->again, more || rc != 0 || be->moved);
}

static void
pump(struct backend *be)
{
	unsigned turn;

	for (turn = 0; turn < TURN_BATCHES; turn++) {
		if (all_given(be)) {
			if (!collect(be)) {
				if (turn > 0)
					pace_frames(
					    &be->frames_ns, &be->gap_ns);
				rest(be);
				return;
			}
		}
		be->blocked = !give(be);
		if (be->blocked) {
			again_set(be->again, be->moved);
			return;
		}
		if (ring_release(&be->in->rx))
			bell_ring(be->in->bell);
	}
	pace_frames(&be->frames_ns, &be->gap_ns);
	again_set(be->again, true);
}

void
backend_more(struct backend *be)
{
	if (!be->blocked || be->pumping)
		return;
	be->blocked = false;
	pump(be);
	if (be->cross.state == CROSS_ENDING)
		again_set(be->again, true);
}

void
rings_look(struct backend *be)
{
	if (be->cross.state != CROSS_NONE)
		backend_cross_look(be);
	if (be->moved) {
		be->moved = false;
		room(be);
	}
	look_for_room(be);
	if (!be->blocked)
		pump(be);
	else
		again_set(be->again, be->moved);
	/* The last of a crossover that has ended may have been read. */
	if (be->cross.state == CROSS_ENDING)
		backend_cross_look(be);
}

static void
again_ready(void *self)
{
	struct backend *be = self;

	if (be->moved || be->cross.state == CROSS_ENDING)
		rings_look(be);
	else if (be->blocked)
		again_set(be->again, false);
	else
		pump(be);
}

static void
bell_readable(void *self, unsigned events)
{
	struct backend *be = self;

	(void)events;
	if (bell_clear(be->lane.bell) < 0)
		rings_fault(be, &be->lane, "bell closed or misused");
	rings_look(be);
}
