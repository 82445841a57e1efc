/*
 * events.h - tell every negotiated monitor that something happened.
 * Runs in the broker. `data` is the event's generated struct, borrowed.
 */
#ifndef BROKER_EVENTS_H
#define BROKER_EVENTS_H

#include "gen/commands.h"

void event_emit(enum event_id id, const void *data);

#endif
