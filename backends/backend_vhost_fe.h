/*
 * backend_vhost_fe.h - the front-end's half of a vhost-user conversation, as a
 * state machine that never blocks.
 *
 * One struct is one connection: it asks, waits for each answer no longer than
 * a deadline, lends memory and rings, and says `up`. A back-end that breaks
 * the rules, or says nothing, is closed and `down` is told. It owns the
 * connection; memory and descriptors of the rings are the caller's.
 * Specification: vhost-user.md 1 to 5 and 10; sections named there.
 */
#ifndef BACKENDS_BACKEND_VHOST_FE_H
#define BACKENDS_BACKEND_VHOST_FE_H

#include "backends/backend_vhost.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;

/* Real back-ends take a second for some answers (vhost-user.md 8). */
#define VHOST_FE_REPLY_NS UINT64_C(5000000000)

#define VHOST_FE_PAIRS_MAX 16u

/* What one ring is made of; addresses as in the region's uva. */
struct vhost_fe_ring {
	uint32_t size;
	uint64_t desc, avail, used;
	int kick, call; /* borrowed */
};

struct vhost_fe_config {
	unsigned pairs; /* of rings: receive 2i, send 2i + 1 */
	const struct vhost_fe_ring *ring; /* 2 * pairs; borrowed */
	int memory;                       /* borrowed */
	struct vhost_region region;       /* all of that memory */
	uint64_t features;                /* device features that we can use */
	uint64_t reply_ns;                /* 0: VHOST_FE_REPLY_NS */
};

struct vhost_fe_ops {
	/* The rings run, with these device features: kick each once. */
	void (*up)(void *self, uint64_t features);
	/*
	 * It is over, before or after up; `fault`: the back-end broke the
	 * rules or cannot be used, `why` says how. Called once, from the loop;
	 * may free the conversation.
	 */
	void (*down)(void *self, const char *why, bool fault);
};

struct vhost_fe;

/* vhost_fe_new - take fd (connected, non-blocking) and begin. `c` is copied,
 * its rings are borrowed. NULL: out of memory; fd is closed. */
struct vhost_fe *vhost_fe_new(struct loop *l, int fd,
    const struct vhost_fe_config *c, const struct vhost_fe_ops *ops,
    void *self);

/* vhost_fe_part - stop the rings of a running back-end, as far as its socket
 * takes it now; nothing is waited for. Then free it. */
void vhost_fe_part(struct vhost_fe *fe);

void vhost_fe_free(struct vhost_fe *fe);

#endif
