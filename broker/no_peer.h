/*
 * no_peer.h - QEMU's warnings about what is plugged into nothing.
 *
 * Runs in the broker, once, at the end of the start phase.
 */
#ifndef BROKER_NO_PEER_H
#define BROKER_NO_PEER_H

#include "broker/core.h"

/*
 * no_peer_warn - one line on standard error for each netdev and hub port
 * without a peer. Never fails: `done` gets NULL, perhaps before this returns.
 */
void no_peer_warn(core_done done, void *self);

#endif
