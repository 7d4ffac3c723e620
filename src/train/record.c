/* record.c - what a run leaves in its metrics file: how it was set up, each step, validations with a short sample, and
 * how it ended. Readers skip what they do not know, so lines may gain keys. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "job.h"

enum { SAMPLE_SYMBOLS = 200, STEPS_LOGGED = 1000, STEPS_THINNED = 10 };

/* ---- the run ---- */

static json_t *file_names(const bptt_train_config *c)
{
    json_t *names = json_array();
    for (size_t i = 0; names && i < c->file_count; i++)
        json_array_append_new(names, json_string(c->files[i]));
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
    static const char *const optimizers[] = {
        [BPTT_SGD] = "sgd", [BPTT_RMSPROP] = "rmsprop", [BPTT_ADAM] = "adam", [BPTT_ADAMW] = "adamw"};
    const bptt_trainer_config *t = &job->config.trainer;
    char gradient[512], started[32] = "";
    time_t now = time(NULL);
    struct tm utc;
    strategy_text(&job->trainer->strategy, gradient, sizeof gradient);
    if (gmtime_r(&now, &utc))
        strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", &utc);
    return json_pack("{s:s, s:I, s:I, s:s, s:s, s:f, s:f, s:f, s:I, s:i, s:I}", "started", started, "batch",
                     (json_int_t)t->batch, "length", (json_int_t)t->length, "gradient", gradient, "optimizer",
                     optimizers[t->optimizer], "lr", job->rate.peak, "clip", t->clip_norm, "dropout", t->dropout, "seed",
                     (json_int_t)job->config.seed, "threads", pool_workers(job->trainer->net.pool), "step",
                     (json_int_t)job->progress.step);
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
