/*
 * check_own.c - rules about messages and backends, and backends.def.
 *
 * Runs in: the build. Trusts: nothing (fuzzed).
 */
#include "schema/schemac.h"

#include <errno.h>
#include <string.h>

/* The resource kinds that the launcher has an opener for. */
static const struct {
	const char *id, *name;
} kinds[] = {
#define RESOURCE(id, name, doc) {#id, name},
#include "proto/resource.def"
#undef RESOURCE
};

/* check_messages - replies exist and go back where the question came from. */
int
check_messages(struct schema *s)
{
	size_t i, k;

	for (i = 0; i < s->message_count; i++) {
		struct message *m = s->messages[i];
		const struct message *r;

		if (m->from & m->to)
			return schema_fail(s, m->at,
			    "message '%s' goes from a role to itself", m->name);
		for (k = 0; m->reply_name && k < s->message_count; k++) {
			if (strcmp(s->messages[k]->name, m->reply_name) == 0)
				m->reply = (int)k;
		}
		if (!m->reply_name)
			continue;
		if (m->reply < 0)
			return schema_fail(s, m->at,
			    "reply '%.64s' of '%s' is not defined",
			    m->reply_name, m->name);
		r = s->messages[m->reply];
		if ((m->to & ~r->from) || (m->from & ~r->to))
			return schema_fail(s, m->at,
			    "reply '%s' does not go back to who sent '%s'",
			    r->name, m->name);
	}
	return 0;
}

/* schema_built - read the types of this build from backends.def. */
int
schema_built(struct schema *s, const char *path)
{
	struct where at = {path, 0};
	char line[256], *end;
	FILE *f = fopen(path, "r");

	if (!f)
		return schema_fail(s, at, "cannot open: %s", strerror(errno));
	while (fgets(line, sizeof line, f)) {
		at.line++;
		if (strncmp(line, "BACKEND(", 8) != 0)
			continue;
		end = strchr(line, ',');
		if (!end || s->built_count == SCHEMA_BACKENDS_MAX) {
			fclose(f);
			return schema_fail(
			    s, at, "not BACKEND(type, \"link\")");
		}
		s->built_at[s->built_count] = at;
		s->built[s->built_count++] =
		    arena_copy(&s->arena, line + 8, (size_t)(end - line) - 8);
		for (end = line; *end; end++)
			s->hash =
			    (s->hash ^ (unsigned char)*end) * 0x100000001b3u;
	}
	fclose(f);
	return 0;
}

static int
option_index(struct schema *s, const struct backend *b, const struct open *o,
    const char *name)
{
	size_t i;

	for (i = 0; i < b->options->member_count; i++) {
		if (strcmp(b->options->members[i].name, name) == 0)
			return (int)i;
	}
	return schema_fail(
	    s, o->at, "'%.64s' is no member of '%s'", name, b->options->name);
}

static int
check_opens(struct schema *s, struct backend *b)
{
	size_t i, k;

	for (i = 0; i < b->open_count; i++) {
		struct open *o = &b->opens[i];

		for (k = 0; k < sizeof kinds / sizeof *kinds; k++) {
			if (strcmp(kinds[k].name, o->kind) == 0)
				o->kind_id = kinds[k].id;
		}
		if (!o->kind_id)
			return schema_fail(
			    s, o->at, "unknown resource kind '%.64s'", o->kind);
		for (k = 0; k < SCHEMA_OPEN_KEYS; k++) {
			if (!o->names[k])
				continue;
			o->index[k] = option_index(s, b, o, o->names[k]);
			if (o->index[k] < 0)
				return -1;
		}
	}
	return 0;
}

/* The branches of a union over NetClientDriver that this build can make. */
static void
mark_available(struct schema *s)
{
	size_t i, k, n;

	for (i = 0; i < s->type_count; i++) {
		struct type *t = s->types[i];

		if (t->kind != TYPE_UNION || s->backend_count == 0 ||
		    strcmp(t->members[t->tag].type->name, "NetClientDriver"))
			continue;
		for (k = 0; k < t->branch_count; k++) {
			t->branches[k].available = false;
			for (n = 0; n < s->backend_count; n++) {
				if (s->backends[n]->built &&
				    strcmp(s->backends[n]->name,
					t->branches[k].name) == 0)
					t->branches[k].available = true;
			}
		}
	}
}

/* schema_missing - is this value of an enum a branch that is not built? */
bool
schema_missing(const struct schema *s, const struct type *t, const char *value)
{
	size_t i, k;

	for (i = 0; i < s->type_count; i++) {
		const struct type *u = s->types[i];

		if (u->kind != TYPE_UNION || u->members[u->tag].type != t)
			continue;
		for (k = 0; k < u->branch_count; k++) {
			if (strcmp(u->branches[k].name, value) == 0 &&
			    !u->branches[k].available)
				return true;
		}
	}
	return false;
}

/* A backend's name is a value of NetClientDriver with those very options. */
static int
check_driver(struct schema *s, const struct backend *b)
{
	struct type *t = schema_type(s, "Netdev");
	size_t i;

	if (!t || t->kind != TYPE_UNION)
		return schema_fail(
		    s, b->at, "a backend needs a union 'Netdev'");
	for (i = 0; i < t->branch_count; i++) {
		if (strcmp(t->branches[i].name, b->name) == 0 &&
		    t->branches[i].type == b->options)
			return 0;
	}
	return schema_fail(s, b->at,
	    "'Netdev' has no branch '%s' with the options '%s'", b->name,
	    b->options->name);
}

/* check_backends - options, resources, and which are in this build. */
int
check_backends(struct schema *s)
{
	size_t i, k;

	for (i = 0; i < s->backend_count; i++) {
		struct backend *b = s->backends[i];

		b->options = schema_type(s, b->options_name);
		if (!b->options || b->options->kind != TYPE_STRUCT)
			return schema_fail(
			    s, b->at, "unknown type '%.64s'", b->options_name);
		b->built = b->graph_only;
		if (check_driver(s, b) < 0 || check_opens(s, b) < 0)
			return -1;
	}
	for (k = 0; k < s->built_count; k++) {
		bool found = false;

		for (i = 0; i < s->backend_count; i++) {
			if (s->backends[i]->graph_only ||
			    strcmp(s->backends[i]->name, s->built[k]))
				continue;
			s->backends[i]->built = found = true;
		}
		if (!found)
			return schema_fail(s, s->built_at[k],
			    "no 'backend' is defined for '%.64s'", s->built[k]);
	}
	mark_available(s);
	return 0;
}
