/*
 * vhost_msg_test.c - which vhost-user messages can be: sizes and numbers of
 * descriptors of each, by the document.
 */
#include "backends/backend_vhost.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Sizes and descriptors that are legal, of each request, by the document. */
static const struct legal {
	uint32_t request, least, most;
	unsigned fds_least, fds_most;
} legal[] = {
    {1, 0, 0, 0, 0},
    {2, 8, 8, 0, 0},
    {3, 0, 0, 0, 0},
    {4, 0, 0, 0, 0},
    {5, 8, 264, 0, 8},
    {6, 16, 16, 0, 1},
    {7, 0, 8, 0, 1},
    {8, 8, 8, 0, 0},
    {9, 40, 40, 0, 0},
    {10, 8, 8, 0, 0},
    {11, 8, 8, 0, 0},
    {12, 8, 8, 0, 1},
    {13, 8, 8, 0, 1},
    {14, 8, 8, 0, 1},
    {15, 0, 0, 0, 0},
    {16, 8, 8, 0, 0},
    {17, 0, 0, 0, 0},
    {18, 8, 8, 0, 0},
    {19, 8, 8, 0, 0},
    {20, 8, 8, 0, 0},
    {21, 0, 8, 1, 1},
    {24, 12, 268, 0, 0},
    {25, 12, 268, 0, 0},
    {34, 0, 0, 0, 0},
    {36, 0, 0, 0, 0},
    {37, 40, 40, 1, 1},
    {38, 40, 40, 0, 1},
    {39, 8, 8, 0, 0},
    {40, 0, 0, 0, 0},
};

static bool
is_legal(uint32_t request, uint32_t size, unsigned fd_count)
{
	const struct vhost_msg m = {
	    .request = request, .size = size, .fd_count = fd_count};

	return vhost_msg_wrong(&m, VHOST_BACKEND) == NULL;
}

static void
test_sizes_and_descriptors_of_every_request(void **state)
{
	const struct legal *l = legal;
	uint32_t request, size;
	unsigned fds;

	(void)state;
	for (request = 0; request < 50; request++) {
		bool known = l < legal + sizeof legal / sizeof *legal &&
			     l->request == request;

		assert_int_equal(vhost_request_name(request) != NULL, known);
		if (!known) {
			assert_int_equal(is_legal(request, 8, 1), 0);
			continue;
		}
		for (size = 0; size <= 268; size++)
			assert_int_equal(is_legal(request, size, l->fds_least),
			    size >= l->least && size <= l->most);
		for (fds = 0; fds <= 8; fds++)
			assert_int_equal(is_legal(request, l->least, fds),
			    fds >= l->fds_least && fds <= l->fds_most);
		l++;
	}
	assert_ptr_equal(l, legal + sizeof legal / sizeof *legal);
	assert_null(vhost_request_name(UINT32_MAX));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_sizes_and_descriptors_of_every_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
