/*
 * confine_test.c - a list becomes a filter that does what the list says.
 */
#include "sandbox/confine_child.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define KILLED (128 + SIGSYS)

static const struct sysrule base_rules[] = {
    SYS(exit_group, "end"),
    SYS(getppid, "in both lists"),
    SYS(getuid, "in the base only"),
    SYS_ERR(getsid, ENOENT, "answered"),
    SYS_ERR(getpgid, ENOENT, "the role allows it"),
};

static const struct sysrule own_rules[] = {
    SYS_IF(getppid, "replaces the base's", {0, ARG_EQ, 0xff, 7}),
    SYS(getpgid, "replaces the base's"),
    SYS_IF(kill, "first way", {1, ARG_EQ, 0xffffffff, 0}),
    SYS_IF(kill, "second way", {0, ARG_EQ, 0xffffffff, 1},
	{1, ARG_CLEAR, 0xf0, 0}),
};

/* What the call answers behind the filter: 0, errno, or KILLED. */
static int
attempt(long nr, long a, long b)
{
	const struct syslist base = {
	    "base", base_rules, sizeof base_rules / sizeof *base_rules};
	const struct syslist own = {
	    "own", own_rules, sizeof own_rules / sizeof *own_rules};
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (confine_filter(&base, &own, true) != 0)
			_exit(99);
		_exit(syscall(nr, a, b) < 0 ? errno : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void
skip_with_sanitizer(void)
{
	if (confine_sanitizer_count > 0)
		skip();
}

static void
test_a_listed_call_passes_and_another_kills(void **state)
{
	(void)state;
	skip_with_sanitizer();
	assert_int_equal(attempt(__NR_getuid, 0, 0), 0);
	assert_int_equal(attempt(__NR_getgid, 0, 0), KILLED);
	assert_int_equal(attempt(__NR_socket, AF_UNIX, SOCK_STREAM), KILLED);
	assert_int_equal(attempt(4000, 0, 0), KILLED);
}

static void
test_an_error_line_answers(void **state)
{
	(void)state;
	skip_with_sanitizer();
	assert_int_equal(attempt(__NR_getsid, 0, 0), ENOENT);
}

static void
test_own_lines_replace_those_of_the_base(void **state)
{
	(void)state;
	skip_with_sanitizer();
	assert_int_equal(attempt(__NR_getppid, 7, 0), 0);
	assert_int_equal(attempt(__NR_getppid, 0x107, 0), 0); /* masked */
	assert_int_equal(attempt(__NR_getppid, 8, 0), KILLED);
	assert_int_equal(attempt(__NR_getpgid, 0, 0), 0);
}

static void
test_lines_of_one_call_are_alternatives(void **state)
{
	(void)state;
	skip_with_sanitizer();
	assert_int_equal(attempt(__NR_kill, getpid(), 0), 0);
	assert_int_not_equal(attempt(__NR_kill, 1, 0x0), KILLED);
	assert_int_equal(attempt(__NR_kill, 2, 1), KILLED);
	assert_int_equal(attempt(__NR_kill, 1, 0x10), KILLED);
}

static void
test_every_line_has_a_reason(void **state)
{
	size_t i;

	(void)state;
	assert_true(confine_base_count > 20);
	for (i = 0; i < confine_base_count; i++) {
		assert_non_null(confine_base[i].why);
		assert_true(confine_base[i].why[0] != '\0');
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_listed_call_passes_and_another_kills),
	    cmocka_unit_test(test_an_error_line_answers),
	    cmocka_unit_test(test_own_lines_replace_those_of_the_base),
	    cmocka_unit_test(test_lines_of_one_call_are_alternatives),
	    cmocka_unit_test(test_every_line_has_a_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
