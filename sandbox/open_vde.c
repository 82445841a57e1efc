/*
 * open_vde.c - a place at a VDE switch: the two sockets that reach it.
 *
 * Runs in: launcher. Trusts: nothing in the switch's directory, which belongs
 * to whoever runs the switch: no link in it is followed, and of what the
 * switch says only two numbers come here (LAUNCH_VDE_* in launch.h), through
 * the backend and the broker.
 *
 * A switch is a directory with a stream socket "ctl". Who wants a port makes a
 * datagram socket with a name that the switch can reach, and says that name on
 * ctl; the switch answers with the name of its own datagram socket, to which
 * the first is connected. The backend does the talking; the launcher makes,
 * names and connects. The name is gone again when both know each other.
 * The directory is found anew each time: vde_switch removes it when it ends.
 */
#include "proto/sys.h"
#include "sandbox/openers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define NAME_BYTES 40
/* What libvdeplug gives it when nothing is said. */
#define MODE_USUAL 0700u
#define MODE_ALL   0066u

static int
world_says(struct opening *o, int rc)
{
	return err_set(o->err, rc, "cannot join the VDE switch %s: %s",
	    o->args->path, strerrordesc_np(-rc));
}

/* The switch's directory, O_PATH; -errno with *err. */
static int
open_switch(struct opening *o)
{
	const char *path = o->args->path, *name;
	int dir, fd;

	if (path[0] == '\0')
		return err_set(o->err, -EINVAL, "no VDE switch");
	dir = opener_parent(o, POLICY_VDE, "join", path, &name);
	if (dir < 0)
		return dir;
	/* The operator may name a link; a client may not. */
	fd = (int)sys_result(openat(dir, name,
	    O_PATH | O_DIRECTORY | O_CLOEXEC | (o->free ? 0 : O_NOFOLLOW)));
	fd_close(&dir);
	return fd < 0 ? world_says(o, fd) : fd;
}

/* O_PATH descriptor of a socket's file, which must not be a link. */
static int
open_socket(int dir, const char *name, struct stat *st)
{
	int fd, rc;

	fd = rc =
	    (int)sys_result(openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
	if (rc >= 0)
		rc = (int)sys_result(fstat(fd, st));
	if (rc >= 0 && !S_ISSOCK(st->st_mode))
		rc = -ENOTSOCK;
	if (rc < 0)
		fd_close(&fd);
	return rc < 0 ? rc : fd;
}

static int
connect_at(int fd, int dir, const char *name)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct stat st;
	int file = open_socket(dir, name, &st), rc;

	if (file < 0)
		return file;
	snprintf(un.sun_path, sizeof un.sun_path, "/proc/self/fd/%d", file);
	rc = (int)sys_result(connect(fd, (struct sockaddr *)&un, sizeof un));
	fd_close(&file);
	return rc;
}

int
opener_vde_control(struct opening *o)
{
	int dir = open_switch(o), rc;

	if (dir < 0)
		return dir;
	o->fd = rc = (int)sys_result(
	    socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
	if (rc >= 0)
		rc = connect_at(o->fd, dir, "ctl");
	fd_close(&dir);
	return rc < 0 ? world_says(o, rc) : 0;
}

/* One for each slot: there is one place at a switch in a slot. */
static void
own_name(const struct launcher *l, const struct slot *s, char name[NAME_BYTES])
{
	snprintf(name, NAME_BYTES, ".bulkhead-%d-%u", (int)getpid(),
	    (unsigned)(s - l->slots));
}

/*
 * The switch must be able to write to us: as root we give the socket to its
 * owner, as another user we can only open it to all who enter the directory.
 */
static mode_t
wanted_mode(const struct opening *o, const struct stat *ctl)
{
	mode_t mode = o->args->mode != 0 ? o->args->mode : MODE_USUAL;

	if (!o->l->root && ctl->st_uid != 0 && ctl->st_uid != geteuid() &&
	    (mode & 077) == 0)
		mode |= MODE_ALL;
	return mode & 0777;
}

/* Owner and group of the name that was just made: ours, and nobody's else. */
static int
give_name(const struct opening *o, int dir, const char *name, uid_t owner)
{
	gid_t group =
	    o->args->group != 0 ? (gid_t)o->args->group - 1 : (gid_t)-1;
	struct stat st;
	int file, rc;

	if (!o->l->root)
		owner = (uid_t)-1;
	file = rc = open_socket(dir, name, &st);
	if (rc >= 0 && (st.st_uid != geteuid() || st.st_nlink != 1))
		rc = -EEXIST;
	if (rc >= 0)
		rc = (int)sys_result(
		    fchownat(file, "", owner, group, AT_EMPTY_PATH));
	fd_close(&file);
	return rc;
}

/* A fresh socket with a name in the directory. */
static int
bind_at(struct opening *o, int dir, const char *name)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct stat ctl;
	mode_t mask;
	int rc;

	rc = (int)sys_result(fstatat(dir, "ctl", &ctl, AT_SYMLINK_NOFOLLOW));
	if (rc < 0)
		return rc;
	snprintf(
	    un.sun_path, sizeof un.sun_path, "/proc/self/fd/%d/%s", dir, name);
	o->fd = rc = (int)sys_result(
	    socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
	if (rc < 0)
		return rc;
	(void)unlinkat(dir, name, 0);
	mask = umask(~wanted_mode(o, &ctl) & 0777);
	rc = (int)sys_result(bind(o->fd, (struct sockaddr *)&un, sizeof un));
	umask(mask);
	return rc < 0 ? rc : give_name(o, dir, name, ctl.st_uid);
}

int
opener_vde_data(struct opening *o)
{
	int dir = open_switch(o), rc;
	char name[NAME_BYTES];

	if (dir < 0)
		return dir;
	own_name(o->l, o->slot, name);
	rc = bind_at(o, dir, name);
	fd_close(&dir);
	return rc < 0 ? world_says(o, rc) : 0;
}

int
opener_vde_connect(struct opening *o, const struct resource *r)
{
	uint32_t port = o->args->number >> LAUNCH_VDE_PORT_SHIFT;
	uint32_t fd = o->args->number & LAUNCH_VDE_FD_MASK;
	char name[NAME_BYTES], own[NAME_BYTES];
	int dir, rc;

	if (r->fd < 0)
		return err_set(o->err, -EBADF, "there is no socket to connect");
	dir = open_switch(o);
	if (dir < 0)
		return dir;
	if (port == LAUNCH_VDE_NO_PORT)
		snprintf(name, sizeof name, "fd%u", fd);
	else
		snprintf(name, sizeof name, "%03u.%u", port, fd);
	rc = connect_at(r->fd, dir, name);
	own_name(o->l, o->slot, own);
	(void)unlinkat(dir, own, 0);
	fd_close(&dir);
	return rc < 0 ? world_says(o, rc) : 0;
}

bool
opener_vde_later(const struct launch_open *args)
{
	return !args->give && args->again &&
	       (args->kind == RES_VDE_CONTROL || args->kind == RES_VDE_DATA);
}

void
opener_vde_given(struct slot *s)
{
	unsigned i;

	for (i = 0; i < LAUNCH_RESOURCES; i++)
		if (s->resources[i].granted &&
		    s->resources[i].args.kind == RES_VDE_CONTROL)
			fd_close_foreign(&s->resources[i].fd);
}

void
opener_vde_remove(struct launcher *l, const struct resource *r)
{
	size_t slot = (size_t)((const char *)r - (const char *)l->slots) /
		      sizeof *l->slots;
	struct opening o = {.l = l, .args = &r->args, .free = true};
	struct err ignored;
	char name[NAME_BYTES];
	int dir;

	o.err = &ignored;
	dir = open_switch(&o);
	if (dir < 0)
		return;
	own_name(l, &l->slots[slot], name);
	(void)unlinkat(dir, name, 0);
	fd_close(&dir);
}
