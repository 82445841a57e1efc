/*
 * open_netmap.c - a netmap port, bound to a descriptor.
 *
 * Runs in: launcher. Trusts: the policy. It binds the port, as names are looked
 * up in the network of who does that, and does nothing more with it: whoever
 * syncs or polls a port of an interface that is down sleeps in the kernel until
 * it is up, and no signal wakes him.
 * Each process gets a port that is bound afresh: rings that another process had
 * in its hands are not worth keeping.
 */
#include "proto/netmap.h"
#include "proto/sys.h"
#include "sandbox/openers.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Ample for one netdev, and an eighth of the memory that netmap would take. */
#define VALE_SLOTS 256u

static int
judge(struct opening *o, const char *port, const char *device)
{
	if (!o->free && strcmp(device, NETMAP_DEVICE) != 0)
		return err_set(o->err, -EPERM,
		    "policy refuses devname=%.100s: another device "
		    "than " NETMAP_DEVICE " is for the command line",
		    device);
	o->granted = o->free || policy_name(&o->l->policy, POLICY_NETMAP, port);
	if (o->granted)
		return 0;
	return err_set(o->err, -EPERM,
	    "policy refuses to open netmap port %.80s: add \"allow netmap "
	    "%.80s\" to the policy file",
	    port, port);
}

static int
open_device(struct opening *o, const char *device)
{
	int rc;

	o->fd = rc = (int)sys_result(
	    open(device, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
	if (rc == -ENOENT && strcmp(device, NETMAP_DEVICE) == 0)
		return err_set(o->err, -ENODEV,
		    "could not open " NETMAP_DEVICE ": this kernel has no "
		    "netmap module, or it is not loaded");
	if (rc < 0)
		return err_set(o->err, rc, "could not open %.100s: %s", device,
		    strerrordesc_np(-rc));
	return 0;
}

static int
bind_now(int fd, const struct netmap_port *p, uint64_t *offset, uint64_t *bytes)
{
	struct netmap_register body = {.mode = p->mode,
	    .ring = p->ring,
	    .mem_id = p->mem_id,
	    .flags = NETMAP_REG_EXCLUSIVE | NETMAP_REG_NO_TX_POLL};
	struct netmap_header head = {
	    .version = NETMAP_API, .type = NETMAP_REQ_REGISTER};
	int rc;

	if (p->kind == NETMAP_VALE)
		body.tx_slots = body.rx_slots = VALE_SLOTS;
	memcpy(head.name, p->name, sizeof head.name);
	head.body = (uint64_t)(uintptr_t)&body;
	rc = (int)sys_result(ioctl(fd, NETMAP_IOC_CONTROL, &head));
	*offset = body.offset;
	*bytes = body.bytes;
	return rc;
}

/* The request of modules that do not know the one above. */
static int
bind_old(int fd, const struct netmap_port *p, uint64_t *offset, uint64_t *bytes)
{
	struct netmap_register_old r = {.version = NETMAP_API,
	    .mem_id = p->mem_id,
	    .flags = (uint32_t)p->mode | (uint32_t)NETMAP_REG_EXCLUSIVE,
	    .ring = (uint16_t)(NETMAP_OLD_NO_TX_POLL | (p->ring & 0xfffu))};
	size_t len = strlen(p->name);
	int rc;

	if (len >= sizeof r.name)
		return -ENAMETOOLONG;
	if (p->mode == NETMAP_MODE_ONE)
		r.ring |= NETMAP_OLD_ONE_RING;
	if (p->kind == NETMAP_VALE)
		r.tx_slots = r.rx_slots = VALE_SLOTS;
	memcpy(r.name, p->name, len + 1);
	rc = (int)sys_result(ioctl(fd, NETMAP_IOC_REGISTER_OLD, &r));
	*offset = r.offset;
	*bytes = r.bytes;
	return rc;
}

static int
world_says(struct opening *o, int rc, const struct netmap_port *p)
{
	const char *why = strerrordesc_np(-rc);

	if (rc == -EBUSY)
		why = "another has it";
	else if (rc == -ENXIO)
		why = "there is no such interface";
	else if (rc == -ENOMEM)
		why = "no memory, or there are as many switches as netmap can "
		      "have";
	else if (rc == -EIO)
		why = "its frames begin with virtio-net headers";
	else if (rc == -ENOTTY || rc == -EOPNOTSUPP)
		why = "the device is not netmap's";
	return err_set(
	    o->err, rc, "cannot open netmap port %s: %s", p->name, why);
}

int
opener_netmap(struct opening *o)
{
	struct resource *r = &o->slot->resources[o->args->index];
	const char *text = o->args->name, *device = o->args->path;
	struct netmap_port port;
	int rc;

	rc = netmap_port_parse(text, &port, o->err);
	if (rc >= 0)
		rc = judge(o, text, device);
	if (rc >= 0)
		rc = open_device(o, device);
	if (rc < 0)
		return rc;
	rc = bind_now(o->fd, &port, &r->map_offset, &r->map_bytes);
	if (rc == -ENOTTY || rc == -EOPNOTSUPP)
		rc = bind_old(o->fd, &port, &r->map_offset, &r->map_bytes);
	return rc < 0 ? world_says(o, rc, &port) : 0;
}
