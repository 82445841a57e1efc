/*
 * keyval_fuzz.c - any text as the option text of any type.
 */
#include "proto/keyval.h"
#include "tests/fuzz/any_desc.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct desc *d;
	struct err e = {.text = ""};
	char *text;
	void *v;
	int rc;

	if (size == 0)
		return 0;
	d = any_desc(data[0]);
	if (d->kind != DESC_STRUCT)
		d = &desc_netdev;
	v = calloc(1, d->bytes);
	text = strndup((const char *)data + 1, size - 1);
	if (!v || !text)
		abort();
	rc = keyval_decode(d, v, text, data[0] & 1 ? "type" : NULL, &e);
	if ((rc < 0) != (e.text[0] != 0))
		abort();
	free(text);
	any_free(d, v);
	return 0;
}
