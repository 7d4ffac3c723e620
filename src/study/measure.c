/* measure.c - how fast a cell runs here: cases of some sizes, measured in turns. A case is a model without a head on numbers
 * drawn once, a network for forward passes, one for gradients, and a stream. The clock is read around runs that are long
 * enough for it, and the medians are what counts; of the peak the largest, since nothing can make it too large. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../kernel/kernel.h"
#include "../model/network.h"

enum { ROUNDS = 5, FIGURES = 3 };
static const double LEAST_SECONDS = 1e-3, PEAK_SECONDS = 0.02;

struct subject {
    const bptt_speed_case *config;
    bptt_speed *out;
    bptt_model *model;
    struct network forward, gradient;
    bptt_stream *stream;
    struct window window;                  /* of the gradient; the forward pass takes its inputs alone */
    float *x, *dy, *dx, *y;               
    long runs[FIGURES];                    /* between two looks at the clock */
    double seconds[FIGURES][ROUNDS];
};

bptt_speed_case bptt_speed_defaults(void)
{
    return (bptt_speed_case){.size = sizeof(bptt_speed_case), .hidden = 512, .layers = 1, .batch = 32, .length = 64,
                             .precision = BPTT_F32};
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int order(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return a < b ? -1 : a > b;
}

/* ---- what is run ---- */

static int run_forward(struct subject *s, bptt_error *error)
{
    struct window window = {.steps = s->window.steps, .x = s->x, .element_size = s->window.element_size};
    return network_forward(&s->forward, &window, error);
}

static int run_gradient(struct subject *s, bptt_error *error)
{
    network_clear_gradients(&s->gradient);
    return network_gradient(&s->gradient, &s->window, error);
}

static int run_step(struct subject *s, bptt_error *error)
{
    return bptt_stream_step(s->stream, s->x, s->y, error);
}

static int (*const run[FIGURES])(struct subject *s, bptt_error *error) = {run_forward, run_gradient, run_step};

/* Seconds of one of `runs` runs. */
static int time_runs(struct subject *s, int figure, double *seconds, bptt_error *error)
{
    int status = BPTT_OK;
    double start = now();
    for (long i = 0; i < s->runs[figure] && !status; i++)
        status = run[figure](s, error);
    *seconds = (now() - start) / (double)s->runs[figure];
    return status;
}

/* As many runs as fill the time; the first one, in cold caches, is not counted. */
static int choose_runs(struct subject *s, double seconds, bptt_error *error)
{
    int status = BPTT_OK;
    for (int f = 0; f < FIGURES && !status; f++) {
        double share = fmax(seconds / (ROUNDS * FIGURES), LEAST_SECONDS), once = 0;
        for (s->runs[f] = 1; !status && s->runs[f] < 1 << 24; s->runs[f] *= 4) {
            status = time_runs(s, f, &once, error);
            if (once * (double)s->runs[f] > share / 8)
                break;
        }
        double runs = share / fmax(once, 1e-9);
        s->runs[f] = runs < 1 ? 1 : (long)runs;
    }
    return status;
}

/* ---- the peak ---- */

struct peak {
    const struct kernels *kernels;
    double *speed;                         /* by worker: operations a second, while all are at it */
};

static void peak_worker(void *context, int worker, int workers)
{
    struct peak *peak = context;
    _Alignas(64) char registers[64] = {0};
    double operations = 0, start = now(), took = 0;
    (void)workers;
    for (; took < PEAK_SECONDS; took = now() - start)
        operations += peak->kernels->multiply_adds(registers);
    peak->speed[worker] = operations / took;
}

static int measure_peak(struct subject *s, bptt_error *error)
{
    struct pool *pool = s->gradient.pool;
    int workers = pool_workers(pool);
    struct peak peak = {s->gradient.kernels->wide, calloc((size_t)workers, sizeof(double))};
    if (!peak.speed)
        return fail_memory(error, (size_t)workers * sizeof(double));
    pool_run(pool, peak_worker, &peak);
    double sum = 0;
    for (int i = 0; i < workers; i++)
        sum += peak.speed[i];
    s->out->peak = fmax(s->out->peak, sum);
    free(peak.speed);
    return BPTT_OK;
}

/* ---- life ---- */

static int make_model(struct subject *s, bptt_error *error)
{
    const bptt_speed_case *c = s->config;
    bptt_model_config config = bptt_model_defaults();
    config.cell = c->cell;
    config.inputs = c->inputs ? c->inputs : c->hidden;
    config.hidden = c->hidden;
    config.layers = c->layers;
    config.dims = c->dims;
    config.loss = BPTT_MSE;
    config.head = 0;
    int status = bptt_model_new(&config, &s->model, error);
    return status ? status : bptt_model_kernel(s->model, 0, c->precision, &s->out->kernel, error);
}

static int make_network(struct subject *s, int gradients, struct network *net, bptt_error *error)
{
    const bptt_speed_case *c = s->config;
    struct network_config config = {.steps = (long)c->length, .batch = (long)c->batch, .threads = c->threads,
                                    .precision = precision_of(c->precision),
                                    .gradients = gradients, .input_gradient = gradients};
    int status = network_new(net, s->model, &config, error);
    if (!status)
        status = network_allocate(net, error);
    if (status)
        return status;
    network_load(net);
    network_reset(net);
    return BPTT_OK;
}

static float *draw(int64_t rows, int64_t width, int purpose, bptt_error *error)
{
    size_t count = size_mul((size_t)rows, (size_t)width), bytes = size_mul(count, sizeof(float));
    float *values = malloc(bytes ? bytes : 1);
    if (!values)
        fail_memory(error, bytes);
    for (size_t i = 0; values && i < count; i++)
        values[i] = (float)((i * 37 + (size_t)purpose) % 257) / 128 - 1;
    return values;
}

static int make_arrays(struct subject *s, bptt_error *error)
{
    int64_t rows = s->config->batch * s->config->length;
    s->x = draw(rows, s->model->inputs, 1, error);
    s->dx = draw(rows, s->model->inputs, 0, error);
    s->dy = draw(rows, s->model->outputs, 2, error);
    s->y = draw(1, s->model->outputs, 0, error);
    s->window = (struct window){.steps = (long)s->config->length, .x = s->x, .output_gradient = s->dy, .input_gradient = s->dx,
                                .element_size = sizeof(float)};
    return s->x && s->dx && s->dy && s->y ? BPTT_OK : BPTT_ERROR_MEMORY;
}

static int check_case(const bptt_speed_case *c, bptt_error *error)
{
    if (c->size != sizeof *c)
        return fail(error, BPTT_ERROR_ARGUMENT, "bptt_speed_case.size is %zu: begin with bptt_speed_defaults()", c->size);
    if (!c->cell)
        return fail(error, BPTT_ERROR_ARGUMENT, "there is no cell to measure");
    if (c->batch < 1 || c->length < 1 || c->batch > LONG_MAX / c->length)
        return fail(error, BPTT_ERROR_ARGUMENT, "batch %lld, length %lld: both must be at least 1", (long long)c->batch,
                    (long long)c->length);
    return BPTT_OK;
}

static int subject_open(struct subject *s, bptt_error *error)
{
    int status = check_case(s->config, error);
    if (!status)
        status = make_model(s, error);
    if (!status)
        status = make_network(s, 0, &s->forward, error);
    if (!status)
        status = make_network(s, 1, &s->gradient, error);
    if (!status)
        status = bptt_stream_new_in(s->model, 1, s->config->precision, &s->stream, error);
    return status ? status : make_arrays(s, error);
}

static void subject_close(struct subject *s)
{
    bptt_stream_free(s->stream);
    network_free(&s->gradient);
    network_free(&s->forward);
    bptt_model_free(s->model);
    free(s->x);
    free(s->dx);
    free(s->dy);
    free(s->y);
}

/* ---- the measurement ---- */

/* Operations of one step of one row, all layers. */
static int count_operations(const struct subject *s, double *operations, bptt_error *error)
{
    int64_t inputs = s->model->inputs;
    int status = BPTT_OK;
    *operations = 0;
    for (long l = 0; l < s->model->layers && !status; l++) {
        bptt_cell_info info = {0};
        status = bptt_cell_describe(s->model->cell, inputs, s->model->hidden, &info, error);
        *operations += (double)info.flops;
        inputs = s->model->top;
    }
    return status;
}

static bptt_speed_figure figure(struct subject *s, int number, double operations)
{
    qsort(s->seconds[number], ROUNDS, sizeof(double), order);
    return (bptt_speed_figure){s->seconds[number][ROUNDS / 2], operations};
}

static int report(struct subject *s, bptt_error *error)
{
    double operations, rows = (double)s->config->batch * (double)s->config->length;
    int status = count_operations(s, &operations, error);
    s->out->threads = pool_workers(s->gradient.pool);
    s->out->scan_workers = layer_scan_workers(&s->gradient.layer[0], s->out->threads, &s->out->scan_units);
    s->out->forward = figure(s, 0, rows * operations);
    s->out->gradient = figure(s, 1, 3 * rows * operations);
    s->out->step = figure(s, 2, operations);
    return status;
}

static int measure_round(struct subject *subjects, size_t count, int round, bptt_error *error)
{
    int status = BPTT_OK;
    for (size_t i = 0; i < count && !status; i++)
        status = measure_peak(&subjects[i], error);
    for (int f = 0; f < FIGURES; f++)
        for (size_t i = 0; i < count && !status; i++)
            status = time_runs(&subjects[i], f, &subjects[i].seconds[f][round], error);
    return status;
}

int bptt_measure(const bptt_speed_case *cases, size_t count, double seconds, bptt_speed *speeds, bptt_error *error)
{
    struct subject *subjects = calloc(count ? count : 1, sizeof *subjects);
    if (!subjects)
        return fail_memory(error, count * sizeof *subjects);
    int status = BPTT_OK;
    for (size_t i = 0; i < count && !status; i++) {
        subjects[i].config = &cases[i];
        subjects[i].out = &speeds[i];
        speeds[i] = (bptt_speed){0};
        status = subject_open(&subjects[i], error);
        if (!status)
            status = choose_runs(&subjects[i], seconds, error);
    }
    for (int round = 0; round < ROUNDS && !status; round++)
        status = measure_round(subjects, count, round, error);
    for (size_t i = 0; i < count && !status; i++)
        status = report(&subjects[i], error);
    for (size_t i = 0; i < count; i++)
        subject_close(&subjects[i]);
    free(subjects);
    return status;
}
