/* user_frame_fuzz.c - the check of a guest's frame reads only the frame. */
#include "backends/backend_user_plan.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct user_plan plan;
	uint8_t *copy;

	/* Of exactly that size, so that the sanitizer sees its end. */
	copy = malloc(size ? size : 1);
	if (!copy)
		return 0;
	if (size)
		memcpy(copy, data, size);
	(void)user_frame_allowed(&plan, copy, size);
	free(copy);
	return 0;
}
