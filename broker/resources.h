/*
 * resources.h - what the launcher must open before a netdev's backend can
 * start: worked out from the schema's table of its type and from its options.
 *
 * Everything that can be refused without opening anything is refused here,
 * with QEMU's texts where QEMU has one. Names of hosts are noted (names.h),
 * to be looked up when the netdev starts.
 * Runs in the broker.
 */
#ifndef BROKER_RESOURCES_H
#define BROKER_RESOURCES_H

#include "gen/backends.h"
#include "proto/err.h"

#include <stdbool.h>
#include <stddef.h>

/* Most open requests of one netdev; several forwarding rules are several. */
#define RESOURCES_MAX 128u
/* A switch's directory: the names of its sockets must fit behind it. */
#define VDE_PATH_MAX 72u

struct chardev;
struct chardevs;
struct lookups;
struct names;

struct resource {
	struct launch_open open;
	struct names *names;     /* owned: what its addresses are; or NULL */
	struct chardev *chardev; /* claimed until resources_free, or NULL */
	void *owner;             /* borrowed: whose netdev's it is */
	uint32_t ask;            /* its request to the launcher, 0: none */
	int fd;                  /* owned: goes with the request; or -1 */
	bool granted;            /* the launcher has it, or may get it again */
};

/* Owns the array and the descriptors in it. */
struct resources {
	struct resource *items;
	size_t count;
};

/*
 * resources_check - rules between options that decide what is opened, and
 * names that have a default: *nd is completed in place.
 * 0, -EINVAL or -ENOMEM with *e.
 */
int resources_check(struct netdev *nd, struct err *e);

/*
 * resources_plan - the open requests for a checked netdev.
 *   start_phase  descriptor numbers are those the operator's shell gave us
 *   chardevs     where chardevs are claimed; the netdev's id is the user
 *   lookups      who owns the look-ups of names
 * A descriptor named by getfd is taken out of the store when the plan is
 * made. 0, or -EINVAL, -ENOENT, -EBUSY, -ENOSPC, -ENOMEM with *e and *r empty.
 */
int resources_plan(const struct backend_entry *b, const struct netdev *nd,
    bool start_phase, struct chardevs *chardevs, struct lookups *lookups,
    struct resources *r, struct err *e);

void resources_free(struct resources *r);

/*
 * resource_fd - a descriptor by its text: a number is one of ours at start, a
 * name is one that getfd stored. Fills in o->number or *fd (owned).
 */
int resource_fd(const char *text, bool start_phase, struct launch_open *o,
    int *fd, struct err *e);

/* resource_reconnects - is it a connection, which each process gets anew? */
bool resource_reconnects(const struct resource *r);

/*
 * resource_renews - is the launcher asked before each further process? For a
 * connection, and for an interface that we made: it may have been deleted.
 */
bool resource_renews(const struct resource *r);

/* resource_asks_again - may its backend ask for it while it runs? */
bool resource_asks_again(const struct resource *r);

/* resources_chardev - the one that was claimed, or NULL. */
const struct chardev *resources_chardev(const struct resources *r);

/* resource_text - address or path of a resource, for people; or NULL. */
#define RESOURCE_TEXT_BYTES (LAUNCH_PATH + 64)
const char *resource_text(
    const struct launch_open *o, char buf[RESOURCE_TEXT_BYTES]);

#endif
