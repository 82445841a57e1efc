/*
 * wire_fuzz.c - any bytes as the msgpack of any type. What is accepted must
 * come back the same when it is encoded and decoded again.
 */
#include "tests/fuzz/any_desc.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t buf[WIRE_BYTES_MAX];
	const struct desc *d;
	void *a, *b;
	size_t len;
	int rc;

	if (size == 0)
		return 0;
	d = any_desc(data[0]);
	a = calloc(1, d->bytes);
	b = calloc(1, d->bytes);
	if (!a || !b)
		abort();
	rc = wire_decode(d, data + 1, size - 1, a);
	if (rc == 0) {
		/* Ours is never longer than what was accepted. */
		if (wire_encode(d, a, buf, sizeof buf, &len) < 0 ||
		    len > size - 1 || wire_decode(d, buf, len, b) < 0 ||
		    !desc_equal(d, a, b))
			abort();
	} else if (rc != -EPROTO) {
		abort();
	}
	any_free(d, a);
	any_free(d, b);
	return 0;
}
