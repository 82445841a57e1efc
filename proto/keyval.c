/*
 * keyval.c - QEMU's option grammar.
 *
 * The text is cut into items first; then the descriptor is walked, and each
 * member takes the items that bear its name. What nobody has taken is an
 * error. Recursion follows the schema, never the text.
 *
 * Runs in:       the broker.
 * Trusts:        the descriptors; nothing in the text.
 * Specification: the flat options of QEMU's -netdev with the dotted keys of
 *                its newer options; the errors are worded as there.
 */
#include "proto/keyval.h"

#include "proto/scalar.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_BYTES 256 /* of a dotted key, cut beyond that */

/* One key=value. Both point into the copy of the text, but for defaults. */
struct item {
	const char *key;
	const char *value; /* NULL: the key stood alone */
	bool used;
};

struct keyval {
	char *text; /* owned */
	struct item items[KEYVAL_ITEMS_MAX];
	size_t count;
	struct err *err;
};

/* A prefix of keys: "" or "addr." or "hostfwd.0." */
struct prefix {
	char text[KEY_BYTES];
};

static void
join(struct prefix *out, const struct prefix *p, const char *name, char end)
{
	size_t n = strlen(p->text), k = strlen(name);

	*out = *p;
	if (n + k + 2 > sizeof out->text)
		return;
	memcpy(out->text + n, name, k);
	out->text[n + k] = end;
	if (end)
		out->text[n + k + 1] = 0;
}

/* --- text to items ------------------------------------------------------ */

/* Move a value to its place, with ",," as ","; returns what follows it. */
static char *
cut_value(char *p)
{
	char *to = p;

	for (; *p; p++) {
		if (*p == ',' && p[1] == ',')
			p++;
		else if (*p == ',')
			break;
		*to++ = *p;
	}
	if (*p)
		p++;
	*to = 0;
	return p;
}

static int
add_item(struct keyval *kv, const char *key, const char *value)
{
	struct item *i;

	if (kv->count == KEYVAL_ITEMS_MAX)
		return err_set(kv->err, -EINVAL, "Too many options");
	i = &kv->items[kv->count++];
	i->key = key;
	i->value = value;
	i->used = false;
	return 0;
}

static int
split(struct keyval *kv, const char *implied)
{
	char *p = kv->text, *key;
	bool first = true;
	int rc = 0;

	for (; rc == 0 && *p; first = false) {
		size_t n = strcspn(p, "=,");

		key = p;
		if (p[n] == '=') {
			p[n] = 0;
			p += n + 1;
			rc = add_item(kv, key, p);
			p = cut_value(p);
		} else if (first && implied) {
			p = cut_value(p);
			rc = add_item(kv, implied, key);
		} else {
			p += n;
			if (*p)
				*p++ = 0;
			rc = add_item(kv, key, NULL);
		}
	}
	for (size_t i = 0; rc == 0 && i < kv->count; i++) {
		const char *v = kv->items[i].value;

		if (v && !desc_text_valid(v, strlen(v)))
			rc = err_set(kv->err, -EINVAL,
			    "Parameter '%.127s' is not valid UTF-8",
			    kv->items[i].key);
	}
	return rc;
}

/* --- items to values ---------------------------------------------------- */

/* The last item with that key; marks all of them as taken. */
static const struct item *
take(struct keyval *kv, const char *key)
{
	const struct item *found = NULL;
	size_t i;

	for (i = 0; i < kv->count; i++) {
		if (strcmp(kv->items[i].key, key) != 0)
			continue;
		kv->items[i].used = true;
		found = &kv->items[i];
	}
	return found;
}

static bool
any_below(const struct keyval *kv, const char *prefix)
{
	size_t i, n = strlen(prefix);

	for (i = 0; i < kv->count; i++) {
		if (strncmp(kv->items[i].key, prefix, n) == 0)
			return true;
	}
	return false;
}

static size_t
count_of(const struct keyval *kv, const char *key)
{
	size_t i, n = 0;

	for (i = 0; i < kv->count; i++)
		n += strcmp(kv->items[i].key, key) == 0;
	return n;
}

static int
wrong_value(struct keyval *kv, const struct desc *d, const char *key,
    const char *value, int rc)
{
	const char *what = "a number";

	if (rc == -ERANGE && d->kind != DESC_NUMBER)
		return err_set(kv->err, -EINVAL, "Parameter '%s' expects %s",
		    key, scalar_ctype(d));
	if (d->kind == DESC_ENUM)
		return err_set(kv->err, -EINVAL,
		    "Parameter '%s' does not accept value '%s'", key, value);
	if (d->kind == DESC_BOOL)
		what = "'on' or 'off'";
	else if (d->kind == DESC_INT)
		what = "an int64 value";
	else if (d->kind == DESC_UINT)
		what = "a uint64 value";
	else if (d->kind == DESC_SIZE)
		what = "a size value";
	return err_set(
	    kv->err, -EINVAL, "Parameter '%s' expects %s", key, what);
}

static int
set_value(struct keyval *kv, const struct desc *d, const char *key,
    const char *value, void *out)
{
	int rc;

	if (d->kind == DESC_STRUCT && d->member_count == 1 && d->tag < 0 &&
	    d->members[0].type->kind == DESC_STR && !d->members[0].optional) {
		out = (char *)out + d->members[0].offset;
		d = d->members[0].type;
	}
	if (!value)
		return err_set(
		    kv->err, -EINVAL, "Expected '=' after parameter '%s'", key);
	if (d->kind == DESC_STRUCT || d->kind == DESC_LIST)
		return err_set(kv->err, -EINVAL,
		    "Invalid parameter type for '%s', expected: %s", key,
		    d->kind == DESC_STRUCT ? "object" : "array");
	if (d->kind != DESC_STR) {
		rc = scalar_parse(d, value, out);
		return rc < 0 ? wrong_value(kv, d, key, value, rc) : 0;
	}
	*(char **)out = strdup(value);
	return *(char **)out ? 0 : err_set(kv->err, -ENOMEM, "out of memory");
}

static int walk(struct keyval *kv, const struct desc *d,
    const struct prefix *prefix, void *out);

/* hostfwd=a,hostfwd=b */
static int
fill_repeated(struct keyval *kv, const struct desc *d, const char *key,
    struct desc_list *list, size_t n)
{
	size_t i;
	int rc;

	list->items = calloc(n, d->item->bytes);
	if (!list->items)
		return err_set(kv->err, -ENOMEM, "out of memory");
	for (i = 0; i < kv->count; i++) {
		struct item *it = &kv->items[i];

		if (strcmp(it->key, key) != 0)
			continue;
		it->used = true;
		rc = set_value(kv, d->item, key, it->value,
		    (char *)list->items + list->count++ * d->item->bytes);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* hostfwd.0=a or hostfwd.0.str=a; gaps are an error. */
static int
fill_indexed(struct keyval *kv, const struct desc *d,
    const struct prefix *below, struct desc_list *list)
{
	struct prefix key, deep;
	const struct item *it;
	char number[24];
	size_t n;
	int rc = 0;

	for (n = 0;; n++) {
		snprintf(number, sizeof number, "%zu", n);
		join(&key, below, number, 0);
		join(&deep, below, number, '.');
		if (!count_of(kv, key.text) && !any_below(kv, deep.text))
			break;
	}
	if (n == 0)
		return err_set(
		    kv->err, -EINVAL, "Parameter '%s' is missing", key.text);
	list->items = calloc(n, d->item->bytes);
	if (!list->items)
		return err_set(kv->err, -ENOMEM, "out of memory");
	while (rc == 0 && list->count < n) {
		void *to = (char *)list->items + list->count * d->item->bytes;

		snprintf(number, sizeof number, "%zu", list->count++);
		join(&key, below, number, 0);
		join(&deep, below, number, '.');
		it = take(kv, key.text);
		if (it)
			rc = set_value(kv, d->item, key.text, it->value, to);
		else if (d->item->kind == DESC_STRUCT)
			rc = walk(kv, d->item, &deep, to);
	}
	return rc;
}

/* One member: from its own key, from keys below it, or flat. */
static int
fill_member(struct keyval *kv, const struct desc_member *m,
    const struct prefix *prefix, void *out)
{
	struct prefix key, below;
	const struct item *it;
	size_t exact;
	bool deep;
	void *to;

	join(&key, prefix, m->name, 0);
	join(&below, prefix, m->name, '.');
	exact = count_of(kv, key.text);
	deep = any_below(kv, below.text);
	if (exact && deep)
		return err_set(kv->err, -EINVAL,
		    "Parameters '%s.*' used inconsistently", key.text);
	if (!exact && !deep) {
		if (m->optional)
			return 0;
		if (m->type->kind != DESC_STRUCT)
			return err_set(kv->err, -EINVAL,
			    "Parameter '%s' is missing", key.text);
		below = *prefix; /* flat */
	}
	to = desc_make(m, out);
	if (!to)
		return err_set(kv->err, -ENOMEM, "out of memory");
	if (m->type->kind == DESC_LIST && exact)
		return fill_repeated(kv, m->type, key.text, to, exact);
	if (m->type->kind == DESC_LIST)
		return fill_indexed(kv, m->type, &below, to);
	it = take(kv, key.text);
	if (it)
		return set_value(kv, m->type, key.text, it->value, to);
	if (m->type->kind == DESC_STRUCT)
		return walk(kv, m->type, &below, to);
	return err_set(kv->err, -EINVAL,
	    "Parameters '%s.*' used inconsistently", key.text);
}

/* "server" and "noserver" of old command lines. */
static void
expand_bools(
    struct keyval *kv, const struct desc_member *m, const struct prefix *prefix)
{
	size_t i, n = strlen(prefix->text);
	struct prefix key;

	if (m->type->kind != DESC_BOOL)
		return;
	join(&key, prefix, m->name, 0);
	for (i = 0; i < kv->count; i++) {
		struct item *it = &kv->items[i];

		if (it->value || strncmp(it->key, prefix->text, n) != 0)
			continue;
		if (strcmp(it->key, key.text) == 0) {
			it->value = "on";
		} else if (n == 0 && strncmp(it->key, "no", 2) == 0 &&
			   strcmp(it->key + 2, m->name) == 0) {
			it->key = m->name;
			it->value = "off";
		}
	}
}

/* ipv6-net=fec0::/64 where there are members for both halves. */
static int
expand_ipv6_net(struct keyval *kv, const struct prefix *prefix)
{
	size_t i;

	for (i = 0; i < kv->count; i++) {
		struct item *it = &kv->items[i];
		char *slash;

		if (prefix->text[0] || strcmp(it->key, "ipv6-net") != 0 ||
		    !it->value)
			continue;
		slash = kv->text + (it->value - kv->text);
		slash += strcspn(slash, "/");
		if (*slash)
			*slash++ = 0;
		else
			slash = NULL;
		it->key = "ipv6-prefix";
		if (slash && (!*slash || slash[strspn(slash, "0123456789")]))
			return err_set(kv->err, -EINVAL,
			    "Parameter 'ipv6-prefixlen' expects a number");
		if (add_item(kv, "ipv6-prefixlen", slash ? slash : "64") < 0)
			return -EINVAL;
	}
	return 0;
}

static int
fill_members(struct keyval *kv, const struct desc *d,
    const struct prefix *prefix, void *out)
{
	size_t i;
	int rc = 0;

	for (i = 0; i < d->member_count; i++)
		expand_bools(kv, &d->members[i], prefix);
	for (i = 0; rc == 0 && i < d->member_count; i++) {
		if (strcmp(d->members[i].name, "ipv6-prefix") == 0)
			rc = expand_ipv6_net(kv, prefix);
		if (rc == 0)
			rc = fill_member(kv, &d->members[i], prefix, out);
	}
	return rc;
}

static int
walk(struct keyval *kv, const struct desc *d, const struct prefix *prefix,
    void *out)
{
	const struct desc *branch;
	int rc;

	rc = fill_members(kv, d, prefix, out);
	if (rc < 0)
		return rc;
	branch = desc_branch_of(d, out);
	if (!branch)
		return 0;
	return fill_members(kv, branch, prefix, (char *)out + d->union_offset);
}

static int
parse(struct keyval *kv, const struct desc *d, const char *implied, void *out)
{
	static const struct prefix none = {""};
	size_t i;
	int rc;

	rc = split(kv, implied);
	if (rc == 0)
		rc = walk(kv, d, &none, out);
	for (i = 0; rc == 0 && i < kv->count; i++) {
		if (!kv->items[i].used)
			rc = err_set(kv->err, -EINVAL,
			    "Invalid parameter '%.127s'", kv->items[i].key);
	}
	return rc;
}

/* keyval_decode - see keyval.h */
int
keyval_decode(const struct desc *d, void *out, const char *text,
    const char *implied, struct err *e)
{
	struct keyval *kv;
	int rc;

	if (strlen(text) >= KEYVAL_TEXT_MAX)
		return err_set(e, -EINVAL, "Option is too long");
	kv = calloc(1, sizeof *kv);
	if (!kv)
		return err_set(e, -ENOMEM, "out of memory");
	kv->err = e;
	kv->text = strdup(text);
	rc = kv->text ? parse(kv, d, implied, out)
		      : err_set(e, -ENOMEM, "out of memory");
	if (rc < 0)
		desc_free(d, out);
	free(kv->text);
	free(kv);
	return rc;
}
