/* trainer.c - windows into updates: gradient, clipping, optimiser. Sums over all gradients run over chunks of fixed
 * length, added in their order, so the norm has the same bits for any number of threads. */
#include "trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 14 };                  /* elements; a multiple of every vector */
enum { MARGIN = 2 << 20 };                 /* bytes: code that runs later for the first time, stacks, the allocator's own */

bptt_trainer_config bptt_trainer_defaults(void)
{
    return (bptt_trainer_config){.size = sizeof(bptt_trainer_config),
                                 .batch = 32,
                                 .length = 64,
                                 .optimizer = BPTT_ADAM,
                                 .rate = 2e-3,
                                 .momentum = 0.9,
                                 .beta1 = 0.9,
                                 .beta2 = 0.99,
                                 .epsilon = 1e-8,
                                 .clip_norm = 1,
                                 .carry = 1,
                                 .precision = BPTT_F32,
                                 .gradient = "full"};
}

/* ---- what may be asked for ---- */

static int check_number(const char *name, double value, double low, double high, bptt_error *error)
{
    if (value >= low && value <= high)
        return BPTT_OK;
    return fail(error, BPTT_ERROR_ARGUMENT, "%s is %.9g; it must be between %.9g and %.9g", name, value, low, high);
}

const char *optimizer_name(int optimizer)
{
    static const char *const names[] = {
        [BPTT_SGD] = "sgd", [BPTT_RMSPROP] = "rmsprop", [BPTT_ADAM] = "adam", [BPTT_ADAMW] = "adamw"};
    return names[optimizer];
}

const char *precision_name(int precision)
{
    return precision == BPTT_BF16 ? "bf16" : "f32";
}

static int check_config(const bptt_trainer_config *c, bptt_error *error)
{
    if (c->size != sizeof *c)
        return fail(error, BPTT_ERROR_ARGUMENT, "the trainer's configuration does not come from bptt_trainer_defaults");
    if (c->optimizer < BPTT_SGD || c->optimizer > BPTT_ADAMW)
        return fail(error, BPTT_ERROR_ARGUMENT, "unknown optimizer %d: sgd, rmsprop, adam or adamw", c->optimizer);
    if (c->precision != 0 && c->precision != BPTT_F32 && c->precision != BPTT_BF16)
        return fail(error, BPTT_ERROR_ARGUMENT, "unknown precision to train in: BPTT_F32 or BPTT_BF16");
    const struct { const char *name; double value, low, high; } ranges[] = {
        {"batch", (double)c->batch, 1, 1 << 24},
        {"length", (double)c->length, 1, 1 << 30},
        {"threads", c->threads, 0, 1024},
        {"learning rate", c->rate, 0, 1e6},
        {"momentum", c->momentum, 0, 1},
        {"beta1", c->beta1, 0, 0.9999999},
        {"beta2", c->beta2, 0, 0.9999999},
        {"epsilon", c->epsilon, 0, 1e6},
        {"weight decay", c->weight_decay, 0, 1e6},
        {"clip", c->clip_norm, 0, 1e30},
        {"clip value", c->clip_value, 0, 1e30},
        {"dropout", c->dropout, 0, 0.999},
        {"dropout of the state", c->dropout_state, 0, 0.999},
        {"memory", (double)c->memory, 0, 1e18},
        {"loss_from", (double)c->loss_from, 0, (double)c->length - 1},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        int status = check_number(ranges[i].name, ranges[i].value, ranges[i].low, ranges[i].high, error);
        if (status)
            return status;
    }
    return BPTT_OK;
}

static int check_strategy(const bptt_trainer_config *c, struct strategy *strategy, bptt_error *error)
{
    int status = strategy_parse(c->gradient, strategy, error);
    if (!status)
        status = strategy_check(strategy, (long)c->length, error);
    if (!status && strategy_is_forward(strategy) && c->precision == BPTT_BF16)
        return fail(error, BPTT_ERROR_ARGUMENT, "bf16 goes with the backward strategies; %s runs forward: take precision f32", c->gradient);
    if (!status && strategy_is_forward(strategy) && (c->dropout > 0 || c->dropout_state > 0))
        return fail(error, BPTT_ERROR_ARGUMENT, "dropout goes with the backward strategies; %s runs forward: set it to 0", c->gradient);
    return status;
}

/* Whether updates are made within a window: then there is nothing left to do after it. */
static int updates_within(const struct bptt_trainer *t)
{
    enum strategy_kind kind = t->strategy.kind;
    return kind == STRATEGY_SEGMENTS || kind == STRATEGY_TRUNCATED || kind == STRATEGY_ADAPTIVE || strategy_is_forward(&t->strategy);
}

/* ---- parameters that are not trained ---- */

static int freeze_one(struct bptt_trainer *t, const char *name, size_t length, bptt_error *error)
{
    int found = 0;
    for (int i = 0; i < t->model->tensors; i++) {
        const char *known = t->model->tensor[i].name;
        int same = strlen(known) == length && !memcmp(known, name, length);
        t->frozen[i] |= (unsigned char)same;
        found |= same;
    }
    return found ? BPTT_OK : fail(error, BPTT_ERROR_ARGUMENT, "freeze: the model has no parameter '%.*s'; it has %s%s%s ...", (int)length,
                                  name, t->model->tensor[0].name, t->model->tensors > 1 ? ", " : "",
                                  t->model->tensors > 1 ? t->model->tensor[1].name : "");
}

static int set_frozen(struct bptt_trainer *t, bptt_error *error)
{
    int status = BPTT_OK;
    if (!t->config.freeze)
        return status;
    t->frozen = arena_alloc(&t->net.arena, (size_t)t->model->tensors);
    if (!t->frozen)
        return fail_memory(error, (size_t)t->model->tensors);
    for (const char *name = t->config.freeze; *name && !status; name += strspn(name, ",")) {
        status = freeze_one(t, name, strcspn(name, ","), error);
        name += strcspn(name, ",");
    }
    return status;
}

static void clear_frozen(struct bptt_trainer *t)
{
    for (int i = 0; t->frozen && i < t->model->tensors; i++)
        if (t->frozen[i])
            memset((float *)t->net.gradients + t->model->tensor[i].offset, 0, (size_t)t->model->tensor[i].count * sizeof(float));
}

/* ---- memory ---- */

static int has_first(const bptt_trainer_config *c)
{
    return c->optimizer == BPTT_ADAM || c->optimizer == BPTT_ADAMW || (c->optimizer == BPTT_SGD && c->momentum > 0);
}

static int has_second(const bptt_trainer_config *c)
{
    return c->optimizer != BPTT_SGD;
}

static long chunks(const bptt_model *model)
{
    return (model->count + CHUNK - 1) / CHUNK;
}

static long state_elements(const struct network *net, int l, int i)
{
    return net->config.batch * layer_state_width(&net->layer[l], i);
}

/* With a budget: the process as it is, the optimiser's memory and a margin. */
static size_t bytes_elsewhere(const struct bptt_trainer *t)
{
    size_t moments = (size_t)(has_first(&t->config) + has_second(&t->config)) * (size_t)padded(t->model->count) * sizeof(float);
    return t->config.memory ? memory_resident() + moments + influence_bytes(t->model, (long)t->config.batch, &t->strategy) + MARGIN : 0;
}

static int lay_out(struct bptt_trainer *t, bptt_error *error)
{
    const bptt_model *model = t->model;
    struct network *net = &t->net;
    struct network_config config = {.steps = (long)t->config.length,
                                    .batch = (long)t->config.batch,
                                    .threads = t->config.threads,
                                    .gradients = 1,
                                    .precision = precision_of(t->config.precision),
                                    .dropout = t->config.dropout,
                                    .dropout_state = t->config.dropout_state,
                                    .strategy = t->strategy,
                                    .updates = updates_within(t),
                                    .memory = (size_t)t->config.memory,
                                    .elsewhere = bytes_elsewhere(t),
                                    .spill = t->config.spill,
                                    .seed = t->config.seed};
    int status = network_new(net, model, &config, error);
    if (status)
        return status;
    size_t count = (size_t)padded(model->count), eval = 0;
    t->first_region = has_first(&t->config) ? plan_add(&net->plan, PLAN_OPTIMIZER, count, sizeof(float)) : (size_t)-1;
    t->second_region = has_second(&t->config) ? plan_add(&net->plan, PLAN_OPTIMIZER, count, sizeof(float)) : (size_t)-1;
    t->partial_region = plan_add(&net->plan, PLAN_OPTIMIZER, (size_t)chunks(model), sizeof(double));
    for (int l = 0; l < model->layers; l++)
        for (int i = 0; i < model->cell->states; i++)
            eval += (size_t)state_elements(net, l, i);
    t->eval_region = plan_add(&net->plan, PLAN_STATES, eval + 1, sizeof(float));
    return BPTT_OK;
}

static int point_eval_states(struct bptt_trainer *t, bptt_error *error)
{
    struct network *net = &t->net;
    float *at = plan_at(&net->plan, t->eval_region);
    t->eval_state = arena_alloc(&net->arena, (size_t)t->model->layers * sizeof *t->eval_state);
    for (int l = 0; t->eval_state && l < t->model->layers; l++) {
        t->eval_state[l] = arena_alloc(&net->arena, ((size_t)t->model->cell->states + 1) * sizeof **t->eval_state);
        if (!t->eval_state[l])
            return fail_memory(error, sizeof *t->eval_state);
        for (int i = 0; i < t->model->cell->states; i++) {
            t->eval_state[l][i] = at;
            at += state_elements(net, l, i);
        }
    }
    return t->eval_state ? BPTT_OK : fail_memory(error, sizeof *t->eval_state);
}

int bptt_trainer_new(bptt_model *model, const bptt_trainer_config *config, bptt_trainer **out, bptt_error *error)
{
    *out = NULL;
    int status = check_config(config, error);
    if (status)
        return status;
    struct bptt_trainer *t = calloc(1, sizeof *t);
    if (!t)
        return fail_memory(error, sizeof *t);
    t->model = model;
    t->config = *config;
    status = check_strategy(config, &t->strategy, error);
    if (!status) status = lay_out(t, error);
    if (!status) status = network_allocate(&t->net, error);
    if (!status) status = point_eval_states(t, error);
    if (!status) status = set_frozen(t, error);
    if (!status && strategy_is_forward(&t->strategy))
        status = influence_new(&t->net, &t->strategy, config->seed, &t->influence, error);
    if (!status && t->strategy.kind == STRATEGY_ADAPTIVE)
        status = horizon_new(&t->net, t->strategy.delta, &t->horizon, error);
    if (status) {
        bptt_trainer_free(t);
        return status;
    }
    t->first = t->first_region == (size_t)-1 ? NULL : plan_at(&t->net.plan, t->first_region);
    t->second = t->second_region == (size_t)-1 ? NULL : plan_at(&t->net.plan, t->second_region);
    t->partial = plan_at(&t->net.plan, t->partial_region);
    *out = t;
    return BPTT_OK;
}

void bptt_trainer_free(bptt_trainer *t)
{
    if (!t)
        return;
    influence_free(t->influence);
    horizon_free(t->horizon);
    if (t->net.model)
        network_free(&t->net);
    free(t);
}

/* A trainer that is laid out and will not run. */
static int plan_trainer(const bptt_model *model, const bptt_trainer_config *config, struct bptt_trainer *t, bptt_error *error)
{
    *t = (struct bptt_trainer){.model = (bptt_model *)(uintptr_t)model, .config = *config};
    int status = check_config(config, error);
    if (!status)
        status = check_strategy(config, &t->strategy, error);
    return status ? status : lay_out(t, error);
}

static void forecast(struct bptt_trainer *t, bptt_plan *plan)
{
    struct schedule *schedule = &t->net.schedule;
    schedule_start(schedule, schedule->axis.steps, random_open(t->config.seed, RANDOM_TRUNCATION, 0), 0);
    struct forecast cost = schedule_forecast(schedule);
    plan->steps = t->config.length;
    plan->rows = schedule->layout.rows;
    plan->kept = schedule->layout.slots;
    plan->spilled = schedule->layout.spilled;
    plan->disk = (int64_t)schedule->layout.disk;
    plan->advanced = cost.advanced;
    plan->recorded_steps = cost.recorded;
    plan->reversed = cost.reversed;
    plan->updates = strategy_is_forward(&t->strategy) ? plan->steps : cost.updates ? cost.updates : 1;
    plan->slow_down = cost.slow_down;
}

static void plan_scan(const struct bptt_trainer *t, bptt_plan *plan)
{
    plan->threads = pool_workers(t->net.pool);
    plan->scan_workers = layer_scan_workers(&t->net.layer[0], plan->threads, &plan->scan_units);
    if (plan->scan_units && t->config.dropout_state > 0) {     /* its masks, not there yet, keep the units together */
        plan->scan_units = 0;
        plan->scan_workers = t->config.batch < plan->threads ? (int)t->config.batch : plan->threads;
    }
}

int bptt_trainer_plan(const bptt_model *model, const bptt_trainer_config *config, bptt_plan *plan, bptt_error *error)
{
    struct bptt_trainer t;
    int status = plan_trainer(model, config, &t, error);
    if (status)
        return status;
    const size_t *bytes = t.net.plan.bytes;
    *plan = (bptt_plan){.parameters = (int64_t)bytes[PLAN_PARAMETERS] + model->count * (int64_t)sizeof(float),
                        .gradients = (int64_t)bytes[PLAN_GRADIENTS],
                        .optimizer = (int64_t)bytes[PLAN_OPTIMIZER],
                        .recorded = (int64_t)bytes[PLAN_RECORDED],
                        .states = (int64_t)bytes[PLAN_STATES],
                        .scratch = (int64_t)bytes[PLAN_SCRATCH],
                        .packed = (int64_t)bytes[PLAN_PACKED],
                        .data = (int64_t)bytes[PLAN_DATA],
                        .influence = (int64_t)influence_bytes(model, (long)config->batch, &t.strategy)};
    plan->program = config->memory ? (int64_t)(memory_resident() + MARGIN) - model->count * (int64_t)sizeof(float) : 0;
    plan->total = (int64_t)t.net.plan.total + model->count * (int64_t)sizeof(float) + plan->influence + plan->program;
    forecast(&t, plan);
    plan_scan(&t, plan);
    network_free(&t.net);
    return BPTT_OK;
}

int bptt_trainer_schedule(const bptt_model *model, const bptt_trainer_config *config, const char *form, int columns, char **text,
                          bptt_error *error)
{
    struct bptt_trainer t;
    struct text out = {0};
    *text = NULL;
    int status = plan_trainer(model, config, &t, error);
    if (status)
        return status;
    struct schedule *schedule = &t.net.schedule;
    schedule_start(schedule, schedule->axis.steps, random_open(t.config.seed, RANDOM_TRUNCATION, 0), 0);
    if (!strcmp(form, "list"))
        schedule_print(schedule, 0, &out);
    else if (!strcmp(form, "picture"))
        schedule_draw(schedule, columns, &out);
    else if (!strcmp(form, "svg"))
        schedule_svg(schedule, &out);
    else
        status = fail(error, BPTT_ERROR_ARGUMENT, "no such form of a schedule: '%s'; list, picture or svg", form);
    network_free(&t.net);
    *text = text_take(&out);
    return status || *text ? status : fail_memory(error, 1);
}

/* ---- the norm ---- */

static void square_task(void *context, long task, int worker)
{
    (void)worker;
    struct bptt_trainer *t = context;
    long from = task * CHUNK, to = from + CHUNK < t->model->count ? from + CHUNK : t->model->count;
    t->partial[task] = t->net.kernels->wide->sum_of_squares(to - from, (float *)t->net.gradients + from);
}

static double gradient_norm(struct bptt_trainer *t)
{
    double sum = 0;
    pool_tasks(t->net.pool, chunks(t->model), square_task, t);
    for (long i = 0; i < chunks(t->model); i++)
        sum += t->partial[i];
    return sqrt(sum);
}

/* ---- the update ---- */

struct update { struct bptt_trainer *trainer; double scale; };

static void update_task(void *context, long task, int worker)
{
    (void)worker;
    struct update *u = context;
    struct bptt_trainer *t = u->trainer;
    const bptt_trainer_config *c = &t->config;
    const struct kernels *k = t->net.kernels->wide;
    long from = task * CHUNK, n = from + CHUNK < t->model->count ? CHUNK : t->model->count - from;
    float *w = t->model->data + from, *g = (float *)t->net.gradients + from;
    float *first = t->first ? t->first + from : NULL, *second = t->second ? t->second + from : NULL;
    double correction1 = 1 - pow(c->beta1, (double)t->updates), correction2 = 1 - pow(c->beta2, (double)t->updates);
    switch (c->optimizer) {
    case BPTT_SGD: k->sgd(n, w, g, first, u->scale, c->rate, c->momentum, c->weight_decay); break;
    case BPTT_RMSPROP: k->rmsprop(n, w, g, second, u->scale, c->rate, c->beta2, c->epsilon, c->weight_decay); break;
    default:
        k->adam(n, w, g, first, second, u->scale, c->rate, c->beta1, c->beta2, correction1, correction2, c->epsilon,
                c->weight_decay, c->optimizer == BPTT_ADAMW);
    }
}

static void clamp_task(void *context, long task, int worker)
{
    (void)worker;
    struct bptt_trainer *t = context;
    long from = task * CHUNK, to = from + CHUNK < t->model->count ? from + CHUNK : t->model->count;
    t->net.kernels->wide->clamp(to - from, t->config.clip_value, (float *)t->net.gradients + from);
}

/* Clips to the threshold, not to 1, and only what is longer. Values first, then the norm of what is left of them. */
static double clipping_scale(struct bptt_trainer *t, double norm)
{
    if (t->config.clip_value > 0) {
        pool_tasks(t->net.pool, chunks(t->model), clamp_task, t);
        norm = t->config.clip_norm > 0 ? gradient_norm(t) : norm;
    }
    return t->config.clip_norm > 0 && norm > t->config.clip_norm ? t->config.clip_norm / norm : 1;
}

static int not_finite(struct bptt_trainer *t, double loss, bptt_error *error)
{
    char where[160] = "no single value";
    network_find_not_finite(&t->net, where, sizeof where);
    const char *advice = t->config.clip_norm > 0 ? "the learning rate is too high: lower --lr, or --backtrack"
                                                 : "the gradient exploded: set --clip 1, or lower --lr";
    return fail(error, BPTT_ERROR_NOT_FINITE, "step %lld: the %s is not finite, first in %s; most likely %s",
                (long long)t->window, isfinite(loss) ? "gradient" : "loss", where, advice);
}

static struct window window_of(const struct bptt_trainer *t, const void *x, const void *y)
{
    long from = (long)t->config.loss_from, steps = (long)t->config.length;
    struct window window = {.steps = steps, .target = y, .element_size = 4, .index = t->window, .loss_from = from,
                            .mean_over = from ? steps - from : 0};
    if (t->model->vocabulary)
        window.token = x;
    else
        window.x = x;
    return window;
}

static void take_norms(struct bptt_trainer *t)
{
    for (int i = 0; t->norms && i < t->model->tensors; i++) {
        const struct tensor *tensor = &t->model->tensor[i];
        t->norms[i] = sqrt(t->net.kernels->wide->sum_of_squares(tensor->count, (float *)t->net.gradients + tensor->offset));
    }
}

/* One update from the gradients at hand. */
static int apply(struct bptt_trainer *t, double loss, bptt_error *error)
{
    clear_frozen(t);
    double size = gradient_norm(t);
    t->norm = size > t->norm ? size : t->norm;
    if (!isfinite(loss) || !isfinite(size))
        return not_finite(t, loss, error);
    t->updates++;
    struct update update = {t, clipping_scale(t, size)};
    t->made++;
    t->clipped += update.scale < 1;
    take_norms(t);
    pool_tasks(t->net.pool, chunks(t->model), update_task, &update);
    return BPTT_OK;
}

static int apply_within(void *user, bptt_error *error)
{
    struct bptt_trainer *t = user;
    int status = apply(t, 0, error);
    network_clear_gradients(&t->net);
    return status;
}

static int run_strategy(struct bptt_trainer *t, struct window *window, bptt_error *error)
{
    if (updates_within(t)) {
        window->update = apply_within;
        window->user = t;
    }
    if (t->horizon) {
        int status = horizon_adapt(t->horizon, &t->net, window, error);
        if (status)
            return status;
    }
    return t->influence ? influence_window(t->influence, &t->net, window, error) : network_gradient(&t->net, window, error);
}

int bptt_trainer_step(bptt_trainer *t, const void *x, const void *y, double *loss, double *norm, bptt_error *error)
{
    struct network *net = &t->net;
    struct window window = window_of(t, x, y);
    window.training = 1;
    if (!t->config.carry)
        bptt_trainer_reset_state(t);
    t->norm = 0;
    network_load(net);
    network_clear_gradients(net);
    int status = run_strategy(t, &window, error);
    if (!status)
        status = updates_within(t) && isfinite(window.loss) ? BPTT_OK : apply(t, window.loss, error);
    *loss = window.loss;
    *norm = t->norm;
    if (status == BPTT_ERROR_NOT_FINITE)
        bptt_trainer_reset_state(t);       /* what would be carried may not be finite either */
    if (status)
        return status;
    t->window++;
    t->model->step++;
    return BPTT_OK;
}

void bptt_trainer_set_rate(bptt_trainer *t, double rate)
{
    t->config.rate = rate;
}

void bptt_trainer_reset_state(bptt_trainer *t)
{
    network_reset(&t->net);
    if (t->influence)
        influence_reset(t->influence);
}

/* ---- loss alone ---- */

static void swap_states(struct bptt_trainer *t)
{
    void ***carried = t->net.carried;
    t->net.carried = t->eval_state;
    t->eval_state = carried;
}

int trainer_loss(struct bptt_trainer *t, const void *x, const void *y, long steps, int reset, double *loss,
                 bptt_error *error)
{
    struct window window = window_of(t, x, y);
    window.steps = steps;
    network_load(&t->net);
    swap_states(t);
    if (reset || !t->config.carry)
        network_reset(&t->net);
    int status = network_forward(&t->net, &window, error);
    swap_states(t);
    *loss = window.loss;
    return status;
}

int bptt_trainer_loss(bptt_trainer *t, const void *x, const void *y, int reset, double *loss, bptt_error *error)
{
    return trainer_loss(t, x, y, (long)t->config.length, reset, loss, error);
}
