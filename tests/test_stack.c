// link: tests/oracle.c tests/twin.c
/* test_stack.c - whole models in double precision against the same by hand: layers on layers, an embedding, an output
 * layer and both losses. The loss to rounding, the gradient of every parameter against central differences. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oracle.h"
#include "tap.h"
#include "twin.h"

enum { STEPS = 6, ROWS = 3, LAYERS = 3, OUTPUTS = 6, WIDTH = 5, MOST = 256 };

/* Both sides add the same few hundred terms in another order. */
static const double TOLERANCE = 1e-12;

/* A central difference errs by step^2 / 6 of the third derivative, 1e-11 of it, and by the rounding of the loss, a few
 * 1e-16, divided by the step: 1e-11 or so. A deep model's mean loss has gradients down to 1e-4. */
static const double DIFFERENCE = 1e-5, DIFFERENCE_TOLERANCE = 1e-6;

struct stack {
    const char *what, *cell;
    int layers, inputs, outputs, tokens, loss, tied;
    struct twin twin;
    int layer;                                 /* the one that the oracle is in */
    double x[STEPS * ROWS * WIDTH], y[STEPS * ROWS * OUTPUTS];
    int32_t x_token[STEPS * ROWS], y_token[STEPS * ROWS];
};

static int open_stack(struct stack *s, bptt_error *error)
{
    bptt_model_config config;
    int status = twin_config(&config, s->cell, s->inputs, WIDTH, error);
    config.layers = s->layers;
    config.head = 1;
    config.outputs = s->outputs;
    config.vocabulary = s->tokens ? OUTPUTS : 0;
    config.loss = s->loss;
    config.tied = s->tied;
    return status ? status : twin_open(&s->twin, &config, 1, error);
}

static void draw_data(struct stack *s)
{
    twin_fill(&s->twin, s->x, STEPS * ROWS * WIDTH);
    twin_fill(&s->twin, s->y, STEPS * ROWS * OUTPUTS);
    for (int i = 0; i < STEPS * ROWS; i++) {
        s->x_token[i] = (int32_t)((twin_draw(&s->twin) + 1) * OUTPUTS / 2);
        s->y_token[i] = (int32_t)((twin_draw(&s->twin) + 1) * s->outputs / 2);
    }
}

/* ---- by hand ---- */

static const double *parameter(const char *name, void *user)
{
    const struct stack *s = user;
    return twin_find_in(&s->twin, s->layer, name);
}

/* -log softmax(o)[target] */
static double cross_entropy(const double *o, int n, int target)
{
    double sum = 0;
    for (int q = 0; q < n; q++)
        sum += exp(o[q]);
    return log(sum) - o[target];
}

static double square_error(const double *o, const double *y, int n)
{
    double sum = 0;
    for (int q = 0; q < n; q++)
        sum += (o[q] - y[q]) * (o[q] - y[q]) / n;
    return sum;
}

static double output_loss(struct stack *s, const double *h, int width, int at)
{
    const double *weight = twin_find(&s->twin, s->tied ? "embed.weight" : "head.weight");
    const double *bias = twin_find(&s->twin, "head.bias");
    double o[OUTPUTS];
    for (int q = 0; q < s->outputs; q++) {
        o[q] = bias[q];
        for (int k = 0; k < width; k++)
            o[q] += weight[q * width + k] * h[k];
    }
    return s->loss == BPTT_MSE ? square_error(o, s->y + at * s->outputs, s->outputs)
                               : cross_entropy(o, s->outputs, s->y_token[at]);
}

static double row_loss(struct stack *s, int row)
{
    struct oracle oracle[LAYERS];
    int width = oracle_state_width(s->cell, 0, WIDTH);
    double loss = 0;
    for (int l = 0; l < s->layers; l++)
        oracle[l] = (struct oracle){.inputs = l ? width : s->inputs, .hidden = WIDTH, .lookup = parameter, .user = s};
    for (int t = 0; t < STEPS; t++) {
        int at = t * ROWS + row;
        const double *below = s->tokens ? twin_find(&s->twin, "embed.weight") + s->x_token[at] * s->inputs
                                        : s->x + at * s->inputs;
        for (s->layer = 0; s->layer < s->layers; s->layer++) {
            oracle[s->layer].x = below;
            if (oracle_step(s->cell, &oracle[s->layer]))
                return NAN;
            below = oracle[s->layer].output;
        }
        loss += output_loss(s, below, width, at) / (STEPS * ROWS);
    }
    return loss;
}

static double loss_by_hand(struct stack *s)
{
    double loss = 0;
    for (int row = 0; row < ROWS; row++)
        loss += row_loss(s, row);
    return loss;
}

static double slope(struct stack *s, double *at)
{
    double before = *at;
    *at = before + DIFFERENCE;
    double up = loss_by_hand(s);
    *at = before - DIFFERENCE;
    double down = loss_by_hand(s);
    *at = before;
    return (up - down) / (2 * DIFFERENCE);
}

/* ---- against the library ---- */

static void compare_parameter(struct stack *s, const bptt_arrays *gradients, int i)
{
    double want[MOST];
    int n = (int)bptt_array_length(&s->twin.view[i]);
    for (int k = 0; k < n && k < MOST; k++)
        want[k] = slope(s, s->twin.value[i] + k);
    tap_near(twin_distance(bptt_arrays_find(gradients, s->twin.view[i].name), want, n), 0, DIFFERENCE_TOLERANCE,
             "%s: gradient of %s", s->what, s->twin.view[i].name);
}

static bptt_array token_array(int32_t *data)
{
    return (bptt_array){.type = BPTT_I32, .rank = 2, .shape = {STEPS, ROWS}, .data = data};
}

static int gradient(struct stack *s, double *loss, bptt_arrays *gradients, bptt_error *error)
{
    bptt_array input = s->tokens ? token_array(s->x_token) : twin_rows(s->x, STEPS, ROWS, s->inputs);
    bptt_array target = s->loss == BPTT_MSE ? twin_rows(s->y, STEPS, ROWS, s->outputs) : token_array(s->y_token);
    bptt_run_options options = twin_options();
    return bptt_gradient(s->twin.model, &input, &target, NULL, NULL, NULL, loss, gradients, &options, error);
}

static void test_stack(struct stack s)
{
    bptt_error error = {0};
    bptt_arrays gradients = {0};
    double loss = NAN;
    s.twin.random = 77;
    int status = open_stack(&s, &error);
    draw_data(&s);
    if (!status)
        status = gradient(&s, &loss, &gradients, &error);
    if (tap_ok(!status, "%s: runs", s.what)) {
        tap_near(loss, loss_by_hand(&s), TOLERANCE, "%s: the loss", s.what);
        for (int i = 0; i < s.twin.count; i++)
            compare_parameter(&s, &gradients, i);
        size_t others = (size_t)(s.layers * oracle_states(s.cell) + !s.tokens);
        tap_ok(gradients.count == (size_t)s.twin.count + others, "%s: no gradient but these, states and input", s.what);
    } else {
        tap_note("%s", error.text);
    }
    bptt_arrays_clear(&gradients);
    twin_free(&s.twin);
}

int main(void)
{
    test_stack((struct stack){.what = "two gru layers, squared error", .cell = "gru", .layers = 2, .inputs = 3,
                              .outputs = 2, .loss = BPTT_MSE});
    test_stack((struct stack){.what = "three narrow layers", .cell = "lstm_projected", .layers = 3, .inputs = 4,
                              .outputs = 4, .loss = BPTT_CROSS_ENTROPY});
    test_stack((struct stack){.what = "embedded tokens", .cell = "sru", .layers = 2, .inputs = 3, .outputs = OUTPUTS,
                              .tokens = 1, .loss = BPTT_CROSS_ENTROPY});
    test_stack((struct stack){.what = "a tied output layer", .cell = "lstm", .layers = 2, .inputs = WIDTH,
                              .outputs = OUTPUTS, .tokens = 1, .tied = 1, .loss = BPTT_CROSS_ENTROPY});
    return tap_done();
}
