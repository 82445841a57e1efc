/*
 * uml_fpregs.c - lets user-mode Linux run on processors with AMX.
 *
 * Its buffer for a process's extended state (6.1: arch/x86/um) is smaller than
 * the state of such a processor, and the kernel takes the whole or nothing
 * (EFAULT: "ptrace set fp regs failed"). This library, preloaded, puts the
 * bytes that UML knows over the process's own state and sets that. Only for
 * the tests' peer; nothing of ours is linked with it.
 */
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

#define STATE_BYTES_MAX 65536

typedef long ptrace_fn(int request, ...);

long
ptrace(enum __ptrace_request request, ...)
{
	static ptrace_fn *next;
	static _Alignas(64) char state[STATE_BYTES_MAX];
	struct iovec whole = {state, sizeof state}, *given;
	void *addr, *data;
	va_list args;
	pid_t pid;

	va_start(args, request);
	pid = va_arg(args, pid_t);
	addr = va_arg(args, void *);
	data = va_arg(args, void *);
	va_end(args);
	if (!next)
		next = (ptrace_fn *)dlsym(RTLD_NEXT, "ptrace");
	given = data;
	if ((int)request != PTRACE_SETREGSET || (long)addr != NT_X86_XSTATE)
		return next((int)request, pid, addr, data);
	if (next(PTRACE_GETREGSET, pid, addr, &whole) < 0 ||
	    whole.iov_len < given->iov_len)
		return next((int)request, pid, addr, data);
	memcpy(state, given->iov_base, given->iov_len);
	return next((int)request, pid, addr, &whole);
}
