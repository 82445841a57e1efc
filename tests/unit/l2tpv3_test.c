/* l2tpv3_test.c - the l2tpv3 backend between the lane and real sockets. */
#include "backends/l2tpv3.c"

#include "tests/unit/backend_kit.h"

#include <netinet/udp.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct kit kit;
static uint8_t got[FRAME_BYTES_MAX];
static struct netdev_l2tpv3_options plain = {
    .has_udp = true, .udp = true, .txsession = 1};
/* flags, session 1, a frame of 14 bytes */
static const char datagram[] = "\0\3\0\0\0\0\0\1fourteen bytes";
#define DATAGRAM_BYTES (sizeof datagram - 1)

static int
udp_socket(struct sockaddr_in *own)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	socklen_t len = sizeof *own;

	*own = (struct sockaddr_in){
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_int_equal(bind(fd, (void *)own, sizeof *own), 0);
	assert_int_equal(getsockname(fd, (void *)own, &len), 0);
	return fd;
}

static bool
has_frame(struct kit *k, void *arg)
{
	uint32_t *len = arg;

	if (*len == 0)
		*len = kit_receive(k, got);
	return *len != 0;
}

static uint32_t
next_frame(void)
{
	uint32_t len = 0;

	kit_until(&kit, has_frame, &len);
	return len;
}

static void
test_who_came_before_the_connection_is_looked_at(void **state)
{
	struct sockaddr_in a, b, c;
	int ours = udp_socket(&a), theirs = udp_socket(&b);
	int stranger = udp_socket(&c);
	struct err err;

	(void)state;
	/* In the queue before the socket knows its peer. */
	sendto(stranger, datagram, DATAGRAM_BYTES, 0, (void *)&a, sizeof a);
	sendto(theirs, datagram, DATAGRAM_BYTES, 0, (void *)&a, sizeof a);
	assert_int_equal(connect(ours, (void *)&b, sizeof b), 0);
	kit_init(&kit, KIT_RING_BYTES);
	kit.be.resource[RESOURCE_UDP] = ours;
	assert_int_equal(kit_open(&kit, &plain, &err), 0);
	assert_string_equal(kit.be.info, "l2tpv3: connected");
	assert_int_equal(next_frame(), 14);
	assert_memory_equal(got, "fourteen bytes", 14);
	assert_int_equal(kit_counter(&kit, BC_IN_DROP_SOURCE), 1);
	assert_int_equal(next_frame(), 0);
	close(theirs);
	close(stranger);
	kit_fini(&kit);
}

/* Neither a full ring nor a full socket loses or repeats a frame, and the
 * counter has no gap. */
static void
test_both_ways_at_once(void **state)
{
	struct netdev_l2tpv3_options o = {.has_udp = true,
	    .udp = true,
	    .txsession = 1,
	    .has_counter = true,
	    .counter = true};
	struct sockaddr_in a, b;
	int ours = udp_socket(&a), theirs = udp_socket(&b), i;
	uint8_t data[2048] = {0, 3, 0, 0, 0, 0, 0, 1};
	uint32_t out = 0, in = 0, sent = 0, n;
	struct err err;

	(void)state;
	assert_int_equal(connect(ours, (void *)&b, sizeof b), 0);
	kit_init(&kit, KIT_RING_BYTES);
	kit.be.resource[RESOURCE_UDP] = ours;
	assert_int_equal(kit_open(&kit, &o, &err), 0);
	for (i = 0; i < 200000 && (in < 3000 || out < 3000); i++) {
		if (sent < 3000 && sent < out + 100 &&
		    kit_send(&kit, (memcpy(got, &sent, 4), got), 200))
			sent++;
		kit_publish(&kit);
		if (in < 3000) {
			memcpy(data + 12, &in, 4);
			sendto(theirs, data, 512, 0, (void *)&a, sizeof a);
			assert_int_equal(next_frame(), 500);
			assert_memory_equal(got, &in, 4);
			in++;
		} else {
			kit_turn(&kit, 0);
		}
		while (recv(theirs, data + 1024, 1024, MSG_DONTWAIT) > 0) {
			assert_memory_equal(data + 1024 + 12, &out, 4);
			memcpy(&n, data + 1024 + 8, 4);
			assert_int_equal(ntohl(n), ++out);
		}
	}
	assert_int_equal(out, 3000);
	assert_int_equal(in, 3000);
	assert_int_equal(kit_counter(&kit, BC_OUT_FRAMES), 3000);
	close(theirs);
	kit_fini(&kit);
}

/* What the kernel cuts at the sender comes merged here, if it likes, and is
 * judged datagram by datagram. */
static void
test_merged_datagrams_are_many(void **state)
{
	struct sockaddr_in a, b;
	int ours = udp_socket(&a), theirs = udp_socket(&b), i, part = 100;
	uint8_t data[1000] = {0};
	struct err err;

	(void)state;
	assert_int_equal(connect(ours, (void *)&b, sizeof b), 0);
	kit_init(&kit, KIT_RING_BYTES);
	kit.be.resource[RESOURCE_UDP] = ours;
	assert_int_equal(kit_open(&kit, &plain, &err), 0);
	/* Ten of 100 bytes; number 3 is of another session, and the last of 8
	 * bytes has no frame. */
	for (i = 0; i < 10; i++) {
		memcpy(data + i * 100, datagram, 8);
		data[i * 100 + 8] = (uint8_t)i;
	}
	data[307]++;
	assert_int_equal(
	    setsockopt(theirs, SOL_UDP, UDP_SEGMENT, &part, sizeof part), 0);
	assert_int_equal(
	    sendto(theirs, data, 908, 0, (void *)&a, sizeof a), 908);
	for (i = 0; i < 9; i++) {
		if (i == 3)
			continue;
		assert_int_equal(next_frame(), 92);
		assert_int_equal(got[0], i);
	}
	assert_int_equal(next_frame(), 0);
	assert_int_equal(kit_counter(&kit, BC_IN_DROP_SESSION), 1);
	assert_int_equal(kit_counter(&kit, BC_IN_DROP_SIZE), 1);
	assert_int_equal(kit_counter(&kit, BC_IN_FRAMES), 8);
	close(theirs);
	kit_fini(&kit);
}

/* Lengths rise and fall: each datagram is one frame, in its order. */
static void
test_frames_of_any_lengths_in_one_batch(void **state)
{
	static const uint32_t lens[] = {60, 60, 60, 14, 60, 61, 61, 9000, 9000,
	    9000, 9000, 9000, 9000, 9000, 9000, 200, 60000, 60000, 61, 60, 60};
	const size_t count = sizeof lens / sizeof *lens;
	struct sockaddr_in a, b;
	int ours = udp_socket(&a), theirs = udp_socket(&b), big = 1 << 22;
	static uint8_t data[65536];
	unsigned waits = 0;
	struct err err;
	size_t i;

	(void)state;
	(void)setsockopt(theirs, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof big);
	assert_int_equal(connect(ours, (void *)&b, sizeof b), 0);
	kit_init(&kit, KIT_RING_BYTES);
	kit.be.resource[RESOURCE_UDP] = ours;
	assert_int_equal(kit_open(&kit, &plain, &err), 0);
	for (i = 0; i < count; i++) {
		memset(got, (int)i, lens[i]);
		assert_int_equal(kit_send(&kit, got, lens[i]), 1);
	}
	kit_publish(&kit);
	for (i = 0; i < count;) {
		ssize_t n = recv(theirs, data, sizeof data, MSG_DONTWAIT);

		if (n < 0) {
			assert_true(waits++ < KIT_WAIT_MS);
			kit_turn(&kit, 1);
			continue;
		}
		assert_int_equal(n, lens[i] + 8);
		assert_int_equal(data[8], i);
		assert_int_equal(data[n - 1], i);
		i++;
	}
	close(theirs);
	kit_fini(&kit);
}

static void
refused(const struct netdev_l2tpv3_options *o, int fd, const char *words)
{
	struct err err;

	kit_init(&kit, KIT_RING_BYTES);
	kit.be.resource[RESOURCE_UDP] = fd;
	assert_true(kit_open(&kit, o, &err) < 0);
	assert_non_null(strstr(err.text, words));
	kit_fini(&kit);
}

static void
test_what_cannot_be_opened(void **state)
{
	struct netdev_l2tpv3_options o = plain;
	struct sockaddr_in a;

	(void)state;
	refused(&o, -1, "the socket is missing");
	refused(&o, udp_socket(&a), "cannot use the socket");
	o.has_ipv6 = o.ipv6 = true;
	refused(&o, udp_socket(&a), "ipv6=on wants IPv6 addresses");
	o.has_offset = true;
	o.offset = 300;
	refused(&o, -1, "offset must be at most");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_who_came_before_the_connection_is_looked_at),
	    cmocka_unit_test(test_both_ways_at_once),
	    cmocka_unit_test(test_merged_datagrams_are_many),
	    cmocka_unit_test(test_frames_of_any_lengths_in_one_batch),
	    cmocka_unit_test(test_what_cannot_be_opened),
	};

	log_open("test", "-", LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
