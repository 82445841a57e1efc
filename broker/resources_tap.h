/*
 * resources_tap.h - the rules and requests of types tap and bridge; a part of
 * resources.c. Runs in the broker.
 */
#ifndef BROKER_RESOURCES_TAP_H
#define BROKER_RESOURCES_TAP_H

#include "broker/resources.h"
#include "proto/launch.h"

/* As resources_check. */
int tap_options_check(struct netdev *nd, struct err *e);
int bridge_options_check(struct netdev *nd, struct err *e);

/* As resources_plan, for both; *r is as far as it came when it fails. */
int tap_plan(const struct netdev *nd, bool start_phase, struct resources *r,
    struct err *e);

#endif
