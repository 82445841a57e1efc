/*
 * resolver.c - a copy of the host's resolv.conf that stays current.
 *
 * Runs in: launcher. Trusts: the host's resolv.conf, of which it reads no
 * more than a fixed number of bytes and understands none.
 *
 * The copy is RUN/etc/resolv.conf; backends that resolve names get that
 * directory, read-only, as their /etc. It is replaced by rename(2), so that a
 * reader sees the old file or the new one. Two watches tell of changes: on
 * the file behind /etc/resolv.conf (often a link to a file that another
 * daemon renames into place), and on /etc for the link itself.
 * Specification: inotify(7), resolv.conf(5).
 */
#include "proto/sys.h"
#include "sandbox/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOURCE     "/etc/resolv.conf"
#define SOURCE_DIR "/etc"
#define COPY       "resolv.conf"
#define COPY_NEW   "resolv.conf.new"
#define BYTES_MAX  65536

/* Watches are bound to files: after a rename they must be set again. */
static int
set_watches(struct launcher *l)
{
	(void)inotify_add_watch(l->resolver_watch, SOURCE,
	    IN_CLOSE_WRITE | IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF);
	return (int)sys_result(inotify_add_watch(l->resolver_watch, SOURCE_DIR,
	    IN_MOVED_TO | IN_CREATE | IN_DELETE));
}

static int
write_copy(int dir, const char *text, size_t len)
{
	int fd, rc;

	(void)unlinkat(dir, COPY_NEW, 0);
	fd = (int)sys_result(openat(dir, COPY_NEW,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
	if (fd < 0)
		return fd;
	rc = (int)sys_result(fchmod(fd, 0644)); /* for other user ids */
	if (rc >= 0)
		rc = (int)sys_write(fd, text, len);
	if (rc >= 0)
		rc = (int)sys_result(renameat(dir, COPY_NEW, dir, COPY));
	fd_close(&fd);
	return rc < 0 ? rc : 0;
}

/* A host without the file resolves no names: an empty copy says so. */
static int
copy(struct launcher *l)
{
	static char text[BYTES_MAX];
	ssize_t got = 0;
	int fd;

	fd = open(SOURCE, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0)
		got = read(fd, text, sizeof text);
	fd_close(&fd);
	return write_copy(l->resolver_dir, text, got < 0 ? 0 : (size_t)got);
}

static int
set_up(struct launcher *l)
{
	int rc;

	rc = (int)sys_result(mkdirat(l->run_dir, "etc", 0755));
	if (rc < 0 && rc != -EEXIST)
		return rc;
	l->resolver_dir = rc = (int)sys_result(openat(l->run_dir, "etc",
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
	if (rc >= 0)
		rc = (int)sys_result(fchmod(l->resolver_dir, 0755));
	if (rc >= 0)
		rc = copy(l);
	if (rc >= 0)
		l->resolver_watch = rc =
		    (int)sys_result(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
	if (rc >= 0)
		rc = set_watches(l);
	return rc < 0 ? rc : launcher_watch_resolver(l);
}

int
resolver_open(struct launcher *l)
{
	int rc = 0;

	if (l->resolver_watch < 0)
		rc = set_up(l);
	if (rc < 0) {
		fd_close(&l->resolver_watch);
		fd_close(&l->resolver_dir);
		return rc;
	}
	return (int)sys_result(fcntl(l->resolver_dir, F_DUPFD_CLOEXEC, 0));
}

void
resolver_changed(struct launcher *l)
{
	_Alignas(struct inotify_event) char events[4096];
	int rc;

	/* What happened does not matter: look at the file as it is now. */
	while (read(l->resolver_watch, events, sizeof events) > 0)
		;
	(void)set_watches(l);
	rc = copy(l);
	log_event(rc < 0 ? LOG_WARN : LOG_DEBUG, "resolver.copy", "result=%s",
	    rc < 0 ? strerrorname_np(-rc) : "ok");
}
