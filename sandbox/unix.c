/*
 * unix.c - unix sockets: made, found, and their files removed again.
 *
 * Runs in: launcher. Trusts: nothing of the path but what allowed.c checked.
 * Specification: unix(7). The mode of a bound socket's file is that of the
 * socket, less the umask.
 */
#include "proto/sys.h"
#include "sandbox/openers.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKLOG     16
#define SOCKET_MODE 0660

/* The address of `name` in an open directory (NULL: of the file itself). */
static socklen_t
by_fd(struct sockaddr_un *un, int fd, const char *name)
{
	memset(un, 0, sizeof *un);
	un->sun_family = AF_UNIX;
	snprintf(un->sun_path, sizeof un->sun_path, "/proc/self/fd/%d%s%s", fd,
	    name != NULL ? "/" : "", name != NULL ? name : "");
	return sizeof *un;
}

static int
new_socket(int type)
{
	return (int)sys_result(
	    socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

/* Connect to the socket file `name` in `dir`, which must not be a link. */
static int
connect_at(int fd, int dir, const char *name)
{
	struct sockaddr_un un;
	struct stat st;
	socklen_t len;
	int file, rc;

	file = rc =
	    (int)sys_result(openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
	if (rc >= 0)
		rc = (int)sys_result(fstat(file, &st));
	if (rc >= 0 && !S_ISSOCK(st.st_mode))
		rc = -ENOTSOCK;
	if (rc >= 0) {
		len = by_fd(&un, file, NULL);
		rc = (int)sys_result(connect(fd, (struct sockaddr *)&un, len));
	}
	fd_close(&file);
	return rc == -EINPROGRESS ? 0 : rc;
}

int
opener_unix_connect(struct opening *o)
{
	const struct addr *a = &o->args->remote;
	const char *name;
	int dir, rc;

	if (a->un.sun_path[0] == '\0') {
		o->fd = rc = new_socket(SOCK_STREAM);
		return rc < 0 ? rc
			      : (int)sys_result(connect(o->fd, &a->sa, a->len));
	}
	dir = rc =
	    opener_parent(o, POLICY_UNIX, "connect to", a->un.sun_path, &name);
	if (rc < 0)
		return rc;
	o->fd = rc = new_socket(SOCK_STREAM);
	if (rc >= 0)
		rc = connect_at(o->fd, dir, name);
	fd_close(&dir);
	return rc;
}

/* A socket's file that nobody listens behind is in the way of nobody. */
static int
remove_stale(int type, int dir, const char *name)
{
	int probe = new_socket(type), rc;

	if (probe < 0)
		return probe;
	rc = connect_at(probe, dir, name);
	fd_close(&probe);
	if (rc == -ECONNREFUSED)
		return (int)sys_result(unlinkat(dir, name, 0));
	return rc == -ENOENT ? 0 : -EADDRINUSE;
}

static int
bind_at(struct opening *o, int type, int dir, const char *name)
{
	struct sockaddr_un un;
	struct stat st;
	socklen_t len = by_fd(&un, dir, name);
	mode_t mask;
	int rc;

	if (strlen(name) > sizeof un.sun_path - 32)
		return -ENAMETOOLONG;
	o->fd = rc = new_socket(type);
	if (rc < 0)
		return rc;
	mask = umask(~SOCKET_MODE & 0777);
	rc = (int)sys_result(bind(o->fd, (struct sockaddr *)&un, len));
	umask(mask);
	if (rc >= 0)
		rc = (int)sys_result(
		    fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW));
	if (rc < 0)
		return rc;
	o->made = true;
	o->made_dev = st.st_dev;
	o->made_ino = st.st_ino;
	return 0;
}

/* A new socket at `local`, in the file system or beside it. */
static int
bind_local(struct opening *o, int type)
{
	const struct addr *a = &o->args->local;
	const char *name;
	int dir, rc;

	if (a->un.sun_path[0] == '\0') {
		o->fd = rc = new_socket(type);
		return rc < 0 ? rc
			      : (int)sys_result(bind(o->fd, &a->sa, a->len));
	}
	dir = opener_parent(o, POLICY_UNIX, "listen on", a->un.sun_path, &name);
	if (dir < 0)
		return dir;
	rc = remove_stale(type, dir, name);
	if (rc >= 0)
		rc = bind_at(o, type, dir, name);
	fd_close(&dir);
	return rc;
}

/* What bind_local and what follows it say, in words; a refusal has its own. */
static int
say(struct opening *o, int rc, const char *text)
{
	if (rc >= 0 || o->err->text[0] != '\0')
		return rc;
	if (rc == -EADDRINUSE)
		return err_set(o->err, rc,
		    "cannot listen on %s: somebody listens there, or it is "
		    "not a socket",
		    text);
	return err_set(
	    o->err, rc, "cannot listen on %s: %s", text, strerrordesc_np(-rc));
}

int
opener_unix_listen(struct opening *o, const char *text)
{
	int rc;

	o->err->text[0] = '\0';
	rc = bind_local(o, SOCK_STREAM);
	if (rc >= 0)
		rc = (int)sys_result(listen(o->fd, BACKLOG));
	return say(o, rc, text);
}

/* --- datagrams -------------------------------------------------------------
 */

/* May it speak to the peer, whether that is there or not? */
static int
may_join(struct opening *o)
{
	const struct addr *a = &o->args->remote;
	const char *name;
	int dir;

	if (a->un.sun_path[0] == '\0')
		return opener_allowed_unix(o, "send to", a);
	dir = opener_parent(o, POLICY_UNIX, "send to", a->un.sun_path, &name);
	if (dir < 0)
		return dir;
	fd_close(&dir);
	return 0;
}

int
opener_unix_dgram(struct opening *o)
{
	const struct addr *local = &o->args->local, *to = &o->args->remote;
	char text[ADDR_TEXT_BYTES];
	int rc;

	if (local->len == 0 || to->len == 0 || local->sa.sa_family != AF_UNIX ||
	    to->sa.sa_family != AF_UNIX)
		return err_set(
		    o->err, -EINVAL, "unix datagrams need two paths");
	rc = may_join(o);
	if (rc >= 0)
		rc = opener_allowed_unix(o, "listen on", local);
	if (rc < 0)
		return rc;
	o->err->text[0] = '\0';
	return say(o, bind_local(o, SOCK_DGRAM), addr_text(local, text));
}

int
opener_unix_join(struct opening *o, int fd)
{
	const struct addr *a = &o->args->remote;
	char text[ADDR_TEXT_BYTES];
	const char *name;
	int dir, rc;

	if (a->un.sun_path[0] == '\0') {
		rc = (int)sys_result(connect(fd, &a->sa, a->len));
	} else {
		dir = opener_parent(
		    o, POLICY_UNIX, "send to", a->un.sun_path, &name);
		if (dir < 0)
			return dir;
		rc = connect_at(fd, dir, name);
		fd_close(&dir);
	}
	return rc < 0 ? err_set(o->err, rc, "cannot send to %s: %s",
			    addr_text(a, text), strerrordesc_np(-rc))
		      : 0;
}

void
opener_unix_remove(struct launcher *l, const struct resource *r)
{
	struct opening o = {.l = l, .args = &r->args, .free = true};
	struct err ignored;
	const char *name;
	struct stat st;
	int dir;

	o.err = &ignored;
	dir = opener_parent(
	    &o, POLICY_UNIX, "remove", r->args.local.un.sun_path, &name);
	if (dir < 0)
		return;
	/* Only our own: another may have taken the name meanwhile. */
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_dev == r->made_dev && st.st_ino == r->made_ino)
		(void)unlinkat(dir, name, 0);
	fd_close(&dir);
}
