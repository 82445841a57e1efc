/*
 * graph.h - who is connected to whom: netdevs, hub ports and the hubs that
 * the ports make. A plain value: it can be copied, changed, compared and
 * thrown away; nothing outside it changes when it does.
 *
 * A command is tried on a copy. When the copy refuses it, the broker's own
 * graph is untouched, so a refused command has no effect by construction.
 * Owns its node array. Runs in the broker.
 */
#ifndef BROKER_GRAPH_H
#define BROKER_GRAPH_H

#include "proto/err.h"

#include <stdbool.h>
#include <stdint.h>

/* With its NUL; as in struct launch_spawn. */
#define GRAPH_ID_BYTES 64u
/* Bounds of one broker; a lane for each netdev must fit in LAUNCH_SLOTS. */
#define GRAPH_NETDEVS_MAX  1000u
#define GRAPH_HUBPORTS_MAX 2000u
#define GRAPH_HUBS_MAX     1000u
#define GRAPH_NODES_MAX    (GRAPH_NETDEVS_MAX + GRAPH_HUBPORTS_MAX)
#define GRAPH_NONE         UINT32_MAX

enum node_kind {
	NODE_NETDEV,  /* has a backend process, a port and rings */
	NODE_HUBPORT, /* is only here */
};

/* How far a node's id and its port are in use. */
enum node_life {
	NODE_STARTING,  /* the id is taken; nobody can connect to it yet */
	NODE_ATTACHING, /* its port is in the plans; still not answered */
	NODE_UP,
	NODE_LEAVING, /* the id is taken until its process is gone */
};

struct graph_node {
	char id[GRAPH_ID_BYTES];
	uint32_t port;     /* netdev: number of its port, unique, not 0 */
	uint32_t peer;     /* index of a node, or GRAPH_NONE; symmetric */
	int32_t hubid;     /* hub port: of which hub */
	uint8_t kind;      /* enum node_kind */
	uint8_t life;      /* enum node_life */
	bool link_up;      /* administrative: set_link */
	bool connected;    /* operational: as the backend says */
	bool flow_is_drop; /* hub port: whoever is plugged in is not waited for
			    */
};

/* Nodes in the order of their creation. */
struct graph {
	struct graph_node *nodes; /* owned */
	uint32_t count;
};

void graph_fini(struct graph *g);

/* graph_copy - `to` must be empty or initialised. 0 or -ENOMEM. */
int graph_copy(struct graph *to, const struct graph *from);

bool graph_equal(const struct graph *a, const struct graph *b);

/* Index of the node called `id`, whatever its life, or GRAPH_NONE. */
uint32_t graph_find(const struct graph *g, const char *id);

/* Index of the netdev with port number `port`, or GRAPH_NONE. */
uint32_t graph_find_port(const struct graph *g, uint32_t port);

/*
 * graph_id_check - QEMU's rule for identifiers (a letter, then letters,
 * digits, '-', '.', '_'), and our bound on their length.
 */
int graph_id_check(const char *id, struct err *e);

/*
 * graph_netdev_add - a netdev that is starting, with the port number that
 * will be its own. Errors: -EINVAL the id, -EEXIST the id is in use, -ENOSPC
 * too many netdevs, -ENOMEM.
 */
int graph_netdev_add(
    struct graph *g, const char *id, uint32_t port, struct err *e);

/*
 * graph_netdev_plug - plug a netdev that was just added (a card) into another
 * node. The link counts at once; the plans know it when the netdev is in them.
 * -ENOENT no such node; -EBUSY it has a peer.
 */
int graph_netdev_plug(
    struct graph *g, const char *id, const char *netdev, struct err *e);

/* What a hub port is made from. */
struct graph_hubport {
	const char *id;
	int32_t hubid;
	const char *netdev; /* the node to plug in, or NULL */
	bool flow_is_drop;
};

/*
 * graph_hubport_add - a hub port; makes its hub when it is the first one.
 * Errors: as above; -ENOENT no such netdev=; -EBUSY it has a peer; -ELOOP the
 * link would close a cycle.
 */
int graph_hubport_add(
    struct graph *g, const struct graph_hubport *h, struct err *e);

/*
 * graph_del - take a node out by its id. Its peer stays, without a peer; its
 * hub stays as long as it has ports. -ENODEV (class DeviceNotFound) when
 * there is no such node or it is leaving already.
 */
int graph_del(struct graph *g, const char *id, struct err *e);

/*
 * graph_leave - as graph_del for a netdev, but its id stays taken until
 * graph_del_port().
 */
int graph_leave(struct graph *g, const char *id, struct err *e);

/* graph_del_port - the netdev of that port is gone. It must be there. */
void graph_del_port(struct graph *g, uint32_t port);

/* graph_link_set - the administrative bit. -ENODEV as graph_del. */
int graph_link_set(struct graph *g, const char *id, bool up, struct err *e);

/* Is the hub in use, and how many hubs are there? */
uint32_t graph_hub_count(const struct graph *g);

#endif
