/*
 * text.c - growing text; coding of JSON strings.
 *
 * Runs in: the broker.
 * Trusts: nobody; each function takes any bytes.
 * Specification: RFC 8259 section 7, RFC 3629; QEMU's dialect as described in
 *   its docs/interop/qmp-spec.txt and qobject/json-parser.c: single quotes,
 *   U+0000 as C0 80, noncharacters refused.
 */
#include "broker/text.h"

#include "proto/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_CAP_MIN 256u

static int
text_grow(struct text *t, size_t need)
{
	size_t cap = t->cap < TEXT_CAP_MIN ? TEXT_CAP_MIN : t->cap;
	char *data;

	while (cap < need)
		cap *= 2;
	data = realloc(t->data, cap);
	if (data == NULL) {
		t->failed = true;
		return -ENOMEM;
	}
	t->data = data;
	t->cap = cap;
	return 0;
}

int
text_add(struct text *t, const void *bytes, size_t len)
{
	size_t max = t->max == 0 ? SIZE_MAX / 4 : t->max;
	int rc;

	if (t->failed || len > max || t->len > max - len) {
		t->failed = true;
		return -E2BIG;
	}
	if (len > t->cap - t->len) {
		rc = text_grow(t, t->len + len);
		if (rc < 0)
			return rc;
	}
	if (len > 0)
		memcpy(t->data + t->len, bytes, len);
	t->len += len;
	return 0;
}

int
text_add_char(struct text *t, char c)
{
	return text_add(t, &c, 1);
}

int
text_add_str(struct text *t, const char *s)
{
	return text_add(t, s, strlen(s));
}

void
text_clear(struct text *t, size_t keep)
{
	if (t->cap > keep)
		text_free(t);
	t->len = 0;
	t->failed = false;
}

void
text_free(struct text *t)
{
	free(t->data);
	t->data = NULL;
	t->len = 0;
	t->cap = 0;
	t->failed = false;
}

static bool
char_allowed(uint32_t cp)
{
	if (cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
		return false;
	return !(cp >= 0xfdd0 && cp <= 0xfdef) && (cp & 0xfffe) != 0xfffe;
}

size_t
utf8_next(const char *p, size_t len, uint32_t *cp)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned char first = (unsigned char)p[0];
	uint32_t value;
	size_t n;

	if (first < 0x80) {
		*cp = first;
		return 1;
	}
	if (first >= 0xc0 && first < 0xe0)
		n = 2;
	else if (first >= 0xe0 && first < 0xf0)
		n = 3;
	else if (first >= 0xf0 && first < 0xf8)
		n = 4;
	else
		return 0;
	if (n > len)
		return 0;
	value = first & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		unsigned char next = (unsigned char)p[i];

		if ((next & 0xc0) != 0x80)
			return 0;
		value = value << 6 | (next & 0x3fu);
	}
	if (value < least[n] && !(value == 0 && n == 2))
		return 0;
	if (!char_allowed(value))
		return 0;
	*cp = value;
	return n;
}

/* One character of a strict JSON string, unescaped where it may be. */
static void
add_char(struct text *t, uint32_t cp)
{
	char buf[8];
	int n;

	if (cp == '"' || cp == '\\')
		n = snprintf(buf, sizeof(buf), "\\%c", (int)cp);
	else if (cp < 0x20)
		n = snprintf(buf, sizeof(buf), "\\u%04X", (unsigned)cp);
	else if (cp < 0x80)
		n = snprintf(buf, sizeof(buf), "%c", (int)cp);
	else if (cp < 0x800)
		n = snprintf(buf, sizeof(buf), "%c%c", (int)(0xc0 | cp >> 6),
		    (int)(0x80 | (cp & 0x3f)));
	else if (cp < 0x10000)
		n = snprintf(buf, sizeof(buf), "%c%c%c", (int)(0xe0 | cp >> 12),
		    (int)(0x80 | (cp >> 6 & 0x3f)), (int)(0x80 | (cp & 0x3f)));
	else
		n = snprintf(buf, sizeof(buf), "%c%c%c%c",
		    (int)(0xf0 | cp >> 18), (int)(0x80 | (cp >> 12 & 0x3f)),
		    (int)(0x80 | (cp >> 6 & 0x3f)), (int)(0x80 | (cp & 0x3f)));
	text_add(t, buf, (size_t)n);
}

/* Four hexadecimal digits at p, or -1. */
static int32_t
hex4(const char *p, size_t len)
{
	int32_t value = 0;

	if (len < 4)
		return -1;
	for (size_t i = 0; i < 4; i++) {
		char c = p[i];

		if (c >= '0' && c <= '9')
			value = value << 4 | (c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value << 4 | (c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			value = value << 4 | (c - 'A' + 10);
		else
			return -1;
	}
	return value;
}

/*
 * \uXXXX or a surrogate pair of them at p[0] = '\\'. Returns the bytes used,
 * 0 when it is no character.
 */
static size_t
unicode_escape(const char *p, size_t len, uint32_t *cp)
{
	int32_t high = hex4(p + 2, len - 2), low;

	if (high < 0)
		return 0;
	*cp = (uint32_t)high;
	if (high >= 0xd800 && high <= 0xdbff && len >= 12 && p[6] == '\\' &&
	    p[7] == 'u') {
		low = hex4(p + 8, len - 8);
		if (low >= 0xdc00 && low <= 0xdfff) {
			*cp = 0x10000u + (((uint32_t)high & 0x3ff) << 10 |
					     ((uint32_t)low & 0x3ff));
			return char_allowed(*cp) ? 12 : 0;
		}
	}
	return char_allowed(*cp) ? 6 : 0;
}

/* The escape at p[0] = '\\', len >= 2: adds it. Bytes used; 0 with *error. */
static size_t
string_escape(struct text *t, const char *p, size_t len, struct text *error)
{
	static const char names[] = "\"'\\/bfnrt";
	static const char values[] = "\"'\\/\b\f\n\r\t";
	const char *at;
	uint32_t cp = 0;
	size_t used;

	if (p[1] == 'u') {
		used = unicode_escape(p, len, &cp);
		if (used > 0) {
			add_char(t, cp);
			return used;
		}
		/* As it was sent, up to the end of the token */
		text_add(error, p, len < 6 ? len : 6);
		text_add_str(error, " is not a valid Unicode character");
		return 0;
	}
	at = p[1] == '\0' ? NULL : strchr(names, p[1]);
	if (at == NULL) {
		text_add_str(error, "invalid escape sequence in string");
		return 0;
	}
	add_char(t, (unsigned char)values[at - names]);
	return 2;
}

int
text_add_string_token(
    struct text *t, const char *token, size_t len, struct text *error)
{
	size_t end = len - 1;
	size_t at = 1;

	BUG_ON(len < 2 || token[0] != token[end]);
	text_add_char(t, '"');
	while (at < end && !t->failed) {
		uint32_t cp = 0;
		size_t used;

		if (token[at] == '\\') {
			/* The closing quote is shown with a short \u12" */
			used = string_escape(t, token + at, len - at, error);
			if (used == 0)
				return -EINVAL;
		} else {
			used = utf8_next(token + at, end - at, &cp);
			if (used == 0) {
				text_add_str(
				    error, "invalid UTF-8 sequence in string");
				return -EINVAL;
			}
			add_char(t, cp);
		}
		at += used;
	}
	text_add_char(t, '"');
	return t->failed ? -ENOMEM : 0;
}

static void
add_u16(struct text *t, uint32_t unit)
{
	char buf[8];
	int n = snprintf(buf, sizeof(buf), "\\u%04X", (unsigned)unit & 0xffff);

	text_add(t, buf, (size_t)n);
}

/* A character above ASCII, or DEL, at p: bytes used. */
static size_t
add_escaped(struct text *t, const char *p, size_t len)
{
	uint32_t cp = 0;
	size_t used = utf8_next(p, len, &cp);

	if (used == 0) {
		add_u16(t, 0xfffd);
		return 1;
	}
	if (cp >= 0x10000) {
		add_u16(t, 0xd800 + ((cp - 0x10000) >> 10));
		add_u16(t, 0xdc00 + ((cp - 0x10000) & 0x3ff));
	} else {
		add_u16(t, cp);
	}
	return used;
}

static bool
is_plain(char c)
{
	return (unsigned char)c < 0x7f;
}

void
text_add_ascii(struct text *t, const char *json, size_t len)
{
	size_t at = 0;

	while (at < len && !t->failed) {
		size_t run = at;

		while (run < len && is_plain(json[run]))
			run++;
		text_add(t, json + at, run - at);
		at = run;
		if (at < len)
			at += add_escaped(t, json + at, len - at);
	}
}

/* One ASCII character that may not stand in a JSON string as it is. */
static void
add_special(struct text *t, char c)
{
	static const char values[] = "\"\\\b\f\n\r\t";
	static const char names[] = "\"\\bfnrt";
	const char *at = c == '\0' ? NULL : strchr(values, c);
	char buf[2] = {'\\', 0};

	if (at == NULL) {
		add_u16(t, (unsigned char)c);
		return;
	}
	buf[1] = names[at - values];
	text_add(t, buf, 2);
}

void
text_add_quoted(struct text *t, const char *s, size_t len)
{
	size_t at = 0;

	text_add_char(t, '"');
	while (at < len && !t->failed) {
		char c = s[at];

		if (!is_plain(c)) {
			at += add_escaped(t, s + at, len - at);
			continue;
		}
		if ((unsigned char)c < 0x20 || c == '"' || c == '\\')
			add_special(t, c);
		else
			text_add_char(t, c);
		at++;
	}
	text_add_char(t, '"');
}
