/* checkpoint.c - all that a run needs to go on to the same bits: the model, the optimiser's moments, the carried
 * states and the progress, in one safetensors file that is also a model. What must not change between two parts of a
 * run is kept in it under the names of the options, so that a difference can be named. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../file/model_file.h"
#include "job.h"

/* ---- the options that a run is made of ---- */

static json_t *model_options(const struct job *job)
{
    const bptt_train_config *c = &job->config;
    char cell[20];
    snprintf(cell, sizeof cell, "%016llx", job->model->cell->hash);
    return json_pack("{s:s, s:I, s:I, s:I, s:s, s:s, s:s, s:s, s:f, s:I}", "cell", cell, "hidden",
                     (json_int_t)c->hidden, "layers", (json_int_t)c->layers, "embedding",
                     (json_int_t)job->model->inputs, "dim", c->dims ? c->dims : "", "tied", c->tied ? "yes" : "no",
                     "symbols", vocabulary_kind_name(c->symbols), "windows", c->random_windows ? "random" : "streams",
                     "valid", c->valid, "seed", (json_int_t)c->seed);
}

static json_t *trainer_options(const struct job *job)
{
    const bptt_trainer_config *t = &job->config.trainer;
    char gradient[512];
    strategy_text(&job->trainer->strategy, gradient, sizeof gradient);
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:s, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "gradient", gradient,
                     "precision", precision_name(t->precision),
                     "freeze", t->freeze ? t->freeze : "", "batch", (json_int_t)t->batch,
                     "length", (json_int_t)t->length, "optimizer", optimizer_name(t->optimizer), "lr", job->rate.peak,
                     "momentum", t->momentum, "beta1", t->beta1, "beta2", t->beta2, "epsilon", t->epsilon,
                     "weight-decay", t->weight_decay, "clip", t->clip_norm, "clip-value", t->clip_value, "dropout",
                     t->dropout, "dropout-state", t->dropout_state);
}

static json_t *rate_options(const struct job *job)
{
    static const char *const schedules[] = {
        [BPTT_CONSTANT] = "constant", [BPTT_COSINE] = "cosine", [BPTT_STEP] = "step", [BPTT_PLATEAU] = "plateau"};
    const bptt_train_config *c = &job->config;
    return json_pack("{s:s, s:I, s:f, s:I, s:f, s:I}", "schedule", schedules[c->schedule], "warmup",
                     (json_int_t)c->warmup, "final-lr", c->final_rate, "decay-every", (json_int_t)c->decay_every,
                     "decay", c->decay, "patience", (json_int_t)c->patience);
}

/* The text comes last: another one follows from some of the options, which are then what to name. */
static json_t *options_json(const struct job *job)
{
    char text[20];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)job->text_hash);
    json_t *first = model_options(job), *second = trainer_options(job), *third = rate_options(job);
    int failed = !first || !second || !third || json_object_update(first, second) ||
                 json_object_update(first, third) || json_object_set_new(first, "text", json_string(text));
    json_decref(second);
    json_decref(third);
    if (!failed)
        return first;
    json_decref(first);
    return NULL;
}

static void write_value(const json_t *value, char *out, size_t size)
{
    if (json_is_string(value))
        snprintf(out, size, "%s", *json_string_value(value) ? json_string_value(value) : "''");
    else
        snprintf(out, size, "%.15g", json_number_value(value));
}

static int fail_option(const struct job *job, const char *key, const json_t *before, const json_t *now)
{
    char old[120], new[120];
    if (!strcmp(key, "text"))
        return fail_file(job->error, BPTT_ERROR_ARGUMENT, job->checkpoint,
                         "this run was on another text: --resume goes on with the same files");
    if (!strcmp(key, "cell"))
        return fail_file(job->error, BPTT_ERROR_ARGUMENT, job->checkpoint,
                         "this run had another cell: --resume goes on with the same --cell");
    write_value(before, old, sizeof old);
    write_value(now, new, sizeof new);
    return fail_file(job->error, BPTT_ERROR_ARGUMENT, job->checkpoint,
                     "this run had --%s %s, not %s: --resume goes on with the same options", key, old, new);
}

/* The first option whose value differs from the checkpoint's. */
static int compare_options(const struct job *job, const json_t *kept)
{
    json_t *now = options_json(job), *value;
    const char *key;
    int status = now ? BPTT_OK : fail_memory(job->error, 0);
    json_object_foreach(now, key, value) {
        const json_t *before = json_object_get(kept, key);
        if (!before && !strcmp(key, "precision") && !strcmp(json_string_value(value), "f32"))
            continue;                      /* checkpoints from before there was another */
        if (!status && !json_equal(before, value))
            status = fail_option(job, key, before, value);
    }
    json_decref(now);
    return status;
}

/* ---- progress ---- */

static void set_number(json_t *json, const char *key, double value)
{
    json_object_set_new(json, key, isfinite(value) ? json_real(value) : json_null());
}

static json_t *progress_json(const struct job *job)
{
    const struct progress *p = &job->progress;
    json_t *json =
        json_pack("{s:I, s:I, s:I, s:I, s:i, s:i, s:i, s:I, s:I, s:I}", "step", (json_int_t)p->step, "total",
                  (json_int_t)p->total, "best_step", (json_int_t)p->best_step, "valid_step", (json_int_t)p->valid_step,
                  "since_best", p->since_best, "since_decay", p->since_decay, "backtracks", p->backtracks, "window",
                  (json_int_t)job->trainer->window, "updates", (json_int_t)job->trainer->updates, "truncation",
                  (json_int_t)job->trainer->net.schedule.strategy.k1);
    if (!json)
        return NULL;
    set_number(json, "minutes", p->minutes);
    set_number(json, "seconds", p->seconds);
    set_number(json, "average", p->average);
    set_number(json, "average_weight", p->average_weight);
    set_number(json, "best", p->best);
    set_number(json, "last_valid", p->last_valid);
    set_number(json, "scale", p->scale);
    return json;
}

static double get_number(const json_t *json, const char *key)
{
    json_t *value = json_object_get(json, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static int64_t get_whole(const json_t *json, const char *key)
{
    return json_integer_value(json_object_get(json, key));
}

static int take_progress(struct job *job, const json_t *json)
{
    struct progress p = {.step = get_whole(json, "step"),
                         .total = get_whole(json, "total"),
                         .best_step = get_whole(json, "best_step"),
                         .valid_step = get_whole(json, "valid_step"),
                         .minutes = get_number(json, "minutes"),
                         .since_best = (int)get_whole(json, "since_best"),
                         .since_decay = (int)get_whole(json, "since_decay"),
                         .backtracks = (int)get_whole(json, "backtracks"),
                         .seconds = get_number(json, "seconds"),
                         .average = get_number(json, "average"),
                         .average_weight = get_number(json, "average_weight"),
                         .best = get_number(json, "best"),
                         .last_valid = get_number(json, "last_valid"),
                         .scale = get_number(json, "scale")};
    int64_t window = get_whole(json, "window"), updates = get_whole(json, "updates"), truncation = get_whole(json, "truncation");
    int makes_sense = truncation >= 0 && truncation <= job->config.trainer.length && p.step >= 0 && p.total >= 0 && window >= 0 && updates >= 0 && p.since_best >= 0 &&
                      p.since_decay >= 0 && p.scale > 0 && p.scale <= 1 && p.seconds >= 0 && isfinite(p.average) &&
                      isfinite(p.average_weight);
    if (!makes_sense)
        return fail_file(job->error, BPTT_ERROR_FORMAT, job->checkpoint,
                         "what it says of its run's progress makes no sense: not written by bptt");
    job->progress = p;
    job->trainer->window = window;
    job->trainer->updates = updates;
    if (job->trainer->horizon)
        network_set_truncation(&job->trainer->net, (long)truncation);
    return BPTT_OK;
}

/* ---- tensors beside the model's ---- */

/* Calls fn for each: the optimiser's moments under each parameter's name, then the carried states. */
typedef int extra_fn(struct job *job, const char *name, float *data, int rank, const long *shape, void *context);

static int moments(struct job *job, const char *which, float *data, extra_fn *fn, void *context)
{
    for (int i = 0; data && i < job->model->tensors; i++) {
        const struct tensor *tensor = &job->model->tensor[i];
        char name[160];
        snprintf(name, sizeof name, "optimizer.%s.%s", which, tensor->name);
        int status = fn(job, name, data + tensor->offset, tensor->rank, tensor->shape, context);
        if (status)
            return status;
    }
    return BPTT_OK;
}

/* Rows as they stand in memory, padding included: width is a multiple of 16. Two numbers of bfloat16 take a float's place. */
static int for_extras(struct job *job, extra_fn *fn, void *context)
{
    struct network *net = &job->trainer->net;
    int status = moments(job, "first", job->trainer->first, fn, context);
    if (!status)
        status = moments(job, "second", job->trainer->second, fn, context);
    if (!status && job->trainer->influence) {
        size_t bytes;
        float *memory = influence_memory(job->trainer->influence, &bytes);
        status = fn(job, "state.influence", memory, 1, (long[]){(long)(bytes / sizeof(float)), 0}, context);
    }
    for (int l = 0; l < job->model->layers; l++) {
        for (int i = 0; !status && i < job->model->cell->states; i++) {
            char name[160];
            long floats = layer_state_width(&net->layer[l], i) * net->kernels->element_size / (long)sizeof(float);
            long shape[2] = {net->config.batch, floats};
            snprintf(name, sizeof name, "state.layers.%d.%s", l, job->model->cell->state[i].name);
            status = fn(job, name, net->carried[l][i], 2, shape, context);
        }
    }
    return status;
}

static int count_extra(struct job *job, const char *name, float *data, int rank, const long *shape, void *context)
{
    (void)job; (void)name; (void)data; (void)rank; (void)shape;
    ++*(size_t *)context;
    return BPTT_OK;
}

static int list_extra(struct job *job, const char *name, float *data, int rank, const long *shape, void *context)
{
    (void)job;
    bptt_arrays *set = context;
    bptt_array *array = &set->items[set->count++];
    *array = (bptt_array){.type = BPTT_F32, .rank = rank, .shape = {shape[0], shape[1]}, .data = data};
    snprintf(array->name, sizeof array->name, "%s", name);
    return BPTT_OK;
}

static int take_extra(struct job *job, const char *name, float *data, int rank, const long *shape, void *context)
{
    const bptt_array *array = bptt_arrays_find(context, name);
    int fits = array && array->type == BPTT_F32 && array->rank == rank && array->shape[0] == shape[0] &&
               (rank == 1 || array->shape[1] == shape[1]);
    if (!fits)
        return fail_file(job->error, BPTT_ERROR_FORMAT, job->checkpoint,
                         "tensor '%s' is missing or has another shape: not a checkpoint of this run", name);
    memcpy(data, array->data, (size_t)bptt_array_length(array) * sizeof(float));
    return BPTT_OK;
}

/* ---- saving and taking up ---- */

int checkpoint_save(struct job *job)
{
    size_t count = 0;
    for_extras(job, count_extra, &count);
    bptt_arrays set = {.items = calloc(count ? count : 1, sizeof *set.items)};
    job->progress.seconds = job_seconds(job);
    json_t *options = options_json(job), *progress = progress_json(job), *json = NULL;
    if (options && progress)
        json = json_pack("{s:O, s:O}", "options", options, "progress", progress);
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    int status = set.items && text ? BPTT_OK : fail_memory(job->error, count * sizeof *set.items);
    if (!status) {
        for_extras(job, list_extra, &set);
        status = model_file_save(job->model, &set, text, job->checkpoint, job->error);
    }
    json_decref(options);
    json_decref(progress);
    json_decref(json);
    free(text);
    free(set.items);                       /* the data is the trainer's */
    return status;
}

static int take_up(struct job *job, const bptt_model *model, const bptt_arrays *extra, const char *training,
                   int compare)
{
    json_t *json = training ? json_loads(training, 0, NULL) : NULL;
    json_t *progress = json_object_get(json, "progress");
    int status = BPTT_OK;
    if (!json_is_object(progress))
        status = fail_file(job->error, BPTT_ERROR_FORMAT, job->checkpoint,
                           "this is a model, not a checkpoint: it does not say how far its run was");
    if (!status && compare)
        status = compare_options(job, json_object_get(json, "options"));
    if (!status && model->count != job->model->count)
        status =
            fail_file(job->error, BPTT_ERROR_FORMAT, job->checkpoint, "its model has another shape than this run's");
    if (!status)
        status = for_extras(job, take_extra, (void *)(uintptr_t)extra);
    if (!status)
        status = take_progress(job, progress);
    if (!status) {
        memcpy(job->model->data, model->data, (size_t)model->count * sizeof(float));
        job->model->step = model->step;
        job->model->valid_loss = model->valid_loss;
    }
    json_decref(json);
    return status;
}

static int load(struct job *job, int compare)
{
    bptt_model *model;
    bptt_arrays extra;
    char *training;
    int status = model_file_load(job->checkpoint, &model, &extra, &training, job->error);
    if (status)
        return status;
    status = take_up(job, model, &extra, training, compare);
    bptt_model_free(model);
    bptt_arrays_clear(&extra);
    free(training);
    return status;
}

int checkpoint_load(struct job *job)
{
    return load(job, 1);
}

int checkpoint_restore(struct job *job)
{
    return load(job, 0);
}
