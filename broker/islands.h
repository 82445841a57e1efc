/*
 * islands.h - the lanes: one process for each island of the graph, and one
 * spare that waits for the next island, so that no command waits for a start.
 *
 * islands_apply() says which port belongs where; everything after that
 * happens by itself: ports move, lanes are started, restarted when they die,
 * and ended when their island is gone. A lane never serves two islands in
 * its life. When one dies, the spare takes its place at once. `struct islands`
 * owns all lanes; ports (broker/ports.h) are owned by whoever made them. Runs
 * in the broker.
 *
 * Moving a port loses no frame: the lane that gives it up first gets a plan
 * without it (it then leaves the ring alone), then lets go of it; the lane
 * that gets it takes its plan only when all ports that come to it are there.
 */
#ifndef BROKER_ISLANDS_H
#define BROKER_ISLANDS_H

#include "broker/backoff.h"
#include "broker/control.h"
#include "broker/plan.h"
#include "gen/types.h"
#include "proto/launch.h"

#include <sys/queue.h>

struct arena;
struct arenas;
struct crossovers;
struct island;
struct islands;
struct launch_client;
struct loop;
struct port;
struct timer;

/* What is told about lanes. */
struct islands_ops {
	/* It died (not: was ended) and starts again after `wait_ns`. */
	void (*exited)(void *self, const struct island *i,
	    const struct launch_result *r, uint64_t wait_ns);
	/* It has all its ports again. */
	void (*restarted)(
	    void *self, const struct island *i, uint64_t outage_ns);
};

/* A lane's life; rules in islands.c. */
enum island_state {
	IS_SPAWNING,
	IS_HELLO,
	IS_READY,
	IS_STOPPING,
	IS_ABORTING,
	IS_FADING,
	IS_DYING,
	IS_DEAD,
	IS_BACKOFF,
	IS_RELEASING,
	IS_GONE,
	IS_STATES
};

/* The record of one lane. */
struct island {
	TAILQ_ENTRY(island) entry;
	struct islands *all;
	uint32_t number; /* "lane<number>"; unique among the living */
	uint32_t slot, epoch;
	enum island_state state;
	bool unwanted; /* serves nobody and never will again */
	bool needed;   /* islands_tidy(): some port wants it or is in it */
	bool said_hello, attested;
	bool killed;             /* by us; then `fault` says why */
	bool returning;          /* died before, has not all its ports again */
	struct control *control; /* owned; NULL when there is no process */
	struct timer *timer;     /* owned: the deadline of the state */
	struct backoff backoff;
	uint32_t spawn_ask;
	uint32_t restarts;
	uint64_t since_ns; /* start of this process, monotonic */
	uint64_t died_ns;
	const char *fault;            /* why we killed it, or NULL */
	struct launch_result process; /* as attested: pid, uid, layers */
	struct launch_result last;    /* how this one ended */
	struct launch_result before;  /* how the one before it did */
	const char *fault_before;
	/* The plan that it should have, and the one that it has. */
	struct plan_port *wanted; /* owned */
	size_t wanted_count;
	struct plan_port *sent; /* owned; room for both */
	size_t sent_count;
	uint32_t serial;
	uint32_t synced; /* serial that it has been seen to know (settle.c) */
	struct arena *arena; /* owned by all->arenas; NULL: none */
	uint64_t arenas_ns;  /* until then those that it had count (arena.c) */
};

struct islands {
	struct loop *loop; /* borrowed, as the next two */
	struct launch_client *launch;
	const struct islands_ops *ops;
	void *self;
	TAILQ_HEAD(, island) list;
	struct island *spare; /* one of the list, or NULL */
	bool stopping;
	struct crossovers *crossovers;          /* owned */
	struct arenas *arenas;                  /* owned */
	struct port *ports[LAUNCH_SLOTS];       /* borrowed, by number */
	struct island *by_number[LAUNCH_SLOTS]; /* as in the list */
};

/* islands_new - no process yet. NULL: out of memory. */
struct islands *islands_new(struct loop *l, struct launch_client *launch,
    const struct islands_ops *ops, void *self);
void islands_free(struct islands *all);

/* islands_start - have a spare lane started. */
void islands_start(struct islands *all);

/* islands_stop - start no more; the living are the launcher's to end. */
void islands_stop(struct islands *all);

/*
 * islands_apply - the graph has this plan from now on. Returns 0 and does
 * the rest over time, or -ENOMEM, -ENOSPC with *e and nothing changed.
 */
int islands_apply(struct islands *all, const struct plan *plan, struct err *e);

/* How many processes there are, and "lane0" into a buffer. */
#define ISLAND_NAME_BYTES 24
const char *island_name(const struct island *i, char buf[ISLAND_NAME_BYTES]);
const char *island_state_name(enum island_state state);

/* --- between island.c, islands.c and ports.c -------------------------------
 */

enum island_event {
	IE_SPAWNED,
	IE_REFUSED,
	IE_UP,
	IE_FAULT,
	IE_LOST,
	IE_HUNG,
	IE_EXIT,
	IE_TIMER,
	IE_RETIRE,
	IE_AGAIN,
	IE_TAKE,
	IE_GIVE,
	IE_LEAVE,
	IE_RELEASED,
};

/* island_step - the one door to a new state. The island may be freed in it. */
void island_step(struct island *i, enum island_event event);

/* Is that event legal now? */
bool island_may(const struct island *i, enum island_event event);

/* island_new - a lane that is being started; NULL: no memory, no slot. */
struct island *island_new(struct islands *all);
void island_free(struct island *i);

/* Does it take attach, detach and plan? */
bool island_is_ready(const struct island *i);

/* island_push - send as much of the wanted plan as holds now. */
void island_push(struct island *i);

/* island_fault - kill it: it lied, or does not answer. */
void island_fault(struct island *i, const char *reason);

/* islands_tidy - end the lanes that have nothing left. */
void islands_tidy(struct islands *all);

#endif
