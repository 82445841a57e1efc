/*
 * any_desc.h - every described type, by number, for fuzzers.
 */
#ifndef TESTS_FUZZ_ANY_DESC_H
#define TESTS_FUZZ_ANY_DESC_H

#include "gen/control.h"
#include "proto/wire.h"

#include <stdlib.h>

/* any_desc - the type that `n` stands for; messages follow the types. */
static inline const struct desc *
any_desc(size_t n)
{
	n %= type_desc_count + ctl_wire.count;
	if (n < type_desc_count)
		return type_descs[n];
	return ctl_wire.messages[n - type_desc_count].desc;
}

/* any_free - desc_free() and free(), and a look at what was promised. */
static inline void
any_free(const struct desc *d, void *v)
{
	size_t i;

	desc_free(d, v);
	for (i = 0; i < d->bytes; i++) {
		if (((const char *)v)[i])
			abort();
	}
	free(v);
}

#endif
