/*
 * acl.c - who may join which bridge.
 *
 * Runs in: the bridge helper, perhaps set-uid. Trusts: a file that nobody but
 * root or ourselves could have written.
 * Specification: netdevs.md 8.5.
 */
#include "contrib/bridge-helper/acl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_BYTES 4096
#define DEPTH_MAX  8 /* a file that includes itself ends here */

static int read_file(struct acl *acl, const char *file, unsigned depth);

static bool
fits(const struct acl *acl, const char *name)
{
	return strcmp(name, "all") == 0 || strcmp(name, acl->bridge) == 0;
}

static int
bad(struct acl *acl, const char *what, const char *object)
{
	if (acl->error[0] == '\0')
		(void)snprintf(
		    acl->error, sizeof acl->error, "%s%.200s", what, object);
	return -1;
}

static int
read_line(struct acl *acl, char *line, unsigned depth)
{
	char *state = NULL;
	char *command = strtok_r(line, " \t\r\n", &state);
	char *argument = strtok_r(NULL, " \t\r\n", &state);

	if (command == NULL || command[0] == '#')
		return 0;
	if (argument == NULL)
		return bad(acl, "Invalid config line: ", command);
	if (strcmp(command, "allow") == 0)
		acl->allowed |= fits(acl, argument);
	else if (strcmp(command, "deny") == 0)
		acl->denied |= fits(acl, argument);
	else if (strcmp(command, "include") == 0) {
		struct acl inner = *acl;

		/* As qemu-bridge-helper: what it lacks is no error. But what
		 * could be read of a file that has one denies nothing less. */
		if (depth < DEPTH_MAX &&
		    read_file(&inner, argument, depth + 1) == 0)
			acl->allowed |= inner.allowed;
		acl->denied |= inner.denied;
		acl->lines = inner.lines;
	} else
		return bad(acl, "Unknown command: ", command);
	return 0;
}

/* Only root, or who started us, may say who may. */
static bool
is_trusted(const struct acl *acl, int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       (st.st_uid == 0 || st.st_uid == acl->owner) &&
	       (st.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

static int
read_file(struct acl *acl, const char *file, unsigned depth)
{
	char line[LINE_BYTES];
	FILE *f;
	int fd, rc = 0;

	fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return bad(acl, "cannot open acl file ", file);
	if (!is_trusted(acl, fd)) {
		(void)close(fd);
		return bad(acl, "others may write acl file ", file);
	}
	f = fdopen(fd, "r");
	if (f == NULL) {
		(void)close(fd);
		return bad(acl, "cannot read acl file ", file);
	}
	while (rc == 0 && fgets(line, sizeof line, f) != NULL) {
		/* Cut, or with a NUL in it: not a line that was meant so. */
		if (strchr(line, '\n') == NULL && !feof(f))
			rc = bad(acl, "a line is too long in acl file ", file);
		else if (++acl->lines > ACL_LINES_MAX)
			rc = bad(acl, "too many lines in acl file ", file);
		else
			rc = read_line(acl, line, depth);
	}
	(void)fclose(f);
	return rc;
}

int
acl_read(struct acl *acl, const char *file)
{
	acl->allowed = acl->denied = false;
	acl->lines = 0;
	acl->error[0] = '\0';
	if (read_file(acl, file, 0) < 0)
		return -1;
	return acl->lines > ACL_LINES_MAX
		   ? bad(acl, "too many lines in acl file ", file)
		   : 0;
}
