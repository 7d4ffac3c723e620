/* contest.c - copies of a model trained by each strategy from the same start on the same windows. They take turns window by
 * window, so that what else the machine does meets all of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../data/batches.h"
#include "../train/trainer.h"
#include "compare.h"

struct entrant { bptt_model *model; bptt_trainer *trainer; double seconds; };

static int copy_model(const bptt_model *from, bptt_model **to, bptt_error *error)
{
    bptt_model_config config = bptt_model_defaults();
    config.cell = from->cell;
    config.inputs = from->inputs;
    config.vocabulary = from->vocabulary;
    config.hidden = from->hidden;
    config.layers = from->layers;
    config.outputs = from->outputs;
    config.loss = from->loss;
    config.head = from->head;
    config.tied = from->tied;
    config.dims = from->dims;
    *to = NULL;
    int status = model_shape(&config, to, error);
    if (!status)
        status = model_allocate(*to, error);
    if (status) {
        bptt_model_free(*to);
        *to = NULL;
        return status;
    }
    memcpy((*to)->data, from->data, (size_t)from->count * sizeof *from->data);
    return BPTT_OK;
}

static int enter(const struct compare *c, size_t number, struct entrant *entrant)
{
    bptt_compare_strategy *out = &c->report->strategy[number];
    const bptt_compare_options *o = &c->options;
    bptt_trainer_config config = bptt_trainer_defaults();
    config.batch = o->batch;
    config.length = o->length;
    config.threads = o->threads;
    config.optimizer = o->optimizer;
    config.rate = o->rate;
    config.clip_norm = o->clip_norm;
    config.gradient = c->type[number] ? "full" : c->text[number];
    config.precision = c->type[number];
    config.seed = o->seed;
    size_t bytes = size_mul((size_t)o->train, sizeof(double));
    out->loss = malloc(bytes);
    out->second = malloc(bytes);
    if (!out->loss || !out->second)
        return fail_memory(c->error, bytes);
    int status = copy_model(c->model, &entrant->model, c->error);
    return status ? status : bptt_trainer_new(entrant->model, &config, &entrant->trainer, c->error);
}

/* A strategy that diverges is a result; any other failure ends the comparison. */
static int train_one(struct compare *c, struct entrant *e, bptt_compare_strategy *out, const int32_t *x, const int32_t *y, int anew)
{
    bptt_error why = {0};
    double loss, norm, start = clock_now();
    if (anew)
        bptt_trainer_reset_state(e->trainer);
    int status = bptt_trainer_step(e->trainer, x, y, &loss, &norm, &why);
    e->seconds += clock_now() - start;
    if (status == BPTT_ERROR_NOT_FINITE)
        snprintf(out->failure, sizeof out->failure, "%.255s", why.text);
    else if (status)
        return fail(c->error, status, "%s: %s", out->name, why.text);
    else {
        out->loss[out->trained] = loss;
        out->second[out->trained++] = e->seconds;
    }
    return BPTT_OK;
}

static int train_all(struct compare *c, const struct batches *batches, struct entrant *entrants, int32_t *x, int32_t *y)
{
    int status = BPTT_OK;
    for (int64_t step = 0; step < c->options.train && !status; step++) {
        int anew = batches_window(batches, step, x, y);
        status = compare_progress(c, "training");
        for (size_t i = 0; i < c->report->count && !status; i++) {
            bptt_compare_strategy *out = &c->report->strategy[i];
            if (entrants[i].trainer && !*out->failure)
                status = train_one(c, &entrants[i], out, x, y, anew);
        }
        c->done += (double)c->report->count / (double)c->options.train;
    }
    return status;
}

static void dismiss(struct entrant *entrants, size_t count)
{
    for (size_t i = 0; entrants && i < count; i++) {
        bptt_trainer_free(entrants[i].trainer);
        bptt_model_free(entrants[i].model);
    }
    free(entrants);
}

int contest_run(struct compare *c)
{
    const bptt_compare_options *o = &c->options;
    struct batches batches;
    if (o->train == 0)
        return BPTT_OK;
    int status = batches_init(&batches, c->token, c->tokens, o->batch, o->length, 0, o->seed, "the text", c->error);
    if (status)
        return status;
    size_t bytes = size_mul((size_t)(o->batch * o->length), sizeof(int32_t));
    struct entrant *entrants = calloc(c->report->count, sizeof *entrants);
    int32_t *x = malloc(bytes), *y = malloc(bytes);
    if (!entrants || !x || !y)
        status = fail_memory(c->error, bytes);
    for (size_t i = 0; i < c->report->count && !status; i++)
        if (!*c->report->strategy[i].skipped)
            status = enter(c, i, &entrants[i]);
    if (!status)
        status = train_all(c, &batches, entrants, x, y);
    dismiss(entrants, c->report->count);
    free(x);
    free(y);
    return status;
}
