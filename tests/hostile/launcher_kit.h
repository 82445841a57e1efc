/*
 * launcher_kit.h - the broker's side of the launcher's channel, for tests, and
 * a way to run the real bulkheadd with programs of ours in place of its own.
 */
#ifndef TESTS_HOSTILE_LAUNCHER_KIT_H
#define TESTS_HOSTILE_LAUNCHER_KIT_H

#include "proto/launch.h"
#include "proto/sys.h"
#include "sandbox/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- in the fake broker ----------------------------------------------- */

#define GOT_FDS_MAX 8 /* more than there are in any message */

/* What came last from the launcher. */
static struct {
	struct launch_msg msg;
	int fds[GOT_FDS_MAX];
	unsigned fd_count;
} got;

static inline void
say(const char *fmt, ...)
{
	char line[512];
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(line, sizeof line, fmt, args);
	va_end(args);
	(void)sys_write(STDERR_FILENO, line, (size_t)len);
}

static inline struct launch_msg
message(uint32_t type, uint32_t slot)
{
	static uint32_t seq;
	struct launch_msg msg;

	memset(&msg, 0, sizeof msg);
	msg.magic = LAUNCH_MAGIC;
	msg.type = type;
	msg.seq = ++seq;
	msg.slot = slot;
	return msg;
}

static inline int
post_raw(const void *bytes, size_t len, const int *fds, unsigned count)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(8 * sizeof(int))];
	} control;
	struct iovec piece = {(void *)(uintptr_t)bytes, len};
	struct msghdr head = {.msg_iov = &piece, .msg_iovlen = 1};

	if (count > 0) {
		memset(&control, 0, sizeof control);
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&control.head), fds, count * sizeof(int));
		head.msg_control = &control;
		head.msg_controllen = CMSG_SPACE(count * sizeof(int));
	}
	return (int)sys_result(sendmsg(FD_LAUNCHER, &head, MSG_NOSIGNAL));
}

static inline void
post(const struct launch_msg *msg)
{
	if (post_raw(msg, sizeof *msg, NULL, 0) != (int)sizeof *msg)
		say("FAIL cannot post %u\n", msg->type);
}

/* The next message; the process ends when the launcher is gone. */
static inline void
take(void)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(GOT_FDS_MAX * sizeof(int))];
	} control;
	struct iovec piece = {&got.msg, sizeof got.msg};
	struct msghdr head = {.msg_iov = &piece,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = sizeof control};
	struct cmsghdr *c;

	while (got.fd_count > 0)
		fd_close(&got.fds[--got.fd_count]);
	if (recvmsg(FD_LAUNCHER, &head, MSG_CMSG_CLOEXEC) !=
	    (ssize_t)sizeof got.msg)
		_exit(3);
	c = CMSG_FIRSTHDR(&head);
	if (c != NULL) {
		got.fd_count =
		    (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(got.fds, CMSG_DATA(c), got.fd_count * sizeof(int));
	}
}

/* Take until this type about this slot comes; say what came instead. */
static inline void
take_type(uint32_t type, uint32_t slot)
{
	int i;

	for (i = 0; i < 64; i++) {
		take();
		if (got.msg.type == type && got.msg.slot == slot)
			return;
	}
	say("FAIL %u for slot %u did not come\n", type, slot);
}

static inline void
ask(const struct launch_msg *msg, uint32_t answer)
{
	post(msg);
	take_type(answer, msg->slot);
	if (got.msg.seq != msg->seq)
		say("FAIL answer %u has another seq\n", answer);
}

#define EXPECT(cond)                                                           \
	do {                                                                   \
		if (!(cond))                                                   \
			say("FAIL %s:%d %s; error=%d text=%s\n",               \
			    __FILE_NAME__, __LINE__, #cond,                    \
			    got.msg.result.error, got.msg.result.text);        \
	} while (0)

/* --- in the test ------------------------------------------------------ */

struct outcome {
	int status; /* exit code of bulkheadd, or 128 + signal, -1: hung */
	char text[65536];
};

/* The directory of this program's own file. */
static inline void
own_dir(char *buf, size_t size)
{
	ssize_t len = readlink("/proc/self/exe", buf, size - 1);

	buf[len < 0 ? 0 : len] = '\0';
	*strrchr(buf, '/') = '\0';
}

static inline void
copy_file(const char *from, const char *to)
{
	char buf[65536];
	ssize_t len;
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);

	while (in >= 0 && out >= 0 && (len = read(in, buf, sizeof buf)) > 0)
		if (write(out, buf, (size_t)len) != len)
			break;
	if (in < 0 || out < 0) {
		fprintf(stderr, "cannot copy %s to %s\n", from, to);
		exit(1);
	}
	fd_close(&in);
	fd_close(&out);
}

/* Start bulkheadd with these arguments as this user; *err is its log. */
static inline pid_t
launch(char *const *argv, uid_t uid, int *err)
{
	int log[2];
	pid_t pid;

	if (pipe2(log, O_CLOEXEC) < 0)
		exit(1);
	pid = fork();
	if (pid == 0) {
		(void)dup2(log[1], STDOUT_FILENO);
		(void)dup2(log[1], STDERR_FILENO);
		if (uid != 0 && geteuid() == 0 &&
		    (setresgid(uid, uid, uid) < 0 ||
			setresuid(uid, uid, uid) < 0))
			_exit(126);
		execv(argv[0], argv);
		_exit(127);
	}
	fd_close(&log[1]);
	*err = log[0];
	return pid;
}

/* Read the log until bulkheadd and all its children have closed it. */
static inline void
finish(pid_t pid, int err, struct outcome *out)
{
	struct pollfd wait = {err, POLLIN, 0};
	size_t used = 0;
	ssize_t len;
	int status;

	for (;;) {
		if (poll(&wait, 1, 20000) <= 0) {
			(void)kill(pid, SIGKILL);
			break;
		}
		len = read(err, out->text + used, sizeof out->text - 1 - used);
		if (len <= 0)
			break;
		used += (size_t)len;
	}
	out->text[used] = '\0';
	fd_close(&err);
	(void)waitpid(pid, &status, 0);
	out->status =
	    WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#endif
