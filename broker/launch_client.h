/*
 * launch_client.h - the broker's end of its channel to the launcher: requests
 * with one answer each, notices about processes, and the slots they run in.
 *
 * Nothing blocks: what the socket does not take is queued, and an answer
 * comes later by callback. The client owns the channel, the queue and the
 * table of slots. The launcher is trusted; when it goes, so do we. Runs in
 * the broker.
 */
#ifndef BROKER_LAUNCH_CLIENT_H
#define BROKER_LAUNCH_CLIENT_H

#include "proto/launch.h"

#include <stdbool.h>
#include <stddef.h>

/* Requests without an answer yet. */
#define LAUNCH_PENDING_MAX 4096u
/* Most descriptors of one message (LAUNCH_CROSSED). */
#define LAUNCH_FDS_MAX 6u

struct launch_client;
struct loop;

/*
 * The answer to a request. `fds` has LAUNCH_FDS_MAX entries, -1 where there is
 * none; the callee takes what it wants with fd_take(), the rest is closed.
 */
typedef void (*launch_answer)(void *self, const struct launch_msg *m, int *fds);

/* What is told to the owner of a slot, unasked. */
struct slot_ops {
	void (*attested)(void *self, const struct launch_result *r);
	void (*exited)(void *self, const struct launch_result *r);
};

/* What is told to the one owner of the client. */
struct launch_ops {
	/* `fd` is owned by the callee. */
	void (*listener)(void *self, int fd, const char *name);
	void (*signalled)(void *self, int signo);
	/* The launcher is gone (0: end of file) or talks nonsense. */
	void (*lost)(void *self, int reason);
};

/* launch_client_new - takes fd. NULL when out of memory. */
struct launch_client *launch_client_new(
    struct loop *l, int fd, const struct launch_ops *ops, void *self);
void launch_client_free(struct launch_client *c);

/*
 * launch_ask - send a request; magic and seq of *m are filled in here.
 *   fd  attached to it, taken in every case, or -1
 * The answer comes later, never from within. Returns the request's number
 * (not 0) for launch_forget(), or 0 when too many are pending: nothing was
 * sent then.
 */
uint32_t launch_ask(struct launch_client *c, struct launch_msg *m, int fd,
    launch_answer answer, void *self);

/* launch_tell - send what has no answer. */
void launch_tell(struct launch_client *c, struct launch_msg *m);

/* launch_forget - the answer, when it comes, is thrown away with its
 * descriptors. 0 is allowed. */
void launch_forget(struct launch_client *c, uint32_t ask);

/*
 * slot_own - that slot, which the caller knows, tells `self` from now on.
 * slot_take - a free slot for the caller, or 0 when there is none.
 * slot_give - it is free again (after RELEASED), nothing is told any more.
 * slot_lose - the launcher does not let go of it: not used again before it
 *   has, and its RELEASED was forgotten.
 * slot_epoch_next - number of the next life in this slot; never repeats.
 */
uint32_t slot_take(
    struct launch_client *c, const struct slot_ops *ops, void *self);
void slot_give(struct launch_client *c, uint32_t slot);
void slot_lose(struct launch_client *c, uint32_t slot);
void slot_own(struct launch_client *c, uint32_t slot,
    const struct slot_ops *ops, void *self);
uint32_t slot_epoch_next(struct launch_client *c, uint32_t slot);

/* slot_kill - a signal for the process of that epoch. */
void slot_kill(
    struct launch_client *c, uint32_t slot, uint32_t epoch, int signo);

/* launch_why - the launcher's words for a failure, or errno's. */
const char *launch_why(const struct launch_result *r);

/*
 * launch_may_come_later - nobody listens there now, or the way is not there:
 * whoever connects asks again at its own pace, so that the order in which two
 * sides start is free.
 */
bool launch_may_come_later(int error);

/* For tests and bounds: requests pending now, slots taken now. */
size_t launch_pending(const struct launch_client *c);
size_t slot_count(const struct launch_client *c);

#endif
