/*
 * launcher_test.c - the real launcher among brokers and children that lie.
 *
 * The program plays three parts. Started as itself it is the test: it makes a
 * directory of programs that are copies of itself, and runs bulkheadd with it.
 * As bulkhead-broker it is a broker that does what --name=SCENARIO says; as
 * any other bulkhead-TYPE a child that does what its --id says. A broker
 * writes a line with FAIL for everything that is not as it should be.
 */
#include "tests/hostile/launcher_arena.h"
#include "tests/hostile/launcher_breaks.h"
#include "tests/hostile/launcher_chardevs.h"
#include "tests/hostile/launcher_crossover.h"
#include "tests/hostile/launcher_descriptors.h"
#include "tests/hostile/launcher_names.h"
#include "tests/hostile/launcher_taps.h"

#include <dirent.h>
#include <setjmp.h>

#include <cmocka.h>

#define NOBODY 65534

/* --- the fake broker -------------------------------------------------- */

static const struct {
	const char *name;
	void (*run)(void);
} scenarios[] = {
    {"life", scenario_life},
    {"deaths", scenario_deaths},
    {"liars", scenario_liars},
    {"policy", scenario_policy},
    {"policy-file", scenario_policy_file},
    {"flood", scenario_flood},
    {"sockets", scenario_sockets},
    {"chardevs", scenario_chardevs},
    {"descriptors", scenario_descriptors},
    {"crossover", scenario_crossover},
    {"crossings", scenario_crossings},
    {"arena", scenario_arena},
    {"arenas", scenario_arenas},
    {"names", scenario_names},
    {"taps", scenario_taps},
    {"chardev-policy", scenario_chardev_policy},
    {"term", scenario_term},
    {"stubborn", scenario_stubborn},
    {"churn", scenario_churn},
};

static const char *
argument(int argc, char **argv, const char *name)
{
	size_t len = strlen(name);
	int i;

	for (i = argc - 1; i > 0; i--)
		if (strncmp(argv[i], name, len) == 0)
			return argv[i] + len;
	return "";
}

_Noreturn static void
fake_broker(int argc, char **argv)
{
	static const struct sysrule rules[] = {
	    SYS(mmap, "looking at a port's memories"),
	    SYS(pread64, "the same, of an arena"),
	    SYS(pwrite64, "writing to it"),
	    SYS(fallocate, "letting go of what was written"),
	    SYS(mprotect, "trying to write to what is to be read only"),
	    SYS(ftruncate, "trying to make it larger or smaller"),
	    SYS(fcntl, "the same, with its seals"),
	    SYS(newfstatat, "fstat: are two memories the same?"),
	    SYS(socket, "descriptors to pass"),
	    SYS(socketpair, "the same"),
	    SYS(memfd_create, "the same"),
	    SYS(pipe2, "the same"),
	    SYS(epoll_create1, "the same"),
	    SYS(recvfrom, "looking whether they are connected"),
	};
	static const struct syslist list = {
	    "broker", rules, sizeof rules / sizeof *rules};
	const char *name = argument(argc, argv, "--name=");
	struct launch_msg msg = message(LAUNCH_QUIT, 0);
	size_t i;

	run_dir = argument(argc, argv, "--run-dir=");
	confine_begin("broker");
	confine_lock(&list);
	confine_ready();
	if (strncmp(name, "break:", 6) == 0)
		break_rule(name + 6);
	for (i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
		if (strcmp(scenarios[i].name, name) == 0)
			scenarios[i].run();
	post(&msg);
	for (;;)
		take();
}

/* --- the test --------------------------------------------------------- */

static char dir[] = "/tmp/bulkhead-launcher-XXXXXX";

/* Run the scenario to its end, as this user. */
static pid_t
begin(const char *name, uid_t uid, const char *extra, int *err)
{
	static char program[64], libexec[64], run[64], scenario[64];
	char *argv[] = {
	    program, libexec, run, scenario, (char *)(uintptr_t)extra, NULL};

	snprintf(program, sizeof program, "%s/bulkheadd", dir);
	snprintf(libexec, sizeof libexec, "--libexec=%s/libexec", dir);
	snprintf(run, sizeof run, "--run-dir=%s/run%u", dir, uid);
	snprintf(scenario, sizeof scenario, "--name=%s", name);
	return launch(argv, uid, err);
}

static struct outcome out;

static void
run_as(const char *name, uid_t uid, const char *extra)
{
	int err;
	pid_t pid = begin(name, uid, extra, &err);

	finish(pid, err, &out);
}

static void
succeeds(const char *name, uid_t uid, const char *extra)
{
	run_as(name, uid, extra);
	if (out.status != 0 || strstr(out.text, "FAIL") != NULL)
		fail_msg(
		    "%s as %u: status %d\n%s", name, uid, out.status, out.text);
}

static bool
as_root(void)
{
	if (geteuid() != 0)
		print_message("needs root\n");
	return geteuid() == 0;
}

static void
test_root_process_has_every_layer(void **state)
{
	(void)state;
	if (!as_root())
		skip();
	succeeds("life", 0, "--sandbox=strict");
	assert_non_null(strstr(out.text, " missing 0\n"));
}

static void
test_rootless_process_lacks_own_uid_only(void **state)
{
	char lacks[32];

	(void)state;
	succeeds("life", NOBODY, NULL);
	snprintf(lacks, sizeof lacks, " missing %x\n", 1u << LAYER_UID);
	assert_non_null(strstr(out.text, lacks));
	succeeds("life", NOBODY, "--sandbox=strict");
}

static void
test_deaths_are_told_with_cause_and_words(void **state)
{
	(void)state;
	succeeds("deaths", NOBODY, NULL);
	if (as_root())
		succeeds("deaths", 0, NULL);
	assert_non_null(strstr(out.text, "process.exit id=bug role=lane"));
}

static void
test_lying_child_ends_and_others_do_not(void **state)
{
	(void)state;
	succeeds("liars", NOBODY, NULL);
	if (as_root())
		succeeds("liars", 0, NULL);
}

static void
test_policy_refuses_and_names_the_rule(void **state)
{
	char path[64];
	FILE *f;

	(void)state;
	if (!as_root())
		skip();
	succeeds("policy", 0, NULL);
	snprintf(path, sizeof path, "%s/policy", dir);
	f = fopen(path, "we");
	assert_non_null(f);
	fprintf(f, "# test\nallow udp 127.0.0.0/8:4000-4009\n"
		   "allow listen 127.0.0.1\nallow directory /usr\n"
		   "allow raw-ip 127.0.0.1\n");
	fclose(f);
	snprintf(path, sizeof path, "--policy=%s/policy", dir);
	succeeds("policy-file", 0, path);
}

static void
test_names_are_judged_as_the_kernel_has_them(void **state)
{
	char path[64];
	FILE *f;

	(void)state;
	if (!as_root() || access("/dev/net/tun", W_OK) < 0)
		skip();
	snprintf(path, sizeof path, "%s/taps", dir);
	f = fopen(path, "we");
	assert_non_null(f);
	fprintf(f, TAPS_POLICY);
	fclose(f);
	snprintf(path, sizeof path, "--policy=%s/taps", dir);
	succeeds("taps", 0, path);
}

static void
test_a_name_leads_nowhere_else(void **state)
{
	char path[64];
	FILE *f;

	(void)state;
	if (!as_root())
		skip();
	snprintf(path, sizeof path, "%s/names", dir);
	f = fopen(path, "we");
	assert_non_null(f);
	fprintf(f, NAMES_POLICY);
	fclose(f);
	snprintf(path, sizeof path, "--policy=%s/names", dir);
	succeeds("names", 0, path);
}

static void
test_unread_answers_stop_the_asker_only(void **state)
{
	(void)state;
	succeeds("flood", NOBODY, NULL);
}

static void
make_stale(uid_t uid)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	char path[64];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(
	    un.sun_path, sizeof un.sun_path, "%s/run%u/stale.sock", dir, uid);
	(void)unlink(un.sun_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
	assert_int_equal(lchown(un.sun_path, uid, uid), 0);
	fd_close(&fd);
	snprintf(path, sizeof path, "%s/run%u/plain", dir, uid);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	fd_close(&fd);
}

static void
test_stale_socket_goes_and_a_living_one_stays(void **state)
{
	struct stat st;
	char path[64];

	(void)state;
	if (!as_root())
		skip();
	make_stale(0);
	succeeds("sockets", 0, NULL);
	snprintf(path, sizeof path, "%s/run0/stale.sock", dir);
	assert_int_equal(stat(path, &st), -1);
	snprintf(path, sizeof path, "%s/run0/plain", dir);
	assert_int_equal(stat(path, &st), 0);
}

static void
test_a_chardev_is_lent_to_one_slot_at_a_time(void **state)
{
	(void)state;
	succeeds("chardevs", NOBODY, NULL);
	if (as_root())
		succeeds("chardevs", 0, NULL);
}

static void
test_passed_descriptors_are_looked_at(void **state)
{
	(void)state;
	succeeds("descriptors", NOBODY, NULL);
}

static void
test_what_is_lent_was_granted_before(void **state)
{
	(void)state;
	if (!as_root())
		skip();
	succeeds("chardev-policy", 0, NULL);
}

static void
test_term_winds_down_in_order(void **state)
{
	int err;
	pid_t pid;
	char byte = 0;

	(void)state;
	pid = begin("term", NOBODY, NULL, &err);
	assert_int_equal(read(err, &byte, 1), 1); /* launcher.up */
	(void)usleep(50000);
	(void)kill(pid, SIGHUP); /* changes nothing */
	(void)kill(pid, SIGTERM);
	finish(pid, err, &out);
	assert_int_equal(out.status, 0);
	assert_null(strstr(out.text, "FAIL"));
}

static unsigned
count_fds(pid_t pid)
{
	char path[64];
	unsigned count = 0;
	DIR *d;

	snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	d = opendir(path);
	assert_non_null(d);
	while (readdir(d) != NULL)
		count++;
	closedir(d);
	return count;
}

/* Descriptors of the launcher when the scenario has told that it is up. */
static unsigned
fds_after(const char *name)
{
	struct pollfd wait;
	char line[4096] = "";
	unsigned count;
	size_t used = 0;
	ssize_t len = 1;
	pid_t pid;
	int err;

	pid = begin(name, NOBODY, NULL, &err);
	wait = (struct pollfd){err, POLLIN, 0};
	while (strstr(line, "launcher.up") == NULL && len > 0 &&
	       poll(&wait, 1, 20000) > 0) {
		/* Only the end matters. */
		if (used > sizeof line / 2)
			used = 0;
		len = read(err, line + used, sizeof line - 1 - used);
		used += len > 0 ? (size_t)len : 0;
		line[used] = '\0';
		assert_null(strstr(line, "FAIL"));
	}
	count = count_fds(pid);
	(void)kill(pid, SIGTERM);
	finish(pid, err, &out);
	assert_int_equal(out.status, 0);
	return count;
}

static void
test_no_descriptor_is_left_of_what_was_released(void **state)
{
	(void)state;
	assert_int_equal(fds_after("term"), fds_after("churn"));
}

static void
test_a_crossover_joins_two_living_backends(void **state)
{
	(void)state;
	succeeds("crossover", NOBODY, NULL);
	if (as_root())
		succeeds("crossover", 0, NULL);
}

static void
test_nothing_is_kept_of_a_crossover(void **state)
{
	(void)state;
	assert_int_equal(fds_after("term"), fds_after("crossings"));
}

static void
test_an_arena_is_for_a_living_lane(void **state)
{
	(void)state;
	succeeds("arena", NOBODY, NULL);
	if (as_root())
		succeeds("arena", 0, NULL);
}

static void
test_nothing_is_kept_of_an_arena(void **state)
{
	(void)state;
	assert_int_equal(fds_after("term"), fds_after("arenas"));
}

static void
test_second_signal_ends_a_stubborn_broker(void **state)
{
	int err;
	pid_t pid;
	char byte;

	(void)state;
	pid = begin("stubborn", NOBODY, NULL, &err);
	assert_int_equal(read(err, &byte, 1), 1);
	(void)usleep(50000);
	(void)kill(pid, SIGTERM);
	(void)usleep(50000);
	(void)kill(pid, SIGINT);
	finish(pid, err, &out);
	assert_int_equal(out.status, 1);
}

static void
test_stubborn_broker_has_three_seconds(void **state)
{
	uint64_t start_ns = sys_mono_ns();
	int err;
	pid_t pid;
	char byte;

	(void)state;
	pid = begin("stubborn", NOBODY, NULL, &err);
	assert_int_equal(read(err, &byte, 1), 1);
	(void)usleep(50000);
	(void)kill(pid, SIGTERM);
	finish(pid, err, &out);
	assert_int_equal(out.status, 1);
	assert_true(sys_mono_ns() - start_ns < UINT64_C(5000000000));
}

static void
test_broker_that_breaks_a_rule_ends(void **state)
{
	static const char *const rules[] = {"length", "long", "two-fds",
	    "four-fds", "fd", "latch-fd", "open-index", "open-kind",
	    "open-kind0", "open-flag", "open-path", "open-addr-len",
	    "open-addr-short", "open-lookup", "open-lookup-index",
	    "open-lookup-option", "open-lookup-family", "open-chardev-fd",
	    "open-chardev-path", "open-addr-family", "open-addr-path",
	    "open-qmp", "open-slot0", "open-slot", "open-magic", "open-type",
	    "open-answer", "role", "role-high", "id", "no-id", "ring", "signal",
	    "stop-self", "release-self", "quit-code", "latch-twice", "up-twice",
	    "take-slot", "take-fd", "cross-self", "cross-broker",
	    "cross-other-broker", "cross-slot", "cross-other",
	    "cross-other-high", "cross-answer", "cross-fd", "arena-none",
	    "arena-part", "arena-large", "arena-huge", "arena-broker",
	    "arena-slot", "arena-answer", "arena-fd"};
	char name[64];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rules / sizeof *rules; i++) {
		snprintf(name, sizeof name, "break:%s", rules[i]);
		run_as(name, NOBODY, NULL);
		if (out.status != 1 ||
		    strstr(out.text, "process.fault") == NULL)
			fail_msg(
			    "%s: status %d\n%s", name, out.status, out.text);
	}
}

static int
make_programs(void **state)
{
	static const char *const names[] = {
	    "broker", "lane", "resolve", "bridge", "dump", "socket", "user"};
	char path[128], built[4096];
	size_t i;

	(void)state;
	if (mkdtemp(dir) == NULL || chmod(dir, 0777) < 0)
		return -1;
	own_dir(built, sizeof built - 32);
	snprintf(built + strlen(built), 32, "/../../bin/bulkheadd");
	snprintf(path, sizeof path, "%s/bulkheadd", dir);
	copy_file(built, path);
	snprintf(path, sizeof path, "%s/libexec", dir);
	if (mkdir(path, 0755) < 0)
		return -1;
	for (i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(
		    path, sizeof path, "%s/libexec/bulkhead-%s", dir, names[i]);
		copy_file("/proc/self/exe", path);
	}
	snprintf(path, sizeof path, "%s/run0", dir);
	(void)mkdir(path, 0750);
	snprintf(path, sizeof path, "%s/run0/link", dir);
	return symlink("/tmp", path);
}

static int
remove_programs(void **state)
{
	char command[64] = "rm";
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		execlp(command, command, "-rf", dir, (char *)NULL);
		_exit(127);
	}
	(void)waitpid(pid, NULL, 0);
	return 0;
}

int
main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	const char *name = slash != NULL ? slash + 1 : argv[0];
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_root_process_has_every_layer),
	    cmocka_unit_test(test_rootless_process_lacks_own_uid_only),
	    cmocka_unit_test(test_deaths_are_told_with_cause_and_words),
	    cmocka_unit_test(test_lying_child_ends_and_others_do_not),
	    cmocka_unit_test(test_policy_refuses_and_names_the_rule),
	    cmocka_unit_test(test_names_are_judged_as_the_kernel_has_them),
	    cmocka_unit_test(test_a_name_leads_nowhere_else),
	    cmocka_unit_test(test_unread_answers_stop_the_asker_only),
	    cmocka_unit_test(test_stale_socket_goes_and_a_living_one_stays),
	    cmocka_unit_test(test_a_chardev_is_lent_to_one_slot_at_a_time),
	    cmocka_unit_test(test_passed_descriptors_are_looked_at),
	    cmocka_unit_test(test_what_is_lent_was_granted_before),
	    cmocka_unit_test(test_term_winds_down_in_order),
	    cmocka_unit_test(test_no_descriptor_is_left_of_what_was_released),
	    cmocka_unit_test(test_a_crossover_joins_two_living_backends),
	    cmocka_unit_test(test_nothing_is_kept_of_a_crossover),
	    cmocka_unit_test(test_an_arena_is_for_a_living_lane),
	    cmocka_unit_test(test_nothing_is_kept_of_an_arena),
	    cmocka_unit_test(test_second_signal_ends_a_stubborn_broker),
	    cmocka_unit_test(test_stubborn_broker_has_three_seconds),
	    cmocka_unit_test(test_broker_that_breaks_a_rule_ends),
	};

	if (strcmp(name, "bulkhead-broker") == 0)
		fake_broker(argc, argv);
	if (strncmp(name, "bulkhead-", 9) == 0)
		return fake_child();
	return cmocka_run_group_tests(tests, make_programs, remove_programs);
}
