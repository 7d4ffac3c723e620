/* test_inspect.c - bptt_inspect against other ways to the same numbers: Jacobians row by row from bptt_gradient, eigenvalues
 * that were put in, determinants, a known chaotic map, and gradients by lag from shorter sequences. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../include/bptt.h"
#include "tap.h"

enum { MOST = 16 };                        /* states */
static const double DOUBLE_TOLERANCE =
    1e-8; /* well-conditioned numbers of some hundred roundings each, and what is asked for */

static const char henon[] = "# The map of Henon (1976)\ncell henon\ninput u\nstate x, y\nconst a = 1.4\nconst b = 0.3\n"
                            "x' = 1 - a * square(x) + y\ny' = b * x\n";
static const char power[] =
    "# Powers of a matrix\ncell power\ninput x\nstate h\nparam U[H, H]\nparam V[H, I] = 0.1\nh' = U h + V x\n";
static const char lost[] =
    "# Half of the units never wake\ncell lost\ninput x\nstate h\nparam b[H] = 0\nh' = relu(W x + U h + b)\n";

/* ---- models and data ---- */

static bptt_model *open_text(const char *text, const char *name, int64_t inputs, int64_t hidden, int64_t layers,
                             int64_t outputs)
{
    bptt_model_config config = bptt_model_defaults();
    bptt_cell *cell;
    bptt_model *model = NULL;
    bptt_error error = {0};
    int status = text ? bptt_cell_parse(text, name, &cell, &error) : bptt_cell_open(name, &cell, &error);
    if (!status) {
        config.cell = cell;
        config.inputs = inputs;
        config.hidden = hidden;
        config.layers = layers;
        config.outputs = outputs;
        config.head = outputs > 0;
        config.loss = BPTT_MSE;
        config.seed = 5;
        status = bptt_model_new(&config, &model, &error);
        bptt_cell_free(cell);
    }
    if (status)
        tap_note("%s: %s", name, error.text);
    return model;
}

/* A view. */
static bptt_array parameter(const bptt_model *model, const char *name)
{
    bptt_array a = {0};
    for (size_t i = 0; i < bptt_model_parameter_count(model); i++)
        if (!bptt_model_parameter(model, i, &a) && !strcmp(a.name, name))
            return a;
    tap_ok(0, "there is a parameter %s", name);
    return (bptt_array){.rank = 1};
}

static double drawn(uint64_t *state)
{
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return (double)(int64_t)*state / 9.3e18;
}

static bptt_array numbers(int64_t steps, int64_t batch, int64_t width, double size)
{
    bptt_array a = {.type = BPTT_F64, .rank = 3, .shape = {steps, batch, width}};
    uint64_t state = 9;
    double *data = calloc((size_t)(steps * batch * width), sizeof *data);
    for (int64_t i = 0; data && i < steps * batch * width; i++)
        data[i] = size * drawn(&state);
    a.data = data;
    return a;
}

static bptt_inspect_options one_of_each(int64_t lags)
{
    bptt_inspect_options o = bptt_inspect_defaults();
    o.lags = lags;
    o.batch = o.windows = 1;
    o.threads = 1;
    return o;
}

/* ---- another way to a Jacobian: rows are gradients of one step ---- */

static int64_t states_of(const bptt_arrays *set)
{
    int64_t n = 0;
    for (size_t i = 0; i < set->count; i++)
        n += bptt_array_length(&set->items[i]);
    return n;
}

static double *element(const bptt_arrays *set, int64_t at, const char *prefix)
{
    for (size_t i = 0; i < set->count; i++) {
        if (strncmp(set->items[i].name, prefix, strlen(prefix)))
            continue;
        if (at < bptt_array_length(&set->items[i]))
            return (double *)set->items[i].data + at;
        at -= bptt_array_length(&set->items[i]);
    }
    return NULL;
}

/* J [n][n] of one step from the given states of a model of one layer; `final`: those after it, owned. */
static int64_t jacobian(const bptt_model *model, const bptt_array *x, int64_t step, const bptt_arrays *states, double *j,
                        bptt_arrays *final)
{
    bptt_run_options o = bptt_run_defaults();
    bptt_error error = {0};
    bptt_array at = *x, y;
    at.shape[0] = 1;
    at.data = (double *)x->data + step * x->shape[2];
    o.precision = BPTT_F64;
    o.threads = 1;
    if (bptt_run(model, &at, states, &y, final, &o, &error))
        return 0;
    int64_t n = states_of(final);
    bptt_arrays direction;
    bptt_run(model, &at, states, NULL, &direction, &o, &error);
    memset(y.data, 0, (size_t)bptt_array_length(&y) * sizeof(double));
    for (int64_t r = 0; r < n; r++) {
        bptt_arrays g;
        for (int64_t c = 0; c < n; c++)
            *element(&direction, c, "") = c == r;
        if (bptt_gradient(model, &at, NULL, &y, states, &direction, NULL, &g, &o, &error)) {
            tap_note("%s", error.text);
            return 0;
        }
        for (int64_t c = 0; c < n; c++)
            j[r * n + c] = *element(&g, c, "initial.");
        bptt_arrays_clear(&g);
    }
    bptt_array_clear(&y);
    bptt_arrays_clear(&direction);
    return n;
}

/* One-sided Jacobi: columns turned until they are at right angles; their lengths are the singular values. */
static void singular(const double *j, int64_t n, double *largest, double *smallest)
{
    double a[MOST * MOST];
    memcpy(a, j, (size_t)(n * n) * sizeof *a);
    for (int sweep = 0; sweep < 40; sweep++) {
        for (int64_t p = 0; p < n; p++) {
            for (int64_t q = p + 1; q < n; q++) {
                double pp = 0, qq = 0, pq = 0;
                for (int64_t i = 0; i < n; i++) {
                    pp += a[i * n + p] * a[i * n + p];
                    qq += a[i * n + q] * a[i * n + q];
                    pq += a[i * n + p] * a[i * n + q];
                }
                double angle = 0.5 * atan2(2 * pq, pp - qq), c = cos(angle), s = sin(angle);
                for (int64_t i = 0; i < n; i++) {
                    double left = a[i * n + p], right = a[i * n + q];
                    a[i * n + p] = c * left + s * right;
                    a[i * n + q] = c * right - s * left;
                }
            }
        }
    }
    *largest = 0;
    *smallest = INFINITY;
    for (int64_t p = 0; p < n; p++) {
        double square = 0;
        for (int64_t i = 0; i < n; i++)
            square += a[i * n + p] * a[i * n + p];
        *largest = fmax(*largest, sqrt(square));
        *smallest = fmin(*smallest, sqrt(square));
    }
}

static void multiply(const double *a, const double *b, int64_t n, double *c)
{
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < n; j++) {
            c[i * n + j] = 0;
            for (int64_t k = 0; k < n; k++)
                c[i * n + j] += a[i * n + k] * b[k * n + j];
        }
    }
}

/* |J^(2^50)|^(1 / 2^50), by squaring. */
static double radius(const double *j, int64_t n)
{
    double a[MOST * MOST], b[MOST * MOST], log_scale = 0, share = 1;
    memcpy(a, j, (size_t)(n * n) * sizeof *a);
    for (int k = 0; k < 50; k++) {
        double norm = 0;
        for (int64_t i = 0; i < n * n; i++)
            norm += a[i] * a[i];
        norm = sqrt(norm);
        if (!(norm > 0))
            return 0;
        for (int64_t i = 0; i < n * n; i++)
            a[i] /= norm;
        log_scale += share * log(norm);
        share /= 2;
        multiply(a, a, n, b);
        memcpy(a, b, (size_t)(n * n) * sizeof *a);
    }
    return exp(log_scale);
}

/* log |det J|, by elimination with pivots. */
static double log_determinant(const double *j, int64_t n)
{
    double a[MOST * MOST], sum = 0;
    memcpy(a, j, (size_t)(n * n) * sizeof *a);
    for (int64_t k = 0; k < n; k++) {
        int64_t pivot = k;
        for (int64_t i = k; i < n; i++)
            pivot = fabs(a[i * n + k]) > fabs(a[pivot * n + k]) ? i : pivot;
        for (int64_t c = 0; c < n; c++) {
            double swap = a[k * n + c];
            a[k * n + c] = a[pivot * n + c];
            a[pivot * n + c] = swap;
        }
        sum += log(fabs(a[k * n + k]));
        for (int64_t i = k + 1; i < n; i++)
            for (int64_t c = n - 1; c >= k; c--)
                a[i * n + c] -= a[i * n + k] / a[k * n + k] * a[k * n + c];
    }
    return sum;
}

/* ---- the step Jacobian ---- */

/* Step by step along one stretch from the start: singular values of each step's J and of their product, and the exponents'
 * sum, which is the mean of log |det J| whatever directions they began with. */
static void test_jacobian(const char *cell, int64_t hidden)
{
    enum { STEPS = 32, SKIPPED = STEPS / 10 };
    bptt_model *model = open_text(NULL, cell, 3, hidden, 1, 2);
    bptt_array x = numbers(STEPS, 1, 3, 1);
    bptt_inspect_options o = one_of_each(4);
    bptt_inspect_report r;
    bptt_error error = {0};
    o.steps = o.jacobians = STEPS;
    o.exponents = MOST;
    if (!tap_ok(model && !bptt_inspect_arrays(model, &x, NULL, &o, &r, &error), "%s: inspected %s", cell, error.text))
        return;
    double j[MOST * MOST], p[MOST * MOST], next[MOST * MOST], largest = 0, smallest = 0, radii = 0, logs = 0, sum = 0,
                                                              worst = 0;
    bptt_arrays states = {0};
    int64_t n = 0, product = 0;
    for (int64_t t = 0; t < STEPS; t++) {
        bptt_arrays final;
        double high, low;
        n = jacobian(model, &x, t, t ? &states : NULL, j, &final);
        bptt_arrays_clear(&states);
        states = final;
        singular(j, n, &high, &low);
        largest += high / STEPS;
        smallest += low / STEPS;
        radii += radius(j, n) / STEPS;
        logs += t >= SKIPPED ? log_determinant(j, n) / (STEPS - SKIPPED) : 0;
        multiply(j, p, n, next);
        memcpy(p, t ? next : j, sizeof p);
        singular(p, n, &high, &low);
        if (product < r.layer[0].products && t + 1 == r.layer[0].product_lag[product])
            worst = fmax(worst, fabs(r.layer[0].product[product++].mean / high - 1));
    }
    bptt_arrays_clear(&states);
    const bptt_inspect_layer *l = &r.layer[0];
    tap_ok(l->states == n && l->jacobians == STEPS && l->steps == STEPS - SKIPPED && r.walked == STEPS,
           "%s: %lld states, every step looked at", cell, (long long)n);
    tap_near(l->largest.mean, largest, DOUBLE_TOLERANCE, "%s: largest singular value", cell);
    tap_near(l->smallest.mean, smallest, DOUBLE_TOLERANCE, "%s: smallest singular value", cell);
    tap_near(l->radius.mean, radii, DOUBLE_TOLERANCE, "%s: spectral radius", cell);
    tap_ok(product == 6 && worst <= DOUBLE_TOLERANCE, "%s: products over 1 to 32 steps: off by %g", cell, worst);
    for (int64_t i = 0; i < l->exponents; i++)
        sum += l->exponent[i];
    if (isfinite(logs) && logs > -600)     /* else a direction is lost to rounding, and so is its logarithm */
        tap_near(sum, logs, 1e-6, "%s: all exponents add up to the determinants", cell);
    bptt_inspect_clear(&r);
    bptt_array_clear(&x);
    bptt_model_free(model);
}

/* ---- networks whose eigenvalues are known ---- */

/* U symmetric with the eigenvalues size * 1, 0.9, -0.7, 0.4: a diagonal matrix turned by two reflections. */
static bptt_model *symmetric(double size)
{
    static const double value[4] = {1, 0.9, -0.7, 0.4};
    bptt_model *model = open_text(power, "power.cell", 1, 4, 1, 0);
    if (!model)
        return model;
    float *u = parameter(model, "layers.0.U").data;
    double a[16] = {0}, b[16], h[16];
    for (int i = 0; i < 4; i++)
        a[5 * i] = size * value[i];
    for (int k = 0; k < 2; k++) {
        double v[4] = {1, k + 0.5, -0.3, 2 - k}, square = 0;
        for (int i = 0; i < 4; i++)
            square += v[i] * v[i];
        for (int i = 0; i < 16; i++)
            h[i] = (i % 5 == 0) - 2 * v[i / 4] * v[i % 4] / square;
        multiply(h, a, 4, b);
        multiply(b, h, 4, a);
    }
    for (int i = 0; i < 16; i++)
        u[i] = (float)a[i];
    return model;
}

static void test_linear(double size, int verdict)
{
    enum { STEPS = 400 };
    static const double expected[4] = {1, 0.9, 0.7, 0.4};
    bptt_model *model = symmetric(size);
    bptt_array x = numbers(STEPS, 1, 1, 1);
    bptt_inspect_options o = one_of_each(100);
    bptt_inspect_report r;
    bptt_error error = {0};
    o.steps = STEPS;
    if (!tap_ok(model && !bptt_inspect_arrays(model, &x, NULL, &o, &r, &error), "eigenvalue %g: inspected %s", size,
                error.text))
        return;
    const bptt_inspect_layer *l = &r.layer[0];
    double last = l->alignment[0];
    int rising = 1;
    /* the matrix was rounded to single precision: 6e-8 of its size */
    tap_near(l->largest.mean, size, 2e-7, "eigenvalue %g: the largest singular value", size);
    tap_near(l->smallest.mean, 0.4 * size, 2e-7, "eigenvalue %g: the smallest", size);
    tap_near(l->radius.most, size, 2e-7, "eigenvalue %g: the spectral radius", size);
    /* the directions have to turn to the eigenvectors, at 0.9 a step */
    for (int i = 0; i < 4; i++)
        tap_near(l->exponent[i], log(size * expected[i]), i < 2 ? 1e-3 : 2e-3, "eigenvalue %g: exponent %d", size, i);
    for (int64_t k = 1; k < l->products; k++, last = l->alignment[k - 1])
        rising &= l->alignment[k] >= last;
    tap_ok(l->products == 6 || l->products == 7, "eigenvalue %g: %lld products", size, (long long)l->products);
    tap_ok(rising && l->alignment[l->products - 1] > 0.99,
           "eigenvalue %g: the power iteration turns to the first eigenvector: %g to %g", size, l->alignment[0],
           l->alignment[l->products - 1]);
    tap_near(l->product[4].mean / pow(size, 16), 1, 4e-6, "eigenvalue %g: sixteen steps", size);
    tap_near(r.curve[0].decay, size, 1e-2, "eigenvalue %g: the decay by lag", size);
    tap_ok(l->verdict == verdict, "eigenvalue %g: %s", size, bptt_verdict_name(l->verdict));
    bptt_inspect_clear(&r);
    bptt_array_clear(&x);
    bptt_model_free(model);
}

static void test_rest(void)
{
    bptt_model *model = symmetric(1.2);
    bptt_array x = numbers(300, 1, 1, 0);
    bptt_inspect_options o = one_of_each(50);
    bptt_inspect_report r;
    bptt_error error = {0};
    if (!tap_ok(model && !bptt_inspect_arrays(model, &x, NULL, &o, &r, &error), "states at rest: %s", error.text))
        return;
    tap_ok(r.layer[0].verdict == BPTT_EXPLODING && isnan(r.layer[0].growth), "states at rest where gradients grow: %s",
           bptt_verdict_name(r.layer[0].verdict));
    bptt_inspect_clear(&r);
    bptt_array_clear(&x);
    bptt_model_free(model);
}

static void test_overflow(void)
{
    bptt_model *model = symmetric(3);
    bptt_array x = numbers(2000, 1, 1, 1);
    bptt_inspect_options o = one_of_each(10);
    bptt_inspect_report r;
    bptt_error error = {0};
    if (!tap_ok(model && !bptt_inspect_arrays(model, &x, NULL, &o, &r, &error), "states that overflow: %s", error.text))
        return;
    /* 3^646 is the last power that fits */
    tap_ok(r.layer[0].verdict == BPTT_EXPLODING && r.layer[0].overflow > 600 && r.layer[0].overflow < 660,
           "3 a step is no longer finite at step %lld: %s", (long long)r.layer[0].overflow,
           bptt_verdict_name(r.layer[0].verdict));
    bptt_inspect_clear(&r);
    bptt_array_clear(&x);
    bptt_model_free(model);
}

static void test_henon(void)
{
    bptt_model *model = open_text(henon, "henon.cell", 1, 1, 1, 0);
    bptt_array x = numbers(40000, 1, 1, 0);
    bptt_inspect_options o = one_of_each(20);
    bptt_inspect_report r;
    bptt_error error = {0};
    if (!tap_ok(model && !bptt_inspect_arrays(model, &x, NULL, &o, &r, &error), "Henon's map: %s", error.text))
        return;
    const bptt_inspect_layer *l = &r.layer[0];
    tap_ok(fabs(l->exponent[0] - 0.419) <= 0.01, "Henon's map: the largest exponent is %g", l->exponent[0]);
    tap_near(l->exponent[0] + l->exponent[1], log(0.3), 1e-6, "Henon's map: both add up to log b");
    tap_ok(l->verdict == BPTT_CHAOTIC && l->error[0] < 0.01, "Henon's map: %s", bptt_verdict_name(l->verdict));
    bptt_inspect_clear(&r);
    bptt_array_clear(&x);
    bptt_model_free(model);
}

/* ---- gradients by lag ---- */

/* |dL/ds_{t-k}| as the gradient of a shorter run by its initial state. The window is the whole second half. */
static double by_initial(const bptt_model *model, const bptt_array *x, const bptt_array *target, int64_t from,
                         const char *state)
{
    bptt_run_options o = bptt_run_defaults();
    bptt_error error = {0};
    bptt_arrays states, g;
    bptt_array before = *x, after = *x, y, ones;
    int64_t width = x->shape[2];
    o.precision = BPTT_F64;
    before.shape[0] = from;
    after.shape[0] = x->shape[0] - from;
    after.data = (double *)x->data + from * width;
    if (bptt_run(model, &before, NULL, NULL, &states, &o, &error) || bptt_run(model, &after, &states, &y, NULL, &o, &error))
        return NAN;
    ones = y;
    double *last = (double *)ones.data + (after.shape[0] - 1) * y.shape[2];
    const double *wanted = target ? (double *)target->data + (x->shape[0] - 1) * y.shape[2] : NULL;
    for (int64_t i = 0; i < y.shape[2]; i++)
        last[i] = wanted ? 2 * (last[i] - wanted[i]) / (double)y.shape[2] : 1;
    memset(ones.data, 0, (size_t)((after.shape[0] - 1) * y.shape[2]) * sizeof(double));
    if (bptt_gradient(model, &after, NULL, &ones, &states, NULL, NULL, &g, &o, &error))
        return NAN;
    char name[128];
    double square = 0;
    snprintf(name, sizeof name, "initial.%s", state);
    const bptt_array *found = bptt_arrays_find(&g, name);
    for (int64_t i = 0; found && i < bptt_array_length(found); i++)
        square += ((double *)found->data)[i] * ((double *)found->data)[i];
    bptt_array_clear(&y);
    bptt_arrays_clear(&g);
    bptt_arrays_clear(&states);
    return found ? sqrt(square) : NAN;
}

static void test_lags(const char *cell, int64_t layers, int with_target)
{
    enum { LAGS = 12 };
    bptt_model *model = open_text(NULL, cell, 3, 5, layers, 2);
    bptt_array x = numbers(2 * LAGS, 1, 3, 1), y = numbers(2 * LAGS, 1, 2, 1);
    bptt_inspect_options o = one_of_each(LAGS);
    bptt_inspect_report r;
    bptt_error error = {0};
    if (!tap_ok(model && !bptt_inspect_arrays(model, &x, with_target ? &y : NULL, &o, &r, &error), "%s: inspected %s", cell,
                error.text))
        return;
    double worst = 0;
    int compared = 0;
    for (size_t i = 0; i < r.curves; i++) {
        const bptt_inspect_lag *c = &r.curve[i];
        if (c->state < 0 || c->layer != layers - 1)    /* below, what the layer above sees at the same step comes in */
            continue;
        for (int64_t k = 1; k < LAGS; k++) {
            double expected = by_initial(model, &x, with_target ? &y : NULL, 2 * LAGS - k, c->name);
            worst = fmax(worst, fabs(c->norm[k].mean - expected) / fmax(expected, 1e-12));
            if (isnan(expected) || isnan(c->norm[k].mean))
                worst = INFINITY;
            compared++;
        }
    }
    tap_ok(compared >= LAGS - 1 && worst <= DOUBLE_TOLERANCE,
           "%s, %lld layers, %s: norms by lag of %d states and lags: off by %g", cell, (long long)layers,
           with_target ? "a target" : "sums of outputs", compared, worst);
    bptt_inspect_clear(&r);
    bptt_array_clear(&x);
    bptt_array_clear(&y);
    bptt_model_free(model);
}

/* ---- activities ---- */

static void fill(const bptt_model *model, const char *name, double value, int64_t count)
{
    bptt_array a = parameter(model, name);
    for (int64_t i = 0; i < bptt_array_length(&a) && i < count; i++)
        ((float *)a.data)[i] = (float)value;
}

static const bptt_inspect_value *value_of(const bptt_inspect_report *r, const char *name)
{
    for (size_t i = 0; i < r->values; i++)
        if (!strcmp(r->value[i].name, name))
            return &r->value[i];
    return NULL;
}

static void test_gates(void)
{
    bptt_model *model = open_text(NULL, "lstm", 2, 8, 1, 1);
    bptt_array x = numbers(100, 1, 2, 1);
    bptt_inspect_options o = one_of_each(10);
    bptt_inspect_report r;
    bptt_error error = {0};
    if (!tap_ok(model != NULL, "an LSTM"))
        return;
    fill(model, "layers.0.W_f", 0, 1000);
    fill(model, "layers.0.U_f", 0, 1000);
    fill(model, "layers.0.b_f", log(4), 1000);          /* f = 0.8: remembers five steps */
    fill(model, "layers.0.b_f", log(99), 2);            /* two units a hundred */
    fill(model, "layers.0.b_o", -60, 4);                /* four of eight outputs never open */
    int status = bptt_inspect_arrays(model, &x, NULL, &o, &r, &error);
    if (!tap_ok(!status, "inspected %s", error.text))
        return;
    const bptt_inspect_value *f = value_of(&r, "f"), *out = value_of(&r, "o"), *c = value_of(&r, "tanh(c')");
    if (!tap_ok(f && out && c && r.values == 5, "gates go by their names"))
        return;
    /* the parameters were rounded to single precision, and 1 - f takes its digits away */
    tap_near(f->longest, 100, 1e-5, "the longest memory is a hundred steps");
    tap_near(f->memory, (2 * 100 + 6 * 5) / 8.0, 1e-5, "the mean memory");
    tap_ok(isnan(out->memory) && isnan(c->memory), "what is no gate on a state has no memory");
    tap_ok(out->dead == 0.5 && out->low >= 0.5 && !strcmp(out->function, "sigmoid"), "half of the output gates are dead: %g",
           out->dead);
    tap_near(f->high, 0.25, 1e-12, "a quarter of the forget gates is saturated high, and dead");
    bptt_inspect_clear(&r);
    bptt_array_clear(&x);
    bptt_model_free(model);
}

static void test_relu(void)
{
    bptt_model *model = open_text(lost, "lost.cell", 2, 8, 1, 1);
    bptt_array x = numbers(100, 1, 2, 1);
    bptt_inspect_options o = one_of_each(10);
    bptt_inspect_report r;
    bptt_error error = {0};
    if (!tap_ok(model != NULL, "a network of rectifiers"))
        return;
    fill(model, "layers.0.b", 1, 8);
    fill(model, "layers.0.b", -100, 2);
    int status = bptt_inspect_arrays(model, &x, NULL, &o, &r, &error);
    if (!tap_ok(!status && r.values == 1, "inspected %s", error.text))
        return;
    tap_ok(r.value[0].dead == 0.25 && !strcmp(r.value[0].function, "relu"), "two of eight rectifiers are dead: %g",
           r.value[0].dead);
    tap_ok(r.value[0].high == 0, "and none is saturated high");
    bptt_inspect_clear(&r);
    bptt_array_clear(&x);
    bptt_model_free(model);
}

/* ---- what is refused ---- */

static void refuse(const char *what, const bptt_model *model, const bptt_array *x, const bptt_array *y,
                   const bptt_inspect_options *o, const char *words)
{
    bptt_inspect_report r;
    bptt_error error = {0};
    int status = bptt_inspect_arrays(model, x, y, o, &r, &error);
    tap_ok(status && strstr(error.text, words) && !r.curve && !r.layer, "%s: %s", what, error.text);
}

static void test_refused(void)
{
    bptt_model *model = open_text(NULL, "gru", 3, 4, 1, 2);
    bptt_array x = numbers(20, 1, 3, 1), narrow = numbers(20, 1, 2, 1), y = numbers(19, 1, 2, 1), one = numbers(1, 1, 3, 1);
    bptt_inspect_options none = {0}, wrong = bptt_inspect_defaults(), many = bptt_inspect_defaults();
    wrong.exponents = -1;
    many.lags = 11;
    refuse("another width", model, &narrow, NULL, NULL, "I = 3");
    refuse("a target of another length", model, &x, &y, NULL, "[20, 1, 2]");
    refuse("a single step", model, &one, NULL, NULL, "too few");
    refuse("no defaults", model, &x, NULL, &none, "bptt_inspect_defaults");
    refuse("a negative number", model, &x, NULL, &wrong, "exponents is -1");
    refuse("more lags than half the steps", model, &x, NULL, &many, "at most --lags 10");
    bptt_array_clear(&x);
    bptt_array_clear(&narrow);
    bptt_array_clear(&y);
    bptt_array_clear(&one);
    bptt_model_free(model);
}

int main(void)
{
    static const char *const cells[] = {"rnn", "lstm", "gru", "sru", "mingru", "indrnn", "lem", "fastgrnn", "slstm"};
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++)
        test_jacobian(cells[i], 4);
    test_linear(0.9, BPTT_VANISHING);
    test_linear(1, BPTT_STABLE);
    test_linear(1.1, BPTT_EXPLODING);
    test_rest();
    test_overflow();
    test_henon();
    test_lags("rnn", 1, 1);
    test_lags("lstm", 1, 0);
    test_lags("lstm", 2, 1);
    test_lags("gru", 2, 0);
    test_gates();
    test_relu();
    test_refused();
    return tap_done();
}
