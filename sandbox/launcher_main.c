/*
 * launcher_main.c - bulkheadd: start-up of the launcher, from top to bottom.
 *
 * Runs in: launcher. Trusts: the operator's command line and files.
 * Specification: DESIGN sections 1 and 2.
 */
#include "proto/sys.h"
#include "sandbox/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Room in the broker's argv for what we add (spawn.c). */
#define OUR_ARGS 16

static struct launcher launcher;

/* A start-up error is one line, and the end. */
_Noreturn static void
fail(const char *option, const char *arg, const char *text)
{
	fprintf(stderr, "bulkheadd: %s %s: %s\n", option, arg, text);
	exit(1);
}

_Noreturn static void
fail_errno(const char *option, const char *arg, int rc)
{
	fail(option, arg, strerrordesc_np(-rc));
}

/* --- where things are ------------------------------------------------- */

/* $XDG_RUNTIME_DIR/bulkhead; the text lives as long as the process. */
static const char *
usual_run_dir(bool root)
{
	static char path[LAUNCH_PATH];
	const char *dir = getenv("XDG_RUNTIME_DIR");

	if (root)
		return "/run/bulkhead";
	if (dir == NULL || dir[0] != '/')
		fail("--run-dir", "DIR",
		    "must be given, because XDG_RUNTIME_DIR is not set");
	snprintf(path, sizeof path, "%s/bulkhead", dir);
	return path;
}

static void
open_run_dir(struct launcher *l)
{
	static char real[PATH_MAX];
	struct options *o = &l->options;
	struct stat st;
	int rc;

	if (o->run_dir == NULL)
		o->run_dir = usual_run_dir(l->root);
	rc = (int)sys_result(mkdir(o->run_dir, 0750));
	if (rc < 0 && rc != -EEXIST)
		fail_errno("--run-dir", o->run_dir, rc);
	l->run_dir = rc = (int)sys_result(
	    open(o->run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	if (rc >= 0)
		rc = (int)sys_result(fstat(l->run_dir, &st));
	if (rc < 0)
		fail_errno("--run-dir", o->run_dir, rc);
	if (st.st_uid != geteuid())
		fail("--run-dir", o->run_dir, "belongs to another user");
	if (st.st_mode & S_IWOTH)
		fail("--run-dir", o->run_dir, "is writable for everybody");
	if (realpath(o->run_dir, real) == NULL || strlen(real) >= LAUNCH_PATH)
		fail("--run-dir", o->run_dir, "has too long a name");
	o->run_dir = real;
}

/*
 * The directory of the other programs: beside bin/ as built, or as installed.
 */
static const char *
usual_libexec(void)
{
	static const char *const places[] = {"libexec", "libexec/bulkhead"};
	static char path[PATH_MAX + 64];
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
	char *slash;
	size_t i;

	if (len < 0)
		return "libexec";
	self[len] = '\0';
	slash = strrchr(self, '/');
	*slash = '\0';
	for (i = 0; i < 2; i++) {
		snprintf(path, sizeof path, "%s/../%s/bulkhead-broker", self,
		    places[i]);
		if (access(path, X_OK) == 0)
			break;
	}
	*strrchr(path, '/') = '\0';
	return path;
}

static void
open_places(struct launcher *l)
{
	struct options *o = &l->options;
	int rc;

	if (o->libexec == NULL)
		o->libexec = usual_libexec();
	l->libexec_dir = rc =
	    (int)sys_result(open(o->libexec, O_PATH | O_DIRECTORY | O_CLOEXEC));
	if (rc < 0)
		fail_errno("--libexec", o->libexec, rc);
	rc = (int)sys_result(
	    faccessat(l->libexec_dir, "bulkhead-broker", X_OK, 0));
	if (rc < 0)
		fail("--libexec", o->libexec, "has no bulkhead-broker");
	l->start_dir = rc =
	    (int)sys_result(open(".", O_PATH | O_DIRECTORY | O_CLOEXEC));
	if (!getcwd(l->start_path, sizeof l->start_path))
		l->start_path[0] = '\0';
	if (rc >= 0)
		l->null_fd = rc =
		    (int)sys_result(open("/dev/null", O_RDWR | O_CLOEXEC));
	if (rc < 0)
		fail_errno("start in", ".", rc);
}

/* --- what the operator wrote ------------------------------------------ */

static void
open_configs(struct launcher *l)
{
	const struct options *o = &l->options;
	unsigned i;
	int rc;

	for (i = 0; i < o->config_count; i++) {
		l->config_fds[i] = rc =
		    (int)sys_result(open(o->configs[i], O_RDONLY | O_CLOEXEC));
		if (rc < 0)
			fail_errno("--config", o->configs[i], rc);
	}
}

static void
open_policy(struct launcher *l)
{
	const struct options *o = &l->options;
	struct err err;

	if (o->policy == NULL)
		policy_usual(&l->policy, l->root, o->run_dir);
	else if (policy_load(&l->policy, o->policy, o->run_dir, &err) < 0)
		fail("--policy", o->policy, err.text);
}

static void
read_command_line(struct launcher *l, int argc, char **argv)
{
	struct options *o = &l->options;

	o->sandbox = l->root ? SANDBOX_STRICT : SANDBOX_BEST_EFFORT;
	o->log_level = LOG_INFO;
	options_read(o, argc, argv);
	l->broker_args = calloc((size_t)argc + OUR_ARGS, sizeof(char *));
	if (l->broker_args == NULL)
		exit(1);
	memcpy(l->broker_args, argv, (size_t)argc * sizeof(char *));
	l->broker_args[0] = (char *)(uintptr_t) "bulkhead-broker";
	l->broker_arg_count = argc;
}

/* --- what we may do --------------------------------------------------- */

static void
raise_files(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return;
	files.rlim_cur = files.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &files);
}

static void
check_sandbox(struct launcher *l)
{
	const char *mode = options_sandbox_name(l->options.sandbox);
	struct err err;

	if (spawn_probe(l, &err) < 0)
		fail("--sandbox", mode, err.text);
	if (l->options.sandbox == SANDBOX_OFF)
		log_event(LOG_WARN, "sandbox.off", "text=%s",
		    log_quote("NOTHING IS CONFINED: for debuggers only"));
}

/* From here on standard error, which every child gets, is the file. */
static void
open_log(struct launcher *l)
{
	const char *file = l->options.log_file;
	int fd, rc;

	if (file == NULL)
		return;
	fd = rc = (int)sys_result(open(
	    file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640));
	if (rc >= 0)
		l->start_err = rc =
		    (int)sys_result(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3));
	if (rc >= 0)
		rc = (int)sys_result(dup3(fd, STDERR_FILENO, 0));
	if (rc < 0)
		fail_errno("--log-file", file, rc);
	fd_close(&fd);
	log_open("launcher", "-", l->options.log_level);
}

/* Whoever started us looks at a terminal, not at the log. */
static void
point_to_log(const struct launcher *l, int code)
{
	if (code != 0 && l->start_err >= 0)
		dprintf(l->start_err,
		    "bulkheadd: --log-file %s: the start failed, the log says "
		    "why\n",
		    l->options.log_file);
}

static void
hold_pidfile(struct launcher *l)
{
	int rc = notify_pidfile(l);

	if (rc == -EAGAIN || rc == -EACCES)
		fail("--pidfile", l->options.pidfile,
		    "another bulkheadd holds it");
	if (rc < 0)
		fail_errno("--pidfile", l->options.pidfile, rc);
}

int
main(int argc, char **argv)
{
	struct launcher *l = &launcher;
	int rc;

	launcher_init(l);
	inherit_scan(l);
	l->root = filter_is_root();
	read_command_line(l, argc, argv);
	open_run_dir(l);
	open_places(l);
	open_configs(l);
	open_policy(l);
	if (l->options.log_file == NULL)
		log_open("launcher", "-", l->options.log_level);
	open_log(l);
	inherit_listeners(l);
	if (l->options.daemonize && (rc = notify_daemonize(l)) < 0)
		fail_errno("--daemonize", "", rc);
	hold_pidfile(l);
	raise_files();
	check_sandbox(l);
	if (l->root && (rc = filter_caps()) < 0)
		fail_errno("--sandbox", "capabilities", rc);
	rc = launcher_run(l);
	point_to_log(l, rc);
	return rc;
}
