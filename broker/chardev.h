/*
 * chardev.h - character devices: unix sockets with a name, which a nic or a
 * vhost-user netdev is joined to.
 *
 * Each has a slot of the launcher's for itself, without a process: the socket
 * is opened there under policy when the chardev is made, and the launcher
 * hands it to the one netdev that has claimed it, again and again. The broker
 * never holds it. Runs in the broker.
 */
#ifndef BROKER_CHARDEV_H
#define BROKER_CHARDEV_H

#include "broker/core.h"
#include "broker/graph.h"
#include "proto/launch.h"

#include <sys/queue.h>

struct launch_client;
struct loop;
struct timer;
struct chardevs;

enum chardev_state { CHARDEV_OPENING, CHARDEV_THERE, CHARDEV_RELEASING };

struct chardev {
	TAILQ_ENTRY(chardev) entry;
	struct chardevs *all;
	enum chardev_state state;
	char id[GRAPH_ID_BYTES];
	struct launch_open open; /* what its slot was asked to open */
	char path[LAUNCH_PATH];  /* as given; of a descriptor: its name */
	bool server;
	bool wait; /* its user is added when the first peer is there */
	bool has_reconnect_ms;
	uint32_t reconnect_ms; /* 0: never again */
	bool connected;        /* client: what the first user will get */
	const char *user;      /* borrowed: the netdev that has it, or NULL */
	uint32_t slot;
	int fd;            /* owned: goes with the request, or -1 */
	uint32_t ask;      /* request under way */
	struct timer *due; /* owned: the launcher's time to answer it */
	struct err error;  /* why it could not be opened */
	core_done done;    /* who waits for the request, or NULL */
	void *done_self;   /* borrowed */
};

/* Owns all records. */
struct chardevs {
	struct loop *loop; /* borrowed, as the next */
	struct launch_client *launch;
	TAILQ_HEAD(, chardev) list;
};

void chardevs_init(
    struct chardevs *all, struct loop *l, struct launch_client *launch);

/* chardevs_fini - forget everything at once, for the end of the process. */
void chardevs_fini(struct chardevs *all);

/*
 * chardev_add - as QMP chardev-add; in the start phase descriptors may be
 * given by number. `done` is called once, possibly before this returns.
 */
void chardev_add(struct core *c, const struct chardev_add_args *args,
    core_done done, void *self);

/* chardev_remove - as QMP chardev-remove. */
void chardev_remove(struct core *c, const char *id, core_done done, void *self);

/* chardev_find - one that is there, or NULL. */
struct chardev *chardev_find(const struct chardevs *all, const char *id);

/*
 * chardev_claim - have it for the netdev `user`, a name that stays where it
 * is until chardev_give(). NULL with *e: it is not there, or somebody has it.
 */
struct chardev *chardev_claim(
    struct chardevs *all, const char *id, const char *user, struct err *e);
void chardev_give(struct chardev *ch);

/* chardev_reconnects - does it give each user a connection of its own? */
bool chardev_reconnects(const struct chardev *ch);

#endif
