/*
 * counter.h - the names and places of the per-port counters.
 *
 * Each table row is one 64-bit word in `counter[]` of the page of the process
 * that counts (L: the lane; P: the backend), so that counters survive the
 * restart of a lane and can be told without asking a hung process. Frames are
 * seen from the netdev: tx = it sent into the hub, rx = the hub sent to it.
 */
#ifndef PROTO_COUNTER_H
#define PROTO_COUNTER_H

enum lane_counter {
#define LANE_COUNTER(id, name, doc) LC_##id,
#include "proto/lane_counters.def"
#undef LANE_COUNTER
	LC_COUNT
};

enum backend_counter {
#define BACKEND_COUNTER(id, name, doc) BC_##id,
#include "proto/backend_counters.def"
#undef BACKEND_COUNTER
	BC_COUNT
};

#endif
