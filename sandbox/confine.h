/*
 * confine.h - a child's half of its confinement: stages 2 and 4.
 *
 * Every program but the launcher runs
 *     confine_begin()   first statement of main: stage 2
 *     ... library set-up, options, rings: stage 3 ...
 *     confine_lock()    stage 4: the role's system-call list, kill on others
 *     confine_ready()   tells the launcher; only now may bytes from outside
 *                       be read
 * A failing step ends the process after it told the launcher step and errno,
 * unless the operator asked for less (the launcher says so, see confine.c).
 */
#ifndef SANDBOX_CONFINE_H
#define SANDBOX_CONFINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

enum confine_stage {
	STAGE_FORK = 1, /* launcher's code in the forked child */
	STAGE_EXEC = 2, /* confine_begin */
	STAGE_SETUP = 3,
	STAGE_LOCK = 4, /* confine_lock */
	STAGE_RUN = 5,
};

/* How one argument of a system call is checked. */
enum sysarg_op {
	ARG_ANY,   /* no check: the call is allowed with any arguments */
	ARG_EQ,    /* argument `arg` & mask == value */
	ARG_CLEAR, /* argument `arg` & mask == 0 */
};

struct sysarg {
	uint8_t arg; /* 0..5 */
	uint8_t op;  /* enum sysarg_op */
	uint64_t mask;
	uint64_t value;
};

/*
 * One line of a role's system-call list. Several lines for one call are
 * alternatives; the (at most three) checks of a line must all hold.
 */
struct sysrule {
	int nr;           /* __NR_x */
	const char *name; /* "x" */
	const char *why;  /* one reason */
	int error;        /* 0 = allow; else answer with this errno */
	struct sysarg args[3];
};

/* SYS(name, why), SYS_IF(name, why, {..}, ..), SYS_ERR(name, errno, why). */
#define SYS(call, reason)                                                      \
	{                                                                      \
		.nr = __NR_##call, .name = #call, .why = reason                \
	}
#define SYS_IF(call, reason, ...)                                              \
	{                                                                      \
		.nr = __NR_##call, .name = #call, .why = reason, .args = {     \
			__VA_ARGS__                                            \
		}                                                              \
	}
#define SYS_ERR(call, err, reason)                                             \
	{                                                                      \
		.nr = __NR_##call, .name = #call, .why = reason,               \
		.error = (err)                                                 \
	}

/* A role's list: its own lines after the common ones (confine_base). */
struct syslist {
	const char *role;
	const struct sysrule *rules;
	size_t count;
};

/* The lines that every role has: loop, memory, exit, abort. */
extern const struct sysrule confine_base[];
extern const size_t confine_base_count;

/*
 * confine_begin - stage 2. Reads what the launcher put on the command line
 * (see the accessors below), calls log_open, ignores SIGPIPE, turns SIGABRT
 * into last words. `role` is a literal, borrowed for good.
 */
void confine_begin(const char *role);

/*
 * confine_lock - stage 4: load base and list; `list` is only read. A call
 * that has a line in `list` has only the lines of `list`, none of the base.
 */
void confine_lock(const struct syslist *list);

/* confine_ready - tell the launcher that stage 4 is done. Once. */
void confine_ready(void);

/* Tell the launcher why we end (stage 3 or later), then exit(1). */
_Noreturn void confine_fail(
    enum confine_stage stage, int error, const char *text);

/* The id the launcher gave us for log lines ("net0", "lane1", "-"). */
const char *confine_id(void);

/*
 * What else the launcher told this process: bytes of each ring (0: has no
 * port), a bit per resource index that is open at FD_RESOURCE + index, and
 * whether the operator said --sandbox=off.
 */
uint64_t confine_ring_bytes(void);
uint32_t confine_resources(void);
bool confine_off(void);

/* The name to look up, or NULL, and the family of the addresses wanted. */
const char *confine_lookup(int *family);

/* The memory behind resource 0, when it is a netmap port; else both 0. */
void confine_map(uint64_t *offset, uint64_t *bytes);

/*
 * confine_watch_fd - the descriptor whose end of file means "exit" (lanes and
 * backends: watch it for reading and loop_stop(l, 0) whatever it says; the
 * launcher sends them nothing). PDEATHSIG does the same for a stuck loop.
 */
int confine_watch_fd(void);

#endif
