/*
 * log.c - one event, one line, one write(2).
 *
 * Runs in: every role, also between the seccomp lock and the last instruction
 * of a dying process. Trusts: role and event names. Everything else is made
 * printable ASCII here, so no peer can forge a line or move a terminal's
 * cursor. Uses no stdio stream, no heap and, after log_open, no system call
 * but write(2).
 * Specification: systemd's JOURNAL_STREAM and sd-daemon(3) level prefixes.
 */
#include "proto/log.h"

#include "proto/sys.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* PIPE_BUF: what a pipe takes in one piece (pipe(7)). */
#define LINE_BYTES  4096
#define BODY_BYTES  3072
#define NAME_BYTES  64
#define QUOTES      8
#define QUOTE_BYTES 512

static struct {
	char role[NAME_BYTES];
	char id[NAME_BYTES];
	enum log_level level_max;
	bool journal; /* standard error is the journal's socket */
	void (*tell)(const char *words);
	unsigned quote_next;
	char quote[QUOTES][QUOTE_BYTES];
} log_state = {.role = "-", .id = "-", .level_max = LOG_INFO};

/* A line under construction; what does not fit is left out. */
struct line {
	size_t used;
	char text[LINE_BYTES];
};

static const char *const level_names[] = {"error", "warn", "info", "debug"};
/* sd-daemon(3): SD_ERR, SD_WARNING, SD_INFO, SD_DEBUG. */
static const char *const level_prefixes[] = {"<3>", "<4>", "<6>", "<7>"};

static bool
printable(char c)
{
	return c >= 0x20 && c < 0x7f;
}

/* Add text, other than printable ASCII as \xNN; leave room for a newline. */
static void
line_add(struct line *line, const char *text)
{
	static const char hex[] = "0123456789abcdef";
	size_t want;
	unsigned char c;

	for (; *text != '\0'; text++) {
		c = (unsigned char)*text;
		want = printable(*text) ? 1 : 4;
		if (line->used + want >= sizeof line->text)
			return;
		if (want == 1) {
			line->text[line->used++] = *text;
			continue;
		}
		line->text[line->used++] = '\\';
		line->text[line->used++] = 'x';
		line->text[line->used++] = hex[c >> 4];
		line->text[line->used++] = hex[c & 15];
	}
}

/* Does $JOURNAL_STREAM name the file behind standard error? */
static bool
journal_behind_stderr(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	if (stream == NULL || sscanf(stream, "%llu:%llu", &dev, &ino) != 2)
		return false;
	return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev &&
	       st.st_ino == ino;
}

void
log_open(const char *role, const char *id, enum log_level level_max)
{
	static bool opened;

	snprintf(log_state.role, sizeof log_state.role, "%s", role);
	snprintf(log_state.id, sizeof log_state.id, "%s", id);
	log_state.level_max = level_max;
	/* Once: a later call may stand behind a seccomp filter. */
	if (!opened)
		log_state.journal = journal_behind_stderr();
	opened = true;
}

void
log_event(enum log_level level, const char *event, const char *fmt, ...)
{
	char body[BODY_BYTES];
	struct line line = {0};
	va_list args;

	if (level > log_state.level_max)
		return;
	va_start(args, fmt);
	if (vsnprintf(body, sizeof body, fmt, args) < 0)
		body[0] = '\0';
	va_end(args);

	if (log_state.journal)
		line_add(&line, level_prefixes[level]);
	line_add(&line, level_names[level]);
	line_add(&line, " ");
	line_add(&line, log_state.role);
	line_add(&line, "[");
	line_add(&line, log_state.id);
	line_add(&line, "] ");
	line_add(&line, event);
	if (body[0] != '\0') {
		line_add(&line, " ");
		line_add(&line, body);
	}
	line.text[line.used++] = '\n';
	/* Nobody can be told that the log is gone. */
	(void)sys_write(STDERR_FILENO, line.text, line.used);
}

static bool
plain(const char *text)
{
	size_t i;

	for (i = 0; text[i] != '\0'; i++)
		if (i >= QUOTE_BYTES - 1 || !printable(text[i]) ||
		    strchr(" \"'\\=", text[i]) != NULL)
			return false;
	return i > 0;
}

/*
 * quote_byte - one byte of a quoted value as `out`, at most 4 characters.
 * Returns how many.
 */
static size_t
quote_byte(unsigned char c, char out[5])
{
	if (c == '"' || c == '\\')
		return (size_t)snprintf(out, 5, "\\%c", c);
	if (c == '\n')
		return (size_t)snprintf(out, 5, "\\n");
	if (!printable((char)c))
		return (size_t)snprintf(out, 5, "\\x%02x", c);
	return (size_t)snprintf(out, 5, "%c", c);
}

const char *
log_quote(const char *text)
{
	/* Room behind the text for the cut mark, the quote and the NUL. */
	static const char cut[] = "...\"";
	char *buf = log_state.quote[log_state.quote_next++ % QUOTES];
	size_t used = 0, count;
	char one[5];

	if (text == NULL)
		return "-";
	if (plain(text)) {
		snprintf(buf, QUOTE_BYTES, "%s", text);
		return buf;
	}
	buf[used++] = '"';
	for (; *text != '\0'; text++) {
		count = quote_byte((unsigned char)*text, one);
		if (used + count + sizeof cut > QUOTE_BYTES) {
			memcpy(buf + used, cut, sizeof cut);
			return buf;
		}
		memcpy(buf + used, one, count);
		used += count;
	}
	buf[used++] = '"';
	buf[used] = '\0';
	return buf;
}

void
log_last_words(void (*tell)(const char *words))
{
	log_state.tell = tell;
}

void
bug(const char *file, int line, const char *what)
{
	void (*tell)(const char *words) = log_state.tell;
	const char *slash = strrchr(file, '/');
	char words[256];

	if (slash != NULL)
		file = slash + 1;
	snprintf(words, sizeof words, "bug %s:%d %s", file, line, what);
	log_state.tell = NULL; /* a bug in the hook must not come back here */
	if (tell != NULL)
		tell(words);
	log_event(LOG_ERROR, "bug.abort", "words=%s", log_quote(words));
	abort();
}
