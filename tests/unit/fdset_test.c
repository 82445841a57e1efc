/*
 * fdset_test.c - sets of descriptors: numbers, bounds, paths, nothing leaks.
 * Expected texts: reference qmp.md 2.6.
 */
#include "broker/fdset.h"

#include "proto/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static size_t
open_fds(void)
{
	size_t count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static int
null_fd(int mode)
{
	return open("/dev/null", mode | O_CLOEXEC);
}

static int64_t
put(int64_t want, int mode)
{
	int64_t set = -1;
	struct err e;

	assert_int_equal(
	    fdset_put(want < 0 ? NULL : &want, null_fd(mode), NULL, &set, &e),
	    0);
	return set;
}

static void
test_the_lowest_free_number_is_taken(void **state)
{
	(void)state;
	assert_int_equal(put(-1, O_RDWR), 0);
	assert_int_equal(put(-1, O_RDWR), 1);
	assert_int_equal(put(3, O_RDWR), 3);
	assert_int_equal(put(0, O_RDWR), 0);
	assert_int_equal(put(-1, O_RDWR), 2);
	assert_int_equal(put(-1, O_RDWR), 4);
	assert_int_equal(put(INT64_MAX, O_RDWR), INT64_MAX);
	assert_int_equal(put(-1, O_RDWR), 5);
	fdset_clear();
	assert_int_equal(put(-1, O_RDWR), 0);
	fdset_clear();
}

static void
test_refusals_close_the_descriptor(void **state)
{
	char text[FDSET_OPAQUE_BYTES + 1];
	const int64_t negative = -1;
	size_t before = open_fds();
	int64_t set;
	struct err e;

	(void)state;
	memset(text, 'x', sizeof text);
	text[FDSET_OPAQUE_BYTES] = '\0';
	assert_int_equal(
	    fdset_put(&negative, null_fd(O_RDWR), NULL, &set, &e), -EINVAL);
	assert_string_equal(
	    e.text, "Parameter 'fdset-id' expects a non-negative value");
	assert_int_equal(
	    fdset_put(NULL, null_fd(O_RDWR), text, &set, &e), -EINVAL);
	text[FDSET_OPAQUE_BYTES - 1] = '\0';
	assert_int_equal(fdset_put(NULL, null_fd(O_RDWR), text, &set, &e), 0);
	for (size_t i = 1; i < FDSET_FDS_MAX; i++)
		(void)put(7, O_RDWR);
	assert_int_equal(
	    fdset_put(NULL, null_fd(O_RDWR), NULL, &set, &e), -ENOSPC);
	assert_int_equal(open_fds(), before + FDSET_FDS_MAX);
	fdset_clear();
	assert_int_equal(open_fds(), before);
}

static void
opens(const char *path, int mode, int expected)
{
	struct err e;
	int fd = fdset_open(path, mode, &e);

	if (expected < 0) {
		assert_int_equal(fd, expected);
		return;
	}
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, expected);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	fd_close(&fd);
}

static void
test_the_first_that_fits_is_copied(void **state)
{
	size_t before = open_fds();

	(void)state;
	(void)put(1, O_RDONLY);
	(void)put(2, O_PATH);
	(void)put(3, O_RDONLY);
	(void)put(3, O_RDWR);
	(void)put(3, O_WRONLY);
	opens("/dev/fdset/1", O_RDONLY, O_RDONLY);
	opens("/dev/fdset/1", O_WRONLY, -EACCES);
	opens("/dev/fdset/1", O_RDWR, -EACCES);
	opens("/dev/fdset/2", O_RDONLY, -EACCES);
	opens("/dev/fdset/3", O_WRONLY, O_RDWR);
	opens("/dev/fdset/3", O_RDONLY, O_RDONLY);
	opens("/dev/fdset/003", O_RDWR, O_RDWR);
	opens("/dev/fdset/0", O_RDONLY, -ENOENT);
	assert_int_equal(open_fds(), before + 5);
	fdset_clear();
}

static void
test_paths_of_no_set(void **state)
{
	(void)state;
	assert_true(fdset_is_path("/dev/fdset/1"));
	assert_true(fdset_is_path("/dev/fdset/"));
	assert_false(fdset_is_path("/dev/fdset"));
	assert_false(fdset_is_path("dev/fdset/1"));
	opens("/dev/fdset/", O_RDONLY, -EINVAL);
	opens("/dev/fdset/-1", O_RDONLY, -EINVAL);
	opens("/dev/fdset/ 1", O_RDONLY, -EINVAL);
	opens("/dev/fdset/1x", O_RDONLY, -EINVAL);
	opens("/dev/fdset/1/x", O_RDONLY, -EINVAL);
	opens("/dev/fdset/9999999999999999999", O_RDONLY, -EINVAL);
	opens("/dev/fdset/999999999999999999", O_RDONLY, -ENOENT);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_the_lowest_free_number_is_taken),
	    cmocka_unit_test(test_refusals_close_the_descriptor),
	    cmocka_unit_test(test_the_first_that_fits_is_copied),
	    cmocka_unit_test(test_paths_of_no_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
