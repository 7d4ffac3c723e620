/* oracle.h - every cell of cells/ once more, by hand: one step of one batch row in double precision and plain loops,
 * written from the papers' equations. It shares nothing with the compiler but the parameters' names. */
#ifndef BPTT_TESTS_ORACLE_H
#define BPTT_TESTS_ORACLE_H

enum { ORACLE_STATES = 4, ORACLE_WIDTH = 64 };

/* The parameter of this name, row-major as in a model file; NULL if there is none. */
typedef const double *oracle_lookup(const char *name, void *user);

struct oracle {
    int inputs, hidden;
    oracle_lookup *lookup;
    void *user;
    const double *x;
    double state[ORACLE_STATES][ORACLE_WIDTH];     /* in the order of the cell's state line; replaced by the step */
    double next[ORACLE_STATES][ORACLE_WIDTH];
    double output[ORACLE_WIDTH];
    int missing;                                   /* 1: a parameter was not found */
};

/* 0: the oracle does not know this cell. The functions below are for cells that it knows. */
int oracle_states(const char *cell);
char oracle_state_name(const char *cell, int state);
int oracle_state_width(const char *cell, int state, int hidden);   /* the output is as wide as state 0 */
int oracle_blocks(const char *cell);               /* hidden must be divisible by it */

/* One step. 0, or -1: unknown cell, a missing parameter, hidden above ORACLE_WIDTH. */
int oracle_step(const char *cell, struct oracle *oracle);

#endif
