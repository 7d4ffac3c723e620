/* run.c - bptt_run and bptt_gradient: arrays from outside through a network, once. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "influence.h"
#include "run.h"

enum { MARGIN = 2 << 20 };                 /* bytes: code that runs later for the first time, stacks, the allocator's own */

bptt_run_options bptt_run_defaults(void)
{
    return (bptt_run_options){.size = sizeof(bptt_run_options), .threads = 0, .precision = BPTT_F32, .gradient = "full"};
}

/* ---- what is asked ---- */

static const char *shape_text(const bptt_array *array, char *buffer, size_t size)
{
    int used = snprintf(buffer, size, "[");
    for (int i = 0; i < array->rank && used > 0 && (size_t)used < size; i++)
        used += snprintf(buffer + used, size - (size_t)used, i ? ", %lld" : "%lld", (long long)array->shape[i]);
    if (used > 0 && (size_t)used < size)
        snprintf(buffer + used, size - (size_t)used, "]");
    return buffer;
}

static int is_float(const bptt_array *array)
{
    return array->type == BPTT_F32 || array->type == BPTT_F64;
}

static int check_options(struct request *r, bptt_error *error)
{
    const bptt_run_options *options = r->options;
    if (options->size != sizeof *options)
        return fail(error, BPTT_ERROR_ARGUMENT, "the options do not come from bptt_run_defaults");
    if (options->precision != BPTT_F32 && options->precision != BPTT_F64 && options->precision != BPTT_BF16)
        return fail(error, BPTT_ERROR_ARGUMENT, "unknown precision: BPTT_F32, BPTT_F64 or BPTT_BF16");
    if (options->memory < 0)
        return fail(error, BPTT_ERROR_ARGUMENT, "memory is %lld bytes; it must be positive, or 0 for no limit", (long long)options->memory);
    if (options->threads < 0 || options->threads > 1024)
        return fail(error, BPTT_ERROR_ARGUMENT, "threads is %d; it must be between 0 (all) and 1024", options->threads);
    r->type = options->precision == BPTT_F64 ? BPTT_F64 : BPTT_F32;
    r->element_size = options->precision == BPTT_F64 ? 8 : 4;
    int status = strategy_parse(options->gradient, &r->strategy, error);
    if (!status && options->precision == BPTT_BF16 && strategy_is_forward(&r->strategy))
        return fail(error, BPTT_ERROR_ARGUMENT, "bf16 goes with the backward strategies; %s runs forward: take precision f32",
                    options->gradient);
    return status;
}

static int check_input(struct request *r, bptt_error *error)
{
    char text[128];
    const bptt_array *input = r->input;
    const bptt_model *model = r->model;
    int fits = model->vocabulary ? input->type == BPTT_I32 && input->rank == 2
                                 : is_float(input) && input->rank == 3 && input->shape[2] == model->inputs;
    if (!fits && model->vocabulary)
        return fail(error, BPTT_ERROR_ARGUMENT, "the input has shape %s; this model takes int32 tokens [T, B]",
                    shape_text(input, text, sizeof text));
    if (!fits)
        return fail(error, BPTT_ERROR_ARGUMENT, "the input has shape %s; this model takes floats [T, B, I] with I = %ld",
                    shape_text(input, text, sizeof text), model->inputs);
    if (input->shape[1] < 1)
        return fail(error, BPTT_ERROR_ARGUMENT, "the input has no batch rows: its shape is %s", shape_text(input, text, sizeof text));
    if (input->shape[0] > 1 << 30 || input->shape[1] > 1 << 24)
        return fail(error, BPTT_ERROR_ARGUMENT, "the input is too large: its shape is %s", shape_text(input, text, sizeof text));
    r->steps = (long)input->shape[0];
    r->batch = (long)input->shape[1];
    return BPTT_OK;
}

static int check_rows(const struct request *r, const bptt_array *array, const char *what, bptt_error *error)
{
    char text[128];
    int fits = is_float(array) && array->rank == 3 && array->shape[0] == r->steps && array->shape[1] == r->batch &&
               array->shape[2] == r->model->outputs;
    if (fits)
        return BPTT_OK;
    return fail(error, BPTT_ERROR_ARGUMENT, "the %s has shape %s; it must be floats [T, B, O] = [%ld, %ld, %ld]", what,
                shape_text(array, text, sizeof text), r->steps, r->batch, r->model->outputs);
}

static int check_target(const struct request *r, const bptt_array *target, bptt_error *error)
{
    char text[128];
    if (r->model->loss == BPTT_MSE)
        return check_rows(r, target, "target", error);
    if (target->type == BPTT_I32 && target->rank == 2 && target->shape[0] == r->steps && target->shape[1] == r->batch)
        return BPTT_OK;
    return fail(error, BPTT_ERROR_ARGUMENT, "the target has shape %s; cross-entropy takes int32 [T, B] = [%ld, %ld]",
                shape_text(target, text, sizeof text), r->steps, r->batch);
}

/* ---- states in and out ---- */

static void state_name(const bptt_model *model, int layer, int state, const char *prefix, char *name, size_t size)
{
    snprintf(name, size, "%slayers.%d.%s", prefix, layer, model->cell->state[state].name);
}

static long state_width(const bptt_model *model, int layer, int state)
{
    return model->size[layer][model->cell->state[state].dim];
}

/* Every array of the set must be a state of the model, so that a misspelt name is not passed over. */
static int set_states(struct network *net, const bptt_arrays *set, void ***buffers, const char *what, bptt_error *error)
{
    const bptt_model *model = net->model;
    for (size_t k = 0; set && k < set->count; k++) {
        const bptt_array *array = &set->items[k];
        int found = 0;
        for (int l = 0; l < model->layers; l++) {
            for (int i = 0; i < model->cell->states; i++) {
                char name[112], text[128];
                state_name(model, l, i, "", name, sizeof name);
                if (strcmp(name, array->name))
                    continue;
                long width = state_width(model, l, i);
                found = 1;
                if (!is_float(array) || array->rank != 2 || array->shape[0] != net->config.batch || array->shape[1] != width)
                    return fail(error, BPTT_ERROR_ARGUMENT, "%s %s has shape %s; it must be floats [B, width] = [%ld, %ld]", what, name,
                                shape_text(array, text, sizeof text), net->config.batch, width);
                network_set_state(net, buffers[l][i], l, i, array->data, array->type == BPTT_F64 ? 8 : 4);
            }
        }
        if (!found)
            return fail(error, BPTT_ERROR_ARGUMENT, "%s: the model has no state '%s'", what, array->name);
    }
    return BPTT_OK;
}

static int new_array(bptt_array *array, int type, int rank, const int64_t *shape, bptt_error *error)
{
    array->type = type;
    array->rank = rank;
    size_t bytes = type == BPTT_F64 ? 8 : 4;
    for (int i = 0; i < rank; i++) {
        array->shape[i] = shape[i];
        bytes = size_mul(bytes, (size_t)shape[i]);
    }
    array->data = bytes < (size_t)1 << 46 ? calloc(bytes ? bytes : 1, 1) : NULL;
    return array->data ? BPTT_OK : fail_memory(error, bytes);
}

static int get_states(const struct request *r, struct network *net, void ***buffers, const char *prefix, bptt_array **next,
                      bptt_error *error)
{
    const bptt_model *model = net->model;
    for (int l = 0; l < model->layers; l++) {
        for (int i = 0; i < model->cell->states; i++) {
            bptt_array *array = (*next)++;
            int status = new_array(array, r->type, 2, (int64_t[]){r->batch, state_width(model, l, i)}, error);
            if (status)
                return status;
            state_name(model, l, i, prefix, array->name, sizeof array->name);
            network_get_state(net, buffers[l][i], l, i, array->data, r->element_size);
        }
    }
    return BPTT_OK;
}

static size_t state_count(const bptt_model *model)
{
    return (size_t)model->layers * (size_t)model->cell->states;
}

static int new_set(bptt_arrays *set, size_t count, bptt_error *error)
{
    set->items = calloc(count ? count : 1, sizeof *set->items);
    set->count = set->items ? count : 0;
    return set->items ? BPTT_OK : fail_memory(error, count * sizeof *set->items);
}

/* ---- a network for one window ---- */

/* The process as it is, the results, and a margin. */
static size_t bytes_elsewhere(const struct request *r)
{
    return memory_resident() + size_mul((size_t)r->model->count, (size_t)r->element_size) + MARGIN;
}

static int open_network(const struct request *r, struct network *net, int gradients, int input_gradient, const bptt_arrays *initial,
                        bptt_error *error)
{
    struct network_config config = {.steps = r->steps, .batch = r->batch, .threads = r->options->threads, .gradients = gradients,
                                    .precision = precision_of(r->options->precision),
                                    .input_gradient = input_gradient, .strategy = r->strategy, .spill = r->options->spill,
                                    .memory = (size_t)r->options->memory, .elsewhere = bytes_elsewhere(r),
                                    .seed = r->options->seed, .fed = r->fed};
    int status = network_new(net, r->model, &config, error);
    if (status)
        return status;
    status = network_allocate(net, error);
    if (!status) {
        network_load(net);
        status = set_states(net, initial, net->carried, "initial state", error);
    }
    if (status)
        network_free(net);
    return status;
}

/* The rows of an array in the element size of the run: the array's own data where it fits, else a copy in *owned. */
static const void *converted(const struct request *r, const bptt_array *array, void **owned, bptt_error *error)
{
    *owned = NULL;
    int same = array->type == BPTT_I32 || array->type == r->type;
    if (same)
        return array->data;
    int64_t n = bptt_array_length(array);
    *owned = malloc((size_t)(n ? n : 1) * (size_t)r->element_size);
    if (!*owned) {
        fail_memory(error, (size_t)n * (size_t)r->element_size);
        return NULL;
    }
    for (int64_t i = 0; i < n; i++) {
        if (r->element_size == 8)
            ((double *)*owned)[i] = ((const float *)array->data)[i];
        else
            ((float *)*owned)[i] = (float)((const double *)array->data)[i];
    }
    return *owned;
}

static void give_input(const struct request *r, struct window *window, const void *data)
{
    if (r->model->vocabulary)
        window->token = data;
    else
        window->x = data;
}

/* ---- forward ---- */

static int run_window(struct request *r, struct network *net, const void *input, bptt_array *output, bptt_arrays *final,
                      bptt_error *error)
{
    struct window window = {.steps = r->steps, .element_size = r->element_size};
    give_input(r, &window, input);
    int status = BPTT_OK;
    if (output) {
        status = new_array(output, r->type, 3, (int64_t[]){r->steps, r->batch, r->model->outputs}, error);
        window.output = output->data;
    }
    if (!status)
        status = network_forward(net, &window, error);
    if (!status && final)
        status = new_set(final, state_count(r->model), error);
    bptt_array *next = final ? final->items : NULL;
    if (!status && final)
        status = get_states(r, net, net->carried, "", &next, error);
    return status;
}

int bptt_run(const bptt_model *model, const bptt_array *input, const bptt_arrays *initial, bptt_array *output,
             bptt_arrays *final, const bptt_run_options *options, bptt_error *error)
{
    bptt_run_options defaults = bptt_run_defaults();
    struct request r = {.model = model, .input = input, .options = options ? options : &defaults};
    if (output)
        *output = (bptt_array){0};
    if (final)
        *final = (bptt_arrays){0};
    int status = check_options(&r, error);
    if (!status)
        status = check_input(&r, error);
    struct network net;
    if (!status)
        status = open_network(&r, &net, 0, 0, initial, error);
    if (status)
        return status;
    void *owned;
    const void *data = converted(&r, input, &owned, error);
    status = data ? run_window(&r, &net, data, output, final, error) : BPTT_ERROR_MEMORY;
    free(owned);
    network_free(&net);
    if (status && output)
        bptt_array_clear(output);
    if (status && final)
        bptt_arrays_clear(final);
    return status;
}

/* ---- gradient ---- */

static int is_forward(const struct gradient_request *g)
{
    return strategy_is_forward(&g->r.strategy);
}

static int has_input_gradient(const struct gradient_request *g)
{
    return !g->r.model->vocabulary && !is_forward(g);
}

/* Each gradient's name and shape, in the order of the set; *count of them. No data. */
int gradient_headers(const struct gradient_request *g, bptt_arrays *set, bptt_error *error)
{
    const bptt_model *model = g->r.model;
    size_t states = is_forward(g) ? 0 : state_count(model);
    int status = new_set(set, (size_t)model->tensors + (size_t)has_input_gradient(g) + states, error);
    bptt_array *next = set->items;
    for (int i = 0; !status && i < model->tensors; i++, next++) {
        const struct tensor *tensor = &model->tensor[i];
        *next = (bptt_array){.type = g->r.type, .rank = tensor->rank, .shape = {tensor->shape[0], tensor->shape[1]}};
        snprintf(next->name, sizeof next->name, "%s", tensor->name);
    }
    if (!status && has_input_gradient(g))
        *next++ = (bptt_array){.name = "input", .type = g->r.type, .rank = 3, .shape = {g->r.steps, g->r.batch, model->inputs}};
    for (size_t i = 0; !status && i < states; i++, next++) {
        int l = (int)(i / (size_t)model->cell->states), state = (int)(i % (size_t)model->cell->states);
        *next = (bptt_array){.type = g->r.type, .rank = 2, .shape = {g->r.batch, state_width(model, l, state)}};
        state_name(model, l, state, "initial.", next->name, sizeof next->name);
    }
    return status;
}

/* Room for the results; those of a feed's dL/dx are not held. */
static int new_results(struct gradient_request *g, bptt_error *error)
{
    int status = gradient_headers(g, g->gradients, error);
    for (size_t i = 0; !status && i < g->gradients->count; i++) {
        bptt_array *array = &g->gradients->items[i];
        if (!g->feed || strcmp(array->name, "input"))
            status = new_array(array, array->type, array->rank, (int64_t[]){array->shape[0], array->shape[1], array->shape[2]}, error);
    }
    return status;
}

static void *input_rows(const struct gradient_request *g)
{
    return has_input_gradient(g) ? g->gradients->items[g->r.model->tensors].data : NULL;
}

static void collect(struct gradient_request *g, struct network *net)
{
    const bptt_model *model = g->r.model;
    bptt_array *next = g->gradients->items;
    for (int i = 0; i < model->tensors; i++, next++) {
        const struct tensor *tensor = &model->tensor[i];
        memcpy(next->data, (char *)net->gradients + tensor->offset * g->r.element_size, (size_t)(tensor->count * g->r.element_size));
    }
    next += has_input_gradient(g);
    for (int l = 0; !is_forward(g) && l < model->layers; l++)
        for (int i = 0; i < model->cell->states; i++, next++)
            network_get_state(net, net->initial_gradient[l][i], l, i, next->data, g->r.element_size);
}

static int forward_mode(struct gradient_request *g, struct network *net, struct window *window, bptt_error *error)
{
    struct influence *influence;
    int status = influence_new(net, &g->r.strategy, g->r.options->seed, &influence, error);
    if (status)
        return status;
    status = influence_window(influence, net, window, error);
    influence_free(influence);
    return status;
}

static int gradient_window(struct gradient_request *g, struct network *net, struct window *window, bptt_error *error)
{
    int status = new_results(g, error);
    if (!status) {
        window->input_gradient = input_rows(g);
        status = set_states(net, g->final_gradient, net->final_gradient, "final gradient", error);
    }
    if (!status)
        status = is_forward(g) ? forward_mode(g, net, window, error) : network_gradient(net, window, error);
    if (!status)
        collect(g, net);
    if (!status && g->loss)
        *g->loss = window->loss;
    return status;
}

static int run_gradient(struct gradient_request *g, bptt_error *error)
{
    struct network net;
    const bptt_array *arrays[3] = {g->r.input, g->target, g->output_gradient};
    void *owned[3] = {NULL, NULL, NULL};
    const void *data[3] = {NULL, NULL, NULL};
    int status = BPTT_OK;
    for (int i = 0; i < 3 && !status && !g->feed; i++) {
        if (!arrays[i])
            continue;
        data[i] = converted(&g->r, arrays[i], &owned[i], error);
        status = data[i] ? BPTT_OK : BPTT_ERROR_MEMORY;
    }
    struct window window = {.steps = g->r.steps, .target = data[1], .output_gradient = data[2], .element_size = g->r.element_size,
                            .feed = g->feed};
    give_input(&g->r, &window, data[0]);
    if (!status)
        status = open_network(&g->r, &net, 1, has_input_gradient(g), g->initial, error);
    if (!status) {
        status = gradient_window(g, &net, &window, error);
        network_free(&net);
    }
    for (int i = 0; i < 3; i++)
        free(owned[i]);
    return status;
}

int gradient_check(struct gradient_request *g, bptt_error *error)
{
    if (g->target && g->output_gradient)
        return fail(error, BPTT_ERROR_ARGUMENT, "give a target or an output gradient, not both");
    int status = check_options(&g->r, error);
    if (!status) status = check_input(&g->r, error);
    if (!status) status = strategy_check(&g->r.strategy, g->r.steps, error);
    if (!status && g->target) status = check_target(&g->r, g->target, error);
    if (!status && g->output_gradient) status = check_rows(&g->r, g->output_gradient, "output gradient", error);
    if (!status && g->r.strategy.kind == STRATEGY_ADAPTIVE)
        return fail(error, BPTT_ERROR_ARGUMENT, "adaptive chooses a truncation while it trains; for one gradient give truncated:k1,k2 "
                    "(bptt horizon proposes one)");
    return status;
}

int gradient_run(struct gradient_request *g, bptt_error *error)
{
    *g->gradients = (bptt_arrays){0};
    int status = gradient_check(g, error);
    if (!status)
        status = run_gradient(g, error);
    if (status)
        bptt_arrays_clear(g->gradients);
    return status;
}

int bptt_gradient(const bptt_model *model, const bptt_array *input, const bptt_array *target,
                  const bptt_array *output_gradient, const bptt_arrays *initial, const bptt_arrays *final_gradient,
                  double *loss, bptt_arrays *gradients, const bptt_run_options *options, bptt_error *error)
{
    bptt_run_options defaults = bptt_run_defaults();
    struct gradient_request g = {.r = {.model = model, .input = input, .options = options ? options : &defaults}, .target = target,
                                 .output_gradient = output_gradient, .initial = initial, .final_gradient = final_gradient,
                                 .loss = loss, .gradients = gradients};
    return gradient_run(&g, error);
}
