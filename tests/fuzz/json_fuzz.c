/*
 * json_fuzz.c - any JSON as any type. What is accepted must come back the
 * same from its own JSON.
 */
#include "broker/json.h"
#include "tests/fuzz/any_desc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
round_trip(const struct desc *d, const void *a)
{
	void *b = calloc(1, d->bytes);
	json_t *tree = json_encode(d, a), *again;
	struct err e;
	char *text;

	if (!b || !tree)
		abort();
	text = json_dumps(tree, JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
	again = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
	if (!again || json_decode(d, b, again, &e) < 0 || !desc_equal(d, a, b))
		abort();
	free(text);
	json_decref(tree);
	json_decref(again);
	any_free(d, b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct desc *d;
	struct err e = {.text = ""};
	json_t *tree;
	void *v;

	if (size == 0)
		return 0;
	d = any_desc(data[0]);
	tree = json_loadb((const char *)data + 1, size - 1,
	    JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
	if (!tree)
		return 0;
	v = calloc(1, d->bytes);
	if (!v)
		abort();
	if (json_decode(d, v, tree, &e) == 0)
		round_trip(d, v);
	else if (!e.text[0])
		abort();
	json_decref(tree);
	any_free(d, v);
	return 0;
}
