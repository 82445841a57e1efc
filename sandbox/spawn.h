/*
 * spawn.h - what the launcher decides for a new process, and stage 1, which
 * carries it out in the forked child.
 */
#ifndef SANDBOX_SPAWN_H
#define SANDBOX_SPAWN_H

#include "sandbox/launcher.h"

#include <sys/resource.h>

/* The order for stage 1; everything is borrowed. */
struct stage1 {
	int fds[CHILD_FDS]; /* by target number; -1: closed */
	int exec_fd;        /* O_PATH */
	char *const *argv;
	/* directories to turn into detached mounts: target numbers, -1 none */
	int etc_target, tftp_target;
	uint64_t flags; /* CLONE_NEW* */
	uid_t uid;      /* 0: stay what we are */
	rlim_t files;   /* RLIMIT_NOFILE */
	bool has_caps;  /* there is something to drop */
	bool confine;   /* --sandbox is not off */
};

/*
 * stage1_run - in the child: all of stage 1, then the program. A failing step
 * is told on the channel (descriptor fds[FD_LAUNCHER]).
 */
_Noreturn void stage1_run(struct stage1 *s);

#endif
