/*
 * lane.h - the lane: moves the frames of one island between ports.
 *
 * A lane executes a plan and decides nothing: a frame that enters by a port
 * leaves by every other port of its group. `struct lane` owns all ports and
 * their mappings; nothing is allocated after lane_new. Runs in bulkhead-lane
 * (and in unit tests, with another clock and without a loop).
 *
 * Back-pressure: a source is held while a receiver of its frame is full and
 * has patience left. Patience is LANE_PATIENCE_NS of holding in total, given
 * back when the receiver has drained half its ring since it was last given.
 * Without patience, frames for that receiver are dropped and counted.
 */
#ifndef BROKER_LANE_H
#define BROKER_LANE_H

#include "broker/lane_arena.h"
#include "gen/types.h"
#include "proto/counter.h"
#include "proto/ring.h"
#include "proto/rx_filter.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

/* As many as the launcher has slots (proto/launch.h, LAUNCH_SLOTS). */
#define LANE_PORTS_MAX 2048u
/* How long a full receiver may hold its sources in total (DESIGN 4). */
#define LANE_PATIENCE_NS UINT64_C(5000000)
/* A port is reported as stalled at most this often. */
#define LANE_SUSPECT_NS UINT64_C(1000000000)
/* Bells in a row that announced nothing, after which a bell is not listened
 * to for LANE_MUTE_NS. Honest peers ring once for each time we armed. */
#define LANE_BELLS_IDLE 64u
#define LANE_MUTE_NS    UINT64_C(1000000)
/* Polling pays when frames come more often than this (performance.md 4.6). */
#define LANE_SPIN_NS UINT64_C(50000)
/* Groups up to this are rung after each batch, larger ones after each turn. */
#define LANE_RING_NOW 4u
/* Longer pauses count as this long in the average. */
#define LANE_GAP_NS_MAX UINT64_C(1000000)
/* Work of one lane_turn: deliveries of one batch to one port, and pauses. */
#define LANE_BUDGET 256u
/*
 * Receivers' rings of a group that are larger than this together do not stay
 * in the caches: then a ring that is drained starts again at its beginning
 * (ring_rewind). Observed with 2 MiB rings, 1514 bytes: lane's time for a
 * delivery with 3 receivers 102 to 136 ns, with 7 124 to 85, with 15 176 to 91.
 */
#define LANE_FOOTPRINT_BYTES (UINT64_C(8) << 20)
/* lane_turn: nothing to do until a bell rings. */
#define LANE_SLEEP UINT64_MAX

struct lane;
struct lane_pick;
struct watch;

/* What a port is waiting for. Each state but OFF and IDLE is a list. */
enum lane_state {
	LP_OFF,     /* not attached or in no plan: its ring is not touched */
	LP_IDLE,    /* empty and armed: waits for its bell */
	LP_READY,   /* has, or may have, frames: waits for its turn */
	LP_RESTING, /* ran empty, not armed yet */
	LP_HELD,    /* its next frame waits for a full receiver */
};

struct port {
	TAILQ_ENTRY(port) entry; /* in the list of its state */
	struct lane *lane;       /* borrowed: the owner */
	uint32_t id;             /* the broker's number */
	uint32_t epoch;
	bool used;     /* this place of the table is taken */
	bool attached; /* memories are mapped, the bell is ours */
	bool planned;
	bool link_up;
	bool drop;    /* flow=drop: no patience at all */
	bool faulted; /* let go by us: the broker's detach is to come */
	bool named;   /* lane_plan: seen in the plan that is being read */
	enum lane_state state;

	int bell;                /* owned, -1 = none */
	void *own_mem;           /* owned mapping of L, writable */
	void *peer_mem;          /* owned mapping of P, read-only */
	size_t mem_bytes;        /* of each mapping */
	struct ring_rx in;       /* frames that the netdev sends into the hub */
	struct ring_tx out;      /* frames that the hub sends to the netdev */
	uint64_t *count;         /* LC_COUNT words: in L, or `away` */
	uint64_t away[LC_COUNT]; /* counted while no memory is attached */
	struct watch *watch;     /* owned by lane_control.c */

	/* The link-up ports of the group, this one too: borrowed slice. */
	struct port **member;
	size_t member_count;
	uint32_t group;

	/* As a receiver. What it wants, borrowed from the lane's `filter`;
	 * NULL: everything. */
	const struct rx_filter *filter;
	struct lane_viewer viewer;
	bool bell_due;          /* it is in the lane's `due` */
	bool holding;           /* somebody is held for this port */
	bool pays;              /* a part of the hold that is being charged */
	size_t limit;           /* frames of the batch that fit, see flood */
	uint64_t patience_ns;   /* left */
	uint64_t hold_since_ns; /* not yet charged from here on */
	uint64_t refill_cons;   /* position when patience was last given */
	uint64_t full_cons;     /* position when it was last seen full */
	uint64_t full_since_ns; /* since when at that position; 0 = never */
	uint64_t suspected_ns;  /* last reported as stalled; 0 = never */
	bool suspected;         /* reported, and not drained since */

	/* Bells. */
	unsigned bells_idle;     /* in a row that announced nothing */
	uint64_t muted_until_ns; /* 0 = listened to */
};

TAILQ_HEAD(lane_list, port);

/* What the lane needs of its surroundings. Any but now_ns may be NULL. */
struct lane_ops {
	/* Monotonic time, never 0. */
	uint64_t (*now_ns)(void);
	/* Give the processor to others while polling; NULL: never poll. */
	void (*yield)(void);
	/* The port's process broke a rule; the port is detached already. */
	void (*fault)(void *self, const struct port *p, const char *reason);
	/* The port drains nothing: its process may hang. */
	void (*stalled)(void *self, const struct port *p);
	/* Listen to the port's bell, or not (also before it is closed). */
	void (*listen)(void *self, struct port *p, bool on);
	/* The port's bell is about to be closed. */
	void (*closing)(void *self, struct port *p);
};

/* The frames of one turn, borrowed from the ring of their source. */
struct lane_batch {
	size_t count;
	size_t record_bytes; /* that the frames take in a ring, at most */
	struct frame frame[BATCH_FRAMES];
	uint64_t mark[BATCH_FRAMES + 1]; /* in.pos before frame i */
};

struct lane {
	const struct lane_ops *ops; /* borrowed */
	void *self;                 /* for ops */
	uint32_t serial;            /* of the plan in force */
	size_t port_count;          /* places of `port` ever taken */
	struct port *port;          /* owned, LANE_PORTS_MAX */
	struct port **member;       /* owned, LANE_PORTS_MAX */
	struct port **due;          /* owned, LANE_PORTS_MAX: bells to ring */
	size_t due_count;
	struct rx_filter *filter; /* owned, LANE_PORTS_MAX: of each place */
	struct lane_pick *pick;   /* owned: see lane_filter.h */
	struct lane_list ready, resting, held;
	uint64_t footprint_bytes; /* LANE_FOOTPRINT_BYTES; tests set it */
	uint64_t now_ns;          /* of this turn */
	uint64_t alarm_ns;        /* first hold or mute to end; LANE_SLEEP */
	size_t alarm_count;  /* ports that hold, and ports that are muted */
	uint64_t emptied_ns; /* when the last port ran empty; 0 = not */
	uint64_t gap_ns;     /* average time from there to the next frame */
	struct lane_batch batch;
	struct lane_arena arena;
};

/* lane_new - an empty lane; NULL: out of memory. */
struct lane *lane_new(const struct lane_ops *ops, void *self);
void lane_free(struct lane *l);

/* The port of that number, or NULL. */
struct port *lane_port_find(struct lane *l, uint32_t id);

/* What attach needs; the descriptors are taken. */
struct lane_grant {
	uint32_t port, epoch;
	uint64_t ring_bytes;
	int peer, own, bell;
};

/*
 * lane_attach - take up a port at its published positions. The descriptors
 * are closed on every path. Returns 0, or -EINVAL when a memory has not the
 * size or the seals it must have (then the port stays away), or -ENOSPC.
 */
int lane_attach(struct lane *l, const struct lane_grant *g);

/*
 * lane_detach - let go of a port and tell its counters. With `dead`, what its
 * process did not read becomes rx-drop-dead. A port that is away, or another
 * epoch of it, answers with what was counted for it (zeroes).
 */
void lane_detach(struct lane *l, uint32_t port, uint32_t epoch, bool dead,
    uint64_t counters[LC_COUNT]);

/* lane_plan - swap the plan. Ports that are not in it are left alone. Returns
 * 0; -EINVAL (a port twice) or -ENOSPC: the old plan stays in force. */
int lane_plan(struct lane *l, uint32_t serial, const struct plan_port *ports,
    size_t count);

/* lane_bell - the bell of an attached port can be read. Call lane_turn after.
 */
void lane_bell(struct lane *l, struct port *p);

/*
 * lane_turn - a bounded amount of work. Returns in how many nanoseconds it
 * must be called again even if nothing happens: 0 = at once, LANE_SLEEP =
 * not before a bell, a message or a plan.
 */
uint64_t lane_turn(struct lane *l);

/* --- between the lane's own files ---------------------------------------- */

/* Move a port to another state. */
void lane_port_state(struct port *p, enum lane_state state);

/* The port of that number, made if need be; NULL: no place is left. */
struct port *lane_port_take(struct lane *l, uint32_t id);

/* Let go of the port and report it. `reason`: bell, tx-ring, rx-ring. */
void lane_port_fault(struct port *p, const char *reason);

/* Ring towards the port's process, counted. */
void lane_port_ring(struct port *p);

/*
 * lane_port_ring_soon - the same, in a large group at the end of the turn: who
 * is woken then finds more frames. Waking many readers costs more than their
 * frames do.
 */
void lane_port_ring_soon(struct port *p);

/* Ring for those who wait for it since lane_port_ring_soon(). */
void lane_ring_due(struct lane *l);

/* lane_turn must be called at `when_ns` at the latest. */
void lane_alarm_at(struct lane *l, uint64_t when_ns);

/* One hold or mute is over. */
void lane_alarm_off(struct lane *l);

/* Listen to the port's bell again. */
void lane_port_unmute(struct port *p);

/*
 * lane_flood - deliver the front of l->batch from `source` to its group.
 * Returns how many frames are done with; *held = the next one must wait for a
 * receiver.
 */
size_t lane_flood(struct lane *l, struct port *source, bool *held);

/* The port was attached: it is believed to drain. -EPROTO: it lies already. */
int lane_patience_reset(struct port *p);

/*
 * lane_patience_look - the port is full: read how far it got, judge it.
 * Returns whether others wait for it. May fault the port.
 */
bool lane_patience_look(struct port *p);

/* A source waits for p from now on; false: p has room after all. */
bool lane_hold_begin(struct port *p);

/* Did p drain enough, or lose patience? Then those who wait for it go on. */
void lane_hold_look(struct port *p);

/* Nobody is held for p any more; charge it. */
void lane_hold_end(struct port *p);

/* When the patience of a port that is holding ends. */
uint64_t lane_hold_ends_ns(const struct port *p);

#endif
