/*
 * vhost_fe_test.c - the vhost-user netdev against a back-end inside of the
 * test: how they come together, who lies and what it costs.
 */
#include "tests/unit/vhost_user_kit.h"

/* --- coming together
 * ---------------------------------------------------------- */

static void
assert_log(const uint32_t *want, size_t count)
{
	size_t i;

	for (i = 0; i < count && i < dev.logged; i++)
		assert_int_equal(dev.log[i], want[i]);
	assert_int_equal(dev.logged, count);
}

static void
test_everything_is_said_in_order(void **state)
{
	static const uint32_t want[] = {VHOST_SET_OWNER, VHOST_GET_FEATURES,
	    VHOST_GET_PROTOCOL_FEATURES, VHOST_SET_PROTOCOL_FEATURES,
	    VHOST_GET_QUEUE_NUM, VHOST_SET_VRING_CALL, VHOST_SET_VRING_CALL,
	    VHOST_SET_FEATURES, VHOST_SET_STATUS, VHOST_GET_STATUS,
	    VHOST_SET_MEM_TABLE, VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE,
	    VHOST_SET_VRING_ADDR, VHOST_SET_VRING_KICK, VHOST_SET_VRING_NUM,
	    VHOST_SET_VRING_BASE, VHOST_SET_VRING_ADDR, VHOST_SET_VRING_KICK,
	    VHOST_SET_VRING_ENABLE, VHOST_SET_VRING_ENABLE, VHOST_SET_STATUS};

	(void)state;
	start(NULL);
	assert_true(comes_up());
	assert_log(want, sizeof want / sizeof *want);
	/* A subset of the offer, and nothing that we cannot do. */
	assert_true(dev.features ==
		    (FAKE_OFFERS & ~(FAKE_BIT(VIRTIO_NET_F_MQ) |
				       FAKE_BIT(VIRTIO_NET_F_CTRL_VQ) |
				       FAKE_BIT(VIRTIO_F_RING_PACKED))));
	assert_true(dev.acked_protocol ==
		    (FAKE_BIT(VHOST_PF_MQ) | FAKE_BIT(VHOST_PF_REPLY_ACK) |
			FAKE_BIT(VHOST_PF_STATUS)));
	assert_int_equal(dev.status, 0xf);
	assert_true(dev.ring[0].enabled && dev.ring[1].enabled);
	assert_string_equal(kit.be.peer, "c0");
	assert_string_equal(kit.be.info, "vhost-user0 to c0");
	finish();
}

static void
test_what_a_back_end_lacks_is_left_out(void **state)
{
	static const uint32_t want[] = {VHOST_SET_OWNER, VHOST_GET_FEATURES,
	    VHOST_SET_VRING_CALL, VHOST_SET_VRING_CALL, VHOST_SET_FEATURES,
	    VHOST_SET_MEM_TABLE, VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE,
	    VHOST_SET_VRING_ADDR, VHOST_SET_VRING_KICK, VHOST_SET_VRING_NUM,
	    VHOST_SET_VRING_BASE, VHOST_SET_VRING_ADDR, VHOST_SET_VRING_KICK};

	(void)state;
	fake_init(&dev);
	dev.offers = FAKE_BIT(VIRTIO_F_VERSION_1);
	start_with(NULL);
	assert_true(comes_up());
	kit_turn(&kit, 5);
	assert_log(want, sizeof want / sizeof *want);
	assert_true(dev.features == FAKE_BIT(VIRTIO_F_VERSION_1));
	expect_echo();
	finish();
}

static void
test_offloads_need_what_they_stand_on(void **state)
{
	const uint64_t tso = FAKE_BIT(VIRTIO_NET_F_GUEST_TSO4) |
			     FAKE_BIT(VIRTIO_NET_F_HOST_TSO4);

	(void)state;
	fake_init(&dev);
	dev.offers &=
	    ~(FAKE_BIT(VIRTIO_NET_F_CSUM) | FAKE_BIT(VIRTIO_NET_F_MRG_RXBUF));
	start_with(NULL);
	assert_true(comes_up());
	assert_true((dev.features & tso) == 0);
	finish();
}

static void
test_a_legacy_back_end_is_refused_with_a_reason(void **state)
{
	(void)state;
	fake_init(&dev);
	dev.offers &= ~FAKE_BIT(VIRTIO_F_VERSION_1);
	start_with(NULL);
	assert_true(goes());
	assert_false(was_up);
	assert_non_null(strstr(last_notice(), "VERSION_1"));
	finish();
}

static void
test_fewer_queues_than_asked_for_are_refused(void **state)
{
	struct netdev_vhost_user_options o = {
	    .chardev = (char[]){"c0"}, .has_queues = true, .queues = 4};

	(void)state;
	fake_init(&dev);
	dev.queues = 3;
	start_with(&o);
	assert_true(goes());
	assert_non_null(strstr(last_notice(), "3 pairs"));
	assert_non_null(strstr(last_notice(), "queues=4"));
	finish();
	/* One that counts queues, as ours do, where pairs are asked for. */
	fake_init(&dev);
	dev.queues = 5;
	dev.rings = 5;
	start_with(&o);
	assert_true(goes());
	assert_non_null(strstr(last_notice(), "2 pairs"));
	assert_non_null(strstr(last_notice(), "queues=4"));
	finish();
	/* One that cannot have more than one pair at all. */
	fake_init(&dev);
	dev.protocol &= ~FAKE_BIT(VHOST_PF_MQ);
	start_with(&o);
	assert_true(goes());
	assert_non_null(strstr(last_notice(), "queues=1"));
	finish();
}

static void
test_sixteen_pairs_all_run(void **state)
{
	struct netdev_vhost_user_options o = {
	    .chardev = (char[]){"c0"}, .has_queues = true, .queues = 16};
	unsigned i;

	(void)state;
	start(&o);
	assert_true(comes_up());
	assert_true(dev.features & FAKE_BIT(VIRTIO_NET_F_MQ));
	for (i = 0; i < 32; i++)
		assert_true(dev.ring[i].enabled && dev.ring[i].kick >= 0);
	for (i = 0; i < 16; i++)
		expect_frame_from(2 * i);
	finish();
}

/* --- who lies in its answers
 * ---------------------------------------------------- */

static const uint32_t answered[] = {VHOST_GET_FEATURES,
    VHOST_GET_PROTOCOL_FEATURES, VHOST_GET_QUEUE_NUM, VHOST_SET_VRING_CALL,
    VHOST_SET_FEATURES, VHOST_SET_STATUS, VHOST_GET_STATUS, VHOST_SET_MEM_TABLE,
    VHOST_SET_VRING_KICK, VHOST_SET_VRING_ENABLE};
#define ANSWERED (sizeof answered / sizeof *answered)

static void
test_every_lie_in_every_answer_costs_the_connection_only(void **state)
{
	enum lie lie;
	size_t i;

	(void)state;
	for (lie = LIE_NONE + 1; lie < LIE_COUNT; lie++) {
		for (i = 0; i < ANSWERED; i++) {
			fake_init(&dev);
			dev.lie = lie;
			dev.lie_at = answered[i];
			/* Nothing at all of those is an honest offer. */
			if (lie == LIE_REFUSE &&
			    answered[i] == VHOST_GET_PROTOCOL_FEATURES)
				continue;
			start_with(NULL);
			if (lie == LIE_SILENT)
				type_state()->reply_ns = 30000000;
			if (!goes())
				fail_msg("lie %d at request %u was believed",
				    lie, answered[i]);
			assert_true(lie == LIE_TWICE || !was_up);
			/* A leaver is no liar. */
			assert_int_equal(kit_counter(&kit, BC_IN_ERRORS),
			    lie == LIE_CLOSE ? 0 : 1);
			type_state()->reply_ns = 0;
			next_back_end();
			assert_true(comes_up());
			expect_echo();
			finish();
		}
	}
}

static void
test_words_out_of_turn_end_the_connection(void **state)
{
	(void)state;
	start(NULL);
	assert_true(comes_up());
	fake_answer(&dev, VHOST_GET_FEATURES, 0);
	assert_true(goes());
	assert_int_equal(kit_counter(&kit, BC_IN_ERRORS), 1);
	finish();
}

/* --- coming and going
 * ------------------------------------------------------------ */

static void
test_frames_without_a_back_end_are_dropped_and_counted(void **state)
{
	int i;

	(void)state;
	start(NULL);
	assert_true(comes_up());
	fake_close(&dev);
	assert_true(goes());
	for (i = 0; i < 100; i++)
		assert_true(kit_send(&kit, frame, 60));
	kit_publish(&kit);
	wait_counter(BC_OUT_DROP_DISCONNECTED, 100);
	next_back_end();
	assert_true(comes_up());
	expect_echo();
	finish();
}

static void
test_a_lost_back_end_is_asked_for_again(void **state)
{
	unsigned i;

	(void)state;
	start(NULL);
	for (i = 0; i < 4; i++) {
		assert_true(comes_up());
		fake_close(&dev);
		assert_true(goes());
		assert_true(asks_again());
		next_back_end();
	}
	finish();
}

static void
test_never_again_means_never(void **state)
{
	(void)state;
	start(NULL);
	kit.be.has_reconnect_ms = true;
	kit.be.reconnect_ms = 0;
	assert_true(comes_up());
	fake_close(&dev);
	assert_true(goes());
	kit_turn(&kit, 300);
	assert_false(timer_pending(kit.be.reconnect));
	finish();
}

static void
test_an_absent_back_end_is_no_error(void **state)
{
	(void)state;
	kit_init(&kit, KIT_RING_BYTES);
	open_type(NULL);
	assert_true(asks_again());
	timer_stop(kit.be.reconnect);
	backend_type.connection(kit.be.self, -1, "no such file");
	assert_true(asks_again());
	next_back_end();
	assert_true(comes_up());
	finish();
}

static void
test_back_ends_that_connect_are_served_one_by_one(void **state)
{
	int listening = listen_somewhere(), second;

	(void)state;
	kit_init(&kit, KIT_RING_BYTES);
	kit.be.resource[RESOURCE_CHARDEV] = listening;
	open_type(NULL);
	fake_init(&dev);
	fake_open(&dev, kit.loop, connect_there());
	assert_true(comes_up());
	second = connect_there();
	kit_turn(&kit, 20);
	assert_int_equal(recv(second, frame, 1, MSG_DONTWAIT), -1);
	expect_echo();
	fake_close(&dev);
	assert_true(goes());
	fake_init(&dev);
	fake_open(&dev, kit.loop, second);
	assert_true(comes_up());
	expect_echo();
	finish();
}

static void
test_an_orderly_end_stops_the_rings(void **state)
{
	(void)state;
	start(NULL);
	assert_true(comes_up());
	watch_free(ptr_take(dev.watch));
	kit_fini(&kit);
	while (!dev.closed && fake_read(&dev))
		continue;
	assert_true(dev.closed);
	assert_false(dev.ring[0].enabled || dev.ring[1].enabled);
	assert_int_equal(dev.status, 0);
	fake_close(&dev);
}

/* --- options
 * ----------------------------------------------------------------------- */

static void
test_the_number_of_queues_is_checked(void **state)
{
	static const struct {
		int64_t queues;
		const char *text;
	} bad[] = {
	    {0, "vhost-user number of queues must be in range [1, 1024]"},
	    {-1, "vhost-user number of queues must be in range [1, 1024]"},
	    {1025, "vhost-user number of queues must be in range [1, 1024]"},
	    {17, "queues=17: this build has at most 16 pairs of queues for a "
		 "vhost-user netdev"},
	};
	struct err err;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct netdev_vhost_user_options o = {.chardev = (char[]){"c0"},
		    .has_queues = true,
		    .queues = bad[i].queues};

		kit_init(&kit, KIT_RING_BYTES);
		assert_int_equal(kit_open(&kit, &o, &err), -EINVAL);
		assert_string_equal(err.text, bad[i].text);
		kit_fini(&kit);
	}
}

static void
test_a_chardev_that_is_no_stream_is_refused(void **state)
{
	struct err err;
	int fds[2];

	(void)state;
	kit_init(&kit, KIT_RING_BYTES);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds), 0);
	kit.be.resource[RESOURCE_CHARDEV] = fds[0];
	assert_int_equal(kit_open(&kit, &usual_options, &err), -EINVAL);
	assert_string_equal(err.text, "chardev \"c0\" is not a stream socket");
	kit_fini(&kit);
	close(fds[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_everything_is_said_in_order),
	    cmocka_unit_test(test_what_a_back_end_lacks_is_left_out),
	    cmocka_unit_test(test_offloads_need_what_they_stand_on),
	    cmocka_unit_test(test_a_legacy_back_end_is_refused_with_a_reason),
	    cmocka_unit_test(test_fewer_queues_than_asked_for_are_refused),
	    cmocka_unit_test(test_sixteen_pairs_all_run),
	    cmocka_unit_test(
		test_every_lie_in_every_answer_costs_the_connection_only),
	    cmocka_unit_test(test_words_out_of_turn_end_the_connection),
	    cmocka_unit_test(
		test_frames_without_a_back_end_are_dropped_and_counted),
	    cmocka_unit_test(test_a_lost_back_end_is_asked_for_again),
	    cmocka_unit_test(test_never_again_means_never),
	    cmocka_unit_test(test_an_absent_back_end_is_no_error),
	    cmocka_unit_test(test_back_ends_that_connect_are_served_one_by_one),
	    cmocka_unit_test(test_an_orderly_end_stops_the_rings),
	    cmocka_unit_test(test_the_number_of_queues_is_checked),
	    cmocka_unit_test(test_a_chardev_that_is_no_stream_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
