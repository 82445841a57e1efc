/*
 * dispatch.c - the envelope of QMP requests, and calls in work.
 *
 * Runs in: the broker.
 * Trusts: nobody: every member of a request is checked here or by the
 *   visitor of broker/json.h before a handler sees it.
 * Specification: QEMU docs/interop/qmp-spec.txt; error texts as QEMU's
 *   qapi/qmp-dispatch.c and monitor/qmp.c give them.
 *
 * Out-of-band execution is not offered: `exec-oob` is an unexpected member,
 * as QEMU has it on monitors without oob.
 */
#include "broker/dispatch.h"

#include "broker/json.h"
#include "gen/commands.h"
#include "proto/log.h"
#include "proto/sys.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* One request in work. Freed by its answer. */
struct call {
	struct asker *asker;           /* NULL: gone */
	const struct command *command; /* NULL: refused before it was found */
	bool answered;                 /* while its handler still runs */
	bool running;                  /* its handler is on the stack */
	struct text id; /* as on the wire; empty: the request had none */
};

void
asker_init(struct asker *a, const struct asker_ops *ops, bool negotiated)
{
	*a = (struct asker){.ops = ops, .fd = -1, .negotiated = negotiated};
}

void
asker_fini(struct asker *a)
{
	if (a->pending != NULL)
		a->pending->asker = NULL;
	a->pending = NULL;
	fd_close_foreign(&a->fd);
}

struct asker *
call_asker(const struct call *c)
{
	return c->asker;
}

int
call_take_fd(struct call *c)
{
	return c->asker == NULL ? -1 : fd_take(&c->asker->fd);
}

static void
call_free(struct call *c)
{
	text_free(&c->id);
	free(c);
}

/* --- answers ----------------------------------------------------------------
 */

/* Hand `line` to the asker and end the call. */
static void
call_end(struct call *c, const struct text *line, const struct err *e)
{
	struct asker *a = c->asker;

	BUG_ON(c->answered);
	c->answered = true;
	if (a != NULL) {
		BUG_ON(a->pending != c);
		a->pending = NULL;
		a->ops->answered(a, line, e);
	}
	c->asker = NULL;
	if (!c->running)
		call_free(c);
}

/* When not even a refusal can be written down. */
static char no_memory_text[] =
    "{\"error\": {\"class\": \"GenericError\", \"desc\": \"out of memory\"}}";
static const struct text no_memory = {
    .data = no_memory_text, .len = sizeof(no_memory_text) - 1};

static void
fail(struct call *c, enum err_class class, const char *desc, size_t len)
{
	struct text line = {0};
	struct err e;

	text_add_char(&line, '{');
	if (c->id.len > 0) {
		text_add_str(&line, "\"id\": ");
		text_add(&line, c->id.data, c->id.len);
		text_add_str(&line, ", ");
	}
	text_add_str(&line, "\"error\": {\"class\": \"");
	text_add_str(&line, err_class_name(class));
	text_add_str(&line, "\", \"desc\": ");
	text_add_quoted(&line, desc, len);
	text_add_str(&line, "}}");
	err_class_set(&e, -EINVAL, class, "%.*s", (int)len, desc);
	if (line.failed) {
		text_free(&line);
		call_end(c, &no_memory, &e);
		return;
	}
	call_end(c, &line, &e);
	text_free(&line);
}

void
call_fail(struct call *c, const struct err *e)
{
	fail(c, e->class, e->text, strnlen(e->text, sizeof(e->text)));
}

static void
fail_text(struct call *c, const char *desc)
{
	fail(c, ERR_GENERIC, desc, strlen(desc));
}

/* `json` is strict JSON of one line, of any characters. */
static void
succeed(struct call *c, const char *json, size_t len)
{
	struct text line = {0};

	text_add_str(&line, "{\"return\": ");
	text_add_ascii(&line, json, len);
	if (c->id.len > 0) {
		text_add_str(&line, ", \"id\": ");
		text_add(&line, c->id.data, c->id.len);
	}
	text_add_char(&line, '}');
	if (line.failed)
		fail_text(c, "out of memory");
	else
		call_end(c, &line, NULL);
	text_free(&line);
}

void
call_return_text(struct call *c, const char *json)
{
	succeed(c, json, strlen(json));
}

void
call_return(struct call *c, const struct desc *d, const void *v)
{
	char *json = NULL;
	json_t *value;

	if (d == NULL) {
		call_return_text(c, "{}");
		return;
	}
	value = json_encode(d, v);
	if (value != NULL)
		json = json_dumps(value, JSON_ENCODE_ANY);
	json_decref(value);
	if (json == NULL)
		fail_text(c, "out of memory");
	else
		call_return_text(c, json);
	free(json);
}

/* --- requests ---------------------------------------------------------------
 */

/* The members of a request that is well-formed. */
struct request {
	const char *execute; /* borrowed from the tree; NULL: none */
	size_t execute_len;  /* a NUL may be inside */
	json_t *arguments;   /* borrowed; NULL: none */
};

/* One member of the request into *r. 0 or -EINVAL with *e. */
static int
take_member(struct request *r, const char *key, json_t *value, struct err *e)
{
	if (strcmp(key, "execute") == 0) {
		if (!json_is_string(value))
			return err_set(e, -EINVAL,
			    "QMP input member 'execute' must be a string");
		r->execute = json_string_value(value);
		r->execute_len = json_string_length(value);
		return 0;
	}
	if (strcmp(key, "arguments") == 0) {
		if (!json_is_object(value))
			return err_set(e, -EINVAL,
			    "QMP input member 'arguments' must be an object");
		r->arguments = value;
		return 0;
	}
	if (strcmp(key, "id") == 0)
		return 0;
	return err_set(e, -EINVAL, "QMP input member '%s' is unexpected", key);
}

static int
take_members(struct request *r, json_t *tree, struct err *e)
{
	const char *key;
	json_t *value;
	int rc;

	json_object_foreach(tree, key, value)
	{
		rc = take_member(r, key, value, e);
		if (rc < 0)
			return rc;
	}
	if (r->execute == NULL)
		return err_set(e, -EINVAL, "QMP input lacks member 'execute'");
	return 0;
}

static const struct command *
find_command(const char *name)
{
	for (size_t i = 0; i < command_count; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

/* The one command that a session may give before negotiation. */
#define NEGOTIATION "qmp_capabilities"

static int
choose_command(struct call *c, const struct request *r, struct err *e)
{
	const char *name = r->execute;

	BUG_ON(name == NULL);
	if (!c->asker->negotiated && strcmp(name, NEGOTIATION) != 0)
		return err_class_set(e, -EINVAL, ERR_COMMAND_NOT_FOUND,
		    "Expecting capabilities negotiation with '" NEGOTIATION
		    "'");
	if (strlen(name) == r->execute_len)
		c->command = find_command(name);
	if (c->command == NULL)
		return err_class_set(e, -EINVAL, ERR_COMMAND_NOT_FOUND,
		    "The command %s has not been found", name);
	return 0;
}

/* Decode the arguments and run the handler, which answers now or later. */
static void
run_command(struct call *c, json_t *arguments)
{
	const struct desc *d;
	json_t *none = NULL;
	struct err e;
	void *args;
	int rc;

	BUG_ON(c->command == NULL);
	d = c->command->args;
	args = calloc(1, d->bytes > 0 ? d->bytes : 1);
	if (arguments == NULL)
		arguments = none = json_object();
	if (args == NULL || arguments == NULL)
		rc = err_set(&e, -ENOMEM, "out of memory");
	else
		rc = json_decode(d, args, arguments, &e);
	json_decref(none);
	if (rc < 0) {
		call_fail(c, &e);
	} else {
		log_event(
		    LOG_DEBUG, "qmp.command", "name=%s", c->command->name);
		c->command->run(c, args);
	}
	if (args != NULL)
		desc_free(d, args);
	free(args);
}

static void
run_request(struct call *c, json_t *tree)
{
	struct request r = {0};
	struct err e;

	if (take_members(&r, tree, &e) < 0 || choose_command(c, &r, &e) < 0)
		call_fail(c, &e);
	else
		run_command(c, r.arguments);
}

/* What a strict parser still refuses in what the framer let pass. */
static const char *
strict_error(const json_error_t *error)
{
	switch (json_error_code(error)) {
	case json_error_duplicate_key:
		return "JSON parse error, duplicate key";
	case json_error_null_byte_in_key:
		return "JSON parse error, NUL in a member's name";
	case json_error_out_of_memory:
		return "out of memory";
	default:
		return "JSON parse error";
	}
}

static void
run_value(struct call *c, const struct framer_item *item)
{
	const char *id;
	size_t id_len = 0;
	json_error_t error;
	json_t *tree;

	if (item->len == 0 || item->text[0] != '{') {
		fail_text(c, "QMP input must be a JSON object");
		return;
	}
	tree = json_loadb(item->text, item->len,
	    JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	if (tree == NULL) {
		fail_text(c, strict_error(&error));
		return;
	}
	id = framer_member(item->text, item->len, "id", &id_len);
	if (id != NULL)
		framer_echo(&c->id, id, id_len);
	if (c->id.failed) {
		text_clear(&c->id, 0);
		fail_text(c, "out of memory");
	} else {
		run_request(c, tree);
	}
	json_decref(tree);
}

/* Not even a call could be made. */
static void
answer_no_memory(struct asker *a)
{
	struct err e;

	err_set(&e, -ENOMEM, "out of memory");
	a->ops->answered(a, &no_memory, &e);
}

void
asker_request(struct asker *a, const struct framer_item *item)
{
	struct call *c = calloc(1, sizeof(*c));

	BUG_ON(a->pending != NULL);
	if (c == NULL) {
		answer_no_memory(a);
		return;
	}
	c->asker = a;
	a->pending = c;
	c->running = true;
	if (item->kind == FRAMER_ERROR)
		fail(c, ERR_GENERIC, item->text, item->len);
	else
		run_value(c, item);
	/* Nobody frees a running call. NOLINTNEXTLINE(clang-analyzer-*) */
	c->running = false;
	if (c->answered)
		call_free(c);
}
