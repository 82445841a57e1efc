/*
 * value_kit.h - random values of any described type, for property tests.
 *
 * Deterministic: the same seed makes the same values.
 */
#ifndef TESTS_UNIT_VALUE_KIT_H
#define TESTS_UNIT_VALUE_KIT_H

#include "proto/desc.h"

#include <stdlib.h>
#include <string.h>

struct dice {
	uint64_t state;
};

/* xorshift64* (Vigna 2016) */
static inline uint64_t
dice_roll(struct dice *d)
{
	d->state ^= d->state >> 12;
	d->state ^= d->state << 25;
	d->state ^= d->state >> 27;
	return d->state * 0x2545f4914f6cdd1du;
}

static inline char *
value_text(struct dice *d)
{
	static const char *const bits[] = {"a", "Z", "0", " ", ",", "=", "\"",
	    "\\", "\x01", "\n", "\x7f", "\xc3\xa9", "\xe2\x82\xac",
	    "\xf0\x9f\x98\x80", "\xef\xbf\xbf", "longer bit of text"};
	size_t n = dice_roll(d) % 9, used = 0, len;
	char *text = calloc(1, 200);

	while (text && n--) {
		const char *bit = bits[dice_roll(d) % 16];

		len = strlen(bit);
		memcpy(text + used, bit, len);
		used += len;
	}
	return text;
}

/* An integer of any size, edges more often than chance has them. */
static inline uint64_t
value_int(struct dice *d)
{
	switch (dice_roll(d) % 6) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX;
	case 2:
		return UINT64_MAX >> (dice_roll(d) % 64);
	case 3:
		return UINT64_MAX << (dice_roll(d) % 64);
	case 4:
		return dice_roll(d) % 300;
	}
	return dice_roll(d);
}

static inline void value_fill(struct dice *r, const struct desc *d, void *v);

static inline void
value_members(struct dice *r, const struct desc *d, void *v)
{
	size_t i;

	for (i = 0; i < d->member_count; i++) {
		const struct desc_member *m = &d->members[i];

		if (!m->optional || dice_roll(r) % 2)
			value_fill(r, m->type, desc_make(m, v));
	}
}

/* value_fill - a random value into zeroed memory; desc_free() it. */
static inline void
value_fill(struct dice *r, const struct desc *d, void *v)
{
	struct desc_list *list = v;
	const struct desc *branch;
	size_t i, n;
	double f;
	char *text;

	switch (d->kind) {
	case DESC_STR:
		text = value_text(r);
		memcpy(v, &text, sizeof text);
		break;
	case DESC_BOOL:
		*(bool *)v = dice_roll(r) % 2;
		break;
	case DESC_INT:
	case DESC_UINT:
	case DESC_SIZE:
		desc_int_set(d, v, value_int(r));
		break;
	case DESC_NUMBER:
		f = (double)(int64_t)dice_roll(r) / 1024.0;
		memcpy(v, &f, sizeof f);
		break;
	case DESC_ENUM:
		desc_int_set(d, v, dice_roll(r) % d->name_count);
		break;
	case DESC_LIST:
		n = dice_roll(r) % 4;
		list->items = n ? calloc(n, d->item->bytes) : NULL;
		for (i = 0; i < n; i++)
			value_fill(r, d->item,
			    (char *)list->items + i * d->item->bytes);
		list->count = n;
		break;
	case DESC_STRUCT:
		value_members(r, d, v);
		branch = desc_branch_of(d, v);
		if (branch)
			value_members(r, branch, (char *)v + d->union_offset);
		break;
	}
}

#endif
