/*
 * lane_hold.c - patience: how long a full receiver may hold its sources.
 *
 * Runs in: bulkhead-lane.
 * Trusts: nothing that a port's process says, except that its position, once
 * checked by ring.c, is the only proof of draining that counts.
 * Specification: DESIGN 4, back-pressure.
 *
 * Cases. A fast receiver that is full for a moment drains half its ring, rings,
 * and gets its patience back: it costs the time that it needs. One that drips
 * gets it back once in half a ring: 5 ms for each. A dead one never does: 5 ms
 * once, and a suspicion. One that rings without draining is not believed: its
 * bell makes us look, and what we see decides. When we are late ourselves
 * (the processor was taken away), the position is read before the patience is
 * judged, so nobody loses frames for our lateness. Where others are as far
 * behind, as where many receivers share a processor that does n times the work
 * for each frame, all of them pay a part of the time (observed with fifteen:
 * else 3 % were lost of 1514 bytes, 14 % of 64). Each hold is paid in full by
 * somebody, so it buys nobody more than if they were behind one after the
 * other; who has nothing left to pay with, such as a dead one, is no excuse for
 * others.
 */
#include "broker/lane.h"

#include <errno.h>

int
lane_patience_reset(struct port *p)
{
	int rc = ring_tx_refresh(&p->out);

	p->patience_ns = LANE_PATIENCE_NS;
	p->refill_cons = p->out.cons;
	p->full_since_ns = 0;
	p->suspected = false;
	p->suspected_ns = 0;
	return rc;
}

uint64_t
lane_hold_ends_ns(const struct port *p)
{
	return p->hold_since_ns + p->patience_ns;
}

/* Patience is back when half the ring was drained since the last time. */
static void
refill(struct port *p)
{
	if (p->out.cons - p->refill_cons < p->out.size / 2)
		return;
	p->patience_ns = LANE_PATIENCE_NS;
	p->refill_cons = p->out.cons;
}

/* Has it more than an eighth of a ring to drain, and patience to pay with? A
 * liar is found out when its turn comes. */
static bool
is_behind(struct port *p)
{
	if (!p->attached || p->drop || ring_tx_refresh(&p->out) < 0)
		return false;
	refill(p);
	return p->patience_ns > 0 && ring_tx_backlog(&p->out) > p->out.size / 8;
}

static void
pay(struct port *p, uint64_t ns)
{
	p->patience_ns -= ns < p->patience_ns ? ns : p->patience_ns;
}

/*
 * The time since hold_since_ns is used up: those of the group that are behind
 * pay it in equal parts. Those of them that hold, too, pay when they are
 * charged themselves.
 */
static void
charge(struct port *p)
{
	uint64_t held_ns = p->lane->now_ns - p->hold_since_ns, payers = 1;

	if (held_ns == 0)
		return;
	for (size_t i = 0; i < p->member_count; i++) {
		struct port *other = p->member[i];

		other->pays = other != p && is_behind(other);
		payers += other->pays;
	}
	/* Rounded up: nothing is for nothing. */
	held_ns = (held_ns + payers - 1) / payers;
	for (size_t i = 0; i < p->member_count; i++)
		if (p->member[i]->pays && !p->member[i]->holding)
			pay(p->member[i], held_ns);
	pay(p, held_ns);
	p->count[LC_HELD_NS] += p->lane->now_ns - p->hold_since_ns;
	p->hold_since_ns = p->lane->now_ns;
}

void
lane_hold_end(struct port *p)
{
	struct port *source, *next;

	if (!p->holding)
		return;
	charge(p);
	p->holding = false;
	lane_alarm_off(p->lane);
	for (source = TAILQ_FIRST(&p->lane->held); source != NULL;
	     source = next) {
		next = TAILQ_NEXT(source, entry);
		if (source->member == p->member)
			lane_port_state(source, LP_READY);
	}
}

/* A port that is full, and is where it was a patience ago, may hang. */
static void
suspect(struct port *p)
{
	uint64_t now_ns = p->lane->now_ns;

	if (p->full_since_ns == 0 || p->out.cons != p->full_cons) {
		p->full_cons = p->out.cons;
		p->full_since_ns = now_ns;
		p->suspected = false;
		return;
	}
	if (p->suspected || now_ns - p->full_since_ns < LANE_PATIENCE_NS)
		return;
	if (p->suspected_ns != 0 && now_ns - p->suspected_ns < LANE_SUSPECT_NS)
		return;
	p->suspected = true;
	p->suspected_ns = now_ns;
	if (p->lane->ops->stalled != NULL)
		p->lane->ops->stalled(p->lane->self, p);
}

bool
lane_patience_look(struct port *p)
{
	if (p->holding)
		charge(p);
	if (ring_tx_refresh(&p->out) < 0) {
		lane_port_fault(p, "rx-ring");
		return false;
	}
	refill(p);
	suspect(p);
	return p->patience_ns > 0 && !p->drop;
}

void
lane_hold_look(struct port *p)
{
	int rc;

	if (!lane_patience_look(p)) {
		lane_hold_end(p);
		return;
	}
	rc = ring_want_space(&p->out);
	if (rc < 0)
		lane_port_fault(p, "rx-ring");
	else if (rc > 0)
		lane_hold_end(p);
}

bool
lane_hold_begin(struct port *p)
{
	int rc = ring_want_space(&p->out);

	if (rc < 0)
		lane_port_fault(p, "rx-ring");
	if (rc != 0)
		return false;
	if (!p->holding) {
		p->holding = true;
		p->lane->alarm_count++;
		p->hold_since_ns = p->lane->now_ns;
	}
	lane_alarm_at(p->lane, lane_hold_ends_ns(p));
	return true;
}
