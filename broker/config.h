/*
 * config.h - a file of QMP commands, run in order before any client comes.
 *
 * One file at a time. Owns the descriptor. Runs in the broker, during start.
 */
#ifndef BROKER_CONFIG_H
#define BROKER_CONFIG_H

#include "broker/core.h"

/* Bytes read at a time. */
#define CONFIG_BLOCK_BYTES 4096u

/*
 * config_run - execute the JSON stream of a file, each command when the one
 * before has its answer. Lines whose first character is '#' are comments.
 *   fd    open for reading, owned
 *   done  called once, perhaps before this returns; on the first error with
 *         the text "LINE: TEXT", and nothing more is executed
 */
void config_run(int fd, core_done done, void *self);

#endif
