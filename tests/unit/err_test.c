/*
 * err_test.c - a refusal is one clean sentence with a class.
 */
#include "proto/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct err err;

static void
test_code_class_and_text_are_kept(void **state)
{
	(void)state;
	assert_int_equal(err_set(&err, -EINVAL, "bad %s %d", "x", 7), -EINVAL);
	assert_int_equal(err.class, ERR_GENERIC);
	assert_string_equal(err.text, "bad x 7");
	assert_int_equal(err_class_set(&err, -ENODEV, ERR_DEVICE_NOT_FOUND,
			     "Device '%s' not found", "net0"),
	    -ENODEV);
	assert_string_equal(err_class_name(err.class), "DeviceNotFound");
	assert_string_equal(err_class_name(ERR_GENERIC), "GenericError");
	assert_string_equal(
	    err_class_name(ERR_COMMAND_NOT_FOUND), "CommandNotFound");
	assert_string_equal(err_class_name((enum err_class)77), "GenericError");
}

static void
expect(const char *in, const char *want)
{
	err_set(&err, -EINVAL, "%s", in);
	assert_string_equal(err.text, want);
}

static void
test_text_is_valid_utf8_without_controls(void **state)
{
	(void)state;
	expect("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x9a\xa2",
	    "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x9a\xa2");
	expect("a\nb\tc\x7f", "a?b?c?");
	expect("\xc2\x9b", "??");                /* C1 control */
	expect("\xc0\xaf\xe0\x80\xaf", "?????"); /* overlong */
	expect("\xed\xa0\x80", "???");           /* surrogate */
	expect("\xf4\x90\x80\x80", "????");      /* above U+10FFFF */
	expect("\xf0\x80\x80\x80", "????");
	expect("\xff\xfe\x80", "???");
	expect("\xe2\x82", "??"); /* cut off */
}

static void
test_long_text_is_cut_between_characters(void **state)
{
	char text[3000];
	size_t i;

	(void)state;
	for (i = 0; i + 2 < sizeof text; i += 2)
		memcpy(text + i, "\xc3\xa9", 2);
	text[i] = '\0';
	err_set(&err, -EINVAL, "%s", text);
	assert_int_equal(strlen(err.text), ERR_TEXT_BYTES - 1);
	assert_int_equal(err.text[ERR_TEXT_BYTES - 2], '?');
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_code_class_and_text_are_kept),
	    cmocka_unit_test(test_text_is_valid_utf8_without_controls),
	    cmocka_unit_test(test_long_text_is_cut_between_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
