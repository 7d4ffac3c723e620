// threads
// isa
// link: tests/subject.c
/* test_network.c - windows through whole networks, at every kind of size: the gradient in double precision against
 * differences of the objective, single precision and every number of threads against that, tokens by table against
 * tokens by row, bfloat16 within a stated bound, dropout replayed, and the state that a gradient leaves against the one that a forward run leaves.
 *
 * The objective is the loss plus a random vector times the last states, so that the final gradient is part of it. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "subject.h"
#include "tap.h"

/* NaN where it fails. */
static double objective(struct run *r, const struct subject *s, int status)
{
    double value = status ? NAN : r->window.loss;
    each_state(r, s, r->net.carried, r->state, 0);
    for (long i = 0; i < s->states; i++)
        value += s->final[i] * r->state[i];
    return value;
}

static double run_forward(struct run *r, const struct subject *s)
{
    run_begin(r, s);
    return objective(r, s, network_forward(&r->net, &r->window, NULL));
}

static double run_gradient(struct run *r, const struct subject *s)
{
    run_begin(r, s);
    network_clear_gradients(&r->net);
    each_state(r, s, r->net.final_gradient, s->final, 1);
    double value = objective(r, s, network_gradient(&r->net, &r->window, NULL));
    each_state(r, s, r->net.initial_gradient, r->dinitial, 0);
    return value;
}

static double gradient_at(const struct run *r, long i)
{
    return r->net.kernels->wide->element_size == 8 ? ((double *)r->net.gradients)[i] : ((float *)r->net.gradients)[i];
}

static double input_gradient_at(const struct run *r, long i)
{
    return r->window.element_size == 8 ? r->dx[i] : ((float *)r->dx)[i];
}

/* ---- against differences ---- */

/* Along a direction of +-1 the four-point rule errs by 4 step^4 / 5! of the fifth derivative (about 1e-12 of it) and by
 * the rounding of the objective over the step, 1e-12: beside slopes that may be as small as 1e-3 of the whole. */
static const double STEP = 1.0 / 2048, DIFFERENCE_TOLERANCE = 1e-7;

struct line { float *weight; double *number; long count; };    /* weights, or numbers, that move together */

static double sign_of(long i)
{
    uint64_t random = (uint64_t)i * 0x9e3779b97f4a7c15u + 5;
    draw(&random);
    return draw(&random) < 0 ? -1 : 1;
}

static void move(const struct line *line, double by)
{
    for (long i = 0; i < line->count; i++) {
        if (line->weight)
            line->weight[i] += (float)(by * sign_of(i));
        else
            line->number[i] += by * sign_of(i);
    }
}

static double central(struct run *r, const struct subject *s, const struct line *line, double step)
{
    move(line, step);
    double up = run_forward(r, s);
    move(line, -2 * step);
    double down = run_forward(r, s);
    move(line, step);
    return (up - down) / (2 * step);
}

static double slope(struct run *r, const struct subject *s, const struct line *line)
{
    return (4 * central(r, s, line, STEP) - central(r, s, line, 2 * STEP)) / 3;
}

static void compare_slope(struct run *r, const struct subject *s, const struct line *line, double got, const char *what)
{
    tap_near(got, slope(r, s, line), DIFFERENCE_TOLERANCE, "%s: by differences, %s", title_of(&s->shape).text, what);
}

static void compare_differences(const struct subject *s)
{
    struct run r;
    if (run_open(&r, s, plain_config(s, PRECISION_F64, 1))) {
        double value = run_gradient(&r, s), sum;
        double *state = r.dinitial;
        /* the same steps; only the blocks' losses are added from the other end */
        tap_near(run_forward(&r, s), value, 1e-15, "%s: a forward run has the same loss and states",
                 title_of(&s->shape).text);
        for (int i = 0; i < s->model->tensors; i++) {
            const struct tensor *tensor = &s->model->tensor[i];
            struct line line = {.weight = s->model->data + tensor->offset, .count = tensor->count};
            sum = 0;
            for (long k = 0; k < tensor->count; k++)
                sum += sign_of(k) * gradient_at(&r, tensor->offset + k);
            compare_slope(&r, s, &line, sum, tensor->name);
        }
        struct line line = {.number = s->x, .count = s->inputs};
        sum = 0;
        for (long k = 0; k < s->inputs; k++)
            sum += sign_of(k) * r.dx[k];
        if (!s->shape.vocabulary)
            compare_slope(&r, s, &line, sum, "the input");
        line = (struct line){.number = s->initial, .count = s->states};
        sum = 0;
        for (long k = 0; k < s->states; k++)
            sum += sign_of(k) * state[k];
        compare_slope(&r, s, &line, sum, "the initial states");
    }
    run_close(&r);
}

/* ---- against one another ---- */

struct error_sum { double off, norm; };

static void add_error(struct error_sum *sum, double got, double want)
{
    sum->off += (got - want) * (got - want);
    sum->norm += want * want;
}

/* The worst of all parts' errors, each relative to its own norm and a hundredth of the whole's. NaN stays. */
static double run_error(const struct run *got, const struct run *want, const struct subject *s)
{
    struct error_sum part[256], whole = {0};
    int parts = 0;
    for (int i = 0; i < s->model->tensors && i < 250; i++) {
        const struct tensor *tensor = &s->model->tensor[i];
        part[parts] = (struct error_sum){0};
        for (long k = tensor->offset; k < tensor->offset + tensor->count; k++)
            add_error(&part[parts], gradient_at(got, k), gradient_at(want, k));
        parts++;
    }
    part[parts] = part[parts + 1] = part[parts + 2] = (struct error_sum){0};
    for (long k = 0; !s->shape.vocabulary && k < s->inputs; k++)
        add_error(&part[parts], input_gradient_at(got, k), input_gradient_at(want, k));
    for (long k = 0; k < s->states; k++) {
        add_error(&part[parts + 1], got->dinitial[k], want->dinitial[k]);
        add_error(&part[parts + 2], got->state[k], want->state[k]);
    }
    for (int i = 0; i < parts; i++)
        whole.norm += part[i].norm;
    double worst = 0;
    for (int i = 0; i < parts + 3; i++) {
        double floor = i < parts ? 0.01 * sqrt(whole.norm) : 0;
        double error = sqrt(part[i].off) / (sqrt(part[i].norm) + floor + DBL_MIN);
        if (!(error <= worst) && !isnan(worst))
            worst = error;
    }
    return worst;
}

static int same_bits(const struct run *a, const struct run *b, const struct subject *s)
{
    size_t size = (size_t)a->window.element_size;      /* also of gradients */
    return !memcmp(a->net.gradients, b->net.gradients, (size_t)s->model->count * size) &&
           !memcmp(a->dx, b->dx, (size_t)s->inputs * sizeof(double)) && a->window.loss == b->window.loss &&
           !memcmp(a->dinitial, b->dinitial, (size_t)s->states * sizeof(double)) &&
           !memcmp(a->state, b->state, (size_t)s->states * sizeof(double));
}

/* Single precision: roundings of 6e-8 in sums over the window and from step to step in the states come to 4e-7; where a
 * layer is normalised by a small deviation they grow tenfold. */
static const double SINGLE_TOLERANCE = 5e-6;

static void compare_threads(const struct subject *s, const struct run *one, enum precision precision)
{
    static const int threads[] = {2, 5};
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
        struct run r;
        if (run_open(&r, s, plain_config(s, precision, threads[i]))) {
            run_gradient(&r, s);
            tap_ok(same_bits(&r, one, s), "%s: the same bits with %d threads%s", title_of(&s->shape).text, threads[i],
                   precision == PRECISION_BF16 ? " in bfloat16" : "");
        }
        run_close(&r);
    }
}

static void compare_forward(const struct subject *s, const struct run *one)
{
    struct network_config config = plain_config(s, PRECISION_F32, 1);
    struct run r;
    config.gradients = config.input_gradient = 0;
    if (run_open(&r, s, config)) {
        double loss = one->window.loss;
        run_forward(&r, s);
        tap_ok(!memcmp(r.state, one->state, (size_t)s->states * sizeof(double)),
               "%s: a gradient leaves the state that a forward run leaves", title_of(&s->shape).text);
        tap_near(r.window.loss, loss, 1e-6, "%s: and has its loss", title_of(&s->shape).text);
    }
    run_close(&r);
}

/* Roundings of 2^-9 come to 0.5 % of most gradients, whatever the length. Three cells make more of them: relu (indrnn) and max (slstm)
 * jump where a rounding decides, slstm's exponentials magnify, and what nothing damps (antisymmetric) adds up. Elsewhere a rounding
 * may grow as much as one of single precision, which is 2^15 times smaller, does (by the deviations that normalise). */
static double bfloat16_tolerance(const struct subject *s, double single)
{
    static const struct { const char *cell; double tolerance; } known[] = {{"indrnn", 0.15}, {"slstm", 0.3}, {"antisymmetric", 0.08}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(s->shape.cell, known[i].cell))
            return known[i].tolerance;
    return fmax(0.03, 4 * 0x1p15 * single);
}

static void compare_bfloat16(const struct subject *s, const struct run *exact, double want, double single)
{
    struct run half;
    if (run_open(&half, s, plain_config(s, PRECISION_BF16, 1))) {
        double got = run_gradient(&half, s), error = run_error(&half, exact, s);
        tap_near(got, want, 0.02, "%s: the objective in bfloat16", title_of(&s->shape).text);
        tap_near(error, 0, bfloat16_tolerance(s, single), "%s: its gradient in bfloat16", title_of(&s->shape).text);
        compare_threads(s, &half, PRECISION_BF16);
    }
    run_close(&half);
    struct network_config config = plain_config(s, PRECISION_BF16, 1);
    config.interpret = 1;
    if (run_open(&half, s, config)) {
        run_gradient(&half, s);
        tap_near(run_error(&half, exact, s), 0, bfloat16_tolerance(s, single), "%s: and by the interpreter", title_of(&s->shape).text);
    }
    run_close(&half);
}

static void compare_precisions(const struct subject *s)
{
    struct run exact, single;
    int open = run_open(&exact, s, plain_config(s, PRECISION_F64, 1));
    if (run_open(&single, s, plain_config(s, PRECISION_F32, 1)) && open) {
        double want = run_gradient(&exact, s), got = run_gradient(&single, s), error = run_error(&single, &exact, s);
        tap_near(got, want, SINGLE_TOLERANCE, "%s: the objective in single precision", title_of(&s->shape).text);
        tap_near(error, 0, SINGLE_TOLERANCE, "%s: its gradient in single precision", title_of(&s->shape).text);
        compare_threads(s, &single, PRECISION_F32);
        if (s->shape.dropout + s->shape.dropout_state == 0)
            compare_forward(s, &single);
        compare_bfloat16(s, &exact, want, error);
    }
    run_close(&exact);
    run_close(&single);
}

/* In double precision: by generated code and by the interpreter, tokens by table and by row: the same terms are added. */
static void compare_paths(const struct subject *s)
{
    struct network_config config = plain_config(s, PRECISION_F64, 1);
    struct run one, other;
    int open = run_open(&one, s, config);
    config.interpret = 1;
    config.input_gradient = 1;             /* by row then */
    if (run_open(&other, s, config) && open) {
        run_gradient(&one, s);
        run_gradient(&other, s);
        tap_ok(!other.net.table, "%s: tokens by row", title_of(&s->shape).text);
        tap_ok(one.net.table == (s->shape.vocabulary > 0 && s->shape.vocabulary <= s->shape.steps * s->shape.batch),
               "%s: a table where it pays", title_of(&s->shape).text);
        tap_near(run_error(&other, &one, s), 0, 1e-11, "%s: the other path has the same gradient",
                 title_of(&s->shape).text);
    }
    run_close(&one);
    run_close(&other);
}

/* ---- what is tested ---- */

/* Cells in which dropout of the state meets what no built-in one has. */
static const char blocks[] = "cell blocks\ninput x\nstate h\nparam U[H, H] blocks 4\nparam V[H, H] blocks 2\n"
                             "h' = tanh(W x + U h) + 0.25 * sigmoid(V h)\n";
static const char shared[] = "cell shared\ninput x\nstate h, m\nq = U h + U m\nh' = tanh(W x + q + U (q * m))\n"
                             "m' = 0.5 * m + 0.25 * tanh(U^T h + U q)\n";
static const char late[] = "cell late\ninput x\nstate h\noutput y\nh' = tanh(W x + a * h)\ny = tanh(U h)\n";

static const struct shape small[] = {
    {.cell = "gru", .steps = 0, .batch = 2, .inputs = 3, .hidden = 5, .layers = 2, .outputs = 2, .loss = BPTT_MSE},
    {.cell = "lstm", .steps = 1, .batch = 1, .inputs = 3, .hidden = 1,
     .layers = 1, .outputs = 3, .loss = BPTT_CROSS_ENTROPY},
    {.cell = "gru", .steps = 7, .batch = 3, .inputs = 4, .hidden = 16,
     .layers = 2, .outputs = 5, .loss = BPTT_CROSS_ENTROPY},
    {.cell = "lstm_projected", .steps = 7, .batch = 2, .inputs = 3, .hidden = 20,
     .layers = 3, .outputs = 2, .loss = BPTT_MSE},
    {.cell = "rnn", .steps = 100, .batch = 17, .inputs = 2, .hidden = 5, .layers = 2, .outputs = 2, .loss = BPTT_MSE},
    {.cell = "mingru", .steps = 7, .batch = 33, .inputs = 3, .hidden = 5, .layers = 2, .loss = BPTT_MSE},
    {.cell = "lstm", .steps = 7, .batch = 3, .vocabulary = 11, .inputs = 5, .hidden = 5,
     .layers = 2, .outputs = 11, .tied = 1, .loss = BPTT_CROSS_ENTROPY},
    {.cell = "gru", .steps = 2, .batch = 3, .vocabulary = 50, .inputs = 4, .hidden = 6,
     .layers = 1, .outputs = 50, .loss = BPTT_CROSS_ENTROPY},
    {.cell = "slstm", .steps = 7, .batch = 2, .inputs = 3, .hidden = 8, .layers = 1, .outputs = 2, .loss = BPTT_MSE},
};

static const struct shape large[] = {
    {.cell = "antisymmetric", .steps = 40, .batch = 32, .inputs = 8, .hidden = 96, .layers = 1, .loss = BPTT_MSE},
    {.cell = "lstm", .steps = 100, .batch = 33, .inputs = 20, .hidden = 33,
     .layers = 2, .outputs = 7, .loss = BPTT_CROSS_ENTROPY},
    {.cell = "gru", .steps = 100, .batch = 5, .vocabulary = 60, .inputs = 20, .hidden = 20,
     .layers = 3, .outputs = 60, .loss = BPTT_CROSS_ENTROPY},
    {.cell = "slstm", .steps = 20, .batch = 16, .inputs = 16, .hidden = 128, .layers = 1, .loss = BPTT_MSE},
    {.cell = "indrnn", .steps = 100, .batch = 32, .inputs = 33, .hidden = 33,
     .layers = 2, .outputs = 3, .loss = BPTT_MSE},
    {.cell = "lstm_layernorm", .steps = 8, .batch = 9, .inputs = 5, .hidden = 20,
     .layers = 2, .outputs = 3, .loss = BPTT_MSE},
};

static const struct shape dropped[] = {
    {.cell = "lstm", .steps = 7, .batch = 3, .inputs = 4, .hidden = 16,
     .layers = 2, .outputs = 3, .loss = BPTT_MSE, .dropout = 0.3, .dropout_state = 0.25},
    {.cell = "gru", .steps = 100, .batch = 17, .vocabulary = 9, .inputs = 5, .hidden = 5,
     .layers = 2, .outputs = 9, .loss = BPTT_CROSS_ENTROPY, .dropout = 0.3, .dropout_state = 0.25},
    {.cell = "antisymmetric", .steps = 7, .batch = 3, .inputs = 4, .hidden = 6,
     .layers = 1, .outputs = 2, .loss = BPTT_MSE, .dropout_state = 0.4},
    {.cell = "slstm", .steps = 5, .batch = 2, .inputs = 3, .hidden = 8,
     .layers = 1, .outputs = 2, .loss = BPTT_MSE, .dropout_state = 0.4},
    {.cell = blocks, .steps = 5, .batch = 3, .inputs = 4, .hidden = 64,
     .layers = 1, .outputs = 2, .loss = BPTT_MSE, .dropout_state = 0.4},
    {.cell = "fastgrnn", .steps = 5, .batch = 2, .inputs = 4, .hidden = 8,
     .layers = 1, .outputs = 2, .loss = BPTT_MSE, .dropout_state = 0.4},
    {.cell = "cornn", .steps = 5, .batch = 2, .inputs = 4, .hidden = 8,
     .layers = 1, .outputs = 2, .loss = BPTT_MSE, .dropout_state = 0.4},
    {.cell = late, .steps = 9, .batch = 2, .inputs = 4, .hidden = 8,
     .layers = 1, .outputs = 2, .loss = BPTT_MSE, .dropout_state = 0.4},
    {.cell = shared, .steps = 5, .batch = 2, .inputs = 4, .hidden = 8, .layers = 2, .outputs = 2,
     .loss = BPTT_MSE, .dropout_state = 0.4},
};

/* Few rows and enough units: the scan is shared out by units (time/units.h), and must give the bits of one worker. */
static void test_units(void)
{
    static const char *const cells[] = {"rnn", "lstm", "gru", "gru_v1", "mgu", "ugrnn", "lstm_peephole", "lstm_projected",
                                        "lstm_layernorm", "slstm", "antisymmetric", "cfc", "cornn", "fastgrnn", "lem", "linear",
                                        "rnn_relu", blocks, shared, late, "mingru", "minlstm", "sru", "indrnn"};
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
        struct shape shape = {.cell = cells[i], .steps = i < 20 ? 20 : 120,      /* without a matrix: as much work in all */
                              .batch = 1 + (long)(i % 2), .inputs = 5, .hidden = 132,
                              .layers = 1, .outputs = 2, .loss = BPTT_MSE};
        struct subject s;
        if (subject_open(&s, &shape))
            compare_precisions(&s);
        subject_free(&s);
    }
}

static void test(const struct shape *shape, int differences)
{
    struct subject s;
    if (subject_open(&s, shape)) {
        if (differences)
            compare_differences(&s);
        compare_precisions(&s);
        compare_paths(&s);
    }
    subject_free(&s);
}

int main(void)
{
    for (size_t i = 0; i < sizeof small / sizeof *small; i++)
        test(&small[i], 1);
    for (size_t i = 0; i < sizeof large / sizeof *large; i++)
        test(&large[i], 0);
    for (size_t i = 0; i < sizeof dropped / sizeof *dropped; i++)
        test(&dropped[i], 1);
    test_units();
    return tap_done();
}
