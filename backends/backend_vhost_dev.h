/*
 * backend_vhost_dev.h - the device role of vhost-user: what a front-end sets
 * up, request by request, in any order that real ones use (vhost-user.md 4, 5)
 * and any that hostile ones think of.
 *
 * Owns the connection, the guest's memory, the queues with their kick and call
 * descriptors. Knows nothing of networks: what the device is comes from
 * struct vhost_dev_ops.
 */
#ifndef BACKENDS_BACKEND_VHOST_DEV_H
#define BACKENDS_BACKEND_VHOST_DEV_H

#include "backends/backend_guest.h"
#include "backends/backend_vhost.h"
#include "backends/backend_virtq.h"

/* Queues of one device: 16 pairs and a control queue, rounded up. */
#define VHOST_QUEUES_MAX 34u

struct watch;
struct timer;
struct vhost_dev;

enum vhost_queue_mode {
	VHOST_QUEUE_OFF,   /* something is missing */
	VHOST_QUEUE_DRAIN, /* not enabled: what is sent is thrown away */
	VHOST_QUEUE_RUN,   /* our user has it */
};

/* One queue. */
struct vhost_queue {
	struct virtq q;        /* running or not */
	struct vhost_dev *dev; /* borrowed: whose it is */
	unsigned index;
	enum vhost_queue_mode mode;
	bool asked, disabled; /* SET_VRING_ENABLE: last 1, last 0 */
	bool enabled;         /* asked, or implied (no bit 30, or eager) */
	bool started;         /* a kick descriptor (or "none") was given */
	uint32_t size, base;
	uint32_t told;              /* base as the front-end knows it */
	uint64_t desc, avail, used; /* uva, as set */
	bool has_addr;
	int kick, call, err;      /* owned; -1 = none */
	struct watch *kick_watch; /* owned */
	struct timer *later;      /* owned: look again without a kick */
	uint64_t since_ns;        /* kicks are counted from here */
	unsigned kicks;
	bool call_is_socket, err_is_socket; /* UML's: send, MSG_NOSIGNAL */
	bool broken_told;
};

struct vhost_dev_ops {
	/* Device features offered (without bit 30, which is added), protocol
	 * features offered. */
	uint64_t features, protocol;
	unsigned queues; /* that can exist: <= VHOST_QUEUES_MAX */
	/* Could the driver have acked these together? NULL: any subset. */
	bool (*features_ok)(void *self, uint64_t acked);
	/* Features are what the driver acked from now on. */
	void (*features_set)(void *self, uint64_t acked);
	/* A queue begins or ends to run (features, memory, address, size, kick
	 * all there and enabled; or no more). The queue must not be touched
	 * after it was told as ended. A repeated setting ends and begins it.
	 * What a queue that is not enabled sends is thrown away here. */
	void (*queue_changed)(void *self, struct vhost_queue *vq, bool runs);
	/* Does its driver wait for each answer and do nothing else? Then it
	 * runs once it is started and was not disabled. NULL: none does. */
	bool (*eager)(void *self, unsigned index);
	/* A kick came, or the queue has just started: look at it. */
	void (*kicked)(void *self, struct vhost_queue *vq);
	/* Config space: fill `len` bytes from `offset` (zeroes beyond its end);
	 * write: negative = refuse. */
	void (*config_get)(
	    void *self, uint32_t offset, uint8_t *data, uint32_t len);
	int (*config_set)(
	    void *self, uint32_t offset, const uint8_t *data, uint32_t len);
	/* SET_STATUS 0, RESET_DEVICE, RESET_OWNER: as new. */
	void (*reset)(void *self);
	/* Status bits (VIRTIO_CONFIG_S_*) changed. May be NULL. */
	void (*status)(void *self, uint8_t status);
	/* SEND_RARP: tell the network that this address is here. */
	void (*announce)(void *self, const uint8_t mac[6]);
	/* A request was refused and the front-end was told so; it stays. For
	 * people. May be NULL. */
	void (*refused)(void *self, const char *text);
	/* NET_SET_MTU; negative = refuse. */
	int (*mtu)(void *self, uint64_t mtu);
	/* The front-end has gone; everything is released already. `why` for
	 * people. Called from the loop; another connection may be given. */
	void (*gone)(void *self, const char *why);
};

struct vhost_dev {
	struct loop *loop;               /* borrowed */
	const struct vhost_dev_ops *ops; /* borrowed */
	void *self;
	struct vhost_conn *conn; /* owned; NULL: no front-end */
	struct guest_memory memory;
	uint64_t acked;    /* device features, bit 30 too; 0 before
			    * SET_FEATURES */
	uint64_t protocol; /* protocol features acked */
	bool features_acked;
	uint8_t status;
	int request_fd; /* owned: BACKEND_REQ channel; -1 */
	struct vhost_queue queue[VHOST_QUEUES_MAX];
	struct virtq_mark *marks; /* borrowed: one for each queue */
	uint64_t life;            /* of connections: has it ended meanwhile? */
};

/*
 * vhost_dev_init - no front-end yet.
 *   marks  VHOST_QUEUES_MAX of them, zeroed or those of a process that died
 */
void vhost_dev_init(struct vhost_dev *d, struct loop *l,
    const struct vhost_dev_ops *ops, struct virtq_mark *marks, void *self);
void vhost_dev_fini(struct vhost_dev *d);

/* vhost_dev_connect - a front-end is here; takes fd. 0 or -ENOMEM. */
int vhost_dev_connect(struct vhost_dev *d, int fd);

/* vhost_dev_drop - send the front-end away (then gone() is NOT called). */
void vhost_dev_drop(struct vhost_dev *d);

static inline bool
vhost_dev_connected(const struct vhost_dev *d)
{
	return d->conn != NULL;
}

static inline bool
vhost_dev_has(const struct vhost_dev *d, unsigned feature)
{
	return (d->acked >> feature & 1) != 0;
}

/* vhost_queue_call - interrupt the driver (after virtq_flush said so). Never
 * blocks; a full eventfd or socket is as good as a call. */
void vhost_queue_call(struct vhost_queue *vq);

/* vhost_queue_broken - the driver broke the rules of a queue: write its err
 * descriptor, count on nothing from it any more. */
void vhost_queue_broken(struct vhost_dev *d, struct vhost_queue *vq);

/* vhost_dev_config_changed - CONFIG_CHANGE on the back-end channel, when there
 * is one and CONFIG was acked. True: the front-end was told. */
bool vhost_dev_config_changed(struct vhost_dev *d);

/*
 * Every system call of this and those below it, for a role's list. Wants
 * fcntl.h, sys/mman.h, sys/socket.h and sys/uio.h. What has a line here loses
 * its lines of confine_base: mmap has them again. A kick is read with
 * RWF_NOWAIT, which no flag of the shared file can turn off. Writing an eventfd
 * has no such form: poll first (backend_vhost_fd.c).
 */
#define VHOST_LOW32_ 0xffffffffu
#define VHOST_DEV_SYSCALLS                                                     \
	SYS_IF(preadv2, "a kick, without waiting for it",                      \
	    {5, ARG_EQ, VHOST_LOW32_, RWF_NOWAIT}),                            \
	    SYS(poll, "has the call descriptor room"),                         \
	    SYS_IF(getsockopt, "is a descriptor a unix socket",                \
		{1, ARG_EQ, VHOST_LOW32_, SOL_SOCKET},                         \
		{2, ARG_EQ, VHOST_LOW32_, SO_DOMAIN}),                         \
	    SYS_IF(getsockopt, "is it a stream",                               \
		{1, ARG_EQ, VHOST_LOW32_, SOL_SOCKET},                         \
		{2, ARG_EQ, VHOST_LOW32_, SO_TYPE}),                           \
	    SYS_IF(setsockopt, "closing what is not ours shall not wait",      \
		{1, ARG_EQ, VHOST_LOW32_, SOL_SOCKET},                         \
		{2, ARG_EQ, VHOST_LOW32_, SO_LINGER}),                         \
	    SYS(fstat, "memory: is it a file, how long"),                      \
	    SYS_IF(newfstatat, "fstat, as an older libc says it",              \
		{3, ARG_EQ, AT_EMPTY_PATH, AT_EMPTY_PATH}),                    \
	    SYS_IF(mmap, "malloc; anonymous, not executable",                  \
		{2, ARG_CLEAR, PROT_EXEC, 0},                                  \
		{3, ARG_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS}),                    \
	    SYS_IF(mmap, "the guest's memory; not executable",                 \
		{2, ARG_CLEAR, PROT_EXEC, 0},                                  \
		{3, ARG_EQ, MAP_TYPE, MAP_SHARED})

#endif
