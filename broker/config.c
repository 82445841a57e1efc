/*
 * config.c - the start configuration: QMP commands from a file.
 *
 * Runs in: the broker, before the start phase ends.
 * Trusts: the operator who wrote the file, but not that it is well-formed.
 * Specification: schema/, as for any QMP client; no greeting, no negotiation.
 */
#include "broker/config.h"

#include "broker/dispatch.h"
#include "broker/framer.h"
#include "proto/log.h"
#include "proto/sys.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

/* Where in the line the last byte was. */
enum line_state { LINE_START, LINE_TEXT, LINE_COMMENT };

/* The one file being run. */
static struct config {
	struct asker asker; /* first member */
	int fd;             /* owned */
	struct framer framer;
	char block[CONFIG_BLOCK_BYTES];
	size_t at, len; /* unread part of block */
	unsigned line;  /* of the command in work */
	bool ended;     /* of the file */
	bool running;   /* config_step() is on the stack */
	bool over;      /* nothing more is executed */
	bool failed;    /* because of err */
	struct err err;
	enum line_state line_state;
	core_done done;
	void *self; /* borrowed, of done */
} config;

/* Nothing more is executed; text NULL: the file was fine. */
static void
config_end(struct config *c, const char *text)
{
	c->over = true;
	c->failed = text != NULL;
	if (text != NULL)
		err_set(&c->err, -EINVAL, "%u: %s", c->line, text);
}

/* Tell it; the last thing done here, since `done` may run the next file. */
static void
config_tell(struct config *c)
{
	struct err e = c->err;

	fd_close(&c->fd);
	asker_fini(&c->asker);
	framer_fini(&c->framer);
	c->done(c->self, c->failed ? &e : NULL);
}

/* Blank out comments; a string never holds a line break. */
static void
hide_comments(struct config *c)
{
	for (size_t i = 0; i < c->len; i++) {
		char *p = &c->block[i];

		if (*p == '\n')
			c->line_state = LINE_START;
		else if (c->line_state == LINE_START && *p == '#')
			c->line_state = LINE_COMMENT;
		else if (c->line_state == LINE_START && *p != ' ' && *p != '\t')
			c->line_state = LINE_TEXT;
		if (c->line_state == LINE_COMMENT)
			*p = ' ';
	}
}

static int
config_read(struct config *c)
{
	ssize_t rc;

	do
		rc = sys_result(read(c->fd, c->block, sizeof(c->block)));
	while (rc == -EINTR);
	if (rc < 0)
		return (int)rc;
	c->at = 0;
	c->len = (size_t)rc;
	c->ended = rc == 0;
	hide_comments(c);
	return 0;
}

/* The next item of the file; FRAMER_MORE at its end. -errno of the read. */
static int
config_next(struct config *c, struct framer_item *item)
{
	int rc;

	item->kind = FRAMER_MORE;
	while (item->kind == FRAMER_MORE && !c->ended) {
		if (c->at == c->len) {
			rc = config_read(c);
			if (rc < 0)
				return rc;
		}
		c->at += framer_feed(
		    &c->framer, c->block + c->at, c->len - c->at, item);
	}
	if (item->kind == FRAMER_MORE)
		framer_end(&c->framer, item);
	return 0;
}

static void
config_step(struct config *c)
{
	struct framer_item item;
	int rc;

	c->running = true;
	while (!c->over && c->asker.pending == NULL) {
		rc = config_next(c, &item);
		if (rc < 0) {
			config_end(c, strerror(-rc));
		} else if (item.kind == FRAMER_MORE) {
			config_end(c, NULL);
		} else {
			c->line = item.line;
			asker_request(&c->asker, &item);
		}
	}
	c->running = false;
	if (c->over)
		config_tell(c);
}

static void
config_answered(struct asker *a, const struct text *line, const struct err *e)
{
	struct config *c = (struct config *)a;

	(void)line;
	if (e != NULL)
		config_end(c, e->text);
	if (!c->running)
		config_step(c);
}

static const struct asker_ops config_ops = {.answered = config_answered};

void
config_run(int fd, core_done done, void *self)
{
	struct config *c = &config;

	BUG_ON(c->done != NULL && !c->over);
	memset(c, 0, sizeof(*c));
	asker_init(&c->asker, &config_ops, true);
	framer_init(&c->framer);
	c->fd = fd;
	c->done = done;
	c->self = self;
	config_step(c);
}
