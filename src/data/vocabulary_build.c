/* vocabulary_build.c - the vocabulary that a training text asks for. The order of the symbols depends on the text
 * alone: sorted for chars, by falling count and then by their bytes for words. */
#include <stdlib.h>
#include <string.h>

#include "utf8.h"
#include "vocabulary.h"
#include "words.h"

static int fail_nothing(size_t distinct, bptt_error *error)
{
    return fail(error, BPTT_ERROR_FORMAT, "nothing to learn: the text has %zu different symbol%s", distinct,
                distinct == 1 ? "" : "s");
}

/* ---- bytes ---- */

static size_t distinct_bytes(const char *text, size_t length)
{
    unsigned char seen[256] = {0};
    size_t distinct = 0;
    for (size_t i = 0; i < length; i++) {
        distinct += !seen[(unsigned char)text[i]];
        seen[(unsigned char)text[i]] = 1;
    }
    return distinct;
}

static int build_bytes(struct vocabulary *vocabulary, const char *text, size_t length, bptt_error *error)
{
    char byte[256];
    struct symbol symbol[256];
    size_t distinct = distinct_bytes(text, length);
    if (distinct < 2)
        return fail_nothing(distinct, error);
    for (int i = 0; i < 256; i++) {
        byte[i] = (char)i;
        symbol[i] = (struct symbol){&byte[i], 1};
    }
    return vocabulary_fill(vocabulary, BPTT_BYTES, symbol, 256, error);
}

/* ---- chars ---- */

/* Marks the code points of the text in seen[UTF8_CODES]; their number, or 0 when the text is not UTF-8. */
static size_t mark_codes(const char *text, size_t length, unsigned char *seen)
{
    size_t distinct = 0;
    int bytes;
    for (size_t at = 0; at < length; at += (size_t)bytes) {
        uint32_t code;
        bytes = utf8_read(text + at, length - at, &code);
        if (!bytes)
            return 0;
        distinct += !seen[code];
        seen[code] = 1;
    }
    return distinct;
}

static int fill_chars(struct vocabulary *vocabulary, const unsigned char *seen, size_t distinct, bptt_error *error)
{
    struct symbol *symbol = malloc(distinct * sizeof *symbol);
    char (*text)[4] = malloc(distinct * sizeof *text);
    int status;
    if (symbol && text) {
        size_t count = 0;
        for (uint32_t code = 0; code < UTF8_CODES; code++) {
            if (!seen[code])
                continue;
            symbol[count].text = text[count];
            symbol[count].length = (size_t)utf8_write(code, text[count]);
            count++;
        }
        status = vocabulary_fill(vocabulary, BPTT_CHARS, symbol, count, error);
    } else {
        status = fail_memory(error, distinct * (sizeof *symbol + sizeof *text));
    }
    free(symbol);
    free(text);
    return status;
}

static int build_chars(struct vocabulary *vocabulary, const char *text, size_t length, bptt_error *error)
{
    size_t valid = utf8_valid(text, length);
    if (valid < length)
        return fail(error, BPTT_ERROR_FORMAT, "the text is not UTF-8 at byte %zu; --symbols bytes reads any", valid);
    unsigned char *seen = calloc(UTF8_CODES, 1);
    if (!seen)
        return fail_memory(error, UTF8_CODES);
    size_t distinct = mark_codes(text, length, seen);
    int status = distinct < 2 ? fail_nothing(distinct, error) : fill_chars(vocabulary, seen, distinct, error);
    free(seen);
    return status;
}

/* ---- words ---- */

static int by_count(const void *left, const void *right)
{
    const struct word *a = left;
    const struct word *b = right;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    int order = memcmp(a->text, b->text, a->length < b->length ? a->length : b->length);
    return order ? order : (a->length > b->length) - (a->length < b->length);
}

static int is_unknown(const struct word *word)
{
    return word->length == strlen(vocabulary_unknown) && memcmp(word->text, vocabulary_unknown, word->length) == 0;
}

/* A text prepared by others may hold <unk> itself: it is that token. */
static int fill_words(struct vocabulary *vocabulary, const struct word *word, size_t words, size_t most,
                      bptt_error *error)
{
    struct symbol *symbol = malloc((words + 1) * sizeof *symbol);
    if (!symbol)
        return fail_memory(error, (words + 1) * sizeof *symbol);
    size_t count = 1;
    symbol[0] = (struct symbol){vocabulary_unknown, strlen(vocabulary_unknown)};
    for (size_t i = 0; i < words && count <= most; i++)
        if (!is_unknown(&word[i]))
            symbol[count++] = (struct symbol){word[i].text, word[i].length};
    int status = vocabulary_fill(vocabulary, BPTT_WORDS, symbol, count, error);
    free(symbol);
    return status;
}

static int build_words(struct vocabulary *vocabulary, const char *text, size_t length, int64_t max_words,
                       bptt_error *error)
{
    struct word *word;
    size_t words;
    if (max_words < 1 || max_words >= VOCABULARY_MOST)
        return fail(error, BPTT_ERROR_ARGUMENT, "%lld words: a vocabulary has 1 to %d", (long long)max_words,
                    VOCABULARY_MOST - 1);
    int status = words_count(text, length, &word, &words, error);
    if (status != BPTT_OK)
        return status;
    if (words < 2) {
        status = fail_nothing(words, error);
    } else {
        qsort(word, words, sizeof *word, by_count);
        status = fill_words(vocabulary, word, words, (size_t)max_words, error);
    }
    free(word);
    return status;
}

int vocabulary_build(struct vocabulary *vocabulary, int kind, const char *text, size_t length, int64_t max_words,
                     bptt_error *error)
{
    *vocabulary = (struct vocabulary){0};
    switch (kind) {
    case BPTT_CHARS: return build_chars(vocabulary, text, length, error);
    case BPTT_BYTES: return build_bytes(vocabulary, text, length, error);
    case BPTT_WORDS: return build_words(vocabulary, text, length, max_words, error);
    default: return fail(error, BPTT_ERROR_ARGUMENT, "symbols %d: not chars, bytes or words", kind);
    }
}
