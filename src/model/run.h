/* run.h - a gradient asked for from outside: checked, run once through a network, and handed out. The rows of its arrays are
 * the caller's memory, or come through a feed (file/gradient_files.c); then the arrays are headers without data. */
#ifndef BPTT_MODEL_RUN_H
#define BPTT_MODEL_RUN_H

#include "network.h"

struct request {
    const bptt_model *model;
    const bptt_array *input;
    const bptt_run_options *options;
    struct strategy strategy;
    long steps, batch;
    int element_size;                      /* of results, and of arrays once converted */
    int type;
    int fed;
};

struct gradient_request {
    struct request r;
    const bptt_array *target, *output_gradient;
    const bptt_arrays *initial, *final_gradient;
    const struct feed *feed;               /* or NULL; r.fed with it */
    double *loss;
    bptt_arrays *gradients;                /* out, owned; with a feed `input` has no data */
};

int gradient_check(struct gradient_request *request, bptt_error *error);
/* After gradient_check: each result's name, type and shape, no data. */
int gradient_headers(const struct gradient_request *request, bptt_arrays *set, bptt_error *error);
int gradient_run(struct gradient_request *request, bptt_error *error);

#endif
