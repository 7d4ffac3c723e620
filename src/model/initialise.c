/* initialise.c - how parameters start. Each tensor draws from a stream of its own name, so adding a parameter to a cell does
 * not move the start of the others. Defaults are PyTorch's: cells and head uniform in +-1/sqrt(width), embeddings normal. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

static struct random_stream stream_of(const bptt_model *model, const struct tensor *tensor)
{
    unsigned long long hash = text_hash(TEXT_HASH, tensor->name, strlen(tensor->name));
    return random_open(model->seed, RANDOM_INIT, (uint32_t)(hash ^ hash >> 32));
}

static void fill_uniform(float *w, long n, const struct random_stream *stream, double low, double high)
{
    for (long i = 0; i < n; i++)
        w[i] = (float)(low + (high - low) * random_uniform(stream, (uint64_t)i));
}

static void fill_normal(float *w, long n, const struct random_stream *stream, double deviation)
{
    for (long i = 0; i < n; i++)
        w[i] = (float)(deviation * random_normal(stream, (uint64_t)i));
}

static double dot(const double *a, const double *b, long n)
{
    double sum = 0;
    for (long i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* Rows (or columns, if there are more rows) of a random normal matrix made orthonormal by modified Gram-Schmidt, which is
 * uniform over such matrices (Saxe et al. 2014, arXiv 1312.6120). */
static int fill_orthogonal(float *w, long rows, long columns, const struct random_stream *stream, bptt_error *error)
{
    long count = rows < columns ? rows : columns, length = rows < columns ? columns : rows;
    double *v = malloc((size_t)(count * length) * sizeof *v);
    if (!v)
        return fail_memory(error, (size_t)(count * length) * sizeof *v);
    for (long i = 0; i < count * length; i++)
        v[i] = random_normal(stream, (uint64_t)i);
    for (long i = 0; i < count; i++) {
        double *a = v + i * length, norm = sqrt(dot(a, a, length));
        for (long k = 0; k < length; k++)
            a[k] /= norm;
        for (long j = i + 1; j < count; j++) {
            double *b = v + j * length, along = dot(a, b, length);
            for (long k = 0; k < length; k++)
                b[k] -= along * a[k];
        }
    }
    for (long r = 0; r < rows; r++)
        for (long c = 0; c < columns; c++)
            w[r * columns + c] = (float)(rows < columns ? v[r * length + c] : v[c * length + r]);
    free(v);
    return BPTT_OK;
}

static void fill_identity(float *w, long rows, long columns, long blocks)
{
    long block = rows / blocks;
    for (long r = 0; r < rows; r++)
        for (long c = 0; c < columns; c++)
            w[r * columns + c] = r % block == c;
}

static int start_cell(const bptt_model *model, const struct tensor *tensor, const struct random_stream *stream, bptt_error *error)
{
    const struct parameter *param = &model->cell->param[tensor->param];
    float *w = model->data + tensor->offset;
    long rows = tensor->shape[0], columns = tensor->shape[1], block = rows / param->blocks;
    double reach = 1 / sqrt((double)model->hidden);
    enum start_kind start = param->start;
    if (model->orthogonal && start == START_DEFAULT && param->on_state && block == columns && tensor->rank == 2)
        start = START_ORTHOGONAL;
    switch (start) {
    case START_DEFAULT: fill_uniform(w, tensor->count, stream, -reach, reach); break;
    case START_UNIFORM: fill_uniform(w, tensor->count, stream, param->low, param->high); break;
    case START_NORMAL: fill_normal(w, tensor->count, stream, param->high); break;
    case START_IDENTITY: fill_identity(w, rows, columns, param->blocks); break;
    case START_NUMBER: fill_uniform(w, tensor->count, stream, param->low, param->low); break;
    case START_ORTHOGONAL:
        for (long b = 0; b < param->blocks; b++) {
            struct random_stream own = *stream;
            own.layer += (uint32_t)b;
            int status = fill_orthogonal(w + b * block * columns, block, columns, &own, error);
            if (status)
                return status;
        }
        break;
    }
    if (!strcmp(param->name, "b_f"))
        for (long i = 0; i < tensor->count; i++)
            w[i] += (float)model->forget_bias;
    return BPTT_OK;
}

int model_initialise(bptt_model *model, bptt_error *error)
{
    double reach = 1 / sqrt((double)model->top);
    for (int i = 0; i < model->tensors; i++) {
        const struct tensor *tensor = &model->tensor[i];
        struct random_stream stream = stream_of(model, tensor);
        int status = BPTT_OK;
        if (tensor->layer >= 0)
            status = start_cell(model, tensor, &stream, error);
        else if (tensor->offset == model->embed_offset && !model->tied)
            fill_normal(model->data + tensor->offset, tensor->count, &stream, 1);
        else                               /* the head; a tied embedding too: logits of normal weights would be far too large */
            fill_uniform(model->data + tensor->offset, tensor->count, &stream, -reach, reach);
        if (status)
            return status;
    }
    return BPTT_OK;
}
