/* stretch.c - see stretch.h: input, layers, dropout, head and loss over the steps of one stretch, and back. Rows are split over
 * the workers; the order of every sum is that of the rows. */
#include "stretch.h"

#include <string.h>

enum { CHUNK = 96 };                       /* rows of a task */

/* ---- rows ---- */

typedef void row_fn(struct stretch *s, long from, long to);
struct row_work { struct stretch *stretch; row_fn *fn; };

static void row_task(void *context, long task, int worker)
{
    (void)worker;
    struct row_work *w = context;
    long to = (task + 1) * CHUNK;
    w->fn(w->stretch, task * CHUNK, to < w->stretch->rows ? to : w->stretch->rows);
}

static void for_rows(struct stretch *s, row_fn *fn)
{
    struct row_work work = {s, fn};
    pool_tasks(s->net->pool, (s->rows + CHUNK - 1) / CHUNK, row_task, &work);
}

/* ---- dropout on a layer's output ---- */

static struct stretch stretch_of_layer(const struct stretch *s, int layer)
{
    struct stretch own = *s;
    own.layer = layer;
    return own;
}

static void *dropped_rows(const struct stretch *s)
{
    const struct network *net = s->net;
    return shift(net, region(net, net->memory->layer[s->layer].dropped),
                 s->first * net->config.batch * net->layer[s->layer].output_width);
}

/* The mask of these rows, drawn by their index: the backward pass draws the same one again. */
static void *draw_mask(struct stretch *s, long from, long to)
{
    struct network *net = s->net;
    long width = net->layer[s->layer].output_width;
    struct random_stream stream = random_open(net->config.seed, RANDOM_DROPOUT, (uint32_t)s->layer);
    const uint32_t key[4] = {stream.key[0], stream.key[1], stream.purpose, stream.layer};
    uint64_t index = ((uint64_t)s->window->index * (uint64_t)net->config.steps + (uint64_t)s->start) * (uint64_t)net->config.batch +
                     (uint64_t)from;
    void *mask = shift(net, region(net, net->memory->drop_mask), from * width);
    net->kernels->dropout_mask(key, index, to - from, width, 1 - net->config.dropout, mask, width);
    return mask;
}

static void drop_rows(struct stretch *s, long from, long to)
{
    struct network *net = s->net;
    struct layer *layer = &net->layer[s->layer];
    long stride, width = layer->output_width, n = to - from;
    const void *y = layer_output(layer, s->first, &stride);
    void *out = shift(net, dropped_rows(s), from * width);
    for (long r = 0; r < n; r++)
        memcpy(shift(net, out, r * width), shift_const(net, y, (from + r) * stride), (size_t)(width * net->kernels->element_size));
    if (s->window->training)
        net->kernels->multiply(n, width, draw_mask(s, from, to), width, out, width);
}

static void drop_gradient_rows(struct stretch *s, long from, long to)
{
    struct network *net = s->net;
    long width = net->layer[s->layer].output_width;
    void *dy = shift(net, region(net, net->memory->layer[s->layer].dy), from * width);
    net->kernels->multiply(to - from, width, draw_mask(s, from, to), width, dy, width);
}

/* What the layer above, or the head, sees of a layer: with dropout a masked copy. */
static void *seen_output(const struct stretch *s, int layer, long *stride)
{
    struct stretch own = stretch_of_layer(s, layer);
    if (!s->net->has_dropout)
        return layer_output(&s->net->layer[layer], s->first, stride);
    *stride = s->net->layer[layer].output_width;
    return dropped_rows(&own);
}

void stretch_draw_state_masks(struct network *net, const struct window *window)
{
    for (int l = 0; l < net->model->layers; l++) {
        for (int i = 0; i < net->model->cell->states; i++) {
            size_t mask = net->memory->layer[l].mask[i];
            net->layer[l].mask[i] = window->training ? region(net, mask) : NULL;
            if (!net->layer[l].mask[i])
                continue;
            struct random_stream stream = random_open(net->config.seed, RANDOM_DROPOUT_STATE, (uint32_t)(l * 64 + i));
            const uint32_t key[4] = {stream.key[0], stream.key[1], stream.purpose, stream.layer};
            long width = layer_state_width(&net->layer[l], i);
            net->kernels->dropout_mask(key, (uint64_t)(window->index * net->config.batch), net->config.batch, width,
                                       1 - net->config.dropout_state, net->layer[l].mask[i], width);
        }
    }
}

/* ---- rows of the window ---- */

static int check_tokens(const struct stretch *s, const int32_t *token, long limit, const char *what, bptt_error *error)
{
    for (long i = 0; i < s->rows; i++)
        if (token[i] < 0 || token[i] >= limit)
            return fail(error, BPTT_ERROR_ARGUMENT, "%s %d at step %ld, row %ld is not between 0 and %ld", what, (int)token[i],
                        s->start + i / s->net->config.batch, i % s->net->config.batch, limit - 1);
    return BPTT_OK;
}

/* Bytes of one step of a part. */
static long part_bytes(const struct network *net, enum feed_part part, int element_size)
{
    const bptt_model *model = net->model;
    int tokens = part == FEED_INPUT ? model->vocabulary > 0 : part == FEED_TARGET && model->loss == BPTT_CROSS_ENTROPY;
    long width = part == FEED_INPUT ? model->inputs : model->outputs;
    return net->config.batch * (tokens ? (long)sizeof(int32_t) : width * element_size);
}

static void point_rows(struct stretch *s, enum feed_part part, const void *rows)
{
    switch (part) {
    case FEED_INPUT:
        s->x = s->net->model->vocabulary ? NULL : rows;
        s->token = s->net->model->vocabulary ? rows : NULL;
        break;
    case FEED_TARGET: s->target = rows; break;
    default: s->output_gradient = rows;
    }
}

static int check_rows(const struct stretch *s, enum feed_part part, bptt_error *error)
{
    const bptt_model *model = s->net->model;
    if (part == FEED_INPUT && model->vocabulary)
        return check_tokens(s, s->token, model->vocabulary, "input token", error);
    if (part == FEED_TARGET && model->loss == BPTT_CROSS_ENTROPY)
        return check_tokens(s, s->target, model->outputs, "target", error);
    return BPTT_OK;
}

/* Points the stretch at its rows of a part: within the window's array, or fetched into a buffer of one block. */
static int fetch(struct stretch *s, enum feed_part part, bptt_error *error)
{
    const struct window *w = s->window;
    const void *whole[FEED_PARTS] = {w->token ? (const void *)w->token : w->x, w->target, w->output_gradient};
    if (!w->feed) {
        point_rows(s, part, whole[part] ? (const char *)whole[part] + s->start * part_bytes(s->net, part, w->element_size) : NULL);
        return BPTT_OK;
    }
    if (!w->feed->has[part])
        return BPTT_OK;
    void *rows = region(s->net, s->net->memory->fed[part]);
    int status = w->feed->read(w->feed->user, part, s->start, s->steps, rows, error);
    point_rows(s, part, rows);
    return status ? status : check_rows(s, part, error);
}

/* The arrays of a window are checked before it is run; what is fed, as it comes. */
int stretch_check_window(const struct network *net, const struct window *window, bptt_error *error)
{
    struct stretch all = {.net = (struct network *)(uintptr_t)net, .steps = window->steps, .rows = window->steps * net->config.batch,
                          .token = window->token, .target = window->target};
    if (window->feed)
        return BPTT_OK;
    int status = window->token ? check_rows(&all, FEED_INPUT, error) : BPTT_OK;
    return status || !window->target ? status : check_rows(&all, FEED_TARGET, error);
}

static void point_input_gradient(struct stretch *s)
{
    const struct window *w = s->window;
    long bytes = part_bytes(s->net, FEED_INPUT, w->element_size);
    if (w->feed)
        s->input_gradient = w->feed->write ? region(s->net, s->net->memory->fed_gradient) : NULL;
    else
        s->input_gradient = w->input_gradient ? (char *)w->input_gradient + s->start * bytes : NULL;
}

/* ---- input ---- */

static void input_rows(struct stretch *s, long from, long to)
{
    struct network *net = s->net;
    const bptt_model *model = net->model;
    long width = net->layer[0].input_width;
    void *x = shift(net, region(net, net->memory->input), (s->first * net->config.batch + from) * width);
    if (s->token) {
        net->kernels->gather(to - from, model->inputs, s->token + from, shift(net, net->parameters, model->embed_offset),
                             model->inputs, x, width);
    } else {
        const char *given = (const char *)s->x + from * model->inputs * s->window->element_size;
        net->kernels->load_rows(to - from, model->inputs, given, s->window->element_size, model->inputs, x, width);
    }
}

/* Whether the caller's own input rows, or those of dL/dx, serve as they are: of the kernels' type, no padding, and there as long
 * as the window runs. */
static int in_place(const struct stretch *s)
{
    const struct window *w = s->window;
    return w->x && !w->feed && w->element_size == (int)s->net->kernels->element_size && s->net->model->inputs % STAGE_PAD == 0;
}

static int gradient_in_place(const struct stretch *s) { return in_place(s) && s->input_gradient && !s->add; }

static struct block_io layer_io(const struct stretch *s, int l)
{
    const struct network *net = s->net;
    struct block_io io = {.first = s->first, .steps = s->steps, .link = s->link};
    if (l > 0) {
        io.x = seen_output(s, l - 1, &io.x_stride);
    } else if (net->table) {
        io.token = s->token;
        io.table = region(net, net->memory->table);
        io.table_stride = layer_table_width(&net->layer[0]);
    } else if (in_place(s)) {
        io.x_stride = net->model->inputs;
        io.x = (char *)(uintptr_t)s->window->x + s->start * part_bytes(net, FEED_INPUT, s->window->element_size);
    } else {
        io.x_stride = net->layer[0].input_width;
        io.x = shift(net, region(net, net->memory->input), s->first * net->config.batch * io.x_stride);
    }
    return io;
}

int stretch_forward(struct stretch *s, bptt_error *error)
{
    struct network *net = s->net;
    int status = fetch(s, FEED_INPUT, error);
    if (status)
        return status;
    if (!net->table && !in_place(s))
        for_rows(s, input_rows);
    for (int l = 0; l < net->model->layers; l++) {
        struct block_io io = layer_io(s, l);
        layer_forward(&net->layer[l], &io, net->pool);
        struct stretch own = stretch_of_layer(s, l);
        if (net->has_dropout)
            for_rows(&own, drop_rows);
    }
    return BPTT_OK;
}

/* ---- head and loss ---- */

static void *logit_rows(const struct stretch *s, long from)
{
    return shift_wide(s->net, region(s->net, s->net->memory->logits), from * padded(s->net->model->outputs));
}

/* dL/dlogits as products take them. */
static void *logit_gradient_rows(const struct stretch *s, long from)
{
    return shift(s->net, region(s->net, s->net->memory->dlogits), from * padded(s->net->model->outputs));
}

static const void *head_bias(const struct network *net)
{
    const bptt_model *model = net->model;
    return is_narrow(net) ? (const void *)(model->data + model->bias_offset) : shift_const(net, net->parameters, model->bias_offset);
}

static void apply_head(struct stretch *s, long from, long to)
{
    struct network *net = s->net;
    const bptt_model *model = net->model;
    const struct kernels *k = net->kernels;
    long stride, o = padded(model->outputs);
    const void *seen = seen_output(s, (int)model->layers - 1, &stride), *y = shift_const(net, seen, from * stride);
    void *out = logit_rows(s, from);
    if (!model->head) {
        k->store_rows(to - from, model->outputs, y, stride, out, (int)k->wide->element_size, o);
        return;
    }
    k->gemm_wide(to - from, model->outputs, model->top, y, stride, region(net, net->memory->head), out, o, 0);
    k->wide->add_row(to - from, model->outputs, head_bias(net), out, o);
}

/* 1 over the number of terms in a mean over so many steps. */
static double mean_scale(const struct stretch *s, long steps)
{
    const bptt_model *model = s->net->model;
    double count = (double)steps * (double)s->net->config.batch;
    return 1 / (model->loss == BPTT_MSE ? count * (double)model->outputs : count);
}

static void apply_loss(struct stretch *s, long from, long to)
{
    struct network *net = s->net;
    const bptt_model *model = net->model;
    long o = padded(model->outputs);
    double *loss = (double *)region(net, net->memory->loss_rows) + from;
    if (model->loss == BPTT_CROSS_ENTROPY) {
        net->kernels->wide->softmax_cross_entropy(to - from, model->outputs, logit_rows(s, from), o,
                                            (const int32_t *)s->target + from, mean_scale(s, s->mean_over), loss);
        return;
    }
    void *target = shift_wide(net, region(net, net->memory->target), from * o);
    const char *given = (const char *)s->target + from * model->outputs * s->window->element_size;
    net->kernels->wide->load_rows(to - from, model->outputs, given, s->window->element_size, model->outputs, target, o);
    net->kernels->wide->squared_error(to - from, model->outputs, logit_rows(s, from), o, target, o, mean_scale(s, s->mean_over), loss);
}

/* dL/do of rows that have no target: given, or zero (where there is only a final gradient). */
static void given_gradient(struct stretch *s, long from, long to, void *out, long stride)
{
    struct network *net = s->net;
    long outputs = net->model->outputs;
    int size = s->window->element_size;
    if (s->output_gradient)
        net->kernels->load_rows(to - from, outputs, (const char *)s->output_gradient + from * outputs * size, size, outputs, out, stride);
    else
        memset(out, 0, (size_t)((to - from) * stride * net->kernels->element_size));
}

/* Without a head the top layer's output is the model's. */
static void give_outputs(const struct stretch *s, long from, long to, void *output)
{
    const struct network *net = s->net;
    const bptt_model *model = net->model;
    long stride = padded(model->outputs);
    const struct kernels *kernels = model->head ? net->kernels->wide : net->kernels;
    const void *rows = model->head ? logit_rows(s, from) : seen_output(s, (int)model->layers - 1, &stride);
    if (!model->head)
        rows = shift_const(net, rows, from * stride);
    kernels->store_rows(to - from, model->outputs, rows, stride, output, s->window->element_size, model->outputs);
}

static void head_rows(struct stretch *s, long from, long to)
{
    struct network *net = s->net;
    const bptt_model *model = net->model;
    const struct kernels *k = net->kernels;
    struct window *window = s->window;
    long o = padded(model->outputs), at = s->start * net->config.batch + from;
    long width = net->layer[model->layers - 1].output_width;
    void *dy = s->backward ? shift(net, region(net, net->memory->layer[model->layers - 1].dy), from * width) : NULL;
    if (s->target || (window->output && model->head))
        apply_head(s, from, to);
    if (window->output)
        give_outputs(s, from, to, (char *)window->output + at * model->outputs * window->element_size);
    if (s->target)
        apply_loss(s, from, to);
    if (!s->backward)
        return;
    void *d = model->head ? logit_gradient_rows(s, from) : dy;
    if (!s->target)
        given_gradient(s, from, to, d, o);
    else if (d != logit_rows(s, from))
        k->load_rows(to - from, model->outputs, logit_rows(s, from), (int)k->wide->element_size, o, d, o);
    if (model->head)
        k->gemm(to - from, model->top, model->outputs, d, o, region(net, net->memory->head_back), dy, width, 0);
}

static void head_gradient_task(void *context, long task, int worker)
{
    struct stretch *s = context;
    struct network *net = s->net;
    const bptt_model *model = net->model;
    long o = padded(model->outputs), stride, from = task * 48, to = from + 48 < model->outputs ? from + 48 : model->outputs;
    const void *y = seen_output(s, (int)model->layers - 1, &stride);
    const void *d = shift(net, logit_gradient_rows(s, 0), from);
    net->kernels->gemm_tn(to - from, model->top, s->rows, d, o, y, stride,
                          shift_wide(net, net->gradients, model->head_offset + from * model->top), model->top,
                          net->layer[0].scratch + (size_t)worker * net->memory->scratch_bytes);
    net->kernels->column_sum(s->rows, to - from, d, o, shift_wide(net, net->gradients, model->bias_offset + from));
}

static void sum_losses(struct stretch *s)
{
    const double *loss = region(s->net, s->net->memory->loss_rows);
    double sum = 0;
    for (long r = 0; r < s->rows; r++)
        sum += loss[r];
    s->window->loss += sum * mean_scale(s, s->window->mean_over ? s->window->mean_over : s->window->steps);
}

static int run_head(struct stretch *s, bptt_error *error)
{
    struct network *net = s->net;
    int status = s->losses ? fetch(s, FEED_TARGET, error) : BPTT_OK;
    if (!status)
        status = fetch(s, FEED_OUTPUT_GRADIENT, error);
    if (status)
        return status;
    for_rows(s, head_rows);
    if (s->target)
        sum_losses(s);
    if (s->backward && net->model->head)
        pool_tasks(net->pool, (net->model->outputs + 47) / 48, head_gradient_task, s);
    return BPTT_OK;
}

int stretch_outputs(struct stretch *s, bptt_error *error)
{
    return run_head(s, error);
}

/* ---- streaming ---- */

void stretch_prepare_step(const struct stretch *s)
{
    for (int l = 0; l < s->net->model->layers; l++) {
        struct block_io io = layer_io(s, l);
        layer_prepare_step(&s->net->layer[l], &io);
    }
}

int stretch_step(struct stretch *s, bptt_error *error)
{
    int status = fetch(s, FEED_INPUT, error);
    if (status)
        return status;
    if (!s->net->table)
        input_rows(s, 0, s->rows);
    for (int l = 0; l < s->net->model->layers; l++) {
        struct block_io io = {.steps = 1, .token = s->token};
        if (l == 0 && s->net->table)
            io = layer_io(s, l);
        layer_step(&s->net->layer[l], &io);
    }
    head_rows(s, 0, s->rows);
    return BPTT_OK;
}

/* ---- backward ---- */

static void embed_gradient_task(void *context, long task, int worker)
{
    (void)worker;
    struct stretch *s = context;
    struct network *net = s->net;
    long inputs = net->model->inputs, from = task * 64, to = from + 64 < inputs ? from + 64 : inputs;
    net->kernels->scatter_add(s->rows, from, to, s->token, region(net, net->memory->dinput), net->layer[0].input_width,
                              shift_wide(net, net->gradients, net->model->embed_offset), inputs);
}

static void input_gradient_rows(struct stretch *s, long from, long to)
{
    struct network *net = s->net;
    long inputs = net->model->inputs, width = net->layer[0].input_width;
    int size = s->window->element_size;
    char *out = (char *)s->input_gradient + from * inputs * size;
    void *dx = shift(net, region(net, net->memory->dinput), from * width);
    if (s->add) {
        void *sum = shift(net, region(net, net->memory->dsum), from * width);
        net->kernels->load_rows(to - from, inputs, out, size, inputs, sum, width);
        net->kernels->add(to - from, inputs, sum, width, dx, width);
    }
    net->kernels->store_rows(to - from, inputs, dx, width, out, size, inputs);
}

static int give_input_gradient(struct stretch *s, bptt_error *error)
{
    struct network *net = s->net;
    const struct feed *feed = s->window->feed;
    if (s->token && !net->table)
        pool_tasks(net->pool, (net->model->inputs + 63) / 64, embed_gradient_task, s);
    if (s->input_gradient && !gradient_in_place(s))
        for_rows(s, input_gradient_rows);
    return s->input_gradient && feed ? feed->write(feed->user, s->start, s->steps, s->input_gradient, error) : BPTT_OK;
}

/* dL/do is 0: so is dL/dy of the top layer. */
static void clear_top(struct stretch *s)
{
    struct network *net = s->net;
    const struct layer *top = &net->layer[net->model->layers - 1];
    memset(region(net, net->memory->layer[net->model->layers - 1].dy), 0,
           (size_t)(s->rows * top->output_width * net->kernels->element_size));
}

static void layers_backward(struct stretch *s)
{
    struct network *net = s->net;
    for (int l = (int)net->model->layers - 1; l >= 0; l--) {
        struct stretch own = stretch_of_layer(s, l);
        if (net->has_dropout && s->window->training)
            for_rows(&own, drop_gradient_rows);
        struct block_io io = layer_io(s, l);
        io.dy = region(net, net->memory->layer[l].dy);
        io.dy_stride = net->layer[l].output_width;
        io.dx = l > 0 ? region(net, net->memory->layer[l - 1].dy) : gradient_in_place(s) ? s->input_gradient :
                region(net, net->memory->dinput);
        io.dx_stride = net->layer[l].input_width;
        io.wants_dx = l > 0 || s->input_gradient || (s->token && !net->table);
        layer_backward(&net->layer[l], &io, net->gradients, net->pool);
        if (l == 0 && net->table)
            layer_table_scatter(&net->layer[0], &io, region(net, net->memory->dtable), net->pool);
    }
}

int stretch_backward(struct stretch *s, bptt_error *error)
{
    int status = s->losses ? run_head(s, error) : (clear_top(s), BPTT_OK);
    if (!status && s->net->model->vocabulary)
        status = fetch(s, FEED_INPUT, error);
    if (status)
        return status;
    point_input_gradient(s);
    layers_backward(s);
    return give_input_gradient(s, error);
}

void stretch_clear_table_gradient(struct network *net)
{
    if (net->table)
        memset(region(net, net->memory->dtable), 0,
               (size_t)(net->model->vocabulary * layer_table_width(&net->layer[0]) * net->kernels->wide->element_size));
}

void stretch_finish_table_gradient(struct network *net)
{
    const bptt_model *model = net->model;
    if (!net->table)
        return;
    long width = layer_table_width(&net->layer[0]);
    void *given = region(net, net->memory->table_given);
    if (is_narrow(net))
        net->kernels->load_rows(model->vocabulary, width, region(net, net->memory->dtable), (int)net->kernels->wide->element_size, width,
                                given, width);
    layer_table_backward(&net->layer[0], shift(net, net->parameters, model->embed_offset), model->vocabulary, model->inputs,
                         net->parameters, given, net->gradients,
                         shift_wide(net, net->gradients, model->embed_offset), region(net, net->memory->table_work),
                         region(net, net->memory->table_packed));
}
