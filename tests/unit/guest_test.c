/*
 * guest_test.c - memory regions of a front-end: what is accepted, where
 * addresses lead.
 */
#include "backends/backend_guest.h"

#include "proto/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE       4096u
#define FILE_BYTES (16 * PAGE)

static struct guest_memory mem;
static int file;
static uint8_t *view; /* the front-end's own mapping */

static int
setup(void **state)
{
	void *map;

	(void)state;
	memset(&mem, 0, sizeof mem);
	assert_int_equal(sys_memfd("guest", FILE_BYTES, &file), 0);
	assert_int_equal(sys_map(file, FILE_BYTES, true, &map), 0);
	view = map;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	guest_memory_clear(&mem);
	assert_int_equal(mem.count, 0);
	sys_unmap(view, FILE_BYTES);
	fd_close(&file);
	return 0;
}

/* The descriptor is a copy, and must be closed, whatever the answer. */
static int
add_fd(struct guest_grant g, int from)
{
	struct err err = {.text = ""};
	int fd = dup(from), rc;

	assert_true(fd >= 0);
	rc = guest_memory_add(&mem, &g, fd, &err);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	if (rc < 0)
		assert_string_not_equal(err.text, "");
	else
		assert_string_equal(err.text, "");
	return rc;
}

static int
add(uint64_t gpa, uint64_t size, uint64_t uva, uint64_t offset)
{
	return add_fd((struct guest_grant){gpa, size, uva, offset}, file);
}

static void
test_addresses_of_each_space_lead_to_the_file(void **state)
{
	uint64_t run = 0;
	uint8_t *p;

	(void)state;
	assert_int_equal(add(0x100000, 2 * PAGE, 0x7f0000, PAGE), 0);
	p = guest_at(&mem, 0x100010, 4, &run);
	assert_non_null(p);
	assert_int_equal(run, 4);
	memcpy(p, "guest", 4);
	assert_memory_equal(view + PAGE + 0x10, "gues", 4);
	p = guest_at_uva(&mem, 0x7f0010, 4, 16);
	assert_memory_equal(p, "gues", 4);
	/* Never the one for the other. */
	assert_null(guest_at(&mem, 0x7f0010, 4, &run));
	assert_null(guest_at_uva(&mem, 0x100010, 4, 1));
}

static void
test_bounds_are_exact(void **state)
{
	uint64_t run = 0;

	(void)state;
	assert_int_equal(add(0x100000, PAGE + 8, 0x7f0000, 0), 0);
	assert_null(guest_at(&mem, 0xfffff, 1, &run));
	assert_null(guest_at(&mem, 0x100000 + PAGE + 8, 1, &run));
	assert_null(guest_at(&mem, UINT64_MAX, UINT64_MAX, &run));
	assert_non_null(guest_at(&mem, 0x100000 + PAGE + 7, 100, &run));
	assert_int_equal(run, 1);
	assert_non_null(guest_at(&mem, 0x100000, UINT64_MAX, &run));
	assert_int_equal(run, PAGE + 8);
	assert_non_null(guest_at_uva(&mem, 0x7f0000, PAGE + 8, 4096));
	assert_null(guest_at_uva(&mem, 0x7f0000, PAGE + 9, 1));
	assert_null(guest_at_uva(&mem, 0x7f0008, UINT64_MAX - 2, 1));
	assert_null(guest_at_uva(&mem, 0x7f0000 + PAGE + 8, 0, 1));
	assert_null(guest_at_uva(&mem, 0x7effff, 2, 1));
}

static void
test_alignment_counts_there_and_here(void **state)
{
	(void)state;
	assert_int_equal(add(0x100000, PAGE, 0x7f0008, 8), 0);
	assert_non_null(guest_at_uva(&mem, 0x7f0010, 16, 16));
	assert_null(guest_at_uva(&mem, 0x7f0018, 16, 16));
	assert_int_equal(add(0x200000, PAGE, 0x8f0000, 4 * PAGE + 8), 0);
	assert_non_null(guest_at_uva(&mem, 0x8f0008, 8, 8));
	assert_null(guest_at_uva(&mem, 0x8f0010, 16, 16)); /* 8 more here */
	assert_null(guest_at_uva(&mem, 0x8f0009, 2, 2));
}

static void
test_offsets_need_not_be_pages(void **state)
{
	uint64_t run;

	(void)state;
	memcpy(view + 3 * PAGE + 123, "here", 4);
	assert_int_equal(add(5, 600, 7, 3 * PAGE + 120), 0);
	assert_memory_equal(guest_at(&mem, 8, 4, &run), "here", 4);
	assert_memory_equal(guest_at_uva(&mem, 10, 4, 1), "here", 4);
}

static void
test_sums_that_overflow_are_refused(void **state)
{
	(void)state;
	assert_int_equal(add(0, 0, 0, 0), -EINVAL);
	assert_int_equal(add(UINT64_MAX - PAGE + 1, PAGE, 0, 0), -EINVAL);
	assert_int_equal(add(0, PAGE, UINT64_MAX - PAGE + 1, 0), -EINVAL);
	assert_int_equal(add(0, PAGE, 0, UINT64_MAX - PAGE + 1), -EINVAL);
	assert_int_equal(add(0, PAGE, 0, UINT64_MAX), -EINVAL);
	assert_int_equal(add(0, PAGE, 0, INT64_MAX), -EINVAL);
	assert_int_equal(add(0, UINT64_MAX, 0, 0), -EINVAL);
	assert_int_equal(add(0, INT64_MAX, 0, 1), -EINVAL);
	assert_int_equal(mem.count, 0);
	/* The last place that there is. */
	assert_int_equal(add(UINT64_MAX - PAGE, PAGE, UINT64_MAX - PAGE, 0), 0);
}

static void
test_the_files_end_is_the_limit(void **state)
{
	(void)state;
	assert_int_equal(add(0, FILE_BYTES + 1, 0, 0), -EINVAL);
	assert_int_equal(add(0, FILE_BYTES, 0, 1), -EINVAL);
	assert_int_equal(add(0, PAGE, 0, FILE_BYTES), -EINVAL);
	assert_int_equal(add(0, 1, 0, FILE_BYTES), -EINVAL);
	assert_int_equal(mem.count, 0);
	assert_int_equal(add(0, 1, 0, FILE_BYTES - 1), 0);
	assert_int_equal(add(PAGE, FILE_BYTES, PAGE, 0), 0);
}

static void
test_what_is_no_file_is_refused(void **state)
{
	const struct guest_grant g = {0, PAGE, 0, 0};
	int fds[2], fd;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(add_fd(g, fds[0]), -EINVAL);
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(add_fd(g, fds[0]), -EINVAL);
	close(fds[0]);
	close(fds[1]);
	fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(add_fd(g, fd), -EINVAL);
	close(fd);
	fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(add_fd(g, fd), -EINVAL);
	close(fd);
	fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
	assert_int_equal(add_fd(g, fd), -EINVAL);
	close(fd);
	assert_int_equal(mem.count, 0);
}

static void
test_memory_that_cannot_be_written_is_refused(void **state)
{
	char path[64];
	int fd;

	(void)state;
	snprintf(path, sizeof path, "/proc/self/fd/%d", file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(
	    add_fd((struct guest_grant){0, PAGE, 0, 0}, fd), -EACCES);
	close(fd);
	assert_int_equal(mem.count, 0);
}

static void
test_overlaps_are_refused_in_each_space(void **state)
{
	(void)state;
	assert_int_equal(add(0x10000, 2 * PAGE, 0x50000, 0), 0);
	assert_int_equal(add(0x10000, 2 * PAGE, 0x90000, 0), -EEXIST);
	assert_int_equal(add(0xf001, PAGE, 0x90000, 0), -EEXIST);
	assert_int_equal(add(0x11fff, PAGE, 0x90000, 0), -EEXIST);
	assert_int_equal(add(0x10100, 16, 0x90000, 0), -EEXIST);
	assert_int_equal(add(0xf000, 4 * PAGE, 0x90000, 0), -EEXIST);
	assert_int_equal(add(0x90000, PAGE, 0x4f001, 0), -EEXIST);
	assert_int_equal(add(0x90000, PAGE, 0x51fff, 0), -EEXIST);
	assert_int_equal(add(0x90000, 4 * PAGE, 0x4f000, 0), -EEXIST);
	assert_int_equal(mem.count, 1);
	/* To adjoin is not to overlap; the same part of the file may be. */
	assert_int_equal(add(0xf000, PAGE, 0x52000, 0), 0);
	assert_int_equal(add(0x12000, PAGE, 0x4f000, 0), 0);
}

static void
test_regions_are_sorted_and_can_be_taken_out(void **state)
{
	uint64_t run;

	(void)state;
	assert_int_equal(add(0x30000, PAGE, 0x1000, 0), 0);
	assert_int_equal(add(0x10000, PAGE, 0x3000, PAGE), 0);
	assert_int_equal(add(0x20000, PAGE, 0x2000, 2 * PAGE), 0);
	assert_int_equal(mem.region[0].gpa, 0x10000);
	assert_int_equal(mem.region[1].gpa, 0x20000);
	assert_int_equal(mem.region[2].gpa, 0x30000);
	assert_int_equal(guest_memory_remove(&mem,
			     &(struct guest_grant){0x20000, PAGE, 0x1000, 0}),
	    -ENOENT);
	assert_int_equal(guest_memory_remove(&mem,
			     &(struct guest_grant){0x20000, 8, 0x2000, 0}),
	    -ENOENT);
	assert_int_equal(guest_memory_remove(&mem,
			     &(struct guest_grant){0x20000, PAGE, 0x2000, 0}),
	    0);
	assert_int_equal(mem.count, 2);
	assert_int_equal(mem.region[2].size, 0);
	assert_null(guest_at(&mem, 0x20000, 1, &run));
	view[0] = 'a';
	view[PAGE] = 'b';
	assert_memory_equal(guest_at(&mem, 0x30000, 1, &run), "a", 1);
	assert_memory_equal(guest_at(&mem, 0x10000, 1, &run), "b", 1);
	assert_int_equal(add(0x20000, PAGE, 0x2000, 0), 0);
}

static bool
again(uint64_t gpa, uint64_t size, uint64_t uva, uint64_t offset)
{
	return guest_memory_again(
	    &mem, &(struct guest_grant){gpa, size, uva, offset});
}

static int
take_out(uint64_t gpa, uint64_t size, uint64_t uva)
{
	return guest_memory_remove(
	    &mem, &(struct guest_grant){gpa, size, uva, 0});
}

static void
test_a_region_stays_until_it_was_removed_as_often_as_named(void **state)
{
	uint64_t run;
	void *at;

	(void)state;
	assert_false(again(0x20000, PAGE, 0x2000, PAGE));
	assert_int_equal(add(0x20000, PAGE, 0x2000, PAGE), 0);
	assert_int_equal(add(0x30000, PAGE, 0x3000, 0), 0);
	at = guest_at(&mem, 0x20000, 1, &run);
	assert_true(again(0x20000, PAGE, 0x2000, PAGE));
	assert_true(again(0x20000, PAGE, 0x2000, PAGE));
	assert_int_equal(mem.count, 2);
	/* Nearly the same is another, which overlaps. */
	assert_false(again(0x21000, PAGE, 0x2000, PAGE));
	assert_false(again(0x20000, PAGE - 1, 0x2000, PAGE));
	assert_false(again(0x20000, PAGE, 0x3000, PAGE));
	assert_false(again(0x20000, PAGE, 0x2000, 0));
	assert_int_equal(add(0x20000, PAGE, 0x2000, PAGE), -EEXIST);
	assert_int_equal(take_out(0x20000, PAGE, 0x2000), 0);
	assert_int_equal(take_out(0x20000, PAGE, 0x2000), 0);
	assert_ptr_equal(guest_at(&mem, 0x20000, 1, &run), at);
	/* Others count for themselves. */
	assert_int_equal(take_out(0x30000, PAGE, 0x3000), 0);
	assert_int_equal(take_out(0x30000, PAGE, 0x3000), -ENOENT);
	assert_int_equal(take_out(0x20000, PAGE, 0x2000), 0);
	assert_null(guest_at(&mem, 0x20000, 1, &run));
	assert_int_equal(take_out(0x20000, PAGE, 0x2000), -ENOENT);
	assert_false(again(0x20000, PAGE, 0x2000, PAGE));
	/* What comes to its place begins anew. */
	assert_int_equal(add(0x20000, PAGE, 0x2000, PAGE), 0);
	assert_int_equal(take_out(0x20000, PAGE, 0x2000), 0);
	assert_int_equal(mem.count, 0);
}

static void
test_a_count_goes_with_its_region(void **state)
{
	(void)state;
	assert_int_equal(add(0x20000, PAGE, 0x2000, 0), 0);
	assert_true(again(0x20000, PAGE, 0x2000, 0));
	/* Both move in the table: one comes before it, and goes. */
	assert_int_equal(add(0x10000, PAGE, 0x1000, 0), 0);
	assert_int_equal(take_out(0x10000, PAGE, 0x1000), 0);
	assert_int_equal(take_out(0x20000, PAGE, 0x2000), 0);
	assert_int_equal(mem.count, 1);
	assert_int_equal(take_out(0x20000, PAGE, 0x2000), 0);
	assert_int_equal(mem.count, 0);
}

static void
test_a_region_can_be_named_so_often_and_not_oftener(void **state)
{
	unsigned i;

	(void)state;
	assert_int_equal(add(0x20000, PAGE, 0x2000, 0), 0);
	for (i = 0; i < GUEST_AGAIN_MAX; i++)
		assert_true(again(0x20000, PAGE, 0x2000, 0));
	assert_false(again(0x20000, PAGE, 0x2000, 0));
	for (i = 0; i < GUEST_AGAIN_MAX; i++)
		assert_int_equal(take_out(0x20000, PAGE, 0x2000), 0);
	assert_int_equal(mem.count, 1);
	assert_int_equal(take_out(0x20000, PAGE, 0x2000), 0);
	assert_int_equal(mem.count, 0);
	/* However often: once is enough when all goes. */
	assert_int_equal(add(0x20000, PAGE, 0x2000, 0), 0);
	assert_true(again(0x20000, PAGE, 0x2000, 0));
	guest_memory_clear(&mem);
	assert_int_equal(take_out(0x20000, PAGE, 0x2000), -ENOENT);
}

static void
test_a_buffer_over_adjoining_regions_is_found_in_parts(void **state)
{
	uint64_t run;

	(void)state;
	assert_int_equal(add(0x10000, PAGE, 0x90000, 4 * PAGE), 0);
	assert_int_equal(add(0x11000, PAGE, 0x50000, 0), 0);
	assert_ptr_not_equal(guest_at(&mem, 0x11000, 1, &run),
	    (uint8_t *)guest_at(&mem, 0x10000, 1, &run) + PAGE);
	assert_non_null(guest_at(&mem, 0x10ff0, 0x30, &run));
	assert_int_equal(run, 0x10);
	assert_non_null(guest_at(&mem, 0x11000, 0x20, &run));
	assert_int_equal(run, 0x20);
	assert_null(guest_at_uva(&mem, 0x90ff0, 0x30, 16));
}

static void
test_count_and_total_have_limits(void **state)
{
	uint64_t i, tib = GUEST_BYTES_MAX;
	int big;

	(void)state;
	for (i = 0; i < GUEST_REGIONS_MAX; i++)
		assert_int_equal(add(i * PAGE, PAGE, i * PAGE, 0), 0);
	assert_int_equal(add(i * PAGE, PAGE, i * PAGE, 0), -ENOSPC);
	guest_memory_clear(&mem);
	/* A hole costs nothing; address space does. */
	big = memfd_create("big", MFD_CLOEXEC);
	assert_true(big >= 0);
	assert_int_equal(ftruncate(big, (off_t)(2 * tib)), 0);
	assert_int_equal(
	    add_fd((struct guest_grant){0, tib + 1, 0, 0}, big), -ENOSPC);
	assert_int_equal(
	    add_fd((struct guest_grant){0, tib / 2, 0, tib}, big), 0);
	assert_int_equal(
	    add_fd((struct guest_grant){tib, tib / 2 + 1, tib, 0}, big),
	    -ENOSPC);
	close(big);
	assert_int_equal(mem.count, 1);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(addresses_of_each_space_lead_to_the_file),
	    T(bounds_are_exact),
	    T(alignment_counts_there_and_here),
	    T(offsets_need_not_be_pages),
	    T(sums_that_overflow_are_refused),
	    T(the_files_end_is_the_limit),
	    T(what_is_no_file_is_refused),
	    T(memory_that_cannot_be_written_is_refused),
	    T(overlaps_are_refused_in_each_space),
	    T(regions_are_sorted_and_can_be_taken_out),
	    T(a_region_stays_until_it_was_removed_as_often_as_named),
	    T(a_count_goes_with_its_region),
	    T(a_region_can_be_named_so_often_and_not_oftener),
	    T(a_buffer_over_adjoining_regions_is_found_in_parts),
	    T(count_and_total_have_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
