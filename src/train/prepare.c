/* prepare.c - a run before its first step: options, text, vocabulary, model, trainer, and what an earlier run left. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../data/corpus.h"
#include "job.h"

/* Found on a character model of a megabyte of plays: docs/performance.md. */
bptt_train_config bptt_train_defaults(void)
{
    bptt_trainer_config trainer = bptt_trainer_defaults();
    trainer.rate = 4e-3;
    trainer.dropout = 0.2;
    return (bptt_train_config){.size = sizeof(bptt_train_config),
                               .symbols = BPTT_CHARS,
                               .max_words = 20000,
                               .valid = 0.1,
                               .cell = "lstm",
                               .compile = 1,
                               .hidden = 512,
                               .layers = 1,
                               .forget_bias = 1,
                               .trainer = trainer,
                               .schedule = BPTT_COSINE,
                               .warmup = 100,
                               .final_rate = 0.02,
                               .decay_every = 1000,
                               .decay = 0.5,
                               .patience = 3,
                               .sample_length = 300,
                               .seed = 1};
}

/* ---- options ---- */

static int check_range(const char *name, double value, double low, double high, bptt_error *error)
{
    if (value >= low && value <= high)
        return BPTT_OK;
    return fail(error, BPTT_ERROR_ARGUMENT, "%s is %.9g; it must be between %.9g and %.9g", name, value, low, high);
}

static int check_config(const bptt_train_config *c, bptt_error *error)
{
    if (c->size != sizeof *c)
        return fail(error, BPTT_ERROR_ARGUMENT, "the configuration does not come from bptt_train_defaults");
    if (c->file_count == 0 || !c->files)
        return fail(error, BPTT_ERROR_ARGUMENT, "no text to train on: name a file");
    if (c->symbols < BPTT_CHARS || c->symbols > BPTT_WORDS || c->schedule < BPTT_CONSTANT || c->schedule > BPTT_PLATEAU)
        return fail(error, BPTT_ERROR_ARGUMENT, "unknown kind of symbols or schedule");
    const double large = 1e15;
    const struct { const char *name; double value, low, high; } ranges[] = {
        {"steps", (double)c->steps, 0, large},
        {"epochs", c->epochs, 0, 1e9},
        {"minutes", c->minutes, 0, 1e7},
        {"warm-up", (double)c->warmup, 0, large},
        {"the final share of the rate", c->final_rate, 0, 1},
        {"decay-every", (double)c->decay_every, 0, large},
        {"decay", c->decay, 0, 1},
        {"valid", c->valid, 0, 0.5},
        {"checkpoint-every", (double)c->checkpoint_every, 0, large},
        {"valid-every", (double)c->valid_every, 0, large},
        {"sample-every", (double)c->sample_every, 0, large},
        {"watch", (double)c->watch, 0, large},
        {"sample-length", (double)c->sample_length, 0, 1e9},
        {"max-words", (double)c->max_words, 1, 1 << 24},
        {"early-stop", c->early_stop, 0, 1e9},
        {"patience", c->patience, 0, 1e9},
        {"embedding", (double)c->embedding, 0, 1 << 20},
        {"learning rate", c->trainer.rate, 0, 1e6},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        int status = check_range(ranges[i].name, ranges[i].value, ranges[i].low, ranges[i].high, error);
        if (status)
            return status;
    }
    return BPTT_OK;
}

/* ---- names of files ---- */

static char *with_ending(const char *path, const char *ending)
{
    size_t length = strlen(path) + strlen(ending) + 1;
    char *name = malloc(length);
    if (name)
        snprintf(name, length, "%s%s", path, ending);
    return name;
}

static int name_files(struct job *job)
{
    const char *out = job->config.out && *job->config.out ? job->config.out : "model.safetensors";
    job->out = with_ending(out, "");
    job->checkpoint = with_ending(out, ".ckpt");
    job->metrics_path = with_ending(out, ".jsonl");
    return job->out && job->checkpoint && job->metrics_path ? BPTT_OK : fail_memory(job->error, strlen(out));
}

static int exists(const char *path)
{
    struct stat status;
    return !stat(path, &status) && S_ISREG(status.st_mode);
}

/* An earlier run's file under the same name is kept under another. */
static int put_aside(struct job *job, const char *path)
{
    if (!exists(path))
        return BPTT_OK;
    char *aside = with_ending(path, "~");
    if (!aside)
        return fail_memory(job->error, strlen(path));
    int status = rename(path, aside) ? fail_file(job->error, BPTT_ERROR_FILE, path,
                                                 "cannot keep the earlier one as %s: %s", aside, strerror(errno))
                                     : BPTT_OK;
    if (!status && !strcmp(path, job->out))
        job_note(job, "the earlier %s is kept as %s", path, aside);
    free(aside);
    return status;
}

/* ---- text ---- */

static int read_tokens(struct job *job, const char *const *files, size_t count, int build, int32_t **token,
                       int64_t *tokens)
{
    char *text;
    size_t length;
    int status = corpus_read(files, count, job->config.symbols, &text, &length, job->error);
    if (status)
        return status;
    bptt_error why = {0};
    if (build && vocabulary_build(&job->vocabulary, job->config.symbols, text, length, job->config.max_words, &why))
        status = fail_file(job->error, why.code, files[0], "%s", why.text);
    if (!status)
        status = vocabulary_encode(&job->vocabulary, text, length, files[0], token, tokens, job->error);
    free(text);
    return status;
}

static int read_valid_file(struct job *job)
{
    int32_t *token = NULL;
    int64_t count = 0;
    int status = read_tokens(job, &job->config.valid_file, 1, 0, &token, &count);
    if (status)
        return status;
    size_t bytes = size_mul((size_t)(job->tokens + count), sizeof *token);
    int32_t *both = realloc(job->token, bytes);
    if (both) {
        memcpy(both + job->tokens, token, (size_t)count * sizeof *token);
        job->token = both;
        job->tokens += count;
        job->valid_tokens = count;
    }
    free(token);
    return both ? BPTT_OK : fail_memory(job->error, bytes);
}

static int read_text(struct job *job)
{
    int status = read_tokens(job, job->config.files, job->config.file_count, 1, &job->token, &job->tokens);
    if (status)
        return status;
    job->train_tokens = job->tokens;
    if (job->config.valid_file)
        status = read_valid_file(job);
    else
        split_validation(job->tokens, job->config.valid, &job->train_tokens, &job->valid_tokens);
    if (status)
        return status;
    job->text_hash = text_hash(TEXT_HASH, job->token, (size_t)job->tokens * sizeof *job->token);
    status = batches_init(&job->batches, job->token, job->train_tokens, job->config.trainer.batch,
                          job->config.trainer.length, job->config.random_windows, job->config.seed,
                          job->config.files[0], job->error);
    if (!status && job->valid_tokens > 0 && job->valid_tokens <= job->config.trainer.batch) {
        job_note(job, "the held-out part has %lld symbols, too few for %lld rows: no validation",
                 (long long)job->valid_tokens, (long long)job->config.trainer.batch);
        job->valid_tokens = 0;
    }
    return status;
}

/* ---- model and trainer ---- */

static int open_cell(struct job *job, bptt_cell **cell)
{
    int status = bptt_cell_open(job->config.cell ? job->config.cell : "lstm", cell, job->error);
    bptt_error why = {0};
    if (!status && job->config.compile && bptt_cell_compile(*cell, &why))
        job_note(job, "the cell runs through the interpreter, which is slow: %s", why.text);
    return status;
}

static int make_model(struct job *job)
{
    const bptt_train_config *c = &job->config;
    bptt_model_config config = bptt_model_defaults();
    bptt_cell *cell;
    int status = open_cell(job, &cell);
    if (status)
        return status;
    config.cell = cell;
    config.inputs = c->embedding;
    config.vocabulary = job->vocabulary.count;
    config.hidden = c->hidden;
    config.layers = c->layers;
    config.tied = c->tied;
    config.orthogonal = c->orthogonal;
    config.forget_bias = c->forget_bias;
    config.dims = c->dims;
    config.seed = c->seed;
    status = bptt_model_new(&config, &job->model, job->error);
    bptt_cell_free(cell);
    if (status)
        return status;
    snprintf(job->model->symbols, sizeof job->model->symbols, "%s", vocabulary_kind_name(c->symbols));
    job->model->vocabulary_json = vocabulary_to_json(&job->vocabulary);
    return job->model->vocabulary_json ? BPTT_OK : fail_memory(job->error, 0);
}

static int make_trainer(struct job *job)
{
    bptt_trainer_config *config = &job->config.trainer;
    struct strategy strategy;
    int forward = !strategy_parse(config->gradient, &strategy, NULL) && strategy_is_forward(&strategy);
    if (forward && config->dropout == bptt_train_defaults().trainer.dropout && config->dropout > 0) {
        config->dropout = 0;               /* nobody asked for it */
        job_note(job, "%s runs forward, without dropout", config->gradient);
    }
    config->carry = !job->config.random_windows;
    config->seed = job->config.seed;
    job->rate = (struct rate){.schedule = job->config.schedule, .peak = config->rate, .warmup = job->config.warmup,
                              .final_share = job->config.final_rate, .decay_every = job->config.decay_every,
                              .decay = job->config.decay, .scale = 1};
    int status = bptt_trainer_new(job->model, config, &job->trainer, job->error);
    size_t window = size_mul((size_t)config->batch, (size_t)config->length);
    if (status)
        return status;
    job->x = calloc(window, sizeof *job->x);
    job->y = calloc(window, sizeof *job->y);
    if (!config->memory && !(job->kept = calloc((size_t)nonfinite_kept(job->trainer) + 1, sizeof *job->kept)))
        return fail_memory(job->error, window);
    return job->x && job->y ? BPTT_OK : fail_memory(job->error, window * sizeof *job->x);
}

static int make_watch(struct job *job)
{
    if (!job->config.watch)
        return BPTT_OK;
    if (job->config.trainer.memory)
        return fail(job->error, BPTT_ERROR_ARGUMENT,
                    "--watch takes memory that --memory does not count: leave one of them out");
    return watch_new(job->trainer, job->config.watch, &job->watch, job->error);
}

/* ---- beginning or going on ---- */

enum { DEFAULT_STEPS = 4000 };

static int64_t limit_in_steps(const struct job *job)
{
    const bptt_train_config *c = &job->config;
    int64_t by_epochs = (int64_t)ceil(c->epochs * (double)batches_per_epoch(&job->batches)), total = c->steps;
    if (c->epochs > 0 && (total == 0 || by_epochs < total))
        total = by_epochs > 0 ? by_epochs : 1;
    return total == 0 && c->minutes == 0 ? DEFAULT_STEPS : total;
}

static int begin_anew(struct job *job)
{
    job->progress = (struct progress){.best = NAN, .last_valid = NAN, .scale = 1};
    int status = put_aside(job, job->out);
    if (!status) status = put_aside(job, job->checkpoint);
    if (!status) status = put_aside(job, job->metrics_path);
    return status;
}

static int go_on(struct job *job)
{
    int status = checkpoint_load(job);
    if (!status)
        job_note(job, "going on from step %lld of %s", (long long)job->progress.step, job->checkpoint);
    return status;
}

static int take_place(struct job *job)
{
    int status = lock_take(&job->lock, job->out, job->error);
    if (status)
        return status;
    job->is_locked = 1;
    int resumes = job->config.resume && exists(job->checkpoint);
    if (job->config.resume && !resumes)
        job_note(job, "%s is not there: nothing to go on from, starting anew", job->checkpoint);
    status = resumes ? go_on(job) : begin_anew(job);
    if (status)
        return status;
    if (job->config.minutes <= 0 || job->progress.minutes != job->config.minutes) {
        job->progress.total = limit_in_steps(job);
        job->progress.minutes = 0;
    }
    job->seconds_before = job->progress.seconds;
    status = metrics_open(&job->metrics, job->metrics_path, resumes ? job->progress.step : -1, job->error);
    job->has_metrics = !status;
    return status;
}

int job_open(struct job *job)
{
    int status = check_config(&job->config, job->error);
    if (!status) status = name_files(job);
    if (!status) status = read_text(job);
    if (!status) status = make_model(job);
    if (!status) status = make_trainer(job);
    if (!status) status = make_watch(job);
    if (!status) status = take_place(job);
    return status;
}

void job_close(struct job *job)
{
    if (job->has_metrics)
        metrics_close(&job->metrics);
    if (job->is_locked)
        lock_release(&job->lock);
    watch_free(job->watch);
    bptt_trainer_free(job->trainer);
    bptt_model_free(job->model);
    vocabulary_free(&job->vocabulary);
    free(job->token);
    free(job->x);
    free(job->y);
    free(job->kept);
    free(job->out);
    free(job->checkpoint);
    free(job->metrics_path);
}
