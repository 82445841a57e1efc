/*
 * options.h - the launcher's part of the command line.
 *
 * Runs in the launcher, once. Texts are borrowed from argv.
 */
#ifndef SANDBOX_OPTIONS_H
#define SANDBOX_OPTIONS_H

#include "proto/log.h"

#include <stdbool.h>

#define OPTIONS_CONFIGS 8 /* --config may be given that often */

enum sandbox_mode { SANDBOX_STRICT, SANDBOX_BEST_EFFORT, SANDBOX_OFF };

struct options {
	const char *policy; /* NULL: none */
	const char *run_dir;
	const char *libexec;
	const char *pidfile;
	const char *log_file; /* NULL: standard error */
	const char *configs[OPTIONS_CONFIGS];
	unsigned config_count;
	enum sandbox_mode sandbox;
	enum log_level log_level;
	bool daemonize;
};

/*
 * options_read - take our options out of argv; the broker's are passed over.
 *   o  zeroed, with the usual values set by the caller
 * Answers --help and --version itself. On a wrong option it writes one line
 * `bulkheadd: OPTION ARG: TEXT` to standard error. Does not return then:
 * exits 0 or 1.
 */
void options_read(struct options *o, int argc, char **argv);

/* The word for --sandbox= of a child. */
const char *options_sandbox_name(enum sandbox_mode mode);
const char *options_log_level_name(enum log_level level);

#endif
