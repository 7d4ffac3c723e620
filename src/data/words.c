/* words.c - words and their counts. The table holds numbers of words and is searched slot after slot; it is kept at
 * most half full, so searches stay short. */
#include "words.h"

#include <stdlib.h>
#include <string.h>

#include "../base/arena.h"
#include "../base/text.h"

struct counter {
    struct word *word;
    size_t count, capacity;
    size_t *slot;                          /* [2 * capacity]: number of the word plus one; 0: free */
};

static int is_space(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\v' || byte == '\f';
}

int word_next(const char *text, size_t length, size_t *at, struct word *word)
{
    size_t from = *at;
    while (from < length && is_space(text[from]))
        from++;
    size_t to = from;
    while (to < length && text[to] != '\n' && !is_space(text[to]))
        to++;
    if (to == from && to < length)
        to++;                              /* a newline */
    *at = to;
    *word = (struct word){text + from, to - from, 1};
    return to > from;
}

int word_valid(const char *text, size_t length)
{
    size_t at = 0;
    struct word word;
    return word_next(text, length, &at, &word) && word.length == length;
}

size_t word_slot(const char *text, size_t length, size_t slots)
{
    unsigned long long hash = text_hash(TEXT_HASH, text, length);
    return (size_t)(hash ^ hash >> 32) & (slots - 1);
}

/* The slot that holds the word or, when it is new, the free one that it goes to. */
static size_t *find(const struct counter *counter, const struct word *word)
{
    size_t slots = 2 * counter->capacity;
    size_t at = word_slot(word->text, word->length, slots);
    for (;; at = (at + 1) & (slots - 1)) {
        size_t number = counter->slot[at];
        const struct word *known = counter->word + number - (number > 0);
        if (!number || (known->length == word->length && memcmp(known->text, word->text, word->length) == 0))
            return &counter->slot[at];
    }
}

static int grow(struct counter *counter, bptt_error *error)
{
    size_t capacity = counter->capacity ? 2 * counter->capacity : 1024;
    size_t bytes = size_mul(capacity, sizeof *counter->word);
    struct word *word = bytes == SIZE_MAX ? NULL : realloc(counter->word, bytes);
    if (!word)
        return fail_memory(error, bytes);
    counter->word = word;
    size_t *slot = calloc(capacity, 2 * sizeof *slot);
    if (!slot)
        return fail_memory(error, size_mul(capacity, 2 * sizeof *slot));
    free(counter->slot);
    counter->slot = slot;
    counter->capacity = capacity;
    for (size_t i = 0; i < counter->count; i++)
        *find(counter, &word[i]) = i + 1;
    return BPTT_OK;
}

static int add(struct counter *counter, const struct word *word, bptt_error *error)
{
    if (counter->count == counter->capacity) {
        int status = grow(counter, error);
        if (status != BPTT_OK)
            return status;
    }
    size_t *slot = find(counter, word);
    if (*slot) {
        counter->word[*slot - 1].count++;
        return BPTT_OK;
    }
    counter->word[counter->count++] = *word;
    *slot = counter->count;
    return BPTT_OK;
}

int words_count(const char *text, size_t length, struct word **words, size_t *count, bptt_error *error)
{
    struct counter counter = {0};
    struct word word;
    size_t at = 0;
    int status = BPTT_OK;
    while (status == BPTT_OK && word_next(text, length, &at, &word))
        status = add(&counter, &word, error);
    free(counter.slot);
    if (status != BPTT_OK)
        free(counter.word);
    *words = status == BPTT_OK ? counter.word : NULL;
    *count = status == BPTT_OK ? counter.count : 0;
    return status;
}
