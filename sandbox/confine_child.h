/*
 * confine_child.h - what the files of a child's confinement share.
 *
 * Runs in every program but the launcher. Not for other folders: they see
 * confine.h only.
 */
#ifndef SANDBOX_CONFINE_CHILD_H
#define SANDBOX_CONFINE_CHILD_H

#include "sandbox/confine.h"

/*
 * confine_root - an empty, read-only root directory, or for a process that
 * was given them the directories /etc and /tftp in it.
 *   etc_fd, tftp_fd  detached mounts (open_tree(2)); -1 = none. Borrowed.
 * Needs CAP_SYS_ADMIN in an own mount namespace. 0 or -errno.
 */
int confine_root(int etc_fd, int tftp_fd);

/* confine_caps - no capability in any set, none to be had. 0 or -errno. */
int confine_caps(void);

/*
 * confine_landlock - no file-system right but reading beneath `readable`
 * (NULL-terminated, may be empty), no TCP unless `tcp`, no abstract socket,
 * no signal to others. 0 or -errno (-EOPNOTSUPP: kernel without Landlock).
 */
int confine_landlock(const char *const *readable, bool tcp);

/*
 * confine_filter - load `base` and `own` as the process's system-call list,
 * default kill. For a call in `own`, the lines of `base` do not count; nor do
 * either's for a call of the sanitizer's.
 *   nnp  set no_new_privs on the way (needed without CAP_SYS_ADMIN)
 * 0 or -errno.
 */
int confine_filter(
    const struct syslist *base, const struct syslist *own, bool nnp);

/* Calls that a sanitizer's runtime makes; empty in an ordinary build. */
extern const struct sysrule confine_sanitizer[];
extern const size_t confine_sanitizer_count;

#endif
