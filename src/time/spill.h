/* spill.h - kept states on disk: one file without a name, which is gone with the process however it ends. Its space is
 * taken when it is opened, so that a full disk is refused before the run and not hours into it. A directory in memory
 * (tmpfs) takes the memory that it was meant to save. */
#ifndef BPTT_TIME_SPILL_H
#define BPTT_TIME_SPILL_H

#include <stddef.h>

#include "../base/error.h"

struct spill;

int spill_open(const char *directory, size_t slot_bytes, long slots, struct spill **spill, bptt_error *error);
void spill_free(struct spill *spill);      /* NULL is fine */

/* `bytes` bytes from byte `offset` of the slot on. Different parts may be moved by several threads at once. */
int spill_write(struct spill *spill, long slot, size_t offset, const void *data, size_t bytes, bptt_error *error);
int spill_read(const struct spill *spill, long slot, size_t offset, void *data, size_t bytes, bptt_error *error);

size_t spill_bytes(const struct spill *spill); /* on disk */

#endif
