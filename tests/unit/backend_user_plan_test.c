/* backend_user_plan_test.c - address plan and error texts of `user`. */
#include "backends/backend_user_plan.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Options are char *; literals in tests are not written to. */
#define TEXT(s)      ((char *)(uintptr_t)(s))
#define OPTIONS(...) (&(struct netdev_user_options){__VA_ARGS__})
#define RULE(r)                                                                \
	{                                                                      \
		.count = 1, .items = (struct string[])                         \
		{                                                              \
			{                                                      \
				.str = TEXT(r)                                 \
			}                                                      \
		}                                                              \
	}
#define RULES(a, b)                                                            \
	{                                                                      \
		.count = 2, .items = (struct string[])                         \
		{                                                              \
			{.str = TEXT(a)},                                      \
			{                                                      \
				.str = TEXT(b)                                 \
			}                                                      \
		}                                                              \
	}

static struct user_plan plan;

static void
accepted(const struct netdev_user_options *o)
{
	struct err err = {.text = ""};

	if (user_plan(o, &plan, &err) != 0)
		fail_msg("refused: %s", err.text);
}

static void
refused(const struct netdev_user_options *o, const char *text)
{
	struct err err = {.text = ""};

	assert_true(user_plan(o, &plan, &err) < 0);
	/* Longer texts than QEMU's begin with QEMU's. */
	if (strncmp(err.text, text, strlen(text)) != 0)
		assert_string_equal(err.text, text);
}

static void
same4(struct in_addr a, const char *text)
{
	char buf[INET_ADDRSTRLEN];

	assert_string_equal(inet_ntop(AF_INET, &a, buf, sizeof buf), text);
}

static void
same6(struct in6_addr a, const char *text)
{
	char buf[INET6_ADDRSTRLEN];

	assert_string_equal(inet_ntop(AF_INET6, &a, buf, sizeof buf), text);
}

static void
test_the_usual_plan(void **state)
{
	(void)state;
	accepted(OPTIONS(0));
	assert_true(plan.ipv4 && plan.ipv6);
	assert_false(plan.restricted || plan.host_loopback);
	same4(plan.net, "10.0.2.0");
	same4(plan.mask, "255.255.255.0");
	same4(plan.host, "10.0.2.2");
	same4(plan.dns, "10.0.2.3");
	same4(plan.dhcp, "10.0.2.15");
	same6(plan.prefix6, "fec0::");
	same6(plan.host6, "fec0::2");
	same6(plan.dns6, "fec0::3");
	assert_int_equal(plan.prefix6_len, 64);
}

static void
test_one_family_alone(void **state)
{
	(void)state;
	accepted(OPTIONS(.has_ipv6 = true, .ipv6 = true));
	assert_true(plan.ipv6 && !plan.ipv4);
	accepted(OPTIONS(.has_ipv4 = true, .ipv4 = true));
	assert_true(plan.ipv4 && !plan.ipv6);
	accepted(OPTIONS(.has_ipv4 = true));
	assert_true(plan.ipv6 && !plan.ipv4);
	accepted(OPTIONS(.has_ipv4 = true, .ipv4 = true, .has_ipv6 = true,
	    .ipv6 = true));
	assert_true(plan.ipv6 && plan.ipv4);
	refused(OPTIONS(.has_ipv4 = true, .has_ipv6 = true),
	    "IPv4 and IPv6 disabled");
	refused(OPTIONS(.has_ipv4 = true, .host = TEXT("10.0.2.9")),
	    "IPv4 disabled but netmask/host/dns provided");
	refused(OPTIONS(.has_ipv6 = true, .ipv6_dns = TEXT("fec0::9")),
	    "IPv6 disabled but prefix/host6/dns6 provided");
	refused(OPTIONS(.has_ipv4 = true, .hostfwd = RULE("::80-:80")),
	    "IPv4 disabled but dhcpstart/hostfwd/guestfwd provided");
}

static void
test_networks_get_a_plan_by_length_mask_or_class(void **state)
{
	static const struct {
		const char *net, *mask, *host, *dhcp;
	} table[] = {
	    {"10.0.0.0", "255.0.0.0", "10.0.2.2", "10.0.2.15"},
	    {"172.16.5.0", "255.240.0.0", "172.16.2.2", "172.16.2.15"},
	    {"150.1.0.0", "255.255.0.0", "150.1.2.2", "150.1.2.15"},
	    {"192.168.9.0", "255.255.0.0", "192.168.2.2", "192.168.2.15"},
	    {"198.18.0.0", "255.254.0.0", "198.18.2.2", "198.18.2.15"},
	    {"203.0.113.0", "255.255.255.0", "203.0.113.2", "203.0.113.15"},
	    {"192.168.9.0/24", "255.255.255.0", "192.168.9.2", "192.168.9.15"},
	    {"192.168.9.99/255.255.255.0", "255.255.255.0", "192.168.9.2",
		"192.168.9.15"},
	    {"192.168.9.32/27", "255.255.255.224", "192.168.9.34",
		"192.168.9.47"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof table / sizeof table[0]; i++) {
		accepted(OPTIONS(.net = TEXT(table[i].net)));
		same4(plan.mask, table[i].mask);
		same4(plan.host, table[i].host);
		same4(plan.dhcp, table[i].dhcp);
	}
	accepted(OPTIONS(.ip = TEXT("192.168.7.0")));
	same4(plan.host, "192.168.7.2");
	accepted(
	    OPTIONS(.ip = TEXT("192.168.7.0"), .net = TEXT("192.168.8.0/24")));
	same4(plan.host, "192.168.8.2");
}

static void
test_bad_networks_are_refused(void **state)
{
	(void)state;
	refused(OPTIONS(.net = TEXT("x")), "Failed to parse netmask");
	refused(OPTIONS(.net = TEXT("10.0.0.0/24x")),
	    "Failed to parse netmask (trailing chars)");
	refused(OPTIONS(.net = TEXT("10.0.0.0/")),
	    "Invalid netmask provided (must be in range 4-32)");
	refused(OPTIONS(.net = TEXT("10.0.0.0/3")),
	    "Invalid netmask provided (must be in range 4-32)");
	refused(OPTIONS(.net = TEXT("10.0.0.0/33")),
	    "Invalid netmask provided (must be in range 4-32)");
	refused(OPTIONS(.net = TEXT("10.0.0.0/255.0.255.0")),
	    "Invalid netmask provided (must be in range 4-32)");
	refused(OPTIONS(.net = TEXT("10.0.0.0/32")),
	    "DNS must be different from host");
	refused(OPTIONS(.net = TEXT("10.0.0.0/28")),
	    "DHCP doesn't belong to network");
}

static void
test_addresses_must_be_in_the_network_and_differ(void **state)
{
	(void)state;
	refused(OPTIONS(.host = TEXT("y")), "Failed to parse host");
	refused(OPTIONS(.host = TEXT("10.0.3.2")),
	    "Host doesn't belong to network");
	refused(OPTIONS(.dns = TEXT("y")), "Failed to parse DNS");
	refused(OPTIONS(.dns = TEXT("10.0.2.2")),
	    "DNS must be different from host");
	accepted(OPTIONS(.dns = TEXT("9.9.9.9")));
	refused(OPTIONS(.dns = TEXT("9.9.9.9"), .has_restrict_ = true,
		    .restrict_ = true),
	    "DNS doesn't belong to network");
	refused(OPTIONS(.dhcpstart = TEXT("y")),
	    "Failed to parse DHCP start address");
	refused(OPTIONS(.dhcpstart = TEXT("10.0.3.9")),
	    "DHCP doesn't belong to network");
	refused(OPTIONS(.dhcpstart = TEXT("10.0.2.2")),
	    "DHCP must be different from host and DNS");
}

static void
test_all_16_leases_are_checked(void **state)
{
	(void)state;
	accepted(OPTIONS(.dhcpstart = TEXT("10.0.2.239")));
	refused(OPTIONS(.dhcpstart = TEXT("10.0.2.240")),
	    "DHCP doesn't belong to network");
	refused(OPTIONS(.dhcpstart = TEXT("10.0.2.0")),
	    "DHCP doesn't belong to network");
	refused(
	    OPTIONS(.dhcpstart = TEXT("10.0.2.15"), .host = TEXT("10.0.2.30")),
	    "DHCP must be different from host and DNS");
	accepted(
	    OPTIONS(.dhcpstart = TEXT("10.0.2.15"), .host = TEXT("10.0.2.31")));
}

static void
test_ipv6_options(void **state)
{
	(void)state;
	accepted(
	    OPTIONS(.ipv6_prefix = TEXT("fd00:1::"), .has_ipv6_prefixlen = true,
		.ipv6_prefixlen = 60, .ipv6_host = TEXT("fd00:1:0:8::5")));
	same6(plan.host6, "fd00:1:0:8::5");
	same6(plan.dns6, "fd00:1::3");
	accepted(OPTIONS(.has_ipv6_prefixlen = true));
	assert_int_equal(plan.prefix6_len, 64);
	refused(
	    OPTIONS(.ipv6_prefix = TEXT("z")), "Failed to parse IPv6 prefix");
	refused(OPTIONS(.has_ipv6_prefixlen = true, .ipv6_prefixlen = 127),
	    "Invalid IPv6 prefix provided (IPv6 prefix length must be between "
	    "0 and 126)");
	refused(OPTIONS(.has_ipv6_prefixlen = true, .ipv6_prefixlen = -1),
	    "Invalid IPv6 prefix provided (IPv6 prefix length must be between "
	    "0 and 126)");
	refused(OPTIONS(.ipv6_host = TEXT("z")), "Failed to parse IPv6 host");
	refused(OPTIONS(.ipv6_host = TEXT("fec0:0:0:1::2")),
	    "IPv6 Host doesn't belong to network");
	refused(OPTIONS(.ipv6_dns = TEXT("z")), "Failed to parse IPv6 DNS");
	refused(OPTIONS(.ipv6_dns = TEXT("2001::1"), .has_restrict_ = true,
		    .restrict_ = true),
	    "IPv6 DNS doesn't belong to network");
}

static void
test_texts_have_limits(void **state)
{
	static char long_[257];
	char bootfile[129];

	(void)state;
	memset(long_, 'x', 256);
	memset(bootfile, 'x', 128);
	bootfile[128] = '\0';
	refused(OPTIONS(.hostname = long_),
	    "'vhostname' parameter cannot exceed 255 bytes");
	refused(OPTIONS(.domainname = long_),
	    "'domainname' parameter cannot exceed 255 bytes");
	refused(OPTIONS(.domainname = TEXT("")),
	    "'domainname' parameter cannot be empty");
	refused(OPTIONS(.tftp_server_name = long_),
	    "'tftp-server-name' parameter cannot exceed 255 bytes");
	refused(OPTIONS(.bootfile = bootfile),
	    "'bootfile' parameter cannot exceed 127 bytes");
	bootfile[127] = '\0';
	accepted(OPTIONS(.bootfile = bootfile));
	refused(OPTIONS(.smb = TEXT("/srv")), "smb and smbserver are not");
}

static void
test_hostfwd_rules_keep_their_order_and_are_unique(void **state)
{
	(void)state;
	accepted(OPTIONS(.hostfwd = RULES(
			     "tcp:127.0.0.1:80-:81", "udp:127.0.0.1:80-:82")));
	assert_int_equal(plan.hostfwd_count, 2);
	assert_int_equal(plan.hostfwd[0].guest_port, 81);
	assert_true(plan.hostfwd[1].udp);
	accepted(OPTIONS(.hostfwd = RULES("::0-:81", "::0-:81")));
	refused(OPTIONS(.hostfwd = RULES("::80-:81", "tcp::80-:82")),
	    "Could not set up host forwarding rule 'tcp::80-:82'");
	refused(OPTIONS(.hostfwd = RULE("x")),
	    "Invalid host forwarding rule 'x' (");
}

static void
test_surprises_are_noted(void **state)
{
	(void)state;
	accepted(OPTIONS(.hostname = TEXT("a")));
	assert_null(plan.note);
	accepted(
	    OPTIONS(.hostname = TEXT("123456789012345678901234567890123")));
	assert_non_null(plan.note);
	accepted(OPTIONS(.has_restrict_ = true, .restrict_ = true,
	    .hostfwd = RULE("tcp::80-:80")));
	assert_null(plan.note);
	accepted(OPTIONS(.has_restrict_ = true, .restrict_ = true,
	    .hostfwd = RULE("udp::80-:80")));
	assert_non_null(plan.note);
}

static void
test_guestfwd_to_an_address(void **state)
{
	(void)state;
	accepted(OPTIONS(.guestfwd = RULES("tcp:10.0.2.100:80-tcp:1.2.3.4:8080",
			     "::22-tcp:[::1]:22")));
	assert_int_equal(plan.guestfwd_count, 2);
	same4(plan.guestfwd[0].server, "10.0.2.100");
	assert_int_equal(plan.guestfwd[0].port, 80);
	assert_int_equal(plan.guestfwd[0].target.in.sin_port, htons(8080));
	same4(plan.guestfwd[1].server, "10.0.2.4");
	assert_int_equal(plan.guestfwd[1].target.sa.sa_family, AF_INET6);
}

static void
test_bad_guestfwd_rules_are_refused(void **state)
{
	static const char *const bad[] = {"", "x", "udp::80-tcp:1.2.3.4:5",
	    "tcp:10.0.2.9", "tcp:10.0.2.9:80", "tcp:y:80-tcp:1.2.3.4:5",
	    "tcp:10.0.2.9:0-tcp:1.2.3.4:5", "tcp:10.0.2.9:65536-tcp:1.2.3.4:5",
	    "tcp:10.0.2.9:8x-tcp:1.2.3.4:5", "tcp:10.0.2.9:-tcp:1.2.3.4:5"};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
		refused(OPTIONS(.guestfwd = RULE(bad[i])),
		    "Invalid guest forwarding rule '");
	refused(OPTIONS(.guestfwd = RULE("tcp:10.0.3.9:80-tcp:1.2.3.4:5")),
	    "Conflicting/invalid host:port in guest forwarding rule '");
	refused(OPTIONS(.guestfwd = RULE("tcp:10.0.2.2:80-tcp:1.2.3.4:5")),
	    "Conflicting/invalid host:port in guest forwarding rule '");
	refused(OPTIONS(.guestfwd = RULES("::80-tcp:1.2.3.4:5",
			    "tcp:10.0.2.4:80-tcp:1.2.3.4:6")),
	    "Conflicting/invalid host:port in guest forwarding rule '");
	refused(OPTIONS(.guestfwd = RULE("::80-cmd:/bin/cat")),
	    "guest forwarding to a command is not available in this build");
	refused(OPTIONS(.guestfwd = RULE("::80-unix:/x")),
	    "Could not open guest forwarding device 'guestfwd.tcp.80'");
	refused(OPTIONS(.guestfwd = RULE("::80-tcp:host:1")),
	    "Could not open guest forwarding device 'guestfwd.tcp.80'");
	refused(OPTIONS(.guestfwd = RULE("::80-tcp:1.2.3.4:0")),
	    "Could not open guest forwarding device 'guestfwd.tcp.80'");
}

static bool
allowed4(const char *to)
{
	uint8_t frame[60] = {[12] = 8};

	assert_int_equal(inet_pton(AF_INET, to, frame + 30), 1);
	return user_frame_allowed(&plan, frame, sizeof frame);
}

static bool
allowed6(const char *to)
{
	uint8_t frame[60] = {[12] = 0x86, [13] = 0xdd};

	assert_int_equal(inet_pton(AF_INET6, to, frame + 38), 1);
	return user_frame_allowed(&plan, frame, sizeof frame);
}

static void
test_frames_to_the_hosts_loopback_do_not_pass(void **state)
{
	uint8_t frame[60] = {[12] = 8};

	(void)state;
	accepted(OPTIONS(0));
	assert_false(allowed4("127.0.0.1"));
	assert_false(allowed4("127.255.255.254"));
	assert_false(allowed4("0.0.0.0"));
	assert_false(allowed4("0.1.2.3"));
	assert_true(allowed4("126.255.255.255"));
	assert_true(allowed4("128.0.0.1"));
	assert_true(allowed4("255.255.255.255"));
	assert_false(allowed6("::1"));
	assert_false(allowed6("::"));
	assert_false(allowed6("::ffff:127.0.0.1"));
	assert_false(allowed6("::ffff:0.0.0.0"));
	assert_false(allowed6("::127.0.0.1"));
	assert_true(allowed6("::ffff:8.8.8.8"));
	assert_true(allowed6("fe80::2"));
	assert_true(allowed6("1::1"));
	/* Too short to say where to: libslirp's to refuse. */
	assert_true(user_frame_allowed(&plan, frame, 14));
	accepted(OPTIONS(.has_host_loopback = true, .host_loopback = true));
	assert_true(allowed4("127.0.0.1"));
	assert_true(allowed6("::1"));
}

/* An IPv4 frame to the name server's usual address. */
static bool
dns_allowed4(uint8_t protocol, unsigned port, unsigned fragment)
{
	uint8_t frame[60] = {[12] = 8, [14] = 0x45, [23] = protocol};

	frame[20] = (uint8_t)(fragment >> 8);
	frame[21] = (uint8_t)fragment;
	assert_int_equal(inet_pton(AF_INET, "10.0.2.3", frame + 30), 1);
	frame[36] = (uint8_t)(port >> 8);
	frame[37] = (uint8_t)port;
	return user_frame_allowed(&plan, frame, sizeof frame);
}

static bool
dns_allowed6(uint8_t protocol, unsigned port)
{
	uint8_t frame[60] = {[12] = 0x86, [13] = 0xdd, [20] = protocol};

	assert_int_equal(inet_pton(AF_INET6, "fec0::3", frame + 38), 1);
	frame[56] = (uint8_t)(port >> 8);
	frame[57] = (uint8_t)port;
	return user_frame_allowed(&plan, frame, sizeof frame);
}

/* The host's name server is often at 127.0.0.53, with all its other ports. */
static void
test_the_name_server_answers_dns_only(void **state)
{
	uint8_t options[60] = {[12] = 8, [14] = 0x4f, [23] = IPPROTO_UDP};

	(void)state;
	accepted(OPTIONS(0));
	assert_true(dns_allowed4(IPPROTO_UDP, 53, 0));
	assert_true(dns_allowed4(IPPROTO_TCP, 53, 0));
	assert_true(
	    dns_allowed4(IPPROTO_UDP, 53, 0x4000)); /* do not fragment */
	assert_true(dns_allowed4(IPPROTO_ICMP, 0, 0));
	assert_false(dns_allowed4(IPPROTO_TCP, 22, 0));
	assert_false(dns_allowed4(IPPROTO_UDP, 0x3500, 0));
	assert_false(dns_allowed4(IPPROTO_TCP, 53, 0x2000)); /* more follow */
	assert_false(dns_allowed4(IPPROTO_TCP, 53, 0x0001)); /* a later one */
	assert_true(dns_allowed6(IPPROTO_UDP, 53));
	assert_false(dns_allowed6(IPPROTO_TCP, 22));
	/* The ports stand behind the frame's end. */
	assert_int_equal(inet_pton(AF_INET, "10.0.2.3", options + 30), 1);
	assert_false(user_frame_allowed(&plan, options, sizeof options));
	accepted(OPTIONS(.has_host_loopback = true, .host_loopback = true));
	assert_true(dns_allowed4(IPPROTO_TCP, 22, 0));
	assert_true(dns_allowed6(IPPROTO_TCP, 22));
}

static void
test_listeners_are_no_sessions(void **state)
{
	(void)state;
#define HEAD "  Protocol[State]    FD  Source\n"
	assert_false(user_table_has_sessions(HEAD));
	assert_false(user_table_has_sessions(
	    HEAD "  TCP[HOST_FORWARD]   5  *\n  UDP[HOST_FORWARD] 4\n"));
	assert_true(user_table_has_sessions(
	    HEAD "  UDP[HOST_FORWARD] 4\n  UDP[236 sec] 8\n"));
	assert_true(user_table_has_sessions(HEAD "  TCP[TIME_WAIT]   -1  *\n"));
#undef HEAD
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_the_usual_plan),
	    cmocka_unit_test(test_one_family_alone),
	    cmocka_unit_test(test_networks_get_a_plan_by_length_mask_or_class),
	    cmocka_unit_test(test_bad_networks_are_refused),
	    cmocka_unit_test(test_addresses_must_be_in_the_network_and_differ),
	    cmocka_unit_test(test_all_16_leases_are_checked),
	    cmocka_unit_test(test_ipv6_options),
	    cmocka_unit_test(test_texts_have_limits),
	    cmocka_unit_test(
		test_hostfwd_rules_keep_their_order_and_are_unique),
	    cmocka_unit_test(test_surprises_are_noted),
	    cmocka_unit_test(test_guestfwd_to_an_address),
	    cmocka_unit_test(test_bad_guestfwd_rules_are_refused),
	    cmocka_unit_test(test_frames_to_the_hosts_loopback_do_not_pass),
	    cmocka_unit_test(test_the_name_server_answers_dns_only),
	    cmocka_unit_test(test_listeners_are_no_sessions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
