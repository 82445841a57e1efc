/*
 * nic_kit.h - the nic between a test that plays the lane (backend_kit.h) and a
 * front-end with its driver, both in the test: a socket, a memfd as the guest's
 * memory, split rings. One test program each.
 *
 * Guest-physical and front-end addresses differ, as with QEMU.
 */
#ifndef TESTS_UNIT_NIC_KIT_H
#define TESTS_UNIT_NIC_KIT_H

#include "backends/nic.c"

#include "tests/unit/backend_kit.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define BIT(n) (UINT64_C(1) << (n))

#define FE_BYTES    (4u << 20)
#define FE_GPA      UINT64_C(0x10000000)
#define FE_UVA      UINT64_C(0x700000000000)
#define FE_SIZE     64u /* entries of each queue */
#define FE_QUEUES   9u
#define FE_RING     0x4000u   /* bytes for the areas of a queue */
#define FE_BUFFERS  0x100000u /* offset of buffers in the memory */
#define FE_FEATURES (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MRG_RXBUF))
#define FE_PROTOCOL                                                            \
	(BIT(VHOST_PF_MQ) | BIT(VHOST_PF_REPLY_ACK) |                          \
	    BIT(VHOST_PF_BACKEND_REQ) | BIT(VHOST_PF_CONFIG) |                 \
	    BIT(VHOST_PF_STATUS) | BIT(VHOST_PF_RARP))
#define HEAD 12u

/* One queue, as its driver sees it. */
struct fe_queue {
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t added; /* chains */
	uint16_t next;  /* descriptor */
	uint16_t seen;  /* used elements */
	int kick, call;
};

struct fe {
	int sock, request;
	uint8_t *mem;
	int memfd;
	uint64_t features;
	unsigned queues;
	struct fe_queue q[FE_QUEUES];
};

static struct kit kit;
static struct fe fe;
static struct net_legacy_nic_options options;
static uint8_t frame[FRAME_BYTES_MAX + 8], got[FRAME_BYTES_MAX + 8];
static int listener;

static struct nic *
the_nic(void)
{
	return kit.be.self;
}

/* --- waiting -------------------------------------------------------------- */

static bool
is_readable(struct kit *k, void *arg)
{
	struct pollfd p = {.fd = *(int *)arg, .events = POLLIN};

	(void)k;
	return poll(&p, 1, 0) == 1;
}

static inline void
wait_readable(int fd)
{
	if (!kit_until(&kit, is_readable, &fd))
		fail_msg("nothing came");
}

struct counted {
	enum backend_counter counter;
	uint64_t least;
};

static bool
is_counted(struct kit *k, void *arg)
{
	struct counted *c = arg;

	return kit_counter(k, c->counter) >= c->least;
}

static inline void
wait_counter(enum backend_counter counter, uint64_t value)
{
	struct counted c = {counter, value};

	kit_until(&kit, is_counted, &c);
	assert_int_equal(kit_counter(&kit, counter), value);
}

static bool
has_used(struct kit *k, void *arg)
{
	struct fe_queue *q = arg;

	(void)k;
	return __atomic_load_n(&q->used->idx, __ATOMIC_ACQUIRE) != q->seen;
}

static bool
is_connected(struct kit *k, void *arg)
{
	return k->be.connected == *(bool *)arg;
}

static inline void
wait_connected(bool yes)
{
	assert_true(kit_until(&kit, is_connected, &yes));
}

/* --- messages ------------------------------------------------------------- */

static inline void
fe_send(uint32_t request, const void *payload, uint32_t size, int fd)
{
	struct {
		uint32_t request, flags, size;
		uint8_t payload[256];
	} m = {request, VHOST_VERSION, size, {0}};
	char control[CMSG_SPACE(sizeof fd)] = {0};
	struct iovec iov = {&m, 12 + size};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *c;

	memcpy(m.payload, payload, size);
	if (fd >= 0) {
		h.msg_control = control;
		h.msg_controllen = sizeof control;
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(c), &fd, sizeof fd);
	}
	assert_int_equal(sendmsg(fe.sock, &h, MSG_NOSIGNAL), 12 + size);
}

/* The answer to `request`: its payload. */
static inline void
fe_reply(uint32_t request, void *payload, uint32_t size)
{
	uint32_t head[3];

	wait_readable(fe.sock);
	assert_int_equal(recv(fe.sock, head, 12, MSG_WAITALL), 12);
	assert_int_equal(head[0], request);
	assert_int_equal(head[1], VHOST_VERSION | VHOST_REPLY);
	assert_int_equal(head[2], size);
	assert_int_equal(recv(fe.sock, payload, size, MSG_WAITALL), size);
}

static inline void
fe_send_u64(uint32_t request, uint64_t value, int fd)
{
	fe_send(request, &value, sizeof value, fd);
}

static inline void
fe_send_state(uint32_t request, uint32_t index, uint32_t num)
{
	const uint32_t state[2] = {index, num};

	fe_send(request, state, sizeof state, -1);
}

static inline uint64_t
fe_ask(uint32_t request)
{
	uint64_t value = 0;

	fe_send(request, "", 0, -1);
	fe_reply(request, &value, sizeof value);
	return value;
}

/* Everything sent so far has been heard. */
static inline void
fe_barrier(void)
{
	(void)fe_ask(VHOST_GET_FEATURES);
}

static inline void
fe_config(uint32_t size, uint8_t *out)
{
	struct {
		uint32_t offset, size, flags;
		uint8_t data[VHOST_CONFIG_BYTES];
	} c = {0, size, 0, {0}};

	fe_send(VHOST_GET_CONFIG, &c, 12 + size, -1);
	fe_reply(VHOST_GET_CONFIG, &c, 12 + size);
	memcpy(out, c.data, size);
}

/* --- life of a front-end -------------------------------------------------- */

static inline void
fe_memory(void)
{
	struct {
		uint32_t count, pad;
		uint64_t gpa, size, uva, offset;
	} table = {1, 0, FE_GPA, FE_BYTES, FE_UVA, 0};

	fe_send(VHOST_SET_MEM_TABLE, &table, sizeof table, fe.memfd);
}

static inline void
fe_queue_start(unsigned i)
{
	struct fe_queue *q = &fe.q[i];
	uint64_t at = FE_UVA + i * FE_RING;
	struct {
		uint32_t index, flags;
		uint64_t desc, used, avail, log;
	} addr = {i, 0, at, at + 0x2000, at + 0x1000, 0};

	fe_send_state(VHOST_SET_VRING_NUM, i, FE_SIZE);
	fe_send_state(VHOST_SET_VRING_BASE, i, q->seen);
	fe_send(VHOST_SET_VRING_ADDR, &addr, sizeof addr, -1);
	fe_send_u64(VHOST_SET_VRING_KICK, i, q->kick);
	fe_send_u64(VHOST_SET_VRING_CALL, i, q->call);
}

static inline void
fe_init(void)
{
	unsigned i;

	assert_int_equal(sys_memfd("guest", FE_BYTES, &fe.memfd), 0);
	assert_int_equal(
	    sys_map(fe.memfd, FE_BYTES, true, (void **)&fe.mem), 0);
	for (i = 0; i < FE_QUEUES; i++) {
		fe.q[i] = (struct fe_queue){
		    .desc = (void *)(fe.mem + i * FE_RING),
		    .avail = (void *)(fe.mem + i * FE_RING + 0x1000),
		    .used = (void *)(fe.mem + i * FE_RING + 0x2000),
		    .kick = eventfd(0, EFD_NONBLOCK),
		    .call = eventfd(0, EFD_NONBLOCK),
		};
	}
}

static inline void
fe_fini(void)
{
	unsigned i;

	for (i = 0; i < FE_QUEUES; i++) {
		fd_close(&fe.q[i].kick);
		fd_close(&fe.q[i].call);
	}
	sys_unmap(fe.mem, FE_BYTES);
	fd_close(&fe.memfd);
	fd_close(&fe.sock);
	fd_close(&fe.request);
}

/* A driver comes up with these features and queues. */
static inline void
fe_start(uint64_t features, unsigned queues)
{
	int pair[2];
	unsigned i;

	fe.features = features;
	fe.queues = queues;
	fe_send(VHOST_SET_OWNER, "", 0, -1);
	assert_true(fe_ask(VHOST_GET_FEATURES) & BIT(30));
	assert_int_equal(
	    fe_ask(VHOST_GET_PROTOCOL_FEATURES) & FE_PROTOCOL, FE_PROTOCOL);
	fe_send_u64(VHOST_SET_PROTOCOL_FEATURES, FE_PROTOCOL, -1);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	fe_send(VHOST_SET_BACKEND_REQ_FD, "", 0, pair[1]);
	close(pair[1]);
	fd_close(&fe.request);
	fe.request = pair[0];
	fe_send_u64(VHOST_SET_FEATURES, features | BIT(30), -1);
	fe_memory();
	for (i = 0; i < queues; i++)
		fe_queue_start(i);
	for (i = 0; i < queues; i++)
		fe_send_state(VHOST_SET_VRING_ENABLE, i, 1);
	fe_barrier();
}

/* The kit, with the memory that each nic has. */
static inline void
nic_kit_init(void)
{
	kit_init(&kit, KIT_RING_BYTES);
	assert_int_equal(sys_memfd("memory", LAUNCH_MEMORY_BYTES,
			     &kit.be.resource[RESOURCE_MEMORY]),
	    0);
}

/* The nic, listening, and nobody there yet. */
static inline void
nic_up(void)
{
	static char path[] = "nic0.sock";
	struct sockaddr_un any = {.sun_family = AF_UNIX};
	struct err err;

	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_true(listener >= 0);
	assert_int_equal(
	    bind(listener, (void *)&any, sizeof any.sun_family), 0);
	assert_int_equal(listen(listener, 4), 0);
	nic_kit_init();
	kit.be.link_up = true;
	kit.be.resource[RESOURCE_PATH] = dup(listener);
	options.path = path;
	if (kit_open(&kit, &options, &err) < 0)
		fail_msg("%s", err.text);
	fe.sock = fe.request = -1;
}

static inline void
fe_connect(void)
{
	struct sockaddr_un to;
	socklen_t len = sizeof to;

	fd_close(&fe.sock);
	fe.sock = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(getsockname(listener, (void *)&to, &len), 0);
	assert_int_equal(connect(fe.sock, (void *)&to, len), 0);
	wait_connected(true);
}

/* All of it: a driver with `features` and as many queues. */
static inline void
set_up(uint64_t features, unsigned queues)
{
	nic_up();
	fe_init();
	fe_connect();
	fe_start(features, queues);
}

static inline void
tear_down(void)
{
	kit_fini(&kit);
	fe_fini();
	fd_close(&listener);
	memset(&options, 0, sizeof options);
}

/* --- the driver ----------------------------------------------------------- */

struct part {
	uint32_t at, len; /* offset in the memory */
	bool write;
};

/* A chain of these parts; shown to the device, which is not kicked. */
static inline void
fe_add(unsigned queue, const struct part *part, unsigned count)
{
	struct fe_queue *q = &fe.q[queue];
	uint16_t head = q->next % FE_SIZE, i;
	struct vring_desc *d;

	for (i = 0; i < count; i++) {
		d = &q->desc[q->next++ % FE_SIZE];
		d->addr = FE_GPA + part[i].at;
		d->len = part[i].len;
		d->flags = part[i].write ? VRING_DESC_F_WRITE : 0;
		if (i + 1u < count)
			d->flags |= VRING_DESC_F_NEXT;
		d->next = q->next % FE_SIZE;
	}
	q->avail->ring[q->added++ % FE_SIZE] = head;
	__atomic_store_n(&q->avail->idx, q->added, __ATOMIC_RELEASE);
}

static inline void
fe_kick(unsigned queue)
{
	uint64_t one = 1;

	assert_int_equal(write(fe.q[queue].kick, &one, 8), 8);
}

/* The next chain that came back: bytes written; its head in *id. */
static inline uint32_t
fe_used(unsigned queue, uint32_t *id)
{
	struct fe_queue *q = &fe.q[queue];
	struct vring_used_elem *e = &q->used->ring[q->seen % FE_SIZE];

	if (!kit_until(&kit, has_used, q))
		fail_msg("queue %u gives nothing back", queue);
	q->seen++;
	if (id)
		*id = e->id;
	return e->len;
}

static inline unsigned
fe_used_count(unsigned queue)
{
	struct fe_queue *q = &fe.q[queue];

	return (uint16_t)(__atomic_load_n(&q->used->idx, __ATOMIC_ACQUIRE) -
			  q->seen);
}

static inline bool
is_called(struct kit *k, void *arg)
{
	const struct fe_queue *q = arg;
	struct pollfd p = {.fd = q->call, .events = POLLIN};

	(void)k;
	return poll(&p, 1, 0) == 1;
}

/* Interrupts since the last time. */
static inline uint64_t
fe_calls(unsigned queue)
{
	uint64_t calls = 0;

	if (is_called(&kit, &fe.q[queue]))
		assert_int_equal(read(fe.q[queue].call, &calls, 8), 8);
	return calls;
}

/* Give the device a buffer to receive into. */
static inline void
fe_post(unsigned queue, uint32_t at, uint32_t len)
{
	const struct part p = {FE_BUFFERS + at, len, true};

	memset(fe.mem + FE_BUFFERS + at, 0xee, len);
	fe_add(queue, &p, 1);
}

/* Send a frame that stands at `at` behind its header, in one part. */
static inline void
fe_transmit(unsigned queue, uint32_t at, const void *data, uint32_t len,
    const struct virtio_net_hdr *h)
{
	const struct part p = {FE_BUFFERS + at, HEAD + len, false};
	uint8_t *to = fe.mem + FE_BUFFERS + at;

	memset(to, 0, HEAD);
	if (h)
		memcpy(to, h, sizeof *h);
	memcpy(to + HEAD, data, len);
	fe_add(queue, &p, 1);
	fe_kick(queue);
}

/* --- the lane ------------------------------------------------------------- */

struct received {
	struct frame_meta meta;
	uint32_t len; /* 0: nothing yet */
};

static bool
has_frame(struct kit *k, void *arg)
{
	struct received *r = arg;
	struct frame f;

	if (r->len > 0)
		return true;
	if (ring_next(&k->from_backend, &f) <= 0)
		return false;
	memcpy(got, f.data, f.len);
	r->len = f.len;
	r->meta = f.meta;
	if (ring_release(&k->from_backend))
		bell_ring(k->bell);
	return true;
}

/* The next frame at the lane, in got[]; its length. */
static inline uint32_t
next_frame(struct frame_meta *meta)
{
	struct received r = {.len = 0};

	if (!kit_until(&kit, has_frame, &r))
		fail_msg("no frame for the lane");
	if (meta)
		*meta = r.meta;
	return r.len;
}

static inline void
fill_frame(uint32_t len, uint8_t fill)
{
	memset(frame, fill, len);
	memcpy(frame, "\x52\x54\x00\x12\x34\x56", 6);
	frame[12] = 0x88;
	frame[13] = 0xb5;
}

static inline void
lane_sends(uint32_t len, uint8_t fill)
{
	fill_frame(len, fill);
	assert_int_equal(kit_send(&kit, frame, len), 1);
	kit_publish(&kit);
}

#endif
