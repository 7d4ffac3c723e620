/* influence.h - forward mode: M = dS/dw, how all states S depend on the parameters, is carried along with the states, so
 * that no past step needs to be kept. At each step t
 *
 *     dL_t/dw   = (what step t itself contributes) + dL_t/dS_{t-1} M_{t-1}          D2L 9.7.3 with 9.7.4
 *     M_t       = I_t + J_t M_{t-1},     I_t = df/dw, J_t = df/dS_{t-1}
 *
 * The first line's parts come from the executor, which runs that one step backward; the second line's from the cell's graphs
 * (step.h). What is kept of M tells the methods apart:
 *
 *     rtrl      all of it: exact (Williams and Zipser 1989). n states and P parameters: n^2 P multiply-adds and n P numbers a row
 *     snap:N    the entries that a parameter reaches within N steps (Menick et al. 2021, arXiv 2006.07232); snap1 on most cells
 *               a parameter's own unit alone: as many numbers as parameters and states of a unit
 *     rflo      a parameter's own unit, and J without the recurrent matrices (Murray 2019); rflo:L has L for J
 *     uoro      a random rank-one matrix s theta^T whose expectation is M (Tallec and Ollivier 2017, arXiv 1702.05043)
 *
 * Where J and I never leave a unit (the recurrence is elementwise, one layer), rtrl keeps what snap1 keeps and is still exact.
 * With several layers snap, rflo keep each layer's own part; what reaches its states from above within the step is exact.
 * Under snap and rflo an embedding learns from the step's own contribution alone. No dropout. */
#ifndef BPTT_MODEL_INFLUENCE_H
#define BPTT_MODEL_INFLUENCE_H

#include "network.h"

struct influence;

/* Bytes that it takes; 0 for strategies that run backward. SIZE_MAX: more than can be counted. */
size_t influence_bytes(const bptt_model *model, long batch, const struct strategy *strategy);
/* `net` was made with the same strategy. All memory is taken here. */
int influence_new(const struct network *net, const struct strategy *strategy, uint64_t seed, struct influence **influence,
                  bptt_error *error);
void influence_free(struct influence *influence);          /* NULL is fine */
void influence_reset(struct influence *influence);         /* the past is forgotten: when states start anew */

/* network_gradient in forward mode, step by step; window.update is called after each step. */
int influence_window(struct influence *influence, struct network *net, struct window *window, bptt_error *error);
/* Its parts: adds dL/dS M to the network's gradients for q [B][n] (states as in step.h); moves M over one step whose state
 * before is `state` [B][n] and whose input is the window's at `step`. */
void influence_credit(const struct influence *influence, const double *q, struct network *net);
void influence_advance(struct influence *influence, struct network *net, const struct window *window, long step, const double *state);

/* What is kept, as a phrase: "all", "own units", "within N steps", "rank one". */
const char *influence_kept(const struct influence *influence);
/* Its numbers for a checkpoint: `count` bytes of memory that may be saved and restored. */
void *influence_memory(struct influence *influence, size_t *bytes);
/* uoro, for proofs: signs [.. B][n] of each coming step in place of drawn ones; NULL: drawn. */
void influence_set_signs(struct influence *influence, const signed char *signs);

#endif
