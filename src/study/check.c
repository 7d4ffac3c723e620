/* check.c - the proof of a cell, in double precision unless it says otherwise:
 *
 *     finite differences   of the plain reference, against its reverse derivative
 *     tangent              the forward derivative, against the reverse one along the same direction
 *     double precision     the program that trains, run in double, against the reference
 *     kernels, interpreter in single precision, against the reference
 *     strategies           that must give the same gradient: truncation beyond the start, links that none cuts, forward mode
 *
 * The scalar is L = sum dy . y + sum dfinal . (last state) with random dy and dfinal. An error is the difference's norm over
 * the norm of the gradient (along a direction: the difference over that norm, which is what the direction's size is on
 * average, so a direction that happens to be flat does not look wrong). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../model/influence.h"
#include "../model/network.h"
#include "reference.h"

/* Central differences err by about step^2 / 6 of the third derivative (1e-10) and 1e-16 / step of rounding (1e-11). */
static const double STEP = 1e-5, DIFFERENCE_TOLERANCE = 1e-6;
/* The same sums in another order: a few hundred roundings of 1e-16; in single precision of 6e-8, with functions good to a
 * few units in the last place. More where the problem itself is that sensitive: ROUNDINGS times what one rounding of every
 * parameter and input does to the gradient. */
static const double DOUBLE_TOLERANCE = 1e-12, SINGLE_TOLERANCE = 1e-5, ROUNDINGS = 32, ROUNDING = 0x1p-24;
enum { DIRECTIONS = 5 };

struct problem {
    const bptt_cell *cell;
    bptt_model *model;
    const long *size;
    long steps, batch, inputs, outputs;
    struct arena arena;
    double **param, *x, *dy, **initial, **dfinal;          /* x, dy [steps][batch][n]; states [batch][n] */
    double **dparam, *dx, **dinitial;                      /* the reference's gradient */
    double sensitivity;                                    /* see ROUNDINGS */
    double magnitude;
    uint64_t seed, drawn;
    bptt_check_report *report;
    size_t capacity;
    bptt_error *error;
};

/* ---- report ---- */

static int add_line(struct problem *p, const char *what, const char *subject, double error, double tolerance)
{
    bptt_check_report *report = p->report;
    if (report->count == p->capacity) {
        size_t larger = p->capacity ? 2 * p->capacity : 64;
        bptt_check_line *lines = realloc(report->lines, larger * sizeof *lines);
        if (!lines)
            return fail_memory(p->error, larger * sizeof *lines);
        report->lines = lines;
        p->capacity = larger;
    }
    bptt_check_line *line = &report->lines[report->count++];
    *line = (bptt_check_line){.what = what, .error = error, .tolerance = tolerance, .passed = error <= tolerance};
    snprintf(line->subject, sizeof line->subject, "%s", subject);
    report->passed += line->passed;
    report->failed += !line->passed;
    return BPTT_OK;
}

void bptt_check_clear(bptt_check_report *report)
{
    free(report->lines);
    *report = (bptt_check_report){0};
}

/* ---- random numbers and arrays ---- */

static double draw(struct problem *p)
{
    struct random_stream stream = random_open(p->seed, RANDOM_CHECK, 0);
    return 2 * random_uniform(&stream, p->drawn++) - 1;
}

static double *zeros(struct problem *p, long n)
{
    return arena_alloc(&p->arena, (size_t)(n + 1) * sizeof(double));
}

static double *random_array(struct problem *p, long n, double reach, double centre)
{
    double *array = zeros(p, n);
    for (long i = 0; array && i < n; i++)
        array[i] = centre + reach * draw(p);
    return array;
}

static long param_length(const struct problem *p, int i)
{
    const struct slot *slot = &p->model->slot[0][i];
    return slot->rows * slot->columns;
}

static long state_length(const struct problem *p, int i)
{
    return p->size[p->cell->state[i].dim];
}

/* ---- setting up ---- */

static int make_model(struct problem *p, long inputs, long hidden)
{
    static const long larger[] = {0, 1, 3, 7, 11, 15, 27};
    bptt_model_config config = bptt_model_defaults();
    config.cell = p->cell;
    config.inputs = inputs;
    config.head = 0;
    config.loss = BPTT_MSE;
    config.seed = p->seed;
    for (size_t i = 0; i < sizeof larger / sizeof *larger; i++) {  /* a size that the cell's blocks and fractions divide */
        bptt_error why = {0};
        config.hidden = hidden + larger[i];
        if (bptt_model_new(&config, &p->model, &why) == BPTT_OK)
            return BPTT_OK;
        if (i + 1 == sizeof larger / sizeof *larger)
            return fail(p->error, why.code, "%s", why.text);
    }
    return BPTT_ERROR_ARGUMENT;
}

static double **pointers(struct problem *p, int count)
{
    return arena_alloc(&p->arena, ((size_t)count + 1) * sizeof(double *));
}

static int make_parameters(struct problem *p)
{
    int params = p->cell->params;
    p->param = pointers(p, params);
    p->dparam = pointers(p, params);
    if (!p->param || !p->dparam)
        return 0;
    for (int i = 0; i < params; i++) {
        p->param[i] = zeros(p, param_length(p, i));
        p->dparam[i] = zeros(p, param_length(p, i));
        if (!p->param[i] || !p->dparam[i])
            return 0;
        for (long k = 0; k < param_length(p, i); k++) {    /* off the start, which may be zeros or an identity */
            float *w = &p->model->data[p->model->slot[0][i].offset + k];
            *w += (float)(0.2 * draw(p));
            p->param[i][k] = (double)*w;
        }
    }
    return 1;
}

static int make_states(struct problem *p)
{
    int states = p->cell->states;
    p->initial = pointers(p, states);
    p->dfinal = pointers(p, states);
    p->dinitial = pointers(p, states);
    if (!p->initial || !p->dfinal || !p->dinitial)
        return 0;
    for (int i = 0; i < states; i++) {
        long n = p->batch * state_length(p, i);
        p->initial[i] = random_array(p, n, 0.1, p->cell->state[i].start);
        p->dfinal[i] = random_array(p, n, 1, 0);
        p->dinitial[i] = zeros(p, n);
        if (!p->initial[i] || !p->dfinal[i] || !p->dinitial[i])
            return 0;
    }
    return 1;
}

/* The same numbers for the same sizes, whatever was drawn before. */
static int make_problem(struct problem *p, long inputs, long hidden, long steps, long batch)
{
    p->drawn = 0;
    p->sensitivity = 0;
    int status = make_model(p, inputs, hidden);
    if (status)
        return status;
    p->size = p->model->size[0];
    p->steps = steps;
    p->batch = batch;
    p->inputs = inputs;
    p->outputs = p->size[p->cell->output_dim];
    p->x = random_array(p, steps * batch * inputs, 1, 0);
    p->dy = random_array(p, steps * batch * p->outputs, 1, 0);
    p->dx = zeros(p, steps * batch * inputs);
    if (!p->x || !p->dy || !p->dx || !make_parameters(p) || !make_states(p))
        return fail_memory(p->error, (size_t)(steps * batch));
    return BPTT_OK;
}

static void free_problem(struct problem *p)
{
    arena_free(&p->arena);
    bptt_model_free(p->model);
    p->model = NULL;
}

/* ---- the reference on one row ---- */

struct row {
    struct reference r;
    double *x, *dy, **initial, **dfinal;
};

static double *row_of(struct problem *p, struct arena *arena, const double *all, long n, long b)
{
    double *own = arena_alloc(arena, (size_t)(p->steps * n + 1) * sizeof(double));
    for (long t = 0; own && t < p->steps; t++)
        memcpy(own + t * n, all + (t * p->batch + b) * n, (size_t)n * sizeof(double));
    return own;
}

static double **row_states(struct problem *p, struct arena *arena, double **all, long b)
{
    double **own = arena_alloc(arena, ((size_t)p->cell->states + 1) * sizeof *own);
    for (int i = 0; own && i < p->cell->states; i++) {
        own[i] = arena_alloc(arena, (size_t)(state_length(p, i) + 1) * sizeof(double));
        if (!own[i])
            return NULL;
        if (all)
            memcpy(own[i], all[i] + b * state_length(p, i), (size_t)state_length(p, i) * sizeof(double));
    }
    return own;
}

static int open_row(struct problem *p, struct row *row, long b)
{
    *row = (struct row){.r = {.cell = p->cell, .size = p->size, .steps = p->steps, .param = p->param, .dparam = p->dparam}};
    struct arena *arena = &row->r.arena;
    row->r.x = row_of(p, arena, p->x, p->inputs, b);
    row->r.dy = row_of(p, arena, p->dy, p->outputs, b);
    row->r.initial = (const double *const *)row_states(p, arena, p->initial, b);
    row->r.dfinal = (const double *const *)row_states(p, arena, p->dfinal, b);
    row->r.final = row_states(p, arena, NULL, b);
    row->r.dinitial = row_states(p, arena, NULL, b);
    row->r.y = arena_alloc(arena, (size_t)(p->steps * p->outputs + 1) * sizeof(double));
    row->r.dx = arena_alloc(arena, (size_t)(p->steps * p->inputs + 1) * sizeof(double));
    int all = row->r.x && row->r.dy && row->r.initial && row->r.dfinal && row->r.final && row->r.dinitial && row->r.y && row->r.dx;
    return all ? BPTT_OK : fail_memory(p->error, (size_t)p->steps);
}

static double dot(const double *a, const double *b, long n)
{
    double sum = 0;
    for (long i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static double magnitude(const double *a, const double *b, long n)
{
    double sum = 0;
    for (long i = 0; i < n; i++)
        sum += fabs(a[i] * b[i]);
    return sum;
}

/* L over all rows at the problem's present values; p->magnitude is the sum of its terms without their signs. */
static int reference_loss(struct problem *p, double *loss)
{
    int status = BPTT_OK;
    *loss = 0;
    p->magnitude = 0;
    for (long b = 0; b < p->batch && !status; b++) {
        struct row row;
        status = open_row(p, &row, b);
        if (!status)
            status = reference_forward(&row.r, p->error);
        if (!status) {
            *loss += dot(row.r.y, row.r.dy, p->steps * p->outputs);
            p->magnitude += magnitude(row.r.y, row.r.dy, p->steps * p->outputs);
            for (int i = 0; i < p->cell->states; i++)
                *loss += dot(row.r.final[i], row.r.dfinal[i], state_length(p, i));
        }
        reference_free(&row.r);
    }
    return status;
}

static int reference_gradient(struct problem *p)
{
    int status = BPTT_OK;
    for (long b = 0; b < p->batch && !status; b++) {
        struct row row;
        status = open_row(p, &row, b);
        if (!status) status = reference_forward(&row.r, p->error);
        if (!status) status = reference_reverse(&row.r, p->error);
        for (long t = 0; !status && t < p->steps; t++)
            memcpy(p->dx + (t * p->batch + b) * p->inputs, row.r.dx + t * p->inputs, (size_t)p->inputs * sizeof(double));
        for (int i = 0; !status && i < p->cell->states; i++)
            memcpy(p->dinitial[i] + b * state_length(p, i), row.r.dinitial[i], (size_t)state_length(p, i) * sizeof(double));
        reference_free(&row.r);
    }
    return status;
}

/* ---- how much one rounding of all that is given moves the gradient ---- */

static void perturb(struct problem *p, double *value, long n)
{
    for (long i = 0; i < n; i++)
        value[i] *= 1 + ROUNDING * draw(p);
}

static double moved(const double *a, const double *b, long n)
{
    double difference = 0, norm = 0;
    for (long i = 0; i < n; i++) {
        difference += (a[i] - b[i]) * (a[i] - b[i]);
        norm += b[i] * b[i];
    }
    return sqrt(difference) / fmax(sqrt(norm), 1e-9);
}

/* On a problem of its own with the same numbers, so that this one stays as it is. */
static int measure_sensitivity(struct problem *p, long inputs, long hidden)
{
    struct problem own = {.cell = p->cell, .seed = p->seed, .report = p->report, .error = p->error};
    int status = make_problem(&own, inputs, hidden, p->steps, p->batch);
    if (!status) {
        for (int i = 0; i < p->cell->params; i++)
            perturb(&own, own.param[i], param_length(p, i));
        perturb(&own, own.x, p->steps * p->batch * p->inputs);
        status = reference_gradient(&own);
    }
    for (int i = 0; i < p->cell->params && !status; i++)
        p->sensitivity = fmax(p->sensitivity, moved(own.dparam[i], p->dparam[i], param_length(p, i)));
    free_problem(&own);
    return status;
}

/* ---- finite differences: every parameter, the input and every initial state, along a random direction of +-1 ---- */

/* (L(value + step direction) - L(value - step direction)) / 2 step */
static int central_difference(struct problem *p, double *value, const double *direction, long n, double step, double *slope)
{
    double loss[2] = {0, 0};
    double *before = zeros(p, n);
    int status = before ? BPTT_OK : fail_memory(p->error, (size_t)n);
    if (!status)
        memcpy(before, value, (size_t)n * sizeof(double));
    for (int side = 0; side < 2 && !status; side++) {
        for (long i = 0; i < n; i++)
            value[i] = before[i] + (side ? -step : step) * direction[i];
        status = reference_loss(p, &loss[side]);
    }
    if (before)
        memcpy(value, before, (size_t)n * sizeof(double));
    *slope = (loss[0] - loss[1]) / (2 * step);
    return status;
}

/* A kink (relu, max, abs) within the step makes the slope depend on the step; another direction and a shorter step are
 * tried then. The derivative under test has no part in that choice. */
static int difference_along(struct problem *p, const char *name, double *value, const double *gradient, long n)
{
    double *direction = zeros(p, n), norm = sqrt(dot(gradient, gradient, n)), whole = 0, half = 0, size = 0;
    int status = direction ? BPTT_OK : fail_memory(p->error, (size_t)n);
    double step = STEP;
    for (int attempt = 0; attempt < DIRECTIONS && !status; attempt++, step /= 3) {
        for (long i = 0; i < n; i++)
            direction[i] = draw(p) < 0 ? -1 : 1;
        status = central_difference(p, value, direction, n, step, &whole);
        if (!status)
            status = central_difference(p, value, direction, n, step / 2, &half);
        size = fmax(norm, fmax(fabs(whole), 1e-9));
        if (fabs(whole - half) <= 0.1 * DIFFERENCE_TOLERANCE * size + 1e-15 * p->magnitude / step)
            break;
    }
    if (status)
        return status;
    /* where the gradient is tiny beside the loss, the rounding of the two losses is what is left of their difference */
    double rounding = 1e-15 * p->magnitude / (step * size);
    return add_line(p, "finite differences", name, fabs(whole - dot(gradient, direction, n)) / size,
                    DIFFERENCE_TOLERANCE + rounding);
}

static int check_differences(struct problem *p)
{
    int status = BPTT_OK;
    char name[112];
    for (int i = 0; i < p->cell->params && !status; i++)
        status = difference_along(p, p->cell->param[i].name, p->param[i], p->dparam[i], param_length(p, i));
    if (!status)
        status = difference_along(p, "input", p->x, p->dx, p->steps * p->batch * p->inputs);
    for (int i = 0; i < p->cell->states && !status; i++) {
        snprintf(name, sizeof name, "initial %s", p->cell->state[i].name);
        status = difference_along(p, name, p->initial[i], p->dinitial[i], p->batch * state_length(p, i));
    }
    return status;
}

/* ---- tangent against reverse ---- */

static int check_tangent(struct problem *p)
{
    double **direction = pointers(p, p->cell->params), derived = 0, size = 0, tangent = 0;
    for (int i = 0; direction && i < p->cell->params; i++) {
        direction[i] = random_array(p, param_length(p, i), 1, 0);
        if (!direction[i])
            return fail_memory(p->error, (size_t)param_length(p, i));
        derived += dot(direction[i], p->dparam[i], param_length(p, i));
        size += dot(p->dparam[i], p->dparam[i], param_length(p, i));
    }
    int status = direction ? BPTT_OK : fail_memory(p->error, 0);
    for (long b = 0; b < p->batch && !status; b++) {
        struct row row;
        status = open_row(p, &row, b);
        row.r.tparam = direction;
        if (!status) status = reference_forward(&row.r, p->error);
        if (!status) status = reference_tangent(&row.r, p->error);
        tangent += row.r.tangent;
        reference_free(&row.r);
    }
    if (status)
        return status;
    double scale = fmax(sqrt(size), fmax(fabs(derived), 1e-9));
    return add_line(p, "tangent", "all parameters", fabs(tangent - derived) / scale, DOUBLE_TOLERANCE);
}

/* ---- what trains, against the reference ---- */

struct variant {
    const char *what;
    enum precision precision;
    enum isa isa;
    int interpret;
    double tolerance;
    const char *strategy;                  /* that gives the same gradient; NULL: full */
};

static double element(const void *data, long i, int size)
{
    return size == 8 ? ((const double *)data)[i] : (double)((const float *)data)[i];
}

/* Norm of the difference over the norm of the right one. */
static double distance(const void *got, int size, const double *want, long n)
{
    double difference = 0, norm = 0;
    for (long i = 0; i < n; i++) {
        double d = element(got, i, size) - want[i];
        difference += d * d;
        norm += want[i] * want[i];
    }
    return sqrt(difference) / fmax(sqrt(norm), 1e-9);
}

static int compare_gradients(struct problem *p, struct network *net, const struct variant *v, const double *dx)
{
    int size = (int)net->kernels->element_size, status = BPTT_OK;
    double finer = v->precision == PRECISION_F64 ? 0x1p-53 / ROUNDING : 1;      /* a rounding in double precision */
    double tolerance = v->tolerance + ROUNDINGS * p->sensitivity * finer;
    char name[112];
    for (int i = 0; i < p->cell->params && !status; i++) {
        const void *got = (const char *)net->gradients + p->model->slot[0][i].offset * size;
        status = add_line(p, v->what, p->cell->param[i].name, distance(got, size, p->dparam[i], param_length(p, i)), tolerance);
    }
    if (!dx)
        return status;
    if (!status)
        status = add_line(p, v->what, "input", distance(dx, 8, p->dx, p->steps * p->batch * p->inputs), tolerance);
    for (int i = 0; i < p->cell->states && !status; i++) {
        long n = p->batch * state_length(p, i);
        double *got = zeros(p, n);
        if (!got)
            return fail_memory(p->error, (size_t)n);
        network_get_state(net, net->initial_gradient[0][i], 0, i, got, 8);
        snprintf(name, sizeof name, "initial %s", p->cell->state[i].name);
        status = add_line(p, v->what, name, distance(got, 8, p->dinitial[i], n), tolerance);
    }
    return status;
}

static int run_forward(struct problem *p, struct network *net, struct window *window, const struct strategy *strategy)
{
    struct influence *influence;
    int status = influence_new(net, strategy, p->seed, &influence, p->error);
    if (!status)
        status = influence_window(influence, net, window, p->error);
    influence_free(influence);
    return status;
}

static int run_variant(struct problem *p, struct network *net, const struct variant *v, const struct strategy *strategy)
{
    double *dx = zeros(p, p->steps * p->batch * p->inputs);
    if (!dx)
        return fail_memory(p->error, (size_t)p->steps);
    network_load(net);
    for (int i = 0; i < p->cell->states; i++) {
        network_set_state(net, net->carried[0][i], 0, i, p->initial[i], 8);
        network_set_state(net, net->final_gradient[0][i], 0, i, p->dfinal[i], 8);
    }
    struct window window = {.steps = p->steps, .x = p->x, .output_gradient = p->dy, .element_size = 8, .input_gradient = dx};
    int is_forward = strategy_is_forward(strategy), status;
    if (is_forward)
        status = run_forward(p, net, &window, strategy);
    else
        status = network_gradient(net, &window, p->error);
    return status ? status : compare_gradients(p, net, v, is_forward ? NULL : dx);
}

static int check_variant(struct problem *p, const struct variant *v)
{
    struct network net;
    struct network_config config = {.steps = p->steps, .batch = p->batch, .threads = 1, .precision = v->precision, .gradients = 1,
                                    .input_gradient = 1, .isa = &v->isa, .interpret = v->interpret};
    int status = strategy_parse(v->strategy, &config.strategy, p->error);
    if (!status)
        status = network_new(&net, p->model, &config, p->error);
    if (status)
        return status;
    /* a cell that is not compiled for this instruction set has no kernels to hold against anything */
    int has_code = v->interpret || v->precision == PRECISION_F64 || net.layer[0].code_isa;
    if (has_code)
        status = network_allocate(&net, p->error);
    if (!status && has_code)
        status = run_variant(p, &net, v, &config.strategy);
    network_free(&net);
    return status;
}

/* Other ways through time to the same gradient. */
static int check_strategies(struct problem *p)
{
    static const struct variant variants[] = {
        {"truncated beyond the start", PRECISION_F64, ISA_GENERIC, 0, DOUBLE_TOLERANCE, "truncated:1,1000"},
        {"random links, none cut", PRECISION_F64, ISA_GENERIC, 0, DOUBLE_TOLERANCE, "random:1"},
        {"forward mode", PRECISION_F64, ISA_GENERIC, 0, DOUBLE_TOLERANCE, "rtrl"},
    };
    int status = BPTT_OK;
    for (size_t i = 0; i < sizeof variants / sizeof *variants && !status; i++)
        status = check_variant(p, &variants[i]);
    return status;
}

static int check_variants(struct problem *p)
{
    static const struct variant variants[] = {
        {"double precision", PRECISION_F64, ISA_GENERIC, 0, DOUBLE_TOLERANCE, NULL},
        {"interpreter, double", PRECISION_F64, ISA_GENERIC, 1, DOUBLE_TOLERANCE, NULL},
        {"interpreter", PRECISION_F32, ISA_GENERIC, 1, SINGLE_TOLERANCE, NULL},
        {"kernels generic", PRECISION_F32, ISA_GENERIC, 0, SINGLE_TOLERANCE, NULL},
        {"kernels avx2", PRECISION_F32, ISA_AVX2, 0, SINGLE_TOLERANCE, NULL},
        {"kernels avx512", PRECISION_F32, ISA_AVX512, 0, SINGLE_TOLERANCE, NULL},
    };
    int status = BPTT_OK;
    for (size_t i = 0; i < sizeof variants / sizeof *variants && !status; i++)
        if (isa_available(variants[i].isa))
            status = check_variant(p, &variants[i]);
    return status;
}

/* ---- all of it ---- */

static int check_sizes(struct problem *p, long inputs, long hidden, long steps, long batch, int differences)
{
    int status = make_problem(p, inputs, hidden, steps, batch);
    if (!status) status = reference_gradient(p);
    if (!status) status = measure_sensitivity(p, inputs, hidden);
    if (!status && differences) status = check_differences(p);
    if (!status && differences) status = check_tangent(p);
    if (!status) status = check_variants(p);
    if (!status && differences) status = check_strategies(p);
    free_problem(p);
    return status;
}

int bptt_cell_check(const bptt_cell *cell, uint64_t seed, bptt_check_report *report, bptt_error *error)
{
    *report = (bptt_check_report){.step = STEP};
    struct problem p = {.cell = cell, .seed = seed, .report = report, .error = error};
    int status = check_sizes(&p, 3, 5, 7, 3, 1);
    if (!status)                           /* whole vectors: products join; two blocks of the weight gradients */
        status = check_sizes(&p, 17, 32, 40, 16, 0);
    if (status) {
        bptt_check_clear(report);
        return status;
    }
    return BPTT_OK;
}
