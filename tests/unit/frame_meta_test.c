/* frame_meta_test.c - which metadata can belong to a frame. */
#include "proto/frame_meta.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A large TCP segment of 3000 bytes, good as it is. */
static const struct frame_meta good = {
    .flags = META_NEEDS_CSUM,
    .gso_type = META_GSO_TCPV4,
    .gso_size = 1448,
    .csum_start = 34,
    .csum_offset = 16,
};

static void
test_nothing_is_valid_for_any_frame(void **state)
{
	struct frame_meta m = {0};

	(void)state;
	assert_true(frame_meta_is_zero(&m));
	assert_true(frame_meta_valid(&m, 14));
	assert_true(frame_meta_valid(&m, 69632));
	m.flags = META_DATA_VALID;
	assert_false(frame_meta_is_zero(&m));
	assert_true(frame_meta_valid(&m, 14));
	m = (struct frame_meta){.csum_offset = 1};
	assert_false(frame_meta_is_zero(&m));
}

static void
test_only_flags_that_we_know(void **state)
{
	unsigned flags;

	(void)state;
	for (flags = 0; flags < 256; flags++) {
		struct frame_meta m = {.flags = (uint8_t)flags};

		assert_int_equal(frame_meta_valid(&m, 60), flags < 4);
	}
}

static void
test_the_checksum_field_is_inside(void **state)
{
	struct frame_meta m = good;

	(void)state;
	assert_true(frame_meta_valid(&m, 34 + 16 + 2));
	assert_false(frame_meta_valid(&m, 34 + 16 + 1));
	assert_false(frame_meta_valid(&m, 0));
	m.csum_start = UINT16_MAX;
	m.csum_offset = UINT16_MAX;
	assert_false(frame_meta_valid(&m, 69632));
	/* 65535 + 4095 + 2 */
	m.csum_offset = 4095;
	assert_true(frame_meta_valid(&m, 69632));
	m.csum_offset = 4096;
	assert_false(frame_meta_valid(&m, 69632));
	/* Who does not ask for a checksum has no field. */
	m = (struct frame_meta){.csum_start = 9999, .csum_offset = 9};
	assert_true(frame_meta_valid(&m, 60));
}

static void
test_only_segments_that_we_know(void **state)
{
	unsigned type;

	(void)state;
	for (type = 0; type < 256; type++) {
		struct frame_meta m = good;
		unsigned plain = type & ~META_GSO_ECN;
		bool tcp = plain == 1 || plain == 4;

		m.gso_type = (uint8_t)type;
		assert_int_equal(frame_meta_valid(&m, 3000),
		    tcp || type == 0 || type == 3 || type == 5);
	}
}

static void
test_segments_have_a_size_and_a_checksum(void **state)
{
	static const uint8_t types[] = {META_GSO_TCPV4, META_GSO_TCPV6,
	    META_GSO_UDP_L4, META_GSO_TCPV6 | META_GSO_ECN};
	struct frame_meta m;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof types; i++) {
		m = good;
		m.gso_type = types[i];
		m.gso_size = 0;
		assert_false(frame_meta_valid(&m, 3000));
		m.gso_size = META_GSO_SIZE_MIN - 1;
		assert_false(frame_meta_valid(&m, 3000));
		m.gso_size = META_GSO_SIZE_MIN;
		assert_true(frame_meta_valid(&m, 3000));
		m.flags = META_DATA_VALID;
		assert_false(frame_meta_valid(&m, 3000));
	}
	/* UFO: the sender may have done the sum. */
	m = good;
	m.gso_type = META_GSO_UDP;
	m.flags = 0;
	assert_true(frame_meta_valid(&m, 3000));
	m.gso_size = META_GSO_SIZE_MIN - 1;
	assert_false(frame_meta_valid(&m, 3000));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_nothing_is_valid_for_any_frame),
	    cmocka_unit_test(test_only_flags_that_we_know),
	    cmocka_unit_test(test_the_checksum_field_is_inside),
	    cmocka_unit_test(test_only_segments_that_we_know),
	    cmocka_unit_test(test_segments_have_a_size_and_a_checksum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
