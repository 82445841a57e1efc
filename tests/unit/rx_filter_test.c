/*
 * rx_filter_test.c - which frames a guest's card takes, case by case in the
 * order of the decision; addresses as text.
 */
#include "proto/rx_filter.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define OWN       UINT64_C(0x525400123456)
#define OTHER     UINT64_C(0x525400123457)
#define GROUP     UINT64_C(0x01005e000001)
#define BROADCAST UINT64_C(0xffffffffffff)

static struct rx_filter f;
static uint8_t frame[64];

/* A filter as after a driver's first command: promiscuous no more. */
static void
set_up(void)
{
	rx_filter_reset(&f, OWN);
	f.known = true;
	f.promisc = false;
}

static bool
takes(uint64_t to)
{
	memset(frame, 0, sizeof frame);
	mac_bytes(to, frame);
	frame[12] = 8; /* IPv4 */
	return rx_filter_accepts(&f, frame, sizeof frame);
}

static bool
takes_tagged(uint64_t to, unsigned tag)
{
	memset(frame, 0, sizeof frame);
	mac_bytes(to, frame);
	frame[12] = 0x81;
	frame[14] = (uint8_t)(tag >> 8);
	frame[15] = (uint8_t)tag;
	return rx_filter_accepts(&f, frame, sizeof frame);
}

static void
add_vlan(unsigned vid)
{
	f.vlan[vid / 64] |= UINT64_C(1) << vid % 64;
}

static void
test_everything_passes_after_a_reset(void **state)
{
	(void)state;
	rx_filter_reset(&f, OWN);
	assert_false(f.known);
	assert_true(takes(OWN));
	assert_true(takes(OTHER));
	assert_true(takes(GROUP));
	assert_true(takes(BROADCAST));
	assert_true(takes_tagged(OTHER, 7));
}

static void
test_a_promiscuous_card_asks_for_no_vlan(void **state)
{
	(void)state;
	set_up();
	f.promisc = true;
	f.vlan_filter = f.nouni = f.nomulti = f.nobcast = true;
	assert_true(takes_tagged(OWN, 7));
	assert_true(takes(GROUP));
	assert_true(takes(BROADCAST));
}

static void
test_unicast_is_for_the_own_address_and_the_table(void **state)
{
	(void)state;
	set_up();
	assert_true(takes(OWN));
	assert_false(takes(OTHER));
	f.table[0] = OTHER;
	f.uni_count = 1;
	assert_true(takes(OTHER));
	assert_true(takes(OWN));
	f.alluni = true;
	assert_true(takes(OTHER + 1));
	f.alluni = false;
	assert_false(takes(OTHER + 1));
	f.uni_overflow = true;
	assert_true(takes(OTHER + 1));
	/* None is stronger than all, and than the own address. */
	f.alluni = f.nouni = true;
	assert_false(takes(OTHER + 1));
	assert_false(takes(OWN));
	assert_true(takes(BROADCAST));
}

static void
test_multicast_is_for_the_table(void **state)
{
	(void)state;
	set_up();
	assert_false(takes(GROUP));
	/* Behind the unicast entries, which are none of its own. */
	f.table[0] = OTHER;
	f.table[1] = GROUP;
	f.uni_count = f.multi_count = 1;
	assert_true(takes(GROUP));
	assert_true(takes(OTHER));
	assert_false(takes(GROUP + 1));
	f.allmulti = true;
	assert_true(takes(GROUP + 1));
	f.allmulti = false;
	f.multi_overflow = true;
	assert_true(takes(GROUP + 1));
	f.nomulti = true;
	assert_false(takes(GROUP + 1));
	assert_false(takes(GROUP));
	/* Broadcast has a switch of its own. */
	assert_true(takes(BROADCAST));
}

static void
test_a_group_in_the_unicast_part_is_not_a_group(void **state)
{
	(void)state;
	set_up();
	f.table[0] = GROUP;
	f.uni_count = 1;
	assert_false(takes(GROUP));
	f.uni_count = 0;
	f.multi_count = 1;
	f.table[0] = OTHER;
	assert_false(takes(OTHER));
}

static void
test_broadcast_has_its_switch(void **state)
{
	(void)state;
	set_up();
	assert_true(takes(BROADCAST));
	f.nobcast = true;
	f.allmulti = true;
	assert_false(takes(BROADCAST));
	assert_true(takes(GROUP));
}

static void
test_vlans_count_once_the_driver_filters_them(void **state)
{
	(void)state;
	set_up();
	assert_true(takes_tagged(OWN, 5));
	f.vlan_filter = true;
	assert_false(takes_tagged(OWN, 5));
	assert_true(takes(OWN));
	add_vlan(5);
	add_vlan(4095);
	assert_true(takes_tagged(OWN, 5));
	assert_true(takes_tagged(OWN, 4095));
	assert_false(takes_tagged(OWN, 4));
	assert_false(takes_tagged(OWN, 6));
	assert_false(takes_tagged(BROADCAST, 6));
	/* Priority and DEI are not part of the number. */
	assert_true(takes_tagged(OWN, 0xf005));
	/* A tag does not make it anybody's. */
	assert_false(takes_tagged(OTHER, 5));
}

static void
test_priority_tags_need_vlan_0(void **state)
{
	(void)state;
	set_up();
	f.vlan_filter = true;
	assert_false(takes_tagged(OWN, 0xe000));
	add_vlan(0);
	assert_true(takes_tagged(OWN, 0xe000));
}

static void
test_a_tag_that_is_cut_off_is_no_tag(void **state)
{
	(void)state;
	set_up();
	f.vlan_filter = true;
	add_vlan(0);
	(void)takes_tagged(OWN, 0);
	assert_false(rx_filter_accepts(&f, frame, 14));
	assert_false(rx_filter_accepts(&f, frame, 15));
	assert_true(rx_filter_accepts(&f, frame, 16));
}

static void
test_every_entry_of_a_full_table_counts(void **state)
{
	uint32_t i;

	(void)state;
	set_up();
	for (i = 0; i < RX_FILTER_MACS; i++)
		f.table[i] = i < 29 ? OTHER + i : GROUP + i;
	f.uni_count = 29;
	f.multi_count = RX_FILTER_MACS - 29;
	for (i = 0; i < RX_FILTER_MACS; i++)
		assert_true(takes(f.table[i]));
	assert_false(takes(OTHER + 29));
	assert_false(takes(GROUP + 28));
	assert_false(takes(GROUP + RX_FILTER_MACS));
}

static void
test_equal_filters_differ_in_nothing_that_counts(void **state)
{
	struct rx_filter g;

	(void)state;
	set_up();
	g = f;
	assert_true(rx_filter_equal(&f, &g));
	g.table[0] = OTHER; /* behind the end */
	assert_true(rx_filter_equal(&f, &g));
	g.uni_count = 1;
	assert_false(rx_filter_equal(&f, &g));
	f.uni_count = 1;
	assert_false(rx_filter_equal(&f, &g));
	f.table[0] = OTHER;
	assert_true(rx_filter_equal(&f, &g));
	g.vlan[63] = 1;
	assert_false(rx_filter_equal(&f, &g));
	g = f;
	g.nobcast = true;
	assert_false(rx_filter_equal(&f, &g));
	g = f;
	g.mac++;
	assert_false(rx_filter_equal(&f, &g));
	g = f;
	g.multi_overflow = true;
	assert_false(rx_filter_equal(&f, &g));
}

static void
test_addresses_as_text(void **state)
{
	static const char *const wrong[] = {"", "52:54:00:12:34",
	    "52:54:00:12:34:", "52:54:00:12:34:56:", "52:54:00:12:34:56:78",
	    "525400123456", "52:54:00:12:34:5g", "52:54:00:12:34:567",
	    "52::54:00:12:34", " 52:54:00:12:34:56", "52:54:00:12:34:0x",
	    "52.54.00.12.34.56", "-2:54:00:12:34:56"};
	char text[MAC_TEXT_BYTES];
	uint64_t mac = 0;
	uint8_t bytes[6];
	size_t i;

	(void)state;
	assert_int_equal(mac_parse("52:54:00:12:34:56", &mac), 0);
	assert_true(mac == OWN);
	assert_int_equal(mac_parse("AB-cd-Ef-01-23-45", &mac), 0);
	assert_string_equal(mac_text(mac, text), "ab:cd:ef:01:23:45");
	assert_int_equal(mac_parse("2:0:0:0:a:1", &mac), 0);
	assert_string_equal(mac_text(mac, text), "02:00:00:00:0a:01");
	assert_string_equal(mac_text(BROADCAST, text), "ff:ff:ff:ff:ff:ff");
	mac_bytes(OWN, bytes);
	assert_int_equal(bytes[0], 0x52);
	assert_int_equal(bytes[5], 0x56);
	assert_true(mac_number(bytes) == OWN);
	for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		mac = OWN;
		if (mac_parse(wrong[i], &mac) != -EINVAL)
			fail_msg("taken: %s", wrong[i]);
		assert_true(mac == OWN);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_everything_passes_after_a_reset),
	    cmocka_unit_test(test_a_promiscuous_card_asks_for_no_vlan),
	    cmocka_unit_test(test_unicast_is_for_the_own_address_and_the_table),
	    cmocka_unit_test(test_multicast_is_for_the_table),
	    cmocka_unit_test(test_a_group_in_the_unicast_part_is_not_a_group),
	    cmocka_unit_test(test_broadcast_has_its_switch),
	    cmocka_unit_test(test_vlans_count_once_the_driver_filters_them),
	    cmocka_unit_test(test_priority_tags_need_vlan_0),
	    cmocka_unit_test(test_a_tag_that_is_cut_off_is_no_tag),
	    cmocka_unit_test(test_every_entry_of_a_full_table_counts),
	    cmocka_unit_test(test_equal_filters_differ_in_nothing_that_counts),
	    cmocka_unit_test(test_addresses_as_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
