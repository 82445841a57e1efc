/*
 * nic_test.c - the nic between the lane and a front-end with its driver: how
 * they meet, frames both ways, metadata, back-pressure, reconnection.
 */
#include "tests/unit/nic_kit.h"

/* --- options -------------------------------------------------------------- */

static void
refuse(const char *why)
{
	struct net_ctrl_config c;
	struct err err = {.text = ""};

	assert_int_equal(nic_config(&options, &c, &err), -EINVAL);
	if (!strstr(err.text, why))
		fail_msg("%s", err.text);
	memset(&options, 0, sizeof options);
}

static void
test_options_are_judged(void **state)
{
	struct net_ctrl_config c;
	struct err err;

	(void)state;
	memset(&options, 0, sizeof options);
	options.model = (char[]){"e1000"};
	refuse("virtio-net-pci");
	options.macaddr = (char[]){"52:54"};
	refuse("macaddr=52:54");
	options.macaddr = (char[]){"01:00:00:00:00:01"};
	refuse("multicast");
	options.has_queues = true;
	refuse("queues=0");
	options.has_queues = true;
	options.queues = 17;
	refuse("1 to 16");
	options.has_mtu = true;
	options.mtu = 67;
	refuse("mtu=67");
	options.has_queues = options.has_ctrl_vq = true;
	options.queues = 2;
	refuse("ctrl_vq");
	options.model = (char[]){"virtio"};
	options.has_mtu = options.has_packed = true;
	options.mtu = 68;
	assert_int_equal(nic_config(&options, &c, &err), 0);
	assert_int_equal(c.mtu, 68);
	assert_int_equal(c.pairs, 1);
	assert_true(c.csum && c.guest_uso6 && c.mrg_rxbuf && !c.packed);
	memset(&options, 0, sizeof options);
}

/* --- frames --------------------------------------------------------------- */

static void
test_frames_go_both_ways(void **state)
{
	uint32_t id = 99;

	(void)state;
	set_up(FE_FEATURES, 2);
	assert_string_equal(kit.be.info,
	    "model=virtio-net-pci,macaddr=52:54:00:12:34:56,queues=1");
	fill_frame(60, 1);
	fe_transmit(1, 0, frame, 60, NULL);
	assert_int_equal(next_frame(NULL), 60);
	assert_memory_equal(got, frame, 60);
	assert_int_equal(fe_used(1, &id), 0);
	assert_int_equal(id, 0);
	assert_int_equal(kit_counter(&kit, BC_IN_FRAMES), 1);

	fe_post(0, 4096, 2048);
	lane_sends(1514, 2);
	assert_int_equal(fe_used(0, NULL), HEAD + 1514);
	assert_memory_equal(
	    fe.mem + FE_BUFFERS + 4096, "\0\0\0\0\0\0\0\0\0\0\1\0", HEAD);
	assert_memory_equal(fe.mem + FE_BUFFERS + 4096 + HEAD, frame, 1514);
	assert_int_equal(fe.mem[FE_BUFFERS + 4096 + HEAD + 1514], 0xee);
	wait_counter(BC_OUT_FRAMES, 1);
	assert_int_equal(kit_counter(&kit, BC_OUT_BYTES), 1514);
	tear_down();
}

/* Also over the end of both rings, in order and none lost. */
static void
test_many_frames_keep_their_order(void **state)
{
	unsigned i, j;

	(void)state;
	set_up(FE_FEATURES, 2);
	for (i = 0; i < 40; i++) {
		for (j = 0; j < 20; j++) {
			fill_frame(64, (uint8_t)(i * 20 + j));
			fe_transmit(1, j * 256, frame, 64, NULL);
			fe_post(0, 65536 + j * 256, 128);
		}
		for (j = 0; j < 20; j++) {
			assert_int_equal(next_frame(NULL), 64);
			assert_int_equal(got[20], (uint8_t)(i * 20 + j));
			fill_frame(64, (uint8_t)(i * 20 + j));
			assert_true(kit_send(&kit, frame, 64));
		}
		kit_publish(&kit);
		for (j = 0; j < 20; j++) {
			(void)fe_used(1, NULL);
			assert_int_equal(fe_used(0, NULL), HEAD + 64);
			assert_int_equal(
			    fe.mem[FE_BUFFERS + 65536 + j * 256 + HEAD + 20],
			    (uint8_t)(i * 20 + j));
		}
	}
	assert_int_equal(kit_counter(&kit, BC_IN_FRAMES), 800);
	tear_down();
}

/* Header and data in any layout. */
static void
test_a_frame_may_be_cut_anywhere(void **state)
{
	uint32_t cut, len = 100;
	const uint32_t at = FE_BUFFERS;

	(void)state;
	set_up(FE_FEATURES, 2);
	fill_frame(len, 3);
	memset(fe.mem + at, 0, HEAD);
	memcpy(fe.mem + at + HEAD, frame, len);
	for (cut = 1; cut < HEAD + len; cut++) {
		const struct part two[] = {
		    {at, cut, false}, {at + cut, HEAD + len - cut, false}};

		fe_add(1, two, 2);
		fe_kick(1);
		assert_int_equal(next_frame(NULL), len);
		assert_memory_equal(got, frame, len);
		(void)fe_used(1, NULL);
	}
	{
		const struct part many[] = {{at, 1, false}, {at + 1, 8, false},
		    {at + 9, 5, false}, {at + 14, 1, false},
		    {at + 15, 97, false}};

		fe_add(1, many, 5);
		fe_kick(1);
		assert_int_equal(next_frame(NULL), len);
		assert_memory_equal(got, frame, len);
	}
	tear_down();
}

static void
test_frames_of_impossible_length_are_dropped(void **state)
{
	const uint32_t at = FE_BUFFERS;
	const struct part none = {at, HEAD, false},
			  tiny = {at, HEAD + 13, false};
	const struct part huge[] = {{at, 40000, false}, {at, 40000, false}};

	(void)state;
	set_up(FE_FEATURES, 2);
	memset(fe.mem + at, 0, HEAD);
	fe_add(1, &none, 1);
	fe_add(1, &tiny, 1);
	fe_add(1, huge, 2);
	fill_frame(14, 1);
	fe_transmit(1, 0, frame, 14, NULL);
	assert_int_equal(next_frame(NULL), 14);
	assert_int_equal(kit_counter(&kit, BC_IN_DROP_SIZE), 3);
	while (fe.q[1].seen < 4)
		(void)fe_used(1, NULL);
	tear_down();
}

/* VIRTIO_F_IN_ORDER: chains come back as they went, sent, received or not. */
static void
test_what_is_taken_comes_back_in_its_order(void **state)
{
	const struct part none = {FE_BUFFERS, HEAD, false};
	uint32_t i, id, first[2];

	(void)state;
	set_up(FE_FEATURES | BIT(VIRTIO_F_IN_ORDER), 2);
	fill_frame(1000, 1);
	first[0] = fe.q[0].next;
	first[1] = fe.q[1].next;
	for (i = 0; i < 30; i++) {
		fe_post(0, 0x8000 + i * 2048, 600);
		if (i % 3 == 1)
			fe_add(1, &none, 1); /* dropped */
		else
			fe_transmit(1, i * 1024, frame, 60 + i, NULL);
	}
	/* Of one buffer and of two. */
	for (i = 0; i < 20; i++)
		lane_sends(i % 2 ? 1000 : 60, (uint8_t)i);
	for (i = 0; i < 30; i++) {
		(void)fe_used(0, &id);
		assert_int_equal(id, first[0] + i);
		(void)fe_used(1, &id);
		assert_int_equal(id, first[1] + i);
	}
	tear_down();
}

/* --- metadata ------------------------------------------------------------- */

static const struct virtio_net_hdr csum = {
    .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16};
static const struct virtio_net_hdr tso = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
    .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
    .hdr_len = 54,
    .gso_size = 1448,
    .csum_start = 34,
    .csum_offset = 16};

static void
test_metadata_goes_to_the_lane(void **state)
{
	struct frame_meta m;

	(void)state;
	set_up(
	    FE_FEATURES | BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4),
	    2);
	fill_frame(9000, 1);
	fe_transmit(1, 0, frame, 9000, &csum);
	assert_int_equal(next_frame(&m), 9000);
	assert_int_equal(m.flags, META_NEEDS_CSUM);
	assert_int_equal(m.gso_type, 0);
	assert_int_equal(m.csum_start, 34);
	assert_int_equal(m.csum_offset, 16);
	fe_transmit(1, 0, frame, 9000, &tso);
	assert_int_equal(next_frame(&m), 9000);
	assert_int_equal(m.gso_type, META_GSO_TCPV4);
	assert_int_equal(m.gso_size, 1448);
	fe_transmit(1, 0, frame, 60, NULL);
	assert_int_equal(next_frame(&m), 60);
	assert_true(frame_meta_is_zero(&m));
	tear_down();
}

static void
test_metadata_that_was_not_agreed_or_cannot_be_is_dropped(void **state)
{
	struct virtio_net_hdr h[9];
	unsigned i;

	(void)state;
	set_up(
	    FE_FEATURES | BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4),
	    2);
	for (i = 0; i < 9; i++)
		h[i] = tso;
	h[0].gso_type = VIRTIO_NET_HDR_GSO_TCPV6;
	h[1].gso_type = VIRTIO_NET_HDR_GSO_UDP;
	h[2].gso_type |= VIRTIO_NET_HDR_GSO_ECN;
	h[3].gso_size = 0;
	h[4].csum_start = 999;
	h[5].csum_start = h[5].csum_offset = UINT16_MAX;
	h[6].flags = 0;
	h[7].flags |= VIRTIO_NET_HDR_F_DATA_VALID;
	h[8].gso_type = 0x7f;
	fill_frame(1000, 1);
	for (i = 0; i < 9; i++)
		fe_transmit(1, i * 2048, frame, 1000, &h[i]);
	fe_transmit(1, i * 2048, frame, 1000, NULL);
	assert_int_equal(next_frame(NULL), 1000);
	assert_int_equal(kit_counter(&kit, BC_IN_DROP_OFFLOAD), 9);
	assert_int_equal(kit_counter(&kit, BC_IN_FRAMES), 1);
	tear_down();
	set_up(FE_FEATURES, 2);
	fe_transmit(1, 0, frame, 1000, &csum);
	wait_counter(BC_IN_DROP_OFFLOAD, 1);
	tear_down();
}

/* --- buffers for the guest ------------------------------------------------ */

static void
test_a_long_frame_takes_several_buffers(void **state)
{
	static const uint32_t part[] = {1536 - HEAD, 1536, 1536, 392 + HEAD};
	uint32_t i, done = 0;

	(void)state;
	set_up(FE_FEATURES, 2);
	for (i = 0; i < 3; i++)
		fe_post(0, i * 2048, 1536);
	fill_frame(5000, 5);
	for (i = 14; i < 5000; i++)
		frame[i] = (uint8_t)(i * 7);
	assert_true(kit_send(&kit, frame, 5000));
	kit_publish(&kit);
	/* Not before all of it has room. */
	kit_turn(&kit, 5);
	assert_int_equal(fe_used_count(0), 0);
	fe_post(0, 3 * 2048, 1536);
	fe_post(0, 4 * 2048, 1536);
	fe_kick(0);
	for (i = 0; i < 4; i++) {
		assert_int_equal(
		    fe_used(0, NULL), part[i] + (i == 0 ? HEAD : 0));
		assert_memory_equal(
		    fe.mem + FE_BUFFERS + i * 2048 + (i == 0 ? HEAD : 0),
		    frame + done, part[i]);
		done += part[i];
		/* All are shown at once. */
		assert_int_equal(fe_used_count(0), 3 - i);
	}
	assert_int_equal(fe.mem[FE_BUFFERS + 10], 4);
	assert_int_equal(done, 5000);
	tear_down();
}

static void
test_without_mergeable_buffers_a_frame_fits_or_is_dropped(void **state)
{
	(void)state;
	set_up(BIT(VIRTIO_F_VERSION_1), 2);
	fe_post(0, 0, 600);
	fe_post(0, 2048, 600);
	lane_sends(601 - HEAD, 1);
	wait_counter(BC_OUT_DROP_SIZE, 1);
	/* Nothing of it was written, and the buffer is still there. */
	assert_int_equal(fe.mem[FE_BUFFERS], 0xee);
	assert_int_equal(fe_used_count(0), 0);
	lane_sends(600 - HEAD, 2);
	assert_int_equal(fe_used(0, NULL), 600);
	assert_int_equal(fe.mem[FE_BUFFERS + 10], 1);
	tear_down();
}

static void
test_a_legacy_driver_has_a_shorter_header(void **state)
{
	const struct part p = {FE_BUFFERS, 10 + 60, false};

	(void)state;
	set_up(0, 2);
	fill_frame(60, 1);
	memset(fe.mem + FE_BUFFERS, 0, 10);
	memcpy(fe.mem + FE_BUFFERS + 10, frame, 60);
	fe_add(1, &p, 1);
	fe_kick(1);
	assert_int_equal(next_frame(NULL), 60);
	assert_memory_equal(got, frame, 60);
	fe_post(0, 4096, 2048);
	lane_sends(60, 2);
	assert_int_equal(fe_used(0, NULL), 70);
	assert_memory_equal(fe.mem + FE_BUFFERS + 4096 + 10, frame, 60);
	tear_down();
}

static void
test_frames_wait_for_buffers(void **state)
{
	unsigned i;

	(void)state;
	set_up(FE_FEATURES, 2);
	for (i = 0; i < 10; i++) {
		fill_frame(60, (uint8_t)i);
		assert_true(kit_send(&kit, frame, 60));
	}
	kit_publish(&kit);
	kit_turn(&kit, 5);
	assert_int_equal(kit_counter(&kit, BC_OUT_FRAMES), 0);
	for (i = 0; i < 10; i++) {
		fe_post(0, 0, 256);
		fe_kick(0);
		assert_int_equal(fe_used(0, NULL), HEAD + 60);
		assert_int_equal(fe.mem[FE_BUFFERS + HEAD + 20], i);
	}
	assert_int_equal(kit_counter(&kit, BC_OUT_FRAMES), 10);
	tear_down();
}

/* All that the guest has is too little, and it will not add anything. */
static void
test_a_frame_that_never_fits_is_dropped(void **state)
{
	(void)state;
	set_up(FE_FEATURES, 2);
	fe_post(0, 0, 1000);
	fe_post(0, 1024, 1000);
	lane_sends(3000, 1);
	lane_sends(60, 2);
	wait_counter(BC_OUT_DROP_SIZE, 1);
	assert_int_equal(fe_used(0, NULL), HEAD + 60);
	assert_int_equal(fe.mem[FE_BUFFERS + HEAD + 20], 2);
	tear_down();
}

/* --- back-pressure, life -------------------------------------------------- */

static void
test_a_full_ring_stops_the_guest_and_loses_nothing(void **state)
{
	const uint32_t len = 60000;
	unsigned sent = 0, at_lane = 0;

	(void)state;
	set_up(FE_FEATURES, 2);
	for (; sent < 60; sent++) {
		fill_frame(len, (uint8_t)sent);
		fe_transmit(1, sent % 50 * 61440, frame, len, NULL);
		if (sent >= 40)
			break;
		/* Fewer than the queue, more than the ring holds. */
		kit_turn(&kit, 1);
	}
	sent++;
	kit_turn(&kit, 5);
	assert_true(the_nic()->tx_full);
	assert_true(fe_used_count(1) < sent);
	for (; at_lane < sent; at_lane++) {
		assert_int_equal(next_frame(NULL), len);
		assert_int_equal(got[100], (uint8_t)at_lane);
	}
	while (fe.q[1].seen < sent)
		(void)fe_used(1, NULL);
	assert_false(the_nic()->tx_full);
	tear_down();
}

static void
test_without_a_front_end_frames_are_counted(void **state)
{
	(void)state;
	nic_up();
	fe_init();
	lane_sends(60, 1);
	wait_counter(BC_OUT_DROP_DISCONNECTED, 1);
	assert_false(kit.be.connected);
	tear_down();
}

static void
test_the_next_front_end_is_taken(void **state)
{
	struct fe_queue *tx = &fe.q[1];
	unsigned i;

	(void)state;
	set_up(FE_FEATURES, 2);
	for (i = 0; i < 3; i++) {
		/* Frames that nobody takes are no hindrance. */
		lane_sends(60, 1);
		kit_turn(&kit, 2);
		fd_close(&fe.sock);
		wait_connected(false);
		assert_true(the_nic()->runs == 0);
		fe_connect();
		/* The rings go on where they were, as after a restart of ours.
		 */
		fe_start(FE_FEATURES, 2);
		fill_frame(60, (uint8_t)i);
		fe_transmit(1, 0, frame, 60, NULL);
		assert_int_equal(next_frame(NULL), 60);
		assert_int_equal(got[20], i);
		(void)fe_used(1, NULL);
		assert_int_equal(tx->seen, i + 1);
	}
	assert_int_equal(kit_counter(&kit, BC_OUT_DROP_DISCONNECTED), 3);
	tear_down();
}

static void
test_a_given_connection_is_used(void **state)
{
	struct err err;
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	nic_kit_init();
	kit.be.link_up = true;
	kit.be.resource[RESOURCE_CHARDEV] = pair[0];
	options.chardev = (char[]){"c0"};
	assert_int_equal(kit_open(&kit, &options, &err), 0);
	listener = -1;
	fe_init();
	fe.sock = pair[1];
	fe.request = -1;
	wait_connected(true);
	fe_start(FE_FEATURES, 2);
	fill_frame(60, 1);
	fe_transmit(1, 0, frame, 60, NULL);
	assert_int_equal(next_frame(NULL), 60);
	tear_down();
}

static void
test_a_socket_of_another_kind_is_refused(void **state)
{
	struct err err = {.text = ""};
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
	nic_kit_init();
	kit.be.resource[RESOURCE_CHARDEV] = pair[0];
	options.chardev = (char[]){"c0"};
	assert_int_equal(kit_open(&kit, &options, &err), -EINVAL);
	assert_non_null(strstr(err.text, "c0 is not a unix stream socket"));
	kit_fini(&kit);
	close(pair[1]);
	memset(&options, 0, sizeof options);
}

/* --- idle ----------------------------------------------------------------- */

static void
test_an_idle_nic_sleeps(void **state)
{
	uint16_t event;

	(void)state;
	set_up(FE_FEATURES | BIT(VIRTIO_RING_F_EVENT_IDX), 2);
	fill_frame(60, 1);
	fe_transmit(1, 0, frame, 60, NULL);
	assert_int_equal(next_frame(NULL), 60);
	kit_turn(&kit, 20);
	/* Armed: the driver is asked for a kick at the next chain. */
	assert_true(the_nic()->tx_armed);
	assert_false(nic_tx_turn(the_nic()));
	memcpy(&event, &fe.q[1].used->ring[FE_SIZE], sizeof event);
	assert_int_equal(event, fe.q[1].added);
	tear_down();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_options_are_judged),
	    cmocka_unit_test(test_frames_go_both_ways),
	    cmocka_unit_test(test_many_frames_keep_their_order),
	    cmocka_unit_test(test_a_frame_may_be_cut_anywhere),
	    cmocka_unit_test(test_frames_of_impossible_length_are_dropped),
	    cmocka_unit_test(test_what_is_taken_comes_back_in_its_order),
	    cmocka_unit_test(test_metadata_goes_to_the_lane),
	    cmocka_unit_test(
		test_metadata_that_was_not_agreed_or_cannot_be_is_dropped),
	    cmocka_unit_test(test_a_long_frame_takes_several_buffers),
	    cmocka_unit_test(
		test_without_mergeable_buffers_a_frame_fits_or_is_dropped),
	    cmocka_unit_test(test_a_legacy_driver_has_a_shorter_header),
	    cmocka_unit_test(test_frames_wait_for_buffers),
	    cmocka_unit_test(test_a_frame_that_never_fits_is_dropped),
	    cmocka_unit_test(
		test_a_full_ring_stops_the_guest_and_loses_nothing),
	    cmocka_unit_test(test_without_a_front_end_frames_are_counted),
	    cmocka_unit_test(test_the_next_front_end_is_taken),
	    cmocka_unit_test(test_a_given_connection_is_used),
	    cmocka_unit_test(test_a_socket_of_another_kind_is_refused),
	    cmocka_unit_test(test_an_idle_nic_sleeps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
