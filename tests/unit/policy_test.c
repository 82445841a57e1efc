/*
 * policy_test.c - the first rule that fits decides, and errors name the line.
 */
#include "sandbox/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define RUN "/run/bulkhead"

static struct policy policy;

/* Parse a text that must be right. */
static void
use(const char *text)
{
	struct err err;
	char copy[4096];

	snprintf(copy, sizeof copy, "%s", text);
	if (policy_parse(&policy, copy, RUN, &err) != 0)
		fail_msg("%s", err.text);
}

static const char *
refused(const char *text)
{
	static struct err err;
	char copy[4096];

	snprintf(copy, sizeof copy, "%s", text);
	assert_int_not_equal(policy_parse(&policy, copy, RUN, &err), 0);
	return err.text;
}

static bool
may(enum policy_kind kind, const char *address)
{
	struct addr a;
	struct err err;

	if (addr_parse(address, &a, &err) < 0)
		fail_msg("%s: %s", address, err.text);
	return policy_address(&policy, kind, &a);
}

static bool
may_path(enum policy_kind kind, const char *path)
{
	size_t beneath;

	return policy_path(&policy, kind, path, &beneath);
}

static void
test_an_empty_policy_allows_the_run_directory_only(void **state)
{
	(void)state;
	use("");
	assert_false(may(POLICY_LISTEN, "127.0.0.1:80"));
	assert_false(may(POLICY_CONNECT, "127.0.0.1:80"));
	assert_false(may_path(POLICY_FILE, "/tmp/x"));
	assert_true(may_path(POLICY_FILE, RUN "/x.pcap"));
	assert_true(may_path(POLICY_UNIX, RUN "/sub/x.sock"));
	assert_false(may_path(POLICY_FILE, RUN "-other/x"));
	assert_false(may_path(POLICY_FILE, RUN "/etc/resolv.conf"));
	assert_false(may_path(POLICY_UNIX, RUN "/etc/x"));
	assert_false(may_path(POLICY_FILE, RUN "/names/hosts"));
	assert_true(may_path(POLICY_FILE, RUN "/names.pcap"));
	assert_false(may_path(POLICY_DIRECTORY, RUN "/x"));
}

static void
test_addresses_fit_by_prefix_and_port(void **state)
{
	(void)state;
	use("# comment\n"
	    "allow listen 10.1.0.0/16:1000-1999  # more\n"
	    "\tallow connect [fd00::/8]:22\n"
	    "allow connect *:443\r\n"
	    "allow udp 192.0.2.1\n"
	    "allow mcast 230.0.0.0/24:*");
	assert_true(may(POLICY_LISTEN, "10.1.255.1:1000"));
	assert_true(may(POLICY_LISTEN, "10.1.0.1:1999"));
	assert_false(may(POLICY_LISTEN, "10.1.0.1:2000"));
	assert_false(may(POLICY_LISTEN, "10.2.0.1:1000"));
	assert_false(may(POLICY_LISTEN, "0.0.0.0:1000"));
	assert_false(may(POLICY_CONNECT, "10.1.0.1:1000"));
	assert_true(may(POLICY_CONNECT, "[fd12::1]:22"));
	assert_false(may(POLICY_CONNECT, "[fe80::1]:22"));
	assert_true(may(POLICY_CONNECT, "[fe80::1]:443"));
	assert_true(may(POLICY_CONNECT, "192.0.2.7:443"));
	assert_true(may(POLICY_UDP, "192.0.2.1:9"));
	assert_false(may(POLICY_UDP, "192.0.2.2:9"));
	assert_true(may(POLICY_MCAST, "230.0.0.9:1"));
	assert_false(may(POLICY_MCAST, "230.0.1.9:1"));
	use("allow raw-ip 192.0.2.0/28\nallow raw-ip [fd00::/8]\n");
	assert_true(may(POLICY_RAW_IP, "192.0.2.15:0"));
	assert_false(may(POLICY_RAW_IP, "192.0.2.16:0"));
	assert_true(may(POLICY_RAW_IP, "[fd12::1]:0"));
	assert_false(may(POLICY_UDP, "192.0.2.15:0"));
}

static void
test_the_first_rule_that_fits_decides(void **state)
{
	(void)state;
	use("deny file /srv/private\nallow file /srv\ndefault allow\n"
	    "deny connect *\n");
	assert_false(may_path(POLICY_FILE, "/srv/private/x"));
	assert_true(may_path(POLICY_FILE, "/srv/privateer/x"));
	assert_true(may_path(POLICY_FILE, "/home/x"));
	assert_false(may(POLICY_CONNECT, "127.0.0.1:1"));
	assert_true(may(POLICY_LISTEN, "127.0.0.1:1"));
}

static void
test_links_are_followed_above_the_rule_only(void **state)
{
	size_t beneath = 99;

	(void)state;
	use("allow file /srv/dumps/\nallow file /var/one.pcap\n"
	    "allow directory /\nallow unix *\nallow unix @exact\n");
	assert_true(
	    policy_path(&policy, POLICY_FILE, "/srv/dumps/a/b.pcap", &beneath));
	assert_int_equal(beneath, strlen("/srv/dumps"));
	assert_true(
	    policy_path(&policy, POLICY_FILE, "/var/one.pcap", &beneath));
	assert_int_equal(beneath, strlen("/var"));
	assert_true(
	    policy_path(&policy, POLICY_DIRECTORY, "/srv/tftp", &beneath));
	assert_int_equal(beneath, 1);
	assert_true(policy_path(&policy, POLICY_UNIX, "/x/y", &beneath));
	assert_int_equal(beneath, 0);
}

static void
test_abstract_names_are_exact(void **state)
{
	(void)state;
	use("allow unix @vm\nallow unix /\n");
	assert_true(may_path(POLICY_UNIX, "@vm"));
	assert_false(may_path(POLICY_UNIX, "@vm2"));
	assert_true(may_path(POLICY_UNIX, "/x"));
}

static void
test_paths_that_are_not_plain_are_known(void **state)
{
	(void)state;
	assert_true(policy_plain("/a/b.c/..d/e"));
	assert_false(policy_plain("a/b"));
	assert_false(policy_plain(""));
	assert_false(policy_plain("/"));
	assert_false(policy_plain("/a/../b"));
	assert_false(policy_plain("/a/.."));
	assert_false(policy_plain("/./a"));
	assert_false(policy_plain("//a"));
	assert_false(policy_plain("/a/"));
}

static void
test_errors_name_line_and_cause(void **state)
{
	(void)state;
	assert_non_null(strstr(refused("\nallow tcp *\n"), "line 2: \"tcp\""));
	assert_non_null(strstr(refused("permit file /x"), "line 1: not"));
	assert_non_null(strstr(refused("allow file"), "line 1: not"));
	assert_non_null(strstr(refused("allow file /x /y"), "line 1: not"));
	assert_non_null(strstr(refused("default maybe"), "line 1: not"));
	assert_non_null(
	    strstr(refused("allow file x"), "\"x\" is not an absolute path"));
	assert_non_null(strstr(refused("allow file /x/../y"), "\"/x/../y\""));
	assert_non_null(
	    strstr(refused("allow udp 1.2.3.4/33"), "\"1.2.3.4/33\" is not"));
	assert_non_null(strstr(refused("allow udp 1.2.3.4:70000"), "is not"));
	assert_non_null(strstr(refused("allow udp 1.2.3.4:9-8"), "is not"));
	assert_non_null(strstr(refused("allow udp host:1"), "is not"));
	assert_non_null(strstr(refused("allow udp [::1:2"), "is not"));
	assert_non_null(strstr(refused("allow udp :80"), "is not"));
	assert_non_null(strstr(
	    refused("allow raw-ip 1.2.3.4:80"), "is not ADDRESS[/BITS]"));
}

static void
test_too_many_rules_are_an_error(void **state)
{
	static char text[POLICY_BYTES];
	struct err err;
	int i;

	(void)state;
	for (i = 0; i < POLICY_RULES + 1; i++)
		snprintf(text + strlen(text), 16, "allow udp *\n");
	assert_int_not_equal(policy_parse(&policy, text, RUN, &err), 0);
	assert_non_null(strstr(err.text, "more than"));
}

static void
test_without_a_file_root_has_sockets_and_a_user_everything(void **state)
{
	(void)state;
	policy_usual(&policy, true, RUN);
	assert_true(may(POLICY_LISTEN, "0.0.0.0:80"));
	assert_true(may(POLICY_UDP, "[::1]:80"));
	assert_false(may_path(POLICY_FILE, "/tmp/x"));
	assert_false(may_path(POLICY_DIRECTORY, "/srv"));
	assert_false(may_path(POLICY_UNIX, "@name"));
	assert_true(may_path(POLICY_FILE, RUN "/x"));
	policy_usual(&policy, false, RUN);
	assert_true(may_path(POLICY_FILE, "/tmp/x"));
	assert_true(may_path(POLICY_UNIX, "@name"));
	assert_true(may(POLICY_CONNECT, "127.0.0.1:1"));
}

static void
test_ipv4_in_ipv6_form_is_ipv4(void **state)
{
	(void)state;
	use("deny connect 127.0.0.0/8\nallow connect *\n");
	assert_false(may(POLICY_CONNECT, "127.0.0.1:22"));
	assert_false(may(POLICY_CONNECT, "[::ffff:127.0.0.1]:22"));
	assert_true(may(POLICY_CONNECT, "[::ffff:192.0.2.1]:22"));
	assert_true(may(POLICY_CONNECT, "[::1]:22"));
	use("allow connect 192.0.2.0/24:80\n");
	assert_true(may(POLICY_CONNECT, "[::ffff:192.0.2.1]:80"));
	assert_false(may(POLICY_CONNECT, "[::ffff:192.0.2.1]:81"));
}

static void
test_a_connection_to_nowhere_ends_at_the_loopback(void **state)
{
	static const char *const pairs[][2] = {{"0.0.0.0:1", "127.0.0.1:1"},
	    {"[::]:1", "[::1]:1"}, {"[::ffff:0.0.0.0]:1", "127.0.0.1:1"},
	    {"192.0.2.1:1", "192.0.2.1:1"},
	    {"[2001:db8::]:1", "[2001:db8::]:1"}};
	char text[ADDR_TEXT_BYTES];
	struct addr a, to;
	struct err err;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		assert_int_equal(addr_parse(pairs[i][0], &a, &err), 0);
		to = policy_destination(&a);
		assert_string_equal(addr_text(&to, text), pairs[i][1]);
	}
}

static void
test_no_link_leads_around_a_denial(void **state)
{
	size_t beneath;

	(void)state;
	use("allow file *\ndeny unix /run/docker.sock\nallow unix *\n");
	assert_true(policy_path(&policy, POLICY_FILE, "/a/b", &beneath));
	assert_int_equal(beneath, 0);
	assert_true(policy_path(&policy, POLICY_UNIX, "/a/b", &beneath));
	assert_int_equal(beneath, 1);
	use("default allow\ndeny file /etc\n");
	assert_true(policy_path(&policy, POLICY_FILE, "/a/b", &beneath));
	assert_int_equal(beneath, 1);
	assert_false(policy_path(&policy, POLICY_FILE, "/etc/b", &beneath));
}

static void
test_the_hosts_network_needs_a_rule(void **state)
{
	(void)state;
	use("allow connect *\nallow listen *\n");
	assert_false(may_path(POLICY_NETWORK, "host"));
	use("allow network host\n");
	assert_true(may_path(POLICY_NETWORK, "host"));
	use("default allow\ndeny network host\n");
	assert_false(may_path(POLICY_NETWORK, "host"));
	assert_non_null(strstr(refused("allow network eth0\n"), "not host"));
	policy_usual(&policy, true, RUN);
	assert_true(may_path(POLICY_NETWORK, "host"));
	policy_usual(&policy, false, RUN);
	assert_true(may_path(POLICY_NETWORK, "host"));
}

static void
test_names_of_hosts_fit_whole_or_by_domain(void **state)
{
	(void)state;
	use("allow connect *\n");
	assert_false(policy_host(&policy, "a.test"));
	use("deny lookup x.a.test\nallow lookup .a.test.\n"
	    "allow lookup b.Test\n");
	assert_true(policy_host(&policy, "y.a.test"));
	assert_true(policy_host(&policy, "Z.Y.A.TEST."));
	assert_false(policy_host(&policy, "x.a.test"));
	assert_false(policy_host(&policy, "a.test"));
	assert_false(policy_host(&policy, "xa.test"));
	assert_true(policy_host(&policy, "b.test"));
	assert_true(policy_host(&policy, "B.test."));
	assert_false(policy_host(&policy, "c.b.test"));
	assert_false(policy_host(&policy, "test"));
	use("allow lookup *\n");
	assert_true(policy_host(&policy, "a.test"));
	assert_non_null(
	    strstr(refused("allow lookup a..b\n"), "name of a host"));
	assert_non_null(
	    strstr(refused("allow lookup 1.2.3.4\n"), "name of a host"));
	policy_usual(&policy, true, RUN);
	assert_true(policy_host(&policy, "a.test"));
	policy_usual(&policy, false, RUN);
	assert_true(policy_host(&policy, "a.test"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		test_an_empty_policy_allows_the_run_directory_only),
	    cmocka_unit_test(test_addresses_fit_by_prefix_and_port),
	    cmocka_unit_test(test_names_of_hosts_fit_whole_or_by_domain),
	    cmocka_unit_test(test_the_first_rule_that_fits_decides),
	    cmocka_unit_test(test_links_are_followed_above_the_rule_only),
	    cmocka_unit_test(test_abstract_names_are_exact),
	    cmocka_unit_test(test_paths_that_are_not_plain_are_known),
	    cmocka_unit_test(test_errors_name_line_and_cause),
	    cmocka_unit_test(test_too_many_rules_are_an_error),
	    cmocka_unit_test(
		test_without_a_file_root_has_sockets_and_a_user_everything),
	    cmocka_unit_test(test_ipv4_in_ipv6_form_is_ipv4),
	    cmocka_unit_test(test_a_connection_to_nowhere_ends_at_the_loopback),
	    cmocka_unit_test(test_no_link_leads_around_a_denial),
	    cmocka_unit_test(test_the_hosts_network_needs_a_rule),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
