/* onednn.c - oneDNN 2.x as a contender: its RNN primitives, training forward and backward, weights reordered beforehand to the
 * layouts that it asks for. Built with -DHAVE_ONEDNN where its headers and library are; else nothing is here to run. */
#include "contest.h"

#ifndef HAVE_ONEDNN

const char *onednn_version(void)
{
    return "";
}

int onednn_open(struct contender *contender, const struct problem *problem)
{
    (void)contender;
    (void)problem;
    return 0;
}

int onednn_open_forward(struct contender *contender, const struct problem *problem)
{
    return onednn_open(contender, problem);
}

#else

#include <dlfcn.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Everything that a primitive reads or writes, in the order of the descriptors' arguments. */
enum part { SRC, SRC_ITER, SRC_ITER_C, W_LAYER, W_ITER, BIAS, DST, DST_ITER, DST_ITER_C, PARTS };

static const int forward_name[PARTS] = {
    DNNL_ARG_SRC_LAYER,     DNNL_ARG_SRC_ITER,     DNNL_ARG_SRC_ITER_C,
    DNNL_ARG_WEIGHTS_LAYER, DNNL_ARG_WEIGHTS_ITER, DNNL_ARG_BIAS,
    DNNL_ARG_DST_LAYER,     DNNL_ARG_DST_ITER,     DNNL_ARG_DST_ITER_C,
};
static const int backward_name[PARTS] = {
    DNNL_ARG_DIFF_SRC_LAYER,     DNNL_ARG_DIFF_SRC_ITER,     DNNL_ARG_DIFF_SRC_ITER_C,
    DNNL_ARG_DIFF_WEIGHTS_LAYER, DNNL_ARG_DIFF_WEIGHTS_ITER, DNNL_ARG_DIFF_BIAS,
    DNNL_ARG_DIFF_DST_LAYER,     DNNL_ARG_DIFF_DST_ITER,     DNNL_ARG_DIFF_DST_ITER_C,
};

struct onednn {
    const struct problem *problem;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_desc_t forward_desc, backward_desc;
    dnnl_primitive_t forward, backward;
    dnnl_memory_desc_t plain[PARTS], any[PARTS];
    dnnl_memory_t value[PARTS], gradient[PARTS];    /* forward's; backward's gradients */
    dnnl_memory_t backward_weight[2];               /* backward may ask for other layouts */
    dnnl_memory_t workspace;
    dnnl_exec_arg_t forward_argument[PARTS + 1], backward_argument[2 * PARTS + 1];
    int forward_arguments, backward_arguments;
};

static void must(dnnl_status_t status, const char *what)
{
    if (status == dnnl_success)
        return;
    fprintf(stderr, "bench: oneDNN: %s failed with status %d\n", what, (int)status);
    exit(1);
}

const char *onednn_version(void)
{
    static char text[40];
    const dnnl_version_t *version = dnnl_version();
    snprintf(text, sizeof text, "%d.%d.%d", version->major, version->minor, version->patch);
    return text;
}

/* oneDNN has its OpenMP library in the process already. */
static void set_threads(int threads)
{
    void (*set)(int);
    *(void **)&set = dlsym(RTLD_DEFAULT, "omp_set_num_threads");
    if (!set) {
        fputs("bench: this oneDNN is not built with OpenMP, its threads cannot be set\n", stderr);
        exit(1);
    }
    set(threads);
}

static int is(const struct onednn *d, const char *cell)
{
    return !strcmp(d->problem->cell, cell);
}

/* ---- what the primitives are ---- */

static dnnl_memory_desc_t describe(int rank, const long *dims, dnnl_format_tag_t tag)
{
    dnnl_memory_desc_t desc;
    dnnl_dims_t wide;
    for (int i = 0; i < rank; i++)
        wide[i] = dims[i];
    must(dnnl_memory_desc_init_by_tag(&desc, rank, wide, dnnl_f32, tag), "a memory descriptor");
    return desc;
}

static void describe_parts(struct onednn *d)
{
    const struct problem *p = d->problem;
    long gates = gate_count(p), n = p->hidden;
    const long rows[] = {p->steps, p->batch, n}, state[] = {1, 1, p->batch, n}, matrix[] = {1, 1, n, gates, n};
    const long bias[] = {1, 1, bias_count(p), n};
    memset(d->plain, 0, sizeof d->plain);           /* a part that is not there is all zero */
    d->plain[SRC] = d->plain[DST] = describe(3, rows, dnnl_tnc);
    d->plain[SRC_ITER] = d->plain[DST_ITER] = describe(4, state, dnnl_ldnc);
    if (p->c)
        d->plain[SRC_ITER_C] = d->plain[DST_ITER_C] = describe(4, state, dnnl_ldnc);
    d->plain[W_LAYER] = d->plain[W_ITER] = describe(5, matrix, dnnl_ldgoi);
    d->plain[BIAS] = describe(4, bias, dnnl_ldgo);
    memcpy(d->any, d->plain, sizeof d->any);
    d->any[W_LAYER] = d->any[W_ITER] = describe(5, matrix, dnnl_format_tag_any);
}

static void describe_forward(struct onednn *d, dnnl_prop_kind_t kind, dnnl_rnn_desc_t *desc)
{
    const dnnl_memory_desc_t *m = d->any;
    if (is(d, "lstm"))
        must(dnnl_lstm_forward_desc_init(desc, kind, dnnl_unidirectional_left2right, &m[SRC], &m[SRC_ITER],
                                         &m[SRC_ITER_C], &m[W_LAYER], &m[W_ITER], &m[BIAS], &m[DST], &m[DST_ITER],
                                         &m[DST_ITER_C], 0), "lstm forward");
    else if (is(d, "gru"))
        must(dnnl_lbr_gru_forward_desc_init(desc, kind, dnnl_unidirectional_left2right, &m[SRC],
                                            &m[SRC_ITER], &m[W_LAYER], &m[W_ITER], &m[BIAS], &m[DST], &m[DST_ITER], 0),
             "gru forward");
    else
        must(dnnl_vanilla_rnn_forward_desc_init(desc, kind, dnnl_eltwise_tanh, dnnl_unidirectional_left2right,
                                                &m[SRC], &m[SRC_ITER], &m[W_LAYER], &m[W_ITER], &m[BIAS], &m[DST],
                                                &m[DST_ITER], 0, 0, 0), "rnn forward");
}

static void describe_backward(struct onednn *d, dnnl_rnn_desc_t *desc)
{
    const dnnl_memory_desc_t *m = d->any;
    if (is(d, "lstm"))
        must(dnnl_lstm_backward_desc_init(desc, dnnl_backward, dnnl_unidirectional_left2right, &m[SRC], &m[SRC_ITER],
                                          &m[SRC_ITER_C], &m[W_LAYER], &m[W_ITER], &m[BIAS], &m[DST], &m[DST_ITER],
                                          &m[DST_ITER_C], &m[SRC], &m[SRC_ITER], &m[SRC_ITER_C], &m[W_LAYER], &m[W_ITER],
                                          &m[BIAS], &m[DST], &m[DST_ITER], &m[DST_ITER_C], 0), "lstm backward");
    else if (is(d, "gru"))
        must(dnnl_lbr_gru_backward_desc_init(desc, dnnl_backward, dnnl_unidirectional_left2right, &m[SRC], &m[SRC_ITER],
                                             &m[W_LAYER], &m[W_ITER], &m[BIAS], &m[DST], &m[DST_ITER], &m[SRC], &m[SRC_ITER],
                                             &m[W_LAYER], &m[W_ITER], &m[BIAS], &m[DST], &m[DST_ITER], 0), "gru backward");
    else
        must(dnnl_vanilla_rnn_backward_desc_init(desc, dnnl_backward, dnnl_eltwise_tanh, dnnl_unidirectional_left2right,
                                                 &m[SRC], &m[SRC_ITER], &m[W_LAYER], &m[W_ITER], &m[BIAS], &m[DST],
                                                 &m[DST_ITER], &m[SRC], &m[SRC_ITER], &m[W_LAYER], &m[W_ITER], &m[BIAS],
                                                 &m[DST], &m[DST_ITER], 0, 0, 0), "rnn backward");
}

static void make_forward(struct onednn *d, dnnl_prop_kind_t kind)
{
    dnnl_rnn_desc_t desc;
    describe_forward(d, kind, &desc);
    must(dnnl_primitive_desc_create(&d->forward_desc, &desc, NULL, d->engine, NULL), "forward primitive");
    must(dnnl_primitive_create(&d->forward, d->forward_desc), "forward");
}

static void make_backward(struct onednn *d)
{
    dnnl_rnn_desc_t desc;
    describe_backward(d, &desc);
    must(dnnl_primitive_desc_create(&d->backward_desc, &desc, NULL, d->engine, d->forward_desc), "backward primitive");
    must(dnnl_primitive_create(&d->backward, d->backward_desc), "backward");
}

/* ---- memory ---- */

static dnnl_memory_t memory(struct onednn *d, const dnnl_memory_desc_t *desc, void *data)
{
    dnnl_memory_t result;
    must(dnnl_memory_create(&result, desc, d->engine, data), "memory");
    return result;
}

static void *data_of(dnnl_memory_t from)
{
    void *data;
    must(dnnl_memory_get_data_handle(from, &data), "memory");
    return data;
}

static void clear(dnnl_memory_t what)
{
    const dnnl_memory_desc_t *desc;
    must(dnnl_memory_get_memory_desc(what, &desc), "memory");
    memset(data_of(what), 0, dnnl_memory_desc_get_size(desc));
}

static dnnl_memory_t fresh(struct onednn *d, const dnnl_memory_desc_t *desc)
{
    dnnl_memory_t result = memory(d, desc, DNNL_MEMORY_ALLOCATE);
    clear(result);
    return result;
}

static void reorder(struct onednn *d, dnnl_memory_t from, dnnl_memory_t to)
{
    const dnnl_memory_desc_t *a, *b;
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t move;
    must(dnnl_memory_get_memory_desc(from, &a), "reorder");
    must(dnnl_memory_get_memory_desc(to, &b), "reorder");
    must(dnnl_reorder_primitive_desc_create(&desc, a, d->engine, b, d->engine, NULL), "reorder");
    must(dnnl_primitive_create(&move, desc), "reorder");
    dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    must(dnnl_primitive_execute(move, d->stream, 2, arguments), "reorder");
    must(dnnl_stream_wait(d->stream), "reorder");
    dnnl_primitive_destroy(move);
    dnnl_primitive_desc_destroy(desc);
}

static dnnl_memory_t asked_for(struct onednn *d, dnnl_primitive_desc_t who, int name)
{
    return fresh(d, dnnl_primitive_desc_query_md(who, dnnl_query_exec_arg_md, name));
}

/* The plain matrices in the layout that a primitive asks for. */
static dnnl_memory_t packed(struct onednn *d, dnnl_primitive_desc_t who, enum part part, float *plain)
{
    dnnl_memory_t from = memory(d, &d->plain[part], plain);
    dnnl_memory_t to = asked_for(d, who, forward_name[part]);
    reorder(d, from, to);
    dnnl_memory_destroy(from);
    return to;
}

static int is_matrix(int part)
{
    return part == W_LAYER || part == W_ITER;
}

static void make_values(struct onednn *d)
{
    const struct problem *p = d->problem;
    float *given[PARTS] = {p->x, p->h, p->c, p->W, p->U, p->b, NULL, NULL, NULL};
    for (int i = 0; i < PARTS; i++)
        if (d->plain[i].ndims)
            d->value[i] = is_matrix(i) ? packed(d, d->forward_desc, (enum part)i, given[i])
                          : given[i]   ? memory(d, &d->plain[i], given[i])
                                       : fresh(d, &d->plain[i]);
}

static void make_gradients(struct onednn *d)
{
    const struct problem *p = d->problem;
    for (int i = 0; i < PARTS; i++)
        if (d->plain[i].ndims)
            d->gradient[i] = i == DST       ? memory(d, &d->plain[i], p->dy)
                             : is_matrix(i) ? asked_for(d, d->backward_desc, backward_name[i])
                                            : fresh(d, &d->plain[i]);
    d->backward_weight[0] = packed(d, d->backward_desc, W_LAYER, p->W);
    d->backward_weight[1] = packed(d, d->backward_desc, W_ITER, p->U);
    d->workspace = fresh(d, dnnl_primitive_desc_query_md(d->forward_desc, dnnl_query_workspace_md, 0));
}

static void name_arguments(struct onednn *d)
{
    int n = 0, m = 0;
    for (int i = 0; i < PARTS; i++) {
        if (!d->plain[i].ndims)
            continue;
        dnnl_memory_t weight = is_matrix(i) ? d->backward_weight[i == W_ITER] : d->value[i];
        d->forward_argument[n++] = (dnnl_exec_arg_t){forward_name[i], d->value[i]};
        if (!d->backward)
            continue;
        d->backward_argument[m++] = (dnnl_exec_arg_t){forward_name[i], weight};
        d->backward_argument[m++] = (dnnl_exec_arg_t){backward_name[i], d->gradient[i]};
    }
    if (d->backward)
        d->forward_argument[n++] = d->backward_argument[m++] = (dnnl_exec_arg_t){DNNL_ARG_WORKSPACE, d->workspace};
    d->forward_arguments = n;
    d->backward_arguments = m;
}

/* ---- the contender ---- */

/* oneDNN adds to the gradients of weights and biases, so they are cleared, as ours are. */
static void run(void *state)
{
    struct onednn *d = state;
    clear(d->gradient[W_LAYER]);
    clear(d->gradient[W_ITER]);
    clear(d->gradient[BIAS]);
    must(dnnl_primitive_execute(d->forward, d->stream, d->forward_arguments, d->forward_argument), "forward");
    must(dnnl_primitive_execute(d->backward, d->stream, d->backward_arguments, d->backward_argument), "backward");
    must(dnnl_stream_wait(d->stream), "waiting");
}

static void run_forward(void *state)
{
    struct onednn *d = state;
    must(dnnl_primitive_execute(d->forward, d->stream, d->forward_arguments, d->forward_argument), "forward");
    must(dnnl_stream_wait(d->stream), "waiting");
}

static void fetch(struct onednn *d, enum part part, dnnl_memory_t from, float *to)
{
    dnnl_memory_t plain = memory(d, &d->plain[part], to);
    reorder(d, from, plain);
    dnnl_memory_destroy(plain);
}

static void collect(void *state, struct gradient *to)
{
    struct onednn *d = state;
    fetch(d, DST, d->value[DST], to->y);
    fetch(d, SRC, d->gradient[SRC], to->dx);
    fetch(d, SRC_ITER, d->gradient[SRC_ITER], to->dh);
    if (d->problem->c)
        fetch(d, SRC_ITER_C, d->gradient[SRC_ITER_C], to->dc);
    fetch(d, W_LAYER, d->gradient[W_LAYER], to->dW);
    fetch(d, W_ITER, d->gradient[W_ITER], to->dU);
    fetch(d, BIAS, d->gradient[BIAS], to->db);
}

static void collect_forward(void *state, struct gradient *to)
{
    struct onednn *d = state;
    fetch(d, DST, d->value[DST], to->y);
}

static void leave(void *state)
{
    struct onednn *d = state;
    for (int i = 0; i < PARTS; i++) {
        dnnl_memory_destroy(d->value[i]);
        dnnl_memory_destroy(d->gradient[i]);
    }
    dnnl_memory_destroy(d->backward_weight[0]);
    dnnl_memory_destroy(d->backward_weight[1]);
    dnnl_memory_destroy(d->workspace);
    dnnl_primitive_destroy(d->forward);
    dnnl_primitive_destroy(d->backward);
    dnnl_primitive_desc_destroy(d->forward_desc);
    dnnl_primitive_desc_destroy(d->backward_desc);
    dnnl_stream_destroy(d->stream);
    dnnl_engine_destroy(d->engine);
    free(d);
}

static struct onednn *begin(const struct problem *problem, dnnl_prop_kind_t kind)
{
    struct onednn *d = take(sizeof *d);
    d->problem = problem;
    set_threads(problem->threads);
    must(dnnl_engine_create(&d->engine, dnnl_cpu, 0), "the engine");
    must(dnnl_stream_create(&d->stream, d->engine, dnnl_stream_default_flags), "the stream");
    describe_parts(d);
    make_forward(d, kind);
    make_values(d);
    return d;
}

int onednn_open_forward(struct contender *contender, const struct problem *problem)
{
    struct onednn *d = begin(problem, dnnl_forward_inference);
    name_arguments(d);
    *contender = (struct contender){.name = "oneDNN", .share = 1, .state = d, .run = run_forward, .collect = collect_forward,
                                    .close = leave};
    return 1;
}

int onednn_open(struct contender *contender, const struct problem *problem)
{
    struct onednn *d = begin(problem, dnnl_forward_training);
    make_backward(d);
    make_gradients(d);
    name_arguments(d);
    *contender = (struct contender){.name = "oneDNN", .share = 1, .state = d, .run = run, .collect = collect,
                                    .close = leave};
    return 1;
}

#endif
