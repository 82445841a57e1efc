/*
 * getfd.c - descriptors passed by clients, by name.
 *
 * Runs in: the broker.
 * Trusts: nobody; names come from clients, descriptors may be anything and
 *   are never read or written here.
 * Specification: QEMU qapi/misc.json, getfd and closefd.
 */
#include "broker/getfd.h"

#include "broker/qmp.h"
#include "gen/commands.h"
#include "proto/sys.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* What is kept; an entry without name is free. */
static struct {
	char *name; /* owned */
	int fd;     /* owned */
} kept[GETFD_MAX];

/* Index of the entry, GETFD_MAX when there is none. NULL finds a free one. */
static size_t
find(const char *name)
{
	size_t i;

	for (i = 0; i < GETFD_MAX; i++) {
		if (name == NULL ? kept[i].name == NULL
				 : kept[i].name != NULL &&
				       strcmp(kept[i].name, name) == 0)
			break;
	}
	return i;
}

int
getfd_put(const char *name, int fd, struct err *err)
{
	size_t at = find(name);
	int rc = 0;

	if (at < GETFD_MAX) {
		fd_close_foreign(&kept[at].fd);
		kept[at].fd = fd;
		return 0;
	}
	at = find(NULL);
	if (name[0] >= '0' && name[0] <= '9')
		rc = err_set(err, -EINVAL,
		    "Parameter 'fdname' expects a name not starting with "
		    "a digit");
	else if (strlen(name) >= GETFD_NAME_BYTES)
		rc = err_set(err, -EINVAL,
		    "Parameter 'fdname' expects a name shorter than %u bytes",
		    GETFD_NAME_BYTES);
	else if (at == GETFD_MAX)
		rc = err_set(err, -ENOSPC,
		    "%u file descriptors are named already; use closefd",
		    GETFD_MAX);
	else if ((kept[at].name = strdup(name)) == NULL)
		rc = err_set(err, -ENOMEM, "out of memory");
	if (rc < 0) {
		fd_close_foreign(&fd);
		return rc;
	}
	kept[at].fd = fd;
	return 0;
}

int
getfd_take(const char *name)
{
	size_t at = find(name);
	int fd;

	if (at == GETFD_MAX)
		return -1;
	fd = fd_take(&kept[at].fd);
	free(kept[at].name);
	kept[at].name = NULL;
	return fd;
}

bool
getfd_known(const char *name)
{
	return find(name) < GETFD_MAX;
}

/* --- commands ---------------------------------------------------------------
 */

void
cmd_getfd(struct call *call, const struct getfd_args *args)
{
	int fd = call_take_fd(call);
	struct err e;

	if (fd < 0) {
		err_set(
		    &e, -EINVAL, "No file descriptor supplied via SCM_RIGHTS");
		call_fail(call, &e);
	} else if (getfd_put(args->fdname, fd, &e) < 0) {
		call_fail(call, &e);
	} else {
		call_return(call, NULL, NULL);
	}
}

void
cmd_closefd(struct call *call, const struct closefd_args *args)
{
	int fd = getfd_take(args->fdname);
	struct err e;

	if (fd < 0) {
		err_set(&e, -ENOENT, "File descriptor named '%s' not found",
		    args->fdname);
		call_fail(call, &e);
		return;
	}
	fd_close_foreign(&fd);
	call_return(call, NULL, NULL);
}
