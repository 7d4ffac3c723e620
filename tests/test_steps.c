// isa
/* test_steps.c - a stream's steps are those of a run over the window, to the last bit, in every precision: one row and several,
 * sizes that are no multiple of a vector, numbers and tokens, one layer and two, with a matrix on the state and without. */
#include <bptt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

enum { STEPS = 37 };

struct shape { const char *cell; int64_t batch, inputs, hidden, layers, vocabulary; };

static bptt_model *make_model(const struct shape *shape)
{
    bptt_error error = {0};
    bptt_cell *cell = NULL;
    bptt_model *model = NULL;
    bptt_model_config config = bptt_model_defaults();
    if (bptt_cell_open(shape->cell, &cell, &error))
        return NULL;
    config.cell = cell;
    config.inputs = shape->inputs;
    config.hidden = shape->hidden;
    config.layers = shape->layers;
    config.vocabulary = shape->vocabulary;
    config.outputs = 5;
    config.loss = shape->vocabulary ? BPTT_CROSS_ENTROPY : BPTT_MSE;
    if (shape->vocabulary)
        config.outputs = shape->vocabulary;
    if (bptt_model_new(&config, &model, &error))
        tap_note("%s", error.text);
    bptt_cell_free(cell);
    return model;
}

/* Both kinds of input have four bytes a number. */
static void *make_input(const struct shape *shape, int64_t count)
{
    int32_t *token = malloc((size_t)count * sizeof *token);
    float *x = (float *)(void *)token;
    for (int64_t i = 0; token && i < count; i++) {
        if (shape->vocabulary)
            token[i] = (int32_t)(i * 7 % shape->vocabulary);
        else
            x[i] = (float)((i * 37) % 101) / 50 - 1;
    }
    return token;
}

static int same_rows(const bptt_array *output, int64_t step, const float *y, int64_t count)
{
    const float *single = output->data;
    const double *whole = output->data;
    for (int64_t i = 0; i < count; i++)
        if (!(y[i] == (output->type == BPTT_F64 ? (float)whole[step * count + i] : single[step * count + i])))
            return 0;
    return 1;
}

static void compare(const struct shape *shape, const bptt_model *model, int precision, const char *title)
{
    int64_t width = shape->vocabulary ? 1 : shape->inputs, outputs = shape->vocabulary ? shape->vocabulary : 5;
    char *x = make_input(shape, STEPS * shape->batch * width);
    float *y = calloc((size_t)(shape->batch * outputs), sizeof *y);
    bptt_array input = {.type = shape->vocabulary ? BPTT_I32 : BPTT_F32, .rank = shape->vocabulary ? 2 : 3,
                        .shape = {STEPS, shape->batch, width}, .data = x}, output = {0};
    bptt_run_options options = bptt_run_defaults();
    bptt_stream *stream = NULL;
    bptt_error error = {0};
    options.precision = precision;
    options.threads = 2;
    int good = x && y && !bptt_run(model, &input, NULL, &output, NULL, &options, &error) &&
               !bptt_stream_new_in(model, shape->batch, precision, &stream, &error);
    for (int round = 0; round < 2 && good; round++) {
        for (int64_t t = 0; t < STEPS && good; t++)
            good = !bptt_stream_step(stream, x + t * shape->batch * width * 4, y, &error) &&
                   same_rows(&output, t, y, shape->batch * outputs);
        good = good && !bptt_stream_reset(stream);     /* and once more from the start */
    }
    tap_ok(good, "%s, B=%d I=%d H=%d L=%d%s, %s: a stream has the bits of a run%s", shape->cell, (int)shape->batch, (int)shape->inputs,
           (int)shape->hidden, (int)shape->layers, shape->vocabulary ? " tokens" : "", title, error.text);
    bptt_stream_free(stream);
    bptt_array_clear(&output);
    free(x);
    free(y);
}

static void test_refusals(const bptt_model *model)
{
    bptt_stream *stream;
    bptt_error error = {0};
    tap_ok(bptt_stream_new_in(model, 1, BPTT_I32, &stream, &error) == BPTT_ERROR_ARGUMENT && !stream, "%s", error.text);
    error = (bptt_error){0};
    tap_ok(bptt_stream_new(model, 0, &stream, &error) == BPTT_ERROR_ARGUMENT && !stream, "%s", error.text);
}

int main(void)
{
    static const struct shape shapes[] = {
        {"lstm", 1, 33, 100, 1, 0}, {"lstm", 1, 7, 7, 2, 0}, {"lstm", 3, 16, 33, 2, 0},  {"gru", 1, 100, 300, 1, 0},
        {"gru", 1, 6, 20, 2, 11},   {"rnn", 5, 3, 13, 1, 0}, {"mingru", 1, 9, 40, 2, 0}, {"lstm_layernorm", 2, 17, 18, 1, 9},
    };
    static const struct { int precision; const char *title; } kinds[] = {
        {BPTT_F32, "float32"}, {BPTT_F64, "double"}, {BPTT_BF16, "bfloat16"}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        bptt_model *model = make_model(&shapes[s]);
        if (!tap_ok(model != NULL, "a model of %s", shapes[s].cell))
            continue;
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
            compare(&shapes[s], model, kinds[k].precision, kinds[k].title);
        if (s == 0)
            test_refusals(model);
        bptt_model_free(model);
    }
    return tap_done();
}
