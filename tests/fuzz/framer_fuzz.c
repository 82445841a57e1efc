/*
 * framer_fuzz.c - any bytes through the framer, whole and in pieces.
 *
 * Promises checked: pieces of any size give the same items; each value is
 * strict JSON (but for keys that are there twice or hold a NUL, which the
 * framer leaves to the parser); a value framed again is a value; an echo is
 * printable ASCII; a reset byte leaves a clean framer.
 */
#include "broker/framer.h"

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(cond)                                                            \
	do {                                                                   \
		if (!(cond))                                                   \
			abort();                                               \
	} while (0)

static void
check_value(const struct framer_item *item)
{
	struct framer_item again;
	struct text echo = {0};
	json_error_t error;
	struct framer f;
	json_t *tree;

	tree = json_loadb(item->text, item->len,
	    JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
	CHECK(tree != NULL ||
	      json_error_code(&error) == json_error_duplicate_key ||
	      json_error_code(&error) == json_error_null_byte_in_key);
	json_decref(tree);
	framer_init(&f);
	framer_feed(&f, item->text, item->len, &again);
	if (again.kind == FRAMER_MORE)
		framer_end(&f, &again);
	CHECK(again.kind == FRAMER_VALUE);
	framer_fini(&f);
	framer_echo(&echo, item->text, item->len);
	for (size_t i = 0; i < echo.len; i++)
		CHECK(echo.data[i] >= ' ' && echo.data[i] <= '~');
	text_free(&echo);
}

/* All items of the input as one text. */
static void
run(const char *data, size_t size, size_t step, struct text *seen)
{
	struct framer_item item = {.kind = FRAMER_MORE};
	struct framer f;
	size_t at = 0;

	framer_init(&f);
	while (at < size) {
		size_t piece = size - at < step ? size - at : step;
		size_t taken = framer_feed(&f, data + at, piece, &item);

		CHECK(taken <= piece);
		CHECK(taken == piece || item.kind != FRAMER_MORE);
		at += taken;
		if (item.kind == FRAMER_MORE)
			continue;
		text_add_char(seen, item.kind == FRAMER_VALUE ? 'V' : 'E');
		text_add(seen, item.text, item.len);
		if (item.kind == FRAMER_VALUE && step == size)
			check_value(&item);
	}
	/* One reset, and a request is understood */
	framer_feed(&f, "\xff", 1, &item);
	if (item.kind != FRAMER_ERROR)
		framer_feed(&f, "\xff", 1, &item);
	framer_feed(&f, "\n{}", 3, &item);
	CHECK(item.kind == FRAMER_VALUE && item.len == 2);
	framer_fini(&f);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text whole = {0}, pieces = {0};
	size_t step;

	if (size < 2)
		return 0;
	step = (size_t)data[0] % 7 + 1;
	run((const char *)data + 1, size - 1, size - 1, &whole);
	run((const char *)data + 1, size - 1, step, &pieces);
	CHECK(whole.len == pieces.len);
	CHECK(
	    whole.len == 0 || memcmp(whole.data, pieces.data, whole.len) == 0);
	text_free(&whole);
	text_free(&pieces);
	return 0;
}
