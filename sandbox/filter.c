/*
 * filter.c - what the launcher itself may do.
 *
 * Runs in: launcher, before the first child. Trusts: nothing.
 *
 * A filter is inherited. So this list holds what the launcher calls, what
 * stages 1 to 3 of a child call (the dynamic loader, libraries), and what a
 * role's own list may allow: it must be a superset of all of them. It closes
 * what none of them needs: foreign entries (32 bit, x32), ptrace and reading
 * others' memory, modules, kexec, bpf, perf, keyrings, io_uring, userfaultfd,
 * the clock, swap, reboot, System V IPC, old mount calls, sockets of other
 * domains than local and IP. Scripts and helpers do not have it: who runs them
 * was forked before (runner.h).
 * Specification: seccomp(2), capabilities(7).
 */
#include "proto/sys.h"
#include "sandbox/confine_child.h"
#include "sandbox/launcher.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOW32 0xffffffffu

static const struct sysrule rules[] = {
    /* files: openers, the loader, libraries' set-up */
    SYS(openat, "run directory, policy, /proc; loader"),
    SYS(openat2, "openers: beneath a directory, no symbolic link"),
    SYS(close, "everywhere"),
    SYS(close_range, "stage 1"),
    SYS(read, "everywhere"),
    SYS(pread64, "loader"),
    SYS(readv, "backends: streams"),
    SYS(preadv, "backends: files"),
    SYS(preadv2, "vhost-user: calls, never waiting"),
    SYS(write, "log; /proc/PID/uid_map"),
    SYS(pwrite64, "pid file; dump: records"),
    SYS(writev, "backends: streams, dumps"),
    SYS(pwritev, "lanes: arenas"),
    SYS(sendfile, "socket, stream: from arenas"),
    SYS(lseek, "libraries; dump"),
    SYS(fstat, "openers: is it what was asked for"),
    SYS(stat, "libraries"),
    SYS(lstat, "libraries"),
    SYS(newfstatat, "openers; loader"),
    SYS(statx, "libraries"),
    SYS(statfs, "libraries"),
    SYS(fstatfs, "libraries"),
    SYS(access, "loader"),
    SYS(faccessat, "libraries"),
    SYS(faccessat2, "libraries"),
    SYS(readlink, "attest: namespaces; stage 1"),
    SYS(readlinkat, "libraries"),
    SYS(getdents64, "libraries"),
    SYS(getcwd, "libraries"),
    SYS(chdir, "stage 2"),
    SYS(fchdir, "stage 2"),
    SYS(mkdir, "stage 2"),
    SYS(mkdirat, "run directory"),
    SYS(unlink, "libraries"),
    SYS(unlinkat, "sockets that we made, pid file"),
    SYS(renameat, "resolv.conf"),
    SYS(renameat2, "resolv.conf"),
    SYS(ftruncate, "memories, file-create"),
    SYS(fallocate, "dump; lanes: arenas"),
    SYS(fsync, "dump"),
    SYS(fdatasync, "dump"),
    SYS(umask, "unix sockets, stage 1"),
    SYS(chmod, "libraries"),
    SYS(fchmod, "modes that no umask changes"),
    SYS(fchmodat, "modes that no umask changes"),
    SYS(fchownat, "vde: the name of our socket in a switch's directory"),
    SYS(fcntl, "duplicates, seals, O_NONBLOCK; most roles may not"),
    SYS(ioctl, "taps; libraries' set-up; most roles may not"),
    SYS(dup, "libraries"),
    SYS(dup2, "stage 1"),
    SYS(dup3, "stage 1, daemonize"),
    SYS(pipe2, "libraries' set-up"),
    SYS(memfd_create, "memories"),
    SYS(flock, "libraries"),
    /* waiting */
    SYS(epoll_create1, "loops"),
    SYS(epoll_ctl, "loops"),
    SYS(epoll_wait, "loops"),
    SYS(epoll_pwait, "loops"),
    SYS(epoll_pwait2, "loops"),
    SYS(poll, "libslirp, resolve, start-up"),
    SYS(ppoll, "libslirp"),
    SYS(select, "libraries"),
    SYS(pselect6, "libraries"),
    SYS(eventfd2, "libraries' set-up"),
    SYS(signalfd4, "our signals"),
    SYS(timerfd_create, "loops"),
    SYS(timerfd_settime, "loops"),
    SYS(timerfd_gettime, "loops"),
    SYS(inotify_init1, "resolv.conf"),
    SYS(inotify_add_watch, "resolv.conf"),
    SYS(inotify_rm_watch, "resolv.conf"),
    /* sockets */
    SYS_IF(socket, "openers: local", {0, ARG_EQ, LOW32, AF_UNIX}),
    SYS_IF(socket, "openers, libslirp: IPv4", {0, ARG_EQ, LOW32, AF_INET}),
    SYS_IF(socket, "openers, libslirp: IPv6", {0, ARG_EQ, LOW32, AF_INET6}),
    {.nr = __NR_socket,
	.name = "socket",
	.why = "resolve: libc asks for the host's addresses, and is told no",
	.error = EAFNOSUPPORT,
	.args = {{0, ARG_EQ, LOW32, AF_NETLINK}}},
    SYS_IF(socketpair, "channels, bells", {0, ARG_EQ, LOW32, AF_UNIX}),
    SYS(bind, "openers, libslirp"),
    SYS(listen, "openers, libslirp"),
    SYS(connect, "openers, libslirp"),
    SYS(accept, "libslirp"),
    SYS(accept4, "QMP, socket"),
    SYS(getsockname, "openers, libslirp"),
    SYS(getpeername, "socket, libslirp"),
    SYS(getsockopt, "openers"),
    SYS(setsockopt, "openers"),
    SYS(shutdown, "socket, libslirp"),
    SYS(sendto, "everywhere"),
    SYS(recvfrom, "everywhere"),
    SYS(sendmsg, "channels"),
    SYS(recvmsg, "channels"),
    SYS(sendmmsg, "socket, resolve"),
    SYS(recvmmsg, "socket"),
    /* memory: the loader maps executables */
    SYS(brk, "malloc"),
    SYS(mmap, "malloc, loader, rings"),
    SYS(munmap, "malloc, rings"),
    SYS(mremap, "malloc"),
    SYS(mprotect, "loader"),
    SYS(madvise, "malloc"),
    SYS(mincore, "libraries"),
    SYS(msync, "libraries"),
    SYS(mlock, "libraries"),
    SYS(munlock, "libraries"),
    SYS(membarrier, "libraries"),
    /* processes: started by clone3 and by nothing else */
    SYS(clone3, "a child, with its namespaces and a pidfd"),
    SYS(execveat, "stage 1: the program"),
    SYS(exit, "libc"),
    SYS(exit_group, "the end"),
    SYS(waitid, "reaping"),
    SYS(pidfd_send_signal, "ending a child"),
    SYS(kill, "libraries"),
    SYS(tgkill, "abort"),
    SYS(getpid, "abort, attest"),
    SYS(getppid, "libraries"),
    SYS(gettid, "abort"),
    SYS(setsid, "stage 1"),
    SYS(getpgrp, "libraries"),
    SYS(setgroups, "stage 1"),
    SYS(setresgid, "stage 1"),
    SYS(setresuid, "stage 1"),
    SYS(getuid, "libraries"),
    SYS(geteuid, "maps of a user namespace"),
    SYS(getgid, "libraries"),
    SYS(getegid, "maps of a user namespace"),
    SYS(getresuid, "libraries"),
    SYS(getresgid, "libraries"),
    SYS(getgroups, "libraries"),
    SYS(capget, "libraries"),
    SYS(capset, "stages 1 and 2"),
    SYS(prctl, "stages 1 and 2"),
    SYS(arch_prctl, "loader"),
    SYS(prlimit64, "stage 1, loader"),
    SYS(getrlimit, "libraries"),
    SYS(setrlimit, "libraries"),
    SYS(getrusage, "libraries"),
    SYS(sysinfo, "libraries"),
    SYS(uname, "libraries"),
    SYS(set_tid_address, "loader"),
    SYS(set_robust_list, "loader"),
    SYS(get_robust_list, "libraries"),
    SYS(rseq, "loader"),
    SYS(futex, "libc"),
    SYS(sched_yield, "libraries"),
    SYS(sched_getaffinity, "libraries"),
    SYS(getrandom, "libc, libraries"),
    SYS(restart_syscall, "a stopped and continued process"),
    /* stages 2 and 4 */
    SYS(fsopen, "the empty root"),
    SYS(fsconfig, "the empty root"),
    SYS(fsmount, "the empty root"),
    SYS(move_mount, "the empty root"),
    SYS(open_tree, "directories shown to a child"),
    SYS(mount_setattr, "private, read-only"),
    SYS(pivot_root, "the empty root"),
    SYS(umount2, "the old root"),
    SYS(landlock_create_ruleset, "stage 2"),
    SYS(landlock_add_rule, "stage 2"),
    SYS(landlock_restrict_self, "stage 2"),
    SYS(seccomp, "stage 4"),
    /* signals and time */
    SYS(rt_sigaction, "libraries"),
    SYS(rt_sigprocmask, "stage 1, abort"),
    SYS(rt_sigreturn, "catchers"),
    SYS(rt_sigpending, "libraries"),
    SYS(rt_sigtimedwait, "libraries"),
    SYS(sigaltstack, "libraries"),
    SYS(pause, "probing namespaces"),
    SYS(clock_gettime, "where the vDSO cannot answer"),
    SYS(clock_getres, "libraries"),
    SYS(gettimeofday, "libraries"),
    SYS(time, "libraries"),
    SYS(clock_nanosleep, "waiting for the killed"),
    SYS(nanosleep, "libraries"),
};

int
filter_launcher(const struct launcher *l)
{
	static const struct syslist list = {
	    "launcher", rules, sizeof rules / sizeof *rules};
	static const struct syslist none;

	if (l->options.sandbox == SANDBOX_OFF)
		return 0;
	/* Privilege keeps the way open for helpers that need it. */
	return confine_filter(&list, &none, !filter_has_cap(CAP_SYS_ADMIN));
}

bool
filter_has_cap(int cap)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {{0}, {0}};

	(void)syscall(__NR_capget, &head, data);
	return (data[cap / 32].effective >> cap % 32) & 1;
}

bool
filter_is_root(void)
{
	return geteuid() == 0 && filter_has_cap(CAP_SETUID) &&
	       filter_has_cap(CAP_SETGID) && filter_has_cap(CAP_SETPCAP) &&
	       filter_has_cap(CAP_KILL);
}

int
filter_caps(void)
{
	static const int kept[] = {
	    CAP_SYS_ADMIN,        /* namespaces, when there is no user ns */
	    CAP_SETUID,           /* the children's ids */
	    CAP_SETGID,           /* the same */
	    CAP_SETPCAP,          /* the children's bounding set */
	    CAP_KILL,             /* processes of other ids */
	    CAP_SYS_PTRACE,       /* /proc/PID/ns of other ids */
	    CAP_NET_BIND_SERVICE, /* ports below 1024 */
	    CAP_NET_RAW,          /* raw sockets, for backends to come */
	    CAP_NET_ADMIN,        /* taps */
	    CAP_DAC_OVERRIDE,     /* files of other ids, as policy says */
	    CAP_DAC_READ_SEARCH,  /* the same */
	    CAP_FOWNER,           /* modes of what we make there */
	    CAP_CHOWN,            /* the same */
	};
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];
	uint64_t keep = 0;
	size_t i;
	int rc;

	for (i = 0; i < sizeof kept / sizeof *kept; i++)
		keep |= UINT64_C(1) << kept[i];
	rc = (int)sys_result(syscall(__NR_capget, &head, data));
	for (i = 0; i < 2 && rc >= 0; i++) {
		data[i].permitted &= (uint32_t)(keep >> 32 * i);
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	return rc < 0 ? rc : (int)sys_result(syscall(__NR_capset, &head, data));
}
