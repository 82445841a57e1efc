/*
 * core.h - what the command line and the QMP endpoint ask of the graph's side
 * of the broker (netdevs, hubs, processes). Runs in the broker.
 */
#ifndef BROKER_CORE_H
#define BROKER_CORE_H

#include "gen/types.h"
#include "proto/err.h"

#include <stdbool.h>

struct core;
struct loop;

/* Answer of an asynchronous request: e is NULL on success (borrowed). */
typedef void (*core_done)(void *self, const struct err *e);

/*
 * core_netdev_add - as QMP netdev_add. The options are copied. `done` is
 * called exactly once, possibly before this returns.
 */
void core_netdev_add(
    struct core *c, const struct netdev *nd, core_done done, void *self);

/*
 * core_dirs - where sockets go that nobody gave a place, and what relative
 * paths begin at, which only the operator may have. Borrowed; NULL: not known.
 */
void core_dirs(struct core *c, const char *run_dir, const char *start_dir);

/* core_netdev_del, core_set_link - refusals are decided at once. */
void core_netdev_del(
    struct core *c, const char *id, core_done done, void *self);
/* core_device_add, core_device_del - as QMP device_add (of a network card) and
 * device_del, which does not wait for the end. */
void core_device_add(
    struct core *c, const struct nic_device *dev, core_done done, void *self);
int core_device_del(struct core *c, const char *id, struct err *e);

int core_set_link(struct core *c, const char *name, bool up, struct err *e);

/*
 * core_listen - ask the launcher (start phase) to bind a QMP endpoint; it
 * arrives through qmp_listener() (broker/session.h) after core_latch().
 */
void core_listen(struct core *c, const char *path, core_done done, void *self);

/*
 * core_take_fd - ask the launcher (start phase) for a descriptor that it has
 * inherited. The answer owns fd; -1 with the reason in *e. One at a time.
 */
typedef void (*core_taken)(void *self, int fd, const struct err *e);
void core_take_fd(
    struct core *c, uint32_t number, core_taken taken, void *self);

/* core_latch - the start configuration is complete and up. `done` when the
 * launcher has confirmed and every listener has been handed to the endpoint. */
void core_latch(struct core *c, core_done done, void *self);

/* core_up - tell the launcher that we serve. core_quit - end everything. */
void core_up(struct core *c);
void core_quit(struct core *c, int code, const char *reason);

/* core_crossover - as --crossover: may two that are alone do without a lane? */
void core_crossover(struct core *c, bool on);

/* core_arena - as --arena: may large groups have a memory for all of them? */
void core_arena(struct core *c, bool on);

/* The one core of this process (set by broker_main before anything runs). */
struct core *core_get(void);

#endif
