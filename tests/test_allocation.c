// link: -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc
/* test_allocation.c - every allocation of a job fails once, first the first, then the second, until the job is done without
 * one failing: the job must end in BPTT_ERROR_MEMORY, with a message, leaking nothing (under the sanitizers). And stepping a
 * stream allocates nothing at all. */
#include <bptt.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

static long calls, fails_at;               /* the allocation that fails; 0: none */

static int fails(void)
{
    int now = ++calls == fails_at;
    if (now)
        errno = ENOMEM;
    return now;
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *memory, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);

void *__wrap_malloc(size_t bytes)
{
    return fails() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return fails() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *memory, size_t bytes)
{
    return fails() ? NULL : __real_realloc(memory, bytes);
}

/* ---- jobs ---- */

static int open_model(bptt_model **model, int64_t vocabulary, bptt_error *error)
{
    bptt_cell *cell;
    bptt_model_config config = bptt_model_defaults();
    int status = bptt_cell_open("lstm_projected", &cell, error);
    if (status)
        return status;
    config.cell = cell;
    config.inputs = 3;
    config.vocabulary = vocabulary;
    config.hidden = 8;
    config.layers = 2;
    config.outputs = 4;
    config.orthogonal = 1;
    status = bptt_model_new(&config, model, error);
    bptt_cell_free(cell);
    return status;
}

static int compile_and_check(bptt_error *error)
{
    bptt_cell *cell;
    bptt_check_report report;
    char *text = NULL;
    int status = bptt_cell_open("slstm", &cell, error);
    if (status)
        return status;
    status = bptt_cell_print(cell, "phases", &text, error);
    bptt_free(text);
    if (!status)
        status = bptt_cell_check(cell, 1, &report, error);
    if (!status)
        bptt_check_clear(&report);
    bptt_cell_free(cell);
    return status;
}

static int gradient(bptt_error *error)
{
    static float x[4 * 2 * 3];
    static int32_t y[4 * 2] = {0, 1, 2, 3};
    bptt_model *model;
    bptt_arrays gradients = {0}, final = {0};
    bptt_array input = {.type = BPTT_F32, .rank = 3, .shape = {4, 2, 3}, .data = x}, output = {0};
    bptt_array target = {.type = BPTT_I32, .rank = 2, .shape = {4, 2}, .data = y};
    bptt_run_options options = bptt_run_defaults();
    double loss;
    int status = open_model(&model, 0, error);
    if (status)
        return status;
    options.precision = BPTT_F64;
    options.threads = 1;
    status = bptt_gradient(model, &input, &target, NULL, NULL, NULL, &loss, &gradients, &options, error);
    if (!status)
        status = bptt_run(model, &input, NULL, &output, &final, &options, error);
    bptt_arrays_clear(&gradients);
    bptt_arrays_clear(&final);
    bptt_array_clear(&output);
    bptt_model_free(model);
    return status;
}

static int training_step(bptt_error *error)
{
    static const int32_t x[4 * 2] = {0, 1, 2, 3, 0, 1, 2, 3};
    bptt_model *model;
    bptt_trainer *trainer;
    bptt_trainer_config config = bptt_trainer_defaults();
    double loss, norm;
    int status = open_model(&model, 4, error);
    if (status)
        return status;
    config.batch = 2;
    config.length = 4;
    config.threads = 1;
    config.dropout = config.dropout_state = 0.5;
    status = bptt_trainer_new(model, &config, &trainer, error);
    if (!status) {
        status = bptt_trainer_step(trainer, x, x, &loss, &norm, error);
        bptt_trainer_free(trainer);
    }
    bptt_model_free(model);
    return status;
}

static int measurement(bptt_error *error)
{
    bptt_speed_case config = bptt_speed_defaults();
    bptt_speed speed;
    bptt_cell *cell;
    int status = bptt_cell_open("rnn", &cell, error);
    if (status)
        return status;
    config.cell = cell;
    config.hidden = config.batch = config.length = 2;
    config.layers = 2;
    config.threads = 1;
    status = bptt_measure(&config, 1, 1e-6, &speed, error);
    bptt_cell_free(cell);
    return status;
}

static int inspection(bptt_error *error)
{
    static int32_t x[8] = {0, 1, 2, 3, 0, 1, 2, 3};
    const bptt_array tokens = {.type = BPTT_I32, .rank = 2, .shape = {8, 1}, .data = x};
    bptt_inspect_options options = bptt_inspect_defaults();
    bptt_inspect_report report;
    bptt_model *model;
    char *picture = NULL;
    int status = open_model(&model, 4, error);
    if (status)
        return status;
    options.batch = options.windows = 1;
    options.threads = 1;
    status = bptt_inspect_arrays(model, &tokens, &tokens, &options, &report, error);
    if (!status) {
        status = bptt_inspect_figure(&report, &picture, error);
        bptt_free(picture);
        bptt_inspect_clear(&report);
    }
    bptt_model_free(model);
    return status;
}

/* A run's metrics with something of everything. */
static int write_metrics(const char *path)
{
    static const char lines[] =
        "{\"step\":0,\"run\":{\"version\":1,\"cell\":\"rnn\",\"gradient\":\"segments:4\",\"length\":12,\"batch\":2,\"data\":[\"a\"],\"seed\":1}}\n"
        "{\"step\":1,\"loss\":2,\"norm\":1,\"rate\":0.1,\"seconds\":1}\n{\"step\":2,\"loss\":1.5,\"norm\":1,\"rate\":0.1,\"seconds\":2}\n"
        "{\"step\":2,\"valid_loss\":1.6}\n{\"step\":2,\"watch\":{\"layers\":[{\"lag\":[1,0.5],\"at\":[0,4],\"horizon\":3,\"radius\":1.3,\"sigma\":2,"
        "\"saturated\":{\"f\":0.1},\"memory\":{\"f\":3}}],\"parameters\":{\"w\":{\"norm\":1,\"ratio\":0.1}},\"clipped\":0.1,\"truncation\":4}}\n"
        "{\"step\":2,\"warning\":{\"kind\":\"growth\",\"text\":\"it grows\",\"try\":\"--clip 1\"}}\n{\"step\":2,\"sample\":\"abc\"}\n";
    FILE *file = fopen(path, "w");
    int bad = !file || fputs(lines, file) == EOF;
    return file ? fclose(file) || bad : bad;
}

static char metrics_path[4096], page_path[4096];

static int report(bptt_error *error)
{
    const char *runs[] = {metrics_path, metrics_path};
    bptt_report *drawn;
    bptt_report_run run;
    char *svg = NULL;
    int status = bptt_report_read(runs, 1, &drawn, error);
    if (status)
        return status;
    status = bptt_report_verdict(drawn, 0, &run, error);
    for (size_t i = 0; i < bptt_report_picture_count(drawn) && !status; i++) {
        status = bptt_report_picture(drawn, i, &svg, error);
        bptt_free(svg);
    }
    bptt_report_free(drawn);
    return status ? status : bptt_report_write(runs, 2, page_path, error);
}

static void test_measure(void)
{
    bptt_speed_case config = bptt_speed_defaults();
    bptt_speed speed;
    bptt_error error = {0};
    tap_ok(bptt_measure(&config, 1, 1e-6, &speed, &error) == BPTT_ERROR_ARGUMENT, "no cell: %s", error.text);
    error = (bptt_error){0};
    config = (bptt_speed_case){0};
    tap_ok(bptt_measure(&config, 1, 1e-6, &speed, &error) == BPTT_ERROR_ARGUMENT, "no defaults: %s", error.text);
    tap_ok(!bptt_measure(NULL, 0, 1e-6, NULL, &error), "nothing to measure");
}

static void fail_each(const char *what, int (*job)(bptt_error *))
{
    enum { MOST = 100000 };
    int wrong = 0, status = BPTT_ERROR_MEMORY;
    for (fails_at = 1; fails_at < MOST && status; fails_at++) {
        bptt_error error = {0};
        calls = 0;
        status = job(&error);
        wrong += status && (status != BPTT_ERROR_MEMORY || !error.text[0]);
    }
    tap_ok(wrong == 0 && !status, "%s: each of %ld allocations may fail", what, fails_at - 2);
    fails_at = 0;
}

static void test_report(void)
{
    const char *folder = getenv("TMPDIR");
    snprintf(metrics_path, sizeof metrics_path, "%s/run.jsonl", folder ? folder : "/tmp");
    snprintf(page_path, sizeof page_path, "%s/run.html", folder ? folder : "/tmp");
    if (!tap_ok(!write_metrics(metrics_path), "metrics to report"))
        return;
    fail_each("a report", report);
    remove(metrics_path);
    remove(page_path);
}

static void test_stream(void)
{
    bptt_model *model;
    bptt_stream *stream;
    bptt_error error = {0};
    float x[3] = {0}, y[4];
    if (!tap_ok(!open_model(&model, 0, &error) && !bptt_stream_new(model, 1, &stream, &error), "a stream opens"))
        return;
    long before = calls;
    int status = 0;
    for (int i = 0; i < 100; i++)
        status |= bptt_stream_step(stream, x, y, &error);
    tap_ok(!status && before > 0 && calls == before, "a hundred steps of a stream allocate nothing");
    bptt_stream_free(stream);
    bptt_model_free(model);
}

int main(void)
{
    fail_each("a cell compiled, printed and checked", compile_and_check);
    fail_each("a gradient and a run", gradient);
    fail_each("a training step", training_step);
    fail_each("an inspection", inspection);
    fail_each("a measurement", measurement);
    test_report();
    test_measure();
    test_stream();
    return tap_done();
}
