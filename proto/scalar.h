/*
 * scalar.h - text to bool, numbers, sizes and enums, as QEMU's options read
 * them. Pure functions; used by keyval.c and by broker/json.c.
 */
#ifndef PROTO_SCALAR_H
#define PROTO_SCALAR_H

#include "proto/desc.h"

/*
 * scalar_parse - the whole text as a value of the scalar type `d`.
 *   bool     on yes true y / off no false n
 *   integer  C notation with any base (0x10, 010)
 *   size     bytes, or a number that may have a fraction with one of the
 *            suffixes B K M G T P E in either case (powers of 1024)
 * Returns 0; -EINVAL when it is no such text; -ERANGE when it does not fit.
 */
int scalar_parse(const struct desc *d, const char *text, void *out);

/* scalar_ctype - "uint16_t" and so on, for messages; "" for other kinds. */
const char *scalar_ctype(const struct desc *d);

#endif
