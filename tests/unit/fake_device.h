/*
 * fake_device.h - a vhost-user back-end inside of a test, honest unless told
 * otherwise: it answers a front-end of ours, maps its memory, and gives the
 * test the rings as a device has them. One test program each, which includes
 * the type's .c file and backend_kit.h before.
 */
#ifndef TESTS_UNIT_FAKE_DEVICE_H
#define TESTS_UNIT_FAKE_DEVICE_H

#include "backends/backend_vhost.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define FAKE_RINGS 32u
#define FAKE_LOG   512u

/* How it lies, in its answer to request `lie_at`. */
enum lie {
	LIE_NONE,
	LIE_REQUEST,     /* another request's number */
	LIE_FLAG_REPLY,  /* without the reply bit */
	LIE_FLAG_MORE,   /* with need_reply set */
	LIE_VERSION,     /* version 2 */
	LIE_SHORT,       /* four bytes of payload */
	LIE_LONG,        /* sixteen */
	LIE_EMPTY,       /* none */
	LIE_HUGE,        /* a size of 2 GiB */
	LIE_DESCRIPTORS, /* with one */
	LIE_TWICE,       /* the same answer again */
	LIE_SILENT,      /* none at all */
	LIE_REFUSE,      /* something else than 0, or nothing offered */
	LIE_CLOSE,       /* goes away */
	LIE_COUNT
};

struct fake_ring {
	uint32_t size;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	int kick, call;
	bool enabled;
	uint16_t seen, given;
};

struct fake {
	int fd;
	struct watch *watch;
	uint64_t offers, protocol, queues; /* what it has */
	uint32_t rings;                    /* others are refused; 0: none */
	uint64_t features, acked_protocol, status;
	enum lie lie;
	uint32_t lie_at;
	uint8_t *memory;
	struct vhost_region region;
	struct fake_ring ring[FAKE_RINGS];
	uint32_t log[FAKE_LOG]; /* requests heard */
	unsigned logged;
	bool closed; /* by the front-end */
};

static inline void
fake_answer(struct fake *d, uint32_t request, uint64_t value)
{
	struct {
		uint32_t request, flags, size;
		uint32_t value[4];
	} m = {request, VHOST_VERSION | VHOST_REPLY, 8, {0}};
	char space[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec v = {&m, 12};
	struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1};
	enum lie lie = request == d->lie_at ? d->lie : LIE_NONE;
	int null = -1;

	if (lie == LIE_REFUSE)
		value = request == VHOST_GET_FEATURES ||
				request == VHOST_GET_QUEUE_NUM ||
				request == VHOST_GET_STATUS
			    ? 0
			    : 1;
	memcpy(m.value, &value, sizeof value);
	if (lie == LIE_SILENT)
		return;
	if (lie == LIE_REQUEST)
		m.request++;
	if (lie == LIE_FLAG_REPLY)
		m.flags &= ~VHOST_REPLY;
	if (lie == LIE_FLAG_MORE)
		m.flags |= VHOST_NEED_REPLY;
	if (lie == LIE_VERSION)
		m.flags ^= 3;
	if (lie == LIE_SHORT)
		m.size = 4;
	if (lie == LIE_LONG)
		m.size = 16;
	if (lie == LIE_EMPTY)
		m.size = 0;
	v.iov_len += m.size;
	if (lie == LIE_HUGE)
		m.size = 0x7fffffff;
	if (lie == LIE_DESCRIPTORS) {
		struct cmsghdr *c;

		null = open("/dev/null", O_RDONLY | O_CLOEXEC);
		h.msg_control = space;
		h.msg_controllen = sizeof space;
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof null);
		memcpy(CMSG_DATA(c), &null, sizeof null);
	}
	(void)!sendmsg(d->fd, &h, MSG_NOSIGNAL);
	if (lie == LIE_TWICE)
		(void)!sendmsg(d->fd, &h, MSG_NOSIGNAL);
	fd_close(&null);
	if (lie == LIE_CLOSE)
		(void)shutdown(d->fd, SHUT_RDWR);
}

static inline void *
fake_uva(const struct fake *d, uint64_t at)
{
	BUG_ON(!d->memory || at < d->region.uva);
	BUG_ON(at - d->region.uva >= d->region.size);
	return d->memory + (at - d->region.uva);
}

static inline uint8_t *
fake_gpa(const struct fake *d, uint64_t at, uint32_t len)
{
	BUG_ON(!d->memory || at < d->region.gpa);
	BUG_ON(at - d->region.gpa > d->region.size - len);
	return d->memory + (at - d->region.gpa);
}

static inline void
fake_memory(struct fake *d, const union vhost_payload *p, int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);

	BUG_ON(p->table.count != 1 || fd < 0);
	BUG_ON(!(seals & F_SEAL_SHRINK) || !(seals & F_SEAL_GROW) ||
	       !(seals & F_SEAL_SEAL));
	d->region = p->table.region[0];
	d->memory = mmap(NULL, d->region.size, PROT_READ | PROT_WRITE,
	    MAP_SHARED, fd, (off_t)d->region.offset);
	BUG_ON(d->memory == MAP_FAILED);
}

/* The value of an answer that is always given. */
static inline bool
fake_asked(const struct fake *d, uint32_t request, uint64_t *value)
{
	switch (request) {
	case VHOST_GET_FEATURES:
		*value = d->offers;
		return true;
	case VHOST_GET_PROTOCOL_FEATURES:
		*value = d->protocol;
		return true;
	case VHOST_GET_QUEUE_NUM:
		*value = d->queues;
		return true;
	case VHOST_GET_STATUS:
		*value = d->status;
		return true;
	default:
		return false;
	}
}

static inline void
fake_ring_message(
    struct fake *d, uint32_t request, const union vhost_payload *p, int *fd)
{
	struct fake_ring *r = &d->ring[p->state.index & (FAKE_RINGS - 1)];

	switch (request) {
	case VHOST_SET_VRING_NUM:
		r->size = p->state.num;
		break;
	case VHOST_SET_VRING_BASE:
		r->seen = (uint16_t)p->state.num;
		break;
	case VHOST_SET_VRING_ADDR:
		r->desc = fake_uva(d, p->addr.desc);
		r->avail = fake_uva(d, p->addr.avail);
		r->used = fake_uva(d, p->addr.used);
		break;
	case VHOST_SET_VRING_KICK:
		r->kick = fd_take(fd);
		break;
	case VHOST_SET_VRING_CALL:
		r->call = fd_take(fd);
		break;
	case VHOST_SET_VRING_ENABLE:
		r->enabled = p->state.num != 0;
		break;
	default:
		break;
	}
}

static inline void
fake_request(struct fake *d, uint32_t request, uint32_t flags,
    const union vhost_payload *p, int *fd)
{
	uint64_t value = 0;

	BUG_ON(d->logged == FAKE_LOG);
	d->log[d->logged++] = request;
	if (request == VHOST_SET_FEATURES)
		d->features = p->u64;
	else if (request == VHOST_SET_PROTOCOL_FEATURES)
		d->acked_protocol = p->u64;
	else if (request == VHOST_SET_STATUS)
		d->status = p->u64;
	else if (request == VHOST_SET_MEM_TABLE)
		fake_memory(d, p, *fd);
	else
		fake_ring_message(d, request, p, fd);
	if (fake_asked(d, request, &value))
		fake_answer(d, request, value);
	else if (flags & VHOST_NEED_REPLY)
		fake_answer(d, request,
		    d->rings > 0 && request == VHOST_SET_VRING_CALL &&
			p->state.index >= d->rings);
}

/* One message off the socket: false when there is none. */
static inline bool
fake_read(struct fake *d)
{
	uint32_t head[3];
	union vhost_payload p = {0};
	char space[CMSG_SPACE(8 * sizeof(int))];
	struct iovec v = {head, sizeof head};
	struct msghdr h = {.msg_iov = &v,
	    .msg_iovlen = 1,
	    .msg_control = space,
	    .msg_controllen = sizeof space};
	ssize_t n = recvmsg(d->fd, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c;
	int fd = -1;

	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0) {
		d->closed = true;
		return false;
	}
	BUG_ON(n != sizeof head || head[2] > sizeof p);
	c = CMSG_FIRSTHDR(&h);
	if (c) {
		BUG_ON(c->cmsg_len != CMSG_LEN(sizeof fd));
		memcpy(&fd, CMSG_DATA(c), sizeof fd);
	}
	if (head[2] > 0)
		BUG_ON(recv(d->fd, &p, head[2], MSG_DONTWAIT) != head[2]);
	BUG_ON((head[1] & 7) != VHOST_VERSION);
	fake_request(d, head[0], head[1], &p, &fd);
	fd_close(&fd);
	return true;
}

static inline void
fake_readable(void *self, unsigned events)
{
	struct fake *d = self;

	(void)events;
	while (!d->closed && fake_read(d))
		continue;
	if (d->closed)
		watch_set(d->watch, 0);
}

/* --- life --------------------------------------------------------------------
 */

#define FAKE_BIT(n) (UINT64_C(1) << (n))
#define FAKE_OFFERS                                                            \
	(FAKE_BIT(VIRTIO_F_VERSION_1) | FAKE_BIT(VHOST_F_PROTOCOL_FEATURES) |  \
	    FAKE_BIT(VIRTIO_RING_F_EVENT_IDX) | FAKE_BIT(VIRTIO_NET_F_CSUM) |  \
	    FAKE_BIT(VIRTIO_NET_F_GUEST_CSUM) |                                \
	    FAKE_BIT(VIRTIO_NET_F_HOST_TSO4) |                                 \
	    FAKE_BIT(VIRTIO_NET_F_GUEST_TSO4) |                                \
	    FAKE_BIT(VIRTIO_NET_F_MRG_RXBUF) | FAKE_BIT(VIRTIO_NET_F_MQ) |     \
	    FAKE_BIT(VIRTIO_NET_F_CTRL_VQ) | FAKE_BIT(VIRTIO_F_RING_PACKED))
#define FAKE_PROTOCOL                                                          \
	(FAKE_BIT(VHOST_PF_MQ) | FAKE_BIT(VHOST_PF_REPLY_ACK) |                \
	    FAKE_BIT(VHOST_PF_STATUS) | FAKE_BIT(VHOST_PF_CONFIG) |            \
	    FAKE_BIT(VHOST_PF_BACKEND_REQ))

/* Before fake_open the test may change what it offers. */
static inline void
fake_init(struct fake *d)
{
	unsigned i;

	memset(d, 0, sizeof *d);
	d->fd = -1;
	d->offers = FAKE_OFFERS;
	d->protocol = FAKE_PROTOCOL;
	d->queues = 16;
	for (i = 0; i < FAKE_RINGS; i++)
		d->ring[i].kick = d->ring[i].call = -1;
}

/* Takes fd. */
static inline void
fake_open(struct fake *d, struct loop *l, int fd)
{
	d->fd = fd;
	d->watch = watch_new(l, fd, WATCH_READ, fake_readable, d);
	BUG_ON(!d->watch);
}

static inline void
fake_close(struct fake *d)
{
	unsigned i;

	watch_free(ptr_take(d->watch));
	fd_close(&d->fd);
	for (i = 0; i < FAKE_RINGS; i++) {
		fd_close(&d->ring[i].kick);
		fd_close(&d->ring[i].call);
	}
	if (d->memory)
		munmap(d->memory, d->region.size);
	d->memory = NULL;
}

/* --- the device's side of the rings
 * ---------------------------------------------- */

/* The next chain's head; -1: none. */
static inline int
fake_pop(struct fake_ring *r)
{
	if (__atomic_load_n(&r->avail->idx, __ATOMIC_ACQUIRE) == r->seen)
		return -1;
	return r->avail->ring[r->seen++ % r->size];
}

static inline void
fake_push(struct fake_ring *r, uint32_t id, uint32_t len)
{
	r->used->ring[r->given % r->size].id = id;
	r->used->ring[r->given % r->size].len = len;
	r->given++;
}

static inline void
fake_call(const struct fake_ring *r)
{
	const uint64_t one = 1;

	__atomic_store_n(&r->used->idx, r->given, __ATOMIC_RELEASE);
	(void)!write(r->call, &one, sizeof one);
}

static inline uint8_t *
fake_buffer(const struct fake *d, const struct fake_ring *r, int id)
{
	return fake_gpa(d, r->desc[id].addr, r->desc[id].len);
}

/* All bytes of a chain that the driver sent; their number. */
static inline uint32_t
fake_bytes(const struct fake *d, const struct fake_ring *r, int id, void *out)
{
	uint8_t *to = out;
	uint32_t n = 0;

	for (;;) {
		const struct vring_desc *e = &r->desc[id];

		memcpy(to + n, fake_gpa(d, e->addr, e->len), e->len);
		n += e->len;
		if (!(e->flags & VRING_DESC_F_NEXT))
			return n;
		id = e->next;
	}
}

/* A frame, after header h, to the driver, into as many buffers as it needs;
 * h's num_buffers is set unless it is 0xffff. Not yet visible. */
static inline void
fake_put(struct fake *d, struct fake_ring *r, struct virtio_net_hdr_v1 *h,
    const uint8_t *data, uint32_t len)
{
	uint32_t at = 0, part, skip = sizeof *h, k;
	uint32_t place = r->desc[r->avail->ring[r->seen % r->size]].len;
	uint32_t parts = (len + (uint32_t)sizeof *h + place - 1) / place;
	int id;

	if (h->num_buffers != 0xffff)
		h->num_buffers = (uint16_t)parts;
	for (k = 0; k < parts; k++) {
		id = fake_pop(r);
		BUG_ON(id < 0 || r->desc[id].flags != VRING_DESC_F_WRITE);
		part = r->desc[id].len - skip;
		part = part < len - at ? part : len - at;
		if (k == 0)
			memcpy(fake_buffer(d, r, id), h, sizeof *h);
		memcpy(fake_buffer(d, r, id) + skip, data + at, part);
		fake_push(r, (uint32_t)id, part + skip);
		at += part;
		skip = 0;
	}
}

#endif
