/* cell.h - a compiled cell, and the stages that compile it, in their order:
 *
 *     lex.c        text -> tokens                          each keeps its place in the text
 *     parse.c      tokens -> raw graph                     one node per thing written
 *     shape.c      widths of all values, by unification
 *     graph.c      simplification, as the graph is rebuilt through its constructors
 *     derive.c     reverse and tangent graphs
 *     program.c    phases (before, scan, after), joined products, what is recorded and where it stands
 *     verify.c     what each stage promises, tested after it
 *     generate.c   programs -> C
 *     interpret.c  the same programs, run as they stand: the oracle, and the path without a compiler
 *     print.c      every form as text
 */
#ifndef BPTT_CELL_CELL_H
#define BPTT_CELL_CELL_H

#include "../base/stage.h"
#include "graph.h"
#include "program.h"

struct bptt_cell {
    struct arena arena;
    _Atomic int references;
    const char *source, *file;             /* text, and its name for messages */
    const char *name, *summary;            /* summary: the first comment line */
    struct dimension *dim;
    int dims, dim_capacity;
    struct state *state;
    int states, state_capacity;
    struct parameter *param;
    int params, param_capacity;
    int output_dim;
    struct graph raw;                      /* as written */
    struct graph forward, backward, tangent;
    struct program run, back;              /* compiled forward and backward */
    unsigned long long hash;               /* of the generated C: names the code that fits */
    const struct cell_code *compiled[2];   /* from the cache: single precision, bfloat16; or NULL */
    void *library;                         /* its dlopen handle */
    int compiled_now;                      /* by this process; else it was in the cache */
    char not_compiled[300];                /* why bptt_cell_compile failed; "" if it did not, or was not asked */
};

/* ---- stages; each returns a bptt_status ---- */
int cell_parse(struct bptt_cell *cell, bptt_error *error);
int cell_infer_shapes(struct bptt_cell *cell, bptt_error *error);
int cell_simplify(struct bptt_cell *cell, bptt_error *error);
int cell_derive(struct bptt_cell *cell, bptt_error *error);
int cell_plan_programs(struct bptt_cell *cell, bptt_error *error);
/* The C of both programs, which cell->hash names; and a whole file with it that defines the cell_code `symbol`: `prelude`
 * stands first (the texts of vmath.h and stage.h, or their includes). */
int cell_generate(const struct bptt_cell *cell, struct text *out);
int cell_generate_file(const struct bptt_cell *cell, const char *prelude, const char *symbol, struct text *out);
int cell_verify_graph(const struct bptt_cell *cell, const struct graph *graph, const char *stage, bptt_error *error);
int cell_verify_program(const struct bptt_cell *cell, const struct program *program, bptt_error *error);

/* Points at a place in the cell's text: "file:line:column: reason", the line, a caret. */
int cell_fail(const struct bptt_cell *cell, int place, bptt_error *error, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The derivative text of an operation as nodes of `graph`, its names bound to the given nodes. */
int cell_parse_derivative(struct graph *graph, const char *text, int a, int b, int y);

/* ---- sizes ---- */
int cell_dim_number(struct bptt_cell *cell, long value);
int cell_dim_symbol(struct bptt_cell *cell, const char *name, int initial);
int cell_dim_expression(struct bptt_cell *cell, char operator, int a, int b);
const char *cell_dim_text(const struct bptt_cell *cell, int dim, char *buffer, size_t size);
/* All sizes for given I, H and overrides ("P=64,R=8" or NULL) into size[dims]. */
int cell_sizes(const struct bptt_cell *cell, long inputs, long hidden, const char *overrides, long *size,
               bptt_error *error);
/* Columns stored per row of a matrix: those of one block. 1 for a vector. */
long cell_param_columns(const struct bptt_cell *cell, const struct parameter *param, const long *size);

/* ---- life ---- */
struct bptt_cell *cell_keep(const bptt_cell *cell);    /* another reference; bptt_cell_free gives it back */

/* ---- code ---- */
/* Built in at build time (build/gen/builtin.c): texts and kernels. */
struct builtin_cell { const char *name, *text; const struct cell_code *const *code; int codes; };
extern const struct builtin_cell builtin_cells[];
extern const int builtin_cell_count;
extern const char *const builtin_prelude[];            /* vmath.h and stage.h, as pieces that end with a NULL */
/* The kernels of the cell for an instruction set and element size, or NULL: then the interpreter runs it. */
const struct cell_code *cell_code_for(const bptt_cell *cell, const char *isa, int element_size);
int cell_is_compiled(const bptt_cell *cell, const struct cell_code *code);   /* from the cache, not built in */
/* Takes kernels that bptt_cell_compile left in the user's cache, if there are any for this cell. */
void cell_find_compiled(bptt_cell *cell);

/* ---- the interpreter (interpret.c) ---- */
/* One stage of a program, as generated code would run it. scratch: interpret_scratch() bytes, aligned to 16. */
size_t interpret_scratch(const struct program *program, const long *size);
void interpret_stage(const struct bptt_cell *cell, const struct program *program, int stage,
                     const struct stage_call *call, int element_size, void *scratch);
/* A whole graph for one row in double precision, node by node: value[node] points to its width of doubles. Leaves other
 * than constants are set by the caller; `param` holds natural row-major parameters by number. */
void evaluate_graph(const struct bptt_cell *cell, const struct graph *graph, const long *size,
                    const double *const *param, double *const *value);

/* ---- print.c ---- */
void print_equations(const struct bptt_cell *cell, const struct graph *graph, struct text *out);
void print_phases(const struct bptt_cell *cell, const struct program *program, const char *title, struct text *out);
void print_expression(const struct graph *graph, int node, struct text *out);

#endif
