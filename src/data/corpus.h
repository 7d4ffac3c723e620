/* corpus.h - text files, read whole and joined. */
#ifndef BPTT_DATA_CORPUS_H
#define BPTT_DATA_CORPUS_H

#include "../base/error.h"

/* Reads `count` files and joins them as they are, into *text (owned; free) with a NUL behind its *length bytes. Unless
 * `symbols` (a bptt_symbols) is BPTT_BYTES each file must be UTF-8 text; a byte order mark at its start is left out. */
int corpus_read(const char *const *files, size_t count, int symbols, char **text, size_t *length, bptt_error *error);

#endif
