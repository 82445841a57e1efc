/*
 * lane_filter.h - what a nic's guest does not want is not copied to it.
 *
 * The nic looks again and has the last word; the lane's look only saves the
 * copy and the room, so a filter that is late or wrong harms no other port.
 * A filtered frame holds nobody. Runs in bulkhead-lane.
 */
#ifndef BROKER_LANE_FILTER_H
#define BROKER_LANE_FILTER_H

#include "broker/lane.h"

/* What of a batch one port wants. */
struct lane_pick {
	struct lane_batch batch; /* without marks */
	/* How many frames of the whole batch come before its k-th; behind its
	 * last one: all of them. */
	uint8_t before[BATCH_FRAMES + 1];
};

/*
 * lane_filter_pick - the frames among the first n of `b` that p, which has a
 * filter, wants. Valid until the next call for a port of the same lane.
 */
const struct lane_pick *lane_filter_pick(
    const struct port *p, const struct lane_batch *b, size_t n);

/*
 * lane_filter_set - the port's filter from now on; NULL: everything passes. A
 * port that is away, or another epoch of it, is left alone.
 */
void lane_filter_set(
    struct lane *l, uint32_t port, uint32_t epoch, const struct rx_filter *f);

#endif
