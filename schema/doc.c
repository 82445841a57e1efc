/*
 * doc.c - doc comments: the symbol's text and one paragraph per member.
 *
 *     ##
 *     # @Symbol: what it is,
 *     # over several lines.
 *     #
 *     # @member: what the member is.
 *     ##
 *
 * Lines before the first member belong to the symbol; a blank line starts a
 * new paragraph of the symbol or, within a member, ends it.
 *
 * Runs in: the build. Trusts: nothing (fuzzed).
 */
#include "schema/schemac.h"

#include <string.h>

/* What is being collected, in pieces of at most one line. */
struct doc_state {
	struct lexer *lexer;
	struct doc *doc;
	struct doc_arg **tail;
	const char **text; /* where the present paragraph goes */
	bool member;       /* inside a member's paragraph */
	bool fresh;        /* the next line starts a paragraph */
};

static void
doc_add(struct doc_state *d, const char *line, size_t n)
{
	struct arena *a = &d->lexer->schema->arena;
	const char *old = *d->text;

	if (old && old[0])
		*d->text = arena_format(
		    a, "%s%s%.*s", old, d->fresh ? "\n" : " ", (int)n, line);
	else
		*d->text = arena_copy(a, line, n);
	d->fresh = false;
}

/* "@name: text" opens a member, or the symbol when it is the first. */
static int
doc_tag(struct doc_state *d, const char *line, size_t n, struct where at)
{
	struct arena *a = &d->lexer->schema->arena;
	const char *colon = memchr(line, ':', n);
	struct doc_arg *arg;
	const char *name;
	size_t rest;

	if (!colon || colon - line < 2 || colon - line > SCHEMA_NAME_MAX)
		return schema_fail(
		    d->lexer->schema, at, "doc tag is not '@name: text'");
	name = arena_copy(a, line + 1, (size_t)(colon - line) - 1);
	rest = n - (size_t)(colon + 1 - line);
	while (rest && colon[1] == ' ') {
		colon++;
		rest--;
	}
	if (!d->doc->symbol) {
		d->doc->symbol = name;
		d->text = &d->doc->text;
	} else {
		arg = arena_alloc(a, sizeof *arg);
		arg->name = name;
		arg->at = at;
		*d->tail = arg;
		d->tail = &arg->next;
		d->text = &arg->text;
		d->member = true;
	}
	*d->text = "";
	d->fresh = false;
	doc_add(d, colon + 1, rest);
	return 0;
}

static int
doc_line(struct doc_state *d, const char *line, size_t n, struct where at)
{
	if (n && line[0] == '#') {
		line++;
		n--;
	}
	while (n && (line[0] == ' ' || line[0] == '\t')) {
		line++;
		n--;
	}
	while (n && (line[n - 1] == ' ' || line[n - 1] == '\r'))
		n--;
	if (n == 0) {
		d->fresh = true;
		if (d->member) {
			d->member = false;
			d->text = &d->doc->text;
		}
		return 0;
	}
	if (line[0] == '@')
		return doc_tag(d, line, n, at);
	if (!d->doc->symbol)
		return schema_fail(d->lexer->schema, at,
		    "doc comment does not begin with '@name:'");
	doc_add(d, line, n);
	return 0;
}

/*
 * doc_parse - read the lines of a doc comment and keep it in *l for the
 * definition that follows. `line` is the number of the first one.
 */
int
doc_parse(struct lexer *l, const char *text, size_t bytes, unsigned line)
{
	struct arena *a = &l->schema->arena;
	struct doc_state d = {.lexer = l};
	size_t pos = 0, end;
	const char *nl;

	if (l->doc)
		return schema_fail(l->schema, l->doc->at,
		    "doc comment is not followed by a definition");
	d.doc = arena_alloc(a, sizeof *d.doc);
	d.doc->at = (struct where){l->source->path, line};
	d.doc->text = "";
	d.text = &d.doc->text;
	d.tail = &d.doc->args;
	if (bytes > 65536)
		return schema_fail(
		    l->schema, d.doc->at, "doc comment is too long");
	if (pos < bytes && text[pos] == '\n')
		pos++;
	for (; pos < bytes; pos = end + 1, line++) {
		struct where at = {l->source->path, line};

		nl = memchr(text + pos, '\n', bytes - pos);
		end = nl ? (size_t)(nl - text) : bytes;
		if (doc_line(&d, text + pos, end - pos, at) < 0)
			return -1;
	}
	if (!d.doc->symbol)
		return schema_fail(
		    l->schema, d.doc->at, "doc comment is empty");
	l->doc = d.doc;
	return 0;
}

/* doc_member - the paragraph about `name`, or NULL; marks it as used. */
const char *
doc_member(struct doc *d, const char *name)
{
	struct doc_arg *arg;

	for (arg = d ? d->args : NULL; arg; arg = arg->next) {
		if (strcmp(arg->name, name) == 0) {
			arg->used = true;
			return arg->text;
		}
	}
	return NULL;
}

/* doc_check - the comment is about `name`, and about nothing that is not. */
int
doc_check(struct schema *s, struct doc *d, const char *name)
{
	struct doc_arg *arg;

	if (!d)
		return 0;
	if (strcmp(d->symbol, name) != 0)
		return schema_fail(s, d->at,
		    "doc comment is for '%s', definition is '%s'", d->symbol,
		    name);
	for (arg = d->args; arg; arg = arg->next) {
		if (!arg->used)
			return schema_fail(s, arg->at,
			    "documented member '%s' does not exist", arg->name);
	}
	return 0;
}
