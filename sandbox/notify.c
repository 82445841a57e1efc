/*
 * notify.c - who waits for us: the service manager, the shell, a pid file.
 *
 * Runs in: launcher. Trusts: whoever started us.
 * Specification: sd_notify(3), daemon(7) "SysV Daemons", fcntl(2) OFD locks.
 */
#include "proto/addr.h"
#include "proto/sys.h"
#include "sandbox/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

void
notify_state(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	size_t len;
	int fd;

	if (path == NULL || (path[0] != '/' && path[0] != '@'))
		return;
	len = strlen(path);
	if (len >= sizeof to.sun_path)
		return;
	memcpy(to.sun_path, path, len);
	if (path[0] == '@')
		to.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	(void)sendto(fd, state, strlen(state), MSG_NOSIGNAL,
	    (struct sockaddr *)&to,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
	fd_close(&fd);
}

int
notify_pidfile(struct launcher *l)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int rc;

	if (l->options.pidfile == NULL)
		return 0;
	l->pidfile = rc = (int)sys_result(open(l->options.pidfile,
	    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
	if (rc < 0)
		return rc;
	(void)fchmod(l->pidfile, 0644); /* whatever the umask is */
	return (int)sys_result(fcntl(l->pidfile, F_OFD_SETLK, &lock));
}

static void
write_pidfile(struct launcher *l)
{
	char text[32];
	int len = snprintf(text, sizeof text, "%d\n", (int)getpid());

	if (l->pidfile < 0)
		return;
	if (ftruncate(l->pidfile, 0) < 0 ||
	    pwrite(l->pidfile, text, (size_t)len, 0) != len)
		log_event(LOG_WARN, "pidfile.write", "file=%s",
		    log_quote(l->options.pidfile));
}

void
notify_gone(struct launcher *l)
{
	if (l->pidfile >= 0)
		(void)unlinkat(l->start_dir, l->options.pidfile, 0);
}

/* --- daemonize -------------------------------------------------------- */

static bool
pass_on(int from)
{
	char buf[4096];
	ssize_t got = sys_result(read(from, buf, sizeof buf));

	if (got <= 0)
		return got == -EINTR;
	(void)sys_write(STDERR_FILENO, buf, (size_t)got);
	return true;
}

/*
 * The foreground process: shows what is logged until the daemon is up or has
 * failed, and ends with the code that says so.
 */
_Noreturn static void
stand_by(pid_t pid, int up, int log)
{
	struct pollfd wait[2] = {{up, POLLIN, 0}, {log, POLLIN, 0}};
	char code = 1;
	int status;

	while (poll(wait, 2, -1) > 0 || sys_result(-1) == -EINTR) {
		if (wait[1].revents && !pass_on(log))
			wait[1].fd = -1;
		if (wait[0].revents)
			break;
	}
	while (poll(&wait[1], 1, 0) > 0 && pass_on(log))
		;
	if (read(up, &code, 1) == 1)
		_exit(code);
	if (waitpid(pid, &status, 0) == pid && WIFEXITED(status))
		_exit(WEXITSTATUS(status));
	_exit(1);
}

int
notify_daemonize(struct launcher *l)
{
	int up[2], log[2], rc;
	pid_t pid;

	rc = (int)sys_result(pipe2(up, O_CLOEXEC));
	if (rc >= 0)
		rc = (int)sys_result(pipe2(log, O_CLOEXEC));
	if (rc < 0)
		return rc;
	pid = (pid_t)sys_result(fork());
	if (pid < 0)
		return pid;
	if (pid > 0) {
		fd_close(&up[1]);
		fd_close(&log[1]);
		stand_by(pid, up[0], log[0]);
	}
	fd_close(&up[0]);
	(void)setsid();
	l->up_pipe = up[1];
	/*
	 * The first children keep this one when the foreground has ended. It
	 * must not break then, nor may it make anybody wait when it is full.
	 */
	l->log_sink = log[0];
	rc = sys_nonblock(log[1], true);
	if (rc >= 0 && l->options.log_file == NULL)
		rc = (int)sys_result(dup3(log[1], STDERR_FILENO, 0));
	fd_close(&log[1]);
	return rc < 0 ? rc : (int)sys_result(chdir("/"));
}

void
notify_up(struct launcher *l)
{
	static const char success = 0;

	write_pidfile(l);
	notify_state("READY=1");
	log_event(LOG_INFO, "launcher.up", "pid=%d", (int)getpid());
	fd_close(&l->start_err);
	if (l->up_pipe < 0)
		return;
	(void)dup3(l->null_fd, STDIN_FILENO, 0);
	(void)dup3(l->null_fd, STDOUT_FILENO, 0);
	if (l->options.log_file == NULL)
		(void)dup3(l->null_fd, STDERR_FILENO, 0);
	(void)sys_write(l->up_pipe, &success, 1);
	fd_close(&l->up_pipe);
}
