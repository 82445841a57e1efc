/*
 * backend_vhost_ring.c - the queues of a vhost-user device.
 *
 * Runs in: nic.
 * Trusts: nothing that the front-end sets, in whatever order.
 * Specification: vhost-user (QEMU, docs/interop/vhost-user.rst, "Ring states"),
 * VIRTIO 1.2 2.7 and 2.8 (sizes and alignments).
 *
 * Theory of operation
 * What is set of a queue is only noted. Whether it runs is decided in one
 * place, settle(), from all that is known, after each change; before a change
 * that a running queue would notice, leave(). So the order of messages does
 * not matter. A queue that has all but is not enabled drains: what the driver
 * sends is thrown away, what it wants filled stays with it.
 *
 * Some front-ends (cloud-hypervisor) disable a queue when their guest is reset,
 * do not stop it, and share memory anew before they say where the queue of the
 * next driver is. What was its ring may then be anything of the next guest. So
 * of a queue that is not enabled nothing is touched before its kick.
 *
 * A kick descriptor that is always readable (a semaphore that was filled once)
 * costs KICKS_PER_WINDOW looks per WINDOW_NS.
 */
#include "backends/backend_vhost_ring.h"

#include "backends/backend_vhost_fd.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/uio.h>

/* Kicks heard of one queue in one window; then only its end is waited for.
 * Without a kick descriptor the queue is looked at once per window. */
#define WINDOW_NS        UINT64_C(1000000)
#define KICKS_PER_WINDOW 64u
/* Chains thrown away in one turn. */
#define DRAIN_CHAINS   256u
#define DRAIN_AGAIN_NS UINT64_C(100000)

/* SET_VRING_KICK, CALL, ERR. */
#define VRING_INDEX 0xffu
#define VRING_NO_FD 0x100u

void
vhost_queue_call(struct vhost_queue *vq)
{
	vhost_fd_signal(vq->call, vq->call_is_socket);
}

/* --- work ----------------------------------------------------------------- */

void
vhost_queue_broken(struct vhost_dev *d, struct vhost_queue *vq)
{
	(void)d;
	if (vq->broken_told)
		return;
	vq->broken_told = true;
	if (vq->kick_watch)
		watch_set(vq->kick_watch, 0);
	if (vq->later)
		timer_stop(vq->later);
	vhost_fd_signal(vq->err, vq->err_is_socket);
}

/* Throw away what the driver sends; chains to be filled are left to it. */
static void
drain(struct vhost_queue *vq)
{
	static struct virtq_chain chain;
	unsigned turn, done = 0;
	bool takes = true;
	int rc = 1;

	/* Turns, not chains: an index can also go back and forth. */
	for (turn = 0; turn < DRAIN_CHAINS && takes; turn++) {
		rc = virtq_pop(&vq->q, &chain);
		if (rc == 0 && virtq_arm(&vq->q))
			continue;
		if (rc <= 0)
			break;
		takes = chain.in_count == 0;
		if (takes) {
			virtq_push(&vq->q, chain.id, chain.slots, 0);
			done++;
		} else {
			virtq_unpop(&vq->q, 1, chain.slots);
			virtq_disarm(&vq->q);
		}
	}
	if (done > 0 && virtq_flush(&vq->q))
		vhost_queue_call(vq);
	if (rc < 0)
		vhost_queue_broken(vq->dev, vq);
	else if (turn == DRAIN_CHAINS)
		timer_set_ns(vq->later, DRAIN_AGAIN_NS);
}

/* Its ring, from all that was set. 0 or -EINVAL. */
static int
take_up(struct vhost_queue *vq)
{
	struct vhost_dev *d = vq->dev;
	const struct virtq_config config = {
	    .size = vq->size,
	    .desc = vq->desc,
	    .avail = vq->avail,
	    .used = vq->used,
	    .base = vq->base,
	    .told = vq->told,
	    .mark = &d->marks[vq->index],
	    .packed = vhost_dev_has(d, VIRTIO_F_RING_PACKED),
	    .event_idx = vhost_dev_has(d, VIRTIO_RING_F_EVENT_IDX),
	    .indirect = vhost_dev_has(d, VIRTIO_RING_F_INDIRECT_DESC),
	};

	vq->broken_told = false;
	return virtq_start(&vq->q, &d->memory, &config);
}

static void
look(struct vhost_queue *vq)
{
	struct vhost_dev *d = vq->dev;

	if (vq->mode == VHOST_QUEUE_OFF || vq->q.broken ||
	    (!vq->q.memory && take_up(vq) < 0))
		return;
	if (vq->mode == VHOST_QUEUE_DRAIN)
		drain(vq);
	else
		d->ops->kicked(d->self, vq);
}

/* After `later`, or a look: how the next one comes about. */
static void
wait_for_kick(struct vhost_queue *vq)
{
	if (vq->mode == VHOST_QUEUE_OFF || vq->q.broken)
		return;
	if (vq->kick_watch)
		watch_set(vq->kick_watch, WATCH_READ);
	else if (!timer_pending(vq->later))
		timer_set_ns(vq->later, WINDOW_NS);
}

static void
later_expired(void *self)
{
	struct vhost_queue *vq = self;
	uint64_t life = vq->dev->life;

	look(vq);
	if (vq->dev->life == life)
		wait_for_kick(vq);
}

/* May this queue hear another kick now? */
static bool
kick_counts(struct vhost_queue *vq)
{
	uint64_t now = sys_mono_ns();

	if (now - vq->since_ns >= WINDOW_NS) {
		vq->since_ns = now;
		vq->kicks = 0;
	}
	return ++vq->kicks <= KICKS_PER_WINDOW;
}

static void
kick_readable(void *self, unsigned events)
{
	struct vhost_queue *vq = self;
	uint64_t count;
	struct iovec iov = {&count, sizeof count};
	ssize_t rc;

	(void)events;
	if (!kick_counts(vq)) {
		watch_set(vq->kick_watch, 0);
		timer_set_ns(vq->later, WINDOW_NS);
		return;
	}
	rc = sys_result(preadv2(vq->kick, &iov, 1, -1, RWF_NOWAIT));
	/* Somebody else took it: there may be something all the same. */
	if (rc < 0 && rc != -EAGAIN && rc != -EINTR)
		watch_set(vq->kick_watch, 0);
	look(vq);
}

/* --- does it run? --------------------------------------------------------- */

static void
leave(struct vhost_queue *vq)
{
	struct vhost_dev *d = vq->dev;
	enum vhost_queue_mode mode = vq->mode;

	vq->mode = VHOST_QUEUE_OFF;
	if (mode == VHOST_QUEUE_RUN)
		d->ops->queue_changed(d->self, vq, false);
	/* That call may have dropped the front-end, and all of this. */
	if (vq->q.memory)
		vq->base = virtq_stop(&vq->q);
	if (vq->kick_watch)
		watch_set(vq->kick_watch, 0);
	if (vq->later)
		timer_stop(vq->later);
}

/* Are the three areas of a ring in memory? When something is not known yet
 * they count as there: the start will tell. */
static bool
areas_there(const struct vhost_dev *d, const struct vhost_queue *vq)
{
	const struct guest_memory *m = &d->memory;
	bool packed = vhost_dev_has(d, VIRTIO_F_RING_PACKED);
	uint64_t n = vq->size;
	uint64_t event =
	    vhost_dev_has(d, VIRTIO_RING_F_EVENT_IDX) ? sizeof(uint16_t) : 0;

	if (n == 0 || m->count == 0 || !d->features_acked)
		return true;
	return guest_at_uva(m, vq->desc, 16 * n, 16) &&
	       guest_at_uva(m, vq->avail, packed ? 4 : 4 + 2 * n + event,
		   packed ? 4 : 2) &&
	       guest_at_uva(m, vq->used, packed ? 4 : 4 + 8 * n + event, 4);
}

/* The queue is to run, or to drain; `was`: what it did until now. */
static int
enter(struct vhost_queue *vq, enum vhost_queue_mode mode,
    enum vhost_queue_mode was)
{
	struct vhost_dev *d = vq->dev;
	uint64_t life = d->life;
	/* Sent to a queue that ran, and not kicked for: thrown away now. */
	bool now = mode == VHOST_QUEUE_RUN || was == VHOST_QUEUE_RUN;
	int rc = now ? take_up(vq) : areas_there(d, vq) ? 0 : -EINVAL;

	if (rc < 0)
		return rc;
	vq->mode = mode;
	wait_for_kick(vq);
	if (!now)
		return 0;
	/* One that was before us may have died before it called. */
	vhost_queue_call(vq);
	if (mode == VHOST_QUEUE_RUN)
		d->ops->queue_changed(d->self, vq, true);
	if (d->life == life && vq->mode == mode)
		look(vq);
	return 0;
}

/* Has everything that is known made it run, or stop? 0, or -EINVAL: it should
 * run and its ring cannot be. */
static int
settle(struct vhost_queue *vq)
{
	const struct vhost_dev *d = vq->dev;
	enum vhost_queue_mode want = VHOST_QUEUE_OFF, was = vq->mode;

	vq->enabled = vq->asked ||
		      !vhost_dev_has(d, VHOST_F_PROTOCOL_FEATURES) ||
		      (!vq->disabled && d->ops->eager &&
			  d->ops->eager(d->self, vq->index));
	if (d->features_acked && d->memory.count > 0 && vq->has_addr &&
	    vq->size > 0 && vq->started)
		want = vq->enabled ? VHOST_QUEUE_RUN : VHOST_QUEUE_DRAIN;
	if (want == vq->mode)
		return 0;
	leave(vq);
	return want == VHOST_QUEUE_OFF ? 0 : enter(vq, want, was);
}

static void
kick_drop(struct vhost_queue *vq)
{
	watch_free(ptr_take(vq->kick_watch));
	fd_close_foreign(&vq->kick);
	vq->started = false;
}

void
vhost_rings_init(struct vhost_dev *d)
{
	struct vhost_queue *vq;
	unsigned i;

	for (i = 0; i < VHOST_QUEUES_MAX; i++) {
		vq = &d->queue[i];
		*vq = (struct vhost_queue){
		    .dev = d,
		    .index = i,
		    .kick = -1,
		    .call = -1,
		    .err = -1,
		};
	}
}

void
vhost_rings_leave(struct vhost_dev *d)
{
	unsigned i;

	for (i = 0; i < d->ops->queues; i++)
		leave(&d->queue[i]);
}

void
vhost_rings_settle(struct vhost_dev *d)
{
	uint64_t life = d->life;
	unsigned i;

	for (i = 0; i < d->ops->queues && d->life == life; i++)
		(void)settle(&d->queue[i]);
}

void
vhost_rings_stop(struct vhost_dev *d, bool disable)
{
	struct vhost_queue *vq;
	unsigned i;

	vhost_rings_leave(d);
	for (i = 0; i < d->ops->queues; i++) {
		vq = &d->queue[i];
		kick_drop(vq);
		if (disable)
			vq->asked = vq->disabled = false;
	}
}

void
vhost_rings_release(struct vhost_dev *d)
{
	struct vhost_queue *vq;
	unsigned i;

	vhost_rings_leave(d);
	for (i = 0; i < VHOST_QUEUES_MAX; i++) {
		vq = &d->queue[i];
		kick_drop(vq);
		timer_free(ptr_take(vq->later));
		fd_close_foreign(&vq->call);
		fd_close_foreign(&vq->err);
	}
	vhost_rings_init(d);
}

/* --- requests ------------------------------------------------------------- */

static struct vhost_queue *
queue_of(struct vhost_dev *d, uint32_t index, struct err *e)
{
	if (index < d->ops->queues)
		return &d->queue[index];
	err_set(e, -EINVAL,
	    "there is no queue %u, only %u: give the VM fewer, or the card "
	    "more",
	    index, d->ops->queues);
	return NULL;
}

int
vhost_ring_num(struct vhost_dev *d, struct vhost_msg *m, struct err *e)
{
	uint32_t num = m->payload.state.num;
	struct vhost_queue *vq = queue_of(d, m->payload.state.index, e);

	if (!vq)
		return -EINVAL;
	if (num == 0 || num > VIRTQ_SIZE_MAX ||
	    (!vhost_dev_has(d, VIRTIO_F_RING_PACKED) && num & (num - 1)))
		return err_set(e, -EINVAL, "queue %u cannot have %u entries",
		    vq->index, num);
	if (num == vq->size)
		return 0;
	leave(vq);
	vq->size = num;
	/* New addresses may follow: they, or the kick, are refused. */
	(void)settle(vq);
	return 0;
}

int
vhost_ring_addr(struct vhost_dev *d, struct vhost_msg *m, struct err *e)
{
	struct vhost_queue *vq = queue_of(d, m->payload.addr.index, e);

	if (!vq)
		return -EINVAL;
	if (m->payload.addr.flags != 0)
		return err_set(e, -EINVAL,
		    "queue %u: flags 0x%x, but logging was not offered",
		    vq->index, m->payload.addr.flags);
	if (m->payload.addr.desc % VRING_DESC_ALIGN_SIZE ||
	    m->payload.addr.avail % VRING_AVAIL_ALIGN_SIZE ||
	    m->payload.addr.used % VRING_USED_ALIGN_SIZE)
		return err_set(
		    e, -EINVAL, "queue %u: addresses not aligned", vq->index);
	leave(vq);
	vq->desc = m->payload.addr.desc;
	vq->avail = m->payload.addr.avail;
	vq->used = m->payload.addr.used;
	vq->has_addr = areas_there(d, vq);
	if (!vq->has_addr || settle(vq) < 0)
		return err_set(e, -EINVAL,
		    "queue %u: addresses outside of the shared memory",
		    vq->index);
	return 0;
}

int
vhost_ring_base(struct vhost_dev *d, struct vhost_msg *m, struct err *e)
{
	struct vhost_queue *vq = queue_of(d, m->payload.state.index, e);

	if (!vq)
		return -EINVAL;
	leave(vq);
	vq->base = vq->told = m->payload.state.num;
	(void)settle(vq);
	return 0;
}

int
vhost_ring_get_base(struct vhost_dev *d, struct vhost_msg *m, struct err *e)
{
	struct vhost_queue *vq = queue_of(d, m->payload.state.index, e);
	union vhost_payload reply;

	if (!vq)
		return -EINVAL;
	leave(vq);
	kick_drop(vq);
	reply.state.index = vq->index;
	reply.state.num = vq->told = vq->base;
	/* `leave` told our user, who may have sent the front-end away. */
	return d->conn ? vhost_reply(d->conn, m->request, &reply, 8) : 0;
}

/*
 * fd_of - the queue and the descriptor of SET_VRING_KICK, CALL, ERR.
 *   fd  owned by the caller; -1: there is none, by intent
 * Returns its kind or negative.
 */
static int
fd_of(struct vhost_dev *d, struct vhost_msg *m, struct vhost_queue **vq,
    int *fd, struct err *e)
{
	uint64_t what = m->payload.u64;
	int kind = VHOST_FD_EVENT;

	*fd = -1;
	*vq = queue_of(d, (uint32_t)(what & VRING_INDEX), e);
	if (!*vq)
		return -EINVAL;
	if (what & ~(uint64_t)(VRING_INDEX | VRING_NO_FD) ||
	    !(what & VRING_NO_FD) != (m->fd_count == 1))
		return err_set(e, -EINVAL,
		    "queue %u: %u descriptors are not what it announces",
		    (*vq)->index, m->fd_count);
	if (m->fd_count == 1)
		kind = vhost_fd_kind(m->fds[0]);
	if (kind < 0)
		return err_set(e, -EINVAL,
		    "queue %u: the descriptor is no eventfd", (*vq)->index);
	*fd = vhost_msg_take(m, 0);
	return kind;
}

/* What is wanted besides the descriptor itself. 0 or -ENOMEM. */
static int
kick_hear(struct vhost_queue *vq)
{
	struct loop *l = vq->dev->loop;

	if (!vq->later)
		vq->later = timer_new(l, later_expired, vq);
	if (vq->later && vq->kick >= 0)
		vq->kick_watch =
		    watch_new(l, vq->kick, WATCH_READ, kick_readable, vq);
	if (!vq->later || (vq->kick >= 0 && !vq->kick_watch)) {
		kick_drop(vq);
		return -ENOMEM;
	}
	if (vq->kick_watch)
		watch_set(vq->kick_watch, 0);
	vq->started = true;
	return 0;
}

int
vhost_ring_kick(struct vhost_dev *d, struct vhost_msg *m, struct err *e)
{
	struct vhost_queue *vq;
	int fd, kind = fd_of(d, m, &vq, &fd, e);

	if (kind < 0)
		return kind;
	if (kind == VHOST_FD_SOCKET) {
		fd_close_foreign(&fd);
		return err_set(e, -EINVAL,
		    "queue %u: the kick descriptor is no eventfd", vq->index);
	}
	leave(vq);
	kick_drop(vq);
	vq->kick = fd;
	if (kick_hear(vq) < 0)
		return err_set(e, -ENOMEM, "queue %u: no memory", vq->index);
	if (settle(vq) < 0)
		return err_set(e, -EINVAL,
		    "queue %u: its ring is not in the shared memory",
		    vq->index);
	return 0;
}

int
vhost_ring_call(struct vhost_dev *d, struct vhost_msg *m, struct err *e)
{
	struct vhost_queue *vq;
	int fd, kind = fd_of(d, m, &vq, &fd, e);

	if (kind < 0)
		return kind;
	fd_close_foreign(&vq->call);
	vq->call = fd;
	vq->call_is_socket = kind == VHOST_FD_SOCKET;
	/* What went to the old one may have been heard by nobody. */
	if (vq->mode != VHOST_QUEUE_OFF)
		vhost_queue_call(vq);
	return 0;
}

int
vhost_ring_err(struct vhost_dev *d, struct vhost_msg *m, struct err *e)
{
	struct vhost_queue *vq;
	int fd, kind = fd_of(d, m, &vq, &fd, e);

	if (kind < 0)
		return kind;
	fd_close_foreign(&vq->err);
	vq->err = fd;
	vq->err_is_socket = kind == VHOST_FD_SOCKET;
	return 0;
}

int
vhost_ring_enable(struct vhost_dev *d, struct vhost_msg *m, struct err *e)
{
	struct vhost_queue *vq = queue_of(d, m->payload.state.index, e);

	if (!vq)
		return -EINVAL;
	if (m->payload.state.num > 1)
		return err_set(e, -EINVAL, "queue %u: neither on nor off: %u",
		    vq->index, m->payload.state.num);
	vq->asked = m->payload.state.num == 1;
	vq->disabled = !vq->asked;
	(void)settle(vq);
	return 0;
}
