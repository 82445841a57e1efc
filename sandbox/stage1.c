/*
 * stage1.c - the launcher's code in a forked child, before exec.
 *
 * Runs in: a child of the launcher, as a copy of it. Trusts: the launcher.
 * Any step that fails ends the child; the launcher left out beforehand what
 * --sandbox allows to be missing.
 *
 * What is kept for stage 2: CAP_SYS_ADMIN over the child's own mount
 * namespace, as an ambient capability, because the dynamic loader needs the
 * old root. With a user namespace, it is worth nothing outside of it.
 * Specification: clone3(2), capabilities(7), user_namespaces(7), open_tree(2).
 */
#include "proto/sys.h"
#include "sandbox/confine.h"
#include "sandbox/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The launcher wrote our id maps, or was about to and died. */
static int
wait_go(struct stage1 *s)
{
	char go;
	ssize_t got;

	got = sys_result(recv(s->fds[FD_LAUNCHER], &go, sizeof go, 0));
	return got == 1 ? 0 : -ECONNRESET;
}

/*
 * Replace a directory's descriptor by a detached, read-only mount of it. It
 * must be found again by its path: a mount of the launcher's namespace cannot
 * be attached in ours.
 */
static int
detach(int *fd)
{
	struct mount_attr attr = {
	    .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
			MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC};
	char link[64], path[LAUNCH_PATH];
	struct stat asked, found;
	int tree, rc;

	snprintf(link, sizeof link, "/proc/self/fd/%d", *fd);
	rc = (int)sys_result(readlink(link, path, sizeof path));
	if (rc < 0 || (size_t)rc >= sizeof path)
		return rc < 0 ? rc : -ENAMETOOLONG;
	path[rc] = '\0';
	tree = (int)sys_result(syscall(__NR_open_tree, AT_FDCWD, path,
	    OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE |
		AT_SYMLINK_NOFOLLOW));
	if (tree < 0)
		return tree;
	rc = (int)sys_result(fstat(*fd, &asked));
	if (rc >= 0)
		rc = (int)sys_result(fstat(tree, &found));
	if (rc >= 0 &&
	    (asked.st_dev != found.st_dev || asked.st_ino != found.st_ino))
		rc = -ESTALE;
	if (rc >= 0)
		rc = (int)sys_result(syscall(__NR_mount_setattr, tree, "",
		    AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr));
	*fd = tree;
	return rc;
}

static int
detach_directories(struct stage1 *s)
{
	int rc = 0;

	if ((s->flags & CLONE_NEWNS) == 0)
		return 0;
	if (s->etc_target >= 0)
		rc = detach(&s->fds[s->etc_target]);
	if (rc >= 0 && s->tftp_target >= 0)
		rc = detach(&s->fds[s->tftp_target]);
	return rc;
}

/* Out of the way first: a target may be another's present number. */
static int
place_fds(struct stage1 *s)
{
	int i, rc = 0;

	for (i = 0; i <= CHILD_FDS && rc >= 0; i++) {
		int *fd = i < CHILD_FDS ? &s->fds[i] : &s->exec_fd;

		if (*fd >= 0)
			*fd = rc = (int)sys_result(
			    fcntl(*fd, F_DUPFD_CLOEXEC, CHILD_FDS + 1));
	}
	for (i = 0; i < CHILD_FDS && rc >= 0; i++) {
		if (s->fds[i] >= 0)
			rc = (int)sys_result(dup2(s->fds[i], i));
		else
			(void)close(i);
		if (rc >= 0 && s->fds[i] >= 0)
			s->fds[i] = i;
	}
	if (rc >= 0)
		s->exec_fd = rc =
		    (int)sys_result(dup3(s->exec_fd, CHILD_FDS, O_CLOEXEC));
	if (rc >= 0)
		rc = (int)sys_result(close_range(CHILD_FDS + 1, ~0u, 0));
	return rc;
}

static int
own_session(struct stage1 *s)
{
	sigset_t none;

	(void)s;
	umask(077);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	return (int)sys_result(setsid());
}

/* Raw calls: libc's would look for threads. */
static int
become(struct stage1 *s)
{
	int rc;

	if (s->uid == 0)
		return 0;
	rc = (int)sys_result(syscall(__NR_setgroups, 0, NULL));
	if (rc >= 0)
		rc = (int)sys_result(prctl(PR_SET_KEEPCAPS, 1));
	if (rc >= 0)
		rc = (int)sys_result(
		    syscall(__NR_setresgid, s->uid, s->uid, s->uid));
	if (rc >= 0)
		rc = (int)sys_result(
		    syscall(__NR_setresuid, s->uid, s->uid, s->uid));
	return rc;
}

static int
set_caps(uint64_t caps)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];
	int i;

	for (i = 0; i < 2; i++) {
		uint32_t half = (uint32_t)(caps >> 32 * i);

		data[i].effective = half;
		data[i].permitted = half;
		data[i].inheritable = half;
	}
	return (int)sys_result(syscall(__NR_capset, &head, data));
}

static int
drop_caps(struct stage1 *s)
{
	uint64_t kept =
	    s->flags & CLONE_NEWNS ? UINT64_C(1) << CAP_SYS_ADMIN : 0;
	int cap, rc;

	if (!s->has_caps || !s->confine)
		return 0;
	rc = set_caps(kept | UINT64_C(1) << CAP_SETPCAP);
	for (cap = 0; rc >= 0 && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0;
	     cap++)
		rc = (int)sys_result(prctl(PR_CAPBSET_DROP, cap, 0, 0, 0));
	if (rc >= 0)
		rc = set_caps(kept);
	if (rc >= 0 && kept != 0)
		rc = (int)sys_result(prctl(
		    PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN, 0, 0));
	return rc;
}

/* After the change of user, which would clear it. */
static int
die_with_parent(struct stage1 *s)
{
	(void)s;
	return (int)sys_result(prctl(PR_SET_PDEATHSIG, SIGKILL));
}

static int
no_new_privs(struct stage1 *s)
{
	if (!s->confine)
		return 0;
	return (int)sys_result(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

/* Lower a limit; there is nobody who could raise one. */
static int
lower(int what, rlim_t most)
{
	struct rlimit now;
	int rc;

	rc = (int)sys_result(syscall(__NR_prlimit64, 0, what, NULL, &now));
	if (rc < 0)
		return rc;
	if (now.rlim_max < most)
		most = now.rlim_max;
	now.rlim_cur = now.rlim_max = most;
	return (int)sys_result(syscall(__NR_prlimit64, 0, what, &now, NULL));
}

/* No process (after the change of user: else exec fails), no core, no lock. */
static int
lower_limits(struct stage1 *s)
{
	static const int to_zero[] = {RLIMIT_NPROC, RLIMIT_CORE, RLIMIT_MEMLOCK,
	    RLIMIT_MSGQUEUE, RLIMIT_RTPRIO, RLIMIT_NICE};
	int rc = 0;
	size_t i;

	if (!s->confine)
		return 0;
	for (i = 0; i < sizeof to_zero / sizeof *to_zero && rc >= 0; i++)
		rc = lower(to_zero[i], 0);
	return rc < 0 ? rc : lower(RLIMIT_NOFILE, s->files);
}

static int
run_program(struct stage1 *s)
{
	static char *const nothing[] = {NULL};

	return (int)sys_result(syscall(
	    __NR_execveat, s->exec_fd, "", s->argv, nothing, AT_EMPTY_PATH));
}

static const struct {
	const char *name;
	int (*run)(struct stage1 *s);
} steps[] = {
    {"waiting for the launcher", wait_go},
    {"detaching directories", detach_directories},
    {"placing descriptors", place_fds},
    {"session", own_session},
    {"user id", become},
    {"capabilities", drop_caps},
    {"parent death signal", die_with_parent},
    {"no_new_privs", no_new_privs},
    {"rlimits", lower_limits},
    {"exec", run_program},
};

_Noreturn static void
fail(const struct stage1 *s, int error, const char *step)
{
	static struct launch_msg msg;

	msg.magic = LAUNCH_MAGIC;
	msg.type = LAUNCH_FAILED;
	msg.result.stage = STAGE_FORK;
	msg.result.error = error;
	snprintf(msg.result.text, sizeof msg.result.text, "%s: %s", step,
	    strerrordesc_np(-error));
	(void)send(
	    s->fds[FD_LAUNCHER], &msg, sizeof msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	_exit(127);
}

void
stage1_run(struct stage1 *s)
{
	int rc;
	size_t i;

	for (i = 0; i < sizeof steps / sizeof *steps; i++) {
		rc = steps[i].run(s);
		if (rc < 0)
			fail(s, rc, steps[i].name);
	}
	_exit(127); /* exec does not return 0 */
}
