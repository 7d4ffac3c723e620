/* stream.c - a model step by step: a network whose windows are one step long. Nothing is allocated after bptt_stream_new. */
#include <stdlib.h>

#include "network.h"

struct bptt_stream { struct network net; };

int bptt_stream_new(const bptt_model *model, int64_t batch, bptt_stream **out, bptt_error *error)
{
    return bptt_stream_new_in(model, batch, BPTT_F32, out, error);
}

int bptt_stream_new_in(const bptt_model *model, int64_t batch, int precision, bptt_stream **out, bptt_error *error)
{
    *out = NULL;
    if (precision != BPTT_F32 && precision != BPTT_F64 && precision != BPTT_BF16)
        return fail(error, BPTT_ERROR_ARGUMENT, "unknown precision: BPTT_F32, BPTT_F64 or BPTT_BF16");
    if (batch < 1 || batch > 1 << 24)
        return fail(error, BPTT_ERROR_ARGUMENT, "batch is %lld; it must be between 1 and %d", (long long)batch, 1 << 24);
    bptt_stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        return fail_memory(error, sizeof *stream);
    struct network_config config = {.steps = 1, .batch = (long)batch, .threads = 1, .precision = precision_of(precision)};
    int status = network_new(&stream->net, model, &config, error);
    if (!status)
        status = network_allocate(&stream->net, error);
    if (status) {
        bptt_stream_free(stream);
        return status;
    }
    network_load(&stream->net);
    network_prepare_steps(&stream->net);
    *out = stream;
    return BPTT_OK;
}

void bptt_stream_free(bptt_stream *stream)
{
    if (stream)
        network_free(&stream->net);
    free(stream);
}

int bptt_stream_reset(bptt_stream *stream)
{
    network_reset(&stream->net);
    network_prepare_steps(&stream->net);
    return BPTT_OK;
}

int bptt_stream_step(bptt_stream *stream, const void *x, float *y, bptt_error *error)
{
    struct window window = {.steps = 1, .output = y, .element_size = 4};
    if (stream->net.model->vocabulary)
        window.token = x;
    else
        window.x = x;
    return network_step(&stream->net, &window, error);
}
