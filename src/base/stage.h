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

enum { STAGE_PAD = 16 };                   /* row strides are multiples of this many elements */

struct stage_value { void *base; long row_stride, step_stride; };

struct stage_call {
    const struct stage_value *value;       /* by the program's value numbers */
    const long *dim;                       /* by the cell's dimension numbers: H, I, ... */
    long step, steps, by, row_from, row_to;
};
typedef void stage_fn(const struct stage_call *call);

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
