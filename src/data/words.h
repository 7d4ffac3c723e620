/* words.h - a text as words: what stands between white space, and each newline. */
#ifndef BPTT_DATA_WORDS_H
#define BPTT_DATA_WORDS_H

#include <stdint.h>

#include "../base/error.h"

struct word { const char *text; size_t length; int64_t count; };           /* text is borrowed */

/* The next word from *at on, which moves behind it; 0 at the end of the text. White space is ASCII's. */
int word_next(const char *text, size_t length, size_t *at, struct word *word);
int word_valid(const char *text, size_t length);                           /* 1 when it is exactly one word */

/* The slot of a hash table of `slots` (a power of two) entries where a search for the word starts. */
size_t word_slot(const char *text, size_t length, size_t slots);

/* All different words with how often they occur, in the order of their first. *words is owned (free). */
int words_count(const char *text, size_t length, struct word **words, size_t *count, bptt_error *error);

#endif
