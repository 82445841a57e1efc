/*
 * fdset.h - sets of descriptors that clients passed, and paths that mean them.
 *
 * Sets belong to the broker, not to a session: they outlive a reconnect. The
 * store owns its descriptors; who opens one by its path gets a copy. Runs in
 * the broker.
 */
#ifndef BROKER_FDSET_H
#define BROKER_FDSET_H

#include "proto/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Descriptors held at once, in all sets, and bytes of one's text. */
#define FDSET_FDS_MAX      64u
#define FDSET_OPAQUE_BYTES 1024u

/*
 * fdset_put - put `fd` into a set, which is made if it is not there.
 *   set     NULL: the lowest number without a set
 *   opaque  a text to show, or NULL
 * Takes fd in every case. Returns 0 with the set's number in *to, or -EINVAL,
 * -ENOSPC, -ENOMEM with *err.
 */
int fdset_put(const int64_t *set, int fd, const char *opaque, int64_t *to,
    struct err *err);

/* fdset_is_path - does the path mean a set? */
bool fdset_is_path(const char *path);

/*
 * fdset_open - a copy of the set's first descriptor that is open in the way
 * `mode` (O_RDONLY, O_WRONLY, O_RDWR); one for reading and writing will do
 * for each. Returns a descriptor that the caller owns, or -ENOENT (no such
 * set), -EACCES (none is open like that), -EINVAL, -EMFILE with *err.
 */
int fdset_open(const char *path, int mode, struct err *err);

/* fdset_clear - close all, for tests. */
void fdset_clear(void);

#endif
