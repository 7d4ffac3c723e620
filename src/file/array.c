/* array.c - arrays and sets of them, as callers see them: plain memory, one owner, cleared by one function. A
 * cleared or zeroed array may be cleared again. */
#include "array.h"

#include <stdlib.h>
#include <string.h>

void bptt_free(void *memory)
{
    free(memory);
}

size_t array_type_size(int type)
{
    if (type == BPTT_F64)
        return sizeof(double);
    return type == BPTT_F32 || type == BPTT_I32 ? 4 : 0;
}

/* A length of 0 does not excuse the others: [2^40, 2^40, 0] would overflow whoever multiplies from the left. */
int array_size(int rank, const int64_t *shape, size_t element, size_t *bytes)
{
    size_t limit = (size_t)(INT64_MAX / 2), product = element;
    int is_empty = 0;
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 0)
            return 0;
        is_empty |= shape[i] == 0;
        size_t length = shape[i] ? (size_t)shape[i] : 1;
        if (length > limit / product)
            return 0;
        product *= length;
    }
    *bytes = is_empty ? 0 : product;
    return 1;
}

const char *array_shape_fault(const bptt_array *array, size_t *bytes)
{
    size_t element = array_type_size(array->type);
    if (!element)
        return "the array's type is none of BPTT_F32, BPTT_F64, BPTT_I32";
    if (array->rank < 0 || array->rank > ARRAY_RANK)
        return "the array's rank is not in 0..4";
    if (!array_size(array->rank, array->shape, element, bytes))
        return "the array's shape is negative or too large";
    return NULL;
}

const char *array_fault(const bptt_array *array, size_t *bytes)
{
    const char *fault = array_shape_fault(array, bytes);
    return !fault && *bytes && !array->data ? "the array has a shape but no data" : fault;
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
