/*
 * resolve_fuzz.c - the answer of a process that has looked a name up.
 *
 * Checked: what is taken is addresses of the family that was asked for, as
 * many as there is room for, which make the same answer again; what is refused
 * leaves nothing.
 */
#include "proto/resolve.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
demand(int truth)
{
	if (!truth)
		abort();
}

static void
check(const struct addr *found, size_t count, int family)
{
	struct resolve_answer again = {.magic = RESOLVE_MAGIC};
	struct addr same[RESOLVE_ADDRESSES];
	size_t same_count = 0;
	int error = -1;

	demand(count <= RESOLVE_ADDRESSES);
	for (size_t i = 0; i < count; i++) {
		demand(family == AF_UNSPEC || found[i].sa.sa_family == family);
		demand(found[i].in.sin_port == 0);
		resolve_put(&again, &found[i].sa, found[i].len);
	}
	demand(again.count == count);
	if (count == 0)
		return;
	demand(resolve_take(&again, sizeof again, family, same, &same_count,
		   &error) == 0);
	demand(same_count == count && error == 0);
	for (size_t i = 0; i < count; i++)
		demand(addr_equal(&same[i], &found[i]));
}

/* The first byte is what was asked for. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int families[] = {AF_UNSPEC, AF_INET, AF_INET6};
	struct addr found[RESOLVE_ADDRESSES];
	size_t count = 4711;
	int family, error = 4711;

	if (size == 0)
		return 0;
	family = families[data[0] % 3];
	if (resolve_take(data + 1, size - 1, family, found, &count, &error) ==
	    0) {
		demand((error == 0) == (count > 0));
		check(found, count, family);
	} else {
		demand(count == 4711 && error == 4711);
	}
	return 0;
}
