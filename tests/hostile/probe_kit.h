/*
 * probe_kit.h - the real daemon, the processes of its roles, their filters.
 *
 * Needs root; to take a filter out of a process also a kernel with
 * CONFIG_CHECKPOINT_RESTORE.
 */
#ifndef TESTS_HOSTILE_PROBE_KIT_H
#define TESTS_HOSTILE_PROBE_KIT_H

#include "sandbox/confine_child.h"
#include "tests/hostile/launcher_kit.h"

#include <dirent.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <setjmp.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include <cmocka.h>

#define ROLES       8
#define CALLS       512 /* numbers tried */
#define INSNS_MAX   4096
#define GET_FILTER  0x420c /* PTRACE_SECCOMP_GET_FILTER, linux/ptrace.h */
#define X32         0x40000000
#define ALIVE       42
#define LOG_WAIT_MS 20000

/* One role: its process, its newest filter, what it says may pass. */
static struct role {
	const char *name;
	bool network, files;
	bool maps;  /* memory that it shares with another process, as it runs */
	bool alone; /* not in a daemon: it lives too short a time there */
	pid_t pid;
	struct sock_filter code[INSNS_MAX];
	unsigned short count;
	bool always[CALLS], maybe[CALLS];
} roles[ROLES] = {
    {.name = "broker"},
    {.name = "lane", .maps = true},
    {.name = "dump", .maps = true},
    {.name = "socket", .maps = true},
    {.name = "user", .network = true, .files = true, .maps = true},
    {.name = "vhost-user", .maps = true},
    {.name = "nic", .maps = true},
    {.name = "resolve", .network = true, .alone = true},
};

static char dir[] = "/tmp/bulkhead-probe-XXXXXX";
static pid_t daemon_pid;
static int daemon_log = -1;
static char text[1 << 20];
static const char *why_not; /* the reason to skip everything */

/* --- start, and look -------------------------------------------------- */

static bool
read_log_until(const char *words)
{
	struct pollfd wait = {daemon_log, POLLIN, 0};
	size_t used = 0;
	ssize_t len;

	while (poll(&wait, 1, LOG_WAIT_MS) > 0) {
		len = read(daemon_log, text + used, sizeof text - 1 - used);
		if (len <= 0)
			return false;
		used += (size_t)len;
		text[used] = '\0';
		if (strstr(text, words) != NULL)
			return true;
	}
	return false;
}

static void
start_daemon(void)
{
	char program[4096], run[64], qmp[96], dump[96], sock[96], chardev[96];
	char *argv[] = {program, run, (char[]){"--log-level=debug"},
	    (char[]){"-netdev"}, (char[]){"user,id=u0"}, (char[]){"-netdev"},
	    dump, (char[]){"-netdev"}, sock, (char[]){"-chardev"}, chardev,
	    (char[]){"-netdev"}, (char[]){"vhost-user,id=v0,chardev=c0"},
	    (char[]){"-netdev"}, (char[]){"nic,id=n0"}, (char[]){"-qmp"}, qmp,
	    NULL};

	own_dir(program, sizeof program - 32);
	snprintf(program + strlen(program), 32, "/../../bin/bulkheadd");
	snprintf(run, sizeof run, "--run-dir=%s", dir);
	snprintf(qmp, sizeof qmp, "unix:%s/qmp.sock,server=on,wait=off", dir);
	snprintf(dump, sizeof dump, "dump,id=d0,file=%s/c.pcap", dir);
	snprintf(sock, sizeof sock, "socket,id=s0,listen=unix:%s/s.sock", dir);
	snprintf(chardev, sizeof chardev,
	    "socket,id=c0,path=%s/v.sock,server=on,wait=off", dir);
	daemon_pid = launch(argv, 0, &daemon_log);
}

static void
proc_text(pid_t pid, const char *file, char *buf, size_t size)
{
	char path[64];
	ssize_t len;
	size_t used = 0;
	int fd;

	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && (len = read(fd, buf + used, size - 1 - used)) > 0)
		used += (size_t)len;
	buf[used] = '\0';
	fd_close(&fd);
}

/* The daemon's children that have a filter of their own, by role. */
static void
find_processes(void)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	char status[4096], name[64], parent[64];
	size_t i;

	snprintf(parent, sizeof parent, "\nPPid:\t%d\n", (int)daemon_pid);
	while (proc != NULL && (entry = readdir(proc)) != NULL) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (pid <= 0)
			continue;
		proc_text(pid, "status", status, sizeof status);
		if (strstr(status, parent) == NULL ||
		    strstr(status, "\nSeccomp_filters:\t2\n") == NULL)
			continue;
		for (i = 0; i < ROLES; i++) {
			if (roles[i].alone)
				continue;
			/* The kernel keeps 15 bytes of a name. */
			snprintf(name, sizeof name, "Name:\tbulkhead-%.6s\n",
			    roles[i].name);
			if (strncmp(status, name, strlen(name)) == 0)
				roles[i].pid = pid;
		}
	}
	if (proc != NULL)
		closedir(proc);
}

/* The newest filter of a live process, its own. 0 or -errno. */
static int
take_filter(struct role *r)
{
	long rc, index = 0;

	rc = sys_result(ptrace(PTRACE_ATTACH, r->pid, NULL, NULL));
	if (rc < 0)
		return (int)rc;
	(void)waitpid(r->pid, NULL, __WALL);
	/* They are numbered from the oldest, which is the launcher's. */
	do {
		rc = sys_result(ptrace((enum __ptrace_request)GET_FILTER,
		    r->pid, index++, r->code));
		if (rc > 0)
			r->count = (unsigned short)rc;
	} while (rc > 0);
	(void)ptrace(PTRACE_DETACH, r->pid, NULL, NULL);
	return index > (r->alone ? 1 : 2) ? 0 : (int)rc;
}

/* Calls of one log line of the role: "x", "x?" or "x!", with commas. */
static void
read_list(struct role *r, const char *event)
{
	char start[96], *line, *end, *state = NULL, *word;
	static char calls[4096];

	snprintf(start, sizeof start, "debug %s[", r->name);
	for (line = text; (line = strstr(line, start)) != NULL; line = end) {
		end = strchr(line, '\n');
		if (end == NULL)
			return;
		word = strstr(line, event);
		if (word == NULL || word > end)
			continue;
		word = strstr(word, "calls=") + strlen("calls=");
		snprintf(calls, sizeof calls, "%.*s", (int)(end - word), word);
		break;
	}
	if (line == NULL)
		return;
	for (word = strtok_r(calls, ",", &state); word != NULL;
	     word = strtok_r(NULL, ",", &state)) {
		size_t len = strcspn(word, "?!");
		bool sure = word[len] == '\0';
		int nr;

		word[len] = '\0';
		nr = seccomp_syscall_resolve_name(word);
		if (nr < 0 || nr >= CALLS)
			fail_msg("%s: unknown call %s", r->name, word);
		r->always[nr] |= sure;
		r->maybe[nr] |= !sure;
	}
}

/*
 * A process that is only confined by itself, ready, waiting for its word. Its
 * log is appended to that of the others.
 */
static bool
start_alone(struct role *r)
{
	static char program[4096], what[] = "--lookup=a.test";
	char *argv[] = {program, (char[]){"--sandbox=best-effort:0"},
	    (char[]){"--log-level=debug"}, what, NULL};
	int launcher[2], control[2], log[2];
	size_t used = strlen(text);
	struct launch_msg msg;
	ssize_t len;

	own_dir(program, sizeof program - 64);
	snprintf(program + strlen(program), 64, "/../../libexec/bulkhead-%s",
	    r->name);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, launcher) < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET, 0, control) < 0 ||
	    pipe(log) < 0)
		return false;
	r->pid = fork();
	if (r->pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)fcntl(launcher[1], F_DUPFD, 20);
		(void)dup2(log[1], STDERR_FILENO);
		(void)dup2(fcntl(control[1], F_DUPFD, 20), FD_CONTROL);
		(void)dup2(20, FD_LAUNCHER);
		(void)close_range(5, ~0u, 0);
		execv(program, argv);
		_exit(127);
	}
	fd_close(&log[1]);
	if (recv(launcher[0], &msg, sizeof msg, 0) != sizeof msg ||
	    msg.type != LAUNCH_READY)
		return false;
	len = read(log[0], text + used, sizeof text - 1 - used);
	text[used + (len > 0 ? (size_t)len : 0)] = '\0';
	return len > 0;
}

/* Wait until each role's process has locked itself: then it is ready. */
static bool
find_all(void)
{
	int tries;
	size_t i;

	for (tries = 0; tries < 100; tries++) {
		find_processes();
		for (i = 0; i < ROLES; i++)
			if (roles[i].pid == 0 && !roles[i].alone)
				break;
		if (i == ROLES)
			return true;
		(void)usleep(50000);
	}
	return false;
}

static int
begin(void **state)
{
	size_t i;
	int rc;

	(void)state;
	if (geteuid() != 0) {
		why_not = "needs root";
		return 0;
	}
	if (mkdtemp(dir) == NULL)
		return -1;
	start_daemon();
	if (!read_log_until("launcher.up")) {
		print_message("the daemon did not start:\n%s\n", text);
		return -1;
	}
	if (!find_all()) {
		print_message("a role has no process:\n%s\n", text);
		return -1;
	}
	for (i = 0; i < ROLES; i++) {
		if (roles[i].alone && !start_alone(&roles[i])) {
			print_message("%s does not start\n", roles[i].name);
			return -1;
		}
		rc = take_filter(&roles[i]);
		if (rc < 0)
			why_not = strerrordesc_np(-rc);
		/* A line of the role's own list replaces the base's. */
		read_list(&roles[i], "seccomp.base");
		read_list(&roles[i], "seccomp.own");
	}
	return 0;
}

static int
end(void **state)
{
	static struct outcome out;
	pid_t pid;

	(void)state;
	if (daemon_pid > 0) {
		(void)kill(daemon_pid, SIGTERM);
		finish(daemon_pid, daemon_log, &out);
	}
	pid = fork();
	if (pid == 0) {
		execlp("rm", "rm", "-rf", dir, (char *)NULL);
		_exit(127);
	}
	(void)waitpid(pid, NULL, 0);
	for (size_t i = 0; i < ROLES; i++)
		if (roles[i].alone && roles[i].pid > 0)
			(void)kill(roles[i].pid, SIGKILL);
	return 0;
}

/* Filters with a sanitizer's overlay are not those that are delivered. */
static void
skip_if_overlaid(void)
{
	if (confine_sanitizer_count == 0)
		return;
	print_message("built with a sanitizer\n");
	skip();
}

static void
skip_if_unable(void)
{
	if (why_not == NULL)
		return;
	print_message("%s\n", why_not);
	skip();
}

#endif
