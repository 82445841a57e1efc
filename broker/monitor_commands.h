/*
 * monitor_commands.h - the commands of the QMP session itself.
 *
 * The handlers are declared by gen/commands.h; here is only what else must be
 * told to them. Runs in the broker.
 */
#ifndef BROKER_MONITOR_COMMANDS_H
#define BROKER_MONITOR_COMMANDS_H

/*
 * monitor_name_set - the answer of query-name, from -name. Borrowed for the
 * life of the process.
 */
void monitor_name_set(const char *name);

#endif
