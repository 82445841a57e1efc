/*
 * vhost_net_test.c - frames between the lane and a back-end inside of the
 * test: offloads, back-pressure, and rings that lie.
 */
#include "tests/unit/vhost_user_kit.h"

#include <sys/resource.h>

static uint8_t chain[FRAME_BYTES_MAX + 4096];

/* A frame of at least 54 bytes that is TCP over IPv4. */
static void
make_tcp(uint32_t len)
{
	uint32_t i;

	for (i = 0; i < len; i++)
		frame[i] = (uint8_t)(i * 7);
	memset(frame + 14, 0, 12);
	memcpy(frame + 12, "\x08\x00\x45", 3);
	frame[16] = (uint8_t)((len - 14) >> 8);
	frame[17] = (uint8_t)(len - 14);
	frame[22] = 64;
	frame[23] = 6;
	frame[34 + 12] = 5 << 4;
}

static int
send_frame_with(uint32_t len, const struct frame_meta *m)
{
	uint8_t *room;

	if (ring_reserve_meta(&kit.to_backend, len, &room) <= 0)
		return 0;
	memcpy(room, frame, len);
	ring_commit_meta(&kit.to_backend, len, m);
	return 1;
}

/* --- offloads
 * ------------------------------------------------------------------ */

static void
test_a_large_frame_goes_out_as_it_is_when_agreed(void **state)
{
	const struct frame_meta tso = {.flags = META_NEEDS_CSUM,
	    .gso_type = META_GSO_TCPV4,
	    .gso_size = 1448,
	    .csum_start = 34,
	    .csum_offset = 16};
	struct virtio_net_hdr_v1 h;
	uint32_t len;
	int id;

	(void)state;
	start(NULL);
	assert_true(comes_up());
	for (len = 60; len <= NET_OUT_BYTES_MAX;
	     len += len < 5000 ? 61 : 9999) {
		make_tcp(len);
		assert_true(send_frame_with(len, &tso));
		kit_publish(&kit);
		id = next_chain(1);
		assert_true(id >= 0);
		assert_int_equal(
		    fake_bytes(&dev, &dev.ring[1], id, chain), sizeof h + len);
		memcpy(&h, chain, sizeof h);
		assert_int_equal(h.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
		assert_int_equal(h.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
		assert_int_equal(h.gso_size, 1448);
		assert_int_equal(h.csum_start, 34);
		assert_int_equal(h.csum_offset, 16);
		assert_int_equal(h.hdr_len, 54);
		assert_int_equal(h.num_buffers, 0);
		assert_memory_equal(chain + sizeof h, frame, len);
		fake_push(&dev.ring[1], (uint32_t)id, 0);
		fake_call(&dev.ring[1]);
	}
	finish();
}

static void
test_a_large_frame_is_cut_for_who_does_not_take_it(void **state)
{
	const struct frame_meta tso = {.flags = META_NEEDS_CSUM,
	    .gso_type = META_GSO_TCPV4,
	    .gso_size = 1000,
	    .csum_start = 34,
	    .csum_offset = 16};
	static const uint8_t zero[10];
	unsigned i;
	int id;

	(void)state;
	fake_init(&dev);
	dev.offers &=
	    ~(FAKE_BIT(VIRTIO_NET_F_HOST_TSO4) | FAKE_BIT(VIRTIO_NET_F_CSUM));
	start_with(NULL);
	assert_true(comes_up());
	make_tcp(54 + 3000);
	assert_true(send_frame_with(54 + 3000, &tso));
	kit_publish(&kit);
	for (i = 0; i < 3; i++) {
		id = next_chain(1);
		assert_true(id >= 0);
		assert_int_equal(
		    fake_bytes(&dev, &dev.ring[1], id, chain), 12 + 1054);
		assert_memory_equal(chain, zero, sizeof zero);
	}
	finish();
}

static void
test_what_waited_for_a_better_back_end_is_dropped(void **state)
{
	const struct frame_meta csum = {
	    .flags = META_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16};
	struct frame f = {frame, 100, csum};

	(void)state;
	fake_init(&dev);
	dev.offers &= ~FAKE_BIT(VIRTIO_NET_F_CSUM);
	start_with(NULL);
	assert_true(comes_up());
	assert_int_equal(backend_type.frames(kit.be.self, &f, 1), 1);
	assert_int_equal(kit_counter(&kit, BC_OUT_DROP_OFFLOAD), 1);
	assert_int_equal(kit_counter(&kit, BC_OUT_FRAMES), 0);
	finish();
}

static void
test_a_frame_beyond_what_a_device_takes_is_dropped(void **state)
{
	(void)state;
	start(NULL);
	assert_true(comes_up());
	make_tcp(FRAME_BYTES_MAX);
	assert_true(kit_send(&kit, frame, NET_OUT_BYTES_MAX + 1));
	assert_true(kit_send(&kit, frame, FRAME_BYTES_MAX));
	kit_publish(&kit);
	wait_counter(BC_OUT_DROP_SIZE, 2);
	expect_echo();
	finish();
}

static void
test_a_large_frame_comes_in_over_many_buffers(void **state)
{
	struct virtio_net_hdr_v1 h = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
	    .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
	    .gso_size = 1448,
	    .csum_start = 34,
	    .csum_offset = 16};
	const struct got *g;
	uint32_t len;

	(void)state;
	start(NULL);
	assert_true(comes_up());
	for (len = 54; len < FRAME_BYTES_MAX; len += len < 5000 ? 101 : 7777) {
		assert_true(kit_until(&kit, has_chain, &dev.ring[0]));
		make_tcp(len);
		fake_put(&dev, &dev.ring[0], &h, frame, len);
		fake_call(&dev.ring[0]);
		g = next_frame();
		assert_int_equal(g->len, len);
		assert_memory_equal(g->data, frame, len);
		assert_int_equal(g->meta.flags, META_NEEDS_CSUM);
		assert_int_equal(g->meta.gso_type, META_GSO_TCPV4);
		assert_int_equal(g->meta.gso_size, 1448);
		assert_int_equal(g->meta.csum_start, 34);
		assert_int_equal(g->meta.csum_offset, 16);
		kit_turn(&kit, 2);
	}
	finish();
}

/* --- back-pressure
 * ----------------------------------------------------------------- */

static void
test_a_back_end_that_keeps_buffers_stops_its_port_only(void **state)
{
	struct fake_ring *r = &dev.ring[1];
	unsigned sent = 0, got = 0;
	int id;

	(void)state;
	start(NULL);
	assert_true(comes_up());
	while (!kit.be.blocked && sent < 4 * NET_RING_SIZE) {
		memset(frame, 0, 100);
		memcpy(frame, &sent, sizeof sent);
		assert_true(kit_send(&kit, frame, 100));
		kit_publish(&kit);
		sent++;
		kit_turn(&kit, 1);
	}
	assert_true(kit.be.blocked);
	assert_int_equal(kit_counter(&kit, BC_OUT_FRAMES), NET_RING_SIZE);
	/* The other direction goes on, and nothing spins. */
	expect_frame_from(0);
	/* One after the other comes back: all frames, in order. */
	while (got < sent) {
		id = next_chain(1);
		assert_true(id >= 0);
		(void)fake_bytes(&dev, r, id, chain);
		assert_memory_equal(chain + 12, &got, sizeof got);
		fake_push(r, (uint32_t)id, 0);
		fake_call(r);
		got++;
	}
	wait_counter(BC_OUT_FRAMES, sent);
	assert_false(kit.be.blocked);
	finish();
}

static void
test_what_waits_when_the_back_end_goes_is_dropped(void **state)
{
	unsigned i;

	(void)state;
	start(NULL);
	assert_true(comes_up());
	for (i = 0; i < NET_RING_SIZE + 100; i++)
		assert_true(kit_send(&kit, frame, 100));
	kit_publish(&kit);
	wait_counter(BC_OUT_FRAMES, NET_RING_SIZE);
	fake_close(&dev);
	assert_true(goes());
	wait_counter(BC_OUT_DROP_DISCONNECTED, 100);
	assert_false(kit.be.blocked);
	next_back_end();
	assert_true(comes_up());
	expect_echo();
	finish();
}

static void
test_a_full_lane_holds_frames_and_loses_none(void **state)
{
	struct virtio_net_hdr_v1 h = {0};
	const struct got *g;
	unsigned put = 0, i;

	(void)state;
	start(NULL);
	assert_true(comes_up());
	while (!kit.be.full) {
		assert_true(put < KIT_RING_BYTES / 1000);
		for (i = 0; i < 16 && has_chain(NULL, &dev.ring[0]); i++) {
			memset(frame, 0, 1500);
			memcpy(frame, &put, sizeof put);
			fake_put(&dev, &dev.ring[0], &h, frame, 1500);
			put++;
		}
		fake_call(&dev.ring[0]);
		kit_turn(&kit, 1);
	}
	for (i = 0; i < put; i++) {
		g = next_frame();
		assert_int_equal(g->len, 1500);
		assert_memory_equal(g->data, &i, sizeof i);
	}
	assert_false(kit.be.full);
	finish();
}

static void
test_flows_keep_their_queue(void **state)
{
	struct netdev_vhost_user_options o = {
	    .chardev = (char[]){"c0"}, .has_queues = true, .queues = 4};
	unsigned flow, i, seen[4] = {0}, used = 0;

	(void)state;
	start(&o);
	assert_true(comes_up());
	for (flow = 0; flow < 64; flow++) {
		make_tcp(100);
		frame[34] = (uint8_t)flow; /* a port */
		for (i = 0; i < 3; i++) {
			frame[90] = (uint8_t)i; /* payload */
			assert_true(kit_send(&kit, frame, 100));
		}
	}
	kit_publish(&kit);
	wait_counter(BC_OUT_FRAMES, 64 * 3);
	for (i = 0; i < 4; i++) {
		int id, last = -1;

		while ((id = fake_pop(&dev.ring[2 * i + 1])) >= 0) {
			(void)fake_bytes(&dev, &dev.ring[2 * i + 1], id, chain);
			/* Three of a flow together, in order. */
			assert_int_equal(chain[12 + 90], seen[i] % 3);
			if (seen[i] % 3 != 0)
				assert_int_equal(chain[12 + 34], last);
			last = chain[12 + 34];
			seen[i]++;
		}
		used += seen[i] > 0;
	}
	assert_int_equal(seen[0] + seen[1] + seen[2] + seen[3], 64 * 3);
	assert_true(used >= 3);
	finish();
}

/* --- idle
 * ------------------------------------------------------------------------- */

static uint64_t
cpu_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000u +
	       (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static bool
is_done(struct kit *k, void *arg)
{
	(void)k;
	return *(bool *)arg;
}

static void
set_done(void *arg)
{
	*(bool *)arg = true;
	loop_stop(kit.loop, 0);
}

static void
test_a_quiet_back_end_costs_nothing(void **state)
{
	bool done = false;
	struct timer *t;
	uint64_t before;

	(void)state;
	start(NULL);
	assert_true(comes_up());
	expect_echo();
	kit_turn(&kit, 20); /* what spins after frames is over */
	t = timer_new(kit.loop, set_done, &done);
	timer_set_ns(t, 300000000);
	before = cpu_us();
	(void)loop_run(kit.loop);
	assert_true(is_done(&kit, &done));
	/* A turn of an idle loop would make 300 ms of it. */
	assert_true(cpu_us() - before < 50000);
	timer_free(t);
	finish();
}

/* --- rings that lie
 * ------------------------------------------------------------------ */

enum trick {
	TRICK_ID_FAR,
	TRICK_ID_NOT_LENT,
	TRICK_TWICE,
	TRICK_AHEAD,
	TRICK_BACK,
	TRICK_NO_BUFFERS,
	TRICK_BUFFERS_MISSING,
	TRICK_BUFFERS_HUGE,
	TRICK_TX_ID,
	TRICK_COUNT
};

static void
play(enum trick t)
{
	struct virtio_net_hdr_v1 h = {.num_buffers = 1};
	struct fake_ring *r = &dev.ring[0];
	int id = fake_pop(r);

	memcpy(fake_buffer(&dev, r, id), &h, sizeof h);
	switch (t) {
	case TRICK_ID_FAR:
		fake_push(r, 0x80000000u | (uint32_t)id, 100);
		break;
	case TRICK_ID_NOT_LENT:
		fake_push(r, NET_RING_SIZE, 100);
		break;
	case TRICK_TWICE:
		fake_push(r, (uint32_t)id, 100);
		fake_push(r, (uint32_t)id, 100);
		break;
	case TRICK_AHEAD:
		r->given = (uint16_t)(r->given + NET_RING_SIZE + 1);
		break;
	case TRICK_BACK:
		r->given--;
		break;
	case TRICK_NO_BUFFERS:
	case TRICK_BUFFERS_MISSING:
	case TRICK_BUFFERS_HUGE:
		h.num_buffers = t == TRICK_NO_BUFFERS        ? 0
				: t == TRICK_BUFFERS_MISSING ? 2
							     : 0xffff;
		memcpy(fake_buffer(&dev, r, id), &h, sizeof h);
		fake_push(r, (uint32_t)id, 100);
		break;
	case TRICK_TX_ID:
		r = &dev.ring[1];
		fake_push(r, NET_RING_SIZE, 0);
		break;
	case TRICK_COUNT:
		break;
	}
	fake_call(r);
}

/* All frames of the lane have gone somewhere. */
static bool
is_drained(struct kit *k, void *arg)
{
	return kit_counter(k, BC_OUT_FRAMES) +
		   kit_counter(k, BC_OUT_DROP_DISCONNECTED) ==
	       *(unsigned *)arg;
}

static void
test_every_broken_ring_costs_the_connection_only(void **state)
{
	unsigned i, sent;
	struct frame f;
	enum trick t;

	(void)state;
	for (t = 0; t < TRICK_COUNT; t++) {
		sent = 1; /* the echo */
		start(NULL);
		assert_true(comes_up());
		expect_echo();
		assert_true(kit_until(&kit, has_chain, &dev.ring[0]));
		play(t);
		/* A send queue is looked at when buffers are short. */
		for (i = 0; t == TRICK_TX_ID && i < 2 * NET_RING_SIZE; i++) {
			assert_true(kit_send(&kit, frame, 60));
			sent++;
		}
		kit_publish(&kit);
		if (!goes())
			fail_msg("trick %d was believed", t);
		assert_int_equal(kit_counter(&kit, BC_IN_ERRORS), 1);
		assert_non_null(strstr(last_notice(), "broke a ring"));
		assert_true(kit_until(&kit, is_drained, &sent));
		/* A frame that was whole before the lie may have passed. */
		while (ring_next(&kit.from_backend, &f) > 0)
			assert_true(t == TRICK_TWICE);
		next_back_end();
		assert_true(comes_up());
		expect_echo();
		finish();
	}
}

static const struct {
	struct virtio_net_hdr_v1 h;
	uint32_t used; /* 0: as it is */
	enum backend_counter counter;
} impossible[] = {
    /* not agreed, or unknown */
    {{.flags = VIRTIO_NET_HDR_F_RSC_INFO}, 0, BC_IN_DROP_OFFLOAD},
    {{.gso_type = VIRTIO_NET_HDR_GSO_TCPV6, .flags = 1, .gso_size = 1000}, 0,
	BC_IN_DROP_OFFLOAD},
    {{.gso_type = VIRTIO_NET_HDR_GSO_UDP, .gso_size = 1000}, 0,
	BC_IN_DROP_OFFLOAD},
    {{.gso_type = VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN,
	 .flags = 1,
	 .gso_size = 1000},
	0, BC_IN_DROP_OFFLOAD},
    {{.gso_type = 2, .flags = 1, .gso_size = 1000}, 0, BC_IN_DROP_OFFLOAD},
    /* impossible */
    {{.flags = 1, .csum_start = 99, .csum_offset = 0}, 0, BC_IN_DROP_OFFLOAD},
    {{.flags = 1, .csum_start = 0xffff, .csum_offset = 0xffff}, 0,
	BC_IN_DROP_OFFLOAD},
    {{.gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .flags = 1}, 0, BC_IN_DROP_OFFLOAD},
    {{.gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1000}, 0,
	BC_IN_DROP_OFFLOAD},
    /* lengths */
    {{0}, 3000, BC_IN_ERRORS},
    {{0}, 0xffffffff, BC_IN_ERRORS},
    {{0}, 12 + 13, BC_IN_DROP_SIZE},
    {{0}, 12, BC_IN_DROP_SIZE},
    {{0}, 11, BC_IN_DROP_SIZE},
};

static void
test_a_frame_that_cannot_be_is_dropped_and_counted(void **state)
{
	struct virtio_net_hdr_v1 h;
	struct fake_ring *r = &dev.ring[0];
	uint64_t before;
	size_t i;

	(void)state;
	start(NULL);
	assert_true(comes_up());
	for (i = 0; i < sizeof impossible / sizeof *impossible; i++) {
		assert_true(kit_until(&kit, has_chain, r));
		before = kit_counter(&kit, impossible[i].counter);
		make_tcp(100);
		h = impossible[i].h;
		fake_put(&dev, r, &h, frame, 100);
		if (impossible[i].used)
			r->used->ring[(uint16_t)(r->given - 1) % r->size].len =
			    impossible[i].used;
		fake_call(r);
		wait_counter(impossible[i].counter, before + 1);
	}
	assert_int_equal(kit_counter(&kit, BC_IN_FRAMES), 0);
	assert_true(kit.be.connected);
	expect_echo();
	finish();
}

static void
test_a_frame_longer_than_any_is_dropped(void **state)
{
	struct virtio_net_hdr_v1 h = {0};

	(void)state;
	start(NULL);
	assert_true(comes_up());
	assert_true(kit_until(&kit, has_chain, &dev.ring[0]));
	memset(chain, 0, sizeof chain);
	fake_put(&dev, &dev.ring[0], &h, chain, FRAME_BYTES_MAX + 1);
	fake_call(&dev.ring[0]);
	wait_counter(BC_IN_DROP_SIZE, 1);
	expect_echo();
	finish();
}

static void
test_descriptors_made_blocking_hang_nobody(void **state)
{
	const uint64_t most = UINT64_MAX - 1;
	struct fake_ring *r = &dev.ring[1];
	uint64_t calls;

	(void)state;
	start(NULL);
	assert_true(comes_up());
	expect_echo();
	kit_turn(&kit, 2);
	/* The kick would block ... */
	(void)!read(r->kick, &calls, sizeof calls);
	assert_int_equal(fcntl(r->kick, F_SETFL, 0), 0);
	assert_int_equal(write(r->kick, &most, sizeof most), sizeof most);
	/* ... and so would a read of the call. */
	assert_int_equal(fcntl(r->call, F_SETFL, 0), 0);
	assert_true(kit_send(&kit, frame, 60));
	kit_publish(&kit);
	assert_true(next_chain(1) >= 0);

	expect_frame_from(0);
	finish();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_large_frame_goes_out_as_it_is_when_agreed),
	    cmocka_unit_test(
		test_a_large_frame_is_cut_for_who_does_not_take_it),
	    cmocka_unit_test(test_what_waited_for_a_better_back_end_is_dropped),
	    cmocka_unit_test(
		test_a_frame_beyond_what_a_device_takes_is_dropped),
	    cmocka_unit_test(test_a_large_frame_comes_in_over_many_buffers),
	    cmocka_unit_test(
		test_a_back_end_that_keeps_buffers_stops_its_port_only),
	    cmocka_unit_test(test_what_waits_when_the_back_end_goes_is_dropped),
	    cmocka_unit_test(test_a_full_lane_holds_frames_and_loses_none),
	    cmocka_unit_test(test_flows_keep_their_queue),
	    cmocka_unit_test(test_a_quiet_back_end_costs_nothing),
	    cmocka_unit_test(test_every_broken_ring_costs_the_connection_only),
	    cmocka_unit_test(
		test_a_frame_that_cannot_be_is_dropped_and_counted),
	    cmocka_unit_test(test_a_frame_longer_than_any_is_dropped),
	    cmocka_unit_test(test_descriptors_made_blocking_hang_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
