/* eval.c - the loss of a model of text on files: streams side by side, the state carried from the first symbol to the
 * last. */
#include <math.h>
#include <stdlib.h>

#include "../model/network.h"
#include "symbols.h"

enum { LENGTH = 256 };                     /* steps at a time: nothing depends on it */

struct evaluation {
    const bptt_model *model;
    struct network net;
    const int32_t *token;
    int64_t batch, stretch;
    int32_t *x, *y;
    double sum;                            /* nats */
};

static void fill_window(struct evaluation *e, int64_t start, int64_t steps)
{
    for (int64_t t = 0; t < steps; t++) {
        for (int64_t b = 0; b < e->batch; b++) {
            const int32_t *at = e->token + b * e->stretch + start + t;
            e->x[t * e->batch + b] = at[0];
            e->y[t * e->batch + b] = at[1];
        }
    }
}

static int run_windows(struct evaluation *e, bptt_error *error)
{
    network_load(&e->net);
    for (int64_t start = 0; start < e->stretch; start += LENGTH) {
        int64_t steps = e->stretch - start < LENGTH ? e->stretch - start : LENGTH;
        fill_window(e, start, steps);
        struct window window = {.steps = (long)steps, .token = e->x, .target = e->y, .element_size = 4};
        int status = network_forward(&e->net, &window, error);
        if (status)
            return status;
        e->sum += window.loss * (double)(steps * e->batch);
    }
    return BPTT_OK;
}

static int evaluate(struct evaluation *e, int threads, bptt_error *error)
{
    struct network_config config = {.steps = LENGTH, .batch = (long)e->batch, .threads = threads};
    size_t window = size_mul((size_t)e->batch, LENGTH * sizeof *e->x);
    e->x = malloc(window);
    e->y = malloc(window);
    int status = e->x && e->y ? network_new(&e->net, e->model, &config, error) : fail_memory(error, window);
    if (!status) {
        status = network_allocate(&e->net, error);
        if (!status)
            status = run_windows(e, error);
        network_free(&e->net);
    }
    free(e->x);
    free(e->y);
    return status;
}

int bptt_eval(const bptt_model *model, const char *const *files, size_t file_count, int64_t batch, int threads,
              bptt_eval_result *result, bptt_error *error)
{
    int32_t *token;
    int64_t tokens;
    if (file_count == 0 || batch < 1 || batch > 1 << 20)
        return fail(error, BPTT_ERROR_ARGUMENT,
                    file_count ? "batch must be between 1 and 1048576" : "no text to evaluate on: name a file");
    int status = symbols_read(model, files, file_count, &token, &tokens, error);
    if (status)
        return status;
    struct evaluation e = {.model = model, .token = token, .batch = batch, .stretch = (tokens - 1) / batch};
    if (tokens < 2)
        status = fail_file(error, BPTT_ERROR_ARGUMENT, files[0], "one symbol alone: there is nothing to predict");
    else if (e.stretch < 1)
        status = fail_file(error, BPTT_ERROR_ARGUMENT, files[0],
                           "%lld symbols are too few for %lld rows: lower --batch", (long long)tokens, (long long)batch);
    else
        status = evaluate(&e, threads, error);
    free(token);
    if (status)
        return status;
    int64_t predicted = e.stretch * batch;
    double loss = e.sum / (double)predicted;
    *result = (bptt_eval_result){.loss = loss, .bits = loss / log(2), .perplexity = exp(loss), .tokens = predicted};
    return BPTT_OK;
}
