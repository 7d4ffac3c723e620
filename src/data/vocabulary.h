/* vocabulary.h - how text becomes tokens 0..count-1 and back.
 *
 *     chars: the code points of the training text, sorted
 *     bytes: the 256 bytes, whatever the text
 *     words: <unk>, then the most frequent words; white space separates words, and a newline is a word of its own
 */
#ifndef BPTT_DATA_VOCABULARY_H
#define BPTT_DATA_VOCABULARY_H

#include <stdint.h>

#include "../base/error.h"

enum { VOCABULARY_MOST = 1 << 21 };        /* symbols that one may have; more than there are code points */

struct vocabulary {
    int kind;                              /* a bptt_symbols; 0: nothing built yet */
    int32_t count;
    char *text;                            /* of all symbols, one after the other */
    size_t *start;                         /* [count + 1], into text */
    int32_t *token;                        /* chars: by code point; words: a hash table; -1: none */
    size_t tokens;                         /* entries of `token`; for words a power of two */
};

extern const char vocabulary_unknown[];    /* "<unk>", token 0 of words */

/* The vocabulary of a text. `max_words` limits the words besides <unk>. On failure nothing is left to free. */
int vocabulary_build(struct vocabulary *vocabulary, int kind, const char *text, size_t length, int64_t max_words,
                     bptt_error *error);
void vocabulary_free(struct vocabulary *vocabulary);           /* also valid on a zeroed struct */

/* *tokens is owned (free). `file_for_messages` may be NULL. Words that are not known become <unk>; an unknown character
 * is an error with its place. */
int vocabulary_encode(const struct vocabulary *vocabulary, const char *text, size_t length,
                      const char *file_for_messages, int32_t **tokens, int64_t *count, bptt_error *error);

/* Makes the vocabulary of these symbols, in this order: what building and reading share. Checks each of them. */
struct symbol { const char *text; size_t length; };
int vocabulary_fill(struct vocabulary *vocabulary, int kind, const struct symbol *symbols, size_t count,
                    bptt_error *error);
const char *vocabulary_kind_name(int kind);                    /* "chars", "bytes", "words"; "" for what is none */

/* A symbol's own bytes; borrowed, no NUL behind them. */
const char *vocabulary_text(const struct vocabulary *vocabulary, int32_t token, size_t *length);

/* The bytes that `token` adds to a text that ends in `previous` (-1: an empty text): its own, for words with a space in
 * front where two words meet. Returns their number and writes as many as fit; no NUL. */
int vocabulary_decode_piece(const struct vocabulary *vocabulary, int32_t previous, int32_t token, char *out,
                            size_t size);

/* As JSON: {"kind":"chars","symbols":["\n"," ","a"]}; bytes need no symbols. Owned (free); NULL when out of memory. */
char *vocabulary_to_json(const struct vocabulary *vocabulary);
int vocabulary_from_json(struct vocabulary *vocabulary, const char *json, bptt_error *error);

#endif
