/*
 * backend_vde.h - what is said on a VDE switch's control socket.
 *
 * Pure: bytes in, bytes out. The request of protocol version 3: we name our
 * datagram socket, the switch names its own.
 */
#ifndef BACKENDS_BACKEND_VDE_H
#define BACKENDS_BACKEND_VDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Integers, a socket address, and up to 128 bytes of description. */
#define VDE_REQUEST_MAX 250u
/* A socket address of Linux: family, 108 bytes of path. */
#define VDE_ANSWER_BYTES 110u

/*
 * vde_request - the request for a port.
 *   port  which one; 0: the first free one
 *   path  of our datagram socket, as the switch can reach it
 *   about who we are, for the switch's own lists
 * Number of bytes in `out`, or 0 when the path is too long.
 */
size_t vde_request(uint8_t out[VDE_REQUEST_MAX], uint16_t port,
    const char *path, const char *about);

/*
 * vde_answer - from the switch's answer to the number by which the launcher
 * knows the switch's socket (LAUNCH_VDE_*), and the port's own number (0: the
 * switch does not say). False: no name that a switch gives.
 */
bool vde_answer(
    const uint8_t in[VDE_ANSWER_BYTES], uint32_t *number, unsigned *port);

#endif
