/*
 * open_file.c - a regular file to write: made by its path, or handed over.
 *
 * Runs in: launcher. Trusts: policy for paths; of a descriptor that came with
 * the request nothing. Whoever passes one had the right to open it, so policy
 * is not asked; it is only looked at, and with nothing that can wait: a file
 * system may be anybody's (FUSE), and so may be who shares the descriptor.
 * Specification: openat(2), statx(2) AT_STATX_DONT_SYNC; netdevs.md 11.2.
 */
#include "proto/sys.h"
#include "sandbox/openers.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Is it the file behind one of our own descriptors? */
static bool
same_file(dev_t dev, ino_t ino, int ours)
{
	struct stat own;

	return ours >= 0 && fstat(ours, &own) == 0 && own.st_dev == dev &&
	       own.st_ino == ino;
}

/* Our pid file or log, which nobody may overwrite. */
static bool
is_ours(const struct launcher *l, dev_t dev, ino_t ino)
{
	return same_file(dev, ino, l->pidfile) ||
	       same_file(dev, ino, STDERR_FILENO);
}

/* It must be an ordinary file with one name, whoever had made it. */
static int
check_made(const struct launcher *l, int fd)
{
	struct stat st;
	int rc = (int)sys_result(fstat(fd, &st));

	if (rc < 0)
		return rc;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (is_ours(l, st.st_dev, st.st_ino))
		return -EBUSY;
	return st.st_nlink == 1 ? (int)sys_result(ftruncate(fd, 0)) : -EMLINK;
}

/* A descriptor from a set: the position and the bytes are its user's. */
static int
take_given(struct opening *o)
{
	const unsigned want = STATX_TYPE | STATX_INO;
	const char *path = o->args->path;
	struct statx sx;
	int rc, flags;

	o->fd = fd_take(&o->given);
	flags = rc = (int)sys_result(fcntl(o->fd, F_GETFL));
	if (rc >= 0)
		rc = (int)sys_result(statx(
		    o->fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, want, &sx));
	if (rc < 0)
		return err_set(o->err, rc, "cannot use %.128s: %s", path,
		    strerrordesc_np(-rc));
	if ((sx.stx_mask & STATX_TYPE) == 0 || !S_ISREG(sx.stx_mode))
		return err_set(o->err, -EINVAL,
		    "cannot use %.128s: it is not a regular file", path);
	/* A descriptor for the path only (O_PATH) reads as one for reading */
	if ((flags & O_ACCMODE) == O_RDONLY)
		return err_set(o->err, -EACCES,
		    "cannot use %.128s: it is not open for writing", path);
	if (is_ours(o->l, makedev(sx.stx_dev_major, sx.stx_dev_minor),
		(ino_t)sx.stx_ino))
		return err_set(o->err, -EBUSY,
		    "cannot use %.128s: it is our own log or pid file", path);
	o->granted = true;
	return 0;
}

int
opener_file_create(struct opening *o)
{
	const char *path = o->args->path;
	const char *name;
	int dir, rc;

	if (o->given >= 0)
		return take_given(o);
	if (path[0] == '\0')
		return err_set(o->err, -EINVAL, "no file name");
	dir = rc = opener_parent(o, POLICY_FILE, "create", path, &name);
	if (rc < 0)
		return rc;
	o->fd = rc = (int)sys_result(openat(dir, name,
	    O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
	    0640));
	fd_close(&dir);
	if (rc >= 0)
		rc = check_made(o->l, o->fd);
	if (rc == -EINVAL || rc == -ENXIO)
		return err_set(o->err, -EINVAL,
		    "cannot create %s: it is not a regular file", path);
	if (rc == -ELOOP)
		return err_set(o->err, rc,
		    "cannot create %s: it is a symbolic link", path);
	return rc < 0 ? err_set(o->err, rc, "cannot create %s: %s", path,
			    strerrordesc_np(-rc))
		      : 0;
}
