/*
 * json_lex.c - the lexer of the monitor's JSON.
 *
 * Runs in: the broker.
 * Trusts: nobody.
 * Specification: RFC 8259; what is more (single quotes, 0xFE and 0xFF, how
 *   errors are skipped) as QEMU's qobject/json-lexer.c shows it.
 */
#include "broker/json_lex.h"

static bool
is_digit(unsigned char c)
{
	return c >= '0' && c <= '9';
}

static struct lex_move
move_to(enum lex_state next)
{
	return (struct lex_move){next, TOK_NONE, true};
}

static struct lex_move
move_token(enum lex_token token, bool taken)
{
	return (struct lex_move){LEX_START, token, taken};
}

static struct lex_move
move_stray(void)
{
	return (struct lex_move){LEX_RECOVER, TOK_STRAY, true};
}

static enum lex_token
structural(unsigned char c)
{
	switch (c) {
	case '{':
		return TOK_OBJECT;
	case '}':
		return TOK_OBJECT_END;
	case '[':
		return TOK_ARRAY;
	case ']':
		return TOK_ARRAY_END;
	case ':':
		return TOK_COLON;
	case ',':
		return TOK_COMMA;
	default:
		return TOK_NONE;
	}
}

static struct lex_move
lex_start(unsigned char c)
{
	enum lex_token token = structural(c);

	if (token != TOK_NONE)
		return move_token(token, true);
	if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
		return move_to(LEX_START);
	if (c == '"')
		return move_to(LEX_DOUBLE);
	if (c == '\'')
		return move_to(LEX_SINGLE);
	if (c == '-')
		return move_to(LEX_SIGN);
	if (c == '0')
		return move_to(LEX_ZERO);
	if (is_digit(c))
		return move_to(LEX_DIGITS);
	if (c >= 'a' && c <= 'z')
		return move_to(LEX_WORD);
	return move_stray();
}

static struct lex_move
lex_string(unsigned char c, unsigned char quote, enum lex_state state)
{
	if (c < 0x20 || c >= 0xfe)
		return move_stray();
	if (c == quote)
		return move_token(TOK_STRING, true);
	if (c == '\\')
		return move_to(
		    state == LEX_DOUBLE ? LEX_DOUBLE_ESC : LEX_SINGLE_ESC);
	return move_to(state);
}

static struct lex_move
lex_escape(unsigned char c, enum lex_state back)
{
	return c < 0x20 || c >= 0xfe ? move_stray() : move_to(back);
}

/* States that need a digit now: the byte is eaten either way, as in QEMU. */
static struct lex_move
lex_need_digit(unsigned char c, enum lex_state state)
{
	if (state == LEX_EXP && (c == '+' || c == '-'))
		return move_to(LEX_EXP_SIGN);
	if (!is_digit(c))
		return move_stray();
	if (state == LEX_SIGN)
		return move_to(c == '0' ? LEX_ZERO : LEX_DIGITS);
	return move_to(state == LEX_POINT ? LEX_FRACTION : LEX_EXP_DIGITS);
}

/* States in which a number may end. */
static struct lex_move
lex_number(unsigned char c, enum lex_state state)
{
	bool whole = state == LEX_ZERO || state == LEX_DIGITS;

	if (is_digit(c))
		return state == LEX_ZERO ? move_stray() : move_to(state);
	if (c == '.' && whole)
		return move_to(LEX_POINT);
	if ((c == 'e' || c == 'E') && state != LEX_EXP_DIGITS)
		return move_to(LEX_EXP);
	return move_token(whole ? TOK_INTEGER : TOK_FLOAT, false);
}

static struct lex_move
lex_recover(unsigned char c)
{
	if ((c < 0x20 && c != '\t') || c >= 0xfe || structural(c) != TOK_NONE)
		return (struct lex_move){LEX_START, TOK_NONE, false};
	return move_to(LEX_RECOVER);
}

struct lex_move
lex_byte(enum lex_state state, unsigned char c)
{
	switch (state) {
	case LEX_START:
		return lex_start(c);
	case LEX_DOUBLE:
		return lex_string(c, '"', state);
	case LEX_SINGLE:
		return lex_string(c, '\'', state);
	case LEX_DOUBLE_ESC:
		return lex_escape(c, LEX_DOUBLE);
	case LEX_SINGLE_ESC:
		return lex_escape(c, LEX_SINGLE);
	case LEX_SIGN:
	case LEX_POINT:
	case LEX_EXP:
	case LEX_EXP_SIGN:
		return lex_need_digit(c, state);
	case LEX_ZERO:
	case LEX_DIGITS:
	case LEX_FRACTION:
	case LEX_EXP_DIGITS:
		return lex_number(c, state);
	case LEX_WORD:
		return c >= 'a' && c <= 'z' ? move_to(LEX_WORD)
					    : move_token(TOK_WORD, false);
	default:
		return lex_recover(c);
	}
}

bool
lex_in_string(enum lex_state state)
{
	return state == LEX_DOUBLE || state == LEX_DOUBLE_ESC ||
	       state == LEX_SINGLE || state == LEX_SINGLE_ESC;
}
