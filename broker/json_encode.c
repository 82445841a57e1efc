/*
 * json_encode.c - C values to JSON.
 *
 * Runs in: the broker. Trusts: the values, but not that text in them is
 * UTF-8: last words of a dying process may hold anything.
 */
#include "broker/json.h"

#include <stdlib.h>
#include <string.h>

/* A text with every byte that is not plain ASCII replaced. */
static json_t *
encode_broken(const char *text)
{
	char *copy = strdup(text), *c;
	json_t *o;

	if (!copy)
		return NULL;
	for (c = copy; *c; c++) {
		if (*c < ' ' || *c > '~')
			*c = '?';
	}
	o = json_string(copy);
	free(copy);
	return o;
}

static json_t *
encode_str(const void *v)
{
	const char *text;

	memcpy(&text, v, sizeof text);
	if (!text)
		text = "";
	if (!desc_text_valid(text, strlen(text)))
		return encode_broken(text);
	return json_string_nocheck(text);
}

static json_t *
encode_scalar(const struct desc *d, const void *v)
{
	uint64_t n;
	double f;

	if (d->kind == DESC_BOOL)
		return json_boolean(*(const bool *)v);
	if (d->kind == DESC_NUMBER) {
		memcpy(&f, v, sizeof f);
		return json_real(f);
	}
	n = desc_int_get(d, v);
	if (d->kind != DESC_ENUM)
		return json_integer((json_int_t)n);
	return json_string(n < d->name_count ? d->names[n] : "");
}

static json_t *
encode_list(const struct desc *d, const struct desc_list *list)
{
	json_t *o = json_array();
	size_t i;

	for (i = 0; o && i < list->count; i++) {
		const char *item =
		    (const char *)list->items + i * d->item->bytes;

		if (json_array_append_new(o, json_encode(d->item, item)) < 0) {
			json_decref(o);
			return NULL;
		}
	}
	return o;
}

static int
encode_members(json_t *o, const struct desc *d, const void *v)
{
	size_t i;

	for (i = 0; i < d->member_count; i++) {
		const struct desc_member *m = &d->members[i];

		if (desc_present(m, v) &&
		    json_object_set_new_nocheck(
			o, m->name, json_encode(m->type, desc_value(m, v))) < 0)
			return -1;
	}
	return 0;
}

static json_t *
encode_struct(const struct desc *d, const void *v)
{
	const struct desc *branch = desc_branch_of(d, v);
	json_t *o = json_object();

	if (o && (encode_members(o, d, v) < 0 ||
		     (branch && encode_members(o, branch,
				    (const char *)v + d->union_offset) < 0))) {
		json_decref(o);
		return NULL;
	}
	return o;
}

/* json_encode - see json.h */
json_t *
json_encode(const struct desc *d, const void *v)
{
	switch (d->kind) {
	case DESC_STR:
		return encode_str(v);
	case DESC_STRUCT:
		return encode_struct(d, v);
	case DESC_LIST:
		return encode_list(d, v);
	case DESC_BOOL:
	case DESC_INT:
	case DESC_UINT:
	case DESC_SIZE:
	case DESC_NUMBER:
	case DESC_ENUM:
		break;
	}
	return encode_scalar(d, v);
}
