/*
 * options.c - the launcher's share of the command line.
 *
 * Runs in: launcher, once. Trusts: the operator. The broker gets the whole
 * line as well and says what is wrong with its share, unknown options too.
 * Specification: proto/launch_options.def.
 */
#include "sandbox/options.h"

#include "gen/backends.h"

#include <gnu/libc-version.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum who { LAUNCHER, BROKER, REFUSED, HIDDEN };

enum option_id {
#define LAUNCH_OPTION(id, name, arg, who, help) OPT_##id,
#include "proto/launch_options.def"
#undef LAUNCH_OPTION
	OPT_COUNT
};

static const struct option {
	const char *name;
	const char *arg;
	enum who who;
	const char *help;
} table[OPT_COUNT] = {
#define LAUNCH_OPTION(id, name, arg, who, help)                                \
	[OPT_##id] = {name, arg, who, help},
#include "proto/launch_options.def"
#undef LAUNCH_OPTION
};

static const char *const modes[] = {"strict", "best-effort", "off"};
static const char *const levels[] = {"error", "warn", "info", "debug"};

const char *
options_sandbox_name(enum sandbox_mode mode)
{
	return modes[mode];
}

const char *
options_log_level_name(enum log_level level)
{
	return levels[level];
}

_Noreturn static void
wrong(const char *option, const char *arg, const char *text)
{
	fprintf(stderr, "bulkheadd: %s%s%s: %s\n", option, arg ? " " : "",
	    arg ? arg : "", text);
	exit(1);
}

static void
print_option(const struct option *o)
{
	char head[80];

	if (o->who != LAUNCHER && o->who != BROKER)
		return;
	snprintf(head, sizeof head, "%s%s%s%s", o->name[1] ? "--" : "-",
	    o->name, o->arg ? " " : "", o->arg ? o->arg : "");
	if (strlen(head) < 28)
		printf("  %-28s%s\n", head, o->help);
	else
		printf("  %s\n  %-28s%s\n", head, "", o->help);
}

_Noreturn static void
print_help(void)
{
	size_t i;

	printf("bulkheadd - virtual networks for virtual machines, every part "
	       "in a process of\nits own, behind QMP\n\n"
	       "Usage: bulkheadd [OPTION...]\n\n"
	       "Options are taken in order, with one dash or two; an argument "
	       "is the next word\nor stands behind '='.\n\n");
	for (i = 0; i < OPT_COUNT; i++)
		print_option(&table[i]);
	printf("\nWithout a network on the command line, the default one "
	       "starts: user-mode\nnetworking, two ports for virtual machines "
	       "(DIR/vm0.sock, DIR/vm1.sock) and a\ncapture (DIR/capture.pcap) "
	       "on hub 0, QMP on DIR/qmp.sock. DIR is --run-dir:\n"
	       "/run/bulkhead for root, $XDG_RUNTIME_DIR/bulkhead for others."
	       "\n\nExamples:\n"
	       "  bulkheadd -netdev user,id=u0 -netdev hubport,id=p0,hubid=0,"
	       "netdev=u0 \\\n"
	       "            -qmp unix:/run/bulkhead/qmp.sock,server=on,"
	       "wait=off\n"
	       "  bulkheadd --policy /etc/bulkhead/policy --daemonize "
	       "--pidfile /run/bulkheadd.pid\n\n"
	       "Manual: bulkheadd(8). Signals: TERM and INT end everything in "
	       "order.\n");
	exit(0);
}

_Noreturn static void
print_version(void)
{
	const struct scmp_version *seccomp = seccomp_version();
	size_t i;

	printf("bulkheadd " BULKHEAD_VERSION "\n");
	printf("libc %s, libseccomp %u.%u.%u\n", gnu_get_libc_version(),
	    seccomp->major, seccomp->minor, seccomp->micro);
	printf("netdev types: none, hubport");
	for (i = 0; i < backend_entry_count; i++)
		printf(", %s", backend_entries[i].type);
	printf("\n");
	exit(0);
}

/* The place of a word in a list, or the option is wrong. */
static unsigned
choose(const char *option, const char *arg, const char *const *names,
    unsigned count)
{
	char text[128] = "must be one of";
	unsigned i;

	for (i = 0; i < count; i++)
		if (strcmp(names[i], arg) == 0)
			return i;
	for (i = 0; i < count; i++)
		snprintf(text + strlen(text), sizeof text - strlen(text),
		    "%s %s", i > 0 ? "," : "", names[i]);
	wrong(option, arg, text);
}

static void
take(struct options *o, enum option_id id, const char *word, const char *arg)
{
	switch (id) {
	case OPT_POLICY:
		o->policy = arg;
		break;
	case OPT_SANDBOX:
		o->sandbox = (enum sandbox_mode)choose(word, arg, modes, 3);
		break;
	case OPT_RUN_DIR:
		o->run_dir = arg;
		break;
	case OPT_LIBEXEC:
		o->libexec = arg;
		break;
	case OPT_PIDFILE:
		o->pidfile = arg;
		break;
	case OPT_DAEMONIZE:
		o->daemonize = true;
		break;
	case OPT_LOG_FILE:
		o->log_file = arg;
		break;
	case OPT_LOG_LEVEL:
		o->log_level = (enum log_level)choose(word, arg, levels, 4);
		break;
	case OPT_CONFIG:
		if (o->config_count == OPTIONS_CONFIGS)
			wrong(word, arg, "too many of these");
		o->configs[o->config_count++] = arg;
		break;
	case OPT_HELP:
	case OPT_H:
		print_help();
	case OPT_VERSION:
	case OPT_V:
		print_version();
	default:
		break;
	}
}

/* Which option a word is; *arg is what stands behind '='. */
static enum option_id
find(const char *word, const char **arg)
{
	size_t len, i;

	*arg = NULL;
	if (word[0] != '-')
		return OPT_COUNT;
	word += word[1] == '-' ? 2 : 1;
	len = strcspn(word, "=");
	for (i = 0; i < OPT_COUNT; i++) {
		if (strlen(table[i].name) != len ||
		    strncmp(table[i].name, word, len) != 0)
			continue;
		if (word[len] == '=')
			*arg = word + len + 1;
		return (enum option_id)i;
	}
	return OPT_COUNT;
}

void
options_read(struct options *o, int argc, char **argv)
{
	enum option_id id;
	const char *arg;
	char word[64];
	int i;

	for (i = 1; i < argc; i++) {
		id = find(argv[i], &arg);
		if (id == OPT_COUNT)
			continue;
		snprintf(word, sizeof word, "%.*s", (int)strcspn(argv[i], "="),
		    argv[i]);
		if (table[id].arg != NULL && arg == NULL)
			arg = ++i < argc ? argv[i] : NULL;
		if (table[id].who != LAUNCHER)
			continue;
		if (table[id].arg != NULL && (arg == NULL || *arg == '\0'))
			wrong(word, NULL, "an argument is missing");
		if (table[id].arg == NULL && arg != NULL)
			wrong(word, arg, "takes no argument");
		take(o, id, word, arg);
	}
}
