/*
 * bridge.c - a port of a bridge of the host: a tap that a helper made.
 *
 * Runs in: its own process. The tap comes from the launcher, which ran the
 * helper.
 * Trusts: the broker. Frames are hostile (backend_tap.c).
 * Specification: netdevs.md 8.5; options as QEMU's `-netdev bridge`.
 */
#include "backends/backend_tap.h"

#include "gen/types.h"

static int
bridge_open(
    void *self, struct backend *be, const void *options, struct err *err)
{
	const struct netdev_bridge_options *o = options;
	struct tap *t = self;
	int rc = tap_open(t, be, 0, err);

	t->remade = true;
	if (rc == 0)
		backend_info(be, "helper=%s,br=%s,ifname=%s",
		    o->helper ? o->helper : "default", o->br ? o->br : "br0",
		    t->name);
	return rc;
}

static const struct sysrule bridge_rules[] = {TAP_SYSCALLS};

const struct backend_type backend_type = {
    .name = "bridge",
    .self_bytes = sizeof(struct tap),
    .open = bridge_open,
    .start = tap_start,
    .frames = tap_frames,
    .room = tap_room,
    .close = tap_close,
    .syscalls = {"bridge", bridge_rules,
	sizeof bridge_rules / sizeof *bridge_rules},
};
