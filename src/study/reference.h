/* reference.h - a cell over a sequence in double precision, straight from its graphs: one row, one step, one node at a time.
 * Slow and plain; everything that is fast is held against it. */
#ifndef BPTT_STUDY_REFERENCE_H
#define BPTT_STUDY_REFERENCE_H

#include "../cell/cell.h"

/* One sequence of one row. Arrays are [steps][width], states by number. Outputs of the reverse pass are added to. */
struct reference {
    const bptt_cell *cell;
    const long *size;
    long steps;
    double *const *param;                  /* by number, natural */
    const double *x;                       /* [steps][I] */
    const double *const *initial;          /* by state [width] */
    const double *dy;                      /* [steps][width of y] */
    const double *const *dfinal;           /* by state: dL/d(state after the last step) */
    /* tangent: directions; NULL is zero */
    double *const *tparam;

    double *y;                             /* out, forward: [steps][width of y] */
    double **final;                        /* out, forward: by state */
    double **dparam;                       /* out, reverse */
    double *dx;                            /* out, reverse */
    double **dinitial;                     /* out, reverse: by state */
    double tangent;                        /* out, tangent: sum dy . (direction of y) + sum dfinal . (direction of final) */

    struct arena arena;
    double ***value;                       /* forward values by step and node */
};

/* Each returns a status; forward first. reference_free releases what they keep. */
int reference_forward(struct reference *r, bptt_error *error);
int reference_reverse(struct reference *r, bptt_error *error);
int reference_tangent(struct reference *r, bptt_error *error);
void reference_free(struct reference *r);

#endif
