/*
 * fdset.c - sets of descriptors, and the path /dev/fdset/N.
 *
 * Runs in: the broker.
 * Trusts: nobody; descriptors may be anything and are never read or written
 *   here. What they are is for the launcher to see, when one is used.
 * Specification: schema/fd.json; QEMU qapi/misc.json; reference qmp.md 2.6.
 */
#include "broker/fdset.h"

#include "broker/qmp.h"
#include "gen/commands.h"
#include "proto/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* One descriptor of a set. */
struct member {
	int64_t set;
	int fd;       /* owned */
	char *opaque; /* owned, or NULL */
};

static const char prefix[] = "/dev/fdset/";

/* All sets, by their numbers; in a set the oldest comes first. */
static struct member members[FDSET_FDS_MAX];
static size_t member_count;

/* Where the first one of this or a later set is. */
static size_t
find_set(int64_t set)
{
	size_t at = 0;

	while (at < member_count && members[at].set < set)
		at++;
	return at;
}

static bool
in_set(size_t at, int64_t set)
{
	return at < member_count && members[at].set == set;
}

static int64_t
lowest_free(void)
{
	int64_t set = 0;

	for (size_t at = 0; at < member_count; at++)
		if (members[at].set == set)
			set++;
		else if (members[at].set > set)
			break;
	return set;
}

static int
check(const int64_t *set, const char *opaque, struct err *err)
{
	if (set && *set < 0)
		return err_set(err, -EINVAL,
		    "Parameter 'fdset-id' expects a non-negative value");
	if (opaque && strlen(opaque) >= FDSET_OPAQUE_BYTES)
		return err_set(err, -EINVAL,
		    "Parameter 'opaque' expects a text shorter than %u bytes",
		    FDSET_OPAQUE_BYTES);
	if (member_count == FDSET_FDS_MAX)
		return err_set(err, -ENOSPC,
		    "%u file descriptors are in sets already; use remove-fd",
		    FDSET_FDS_MAX);
	return 0;
}

int
fdset_put(const int64_t *set, int fd, const char *opaque, int64_t *to,
    struct err *err)
{
	struct member m = {.fd = fd};
	int rc = check(set, opaque, err);
	size_t at;

	if (rc == 0 && opaque) {
		m.opaque = strdup(opaque);
		if (!m.opaque)
			rc = err_set(err, -ENOMEM, "out of memory");
	}
	if (rc < 0) {
		fd_close_foreign(&fd);
		return rc;
	}
	m.set = set ? *set : lowest_free();
	at = find_set(m.set);
	while (in_set(at, m.set))
		at++;
	memmove(&members[at + 1], &members[at],
	    (member_count - at) * sizeof *members);
	members[at] = m;
	member_count++;
	*to = m.set;
	return 0;
}

static void
drop(size_t at)
{
	fd_close_foreign(&members[at].fd);
	free(members[at].opaque);
	member_count--;
	memmove(&members[at], &members[at + 1],
	    (member_count - at) * sizeof *members);
}

void
fdset_clear(void)
{
	while (member_count > 0)
		drop(member_count - 1);
}

/* --- paths ------------------------------------------------------------------
 */

bool
fdset_is_path(const char *path)
{
	return strncmp(path, prefix, sizeof prefix - 1) == 0;
}

static bool
fits(int fd, int mode)
{
	int have = (int)sys_result(fcntl(fd, F_GETFL));

	if (have < 0 || (have & O_PATH))
		return false;
	have &= O_ACCMODE;
	return have == mode || have == O_RDWR;
}

static int
parse(const char *path, int64_t *set)
{
	const char *text = path + sizeof prefix - 1;
	size_t digits = strspn(text, "0123456789");

	/* Eighteen digits fit */
	if (digits == 0 || digits > 18 || text[digits] != '\0')
		return -EINVAL;
	*set = strtoll(text, NULL, 10);
	return 0;
}

int
fdset_open(const char *path, int mode, struct err *err)
{
	static const char *const ways[] = {
	    [O_RDONLY] = "reading",
	    [O_WRONLY] = "writing",
	    [O_RDWR] = "reading and writing",
	};
	int64_t set = 0;
	size_t at;
	int fd;

	if (parse(path, &set) < 0)
		return err_set(err, -EINVAL,
		    "cannot open %.64s: it ends in no number of a set", path);
	at = find_set(set);
	if (!in_set(at, set))
		return err_set(err, -ENOENT,
		    "cannot open %s: No such file or directory; add-fd makes "
		    "a set",
		    path);
	while (in_set(at, set) && !fits(members[at].fd, mode))
		at++;
	if (!in_set(at, set))
		return err_set(err, -EACCES,
		    "cannot open %s: Permission denied; no descriptor of the "
		    "set is open for %s",
		    path, ways[mode]);
	fd = (int)sys_result(fcntl(members[at].fd, F_DUPFD_CLOEXEC, 0));
	if (fd < 0)
		return err_set(
		    err, fd, "cannot open %s: %s", path, strerror(-fd));
	return fd;
}

/* --- commands ---------------------------------------------------------------
 */

void
cmd_add_fd(struct call *call, const struct add_fd_args *args)
{
	int fd = call_take_fd(call);
	struct addfd_info info = {.fd = fd};
	struct err e;

	if (fd < 0) {
		(void)err_set(
		    &e, -EINVAL, "No file descriptor supplied via SCM_RIGHTS");
		call_fail(call, &e);
	} else if (fdset_put(args->has_fdset_id ? &args->fdset_id : NULL, fd,
		       args->opaque, &info.fdset_id, &e) < 0) {
		call_fail(call, &e);
	} else {
		call_return(call, &desc_addfd_info, &info);
	}
}

void
cmd_remove_fd(struct call *call, const struct remove_fd_args *args)
{
	size_t at = find_set(args->fdset_id);
	bool found = false;
	struct err e;

	while (in_set(at, args->fdset_id)) {
		if (args->has_fd && members[at].fd != args->fd) {
			at++;
			continue;
		}
		drop(at);
		found = true;
	}
	if (found) {
		call_return(call, NULL, NULL);
		return;
	}
	if (args->has_fd)
		(void)err_set(&e, -ENOENT,
		    "File descriptor named 'fdset-id:%" PRId64 ", fd:%" PRId64
		    "' not found",
		    args->fdset_id, args->fd);
	else
		(void)err_set(&e, -ENOENT,
		    "File descriptor named 'fdset-id:%" PRId64 "' not found",
		    args->fdset_id);
	call_fail(call, &e);
}

void
cmd_query_fdsets(struct call *call, const struct query_fdsets_args *args)
{
	struct fdset_fd_info fds[FDSET_FDS_MAX];
	struct fdset_info sets[FDSET_FDS_MAX];
	struct fdset_info_list list = {.items = sets};

	(void)args;
	for (size_t at = 0; at < member_count; at++) {
		struct fdset_info *set = &sets[list.count];

		if (at == 0 || members[at].set != members[at - 1].set) {
			*set = (struct fdset_info){
			    .fdset_id = members[at].set, .fds.items = &fds[at]};
			list.count++;
		} else {
			set--;
		}
		fds[at] = (struct fdset_fd_info){
		    .fd = members[at].fd, .opaque = members[at].opaque};
		set->fds.count++;
	}
	call_return(call, &desc_list_fdset_info, &list);
}
