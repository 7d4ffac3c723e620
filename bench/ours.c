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

/* A parameter by its letter and gate ('\0': none): its values, or with a network their gradient. */
static float *parameter(const struct ours *o, char letter, char gate, int gradient)
{
    char name[40];
    bptt_array view;
    snprintf(name, sizeof name, gate ? "layers.0.%c_%c" : "layers.0.%c", letter, gate);
    for (size_t i = 0; i < bptt_model_parameter_count(o->model); i++)
        if (!bptt_model_parameter(o->model, i, &view) && !strcmp(view.name, name))
            return gradient ? (float *)o->net.gradients + ((float *)view.data - (float *)o->net.parameters) : view.data;
    fprintf(stderr, "bench: %s has no parameter %s\n", o->problem->cell, name);
    exit(1);
}

/* Start weights out to where the other contenders read them. Two biases that stand side by side in gru are one for them. */
static void give_weights(struct ours *o)
{
    struct problem *p = o->problem;
    size_t n = (size_t)p->hidden, gates = (size_t)gate_count(p);
    for (size_t g = 0; g < gates; g++) {
        memcpy(p->W + g * n * n, parameter(o, 'W', p->gates[g], 0), n * n * sizeof *p->W);
        memcpy(p->U + g * n * n, parameter(o, 'U', p->gates[g], 0), n * n * sizeof *p->U);
        memcpy(p->b + g * n, parameter(o, 'b', p->gates[g], 0), n * sizeof *p->b);
    }
    if (bias_count(p) == (long)gates)
        return;
    for (size_t g = 0; g < gates; g++) {
        const float *c = parameter(o, 'c', p->gates[g], 0);
        for (size_t i = 0; i < n; i++) {
            if (p->gates[g] == 'n')
                p->b[gates * n + i] = c[i];
            else
                p->b[g * n + i] += c[i];
        }
    }
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
        memcpy(to->dW + g * n * n, parameter(o, 'W', p->gates[g], 1), n * n * sizeof(float));
        memcpy(to->dU + g * n * n, parameter(o, 'U', p->gates[g], 1), n * n * sizeof(float));
        memcpy(to->db + g * n, parameter(o, 'b', p->gates[g], 1), n * sizeof(float));
    }
    if (bias_count(p) > (long)gates)
        memcpy(to->db + gates * n, parameter(o, 'c', 'n', 1), n * sizeof(float));
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

int ours_open(struct contender *contender, struct problem *p)
{
    bptt_error error = {0};
    struct ours *o = take(sizeof *o);
    size_t rows = (size_t)(p->steps * p->batch * p->hidden) * sizeof(float);
    struct network_config config = {.steps = p->steps, .batch = p->batch, .threads = p->threads, .gradients = 1,
                                    .input_gradient = 1};
    o->problem = p;
    o->model = make_model(p->cell, p->hidden, 0);
    o->y = take(rows);
    o->dx = take(rows);
    if (network_new(&o->net, o->model, &config, &error) || network_allocate(&o->net, &error))
        give_up(&error);
    network_load(&o->net);
    if (p->W)
        give_weights(o);
    *contender = (struct contender){.name = "bptt", .share = 1, .state = o, .run = run, .collect = collect, .close = leave};
    return 1;
}

long ours_matrix_elements(const struct contender *ours)
{
    const struct ours *o = ours->state;
    bptt_array view;
    long sum = 0;
    for (size_t i = 0; i < bptt_model_parameter_count(o->model); i++)
        if (!bptt_model_parameter(o->model, i, &view) && view.rank == 2)
            sum += (long)bptt_array_length(&view);
    return sum;
}

/* ---- a stream ---- */

struct streaming { bptt_model *model; bptt_stream *stream; float *x, *y; };

static void run_stream(void *state)
{
    struct streaming *s = state;
    bptt_error error = {0};
    if (bptt_stream_step(s->stream, s->x, s->y, &error))
        give_up(&error);
}

static void leave_stream(void *state)
{
    struct streaming *s = state;
    bptt_stream_free(s->stream);
    bptt_model_free(s->model);
    free(s->x);
    free(s->y);
    free(s);
}

int ours_open_stream(struct contender *contender, const char *cell, long hidden)
{
    bptt_error error = {0};
    struct streaming *s = take(sizeof *s);
    s->model = make_model(cell, hidden, 0);
    s->x = take((size_t)hidden * sizeof *s->x);
    s->y = take((size_t)hidden * sizeof *s->y);
    for (long i = 0; i < hidden; i++)
        s->x[i] = 0.01f * (float)(i % 100);
    if (bptt_stream_new(s->model, 1, &s->stream, &error))
        give_up(&error);
    *contender = (struct contender){.name = "bptt", .share = 1, .state = s, .run = run_stream, .close = leave_stream};
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
