/*
 * handover.c - a chardev's socket, from the slot that keeps it to the slot
 * that uses it.
 *
 * Runs in: launcher. Trusts: nothing of the broker's number but that it is
 * one. Whatever is handed over was granted to its slot by policy, or before
 * the latch; this adds no right of its own.
 * Specification: proto/launch.h, kind CHARDEV.
 */
#include "proto/sys.h"
#include "sandbox/openers.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

/* The slot that keeps it; NULL with *err when it cannot be one. */
static struct slot *
find_keeper(struct opening *o)
{
	uint32_t number = o->args->number;
	struct slot *keeper;
	uint32_t kind;

	if (number == 0 || number >= o->l->slots_known ||
	    &o->l->slots[number] == o->slot) {
		(void)err_set(
		    o->err, -EINVAL, "slot %u keeps no chardev", number);
		return NULL;
	}
	keeper = &o->l->slots[number];
	kind = keeper->resources[0].args.kind;
	if (keeper->lived || keeper->pid != 0 || keeper->releasing ||
	    !keeper->resources[0].granted ||
	    (kind != RES_STREAM_LISTEN && kind != RES_STREAM_CONNECT &&
		kind != RES_FD)) {
		(void)err_set(
		    o->err, -EINVAL, "slot %u keeps no chardev", number);
		return NULL;
	}
	return keeper;
}

/* Guest memory comes over it as descriptors. */
static int
check_passes_fds(struct opening *o, int fd)
{
	socklen_t len = sizeof(int);
	int domain = 0, type = 0, rc;

	rc = (int)sys_result(
	    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len));
	if (rc >= 0)
		rc = (int)sys_result(
		    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len));
	if (rc < 0 || domain != AF_UNIX || type != SOCK_STREAM)
		return err_set(o->err, -EPROTOTYPE,
		    "chardev \"%.64s\" does not support FD passing: it is not "
		    "a unix stream socket",
		    o->args->path);
	return 0;
}

static int
copy(struct opening *o, const struct resource *r)
{
	int rc;

	if (r->fd < 0)
		return err_set(o->err, -EBADF, "it is not open");
	rc = check_passes_fds(o, r->fd);
	if (rc < 0)
		return rc;
	o->fd = rc = (int)sys_result(fcntl(r->fd, F_DUPFD_CLOEXEC, 0));
	return rc < 0 ? err_set(o->err, rc, "cannot copy it: %s",
			    strerrordesc_np(-rc))
		      : 0;
}

/* The connection that was made first, if it is there; then fresh ones. */
static int
connection(struct opening *o, struct resource *r)
{
	const struct launch_open *args = o->args;
	int rc;

	if (r->args.remote.sa.sa_family != AF_UNIX)
		return err_set(o->err, -EPROTOTYPE,
		    "chardev \"%.64s\" does not support FD passing: it is not "
		    "a unix stream socket",
		    args->path);
	if (r->fd >= 0) {
		o->fd = fd_take(&r->fd);
		return 0;
	}
	o->args = &r->args;
	o->free = true;
	rc = opener_stream_connect(o);
	o->args = args;
	return rc;
}

int
opener_chardev(struct opening *o)
{
	uint32_t number = (uint32_t)(o->slot - o->l->slots);
	struct slot *keeper = find_keeper(o);
	int rc;

	if (keeper == NULL)
		return -EINVAL;
	if (keeper->lent_to != (o->args->again ? number : 0))
		return err_set(o->err, -EBUSY,
		    "what slot %u keeps is lent to another", o->args->number);
	o->granted = true;
	if (keeper->resources[0].args.kind == RES_STREAM_CONNECT)
		rc = connection(o, &keeper->resources[0]);
	else
		rc = copy(o, &keeper->resources[0]);
	if (rc >= 0 || opener_is_connection(o->l, o->args))
		keeper->lent_to = number;
	return rc;
}

bool
opener_is_connection(struct launcher *l, const struct launch_open *args)
{
	if (args->kind != RES_CHARDEV)
		return args->kind == RES_STREAM_CONNECT ||
		       args->kind == RES_LOOKUP ||
		       args->kind == RES_VDE_CONTROL ||
		       args->kind == RES_VDE_DATA || args->kind == RES_NETMAP;
	return args->number < l->slots_known &&
	       l->slots[args->number].resources[0].args.kind ==
		   RES_STREAM_CONNECT;
}

void
opener_give_back(struct launcher *l, const struct slot *user)
{
	uint32_t number = (uint32_t)(user - l->slots);
	unsigned i;

	for (i = 0; i < LAUNCH_RESOURCES; i++) {
		const struct resource *r = &user->resources[i];

		if (r->granted && r->args.kind == RES_CHARDEV &&
		    r->args.number < l->slots_known &&
		    l->slots[r->args.number].lent_to == number)
			l->slots[r->args.number].lent_to = 0;
	}
}
