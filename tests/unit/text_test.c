/*
 * text_test.c - growing text and the coding of JSON strings.
 */
#include "broker/text.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void
test_bound_is_kept_and_remembered(void **state)
{
	struct text t = {.max = 4};

	(void)state;
	assert_int_equal(text_add(&t, "abc", 3), 0);
	assert_int_equal(text_add(&t, "de", 2), -E2BIG);
	assert_int_equal(text_add(&t, "d", 1), -E2BIG);
	assert_true(t.failed);
	assert_int_equal(t.len, 3);
	text_clear(&t, 0);
	assert_int_equal(text_add(&t, "abcd", 4), 0);
	text_free(&t);
}

static const char *
quoted(const char *s, size_t len)
{
	static char buf[256];
	struct text t = {0};

	text_add_quoted(&t, s, len);
	memcpy(buf, t.data, t.len);
	buf[t.len] = '\0';
	text_free(&t);
	return buf;
}

static void
test_quoted_text_is_ascii_json(void **state)
{
	(void)state;
	assert_string_equal(quoted("", 0), "\"\"");
	assert_string_equal(quoted("a\"\\/\b\f\n\r\t\x01", 10),
	    "\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\"");
	assert_string_equal(quoted("\0", 1), "\"\\u0000\"");
	assert_string_equal(quoted("\x7f", 1), "\"\\u007F\"");
	assert_string_equal(quoted("\xc3\xa9", 2), "\"\\u00E9\"");
	assert_string_equal(
	    quoted("\xf0\x9f\x98\x80", 4), "\"\\uD83D\\uDE00\"");
	assert_string_equal(quoted("\xff\xc3", 2), "\"\\uFFFD\\uFFFD\"");
	assert_string_equal(
	    quoted("\xed\xa0\x80", 3), "\"\\uFFFD\\uFFFD\\uFFFD\"");
}

static void
test_every_character_survives_both_codings(void **state)
{
	struct text in = {0}, out = {0}, why = {0};

	(void)state;
	for (uint32_t cp = 1; cp <= 0x10ffff; cp += cp < 0x3000 ? 1 : 251) {
		char utf8[5] = {0};
		uint32_t back = 0;
		size_t len = cp < 0x80      ? 1
			     : cp < 0x800   ? 2
			     : cp < 0x10000 ? 3
					    : 4;

		for (size_t i = len; i-- > 1;)
			utf8[i] =
			    (char)(0x80 | (cp >> (6 * (len - 1 - i)) & 0x3f));
		utf8[0] = (char)(len == 1 ? cp
					  : (0xf00u >> len & 0xff) |
						cp >> (6 * (len - 1)));
		if (utf8_next(utf8, len, &back) == 0)
			continue; /* surrogates, noncharacters */
		assert_int_equal(back, cp);
		text_clear(&in, SIZE_MAX);
		text_clear(&out, SIZE_MAX);
		text_add_quoted(&in, utf8, len);
		assert_int_equal(
		    text_add_string_token(&out, in.data, in.len, &why), 0);
		text_clear(&in, SIZE_MAX);
		text_add_ascii(&in, out.data, out.len);
		text_add_char(&in, '\0');
		/* Named escapes come back as numbers; all else is the same */
		if (cp >= 0x20)
			assert_string_equal(in.data, quoted(utf8, len));
	}
	text_free(&in);
	text_free(&out);
	text_free(&why);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_bound_is_kept_and_remembered),
	    cmocka_unit_test(test_quoted_text_is_ascii_json),
	    cmocka_unit_test(test_every_character_survives_both_codings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
