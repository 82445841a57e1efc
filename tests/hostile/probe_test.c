/*
 * probe_test.c - what the processes of a running Bulkhead can really do.
 *
 * It starts the real daemon with one netdev of every type, takes the filter
 * out of each role's live process (PTRACE_SECCOMP_GET_FILTER), puts it on
 * children of its own and makes every system call there is, one fork each.
 * A call that is not in the list that the role logged must kill. A process that
 * looks a name up lives too short for that: one is started beside the daemon,
 * and its surroundings are seen to in test_51_names.py. Needs root
 * and a kernel with CONFIG_CHECKPOINT_RESTORE.
 */
#include "tests/hostile/probe_kit.h"

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>

/* --- one call, one fork ----------------------------------------------- */

struct call {
	long nr;
	long args[6];
};

/*
 * The exit code or 128 + signal of a child that makes the call behind the
 * role's filter; ALIVE: it came back.
 */
static int
attempt(const struct role *r, void (*make)(const void *), const void *what)
{
	struct sock_fprog program = {.len = r->count,
	    .filter = (struct sock_filter *)(uintptr_t)r->code};
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		(void)alarm(5);
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		    syscall(
			__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
			_exit(99);
		make(what);
		(void)syscall(__NR_exit_group, ALIVE);
	}
	(void)waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void
make_call(const void *what)
{
	const struct call *c = what;
	const long *a = c->args;

	(void)syscall(c->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static bool
kills(const struct role *r, const struct call *c)
{
	int how = attempt(r, make_call, c);

	if (how == 99)
		fail_msg("%s: its filter cannot be used", r->name);
	return how == 128 + SIGSYS;
}

/*
 * Does a filter that kills everything but exit_group kill this call? Linux
 * lets uprobe and uretprobe of x86 pass all filters: they do nothing but for
 * the trampolines that the kernel itself puts there.
 */
static bool
kernel_lets_pass(const struct call *c)
{
	static struct role nothing = {
	    .name = "nothing",
	    .code = {{BPF_LD | BPF_W | BPF_ABS, 0, 0, 0},
		{BPF_JMP | BPF_JEQ | BPF_K, 0, 1, __NR_exit_group},
		{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
		{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS}},
	    .count = 4,
	};

	return c->nr != __NR_exit_group && !kills(&nothing, c);
}

static void
test_every_call_that_is_not_listed_kills(void **state)
{
	struct call c = {0};
	unsigned killed = 0;
	size_t i;

	(void)state;
	skip_if_unable();
	skip_if_overlaid();
	for (i = 0; i < ROLES; i++) {
		const struct role *r = &roles[i];

		assert_true(r->always[__NR_write]);
		for (c.nr = 0; c.nr < CALLS; c.nr++) {
			bool dead = kills(r, &c);

			if (!dead && !r->always[c.nr] && !r->maybe[c.nr] &&
			    !kernel_lets_pass(&c))
				fail_msg("%s: call %ld is not in its list and "
					 "passes",
				    r->name, c.nr);
			if (dead && r->always[c.nr])
				fail_msg("%s: call %ld is in its list and "
					 "kills",
				    r->name, c.nr);
			killed += dead;
		}
	}
	print_message("%u calls of %u killed\n", killed, ROLES * CALLS);
}

/* The entry of 32-bit programs, which x86_64 has for everybody. */
static void
make_foreign(const void *what)
{
	long rc = 20; /* getpid of the 32-bit table */

	(void)what;
	__asm__ volatile("int $0x80" : "+a"(rc) : : "memory");
}

static void
test_foreign_entries_kill(void **state)
{
	struct call c = {.nr = X32 | __NR_getpid};
	size_t i;

	(void)state;
	skip_if_unable();
	for (i = 0; i < ROLES; i++) {
		assert_true(kills(&roles[i], &c));
		assert_int_equal(
		    attempt(&roles[i], make_foreign, NULL), 128 + SIGSYS);
	}
}

/* Arguments that would open what a list closes. */
static void
test_wrong_arguments_kill(void **state)
{
	static int off;
	const struct call wrong[] = {
	    {__NR_ioctl, {FD_PORT_BELL, FIONBIO, (long)&off}},
	    {__NR_fcntl, {FD_PORT_BELL, F_SETFL, 0}},
	    {__NR_mmap, {0, 4096, PROT_READ | PROT_EXEC,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0}},
	    {__NR_mmap,
		{0, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, FD_PORT_PEER, 0}},
	    {__NR_mmap, {0, 4096, PROT_READ, MAP_PRIVATE, FD_PORT_PEER, 0}},
	    {__NR_mprotect, {0, 4096, PROT_EXEC}},
	    {__NR_tgkill, {1, 1, SIGKILL}},
	    {__NR_madvise, {0, 4096, 9 /* MADV_REMOVE */}},
	    {__NR_socket, {AF_NETLINK, SOCK_RAW, 0}},
	    {__NR_socket, {AF_PACKET, SOCK_RAW, 0}},
	    {__NR_socket, {AF_INET6, SOCK_RAW, 58}},
	    {__NR_openat, {AT_FDCWD, (long)"/etc/x", O_RDWR | O_CREAT, 0600}},
	};
	size_t i, k;

	(void)state;
	skip_if_unable();
	skip_if_overlaid();
	for (i = 0; i < ROLES; i++) {
		for (k = 0; k < sizeof wrong / sizeof *wrong; k++) {
			/* where there are no files, opening is no matter */
			if (wrong[k].nr == __NR_openat && !roles[i].files &&
			    !roles[i].alone)
				continue;
			/* libc tries that before it does without */
			if (wrong[k].nr == __NR_socket && roles[i].alone &&
			    wrong[k].args[0] == AF_NETLINK)
				continue;
			if (!kills(&roles[i], &wrong[k]))
				fail_msg("%s: call %ld, case %zu passes",
				    roles[i].name, wrong[k].nr, k);
		}
	}
}

/* Map a descriptor's memory, or some of nobody's. */
static void
make_mapping(const void *what)
{
	const int *fd = what;
	int flags = *fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;

	if (mmap(NULL, 4096, PROT_READ | PROT_WRITE, flags, *fd, 0) ==
	    MAP_FAILED)
		(void)syscall(__NR_exit_group, ALIVE + 1);
}

/* Several lines for one call are alternatives, whatever they look at. */
static void
test_those_that_share_memory_can_map_it(void **state)
{
	int none = -1, memory;
	size_t i;

	(void)state;
	skip_if_unable();
	skip_if_overlaid();
	assert_int_equal(sys_memfd("probe", 4096, &memory), 0);
	for (i = 0; i < ROLES; i++) {
		int how = attempt(&roles[i], make_mapping, &memory);

		if (how != (roles[i].maps ? ALIVE : 128 + SIGSYS))
			fail_msg(
			    "%s: mapping ends with %d", roles[i].name, how);
		assert_int_equal(
		    attempt(&roles[i], make_mapping, &none), ALIVE);
	}
	fd_close(&memory);
}

static void
make_abort(const void *what)
{
	(void)what;
	abort();
}

static void
test_abort_is_not_taken_for_a_forbidden_call(void **state)
{
	size_t i;

	(void)state;
	skip_if_unable();
	for (i = 0; i < ROLES; i++)
		assert_int_equal(
		    attempt(&roles[i], make_abort, NULL), 128 + SIGABRT);
}

/* --- the live processes ----------------------------------------------- */

/* What is in a directory of the process's root, but . and .. */
static void
list_root(pid_t pid, const char *path, char *names, size_t size)
{
	char full[128];
	struct dirent *entry;
	DIR *d;

	snprintf(full, sizeof full, "/proc/%d/root%s", (int)pid, path);
	names[0] = '\0';
	d = opendir(full);
	assert_non_null(d);
	while ((entry = readdir(d)) != NULL) {
		size_t used = strlen(names);

		if (entry->d_name[0] != '.')
			snprintf(
			    names + used, size - used, "%s ", entry->d_name);
	}
	closedir(d);
}

static void
test_file_systems_are_empty(void **state)
{
	char names[256];
	size_t i;

	(void)state;
	skip_if_unable();
	for (i = 0; i < ROLES; i++) {
		if (roles[i].alone)
			continue;
		list_root(roles[i].pid, "/", names, sizeof names);
		assert_string_equal(names, roles[i].files ? "etc " : "");
		if (!roles[i].files)
			continue;
		list_root(roles[i].pid, "/etc", names, sizeof names);
		assert_string_equal(names, "resolv.conf ");
	}
}

static void
test_networks_are_empty(void **state)
{
	char devices[4096], *line;
	unsigned count;
	size_t i;

	(void)state;
	skip_if_unable();
	for (i = 0; i < ROLES; i++) {
		if (roles[i].network)
			continue;
		proc_text(roles[i].pid, "net/dev", devices, sizeof devices);
		for (count = 0, line = devices; (line = strchr(line, ':'));
		     line++)
			count++;
		assert_int_equal(count, 1); /* lo, and it is down */
		proc_text(roles[i].pid, "net/route", devices, sizeof devices);
		line = strchr(devices, '\n'); /* the heading, if that */
		assert_true(line == NULL || line[1] == '\0');
	}
}

static void
test_ids_and_rights_are_gone(void **state)
{
	static const char *const wanted[] = {"\nCapInh:\t0000000000000000\n",
	    "\nCapPrm:\t0000000000000000\n", "\nCapEff:\t0000000000000000\n",
	    "\nCapBnd:\t0000000000000000\n", "\nCapAmb:\t0000000000000000\n",
	    "\nNoNewPrivs:\t1\n", "\nSeccomp:\t2\n", "\nGroups:\t \n",
	    "\nThreads:\t1\n"};
	char status[4096], uid[64];
	size_t i, k;

	(void)state;
	skip_if_unable();
	for (i = 0; i < ROLES; i++) {
		if (roles[i].alone)
			continue;
		proc_text(roles[i].pid, "status", status, sizeof status);
		for (k = 0; k < sizeof wanted / sizeof *wanted; k++)
			if (strstr(status, wanted[k]) == NULL)
				fail_msg("%s: no %s in\n%s", roles[i].name,
				    wanted[k] + 1, status);
		snprintf(uid, sizeof uid, "%.*s",
		    (int)strcspn(strstr(status, "\nUid:"), "\t") + 12,
		    strstr(status, "\nUid:"));
		for (k = 0; k < i; k++) {
			proc_text(
			    roles[k].pid, "status", status, sizeof status);
			assert_null(strstr(status, uid));
		}
	}
}

static void
test_memory_is_never_writable_and_executable(void **state)
{
	static char maps[1 << 18];
	size_t i;

	(void)state;
	skip_if_unable();
	for (i = 0; i < ROLES; i++) {
		proc_text(roles[i].pid, "maps", maps, sizeof maps);
		assert_non_null(strstr(maps, "r-xp"));
		assert_null(strstr(maps, "rwx"));
		assert_null(strstr(maps, "-wx"));
	}
}

/* Each descriptor is a socket, a memory, a wait, or what was asked for. */
static void
test_descriptors_are_those_that_were_given(void **state)
{
	static const char *const fine[] = {
	    "socket:", "/memfd:bulkhead-", "anon_inode:", "pipe:", "/dev/null"};
	char path[64], target[256], capture[96];
	struct dirent *entry;
	size_t i, k;
	ssize_t len;
	DIR *d;

	(void)state;
	skip_if_unable();
	snprintf(capture, sizeof capture, "%s/c.pcap", dir);
	for (i = 0; i < ROLES; i++) {
		if (roles[i].alone)
			continue;
		snprintf(path, sizeof path, "/proc/%d/fd", (int)roles[i].pid);
		d = opendir(path);
		assert_non_null(d);
		while ((entry = readdir(d)) != NULL) {
			len = readlinkat(
			    dirfd(d), entry->d_name, target, sizeof target - 1);
			if (len < 0)
				continue; /* . and .. */
			target[len] = '\0';
			for (k = 0; k < sizeof fine / sizeof *fine; k++)
				if (strncmp(target, fine[k], strlen(fine[k])) ==
				    0)
					break;
			if (k == sizeof fine / sizeof *fine &&
			    (strcmp(target, capture) != 0 ||
				strcmp(roles[i].name, "dump") != 0))
				fail_msg("%s has %s", roles[i].name, target);
		}
		closedir(d);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_call_that_is_not_listed_kills),
	    cmocka_unit_test(test_foreign_entries_kill),
	    cmocka_unit_test(test_wrong_arguments_kill),
	    cmocka_unit_test(test_those_that_share_memory_can_map_it),
	    cmocka_unit_test(test_abort_is_not_taken_for_a_forbidden_call),
	    cmocka_unit_test(test_file_systems_are_empty),
	    cmocka_unit_test(test_networks_are_empty),
	    cmocka_unit_test(test_ids_and_rights_are_gone),
	    cmocka_unit_test(test_memory_is_never_writable_and_executable),
	    cmocka_unit_test(test_descriptors_are_those_that_were_given),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
