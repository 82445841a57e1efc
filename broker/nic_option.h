/*
 * nic_option.h - the text of -nic becomes a netdev and its card.
 *
 * The card is joined to the netdev itself and is on no hub. Fills a net_list
 * (net_option.h), adds nothing. Runs in the broker, during start.
 */
#ifndef BROKER_NIC_OPTION_H
#define BROKER_NIC_OPTION_H

#include "broker/net_option.h"

/*
 * nic_option_parse - "[TYPE][,id=ID][,model=MODEL][,mac=MAC][,KEY=VALUE]...":
 * what is not the card's is the netdev's; nothing for "none". -EINVAL,
 * -ENOSPC, -ENOMEM with *err; the list may hold the netdev then.
 */
int nic_option_parse(struct net_list *l, const char *arg, struct err *err);

/* nic_option_asks_models - is it "help", or has it "model=help"? */
bool nic_option_asks_models(const char *arg);

#endif
