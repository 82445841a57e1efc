/*
 * tap_relay.c - two taps made into one wire: what comes out of one goes into
 * the other, whole, with its header. Part `taps` puts it in the place of a VM's
 * process between a network namespace and a bridge.
 *
 * Usage: tap_relay TAP TAP; makes both, takes offloads, says "ready".
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define TURN_FRAMES 64

static int
tap_open(const char *name)
{
	unsigned takes = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	struct ifreq req = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	snprintf(req.ifr_name, sizeof req.ifr_name, "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &req) < 0 ||
	    ioctl(fd, TUNSETOFFLOAD, takes) < 0) {
		perror(name);
		exit(1);
	}
	return fd;
}

static void
move(int from, int to)
{
	static uint8_t frame[1 << 17];
	ssize_t got;
	int n;

	for (n = 0; n < TURN_FRAMES; n++) {
		got = read(from, frame, sizeof frame);
		if (got <= 0)
			return;
		/* An interface that is down yet loses it, as a wire would. */
		if (write(to, frame, (size_t)got) < 0 && errno != EIO) {
			perror("write");
			exit(1);
		}
	}
}

int
main(int argc, char *argv[])
{
	struct pollfd fds[2];
	int i;

	if (argc != 3)
		return 2;
	for (i = 0; i < 2; i++)
		fds[i] = (struct pollfd){
		    .fd = tap_open(argv[1 + i]), .events = POLLIN};
	puts("ready");
	fflush(stdout);
	while (poll(fds, 2, -1) > 0)
		for (i = 0; i < 2; i++)
			if (fds[i].revents != 0)
				move(fds[i].fd, fds[1 - i].fd);
	return 1;
}
