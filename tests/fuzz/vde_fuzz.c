/*
 * vde_fuzz.c - the answer of a VDE switch.
 *
 * Checked: a number names a port and a descriptor that a switch can have, and
 * what the launcher makes of it is a name without a slash.
 */
#include "backends/backend_vde.h"

#include "proto/launch.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t in[VDE_ANSWER_BYTES] = {0};
	uint32_t number = 0, first;
	unsigned port = 0;

	memcpy(in, data, size < sizeof in ? size : sizeof in);
	if (!vde_answer(in, &number, &port))
		return 0;
	first = number >> LAUNCH_VDE_PORT_SHIFT;
	if (number == 0 || first == 0)
		abort();
	if (port != (first == LAUNCH_VDE_NO_PORT ? 0 : first))
		abort();
	return 0;
}
