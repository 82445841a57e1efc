/*
 * ports.h - where each port's rings are: in a lane, on their way, or nowhere.
 *
 * A port has a place where the plan wants it and an epoch of its backend
 * that is alive; from these two everything follows. A port is attached to at
 * most one lane at any time, and a dead epoch is counted (its unread frames
 * as rx-drop-dead) before the next one is attached. Runs in the broker.
 *
 * The netdev owns its port. The deadline of a detach is the port's.
 */
#ifndef BROKER_PORTS_H
#define BROKER_PORTS_H

#include "broker/control.h"
#include "proto/counter.h"

struct crossover;
struct island;
struct islands;
struct port;
struct rx_filter;
struct timer;

struct port_ops {
	/* The live epoch's rings are in the lane that the plan wants. */
	void (*attached)(void *self);
	/* It is in no lane any more. The port may be freed from here. */
	void (*away)(void *self);
	/* Its process lied in its rings, or cannot be attached. */
	void (*fault)(void *self, const char *reason);
	/* Its bell has ended, as it does when the process dies. */
	void (*lost)(void *self);
	/* Its process drains nothing. */
	void (*stalled)(void *self);
	/* The channel to its process; NULL: there is none. */
	struct control *(*control)(void *self);
	/* For people. */
	const char *(*name)(void *self);
};

enum port_state {
	PORT_AWAY,
	PORT_ASKING, /* for descriptors */
	PORT_ATTACHED,
	PORT_DETACHING,
};

struct port {
	struct islands *all; /* borrowed */
	const struct port_ops *ops;
	void *self;
	uint32_t number;     /* the slot of its netdev */
	struct island *want; /* borrowed; NULL: in no plan */
	uint32_t live;       /* epoch of the process to attach; 0: none */
	uint32_t owed;       /* dead epoch that is not counted yet; 0: none */
	unsigned owed_tries;
	enum port_state state;
	struct island *lane; /* ATTACHED, DETACHING: where */
	uint32_t epoch;      /* asked for, or attached */
	uint32_t seen;       /* last epoch that was attached anywhere */
	bool dead;           /* DETACHING: for good */
	uint32_t ask;        /* to the launcher, when ASKING */
	uint64_t ring_bytes;
	/* What the live process throws away (borrowed); NULL: nothing. */
	const struct rx_filter *filter;
	struct timer *due;       /* owned: DETACHING must end */
	uint64_t base[LC_COUNT]; /* what dead epochs counted */
	/* Arena whose `arena-view` its live process has not answered; 0: none.
	 */
	uint32_t unviewed;
	/* Owned by all->crossovers; NULL: none. */
	struct crossover *crossover;
	uint64_t crossed[LC_COUNT]; /* what went over those that ended */
};

/* port_new - number is a slot that is the caller's. NULL: out of memory. */
struct port *port_new(struct islands *all, uint32_t number,
    const struct port_ops *ops, void *self);
/* port_free - it must be away. */
void port_free(struct port *p);

/* port_live - the process of `epoch` has its rings ready. */
void port_live(struct port *p, uint32_t epoch, uint64_t ring_bytes);

/* port_dead - there is no such process any more. away() follows unless
 * port_is_away() already. */
void port_dead(struct port *p);

/* In no lane, nothing to be done there, and at no crossover that carries. */
bool port_is_away(const struct port *p);

/*
 * port_filter - what its live process takes from now on: NULL or an unknown
 * filter, everything. Borrowed until the next call. Its lane is told, now and
 * when the port comes to another one.
 */
void port_filter(struct port *p, const struct rx_filter *f);

/*
 * port_ask - ask its lane for counters (of this epoch: add p->base).
 * -ENOTCONN when it is in no lane; `a` is not told then.
 */
int port_ask(struct port *p, struct control_ask *a);

/* port_lane_suspect - its backend says that the lane does nothing. */
void port_lane_suspect(struct port *p);

/* --- between islands.c and ports.c ---------------------------------------- */

/* The plan wants it there (NULL: nowhere). */
void port_want(struct port *p, struct island *i);

/* Do the next thing that brings it where it should be. */
void port_settle(struct port *p);

/* Is it on its way to `i` with a live process behind it? */
bool port_is_coming(const struct port *p, const struct island *i);

/* The lane `i` said so, or is gone. */
int port_detached(
    struct port *p, struct island *i, const struct ctl_detached *m);
void port_lane_gone(struct port *p, struct island *i);

#endif
