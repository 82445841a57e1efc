/*
 * resources_check.c - rules between the options of one netdev.
 *
 * Runs in: the broker. Trusts: the visitor for the shape of options; their
 * values come from QMP clients.
 * Specification: reference netdevs.md 8 to 14, for QEMU's texts.
 */
#include "broker/resources.h"
#include "broker/resources_tap.h"
#include "broker/socket_address.h"
#include "proto/netmap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int
check_socket(struct netdev *nd, struct err *e)
{
	const struct netdev_socket_options *o = &nd->u.socket;
	int ways = !!o->fd + !!o->listen + !!o->connect + !!o->mcast + !!o->udp;

	if (ways != 1)
		return err_set(e, -EINVAL,
		    "exactly one of listen=, connect=, mcast= or udp= is "
		    "required");
	if (o->localaddr && !o->mcast && !o->udp)
		return err_set(
		    e, -EINVAL, "localaddr= is only valid with mcast= or udp=");
	if (o->udp && !o->localaddr)
		return err_set(e, -EINVAL, "localaddr= is mandatory with udp=");
	if (o->has_reconnect_ms && !o->connect)
		return err_set(
		    e, -EINVAL, "reconnect-ms= is only valid with connect=");
	return 0;
}

/* QEMU's default is named after the VLAN; ours after the netdev. */
static int
name_dump(struct netdev *nd, struct err *e)
{
	struct netdev_dump_options *o = &nd->u.dump;

	if (o->file)
		return 0;
	if (asprintf(&o->file, "%s.pcap", nd->id) < 0) {
		o->file = NULL;
		return err_set(e, -ENOMEM, "out of memory");
	}
	return 0;
}

/* QEMU takes the names of services as well. */
static bool
is_port(const char *text)
{
	unsigned long number;
	char *end;

	if (text[0] < '1' || text[0] > '9')
		return false;
	number = strtoul(text, &end, 10);
	return *end == '\0' && number <= UINT16_MAX;
}

static int
check_l2tpv3(struct netdev *nd, struct err *e)
{
	const struct netdev_l2tpv3_options *o = &nd->u.l2tpv3;

	if (!o->has_udp || !o->udp)
		return 0;
	if (!o->srcport || !o->dstport)
		return err_set(
		    e, -EINVAL, "need both src and dst port for udp");
	if (!is_port(o->srcport) || !is_port(o->dstport))
		return err_set(e, -EINVAL,
		    "Parameter '%s' expects a number from 1 to 65535",
		    is_port(o->srcport) ? "dstport" : "srcport");
	return 0;
}

/* The one scheme that is a switch; any other of libvdeplug's would be a
 * command, an interface, a network of its own. */
#define VDE_SCHEME "vde://"
#define VDE_USUAL  "/run/vde.ctl"

/* A switch's directory, without what else a VNL may say. */
static int
check_vde_sock(struct netdev_vde_options *o, struct err *e)
{
	const char *text = o->sock ? o->sock : VDE_USUAL, *end;
	char *path;

	end = strstr(text, "://");
	if (strncmp(text, VDE_SCHEME, strlen(VDE_SCHEME)) == 0)
		text += strlen(VDE_SCHEME);
	else if (end)
		return err_set(e, -EINVAL,
		    "sock='%s': of the schemes only " VDE_SCHEME
		    "PATH, a switch's directory, is served",
		    o->sock);
	if (text[0] != '/' || strlen(text) > VDE_PATH_MAX)
		return err_set(e, -EINVAL,
		    "sock='%s': it must be the absolute path of a switch's "
		    "directory, of at most %u bytes",
		    text, VDE_PATH_MAX);
	if (strchr(text, '[') || strchr(text, ']'))
		return err_set(e, -EINVAL,
		    "sock='%s': what stands in brackets are options of their "
		    "own here: port=, group=, mode=",
		    text);
	path = strdup(text);
	if (!path)
		return err_set(e, -ENOMEM, "out of memory");
	free(o->sock);
	o->sock = path;
	return 0;
}

static int
check_vde(struct netdev *nd, struct err *e)
{
	struct netdev_vde_options *o = &nd->u.vde;
	char *end = NULL;

	if (o->has_mode && (o->mode > 0777 || o->mode == 0))
		return err_set(e, -EINVAL,
		    "Parameter 'mode' expects permissions from 01 to 0777");
	if (o->group)
		(void)strtoul(o->group, &end, 10);
	if (o->group && (o->group[0] < '0' || o->group[0] > '9' || *end ||
			    strlen(o->group) > 9))
		return err_set(e, -EINVAL,
		    "Parameter 'group' expects the number of a group: names "
		    "of groups are not known here");
	return check_vde_sock(o, e);
}

static int
check_netmap(struct netdev *nd, struct err *e)
{
	const struct netdev_netmap_options *o = &nd->u.netmap;
	struct netmap_port port;

	if (strlen(o->ifname) >= LAUNCH_NAME)
		return err_set(e, -EINVAL,
		    "Parameter 'ifname' expects at most %u characters",
		    LAUNCH_NAME - 1);
	if (o->devname && o->devname[0] != '/')
		return err_set(
		    e, -EINVAL, "Parameter 'devname' expects an absolute path");
	return netmap_port_parse(o->ifname, &port, e);
}

static const struct {
	enum net_client_driver type;
	int (*check)(struct netdev *nd, struct err *e);
} checks[] = {
    {NET_CLIENT_DRIVER_VDE, check_vde},
    {NET_CLIENT_DRIVER_NETMAP, check_netmap},
    {NET_CLIENT_DRIVER_SOCKET, check_socket},
    {NET_CLIENT_DRIVER_STREAM, socket_address_check_stream},
    {NET_CLIENT_DRIVER_DGRAM, socket_address_check_dgram},
    {NET_CLIENT_DRIVER_DUMP, name_dump},
    {NET_CLIENT_DRIVER_L2TPV3, check_l2tpv3},
    {NET_CLIENT_DRIVER_TAP, tap_options_check},
    {NET_CLIENT_DRIVER_BRIDGE, bridge_options_check},
};

int
resources_check(struct netdev *nd, struct err *e)
{
	for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
		if (checks[i].type == nd->type)
			return checks[i].check(nd, e);
	return 0;
}
