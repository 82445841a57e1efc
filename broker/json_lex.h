/*
 * json_lex.h - the lexer of the monitor's JSON: which bytes make a token.
 *
 * A pure function from state and byte to the next state; the caller keeps the
 * state and the bytes. Runs in the broker.
 */
#ifndef BROKER_JSON_LEX_H
#define BROKER_JSON_LEX_H

#include <stdbool.h>

enum lex_state {
	LEX_START,
	LEX_DOUBLE,     /* in a "string" */
	LEX_DOUBLE_ESC, /* behind its backslash */
	LEX_SINGLE,     /* in a 'string' */
	LEX_SINGLE_ESC,
	LEX_SIGN,     /* behind - */
	LEX_ZERO,     /* behind a leading 0 */
	LEX_DIGITS,   /* in an integer */
	LEX_POINT,    /* behind . */
	LEX_FRACTION, /* in the digits of it */
	LEX_EXP,      /* behind e */
	LEX_EXP_SIGN, /* behind e+ */
	LEX_EXP_DIGITS,
	LEX_WORD,    /* in a keyword */
	LEX_RECOVER, /* skipping after an error */
};

enum lex_token {
	TOK_NONE,
	TOK_STRING,
	TOK_INTEGER,
	TOK_FLOAT,
	TOK_WORD,
	TOK_OBJECT,     /* { */
	TOK_OBJECT_END, /* } */
	TOK_ARRAY,      /* [ */
	TOK_ARRAY_END,  /* ] */
	TOK_COLON,
	TOK_COMMA,
	TOK_STRAY, /* lexical error */
};

/* One move of the lexer. */
struct lex_move {
	enum lex_state next;
	enum lex_token token; /* complete with this move, or TOK_NONE */
	bool taken;           /* the byte is used up */
};

/* lex_byte - the move for byte `c` in `state`. */
struct lex_move lex_byte(enum lex_state state, unsigned char c);

/* lex_in_string - is the state inside a string? */
bool lex_in_string(enum lex_state state);

#endif
