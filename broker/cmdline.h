/*
 * cmdline.h - QEMU's option grammar: from argv to a running network.
 *
 * Options are taken strictly in order, each when the former has its answer;
 * then comes the default network if no network was asked for, then the end
 * of the start phase (core_latch, core_up). An error is one line on standard
 * error and core_quit(1). Runs in the broker, once.
 */
#ifndef BROKER_CMDLINE_H
#define BROKER_CMDLINE_H

struct core;
struct loop;

/* cmdline_run - `argv` is borrowed for the life of the process. */
void cmdline_run(struct core *c, struct loop *l, int argc, char **argv);

#endif
