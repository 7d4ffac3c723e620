/* error.h - how every function of the library fails: it fills the caller's bptt_error and returns the status. */
#ifndef BPTT_BASE_ERROR_H
#define BPTT_BASE_ERROR_H

#include <stddef.h>

#include "../../include/bptt.h"

/* Sets *error (may be NULL) to `code` and the formatted text, unless it holds an error already; returns `code`. */
int fail(bptt_error *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* As fail, with the file's name kept beside the text; `format` should not repeat it: the text becomes "file: ...". */
int fail_file(bptt_error *error, int code, const char *file, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

int fail_memory(bptt_error *error, size_t bytes); /* "out of memory: N bytes" */

#endif
