/*
 * backend_pace.h - is looking at an empty ring again better than sleeping?
 *
 * One place for the rings of lanes, of guests and of vhost-user back-ends. The
 * numbers are private to whoever asks; nothing is shared. Runs in backends.
 */
#ifndef BACKENDS_BACKEND_PACE_H
#define BACKENDS_BACKEND_PACE_H

#include "proto/sys.h"

#include <stdbool.h>
#include <stdint.h>

/* Looking at an empty ring for longer costs more than sleeping. */
#define PACE_SPIN_NS 50000u
/*
 * Across a crossover two wait for each other's answers, and nobody else: TCP
 * without window scaling (`user`) has a round in 100 us if both are awake.
 */
#define PACE_CROSS_SPIN_NS 100000u
/*
 * A yield that takes so long has let others run that have much to do. Less is
 * the other end of our ring at its work. At 8 us the two nics of a hub on one
 * processor slept after each other's batches, and the guest's kicks cost it a
 * third of its frames.
 */
#define PACE_CONTENDED_NS 50000u
/* Weight of the newest gap is 1/8; longer gaps count as this. */
#define PACE_GAP_NS_MAX 1000000u

/* pace_frames - there were frames: when, and the usual gap between such times.
 */
static inline void
pace_frames(uint64_t *frames_ns, uint64_t *gap_ns)
{
	uint64_t now = sys_mono_ns(), gap = now - *frames_ns;

	if (gap > PACE_GAP_NS_MAX)
		gap = PACE_GAP_NS_MAX;
	*gap_ns += gap / 8;
	*gap_ns -= *gap_ns / 8;
	*frames_ns = now;
}

/*
 * pace_may_spin - look again soon, after a yield?
 *   spin_ns    for how long at most: PACE_SPIN_NS, PACE_CROSS_SPIN_NS
 *   looked_ns  when it last was looked in vain; 0: slept since
 *   frames_ns  when there last were frames
 *   gap_ns     the usual gap; 0: it does not count
 */
static inline bool
pace_may_spin(
    uint64_t spin_ns, uint64_t *looked_ns, uint64_t frames_ns, uint64_t gap_ns)
{
	uint64_t now = sys_mono_ns(), before = *looked_ns;

	*looked_ns = 0;
	if (gap_ns >= spin_ns || now - frames_ns >= spin_ns)
		return false;
	/* Others wanted the processor when we last gave it: leave it. */
	if (before != 0 && now - before >= PACE_CONTENDED_NS)
		return false;
	*looked_ns = now;
	return true;
}

#endif
