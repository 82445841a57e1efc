/*
 * pour.c - one TCP stream as fast as the network carries it, for guests whose
 * own copying would be the bottleneck: what is sent is a file's pages, as a web
 * server does it.
 *
 *     pour send PORT BYTES    wait for a connection, send so many bytes
 *     pour take ADDRESS PORT  connect, take all without looking, say how many
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

static char buffer[1 << 20];

static int
stop(const char *what)
{
	perror(what);
	return 1;
}

static int
send_to_one(int fd, struct sockaddr_in *at, long long left)
{
	int on = 1, peer, file;
	off_t from;
	ssize_t sent;

	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (void *)at, sizeof *at) < 0 || listen(fd, 1) < 0)
		return stop("listen");
	peer = accept(fd, NULL, NULL);
	if (peer < 0)
		return stop("accept");
	file = memfd_create("pages", 0);
	if (file < 0 || write(file, buffer, sizeof buffer) != sizeof buffer)
		return stop("memfd");
	while (left > 0) {
		from = 0;
		sent = sendfile(peer, file, &from,
		    left < (long long)sizeof buffer ? (size_t)left
						    : sizeof buffer);
		if (sent <= 0)
			return stop("sendfile");
		left -= sent;
	}
	return 0;
}

static int
take_all(int fd, struct sockaddr_in *at)
{
	long long total = 0;
	ssize_t got;
	int tries;

	for (tries = 0; connect(fd, (void *)at, sizeof *at) < 0; tries++) {
		if (tries == 100)
			return stop("connect");
		usleep(20000);
		close(fd);
		fd = socket(AF_INET, SOCK_STREAM, 0);
	}
	/* MSG_TRUNC: the kernel throws the bytes away itself. */
	while ((got = recv(fd, buffer, sizeof buffer, MSG_TRUNC)) > 0)
		total += got;
	printf("%lld\n", total);
	return got < 0 ? stop("recv") : 0;
}

int
main(int argc, char **argv)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (argc != 4 || fd < 0)
		return 2;
	if (strcmp(argv[1], "send") == 0) {
		at.sin_port = htons((uint16_t)atoi(argv[2]));
		return send_to_one(fd, &at, atoll(argv[3]));
	}
	at.sin_port = htons((uint16_t)atoi(argv[3]));
	return inet_pton(AF_INET, argv[2], &at.sin_addr) == 1
		   ? take_all(fd, &at)
		   : 2;
}
