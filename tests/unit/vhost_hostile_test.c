/*
 * vhost_hostile_test.c - what a hostile front-end can say to the device role:
 * each is refused with an acknowledgement when one was asked for and agreed,
 * else with the end of the connection and a text; nothing waits, nothing leaks.
 */
#include "tests/unit/vhost_dev_kit.h"

static void
refused_u64(uint32_t request, uint64_t value, const char *why)
{
	refused(NULL, request, &value, sizeof value, NULL, 0, why);
}

static void
refused_state(uint32_t request, uint32_t index, uint32_t num, const char *why)
{
	const uint32_t state[2] = {index, num};

	refused(NULL, request, state, sizeof state, NULL, 0, why);
}

/* --- requests ------------------------------------------------------------- */

static void
test_unknown_and_misshapen_requests(void **state)
{
	static const uint8_t zeroes[268];
	int fd = event_new(0);

	(void)state;
	refused(NULL, 0, NULL, 0, NULL, 0, "request 0: is not known");
	refused(NULL, 22, zeroes, 32, NULL, 0, "request 22: is not known");
	refused(NULL, 35, zeroes, 8, NULL, 0, "request 35: is not known");
	refused(NULL, 0xffffffff, zeroes, 8, &fd, 1, "request 4294967295:");
	refused(NULL, VHOST_SET_FEATURES, zeroes, 4, NULL, 0,
	    "SET_FEATURES: has an impossible size");
	refused(NULL, VHOST_GET_FEATURES, zeroes, 8, NULL, 0,
	    "GET_FEATURES: has an impossible size");
	refused(NULL, VHOST_SET_FEATURES, zeroes, 8, &fd, 1,
	    "SET_FEATURES: has too many descriptors");
	refused(NULL, VHOST_ADD_MEM_REG, zeroes, 40, NULL, 0,
	    "ADD_MEM_REG: lacks a descriptor");
	fd_close(&fd);
}

static void
test_logging_is_refused(void **state)
{
	static const uint8_t zeroes[16];
	const uint64_t addr[5] = {1 | BIT(32), RAM_UVA, RAM_UVA, RAM_UVA, 0};
	int fd = event_new(0);

	(void)state;
	refused(NULL, VHOST_SET_LOG_BASE, zeroes, 16, &fd, 1, "logging");
	refused(NULL, VHOST_SET_LOG_FD, NULL, 0, &fd, 1, "logging");
	refused(NULL, VHOST_SET_VRING_ADDR, addr, 40, NULL, 0, "logging");
	fd_close(&fd);
}

static void
test_features_that_cannot_be(void **state)
{
	(void)state;
	refused_u64(VHOST_SET_FEATURES, UINT64_MAX, "not offered");
	refused_u64(VHOST_SET_FEATURES, BIT(26), "not offered: 0x4000000");
	refused_u64(VHOST_SET_FEATURES, BIT(VIRTIO_NET_F_MQ), "go together");
	refused_u64(VHOST_SET_PROTOCOL_FEATURES, BIT(14), "not offered");
	refused_u64(VHOST_SET_PROTOCOL_FEATURES, UINT64_MAX, "not offered");
	refused_u64(VHOST_SET_STATUS, 0x100, "no status");
}

static void
features_final(void)
{
	say_u64(VHOST_SET_STATUS, 1, 0xb);
}

static void
test_features_are_final_after_features_ok(void **state)
{
	const uint64_t other = BIT(VIRTIO_F_VERSION_1) |
			       BIT(VIRTIO_RING_F_EVENT_IDX) |
			       BIT(VHOST_F_PROTOCOL_FEATURES);

	(void)state;
	refused(
	    features_final, VHOST_SET_FEATURES, &other, 8, NULL, 0, "final");
	/* FEATURES_OK without features does not stay. */
	begin();
	say_u64(VHOST_SET_STATUS, 1, 0xb);
	say(VHOST_GET_STATUS, 1, NULL, 0);
	assert_int_equal(hear_u64(VHOST_GET_STATUS), 3);
	finish();
}

static void
test_queues_that_are_not_there(void **state)
{
	static const uint32_t by_state[] = {VHOST_SET_VRING_NUM,
	    VHOST_SET_VRING_BASE, VHOST_GET_VRING_BASE, VHOST_SET_VRING_ENABLE};
	uint64_t addr[5] = {QUEUES, RAM_UVA, RAM_UVA, RAM_UVA, 0};
	uint64_t number = QUEUES;
	int fd = event_new(0);
	uint32_t request;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof by_state / sizeof *by_state; i++) {
		refused_state(by_state[i], QUEUES, 1, "no queue 6, only 6");
		refused_state(by_state[i], 300, 1, "no queue 300");
		refused_state(by_state[i], UINT32_MAX, 1, "no queue");
	}
	refused(NULL, VHOST_SET_VRING_ADDR, addr, 40, NULL, 0, "no queue 6");
	for (request = VHOST_SET_VRING_KICK; request <= VHOST_SET_VRING_ERR;
	     request++)
		refused(NULL, request, &number, 8, &fd, 1, "no queue 6");
	fd_close(&fd);
}

static void
test_impossible_ring_sizes_and_states(void **state)
{
	static const uint32_t sizes[] = {0, 3, 100, 32769, 65536, UINT32_MAX};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof sizes / sizeof *sizes; i++)
		refused_state(
		    VHOST_SET_VRING_NUM, 1, sizes[i], "SET_VRING_NUM: queue 1");
	refused_state(VHOST_SET_VRING_ENABLE, 1, 2, "neither on nor off");
}

static void
memory_and_size(void)
{
	say_table(1);
	say_state(VHOST_SET_VRING_NUM, 1, 1, ENTRIES);
}

static void
test_ring_addresses_that_cannot_be(void **state)
{
	const uint64_t end = RAM_UVA + RAM_BYTES;
	const uint64_t cases[][3] = {
	    /* desc, used, avail: not aligned */
	    {RAM_UVA + 8, RAM_UVA, RAM_UVA},
	    {RAM_UVA, RAM_UVA + 2, RAM_UVA},
	    {RAM_UVA, RAM_UVA, RAM_UVA + 1},
	    /* across the end, by a little; outside; the guest's addresses */
	    {end - 16 * ENTRIES + 16, RAM_UVA, RAM_UVA},
	    {RAM_UVA, end - 4 - 8 * ENTRIES + 4, RAM_UVA},
	    {RAM_UVA, RAM_UVA, end - 4 - 2 * ENTRIES + 2},
	    {end, RAM_UVA, RAM_UVA},
	    {RAM_UVA - 4096, RAM_UVA, RAM_UVA},
	    {RAM_GPA, RAM_GPA, RAM_GPA},
	    {UINT64_MAX - 15, RAM_UVA, RAM_UVA},
	};
	uint64_t addr[5] = {1};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		memcpy(addr + 1, cases[i], sizeof cases[i]);
		refused(memory_and_size, VHOST_SET_VRING_ADDR, addr, 40, NULL,
		    0, "SET_VRING_ADDR: queue 1: addresses");
	}
}

static void
bad_ring(void)
{
	const uint64_t addr[5] = {1, RAM_UVA + RAM_BYTES, RAM_UVA, RAM_UVA, 0};

	/* Nothing says yet that it cannot be. */
	say(VHOST_SET_VRING_ADDR, 1, addr, 40);
	say_state(VHOST_SET_VRING_NUM, 1, 1, ENTRIES);
	say_table(1);
}

static void
test_ring_that_memory_does_not_hold_does_not_start(void **state)
{
	const uint64_t one = 1;
	int fd = event_new(0);

	(void)state;
	refused(bad_ring, VHOST_SET_VRING_KICK, &one, 8, &fd, 1,
	    "not in the shared memory");
	fd_close(&fd);
}

/* --- rings ---------------------------------------------------------------- */

static void
test_broken_ring_is_told_once_and_stops_alone(void **state)
{
	uint64_t told;

	(void)state;
	begin();
	start_pair();
	say_fd(VHOST_SET_VRING_ERR, 1, 1, fx.err[1]);
	say_fd(VHOST_SET_VRING_KICK, 1, 3, fx.kick[3]);
	say_fd(VHOST_SET_VRING_CALL, 1, 3, fx.call[3]);
	say_ring(3);
	say_state(VHOST_SET_VRING_ENABLE, 1, 3, 1);
	kit_run(0);
	avail_of(1)->idx = 1000;
	kick(1);
	kick(1);
	kick(1);
	told = signals(fx.err[1]);
	assert_int_equal(told, 1);
	assert_int_equal(fx.broken, 1);
	assert_true(fx.dev.queue[1].q.broken);
	expect_sends(3);
	/* Stopped and set up again it is as new. */
	say_state(VHOST_GET_VRING_BASE, 1, 1, 0);
	hear(VHOST_GET_VRING_BASE, &told, sizeof told);
	avail_of(1)->idx = 0;
	say_ring(1);
	say_fd(VHOST_SET_VRING_KICK, 1, 1, fx.kick[1]);
	expect_sends(1);
	finish();
}

static void
test_broken_ring_that_is_drained(void **state)
{
	(void)state;
	begin();
	start_pair();
	say_fd(VHOST_SET_VRING_ERR, 1, 1, fx.err[1]);
	say_state(VHOST_SET_VRING_ENABLE, 1, 1, 0);
	kit_run(0);
	avail_of(1)->idx = 0x8000;
	kick(1);
	assert_int_equal(signals(fx.err[1]), 1);
	say(VHOST_GET_FEATURES, 1, NULL, 0);
	(void)hear_u64(VHOST_GET_FEATURES);
	finish();
}

/* --- the rest ------------------------------------------------------------- */

static void
test_config_out_of_range(void **state)
{
	static const uint32_t cases[][2] = {{256, 1}, {0, 257}, {1, 256},
	    {UINT32_MAX, 1}, {1, UINT32_MAX}, {0, 9}};
	uint8_t bytes[12 + 8] = {0};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		memcpy(bytes, cases[i], 8);
		refused(NULL, VHOST_SET_CONFIG, bytes, sizeof bytes, NULL, 0,
		    "SET_CONFIG");
		begin();
		say(VHOST_GET_CONFIG, 1, bytes, sizeof bytes);
		hear(VHOST_GET_CONFIG, NULL, 0);
		finish();
	}
}

static void
test_what_was_not_offered_is_refused(void **state)
{
	static const uint8_t zeroes[40];
	static const struct {
		uint32_t request, size;
	} cases[] = {{17, 0}, {19, 8}, {20, 8}, {24, 12}, {25, 12}, {34, 0},
	    {36, 0}, {39, 8}, {40, 0}};
	struct vhost_dev_ops bare = user_ops;
	size_t i;

	(void)state;
	bare.protocol = 0;
	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		begin();
		fx.dev.ops = &bare;
		say(cases[i].request, 9, zeroes, cases[i].size);
		expect_gone("was not offered");
		finish();
	}
}

static void
test_front_end_may_be_dropped_in_any_call(void **state)
{
	(void)state;
	begin();
	start_pair();
	fx.drops_when_kicked = true;
	put(1, 1, 0);
	kick(1);
	assert_false(vhost_dev_connected(&fx.dev));
	assert_false(fx.runs[0] || fx.runs[1]);
	fx.drops_when_kicked = false;
	connect_again();
	start_pair();
	fx.drops_when_ended = true;
	say_fd(VHOST_SET_VRING_KICK, 1, 1, fx.kick[1]);
	kit_run(0);
	assert_false(vhost_dev_connected(&fx.dev));
	fx.drops_when_ended = false;
	connect_again();
	start_pair();
	fx.drops_when_ended = true;
	say_table(9);
	kit_run(0);
	assert_false(vhost_dev_connected(&fx.dev));
	assert_int_equal(fx.dev.memory.count, 0);
	fx.drops_when_ended = false;
	connect_again();
	start_pair();
	fx.drops_when_ended = true;
	say_state(VHOST_GET_VRING_BASE, 1, 1, 0);
	kit_run(0);
	assert_int_equal(fx.gone, 0);
	fx.drops_when_ended = false;
	finish();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_unknown_and_misshapen_requests),
	    cmocka_unit_test(test_logging_is_refused),
	    cmocka_unit_test(test_features_that_cannot_be),
	    cmocka_unit_test(test_features_are_final_after_features_ok),
	    cmocka_unit_test(test_queues_that_are_not_there),
	    cmocka_unit_test(test_impossible_ring_sizes_and_states),
	    cmocka_unit_test(test_ring_addresses_that_cannot_be),
	    cmocka_unit_test(
		test_ring_that_memory_does_not_hold_does_not_start),
	    cmocka_unit_test(test_broken_ring_is_told_once_and_stops_alone),
	    cmocka_unit_test(test_broken_ring_that_is_drained),
	    cmocka_unit_test(test_config_out_of_range),
	    cmocka_unit_test(test_what_was_not_offered_is_refused),
	    cmocka_unit_test(test_front_end_may_be_dropped_in_any_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
