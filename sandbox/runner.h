/*
 * runner.h - who runs scripts and helpers: a small process of the launcher.
 *
 * A system-call filter and no_new_privs are inherited for good, and the
 * operator's programs shall have neither. So the launcher forks the runner
 * before it confines itself; from then on the runner starts what the launcher
 * orders, as an argv, and nothing else. It opens nothing and decides nothing.
 *
 * Above it is its keeper, which does nothing but start another one should it
 * be killed: it cannot be forked again later, when there is a filter. What ran
 * for the one before is killed and reported as lost.
 *
 * One order or result is one datagram of a seqpacket pair, a fixed-size
 * struct. An order may bring one descriptor, the program's number 3.
 */
#ifndef SANDBOX_RUNNER_H
#define SANDBOX_RUNNER_H

#include "proto/launch.h"

#include <stdint.h>

#define RUNNER_JOBS 32u /* programs at a time */
#define RUNNER_ARGS 4u
#define RUNNER_ARG  64u
#define RUNNER_FD   3 /* of the descriptor that came with the order */

/* Of a program's output so much is kept, the end of it ... */
#define RUNNER_WORDS 160u
/* ... and a program that writes more than this is ended. */
#define RUNNER_OUTPUT (1024u * 1024)

struct run_order {
	uint32_t slot;
	uint32_t number; /* not 0; repeated in the result */
	uint32_t cancel; /* end the program of that slot and number */
	uint32_t timeout_ms;
	uint32_t arg_count;
	char program[LAUNCH_PATH];
	char args[RUNNER_ARGS][RUNNER_ARG]; /* behind argv[0], the program */
};

enum run_end {
	RUN_EXITED,    /* status: exit status */
	RUN_KILLED,    /* status: signal */
	RUN_NOT_RUN,   /* status: errno */
	RUN_TIMEOUT,   /* it was killed after timeout_ms */
	RUN_FLOOD,     /* it was killed after RUNNER_OUTPUT bytes */
	RUN_CANCELLED, /* it was killed by order */
	RUN_LOST,      /* it was killed because the runner was */
};

struct run_result {
	uint32_t slot;
	uint32_t number; /* 0: of no program: there is a new runner */
	uint32_t how;    /* enum run_end */
	int32_t status;
	char words[RUNNER_WORDS]; /* printable, ends in NUL */
};

/*
 * runner_start - fork the keeper and the runner. Returns our end of the pair
 * (owned by the caller, non-blocking), or -errno.
 */
int runner_start(void);

#endif
