/*
 * wire.h - control messages: C values to bounded msgpack and back.
 *
 * Owns nothing. Used by the broker, the lanes and the backends, through the
 * generated fronts in gen/control.h. A message is an array [id, seq, fields];
 * a struct is an array of its members in schema order, an absent member is
 * nil, a union is its base members and then those of its branch.
 */
#ifndef PROTO_WIRE_H
#define PROTO_WIRE_H

#include "proto/desc.h"

#define WIRE_BYTES_MAX 65536u /* = CHAN_BYTES_MAX */
#define WIRE_DEPTH_MAX 8u     /* of arrays; schemac keeps below it */
#define WIRE_FDS_MAX   8u     /* = CHAN_FDS_MAX */

struct chan;

/* One row of the generated table. */
struct wire_message {
	const char *name;
	const struct desc *desc;
	unsigned from, to;    /* bits of enum ctl_role */
	size_t fds;           /* descriptors that travel with it */
	bool fds_optional;    /* all of them or none */
	bool idempotent;      /* may be repeated after a restart */
	int reply;            /* id, or -1 */
	uint32_t deadline_ms; /* for the reply; 0: no reply */
};

struct wire_table {
	const struct wire_message *messages;
	size_t count;
};

/* A handler's generated front. */
typedef int (*wire_handler)(void *self, uint32_t seq, const void *m, int *fds);

/* A datagram as the channel delivered it. */
struct wire_in {
	unsigned from; /* the one role that speaks on this channel */
	const uint8_t *buf;
	size_t len;
	int *fds; /* owned by who gets this struct */
	size_t fd_count;
};

/*
 * wire_encode - one value as msgpack into buf. Returns 0 and *len; -EMSGSIZE
 * when it does not fit; -EINVAL for text that is not UTF-8 or a tag or enum
 * out of range.
 */
int wire_encode(const struct desc *d, const void *v, uint8_t *buf, size_t size,
    size_t *len);

/*
 * wire_decode - the reverse, strict, into the zeroed value `v`. Returns 0;
 * -EPROTO for anything that wire_encode would not have written (the sender is
 * at fault); -ENOMEM. On error v is empty again.
 */
int wire_decode(const struct desc *d, const uint8_t *buf, size_t len, void *v);

/*
 * wire_check - the bound check that stands before msgpack-c: exactly one
 * value, size and depth within limits, every declared count backed by bytes,
 * only nil, bool, integers, doubles, strings and arrays. 0 or -EPROTO.
 */
int wire_check(const uint8_t *buf, size_t len);

/*
 * wire_dispatch - decode a message and call its handler. `role` is the
 * receiver's bit. Returns what the handler returned, or -EPROTO when the
 * sender is at fault; the descriptors are closed on any error of ours and
 * belong to the handler otherwise.
 */
int wire_dispatch(const struct wire_table *t, const wire_handler *handlers,
    unsigned role, void *self, struct wire_in *in);

/* Where a message goes. */
struct wire_envelope {
	struct chan *chan; /* borrowed */
	unsigned id;       /* row of the table */
	uint32_t seq;
};

/* An encoded message; large, for the stack of who sends. */
struct wire_out {
	size_t len;
	uint8_t buf[WIRE_BYTES_MAX];
};

/*
 * wire_send - encode a message and give it to the channel. `fds` holds as
 * many descriptors as the message declares (the caller keeps them), or is
 * NULL. Returns as chan_send() and wire_encode().
 */
int wire_send(const struct wire_envelope *e, const struct wire_table *t,
    const void *m, const int fds[]);

/* wire_encode_message - what wire_send gives to the channel. */
int wire_encode_message(const struct wire_table *t, unsigned id, uint32_t seq,
    const void *m, struct wire_out *out);

/* Table look-ups: "?" and 0 when there is no such message. */
const char *wire_name(const struct wire_table *t, size_t id);
unsigned wire_deadline_ms(const struct wire_table *t, size_t id);

#endif
