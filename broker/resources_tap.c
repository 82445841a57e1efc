/*
 * resources_tap.c - what a tap or a bridge port needs from the launcher.
 *
 * Runs in: the broker. Trusts: nothing of the options; the launcher checks
 * again what it gets.
 * Specification: reference netdevs.md 8.1 (which options go together, and
 * QEMU's texts), 8.5, 16; DESIGN 2.
 *
 * Queue q is resource q, whoever makes it; the scripts come behind them.
 */
#include "broker/resources_tap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A turn of polling that long is no network any more. */
#define POLL_US_MAX  1000000u
#define BRIDGE_USUAL "br0"
#define NAME_MAX_    15u /* IFNAMSIZ less its NUL */

/* "no" is QEMU's word for none; an empty path can be nothing else. */
static bool
is_none(const char *script)
{
	return script && (script[0] == '\0' || strcmp(script, "no") == 0);
}

static size_t
parts(const char *list)
{
	size_t count = 1;

	for (; *list; list++)
		count += *list == ':';
	return count;
}

static int
check_name(const char *what, const char *name, struct err *e)
{
	size_t len = name ? strlen(name) : 1;

	if (len == 0 || len > NAME_MAX_)
		return err_set(e, -EINVAL,
		    "Parameter '%s' expects a name of 1 to %u bytes", what,
		    NAME_MAX_);
	if (name && strpbrk(name, "/ \t\n:"))
		return err_set(e, -EINVAL,
		    "Parameter '%s' expects a name without '/', ':' and blanks",
		    what);
	return 0;
}

/* A program is run as it is named: no shell splits the text. */
static int
check_program(const char *what, const char *path, struct err *e)
{
	if (!path || (path[0] != '\0' && strlen(path) < LAUNCH_PATH))
		return 0;
	return err_set(e, -EINVAL,
	    "Parameter '%s' expects a path of 1 to %u bytes", what,
	    LAUNCH_PATH - 1);
}

/* Options that make an interface have no meaning for one that is there. */
static bool
makes(const struct netdev_tap_options *o)
{
	return o->ifname || o->script || o->downscript || o->has_vnet_hdr ||
	       o->has_queues;
}

static int
check_together(const struct netdev_tap_options *o, struct err *e)
{
	if (o->fd && (makes(o) || o->helper || o->fds || o->vhostfds))
		return err_set(e, -EINVAL,
		    "ifname=, script=, downscript=, vnet_hdr=, helper=, "
		    "queues=, fds=, and vhostfds= are invalid with fd=");
	if (o->fds && (makes(o) || o->helper || o->vhostfd))
		return err_set(e, -EINVAL,
		    "ifname=, script=, downscript=, vnet_hdr=, helper=, "
		    "queues=, and vhostfd= are invalid with fds=");
	if (o->helper && (makes(o) || o->vhostfds))
		return err_set(e, -EINVAL,
		    "ifname=, script=, downscript=, vnet_hdr=, queues=, and "
		    "vhostfds= are invalid with helper=");
	if (o->vhostfds && !o->fds)
		return err_set(e, -EINVAL,
		    "vhostfds= is invalid if fds= wasn't specified");
	if (o->vhostfds && parts(o->vhostfds) != parts(o->fds))
		return err_set(e, -EINVAL,
		    "The number of fds passed does not match the number of "
		    "vhostfds passed");
	return 0;
}

/*
 * vhost-net moves frames between a tap and the memory of one guest, in the
 * kernel. Here a tap's peer is a ring, in a process that maps no guest's
 * memory; to change that would be to give up what this program is for.
 */
static int
check_vhost(const struct netdev_tap_options *o, struct err *e)
{
	bool force = o->has_vhostforce && o->vhostforce;
	bool off = o->has_vhost && !o->vhost;

	if (off && (o->vhostfd || o->vhostfds))
		return err_set(
		    e, -EINVAL, "vhostfd(s)= is not valid without vhost");
	if ((o->has_vhost && o->vhost) || (force && !off) || o->vhostfd ||
	    o->vhostfds)
		return err_set(e, -EOPNOTSUPP,
		    "vhost is not available: the kernel would need the "
		    "guest's memory, which no tap's process has; leave "
		    "vhost, vhostfd, vhostfds and vhostforce out, or say "
		    "vhost=off");
	return 0;
}

static int
check_numbers(const struct netdev_tap_options *o, struct err *e)
{
	if (o->has_queues && (o->queues == 0 || o->queues > TAP_QUEUES_MAX))
		return err_set(e, -EINVAL,
		    "Parameter 'queues' expects a number from 1 to %u",
		    TAP_QUEUES_MAX);
	if (o->fds && (o->fds[0] == '\0' || parts(o->fds) > TAP_QUEUES_MAX))
		return err_set(e, -EINVAL,
		    "Parameter 'fds' expects 1 to %u descriptors, separated "
		    "by colons",
		    TAP_QUEUES_MAX);
	if (o->has_poll_us && o->poll_us > POLL_US_MAX)
		return err_set(e, -EINVAL,
		    "Parameter 'poll-us' expects a number up to %u",
		    POLL_US_MAX);
	return 0;
}

int
tap_options_check(struct netdev *nd, struct err *e)
{
	const struct netdev_tap_options *o = &nd->u.tap;
	int rc = check_together(o, e);

	if (rc == 0)
		rc = check_vhost(o, e);
	if (rc == 0)
		rc = check_numbers(o, e);
	if (rc == 0)
		rc = check_name("ifname", o->ifname, e);
	if (rc == 0 && o->helper)
		rc = check_name("br", o->br, e);
	if (rc == 0)
		rc = check_program("helper", o->helper, e);
	if (rc == 0 && !is_none(o->script))
		rc = check_program("script", o->script, e);
	if (rc == 0 && !is_none(o->downscript))
		rc = check_program("downscript", o->downscript, e);
	return rc;
}

int
bridge_options_check(struct netdev *nd, struct err *e)
{
	const struct netdev_bridge_options *o = &nd->u.bridge;
	int rc = check_name("br", o->br, e);

	return rc == 0 ? check_program("helper", o->helper, e) : rc;
}

/* --- the requests ------------------------------------------------------- */

static struct launch_open *
add(struct resources *r, uint32_t index, enum resource_kind kind, struct err *e)
{
	struct resource *items, *item;

	items = realloc(r->items, (r->count + 1) * sizeof *items);
	if (!items) {
		(void)err_set(e, -ENOMEM, "out of memory");
		return NULL;
	}
	r->items = items;
	item = &items[r->count++];
	memset(item, 0, sizeof *item);
	item->fd = -1;
	item->open.index = index;
	item->open.kind = (uint32_t)kind;
	return &item->open;
}

static int
plan_passed(struct resources *r, const char *list, uint64_t sndbuf,
    bool start_phase, struct err *e)
{
	char *all = strdup(list), *rest = all, *text;
	uint32_t index = 0;
	int rc = all ? 0 : err_set(e, -ENOMEM, "out of memory");

	while (rc == 0 && (text = strsep(&rest, ":"))) {
		struct launch_open *open = add(r, index++, RES_TAP_FD, e);

		if (!open)
			rc = -ENOMEM;
		else
			rc = resource_fd(text, start_phase, open,
			    &r->items[r->count - 1].fd, e);
		if (rc == 0)
			open->sndbuf = sndbuf;
	}
	free(all);
	return rc;
}

static int
plan_bridge_program(struct resources *r, const char *bridge, const char *helper,
    uint64_t sndbuf, struct err *e)
{
	struct launch_open *open = add(r, 0, RES_BRIDGE, e);

	if (!open)
		return -ENOMEM;
	(void)snprintf(open->name, sizeof open->name, "%s",
	    bridge ? bridge : BRIDGE_USUAL);
	(void)snprintf(
	    open->path, sizeof open->path, "%s", helper ? helper : "");
	open->sndbuf = sndbuf;
	return 0;
}

static int
plan_script(struct resources *r, uint32_t index, enum resource_kind kind,
    const char *script, struct err *e)
{
	struct launch_open *open;

	if (is_none(script))
		return 0;
	open = add(r, index, kind, e);
	if (!open)
		return -ENOMEM;
	(void)snprintf(
	    open->path, sizeof open->path, "%s", script ? script : "");
	return 0;
}

static int
plan_made(
    struct resources *r, const struct netdev_tap_options *o, struct err *e)
{
	uint32_t queues = o->has_queues ? o->queues : 1, flags = 0;
	int rc;

	if (queues > 1)
		flags |= LAUNCH_TAP_QUEUES;
	if (o->has_vnet_hdr)
		flags |= o->vnet_hdr ? LAUNCH_TAP_HDR : LAUNCH_TAP_NO_HDR;
	for (uint32_t q = 0; q < queues; q++) {
		struct launch_open *open = add(r, q, RES_TAP, e);

		if (!open)
			return -ENOMEM;
		open->number = flags;
		open->sndbuf = o->has_sndbuf ? o->sndbuf : 0;
		(void)snprintf(open->name, sizeof open->name, "%s",
		    o->ifname ? o->ifname : "");
	}
	rc = plan_script(r, TAP_SCRIPT, RES_SCRIPT, o->script, e);
	return rc < 0 ? rc
		      : plan_script(r, TAP_DOWNSCRIPT, RES_DOWNSCRIPT,
			    o->downscript, e);
}

int
tap_plan(const struct netdev *nd, bool start_phase, struct resources *r,
    struct err *e)
{
	const struct netdev_tap_options *o = &nd->u.tap;
	uint64_t sndbuf = o->has_sndbuf ? o->sndbuf : 0;

	if (nd->type == NET_CLIENT_DRIVER_BRIDGE)
		return plan_bridge_program(
		    r, nd->u.bridge.br, nd->u.bridge.helper, 0, e);
	if (o->fd)
		return plan_passed(r, o->fd, sndbuf, start_phase, e);
	if (o->fds)
		return plan_passed(r, o->fds, sndbuf, start_phase, e);
	if (o->helper)
		return plan_bridge_program(r, o->br, o->helper, sndbuf, e);
	return plan_made(r, o, e);
}
