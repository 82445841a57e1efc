/* socket_test.c - the socket backend over streams; its options. */
#include "tests/unit/socket_kit.h"

#include <netinet/tcp.h>

/* --- streams ----------------------------------------------------------------
 */

static void
test_frames_come_in_whole_and_in_order(void **state)
{
	int fd = open_pair(SOCK_STREAM);
	uint32_t len;

	(void)state;
	for (len = 14; len < 3000; len += 37)
		write_frame(fd, len, (uint8_t)len);
	for (len = 14; len < 3000; len += 37) {
		assert_int_equal(next_frame(), len);
		assert_int_equal(got[0], (uint8_t)len);
		assert_int_equal(got[len - 1], (uint8_t)len);
	}
	close(fd);
	kit_fini(&kit);
}

static void
test_a_slow_reader_gets_every_byte_in_order(void **state)
{
	static uint8_t wire[3 << 20], want[3 << 20];
	int fd = open_pair(SOCK_STREAM), small = 1;
	size_t size = 0;
	uint32_t word, len, i;

	(void)state;
	/* The least the kernel gives: writes are cut at odd places. */
	setsockopt(((struct sock *)kit.be.self)->conn.stream.fd, SOL_SOCKET,
	    SO_SNDBUF, &small, sizeof small);
	for (i = 0; i < 700; i++) {
		len = 14 + (i * 131) % 4000;
		memset(frame, (int)i, len);
		assert_true(kit_send(&kit, frame, len));
		word = htobe32(len);
		memcpy(want + size, &word, 4);
		memcpy(want + size + 4, frame, len);
		size += 4 + len;
	}
	kit_publish(&kit);
	read_all(fd, wire, size, 3001);
	assert_memory_equal(wire, want, size);
	assert_int_equal(kit_counter(&kit, BC_OUT_FRAMES), 700);
	assert_int_equal(kit_counter(&kit, BC_OUT_BYTES), size - 700 * 4);
	close(fd);
	kit_fini(&kit);
}

static void
test_a_full_ring_stops_the_peer_and_loses_nothing(void **state)
{
	int fd = open_pair(SOCK_STREAM), i, sent = 0;
	uint32_t word = htobe32(1000);
	uint8_t wire[1004];

	(void)state;
	memcpy(wire, &word, 4);
	memset(wire + 4, 0, 1000);
	/* Until the socket takes no more although the loop turns. */
	for (i = 0; i < 3;) {
		memcpy(wire + 4, &sent, sizeof sent);
		if (write(fd, wire, sizeof wire) == (ssize_t)sizeof wire) {
			sent++;
			i = 0;
		} else {
			kit_turn(&kit, 3);
			i++;
		}
	}
	assert_true(kit.be.full);
	assert_true((size_t)sent * 1008 > KIT_RING_BYTES);
	for (i = 0; i < sent; i++) {
		assert_int_equal(next_frame(), 1000);
		assert_memory_equal(got, &i, sizeof i);
	}
	assert_false(kit.be.full);
	close(fd);
	kit_fini(&kit);
}

static void
test_empty_and_short_frames_are_skipped(void **state)
{
	int fd = open_pair(SOCK_STREAM), i;

	(void)state;
	for (i = 0; i < 50; i++)
		write_frame(fd, 0, 0);
	write_frame(fd, 13, 1);
	write_frame(fd, 60, 9);
	assert_int_equal(next_frame(), 60);
	assert_int_equal(kit_counter(&kit, BC_IN_DROP_SIZE), 51);
	assert_true(kit.be.connected);
	close(fd);
	kit_fini(&kit);
}

static void
test_an_impossible_length_ends_the_connection_at_once(void **state)
{
	static const uint32_t bad[] = {FRAME_BYTES_MAX + 1, UINT32_MAX};
	uint32_t word;
	size_t i;
	int fd;

	(void)state;
	for (i = 0; i < 2; i++) {
		fd = open_pair(SOCK_STREAM);
		write_frame(fd, 60, 9);
		word = htobe32(bad[i]);
		write_all(fd, &word, 4);
		assert_true(kit_until(&kit, is_disconnected, NULL));
		assert_int_equal(next_frame(), 60);
		assert_int_equal(kit_counter(&kit, BC_IN_ERRORS), 1);
		assert_int_equal(kit.be.notices.told, 1);
		close(fd);
		kit_fini(&kit);
	}
}

static void
test_frames_without_a_peer_are_dropped_and_counted(void **state)
{
	int fd = open_pair(SOCK_STREAM), i;

	(void)state;
	close(fd);
	assert_true(kit_until(&kit, is_disconnected, NULL));
	for (i = 0; i < 300; i++)
		kit_send(&kit, frame, 1000);
	kit_publish(&kit);
	wait_counter(BC_OUT_DROP_DISCONNECTED, 300);
	assert_int_equal(ring_tx_refresh(&kit.to_backend), 0);
	assert_int_equal(ring_tx_backlog(&kit.to_backend), 0);
	kit_fini(&kit);
}

static void
test_fd_must_be_stream_or_datagram(void **state)
{
	struct err err;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	kit_init(&kit, KIT_RING_BYTES);
	kit.be.resource[RESOURCE_FD] = fds[0];
	assert_int_equal(kit_open(&kit, &fd_options, &err), -EINVAL);
	assert_string_equal(err.text, "socket type=5 for fd=7 must be either "
				      "SOCK_DGRAM or SOCK_STREAM");
	close(fds[1]);
	kit_fini(&kit);
}

/* --- listen -----------------------------------------------------------------
 */

static struct sockaddr_in listen_addr;
static struct netdev_socket_options listen_options = {
    .listen = (char[]){"127.0.0.1:0"}};

static void
open_listening(void)
{
	socklen_t len = sizeof listen_addr;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct err err;

	listen_addr = (struct sockaddr_in){
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_int_equal(bind(fd, (void *)&listen_addr, len), 0);
	assert_int_equal(listen(fd, 8), 0);
	getsockname(fd, (void *)&listen_addr, &len);
	kit_init(&kit, KIT_RING_BYTES);
	kit.be.resource[RESOURCE_LISTEN] = fd;
	assert_int_equal(kit_open(&kit, &listen_options, &err), 0);
}

static int
dial(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(
	    connect(fd, (void *)&listen_addr, sizeof listen_addr), 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

static void
test_the_next_peer_is_taken_when_the_first_leaves(void **state)
{
	int first, second, on = 0;
	socklen_t len = sizeof on;

	(void)state;
	open_listening();
	assert_false(kit.be.connected);
	first = dial();
	assert_true(kit_until(&kit, is_connected, NULL));
	assert_memory_equal(kit.be.info, "socket: connection from 127.0.0.1:",
	    strlen("socket: connection from 127.0.0.1:"));
	second = dial();
	write_frame(second, 77, 2);
	write_frame(first, 66, 1);
	assert_int_equal(next_frame(), 66);
	kit_turn(&kit, 20);
	assert_int_equal(kit_receive(&kit, got), 0);
	getsockopt(((struct sock *)kit.be.self)->conn.stream.fd, IPPROTO_TCP,
	    TCP_NODELAY, &on, &len);
	assert_int_equal(on, 1);
	close(first);
	assert_int_equal(next_frame(), 77);
	close(second);
	kit_fini(&kit);
}

static void
test_a_half_sent_frame_is_not_given_to_the_next_peer(void **state)
{
	static uint8_t wire[4 + 60000];
	int first, second, small = 1, i, whole;
	uint32_t word;

	(void)state;
	open_listening();
	first = dial();
	assert_true(kit_until(&kit, is_connected, NULL));
	setsockopt(((struct sock *)kit.be.self)->conn.stream.fd, SOL_SOCKET,
	    SO_SNDBUF, &small, sizeof small);
	/* More than the socket takes: one of them is cut. */
	for (i = 0; i < 30; i++) {
		memset(frame, 'a' + i, 60000);
		assert_true(kit_send(&kit, frame, 60000));
	}
	kit_publish(&kit);
	kit_turn(&kit, 20);
	assert_true(((struct sock *)kit.be.self)->conn.stream.out.sent > 0);
	whole = (int)kit_counter(&kit, BC_OUT_FRAMES);
	second = dial();
	close(first);
	read_all(second, wire, sizeof wire, sizeof wire);
	memcpy(&word, wire, 4);
	assert_int_equal(be32toh(word), 60000);
	assert_int_equal(wire[4], wire[sizeof wire - 1]);
	assert_int_equal(kit_counter(&kit, BC_OUT_DROP_DISCONNECTED), 1);
	assert_int_equal(wire[4], 'a' + whole + 1);
	close(second);
	kit_fini(&kit);
}

static void
test_a_hostile_peer_makes_room_for_the_next(void **state)
{
	uint32_t word = UINT32_MAX;
	int bad, good;

	(void)state;
	open_listening();
	bad = dial();
	good = dial();
	write_all(bad, &word, 4);
	write_frame(good, 100, 5);
	assert_int_equal(next_frame(), 100);
	close(bad);
	close(good);
	kit_fini(&kit);
}

/* --- connect ----------------------------------------------------------------
 */

static bool
wants_connection(struct kit *k, void *arg)
{
	(void)arg;
	return timer_pending(k->be.reconnect);
}

/* Answer a reconnect as the broker would. */
static void
answer(int fd)
{
	timer_stop(kit.be.reconnect);
	backend_type.connection(kit.be.self, fd, "Connection refused");
}

static void
test_a_lost_connection_is_made_again(void **state)
{
	struct netdev_socket_options o = {.connect = (char[]){"/x"}};
	struct err err;
	int fds[2], i;

	(void)state;
	kit_init(&kit, KIT_RING_BYTES);
	assert_int_equal(kit_open(&kit, &o, &err), 0);
	/* Not even a first descriptor; then one refusal; then success. */
	for (i = 0; i < 3; i++) {
		assert_true(kit_until(&kit, wants_connection, NULL));
		assert_int_equal(kit.be.reconnect_index, RESOURCE_CONNECT);
		if (i == 0) {
			answer(-1);
			continue;
		}
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		answer(fds[0]);
		assert_true(kit_until(&kit, is_connected, NULL));
		assert_string_equal(kit.be.info, "socket: connect to /x");
		write_frame(fds[1], 64, 1);
		assert_int_equal(next_frame(), 64);
		close(fds[1]);
		assert_true(kit_until(&kit, is_disconnected, NULL));
	}
	kit_fini(&kit);
}

static void
test_a_refused_connection_is_tried_again(void **state)
{
	struct netdev_socket_options o = {.connect = (char[]){"1.2.3.4:5"},
	    .has_reconnect_ms = true,
	    .reconnect_ms = 1};
	struct sockaddr_in to = {.sin_family = AF_INET,
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	    .sin_port = htons(1)};
	struct err err;
	int fd;

	(void)state;
	kit_init(&kit, KIT_RING_BYTES);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	(void)connect(fd, (void *)&to, sizeof to);
	kit.be.resource[RESOURCE_CONNECT] = fd;
	assert_int_equal(kit_open(&kit, &o, &err), 0);
	assert_true(kit_until(&kit, wants_connection, NULL));
	assert_false(kit.be.connected);
	/* A unix connect that failed leaves a socket without any error. */
	answer(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
	assert_true(kit_until(&kit, wants_connection, NULL));
	assert_false(kit.be.connected);
	timer_stop(kit.be.reconnect);
	kit_fini(&kit);
}

static void
test_reconnect_0_means_never(void **state)
{
	struct netdev_socket_options o = {
	    .connect = (char[]){"/x"}, .has_reconnect_ms = true};
	struct err err;

	(void)state;
	kit_init(&kit, KIT_RING_BYTES);
	assert_int_equal(kit_open(&kit, &o, &err), 0);
	kit_turn(&kit, 150);
	assert_false(timer_pending(kit.be.reconnect));
	kit_fini(&kit);
}

/* --- options ----------------------------------------------------------------
 */

static void
refused(const struct netdev_socket_options *o, const char *text)
{
	struct err err;

	assert_int_equal(check_options(o, &err), -EINVAL);
	assert_string_equal(err.text, text);
}

static void
test_options_are_refused_in_qemus_words(void **state)
{
	char a[] = "127.0.0.1:1";

	(void)state;
	refused(&(struct netdev_socket_options){0},
	    "exactly one of listen=, connect=, mcast= or udp= is required");
	refused(&(struct netdev_socket_options){.listen = a, .udp = a},
	    "exactly one of listen=, connect=, mcast= or udp= is required");
	refused(&(struct netdev_socket_options){.listen = a, .localaddr = a},
	    "localaddr= is only valid with mcast= or udp=");
	refused(&(struct netdev_socket_options){.udp = a},
	    "localaddr= is mandatory with udp=");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_frames_come_in_whole_and_in_order),
	    cmocka_unit_test(test_a_slow_reader_gets_every_byte_in_order),
	    cmocka_unit_test(test_a_full_ring_stops_the_peer_and_loses_nothing),
	    cmocka_unit_test(test_empty_and_short_frames_are_skipped),
	    cmocka_unit_test(
		test_an_impossible_length_ends_the_connection_at_once),
	    cmocka_unit_test(
		test_frames_without_a_peer_are_dropped_and_counted),
	    cmocka_unit_test(test_fd_must_be_stream_or_datagram),
	    cmocka_unit_test(test_the_next_peer_is_taken_when_the_first_leaves),
	    cmocka_unit_test(
		test_a_half_sent_frame_is_not_given_to_the_next_peer),
	    cmocka_unit_test(test_a_hostile_peer_makes_room_for_the_next),
	    cmocka_unit_test(test_a_lost_connection_is_made_again),
	    cmocka_unit_test(test_a_refused_connection_is_tried_again),
	    cmocka_unit_test(test_reconnect_0_means_never),
	    cmocka_unit_test(test_options_are_refused_in_qemus_words),
	};

	log_open("test", "-", LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
