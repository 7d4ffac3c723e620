/* subject.c - see subject.h. */
#include "subject.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

struct title title_of(const struct shape *s)
{
    struct title title;
    const char *end = strchr(s->cell, '\n');
    snprintf(title.text, sizeof title.text, "%.*s T%ld B%ld H%ld, %ld layers%s%s%s", end ? (int)(end - s->cell) : 20,
             s->cell, s->steps, s->batch, s->hidden, s->layers, s->vocabulary ? ", tokens" : "", s->tied ? ", tied" : "",
             s->dropout + s->dropout_state > 0 ? ", dropout" : "");
    return title;
}

/* ---- a model and its data ---- */

double draw(uint64_t *random)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (double)(*random >> 11) / 4503599627370496.0 - 1;
}

double *draw_doubles(uint64_t *random, long n)
{
    double *values = calloc((size_t)n + 1, sizeof *values);
    for (long i = 0; values && i < n; i++)
        values[i] = draw(random);
    return values;
}

static int32_t *draw_tokens(uint64_t *random, long n, long below)
{
    int32_t *values = calloc((size_t)n + 1, sizeof *values);
    for (long i = 0; values && i < n; i++)
        values[i] = (int32_t)((draw(random) + 1) / 2 * (double)below);
    return values;
}

/* Multiples of 2^-14, so that a weight moved by a power of two down to that is exact in single precision too. */
static void round_parameters(bptt_model *model)
{
    for (long i = 0; i < model->count; i++)
        model->data[i] = roundf(model->data[i] * 16384) / 16384;
}

static int open_model(const struct shape *shape, bptt_model **model, bptt_error *error)
{
    bptt_cell *cell;
    bptt_model_config config = bptt_model_defaults();
    int status = strchr(shape->cell, '\n') ? bptt_cell_parse(shape->cell, "test.cell", &cell, error)
                                           : bptt_cell_open(shape->cell, &cell, error);
    if (status)
        return status;
    config.cell = cell;
    config.inputs = shape->inputs;
    config.hidden = shape->hidden;
    config.layers = shape->layers;
    config.vocabulary = shape->vocabulary;
    config.head = shape->outputs > 0;
    config.outputs = shape->outputs;
    config.tied = shape->tied;
    config.loss = shape->loss;
    config.seed = 21;
    status = bptt_model_new(&config, model, error);
    bptt_cell_free(cell);
    return status;
}

void subject_free(struct subject *s)
{
    bptt_model_free(s->model);
    free(s->x);
    free(s->y);
    free(s->initial);
    free(s->final);
    free(s->token);
    free(s->target);
    *s = (struct subject){0};
}

long state_width(const bptt_model *model, int l, int i)
{
    return model->size[l][model->cell->state[i].dim];
}

int subject_open(struct subject *s, const struct shape *shape)
{
    bptt_error error = {0};
    uint64_t random = 9;
    *s = (struct subject){.shape = *shape};
    if (!tap_ok(!open_model(shape, &s->model, &error), "%s: a model %s", title_of(shape).text, error.text))
        return 0;
    round_parameters(s->model);
    long rows = shape->steps * shape->batch;
    for (int l = 0; l < s->model->layers; l++)
        for (int i = 0; i < s->model->cell->states; i++)
            s->states += shape->batch * state_width(s->model, l, i);
    s->inputs = rows * s->model->inputs;
    s->targets = rows * s->model->outputs;
    s->x = draw_doubles(&random, s->inputs);
    s->y = draw_doubles(&random, s->targets);
    s->initial = draw_doubles(&random, s->states);
    s->final = draw_doubles(&random, s->states);
    s->token = draw_tokens(&random, rows, shape->vocabulary);
    s->target = draw_tokens(&random, rows, s->model->outputs);
    for (long i = 0; i < s->states; i++) {
        s->initial[i] = 0.5 + 0.25 * s->initial[i];    /* slstm divides by a state */
        s->final[i] *= 0.01;
    }
    return s->x && s->y && s->initial && s->final && s->token && s->target;
}

/* ---- one window through a network ---- */

static float *as_floats(const double *from, long n)
{
    float *to = calloc((size_t)n + 1, sizeof *to);
    for (long i = 0; to && i < n; i++)
        to[i] = (float)from[i];
    return to;
}

void each_state(struct run *r, const struct subject *s, void ***buffers, double *rows, int set)
{
    for (int l = 0; l < s->model->layers; l++) {
        for (int i = 0; i < s->model->cell->states; i++) {
            if (set)
                network_set_state(&r->net, buffers[l][i], l, i, rows, 8);
            else
                network_get_state(&r->net, buffers[l][i], l, i, rows, 8);
            rows += s->shape.batch * state_width(s->model, l, i);
        }
    }
}

struct network_config plain_config(const struct subject *s, enum precision precision, int threads)
{
    return (struct network_config){.steps = s->shape.steps, .batch = s->shape.batch, .threads = threads,
                                   .precision = precision, .gradients = 1, .input_gradient = !s->shape.vocabulary,
                                   .dropout = s->shape.dropout, .dropout_state = s->shape.dropout_state, .seed = 4};
}

int run_open(struct run *r, const struct subject *s, struct network_config config)
{
    bptt_error error = {0};
    int doubles = config.precision == PRECISION_F64;
    *r = (struct run){.dx = calloc((size_t)s->inputs + 1, sizeof(double)), .x = as_floats(s->x, s->inputs),
                      .state = calloc((size_t)s->states + 1, sizeof(double)), .y = as_floats(s->y, s->targets),
                      .dinitial = calloc((size_t)s->states + 1, sizeof(double))};
    int status = network_new(&r->net, s->model, &config, &error);
    if (!status)
        status = network_allocate(&r->net, &error);
    const void *y = doubles ? (void *)s->y : (void *)r->y;
    r->window = (struct window){.steps = s->shape.steps, .element_size = doubles ? 8 : 4, .index = 3,
                                .training = s->shape.dropout + s->shape.dropout_state > 0,
                                .target = s->shape.loss == BPTT_MSE ? y : s->target};
    if (s->shape.vocabulary)
        r->window.token = s->token;
    else
        r->window.x = doubles ? (void *)s->x : (void *)r->x;
    if (!s->shape.vocabulary && config.gradients)
        r->window.input_gradient = r->dx;
    if (!r->dx || !r->x || !r->y || !r->state || !r->dinitial || status)
        return tap_ok(0, "%s: a network %s", title_of(&s->shape).text, error.text);
    return 1;
}

void run_close(struct run *r)
{
    if (r->net.model)
        network_free(&r->net);
    free(r->dx);
    free(r->state);
    free(r->dinitial);
    free(r->x);
    free(r->y);
}

void run_begin(struct run *r, const struct subject *s)
{
    network_load(&r->net);
    each_state(r, s, r->net.carried, s->initial, 1);
}
