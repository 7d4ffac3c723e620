/* vocabulary.c - symbols by number, and numbers by symbol. All symbols lie one after the other in one text. The way
 * back is an array by code point for chars (at most a few MB, one access), a hash table for words, none for bytes. */
#include "vocabulary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/arena.h"
#include "utf8.h"
#include "words.h"

enum { SYMBOL_LONGEST = 1 << 20 };         /* bytes; a text without white space is no text of words */

const char vocabulary_unknown[] = "<unk>";

const char *vocabulary_kind_name(int kind)
{
    switch (kind) {
    case BPTT_CHARS: return "chars";
    case BPTT_BYTES: return "bytes";
    case BPTT_WORDS: return "words";
    default: return "";
    }
}

void vocabulary_free(struct vocabulary *vocabulary)
{
    free(vocabulary->text);
    free(vocabulary->start);
    free(vocabulary->token);
    *vocabulary = (struct vocabulary){0};
}

const char *vocabulary_text(const struct vocabulary *vocabulary, int32_t token, size_t *length)
{
    *length = vocabulary->start[token + 1] - vocabulary->start[token];
    return vocabulary->text + vocabulary->start[token];
}

/* ---- The way back ---- */

/* The slot of a word, or the free one (-1) where its search ends. */
static int32_t *word_find(const struct vocabulary *v, const char *text, size_t length)
{
    size_t at = word_slot(text, length, v->tokens);
    for (;; at = (at + 1) & (v->tokens - 1)) {
        size_t known_length;
        const char *known = v->token[at] < 0 ? NULL : vocabulary_text(v, v->token[at], &known_length);
        if (!known || (known_length == length && memcmp(known, text, length) == 0))
            return &v->token[at];
    }
}

/* Where the token of a symbol is kept. For chars the table is as long as the highest code point asks. */
static int32_t *place_of(const struct vocabulary *v, int32_t token)
{
    size_t length;
    const char *text = vocabulary_text(v, token, &length);
    uint32_t code = 0;
    if (v->kind == BPTT_WORDS)
        return word_find(v, text, length);
    utf8_read(text, length, &code);
    return &v->token[code];
}

static size_t table_size(const struct vocabulary *v)
{
    size_t size = 1;
    if (v->kind == BPTT_WORDS) {
        while (size < 2 * (size_t)v->count)
            size *= 2;
        return size;
    }
    for (int32_t i = 0; i < v->count; i++) {
        uint32_t code = 0;
        utf8_read(v->text + v->start[i], v->start[i + 1] - v->start[i], &code);
        if (code >= size)
            size = (size_t)code + 1;
    }
    return size;
}

static int index_symbols(struct vocabulary *v, bptt_error *error)
{
    v->tokens = table_size(v);
    v->token = malloc(v->tokens * sizeof *v->token);
    if (!v->token)
        return fail_memory(error, v->tokens * sizeof *v->token);
    for (size_t i = 0; i < v->tokens; i++)
        v->token[i] = -1;
    for (int32_t i = 0; i < v->count; i++) {
        int32_t *place = place_of(v, i);
        if (*place >= 0)
            return fail(error, BPTT_ERROR_FORMAT, "vocabulary: symbols %d and %d are the same", *place, i);
        *place = i;
    }
    return BPTT_OK;
}

/* ---- Filling ---- */

static int check_symbol(int kind, const struct symbol *symbol, size_t number, bptt_error *error)
{
    const char *text = symbol->text;
    size_t length = symbol->length;
    uint32_t code;
    if (kind == BPTT_BYTES)
        return BPTT_OK;
    if (length > SYMBOL_LONGEST)
        return fail(error, BPTT_ERROR_FORMAT, "vocabulary: symbol %zu is longer than %d bytes", number, SYMBOL_LONGEST);
    if (length == 0 || memchr(text, 0, length) || utf8_valid(text, length) < length)
        return fail(error, BPTT_ERROR_FORMAT, "vocabulary: symbol %zu is not UTF-8 text", number);
    if (kind == BPTT_CHARS && (size_t)utf8_read(text, length, &code) != length)
        return fail(error, BPTT_ERROR_FORMAT, "vocabulary: symbol %zu is not one character", number);
    if (kind == BPTT_WORDS && !word_valid(text, length))
        return fail(error, BPTT_ERROR_FORMAT, "vocabulary: symbol %zu is not one word", number);
    if (kind == BPTT_WORDS && number == 0 && (length != 5 || memcmp(text, vocabulary_unknown, 5) != 0))
        return fail(error, BPTT_ERROR_FORMAT, "vocabulary: symbol 0 is not %s", vocabulary_unknown);
    return BPTT_OK;
}

static int check_symbols(int kind, const struct symbol *symbols, size_t count, size_t *bytes, bptt_error *error)
{
    int status = BPTT_OK;
    if (count < 2 || count > VOCABULARY_MOST)
        return fail(error, BPTT_ERROR_FORMAT, "vocabulary: %zu symbols, not 2 to %d", count, VOCABULARY_MOST);
    for (size_t i = 0; i < count && status == BPTT_OK; i++) {
        status = check_symbol(kind, &symbols[i], i, error);
        *bytes += symbols[i].length;
    }
    return status;
}

int vocabulary_fill(struct vocabulary *vocabulary, int kind, const struct symbol *symbols, size_t count,
                    bptt_error *error)
{
    size_t bytes = 0;
    *vocabulary = (struct vocabulary){0};
    int status = check_symbols(kind, symbols, count, &bytes, error);
    if (status != BPTT_OK)
        return status;
    *vocabulary = (struct vocabulary){.kind = kind, .count = (int32_t)count, .text = malloc(bytes),
                                      .start = calloc(count + 1, sizeof(size_t))};
    if (!vocabulary->text || !vocabulary->start) {
        vocabulary_free(vocabulary);
        return fail_memory(error, bytes + (count + 1) * sizeof(size_t));
    }
    for (size_t i = 0; i < count; i++) {
        memcpy(vocabulary->text + vocabulary->start[i], symbols[i].text, symbols[i].length);
        vocabulary->start[i + 1] = vocabulary->start[i] + symbols[i].length;
    }
    if (kind != BPTT_BYTES)
        status = index_symbols(vocabulary, error);
    if (status != BPTT_OK)
        vocabulary_free(vocabulary);
    return status;
}

/* ---- Encoding ---- */

static int fail_place(const char *text, size_t at, const char *file, bptt_error *error, const char *what)
{
    int line;
    int column;
    utf8_place(text, at, &line, &column);
    int is_first = error && error->code == BPTT_OK;
    int status = fail_file(error, BPTT_ERROR_FORMAT, file, "%s at line %d, column %d; the model was trained without it",
                           what, line, column);
    if (is_first) {
        error->line = line;
        error->column = column;
    }
    return status;
}

static int fail_character(const char *text, size_t at, int bytes, uint32_t code, const char *file, bptt_error *error)
{
    char what[64];
    if (!bytes)
        snprintf(what, sizeof what, "byte 0x%02X, which is not UTF-8,", (unsigned char)text[at]);
    else if (code < 0x20 || (code >= 0x7F && code < 0xA0))
        snprintf(what, sizeof what, "unknown character U+%04X", (unsigned)code);
    else
        snprintf(what, sizeof what, "unknown character '%.*s' (U+%04X)", bytes, text + at, (unsigned)code);
    return fail_place(text, at, file, error, what);
}

static int encode_chars(const struct vocabulary *v, const char *text, size_t length, const char *file, int32_t *token,
                        int64_t *count, bptt_error *error)
{
    int bytes;
    for (size_t at = 0; at < length; at += (size_t)bytes) {
        uint32_t code = 0;
        bytes = utf8_read(text + at, length - at, &code);
        int32_t found = bytes && code < v->tokens ? v->token[code] : -1;
        if (found < 0)
            return fail_character(text, at, bytes, code, file, error);
        token[(*count)++] = found;
    }
    return BPTT_OK;
}

static void encode_bytes(const char *text, size_t length, int32_t *token, int64_t *count)
{
    for (size_t i = 0; i < length; i++)
        token[i] = (unsigned char)text[i];
    *count = (int64_t)length;
}

static void encode_words(const struct vocabulary *v, const char *text, size_t length, int32_t *token, int64_t *count)
{
    struct word word;
    size_t at = 0;
    while (word_next(text, length, &at, &word)) {
        int32_t found = *word_find(v, word.text, word.length);
        token[(*count)++] = found < 0 ? 0 : found;
    }
}

int vocabulary_encode(const struct vocabulary *vocabulary, const char *text, size_t length,
                      const char *file_for_messages, int32_t **tokens, int64_t *count, bptt_error *error)
{
    *tokens = NULL;
    *count = 0;
    size_t bytes = size_mul(length, sizeof **tokens);        /* no symbol is shorter than a byte */
    int32_t *token = bytes == SIZE_MAX ? NULL : malloc(bytes + 1);
    if (!token)
        return fail_memory(error, bytes);
    int status = BPTT_OK;
    if (vocabulary->kind == BPTT_CHARS)
        status = encode_chars(vocabulary, text, length, file_for_messages, token, count, error);
    else if (vocabulary->kind == BPTT_BYTES)
        encode_bytes(text, length, token, count);
    else
        encode_words(vocabulary, text, length, token, count);
    if (status != BPTT_OK) {
        free(token);
        *count = 0;
        return status;
    }
    int32_t *shorter = realloc(token, (size_t)*count * sizeof *token + 1);
    *tokens = shorter ? shorter : token;
    return BPTT_OK;
}

/* ---- Decoding ---- */

static int is_newline(const struct vocabulary *v, int32_t token)
{
    size_t length;
    const char *text = vocabulary_text(v, token, &length);
    return length == 1 && *text == '\n';
}

int vocabulary_decode_piece(const struct vocabulary *vocabulary, int32_t previous, int32_t token, char *out,
                            size_t size)
{
    size_t length;
    const char *text = vocabulary_text(vocabulary, token, &length);
    size_t space = vocabulary->kind == BPTT_WORDS && previous >= 0 && !is_newline(vocabulary, previous) &&
                   !is_newline(vocabulary, token);
    if (space && size)
        out[0] = ' ';
    if (size > space)
        memcpy(out + space, text, length < size - space ? length : size - space);
    return (int)(space + length);
}
