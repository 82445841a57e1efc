/*
 * plan.h - the graph compiled to what lanes execute: islands (the ports that
 * could ever reach each other) and, in them, groups (those that do now).
 *
 * Pure: reads a graph, makes flat arrays, touches nothing else. The same
 * graph gives the same plan. Owns its array. Runs in the broker.
 */
#ifndef BROKER_PLAN_H
#define BROKER_PLAN_H

#include "broker/graph.h"

#include <stddef.h>

#define PLAN_LANE_NONE UINT32_MAX

/* One port that has rings. */
struct plan_entry {
	uint32_t port;   /* its number */
	uint32_t island; /* from 0, in the order of their oldest port */
	uint32_t group;  /* from 0 in each island; a frame reaches its group */
	bool link_up;    /* false: what it sends goes nowhere */
	bool drop;       /* nobody waits for it */
};

/* Sorted by island; in an island, the oldest port first. */
struct plan {
	struct plan_entry *ports; /* owned */
	size_t count;
	uint32_t islands;
};

void plan_fini(struct plan *p);

/*
 * plan_compile - islands are the connected components over peers and hubs;
 * groups are the components that remain without what set_link took down.
 * Netdevs that are starting or leaving are not in any island.
 * 0, or -ENOMEM with *p untouched.
 */
int plan_compile(const struct graph *g, struct plan *p);

/*
 * plan_place - which lane serves which island.
 *   lane_of    for each port of the plan, in its order, the number of the
 *              lane that has the port now, or PLAN_LANE_NONE
 *   island_lane  out, p->islands entries: a lane, or PLAN_LANE_NONE where a
 *              new one is needed
 * No lane gets two islands. The lane that has most of an island's ports keeps
 * it, so few ports move; ties go to the older island and the lower lane.
 * 0 or -ENOMEM.
 */
int plan_place(
    const struct plan *p, const uint32_t *lane_of, uint32_t *island_lane);

#endif
