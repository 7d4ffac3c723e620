/* record.c - what a run leaves in its metrics file: how it was set up, each step, validations with a short sample, and
 * how it ended. Readers skip what they do not know, so lines may gain keys. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "job.h"

enum { SAMPLE_SYMBOLS = 200, STEPS_LOGGED = 1000, STEPS_THINNED = 10 };

/* ---- the run ---- */

static json_t *file_names(const bptt_train_config *c)
{
    json_t *names = json_array();
    for (size_t i = 0; names && i < c->file_count; i++) {
        json_t *name = json_string(c->files[i]);       /* NULL where it is not UTF-8 */
        if (json_array_append_new(names, name ? name : json_null())) {
            json_decref(names);
            names = NULL;
        }
    }
    return names;
}

static json_t *describe_model(const struct job *job)
{
    const bptt_train_config *c = &job->config;
    bptt_model_info info;
    if (bptt_model_describe(job->model, &info, NULL))
        return NULL;
    return json_pack("{s:i, s:s, s:s*, s:I, s:I, s:I, s:I, s:I, s:s*, s:o*}", "version", 1, "bptt", BPTT_VERSION, "cell",
                     info.cell_name, "layers", (json_int_t)info.layers, "hidden", (json_int_t)c->hidden, "inputs",
                     (json_int_t)info.inputs, "vocabulary", (json_int_t)info.vocabulary, "parameters",
                     (json_int_t)info.parameters, "kernel", info.kernel, "data", file_names(c));
}

static json_t *describe_training(const struct job *job)
{
    const bptt_trainer_config *t = &job->config.trainer;
    char gradient[512], started[32] = "";
    time_t now = time(NULL);
    struct tm utc;
    strategy_text(&job->trainer->strategy, gradient, sizeof gradient);
    if (gmtime_r(&now, &utc))
        strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", &utc);
    return json_pack("{s:s, s:I, s:I, s:s, s:s, s:s, s:f, s:f, s:f, s:I, s:i, s:I}", "started", started, "batch",
                     (json_int_t)t->batch, "length", (json_int_t)t->length, "gradient", gradient, "precision",
                     precision_name(t->precision), "optimizer", optimizer_name(t->optimizer), "lr", job->rate.peak,
                     "clip", t->clip_norm, "dropout", t->dropout, "seed", (json_int_t)job->config.seed, "threads",
                     pool_workers(job->trainer->net.pool), "step", (json_int_t)job->progress.step);
}

int record_run(struct job *job)
{
    json_t *run = describe_model(job), *training = describe_training(job);
    if (!run || !training || json_object_update(run, training)) {
        json_decref(run);
        run = NULL;
    }
    json_decref(training);
    metrics_begin(&job->metrics, job->progress.step);
    metrics_json(&job->metrics, "run", run);
    return metrics_end(&job->metrics, job->error);
}

/* ---- while it runs ---- */

int record_step(struct job *job, double loss, double norm, double rate)
{
    const struct progress *p = &job->progress;
    int is_logged = p->step <= STEPS_LOGGED || p->step % STEPS_THINNED == 0;
    if (!is_logged)
        return BPTT_OK;
    metrics_begin(&job->metrics, p->step);
    metrics_number(&job->metrics, "loss", loss);
    metrics_number(&job->metrics, "norm", norm);
    metrics_number(&job->metrics, "rate", rate);
    metrics_number(&job->metrics, "seconds", job_seconds(job));
    return metrics_end(&job->metrics, job->error);
}

int record_valid(struct job *job, double loss)
{
    metrics_begin(&job->metrics, job->progress.step);
    metrics_number(&job->metrics, "valid_loss", loss);
    return metrics_end(&job->metrics, job->error);
}

static int collect(const char *bytes, size_t length, void *user)
{
    text_append(user, bytes, length);
    return 0;
}

int record_sample(struct job *job)
{
    struct text text = {0};
    bptt_sample_options options = bptt_sample_defaults();
    options.length = SAMPLE_SYMBOLS;
    options.seed = job->config.seed + (uint64_t)job->progress.step;
    if (job->config.trainer.memory)        /* drawing takes memory that a budget does not count */
        return BPTT_OK;
    int status = bptt_sample(job->model, &options, collect, &text, job->error);
    char *sampled = text_take(&text);
    if (!status && !sampled)
        status = fail_memory(job->error, SAMPLE_SYMBOLS);
    if (!status) {
        metrics_begin(&job->metrics, job->progress.step);
        metrics_text(&job->metrics, "sample", sampled);
        status = metrics_end(&job->metrics, job->error);
    }
    free(sampled);
    return status;
}

/* ---- the watch ---- */

/* Memory that runs out anywhere is reported by metrics_end. */
static void put(struct metrics *metrics, json_t *object, const char *key, json_t *value)
{
    metrics->failed |= json_object_set_new(object, key, value) != 0;
}

static void append(struct metrics *metrics, json_t *array, json_t *value)
{
    metrics->failed |= json_array_append_new(array, value) != 0;
}

/* JSON has no infinity. */
static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

/* 0, 1, 2, 3, 4, 6, 8, 12, ...: steps that a logarithmic axis shows. */
static long next_lag(long lag)
{
    long half = 2;
    while (2 * half <= lag)
        half *= 2;
    return lag < 4 ? lag + 1 : lag + half / 2;
}

static void put_lags(struct metrics *metrics, json_t *object, const struct watch_layer *layer)
{
    json_t *norm = json_array(), *at = json_array();
    for (long k = 0; k < layer->facts.lags; k = next_lag(k)) {
        append(metrics, norm, number(layer->norm[k]));
        append(metrics, at, json_integer(k));
    }
    put(metrics, object, "lag", norm);
    put(metrics, object, "at", at);
}

static void put_values(struct metrics *metrics, json_t *object, const struct watch *watch, int layer)
{
    json_t *saturated = json_object(), *memory = json_object();
    for (size_t i = 0; i < watch->values.values; i++) {
        const bptt_inspect_value *v = &watch->values.value[i];
        if (v->layer != layer)
            continue;
        put(metrics, saturated, v->name, number(v->low + v->high));
        if (!isnan(v->memory))
            put(metrics, memory, v->name, number(v->memory));
    }
    put(metrics, object, "saturated", saturated);
    put(metrics, object, "memory", memory);
    put(metrics, object, "dead", number(watch->layer[layer].dead));
}

static json_t *layers_of(struct metrics *metrics, const struct watch *watch)
{
    json_t *layers = json_array();
    for (int l = 0; l < watch->trainer->model->layers; l++) {
        const struct watch_layer *layer = &watch->layer[l];
        json_t *object = json_object();
        put_lags(metrics, object, layer);
        put(metrics, object, "horizon", json_integer(layer->facts.horizon));
        put(metrics, object, "decay", number(layer->facts.decay));
        put(metrics, object, "sigma", number(layer->sigma));
        put(metrics, object, "radius", number(layer->radius));
        put_values(metrics, object, watch, l);
        append(metrics, layers, object);
    }
    return layers;
}

static json_t *parameters_of(struct metrics *metrics, const struct watch *watch)
{
    json_t *parameters = json_object();
    for (int i = 0; i < watch->trainer->model->tensors; i++) {
        json_t *object = json_object();
        put(metrics, object, "norm", number(watch->gradient[i]));
        put(metrics, object, "ratio", number(watch->ratio[i]));
        put(metrics, parameters, watch->trainer->model->tensor[i].name, object);
    }
    return parameters;
}

int record_watch(struct job *job)
{
    const struct watch *w = job->watch;
    struct metrics *metrics = &job->metrics;
    json_t *object = json_object();
    metrics_begin(metrics, job->progress.step);
    put(metrics, object, "layers", layers_of(metrics, w));
    put(metrics, object, "parameters", parameters_of(metrics, w));
    put(metrics, object, "clipped", number(w->clipped_share));
    put(metrics, object, "truncation", json_integer(w->layer[0].facts.truncation));
    put(metrics, object, "seconds", number(w->seconds));
    metrics_json(metrics, "watch", object);
    return metrics_end(metrics, job->error);
}

static int write_warning(struct job *job, const struct warning *w, json_t *where)
{
    char text[700];
    struct metrics *metrics = &job->metrics;
    json_t *object = json_object();
    metrics_begin(metrics, job->progress.step);
    put(metrics, object, "kind", json_string(warn_name(w->kind)));
    if (w->layer >= 0)
        put(metrics, object, "layer", json_integer(w->layer));
    put(metrics, object, "value", number(w->value));
    put(metrics, object, "limit", number(w->limit));
    put(metrics, object, "text", json_string(w->text));
    put(metrics, object, "try", json_string(w->advice));
    if (where)
        put(metrics, object, "where", where);
    snprintf(text, sizeof text, "step %lld: %s; try: %s", (long long)job->progress.step, w->text, w->advice);
    job_emit(job, (bptt_event){.kind = BPTT_EVENT_WARNING, .text = text});
    metrics_json(metrics, "warning", object);
    return metrics_end(metrics, job->error);
}

int record_warning(struct job *job, const struct warning *warning)
{
    return write_warning(job, warning, NULL);
}

int record_nonfinite(struct job *job, int64_t window, const struct nonfinite *found)
{
    struct warning w = {.kind = WARN_NONFINITE, .layer = found->layer, .value = NAN, .limit = NAN};
    json_t *where = json_pack("{s:I, s:I, s:i, s:s, s:s}", "window", (json_int_t)window, "time", (json_int_t)found->time,
                              "layer", found->layer, "state", found->state, "operation", found->operation);
    int used = snprintf(w.text, sizeof w.text, "window %lld first meets a value that is not finite at its step %ld",
                        (long long)window, found->time);
    if (found->layer >= 0)
        used += snprintf(w.text + used, sizeof w.text - (size_t)used, ", layer %d", found->layer);
    if (found->state[0])
        used += snprintf(w.text + used, sizeof w.text - (size_t)used, ", state %s", found->state);
    snprintf(w.text + used, sizeof w.text - (size_t)used, ", in %.160s", found->operation);
    snprintf(w.advice, sizeof w.advice, "%s",
             job->config.trainer.clip_norm > 0 ? "lower the learning rate (--lr), or --backtrack"
                                               : "clip the gradient (--clip 1), or lower the learning rate (--lr)");
    return write_warning(job, &w, where);
}

/* ---- the end ---- */

/* An error that ended the run stays the one that is reported. */
int record_end(struct job *job, int status)
{
    bptt_error own = {0};
    const char *end = !status ? "done" : status == BPTT_INTERRUPTED ? "interrupted" :
                      status == BPTT_ERROR_NOT_FINITE ? "diverged" : NULL;
    if (!end || !job->has_metrics)
        return status;
    metrics_begin(&job->metrics, job->progress.step);
    metrics_text(&job->metrics, "end", end);
    int written = metrics_end(&job->metrics, &own);
    return status ? status : written ? fail(job->error, own.code, "%s", own.text) : BPTT_OK;
}
