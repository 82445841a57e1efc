/*
 * keyval_test.c - option text to values, with QEMU's grammar and words.
 */
#include "gen/types.h"
#include "proto/keyval.h"
#include "proto/scalar.h"
#include "tests/unit/value_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
take(const char *text, struct netdev *n)
{
	struct err e;

	memset(n, 0, sizeof *n);
	if (keyval_decode(&desc_netdev, n, text, "type", &e) < 0)
		fail_msg("%s: %s", text, e.text);
}

static void
test_the_first_item_may_omit_its_key(void **state)
{
	struct netdev n;

	(void)state;
	take("hubport,id=a,hubid=0x10", &n);
	assert_int_equal(n.type, NET_CLIENT_DRIVER_HUBPORT);
	assert_string_equal(n.id, "a");
	assert_int_equal(n.u.hubport.hubid, 16);
	desc_free(&desc_netdev, &n);
	take("id=a,type=hubport,hubid=-1,", &n);
	assert_int_equal(n.u.hubport.hubid, -1);
	desc_free(&desc_netdev, &n);
}

static void
test_two_commas_are_one_in_a_value(void **state)
{
	struct netdev n;

	(void)state;
	take("dump,id=d,file=/a,,b=c,,,len=1k", &n);
	assert_string_equal(n.u.dump.file, "/a,b=c,");
	assert_true(n.u.dump.len == 1024);
	desc_free(&desc_netdev, &n);
}

static void
test_repeated_keys_make_lists_and_the_last_scalar_counts(void **state)
{
	struct netdev n;

	(void)state;
	take("user,id=u,hostfwd=tcp::1-:2,net=10.0.0.0/8,hostfwd=udp::3-:4,"
	     "net=10.1.0.0/16",
	    &n);
	assert_int_equal(n.u.user.hostfwd.count, 2);
	assert_string_equal(n.u.user.hostfwd.items[0].str, "tcp::1-:2");
	assert_string_equal(n.u.user.hostfwd.items[1].str, "udp::3-:4");
	assert_string_equal(n.u.user.net, "10.1.0.0/16");
	desc_free(&desc_netdev, &n);
}

static void
test_dotted_keys_reach_into_lists_and_structs(void **state)
{
	struct netdev_stream_connected_data d = {0};
	struct netdev n;
	struct err e;

	(void)state;
	take("user,id=u,hostfwd.1.str=b,hostfwd.0=a", &n);
	assert_int_equal(n.u.user.hostfwd.count, 2);
	assert_string_equal(n.u.user.hostfwd.items[0].str, "a");
	assert_string_equal(n.u.user.hostfwd.items[1].str, "b");
	desc_free(&desc_netdev, &n);
	assert_int_equal(keyval_decode(&desc_netdev_stream_connected_data, &d,
			     "netdev-id=a,addr.type=inet,addr.host=h,"
			     "addr.port=1",
			     NULL, &e),
	    0);
	assert_string_equal(d.addr.u.inet.port, "1");
	desc_free(&desc_netdev_stream_connected_data, &d);
}

static void
test_members_of_a_mandatory_struct_may_stand_alone(void **state)
{
	struct net_legacy l = {0};
	struct err e;

	(void)state;
	assert_int_equal(keyval_decode(&desc_net_legacy, &l,
			     "user,vlan=3,hostname=h", "type", &e),
	    0);
	assert_int_equal(l.vlan, 3);
	assert_int_equal(l.opts.type, NET_LEGACY_OPTIONS_TYPE_USER);
	assert_string_equal(l.opts.u.user.hostname, "h");
	desc_free(&desc_net_legacy, &l);
}

static void
test_booleans_may_be_short(void **state)
{
	struct netdev n;

	(void)state;
	take("user,id=u,restrict,noipv4,ipv6=yes", &n);
	assert_true(n.u.user.has_restrict_ && n.u.user.restrict_);
	assert_true(n.u.user.has_ipv4 && !n.u.user.ipv4);
	assert_true(n.u.user.has_ipv6 && n.u.user.ipv6);
	desc_free(&desc_netdev, &n);
}

static void
test_ipv6_net_is_split(void **state)
{
	struct netdev n;

	(void)state;
	take("user,id=u,ipv6-net=fd00::/48", &n);
	assert_string_equal(n.u.user.ipv6_prefix, "fd00::");
	assert_int_equal(n.u.user.ipv6_prefixlen, 48);
	desc_free(&desc_netdev, &n);
	take("user,id=u,ipv6-net=fd00::", &n);
	assert_int_equal(n.u.user.ipv6_prefixlen, 64);
	desc_free(&desc_netdev, &n);
}

/* A value of one item as option text. */
static void
print_value(FILE *f, const struct desc *d, const void *v)
{
	const char *p;
	uint64_t n;

	if (d->kind == DESC_STRUCT) /* String */
		d = d->members[0].type;
	if (d->kind == DESC_STR) {
		for (p = *(char *const *)v; *p; p++)
			fprintf(f, *p == ',' ? ",%c" : "%c", *p);
		return;
	}
	n = d->kind == DESC_BOOL ? *(const bool *)v : desc_int_get(d, v);
	if (d->kind == DESC_BOOL)
		fputs(n ? "on" : "off", f);
	else if (d->kind == DESC_ENUM)
		fputs(d->names[n], f);
	else if (d->kind == DESC_INT)
		fprintf(f, "%lld", (long long)n);
	else
		fprintf(f, "%llu", (unsigned long long)n);
}

static void
print_list(FILE *f, const char *name, const struct desc_list *list,
    const struct desc *item)
{
	size_t k;

	for (k = 0; k < list->count; k++) {
		fprintf(f, "%s=", name);
		print_value(f, item, (char *)list->items + k * item->bytes);
		fputc(',', f);
	}
}

static void
print_members(FILE *f, const char *prefix, const struct desc *d, const void *v)
{
	char name[128], deeper[130];
	size_t i;

	for (i = 0; i < d->member_count; i++) {
		const struct desc_member *m = &d->members[i];

		if (!desc_present(m, v))
			continue;
		snprintf(name, sizeof name, "%s%s", prefix, m->name);
		if (m->type->kind == DESC_LIST) {
			print_list(f, name, desc_value(m, v), m->type->item);
		} else if (m->type == &desc_socket_address) {
			const struct socket_address *a = desc_value(m, v);

			snprintf(deeper, sizeof deeper, "%s.", name);
			print_members(f, deeper, m->type, a);
			print_members(
			    f, deeper, desc_branch_of(m->type, a), &a->u);
		} else {
			fprintf(f, "%s=", name);
			print_value(f, m->type, desc_value(m, v));
			fputc(',', f);
		}
	}
}

/* A list that is there and empty cannot be written as an option. */
static void
drop_empty_lists(struct netdev_user_options *o)
{
	o->has_dnssearch = o->has_dnssearch && o->dnssearch.count;
	o->has_hostfwd = o->has_hostfwd && o->hostfwd.count;
	o->has_guestfwd = o->has_guestfwd && o->guestfwd.count;
}

static void
test_every_netdev_comes_back_from_its_option_text(void **state)
{
	struct dice r = {2018};
	struct netdev a, b;
	struct err e;
	size_t i, size;
	char *text;
	FILE *f;

	(void)state;
	for (i = 0; i < 3000; i++) {
		memset(&a, 0, sizeof a);
		memset(&b, 0, sizeof b);
		value_fill(&r, &desc_netdev, &a);
		if (a.type == NET_CLIENT_DRIVER_USER)
			drop_empty_lists(&a.u.user);
		f = open_memstream(&text, &size);
		assert_non_null(f);
		print_members(f, "", &desc_netdev, &a);
		print_members(f, "", desc_branch_of(&desc_netdev, &a), &a.u);
		fclose(f);
		if (keyval_decode(&desc_netdev, &b, text, "type", &e) < 0)
			fail_msg("%s: %s", text, e.text);
		assert_true(desc_equal(&desc_netdev, &a, &b));
		free(text);
		desc_free(&desc_netdev, &a);
		desc_free(&desc_netdev, &b);
	}
}

static void
test_errors_have_the_words_that_users_know(void **state)
{
	static const struct {
		const char *text, *error;
	} rows[] = {
	    {"user", "Parameter 'id' is missing"},
	    {"", "Parameter 'id' is missing"},
	    {"id=a", "Parameter 'type' is missing"},
	    {"nosuch,id=a", "Parameter 'type' does not accept value 'nosuch'"},
	    {"user,id=a,bogus=1", "Invalid parameter 'bogus'"},
	    {"user,id=a,bogus", "Invalid parameter 'bogus'"},
	    {"user,id=a,=1", "Invalid parameter ''"},
	    {"user,id=a,hubid=1", "Invalid parameter 'hubid'"},
	    {"user,id=a,restrict=1",
		"Parameter 'restrict' expects 'on' or 'off'"},
	    {"user,id=a,net", "Expected '=' after parameter 'net'"},
	    {"hubport,id=a", "Parameter 'hubid' is missing"},
	    {"hubport,id=a,hubid=x",
		"Parameter 'hubid' expects an int64 value"},
	    {"hubport,id=a,hubid=", "Parameter 'hubid' expects an int64 value"},
	    {"hubport,id=a,hubid=2147483648",
		"Parameter 'hubid' expects int32_t"},
	    {"vde,id=a,port=70000", "Parameter 'port' expects uint16_t"},
	    {"vde,id=a,port=-1", "Parameter 'port' expects a uint64 value"},
	    {"tap,id=a,sndbuf=1mb", "Parameter 'sndbuf' expects a size value"},
	    {"tap,id=a,sndbuf=1Z", "Parameter 'sndbuf' expects a size value"},
	    {"user,id=a,ipv6-net=fe::/x",
		"Parameter 'ipv6-prefixlen' expects a number"},
	    {"user,id=a,hostfwd.1=x", "Parameter 'hostfwd.0' is missing"},
	    {"user,id=a,hostfwd.0=x,hostfwd.2=y",
		"Invalid parameter 'hostfwd.2'"},
	    {"user,id=a,hostfwd=x,hostfwd.0=y",
		"Parameters 'hostfwd.*' used inconsistently"},
	    {"user,id=a,hostname=\xff",
		"Parameter 'hostname' is not valid UTF-8"},
	};
	struct netdev n = {0}, empty = {0};
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_true(keyval_decode(&desc_netdev, &n, rows[i].text,
				"type", &e) < 0);
		assert_string_equal(e.text, rows[i].error);
		assert_memory_equal(&n, &empty, sizeof n);
	}
}

static void
test_sizes_have_suffixes_and_fractions(void **state)
{
	static const struct {
		const char *text;
		int rc;
		uint64_t size;
	} rows[] = {{"0", 0, 0}, {"1", 0, 1}, {"1b", 0, 1}, {"1k", 0, 1024},
	    {"1.5K", 0, 1536}, {"0.5k", 0, 512}, {"2M", 0, 2 << 20},
	    {"0x10", 0, 16}, {"010", 0, 10}, {"1.5", -22, 0}, {"1.k", -22, 0},
	    {".5k", -22, 0}, {"1kk", -22, 0}, {"-1", -22, 0}, {" 1", -22, 0},
	    {"", -22, 0}, {"k", -22, 0}, {"15E", 0, UINT64_C(15) << 60},
	    {"16E", -34, 0}, {"18446744073709551615", 0, UINT64_MAX},
	    {"18446744073709551616", -34, 0}};
	uint64_t size;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof *rows; i++) {
		size = 0;
		assert_int_equal(
		    scalar_parse(&desc_size, rows[i].text, &size), rows[i].rc);
		assert_true(size == rows[i].size);
	}
}

static void
test_too_much_is_refused(void **state)
{
	char *text = malloc(KEYVAL_TEXT_MAX + 1);
	struct netdev n = {0};
	struct err e;
	size_t i;

	(void)state;
	assert_non_null(text);
	memset(text, 'a', KEYVAL_TEXT_MAX);
	text[KEYVAL_TEXT_MAX] = 0;
	assert_true(keyval_decode(&desc_netdev, &n, text, "type", &e) < 0);
	assert_string_equal(e.text, "Option is too long");
	for (i = 0; i + 1 < KEYVAL_TEXT_MAX; i += 2)
		memcpy(text + i, "a,", 2);
	text[2000] = 0;
	assert_true(keyval_decode(&desc_netdev, &n, text, "type", &e) < 0);
	assert_string_equal(e.text, "Too many options");
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_the_first_item_may_omit_its_key),
	    cmocka_unit_test(test_two_commas_are_one_in_a_value),
	    cmocka_unit_test(
		test_repeated_keys_make_lists_and_the_last_scalar_counts),
	    cmocka_unit_test(test_dotted_keys_reach_into_lists_and_structs),
	    cmocka_unit_test(
		test_members_of_a_mandatory_struct_may_stand_alone),
	    cmocka_unit_test(test_booleans_may_be_short),
	    cmocka_unit_test(test_ipv6_net_is_split),
	    cmocka_unit_test(test_every_netdev_comes_back_from_its_option_text),
	    cmocka_unit_test(test_errors_have_the_words_that_users_know),
	    cmocka_unit_test(test_sizes_have_suffixes_and_fractions),
	    cmocka_unit_test(test_too_much_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
