/*
 * dump_test.c - the dump backend: the file's bytes, small disks, restarts.
 * libpcap's own reader is played by a walk over the records.
 */
#include "backends/dump.c"

#include "tests/unit/backend_kit.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct kit kit;
static uint8_t frame[FRAME_BYTES_MAX];
static uint8_t file[8 << 20];
static struct netdev_dump_options options = {.file = (char[]){"x.pcap"}};

/* A fresh file that has no name; the returned copy shares its offset. */
static int
new_file(void)
{
	char name[] = "/tmp/dump_test.XXXXXX";
	int fd = mkstemp(name);

	assert_true(fd >= 0);
	unlink(name);
	return fd;
}

static void
open_dump(int fd)
{
	struct err err;

	kit_init(&kit, KIT_RING_BYTES);
	kit.be.resource[RESOURCE_FILE] = dup(fd);
	if (kit_open(&kit, &options, &err) < 0)
		fail_msg("%s", err.text);
}

struct counted {
	uint64_t written, dropped;
};

static bool
all_done(struct kit *k, void *arg)
{
	struct counted *c = arg;

	return kit_counter(k, BC_OUT_FRAMES) == c->written &&
	       kit_counter(k, BC_OUT_DROP_ERROR) == c->dropped;
}

static void
wait_counters(uint64_t written, uint64_t dropped)
{
	struct counted c = {written, dropped};

	kit_until(&kit, all_done, &c);
	assert_int_equal(kit_counter(&kit, BC_OUT_FRAMES), written);
	assert_int_equal(kit_counter(&kit, BC_OUT_DROP_ERROR), dropped);
}

static void
send_frames(int count, uint32_t len)
{
	int i;

	for (i = 0; i < count; i++) {
		memset(frame, i, len);
		assert_true(kit_send(&kit, frame, len));
	}
	kit_publish(&kit);
}

static uint32_t
word(size_t at)
{
	uint32_t w;

	memcpy(&w, file + at, sizeof w);
	return w;
}

/* Walk the file; every record must be whole. Returns how many there are. */
static int
count_records(int fd)
{
	ssize_t size = pread(fd, file, sizeof file, 0);
	size_t at = CAPTURE_HEADER_BYTES;
	int n = 0;

	assert_true(size >= (ssize_t)CAPTURE_HEADER_BYTES);
	assert_int_equal(word(0), 0xa1b23c4d);
	assert_int_equal(word(4), 4 << 16 | 2);
	assert_int_equal(word(20), 1);
	while (at < (size_t)size) {
		assert_true(at + CAPTURE_RECORD_BYTES <= (size_t)size);
		assert_true(word(at + 4) < 1000000000);
		at += CAPTURE_RECORD_BYTES + word(at + 8);
		assert_true(at <= (size_t)size);
		n++;
	}
	return n;
}

static void
test_records_are_there_at_once_and_whole(void **state)
{
	int fd = new_file();
	uint32_t len;
	int n = 0;

	(void)state;
	open_dump(fd);
	assert_int_equal(count_records(fd), 0);
	for (len = 14; len < 4000; len += 111) {
		send_frames(1, len);
		wait_counters((uint64_t)++n, 0);
		assert_int_equal(count_records(fd), n);
	}
	assert_string_equal(kit.be.info, "dump to x.pcap (len=65536)");
	kit_fini(&kit);
	close(fd);
}

static void
test_long_frames_are_cut_to_len(void **state)
{
	int fd = new_file();

	(void)state;
	options.has_len = true;
	options.len = 100;
	open_dump(fd);
	send_frames(1, 60);
	send_frames(1, 1514);
	wait_counters(2, 0);
	assert_int_equal(count_records(fd), 2);
	assert_int_equal(word(16), 100);
	assert_int_equal(word(24 + 8), 60);
	assert_int_equal(word(24 + 16 + 60 + 8), 100);
	assert_int_equal(word(24 + 16 + 60 + 12), 1514);
	options.has_len = false;
	kit_fini(&kit);
	close(fd);
}

/* A TCP frame of 3000 bytes payload, from a sender that leaves the rest to
 * others. */
static void
send_large(void)
{
	static const uint8_t head[] = {8, 0, 0x45, 0, 0x0b, 0xe0};
	struct frame_meta m = {.flags = META_NEEDS_CSUM,
	    .gso_type = META_GSO_TCPV4,
	    .gso_size = 1400,
	    .csum_start = 34,
	    .csum_offset = 16};

	memset(frame, 0, 3054);
	memcpy(frame + 12, head, sizeof head);
	frame[23] = 6;
	frame[46] = 0x50;
	assert_true(kit_send_meta(&kit, frame, 3054, &m));
	kit_publish(&kit);
}

static void
test_large_frames_are_written_as_on_a_wire(void **state)
{
	static const uint32_t len[] = {1454, 1454, 254};
	size_t at = CAPTURE_HEADER_BYTES, i;
	int fd = new_file();

	(void)state;
	open_dump(fd);
	send_large();
	wait_counters(3, 0);
	assert_int_equal(count_records(fd), 3);
	for (i = 0; i < 3; i++) {
		assert_int_equal(word(at + 8), len[i]);
		/* The checksum of nothing but zeros and a header is not 0. */
		assert_true(file[at + 16 + 50] != 0 || file[at + 16 + 51] != 0);
		at += CAPTURE_RECORD_BYTES + len[i];
	}
	kit_fini(&kit);
	close(fd);
}

static void
test_large_frames_are_written_as_they_are_when_asked(void **state)
{
	int fd = new_file();

	(void)state;
	options.has_large_frames = options.large_frames = true;
	open_dump(fd);
	send_large();
	wait_counters(1, 0);
	assert_int_equal(count_records(fd), 1);
	assert_int_equal(word(CAPTURE_HEADER_BYTES + 8), 3054);
	assert_memory_equal(file + CAPTURE_HEADER_BYTES + 16, frame, 3054);
	options.has_large_frames = false;
	kit_fini(&kit);
	close(fd);
}

static void
test_an_impossible_len_is_refused(void **state)
{
	struct err err;

	(void)state;
	options.has_len = true;
	options.len = UINT64_C(1) << 31;
	kit_init(&kit, KIT_RING_BYTES);
	kit.be.resource[RESOURCE_FILE] = new_file();
	assert_int_equal(kit_open(&kit, &options, &err), -EINVAL);
	assert_string_equal(err.text, "invalid length: 2147483648");
	options.has_len = false;
	kit_fini(&kit);
}

static void
limit_files(rlim_t bytes)
{
	struct rlimit limit = {bytes, RLIM_INFINITY};

	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void
test_a_full_disk_leaves_whole_records_and_is_survived(void **state)
{
	int fd = new_file();
	struct stat st;

	(void)state;
	open_dump(fd);
	/* Room for 10 records of 1016 bytes and a half. */
	limit_files(24 + 10 * 1016 + 500);
	send_frames(50, 1000);
	wait_counters(10, 40);
	assert_int_equal(count_records(fd), 10);
	fstat(fd, &st);
	assert_int_equal(st.st_size, 24 + 10 * 1016);
	assert_int_equal(kit.be.notices.told, 1);
	/* For a second nothing is tried, then there is space. */
	send_frames(5, 1000);
	wait_counters(10, 45);
	limit_files(RLIM_INFINITY);
	((struct dump *)kit.be.self)->tried_ns -= RETRY_NS;
	send_frames(3, 1000);
	wait_counters(13, 45);
	assert_int_equal(count_records(fd), 13);
	kit_fini(&kit);
	close(fd);
}

static void
test_every_size_limit_leaves_whole_records(void **state)
{
	rlim_t limit;
	int fd;

	(void)state;
	for (limit = 24; limit < 24 + 3 * 76 + 4; limit += 7) {
		fd = new_file();
		open_dump(fd);
		limit_files(limit);
		send_frames(5, 60);
		wait_counters((limit - 24) / 76, 5 - (limit - 24) / 76);
		limit_files(RLIM_INFINITY);
		assert_int_equal(count_records(fd), (limit - 24) / 76);
		kit_fini(&kit);
		close(fd);
	}
}

static void
test_a_restart_appends_and_cuts_what_is_not_whole(void **state)
{
	static const uint8_t half[40] = {1};
	int fd = new_file();
	off_t end;

	(void)state;
	open_dump(fd);
	send_frames(20, 100);
	wait_counters(20, 0);
	kit_fini(&kit);
	/* Killed in the middle of a write: half a record, offset behind. */
	end = lseek(fd, 0, SEEK_CUR);
	assert_int_equal(end, 24 + 20 * 116);
	assert_int_equal(
	    pwrite(fd, half, sizeof half, end), (ssize_t)sizeof half);
	open_dump(fd);
	assert_int_equal(count_records(fd), 20);
	send_frames(5, 100);
	wait_counters(5, 0);
	assert_int_equal(count_records(fd), 25);
	kit_fini(&kit);
	close(fd);
}

static void
test_a_restart_keeps_records_whose_offset_was_not_told(void **state)
{
	int fd = new_file();

	(void)state;
	open_dump(fd);
	send_frames(20, 100);
	wait_counters(20, 0);
	kit_fini(&kit);
	/* Killed between the write and the lseek. */
	lseek(fd, 24 + 12 * 116, SEEK_SET);
	open_dump(fd);
	assert_int_equal(count_records(fd), 20);
	kit_fini(&kit);
	close(fd);
}

static void
test_a_strange_file_becomes_an_empty_capture(void **state)
{
	int fd = new_file();

	(void)state;
	assert_int_equal(pwrite(fd, "rubbish", 7, 0), 7);
	open_dump(fd);
	assert_int_equal(count_records(fd), 0);
	kit_fini(&kit);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_records_are_there_at_once_and_whole),
	    cmocka_unit_test(test_long_frames_are_cut_to_len),
	    cmocka_unit_test(test_large_frames_are_written_as_on_a_wire),
	    cmocka_unit_test(
		test_large_frames_are_written_as_they_are_when_asked),
	    cmocka_unit_test(test_an_impossible_len_is_refused),
	    cmocka_unit_test(
		test_a_full_disk_leaves_whole_records_and_is_survived),
	    cmocka_unit_test(test_every_size_limit_leaves_whole_records),
	    cmocka_unit_test(test_a_restart_appends_and_cuts_what_is_not_whole),
	    cmocka_unit_test(
		test_a_restart_keeps_records_whose_offset_was_not_told),
	    cmocka_unit_test(test_a_strange_file_becomes_an_empty_capture),
	};

	log_open("test", "-", LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
