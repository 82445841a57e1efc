/*
 * getfd.h - descriptors that clients passed and named with QMP getfd.
 *
 * Names belong to the broker, not to a session: they outlive a reconnect.
 * The store owns the descriptors until they are taken or closed. Runs in the
 * broker.
 */
#ifndef BROKER_GETFD_H
#define BROKER_GETFD_H

#include "proto/err.h"

#include <stdbool.h>

/* Names held at once, and bytes of one name. */
#define GETFD_MAX        64u
#define GETFD_NAME_BYTES 256u

/*
 * getfd_put - store `fd` under `name`, closing an older one of that name.
 * Takes fd in every case. 0, or -EINVAL, -ENOSPC, -ENOMEM with *err.
 */
int getfd_put(const char *name, int fd, struct err *err);

/* getfd_take - the descriptor, now the caller's, its name forgotten; or -1. */
int getfd_take(const char *name);

/* getfd_known - is there a descriptor of that name? Nothing changes. */
bool getfd_known(const char *name);

#endif
