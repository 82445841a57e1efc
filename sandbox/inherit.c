/*
 * inherit.c - what was open before we opened anything.
 *
 * Runs in: launcher, first thing in main. Trusts: whoever started us.
 * Specification: sd_listen_fds(3).
 */
#include "proto/sys.h"
#include "sandbox/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* SD_LISTEN_FDS_START */
#define FIRST_PASSED 3

void
inherit_scan(struct launcher *l)
{
	int fd, made;

	/* Nothing of ours may become standard input, output or error. */
	do
		made = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (made >= 0 && made <= STDERR_FILENO);
	if (made > STDERR_FILENO)
		(void)close(made);
	for (fd = FIRST_PASSED; fd < INHERITED_MAX; fd++) {
		int flags = fcntl(fd, F_GETFD);

		l->inherited[fd] = flags >= 0;
		if (flags >= 0)
			(void)fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
	}
}

int
inherit_take(struct launcher *l, uint32_t number, struct err *err)
{
	int rc;

	if (l->latched)
		return err_set(err, -EPERM,
		    "descriptor %u: numbers are for the command line; "
		    "pass a descriptor with the command",
		    number);
	if (number >= INHERITED_MAX || !l->inherited[number])
		return err_set(err, -EBADF,
		    "descriptor %u was not open at the start, or is in use",
		    number);
	rc = (int)sys_result(fcntl((int)number, F_DUPFD_CLOEXEC, 0));
	if (rc < 0)
		return err_set(err, rc, "cannot take descriptor %u: %s", number,
		    strerrordesc_np(-rc));
	l->inherited[number] = false;
	(void)close((int)number);
	return rc;
}

static unsigned long
number_of(const char *name)
{
	const char *text = getenv(name);

	return text == NULL ? 0 : strtoul(text, NULL, 10);
}

static bool
is_listener(int fd)
{
	int on = 0;
	socklen_t len = sizeof on;

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) == 0 && on;
}

void
inherit_listeners(struct launcher *l)
{
	const char *names = getenv("LISTEN_FDNAMES");
	unsigned long count = 0, i;

	if (number_of("LISTEN_PID") == (unsigned long)getpid())
		count = number_of("LISTEN_FDS");
	for (i = 0; i < count && l->listener_count < LISTENERS; i++) {
		int fd = FIRST_PASSED + (int)i;
		struct listener *one = &l->listeners[l->listener_count];
		size_t len = names != NULL ? strcspn(names, ":") : 0;

		if (fd >= INHERITED_MAX || !l->inherited[fd])
			break;
		/* Not for -netdev socket,fd= any more. */
		l->inherited[fd] = false;
		if (len > 0)
			snprintf(one->name, sizeof one->name, "%.*s",
			    (int)(len < 64 ? len : 64), names);
		else
			snprintf(one->name, sizeof one->name, "fd:%d", fd);
		if (names != NULL)
			names += names[len] == ':' ? len + 1 : len;
		/* A client that gives up must not make accept(2) wait. */
		if (!is_listener(fd) || sys_nonblock(fd, true) < 0) {
			log_event(LOG_WARN, "listener.skip", "name=%s text=%s",
			    log_quote(one->name),
			    log_quote("not a listening socket"));
			continue;
		}
		one->fd = fd;
		l->listener_count++;
	}
	(void)unsetenv("LISTEN_PID");
	(void)unsetenv("LISTEN_FDS");
	(void)unsetenv("LISTEN_FDNAMES");
}
