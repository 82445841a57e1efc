/*
 * json.c - JSON to C, with the errors that QMP clients know.
 *
 * Recursion follows the schema (see desc.c), never the tree.
 *
 * Runs in:       the broker.
 * Trusts:        the descriptors; nothing in the tree.
 * Specification: the errors are those of QEMU 7.2's QMP; where those name only
 *                the last element of a path, the whole path is named here.
 */
#include "broker/json.h"

#include "proto/scalar.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PATH_BYTES 512

/* Where in the tree we are; each level is on the stack of its visitor. */
struct path {
	const struct path *up;
	const char *name; /* NULL: a list's item */
	size_t index;
	bool texts; /* inside a type that accepts text */
};

/* "addr.list[0].str", cut at PATH_BYTES. */
static const char *
path_text(const struct path *p, char buf[PATH_BYTES])
{
	const struct path *levels[16] = {NULL};
	size_t n = 0, used = 0;
	int k;

	for (; p && n < 16; p = p->up)
		levels[n++] = p;
	buf[0] = 0;
	while (n-- && used < PATH_BYTES) {
		p = levels[n];
		if (p->name)
			k = snprintf(buf + used, PATH_BYTES - used, "%s%s",
			    used ? "." : "", p->name);
		else if (p->up)
			k = snprintf(
			    buf + used, PATH_BYTES - used, "[%zu]", p->index);
		else
			k = 0;
		used += k > 0 ? (size_t)k : 0;
	}
	return buf[0] ? buf : "null";
}

static int
wrong_type(const struct path *p, const char *expected, struct err *e)
{
	char buf[PATH_BYTES];

	return err_set(e, -EINVAL,
	    "Invalid parameter type for '%s', expected: %s", path_text(p, buf),
	    expected);
}

static int
expects(const struct path *p, const char *what, struct err *e)
{
	char buf[PATH_BYTES];

	return err_set(
	    e, -EINVAL, "Parameter '%s' expects %s", path_text(p, buf), what);
}

/* A wrong JSON type, or a text that is not the scalar it stands for. */
static int
wrong_scalar(const struct desc *d, const struct path *p, struct err *e)
{
	switch (d->kind) {
	case DESC_BOOL:
		return wrong_type(p, "boolean", e);
	case DESC_INT:
		return wrong_type(p, "integer", e);
	case DESC_UINT:
	case DESC_SIZE:
		return expects(p, "uint64", e);
	case DESC_NUMBER:
		return wrong_type(p, "number", e);
	case DESC_STR:
	case DESC_ENUM:
	case DESC_STRUCT:
	case DESC_LIST:
		break;
	}
	return wrong_type(p, "string", e);
}

static int decode(const struct desc *d, void *out, json_t *o,
    const struct path *p, struct err *e);

static int
decode_str(void *out, json_t *o, const struct path *p, struct err *e)
{
	size_t n = json_string_length(o);
	char **text = out;

	if (!json_is_string(o))
		return wrong_type(p, "string", e);
	if (!desc_text_valid(json_string_value(o), n))
		return expects(p, "text without NUL", e);
	*text = strndup(json_string_value(o), n);
	return *text ? 0 : err_set(e, -ENOMEM, "out of memory");
}

static int
decode_enum(const struct desc *d, void *out, json_t *o, const struct path *p,
    struct err *e)
{
	char buf[PATH_BYTES];

	if (!json_is_string(o))
		return wrong_type(p, "string", e);
	if (scalar_parse(d, json_string_value(o), out) < 0 ||
	    strlen(json_string_value(o)) != json_string_length(o))
		return err_set(e, -EINVAL,
		    "Parameter '%s' does not accept value '%s'",
		    path_text(p, buf), json_string_value(o));
	return 0;
}

/* Text for a scalar, where the type accepts it. */
static int
decode_text(const struct desc *d, void *out, json_t *o, const struct path *p,
    struct err *e)
{
	int rc = -EINVAL;

	if (p->texts && strlen(json_string_value(o)) == json_string_length(o))
		rc = scalar_parse(d, json_string_value(o), out);
	if (rc == -ERANGE && d->kind != DESC_NUMBER)
		return expects(p, scalar_ctype(d), e);
	return rc < 0 ? wrong_scalar(d, p, e) : 0;
}

/*
 * JSON numbers end at INT64_MAX here: the framer made reals of those beyond, so
 * they are of a wrong type for any integer. Unsigned numbers of 64 bits take
 * negative ones by wrap-around, as in QEMU; json_encode.c writes them so.
 */
static int
decode_int(const struct desc *d, void *out, json_t *o, const struct path *p,
    struct err *e)
{
	json_int_t n = json_integer_value(o);
	bool fits;

	if (!json_is_integer(o))
		return wrong_scalar(d, p, e);
	if (d->kind == DESC_INT)
		fits = desc_int_fits(d, n);
	else
		fits = desc_uint_fits(d, (uint64_t)n);
	if (!fits)
		return expects(p, scalar_ctype(d), e);
	desc_int_set(d, out, (uint64_t)n);
	return 0;
}

static int
decode_scalar(const struct desc *d, void *out, json_t *o, const struct path *p,
    struct err *e)
{
	double f;

	if (json_is_string(o))
		return decode_text(d, out, o, p, e);
	if (d->kind == DESC_BOOL) {
		if (!json_is_boolean(o))
			return wrong_scalar(d, p, e);
		*(bool *)out = json_is_true(o);
		return 0;
	}
	if (d->kind == DESC_NUMBER) {
		f = json_number_value(o);
		if (!json_is_number(o) || !isfinite(f))
			return wrong_scalar(d, p, e);
		memcpy(out, &f, sizeof f);
		return 0;
	}
	return decode_int(d, out, o, p, e);
}

/* A plain text stands for an object of one text; so for a list of one. */
static bool
is_text_box(const struct desc *d)
{
	return d->kind == DESC_STRUCT && d->member_count == 1 && d->tag < 0 &&
	       d->members[0].type->kind == DESC_STR && !d->members[0].optional;
}

static int
decode_list(const struct desc *d, void *out, json_t *o, const struct path *p,
    struct err *e)
{
	struct path at = {.up = p, .texts = p->texts};
	struct desc_list *list = out;
	bool single = p->texts && json_is_string(o) && is_text_box(d->item);
	size_t i, n = single ? 1 : json_array_size(o);
	int rc;

	if (!single && !json_is_array(o))
		return wrong_type(p, "array", e);
	if (n == 0)
		return 0;
	list->items = calloc(n, d->item->bytes);
	if (!list->items)
		return err_set(e, -ENOMEM, "out of memory");
	for (i = 0; i < n; i++) {
		list->count = i + 1;
		at.index = i;
		rc = decode(d->item, (char *)list->items + i * d->item->bytes,
		    single ? o : json_array_get(o, i), &at, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
decode_members(const struct desc *d, void *out, json_t *o, const struct path *p,
    struct err *e)
{
	struct path at = {.up = p, .texts = p->texts};
	char buf[PATH_BYTES];
	json_t *value;
	size_t i;
	void *to;
	int rc;

	for (i = 0; i < d->member_count; i++) {
		const struct desc_member *m = &d->members[i];

		at.name = m->name;
		value = json_object_get(o, m->name);
		if (!value && m->optional)
			continue;
		if (!value)
			return err_set(e, -EINVAL, "Parameter '%s' is missing",
			    path_text(&at, buf));
		to = desc_make(m, out);
		if (!to)
			return err_set(e, -ENOMEM, "out of memory");
		rc = decode(m->type, to, value, &at, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static bool
is_member(const struct desc *d, const char *name, size_t len)
{
	size_t i;

	for (i = 0; d && i < d->member_count; i++) {
		if (strlen(d->members[i].name) == len &&
		    memcmp(d->members[i].name, name, len) == 0)
			return true;
	}
	return false;
}

static int
unexpected(const struct desc *d, const void *v, json_t *o, const struct path *p,
    struct err *e)
{
	const struct desc *branch = desc_branch_of(d, v);
	struct path at = {.up = p};
	char buf[PATH_BYTES];
	void *it;

	for (it = json_object_iter(o); it; it = json_object_iter_next(o, it)) {
		at.name = json_object_iter_key(it);
		if (is_member(d, at.name, strlen(at.name)) ||
		    is_member(branch, at.name, strlen(at.name)))
			continue;
		return err_set(e, -EINVAL, "Parameter '%s' is unexpected",
		    path_text(&at, buf));
	}
	return 0;
}

static int
decode_struct(const struct desc *d, void *out, json_t *o, const struct path *up,
    struct err *e)
{
	struct path p = *up;
	const struct desc *branch;
	int rc;

	p.texts = p.texts || d->texts;
	if (p.texts && json_is_string(o) && is_text_box(d))
		return decode_str((char *)out + d->members[0].offset, o, &p, e);
	if (!json_is_object(o))
		return wrong_type(&p, "object", e);
	rc = decode_members(d, out, o, &p, e);
	if (rc < 0)
		return rc;
	branch = desc_branch_of(d, out);
	if (branch)
		rc = decode_members(
		    branch, (char *)out + d->union_offset, o, &p, e);
	return rc < 0 ? rc : unexpected(d, out, o, &p, e);
}

static int
decode(const struct desc *d, void *out, json_t *o, const struct path *p,
    struct err *e)
{
	switch (d->kind) {
	case DESC_STR:
		return decode_str(out, o, p, e);
	case DESC_ENUM:
		return decode_enum(d, out, o, p, e);
	case DESC_STRUCT:
		return decode_struct(d, out, o, p, e);
	case DESC_LIST:
		return decode_list(d, out, o, p, e);
	case DESC_BOOL:
	case DESC_INT:
	case DESC_UINT:
	case DESC_SIZE:
	case DESC_NUMBER:
		break;
	}
	return decode_scalar(d, out, o, p, e);
}

/* json_decode - see json.h */
int
json_decode(const struct desc *d, void *out, json_t *tree, struct err *e)
{
	struct path root = {.texts = false};
	int rc;

	rc = decode(d, out, tree, &root, e);
	if (rc < 0)
		desc_free(d, out);
	return rc;
}
