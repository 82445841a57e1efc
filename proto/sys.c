/*
 * sys.c - the one file of proto/ that reads errno.
 *
 * Runs in: every role. Trusts: the kernel.
 * Specification: memfd_create(2), fcntl(2) F_ADD_SEALS, unix(7).
 */
#include "proto/sys.h"

#include "proto/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* linux/memfd.h since Linux 6.3; not in Debian 12's headers. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

ssize_t
sys_result(ssize_t rc)
{
	return rc >= 0 ? rc : -(ssize_t)errno;
}

int
fd_take(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

void
fd_close(int *fd)
{
	int taken = fd_take(fd);

	/* Linux closes also when it reports EINTR or EIO. */
	if (taken >= 0)
		(void)close(taken);
}

void
fd_close_foreign(int *fd)
{
	const struct linger off = {0};

	if (*fd >= 0)
		(void)setsockopt(*fd, SOL_SOCKET, SO_LINGER, &off, sizeof off);
	fd_close(fd);
}

int
sys_memfd(const char *name, size_t bytes, int *fd)
{
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int made, rc;

	made = memfd_create(name, flags | MFD_NOEXEC_SEAL);
	if (made < 0 && errno == EINVAL) /* Linux before 6.3 */
		made = memfd_create(name, flags);
	if (made < 0)
		return -errno;
	rc = (int)sys_result(ftruncate(made, (off_t)bytes));
	if (rc >= 0)
		rc = (int)sys_result(fcntl(made, F_ADD_SEALS,
		    F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
	if (rc >= 0) {
		*fd = fd_take(&made);
		rc = 0;
	}
	fd_close(&made);
	return rc;
}

int
sys_map(int fd, size_t bytes, bool writable, void **out)
{
	int prot = PROT_READ | (writable ? PROT_WRITE : 0);
	void *mem;

	mem = mmap(NULL, bytes, prot, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED)
		return -errno;
	*out = mem;
	return 0;
}

void
sys_unmap(void *mem, size_t bytes)
{
	if (mem != NULL)
		BUG_ON(munmap(mem, bytes) != 0);
}

ssize_t
sys_write(int fd, const void *buf, size_t len)
{
	ssize_t rc;

	do
		rc = write(fd, buf, len);
	while (rc < 0 && errno == EINTR);
	return sys_result(rc);
}

int
sys_pair(int fds[2])
{
	return (int)sys_result(
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds));
}

/* linux/socket.h since Linux 6.16; not in Debian 12's headers. */
#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

void
sys_refuse_rights(int fd)
{
	int off = 0;

	(void)setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &off, sizeof off);
}

int
sys_nonblock(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	flags = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
	return (int)sys_result(fcntl(fd, F_SETFL, flags));
}

static uint64_t
clock_ns(clockid_t clock)
{
	struct timespec now;

	BUG_ON(clock_gettime(clock, &now) != 0);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t
sys_mono_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t
sys_real_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}
