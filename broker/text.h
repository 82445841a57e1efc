/*
 * text.h - a growing, bounded piece of text, and the coding of JSON strings.
 *
 * A struct text owns its bytes. Nothing here knows QMP; only the coding of
 * characters is done here: UTF-8 in, ASCII with \uXXXX out. Runs in the
 * broker; every input may be hostile.
 */
#ifndef BROKER_TEXT_H
#define BROKER_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero but `max` is the empty text. */
struct text {
	char *data;  /* owned, not NUL-terminated; NULL when cap is 0 */
	size_t len;  /* bytes in use */
	size_t cap;  /* bytes allocated */
	size_t max;  /* bytes it may hold; 0 = no bound */
	bool failed; /* something did not fit or memory ran out */
};

/*
 * text_add - append bytes. 0; -E2BIG beyond max; -ENOMEM. After a failure
 * `failed` stays set until text_clear(), so a writer may check once.
 */
int text_add(struct text *t, const void *bytes, size_t len);
int text_add_char(struct text *t, char c);
int text_add_str(struct text *t, const char *s);

/* text_clear - empty it; memory above `keep` bytes is given back. */
void text_clear(struct text *t, size_t keep);
void text_free(struct text *t);

/*
 * utf8_next - decode the first character of p[0..len), len > 0.
 * Returns its length in bytes with *cp set, or 0 when it is not valid: too
 * long a form, surrogate, noncharacter, cut off. C0 80 is U+0000, as in QEMU.
 */
size_t utf8_next(const char *p, size_t len, uint32_t *cp);

/*
 * text_add_string_token - a JSON string as a client sent it, in either kind of
 * quotes, quotes included, becomes a strict JSON string (double quotes, UTF-8,
 * escapes only where needed). The token must end in its quote.
 * 0, or -EINVAL with QEMU's text appended to *error, or -ENOMEM.
 */
int text_add_string_token(
    struct text *t, const char *token, size_t len, struct text *error);

/*
 * text_add_ascii - JSON text to the wire: what is not ASCII and DEL leave as
 * \uXXXX, upper-case; bytes that are not UTF-8 as \uFFFD.
 */
void text_add_ascii(struct text *t, const char *json, size_t len);

/* text_add_quoted - text as a JSON string on the wire, coded as above. */
void text_add_quoted(struct text *t, const char *s, size_t len);

#endif
