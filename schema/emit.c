/*
 * emit.c - what schemac writes, and who writes it.
 *
 * Runs in: the build.
 */
#include "schema/schemac.h"

const struct emit emits[] = {
    {"types.h", emit_types_h},
    {"types.c", emit_types_c},
    {"control.h", emit_control_h},
    {"control.c", emit_control_c},
    {"control_broker.c", emit_control_broker},
    {"control_lane.c", emit_control_lane},
    {"control_backend.c", emit_control_backend},
    {"commands.h", emit_commands_h},
    {"commands.c", emit_commands_c},
    {"backends.h", emit_backends_h},
    {"backends.c", emit_backends_c},
    {"schema.h", emit_schema_h},
    {"schema.c", emit_schema_c},
    {"manual/netdevs.mdoc", emit_manual_netdevs},
    {"manual/commands.mdoc", emit_manual_commands},
    {"manual/events.mdoc", emit_manual_events},
};
const size_t emit_count = sizeof emits / sizeof *emits;
