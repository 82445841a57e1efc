/*
 * backend_arena_test.c - frames that a stream socket sends out of an arena: in
 * their order among others, whole whatever the peer does, unchanged; and the
 * life of an arena in a backend.
 */
#include "tests/unit/socket_kit.h"

#include "proto/arena.h"
#include "proto/ring_copy.h"

#include <signal.h>
#include <sys/un.h>

#include "gen/control.h"

#define CHUNKS 8u
#define BYTES  ((size_t)CHUNKS * ARENA_CHUNK_BYTES)
#define LONG   1514u

static int memory[4];
static uint8_t *writable[4];
static size_t used;
static int outside;

/* What the outside must get, in order: numbered frames. */
static uint32_t sent, received;

static struct netdev_socket_options listen_options = {
    .listen = (char[]){"/nowhere"}};

static int
start(void **state)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	socklen_t len = sizeof sa;
	struct err err;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	(void)state;
	used = 0;
	sent = received = 0;
	/* A name that the kernel makes up. */
	assert_int_equal(bind(fd, (void *)&sa, sizeof sa.sun_family), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (void *)&sa, &len), 0);
	kit_init(&kit, KIT_RING_BYTES);
	kit.be.resource[RESOURCE_LISTEN] = fd;
	assert_int_equal(kit_open(&kit, &listen_options, &err), 0);
	kit.be.ready = true;
	outside = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(outside, (void *)&sa, len), 0);
	assert_int_equal(fcntl(outside, F_SETFL, O_NONBLOCK), 0);
	assert_true(kit_until(&kit, is_connected, NULL));
	for (unsigned i = 0; i < 4; i++) {
		void *mem;

		assert_int_equal(sys_memfd("arena", BYTES, &memory[i]), 0);
		assert_int_equal(sys_map(memory[i], BYTES, true, &mem), 0);
		writable[i] = mem;
	}
	return 0;
}

static int
finish(void **state)
{
	(void)state;
	kit_fini(&kit);
	fd_close(&outside);
	for (unsigned i = 0; i < 4; i++) {
		sys_unmap(writable[i], BYTES);
		fd_close(&memory[i]);
	}
	return 0;
}

/* Give the backend arena `i`, as serial i + 1. */
static int
give_sized(unsigned i, uint64_t bytes)
{
	struct ctl_arena_view m = {.serial = i + 1, .bytes = bytes};
	int fd = dup(memory[i]);

	return backend_on_arena_view(&kit.be, 1, &m, &fd);
}

static void
give(unsigned i)
{
	assert_int_equal(give_sized(i, BYTES), 0);
}

static void
take_back(unsigned i)
{
	struct ctl_arena_close m = {.serial = i + 1};

	assert_int_equal(backend_on_arena_close(&kit.be, 0, &m), 0);
}

static unsigned
known(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < RING_ARENAS; i++)
		n += kit.be.arena.view[i].open;
	return n;
}

static void
fill_frame(uint8_t *at, uint32_t len)
{
	memset(at, (int)(sent * 7), len);
	memcpy(at, &sent, sizeof sent);
	sent++;
}

/* A frame in arena `i`, behind the last one there; false: the ring is full. */
static bool
refer(unsigned i, uint32_t len)
{
	const struct frame f = {.len = len};
	uint64_t ref = (used + 4) | (uint64_t)(i + 1) << 32;
	uint32_t word = htobe32(len);

	if (used + 4 + len > BYTES ||
	    ring_refer(&kit.to_backend, &f, &ref, 1) != 1)
		return false;
	memcpy(writable[i] + used, &word, 4);
	fill_frame(writable[i] + used + 4, len);
	used += 4 + len;
	return true;
}

static bool
copy(uint32_t len)
{
	uint8_t *room;

	if (ring_reserve(&kit.to_backend, len, &room) != 1)
		return false;
	fill_frame(room, len);
	ring_commit(&kit.to_backend, len);
	return true;
}

/* One frame at the outside, checked; reads of `step` bytes. */
static uint32_t
expect_next(size_t step)
{
	uint32_t word, len, number;

	read_all(outside, (uint8_t *)&word, 4, step);
	len = be32toh(word);
	assert_in_range(len, 14, FRAME_BYTES_MAX);
	read_all(outside, got, len, step);
	memcpy(&number, got, sizeof number);
	assert_int_equal(number, received);
	for (uint32_t i = 4; i < len; i++)
		if (got[i] != (uint8_t)(received * 7))
			fail_msg("byte %u of frame %u", i, received);
	received++;
	return len;
}

static void
expect_all(size_t step)
{
	kit_publish(&kit);
	while (received < sent)
		(void)expect_next(step);
	kit_turn(&kit, 2);
	assert_int_equal(kit_counter(&kit, BC_OUT_FRAMES), sent);
	assert_int_equal(ring_tx_refresh(&kit.to_backend), 0);
	assert_int_equal(ring_tx_backlog(&kit.to_backend), 0);
}

static void
test_a_run_is_sent_as_it_is(void **state)
{
	(void)state;
	give(0);
	for (unsigned i = 0; i < 100; i++)
		assert_true(refer(0, LONG));
	expect_all(SIZE_MAX);
	assert_true(kit.be.arenas.view[0].base != NULL);
}

static void
test_order_among_copies_and_two_arenas(void **state)
{
	(void)state;
	give(0);
	give(1);
	for (unsigned round = 0; round < 30; round++) {
		for (unsigned i = 0; i < round % 7; i++)
			assert_true(refer(round % 2, 60 + 97 * round % 1400));
		for (unsigned i = 0; i < round % 4; i++)
			assert_true(copy(60 + 31 * round % 1400));
		for (unsigned i = 0; i < round % 5; i++)
			assert_true(refer(0, LONG));
	}
	expect_all(SIZE_MAX);
}

/* More than a socket takes; the peer reads in odd pieces. */
static void
test_a_slow_peer_gets_whole_frames(void **state)
{
	(void)state;
	give(0);
	while (refer(0, 60 + sent * 131 % 9000))
		if (sent % 50 == 0)
			kit_publish(&kit);
	assert_true(sent > 400);
	kit_publish(&kit);
	kit_turn(&kit, 10);
	assert_true(kit_counter(&kit, BC_OUT_FRAMES) < sent);
	expect_all(4093);
}

/* What is in the socket is the memory's page: cut out, it stays. */
static void
test_what_was_sent_stays_when_it_is_cut_out(void **state)
{
	(void)state;
	give(0);
	for (unsigned i = 0; i < 60; i++)
		assert_true(refer(0, LONG));
	kit_publish(&kit);
	wait_counter(BC_OUT_FRAMES, 60);
	assert_int_equal(
	    fallocate(memory[0], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		ARENA_CHUNK_BYTES),
	    0);
	memset(writable[0], 0xdd, ARENA_CHUNK_BYTES);
	while (received < sent)
		(void)expect_next(SIZE_MAX);
}

static void
test_a_lost_peer_loses_what_was_for_it(void **state)
{
	(void)state;
	give(0);
	while (refer(0, LONG))
		;
	kit_publish(&kit);
	kit_turn(&kit, 5);
	(void)expect_next(999);
	fd_close(&outside);
	assert_true(kit_until(&kit, is_disconnected, NULL));
	kit_turn(&kit, 5);
	assert_int_equal(kit_counter(&kit, BC_OUT_FRAMES) +
			     kit_counter(&kit, BC_OUT_DROP_DISCONNECTED),
	    sent);
	assert_int_equal(ring_tx_refresh(&kit.to_backend), 0);
	assert_int_equal(ring_tx_backlog(&kit.to_backend), 0);
}

static void
test_an_arena_is_closed_when_all_is_read(void **state)
{
	(void)state;
	give(0);
	give(1);
	assert_int_equal(known(), 2);
	/* A third one has no place yet; we go on. */
	give(2);
	assert_int_equal(known(), 2);
	while (refer(0, 9000))
		;
	kit_publish(&kit);
	kit_turn(&kit, 5);
	take_back(0);
	take_back(0);
	assert_int_equal(known(), 2);
	expect_all(SIZE_MAX);
	kit_turn(&kit, 5);
	assert_int_equal(known(), 1);
	/* Nothing is on its way: at once. */
	take_back(1);
	assert_int_equal(known(), 0);
	take_back(1);
	give(2);
	assert_int_equal(known(), 1);
}

static void
test_views_that_make_no_sense(void **state)
{
	(void)state;
	give(0);
	assert_int_equal(give_sized(0, BYTES), -EPROTO);
	assert_int_equal(give_sized(1, 0), 0);
	assert_int_equal(give_sized(1, BYTES + 1), 0);
	assert_int_equal(give_sized(1, UINT64_MAX), 0);
	assert_int_equal(known(), 1);
	kit.be.ready = false;
	assert_int_equal(give_sized(1, BYTES), -EPROTO);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, start, finish)
	    T(test_a_run_is_sent_as_it_is),
	    T(test_order_among_copies_and_two_arenas),
	    T(test_a_slow_peer_gets_whole_frames),
	    T(test_what_was_sent_stays_when_it_is_cut_out),
	    T(test_a_lost_peer_loses_what_was_for_it),
	    T(test_an_arena_is_closed_when_all_is_read),
	    T(test_views_that_make_no_sense),
	};

	/* As in every backend (confine_begin): sendfile cannot leave it out. */
	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
