/* json.h - writes JSON as it goes, one line per outermost value. Text that is not UTF-8 is mended, numbers that JSON
 * cannot write (NaN, infinities) become null. `key` is NULL within an array and for the outermost value. */
#ifndef BPTT_CLI_JSON_H
#define BPTT_CLI_JSON_H

#include <stdint.h>
#include <stdio.h>

struct emit { FILE *out; int comma, depth; };

void emit_open(struct emit *emit, const char *key, char bracket);  /* '{' or '[' */
void emit_close(struct emit *emit, char bracket);                  /* '}' or ']'; the outermost one ends the line */
void emit_text(struct emit *emit, const char *key, const char *text);  /* NULL: null */
void emit_number(struct emit *emit, const char *key, double value);    /* the fewest digits that give it back */
void emit_whole(struct emit *emit, const char *key, int64_t value);
void emit_flag(struct emit *emit, const char *key, int value);

#endif
