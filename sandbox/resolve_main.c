/*
 * resolve_main.c - look one name up, answer, end.
 *
 * Runs in: bulkhead-resolve, one process per look-up, in the host's network.
 * Trusts: the launcher for name and family, which are on the command line;
 * nothing that a name server sends. Its root holds /etc with copies of the
 * files that a look-up reads, and nothing else.
 * Specification: getaddrinfo(3), nsswitch.conf(5); DESIGN 2 and 3.
 *
 * It waits for a word of the broker, who gives it when the launcher has looked
 * at this process: before that no byte comes from outside. There is no other
 * end than the answer, so it needs no loop: PDEATHSIG ends it with the launcher
 * and the broker has a deadline.
 */
#include "proto/launch.h"
#include "proto/resolve.h"
#include "proto/sys.h"
#include "sandbox/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <nss.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define LOW32     0xffffffffu
#define TYPE_BITS 0xfu /* without SOCK_NONBLOCK, SOCK_CLOEXEC */

/* The socket call: one line per family and type. */
#define SOCKET_OF(family, type, reason)                                        \
	SYS_IF(socket, reason, {0, ARG_EQ, LOW32, family},                     \
	    {1, ARG_EQ, TYPE_BITS, type})

/* A family that libc tries and does without. */
#define NO_SOCKET_OF(family, reason)                                           \
	{                                                                      \
		.nr = __NR_socket, .name = "socket", .why = reason,            \
		.error = EAFNOSUPPORT, .args = {                               \
			{0, ARG_EQ, LOW32, family}                             \
		}                                                              \
	}

/* What a look-up calls beside the common list. */
static const struct sysrule rules[] = {
    SOCKET_OF(AF_INET, SOCK_DGRAM, "questions; which way an address is"),
    SOCKET_OF(AF_INET6, SOCK_DGRAM, "the same over IPv6"),
    SOCKET_OF(AF_INET, SOCK_STREAM, "answers too long for a datagram"),
    SOCKET_OF(AF_INET6, SOCK_STREAM, "the same over IPv6"),
    NO_SOCKET_OF(AF_NETLINK, "libc sorts by the host's addresses, or without"),
    NO_SOCKET_OF(AF_UNIX, "libc, for the scope of a link-local name server"),
    SYS(connect, "to a name server; to no one, for the sorting"),
    SYS(getsockname, "the sorting: from which address one would be reached"),
    SYS_IF(setsockopt, "errors of a name server's host, at once",
	{1, ARG_EQ, LOW32, IPPROTO_IP}),
    SYS_IF(setsockopt, "the same over IPv6", {1, ARG_EQ, LOW32, IPPROTO_IPV6}),
    SYS(sendmmsg, "two questions at once"),
    SYS(poll, "waiting for a name server"),
    SYS_IF(ioctl, "how long an answer is", {1, ARG_EQ, LOW32, FIONREAD}),
    SYS_IF(openat, "hosts, resolv.conf and their like: reading only",
	{2, ARG_CLEAR, O_ACCMODE | O_CREAT | O_TRUNC, 0}),
    SYS(newfstatat, "how long such a file is"),
    SYS(lseek, "hosts: libc's place in a file"),
    SYS(uname, "the host's name, whose domain is searched"),
    SYS(getrandom, "numbers of questions"),
};

static const struct syslist list = {
    .role = "resolve",
    .rules = rules,
    .count = sizeof rules / sizeof *rules,
};

static void
look_up(const char *name, int family, struct resolve_answer *answer)
{
	const struct addrinfo hints = {
	    .ai_family = family, .ai_socktype = SOCK_STREAM};
	struct addrinfo *all = NULL;

	answer->magic = RESOLVE_MAGIC;
	answer->error = getaddrinfo(name, NULL, &hints, &all);
	if (answer->error != 0)
		return;
	for (const struct addrinfo *one = all; one; one = one->ai_next)
		resolve_put(answer, one->ai_addr, one->ai_addrlen);
	freeaddrinfo(all);
	if (answer->count == 0)
		answer->error = EAI_NODATA;
}

int
main(void)
{
	static struct resolve_answer answer;
	const char *name;
	int family;
	char go;

	confine_begin("resolve");
	name = confine_lookup(&family);
	/* No other source, and so no other module of libc's; nor its cache. */
	if (name == NULL || __nss_configure_lookup("hosts", "files dns") < 0)
		confine_fail(STAGE_SETUP, EINVAL, "nothing to look up");
	confine_lock(&list);
	confine_ready();
	if (recv(FD_CONTROL, &go, sizeof go, 0) != 1 || go != RESOLVE_GO)
		return 1;
	look_up(name, family, &answer);
	return send(FD_CONTROL, &answer, sizeof answer, MSG_NOSIGNAL) ==
		       sizeof answer
		   ? 0
		   : 1;
}
