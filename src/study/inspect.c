/* inspect.c - see inspect.h: what is asked, the data, and the report around what lag.c and walk.c measure. */
#include "inspect.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../train/symbols.h"

enum { LAGS = 256 };                       /* of one's own choice */
enum { LAGS_MOST = 1 << 24, BATCH_MOST = 1 << 16, WINDOWS_MOST = 1 << 20, EXPONENTS_MOST = 1 << 10 };
static const int64_t STEPS_MOST = (int64_t)1 << 40;

bptt_inspect_options bptt_inspect_defaults(void)
{
    return (bptt_inspect_options){.size = sizeof(bptt_inspect_options), .batch = 16, .windows = 4, .exponents = 4};
}

const char *bptt_verdict_name(int verdict)
{
    static const char *const names[] = {"unknown", "vanishing", "stable", "exploding", "chaotic"};
    return names[verdict >= BPTT_VANISHING && verdict <= BPTT_CHAOTIC ? verdict : 0];
}

void bptt_inspect_clear(bptt_inspect_report *r)
{
    for (size_t i = 0; r->curve && i < r->curves; i++)
        free(r->curve[i].norm);
    for (int64_t l = 0; r->layer && l < r->layers; l++) {
        free(r->layer[l].product_lag);
        free(r->layer[l].product);
        free(r->layer[l].alignment);
        free(r->layer[l].exponent);
        free(r->layer[l].error);
    }
    free(r->curve);
    free(r->layer);
    free(r->value);
    free(r->parameter);
    *r = (bptt_inspect_report){0};
}

/* ---- for all parts ---- */

int inspect_progress(const struct inspect *inspect, const char *what, double fraction)
{
    const bptt_inspect_options *o = &inspect->options;
    if (o->on_progress && o->on_progress(what, fraction, o->user))
        return fail(inspect->error, BPTT_INTERRUPTED, "stopped");
    return BPTT_OK;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Between the two values nearest to that share. */
static double quantile(const double *sorted, long n, double share)
{
    double at = share * (double)(n - 1);
    long below = (long)at;
    if (below + 1 >= n || at <= (double)below)
        return sorted[below];
    return sorted[below] + (at - (double)below) * (sorted[below + 1] - sorted[below]);
}

void spread_of(double *values, long n, bptt_spread *spread)
{
    double sum = 0;
    *spread = (bptt_spread){NAN, NAN, NAN, NAN, NAN, NAN};
    if (n < 1)
        return;
    for (long i = 0; i < n; i++) {
        values[i] = isnan(values[i]) ? INFINITY : values[i];
        sum += values[i];
    }
    qsort(values, (size_t)n, sizeof *values, ascending);
    *spread = (bptt_spread){sum / (double)n, values[0], quantile(values, n, 0.1), quantile(values, n, 0.5),
                            quantile(values, n, 0.9), values[n - 1]};
}

/* ---- what is asked ---- */

static int check_options(const bptt_inspect_options *o, bptt_error *error)
{
    const struct { const char *name; int64_t value, low, high; } rows[] = {
        {"lags", o->lags, 0, LAGS_MOST}, {"batch", o->batch, 1, BATCH_MOST}, {"windows", o->windows, 1, WINDOWS_MOST},
        {"steps", o->steps, 0, STEPS_MOST}, {"jacobians", o->jacobians, 0, STEPS_MOST},
        {"exponents", o->exponents, 1, EXPONENTS_MOST}, {"threads", o->threads, 0, 1024}, {"memory", o->memory, 0, INT64_MAX},
    };
    if (o->size != sizeof *o)
        return fail(error, BPTT_ERROR_ARGUMENT, "the options of inspection do not come from bptt_inspect_defaults()");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].value < rows[i].low || rows[i].value > rows[i].high)
            return fail(error, BPTT_ERROR_ARGUMENT, "%s is %lld; it must be between %lld and %lld", rows[i].name,
                        (long long)rows[i].value, (long long)rows[i].low, (long long)rows[i].high);
    return BPTT_OK;
}

/* A window and as much before it. */
static int choose_lags(struct inspect *s)
{
    int64_t most = s->source.steps / 2, wanted = s->options.lags;
    const char *file = s->source.name, *unit = s->source.token ? "symbols" : "steps";
    int text = s->source.token && s->source.target_token == s->source.token + 1;     /* the symbol behind is one more */
    if (most < 1)
        return fail_file(s->error, BPTT_ERROR_ARGUMENT, file, "%ld %s are too few: a lag of one step needs %d",
                         s->source.steps + text, unit, 2 + text);
    if (wanted > most)
        return fail_file(s->error, BPTT_ERROR_ARGUMENT, file, "%ld %s are too few for %lld lags and as many steps before them: "
                         "at most --lags %lld", s->source.steps + text, unit, (long long)wanted, (long long)most);
    s->options.lags = wanted ? wanted : most < LAGS ? most : LAGS;
    return BPTT_OK;
}

static int run(struct inspect *s)
{
    int status = choose_lags(s);
    if (status)
        return status;
    s->report->lags = s->options.lags;
    s->report->layers = s->model->layers;
    s->report->samples = s->options.batch * s->options.windows;
    status = lag_measure(s);
    return status ? status : walk_measure(s);
}

/* ---- the data ---- */

int bptt_inspect(const bptt_model *model, const char *const *files, size_t file_count, const bptt_inspect_options *options,
                 bptt_inspect_report *report, bptt_error *error)
{
    struct inspect s = {
        .model = model, .options = options ? *options : bptt_inspect_defaults(), .report = report, .error = error};
    int32_t *token = NULL;
    int64_t tokens = 0;
    *report = (bptt_inspect_report){.clipped = NAN};
    int status = check_options(&s.options, error);
    if (!status && file_count == 0)
        status = fail(error, BPTT_ERROR_ARGUMENT, "no text to look at: name a file");
    if (!status)
        status = symbols_read(model, files, file_count, &token, &tokens, error);
    if (status)
        return status;
    s.source = (struct source){.steps = (long)tokens - 1,
                               .rows = 1,
                               .token = token,
                               .target_token = token + 1,
                               .name = files[0],
                               .inputs = model->inputs,
                               .outputs = model->outputs};
    status = run(&s);
    free(token);
    if (status)
        bptt_inspect_clear(report);
    return status;
}

static int is_float(const bptt_array *array)
{
    return array->type == BPTT_F32 || array->type == BPTT_F64;
}

static int check_arrays(const bptt_model *model, const bptt_array *x, const bptt_array *y, bptt_error *error)
{
    int classes = model->loss == BPTT_CROSS_ENTROPY;
    int fits = model->vocabulary ? x->type == BPTT_I32 && x->rank == 2
                                 : is_float(x) && x->rank == 3 && x->shape[2] == model->inputs;
    if (!fits && model->vocabulary)
        return fail(error, BPTT_ERROR_ARGUMENT, "the input does not fit: this model takes int32 tokens [T, B]");
    if (!fits)
        return fail(error, BPTT_ERROR_ARGUMENT, "the input does not fit: this model takes floats [T, B, I] with I = %ld",
                    model->inputs);
    if (x->shape[1] < 1)
        return fail(error, BPTT_ERROR_ARGUMENT, "the input has no batch rows");
    if (x->shape[0] > 1 << 30 || x->shape[1] > 1 << 24)
        return fail(error, BPTT_ERROR_ARGUMENT, "the input is too large: %lld steps of %lld rows", (long long)x->shape[0],
                    (long long)x->shape[1]);
    fits =
        !y || (y->shape[0] == x->shape[0] && y->shape[1] == x->shape[1] &&
               (classes ? y->type == BPTT_I32 && y->rank == 2 : is_float(y) && y->rank == 3 && y->shape[2] == model->outputs));
    if (!fits && classes)
        return fail(error, BPTT_ERROR_ARGUMENT, "the target does not fit: cross-entropy takes int32 [T, B] = [%lld, %lld]",
                    (long long)x->shape[0], (long long)x->shape[1]);
    if (!fits)
        return fail(error, BPTT_ERROR_ARGUMENT, "the target does not fit: it must be floats [T, B, O] = [%lld, %lld, %ld]",
                    (long long)x->shape[0], (long long)x->shape[1], model->outputs);
    return BPTT_OK;
}

static int check_range(const bptt_array *a, long limit, const char *what, bptt_error *error)
{
    const int32_t *values = a->data;
    for (int64_t i = 0; i < bptt_array_length(a); i++)
        if (values[i] < 0 || values[i] >= limit)
            return fail(error, BPTT_ERROR_ARGUMENT, "%s %d is not in 0..%ld", what, values[i], limit - 1);
    return BPTT_OK;
}

/* The array's numbers in double precision: its own or a copy in *owned. */
static const double *doubles(const bptt_array *a, double **owned, bptt_error *error)
{
    if (a->type == BPTT_F64)
        return a->data;
    int64_t n = bptt_array_length(a);
    *owned = malloc(size_mul((size_t)n + 1, sizeof **owned));
    if (!*owned) {
        fail_memory(error, size_mul((size_t)n, sizeof **owned));
        return NULL;
    }
    for (int64_t i = 0; i < n; i++)
        (*owned)[i] = (double)((const float *)a->data)[i];
    return *owned;
}

static int take_input(struct inspect *s, const bptt_array *x, double **owned)
{
    s->source = (struct source){.steps = (long)x->shape[0], .rows = (long)x->shape[1], .inputs = s->model->inputs,
                                .outputs = s->model->outputs, .name = *x->name ? x->name : "the input"};
    if (s->model->vocabulary) {
        s->source.token = x->data;
        return check_range(x, s->model->vocabulary, "token", s->error);
    }
    s->source.x = doubles(x, owned, s->error);
    return s->source.x ? BPTT_OK : BPTT_ERROR_MEMORY;
}

static int take_target(struct inspect *s, const bptt_array *y, double **owned)
{
    if (s->model->loss == BPTT_CROSS_ENTROPY) {
        s->source.target_token = y->data;
        return check_range(y, s->model->outputs, "class", s->error);
    }
    s->source.target = doubles(y, owned, s->error);
    return s->source.target ? BPTT_OK : BPTT_ERROR_MEMORY;
}

int bptt_inspect_arrays(const bptt_model *model, const bptt_array *input, const bptt_array *target,
                        const bptt_inspect_options *options, bptt_inspect_report *report, bptt_error *error)
{
    struct inspect s = {
        .model = model, .options = options ? *options : bptt_inspect_defaults(), .report = report, .error = error};
    double *x = NULL, *y = NULL;
    *report = (bptt_inspect_report){.clipped = NAN};
    int status = check_options(&s.options, error);
    if (!status) status = check_arrays(model, input, target, error);
    if (!status) status = take_input(&s, input, &x);
    if (!status && target) status = take_target(&s, target, &y);
    if (!status) status = run(&s);
    free(x);
    free(y);
    if (status)
        bptt_inspect_clear(report);
    return status;
}
