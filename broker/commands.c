/*
 * commands.c - the QMP commands that change netdevs.
 *
 * Runs in: the broker. Trusts: the visitor has checked the arguments against
 * the schema; their values are judged by core.c and the graph.
 * Specification: schema/net.json, schema/bulkhead.json; reference netdevs.md
 * 2 for QEMU's texts.
 */
#include "gen/commands.h"
#include "broker/core_state.h"
#include "broker/qmp.h"
#include "broker/settle.h"

#include <errno.h>

static void
settled(void *self)
{
	call_return(self, NULL, NULL);
}

void
command_answered(void *self, const struct err *e)
{
	if (e)
		call_fail(self, e);
	else
		core_settle(core_get(), settled, self);
}

void
cmd_netdev_add(struct call *call, const struct netdev *args)
{
	core_netdev_add(core_get(), args, command_answered, call);
}

void
cmd_netdev_del(struct call *call, const struct netdev_del_args *args)
{
	core_netdev_del(core_get(), args->id, command_answered, call);
}

void
cmd_set_link(struct call *call, const struct set_link_args *args)
{
	struct err e;
	int rc = core_set_link(core_get(), args->name, args->up, &e);

	command_answered(call, rc < 0 ? &e : NULL);
}

static int
resume(struct core *c, const char *id, struct err *e)
{
	uint32_t i = graph_find(&c->graph, id);
	struct life *nd = netdev_by_id(&c->netdevs, id);

	if (i == GRAPH_NONE || c->graph.nodes[i].life == NODE_LEAVING)
		return err_class_set(e, -ENODEV, ERR_DEVICE_NOT_FOUND,
		    "Device '%s' not found", id);
	if (!nd)
		return err_set(
		    e, -EINVAL, "'%s' is a hub port: it has no backend", id);
	if (!life_may(nd, EV_RESUME))
		return err_set(
		    e, -EINVAL, "the backend of '%s' is not in quarantine", id);
	netdev_resume(nd);
	return 0;
}

void
cmd_backend_resume(struct call *call, const struct backend_resume_args *args)
{
	struct err e;
	int rc = resume(core_get(), args->id, &e);

	command_answered(call, rc < 0 ? &e : NULL);
}
