// link: tests/oracle.c tests/twin.c
/* test_oracle.c - every built-in cell in double precision, against the hand-written steps of oracle.c: outputs and
 * last states of bptt_run, for no step at all, one, a few and many, one row and several, even and odd widths; and every
 * number that bptt_gradient gives, against central differences of the hand-written steps. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oracle.h"
#include "tap.h"
#include "twin.h"

enum { INPUTS = 3, MOST = ORACLE_WIDTH * ORACLE_WIDTH, STEPS = 100, GRADIENT_STEPS = 7, ROWS = 3 };

/* Both sides add the same terms in another order; through a hundred steps of a cell that does not amplify, a few
 * thousand roundings of 1e-16 each. */
static const double TOLERANCE = 1e-12;

/* A central difference errs by step^2 / 6 of the third derivative, 1e-13 of it, and by the rounding of the loss, a few
 * 1e-16, divided by the step: 1e-9 or so, beside gradients that are seldom below 1e-2. */
static const double DIFFERENCE = 1e-6, DIFFERENCE_TOLERANCE = 1e-6;

struct one {
    const char *cell;
    int hidden;
    struct twin twin;
    double x[STEPS * ROWS * INPUTS];
    double start[ORACLE_STATES][ROWS * ORACLE_WIDTH];
    double dy[GRADIENT_STEPS * ROWS * ORACLE_WIDTH], dfinal[ORACLE_STATES][ROWS * ORACLE_WIDTH];
};

/* ---- the model ---- */

static const double *parameter(const char *name, void *user)
{
    return twin_find_in(&((struct one *)user)->twin, 0, name);
}

static int open_model(struct one *o)
{
    bptt_error error = {0};
    bptt_model_config config;
    int status = twin_config(&config, o->cell, INPUTS, o->hidden, &error);
    if (!status)                           /* +-1/sqrt(H) keeps states small */
        status = twin_open(&o->twin, &config, 1 / sqrt(o->hidden), &error);
    if (!tap_ok(!status, "%s: a model of width %d", o->cell, o->hidden))
        tap_note("%s", error.text);
    return status;
}

/* ---- the two runs ---- */

/* An sLSTM's normaliser is a sum of exponentials, so positive; the other states take any value. */
static void draw_data(struct one *o)
{
    twin_fill(&o->twin, o->x, STEPS * ROWS * INPUTS);
    twin_fill(&o->twin, o->dy, GRADIENT_STEPS * ROWS * ORACLE_WIDTH);
    for (int s = 0; s < ORACLE_STATES; s++) {
        twin_fill(&o->twin, o->start[s], ROWS * ORACLE_WIDTH);
        twin_fill(&o->twin, o->dfinal[s], ROWS * ORACLE_WIDTH);
        for (int i = 0; i < ROWS * ORACLE_WIDTH && !strcmp(o->cell, "slstm") && s == 2; i++)
            o->start[s][i] += 1.5;
    }
}

/* A set of states as the library takes it, around arrays of ours. */
static bptt_arrays state_set(struct one *o, double data[][ROWS * ORACLE_WIDTH], int rows, bptt_array *items)
{
    bptt_arrays set = {.count = (size_t)oracle_states(o->cell), .items = items};
    for (int s = 0; s < oracle_states(o->cell); s++) {
        char name[32];
        snprintf(name, sizeof name, "layers.0.%c", oracle_state_name(o->cell, s));
        items[s] = twin_state(name, data[s], rows, oracle_state_width(o->cell, s, o->hidden));
    }
    return set;
}

static double distance(double got, double want)
{
    return fabs(got - want) / (1 + fabs(want));
}

/* NaN stays: fmax would drop it. */
static double larger(double a, double b)
{
    return !(b <= a) ? b : a;
}

static void start_row(struct one *o, struct oracle *oracle, int row, int started)
{
    *oracle = (struct oracle){.inputs = INPUTS, .hidden = o->hidden, .lookup = parameter, .user = o};
    for (int s = 0; s < oracle_states(o->cell) && started; s++) {
        int n = oracle_state_width(o->cell, s, o->hidden);
        memcpy(oracle->state[s], o->start[s] + row * n, (size_t)n * sizeof(double));
    }
}

/* The largest error of one row: every output and the last states. */
static double row_error(struct one *o, int steps, int rows, int row, int started, const bptt_array *output,
                        const bptt_arrays *final)
{
    struct oracle oracle;
    int width = oracle_state_width(o->cell, 0, o->hidden);
    double worst = 0;
    start_row(o, &oracle, row, started);
    for (int t = 0; t < steps; t++) {
        oracle.x = o->x + (t * rows + row) * INPUTS;
        if (oracle_step(o->cell, &oracle))
            return NAN;
        for (int k = 0; k < width; k++)
            worst = larger(worst, distance(((double *)output->data)[(t * rows + row) * width + k], oracle.output[k]));
    }
    for (int s = 0; s < oracle_states(o->cell); s++) {
        char name[32];
        snprintf(name, sizeof name, "layers.0.%c", oracle_state_name(o->cell, s));
        const bptt_array *last = bptt_arrays_find(final, name);
        int n = oracle_state_width(o->cell, s, o->hidden);
        for (int k = 0; k < n; k++)
            worst = larger(worst, last ? distance(((double *)last->data)[row * n + k], oracle.state[s][k]) : NAN);
    }
    return worst;
}

static void compare(struct one *o, int steps, int rows, int started)
{
    bptt_error error = {0};
    bptt_array items[ORACLE_STATES], output = {0};
    bptt_arrays initial = state_set(o, o->start, rows, items), final = {0};
    bptt_array input = twin_rows(o->x, steps, rows, INPUTS);
    bptt_run_options options = twin_options();
    int status = bptt_run(o->twin.model, &input, started ? &initial : NULL, &output, &final, &options, &error);
    double worst = status ? NAN : 0;
    for (int row = 0; row < rows && !status; row++)
        worst = larger(worst, row_error(o, steps, rows, row, started, &output, &final));
    tap_near(worst, 0, TOLERANCE, "%s: H=%d T=%d B=%d %s", o->cell, o->hidden, steps, rows,
             started ? "from a given state" : "from the cell's own start");
    if (status)
        tap_note("%s", error.text);
    bptt_array_clear(&output);
    bptt_arrays_clear(&final);
}

/* ---- gradients: of L = sum dy . y + sum dfinal . (last states) ---- */

static double sum_of_products(const double *a, const double *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static double row_loss(struct one *o, int row)
{
    struct oracle oracle;
    int width = oracle_state_width(o->cell, 0, o->hidden);
    double loss = 0;
    start_row(o, &oracle, row, 1);
    for (int t = 0; t < GRADIENT_STEPS; t++) {
        oracle.x = o->x + (t * ROWS + row) * INPUTS;
        if (oracle_step(o->cell, &oracle))
            return NAN;
        loss += sum_of_products(oracle.output, o->dy + (t * ROWS + row) * width, width);
    }
    for (int s = 0; s < oracle_states(o->cell); s++) {
        int n = oracle_state_width(o->cell, s, o->hidden);
        loss += sum_of_products(oracle.state[s], o->dfinal[s] + row * n, n);
    }
    return loss;
}

static double slope(struct one *o, double *at)
{
    double before = *at, loss[2] = {0, 0};
    for (int side = 0; side < 2; side++) {
        *at = before + (side ? -DIFFERENCE : DIFFERENCE);
        for (int row = 0; row < ROWS; row++)
            loss[side] += row_loss(o, row);
    }
    *at = before;
    return (loss[0] - loss[1]) / (2 * DIFFERENCE);
}

/* Every number of one gradient. */
static void compare_gradient(struct one *o, const bptt_arrays *gradients, const char *name, double *values, int n)
{
    double want[MOST];
    for (int i = 0; i < n && i < MOST; i++)
        want[i] = slope(o, values + i);
    tap_near(twin_distance(bptt_arrays_find(gradients, name), want, n), 0, DIFFERENCE_TOLERANCE,
             "%s: H=%d gradient of %s", o->cell, o->hidden, name);
}

static void compare_gradients(struct one *o, const bptt_arrays *gradients)
{
    char name[64];
    for (int i = 0; i < o->twin.count; i++) {
        const bptt_array *view = &o->twin.view[i];
        compare_gradient(o, gradients, view->name, o->twin.value[i], (int)bptt_array_length(view));
    }
    compare_gradient(o, gradients, "input", o->x, GRADIENT_STEPS * ROWS * INPUTS);
    for (int s = 0; s < oracle_states(o->cell); s++) {
        snprintf(name, sizeof name, "initial.layers.0.%c", oracle_state_name(o->cell, s));
        compare_gradient(o, gradients, name, o->start[s], ROWS * oracle_state_width(o->cell, s, o->hidden));
    }
}

static void test_gradients(struct one *o)
{
    bptt_error error = {0};
    bptt_array initial_items[ORACLE_STATES], final_items[ORACLE_STATES];
    bptt_arrays initial = state_set(o, o->start, ROWS, initial_items), gradients = {0};
    bptt_arrays dfinal = state_set(o, o->dfinal, ROWS, final_items);
    bptt_array input = twin_rows(o->x, GRADIENT_STEPS, ROWS, INPUTS);
    bptt_array dy = twin_rows(o->dy, GRADIENT_STEPS, ROWS, oracle_state_width(o->cell, 0, o->hidden));
    bptt_run_options options = twin_options();
    int status = bptt_gradient(o->twin.model, &input, NULL, &dy, &initial, &dfinal, NULL, &gradients, &options, &error);
    if (tap_ok(!status, "%s: a gradient in double precision", o->cell))
        compare_gradients(o, &gradients);
    else
        tap_note("%s", error.text);
    bptt_arrays_clear(&gradients);
}

static void test_width(struct one *o, int hidden)
{
    static const int steps[] = {0, 1, 2, 7, STEPS};
    o->hidden = hidden;
    int status = open_model(o);
    draw_data(o);
    for (size_t i = 0; !status && i < sizeof steps / sizeof *steps; i++)
        for (int rows = 1; rows <= ROWS; rows += 2)
            for (int started = 0; started < 2; started++)
                compare(o, steps[i], rows, started);
    if (!status && hidden < 10)            /* differences number by number are slow, and larger sizes add nothing */
        test_gradients(o);
    twin_free(&o->twin);
}

int main(void)
{
    static const int widths[] = {5, 8, 20};
    struct one *o = calloc(1, sizeof *o);
    for (size_t i = 0; i < bptt_cell_count() && o; i++) {
        o->cell = bptt_cell_name(i);
        o->twin.random = i;
        if (!tap_ok(oracle_states(o->cell) > 0, "%s: has a hand-written twin", o->cell))
            continue;
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
            if (widths[w] % oracle_blocks(o->cell) == 0)
                test_width(o, widths[w]);
    }
    tap_ok(o && bptt_cell_count() >= 21, "all cells were there");
    free(o);
    return tap_done();
}
