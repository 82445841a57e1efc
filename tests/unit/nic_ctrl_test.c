/*
 * nic_ctrl_test.c - the nic's control queue, its receive filter, pairs of
 * queues, link, announcements, through a front-end and its driver.
 */
#include "tests/unit/nic_kit.h"

#define FE_CTRL                                                                \
	(FE_FEATURES | BIT(VIRTIO_NET_F_STATUS) | BIT(VIRTIO_NET_F_CTRL_VQ) |  \
	    BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_CTRL_VLAN) |          \
	    BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) |                                  \
	    BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) | BIT(VIRTIO_NET_F_MAC))
#define COMMAND 0x80000u /* offset of commands among the buffers */

/* A command as Linux cuts it; returns its answer. */
static uint8_t
command(
    unsigned queue, uint8_t class, uint8_t cmd, const void *data, uint32_t len)
{
	const uint32_t at = FE_BUFFERS + COMMAND;
	const struct part parts[] = {
	    {at, 2, false}, {at + 2, len, false}, {at + 4096, 1, true}};
	const struct part bare[] = {parts[0], parts[2]};

	fe.mem[at] = class;
	fe.mem[at + 1] = cmd;
	memcpy(fe.mem + at + 2, data, len);
	fe.mem[at + 4096] = 0xff;
	if (len > 0)
		fe_add(queue, parts, 3);
	else
		fe_add(queue, bare, 2);
	fe_kick(queue);
	assert_int_equal(fe_used(queue, NULL), 1);
	return fe.mem[at + 4096];
}

static uint16_t
status(void)
{
	uint8_t space[8];

	fe_config(sizeof space, space);
	return (uint16_t)(space[6] | space[7] << 8);
}

/* A CONFIG_CHANGE on the back-end channel. */
static void
wait_config_change(void)
{
	uint32_t head[3];

	wait_readable(fe.request);
	assert_int_equal(recv(fe.request, head, 12, MSG_WAITALL), 12);
	assert_int_equal(head[0], VHOST_BACKEND_CONFIG_CHANGE);
	assert_int_equal(head[2], 0);
}

/* --- the filter ----------------------------------------------------------- */

static void
test_the_filter_is_obeyed_and_told(void **state)
{
	const uint8_t table[] = {1, 0, 0, 0, 2, 0, 0, 0, 0, 9, 0, 0, 0, 0};
	const struct rx_filter *told = &kit.be.reports.filter;

	(void)state;
	set_up(FE_CTRL, 3);
	assert_true(told->known && told->promisc && told->vlan_filter);
	kit.be.reports.changed = false;
	assert_int_equal(
	    command(2, VIRTIO_NET_CTRL_RX, 0, "\0", 1), VIRTIO_NET_OK);
	assert_false(told->promisc);
	assert_true(kit.be.reports.changed);
	fill_frame(60, 1);
	frame[5] ^= 1; /* somebody else's */
	assert_true(kit_send(&kit, frame, 60));
	kit_publish(&kit);
	wait_counter(BC_OUT_DROP_FILTER, 1);
	fe_post(0, 0, 2048);
	lane_sends(60, 2);
	assert_int_equal(fe_used(0, NULL), HEAD + 60);
	assert_int_equal(command(2, VIRTIO_NET_CTRL_MAC,
			     VIRTIO_NET_CTRL_MAC_TABLE_SET, table, 14),
	    VIRTIO_NET_OK);
	assert_int_equal(told->uni_count, 1);
	assert_true(told->table[0] == UINT64_C(0x020000000009));
	assert_int_equal(
	    command(2, VIRTIO_NET_CTRL_VLAN, 0, "\5\0", 2), VIRTIO_NET_OK);
	assert_true(told->vlan[0] == BIT(5));
	tear_down();
}

static void
test_the_mac_that_was_set_is_shown(void **state)
{
	(void)state;
	set_up(FE_CTRL, 3);
	assert_int_equal(
	    command(2, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET,
		"\x02\0\0\0\0\x07", 6),
	    VIRTIO_NET_OK);
	assert_non_null(strstr(kit.be.info, "macaddr=02:00:00:00:00:07"));
	assert_true(kit.be.reports.filter.mac == UINT64_C(0x020000000007));
	/* Until the front-end goes. */
	fd_close(&fe.sock);
	wait_connected(false);
	assert_non_null(strstr(kit.be.info, "macaddr=52:54:00:12:34:56"));
	assert_true(kit.be.reports.filter.promisc);
	assert_false(kit.be.reports.filter.known);
	tear_down();
}

static void
test_errors_are_answered_and_change_nothing(void **state)
{
	struct rx_filter before;

	(void)state;
	set_up(FE_CTRL, 3);
	before = the_nic()->ctrl.filter;
	kit.be.reports.changed = false;
	assert_int_equal(command(2, 9, 9, "", 0), VIRTIO_NET_ERR);
	assert_int_equal(
	    command(2, VIRTIO_NET_CTRL_VLAN, 0, "\0\x10", 2), VIRTIO_NET_ERR);
	assert_int_equal(
	    command(2, VIRTIO_NET_CTRL_MQ, 0, "\1\0", 2), VIRTIO_NET_ERR);
	assert_true(rx_filter_equal(&before, &the_nic()->ctrl.filter));
	assert_false(kit.be.reports.changed);
	tear_down();
}

static void
test_a_command_of_impossible_length_is_an_error(void **state)
{
	const uint32_t at = FE_BUFFERS + COMMAND;
	const struct part parts[] = {
	    {at, NET_COMMAND_BYTES_MAX, false}, {at, 1, false}, {at, 1, true}};

	(void)state;
	set_up(FE_CTRL, 3);
	memset(fe.mem + at, 0, NET_COMMAND_BYTES_MAX);
	fe_add(2, parts, 3);
	fe_kick(2);
	assert_int_equal(fe_used(2, NULL), 1);
	assert_int_equal(fe.mem[at], VIRTIO_NET_ERR);
	assert_true(the_nic()->ctrl.filter.promisc);
	tear_down();
}

static void
test_malformed_commands_break_only_their_queue(void **state)
{
	const uint32_t at = FE_BUFFERS + COMMAND;
	const struct part no_answer = {at, 8, false},
			  no_command = {at, 8, true};
	const struct part cut[] = {{at, 1, false}, {at, 1, true}};
	const struct {
		const struct part *part;
		unsigned count;
	} wrong[] = {{&no_answer, 1}, {&no_command, 1}, {cut, 2}};
	unsigned i;

	(void)state;
	for (i = 0; i < 3; i++) {
		set_up(FE_CTRL, 3);
		fe_add(2, wrong[i].part, wrong[i].count);
		fe_kick(2);
		fe_barrier();
		kit_turn(&kit, 2);
		assert_true(the_nic()->dev.queue[2].q.broken);
		fill_frame(60, 1);
		fe_transmit(1, 0, frame, 60, NULL);
		assert_int_equal(next_frame(NULL), 60);
		tear_down();
	}
}

/* More than one turn obeys; frames go on in between. */
static void
test_a_flood_of_commands_is_all_answered(void **state)
{
	const uint32_t at = FE_BUFFERS + COMMAND;
	const struct part parts[] = {{at, 3, false}, {at + 8, 1, true}};
	unsigned i, round;

	(void)state;
	set_up(FE_CTRL, 3);
	memset(fe.mem + at, 0, 3);
	for (round = 0; round < 5; round++) {
		for (i = 0; i < 31; i++)
			fe_add(2, parts, 2);
		fe_kick(2);
		for (i = 0; i < 31; i++)
			assert_int_equal(fe_used(2, NULL), 1);
	}
	tear_down();
}

/* A driver that looks for its answer before its queue was enabled. */
static void
test_commands_are_answered_before_their_queue_is_enabled(void **state)
{
	const uint32_t at = FE_BUFFERS + COMMAND;
	const struct part parts[] = {{at, 3, false}, {at + 8, 1, true}};

	(void)state;
	set_up(FE_CTRL, 2);
	memset(fe.mem + at, 0, 3);
	fe.mem[at + 8] = 0xff;
	fe_add(2, parts, 2);
	fe_kick(2);
	fe_queue_start(2);
	assert_int_equal(fe_used(2, NULL), 1);
	assert_int_equal(fe.mem[at + 8], VIRTIO_NET_OK);
	fe_send_state(VHOST_SET_VRING_ENABLE, 2, 1);
	fe_barrier();
	assert_int_equal(
	    command(2, VIRTIO_NET_CTRL_RX, 0, "\0", 1), VIRTIO_NET_OK);
	tear_down();
}

/* --- offloads ------------------------------------------------------------- */

static void
lane_sends_large(uint32_t len)
{
	const struct frame_meta m = {.flags = META_NEEDS_CSUM,
	    .gso_type = META_GSO_TCPV4,
	    .gso_size = 1000,
	    .csum_start = 34,
	    .csum_offset = 16};
	uint8_t *room = NULL;

	memset(frame, 0, len);
	memcpy(frame, "\x52\x54\x00\x12\x34\x56", 6);
	frame[12] = 8; /* IPv4, TCP, no options */
	frame[14] = 0x45;
	frame[16] = (uint8_t)((len - 14) >> 8);
	frame[17] = (uint8_t)(len - 14);
	frame[23] = 6;
	frame[46] = 0x50;
	assert_true(ring_reserve_meta(&kit.to_backend, len, &room) > 0);
	memcpy(room, frame, len);
	ring_commit_meta(&kit.to_backend, len, &m);
	kit_publish(&kit);
}

static void
test_large_frames_reach_a_guest_that_takes_them(void **state)
{
	struct virtio_net_hdr h;
	uint64_t off = BIT(VIRTIO_NET_F_GUEST_CSUM);
	unsigned i;

	(void)state;
	set_up(FE_CTRL | BIT(VIRTIO_NET_F_GUEST_CSUM) |
		   BIT(VIRTIO_NET_F_GUEST_TSO4) |
		   BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS),
	    3);
	for (i = 0; i < 8; i++)
		fe_post(0, i * 2048, 2048);
	lane_sends_large(3054);
	assert_int_equal(fe_used(0, NULL), 2048);
	assert_int_equal(fe_used(0, NULL), HEAD + 3054 - 2048);
	memcpy(&h, fe.mem + FE_BUFFERS, sizeof h);
	assert_int_equal(h.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(h.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(h.gso_size, 1000);
	assert_int_equal(h.hdr_len, 54);
	assert_int_equal(h.csum_start, 34);
	assert_int_equal(h.csum_offset, 16);
	/* At run time it takes them no more: three segments. */
	assert_int_equal(command(2, VIRTIO_NET_CTRL_GUEST_OFFLOADS,
			     VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, &off, 8),
	    VIRTIO_NET_OK);
	lane_sends_large(3054);
	for (i = 0; i < 3; i++)
		assert_int_equal(fe_used(0, NULL), HEAD + 1054);
	memcpy(&h, fe.mem + FE_BUFFERS + 2 * 2048, sizeof h);
	assert_int_equal(h.gso_type, 0);
	tear_down();
}

static void
test_a_guest_without_offloads_gets_complete_frames(void **state)
{
	uint32_t i;

	(void)state;
	set_up(FE_FEATURES, 2);
	for (i = 0; i < 4; i++)
		fe_post(0, i * 2048, 2048);
	lane_sends_large(3054);
	for (i = 0; i < 3; i++) {
		assert_int_equal(fe_used(0, NULL), HEAD + 1054);
		assert_memory_equal(fe.mem + FE_BUFFERS + i * 2048,
		    "\0\0\0\0\0\0\0\0\0\0\1\0", HEAD);
	}
	wait_counter(BC_OUT_FRAMES, 3);
	tear_down();
}

/* Acked, but the buffers are short: not again. */
static void
test_short_buffers_end_large_frames(void **state)
{
	uint32_t i;

	(void)state;
	set_up(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_GUEST_CSUM) |
		   BIT(VIRTIO_NET_F_GUEST_TSO4),
	    2);
	for (i = 0; i < 4; i++)
		fe_post(0, i * 2048, 2048);
	lane_sends_large(3054);
	wait_counter(BC_OUT_DROP_SIZE, 1);
	lane_sends_large(3054);
	for (i = 0; i < 3; i++)
		assert_int_equal(fe_used(0, NULL), HEAD + 1054);
	tear_down();
}

/* --- pairs ---------------------------------------------------------------- */

/* A frame of UDP between two ports; the same flow in both directions. */
static void
lane_sends_flow(uint16_t from, uint16_t to)
{
	fill_frame(60, 0);
	frame[12] = 8;
	frame[13] = 0;
	frame[14] = 0x45;
	frame[23] = 17;
	frame[34] = (uint8_t)(from >> 8);
	frame[35] = (uint8_t)from;
	frame[36] = (uint8_t)(to >> 8);
	frame[37] = (uint8_t)to;
	assert_true(kit_send(&kit, frame, 60));
	kit_publish(&kit);
}

static void
test_pairs_serve_once_the_driver_says_so(void **state)
{
	unsigned i, on_second;

	(void)state;
	options.has_queues = true;
	options.queues = 4;
	set_up(FE_CTRL | BIT(VIRTIO_NET_F_MQ), 9);
	fe_post(0, 0, 256);
	fe_post(2, 256, 256);
	fill_frame(60, 1);
	/* The second pair does not serve: its frames stay. */
	fe_transmit(3, 4096, frame, 60, NULL);
	kit_turn(&kit, 3);
	assert_int_equal(kit_counter(&kit, BC_IN_FRAMES), 0);
	assert_int_equal(kit.be.reports.pairs, 1);
	assert_int_equal(
	    command(8, VIRTIO_NET_CTRL_MQ, 0, "\2\0", 2), VIRTIO_NET_OK);
	assert_int_equal(kit.be.reports.pairs, 2);
	assert_int_equal(next_frame(NULL), 60);
	for (i = 0; i < 30; i++) {
		fe_post(0, i * 256, 256);
		fe_post(2, 65536 + i * 256, 256);
	}
	for (i = 0; i < 20; i++)
		lane_sends_flow((uint16_t)(1000 + i), 53);
	wait_counter(BC_OUT_FRAMES, 20);
	on_second = fe_used_count(2);
	assert_true(on_second > 2 && on_second < 18);
	assert_int_equal(fe_used_count(0) + on_second, 20);
	/* The other direction of each goes the same way. */
	for (i = 0; i < 10; i++)
		lane_sends_flow(53, (uint16_t)(1000 + i));
	wait_counter(BC_OUT_FRAMES, 30);
	i = fe_used_count(2) - on_second;
	while (fe_used_count(2) > 0)
		(void)fe_used(2, NULL);
	for (unsigned j = 0; j < 10; j++)
		lane_sends_flow((uint16_t)(1000 + j), 53);
	wait_counter(BC_OUT_FRAMES, 40);
	assert_int_equal(fe_used_count(2), i);
	tear_down();
}

/* QEMU serves the control queue itself, and enables pairs one by one. */
static void
test_pairs_are_counted_when_commands_are_not_heard(void **state)
{
	unsigned i;

	(void)state;
	options.has_queues = true;
	options.queues = 2;
	set_up(FE_FEATURES | BIT(VIRTIO_NET_F_MQ), 2);
	assert_int_equal(kit.be.reports.pairs, 1);
	for (i = 2; i < 4; i++) {
		fe_queue_start(i);
		fe_send_state(VHOST_SET_VRING_ENABLE, i, 1);
	}
	fe_barrier();
	assert_int_equal(kit.be.reports.pairs, 2);
	for (i = 2; i < 4; i++)
		fe_send_state(VHOST_SET_VRING_ENABLE, i, 0);
	fe_barrier();
	assert_int_equal(kit.be.reports.pairs, 1);
	tear_down();
}

/*
 * cloud-hypervisor agrees to a control queue and serves it itself: how many
 * pairs the driver has asked for is never heard.
 */
static void
test_all_pairs_are_taken_from_when_commands_are_not_heard(void **state)
{
	unsigned i;

	(void)state;
	options.has_queues = true;
	options.queues = 2;
	set_up(
	    FE_FEATURES | BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_MQ), 4);
	assert_int_equal(kit.be.reports.pairs, 2);
	fill_frame(60, 1);
	fe_transmit(3, 4096, frame, 60, NULL);
	assert_int_equal(next_frame(NULL), 60);
	/* A driver with one processor fills no second ring: no flow waits. */
	for (i = 0; i < 20; i++)
		fe_post(0, i * 256, 256);
	for (i = 0; i < 20; i++)
		lane_sends_flow((uint16_t)(1000 + i), 53);
	wait_counter(BC_OUT_FRAMES, 20);
	assert_int_equal(fe_used_count(0), 20);
	tear_down();
}

/* --- link and announcing -------------------------------------------------- */

static void
test_the_link_reaches_the_guest_and_stops_frames(void **state)
{
	(void)state;
	set_up(FE_CTRL, 3);
	assert_int_equal(status(), VIRTIO_NET_S_LINK_UP);
	backend_type.link(kit.be.self, false);
	wait_config_change();
	assert_int_equal(status(), 0);
	/* The guest's frames are taken all the same. */
	fill_frame(60, 1);
	fe_transmit(1, 0, frame, 60, NULL);
	(void)fe_used(1, NULL);
	wait_counter(BC_IN_DROP_LINK, 1);
	fe_post(0, 4096, 2048);
	lane_sends(60, 2);
	wait_counter(BC_OUT_DROP_DISCONNECTED, 1);
	backend_type.link(kit.be.self, true);
	wait_config_change();
	assert_int_equal(
	    status(), VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	assert_int_equal(
	    command(2, VIRTIO_NET_CTRL_ANNOUNCE, 0, "", 0), VIRTIO_NET_OK);
	assert_int_equal(status(), VIRTIO_NET_S_LINK_UP);
	assert_int_equal(
	    command(2, VIRTIO_NET_CTRL_ANNOUNCE, 0, "", 0), VIRTIO_NET_ERR);
	lane_sends(60, 3);
	assert_int_equal(fe_used(0, NULL), HEAD + 60);
	fill_frame(60, 4);
	fe_transmit(1, 0, frame, 60, NULL);
	assert_int_equal(next_frame(NULL), 60);
	assert_int_equal(kit_counter(&kit, BC_IN_FRAMES), 1);
	tear_down();
}

static void
test_a_link_that_goes_down_frees_what_waits(void **state)
{
	(void)state;
	set_up(FE_CTRL, 3);
	lane_sends(60, 1);
	kit_turn(&kit, 3);
	assert_true(the_nic()->rx_blocked);
	backend_type.link(kit.be.self, false);
	wait_counter(BC_OUT_DROP_DISCONNECTED, 1);
	tear_down();
}

static void
test_a_new_front_end_is_told_to_announce_itself(void **state)
{
	(void)state;
	set_up(FE_CTRL, 3);
	assert_int_equal(status(), VIRTIO_NET_S_LINK_UP);
	fd_close(&fe.sock);
	wait_connected(false);
	fe_connect();
	fe_start(FE_CTRL, 3);
	assert_int_equal(
	    status(), VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	wait_config_change();
	tear_down();
}

static void
test_rarp(void **state)
{
	static const uint8_t mac[8] = {2, 3, 4, 5, 6, 7};
	static const uint8_t all[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,
	    3, 4, 5, 6, 7, 0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3, 2, 3, 4, 5, 6, 7,
	    0, 0, 0, 0, 2, 3, 4, 5, 6, 7};

	(void)state;
	set_up(FE_FEATURES, 2);
	fe_send(VHOST_SEND_RARP, mac, 8, -1);
	assert_int_equal(next_frame(NULL), 60);
	assert_memory_equal(got, all, 60);
	tear_down();
}

/* --- what is told --------------------------------------------------------- */

static void
test_features_and_pairs_are_told(void **state)
{
	(void)state;
	set_up(FE_CTRL, 3);
	assert_true(kit.be.reports.features == FE_CTRL);
	assert_int_equal(kit.be.reports.pairs, 1);
	fe_send_u64(VHOST_SET_STATUS, 0, -1);
	fe_barrier();
	assert_true(kit.be.reports.features == 0);
	assert_int_equal(kit.be.reports.pairs, 0);
	assert_true(the_nic()->runs == 0);
	tear_down();
}

static void
test_the_config_space_is_the_cards(void **state)
{
	static const uint8_t all[12] = {
	    0x52, 0x54, 0, 0x12, 0x34, 0x99, 1, 0, 2, 0, 0x28, 0x23};
	uint8_t space[12];

	(void)state;
	options.has_queues = options.has_mtu = true;
	options.queues = 2;
	options.mtu = 9000;
	options.macaddr = (char[]){"52:54:00:12:34:99"};
	set_up(FE_CTRL, 3);
	fe_config(sizeof space, space);
	assert_memory_equal(space, all, sizeof all);
	assert_int_equal(fe_ask(VHOST_GET_QUEUE_NUM), 5);
	tear_down();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_the_filter_is_obeyed_and_told),
	    cmocka_unit_test(test_the_mac_that_was_set_is_shown),
	    cmocka_unit_test(test_errors_are_answered_and_change_nothing),
	    cmocka_unit_test(test_a_command_of_impossible_length_is_an_error),
	    cmocka_unit_test(test_malformed_commands_break_only_their_queue),
	    cmocka_unit_test(test_a_flood_of_commands_is_all_answered),
	    cmocka_unit_test(
		test_commands_are_answered_before_their_queue_is_enabled),
	    cmocka_unit_test(test_large_frames_reach_a_guest_that_takes_them),
	    cmocka_unit_test(
		test_a_guest_without_offloads_gets_complete_frames),
	    cmocka_unit_test(test_short_buffers_end_large_frames),
	    cmocka_unit_test(test_pairs_serve_once_the_driver_says_so),
	    cmocka_unit_test(
		test_pairs_are_counted_when_commands_are_not_heard),
	    cmocka_unit_test(
		test_all_pairs_are_taken_from_when_commands_are_not_heard),
	    cmocka_unit_test(test_the_link_reaches_the_guest_and_stops_frames),
	    cmocka_unit_test(test_a_link_that_goes_down_frees_what_waits),
	    cmocka_unit_test(test_a_new_front_end_is_told_to_announce_itself),
	    cmocka_unit_test(test_rarp),
	    cmocka_unit_test(test_features_and_pairs_are_told),
	    cmocka_unit_test(test_the_config_space_is_the_cards),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
