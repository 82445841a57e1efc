/*
 * crossover.h - two backends that are alone on their island, connected without
 * the lane between them, as two cards are by a crossover cable.
 *
 * The lane keeps both ports and their rings, and has nothing to do. Whatever
 * is not two healthy ports that hear each other is the lane's: when the graph,
 * a link or a filter changes, a process ends, one end does not drain or says
 * that the other lied, the crossover ends and everything goes through the
 * lane again, in order and without a loss among the living. Runs in the broker.
 *
 * struct islands owns its crossovers. A port is at one at most, from when it
 * waits to become one until both have said what went over it.
 */
#ifndef BROKER_CROSSOVER_H
#define BROKER_CROSSOVER_H

#include "gen/control.h"
#include "proto/counter.h"

#include <stdbool.h>

struct crossovers;
struct islands;
struct port;

/* crossovers_new - NULL: out of memory. */
struct crossovers *crossovers_new(struct islands *islands);
void crossovers_free(struct crossovers *all);

/* crossovers_switch - off: there is none from now on. On at first. */
void crossovers_switch(struct crossovers *all, bool on);

/*
 * crossovers_look - plans, ports or filters have changed: end what may not be
 * any more, now; begin what may be, later, when nothing changes for a while.
 */
void crossovers_look(struct crossovers *all);

/* crossovers_settled - does none that must end still carry frames? */
bool crossovers_settled(const struct crossovers *all);

/* crossover_dead - the port's process is gone. Before port_dead() counts. */
void crossover_dead(struct port *p);

/* crossover_forget - the port is being freed. */
void crossover_forget(struct port *p);

/* crossover_holds - may its process still put frames into one? */
bool crossover_holds(const struct port *p);

/* crossover_other - the port at the other end while there is one; or NULL. */
const struct port *crossover_other(const struct port *p);

/*
 * What a port's process says; -EPROTO: it may not say that now. About one that
 * is over it may be late, which is no fault. After an error in `crossed` it
 * has nothing of it and hears no more of it, but what was on its way.
 */
int crossover_crossed(struct port *p, const struct ctl_crossed *m);
int crossover_uncrossed(struct port *p, const struct ctl_uncrossed *m);
int crossover_ended(struct port *p, const struct ctl_cross_ended *m);
int crossover_trouble(struct port *p, const struct ctl_cross_trouble *m);
void crossover_told(struct port *p, const struct cross_counts *c);

/*
 * crossover_count - add what went over the port's crossovers, those that have
 * ended and the present one, as far as its process has told, to a lane's
 * counters of the port.
 */
void crossover_count(const struct port *p, uint64_t counters[LC_COUNT]);

#endif
