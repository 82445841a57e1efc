/*
 * core.c - commands change the graph, the graph drives netdevs and lanes.
 *
 * Runs in: the broker. Trusts: the visitors for the types of arguments; every
 * value in them may come from a QMP client.
 * Specification: DESIGN 4 and 7, reference netdevs.md 2 to 4.
 *
 * A command works on a copy of the graph. When the copy and its plan stand,
 * they replace the old ones in one step; a refusal leaves no trace.
 */
#include "broker/core_state.h"

#include "broker/events.h"
#include "broker/launch_client.h"
#include "broker/nic.h"
#include "broker/plan.h"
#include "broker/ports.h"
#include "broker/session.h"
#include "proto/addr.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* For backends to finish what they have when everything ends. */
#define QUIT_DUE_NS UINT64_C(2500000000)

static struct core *the_core;

struct core *
core_get(void)
{
	return the_core;
}

/*
 * What the guests of cards see of their links, which follows from the graph.
 * To be called whenever that has changed.
 */
static void
tell_links(struct core *c)
{
	const struct graph *g = &c->graph;

	for (uint32_t i = 0; i < g->count; i++) {
		const struct graph_node *n = &g->nodes[i];
		struct life *nd;

		if (n->kind != NODE_NETDEV)
			continue;
		nd = c->islands->ports[n->port]->self;
		if (nd->nic)
			nic_link(nd->nic, n->link_up && n->peer != GRAPH_NONE &&
					      g->nodes[n->peer].link_up);
	}
}

/*
 * Make `next` the graph, when its plan can be carried out. Takes what is in
 * *next in every case. 0 or -errno with *e.
 */
static int
commit(struct core *c, struct graph *next, struct err *e)
{
	struct plan plan = {0};
	int rc = plan_compile(next, &plan);

	if (rc < 0)
		(void)err_set(e, rc, "out of memory");
	else
		rc = islands_apply(c->islands, &plan, e);
	if (rc == 0) {
		struct graph old = c->graph;

		c->graph = *next;
		*next = old;
		tell_links(c);
	}
	plan_fini(&plan);
	graph_fini(next);
	return rc;
}

static int
copy_graph(struct core *c, struct graph *next, struct err *e)
{
	int rc = graph_copy(next, &c->graph);

	return rc < 0 ? err_set(e, rc, "out of memory") : 0;
}

/* --- what netdevs tell --- */

static int
netdev_attaching(void *self, struct life *nd, struct err *e)
{
	struct core *c = self;
	struct graph next = {0};
	int rc = copy_graph(c, &next, e);

	if (rc < 0)
		return rc;
	next.nodes[graph_find_port(&next, nd->slot)].life = NODE_ATTACHING;
	return commit(c, &next, e);
}

static void
netdev_up(void *self, struct life *nd)
{
	struct core *c = self;
	uint32_t i = graph_find_port(&c->graph, nd->slot);

	c->graph.nodes[i].life = NODE_UP;
}

/*
 * Out of the plans again. Memory for the new plan may lack: then the node
 * leaves the graph and the lane keeps a plan that names a port without
 * process, which the next command's plan ends.
 */
static void
netdev_failed(void *self, struct life *nd)
{
	struct core *c = self;
	struct graph next = {0};
	struct err e;

	if (c->graph.nodes[graph_find_port(&c->graph, nd->slot)].life ==
	    NODE_LEAVING)
		return;
	if (copy_graph(c, &next, &e) == 0) {
		(void)graph_leave(&next, nd->options.id, &e);
		if (commit(c, &next, &e) == 0)
			return;
	}
	(void)graph_leave(&c->graph, nd->options.id, &e);
	tell_links(c);
}

static void
netdev_connected(void *self, struct life *nd, bool connected)
{
	struct core *c = self;
	uint32_t i = graph_find_port(&c->graph, nd->slot);

	c->graph.nodes[i].connected = connected;
}

static void
say_quit(struct core *c)
{
	struct launch_msg m = {.type = LAUNCH_QUIT};

	timer_stop(c->quit_due);
	m.result.code = c->quit_code;
	launch_tell(c->launch, &m);
}

/* A card that has been of use and was not ended with everything else. */
static void
tell_deleted(const struct core *c, const struct life *nd)
{
	char path[NIC_PATH_BYTES];
	struct device_deleted_data d = {.device = nd->options.id};

	if (!nd->nic || !nd->served || c->quitting)
		return;
	d.path = (char *)(uintptr_t)nic_path(nd->options.id, "", path);
	event_emit(EVENT_DEVICE_DELETED, &d);
}

static void
netdev_gone(void *self, struct life *nd)
{
	struct core *c = self;

	tell_deleted(c, nd);
	graph_del_port(&c->graph, nd->slot);
	if (c->quitting && timer_pending(c->quit_due) &&
	    TAILQ_NEXT(TAILQ_FIRST(&c->netdevs.list), entry) == NULL)
		say_quit(c);
}

static const struct netdevs_ops netdevs_ops = {
    .attaching = netdev_attaching,
    .up = netdev_up,
    .failed = netdev_failed,
    .connected = netdev_connected,
    .gone = netdev_gone,
};

/* --- what lanes tell --- */

static void
lane_exited(void *self, const struct island *i, const struct launch_result *r,
    uint64_t wait_ns)
{
	char name[ISLAND_NAME_BYTES], cause[LIFE_TEXT_BYTES];
	char words[LIFE_TEXT_BYTES], role[] = "lane";
	uint64_t ran_ns = sys_mono_ns() - i->since_ns;
	struct backend_exited_data d = {.id = name,
	    .role = role,
	    .epoch = i->epoch,
	    .cause = cause,
	    .ran_ms = ran_ns / 1000000,
	    .has_restart_ms = true,
	    .restart_ms = wait_ns / 1000000};

	(void)self;
	(void)island_name(i, name);
	(void)news_cause(r, i->fault ? i->fault : "", cause);
	text_clean(words, sizeof words, r->text);
	if (words[0] != '\0')
		d.words = words;
	log_event(LOG_WARN, "lane.exit",
	    "id=%s epoch=%u cause=%s ran_ms=%llu restart_ms=%llu words=%s",
	    name, i->epoch, log_quote(cause), (unsigned long long)d.ran_ms,
	    (unsigned long long)d.restart_ms, log_quote(words));
	event_emit(EVENT_BACKEND_EXITED, &d);
}

static void
lane_restarted(void *self, const struct island *i, uint64_t outage_ns)
{
	char name[ISLAND_NAME_BYTES];
	struct backend_restarted_data d = {
	    .id = name, .epoch = i->epoch, .outage_us = outage_ns / 1000};

	(void)self;
	(void)island_name(i, name);
	log_event(LOG_INFO, "lane.restart", "id=%s epoch=%u outage_us=%llu",
	    name, i->epoch, (unsigned long long)d.outage_us);
	event_emit(EVENT_BACKEND_RESTARTED, &d);
}

static const struct islands_ops islands_ops = {lane_exited, lane_restarted};

/* --- what the launcher tells --- */

static void
got_listener(void *self, int fd, const char *name)
{
	struct core *c = self;

	c->listeners_due--;
	qmp_listener(fd, name);
	core_latch_look(c);
}

static void
got_signal(void *self, int signo)
{
	const struct shutdown_data d = {.reason = SHUTDOWN_CAUSE_HOST_SIGNAL};
	struct core *c = self;

	if (c->quitting)
		return;
	log_event(LOG_INFO, "broker.signal", "signal=%d", signo);
	event_emit(EVENT_SHUTDOWN, &d);
	session_shutdown();
	core_quit(c, 0, "host-signal");
}

static void
launcher_lost(void *self, int reason)
{
	struct core *c = self;

	if (reason != 0)
		log_event(LOG_ERROR, "launcher.lost", "reason=%d", -reason);
	loop_stop(c->loop, c->quitting ? c->quit_code : 1);
}

static const struct launch_ops launch_ops = {
    got_listener, got_signal, launcher_lost};

static void
self_attested(void *self, const struct launch_result *r)
{
	struct core *c = self;

	c->process = *r;
}

static void
self_exited(void *self, const struct launch_result *r)
{
	(void)self;
	(void)r;
}

static const struct slot_ops self_ops = {self_attested, self_exited};

/* --- netdevs and hub ports --- */

static int
add_hubport(struct core *c, const struct netdev *nd, struct err *e)
{
	const struct netdev_hub_port_options *o = &nd->u.hubport;
	const struct graph_hubport h = {.id = nd->id,
	    .hubid = o->hubid,
	    .netdev = o->netdev,
	    .flow_is_drop = o->has_flow && o->flow == HUB_FLOW_DROP};
	struct graph next = {0};
	int rc;

	if (nd->has_ring_size)
		return err_set(e, -EINVAL,
		    "ring-size= means nothing for a hub port: it has no ring");
	rc = copy_graph(c, &next, e);
	if (rc < 0)
		return rc;
	rc = graph_hubport_add(&next, &h, e);
	if (rc < 0) {
		graph_fini(&next);
		return rc;
	}
	return commit(c, &next, e);
}

/* The new record, not started yet; NULL with *e. */
static struct life *
add_netdev(struct core *c, const struct netdev *options, struct err *e)
{
	struct graph next = {0};
	struct life *nd;
	int rc;

	if (graph_find(&c->graph, options->id) != GRAPH_NONE) {
		(void)err_set(e, -EEXIST, "Duplicate ID '%s'", options->id);
		return NULL;
	}
	nd = netdev_new(&c->netdevs, options, e);
	if (!nd)
		return NULL;
	rc = copy_graph(c, &next, e);
	if (rc == 0)
		rc = graph_netdev_add(&next, options->id, nd->slot, e);
	if (rc == 0 && nd->nic && options->u.nic.netdev)
		rc = graph_netdev_plug(
		    &next, options->id, options->u.nic.netdev, e);
	if (rc < 0) {
		graph_fini(&next);
		netdev_discard(nd);
		return NULL;
	}
	/* A netdev that is starting is in no plan: nothing to compile. */
	graph_fini(&c->graph);
	c->graph = next;
	tell_links(c);
	return nd;
}

void
core_netdev_add(
    struct core *c, const struct netdev *options, core_done done, void *self)
{
	struct life *nd = NULL;
	struct err e = {0};
	int rc;

	if (c->quitting)
		rc = err_set(&e, -ESHUTDOWN, "the daemon is ending");
	else
		rc = graph_id_check(options->id, &e);
	if (rc == 0 && options->type == NET_CLIENT_DRIVER_HUBPORT)
		rc = add_hubport(c, options, &e);
	else if (rc == 0)
		rc = netdev_type_check(options->type, &e);
	if (rc == 0 && options->type != NET_CLIENT_DRIVER_HUBPORT) {
		nd = add_netdev(c, options, &e);
		rc = nd ? 0 : -EINVAL;
	}
	if (nd)
		netdev_start(nd, done, self);
	else
		done(self, rc < 0 ? &e : NULL);
}

/* Out of the graph: a hub port is then gone, a netdev is leaving. */
static int
del_node(struct core *c, const char *id, bool *is_hubport, struct err *e)
{
	uint32_t i = graph_find(&c->graph, id);
	struct graph next = {0};
	int rc = copy_graph(c, &next, e);

	if (rc < 0)
		return rc;
	*is_hubport = i != GRAPH_NONE && next.nodes[i].kind == NODE_HUBPORT;
	rc = *is_hubport ? graph_del(&next, id, e) : graph_leave(&next, id, e);
	if (rc < 0) {
		graph_fini(&next);
		return rc;
	}
	return commit(c, &next, e);
}

void
core_netdev_del(struct core *c, const char *id, core_done done, void *self)
{
	bool is_hubport = false;
	struct err e = {0};
	struct life *nd;

	if (del_node(c, id, &is_hubport, &e) < 0) {
		done(self, &e);
		return;
	}
	if (is_hubport) {
		done(self, NULL);
		return;
	}
	nd = netdev_by_id(&c->netdevs, id);
	BUG_ON(!nd);
	netdev_del(nd, done, self);
}

int
core_device_del(struct core *c, const char *id, struct err *e)
{
	struct life *nd = netdev_by_id(&c->netdevs, id);
	bool is_hubport;
	int rc;

	if (!nd || !nd->nic)
		return err_class_set(e, -ENODEV, ERR_DEVICE_NOT_FOUND,
		    "Device '%s' not found", id);
	rc = del_node(c, id, &is_hubport, e);
	if (rc == 0)
		netdev_del(nd, NULL, NULL);
	return rc;
}

int
core_set_link(struct core *c, const char *name, bool up, struct err *e)
{
	struct graph next = {0};
	int rc = copy_graph(c, &next, e);

	if (rc < 0)
		return rc;
	rc = graph_link_set(&next, name, up, e);
	if (rc < 0) {
		graph_fini(&next);
		return rc;
	}
	return commit(c, &next, e);
}

/* --- the end, and the beginning --- */

static void
quit_late(void *self)
{
	say_quit(self);
}

/* Have every netdev end in order; a start that failed has nothing to keep. */
void
core_quit(struct core *c, int code, const char *reason)
{
	struct life *nd, *next;
	struct err e;

	if (c->quitting)
		return;
	/* A start that failed has said why, in one line. */
	log_event(code == 0 ? LOG_INFO : LOG_DEBUG, "broker.quit",
	    "code=%d reason=%s", code, log_quote(reason ? reason : ""));
	c->quitting = true;
	c->quit_code = code;
	islands_stop(c->islands);
	if (code != 0 || TAILQ_EMPTY(&c->netdevs.list)) {
		say_quit(c);
		return;
	}
	timer_set_ns(c->quit_due, QUIT_DUE_NS);
	for (nd = TAILQ_FIRST(&c->netdevs.list); nd; nd = next) {
		bool is_hubport;

		next = TAILQ_NEXT(nd, entry);
		if (del_node(c, nd->options.id, &is_hubport, &e) == 0)
			netdev_del(nd, NULL, NULL);
	}
}

static int
init(struct core *c, int launcher_fd)
{
	c->launch = launch_client_new(c->loop, launcher_fd, &launch_ops, c);
	if (!c->launch)
		return -ENOMEM;
	slot_own(c->launch, 0, &self_ops, c);
	c->islands = islands_new(c->loop, c->launch, &islands_ops, c);
	c->quit_due = timer_new(c->loop, quit_late, c);
	if (!c->islands || !c->quit_due || query_init(c) < 0)
		return -ENOMEM;
	TAILQ_INIT(&c->netdevs.list);
	lookups_init(&c->netdevs.lookups, c->loop, c->launch);
	chardevs_init(&c->chardevs, c->loop, c->launch);
	c->netdevs.chardevs = &c->chardevs;
	c->netdevs.loop = c->loop;
	c->netdevs.launch = c->launch;
	c->netdevs.islands = c->islands;
	c->netdevs.ops = &netdevs_ops;
	c->netdevs.self = c;
	c->netdevs.start_phase = true;
	return 0;
}

struct core *
core_new(struct loop *l, int launcher_fd)
{
	struct core *c = calloc(1, sizeof *c);

	if (!c) {
		fd_close(&launcher_fd);
		return NULL;
	}
	c->loop = l;
	c->since_ns = sys_mono_ns();
	TAILQ_INIT(&c->netdevs.list);
	TAILQ_INIT(&c->chardevs.list);
	TAILQ_INIT(&c->netdevs.lookups.list);
	if (init(c, launcher_fd) < 0) {
		core_free(c);
		return NULL;
	}
	the_core = c;
	return c;
}

void
core_dirs(struct core *c, const char *run_dir, const char *start_dir)
{
	c->netdevs.run_dir = run_dir;
	c->netdevs.start_dir = start_dir;
}

void
core_begin(struct core *c)
{
	islands_start(c->islands);
}

void
core_free(struct core *c)
{
	if (!c)
		return;
	netdevs_fini(&c->netdevs);
	lookups_fini(&c->netdevs.lookups);
	chardevs_fini(&c->chardevs);
	query_fini(c);
	islands_free(c->islands);
	timer_free(c->quit_due);
	launch_client_free(c->launch);
	graph_fini(&c->graph);
	if (the_core == c)
		the_core = NULL;
	free(c);
}
