/*
 * vhost_fuzz.c - a front-end that says anything, in any order, with any
 * descriptors, and writes anything into its memory meanwhile.
 *
 * The input is a script. Whatever it says: queues are told as running and ended
 * in turn, what is popped lies inside the memory that was shared, nothing waits
 * and at the end no descriptor is left open.
 */
#include "backends/backend_vhost_dev.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define QUEUES    4u
#define RAM_BYTES UINT64_C(0x10000)
#define RAM_GPA   UINT64_C(0x40000000)
#define RAM_UVA   UINT64_C(0x7f3290000000)
#define TURNS     4u
#define BIT(n)    (UINT64_C(1) << (n))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	struct loop *loop;
	struct watch *idle;
	struct vhost_dev dev;
	struct virtq_mark *marks;
	bool made, runs[QUEUES];
	unsigned turns;
	int peer, kinds[6];
	uint8_t *ram;
	uint64_t sum;
} fz;

struct script {
	const uint8_t *at, *end;
};

static uint64_t
take(struct script *s, size_t bytes)
{
	uint64_t number = 0;

	if (bytes > (size_t)(s->end - s->at))
		bytes = (size_t)(s->end - s->at);
	memcpy(&number, s->at, bytes);
	s->at += bytes;
	return number;
}

static void
demand(int truth)
{
	if (!truth)
		abort();
}

/* --- the device's user ---------------------------------------------------- */

static void
queue_changed(void *self, struct vhost_queue *vq, bool runs)
{
	(void)self;
	demand(fz.runs[vq->index] != runs);
	fz.runs[vq->index] = runs;
}

static bool
is_eager(void *self, unsigned index)
{
	(void)self;
	return index == QUEUES - 1;
}

static void
look_at(const struct virtq_segment *seg)
{
	const struct guest_memory *m = &fz.dev.memory;
	unsigned i;

	for (i = 0; i < m->count; i++) {
		if (seg->base >= m->region[i].host &&
		    seg->base - m->region[i].host <
			(ptrdiff_t)m->region[i].size)
			break;
	}
	demand(i < m->count);
	demand(seg->len > 0 &&
	       seg->len <= m->region[i].size -
			       (uint64_t)(seg->base - m->region[i].host));
	fz.sum += seg->base[0] + seg->base[seg->len - 1];
}

static void
kicked(void *self, struct vhost_queue *vq)
{
	static struct virtq_chain chain;
	unsigned i, turn;
	int rc = 0;

	(void)self;
	demand(fz.runs[vq->index]);
	for (turn = 0; turn < 300; turn++) {
		rc = virtq_pop(&vq->q, &chain);
		if (rc < 0 || (rc == 0 && !virtq_arm(&vq->q)))
			break;
		if (rc == 0)
			continue;
		for (i = 0; i < chain.out_count + chain.in_count; i++)
			look_at(&chain.segment[i]);
		virtq_push(&vq->q, chain.id, chain.slots, 0);
	}
	if (virtq_flush(&vq->q))
		vhost_queue_call(vq);
	if (rc < 0)
		vhost_queue_broken(&fz.dev, vq);
}

static void
config_get(void *self, uint32_t offset, uint8_t *data, uint32_t len)
{
	(void)self;
	demand(offset + len <= VHOST_CONFIG_BYTES);
	memset(data, 7, len);
}

static int
config_set(void *self, uint32_t offset, const uint8_t *data, uint32_t len)
{
	uint32_t i;

	(void)self;
	demand(offset + len <= VHOST_CONFIG_BYTES);
	for (i = 0; i < len; i++)
		fz.sum += data[i];
	return offset == 0 ? 0 : -1;
}

static void
gone(void *self, const char *why)
{
	unsigned i;

	(void)self;
	demand(why[0] != '\0' && !vhost_dev_connected(&fz.dev));
	for (i = 0; i < QUEUES; i++)
		demand(!fz.runs[i]);
}

static const struct vhost_dev_ops ops = {
    .features = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_EVENT_IDX) |
		BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_F_RING_PACKED),
    .protocol = BIT(VHOST_PF_MQ) | BIT(VHOST_PF_RARP) |
		BIT(VHOST_PF_REPLY_ACK) | BIT(VHOST_PF_MTU) |
		BIT(VHOST_PF_BACKEND_REQ) | BIT(VHOST_PF_CONFIG) |
		BIT(VHOST_PF_RESET_DEVICE) | BIT(VHOST_PF_CONFIGURE_MEM_SLOTS) |
		BIT(VHOST_PF_STATUS),
    .queues = QUEUES,
    .queue_changed = queue_changed,
    .eager = is_eager,
    .kicked = kicked,
    .config_get = config_get,
    .config_set = config_set,
    .gone = gone,
};

/* --- the front-end -------------------------------------------------------- */

static void
idle_ready(void *self, unsigned events)
{
	(void)self;
	(void)events;
	if (++fz.turns >= TURNS)
		loop_stop(fz.loop, 0);
}

static void
run(void)
{
	fz.turns = 0;
	(void)loop_run(fz.loop);
}

static void
make(void)
{
	int pipes[2], pair[2], idle = eventfd(1, EFD_NONBLOCK);

	fz.loop = loop_new();
	demand(fz.loop && idle >= 0 && pipe(pipes) == 0);
	demand(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	fz.idle = watch_new(fz.loop, idle, WATCH_READ, idle_ready, NULL);
	fz.kinds[0] = memfd_create("ram", 0);
	demand(ftruncate(fz.kinds[0], (off_t)RAM_BYTES) == 0);
	fz.ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
	    fz.kinds[0], 0);
	demand(fz.ram != MAP_FAILED);
	fz.kinds[1] = eventfd(0, EFD_NONBLOCK);
	fz.kinds[2] = eventfd(0, 0);
	fz.kinds[3] = eventfd(200, EFD_SEMAPHORE | EFD_NONBLOCK);
	fz.kinds[4] = pair[0];
	fz.kinds[5] = pipes[0];
	fz.marks = calloc(VHOST_QUEUES_MAX, sizeof *fz.marks);
	demand(fz.marks != NULL);
	vhost_dev_init(&fz.dev, fz.loop, &ops, fz.marks, NULL);
	fz.made = true;
}

/* What a request would be if it were right. */
static uint32_t
right_payload(uint32_t request, uint32_t q, union vhost_payload *p)
{
	const uint64_t at = RAM_UVA + q * 0x1000;
	const struct vhost_region ram = {RAM_GPA, RAM_BYTES, RAM_UVA, 0};

	memset(p, 0, sizeof *p);
	switch (request) {
	case VHOST_SET_FEATURES:
		p->u64 = BIT(VIRTIO_F_VERSION_1) |
			 BIT(VIRTIO_RING_F_INDIRECT_DESC) |
			 (q & 1 ? 0 : BIT(VHOST_F_PROTOCOL_FEATURES)) |
			 (q & 2 ? BIT(VIRTIO_F_RING_PACKED) : 0);
		return 8;
	case VHOST_SET_PROTOCOL_FEATURES:
		p->u64 = ops.protocol;
		return 8;
	case VHOST_SET_MEM_TABLE:
		p->table.count = 1;
		p->table.region[0] = ram;
		return 40;
	case VHOST_ADD_MEM_REG:
	case VHOST_REM_MEM_REG:
		p->slot.region = ram;
		return 40;
	case VHOST_SET_VRING_ADDR:
		p->addr.index = q;
		p->addr.desc = at;
		p->addr.avail = at + 0x400;
		p->addr.used = at + 0x800;
		return 40;
	case VHOST_GET_CONFIG:
	case VHOST_SET_CONFIG:
		p->config.size = 8;
		return 20;
	default:
		p->state.index = q;
		p->state.num = request == VHOST_SET_VRING_NUM ? 32 : q & 1;
		if (request >= VHOST_SET_VRING_KICK &&
		    request <= VHOST_SET_VRING_ERR)
			p->u64 = q;
		break;
	}
	if (request == VHOST_SET_OWNER || request == VHOST_RESET_OWNER ||
	    request == VHOST_RESET_DEVICE ||
	    request == VHOST_SET_BACKEND_REQ_FD)
		return 0;
	return vhost_request_replies(request) && request != VHOST_GET_VRING_BASE
		   ? 0
		   : 8;
}

static void
say(const void *bytes, size_t len, const int *fds, unsigned count)
{
	static union {
		struct cmsghdr align;
		char room[CMSG_SPACE(16 * sizeof(int))];
	} u;
	struct iovec iov = {.iov_len = len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	memcpy(&iov.iov_base, &bytes, sizeof bytes);
	if (count > 0) {
		msg.msg_control = &u;
		msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
		u.align.cmsg_level = SOL_SOCKET;
		u.align.cmsg_type = SCM_RIGHTS;
		u.align.cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&u.align), fds, count * sizeof(int));
	}
	(void)sendmsg(fz.peer, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void
say_message(struct script *s)
{
	uint8_t bytes[12 + sizeof(union vhost_payload)];
	union vhost_payload p;
	uint32_t head[3];
	uint32_t request = (uint32_t)take(s, 1) % 44;
	uint8_t how = (uint8_t)take(s, 1);
	uint32_t size = right_payload(request, how >> 6, &p);
	unsigned count = 0, kind = how >> 3 & 7, i;
	int fds[10];

	/* Bits 0-2: what is wrong; 3-5: which descriptor; 6-7: which queue. */
	if (kind < 6)
		count = 1;
	if ((how & 7) == 7)
		count = (unsigned)take(s, 1) % 11;
	for (i = 0; i < count && i < 10; i++)
		fds[i] = fz.kinds[(kind + i) % 6];
	if ((how & 7) == 6)
		size = (uint32_t)take(s, 2);
	for (i = 0; (how & 7) == 5 && i < 3; i++)
		p.bytes[take(s, 1) % sizeof p.bytes] ^= (uint8_t)take(s, 1);
	head[0] = request;
	head[1] = (how & 7) == 4 ? (uint32_t)take(s, 4) : how & 1 ? 9 : 1;
	head[2] = size;
	if (size > sizeof p.bytes)
		size = sizeof p.bytes;
	memcpy(bytes, head, sizeof head);
	memcpy(bytes + sizeof head, p.bytes, size);
	say(bytes, sizeof head + size, fds, count > 10 ? 10 : count);
}

static void
step(struct script *s)
{
	uint8_t bytes[256], what = (uint8_t)take(s, 1);
	uint64_t at, value;
	unsigned i;

	switch (what & 7) {
	case 5:
		for (i = 0; i < what >> 3; i++)
			bytes[i] = (uint8_t)take(s, 1);
		say(bytes, i, NULL, 0);
		break;
	case 6:
		at = take(s, 2) % (RAM_BYTES - 8);
		value = take(s, 8);
		memcpy(fz.ram + at, &value, sizeof value);
		break;
	case 7:
		value = 1;
		if (what >> 3 == 31)
			(void)vhost_dev_config_changed(&fz.dev);
		else
			(void)sys_write(fz.kinds[1], &value, sizeof value);
		break;
	default:
		say_message(s);
	}
}

static int
lowest_free(void)
{
	int fd = dup(fz.kinds[0]);

	demand(fd >= 0);
	close(fd);
	return fd;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script s = {data, data + size};
	uint8_t waste[4096];
	uint64_t count;
	int pair[2], before;

	if (!fz.made)
		make();
	before = lowest_free();
	memset(fz.ram, 0, RAM_BYTES);
	demand(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	fz.peer = pair[1];
	demand(vhost_dev_connect(&fz.dev, pair[0]) == 0);
	while (s.at < s.end) {
		step(&s);
		run();
		while (recv(fz.peer, waste, sizeof waste, MSG_DONTWAIT) > 0)
			;
	}
	if (size % 2)
		vhost_dev_drop(&fz.dev);
	close(fz.peer);
	while (vhost_dev_connected(&fz.dev))
		run();
	while (read(fz.kinds[1], &count, sizeof count) > 0)
		;
	demand(lowest_free() == before);
	return 0;
}
