/*
 * nic.c - a virtual machine's network card: virtio-net over vhost-user, with
 * its control queue.
 *
 * Runs in: its own process, in an empty network namespace; the only process
 * that maps the VM's memory. Sockets come from the launcher; the only one made
 * here is by accept4.
 * Trusts: nothing that comes from the front-end or is in the VM's memory.
 * Specification: VIRTIO 1.2, 5.1; vhost-user (QEMU,
 * docs/interop/vhost-user.rst).
 *
 * Theory of operation
 * backend_vhost_dev.c speaks with the front-end and says which queues run;
 * backend_nic_queue.c sorts them; _tx, _rx and _ctrl serve them. _peer.c has
 * the connection.
 * A turn of the loop obeys commands, then takes a bounded number of frames
 * from the guest. While these come quickly the next turn follows at once, with
 * the guest's kicks switched off; then they are asked for and the process
 * sleeps. Frames for the guest need no turn: the ring's runtime calls
 * nic_frames. When the guest has no buffers for them its next kick counts.
 */
#include "backends/backend_nic.h"
#include "backends/backend_pace.h"

#include "proto/launch.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "gen/types.h"

#define MTU_LEAST 68u

/* --- turns ---------------------------------------------------------------- */

void
nic_again(struct nic *n)
{
	if (n->again)
		again_set(n->again, true);
}

/* Ask for kicks; false: there is something already. */
static bool
arm(struct nic *n)
{
	unsigned i;

	n->tx_armed = true;
	for (i = 0; i < n->tx_count; i++) {
		if (virtq_arm(&n->tx_live[i]->vq->q))
			return false;
	}
	return true;
}

static void
disarm(struct nic *n)
{
	unsigned i;

	if (!n->tx_armed)
		return;
	n->tx_armed = false;
	for (i = 0; i < n->tx_count; i++)
		virtq_disarm(&n->tx_live[i]->vq->q);
}

/* Nothing to do: look again soon, or sleep until something happens. */
static bool
may_sleep(struct nic *n)
{
	if (n->rx_looks)
		(void)sched_yield();
	n->rx_looks = false;
	if (n->ctrl_more || n->rx_retry)
		return false;
	if (nic_tx_waits(n) || n->tx_count == 0)
		return true;
	if (pace_may_spin(PACE_SPIN_NS, &n->pace.looked_ns, n->pace.frames_ns,
		n->pace.gap_ns)) {
		(void)sched_yield();
		return false;
	}
	return arm(n);
}

static void
take_turn(struct nic *n)
{
	bool busy;

	if (n->rx_retry) {
		n->rx_retry = false;
		nic_rx_retry(n);
	}
	if (n->ctrl_more)
		nic_ctrl_serve(n);
	disarm(n);
	busy = nic_tx_turn(n);
	if (busy) {
		pace_frames(&n->pace.frames_ns, &n->pace.gap_ns);
		n->pace.looked_ns = 0;
	}
	again_set(n->again, busy || !may_sleep(n));
}

static void
again_ready(void *self)
{
	take_turn(self);
}

/* The guest has waited for its interrupt long enough. */
static void
owed_expired(void *self)
{
	struct nic *n = self;
	unsigned i;

	for (i = 0; i < n->ctrl.config.pairs; i++) {
		nic_queue_call(n->rx[i]);
		nic_queue_call(n->tx[i]);
	}
}

/* The frame at the front has waited for long. */
static void
stuck_expired(void *self)
{
	struct nic *n = self;

	n->rx_stuck = true;
	nic_rx_retry(n);
}

/* --- what the device is asked --------------------------------------------- */

static bool
features_ok(void *self, uint64_t acked)
{
	struct nic *n = self;

	return net_ctrl_features_ok(&n->ctrl, acked);
}

static void
features_set(void *self, uint64_t acked)
{
	struct nic *n = self;

	net_ctrl_ack(&n->ctrl, acked);
	n->small_buffers = false;
	nic_agreed(n, true);
}

static void
reset(void *self)
{
	nic_as_new(self);
}

static void
queue_changed(void *self, struct vhost_queue *vq, bool runs)
{
	struct nic *n = self;
	uint64_t bit = UINT64_C(1) << vq->index;

	n->runs = runs ? n->runs | bit : n->runs & ~bit;
	nic_sort_queues(n);
	nic_tell_state(n);
	if (!runs)
		return;
	/* Receive queues: a kick is wanted only when we wait for buffers. */
	if (vq != n->ctrl_vq && vq->index % 2 == 0)
		virtq_disarm(&vq->q);
	if (vq->index == 1 && n->announce_due) {
		n->announce_due = false;
		nic_announce(n);
	}
}

/* A driver that has sent a command looks for its answer and does nothing else,
 * whether its front-end has enabled the queue by then or not. */
static bool
is_control(void *self, unsigned index)
{
	const struct nic *n = self;

	return net_ctrl_queue(&n->ctrl) == (int)index;
}

static void
kicked(void *self, struct vhost_queue *vq)
{
	struct nic *n = self;

	if (vq == n->ctrl_vq) {
		nic_ctrl_serve(n);
		return;
	}
	if (vq->index % 2 == 0) {
		virtq_disarm(&vq->q);
		nic_rx_retry(n);
	} else {
		take_turn(n);
	}
}

static void
config_get(void *self, uint32_t offset, uint8_t *data, uint32_t len)
{
	struct nic *n = self;

	net_ctrl_config_read(&n->ctrl, offset, data, len);
}

static int
config_set(void *self, uint32_t offset, const uint8_t *data, uint32_t len)
{
	struct nic *n = self;
	uint64_t mac = n->ctrl.filter.mac;
	int rc = net_ctrl_config_write(&n->ctrl, offset, data, len);

	if (n->ctrl.filter.mac != mac) {
		nic_info(n);
		backend_rx_filter(n->be, &n->ctrl.filter, false);
	}
	return rc;
}

static void
announce(void *self, const uint8_t mac[6])
{
	nic_rarp(self, mac);
}

static void
refused(void *self, const char *text)
{
	struct nic *n = self;

	backend_notice(n->be, "front-end", text);
}

/* The front-end's word on the network's MTU; ours is that of the options. */
static int
set_mtu(void *self, uint64_t mtu)
{
	(void)self;
	return mtu >= MTU_LEAST && mtu <= UINT16_MAX ? 0 : -EINVAL;
}

/* --- open ----------------------------------------------------------------- */

static void
offer(struct nic *n)
{
	static const struct vhost_dev_ops usual = {
	    .protocol = UINT64_C(1) << VHOST_PF_MQ |
			UINT64_C(1) << VHOST_PF_RARP |
			UINT64_C(1) << VHOST_PF_REPLY_ACK |
			UINT64_C(1) << VHOST_PF_MTU |
			UINT64_C(1) << VHOST_PF_BACKEND_REQ |
			UINT64_C(1) << VHOST_PF_CONFIG |
			UINT64_C(1) << VHOST_PF_RESET_DEVICE |
			UINT64_C(1) << VHOST_PF_CONFIGURE_MEM_SLOTS |
			UINT64_C(1) << VHOST_PF_STATUS,
	    .features_ok = features_ok,
	    .features_set = features_set,
	    .queue_changed = queue_changed,
	    .eager = is_control,
	    .kicked = kicked,
	    .config_get = config_get,
	    .config_set = config_set,
	    .reset = reset,
	    .announce = announce,
	    .refused = refused,
	    .mtu = set_mtu,
	    .gone = nic_peer_gone,
	};
	const struct net_ctrl_config *c = &n->ctrl.config;

	n->ops = usual;
	n->ops.features = net_ctrl_features(&n->ctrl);
	n->ops.queues = 2u * c->pairs + (c->ctrl_vq ? 1 : 0);
}

static int
make_queues(struct nic *n)
{
	unsigned i;

	for (i = 0; i < n->ctrl.config.pairs; i++) {
		n->rx[i] = calloc(1, sizeof *n->rx[i]);
		n->tx[i] = calloc(1, sizeof *n->tx[i]);
		if (!n->rx[i] || !n->tx[i])
			return -ENOMEM;
	}
	return 0;
}

/* The memory that our slot keeps when we die. */
static int
find_kept(struct nic *n, struct err *err)
{
	int fd = backend_resource(n->be, RESOURCE_MEMORY), rc = -EBADF;
	void *at = NULL;

	_Static_assert(sizeof *n->kept <= LAUNCH_MEMORY_BYTES, "it fits");
	if (fd >= 0)
		rc = sys_map(fd, LAUNCH_MEMORY_BYTES, true, &at);
	fd_close(&fd);
	n->kept = at;
	if (rc < 0)
		return err_set(
		    err, rc, "the kept memory: %s", strerrordesc_np(-rc));
	return 0;
}

static int
nic_open(void *self, struct backend *be, const void *options, struct err *err)
{
	struct nic *n = self;
	struct loop *l = backend_loop(be);
	struct net_ctrl_config config;
	int rc;

	n->be = be;
	n->opts = options;
	n->socket = -1;
	rc = nic_config(n->opts, &config, err);
	if (rc < 0)
		return rc;
	net_ctrl_init(&n->ctrl, &config);
	n->ctrl.link_up = backend_link_up(be);
	offer(n);
	rc = find_kept(n, err);
	if (rc < 0)
		return rc;
	vhost_dev_init(&n->dev, l, &n->ops, n->kept->mark, n);
	n->head_bytes = net_ctrl_header_bytes(&n->ctrl);
	n->stuck = timer_new(l, stuck_expired, n);
	n->owed = timer_new(l, owed_expired, n);
	n->again = again_new(l, again_ready, n);
	if (!n->stuck || !n->owed || !n->again || make_queues(n) < 0)
		return err_set(err, -ENOMEM, "out of memory or descriptors");
	return nic_peer_open(n, err);
}

static int
nic_start(void *self, struct err *err)
{
	struct nic *n = self;

	nic_info(n);
	backend_rx_filter(n->be, &n->ctrl.filter, false);
	return nic_peer_start(n, err);
}

/* --- frames, link, end ---------------------------------------------------- */

static size_t
nic_frames(void *self, const struct frame *f, size_t count)
{
	return nic_rx_frames(self, f, count);
}

static void
nic_room(void *self)
{
	struct nic *n = self;

	n->tx_full = false;
	take_turn(n);
}

static void
nic_link(void *self, bool up)
{
	struct nic *n = self;

	if (n->ctrl.link_up == up)
		return;
	n->ctrl.link_up = up;
	/* What waits need not wait, one way or the other. */
	nic_sort_queues(n);
	if (up && net_ctrl_has(&n->ctrl, VIRTIO_NET_F_GUEST_ANNOUNCE))
		nic_announce(n);
	else
		(void)vhost_dev_config_changed(&n->dev);
}

static void
nic_close(void *self)
{
	struct nic *n = self;
	unsigned i;

	vhost_dev_fini(&n->dev);
	sys_unmap(ptr_take(n->kept), LAUNCH_MEMORY_BYTES);
	nic_peer_close(n);
	again_free(ptr_take(n->again));
	timer_free(ptr_take(n->stuck));
	timer_free(ptr_take(n->owed));
	for (i = 0; i < NET_PAIRS_MAX; i++) {
		free(ptr_take(n->rx[i]));
		free(ptr_take(n->tx[i]));
	}
}

static const struct sysrule nic_rules[] = {
    VHOST_DEV_SYSCALLS,
    SYS(accept4, "the next front-end"),
    SYS_IF(getsockopt, "chardev: did it connect?",
	{1, ARG_EQ, 0xffffffff, SOL_SOCKET}, {2, ARG_EQ, 0xffffffff, SO_ERROR}),
    SYS(getpeername, "chardev: is there a front-end?"),
    SYS(shutdown, "a connection that a dead process had"),
};

const struct backend_type backend_type = {
    .name = "nic",
    .self_bytes = sizeof(struct nic),
    .open = nic_open,
    .start = nic_start,
    .frames = nic_frames,
    .room = nic_room,
    .connection = nic_peer_connection,
    .link = nic_link,
    .close = nic_close,
    .syscalls = {"nic", nic_rules, sizeof nic_rules / sizeof *nic_rules},
};
