/* test_train.c - training on text from beginning to end: a run that is stopped and resumed has the bits of one that
 * never was; limits, early stopping, plateaus, going back; every bad input is one clear line; then evaluation and
 * sampling against what the model's outputs say. */
// link: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
#define _GNU_SOURCE 1
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bptt.h>

#include "tap.h"

/* ---- allocations can be made to fail ---- */

struct allocations { long left; };         /* until one fails; -1: none does */
static struct allocations allocations = {.left = -1};

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);

static int allowed(void)
{
    return allocations.left < 0 || (allocations.left > 0 && allocations.left--);
}

void *__wrap_malloc(size_t size)
{
    return allowed() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return allowed() ? __real_calloc(count, size) : NULL;
}

void *__wrap_realloc(void *memory, size_t size)
{
    return allowed() ? __real_realloc(memory, size) : NULL;
}

/* ---- a folder with a text in it ---- */

struct scratch { char folder[40], text[80], valid[80], out[80], other[80]; };

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    if (!file || fputs(text, file) < 0 || fclose(file))
        tap_ok(0, "the test can write %s", path);
}

static void name(const struct scratch *s, char out[80], const char *file)
{
    snprintf(out, 80, "%s/%s", s->folder, file);
}

static void write_text(const char *path, int lines)
{
    FILE *file = fopen(path, "wb");
    for (int i = 0; file && i < lines; i++)
        fprintf(file, "%d squared is %d, and that is %s\n", i, i * i, i % 3 ? "no news" : "very good");
    if (!file || fclose(file))
        tap_ok(0, "the test can write %s", path);
}

static struct scratch scratch_new(void)
{
    struct scratch s = {.folder = "/tmp/bptt-train-XXXXXX"};
    if (!mkdtemp(s.folder))
        tap_ok(0, "a scratch folder");
    name(&s, s.text, "text");
    name(&s, s.valid, "valid");
    name(&s, s.out, "model");
    name(&s, s.other, "other");
    write_text(s.text, 60);
    return s;
}

static int is_there(const char *path, const char *ending)
{
    char whole[128];
    snprintf(whole, sizeof whole, "%s%s", path, ending);
    return !access(whole, F_OK);
}

static void take_away(const char *path)
{
    static const char *const endings[] = {"", ".ckpt", ".jsonl", "~", ".ckpt~", ".jsonl~"};
    char whole[128];
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        snprintf(whole, sizeof whole, "%s%s", path, endings[i]);
        unlink(whole);
    }
}

static int same_files(const char *one, const char *other, const char *ending)
{
    char path[128], a[4096], b[4096];
    size_t n, m;
    snprintf(path, sizeof path, "%s%s", one, ending);
    FILE *x = fopen(path, "rb");
    snprintf(path, sizeof path, "%s%s", other, ending);
    FILE *y = fopen(path, "rb");
    int same = x && y, some = 0;
    do {
        n = same ? fread(a, 1, sizeof a, x) : 0;
        m = same ? fread(b, 1, sizeof b, y) : 0;
        same &= n == m && !memcmp(a, b, n);
        some |= n > 0;
    } while (same && n > 0);
    if (x)
        fclose(x);
    if (y)
        fclose(y);
    return same && some;
}

/* The next line of a metrics file that is the same whatever the clock says and however often the run was stopped, without
 * what the clock said; "" after the last. */
static void next_metrics(FILE *file, char line[4096])
{
    while (file && fgets(line, 4096, file)) {
        char *seconds = strstr(line, ",\"seconds\":");
        if (seconds)
            *seconds = 0;
        if (!strstr(line, "\"run\":") && !strstr(line, "\"end\":"))
            return;
    }
    line[0] = 0;
}

static int same_metrics(const char *one, const char *other)
{
    char path[128], a[4096], b[4096];
    int same = 1, lines = -1;
    snprintf(path, sizeof path, "%s.jsonl", one);
    FILE *x = fopen(path, "rb");
    snprintf(path, sizeof path, "%s.jsonl", other);
    FILE *y = fopen(path, "rb");
    do {
        next_metrics(x, a);
        next_metrics(y, b);
        same &= !strcmp(a, b);
        lines++;
    } while (same && a[0]);
    if (x)
        fclose(x);
    if (y)
        fclose(y);
    return same && lines > 0;
}

static int metrics_have(const char *out, const char *what)
{
    char path[128], line[4096];
    int found = 0;
    snprintf(path, sizeof path, "%s.jsonl", out);
    FILE *file = fopen(path, "rb");
    while (file && !found && fgets(line, sizeof line, file))
        found = strstr(line, what) != NULL;
    if (file)
        fclose(file);
    return found;
}

static void has_metrics(const char *out, const char *what)
{
    tap_ok(metrics_have(out, what), "the metrics have %s", what);
}

/* ---- a run, and what it says while it runs ---- */

struct record {
    int64_t stop_at;                       /* ask to stop at this step; 0: never */
    double losses[8];                      /* of the first steps */
    int count[9], first, last;             /* events by kind; the kinds of the first and the last */
    double rate, loss, valid;              /* the last ones */
    char notes[2000], sample[400];
    int (*inner)(void *);                  /* called once, at the first step */
    void *context;
};

static int on_event(const bptt_event *event, void *user)
{
    struct record *r = user;
    r->count[event->kind]++;
    r->first = r->first ? r->first : event->kind;
    r->last = event->kind;
    if (event->kind == BPTT_EVENT_STEP) {
        r->rate = event->rate;
        r->loss = event->step_loss;
        if (event->step <= 8)
            r->losses[event->step - 1] = event->step_loss;
    }
    if (event->kind == BPTT_EVENT_VALID)
        r->valid = event->loss;
    if (event->kind == BPTT_EVENT_NOTE)
        snprintf(r->notes + strlen(r->notes), sizeof r->notes - strlen(r->notes), "%s\n", event->text);
    if (event->kind == BPTT_EVENT_SAMPLE)
        snprintf(r->sample, sizeof r->sample, "%s", event->text);
    if (r->inner && event->kind == BPTT_EVENT_STEP) {
        int (*inner)(void *) = r->inner;
        r->inner = NULL;
        inner(r->context);
    }
    return r->stop_at && event->step >= r->stop_at;
}

static bptt_train_config small(const struct scratch *s, const char *out)
{
    static const char *files[1];
    bptt_train_config config = bptt_train_defaults();
    files[0] = s->text;
    config.files = files;
    config.file_count = 1;
    config.cell = "gru";
    config.hidden = 8;
    config.trainer.batch = 3;
    config.trainer.length = 6;
    config.trainer.threads = 1;
    config.trainer.dropout = 0;
    config.trainer.rate = 0.01;
    config.warmup = 5;
    config.steps = 40;
    config.valid_every = 8;
    config.checkpoint_every = 1000;
    config.out = out;
    return config;
}

static int train(const bptt_train_config *config, struct record *record, bptt_train_result *result, bptt_error *error)
{
    *error = (bptt_error){0};
    return bptt_train(config, record ? on_event : NULL, record, result, error);
}

/* ---- stopped and resumed ---- */

static void is_resumable(const struct scratch *s, bptt_train_config config, const char *what)
{
    bptt_error error;
    bptt_train_result whole, part;
    struct record record = {.stop_at = 19};
    config.out = s->out;
    int status = train(&config, NULL, &whole, &error);
    tap_ok(status == BPTT_OK && whole.step == 40, "%s: a run of forty steps%s", what, error.text);
    config.out = s->other;
    status = train(&config, &record, &part, &error);
    tap_ok(status == BPTT_INTERRUPTED && part.step == 19, "%s: the same, stopped at nineteen", what);
    tap_text(part.reason, "interrupted", "%s: which is said", what);
    tap_ok(is_there(s->other, ".ckpt") && !is_there(s->other, ".lock"), "%s: saved and not locked", what);
    config.resume = 1;
    config.trainer.threads = 2;
    record = (struct record){.stop_at = 31};
    tap_ok(train(&config, &record, &part, &error) == BPTT_INTERRUPTED && part.step == 31,
           "%s: resumed and stopped again", what);
    status = train(&config, NULL, &part, &error);
    tap_ok(status == BPTT_OK && part.step == 40, "%s: resumed again%s", what, error.text);
    tap_ok(same_files(s->out, s->other, ""), "%s: the model has the bits of a run never stopped", what);
    tap_ok(same_metrics(s->out, s->other), "%s: so have the metrics", what);
    tap_ok(part.train_loss == whole.train_loss &&
               !memcmp(&part.best_valid_loss, &whole.best_valid_loss, sizeof(double)),
           "%s: so have the losses", what);
    status = train(&config, NULL, &part, &error);
    tap_ok(status == BPTT_OK && same_files(s->out, s->other, "") && same_metrics(s->out, s->other),
           "%s: resuming what is done changes nothing", what);
    take_away(s->out);
    take_away(s->other);
}

static void test_resuming(const struct scratch *s)
{
    bptt_train_config config = small(s, s->out);
    config.trainer.dropout = 0.2;
    config.trainer.dropout_state = 0.1;
    is_resumable(s, config, "adam, dropout");
    config = small(s, s->out);
    config.trainer.optimizer = BPTT_SGD;
    config.random_windows = 1;
    config.valid = 0;
    config.layers = 2;
    config.tied = 1;
    is_resumable(s, config, "sgd, random windows, no validation");
    config = small(s, s->out);
    config.symbols = BPTT_WORDS;
    config.schedule = BPTT_PLATEAU;
    config.patience = 1;
    config.valid_every = 3;
    config.trainer.optimizer = BPTT_RMSPROP;
    is_resumable(s, config, "words, rmsprop, plateau");
    config.trainer.rate = 1e-30;
    config.patience = 3;
    is_resumable(s, config, "a plateau between two parts");
    config = small(s, s->out);
    config.cell = "lstm";
    config.trainer.length = 1;
    config.schedule = BPTT_STEP;
    config.decay_every = 7;
    config.symbols = BPTT_BYTES;
    is_resumable(s, config, "bytes, lstm, one step a window");
    config = small(s, s->out);
    config.trainer.precision = BPTT_BF16;
    is_resumable(s, config, "bfloat16");
}

static void test_metrics(const struct scratch *s)
{
    bptt_train_config config = small(s, s->out);
    bptt_error error;
    struct record record = {.stop_at = 19};
    tap_ok(train(&config, &record, NULL, &error) == BPTT_INTERRUPTED, "a run to be looked at, stopped");
    has_metrics(s->out, "{\"step\":0,\"run\":{\"version\":1,");
    has_metrics(s->out, "\"gradient\":\"full\"");
    has_metrics(s->out, "\"seconds\":");
    has_metrics(s->out, "\"sample\":\"");
    has_metrics(s->out, "{\"step\":19,\"end\":\"interrupted\"}");
    config.resume = 1;
    tap_ok(train(&config, NULL, NULL, &error) == BPTT_OK, "and gone on with");
    has_metrics(s->out, "{\"step\":19,\"run\":{\"version\":1,");
    has_metrics(s->out, "{\"step\":40,\"end\":\"done\"}");
    take_away(s->out);
}

/* Each change of what matters is refused, by the name of its option. */
static void test_other_options(const struct scratch *s)
{
    bptt_error error;
    bptt_train_config config = small(s, s->out), other;
    struct record record = {.stop_at = 3};
    tap_ok(train(&config, &record, NULL, &error) == BPTT_INTERRUPTED, "a run to go on from");
    config.resume = 1;
#define CHANGED(field, value, part)                                                                                    \
    (other = config, other.field = (value),                                                                            \
     tap_ok(train(&other, NULL, NULL, &error) == BPTT_ERROR_ARGUMENT && strstr(error.text, part), "%s", error.text))
    CHANGED(hidden, 9, "--hidden 8, not 9");
    CHANGED(layers, 2, "--layers");
    CHANGED(embedding, 3, "--embedding");
    CHANGED(cell, "lstm", "--cell");
    CHANGED(trainer.batch, 2, "--batch");
    CHANGED(trainer.precision, BPTT_BF16, "--precision f32, not bf16");
    CHANGED(trainer.length, 5, "--length");
    CHANGED(trainer.optimizer, BPTT_SGD, "--optimizer adam, not sgd");
    CHANGED(trainer.rate, 0.02, "--lr 0.01, not 0.02");
    CHANGED(trainer.beta1, 0.8, "--beta1");
    CHANGED(trainer.clip_norm, 2, "--clip");
    CHANGED(trainer.dropout, 0.5, "--dropout 0, not 0.5");
    CHANGED(trainer.weight_decay, 0.5, "--weight-decay");
    CHANGED(schedule, BPTT_PLATEAU, "--schedule cosine, not plateau");
    CHANGED(warmup, 6, "--warmup");
    CHANGED(tied, 1, "--tied no, not yes");
    CHANGED(random_windows, 1, "--windows streams, not random");
    CHANGED(symbols, BPTT_BYTES, "--symbols chars, not bytes");
    CHANGED(valid, 0.2, "--valid");
    CHANGED(seed, 2, "--seed");
    CHANGED(dims, "R=8", "R");
#undef CHANGED
    write_text(s->valid, 61);
    const char *files[] = {s->valid};
    other = config;
    other.files = files;
    tap_ok(train(&other, NULL, NULL, &error) == BPTT_ERROR_ARGUMENT && strstr(error.text, "same files"), "%s",
           error.text);
    tap_ok(train(&config, NULL, NULL, &error) == BPTT_OK, "and the run can still go on%s", error.text);
    take_away(s->out);
}

/* ---- what a run leaves, and what it finds ---- */

static void test_files(const struct scratch *s)
{
    bptt_error error;
    bptt_train_result result;
    struct record record = {0};
    bptt_train_config config = small(s, s->out);
    config.sample_every = 20;
    config.sample_length = 30;
    config.resume = 1;
    tap_ok(train(&config, &record, &result, &error) == BPTT_OK, "--resume where there is nothing%s", error.text);
    tap_ok(strstr(record.notes, "nothing to go on from, starting anew") != NULL, "starts anew and says so");
    tap_ok(record.count[BPTT_EVENT_START] == 1 && record.last == BPTT_EVENT_END && record.count[BPTT_EVENT_END] == 1,
           "it is announced, and its end is");
    tap_ok(record.count[BPTT_EVENT_STEP] == 40 && record.count[BPTT_EVENT_VALID] == 5 &&
               record.count[BPTT_EVENT_SAMPLE] == 2,
           "40 steps, 5 validations, 2 samples");
    tap_ok(strlen(record.sample) >= 30, "a sample is thirty symbols long");
    tap_ok(is_there(s->out, "") && is_there(s->out, ".ckpt") && is_there(s->out, ".jsonl"),
           "model, checkpoint, metrics");
    tap_text(result.reason, "steps", "it ended because of its steps");
    tap_ok(result.tokens == 40 * 18 && result.parameters > 0 && result.planned_bytes > result.parameters * 4,
           "it counted");
    tap_ok(result.train_loss < log(40), "it learned something");
    config.resume = 0;
    config.seed = 2;
    record = (struct record){0};
    tap_ok(train(&config, &record, &result, &error) == BPTT_OK, "another run under the same name%s", error.text);
    tap_ok(strstr(record.notes, "is kept as") && is_there(s->out, "~") && is_there(s->out, ".ckpt~"),
           "keeps the earlier one, and says so");
    take_away(s->out);
}

struct second { const struct scratch *scratch; int status; bptt_error error; };

static int second_run(void *context)
{
    struct second *second = context;
    bptt_train_config config = small(second->scratch, second->scratch->out);
    second->status = train(&config, NULL, NULL, &second->error);
    return 0;
}

static void test_second_run(const struct scratch *s)
{
    bptt_error error;
    struct second second = {.scratch = s};
    struct record record = {.inner = second_run, .context = &second};
    bptt_train_config config = small(s, s->out);
    tap_ok(train(&config, &record, NULL, &error) == BPTT_OK, "a run%s", error.text);
    tap_ok(second.status == BPTT_ERROR_BUSY && strstr(second.error.text, s->out), "a second one to the same file: %s",
           second.error.text);
    take_away(s->out);
}

/* ---- epochs ---- */

/* With a rate of 0 the second pass over the text is the first one again, if it starts from the same state. */
static void test_epochs(const struct scratch *s)
{
    bptt_error error;
    bptt_train_result result;
    struct record record = {0};
    bptt_train_config config = small(s, s->out);
    config.trainer.length = 200;
    config.trainer.rate = 0;
    config.steps = 6;
    tap_ok(train(&config, &record, &result, &error) == BPTT_OK && result.epochs == 2, "two epochs of three windows%s",
           error.text);
    tap_ok(!memcmp(record.losses, record.losses + 3, 3 * sizeof(double)), "the state starts anew with each");
    tap_ok(record.losses[0] != record.losses[1], "windows differ");
    take_away(s->out);
}

/* ---- limits ---- */

static void test_limits(const struct scratch *s)
{
    bptt_error error;
    bptt_train_result result, again;
    bptt_train_config config = small(s, s->out);
    config.steps = 0;
    config.epochs = 0.5;
    tap_ok(train(&config, NULL, &result, &error) == BPTT_OK, "half an epoch%s", error.text);
    /* 2146 symbols to train on, 715 steps of each row, 119 windows: 59.5 of them */
    tap_ok(result.step == 60, "is %lld steps", (long long)result.step);
    tap_text(result.reason, "epochs", "ended because of its epochs");
    config.steps = 7;
    tap_ok(train(&config, NULL, &result, &error) == BPTT_OK && result.step == 7, "the first limit counts");
    tap_text(result.reason, "steps", "and is named");
    take_away(s->out);
    config = small(s, s->out);
    config.steps = 0;
    config.minutes = 0.004;
    tap_ok(train(&config, NULL, &result, &error) == BPTT_OK, "a quarter of a second%s", error.text);
    tap_ok(result.step >= 20, "is %lld steps", (long long)result.step);
    tap_text(result.reason, "minutes", "ended because of its minutes");
    tap_ok(result.seconds < 10, "in time, %.3f s", result.seconds);
    config.resume = 1;
    tap_ok(train(&config, NULL, &again, &error) == BPTT_OK && again.step == result.step,
           "resumed it has no time left%s", error.text);
    config.minutes = 0.008;
    tap_ok(train(&config, NULL, &again, &error) == BPTT_OK && again.step > result.step,
           "with more minutes it goes on%s", error.text);
    take_away(s->out);
    config.resume = 0;
    config.steps = 25;
    config.minutes = 10;
    tap_ok(train(&config, NULL, &result, &error) == BPTT_OK && result.step == 25, "steps within minutes");
    tap_text(result.reason, "steps", "ended because of its steps");
    take_away(s->out);
}

static void test_early_stop(const struct scratch *s)
{
    bptt_error error;
    bptt_train_result result;
    struct record record = {0};
    bptt_train_config config = small(s, s->out);
    config.trainer.rate = 0;
    config.early_stop = 2;
    tap_ok(train(&config, &record, &result, &error) == BPTT_OK && result.step == 24 && result.best_step == 8,
           "without progress it stops after two more validations");
    tap_text(result.reason, "early stop", "and says why");
    take_away(s->out);
    config.early_stop = 0;
    config.schedule = BPTT_PLATEAU;
    config.patience = 2;
    config.decay = 0.25;
    config.warmup = 0;
    config.trainer.rate = 1e-30;
    record = (struct record){0};
    tap_ok(train(&config, &record, &result, &error) == BPTT_OK && result.step == 40, "a plateau");
    tap_near(record.rate / 1e-30, 0.25, 1e-9, "after two validations without progress the rate is a quarter");
    tap_ok(strstr(record.notes, "learning rate now 2.5e-31") != NULL, "which is said");
    take_away(s->out);
}

/* ---- not finite ---- */

static bptt_train_config exploding(const struct scratch *s)
{
    bptt_train_config config = small(s, s->out);
    config.cell = "rnn_relu";
    config.trainer.optimizer = BPTT_SGD;
    config.trainer.clip_norm = 0;
    config.trainer.rate = 40;
    config.trainer.momentum = 0.9;
    config.schedule = BPTT_CONSTANT;
    config.warmup = 0;
    config.valid = 0;
    config.steps = 60;
    config.trainer.length = 30;
    return config;
}

static void test_not_finite(const struct scratch *s)
{
    bptt_error error;
    bptt_train_result result;
    struct record record = {0};
    bptt_train_config config = exploding(s);
    config.checkpoint_every = 1;
    int status = train(&config, &record, &result, &error);
    tap_ok(status == BPTT_ERROR_NOT_FINITE && strstr(error.text, "step") && strstr(error.text, "layer 0"), "%s",
           error.text);
    tap_ok(strstr(error.text, "--clip") != NULL, "with advice");
    tap_text(result.reason, "error", "the result says so");
    tap_ok(result.step == 0 || is_there(s->out, ".ckpt"), "the last good checkpoint is there");
    take_away(s->out);
    config.backtrack = 1;
    config.checkpoint_every = 10;
    status = train(&config, &record, &result, &error);
    tap_ok(status == BPTT_OK && result.step == 60 && isfinite(result.train_loss),
           "going back with lower rates it ends well%s", error.text);
    tap_ok(strstr(record.notes, "back to step") && strstr(record.notes, "learning rate now 20"),
           "each time at half the rate, which is said");
    tap_ok(record.rate < 40, "the rate is %g now", record.rate);
    take_away(s->out);
    config.trainer.rate = 1e6;
    status = train(&config, NULL, &result, &error);
    tap_ok(status == BPTT_ERROR_NOT_FINITE, "it does not go back for ever");
    take_away(s->out);
}

/* ---- bad input ---- */

static void bad(bptt_train_config config, int code, const char *part)
{
    bptt_error error;
    bptt_train_result result;
    int status = train(&config, NULL, &result, &error);
    int well = status == code && error.code == code && strstr(error.text, part) && !strchr(error.text, '\n') &&
               !is_there(config.out, "") && !is_there(config.out, ".ckpt") && !is_there(config.out, ".lock");
    tap_ok(well, "%s", error.text);
    if (!well)
        tap_note("status %d, wanted %d and '%s'; or files are left", status, code, part);
}

static void test_bad_input(const struct scratch *s)
{
    bptt_train_config config;
    char far[96];
    snprintf(far, sizeof far, "%s/nowhere/model", s->folder);
    write_file(s->valid, "a \xe2\x82\xac sign\n");
#define BAD(field, value, code, part) (config = small(s, s->out), config.field = (value), bad(config, code, part))
    BAD(size, 3, BPTT_ERROR_ARGUMENT, "bptt_train_defaults");
    BAD(file_count, 0, BPTT_ERROR_ARGUMENT, "no text");
    BAD(symbols, 7, BPTT_ERROR_ARGUMENT, "symbols");
    BAD(cell, "lstn", BPTT_ERROR_ARGUMENT, "lstn");
    BAD(cell, "nowhere/x.cell", BPTT_ERROR_FILE, "nowhere/x.cell");
    BAD(hidden, 0, BPTT_ERROR_ARGUMENT, "hidden is 0");
    BAD(hidden, -1, BPTT_ERROR_ARGUMENT, "hidden is -1");
    BAD(hidden, (int64_t)1 << 60, BPTT_ERROR_ARGUMENT, "hidden");
    BAD(hidden, 1 << 20, BPTT_ERROR_ARGUMENT, "parameters");
    BAD(layers, 0, BPTT_ERROR_ARGUMENT, "layers is 0");
    BAD(layers, 100000, BPTT_ERROR_ARGUMENT, "layers");
    BAD(embedding, -2, BPTT_ERROR_ARGUMENT, "embedding");
    BAD(dims, "Q=2", BPTT_ERROR_ARGUMENT, "Q");
    BAD(trainer.batch, 0, BPTT_ERROR_ARGUMENT, "batch");
    BAD(trainer.batch, 100000, BPTT_ERROR_ARGUMENT, "too short");
    BAD(trainer.length, 0, BPTT_ERROR_ARGUMENT, "length");
    BAD(trainer.length, 100000, BPTT_ERROR_ARGUMENT, "too short");
    BAD(trainer.rate, NAN, BPTT_ERROR_ARGUMENT, "learning rate");
    BAD(trainer.dropout, 1, BPTT_ERROR_ARGUMENT, "dropout");
    BAD(valid, 0.6, BPTT_ERROR_ARGUMENT, "valid");
    BAD(valid, NAN, BPTT_ERROR_ARGUMENT, "valid");
    BAD(steps, -1, BPTT_ERROR_ARGUMENT, "steps");
    BAD(epochs, -1, BPTT_ERROR_ARGUMENT, "epochs");
    BAD(minutes, INFINITY, BPTT_ERROR_ARGUMENT, "minutes");
    BAD(schedule, 0, BPTT_ERROR_ARGUMENT, "schedule");
    BAD(valid_file, s->valid, BPTT_ERROR_FORMAT, s->valid);
    BAD(valid_file, "nowhere.txt", BPTT_ERROR_FILE, "nowhere.txt");
    BAD(out, far, BPTT_ERROR_FILE, far);
    BAD(tied, (config.embedding = 3, 1), BPTT_ERROR_ARGUMENT, "tied");
#undef BAD
}

static void test_damaged_checkpoint(const struct scratch *s)
{
    bptt_error error;
    char path[96];
    struct record record = {.stop_at = 3};
    bptt_train_config config = small(s, s->out);
    tap_ok(train(&config, &record, NULL, &error) == BPTT_INTERRUPTED, "a run to go on from");
    snprintf(path, sizeof path, "%s.ckpt", s->out);
    config.resume = 1;
    bptt_model *model = NULL;
    int status = bptt_model_load(path, &model, &error);
    tap_ok(status == BPTT_OK, "a checkpoint is a model");
    status = bptt_model_save(model, path, &error);
    tap_ok(status == BPTT_OK && train(&config, NULL, NULL, &error) == BPTT_ERROR_FORMAT && strstr(error.text, path),
           "%s", error.text);
    write_file(path, "no checkpoint");
    tap_ok(train(&config, NULL, NULL, &error) == BPTT_ERROR_FORMAT && strstr(error.text, path), "%s", error.text);
    bptt_model_free(model);
    take_away(s->out);
}

/* ---- evaluation ---- */

static bptt_model *trained_model(const struct scratch *s, bptt_train_config config, bptt_train_result *result)
{
    bptt_error error;
    bptt_model *model = NULL;
    int status = train(&config, NULL, result, &error);
    if (!status)
        status = bptt_model_load(s->out, &model, &error);
    tap_ok(status == BPTT_OK, "a trained model%s", error.text);
    take_away(s->out);
    return model;
}

/* The mean loss of a row of outputs against the tokens that follow, in double precision. */
static double loss_of(const bptt_array *output, const int32_t *token)
{
    double sum = 0;
    for (int64_t t = 0; t < output->shape[0]; t++) {
        const double *o = (const double *)output->data + t * output->shape[2];
        double total = 0;
        for (int64_t j = 0; j < output->shape[2]; j++)
            total += exp(o[j]);
        sum += log(total) - o[token[t + 1]];
    }
    return sum / (double)output->shape[0];
}

static void test_eval(const struct scratch *s)
{
    bptt_error error = {0};
    bptt_train_result result;
    bptt_eval_result eval = {0}, other = {0};
    bptt_train_config config = small(s, s->out);
    write_text(s->valid, 25);
    config.valid_file = s->valid;
    config.symbols = BPTT_BYTES;
    bptt_model *model = trained_model(s, config, &result);
    const char *files[] = {s->valid, s->valid};
    int status = bptt_eval(model, files, 1, 3, 1, &eval, &error);
    tap_ok(status == BPTT_OK, "evaluation%s", error.text);
    tap_near(eval.loss, result.best_valid_loss, 1e-6, "in as many rows it is the validation loss of the best model");
    char text[4096];
    int32_t token[4096];
    FILE *file = fopen(s->valid, "rb");
    size_t length = file ? fread(text, 1, sizeof text, file) : 0;
    if (file)
        fclose(file);
    for (size_t i = 0; i < length; i++)
        token[i] = (unsigned char)text[i];
    bptt_array input = {.type = BPTT_I32, .rank = 2, .shape = {(int64_t)length - 1, 1}, .data = token}, output = {0};
    bptt_run_options options = bptt_run_defaults();
    options.precision = BPTT_F64;
    status = bptt_run(model, &input, NULL, &output, NULL, &options, &error);
    if (!status)
        status = bptt_eval(model, files, 1, 1, 2, &eval, &error);
    tap_ok(!status && eval.tokens == (int64_t)length - 1, "one stream predicts every symbol but the first");
    tap_near(eval.loss, status ? NAN : loss_of(&output, token), 1e-6,
             "its loss is that of the outputs, in double precision");
    tap_near(eval.bits, eval.loss / log(2), 1e-12, "bits");
    tap_near(eval.perplexity, exp(eval.loss), 1e-12, "perplexity");
    status = bptt_eval(model, files, 2, 1, 1, &other, &error);
    tap_ok(!status && other.tokens == 2 * (int64_t)length - 1, "two files are joined");
    tap_ok(bptt_eval(model, files, 0, 1, 1, &other, &error) == BPTT_ERROR_ARGUMENT, "no file: %s", error.text);
    error = (bptt_error){0};
    tap_ok(bptt_eval(model, files, 1, 5000, 1, &other, &error) == BPTT_ERROR_ARGUMENT && strstr(error.text, "--batch"),
           "%s", error.text);
    write_file(s->valid, "x");
    error = (bptt_error){0};
    tap_ok(bptt_eval(model, files, 1, 1, 1, &other, &error) == BPTT_ERROR_ARGUMENT &&
               strstr(error.text, "nothing to predict"),
           "%s", error.text);
    bptt_array_clear(&output);
    bptt_model_free(model);
}

/* ---- sampling ---- */

struct collected { char text[600]; size_t length; int calls, stop_after; };

static int collect(const char *bytes, size_t length, void *user)
{
    struct collected *c = user;
    if (c->length + length < sizeof c->text) {
        memcpy(c->text + c->length, bytes, length);
        c->length += length;
        c->text[c->length] = '\0';
    }
    return ++c->calls == c->stop_after;
}

static struct collected sampled(const bptt_model *model, const bptt_sample_options *options, bptt_error *error)
{
    struct collected c = {0};
    *error = (bptt_error){0};
    bptt_sample(model, options, collect, &c, error);
    return c;
}

/* By hand, byte by byte: the most likely one that follows. */
static void most_likely(const bptt_model *model, const char *prompt, int count, char *out)
{
    bptt_stream *stream = NULL;
    float logit[256];
    int32_t token = 0;
    if (bptt_stream_new(model, 1, &stream, NULL))
        return;
    for (const char *p = prompt; *p; p++) {
        token = (unsigned char)*p;
        bptt_stream_step(stream, &token, logit, NULL);
    }
    for (int i = 0; i < count; i++) {
        token = 0;
        for (int32_t j = 1; j < 256; j++)
            token = logit[j] > logit[token] ? j : token;
        out[i] = (char)token;
        out[i + 1] = '\0';
        bptt_stream_step(stream, &token, logit, NULL);
    }
    bptt_stream_free(stream);
}

static void test_sample(const struct scratch *s)
{
    bptt_error error;
    bptt_train_config config = small(s, s->out);
    bptt_sample_options options = bptt_sample_defaults();
    bptt_train_result result;
    config.symbols = BPTT_BYTES;
    config.steps = 300;
    bptt_model *model = trained_model(s, config, &result);
    char want[64] = "";
    options.prompt = "12 sq";
    options.length = 40;
    options.temperature = 0;
    most_likely(model, options.prompt, 40, want);
    tap_text(sampled(model, &options, &error).text, want, "temperature 0: always the most likely symbol");
    options.temperature = 5;
    options.top_k = 1;
    tap_text(sampled(model, &options, &error).text, want, "of one symbol the choice is easy");
    options.top_k = 0;
    options.top_p = 1e-9;
    tap_text(sampled(model, &options, &error).text, want, "so it is of the smallest share");
    options.top_p = 1;
    struct collected one = sampled(model, &options, &error), two = sampled(model, &options, &error);
    tap_ok(one.calls == 40 && !strcmp(one.text, two.text) && strcmp(one.text, want), "one seed, one text");
    options.seed = 2;
    two = sampled(model, &options, &error);
    tap_ok(strcmp(one.text, two.text) != 0, "another seed, another text");
    options.temperature = 1e6;
    options.length = 300;
    two = sampled(model, &options, &error);
    int kinds = 0;
    for (int i = 1; i < 256; i++)
        kinds += memchr(two.text, i, two.length) != NULL;
    tap_ok(kinds > 140, "each symbol is a draw of its own: %d kinds of 255 when all are as likely", kinds);
    options.length = 0;
    tap_ok(sampled(model, &options, &error).calls == 0 && !error.code, "no symbols are no symbols");
    options.length = 40;
    struct collected stopped = {.stop_after = 3};
    tap_ok(bptt_sample(model, &options, collect, &stopped, NULL) == BPTT_OK && stopped.calls == 3,
           "the caller may stop");
    bptt_model_free(model);
}

/* How often each symbol is drawn is as often as its probability says. */
static void test_frequencies(const struct scratch *s, double temperature)
{
    enum { DRAWS = 3000 };
    bptt_train_config config = small(s, s->out);
    bptt_sample_options options = bptt_sample_defaults();
    bptt_train_result result;
    bptt_error error;
    config.symbols = BPTT_BYTES;
    config.steps = 200;
    bptt_model *model = trained_model(s, config, &result);
    bptt_stream *stream = NULL;
    float logit[256];
    int count[256] = {0};
    double total = 0, worst = 0;
    int32_t token = 'i';
    bptt_stream_new(model, 1, &stream, NULL);
    bptt_stream_step(stream, &token, logit, NULL);
    for (int i = 0; i < 256; i++)
        total += exp(logit[i] / temperature);
    options.prompt = "i";
    options.length = 1;
    options.temperature = temperature;
    for (int i = 0; i < DRAWS; i++) {
        options.seed = (uint64_t)i;
        count[(unsigned char)sampled(model, &options, &error).text[0]]++;
    }
    for (int i = 0; i < 256; i++) {
        double p = exp(logit[i] / temperature) / total, deviation = sqrt(p * (1 - p) / DRAWS) + 1e-3;
        worst = fmax(worst, fabs(count[i] / (double)DRAWS - p) / deviation);
    }
    /* 256 counts: one of them five deviations off is expected once in ten thousand tests; the seeds are fixed */
    tap_ok(worst < 5, "temperature %g: symbols come as often as their probabilities say (%.1f deviations)", temperature,
           worst);
    bptt_stream_free(stream);
    bptt_model_free(model);
}

static void test_prompts(const struct scratch *s)
{
    bptt_error error;
    bptt_train_result result;
    bptt_sample_options options = bptt_sample_defaults();
    bptt_train_config config = small(s, s->out);
    bptt_model *model = trained_model(s, config, &result);
    options.length = 5;
    tap_ok(sampled(model, &options, &error).length == 5, "without a prompt");
    options.prompt = "no \xe2\x82\xac";
    tap_ok(sampled(model, &options, &error).calls == 0 && strstr(error.text, "prompt") &&
               strstr(error.text, "\xe2\x82\xac"),
           "%s", error.text);
    options.prompt = "\xff";
    tap_ok(sampled(model, &options, &error).calls == 0 && error.code, "%s", error.text);
    options.prompt = "is";
    options.temperature = NAN;
    tap_ok(sampled(model, &options, &error).calls == 0 && error.code == BPTT_ERROR_ARGUMENT, "%s", error.text);
    options.temperature = 1;
    options.top_p = 0;
    tap_ok(sampled(model, &options, &error).calls == 0 && error.code == BPTT_ERROR_ARGUMENT, "top-p of nothing");
    options.top_p = 1;
    options.length = -1;
    tap_ok(sampled(model, &options, &error).calls == 0 && error.code == BPTT_ERROR_ARGUMENT, "a negative length");
    bptt_model_free(model);
    config.symbols = BPTT_WORDS;
    model = trained_model(s, config, &result);
    options = bptt_sample_defaults();
    options.length = 20;
    options.prompt = "squared is never seen";
    struct collected words = sampled(model, &options, &error);
    tap_ok(!error.code && words.calls == 20 && (strchr(words.text, ' ') || strchr(words.text, '\n')),
           "words stand apart");
    bptt_model_free(model);
}

static void test_no_text_model(void)
{
    bptt_error error = {0};
    bptt_cell *cell = NULL;
    bptt_model *model = NULL;
    bptt_model_config config = bptt_model_defaults();
    bptt_cell_open("rnn", &cell, NULL);
    config.cell = cell;
    config.inputs = 2;
    config.outputs = 1;
    config.loss = BPTT_MSE;
    int status = bptt_model_new(&config, &model, NULL);
    tap_ok(!status && bptt_sample(model, NULL, collect, NULL, &error) == BPTT_ERROR_ARGUMENT, "%s", error.text);
    bptt_model_free(model);
    bptt_cell_free(cell);
}

/* ---- memory that runs out ---- */

static void test_failing_allocations(const struct scratch *s)
{
    bptt_error error;
    bptt_train_config config = small(s, s->out);
    long count = 0;
    int status, good = 1;
    config.steps = 2;
    config.valid_every = 1;
    config.sample_every = 1;
    config.sample_length = 2;
    config.watch = 1;
    do {
        allocations.left = count++;
        status = train(&config, NULL, NULL, &error);
        allocations.left = -1;
        good &= status == BPTT_OK || (error.code == status && error.text[0] && !is_there(s->out, ".lock"));
    } while (status && count < 100000);
    tap_ok(good && !status && count > 50, "memory may run out at each of the %ld allocations of a run", count - 1);
    take_away(s->out);
}

int main(void)
{
    struct scratch s = scratch_new();
    char command[64];
    test_resuming(&s);
    test_metrics(&s);
    test_other_options(&s);
    test_files(&s);
    test_second_run(&s);
    test_epochs(&s);
    test_limits(&s);
    test_early_stop(&s);
    test_not_finite(&s);
    test_bad_input(&s);
    test_damaged_checkpoint(&s);
    test_eval(&s);
    test_sample(&s);
    test_frequencies(&s, 1);
    test_frequencies(&s, 0.7);
    test_prompts(&s);
    test_no_text_model();
    test_failing_allocations(&s);
    snprintf(command, sizeof command, "rm -rf %s", s.folder);
    if (system(command))
        tap_note("could not remove %s", s.folder);
    return tap_done();
}
