/*
 * backend_vhost_fd.c - kick, call and error descriptors of queues.
 *
 * Runs in: nic.
 * Trusts: nothing. The tenant keeps them open and shares their flags.
 * Specification: eventfd(2), unix(7); vhost-user (QEMU).
 *
 * Only eventfds and unix sockets are taken, without a call that a strange file
 * could make slow. Reading (backend_vhost_ring.c) says RWF_NOWAIT. Writing an
 * eventfd knows no such flag; it is polled first, and a tenant that fills a
 * blocking one between the two calls makes its own nic wait. That is all it
 * gets: the write can be killed, the broker's ping finds out, nobody else
 * waits for this process.
 * Closing a strange file can wait for whoever serves it; the same holds.
 */
#include "backends/backend_vhost_fd.h"

#include "proto/sys.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

/*
 * An eventfd refuses to be read with too little room, as few others do, and
 * of those it alone can be written. A full one counts as none.
 */
int
vhost_fd_kind(int fd)
{
	int domain = 0;
	socklen_t len = sizeof domain;
	uint32_t small;
	struct iovec iov = {&small, sizeof small};
	struct pollfd room = {.fd = fd, .events = POLLOUT};

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0)
		return domain == AF_UNIX ? VHOST_FD_SOCKET : -EINVAL;
	if (sys_result(preadv2(fd, &iov, 1, -1, RWF_NOWAIT)) != -EINVAL)
		return -EINVAL;
	if (poll(&room, 1, 0) != 1 || room.revents != POLLOUT)
		return -EINVAL;
	return VHOST_FD_EVENT;
}

void
vhost_fd_signal(int fd, bool is_socket)
{
	static const uint64_t one = 1;
	struct pollfd room = {.fd = fd, .events = POLLOUT};

	if (fd < 0)
		return;
	if (is_socket)
		(void)send(fd, &one, sizeof one, MSG_DONTWAIT | MSG_NOSIGNAL);
	else if (poll(&room, 1, 0) == 1 && room.revents == POLLOUT)
		(void)sys_write(fd, &one, sizeof one);
}
