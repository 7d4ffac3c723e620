/* atomic.h - a file is either the old one or all of the new one. It is written under another name in the same
 * folder, synced, and renamed over the target; a failure or abort leaves the target as it was and nothing beside it.
 * Devices and pipes (/dev/stdout) cannot be replaced and are written straight through. */
#ifndef BPTT_FILE_ATOMIC_H
#define BPTT_FILE_ATOMIC_H

#include "../base/error.h"

struct atomic_file {
    int fd;
    char *path;                            /* as the caller named it, for messages */
    char *target;                          /* with symbolic links resolved: what is renamed over */
    char *temporary;                       /* NULL when writing straight through */
};
/* After a failed call nothing is left to clean up, and atomic_abort is harmless. */
int atomic_open(struct atomic_file *file, const char *path, bptt_error *error);
int atomic_write(struct atomic_file *file, const void *data, size_t bytes, bptt_error *error);
/* In place of atomic_write: the size is known and the bytes come in any order; what never comes is 0. The space is
 * taken at once. Pipes, and a descriptor's file (/dev/stdout), have no places to write to and are refused. */
int atomic_reserve(struct atomic_file *file, uint64_t bytes, bptt_error *error);
int atomic_write_at(struct atomic_file *file, const void *data, size_t bytes, uint64_t place, bptt_error *error);
int atomic_commit(struct atomic_file *file, bptt_error *error);
void atomic_abort(struct atomic_file *file);

#endif
