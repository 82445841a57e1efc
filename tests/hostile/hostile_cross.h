/*
 * hostile_cross.h - lies of one end of a crossover, to the other and to the
 * broker. Those of a ring are hostile_rings.h's, told in the crossover's.
 */
#ifndef TESTS_HOSTILE_CROSS_H
#define TESTS_HOSTILE_CROSS_H

#include "tests/hostile/hostile_rings.h"

/* Words of page 0 (backends/backend_cross.c). */
enum { CROSS_READY, CROSS_OPEN, CROSS_SEEN };

static inline void
cross_mark(struct hostile *h)
{
	for (int word = CROSS_READY; word <= CROSS_SEEN; word++)
		__atomic_store_n(
		    &h->cross_own->counter[word], 1, __ATOMIC_RELEASE);
	bell_ring(h->cross_bell);
}

/* The rings of the crossover stand in for the lane's while a lie is told. */
static inline bool
cross_with(struct hostile *h, bool (*lie)(struct hostile *h))
{
	struct ring_page *own = h->own;
	struct ring_tx tx = h->tx;
	struct ring_rx rx = h->rx;

	cross_mark(h);
	h->own = h->cross_own;
	h->tx = h->cross_tx;
	h->rx = h->cross_rx;
	(void)lie(h);
	bell_ring(h->cross_bell);
	h->cross_tx = h->tx;
	h->own = own;
	h->tx = tx;
	h->rx = rx;
	return false;
}

static inline bool
cross_prod(struct hostile *h)
{
	return cross_with(h, prod_wild);
}

static inline bool
cross_record(struct hostile *h)
{
	return cross_with(h, len_huge);
}

static inline bool
cross_cons(struct hostile *h)
{
	return cross_with(h, cons_misaligned);
}

static inline bool
cross_bells(struct hostile *h)
{
	for (int i = 0; i < FLOOD_PER_TURN; i++)
		bell_ring(h->cross_bell);
	return true;
}

static inline bool
cross_shut(struct hostile *h)
{
	cross_mark(h);
	(void)shutdown(h->cross_bell, SHUT_RDWR);
	return false;
}

/* Ready, and then it reads nothing. */
static inline bool
cross_idle(struct hostile *h)
{
	cross_mark(h);
	return false;
}

/* Sends without end, whatever the broker says; reads nothing. */
static inline bool
cross_stays(struct hostile *h)
{
	uint8_t *room;

	cross_mark(h);
	while (ring_reserve(&h->cross_tx, 600, &room) == 1) {
		memset(room, 0x33, 600);
		ring_commit(&h->cross_tx, 600);
	}
	if (ring_publish(&h->cross_tx))
		bell_ring(h->cross_bell);
	return true;
}

static inline void
cross_blame(struct hostile *h, uint32_t serial, bool stalled)
{
	char reason[] = "it was\nthe other";
	const struct ctl_cross_trouble m = {
	    .serial = serial, .stalled = stalled, .reason = reason};

	(void)ctl_send_cross_trouble(h->control, 0, &m);
}

static inline bool
cross_blames(struct hostile *h)
{
	cross_mark(h);
	cross_blame(h, h->cross_serial, false);
	return false;
}

/* All that it may say, about crossovers that are not its own. */
static inline bool
cross_others(struct hostile *h)
{
	const struct ctl_crossed crossed = {.serial = h->cross_serial + 7};
	const struct ctl_uncrossed uncrossed = {.serial = UINT32_MAX};
	const struct ctl_cross_ended ended = {
	    .counts = {.serial = h->cross_serial - 1, .sent_frames = 99}};

	cross_mark(h);
	(void)ctl_send_crossed(h->control, 0, &crossed);
	(void)ctl_send_uncrossed(h->control, 0, &uncrossed);
	(void)ctl_send_cross_ended(h->control, 0, &ended);
	cross_blame(h, h->cross_serial + 9, true);
	return false;
}

/* Ends that nobody asked for. */
static inline bool
cross_early(struct hostile *h)
{
	const struct ctl_cross_ended m = {.counts = {
					      .serial = h->cross_serial,
					      .sent_frames = UINT64_MAX,
					      .taken_frames = UINT64_MAX,
					  }};

	cross_mark(h);
	(void)ctl_send_cross_ended(h->control, 0, &m);
	return false;
}

#endif
