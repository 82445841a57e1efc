/*
 * launch.h - what the launcher hears and says: one fixed-size struct.
 *
 * The launcher is the trusted base: it parses no JSON, no msgpack and no
 * packet, only this. One datagram = one struct launch_msg, with a number of
 * descriptors fixed by its type. Anything else ends the sender's process.
 *
 * A *slot* is one place for a process and for what it owns: its resources,
 * the memories of its port, its control channel. Slot 0 is the broker.
 * A slot that has had no process since it was released last can be a
 * chardev's: its resource 0 is lent, by kind CHARDEV, to one other slot at a
 * time until that is released. Of a listener or a passed descriptor a copy is
 * handed over; of a connection itself, and a fresh one each time after that.
 * Who sends what: B broker, L launcher, C any other child (on descriptor 3).
 */
#ifndef PROTO_LAUNCH_H
#define PROTO_LAUNCH_H

#include "proto/addr.h"

#include <stdint.h>

#define LAUNCH_MAGIC     0x424b4831u /* "BKH1" */
#define LAUNCH_SLOTS     2048u
#define LAUNCH_RESOURCES 16u /* per slot */
#define LAUNCH_PATH      1024u
#define LAUNCH_TEXT      256u
#define LAUNCH_NAME      32u /* of an interface; the kernel's end at 15 */
/* MEMORY: bytes */
#define LAUNCH_MEMORY_BYTES 0x40000u

/* Fixed descriptor numbers of every child. */
enum {
	FD_LAUNCHER = 3,  /* struct launch_msg, READY and FAILED only */
	FD_CONTROL = 4,   /* msgpack; not in the broker */
	FD_PORT_OWN = 5,  /* P, read-write; backends only, as the next two */
	FD_PORT_PEER = 6, /* L, read-only */
	FD_PORT_BELL = 7,
	FD_RESOURCE = 8, /* the slot's resources in order of their index */
};

/* Resource kinds, RES_TCP_LISTEN and so on. */
enum resource_kind {
	RES_NONE,
#define RESOURCE(id, name, doc) RES_##id,
#include "proto/resource.def"
#undef RESOURCE
	RES_COUNT
};

enum launch_type {
	LAUNCH_NONE,
	/* B: open resource `open.index` of `slot`, keep it. L answers OPENED.
	 * RES_FD or RES_FILE_CREATE with a descriptor attached: keep that. */
	LAUNCH_OPEN,
	/* B: give us the descriptor `open.number`, which was inherited at
	 * start; before the latch. L answers TAKEN. */
	LAUNCH_TAKE,
	/* B: start role `spawn.role` in `slot`. L answers SPAWNED, then
	 * ATTESTED or EXITED. */
	LAUNCH_SPAWN,
	/* B: send `stop.signo` to the process of `slot` if its epoch is that */
	LAUNCH_STOP,
	/* B: forget the slot: kill, close, unlink what was made for it.
	 * L answers RELEASED when nothing of it is left. */
	LAUNCH_RELEASE,
	/* B: the lane's descriptors of the port in `slot`. L answers PORT. */
	LAUNCH_PORT_ASK,
	/* B: fresh memories and a bell between the backends of `slot` and of
	 * `cross.other`. L answers CROSSED and keeps nothing. */
	LAUNCH_CROSS,
	/* B: a fresh arena (proto/arena.h) for the lane of `slot`. L answers
	 * ARENA_MADE and keeps nothing. */
	LAUNCH_ARENA,
	/* B: the start phase is over. L answers LATCHED with the listeners. */
	LAUNCH_LATCH,
	/* B: everything of the start configuration is up (sd_notify, fork) */
	LAUNCH_UP,
	/* B: end everything, exit with `code`. */
	LAUNCH_QUIT,
	/* L: */
	LAUNCH_OPENED,   /* result; 1 descriptor when open.give was asked */
	LAUNCH_TAKEN,    /* result; 1 descriptor */
	LAUNCH_SPAWNED,  /* result, pid, epoch; 1 descriptor: control */
	LAUNCH_ATTESTED, /* the child said ready and /proc agrees: layers */
	LAUNCH_EXITED,   /* how it ended, after how long, last words */
	LAUNCH_RELEASED,
	LAUNCH_PORT,       /* 3 descriptors: P read-only, L read-write, bell */
	LAUNCH_CROSSED,    /* 6 descriptors: its own memory, read-write, the
			    * other's, read-only, and a bell, first of `slot` */
	LAUNCH_ARENA_MADE, /* 2 descriptors: read-write, read-only */
	LAUNCH_LATCHED,    /* `code` = number of listeners that follow */
	LAUNCH_LISTENER,  /* 1 descriptor: a QMP listening socket; text: name */
	LAUNCH_SIGNALLED, /* the launcher got signal `code` (TERM, INT): end */
	/* C: */
	LAUNCH_READY,  /* stage 4 is done */
	LAUNCH_FAILED, /* stage, errno, text (or last words) */
	LAUNCH_TYPES
};

/* What a process runs as. Numbers from 16 are backend types in the order of
 * backends/backends.def: ROLE_BACKEND + index. */
enum launch_role {
	ROLE_LAUNCHER = 0,
	ROLE_BROKER = 1,
	ROLE_LANE = 2,
	ROLE_RESOLVE = 3, /* looks up what LOOKUP, resource 0, names */
	ROLE_BACKEND = 16,
};

/* Layers of confinement, as bits; names in layers.def order. */
enum layer {
#define LAYER(id, name, doc) LAYER_##id,
#include "proto/layers.def"
#undef LAYER
	LAYER_COUNT
};

/* TAP, TAP_FD: queue q is resource q; the scripts' resources are behind them.
 */
#define TAP_QUEUES_MAX 8u
#define TAP_SCRIPT     TAP_QUEUES_MAX
#define TAP_DOWNSCRIPT (TAP_QUEUES_MAX + 1)

/* TAP: bits of launch_open.number. */
enum {
	LAUNCH_TAP_QUEUES = 1, /* several queues: IFF_MULTI_QUEUE */
	LAUNCH_TAP_HDR = 2,    /* headers with offloads: or refuse */
	LAUNCH_TAP_NO_HDR = 4, /* none */
};

/*
 * VDE_DATA: launch_open.number is 0 for a fresh socket, else the name of the
 * switch's socket to which the slot's is to be connected: "PPP.F" as vde_switch
 * names it, or with the port LAUNCH_VDE_NO_PORT "fdF" as VDEPlug's hubs do.
 */
enum {
	LAUNCH_VDE_PORT_SHIFT = 16,
	LAUNCH_VDE_NO_PORT = 0xffff,
	LAUNCH_VDE_FD_MASK = 0xffff,
};

struct launch_open {
	uint32_t index;  /* which resource of the slot, < LAUNCH_RESOURCES */
	uint32_t kind;   /* enum resource_kind */
	uint32_t give;   /* send a copy of the descriptor with the answer */
	uint32_t again;  /* replace what the slot had: same arguments only;
			  * STREAM_CONNECT with others: policy decides anew */
	uint32_t number; /* FD, TAP_FD: inherited descriptor number;
			  * CHARDEV: the slot that keeps it; TAP: LAUNCH_TAP_*;
			  * LOOKUP: AF_UNSPEC, AF_INET or AF_INET6 */
	uint32_t udp;    /* PERMIT_LISTEN: UDP instead of TCP */
	uint32_t qmp;    /* STREAM_LISTEN: a QMP endpoint, given at LATCH */
	struct addr local, remote;
	uint32_t mode;   /* VDE_DATA: permissions of its name; 0: 0700 */
	uint32_t group;  /* VDE_DATA: its group, plus one; 0: as it comes */
	uint64_t sndbuf; /* TAP, TAP_FD: bytes; 0: as many as there are */
	char name[LAUNCH_NAME]; /* TAP: interface; BRIDGE: bridge; or "" */
	/* SCRIPT, DOWNSCRIPT, BRIDGE: the program, "" the usual one.
	 * FILE_CREATE, DIRECTORY; CHARDEV: its name, for people; LOOKUP: the
	 * host's name. Ends in NUL */
	char path[LAUNCH_PATH];
};

struct launch_spawn {
	uint32_t role;
	uint32_t epoch;
	uint64_t ring_bytes; /* of each direction; backends only */
	char id[64];         /* netdev id, for the child's log lines */
};

struct launch_cross {
	uint32_t epoch; /* of the process in `slot` */
	uint32_t other; /* slot */
	uint32_t other_epoch;
};

struct launch_arena {
	uint64_t bytes;
	uint32_t epoch; /* of the process in `slot` */
};

struct launch_result {
	int32_t error; /* 0 or -errno; -EPERM with text = policy's refusal */
	int32_t pid;
	uint32_t uid;
	uint32_t epoch;
	uint64_t layers;     /* ATTESTED: bit per enum layer in force */
	uint64_t missing;    /* ATTESTED: bit per layer wanted and not there */
	int32_t wait_code;   /* EXITED: CLD_EXITED, CLD_KILLED, CLD_DUMPED */
	int32_t wait_status; /* exit code or signal */
	uint64_t ran_ns;
	uint32_t stage; /* FAILED: enum confine_stage */
	int32_t code;   /* QUIT, LATCHED, SIGNALLED */
	char text[LAUNCH_TEXT];
};

struct launch_msg {
	uint32_t magic;
	uint32_t type; /* enum launch_type */
	uint32_t seq;  /* chosen by the asker, repeated in the answer */
	uint32_t slot;
	union {
		struct launch_open open;
		struct launch_spawn spawn;
		struct launch_cross cross;
		struct launch_arena arena;
		struct {
			uint32_t epoch;
			uint32_t signo;
		} stop;
		struct launch_result result;
	};
};

/* Resource kind's schema name and back; NULL / RES_NONE when unknown. */
const char *resource_name(enum resource_kind kind);
enum resource_kind resource_kind_of(const char *name);
const char *layer_name(enum layer layer);

#endif
