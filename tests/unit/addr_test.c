/*
 * addr_test.c - address texts: what is taken, and QEMU's words for the rest.
 */
#include "proto/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct err err;
static struct addr a;

static void
expect_text(const char *text, const char *want)
{
	char buf[ADDR_TEXT_BYTES];

	assert_int_equal(addr_parse(text, &a, &err), 0);
	assert_string_equal(addr_text(&a, buf), want);
}

static void
expect_refusal(const char *text, int code, const char *want)
{
	memset(&a, 0x55, sizeof a);
	assert_int_equal(addr_parse(text, &a, &err), code);
	assert_string_equal(err.text, want);
	assert_int_equal(a.len, 0x55555555); /* untouched */
}

static void
test_ipv4_forms_are_taken(void **state)
{
	(void)state;
	expect_text("1.2.3.4:80", "1.2.3.4:80");
	assert_int_equal(a.len, sizeof(struct sockaddr_in));
	assert_int_equal(a.in.sin_port, htons(80));
	expect_text(":1234", "0.0.0.0:1234");
	expect_text("127.1:0", "127.0.0.1:0");
	expect_text("1.2.3:65535", "1.2.0.3:65535");
	expect_text("10.0.0.1:0x10", "10.0.0.1:16");
	expect_text("10.0.0.1:010", "10.0.0.1:8");
}

static void
test_ipv6_forms_are_taken(void **state)
{
	(void)state;
	expect_text("[::1]:80", "[::1]:80");
	assert_int_equal(a.len, sizeof(struct sockaddr_in6));
	expect_text("[2001:DB8::7]:65535", "[2001:db8::7]:65535");
	expect_text("[fe80::1%7]:5", "[fe80::1%7]:5");
	expect_refusal("[::1]80", -EINVAL,
	    "host address '[::1]80' doesn't contain ':' separating host from "
	    "port");
	expect_refusal("[::1", -EINVAL,
	    "host address '[::1' doesn't contain ':' separating host from "
	    "port");
	expect_refusal(
	    "[]:1", -EINVAL, "host address '' is not a valid IPv6 address");
	expect_refusal("[1.2.3.4]:1", -EINVAL,
	    "host address '1.2.3.4' is not a valid IPv6 address");
	expect_refusal("[fe80::1%eth0]:5", -EINVAL,
	    "host address 'fe80::1%eth0' is not a valid IPv6 address");
	expect_refusal(
	    "[::1]:99999", -EINVAL, "port number '99999' is invalid");
}

static void
test_unix_forms_are_taken(void **state)
{
	(void)state;
	expect_text("/run/x.sock", "/run/x.sock");
	assert_int_equal(a.len, offsetof(struct sockaddr_un, sun_path) + 12);
	expect_text("./x:1", "./x:1");
	expect_text("unix:/a/b", "/a/b");
	expect_text("unix:relative", "relative");
	expect_text("@name", "@name");
	assert_int_equal(a.len, offsetof(struct sockaddr_un, sun_path) + 5);
	assert_int_equal(a.un.sun_path[0], 0);
}

static void
test_unix_paths_have_a_length(void **state)
{
	char path[120], buf[ADDR_TEXT_BYTES];

	(void)state;
	memset(path, 'x', sizeof path);
	path[0] = '/';
	path[107] = '\0';
	expect_text(path, path); /* 107 and its NUL */
	path[107] = 'x';
	path[108] = '\0';
	assert_int_equal(addr_parse(path, &a, &err), -EINVAL);
	assert_non_null(strstr(err.text, "is too long"));
	path[0] = '@';
	assert_int_equal(addr_parse(path, &a, &err), 0);
	assert_string_equal(addr_text(&a, buf), path);
	path[108] = 'x';
	path[109] = '\0';
	assert_int_equal(addr_parse(path, &a, &err), -EINVAL);
	expect_refusal("unix:", -EINVAL, "UNIX socket path is empty");
	expect_refusal("@", -EINVAL, "UNIX socket path is empty");
}

static void
test_socket_refusals_are_worded_as_qemu_words_them(void **state)
{
	(void)state;
	expect_refusal("1234", -EINVAL,
	    "host address '1234' doesn't contain ':' separating host from "
	    "port");
	expect_refusal("", -EINVAL,
	    "host address '' doesn't contain ':' separating host from port");
	expect_refusal("1.2.3.400:1", -EINVAL,
	    "host address '1.2.3.400' is not a valid IPv4 address");
	expect_refusal("1.2.3.4 x:1", -EINVAL,
	    "host address '1.2.3.4 x' is not a valid IPv4 address");
	expect_refusal("a name:1", -EINVAL,
	    "can't resolve host address 'a name': it is not the name of a "
	    "host");
}

static void
test_a_name_leaves_its_port(void **state)
{
	(void)state;
	assert_int_equal(addr_parse("example.org:80", &a, &err), -ENOENT);
	assert_memory_equal(
	    err.text, "can't resolve host address 'example.org'", 40);
	assert_int_equal(a.len, 0);
	assert_int_equal(a.in.sin_port, htons(80));
	assert_int_equal(addr_host_port("3com.com", "7", &a, &err), -ENOENT);
	assert_int_equal(a.len, 0);
	assert_int_equal(a.in.sin_port, htons(7));
	expect_refusal("example.org:x", -EINVAL, "port number 'x' is invalid");
}

static void
test_names_are_told_from_all_else(void **state)
{
	static const char *const names[] = {"a", "localhost", "a.b", "A-1.b_c",
	    "example.org.", "3com.com", "1.2.3.4.in-addr.arpa", "xn--4ca.test"};
	static const char *const others[] = {"", ".", "a..b", ".a", "-a", "a b",
	    "a/b", "a:b", "a%b", "a\nb", "\xc3\xa4", "1", "1.2.3.4",
	    "300.1.1.1", "a.7", "[a]", "@a"};
	char text[300];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof names / sizeof names[0]; i++)
		if (!addr_is_name(names[i]))
			fail_msg("%s", names[i]);
	for (i = 0; i < sizeof others / sizeof others[0]; i++)
		if (addr_is_name(others[i]))
			fail_msg("%s", others[i]);
	memset(text, 'x', sizeof text);
	text[63] = '\0';
	assert_true(addr_is_name(text));
	text[63] = 'x';
	text[64] = '\0';
	assert_false(addr_is_name(text));
	for (i = 0; i < sizeof text; i++)
		text[i] = i % 2 ? '.' : 'a';
	text[253] = '\0';
	assert_true(addr_is_name(text));
	text[253] = '.';
	text[255] = '\0';
	assert_false(addr_is_name(text));
}

static void
test_ports_are_whole_numbers_in_range(void **state)
{
	static const char *const bad[] = {"70000", "-5", "65536", "", "x",
	    "80x", "80 ", " 80", "+80", "0x", "08", "99999999999999999999",
	    "0x10000", "1:2"};
	char text[64], want[96];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		snprintf(text, sizeof text, "1.2.3.4:%s", bad[i]);
		snprintf(
		    want, sizeof want, "port number '%s' is invalid", bad[i]);
		expect_refusal(text, -EINVAL, want);
	}
}

static void
test_bare_addresses_have_no_port(void **state)
{
	char buf[ADDR_TEXT_BYTES];

	(void)state;
	assert_int_equal(addr_parse_ip("239.1.2.3", &a, &err), 0);
	assert_string_equal(addr_text(&a, buf), "239.1.2.3:0");
	assert_int_equal(addr_parse_ip("fe80::1", &a, &err), 0);
	assert_string_equal(addr_text(&a, buf), "[fe80::1]:0");
	assert_int_equal(addr_parse_ip("", &a, &err), -EINVAL);
	assert_int_equal(addr_parse_ip("1.2.3.4:5", &a, &err), -EINVAL);
	assert_int_equal(addr_parse_ip("host", &a, &err), -EINVAL);
	assert_string_equal(
	    err.text, "address 'host' is not a valid IPv4 or IPv6 address");
}

static void
test_texts_of_odd_addresses_are_harmless(void **state)
{
	char buf[ADDR_TEXT_BYTES];
	size_t i;

	(void)state;
	memset(&a, 0xff, sizeof a);
	a.un.sun_family = AF_UNIX;
	a.len = UINT32_MAX; /* as a hostile broker may claim */
	addr_text(&a, buf);
	assert_int_equal(strlen(buf), 108);
	for (i = 0; i < 108; i++)
		assert_int_equal(buf[i], '?');
	a.len = sizeof a.sa.sa_family; /* an unnamed peer */
	assert_string_equal(addr_text(&a, buf), "");
	a.len = 0;
	assert_string_equal(addr_text(&a, buf), "");
	a.len = 1;
	assert_string_equal(addr_text(&a, buf), "");
	a.sa.sa_family = 77;
	a.len = sizeof a;
	assert_string_equal(addr_text(&a, buf), "");
}

static void
test_equal_means_the_same_place(void **state)
{
	static const char *const texts[] = {"1.2.3.4:5", "1.2.3.4:6",
	    "1.2.3.5:5", "[::1]:5", "[::1]:6", "[fe80::1%1]:5", "[fe80::1%2]:5",
	    "/a", "/b", "/ab", "@a", "@ab"};
	const size_t count = sizeof texts / sizeof texts[0];
	struct addr b, none = {0};
	size_t i, j;

	(void)state;
	for (i = 0; i < count; i++) {
		assert_int_equal(addr_parse(texts[i], &a, &err), 0);
		assert_false(addr_equal(&a, &none));
		for (j = 0; j < count; j++) {
			assert_int_equal(addr_parse(texts[j], &b, &err), 0);
			assert_int_equal(addr_equal(&a, &b), i == j);
		}
	}
	assert_true(addr_equal(&none, &none));
}

static void
expect_rule(const char *rule, const char *reason)
{
	struct hostfwd f;
	char want[256];

	assert_int_equal(hostfwd_parse(rule, &f, &err), -EINVAL);
	snprintf(want, sizeof want, "Invalid host forwarding rule '%s' (%s)",
	    rule, reason);
	assert_string_equal(err.text, want);
}

static void
test_hostfwd_rules_are_taken(void **state)
{
	struct hostfwd f;

	(void)state;
	assert_int_equal(hostfwd_parse("tcp::2222-:22", &f, &err), 0);
	assert_false(f.udp);
	assert_int_equal(f.host.s_addr, 0);
	assert_int_equal(f.host_port, 2222);
	assert_int_equal(f.guest.s_addr, 0);
	assert_int_equal(f.guest_port, 22);
	assert_int_equal(
	    hostfwd_parse("udp:127.0.0.1:0-10.0.2.15:53", &f, &err), 0);
	assert_true(f.udp);
	assert_int_equal(f.host.s_addr, inet_addr("127.0.0.1"));
	assert_int_equal(f.host_port, 0);
	assert_int_equal(f.guest.s_addr, inet_addr("10.0.2.15"));
	assert_int_equal(f.guest_port, 53);
	assert_int_equal(hostfwd_parse("::0x50-:65535", &f, &err), 0);
	assert_false(f.udp);
	assert_int_equal(f.host_port, 80);
	assert_int_equal(f.guest_port, 65535);
	assert_int_equal(hostfwd_parse("tcp::-:22", &f, &err), 0);
	assert_int_equal(f.host_port, 0);
}

static void
test_hostfwd_refusals_come_in_qemus_order_and_words(void **state)
{
	(void)state;
	expect_rule("", "No : separators");
	expect_rule("tcp", "No : separators");
	expect_rule("sctp::1-:1", "Bad protocol name");
	expect_rule("unix:/x-:1", "Bad protocol name");
	expect_rule("tcp:1-", "Missing : separator");
	expect_rule("tcp:localhost:1-:1", "Bad host address");
	expect_rule("tcp:1.2.3.400:1-:1", "Bad host address");
	expect_rule("tcp:11111111111111111111111111111111111.1:1-:1",
	    "Bad host address");
	expect_rule("tcp::1", "Bad host port separator");
	expect_rule("tcp::x-:1", "Bad host port");
	expect_rule("tcp::65536-:1", "Bad host port");
	expect_rule("tcp::1 -:1", "Bad host port");
	expect_rule("tcp::1-1", "Missing guest address");
	expect_rule("tcp::1-guest:1", "Bad guest address");
	expect_rule("tcp::-1-:80", "Bad guest address");
	expect_rule("tcp::1-:0", "Bad guest port");
	expect_rule("tcp::1-:", "Bad guest port");
	expect_rule("tcp::1-:65536", "Bad guest port");
	expect_rule("tcp::1-:22x", "Bad guest port");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_ipv4_forms_are_taken),
	    cmocka_unit_test(test_ipv6_forms_are_taken),
	    cmocka_unit_test(test_unix_forms_are_taken),
	    cmocka_unit_test(test_unix_paths_have_a_length),
	    cmocka_unit_test(
		test_socket_refusals_are_worded_as_qemu_words_them),
	    cmocka_unit_test(test_a_name_leaves_its_port),
	    cmocka_unit_test(test_names_are_told_from_all_else),
	    cmocka_unit_test(test_ports_are_whole_numbers_in_range),
	    cmocka_unit_test(test_bare_addresses_have_no_port),
	    cmocka_unit_test(test_texts_of_odd_addresses_are_harmless),
	    cmocka_unit_test(test_equal_means_the_same_place),
	    cmocka_unit_test(test_hostfwd_rules_are_taken),
	    cmocka_unit_test(
		test_hostfwd_refusals_come_in_qemus_order_and_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
