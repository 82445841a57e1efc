/*
 * backend_vhost.h - vhost-user messages on a unix socket, for both roles.
 *
 * A connection reads whole messages without ever blocking, with the
 * descriptors that came with them, and queues what it sends. Every message is
 * checked here for version, known request, payload size and number of
 * descriptors (the table is in backend_vhost.c); what it means is judged by
 * its handler. Specification: vhost-user.md 1 to 3.
 */
#ifndef BACKENDS_BACKEND_VHOST_H
#define BACKENDS_BACKEND_VHOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;

/* Front-end's requests; numbers of the specification. */
enum vhost_request {
	VHOST_GET_FEATURES = 1,
	VHOST_SET_FEATURES = 2,
	VHOST_SET_OWNER = 3,
	VHOST_RESET_OWNER = 4,
	VHOST_SET_MEM_TABLE = 5,
	VHOST_SET_LOG_BASE = 6,
	VHOST_SET_LOG_FD = 7,
	VHOST_SET_VRING_NUM = 8,
	VHOST_SET_VRING_ADDR = 9,
	VHOST_SET_VRING_BASE = 10,
	VHOST_GET_VRING_BASE = 11,
	VHOST_SET_VRING_KICK = 12,
	VHOST_SET_VRING_CALL = 13,
	VHOST_SET_VRING_ERR = 14,
	VHOST_GET_PROTOCOL_FEATURES = 15,
	VHOST_SET_PROTOCOL_FEATURES = 16,
	VHOST_GET_QUEUE_NUM = 17,
	VHOST_SET_VRING_ENABLE = 18,
	VHOST_SEND_RARP = 19,
	VHOST_NET_SET_MTU = 20,
	VHOST_SET_BACKEND_REQ_FD = 21,
	VHOST_GET_CONFIG = 24,
	VHOST_SET_CONFIG = 25,
	VHOST_RESET_DEVICE = 34,
	VHOST_GET_MAX_MEM_SLOTS = 36,
	VHOST_ADD_MEM_REG = 37,
	VHOST_REM_MEM_REG = 38,
	VHOST_SET_STATUS = 39,
	VHOST_GET_STATUS = 40,
};

/* Back-end's requests, on the channel of SET_BACKEND_REQ_FD. */
#define VHOST_BACKEND_CONFIG_CHANGE 2u

/* Bits of message flags. */
#define VHOST_VERSION    0x1u
#define VHOST_REPLY      0x4u
#define VHOST_NEED_REPLY 0x8u

/* Device feature bit that announces protocol features. */
#define VHOST_F_PROTOCOL_FEATURES 30

/* Protocol feature bits that this project serves. */
#define VHOST_PF_MQ                  0
#define VHOST_PF_RARP                2
#define VHOST_PF_REPLY_ACK           3
#define VHOST_PF_MTU                 4
#define VHOST_PF_BACKEND_REQ         5
#define VHOST_PF_CONFIG              9
#define VHOST_PF_RESET_DEVICE        13
#define VHOST_PF_CONFIGURE_MEM_SLOTS 15
#define VHOST_PF_STATUS              16

#define VHOST_REGIONS_MAX  8u   /* of SET_MEM_TABLE */
#define VHOST_CONFIG_BYTES 256u /* VHOST_USER_MAX_CONFIG_SIZE */
#define VHOST_FDS_MAX      8u

struct vhost_region {
	uint64_t gpa, size, uva, offset;
};

/* A message's payload, in the layout of the wire. */
union vhost_payload {
	uint64_t u64;
	struct {
		uint32_t index, num;
	} state;
	struct {
		uint32_t index, flags;
		uint64_t desc, used, avail, log;
	} addr;
	struct {
		uint32_t count, pad;
		struct vhost_region region[VHOST_REGIONS_MAX];
	} table;
	struct {
		uint64_t pad;
		struct vhost_region region;
	} slot;
	struct {
		uint32_t offset, size, flags;
		uint8_t data[VHOST_CONFIG_BYTES];
	} config;
	struct {
		uint64_t size, offset;
	} log;
	uint8_t bytes[12 + VHOST_CONFIG_BYTES];
};

struct vhost_msg {
	uint32_t request;
	uint32_t flags;
	uint32_t size; /* of the payload */
	union vhost_payload payload;
	int fds[VHOST_FDS_MAX]; /* owned by the message; -1 = none or taken */
	unsigned fd_count;
};

/* Close those descriptors that nobody took. */
void vhost_msg_close(struct vhost_msg *m);

/* Take descriptor i out of the message; -1 when there is none. */
int vhost_msg_take(struct vhost_msg *m, unsigned i);

/* Name of a front-end's request for logs; "request 77" forms are the caller's.
 * NULL when unknown. */
const char *vhost_request_name(uint32_t request);

/* Has a front-end's request a reply of its own (so that it gets no ack)? */
bool vhost_request_replies(uint32_t request);

enum vhost_role {
	VHOST_BACKEND,  /* hears requests, sends replies */
	VHOST_FRONTEND, /* sends requests, hears replies */
};

/* What is wrong with a whole message that `role` got, in a few words ("has an
 * impossible size"); NULL: nothing. */
const char *vhost_msg_wrong(const struct vhost_msg *m, enum vhost_role role);

struct vhost_conn;

struct vhost_conn_ops {
	/*
	 * A whole message. Descriptors that it leaves in m are closed by the
	 * caller. Returns 0, or a negative value: the connection is closed and
	 * `closed` is called with the text of vhost_conn_fail(), or a generic
	 * one. The handler may free the connection; m stays its own.
	 */
	int (*message)(void *self, struct vhost_msg *m);
	/*
	 * Back-end: a request that is well-framed but unknown, of a wrong size
	 * or with wrong descriptors (all closed): 0 when it has been refused
	 * with a reply and the connection goes on; negative: close. May be NULL
	 * (close).
	 */
	int (*bad)(void *self, struct vhost_msg *m, const char *why);
	/* It ended: the peer left (why = "closed by its peer"), broke the rules
	 * or stalled in the middle of a message. Called once, from the loop;
	 * may free the connection. */
	void (*closed)(void *self, const char *why);
};

/* At most this many messages are handled in one turn of the loop. */
#define VHOST_TURN_MESSAGES 32u
/* A message must be whole this long after its first byte. */
#define VHOST_MESSAGE_NS UINT64_C(5000000000)

/* vhost_conn_new - takes fd (connected, non-blocking). NULL: out of memory. */
struct vhost_conn *vhost_conn_new(struct loop *l, int fd, enum vhost_role role,
    const struct vhost_conn_ops *ops, void *self);
void vhost_conn_free(struct vhost_conn *c);

/* Words for `closed`, used when a handler returns negative. */
void vhost_conn_fail(struct vhost_conn *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * vhost_conn_send - send a message: header and payload of m in one sendmsg
 * with its descriptors, which stay the caller's. What the socket does not take
 * is kept (bounded: a peer that reads nothing ends the connection from the
 * loop). 0, or -errno when the connection is dead already.
 */
int vhost_conn_send(struct vhost_conn *c, const struct vhost_msg *m);

/* vhost_reply - answer request m: flags 5, payload of `size` bytes. */
int vhost_reply(
    struct vhost_conn *c, uint32_t request, const void *payload, uint32_t size);

#endif
