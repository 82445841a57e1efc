/*
 * confine.c - a child's half of its confinement, in order.
 *
 * Runs in: every program but the launcher. Trusts: the launcher, and until
 * stage 4 the libraries; afterwards nothing, which is why nothing is kept.
 * Specification: DESIGN section 3; prctl(2), unix(7).
 *
 * The launcher says what it did and what it wants by options that it puts
 * behind all others (the last one counts):
 *   --id=NAME --log-level=NAME
 *   --sandbox=strict|best-effort|off:MASK   and the layers of stage 1
 *   --ring-bytes=N --resources=MASK --network=host|none
 *   --map-offset=N --map-bytes=N   of a netmap port's memory
 *   --lookup=NAME --family=N       what bulkhead-resolve looks up
 *   --etc-fd=N --tftp-fd=N   directories for the root, as detached mounts
 * "strict": a layer that fails ends the process. "best-effort": it is left
 * out and READY does not claim it; only seccomp is never left out. "off":
 * stages 2 and 4 do nothing.
 */
#include "proto/launch.h"
#include "proto/log.h"
#include "proto/sys.h"
#include "sandbox/confine_child.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* linux/prctl.h since Linux 6.3; not in Debian 12's headers. */
#define SET_MDWE         65
#define MDWE_REFUSE_EXEC 1u

enum mode { MODE_STRICT, MODE_BEST_EFFORT, MODE_OFF };

static struct {
	const char *role;
	const char *id;
	enum mode mode;
	enum log_level log_level;
	uint64_t ring_bytes, map_offset, map_bytes;
	uint32_t resources;
	bool host_network;
	int etc_fd, tftp_fd;
	uint64_t layers; /* bit per enum layer in force */
	bool words_sent;
} self = {.role = "-", .id = "-", .etc_fd = -1, .tftp_fd = -1};

/* --- what the launcher told us ---------------------------------------- */

static int arg_count;
static char **arg_list;

/* glibc calls constructors with main's arguments. */
__attribute__((constructor)) static void
keep_arguments(int argc, char **argv)
{
	arg_count = argc;
	arg_list = argv;
}

/* The value of the last --NAME=VALUE, or NULL. */
static const char *
option(const char *name)
{
	size_t len = strlen(name);
	int i;

	for (i = arg_count - 1; i > 0; i--)
		if (strncmp(arg_list[i], "--", 2) == 0 &&
		    strncmp(arg_list[i] + 2, name, len) == 0 &&
		    arg_list[i][2 + len] == '=')
			return arg_list[i] + 2 + len + 1;
	return NULL;
}

static uint64_t
option_number(const char *name, uint64_t usual)
{
	const char *text = option(name);

	return text == NULL ? usual : strtoull(text, NULL, 0);
}

static enum log_level
log_level_of(const char *name)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};
	int i;

	for (i = LOG_ERROR; i <= LOG_DEBUG && name != NULL; i++)
		if (strcmp(names[i], name) == 0)
			return (enum log_level)i;
	return LOG_INFO;
}

static void
read_options(void)
{
	const char *mode = option("sandbox");
	const char *layers = mode != NULL ? strchr(mode, ':') : NULL;
	const char *network = option("network");
	const char *id = option("id");

	if (mode != NULL && strncmp(mode, "off", 3) == 0)
		self.mode = MODE_OFF;
	else if (mode != NULL && strncmp(mode, "best-effort", 11) == 0)
		self.mode = MODE_BEST_EFFORT;
	if (layers != NULL)
		self.layers = strtoull(layers + 1, NULL, 0);
	self.log_level = log_level_of(option("log-level"));
	if (id != NULL)
		self.id = id;
	self.host_network = network != NULL && strcmp(network, "host") == 0;
	self.ring_bytes = option_number("ring-bytes", 0);
	self.map_offset = option_number("map-offset", 0);
	self.map_bytes = option_number("map-bytes", 0);
	self.resources = (uint32_t)option_number("resources", 0);
	self.etc_fd = (int)option_number("etc-fd", UINT64_MAX);
	self.tftp_fd = (int)option_number("tftp-fd", UINT64_MAX);
}

const char *
confine_id(void)
{
	return self.id;
}

uint64_t
confine_ring_bytes(void)
{
	return self.ring_bytes;
}

uint32_t
confine_resources(void)
{
	return self.resources;
}

const char *
confine_lookup(int *family)
{
	*family = (int)option_number("family", 0);
	return option("lookup");
}

void
confine_map(uint64_t *offset, uint64_t *bytes)
{
	*offset = self.map_offset;
	*bytes = self.map_bytes;
}

bool
confine_off(void)
{
	return self.mode == MODE_OFF;
}

int
confine_watch_fd(void)
{
	return FD_LAUNCHER;
}

/* --- what we tell the launcher ---------------------------------------- */

static int
tell(uint32_t type, enum confine_stage stage, int error, const char *text)
{
	struct launch_msg msg;

	memset(&msg, 0, sizeof msg);
	msg.magic = LAUNCH_MAGIC;
	msg.type = type;
	msg.result.error = error;
	msg.result.stage = stage;
	msg.result.layers = self.layers;
	snprintf(msg.result.text, sizeof msg.result.text, "%s", text);
	return (int)sys_result(
	    send(FD_LAUNCHER, &msg, sizeof msg, MSG_DONTWAIT | MSG_NOSIGNAL));
}

void
confine_fail(enum confine_stage stage, int error, const char *text)
{
	self.words_sent = true;
	/* A launcher that cannot be told sees us end. */
	(void)tell(LAUNCH_FAILED, stage, error, text);
	log_event(LOG_ERROR, "process.fail", "stage=%d error=%s text=%s",
	    (int)stage, strerrorname_np(error < 0 ? -error : error),
	    log_quote(text));
	_exit(1);
}

static void
leave_words(const char *words)
{
	self.words_sent = true;
	(void)tell(LAUNCH_FAILED, STAGE_RUN, 0, words);
}

/*
 * Process 1 of a pid namespace cannot be ended by a SIGABRT without catcher.
 * The launcher reads this exit code as that signal.
 */
static void
aborted(int signo)
{
	if (!self.words_sent)
		leave_words("SIGABRT");
	_exit(128 + signo);
}

void
confine_ready(void)
{
	int rc = tell(LAUNCH_READY, STAGE_LOCK, 0, "");

	if (rc < 0)
		confine_fail(STAGE_LOCK, rc, "cannot tell the launcher");
}

/* --- stages 2 and 4 --------------------------------------------------- */

/* A layer is in force, or its absence is accepted, or this does not return. */
static void
layer(enum layer which, int rc)
{
	if (rc >= 0) {
		self.layers |= UINT64_C(1) << which;
		return;
	}
	if (self.mode == MODE_STRICT && which != LAYER_MDWE)
		confine_fail(STAGE_EXEC, rc, layer_name(which));
	log_event(LOG_DEBUG, "layer.missing", "name=%s error=%s",
	    layer_name(which), strerrorname_np(-rc));
}

static void
begin_layers(void)
{
	static const char *const nothing[] = {NULL};
	static const char *const user_root[] = {"/etc", "/tftp", NULL};
	bool shown = self.etc_fd >= 0 || self.tftp_fd >= 0;
	int rc = -EPERM;

	/* Without an own mount namespace it would be the host's root. */
	if (self.layers & UINT64_C(1) << LAYER_MOUNT_NS)
		rc = confine_root(self.etc_fd, self.tftp_fd);
	layer(LAYER_ROOT, rc);
	fd_close(&self.etc_fd);
	fd_close(&self.tftp_fd);
	layer(LAYER_CAPS, confine_caps());
	layer(LAYER_DUMPABLE, (int)sys_result(prctl(PR_SET_DUMPABLE, 0)));
	layer(
	    LAYER_NNP, (int)sys_result(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)));
	layer(LAYER_LANDLOCK,
	    confine_landlock(shown ? user_root : nothing, self.host_network));
	/* A kernel before 6.3 has none: reported, and never fatal. */
	layer(LAYER_MDWE,
	    (int)sys_result(prctl(SET_MDWE, MDWE_REFUSE_EXEC, 0, 0, 0)));
}

void
confine_begin(const char *role)
{
	struct sigaction catcher = {.sa_handler = aborted};
	socklen_t len = sizeof(int);
	int type = 0;

	self.role = role;
	read_options();
	log_open(role, self.id, self.log_level);
	if (getsockopt(FD_LAUNCHER, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
	    type != SOCK_SEQPACKET) {
		log_event(LOG_ERROR, "process.fail", "text=%s",
		    log_quote("this program is started by bulkheadd"));
		_exit(2);
	}
	log_last_words(leave_words);
	(void)signal(SIGPIPE, SIG_IGN);
	if (self.mode == MODE_OFF)
		return;
	(void)sigaction(SIGABRT, &catcher, NULL);
	begin_layers();
}

/* Add the calls of a list to a text: `x` always, `x?` if its arguments are
 * right, `x!` answered with an error. */
static void
name_calls(char *text, size_t size, const struct syslist *list)
{
	size_t i, used;

	for (i = 0; i < list->count; i++) {
		const struct sysrule *rule = &list->rules[i];
		const char *mark = rule->args[0].op != ARG_ANY ? "?"
				   : rule->error != 0          ? "!"
							       : "";

		used = strlen(text);
		snprintf(text + used, size - used, "%s%s%s",
		    used > 0 ? "," : "", rule->name, mark);
	}
}

/* For auditors, and for the test that tries every call (probe_test.c). */
static void
show_lists(const struct syslist *base, const struct syslist *own)
{
	char text[2048] = "";

	if (self.log_level < LOG_DEBUG)
		return;
	name_calls(text, sizeof text, base);
	log_event(LOG_DEBUG, "seccomp.base", "calls=%s", text);
	text[0] = '\0';
	name_calls(text, sizeof text, own);
	log_event(LOG_DEBUG, "seccomp.own", "calls=%s", text);
}

void
confine_lock(const struct syslist *list)
{
	const struct syslist base = {"base", confine_base, confine_base_count};
	int rc;

	if (self.mode == MODE_OFF)
		return;
	show_lists(&base, list);
	rc = confine_filter(&base, list, true);
	if (rc < 0)
		confine_fail(STAGE_LOCK, rc, "seccomp");
	self.layers |= UINT64_C(1) << LAYER_SECCOMP;
}
