/*
 * attest.c - do not believe READY: look.
 *
 * Runs in: launcher. Trusts: /proc, and of the child's words only what /proc
 * does not show (the root, Landlock, MDWE, dumpable): when it said them it
 * had not read a byte from outside.
 * Specification: proc_pid_status(5), namespaces(7).
 */
#include "proto/sys.h"
#include "sandbox/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BIT(layer) (UINT64_C(1) << LAYER_##layer)

/* What only the child can know. */
#define CLAIMS (BIT(ROOT) | BIT(DUMPABLE) | BIT(LANDLOCK) | BIT(MDWE))

/* The text of /proc/PID/FILE, NUL-terminated. 0 or -errno. */
static int
read_proc(pid_t pid, const char *file, char *text, size_t size)
{
	char path[64];
	ssize_t got;
	int fd;

	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
	fd = (int)sys_result(open(path, O_RDONLY | O_CLOEXEC));
	if (fd < 0)
		return fd;
	got = sys_result(read(fd, text, size - 1));
	fd_close(&fd);
	text[got < 0 ? 0 : got] = '\0';
	return got < 0 ? (int)got : 0;
}

/* The value of a line "NAME:\tVALUE", or "". */
static const char *
field(const char *status, const char *name)
{
	const char *at = strstr(status, name);

	return at == NULL ? "" : at + strlen(name);
}

static bool
is_number(const char *status, const char *name, int base, uint64_t want)
{
	const char *text = field(status, name);

	return *text != '\0' && strtoull(text, NULL, base) == want;
}

static bool
no_caps(const char *status)
{
	static const char *const sets[] = {"\nCapInh:\t", "\nCapPrm:\t",
	    "\nCapEff:\t", "\nCapBnd:\t", "\nCapAmb:\t"};
	size_t i;

	for (i = 0; i < sizeof sets / sizeof *sets; i++)
		if (!is_number(status, sets[i], 16, 0))
			return false;
	return true;
}

/* A filter of its own, beside the one that it has from us. */
static bool
own_filter(const char *status)
{
	static char ours[4096];
	static const char name[] = "\nSeccomp_filters:\t";

	if (read_proc(getpid(), "status", ours, sizeof ours) < 0)
		return false;
	return is_number(status, "\nSeccomp:\t", 10, 2) &&
	       strtoull(field(status, name), NULL, 10) >
		   strtoull(field(ours, name), NULL, 10);
}

static bool
own_namespace(pid_t pid, const char *kind)
{
	char path[64], theirs[64] = "", ours[64] = "";

	snprintf(path, sizeof path, "/proc/%d/ns/%s", (int)pid, kind);
	if (readlink(path, theirs, sizeof theirs - 1) < 0)
		return false;
	snprintf(path, sizeof path, "/proc/self/ns/%s", kind);
	if (readlink(path, ours, sizeof ours - 1) < 0)
		return false;
	return strcmp(theirs, ours) != 0;
}

static uint64_t
namespaces(pid_t pid)
{
	static const struct {
		const char *kind;
		uint64_t bit;
	} of[] = {{"user", BIT(USER_NS)}, {"mnt", BIT(MOUNT_NS)},
	    {"pid", BIT(PID_NS)}, {"ipc", BIT(IPC_NS)}, {"uts", BIT(UTS_NS)},
	    {"net", BIT(NET_NS)}};
	uint64_t bits = 0;
	size_t i;

	for (i = 0; i < sizeof of / sizeof *of; i++)
		if (own_namespace(pid, of[i].kind))
			bits |= of[i].bit;
	return bits;
}

static void
name_layers(uint64_t layers, char *text, size_t size)
{
	size_t used;
	int i;

	snprintf(text, size, "missing layer:");
	for (i = 0; i < LAYER_COUNT; i++) {
		used = strlen(text);
		if (layers & UINT64_C(1) << i)
			snprintf(text + used, size - used, " %s",
			    layer_name((enum layer)i));
	}
}

/* Which missing layers end the child. */
static uint64_t
needed(const struct launcher *l)
{
	uint64_t all = ~(BIT(MDWE)); /* a kernel before 6.3 has none */

	if (l->options.sandbox == SANDBOX_OFF)
		return 0;
	if (l->options.sandbox == SANDBOX_BEST_EFFORT)
		return BIT(SECCOMP);
	return l->root ? all : all & ~BIT(UID);
}

int
attest(const struct launcher *l, const struct slot *s, uint64_t claimed,
    struct launch_result *out)
{
	static char status[4096];
	int rc;

	memset(out, 0, sizeof *out);
	out->pid = s->pid;
	out->uid = s->uid;
	out->epoch = s->epoch;
	rc = read_proc(s->pid, "status", status, sizeof status);
	if (rc < 0) {
		snprintf(out->text, sizeof out->text, "cannot be attested: %s",
		    strerrordesc_np(-rc));
		return rc;
	}
	out->layers = claimed & CLAIMS;
	out->layers |= s->layers & BIT(RLIMITS);
	out->layers |= s->layers & namespaces(s->pid);
	if (s->layers & BIT(UID) && is_number(status, "\nUid:\t", 10, s->uid))
		out->layers |= BIT(UID);
	if (no_caps(status))
		out->layers |= BIT(CAPS);
	if (is_number(status, "\nNoNewPrivs:\t", 10, 1))
		out->layers |= BIT(NNP);
	if (own_filter(status))
		out->layers |= BIT(SECCOMP);
	out->missing = spawn_wanted(l, s->role) & ~out->layers;
	if ((out->missing & needed(l)) == 0)
		return 0;
	name_layers(out->missing & needed(l), out->text, sizeof out->text);
	return -EPERM;
}
