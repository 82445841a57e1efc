/*
 * control_fuzz.c - any bytes as a control message to any role from any role,
 * with any number of descriptors.
 */
#include "tests/fuzz/any_desc.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
take(void *self, uint32_t seq, const void *m, int *fds)
{
	(void)seq;
	(void)m;
	(void)fds;
	++*(int *)self;
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned roles[] = {
	    CTL_ROLE_BROKER, CTL_ROLE_LANE, CTL_ROLE_BACKEND, 0};
	wire_handler handlers[CTL__MAX];
	int fds[16], calls = 0, rc;
	struct wire_in in;
	size_t i;

	if (size == 0)
		return 0;
	for (i = 0; i < CTL__MAX; i++)
		handlers[i] = take;
	for (i = 0; i < 16; i++)
		fds[i] = -1;
	in.from = roles[data[0] & 3];
	in.fd_count = data[0] >> 4;
	in.fds = fds;
	in.buf = data + 1;
	in.len = size - 1;
	rc = wire_dispatch(
	    &ctl_wire, handlers, roles[(data[0] >> 2) & 3], &calls, &in);
	if ((rc == 0) != (calls == 1) || calls > 1)
		abort();
	return 0;
}
