/*
 * vhost_dev_kit.h - a vhost-user device whose user writes down what it is
 * told, and the front-end that drives it: its memory, its rings, its requests.
 * Included once per test program.
 */
#ifndef TESTS_VHOST_DEV_KIT_H
#define TESTS_VHOST_DEV_KIT_H

#include "tests/unit/vhost_kit.h"

#include "backends/backend_vhost_dev.h"

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdio.h>

#define QUEUES  6u
#define ENTRIES 256u

/* The front-end's own addresses are not the guest's. */
#define RAM_BYTES UINT64_C(0x100000)
#define RAM_GPA   UINT64_C(0x40000000)
#define RAM_UVA   UINT64_C(0x7f3290000000)

/* Of each queue's 32 KiB. */
#define RING_BYTES 0x8000u
#define AVAIL_AT   0x4000u
#define USED_AT    0x5240u
#define BUFFER_AT  0x7000u

#define BIT(n) (UINT64_C(1) << (n))
#define OFFERED                                                                \
	(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_EVENT_IDX) |              \
	    BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_F_RING_PACKED) |     \
	    BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_MQ))
#define PROTOCOL                                                               \
	(BIT(VHOST_PF_MQ) | BIT(VHOST_PF_RARP) | BIT(VHOST_PF_REPLY_ACK) |     \
	    BIT(VHOST_PF_MTU) | BIT(VHOST_PF_BACKEND_REQ) |                    \
	    BIT(VHOST_PF_CONFIG) | BIT(VHOST_PF_RESET_DEVICE) |                \
	    BIT(VHOST_PF_CONFIGURE_MEM_SLOTS) | BIT(VHOST_PF_STATUS))
#define ACKED (BIT(VIRTIO_F_VERSION_1) | BIT(VHOST_F_PROTOCOL_FEATURES))

static struct dev_fixture {
	struct vhost_dev dev;
	/* what the user was told */
	bool runs[QUEUES];
	unsigned begins[QUEUES], ends[QUEUES], kicked[QUEUES];
	unsigned chains[QUEUES]; /* taken from queues of odd index */
	uint64_t features;
	unsigned features_set, resets, gone, refused, broken;
	uint8_t status, mac[6];
	uint64_t mtu;
	uint32_t config_offset, config_len;
	char why[512], refusal[512];
	/* what it does */
	bool drops_when_kicked, drops_when_ended, keeps, eager;
	/* the front-end */
	int ram_fd, kick[QUEUES], call[QUEUES], err[QUEUES];
	uint8_t *ram;
	uint16_t put[QUEUES];
	unsigned open_before;
} fx;

/* --- the device's user ---------------------------------------------------- */

static bool
user_features_ok(void *self, uint64_t acked)
{
	(void)self;
	/* Something that does not go together. */
	return !(acked & BIT(VIRTIO_NET_F_MQ)) ||
	       acked & BIT(VIRTIO_F_VERSION_1);
}

static void
user_features_set(void *self, uint64_t acked)
{
	(void)self;
	fx.features = acked;
	fx.features_set++;
}

static void
user_queue_changed(void *self, struct vhost_queue *vq, bool runs)
{
	assert_ptr_equal(self, &fx);
	assert_true(vq->index < QUEUES);
	assert_int_not_equal(fx.runs[vq->index], runs);
	assert_true(virtq_running(&vq->q) || vq->q.broken);
	fx.runs[vq->index] = runs;
	if (runs)
		fx.begins[vq->index]++;
	else
		fx.ends[vq->index]++;
	if (!runs && fx.drops_when_ended)
		vhost_dev_drop(&fx.dev);
}

static void
user_kicked(void *self, struct vhost_queue *vq)
{
	static struct virtq_chain chain;
	unsigned taken = 0;
	int rc;

	assert_ptr_equal(self, &fx);
	assert_true(fx.runs[vq->index]);
	fx.kicked[vq->index]++;
	if (fx.drops_when_kicked) {
		vhost_dev_drop(&fx.dev);
		return;
	}
	if (vq->index % 2 == 0 || fx.keeps)
		return;
	do {
		while ((rc = virtq_pop(&vq->q, &chain)) > 0) {
			virtq_push(&vq->q, chain.id, chain.slots, 0);
			taken++;
		}
	} while (rc == 0 && virtq_arm(&vq->q));
	fx.chains[vq->index] += taken;
	if (taken > 0 && virtq_flush(&vq->q))
		vhost_queue_call(vq);
	if (rc < 0) {
		fx.broken++;
		vhost_queue_broken(&fx.dev, vq);
	}
}

static void
user_config_get(void *self, uint32_t offset, uint8_t *data, uint32_t len)
{
	uint32_t i;

	(void)self;
	for (i = 0; i < len; i++)
		data[i] = (uint8_t)(offset + i + 1);
}

static int
user_config_set(void *self, uint32_t offset, const uint8_t *data, uint32_t len)
{
	(void)self;
	(void)data;
	fx.config_offset = offset;
	fx.config_len = len;
	return offset >= 6 ? -EACCES : 0;
}

static void
user_reset(void *self)
{
	(void)self;
	fx.resets++;
}

static void
user_status(void *self, uint8_t status)
{
	(void)self;
	fx.status = status;
}

static void
user_announce(void *self, const uint8_t mac[6])
{
	(void)self;
	memcpy(fx.mac, mac, 6);
}

static int
user_mtu(void *self, uint64_t mtu)
{
	(void)self;
	fx.mtu = mtu;
	return mtu < 68 || mtu > 65535 ? -EINVAL : 0;
}

static void
user_refused(void *self, const char *text)
{
	(void)self;
	fx.refused++;
	(void)snprintf(fx.refusal, sizeof fx.refusal, "%s", text);
}

static void
user_gone(void *self, const char *why)
{
	unsigned i;

	(void)self;
	fx.gone++;
	for (i = 0; i < QUEUES; i++)
		assert_false(fx.runs[i]);
	assert_false(vhost_dev_connected(&fx.dev));
	(void)snprintf(fx.why, sizeof fx.why, "%s", why);
}

static bool
user_eager(void *self, unsigned index)
{
	(void)self;
	return fx.eager && index == QUEUES - 1;
}

static const struct vhost_dev_ops user_ops = {
    .features = OFFERED,
    .protocol = PROTOCOL,
    .queues = QUEUES,
    .features_ok = user_features_ok,
    .features_set = user_features_set,
    .queue_changed = user_queue_changed,
    .eager = user_eager,
    .kicked = user_kicked,
    .config_get = user_config_get,
    .config_set = user_config_set,
    .reset = user_reset,
    .status = user_status,
    .announce = user_announce,
    .mtu = user_mtu,
    .refused = user_refused,
    .gone = user_gone,
};

/* --- the front-end -------------------------------------------------------- */

static void
connect_again(void)
{
	fd_close(&peer);
	assert_int_equal(vhost_dev_connect(&fx.dev, kit_pair()), 0);
}

/* Too much for the stack, and not to be forgotten with fx. */
static struct virtq_mark fx_marks[VHOST_QUEUES_MAX];

static void
begin(void)
{
	unsigned i;

	memset(&fx, 0, sizeof fx);
	kit_loop_open();
	fx.open_before = open_descriptors();
	fx.ram_fd = memfd_create("ram", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fx.ram_fd, (off_t)RAM_BYTES), 0);
	fx.ram = mmap(
	    NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fx.ram_fd, 0);
	assert_ptr_not_equal(fx.ram, MAP_FAILED);
	for (i = 0; i < QUEUES; i++) {
		fx.kick[i] = event_new(0); /* user-mode Linux's block */
		fx.call[i] = event_new(EFD_NONBLOCK);
		fx.err[i] = event_new(EFD_NONBLOCK);
	}
	memset(fx_marks, 0, sizeof fx_marks);
	vhost_dev_init(&fx.dev, &kit_loop, &user_ops, fx_marks, &fx);
	connect_again();
}

static void
finish(void)
{
	unsigned i;

	vhost_dev_fini(&fx.dev);
	fd_close(&peer);
	for (i = 0; i < QUEUES; i++) {
		fd_close(&fx.kick[i]);
		fd_close(&fx.call[i]);
		fd_close(&fx.err[i]);
	}
	(void)munmap(fx.ram, RAM_BYTES);
	fd_close(&fx.ram_fd);
	kit_loop_close();
	assert_int_equal(open_descriptors(), fx.open_before);
}

/* How often the front-end's memory is mapped, by it and by the device. */
static inline unsigned
mappings(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512];
	unsigned count = 0;

	assert_non_null(f);
	while (fgets(line, sizeof line, f))
		count += strstr(line, "memfd:ram") != NULL;
	(void)fclose(f);
	return count;
}

/* Nobody holds what it sent: only its own are open. */
static inline void
expect_gone(const char *why)
{
	kit_run(0);
	assert_int_equal(fx.gone, 1);
	if (!strstr(fx.why, why))
		fail_msg("'%s' is not in '%s'", why, fx.why);
	assert_int_equal(fx.dev.memory.count, 0);
	assert_int_equal(mappings(), 1);
	/* ours, its own end, and the memory */
	assert_int_equal(
	    open_descriptors(), fx.open_before + 3 * QUEUES + 1 + 1);
	fx.gone = 0;
}

static inline void
expect_ack(uint32_t request)
{
	assert_int_equal(hear_u64(request), 0);
}

static inline void
say_table(uint32_t flags)
{
	const uint64_t table[5] = {1, RAM_GPA, RAM_BYTES, RAM_UVA, 0};

	say_fds(VHOST_SET_MEM_TABLE, flags, table, sizeof table, &fx.ram_fd, 1);
}

static inline void
say_fd(uint32_t request, uint32_t flags, uint64_t index, int fd)
{
	say_fds(request, flags, &index, sizeof index, &fd, 1);
}

static inline void
say_addr(uint32_t flags, uint32_t q)
{
	const uint64_t at = RAM_UVA + q * RING_BYTES;
	const uint64_t addr[5] = {
	    q, at, at + USED_AT, at + AVAIL_AT, UINT64_MAX};

	say(VHOST_SET_VRING_ADDR, flags, addr, sizeof addr);
}

/* {NUM, BASE, ADDR} */
static inline void
say_ring(uint32_t q)
{
	say_state(VHOST_SET_VRING_NUM, 1, q, ENTRIES);
	say_state(VHOST_SET_VRING_BASE, 1, q, 0);
	say_addr(1, q);
}

static inline struct vring_desc *
desc_of(uint32_t q)
{
	return (struct vring_desc *)(void *)(fx.ram + q * RING_BYTES);
}

static inline struct vring_avail *
avail_of(uint32_t q)
{
	return (
	    struct vring_avail *)(void *)(fx.ram + q * RING_BYTES + AVAIL_AT);
}

static inline uint16_t
used_of(uint32_t q)
{
	const struct vring_used *used =
	    (const void *)(fx.ram + q * RING_BYTES + USED_AT);

	return used->idx;
}

/* Chains of one buffer each become available. */
static inline void
put(uint32_t q, unsigned count, uint16_t flags)
{
	struct vring_avail *avail = avail_of(q);
	uint16_t slot;

	for (; count > 0; count--) {
		slot = fx.put[q]++ % ENTRIES;
		desc_of(q)[slot] = (struct vring_desc){
		    .addr = RAM_GPA + q * RING_BYTES + BUFFER_AT,
		    .len = 64,
		    .flags = flags,
		};
		avail->ring[slot] = slot;
	}
	avail->idx = fx.put[q];
}

static inline void
kick(uint32_t q)
{
	assert_int_equal(sys_write(fx.kick[q], (uint64_t[]){1}, 8), 8);
	kit_run(0);
}

/* How often an eventfd was signalled; 0: it was not. */
static inline uint64_t
signals(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint64_t count = 0;

	if (poll(&p, 1, 0) == 1)
		assert_int_equal(read(fd, &count, sizeof count), 8);
	return count;
}

/* The driver sends one frame on a queue, is told, and then all is quiet. */
static inline void
expect_sends(uint32_t q)
{
	unsigned chains = fx.chains[q];

	kit_run(0);
	(void)signals(fx.call[q]);
	put(q, 1, 0);
	kick(q);
	assert_int_equal(fx.chains[q], chains + 1);
	assert_int_equal(used_of(q), fx.put[q]);
	assert_true(signals(fx.call[q]) > 0);
}

/* What all start with, the shortest way: acknowledged from here on. */
static inline void
agree(uint64_t protocol)
{
	say_u64(VHOST_SET_PROTOCOL_FEATURES, 1, protocol);
	say_u64(VHOST_SET_FEATURES, 1, ACKED);
	kit_run(0);
	assert_int_equal(fx.gone, 0);
}

/* The front-end stops a queue: where it was. */
static inline uint32_t
base_of(uint32_t q)
{
	uint32_t state[2];

	say_state(VHOST_GET_VRING_BASE, 1, q, 0);
	hear(VHOST_GET_VRING_BASE, state, sizeof state);
	assert_int_equal(state[0], q);
	return state[1];
}

/* Queues 0 and 1 run. */
static inline void
start_pair(void)
{
	uint32_t q;

	agree(PROTOCOL);
	say_table(1);
	for (q = 0; q < 2; q++) {
		say_fd(VHOST_SET_VRING_CALL, 1, q, fx.call[q]);
		say_ring(q);
		say_fd(VHOST_SET_VRING_KICK, 1, q, fx.kick[q]);
		say_state(VHOST_SET_VRING_ENABLE, 1, q, 1);
	}
	kit_run(0);
	assert_true(fx.runs[0]);
	assert_true(fx.runs[1]);
}

/*
 * refused - a request that must be refused, in both ways.
 *   prepare  what comes before it
 *   why      part of the text
 */
static inline void
refused(void (*prepare)(void), uint32_t request, const void *payload,
    uint32_t size, const int *fds, unsigned count, const char *why)
{
	begin();
	agree(PROTOCOL);
	if (prepare)
		prepare();
	if (vhost_request_name(request) == NULL ||
	    !vhost_request_replies(request)) {
		say_fds(request, 9, payload, size, fds, count);
		assert_int_equal(hear_u64(request), 1);
		assert_int_equal(fx.refused, 1);
		if (!strstr(fx.refusal, why))
			fail_msg("'%s' is not in '%s'", why, fx.refusal);
		/* The connection goes on. */
		say(VHOST_GET_FEATURES, 1, NULL, 0);
		(void)hear_u64(VHOST_GET_FEATURES);
		assert_int_equal(fx.gone, 0);
	}
	say_fds(request, 1, payload, size, fds, count);
	expect_gone(why);
	finish();
	/* 0x8 without REPLY_ACK: no reply, the end. */
	begin();
	agree(PROTOCOL & ~BIT(VHOST_PF_REPLY_ACK));
	if (prepare)
		prepare();
	say_fds(request, 9, payload, size, fds, count);
	expect_gone(why);
	finish();
}

#endif
