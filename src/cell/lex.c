/* lex.c - text to tokens, one at a time: a token is a kind and a stretch of the text, nothing is copied. */
#include "lex.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int is_name(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

static int skip_blanks(const char *text, int i)
{
    while (text[i] == ' ' || text[i] == '\t' || text[i] == '\r')
        i++;
    if (text[i] == '#')
        while (text[i] && text[i] != '\n')
            i++;
    return i;
}

static struct token lex_name(const char *text, int i)
{
    int end = i;
    while (is_name(text[end]))
        end++;
    struct token token = {TOKEN_NAME, i, end - i, 0};
    if (text[end] == '\'') {
        token.kind = TOKEN_PRIMED;
        token.length++;
    }
    return token;
}

static struct token lex_number(const char *text, int i)
{
    int end = i;
    while (isdigit((unsigned char)text[end]) || text[end] == '.')
        end++;
    int has_exponent = (text[end] == 'e' || text[end] == 'E') &&
                       (isdigit((unsigned char)text[end + 1]) ||
                        ((text[end + 1] == '-' || text[end + 1] == '+') && isdigit((unsigned char)text[end + 2])));
    if (has_exponent)
        for (end += 2; isdigit((unsigned char)text[end]);)
            end++;
    char *stop;
    struct token token = {TOKEN_NUMBER, i, end - i, strtod(text + i, &stop)};
    if (stop != text + end || is_name(text[end]) || !isfinite(token.value))
        token.kind = TOKEN_WRONG;          /* 1.2.3, 2x, 0x10, 1e999 */
    return token;
}

struct token lex_next(const char *text, int place)
{
    int i = skip_blanks(text, place);
    char c = text[i];
    if (!c)
        return (struct token){TOKEN_END, i, 0, 0};
    if (c == '\n')
        return (struct token){TOKEN_LINE, i, 1, 0};
    if (isalpha((unsigned char)c) || c == '_')
        return lex_name(text, i);
    if (isdigit((unsigned char)c) || (c == '.' && isdigit((unsigned char)text[i + 1])))
        return lex_number(text, i);
    if (strchr("+-*/()[],=^", c))
        return (struct token){TOKEN_SYMBOL, i, 1, 0};
    return (struct token){TOKEN_WRONG, i, 1, 0};
}
