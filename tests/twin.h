/* twin.h - a model and its parameters as doubles, side by side, for tests that compute by hand what the model computes.
 * The parameters get random values of their own, so that what starts at zero or one is seen too. */
#ifndef BPTT_TESTS_TWIN_H
#define BPTT_TESTS_TWIN_H

#include <bptt.h>

enum { TWIN_PARAMETERS = 64 };

struct twin {
    bptt_model *model;
    int count;                                 /* of parameters */
    bptt_array view[TWIN_PARAMETERS];          /* the model's own memory, single precision */
    double *value[TWIN_PARAMETERS];            /* the same numbers */
    uint64_t random;                           /* what twin_draw draws from; set it to begin a sequence */
};

/* The defaults for a built-in cell without a head; the cell is in config.cell, freed by twin_open. */
int twin_config(bptt_model_config *config, const char *cell, int inputs, int hidden, bptt_error *error);

/* Parameters are drawn between -reach and reach. Returns a status; twin_free in any case. */
int twin_open(struct twin *twin, const bptt_model_config *config, double reach, bptt_error *error);
void twin_free(struct twin *twin);

double twin_draw(struct twin *twin);                           /* between -1 and 1 */
void twin_fill(struct twin *twin, double *to, int n);
double *twin_find(const struct twin *twin, const char *name);  /* "layers.0.W"; NULL if there is none */
double *twin_find_in(const struct twin *twin, int layer, const char *name);    /* "W" of a layer below 10 */
void twin_write(struct twin *twin);                            /* the doubles into the model, and rounded as it is */

/* Options for a run in double precision. */
bptt_run_options twin_options(void);

/* An array in the library's form around numbers of ours. */
bptt_array twin_rows(double *data, int steps, int batch, int width);
bptt_array twin_state(const char *name, double *data, int batch, int width);

/* The norm of the difference over the norm of `want`: NaN stays NaN, and a `want` of zeros makes it infinite. */
double twin_distance(const bptt_array *got, const double *want, int n);

#endif
