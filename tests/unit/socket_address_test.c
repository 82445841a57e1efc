/*
 * socket_address_test.c - SocketAddress options: what is opened for them.
 * (Refusals: tests/system/test_49_stream.py.)
 */
#include "broker/socket_address.h"

#include "proto/addr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct err err;
static struct launch_open open_;

static struct socket_address
inet(const char *host, const char *port)
{
	struct socket_address a = {.type = SOCKET_ADDRESS_TYPE_INET};

	a.u.inet.host = (char *)(uintptr_t)host;
	a.u.inet.port = (char *)(uintptr_t)port;
	return a;
}

static struct socket_address
path(const char *name)
{
	struct socket_address a = {.type = SOCKET_ADDRESS_TYPE_UNIX};

	a.u.unix_.path = (char *)(uintptr_t)name;
	return a;
}

static int
plan(const struct socket_address *local, const struct socket_address *remote)
{
	memset(&open_, 0, sizeof open_);
	return socket_address_plan(local, remote, &open_, &err);
}

static void
expect(const struct addr *a, const char *want)
{
	char text[ADDR_TEXT_BYTES];

	assert_string_equal(addr_text(a, text), want);
}

static void
test_hosts_and_ports(void **state)
{
	struct socket_address a = inet("127.0.0.1", "80"), b = inet("::1", "0");

	(void)state;
	assert_int_equal(plan(&a, &b), 0);
	expect(&open_.local, "127.0.0.1:80");
	expect(&open_.remote, "[::1]:0");
	assert_int_equal(plan(NULL, &a), 0);
	assert_int_equal(open_.local.len, 0);
}

static void
test_an_empty_host_is_every_address_of_a_family(void **state)
{
	struct socket_address a = inet("", "80");

	(void)state;
	assert_int_equal(plan(&a, NULL), 0);
	expect(&open_.local, "0.0.0.0:80");
	a.u.inet.has_ipv4 = true; /* off, so it is the other */
	assert_int_equal(plan(&a, NULL), 0);
	expect(&open_.local, "[::]:80");
	a.u.inet.has_ipv6 = true; /* both off: neither is left */
	assert_true(plan(&a, NULL) < 0);
}

static void
test_a_name_is_for_later(void **state)
{
	struct socket_address a = inet("a.test", "80");

	(void)state;
	assert_true(socket_address_is_name(&a));
	assert_int_equal(socket_address_family(&a.u.inet), AF_UNSPEC);
	assert_int_equal(plan(&a, NULL), 0);
	assert_int_equal(open_.local.len, 0);
	assert_int_equal(open_.local.in.sin_port, htons(80));
	a.u.inet.has_ipv4 = true; /* off */
	assert_int_equal(socket_address_family(&a.u.inet), AF_INET6);
	a.u.inet.ipv4 = true;
	assert_int_equal(socket_address_family(&a.u.inet), AF_INET);
	a.u.inet.has_numeric = a.u.inet.numeric = true;
	assert_true(plan(&a, NULL) < 0);
	a = inet("127.0.0.1", "80");
	assert_false(socket_address_is_name(&a));
	assert_false(socket_address_is_name(NULL));
}

static void
test_a_path_never_is_a_host_and_a_host_never_a_path(void **state)
{
	struct socket_address a = path("1.2.3.4:80"), b = inet("/x/y", "1");

	(void)state;
	assert_int_equal(plan(&a, NULL), 0);
	assert_int_equal(open_.local.sa.sa_family, AF_UNIX);
	expect(&open_.local, "1.2.3.4:80");
	assert_true(plan(&b, NULL) < 0);
	b = inet("@x", "1");
	assert_true(plan(&b, NULL) < 0);
	b = inet("unix:/x", "1");
	assert_true(plan(&b, NULL) < 0);
}

static void
test_abstract_names_end_with_their_last_byte_unless_loose(void **state)
{
	struct socket_address a = path("name");
	size_t head = offsetof(struct sockaddr_un, sun_path);

	(void)state;
	a.u.unix_.has_abstract = a.u.unix_.abstract = true;
	assert_int_equal(plan(&a, NULL), 0);
	assert_int_equal(open_.local.len, head + 5);
	assert_int_equal(open_.local.un.sun_path[0], 0);
	a.u.unix_.has_tight = true;
	assert_int_equal(plan(&a, NULL), 0);
	assert_int_equal(open_.local.len, sizeof(struct sockaddr_un));
	assert_memory_equal(open_.local.un.sun_path + 1, "name\0\0", 6);
}

static void
test_each_sort_has_its_kind_of_resource(void **state)
{
	struct socket_address ip = inet("10.0.0.1", "1"), un = path("/x"),
			      group = inet("239.1.1.1", "1"),
			      fd = {.type = SOCKET_ADDRESS_TYPE_FD};
	const struct {
		const struct socket_address *a;
		enum resource_kind kind;
	} rows[] = {{&ip, RES_UDP}, {&group, RES_MCAST}, {&un, RES_UNIX_DGRAM},
	    {&fd, RES_FD}};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		for (size_t k = 0; k < 4; k++)
			assert_int_equal(
			    socket_address_wants(rows[i].a, rows[k].kind),
			    i == k);
		assert_int_equal(
		    socket_address_wants(rows[i].a, RES_STREAM_CONNECT),
		    rows[i].a != &fd);
	}
}

static void
test_the_address_in_a_group_is_an_interfaces(void **state)
{
	struct socket_address local = inet("127.0.0.1", "77");
	struct socket_address group = inet("239.1.1.1", "88");

	(void)state;
	assert_int_equal(plan(&local, &group), 0);
	expect(&open_.local, "127.0.0.1:0");
	expect(&open_.remote, "239.1.1.1:88");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_hosts_and_ports),
	    cmocka_unit_test(test_a_name_is_for_later),
	    cmocka_unit_test(test_an_empty_host_is_every_address_of_a_family),
	    cmocka_unit_test(
		test_a_path_never_is_a_host_and_a_host_never_a_path),
	    cmocka_unit_test(
		test_abstract_names_end_with_their_last_byte_unless_loose),
	    cmocka_unit_test(test_each_sort_has_its_kind_of_resource),
	    cmocka_unit_test(test_the_address_in_a_group_is_an_interfaces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
