/*
 * settle.h - answer a command when the lanes do what it said.
 *
 * A changed graph takes effect over several messages: ports leave one lane and
 * come to another, plans are swapped. A client that got its answer may send a
 * frame at once and count on the new graph. Runs in the broker.
 */
#ifndef BROKER_SETTLE_H
#define BROKER_SETTLE_H

struct core;

/*
 * core_settle - call done(self) once, when every port is in its lane and every
 * lane has taken its newest plan; or after SETTLE_NS_MAX, for a lane that is
 * being restarted must not hold a monitor. Possibly before this returns.
 */
void core_settle(struct core *c, void (*done)(void *self), void *self);

#endif
