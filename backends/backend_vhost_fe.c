/*
 * backend_vhost_fe.c - the front-end's half of a vhost-user conversation.
 *
 * Runs in: bulkhead-vhost-user. Trusts: nothing that the back-end says.
 * Specification: vhost-user.md 10 (the order), 4 (what real ones bear), 9
 * ("BE hostile to our FE").
 *
 * Theory of operation
 * The conversation is a table of steps. Each says something; some have an
 * answer, which is awaited with a deadline, judged, and leads to the next
 * step. A step that the back-end's features do not have is left out. Nothing
 * is ever said by the back-end of its own accord: any message that is not the
 * answer awaited, to the bit, ends the conversation.
 * GET_VRING_BASE is not said at the end: what it tells is where a successor
 * would go on, and every connection of ours has rings of its own.
 */
#include "backends/backend_vhost_fe.h"

#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BIT(n) (UINT64_C(1) << (n))

/* linux/virtio_net.h since Linux 6.2. */
#ifndef VIRTIO_NET_F_GUEST_USO4
#define VIRTIO_NET_F_GUEST_USO4 54
#define VIRTIO_NET_F_GUEST_USO6 55
#define VIRTIO_NET_F_HOST_USO   56
#endif

#define PROTOCOL_WANTED                                                        \
	(BIT(VHOST_PF_MQ) | BIT(VHOST_PF_REPLY_ACK) | BIT(VHOST_PF_STATUS))

#define STATUS_FEATURES                                                        \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |                \
	    VIRTIO_CONFIG_S_FEATURES_OK)

struct vhost_fe {
	const struct vhost_fe_ops *ops; /* borrowed, with self */
	void *self;
	struct vhost_fe_config config;
	struct vhost_conn *conn;     /* owned */
	struct timer *deadline;      /* owned: pending while an answer is due */
	unsigned at, pair;           /* step; of which pair, if it is each's */
	uint32_t awaited;            /* request whose answer is due; 0: none */
	uint64_t features, protocol; /* agreed */
	bool running, fault;
};

/* --- saying ----------------------------------------------------------------
 */

static void
say(struct vhost_fe *fe, struct vhost_msg *m, uint32_t request, uint32_t size)
{
	m->request = request;
	m->flags |= VHOST_VERSION;
	m->size = size;
	/* A dead connection is told by the loop, or misses the deadline. */
	(void)vhost_conn_send(fe->conn, m);
}

static void
say_u64(struct vhost_fe *fe, uint32_t request, uint32_t flags, uint64_t value)
{
	struct vhost_msg m = {.flags = flags, .payload.u64 = value};

	say(fe, &m, request, sizeof m.payload.u64);
}

static void
say_state(struct vhost_fe *fe, uint32_t request, uint32_t flags, uint32_t index,
    uint32_t num)
{
	struct vhost_msg m = {.flags = flags};

	m.payload.state.index = index;
	m.payload.state.num = num;
	say(fe, &m, request, sizeof m.payload.state);
}

static void
say_fd(struct vhost_fe *fe, uint32_t request, uint32_t flags, uint32_t index,
    int fd)
{
	struct vhost_msg m = {
	    .flags = flags, .payload.u64 = index, .fd_count = 1};

	m.fds[0] = fd;
	say(fe, &m, request, sizeof m.payload.u64);
}

static bool
has_protocol(const struct vhost_fe *fe, unsigned bit)
{
	return (fe->protocol & BIT(bit)) != 0;
}

/* The flag that asks for an acknowledgement, where there is such a thing. */
static uint32_t
ack_flag(const struct vhost_fe *fe)
{
	return has_protocol(fe, VHOST_PF_REPLY_ACK) ? VHOST_NEED_REPLY : 0;
}

/* The back-end cannot be used, or broke the rules. */
#define REFUSE(fe, ...)                                                        \
	((fe)->fault = true, vhost_conn_fail((fe)->conn, __VA_ARGS__), -EPROTO)

/* --- the steps: features ---------------------------------------------------
 */

static bool
has_protocol_features(const struct vhost_fe *fe)
{
	return (fe->features & BIT(VHOST_F_PROTOCOL_FEATURES)) != 0;
}

static bool
has_ack(const struct vhost_fe *fe)
{
	return has_protocol(fe, VHOST_PF_REPLY_ACK);
}

static bool
has_mq(const struct vhost_fe *fe)
{
	return has_protocol(fe, VHOST_PF_MQ);
}

static bool
has_status(const struct vhost_fe *fe)
{
	return has_protocol(fe, VHOST_PF_STATUS);
}

static void
say_owner(struct vhost_fe *fe)
{
	struct vhost_msg m = {0};

	say(fe, &m, VHOST_SET_OWNER, 0);
}

static void
ask_features(struct vhost_fe *fe)
{
	struct vhost_msg m = {0};

	say(fe, &m, VHOST_GET_FEATURES, 0);
}

/* Leave out what another bit must come with (VIRTIO 1.2, 5.1.3.1). Large
 * frames in buffers of ours come in pieces only. */
static uint64_t
settle(uint64_t f)
{
	const uint64_t guest_tso =
	    BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6);
	const uint64_t host_tso =
	    BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6);

	if (!(f & BIT(VIRTIO_NET_F_GUEST_CSUM)) ||
	    !(f & BIT(VIRTIO_NET_F_MRG_RXBUF)))
		f &= ~(guest_tso | BIT(VIRTIO_NET_F_GUEST_UFO) |
		       BIT(VIRTIO_NET_F_GUEST_USO4) |
		       BIT(VIRTIO_NET_F_GUEST_USO6));
	if (!(f & BIT(VIRTIO_NET_F_CSUM)))
		f &= ~(host_tso | BIT(VIRTIO_NET_F_HOST_UFO) |
		       BIT(VIRTIO_NET_F_HOST_USO));
	if (!(f & guest_tso))
		f &= ~BIT(VIRTIO_NET_F_GUEST_ECN);
	if (!(f & host_tso))
		f &= ~BIT(VIRTIO_NET_F_HOST_ECN);
	return f;
}

static int
hear_features(struct vhost_fe *fe, uint64_t offered)
{
	if (!(offered & BIT(VIRTIO_F_VERSION_1)))
		return REFUSE(fe, "the back-end offers no VIRTIO 1.0 device "
				  "(feature VERSION_1)");
	if (fe->config.pairs > 1 && !(offered & BIT(VHOST_F_PROTOCOL_FEATURES)))
		return REFUSE(fe,
		    "the back-end has one pair of queues and "
		    "queues=%u was asked for: use queues=1",
		    fe->config.pairs);
	fe->features = settle(offered & fe->config.features);
	if (fe->config.pairs == 1)
		fe->features &= ~BIT(VIRTIO_NET_F_MQ);
	fe->features |= offered & BIT(VHOST_F_PROTOCOL_FEATURES);
	return 0;
}

static void
ask_protocol(struct vhost_fe *fe)
{
	struct vhost_msg m = {0};

	say(fe, &m, VHOST_GET_PROTOCOL_FEATURES, 0);
}

static int
hear_protocol(struct vhost_fe *fe, uint64_t offered)
{
	fe->protocol = offered & PROTOCOL_WANTED;
	if (fe->config.pairs > 1 && !has_mq(fe))
		return REFUSE(fe,
		    "the back-end has one pair of queues and "
		    "queues=%u was asked for: use queues=1",
		    fe->config.pairs);
	return 0;
}

static void
say_protocol(struct vhost_fe *fe)
{
	say_u64(fe, VHOST_SET_PROTOCOL_FEATURES, 0, fe->protocol);
}

static void
ask_queues(struct vhost_fe *fe)
{
	struct vhost_msg m = {0};

	say(fe, &m, VHOST_GET_QUEUE_NUM, 0);
}

static int
hear_queues(struct vhost_fe *fe, uint64_t pairs)
{
	if (pairs >= fe->config.pairs)
		return 0;
	return REFUSE(fe,
	    "the back-end has %llu pairs of queues and queues=%u "
	    "was asked for: lower queues=, or give it more",
	    (unsigned long long)pairs, fe->config.pairs);
}

/*
 * What goes with descriptors is said pair by pair, each with an answer where
 * the back-end has such: few descriptors are on their way at a time.
 */
static void
say_calls(struct vhost_fe *fe)
{
	uint32_t rx = 2 * fe->pair, tx = rx + 1;

	say_fd(fe, VHOST_SET_VRING_CALL, 0, rx, fe->config.ring[rx].call);
	say_fd(fe, VHOST_SET_VRING_CALL, ack_flag(fe), tx,
	    fe->config.ring[tx].call);
}

static void
say_features(struct vhost_fe *fe)
{
	say_u64(fe, VHOST_SET_FEATURES, ack_flag(fe), fe->features);
}

static int
hear_ack(struct vhost_fe *fe, uint64_t value)
{
	const char *name = vhost_request_name(fe->awaited);

	if (value == 0)
		return 0;
	/* Some say the number of queues where that of pairs is asked for. */
	if (fe->awaited == VHOST_SET_VRING_CALL && fe->pair > 0)
		return REFUSE(fe,
		    "the back-end has %u pairs of queues and queues=%u was "
		    "asked for: lower queues=, or give it more",
		    fe->pair, fe->config.pairs);
	return REFUSE(fe, "the back-end refused %s", name ? name : "a request");
}

/* --- the steps: status, memory, rings --------------------------------------
 */

static void
say_status_features(struct vhost_fe *fe)
{
	say_u64(fe, VHOST_SET_STATUS, ack_flag(fe), STATUS_FEATURES);
}

static void
ask_status(struct vhost_fe *fe)
{
	struct vhost_msg m = {0};

	say(fe, &m, VHOST_GET_STATUS, 0);
}

static int
hear_status(struct vhost_fe *fe, uint64_t status)
{
	if (status & VIRTIO_CONFIG_S_FEATURES_OK)
		return 0;
	return REFUSE(fe, "the back-end does not accept the features that it "
			  "offered");
}

static void
say_memory(struct vhost_fe *fe)
{
	struct vhost_msg m = {.flags = ack_flag(fe), .fd_count = 1};

	m.payload.table.count = 1;
	m.payload.table.region[0] = fe->config.region;
	m.fds[0] = fe->config.memory;
	say(fe, &m, VHOST_SET_MEM_TABLE, 8 + sizeof m.payload.table.region[0]);
}

static void
say_ring(struct vhost_fe *fe, uint32_t index, uint32_t flags)
{
	const struct vhost_fe_ring *r = &fe->config.ring[index];
	struct vhost_msg m = {0};

	say_state(fe, VHOST_SET_VRING_NUM, 0, index, r->size);
	say_state(fe, VHOST_SET_VRING_BASE, 0, index, 0);
	m.payload.addr.index = index;
	m.payload.addr.desc = r->desc;
	m.payload.addr.used = r->used;
	m.payload.addr.avail = r->avail;
	say(fe, &m, VHOST_SET_VRING_ADDR, sizeof m.payload.addr);
	say_fd(fe, VHOST_SET_VRING_KICK, flags, index, r->kick);
}

static void
say_rings(struct vhost_fe *fe)
{
	say_ring(fe, 2 * fe->pair, 0);
	say_ring(fe, 2 * fe->pair + 1, ack_flag(fe));
}

/* The last one asks for the acknowledgement: the back-end is through then. */
static void
say_enable(struct vhost_fe *fe)
{
	uint32_t i, count = 2 * fe->config.pairs;

	for (i = 0; i < count; i++)
		say_state(fe, VHOST_SET_VRING_ENABLE,
		    i + 1 == count ? ack_flag(fe) : 0, i, 1);
}

static void
say_status_ok(struct vhost_fe *fe)
{
	say_u64(fe, VHOST_SET_STATUS, ack_flag(fe),
	    STATUS_FEATURES | VIRTIO_CONFIG_S_DRIVER_OK);
}

/* A step's answer: none, an acknowledgement where the back-end has such, or
 * one that is always given. */
enum answer { ANSWER_NONE, ANSWER_ACK, ANSWER_ALWAYS };

static const struct step {
	bool (*wanted)(const struct vhost_fe *fe); /* NULL: always */
	void (*say)(struct vhost_fe *fe);
	uint32_t request; /* the answer's */
	enum answer answer;
	int (*hear)(struct vhost_fe *fe, uint64_t value);
	bool each; /* for each pair */
} steps[] = {
    {NULL, say_owner, 0, ANSWER_NONE, NULL, false},
    {NULL, ask_features, VHOST_GET_FEATURES, ANSWER_ALWAYS, hear_features,
	false},
    {has_protocol_features, ask_protocol, VHOST_GET_PROTOCOL_FEATURES,
	ANSWER_ALWAYS, hear_protocol, false},
    {has_protocol_features, say_protocol, 0, ANSWER_NONE, NULL, false},
    {has_mq, ask_queues, VHOST_GET_QUEUE_NUM, ANSWER_ALWAYS, hear_queues,
	false},
    {NULL, say_calls, VHOST_SET_VRING_CALL, ANSWER_ACK, hear_ack, true},
    {NULL, say_features, VHOST_SET_FEATURES, ANSWER_ACK, hear_ack, false},
    {has_status, say_status_features, VHOST_SET_STATUS, ANSWER_ACK, hear_ack,
	false},
    {has_status, ask_status, VHOST_GET_STATUS, ANSWER_ALWAYS, hear_status,
	false},
    {NULL, say_memory, VHOST_SET_MEM_TABLE, ANSWER_ACK, hear_ack, false},
    {NULL, say_rings, VHOST_SET_VRING_KICK, ANSWER_ACK, hear_ack, true},
    {has_protocol_features, say_enable, VHOST_SET_VRING_ENABLE, ANSWER_ACK,
	hear_ack, false},
    {has_status, say_status_ok, VHOST_SET_STATUS, ANSWER_ACK, hear_ack, false},
};
#define STEPS (sizeof steps / sizeof *steps)

/* --- hearing ---------------------------------------------------------------
 */

static bool
is_answered(const struct vhost_fe *fe, const struct step *s)
{
	return s->answer == ANSWER_ALWAYS ||
	       (s->answer == ANSWER_ACK && has_ack(fe));
}

/* The step is done: the next pair's, or the next. */
static void
next_step(struct vhost_fe *fe)
{
	if (steps[fe->at].each && ++fe->pair < fe->config.pairs)
		return;
	fe->pair = 0;
	fe->at++;
}

/* Say what comes next, up to the next answer that is due. */
static void
go_on(struct vhost_fe *fe)
{
	while (fe->at < STEPS) {
		const struct step *s = &steps[fe->at];

		if (s->wanted && !s->wanted(fe)) {
			fe->at++;
			continue;
		}
		s->say(fe);
		if (is_answered(fe, s)) {
			fe->awaited = s->request;
			timer_set_ns(fe->deadline, fe->config.reply_ns);
			return;
		}
		next_step(fe);
	}
	fe->running = true;
	fe->ops->up(fe->self, fe->features);
}

static int
message(void *self, struct vhost_msg *m)
{
	struct vhost_fe *fe = self;
	int rc;

	if (fe->awaited == 0 || m->request != fe->awaited)
		return REFUSE(fe,
		    "the back-end said %u, which is no answer to "
		    "what was asked",
		    m->request);
	if (m->flags != (VHOST_VERSION | VHOST_REPLY) ||
	    m->size != sizeof m->payload.u64 || m->fd_count != 0)
		return REFUSE(fe,
		    "the back-end's answer to %u has wrong flags, "
		    "size or descriptors",
		    m->request);
	timer_stop(fe->deadline);
	rc = steps[fe->at].hear(fe, m->payload.u64);
	if (rc < 0)
		return rc;
	fe->awaited = 0;
	next_step(fe);
	go_on(fe);
	return 0;
}

static void
closed(void *self, const char *why)
{
	struct vhost_fe *fe = self;
	bool left = strncmp(why, "closed by its peer", 18) == 0;

	timer_stop(fe->deadline);
	fe->ops->down(fe->self, why, fe->fault || !left);
}

static void
deadline_expired(void *self)
{
	struct vhost_fe *fe = self;
	const char *name = vhost_request_name(fe->awaited);
	char why[96];

	(void)snprintf(why, sizeof why,
	    "the back-end did not answer %s in time",
	    name ? name : "a request");
	vhost_conn_free(ptr_take(fe->conn));
	fe->ops->down(fe->self, why, true);
}

static const struct vhost_conn_ops conn_ops = {
    .message = message,
    .closed = closed,
};

/* --- life ------------------------------------------------------------------
 */

struct vhost_fe *
vhost_fe_new(struct loop *l, int fd, const struct vhost_fe_config *c,
    const struct vhost_fe_ops *ops, void *self)
{
	struct vhost_fe *fe = calloc(1, sizeof *fe);

	if (!fe) {
		fd_close(&fd);
		return NULL;
	}
	fe->ops = ops;
	fe->self = self;
	fe->config = *c;
	if (fe->config.reply_ns == 0)
		fe->config.reply_ns = VHOST_FE_REPLY_NS;
	fe->deadline = timer_new(l, deadline_expired, fe);
	if (fe->deadline)
		fe->conn = vhost_conn_new(l, fd, VHOST_FRONTEND, &conn_ops, fe);
	else
		fd_close(&fd);
	if (!fe->conn) {
		vhost_fe_free(fe);
		return NULL;
	}
	go_on(fe);
	return fe;
}

void
vhost_fe_part(struct vhost_fe *fe)
{
	uint32_t i;

	if (fe && fe->running && fe->conn) {
		for (i = 0; i < 2 * fe->config.pairs; i++)
			if (has_protocol_features(fe))
				say_state(fe, VHOST_SET_VRING_ENABLE, 0, i, 0);
		if (has_status(fe))
			say_u64(fe, VHOST_SET_STATUS, 0, 0);
	}
	vhost_fe_free(fe);
}

void
vhost_fe_free(struct vhost_fe *fe)
{
	if (!fe)
		return;
	vhost_conn_free(ptr_take(fe->conn));
	timer_free(ptr_take(fe->deadline));
	free(fe);
}
