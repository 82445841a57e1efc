/*
 * framer.h - cuts a byte stream into JSON values, as QEMU's monitor does.
 *
 * Feed it bytes; it hands out one value or one error at a time. Values need no
 * separator: they end where their brackets balance. Pure: no file, no socket,
 * no clock. Owns its buffers; everything handed out is borrowed until the next
 * call. Runs in the broker; every byte may be hostile.
 */
#ifndef BROKER_FRAMER_H
#define BROKER_FRAMER_H

#include "broker/json_lex.h"
#include "broker/text.h"

#include <stddef.h>
#include <stdint.h>

/* Bounds of one value. QEMU's are 1024, 64 MiB and 2 Mi. */
#define FRAMER_DEPTH_MAX  128u
#define FRAMER_BYTES_MAX  ((size_t)1024 * 1024)
#define FRAMER_TOKENS_MAX 32768u
/* Bytes of a number or keyword; of the bad input shown in an error. */
#define FRAMER_WORD_BYTES  1024u
#define FRAMER_SHOWN_BYTES 256u
/* Memory that an idle framer may keep. */
#define FRAMER_KEEP_BYTES ((size_t)16 * 1024)

enum framer_kind {
	FRAMER_MORE,  /* all input taken, nothing complete yet */
	FRAMER_VALUE, /* text: one value as strict JSON */
	FRAMER_ERROR, /* text: why; the framer is at top level again */
};

struct framer_item {
	enum framer_kind kind;
	const char *text; /* borrowed, UTF-8 (errors: any bytes), no NUL */
	size_t len;
	unsigned line; /* the value's (error's) first line, from 1 */
};

/* What the grammar allows next. */
enum framer_place {
	PLACE_VALUE,
	PLACE_FIRST_ITEM, /* value or ] */
	PLACE_FIRST_KEY,  /* key or } */
	PLACE_KEY,
	PLACE_COLON,
	PLACE_AFTER, /* separator or end of the innermost bracket */
};

struct framer {
	enum lex_state lex;
	enum framer_place place;
	struct text token; /* bytes of the token so far, as sent */
	struct text value; /* strict JSON of the value so far */
	struct text error; /* first syntax error of the value; or lexical */
	size_t bytes;      /* of all tokens of the value */
	size_t tokens;
	long braces; /* open ones; may go to -1 */
	long brackets;
	unsigned depth;                  /* of stack */
	uint8_t stack[FRAMER_DEPTH_MAX]; /* NEST_ bits of each open bracket */
	bool broken;                     /* `error` holds a syntax error */
	bool done;                       /* `value` or `error` was handed out */
	unsigned line;                   /* of the next byte, from 1 */
	unsigned value_line;             /* of the value's first token */
};

void framer_init(struct framer *f);
void framer_fini(struct framer *f);

/*
 * framer_feed - take bytes until one value or error is complete.
 * Returns how many were taken; all of them when out->kind is FRAMER_MORE.
 * The work is linear in the bytes taken. Never fails: want of memory is an
 * error item.
 */
size_t framer_feed(
    struct framer *f, const char *bytes, size_t len, struct framer_item *out);

/*
 * framer_end - the stream has ended: the last number or keyword becomes a
 * value, half a value becomes an error. FRAMER_MORE when nothing was left.
 */
void framer_end(struct framer *f, struct framer_item *out);

/*
 * framer_echo - a part of a value's text, for the wire: numbers exactly as
 * they were sent apart from the case of 'e', all else as text_add_ascii().
 */
void framer_echo(struct text *t, const char *json, size_t len);

/*
 * framer_member - find a member of an object value handed out by framer_feed.
 * `name` must need no escapes. Returns its value's text with *len, or NULL.
 */
const char *framer_member(
    const char *json, size_t json_len, const char *name, size_t *len);

#endif
