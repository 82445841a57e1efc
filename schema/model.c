/*
 * model.c - expressions to definitions: enum, struct, union, command, event.
 *
 * Here each expression is looked at alone (keys, kinds, names, duplicates);
 * what needs other definitions is done in check.c.
 *
 * Runs in: the build. Trusts: nothing (fuzzed).
 */
#include "schema/schemac.h"

#include <string.h>

/* The types that need no definition. */
static const struct {
	const char *name, *ctype, *json;
} builtins[] = {
    {"str", "char *", "string"},
    {"bool", "bool", "boolean"},
    {"int8", "int8_t", "int"},
    {"int16", "int16_t", "int"},
    {"int32", "int32_t", "int"},
    {"int64", "int64_t", "int"},
    {"uint8", "uint8_t", "int"},
    {"uint16", "uint16_t", "int"},
    {"uint32", "uint32_t", "int"},
    {"uint64", "uint64_t", "int"},
    {"int", "int64_t", "int"},
    {"size", "uint64_t", "int"},
    {"number", "double", "number"},
};

static bool
is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool
is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/*
 * name_ok - naming rules. style: 'T' type (CamelCase), 'E' event
 * (UPPER_CASE), 'm' member or command (lower case, begins with a letter),
 * 'v' enum value (as 'm', may begin with a digit).
 */
bool
name_ok(const char *name, char style)
{
	size_t n = strlen(name), i;
	bool up = style == 'T' || style == 'E';

	if (n == 0 || n > SCHEMA_NAME_MAX)
		return false;
	if (up ? !is_upper(name[0])
	       : !is_lower(name[0]) && !(style == 'v' && is_digit(name[0])))
		return false;
	for (i = 1; i < n; i++) {
		char c = name[i];
		bool dash = c == '_' || (c == '-' && !up);

		if (dash && style != 'T' && i + 1 < n && name[i - 1] != '_' &&
		    name[i - 1] != '-')
			continue;
		if (!is_digit(c) && !(is_lower(c) && style != 'E') &&
		    !(is_upper(c) && up))
			return false;
	}
	return true;
}

/* model_keys - every key of the dict is in `allowed` (blank-separated). */
int
model_keys(struct schema *s, const struct node *dict, const char *allowed)
{
	const struct node *n;
	const char *p;
	size_t len;

	for (n = dict->first; n; n = n->next) {
		len = strlen(n->key);
		for (p = allowed; p; p = strchr(p, ' ')) {
			p += *p == ' ';
			if (len && strncmp(p, n->key, len) == 0 &&
			    (p[len] == ' ' || p[len] == 0))
				break;
		}
		if (!p)
			return schema_fail(s, n->at,
			    "key '%.64s' is unknown "
			    "here (known: %s)",
			    n->key, allowed);
	}
	return 0;
}

/*
 * model_str - the dict's string under `key`. NULL when it is not there; with
 * a complaint when it is mandatory or not a string.
 */
const char *
model_str(
    struct schema *s, const struct node *dict, const char *key, bool mandatory)
{
	const struct node *n = node_get(dict, key);

	if (n && n->kind == NODE_STR)
		return n->str;
	if (n)
		schema_fail(s, n->at, "'%s' must be a string", key);
	else if (mandatory)
		schema_fail(s, dict->at, "key '%s' is missing", key);
	return NULL;
}

/* model_type_new - a fresh type in the list, or NULL with the complaint. */
struct type *
model_type_new(struct schema *s, const char *name, struct where at)
{
	struct type *t, *old = schema_type(s, name);

	if (old && old->kind == TYPE_BUILTIN) {
		schema_fail(s, at, "type '%s' is built in", name);
		return NULL;
	}
	if (old) {
		schema_fail(s, at, "'%s' is already defined at %s:%u", name,
		    old->at.file, old->at.line);
		return NULL;
	}
	if (s->type_count == SCHEMA_DEFS_MAX) {
		schema_fail(s, at, "too many types");
		return NULL;
	}
	t = arena_alloc(&s->arena, sizeof *t);
	t->name = name;
	t->cname = name_snake(&s->arena, name);
	t->at = at;
	t->kind = TYPE_STRUCT;
	t->tag = -1;
	t->ctype = arena_format(&s->arena, "struct %s", t->cname);
	s->types[s->type_count++] = t;
	return t;
}

/* "'T'" or "['T']" of a member, an argument or a return value. */
static int
type_ref(struct schema *s, const struct node *n, const char **name, bool *list)
{
	*list = n->kind == NODE_LIST;
	if (*list && n->count == 1)
		n = n->first;
	if (n->kind != NODE_STR)
		return schema_fail(s, n->at,
		    "expected the name of a type, or of one in brackets");
	*name = n->str;
	return 0;
}

/* model_members - the members of a struct, in the order they are written. */
int
model_members(struct schema *s, struct type *t, const struct node *dict)
{
	struct member *m;
	struct node *n;

	if (dict->kind != NODE_DICT)
		return schema_fail(s, dict->at, "members must be an object");
	if (dict->count > SCHEMA_MEMBERS_MAX)
		return schema_fail(s, dict->at, "too many members");
	t->members = arena_alloc(&s->arena, dict->count * sizeof *t->members);
	for (n = dict->first; n; n = n->next) {
		m = &t->members[t->member_count++];
		m->at = n->at;
		m->name = n->key;
		if (m->name[0] == '*') {
			m->optional = true;
			m->name++;
		}
		if (!name_ok(m->name, 'm'))
			return schema_fail(
			    s, n->at, "bad member name '%.64s'", m->name);
		m->cname = name_c(&s->arena, m->name);
		if (strcmp(m->cname, "u") == 0 ||
		    strncmp(m->cname, "has_", 4) == 0)
			return schema_fail(s, n->at,
			    "member name '%s' is taken by generated code",
			    m->name);
		if (type_ref(s, n, &m->type_name, &m->list) < 0)
			return -1;
	}
	return 0;
}

/*
 * model_docs - hand the doc comment's paragraphs to the members, and complain
 * of what is missing when the file has asked for that.
 */
int
model_docs(struct schema *s, struct source *src, struct type *t)
{
	size_t i;

	if (!t->doc && src->doc_required)
		return schema_fail(
		    s, t->at, "'%s' has no doc comment", t->name);
	for (i = 0; i < t->member_count; i++) {
		struct member *m = &t->members[i];

		m->doc = doc_member(t->doc, m->name);
		if (!m->doc && src->doc_required)
			return schema_fail(s, m->at,
			    "member '%s' of '%s' is not documented", m->name,
			    t->name);
	}
	return 0;
}

static int
define_enum(
    struct schema *s, struct source *src, struct node *expr, struct doc *doc)
{
	const char *name = model_str(s, expr, "enum", true);
	const struct node *data = node_get(expr, "data"), *n;
	struct type *t;
	struct member *m;

	if (!name || model_keys(s, expr, "enum data") < 0)
		return -1;
	if (!name_ok(name, 'T'))
		return schema_fail(s, expr->at, "bad type name '%.64s'", name);
	if (!data || data->kind != NODE_LIST || data->count == 0 ||
	    data->count > SCHEMA_MEMBERS_MAX)
		return schema_fail(s, expr->at,
		    "enum '%s' needs a list of values as 'data'", name);
	t = model_type_new(s, name, expr->at);
	if (!t)
		return -1;
	t->kind = TYPE_ENUM;
	t->ctype = arena_format(&s->arena, "enum %s", t->cname);
	t->prefix = name_upper(&s->arena, t->cname);
	t->doc = doc;
	t->members = arena_alloc(&s->arena, data->count * sizeof *t->members);
	for (n = data->first; n; n = n->next) {
		m = &t->members[t->member_count++];
		m->at = n->at;
		if (n->kind != NODE_STR || !name_ok(n->str, 'v'))
			return schema_fail(
			    s, n->at, "bad value in enum '%s'", name);
		m->name = n->str;
		m->cname = name_upper(&s->arena, n->str);
	}
	if (model_docs(s, src, t) < 0)
		return -1;
	return doc_check(s, doc, name);
}

/* May JSON give the type's scalars as text? */
static int
accept_text(struct schema *s, struct type *t, const struct node *expr)
{
	const struct node *texts = node_get(expr, "accept-text");

	if (texts && texts->kind != NODE_BOOL)
		return schema_fail(
		    s, texts->at, "'accept-text' is true or false");
	t->texts = texts && texts->flag;
	return 0;
}

/* model_struct - a struct, or the members part of a union. */
int
model_struct(
    struct schema *s, struct source *src, struct node *expr, struct doc *doc)
{
	const char *name = model_str(s, expr, "struct", true);
	const struct node *data = node_get(expr, "data");
	const struct node *counters = node_get(expr, "counters");
	struct type *t;

	if (!name ||
	    model_keys(s, expr, "struct data base counters accept-text") < 0)
		return -1;
	if (!name_ok(name, 'T'))
		return schema_fail(s, expr->at, "bad type name '%.64s'", name);
	if (!data == !counters)
		return schema_fail(
		    s, expr->at, "either 'data' or 'counters' must be there");
	t = model_type_new(s, name, expr->at);
	if (!t)
		return -1;
	t->doc = doc;
	if (accept_text(s, t, expr) < 0)
		return -1;
	if (node_get(expr, "base")) {
		t->base_name = model_str(s, expr, "base", true);
		if (!t->base_name)
			return -1;
	}
	if (counters)
		return model_counters(s, t, counters) < 0
			   ? -1
			   : doc_check(s, doc, name);
	if (model_members(s, t, data) < 0 || model_docs(s, src, t) < 0)
		return -1;
	return doc_check(s, doc, name);
}

static int
union_branches(struct schema *s, struct type *t, const struct node *data)
{
	const struct node *n;
	struct branch *b;

	if (!data || data->kind != NODE_DICT ||
	    data->count > SCHEMA_MEMBERS_MAX)
		return schema_fail(s, data ? data->at : t->at,
		    "union '%s' needs an object as 'data'", t->name);
	t->branches = arena_alloc(&s->arena, data->count * sizeof *b);
	for (n = data->first; n; n = n->next) {
		b = &t->branches[t->branch_count++];
		b->at = n->at;
		b->name = n->key;
		b->cname = name_c(&s->arena, n->key);
		if (!name_ok(n->key, 'v') || n->kind != NODE_STR)
			return schema_fail(s, n->at,
			    "branch '%.64s' must name a struct", n->key);
		b->type_name = n->str;
	}
	return 0;
}

static int
define_union(
    struct schema *s, struct source *src, struct node *expr, struct doc *doc)
{
	const char *name = model_str(s, expr, "union", true);
	const struct node *base = node_get(expr, "base");
	struct type *t;

	if (!name || model_keys(s, expr,
			 "union base discriminator data accept-text "
			 "available") < 0)
		return -1;
	if (!name_ok(name, 'T'))
		return schema_fail(s, expr->at, "bad type name '%.64s'", name);
	t = model_type_new(s, name, expr->at);
	if (!t)
		return -1;
	t->kind = TYPE_UNION;
	t->doc = doc;
	if (accept_text(s, t, expr) < 0)
		return -1;
	t->only = node_get(expr, "available");
	if (t->only && t->only->kind != NODE_LIST)
		return schema_fail(
		    s, t->only->at, "'available' is a list of branches");
	t->tag_name = model_str(s, expr, "discriminator", true);
	if (!t->tag_name)
		return -1;
	if (!base)
		return schema_fail(s, expr->at, "key 'base' is missing");
	if (base->kind == NODE_STR)
		t->base_name = base->str;
	else if (model_members(s, t, base) < 0)
		return -1;
	if (union_branches(s, t, node_get(expr, "data")) < 0 ||
	    model_docs(s, src, t) < 0)
		return -1;
	return doc_check(s, doc, name);
}

/*
 * The arguments of a command or event: a named type, or an implicit one that
 * is made of an object's members and called `name`.
 */
static int
arguments(struct schema *s, struct source *src, struct node *expr,
    struct doc *doc, struct type **implicit, const char **named,
    const char *suffix)
{
	const struct node *data = node_get(expr, "data");
	const struct node *boxed = node_get(expr, "boxed");
	const char *name = expr->first->str;
	static const struct node nothing = {.kind = NODE_DICT};
	struct type *t;

	*named = NULL;
	*implicit = NULL;
	if (boxed && (boxed->kind != NODE_BOOL || !boxed->flag || !data ||
			 data->kind != NODE_STR))
		return schema_fail(s, boxed->at,
		    "'boxed' is true or absent, and needs a named type");
	if (data && data->kind == NODE_STR) {
		*named = data->str;
		if (!doc && src->doc_required)
			return schema_fail(
			    s, expr->at, "'%s' has no doc comment", name);
		return doc_check(s, doc, name);
	}
	t = model_type_new(s,
	    arena_format(&s->arena, "%s-%s", name_c(&s->arena, name), suffix),
	    expr->at);
	if (!t)
		return -1;
	t->doc = doc;
	*implicit = t;
	if (model_members(s, t, data ? data : &nothing) < 0 ||
	    model_docs(s, src, t) < 0)
		return -1;
	return doc_check(s, doc, name);
}

static int
define_command(
    struct schema *s, struct source *src, struct node *expr, struct doc *doc)
{
	const char *name = model_str(s, expr, "command", true);
	const struct node *n;
	struct command *c;
	size_t i;

	if (!name ||
	    model_keys(s, expr, "command data boxed returns allow-oob") < 0)
		return -1;
	if (!name_ok(name, 'm'))
		return schema_fail(
		    s, expr->at, "bad command name '%.64s'", name);
	for (i = 0; i < s->command_count; i++) {
		if (strcmp(s->commands[i]->name, name) == 0)
			return schema_fail(s, expr->at,
			    "command '%s' is already defined", name);
	}
	if (s->command_count == SCHEMA_DEFS_MAX)
		return schema_fail(s, expr->at, "too many commands");
	c = arena_alloc(&s->arena, sizeof *c);
	s->commands[s->command_count++] = c;
	c->name = name;
	c->cname = name_snake(&s->arena, name);
	c->at = expr->at;
	c->doc = doc;
	n = node_get(expr, "allow-oob");
	if (n && n->kind != NODE_BOOL)
		return schema_fail(s, n->at, "'allow-oob' is true or false");
	c->oob = n && n->flag;
	n = node_get(expr, "returns");
	if (n && type_ref(s, n, &c->returns_name, &c->returns_list) < 0)
		return -1;
	return arguments(s, src, expr, doc, &c->args, &c->data_name, "args");
}

static int
define_event(
    struct schema *s, struct source *src, struct node *expr, struct doc *doc)
{
	const char *name = model_str(s, expr, "event", true);
	struct event *e;
	size_t i;

	if (!name || model_keys(s, expr, "event data boxed") < 0)
		return -1;
	if (!name_ok(name, 'E'))
		return schema_fail(s, expr->at, "bad event name '%.64s'", name);
	for (i = 0; i < s->event_count; i++) {
		if (strcmp(s->events[i]->name, name) == 0)
			return schema_fail(
			    s, expr->at, "event '%s' is already defined", name);
	}
	if (s->event_count == SCHEMA_DEFS_MAX)
		return schema_fail(s, expr->at, "too many events");
	e = arena_alloc(&s->arena, sizeof *e);
	s->events[s->event_count++] = e;
	e->name = name;
	e->cname = name_snake(&s->arena, name);
	e->at = expr->at;
	e->doc = doc;
	return arguments(s, src, expr, doc, &e->data, &e->data_name, "data");
}

/* schema_define - one top-level expression that is neither include nor pragma:
 * its first key says what it is. */
int
schema_define(
    struct schema *s, struct source *src, struct node *expr, struct doc *doc)
{
	static const struct {
		const char *key;
		int (*define)(struct schema *, struct source *, struct node *,
		    struct doc *);
	} forms[] = {
	    {"enum", define_enum},
	    {"struct", model_struct},
	    {"union", define_union},
	    {"command", define_command},
	    {"event", define_event},
	    {"message", model_message},
	    {"backend", model_backend},
	    {"graph-type", model_backend},
	};
	size_t i;

	for (i = 0; expr->first && i < sizeof forms / sizeof *forms; i++) {
		if (strcmp(expr->first->key, forms[i].key) == 0)
			return forms[i].define(s, src, expr, doc);
	}
	return schema_fail(s, expr->at,
	    "a definition begins with enum, struct, union, command, event, "
	    "message, backend or graph-type");
}

/* schema_init - an empty schema with the built-in types. */
void
schema_init(struct schema *s)
{
	struct where at = {"built-in", 0};
	struct type *t;
	size_t i;

	memset(s, 0, sizeof *s);
	s->hash = 0xcbf29ce484222325u; /* FNV-1a's beginning */
	for (i = 0; i < sizeof builtins / sizeof *builtins; i++) {
		t = model_type_new(s, builtins[i].name, at);
		t->kind = TYPE_BUILTIN;
		t->ctype = builtins[i].ctype;
		t->json = builtins[i].json;
		t->height = 0;
		t->mark = 2;
	}
}

void
schema_free(struct schema *s)
{
	arena_free(&s->arena);
	memset(s, 0, sizeof *s);
}
