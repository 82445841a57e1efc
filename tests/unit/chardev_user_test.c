/*
 * chardev_user_test.c - who uses a chardev: it may wait for the first peer,
 * and gets what it needs again when it is started again.
 */
#include "tests/unit/chardev_kit.h"

/* --- netdev_add and its first peer --- */

static void
say_connected(const char *id, bool connected)
{
	const struct ctl_connected m = {.connected = connected};

	(void)ctl_send_connected(kit_child(id)->chan, 0, &m);
	kit_settle(0);
}

static void
test_netdev_add_can_wait_for_the_first_peer(void **state)
{
	struct netdev nd = {.id = text("a"), .type = NET_CLIENT_DRIVER_SOCKET};
	struct answer a = {0}, d = {0};

	(void)state;
	for (int deleted = 0; deleted < 2; deleted++) {
		kit_start(NULL);
		kit_alone = true;
		memset(&a, 0, sizeof a);
		memset(&d, 0, sizeof d);
		nd.u.socket.connect = text("127.0.0.1:1");
		core_netdev_add(kit_core, &nd, told, &a);
		netdev_by_id(&kit_core->netdevs, "a")->wait_peer = true;
		kit_settle(60 * KIT_SECOND);
		assert_int_equal(a.told, 0);
		assert_non_null(kit_lane_of("a"));
		say_connected("a", false);
		assert_int_equal(a.told, 0);
		/* A death does not answer it either. */
		child_die(kit_child("a"));
		kit_settle(60 * KIT_SECOND);
		assert_int_equal(a.told, 0);
		if (deleted)
			core_netdev_del(kit_core, "a", told, &d);
		else
			say_connected("a", true);
		kit_settle(0);
		assert_int_equal(a.told, 1);
		assert_int_equal(a.failed, deleted);
		if (deleted)
			assert_string_equal(a.e.text,
			    "netdev 'a' was deleted while it waited for its "
			    "peer");
		else
			say_connected("a", false);
		assert_int_equal(a.told, 1);
		kit_end();
	}
	kit_alone = false;
}

/* --- a nic and its restarts --- */

static void
add_nic(const char *chardev)
{
	struct netdev nd = {.id = text("n"), .type = NET_CLIENT_DRIVER_NIC};
	struct answer a = {0};

	nd.u.nic.chardev = text(chardev);
	core_netdev_add(kit_core, &nd, told, &a);
	kit_settle(0);
	assert_int_equal(a.told, 1);
	if (a.failed)
		fail_msg("%s", a.e.text);
}

static void
restart(void)
{
	uint32_t epoch = kit_child("n")->epoch;

	memset(&kit_opened, 0, sizeof kit_opened);
	child_die(kit_child("n"));
	kit_settle(KIT_SECOND);
	assert_int_equal(kit_child("n")->epoch, epoch + 1);
}

static void
ask_to_reconnect(void)
{
	const struct ctl_reconnect m = {.index = 0};

	memset(&kit_opened, 0, sizeof kit_opened);
	(void)ctl_send_reconnect(kit_child("n")->chan, 0, &m);
	kit_settle(KIT_SECOND);
}

static void
test_a_client_is_opened_anew_for_each_process(void **state)
{
	struct chardev_add_args args = client("c", "/x");
	struct chardev *ch;

	(void)state;
	kit_start(NULL);
	kit_settle(0);
	args.backend.u.socket.data.has_reconnect = true;
	args.backend.u.socket.data.reconnect = 2;
	added(&args);
	ch = chardev_find(&kit_core->chardevs, "c");
	kit_open_error = -ECONNREFUSED; /* later, then */
	add_nic("c");
	kit_open_error = 0;
	assert_string_equal(ch->user, "n");
	assert_int_equal(kit_reconnect_ms, 2000);
	assert_int_equal(kit_opened.open.kind, RES_CHARDEV);
	assert_int_equal(kit_opened.open.number, ch->slot);
	assert_int_equal(kit_opened.open.again, 0);
	/* That failed, so the fake has not seen it open. */
	places[kit_child("n")->slot].opened[0] = true;
	restart();
	assert_int_equal(kit_opened.open.kind, RES_CHARDEV);
	assert_int_equal(kit_opened.open.number, ch->slot);
	assert_int_equal(kit_opened.open.again, 1);
	assert_int_equal(kit_opened.open.give, 0);
	ask_to_reconnect();
	assert_int_equal(kit_opened.open.kind, RES_CHARDEV);
	assert_int_equal(kit_opened.open.give, 1);
	assert_int_equal(kit_child("n")->epoch, 2);
	kit_end();
}

static void
test_a_listener_is_opened_once(void **state)
{
	struct chardev_add_args args = unix_socket("c", "/x");

	(void)state;
	kit_start(NULL);
	kit_settle(0);
	added(&args);
	add_nic("c");
	assert_int_equal(kit_reconnect_ms, -1);
	assert_int_equal(kit_opened.open.kind, RES_CHARDEV);
	restart();
	assert_int_equal(kit_opened.open.kind, RES_NONE);
	/* Who asks for another one has misunderstood something: it ends. */
	ask_to_reconnect();
	assert_int_equal(kit_opened.open.kind, RES_NONE);
	assert_int_equal(kit_child("n")->epoch, 3);
	kit_end();
}

static void
test_a_passed_connection_is_the_only_one(void **state)
{
	static const bool as_server[] = {false, true};
	struct chardev_add_args args;
	struct socket_address_legacy *a;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		kit_start(NULL);
		kit_settle(0);
		args = unix_socket("c", NULL);
		args.backend.u.socket.data.has_server = true;
		args.backend.u.socket.data.server = as_server[i];
		a = &args.backend.u.socket.data.addr;
		a->type = CHARDEV_ADDRESS_TYPE_FD;
		a->u.fd.data.str = text("5");
		added(&args);
		add_nic("c");
		assert_int_equal(kit_reconnect_ms, 0);
		restart();
		assert_int_equal(kit_reconnect_ms, 0);
		assert_int_equal(kit_opened.open.kind, RES_NONE);
		kit_end();
	}
}

static void
test_a_nic_that_cannot_start_gives_its_chardev_back(void **state)
{
	struct netdev nd = {.id = text("n"), .type = NET_CLIENT_DRIVER_NIC};
	struct chardev_add_args args = unix_socket("c", "/x");
	struct answer a = {0};

	(void)state;
	kit_start(NULL);
	kit_settle(0);
	added(&args);
	kit_open_error = -EBUSY;
	nd.u.nic.chardev = text("c");
	core_netdev_add(kit_core, &nd, told, &a);
	assert_non_null(chardev_find(&kit_core->chardevs, "c")->user);
	kit_settle(KIT_SECOND);
	assert_true(a.failed);
	assert_null(chardev_find(&kit_core->chardevs, "c")->user);
	kit_open_error = 0;
	/* Options that are refused claim nothing. */
	nd.has_ring_size = true;
	nd.ring_size = 1;
	memset(&a, 0, sizeof a);
	core_netdev_add(kit_core, &nd, told, &a);
	assert_true(a.failed);
	assert_null(chardev_find(&kit_core->chardevs, "c")->user);
	add_nic("c");
	kit_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_netdev_add_can_wait_for_the_first_peer),
	    cmocka_unit_test(test_a_client_is_opened_anew_for_each_process),
	    cmocka_unit_test(test_a_listener_is_opened_once),
	    cmocka_unit_test(test_a_passed_connection_is_the_only_one),
	    cmocka_unit_test(
		test_a_nic_that_cannot_start_gives_its_chardev_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
