// link: bench/tasks.c
/* bench_copy.c - the Copy tables of adaptive truncation (Aicher, Foti and Fox 2019, arXiv 1905.07473): an LSTM of 2 x 50
 * units, fixed truncations K and adaptive ones of relative bias below delta; test perplexities beside the published ones.
 *
 *     build/bench/bench_copy [--table fixed|variable] [--epochs N] [--seeds N] [--spliced] [--row STRATEGY] [--threads N]
 *
 * As published: 64 lanes, one training text of 4000 steps walked over and over, windows of floor(500/K) K steps of
 * truncated:K,2K-1, plain SGD at rate sqrt(K), weight decay 1e-5, the gradient's norm clipped at 1/K, matrices uniform within
 * sqrt(3 / larger side), biases 0, the same start for every row; the state carried, and zero where the text begins anew.
 * Adaptive rows start at K = 15 and choose anew by lags 0..99 (published: every 5000 steps, here after each epoch, which has
 * 4000 less what no window fills). Here they choose for the first time after FIRST_EPOCHS: before much is learnt little
 * influence is long, and K is small for some epochs (it grows again as the model learns). The test perplexity is that of the
 * epoch of the best validation. Published training data have answers that were never shown (tasks.h): --spliced trains and
 * validates on such; tested is on both kinds.
 *
 * The one thing asked of the library's inside is the measurement that `adaptive` makes; when to make it is published, not its
 * own. */
#include <bptt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../src/train/trainer.h"
#include "tasks.h"

enum { LANES = 64, UNITS = 50, LAYERS = 2, CALL = 500, LAGS = 100, FIRST_K = 15, FIRST_EPOCHS = 10 };
enum { TRAIN = 4000, TEST = 1000, ROWS = 8, PUBLISHED_EPOCHS = 210 };
enum { CLEAN, SPLICED, KINDS };

struct copies { int32_t *x, *y; long steps; };
struct row { const char *name; long k; double delta, published[2]; };          /* published: fixed, variable */
struct options { int variable, spliced, seeds, threads; long epochs; const char *row; };
struct data { struct copies train, valid, test[KINDS]; };

/* One start of one row. */
struct run {
    const struct row *row;
    const struct options *options;
    const struct data *data;
    bptt_model *model;
    bptt_trainer *trainer, *judge;         /* the judge only measures losses */
    long k;
    uint64_t measured;                     /* how often K was chosen */
};

struct score { double valid, test[KINDS], k, seconds; };

static const struct row rows[ROWS] = {
    {"truncated:5,9", 5, 0, {1.646, 1.47}},      {"truncated:10,19", 10, 0, {1.036, 1.39}},
    {"truncated:15,29", 15, 0, {1.039, 1.37}},   {"truncated:20,39", 20, 0, {1.040, 1.35}},
    {"truncated:30,59", 30, 0, {1.043, 1.31}},   {"adaptive:0.9", 0, 0.9, {1.022, 1.35}},
    {"adaptive:0.5", 0, 0.5, {1.027, 1.32}},     {"adaptive:0.1", 0, 0.1, {1.030, 1.29}},
};

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void give_up(const char *text)
{
    fprintf(stderr, "bench_copy: %s\n", text);
    exit(1);
}

/* ---- the data ---- */

static struct copies make_text(uint64_t seed, const struct options *o, int spliced, long steps)
{
    size_t bytes = (size_t)(steps * LANES) * sizeof(int32_t);
    struct copies text = {malloc(bytes), malloc(bytes), steps};
    if (!text.x || !text.y)
        give_up("out of memory");
    task_copy(seed, o->variable ? 5 : 10, 10, spliced, steps, LANES, text.x, text.y);
    return text;
}

static void free_text(struct copies *text)
{
    free(text->x);
    free(text->y);
}

/* ---- the model ---- */

static double start_bound(const bptt_array *parameter)
{
    int is_gate = !strncmp(parameter->name, "layers.", 7);     /* published: one matrix of four gates */
    return parameter->rank == 2 ? sqrt(3.0 / (is_gate ? 4 * UNITS : UNITS)) : 0;
}

static void start_uniform(const bptt_model *model, uint64_t seed)
{
    struct random_stream stream = random_open(seed, RANDOM_INIT, 0);
    uint64_t at = 0;
    for (size_t i = 0; i < bptt_model_parameter_count(model); i++) {
        bptt_array view;
        bptt_model_parameter(model, i, &view);
        double bound = start_bound(&view);
        for (int64_t k = 0; k < bptt_array_length(&view); k++)
            ((float *)view.data)[k] = (float)(bound * (2 * random_uniform(&stream, at++) - 1));
    }
}

/* The embedding stands for the published linear map of one-hot symbols: its bias is in every row. */
static bptt_model *make_model(uint64_t seed)
{
    bptt_error error = {0};
    bptt_cell *cell;
    bptt_model *model;
    bptt_model_config config = bptt_model_defaults();
    if (bptt_cell_open("lstm", &cell, &error))
        give_up(error.text);
    config.cell = cell;
    config.vocabulary = config.outputs = TASK_COPY_SYMBOLS;
    config.inputs = config.hidden = UNITS;
    config.layers = LAYERS;
    if (bptt_model_new(&config, &model, &error))
        give_up(error.text);
    bptt_cell_free(cell);
    start_uniform(model, seed);
    return model;
}

/* ---- trainers ---- */

static bptt_trainer *make_trainer(const struct run *run, const char *strategy, long length, double rate, double clip)
{
    bptt_error error = {0};
    bptt_trainer *trainer;
    bptt_trainer_config config = bptt_trainer_defaults();
    config.batch = LANES;
    config.length = length;
    config.threads = run->options->threads;
    config.optimizer = BPTT_SGD;
    config.momentum = 0;
    config.rate = rate;
    config.weight_decay = 1e-5;
    config.clip_norm = clip;
    config.gradient = strategy;
    if (bptt_trainer_new(run->model, &config, &trainer, &error))
        give_up(error.text);
    return trainer;
}

/* SGD without momentum remembers nothing and an epoch begins from a zero state: a new trainer goes on as the old one would. */
static void train_with(struct run *run, long k)
{
    char strategy[64];
    bptt_trainer_free(run->trainer);
    run->k = k;
    snprintf(strategy, sizeof strategy, "truncated:%ld,%ld", k, 2 * k - 1);
    run->trainer = make_trainer(run, strategy, CALL / k * k, sqrt((double)k), 1 / (double)k);
}

/* How the gradient of the last of LAGS steps fades, after as many steps from a zero state. They are run at a rate of 0: nothing
 * is learned. */
static void measure(bptt_trainer *probe, const struct copies *text, long at, struct lag_profile *profile)
{
    bptt_error error = {0};
    const int32_t *x = text->x + at * LANES, *y = text->y + at * LANES;
    struct window window = {.steps = LAGS, .token = x + LAGS * LANES, .target = y + LAGS * LANES, .element_size = 4,
                            .training = 1};
    double loss, norm, *scratch = malloc((size_t)horizon_scratch(&probe->net) * sizeof *scratch);
    if (!scratch)
        give_up("out of memory");
    if (bptt_trainer_step(probe, x, y, &loss, &norm, &error))
        give_up(error.text);
    network_load(&probe->net);
    if (horizon_measure(&probe->net, &window, profile, scratch, &error))
        give_up(error.text);
    free(scratch);
}

/* As `adaptive` chooses, from one place of the text, another one each time. Never below 2, as published. */
static long choose_k(struct run *run)
{
    struct random_stream stream = random_open(1, RANDOM_WINDOW, 0);
    long at = (long)(random_uniform(&stream, run->measured++) * (TRAIN - 2 * LAGS));
    double norm[LAGS] = {0}, reach[LAGS] = {0}, layer[LAYERS * LAGS] = {0};
    struct lag_profile profile = {.lags = LAGS, .norm = norm, .layer = layer, .reach = reach};
    bptt_trainer *probe = make_trainer(run, "full", LAGS, 0, 1);
    measure(probe, &run->data->train, at, &profile);
    bptt_trainer_free(probe);
    long k = horizon_estimate(&profile, run->row->delta).truncation;
    return k < 2 ? 2 : k;
}

/* ---- one start of one row ---- */

static void epoch(struct run *run)
{
    bptt_error error = {0};
    double loss, norm;
    long length = CALL / run->k * run->k;
    bptt_trainer_reset_state(run->trainer);
    for (long at = 0; at + length <= TRAIN; at += length) {
        const struct copies *text = &run->data->train;
        if (bptt_trainer_step(run->trainer, text->x + at * LANES, text->y + at * LANES, &loss, &norm, &error))
            give_up(error.text);
    }
}

static double perplexity(const struct run *run, const struct copies *text)
{
    bptt_error error = {0};
    double sum = 0, loss;
    for (long at = 0; at < text->steps; at += LAGS) {
        if (bptt_trainer_loss(run->judge, text->x + at * LANES, text->y + at * LANES, at == 0, &loss, &error))
            give_up(error.text);
        sum += loss * LAGS;
    }
    return exp(sum / (double)text->steps);
}

static void judge(struct run *run, struct score *best)
{
    double valid = perplexity(run, &run->data->valid);
    if (!(valid < best->valid))
        return;
    best->valid = valid;
    for (int kind = 0; kind < KINDS; kind++)
        best->test[kind] = perplexity(run, &run->data->test[kind]);
}

static struct score compete(const struct row *row, const struct options *o, const struct data *data, uint64_t seed)
{
    struct run run = {.row = row, .options = o, .data = data, .model = make_model(seed)};
    struct score best = {.valid = INFINITY};
    double start = seconds();
    run.judge = make_trainer(&run, "full", LAGS, 0, 1);
    train_with(&run, row->k ? row->k : FIRST_K);
    for (long i = 0; i < o->epochs; i++) {
        epoch(&run);
        judge(&run, &best);
        best.k += (double)run.k / (double)o->epochs;
        if (row->k == 0 && i + 1 >= FIRST_EPOCHS)
            train_with(&run, choose_k(&run));
    }
    best.seconds = seconds() - start;
    bptt_trainer_free(run.trainer);
    bptt_trainer_free(run.judge);
    bptt_model_free(run.model);
    return best;
}

/* ---- the table ---- */

struct spread { double sum, squares; long count; };

static void add(struct spread *s, double value)
{
    s->sum += value;
    s->squares += value * value;
    s->count++;
}

static void print_spread(const struct spread *s)
{
    double n = (double)s->count, mean = s->sum / n, rest = s->squares - n * mean * mean;
    printf(" %9.3f", mean);
    if (s->count > 1)
        printf(" +-%6.3f", sqrt(rest > 0 ? rest / (n - 1) : 0));
}

static void print_row(const struct row *row, const struct options *o, const struct data *data)
{
    struct spread test[KINDS] = {0}, k = {0}, time = {0};
    for (int seed = 1; seed <= o->seeds; seed++) {
        struct score score = compete(row, o, data, (uint64_t)seed);
        add(&test[CLEAN], score.test[CLEAN]);
        add(&test[SPLICED], score.test[SPLICED]);
        add(&k, score.k);
        add(&time, score.seconds);
    }
    printf("%-16s %6.1f", row->name, k.sum / (double)k.count);
    print_spread(&test[CLEAN]);
    print_spread(&test[SPLICED]);
    printf(" %10.3f %8.0f\n", row->published[o->variable], time.sum);
}

static void print_head(const struct options *o)
{
    const char *gap = o->seeds > 1 ? "         " : "";
    printf("Copy, blocks of %s; trained on %s data, %ld epochs of %d steps (published: %d), %d start%s (published: 9)\n",
           o->variable ? "5 to 10" : "10", o->spliced ? "spliced" : "clean", o->epochs, TRAIN, PUBLISHED_EPOCHS, o->seeds,
           o->seeds > 1 ? "s, mean and deviation" : "");
    printf("%-16s %6s %9s%s %9s%s %10s %8s\n", "strategy", "mean K", "clean", gap, "spliced", gap, "published", "seconds");
}

static void take_option(struct options *o, const char *name, const char *value)
{
    if (!strcmp(name, "--table"))
        o->variable = !strcmp(value, "variable");
    else if (!strcmp(name, "--epochs"))
        o->epochs = atol(value);
    else if (!strcmp(name, "--seeds"))
        o->seeds = atoi(value);
    else if (!strcmp(name, "--row"))
        o->row = value;
    else if (!strcmp(name, "--threads"))
        o->threads = atoi(value);
    else
        give_up("no such option; the first lines of bench_copy.c tell which there are");
}

static struct options read_options(int argc, char **argv)
{
    struct options o = {.epochs = 15, .seeds = 1, .threads = 1};
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--spliced")) {
            o.spliced = 1;
            continue;
        }
        if (i + 1 == argc)
            give_up("every option but --spliced has a value");
        take_option(&o, argv[i], argv[i + 1]);
        i++;
    }
    if (o.epochs < 1 || o.seeds < 1)
        give_up("--epochs and --seeds are at least 1");
    return o;
}

int main(int argc, char **argv)
{
    struct options o = read_options(argc, argv);
    struct data data = {make_text(1, &o, o.spliced, TRAIN), make_text(2, &o, o.spliced, TEST),
                        {make_text(3, &o, 0, TEST), make_text(3, &o, 1, TEST)}};
    setvbuf(stdout, NULL, _IOLBF, 0);
    print_head(&o);
    for (int i = 0; i < ROWS; i++)
        if (!o.row || !strcmp(o.row, rows[i].name))
            print_row(&rows[i], &o, &data);
    free_text(&data.train);
    free_text(&data.valid);
    free_text(&data.test[CLEAN]);
    free_text(&data.test[SPLICED]);
    return 0;
}
