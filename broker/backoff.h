/*
 * backoff.h - how long to wait before the next life of a process that died,
 * and when to give up. A plain value in the record of each process. DESIGN 7:
 * 0, 100 ms, 200 ms ... 30 s; ten quick deaths in a row end it.
 */
#ifndef BROKER_BACKOFF_H
#define BROKER_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

#define BACKOFF_FIRST_NS (100ull * 1000 * 1000)
#define BACKOFF_MAX_NS   (30ull * 1000 * 1000 * 1000)
/* A life shorter than this is a quick death. */
#define BACKOFF_QUICK_NS  (10ull * 1000 * 1000 * 1000)
#define BACKOFF_QUICK_MAX 10u

struct backoff {
	uint32_t quick; /* quick deaths in a row */
};

/* backoff_death - a process has ended after `ran_ns`. */
void backoff_death(struct backoff *b, uint64_t ran_ns);

/* The wait before the next start, nanoseconds. */
uint64_t backoff_wait_ns(const struct backoff *b);

/* Too many quick deaths in a row? */
bool backoff_spent(const struct backoff *b);

/* backoff_reset - an operator says: try again. */
void backoff_reset(struct backoff *b);

#endif
