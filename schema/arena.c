/*
 * arena.c - the compiler's memory, and how schema names become C names.
 *
 * Runs in: the build. Trusts: nothing.
 */
#include "schema/schemac.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES 65536u

struct arena_block {
	struct arena_block *next;
	size_t used, size;
	_Alignas(16) char data[];
};

/*
 * arena_alloc - zeroed memory that lives as long as the arena.
 * Never returns NULL: a compiler without memory ends.
 */
void *
arena_alloc(struct arena *a, size_t bytes)
{
	struct arena_block *b = a->blocks;
	size_t size;
	void *p;

	bytes = (bytes + 15) & ~(size_t)15;
	if (!b || b->size - b->used < bytes) {
		size = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
		b = calloc(1, sizeof *b + size);
		if (!b) {
			fprintf(stderr, "schemac: out of memory\n");
			exit(1);
		}
		b->size = size;
		b->next = a->blocks;
		a->blocks = b;
	}
	p = b->data + b->used;
	b->used += bytes;
	return p;
}

/* arena_copy - a NUL-terminated copy of `bytes` bytes. */
char *
arena_copy(struct arena *a, const char *text, size_t bytes)
{
	char *p = arena_alloc(a, bytes + 1);

	memcpy(p, text, bytes);
	return p;
}

/* arena_format - printf into the arena. */
char *
arena_format(struct arena *a, const char *fmt, ...)
{
	va_list ap, again;
	char *p;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		n = 0;
	p = arena_alloc(a, (size_t)n + 1);
	vsnprintf(p, (size_t)n + 1, fmt, again);
	va_end(again);
	return p;
}

/* arena_free - release everything. */
void
arena_free(struct arena *a)
{
	struct arena_block *b = a->blocks, *next;

	for (; b; b = next) {
		next = b->next;
		free(b);
	}
	a->blocks = NULL;
}

/* C11 keywords, and the macros that gnu11 predefines without underscores. */
static const char *const reserved[] = {"auto", "break", "case", "char", "const",
    "continue", "default", "do", "double", "else", "enum", "extern", "float",
    "for", "goto", "if", "inline", "int", "long", "register", "restrict",
    "return", "short", "signed", "sizeof", "static", "struct", "switch",
    "typedef", "union", "unsigned", "void", "volatile", "while", "asm",
    "typeof", "bool", "true", "false", "unix", "linux", "errno", "stdin",
    "stdout", "stderr"};

/* name_c - a member's name in C: '-' becomes '_', keywords get a trailing _. */
char *
name_c(struct arena *a, const char *name)
{
	size_t n = strlen(name), i;
	char *p = arena_alloc(a, n + 2);

	for (i = 0; i < n; i++)
		p[i] = name[i] == '-' ? '_' : name[i];
	for (i = 0; i < sizeof reserved / sizeof *reserved; i++) {
		if (strcmp(p, reserved[i]) == 0)
			p[n] = '_';
	}
	return p;
}

/*
 * name_snake - a type's name in C: an underscore before an upper-case letter
 * that follows a lower-case one, or that follows a digit and precedes a
 * lower-case letter (NetdevL2TPv3Options is netdev_l2tpv3_options).
 */
char *
name_snake(struct arena *a, const char *name)
{
	size_t n = strlen(name), i, k = 0;
	char *p = arena_alloc(a, 2 * n + 1);

	for (i = 0; i < n; i++) {
		unsigned char c = (unsigned char)name[i];
		unsigned char before = i ? (unsigned char)name[i - 1] : 0;

		if (isupper(c) && (islower(before) ||
				      (isdigit(before) &&
					  islower((unsigned char)name[i + 1]))))
			p[k++] = '_';
		p[k++] = c == '-' ? '_' : (char)tolower(c);
	}
	return p;
}

/* name_upper - upper case, '-' becomes '_'. */
char *
name_upper(struct arena *a, const char *name)
{
	size_t n = strlen(name), i;
	char *p = arena_alloc(a, n + 1);

	for (i = 0; i < n; i++)
		p[i] = name[i] == '-' ? '_' : (char)toupper(name[i]);
	return p;
}

/* schema_fail - keep the first complaint. Returns -1. */
int
schema_fail(struct schema *s, struct where at, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (s->error[0])
		return -1;
	n = snprintf(s->error, sizeof s->error,
	    "%s:%u: ", at.file ? at.file : "schemac", at.line);
	if (n < 0 || (size_t)n >= sizeof s->error)
		return -1;
	va_start(ap, fmt);
	vsnprintf(s->error + n, sizeof s->error - (size_t)n, fmt, ap);
	va_end(ap);
	return -1;
}
