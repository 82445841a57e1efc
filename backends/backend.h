/*
 * backend.h - the contract between a backend type and the common program.
 *
 * One type = one .c file that defines `const struct backend_type
 * backend_type` and a line in backends.def. The common main (backend_main.c)
 * does the rest: confinement, hello, options, rings, doorbell, back-pressure,
 * counters, control messages, orderly end.
 *
 * Frames from outside: backend_reserve, fill, backend_commit, and once per
 * batch backend_flush. When reserve says 0 the ring is full: stop reading the
 * outside; `room` is called when there is room again.
 * Frames for outside: `frames` is called with what is in the ring. It returns
 * how many it is done with; when fewer than it got, it must call
 * backend_more() later (the outside became writable). What it did not take
 * stays in the ring, so the lane sees how slow we are.
 * Frame memory can change under us (the lane may be hostile too): read each
 * byte once, or hand it to the kernel.
 */
#ifndef BACKENDS_BACKEND_H
#define BACKENDS_BACKEND_H

#include "proto/counter.h"
#include "proto/err.h"
#include "proto/frame_meta.h"
#include "proto/ring.h"
#include "proto/rx_filter.h"
#include "sandbox/confine.h"

struct loop;
struct backend; /* the common program's state, one per process */

struct backend_type {
	const char *name;
	size_t self_bytes; /* zeroed before open */
	/*
	 * Stage 3, before the lock: check options that only we can check,
	 * initialise the library. `options` is the type's generated options
	 * struct, borrowed for the life of the process.
	 * Returns 0, or -errno with *err: netdev_add fails with that text.
	 */
	int (*open)(void *self, struct backend *be, const void *options,
	    struct err *err);
	/* Stage 5, after the lock: watch descriptors, start to read. */
	int (*start)(void *self, struct err *err);
	/* As above, at most 256 at once; not called again before it returns.
	 * NULL: frames for outside are counted and dropped. */
	size_t (*frames)(void *self, const struct frame *f, size_t count);
	/* The ring to the lane has room again. */
	void (*room)(void *self);
	/*
	 * The launcher's answer to backend_reconnect(): `fd` is owned by the
	 * callee and is connecting (wait for writable, read SO_ERROR); -1
	 * when it failed at once, with the text.
	 */
	void (*connection)(void *self, int fd, const char *text);
	/* The link that the guest sees is up or down (nic; see
	 * backend_link_up). May be NULL. */
	void (*link)(void *self, bool up);
	/* Orderly end: write out what must be. The process exits after it. */
	void (*close)(void *self);
	struct syslist syscalls;
};

extern const struct backend_type backend_type;

struct loop *backend_loop(struct backend *be);

/* The descriptor of resource `index` of the schema entry (owned by the
 * caller from now on), or -1 when the options did not ask for it. */
int backend_resource(struct backend *be, unsigned index);

/* 1 and *room; 0: full, wait for room(). A lying lane ends the process. */
int backend_reserve(struct backend *be, uint32_t len, uint8_t **room);
void backend_commit(struct backend *be, uint32_t len);
void backend_flush(struct backend *be);

/*
 * The same for a frame that may have metadata: reserve_meta leaves room for
 * it, if it is not all zero, and commit_meta writes it; both are told the
 * same. `m` is checked by the caller (frame_meta_valid): the lane ends a
 * process that lies.
 */
int backend_reserve_meta(struct backend *be, uint32_t len,
    const struct frame_meta *m, uint8_t **room);
void backend_commit_meta(
    struct backend *be, uint32_t len, const struct frame_meta *m);

/*
 * What our outside takes as it is (enum offload bits; at first nothing). All
 * else is completed before `frames` sees it: frames then have meta zero, and
 * there may be more of them. Takes effect with the next frame.
 */
void backend_takes(struct backend *be, unsigned offloads);

/*
 * Our outside takes TCP frames of any length as long as they are complete:
 * those that would be cut come in one piece. Before the first frame.
 */
void backend_takes_long(struct backend *be);

/*
 * backend_arena_run - what the frames from f on have in common. `run` is of
 * those that stand one behind the other in an arena, each behind a length word
 * (proto/arena.h), and may be sent from its file as they are: the bytes never
 * change. Else run->fd is -1, for frames that are in no arena.
 * Returns how many frames: at least 1; count > 0.
 */
struct arena_run {
	int fd;      /* borrowed, for reading; -1: none */
	uint64_t at; /* of the first length word */
	uint64_t bytes;
};
size_t backend_arena_run(const struct backend *be, const struct frame *f,
    size_t count, struct arena_run *run);

/* `frames` may be called again: the outside takes more. */
void backend_more(struct backend *be);

void backend_count(struct backend *be, enum backend_counter c, uint64_t add);

/* Operational state changed; told to the broker, which tells the world.
 * `peer` is the text of the other side's address, or why it went. */
void backend_connected(struct backend *be, bool connected, const char *peer);

/* What query-netdevs shows as the netdev's text, e.g. "socket: fd=5". */
void backend_info(struct backend *be, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * Ask for a fresh descriptor of resource `index`; answer: connection(), also
 * when the broker does not answer within ten seconds. One at a time.
 */
void backend_reconnect(struct backend *be, unsigned index);

/*
 * The same for a resource that is connected in a second step: not a fresh
 * descriptor, but have the one there is connected to what `number` names.
 */
void backend_reconnect_to(struct backend *be, unsigned index, uint32_t number);

/* Milliseconds between attempts that the chardev's owner wants: 0 = do not
 * reconnect, -1 = nothing was said. */
int backend_reconnect_ms(const struct backend *be);

/* Is the link that the guest sees up? */
bool backend_link_up(const struct backend *be);

/*
 * The nic's receive filter, or what its driver agreed to, has changed. Told to
 * the broker, coalesced: at most one message is on its way, the latest state
 * wins. `changed`: a control command succeeded (NIC_RX_FILTER_CHANGED).
 */
void backend_rx_filter(
    struct backend *be, const struct rx_filter *f, bool changed);

/* Features that the driver acked and queue pairs in use, for query-nics. */
void backend_nic_state(struct backend *be, uint64_t features, unsigned pairs);

/*
 * backend_renew - what the launcher gave us is gone, and it may make it anew:
 * end, with these last words, so that the next process gets that.
 */
_Noreturn void backend_renew(struct backend *be, int error, const char *words);

/* Something an operator should know (disk full, peer sent nonsense). Becomes
 * a log line and a BACKEND_NOTICE event; rate-limited. */
void backend_notice(struct backend *be, const char *kind, const char *text);

#endif
