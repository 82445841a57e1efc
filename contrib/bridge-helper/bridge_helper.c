/*
 * bridge_helper.c - make a tap, put it into a bridge, hand it over.
 *
 * Usage: bulkhead-bridge-helper [--use-vnet] --br=BRIDGE --fd=SOCKET
 * For hosts without qemu-bridge-helper, whose contract it keeps: argv, ACL
 * file, one byte with one descriptor over the unix socket, exit status.
 *
 * Runs in: a program of its own, started by the launcher, or set-uid root for
 * users. Then it keeps CAP_NET_ADMIN and nothing else, from its first
 * statements on, and takes no file name from its caller.
 * Trusts: the ACL file. Not its arguments, nor the descriptors it was given.
 * Specification: netdevs.md 8.5; Linux Documentation/networking/tuntap.rst.
 */
#include "contrib/bridge-helper/acl.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef BRIDGE_CONF
#define BRIDGE_CONF "/etc/bulkhead/bridge.conf"
#endif
/* Where there was a qemu-bridge-helper, there may be its file. */
#define QEMU_CONF "/etc/qemu/bridge.conf"

struct request {
	const char *bridge;
	const char *acl; /* --acl=, for tests: not when privileged */
	int fd;
	bool header;
};

_Noreturn static void
fail(const char *what, const char *object)
{
	fprintf(stderr, "bulkhead-bridge-helper: %s%s: %s\n", what, object,
	    strerror(errno));
	exit(1);
}

_Noreturn static void
refuse(const char *text, const char *object)
{
	fprintf(stderr, "bulkhead-bridge-helper: %s%s\n", text, object);
	exit(1);
}

/* --- privilege ---------------------------------------------------------- */

/* What we open must not become somebody's standard output. */
static void
fill_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		(void)close(fd);
}

/* CAP_NET_ADMIN, if we have it, and the caller's own ids. */
static void
drop_privilege(void)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {{0}, {0}};
	unsigned admin = 1u << CAP_NET_ADMIN;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_KEEPCAPS, 1) < 0)
		fail("cannot drop privilege", "");
	if (geteuid() != getuid() &&
	    (setresgid(getgid(), getgid(), getgid()) < 0 ||
		setresuid(getuid(), getuid(), getuid()) < 0))
		fail("cannot drop privilege", "");
	if (syscall(__NR_capget, &head, data) < 0)
		fail("cannot read capabilities", "");
	data[0].permitted &= admin;
	data[0].effective = data[0].permitted;
	data[0].inheritable = 0;
	data[1] = (struct __user_cap_data_struct){0};
	if (syscall(__NR_capset, &head, data) < 0)
		fail("cannot drop privilege", "");
}

/* --- the request --------------------------------------------------------- */

static const char *
value_of(const char *arg, const char *name)
{
	size_t len = strlen(name);

	return strncmp(arg, name, len) == 0 ? arg + len : NULL;
}

_Noreturn static void
usage(void)
{
	refuse("Usage: bulkhead-bridge-helper [--use-vnet] --br=bridge "
	       "--fd=unixfd",
	    "");
}

static int
fd_of(const char *text)
{
	char *end;
	long number = strtol(text, &end, 10);

	if (*text < '0' || *text > '9' || *end != '\0' || number > 65535)
		usage();
	return (int)number;
}

static struct request
parse(int argc, char **argv)
{
	struct request r = {.fd = -1};
	const char *value;
	int i;

	for (i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--use-vnet") == 0)
			r.header = true;
		else if ((value = value_of(argv[i], "--br=")) != NULL)
			r.bridge = value;
		else if ((value = value_of(argv[i], "--fd=")) != NULL)
			r.fd = fd_of(value);
		else if ((value = value_of(argv[i], "--acl=")) != NULL)
			r.acl = value;
		else
			usage();
	}
	if (r.bridge == NULL || r.fd < 0)
		usage();
	if (r.acl != NULL && getauxval(AT_SECURE) != 0)
		refuse("--acl is not for a privileged program", "");
	/* The kernel ignores a colon and what is behind it: "br0:" is br0. */
	if (strlen(r.bridge) >= IFNAMSIZ || r.bridge[0] == '\0' ||
	    strpbrk(r.bridge, ":/ \t\n") != NULL)
		refuse("not the name of a bridge: ", r.bridge);
	return r;
}

static void
check_acl(const struct request *r, uid_t owner)
{
	const char *file = r->acl != NULL ? r->acl : BRIDGE_CONF;
	struct acl acl = {.bridge = r->bridge, .owner = owner};

	if (r->acl == NULL && access(file, F_OK) < 0 && errno == ENOENT)
		file = QEMU_CONF;
	if (acl_read(&acl, file) < 0)
		refuse(acl.error, "");
	if (!acl.allowed || acl.denied)
		refuse("access denied by acl file ", file);
}

static void
check_socket(int fd)
{
	socklen_t len = sizeof(int);
	int domain = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0)
		fail("--fd", "");
	if (domain != AF_UNIX)
		refuse("--fd is not a unix socket", "");
}

/* --- the work ---------------------------------------------------------------
 */

static void
control(int fd, unsigned long request, struct ifreq *req, const char *what)
{
	if (ioctl(fd, request, req) < 0)
		fail(what, req->ifr_name);
}

static int
make_tap(bool header, char name[IFNAMSIZ])
{
	struct ifreq req = {.ifr_name = "tap%d"};
	unsigned features = 0;
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		fail("cannot open ", "/dev/net/tun");
	req.ifr_flags = IFF_TAP | IFF_NO_PI;
	if (header && ioctl(fd, TUNGETFEATURES, &features) == 0 &&
	    (features & IFF_VNET_HDR))
		req.ifr_flags |= IFF_VNET_HDR;
	control(fd, TUNSETIFF, &req, "cannot make a tap: ");
	memcpy(name, req.ifr_name, IFNAMSIZ);
	return fd;
}

static struct ifreq
about(const char *name)
{
	struct ifreq req = {0};

	(void)snprintf(req.ifr_name, sizeof req.ifr_name, "%s", name);
	return req;
}

/* Size, address, membership, up: in this order, as each may be seen. */
static void
join(const char *bridge, const char *tap)
{
	struct ifreq req = about(bridge);
	int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int mtu;

	if (sock < 0)
		fail("cannot make a socket", "");
	control(sock, SIOCGIFMTU, &req, "cannot read the MTU of ");
	mtu = req.ifr_mtu;
	req = about(tap);
	req.ifr_mtu = mtu;
	control(sock, SIOCSIFMTU, &req, "cannot set the MTU of ");
	/* A bridge takes the lowest address of its ports: not this one. */
	req = about(tap);
	control(sock, SIOCGIFHWADDR, &req, "cannot read the address of ");
	req.ifr_hwaddr.sa_data[0] = (char)0xfe;
	control(sock, SIOCSIFHWADDR, &req, "cannot set the address of ");
	req = about(tap);
	control(sock, SIOCGIFINDEX, &req, "cannot find ");
	mtu = req.ifr_ifindex;
	req = about(bridge);
	req.ifr_ifindex = mtu;
	control(sock, SIOCBRADDIF, &req, "cannot add a port to ");
	req = about(tap);
	control(sock, SIOCGIFFLAGS, &req, "cannot read the flags of ");
	req.ifr_flags |= IFF_UP;
	control(sock, SIOCSIFFLAGS, &req, "cannot bring up ");
	(void)close(sock);
}

static void
hand_over(int sock, int tap)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} rights = {0};
	char byte = 0;
	struct iovec piece = {.iov_base = &byte, .iov_len = 1};
	struct msghdr msg = {.msg_iov = &piece,
	    .msg_iovlen = 1,
	    .msg_control = &rights,
	    .msg_controllen = sizeof rights};

	rights.head.cmsg_level = SOL_SOCKET;
	rights.head.cmsg_type = SCM_RIGHTS;
	rights.head.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&rights.head), &tap, sizeof tap);
	if (sendmsg(sock, &msg, MSG_NOSIGNAL) != 1)
		fail("cannot hand the tap over", "");
}

int
main(int argc, char **argv)
{
	char name[IFNAMSIZ];
	uid_t owner = getauxval(AT_SECURE) != 0 ? 0 : geteuid();
	struct request r;
	int tap;

	fill_standard_fds();
	/* As qemu-bridge-helper: who may not read a part of the ACL is not
	 * meant by it. */
	drop_privilege();
	r = parse(argc, argv);
	check_acl(&r, owner);
	check_socket(r.fd);
	tap = make_tap(r.header, name);
	join(r.bridge, name);
	hand_over(r.fd, tap);
	return 0;
}
