/*
 * net_option.h - the texts of -netdev and -net become netdevs.
 *
 * A net_list collects the netdevs that one option asks for, in the order in
 * which they are to be added; it owns them. Nothing is added here. Runs in
 * the broker, during start.
 */
#ifndef BROKER_NET_OPTION_H
#define BROKER_NET_OPTION_H

#include "broker/text.h"
#include "gen/types.h"
#include "proto/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest list is the default network's. */
#define NET_LIST_MAX 16u
/* Hubs whose ports -net can name. */
#define NET_HUBS_MAX 64u

struct net_list {
	struct netdev items[NET_LIST_MAX]; /* owned */
	size_t count;
	/* Next number of the generated port names of each hub */
	struct {
		int32_t hubid;
		unsigned next;
	} hubs[NET_HUBS_MAX];
	size_t hub_count;
	unsigned cards; /* made by -nic */
};

/* net_list_clear - free the netdevs; the numbers in names go on. */
void net_list_clear(struct net_list *l);

/*
 * net_option_netdev - "TYPE,id=ID,KEY=VALUE..." or a JSON object. Adds one
 * netdev to the list. -EINVAL with *err in QEMU's words, -ENOMEM.
 */
int net_option_netdev(struct net_list *l, const char *arg, struct err *err);

/*
 * net_option_net - "TYPE[,vlan=N][,id=ID]...": a netdev and a port of hub N
 * into which it is plugged; "nic,netdev=X": only a card, joined to X; nothing
 * for "none". Errors as above.
 */
int net_option_net(struct net_list *l, const char *arg, struct err *err);

/* net_option_asks_models - is it "nic,...,model=help"? */
bool net_option_asks_models(const char *arg);

/* net_option_help - the types of this build, as "-netdev help" lists them. */
void net_option_help(struct text *t);

/*
 * net_option_item - the next item of "a,b=c,,d,e": up to a comma that is not
 * doubled. Returns its start with *len (doubled commas still doubled) and
 * moves *at behind its comma; NULL at the end.
 */
const char *net_option_item(const char **at, size_t *len);

#endif
