/* lock.h - one writer for a model: a run holds a lock on PATH.lock for as long as it lives. The system drops the
 * lock with the process, so a file left by one that died stands in nobody's way. */
#ifndef BPTT_FILE_LOCK_H
#define BPTT_FILE_LOCK_H

#include "../base/error.h"

struct run_lock { int fd; char *path; };   /* path: of the lock file, NULL when not held */
int lock_take(struct run_lock *lock, const char *path, bptt_error *error); /* BPTT_ERROR_BUSY: another run has it */
void lock_release(struct run_lock *lock);  /* and removes the file; fine on a zeroed struct and after a failed take */

#endif
