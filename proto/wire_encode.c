/*
 * wire_encode.c - C values to msgpack, and messages to a channel.
 *
 * Runs in: broker, lanes, backends.
 * Trusts: the values, which are our own; but not that text is UTF-8.
 */
#include "proto/chan.h"
#include "proto/wire.h"

#include <errno.h>
#include <msgpack.h>
#include <string.h>

_Static_assert(WIRE_BYTES_MAX == CHAN_BYTES_MAX, "one limit");
_Static_assert(WIRE_FDS_MAX == CHAN_FDS_MAX, "one limit");

/* A buffer that does not grow. */
struct room {
	uint8_t *buf;
	size_t size, used;
};

static int
room_write(void *data, const char *buf, size_t len)
{
	struct room *r = data;

	if (len > r->size - r->used)
		return -1;
	if (len)
		memcpy(r->buf + r->used, buf, len);
	r->used += len;
	return 0;
}

/* What the packer could not write is too long: it has no other error. */
static int
packed(int rc)
{
	return rc < 0 ? -EMSGSIZE : 0;
}

static int encode(msgpack_packer *pk, const struct desc *d, const void *v);

static int
encode_str(msgpack_packer *pk, const void *v)
{
	const char *text;
	size_t n;

	memcpy(&text, v, sizeof text);
	n = text ? strlen(text) : 0;
	if (!text || !desc_text_valid(text, n))
		return -EINVAL;
	if (n > WIRE_BYTES_MAX)
		return -EMSGSIZE;
	if (msgpack_pack_str(pk, n) < 0)
		return -EMSGSIZE;
	return packed(msgpack_pack_str_body(pk, text, n));
}

static int
encode_int(msgpack_packer *pk, const struct desc *d, const void *v)
{
	uint64_t n = desc_int_get(d, v);

	if (d->kind == DESC_ENUM && n >= d->name_count)
		return -EINVAL;
	if (d->kind == DESC_INT)
		return packed(msgpack_pack_int64(pk, (int64_t)n));
	return packed(msgpack_pack_uint64(pk, n));
}

static int
encode_number(msgpack_packer *pk, const void *v)
{
	double f;

	memcpy(&f, v, sizeof f);
	if (f != f || f - f != 0)
		return -EINVAL;
	return packed(msgpack_pack_double(pk, f));
}

static int
encode_list(msgpack_packer *pk, const struct desc *d, const struct desc_list *v)
{
	size_t i;
	int rc;

	if (msgpack_pack_array(pk, v->count) < 0)
		return -EMSGSIZE;
	for (i = 0; i < v->count; i++) {
		rc = encode(
		    pk, d->item, (const char *)v->items + i * d->item->bytes);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
encode_members(msgpack_packer *pk, const struct desc *d, const void *v)
{
	size_t i;
	int rc;

	for (i = 0; i < d->member_count; i++) {
		const struct desc_member *m = &d->members[i];

		if (desc_present(m, v))
			rc = encode(pk, m->type, desc_value(m, v));
		else
			rc = packed(msgpack_pack_nil(pk));
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
encode_struct(msgpack_packer *pk, const struct desc *d, const void *v)
{
	const struct desc *in = desc_branch_of(d, v);
	int rc;

	if (msgpack_pack_array(
		pk, d->member_count + (in ? in->member_count : 0)) < 0)
		return -EMSGSIZE;
	rc = encode_members(pk, d, v);
	if (rc < 0 || !in)
		return rc;
	return encode_members(pk, in, (const char *)v + d->union_offset);
}

static int
encode(msgpack_packer *pk, const struct desc *d, const void *v)
{
	switch (d->kind) {
	case DESC_STR:
		return encode_str(pk, v);
	case DESC_BOOL:
		return packed(*(const bool *)v ? msgpack_pack_true(pk)
					       : msgpack_pack_false(pk));
	case DESC_NUMBER:
		return encode_number(pk, v);
	case DESC_STRUCT:
		return encode_struct(pk, d, v);
	case DESC_LIST:
		return encode_list(pk, d, v);
	case DESC_INT:
	case DESC_UINT:
	case DESC_SIZE:
	case DESC_ENUM:
		break;
	}
	return encode_int(pk, d, v);
}

/* wire_encode - see wire.h */
int
wire_encode(
    const struct desc *d, const void *v, uint8_t *buf, size_t size, size_t *len)
{
	struct room r = {buf, size, 0};
	msgpack_packer pk;
	int rc;

	msgpack_packer_init(&pk, &r, room_write);
	rc = encode(&pk, d, v);
	*len = r.used;
	return rc;
}

/* wire_encode_message - see wire.h; buf has WIRE_BYTES_MAX bytes */
int
wire_encode_message(const struct wire_table *t, unsigned id, uint32_t seq,
    const void *m, struct wire_out *out)
{
	struct room r = {out->buf, sizeof out->buf, 0};
	msgpack_packer pk;
	int rc;

	msgpack_packer_init(&pk, &r, room_write);
	rc = packed(msgpack_pack_array(&pk, 3) | msgpack_pack_uint32(&pk, id) |
		    msgpack_pack_uint32(&pk, seq));
	if (rc == 0)
		rc = encode(&pk, t->messages[id].desc, m);
	out->len = r.used;
	return rc;
}

/* wire_send - see wire.h */
int
wire_send(const struct wire_envelope *e, const struct wire_table *t,
    const void *m, const int fds[])
{
	struct wire_out out;
	int rc;

	rc = wire_encode_message(t, e->id, e->seq, m, &out);
	if (rc < 0)
		return rc;
	return chan_send(
	    e->chan, out.buf, out.len, fds, fds ? t->messages[e->id].fds : 0);
}
