// link: tests/oracle.c
/* test_oracle.c - every built-in cell in double precision, against the hand-written steps of oracle.c: outputs and
 * last states of bptt_run, for no step at all, one, a few and many, one row and several, even and odd widths; and every
 * number that bptt_gradient gives, against central differences of the hand-written steps. */
#include <bptt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oracle.h"
#include "tap.h"

enum { INPUTS = 3, PARAMETERS = 64, STEPS = 100, GRADIENT_STEPS = 7, ROWS = 3, PLENTY = 64 * 64 };

/* Both sides add the same terms in another order; through a hundred steps of a cell that does not amplify, a few
 * thousand roundings of 1e-16 each. */
static const double TOLERANCE = 1e-12;

/* A central difference errs by step^2 / 6 of the third derivative, 1e-13 of it, and by the rounding of the loss, a few
 * 1e-16, divided by the step: 1e-9 or so, beside gradients that are seldom below 1e-2. */
static const double DIFFERENCE = 1e-6, DIFFERENCE_TOLERANCE = 1e-6;

struct one {
    const char *cell;
    bptt_model *model;
    int hidden, count;
    bptt_array view[PARAMETERS];
    double value[PARAMETERS][PLENTY];      /* the parameters in double precision */
    double x[STEPS * ROWS * INPUTS];
    double start[ORACLE_STATES][ROWS * ORACLE_WIDTH];
    double dy[GRADIENT_STEPS * ROWS * ORACLE_WIDTH], dfinal[ORACLE_STATES][ROWS * ORACLE_WIDTH];
    uint64_t random;
};

static double draw(struct one *o)
{
    o->random = o->random * 6364136223846793005u + 1442695040888963407u;
    return (double)(o->random >> 11) / 4503599627370496.0 - 1;
}

/* ---- the model ---- */

/* Own values for all parameters, so that what starts at zero or one is seen too; +-1/sqrt(H) keeps states small. */
static void draw_parameters(struct one *o)
{
    double reach = 1 / sqrt(o->hidden);
    o->count = (int)bptt_model_parameter_count(o->model);
    for (int i = 0; i < o->count && i < PARAMETERS; i++) {
        bptt_model_parameter(o->model, (size_t)i, &o->view[i]);
        float *data = o->view[i].data;
        for (int64_t k = 0; k < bptt_array_length(&o->view[i]) && k < PLENTY; k++) {
            data[k] = (float)(reach * draw(o));
            o->value[i][k] = (double)data[k];
        }
    }
}

static const double *parameter(const char *name, void *user)
{
    const struct one *o = user;
    for (int i = 0; i < o->count; i++)
        if (!strcmp(o->view[i].name + strlen("layers.0."), name))
            return o->value[i];
    return NULL;
}

static int open_model(struct one *o)
{
    bptt_error error = {0};
    bptt_cell *cell;
    bptt_model_config config = bptt_model_defaults();
    int status = bptt_cell_open(o->cell, &cell, &error);
    if (!status) {
        config.cell = cell;
        config.inputs = INPUTS;
        config.hidden = o->hidden;
        config.head = 0;
        status = bptt_model_new(&config, &o->model, &error);
        bptt_cell_free(cell);
    }
    if (!tap_ok(!status, "%s: a model of width %d", o->cell, o->hidden))
        tap_note("%s", error.text);
    if (!status)
        draw_parameters(o);
    return status;
}

/* ---- the two runs ---- */

static void fill(struct one *o, double *to, int n)
{
    for (int i = 0; i < n; i++)
        to[i] = draw(o);
}

/* An sLSTM's normaliser is a sum of exponentials, so positive; the other states take any value. */
static void draw_data(struct one *o)
{
    fill(o, o->x, STEPS * ROWS * INPUTS);
    fill(o, o->dy, GRADIENT_STEPS * ROWS * ORACLE_WIDTH);
    for (int s = 0; s < ORACLE_STATES; s++) {
        fill(o, o->start[s], ROWS * ORACLE_WIDTH);
        fill(o, o->dfinal[s], ROWS * ORACLE_WIDTH);
        for (int i = 0; i < ROWS * ORACLE_WIDTH && !strcmp(o->cell, "slstm") && s == 2; i++)
            o->start[s][i] += 1.5;
    }
}

/* A set of states as the library takes it, around arrays of ours. */
static bptt_arrays state_set(struct one *o, double data[][ROWS * ORACLE_WIDTH], int rows, bptt_array *items)
{
    bptt_arrays set = {.count = (size_t)oracle_states(o->cell), .items = items};
    for (int s = 0; s < oracle_states(o->cell); s++) {
        items[s] = (bptt_array){.type = BPTT_F64, .rank = 2, .data = data[s]};
        items[s].shape[0] = rows;
        items[s].shape[1] = oracle_state_width(o->cell, s, o->hidden);
        snprintf(items[s].name, sizeof items[s].name, "layers.0.%c", oracle_state_name(o->cell, s));
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
    bptt_array input = {.type = BPTT_F64, .rank = 3, .shape = {steps, rows, INPUTS}, .data = o->x};
    bptt_run_options options = bptt_run_defaults();
    options.precision = BPTT_F64;
    options.threads = 1;
    int status = bptt_run(o->model, &input, started ? &initial : NULL, &output, &final, &options, &error);
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

/* Every number of one gradient; the error is the difference's norm over the norm. */
static void compare_gradient(struct one *o, const bptt_arrays *gradients, const char *name, double *values, int n)
{
    const bptt_array *got = bptt_arrays_find(gradients, name);
    double difference = 0, norm = 0;
    int there = got && got->type == BPTT_F64 && bptt_array_length(got) == n;
    if (!tap_ok(there, "%s: gradient of %s is there", o->cell, name))
        return;
    for (int i = 0; i < n; i++) {
        double want = slope(o, values + i), off = ((double *)got->data)[i] - want;
        difference += off * off;
        norm += want * want;
    }
    tap_ok(norm > 0, "%s: gradient of %s is not zero", o->cell, name);
    tap_near(sqrt(difference / norm), 0, DIFFERENCE_TOLERANCE, "%s: H=%d gradient of %s", o->cell, o->hidden, name);
}

static void compare_gradients(struct one *o, const bptt_arrays *gradients)
{
    char name[64];
    for (int i = 0; i < o->count; i++)
        compare_gradient(o, gradients, o->view[i].name, o->value[i], (int)bptt_array_length(&o->view[i]));
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
    bptt_array input = {.type = BPTT_F64, .rank = 3, .shape = {GRADIENT_STEPS, ROWS, INPUTS}, .data = o->x};
    bptt_array dy = {.type = BPTT_F64, .rank = 3, .shape = {GRADIENT_STEPS, ROWS}, .data = o->dy};
    bptt_run_options options = bptt_run_defaults();
    options.precision = BPTT_F64;
    options.threads = 1;
    dy.shape[2] = oracle_state_width(o->cell, 0, o->hidden);
    int status = bptt_gradient(o->model, &input, NULL, &dy, &initial, &dfinal, NULL, &gradients, &options, &error);
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
    if (open_model(o))
        return;
    draw_data(o);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        for (int rows = 1; rows <= ROWS; rows += 2)
            for (int started = 0; started < 2; started++)
                compare(o, steps[i], rows, started);
    if (hidden < 10)                       /* differences number by number are slow, and larger sizes add nothing */
        test_gradients(o);
    bptt_model_free(o->model);
}

int main(void)
{
    static const int widths[] = {5, 8, 20};
    struct one *o = calloc(1, sizeof *o);
    for (size_t i = 0; i < bptt_cell_count() && o; i++) {
        o->cell = bptt_cell_name(i);
        o->random = i;
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
