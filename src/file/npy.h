/* npy.h - the parts of reading a .npy file, for those who do not read it in one piece. */
#ifndef BPTT_FILE_NPY_H
#define BPTT_FILE_NPY_H

#include "input.h"

struct npy_layout {
    bptt_array array;                      /* what it becomes: type, rank and shape; no data */
    size_t element, bytes;                 /* in the file: of one, of all; `bytes` are left to read */
};
int npy_begin(struct input *input, struct npy_layout *layout, bptt_error *error);

/* Integers of 8 bytes or of 1 become int32, or it is an error; the first of them is the file's element `first`. */
int npy_narrow(const char *path, const void *from, size_t element, size_t first, size_t count, int32_t *to,
               bptt_error *error);

#endif
