/*
 * vhost_test.c - vhost-user messages arrive whole, leave whole, and those that
 * cannot be end the connection, with every descriptor closed.
 */
#include "tests/unit/vhost_kit.h"

#include <stdio.h>

static struct fixture {
	struct vhost_conn *conn;
	unsigned messages, bads, closes, descriptors;
	struct vhost_msg last;
	bool takes, frees, answers; /* what message() does */
	int answer, bad_answer;
	char why[256], wrong[64];
} fx;

static int
message(void *self, struct vhost_msg *m)
{
	static const uint8_t zeroes[VHOST_CONFIG_BYTES];
	unsigned i;
	int fd;

	assert_ptr_equal(self, &fx);
	fx.messages++;
	fx.last = *m;
	fx.descriptors += m->fd_count;
	for (i = 0; i < m->fd_count; i++)
		assert_true(fcntl(m->fds[i], F_GETFD) & FD_CLOEXEC);
	if (fx.takes) {
		fd = vhost_msg_take(m, 0);
		assert_true(fd >= 0);
		assert_int_equal(vhost_msg_take(m, 0), -1);
		fd_close(&fd);
	}
	if (fx.answers)
		(void)vhost_reply(fx.conn, m->request, zeroes, sizeof zeroes);
	if (fx.frees)
		vhost_conn_free(ptr_take(fx.conn));
	return fx.answer;
}

static int
bad(void *self, struct vhost_msg *m, const char *why)
{
	assert_ptr_equal(self, &fx);
	assert_int_equal(m->fd_count, 0);
	fx.bads++;
	(void)snprintf(fx.wrong, sizeof fx.wrong, "%s", why);
	return fx.bad_answer;
}

static void
closed(void *self, const char *why)
{
	assert_ptr_equal(self, &fx);
	fx.closes++;
	(void)snprintf(fx.why, sizeof fx.why, "%s", why);
	vhost_conn_free(ptr_take(fx.conn));
}

static const struct vhost_conn_ops ops = {
    .message = message,
    .bad = bad,
    .closed = closed,
};

static unsigned open_before;

static void
begin(enum vhost_role role)
{
	memset(&fx, 0, sizeof fx);
	kit_loop_open();
	open_before = open_descriptors();
	fx.conn = vhost_conn_new(&kit_loop, kit_pair(), role, &ops, &fx);
	assert_non_null(fx.conn);
}

static void
finish(void)
{
	vhost_conn_free(ptr_take(fx.conn));
	fd_close(&peer);
	kit_loop_close();
	assert_int_equal(open_descriptors(), open_before);
}

/* The connection has ended, for that reason. */
static void
expect_end(const char *why)
{
	kit_run(0);
	assert_int_equal(fx.closes, 1);
	assert_non_null(strstr(fx.why, why));
	finish();
}

/* --- in ------------------------------------------------------------------- */

static void
test_message_in_pieces_arrives_once(void **state)
{
	const uint32_t bytes[5] = {VHOST_SET_VRING_CALL, 9, 8, 1, 0};
	const uint8_t *at = (const uint8_t *)bytes;
	int fd = event_new(0);
	size_t i;

	(void)state;
	begin(VHOST_BACKEND);
	for (i = 0; i < sizeof bytes; i++) {
		assert_int_equal(fx.messages, 0);
		assert_int_equal(say_bytes(at + i, 1, &fd, i == 0), 1);
		pass_ns(KIT_SECOND / 5);
	}
	assert_int_equal(fx.messages, 1);
	assert_int_equal(fx.last.request, VHOST_SET_VRING_CALL);
	assert_int_equal(fx.last.flags, 9);
	assert_int_equal(fx.last.size, 8);
	assert_int_equal(fx.last.payload.u64, 1);
	assert_int_equal(fx.descriptors, 1);
	/* It was whole: nothing expires. */
	pass_ns(60 * KIT_SECOND);
	assert_int_equal(fx.closes, 0);
	finish();
	fd_close(&fd);
}

static void
test_each_message_has_its_own_descriptors(void **state)
{
	int fd = event_new(0);
	uint32_t i;

	(void)state;
	begin(VHOST_BACKEND);
	fx.takes = true;
	for (i = 0; i < 40; i++) {
		say_fds(VHOST_SET_VRING_KICK, 1, (uint64_t[]){i}, 8, &fd, 1);
		fx.takes = true;
	}
	kit_run(0);
	assert_int_equal(fx.messages, 40);
	assert_int_equal(fx.descriptors, 40);
	assert_int_equal(fx.last.payload.u64, 39);
	finish();
	fd_close(&fd);
}

static void
test_table_of_user_mode_linux_is_longer_than_its_one_region(void **state)
{
	uint8_t table[72] = {1};
	int fd = event_new(0);

	(void)state;
	begin(VHOST_BACKEND);
	say_fds(VHOST_SET_MEM_TABLE, 9, table, sizeof table, &fd, 1);
	kit_run(0);
	assert_int_equal(fx.messages, 1);
	assert_int_equal(fx.bads, 0);
	finish();
	fd_close(&fd);
}

static void
test_end_of_the_peer_is_told_after_what_it_said(void **state)
{
	(void)state;
	begin(VHOST_BACKEND);
	say(VHOST_SET_OWNER, 1, NULL, 0);
	fd_close(&peer);
	kit_run(0);
	assert_int_equal(fx.messages, 1);
	expect_end("closed by its peer");
}

static void
test_refusal_by_the_handler_ends(void **state)
{
	(void)state;
	begin(VHOST_BACKEND);
	fx.answer = -EPROTO;
	say(VHOST_SET_OWNER, 1, NULL, 0);
	say(VHOST_SET_OWNER, 1, NULL, 0);
	kit_run(0);
	assert_int_equal(fx.messages, 1);
	expect_end("refused");
}

static void
test_connection_may_be_freed_in_its_handler(void **state)
{
	int fd = event_new(0);

	(void)state;
	begin(VHOST_BACKEND);
	fx.frees = true;
	say_fds(VHOST_SET_VRING_KICK, 1, (uint64_t[]){0}, 8, &fd, 1);
	say(VHOST_SET_OWNER, 1, NULL, 0);
	kit_run(0);
	assert_int_equal(fx.messages, 1);
	assert_int_equal(fx.closes, 0);
	finish();
	fd_close(&fd);
}

static void
test_flood_leaves_turns_to_others(void **state)
{
	unsigned before;
	int i;

	(void)state;
	begin(VHOST_BACKEND);
	for (i = 0; i < 100; i++)
		say(VHOST_SET_OWNER, 1, NULL, 0);
	while (fx.messages < 100) {
		before = fx.messages;
		assert_true(turn_watches());
		assert_true(fx.messages - before <= VHOST_TURN_MESSAGES);
	}
	finish();
}

/* --- what cannot be ------------------------------------------------------- */

static void
test_impossible_headers_end(void **state)
{
	static const struct {
		uint32_t head[3];
		const char *why;
	} cases[] = {
	    {{VHOST_SET_OWNER, 0, 0}, "flags 0x0"},
	    {{VHOST_SET_OWNER, 2, 0}, "flags 0x2"},
	    {{VHOST_SET_OWNER, 3, 0}, "flags 0x3"},
	    {{VHOST_SET_OWNER, 5, 0}, "flags 0x5"},
	    {{VHOST_SET_OWNER, 0x11, 0}, "flags 0x11"},
	    {{VHOST_SET_OWNER, 0x80000001u, 0}, "flags 0x80000001"},
	    {{VHOST_SET_FEATURES, 1, 0x7fffffff}, "2147483647 bytes"},
	    {{VHOST_SET_FEATURES, 1, 0xffffffff}, "4294967295 bytes"},
	    {{VHOST_SET_FEATURES, 1, 269}, "269 bytes"},
	    {{77, 1, 4096}, "4096 bytes"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		begin(VHOST_BACKEND);
		assert_int_equal(say_bytes(cases[i].head, 12, NULL, 0), 12);
		kit_run(0);
		assert_int_equal(fx.messages + fx.bads, 0);
		expect_end(cases[i].why);
	}
}

static void
test_bad_request_may_be_answered_or_end(void **state)
{
	(void)state;
	begin(VHOST_BACKEND);
	say(77, 9, NULL, 0);
	say(VHOST_SET_OWNER, 1, NULL, 0);
	kit_run(0);
	assert_int_equal(fx.bads, 1);
	assert_string_equal(fx.wrong, "is not known here");
	assert_int_equal(fx.messages, 1);
	fx.bad_answer = -EPROTO;
	say(78, 9, NULL, 0);
	expect_end("message 78 is not known here");
}

static void
test_more_descriptors_than_fit_end(void **state)
{
	uint8_t table[264] = {8};
	int fds[60], fd = event_new(0), i;

	(void)state;
	for (i = 0; i < 60; i++)
		fds[i] = fd;
	begin(VHOST_BACKEND);
	say_fds(VHOST_SET_MEM_TABLE, 1, table, sizeof table, fds, 9);
	kit_run(0);
	assert_int_equal(fx.messages, 0);
	expect_end("more descriptors");
	begin(VHOST_BACKEND);
	say_fds(VHOST_SET_MEM_TABLE, 1, table, sizeof table, fds, 60);
	expect_end("more descriptors");
	/* Two at a time, with pieces of one header. */
	begin(VHOST_BACKEND);
	for (i = 0; i < 5; i++)
		assert_int_equal(say_bytes(table, 1, fds, 2), 1);
	expect_end("more descriptors");
	fd_close(&fd);
}

static void
test_descriptors_with_the_payload_end(void **state)
{
	const uint32_t head[3] = {VHOST_SET_FEATURES, 1, 8};
	int fd = event_new(0);

	(void)state;
	begin(VHOST_BACKEND);
	assert_int_equal(say_bytes(head, sizeof head, NULL, 0), sizeof head);
	assert_int_equal(say_bytes(head, 8, &fd, 1), 8);
	kit_run(0);
	assert_int_equal(fx.messages, 0);
	expect_end("descriptors");
	fd_close(&fd);
}

static void
test_stall_in_a_message_ends_however_slowly_it_drips(void **state)
{
	const uint32_t head[3] = {VHOST_SET_FEATURES, 1, 8};
	const uint8_t *at = (const uint8_t *)head;
	int fd = event_new(0), i;

	(void)state;
	begin(VHOST_BACKEND);
	assert_int_equal(say_bytes(at, 1, &fd, 1), 1);
	for (i = 1; i < 5; i++) {
		pass_ns(KIT_SECOND);
		assert_int_equal(fx.closes, 0);
		assert_int_equal(say_bytes(at + i, 1, NULL, 0), 1);
	}
	pass_ns(2 * KIT_SECOND);
	expect_end("in the middle of a message");
	begin(VHOST_BACKEND);
	assert_int_equal(say_bytes(head, sizeof head, &fd, 1), sizeof head);
	pass_ns(KIT_SECOND);
	fd_close(&peer);
	expect_end("closed by its peer in the middle");
	fd_close(&fd);
}

/* --- out ------------------------------------------------------------------ */

static void
test_replies_that_wait_stop_requests_and_all_arrive(void **state)
{
	uint8_t bytes[VHOST_CONFIG_BYTES];
	uint32_t head[3] = {VHOST_GET_FEATURES, 1, 0};
	unsigned asked = 0, heard = 0, before;

	(void)state;
	begin(VHOST_BACKEND);
	fx.answers = true;
	do {
		before = fx.messages;
		while (say_bytes(head, sizeof head, NULL, 0) == 12)
			asked++;
		while (turn_watches())
			;
	} while (fx.messages > before);
	/* More requests than its replies have room for. */
	assert_true(asked > fx.messages);
	while (heard < asked) {
		if (recv(peer, head, 12, MSG_DONTWAIT) != 12) {
			assert_true(turn_watches());
			continue;
		}
		assert_int_equal(head[1], 5);
		assert_int_equal(head[2], sizeof bytes);
		while (recv(peer, bytes, sizeof bytes,
			   MSG_DONTWAIT | MSG_PEEK) != sizeof bytes)
			assert_true(turn_watches());
		assert_int_equal(
		    recv(peer, bytes, sizeof bytes, 0), sizeof bytes);
		heard++;
	}
	assert_int_equal(fx.messages, asked);
	pass_ns(60 * KIT_SECOND);
	assert_int_equal(fx.closes, 0);
	finish();
}

static void
test_peer_that_reads_nothing_ends(void **state)
{
	const uint32_t head[3] = {VHOST_GET_FEATURES, 1, 0};
	unsigned before;

	(void)state;
	begin(VHOST_BACKEND);
	fx.answers = true;
	do {
		before = fx.messages;
		while (say_bytes(head, sizeof head, NULL, 0) == 12)
			;
		while (turn_watches())
			;
	} while (fx.messages > before);
	pass_ns(4 * KIT_SECOND);
	assert_int_equal(fx.closes, 0);
	pass_ns(2 * KIT_SECOND);
	expect_end("reads nothing");
}

static void
test_too_much_waiting_ends_from_the_loop(void **state)
{
	struct vhost_msg m = {.request = VHOST_SET_OWNER, .flags = 1};
	int rc;

	(void)state;
	begin(VHOST_FRONTEND);
	do
		rc = vhost_conn_send(fx.conn, &m);
	while (rc == 0);
	assert_int_equal(rc, -ENOBUFS);
	assert_int_equal(fx.closes, 0);
	assert_int_equal(vhost_conn_send(fx.conn, &m), -EPIPE);
	expect_end("reads nothing");
}

static void
test_requests_that_wait_keep_order_and_descriptors(void **state)
{
	struct vhost_msg m = {.request = VHOST_SET_VRING_KICK,
	    .flags = 1,
	    .size = 8,
	    .fd_count = 1,
	    .fds = {event_new(0)}};
	struct vhost_conn *other;
	const int small = 1;
	int ours, i;

	(void)state;
	memset(&fx, 0, sizeof fx);
	kit_loop_open();
	ours = kit_pair();
	assert_int_equal(
	    setsockopt(ours, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
	fx.conn = vhost_conn_new(&kit_loop, ours, VHOST_FRONTEND, &ops, &fx);
	for (i = 0; i < 60; i++, m.payload.u64++)
		assert_int_equal(vhost_conn_send(fx.conn, &m), 0);
	open_before = open_descriptors();
	/* Most of them waited: with copies. */
	assert_true(open_before > 50);
	vhost_msg_close(&m);
	other =
	    vhost_conn_new(&kit_loop, fd_take(&peer), VHOST_BACKEND, &ops, &fx);
	kit_run(0);
	assert_int_equal(fx.messages, 60);
	assert_int_equal(fx.descriptors, 60);
	assert_int_equal(fx.last.payload.u64, 59);
	assert_int_equal(fx.closes, 0);
	assert_true(open_descriptors() < 20);
	vhost_conn_free(other);
	vhost_conn_free(ptr_take(fx.conn));
	kit_loop_close();
}

/* --- the front-end's side ------------------------------------------------- */

static void
test_replies_must_be_replies(void **state)
{
	static const struct {
		uint32_t head[3];
		int handled;
	} cases[] = {
	    {{VHOST_GET_FEATURES, 5, 8}, 1},
	    {{VHOST_SET_MEM_TABLE, 5, 8}, 1},
	    {{VHOST_GET_VRING_BASE, 5, 8}, 1},
	    {{VHOST_GET_CONFIG, 5, 12 + 8}, 1},
	    {{VHOST_GET_CONFIG, 5, 0}, 1},
	    {{VHOST_GET_CONFIG, 5, 11}, 0},
	    {{VHOST_GET_FEATURES, 5, 0}, 0},
	    {{VHOST_GET_FEATURES, 5, 12}, 0},
	    {{VHOST_GET_FEATURES, 1, 8}, 0},
	    {{VHOST_GET_FEATURES, 4, 8}, 0},
	    {{VHOST_GET_FEATURES, 0xd, 8}, 0},
	    {{VHOST_GET_FEATURES, 7, 8}, 0},
	    {{77, 5, 8}, 0},
	    {{VHOST_GET_FEATURES, 5, 0x7fffffff}, 0},
	};
	static const uint8_t zeroes[32];
	int fd = event_new(0);
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		begin(VHOST_FRONTEND);
		assert_int_equal(say_bytes(cases[i].head, 12, NULL, 0), 12);
		(void)say_bytes(zeroes, cases[i].head[2] & 31, NULL, 0);
		kit_run(0);
		assert_int_equal(fx.messages, cases[i].handled);
		assert_int_equal(fx.closes, !cases[i].handled);
		assert_int_equal(fx.bads, 0);
		finish();
	}
	begin(VHOST_FRONTEND);
	say_fds(VHOST_GET_FEATURES, 5, zeroes, 8, &fd, 1);
	expect_end("has descriptors");
	fd_close(&fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_message_in_pieces_arrives_once),
	    cmocka_unit_test(test_each_message_has_its_own_descriptors),
	    cmocka_unit_test(
		test_table_of_user_mode_linux_is_longer_than_its_one_region),
	    cmocka_unit_test(test_end_of_the_peer_is_told_after_what_it_said),
	    cmocka_unit_test(test_refusal_by_the_handler_ends),
	    cmocka_unit_test(test_connection_may_be_freed_in_its_handler),
	    cmocka_unit_test(test_flood_leaves_turns_to_others),
	    cmocka_unit_test(test_impossible_headers_end),
	    cmocka_unit_test(test_bad_request_may_be_answered_or_end),
	    cmocka_unit_test(test_more_descriptors_than_fit_end),
	    cmocka_unit_test(test_descriptors_with_the_payload_end),
	    cmocka_unit_test(
		test_stall_in_a_message_ends_however_slowly_it_drips),
	    cmocka_unit_test(
		test_replies_that_wait_stop_requests_and_all_arrive),
	    cmocka_unit_test(test_peer_that_reads_nothing_ends),
	    cmocka_unit_test(test_too_much_waiting_ends_from_the_loop),
	    cmocka_unit_test(
		test_requests_that_wait_keep_order_and_descriptors),
	    cmocka_unit_test(test_replies_must_be_replies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
