/* array.c - arrays and sets of them, as callers see them: plain memory, one owner, cleared by one function. A cleared or
 * zeroed array may be cleared again. */
#include <stdlib.h>
#include <string.h>

#include "../../include/bptt.h"

void bptt_free(void *memory)
{
    free(memory);
}

int64_t bptt_array_length(const bptt_array *array)
{
    int64_t length = 1;
    for (int i = 0; i < array->rank; i++)
        length *= array->shape[i];
    return length;
}

const bptt_array *bptt_arrays_find(const bptt_arrays *set, const char *name)
{
    for (size_t i = 0; set && i < set->count; i++)
        if (!strcmp(set->items[i].name, name))
            return &set->items[i];
    return NULL;
}

void bptt_array_clear(bptt_array *array)
{
    if (!array)
        return;
    free(array->data);
    *array = (bptt_array){0};
}

void bptt_arrays_clear(bptt_arrays *set)
{
    if (!set)
        return;
    for (size_t i = 0; i < set->count; i++)
        free(set->items[i].data);
    free(set->items);
    *set = (bptt_arrays){0};
}
