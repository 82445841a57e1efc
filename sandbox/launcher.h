/*
 * launcher.h - the state of the launcher: one static struct, no allocation.
 *
 * Owned by launcher_main.c and lent to every function of the launcher. All
 * descriptors in it are owned by it and close-on-exec.
 */
#ifndef SANDBOX_LAUNCHER_H
#define SANDBOX_LAUNCHER_H

#include "proto/launch.h"
#include "sandbox/options.h"
#include "sandbox/policy.h"

#include <sys/types.h>

#define LISTENERS     16 /* QMP endpoints: -qmp and socket activation */
#define INHERITED_MAX 1024
#define CHILD_FDS     24 /* highest descriptor number of a child, plus one */
#define ANSWER_FDS    6  /* most descriptors of an answer: CROSSED */

/* What was opened, or may be opened again, for a slot. */
struct resource {
	bool granted;
	bool free; /* ... by the operator: policy is not asked */
	int fd;    /* -1: permission only, or the attempt failed */
	struct launch_open args;
	uint64_t map_offset, map_bytes; /* NETMAP: its memory */
	/* a unix socket's file that we made, to be removed again */
	bool made;
	dev_t made_dev;
	ino_t made_ino;
	bool run; /* DOWNSCRIPT: it is still to be run */
};

enum slot_tell {
	TELL_ATTESTED = 1,
	TELL_EXITED = 2,
	TELL_RELEASED = 4,
	TELL_OPENED = 8, /* of a program that has ended */
};

/* The program that runs for a slot (scripts.c). */
struct slot_run {
	uint32_t number; /* 0: none */
	uint32_t what;
	uint32_t seq;   /* of the OPEN that waits for its end */
	uint32_t index; /* of that resource */
	bool again;     /* ... which the slot had been granted before */
	int sock;       /* where a helper sends its tap, or -1 */
	char program[LAUNCH_PATH];
};

/* One place for a process and what it owns. Slot 0 is the broker's. */
struct slot {
	pid_t pid; /* 0: no process */
	int pidfd;
	int chan; /* our end of the child's descriptor 3 */
	uint32_t role;
	uint32_t epoch;
	uint64_t started_ns; /* monotonic */
	uint64_t layers;     /* put in force by stage 1 */
	uint64_t ring_bytes;
	uid_t uid;   /* in our user namespace */
	bool ready;  /* it said so */
	bool failed; /* it said so */
	bool doomed; /* we killed it, or it was told to end */
	bool releasing;
	bool lived;       /* had a process, since the last release */
	uint32_t lent_to; /* slot that uses what is kept here, or 0 */
	uint32_t release_seq;
	char id[64];
	char words[LAUNCH_TEXT]; /* FAILED's text */
	uint32_t words_stage;
	/* the fd store */
	int control;   /* broker's end of the control channel */
	int own_mem;   /* P */
	int peer_mem;  /* L */
	int lane_bell; /* the lane's end */
	struct resource resources[LAUNCH_RESOURCES];
	/* what the broker was not told yet */
	unsigned tell; /* enum slot_tell */
	struct launch_result attested, exited, opened;
	struct slot_run run;
	bool up_failed; /* what was run before the first frame */
	bool tap_anew;  /* the tap was made again: its script is due */
};

struct listener {
	int fd; /* owned, or -1: slot 0's resource `index` */
	unsigned index;
	char name[LAUNCH_TEXT];
};

struct launcher {
	struct options options;
	struct policy policy;
	char **broker_args; /* argv with room for ours behind it */
	int broker_arg_count;
	bool root;
	uint64_t clone_flags; /* namespaces that work here */
	uid_t uid_base;       /* first of LAUNCH_SLOTS uids, 0: none */
	int epoll, signals, null_fd, start_dir, run_dir, libexec_dir;
	char start_path[LAUNCH_PATH];     /* of start_dir; "": not known */
	int resolver_dir, resolver_watch; /* -1 until wanted */
	int runner;                       /* who runs scripts, or -1 */
	uint32_t run_number;              /* of the last one */
	int config_fds[OPTIONS_CONFIGS];
	int pidfile, up_pipe, log_fd;
	int log_sink;  /* --daemonize: what nobody reads any more, or -1 */
	int start_err; /* --log-file: who started us sees this, until up */
	bool inherited[INHERITED_MAX]; /* open when we were started */
	struct listener listeners[LISTENERS];
	unsigned listener_count, listeners_told;
	bool latched, up;
	int quitting; /* 0, or 1: winding down, 2: the broker said QUIT */
	int exit_code;
	uint64_t deadline_ns; /* 0: none */
	/* one answer to the broker that its channel had no room for */
	struct launch_msg answer;
	int answer_fds[ANSWER_FDS]; /* copies of what was lent: owned */
	unsigned answer_fd_count;
	bool answer_waits;
	unsigned tells;       /* slots with something to tell */
	unsigned slots_known; /* those below are initialised */
	struct slot slots[LAUNCH_SLOTS];
};

/* --- launcher.c: the table, the loop, deaths -------------------------- */

/* launcher_init - the empty table. */
void launcher_init(struct launcher *l);

/*
 * launcher_slot - the slot of a number below LAUNCH_SLOTS. The table is large
 * and touched only as far as it is used: it is copied at every fork.
 */
struct slot *launcher_slot(struct launcher *l, unsigned slot);

/* launcher_run - start the broker, serve until the end. The exit code. */
int launcher_run(struct launcher *l);

/*
 * launcher_watch - hear of a new process: its channel and its end.
 * 0 or -errno.
 */
int launcher_watch(struct launcher *l, unsigned slot);

/* launcher_fault - a process broke a rule: log, stop hearing it, kill it. */
void launcher_fault(struct launcher *l, struct slot *slot, const char *reason);

/* launcher_hang_up - a process closed its channel: it ends, or is ended. */
void launcher_hang_up(struct launcher *l, struct slot *slot);

/* launcher_watch_resolver - hear of changes of resolv.conf. 0 or -errno. */
int launcher_watch_resolver(struct launcher *l);

/* launcher_kill - send SIGKILL, once. */
void launcher_kill(struct slot *slot);

/* launcher_release - close and remove all that the slot owns. */
void launcher_release(struct launcher *l, struct slot *slot);

/* launcher_let_go - the slot has no process: release it, now or when its
 * downscript has ended, and tell. */
void launcher_let_go(struct launcher *l, struct slot *slot);

/* launcher_quit - end everything; the loop ends with this code. */
void launcher_quit(struct launcher *l, int code);

/* Name of a role for log lines. */
const char *launcher_role_name(uint32_t role);

/* --- tell.c: what the broker is told ---------------------------------- */

/*
 * launcher_answer - answer the broker's request; waits for room when there is
 * none. `fds` are borrowed (kept as copies if need be).
 */
void launcher_answer(struct launcher *l, const struct launch_msg *msg,
    const int *fds, unsigned fd_count);

/* launcher_note - slot `s` has something to tell. */
void launcher_note(struct launcher *l, struct slot *s, enum slot_tell what);

/* launcher_flush - send what waits, as far as there is room. */
void launcher_flush(struct launcher *l);

/* --- request.c: what the broker and the children may say -------------- */

/* request_receive - one datagram from the process of a slot. */
void request_receive(struct launcher *l, struct slot *from);

/* --- spawn.c: stage 1 ------------------------------------------------- */

/*
 * spawn_probe - find out which namespaces we can make, and which user ids.
 * 0, or -EPERM with *err when the sandbox mode does not allow what is missing.
 */
int spawn_probe(struct launcher *l, struct err *err);

/*
 * spawn_child - start a process in an idle slot, which gets its channel, its
 * control channel and, for a backend, fresh memories and a fresh bell.
 *   control  the broker's end of the control channel: borrowed from the slot
 * 0, or -errno with *err; then the slot is as before but for its memories.
 */
int spawn_child(struct launcher *l, unsigned slot,
    const struct launch_spawn *what, struct err *err);

/* Does a process of this role run in the host's network? */
bool spawn_host_network(uint32_t role);

/* Every layer that a process of this role could have here. */
uint64_t spawn_wanted(const struct launcher *l, uint32_t role);

/* --- memories.c: what two processes share ----------------------------- */

/* memories_read_only - the same memory, to be read only; fd or -errno. */
int memories_read_only(int fd);

/*
 * memories_port - a backend's fresh memories and bell, kept in its slot; those
 * of a former life are let go.
 *   peer, bell  the backend's own, set when made: the caller's to close
 * 0 or -errno.
 */
int memories_port(struct slot *s, uint64_t ring_bytes, int *peer, int *bell);

/* What one end of a crossover gets, in the order of CROSSED. */
struct cross_end {
	int own, peer, bell;
};

/*
 * memories_cross - all that is shared by two backends and by nobody else; the
 * size of each one's memory is that of its port's. Kept nowhere.
 * 0, and memories_uncross() closes; or -errno, and there is nothing. -ESRCH:
 * one of the two is not there, or on its way out.
 */
int memories_cross(const struct slot *one, const struct slot *other,
    const struct launch_cross *c, struct cross_end ends[2]);
void memories_uncross(struct cross_end ends[2]);

/*
 * memories_arena - an arena for that lane: a memory, and the same for reading
 * only. Kept nowhere: the caller's to close. Errors as memories_cross.
 */
int memories_arena(
    const struct slot *lane, const struct launch_arena *a, int fds[2]);

/* --- attest.c --------------------------------------------------------- */

/*
 * attest - read in /proc what is in force for the slot's process, which said
 * READY and claims `claimed`. Fills layers and missing.
 * 0; -EPERM with out->text when --sandbox does not allow what is missing.
 */
int attest(const struct launcher *l, const struct slot *s, uint64_t claimed,
    struct launch_result *out);

/* --- openers.c -------------------------------------------------------- */

/*
 * opener_open - open one resource for a slot; arguments are well-formed.
 *   given  descriptor that came with the request, or -1; taken
 * 0; OPENER_LATER (open_tap.h): the answer is given later; or -errno with *err.
 * Then nothing was opened, and the slot may try again
 * what policy had granted.
 */
int opener_open(struct launcher *l, struct slot *s,
    const struct launch_open *args, int given, struct err *err);

/* opener_give_back - what was lent to this slot may be lent to others. */
void opener_give_back(struct launcher *l, const struct slot *user);

/* opener_close - undo: close, and remove the socket's file. */
void opener_close(struct launcher *l, struct resource *r);

/* --- scripts.c -------------------------------------------------------- */

/* scripts_heard - the runner has something to tell, or has ended. */
void scripts_heard(struct launcher *l);

/* scripts_hold - does a program run for the slot, or is one started now that
 * must be run before its end? */
bool scripts_hold(struct launcher *l, struct slot *s);

/* scripts_last - run what is still to be run, and wait, but not for long. */
void scripts_last(struct launcher *l, struct slot *s, uint64_t deadline_ns);

/* --- resolver.c ------------------------------------------------------- */

/* resolver_open - the directory with the copy of resolv.conf; fd or -errno. */
int resolver_open(struct launcher *l);

/* resolver_open_names - fresh copies of the files that bulkhead-resolve reads,
 * in a directory; fd or -errno. */
int resolver_open_names(struct launcher *l);

/* resolver_changed - something happened to resolv.conf: copy it again. */
void resolver_changed(struct launcher *l);

/* --- notify.c: the service manager and the shell ---------------------- */

/* notify_state - tell the service manager, e.g. "READY=1". */
void notify_state(const char *state);

/* notify_up - everything serves: READY, pid file, end of the foreground. */
void notify_up(struct launcher *l);

/* notify_gone - remove the pid file. */
void notify_gone(struct launcher *l);

/*
 * notify_daemonize - go on in a child of a parent that waits for notify_up.
 * Called before anything else is started. 0 or -errno.
 */
int notify_daemonize(struct launcher *l);

/* notify_pidfile - open and lock it. 0 or -errno (-EAGAIN: held by another). */
int notify_pidfile(struct launcher *l);

/* --- inherit.c -------------------------------------------------------- */

/* inherit_scan - which descriptors were open when we started. */
void inherit_scan(struct launcher *l);

/*
 * inherit_take - one of those, which is then used up. Returns a descriptor
 * that the caller owns; -EPERM after the latch, -EBADF or another -errno with
 * *err.
 */
int inherit_take(struct launcher *l, uint32_t number, struct err *err);

/* inherit_listeners - socket activation (sd_listen_fds(3)). */
void inherit_listeners(struct launcher *l);

/* --- filter.c --------------------------------------------------------- */

/* filter_launcher - our own system-call list. 0 or -errno. */
int filter_launcher(const struct launcher *l);

/* filter_has_cap - is a capability in our effective set? */
bool filter_has_cap(int cap);

/*
 * filter_is_root - can we give children user ids of their own, and end them?
 * Root of a container without these is an ordinary user.
 */
bool filter_is_root(void);

/* filter_caps - keep only the capabilities that the launcher uses. */
int filter_caps(void);

#endif
