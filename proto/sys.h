/*
 * sys.h - one thin wrapper per system call that the suite makes by hand.
 *
 * Every wrapper returns 0 (or a count) on success and -errno on failure, so
 * that nothing above this file reads errno. Owns nothing. Used by every role.
 */
#ifndef PROTO_SYS_H
#define PROTO_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Move a descriptor out of *fd: returns it and leaves -1 behind. */
int fd_take(int *fd);

/* Close *fd unless it is -1, and leave -1 behind. */
void fd_close(int *fd);

/*
 * fd_close_foreign - the same for what others have made or may use. A socket of
 * theirs must not make close(2) wait for its unsent bytes (SO_LINGER).
 */
void fd_close_foreign(int *fd);

/* Move a pointer out of a variable and leave NULL behind. */
#define ptr_take(p)                                                            \
	__extension__({                                                        \
		__typeof__(p) taken_ = (p);                                    \
		(p) = NULL;                                                    \
		taken_;                                                        \
	})

/*
 * sys_memfd - make anonymous sealed-size memory.
 *   name   shown in /proc only
 *   bytes  a multiple of the page size
 * On success *fd is read-write, close-on-exec, of exactly `bytes`, and sealed
 * against growing, shrinking, executing and further sealing.
 */
int sys_memfd(const char *name, size_t bytes, int *fd);

/* sys_map - map a whole shared memory; writable or read-only. -errno or 0. */
int sys_map(int fd, size_t bytes, bool writable, void **out);

/* Undo sys_map; NULL is allowed. */
void sys_unmap(void *mem, size_t bytes);

/*
 * sys_result - what a system call returned, without errno.
 * Returns rc when it is not negative, else -errno (of the call just made).
 */
ssize_t sys_result(ssize_t rc);

/* sys_write - one write(2), again after a signal. Count or -errno. */
ssize_t sys_write(int fd, const void *buf, size_t len);

/* sys_pair - a connected SOCK_SEQPACKET unix pair, close-on-exec. */
int sys_pair(int fds[2]);

/*
 * sys_refuse_rights - have the kernel refuse descriptors (SCM_RIGHTS) towards
 * this socket, in the sender's sendmsg(2). Does nothing before Linux 6.16.
 */
void sys_refuse_rights(int fd);

/* sys_nonblock - set or clear O_NONBLOCK. Only before confinement. */
int sys_nonblock(int fd, bool on);

/* Monotonic and wall-clock time in nanoseconds. Never fail. */
uint64_t sys_mono_ns(void);
uint64_t sys_real_ns(void);

#endif
