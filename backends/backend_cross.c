/*
 * backend_cross.c - a crossover: rings to the one other port of our island,
 * without the lane between.
 *
 * Runs in: every backend.
 * Trusts: the broker for the memories. Nothing that the other end writes: its
 * rings are read by the rules of proto/ring.c, as the lane's are, and a lie
 * ends the crossover and not us, for it is not the lane who told it.
 * Specification: schema/control.json (cross, uncross, cross-end); broker/
 * crossover.h for when there is one.
 *
 * Theory of operation: order
 * Output leaves the lane when the other end is ready: it has taken up its end
 * and has once seen nothing more from the lane. It is OPENING until the lane
 * has taken all that it was given, which by then is in the other's ring from
 * the lane: only then is the crossover marked as open, and read. Whoever sees
 * the mark reads first what the lane's ring has at that moment (`lane_end`),
 * and from then on the crossover comes first: when output goes back to the
 * lane, what comes from there is newer than all in the crossover, which is read
 * to its end, however long that takes. For this to be so, output goes back to
 * the lane only after the mark was `seen`. No source waits for any of this, and
 * nothing is dropped but what a process that died did not read.
 */
#include "backends/backend_state.h"

#include "proto/bell.h"
#include "proto/chan.h"
#include "proto/log.h"
#include "proto/sys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "gen/control.h"

/* Bells in a row that announced nothing; honest ones ring once for each time
 * that we armed (lane.h has the same number). */
#define BELLS_IDLE 64u

/* Words among the counters of page 0, which nobody counts in here. */
enum {
	MARK_READY, /* our input is */
	MARK_OPEN,  /* our output is */
	MARK_SEEN,  /* we know that the other's output is open */
};

static void
mark(struct rail *r, unsigned word)
{
	struct ring_page *page = r->own_mem;

	/* Release: what was written before can be seen by who sees this. */
	__atomic_store_n(&page->counter[word], 1, __ATOMIC_RELEASE);
	bell_ring(r->bell);
}

static bool
is_marked(const struct rail *r, unsigned word)
{
	const struct ring_page *page = r->peer_mem;

	return __atomic_load_n(&page->counter[word], __ATOMIC_ACQUIRE) != 0;
}

/* Output goes to `r` from now on. */
static void
go_to(struct backend *be, struct rail *r)
{
	backend_flush(be);
	be->out = r;
	/* Who was refused room is called from the loop, not from in here: we
	 * may be in what its own reservation has led to. */
	be->moved = true;
	again_set(be->again, true);
}

/* Has the reader of `r` taken all of it? If not, its bell will say so. */
static bool
is_drained(struct backend *be, struct rail *r)
{
	int rc;

	if (r->tx.cons == r->tx.pos)
		return true;
	r->tx.wanted = (uint32_t)r->tx.size;
	rc = ring_want_space(&r->tx);
	if (rc < 0)
		rings_fault(be, r, "impossible consumer position");
	return rc > 0;
}

/* --- trouble -------------------------------------------------------------- */

/* Back to the lane, if we are not there. */
static void
leave(struct backend *be)
{
	struct crossing *x = &be->cross;

	if (x->state >= CROSS_LEFT)
		return;
	go_to(be, &be->lane);
	if (x->state == CROSS_OPENING)
		mark(&x->rail, MARK_OPEN);
	x->state = CROSS_LEFT;
}

/* Would the other know older frames from newer ones? If not yet, the lane is
 * slow, or being started again, or the other does not look at its bell. */
static bool
may_leave(const struct crossing *x)
{
	return x->state == CROSS_JOINING || x->state >= CROSS_LEFT ||
	       (x->state == CROSS_ON && is_marked(&x->rail, MARK_SEEN));
}

static void
complain(struct backend *be, bool stalled, const char *what)
{
	char reason[64];
	struct ctl_cross_trouble m = {
	    .serial = be->cross.serial, .stalled = stalled, .reason = reason};

	if (be->cross.state >= CROSS_LEFT)
		return; /* it is ending */
	snprintf(reason, sizeof reason, "%s", what);
	log_event(stalled ? LOG_INFO : LOG_WARN, "cross.trouble", "reason=%s",
	    log_quote(what));
	if (be->control)
		(void)ctl_send_cross_trouble(be->control, 0, &m);
}

void
backend_cross_stalled(struct backend *be)
{
	complain(be, true, "the other end does not drain it");
	if (may_leave(&be->cross))
		leave(be);
}

/* Read nothing behind `end`. */
static void
end_input(struct crossing *x, uint64_t end)
{
	if (x->ended)
		return;
	x->ended = true;
	x->end = end;
}

void
backend_cross_fault(struct backend *be, const char *what)
{
	struct crossing *x = &be->cross;

	end_input(x, x->rail.rx.pos);
	/* What it has not read does not count as read. */
	x->other_dead = true;
	watch_set(x->rail.watch, 0);
	complain(be, false, what);
	leave(be);
	/* It may be all that the end waited for. */
	be->moved = true;
	again_set(be->again, true);
}

/* Its process has ended, as the broker will know; or it has closed it. */
static void
bell_closed(struct backend *be)
{
	watch_set(be->cross.rail.watch, 0);
	complain(be, true, "its bell is closed or misused");
	leave(be);
}

/* Does this bell announce something? Some do not: we had looked before. */
static bool
bell_is_due(struct crossing *x)
{
	const struct ring_rx *rx = &x->rail.rx;
	bool lies =
	    ring_rx_more_(&x->rail.rx) < 0 || ring_tx_refresh(&x->rail.tx) < 0;
	bool due = rx->prod != x->bell_prod || x->rail.tx.cons != x->bell_cons;

	x->bell_prod = rx->prod;
	x->bell_cons = x->rail.tx.cons;
	return !lies && (due || ++x->bells_idle <= BELLS_IDLE);
}

static void
rung(void *self, unsigned events)
{
	struct backend *be = self;

	(void)events;
	if (bell_clear(be->cross.rail.bell) < 0)
		bell_closed(be);
	else if (!bell_is_due(&be->cross))
		backend_cross_fault(be, "positions or bells without sense");
	rings_look(be);
}

/* --- frames --------------------------------------------------------------- */

/* Look how far the lane's ring is. */
static void
look_at_lane(struct backend *be)
{
	if (ring_rx_more_(&be->lane.rx) < 0)
		rings_fault(be, &be->lane, "impossible producer position");
}

/* The other's output is open: what was there before? */
static bool
is_open(struct backend *be)
{
	struct crossing *x = &be->cross;

	if (x->open || !is_marked(&x->rail, MARK_OPEN))
		return x->open;
	look_at_lane(be);
	x->open = true;
	x->lane_end = be->lane.rx.prod;
	mark(&x->rail, MARK_SEEN);
	return true;
}

/* Is there a frame that may be read? */
static bool
has_frame(struct backend *be)
{
	struct crossing *x = &be->cross;
	int rc;

	if (x->ended)
		return x->rail.rx.pos != x->end;
	if (x->rail.rx.pos != x->rail.rx.prod)
		return true;
	rc = ring_rx_more_(&x->rail.rx);
	if (rc < 0)
		backend_cross_fault(be, "impossible producer position");
	return rc > 0;
}

/* We have seen nothing more from the lane: the other may begin. */
static void
be_ready(struct backend *be)
{
	look_at_lane(be);
	if (be->lane.rx.pos != be->lane.rx.prod)
		return;
	be->cross.ready = true;
	mark(&be->cross.rail, MARK_READY);
}

struct rail *
backend_cross_rail(struct backend *be, uint64_t *end)
{
	struct crossing *x = &be->cross;

	*end = RAIL_NO_END;
	if (!x->ready && !x->ended)
		be_ready(be);
	if (!is_open(be))
		return &be->lane;
	/* Signed: positions may wrap. */
	if ((int64_t)(be->lane.rx.pos - x->lane_end) < 0) {
		*end = x->lane_end;
		return &be->lane;
	}
	if (!has_frame(be))
		return &be->lane;
	if (x->ended)
		*end = x->end;
	return &x->rail;
}

void
backend_cross_taken(struct backend *be, size_t frames, size_t bytes)
{
	be->cross.taken_frames += frames;
	be->cross.taken_bytes += bytes;
	be->cross.bells_idle = 0;
}

bool
backend_cross_arm(struct backend *be)
{
	struct crossing *x = &be->cross;
	int rc;

	if (x->ended)
		return has_frame(be);
	if (!is_open(be))
		return false; /* its mark comes with a bell */
	rc = ring_arm(&x->rail.rx);
	if (rc < 0)
		backend_cross_fault(be, "impossible producer position");
	return rc > 0;
}

/* --- begin and end -------------------------------------------------------- */

static int
join(struct backend *be, const struct ctl_cross *m, int *fds)
{
	struct crossing *x = &be->cross;
	int rc;

	*x = (struct crossing){
	    .serial = m->serial,
	    .rail = {.own_bytes = m->own_bytes, .peer_bytes = m->peer_bytes},
	};
	rc = rail_open(be, &x->rail, fd_take(&fds[0]), fd_take(&fds[1]),
	    fd_take(&fds[2]), rung);
	if (rc < 0)
		return rc;
	x->state = CROSS_JOINING;
	watch_set(x->rail.watch, WATCH_READ);
	return 0;
}

int
backend_on_cross(void *self, uint32_t seq, const struct ctl_cross *m, int *fds)
{
	struct backend *be = self;
	struct ctl_crossed answer = {.serial = m->serial};
	char text[64];
	int rc;

	if (!be->ready || be->cross.state != CROSS_NONE)
		return -EPROTO;
	rc = join(be, m, fds);
	if (rc < 0) {
		snprintf(text, sizeof text, "cannot map its memories: %s",
		    strerror(-rc));
		answer.error = text;
	}
	(void)ctl_send_crossed(be->control, seq, &answer);
	if (rc == 0)
		rings_look(be);
	return 0;
}

bool
backend_cross_counts(const struct backend *be, struct cross_counts *out)
{
	const struct crossing *x = &be->cross;

	if (x->state == CROSS_NONE)
		return false;
	*out = (struct cross_counts){
	    .serial = x->serial,
	    .sent_frames = x->sent_frames,
	    .sent_bytes = x->sent_bytes,
	    .taken_frames = x->taken_frames,
	    .taken_bytes = x->taken_bytes,
	};
	return true;
}

void
backend_cross_close(struct backend *be)
{
	if (be->cross.state == CROSS_NONE)
		return;
	rail_close(&be->cross.rail);
	be->cross.state = CROSS_NONE;
	be->in = be->out = &be->lane;
}

/* All is read that ever will be: tell, and let go of it. */
static void
finish(struct backend *be)
{
	struct crossing *x = &be->cross;
	struct ctl_cross_ended m;

	m.counts = (struct cross_counts){0};
	(void)backend_cross_counts(be, &m.counts);
	if (x->other_dead)
		m.counts.unread_frames =
		    ring_tx_unread(&x->rail.tx, &m.counts.unread_bytes);
	backend_cross_close(be);
	if (be->control)
		(void)ctl_send_cross_ended(be->control, 0, &m);
}

/* Answer the broker: nothing more goes in. */
static void
tell_left(struct backend *be)
{
	struct crossing *x = &be->cross;
	const struct ctl_uncrossed answer = {.serial = x->serial};

	x->leaving = false;
	leave(be);
	if (be->control)
		(void)ctl_send_uncrossed(be->control, x->uncross_seq, &answer);
}

void
backend_cross_look(struct backend *be)
{
	struct crossing *x = &be->cross;

	(void)is_open(be);
	if (x->state == CROSS_JOINING && is_marked(&x->rail, MARK_READY)) {
		x->state = CROSS_OPENING;
		go_to(be, &x->rail);
	}
	if (x->state == CROSS_OPENING && is_drained(be, &be->lane)) {
		x->state = CROSS_ON;
		mark(&x->rail, MARK_OPEN);
	}
	if (x->leaving && may_leave(x))
		tell_left(be);
	if (x->state == CROSS_ENDING && x->rail.rx.released == x->end &&
	    (x->other_dead || is_drained(be, &x->rail)))
		finish(be);
}

int
backend_on_uncross(void *self, uint32_t seq, const struct ctl_uncross *m)
{
	struct backend *be = self;
	struct crossing *x = &be->cross;
	const struct ctl_uncrossed answer = {.serial = m->serial};

	if (x->state == CROSS_NONE || x->serial != m->serial) {
		(void)ctl_send_uncrossed(be->control, seq, &answer);
		return 0;
	}
	x->uncross_seq = seq;
	x->leaving = true;
	if (may_leave(x))
		tell_left(be);
	return 0;
}

int
backend_on_cross_end(void *self, uint32_t seq, const struct ctl_cross_end *m)
{
	struct backend *be = self;
	struct crossing *x = &be->cross;
	int rc;

	(void)seq;
	if (x->state == CROSS_NONE || x->serial != m->serial)
		return 0;
	leave(be);
	x->state = CROSS_ENDING;
	x->other_dead |= m->dead;
	if (!x->ended) {
		rc = ring_rx_more_(&x->rail.rx);
		end_input(x, rc < 0 ? x->rail.rx.pos : x->rail.rx.prod);
	}
	rings_look(be);
	return 0;
}
