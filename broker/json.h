/*
 * json.h - JSON trees of jansson to C values and back, by descriptors.
 *
 * The only file beside the monitor's framing that knows JSON. Owns nothing.
 * Runs in the broker.
 */
#ifndef BROKER_JSON_H
#define BROKER_JSON_H

#include "proto/desc.h"
#include "proto/err.h"

#include <jansson.h>

/*
 * json_decode - the tree (borrowed) into the zeroed value `out`. Members are
 * looked at in schema order and the first error is told, with the whole path
 * of what it is about, in the words of QEMU's QMP. Types that the schema
 * marks 'accept-text' take texts for scalars, and a plain text where an object
 * of one text is due. Returns 0, or a negative value with *e and out empty.
 */
int json_decode(const struct desc *d, void *out, json_t *tree, struct err *e);

/*
 * json_encode - a new tree of the value, members in schema order, absent ones
 * left out. Text that is not UTF-8 is repaired. An unsigned number beyond
 * INT64_MAX comes out negative, as json_decode() takes it. NULL: no memory.
 */
json_t *json_encode(const struct desc *d, const void *v);

#endif
