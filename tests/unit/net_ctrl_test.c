/*
 * net_ctrl_test.c - a virtio network card's features, config space and control
 * commands: what is obeyed, and that what is refused changes nothing.
 */
#include "backends/backend_net_ctrl.h"

#include "proto/frame_meta.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BIT(n) (UINT64_C(1) << (n))
#define OWN    UINT64_C(0x525400123456)
#define GROUP  UINT64_C(0x01005e000001)

static struct net_ctrl n;
static enum net_ctrl_event event;

static const struct net_ctrl_config full = {
    .mac = OWN,
    .mtu = 9000,
    .pairs = 4,
    .csum = true,
    .guest_csum = true,
    .tso4 = true,
    .tso6 = true,
    .ecn = true,
    .ufo = true,
    .uso = true,
    .guest_tso4 = true,
    .guest_tso6 = true,
    .guest_ecn = true,
    .guest_ufo = true,
    .guest_uso4 = true,
    .guest_uso6 = true,
    .mrg_rxbuf = true,
    .ctrl_vq = true,
    .packed = true,
    .event_idx = true,
    .indirect = true,
};

static void
set_up(void)
{
	net_ctrl_init(&n, &full);
	net_ctrl_ack(&n, net_ctrl_features(&n));
}

/* A driver without these. */
static void
set_up_without(uint64_t features)
{
	net_ctrl_init(&n, &full);
	net_ctrl_ack(&n, net_ctrl_features(&n) & ~features);
}

/* class, cmd, then `len` bytes. */
static uint8_t
command(uint8_t class, uint8_t cmd, const void *data, size_t len)
{
	static uint8_t buf[NET_COMMAND_BYTES_MAX];

	buf[0] = class;
	buf[1] = cmd;
	memcpy(buf + 2, data, len);
	return net_ctrl_command(&n, buf, len + 2, &event);
}

/* It is refused, and nothing is other than it was. */
static void
refused(uint8_t class, uint8_t cmd, const void *data, size_t len)
{
	struct net_ctrl before;

	memcpy(&before, &n, sizeof n);
	assert_int_equal(command(class, cmd, data, len), VIRTIO_NET_ERR);
	assert_int_equal(event, NET_CTRL_NOTHING);
	assert_memory_equal(&before, &n, sizeof n);
}

static void
obeyed(uint8_t class, uint8_t cmd, const void *data, size_t len,
    enum net_ctrl_event expected)
{
	assert_int_equal(command(class, cmd, data, len), VIRTIO_NET_OK);
	assert_int_equal(event, expected);
}

static void
test_all_features_are_offered(void **state)
{
	(void)state;
	net_ctrl_init(&n, &full);
	assert_true(
	    net_ctrl_features(&n) ==
	    (BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(5) | BIT(7) | BIT(8) |
		BIT(9) | BIT(10) | BIT(11) | BIT(12) | BIT(13) | BIT(14) |
		BIT(15) | BIT(16) | BIT(17) | BIT(18) | BIT(19) | BIT(20) |
		BIT(21) | BIT(22) | BIT(23) | BIT(28) | BIT(29) | BIT(32) |
		BIT(34) | BIT(35) | BIT(54) | BIT(55) | BIT(56)));
}

static void
test_a_plain_card_offers_little(void **state)
{
	const struct net_ctrl_config plain = {.mac = OWN, .pairs = 1};

	(void)state;
	net_ctrl_init(&n, &plain);
	assert_true(
	    net_ctrl_features(&n) == (BIT(5) | BIT(16) | BIT(32) | BIT(35)));
}

static void
test_what_a_feature_needs_is_offered_with_it(void **state)
{
	struct net_ctrl_config c = full;

	(void)state;
	c.csum = false;
	net_ctrl_init(&n, &c);
	assert_false(net_ctrl_features(&n) & (BIT(0) | BIT(11) | BIT(12) |
						 BIT(13) | BIT(14) | BIT(56)));
	c = full;
	c.guest_csum = false;
	net_ctrl_init(&n, &c);
	assert_false(
	    net_ctrl_features(&n) & (BIT(1) | BIT(2) | BIT(7) | BIT(8) |
					BIT(9) | BIT(10) | BIT(54) | BIT(55)));
	c = full;
	c.tso4 = c.tso6 = c.guest_tso4 = c.guest_tso6 = false;
	net_ctrl_init(&n, &c);
	assert_false(net_ctrl_features(&n) & (BIT(9) | BIT(13)));
	assert_true(net_ctrl_features(&n) & BIT(14));
	c = full;
	c.ctrl_vq = false;
	net_ctrl_init(&n, &c);
	assert_false(
	    net_ctrl_features(&n) & (BIT(2) | BIT(17) | BIT(18) | BIT(19) |
					BIT(20) | BIT(21) | BIT(22) | BIT(23)));
}

static void
test_only_what_was_offered_may_be_acked(void **state)
{
	(void)state;
	net_ctrl_init(&n, &full);
	assert_true(net_ctrl_features_ok(&n, 0));
	assert_true(net_ctrl_features_ok(&n, net_ctrl_features(&n)));
	assert_false(net_ctrl_features_ok(&n, UINT64_MAX));
	assert_false(net_ctrl_features_ok(&n, BIT(60)));
	assert_true(net_ctrl_features_ok(&n, BIT(32) | BIT(34)));
	assert_false(net_ctrl_features_ok(&n, BIT(34)));
	/* As QEMU does, which keeps STATUS and CTRL_VQ to itself. */
	assert_true(net_ctrl_features_ok(&n, BIT(32) | BIT(21) | BIT(22)));
}

static void
test_acked_features_without_what_they_need_do_nothing(void **state)
{
	const uint8_t on = 1;

	(void)state;
	net_ctrl_init(&n, &full);
	net_ctrl_ack(&n, BIT(32) | BIT(7) | BIT(9) | BIT(18) | BIT(21));
	assert_true(n.acked == BIT(32));
	assert_true(n.guest_offloads == 0);
	assert_int_equal(net_ctrl_queue(&n), -1);
	assert_false(n.filter.known);
	refused(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &on, 1);
}

static void
test_all_pairs_serve_when_the_front_end_counts_them(void **state)
{
	(void)state;
	net_ctrl_init(&n, &full);
	assert_int_equal(n.pairs, 1);
	net_ctrl_ack(&n, BIT(32) | BIT(22));
	assert_int_equal(n.pairs, 4);
	net_ctrl_reset(&n);
	assert_int_equal(n.pairs, 1);
	net_ctrl_ack(&n, BIT(32) | BIT(17) | BIT(22));
	assert_int_equal(n.pairs, 1);
}

static void
test_the_same_features_again_change_nothing(void **state)
{
	struct net_ctrl before;
	const uint8_t off = 0;

	(void)state;
	set_up();
	obeyed(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &off, 1,
	    NET_CTRL_FILTER);
	before = n;
	net_ctrl_ack(&n, net_ctrl_features(&n));
	assert_memory_equal(&before, &n, sizeof n);
	net_ctrl_ack(&n, BIT(32));
	assert_true(n.filter.promisc);
}

static void
test_the_control_queue_is_behind_all_pairs(void **state)
{
	(void)state;
	set_up();
	assert_int_equal(net_ctrl_queue(&n), 8);
	set_up_without(BIT(22));
	assert_int_equal(net_ctrl_queue(&n), 2);
	set_up_without(BIT(17));
	assert_int_equal(net_ctrl_queue(&n), -1);
}

static void
test_header_bytes(void **state)
{
	(void)state;
	set_up();
	assert_int_equal(net_ctrl_header_bytes(&n), 12);
	set_up_without(BIT(15));
	assert_int_equal(net_ctrl_header_bytes(&n), 12);
	set_up_without(BIT(32) | BIT(34));
	assert_int_equal(net_ctrl_header_bytes(&n), 12);
	set_up_without(BIT(32) | BIT(34) | BIT(15));
	assert_int_equal(net_ctrl_header_bytes(&n), 10);
}

static void
test_config_space(void **state)
{
	static const uint8_t all[24] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56,
	    /* link up */ 1, 0, /* pairs */ 4, 0, /* mtu */ 0x28, 0x23};
	uint8_t got[40];
	uint32_t i;

	(void)state;
	set_up();
	memset(got, 0xff, sizeof got);
	net_ctrl_config_read(&n, 0, got, sizeof got);
	assert_memory_equal(got, all, sizeof all);
	for (i = sizeof all; i < sizeof got; i++)
		assert_int_equal(got[i], 0);
	/* One byte longer each time, as UML does. */
	for (i = 1; i <= 6; i++) {
		net_ctrl_config_read(&n, 0, got, i);
		assert_memory_equal(got, all, i);
	}
	net_ctrl_config_read(&n, 10, got, 2);
	assert_memory_equal(got, all + 10, 2);
	memset(got, 0xff, sizeof got);
	net_ctrl_config_read(&n, UINT32_MAX, got, 4);
	assert_memory_equal(got, all + 20, 4);
	n.link_up = false;
	n.announce = true;
	net_ctrl_config_read(&n, 6, got, 2);
	assert_int_equal(got[0], VIRTIO_NET_S_ANNOUNCE);
}

static void
test_a_single_pair_is_not_told(void **state)
{
	const struct net_ctrl_config plain = {.mac = OWN, .pairs = 1};
	uint8_t got[4] = {1, 1, 1, 1};

	(void)state;
	net_ctrl_init(&n, &plain);
	net_ctrl_config_read(&n, 8, got, 4);
	assert_memory_equal(got, "\0\0\0\0", 4);
}

static void
test_config_writes(void **state)
{
	const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};

	(void)state;
	set_up();
	assert_int_equal(net_ctrl_config_write(&n, 0, mac, 6), 0);
	assert_true(n.filter.mac == OWN);
	assert_int_equal(net_ctrl_config_write(&n, 20, mac, 5), -EINVAL);
	assert_int_equal(
	    net_ctrl_config_write(&n, UINT32_MAX, mac, 6), -EINVAL);
	/* Only drivers of the old kind without the command write it. */
	set_up_without(BIT(32) | BIT(34));
	assert_int_equal(net_ctrl_config_write(&n, 0, mac, 6), 0);
	assert_true(n.filter.mac == OWN);
	set_up_without(BIT(32) | BIT(34) | BIT(23));
	assert_int_equal(net_ctrl_config_write(&n, 0, mac, 6), 0);
	assert_true(n.filter.mac == mac_number(mac));
	assert_int_equal(net_ctrl_config_write(&n, 5, mac, 3), 0);
	assert_true(n.filter.mac == UINT64_C(0x020000000002));
	assert_true(n.link_up);
	net_ctrl_reset(&n);
	assert_true(n.filter.mac == OWN);
}

static void
test_rx_modes(void **state)
{
	const uint8_t on = 1, off = 0, any = 0x80;
	const uint8_t value[] = {1, 9, 9}; /* more than is due is ignored */

	(void)state;
	set_up();
	assert_true(n.filter.known && n.filter.promisc);
	obeyed(VIRTIO_NET_CTRL_RX, 0, &off, 1, NET_CTRL_FILTER);
	assert_false(n.filter.promisc);
	assert_true(n.filter_changed);
	obeyed(VIRTIO_NET_CTRL_RX, 0, &any, 1, NET_CTRL_FILTER);
	assert_true(n.filter.promisc);
	obeyed(VIRTIO_NET_CTRL_RX, 1, value, 3, NET_CTRL_FILTER);
	assert_true(n.filter.allmulti);
	obeyed(VIRTIO_NET_CTRL_RX, 2, &on, 1, NET_CTRL_FILTER);
	assert_true(n.filter.alluni);
	obeyed(VIRTIO_NET_CTRL_RX, 3, &on, 1, NET_CTRL_FILTER);
	assert_true(n.filter.nomulti);
	obeyed(VIRTIO_NET_CTRL_RX, 4, &on, 1, NET_CTRL_FILTER);
	assert_true(n.filter.nouni);
	obeyed(VIRTIO_NET_CTRL_RX, 5, &on, 1, NET_CTRL_FILTER);
	assert_true(n.filter.nobcast);
	refused(VIRTIO_NET_CTRL_RX, 6, &on, 1);
	refused(VIRTIO_NET_CTRL_RX, 255, &on, 1);
	refused(VIRTIO_NET_CTRL_RX, 0, &on, 0);
}

static void
test_commands_need_their_feature(void **state)
{
	const uint8_t on = 1, data[8] = {1};

	(void)state;
	set_up_without(BIT(18));
	refused(VIRTIO_NET_CTRL_RX, 0, &on, 1);
	refused(VIRTIO_NET_CTRL_RX, 2, &on, 1);
	refused(VIRTIO_NET_CTRL_MAC, 0, (const uint8_t[8]){0}, 8);
	set_up_without(BIT(20));
	refused(VIRTIO_NET_CTRL_RX, 2, &on, 1);
	refused(VIRTIO_NET_CTRL_RX, 5, &on, 1);
	obeyed(VIRTIO_NET_CTRL_RX, 1, &on, 1, NET_CTRL_FILTER);
	set_up_without(BIT(19) | BIT(23) | BIT(22) | BIT(2) | BIT(21));
	refused(VIRTIO_NET_CTRL_VLAN, 0, data, 2);
	refused(VIRTIO_NET_CTRL_MAC, 1, data, 6);
	refused(VIRTIO_NET_CTRL_MQ, 0, data, 2);
	refused(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, (const uint8_t[8]){0}, 8);
	n.announce = true;
	refused(VIRTIO_NET_CTRL_ANNOUNCE, 0, data, 0);
}

static void
test_unknown_and_short_commands(void **state)
{
	uint8_t class;

	(void)state;
	set_up();
	for (class = 6; class != 0; class ++)
		refused(class, 0, "12345678", 8);
	assert_int_equal(net_ctrl_command(&n, (const uint8_t *)"", 0, &event),
	    VIRTIO_NET_ERR);
	assert_int_equal(net_ctrl_command(&n, (const uint8_t *)"", 1, &event),
	    VIRTIO_NET_ERR);
	refused(VIRTIO_NET_CTRL_MAC, 2, "12345678", 8);
	refused(VIRTIO_NET_CTRL_VLAN, 2, "\1\0", 2);
	refused(VIRTIO_NET_CTRL_ANNOUNCE, 1, "", 0);
	refused(VIRTIO_NET_CTRL_MQ, 1, "\1\0", 2);
	refused(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 1, "\0\0\0\0\0\0\0\0", 8);
}

/* TABLE_SET's data with `uni` and `multi` addresses; returns its length. */
static size_t
fill_tables(uint8_t *out, uint32_t uni, uint32_t multi)
{
	uint8_t *at = out;
	uint32_t i;

	memcpy(at, &uni, 4);
	for (at += 4, i = 0; i < uni; i++, at += 6)
		mac_bytes(OWN + i, at);
	memcpy(at, &multi, 4);
	for (at += 4, i = 0; i < multi; i++, at += 6)
		mac_bytes(GROUP + i, at);
	return (size_t)(at - out);
}

static void
test_mac_tables(void **state)
{
	static const struct {
		uint32_t uni, multi, uni_stored, multi_stored;
		bool uni_over, multi_over;
	} rows[] = {
	    {0, 0, 0, 0, false, false},
	    {1, 2, 1, 2, false, false},
	    {64, 0, 64, 0, false, false},
	    {65, 0, 0, 0, true, false},
	    {65, 64, 0, 64, true, false},
	    {60, 5, 60, 0, false, true},
	    {60, 4, 60, 4, false, false},
	    {64, 1, 64, 0, false, true},
	    {70, 65, 0, 0, true, true},
	    {2, 3, 2, 3, false, false},
	};
	static uint8_t data[4096];
	size_t i, len;
	uint32_t j;

	(void)state;
	set_up();
	for (i = 0; i < sizeof rows / sizeof *rows; i++) {
		len = fill_tables(data, rows[i].uni, rows[i].multi);
		obeyed(VIRTIO_NET_CTRL_MAC, 0, data, len, NET_CTRL_FILTER);
		assert_int_equal(n.filter.uni_count, rows[i].uni_stored);
		assert_int_equal(n.filter.multi_count, rows[i].multi_stored);
		assert_int_equal(n.filter.uni_overflow, rows[i].uni_over);
		assert_int_equal(n.filter.multi_overflow, rows[i].multi_over);
		for (j = 0; j < n.filter.uni_count; j++)
			assert_true(n.filter.table[j] == OWN + j);
		for (j = 0; j < n.filter.multi_count; j++)
			assert_true(n.filter.table[n.filter.uni_count + j] ==
				    GROUP + j);
	}
}

static void
test_mac_tables_of_wrong_length(void **state)
{
	static uint8_t data[4096];
	size_t len, i;

	(void)state;
	set_up();
	len = fill_tables(data, 3, 2);
	obeyed(VIRTIO_NET_CTRL_MAC, 0, data, len, NET_CTRL_FILTER);
	for (i = 0; i < len; i++)
		refused(VIRTIO_NET_CTRL_MAC, 0, data, i);
	refused(VIRTIO_NET_CTRL_MAC, 0, data, len + 1);
	/* Six times these is small in 32 bits. */
	memcpy(data, &(uint32_t){0x2AAAAAAB}, 4);
	refused(VIRTIO_NET_CTRL_MAC, 0, data, len);
	memcpy(data, &(uint32_t){UINT32_MAX}, 4);
	refused(VIRTIO_NET_CTRL_MAC, 0, data, len);
	len = fill_tables(data, 3, 2);
	memcpy(data + 22, &(uint32_t){0x2AAAAAAD}, 4);
	refused(VIRTIO_NET_CTRL_MAC, 0, data, len);
	/* Too many for the table and cut off: an error, no overflow. */
	len = fill_tables(data, 65, 65);
	refused(VIRTIO_NET_CTRL_MAC, 0, data, len - 1);
}

static void
test_mac_address(void **state)
{
	const uint8_t mac[7] = {2, 0, 0, 0, 0, 1};

	(void)state;
	set_up();
	refused(VIRTIO_NET_CTRL_MAC, 1, mac, 5);
	refused(VIRTIO_NET_CTRL_MAC, 1, mac, 7);
	obeyed(VIRTIO_NET_CTRL_MAC, 1, mac, 6, NET_CTRL_FILTER);
	assert_true(n.filter.mac == mac_number(mac));
	net_ctrl_reset(&n);
	assert_true(n.filter.mac == OWN);
	assert_true(n.filter.promisc);
}

static void
test_vlans(void **state)
{
	(void)state;
	set_up();
	assert_true(n.filter.vlan_filter);
	obeyed(VIRTIO_NET_CTRL_VLAN, 0, "\0\0", 2, NET_CTRL_FILTER);
	obeyed(VIRTIO_NET_CTRL_VLAN, 0, "\xff\x0f", 2, NET_CTRL_FILTER);
	assert_true(n.filter.vlan[0] == 1);
	assert_true(n.filter.vlan[63] == BIT(63));
	obeyed(VIRTIO_NET_CTRL_VLAN, 1, "\0\0", 2, NET_CTRL_FILTER);
	assert_true(n.filter.vlan[0] == 0);
	/* One that is not there. */
	obeyed(VIRTIO_NET_CTRL_VLAN, 1, "\0\0", 2, NET_CTRL_FILTER);
	refused(VIRTIO_NET_CTRL_VLAN, 0, "\0\x10", 2);
	refused(VIRTIO_NET_CTRL_VLAN, 1, "\xff\xff", 2);
	refused(VIRTIO_NET_CTRL_VLAN, 0, "\1", 1);
	set_up_without(BIT(19));
	assert_false(n.filter.vlan_filter);
}

static void
test_announce_is_acked_once(void **state)
{
	(void)state;
	set_up();
	refused(VIRTIO_NET_CTRL_ANNOUNCE, 0, "", 0);
	n.announce = true;
	obeyed(VIRTIO_NET_CTRL_ANNOUNCE, 0, "", 0, NET_CTRL_ANNOUNCED);
	assert_false(n.announce);
	assert_false(n.filter_changed);
	refused(VIRTIO_NET_CTRL_ANNOUNCE, 0, "", 0);
	n.announce = true;
	net_ctrl_reset(&n);
	assert_false(n.announce);
}

static void
test_pairs(void **state)
{
	(void)state;
	set_up();
	assert_int_equal(n.pairs, 1);
	obeyed(VIRTIO_NET_CTRL_MQ, 0, "\4\0", 2, NET_CTRL_PAIRS);
	assert_int_equal(n.pairs, 4);
	refused(VIRTIO_NET_CTRL_MQ, 0, "\0\0", 2);
	refused(VIRTIO_NET_CTRL_MQ, 0, "\5\0", 2);
	refused(VIRTIO_NET_CTRL_MQ, 0, "\0\x80", 2);
	refused(VIRTIO_NET_CTRL_MQ, 0, "\1", 1);
	assert_false(n.filter_changed);
	net_ctrl_reset(&n);
	assert_int_equal(n.pairs, 1);
}

static void
test_offloads_are_a_subset_of_what_was_acked(void **state)
{
	uint64_t set;

	(void)state;
	set_up_without(BIT(10));
	assert_int_equal(net_ctrl_takes(&n), OFFLOAD_CSUM | OFFLOAD_TSO4 |
						 OFFLOAD_TSO6 | OFFLOAD_ECN |
						 OFFLOAD_USO4 | OFFLOAD_USO6);
	set = BIT(1) | BIT(7);
	obeyed(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &set, 8, NET_CTRL_OFFLOADS);
	assert_int_equal(net_ctrl_takes(&n), OFFLOAD_CSUM | OFFLOAD_TSO4);
	set = BIT(1) | BIT(10);
	refused(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &set, 8);
	set = BIT(1) | BIT(0);
	refused(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &set, 8);
	refused(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &set, 7);
	/* Large ones need the checksum: alone they are nothing. */
	set = BIT(7) | BIT(9);
	obeyed(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &set, 8, NET_CTRL_OFFLOADS);
	assert_int_equal(net_ctrl_takes(&n), 0);
	set = 0;
	obeyed(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &set, 8, NET_CTRL_OFFLOADS);
	assert_true(n.guest_offloads == 0);
	net_ctrl_reset(&n);
	assert_int_equal(net_ctrl_takes(&n), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_all_features_are_offered),
	    cmocka_unit_test(test_a_plain_card_offers_little),
	    cmocka_unit_test(test_what_a_feature_needs_is_offered_with_it),
	    cmocka_unit_test(test_only_what_was_offered_may_be_acked),
	    cmocka_unit_test(
		test_acked_features_without_what_they_need_do_nothing),
	    cmocka_unit_test(
		test_all_pairs_serve_when_the_front_end_counts_them),
	    cmocka_unit_test(test_the_same_features_again_change_nothing),
	    cmocka_unit_test(test_the_control_queue_is_behind_all_pairs),
	    cmocka_unit_test(test_header_bytes),
	    cmocka_unit_test(test_config_space),
	    cmocka_unit_test(test_a_single_pair_is_not_told),
	    cmocka_unit_test(test_config_writes),
	    cmocka_unit_test(test_rx_modes),
	    cmocka_unit_test(test_commands_need_their_feature),
	    cmocka_unit_test(test_unknown_and_short_commands),
	    cmocka_unit_test(test_mac_tables),
	    cmocka_unit_test(test_mac_tables_of_wrong_length),
	    cmocka_unit_test(test_mac_address),
	    cmocka_unit_test(test_vlans),
	    cmocka_unit_test(test_announce_is_acked_once),
	    cmocka_unit_test(test_pairs),
	    cmocka_unit_test(test_offloads_are_a_subset_of_what_was_acked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
