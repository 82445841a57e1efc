/*
 * core_state.h - what core.c owns, for the files that answer queries from it.
 * Nobody outside core.c, commands.c and query.c includes this. Runs in the
 * broker.
 */
#ifndef BROKER_CORE_STATE_H
#define BROKER_CORE_STATE_H

#include "broker/chardev.h"
#include "broker/core.h"
#include "broker/graph.h"
#include "broker/islands.h"
#include "broker/netdev.h"

#include <sys/queue.h>

struct launch_client;
struct question;
struct timer;

/* The one gathering of counters that may be under way (broker/query.c). */
struct query {
	TAILQ_HEAD(question_list, question) now, later; /* owned */
	struct timer *due;  /* owned: the round must end */
	struct timer *next; /* owned: go on from the loop */
	uint32_t next_slot; /* to ask */
	unsigned open;      /* asked and not told */
};

struct core {
	struct loop *loop;            /* borrowed */
	struct launch_client *launch; /* owned, as all below */
	struct islands *islands;
	struct netdevs netdevs;
	struct chardevs chardevs;
	struct graph graph;
	struct query query;
	struct launch_result process; /* our own attestation */
	uint64_t since_ns;
	unsigned endpoints;  /* QMP listeners asked for on the command line */
	core_done listening; /* who waits for an endpoint, or NULL */
	void *listening_self;
	core_taken taken; /* who waits for an inherited descriptor, or NULL */
	void *taken_self;
	core_done latched; /* who waits for the end of the start phase */
	void *latched_self;
	bool latch_answered;
	int listeners_due;
	bool quitting;
	int quit_code;
	struct timer *quit_due;
};

/*
 * core_new - takes launcher_fd. NULL: out of memory. core_free is for tests:
 * the process ends without it.
 */
struct core *core_new(struct loop *l, int launcher_fd);

/* core_begin - start processes, from now on. */
void core_begin(struct core *c);
void core_free(struct core *c);

/* commands.c: the core's answer becomes the command's (`call`, a struct call),
 * once the lanes know it too. */
void command_answered(void *call, const struct err *e);

/* core_start.c: is the start phase over, with all its listeners here? */
void core_latch_look(struct core *c);

/* query.c: its part of struct core. */
int query_init(struct core *c);
void query_fini(struct core *c);

#endif
