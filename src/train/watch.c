/* watch.c - see watch.h. A look is the gradient of the window's last loss by lag (model/horizon.h), then a short walk along
 * the same rows in double precision: gates and activations at each of its steps, the step Jacobian at the last two. What is
 * drawn is drawn anew for each look, so a resumed run sees the same. */
#include "watch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROWS = 4, WALK = 8, JACOBIANS = 2, SIGMA_ROUNDS = 10, RADIUS_ROUNDS = 24 };
enum { REPEAT = 1000 };                    /* steps until a warning is repeated */
enum { STREAK = 3, LONG_STREAK = 10 };     /* looks in a row that it takes; a young model is short for a while */
static const double HORIZON = 0.01;

static double clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- memory ---- */

static long widest_state(const struct network *net)
{
    long most = 1;
    for (int l = 0; l < net->model->layers; l++)
        for (int i = 0; i < net->model->cell->states; i++)
            most = layer_state_width(&net->layer[l], i) > most ? layer_state_width(&net->layer[l], i) : most;
    return most;
}

static int allocate(struct watch *w, bptt_error *error)
{
    const bptt_model *model = w->trainer->model;
    size_t lags = (size_t)w->net.config.steps, layers = (size_t)model->layers, rows = (size_t)w->net.config.batch;
    size_t states = (size_t)model_states(model), count = (size_t)model->count, tensors = (size_t)model->tensors;
    size_t kinds = (layers + 1) * WARN_KINDS, all = (size_t)(w->trainer->config.batch * widest_state(&w->net));
    const struct { void *to; size_t bytes; } parts[] = {
        {&w->profile.norm, lags * sizeof(double)},
        {&w->profile.reach, lags * sizeof(double)},
        {&w->profile.layer, size_mul(lags, layers * sizeof(double))},
        {&w->scratch, (size_t)horizon_scratch(&w->net) * sizeof(double)},
        {&w->parameters, count * sizeof(double)},
        {&w->state, states * sizeof(double)},
        {&w->next, states * sizeof(double)},
        {&w->direction, states * sizeof(double)},
        {&w->image, states * sizeof(double)},
        {&w->rows, all * sizeof(float)},
        {&w->before, count * sizeof(float)},
        {&w->x, size_mul(lags, rows * sizeof *w->x)},
        {&w->y, size_mul(lags, rows * sizeof *w->y)},
        {&w->layer, layers * sizeof *w->layer},
        {&w->gradient, tensors * sizeof(double)},
        {&w->ratio, tensors * sizeof(double)},
        {&w->said, kinds * sizeof *w->said},
        {&w->streak, kinds * sizeof *w->streak},
        {&w->pending, kinds * sizeof *w->pending},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        void *memory = arena_alloc(&w->arena, parts[i].bytes + 1);
        if (!memory)
            return fail_memory(error, parts[i].bytes);
        memcpy(parts[i].to, &memory, sizeof memory);
    }
    w->profile.lags = (long)lags;
    return BPTT_OK;
}

static int new_network(struct watch *w, bptt_error *error)
{
    const bptt_trainer_config *c = &w->trainer->config;
    struct network_config config = {.steps = (long)c->length, .batch = c->batch < ROWS ? (long)c->batch : ROWS,
                                    .threads = c->threads, .precision = PRECISION_F32, .gradients = 1};
    int status = network_new(&w->net, w->trainer->model, &config, error);
    return status ? status : network_allocate(&w->net, error);
}

int watch_new(bptt_trainer *trainer, int64_t every, struct watch **out, bptt_error *error)
{
    struct watch *w = *out = calloc(1, sizeof *w);
    if (!w)
        return fail_memory(error, sizeof *w);
    w->every = every;
    w->trainer = trainer;
    int status = new_network(w, error);
    if (!status) status = allocate(w, error);
    if (!status) status = jacobian_new(&w->jacobian, trainer->model, error);
    if (!status) status = activity_new(&w->activity, trainer->model, error);
    if (!status) status = tally_new(&w->activity, &w->tally, error);
    if (!status)
        return BPTT_OK;
    watch_free(w);
    *out = NULL;
    return status;
}

void watch_free(struct watch *w)
{
    if (!w)
        return;
    tally_free(&w->tally);
    activity_free(&w->activity);
    jacobian_free(&w->jacobian);
    free(w->values.value);
    if (w->net.model)
        network_free(&w->net);
    arena_free(&w->arena);
    free(w);
}

/* Also the first one: what will go wrong from the start shows there. */
int watch_due(const struct watch *w, int64_t step)
{
    return w && (step == 1 || step % w->every == 0);
}

/* ---- the window's first rows ---- */

static void take_window(struct watch *w, const int32_t *x, const int32_t *y)
{
    long rows = w->net.config.batch, batch = (long)w->trainer->config.batch;
    for (long t = 0; t < w->net.config.steps; t++) {
        memcpy(w->x + t * rows, x + t * batch, (size_t)rows * sizeof *x);
        memcpy(w->y + t * rows, y + t * batch, (size_t)rows * sizeof *y);
    }
}

static void take_states(struct watch *w)
{
    const struct network *from = &w->trainer->net;
    if (!w->trainer->config.carry) {
        network_reset(&w->net);
        return;
    }
    for (int l = 0; l < from->model->layers; l++) {
        for (int i = 0; i < from->model->cell->states; i++) {
            network_get_state(from, from->carried[l][i], l, i, w->rows, sizeof *w->rows);
            network_set_state(&w->net, w->net.carried[l][i], l, i, w->rows, sizeof *w->rows);
        }
    }
}

/* ---- the gradient by lag ---- */

static long horizon_of(const double *norm, long lags)
{
    for (long k = 0; k < lags; k++)
        if (norm[k] < HORIZON * norm[0])
            return k;
    return lags;
}

static long truncation_of(const struct watch *w)
{
    const struct strategy *s = &w->trainer->strategy;
    long length = w->net.config.steps, chosen = w->trainer->net.schedule.strategy.k1;
    switch (s->kind) {
    case STRATEGY_SEGMENTS: return s->k1;
    case STRATEGY_TRUNCATED: return s->k2 < length ? s->k2 : length;
    case STRATEGY_ADAPTIVE: return chosen > 0 ? chosen : length;
    default: return length;
    }
}

static int measure_lags(struct watch *w, bptt_error *error)
{
    struct window window = {.steps = w->net.config.steps, .token = w->x, .target = w->y, .element_size = 4};
    w->profile.windows = 0;
    int status = horizon_measure(&w->net, &window, &w->profile, w->scratch, error);
    for (int l = 0; l < w->trainer->model->layers && !status; l++) {
        struct watch_layer *layer = &w->layer[l];
        layer->norm = w->profile.layer + l * w->profile.lags;
        layer->facts = (struct warn_layer){.layer = l, .lags = w->profile.lags, .truncation = truncation_of(w),
                                           .horizon = horizon_of(layer->norm, w->profile.lags),
                                           .decay = horizon_decay(layer->norm, w->profile.lags),
                                           .clips = w->trainer->config.clip_norm > 0};
    }
    return status;
}

/* ---- the step Jacobian ---- */

static double normalise(double *v, long n)
{
    double square = 0;
    for (long i = 0; i < n; i++)
        square += v[i] * v[i];
    double norm = sqrt(square);
    for (long i = 0; i < n && norm > 0; i++)
        v[i] /= norm;
    return norm;
}

static void draw(double *v, long n, int layer)
{
    struct random_stream stream = random_open(1, RANDOM_CHECK, (uint32_t)layer);
    for (long i = 0; i < n; i++)
        v[i] = random_normal(&stream, (uint64_t)i);
    normalise(v, n);
}

/* Power iteration with J^T J: what J lengthens most. */
static double largest_singular(struct watch *w, int l)
{
    long n = jacobian_states(&w->jacobian, l);
    double sigma = 0;
    draw(w->direction, n, l);
    for (int i = 0; i < SIGMA_ROUNDS; i++) {
        jacobian_tangent(&w->jacobian, l, w->direction, w->image);
        sigma = normalise(w->image, n);
        jacobian_reverse(&w->jacobian, l, w->image, w->direction);
        normalise(w->direction, n);
    }
    return sigma;
}

/* J again and again: the mean factor of the later rounds, which a complex pair makes go up and down. */
static double spectral_radius(struct watch *w, int l)
{
    long n = jacobian_states(&w->jacobian, l);
    double sum = 0;
    draw(w->direction, n, l);
    for (int i = 0; i < RADIUS_ROUNDS; i++) {
        jacobian_tangent(&w->jacobian, l, w->direction, w->image);
        double factor = normalise(w->image, n);
        memcpy(w->direction, w->image, (size_t)n * sizeof *w->image);
        if (i >= RADIUS_ROUNDS / 2)
            sum += log(factor);
    }
    return exp(sum / (RADIUS_ROUNDS - RADIUS_ROUNDS / 2));
}

static void measure_jacobians(struct watch *w, double share)
{
    for (int l = 0; l < w->trainer->model->layers; l++) {
        w->layer[l].sigma += share * largest_singular(w, l);
        w->layer[l].radius += share * spectral_radius(w, l);
    }
}

/* ---- along the data ---- */

static void begin_row(struct watch *w, long row)
{
    const bptt_model *model = w->trainer->model;
    for (int l = 0; l < model->layers; l++) {
        for (int i = 0; i < model->cell->states; i++) {
            long n = model->size[l][model->cell->state[i].dim];
            network_get_state(&w->net, w->net.carried[l][i], l, i, w->rows, sizeof *w->rows);
            for (long j = 0; j < n; j++)
                w->state[step_state_offset(&w->jacobian.step, l, i) + j] = (double)w->rows[row * n + j];
        }
    }
}

static void walk_row(struct watch *w, long row)
{
    const bptt_model *model = w->trainer->model;
    long rows = w->net.config.batch, steps = w->net.config.steps < WALK ? w->net.config.steps : WALK;
    begin_row(w, row);
    for (long t = 0; t < steps; t++) {
        const double *x = w->parameters + model->embed_offset + (long)w->x[t * rows + row] * model->inputs;
        jacobian_at(&w->jacobian, w->parameters, x, w->state);
        tally_add(&w->activity, &w->tally, &w->jacobian.step);
        if (t == steps - 1 && row < JACOBIANS)
            measure_jacobians(w, 1.0 / (double)(rows < JACOBIANS ? rows : JACOBIANS));
        jacobian_next(&w->jacobian, w->next);
        memcpy(w->state, w->next, (size_t)model_states(model) * sizeof *w->next);
    }
}

static void clear_tally(struct watch *w)
{
    size_t units = (size_t)w->activity.units;
    memset(w->tally.sum, 0, units * sizeof *w->tally.sum);
    memset(w->tally.low, 0, units * sizeof *w->tally.low);
    memset(w->tally.high, 0, units * sizeof *w->tally.high);
    w->tally.steps = 0;
}

/* Values without an upper end, as relu's, are not said to be saturated. */
static void take_values(struct watch *w)
{
    for (size_t i = 0; i < w->values.values; i++) {
        const bptt_inspect_value *v = &w->values.value[i];
        struct watch_layer *layer = &w->layer[v->layer];
        layer->dead = v->dead > layer->dead ? v->dead : layer->dead;
        if (!strcmp(v->function, "relu") || !(v->low + v->high >= layer->facts.saturated))
            continue;
        layer->facts.saturated = v->low + v->high;
        layer->facts.value = v->name;
    }
}

static int walk(struct watch *w, bptt_error *error)
{
    const bptt_model *model = w->trainer->model;
    for (long i = 0; i < model->count; i++)
        w->parameters[i] = (double)model->data[i];
    for (int l = 0; l < model->layers; l++)
        w->layer[l].sigma = w->layer[l].radius = w->layer[l].dead = 0;
    clear_tally(w);
    for (long row = 0; row < w->net.config.batch; row++)
        walk_row(w, row);
    for (int l = 0; l < model->layers; l++)
        w->layer[l].facts.radius = w->layer[l].radius;
    free(w->values.value);
    w->values = (bptt_inspect_report){0};
    int status = activity_report(&w->activity, &w->tally, 1, &w->values, error);
    if (!status)
        take_values(w);
    return status;
}

/* ---- a look ---- */

int watch_look(struct watch *w, const int32_t *x, const int32_t *y, bptt_error *error)
{
    const bptt_model *model = w->trainer->model;
    double start = clock_seconds();
    take_window(w, x, y);
    take_states(w);
    network_load(&w->net);
    int status = measure_lags(w, error);
    if (!status)
        status = walk(w, error);
    memcpy(w->before, model->data, (size_t)model->count * sizeof *w->before);
    w->trainer->norms = w->gradient;
    w->seconds = clock_seconds() - start;
    return status;
}

static double update_ratio(const struct watch *w, const struct tensor *tensor)
{
    const float *now = w->trainer->model->data + tensor->offset, *before = w->before + tensor->offset;
    double update = 0, weight = 0;
    for (long i = 0; i < tensor->count; i++) {
        double change = (double)now[i] - (double)before[i];
        update += change * change;
        weight += (double)before[i] * (double)before[i];
    }
    return sqrt(update / weight);
}

static void count_updates(struct watch *w)
{
    w->updates_seen = (long)(w->trainer->made - w->made);
    w->clipped_seen = (long)(w->trainer->clipped - w->clipped);
    w->clipped_share = (double)w->clipped_seen / (double)w->updates_seen;
    w->made = w->trainer->made;
    w->clipped = w->trainer->clipped;
}

/* ---- warnings ---- */

/* A warning is given when it has been found in enough looks (or updates) in a row, and not again for a while. */
static void tell(struct watch *w, enum warn_kind kind, int layer, int found, int in_a_row, const struct warning *warning)
{
    int at = (layer + 1) * WARN_KINDS + (int)kind;
    w->streak[at] = found ? w->streak[at] + 1 : 0;
    if (w->streak[at] < in_a_row || (w->said[at] && w->step + 1 < w->said[at] + REPEAT))
        return;
    w->said[at] = w->step + 1;
    w->pending[w->waiting++] = *warning;
}

static void judge_layer(struct watch *w, const struct warn_layer *facts)
{
    struct warning warning = {0};
    const struct { int (*rule)(const struct warn_layer *, struct warning *); enum warn_kind kind; int in_a_row; } rules[] = {
        {warn_growth, WARN_GROWTH, 1}, {warn_radius, WARN_RADIUS, 1}, {warn_saturation, WARN_SATURATION, 1},
        {warn_short, WARN_SHORT, LONG_STREAK}, {warn_long, WARN_LONG, STREAK}};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        int found = rules[i].rule(facts, &warning);
        tell(w, rules[i].kind, facts->layer, found, rules[i].in_a_row, &warning);
    }
}

void watch_update(struct watch *w, int64_t step, double loss, double norm)
{
    struct warning warning = {0};
    int clips = w->trainer->config.clip_norm > 0;
    w->step = step;
    w->waiting = w->taken = 0;
    warn_add(&w->history, loss, norm);
    int found = warn_spike(&w->history, &warning);
    tell(w, WARN_SPIKE, -1, found, 1, &warning);
    found = warn_norm(&w->history, clips, &warning);
    tell(w, WARN_GROWTH, -1, found, 1, &warning);
}

void watch_finish(struct watch *w)
{
    const bptt_model *model = w->trainer->model;
    struct warning warning = {0};
    double start = clock_seconds();
    w->trainer->norms = NULL;
    for (int i = 0; i < model->tensors; i++)
        w->ratio[i] = update_ratio(w, &model->tensor[i]);
    count_updates(w);
    int found = warn_clipping(w->updates_seen, w->clipped_seen, w->trainer->config.clip_norm, &warning);
    tell(w, WARN_CLIPPING, -1, found, 1, &warning);
    for (int l = 0; l < model->layers; l++)
        judge_layer(w, &w->layer[l].facts);
    w->seconds += clock_seconds() - start;
}

const struct warning *watch_next(struct watch *w)
{
    return w->taken < w->waiting ? &w->pending[w->taken++] : NULL;
}
