/*
 * confine_sanitizer.c - what a sanitizer's runtime calls, so that its report
 * gets out. Empty in an ordinary build, and never installed otherwise.
 *
 * Runs in: programs built with SAN=. Leak checking is turned off: it stops
 * the process with ptrace from a clone.
 * Specification: compiler-rt; reference measurements with strace.
 */
#include "sandbox/confine_child.h"

#include <errno.h>
#include <sys/syscall.h>

#ifdef SANITIZED

const struct sysrule confine_sanitizer[] = {
    SYS(open, "start, report: /proc/self/cmdline, /proc/self/maps"),
    SYS(openat, "report: /proc/self/maps, /proc/self/exe"),
    SYS(stat, "report: symbols of a file"),
    SYS(access, "report: is there a symbolizer"),
    SYS(personality, "start: is the address space randomized"),
    SYS(newfstatat, "report: is standard error a file"),
    SYS(fstat, "report: the size of a file"),
    SYS(readlink, "report: the program's name"),
    SYS(readlinkat, "report: the program's name"),
    SYS(lseek, "report: reading a file"),
    SYS(pread64, "report: reading a file"),
    SYS(getcwd, "report: names in stack traces"),
    /* Without arguments: this list replaces a role's lines of one call. */
    SYS(ioctl, "report: is standard error a terminal"),
    SYS(sigaltstack, "report: on a stack of its own"),
    SYS(rt_sigaction, "report: back to the default of a signal"),
    SYS(prlimit64, "report: where the stack ends"),
    SYS(getrlimit, "report: where the stack ends"),
    SYS(getrusage, "report: memory used"),
    SYS(sysinfo, "shadow memory: how much there is"),
    SYS(sched_yield, "locks of the allocator"),
    SYS(sched_getaffinity, "locks of the allocator"),
    SYS(getuid, "report: which log file"),
    SYS(uname, "report: architecture"),
    SYS(prctl, "report: the name of the thread"),
    SYS(mmap, "shadow memory, allocator, symbols"),
    SYS(mprotect, "shadow memory, guard pages"),
    SYS(madvise, "shadow memory: give pages back, no dump"),
    SYS(mincore, "is that address mapped"),
    SYS(pipe2, "is that address readable"),
    SYS(pipe, "is that address readable"),
};
const size_t confine_sanitizer_count =
    sizeof confine_sanitizer / sizeof *confine_sanitizer;

const char *__asan_default_options(void);
const char *
__asan_default_options(void)
{
	/* A VM that cuts off its memory ends its nic: no finding. */
	return "detect_leaks=0:allocator_may_return_null=1:handle_sigbus=0";
}

#else

const struct sysrule confine_sanitizer[1];
const size_t confine_sanitizer_count;

#endif
