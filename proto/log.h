/*
 * log.h - one event per line on standard error: `level role[id] event k=v ...`.
 *
 * Values are quoted and escaped where they are not plain. Lines are written
 * with one write(2), so processes sharing a descriptor do not mix. There is
 * no stdio inside: it is safe under a seccomp filter that allows write.
 */
#ifndef PROTO_LOG_H
#define PROTO_LOG_H

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* log_open - name this process in every later line. `id` may be "-". */
void log_open(const char *role, const char *id, enum log_level level_max);

/*
 * log_event - write one line.
 *   event  noun.verb
 *   fmt    printf format of `key=value` pairs separated by blanks; use
 *          log_quote() for text that came from outside
 */
void log_event(enum log_level level, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * log_quote - text from outside, quoted and escaped for one log value.
 * Returns a pointer into one of eight static buffers used in turn, each of
 * 512 bytes; longer text is cut and ends in "...".
 */
const char *log_quote(const char *text);

/*
 * bug - our own broken invariant: leave last words with the hook of
 * log_last_words(), log, abort. BUG_ON(x) is an assert that is always on.
 */
_Noreturn void bug(const char *file, int line, const char *what);
#define BUG_ON(cond)                                                           \
	do {                                                                   \
		if (__builtin_expect(!!(cond), 0))                             \
			bug(__FILE__, __LINE__, #cond);                        \
	} while (0)

/* log_last_words - set the function that bug() calls before it aborts. */
void log_last_words(void (*tell)(const char *words));

#endif
