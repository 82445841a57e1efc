/*
 * model_own.c - the definitions that QAPI does not have: messages between
 * our processes, and backend types with the resources they need.
 *
 * Runs in: the build. Trusts: nothing (fuzzed).
 */
#include "schema/schemac.h"

#include <string.h>

static unsigned
role_bit(const char *name)
{
	if (strcmp(name, "broker") == 0)
		return SCHEMA_BROKER;
	if (strcmp(name, "lane") == 0)
		return SCHEMA_LANE;
	if (strcmp(name, "backend") == 0)
		return SCHEMA_BACKEND;
	return 0;
}

/* The counters of a port: who counts, schema name, words. */
static const struct {
	const char *who, *name, *doc;
} counters[] = {
#define LANE_COUNTER(id, name, doc) {"lane", name, doc},
#include "proto/lane_counters.def"
#undef LANE_COUNTER
#define BACKEND_COUNTER(id, name, doc) {"backend", name, doc},
#include "proto/backend_counters.def"
#undef BACKEND_COUNTER
};

/*
 * model_counters - the members of a struct with 'counters': one uint64 for
 * each row of that table, in its order.
 */
int
model_counters(struct schema *s, struct type *t, const struct node *n)
{
	size_t i;

	t->members = arena_alloc(
	    &s->arena, sizeof counters / sizeof *counters * sizeof *t->members);
	for (i = 0; i < sizeof counters / sizeof *counters; i++) {
		struct member *m = &t->members[t->member_count];

		if (n->kind != NODE_STR || strcmp(counters[i].who, n->str) != 0)
			continue;
		m->name = counters[i].name;
		m->cname = name_c(&s->arena, m->name);
		m->type_name = "uint64";
		m->at = n->at;
		m->doc = counters[i].doc;
		t->member_count++;
	}
	if (t->member_count == 0)
		return schema_fail(
		    s, n->at, "'counters' is 'lane' or 'backend'");
	return 0;
}

/* 'from' and 'to': one role or a list of them. */
static int
roles(struct schema *s, const struct node *expr, const char *key, unsigned *out)
{
	const struct node *n = node_get(expr, key), *item;
	unsigned bit;

	*out = 0;
	if (!n)
		return schema_fail(s, expr->at,
		    "message without direction: key '%s' is missing", key);
	for (item = n->kind == NODE_LIST ? n->first : n; item;
	     item = n->kind == NODE_LIST ? item->next : NULL) {
		bit = item->kind == NODE_STR ? role_bit(item->str) : 0;
		if (!bit || (*out & bit))
			return schema_fail(s, item->at,
			    "'%s' takes broker, lane, backend, each once", key);
		*out |= bit;
	}
	if (!*out)
		return schema_fail(s, n->at, "'%s' is empty", key);
	return 0;
}

/* 'fds' and 'optional-fds': names of descriptors. */
static int
descriptors(struct schema *s, const struct node *expr, const char *key,
    struct message *m, size_t *count)
{
	const struct node *n = node_get(expr, key), *item;

	if (!n)
		return 0;
	if (n->kind != NODE_LIST || n->count == 0 || n->count > SCHEMA_FDS_MAX)
		return schema_fail(s, n->at, "'%s' is a list of 1 to %d names",
		    key, SCHEMA_FDS_MAX);
	for (item = n->first; item; item = item->next) {
		if (item->kind != NODE_STR || !name_ok(item->str, 'm'))
			return schema_fail(
			    s, item->at, "bad descriptor name in '%s'", key);
		m->fd_names[(*count)++] = item->str;
	}
	return 0;
}

static int
message_options(struct schema *s, const struct node *expr, struct message *m)
{
	const struct node *n = node_get(expr, "idempotent");

	if (!n || n->kind != NODE_BOOL)
		return schema_fail(s, n ? n->at : expr->at,
		    "'idempotent' must be true or false: may '%s' be sent "
		    "again after its receiver was restarted?",
		    m->name);
	m->idempotent = n->flag;
	n = node_get(expr, "deadline-ms");
	if (n && (n->kind != NODE_INT || n->number < 1 || n->number > 600000))
		return schema_fail(
		    s, n->at, "'deadline-ms' is a number of 1 to 600000");
	m->deadline_ms = n ? (uint32_t)n->number : 0;
	if (node_get(expr, "reply")) {
		m->reply_name = model_str(s, expr, "reply", true);
		if (!m->reply_name)
			return -1;
	}
	if (!m->reply_name != !m->deadline_ms)
		return schema_fail(
		    s, expr->at, "'reply' and 'deadline-ms' belong together");
	if (node_get(expr, "fds") && node_get(expr, "optional-fds"))
		return schema_fail(
		    s, expr->at, "'fds' and 'optional-fds' exclude each other");
	if (descriptors(s, expr, "fds", m, &m->fds) < 0)
		return -1;
	return descriptors(s, expr, "optional-fds", m, &m->optional_fds);
}

/* model_message - { 'message': name, 'from', 'to', 'data', ... } */
int
model_message(
    struct schema *s, struct source *src, struct node *expr, struct doc *doc)
{
	const char *name = model_str(s, expr, "message", true);
	const struct node *data = node_get(expr, "data");
	struct message *m;
	size_t i;

	(void)src;
	if (!name || model_keys(s, expr,
			 "message from to reply deadline-ms fds "
			 "optional-fds idempotent data") < 0)
		return -1;
	if (!name_ok(name, 'm'))
		return schema_fail(
		    s, expr->at, "bad message name '%.64s'", name);
	for (i = 0; i < s->message_count; i++) {
		if (strcmp(s->messages[i]->name, name) == 0)
			return schema_fail(s, expr->at,
			    "message '%s' is already defined", name);
	}
	if (s->message_count == SCHEMA_DEFS_MAX)
		return schema_fail(s, expr->at, "too many messages");
	m = arena_alloc(&s->arena, sizeof *m);
	s->messages[s->message_count++] = m;
	m->name = name;
	m->cname = name_c(&s->arena, name);
	m->at = expr->at;
	m->doc = doc;
	m->reply = -1;
	if (roles(s, expr, "from", &m->from) < 0 ||
	    roles(s, expr, "to", &m->to) < 0 || message_options(s, expr, m) < 0)
		return -1;
	if (!data)
		return schema_fail(s, expr->at, "key 'data' is missing");
	m->data = model_type_new(
	    s, arena_format(&s->arena, "ctl-%s", name), expr->at);
	if (!m->data)
		return -1;
	m->data->message = true;
	m->data->cname = arena_format(&s->arena, "ctl_%s", m->cname);
	m->data->ctype = arena_format(&s->arena, "struct %s", m->data->cname);
	if (model_members(s, m->data, data) < 0)
		return -1;
	/* Members are documented by the message's own words. */
	return doc_check(s, doc, name);
}

static int
backend_open(struct schema *s, const struct node *n, struct backend *b)
{
	static const char *const keys[SCHEMA_OPEN_KEYS] = {"when", "local",
	    "remote", "path", "if", "unless", "local-port", "remote-port"};
	struct open *o;
	size_t i;

	if (n->kind != NODE_DICT || b->open_count == SCHEMA_OPENS_MAX)
		return schema_fail(s, n->at,
		    "'opens' is a list of at most %d objects",
		    SCHEMA_OPENS_MAX);
	if (model_keys(s, n,
		"kind when local remote path if unless local-port "
		"remote-port") < 0)
		return -1;
	o = &b->opens[b->open_count++];
	o->at = n->at;
	o->kind = model_str(s, n, "kind", true);
	if (!o->kind)
		return -1;
	for (i = 0; i < SCHEMA_OPEN_KEYS; i++) {
		o->index[i] = -1;
		if (!node_get(n, keys[i]))
			continue;
		o->names[i] = model_str(s, n, keys[i], true);
		if (!o->names[i])
			return -1;
	}
	return 0;
}

static int
backend_fields(struct schema *s, const struct node *expr, struct backend *b)
{
	const struct node *opens = node_get(expr, "opens"), *n;
	const char *network;

	b->options_name = model_str(s, expr, "options", true);
	if (!b->options_name)
		return -1;
	if (b->graph_only)
		return 0;
	network = model_str(s, expr, "network", true);
	if (!network)
		return -1;
	b->host_network = strcmp(network, "host") == 0;
	if (!b->host_network && strcmp(network, "none") != 0)
		return schema_fail(
		    s, expr->at, "'network' is 'none' or 'host'");
	if (opens && opens->kind != NODE_LIST)
		return schema_fail(s, opens->at, "'opens' is a list");
	for (n = opens ? opens->first : NULL; n; n = n->next) {
		if (backend_open(s, n, b) < 0)
			return -1;
	}
	return 0;
}

/*
 * model_backend - { 'backend': type, 'options', 'network', 'opens' } or, for
 * types that need no process, { 'graph-type': type, 'options' }.
 */
int
model_backend(
    struct schema *s, struct source *src, struct node *expr, struct doc *doc)
{
	bool graph = strcmp(expr->first->key, "graph-type") == 0;
	const char *name = model_str(s, expr, expr->first->key, true);
	struct backend *b;
	size_t i;

	(void)src;
	if (!name || model_keys(s, expr,
			 graph ? "graph-type options"
			       : "backend options network opens") < 0)
		return -1;
	if (!name_ok(name, 'm'))
		return schema_fail(
		    s, expr->at, "bad backend name '%.64s'", name);
	for (i = 0; i < s->backend_count; i++) {
		if (strcmp(s->backends[i]->name, name) == 0)
			return schema_fail(s, expr->at,
			    "backend '%s' is already defined", name);
	}
	if (s->backend_count == SCHEMA_BACKENDS_MAX)
		return schema_fail(s, expr->at, "too many backends");
	b = arena_alloc(&s->arena, sizeof *b);
	s->backends[s->backend_count++] = b;
	b->name = name;
	b->at = expr->at;
	b->doc = doc;
	b->graph_only = graph;
	if (backend_fields(s, expr, b) < 0)
		return -1;
	return doc_check(s, doc, name);
}
