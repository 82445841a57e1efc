/*
 * query_nics.c - query-nics: guests' network cards, and what to write on a
 * VM's command line to have one.
 *
 * Runs in: the broker. Trusts: its own records; paths and names are the
 * operator's or a client's, and are quoted as each program wants it.
 * Specification: schema/bulkhead.json; reference peers.md, vhost-user.md.
 */
#include "broker/chardev.h"
#include "broker/core_state.h"
#include "broker/nic.h"
#include "broker/ports.h"
#include "broker/qmp.h"
#include "broker/text.h"
#include "gen/commands.h"
#include "proto/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB          (UINT64_C(1) << 20)
#define MEMORY_USUAL (UINT64_C(1) << 30)
#define WORDS_MAX    12u

/* Where the card's socket is, as far as it has a place. */
struct place {
	char *path;    /* borrowed; NULL: it has no name */
	bool abstract; /* path is a name without a file */
	bool padded;   /* ... filled up with zero bytes */
	enum nic_role role;
};

/* Words of one command line. */
struct words {
	char *items[WORDS_MAX]; /* owned */
	size_t count;
	bool failed;
};

/* One card's part of the answer. */
struct card {
	char *path; /* owned */
	char mac[MAC_TEXT_BYTES];
	struct nic_arguments arguments;
	struct words qemu, cloud, uml;
};

/* A constant text where the generated struct wants char *. */
static char *
borrow(const char *text)
{
	return (char *)(uintptr_t)text;
}

/* --- words --- */

static void
word(struct words *w, struct text *t)
{
	BUG_ON(w->count == WORDS_MAX);
	text_add_char(t, '\0');
	w->failed |= t->failed;
	w->items[w->count] = t->failed ? NULL : strdup(t->data);
	w->failed |= !w->items[w->count];
	w->count += !w->failed;
	text_clear(t, SIZE_MAX);
}

static void __attribute__((format(printf, 2, 3)))
add(struct text *t, const char *fmt, ...)
{
	char buf[256];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(buf, sizeof buf, fmt, ap);
	va_end(ap);
	text_add_str(t, buf);
}

/* A value of QEMU's options: commas are doubled. */
static void
add_value(struct text *t, const char *value)
{
	for (; *value != '\0'; value++) {
		if (*value == ',')
			text_add_char(t, ',');
		text_add_char(t, *value);
	}
}

static void
words_free(struct words *w)
{
	for (size_t i = 0; i < w->count; i++)
		free(w->items[i]);
}

static bool
words_give(struct words *w, struct str_list *out)
{
	out->count = w->failed ? 0 : w->count;
	out->items = w->items;
	return out->count > 0;
}

/* --- each sort of VM --- */

static uint16_t
pairs_of(const struct net_legacy_nic_options *o)
{
	return o->has_queues ? o->queues : 1;
}

static void
qemu_memory(struct words *w, struct text *t, uint64_t memory)
{
	unsigned long long mib = memory / MIB;

	text_add_str(t, "-m");
	word(w, t);
	add(t, "%lluM", mib);
	word(w, t);
	text_add_str(t, "-object");
	word(w, t);
	add(t, "memory-backend-memfd,id=shared,size=%lluM,share=on", mib);
	word(w, t);
	text_add_str(t, "-machine");
	word(w, t);
	text_add_str(t, "memory-backend=shared");
	word(w, t);
}

static void
qemu_device(
    struct words *w, struct text *t, const struct life *nd, const char *mac)
{
	const struct net_legacy_nic_options *o = &nd->options.u.nic;
	const char *driver = nic_model(o->model ? o->model : "virtio");
	bool is_pci = strcmp(driver, "virtio-net-device") != 0;

	text_add_str(t, "-device");
	word(w, t);
	add(t, "%s,netdev=net-%s,mac=%s", driver, nd->options.id, mac);
	if (is_pci && o->addr)
		add(t, ",addr=%s", o->addr);
	if (is_pci)
		add(t, ",vectors=%u", o->has_vectors ? o->vectors : 0);
	if (pairs_of(o) > 1)
		text_add_str(t, ",mq=on");
	if (o->has_mtu)
		add(t, ",host_mtu=%u", o->mtu);
	word(w, t);
}

static void
make_qemu(struct words *w, const struct life *nd, const struct place *p,
    const char *mac, uint64_t memory)
{
	const struct net_legacy_nic_options *o = &nd->options.u.nic;
	struct text t = {0};

	qemu_memory(w, &t, memory);
	text_add_str(&t, "-chardev");
	word(w, &t);
	add(&t, "socket,id=chr-%s,path=", nd->options.id);
	add_value(&t, p->path);
	if (p->abstract)
		text_add_str(
		    &t, p->padded ? ",abstract=on,tight=off" : ",abstract=on");
	text_add_str(&t, p->role == NIC_ROLE_SERVER ? ",reconnect=1"
						    : ",server=on,wait=off");
	word(w, &t);
	text_add_str(&t, "-netdev");
	word(w, &t);
	add(&t, "vhost-user,id=net-%s,chardev=chr-%s", nd->options.id,
	    nd->options.id);
	if (pairs_of(o) > 1)
		add(&t, ",queues=%u", pairs_of(o));
	word(w, &t);
	qemu_device(w, &t, nd, mac);
	text_free(&t);
}

/* Its queues are single ones; it waits for us when we connect. */
static void
make_cloud(struct words *w, const struct life *nd, const struct place *p,
    const char *mac, uint64_t memory)
{
	const struct net_legacy_nic_options *o = &nd->options.u.nic;
	struct text t = {0};

	text_add_str(&t, "--memory");
	word(w, &t);
	add(&t, "size=%lluM,shared=on", (unsigned long long)(memory / MIB));
	word(w, &t);
	text_add_str(&t, "--net");
	word(w, &t);
	text_add_str(&t, "vhost_user=true,socket=");
	text_add_str(&t, p->path);
	add(&t, ",mac=%s,num_queues=%u", mac, 2u * pairs_of(o));
	if (p->role == NIC_ROLE_CLIENT)
		text_add_str(&t, ",vhost_mode=server");
	if (o->has_mtu)
		add(&t, ",mtu=%u", o->mtu);
	word(w, &t);
	text_free(&t);
}

/* 1 is the number of virtio's network cards. */
static void
make_uml(struct words *w, const struct place *p)
{
	struct text t = {0};

	text_add_str(&t, "virtio_uml.device=");
	text_add_str(&t, p->path);
	text_add_str(&t, ":1");
	word(w, &t);
	text_free(&t);
}

/* --- one card --- */

static bool
is_abstract(const struct addr *a)
{
	return a->sa.sa_family == AF_UNIX && a->un.sun_path[0] == '\0';
}

/* For programs that were started elsewhere: absolute. NULL: out of memory. */
static char *
whole_path(const struct core *c, const char *path, bool abstract)
{
	const char *dir = c->netdevs.start_dir;
	char *whole;

	if (abstract || path[0] == '/' || !dir)
		return strdup(path);
	path += strncmp(path, "./", 2) == 0 ? 2 : 0;
	return asprintf(&whole, "%s/%s", dir, path) < 0 ? NULL : whole;
}

/* Its path is the card's. */
static struct place
place_of(
    struct core *c, const struct net_legacy_nic_options *o, struct card *card)
{
	const struct chardev *ch = NULL;
	struct place p = {.role = NIC_ROLE_SERVER};
	const struct addr *a;
	const char *path = o->path;

	if (o->chardev) {
		ch = chardev_find(&c->chardevs, o->chardev);
		if (!ch || ch->open.kind == RES_FD)
			return (struct place){.role = NIC_ROLE_PASSED};
		path = ch->path;
		a = ch->server ? &ch->open.local : &ch->open.remote;
		p.abstract = is_abstract(a);
		p.padded = p.abstract && a->len == sizeof a->un;
		p.role = ch->server ? NIC_ROLE_SERVER : NIC_ROLE_CLIENT;
	}
	p.path = card->path = whole_path(c, path, p.abstract);
	return p;
}

/* What a program's grammar would take apart is left out there. */
static void
fill_arguments(struct nic_info *info, struct card *card, const struct life *nd,
    const struct place *p, uint64_t memory)
{
	struct nic_arguments *a = &card->arguments;

	if (!p->path)
		return;
	info->arguments = a;
	make_qemu(&card->qemu, nd, p, card->mac, memory);
	a->has_qemu = words_give(&card->qemu, &a->qemu);
	if (!p->abstract && !strpbrk(p->path, ",\"[]"))
		make_cloud(&card->cloud, nd, p, card->mac, memory);
	a->has_cloud_hypervisor =
	    words_give(&card->cloud, &a->cloud_hypervisor);
	if (!p->abstract && p->role == NIC_ROLE_SERVER &&
	    !strpbrk(p->path, ": \""))
		make_uml(&card->uml, p);
	a->has_uml = words_give(&card->uml, &a->uml);
}

static void
fill_nic(struct core *c, struct nic_info *info, struct card *card, uint32_t i,
    uint64_t memory)
{
	const struct graph_node *n = &c->graph.nodes[i];
	const struct life *nd = c->islands->ports[n->port]->self;
	const struct net_legacy_nic_options *o = &nd->options.u.nic;
	const struct place p = place_of(c, o, card);

	info->id = nd->options.id;
	info->mac = borrow(mac_text(nd->nic->mac, card->mac));
	if (n->peer != GRAPH_NONE)
		info->peer = c->graph.nodes[n->peer].id;
	info->model = o->model ? o->model : borrow("virtio");
	info->queues = pairs_of(o);
	info->pairs = nd->nic->pairs;
	info->features = nd->nic->features;
	info->chardev = o->chardev;
	info->path = p.path;
	info->role = p.role;
	info->connected = nd->connected;
	info->link_up = nd->nic->link_up;
	info->restarts = nd->restarts;
	fill_arguments(info, card, nd, &p, memory);
}

static bool
is_nic(struct core *c, uint32_t i)
{
	const struct graph_node *n = &c->graph.nodes[i];
	const struct life *nd;

	if (n->kind != NODE_NETDEV || n->life == NODE_LEAVING)
		return false;
	nd = c->islands->ports[n->port]->self;
	return nd->nic != NULL;
}

static void
answer(struct core *c, struct call *call, uint64_t memory)
{
	size_t room = (size_t)c->graph.count + 1;
	struct nic_info *infos = calloc(room, sizeof *infos);
	struct card *cards = calloc(room, sizeof *cards);
	struct nic_info_list list = {0, infos};
	struct err e;

	for (uint32_t i = 0; i < c->graph.count && infos && cards; i++) {
		if (!is_nic(c, i))
			continue;
		fill_nic(c, &infos[list.count], &cards[list.count], i, memory);
		list.count++;
	}
	if (infos && cards) {
		call_return(call, &desc_list_nic_info, &list);
	} else {
		(void)err_set(&e, -ENOMEM, "out of memory");
		call_fail(call, &e);
	}
	for (size_t k = 0; k < list.count; k++) {
		words_free(&cards[k].qemu);
		words_free(&cards[k].cloud);
		words_free(&cards[k].uml);
		free(cards[k].path);
	}
	free(infos);
	free(cards);
}

void
cmd_query_nics(struct call *call, const struct query_nics_args *args)
{
	uint64_t memory = args->has_memory ? args->memory : MEMORY_USUAL;
	struct err e;

	if (memory == 0 || memory % MIB != 0) {
		(void)err_set(&e, -EINVAL,
		    "Parameter 'memory' expects a multiple of 1 MiB");
		call_fail(call, &e);
		return;
	}
	answer(core_get(), call, memory);
}
