/*
 * check.c - names to types, and the rules that need more than one definition.
 *
 * Types inside types may not form a circle and may be at most
 * SCHEMA_TYPE_DEPTH high: so the visitors may recurse over descriptors, and
 * a control message is never nested deeper than its decoder allows.
 *
 * Runs in: the build. Trusts: nothing (fuzzed).
 */
#include "schema/schemac.h"

#include <string.h>

/* schema_type - by name, or NULL. */
struct type *
schema_type(struct schema *s, const char *name)
{
	size_t i;

	for (i = 0; i < s->type_count; i++) {
		if (strcmp(s->types[i]->name, name) == 0)
			return s->types[i];
	}
	return NULL;
}

static struct type *
find(struct schema *s, const char *name, struct where at)
{
	struct type *t = schema_type(s, name);

	if (!t || t->message || strchr(name, '-')) {
		schema_fail(s, at, "unknown type '%.64s'", name);
		return NULL;
	}
	return t;
}

/* Two names that are the same in C; `what` says of what. */
static int
distinct(struct schema *s, const struct type *t, const char *what)
{
	size_t i, k;

	for (i = 0; i < t->member_count; i++) {
		for (k = 0; k < i; k++) {
			if (strcmp(t->members[i].cname, t->members[k].cname))
				continue;
			return schema_fail(s, t->members[i].at,
			    "%s '%s' of '%s' collides with '%s'", what,
			    t->members[i].name, t->name, t->members[k].name);
		}
	}
	return 0;
}

/* Put the base's members before a type's own. */
static int
inherit(struct schema *s, struct type *t, const struct type *base)
{
	size_t n = base->member_count + t->member_count;
	struct member *all;

	if (base->kind != TYPE_STRUCT)
		return schema_fail(s, t->at, "base '%s' of '%s' is no struct",
		    base->name, t->name);
	if (n > SCHEMA_MEMBERS_MAX)
		return schema_fail(s, t->at, "too many members");
	all = arena_alloc(&s->arena, n * sizeof *all);
	if (base->member_count)
		memcpy(all, base->members, base->member_count * sizeof *all);
	if (t->member_count)
		memcpy(all + base->member_count, t->members,
		    t->member_count * sizeof *all);
	t->members = all;
	t->member_count = n;
	return 0;
}

static int visit(struct schema *s, struct type *t, int depth);

static int
raise_height(struct schema *s, struct type *t, int inside, struct where at)
{
	if (inside + 1 > t->height)
		t->height = inside + 1;
	if (t->height > SCHEMA_TYPE_DEPTH)
		return schema_fail(s, at,
		    "'%s' is nested too deeply (limit %d)", t->name,
		    SCHEMA_TYPE_DEPTH);
	return 0;
}

static int
visit_members(struct schema *s, struct type *t, int depth)
{
	size_t i;

	for (i = 0; i < t->member_count; i++) {
		struct member *m = &t->members[i];

		m->type = find(s, m->type_name, m->at);
		if (!m->type || visit(s, m->type, depth + 1) < 0 ||
		    raise_height(s, t, m->type->height + m->list, m->at) < 0)
			return -1;
		if (m->list)
			m->type->list_used = true;
	}
	return distinct(s, t, "member");
}

/* A branch's member may not hide one of the base. */
static int
branch_hides(struct schema *s, const struct type *t, const struct branch *b)
{
	size_t i, k;

	for (i = 0; i < b->type->member_count; i++) {
		for (k = 0; k < t->member_count; k++) {
			if (strcmp(b->type->members[i].cname,
				t->members[k].cname) == 0)
				return schema_fail(s, b->at,
				    "branch '%s' of '%s' hides base member "
				    "'%s'",
				    b->name, t->name, t->members[k].name);
		}
	}
	return 0;
}

static bool
is_listed(const struct node *list, const char *name)
{
	const struct node *n;

	for (n = list->first; n; n = n->next)
		if (n->kind == NODE_STR && strcmp(n->str, name) == 0)
			return true;
	return false;
}

static int
visit_branches(struct schema *s, struct type *t, int depth)
{
	const struct type *tag = t->members[t->tag].type;
	size_t i, k;

	for (i = 0; i < t->branch_count; i++) {
		struct branch *b = &t->branches[i];

		b->value = -1;
		b->available = !t->only || is_listed(t->only, b->name);
		for (k = 0; k < tag->member_count; k++) {
			if (strcmp(tag->members[k].name, b->name) == 0)
				b->value = (int)k;
		}
		if (b->value < 0)
			return schema_fail(s, b->at,
			    "branch '%s' is no value of enum '%s'", b->name,
			    tag->name);
		for (k = 0; k < i; k++) {
			if (strcmp(t->branches[k].cname, b->cname) == 0)
				return schema_fail(s, b->at,
				    "branch '%s' collides with '%s'", b->name,
				    t->branches[k].name);
		}
		b->type = find(s, b->type_name, b->at);
		if (!b->type || visit(s, b->type, depth + 1) < 0)
			return -1;
		if (b->type->kind != TYPE_STRUCT)
			return schema_fail(
			    s, b->at, "branch '%s' must be a struct", b->name);
		if (raise_height(s, t, b->type->height, b->at) < 0 ||
		    branch_hides(s, t, b) < 0)
			return -1;
	}
	return 0;
}

static int
find_tag(struct schema *s, struct type *t)
{
	size_t i;

	for (i = 0; i < t->member_count; i++) {
		const struct member *m = &t->members[i];

		if (strcmp(m->name, t->tag_name) != 0)
			continue;
		if (m->type->kind != TYPE_ENUM || m->list || m->optional)
			return schema_fail(s, t->at,
			    "discriminator '%s' of '%s' is not a mandatory "
			    "enum",
			    t->tag_name, t->name);
		t->tag = (int)i;
		return 0;
	}
	return schema_fail(s, t->at,
	    "discriminator '%.64s' of '%s' is not "
	    "in its base",
	    t->tag_name, t->name);
}

/* Resolve one type after everything inside it; depth is bounded. */
static int
visit(struct schema *s, struct type *t, int depth)
{
	struct type *base;

	if (t->mark == 2)
		return 0;
	if (t->mark == 1)
		return schema_fail(s, t->at, "'%s' contains itself", t->name);
	if (depth > 2 * SCHEMA_TYPE_DEPTH)
		return schema_fail(s, t->at,
		    "'%s' is nested too deeply "
		    "(limit %d)",
		    t->name, SCHEMA_TYPE_DEPTH);
	t->mark = 1;
	if (t->kind == TYPE_ENUM) {
		if (distinct(s, t, "value") < 0)
			return -1;
	} else {
		t->height = 1;
		base = t->base_name ? find(s, t->base_name, t->at) : NULL;
		if (t->base_name && (!base || visit(s, base, depth + 1) < 0 ||
					inherit(s, t, base) < 0))
			return -1;
		if (visit_members(s, t, depth) < 0)
			return -1;
		if (t->kind == TYPE_UNION &&
		    (find_tag(s, t) < 0 || visit_branches(s, t, depth) < 0))
			return -1;
	}
	t->mark = 2;
	s->sorted[s->sorted_count++] = t;
	return 0;
}

static bool
same_c_name(struct schema *s, const struct type *a, const struct type *b)
{
	if (strcmp(a->cname, b->cname) == 0)
		return true;
	if (a->list_used &&
	    strcmp(arena_format(&s->arena, "%s_list", a->cname), b->cname) == 0)
		return true;
	return b->list_used &&
	       strcmp(arena_format(&s->arena, "%s_list", b->cname), a->cname) ==
		   0;
}

/* Two types may differ in the schema and not in C. */
static int
check_c_names(struct schema *s)
{
	size_t i, k;

	for (i = 0; i < s->type_count; i++) {
		for (k = 0; k < i; k++) {
			if (same_c_name(s, s->types[i], s->types[k]))
				return schema_fail(s, s->types[i]->at,
				    "'%s' and '%s' have the same name in C",
				    s->types[i]->name, s->types[k]->name);
		}
	}
	return 0;
}

static int
check_commands(struct schema *s)
{
	size_t i, k;

	for (i = 0; i < s->command_count; i++) {
		struct command *c = s->commands[i];

		for (k = 0; k < i; k++) {
			if (strcmp(s->commands[k]->cname, c->cname) == 0)
				return schema_fail(s, c->at,
				    "'%s' and '%s' have the same name in C",
				    c->name, s->commands[k]->name);
		}
		if (c->data_name)
			c->args = find(s, c->data_name, c->at);
		if (!c->args)
			return -1;
		if (c->args->kind != TYPE_STRUCT && c->args->kind != TYPE_UNION)
			return schema_fail(s, c->at,
			    "'data' of '%s' is no struct or union", c->name);
		if (!c->returns_name)
			continue;
		c->returns = find(s, c->returns_name, c->at);
		if (!c->returns)
			return -1;
		if (c->returns_list)
			c->returns->list_used = true;
	}
	return 0;
}

static int
check_events(struct schema *s)
{
	size_t i;

	for (i = 0; i < s->event_count; i++) {
		struct event *e = s->events[i];

		if (e->data_name)
			e->data = find(s, e->data_name, e->at);
		if (!e->data)
			return -1;
		if (e->data->kind != TYPE_STRUCT && e->data->kind != TYPE_UNION)
			return schema_fail(s, e->at,
			    "'data' of '%s' is no struct or union", e->name);
	}
	return 0;
}

/* schema_check - everything that is left to check. 0, or -1. */
int
schema_check(struct schema *s)
{
	size_t i;

	for (i = 0; i < s->type_count; i++) {
		if (visit(s, s->types[i], 0) < 0)
			return -1;
	}
	if (check_commands(s) < 0 || check_events(s) < 0 ||
	    check_c_names(s) < 0 || check_messages(s) < 0)
		return -1;
	return check_backends(s);
}
