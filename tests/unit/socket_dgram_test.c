/* socket_dgram_test.c - the socket backend over datagrams. */
#include "tests/unit/socket_kit.h"

/* --- datagrams --------------------------------------------------------------
 */

static void
test_datagrams_that_are_no_frames_are_dropped(void **state)
{
	int fd = open_pair(SOCK_DGRAM), i, big = 1 << 20;

	(void)state;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &big, sizeof big);
	for (i = 0; i < 3; i++)
		assert_int_equal(send(fd, frame, 0, 0), 0);
	assert_int_equal(send(fd, frame, 13, 0), 13);
	assert_int_equal(
	    send(fd, frame, FRAME_BYTES_MAX + 1, 0), FRAME_BYTES_MAX + 1);
	assert_int_equal(send(fd, frame, FRAME_BYTES_MAX, 0), FRAME_BYTES_MAX);
	assert_int_equal(send(fd, frame, 60, 0), 60);
	assert_int_equal(next_frame(), FRAME_BYTES_MAX);
	assert_int_equal(next_frame(), 60);
	assert_int_equal(kit_counter(&kit, BC_IN_DROP_SIZE), 5);
	close(fd);
	kit_fini(&kit);
}

static void
test_datagrams_wait_while_the_ring_or_the_socket_is_full(void **state)
{
	int fd = open_pair(SOCK_DGRAM), i, in = 0, out = 0;

	(void)state;
	/* Both ways at once, 3000 each: above what either side holds. */
	for (i = 0; i < 200000 && (in < 3000 || out < 3000); i++) {
		memcpy(frame, &in, sizeof in);
		if (in < 3000 && kit_send(&kit, frame, FRAME_BYTES_MIN))
			in++;
		kit_publish(&kit);
		if (recv(fd, got, sizeof got, MSG_DONTWAIT) > 0) {
			assert_memory_equal(got, &out, sizeof out);
			out++;
		} else {
			kit_turn(&kit, 0);
		}
	}
	assert_int_equal(out, 3000);
	assert_int_equal(kit_counter(&kit, BC_OUT_FRAMES), 3000);
	close(fd);
	kit_fini(&kit);
}

static int
udp_socket(struct sockaddr_in *own)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	socklen_t len = sizeof *own;

	*own = (struct sockaddr_in){
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_int_equal(bind(fd, (void *)own, sizeof *own), 0);
	getsockname(fd, (void *)own, &len);
	return fd;
}

static void
test_udp_survives_refusals_and_hears_no_stranger(void **state)
{
	struct netdev_socket_options o = {
	    .udp = (char[]){"127.0.0.1:1"}, .localaddr = (char[]){"x"}};
	struct sockaddr_in a, b, c;
	int ours = udp_socket(&a), theirs = udp_socket(&b), i;
	int stranger = udp_socket(&c);
	struct err err;

	(void)state;
	assert_int_equal(connect(ours, (void *)&b, sizeof b), 0);
	kit_init(&kit, KIT_RING_BYTES);
	kit.be.resource[RESOURCE_UDP] = ours;
	assert_int_equal(kit_open(&kit, &o, &err), 0);
	assert_string_equal(kit.be.info, "socket: udp=127.0.0.1:1");
	sendto(stranger, frame, 99, 0, (void *)&a, sizeof a);
	sendto(theirs, frame, 60, 0, (void *)&a, sizeof a);
	assert_int_equal(next_frame(), 60);
	/* Nobody there: refusals come back as errors of later calls. */
	close(theirs);
	for (i = 0; i < 20; i++) {
		kit_send(&kit, frame, 60);
		kit_publish(&kit);
		kit_turn(&kit, 1);
	}
	kit_send(&kit, frame, 65508);
	kit_publish(&kit);
	wait_counter(BC_OUT_DROP_SIZE, 1);
	theirs = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(theirs, (void *)&b, sizeof b), 0);
	kit_turn(&kit, 5);
	kit_send(&kit, frame, 61);
	kit_publish(&kit);
	read_all(theirs, got, 61, sizeof got);
	sendto(theirs, frame, 62, 0, (void *)&a, sizeof a);
	assert_int_equal(next_frame(), 62);
	close(theirs);
	close(stranger);
	kit_fini(&kit);
}

#define GROUP "239.77.66.55"

static int
group_socket(uint16_t port)
{
	struct ip_mreq join = {.imr_interface.s_addr = htonl(INADDR_LOOPBACK),
	    .imr_multiaddr.s_addr = inet_addr(GROUP)};
	struct sockaddr_in at = {.sin_family = AF_INET,
	    .sin_port = htons(port),
	    .sin_addr = join.imr_multiaddr};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (void *)&at, sizeof at) < 0 ||
	    setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &join, sizeof join) ||
	    setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &join.imr_interface,
		sizeof join.imr_interface)) {
		close(fd);
		return -1;
	}
	return fd;
}

static void
test_own_multicast_frames_are_not_taken_back(void **state)
{
	struct netdev_socket_options o = {.mcast = (char[]){GROUP ":27655"}};
	struct sockaddr_in to = {.sin_family = AF_INET,
	    .sin_port = htons(27655),
	    .sin_addr.s_addr = inet_addr(GROUP)};
	int ours = group_socket(27655), theirs = group_socket(27655);
	struct err err;

	(void)state;
	if (ours < 0 || theirs < 0) {
		close(ours);
		close(theirs);
		skip();
	}
	kit_init(&kit, KIT_RING_BYTES);
	kit.be.resource[RESOURCE_MCAST] = ours;
	assert_int_equal(kit_open(&kit, &o, &err), 0);
	memset(frame, 1, 100);
	kit_send(&kit, frame, 100);
	kit_send(&kit, frame, 100); /* twice the same bytes */
	kit_publish(&kit);
	read_all(theirs, got, 100, 100);
	wait_counter(BC_IN_DROP_SOURCE, 2);
	/* The same bytes from somebody else are theirs. */
	sendto(theirs, frame, 100, 0, (void *)&to, sizeof to);
	assert_int_equal(next_frame(), 100);
	close(theirs);
	kit_fini(&kit);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_datagrams_that_are_no_frames_are_dropped),
	    cmocka_unit_test(
		test_datagrams_wait_while_the_ring_or_the_socket_is_full),
	    cmocka_unit_test(test_udp_survives_refusals_and_hears_no_stranger),
	    cmocka_unit_test(test_own_multicast_frames_are_not_taken_back),
	};

	log_open("test", "-", LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
