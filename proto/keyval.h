/*
 * keyval.h - `type,key=value,...` option text to C values, by descriptors.
 *
 * Owns nothing. Used by the broker's command line.
 */
#ifndef PROTO_KEYVAL_H
#define PROTO_KEYVAL_H

#include "proto/desc.h"
#include "proto/err.h"

#define KEYVAL_ITEMS_MAX 256   /* key=value pairs of one option */
#define KEYVAL_TEXT_MAX  65536 /* bytes of one option */

/*
 * keyval_decode - one option's text into the zeroed struct `out`.
 *   implied  member that the first item gives without its key, or NULL
 * A comma in a value is written twice. A repeated key is a list where the
 * member is one; otherwise the last one counts. "a.b=" reaches into a struct,
 * "a.0=" into a list; members of a mandatory struct may stand without its
 * name. "key" and "nokey" alone set a bool. ipv6-net=PREFIX[/LENGTH] stands
 * for ipv6-prefix and ipv6-prefixlen.
 * Returns 0, or a negative value with *e (QEMU's words) and out empty.
 */
int keyval_decode(const struct desc *d, void *out, const char *text,
    const char *implied, struct err *e);

#endif
