/* jacobian.h - the step Jacobian J = ds_t/ds_{t-1} of each layer, all its states together and its input held: as products with
 * vectors from either side, and as a dense matrix. In double precision, from the cell's own tangent and reverse graphs, of
 * which only what depends on the states is kept. */
#ifndef BPTT_MODEL_JACOBIAN_H
#define BPTT_MODEL_JACOBIAN_H

#include "step.h"

struct jacobian {
    struct step step;
    struct graph tangent, reverse;
    double ***tangent_value, ***reverse_value;     /* by layer and node */
    double *unit;                          /* zeros, as many as a layer has states */
    const double *state;                   /* where J is taken: [states of the stack] */
    struct arena arena;
};

int jacobian_new(struct jacobian *jacobian, const bptt_model *model, bptt_error *error);
void jacobian_free(struct jacobian *jacobian);         /* also of a zeroed struct */
long jacobian_states(const struct jacobian *jacobian, int layer);      /* n */

/* One step forward from `state`, which is kept by the caller as long as J at it is asked for. */
void jacobian_at(struct jacobian *jacobian, const double *parameters, const double *x, const double *state);
/* The states after that step: [states of the stack]. */
void jacobian_next(const struct jacobian *jacobian, double *next);
/* out [n] = J v, and J^T u. */
void jacobian_tangent(struct jacobian *jacobian, int layer, const double *v, double *out);
void jacobian_reverse(struct jacobian *jacobian, int layer, const double *u, double *out);
/* a [n][n] = J */
void jacobian_dense(struct jacobian *jacobian, int layer, double *a);

#endif
