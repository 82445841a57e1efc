/*
 * open_tap.c - taps: made, taken, or passed to us; and made by a helper.
 *
 * Runs in: launcher. Trusts: the policy, and before the latch the operator's
 * command line. A descriptor that a client passed may be anything.
 *
 * The tap is set up whole here - header, offloads, send buffer - because its
 * backend may issue no ioctl: who has a tap's ioctls has power over the
 * interface. The descriptor stays in the fd store, so the interface and its
 * carrier outlive the backend.
 * Specification: Linux Documentation/networking/tuntap.rst, linux/if_tun.h;
 * netdevs.md section 8.
 */
#include "sandbox/open_tap.h"
#include "proto/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DEVICE "/dev/net/tun"

/* Linux 6.2; the kernel's header here may be older. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

static int
tun_says(struct err *err, int rc, const char *name)
{
	return err_set(err, rc, "could not configure " DEVICE " (%s): %s", name,
	    strerrordesc_np(-rc));
}

/* --- what a descriptor is ----------------------------------------------- */

/*
 * Is it of the tun device? The kernel says so in /proc; an ioctl, or fstat(2),
 * could be answered by anybody's file system, late or never.
 */
static bool
is_tun(int fd)
{
	char path[64], text[512];
	ssize_t got;
	int info;

	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
	info = (int)sys_result(open(path, O_RDONLY | O_CLOEXEC));
	if (info < 0)
		return false;
	got = sys_result(read(info, text, sizeof text - 1));
	fd_close(&info);
	if (got <= 0)
		return false;
	text[got] = '\0';
	return strstr(text, "\niff:\t") != NULL;
}

int
tap_query(int fd, struct ifreq *req)
{
	memset(req, 0, sizeof *req);
	if (!is_tun(fd))
		return -ENOTTY;
	return (int)sys_result(ioctl(fd, TUNGETIFF, req));
}

/* --- how it is set up ----------------------------------------------------- */

/* What the kernel may give us: as much as it knows. */
static int
take_offloads(int fd)
{
	static const unsigned tries[] = {
	    TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | TUN_F_USO4 |
		TUN_F_USO6,
	    TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN,
	    TUN_F_CSUM,
	    0,
	};
	int rc = -EINVAL;
	size_t i;

	for (i = 0; i < sizeof tries / sizeof *tries && rc < 0; i++)
		rc = (int)sys_result(
		    ioctl(fd, TUNSETOFFLOAD, (unsigned long)tries[i]));
	return rc;
}

int
tap_configure(int fd, uint64_t sndbuf, struct err *err)
{
	int header = sizeof(struct virtio_net_hdr), rc;
	int bytes = sndbuf == 0 || sndbuf > INT_MAX ? INT_MAX : (int)sndbuf;
	struct ifreq req;

	rc = tap_query(fd, &req);
	if (rc >= 0 && (req.ifr_flags & IFF_VNET_HDR)) {
		rc = (int)sys_result(ioctl(fd, TUNSETVNETHDRSZ, &header));
		if (rc >= 0)
			rc = take_offloads(fd);
	}
	if (rc >= 0)
		rc = sys_nonblock(fd, true);
	if (rc < 0)
		return err_set(
		    err, rc, "cannot set up the tap: %s", strerrordesc_np(-rc));
	rc = (int)sys_result(ioctl(fd, TUNSETSNDBUF, &bytes));
	return rc < 0 && sndbuf != 0
		   ? err_set(err, rc, "TUNSETSNDBUF ioctl failed: %s",
			 strerrordesc_np(-rc))
		   : 0;
}

/* --- by name ----------------------------------------------------------------
 */

const struct resource *
tap_first(const struct slot *s)
{
	const struct resource *r = &s->resources[0];

	return r->granted && r->args.kind == RES_TAP && r->fd >= 0 ? r : NULL;
}

static int
allowed_name(struct opening *o, const char *name, const char *rule)
{
	o->granted =
	    o->free || policy_name(&o->l->policy, POLICY_INTERFACE, name);
	return o->granted ? 0
			  : err_set(o->err, -EPERM,
				"policy refuses to open interface %.15s: add "
				"\"allow interface %.15s\" to the policy file",
				name, rule);
}

/* The name to ask for: the first queue's is what the kernel made of it. */
static int
name_it(struct opening *o, struct ifreq *req)
{
	const struct resource *first = tap_first(o->slot);
	const char *name = o->args->name;
	int rc;

	memset(req, 0, sizeof *req);
	if (o->args->index == 0) {
		/* What is judged is what is asked for, and not cut. */
		if (strlen(name) >= IFNAMSIZ)
			return err_set(o->err, -EINVAL,
			    "an interface's name has at most 15 bytes");
		snprintf(req->ifr_name, sizeof req->ifr_name, "%.15s", name);
		return allowed_name(o, name[0] != '\0' ? name : "tap%d",
		    name[0] != '\0' ? name : "tap*");
	}
	rc = first == NULL ? -ENODEV : tap_query(first->fd, req);
	if (rc < 0)
		return err_set(o->err, rc, "the tap has no first queue");
	o->granted = true;
	return 0;
}

static int
choose_flags(int fd, uint32_t asked, short *flags, struct err *err)
{
	unsigned features = 0;
	int rc = (int)sys_result(ioctl(fd, TUNGETFEATURES, &features));

	if (rc < 0)
		features = 0;
	*flags = IFF_TAP | IFF_NO_PI;
	if ((asked & LAUNCH_TAP_HDR) && !(features & IFF_VNET_HDR))
		return err_set(err, -EOPNOTSUPP,
		    "vnet_hdr=1 requested, but no kernel support for "
		    "IFF_VNET_HDR available");
	if ((asked & LAUNCH_TAP_NO_HDR) == 0 && (features & IFF_VNET_HDR))
		*flags |= IFF_VNET_HDR;
	if ((asked & LAUNCH_TAP_QUEUES) && !(features & IFF_MULTI_QUEUE))
		return err_set(err, -EOPNOTSUPP,
		    "multiqueue required, but no kernel support for "
		    "IFF_MULTI_QUEUE available");
	if (asked & LAUNCH_TAP_QUEUES)
		*flags |= IFF_MULTI_QUEUE;
	return 0;
}

int
opener_tap(struct opening *o)
{
	struct ifreq req;
	short flags;
	int rc = name_it(o, &req);

	if (rc < 0)
		return rc;
	o->fd = rc = (int)sys_result(open(DEVICE, O_RDWR | O_CLOEXEC));
	if (rc < 0)
		return err_set(o->err, rc, "could not open " DEVICE ": %s",
		    strerrordesc_np(-rc));
	rc = choose_flags(o->fd, o->args->number, &flags, o->err);
	if (rc < 0)
		return rc;
	req.ifr_flags = flags;
	rc = (int)sys_result(ioctl(o->fd, TUNSETIFF, &req));
	if (rc < 0)
		return tun_says(o->err, rc,
		    req.ifr_name[0] != '\0' ? req.ifr_name : "tap%d");
	/* "vm%d" may have become one that is denied. */
	if (o->args->index == 0 && strchr(o->args->name, '%') != NULL)
		rc = allowed_name(o, req.ifr_name, req.ifr_name);
	if (rc >= 0)
		rc = tap_configure(o->fd, o->args->sndbuf, o->err);
	/* In place of one that was deleted: its script is due again. */
	if (rc >= 0 && o->args->again && o->args->index == 0)
		o->slot->tap_anew = true;
	return rc;
}

/* --- passed to us
 * ------------------------------------------------------------- */

/* Of one kind with those that the slot has. */
static bool
is_consistent(const struct slot *s, const struct ifreq *req)
{
	struct ifreq other;
	unsigned i;

	for (i = 0; i < LAUNCH_RESOURCES; i++) {
		const struct resource *r = &s->resources[i];

		if (!r->granted || r->args.kind != RES_TAP_FD ||
		    tap_query(r->fd, &other) < 0)
			continue;
		return ((other.ifr_flags ^ req->ifr_flags) & IFF_VNET_HDR) == 0;
	}
	return true;
}

int
tap_check(int fd, const char *what, struct ifreq *req, struct err *err)
{
	int rc = tap_query(fd, req);

	if (rc < 0)
		return err_set(err, rc,
		    "%s is not a tap: Unable to query TUNGETIFF: %s", what,
		    strerrordesc_np(-rc));
	if ((req->ifr_flags & IFF_TAP) == 0)
		return err_set(
		    err, -EINVAL, "%s is a tun interface, not a tap", what);
	/* Whether it has IFF_NO_PI cannot be asked: TUNGETIFF says by the
	 * same bit that there is no socket filter. */
	return 0;
}

int
opener_tap_fd(struct opening *o)
{
	char what[OPENER_WHAT_BYTES];
	struct ifreq req;
	int rc = opener_take(o, what);

	if (rc < 0)
		return rc;
	o->granted = true;
	rc = tap_check(o->fd, what, &req, o->err);
	if (rc < 0)
		return rc;
	if (!is_consistent(o->slot, &req))
		return err_set(o->err, -EINVAL,
		    "vnet_hdr not consistent across given tap fds");
	return tap_configure(o->fd, o->args->sndbuf, o->err);
}
