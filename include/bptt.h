/* bptt.h - recurrent networks by backpropagation through time, in C.
 *
 * You write a cell as equations; bptt derives its exact gradient, fuses its kernels and trains it. This header is the
 * whole interface. A complete program (examples/train.c is this text, and `make test` compiles and runs it):
 *
 *     #include <bptt.h>
 *     #include <stdio.h>
 *
 *     int main(void)
 *     {
 *         bptt_error error = {0};
 *         bptt_train_config config = bptt_train_defaults();
 *         const char *files[] = {"README.md"};
 *         config.files = files;
 *         config.file_count = 1;
 *         config.cell = "gru";
 *         config.hidden = 64;
 *         config.steps = 200;
 *         config.out = "readme.safetensors";
 *         bptt_train_result result;
 *         if (bptt_train(&config, NULL, NULL, &result, &error) != BPTT_OK) {
 *             fprintf(stderr, "%s\n", error.text);
 *             return 1;
 *         }
 *         printf("%.3f nats per character after %lld steps\n", result.train_loss, (long long)result.step);
 *         return 0;
 *     }
 *
 * Conventions. Letters: T steps, B batch rows, I inputs, H hidden, O outputs, V vocabulary. Arrays are row-major; inputs
 * are [T, B, I] float32 or [T, B] int32 tokens, targets [T, B, O] float32 (mean squared error) or [T, B] int32
 * (cross-entropy), outputs [T, B, O], states [B, width]. Losses are means over steps and batch (and outputs for mse), in
 * nats. Every function that can fail returns a bptt_status and fills the caller's bptt_error (which may be NULL); nothing
 * prints, nothing exits, no state is shared between objects, so different objects may be used in different threads at
 * once. What a function hands out is *owned* by the caller (and freed by the function named) unless it says *borrowed*.
 * Structures that callers fill come from their bptt_..._defaults() function, which sets `size`, so that they can grow.
 */
#ifndef BPTT_H
#define BPTT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Version, errors ------------------------------------------------------------------------------------------------ */

#define BPTT_VERSION "0.1.0"
const char *bptt_version(void);            /* of the library that runs; borrowed */

typedef enum bptt_status {
    BPTT_OK = 0,
    BPTT_ERROR_ARGUMENT = 10,              /* a value that makes no sense: sizes, options, shapes given by the caller */
    BPTT_ERROR_MEMORY = 11,                /* an allocation failed */
    BPTT_ERROR_FILE = 20,                  /* cannot open, read, write, sync or rename; folder missing; disk full */
    BPTT_ERROR_FORMAT = 21,                /* the file is there and is not what it should be */
    BPTT_ERROR_BUSY = 22,                  /* another run is writing the same file */
    BPTT_ERROR_CELL = 30,                  /* the cell's text is wrong: line and column are set */
    BPTT_ERROR_NOT_FINITE = 40,            /* a loss or gradient became infinite or not a number */
    BPTT_INTERRUPTED = 50                  /* the caller asked to stop; everything was saved */
} bptt_status;

/* The first error wins: a function does not overwrite an error that is already set. */
typedef struct bptt_error {
    int code;                              /* a bptt_status */
    int line, column;                      /* from 1, where there is a place in a text; else 0 */
    char file[256];                        /* the file, where there is one */
    char text[1400];                       /* complete message; one line, for cells followed by the line and a caret */
} bptt_error;

void bptt_free(void *memory);              /* frees plain memory that the library handed out; NULL is fine */

/* ---- Arrays and their files ------------------------------------------------------------------------------------------ */

typedef enum bptt_type {
    BPTT_F32 = 1, BPTT_F64 = 2, BPTT_I32 = 3,
    BPTT_BF16 = 4                          /* a precision to compute in (see there), never the type of an array; takes up to
                                              200 KiB of each thread's stack */
} bptt_type;

typedef struct bptt_array {
    char name[112];                        /* "" where it has none (.npy) */
    int type;                              /* a bptt_type */
    int rank;                              /* 0..4 */
    int64_t shape[4];
    void *data;                            /* row-major, owned by the array */
} bptt_array;

typedef struct bptt_arrays {               /* a set of named arrays: a state, a gradient, a safetensors file */
    size_t count;
    bptt_array *items;                     /* owned */
} bptt_arrays;

int64_t bptt_array_length(const bptt_array *array);                          /* number of elements */
const bptt_array *bptt_arrays_find(const bptt_arrays *set, const char *name); /* borrowed; NULL if absent */
void bptt_array_clear(bptt_array *array);                                    /* frees the data, not the struct */
void bptt_arrays_clear(bptt_arrays *set);
int bptt_npy_read(const char *path, bptt_array *array, bptt_error *error);   /* f4, f8, i4, i8 (narrowed), u1, C order */
int bptt_npy_write(const char *path, const bptt_array *array, bptt_error *error);
int bptt_safetensors_read(const char *path, bptt_arrays *set, bptt_error *error);
int bptt_safetensors_write(const char *path, const bptt_arrays *set, bptt_error *error);

/* ---- Cells ------------------------------------------------------------------------------------------------------------ */

typedef struct bptt_cell bptt_cell;        /* a compiled cell; immutable, may be shared between threads */

size_t bptt_cell_count(void);              /* cells built in */
const char *bptt_cell_name(size_t index);  /* their names, sorted; borrowed */

/* A built-in cell by name, or a cell file by its path (anything with a '/' or ending in ".cell"). */
int bptt_cell_open(const char *name_or_file, bptt_cell **cell, bptt_error *error);
int bptt_cell_parse(const char *text, const char *file_for_messages, bptt_cell **cell, bptt_error *error);
void bptt_cell_free(bptt_cell *cell);

/* Compiles the cell's kernels with the machine's C compiler ($CC or cc) into the user's cache, unless they are built in or
 * cached. Without it a cell of one's own runs through the interpreter. Only ever called on the user's own word. */
int bptt_cell_compile(bptt_cell *cell, bptt_error *error);

typedef struct bptt_cell_info {
    const char *name, *summary, *source;   /* borrowed from the cell; summary is the file's first comment */
    const char *kernel;                    /* how it runs here: "built in, avx2", "compiled, avx2" or "interpreter" */
    int state_count;
    int elementwise_recurrence;            /* 1: no matrix stands on the state */
    int64_t parameters;                    /* for the sizes asked */
    int64_t flops;                         /* forward, per step and row */
    int64_t recorded;                      /* values recorded for the backward pass, per step and row */
} bptt_cell_info;
int bptt_cell_describe(const bptt_cell *cell, int64_t inputs, int64_t hidden, bptt_cell_info *info, bptt_error *error);

/* A stage of the compiler as text, owned (bptt_free): "equations", "graph", "phases", "backward", "tangent", "c". */
int bptt_cell_print(const bptt_cell *cell, const char *stage, char **text, bptt_error *error);

/* The proof of a cell: each line one comparison. */
typedef struct bptt_check_line {
    const char *what;                      /* "finite differences", "kernels avx2", ...; borrowed */
    char subject[112];                     /* parameter, input or state */
    double error, tolerance;               /* relative; passes when error <= tolerance (so NaN fails) */
    int passed;
} bptt_check_line;
typedef struct bptt_check_report {
    int passed, failed;
    double step;                           /* of the finite differences */
    size_t count;
    bptt_check_line *lines;                /* owned; bptt_check_clear */
} bptt_check_report;
int bptt_cell_check(const bptt_cell *cell, uint64_t seed, bptt_check_report *report, bptt_error *error);
void bptt_check_clear(bptt_check_report *report);

/* ---- Models ------------------------------------------------------------------------------------------------------------ */

typedef struct bptt_model bptt_model;

typedef enum bptt_loss { BPTT_CROSS_ENTROPY = 1, BPTT_MSE = 2 } bptt_loss;

typedef struct bptt_model_config {
    size_t size;
    const bptt_cell *cell;                 /* borrowed during the call; the model keeps its own reference */
    int64_t inputs;                        /* I: features per step; with a vocabulary the embedding's width (0: hidden) */
    int64_t vocabulary;                    /* V: 0 for float inputs, else tokens 0..V-1 through an embedding */
    int64_t hidden, layers;
    int64_t outputs;                       /* O; 0: V with a vocabulary, else an error unless head is 0 */
    int loss;                              /* a bptt_loss */
    int head;                              /* 1: o = W h + b on the top layer's output; 0: that output is the model's */
    int tied;                              /* 1: the head's weight is the embedding's */
    int orthogonal;                        /* 1: recurrent matrices start orthogonal; 0: uniform +-1/sqrt(H) (PyTorch) */
    double forget_bias;                    /* added to the start of a bias named b_f (0: as PyTorch) */
    const char *dims;                      /* further sizes of the cell, "P=64,R=8"; NULL: the cell's defaults */
    uint64_t seed;
} bptt_model_config;
bptt_model_config bptt_model_defaults(void);

int bptt_model_new(const bptt_model_config *config, bptt_model **model, bptt_error *error);
int bptt_model_load(const char *path, bptt_model **model, bptt_error *error);
int bptt_model_save(const bptt_model *model, const char *path, bptt_error *error);  /* aside, synced, renamed */
void bptt_model_free(bptt_model *model);

typedef struct bptt_model_info {
    const char *cell_name, *cell_source, *kernel;   /* borrowed from the model */
    int64_t inputs, vocabulary, hidden, layers, outputs, parameters;
    int loss, head, tied;
    const char *symbols;                   /* how text becomes tokens: "chars", "bytes", "words" or "" ; borrowed */
    int64_t step;                          /* updates it was trained for */
    double valid_loss;                     /* NaN if never measured */
} bptt_model_info;
int bptt_model_describe(const bptt_model *model, bptt_model_info *info, bptt_error *error);

/* What a layer runs on here, and why on nothing faster: whole sentences for people. */
typedef struct bptt_kernel {
    char cell[48];                         /* its equations: "built in, avx2", "compiled, avx2" or "interpreter" */
    char products[48];                     /* its matrix products: "micro-kernels, avx2" */
    char reason[480];
    int faster;                            /* 1: something faster could be had, and the reason says how */
} bptt_kernel;
/* layer: from 0; precision: BPTT_F32, BPTT_F64 or BPTT_BF16. */
int bptt_model_kernel(const bptt_model *model, int64_t layer, int precision, bptt_kernel *kernel, bptt_error *error);

/* The parameters, as in the file: name, shape, and the model's own memory (borrowed; writing to it changes the model). */
size_t bptt_model_parameter_count(const bptt_model *model);
int bptt_model_parameter(const bptt_model *model, size_t index, bptt_array *view);

/* ---- Strategies: the gradient through time, computed, truncated or estimated (D2L 9.7.1) --------------------------------
 *
 *     "full"                 the whole sum (9.7.7)
 *     "segments:K"           the state is carried over, the gradient cut every K steps
 *     "truncated:k1,k2"      every k1 steps, their losses reach back to k2 >= k1 steps before (Williams and Peng 1990)
 *     "random:P"             each link between two steps is kept with probability P and weighted 1/P, else cut: no bias (9.7.8;
 *                            Tallec and Ollivier 2017). Also P..Q (from the first link to the last), P,Q,R (link by link),
 *                            geometric:MEAN, uniform:A,B and power:MEAN,ALPHA (lengths of the pieces)
 *     "adaptive:D"           training: the smallest truncation whose estimated relative bias is below D (Aicher et al. 2019)
 *     "rtrl"                 forward mode, exact (Williams and Zipser 1989); "snap1" or "snap:N" (Menick et al. 2021), "rflo"
 *                            (Murray 2019; "rflo:L": traces that keep L a step, whatever the cell): approximations; "uoro"
 *                            (Tallec and Ollivier 2017): no bias, noisy
 *
 * In training, an update follows every K steps (segments), k1 steps (truncated), every step (forward mode) or every window
 * (the others), and a loss is the mean over the steps of its update. Without training the parts add up, and the loss is the
 * mean over the window. Forward mode gives the gradients of the parameters, not those of inputs and initial states. */

/* ---- Running, and the gradient ---------------------------------------------------------------------------------------- */

typedef struct bptt_run_options {
    size_t size;
    int threads;                           /* 0: as many as the machine has; the result has the same bits for any number */
    int precision;                         /* BPTT_F32; BPTT_F64: the same run in double precision (results are F64); BPTT_BF16:
                                              weights and what is stored in bfloat16, sums in single precision (results are F32) */
    const char *gradient;                  /* strategy, see "Strategies"; NULL: full */
    int64_t memory;                        /* bytes that the whole process may take, 0: no limit. The gradient has the same
                                              bits under every budget; a smaller one costs more forward steps */
    const char *spill;                     /* directory for kept states that memory has no room for; NULL: none */
    uint64_t seed;                         /* of random links and signs */
    int (*stop)(void *user);               /* asked now and then by bptt_gradient_stream: anything but 0 ends it with
                                              BPTT_INTERRUPTED, and no file is left behind; NULL: never */
    void *user;
} bptt_run_options;
bptt_run_options bptt_run_defaults(void);

/* Forward. `initial` holds layers.N.STATE [B, width] for any states that do not start at the cell's own (usually zero);
 * NULL: none. `output` [T, B, O] (the head's product, before softmax) and `final` are owned; either may be NULL. */
int bptt_run(const bptt_model *model, const bptt_array *input, const bptt_arrays *initial, bptt_array *output,
             bptt_arrays *final, const bptt_run_options *options, bptt_error *error);

/* The gradient of L = mean loss(output, target), or with output_gradient [T, B, O] in place of a target the vector-Jacobian
 * product sum_t dL/dy_t dy_t/d. ; final_gradient (layers.N.STATE [B, width], or NULL) adds dL/d(final state).
 * `gradients` (owned): under each parameter's name its gradient; "input" [T, B, I] unless the input is tokens;
 * "initial.layers.N.STATE" [B, width]. (D2L 9.7.3, 9.7.11 .. 9.7.16) */
int bptt_gradient(const bptt_model *model, const bptt_array *input, const bptt_array *target,
                  const bptt_array *output_gradient, const bptt_arrays *initial, const bptt_arrays *final_gradient,
                  double *loss, bptt_arrays *gradients, const bptt_run_options *options, bptt_error *error);

/* The same from files to a file, for sequences that memory does not hold: .npy arrays are read and `input` (dL/dx) is written
 * a few steps at a time. States and final gradients are safetensors files. NULL: not there; `out` NULL: the loss alone. */
typedef struct bptt_gradient_files {
    size_t size;
    const char *input, *target, *output_gradient, *initial_state, *final_gradient, *out;
} bptt_gradient_files;
bptt_gradient_files bptt_gradient_files_defaults(void);
/* `gradients` (may be NULL): as above, without "input". */
int bptt_gradient_stream(const bptt_model *model, const bptt_gradient_files *files, double *loss, bptt_arrays *gradients,
                         const bptt_run_options *options, bptt_error *error);

/* ---- Streaming: one step at a time, state kept between calls ---------------------------------------------------------- */

typedef struct bptt_stream bptt_stream;
int bptt_stream_new(const bptt_model *model, int64_t batch, bptt_stream **stream, bptt_error *error);
/* The same in BPTT_F32, as above, BPTT_F64 or BPTT_BF16: what x and y are made of stays float. */
int bptt_stream_new_in(const bptt_model *model, int64_t batch, int precision, bptt_stream **stream, bptt_error *error);
void bptt_stream_free(bptt_stream *stream);
int bptt_stream_reset(bptt_stream *stream);                                   /* back to the initial state */
/* x: [B, I] float, or [B] int32 tokens; y: [B, O] float (before softmax). Allocates nothing. */
int bptt_stream_step(bptt_stream *stream, const void *x, float *y, bptt_error *error);

/* ---- Training: any data, one window at a time -------------------------------------------------------------------------- */

typedef enum bptt_optimizer { BPTT_SGD = 1, BPTT_RMSPROP = 2, BPTT_ADAM = 3, BPTT_ADAMW = 4 } bptt_optimizer;

typedef struct bptt_trainer_config {
    size_t size;
    int64_t batch, length;                 /* B, and T of one window */
    int threads;                           /* 0: as many as the machine has */
    int optimizer;                         /* a bptt_optimizer */
    double rate, momentum, beta1, beta2, epsilon, weight_decay;
    double clip_norm, clip_value;          /* 0: none. The norm is that of all gradients together */
    double dropout;                        /* on each layer's output: between layers and before the head */
    double dropout_state;                  /* variational, on the recurrent state (Gal and Ghahramani 2016) */
    int carry;                             /* 1: the state goes on from window to window */
    const char *gradient;                  /* strategy, see "Strategies"; NULL: full */
    int64_t memory;                        /* as in bptt_run_options */
    const char *spill;
    int64_t loss_from;                     /* losses of the window's earlier steps do not count: length - 1 for the last alone */
    const char *freeze;                    /* names of parameters that are not trained, with commas between; NULL: none */
    int precision;                         /* 0 or BPTT_F32, or BPTT_BF16: as in bptt_run_options, with the weights that updates
                                              change, their gradients and moments in single precision; not in forward mode */
    uint64_t seed;                         /* of dropout masks, random links and signs */
} bptt_trainer_config;
bptt_trainer_config bptt_trainer_defaults(void);

typedef struct bptt_trainer bptt_trainer;
int bptt_trainer_new(bptt_model *model, const bptt_trainer_config *config, bptt_trainer **trainer, bptt_error *error);
void bptt_trainer_free(bptt_trainer *trainer);
/* One window: forward, backward, clip, update; several updates with strategies that have them. x and y as in "Conventions"
 * (plain pointers). The loss is the mean over the window, each step's before its update; norm the largest before clipping.
 * Fails with BPTT_ERROR_NOT_FINITE, what is not finite not applied and the carried state back at its start. Allocates
 * nothing. */
int bptt_trainer_step(bptt_trainer *trainer, const void *x, const void *y, double *loss, double *norm, bptt_error *error);
void bptt_trainer_set_rate(bptt_trainer *trainer, double rate);
void bptt_trainer_reset_state(bptt_trainer *trainer);
/* Forward only with the trainer's buffers: the loss of one window; the state is carried in `carry` runs, separately from
 * training's (reset: start anew). */
int bptt_trainer_loss(bptt_trainer *trainer, const void *x, const void *y, int reset, double *loss, bptt_error *error);

/* Where the memory of such a run goes, in bytes, and what its schedule costs, before it is asked for. */
typedef struct bptt_plan {
    int64_t parameters, gradients, optimizer, recorded, states, scratch, packed, data, influence;
    int64_t program;                       /* with a budget: what the process takes already */
    int64_t total;                         /* of all these */
    int64_t disk;                          /* kept states that lie there */
    int64_t steps, rows, kept, spilled;    /* T; steps on tape; states kept in memory and on disk */
    int64_t advanced, recorded_steps, reversed, updates;   /* of one window */
    int threads;                           /* workers of the run */
    int scan_workers, scan_units;          /* those that layer 0 keeps busy within a step; 1: each has some hidden units, else rows */
    double slow_down;                      /* against all recorded; a backward step counted as two forward ones */
} bptt_plan;
/* The schedule of a window as text (owned): "list", "picture" (`columns` wide) or "svg". */
int bptt_trainer_schedule(const bptt_model *model, const bptt_trainer_config *config, const char *form, int columns, char **text,
                          bptt_error *error);
int bptt_trainer_plan(const bptt_model *model, const bptt_trainer_config *config, bptt_plan *plan, bptt_error *error);

/* ---- Training on text: what `bptt train` does -------------------------------------------------------------------------- */

typedef enum bptt_symbols { BPTT_CHARS = 1, BPTT_BYTES = 2, BPTT_WORDS = 3 } bptt_symbols;
typedef enum bptt_schedule { BPTT_CONSTANT = 1, BPTT_COSINE = 2, BPTT_STEP = 3, BPTT_PLATEAU = 4 } bptt_schedule;

typedef struct bptt_train_config {
    size_t size;
    /* data */
    const char *const *files;  size_t file_count;
    int symbols;                           /* a bptt_symbols */
    int64_t max_words;                     /* with BPTT_WORDS: the most frequent ones; the rest is <unk> */
    int random_windows;                    /* 0: contiguous streams, one per batch row, state carried; 1: random windows */
    double valid;                          /* share of the end held out, 0..0.5 */
    const char *valid_file;                /* or a file of its own; NULL: none */
    /* model */
    const char *cell;                      /* name or file */
    int compile;                           /* 1: a cell file is compiled, if that works (bptt_cell_compile); 0: interpreted */
    int64_t hidden, layers, embedding;     /* embedding 0: as hidden */
    const char *dims;
    int tied, orthogonal;
    double forget_bias;
    /* optimisation */
    bptt_trainer_config trainer;           /* its seed and carry are set from here */
    int schedule;                          /* a bptt_schedule */
    int64_t warmup;                        /* steps of linear warm-up */
    double final_rate;                     /* cosine: the share of the rate at the end */
    int64_t decay_every;                   /* step: multiply by decay every so many steps */
    double decay;                          /* step and plateau */
    int patience;                          /* plateau: validations without progress before a decay */
    int early_stop;                        /* validations without progress before the end; 0: never */
    int backtrack;                         /* 1: on a non-finite loss go back to the last checkpoint at half the rate */
    /* limits: the first one reached ends the run; all 0: 4000 steps (so the default run does not depend on the clock) */
    int64_t steps;  double epochs;  double minutes;
    /* files and events */
    const char *out;                       /* the model: the best by validation, else the last. <out>.ckpt: to go on from */
    int64_t checkpoint_every;              /* steps; 0: every two minutes */
    int resume;
    int64_t valid_every;                   /* steps; 0: chosen so that it costs a few percent */
    int64_t sample_every;                  /* steps; 0: never */
    int64_t sample_length;
    int64_t watch;                         /* steps between looks at the gradient, and warnings; 0: never */
    uint64_t seed;
} bptt_train_config;
bptt_train_config bptt_train_defaults(void);

typedef enum bptt_event_kind {
    BPTT_EVENT_START = 1, BPTT_EVENT_STEP, BPTT_EVENT_VALID, BPTT_EVENT_SAMPLE, BPTT_EVENT_SAVED, BPTT_EVENT_NOTE, BPTT_EVENT_END,
    BPTT_EVENT_WARNING
} bptt_event_kind;

typedef struct bptt_event {
    int kind;
    int64_t step, steps;                   /* done; in all, as far as known (else 0) */
    double epoch, fraction;                /* fraction of the run done, 0..1 */
    double loss;                           /* STEP: smoothed training loss, nats per symbol; VALID: validation loss */
    double step_loss, norm, rate;          /* STEP: this window's */
    double tokens_per_second, seconds, seconds_left;
    int best;                              /* VALID: 1 if the best so far */
    const bptt_model *model;               /* START: the model that is trained, borrowed during the call; else NULL */
    const char *text;                      /* START: a description; SAMPLE: the sample; SAVED: the path; NOTE: a line;
                                              WARNING: what was seen, and what to try */
} bptt_event;
/* Return 0 to go on; anything else to save and stop (BPTT_INTERRUPTED). */
typedef int bptt_on_event(const bptt_event *event, void *user);

typedef struct bptt_train_result {
    int64_t step;  double epochs, seconds, train_loss, valid_loss, best_valid_loss;  /* NaN where there was none */
    int64_t best_step, tokens, parameters, planned_bytes;
    const char *reason;                    /* why it ended: "steps", "epochs", "minutes", "early stop", ...; borrowed */
} bptt_train_result;
int bptt_train(const bptt_train_config *config, bptt_on_event *on_event, void *user, bptt_train_result *result,
               bptt_error *error);

typedef struct bptt_eval_result { double loss, bits, perplexity; int64_t tokens; } bptt_eval_result;
/* Loss on text files (joined), streams of `batch` rows (1: one stream, exact), state carried throughout. */
int bptt_eval(const bptt_model *model, const char *const *files, size_t file_count, int64_t batch, int threads,
              bptt_eval_result *result, bptt_error *error);

/* ---- Horizon: how far back a model's gradient reaches (Aicher, Foti and Fox 2019) -------------------------------------- */

typedef struct bptt_horizon_options {
    size_t size;
    int64_t lags;                          /* 0: 256, or as many as the text allows */
    int64_t batch, windows;                /* rows side by side, and how many times */
    int threads;                           /* 0: as many as the machine has */
    uint64_t seed;                         /* of the places in the text */
} bptt_horizon_options;
bptt_horizon_options bptt_horizon_defaults(void);

typedef struct bptt_horizon_report {
    int64_t lags, layers, windows, batch;
    double *norm;                          /* [lags] norm of d(loss of a step)/d(states k steps before), mean over rows, windows */
    double *layer;                         /* [layers][lags] of each layer's alone */
    double *bias;                          /* [lags] estimated relative bias when lags 0..k are kept; infinite: no bound */
    double decay;                          /* fitted factor per step; not below 1, or NaN: no decay was found */
    struct { double delta; int64_t truncation; double bias; } choice[3];   /* the smallest with a bias below 0.5, 0.1, 0.01;
                                              truncation 0: none within the lags */
} bptt_horizon_report;
/* On text files (joined): windows of `lags` steps spread over the text, each after a run over as many steps before it. */
int bptt_horizon(const bptt_model *model, const char *const *files, size_t file_count, const bptt_horizon_options *options,
                 bptt_horizon_report *report, bptt_error *error);
void bptt_horizon_clear(bptt_horizon_report *report);

/* ---- Inspection: what flows back through time in a model, layer by layer and state by state ---------------------------------
 * Gradients by lag: Hochreiter 1991; Bengio, Simard and Frasconi 1994; Pascanu, Mikolov and Bengio 2013. Lyapunov exponents by
 * repeated QR: Benettin et al. 1980; of recurrent networks: Vogt et al. 2022. Saturation of gates: Karpathy, Johnson and
 * Fei-Fei 2015. */

typedef struct bptt_inspect_options {
    size_t size;
    int64_t lags;                          /* 0: 256, or as many as the data allow */
    int64_t batch, windows;                /* losses L_t looked back from: rows side by side, and how many times */
    int64_t steps;                         /* walked with exponents and activities; 0: as many as a fixed number of operations allows */
    int64_t jacobians;                     /* of each layer, taken apart; 0: likewise */
    int64_t exponents;                     /* of each layer, from the largest on */
    int64_t memory;                        /* bytes for the whole process; 0: no limit */
    int threads;                           /* 0: as many as the machine has */
    uint64_t seed;                         /* of the places in the data and of directions to start from */
    int (*on_progress)(const char *what, double fraction, void *user);     /* or NULL; not 0: stop (BPTT_INTERRUPTED) */
    void *user;
} bptt_inspect_options;
bptt_inspect_options bptt_inspect_defaults(void);

/* Over what was sampled; NaN where nothing was. */
typedef struct bptt_spread { double mean, least, low, median, high, most; } bptt_spread;   /* low and high: 10 % and 90 % */

/* |dL_t/ds_{t-k}| against the lag k: s the states after a step, of the whole stack, of a layer, or one of them. */
typedef struct bptt_inspect_lag {
    char name[112];                        /* "" all; "layers.0"; "layers.0.h" */
    int64_t layer, state;                  /* -1: all */
    bptt_spread *norm;                     /* [lags] over t */
    double decay;                          /* factor per step of lag, fitted to the mean; NaN: none can be told */
    double half_life;                      /* steps; infinite where it does not decay */
    int64_t percent, rounding;             /* the lag from which on the mean stays below 1 %, and below 2^-24, of its largest; -1: none */
} bptt_inspect_lag;

typedef enum bptt_verdict { BPTT_VANISHING = 1, BPTT_STABLE, BPTT_EXPLODING, BPTT_CHAOTIC } bptt_verdict;

/* The step Jacobian J_t = ds_t/ds_{t-1}, all states of a layer together, its input given. */
typedef struct bptt_inspect_layer {
    int64_t states;                        /* n: J is [n, n] */
    int64_t jacobians;                     /* taken apart; 0: too large */
    bptt_spread largest, smallest, radius; /* singular values; spectral radius */
    int64_t products;                      /* lags at which J_t .. J_{t-k+1} was taken apart */
    int64_t *product_lag;                  /* [products] k */
    bptt_spread *product;                  /* [products] its largest singular value */
    double *alignment;                     /* [products] mean |cos| of a random gradient carried back and the direction that grows most */
    int64_t exponents;
    double *exponent, *error;              /* [exponents] Lyapunov, per step (nats); standard error over stretches */
    int64_t steps;                         /* that they are over */
    int verdict;                           /* a bptt_verdict */
    double growth;                         /* of the norm of the states, per step (nats); NaN: they were zero throughout */
    int64_t overflow;                      /* the step at which a state was no longer finite; -1: none */
} bptt_inspect_layer;

/* A sigmoid, tanh or relu of the cell. Saturated: a sigmoid outside 0.1..0.9, a tanh outside -0.8..0.8 (the same points), a relu
 * at 0. A unit is dead where it was saturated at every step. */
typedef struct bptt_inspect_value {
    char name[112];                        /* as the cell names it, or its expression */
    int64_t layer, units;
    char function[16];                     /* "sigmoid", "tanh", "relu" */
    double mean, low, high;                /* low and high: shares of values saturated at either side */
    double dead;                           /* share of units */
    double memory, longest;                /* of a sigmoid that a state is multiplied by: mean and largest 1 / (1 - f) of its units'
                                              mean f, in steps; NaN: none of these */
} bptt_inspect_value;

typedef struct bptt_inspect_parameter {
    char name[112];
    double weight, gradient;               /* norms */
    double update;                         /* of the run's last watched update: its norm over the weight's; NaN: unknown */
} bptt_inspect_parameter;

typedef struct bptt_inspect_report {
    int64_t lags, layers, samples;         /* samples: t's looked back from */
    int64_t walked, stretches;             /* steps of the walk, in so many stretches of the data */
    int precision;                         /* a bptt_type: of the gradients; all else is in double precision */
    size_t curves;  bptt_inspect_lag *curve;           /* the whole, each layer, each state */
    bptt_inspect_layer *layer;             /* [layers] */
    size_t values;  bptt_inspect_value *value;
    size_t parameters;  bptt_inspect_parameter *parameter;     /* of the loss over a window, mean over windows */
    double clipped;                        /* share of the run's updates that were clipped; NaN: unknown */
} bptt_inspect_report;
/* On text files (joined), by a model of text. */
int bptt_inspect(const bptt_model *model, const char *const *files, size_t file_count, const bptt_inspect_options *options,
                 bptt_inspect_report *report, bptt_error *error);
/* On an input as for bptt_run, with targets as for bptt_gradient, or NULL: then L_t is the sum of the outputs. */
int bptt_inspect_arrays(const bptt_model *model, const bptt_array *input, const bptt_array *target,
                        const bptt_inspect_options *options, bptt_inspect_report *report, bptt_error *error);
/* Adds what the training run of the model tells (`clipped`, `update`), if it was watched: from its metrics, or those beside a
 * model file. An error leaves the report as it was. */
int bptt_inspect_run(const char *path, bptt_inspect_report *report, bptt_error *error);
/* Norms by lag, singular values of products, exponents and activities as one picture (owned): SVG. */
int bptt_inspect_figure(const bptt_inspect_report *report, char **text, bptt_error *error);
const char *bptt_verdict_name(int verdict);            /* "vanishing", ...; borrowed */
void bptt_inspect_clear(bptt_inspect_report *report);

/* ---- Comparing strategies: what each does to the gradient of a model of text, and to its training (D2L 9.7.1) ------------ */

typedef struct bptt_compare_options {
    size_t size;
    const char *strategies;                /* with semicolons between; NULL: some of each kind, by the length. "bf16": full, computed
                                              in bfloat16 */
    int64_t length, batch, windows;        /* T (0: 64, or what the text allows); rows; windows, spread over the text */
    int64_t repeats;                       /* of strategies that draw numbers, on every window; at least 2 */
    int precision;                         /* of the gradients that are compared: BPTT_F64, BPTT_F32; 0: F64 where it is affordable */
    int64_t memory;                        /* bytes; a strategy that needs more is left out */
    int64_t train;                         /* windows that copies of the model are trained on, by each strategy; 0: none */
    int optimizer;                         /* a bptt_optimizer; with train */
    double rate, clip_norm;
    int threads;                           /* 0: as many as the machine has */
    uint64_t seed;                         /* of places in the text, random links and signs */
    int (*on_progress)(const char *what, double fraction, void *user);     /* or NULL; not 0: stop (BPTT_INTERRUPTED) */
    void *user;
} bptt_compare_options;
bptt_compare_options bptt_compare_defaults(void);

/* An estimate g' against the exact gradient g of the same window; E is over what the strategy draws, estimated from the
 * repeats. Squares are summed over the windows before they are divided. */
typedef struct bptt_compare_part {
    char name[112];                        /* "" the whole; then "embed", "layers.0", ..., "head"; then each parameter */
    double norm;                           /* |g|, root mean square */
    double bias;                           /* |E g' - g| / |g| */
    double noise;                          /* the standard error of that: what is seen of no bias at all is about this large */
    double variance;                       /* E |g' - E g'|^2 / |g|^2 */
    double cosine;                         /* of g' and g, mean */
} bptt_compare_part;

/* Losses of steps [losses, to) whose gradient reaches back to step `from`. */
typedef struct bptt_compare_piece { int64_t from, losses, to; } bptt_compare_piece;

typedef struct bptt_compare_strategy {
    char name[112];
    char skipped[256];                     /* why it was left out, then nothing else holds; "" */
    int draws;                             /* it draws numbers */
    int64_t truncation;                    /* adaptive: what it chose */
    bptt_compare_part *part;               /* [parts] */
    double seconds, ratio;                 /* for a window, median; against full, run in turns */
    int64_t bytes;                         /* the model, its gradient and all that this strategy holds; single precision (bf16: its) */
    size_t pieces;                         /* of its schedule as it ran on the first window; none in forward mode */
    bptt_compare_piece *piece;
    double *link;                          /* [length] what the gradient from step t to step t - 1 is multiplied by; NULL */
    int64_t trained;                       /* windows; fewer than asked where it failed */
    double *loss, *second;                 /* [trained] of each window, before its updates; seconds of training so far */
    char failure[256];                     /* why training ended early; "" */
} bptt_compare_strategy;

typedef struct bptt_compare_report {
    int64_t length, batch, windows, repeats, train;
    int precision;                         /* a bptt_type */
    size_t parts, layers;                  /* parts: 1 + layers + parameters; layers: embedding, layers, head */
    size_t count;
    bptt_compare_strategy *strategy;
    char *text;                            /* the first `length` symbols; symbol t is [symbol[t], symbol[t + 1]) */
    size_t *symbol;
} bptt_compare_report;
/* On text files (joined): the same windows of `length` steps for all, each after a run over as many steps before it. */
int bptt_compare(const bptt_model *model, const char *const *files, size_t file_count, const bptt_compare_options *options,
                 bptt_compare_report *report, bptt_error *error);
/* The text cut into pieces, a row for each strategy that runs backward (owned): "text" (`columns` wide) or "svg". */
int bptt_compare_figure(const bptt_compare_report *report, const char *form, int columns, char **text, bptt_error *error);
void bptt_compare_clear(bptt_compare_report *report);

/* ---- The computational graph: a cell unrolled over steps, with the output layer and the loss (the figure of D2L 9.7.2) --- */

enum { BPTT_GRAPH_STEPS = 64 };            /* at most */

typedef struct bptt_graph_options {
    size_t size;
    int64_t steps;
    int detail;                            /* 0: the cell is one operator; 1: its operations */
    const char *gradient;                  /* strategy, see "Strategies": where links are cut; NULL: full */
    uint64_t seed;                         /* of random links */
} bptt_graph_options;
bptt_graph_options bptt_graph_defaults(void);

typedef enum bptt_graph_kind { BPTT_VARIABLE = 1, BPTT_PARAMETER, BPTT_OPERATOR } bptt_graph_kind;
typedef enum bptt_graph_role {
    BPTT_ROLE_WEIGHTS = 1,                 /* parameters: of the cell, those with the same uses in one node; */
    BPTT_ROLE_HEAD_WEIGHTS,                /* of the output layer */
    BPTT_ROLE_INITIAL,                     /* variables: state before the first step, ... */
    BPTT_ROLE_INPUT, BPTT_ROLE_STATE, BPTT_ROLE_OUTPUT, BPTT_ROLE_PREDICTION, BPTT_ROLE_TARGET, BPTT_ROLE_STEP_LOSS,
    BPTT_ROLE_TOTAL,
    BPTT_ROLE_OPERATION,                   /* operators: of the cell; output layer; loss of a step; mean of all */
    BPTT_ROLE_HEAD, BPTT_ROLE_LOSS, BPTT_ROLE_MEAN
} bptt_graph_role;

typedef struct bptt_graph_node {
    int kind, role;
    int64_t step;                          /* from 1; 0: parameters, initial states, L and its operator */
    const char *name;                      /* "h", "W_i, U_i, b_i", "tanh"; borrowed from the graph, as is what follows */
    const char *about;                     /* operators: what the cell's text calls the value, or ""; parameters: their names */
} bptt_graph_node;
typedef struct bptt_graph_edge { size_t from, to; } bptt_graph_edge;       /* nodes */
/* Losses of steps `losses` to `to` whose gradient reaches back to step `from`; all from 1. */
typedef struct bptt_graph_piece { int64_t from, losses, to; } bptt_graph_piece;

typedef struct bptt_graph {
    const char *cell, *gradient;           /* its name; the strategy, or "" */
    int64_t steps;
    int detail;
    size_t nodes, edges, pieces;           /* nodes: parameters, initial states, those of step 1, of step 2 in the same order,
                                              ..., the mean, L */
    bptt_graph_node *node;
    bptt_graph_edge *edge;
    bptt_graph_piece *piece;
    double *link;                          /* [steps - 1] factor of the gradient from step 2 to step 1, from 3 to 2, ...; 0: cut */
    void *memory;                          /* the library's */
} bptt_graph;
int bptt_graph_unroll(const bptt_cell *cell, const bptt_graph_options *options, bptt_graph *graph, bptt_error *error);
/* "svg", "dot" (Graphviz), or "text" in so many columns; owned. */
int bptt_graph_draw(const bptt_graph *graph, const char *form, int columns, char **text, bptt_error *error);
void bptt_graph_clear(bptt_graph *graph);

/* ---- Speed: what a cell of some sizes reaches on this machine ------------------------------------------------------------ */

typedef struct bptt_speed_case {
    size_t size;
    const bptt_cell *cell;                 /* borrowed during the call */
    int64_t inputs, hidden, layers;        /* inputs 0: as hidden */
    int64_t batch, length;                 /* of a window */
    const char *dims;                      /* as in bptt_model_config */
    int threads;                           /* 0: as many as the machine has */
    int precision;                         /* BPTT_F32, BPTT_F64 or BPTT_BF16 */
} bptt_speed_case;
bptt_speed_case bptt_speed_defaults(void);

typedef struct bptt_speed_figure {
    double seconds;                        /* median of the runs */
    double operations;                     /* of the equations: bptt_cell_info.flops, three times that with the gradient */
} bptt_speed_figure;

typedef struct bptt_speed {
    int threads;                           /* as many as ran */
    double peak;                           /* multiply-adds on registers alone, by these threads: operations a second */
    bptt_speed_figure forward;             /* one window */
    bptt_speed_figure gradient;            /* forward and backward, with the gradients of parameters, inputs and states */
    bptt_speed_figure step;                /* streaming: one step of one row, one thread */
    bptt_kernel kernel;                    /* of layer 0 */
    int scan_workers, scan_units;          /* as in bptt_plan */
} bptt_speed;

/* Measures the cases in turns, so that what else the machine does meets all of them, for about `seconds` each. */
int bptt_measure(const bptt_speed_case *cases, size_t count, double seconds, bptt_speed *speeds, bptt_error *error);

/* ---- Reports: training runs as pictures and as one page --------------------------------------------------------------- */

/* A run is a model file, the metrics beside it (FILE.jsonl) or a folder of those. The page is one HTML file that needs
 * nothing else; pictures are SVG. Broken lines of metrics are counted, and cost themselves alone. */
typedef struct bptt_report bptt_report;
typedef struct bptt_report_run {
    const char *name, *verdict;            /* borrowed from the report; "Healthy", ... */
    int level;                             /* 0: healthy, 1: look at this, 2: it went wrong */
    int64_t step, broken_lines;
} bptt_report_run;
int bptt_report_read(const char *const *runs, size_t count, bptt_report **report, bptt_error *error);
void bptt_report_free(bptt_report *report);
int bptt_report_page(const bptt_report *report, char **html, bptt_error *error);              /* owned */
size_t bptt_report_run_count(const bptt_report *report);
int bptt_report_verdict(const bptt_report *report, size_t run, bptt_report_run *about, bptt_error *error);
size_t bptt_report_picture_count(const bptt_report *report);
const char *bptt_report_picture_name(const bptt_report *report, size_t index);                /* "loss"; borrowed */
/* Why there is nothing to draw, in a sentence that says how to get it; NULL where there is. Borrowed. */
const char *bptt_report_picture_missing(const bptt_report *report, size_t index);
int bptt_report_picture(const bptt_report *report, size_t index, char **svg, bptt_error *error);   /* owned */
/* Reads the runs and writes their page, all of it or nothing: for a trainer's event, to keep a page current. */
int bptt_report_write(const char *const *runs, size_t count, const char *path, bptt_error *error);

/* ---- Sampling ---------------------------------------------------------------------------------------------------------- */

typedef struct bptt_sample_options {
    size_t size;
    const char *prompt;                    /* UTF-8; NULL: none */
    int64_t length;                        /* symbols */
    double temperature;                    /* 0: the most likely symbol always */
    int64_t top_k;                         /* 0: all */
    double top_p;                          /* 1: all */
    uint64_t seed;
} bptt_sample_options;
bptt_sample_options bptt_sample_defaults(void);
/* `on_text` gets each symbol's UTF-8 as it is drawn; it returns 0 to go on. */
int bptt_sample(const bptt_model *model, const bptt_sample_options *options, int (*on_text)(const char *, size_t, void *),
                void *user, bptt_error *error);

#ifdef __cplusplus
}
#endif
#endif
