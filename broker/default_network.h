/*
 * default_network.h - the network of a daemon that was asked for none.
 *
 * Hub 0 with user-mode networking, two ports for VMs and a capture. Runs in
 * the broker, during start.
 */
#ifndef BROKER_DEFAULT_NETWORK_H
#define BROKER_DEFAULT_NETWORK_H

#include "broker/net_option.h"
#include "broker/text.h"

/* default_network - its netdevs, with sockets and capture in `run_dir`. */
int default_network(struct net_list *l, const char *run_dir, struct err *err);

/*
 * default_network_tell - what to type now.
 *   qmp  the monitor's path, or NULL when the operator chose their own
 */
void default_network_tell(struct text *t, const char *run_dir, const char *qmp);

#endif
