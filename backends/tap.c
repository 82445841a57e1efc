/*
 * tap.c - a tap interface of the host.
 *
 * Runs in: its own process. The tap comes from the launcher, whoever made it.
 * Trusts: the broker. Frames are hostile (backend_tap.c).
 * Specification: netdevs.md section 8; options as QEMU's `-netdev tap`.
 */
#include "backends/backend_tap.h"

#include <errno.h>

#include "gen/types.h"

static const char *
script(const char *given, const char *usual)
{
	return given ? (given[0] ? given : "no") : usual;
}

static int
tap_type_open(
    void *self, struct backend *be, const void *options, struct err *err)
{
	const struct netdev_tap_options *o = options;
	struct tap *t = self;
	int rc = tap_open(t, be, o->has_poll_us ? o->poll_us : 0, err);

	if (rc < 0)
		return rc;
	t->remade = !o->fd && !o->fds;
	/* As QEMU has it, but that the interface's name is always told. */
	if (o->helper)
		backend_info(be, "helper=%s,ifname=%s", o->helper, t->name);
	else if (o->fd || o->fds)
		backend_info(
		    be, "fd=%s,ifname=%s", o->fd ? o->fd : o->fds, t->name);
	else
		backend_info(be, "ifname=%s,script=%s,downscript=%s", t->name,
		    script(o->script, "/etc/qemu-ifup"),
		    script(o->downscript, "/etc/qemu-ifdown"));
	if (o->has_vnet_hdr && o->vnet_hdr && !t->header)
		return err_set(err, -EOPNOTSUPP,
		    "vnet_hdr=1 requested, but the tap has no IFF_VNET_HDR");
	return 0;
}

static const struct sysrule tap_rules[] = {TAP_SYSCALLS};

const struct backend_type backend_type = {
    .name = "tap",
    .self_bytes = sizeof(struct tap),
    .open = tap_type_open,
    .start = tap_start,
    .frames = tap_frames,
    .room = tap_room,
    .close = tap_close,
    .syscalls = {"tap", tap_rules, sizeof tap_rules / sizeof *tap_rules},
};
