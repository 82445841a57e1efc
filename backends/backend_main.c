/*
 * backend_main.c - main() of every backend program.
 *
 * Runs in: its own process, from stage 2 on.
 * Trusts: the launcher, and the broker's configure message once decoded.
 *
 * The life: confine, say hello, take the options, map the rings, let the type
 * open what it needs, lock, tell the launcher and the broker, run. End of file
 * on the launcher's channel is the order to exit at any time; on the broker's
 * it is none.
 */
#include "backends/backend_state.h"

#include "proto/desc.h"
#include "proto/log.h"
#include "proto/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gen/backends.h"
#include "gen/schema.h"

/* What the shared code calls after the lock, beside confine_base. */
static const struct sysrule shared_rules[] = {
    SYS(sched_yield, "frames come quickly: look at the ring again first"),
    /* These lines stand in for the base's (confine_base). */
    SYS_IF(mmap, "malloc, buffers; anonymous, not executable",
	{2, ARG_CLEAR, PROT_EXEC, 0},
	{3, ARG_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS}),
    SYS_IF(mmap, "a crossover's memories; not executable",
	{2, ARG_CLEAR, PROT_EXEC, 0}, {3, ARG_EQ, MAP_TYPE, MAP_SHARED}),
};

#define RULES_MAX 96u

/* The broker's own deadline is the same (control.json, configure). */
#define CONFIGURE_NS UINT64_C(10000000000)

static struct backend backend;

/* Descriptors at the fixed numbers are resources; look before we open any. */
static void
find_resources(struct backend *be)
{
	int i, fd;

	for (i = 0; i < (int)LAUNCH_RESOURCES; i++) {
		fd = FD_RESOURCE + i;
		be->resource[i] = -1;
		/* Permissions and directories have a bit and no descriptor. */
		if (confine_resources() >> i & 1 && fcntl(fd, F_GETFD) >= 0)
			be->resource[i] = fd;
	}
}

static void
launcher_readable(void *self, unsigned events)
{
	struct backend *be = self;

	(void)events;
	/* It never sends to us: this is the end of the file. */
	if (be->ready && be->type->close)
		be->type->close(be->self);
	backend_end(0, NULL);
}

static void
deadline_expired(void *self)
{
	(void)self;
	confine_fail(STAGE_SETUP, ETIMEDOUT, "the broker sent no options");
}

/* Tell both, and leave. */
_Noreturn static void
refuse(struct backend *be, enum confine_stage stage, int rc, struct err *err)
{
	backend_control_ready(be, err->text);
	confine_fail(stage, -rc, err->text);
}

static void
greet(struct backend *be)
{
	be->loop = loop_new();
	if (!be->loop)
		confine_fail(STAGE_SETUP, ENOMEM, "no event loop");
	be->launcher = watch_new(
	    be->loop, confine_watch_fd(), WATCH_READ, launcher_readable, be);
	be->deadline = timer_new(be->loop, deadline_expired, be);
	if (!be->launcher || !be->deadline)
		confine_fail(STAGE_SETUP, ENOMEM, "out of memory");
	if (backend_control_open(be, FD_CONTROL, schema_hash) < 0)
		confine_fail(STAGE_SETUP, EPIPE, "no control channel");
	timer_set_ns(be->deadline, CONFIGURE_NS);
	if (loop_run(be->loop) != 0 || !be->configured)
		confine_fail(STAGE_SETUP, EPIPE, "the broker went away");
	timer_free(ptr_take(be->deadline));
}

/* The options in the union branch of our own type, or NULL. */
static const void *
find_options(const struct backend *be)
{
	size_t i;

	for (i = 0; i < backend_entry_count; i++) {
		if (strcmp(backend_entries[i].type, be->type->name) == 0 &&
		    backend_entries[i].driver == be->netdev.type)
			return &be->netdev.u;
	}
	return NULL;
}

static void
set_up(struct backend *be)
{
	struct err err = {.class = ERR_GENERIC};
	const void *options = find_options(be);
	int rc;

	if (!options) {
		rc = err_set(&err, -EPROTO, "this program is not of that type");
		refuse(be, STAGE_SETUP, rc, &err);
	}
	rc = backend_rings_open(
	    be, FD_PORT_OWN, FD_PORT_PEER, FD_PORT_BELL, &err);
	if (rc < 0)
		refuse(be, STAGE_SETUP, rc, &err);
	be->self = calloc(1, be->type->self_bytes ? be->type->self_bytes : 1);
	if (!be->self)
		confine_fail(STAGE_SETUP, ENOMEM, "out of memory");
	rc = be->type->open(be->self, be, options, &err);
	if (rc < 0)
		refuse(be, STAGE_SETUP, rc, &err);
}

static void
lock(const struct backend_type *type)
{
	static struct sysrule rules[RULES_MAX];
	const size_t shared = sizeof shared_rules / sizeof shared_rules[0];
	struct syslist list = {type->name, rules, 0};

	BUG_ON(shared + type->syscalls.count > RULES_MAX);
	memcpy(rules, shared_rules, sizeof shared_rules);
	memcpy(rules + shared, type->syscalls.rules,
	    type->syscalls.count * sizeof rules[0]);
	list.count = shared + type->syscalls.count;
	confine_lock(&list);
}

int
main(void)
{
	struct backend *be = &backend;
	struct err err = {.class = ERR_GENERIC};
	int rc;

	confine_begin(backend_type.name);
	be->type = &backend_type;
	be->lane.bell = be->cross.rail.bell = -1;
	find_resources(be);
	greet(be);
	set_up(be);
	lock(&backend_type);
	confine_ready();
	rc = be->type->start ? be->type->start(be->self, &err) : 0;
	if (rc < 0)
		refuse(be, STAGE_RUN, rc, &err);
	backend_control_ready(be, NULL);
	backend_rings_start(be);
	rc = loop_run(be->loop);
	if (be->type->close)
		be->type->close(be->self);
	backend_end(rc, "loop ended");
}
