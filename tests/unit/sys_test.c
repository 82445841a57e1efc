/*
 * sys_test.c - memories are sealed, clocks run, ownership moves.
 */
#include "proto/sys.h"

#include "proto/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define BYTES 65536u

static void
test_memory_keeps_its_size(void **state)
{
	struct stat st;
	int fd = -1;

	(void)state;
	assert_int_equal(sys_memfd("test", BYTES, &fd), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, BYTES);
	assert_int_equal(ftruncate(fd, 4096), -1);
	assert_int_equal(ftruncate(fd, 2 * BYTES), -1);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	fd_close(&fd);
}

static void
test_read_only_twin_cannot_be_written(void **state)
{
	char path[64];
	int fd = -1, twin;
	void *mem = NULL, *seen = NULL, *more = NULL;

	(void)state;
	assert_int_equal(sys_memfd("test", BYTES, &fd), 0);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	twin = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(twin >= 0);
	assert_int_equal(sys_map(fd, BYTES, true, &mem), 0);
	assert_int_equal(sys_map(twin, BYTES, false, &seen), 0);
	assert_int_equal(sys_map(twin, BYTES, true, &more), -EACCES);
	assert_null(more);
	assert_int_equal(mprotect(seen, BYTES, PROT_READ | PROT_WRITE), -1);
	memset(mem, 9, BYTES);
	assert_int_equal(((uint8_t *)seen)[BYTES - 1], 9);
	sys_unmap(mem, BYTES);
	sys_unmap(seen, BYTES);
	sys_unmap(NULL, BYTES);
	fd_close(&twin);
	fd_close(&fd);
}

static void
test_ownership_moves_and_closes_once(void **state)
{
	int fd = dup(0), copy, none = -1;
	char text[] = "x", *p = text, *q;

	(void)state;
	copy = fd_take(&fd);
	assert_int_equal(fd, -1);
	assert_true(copy >= 0);
	fd_close(&copy);
	assert_int_equal(copy, -1);
	fd_close(&none);
	q = ptr_take(p);
	assert_null(p);
	assert_ptr_equal(q, text);
}

static void
test_failures_are_negative_errnos(void **state)
{
	void *mem = NULL;

	(void)state;
	assert_int_equal(sys_map(-1, BYTES, false, &mem), -EBADF);
	assert_int_equal(sys_nonblock(-1, true), -EBADF);
	assert_int_equal(sys_write(-1, "x", 1), -EBADF);
	errno = ENOENT;
	assert_int_equal(sys_result(-1), -ENOENT);
	assert_int_equal(sys_result(5), 5);
}

static void
test_clocks_run(void **state)
{
	uint64_t before = sys_mono_ns();

	(void)state;
	assert_true(before > 0);
	assert_true(sys_mono_ns() >= before);
	assert_true(sys_real_ns() > UINT64_C(1600000000) * 1000000000u);
}

static void
test_resources_and_layers_have_names(void **state)
{
	unsigned i;

	(void)state;
	for (i = RES_NONE + 1; i < RES_COUNT; i++)
		assert_int_equal(
		    resource_kind_of(resource_name((enum resource_kind)i)), i);
	assert_null(resource_name(RES_NONE));
	assert_null(resource_name(RES_COUNT));
	assert_null(resource_name((enum resource_kind) - 1));
	assert_int_equal(resource_kind_of("nonsense"), RES_NONE);
	for (i = 0; i < LAYER_COUNT; i++)
		assert_non_null(layer_name((enum layer)i));
	assert_null(layer_name(LAYER_COUNT));
}

/* With SO_LINGER a close would wait for the peer to take the rest. */
static void
test_closing_what_others_made_does_not_wait(void **state)
{
	const struct linger on = {.l_onoff = 1, .l_linger = 30};
	struct sockaddr_in to = {.sin_family = AF_INET};
	socklen_t len = sizeof to;
	static char bytes[65536];
	uint64_t began_ns;
	int l, fd;

	(void)state;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	l = socket(AF_INET, SOCK_STREAM, 0);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_true(l >= 0 && fd >= 0);
	assert_int_equal(bind(l, (struct sockaddr *)&to, len), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, (struct sockaddr *)&to, &len), 0);
	(void)connect(fd, (struct sockaddr *)&to, len);
	assert_int_equal(
	    setsockopt(fd, SOL_SOCKET, SO_LINGER, &on, sizeof on), 0);
	while (send(fd, bytes, sizeof bytes, MSG_NOSIGNAL) > 0)
		;
	began_ns = sys_mono_ns();
	fd_close_foreign(&fd);
	assert_true(sys_mono_ns() - began_ns < UINT64_C(10000000000));
	assert_int_equal(fd, -1);
	fd_close(&l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_memory_keeps_its_size),
	    cmocka_unit_test(test_read_only_twin_cannot_be_written),
	    cmocka_unit_test(test_ownership_moves_and_closes_once),
	    cmocka_unit_test(test_closing_what_others_made_does_not_wait),
	    cmocka_unit_test(test_failures_are_negative_errnos),
	    cmocka_unit_test(test_clocks_run),
	    cmocka_unit_test(test_resources_and_layers_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
