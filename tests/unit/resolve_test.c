/*
 * resolve_test.c - the answer about a name: made, taken, and lied about.
 */
#include "proto/resolve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct resolve_answer answer;
static struct addr found[RESOLVE_ADDRESSES];
static size_t count;
static int error;

static void
put(const char *text)
{
	struct addr a;
	struct err e;

	assert_int_equal(addr_parse_ip(text, &a, &e), 0);
	resolve_put(&answer, &a.sa, a.len);
}

static void
begin(void)
{
	memset(&answer, 0, sizeof answer);
	memset(found, 0x55, sizeof found);
	answer.magic = RESOLVE_MAGIC;
	count = 77;
	error = 77;
}

static int
take(int family)
{
	return resolve_take(
	    &answer, sizeof answer, family, found, &count, &error);
}

static void
expect(size_t which, const char *want)
{
	char text[ADDR_TEXT_BYTES];

	assert_true(which < count);
	assert_string_equal(addr_text(&found[which], text), want);
}

static void
test_addresses_keep_their_order_and_have_no_port(void **state)
{
	(void)state;
	begin();
	put("192.0.2.1");
	put("2001:db8::1");
	put("fe80::1%7");
	assert_int_equal(take(AF_UNSPEC), 0);
	assert_int_equal(count, 3);
	assert_int_equal(error, 0);
	expect(0, "192.0.2.1:0");
	expect(1, "[2001:db8::1]:0");
	expect(2, "[fe80::1%7]:0");
}

static void
test_what_is_no_address_of_ip_is_left_out(void **state)
{
	const struct sockaddr_un un = {.sun_family = AF_UNIX};
	char text[32];

	(void)state;
	begin();
	put("::ffff:192.0.2.1");
	resolve_put(&answer, (const void *)&un, sizeof(struct sockaddr_in));
	resolve_put(&answer, (const void *)&un, sizeof un);
	assert_int_equal(answer.count, 0);
	for (int i = 0; i < 1000; i++) {
		snprintf(text, sizeof text, "10.0.%d.%d", i / 250, i % 250);
		put(text);
	}
	assert_int_equal(take(AF_INET), 0);
	assert_int_equal(count, RESOLVE_ADDRESSES);
	expect(RESOLVE_ADDRESSES - 1, "10.0.0.15:0");
}

static void
test_an_error_comes_alone(void **state)
{
	(void)state;
	begin();
	answer.error = EAI_NONAME;
	assert_int_equal(take(AF_UNSPEC), 0);
	assert_int_equal(count, 0);
	assert_int_equal(error, EAI_NONAME);
}

static void
lied(int family)
{
	assert_int_equal(take(family), -EPROTO);
	assert_int_equal(count, 77);
	assert_int_equal(error, 77);
	assert_int_equal(found[0].len, 0x55555555);
	begin();
	put("192.0.2.1");
}

static void
test_lies_are_found_and_nothing_is_taken(void **state)
{
	(void)state;
	begin();
	lied(AF_UNSPEC); /* neither an address nor an error */
	assert_int_equal(resolve_take(&answer, sizeof answer - 1, AF_UNSPEC,
			     found, &count, &error),
	    -EPROTO);
	assert_int_equal(
	    resolve_take(NULL, 0, AF_UNSPEC, found, &count, &error), -EPROTO);
	answer.magic++;
	lied(AF_UNSPEC);
	answer.error = EAI_NONAME; /* both */
	lied(AF_UNSPEC);
	answer.count = RESOLVE_ADDRESSES + 1;
	lied(AF_UNSPEC);
	answer.count = UINT32_MAX;
	lied(AF_UNSPEC);
	answer.count = 2; /* of which one is nothing */
	lied(AF_UNSPEC);
	lied(AF_INET6); /* not what was asked for */
	answer.items[0].family = AF_UNIX;
	lied(AF_UNSPEC);
	answer.items[0].family = AF_INET6 | 1u << 16;
	lied(AF_UNSPEC);
	answer.items[0].bytes[15] = 1; /* behind an IPv4 address */
	lied(AF_INET);
	answer.items[0].scope = 1;
	lied(AF_INET);
	answer.count = 0;
	answer.error = 1;
	lied(AF_INET);
	answer.count = 0;
	answer.error = -4711;
	lied(AF_INET);
	answer.count = 0;
	put("2001:db8::1");
	answer.items[0].scope = 1; /* of an address that has none */
	lied(AF_INET6);
	answer.count = 0;
	put("::1");
	answer.items[0].bytes[10] = answer.items[0].bytes[11] = 0xff;
	lied(AF_INET6); /* IPv4 in disguise */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_addresses_keep_their_order_and_have_no_port),
	    cmocka_unit_test(test_what_is_no_address_of_ip_is_left_out),
	    cmocka_unit_test(test_an_error_comes_alone),
	    cmocka_unit_test(test_lies_are_found_and_nothing_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
