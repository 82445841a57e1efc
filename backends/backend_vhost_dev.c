/*
 * backend_vhost_dev.c - what a front-end asks of a vhost-user device.
 *
 * Runs in: nic.
 * Trusts: nothing that the front-end sends, in whatever order.
 * Specification: vhost-user (QEMU, docs/interop/vhost-user.rst).
 *
 * Theory of operation
 * One handler per request. It returns 0, or says in a struct err why not; what
 * becomes of that is decided in answer(): an acknowledgement when one is
 * wanted and REPLY_ACK was agreed to (also by this very message), else the end
 * of the connection. A refused request has changed nothing, but for addresses
 * of a ring that cannot be, which stays stopped.
 * Requests are taken at any time, in any order; what belongs to a protocol
 * feature is refused when that was not offered.
 * Our user may drop the front-end in any call that we make to it: `life` tells.
 */
#include "backends/backend_vhost_dev.h"

#include "backends/backend_vhost_ring.h"
#include "proto/log.h"
#include "proto/sys.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define BIT_PROTOCOL (UINT64_C(1) << VHOST_F_PROTOCOL_FEATURES)
#define WHY_BYTES    256u

static int
reply_u64(struct vhost_dev *d, const struct vhost_msg *m, uint64_t value)
{
	return vhost_reply(d->conn, m->request, &value, sizeof value);
}

/* --- features ------------------------------------------------------------- */

static int
get_features(struct vhost_dev *d, struct vhost_msg *m, struct err *e)
{
	(void)e;
	return reply_u64(d, m, d->ops->features | BIT_PROTOCOL);
}

static int
set_features(struct vhost_dev *d, struct vhost_msg *m, struct err *e)
{
	uint64_t acked = m->payload.u64, own = acked & ~BIT_PROTOCOL;
	uint64_t more = own & ~d->ops->features;
	uint64_t life = d->life;

	if (more)
		return err_set(
		    e, -EINVAL, "features that were not offered: 0x%jx", more);
	/* A front-end of two pairs says it once for each. */
	if (d->features_acked && d->acked == acked)
		return 0;
	if (d->status & VIRTIO_CONFIG_S_FEATURES_OK && d->features_acked &&
	    (d->acked & ~BIT_PROTOCOL) != own)
		return err_set(
		    e, -EINVAL, "features are final after FEATURES_OK");
	if (d->ops->features_ok && !d->ops->features_ok(d->self, own))
		return err_set(
		    e, -EINVAL, "features that do not go together: 0x%jx", own);
	vhost_rings_leave(d);
	if (d->life != life)
		return 0;
	d->acked = acked;
	d->features_acked = true;
	if (d->ops->features_set)
		d->ops->features_set(d->self, own);
	if (d->life == life)
		vhost_rings_settle(d);
	return 0;
}

static int
get_protocol_features(struct vhost_dev *d, struct vhost_msg *m, struct err *e)
{
	(void)e;
	return reply_u64(d, m, d->ops->protocol);
}

static int
set_protocol_features(struct vhost_dev *d, struct vhost_msg *m, struct err *e)
{
	uint64_t more = m->payload.u64 & ~d->ops->protocol;

	if (more)
		return err_set(e, -EINVAL,
		    "protocol features that were not offered: 0x%jx", more);
	d->protocol = m->payload.u64;
	return 0;
}

/*
 * Some count pairs (QEMU, DPDK), some queues (cloud-hypervisor, crosvm), and
 * each asks for at most what is answered: the larger number serves all. Who
 * asks for more pairs than there are then meets a queue that is not there.
 */
static int
get_queue_num(struct vhost_dev *d, struct vhost_msg *m, struct err *e)
{
	(void)e;
	return reply_u64(d, m, d->ops->queues);
}

/* --- reset, status -------------------------------------------------------- */

/* As a driver finds it. Bases stay: some ask for them afterwards. */
static void
device_reset(struct vhost_dev *d, bool disable)
{
	uint64_t life = d->life;

	vhost_rings_stop(d, disable);
	if (d->life != life)
		return;
	d->acked = 0;
	d->features_acked = false;
	d->status = 0;
	if (d->ops->reset)
		d->ops->reset(d->self);
}

static int
set_owner(struct vhost_dev *d, struct vhost_msg *m, struct err *e)
{
	(void)d;
	(void)m;
	(void)e;
	return 0;
}

static int
reset(struct vhost_dev *d, struct vhost_msg *m, struct err *e)
{
	(void)m;
	(void)e;
	device_reset(d, true);
	return 0;
}

static int
set_status(struct vhost_dev *d, struct vhost_msg *m, struct err *e)
{
	uint64_t life = d->life;
	uint8_t status;

	if (m->payload.u64 > 0xff)
		return err_set(e, -EINVAL, "no status: 0x%jx", m->payload.u64);
	status = (uint8_t)m->payload.u64;
	/* The driver finds it missing. */
	if (!d->features_acked)
		status &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
	if (status == 0)
		device_reset(d, false);
	if (d->life != life)
		return 0;
	d->status = status;
	if (d->ops->status)
		d->ops->status(d->self, status);
	return 0;
}

static int
get_status(struct vhost_dev *d, struct vhost_msg *m, struct err *e)
{
	(void)e;
	return reply_u64(d, m, d->status);
}

/* --- memory --------------------------------------------------------------- */

static struct guest_grant
grant_of(const struct vhost_region *region)
{
	return (struct guest_grant){
	    .gpa = region->gpa,
	    .size = region->size,
	    .uva = region->uva,
	    .offset = region->offset,
	};
}

/* Map one region of a message into `to`. 0, or negative with *e. */
static int
region_add(struct guest_memory *to, struct vhost_msg *m, unsigned i,
    const struct vhost_region *region, struct err *e)
{
	const struct guest_grant grant = grant_of(region);
	struct err cause = {.text = ""};
	int rc = guest_memory_add(to, &grant, vhost_msg_take(m, i), &cause);

	return rc < 0 ? err_set(e, rc, "region %u: %s", i, cause.text) : 0;
}

static int
set_mem_table(struct vhost_dev *d, struct vhost_msg *m, struct err *e)
{
	struct guest_memory fresh = {0};
	uint32_t count = m->payload.table.count, i;
	uint64_t life = d->life;
	int rc = 0;

	/* The size is at least that; user-mode Linux sends more. */
	if (count == 0 || count > VHOST_REGIONS_MAX ||
	    m->size < 8 + 32 * count || m->fd_count != count)
		return err_set(e, -EINVAL,
		    "%u regions, %u descriptors in %u bytes", count,
		    m->fd_count, m->size);
	for (i = 0; i < count && rc == 0; i++)
		rc = region_add(&fresh, m, i, &m->payload.table.region[i], e);
	if (rc == 0)
		vhost_rings_leave(d);
	if (rc < 0 || d->life != life) {
		guest_memory_clear(&fresh);
		return rc;
	}
	guest_memory_clear(&d->memory);
	d->memory = fresh;
	vhost_rings_settle(d);
	return 0;
}

static int
get_max_mem_slots(struct vhost_dev *d, struct vhost_msg *m, struct err *e)
{
	(void)e;
	return reply_u64(d, m, GUEST_REGIONS_MAX);
}

static int
add_mem_reg(struct vhost_dev *d, struct vhost_msg *m, struct err *e)
{
	const struct guest_grant grant = grant_of(&m->payload.slot.region);
	uint64_t life = d->life;
	int rc;

	if (guest_memory_again(&d->memory, &grant))
		return 0;
	/* Nobody holds a pointer into the table while it moves. */
	vhost_rings_leave(d);
	if (d->life != life)
		return 0;
	rc = region_add(&d->memory, m, 0, &m->payload.slot.region, e);
	vhost_rings_settle(d);
	return rc;
}

static int
rem_mem_reg(struct vhost_dev *d, struct vhost_msg *m, struct err *e)
{
	const struct guest_grant grant = grant_of(&m->payload.slot.region);
	uint64_t life = d->life;
	int rc;

	vhost_rings_leave(d);
	if (d->life != life)
		return 0;
	rc = guest_memory_remove(&d->memory, &grant);
	vhost_rings_settle(d);
	return rc < 0 ? err_set(e, rc, "there is no such region") : 0;
}

/* --- the network's -------------------------------------------------------- */

static int
send_rarp(struct vhost_dev *d, struct vhost_msg *m, struct err *e)
{
	(void)e;
	if (d->ops->announce)
		d->ops->announce(d->self, m->payload.bytes);
	return 0;
}

static int
net_set_mtu(struct vhost_dev *d, struct vhost_msg *m, struct err *e)
{
	int rc = d->ops->mtu ? d->ops->mtu(d->self, m->payload.u64) : 0;

	return rc < 0 ? err_set(e, rc, "MTU %ju is not possible here",
			    m->payload.u64)
		      : 0;
}

/* The part of the config space that a message names is in the message. */
static bool
config_fits(const struct vhost_msg *m)
{
	uint32_t offset = m->payload.config.offset;
	uint32_t size = m->payload.config.size;

	return offset <= VHOST_CONFIG_BYTES &&
	       size <= VHOST_CONFIG_BYTES - offset && size <= m->size - 12;
}

static int
get_config(struct vhost_dev *d, struct vhost_msg *m, struct err *e)
{
	uint64_t life = d->life;

	(void)e;
	/* That is how it says no. */
	if (!config_fits(m))
		return vhost_reply(d->conn, m->request, &m->payload, 0);
	/* Of the same length as the request, or it is not believed. */
	memset(m->payload.config.data, 0, sizeof m->payload.config.data);
	d->ops->config_get(d->self, m->payload.config.offset,
	    m->payload.config.data, m->payload.config.size);
	if (d->life != life)
		return 0;
	return vhost_reply(d->conn, m->request, &m->payload, m->size);
}

static int
set_config(struct vhost_dev *d, struct vhost_msg *m, struct err *e)
{
	int rc;

	if (!config_fits(m))
		return err_set(e, -EINVAL,
		    "%u bytes at %u are not in the config space or not in the "
		    "message",
		    m->payload.config.size, m->payload.config.offset);
	if (!d->ops->config_set)
		return err_set(e, -EACCES, "nothing can be written");
	rc = d->ops->config_set(d->self, m->payload.config.offset,
	    m->payload.config.data, m->payload.config.size);
	return rc < 0 ? err_set(e, rc, "not to be written: %u bytes at %u",
			    m->payload.config.size, m->payload.config.offset)
		      : 0;
}

/* --- the back-end channel ------------------------------------------------- */

static int
set_backend_req_fd(struct vhost_dev *d, struct vhost_msg *m, struct err *e)
{
	int domain = 0, type = 0, fd = m->fds[0];
	socklen_t len = sizeof domain;

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
	    domain != AF_UNIX || type != SOCK_STREAM)
		return err_set(
		    e, -EINVAL, "the descriptor is no unix stream socket");
	fd_close_foreign(&d->request_fd);
	d->request_fd = vhost_msg_take(m, 0);
	return 0;
}

bool
vhost_dev_config_changed(struct vhost_dev *d)
{
	/* No answer is asked for, so none must be read. */
	static const uint32_t message[3] = {
	    VHOST_BACKEND_CONFIG_CHANGE, VHOST_VERSION, 0};
	ssize_t rc;

	if (d->request_fd < 0 || !(d->protocol >> VHOST_PF_CONFIG & 1))
		return false;
	rc = sys_result(send(d->request_fd, message, sizeof message,
	    MSG_DONTWAIT | MSG_NOSIGNAL));
	/* Full of such messages: one more would say nothing new. */
	if (rc == -EAGAIN || rc == (ssize_t)sizeof message)
		return true;
	/* Gone, or in the middle of a message for ever. */
	fd_close_foreign(&d->request_fd);
	return false;
}

/* --- requests ------------------------------------------------------------- */

static int
refuse_log(struct vhost_dev *d, struct vhost_msg *m, struct err *e)
{
	(void)d;
	(void)m;
	return err_set(e, -EOPNOTSUPP, "logging was not offered");
}

/* `needs`: a protocol feature that must have been offered; 0 is MQ, which is
 * the first bit, so these are bits + 1 and 0 is none. */
#define NEEDS(bit) ((bit) + 1)

static const struct handler {
	int (*handle)(struct vhost_dev *d, struct vhost_msg *m, struct err *e);
	unsigned needs;
} handlers[] = {
    [VHOST_GET_FEATURES] = {get_features, 0},
    [VHOST_SET_FEATURES] = {set_features, 0},
    [VHOST_SET_OWNER] = {set_owner, 0},
    [VHOST_RESET_OWNER] = {reset, 0},
    [VHOST_SET_MEM_TABLE] = {set_mem_table, 0},
    [VHOST_SET_LOG_BASE] = {refuse_log, 0},
    [VHOST_SET_LOG_FD] = {refuse_log, 0},
    [VHOST_SET_VRING_NUM] = {vhost_ring_num, 0},
    [VHOST_SET_VRING_ADDR] = {vhost_ring_addr, 0},
    [VHOST_SET_VRING_BASE] = {vhost_ring_base, 0},
    [VHOST_GET_VRING_BASE] = {vhost_ring_get_base, 0},
    [VHOST_SET_VRING_KICK] = {vhost_ring_kick, 0},
    [VHOST_SET_VRING_CALL] = {vhost_ring_call, 0},
    [VHOST_SET_VRING_ERR] = {vhost_ring_err, 0},
    [VHOST_GET_PROTOCOL_FEATURES] = {get_protocol_features, 0},
    [VHOST_SET_PROTOCOL_FEATURES] = {set_protocol_features, 0},
    [VHOST_GET_QUEUE_NUM] = {get_queue_num, NEEDS(VHOST_PF_MQ)},
    [VHOST_SET_VRING_ENABLE] = {vhost_ring_enable, 0},
    [VHOST_SEND_RARP] = {send_rarp, NEEDS(VHOST_PF_RARP)},
    [VHOST_NET_SET_MTU] = {net_set_mtu, NEEDS(VHOST_PF_MTU)},
    [VHOST_SET_BACKEND_REQ_FD] = {set_backend_req_fd,
	NEEDS(VHOST_PF_BACKEND_REQ)},
    [VHOST_GET_CONFIG] = {get_config, NEEDS(VHOST_PF_CONFIG)},
    [VHOST_SET_CONFIG] = {set_config, NEEDS(VHOST_PF_CONFIG)},
    [VHOST_RESET_DEVICE] = {reset, NEEDS(VHOST_PF_RESET_DEVICE)},
    [VHOST_GET_MAX_MEM_SLOTS] = {get_max_mem_slots,
	NEEDS(VHOST_PF_CONFIGURE_MEM_SLOTS)},
    [VHOST_ADD_MEM_REG] = {add_mem_reg, NEEDS(VHOST_PF_CONFIGURE_MEM_SLOTS)},
    [VHOST_REM_MEM_REG] = {rem_mem_reg, NEEDS(VHOST_PF_CONFIGURE_MEM_SLOTS)},
    [VHOST_SET_STATUS] = {set_status, NEEDS(VHOST_PF_STATUS)},
    [VHOST_GET_STATUS] = {get_status, NEEDS(VHOST_PF_STATUS)},
};

/*
 * answer - what becomes of a request that has been handled.
 * Returns 0, or negative: the connection ends.
 */
static int
answer(struct vhost_dev *d, const struct vhost_msg *m, int rc, struct err *e)
{
	const char *name = vhost_request_name(m->request);
	char number[24], text[WHY_BYTES];
	bool acks = m->flags & VHOST_NEED_REPLY &&
		    d->protocol >> VHOST_PF_REPLY_ACK & 1 &&
		    !vhost_request_replies(m->request);

	if (acks)
		(void)reply_u64(d, m, rc < 0);
	if (rc >= 0)
		return 0;
	(void)snprintf(number, sizeof number, "request %u", m->request);
	(void)snprintf(text, sizeof text, "%s: %.200s", name ? name : number,
	    e->text[0] ? e->text : "no answer can be sent");
	if (!acks)
		vhost_conn_fail(d->conn, "%s", text);
	else if (d->ops->refused)
		d->ops->refused(d->self, text);
	return acks ? 0 : -EPROTO;
}

static int
message(void *self, struct vhost_msg *m)
{
	struct vhost_dev *d = self;
	struct err e = {.text = ""};
	const struct handler *h;
	uint64_t life = d->life;
	int rc;

	/* Every request that the table of messages knows is served here. */
	BUG_ON(m->request >= sizeof handlers / sizeof *handlers);
	h = &handlers[m->request];
	BUG_ON(!h->handle);
	if (h->needs > 0 && !(d->ops->protocol >> (h->needs - 1) & 1))
		rc = err_set(&e, -EOPNOTSUPP, "was not offered");
	else
		rc = h->handle(d, m, &e);
	return d->life == life ? answer(d, m, rc, &e) : 0;
}

static int
bad(void *self, struct vhost_msg *m, const char *why)
{
	struct err e;

	return answer(self, m, err_set(&e, -EPROTO, "%s", why), &e);
}

/* --- life ----------------------------------------------------------------- */

/* All that belongs to one connection, but the connection. */
static void
release(struct vhost_dev *d)
{
	d->life++;
	vhost_rings_release(d);
	guest_memory_clear(&d->memory);
	fd_close_foreign(&d->request_fd);
	d->acked = d->protocol = 0;
	d->features_acked = false;
	d->status = 0;
}

static void
closed(void *self, const char *why)
{
	struct vhost_dev *d = self;
	char text[WHY_BYTES];

	(void)snprintf(text, sizeof text, "%s", why);
	vhost_dev_drop(d);
	d->ops->gone(d->self, text);
}

void
vhost_dev_init(struct vhost_dev *d, struct loop *l,
    const struct vhost_dev_ops *ops, struct virtq_mark *marks, void *self)
{
	BUG_ON(ops->queues > VHOST_QUEUES_MAX);
	memset(d, 0, sizeof *d);
	d->loop = l;
	d->marks = marks;
	d->ops = ops;
	d->self = self;
	d->request_fd = -1;
	vhost_rings_init(d);
}

void
vhost_dev_fini(struct vhost_dev *d)
{
	vhost_dev_drop(d);
}

int
vhost_dev_connect(struct vhost_dev *d, int fd)
{
	static const struct vhost_conn_ops conn_ops = {
	    .message = message,
	    .bad = bad,
	    .closed = closed,
	};

	BUG_ON(d->conn);
	/* A front-end that was dropped in the middle of a request. */
	release(d);
	d->conn = vhost_conn_new(d->loop, fd, VHOST_BACKEND, &conn_ops, d);
	return d->conn ? 0 : -ENOMEM;
}

void
vhost_dev_drop(struct vhost_dev *d)
{
	struct vhost_conn *conn = ptr_take(d->conn);

	/* The first: what our user does in the calls of `release` finds none.
	 */
	release(d);
	vhost_conn_free(conn);
}
