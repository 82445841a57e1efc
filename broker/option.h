/*
 * option.h - words of argv become options of proto/launch_options.def.
 *
 * Borrows argv for the life of the process. Runs in the broker, during start.
 */
#ifndef BROKER_OPTION_H
#define BROKER_OPTION_H

#include "proto/err.h"

#include <stdbool.h>

enum option_id {
#define LAUNCH_OPTION(id, name, arg, who, help) OPTION_##id,
#include "proto/launch_options.def"
#undef LAUNCH_OPTION
	OPTION_COUNT
};

enum option_who {
	OPTION_LAUNCHER,
	OPTION_BROKER,
	OPTION_REFUSED,
	OPTION_HIDDEN,
};

/* One option as it stands in argv; `arg` is borrowed. */
struct option {
	enum option_id id;
	enum option_who who;
	char name[64];   /* as written, dashes included, cut at '=' */
	const char *arg; /* NULL: it takes none */
	bool in_file;    /* what is told about it begins with a line number */
};

struct option_words {
	int argc;
	char **argv; /* borrowed */
	int at;      /* next word */
};

void option_words_init(struct option_words *w, int argc, char **argv);

/*
 * option_next - the next option. 1; 0 at the end; -EINVAL with the whole
 * message in *err for a word that is none, an option that is not known, an
 * argument that is missing or too many.
 */
int option_next(struct option_words *w, struct option *o, struct err *err);

/*
 * option_config_fd - the descriptor of the index-th --config: the launcher
 * has appended one --config-fd for each. -1: there is none.
 */
int option_config_fd(const struct option_words *w, unsigned index);

/* option_last - the argument of the last such option, which is the launcher's
 * if it has appended one; or NULL. */
const char *option_last(const struct option_words *w, enum option_id id);

#endif
