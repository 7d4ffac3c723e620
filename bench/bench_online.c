// link: bench/tasks.c
/* bench_online.c - online gradient estimators on series: a tanh network of 64 units reads a series once, predicts its next
 * value and learns after every step. Prints the normalised squared error of each estimator's late predictions, and the
 * cosine of its gradients with the exact one, beside the figures published.
 *
 * The cosine is taken along the estimator's own run: exact forward mode and a twin of the estimator walk beside the trainer
 * over the last stretches between two resets, with the same states and the same changing weights.
 *
 *     build/bench/bench_online                  2000 steps, one seed (three minutes on one core; most of it is rtrl)
 *     build/bench/bench_online [--steps N] [--seeds N] [--series NAME] [--estimator NAME] [--sunspots FILE]
 *     build/bench/bench_online --steps 15000 --seeds 10         as published (hours) */
#include <bptt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../src/model/influence.h"
#include "tasks.h"

enum { UNITS = 64, LANES = 8, RESET = 200, SKIPPED = 64, ROWS = 20065, MOST_SEEDS = 100 };
enum { MOST_STEPS = ROWS - SKIPPED - 1, ESTIMATORS = 8, SERIES = 3 };

struct options { long steps, seeds; const char *series, *estimator, *sunspots; };

struct estimator {
    const char *name;
    long steps;                            /* of the trainer's window; RESET is a multiple of it */
    int watched;                           /* its gradient at each step is held against the exact one */
};

/* Published, by estimator; 0: not published. */
struct published { double median, least, most, cosine; };

struct series {
    const char *name;
    struct published published[ESTIMATORS];
};

struct result { double error[MOST_SEEDS], cosine, step_seconds; long seeds; };

static const struct estimator estimators[ESTIMATORS] = {
    {"rtrl", 1, 0}, {"snap1", 1, 1}, {"rflo:0.9", 1, 1}, {"uoro", 1, 1}, {"segments:25", 25, 0}, {"full", RESET, 0},
    {"truncated:1,200", RESET, 0}, {"rflo", 1, 1},
};

static const struct series all_series[SERIES] = {
    {"mackey-glass",
     {{.0079, .0031, .0612, 0}, {.0048, .0035, .0074, .398}, {.0427, .022, .111, .344}, {.0489, .020, .089, .063},
      {.0077, .0069, .0093, 0}}},
    {"lorenz",
     {{.0027, .0017, .0134, 0}, {.0020, .0015, .0041, .353}, {.0413, .027, .068, .208}, {.0253, .012, .160, .053},
      {.0053, .0046, .0065, 0}}},
    {"sunspots",                           /* of months; ours are years. Means: the medians are not known */
     {{.1451, .1385, .1581, 0}, {.1437, .1409, .1470, .525}, {.1536, .1487, .1622, .232}, {.2119, .154, .316, .046}}},
};

static void give_up(const bptt_error *error)
{
    fprintf(stderr, "bench_online: %s\n", error->text);
    exit(1);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- series ---- */

/* Of mean 0 and variance 1: over the whole series, sunspots over the past only, as published. 0: there are no data. */
static int fill_series(const struct options *o, const struct series *series, uint64_t seed, float *rows)
{
    int sunspots = !strcmp(series->name, "sunspots");
    if (sunspots && !task_sunspots(o->sunspots, seed, ROWS, LANES, rows))
        return 0;
    if (!strcmp(series->name, "mackey-glass"))
        task_mackey_glass(seed, ROWS, LANES, rows);
    if (!strcmp(series->name, "lorenz"))
        task_lorenz(seed, ROWS, LANES, rows);
    task_normalise(ROWS, LANES, sunspots ? SKIPPED : 0, sunspots ? SKIPPED + 2000 : ROWS, rows);
    return 1;
}

/* ---- the network and its trainer ---- */

static void clear_bias(bptt_model *model)
{
    bptt_array view;
    for (size_t i = 0; i < bptt_model_parameter_count(model); i++)
        if (!bptt_model_parameter(model, i, &view) && !strcmp(view.name, "layers.0.b"))
            memset(view.data, 0, (size_t)bptt_array_length(&view) * sizeof(float));
}

static bptt_model *make_model(uint64_t seed)
{
    bptt_error error = {0};
    bptt_cell *cell;
    bptt_model *model;
    bptt_model_config config = bptt_model_defaults();
    if (bptt_cell_open("rnn", &cell, &error))
        give_up(&error);
    config.cell = cell;
    config.inputs = 1;
    config.hidden = UNITS;
    config.outputs = 1;
    config.loss = BPTT_MSE;
    config.seed = seed;
    if (bptt_model_new(&config, &model, &error))
        give_up(&error);
    bptt_cell_free(cell);
    clear_bias(model);
    return model;
}

static bptt_trainer *make_trainer(bptt_model *model, const struct estimator *estimator, uint64_t seed)
{
    bptt_error error = {0};
    bptt_trainer *trainer;
    bptt_trainer_config config = bptt_trainer_defaults();
    config.batch = LANES;
    config.length = estimator->steps;
    config.threads = 1;
    config.rate = 1e-3;
    config.beta2 = 0.999;
    config.clip_norm = 0;
    config.gradient = estimator->name;
    config.seed = seed;
    if (bptt_trainer_new(model, &config, &trainer, &error))
        give_up(&error);
    return trainer;
}

/* ---- shadows: an estimator that follows a model which another one trains ---- */

struct shadow { struct network net; struct influence *influence; };

static void open_shadow(struct shadow *shadow, const bptt_model *model, const char *name, uint64_t seed)
{
    bptt_error error = {0};
    struct network_config config = {.steps = 1, .batch = LANES, .threads = 1, .gradients = 1};
    if (strategy_parse(name, &config.strategy, &error))
        give_up(&error);
    if (network_new(&shadow->net, model, &config, &error) || network_allocate(&shadow->net, &error))
        give_up(&error);
    network_reset(&shadow->net);
    if (influence_new(&shadow->net, &config.strategy, seed, &shadow->influence, &error))
        give_up(&error);
}

static void close_shadow(struct shadow *shadow)
{
    influence_free(shadow->influence);
    network_free(&shadow->net);
}

/* The gradient of this step's loss, with the model's weights as they are. */
static void shadow_step(struct shadow *shadow, const float *x, const float *y)
{
    bptt_error error = {0};
    struct window window = {.steps = 1, .x = x, .target = y, .element_size = 4};
    network_load(&shadow->net);
    network_clear_gradients(&shadow->net);
    if (influence_window(shadow->influence, &shadow->net, &window, &error))
        give_up(&error);
}

/* Of all gradients of the recurrent layer; the head's are the same in both. */
static double cosine(const struct shadow *a, const struct shadow *b)
{
    const bptt_model *model = a->net.model;
    const float *x = a->net.gradients, *y = b->net.gradients;
    double xy = 0, xx = 0, yy = 0;
    for (int i = 0; i < model->tensors; i++) {
        const struct tensor *tensor = &model->tensor[i];
        for (long j = tensor->offset; tensor->layer >= 0 && j < tensor->offset + tensor->count; j++) {
            xy += (double)x[j] * (double)y[j];
            xx += (double)x[j] * (double)x[j];
            yy += (double)y[j] * (double)y[j];
        }
    }
    return xy / sqrt(xx * yy);
}

/* ---- one run ---- */

struct run {
    bptt_model *model;
    bptt_trainer *trainer;
    const struct estimator *estimator;
    const float *rows;
    double error, cosine, seconds;
};

static double train_step(struct run *run, long step)
{
    bptt_error error = {0};
    double loss, norm, start = seconds();
    const float *x = run->rows + (SKIPPED + step) * LANES;
    if (step % RESET == 0)
        bptt_trainer_reset_state(run->trainer);
    if (bptt_trainer_step(run->trainer, x, x + LANES, &loss, &norm, &error))
        give_up(&error);
    run->seconds += seconds() - start;
    return loss;
}

/* The last stretch between two resets, watched. */
static double train_beside_exact(struct run *run, long first, uint64_t seed)
{
    struct shadow own, exact;
    double sum = 0;
    open_shadow(&own, run->model, run->estimator->name, seed);
    open_shadow(&exact, run->model, "rtrl", seed);
    for (long step = first; step < first + RESET; step++) {
        const float *x = run->rows + (SKIPPED + step) * LANES;
        shadow_step(&own, x, x + LANES);
        shadow_step(&exact, x, x + LANES);
        run->cosine += cosine(&own, &exact) / RESET;
        sum += train_step(run, step);
    }
    close_shadow(&own);
    close_shadow(&exact);
    return sum / RESET;
}

static double train_stretch(struct run *run, long first)
{
    double sum = 0;
    long unit = run->estimator->steps;
    for (long step = first; step < first + RESET; step += unit)
        sum += train_step(run, step) * (double)unit;
    return sum / RESET;
}

/* Errors are those of the last sixth of the run (published: five stretches out of it). */
static void train(struct run *run, long steps, uint64_t seed)
{
    long stretches = steps / RESET, late = (stretches + 5) / 6;
    for (long i = 0; i < stretches; i++) {
        int watched = i == stretches - 1 && run->estimator->watched;
        double error = watched ? train_beside_exact(run, i * RESET, seed) : train_stretch(run, i * RESET);
        run->error += i >= stretches - late ? error / (double)late : 0;
    }
}

static void run_seed(const struct options *o, const struct estimator *estimator, const float *rows, uint64_t seed,
                     struct result *result)
{
    struct run run = {.model = make_model(seed), .estimator = estimator, .rows = rows};
    run.trainer = make_trainer(run.model, estimator, seed);
    train(&run, o->steps, seed);
    result->error[result->seeds++] = run.error;
    result->cosine += run.cosine / (double)o->seeds;
    result->step_seconds += run.seconds / (double)(o->steps * o->seeds);
    bptt_trainer_free(run.trainer);
    bptt_model_free(run.model);
}

/* ---- the table ---- */

static int compare(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return a < b ? -1 : a > b;
}

static void print_published(const struct published *p)
{
    if (p->median > 0)
        printf("   %7.4f %7.4f ..%7.4f", p->median, p->least, p->most);
    else
        printf("   %26s", "-");
    if (p->cosine > 0)
        printf(" %6.3f", p->cosine);
    else
        printf(" %6s", "-");
}

static void print_result(const struct series *series, int i, struct result *r)
{
    qsort(r->error, (size_t)r->seeds, sizeof *r->error, compare);
    double median = 0.5 * (r->error[(r->seeds - 1) / 2] + r->error[r->seeds / 2]);
    printf("%-13s %-15s %7.4f %7.4f ..%7.4f", series->name, estimators[i].name, median, r->error[0], r->error[r->seeds - 1]);
    if (estimators[i].watched)
        printf(" %6.3f", r->cosine);
    else
        printf(" %6s", "-");
    print_published(&series->published[i]);
    printf(" %9.3f\n", 1e3 * r->step_seconds);
    fflush(stdout);
}

static int wanted(const char *filter, const char *name)
{
    return !filter || !strcmp(filter, name);
}

/* 0: there are no data. */
static int run_estimator(const struct options *o, const struct series *series, int estimator, float *rows)
{
    struct result result = {0};
    for (long seed = 1; seed <= o->seeds; seed++) {
        if (!fill_series(o, series, (uint64_t)seed, rows))
            return 0;
        run_seed(o, &estimators[estimator], rows, (uint64_t)seed, &result);
    }
    print_result(series, estimator, &result);
    return 1;
}

static void run_series(const struct options *o, const struct series *series, float *rows)
{
    for (int i = 0; i < ESTIMATORS; i++) {
        if (!wanted(o->estimator, estimators[i].name))
            continue;
        if (run_estimator(o, series, i, rows))
            continue;
        printf("%-13s skipped: %s is not there\n", series->name, o->sunspots);
        return;
    }
}

static void print_machine(void)
{
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, "model name", 10))
            continue;
        printf("# %s", strchr(line, ':') + 2);
        break;
    }
    if (file)
        fclose(file);
    printf("# bptt %s, BPTT_ISA=%s, one thread\n", bptt_version(), getenv("BPTT_ISA") ? getenv("BPTT_ISA") : "(best)");
}

static void print_head(const struct options *o)
{
    print_machine();
    printf("# %ld steps, %ld seeds; published: 15000 steps, 10 seeds\n", o->steps, o->seeds);
    printf("%-13s %-15s %26s %6s   %26s %6s %9s\n", "series", "estimator", "NMSE: median least .. most", "cosine",
           "published", "cosine", "ms/step");
}

static void print_notes(void)
{
    printf("# NMSE: of predictions made before the update that they lead to, over the last sixth of the run.\n"
           "# cosine: with the exact gradient of the recurrent layer, mean over the last %d steps.\n"
           "# States and influences of all %d lanes are set to 0 every %d steps; gradients are means over lanes.\n"
           "# segments:25 makes an update every 25 steps, full every %d: so many fewer; truncated:1,200 one every step.\n"
           "# rflo:0.9 is the published rule: traces go on with a factor of 0.9, as in networks that leak, which this one does\n"
           "#   not. rflo takes the factor from the cell: none, so a parameter's influence is that of the step itself.\n"
           "# Published sunspots are monthly; these are yearly, another series: compare their order only.\n",
           RESET, LANES, RESET, RESET);
}

/* ---- options ---- */

static void usage(void)
{
    fprintf(stderr, "usage: bench_online [--steps N] [--seeds N] [--series NAME] [--estimator NAME] [--sunspots FILE]\n"
                    "steps: a multiple of %d, at most %d; seeds: at most %d; series:", RESET, MOST_STEPS, MOST_SEEDS);
    for (int i = 0; i < SERIES; i++)
        fprintf(stderr, " %s", all_series[i].name);
    fprintf(stderr, "; estimator:");
    for (int i = 0; i < ESTIMATORS; i++)
        fprintf(stderr, " %s", estimators[i].name);
    fprintf(stderr, "\n");
    exit(1);
}

static long whole_number(const char *text, long most)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (end == text || *end || value < 1 || value > most)
        usage();
    return value;
}

static void read_option(struct options *o, const char *name, const char *value)
{
    if (!strcmp(name, "--steps"))
        o->steps = whole_number(value, MOST_STEPS);
    else if (!strcmp(name, "--seeds"))
        o->seeds = whole_number(value, MOST_SEEDS);
    else if (!strcmp(name, "--series"))
        o->series = value;
    else if (!strcmp(name, "--estimator"))
        o->estimator = value;
    else if (!strcmp(name, "--sunspots"))
        o->sunspots = value;
    else
        usage();
}

static void check_names(const struct options *o)
{
    int series = 0, estimator = 0;
    for (int i = 0; i < SERIES; i++)
        series += wanted(o->series, all_series[i].name);
    for (int i = 0; i < ESTIMATORS; i++)
        estimator += wanted(o->estimator, estimators[i].name);
    if (!series || !estimator || o->steps % RESET)
        usage();
}

int main(int count, char **argument)
{
    struct options options = {.steps = 2000, .seeds = 1, .sunspots = "../shared/data/sunspots_yearly.csv"};
    for (int i = 1; i < count; i += 2) {
        if (i + 1 == count)
            usage();
        read_option(&options, argument[i], argument[i + 1]);
    }
    check_names(&options);
    float *rows = malloc((size_t)ROWS * LANES * sizeof *rows);
    if (!rows)
        return 1;
    print_head(&options);
    for (int i = 0; i < SERIES; i++)
        if (wanted(options.series, all_series[i].name))
            run_series(&options, &all_series[i], rows);
    print_notes();
    free(rows);
    return 0;
}
