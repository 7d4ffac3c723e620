/* arena.h - memory in two shapes: an arena that grows and is freed at once (compiler data), and a plan that lays out all
 * buffers of a run in one block before the run starts (time loop data). */
#ifndef BPTT_BASE_ARENA_H
#define BPTT_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

/* ---- the growing arena: zeroed memory, aligned to 16, freed all at once ---- */
struct arena { struct arena_block *last; };
void *arena_alloc(struct arena *arena, size_t bytes);                       /* NULL when out of memory */
/* Room for one more element in an array that lives in the arena: `data` itself, or a larger copy (the old one stays until
 * the arena is freed). NULL when out of memory. */
void *arena_grow(struct arena *arena, void *data, int count, int *capacity, size_t element_size);
char *arena_string(struct arena *arena, const char *text, size_t length);   /* copy, NUL added */
void arena_free(struct arena *arena);                                       /* also valid on a zeroed struct */

/* ---- the plan: add regions, then allocate (or place into the caller's memory) once, then ask for pointers ----
 *
 *     kind:   parameters | gradients | optimizer | recorded | states | scratch | packed | data
 *     block: [ region 0 | pad to 64 | region 1 | pad to 64 | ... ]          every region starts at a multiple of 64 bytes
 */
enum plan_kind { PLAN_PARAMETERS, PLAN_GRADIENTS, PLAN_OPTIMIZER, PLAN_RECORDED, PLAN_STATES, PLAN_SCRATCH, PLAN_PACKED,
                 PLAN_DATA, PLAN_KINDS };
extern const char *const plan_kind_name[PLAN_KINDS];

struct plan {
    size_t *offset;          /* of each region */
    size_t count, capacity;
    size_t total;            /* bytes so far */
    size_t bytes[PLAN_KINDS];
    char *base;              /* NULL until placed */
    int failed;              /* an addition overflowed or ran out of memory: plan_allocate reports it */
};
size_t plan_add(struct plan *plan, enum plan_kind kind, size_t count, size_t element_size); /* the region's number */
/* An error if so many bytes are more than the machine has: the system would grant them and kill the program later. */
int memory_fits(size_t bytes, bptt_error *error);
/* Bytes of this process that are in memory now, as the operating system counts them, rounded up to half a MiB so that two runs
 * mostly agree; 0 where it does not say. */
size_t memory_resident(void);
int plan_allocate(struct plan *plan, bptt_error *error);   /* one zeroed block of plan->total bytes (mmap-backed, lazy) */
void *plan_at(const struct plan *plan, size_t region);     /* after plan_allocate */
void plan_free(struct plan *plan);

/* a * b, or SIZE_MAX if it does not fit */
size_t size_mul(size_t a, size_t b);

#endif
