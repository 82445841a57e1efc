/*
 * framer.c - cuts a byte stream into JSON values.
 *
 * Runs in: the broker.
 * Trusts: nobody.
 * Specification: QEMU docs/interop/qmp-spec.txt; dialect and error texts as
 *   QEMU's qobject/json-lexer.c, json-streamer.c and json-parser.c show them.
 *
 * Theory of operation. Three machines, all driven by one byte or one token at
 * a time, none recursive:
 *   lexer    (json_lex.c) bytes to tokens. A byte that fits nowhere is a
 * lexical error: the token so far, that byte included, is reported as stray,
 * and input is skipped up to a bracket, a separator or a control byte. That is
 *            how the byte 0xFF puts a framer of unknown state right: in any
 *            state it costs one error and leaves nothing behind.
 *   streamer counts braces and brackets. A value ends when neither is open any
 *            more, or when one was closed too often.
 *   parser   checks the grammar as tokens come and writes strict JSON. After
 *            its first complaint it stays silent until the streamer says that
 *            the value has ended; then the complaint is the answer.
 * Decisions where the sources leave room:
 *   - U+0000 is accepted as \u0000 and as the bytes C0 80 and kept as \u0000;
 *     the reader of the values may refuse it.
 *   - Numbers beyond a double are refused ("1e400"): QEMU would answer `inf`.
 *     Integers beyond int64 are marked with a capital E0, which makes them a
 *     real for a strict parser; framer_echo() takes the mark off again.
 *   - A value that runs into a bound is reported once, and what follows is
 *     skipped like the rest of a stray token.
 */
#include "broker/framer.h"

#include "proto/log.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What one open bracket is. */
enum { NEST_OBJECT = 1, NEST_IN_KEY = 2 };

/* The value's first syntax error; later ones are consequences. */
static void
complain(struct framer *f, const char *what)
{
	if (f->broken)
		return;
	f->broken = true;
	text_clear(&f->error, SIZE_MAX);
	text_add_str(&f->error, "JSON parse error, ");
	text_add_str(&f->error, what);
}

/* The same, with the token shown: at most FRAMER_SHOWN_BYTES, up to a NUL. */
static void
complain_token(struct framer *f, const char *before, const char *after)
{
	size_t len = f->token.len;

	if (f->broken)
		return;
	if (len > FRAMER_SHOWN_BYTES)
		len = FRAMER_SHOWN_BYTES;
	complain(f, before);
	text_add(&f->error, f->token.data, strnlen(f->token.data, len));
	text_add_str(&f->error, after);
}

static void
parse_string(struct framer *f, bool is_key)
{
	struct text why = {.max = FRAMER_SHOWN_BYTES};
	int rc =
	    text_add_string_token(&f->value, f->token.data, f->token.len, &why);

	if (rc < 0) {
		complain(f, "");
		text_add(&f->error, why.data, why.len);
	}
	text_free(&why);
	f->place = is_key ? PLACE_COLON : PLACE_AFTER;
}

/* Does the integer token fit int64? No leading zeros can be there. */
static bool
fits_int64(const char *digits, size_t len)
{
	bool negative = len > 0 && digits[0] == '-';
	const char *bound =
	    negative ? "9223372036854775808" : "9223372036854775807";

	if (negative) {
		digits++;
		len--;
	}
	return len < 19 || (len == 19 && memcmp(digits, bound, 19) <= 0);
}

static void
parse_number(struct framer *f, enum lex_token token)
{
	char buf[FRAMER_WORD_BYTES + 1];
	size_t len = f->token.len;

	BUG_ON(len > FRAMER_WORD_BYTES);
	memcpy(buf, f->token.data, len);
	buf[len] = '\0';
	for (char *p = buf; *p != '\0'; p++)
		if (*p == 'E')
			*p = 'e';
	if (isinf(strtod(buf, NULL))) {
		complain_token(f, "number out of range '", "'");
		return;
	}
	text_add(&f->value, buf, len);
	if (token == TOK_INTEGER && !fits_int64(buf, len))
		text_add_str(&f->value, "E0");
	f->place = PLACE_AFTER;
}

static bool
token_is(const struct framer *f, const char *word)
{
	return f->token.len == strlen(word) &&
	       memcmp(f->token.data, word, f->token.len) == 0;
}

static void
parse_word(struct framer *f)
{
	if (!token_is(f, "true") && !token_is(f, "false") &&
	    !token_is(f, "null")) {
		complain_token(f, "invalid keyword '", "'");
		return;
	}
	text_add(&f->value, f->token.data, f->token.len);
	f->place = PLACE_AFTER;
}

static void
parse_open(struct framer *f, enum lex_token token, bool is_key)
{
	unsigned bits = token == TOK_OBJECT ? NEST_OBJECT : 0;

	/* The streamer has counted this bracket and checked the bound */
	BUG_ON(f->depth >= FRAMER_DEPTH_MAX);
	if (is_key)
		bits |= NEST_IN_KEY;
	f->stack[f->depth++] = (uint8_t)bits;
	text_add_char(&f->value, token == TOK_OBJECT ? '{' : '[');
	f->place = token == TOK_OBJECT ? PLACE_FIRST_KEY : PLACE_FIRST_ITEM;
}

static void
parse_close(struct framer *f)
{
	unsigned bits;

	BUG_ON(f->depth == 0);
	bits = f->stack[--f->depth];
	text_add_char(&f->value, bits & NEST_OBJECT ? '}' : ']');
	if (bits & NEST_IN_KEY)
		complain(f, "key is not a string in object");
	f->place = PLACE_AFTER;
}

static void
parse_value(struct framer *f, enum lex_token token)
{
	switch (token) {
	case TOK_STRING:
		parse_string(f, false);
		break;
	case TOK_INTEGER:
	case TOK_FLOAT:
		parse_number(f, token);
		break;
	case TOK_WORD:
		parse_word(f);
		break;
	case TOK_OBJECT:
	case TOK_ARRAY:
		parse_open(f, token, false);
		break;
	default:
		complain(f, "expecting value");
	}
}

/* QEMU parses any value as the key and complains afterwards. */
static void
parse_key(struct framer *f, enum lex_token token)
{
	switch (token) {
	case TOK_STRING:
		parse_string(f, true);
		break;
	case TOK_OBJECT:
	case TOK_ARRAY:
		parse_open(f, token, true);
		break;
	default:
		parse_value(f, token);
		complain(f, "key is not a string in object");
	}
}

static void
parse_after(struct framer *f, enum lex_token token)
{
	bool object;

	BUG_ON(f->depth == 0);
	object = f->stack[f->depth - 1] & NEST_OBJECT;
	if (token == (object ? TOK_OBJECT_END : TOK_ARRAY_END)) {
		parse_close(f);
	} else if (token == TOK_COMMA) {
		text_add(&f->value, ", ", 2);
		f->place = object ? PLACE_KEY : PLACE_VALUE;
	} else {
		complain(f, object ? "expected separator in dict"
				   : "expected separator in list");
	}
}

static void
parse_token(struct framer *f, enum lex_token token)
{
	switch (f->place) {
	case PLACE_FIRST_ITEM:
		if (token == TOK_ARRAY_END)
			parse_close(f);
		else
			parse_value(f, token);
		break;
	case PLACE_FIRST_KEY:
		if (token == TOK_OBJECT_END)
			parse_close(f);
		else
			parse_key(f, token);
		break;
	case PLACE_KEY:
		parse_key(f, token);
		break;
	case PLACE_COLON:
		if (token != TOK_COLON) {
			complain(f, "missing : in object pair");
			break;
		}
		text_add(&f->value, ": ", 2);
		f->place = PLACE_VALUE;
		break;
	case PLACE_AFTER:
		parse_after(f, token);
		break;
	default:
		parse_value(f, token);
	}
}

/* Forget the value: the next token is the first of another one. */
static void
restart(struct framer *f)
{
	f->place = PLACE_VALUE;
	f->bytes = 0;
	f->tokens = 0;
	f->braces = 0;
	f->brackets = 0;
	f->depth = 0;
	f->broken = false;
}

/* An error that ends the value at once. */
static void
give_error(struct framer *f, const char *text, struct framer_item *out)
{
	if (text != NULL) {
		text_clear(&f->error, SIZE_MAX);
		text_add_str(&f->error, text);
	}
	restart(f);
	f->done = true;
	*out = (struct framer_item){
	    FRAMER_ERROR, f->error.data, f->error.len, f->value_line};
}

static void
give_value(struct framer *f, struct framer_item *out)
{
	if (f->value.failed) {
		give_error(f, "out of memory", out);
		return;
	}
	if (f->broken) {
		give_error(f, NULL, out);
		return;
	}
	BUG_ON(f->depth != 0 || f->place != PLACE_AFTER);
	restart(f);
	f->done = true;
	*out = (struct framer_item){
	    FRAMER_VALUE, f->value.data, f->value.len, f->value_line};
}

static void
count_brackets(struct framer *f, enum lex_token token)
{
	if (token == TOK_OBJECT)
		f->braces++;
	else if (token == TOK_OBJECT_END)
		f->braces--;
	else if (token == TOK_ARRAY)
		f->brackets++;
	else if (token == TOK_ARRAY_END)
		f->brackets--;
}

static const char *
bound_reached(const struct framer *f)
{
	if (f->bytes > FRAMER_BYTES_MAX)
		return "JSON token size limit exceeded";
	if (f->tokens > FRAMER_TOKENS_MAX)
		return "JSON token count limit exceeded";
	if (f->braces + f->brackets > (long)FRAMER_DEPTH_MAX)
		return "JSON nesting depth limit exceeded";
	return NULL;
}

/* One complete token; out->kind tells whether something is complete. */
static void
take_token(struct framer *f, enum lex_token token, struct framer_item *out)
{
	const char *bound;

	if (f->tokens == 0)
		f->value_line = f->line;
	if (token == TOK_STRAY) {
		f->broken = false;
		complain_token(f, "stray '", "'");
		give_error(f, NULL, out);
		return;
	}
	count_brackets(f, token);
	f->tokens++;
	f->bytes += f->token.len;
	bound = bound_reached(f);
	if (bound != NULL) {
		give_error(f, bound, out);
		return;
	}
	if (!f->broken)
		parse_token(f, token);
	if ((f->braces > 0 || f->brackets > 0) && f->braces >= 0 &&
	    f->brackets >= 0)
		return;
	give_value(f, out);
}

/* Keep a byte of the unfinished token, unless it is getting too long. */
static void
keep_byte(struct framer *f, const char *byte, struct framer_item *out)
{
	size_t room =
	    lex_in_string(f->lex) ? FRAMER_BYTES_MAX : FRAMER_WORD_BYTES;

	if (f->lex == LEX_START || f->lex == LEX_RECOVER)
		return;
	if (f->token.len < room && text_add(&f->token, byte, 1) == 0)
		return;
	if (f->tokens == 0)
		f->value_line = f->line;
	f->lex = LEX_RECOVER;
	give_error(f,
	    f->token.len < room ? "out of memory"
				: "JSON token size limit exceeded",
	    out);
}

/* Plain bytes inside a string, in one go. Returns how many were taken. */
static size_t
take_run(struct framer *f, const char *bytes, size_t len)
{
	char quote = f->lex == LEX_DOUBLE ? '"' : '\'';
	size_t run = 0;

	if (f->lex != LEX_DOUBLE && f->lex != LEX_SINGLE)
		return 0;
	if (len > FRAMER_BYTES_MAX - f->token.len)
		len = FRAMER_BYTES_MAX - f->token.len;
	while (run < len) {
		unsigned char c = (unsigned char)bytes[run];

		if (c < 0x20 || c >= 0xfe || c == '\\' ||
		    c == (unsigned char)quote)
			break;
		run++;
	}
	if (text_add(&f->token, bytes, run) < 0)
		return 0;
	return run;
}

/* One byte through the lexer. Returns whether it was used up. */
static bool
take_byte(struct framer *f, const char *byte, struct framer_item *out)
{
	struct lex_move m = lex_byte(f->lex, (unsigned char)*byte);

	f->lex = m.next;
	if (m.token == TOK_NONE) {
		if (m.taken)
			keep_byte(f, byte, out);
	} else {
		/* A token is shown with the byte that spoilt it */
		if (m.taken)
			text_add(&f->token, byte, 1);
		if (f->token.failed)
			give_error(f, "out of memory", out);
		else
			take_token(f, m.token, out);
		text_clear(&f->token, FRAMER_KEEP_BYTES);
	}
	if (m.taken && *byte == '\n')
		f->line++;
	return m.taken;
}

static void
drop_done(struct framer *f)
{
	if (!f->done)
		return;
	text_clear(&f->value, FRAMER_KEEP_BYTES);
	text_clear(&f->error, FRAMER_KEEP_BYTES);
	f->done = false;
}

size_t
framer_feed(
    struct framer *f, const char *bytes, size_t len, struct framer_item *out)
{
	size_t at = 0;

	drop_done(f);
	*out = (struct framer_item){.kind = FRAMER_MORE};
	while (at < len && out->kind == FRAMER_MORE) {
		at += take_run(f, bytes + at, len - at);
		if (at < len && take_byte(f, bytes + at, out))
			at++;
	}
	if (out->kind != FRAMER_MORE)
		text_clear(&f->token, FRAMER_KEEP_BYTES);
	return at;
}

void
framer_end(struct framer *f, struct framer_item *out)
{
	static const char blank = ' ';

	drop_done(f);
	*out = (struct framer_item){.kind = FRAMER_MORE};
	if (lex_in_string(f->lex) || f->lex == LEX_SIGN ||
	    f->lex == LEX_POINT || f->lex == LEX_EXP || f->lex == LEX_EXP_SIGN)
		take_token(f, TOK_STRAY, out);
	else if (f->lex != LEX_START && f->lex != LEX_RECOVER)
		take_byte(f, &blank, out);
	if (out->kind == FRAMER_MORE && f->tokens > 0) {
		complain(f, "premature EOI");
		give_error(f, NULL, out);
	}
	text_clear(&f->token, FRAMER_KEEP_BYTES);
	f->lex = LEX_START;
}

void
framer_init(struct framer *f)
{
	*f = (struct framer){.line = 1, .value_line = 1};
	f->token.max = FRAMER_BYTES_MAX + 1;
	/* One byte sent becomes three at most: C0 80 to \u0000; and ": " */
	f->value.max = FRAMER_BYTES_MAX * 4;
	f->error.max = FRAMER_WORD_BYTES;
}

void
framer_fini(struct framer *f)
{
	text_free(&f->token);
	text_free(&f->value);
	text_free(&f->error);
}

/* Length of the JSON string at json[0] = '"', both quotes included. */
static size_t
string_span(const char *json, size_t len)
{
	size_t at = 1;

	while (at < len && json[at] != '"')
		at += json[at] == '\\' ? 2 : 1;
	return at < len ? at + 1 : len;
}

void
framer_echo(struct text *t, const char *json, size_t len)
{
	size_t at = 0;

	while (at < len) {
		size_t run = 0;

		if (json[at] == '"')
			run = string_span(json + at, len - at);
		else
			while (at + run < len && json[at + run] != '"' &&
			       json[at + run] != 'E')
				run++;
		text_add_ascii(t, json + at, run);
		at += run;
		if (at < len && json[at] == 'E')
			at += 2;
	}
}

/* Length of the value at json[0] inside an object: up to its , or }. */
static size_t
value_span(const char *json, size_t len)
{
	size_t at = 0;
	int depth = 0;

	while (at < len) {
		char c = json[at];

		if (c == '"') {
			at += string_span(json + at, len - at);
			continue;
		}
		if (depth == 0 && (c == ',' || c == '}'))
			break;
		if (c == '{' || c == '[')
			depth++;
		else if (c == '}' || c == ']')
			depth--;
		at++;
	}
	return at;
}

const char *
framer_member(const char *json, size_t json_len, const char *name, size_t *len)
{
	size_t at = 1, key;

	while (at < json_len && json[at] == '"') {
		const char *word = json + at + 1;

		key = string_span(json + at, json_len - at);
		at += key + 2; /* ": " */
		*len = value_span(json + at, json_len - at);
		if (key - 2 == strlen(name) && memcmp(word, name, key - 2) == 0)
			return json + at;
		at += *len + 2; /* ", " */
	}
	return NULL;
}
