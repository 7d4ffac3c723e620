/* job.h - `bptt train` from inside: one training run on text, its data, its place in time, and what it leaves on
 * disk. */
#ifndef BPTT_TRAIN_JOB_H
#define BPTT_TRAIN_JOB_H

#include "../data/batches.h"
#include "../data/vocabulary.h"
#include "../file/lock.h"
#include "../file/metrics.h"
#include "nonfinite.h"
#include "rate.h"
#include "trainer.h"
#include "watch.h"

/* What a checkpoint keeps besides tensors: all that the next step depends on. */
struct progress {
    int64_t step;                          /* updates done */
    int64_t total;                         /* the run's length in steps; 0: not known yet (a limit in minutes) */
    double minutes;                        /* the limit in minutes that is part of total; 0: none, or not yet */
    double seconds;                        /* of all parts of the run together */
    double average, average_weight;        /* smoothed training loss, and its weight so far */
    double best, last_valid;               /* validation losses; NaN: none yet */
    int64_t best_step, valid_step;         /* of the best and of the last validation */
    int since_best;                        /* validations without progress, for early stopping */
    int since_decay;                       /* and for the plateau */
    double scale;                          /* plateau and backtracking */
    int backtracks;
};

struct job {
    bptt_train_config config;
    bptt_on_event *on_event;
    void *user;
    bptt_error *error;

    struct vocabulary vocabulary;
    int32_t *token;                        /* the text, training part first */
    int64_t tokens, train_tokens, valid_tokens;
    uint64_t text_hash;
    struct batches batches;

    bptt_model *model;
    bptt_trainer *trainer;
    struct watch *watch;                   /* NULL: none */
    int32_t *x, *y;                        /* a window [length, batch] */
    double *kept;                          /* the states before it, to find what was not finite; NULL with a budget */
    struct progress progress;
    struct rate rate;

    char *out, *checkpoint, *metrics_path;
    struct run_lock lock;
    struct metrics metrics;
    int is_locked, has_metrics;

    double started, last_checkpoint;       /* clock */
    double seconds_before;                 /* of earlier parts of the run */
    int stop;                              /* the caller asked */
    const char *reason;
};

/* job.c */
int job_emit(struct job *job, bptt_event event); /* fills in step and times; notes a wish to stop */
void job_note(struct job *job, const char *format, ...) __attribute__((format(printf, 2, 3)));
double job_seconds(const struct job *job);                             /* training time of all parts of the run */

/* record.c: lines of the metrics file. What is measured on a clock stands under "seconds" and "started" alone. */
int record_run(struct job *job);
int record_step(struct job *job, double loss, double norm, double rate);
int record_valid(struct job *job, double loss);
int record_sample(struct job *job);        /* a short one of the model as it is now */
int record_watch(struct job *job);         /* the last look */
int record_warning(struct job *job, const struct warning *warning); /* also an event */
int record_nonfinite(struct job *job, int64_t window, const struct nonfinite *found);
int record_end(struct job *job, int status); /* how it ended; returns the status */

/* prepare.c: text, vocabulary, model or checkpoint, trainer, files. job_close after it, failed or not. */
int job_open(struct job *job);
void job_close(struct job *job);

/* checkpoint.c */
int checkpoint_save(struct job *job);
int checkpoint_load(struct job *job);      /* into the model and trainer at hand; its options must be the run's */
int checkpoint_restore(struct job *job);   /* the same, without comparing: going back within a run */

#endif
