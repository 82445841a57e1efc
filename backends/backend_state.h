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
/* The same while there is an arena: they may be sent without being read. */
#define BACKEND_ARENA_BYTES (512u << 10)

/* Completed frames, and others between them, given to the type at once. */
#define BACKEND_CUT_FRAMES 256u

#define BACKEND_INFO_BYTES 256u

struct chan;
struct cross_counts;

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

/*
 * One way to other ports: two memories, the rings in them, a bell. The other
 * end is the lane, or the backend at the other end of a crossover.
 */
struct rail {
	void *own_mem, *peer_mem;     /* owned mappings; NULL: not open */
	size_t own_bytes, peer_bytes; /* of each direction's data */
	struct ring_tx tx;
	struct ring_rx rx;
	int bell;            /* owned */
	struct watch *watch; /* owned: the bell's */
};

/* Where a crossover is in its life; backend_cross.c has the theory. */
enum cross_state {
	CROSS_NONE,
	CROSS_JOINING, /* the other is not there yet: output goes to the lane */
	CROSS_OPENING, /* it goes here, behind what the lane still has */
	CROSS_ON,
	CROSS_LEFT,   /* output goes to the lane again; input is open */
	CROSS_ENDING, /* input has an end; some was not read yet */
};

/* The crossover to the other port of our island, if there is one. */
struct crossing {
	enum cross_state state;
	uint32_t serial; /* the broker's number for it */
	struct rail rail;
	bool ready; /* we told the other that we are */
	bool open;  /* the other said that all before it is in the lane's
		     * ring, where it stood at: */
	uint64_t lane_end;
	bool leaving; /* as soon as ours is open; then the broker waits for */
	uint32_t uncross_seq;
	bool ended;      /* nothing behind `end` will be read */
	uint64_t end;    /* position of rail.rx */
	bool other_dead; /* what it has not read, it never will */
	uint64_t sent_frames, sent_bytes;
	uint64_t taken_frames, taken_bytes;
	unsigned bells_idle;           /* in a row, that announced nothing */
	uint64_t bell_prod, bell_cons; /* the other's, at the last bell */
};

/* An arena that frames for outside may be in; its mapping is in the view of
 * the same index of `arenas`. */
struct arena_view {
	bool open;
	int fd; /* owned: for sending without reading */
	bool closing;
	uint64_t end; /* of lane.rx: behind it no reference leads there */
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
	struct rail lane;
	struct crossing cross;
	struct ring_arenas arenas; /* owned mappings */
	struct {
		struct arena_view view[RING_ARENAS];
		bool closing; /* one of them is */
	} arena;
	struct rail *out;    /* where frames from outside go: one of the two */
	struct rail *in;     /* where the batch is from: the same */
	bool moved;          /* out is another, or the end may be near: look */
	struct again *again; /* owned: on = another turn at once */
	struct timer *stall; /* owned: out is full */
	uint64_t stall_cons; /* how far its reader was when it was set */
	bool full;           /* reserve said 0; room() is due */
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

/* --- between backend_rings.c and backend_cross.c -------------------------- */

/*
 * rail_open - map and take up both memories, listen to the bell. Takes the
 * descriptors, also when it fails. 0 or -errno.
 */
int rail_open(struct backend *be, struct rail *r, int own_fd, int peer_fd,
    int bell, void (*rung)(void *self, unsigned events));
void rail_close(struct rail *r);

/* rings_look - a bell rang: is there room, are there frames? */
void rings_look(struct backend *be);

/* rings_fault - who is at the other end of `r` has lied. Does not return if
 * that is the lane. */
void rings_fault(struct backend *be, struct rail *r, const char *what);

/* Positions are multiples of 8. */
#define RAIL_NO_END 1u

/*
 * backend_cross_rail - where the next batch comes from, and before which
 * position it must stop, RAIL_NO_END: nowhere. Not in CROSS_NONE.
 */
struct rail *backend_cross_rail(struct backend *be, uint64_t *end);

/* backend_cross_taken - a batch came out of it. */
void backend_cross_taken(struct backend *be, size_t frames, size_t bytes);

/* backend_cross_arm - ring its bell when there is something; true: there is. */
bool backend_cross_arm(struct backend *be);

/* backend_cross_look - go on to the next state if that can be now. */
void backend_cross_look(struct backend *be);

/* backend_cross_fault - the other end has lied: read and send no more. */
void backend_cross_fault(struct backend *be, const char *what);

/* backend_cross_stalled - the other end has not drained it for too long. */
void backend_cross_stalled(struct backend *be);

/* The numbers for the broker, if there is a crossover. */
bool backend_cross_counts(const struct backend *be, struct cross_counts *out);

void backend_cross_close(struct backend *be);

/* --- backend_arena.c ------------------------------------------------------ */

/* Is there one? */
static inline bool
backend_arena_any(const struct backend *be)
{
	return be->arenas.view[0].base || be->arenas.view[1].base;
}

/* backend_arena_tidy - let go of those that are closing and read to the end. */
void backend_arena_tidy(struct backend *be);
void backend_arena_close(struct backend *be);

#endif
