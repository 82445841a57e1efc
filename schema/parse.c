/*
 * parse.c - source texts to expressions, and includes to source texts.
 *
 * Brackets are kept on a small stack, not on ours: nesting comes from the
 * input. Includes are queued, not nested, since order means nothing.
 *
 * Runs in: the build. Trusts: nothing (fuzzed).
 */
#include "schema/schemac.h"

#include <errno.h>
#include <string.h>

/* Open containers of the expression being read. */
struct parser {
	struct lexer lexer;
	struct node *open[SCHEMA_NESTING_MAX];
	size_t depth;
	struct node *root;
};

/* node_get - a dict's member, or NULL. */
const struct node *
node_get(const struct node *dict, const char *key)
{
	const struct node *n;

	for (n = dict->first; n; n = n->next) {
		if (n->key && strcmp(n->key, key) == 0)
			return n;
	}
	return NULL;
}

static bool
is_punct(const struct lexer *l, char c)
{
	return l->kind == TOKEN_PUNCT && l->punct == c;
}

static int
expect(struct parser *p, char c)
{
	struct lexer *l = &p->lexer;

	if (!is_punct(l, c))
		return schema_fail(l->schema, l->at, "expected '%c'", c);
	return lex_next(l);
}

/* A value node of the present token, added to the innermost container. */
static struct node *
add_node(struct parser *p, enum node_kind kind, const char *key)
{
	struct node *parent = p->depth ? p->open[p->depth - 1] : NULL;
	struct node *n = arena_alloc(&p->lexer.schema->arena, sizeof *n);

	n->kind = kind;
	n->at = p->lexer.at;
	n->key = key;
	if (!parent) {
		p->root = n;
	} else if (parent->last) {
		parent->last->next = n;
		parent->last = n;
	} else {
		parent->first = parent->last = n;
	}
	if (parent)
		parent->count++;
	return n;
}

/* "'key':" of a dict's next member. */
static int
parse_key(struct parser *p, const char **key)
{
	struct lexer *l = &p->lexer;

	if (l->kind != TOKEN_STR)
		return schema_fail(
		    l->schema, l->at, "expected a key in quotes");
	*key = l->str;
	if (node_get(p->open[p->depth - 1], *key))
		return schema_fail(
		    l->schema, l->at, "key '%.64s' is there twice", *key);
	if (lex_next(l) < 0)
		return -1;
	return expect(p, ':');
}

/* One value at the present token; a container is left open on the stack. */
static int
parse_value(struct parser *p)
{
	struct lexer *l = &p->lexer;
	const char *key = NULL;
	struct node *n;

	if (p->depth && p->open[p->depth - 1]->kind == NODE_DICT &&
	    parse_key(p, &key) < 0)
		return -1;
	if (is_punct(l, '{') || is_punct(l, '[')) {
		if (p->depth == SCHEMA_NESTING_MAX)
			return schema_fail(
			    l->schema, l->at, "nested too deeply");
		n = add_node(p, l->punct == '{' ? NODE_DICT : NODE_LIST, key);
		p->open[p->depth++] = n;
	} else if (l->kind == TOKEN_STR) {
		add_node(p, NODE_STR, key)->str = l->str;
	} else if (l->kind == TOKEN_WORD) {
		add_node(p, NODE_BOOL, key)->flag = l->str[0] == 't';
	} else if (l->kind == TOKEN_INT) {
		add_node(p, NODE_INT, key)->number = l->number;
	} else {
		return schema_fail(l->schema, l->at, "expected a value");
	}
	return lex_next(l);
}

/* Close what closes here. 1 = a value follows, 0 = the expression is over. */
static int
parse_after(struct parser *p, bool opened)
{
	struct lexer *l = &p->lexer;

	while (p->depth) {
		struct node *top = p->open[p->depth - 1];
		char close = top->kind == NODE_DICT ? '}' : ']';

		if (opened && !is_punct(l, close))
			return 1;
		opened = false;
		if (is_punct(l, ','))
			return lex_next(l) < 0 ? -1 : 1;
		if (!is_punct(l, close))
			return schema_fail(
			    l->schema, l->at, "expected ',' or '%c'", close);
		p->depth--;
		/* Do not read past the last bracket: a doc comment that
		 * follows belongs to the next expression. */
		if (p->depth && lex_next(l) < 0)
			return -1;
	}
	return 0;
}

static int
parse_expression(struct parser *p)
{
	int more = 1;
	size_t before;

	p->depth = 0;
	p->root = NULL;
	if (!is_punct(&p->lexer, '{'))
		return schema_fail(
		    p->lexer.schema, p->lexer.at, "expected '{'");
	while (more == 1) {
		before = p->depth;
		if (parse_value(p) < 0)
			return -1;
		more = parse_after(p, p->depth > before);
	}
	return more;
}

static int
parse_include(struct schema *s, const struct source *src,
    const struct node *expr, const struct node *name)
{
	const char *slash = strrchr(src->path, '/');

	if (expr->count != 1 || name->kind != NODE_STR)
		return schema_fail(s, expr->at, "'include' takes a file name");
	if (!name->str[0] || strchr(name->str, '/'))
		return schema_fail(
		    s, name->at, "include '%.64s' is not beside us", name->str);
	return schema_add_file(s,
	    arena_format(&s->arena, "%.*s%s",
		slash ? (int)(slash + 1 - src->path) : 0, src->path, name->str),
	    name->at);
}

static int
parse_pragma(struct schema *s, struct source *src, const struct node *pragma)
{
	const struct node *n;

	if (pragma->kind != NODE_DICT)
		return schema_fail(s, pragma->at, "'pragma' takes an object");
	for (n = pragma->first; n; n = n->next) {
		if (strcmp(n->key, "doc-required") != 0 || n->kind != NODE_BOOL)
			return schema_fail(
			    s, n->at, "unknown pragma '%.64s'", n->key);
		src->doc_required = n->flag;
	}
	return 0;
}

static int
parse_source(struct schema *s, struct source *src)
{
	struct parser p;
	const struct node *n;
	struct doc *doc;
	int rc = 0;

	if (lex_start(&p.lexer, s, src) < 0)
		return -1;
	while (rc == 0 && p.lexer.kind != TOKEN_END) {
		doc = p.lexer.doc;
		p.lexer.doc = NULL;
		if (parse_expression(&p) < 0 || !p.root)
			return -1;
		if (p.lexer.doc)
			return schema_fail(s, p.lexer.doc->at,
			    "doc comment inside a definition");
		n = node_get(p.root, "include");
		if (n)
			rc = parse_include(s, src, p.root, n);
		else if ((n = node_get(p.root, "pragma")) != NULL)
			rc = parse_pragma(s, src, n);
		else
			rc = schema_define(s, src, p.root, doc);
		if (rc == 0)
			rc = lex_next(&p.lexer);
	}
	if (rc == 0 && p.lexer.doc)
		rc = schema_fail(s, p.lexer.doc->at,
		    "doc comment is not followed by a definition");
	return rc;
}

/* schema_parse - read every source, those that are included on the way too. */
int
schema_parse(struct schema *s)
{
	size_t i;

	for (i = 0; i < s->source_count; i++) {
		if (parse_source(s, &s->sources[i]) < 0)
			return -1;
	}
	return 0;
}

/* schema_add_text - queue a text under a name. Both are copied. */
int
schema_add_text(
    struct schema *s, const char *path, const char *text, size_t bytes)
{
	struct source *src;
	size_t i;

	if (s->source_count == SCHEMA_FILES_MAX)
		return schema_fail(s, (struct where){path, 0},
		    "more than %d files", SCHEMA_FILES_MAX);
	src = &s->sources[s->source_count++];
	src->path = arena_copy(&s->arena, path, strlen(path));
	src->text = arena_copy(&s->arena, text, bytes);
	src->bytes = bytes;
	/* FNV-1a, 64 bit */
	for (i = 0; i < bytes; i++)
		s->hash = (s->hash ^ (unsigned char)text[i]) * 0x100000001b3u;
	return 0;
}

/* schema_add_file - queue a file, once. */
int
schema_add_file(struct schema *s, const char *path, struct where from)
{
	char *text;
	size_t n, i;
	FILE *f;

	if (strncmp(path, "./", 2) == 0)
		path += 2;
	for (i = 0; i < s->source_count; i++) {
		if (strcmp(s->sources[i].path, path) == 0)
			return 0;
	}
	f = s->no_files ? NULL : fopen(path, "r");
	if (!f)
		return schema_fail(s, from, "cannot open '%.128s': %s", path,
		    s->no_files ? "not asked to" : strerror(errno));
	text = arena_alloc(&s->arena, SCHEMA_FILE_BYTES);
	n = fread(text, 1, SCHEMA_FILE_BYTES, f);
	i = (size_t)ferror(f);
	fclose(f);
	if (i || n == SCHEMA_FILE_BYTES)
		return schema_fail(s, from, "'%.128s' is %s", path,
		    i ? "not readable" : "too long");
	return schema_add_text(s, path, text, n);
}
