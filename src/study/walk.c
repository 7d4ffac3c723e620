/* walk.c - along the data step by step in double precision: the step Jacobian of each layer, its singular values and spectral
 * radius at some steps, products of it over lags, Lyapunov exponents (Benettin et al. 1980: directions are carried on by J and
 * made orthonormal again at every step; the logarithms of what that shortens them by, per step, are the exponents), and the
 * activities. Stretches spread over the data are walked side by side; each begins in the state that a fast run through the
 * data before it has led to. What is sampled is chosen by the number of operations, so that time is bounded and results do
 * not depend on the machine. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../model/activity.h"
#include "../model/jacobian.h"
#include "dense.h"
#include "inspect.h"

enum { STRETCHES = 8, SHORTEST = 256, CHUNK = 1024, JACOBIANS_MOST = 64, PRODUCT_LAG_MOST = 64, PROBES = 8, PROBE_ROUNDS = 30 };
/* Multiply-adds: of each part, and of taking a matrix [n][n] apart in n^3; what a step costs besides */
static const double WALK_WORK = 2e9, RUN_UP_WORK = 1e10, JACOBIAN_WORK = 1.6e10, PRODUCT_WORK = 2e10, APART = 8,
                    STEP_OVERHEAD = 4e3;

/* What one stretch finds in one layer. */
struct finding {
    double *log_scale;                     /* [exponents] sums */
    double *largest, *smallest, *radius;   /* [jacobians] */
    double *product, *alignment;           /* [products] */
    double early, late;                    /* sums of the states' norms, first and second half */
    long jacobians, products;              /* filled */
};

struct stretch_of_data {
    long start, row;
    double *state;                         /* [states of the stack] before its first step */
    struct finding *finding;               /* [layers] */
    struct tally tally;
    long steps, counted;                   /* walked; that exponents are over */
    long overflow;                         /* step of the data, or -1 */
    int multiplies;                        /* products are made here */
};

/* A worker's own. */
struct bench {
    struct jacobian jacobian;
    double *state, *next;
    double **q;                            /* by layer [exponents][n] */
    double *column, *scale;
    double *a, *b, *work;                  /* [n][n] twice, of the widest layer, and 4 n */
    double **product;                      /* by layer [n][n], or NULL */
};

struct walk {
    struct inspect *inspect;
    const bptt_model *model;
    struct activity activity;
    struct pool *pool;
    double *parameters;
    struct stretch_of_data *stretch;
    struct bench *bench;                   /* [workers] */
    long stretches, length, workers;
    long states, widest;                   /* of the stack; n of its widest layer */
    long exponents;
    long jacobians;                        /* of each stretch */
    long products, multiplying;            /* lags 1, 2, 4, ..; stretches that multiply */
};

static long layer_states(const struct walk *w, int l)
{
    long n = 0;
    for (int i = 0; i < w->model->cell->states; i++)
        n += w->model->size[l][w->model->cell->state[i].dim];
    return n;
}

static long least(long a, long b)
{
    return a < b ? a : b;
}

/* ---- how much ---- */

static double step_work(const struct walk *w)
{
    double n = 0;
    for (int i = 0; i < w->model->tensors; i++)
        n += w->model->tensor[i].layer >= 0 ? (double)w->model->tensor[i].count : 0;
    return n;
}

static void choose_steps(struct walk *w)
{
    const struct source *d = &w->inspect->source;
    double cost = (step_work(w) + STEP_OVERHEAD) * (1 + 0.5 * (double)w->exponents);
    double steps = w->inspect->options.steps ? (double)w->inspect->options.steps : WALK_WORK / cost;
    double all = (double)d->steps * (double)d->rows;
    long wanted = (long)fmax(1, fmin(steps, all));
    w->stretches = wanted / SHORTEST < 1 ? 1 : least(wanted / SHORTEST, STRETCHES);
    w->length = least((wanted + w->stretches - 1) / w->stretches, d->steps);
}

static void choose_matrices(struct walk *w)
{
    const bptt_inspect_options *o = &w->inspect->options;
    double cubes = 0;
    for (int l = 0; l < w->model->layers; l++)
        cubes += pow((double)layer_states(w, l), 3);
    double affordable = floor(JACOBIAN_WORK / (APART * cubes));
    long jacobians = o->jacobians ? (long)o->jacobians : (long)fmin(affordable, JACOBIANS_MOST);
    w->jacobians = least((jacobians + w->stretches - 1) / w->stretches, w->length);
    double cost = INFINITY;
    for (w->products = 1; (1l << w->products) <= PRODUCT_LAG_MOST && (1l << w->products) <= w->length; w->products++)
        ;
    for (; w->products > 0; w->products--) {
        cost = cubes * ((double)(1l << (w->products - 1)) + APART / 2 * (double)w->products);
        if (cost <= PRODUCT_WORK)
            break;
    }
    w->multiplying = w->products ? least((long)fmin(PRODUCT_WORK / cost, STRETCHES), w->stretches) : 0;
}

/* Spread evenly; with several rows by turns. */
static void place_stretches(struct walk *w)
{
    const struct source *d = &w->inspect->source;
    for (long i = 0; i < w->stretches; i++) {
        struct stretch_of_data *s = &w->stretch[i];
        s->start = w->stretches > 1 ? (long)((double)(d->steps - w->length) * (double)i / (double)(w->stretches - 1)) : 0;
        s->row = i % d->rows;
        s->overflow = -1;
    }
    for (long i = 0; i < w->multiplying; i++)
        w->stretch[i * w->stretches / w->multiplying].multiplies = 1;
}

/* ---- to where each stretch begins ---- */

static int run_up(struct walk *w, struct network *net, long from, long to, long row, void *rows)
{
    const struct source *d = &w->inspect->source;
    int status = BPTT_OK;
    for (long first = from; first < to && !status; first += CHUNK) {
        long steps = least(CHUNK, to - first);
        for (long t = 0; t < steps; t++) {
            long at = (first + t) * d->rows + row;
            if (d->token)
                ((int32_t *)rows)[t] = d->token[at];
            else
                memcpy((double *)rows + t * d->inputs, d->x + at * d->inputs, (size_t)d->inputs * sizeof(double));
        }
        struct window window = {
            .steps = steps, .element_size = 8, .token = d->token ? rows : NULL, .x = d->token ? NULL : rows};
        status = network_forward(net, &window, w->inspect->error);
    }
    return status;
}

static void take_state(const struct walk *w, const struct network *net, double *state)
{
    for (int l = 0; l < w->model->layers; l++) {
        for (int i = 0; i < w->model->cell->states; i++) {
            network_get_state(net, net->carried[l][i], l, i, state, 8);
            state += w->model->size[l][w->model->cell->state[i].dim];
        }
    }
}

/* On from the beginning of the stretch before where that is near enough, else from the cell's start. */
static int run_ups(struct walk *w, struct network *net, void *rows)
{
    long reach = (long)fmin(RUN_UP_WORK / (step_work(w) + 1) / (double)w->stretches, 1e9), at = 0, row = -1;
    int status = BPTT_OK;
    network_load(net);
    for (long i = 0; i < w->stretches && !status; i++) {
        struct stretch_of_data *s = &w->stretch[i];
        if (s->row != row || s->start - at > reach) {
            network_reset(net);
            at = s->start > reach ? s->start - reach : 0;
            row = s->row;
        }
        status = inspect_progress(w->inspect, "running up", (double)i / (double)w->stretches);
        if (!status)
            status = run_up(w, net, at, s->start, row, rows);
        take_state(w, net, s->state);
        at = s->start;
    }
    return status;
}

static int begin_states(struct walk *w)
{
    bptt_error *error = w->inspect->error;
    struct network net;
    struct network_config config = {
        .steps = CHUNK, .batch = 1, .threads = w->inspect->options.threads, .precision = PRECISION_F64};
    size_t bytes = size_mul(CHUNK, (size_t)(w->inspect->source.inputs + 1) * sizeof(double));
    void *rows = malloc(bytes);
    int status = rows ? network_new(&net, w->model, &config, error) : fail_memory(error, bytes);
    if (!status) {
        status = network_allocate(&net, error);
        if (!status)
            status = run_ups(w, &net, rows);
        network_free(&net);
    }
    free(rows);
    return status;
}

/* ---- one step of one layer ---- */

static void carry_on(const struct walk *w, struct bench *b, struct finding *f, int l, int counts)
{
    long n = jacobian_states(&b->jacobian, l), columns = least(w->exponents, n);
    for (long c = 0; c < columns; c++) {
        jacobian_tangent(&b->jacobian, l, b->q[l] + c * n, b->column);
        memcpy(b->q[l] + c * n, b->column, (size_t)n * sizeof(double));
    }
    dense_orthonormal(b->q[l], columns, n, b->scale);
    for (long c = 0; counts && c < columns; c++)
        f->log_scale[c] += log(b->scale[c]);
}

static void take_apart(struct bench *b, struct finding *f, long n)
{
    memcpy(b->b, b->a, (size_t)(n * n) * sizeof(double));
    dense_singular(b->b, n, b->work, &f->largest[f->jacobians], &f->smallest[f->jacobians]);
    memcpy(b->b, b->a, (size_t)(n * n) * sizeof(double));
    f->radius[f->jacobians++] = dense_radius(b->b, n, b->work);
}

/* Mean |cos| of P^T u for drawn u and the direction v that P lengthens most. It is found by power iteration, from the longest
 * of the P^T u: after many lags all of them point there already. */
static double alignment(const struct walk *w, struct bench *b, const double *p, long n)
{
    struct random_stream stream = random_open(w->inspect->options.seed, RANDOM_CHECK, 2);
    double *u = b->b, *v = u + n, *back = v + n, longest = 0, sum = 0;
    for (int k = 0; k < PROBES; k++) {
        for (long i = 0; i < n; i++)
            u[i] = random_normal(&stream, (uint64_t)(k * n + i));
        dense_apply(p, n, 1, u, back + k * n);
        double length = sqrt(dense_dot(back + k * n, back + k * n, n));
        for (long i = 0; i < n && length > 0; i++)
            back[k * n + i] /= length;
        if (length > longest)
            memcpy(v, back + k * n, (size_t)n * sizeof *v);
        longest = length > longest ? length : longest;
    }
    for (int round = 0; round < PROBE_ROUNDS; round++) {
        dense_apply(p, n, 0, v, u);
        dense_apply(p, n, 1, u, v);
        double length = sqrt(dense_dot(v, v, n));
        for (long i = 0; i < n && length > 0; i++)
            v[i] /= length;
    }
    for (int k = 0; k < PROBES; k++)
        sum += fabs(dense_dot(v, back + k * n, n));
    return sum / PROBES;
}

/* After step t of a stretch the product is over t + 1 lags. */
static void multiply(const struct walk *w, struct bench *b, struct finding *f, int l, long t)
{
    long n = jacobian_states(&b->jacobian, l);
    double *p = b->product[l];
    if (t == 0) {
        memcpy(p, b->a, (size_t)(n * n) * sizeof *p);
    } else {
        dense_multiply(b->a, p, n, b->b);
        memcpy(p, b->b, (size_t)(n * n) * sizeof *p);
    }
    if (f->products == w->products || t + 1 != 1l << f->products)
        return;
    double smallest;
    memcpy(b->b, p, (size_t)(n * n) * sizeof *p);
    dense_singular(b->b, n, b->work, &f->product[f->products], &smallest);
    f->alignment[f->products++] = alignment(w, b, p, n);
}

static void look(const struct walk *w, struct bench *b, struct stretch_of_data *s, int l, long t)
{
    struct finding *f = &s->finding[l];
    long n = jacobian_states(&b->jacobian, l), counted_from = w->length / 10;
    int apart = w->jacobians && t == f->jacobians * w->length / w->jacobians && f->jacobians < w->jacobians;
    int multiplies = s->multiplies && t < 1l << (w->products - 1);
    if (apart || multiplies)
        jacobian_dense(&b->jacobian, l, b->a);
    if (apart)
        take_apart(b, f, n);
    if (multiplies)
        multiply(w, b, f, l, t);
    carry_on(w, b, f, l, t >= counted_from);
    const double *state = b->next + b->jacobian.step.layer[l].first;
    double norm = sqrt(dense_dot(state, state, n));
    *(2 * t < w->length ? &f->early : &f->late) += norm;
}

/* ---- a stretch ---- */

/* Input of the lowest layer: numbers, or a symbol's embedding. */
static const double *input_at(const struct walk *w, long t, long row)
{
    const struct source *d = &w->inspect->source;
    long at = t * d->rows + row;
    return d->token ? w->parameters + w->model->embed_offset + (long)d->token[at] * d->inputs : d->x + at * d->inputs;
}

static void begin_directions(const struct walk *w, struct bench *b)
{
    struct random_stream stream = random_open(w->inspect->options.seed, RANDOM_CHECK, 1);
    for (int l = 0; l < w->model->layers; l++) {
        long n = jacobian_states(&b->jacobian, l), columns = least(w->exponents, n);
        for (long i = 0; i < columns * n; i++)
            b->q[l][i] = random_normal(&stream, (uint64_t)i);
        dense_orthonormal(b->q[l], columns, n, b->scale);
    }
}

static int is_finite(const double *values, long n)
{
    int good = 1;
    for (long i = 0; i < n; i++)
        good &= isfinite(values[i]);
    return good;
}

/* To its end, or to the first step after which a state is not finite. */
static void walk_stretch(void *context, long number, int worker)
{
    struct walk *w = context;
    struct bench *b = &w->bench[worker];
    struct stretch_of_data *s = &w->stretch[number];
    memcpy(b->state, s->state, (size_t)w->states * sizeof *b->state);
    begin_directions(w, b);
    for (long t = 0; t < w->length && s->overflow < 0; t++) {
        jacobian_at(&b->jacobian, w->parameters, input_at(w, s->start + t, s->row), b->state);
        jacobian_next(&b->jacobian, b->next);
        if (!is_finite(b->state, w->states) || !is_finite(b->next, w->states)) {
            s->overflow = s->start + t;
            break;
        }
        tally_add(&w->activity, &s->tally, &b->jacobian.step);
        for (int l = 0; l < w->model->layers; l++)
            look(w, b, s, l, t);
        s->steps++;
        s->counted += t >= w->length / 10;
        double *swap = b->state;
        b->state = b->next;
        b->next = swap;
    }
}

struct round { struct walk *walk; long first; };

static void walk_task(void *context, long task, int worker)
{
    struct round *round = context;
    walk_stretch(round->walk, round->first + task, worker);
}

/* As many at a time as there are workers, so that the caller may stop in between. */
static int walk_all(struct walk *w)
{
    int status = BPTT_OK;
    for (long i = 0; i < w->stretches && !status; i += w->workers) {
        struct round round = {w, i};
        status = inspect_progress(w->inspect, "walking", (double)i / (double)w->stretches);
        if (!status)
            pool_tasks(w->pool, least(w->workers, w->stretches - i), walk_task, &round);
    }
    return status;
}

/* ---- the report ---- */

enum part { PART_LARGEST, PART_SMALLEST, PART_RADIUS };

static const double *part_of(const struct finding *f, enum part part)
{
    return part == PART_LARGEST ? f->largest : part == PART_SMALLEST ? f->smallest : f->radius;
}

static void spread_part(const struct walk *w, int l, enum part part, double *values, bptt_spread *spread)
{
    long n = 0;
    for (long i = 0; i < w->stretches; i++) {
        const struct finding *f = &w->stretch[i].finding[l];
        memcpy(values + n, part_of(f, part), (size_t)f->jacobians * sizeof *values);
        n += f->jacobians;
    }
    spread_of(values, n, spread);
}

static void report_products(const struct walk *w, int l, double *values, bptt_inspect_layer *out)
{
    for (long k = 0; k < w->products; k++) {
        double aligned = 0;
        long n = 0;
        for (long i = 0; i < w->stretches; i++) {
            const struct finding *f = &w->stretch[i].finding[l];
            if (f->products <= k)
                continue;
            values[n++] = f->product[k];
            aligned += f->alignment[k];
        }
        out->product_lag[k] = 1l << k;
        out->alignment[k] = aligned / (double)n;
        spread_of(values, n, &out->product[k]);
    }
    out->products = w->products;
}

/* Weighted by steps; the error from how stretches differ. */
static void report_exponent(const struct walk *w, int l, long number, bptt_inspect_layer *out)
{
    double sum = 0, square = 0, n = 0;
    long steps = 0;
    for (long i = 0; i < w->stretches; i++) {
        sum += w->stretch[i].finding[l].log_scale[number];
        steps += w->stretch[i].counted;
    }
    double mean = sum / (double)steps;
    for (long i = 0; i < w->stretches; i++) {
        const struct stretch_of_data *s = &w->stretch[i];
        if (s->counted < w->length - w->length / 10)
            continue;
        double off = s->finding[l].log_scale[number] / (double)s->counted - mean;
        square += off * off;
        n++;
    }
    out->exponent[number] = mean;
    out->error[number] = n > 1 ? sqrt(square / (n - 1) / n) : NAN;
    out->steps = steps;
}

/* NaN: the states were zero throughout. */
static double growth(const struct walk *w, int l)
{
    double early = 0, late = 0;
    for (long i = 0; i < w->stretches; i++) {
        early += w->stretch[i].finding[l].early;
        late += w->stretch[i].finding[l].late;
    }
    return late > 0 ? log(late / early) / (0.5 * (double)w->length) : NAN;
}

/* Stable: within the lags that were looked at the largest exponent changes a gradient by less than a factor e. Growth of the
 * states themselves tells a network that runs away from one that is bounded and chaotic; one
 * that rests at zero is not chaotic either. */
static int verdict(const bptt_inspect_layer *layer, int64_t lags)
{
    double largest = layer->exponent[0];
    if (layer->overflow >= 0)
        return BPTT_EXPLODING;
    if (isnan(largest))
        return 0;
    if (fabs(largest) * (double)lags < 1)
        return BPTT_STABLE;
    if (largest < 0)
        return BPTT_VANISHING;
    return layer->growth <= largest / 4 ? BPTT_CHAOTIC : BPTT_EXPLODING;
}

static int new_layer_report(const struct walk *w, int l, bptt_inspect_layer *out)
{
    long products = w->products + 1, exponents = least(w->exponents, layer_states(w, l));
    out->product_lag = calloc((size_t)products, sizeof *out->product_lag);
    out->product = calloc((size_t)products, sizeof *out->product);
    out->alignment = calloc((size_t)products, sizeof *out->alignment);
    out->exponent = calloc((size_t)exponents + 1, sizeof *out->exponent);
    out->error = calloc((size_t)exponents + 1, sizeof *out->error);
    if (!out->product_lag || !out->product || !out->alignment || !out->exponent || !out->error)
        return fail_memory(w->inspect->error, (size_t)products * sizeof *out->product);
    out->states = layer_states(w, l);
    out->exponents = exponents;
    out->overflow = -1;
    return BPTT_OK;
}

static void report_layer(const struct walk *w, int l, double *values, bptt_inspect_layer *out)
{
    spread_part(w, l, PART_LARGEST, values, &out->largest);
    spread_part(w, l, PART_SMALLEST, values, &out->smallest);
    spread_part(w, l, PART_RADIUS, values, &out->radius);
    report_products(w, l, values, out);
    for (long c = 0; c < out->exponents; c++)
        report_exponent(w, l, c, out);
    for (long i = 0; i < w->stretches; i++) {
        out->jacobians += w->stretch[i].finding[l].jacobians;
        if (w->stretch[i].overflow >= 0 && (out->overflow < 0 || w->stretch[i].overflow < out->overflow))
            out->overflow = w->stretch[i].overflow;
    }
    out->growth = growth(w, l);
    out->verdict = verdict(out, w->inspect->report->lags);
}

static int make_report(const struct walk *w)
{
    bptt_inspect_report *r = w->inspect->report;
    struct tally tallies[STRETCHES];
    size_t values = size_mul((size_t)(w->stretches * (w->jacobians + 1)), sizeof(double));
    double *scratch = malloc(values);
    r->layer = calloc((size_t)r->layers, sizeof *r->layer);
    int status = scratch && r->layer ? BPTT_OK : fail_memory(w->inspect->error, values);
    for (int l = 0; l < r->layers && !status; l++) {
        status = new_layer_report(w, l, &r->layer[l]);
        if (!status)
            report_layer(w, l, scratch, &r->layer[l]);
    }
    for (long i = 0; i < w->stretches; i++) {
        tallies[i] = w->stretch[i].tally;
        r->walked += w->stretch[i].steps;
    }
    r->stretches = w->stretches;
    if (!status)
        status = activity_report(&w->activity, tallies, w->stretches, r, w->inspect->error);
    free(scratch);
    return status;
}

/* ---- memory ---- */

static double *numbers(struct arena *arena, long n)
{
    return arena_alloc(arena, size_mul((size_t)n + 1, sizeof(double)));
}

static int new_finding(const struct walk *w, struct arena *arena, struct finding *f)
{
    f->log_scale = numbers(arena, w->exponents);
    f->largest = numbers(arena, w->jacobians);
    f->smallest = numbers(arena, w->jacobians);
    f->radius = numbers(arena, w->jacobians);
    f->product = numbers(arena, w->products);
    f->alignment = numbers(arena, w->products);
    return f->log_scale && f->largest && f->smallest && f->radius && f->product && f->alignment;
}

static int new_stretch(const struct walk *w, struct arena *arena, struct stretch_of_data *s)
{
    size_t layers = (size_t)w->model->layers;
    s->state = numbers(arena, w->states);
    s->finding = arena_alloc(arena, layers * sizeof *s->finding);
    int good = s->state && s->finding;
    for (size_t l = 0; l < layers && good; l++)
        good = new_finding(w, arena, &s->finding[l]);
    return good;
}

static int new_bench(const struct walk *w, struct arena *arena, struct bench *b)
{
    long layers = w->model->layers, n = w->widest, matrix = w->jacobians || w->products ? n * n : 0;
    b->state = numbers(arena, w->states);
    b->next = numbers(arena, w->states);
    b->column = numbers(arena, n);
    b->scale = numbers(arena, w->exponents);
    b->a = numbers(arena, matrix);
    b->b = numbers(arena, matrix + (2 + PROBES) * n);
    b->work = numbers(arena, 4 * n);
    b->q = arena_alloc(arena, (size_t)layers * sizeof *b->q);
    b->product = arena_alloc(arena, (size_t)layers * sizeof *b->product);
    int good = b->state && b->next && b->column && b->scale && b->a && b->b && b->work && b->q && b->product;
    for (int l = 0; l < layers && good; l++) {
        long own = layer_states(w, l);
        b->q[l] = numbers(arena, least(w->exponents, own) * own);
        b->product[l] = numbers(arena, w->products ? own * own : 0);
        good = b->q[l] && b->product[l];
    }
    return good;
}

static double bytes_needed(const struct walk *w)
{
    double matrix = w->jacobians || w->products ? (double)w->widest * (double)w->widest : 0, products = 0;
    for (int l = 0; l < w->model->layers && w->products; l++)
        products += pow((double)layer_states(w, l), 2);
    double bench = 2 * matrix + products + (double)w->states * (double)(w->exponents + 40);
    return 8 * ((double)w->model->count + (double)w->workers * bench);
}

static int check_memory(const struct walk *w)
{
    double limit = (double)w->inspect->options.memory, need = bytes_needed(w) + (double)memory_resident();
    if (limit > 0 && need > limit)
        return fail(w->inspect->error, BPTT_ERROR_ARGUMENT,
                    "%.0f MiB are too few: the step Jacobian needs about %.0f MiB with %ld "
                    "threads",
                    limit / (1 << 20), ceil(need / (1 << 20)), w->workers);
    return BPTT_OK;
}

static int allocate(struct walk *w, struct arena *arena)
{
    bptt_error *error = w->inspect->error;
    w->parameters = numbers(arena, w->model->count);
    w->bench = arena_alloc(arena, (size_t)w->workers * sizeof *w->bench);
    int good = w->parameters && w->bench;
    for (long i = 0; i < w->stretches && good; i++)
        good = new_stretch(w, arena, &w->stretch[i]);
    for (long i = 0; i < w->workers && good; i++)
        good = new_bench(w, arena, &w->bench[i]);
    int status = good ? BPTT_OK : fail_memory(error, (size_t)bytes_needed(w));
    for (long i = 0; i < w->workers && !status; i++)
        status = jacobian_new(&w->bench[i].jacobian, w->model, error);
    for (long i = 0; i < w->stretches && !status; i++)
        status = tally_new(&w->activity, &w->stretch[i].tally, error);
    for (long i = 0; i < w->model->count && !status; i++)
        w->parameters[i] = (double)w->model->data[i];
    return status;
}

static void release(struct walk *w, struct arena *arena)
{
    for (long i = 0; w->bench && i < w->workers; i++)
        jacobian_free(&w->bench[i].jacobian);
    for (long i = 0; i < w->stretches; i++)
        tally_free(&w->stretch[i].tally);
    activity_free(&w->activity);
    pool_free(w->pool);
    arena_free(arena);
}

static void choose(struct walk *w)
{
    for (int l = 0; l < w->model->layers; l++) {
        long n = layer_states(w, l);
        w->states += n;
        w->widest = n > w->widest ? n : w->widest;
    }
    w->exponents = least((long)w->inspect->options.exponents, w->widest);
    choose_steps(w);
    choose_matrices(w);
    place_stretches(w);
}

int walk_measure(struct inspect *inspect)
{
    struct arena arena = {0};
    struct stretch_of_data stretches[STRETCHES] = {0};
    struct walk w = {.inspect = inspect, .model = inspect->model, .stretch = stretches};
    choose(&w);
    int status = pool_new(inspect->options.threads, &w.pool, inspect->error);
    w.workers = least(pool_workers(w.pool), w.stretches);
    if (!status) status = activity_new(&w.activity, inspect->model, inspect->error);
    if (!status) status = check_memory(&w);
    if (!status) status = allocate(&w, &arena);
    if (!status) status = begin_states(&w);
    if (!status) status = walk_all(&w);
    if (!status) status = make_report(&w);
    release(&w, &arena);
    return status;
}
