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
#include <stdio.h>

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

/* One type of QEMU 2.12's net.json: members as name:type, * for optional. */
static const struct {
	const struct desc *d;
	const char *members;
} qemu_2_12[] = {
    {&desc_netdev_none_options, ""},
    {&desc_net_legacy_nic_options,
	"*netdev:str *macaddr:str *model:str *addr:str *vectors:uint32 "},
    {&desc_string, "str:str "},
    {&desc_netdev_user_options,
	"*hostname:str *restrict:bool *ipv4:bool *ipv6:bool *ip:str *net:str "
	"*host:str *tftp:str *bootfile:str *dhcpstart:str *dns:str "
	"*dnssearch:[String] *ipv6-prefix:str *ipv6-prefixlen:int "
	"*ipv6-host:str *ipv6-dns:str *smb:str *smbserver:str "
	"*hostfwd:[String] *guestfwd:[String] "},
    {&desc_netdev_tap_options,
	"*ifname:str *fd:str *fds:str *script:str *downscript:str *br:str "
	"*helper:str *sndbuf:size *vnet_hdr:bool *vhost:bool *vhostfd:str "
	"*vhostfds:str *vhostforce:bool *queues:uint32 *poll-us:uint32 "},
    {&desc_netdev_socket_options,
	"*fd:str *listen:str *connect:str *mcast:str *localaddr:str "
	"*udp:str "},
    {&desc_netdev_l2tpv3_options,
	"src:str dst:str *srcport:str *dstport:str *ipv6:bool *udp:bool "
	"*cookie64:bool *counter:bool *pincounter:bool *txcookie:uint64 "
	"*rxcookie:uint64 txsession:uint32 *rxsession:uint32 "
	"*offset:uint32 "},
    {&desc_netdev_vde_options,
	"*sock:str *port:uint16 *group:str *mode:uint16 "},
    {&desc_netdev_dump_options, "*len:size *file:str "},
    {&desc_netdev_bridge_options, "*br:str *helper:str "},
    {&desc_netdev_hub_port_options, "hubid:int32 *netdev:str "},
    {&desc_netdev_netmap_options, "ifname:str *devname:str "},
    {&desc_netdev_vhost_user_options,
	"chardev:str *vhostforce:bool *queues:int "},
    {&desc_netdev, "id:str type:NetClientDriver "},
    {&desc_net_legacy, "*vlan:int32 *id:str *name:str opts:"
		       "NetLegacyOptions "},
    {&desc_net_legacy_options, "type:NetLegacyOptionsType "},
    {&desc_rx_filter_info,
	"name:str promiscuous:bool multicast:RxState unicast:RxState "
	"vlan:RxState broadcast-allowed:bool multicast-overflow:bool "
	"unicast-overflow:bool main-mac:str vlan-table:[int] "
	"unicast-table:[str] multicast-table:[str] "},
    {&desc_set_link_args, "name:str up:bool "},
    {&desc_netdev_del_args, "id:str "},
    {&desc_query_rx_filter_args, "*name:str "},
    {&desc_nic_rx_filter_changed_data, "*name:str path:str "},
};

/* What we added to QEMU's types; must be optional. */
static const char *const added[] = {"domainname", "tftp-server-name",
    "host-loopback", "reconnect-ms", "flow", "ring-size", "large-frames"};

/* Those of cards are many and have names that QEMU has elsewhere. */
static bool
is_added_to_nic(const struct desc_member *m)
{
	const struct desc *d = &desc_nic_properties;
	size_t i;

	for (i = 0; i < d->member_count; i++) {
		if (strcmp(m->name, d->members[i].name) == 0)
			return m->optional;
	}
	return m->optional && strcmp(m->name, "mtu") == 0;
}

static bool
is_added(const struct desc *d, const struct desc_member *m)
{
	size_t i;

	if (d == &desc_net_legacy_nic_options)
		return is_added_to_nic(m);
	for (i = 0; i < sizeof added / sizeof *added; i++) {
		if (m->optional && strcmp(m->name, added[i]) == 0)
			return true;
	}
	return false;
}

static void
test_net_json_has_the_members_of_qemu_2_12_by_name_and_type(void **state)
{
	char text[1024];
	size_t i, k;

	(void)state;
	for (i = 0; i < sizeof qemu_2_12 / sizeof *qemu_2_12; i++) {
		const struct desc *d = qemu_2_12[i].d;
		size_t used = 0;

		text[0] = 0;
		for (k = 0; k < d->member_count; k++) {
			const struct desc_member *m = &d->members[k];

			if (is_added(d, m))
				continue;
			used += (size_t)snprintf(text + used,
			    sizeof text - used, "%s%s:%s ",
			    m->optional ? "*" : "", m->name, m->type->name);
			assert_true(used < sizeof text);
		}
		assert_string_equal(text, qemu_2_12[i].members);
	}
}

static void
test_net_json_has_the_values_of_qemu_2_12(void **state)
{
	static const struct {
		const struct desc *d;
		const char *values;
	} rows[] = {
	    {&desc_net_client_driver,
		"none nic user tap l2tpv3 socket vde dump bridge hubport "
		"netmap vhost-user "},
	    {&desc_net_legacy_options_type,
		"none nic user tap l2tpv3 socket vde dump bridge netmap "
		"vhost-user "},
	    {&desc_net_filter_direction, "all rx tx "},
	    {&desc_rx_state, "normal none all "},
	};
	char text[256];
	size_t i, k, used;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof *rows; i++) {
		for (used = 0, k = 0; k < rows[i].d->name_count; k++) {
			/* Types of QEMU 7.2 */
			if (strcmp(rows[i].d->names[k], "stream") == 0 ||
			    strcmp(rows[i].d->names[k], "dgram") == 0)
				continue;
			used += (size_t)snprintf(text + used,
			    sizeof text - used, "%s ", rows[i].d->names[k]);
		}
		assert_string_equal(text, rows[i].values);
	}
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
		test_net_json_has_the_members_of_qemu_2_12_by_name_and_type),
	    cmocka_unit_test(test_net_json_has_the_values_of_qemu_2_12),
	    cmocka_unit_test(
		test_text_is_utf8_without_nul_overlong_or_surrogate),
	    cmocka_unit_test(test_integers_keep_sign_and_width),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
