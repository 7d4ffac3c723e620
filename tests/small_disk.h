/* small_disk.h - a disk that is full, for tests: a file system of 64 KiB that a child process alone sees. */
#ifndef BPTT_TESTS_SMALL_DISK_H
#define BPTT_TESTS_SMALL_DISK_H

enum { SMALL_DISK_CASES = 8, SMALL_DISK_BYTES = 65536 };

/* What the child found, case by case. */
struct small_disk { int passed[SMALL_DISK_CASES]; char text[SMALL_DISK_CASES][400]; };

/* Runs `try` in a child process with the small disk mounted on `folder`. Returns 0 where nobody may mount one here, or
 * the child died (then *report says nothing). */
int small_disk_run(const char *folder, void (*try)(struct small_disk *report), struct small_disk *report);

/* For `try`: instead of the small disk an empty one that is read-only; 0 if that fails. */
int small_disk_protect(const char *folder);

#endif
