/* bench_influence.c - influence balancing (Tallec and Ollivier 2017, section 5): one number theta pushes 23 units in a
 * row, the first ten up and the rest down. What it does to the first unit at once is the opposite of what it does in the
 * end, so a gradient that forgets the far past points the wrong way, however small the rate. Prints, for each strategy,
 * where theta stood after its updates, and whether that was the way to -1/6.
 *
 *     build/bench/bench_influence               the table (a minute)
 *     build/bench/bench_influence STRATEGY each|last STEPS RATE UPDATES     one row: windows of STEPS */
#include <bptt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UNITS = 23, PUSHED_UP = 10, TEST_STEPS = 500, LONGEST = 1000, SEEDS = 5 };
static const double START = 0.5, BEST = -1.0 / 6;

/* s' = A s + theta v, from s = 1. The input says which steps' losses count (1 or 0): it scales what the layer hands on,
 * and the target is 1 there and else 0. */
static const char CELL[] = "cell influence_balancing\n"
                           "input x\n"
                           "state s = 1\n"
                           "output y\n"
                           "param theta[1]\n"
                           "s' = A s + theta * v\n"
                           "y = sum(x) * s'\n";

struct row {
    const char *strategy;
    long steps;                            /* of a window */
    int each;                              /* 1: each step's loss, and an update after it; 0: the last step's, and one */
    double rate;                           /* of the loss (s_0 - 1)^2 / 2 */
    long updates;
    const char *note;
};

struct outcome { double theta, loss; int finite; };

static void give_up(const bptt_error *error)
{
    fprintf(stderr, "bench_influence: %s\n", error->text);
    exit(1);
}

/* ---- the system ---- */

static float *parameter(bptt_model *model, const char *name)
{
    bptt_array view;
    for (size_t i = 0; i < bptt_model_parameter_count(model); i++)
        if (!bptt_model_parameter(model, i, &view) && !strcmp(view.name, name))
            return view.data;
    fprintf(stderr, "bench_influence: the model has no parameter %s\n", name);
    exit(1);
}

static void set_parameters(bptt_model *model)
{
    float *A = parameter(model, "layers.0.A");
    float *v = parameter(model, "layers.0.v");
    float *head = parameter(model, "head.weight");
    for (int i = 0; i < UNITS; i++) {
        for (int j = 0; j < UNITS; j++)
            A[i * UNITS + j] = j == i || j == i + 1 ? 0.5F : 0;
        v[i] = i < PUSHED_UP ? 1 : -1;
        head[i] = i == 0;
    }
    *parameter(model, "head.bias") = 0;
    *parameter(model, "layers.0.theta") = (float)START;
}

static bptt_model *make_model(void)
{
    bptt_error error = {0};
    bptt_cell *cell;
    bptt_model *model;
    bptt_model_config config = bptt_model_defaults();
    if (bptt_cell_parse(CELL, "influence_balancing", &cell, &error))
        give_up(&error);
    config.cell = cell;
    config.inputs = 1;
    config.hidden = UNITS;
    config.outputs = 1;
    config.loss = BPTT_MSE;
    if (bptt_model_new(&config, &model, &error))
        give_up(&error);
    bptt_cell_free(cell);
    set_parameters(model);
    return model;
}

/* Of s_0 over 500 steps from s = 1, theta standing still. */
static double test_loss(bptt_model *model)
{
    bptt_error error = {0};
    float ones[TEST_STEPS];
    for (int t = 0; t < TEST_STEPS; t++)
        ones[t] = 1;
    bptt_array x = {.type = BPTT_F32, .rank = 3, .shape = {TEST_STEPS, 1, 1}, .data = ones}, y;
    bptt_run_options options = bptt_run_defaults();
    options.threads = 1;
    if (bptt_run(model, &x, NULL, &y, NULL, &options, &error))
        return NAN;
    double sum = 0;
    for (int t = 0; t < TEST_STEPS; t++) {
        double miss = (double)((float *)y.data)[t] - 1;
        sum += 0.5 * miss * miss / TEST_STEPS;
    }
    bptt_array_clear(&y);
    return sum;
}

/* ---- training ---- */

/* The trainer's loss is the mean of (s_0 - 1)^2 over all steps of an update: the rate makes up for both. */
static double trainer_rate(const struct row *row)
{
    return 0.5 * row->rate * (row->each ? 1 : (double)row->steps);
}

static bptt_trainer *make_trainer(bptt_model *model, const struct row *row, uint64_t seed)
{
    bptt_error error = {0};
    bptt_trainer *trainer;
    bptt_trainer_config config = bptt_trainer_defaults();
    config.batch = 1;
    config.length = row->steps;
    config.threads = 1;
    config.optimizer = BPTT_SGD;
    config.rate = trainer_rate(row);
    config.momentum = 0;
    config.clip_norm = 0;
    config.gradient = row->strategy;
    config.freeze = "layers.0.A,layers.0.v,head.weight,head.bias";
    config.seed = seed;
    if (bptt_trainer_new(model, &config, &trainer, &error))
        give_up(&error);
    return trainer;
}

static struct outcome train(const struct row *row, uint64_t seed)
{
    float counts[LONGEST];
    struct outcome outcome = {.finite = 1};
    bptt_error error = {0};
    double loss, norm;
    bptt_model *model = make_model();
    bptt_trainer *trainer = make_trainer(model, row, seed);
    for (long t = 0; t < row->steps; t++)
        counts[t] = row->each || t == row->steps - 1;
    for (long i = 0; i < row->updates && outcome.finite; i += row->each ? row->steps : 1) {
        int status = bptt_trainer_step(trainer, counts, counts, &loss, &norm, &error);
        if (status && status != BPTT_ERROR_NOT_FINITE)
            give_up(&error);
        outcome.finite = !status;
    }
    outcome.theta = *parameter(model, "layers.0.theta");
    outcome.loss = test_loss(model);
    bptt_trainer_free(trainer);
    bptt_model_free(model);
    return outcome;
}

/* ---- the table ---- */

enum verdict { CONVERGED, STALLED, DIVERGED, VERDICTS };
static const char *const verdict_name[VERDICTS] = {"converged", "stalled", "diverged"};

/* How far theta is, as a share of how far it was. */
static double distance(const struct outcome *outcome)
{
    double share = fabs(outcome->theta - BEST) / (START - BEST);
    return outcome->finite && share < INFINITY ? share : INFINITY;
}

static enum verdict judge(const struct outcome *outcome)
{
    double share = distance(outcome);
    return share < 0.05 ? CONVERGED : share < 1.05 ? STALLED : DIVERGED;
}

static int is_random(const struct row *row)
{
    return !strncmp(row->strategy, "random", 6) || !strcmp(row->strategy, "uoro");
}

static void print_counts(const int count[VERDICTS], int runs)
{
    for (int v = 0; v < VERDICTS; v++)
        if (count[v] && runs == 1)
            printf("  %s", verdict_name[v]);
        else if (count[v])
            printf("  %d %s", count[v], verdict_name[v]);
}

static int nearer(const void *x, const void *y)
{
    double a = distance(x), b = distance(y);
    return a < b ? -1 : a > b;
}

/* Theta and loss: of the run in the middle. */
static void print_row(const struct row *row)
{
    struct outcome outcome[SEEDS];
    int count[VERDICTS] = {0}, runs = is_random(row) ? SEEDS : 1;
    for (int i = 0; i < runs; i++) {
        outcome[i] = train(row, (uint64_t)i + 1);
        count[judge(&outcome[i])]++;
    }
    qsort(outcome, (size_t)runs, sizeof *outcome, nearer);
    printf("%-14s %6ld %-5s %8.0e %8ld %8ld", row->strategy, row->steps, row->each ? "each" : "last", row->rate,
           row->updates, row->each ? row->updates : row->updates * row->steps);
    printf(" %11.4g %11.4g", outcome[runs / 2].theta, outcome[runs / 2].loss);
    print_counts(count, runs);
    printf("%s%s\n", *row->note ? "  # " : "", row->note);
    fflush(stdout);
}

static void print_head(void)
{
    bptt_model *model = make_model();
    *parameter(model, "layers.0.theta") = (float)BEST;
    printf("# bptt %s; theta starts at %.1f, best is %.4f; 500 steps from s = 1 then have a loss of %.4f\n", bptt_version(),
           START, BEST, test_loss(model));
    printf("# loss (s_0 - 1)^2 / 2: of the last step of each window, then an update; or of each step, each with an update\n");
    printf("# random estimates: %d runs each, theta and loss of the one in the middle\n", SEEDS);
    printf("%-14s %6s %-5s %8s %8s %8s %11s %11s  %s\n", "strategy", "window", "loss", "rate", "updates", "steps",
           "theta", "loss of 500", "verdict");
    bptt_model_free(model);
}

static int number(const char *text, double low, double high, double *value)
{
    char *end;
    *value = strtod(text, &end);
    return end != text && !*end && *value >= low && *value <= high;
}

static int own_row(char **argument)
{
    double steps, rate, updates;
    int each = !strcmp(argument[1], "each");
    int fine = each || !strcmp(argument[1], "last");
    fine = fine && number(argument[2], 1, LONGEST, &steps) && number(argument[3], 0, 1e6, &rate);
    fine = fine && number(argument[4], 1, 1e9, &updates);
    if (!fine) {
        fprintf(stderr, "bench_influence: STRATEGY each|last STEPS (at most %d) RATE UPDATES\n", LONGEST);
        return 1;
    }
    print_row(&(struct row){argument[0], (long)steps, each, rate, (long)updates, ""});
    return 0;
}

int main(int count, char **argument)
{
    static const struct row rows[] = {
        {"segments:1", 1, 0, 1e-4, 3000, "published: diverges"},
        {"segments:10", 10, 0, 1e-4, 3000, "published: diverges"},
        {"segments:100", 100, 0, 1e-4, 3000, "published: converges"},
        {"truncated:1,10", 100, 1, 1e-4, 3000, ""},
        {"truncated:1,40", 100, 1, 1e-4, 3000, ""},
        {"rtrl", 100, 1, 1e-4, 3000, "published: converges"},
        {"snap1", 100, 1, 1e-4, 3000, "as rtrl: theta acts on every unit, so nothing is left out"},
        {"rflo", 100, 1, 1e-4, 3000, "leaves A out: as segments:1"},
        {"random:0.5", 1000, 0, 1e-4, 3000, "pieces of 2 steps on average: no bias, but too much variance"},
        {"random:0.9", 1000, 0, 1e-4, 3000, "pieces of 10"},
        {"random:0.99", 1000, 0, 1e-4, 3000, "pieces of 100"},
        {"uoro", 100, 1, 1e-5, 3000, "published: converges"},
        {"uoro", 100, 1, 1e-5, 10000, ""},
    };
    if (count != 1 && count != 6) {
        fprintf(stderr, "usage: bench_influence [STRATEGY each|last STEPS RATE UPDATES]\n");
        return 1;
    }
    print_head();
    if (count == 6)
        return own_row(argument + 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        print_row(&rows[i]);
    return 0;
}
