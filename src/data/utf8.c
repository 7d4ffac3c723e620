/* utf8.c - strict UTF-8. The number of bytes follows from the first; what is overlong, a surrogate or too high shows in
 * the code point that comes out. */
#include "utf8.h"

#include <limits.h>
#include <string.h>

static int sequence_length(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first < 0xC0)
        return 0;
    return first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF8 ? 4 : 0;
}

static int is_continuation(char byte)
{
    return ((unsigned char)byte & 0xC0) == 0x80;
}

int utf8_read(const char *text, size_t left, uint32_t *code)
{
    static const uint32_t lowest[5] = {0, 0, 0x80, 0x800, 0x10000};
    int length = left ? sequence_length((unsigned char)text[0]) : 0;
    if (!length || (size_t)length > left)
        return 0;
    uint32_t value = (unsigned char)text[0];
    if (length > 1)
        value &= 0x7Fu >> length;
    for (int i = 1; i < length; i++) {
        if (!is_continuation(text[i]))
            return 0;
        value = value << 6 | ((unsigned char)text[i] & 0x3F);
    }
    if (value < lowest[length] || value >= UTF8_CODES || (value >= 0xD800 && value < 0xE000))
        return 0;
    *code = value;
    return length;
}

int utf8_write(uint32_t code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    int length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (int i = length - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3F));
    out[0] = (char)(0xF00u >> length | code);
    return length;
}

size_t utf8_valid(const char *text, size_t length)
{
    size_t at = 0;
    while (at < length) {
        uint32_t code;
        int bytes = utf8_read(text + at, length - at, &code);
        if (!bytes)
            break;
        at += (size_t)bytes;
    }
    return at;
}

void utf8_place(const char *text, size_t offset, int *line, int *column)
{
    *line = *column = 1;
    for (size_t i = 0; i < offset; i++) {
        if (text[i] == '\n') {
            *line += *line < INT_MAX;
            *column = 1;
        } else if (i + 1 == offset || !is_continuation(text[i + 1])) {
            *column += *column < INT_MAX;
        }
    }
}
