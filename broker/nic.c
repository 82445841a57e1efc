/*
 * nic.c - the broker's side of a guest's network card.
 *
 * Runs in: the broker. Trusts: nobody. Options come from QMP clients; what a
 * card's process says is the word of its guest, and is checked for form and
 * for frequency.
 * Specification: schema/net.json, schema/control.json; reference netdevs.md
 * 6.3 and 6.4 (options and addresses), virtio-net-control.md 4 (filter).
 */
#include "broker/nic.h"

#include "broker/events.h"
#include "broker/filter_state.h"
#include "broker/netdev.h"
#include "broker/ports.h"
#include "proto/log.h"
#include "proto/loop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reports in one second that are taken at once; then one each TAKEN_NS. More
 * than REPORTS_MAX can only come from a process that does not wait. */
#define REPORTS_QUICK 100u
#define REPORTS_MAX   400u
#define TAKEN_NS      UINT64_C(10000000)

/* QEMU's pool of default addresses. */
#define POOL_BEGIN UINT64_C(0x525400123456)
#define POOL_END   UINT64_C(0x5254001234ff)

#define VECTORS_MAX   0x7ffffffu
#define PAIRS_MAX     16u
#define MTU_MIN       68u
#define MULTICAST_BIT (UINT64_C(1) << 40)

/* --- models --- */

/* What a model is called, and what QEMU's -device calls it. */
static const struct {
	const char *name, *driver;
} models[] = {
    {"virtio", "virtio-net-pci"},
    {"virtio-net", "virtio-net-pci"},
    {"virtio-net-pci", "virtio-net-pci"},
    {"virtio-net-pci-transitional", "virtio-net-pci-transitional"},
    {"virtio-net-pci-non-transitional", "virtio-net-pci-non-transitional"},
    {"virtio-net-device", "virtio-net-device"},
};

#define MODELS (sizeof models / sizeof *models)

const char *
nic_model(const char *name)
{
	for (size_t i = 0; i < MODELS; i++)
		if (strcmp(models[i].name, name) == 0)
			return models[i].driver;
	return NULL;
}

const char *
nic_model_name(unsigned index)
{
	return index < MODELS ? models[index].name : NULL;
}

static int
check_model(const char *name, struct err *e)
{
	char offered[256] = "";
	size_t len = 0;

	if (!name || nic_model(name))
		return 0;
	for (size_t i = 0; i < MODELS; i++)
		len += (size_t)snprintf(offered + len, sizeof offered - len,
		    "%s%s", i > 0 ? ", " : "", models[i].name);
	return err_set(e, -EINVAL,
	    "Unsupported NIC model: %.64s (there are: %s)", name, offered);
}

/* --- addresses --- */

/* Six numbers of base 16, each taken modulo 256, as QEMU reads them. */
static int
parse_six(const char *text, uint64_t *mac)
{
	uint64_t value = 0;
	char *end;

	for (int i = 0; i < 6; i++) {
		long byte = strtol(text, &end, 16);

		value = value << 8 | (uint64_t)(byte & 0xff);
		if (i == 5)
			break;
		if (*end != ':' && *end != '-')
			return -EINVAL;
		text = end + 1;
	}
	if (end == text || *end != '\0')
		return -EINVAL;
	*mac = value;
	return 0;
}

int
nic_mac_parse(const char *text, uint64_t *mac, struct err *e)
{
	char *end;
	long number;

	/* Too large a number is the largest there is: no address either. */
	number = strtol(text, &end, 0);
	if (end != text && *end == '\0' && number >= 0 && number <= 0xffffff)
		*mac = (uint64_t)number;
	else if (parse_six(text, mac) < 0)
		return err_set(
		    e, -EINVAL, "invalid syntax for ethernet address");
	if (*mac & MULTICAST_BIT)
		return err_set(e, -EINVAL,
		    "NIC cannot have multicast MAC address (odd 1st byte)");
	return 0;
}

static const struct life *
find_mac(const struct netdevs *all, uint64_t mac)
{
	const struct life *nd;

	TAILQ_FOREACH (nd, &all->list, entry)
		if (nd->nic && nd->nic->mac == mac)
			return nd;
	return NULL;
}

/* The card's address, as one text whoever made it. */
static int
complete_mac(struct netdevs *all, const char *id,
    struct net_legacy_nic_options *o, struct err *e)
{
	const struct life *other;
	char text[MAC_TEXT_BYTES];
	uint64_t mac = 0;
	int rc;

	rc = o->macaddr ? nic_mac_parse(o->macaddr, &mac, e) : 0;
	if (rc < 0)
		return rc;
	other = mac != 0 ? find_mac(all, mac) : NULL;
	if (other)
		log_event(LOG_WARN, "nic.same-mac", "id=%s mac=%s other=%s", id,
		    mac_text(mac, text), other->options.id);
	for (uint64_t m = POOL_BEGIN; m < POOL_END && mac == 0; m++)
		if (!find_mac(all, m))
			mac = m;
	if (mac == 0)
		return err_set(e, -ENOSPC,
		    "no default address is left for '%s': give macaddr=", id);
	free(o->macaddr);
	o->macaddr = strdup(mac_text(mac, text));
	return o->macaddr ? 0 : err_set(e, -ENOMEM, "out of memory");
}

/* --- options --- */

/* "SLOT" or "SLOT.FUNCTION", in hexadecimal. */
static bool
addr_is_fit(const char *text)
{
	unsigned long slot, function = 0;
	char *end;

	if (strspn(text, "0123456789abcdefABCDEFx.") != strlen(text))
		return false;
	slot = strtoul(text, &end, 16);
	if (end == text)
		return false;
	if (*end == '.') {
		text = end + 1;
		function = strtoul(text, &end, 16);
		if (end == text)
			return false;
	}
	return *end == '\0' && slot < 32 && function < 8;
}

static int
check_numbers(const struct net_legacy_nic_options *o, struct err *e)
{
	if (o->has_vectors && o->vectors > VECTORS_MAX)
		return err_set(
		    e, -EINVAL, "invalid # of vectors: %u", o->vectors);
	if (o->has_queues && (o->queues == 0 || o->queues > PAIRS_MAX))
		return err_set(e, -EINVAL,
		    "Parameter 'queues' expects a number from 1 to %u",
		    PAIRS_MAX);
	if (o->has_mtu && o->mtu < MTU_MIN)
		return err_set(e, -EINVAL,
		    "Parameter 'mtu' expects a number from %u to 65535",
		    MTU_MIN);
	if (o->addr && !addr_is_fit(o->addr))
		return err_set(e, -EINVAL,
		    "Invalid PCI device address %.64s for device %s", o->addr,
		    o->model ? nic_model(o->model) : models[0].driver);
	if (o->chardev && o->path)
		return err_set(e, -EINVAL,
		    "chardev= and path= exclude each other: a card has one "
		    "socket");
	return 0;
}

/* Where addresses are read, a word without a slash is a host, and one that
 * begins with '@' a name without a file. */
static bool
is_path(const char *text)
{
	return text[0] == '/' || text[0] == '\0' ||
	       strncmp(text, "./", 2) == 0 || strncmp(text, "../", 3) == 0;
}

/* Without a chardev and without a path it listens in the run directory. */
static int
complete_path(const struct netdevs *all, const char *id,
    struct net_legacy_nic_options *o, struct err *e)
{
	char *given = o->path;

	if (o->chardev || (given && is_path(given)))
		return 0;
	if (given) {
		if (asprintf(&o->path, "./%s", given) < 0)
			o->path = NULL;
		free(given);
		return o->path ? 0 : err_set(e, -ENOMEM, "out of memory");
	}
	if (!all->run_dir)
		return err_set(e, -EINVAL,
		    "no run directory is known for the socket of '%s': give "
		    "path= or chardev=",
		    id);
	if (asprintf(&o->path, "%s/%s.sock", all->run_dir, id) < 0) {
		o->path = NULL;
		return err_set(e, -ENOMEM, "out of memory");
	}
	return 0;
}

int
nic_check(struct netdevs *all, struct netdev *options, struct err *e)
{
	struct net_legacy_nic_options *o = &options->u.nic;
	int rc = check_model(o->model, e);

	if (rc == 0)
		rc = check_numbers(o, e);
	if (rc == 0)
		rc = complete_mac(all, options->id, o, e);
	return rc == 0 ? complete_path(all, options->id, o, e) : rc;
}

/* --- the record --- */

static void
taken_due(void *self)
{
	const struct ctl_nic_taken m = {0};
	struct nic *n = self;

	if (n->life->control)
		(void)ctl_send_nic_taken(control_chan(n->life->control), 0, &m);
}

struct nic *
nic_new(struct life *nd)
{
	struct nic *n = calloc(1, sizeof *n);
	struct err e;

	if (!n)
		return NULL;
	n->taken = timer_new(nd->all->loop, taken_due, n);
	if (!n->taken) {
		free(n);
		return NULL;
	}
	n->life = nd;
	n->armed = true;
	BUG_ON(nic_mac_parse(nd->options.u.nic.macaddr, &n->mac, &e) < 0);
	return n;
}

void
nic_free(struct nic *n)
{
	if (!n)
		return;
	timer_free(n->taken);
	free(n);
}

void
nic_forget(struct nic *n)
{
	timer_stop(n->taken);
	n->has_filter = false;
	n->features = 0;
	n->pairs = 0;
	/* Its lane forgets with the port. */
	n->life->port->filter = NULL;
}

void
nic_link(struct nic *n, bool up)
{
	const struct ctl_link m = {.up = up};
	struct life *nd = n->life;

	n->link_up = up;
	/* Before its options it gets the state of then, with them. */
	if (!nd->control || nd->state < ND_CONFIGURING || n->link_told == up)
		return;
	n->link_told = up;
	(void)ctl_send_link(control_chan(nd->control), 0, &m);
}

/* --- what its process says --- */

const char *
nic_path(const char *id, const char *below, char buf[NIC_PATH_BYTES])
{
	(void)snprintf(
	    buf, NIC_PATH_BYTES, "/machine/peripheral/%s%s", id, below);
	return buf;
}

static void
emit_changed(struct nic *n)
{
	char path[NIC_PATH_BYTES];
	struct nic_rx_filter_changed_data d = {.name = n->life->options.id};

	n->armed = false;
	d.path = (char *)(uintptr_t)nic_path(
	    n->life->options.id, "/virtio-backend", path);
	event_emit(EVENT_NIC_RX_FILTER_CHANGED, &d);
}

int
nic_filter_told(struct nic *n, const struct rx_filter_state *s, bool changed)
{
	int rc = filter_state_to(&n->filter, s);

	if (rc < 0)
		return rc;
	n->has_filter = true;
	port_filter(n->life->port, &n->filter);
	if (changed && n->armed)
		emit_changed(n);
	return 0;
}

int
nic_state_told(struct nic *n, uint64_t features, uint32_t pairs)
{
	const struct net_legacy_nic_options *o = &n->life->options.u.nic;

	if (pairs > (o->has_queues ? o->queues : 1))
		return -EPROTO;
	n->features = features;
	n->pairs = pairs;
	return 0;
}

/*
 * It may tell the next thing, now or soon. One that tells without waiting is
 * noticed by telling while it should wait, or by how much it tells.
 */
int
nic_reported(struct nic *n)
{
	if (timer_pending(n->taken) || ++n->reports > REPORTS_MAX)
		return -EPROTO;
	if (n->reports > REPORTS_QUICK)
		timer_set_ns(n->taken, TAKEN_NS);
	else
		taken_due(n);
	return 0;
}
