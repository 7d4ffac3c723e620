/* model.c - shapes: which parameters a model has, what they are called and where they stand. */
#include "model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LAYER_LIMIT = 256 };
static const int64_t COUNT_LIMIT = (int64_t)1 << 33;   /* parameters: 32 GiB of them */

bptt_model_config bptt_model_defaults(void)
{
    return (bptt_model_config){.size = sizeof(bptt_model_config), .hidden = 128, .layers = 1, .loss = BPTT_CROSS_ENTROPY, .head = 1};
}

/* ---- what may be asked for ---- */

static int check_size(const char *name, int64_t value, int64_t low, int64_t high, bptt_error *error)
{
    if (value >= low && value <= high)
        return BPTT_OK;
    return fail(error, BPTT_ERROR_ARGUMENT, "%s is %lld; it must be between %lld and %lld", name, (long long)value, (long long)low,
                (long long)high);
}

static int check_config(const bptt_model_config *c, bptt_error *error)
{
    if (c->size != sizeof *c || !c->cell)
        return fail(error, BPTT_ERROR_ARGUMENT, "the model's configuration does not come from bptt_model_defaults, or has no cell");
    int status = check_size("hidden", c->hidden, 1, 1 << 20, error);
    if (!status) status = check_size("layers", c->layers, 1, LAYER_LIMIT, error);
    if (!status) status = check_size("vocabulary", c->vocabulary, 0, 1 << 24, error);
    if (!status) status = check_size("inputs", c->inputs, c->vocabulary ? 0 : 1, 1 << 20, error);
    if (!status) status = check_size("outputs", c->outputs, c->vocabulary || !c->head ? 0 : 1, 1 << 24, error);
    if (status)
        return status;
    if (c->loss != BPTT_CROSS_ENTROPY && c->loss != BPTT_MSE)
        return fail(error, BPTT_ERROR_ARGUMENT, "unknown loss %d: cross-entropy or mse", c->loss);
    if (c->tied && (!c->vocabulary || !c->head))
        return fail(error, BPTT_ERROR_ARGUMENT, "a tied head needs tokens as input and a head");
    if (!isfinite(c->forget_bias))
        return fail(error, BPTT_ERROR_ARGUMENT, "the forget bias is not a number");
    return BPTT_OK;
}

/* ---- the order of a layer's parameters in memory ---- */

/* Matrices in the order of the backward program's products, so that those it joins lie one under the other; then the rest. */
static void state_order(const bptt_cell *cell, int *order, char *taken)
{
    int count = 0;
    for (int i = 0; i < cell->back.products; i++) {
        int param = cell->back.product[i].param;
        if (!taken[param])
            order[count++] = param;
        taken[param] = 1;
    }
    for (int i = 0; i < cell->params; i++)
        if (!taken[i])
            order[count++] = i;
}

/* ---- tensors ---- */

static struct tensor *add_tensor(struct bptt_model *model, int layer, int param, long rows, long columns)
{
    struct tensor *tensor = &model->tensor[model->tensors++];
    *tensor = (struct tensor){.layer = layer, .param = param, .rank = columns ? 2 : 1, .shape = {rows, columns ? columns : 1},
                              .offset = model->count, .count = rows * (columns ? columns : 1)};
    model->count += tensor->count;
    return tensor;
}

static int shape_layer(struct bptt_model *model, int layer, long inputs, int *order, char *taken, bptt_error *error)
{
    const bptt_cell *cell = model->cell;
    long *size = arena_alloc(&model->arena, (size_t)cell->dims * sizeof(long));
    struct slot *slot = arena_alloc(&model->arena, ((size_t)cell->params + 1) * sizeof *slot);
    if (!size || !slot)
        return fail_memory(error, (size_t)cell->dims * sizeof(long));
    int status = cell_sizes(cell, inputs, model->hidden, model->dims, size, error);
    if (status)
        return status;
    model->size[layer] = size;
    model->slot[layer] = slot;
    memset(taken, 0, (size_t)cell->params + 1);
    state_order(cell, order, taken);
    for (int i = 0; i < cell->params; i++) {
        const struct parameter *param = &cell->param[order[i]];
        int is_matrix = param->columns != DIM_NONE;
        long columns = cell_param_columns(cell, param, size);
        struct tensor *tensor = add_tensor(model, layer, order[i], size[param->rows], is_matrix ? columns : 0);
        snprintf(tensor->name, sizeof tensor->name, "layers.%d.%s", layer, param->name);
        slot[order[i]] = (struct slot){tensor->offset, size[param->rows], columns};
        if (model->count > COUNT_LIMIT)
            return fail(error, BPTT_ERROR_ARGUMENT, "this model would have more than %lld parameters", (long long)COUNT_LIMIT);
    }
    return BPTT_OK;
}

static int shape_head(struct bptt_model *model, bptt_error *error)
{
    long top = model->top;
    model->head_offset = model->bias_offset = -1;
    if (!model->head) {
        if (model->outputs && model->outputs != top)
            return fail(error, BPTT_ERROR_ARGUMENT, "without a head the outputs are the top layer's %ld, not %ld", top, model->outputs);
        model->outputs = top;
        return BPTT_OK;
    }
    if (!model->outputs)
        model->outputs = model->vocabulary;
    if (model->tied && (model->outputs != model->vocabulary || top != model->inputs))
        return fail(error, BPTT_ERROR_ARGUMENT,
                    "a tied head needs an embedding as wide as the top layer's output (%ld, not %ld) and one output a symbol", top,
                    model->inputs);
    if (model->tied) {
        model->head_offset = model->embed_offset;
    } else {
        struct tensor *weight = add_tensor(model, -1, -1, model->outputs, top);
        snprintf(weight->name, sizeof weight->name, "head.weight");
        model->head_offset = weight->offset;
    }
    struct tensor *bias = add_tensor(model, -1, -1, model->outputs, 0);
    snprintf(bias->name, sizeof bias->name, "head.bias");
    model->bias_offset = bias->offset;
    return model->count > COUNT_LIMIT ? fail(error, BPTT_ERROR_ARGUMENT, "this model would have more than %lld parameters",
                                             (long long)COUNT_LIMIT) : BPTT_OK;
}

static int shape_all(struct bptt_model *model, bptt_error *error)
{
    const bptt_cell *cell = model->cell;
    size_t layers = (size_t)model->layers;
    model->size = arena_alloc(&model->arena, layers * sizeof *model->size);
    model->slot = arena_alloc(&model->arena, layers * sizeof *model->slot);
    model->tensor = arena_alloc(&model->arena, (layers * (size_t)cell->params + 3) * sizeof *model->tensor);
    int *order = arena_alloc(&model->arena, ((size_t)cell->params + 1) * sizeof *order);
    char *taken = arena_alloc(&model->arena, (size_t)cell->params + 1);
    if (!model->size || !model->slot || !model->tensor || !order || !taken)
        return fail_memory(error, layers * sizeof *model->size);
    model->embed_offset = -1;
    if (model->vocabulary) {
        struct tensor *embed = add_tensor(model, -1, -1, model->vocabulary, model->inputs);
        snprintf(embed->name, sizeof embed->name, "embed.weight");
        model->embed_offset = embed->offset;
    }
    long inputs = model->inputs;
    for (int layer = 0; layer < model->layers; layer++) {
        int status = shape_layer(model, layer, inputs, order, taken, error);
        if (status)
            return status;
        inputs = model->size[layer][cell->output_dim];
    }
    model->top = inputs;
    return shape_head(model, error);
}

static char *copied(const char *text)
{
    size_t length = strlen(text) + 1;
    char *copy = malloc(length);
    return copy ? memcpy(copy, text, length) : NULL;
}

int model_shape(const bptt_model_config *config, bptt_model **out, bptt_error *error)
{
    *out = NULL;
    int status = check_config(config, error);
    if (status)
        return status;
    struct bptt_model *model = calloc(1, sizeof *model);
    if (!model)
        return fail_memory(error, sizeof *model);
    model->cell = cell_keep(config->cell);
    model->inputs = config->inputs ? (long)config->inputs : (long)config->hidden;
    model->vocabulary = (long)config->vocabulary;
    model->hidden = (long)config->hidden;
    model->layers = (long)config->layers;
    model->outputs = (long)config->outputs;
    model->loss = config->loss;
    model->head = config->head;
    model->tied = config->tied;
    model->orthogonal = config->orthogonal;
    model->forget_bias = config->forget_bias;
    model->seed = config->seed;
    model->valid_loss = NAN;
    int has_dims = config->dims && *config->dims;
    model->dims = has_dims ? copied(config->dims) : NULL;
    status = has_dims && !model->dims ? fail_memory(error, strlen(config->dims)) : shape_all(model, error);
    if (status)
        bptt_model_free(model);
    else
        *out = model;
    return status;
}

int model_allocate(bptt_model *model, bptt_error *error)
{
    int status = memory_fits(size_mul((size_t)model->count, sizeof *model->data), error);
    if (status)
        return status;
    model->data = calloc((size_t)model->count + STAGE_PAD, sizeof *model->data);
    return model->data ? BPTT_OK : fail_memory(error, (size_t)model->count * sizeof *model->data);
}

int bptt_model_new(const bptt_model_config *config, bptt_model **out, bptt_error *error)
{
    int status = model_shape(config, out, error);
    if (status)
        return status;
    status = model_allocate(*out, error);
    if (!status) status = model_initialise(*out, error);
    if (status) {
        bptt_model_free(*out);
        *out = NULL;
    }
    return status;
}

void bptt_model_free(bptt_model *model)
{
    if (!model)
        return;
    bptt_cell_free(model->cell);
    arena_free(&model->arena);
    free(model->dims);
    free(model->data);
    free(model->vocabulary_json);
    free(model);
}

/* ---- looking at one ---- */

const struct tensor *model_tensor(const bptt_model *model, const char *name)
{
    for (int i = 0; i < model->tensors; i++)
        if (!strcmp(model->tensor[i].name, name))
            return &model->tensor[i];
    return NULL;
}

int bptt_model_describe(const bptt_model *model, bptt_model_info *info, bptt_error *error)
{
    bptt_cell_info cell;
    int status = bptt_cell_describe(model->cell, model->inputs, model->hidden, &cell, error);
    if (status)
        return status;
    *info = (bptt_model_info){.cell_name = cell.name, .cell_source = cell.source, .kernel = cell.kernel, .inputs = model->inputs,
                              .vocabulary = model->vocabulary, .hidden = model->hidden, .layers = model->layers,
                              .outputs = model->outputs, .parameters = model->count, .loss = model->loss, .head = model->head,
                              .tied = model->tied, .symbols = model->symbols, .step = model->step, .valid_loss = model->valid_loss};
    return BPTT_OK;
}

size_t bptt_model_parameter_count(const bptt_model *model)
{
    return (size_t)model->tensors;
}

int bptt_model_parameter(const bptt_model *model, size_t index, bptt_array *view)
{
    if (index >= (size_t)model->tensors)
        return BPTT_ERROR_ARGUMENT;
    const struct tensor *tensor = &model->tensor[index];
    *view = (bptt_array){.type = BPTT_F32, .rank = tensor->rank, .shape = {tensor->shape[0], tensor->shape[1]},
                         .data = model->data + tensor->offset};
    snprintf(view->name, sizeof view->name, "%s", tensor->name);
    return BPTT_OK;
}
