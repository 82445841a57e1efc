/*
 * lane_control.h - the lane among its loop, its bells and its broker.
 *
 * One struct lane_process per bulkhead-lane; it owns the lane, the control
 * channel and the watches on the bells.
 */
#ifndef BROKER_LANE_CONTROL_H
#define BROKER_LANE_CONTROL_H

#include "broker/lane.h"

struct chan;
struct loop;
struct timer;

struct lane_process {
	struct loop *loop;   /* borrowed */
	struct lane *lane;   /* owned */
	struct chan *chan;   /* owned; NULL while the broker is replaced */
	struct timer *alarm; /* owned: a hold or a mute ends */
	struct again *again; /* owned: on while there is work left over */
};

/*
 * lane_process_init - everything that a lane needs before it is locked.
 *   control  the channel to the broker, taken
 * Returns 0 or -errno.
 */
int lane_process_init(struct lane_process *lp, struct loop *loop, int control);
void lane_process_fini(struct lane_process *lp);

/* lane_process_hello - the first message, to be sent once. */
void lane_process_hello(struct lane_process *lp);

#endif
