/*
 * schemac.h - the schema compiler: what it reads, what it knows, what it
 * writes.
 *
 * Runs in:       the build, before anything else is compiled.
 * Trusts:        nothing in its input; every complaint is `file:line: text`.
 * Specification: the QAPI schema language of QEMU as far as net.json and its
 *                neighbours use it, plus our own 'message', 'backend' and
 *                'graph-type' (README.md).
 *
 * The road: lex.c (bytes to tokens), parse.c (tokens to nodes, files),
 * model.c (nodes to definitions), check.c (names to types, rules),
 * emit*.c (definitions to C, introspection and manual tables).
 * All memory is in one arena that lives as long as the struct schema.
 */
#ifndef SCHEMA_SCHEMAC_H
#define SCHEMA_SCHEMAC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define SCHEMA_FILES_MAX    32
#define SCHEMA_FILE_BYTES   (1u << 20)
#define SCHEMA_NESTING_MAX  16  /* of brackets in one expression */
#define SCHEMA_NAME_MAX     63  /* bytes of any name */
#define SCHEMA_DEFS_MAX     512 /* of each sort of definition */
#define SCHEMA_MEMBERS_MAX  256 /* of one type, base included */
#define SCHEMA_FDS_MAX      8   /* descriptors of one message */
#define SCHEMA_TYPE_DEPTH   7   /* types inside types; see check.c */
#define SCHEMA_BACKENDS_MAX 64
#define SCHEMA_OPEN_KEYS    8
#define SCHEMA_OPENS_MAX    16 /* proto/launch.h LAUNCH_RESOURCES */

/* Memory that is released all at once. */
struct arena {
	struct arena_block *blocks; /* owned */
};

/* Where something was written; `file` lives in the arena. */
struct where {
	const char *file;
	unsigned line;
};

enum node_kind { NODE_STR, NODE_BOOL, NODE_INT, NODE_LIST, NODE_DICT };

/* One parsed value; members of a dict carry their key. */
struct node {
	enum node_kind kind;
	struct where at;
	const char *key; /* NULL in lists and at the top */
	const char *str;
	bool flag;
	long number;
	struct node *first, *last, *next;
	size_t count; /* children */
};

/* A paragraph of documentation about one member or value. */
struct doc_arg {
	const char *name;
	const char *text; /* one line, blanks folded */
	struct where at;
	bool used;
	struct doc_arg *next;
};

/* The comment between two ## lines before a definition. */
struct doc {
	struct where at;
	const char *symbol; /* "Netdev" of "@Netdev:" */
	const char *text;   /* paragraphs separated by newlines */
	struct doc_arg *args;
};

enum type_kind { TYPE_BUILTIN, TYPE_ENUM, TYPE_STRUCT, TYPE_UNION };

struct type;

/* A member of a struct, a value of an enum, or a field of a message. */
struct member {
	const char *name;
	const char *cname;
	const char *type_name; /* of the item for lists */
	struct type *type;
	bool optional, list;
	struct where at;
	const char *doc; /* NULL: undocumented */
};

struct branch {
	const char *name;
	const char *cname;
	const char *type_name;
	struct type *type;
	int value;      /* of the tag */
	bool available; /* in this build: see check.c */
	struct where at;
};

struct type {
	const char *name;
	const char *cname;  /* snake_case */
	const char *ctype;  /* "uint32_t", "struct netdev", ... */
	const char *prefix; /* TYPE_ENUM: NET_CLIENT_DRIVER */
	const char *json;   /* TYPE_BUILTIN: type in the introspection */
	enum type_kind kind;
	struct where at;
	struct doc *doc;
	struct member
	    *members; /* values of an enum; base first once resolved */
	size_t member_count;
	const char *base_name;
	const char *tag_name;
	int tag; /* TYPE_UNION: index in members */
	struct branch *branches;
	size_t branch_count;
	bool message;   /* written to control.h, not to types.h */
	bool list_used; /* a list of it is needed */
	bool texts;     /* 'accept-text': scalars may be given as text */
	const struct node *only; /* 'available': branches of this build */
	int mark;                /* 0 new, 1 being resolved, 2 resolved */
	int height;              /* 1 + height of the highest type inside */
	int shown; /* number in the introspection, 0 = not shown */
	int list_shown;
};

struct command {
	const char *name, *cname;
	struct where at;
	struct doc *doc;
	const char *data_name; /* NULL: args is implicit */
	struct type *args;
	const char *returns_name; /* NULL: nothing */
	bool returns_list, oob;
	struct type *returns;
};

struct event {
	const char *name, *cname;
	struct where at;
	struct doc *doc;
	const char *data_name;
	struct type *data; /* NULL: none */
};

/* Roles on a control channel, as bits: emitted as enum ctl_role. */
enum schema_role { SCHEMA_BROKER = 1, SCHEMA_LANE = 2, SCHEMA_BACKEND = 4 };

struct message {
	const char *name, *cname;
	struct where at;
	struct doc *doc;
	unsigned from, to;
	const char *reply_name;
	int reply; /* index, -1 none */
	uint32_t deadline_ms;
	bool idempotent;
	size_t fds, optional_fds;
	const char *fd_names[SCHEMA_FDS_MAX];
	struct type *data;
};

struct open {
	const char *kind, *kind_id; /* "stream-listen", "STREAM_LISTEN" */
	/* when, local, remote, path, if, unless, local-port, remote-port;
	 * or NULL */
	const char *names[SCHEMA_OPEN_KEYS];
	int index[SCHEMA_OPEN_KEYS];
	struct where at;
};

struct backend {
	const char *name;
	struct where at;
	struct doc *doc;
	const char *options_name;
	struct type *options;
	bool host_network;
	bool graph_only; /* 'graph-type': no process */
	bool built;      /* has a line in backends.def */
	struct open opens[SCHEMA_OPENS_MAX];
	size_t open_count;
};

/* One source text; `text` is NUL-terminated and may hold anything. */
struct source {
	const char *path;
	const char *text;
	size_t bytes;
	bool doc_required;
};

struct schema {
	struct arena arena;
	char error[512]; /* "file:line: text", empty = none yet */
	bool no_files;   /* includes are not opened (fuzzing) */
	struct source sources[SCHEMA_FILES_MAX];
	size_t source_count;
	struct type *types[SCHEMA_DEFS_MAX]; /* built-in ones first */
	size_t type_count;
	struct type *sorted[SCHEMA_DEFS_MAX]; /* what is inside comes first */
	size_t sorted_count;
	struct command *commands[SCHEMA_DEFS_MAX];
	size_t command_count;
	struct event *events[SCHEMA_DEFS_MAX];
	size_t event_count;
	struct message *messages[SCHEMA_DEFS_MAX];
	size_t message_count;
	struct backend *backends[SCHEMA_BACKENDS_MAX]; /* as declared */
	size_t backend_count;
	const char *built[SCHEMA_BACKENDS_MAX]; /* lines of backends.def */
	struct where built_at[SCHEMA_BACKENDS_MAX];
	size_t built_count;
	uint64_t hash; /* of every source text */
};

/* arena.c: memory and names. Allocation failure ends the compiler. */
void *arena_alloc(struct arena *a, size_t bytes);
char *arena_copy(struct arena *a, const char *text, size_t bytes);
char *arena_format(struct arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void arena_free(struct arena *a);
char *name_c(struct arena *a, const char *name);
char *name_snake(struct arena *a, const char *name);
char *name_upper(struct arena *a, const char *name);

/* Record the first complaint; always returns -1. */
int schema_fail(struct schema *s, struct where at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* lex.c */
enum token_kind { TOKEN_END, TOKEN_STR, TOKEN_WORD, TOKEN_INT, TOKEN_PUNCT };

struct lexer {
	struct schema *schema;
	struct source *source;
	size_t pos;
	unsigned line;
	enum token_kind kind; /* of the present token */
	char punct;
	const char *str;
	long number;
	struct where at;
	struct doc *doc; /* the last doc comment not yet taken */
};

int lex_start(struct lexer *l, struct schema *s, struct source *src);
int lex_next(struct lexer *l);

/* doc.c: the text of a doc comment, from after the first ## line. */
int doc_parse(struct lexer *l, const char *text, size_t bytes, unsigned line);
const char *doc_member(struct doc *d, const char *name);
int doc_check(struct schema *s, struct doc *d, const char *name);

/* parse.c: files and expressions. `take` gets each top-level expression. */
int schema_add_file(struct schema *s, const char *path, struct where from);
int schema_add_text(
    struct schema *s, const char *path, const char *text, size_t bytes);
int schema_parse(struct schema *s);
const struct node *node_get(const struct node *dict, const char *key);

/* model.c */
void schema_init(struct schema *s);
void schema_free(struct schema *s);
int schema_define(
    struct schema *s, struct source *src, struct node *expr, struct doc *doc);
int model_struct(
    struct schema *s, struct source *src, struct node *expr, struct doc *doc);
struct type *model_type_new(
    struct schema *s, const char *name, struct where at);
int model_members(struct schema *s, struct type *t, const struct node *dict);
int model_counters(struct schema *s, struct type *t, const struct node *n);
int model_docs(struct schema *s, struct source *src, struct type *t);
int model_backend(
    struct schema *s, struct source *src, struct node *expr, struct doc *doc);
int model_message(
    struct schema *s, struct source *src, struct node *expr, struct doc *doc);
int model_keys(struct schema *s, const struct node *dict, const char *allowed);
const char *model_str(
    struct schema *s, const struct node *dict, const char *key, bool mandatory);
bool name_ok(const char *name, char style);

/* check.c, check_link.c: after everything is parsed. */
int schema_check(struct schema *s);
struct type *schema_type(struct schema *s, const char *name);
int check_messages(struct schema *s);
int check_backends(struct schema *s);

bool schema_missing(
    const struct schema *s, const struct type *t, const char *value);

/* backends.def */
int schema_built(struct schema *s, const char *path);

/* emit*.c: each writes one file; errors show in ferror(). */
struct emit {
	const char *file;
	void (*write)(FILE *f, struct schema *s);
};
extern const struct emit emits[];
extern const size_t emit_count;

void emit_types_h(FILE *f, struct schema *s);
void emit_types_c(FILE *f, struct schema *s);
void emit_struct(FILE *f, const struct type *t, const char *ctype);
void emit_desc(FILE *f, const struct type *t, const char *ctype);
void emit_control_h(FILE *f, struct schema *s);
void emit_control_c(FILE *f, struct schema *s);
void emit_control_broker(FILE *f, struct schema *s);
void emit_control_lane(FILE *f, struct schema *s);
void emit_control_backend(FILE *f, struct schema *s);
void emit_commands_h(FILE *f, struct schema *s);
void emit_commands_c(FILE *f, struct schema *s);
void emit_backends_h(FILE *f, struct schema *s);
void emit_backends_c(FILE *f, struct schema *s);
void emit_schema_h(FILE *f, struct schema *s);
void emit_schema_c(FILE *f, struct schema *s);
void emit_manual_netdevs(FILE *f, struct schema *s);
void emit_manual_commands(FILE *f, struct schema *s);
void emit_manual_events(FILE *f, struct schema *s);

#endif
