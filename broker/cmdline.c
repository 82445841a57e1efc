/*
 * cmdline.c - QEMU's option grammar: from argv to a running network.
 *
 * Runs in: the broker, until everything of the start is up.
 * Trusts: the operator, but not that the words are well-formed.
 * Specification: qemu-storage-daemon(1) for the order of options and the form
 *   of errors; qemu(1) for -netdev, -net, -nic, -qmp.
 *
 * The start is a sequence of steps. Some wait for the core; step_done() then
 * goes on. A step that completes at once only clears `waiting`, so the depth
 * of the stack does not grow with the number of options.
 */
#include "broker/cmdline.h"

#include "broker/chardev.h"
#include "broker/chardev_option.h"
#include "broker/config.h"
#include "broker/core.h"
#include "broker/default_network.h"
#include "broker/fdset_option.h"
#include "broker/monitor_commands.h"
#include "broker/net_option.h"
#include "broker/nic.h"
#include "broker/nic_option.h"
#include "broker/no_peer.h"
#include "broker/option.h"
#include "broker/qmp_option.h"
#include "proto/keyval.h"
#include "proto/log.h"
#include "proto/sys.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

/* What comes after what. */
enum phase {
	PHASE_OPTIONS,
	PHASE_DEFAULT, /* the embedded network, if none was asked for */
	PHASE_MONITOR, /* and its monitor */
	PHASE_WARN,
	PHASE_LATCH,
	PHASE_UP,
};

/* The start of this process. */
static struct start {
	struct core *core; /* borrowed */
	struct option_words words;
	struct option option; /* in work; for errors */
	const char *run_dir;  /* borrowed from argv */
	struct net_list nets; /* to be added, from net_at on */
	size_t net_at;
	unsigned config_count; /* --config options so far */
	enum phase phase;
	bool network; /* one was asked for, or "none" */
	bool nodefaults;
	bool monitors; /* a -qmp was given */
	bool embedded; /* the default network runs */
	bool waiting;  /* for the core */
	bool stepping; /* start_steps() is on the stack */
	bool over;     /* up, or failed */
	char monitor[sizeof(((struct sockaddr_un *)0)->sun_path)];
} start;

/* --- the end ----------------------------------------------------------------
 */

static void
print(int fd, const struct text *t)
{
	if (!t->failed)
		(void)sys_write(fd, t->data, t->len);
}

static void
start_end(struct start *s)
{
	s->over = true;
	net_list_clear(&s->nets);
}

/* "bulkheadd: OPTION ARG: TEXT", and the end of everything. */
static void
start_fail(struct start *s, const char *text)
{
	struct text t = {0};

	text_add_str(&t, "bulkheadd: ");
	if (s->option.name[0] != '\0') {
		text_add_str(&t, s->option.name);
		if (s->option.arg != NULL) {
			text_add_char(&t, ' ');
			text_add_str(&t, s->option.arg);
		}
		/* A line of a file: "--config FILE:3: ..." */
		text_add_str(&t, s->option.in_file ? ":" : ": ");
	}
	text_add_str(&t, text);
	text_add_char(&t, '\n');
	print(2, &t);
	text_free(&t);
	start_end(s);
	core_quit(s->core, 1, "start-error");
}

static void start_steps(struct start *s);

static void
step_done(void *self, const struct err *e)
{
	struct start *s = self;

	s->waiting = false;
	if (s->over)
		return;
	if (e != NULL)
		start_fail(s, e->text);
	else if (!s->stepping)
		start_steps(s);
}

/* --- options ----------------------------------------------------------------
 */

/* The models of cards are listed, and that is all. */
static void
help_models(struct start *s)
{
	struct text t = {0};

	text_add_str(&t, "Available NIC models:\n");
	for (unsigned i = 0; nic_model_name(i) != NULL; i++) {
		text_add_str(&t, nic_model_name(i));
		text_add_char(&t, '\n');
	}
	print(1, &t);
	text_free(&t);
	start_end(s);
	core_quit(s->core, 0, "help");
}

static void
take_netdev(struct start *s, const char *arg)
{
	struct text t = {0};
	struct err e;

	if (strcmp(arg, "help") == 0 || strcmp(arg, "?") == 0) {
		net_option_help(&t);
		print(1, &t);
		text_free(&t);
		start_end(s);
		core_quit(s->core, 0, "help");
		return;
	}
	if (net_option_asks_models(arg)) {
		help_models(s);
		return;
	}
	s->network = true;
	if (net_option_netdev(&s->nets, arg, &e) < 0)
		start_fail(s, e.text);
}

static void
take_net(struct start *s, const char *arg)
{
	struct err e;

	if (net_option_asks_models(arg)) {
		help_models(s);
		return;
	}
	s->network = true;
	if (net_option_net(&s->nets, arg, &e) < 0)
		start_fail(s, e.text);
}

static void
take_nic(struct start *s, const char *arg)
{
	struct err e;

	if (nic_option_asks_models(arg)) {
		help_models(s);
		return;
	}
	s->network = true;
	if (nic_option_parse(&s->nets, arg, &e) < 0)
		start_fail(s, e.text);
}

static void
warn_short_form(void *self, const char *word, const char *instead)
{
	const struct start *s = self;
	struct text t = {0};

	text_add_str(&t, "bulkheadd: ");
	text_add_str(&t, s->option.name);
	text_add_char(&t, ' ');
	text_add_str(&t, s->option.arg);
	text_add_str(&t, ": warning: short-form boolean option '");
	text_add_str(&t, word);
	text_add_str(&t, "' deprecated; please use ");
	text_add_str(&t, instead);
	text_add_str(&t, " instead\n");
	print(2, &t);
	text_free(&t);
}

static void
take_device(struct start *s, const char *arg)
{
	struct nic_device dev = {0};
	struct err e;

	if (strcmp(arg, "help") == 0 || strcmp(arg, "?") == 0) {
		help_models(s);
		return;
	}
	s->network = true;
	if (keyval_decode(&desc_nic_device, &dev, arg, "driver", &e) < 0) {
		start_fail(s, e.text);
		return;
	}
	s->waiting = true;
	core_device_add(s->core, &dev, step_done, s);
	desc_free(&desc_nic_device, &dev);
}

static void
take_qmp(struct start *s, const char *arg)
{
	char path[sizeof(s->monitor)];
	struct err e;

	s->monitors = true;
	if (qmp_option_parse(arg, path, warn_short_form, s, &e) < 0) {
		start_fail(s, e.text);
		return;
	}
	s->waiting = true;
	core_listen(s->core, path, step_done, s);
}

/* "-chardev help" is answered, and that is all. */
static void
help_chardev(struct start *s)
{
	struct text t = {0};

	chardev_option_help(&t);
	print(1, &t);
	text_free(&t);
	start_end(s);
	core_quit(s->core, 0, "help");
}

static void
take_chardev(struct start *s, const char *arg)
{
	struct chardev_add_args args = {0};
	struct err e;

	if (strcmp(arg, "help") == 0 || strcmp(arg, "?") == 0) {
		help_chardev(s);
		return;
	}
	if (chardev_option_parse(arg, &args, warn_short_form, s, &e) < 0) {
		start_fail(s, e.text);
		return;
	}
	s->waiting = true;
	chardev_add(s->core, &args, step_done, s);
	desc_free(&desc_chardev_add_args, &args);
}

static void
take_add_fd(struct start *s, const char *arg)
{
	s->waiting = true;
	fdset_option(s->core, arg, step_done, s);
}

static void
take_config(struct start *s)
{
	int fd = option_config_fd(&s->words, s->config_count++);

	s->network = true;
	if (fd < 0) {
		start_fail(s, "the launcher gave no descriptor for it");
		return;
	}
	s->option.in_file = true;
	s->waiting = true;
	config_run(fd, step_done, s);
}

/* "NAME" or "guest=NAME"; what else QEMU takes there is the guest's. */
static void
take_name(struct start *s, const char *arg)
{
	static const char key[] = "guest=";

	if (strncmp(arg, key, sizeof(key) - 1) == 0)
		arg += sizeof(key) - 1;
	if (strchr(arg, ',') != NULL)
		start_fail(s, "only a name is available in this build");
	else
		monitor_name_set(arg);
}

static void
take_switch(
    struct start *s, const char *arg, void (*turn)(struct core *c, bool on))
{
	bool on = strcmp(arg, "on") == 0;

	if (on || strcmp(arg, "off") == 0)
		turn(s->core, on);
	else
		start_fail(s, "\"on\" or \"off\" is expected");
}

static void
take_option(struct start *s)
{
	switch (s->option.id) {
	case OPTION_NETDEV:
		take_netdev(s, s->option.arg);
		break;
	case OPTION_NET:
		take_net(s, s->option.arg);
		break;
	case OPTION_NIC:
		take_nic(s, s->option.arg);
		break;
	case OPTION_CHARDEV:
		take_chardev(s, s->option.arg);
		break;
	case OPTION_DEVICE:
		take_device(s, s->option.arg);
		break;
	case OPTION_ADD_FD:
		take_add_fd(s, s->option.arg);
		break;
	case OPTION_QMP:
		take_qmp(s, s->option.arg);
		break;
	case OPTION_CONFIG:
		take_config(s);
		break;
	case OPTION_NAME:
		take_name(s, s->option.arg);
		break;
	case OPTION_NODEFAULTS:
		s->nodefaults = true;
		break;
	case OPTION_CROSSOVER:
		take_switch(s, s->option.arg, core_crossover);
		break;
	case OPTION_ARENA:
		take_switch(s, s->option.arg, core_arena);
		break;
	default:
		if (s->option.who == OPTION_REFUSED)
			start_fail(s, "not available in this build");
		/* The others are the launcher's */
		break;
	}
}

static void
next_option(struct start *s)
{
	struct err e;
	int rc = option_next(&s->words, &s->option, &e);

	if (rc < 0) {
		s->option = (struct option){0};
		start_fail(s, e.text);
	} else if (rc == 0) {
		s->option = (struct option){0};
		s->phase = PHASE_DEFAULT;
	} else {
		take_option(s);
	}
}

/* --- after the options ------------------------------------------------------
 */

static void
add_default_network(struct start *s)
{
	struct err e;

	s->phase = PHASE_MONITOR;
	if (s->network || s->nodefaults)
		return;
	s->embedded = true;
	if (s->run_dir == NULL)
		start_fail(s, "default network: no run directory is known");
	else if (default_network(&s->nets, s->run_dir, &e) < 0)
		start_fail(s, e.text);
}

static void
add_default_monitor(struct start *s)
{
	int len;

	s->phase = PHASE_WARN;
	if (!s->embedded || s->monitors)
		return;
	len =
	    snprintf(s->monitor, sizeof(s->monitor), "%s/qmp.sock", s->run_dir);
	if (len < 0 || (size_t)len >= sizeof(s->monitor)) {
		s->monitor[0] = '\0';
		start_fail(s, "the name of the run directory is too long");
		return;
	}
	s->waiting = true;
	core_listen(s->core, s->monitor, step_done, s);
}

static void
be_up(struct start *s)
{
	struct text t = {0};

	core_up(s->core);
	if (s->embedded) {
		default_network_tell(
		    &t, s->run_dir, s->monitor[0] != '\0' ? s->monitor : NULL);
		print(1, &t);
		text_free(&t);
	}
	log_event(LOG_INFO, "start.up", "embedded=%d", s->embedded);
	start_end(s);
}

/* --- the sequence -----------------------------------------------------------
 */

/* The netdevs of the last option come before the next one. */
static bool
add_next_netdev(struct start *s)
{
	if (s->net_at == s->nets.count) {
		net_list_clear(&s->nets);
		s->net_at = 0;
		return false;
	}
	s->waiting = true;
	core_netdev_add(s->core, &s->nets.items[s->net_at++], step_done, s);
	return true;
}

static void
start_step(struct start *s)
{
	if (add_next_netdev(s))
		return;
	switch (s->phase) {
	case PHASE_OPTIONS:
		next_option(s);
		break;
	case PHASE_DEFAULT:
		add_default_network(s);
		break;
	case PHASE_MONITOR:
		add_default_monitor(s);
		break;
	case PHASE_WARN:
		s->phase = PHASE_LATCH;
		s->waiting = true;
		no_peer_warn(step_done, s);
		break;
	case PHASE_LATCH:
		s->phase = PHASE_UP;
		s->waiting = true;
		core_latch(s->core, step_done, s);
		break;
	case PHASE_UP:
		be_up(s);
		break;
	}
}

static void
start_steps(struct start *s)
{
	s->stepping = true;
	while (!s->over && !s->waiting)
		start_step(s);
	s->stepping = false;
}

void
cmdline_run(struct core *c, struct loop *l, int argc, char **argv)
{
	struct start *s = &start;

	(void)l;
	*s = (struct start){.core = c};
	option_words_init(&s->words, argc, argv);
	s->run_dir = option_last(&s->words, OPTION_RUN_DIR);
	core_dirs(c, s->run_dir, option_last(&s->words, OPTION_START_DIR));
	start_steps(s);
}
