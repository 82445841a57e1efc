/*
 * filter_state.h - a nic's receive filter as it travels (RxFilterState of
 * schema/control.json) and as it is used (proto/rx_filter.h). For the broker
 * and for lanes, which link nothing of each other.
 */
#ifndef BROKER_FILTER_STATE_H
#define BROKER_FILTER_STATE_H

#include "gen/types.h"
#include "proto/rx_filter.h"

#include <errno.h>
#include <string.h>

#define FILTER_MAC_BITS 48
#define FILTER_WORDS    (RX_FILTER_VIDS / 64)

/* `out` borrows the arrays of *f, which it does not change. */
static inline void
filter_state_from(struct rx_filter_state *out, const struct rx_filter *f)
{
	uint64_t *table = (uint64_t *)(uintptr_t)f->table;

	*out = (struct rx_filter_state){
	    .known = f->known,
	    .promiscuous = f->promisc,
	    .all_multicast = f->allmulti,
	    .all_unicast = f->alluni,
	    .no_multicast = f->nomulti,
	    .no_unicast = f->nouni,
	    .no_broadcast = f->nobcast,
	    .unicast_overflow = f->uni_overflow,
	    .multicast_overflow = f->multi_overflow,
	    .vlan_filter = f->vlan_filter,
	    .mac = f->mac,
	    .unicast = {f->uni_count, table},
	    .multicast = {f->multi_count, table + f->uni_count},
	    .vlans = {FILTER_WORDS, (uint64_t *)(uintptr_t)f->vlan},
	};
}

static inline bool
filter_macs_fit(const uint64_t *macs, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (macs[i] >> FILTER_MAC_BITS != 0)
			return false;
	return true;
}

/* What a nic's process says of its guest: 0, or -EPROTO and *f untouched. */
static inline int
filter_state_to(struct rx_filter *f, const struct rx_filter_state *s)
{
	size_t uni = s->unicast.count, multi = s->multicast.count;

	if (uni > RX_FILTER_MACS || multi > RX_FILTER_MACS - uni ||
	    s->vlans.count != FILTER_WORDS || s->mac >> FILTER_MAC_BITS != 0 ||
	    !filter_macs_fit(s->unicast.items, uni) ||
	    !filter_macs_fit(s->multicast.items, multi))
		return -EPROTO;
	*f = (struct rx_filter){
	    .known = s->known,
	    .promisc = s->promiscuous,
	    .allmulti = s->all_multicast,
	    .alluni = s->all_unicast,
	    .nomulti = s->no_multicast,
	    .nouni = s->no_unicast,
	    .nobcast = s->no_broadcast,
	    .uni_overflow = s->unicast_overflow,
	    .multi_overflow = s->multicast_overflow,
	    .vlan_filter = s->vlan_filter,
	    .mac = s->mac,
	    .uni_count = (uint32_t)uni,
	    .multi_count = (uint32_t)multi,
	};
	if (uni > 0)
		memcpy(f->table, s->unicast.items, uni * sizeof *f->table);
	if (multi > 0)
		memcpy(f->table + uni, s->multicast.items,
		    multi * sizeof *f->table);
	memcpy(f->vlan, s->vlans.items, sizeof f->vlan);
	return 0;
}

#endif
