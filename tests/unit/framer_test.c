/*
 * framer_test.c - values, errors and bounds of the JSON framer.
 * Expected texts: what QEMU 7.2 answers to the same bytes.
 */
#include "broker/framer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Everything that came out: "V<text>;" and "E<text>;" in order. */
static struct text seen;

static void
note(const struct framer_item *item)
{
	text_add_char(&seen, item->kind == FRAMER_VALUE ? 'V' : 'E');
	text_add_ascii(&seen, item->text, item->len);
	text_add_char(&seen, ';');
}

/* Feed `len` bytes in pieces of `step`; end the stream if asked. */
static const char *
run(const char *in, size_t len, size_t step, int end)
{
	struct framer_item item;
	struct framer f;
	size_t at = 0;

	text_clear(&seen, 0);
	framer_init(&f);
	while (at < len) {
		size_t piece = len - at < step ? len - at : step;

		at += framer_feed(&f, in + at, piece, &item);
		if (item.kind != FRAMER_MORE)
			note(&item);
	}
	if (end) {
		framer_end(&f, &item);
		if (item.kind != FRAMER_MORE)
			note(&item);
	}
	framer_fini(&f);
	text_add_char(&seen, '\0');
	return seen.data;
}

struct row {
	const char *in;
	size_t len; /* 0: strlen */
	const char *out;
};

#define PARSE "EJSON parse error, "
#define VALUE "expecting value;"

static const struct row rows[] = {
    /* values and where they end */
    {"{}", 0, "V{};"},
    {"{}{}[]", 0, "V{};V{};V[];"},
    {" \t\r\n {} \n", 0, "V{};"},
    {"", 0, ""},
    {"1 ", 0, "V1;"},
    {"1", 0, ""},
    {"true,", 0, "Vtrue;" PARSE VALUE},
    {"null\n", 0, "Vnull;"},
    {"\"a\"", 0, "V\"a\";"},
    {"{\"a\" :1,\"b\":[ 1,2 , {}] }", 0, "V{\"a\": 1, \"b\": [1, 2, {}]};"},
    /* numbers */
    {"[-0,0,-1,0.10,1E2,1e+2,1e-2]", 0, "V[-0, 0, -1, 0.10, 1e2, 1e+2, 1e-2];"},
    {"[9223372036854775807,-9223372036854775808]", 0,
	"V[9223372036854775807, -9223372036854775808];"},
    {"[9223372036854775808,-9223372036854775809]", 0,
	"V[9223372036854775808E0, -9223372036854775809E0];"},
    {"[1e400]", 0, PARSE "number out of range '1e400';"},
    /* strings */
    {"{'a':'b'}", 0, "V{\"a\": \"b\"};"},
    {"['it\\'s', \"it\\'s\", 'a\"b', \"a'b\"]", 0,
	"V[\"it's\", \"it's\", \"a\\\"b\", \"a'b\"];"},
    {"['\\b\\f\\n\\r\\t\\/\\\\\\u00e9\\u20ac']", 0,
	"V[\"\\u0008\\u000C\\u000A\\u000D\\u0009/\\\\\\u00E9\\u20AC\"];"},
    {"['\\ud83d\\ude00', '\xf0\x9f\x98\x80', '\x7f']", 0,
	"V[\"\\uD83D\\uDE00\", \"\\uD83D\\uDE00\", \"\\u007F\"];"},
    {"['\\u0000','\xc0\x80']", 0, "V[\"\\u0000\", \"\\u0000\"];"},
    {"['\\ud83d']", 0, PARSE "\\ud83d is not a valid Unicode character;"},
    {"['\\ud83dx']", 0, PARSE "\\ud83d is not a valid Unicode character;"},
    {"['\\ufffe']", 0, PARSE "\\ufffe is not a valid Unicode character;"},
    {"[\"\\u12\"]", 0, PARSE "\\u12\" is not a valid Unicode character;"},
    {"['\xef\xbf\xbe']", 0, PARSE "invalid UTF-8 sequence in string;"},
    {"['\x80']", 0, PARSE "invalid UTF-8 sequence in string;"},
    {"['\xed\xa0\x80']", 0, PARSE "invalid UTF-8 sequence in string;"},
    {"['\xf4\x90\x80\x80']", 0, PARSE "invalid UTF-8 sequence in string;"},
    {"['\xc0\xaf']", 0, PARSE "invalid UTF-8 sequence in string;"},
    {"['\xe2\x82']", 0, PARSE "invalid UTF-8 sequence in string;"},
    {"['\\q']", 0, PARSE "invalid escape sequence in string;"},
    {"{\"a\":\"tab\there\"}", 0, PARSE "stray '\"tab\t';" PARSE VALUE},
    /* bytes that fit nowhere */
    {"TRUE ", 0, PARSE "stray 'T';"},
    {"{\"a\":TRUE}", 0, PARSE "stray 'T';" PARSE VALUE},
    {"NaN\n", 0, PARSE "stray 'N';"},
    {"+1\n", 0, PARSE "stray '+';"},
    {".5\n", 0, PARSE "stray '.';"},
    {"01\n", 0, PARSE "stray '01';"},
    {"%p\n", 0, PARSE "stray '%';"},
    {"// comment\n", 0, PARSE "stray '/';"},
    {"{\"a\":1.}", 0, PARSE "stray '1.}';"},
    {"{\"a\":1e}", 0, PARSE "stray '1e}';"},
    {"-}\n{}", 0, PARSE "stray '-}';V{};"},
    {"\xef\xbb\xbf{}", 0, PARSE "stray '\\uFFFD';V{};"},
    {"\0", 1, PARSE "stray '';"},
    /* grammar */
    {"xyz ", 0, PARSE "invalid keyword 'xyz';"},
    {"{a:1}", 0, PARSE "invalid keyword 'a';"},
    {"[nul]", 0, PARSE "invalid keyword 'nul';"},
    {"[1,]", 0, PARSE VALUE},
    {"{\"a\":1,}", 0, PARSE VALUE},
    {"{\"a\":}", 0, PARSE VALUE},
    {"}", 0, PARSE VALUE},
    {"]", 0, PARSE VALUE},
    {",", 0, PARSE VALUE},
    {":", 0, PARSE VALUE},
    {"{1:2}", 0, PARSE "key is not a string in object;"},
    {"{[]:2}", 0, PARSE "key is not a string in object;"},
    {"{{\"a\":nul}:2}", 0, PARSE "invalid keyword 'nul';"},
    {"{true:2}", 0, PARSE "key is not a string in object;"},
    {"{\"a\" 1}", 0, PARSE "missing : in object pair;"},
    {"{\"a\":1 \"b\":2}", 0, PARSE "expected separator in dict;"},
    {"{\"a\":1]", 0, PARSE "expected separator in dict;"},
    {"[1 2]", 0, PARSE "expected separator in list;"},
    {"[1}", 0, PARSE "expected separator in list;"},
    /* after an error the rest of the line is looked at again */
    {"{\"a\":T}{}", 0, PARSE "stray 'T';" PARSE VALUE "V{};"},
    {"[1 2]{}", 0, PARSE "expected separator in list;V{};"},
    /* the reset byte */
    {"\xff{}", 0, PARSE "stray '\\uFFFD';V{};"},
    {"{\"a\": [1,\xff\n{}", 0, PARSE "stray '\\uFFFD';V{};"},
    {"{\"a\": \"b\xff{}", 0, PARSE "stray '\"b\\uFFFD';V{};"},
};

static void
test_every_row_gives_what_qemu_gives(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t len = rows[i].len ? rows[i].len : strlen(rows[i].in);

		assert_string_equal(run(rows[i].in, len, len, 0), rows[i].out);
	}
}

static void
test_pieces_of_any_size_give_the_same(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t len = rows[i].len ? rows[i].len : strlen(rows[i].in);

		for (size_t step = 1; step < 4; step++)
			assert_string_equal(
			    run(rows[i].in, len, step, 0), rows[i].out);
	}
}

static void
test_end_of_stream_completes_or_complains(void **state)
{
	(void)state;
	assert_string_equal(run("1", 1, 1, 1), "V1;");
	assert_string_equal(run("true", 4, 4, 1), "Vtrue;");
	assert_string_equal(run("{} ", 3, 3, 1), "V{};");
	assert_string_equal(run("{", 1, 1, 1), PARSE "premature EOI;");
	assert_string_equal(run("[1", 2, 2, 1), PARSE "premature EOI;");
	assert_string_equal(run("[\"a", 3, 3, 1), PARSE "stray '\"a';");
	assert_string_equal(run("-", 1, 1, 1), PARSE "stray '-';");
	assert_string_equal(run("\xff", 1, 1, 1), PARSE "stray '\\uFFFD';");
}

static char *
repeat(char c, size_t count)
{
	char *p = malloc(count + 1);

	assert_non_null(p);
	memset(p, c, count);
	p[count] = '\0';
	return p;
}

static void
test_depth_is_bounded(void **state)
{
	char *open = repeat('[', FRAMER_DEPTH_MAX + 1);
	char *close = repeat(']', FRAMER_DEPTH_MAX);
	struct text in = {0};

	(void)state;
	text_add(&in, open, FRAMER_DEPTH_MAX);
	text_add(&in, close, FRAMER_DEPTH_MAX);
	assert_memory_equal(run(in.data, in.len, 7, 0), "V[[", 3);
	assert_null(strchr(seen.data, 'E'));
	/* One more: an error, then one for each bracket too many */
	assert_string_equal(run(open, FRAMER_DEPTH_MAX + 1, 7, 0),
	    "EJSON nesting depth limit exceeded;");
	text_clear(&in, 0);
	text_add(&in, open, FRAMER_DEPTH_MAX + 1);
	text_add(&in, "]]{}", 4);
	assert_string_equal(run(in.data, in.len, in.len, 0),
	    "EJSON nesting depth limit exceeded;" PARSE VALUE PARSE VALUE
	    "V{};");
	text_free(&in);
	free(open);
	free(close);
}

static void
test_size_is_bounded(void **state)
{
	char *big = repeat('a', FRAMER_BYTES_MAX + 10);
	struct text in = {0};

	(void)state;
	big[0] = '"';
	text_add(&in, big, FRAMER_BYTES_MAX + 10);
	text_add_str(&in, "\"\n{}");
	assert_string_equal(run(in.data, in.len, 4096, 0),
	    "EJSON token size limit exceeded;V{};");
	/* Many tokens that are too much together */
	text_clear(&in, 0);
	text_add_char(&in, '[');
	for (unsigned i = 0; i < 5; i++) {
		big[FRAMER_BYTES_MAX / 4 - 1] = '"';
		text_add(&in, big, FRAMER_BYTES_MAX / 4);
		text_add_char(&in, ',');
	}
	run(in.data, in.len, 4096, 0);
	assert_memory_equal(seen.data, "EJSON token size limit exceeded;", 32);
	/* A number or a keyword has a bound of its own */
	free(big);
	big = repeat('7', FRAMER_WORD_BYTES + 10);
	assert_string_equal(run(big, FRAMER_WORD_BYTES + 10, 100, 0),
	    "EJSON token size limit exceeded;");
	free(big);
	text_free(&in);
}

static void
test_token_count_is_bounded(void **state)
{
	struct text in = {0};

	(void)state;
	text_add_char(&in, '[');
	for (unsigned i = 0; i < FRAMER_TOKENS_MAX; i++)
		text_add(&in, "1,", 2);
	run(in.data, in.len, 4096, 0);
	assert_memory_equal(seen.data, "EJSON token count limit exceeded;", 33);
	text_free(&in);
}

static void
test_idle_framer_keeps_little_memory(void **state)
{
	char *big = repeat('a', FRAMER_BYTES_MAX / 2);
	struct framer_item item;
	struct framer f;
	size_t at;

	(void)state;
	big[0] = '"';
	framer_init(&f);
	at = framer_feed(&f, big, FRAMER_BYTES_MAX / 2, &item);
	assert_int_equal(at, FRAMER_BYTES_MAX / 2);
	framer_feed(&f, "\"", 1, &item);
	assert_int_equal(item.kind, FRAMER_VALUE);
	framer_feed(&f, " ", 1, &item);
	assert_true(
	    f.token.cap + f.value.cap + f.error.cap <= 3 * FRAMER_KEEP_BYTES);
	framer_fini(&f);
	free(big);
}

static void
test_lines_are_counted(void **state)
{
	const char *in = "\n{}\n\n{\n\"a\":\n1}\n[T";
	static const unsigned lines[] = {2, 4, 7};
	struct framer_item item;
	struct framer f;
	size_t at = 0, n = 0;

	(void)state;
	framer_init(&f);
	while (at < strlen(in)) {
		at += framer_feed(&f, in + at, strlen(in) - at, &item);
		if (item.kind != FRAMER_MORE)
			assert_int_equal(item.line, lines[n++]);
	}
	assert_int_equal(n, 3);
	framer_fini(&f);
}

static const char *
echo_of(const char *in)
{
	struct framer_item item;
	struct framer f;
	const char *id;
	size_t len = 0;

	framer_init(&f);
	text_clear(&seen, 0);
	framer_feed(&f, in, strlen(in), &item);
	assert_int_equal(item.kind, FRAMER_VALUE);
	id = framer_member(item.text, item.len, "id", &len);
	if (id != NULL)
		framer_echo(&seen, id, len);
	framer_fini(&f);
	text_add_char(&seen, '\0');
	return seen.data;
}

static void
test_id_is_found_and_echoed_as_sent(void **state)
{
	(void)state;
	assert_string_equal(echo_of("{\"id\":1}"), "1");
	assert_string_equal(echo_of("{\"x\":{\"id\":2},\"id\":1}"), "1");
	assert_string_equal(echo_of("{\"x\":\"\\\"id\\\":\",\"id\":[]}"), "[]");
	assert_string_equal(
	    echo_of("{'\\u0069d':{'a':['}',1]},'b':2}"), "{\"a\": [\"}\", 1]}");
	assert_string_equal(
	    echo_of("{\"id\":18446744073709551616}"), "18446744073709551616");
	assert_string_equal(echo_of("{\"id\":[-0,0.1,1E2,\"E0\",null]}"),
	    "[-0, 0.1, 1e2, \"E0\", null]");
	assert_string_equal(echo_of("{\"id\":\"\xc3\xa9\"}"), "\"\\u00E9\"");
	assert_string_equal(echo_of("{\"a\":1}"), "");
	assert_string_equal(echo_of("{}"), "");
}

static void
test_time_is_linear_in_the_input(void **state)
{
	/* 8 MiB of one-byte items would take for ever if it were not */
	size_t len = (size_t)8 * 1024 * 1024, at = 0, items = 0;
	char *in = repeat(']', len);
	struct framer_item item;
	struct framer f;

	(void)state;
	framer_init(&f);
	while (at < len) {
		at += framer_feed(&f, in + at, len - at, &item);
		items++;
	}
	assert_int_equal(items, len);
	framer_fini(&f);
	free(in);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_row_gives_what_qemu_gives),
	    cmocka_unit_test(test_pieces_of_any_size_give_the_same),
	    cmocka_unit_test(test_end_of_stream_completes_or_complains),
	    cmocka_unit_test(test_depth_is_bounded),
	    cmocka_unit_test(test_size_is_bounded),
	    cmocka_unit_test(test_token_count_is_bounded),
	    cmocka_unit_test(test_idle_framer_keeps_little_memory),
	    cmocka_unit_test(test_lines_are_counted),
	    cmocka_unit_test(test_id_is_found_and_echoed_as_sent),
	    cmocka_unit_test(test_time_is_linear_in_the_input),
	};
	int rc = cmocka_run_group_tests(tests, NULL, NULL);

	text_free(&seen);
	return rc;
}
