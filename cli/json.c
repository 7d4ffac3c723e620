/* json.c - see json.h. */
#include "json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Length of the UTF-8 sequence at `s`, or 0 when it is none (overlong forms and surrogates included). */
static size_t utf8_length(const unsigned char *s)
{
    if (s[0] < 0x80)
        return 1;
    size_t length = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    }
    int overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    int outside = (s[0] == 0xed && s[1] >= 0xa0) || (s[0] == 0xf4 && s[1] >= 0x90);
    return overlong || outside ? 0 : length;
}

static void put_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        size_t length = utf8_length(s);
        if (length == 0)
            fputs("\\ufffd", out);
        else if (*s == '"' || *s == '\\')
            fprintf(out, "\\%c", *s);
        else if (*s == '\n')
            fputs("\\n", out);
        else if (*s < 0x20 || *s == 0x7f)
            fprintf(out, "\\u%04x", *s);
        else
            fwrite(s, 1, length, out);
        s += length ? length : 1;
    }
    fputc('"', out);
}

/* What stands before any value: a comma, and the key. */
static void begin_value(struct emit *emit, const char *key)
{
    if (emit->comma)
        fputs(", ", emit->out);
    emit->comma = 1;
    if (!key)
        return;
    put_string(emit->out, key);
    fputs(": ", emit->out);
}

void emit_open(struct emit *emit, const char *key, char bracket)
{
    begin_value(emit, key);
    fputc(bracket, emit->out);
    emit->comma = 0;
    emit->depth++;
}

void emit_close(struct emit *emit, char bracket)
{
    fputc(bracket, emit->out);
    emit->comma = --emit->depth > 0;
    if (emit->depth == 0) {
        fputc('\n', emit->out);
        fflush(emit->out);
    }
}

void emit_text(struct emit *emit, const char *key, const char *text)
{
    begin_value(emit, key);
    if (text)
        put_string(emit->out, text);
    else
        fputs("null", emit->out);
}

void emit_number(struct emit *emit, const char *key, double value)
{
    begin_value(emit, key);
    if (!isfinite(value)) {
        fputs("null", emit->out);
        return;
    }
    char text[40];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    fputs(text, emit->out);
}

void emit_whole(struct emit *emit, const char *key, int64_t value)
{
    begin_value(emit, key);
    fprintf(emit->out, "%lld", (long long)value);
}

void emit_flag(struct emit *emit, const char *key, int value)
{
    begin_value(emit, key);
    fputs(value ? "true" : "false", emit->out);
}
