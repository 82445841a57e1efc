/*
 * qmp_option.c - the text of -qmp.
 *
 * Runs in: the broker, during start.
 * Trusts: the operator, but not that the text is well-formed.
 * Specification: qemu(1), -qmp and -chardev socket.
 */
#include "broker/qmp_option.h"

#include "broker/net_option.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

struct item {
	const char *text; /* borrowed */
	size_t len;
};

static bool
item_is(const struct item *i, const char *word)
{
	return i->len == strlen(word) && memcmp(i->text, word, i->len) == 0;
}

/* The path with its doubled commas made single. */
static int
take_path(const struct item *i, char *path, struct err *err)
{
	size_t at = 0, len = 0;

	while (at < i->len) {
		if (len + 1 >= QMP_PATH_BYTES)
			return err_set(err, -EINVAL,
			    "UNIX socket path '%.*s' is too long", (int)i->len,
			    i->text);
		path[len++] = i->text[at];
		at += i->text[at] == ',' ? 2 : 1;
	}
	path[len] = '\0';
	if (len == 0)
		return err_set(err, -EINVAL, "Parameter 'path' is missing");
	return 0;
}

/* Spellings of what is done in any case. */
static const struct {
	const char *word;
	const char *instead; /* of a short form, else NULL */
} fine[] = {
    {"server=on", NULL},
    {"server=yes", NULL},
    {"wait=off", NULL},
    {"wait=no", NULL},
    {"server", "server=on"},
    {"nowait", "wait=off"},
};

/* What QEMU would do and this program does not. */
static const struct {
	const char *word;
	const char *text;
} refused[] = {
    {"wait=on", "wait=on is not available: nothing waits for a client"},
    {"wait=yes", "wait=on is not available: nothing waits for a client"},
    {"wait", "wait=on is not available: nothing waits for a client"},
    {"server=off", "server=off is not available: a monitor listens"},
    {"server=no", "server=off is not available: a monitor listens"},
    {"noserver", "server=off is not available: a monitor listens"},
};

static int
take_item(const struct item *i,
    void (*warn)(void *self, const char *word, const char *instead), void *self,
    struct err *err)
{
	size_t key;

	for (size_t k = 0; k < sizeof(fine) / sizeof(fine[0]); k++) {
		if (!item_is(i, fine[k].word))
			continue;
		if (fine[k].instead != NULL)
			warn(self, fine[k].word, fine[k].instead);
		return 0;
	}
	for (size_t k = 0; k < sizeof(refused) / sizeof(refused[0]); k++)
		if (item_is(i, refused[k].word))
			return err_set(err, -EINVAL, "%s", refused[k].text);
	key = 0;
	while (key < i->len && i->text[key] != '=')
		key++;
	if ((key == 6 && memcmp(i->text, "server", key) == 0) ||
	    (key == 4 && memcmp(i->text, "wait", key) == 0))
		return err_set(err, -EINVAL,
		    "Parameter '%.*s' expects 'on' or 'off'", (int)key,
		    i->text);
	return err_set(
	    err, -EINVAL, "Invalid parameter '%.*s'", (int)key, i->text);
}

int
qmp_option_parse(const char *arg, char *path,
    void (*warn)(void *self, const char *word, const char *instead), void *self,
    struct err *err)
{
	static const char scheme[] = "unix:";
	struct item i = {NULL, 0};
	const char *at;
	int rc;

	if (strncmp(arg, scheme, sizeof(scheme) - 1) != 0)
		return err_set(err, -EINVAL,
		    "not available in this build: only unix:PATH is");
	at = arg + sizeof(scheme) - 1;
	i.text = net_option_item(&at, &i.len);
	rc = take_path(&i, path, err);
	while (rc == 0 && (i.text = net_option_item(&at, &i.len)) != NULL)
		rc = take_item(&i, warn, self, err);
	return rc;
}
