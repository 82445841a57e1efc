/*
 * launch.c - names of resources and layers, from their tables.
 *
 * Runs in: launcher, broker. Trusts: nothing; numbers may come from a peer.
 */
#include "proto/launch.h"

#include <string.h>

static const char *const resource_names[RES_COUNT] = {
#define RESOURCE(id, name, doc) [RES_##id] = name,
#include "proto/resource.def"
#undef RESOURCE
};

static const char *const layer_names[LAYER_COUNT] = {
#define LAYER(id, name, doc) [LAYER_##id] = name,
#include "proto/layers.def"
#undef LAYER
};

_Static_assert(LAYER_COUNT <= 64, "launch_result.layers has 64 bits");

const char *
resource_name(enum resource_kind kind)
{
	return (unsigned)kind < RES_COUNT ? resource_names[kind] : NULL;
}

enum resource_kind
resource_kind_of(const char *name)
{
	unsigned kind;

	for (kind = RES_NONE + 1; kind < RES_COUNT; kind++)
		if (strcmp(resource_names[kind], name) == 0)
			return (enum resource_kind)kind;
	return RES_NONE;
}

const char *
layer_name(enum layer layer)
{
	return (unsigned)layer < LAYER_COUNT ? layer_names[layer] : NULL;
}
