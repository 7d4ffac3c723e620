/* step.h - one step of one row through all layers, in double precision and straight from the cell's graphs: forward, the
 * vector-Jacobian product of its next states, and the Jacobian-vector product. What forward mode is made of (influence.h).
 * Slow and plain beside the executor, but nothing in it knows a cell.
 *
 * All states of the stack stand in one vector of `states` numbers: layer by layer, state by state. */
#ifndef BPTT_MODEL_STEP_H
#define BPTT_MODEL_STEP_H

#include "model.h"

struct step_layer {
    double **forward, **backward, **tangent;   /* values by node; leaves point elsewhere */
    const double **param;                  /* by parameter, then directions (zero): evaluate_graph's list */
    long first;                            /* of its states in the vector */
};

struct step {
    const bptt_model *model;
    struct step_layer *layer;
    long states;
    double *zero;
    struct arena arena;
};

int step_new(struct step *step, const bptt_model *model, bptt_error *error);
void step_free(struct step *step);
long step_state_offset(const struct step *step, int layer, int state);
long model_states(const bptt_model *model);

/* `parameters`: all of the model's in double precision; x: the lowest layer's input; state: [states]. */
void step_forward(struct step *step, const double *parameters, const double *x, const double *state);
/* After step_forward: dnext [states] is dL/d(states after the step); the sinks of each layer's backward graph then hold its share
 * of the derivative. dstate [states] out, or NULL. Layers above `top` are left out: they do not depend on it. */
void step_reverse(struct step *step, const double *state, const double *dnext, int top, double *dstate);
/* After step_forward: the direction of the next states for a direction of the states. */
void step_tangent(struct step *step, const double *state, const double *tstate, double *tnext);

/* After step_forward: points what a graph derived from the cell's shares with it (input, states, parameters, recorded values)
 * at layer l's; directions and adjoints are the caller's. */
void step_point(const struct step *step, int l, const struct graph *graph, const double *state, double **value);

const struct sink *graph_find_sink(const struct graph *graph, enum sink_kind kind, int index);   /* or NULL */

#endif
