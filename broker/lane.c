/*
 * lane.c - whose turn it is: batches from sources, polling, sleeping; plans.
 *
 * Runs in: bulkhead-lane.
 * Trusts: the broker's messages. Port memory is hostile: only ring.c reads it.
 * Specification: DESIGN 4 (plan, back-pressure), performance.md 4.6 and 5.
 *
 * Theory of operation. A port is in one state (enum lane_state). Sources with
 * frames stand in `ready` and get one batch in turn, so that a flood at one
 * port delays another by one batch of each. A source that ran empty rests; if
 * frames have been coming more often than LANE_SPIN_NS, resting ports are
 * polled that long before their bells are armed. A held source is in no
 * queue that is looked at: it comes back when the receiver that it waits for
 * has room or no more patience (lane_hold.c). The end of a hold is the only
 * thing that needs a timer, so an idle lane sleeps for ever.
 */
#include "broker/lane_filter.h"

#include "proto/bell.h"
#include "proto/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct lane *
lane_new(const struct lane_ops *ops, void *self)
{
	struct lane *l = calloc(1, sizeof *l);

	if (l == NULL)
		return NULL;
	l->port = calloc(LANE_PORTS_MAX, sizeof *l->port);
	l->member = calloc(LANE_PORTS_MAX, sizeof(struct port *));
	l->due = calloc(LANE_PORTS_MAX, sizeof(struct port *));
	l->filter = calloc(LANE_PORTS_MAX, sizeof *l->filter);
	l->pick = calloc(1, sizeof *l->pick);
	if (l->port == NULL || l->member == NULL || l->due == NULL ||
	    l->filter == NULL || l->pick == NULL) {
		free(l->pick);
		free(l->filter);
		free(l->due);
		free(l->member);
		free(l->port);
		free(l);
		return NULL;
	}
	l->ops = ops;
	l->self = self;
	l->alarm_ns = LANE_SLEEP;
	l->gap_ns = LANE_GAP_NS_MAX;
	l->footprint_bytes = LANE_FOOTPRINT_BYTES;
	lane_arena_init(l);
	TAILQ_INIT(&l->ready);
	TAILQ_INIT(&l->resting);
	TAILQ_INIT(&l->held);
	return l;
}

void
lane_free(struct lane *l)
{
	uint64_t counters[LC_COUNT];

	if (l == NULL)
		return;
	lane_arena_leave(l);
	for (size_t i = 0; i < l->port_count; i++)
		if (l->port[i].used)
			lane_detach(l, l->port[i].id, l->port[i].epoch, false,
			    counters);
	free(l->pick);
	free(l->filter);
	free(l->due);
	free(l->member);
	free(l->port);
	free(l);
}

static struct lane_list *
list_of(struct lane *l, enum lane_state state)
{
	switch (state) {
	case LP_READY:
		return &l->ready;
	case LP_RESTING:
		return &l->resting;
	case LP_HELD:
		return &l->held;
	case LP_OFF:
	case LP_IDLE:
		break;
	}
	return NULL;
}

void
lane_port_state(struct port *p, enum lane_state state)
{
	struct lane_list *from = list_of(p->lane, p->state);
	struct lane_list *to = list_of(p->lane, state);

	if (from != NULL)
		TAILQ_REMOVE(from, p, entry);
	if (to != NULL)
		TAILQ_INSERT_TAIL(to, p, entry);
	p->state = state;
}

/* Frames came after a pause: how long was it? */
static void
note_gap(struct lane *l)
{
	uint64_t gap = l->now_ns - l->emptied_ns;

	if (gap > LANE_GAP_NS_MAX)
		gap = LANE_GAP_NS_MAX;
	l->gap_ns = (7 * l->gap_ns + gap) / 8;
	l->emptied_ns = 0;
}

/*
 * Take the next frames of a source: at most BATCH_FRAMES, and no more after
 * `most` bytes. Each header is read once, here. 0 or -EPROTO.
 */
static int
gather(struct lane_batch *b, struct ring_rx *ring, size_t most)
{
	struct ring_rx in = *ring;
	size_t bytes = 0;
	int rc = 0;

	b->count = 0;
	b->mark[0] = in.pos;
	b->record_bytes = 0;
	while (b->count < BATCH_FRAMES && bytes < most) {
		struct frame *f = &b->frame[b->count];

		rc = ring_next(&in, f);
		if (rc <= 0)
			break;
		bytes += f->len;
		b->record_bytes += ring_frame_bytes(f);
		b->mark[++b->count] = in.pos;
	}
	*ring = in;
	return rc < 0 ? rc : 0;
}

/* The first `done` frames of the batch have gone where they go. */
static void
consume(struct lane *l, struct port *p, size_t done)
{
	uint64_t bytes = 0;

	p->in.pos = l->batch.mark[done];
	for (size_t i = 0; i < done; i++)
		bytes += l->batch.frame[i].len;
	p->count[LC_TX_FRAMES] += done;
	p->count[LC_TX_BYTES] += bytes;
	if (ring_release(&p->in))
		lane_port_ring(p);
}

/* One batch of one source. Returns what it cost, in deliveries. */
static unsigned
serve(struct lane *l, struct port *p)
{
	size_t most = lane_arena_has(l, p) ? LANE_ARENA_BATCH : BATCH_BYTES;
	bool held = false;
	size_t done;

	l->now_ns = l->ops->now_ns();
	if (gather(&l->batch, &p->in, most) < 0) {
		lane_port_fault(p, "tx-ring");
		return 1;
	}
	done = l->batch.count;
	if (done == 0) {
		lane_port_state(p, LP_RESTING);
		return 1;
	}
	p->bells_idle = 0;
	if (l->emptied_ns != 0)
		note_gap(l);
	if (!p->link_up)
		p->count[LC_TX_DROP_LINK_DOWN] += done;
	else if (p->member_count < 2)
		p->count[LC_TX_DROP_NO_PEER] += done;
	else
		done = lane_flood(l, p, &held);
	consume(l, p, done);
	lane_port_state(p, held ? LP_HELD : LP_READY);
	return (unsigned)p->member_count + 1;
}

/* Look at all resting ports without arming them. */
static bool
poll_resting(struct lane *l)
{
	struct port *p, *next;
	struct frame f;
	bool found = false;

	for (p = TAILQ_FIRST(&l->resting); p != NULL; p = next) {
		next = TAILQ_NEXT(p, entry);
		if (ring_peek(&p->in, &f) != 0) {
			lane_port_state(p, LP_READY);
			found = true;
		}
	}
	return found;
}

/* Ask all resting ports for a bell. True: a frame slipped in. */
static bool
arm_resting(struct lane *l)
{
	struct port *p;
	bool found = false;

	while ((p = TAILQ_FIRST(&l->resting)) != NULL) {
		int rc = ring_arm(&p->in);

		if (rc < 0) {
			lane_port_fault(p, "tx-ring");
			continue;
		}
		found |= rc > 0;
		lane_port_state(p, rc > 0 ? LP_READY : LP_IDLE);
	}
	return found;
}

/*
 * No source has frames. Poll for a moment if that has paid of late, then arm.
 * True: there are frames again.
 */
static bool
wait_briefly(struct lane *l)
{
	lane_ring_due(l);
	if (TAILQ_EMPTY(&l->resting))
		return false;
	l->now_ns = l->ops->now_ns();
	if (l->emptied_ns == 0)
		l->emptied_ns = l->now_ns;
	if (l->ops->yield != NULL && l->gap_ns < LANE_SPIN_NS &&
	    TAILQ_EMPTY(&l->held)) {
		uint64_t until = l->emptied_ns + LANE_SPIN_NS;

		while (l->now_ns < until) {
			l->ops->yield();
			if (poll_resting(l))
				return true;
			l->now_ns = l->ops->now_ns();
		}
	}
	return arm_resting(l);
}

void
lane_alarm_at(struct lane *l, uint64_t when_ns)
{
	if (when_ns < l->alarm_ns)
		l->alarm_ns = when_ns;
}

void
lane_alarm_off(struct lane *l)
{
	BUG_ON(l->alarm_count == 0);
	if (--l->alarm_count == 0)
		l->alarm_ns = LANE_SLEEP;
}

void
lane_port_unmute(struct port *p)
{
	struct lane *l = p->lane;

	if (p->muted_until_ns == 0)
		return;
	p->muted_until_ns = 0;
	lane_alarm_off(l);
	l->ops->listen(l->self, p, true);
}

/* End the holds and the mutes that are over; find the next one to end. */
static void
alarms(struct lane *l)
{
	if (l->now_ns < l->alarm_ns)
		return;
	l->alarm_ns = LANE_SLEEP;
	for (size_t i = 0; i < l->port_count; i++) {
		struct port *p = &l->port[i];

		if (p->holding && l->now_ns >= lane_hold_ends_ns(p))
			lane_hold_look(p);
		if (p->holding)
			lane_alarm_at(l, lane_hold_ends_ns(p));
		if (l->now_ns >= p->muted_until_ns)
			lane_port_unmute(p);
		if (p->muted_until_ns != 0)
			lane_alarm_at(l, p->muted_until_ns);
	}
}

uint64_t
lane_turn(struct lane *l)
{
	unsigned budget = LANE_BUDGET;

	l->now_ns = l->ops->now_ns();
	alarms(l);
	while (budget > 0) {
		struct port *p = TAILQ_FIRST(&l->ready);
		unsigned cost = 1;

		if (p != NULL)
			cost = serve(l, p);
		else if (!wait_briefly(l))
			break;
		budget -= cost < budget ? cost : budget;
	}
	lane_ring_due(l);
	if (!TAILQ_EMPTY(&l->ready) || !TAILQ_EMPTY(&l->resting))
		return 0;
	if (l->alarm_ns == LANE_SLEEP)
		return LANE_SLEEP;
	return l->alarm_ns > l->now_ns ? l->alarm_ns - l->now_ns : 0;
}

/* A bell that announced nothing: a peer that goes on like that is muted. */
static void
bell_idle(struct lane *l, struct port *p)
{
	p->count[LC_BELLS_IDLE]++;
	if (++p->bells_idle < LANE_BELLS_IDLE || l->ops->listen == NULL)
		return;
	p->bells_idle = LANE_BELLS_IDLE - 1;
	if (p->muted_until_ns == 0)
		l->alarm_count++;
	p->muted_until_ns = l->now_ns + LANE_MUTE_NS;
	l->ops->listen(l->self, p, false);
	lane_alarm_at(l, p->muted_until_ns);
}

void
lane_bell(struct lane *l, struct port *p)
{
	bool useful = false;
	struct frame f;

	BUG_ON(!p->attached);
	l->now_ns = l->ops->now_ns();
	if (bell_clear(p->bell) < 0) {
		lane_port_fault(p, "bell");
		return;
	}
	/* Its position is looked at also while its ring has room: a lie is
	 * found at the next bell, not megabytes later. */
	if (ring_tx_refresh(&p->out) < 0) {
		lane_port_fault(p, "rx-ring");
		return;
	}
	if (p->holding) {
		lane_hold_look(p);
		useful = !p->holding;
	}
	if (!p->attached)
		return;
	if ((p->state == LP_IDLE || p->state == LP_RESTING) &&
	    ring_peek(&p->in, &f) != 0) {
		lane_port_state(p, LP_READY);
		useful = true;
	}
	if (!useful)
		bell_idle(l, p);
}
