/*
 * session_test.c - QMP over sockets: bytes, order, errors, descriptors.
 * Expected texts: what QEMU 7.2 answers, as far as it answers well.
 */
#include "tests/unit/qmp_client.h"

#include "broker/getfd.h"

#include <fcntl.h>
#include <unistd.h>

struct row {
	const char *ask;
	const char *answer;
};

static void
walk(struct client *c, const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		assert_string_equal(ask(c, rows[i].ask), rows[i].answer);
}

#define WALK(c, rows) walk(c, rows, sizeof(rows) / sizeof((rows)[0]))

static void
test_envelope_errors_are_qemus(void **state)
{
	static const struct row rows[] = {
	    {"1 ", G("QMP input must be a JSON object")},
	    {"\"a\"", G("QMP input must be a JSON object")},
	    {"[]", G("QMP input must be a JSON object")},
	    {"null\n", G("QMP input must be a JSON object")},
	    {"{}", G("QMP input lacks member 'execute'")},
	    {"{\"arguments\":{}}", G("QMP input lacks member 'execute'")},
	    {"{\"execute\":1}",
		G("QMP input member 'execute' must be a string")},
	    {"{\"execute\":\"quit\",\"arguments\":[]}",
		G("QMP input member 'arguments' must be an object")},
	    {"{\"execute\":\"quit\",\"arguments\":null}",
		G("QMP input member 'arguments' must be an object")},
	    {"{\"execute\":\"quit\",\"foo\":1}",
		G("QMP input member 'foo' is unexpected")},
	    {"{\"exec-oob\":\"query-name\"}",
		G("QMP input member 'exec-oob' is unexpected")},
	    {"{\"execute\":\"nope\"}",
		N("The command nope has not been found")},
	    {"{\"execute\":\"\"}", N("The command  has not been found")},
	    {"{\"execute\":\"quit\\u0000x\"}",
		N("The command quit has not been found")},
	    {"{\"execute\":\"qmp_capabilities\"}",
		N("Capabilities negotiation is already complete, command "
		  "ignored")},
	    {"{\"execute\":\"query-name\",\"execute\":\"query-name\"}",
		G("JSON parse error, duplicate key")},
	    {"{\"execute\":\"query-name\",\"id\":{\"a\":1,'a':2}}",
		G("JSON parse error, duplicate key")},
	    {"{a:1}", G("JSON parse error, invalid keyword 'a'")},
	    {"\xff", G("JSON parse error, stray '\\uFFFD'")},
	    {"{\"execute\":\"query-name\"}", OK},
	    {"{'execute':'query-name'}", OK},
	};
	struct client c;

	(void)state;
	client_ready_to_ask(&c);
	WALK(&c, rows);
	client_close(&c);
}

static void
test_argument_errors_are_qemus(void **state)
{
	static const struct row rows[] = {
	    {ASK("set_link", "{\"name\":\"a\"}"),
		G("Parameter 'up' is missing")},
	    {ASK("query-name", "{\"foo\":1}"),
		G("Parameter 'foo' is unexpected")},
	    {ASK("quit", "{\"foo\":1}"), G("Parameter 'foo' is unexpected")},
	    {ASK("set_link", "{\"name\":\"a\",\"up\":7}"),
		G("Invalid parameter type for 'up', expected: boolean")},
	    {ASK("set_link", "{\"name\":1,\"up\":true}"),
		G("Invalid parameter type for 'name', expected: string")},
	    {ASK("netdev_add",
		 "{\"type\":\"hubport\",\"id\":\"p\",\"hubid\":1.0}"),
		G("Invalid parameter type for 'hubid', expected: integer")},
	    {ASK("netdev_add", "{\"type\":\"hubport\",\"id\":\"p\","
			       "\"hubid\":9223372036854775808}"),
		G("Invalid parameter type for 'hubid', expected: integer")},
	    {ASK("netdev_add",
		 "{\"type\":\"hubport\",\"id\":\"p\",\"hubid\":2147483648}"),
		G("Parameter 'hubid' expects int32_t")},
	    {ASK("netdev_add", "{\"type\":\"foo\",\"id\":\"p\"}"),
		G("Parameter 'type' does not accept value 'foo'")},
	    {ASK("set_link", "{\"name\":\"a\",\"up\":true}"),
		"{\"error\": {\"class\": \"DeviceNotFound\", \"desc\": "
		"\"Device 'a' not found\"}}\r\n"},
	    {ASK("closefd", "{\"fdname\":\"zz\"}"),
		G("File descriptor named 'zz' not found")},
	    {ASK("getfd", "{\"fdname\":\"zz\"}"),
		G("No file descriptor supplied via SCM_RIGHTS")},
	};
	struct client c;

	(void)state;
	client_ready_to_ask(&c);
	WALK(&c, rows);
	client_close(&c);
}

static void
test_negotiation_comes_first(void **state)
{
	static const struct row rows[] = {
	    {"{\"execute\":\"query-name\"}",
		N("Expecting capabilities negotiation with "
		  "'qmp_capabilities'")},
	    {"{\"execute\":\"nope\"}",
		N("Expecting capabilities negotiation with "
		  "'qmp_capabilities'")},
	    {"{}", G("QMP input lacks member 'execute'")},
	    {ASK("qmp_capabilities", "{\"enable\":[\"oob\"]}"),
		G("Capability oob not available")},
	    {ASK("qmp_capabilities", "{\"enable\":[\"foo\"]}"),
		G("Parameter 'enable[0]' does not accept value 'foo'")},
	    {"{\"execute\":\"query-name\"}",
		N("Expecting capabilities negotiation with "
		  "'qmp_capabilities'")},
	    {ASK("qmp_capabilities", "{\"enable\":[]}"), OK},
	    {"{\"execute\":\"query-name\"}", OK},
	};
	struct client c;

	(void)state;
	client_open(&c);
	wait_lines(&c, 1);
	assert_string_equal(c.got, GREETING);
	WALK(&c, rows);
	client_close(&c);
}

static void
test_id_is_echoed_whatever_it_is(void **state)
{
	static const struct row rows[] = {
	    {"{\"execute\":\"query-name\",\"id\":1}",
		"{\"return\": {}, \"id\": 1}\r\n"},
	    {"{\"id\":null,\"execute\":\"query-name\"}",
		"{\"return\": {}, \"id\": null}\r\n"},
	    {"{\"execute\":\"x\",\"id\":{'a':[1,{}],'b':'\\u00e9'}}",
		"{\"id\": {\"a\": [1, {}], \"b\": \"\\u00E9\"}, \"error\": "
		"{\"class\": \"CommandNotFound\", \"desc\": \"The command x "
		"has not been found\"}}\r\n"},
	    {"{\"execute\":\"query-name\",\"id\":18446744073709551615}",
		"{\"return\": {}, \"id\": 18446744073709551615}\r\n"},
	    {"{\"execute\":\"query-name\",\"id\":-0.10}",
		"{\"return\": {}, \"id\": -0.10}\r\n"},
	    {"{\"id\":\"\\u0000\xf0\x9f\x98\x80\",\"execute\":\"query-name\"}",
		"{\"return\": {}, \"id\": \"\\u0000\\uD83D\\uDE00\"}\r\n"},
	    {"{\"id\":1,\"execute\":7}",
		"{\"id\": 1, \"error\": {\"class\": \"GenericError\", "
		"\"desc\": \"QMP input member 'execute' must be a "
		"string\"}}\r\n"},
	};
	struct client c;

	(void)state;
	client_ready_to_ask(&c);
	WALK(&c, rows);
	client_close(&c);
}

static void
test_commands_may_be_pipelined_before_the_greeting_is_read(void **state)
{
	struct client c;

	(void)state;
	client_open(&c);
	say(&c, "{\"execute\":\"qmp_capabilities\"}{\"execute\":\"query-name\""
		",\"id\":2}{\"execute\":\"query-version\",\"id\":3}");
	wait_lines(&c, 4);
	assert_string_equal(c.got,
	    GREETING OK "{\"return\": {}, \"id\": 2}\r\n"
			"{\"return\": {\"qemu\": {\"major\": 2, \"minor\": 12, "
			"\"micro\": 0}, \"package\": \"bulkhead-" //
	    BULKHEAD_VERSION "\"}, \"id\": 3}\r\n");
	client_close(&c);
}

static void
test_bytes_one_by_one_are_the_same(void **state)
{
	const char *text = "{\"execute\":\"query-name\",\"id\":\"x\"}";
	struct client c;

	(void)state;
	client_ready_to_ask(&c);
	for (const char *p = text; *p != '\0'; p++) {
		say(&c, (char[]){*p, '\0'});
		turn(100000);
	}
	wait_lines(&c, 1);
	assert_string_equal(c.got, "{\"return\": {}, \"id\": \"x\"}\r\n");
	client_close(&c);
}

static void
test_events_come_before_the_reply_to_all_with_one_stamp(void **state)
{
	struct client a, b, c;
	char *stamp;

	(void)state;
	client_ready_to_ask(&a);
	client_ready_to_ask(&b);
	client_open(&c);
	wait_lines(&c, 1);
	say(&a, ASK("netdev_del", "{\"id\":\"event\"}"));
	wait_lines(&a, 2);
	wait_lines(&b, 1);
	stamp = strstr(a.got, "\r\n");
	assert_non_null(stamp);
	assert_string_equal(stamp, "\r\n" OK);
	assert_memory_equal(a.got, b.got, b.len);
	assert_memory_equal(b.got, "{\"timestamp\": {\"seconds\": ", 26);
	assert_non_null(
	    strstr(b.got, "}, \"event\": \"BACKEND_QUARANTINED\", \"data\": "
			  "{\"id\": \"\", \"deaths\": 1}}\r\n"));
	/* A client that has not negotiated hears nothing */
	turn(10000000);
	assert_string_equal(c.got, GREETING);
	client_close(&a);
	client_close(&b);
	client_close(&c);
}

static void
send_fds(struct client *c, const char *text, const int *fds, size_t count)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int) * 4)];
	} control = {0};
	struct iovec iov = {(char *)(uintptr_t)text, strlen(text)};
	struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = CMSG_SPACE(sizeof(int) * count)};
	struct cmsghdr *h = CMSG_FIRSTHDR(&msg);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int) * count);
	memcpy(CMSG_DATA(h), fds, sizeof(int) * count);
	assert_int_equal(sendmsg(c->fd, &msg, 0), strlen(text));
}

static size_t
open_fds(void)
{
	size_t count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

#define GETFD(name) ASK("getfd", "{\"fdname\":\"" name "\"}")

static void
test_descriptors_are_kept_by_name_and_never_leak(void **state)
{
	struct client c;
	size_t before;
	int fds[3] = {0, 1, 2}, fd;

	(void)state;
	wait_sessions(0);
	before = open_fds();
	client_ready_to_ask(&c);
	send_fds(&c, GETFD("a"), fds, 3);
	wait_lines(&c, 1);
	assert_string_equal(c.got, OK);
	send_fds(&c, GETFD("a"), fds + 1, 1); /* replaces */
	wait_lines(&c, 2);
	send_fds(&c, GETFD("1x"), fds, 1); /* refused, closed */
	wait_lines(&c, 3);
	assert_non_null(strstr(c.got, "not starting with a digit"));
	send_fds(&c, "  ", fds, 2); /* only the last set counts */
	turn(1000000);
	send_fds(&c, GETFD("b"), fds, 2);
	wait_lines(&c, 4);
	assert_string_equal(
	    ask(&c, GETFD("c")), G("No file descriptor supplied via "
				   "SCM_RIGHTS"));
	/* One that no command wanted dies with its session */
	send_fds(&c, "{\"execute\":\"query-name\"}", fds, 1);
	wait_lines(&c, 2);
	client_close(&c);
	wait_sessions(0);
	assert_int_equal(open_fds(), before + 2);
	/* Names outlive the session */
	client_ready_to_ask(&c);
	assert_string_equal(ask(&c, ASK("closefd", "{\"fdname\":\"b\"}")), OK);
	assert_true(getfd_known("a"));
	fd = getfd_take("a");
	assert_true(fd >= 0);
	fd_close(&fd);
	assert_false(getfd_known("a"));
	client_close(&c);
	wait_sessions(0);
	assert_int_equal(open_fds(), before);
}

static void
test_sets_of_descriptors_are_kept_and_closed(void **state)
{
	struct client c;
	size_t before;
	int fd = 0;

	(void)state;
	wait_sessions(0);
	before = open_fds();
	client_ready_to_ask(&c);
	assert_string_equal(ask(&c, ASK("add-fd", "{}")),
	    G("No file descriptor supplied via SCM_RIGHTS"));
	send_fds(&c, ASK("add-fd", "{\"fdset-id\":4}"), &fd, 1);
	wait_lines(&c, 2);
	assert_non_null(strstr(c.got, "\"fdset-id\": 4"));
	send_fds(&c, ASK("add-fd", "{\"fdset-id\":-1}"), &fd, 1);
	wait_lines(&c, 3);
	assert_non_null(strstr(c.got, "expects a non-negative value"));
	assert_string_equal(
	    ask(&c, ASK("remove-fd", "{\"fdset-id\":4,\"fd\":99999}")),
	    G("File descriptor named 'fdset-id:4, fd:99999' not found"));
	client_close(&c);
	wait_sessions(0);
	/* A set outlives the session */
	assert_int_equal(open_fds(), before + 1);
	client_ready_to_ask(&c);
	assert_string_equal(ask(&c, ASK("remove-fd", "{\"fdset-id\":4}")), OK);
	assert_string_equal(
	    ask(&c, ASK("query-fdsets", "{}")), "{\"return\": []}\r\n");
	client_close(&c);
	wait_sessions(0);
	assert_int_equal(open_fds(), before);
}

static void
test_descriptors_belong_to_their_command_when_pipelined(void **state)
{
	int pipes[2][2], fds[2];
	struct client c;

	(void)state;
	client_ready_to_ask(&c);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pipe2(pipes[i], O_CLOEXEC), 0);
		send_fds(&c, i == 0 ? GETFD("p0") : GETFD("p1"), pipes[i], 1);
	}
	wait_lines(&c, 2);
	assert_string_equal(c.got, OK OK);
	fds[0] = getfd_take("p0");
	fds[1] = getfd_take("p1");
	for (int i = 0; i < 2; i++) {
		char byte = 0;

		assert_int_equal(write(pipes[i][1], "x", 1), 1);
		assert_int_equal(read(fds[i], &byte, 1), 1);
		fd_close(&fds[i]);
		fd_close(&pipes[i][0]);
		fd_close(&pipes[i][1]);
	}
	client_close(&c);
}

static void
test_answers_are_one_line_of_ascii(void **state)
{
	struct client c;

	(void)state;
	client_ready_to_ask(&c);
	assert_string_equal(
	    ask(&c, "{\"execute\":\"a\xc3\xa9\\u20ac\\ud83d\\ude00\"}"),
	    N("The command a\\u00E9\\u20AC\\uD83D\\uDE00 has not been "
	      "found"));
	assert_true(strlen(ask(&c, "{\"execute\":\"query-qmp-schema\"}")) <
		    (size_t)64 * 1024);
	assert_string_equal(c.got + c.len - 4, "]}\r\n");
	assert_memory_equal(ask(&c, "{\"execute\":\"query-commands\"}"),
	    "{\"return\": [{\"name\": \"", 22);
	client_close(&c);
}

static void
test_quit_says_so_and_answers_nothing_more(void **state)
{
	struct client a, b;

	(void)state;
	client_ready_to_ask(&a);
	client_ready_to_ask(&b);
	say(&a, "{\"execute\":\"quit\",\"id\":9}{\"execute\":\"query-name\","
		"\"id\":10}");
	wait_lines(&a, 0);
	wait_lines(&b, 0);
	assert_int_equal(fake.quit_code, 0);
	assert_non_null(strstr(a.got,
	    "\"event\": \"SHUTDOWN\", \"data\": {\"guest\": false, "
	    "\"reason\": \"host-qmp-quit\"}}\r\n{\"return\": {}, \"id\": "
	    "9}\r\n"));
	assert_null(strstr(a.got, "10"
				  "}"));
	assert_non_null(strstr(b.got, "SHUTDOWN"));
	client_close(&a);
	client_close(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_envelope_errors_are_qemus),
	    cmocka_unit_test(test_argument_errors_are_qemus),
	    cmocka_unit_test(test_negotiation_comes_first),
	    cmocka_unit_test(test_id_is_echoed_whatever_it_is),
	    cmocka_unit_test(
		test_commands_may_be_pipelined_before_the_greeting_is_read),
	    cmocka_unit_test(test_bytes_one_by_one_are_the_same),
	    cmocka_unit_test(
		test_events_come_before_the_reply_to_all_with_one_stamp),
	    cmocka_unit_test(test_descriptors_are_kept_by_name_and_never_leak),
	    cmocka_unit_test(test_sets_of_descriptors_are_kept_and_closed),
	    cmocka_unit_test(
		test_descriptors_belong_to_their_command_when_pipelined),
	    cmocka_unit_test(test_answers_are_one_line_of_ascii),
	    cmocka_unit_test(test_quit_says_so_and_answers_nothing_more),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
