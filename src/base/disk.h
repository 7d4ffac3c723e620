/* disk.h - system calls on an open file that are done when they return: interrupted ones go on, short ones are
 * completed. No place in the file is kept, so several threads may work on one. They return 0, or -1 with the reason in
 * errno. */
#ifndef BPTT_BASE_DISK_H
#define BPTT_BASE_DISK_H

#include <stddef.h>
#include <stdint.h>

/* Gives an empty file its size and takes the space for it, unless the file system cannot: then a write may still find
 * the disk full. After a failure the file is empty again. */
int disk_reserve(int fd, uint64_t bytes);
int disk_write_at(int fd, const void *data, size_t bytes, uint64_t place);
int disk_read_at(int fd, void *data, size_t bytes, uint64_t place, size_t *missing); /* missing: past the file's end */

#endif
