/* ours.c - bptt as a contender. For gradients a model of one layer without a head is run through model/network.h, since the
 * public interface allocates its results anew at each call; streaming and training need bptt.h alone. */
#include <bptt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../src/model/network.h"
#include "contest.h"

struct ours {
    struct problem *problem;
    bptt_model *model;
    struct network net;
    float *y, *dx;
};

static void give_up(const bptt_error *error)
{
    fprintf(stderr, "bench: %s\n", error->text);
    exit(1);
}

/* symbols 0: a layer alone, float inputs. */
static bptt_model *make_model(const char *name, long hidden, long symbols)
{
    bptt_error error = {0};
    bptt_cell *cell;
    bptt_model *model;
    bptt_model_config config = bptt_model_defaults();
    config.hidden = config.inputs = hidden;
    config.vocabulary = symbols;
    config.head = symbols > 0;
    config.loss = symbols ? BPTT_CROSS_ENTROPY : BPTT_MSE;
    if (bptt_cell_open(name, &cell, &error))
        give_up(&error);
    config.cell = cell;
    if (bptt_model_new(&config, &model, &error))
        give_up(&error);
    bptt_cell_free(cell);
    return model;
}

/* A parameter by its letter and gate ('\0': none). */
static float *parameter(const bptt_model *model, char letter, char gate)
{
    char name[40];
    bptt_array view;
    snprintf(name, sizeof name, gate ? "layers.0.%c_%c" : "layers.0.%c", letter, gate);
    for (size_t i = 0; i < bptt_model_parameter_count(model); i++)
        if (!bptt_model_parameter(model, i, &view) && !strcmp(view.name, name))
            return view.data;
    fprintf(stderr, "bench: there is no parameter %s\n", name);
    exit(1);
}

/* Start weights out to where the other contenders read them. Two biases that stand side by side in gru are one for them. */
static void give_weights(struct problem *p, const bptt_model *model)
{
    size_t n = (size_t)p->hidden, gates = (size_t)gate_count(p);
    for (size_t g = 0; g < gates; g++) {
        memcpy(p->W + g * n * n, parameter(model, 'W', p->gates[g]), n * n * sizeof *p->W);
        memcpy(p->U + g * n * n, parameter(model, 'U', p->gates[g]), n * n * sizeof *p->U);
        memcpy(p->b + g * n, parameter(model, 'b', p->gates[g]), n * sizeof *p->b);
    }
    if (bias_count(p) == (long)gates)
        return;
    for (size_t g = 0; g < gates; g++) {
        const float *c = parameter(model, 'c', p->gates[g]);
        for (size_t i = 0; i < n; i++) {
            if (p->gates[g] == 'n')
                p->b[gates * n + i] = c[i];
            else
                p->b[g * n + i] += c[i];
        }
    }
}

/* The gradient lies as the parameters do. */
static const float *gradient_of(const struct ours *o, char letter, char gate)
{
    bptt_array first;
    bptt_model_parameter(o->model, 0, &first);
    return (float *)o->net.gradients + (parameter(o->model, letter, gate) - (float *)first.data);
}

static void start_states(struct ours *o)
{
    const struct problem *p = o->problem;
    if (p->c)
        network_set_state(&o->net, o->net.carried[0][1], 0, 1, p->c, 4);
    if (p->h)
        network_set_state(&o->net, o->net.carried[0][0], 0, 0, p->h, 4);
    else
        network_reset(&o->net);
}

static void run(void *state)
{
    struct ours *o = state;
    bptt_error error = {0};
    struct window window = {.steps = o->problem->steps, .x = o->problem->x, .output_gradient = o->problem->dy,
                            .element_size = 4, .output = o->y, .input_gradient = o->dx};
    start_states(o);
    network_clear_gradients(&o->net);
    if (network_gradient(&o->net, &window, &error))
        give_up(&error);
}

static void collect(void *state, struct gradient *to)
{
    struct ours *o = state;
    const struct problem *p = o->problem;
    size_t n = (size_t)p->hidden, gates = (size_t)gate_count(p), rows = (size_t)(p->steps * p->batch) * n * sizeof(float);
    memcpy(to->y, o->y, rows);
    memcpy(to->dx, o->dx, rows);
    network_get_state(&o->net, o->net.initial_gradient[0][0], 0, 0, to->dh, 4);
    if (p->c)
        network_get_state(&o->net, o->net.initial_gradient[0][1], 0, 1, to->dc, 4);
    for (size_t g = 0; g < gates; g++) {
        memcpy(to->dW + g * n * n, gradient_of(o, 'W', p->gates[g]), n * n * sizeof(float));
        memcpy(to->dU + g * n * n, gradient_of(o, 'U', p->gates[g]), n * n * sizeof(float));
        memcpy(to->db + g * n, gradient_of(o, 'b', p->gates[g]), n * sizeof(float));
    }
    if (bias_count(p) > (long)gates)
        memcpy(to->db + gates * n, gradient_of(o, 'c', 'n'), n * sizeof(float));
}

static void leave(void *state)
{
    struct ours *o = state;
    network_free(&o->net);
    bptt_model_free(o->model);
    free(o->y);
    free(o->dx);
    free(o);
}

/* The total in which that share of recorded steps is left. */
static size_t budget(const bptt_model *model, struct network_config config, double share)
{
    bptt_error error = {0};
    struct network net;
    if (network_new(&net, model, &config, &error))
        give_up(&error);
    size_t recorded = (size_t)(net.schedule.layout.rows + 1) * net.axis.record_bytes, total = net.plan.total;
    network_free(&net);
    return total - recorded + (size_t)(share * (double)recorded);
}

int ours_open(struct contender *contender, struct problem *p)
{
    bptt_error error = {0};
    struct ours *o = take(sizeof *o);
    size_t rows = (size_t)(p->steps * p->batch * p->hidden) * sizeof(float);
    struct network_config config = {.steps = p->steps, .batch = p->batch, .threads = p->threads, .gradients = 1,
                                    .input_gradient = 1, .precision = precision_of(p->precision)};
    o->problem = p;
    o->model = make_model(p->cell, p->hidden, 0);
    o->y = take(rows);
    o->dx = take(rows);
    if (p->record_share > 0)
        config.memory = budget(o->model, config, p->record_share);
    if (network_new(&o->net, o->model, &config, &error) || network_allocate(&o->net, &error))
        give_up(&error);
    network_load(&o->net);
    if (p->W)
        give_weights(p, o->model);
    *contender = (struct contender){.name = "bptt", .share = 1, .bytes = (double)o->net.plan.total, .state = o, .run = run,
                                    .collect = collect, .close = leave};
    return 1;
}

/* ---- a stream ---- */

struct streaming { const struct problem *problem; bptt_model *model; bptt_stream *stream; float *y; };

static void run_stream(void *state)
{
    struct streaming *s = state;
    bptt_error error = {0};
    if (bptt_stream_step(s->stream, s->problem->x, s->y, &error))
        give_up(&error);
}

/* The first step's. */
static void collect_stream(void *state, struct gradient *to)
{
    struct streaming *s = state;
    bptt_stream_reset(s->stream);
    run_stream(s);
    memcpy(to->y, s->y, (size_t)s->problem->hidden * sizeof *s->y);
}

static void leave_stream(void *state)
{
    struct streaming *s = state;
    bptt_stream_free(s->stream);
    bptt_model_free(s->model);
    free(s->y);
    free(s);
}

int ours_open_stream(struct contender *contender, struct problem *p)
{
    bptt_error error = {0};
    struct streaming *s = take(sizeof *s);
    s->problem = p;
    s->model = make_model(p->cell, p->hidden, 0);
    s->y = take((size_t)p->hidden * sizeof *s->y);
    give_weights(p, s->model);
    if (bptt_stream_new_in(s->model, 1, p->precision ? p->precision : BPTT_F32, &s->stream, &error))
        give_up(&error);
    *contender = (struct contender){.name = "bptt", .share = 1, .state = s, .run = run_stream, .collect = collect_stream,
                                    .close = leave_stream};
    return 1;
}

/* ---- text ---- */

struct training { bptt_model *model; bptt_trainer *trainer; int32_t *x, *y; };

static void run_window(void *state)
{
    struct training *s = state;
    bptt_error error = {0};
    double loss, norm;
    if (bptt_trainer_step(s->trainer, s->x, s->y, &loss, &norm, &error))
        give_up(&error);
}

static void leave_training(void *state)
{
    struct training *s = state;
    bptt_trainer_free(s->trainer);
    bptt_model_free(s->model);
    free(s->x);
    free(s->y);
    free(s);
}

int ours_open_text(struct contender *contender, long hidden, long batch, long steps, long symbols, int threads)
{
    bptt_error error = {0};
    bptt_trainer_config config = bptt_trainer_defaults();
    struct training *s = take(sizeof *s);
    size_t count = (size_t)(batch * steps);
    s->model = make_model("lstm", hidden, symbols);
    s->x = take(count * sizeof *s->x);
    s->y = take(count * sizeof *s->y);
    for (size_t i = 0; i < count; i++) {
        s->x[i] = (int32_t)(i * 7 % (size_t)symbols);
        s->y[i] = (int32_t)(i * 11 % (size_t)symbols);
    }
    config.batch = batch;
    config.length = steps;
    config.threads = threads;
    config.clip_norm = 5;
    if (bptt_trainer_new(s->model, &config, &s->trainer, &error))
        give_up(&error);
    *contender = (struct contender){.name = "bptt", .share = 1, .state = s, .run = run_window, .close = leave_training};
    return 1;
}
