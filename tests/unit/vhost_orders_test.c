/*
 * vhost_orders_test.c - the device role serves front-ends in the orders that
 * real ones were seen to have: QEMU with one and two pairs, virtio_user,
 * user-mode Linux.
 */
#include "tests/unit/vhost_dev_kit.h"

/* QEMU 7.2, at its start: for each pair of the one connection. */
static void
qemu_head(uint32_t pair)
{
	uint32_t q;

	say(VHOST_GET_FEATURES, 1, NULL, 0);
	assert_int_equal(hear_u64(VHOST_GET_FEATURES),
	    OFFERED | BIT(VHOST_F_PROTOCOL_FEATURES));
	say(VHOST_GET_PROTOCOL_FEATURES, 1, NULL, 0);
	assert_int_equal(hear_u64(VHOST_GET_PROTOCOL_FEATURES), PROTOCOL);
	say_u64(
	    VHOST_SET_PROTOCOL_FEATURES, 1, PROTOCOL & ~BIT(VHOST_PF_CONFIG));
	say(VHOST_GET_QUEUE_NUM, 1, NULL, 0);
	assert_int_equal(hear_u64(VHOST_GET_QUEUE_NUM), QUEUES);
	say(VHOST_SET_OWNER, 1, NULL, 0);
	say(VHOST_GET_FEATURES, 1, NULL, 0);
	(void)hear_u64(VHOST_GET_FEATURES);
	for (q = 2 * pair; q < 2 * pair + 2; q++) {
		say_fd(VHOST_SET_VRING_CALL, 1, q, fx.call[q]);
		say_fd(VHOST_SET_VRING_ERR, 1, q, fx.err[q]);
	}
}

static void
qemu_rings(uint32_t pair)
{
	uint32_t q;

	for (q = 2 * pair; q < 2 * pair + 2; q++) {
		say_ring(q);
		say_fd(VHOST_SET_VRING_KICK, 1, q, fx.kick[q]);
		say_fd(VHOST_SET_VRING_CALL, 1, q, fx.call[q]);
	}
}

static void
enable_pair(uint32_t pair, uint32_t on)
{
	say_state(VHOST_SET_VRING_ENABLE, 1, 2 * pair, on);
	say_state(VHOST_SET_VRING_ENABLE, 1, 2 * pair + 1, on);
}

static void
qemu_features(void)
{
	say_u64(VHOST_SET_FEATURES, 1, ACKED);
	say(VHOST_GET_STATUS, 1, NULL, 0);
	(void)hear_u64(VHOST_GET_STATUS);
	say_u64(VHOST_SET_STATUS, 1, 8);
}

static void
qemu_one_pair(void)
{
	qemu_features();
	say_table(9);
	expect_ack(VHOST_SET_MEM_TABLE);
	qemu_rings(0);
	say(VHOST_GET_STATUS, 1, NULL, 0);
	assert_int_equal(hear_u64(VHOST_GET_STATUS), 8);
	say_u64(VHOST_SET_STATUS, 1, 0xf);
	kit_run(0);
	assert_true(fx.runs[0] && fx.runs[1]);
	assert_int_equal(fx.status, 0xf);
	assert_int_equal(fx.features, BIT(VIRTIO_F_VERSION_1));
}

static void
test_qemu_with_one_pair(void **state)
{
	int fds[2];

	(void)state;
	begin();
	qemu_head(0);
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	say_fds(VHOST_SET_BACKEND_REQ_FD, 9, NULL, 0, &fds[1], 1);
	expect_ack(VHOST_SET_BACKEND_REQ_FD);
	fd_close(&fds[1]);
	enable_pair(0, 1);
	enable_pair(0, 1);
	enable_pair(0, 1);
	qemu_one_pair();
	expect_sends(1);
	expect_sends(1);
	/* CONFIG was not acked. */
	assert_false(vhost_dev_config_changed(&fx.dev));
	/* The guest reboots. */
	say_u64(VHOST_SET_STATUS, 1, 0);
	kit_run(0);
	assert_false(fx.runs[0] || fx.runs[1]);
	assert_int_equal(fx.resets, 1);
	assert_int_equal(base_of(0), 0);
	assert_int_equal(base_of(1), 2);
	enable_pair(0, 1);
	memset(fx.ram, 0, RAM_BYTES);
	memset(fx.put, 0, sizeof fx.put);
	enable_pair(0, 1);
	qemu_one_pair();
	expect_sends(1);
	/* Its end. */
	say_u64(VHOST_SET_STATUS, 1, 0);
	assert_int_equal(base_of(0), 0);
	assert_int_equal(base_of(1), 1);
	enable_pair(0, 1);
	fd_close(&fds[0]);
	fd_close(&peer);
	kit_run(0);
	assert_int_equal(fx.gone, 1);
	assert_non_null(strstr(fx.why, "closed by its peer"));
	finish();
}

static void
test_qemu_with_two_pairs(void **state)
{
	(void)state;
	begin();
	qemu_head(0);
	qemu_head(1);
	enable_pair(0, 1);
	enable_pair(1, 0);
	qemu_features();
	say_table(9);
	expect_ack(VHOST_SET_MEM_TABLE);
	qemu_rings(0);
	kit_run(0);
	assert_true(fx.runs[0] && fx.runs[1]);
	/* The same features once more stop nothing. */
	say_u64(VHOST_SET_FEATURES, 1, ACKED);
	qemu_rings(1);
	say_u64(VHOST_SET_STATUS, 1, 0xf);
	kit_run(0);
	assert_int_equal(fx.ends[0] + fx.ends[1], 0);
	assert_false(fx.runs[2] || fx.runs[3]);
	expect_sends(1);
	/* Its guest asks it for two pairs. */
	enable_pair(1, 1);
	kit_run(0);
	assert_true(fx.runs[2] && fx.runs[3]);
	expect_sends(3);
	expect_sends(1);
	say_u64(VHOST_SET_STATUS, 1, 0);
	assert_int_equal(base_of(1), 2);
	assert_int_equal(base_of(3), 1);
	finish();
}

static void
test_virtio_user(void **state)
{
	uint32_t q;

	(void)state;
	begin();
	say(VHOST_SET_OWNER, 1, NULL, 0);
	say(VHOST_GET_FEATURES, 1, NULL, 0);
	(void)hear_u64(VHOST_GET_FEATURES);
	say(VHOST_GET_PROTOCOL_FEATURES, 1, NULL, 0);
	(void)hear_u64(VHOST_GET_PROTOCOL_FEATURES);
	say_u64(VHOST_SET_PROTOCOL_FEATURES, 1, 0x10009);
	say_fd(VHOST_SET_VRING_CALL, 1, 0, fx.call[0]);
	say_fd(VHOST_SET_VRING_CALL, 1, 1, fx.call[1]);
	say_u64(VHOST_SET_FEATURES, 1, ACKED);
	say_u64(VHOST_SET_STATUS, 9, 0xb);
	expect_ack(VHOST_SET_STATUS);
	say(VHOST_GET_STATUS, 1, NULL, 0);
	assert_int_equal(hear_u64(VHOST_GET_STATUS), 0xb);
	say_table(9);
	expect_ack(VHOST_SET_MEM_TABLE);
	for (q = 0; q < 2; q++) {
		say_ring(q);
		say_fd(VHOST_SET_VRING_KICK, 1, q, fx.kick[q]);
	}
	kit_run(0);
	assert_int_equal(fx.begins[0] + fx.begins[1], 0);
	enable_pair(0, 1);
	say_u64(VHOST_SET_STATUS, 9, 0xf);
	expect_ack(VHOST_SET_STATUS);
	assert_true(fx.runs[0] && fx.runs[1]);
	expect_sends(1);
	enable_pair(0, 0);
	kit_run(0);
	assert_false(fx.runs[0] || fx.runs[1]);
	assert_int_equal(base_of(0), 0);
	assert_int_equal(base_of(1), 1);
	finish();
}

/* --- cloud-hypervisor, which wants each request acknowledged -------------- */

static void
say_acked(uint32_t request, const void *payload, uint32_t size)
{
	say(request, 9, payload, size);
	expect_ack(request);
}

static void
enable_acked(uint32_t on)
{
	uint32_t q;

	for (q = 0; q < 2; q++) {
		const uint32_t state[2] = {q, on};

		say_acked(VHOST_SET_VRING_ENABLE, state, sizeof state);
	}
}

/* Its activate(); rings as those of queue `first` and the next of the kit. */
static void
cloud_start(uint32_t first, uint32_t base)
{
	const uint64_t features = ACKED;
	uint32_t q;

	say_acked(VHOST_SET_FEATURES, &features, sizeof features);
	say_table(9);
	expect_ack(VHOST_SET_MEM_TABLE);
	for (q = 0; q < 2; q++)
		say_acked(VHOST_SET_VRING_NUM, (uint32_t[]){q, ENTRIES}, 8);
	for (q = 0; q < 2; q++) {
		const uint64_t at = RAM_UVA + (first + q) * RING_BYTES;
		const uint64_t addr[5] = {q, at, at + USED_AT, at + AVAIL_AT};

		say_acked(VHOST_SET_VRING_ADDR, addr, sizeof addr);
		say_acked(VHOST_SET_VRING_BASE, (uint32_t[]){q, base}, 8);
		say_fd(VHOST_SET_VRING_CALL, 9, q, fx.call[q]);
		expect_ack(VHOST_SET_VRING_CALL);
		say_fd(VHOST_SET_VRING_KICK, 9, q, fx.kick[q]);
		expect_ack(VHOST_SET_VRING_KICK);
	}
	enable_acked(1);
	kit_run(0);
	assert_true(fx.runs[0] && fx.runs[1]);
}

/*
 * A driver is reset: the queues are disabled and never stopped, and what was
 * their rings may be anything when the next driver's are told.
 */
static void
test_cloud_hypervisor(void **state)
{
	uint8_t before[2 * RING_BYTES];
	uint64_t count;

	(void)state;
	begin();
	say(VHOST_SET_OWNER, 1, NULL, 0);
	say(VHOST_GET_FEATURES, 1, NULL, 0);
	(void)hear_u64(VHOST_GET_FEATURES);
	say(VHOST_GET_PROTOCOL_FEATURES, 1, NULL, 0);
	(void)hear_u64(VHOST_GET_PROTOCOL_FEATURES);
	say_u64(VHOST_SET_PROTOCOL_FEATURES, 1,
	    BIT(VHOST_PF_MQ) | BIT(VHOST_PF_REPLY_ACK) |
		BIT(VHOST_PF_CONFIGURE_MEM_SLOTS));
	/* Not less than its num_queues, which are single ones. */
	say(VHOST_GET_QUEUE_NUM, 1, NULL, 0);
	count = hear_u64(VHOST_GET_QUEUE_NUM);
	assert_true(count >= 2 && count <= QUEUES);
	cloud_start(0, 0);
	expect_sends(1);
	enable_acked(0);
	assert_false(fx.runs[0] || fx.runs[1]);
	memset(fx.ram, 1, sizeof before);
	memcpy(before, fx.ram, sizeof before);
	fx.put[1] = 0;
	cloud_start(2, 0);
	assert_memory_equal(fx.ram, before, sizeof before);
	/* The kit's driver of queue 3 has what is queue 1 here. */
	put(3, 1, 0);
	kick(1);
	assert_int_equal(used_of(3), 1);
	assert_memory_equal(fx.ram, before, sizeof before);
	finish();
}

/* A field of the config space, as user-mode Linux reads it. */
static void
uml_config(uint32_t size)
{
	uint32_t words[3] = {0, size, 0};
	uint8_t bytes[12 + 64] = {0}, reply[12 + 64];
	uint32_t i;

	memcpy(bytes, words, sizeof words);
	say(VHOST_GET_CONFIG, 1, bytes, 12 + size);
	hear(VHOST_GET_CONFIG, reply, 12 + size);
	assert_memory_equal(reply, words, 12);
	for (i = 0; i < size; i++)
		assert_int_equal(reply[12 + i], i + 1);
}

static void
uml_head(int request)
{
	say(VHOST_SET_OWNER, 1, NULL, 0);
	say(VHOST_GET_FEATURES, 1, NULL, 0);
	(void)hear_u64(VHOST_GET_FEATURES);
	say(VHOST_GET_PROTOCOL_FEATURES, 1, NULL, 0);
	(void)hear_u64(VHOST_GET_PROTOCOL_FEATURES);
	/* The message that acks REPLY_ACK gets an acknowledgement. */
	say_u64(VHOST_SET_PROTOCOL_FEATURES, 9, PROTOCOL & 0x4228);
	expect_ack(VHOST_SET_PROTOCOL_FEATURES);
	say_fds(VHOST_SET_BACKEND_REQ_FD, 9, NULL, 0, &request, 1);
	expect_ack(VHOST_SET_BACKEND_REQ_FD);
}

/* Its call descriptors are sockets: ours to read from are left in calls. */
static void
uml_start(int calls[3])
{
	const uint64_t table[9] = {1, RAM_GPA, RAM_BYTES, RAM_UVA, 0};
	uint32_t q, i;
	int pair[2];

	say_u64(VHOST_SET_FEATURES, 9, ACKED);
	expect_ack(VHOST_SET_FEATURES);
	uml_config(12);
	for (i = 1; i <= 8; i++)
		uml_config(i);
	say_fds(VHOST_SET_MEM_TABLE, 9, table, sizeof table, &fx.ram_fd, 1);
	expect_ack(VHOST_SET_MEM_TABLE);
	for (q = 0; q < 3; q++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
		calls[q] = pair[0];
		say_fd(VHOST_SET_VRING_CALL, 9, q, pair[1]);
		expect_ack(VHOST_SET_VRING_CALL);
		fd_close(&pair[1]);
		say_ring(q);
	}
	for (q = 0; q < 3; q++) {
		say_fd(VHOST_SET_VRING_KICK, 9, q, fx.kick[q]);
		expect_ack(VHOST_SET_VRING_KICK);
		assert_false(fx.runs[q]);
		say_state(VHOST_SET_VRING_ENABLE, 9, q, 1);
		expect_ack(VHOST_SET_VRING_ENABLE);
		assert_true(fx.runs[q]);
	}
}

static void
test_user_mode_linux(void **state)
{
	int calls[3], request[2];
	uint32_t q, message[3];
	uint8_t bytes[64];
	int i;

	(void)state;
	begin();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, request), 0);
	uml_head(request[1]);
	uml_start(calls);
	/* Interrupts are eight bytes on a socket. */
	while (recv(calls[1], bytes, sizeof bytes, MSG_DONTWAIT) > 0)
		;
	put(1, 1, 0);
	kick(1);
	assert_int_equal(used_of(1), 1);
	assert_int_equal(recv(calls[1], bytes, sizeof bytes, MSG_DONTWAIT), 8);
	assert_true(vhost_dev_config_changed(&fx.dev));
	assert_int_equal(
	    recv(request[0], message, sizeof message, MSG_DONTWAIT), 12);
	assert_int_equal(message[0], VHOST_BACKEND_CONFIG_CHANGE);
	assert_int_equal(message[1], 1);
	assert_int_equal(message[2], 0);
	/* Full, and then gone: neither waits nor ends anything. */
	for (i = 0; i < 5000; i++)
		vhost_queue_call(&fx.dev.queue[1]);
	fd_close(&calls[1]);
	vhost_queue_call(&fx.dev.queue[1]);
	/* The end: without GET_VRING_BASE. */
	for (q = 3; q-- > 0;) {
		say_state(VHOST_SET_VRING_ENABLE, 9, q, 0);
		expect_ack(VHOST_SET_VRING_ENABLE);
		assert_false(fx.runs[q]);
	}
	say(VHOST_GET_FEATURES, 1, NULL, 0);
	(void)hear_u64(VHOST_GET_FEATURES);
	fd_close(&request[0]);
	fd_close(&request[1]);
	fd_close(&calls[0]);
	fd_close(&calls[2]);
	finish();
}

static void
test_features_without_bit_30_enable_all(void **state)
{
	(void)state;
	begin();
	agree(PROTOCOL);
	say_table(1);
	say_ring(1);
	say_fd(VHOST_SET_VRING_CALL, 1, 1, fx.call[1]);
	say_fd(VHOST_SET_VRING_KICK, 1, 1, fx.kick[1]);
	kit_run(0);
	assert_false(fx.runs[1]);
	say_u64(VHOST_SET_FEATURES, 1, BIT(VIRTIO_F_VERSION_1));
	kit_run(0);
	assert_true(fx.runs[1]);
	expect_sends(1);
	finish();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_qemu_with_one_pair),
	    cmocka_unit_test(test_qemu_with_two_pairs),
	    cmocka_unit_test(test_virtio_user),
	    cmocka_unit_test(test_cloud_hypervisor),
	    cmocka_unit_test(test_user_mode_linux),
	    cmocka_unit_test(test_features_without_bit_30_enable_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
