/* array.h - what all array files need: sizes that cannot overflow, and what is wrong with an array. */
#ifndef BPTT_FILE_ARRAY_H
#define BPTT_FILE_ARRAY_H

#include "../../include/bptt.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "array files are little-endian and copied as they are");

enum { ARRAY_RANK = 4 };

size_t array_type_size(int type);          /* bytes of an element; 0: no such type */

/* Bytes of an array; 0 if a length is negative or anything overflows, 1 if all is well. `element` is not 0. */
int array_size(int rank, const int64_t *shape, size_t element, size_t *bytes);

/* What is wrong with a caller's array, or NULL and its bytes. */
const char *array_fault(const bptt_array *array, size_t *bytes);
const char *array_shape_fault(const bptt_array *array, size_t *bytes); /* the same before it has data */

#endif
