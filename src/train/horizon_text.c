/* horizon_text.c - the horizon of a model of text: how the gradient of a step's loss fades with the lag, from windows spread over
 * the text. Each window begins where a run over as many steps before it has led, so that its states are typical ones. */
#include <math.h>
#include <stdlib.h>

#include "../model/horizon.h"
#include "symbols.h"

enum { LAGS = 256 };                       /* of one's own choice */
enum { LAGS_MOST = 1 << 24, BATCH_MOST = 1 << 16, WINDOWS_MOST = 1 << 20 };
static const double DELTA[3] = {0.5, 0.1, 0.01};

bptt_horizon_options bptt_horizon_defaults(void)
{
    return (bptt_horizon_options){.size = sizeof(bptt_horizon_options), .batch = 8, .windows = 8};
}

void bptt_horizon_clear(bptt_horizon_report *report)
{
    free(report->norm);
    free(report->layer);
    free(report->bias);
    *report = (bptt_horizon_report){0};
}

struct survey {
    const bptt_horizon_options *options;
    struct network net;
    const int32_t *token;
    int64_t tokens;
    long lags;
    int32_t *x, *y;                        /* [lags][batch] */
    double *scratch;
    struct lag_profile profile;
};

/* Where a row of a window begins to run up: at a drawn place of its own share of the text. */
static int64_t row_start(const struct survey *s, int64_t window, int64_t row)
{
    const bptt_horizon_options *o = s->options;
    struct random_stream stream = random_open(o->seed, RANDOM_WINDOW, 1);
    int64_t number = window * o->batch + row, places = s->tokens - 2 * (int64_t)s->lags;
    double share = ((double)number + random_uniform(&stream, (uint64_t)number)) / ((double)o->windows * (double)o->batch);
    int64_t start = (int64_t)(share * (double)places);
    return start < places ? start : places - 1;
}

/* The steps of a window, `ahead` steps from where its rows begin. */
static struct window fill(struct survey *s, int64_t number, int64_t ahead)
{
    int64_t batch = s->options->batch;
    for (int64_t b = 0; b < batch; b++) {
        const int32_t *at = s->token + row_start(s, number, b) + ahead;
        for (long t = 0; t < s->lags; t++) {
            s->x[t * batch + b] = at[t];
            s->y[t * batch + b] = at[t + 1];
        }
    }
    return (struct window){.steps = s->lags, .token = s->x, .target = s->y, .element_size = 4};
}

static int measure(struct survey *s, bptt_error *error)
{
    int status = BPTT_OK;
    network_load(&s->net);
    for (int64_t i = 0; i < s->options->windows && !status; i++) {
        struct window before = fill(s, i, 0);
        before.target = NULL;
        network_reset(&s->net);
        status = network_forward(&s->net, &before, error);
        if (status)
            break;
        struct window window = fill(s, i, s->lags);
        status = horizon_measure(&s->net, &window, &s->profile, s->scratch, error);
    }
    return status;
}

/* ---- memory ---- */

static int allocate_report(const struct survey *s, long layers, bptt_horizon_report *report, bptt_error *error)
{
    size_t bytes = size_mul((size_t)s->lags, sizeof(double));
    report->norm = calloc(1, bytes);
    report->bias = calloc(1, bytes);
    report->layer = calloc((size_t)layers, bytes);
    return report->norm && report->bias && report->layer ? BPTT_OK : fail_memory(error, bytes);
}

static int allocate(struct survey *s, bptt_error *error)
{
    size_t window = size_mul(size_mul((size_t)s->lags, (size_t)s->options->batch), sizeof *s->x);
    size_t scratch = (size_t)(horizon_scratch(&s->net) + s->lags) * sizeof(double);
    s->x = malloc(window);
    s->y = malloc(window);
    s->scratch = malloc(scratch);
    if (!s->x || !s->y || !s->scratch)
        return fail_memory(error, s->scratch ? window : scratch);
    return network_allocate(&s->net, error);
}

/* ---- the report ---- */

static int make_report(struct survey *s, bptt_horizon_report *report, bptt_error *error)
{
    if (!isfinite(report->norm[0]))
        return fail(error, BPTT_ERROR_NOT_FINITE, "the gradient of a single step is not finite: the model's weights have run away");
    horizon_bias(&s->profile, report->bias);
    for (int i = 0; i < 3; i++) {
        struct horizon_estimate e = horizon_estimate(&s->profile, DELTA[i]);
        report->decay = e.decay;
        report->choice[i].delta = DELTA[i];
        report->choice[i].truncation = e.bias < DELTA[i] ? e.truncation : 0;
        report->choice[i].bias = e.bias;
    }
    return BPTT_OK;
}

static int survey(struct survey *s, const bptt_model *model, bptt_horizon_report *report, bptt_error *error)
{
    struct network_config config = {.steps = s->lags, .batch = (long)s->options->batch, .threads = s->options->threads,
                                    .gradients = 1};
    int status = allocate_report(s, model->layers, report, error);
    if (!status)
        status = network_new(&s->net, model, &config, error);
    if (status)
        return status;
    /* beside the report's own numbers, room for the norms of what the lags add up to */
    status = allocate(s, error);
    if (!status) {
        s->profile = (struct lag_profile){.lags = s->lags, .norm = report->norm, .layer = report->layer,
                                          .reach = s->scratch + horizon_scratch(&s->net)};
        status = measure(s, error);
    }
    network_free(&s->net);
    return status ? status : make_report(s, report, error);
}

static int check_options(size_t files, const bptt_horizon_options *o, bptt_error *error)
{
    if (o->size != sizeof *o)
        return fail(error, BPTT_ERROR_ARGUMENT, "the horizon's options do not come from bptt_horizon_defaults()");
    if (files == 0)
        return fail(error, BPTT_ERROR_ARGUMENT, "no text to measure on: name a file");
    if (o->lags < 0 || o->lags > LAGS_MOST)
        return fail(error, BPTT_ERROR_ARGUMENT, "lags must be between 1 and %d", LAGS_MOST);
    if (o->batch < 1 || o->batch > BATCH_MOST)
        return fail(error, BPTT_ERROR_ARGUMENT, "batch must be between 1 and %d", BATCH_MOST);
    if (o->windows < 1 || o->windows > WINDOWS_MOST)
        return fail(error, BPTT_ERROR_ARGUMENT, "windows must be between 1 and %d", WINDOWS_MOST);
    return BPTT_OK;
}

/* A window and as much before it, and the symbol behind. */
static int choose_lags(struct survey *s, const char *file, bptt_error *error)
{
    int64_t most = (s->tokens - 1) / 2, wanted = s->options->lags;
    if (most < 1)
        return fail_file(error, BPTT_ERROR_ARGUMENT, file, "%lld symbols are too few: a lag of one step needs 3",
                         (long long)s->tokens);
    if (wanted > most)
        return fail_file(error, BPTT_ERROR_ARGUMENT, file, "%lld symbols are too few for %lld lags and as many steps before them: "
                         "at most --lags %lld", (long long)s->tokens, (long long)wanted, (long long)most);
    s->lags = (long)(wanted ? wanted : most < LAGS ? most : LAGS);
    return BPTT_OK;
}

int bptt_horizon(const bptt_model *model, const char *const *files, size_t file_count, const bptt_horizon_options *options,
                 bptt_horizon_report *report, bptt_error *error)
{
    bptt_horizon_options own = options ? *options : bptt_horizon_defaults();
    struct survey s = {.options = &own};
    int32_t *token = NULL;
    *report = (bptt_horizon_report){0};
    int status = check_options(file_count, &own, error);
    if (!status)
        status = symbols_read(model, files, file_count, &token, &s.tokens, error);
    if (status)
        return status;
    s.token = token;
    status = choose_lags(&s, files[0], error);
    if (!status)
        status = survey(&s, model, report, error);
    free(token);
    free(s.x);
    free(s.y);
    free(s.scratch);
    if (status) {
        bptt_horizon_clear(report);
        return status;
    }
    report->lags = s.lags;
    report->layers = model->layers;
    report->windows = own.windows;
    report->batch = own.batch;
    return BPTT_OK;
}
