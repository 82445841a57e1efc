/*
 * crossover_count.c - what went over crossovers, as if it had gone through the
 * lane: a frame is the one port's tx and the other's rx, once.
 *
 * Runs in: the broker. Trusts: nobody. A backend says what it put in and took
 * out; one that lies has wrong counters, and so has the port at the other end
 * when that one's process has died and cannot say. Sums may wrap around.
 */
#include "broker/crossover_state.h"
#include "broker/ports.h"

#include <errno.h>

/* By its own words. */
static void
add_own(uint64_t counters[LC_COUNT], const struct cross_counts *c)
{
	counters[LC_TX_FRAMES] += c->sent_frames;
	counters[LC_TX_BYTES] += c->sent_bytes;
	counters[LC_RX_FRAMES] += c->taken_frames;
	counters[LC_RX_BYTES] += c->taken_bytes;
}

/* By the words of the other end, whom it cannot contradict any more. */
static void
add_mirrored(uint64_t counters[LC_COUNT], const struct cross_counts *c)
{
	counters[LC_TX_FRAMES] += c->taken_frames;
	counters[LC_TX_BYTES] += c->taken_bytes;
	counters[LC_RX_FRAMES] += c->sent_frames - c->unread_frames;
	counters[LC_RX_BYTES] += c->sent_bytes - c->unread_bytes;
	counters[LC_RX_DROP_DEAD] += c->unread_frames;
}

int
cross_report(struct cross_end *e, const struct cross_counts *c)
{
	if (c->unread_frames > c->sent_frames ||
	    c->unread_bytes > c->sent_bytes)
		return -EPROTO;
	e->counts = *c;
	e->reported = true;
	add_own(e->port->crossed, c);
	return 0;
}

void
cross_count_silent(struct crossover *x)
{
	for (int k = 0; k < 2; k++) {
		const struct cross_end *e = &x->end[k], *o = &x->end[!k];

		if (e->reported || !e->port)
			continue;
		if (o->reported)
			add_mirrored(e->port->crossed, &o->counts);
		else
			add_own(e->port->crossed, &e->counts);
	}
}

void
crossover_told(struct port *p, const struct cross_counts *c)
{
	struct cross_end *e;

	if (crossover_at(p, c->serial, &e) && !e->reported)
		e->counts = *c;
}

void
crossover_count(const struct port *p, uint64_t counters[LC_COUNT])
{
	const struct crossover *x = p->crossover;

	for (size_t i = 0; i < LC_COUNT; i++)
		counters[i] += p->crossed[i];
	for (int k = 0; k < 2 && x; k++)
		if (x->end[k].port == p && !x->end[k].reported)
			add_own(counters, &x->end[k].counts);
}
