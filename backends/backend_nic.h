/*
 * backend_nic.h - a virtual machine's network card: its parts, for nic.c and
 * backend_nic_*.c.
 *
 * One process, one VM: this struct is all there is. It owns the device (whose
 * vhost_queue structs are borrowed by queues while these run) and what it
 * knows of itself (net_ctrl).
 */
#ifndef BACKENDS_BACKEND_NIC_H
#define BACKENDS_BACKEND_NIC_H

#include "backends/backend.h"
#include "backends/backend_net_ctrl.h"
#include "backends/backend_vhost_dev.h"

struct net_legacy_nic_options;

/*
 * Chains popped at once. Also the most that one large frame may take: the
 * longest in Linux's smallest mergeable buffers (1536 bytes) needs 46.
 */
#define NIC_AHEAD 64u
/* Room for one chain of any shape behind NIC_AHEAD usual ones. */
#define NIC_SEGMENTS (4u * NIC_AHEAD + VIRTQ_SEGMENTS_MAX)
/* Chains returned to the guest between two looks at whether it sleeps. */
#define NIC_FLUSH 32u

/*
 * Transmitted chains, and the time, for which the guest can wait to be
 * interrupted. The same for frames of NIC_LONG bytes that it receives, behind
 * NIC_LONG_RUN of them without a shorter one. See backend_nic_queue.c.
 */
#define NIC_OWED     6u
#define NIC_OWED_NS  UINT64_C(500000)
#define NIC_LONG     16384u
#define NIC_LONG_RUN 16u

/* A chain that was popped: what is needed of it. */
struct nic_buffer {
	uint32_t first, count; /* segments */
	uint32_t bytes;
	uint16_t id, slots; /* for virtq_push */
};

/* One receive or transmit queue. */
struct nic_queue {
	struct vhost_queue *vq; /* borrowed; NULL: does not run */
	unsigned at, end;       /* of `ahead`: popped, neither pushed nor given
				 * back. Empty between two calls. */
	unsigned segments;      /* used of `segment` */
	unsigned pushed;        /* since the last flush */
	unsigned owed;          /* chains, of receive queues frames, shown
				 * since the guest ought to have been
				 * interrupted */
	/* receive: */
	unsigned given;    /* frames since the last flush; one of them: */
	bool hurry;        /* ... the guest waits for it */
	unsigned long_run; /* long ones in a row */
	struct nic_buffer ahead[NIC_AHEAD];
	struct virtq_segment segment[NIC_SEGMENTS];
};

/* When is looking again better than sleeping? For backend_pace.h. */
struct nic_pace {
	uint64_t frames_ns; /* when there last were frames */
	uint64_t gap_ns;    /* running average between such times */
	uint64_t looked_ns; /* when it last was in vain; 0: slept since */
};

/* In the memory that outlives us. Zeroed at first; then as the process before
 * us left it, which is not to be believed. */
struct nic_kept {
	uint64_t connection; /* inode of the last that was given to us */
	struct virtq_mark mark[VHOST_QUEUES_MAX];
};

struct nic {
	struct backend *be;                        /* borrowed */
	const struct net_legacy_nic_options *opts; /* borrowed */
	struct net_ctrl ctrl;
	struct vhost_dev_ops ops; /* with what this card offers */
	struct vhost_dev dev;
	struct nic_kept *kept; /* owned mapping */

	/* connection */
	int socket; /* owned: listens, or is given or connecting; -1 */
	bool listens;
	struct watch *socket_watch; /* owned */
	struct timer *retry;        /* owned: next try to connect or accept */
	uint32_t retry_ms;
	uint64_t since_ns;   /* of the connection */
	unsigned shortlived; /* connections in a row */
	unsigned connections;
	bool announce_due; /* once its queues run */

	/* queues */
	uint64_t runs;               /* bit per vhost queue */
	struct vhost_queue *ctrl_vq; /* borrowed; NULL: does not run */
	struct nic_queue *rx[NET_PAIRS_MAX], *tx[NET_PAIRS_MAX]; /* owned */
	struct nic_queue *rx_live[NET_PAIRS_MAX]; /* that may have frames */
	unsigned rx_count;
	struct nic_queue *tx_live[NET_PAIRS_MAX]; /* that are consumed */
	unsigned tx_count;
	unsigned tx_turn; /* whose turn it is */
	bool tx_armed;    /* their kicks may have been asked for */

	/* the data path; of what the driver acked */
	unsigned head_bytes; /* of the header before each frame */
	bool mergeable;
	bool small_buffers; /* large frames did not fit without mergeable */
	unsigned takes;     /* enum offload bits, as told */

	/* turns */
	struct again *again; /* owned: on = another turn at once */
	bool tx_full;        /* the ring to the lane is: room() is due */
	bool ctrl_more;      /* commands are left for the next turn */
	bool rx_blocked;     /* frames() took less: a kick is due */
	bool rx_retry;       /* but need not wait any more */
	bool rx_looks;       /* and is looked at instead of waiting */
	bool rx_stuck;       /* the frame at the front never fits */
	uint64_t rx_frames, rx_bytes; /* delivered and not yet counted */
	struct timer *stuck;          /* owned: for how long it did not fit */
	struct timer *owed;           /* owned: interrupts that are owed */
	struct nic_pace pace;         /* of the guest's frames */
	struct nic_pace rx_pace;      /* of those for it */
	struct virtq_chain chain;     /* what was just popped */
};

/* --- backend_nic_options.c ------------------------------------------------ */

/* nic_config - what the options say. 0 or -EINVAL with *err. */
int nic_config(const struct net_legacy_nic_options *o,
    struct net_ctrl_config *c, struct err *err);

/* The model as it is shown, if it was not said. */
extern const char nic_model_usual[];

/* --- backend_nic_queue.c -------------------------------------------------- */

/*
 * nic_queue_fill - pop until `want` chains are there; `in`: to be written by
 * us. True: there are more than before. A driver that broke the rules shows in
 * nic_queue_done.
 */
bool nic_queue_fill(struct nic *n, struct nic_queue *q, unsigned want, bool in);

/* Nothing more can be popped before something was pushed. */
bool nic_queue_is_full(const struct nic_queue *q);

/* nic_queue_push - return the first chain, `written` bytes of it written. */
static inline void
nic_queue_push(struct nic_queue *q, uint32_t written)
{
	const struct nic_buffer *b = &q->ahead[q->at++];

	virtq_push(&q->vq->q, b->id, b->slots, written);
	q->pushed++;
}

/* nic_queue_break - its driver broke a rule; nic_queue_done ends it. */
void nic_queue_break(struct nic_queue *q, const char *why);

/* nic_queue_show - show what was pushed, interrupt the guest: at once, or when
 * more was sent or NIC_OWED_NS have passed. */
void nic_queue_show(struct nic *n, struct nic_queue *q);

/* nic_queue_gave - a frame of `len` bytes is among what was pushed. */
void nic_queue_gave(struct nic_queue *q, uint32_t len);

/* nic_queue_call - interrupt the guest for what was shown, if that is owed. */
void nic_queue_call(struct nic_queue *q);

/* nic_queue_done - give back what is left, show what was pushed, end a broken
 * queue (q is not to be touched after it). */
void nic_queue_done(struct nic *n, struct nic_queue *q);

/* nic_queue_broken - end a broken queue, and say it once. */
void nic_queue_broken(struct nic *n, struct vhost_queue *vq);

/*
 * nic_sort_queues - which of the running queues does what, after anything that
 * decides it has changed. Frees and makes nothing.
 */
void nic_sort_queues(struct nic *n);

/* --- backend_nic_tx.c ----------------------------------------------------- */

/* nic_tx_turn - a bounded number of frames from the guest to the lane. True:
 * there were some, and there may be more. */
bool nic_tx_turn(struct nic *n);

/* Is there no room for the guest's frames? Without link they need none. */
static inline bool
nic_tx_waits(const struct nic *n)
{
	return n->tx_full && n->ctrl.link_up;
}

/* --- backend_nic_rx.c ----------------------------------------------------- */

size_t nic_rx_frames(struct nic *n, const struct frame *f, size_t count);

/* nic_rx_retry - a blocked frame may fit now, or need not fit any more. */
void nic_rx_retry(struct nic *n);

/* --- backend_nic_ctrl.c --------------------------------------------------- */

/* nic_ctrl_serve - obey commands; a flood of them in several turns. */
void nic_ctrl_serve(struct nic *n);

/* nic_agreed - what the driver acked, or the offloads in force, have changed:
 * header, offloads, queues. `told` to the broker, too. */
void nic_agreed(struct nic *n, bool told);

/*
 * nic_hears_pairs - is ctrl.pairs what the driver wants? Not where MQ and the
 * control queue were agreed to and this queue is not given to us: then the
 * front-end serves it (cloud-hypervisor) and keeps to itself what it hears.
 */
bool nic_hears_pairs(const struct nic *n);

/* nic_pairs - how many pairs are taken from, as far as is known. */
unsigned nic_pairs(const struct nic *n);

/* nic_tell_state - to the broker: what was agreed, and pairs. */
void nic_tell_state(struct nic *n);

/* nic_info - what query-netdevs shows. */
void nic_info(struct nic *n);

/* nic_announce - have the driver tell the network where it is, if it can. */
void nic_announce(struct nic *n);

/* nic_rarp - tell the network that `mac` is here (SEND_RARP). */
void nic_rarp(struct nic *n, const uint8_t mac[6]);

/* nic_as_new - as a driver finds it: nothing agreed, nothing set. */
void nic_as_new(struct nic *n);

/* --- backend_nic_peer.c --------------------------------------------------- */

/* Positions in "opens" of schema/backends.json. */
enum { RESOURCE_CHARDEV, RESOURCE_PATH, RESOURCE_MEMORY };

/* nic_peer_open - take the socket, before the lock. n->socket is -1. */
int nic_peer_open(struct nic *n, struct err *err);
int nic_peer_start(struct nic *n, struct err *err);
void nic_peer_close(struct nic *n);

/* The calls of struct backend_type and struct vhost_dev_ops. */
void nic_peer_connection(void *self, int fd, const char *text);
void nic_peer_gone(void *self, const char *why);

/* --- nic.c ---------------------------------------------------------------- */

/* nic_again - have a turn soon. */
void nic_again(struct nic *n);

#endif
