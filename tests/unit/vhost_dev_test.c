/*
 * vhost_dev_test.c - the device role: queues run exactly when they should, and
 * each request does what it says.
 */
#include "tests/unit/vhost_dev_kit.h"

/* --- states of a queue ---------------------------------------------------- */

static void
test_disabled_queue_throws_away_and_returns(void **state)
{
	(void)state;
	begin();
	start_pair();
	say_state(VHOST_SET_VRING_ENABLE, 1, 1, 0);
	say_state(VHOST_SET_VRING_ENABLE, 1, 0, 0);
	kit_run(0);
	assert_false(fx.runs[0] || fx.runs[1]);
	(void)signals(fx.call[1]);
	put(1, 200, 0);
	put(0, 10, VRING_DESC_F_WRITE);
	kick(1);
	kick(0);
	assert_int_equal(used_of(1), 200);
	assert_int_equal(used_of(0), 0);
	assert_true(signals(fx.call[1]) > 0);
	assert_int_equal(fx.chains[1], 0);
	/* More than one turn's. */
	put(1, 200, 0);
	kick(1);
	pass_ns(KIT_SECOND);
	assert_int_equal(used_of(1), 400);
	say_state(VHOST_SET_VRING_ENABLE, 1, 1, 1);
	kit_run(0);
	expect_sends(1);
	assert_int_equal(used_of(1), 401);
	finish();
}

static void
test_an_eager_queue_runs_without_being_enabled(void **state)
{
	(void)state;
	begin();
	fx.eager = true;
	start_pair();
	say_ring(QUEUES - 1);
	say_fd(VHOST_SET_VRING_CALL, 1, QUEUES - 1, fx.call[QUEUES - 1]);
	say_fd(VHOST_SET_VRING_KICK, 1, QUEUES - 1, fx.kick[QUEUES - 1]);
	kit_run(0);
	assert_true(fx.runs[QUEUES - 1]);
	expect_sends(QUEUES - 1);
	/* But not when it was disabled, until it is stopped. */
	say_state(VHOST_SET_VRING_ENABLE, 1, QUEUES - 1, 0);
	kit_run(0);
	assert_false(fx.runs[QUEUES - 1]);
	say(VHOST_RESET_OWNER, 1, NULL, 0);
	say_u64(VHOST_SET_FEATURES, 1, ACKED);
	say_fd(VHOST_SET_VRING_KICK, 1, QUEUES - 1, fx.kick[QUEUES - 1]);
	kit_run(0);
	assert_true(fx.runs[QUEUES - 1]);
	finish();
}

static void
test_repeated_settings_keep_the_place_in_the_ring(void **state)
{
	unsigned begins;

	(void)state;
	begin();
	start_pair();
	expect_sends(1);
	begins = fx.begins[1];
	say_table(9);
	expect_ack(VHOST_SET_MEM_TABLE);
	assert_int_equal(fx.begins[1], begins + 1);
	assert_int_equal(fx.ends[1], begins);
	expect_sends(1);
	say_addr(1, 1);
	expect_sends(1);
	say_state(VHOST_SET_VRING_NUM, 1, 1, ENTRIES);
	expect_sends(1);
	say_state(VHOST_SET_VRING_BASE, 1, 1, 4);
	expect_sends(1);
	assert_int_equal(base_of(1), 5);
	assert_false(fx.runs[1]);
	/* The kick descriptor was dropped. */
	put(1, 1, 0);
	kick(1);
	assert_int_equal(used_of(1), 5);
	finish();
}

static void
test_every_order_of_settings_runs(void **state)
{
	unsigned order, left, i, step;
	bool done[6];

	(void)state;
	for (order = 0; order < 720; order++) {
		begin();
		memset(done, 0, sizeof done);
		for (i = 6, left = order; i > 0; i--) {
			unsigned nth = left % i;

			left /= i;
			for (step = 0; done[step] || nth-- > 0; step++)
				;
			done[step] = true;
			assert_false(fx.runs[1]);
			if (step == 0)
				say_u64(VHOST_SET_FEATURES, 1, ACKED);
			else if (step == 1)
				say_table(1);
			else if (step == 2)
				say_state(VHOST_SET_VRING_NUM, 1, 1, ENTRIES);
			else if (step == 3)
				say_addr(1, 1);
			else if (step == 4)
				say_fd(VHOST_SET_VRING_KICK, 1, 1, fx.kick[1]);
			else
				say_state(VHOST_SET_VRING_ENABLE, 1, 1, 1);
			/* Before SET_FEATURES all count as enabled. */
			kit_run(0);
			assert_int_equal(fx.gone, 0);
		}
		assert_true(fx.runs[1]);
		say_fd(VHOST_SET_VRING_CALL, 1, 1, fx.call[1]);
		expect_sends(1);
		finish();
	}
}

static void
test_queue_without_kick_descriptor_is_polled(void **state)
{
	(void)state;
	begin();
	agree(PROTOCOL);
	say_table(1);
	say_ring(1);
	say_u64(VHOST_SET_VRING_KICK, 1, 0x101);
	say_u64(VHOST_SET_VRING_CALL, 1, 0x101);
	say_state(VHOST_SET_VRING_ENABLE, 1, 1, 1);
	kit_run(0);
	assert_true(fx.runs[1]);
	put(1, 3, 0);
	pass_ns(KIT_SECOND / 100);
	assert_int_equal(used_of(1), 3);
	assert_int_equal(base_of(1), 3);
	finish();
}

static void
test_replaced_descriptors_are_closed(void **state)
{
	unsigned before, i;
	int fd, call;

	(void)state;
	begin();
	start_pair();
	before = open_descriptors();
	for (i = 0; i < 100; i++) {
		fd = event_new(0);
		call = event_new(0);
		say_fd(VHOST_SET_VRING_KICK, 1, 1, fd);
		say_fd(VHOST_SET_VRING_CALL, 1, 1, call);
		say_fd(VHOST_SET_VRING_ERR, 1, 1, call);
		kit_run(0);
		fd_close(&fd);
		fd_close(&call);
	}
	/* ERR was not there before. */
	assert_int_equal(open_descriptors(), before + 1);
	say_fd(VHOST_SET_VRING_KICK, 1, 1, fx.kick[1]);
	say_fd(VHOST_SET_VRING_CALL, 1, 1, fx.call[1]);
	expect_sends(1);
	finish();
}

static void
test_start_and_new_call_descriptor_interrupt(void **state)
{
	(void)state;
	begin();
	start_pair();
	/* A predecessor may have died before it did. */
	assert_true(signals(fx.call[1]) > 0);
	say_fd(VHOST_SET_VRING_CALL, 1, 1, fx.call[1]);
	kit_run(0);
	assert_int_equal(signals(fx.call[1]), 1);
	kit_run(0);
	assert_int_equal(signals(fx.call[1]), 0);
	finish();
}

static void
test_packed_ring_of_any_size(void **state)
{
	(void)state;
	begin();
	say_u64(VHOST_SET_FEATURES, 1, ACKED | BIT(VIRTIO_F_RING_PACKED));
	say_table(1);
	say_state(VHOST_SET_VRING_NUM, 1, 1, 100);
	say_state(VHOST_SET_VRING_BASE, 1, 1, 0x80008000);
	say_addr(1, 1);
	say_fd(VHOST_SET_VRING_KICK, 1, 1, fx.kick[1]);
	say_state(VHOST_SET_VRING_ENABLE, 1, 1, 1);
	kit_run(0);
	assert_true(fx.runs[1]);
	assert_int_equal(base_of(1), 0x80008000);
	finish();
}

/* --- memory slots, config, the rest --------------------------------------- */

static void
test_memory_in_slots(void **state)
{
	const uint64_t slots[2][5] = {
	    {0, RAM_GPA, RAM_BYTES / 2, RAM_UVA, 0},
	    {0, RAM_GPA + RAM_BYTES / 2, RAM_BYTES / 2, RAM_UVA + RAM_BYTES / 2,
		RAM_BYTES / 2},
	};

	(void)state;
	begin();
	agree(PROTOCOL);
	say(VHOST_GET_MAX_MEM_SLOTS, 1, NULL, 0);
	assert_int_equal(hear_u64(VHOST_GET_MAX_MEM_SLOTS), GUEST_REGIONS_MAX);
	say_fds(VHOST_ADD_MEM_REG, 9, slots[0], 40, &fx.ram_fd, 1);
	expect_ack(VHOST_ADD_MEM_REG);
	say_ring(1);
	say_fd(VHOST_SET_VRING_CALL, 1, 1, fx.call[1]);
	say_fd(VHOST_SET_VRING_KICK, 1, 1, fx.kick[1]);
	say_state(VHOST_SET_VRING_ENABLE, 1, 1, 1);
	expect_sends(1);
	say_fds(VHOST_ADD_MEM_REG, 9, slots[1], 40, &fx.ram_fd, 1);
	expect_ack(VHOST_ADD_MEM_REG);
	expect_sends(1);
	say(VHOST_REM_MEM_REG, 9, slots[1], 40);
	expect_ack(VHOST_REM_MEM_REG);
	expect_sends(1);
	say_fds(VHOST_REM_MEM_REG, 9, slots[0], 40, &fx.ram_fd, 1);
	expect_ack(VHOST_REM_MEM_REG);
	assert_false(fx.runs[1]);
	say(VHOST_REM_MEM_REG, 9, slots[0], 40);
	assert_int_not_equal(hear_u64(VHOST_REM_MEM_REG), 0);
	finish();
}

/* Queue 1 runs, in memory that came as one slot. */
static void
start_in_slot(const uint64_t slot[5])
{
	begin();
	agree(PROTOCOL);
	say_fds(VHOST_ADD_MEM_REG, 9, slot, 40, &fx.ram_fd, 1);
	expect_ack(VHOST_ADD_MEM_REG);
	say_ring(1);
	say_fd(VHOST_SET_VRING_CALL, 1, 1, fx.call[1]);
	say_fd(VHOST_SET_VRING_KICK, 1, 1, fx.kick[1]);
	say_state(VHOST_SET_VRING_ENABLE, 1, 1, 1);
	expect_sends(1);
}

/* As QEMU does on one connection: once for each pair of queues. */
static void
test_a_slot_that_is_named_for_each_pair(void **state)
{
	const uint64_t slot[5] = {0, RAM_GPA, RAM_BYTES, RAM_UVA, 0};
	unsigned open, i;

	(void)state;
	start_in_slot(slot);
	open = open_descriptors();
	for (i = 0; i < 3; i++) {
		say_fds(VHOST_ADD_MEM_REG, 9, slot, 40, &fx.ram_fd, 1);
		expect_ack(VHOST_ADD_MEM_REG);
		/* Nothing moved: its queue was not even stopped. */
		assert_int_equal(fx.begins[1], 1);
		expect_sends(1);
	}
	assert_int_equal(fx.dev.memory.count, 1);
	assert_int_equal(mappings(), 2);
	assert_int_equal(open_descriptors(), open);
	for (i = 0; i < 3; i++) {
		say(VHOST_REM_MEM_REG, 9, slot, 40);
		expect_ack(VHOST_REM_MEM_REG);
		assert_true(fx.runs[1]);
		expect_sends(1);
	}
	say(VHOST_REM_MEM_REG, 9, slot, 40);
	expect_ack(VHOST_REM_MEM_REG);
	assert_false(fx.runs[1]);
	assert_int_equal(mappings(), 1);
	say(VHOST_REM_MEM_REG, 9, slot, 40);
	assert_int_equal(hear_u64(VHOST_REM_MEM_REG), 1);
	/* It may come back, and the queue with it. */
	say_fds(VHOST_ADD_MEM_REG, 9, slot, 40, &fx.ram_fd, 1);
	expect_ack(VHOST_ADD_MEM_REG);
	expect_sends(1);
	finish();
}

static void
test_a_slot_that_is_named_without_end(void **state)
{
	const uint64_t slot[5] = {0, RAM_GPA, RAM_BYTES, RAM_UVA, 0};
	unsigned open, i;

	(void)state;
	start_in_slot(slot);
	open = open_descriptors();
	for (i = 0; i < GUEST_AGAIN_MAX; i++) {
		say_fds(VHOST_ADD_MEM_REG, 9, slot, 40, &fx.ram_fd, 1);
		expect_ack(VHOST_ADD_MEM_REG);
	}
	for (i = 0; i < 3; i++) {
		say_fds(VHOST_ADD_MEM_REG, 9, slot, 40, &fx.ram_fd, 1);
		assert_int_equal(hear_u64(VHOST_ADD_MEM_REG), 1);
		assert_non_null(strstr(fx.refusal, "overlaps"));
		expect_sends(1);
	}
	assert_int_equal(mappings(), 2);
	assert_int_equal(open_descriptors(), open);
	/* A whole table begins anew. */
	say_table(9);
	expect_ack(VHOST_SET_MEM_TABLE);
	expect_sends(1);
	say(VHOST_REM_MEM_REG, 9, slot, 40);
	expect_ack(VHOST_REM_MEM_REG);
	assert_false(fx.runs[1]);
	assert_int_equal(mappings(), 1);
	finish();
}

static void
test_what_concerns_the_network(void **state)
{
	static const uint8_t mac[8] = {2, 3, 4, 5, 6, 7};
	uint8_t config[12 + 8] = {0};

	(void)state;
	begin();
	agree(PROTOCOL);
	say(VHOST_SEND_RARP, 9, mac, 8);
	expect_ack(VHOST_SEND_RARP);
	assert_memory_equal(fx.mac, mac, 6);
	say_u64(VHOST_NET_SET_MTU, 9, 9000);
	expect_ack(VHOST_NET_SET_MTU);
	assert_int_equal(fx.mtu, 9000);
	say_u64(VHOST_NET_SET_MTU, 9, 7);
	assert_int_not_equal(hear_u64(VHOST_NET_SET_MTU), 0);
	assert_non_null(strstr(fx.refusal, "NET_SET_MTU: MTU 7"));
	config[4] = 6;
	say(VHOST_SET_CONFIG, 9, config, 12 + 6);
	expect_ack(VHOST_SET_CONFIG);
	assert_int_equal(fx.config_len, 6);
	config[0] = 6;
	config[4] = 2;
	say(VHOST_SET_CONFIG, 9, config, 12 + 2);
	assert_int_not_equal(hear_u64(VHOST_SET_CONFIG), 0);
	finish();
}

static void
test_acknowledgements_are_sent_when_they_should(void **state)
{
	uint32_t bytes[2] = {1, 0};

	(void)state;
	begin();
	/* Not agreed to. */
	say(VHOST_SET_OWNER, 9, NULL, 0);
	hear_nothing();
	agree(PROTOCOL);
	hear_nothing();
	say(VHOST_SET_OWNER, 9, NULL, 0);
	expect_ack(VHOST_SET_OWNER);
	/* Not asked for. */
	say(VHOST_SET_OWNER, 1, NULL, 0);
	hear_nothing();
	/* What has a reply of its own gets no second one. */
	say(VHOST_GET_FEATURES, 9, NULL, 0);
	(void)hear_u64(VHOST_GET_FEATURES);
	hear_nothing();
	say(VHOST_GET_VRING_BASE, 9, bytes, 8);
	hear(VHOST_GET_VRING_BASE, bytes, 8);
	hear_nothing();
	/* Taken back by the very message. */
	say_u64(VHOST_SET_PROTOCOL_FEATURES, 9, 0);
	hear_nothing();
	assert_int_equal(fx.gone, 0);
	finish();
}

static void
test_reset_device_is_as_new(void **state)
{
	(void)state;
	begin();
	start_pair();
	expect_sends(1);
	say(VHOST_RESET_DEVICE, 9, NULL, 0);
	expect_ack(VHOST_RESET_DEVICE);
	assert_int_equal(fx.resets, 1);
	assert_false(fx.runs[0] || fx.runs[1]);
	assert_int_equal(fx.dev.acked, 0);
	memset(fx.ram, 0, RAM_BYTES);
	memset(fx.put, 0, sizeof fx.put);
	start_pair();
	expect_sends(1);
	finish();
}

static void
test_front_end_comes_back(void **state)
{
	unsigned i;

	(void)state;
	begin();
	for (i = 0; i < 20; i++) {
		start_pair();
		expect_sends(1);
		fd_close(&peer);
		kit_run(0);
		assert_int_equal(fx.gone, 1);
		fx.gone = 0;
		assert_int_equal(
		    open_descriptors(), fx.open_before + 3 * QUEUES + 1);
		memset(fx.ram, 0, RAM_BYTES);
		memset(fx.put, 0, sizeof fx.put);
		connect_again();
	}
	finish();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_disabled_queue_throws_away_and_returns),
	    cmocka_unit_test(test_an_eager_queue_runs_without_being_enabled),
	    cmocka_unit_test(test_repeated_settings_keep_the_place_in_the_ring),
	    cmocka_unit_test(test_every_order_of_settings_runs),
	    cmocka_unit_test(test_queue_without_kick_descriptor_is_polled),
	    cmocka_unit_test(test_replaced_descriptors_are_closed),
	    cmocka_unit_test(test_start_and_new_call_descriptor_interrupt),
	    cmocka_unit_test(test_packed_ring_of_any_size),
	    cmocka_unit_test(test_memory_in_slots),
	    cmocka_unit_test(test_a_slot_that_is_named_for_each_pair),
	    cmocka_unit_test(test_a_slot_that_is_named_without_end),
	    cmocka_unit_test(test_what_concerns_the_network),
	    cmocka_unit_test(test_acknowledgements_are_sent_when_they_should),
	    cmocka_unit_test(test_reset_device_is_as_new),
	    cmocka_unit_test(test_front_end_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
