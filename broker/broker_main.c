/*
 * broker_main.c - main() of bulkhead-broker: from stage 2 to the end.
 *
 * Runs in: its own process, unprivileged, with an empty root and no network.
 * Trusts: the launcher. Sees QMP bytes and control messages, never a frame.
 * Specification: DESIGN 1, 3.
 *
 * The life: confine, make the loop and everything that lives as long as the
 * process, lock, tell the launcher, take the command line, serve.
 */
#include "broker/cmdline.h"
#include "broker/core_state.h"
#include "broker/session.h"
#include "proto/launch.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "sandbox/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define LOW32 0xffffffffu

/* What the broker calls beside confine_base. No descriptor can be mapped:
 * the base list has anonymous memory only, so no ring is ever in reach. */
static const struct sysrule broker_rules[] = {
    SYS(accept4, "broker/session.c: QMP clients"),
    SYS_IF(fcntl, "proto/chan.c: a descriptor waits with its message",
	{1, ARG_EQ, LOW32, F_DUPFD_CLOEXEC}),
    SYS_IF(fcntl, "broker/fdset.c: what a descriptor is open for",
	{1, ARG_EQ, LOW32, F_GETFL}),
    SYS_IF(setsockopt, "proto/chan.c: refuse descriptors on a channel",
	{1, ARG_EQ, LOW32, SOL_SOCKET}, {2, ARG_EQ, LOW32, 83}),
    SYS_IF(setsockopt, "proto/sys.c: close what clients passed, at once",
	{1, ARG_EQ, LOW32, SOL_SOCKET}, {2, ARG_EQ, LOW32, SO_LINGER}),
};

static const struct syslist broker_list = {
    "broker", broker_rules, sizeof broker_rules / sizeof *broker_rules};

int
main(int argc, char **argv)
{
	struct loop *loop;
	struct core *core;

	confine_begin("broker");
	/* Hash seeds come from the kernel while it can still be asked. */
	json_object_seed(0);
	loop = loop_new();
	if (!loop)
		confine_fail(STAGE_SETUP, ENOMEM, "no event loop");
	session_init(loop);
	core = core_new(loop, FD_LAUNCHER);
	if (!core)
		confine_fail(STAGE_SETUP, ENOMEM, "out of memory");
	confine_lock(&broker_list);
	confine_ready();
	core_begin(core);
	cmdline_run(core, loop, argc, argv);
	return loop_run(loop);
}
