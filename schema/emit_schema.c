/*
 * emit_schema.c - gen/schema.[ch]: the answer of query-qmp-schema, and what
 * identifies the build.
 *
 * Types are numbered in the order in which they are met, as they are no
 * interface; commands, events, members and values keep their names. Only what
 * a command or an event reaches is shown, and of the netdev types only those
 * that this build can make.
 *
 * Runs in: the build, after the schema was checked.
 */
#include "schema/schemac.h"

#include <string.h>

/* Types still to be written, in the order in which they got their number. */
struct shown {
	FILE *f;
	struct {
		struct type *type;
		bool list;
	} queue[2 * SCHEMA_DEFS_MAX];
	size_t count;
	bool first;
};

static const char comma[] = ", ";

static void
emit_entry(struct shown *w)
{
	fprintf(w->f, "%s{", w->first ? "" : ", ");
	w->first = false;
}

/* The name under which a type is referred to; queues it the first time. */
static void
emit_ref(struct shown *w, struct type *t, bool list)
{
	int *number = list ? &t->list_shown : &t->shown;

	if (!*number) {
		w->queue[w->count].type = t;
		w->queue[w->count].list = list;
		*number = (int)++w->count;
	}
	if (list)
		fprintf(w->f, "\\\"[%d]\\\"", *number);
	else if (t->kind == TYPE_BUILTIN && strcmp(t->json, "string") == 0)
		fprintf(w->f, "\\\"str\\\"");
	else if (t->kind == TYPE_BUILTIN && strcmp(t->json, "boolean") == 0)
		fprintf(w->f, "\\\"bool\\\"");
	else if (t->kind == TYPE_BUILTIN)
		fprintf(w->f, "\\\"%s\\\"", t->json);
	else
		fprintf(w->f, "\\\"%d\\\"", *number);
}

static void
emit_pair(struct shown *w, const char *key, const char *value)
{
	fprintf(w->f, "\\\"%s\\\": \\\"%s\\\"", key, value);
}

static void
show_enum(struct shown *w, struct schema *s, const struct type *t)
{
	const char *sep = "";
	size_t i;

	emit_pair(w, "meta-type", "enum");
	fprintf(w->f, ", \\\"members\\\": [");
	for (i = 0; i < t->member_count; i++) {
		if (schema_missing(s, t, t->members[i].name))
			continue;
		fprintf(w->f, "%s{\\\"name\\\": \\\"%s\\\"}", sep,
		    t->members[i].name);
		sep = comma;
	}
	fprintf(w->f, "], \\\"values\\\": [");
	for (sep = "", i = 0; i < t->member_count; i++) {
		if (schema_missing(s, t, t->members[i].name))
			continue;
		fprintf(w->f, "%s\\\"%s\\\"", sep, t->members[i].name);
		sep = comma;
	}
	fprintf(w->f, "]");
}

static void
show_object(struct shown *w, const struct type *t)
{
	const char *sep = "";
	size_t i;

	emit_pair(w, "meta-type", "object");
	fprintf(w->f, ", \\\"members\\\": [");
	for (i = 0; i < t->member_count; i++) {
		const struct member *m = &t->members[i];

		fprintf(w->f, "%s{\\\"name\\\": \\\"%s\\\", ", i ? comma : "",
		    m->name);
		fprintf(w->f, "%s\\\"type\\\": ",
		    m->optional ? "\\\"default\\\": null, " : "");
		emit_ref(w, m->type, m->list);
		fprintf(w->f, "}");
	}
	fprintf(w->f, "]");
	if (t->kind != TYPE_UNION)
		return;
	fprintf(w->f, ", \\\"tag\\\": \\\"%s\\\", \\\"variants\\\": [",
	    t->tag_name);
	for (i = 0; i < t->branch_count; i++) {
		const struct branch *b = &t->branches[i];

		if (!b->available)
			continue;
		fprintf(w->f,
		    "%s{\\\"case\\\": \\\"%s\\\", \\\"type\\\": ", sep,
		    b->name);
		emit_ref(w, b->type, false);
		fprintf(w->f, "}");
		sep = comma;
	}
	fprintf(w->f, "]");
}

/* One built-in type; several share one name, which is shown once. */
static void
show_builtin(struct shown *w, const struct type *t, unsigned *done)
{
	static const struct {
		const char *json, *name, *type;
	} rows[] = {
	    {"string", "str", "string"},
	    {"boolean", "bool", "boolean"},
	    {"int", "int", "int"},
	    {"number", "number", "number"},
	};
	unsigned i;

	for (i = 0; i < sizeof rows / sizeof *rows; i++) {
		if (strcmp(rows[i].json, t->json) != 0 || (*done & 1u << i))
			continue;
		*done |= 1u << i;
		emit_entry(w);
		emit_pair(w, "name", rows[i].name);
		fprintf(w->f, ", ");
		emit_pair(w, "meta-type", "builtin");
		fprintf(w->f, ", ");
		emit_pair(w, "json-type", rows[i].type);
		fprintf(w->f, "}");
	}
}

static void
show_type(struct shown *w, struct schema *s, size_t i, unsigned *done)
{
	struct type *t = w->queue[i].type;
	bool list = w->queue[i].list;

	if (!list && t->kind == TYPE_BUILTIN) {
		show_builtin(w, t, done);
		return;
	}
	emit_entry(w);
	fprintf(w->f,
	    list ? "\\\"name\\\": \\\"[%zu]\\\", "
		 : "\\\"name\\\": \\\"%zu\\\", ",
	    i + 1);
	if (list) {
		emit_pair(w, "meta-type", "array");
		fprintf(w->f, ", \\\"element-type\\\": ");
		emit_ref(w, t, false);
	} else if (t->kind == TYPE_ENUM) {
		show_enum(w, s, t);
	} else {
		show_object(w, t);
	}
	fprintf(w->f, "}\"\n    \"");
}

static void
show_command(struct shown *w, const struct command *c, struct type *nothing)
{
	emit_entry(w);
	emit_pair(w, "name", c->name);
	fprintf(w->f, ", ");
	emit_pair(w, "meta-type", "command");
	fprintf(w->f, ", \\\"arg-type\\\": ");
	emit_ref(w, c->args->member_count ? c->args : nothing, false);
	fprintf(w->f, ", \\\"ret-type\\\": ");
	if (c->returns)
		emit_ref(w, c->returns, c->returns_list);
	else
		emit_ref(w, nothing, false);
	if (c->oob)
		fprintf(w->f, ", \\\"allow-oob\\\": true");
	fprintf(w->f, "}\"\n    \"");
}

static void
emit_introspection(FILE *f, struct schema *s)
{
	static struct type nothing = {.name = "", .kind = TYPE_STRUCT};
	struct shown *w = arena_alloc(&s->arena, sizeof *w);
	unsigned done = 0;
	size_t i;

	w->f = f;
	w->first = true;
	fprintf(f, "const char schema_introspection[] =\n    \"[");
	nothing.shown = 0;
	for (i = 0; i < s->type_count; i++)
		s->types[i]->shown = s->types[i]->list_shown = 0;
	for (i = 0; i < s->command_count; i++)
		show_command(w, s->commands[i], &nothing);
	for (i = 0; i < s->event_count; i++) {
		struct type *data = s->events[i]->data;

		emit_entry(w);
		emit_pair(w, "name", s->events[i]->name);
		fprintf(f, ", ");
		emit_pair(w, "meta-type", "event");
		fprintf(f, ", \\\"arg-type\\\": ");
		emit_ref(w, data->member_count ? data : &nothing, false);
		fprintf(f, "}\"\n    \"");
	}
	for (i = 0; i < w->count; i++)
		show_type(w, s, i, &done);
	fprintf(f, "]\";\n");
}

void
emit_schema_h(FILE *f, struct schema *s)
{
	(void)s;
	fprintf(f, "#ifndef GEN_SCHEMA_H\n#define GEN_SCHEMA_H\n\n"
		   "/* The answer of query-qmp-schema: JSON, one line. */\n"
		   "extern const char schema_introspection[];\n"
		   "/* Of every schema file of this build. */\n"
		   "extern const char schema_hash[];\n"
		   "extern const char schema_version[];\n\n#endif\n");
}

void
emit_schema_c(FILE *f, struct schema *s)
{
	fprintf(f,
	    "#include \"gen/schema.h\"\n\n"
	    "#ifndef BULKHEAD_VERSION\n#define BULKHEAD_VERSION \"0\"\n"
	    "#endif\n\nconst char schema_hash[] = \"%016llx\";\n"
	    "const char schema_version[] = BULKHEAD_VERSION;\n\n",
	    (unsigned long long)s->hash);
	emit_introspection(f, s);
	fprintf(f, "\n/* Clients read lines of less than 64 KiB. */\n"
		   "_Static_assert(sizeof schema_introspection < 65000, "
		   "\"too long for clients\");\n");
}
