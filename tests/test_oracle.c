// link: tests/oracle.c
/* test_oracle.c - every built-in cell through bptt_run in double precision, against the hand-written steps of oracle.c:
 * outputs and last states, for no step at all, one, a few and many, one row and several, even and odd widths. */
#include <bptt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oracle.h"
#include "tap.h"

enum { INPUTS = 3, PARAMETERS = 64, STEPS = 100, ROWS = 3, PLENTY = 64 * 64 };

/* Both sides add the same terms in another order; through a hundred steps of a cell that does not amplify, a few
 * thousand roundings of 1e-16 each. */
static const double TOLERANCE = 1e-12;

struct one {
    const char *cell;
    bptt_model *model;
    int hidden, count;
    bptt_array view[PARAMETERS];
    double value[PARAMETERS][PLENTY];      /* the parameters in double precision */
    double x[STEPS * ROWS * INPUTS];
    double start[ORACLE_STATES][ROWS * ORACLE_WIDTH];
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

/* An sLSTM's normaliser is a sum of exponentials, so positive; the other states take any value. */
static void draw_data(struct one *o)
{
    for (int i = 0; i < STEPS * ROWS * INPUTS; i++)
        o->x[i] = draw(o);
    for (int s = 0; s < ORACLE_STATES; s++)
        for (int i = 0; i < ROWS * ORACLE_WIDTH; i++)
            o->start[s][i] = !strcmp(o->cell, "slstm") && s == 2 ? 1.5 + draw(o) : draw(o);
}

static bptt_arrays initial_states(struct one *o, int rows, bptt_array *items)
{
    bptt_arrays set = {.count = (size_t)oracle_states(o->cell), .items = items};
    for (int s = 0; s < oracle_states(o->cell); s++) {
        items[s] = (bptt_array){.type = BPTT_F64, .rank = 2, .data = o->start[s]};
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

/* The largest error of one row: every output and the last states. */
static double row_error(struct one *o, int steps, int rows, int row, int started, const bptt_array *output,
                        const bptt_arrays *final)
{
    struct oracle oracle = {.inputs = INPUTS, .hidden = o->hidden, .lookup = parameter, .user = o};
    int width = oracle_state_width(o->cell, 0, o->hidden);
    double worst = 0;
    for (int s = 0; s < oracle_states(o->cell) && started; s++) {
        int n = oracle_state_width(o->cell, s, o->hidden);
        memcpy(oracle.state[s], o->start[s] + row * n, (size_t)n * sizeof(double));
    }
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
    bptt_arrays initial = initial_states(o, rows, items), final = {0};
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
