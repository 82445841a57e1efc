/*
 * backend_nic_options.c - what a nic's options say about its card. Pure.
 *
 * Runs in: nic, before the lock. Trusts: nothing of the options' values.
 * Specification: schema/net.json, NetLegacyNicOptions.
 */
#include "backends/backend_nic.h"

#include <errno.h>
#include <string.h>

#include "gen/types.h"

/* RFC 791: every link takes as much. */
#define MTU_LEAST 68u

const char nic_model_usual[] = "virtio-net-pci";

static const char *const models[] = {
    "virtio-net-pci",
    "virtio",
    "virtio-net",
    "virtio-net-device",
    "virtio-net-pci-non-transitional",
    "virtio-net-pci-transitional",
};

static bool
is_offered(const char *model)
{
	size_t i;

	for (i = 0; i < sizeof models / sizeof *models; i++) {
		if (strcmp(model, models[i]) == 0)
			return true;
	}
	return false;
}

static bool
is_on(bool has, bool value)
{
	return !has || value;
}

static void
fill_switches(const struct net_legacy_nic_options *o, struct net_ctrl_config *c)
{
	c->csum = is_on(o->has_csum, o->csum);
	c->guest_csum = is_on(o->has_guest_csum, o->guest_csum);
	c->tso4 = is_on(o->has_host_tso4, o->host_tso4);
	c->tso6 = is_on(o->has_host_tso6, o->host_tso6);
	c->ecn = is_on(o->has_host_ecn, o->host_ecn);
	c->ufo = is_on(o->has_host_ufo, o->host_ufo);
	c->uso = is_on(o->has_host_uso, o->host_uso);
	c->guest_tso4 = is_on(o->has_guest_tso4, o->guest_tso4);
	c->guest_tso6 = is_on(o->has_guest_tso6, o->guest_tso6);
	c->guest_ecn = is_on(o->has_guest_ecn, o->guest_ecn);
	c->guest_ufo = is_on(o->has_guest_ufo, o->guest_ufo);
	c->guest_uso4 = is_on(o->has_guest_uso4, o->guest_uso4);
	c->guest_uso6 = is_on(o->has_guest_uso6, o->guest_uso6);
	c->mrg_rxbuf = is_on(o->has_mrg_rxbuf, o->mrg_rxbuf);
	c->ctrl_vq = is_on(o->has_ctrl_vq, o->ctrl_vq);
	c->packed = is_on(o->has_packed, o->packed);
	c->event_idx = is_on(o->has_event_idx, o->event_idx);
	c->indirect = is_on(o->has_indirect_desc, o->indirect_desc);
}

int
nic_config(const struct net_legacy_nic_options *o, struct net_ctrl_config *c,
    struct err *err)
{
	const char *mac = o->macaddr ? o->macaddr : "52:54:00:12:34:56";

	memset(c, 0, sizeof *c);
	if (o->model && !is_offered(o->model))
		return err_set(err, -EINVAL,
		    "model=%s is not offered: use virtio-net-pci, virtio, "
		    "virtio-net or virtio-net-device",
		    o->model);
	if (mac_parse(mac, &c->mac) < 0)
		return err_set(err, -EINVAL,
		    "macaddr=%s is not an address: six bytes in hexadecimal "
		    "are due, as in 52:54:00:12:34:56",
		    mac);
	if (c->mac >> 40 & 1)
		return err_set(err, -EINVAL,
		    "macaddr=%s is a multicast address: a card's first byte "
		    "is even",
		    mac);
	c->pairs = o->has_queues ? o->queues : 1;
	if (c->pairs < 1 || c->pairs > NET_PAIRS_MAX)
		return err_set(err, -EINVAL,
		    "queues=%u is out of range: 1 to %u", c->pairs,
		    NET_PAIRS_MAX);
	c->mtu = o->has_mtu ? o->mtu : 0;
	if (o->has_mtu && c->mtu < MTU_LEAST)
		return err_set(err, -EINVAL,
		    "mtu=%u is out of range: %u to 65535", c->mtu, MTU_LEAST);
	fill_switches(o, c);
	if (c->pairs > 1 && !c->ctrl_vq)
		return err_set(err, -EINVAL,
		    "queues=%u needs the control queue: leave out ctrl_vq=off",
		    c->pairs);
	return 0;
}
