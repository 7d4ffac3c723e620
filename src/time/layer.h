/* layer.h - one cell over time: its programs bound to sizes, kernels and memory, run over blocks of steps.
 *
 * A block is a stretch of steps short enough to stay in cache. Block borders lie at fixed multiples of the block length, so
 * the order of every sum over time is the same whatever else changes (threads, memory, resumption).
 *
 *     tape         [steps][B][all recorded values]          one row per step and batch row
 *     state i      [steps + 1][B][width]                    slot t: the state before step t
 *     block        [block][B][values of a block]            scratch, of the forward and of the backward program
 *     dstate i     [block + 1][B][width]                    slot t: dL/d(state before step t of the block)
 *
 * Matrices whose products share an operand and stand side by side run as one product (a matmul). */
#ifndef BPTT_TIME_LAYER_H
#define BPTT_TIME_LAYER_H

#include "../base/threads.h"
#include "../cell/cell.h"
#include "../kernel/kernel.h"

/* Where a parameter stands in its model's parameter block; gradients stand alike in theirs. */
struct slot { long offset, rows, columns; };               /* elements; columns 1 for a vector; of one block for block-diagonal */

/* A matrix product of a program, sizes resolved. */
struct matmul {
    enum phase phase;
    int level;
    int operand, operand_column;           /* place, and the first column within it */
    int result, result_column;
    long k, n;
    int accumulate;
    int on_state;                          /* state whose dropout mask this product sees, or -1 */
    long packed;                           /* offset in the packed block */
    int first_product, product_count, block;   /* what it was joined from */
    int deep;                              /* joined along k: one result */
    int overwritten;                       /* in the scan: its operand's place takes another value within a step */
};

/* left^T right summed over rows, into a parameter's gradient; or left's column sums, with right -1. */
struct outer {
    int left, left_column, right, right_column;
    long m, n, offset;
    int param;
    int wave;                              /* those of one wave write apart from each other; the same matrix twice is two */
};

/* A product or a stage of one step with all that it needs; of a gather a is the tokens, matrix the table and lda its stride. */
enum call_kind { CALL_GEMM, CALL_GEMV, CALL_GATHER, CALL_STAGE };
struct call {
    enum call_kind kind;
    long m, n, k;
    const void *a;
    long lda;
    const void *matrix;
    void *c;
    long ldc;
    int accumulate, stage;
    long a_step, c_step;                   /* bytes */
};

struct placed { long width; long *column; };               /* of one kind of place: row width, and each value's column */

struct bound {
    const struct program *program;
    struct placed tape, block, step;
    struct matmul *job;
    int jobs;
    stage_fn *const *code;                 /* its stages, or NULL: interpreted */
    struct stage_value *value;             /* by place, for the block at hand */
    long scratch;                          /* bytes the interpreter needs */
    long cost[PHASE_COUNT];                /* of one row: multiply-adds, roughly */
};

struct layer {
    struct bptt_cell *cell;                /* a reference */
    const struct kernels *kernels;
    const char *code_isa;                  /* of the code that runs; NULL: the interpreter */
    struct arena arena;
    long *size;                            /* by dimension */
    long batch;
    struct slot *slot;                     /* by parameter */
    struct bound run, back;
    struct outer *outer;
    int outers;
    long packed;                           /* elements of the packed block */
    long *vector;                          /* by parameter: where its padded copy stands in the packed block, or -1 */
    long input_width, output_width;        /* padded */

    /* memory, set by the owner before a run */
    void *packed_base;
    void *tape, **state;                   /* state[i] */
    void *run_block, *run_step, *back_block, *back_step;
    void **dstate;
    void **mask;                           /* by state: dropout mask [B][width], or NULL */
    void **masked, **dmasked;              /* by state: [block][B][width], with a mask */
    char *scratch;                         /* per worker: scratch_bytes each */
    size_t scratch_bytes;
    struct call *call;                     /* of a batch of one row: its scan at hand; in a stream all of a step, `calls` of them */
    int calls;
    int alone;                             /* scans to come that are not shared out by units */
};

/* What a block of steps reads and writes outside the layer; row strides in elements. */
struct block_io {
    long first;                            /* its first step's position on tape and state */
    long steps;
    void *x;  long x_stride;               /* [steps][B], row stride */
    const void *dy;  long dy_stride;       /* backward */
    void *dx;  long dx_stride;             /* backward */
    int wants_dx;                          /* 0: dx is scratch, and the products that lead to it alone are left out */
    const double *link;                    /* backward: what dL/d(state before step t) is multiplied by; NULL: 1 everywhere */
    const int32_t *token;                  /* with `table`: the input as tokens [steps][B] */
    const void *table;  long table_stride; /* products of every symbol with the input matrices, by layer_table_column */
};

int layer_new(struct layer *layer, const bptt_cell *cell, const long *size, long batch, const struct kernels *kernels,
              const struct slot *slot, bptt_error *error);
void layer_free(struct layer *layer);
/* Workers that its forward scan keeps busy, of so many; by_units: they share hidden units, else batch rows. */
int layer_scan_workers(const struct layer *layer, int workers, int *by_units);
int layer_is_masked(const struct layer *layer);            /* a state is dropped out, in this window */
void layer_interpret(struct layer *layer);                 /* from now on without generated code */

/* Elements of each kind of memory. */
long layer_tape_width(const struct layer *layer);
long layer_state_width(const struct layer *layer, int state);
size_t layer_scratch(const struct layer *layer, long block);

void layer_pack(struct layer *layer, const void *parameters, struct pool *pool);
/* The block's output rows: a pointer into tape or state, and its row stride. */
void *layer_output(const struct layer *layer, long first, long *stride);

void layer_forward(struct layer *layer, const struct block_io *io, struct pool *pool);
/* One step from slot 0 to slot 1, again and again, on the calling thread: addresses are looked up once, by prepare. Between steps
 * of `io` only what its pointers point to and the tokens may change. */
void layer_prepare_step(struct layer *layer, const struct block_io *io);
void layer_step(struct layer *layer, const struct block_io *io);
/* Slot `steps` of dstate holds dL/d(state after the block); slot 0 receives that before it. Adds to gradients. */
void layer_backward(struct layer *layer, const struct block_io *io, void *gradients, struct pool *pool);

/* ---- tokens: input products once per symbol instead of once per step ---- */
int layer_takes_table(const struct layer *layer);          /* the input meets nothing but matrices */
long layer_table_width(const struct layer *layer);
void layer_fill_table(struct layer *layer, const void *embedding, long symbols, long stride, void *table, struct pool *pool);
/* From dtable [symbols][table width] (of the kernels' type; `work` and what is added to are of the wide one): adds the input matrices' gradients and dL/dembedding ([symbols][stride], natural). */
void layer_table_backward(struct layer *layer, const void *embedding, long symbols, long stride, const void *parameters,
                          const void *dtable, void *gradients, void *dembedding, void *work, void *work_packed);
void layer_table_scatter(struct layer *layer, const struct block_io *io, void *dtable, struct pool *pool);

#endif
