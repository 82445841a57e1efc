/*
 * backend_vde.c - what is said on a VDE switch's control socket.
 *
 * Runs in: the vde backend. Trusts: nothing of the answer: it becomes two
 * small numbers, or it is refused.
 * Specification: the switch protocol, version 3, as VDE 2 and VDEPlug 4 speak
 * it: packed, in the host's byte order.
 */
#include "backends/backend_vde.h"

#include "proto/launch.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define MAGIC       0xfeedfaceu
#define VERSION     3u
#define NEW_PORT    0u
#define PORT_SHIFT  8
#define ABOUT_BYTES 128u
#define DIGITS_MAX  5u

_Static_assert(sizeof(struct sockaddr_un) == VDE_ANSWER_BYTES, "sockaddr_un");

struct request {
	uint32_t magic, version, type;
	struct sockaddr_un sock;
} __attribute__((packed));

_Static_assert(
    sizeof(struct request) + ABOUT_BYTES == VDE_REQUEST_MAX, "request");

size_t
vde_request(uint8_t out[VDE_REQUEST_MAX], uint16_t port, const char *path,
    const char *about)
{
	struct request r = {.magic = MAGIC,
	    .version = VERSION,
	    .type = NEW_PORT | (uint32_t)port << PORT_SHIFT,
	    .sock.sun_family = AF_UNIX};
	size_t len = strlen(path), words = strlen(about);

	if (len >= sizeof r.sock.sun_path)
		return 0;
	if (words > ABOUT_BYTES)
		words = ABOUT_BYTES;
	memcpy(r.sock.sun_path, path, len);
	memcpy(out, &r, sizeof r);
	memcpy(out + sizeof r, about, words);
	return sizeof r + words;
}

/* A decimal number of one to five digits; *text moves behind it. */
static bool
digits(const char **text, uint32_t *out)
{
	size_t n = strspn(*text, "0123456789");

	if (n == 0 || n > DIGITS_MAX)
		return false;
	for (*out = 0; n > 0; n--, (*text)++)
		*out = *out * 10 + (uint32_t)(**text - '0');
	return true;
}

bool
vde_answer(const uint8_t in[VDE_ANSWER_BYTES], uint32_t *number, unsigned *port)
{
	char path[sizeof((struct sockaddr_un *)0)->sun_path + 1] = "";
	struct sockaddr_un un;
	uint32_t first = LAUNCH_VDE_NO_PORT, fd;
	const char *at;

	memcpy(&un, in, sizeof un);
	memcpy(path, un.sun_path, sizeof un.sun_path);
	at = strrchr(path, '/');
	if (un.sun_family != AF_UNIX || !at)
		return false;
	at++;
	*port = 0;
	if (strncmp(at, "fd", 2) == 0) {
		at += 2;
	} else {
		if (!digits(&at, &first) || *at++ != '.' || first == 0 ||
		    first >= LAUNCH_VDE_NO_PORT)
			return false;
		*port = first;
	}
	if (!digits(&at, &fd) || *at != '\0' || fd > LAUNCH_VDE_FD_MASK)
		return false;
	*number = first << LAUNCH_VDE_PORT_SHIFT | fd;
	return true;
}
