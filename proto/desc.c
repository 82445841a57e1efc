/*
 * desc.c - free, copy and compare values by their descriptors.
 *
 * Recursion follows the schema, which schemac keeps free of circles and low
 * (SCHEMA_TYPE_DEPTH); it never follows input.
 *
 * Runs in: every role. Trusts: the descriptors; values are our own.
 */
#include "proto/desc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SCALAR(id, text, k, type)                                              \
	const struct desc desc_##id = {                                        \
	    .name = text, .kind = k, .bytes = sizeof(type), .tag = -1}

SCALAR(str, "str", DESC_STR, char *);
SCALAR(bool, "bool", DESC_BOOL, bool);
SCALAR(int8, "int8", DESC_INT, int8_t);
SCALAR(int16, "int16", DESC_INT, int16_t);
SCALAR(int32, "int32", DESC_INT, int32_t);
SCALAR(int64, "int64", DESC_INT, int64_t);
SCALAR(uint8, "uint8", DESC_UINT, uint8_t);
SCALAR(uint16, "uint16", DESC_UINT, uint16_t);
SCALAR(uint32, "uint32", DESC_UINT, uint32_t);
SCALAR(uint64, "uint64", DESC_UINT, uint64_t);
SCALAR(int, "int", DESC_INT, int64_t);
SCALAR(size, "size", DESC_SIZE, uint64_t);
SCALAR(number, "number", DESC_NUMBER, double);

static void *
at(void *v, size_t offset)
{
	return (char *)v + offset;
}

static const void *
at_const(const void *v, size_t offset)
{
	return (const char *)v + offset;
}

/* The pointer that is stored at v. */
static void *
load_pointer(const void *v)
{
	void *p;

	memcpy(&p, v, sizeof p);
	return p;
}

/* desc_branch_of - see desc.h */
const struct desc *
desc_branch_of(const struct desc *d, const void *v)
{
	int32_t tag;
	size_t i;

	if (d->tag < 0)
		return NULL;
	memcpy(&tag, at_const(v, d->members[d->tag].offset), sizeof tag);
	for (i = 0; i < d->branch_count; i++) {
		if (d->branches[i].value == tag)
			return d->branches[i].type;
	}
	return NULL;
}

/* desc_enum_value - see desc.h */
int
desc_enum_value(const struct desc *d, const char *name)
{
	size_t i;

	for (i = 0; i < d->name_count; i++) {
		if (strcmp(d->names[i], name) == 0)
			return (int)i;
	}
	return -1;
}

/* desc_present - see desc.h */
bool
desc_present(const struct desc_member *m, const void *v)
{
	if (!m->optional)
		return true;
	if (m->has_offset != DESC_NO_HAS)
		return *(const bool *)at_const(v, m->has_offset);
	return load_pointer(at_const(v, m->offset)) != NULL;
}

/* desc_value - see desc.h */
const void *
desc_value(const struct desc_member *m, const void *v)
{
	const void *p = at_const(v, m->offset);

	return m->indirect ? load_pointer(p) : p;
}

/* desc_make - see desc.h */
void *
desc_make(const struct desc_member *m, void *v)
{
	void *p = at(v, m->offset), *fresh;

	if (m->has_offset != DESC_NO_HAS)
		*(bool *)at(v, m->has_offset) = true;
	if (!m->indirect)
		return p;
	fresh = calloc(1, m->type->bytes);
	memcpy(p, &fresh, sizeof fresh);
	return fresh;
}

static void
free_members(const struct desc *d, void *v)
{
	const struct desc *b = desc_branch_of(d, v);
	size_t i;
	void *p;

	if (b)
		free_members(b, at(v, d->union_offset));
	for (i = 0; i < d->member_count; i++) {
		const struct desc_member *m = &d->members[i];

		p = at(v, m->offset);
		if (!m->indirect) {
			desc_free(m->type, p);
			continue;
		}
		p = load_pointer(p);
		if (p)
			desc_free(m->type, p);
		free(p);
	}
}

/* desc_free - see desc.h */
void
desc_free(const struct desc *d, void *v)
{
	struct desc_list *list = v;
	size_t i;

	if (d->kind == DESC_STR) {
		free(load_pointer(v));
	} else if (d->kind == DESC_LIST) {
		for (i = 0; list->items && i < list->count; i++)
			desc_free(d->item, at(list->items, i * d->item->bytes));
		free(list->items);
	} else if (d->kind == DESC_STRUCT) {
		free_members(d, v);
	}
	memset(v, 0, d->bytes);
}

static int
copy_members(const struct desc *d, void *to, const void *from)
{
	const struct desc *b;
	size_t i;
	void *p;
	int rc;

	for (i = 0; i < d->member_count; i++) {
		const struct desc_member *m = &d->members[i];

		if (!desc_present(m, from))
			continue;
		p = desc_make(m, to);
		if (!p)
			return -ENOMEM;
		rc = desc_copy(m->type, p, desc_value(m, from));
		if (rc < 0)
			return rc;
	}
	b = desc_branch_of(d, from);
	if (!b)
		return 0;
	return copy_members(
	    b, at(to, d->union_offset), at_const(from, d->union_offset));
}

static int
copy_list(
    const struct desc *d, struct desc_list *to, const struct desc_list *from)
{
	size_t bytes = d->item->bytes;
	int rc;

	if (from->count == 0)
		return 0;
	to->items = calloc(from->count, bytes);
	if (!to->items)
		return -ENOMEM;
	for (; to->count < from->count; to->count++) {
		rc = desc_copy(d->item, at(to->items, to->count * bytes),
		    at_const(from->items, to->count * bytes));
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* desc_copy - see desc.h */
int
desc_copy(const struct desc *d, void *to, const void *from)
{
	const char *text;
	int rc = 0;

	switch (d->kind) {
	case DESC_STR:
		text = load_pointer(from);
		*(char **)to = text ? strdup(text) : NULL;
		return text && !*(char **)to ? -ENOMEM : 0;
	case DESC_STRUCT:
		rc = copy_members(d, to, from);
		break;
	case DESC_LIST:
		rc = copy_list(d, to, from);
		break;
	case DESC_BOOL:
	case DESC_INT:
	case DESC_UINT:
	case DESC_SIZE:
	case DESC_NUMBER:
	case DESC_ENUM:
		memcpy(to, from, d->bytes);
		break;
	}
	if (rc < 0)
		desc_free(d, to);
	return rc;
}

static bool
equal_members(const struct desc *d, const void *a, const void *b)
{
	const struct desc *branch;
	size_t i;

	for (i = 0; i < d->member_count; i++) {
		const struct desc_member *m = &d->members[i];
		bool has = desc_present(m, a);

		if (has != desc_present(m, b))
			return false;
		if (has &&
		    !desc_equal(m->type, desc_value(m, a), desc_value(m, b)))
			return false;
	}
	branch = desc_branch_of(d, a);
	return !branch || equal_members(branch, at_const(a, d->union_offset),
			      at_const(b, d->union_offset));
}

static bool
equal_list(
    const struct desc *d, const struct desc_list *a, const struct desc_list *b)
{
	size_t i, bytes = d->item->bytes;

	if (a->count != b->count)
		return false;
	for (i = 0; i < a->count; i++) {
		if (!desc_equal(d->item, at_const(a->items, i * bytes),
			at_const(b->items, i * bytes)))
			return false;
	}
	return true;
}

/* desc_equal - see desc.h */
bool
desc_equal(const struct desc *d, const void *a, const void *b)
{
	const char *s, *t;

	switch (d->kind) {
	case DESC_STR:
		s = load_pointer(a);
		t = load_pointer(b);
		return s && t ? strcmp(s, t) == 0 : s == t;
	case DESC_STRUCT:
		return equal_members(d, a, b);
	case DESC_LIST:
		return equal_list(d, a, b);
	case DESC_BOOL:
	case DESC_INT:
	case DESC_UINT:
	case DESC_SIZE:
	case DESC_NUMBER:
	case DESC_ENUM:
		break;
	}
	return memcmp(a, b, d->bytes) == 0;
}

/* Bytes that must follow the first byte of a UTF-8 sequence, -1: none may. */
static int
utf8_rest(unsigned char c)
{
	if (c < 0x80)
		return 0;
	if (c < 0xc2)
		return -1; /* a continuation, or overlong */
	if (c < 0xe0)
		return 1;
	if (c < 0xf0)
		return 2;
	return c < 0xf5 ? 3 : -1;
}

/* desc_text_valid - see desc.h (RFC 3629) */
bool
desc_text_valid(const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t i = 0;
	int n, k;

	while (i < len) {
		unsigned char c = p[i++];

		n = utf8_rest(c);
		if (n < 0 || c == 0 || (size_t)n > len - i)
			return false;
		/* overlong forms, surrogates, beyond U+10FFFF */
		if ((c == 0xe0 && p[i] < 0xa0) || (c == 0xed && p[i] > 0x9f) ||
		    (c == 0xf0 && p[i] < 0x90) || (c == 0xf4 && p[i] > 0x8f))
			return false;
		for (k = 0; k < n; k++, i++) {
			if ((p[i] & 0xc0) != 0x80)
				return false;
		}
	}
	return true;
}

/* desc_int_fits - see desc.h */
bool
desc_int_fits(const struct desc *d, int64_t n)
{
	unsigned bits = (unsigned)d->bytes * 8;

	if (bits == 64)
		return true;
	return n >= -(INT64_C(1) << (bits - 1)) &&
	       n < (INT64_C(1) << (bits - 1));
}

/* desc_uint_fits - see desc.h */
bool
desc_uint_fits(const struct desc *d, uint64_t n)
{
	return d->bytes == 8 || n >> (d->bytes * 8) == 0;
}

/* desc_int_set - see desc.h */
void
desc_int_set(const struct desc *d, void *v, uint64_t n)
{
	uint32_t n4 = (uint32_t)n;
	uint16_t n2 = (uint16_t)n;
	uint8_t n1 = (uint8_t)n;

	if (d->bytes == 8)
		memcpy(v, &n, 8);
	else if (d->bytes == 4)
		memcpy(v, &n4, 4);
	else if (d->bytes == 2)
		memcpy(v, &n2, 2);
	else
		memcpy(v, &n1, 1);
}

/* desc_int_get - see desc.h */
uint64_t
desc_int_get(const struct desc *d, const void *v)
{
	bool is_signed = d->kind == DESC_INT;
	uint64_t n8;
	uint32_t n4;
	uint16_t n2;
	uint8_t n1;

	if (d->bytes == 8) {
		memcpy(&n8, v, 8);
		return n8;
	}
	if (d->bytes == 4) {
		memcpy(&n4, v, 4);
		return is_signed ? (uint64_t)(int32_t)n4 : n4;
	}
	if (d->bytes == 2) {
		memcpy(&n2, v, 2);
		return is_signed ? (uint64_t)(int16_t)n2 : n2;
	}
	memcpy(&n1, v, 1);
	return is_signed ? (uint64_t)(int8_t)n1 : n1;
}
