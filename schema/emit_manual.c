/*
 * emit_manual.c - gen/manual/: the reference part of the manual pages.
 *
 * Each file stands by itself below a section heading of its page.
 *
 * Runs in:       the build, after the schema was checked.
 * Specification: mdoc(7).
 */
#include "schema/schemac.h"

#include <ctype.h>
#include <string.h>

static long
word(const char *p)
{
	return (long)strcspn(p, " \n");
}

/*
 * Text as mdoc: a sentence a line, a paragraph after a newline, nothing that
 * could be taken for a macro.
 */
static void
emit_text(FILE *f, const char *text)
{
	const char *p, *line = text;
	bool start = true;

	for (p = text ? text : ""; *p; p++) {
		if (start && (*p == '.' || *p == '\''))
			fputs("\\&", f);
		if (start)
			line = p;
		start = false;
		if (*p == '\n') {
			fputs("\n.Pp\n", f);
			start = true;
		} else if (*p == ' ' && ((p > text && p[-1] == '.' &&
					     isupper((unsigned char)p[1])) ||
					    p - line + word(p + 1) > 76)) {
			fputc('\n', f);
			start = true;
		} else if (*p == '\\') {
			fputs("\\e", f);
		} else {
			fputc(*p, f);
		}
	}
	fputc('\n', f);
}

/* What stands after the '=' of an option. */
static void
emit_option_value(FILE *f, struct schema *s, const struct type *t)
{
	const char *sep = "";
	size_t i;

	if (t->kind == TYPE_ENUM) {
		for (i = 0; i < t->member_count; i++) {
			if (schema_missing(s, t, t->members[i].name))
				continue;
			fprintf(f, "%sCm %s", sep, t->members[i].name);
			sep = " | ";
		}
	} else if (t->kind != TYPE_BUILTIN || strcmp(t->name, "str") == 0) {
		fputs("Ar text", f);
	} else if (strcmp(t->name, "bool") == 0) {
		fputs("Cm on | off", f);
	} else if (strcmp(t->name, "size") == 0) {
		fputs("Ar bytes", f);
	} else {
		fputs("Ar number", f);
	}
}

static void
emit_option(FILE *f, struct schema *s, const struct member *m)
{
	fprintf(f, ".It Cm %s Ns = Ns ", m->name);
	emit_option_value(f, s, m->type);
	fputc('\n', f);
	emit_text(f, m->doc);
	if (!m->optional)
		fputs("Mandatory.\n", f);
	if (m->list)
		fputs("May be given several times.\n", f);
}

static void
emit_options(FILE *f, struct schema *s, const struct type *t)
{
	size_t i;

	if (t->member_count == 0)
		return;
	fputs(".Bl -tag -width Ds\n", f);
	for (i = 0; i < t->member_count; i++)
		emit_option(f, s, &t->members[i]);
	fputs(".El\n", f);
}

/* emit_manual_netdevs - options of each type, and what is missing. */
void
emit_manual_netdevs(FILE *f, struct schema *s)
{
	const struct type *t = schema_type(s, "Netdev");
	bool missing = false;
	size_t i;

	if (!t || t->kind != TYPE_UNION)
		return;
	fputs(".Ss Every type\n", f);
	emit_options(f, s, t);
	for (i = 0; i < t->branch_count; i++) {
		const struct branch *b = &t->branches[i];

		missing = missing || !b->available;
		if (!b->available)
			continue;
		fprintf(f, ".Ss %s\n", b->name);
		emit_text(f, b->type->doc ? b->type->doc->text : "");
		emit_options(f, s, b->type);
	}
	if (!missing)
		return;
	fputs(".Ss Not available in this build\n"
	      "These types are known and refused.\n"
	      ".Bl -tag -width Ds -compact\n",
	    f);
	for (i = 0; i < t->branch_count; i++) {
		if (t->branches[i].available)
			continue;
		fprintf(f, ".It Cm %s\n", t->branches[i].name);
		emit_text(f,
		    t->members[t->tag].type->members[t->branches[i].value].doc);
	}
	fputs(".El\n", f);
}

/* A type's name in running text. */
static void
emit_type_name(FILE *f, const struct type *t, bool list)
{
	const char *plural = t->kind == TYPE_ENUM ? " values" : " objects";

	fprintf(f, "%s%s%s", list ? "list of " : "", t->name,
	    list && t->kind != TYPE_BUILTIN ? plural : "");
}

static void
emit_fields(FILE *f, const struct type *t)
{
	size_t i;

	if (t->member_count == 0)
		return;
	fputs(".Bl -tag -width Ds -compact\n", f);
	for (i = 0; i < t->member_count; i++) {
		const struct member *m = &t->members[i];

		fprintf(f, ".It Fa %s", m->name);
		if (t->kind != TYPE_ENUM) {
			fputs(" Pq ", f);
			emit_type_name(f, m->type, m->list);
			fputs(m->optional ? ", optional" : "", f);
		}
		fputc('\n', f);
		emit_text(f, m->doc);
	}
	fputs(".El\n", f);
}

static void
emit_subject(FILE *f, const char *name, const struct doc *doc,
    const struct type *args, bool named)
{
	fprintf(f, ".Ss %s\n", name);
	emit_text(f, doc ? doc->text : "");
	if (named)
		fprintf(f, ".Pp\nMembers: those of\n.Em %s .\n", args->name);
	else if (args->member_count)
		fputs(".Pp\n", f);
	if (!named)
		emit_fields(f, args);
}

/* Mark every type inside t, but what the netdev types are made of. */
static void
mark_inside(struct schema *s, struct type *t)
{
	size_t i, k;

	t->shown = 1;
	/* What is inside comes first in `sorted`: walk it backwards. */
	for (i = s->sorted_count; i-- > 0;) {
		struct type *in = s->sorted[i];

		if (!in->shown)
			continue;
		for (k = 0; in->kind != TYPE_ENUM && k < in->member_count; k++)
			in->members[k].type->shown = 1;
		for (k = 0;
		     strcmp(in->name, "Netdev") != 0 && k < in->branch_count;
		     k++)
			if (in->branches[k].available)
				in->branches[k].type->shown = 1;
	}
}

/* What depends on the tag; what is refused by its name is left out. */
static void
manual_branches(FILE *f, const struct type *t)
{
	const char *sep = ".Pp\n";
	size_t k;

	for (k = 0; k < t->branch_count; k++) {
		if (!t->branches[k].available)
			continue;
		fprintf(f, "%sWith\n.Fa %s\n.Cm %s\nalso those of\n.Em %s .\n",
		    sep, t->tag_name, t->branches[k].name,
		    t->branches[k].type->name);
		sep = "";
	}
}

static void
emit_type_list(FILE *f, struct schema *s)
{
	size_t i;

	for (i = 0; i < s->sorted_count; i++) {
		const struct type *t = s->sorted[i];

		if (!t->shown || !t->doc || strchr(t->name, '-'))
			continue;
		fprintf(f, ".Ss Type %s\n", t->name);
		emit_text(f, t->doc->text);
		fputs(".Pp\n", f);
		emit_fields(f, t);
		if (strcmp(t->name, "Netdev") == 0) {
			fputs(".Pp\nFurther members depend on the type, see\n"
			      ".Xr bulkhead-netdev 7 .\n",
			    f);
			continue;
		}
		manual_branches(f, t);
	}
}

/* emit_manual_commands - the commands, and then every type they mention. */
void
emit_manual_commands(FILE *f, struct schema *s)
{
	size_t i;

	for (i = 0; i < s->type_count; i++)
		s->types[i]->shown = 0;
	for (i = 0; i < s->command_count; i++) {
		const struct command *c = s->commands[i];

		emit_subject(f, c->name, c->doc, c->args, c->data_name != NULL);
		mark_inside(s, c->args);
		if (!c->returns)
			continue;
		mark_inside(s, c->returns);
		fputs(".Pp\nReturns: ", f);
		emit_type_name(f, c->returns, c->returns_list);
		fputs(".\n", f);
	}
	for (i = 0; i < s->event_count; i++)
		mark_inside(s, s->events[i]->data);
	emit_type_list(f, s);
}

/* emit_manual_events - the events. */
void
emit_manual_events(FILE *f, struct schema *s)
{
	size_t i;

	for (i = 0; i < s->event_count; i++)
		emit_subject(f, s->events[i]->name, s->events[i]->doc,
		    s->events[i]->data, s->events[i]->data_name != NULL);
}
