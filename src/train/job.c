/* job.c - bptt_train: window after window, and between them validation, samples, checkpoints and the decisions that
 * follow from them. Everything that decides a bit of the result is counted in steps; the clock only says when to save,
 * and with a limit in minutes once, early on, how many steps the run shall have. */
#include "job.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../file/model_file.h"

enum { CALIBRATION = 20, BACKTRACKS = 8 }; /* least steps timed for a limit in minutes; times to go back */
static const double CALIBRATION_SHARE = 0.03, CHECKPOINT_SECONDS = 120, MEMORY_OF_AVERAGE = 0.98;

static double clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double job_seconds(const struct job *job)
{
    return job->seconds_before + (job->started > 0 ? clock_seconds() - job->started : 0);
}

/* ---- events ---- */

static double smoothed(const struct progress *p)
{
    return p->average_weight > 0 ? p->average / p->average_weight : NAN;
}

int job_emit(struct job *job, bptt_event event)
{
    const struct progress *p = &job->progress;
    int64_t windows = job->batches.token ? batches_per_epoch(&job->batches) : 0;
    event.step = p->step;
    event.steps = p->total;
    event.epoch = windows ? (double)p->step / (double)windows : 0;
    event.fraction = p->total ? (double)p->step / (double)p->total : 0;
    event.seconds = job_seconds(job);
    if (job->on_event && job->on_event(&event, job->user))
        job->stop = 1;
    return job->stop;
}

void job_note(struct job *job, const char *format, ...)
{
    char text[600];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    job_emit(job, (bptt_event){.kind = BPTT_EVENT_NOTE, .text = text});
}

static void announce(struct job *job)
{
    char text[400];
    const bptt_train_config *c = &job->config;
    bptt_model_info info;
    if (bptt_model_describe(job->model, &info, NULL))
        return;
    snprintf(text, sizeof text,
             "%s %lldx%lld, %lld parameters (%s); %lld symbols of %lld kinds, %lld held out; batch %lld, length %lld; "
             "%.1f MiB",
             info.cell_name, (long long)c->hidden, (long long)c->layers, (long long)info.parameters, info.kernel,
             (long long)job->tokens, (long long)info.vocabulary, (long long)job->valid_tokens,
             (long long)c->trainer.batch, (long long)c->trainer.length, (double)job->trainer->net.plan.total / 1048576);
    job_emit(job, (bptt_event){.kind = BPTT_EVENT_START, .model = job->model, .text = text});
}

/* ---- saving ---- */

static int save_model(struct job *job)
{
    return model_file_save(job->model, NULL, NULL, job->out, job->error);
}

static int save_checkpoint(struct job *job)
{
    int status = checkpoint_save(job);
    if (!status && isnan(job->progress.best))      /* without validation the last model is the model */
        status = save_model(job);
    job->last_checkpoint = clock_seconds();
    if (!status)
        job_emit(job, (bptt_event){.kind = BPTT_EVENT_SAVED, .text = job->checkpoint});
    return status;
}

static int checkpoint_is_due(const struct job *job)
{
    if (job->config.checkpoint_every > 0)
        return job->progress.step % job->config.checkpoint_every == 0;
    return clock_seconds() - job->last_checkpoint >= CHECKPOINT_SECONDS;
}

/* ---- validation ---- */

static int measure_valid(struct job *job, double *loss)
{
    const int32_t *token = job->token + job->tokens - job->valid_tokens;
    int64_t batch = job->config.trainer.batch, length = job->config.trainer.length,
            stretch = (job->valid_tokens - 1) / batch;
    double sum = 0;
    for (int64_t start = 0; start < stretch; start += length) {
        int64_t steps = stretch - start < length ? stretch - start : length;
        for (int64_t t = 0; t < steps; t++) {
            for (int64_t b = 0; b < batch; b++) {
                job->x[t * batch + b] = token[b * stretch + start + t];
                job->y[t * batch + b] = token[b * stretch + start + t + 1];
            }
        }
        double part;
        int status = trainer_loss(job->trainer, job->x, job->y, (long)steps, start == 0, &part, job->error);
        if (status)
            return status;
        sum += part * (double)steps;
    }
    *loss = sum / (double)stretch;
    return BPTT_OK;
}

static void decay_on_plateau(struct job *job)
{
    if (job->config.schedule != BPTT_PLATEAU || job->progress.since_decay < job->config.patience)
        return;
    job->progress.scale *= job->config.decay;
    job->progress.since_decay = 0;
    job_note(job, "no progress in %d validations: learning rate now %g", job->config.patience,
             job->rate.peak * job->progress.scale);
}

static int validate(struct job *job)
{
    struct progress *p = &job->progress;
    double loss;
    int status = measure_valid(job, &loss);
    if (status)
        return status;
    int best = !(p->best <= loss) && isfinite(loss);
    p->last_valid = loss;
    p->valid_step = p->step;
    job->model->valid_loss = loss;
    p->since_best = best ? 0 : p->since_best + 1;
    p->since_decay = best ? 0 : p->since_decay + 1;
    if (best) {
        p->best = loss;
        p->best_step = p->step;
        status = save_model(job);
    }
    if (status)
        return status;
    decay_on_plateau(job);
    status = record_valid(job, loss);
    job_emit(job, (bptt_event){.kind = BPTT_EVENT_VALID, .loss = loss, .best = best});
    return status ? status : record_sample(job);
}

/* Forward only costs about a third of a training step; validation shall take about five percent of the time, and there
 * shall be at least ten of them. Sizes alone decide, so every run of the same options validates at the same steps. */
static int64_t valid_every(const struct job *job)
{
    const bptt_train_config *c = &job->config;
    if (c->valid_every > 0)
        return c->valid_every;
    double window = (double)c->trainer.batch * (double)c->trainer.length;
    int64_t every = (int64_t)((double)job->valid_tokens / (0.15 * window));
    int64_t limit = job->progress.total > 0 ? job->progress.total / 10 : 500;
    every = every > limit ? limit : every;
    return every > 10 ? every : 10;
}

/* ---- samples ---- */

static int collect(const char *bytes, size_t length, void *user)
{
    text_append(user, bytes, length);
    return 0;
}

static int sample(struct job *job)
{
    struct text text = {0};
    bptt_sample_options options = bptt_sample_defaults();
    options.length = job->config.sample_length;
    options.seed = job->config.seed + (uint64_t)job->progress.step;
    int status = bptt_sample(job->model, &options, collect, &text, job->error);
    char *sampled = text_take(&text);
    if (!status && sampled)
        job_emit(job, (bptt_event){.kind = BPTT_EVENT_SAMPLE, .text = sampled});
    free(sampled);
    return status;
}

/* ---- one step ---- */

static void emit_step(struct job *job, double loss, double norm, double rate, int64_t first_step)
{
    const struct progress *p = &job->progress;
    double spent = clock_seconds() - job->started, steps = (double)(p->step - first_step);
    double window = (double)job->config.trainer.batch * (double)job->config.trainer.length;
    double left = p->total ? spent / steps * (double)(p->total - p->step) : job->config.minutes * 60 - job_seconds(job);
    job_emit(job, (bptt_event){.kind = BPTT_EVENT_STEP,
                               .loss = smoothed(p),
                               .step_loss = loss,
                               .norm = norm,
                               .rate = rate,
                               .tokens_per_second = steps * window / spent,
                               .seconds_left = left > 0 ? left : 0});
}

/* Back to the last checkpoint at half the rate; without one the error stands. */
static int go_back(struct job *job, const bptt_error *why)
{
    struct progress *p = &job->progress;
    int times = p->backtracks + 1;
    double scale = p->scale / 2;
    if (!job->config.backtrack || times > BACKTRACKS)
        return fail(job->error, why->code, "%s", why->text);
    int status = checkpoint_restore(job);
    if (status)
        return status;
    p->scale = scale;
    p->backtracks = times;
    job_note(job, "%s; back to step %lld, learning rate now %g", why->text, (long long)p->step,
             job->rate.peak * p->scale);
    metrics_close(&job->metrics);
    status = metrics_open(&job->metrics, job->metrics_path, p->step, job->error);
    job->has_metrics = !status;
    return status;
}

/* Recorded after going back, which takes back the lines of later steps. */
static int diverge(struct job *job, const bptt_error *why)
{
    struct nonfinite found;
    int64_t window = job->progress.step;
    int is_found = job->kept && nonfinite_find(job->trainer, job->kept, job->x, job->y, &found), status = go_back(job, why);
    if (!is_found || !job->has_metrics)
        return status;
    int recorded = record_nonfinite(job, window, &found);
    return status ? status : recorded;
}

static int report_watch(struct job *job, double loss, double norm)
{
    int64_t step = job->progress.step;
    int status = BPTT_OK;
    watch_update(job->watch, step, loss, norm);
    if (watch_due(job->watch, step)) {
        watch_finish(job->watch);
        status = record_watch(job);
    }
    for (const struct warning *w; !status && (w = watch_next(job->watch));)
        status = record_warning(job, w);
    return status;
}

static int one_step(struct job *job, int64_t first_step)
{
    struct progress *p = &job->progress;
    double loss, norm;
    bptt_error why = {0};
    job->rate.steps = p->total;
    job->rate.scale = p->scale;
    double rate = rate_at(&job->rate, p->step);
    if (batches_window(&job->batches, p->step, job->x, job->y))
        bptt_trainer_reset_state(job->trainer);
    bptt_trainer_set_rate(job->trainer, rate);
    int status = watch_due(job->watch, p->step + 1) ? watch_look(job->watch, job->x, job->y, job->error) : BPTT_OK;
    if (status)
        return status;
    if (job->kept)
        nonfinite_keep(job->trainer, job->kept);
    status = bptt_trainer_step(job->trainer, job->x, job->y, &loss, &norm, &why);
    if (status == BPTT_ERROR_NOT_FINITE)
        return diverge(job, &why);
    if (status)
        return fail(job->error, status, "%s", why.text);
    const char *chosen = job->trainer->horizon ? horizon_note(job->trainer->horizon) : NULL;
    if (chosen)
        job_note(job, "step %lld, %s", (long long)p->step, chosen);
    p->step++;
    p->average = MEMORY_OF_AVERAGE * p->average + (1 - MEMORY_OF_AVERAGE) * loss;
    p->average_weight = MEMORY_OF_AVERAGE * p->average_weight + (1 - MEMORY_OF_AVERAGE);
    emit_step(job, loss, norm, rate, first_step);
    status = record_step(job, loss, norm, rate);
    return status || !job->watch ? status : report_watch(job, loss, norm);
}

/* ---- the whole run ---- */

/* A limit in minutes becomes one in steps, once: the schedule needs the length, and a resumed run needs the same. */
static void calibrate(struct job *job)
{
    struct progress *p = &job->progress;
    double minutes = job->config.minutes;
    if (minutes <= 0 || p->minutes == minutes || p->step < CALIBRATION ||
        job_seconds(job) < CALIBRATION_SHARE * 60 * minutes)
        return;
    double step = job_seconds(job) / (double)p->step * (job->valid_tokens ? 1.06 : 1.01);
    int64_t left = (int64_t)((minutes * 60 - job_seconds(job)) / step), total = p->step + (left > 1 ? left : 1);
    p->total = p->total && p->total < total ? p->total : total;
    p->minutes = minutes;
}

static const char *reason_to_end(struct job *job)
{
    const struct progress *p = &job->progress;
    const bptt_train_config *c = &job->config;
    if (c->epochs > 0 && (double)p->step >= c->epochs * (double)batches_per_epoch(&job->batches))
        return "epochs";
    if (p->total && p->step >= p->total)
        return p->minutes > 0 && p->step != c->steps ? "minutes" : "steps";
    if (c->minutes > 0 && job_seconds(job) > 60 * c->minutes * 1.02 + 1)
        return "minutes";
    if (c->early_stop > 0 && p->since_best >= c->early_stop)
        return "early stop";
    return NULL;
}

/* After going back, or on resuming a finished run, a step comes up a second time; its validation counts once. */
static int is_measured(const struct job *job)
{
    const struct progress *p = &job->progress;
    return !isnan(p->last_valid) && p->valid_step == p->step;
}

static int between_steps(struct job *job)
{
    int64_t step = job->progress.step, every = valid_every(job);
    int status = BPTT_OK;
    if (job->valid_tokens && step % every == 0 && !is_measured(job))
        status = validate(job);
    if (!status && job->config.sample_every > 0 && step % job->config.sample_every == 0)
        status = sample(job);
    if (!status && checkpoint_is_due(job))
        status = save_checkpoint(job);
    return status;
}

static int run(struct job *job)
{
    int64_t first_step = job->progress.step;
    int status = BPTT_OK;
    while (!status && !job->stop && !(job->reason = reason_to_end(job))) {
        status = one_step(job, first_step);
        if (!status && job->progress.step < first_step)
            first_step = job->progress.step;
        calibrate(job);
        if (!status)
            status = between_steps(job);
    }
    return status;
}

static int finish(struct job *job)
{
    int status = BPTT_OK;
    if (job->stop) {
        status = save_checkpoint(job);
        return status ? status : BPTT_INTERRUPTED;
    }
    if (job->valid_tokens && !is_measured(job))
        status = validate(job);
    if (!status && isnan(job->progress.best))
        status = save_model(job);
    if (!status)
        status = save_checkpoint(job);
    job_emit(job, (bptt_event){.kind = BPTT_EVENT_END, .loss = smoothed(&job->progress)});
    return status;
}

static void report(const struct job *job, bptt_train_result *result)
{
    const struct progress *p = &job->progress;
    const struct network *net = &job->trainer->net;
    *result =
        (bptt_train_result){.step = p->step,
                            .epochs = (double)p->step / (double)batches_per_epoch(&job->batches),
                            .seconds = job_seconds(job),
                            .train_loss = smoothed(p),
                            .valid_loss = p->last_valid,
                            .best_valid_loss = p->best,
                            .best_step = p->best_step,
                            .tokens = p->step * job->config.trainer.batch * job->config.trainer.length,
                            .parameters = job->model->count,
                            .planned_bytes = (int64_t)net->plan.total + job->model->count * (int64_t)sizeof(float) +
                                             job->tokens * (int64_t)sizeof(int32_t),
                            .reason = job->stop ? "interrupted" : job->reason ? job->reason : "error"};
}

int bptt_train(const bptt_train_config *config, bptt_on_event *on_event, void *user, bptt_train_result *result,
               bptt_error *error)
{
    bptt_error own = {0};                  /* what ends the run is needed here, also by callers who do not ask */
    struct job job = {.config = *config, .on_event = on_event, .user = user, .error = &own};
    if (result)
        *result = (bptt_train_result){.train_loss = NAN, .valid_loss = NAN, .best_valid_loss = NAN, .reason = "error"};
    int status = job_open(&job);
    if (!status) {
        job.started = job.last_checkpoint = clock_seconds();
        announce(&job);
        status = record_run(&job);
        if (!status) status = job.config.backtrack && job.progress.step == 0 ? checkpoint_save(&job) : BPTT_OK;
        if (!status) status = run(&job);
        if (!status) status = finish(&job);
        status = record_end(&job, status);
        if (result)
            report(&job, result);
    }
    job_close(&job);
    if (error && !error->code)
        *error = own;
    return status;
}
