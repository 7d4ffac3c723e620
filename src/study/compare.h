/* compare.h - strategies side by side: the same model, the same windows of a text. compare.c decides what is compared;
 * estimate.c measures gradients and times; contest.c trains; figure.c shows where gradients are cut. */
#ifndef BPTT_STUDY_COMPARE_H
#define BPTT_STUDY_COMPARE_H

#include "../model/network.h"

struct compare {
    const bptt_model *model;
    bptt_compare_options options;          /* all chosen */
    bptt_compare_report *report;
    struct strategy *strategy;             /* [report->count] */
    char **text;                           /* [report->count] as given; in `list` */
    int *type;                             /* [report->count] 0, or BPTT_BF16: the precision of a row of its own */
    char *list;
    int32_t *token;
    int64_t tokens;
    enum precision precision;              /* of the gradients */
    int *layer;                            /* by tensor: which of the report's layers */
    /* estimate.c: by window */
    int32_t *x, *y;                        /* [windows][T][B] */
    double *state;                         /* [windows][states] at their beginning, natural rows */
    size_t states;
    char *exact;                           /* [windows][parameters] gradient, in the precision */
    double done, all;                      /* progress, in strategies and windows of training */
    bptt_error *error;
};

/* A status: whether the caller wants to go on. */
int compare_progress(struct compare *compare, const char *what);

int estimate_all(struct compare *compare);
int contest_run(struct compare *compare);

/* Pieces and links of a schedule that is at its beginning. */
int figure_walk(struct schedule *schedule, bptt_compare_strategy *out, bptt_error *error);

double clock_now(void);                    /* seconds */

#endif
