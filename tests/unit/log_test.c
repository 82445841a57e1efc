/*
 * log_test.c - one event is one line, whatever is in it.
 */
#include "proto/log.h"

#include "proto/sys.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Standard error goes to a pipe; `out` is its other end. */
static int saved = -1, out = -1;
static char got[8192];

static int
setup(void **state)
{
	int pipes[2];

	(void)state;
	if (pipe2(pipes, O_CLOEXEC) != 0)
		return -1;
	saved = dup(STDERR_FILENO);
	out = pipes[0];
	dup2(pipes[1], STDERR_FILENO);
	fd_close(&pipes[1]);
	log_open("tester", "net0", LOG_INFO);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	dup2(saved, STDERR_FILENO);
	fd_close(&saved);
	fd_close(&out);
	return 0;
}

/* What one write(2) brought. */
static const char *
line(void)
{
	ssize_t len = read(out, got, sizeof got - 1);

	assert_true(len > 0);
	got[len] = '\0';
	return got;
}

static void
test_line_has_level_role_id_event_and_values(void **state)
{
	(void)state;
	log_event(LOG_INFO, "netdev.start", "id=%s epoch=%d", "net0", 3);
	assert_string_equal(
	    line(), "info tester[net0] netdev.start id=net0 epoch=3\n");
	log_event(LOG_ERROR, "lane.die", "%s", "");
	assert_string_equal(line(), "error tester[net0] lane.die\n");
	log_event(LOG_WARN, "a.b", "x=1");
	assert_string_equal(line(), "warn tester[net0] a.b x=1\n");
}

static void
test_levels_above_the_limit_are_silent(void **state)
{
	(void)state;
	log_event(LOG_DEBUG, "not.shown", "x=1");
	log_open("tester", "-", LOG_DEBUG);
	log_event(LOG_DEBUG, "is.shown", "x=1");
	assert_string_equal(line(), "debug tester[-] is.shown x=1\n");
}

static void
test_values_are_quoted_when_not_plain(void **state)
{
	(void)state;
	assert_string_equal(log_quote("plain-1.2:3/x"), "plain-1.2:3/x");
	assert_string_equal(log_quote("two words"), "\"two words\"");
	assert_string_equal(log_quote(""), "\"\"");
	assert_string_equal(log_quote(NULL), "-");
	assert_string_equal(log_quote("a=b"), "\"a=b\"");
	assert_string_equal(log_quote("q\"b\\s"), "\"q\\\"b\\\\s\"");
	assert_string_equal(log_quote("x\nerror y\033[2J\xc3\xa9"),
	    "\"x\\nerror y\\x1b[2J\\xc3\\xa9\"");
}

static void
test_eight_quoted_values_fit_one_line(void **state)
{
	const char *q[8];
	char want[16];
	int i;

	(void)state;
	for (i = 0; i < 8; i++) {
		snprintf(want, sizeof want, "v %d", i);
		q[i] = log_quote(want);
	}
	for (i = 0; i < 8; i++) {
		snprintf(want, sizeof want, "\"v %d\"", i);
		assert_string_equal(q[i], want);
	}
}

static void
test_long_values_are_cut_and_marked(void **state)
{
	char text[4000];
	const char *quoted;
	size_t len;

	(void)state;
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	quoted = log_quote(text);
	len = strlen(quoted);
	assert_in_range(len, 500, 511);
	assert_string_equal(quoted + len - 4, "...\"");
	memset(text, '\n', sizeof text - 1);
	quoted = log_quote(text);
	assert_in_range(strlen(quoted), 500, 511);
	memset(text, '\x80', sizeof text - 1);
	quoted = log_quote(text);
	assert_in_range(strlen(quoted), 500, 511);
	/* 511 plain characters still fit, 512 do not. */
	memset(text, 'y', sizeof text);
	text[511] = '\0';
	assert_int_equal(strlen(log_quote(text)), 511);
	text[511] = 'y';
	text[512] = '\0';
	quoted = log_quote(text);
	assert_string_equal(quoted + strlen(quoted) - 4, "...\"");
}

static void
test_nobody_can_forge_a_line(void **state)
{
	char text[6000];
	size_t len;

	(void)state;
	log_event(LOG_INFO, "a.b", "x=%s", "1\nerror broker[-] c.d");
	assert_string_equal(
	    line(), "info tester[net0] a.b x=1\\x0aerror broker[-] c.d\n");
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	log_event(LOG_INFO, "a.b", "x=%s", text);
	len = strlen(line());
	assert_in_range(len, 3000, 4096);
	assert_int_equal(got[len - 1], '\n');
	memset(text, 1, sizeof text - 1);
	log_event(LOG_INFO, "a.b", "x=%s", text);
	len = strlen(line());
	assert_in_range(len, 4000, 4096);
	assert_int_equal(got[len - 1], '\n');
}

static void
hook(const char *words)
{
	(void)!write(STDERR_FILENO, words, strlen(words));
	(void)!write(STDERR_FILENO, "|", 1);
}

static void
test_bug_leaves_last_words_and_aborts(void **state)
{
	int status = 0;
	pid_t pid;

	(void)state;
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		log_last_words(hook);
		bug("proto/x.c", 7, "a > b");
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
	assert_string_equal(line(),
	    "bug x.c:7 a > b|error tester[net0] bug.abort "
	    "words=\"bug x.c:7 a > b\"\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_line_has_level_role_id_event_and_values),
	    TEST(test_levels_above_the_limit_are_silent),
	    TEST(test_values_are_quoted_when_not_plain),
	    TEST(test_eight_quoted_values_fit_one_line),
	    TEST(test_long_values_are_cut_and_marked),
	    TEST(test_nobody_can_forge_a_line),
	    TEST(test_bug_leaves_last_words_and_aborts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
