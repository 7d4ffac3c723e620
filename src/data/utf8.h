/* utf8.h - one code point of UTF-8 at a time, strict: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef BPTT_DATA_UTF8_H
#define BPTT_DATA_UTF8_H

#include <stddef.h>
#include <stdint.h>

enum { UTF8_CODES = 0x110000 };            /* code points are below this */

/* Bytes of the code point at `text` (1..4), which goes to *code; 0 when it is not valid, or cut off by `left`. */
int utf8_read(const char *text, size_t left, uint32_t *code);
int utf8_write(uint32_t code, char out[4]);            /* bytes written */
size_t utf8_valid(const char *text, size_t length);    /* bytes up to the first fault; `length` if there is none */

/* Line and column, from 1, of the byte at `offset`; columns count code points (stray bytes as one each). */
void utf8_place(const char *text, size_t offset, int *line, int *column);

#endif
