/*
 * core_nic_filter_test.c - receive filters in the broker's core: from card to
 * lane, the event, query-rx-filter, and cards that lie. With the fakes of
 * core_kit.h.
 */
#include "tests/unit/core_nic_kit.h"

/* --- filters --- */

static struct rx_filter
some_filter(uint64_t mac)
{
	struct rx_filter f = {.known = true,
	    .vlan_filter = true,
	    .mac = mac,
	    .uni_count = 2,
	    .multi_count = 1,
	    .table = {0x020000000001, 0x020000000002, 0x01005e000001}};

	f.vlan[0] = 1 | 1 << 5;
	return f;
}

static void
push(const char *id, const struct rx_filter *f, bool changed)
{
	struct ctl_rx_filter m = {.changed = changed};

	filter_state_from(&m.filter, f);
	assert_int_equal(ctl_send_rx_filter(kit_child(id)->chan, 0, &m), 0);
	kit_settle(0);
}

static uint64_t
lane_filter(const char *id)
{
	return kit_lane_of(id)->filter_mac[life_of(id)->slot];
}

static void
test_a_filter_goes_where_the_port_goes(void **state)
{
	struct rx_filter f = some_filter(0x42);

	(void)state;
	kit_start(NULL);
	add_nic("n", NULL);
	add_socket("u");
	push("n", &f, false);
	assert_int_equal(lane_filter("n"), 0x42);
	assert_int_equal(kit_child("n")->taken, 1);
	/* To another lane: n's island and u's become one. */
	add_hubport("q", 0, "u");
	add_hubport("p", 0, "n");
	assert_ptr_equal(kit_lane_of("u"), kit_lane_of("n"));
	assert_int_equal(lane_filter("n"), 0x42);
	/* To the next lane. */
	child_die(kit_lane_of("n"));
	kit_settle(5 * KIT_SECOND);
	assert_int_equal(lane_filter("n"), 0x42);
	f.promisc = true;
	push("n", &f, false);
	assert_int_equal(lane_filter("n"), 0);
	f.promisc = false;
	push("n", &f, false);
	assert_int_equal(lane_filter("n"), 0x42);
	/* A reset: nothing is known any more. */
	f.known = false;
	push("n", &f, false);
	assert_int_equal(lane_filter("n"), 0);
	f.known = true;
	push("n", &f, false);
	/* The next process has said nothing. */
	child_die(kit_child("n"));
	kit_settle(5 * KIT_SECOND);
	assert_int_equal(lane_filter("n"), 0);
	assert_false(life_of("n")->nic->has_filter);
	kit_end();
}

/* The process of `id` has lost its place. */
static void
assert_killed(const char *id, uint32_t epoch)
{
	kit_settle(5 * KIT_SECOND);
	assert_int_equal(life_of(id)->epoch, epoch + 1);
}

static void
test_a_filter_of_wrong_form_costs_the_process(void **state)
{
	struct rx_filter f = some_filter(0x42);
	struct rx_filter_state s;
	uint64_t many[RX_FILTER_MACS + 1] = {0};

	(void)state;
	kit_start(NULL);
	add_nic("n", NULL);
	for (unsigned way = 0; way < 5; way++) {
		struct ctl_rx_filter m = {0};
		uint32_t epoch = life_of("n")->epoch;

		filter_state_from(&s, &f);
		if (way == 0)
			s.vlans.count--;
		if (way == 1)
			s.mac = UINT64_C(1) << 48;
		if (way == 2)
			s.unicast = (struct uint64_list){64, many};
		if (way == 3)
			s.multicast = (struct uint64_list){65, many};
		many[0] = way == 4 ? UINT64_MAX : 0;
		if (way == 4)
			s.unicast = (struct uint64_list){1, many};
		m.filter = s;
		(void)ctl_send_rx_filter(kit_child("n")->chan, 0, &m);
		assert_killed("n", epoch);
	}
	kit_end();
}

static void
test_only_cards_may_report(void **state)
{
	struct rx_filter f = some_filter(0x42);
	const struct ctl_nic_state m = {.features = 1, .pairs = 1};

	(void)state;
	kit_start(NULL);
	add_socket("u");
	(void)ctl_send_nic_state(kit_child("u")->chan, 0, &m);
	assert_killed("u", 1);
	push("u", &f, false);
	assert_killed("u", 2);
	kit_end();
}

static void
test_more_pairs_than_there_are_cost_the_process(void **state)
{
	static const uint32_t queues[] = {0, 1, 4};
	struct netdev nd = nic("n", NULL);
	struct answer a;

	(void)state;
	for (size_t i = 0; i < sizeof queues / sizeof *queues; i++) {
		uint32_t most = queues[i] > 0 ? queues[i] : 1;
		struct ctl_nic_state m = {.features = 5, .pairs = most};
		uint32_t epoch;

		kit_start(NULL);
		nd.u.nic.has_queues = queues[i] > 0;
		nd.u.nic.queues = (uint16_t)queues[i];
		add(&nd, &a);
		assert_ok(&a);
		epoch = life_of("n")->epoch;
		(void)ctl_send_nic_state(kit_child("n")->chan, 0, &m);
		kit_settle(0);
		assert_int_equal(life_of("n")->nic->pairs, most);
		m.pairs++;
		(void)ctl_send_nic_state(kit_child("n")->chan, 0, &m);
		assert_killed("n", epoch);
		assert_int_equal(life_of("n")->nic->pairs, 0);
		kit_end();
	}
}

static void
test_reports_are_slowed_and_floods_are_ended(void **state)
{
	const struct ctl_nic_state m = {.features = 7, .pairs = 1};
	uint32_t epoch;

	(void)state;
	kit_start(NULL);
	add_nic("n", NULL);
	epoch = life_of("n")->epoch;
	for (unsigned i = 0; i < 100; i++) {
		(void)ctl_send_nic_state(kit_child("n")->chan, 0, &m);
		kit_run(0);
	}
	assert_int_equal(kit_child("n")->taken, 100);
	assert_int_equal(life_of("n")->nic->features, 7);
	assert_int_equal(life_of("n")->nic->pairs, 1);
	(void)ctl_send_nic_state(kit_child("n")->chan, 0, &m);
	kit_run(0);
	assert_int_equal(kit_child("n")->taken, 100);
	kit_run(20 * KIT_SECOND / 1000);
	assert_int_equal(kit_child("n")->taken, 101);
	/* Who does not wait for it is a liar. */
	(void)ctl_send_nic_state(kit_child("n")->chan, 0, &m);
	(void)ctl_send_nic_state(kit_child("n")->chan, 0, &m);
	assert_killed("n", epoch);
	assert_int_equal(life_of("n")->nic->features, 0);
	kit_end();
}

/* --- query-rx-filter and its event --- */

static json_t *
query(const char *name, struct call *c)
{
	const struct query_rx_filter_args args = {.name = text(name)};

	memset(c, 0, sizeof *c);
	cmd_query_rx_filter(c, &args);
	kit_settle(0);
	if (c->told == 0)
		kit_settle(2 * KIT_SECOND);
	assert_int_equal(c->told, 1);
	if (c->failed)
		return NULL;
	return json_loads(c->json, 0, NULL);
}

static void
assert_filter(json_t *one, const char *want)
{
	json_t *wanted = json_loads(want, 0, NULL);

	assert_non_null(wanted);
	json_object_del(one, "name");
	if (!json_equal(one, wanted))
		fail_msg("%s", json_dumps(one, 0));
	json_decref(wanted);
}

static void
test_an_unknown_filter_takes_everything(void **state)
{
	struct call c;
	json_t *all, *one, *vlans;

	(void)state;
	kit_start(NULL);
	add_nic("n", NULL);
	kit_child("n")->state.mac = 0x525400123456;
	all = query(NULL, &c);
	assert_int_equal(json_array_size(all), 1);
	one = json_array_get(all, 0);
	vlans = json_object_get(one, "vlan-table");
	assert_int_equal(json_array_size(vlans), 4096);
	assert_int_equal(json_integer_value(json_array_get(vlans, 0)), 4095);
	assert_int_equal(json_integer_value(json_array_get(vlans, 4095)), 0);
	json_object_del(one, "vlan-table");
	assert_filter(one,
	    "{\"promiscuous\": true, \"unicast\": \"all\", \"multicast\": "
	    "\"all\", \"vlan\": \"all\", \"broadcast-allowed\": true, "
	    "\"unicast-overflow\": false, \"multicast-overflow\": false, "
	    "\"main-mac\": \"52:54:00:12:34:56\", \"unicast-table\": [], "
	    "\"multicast-table\": []}");
	query_end(all, &c);
	/* Its guest cannot filter, but can have set its address. */
	kit_child("n")->state.mac = 0x525400ab0007;
	all = query("n", &c);
	assert_string_equal(json_string_value(json_object_get(
				json_array_get(all, 0), "main-mac")),
	    "52:54:00:ab:00:07");
	query_end(all, &c);
	kit_end();
}

static void
test_a_known_filter_is_shown_as_qemu_does(void **state)
{
	struct rx_filter f = some_filter(0x525400ab0001);
	struct call c;
	json_t *all;

	(void)state;
	kit_start(NULL);
	add_nic("n", NULL);
	f.nobcast = true;
	f.multi_overflow = true;
	f.allmulti = true;
	kit_child("n")->state = f;
	all = query("n", &c);
	assert_filter(json_array_get(all, 0),
	    "{\"promiscuous\": false, \"unicast\": \"normal\", \"multicast\": "
	    "\"all\", \"vlan\": \"normal\", \"broadcast-allowed\": false, "
	    "\"unicast-overflow\": false, \"multicast-overflow\": true, "
	    "\"main-mac\": \"52:54:00:ab:00:01\", \"vlan-table\": [5, 0], "
	    "\"unicast-table\": [\"02:00:00:00:00:02\", "
	    "\"02:00:00:00:00:01\"], "
	    "\"multicast-table\": [\"01:00:5e:00:00:01\"]}");
	query_end(all, &c);
	f.nouni = true;
	memset(f.vlan, 0, sizeof f.vlan);
	kit_child("n")->state = f;
	all = query("n", &c);
	assert_string_equal(json_string_value(json_object_get(
				json_array_get(all, 0), "unicast")),
	    "none");
	assert_string_equal(
	    json_string_value(json_object_get(json_array_get(all, 0), "vlan")),
	    "none");
	query_end(all, &c);
	kit_end();
}

static void
test_names_that_are_no_cards_are_refused(void **state)
{
	struct call c;
	json_t *all;

	(void)state;
	kit_start(NULL);
	add_socket("u");
	add_hubport("p", 0, NULL);
	all = query(NULL, &c);
	assert_int_equal(json_array_size(all), 0);
	query_end(all, &c);
	assert_null(query("zz", &c));
	assert_string_equal(c.e.text, "invalid net client name: zz");
	assert_null(query("", &c));
	assert_string_equal(c.e.text, "invalid net client name: ");
	assert_null(query("u", &c));
	assert_string_equal(c.e.text, "net client(u) isn't a NIC");
	assert_null(query("p", &c));
	assert_string_equal(c.e.text, "net client(p) isn't a NIC");
	kit_end();
}

static unsigned
changes(void)
{
	return kit_events[EVENT_NIC_RX_FILTER_CHANGED];
}

static void
test_the_event_comes_once_until_queried(void **state)
{
	struct rx_filter f = some_filter(1);
	struct call c;

	(void)state;
	kit_start(NULL);
	add_nic("n", NULL);
	add_nic("m", NULL);
	/* A reset is no command. */
	push("n", &f, false);
	assert_int_equal(changes(), 0);
	push("n", &f, true);
	push("n", &f, true);
	assert_int_equal(changes(), 1);
	/* Asking about another card arms nothing here. */
	query_end(query("m", &c), &c);
	push("n", &f, true);
	assert_int_equal(changes(), 1);
	query_end(query(NULL, &c), &c);
	push("n", &f, true);
	push("n", &f, true);
	assert_int_equal(changes(), 2);
	/* A change that the answer brings was not known when it was armed. */
	kit_child("m")->changed = true;
	query_end(query("m", &c), &c);
	assert_int_equal(changes(), 3);
	/* And one that it brings when not armed is in the answer itself. */
	kit_child("n")->changed = true;
	query_end(query("n", &c), &c);
	assert_int_equal(changes(), 3);
	push("n", &f, true);
	assert_int_equal(changes(), 4);
	kit_end();
}

static void
test_a_card_that_does_not_answer_is_shown_as_known(void **state)
{
	struct rx_filter f = some_filter(0x525400ab0002);
	struct call c;
	json_t *all;

	(void)state;
	kit_start(NULL);
	add_nic("n", NULL);
	push("n", &f, false);
	kit_child("n")->mute = true;
	all = query("n", &c);
	assert_string_equal(json_string_value(json_object_get(
				json_array_get(all, 0), "main-mac")),
	    "52:54:00:ab:00:02");
	assert_int_equal(kit_child("n")->asked, 1);
	query_end(all, &c);
	kit_end();
}

static void
test_a_card_may_go_while_it_is_asked(void **state)
{
	const struct query_rx_filter_args named = {.name = text("n")};
	const struct query_rx_filter_args any = {0};
	struct call one = {0}, all = {0};
	struct err e;

	(void)state;
	kit_start(NULL);
	add_nic("n", NULL);
	kit_child("n")->mute = true;
	cmd_query_rx_filter(&one, &named);
	cmd_query_rx_filter(&all, &any);
	assert_int_equal(core_device_del(kit_core, "n", &e), 0);
	kit_settle(2 * KIT_SECOND);
	assert_int_equal(one.told, 1);
	assert_true(one.failed);
	assert_string_equal(one.e.text, "invalid net client name: n");
	assert_int_equal(all.told, 1);
	assert_string_equal(all.json, "[]");
	free(all.json);
	kit_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_filter_goes_where_the_port_goes),
	    cmocka_unit_test(test_a_filter_of_wrong_form_costs_the_process),
	    cmocka_unit_test(test_only_cards_may_report),
	    cmocka_unit_test(test_more_pairs_than_there_are_cost_the_process),
	    cmocka_unit_test(test_reports_are_slowed_and_floods_are_ended),
	    cmocka_unit_test(test_an_unknown_filter_takes_everything),
	    cmocka_unit_test(test_a_known_filter_is_shown_as_qemu_does),
	    cmocka_unit_test(test_names_that_are_no_cards_are_refused),
	    cmocka_unit_test(test_the_event_comes_once_until_queried),
	    cmocka_unit_test(
		test_a_card_that_does_not_answer_is_shown_as_known),
	    cmocka_unit_test(test_a_card_may_go_while_it_is_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
