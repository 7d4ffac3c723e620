/* sample.c - drawing text from a model, symbol by symbol. A draw is a function of the seed and the symbol's number. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../base/random.h"
#include "symbols.h"

bptt_sample_options bptt_sample_defaults(void)
{
    return (bptt_sample_options){
        .size = sizeof(bptt_sample_options), .length = 500, .temperature = 0.8, .top_p = 1, .seed = 1};
}

struct candidate { float logit; int32_t token; double p; };

struct sampler {
    const bptt_model *model;
    const bptt_sample_options *options;
    struct vocabulary vocabulary;
    bptt_stream *stream;
    float *logits;
    struct candidate *candidate;
    struct random_stream random;
};

/* Larger logits first; of equal ones the smaller token, so that the order is one. */
static int compare(const void *x, const void *y)
{
    const struct candidate *a = x, *b = y;
    if (a->logit != b->logit)
        return a->logit > b->logit ? -1 : 1;
    return a->token < b->token ? -1 : a->token > b->token;
}

/* How many of the sorted candidates stay, by top_k and then top_p; their p are relative to the largest. */
static long kept(const struct sampler *s, long count)
{
    const bptt_sample_options *o = s->options;
    long keep = o->top_k > 0 && o->top_k < count ? (long)o->top_k : count;
    double sum = 0, part = 0;
    for (long i = 0; i < keep; i++)
        sum += s->candidate[i].p = exp(((double)s->candidate[i].logit - s->candidate[0].logit) / o->temperature);
    if (o->top_p >= 1)
        return keep;
    for (long i = 0; i < keep; i++)
        if ((part += s->candidate[i].p) >= o->top_p * sum)
            return i + 1;
    return keep;
}

static int32_t draw(struct sampler *s, int64_t number)
{
    long count = s->model->outputs;
    for (long i = 0; i < count; i++)
        s->candidate[i] = (struct candidate){s->logits[i], (int32_t)i, 0};
    qsort(s->candidate, (size_t)count, sizeof *s->candidate, compare);
    if (s->options->temperature <= 0)
        return s->candidate[0].token;
    long keep = kept(s, count);
    double sum = 0, at = 0;
    for (long i = 0; i < keep; i++)
        sum += s->candidate[i].p;
    double point = random_uniform(&s->random, (uint64_t)number) * sum;
    for (long i = 0; i < keep; i++)
        if ((at += s->candidate[i].p) > point)
            return s->candidate[i].token;
    return s->candidate[keep - 1].token;
}

static int check_options(const bptt_sample_options *o, bptt_error *error)
{
    if (o->size != sizeof *o)
        return fail(error, BPTT_ERROR_ARGUMENT, "the options do not come from bptt_sample_defaults");
    if (o->length < 0 || o->top_k < 0 || !(o->temperature >= 0 && o->temperature <= 1e6) ||
        !(o->top_p > 0 && o->top_p <= 1))
        return fail(error, BPTT_ERROR_ARGUMENT,
                    "length and top-k must not be negative, temperature between 0 and 1e6, top-p in (0, 1]");
    return BPTT_OK;
}

/* Without a prompt the model begins as after a line's end, where it knows one, else after its first symbol. */
static int first_tokens(struct sampler *s, int32_t **token, int64_t *count, bptt_error *error)
{
    const char *prompt = s->options->prompt;
    if (prompt && *prompt)
        return vocabulary_encode(&s->vocabulary, prompt, strlen(prompt), "the prompt", token, count, error);
    bptt_error no_line_end = {0};
    if (!vocabulary_encode(&s->vocabulary, "\n", 1, "", token, count, &no_line_end))
        return BPTT_OK;
    *token = calloc(1, sizeof **token);
    *count = 1;
    return *token ? BPTT_OK : fail_memory(error, sizeof **token);
}

static int feed(struct sampler *s, int32_t token, bptt_error *error)
{
    return bptt_stream_step(s->stream, &token, s->logits, error);
}

static int generate(struct sampler *s, int32_t previous, int (*on_text)(const char *, size_t, void *), void *user,
                    bptt_error *error)
{
    char piece[512];
    for (int64_t i = 0; i < s->options->length; i++) {
        int32_t token = draw(s, i);
        int length = vocabulary_decode_piece(&s->vocabulary, previous, token, piece, sizeof piece);
        if (length > 0 && on_text(piece, (size_t)length, user))
            return BPTT_OK;
        int status = i + 1 < s->options->length ? feed(s, token, error) : BPTT_OK;
        if (status)
            return status;
        previous = token;
    }
    return BPTT_OK;
}

static int begin(struct sampler *s, int32_t *previous, bptt_error *error)
{
    int32_t *token = NULL;
    int64_t count = 0;
    int status = first_tokens(s, &token, &count, error);
    for (int64_t i = 0; i < count && !status; i++) {
        status = feed(s, token[i], error);
        *previous = token[i];
    }
    free(token);
    return status;
}

int bptt_sample(const bptt_model *model, const bptt_sample_options *options,
                int (*on_text)(const char *, size_t, void *), void *user, bptt_error *error)
{
    bptt_sample_options defaults = bptt_sample_defaults();
    struct sampler s = {.model = model, .options = options ? options : &defaults};
    s.random = random_open(s.options->seed, RANDOM_SAMPLE, 0);
    int32_t previous = 0;
    int status = check_options(s.options, error);
    if (!status) status = symbols_open(model, &s.vocabulary, error);
    if (status)
        return status;
    s.logits = calloc((size_t)model->outputs, sizeof *s.logits);
    s.candidate = calloc((size_t)model->outputs, sizeof *s.candidate);
    status = s.logits && s.candidate ? bptt_stream_new(model, 1, &s.stream, error)
                                     : fail_memory(error, (size_t)model->outputs);
    if (!status) status = begin(&s, &previous, error);
    if (!status) status = generate(&s, previous, on_text, user, error);
    bptt_stream_free(s.stream);
    free(s.logits);
    free(s.candidate);
    vocabulary_free(&s.vocabulary);
    return status;
}
