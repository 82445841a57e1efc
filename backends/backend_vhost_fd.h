/*
 * backend_vhost_fd.h - the descriptors by which a queue's two sides wake each
 * other: eventfds, or unix sockets (user-mode Linux). They are the tenant's.
 */
#ifndef BACKENDS_BACKEND_VHOST_FD_H
#define BACKENDS_BACKEND_VHOST_FD_H

#include <stdbool.h>

enum { VHOST_FD_EVENT, VHOST_FD_SOCKET };

/* vhost_fd_kind - what it is, by calls that cannot wait; -EINVAL: neither. */
int vhost_fd_kind(int fd);

/* vhost_fd_signal - write to it, if there is one. Never waits, but see
 * backend_vhost_fd.c. Full is as good as signalled. */
void vhost_fd_signal(int fd, bool is_socket);

#endif
