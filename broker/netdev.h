/*
 * netdev.h - the life of a netdev: its resources, its backend process, its
 * port, from netdev_add to netdev_del, through any number of deaths.
 *
 * `struct netdevs` owns all records; a record frees itself when its life is
 * over. What the graph knows of a netdev is the core's business, which is
 * told by netdevs_ops. Runs in the broker.
 */
#ifndef BROKER_NETDEV_H
#define BROKER_NETDEV_H

#include "broker/backoff.h"
#include "broker/control.h"
#include "broker/core.h"
#include "broker/graph.h"
#include "broker/lookup.h"
#include "broker/resources.h"
#include "gen/backends.h"
#include "proto/counter.h"

#include <sys/queue.h>

struct chardevs;
struct islands;
struct launch_client;
struct life;
struct loop;
struct nic;
struct port;
struct timer;

/* Where in its life a netdev is; rules in netdev.c. */
enum life_state {
	ND_NEW,
	ND_OPENING,  /* the launcher opens its resources */
	ND_SPAWNING, /* the launcher starts its process */
	ND_HELLO,
	ND_CONFIGURING, /* waits for `ready`, and for the attestation */
	ND_ATTACHING,   /* its port is on its way into a lane */
	ND_RUNNING,
	ND_LEAVING,  /* deleted: its port is on its way out */
	ND_STOPPING, /* deleted: its process ends in order */
	ND_ABORTING, /* hangs: SIGABRT was sent */
	ND_FADING,   /* its channel or bell ended: it has died, or will */
	ND_DYING,    /* SIGKILL was sent */
	ND_DEAD,     /* no process; its rings are being counted */
	ND_BACKOFF,
	ND_HELD, /* in quarantine */
	ND_RELEASING,
	ND_GONE,
	ND_STATES
};

enum life_event {
	EV_START,
	EV_OPENED,
	EV_REFUSED,
	EV_SPAWNED,
	EV_HELLO,
	EV_READY,
	EV_ATTACHED,
	EV_FAULT,
	EV_LOST,
	EV_HUNG,
	EV_EXIT,
	EV_TIMER,
	EV_AWAY,
	EV_AGAIN,
	EV_HOLD,
	EV_LEAVE,
	EV_DEL,
	EV_RESUME,
	EV_RELEASED,
	EV_COUNT
};

/* Told to the core. */
struct netdevs_ops {
	/* It has rings: its port belongs in the plans. 0, or -errno with *e. */
	int (*attaching)(void *self, struct life *nd, struct err *e);
	/* It has answered for the first time: others may connect to it. */
	void (*up)(void *self, struct life *nd);
	/* It will not come up: out of the plans, but the id stays taken. */
	void (*failed)(void *self, struct life *nd);
	/* Operational state. */
	void (*connected)(void *self, struct life *nd, bool connected);
	/* Nothing is left of it; the record goes after this. */
	void (*gone)(void *self, struct life *nd);
};

struct netdevs {
	struct loop *loop; /* borrowed, as the next two */
	struct launch_client *launch;
	struct islands *islands;
	struct chardevs *chardevs; /* borrowed */
	struct lookups lookups;
	const struct netdevs_ops *ops;
	void *self;
	const char *run_dir;   /* borrowed; NULL: not known */
	const char *start_dir; /* borrowed; NULL: not known */
	bool start_phase;      /* descriptor numbers are the operator's */
	TAILQ_HEAD(, life) list;
};

#define LIFE_TEXT_BYTES 256

/* The record of one netdev. */
struct life {
	TAILQ_ENTRY(life) entry;
	struct netdevs *all;
	struct netdev options;            /* owned */
	const struct backend_entry *type; /* borrowed, constant */
	struct resources resources;       /* owned */
	size_t opening;                   /* open requests without answer */
	uint64_t ring_bytes;
	uint32_t slot, epoch;
	struct port *port; /* owned */
	struct nic *nic;   /* owned; NULL: no network card */
	enum life_state state;
	bool wanted;    /* false: deleted, or its first start has failed */
	bool served;    /* it has run: netdev_add is answered, or waits for */
	bool wait_peer; /* ... the first peer */
	bool attested, ready;
	bool killed;    /* by us; then `fault` says why */
	bool abandoned; /* ... and not ended: it hangs in the kernel */
	bool connected;
	bool told_connected;     /* the last event about that said so */
	bool returning;          /* has run before and does not now */
	struct control *control; /* owned; NULL: no process that we hear */
	struct timer *timer;     /* owned: the deadline of the state */
	struct backoff backoff;
	uint32_t ask; /* spawn or release request */
	uint32_t restarts;
	uint64_t since_ns, died_ns; /* monotonic */
	uint64_t dead_seen;         /* rx-drop-dead that was told before */
	struct control_ask drops;   /* BACKEND_RESTARTED waits for it */
	uint64_t outage_ns;
	uint64_t second_ns; /* begin of the second that is being limited */
	unsigned reconnects, notices, connects, troubles; /* in that second */
	uint32_t reconnect_seq; /* the question being worked on */
	uint32_t reconnect_ask;
	uint32_t reconnect_index;
	int64_t reconnect_number;     /* ... of a switch's socket, -1: none */
	struct launch_result process; /* as attested */
	struct launch_result last;    /* how this one ended */
	struct launch_result before;  /* how the one before it did */
	char fault[LIFE_TEXT_BYTES];  /* why we killed it, "" = we did not */
	char fault_before[LIFE_TEXT_BYTES];
	char info[LIFE_TEXT_BYTES]; /* what the backend says of itself */
	char peer[LIFE_TEXT_BYTES];
	struct err error;         /* why the first start failed */
	core_done added, deleted; /* who waits, or NULL */
	void *added_self, *deleted_self;
	/* Counters as gathered last (broker/query.c). */
	struct control_ask lane_ask, backend_ask;
	bool has_lane_counters, has_backend_counters;
	uint64_t lane_counters[LC_COUNT];
	uint64_t backend_counters[BC_COUNT];
};

/*
 * netdev_new - a record in ND_NEW, with a slot, a port and planned resources.
 * NULL with *e: the options are refused, or there is no room.
 */
struct life *netdev_new(
    struct netdevs *all, const struct netdev *options, struct err *e);

/* netdev_type_check - can this build make that type? 0 or -ENOTSUP, *e. */
int netdev_type_check(enum net_client_driver type, struct err *e);

/* netdev_discard - undo netdev_new(); nothing has started. */
void netdev_discard(struct life *nd);

/* netdev_start - begin. `added` is called when it runs, or when it has failed
 * and everything is undone. */
void netdev_start(struct life *nd, core_done added, void *self);

/* netdev_del - end it. `deleted` is called when nothing is left. */
void netdev_del(struct life *nd, core_done deleted, void *self);

/* netdev_resume - end a quarantine, or a wait. Nothing otherwise. */
void netdev_resume(struct life *nd);

struct life *netdev_by_id(const struct netdevs *all, const char *id);

/* Forget everything at once, for the end of the process. */
void netdevs_fini(struct netdevs *all);

/* As query-netdevs tells it. */
enum netdev_state life_public_state(const struct life *nd);

const char *life_state_name(enum life_state state);

/* The rule table, for the test that compares it with the list on paper. */
bool life_rule(
    enum life_state from, enum life_event event, enum life_state *to);

/* --- between netdev*.c ------------------------------------------------------
 */

/* life_step - the one door to a new state. */
void life_step(struct life *nd, enum life_event event);
bool life_may(const struct life *nd, enum life_event event);

/* life_lost - it seems to have died: the launcher will say how. */
void life_lost(struct life *nd, const char *reason);

/* life_fault - the process lied, hangs or cannot be used: kill it. */
void life_fault(struct life *nd, const char *reason);

/* life_drop_control - hear its process no more. */
void life_drop_control(struct life *nd);

/* netdev_new.c: free the record and all that it owns. */
void life_free(struct life *nd);

/* netdev_start.c: acts of the way up. */
void life_open(struct life *nd);
void life_reopen(struct life *nd);
void life_spawn(struct life *nd);
void life_configure(struct life *nd);
void life_forget_asks(struct life *nd);
extern const struct slot_ops life_slot_ops;

/* netdev.c: netdev_add is answered, unless it waits for the first peer. */
void life_answer(struct life *nd);

/* netdev_talk.c: what the backend says. */
extern const struct control_ops life_control_ops;
void life_set_connected(struct life *nd, bool connected, const char *peer);

/* netdev_news.c: log lines and events. */
void news_exited(struct life *nd, uint64_t ran_ns);
void news_held(struct life *nd);
void news_restarted(struct life *nd);
void news_restarted_cancel(struct life *nd);
void news_notice(struct life *nd, const char *kind, const char *text);
void news_connected(struct life *nd);
const char *news_cause(const struct launch_result *r, const char *fault,
    char buf[LIFE_TEXT_BYTES]);

/* text_clean - a bounded copy without control bytes and broken UTF-8. */
void text_clean(char *to, size_t size, const char *from);

#endif
