/*
 * copy_hub.c - the least that a hub of sockets can cost: one process that reads
 * what comes from the first and writes it to all others, in pieces as large as
 * they come.
 *
 * It knows no frames, loses none, isolates nobody and drops nothing: a bound to
 * measure hubs by, not a hub. Each PATH becomes a listening unix stream socket;
 * it is ready when all are there, and ends when the first one's peer does.
 *
 *   copy_hub PATH PATH...
 */
#include "proto/log.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PORTS_MAX   64
#define PIECE_BYTES ((size_t)256 << 10)

static int
listen_at(const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	BUG_ON(strlen(path) >= sizeof sa.sun_path);
	memcpy(sa.sun_path, path, strlen(path));
	BUG_ON(fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0);
	BUG_ON(listen(fd, 1) < 0);
	return fd;
}

static bool
write_all(int fd, const char *from, size_t len)
{
	ssize_t n;

	for (; len > 0; from += n, len -= (size_t)n) {
		n = send(fd, from, len, MSG_NOSIGNAL);
		if (n <= 0)
			return false;
	}
	return true;
}

int
main(int argc, char **argv)
{
	static char piece[PIECE_BYTES];
	int fd[PORTS_MAX], ports = argc - 1, i;
	ssize_t n;

	BUG_ON(ports < 2 || ports > PORTS_MAX);
	for (i = 0; i < ports; i++)
		fd[i] = listen_at(argv[i + 1]);
	for (i = 0; i < ports; i++)
		BUG_ON((fd[i] = accept(fd[i], NULL, NULL)) < 0);
	while ((n = read(fd[0], piece, sizeof piece)) > 0)
		for (i = 1; i < ports; i++)
			if (!write_all(fd[i], piece, (size_t)n))
				return 0;
	return 0;
}
