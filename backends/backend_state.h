/*
 * backend_state.h - the common program's state, for its own files and tests.
 *
 * A backend type never includes this: it sees backend.h.
 */
#ifndef BACKENDS_BACKEND_STATE_H
#define BACKENDS_BACKEND_STATE_H

#include "backends/backend.h"
#include "backends/backend_offload.h"
#include "proto/launch.h"
#include "proto/loop.h"

#include "gen/types.h"

/* Frames taken from the ring at once; the type may write them with one call. */
#define BACKEND_BATCH_FRAMES 256u
/* Bytes after which a batch from the ring is given to the type. */
#define BACKEND_BATCH_BYTES (128u << 10)

/* Completed frames, and others between them, given to the type at once. */
#define BACKEND_CUT_FRAMES 256u

#define BACKEND_INFO_BYTES 256u

struct chan;

/* Notices: a few at once, then one a second; the rest is only counted. */
struct notice_rate {
	uint64_t since_ns; /* when the present second began */
	uint32_t told;     /* in this second */
	uint64_t swallowed;
};

/* What a nic tells of its guest, the latest of each (backend_reports.c). */
struct backend_reports {
	struct rx_filter filter;
	uint64_t features;
	uint32_t pairs;
	bool filter_due, state_due; /* not told yet */
	bool changed;               /* by a command, and not told yet */
	bool waiting;               /* told; the broker has not taken it */
};

struct backend {
	const struct backend_type *type; /* borrowed, constant */
	void *self;                      /* the type's state, owned */
	struct loop *loop;               /* owned */
	struct watch *launcher;          /* owned: end of file means exit */
	struct chan *control; /* owned; NULL after the broker has gone */

	/* options */
	struct netdev netdev; /* owned copy of what configure brought */
	uint32_t configure_seq;
	uint64_t ring_bytes;
	bool has_reconnect_ms;
	uint32_t reconnect_ms;
	bool configured;
	struct timer *deadline; /* owned: configure must come before it */
	int resource[LAUNCH_RESOURCES]; /* owned until taken; -1 = none */

	/* rings */
	void *own_mem, *peer_mem; /* owned mappings, port_bytes(ring_bytes) */
	struct ring_tx tx;
	struct ring_rx rx;
	int bell;                 /* owned */
	struct watch *bell_watch; /* owned */
	struct again *again;      /* owned: on = another turn at once */
	struct timer *stall;      /* owned: the ring to the lane is full */
	uint64_t stall_cons;      /* how far the lane was when it was set */
	bool full;                /* reserve said 0; room() is due */
	bool stall_told;
	bool bell_due;            /* published, and the lane wants to know */
	uint32_t unflushed_bytes; /* committed since the last publish */

	/* frames for outside: a batch that is not all taken yet */
	struct frame batch[BACKEND_BATCH_FRAMES];
	size_t batch_at, batch_end;
	size_t batch_plain; /* up to here the type takes them as they are */
	unsigned takes;     /* enum offload bits */
	/* Frames in front of batch[batch_at] that the type has not taken yet:
	 * completed ones, and complete ones between them. The last frame taken
	 * up may not be in it as a whole (offload_left). */
	struct frame cut[BACKEND_CUT_FRAMES];
	size_t cut_at, cut_end;
	struct offload_work *offload; /* owned */
	bool blocked;       /* the type took less: backend_more() is due */
	bool pumping;       /* in the type's frames(): no second time */
	uint64_t frames_ns; /* when the ring last had frames */
	uint64_t gap_ns;    /* running average between such times */
	uint64_t
	    looked_ns; /* when an empty ring was last looked at; 0: slept */

	/* what the broker has been told, or will be with `ready` */
	bool ready, connected;
	char peer[ADDR_TEXT_BYTES + 64];
	char info[BACKEND_INFO_BYTES];
	struct notice_rate notices;
	struct backend_reports reports;
	bool link_up;            /* that the guest sees */
	struct timer *reconnect; /* owned: pending while an answer is due */
	unsigned reconnect_index;
};

/* --- backend.c: what the broker says and hears --------------------------- */

/* backend_control_open - take fd as the control channel, say hello. */
int backend_control_open(struct backend *be, int fd, const char *schema_hash);

/* backend_control_ready - answer configure; error NULL: all is well. */
void backend_control_ready(struct backend *be, const char *error);

void backend_control_close(struct backend *be);

/* backend_reports_go - tell what is due, unless something is on its way. */
void backend_reports_go(struct backend *be);

/*
 * backend_end - leave the program: last words, exit code. Frees nothing; the
 * kernel does.
 */
_Noreturn void backend_end(int code, const char *words);

/* --- backend_rings.c: the data path --------------------------------------- */

/*
 * backend_rings_open - take up both memories and the bell.
 *   own_fd, peer_fd  P and L, closed by this; bell is kept
 * Returns 0, or -errno with *err.
 */
int backend_rings_open(
    struct backend *be, int own_fd, int peer_fd, int bell, struct err *err);

/* backend_rings_start - from now on frames flow. */
int backend_rings_start(struct backend *be);

void backend_rings_close(struct backend *be);

/* Counter values, in the order of backend_counters.def. */
void backend_rings_counters(const struct backend *be, uint64_t out[BC_COUNT]);

#endif
