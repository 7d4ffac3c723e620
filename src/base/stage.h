/* stage.h - what generated code and its callers agree on. Self-contained: its text also goes in front of the code that is
 * generated for a user's own cell.
 *
 * A stage computes some values of a cell for rows [row_from, row_to) of one time step, or of `steps` of them one after another
 * (`by` 1: forward, -1: backward), where it is all that a step has to do. A value lives at
 *     base + step * step_stride + row * row_stride                                   (strides in elements)
 * Row strides are multiples of 16 elements (or 0: the same row for all, a parameter), rows are aligned to 64 bytes, and
 * elements from a value's width up to the next multiple of 16 may be read and written freely, so no loop needs a tail. */
#ifndef BPTT_BASE_STAGE_H
#define BPTT_BASE_STAGE_H

#include <stdint.h>
#include <string.h>

enum { STAGE_PAD = 16 };                   /* row strides are multiples of this many elements */

struct stage_value { void *base; long row_stride, step_stride; };

struct stage_call {
    const struct stage_value *value;       /* by the program's value numbers */
    const long *dim;                       /* by the cell's dimension numbers: H, I, ... */
    long step, steps, by, row_from, row_to;
};
typedef void stage_fn(const struct stage_call *call);

/* bfloat16 is the upper half of a float. Stored to nearest, ties to even; NaN stays NaN, whatever its payload. */
static inline float bfloat16_get(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint16_t bfloat16_put(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((value == value ? bits + 0x7FFF + ((bits >> 16) & 1) : bits | 0x400000) >> 16);
}

/* The stages of one cell for one instruction set and precision, in the order of the cell's programs. `hash` is that of the
 * generated text, so code and cell cannot be mismatched. */
struct cell_code {
    const char *name;
    unsigned long long hash;
    const char *isa;
    int element_size;                      /* 2 (bfloat16), 4 or 8 */
    int count;
    stage_fn *const *stage;
};

#endif
