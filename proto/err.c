/*
 * err.c - filling in refusals.
 *
 * Runs in: every role. Trusts: nothing; arguments may hold text from outside,
 * so the result is made valid UTF-8 without control characters here, once.
 * Specification: RFC 3629 for what valid UTF-8 is.
 */
#include "proto/err.h"

#include "proto/log.h"

#include <stdarg.h>
#include <stdio.h>

/*
 * sequence_bytes - length of the valid UTF-8 sequence at s (RFC 3629, 4).
 * Returns 1..4, or 0 when there is none or it is a control character.
 */
static size_t
sequence_bytes(const unsigned char *s)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t count, i;

	if (s[0] < 0x80)
		return s[0] >= 0x20 && s[0] != 0x7f ? 1 : 0;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	count = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	if (s[0] == 0xc2 || s[0] == 0xe0)
		low = 0xa0; /* no C1 control, no overlong form */
	else if (s[0] == 0xf0)
		low = 0x90;
	else if (s[0] == 0xed)
		high = 0x9f; /* no surrogates */
	else if (s[0] == 0xf4)
		high = 0x8f;
	for (i = 1; i < count; i++) {
		if (s[i] < low || s[i] > high)
			return 0;
		low = 0x80;
		high = 0xbf;
	}
	return count;
}

/* Make text clean in place; what is not valid becomes '?'. */
static void
clean(char *text)
{
	unsigned char *s = (unsigned char *)text;
	size_t count;

	while (*s != '\0') {
		count = sequence_bytes(s);
		if (count == 0)
			*s = '?';
		s += count == 0 ? 1 : count;
	}
}

static void fill(struct err *e, enum err_class class, const char *fmt,
    va_list args) __attribute__((format(printf, 3, 0)));

static void
fill(struct err *e, enum err_class class, const char *fmt, va_list args)
{
	e->class = class;
	if (vsnprintf(e->text, sizeof e->text, fmt, args) < 0)
		e->text[0] = '\0';
	clean(e->text);
}

int
err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list args;

	BUG_ON(code >= 0);
	va_start(args, fmt);
	fill(e, ERR_GENERIC, fmt, args);
	va_end(args);
	return code;
}

int
err_class_set(
    struct err *e, int code, enum err_class class, const char *fmt, ...)
{
	va_list args;

	BUG_ON(code >= 0);
	va_start(args, fmt);
	fill(e, class, fmt, args);
	va_end(args);
	return code;
}

const char *err_class_name(enum err_class class)
{
	switch (class) {
	case ERR_COMMAND_NOT_FOUND:
		return "CommandNotFound";
	case ERR_DEVICE_NOT_FOUND:
		return "DeviceNotFound";
	case ERR_GENERIC:
		break;
	}
	return "GenericError";
}
