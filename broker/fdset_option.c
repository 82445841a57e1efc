/*
 * fdset_option.c - "-add-fd fd=N,set=N[,opaque=TEXT]".
 *
 * Runs in: the broker, during start.
 * Trusts: the operator, but not that the text is well-formed.
 * Specification: qemu(1), -add-fd; AddFdOption in schema/fd.json.
 *
 * The descriptor is with the launcher, which hands it over and has it no more:
 * a number can be used once. As with all options, what refers to the set comes
 * later on the command line.
 */
#include "broker/fdset_option.h"

#include "broker/fdset.h"
#include "proto/keyval.h"
#include "proto/log.h"
#include "proto/sys.h"

#include <errno.h>
#include <unistd.h>

/* The one option in work. */
static struct {
	struct add_fd_option option; /* owned */
	core_done done;              /* NULL: none is in work */
	void *self;                  /* borrowed */
} work;

static int
check(const struct add_fd_option *o, struct err *e)
{
	if (!o->has_fd || o->fd < 0)
		return err_set(e, -EINVAL,
		    "fd option is required and must be non-negative");
	if (o->fd <= STDERR_FILENO)
		return err_set(
		    e, -EINVAL, "fd cannot be a standard I/O stream");
	if (o->fd > INT32_MAX)
		return err_set(e, -EBADF, "fd is not valid or already in use");
	if (!o->has_set || o->set < 0)
		return err_set(e, -EINVAL,
		    "set option is required and must be non-negative");
	return 0;
}

static void
finish(const struct err *e)
{
	core_done done = work.done;

	work.done = NULL;
	desc_free(&desc_add_fd_option, &work.option);
	done(work.self, e);
}

static void
taken(void *self, int fd, const struct err *why)
{
	struct err e = *why;
	int64_t set;
	int rc = fd;

	(void)self;
	if (fd < 0)
		(void)err_set(&e, -EBADF,
		    "fd is not valid or already in use: %s", why->text);
	else
		rc = fdset_put(
		    &work.option.set, fd, work.option.opaque, &set, &e);
	finish(rc < 0 ? &e : NULL);
}

void
fdset_option(struct core *c, const char *arg, core_done done, void *self)
{
	struct err e;
	int rc;

	BUG_ON(work.done);
	work.done = done;
	work.self = self;
	rc = keyval_decode(&desc_add_fd_option, &work.option, arg, NULL, &e);
	if (rc == 0)
		rc = check(&work.option, &e);
	if (rc < 0)
		finish(&e);
	else
		core_take_fd(c, (uint32_t)work.option.fd, taken, NULL);
}
