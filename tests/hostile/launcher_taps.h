/*
 * launcher_taps.h - a broker that wants other taps and bridges than policy
 * has in mind.
 */
#ifndef TESTS_HOSTILE_LAUNCHER_TAPS_H
#define TESTS_HOSTILE_LAUNCHER_TAPS_H

#include "tests/hostile/launcher_fakes.h"

/* Names that are another name's by the time the kernel has them. */
#define TAPS_POLICY                                                            \
	"deny bridge br0\nallow bridge *\n"                                    \
	"deny interface abcdefghijklmno\nallow interface abc*\n"               \
	"deny interface bhq0\nallow interface bhq*\n"

static void
tap_error(const char *name, uint32_t kind, int expected)
{
	struct launch_msg msg = open_message(1, 0, kind);

	snprintf(msg.open.name, LAUNCH_NAME, "%s", name);
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == expected);
	/* Nor is it the slot's for a second try. */
	msg.open.again = 1;
	expect_refusal(&msg, "granted");
}

static void
scenario_taps(void)
{
	struct launch_msg msg;

	latch(0);
	tap_error("br0", RES_BRIDGE, -EPERM);
	tap_error("br0:", RES_BRIDGE, -EINVAL);
	tap_error("br0:1", RES_BRIDGE, -EINVAL);
	tap_error("br0/x", RES_BRIDGE, -EINVAL);
	tap_error("sixteen-bytes-xx", RES_BRIDGE, -EINVAL);
	tap_error("abcdefghijklmno", RES_TAP, -EPERM);
	tap_error("abcdefghijklmnop", RES_TAP, -EINVAL);
	tap_error("bhq%d", RES_TAP, -EPERM);
	/* A script for no tap, and again before it was run once. */
	msg = open_message(1, 8, RES_SCRIPT);
	snprintf(msg.open.path, LAUNCH_PATH, "/bin/true");
	expect_refusal(&msg, "allow script /bin/true");
	msg.open.again = 1;
	expect_refusal(&msg, "granted");
	release(1);
}

#endif
