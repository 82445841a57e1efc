/*
 * resolver.c - copies of the host's files about names.
 *
 * Runs in: launcher. Trusts: those files, of which it reads no more than a
 * fixed number of bytes and understands none.
 *
 * RUN/etc/resolv.conf stays current: backends that resolve names get that
 * directory, read-only, as their /etc. It is replaced by rename(2), so that a
 * reader sees the old file or the new one. Two watches tell of changes: on
 * the file behind /etc/resolv.conf (often a link to a file that another
 * daemon renames into place), and on /etc for the link itself.
 * RUN/names is the /etc of bulkhead-resolve: copied for each look-up, as the
 * files may have changed, and are read once.
 * Specification: inotify(7), resolv.conf(5), hosts(5), gai.conf(5).
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
#define COPY_NEW   "new"
#define BYTES_MAX  (1 << 20) /* of a file; lines behind that are left out */
#define CHUNK      65536

/* What libc reads to look a name up, but for nsswitch.conf. */
static const char *const names_files[] = {
    "resolv.conf", "hosts", "host.conf", "gai.conf"};

/* Watches are bound to files: after a rename they must be set again. */
static int
set_watches(struct launcher *l)
{
	(void)inotify_add_watch(l->resolver_watch, SOURCE,
	    IN_CLOSE_WRITE | IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF);
	return (int)sys_result(inotify_add_watch(l->resolver_watch, SOURCE_DIR,
	    IN_MOVED_TO | IN_CREATE | IN_DELETE));
}

/* All of `from`, as far as it goes: whole lines. 0 or -errno. */
static int
pour(int from, int to)
{
	static char text[CHUNK];
	size_t all = 0, len;
	ssize_t got;
	int rc = 0;

	while (rc >= 0 && all < BYTES_MAX) {
		got = sys_result(read(from, text, sizeof text));
		if (got <= 0)
			return (int)got;
		len = (size_t)got;
		all += len;
		while (all >= BYTES_MAX && len > 0 && text[len - 1] != '\n')
			len--;
		rc = (int)sys_write(to, text, len);
	}
	return rc < 0 ? rc : 0;
}

static int
write_copy(int dir, const char *name, int from)
{
	int fd, rc;

	(void)unlinkat(dir, COPY_NEW, 0);
	fd = (int)sys_result(openat(dir, COPY_NEW,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
	if (fd < 0)
		return fd;
	rc = (int)sys_result(fchmod(fd, 0644)); /* for other user ids */
	if (rc >= 0 && from >= 0)
		rc = pour(from, fd);
	if (rc >= 0)
		rc = (int)sys_result(renameat(dir, COPY_NEW, dir, name));
	fd_close(&fd);
	return rc < 0 ? rc : 0;
}

/* Of a file that the host has not, an empty copy: it says the same. */
static int
copy(int dir, const char *name)
{
	char path[64];
	int fd, rc;

	snprintf(path, sizeof path, SOURCE_DIR "/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	rc = write_copy(dir, name, fd);
	fd_close(&fd);
	return rc;
}

/* A directory of ours in the run directory, which others may read. */
static int
open_dir(struct launcher *l, const char *name)
{
	int fd, rc;

	rc = (int)sys_result(mkdirat(l->run_dir, name, 0755));
	if (rc < 0 && rc != -EEXIST)
		return rc;
	fd = rc = (int)sys_result(openat(
	    l->run_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
	if (rc >= 0)
		rc = (int)sys_result(fchmod(fd, 0755));
	if (rc < 0)
		fd_close(&fd);
	return rc < 0 ? rc : fd;
}

static int
set_up(struct launcher *l)
{
	int rc;

	l->resolver_dir = rc = open_dir(l, "etc");
	if (rc >= 0)
		rc = copy(l->resolver_dir, "resolv.conf");
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
	rc = copy(l->resolver_dir, "resolv.conf");
	log_event(rc < 0 ? LOG_WARN : LOG_DEBUG, "resolver.copy", "result=%s",
	    rc < 0 ? strerrorname_np(-rc) : "ok");
}

int
resolver_open_names(struct launcher *l)
{
	int dir, rc = 0;
	size_t i;

	dir = open_dir(l, "names");
	if (dir < 0)
		return dir;
	for (i = 0; i < sizeof names_files / sizeof *names_files; i++)
		if (rc >= 0)
			rc = copy(dir, names_files[i]);
	if (rc < 0)
		fd_close(&dir);
	return rc < 0 ? rc : dir;
}
