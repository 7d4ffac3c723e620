/* safetensors.h - named tensors in one file, as many tools read and write them:
 *
 *     u64 length of the header | header: JSON, padded with spaces | the tensors' bytes, without gaps
 *
 * The header maps names to {"dtype", "shape", "data_offsets"}; its "__metadata__" maps strings to strings, where
 * bptt keeps one of its own. */
#ifndef BPTT_FILE_SAFETENSORS_H
#define BPTT_FILE_SAFETENSORS_H

#include "../base/error.h"
#include "../base/text.h"

/* The tensors in the order of their bytes; `metadata` (may be NULL) takes the string under __metadata__.bptt, owned,
 * NULL if there is none. After an error the set is empty. */
int safetensors_load(const char *path, bptt_arrays *set, char **metadata, bptt_error *error);
int safetensors_save(const char *path, const bptt_arrays *set, const char *metadata, bptt_error *error);

/* The first part of such a file: length and header, after which the tensors' bytes follow in their order. The tensors
 * need no data yet. `out` is empty before, and to be freed whatever comes back. */
int safetensors_header(const char *path, const bptt_arrays *set, const char *metadata, struct text *out,
                       bptt_error *error);

#endif
