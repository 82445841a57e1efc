/*
 * backoff.c - the wait between two lives of a process.
 *
 * Runs in: the broker. Trusts: everything (arithmetic only).
 * Specification: DESIGN 7, first row.
 */
#include "broker/backoff.h"

void
backoff_death(struct backoff *b, uint64_t ran_ns)
{
	if (ran_ns >= BACKOFF_QUICK_NS)
		b->quick = 0;
	else if (b->quick < BACKOFF_QUICK_MAX)
		b->quick++;
}

uint64_t
backoff_wait_ns(const struct backoff *b)
{
	uint64_t wait_ns = BACKOFF_FIRST_NS;

	if (b->quick <= 1)
		return 0;
	for (uint32_t n = 2; n < b->quick && wait_ns < BACKOFF_MAX_NS; n++)
		wait_ns *= 2;
	return wait_ns < BACKOFF_MAX_NS ? wait_ns : BACKOFF_MAX_NS;
}

bool
backoff_spent(const struct backoff *b)
{
	return b->quick >= BACKOFF_QUICK_MAX;
}

void
backoff_reset(struct backoff *b)
{
	b->quick = 0;
}
