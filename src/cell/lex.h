/* lex.h - the tokens of the cell language. */
#ifndef BPTT_CELL_LEX_H
#define BPTT_CELL_LEX_H

enum token_kind {
    TOKEN_NAME,                            /* letters, digits and _, beginning with a letter or _ */
    TOKEN_PRIMED,                          /* NAME' */
    TOKEN_NUMBER,
    TOKEN_SYMBOL,                          /* + - * / ( ) [ ] , = ^ */
    TOKEN_LINE,                            /* the end of a statement */
    TOKEN_END,
    TOKEN_WRONG                            /* a character the language does not have */
};
struct token { enum token_kind kind; int place, length; double value; };

/* The token at or after `place` in `text`, blanks and comments skipped. */
struct token lex_next(const char *text, int place);

#endif
