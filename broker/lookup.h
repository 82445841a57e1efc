/*
 * lookup.h - the addresses of one host's name, as often as they are wanted.
 *
 * Each look-up is a process of its own (bulkhead-resolve), in a slot that the
 * lookup keeps: what the operator's command line was granted is granted for
 * the life of the netdev. `struct lookups` owns all records. Runs in the
 * broker.
 */
#ifndef BROKER_LOOKUP_H
#define BROKER_LOOKUP_H

#include "proto/err.h"
#include "proto/launch.h"
#include "proto/resolve.h"

#include <sys/queue.h>

struct launch_client;
struct loop;
struct timer;

/* From the question to the end of its process. */
#define LOOKUP_DUE_NS UINT64_C(10000000000)

struct lookups {
	struct loop *loop; /* borrowed, as the next */
	struct launch_client *launch;
	TAILQ_HEAD(, lookup) list;
};

/* Read-only for others. */
struct lookup {
	TAILQ_ENTRY(lookup) entry;
	struct lookups *all;
	char name[ADDR_NAME_BYTES];
	int family;
	void (*done)(void *self); /* who waits for its end, or NULL */
	void *self;
	struct timer *timer;  /* owned */
	uint32_t slot, epoch; /* slot 0: none yet */
	uint32_t ask;
	int control;  /* owned: the process's, or -1 */
	bool granted; /* the slot may look it up again */
	bool busy;    /* a look-up is under way */
	bool late;    /* ... and has had its time */
	/* what is known */
	struct addr found[RESOLVE_ADDRESSES]; /* without ports */
	size_t count;                         /* of the last that succeeded */
	uint64_t ended_ns; /* when the last look-up ended, 0: there was none */
	struct err error;  /* why it failed, "" = it did not */
};

void lookups_init(
    struct lookups *all, struct loop *l, struct launch_client *launch);
/* For the end of the process: nothing is told any more. */
void lookups_fini(struct lookups *all);

/* lookup_new - nothing is looked up yet. NULL: out of memory. */
struct lookup *lookup_new(struct lookups *all, const char *name, int family);

/*
 * lookup_start - look it up; `done` is called once, later, and then `found`
 * or `error` has changed. While one is under way, its end is what is told.
 * 0, or -ENOSPC, -ENOBUFS with ->error.
 */
int lookup_start(struct lookup *lk, void (*done)(void *self), void *self);

/* lookup_forget - do not tell; what is found is kept. */
void lookup_forget(struct lookup *lk);

/* lookup_free - ends its process, gives its slot back. NULL is allowed. */
void lookup_free(struct lookup *lk);

#endif
