/* arena.c - the growing arena is a chain of zeroed blocks, the newest first. The plan is one anonymous mapping:
 * zeroed by the kernel, and a page costs memory only once it is touched. */
#define _GNU_SOURCE 1
#include "arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ARENA_ALIGN = 16, ARENA_FIRST = 16 * 1024, ARENA_LARGEST = 1024 * 1024, PLAN_ALIGN = 64 };

struct arena_block {
    struct arena_block *previous;
    size_t used, size;
    _Alignas(ARENA_ALIGN) char data[];
};

size_t size_mul(size_t a, size_t b)
{
    return b != 0 && a > SIZE_MAX / b ? SIZE_MAX : a * b;
}

/* n up to a multiple of `align` (a power of two), or SIZE_MAX if it does not fit */
static size_t round_up(size_t n, size_t align)
{
    return n > SIZE_MAX - (align - 1) ? SIZE_MAX : (n + align - 1) & ~(align - 1);
}

/* ---- the growing arena ---- */

static struct arena_block *new_block(struct arena *arena, size_t bytes)
{
    size_t size = arena->last ? arena->last->size * 2 : ARENA_FIRST;
    if (size > ARENA_LARGEST)
        size = ARENA_LARGEST;
    if (size < bytes)
        size = bytes;
    if (size > PTRDIFF_MAX - sizeof(struct arena_block))
        return NULL;
    struct arena_block *block = calloc(1, sizeof *block + size);
    if (!block)
        return NULL;
    block->size = size;
    block->previous = arena->last;
    arena->last = block;
    return block;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
    struct arena_block *block = arena->last;
    bytes = round_up(bytes ? bytes : 1, ARENA_ALIGN);
    if (!block || bytes > block->size - block->used)
        block = new_block(arena, bytes);
    if (!block)
        return NULL;
    void *memory = block->data + block->used;
    block->used += bytes;
    return memory;
}

void *arena_grow(struct arena *arena, void *data, int count, int *capacity, size_t element_size)
{
    if (count < *capacity)
        return data;
    int larger = *capacity ? 2 * *capacity : 16;
    void *copy = arena_alloc(arena, (size_t)larger * element_size);
    if (!copy)
        return NULL;
    if (count)
        memcpy(copy, data, (size_t)count * element_size);
    *capacity = larger;
    return copy;
}

char *arena_string(struct arena *arena, const char *text, size_t length)
{
    if (length == SIZE_MAX)
        return NULL;
    char *copy = arena_alloc(arena, length + 1);
    if (copy && length)
        memcpy(copy, text, length);
    return copy;
}

void arena_free(struct arena *arena)
{
    for (struct arena_block *block = arena->last; block;) {
        struct arena_block *previous = block->previous;
        free(block);
        block = previous;
    }
    arena->last = NULL;
}

/* ---- the plan ---- */

const char *const plan_kind_name[PLAN_KINDS] = {
    [PLAN_PARAMETERS] = "parameters", [PLAN_GRADIENTS] = "gradients", [PLAN_OPTIMIZER] = "optimizer",
    [PLAN_RECORDED] = "recorded",     [PLAN_STATES] = "states",       [PLAN_SCRATCH] = "scratch",
    [PLAN_PACKED] = "packed",         [PLAN_DATA] = "data",
};

static int reserve(struct plan *plan)
{
    if (plan->count < plan->capacity)
        return 1;
    size_t capacity = plan->capacity ? plan->capacity * 2 : 64;
    size_t *offset = realloc(plan->offset, size_mul(capacity, sizeof *offset));
    if (!offset)
        return 0;
    plan->offset = offset;
    plan->capacity = capacity;
    return 1;
}

size_t plan_add(struct plan *plan, enum plan_kind kind, size_t count, size_t element_size)
{
    size_t bytes = round_up(size_mul(count, element_size), PLAN_ALIGN);
    if (plan->base || bytes > SIZE_MAX - PLAN_ALIGN - plan->total || !reserve(plan)) {
        plan->failed = 1;
        return 0;
    }
    plan->offset[plan->count] = plan->total;
    plan->total += bytes;
    plan->bytes[kind] += bytes;
    return plan->count++;
}

/* A mapping of no bytes does not exist; a plan of none still gets a base, to be told from one not placed. */
static size_t mapped(const struct plan *plan)
{
    return plan->total ? plan->total : PLAN_ALIGN;
}

int memory_fits(size_t bytes, bptt_error *error)
{
    const double gigabyte = 1 << 30;
    double machine = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    if ((double)bytes <= machine)
        return BPTT_OK;
    return fail(error, BPTT_ERROR_MEMORY, "this needs %.1f GiB of memory or more, and the machine has %.1f GiB: use a smaller "
                "model, batch or length", bytes == SIZE_MAX ? machine / gigabyte : (double)bytes / gigabyte, machine / gigabyte);
}

size_t memory_resident(void)
{
    unsigned long size, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return 0;
    if (fscanf(file, "%lu %lu", &size, &resident) != 2)
        resident = 0;
    fclose(file);
    size_t bytes = (size_t)resident * (size_t)sysconf(_SC_PAGESIZE), step = 1 << 19;
    return (bytes + step - 1) / step * step;
}

int plan_allocate(struct plan *plan, bptt_error *error)
{
    int status = memory_fits(plan->failed ? SIZE_MAX : plan->total, error);
    if (status)
        return status;
    void *base = mmap(NULL, mapped(plan), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return fail_memory(error, plan->total);
    madvise(base, mapped(plan), MADV_HUGEPAGE);  /* a column of rows touches a page a row; where there are none, as before */
    plan->base = base;
    return BPTT_OK;
}

void *plan_at(const struct plan *plan, size_t region)
{
    return plan->base + plan->offset[region];
}

void plan_free(struct plan *plan)
{
    if (plan->base)
        munmap(plan->base, mapped(plan));
    free(plan->offset);
    memset(plan, 0, sizeof *plan);
}
