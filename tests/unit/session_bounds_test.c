/*
 * session_bounds_test.c - QMP over sockets: floods, slow readers, too many
 * clients, disconnects; what one client does to itself and to others.
 */
#include "tests/unit/qmp_client.h"

static void
test_a_slow_reader_stops_being_read(void **state)
{
	const char *text = "{\"execute\":\"query-qmp-schema\"}";
	struct client c;
	size_t sent = 0, answers;

	(void)state;
	client_ready_to_ask(&c);
	/* Ask without reading until the socket takes no more */
	for (unsigned idle = 0; idle < 3; idle++) {
		while (send(c.fd, text, strlen(text),
			   MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
			sent++;
			idle = 0;
		}
		turn(1000000);
	}
	assert_true(sent > 100);
	/* It is served when it reads again: nothing was lost */
	wait_lines(&c, 50);
	answers = lines_of(&c);
	assert_true(answers >= 50);
	client_close(&c);
}

static void
test_events_to_a_slow_reader_are_bounded(void **state)
{
	static char id[60000];
	struct backend_quarantined_data data = {.id = id, .deaths = 1};
	struct client slow, other;

	(void)state;
	memset(id, 'a', sizeof(id) - 1);
	wait_sessions(0);
	client_ready_to_ask(&slow);
	client_ready_to_ask(&other);
	for (unsigned i = 0; i < 40; i++) {
		event_emit(EVENT_BACKEND_QUARANTINED, &data);
		wait_lines(&other, i + 1);
	}
	wait_sessions(1);
	wait_lines(&slow, 0); /* what was sent, then the end */
	assert_true(slow.ended);
	client_close(&slow);
	client_close(&other);
}

static void
test_a_flood_does_not_hold_others(void **state)
{
	static char flood[200000];
	struct client bad, good;

	(void)state;
	memset(flood, ']', sizeof(flood));
	client_ready_to_ask(&bad);
	client_ready_to_ask(&good);
	assert_true(send(bad.fd, flood, sizeof(flood),
			MSG_DONTWAIT | MSG_NOSIGNAL) > 1000);
	assert_string_equal(ask(&good, "{\"execute\":\"query-name\"}"), OK);
	wait_lines(&bad, 2000);
	assert_memory_equal(bad.got, G("JSON parse error, expecting value"),
	    sizeof(G("JSON parse error, expecting value")) - 1);
	client_close(&bad);
	client_close(&good);
}

static void
test_a_long_pipeline_is_answered_whole_and_in_order(void **state)
{
	static char text[500 * 64];
	char want[64];
	struct client c;
	const char *at;
	size_t len = 0;

	(void)state;
	client_ready_to_ask(&c);
	for (unsigned i = 0; i < 500; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
		    "{\"execute\":\"query-name\",\"id\":%u}\n", i);
	say(&c, text);
	wait_lines(&c, 500);
	at = c.got;
	for (unsigned i = 0; i < 500; i++) {
		len = (size_t)snprintf(
		    want, sizeof(want), "{\"return\": {}, \"id\": %u}\r\n", i);
		assert_memory_equal(at, want, len);
		at += len;
	}
	client_close(&c);
}

static void
test_too_many_clients_are_told(void **state)
{
	static struct client many[SESSION_CLIENTS_MAX + 2];

	(void)state;
	wait_sessions(0);
	for (size_t i = 0; i < SESSION_CLIENTS_MAX; i++) {
		client_open(&many[i]);
		wait_lines(&many[i], 1);
	}
	for (size_t i = SESSION_CLIENTS_MAX; i < SESSION_CLIENTS_MAX + 2; i++) {
		client_open(&many[i]);
		wait_lines(&many[i], 0);
		assert_string_equal(many[i].got, G("too many clients"));
	}
	client_close(&many[0]);
	wait_sessions(SESSION_CLIENTS_MAX - 1);
	client_open(&many[0]);
	wait_lines(&many[0], 1);
	assert_string_equal(many[0].got, GREETING);
	for (size_t i = 0; i < SESSION_CLIENTS_MAX + 2; i++)
		client_close(&many[i]);
	wait_sessions(0);
}

static void
test_reset_byte_and_depth_leave_the_session_usable(void **state)
{
	char deep[300];
	struct client c;

	(void)state;
	client_ready_to_ask(&c);
	memset(deep, '[', sizeof(deep));
	deep[200] = '\0';
	say(&c, deep);
	wait_lines(&c, 1);
	assert_memory_equal(c.got, G("JSON nesting depth limit exceeded"), 60);
	say(&c, "\xff");
	wait_lines(&c, 2);
	assert_string_equal(ask(&c, "{\"execute\":\"query-name\"}"), OK);
	client_close(&c);
}

static void
test_a_pending_command_holds_its_session_only(void **state)
{
	struct client a, b;

	(void)state;
	client_ready_to_ask(&a);
	client_ready_to_ask(&b);
	fake.hold = true;
	say(&a, ASK("netdev_add", "{\"type\":\"user\",\"id\":\"u\"}"));
	say(&a, "{\"execute\":\"query-name\",\"id\":2}");
	assert_string_equal(ask(&b, "{\"execute\":\"query-name\"}"), OK);
	wait_held();
	turn(10000000);
	assert_int_equal(a.len, 0);
	fake.hold = false;
	call_return(fake.held, NULL, NULL);
	fake.held = NULL;
	wait_lines(&a, 2);
	assert_string_equal(a.got, OK "{\"return\": {}, \"id\": 2}\r\n");
	client_close(&a);
	client_close(&b);
}

static void
test_disconnect_in_mid_command_drops_the_answer(void **state)
{
	struct client a;

	(void)state;
	wait_sessions(0);
	client_ready_to_ask(&a);
	fake.hold = true;
	say(&a, ASK("netdev_add", "{\"type\":\"user\",\"id\":\"u\"}"));
	wait_held();
	client_close(&a);
	turn(10000000);
	fake.hold = false;
	call_return(fake.held, NULL, NULL);
	fake.held = NULL;
	wait_sessions(0);
}

static void
test_half_close_still_gets_its_answers(void **state)
{
	struct client a;

	(void)state;
	client_ready_to_ask(&a);
	fake.hold = true;
	say(&a, ASK("netdev_add", "{\"type\":\"user\",\"id\":\"u\"}"));
	say(&a, "{\"execute\":\"query-name\",\"id\":2}{\"exec");
	shutdown(a.fd, SHUT_WR);
	wait_held();
	fake.hold = false;
	call_return(fake.held, NULL, NULL);
	fake.held = NULL;
	wait_lines(&a, 0);
	assert_true(a.ended);
	assert_string_equal(a.got, OK "{\"return\": {}, \"id\": 2}\r\n");
	client_close(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_slow_reader_stops_being_read),
	    cmocka_unit_test(test_events_to_a_slow_reader_are_bounded),
	    cmocka_unit_test(test_a_flood_does_not_hold_others),
	    cmocka_unit_test(
		test_a_long_pipeline_is_answered_whole_and_in_order),
	    cmocka_unit_test(test_too_many_clients_are_told),
	    cmocka_unit_test(
		test_reset_byte_and_depth_leave_the_session_usable),
	    cmocka_unit_test(test_a_pending_command_holds_its_session_only),
	    cmocka_unit_test(test_disconnect_in_mid_command_drops_the_answer),
	    cmocka_unit_test(test_half_close_still_gets_its_answers),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
