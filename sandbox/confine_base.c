/*
 * confine_base.c - the system calls that every confined process may make.
 *
 * Runs in: every program but the launcher. What is not here or in the role's
 * own list ends the process. Left out on purpose: fcntl and ioctl (a peer
 * could clear the O_NONBLOCK that it shares with us), socket, every call that
 * takes a path, and every call that makes a process.
 * Specification: reference measurements with strace; seccomp(2).
 */
#include "sandbox/confine_child.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define LOW32 0xffffffffu

const struct sysrule confine_base[] = {
    /* the loop */
    SYS(epoll_wait, "libevent waits here"),
    SYS(epoll_ctl, "watches come and go with ports and sessions"),
    SYS(timerfd_settime, "proto/loop.c: the next deadline"),
    SYS(read, "timerfd, libevent's signal pipe"),
    SYS(write, "log lines"),
    SYS(close, "descriptors that came and went"),
    SYS(rt_sigreturn, "return from a signal's catcher"),
    SYS(restart_syscall, "a stopped and continued process"),
    SYS(clock_gettime, "where the vDSO cannot answer"),
    SYS(clock_nanosleep, "libc's sleep, where time must pass"),
    /* channels and bells: sockets the launcher made, connected to one peer */
    SYS(recvmsg, "control channel"),
    SYS(sendmsg, "control channel"),
    SYS(recvfrom, "proto/bell.c: recv"),
    SYS(sendto, "proto/bell.c: send; last words to the launcher"),
    /* memory, never executable */
    SYS(brk, "malloc"),
    SYS_IF(mmap, "malloc, buffers; anonymous, not executable",
	{2, ARG_CLEAR, PROT_EXEC, 0},
	{3, ARG_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS}),
    SYS(munmap, "free"),
    SYS(mremap, "realloc of large blocks"),
    SYS_IF(mprotect, "malloc's heap; not executable",
	{2, ARG_CLEAR, PROT_EXEC, 0}),
    SYS_IF(madvise, "free gives pages back", {2, ARG_EQ, LOW32, MADV_DONTNEED}),
    SYS_IF(madvise, "memory that no core file may hold",
	{2, ARG_EQ, LOW32, MADV_DONTDUMP}),
    SYS(futex, "libc's locks, also with one thread"),
    /* the end */
    SYS(exit, "libc's thread end"),
    SYS(exit_group, "exit"),
    SYS(getpid, "abort"),
    SYS(gettid, "abort"),
    SYS(rt_sigprocmask, "abort"),
    SYS_IF(tgkill, "abort: so that the cause reads SIGABRT, not SIGSYS",
	{2, ARG_EQ, LOW32, SIGABRT}),
    SYS(writev, "libc's message before abort"),
    /* what libraries try, and are told no */
    SYS_ERR(clone3, ENOSYS, "no threads, no processes"),
    SYS_ERR(openat, ENOENT, "there is no file system"),
    SYS_ERR(sysinfo, ENOSYS, "qsort of more than 1 KiB asks for the memory"),
    SYS_ERR(newfstatat, ENOENT, "there is no file system"),
};

const size_t confine_base_count = sizeof confine_base / sizeof *confine_base;
