/*
 * fdset_option.h - the text of -add-fd, and what it asks for. Runs in the
 * broker, during start.
 */
#ifndef BROKER_FDSET_OPTION_H
#define BROKER_FDSET_OPTION_H

#include "broker/core.h"

/*
 * fdset_option - put a descriptor that the operator's shell has opened into a
 * set. `done` is called once, possibly before this returns.
 */
void fdset_option(struct core *c, const char *arg, core_done done, void *self);

#endif
