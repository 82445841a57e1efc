/*
 * err.h - a refusal, as QMP will tell it: a class and one sentence.
 *
 * The caller owns the struct. A function that takes `struct err *` fills it
 * exactly when it returns a negative value.
 */
#ifndef PROTO_ERR_H
#define PROTO_ERR_H

#include <stddef.h>

/* QMP error classes (QEMU, qapi/error.json). */
enum err_class {
	ERR_GENERIC,
	ERR_COMMAND_NOT_FOUND,
	ERR_DEVICE_NOT_FOUND,
};

#define ERR_TEXT_BYTES 1024

struct err {
	enum err_class class;
	char text[ERR_TEXT_BYTES]; /* UTF-8, NUL-terminated, no newline */
};

/* err_set - fill *e with class GenericError. Returns `code` (negative). */
int err_set(struct err *e, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* err_class_set - the same with a class. */
int err_class_set(struct err *e, int code, enum err_class class,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* The class's QMP name, e.g. "GenericError". */
const char *err_class_name(enum err_class class);

#endif
