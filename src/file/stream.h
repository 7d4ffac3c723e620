/* stream.h - arrays that are never in memory as a whole: a .npy file read a stretch of rows at a time, in any order,
 * and a safetensors file whose tensors are written a stretch at a time, in any order. One thread at a time each. */
#ifndef BPTT_FILE_STREAM_H
#define BPTT_FILE_STREAM_H

#include "../base/error.h"

/* ---- a .npy file, by rows of its first axis ---- */

struct npy_stream;

int npy_stream_open(const char *path, struct npy_stream **stream, bptt_error *error);
void npy_stream_close(struct npy_stream *stream);                    /* NULL is fine */
const bptt_array *npy_stream_array(const struct npy_stream *stream); /* type, rank, shape; no data. Borrowed */

/* Rows first .. first + count - 1, as elements of `type`: floats as either kind, int32 as it is. A file that is changed
 * while it is open is an error: a gradient would be of neither version. */
int npy_stream_rows(struct npy_stream *stream, int64_t first, int64_t count, int type, void *rows, bptt_error *error);

/* ---- a safetensors file ---- */

struct safetensors_writer;

/* `set` says what comes: names, types and shapes; its data is not looked at, and nothing of it is kept. The file has
 * its full size from now on, written aside; what is never put is 0. `metadata` as for safetensors_save. */
int safetensors_begin(const char *path, const bptt_arrays *set, const char *metadata,
                      struct safetensors_writer **writer, bptt_error *error);
/* Elements first .. first + count - 1 of the tensor that is number `tensor` in the set; `data` has its type. */
int safetensors_put(struct safetensors_writer *writer, size_t tensor, int64_t first, int64_t count, const void *data,
                    bptt_error *error);
/* The file appears under its name, whole. The writer is freed, also after an error. */
int safetensors_commit(struct safetensors_writer *writer, bptt_error *error);
void safetensors_abandon(struct safetensors_writer *writer); /* frees; NULL is fine */

#endif
