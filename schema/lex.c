/*
 * lex.c - schema text to tokens.
 *
 * The language is JSON with single quotes, # comments, and no escapes. A line
 * that is exactly "##" opens and closes a doc comment.
 *
 * Runs in: the build. Trusts: nothing (fuzzed).
 */
#include "schema/schemac.h"

#include <string.h>

static bool
at_line_start(const struct source *src, size_t pos)
{
	return pos == 0 || src->text[pos - 1] == '\n';
}

static size_t
line_end(const struct source *src, size_t pos)
{
	const char *nl = memchr(src->text + pos, '\n', src->bytes - pos);

	return nl ? (size_t)(nl - src->text) : src->bytes;
}

static bool
is_fence(const struct source *src, size_t pos)
{
	return at_line_start(src, pos) && line_end(src, pos) - pos == 2 &&
	       memcmp(src->text + pos, "##", 2) == 0;
}

/* A doc comment: everything up to the next "##" line. */
static int
lex_doc(struct lexer *l)
{
	struct source *src = l->source;
	size_t start = line_end(src, l->pos), pos = start;
	unsigned first = l->line + 1, line = first;
	struct where at = {src->path, l->line};

	while (pos < src->bytes) {
		pos++; /* the newline */
		if (pos >= src->bytes || src->text[pos] != '#')
			break;
		if (is_fence(src, pos)) {
			l->pos = pos + 2;
			l->line = line;
			return doc_parse(
			    l, src->text + start, pos - start, first);
		}
		pos = line_end(src, pos);
		line++;
	}
	return schema_fail(l->schema, at, "doc comment has no closing ##");
}

/* White space and comments before a token. */
static int
lex_blank(struct lexer *l)
{
	struct source *src = l->source;

	while (l->pos < src->bytes) {
		char c = src->text[l->pos];

		if (c == '\n') {
			l->line++;
			l->pos++;
		} else if (c == ' ' || c == '\t' || c == '\r') {
			l->pos++;
		} else if (c == '#' && is_fence(src, l->pos)) {
			if (lex_doc(l) < 0)
				return -1;
		} else if (c == '#') {
			l->pos = line_end(src, l->pos);
		} else {
			break;
		}
	}
	return 0;
}

static int
lex_string(struct lexer *l)
{
	struct source *src = l->source;
	size_t start = ++l->pos;

	for (; l->pos < src->bytes; l->pos++) {
		char c = src->text[l->pos];

		if (c == '\'') {
			l->kind = TOKEN_STR;
			l->str = arena_copy(&l->schema->arena,
			    src->text + start, l->pos - start);
			l->pos++;
			return 0;
		}
		if (c < ' ' || c > '~' || c == '\\')
			break;
	}
	return schema_fail(l->schema, l->at,
	    "string is not closed, or holds more than plain ASCII");
}

static bool
is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static int
lex_word(struct lexer *l)
{
	struct source *src = l->source;
	size_t start = l->pos, n, i;

	while (l->pos < src->bytes && is_word(src->text[l->pos]))
		l->pos++;
	n = l->pos - start;
	l->str = arena_copy(&l->schema->arena, src->text + start, n);
	l->kind = TOKEN_WORD;
	if (strcmp(l->str, "true") == 0 || strcmp(l->str, "false") == 0)
		return 0;
	l->kind = TOKEN_INT;
	l->number = 0;
	for (i = 0; i < n; i++) {
		if (l->str[i] < '0' || l->str[i] > '9' || i >= 9)
			return schema_fail(
			    l->schema, l->at, "stray word '%.40s'", l->str);
		l->number = 10 * l->number + (l->str[i] - '0');
	}
	return 0;
}

/* lex_next - read the next token into *l. 0, or -1 with the complaint. */
int
lex_next(struct lexer *l)
{
	char c;

	if (lex_blank(l) < 0)
		return -1;
	l->at = (struct where){l->source->path, l->line};
	if (l->pos >= l->source->bytes) {
		l->kind = TOKEN_END;
		return 0;
	}
	c = l->source->text[l->pos];
	if (c && strchr("{}[]:,", c)) {
		l->kind = TOKEN_PUNCT;
		l->punct = c;
		l->pos++;
		return 0;
	}
	if (c == '\'')
		return lex_string(l);
	if (is_word(c))
		return lex_word(l);
	return schema_fail(
	    l->schema, l->at, "stray byte 0x%02x", (unsigned char)c);
}

/* lex_start - begin a source text and read its first token. */
int
lex_start(struct lexer *l, struct schema *s, struct source *src)
{
	*l = (struct lexer){.schema = s, .source = src, .line = 1};
	return lex_next(l);
}
