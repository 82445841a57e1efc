/*
 * wire.c - bounded msgpack for control messages.
 *
 * msgpack-c believes declared counts: five hostile bytes make it reserve
 * 512 MiB. So wire_check() walks the headers first, on a small stack of its
 * own; what passes is at most WIRE_BYTES_MAX bytes with every claim backed,
 * and only then is unpacked. Conversion is strict: what wire_encode() would
 * not have written is refused, and the sender is at fault.
 *
 * Runs in: broker, lanes, backends.
 * Trusts: the descriptor tables; no byte of the message.
 * Specification: github.com/msgpack/msgpack/blob/master/spec.md
 */
#include "proto/wire.h"

#include <errno.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Header of one value: its own bytes, and how many values are inside. */
struct header {
	size_t bytes;      /* header and scalar payload */
	uint32_t children; /* array items */
};

static uint32_t
big_endian(const uint8_t *p, size_t n)
{
	uint32_t v = 0;

	while (n--)
		v = v << 8 | *p++;
	return v;
}

/* Length field of `n` bytes after the type byte; false when cut off. */
static bool
length_field(const uint8_t *p, size_t left, size_t n, uint32_t *out)
{
	if (left < 1 + n)
		return false;
	*out = big_endian(p + 1, n);
	return true;
}

/* Read the header at p; -EPROTO for types that we do not use. */
static int
read_header(const uint8_t *p, size_t left, struct header *h)
{
	static const uint8_t fixed[] = {[0x0b] = 9, /* double */
	    [0x0c] = 2,
	    [0x0d] = 3,
	    [0x0e] = 5,
	    [0x0f] = 9, /* uint */
	    [0x10] = 2,
	    [0x11] = 3,
	    [0x12] = 5,
	    [0x13] = 9}; /* int */
	uint8_t c = p[0];
	uint32_t len = 0;

	h->children = 0;
	h->bytes = 1;
	if (c <= 0x7f || c >= 0xe0 || c == 0xc0 || c == 0xc2 || c == 0xc3)
		return 0;
	if (c >= 0xcb && c <= 0xd3) {
		h->bytes = fixed[c - 0xc0];
	} else if (c >= 0xa0 && c <= 0xbf) {
		h->bytes = 1 + (c & 0x1fu);
	} else if (c >= 0xd9 && c <= 0xdb) {
		if (!length_field(p, left, (size_t)1 << (c - 0xd9), &len))
			return -EPROTO;
		h->bytes = 1 + ((size_t)1 << (c - 0xd9)) + len;
	} else if (c >= 0x90 && c <= 0x9f) {
		h->children = c & 0x0fu;
	} else if (c == 0xdc || c == 0xdd) {
		if (!length_field(p, left, c == 0xdc ? 2 : 4, &len))
			return -EPROTO;
		h->bytes = c == 0xdc ? 3 : 5;
		h->children = len;
	} else {
		return -EPROTO;
	}
	return 0;
}

/* wire_check - see wire.h */
int
wire_check(const uint8_t *buf, size_t len)
{
	uint32_t open[WIRE_DEPTH_MAX];
	size_t depth = 0, pos = 0;
	struct header h;

	if (len == 0 || len > WIRE_BYTES_MAX)
		return -EPROTO;
	for (;;) {
		if (pos == len || read_header(buf + pos, len - pos, &h) < 0 ||
		    h.bytes > len - pos)
			return -EPROTO;
		pos += h.bytes;
		if (h.children > len - pos)
			return -EPROTO;
		if (h.children) {
			if (depth == WIRE_DEPTH_MAX)
				return -EPROTO;
			open[depth++] = h.children;
			continue;
		}
		while (depth && --open[depth - 1] == 0)
			depth--;
		if (!depth)
			return pos == len ? 0 : -EPROTO;
	}
}

/* --- msgpack to C ------------------------------------------------------- */

static int decode(const struct desc *d, const msgpack_object *o, void *v);

static int
decode_str(const msgpack_object *o, void *v)
{
	char **text = v;

	if (o->type != MSGPACK_OBJECT_STR ||
	    !desc_text_valid(o->via.str.ptr, o->via.str.size))
		return -EPROTO;
	*text = strndup(o->via.str.size ? o->via.str.ptr : "", o->via.str.size);
	return *text ? 0 : -ENOMEM;
}

static int
decode_number(const struct desc *d, const msgpack_object *o, void *v)
{
	double f;

	if (o->type != MSGPACK_OBJECT_FLOAT64)
		return -EPROTO;
	f = o->via.f64;
	if (f != f || f - f != 0) /* NaN, infinity: not in JSON */
		return -EPROTO;
	memcpy(v, &f, d->bytes);
	return 0;
}

static int
decode_int(const struct desc *d, const msgpack_object *o, void *v)
{
	uint64_t n;

	if (o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER) {
		if (d->kind != DESC_INT || !desc_int_fits(d, o->via.i64))
			return -EPROTO;
		desc_int_set(d, v, (uint64_t)o->via.i64);
		return 0;
	}
	if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
		return -EPROTO;
	n = o->via.u64;
	if (d->kind == DESC_INT ? n > INT64_MAX || !desc_int_fits(d, (int64_t)n)
				: !desc_uint_fits(d, n))
		return -EPROTO;
	if (d->kind == DESC_ENUM && n >= d->name_count)
		return -EPROTO;
	desc_int_set(d, v, n);
	return 0;
}

/*
 * Every item of a list of structs has at least its members' bytes: looked at
 * before memory is taken for them.
 */
static int
decode_list(const struct desc *d, const msgpack_object *o, struct desc_list *v)
{
	const struct desc *item = d->item;
	uint32_t i, n;
	int rc;

	if (o->type != MSGPACK_OBJECT_ARRAY)
		return -EPROTO;
	n = o->via.array.size;
	for (i = 0; i < n && item->kind == DESC_STRUCT; i++) {
		const msgpack_object *x = &o->via.array.ptr[i];

		if (x->type != MSGPACK_OBJECT_ARRAY ||
		    x->via.array.size < item->member_count)
			return -EPROTO;
	}
	if (n == 0)
		return 0;
	v->items = calloc(n, item->bytes);
	if (!v->items)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		v->count = i + 1;
		rc = decode(item, &o->via.array.ptr[i],
		    (char *)v->items + i * item->bytes);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
decode_members(const struct desc *d, const msgpack_object *o, void *v)
{
	size_t i;
	void *p;
	int rc;

	for (i = 0; i < d->member_count; i++) {
		const struct desc_member *m = &d->members[i];

		if (o[i].type == MSGPACK_OBJECT_NIL) {
			if (!m->optional)
				return -EPROTO;
			continue;
		}
		p = desc_make(m, v);
		if (!p)
			return -ENOMEM;
		rc = decode(m->type, &o[i], p);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
decode_struct(const struct desc *d, const msgpack_object *o, void *v)
{
	const struct desc *in;
	size_t n;
	int rc;

	if (o->type != MSGPACK_OBJECT_ARRAY)
		return -EPROTO;
	n = o->via.array.size;
	if (n < d->member_count)
		return -EPROTO;
	rc = decode_members(d, o->via.array.ptr, v);
	if (rc < 0)
		return rc;
	in = desc_branch_of(d, v);
	if (n != d->member_count + (in ? in->member_count : 0))
		return -EPROTO;
	if (!in)
		return 0;
	return decode_members(in, o->via.array.ptr + d->member_count,
	    (char *)v + d->union_offset);
}

static int
decode(const struct desc *d, const msgpack_object *o, void *v)
{
	switch (d->kind) {
	case DESC_STR:
		return decode_str(o, v);
	case DESC_BOOL:
		if (o->type != MSGPACK_OBJECT_BOOLEAN)
			return -EPROTO;
		*(bool *)v = o->via.boolean;
		return 0;
	case DESC_NUMBER:
		return decode_number(d, o, v);
	case DESC_STRUCT:
		return decode_struct(d, o, v);
	case DESC_LIST:
		return decode_list(d, o, v);
	case DESC_INT:
	case DESC_UINT:
	case DESC_SIZE:
	case DESC_ENUM:
		break;
	}
	return decode_int(d, o, v);
}

/* Check, unpack; the caller destroys *u when 0 is returned. */
static int
unpack(const uint8_t *buf, size_t len, msgpack_unpacked *u)
{
	size_t used = 0;

	if (wire_check(buf, len) < 0)
		return -EPROTO;
	msgpack_unpacked_init(u);
	if (msgpack_unpack_next(u, (const char *)buf, len, &used) !=
		MSGPACK_UNPACK_SUCCESS ||
	    used != len) {
		msgpack_unpacked_destroy(u);
		return -EPROTO;
	}
	return 0;
}

/* wire_decode - see wire.h */
int
wire_decode(const struct desc *d, const uint8_t *buf, size_t len, void *v)
{
	msgpack_unpacked u;
	int rc;

	rc = unpack(buf, len, &u);
	if (rc < 0)
		return rc;
	rc = decode(d, &u.data, v);
	msgpack_unpacked_destroy(&u);
	if (rc < 0)
		desc_free(d, v);
	return rc;
}

/* --- dispatch ----------------------------------------------------------- */

static bool
is_u32(const msgpack_object *o)
{
	return o->type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
	       o->via.u64 <= UINT32_MAX;
}

/* The table's row for an envelope, if this sender may send it to us. */
static const struct wire_message *
envelope(const struct wire_table *t, const msgpack_object *o, unsigned role,
    const struct wire_in *in)
{
	const msgpack_object *f = o->via.array.ptr;
	const struct wire_message *m;

	if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size != 3 ||
	    !is_u32(&f[0]) || !is_u32(&f[1]) || f[0].via.u64 >= t->count)
		return NULL;
	m = &t->messages[f[0].via.u64];
	if (!(m->from & in->from) || !(m->to & role))
		return NULL;
	if (in->fd_count != m->fds && !(m->fds_optional && in->fd_count == 0))
		return NULL;
	return m;
}

static int
handle(const struct wire_table *t, const wire_handler *handlers, unsigned role,
    void *self, struct wire_in *in)
{
	int fds[WIRE_FDS_MAX];
	const struct wire_message *m;
	msgpack_unpacked u;
	uint32_t seq = 0;
	void *v = NULL;
	size_t i;
	int rc;

	if (unpack(in->buf, in->len, &u) < 0)
		return -EPROTO;
	rc = -EPROTO;
	m = envelope(t, &u.data, role, in);
	if (m) {
		seq = (uint32_t)u.data.via.array.ptr[1].via.u64;
		v = calloc(1, m->desc->bytes);
		rc = v ? decode_struct(m->desc, &u.data.via.array.ptr[2], v)
		       : -ENOMEM;
	}
	msgpack_unpacked_destroy(&u);
	if (rc == 0) {
		for (i = 0; i < WIRE_FDS_MAX; i++) {
			fds[i] = i < in->fd_count ? in->fds[i] : -1;
			if (i < in->fd_count)
				in->fds[i] = -1;
		}
		rc = handlers[m - t->messages](self, seq, v, fds);
	}
	if (v)
		desc_free(m->desc, v);
	free(v);
	return rc;
}

/* wire_dispatch - see wire.h */
int
wire_dispatch(const struct wire_table *t, const wire_handler *handlers,
    unsigned role, void *self, struct wire_in *in)
{
	size_t i;
	int rc;

	rc = in->fd_count > WIRE_FDS_MAX ? -EPROTO
					 : handle(t, handlers, role, self, in);
	for (i = 0; i < in->fd_count; i++) {
		if (in->fds[i] >= 0)
			close(in->fds[i]);
		in->fds[i] = -1;
	}
	return rc;
}

/* wire_name - see wire.h */
const char *
wire_name(const struct wire_table *t, size_t id)
{
	return id < t->count ? t->messages[id].name : "?";
}

/* wire_deadline_ms - see wire.h */
unsigned
wire_deadline_ms(const struct wire_table *t, size_t id)
{
	return id < t->count ? t->messages[id].deadline_ms : 0;
}
