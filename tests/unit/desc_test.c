/*
 * desc_test.c - copy, compare and free over random values of every type.
 */
#include "gen/control.h"
#include "proto/counter.h"
#include "proto/wire.h"
#include "tests/unit/value_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define ROUNDS 200

static void
round_trip(struct dice *r, const struct desc *d)
{
	void *a = calloc(1, d->bytes), *b = calloc(1, d->bytes);
	size_t i;

	assert_non_null(a);
	assert_non_null(b);
	value_fill(r, d, a);
	assert_int_equal(desc_copy(d, b, a), 0);
	assert_true(desc_equal(d, a, b));
	assert_true(desc_equal(d, b, a));
	desc_free(d, a);
	for (i = 0; i < d->bytes; i++)
		assert_int_equal(((char *)a)[i], 0);
	desc_free(d, a);
	desc_free(d, b);
	free(a);
	free(b);
}

static void
test_every_type_is_copied_whole_and_freed_empty(void **state)
{
	struct dice r = {0x1234567};
	size_t i, k;

	(void)state;
	for (k = 0; k < ROUNDS; k++) {
		for (i = 0; i < type_desc_count; i++)
			round_trip(&r, type_descs[i]);
		for (i = 0; i < ctl_wire.count; i++)
			round_trip(&r, ctl_wire.messages[i].desc);
	}
}

static void
test_two_random_values_differ_unless_they_are_equal_both_ways(void **state)
{
	struct netdev a = {0}, b = {0};
	struct dice r = {99};
	size_t i, equal = 0;

	(void)state;
	for (i = 0; i < 1000; i++) {
		value_fill(&r, &desc_netdev, &a);
		value_fill(&r, &desc_netdev, &b);
		assert_int_equal(desc_equal(&desc_netdev, &a, &b),
		    desc_equal(&desc_netdev, &b, &a));
		equal += desc_equal(&desc_netdev, &a, &b);
		desc_free(&desc_netdev, &a);
		desc_free(&desc_netdev, &b);
	}
	assert_true(equal < 100);
}

static void
test_absent_equals_only_absent(void **state)
{
	struct netdev a = {.type = NET_CLIENT_DRIVER_USER};
	struct netdev b = a;

	(void)state;
	assert_true(desc_equal(&desc_netdev, &a, &b));
	b.u.user.has_restrict_ = true;
	assert_false(desc_equal(&desc_netdev, &a, &b));
	b.u.user.has_restrict_ = false;
	b.has_ring_size = true;
	assert_false(desc_equal(&desc_netdev, &a, &b));
}

static void
test_counter_structs_have_the_members_of_the_counter_tables(void **state)
{
	static const char *const lane[] = {
#define LANE_COUNTER(id, name, doc) name,
#include "proto/lane_counters.def"
#undef LANE_COUNTER
	};
	static const char *const backend[] = {
#define BACKEND_COUNTER(id, name, doc) name,
#include "proto/backend_counters.def"
#undef BACKEND_COUNTER
	};
	size_t i;

	(void)state;
	assert_int_equal(desc_lane_counters.member_count, LC_COUNT);
	assert_int_equal(desc_backend_counters.member_count, BC_COUNT);
	for (i = 0; i < LC_COUNT; i++)
		assert_string_equal(
		    desc_lane_counters.members[i].name, lane[i]);
	for (i = 0; i < BC_COUNT; i++)
		assert_string_equal(
		    desc_backend_counters.members[i].name, backend[i]);
}

static void
test_text_is_utf8_without_nul_overlong_or_surrogate(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		bool valid;
	} rows[] = {{"", 0, true}, {"a", 1, true}, {"\x00", 1, false},
	    {"\xc3\xa9", 2, true}, {"\xc3", 1, false}, {"\x80", 1, false},
	    {"\xc0\x80", 2, false}, {"\xc1\xbf", 2, false},
	    {"\xe0\x9f\xbf", 3, false}, {"\xe0\xa0\x80", 3, true},
	    {"\xed\x9f\xbf", 3, true}, {"\xed\xa0\x80", 3, false},
	    {"\xef\xbf\xbf", 3, true}, {"\xf0\x8f\xbf\xbf", 4, false},
	    {"\xf0\x90\x80\x80", 4, true}, {"\xf4\x8f\xbf\xbf", 4, true},
	    {"\xf4\x90\x80\x80", 4, false}, {"\xf5\x80\x80\x80", 4, false},
	    {"\xe2\x82", 2, false}, {"\xe2\x82g", 3, false}};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_int_equal(
		    desc_text_valid(rows[i].text, rows[i].len), rows[i].valid);
}

static void
test_integers_keep_sign_and_width(void **state)
{
	int16_t n16 = 0;
	uint32_t n32 = 0;

	(void)state;
	desc_int_set(&desc_int16, &n16, (uint64_t)-5);
	assert_int_equal(n16, -5);
	assert_true((int64_t)desc_int_get(&desc_int16, &n16) == -5);
	desc_int_set(&desc_uint32, &n32, UINT32_MAX);
	assert_true(desc_int_get(&desc_uint32, &n32) == UINT32_MAX);
	assert_true(desc_int_fits(&desc_int8, -128));
	assert_false(desc_int_fits(&desc_int8, -129));
	assert_false(desc_int_fits(&desc_int8, 128));
	assert_true(desc_uint_fits(&desc_uint16, 65535));
	assert_false(desc_uint_fits(&desc_uint16, 65536));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_type_is_copied_whole_and_freed_empty),
	    cmocka_unit_test(
		test_two_random_values_differ_unless_they_are_equal_both_ways),
	    cmocka_unit_test(test_absent_equals_only_absent),
	    cmocka_unit_test(
		test_counter_structs_have_the_members_of_the_counter_tables),
	    cmocka_unit_test(
		test_text_is_utf8_without_nul_overlong_or_surrogate),
	    cmocka_unit_test(test_integers_keep_sign_and_width),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
