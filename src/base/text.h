/* text.h - a string that grows. Errors are sticky: after a failed allocation `failed` is set and appends do nothing. */
#ifndef BPTT_BASE_TEXT_H
#define BPTT_BASE_TEXT_H

#include <stdarg.h>
#include <stddef.h>

struct text { char *data; size_t length, capacity; int failed; };
void text_append(struct text *text, const char *bytes, size_t length);
void text_add(struct text *text, const char *string);
void text_printf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *text_take(struct text *text);        /* the string, owned by the caller (free), or NULL if it failed; empties text */
void text_free(struct text *text);

/* Number of single-letter edits between two words (Damerau), to name the nearest known one. */
int text_distance(const char *a, const char *b);

/* FNV-1a, 64 bit; start from TEXT_HASH. */
#define TEXT_HASH 14695981039346656037ull
unsigned long long text_hash(unsigned long long hash, const void *bytes, size_t length);

#endif
