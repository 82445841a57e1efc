/*
 * option.c - words of argv become options.
 *
 * Runs in: the broker, during start.
 * Trusts: the launcher for the options that it appends.
 * Specification: proto/launch_options.def; messages as getopt_long(3) and
 *   qemu-storage-daemon give them.
 */
#include "broker/option.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	const char *arg; /* NULL: takes none */
	enum option_who who;
} option_table[] = {
#define LAUNCH_OPTION(id, name, arg, who, help) {name, arg, OPTION_##who},
#include "proto/launch_options.def"
#undef LAUNCH_OPTION
};

void
option_words_init(struct option_words *w, int argc, char **argv)
{
	*w = (struct option_words){.argc = argc, .argv = argv, .at = 1};
}

/* Index in the table, or OPTION_COUNT. `len` bytes of name, no dashes. */
static int
find(const char *name, size_t len)
{
	int i;

	for (i = 0; i < OPTION_COUNT; i++) {
		if (strlen(option_table[i].name) == len &&
		    memcmp(option_table[i].name, name, len) == 0)
			break;
	}
	return i;
}

/* A word that the launcher has appended: no argument of the one before. */
static bool
is_appended(const char *word)
{
	return strncmp(word, "--run-dir=", 10) == 0 ||
	       strncmp(word, "--config-fd=", 12) == 0;
}

/* The argument: behind '=', or the next word. */
static int
take_arg(struct option_words *w, struct option *o, const char *equals,
    struct err *err)
{
	if (option_table[o->id].arg == NULL) {
		if (equals != NULL)
			return err_set(err, -EINVAL,
			    "option '%s' doesn't allow an argument", o->name);
		return 1;
	}
	if (equals != NULL) {
		o->arg = equals + 1;
	} else if (w->at < w->argc && !is_appended(w->argv[w->at])) {
		o->arg = w->argv[w->at++];
	} else {
		return err_set(
		    err, -EINVAL, "option '%s' requires an argument", o->name);
	}
	return 1;
}

int
option_next(struct option_words *w, struct option *o, struct err *err)
{
	const char *word, *name, *equals;
	size_t len;
	int at;

	*o = (struct option){0};
	if (w->at >= w->argc)
		return 0;
	word = w->argv[w->at++];
	if (word[0] != '-' || word[1] == '\0')
		return err_set(err, -EINVAL, "%s: Unexpected argument", word);
	name = word + (word[1] == '-' ? 2 : 1);
	equals = strchr(name, '=');
	len = equals != NULL ? (size_t)(equals - name) : strlen(name);
	at = find(name, len);
	if (at == OPTION_COUNT)
		return err_set(err, -EINVAL, "unrecognized option '%s'", word);
	o->id = (enum option_id)at;
	o->who = option_table[at].who;
	snprintf(o->name, sizeof(o->name), "%.*s", (int)(len + 2), word);
	return take_arg(w, o, equals, err);
}

int
option_config_fd(const struct option_words *w, unsigned index)
{
	struct option_words all = *w;
	struct option o;
	struct err e;

	all.at = 1;
	while (option_next(&all, &o, &e) != 0) {
		if (o.id != OPTION_CONFIG_FD || o.arg == NULL)
			continue;
		if (index-- == 0)
			return (int)strtol(o.arg, NULL, 10);
	}
	return -1;
}

const char *
option_last(const struct option_words *w, enum option_id id)
{
	struct option_words all = *w;
	const char *arg = NULL;
	struct option o;
	struct err e;

	all.at = 1;
	while (option_next(&all, &o, &e) != 0) {
		if (o.id == id && o.arg != NULL)
			arg = o.arg;
	}
	return arg;
}
