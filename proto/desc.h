/*
 * desc.h - what a schema type looks like in memory, as constant tables.
 *
 * schemac emits one `const struct desc desc_NAME` per type; the visitors
 * (visit.h, wire.h, keyval.h, broker/json.h) walk them. C shapes:
 *   str            char *, owned, NULL = absent
 *   bool, intN,    bool, intN_t, uintN_t ("size" and "int" are uint64_t and
 *   number, enum   int64_t, "number" double, enums C enums of 4 bytes);
 *                  an optional one has a `bool has_NAME` beside it
 *   struct, union  embedded when mandatory; pointer, owned, when optional
 *   ['T']          struct { size_t count; T *items; } (desc_list shape);
 *                  optional lists have has_NAME
 *   union          base members, then `union { ... } u` of branch structs
 * A zeroed struct is the empty value; desc_free() makes it empty again.
 */
#ifndef PROTO_DESC_H
#define PROTO_DESC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum desc_kind {
	DESC_STR,
	DESC_BOOL,
	DESC_INT,    /* signed, `bytes` wide */
	DESC_UINT,   /* unsigned, `bytes` wide */
	DESC_SIZE,   /* uint64_t; text forms take suffixes */
	DESC_NUMBER, /* double */
	DESC_ENUM,
	DESC_STRUCT, /* also unions: tag >= 0 */
	DESC_LIST,
};

#define DESC_NO_HAS SIZE_MAX

struct desc;

struct desc_member {
	const char *name; /* as in the schema */
	const struct desc *type;
	size_t offset;     /* of the value (or pointer) in the struct */
	size_t has_offset; /* of its bool, or DESC_NO_HAS */
	bool optional;
	bool indirect; /* value is a pointer to the struct */
};

struct desc_branch {
	int32_t value;           /* of the tag */
	const struct desc *type; /* NULL: no members */
};

struct desc {
	const char *name; /* in the schema */
	enum desc_kind kind;
	size_t bytes;                      /* sizeof the C value */
	const struct desc_member *members; /* DESC_STRUCT: base first */
	size_t member_count;
	int tag;             /* index of the discriminator in members, -1 */
	size_t union_offset; /* of `u` */
	const struct desc_branch *branches;
	size_t branch_count;
	const char *const *names; /* DESC_ENUM: names[value] */
	size_t name_count;
	const struct desc *item; /* DESC_LIST */
	bool texts;              /* JSON may give its scalars as text */
};

/* The shape of every list. */
struct desc_list {
	size_t count;
	void *items; /* owned; count * item->bytes */
};

/* The built-in types, for tables and tests. */
extern const struct desc desc_str, desc_bool, desc_int8, desc_int16, desc_int32,
    desc_int64, desc_uint8, desc_uint16, desc_uint32, desc_uint64, desc_int,
    desc_size, desc_number;

/* desc_free - release what the value at `v` owns; leaves it zeroed. */
void desc_free(const struct desc *d, void *v);

/* desc_copy - deep copy into zeroed `to`. 0 or -ENOMEM (to left empty). */
int desc_copy(const struct desc *d, void *to, const void *from);

/* desc_equal - deep comparison; absent equals only absent. */
bool desc_equal(const struct desc *d, const void *a, const void *b);

/* The branch table entry for the tag's present value, or NULL. */
const struct desc *desc_branch_of(const struct desc *d, const void *v);

/* Index of an enum name, or -1. */
int desc_enum_value(const struct desc *d, const char *name);

/*
 * For those who walk the tables. A member of the struct at `v`: is it there;
 * where is its value; make it present (zeroed; NULL without memory).
 */
bool desc_present(const struct desc_member *m, const void *v);
const void *desc_value(const struct desc_member *m, const void *v);
void *desc_make(const struct desc_member *m, void *v);

/* Integers of every width, as 64 bits (signed ones sign-extended). */
bool desc_int_fits(const struct desc *d, int64_t n);
bool desc_uint_fits(const struct desc *d, uint64_t n);
void desc_int_set(const struct desc *d, void *v, uint64_t n);
uint64_t desc_int_get(const struct desc *d, const void *v);

/* desc_text_valid - UTF-8 without NUL bytes, as every str of ours is. */
bool desc_text_valid(const char *text, size_t len);

#endif
