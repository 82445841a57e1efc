/*
 * chan.h - a control channel: one message per SOCK_SEQPACKET datagram, with
 * descriptors attached.
 *
 * The channel owns its descriptor. A message is at most CHAN_BYTES_MAX; a
 * peer that sends more, or descriptors where the receiver wants none, is at
 * fault. Sending never blocks: what the kernel does not take is queued, up to
 * CHAN_QUEUE_MAX messages or CHAN_QUEUE_BYTES_MAX bytes, beyond which the peer
 * is at fault (it is not reading).
 */
#ifndef PROTO_CHAN_H
#define PROTO_CHAN_H

#include <stddef.h>
#include <stdint.h>

#define CHAN_BYTES_MAX 65536u
#define CHAN_FDS_MAX   8u
#define CHAN_QUEUE_MAX 1024u
/* Bytes of the messages that wait in one channel's queue. */
#define CHAN_QUEUE_BYTES_MAX (4u << 20)

struct chan;
struct loop;

struct chan_ops {
	/*
	 * One message. `fds` are owned by the callee; it may chan_free().
	 * Returns 0, or a negative fault: the channel then closes itself and
	 * calls closed() with that reason.
	 */
	int (*message)(void *self, const uint8_t *buf, size_t len, int *fds,
	    size_t fd_count);
	/* End of the channel: 0 = end of file, else -errno or -EPROTO. */
	void (*closed)(void *self, int reason);
};

/*
 * chan_new - takes fd, also when it fails (NULL: no memory, no epoll room).
 * `wants_fds` false sets SO_PASSRIGHTS off where the kernel has it, and
 * receives without a control buffer everywhere.
 */
struct chan *chan_new(struct loop *l, int fd, int wants_fds,
    const struct chan_ops *ops, void *self);
void chan_free(struct chan *c);

/*
 * chan_send - send or queue one message. Descriptors are duplicated as
 * needed; the caller keeps its own. Returns 0; -EMSGSIZE; -ENOBUFS when the
 * queue is full; or -errno when the peer is gone. On error nothing was sent.
 */
int chan_send(struct chan *c, const void *buf, size_t len, const int *fds,
    size_t fd_count);

/*
 * chan_receive - blocking receive with a deadline, for a process that starts.
 *   fds  NULL when none are wanted, else room for CHAN_FDS_MAX (owned by the
 *        caller after success); then *fd_count is set
 * Returns the length; 0 at the end of the channel; -ETIMEDOUT; -EPROTO; or
 * -errno. No descriptor is left open when it does not succeed.
 */
int chan_receive(int fd, uint8_t *buf, size_t size, int *fds, size_t *fd_count,
    int deadline_ms);

#endif
