/*
 * lane_main.c - the life of a lane.
 *
 * Runs in: bulkhead-lane, one process per island of the graph.
 * Trusts: the broker. Ports and frames are hostile. Descriptors: 3 launcher
 * (its end means exit), 4 control (its end means that the broker is being
 * replaced: carry on); ports come by message.
 * Specification: DESIGN 1, 3, 4, 7.
 */
#include "broker/lane_control.h"

#include "proto/launch.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "sandbox/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define LOW32 0xffffffffu

/* What a lane calls beside the common list. */
static const struct sysrule rules[] = {
    SYS(sched_yield, "polling while frames come fast (lane.c)"),
    SYS_IF(mmap, "P and L of a port that is attached; never executable",
	{2, ARG_CLEAR, PROT_EXEC, 0}, {3, ARG_EQ, LOW32, MAP_SHARED}),
    SYS_IF(mmap, "malloc; anonymous, never executable",
	{2, ARG_CLEAR, PROT_EXEC, 0},
	{3, ARG_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS}),
    SYS_IF(fcntl, "is the memory sealed against shrinking?",
	{1, ARG_EQ, LOW32, F_GET_SEALS}),
    SYS_IF(newfstatat, "fstat: has the memory its size?",
	{3, ARG_EQ, LOW32, AT_EMPTY_PATH}),
    SYS(fstat, "the same, as other libcs call it"),
    SYS(pwritev, "frames into the arena (lane_arena.c)"),
    SYS_IF(fallocate, "what nobody reads any more out of it",
	{1, ARG_EQ, LOW32, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE}),
};

static const struct syslist list = {
    .role = "lane",
    .rules = rules,
    .count = sizeof rules / sizeof *rules,
};

static void
launcher_readable(void *self, unsigned events)
{
	(void)events;
	loop_stop(self, 0);
}

int
main(void)
{
	struct lane_process lp;
	struct watch *launcher;
	struct loop *loop;
	int rc;

	confine_begin("lane");
	loop = loop_new();
	if (loop == NULL)
		confine_fail(STAGE_SETUP, ENOMEM, "no loop");
	rc = lane_process_init(&lp, loop, FD_CONTROL);
	if (rc < 0)
		confine_fail(STAGE_SETUP, -rc, "no room for a lane");
	launcher = watch_new(
	    loop, confine_watch_fd(), WATCH_READ, launcher_readable, loop);
	if (launcher == NULL)
		confine_fail(STAGE_SETUP, ENOMEM, "no watch");
	lane_process_hello(&lp);
	confine_lock(&list);
	confine_ready();
	rc = loop_run(loop);
	watch_free(launcher);
	lane_process_fini(&lp);
	loop_free(loop);
	return rc;
}
