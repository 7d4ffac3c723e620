/* bench_budget.c - exact gradients in a byte budget: time per step against an unbudgeted run, and bytes. Ratios are medians of
 * runs side by side in one process; the long case is a process of its own, whose memory the operating system counts.
 *
 *     build/bench/bench_budget                  T = 1,000 at 5 % of the memory, T = 1,000,000 in 8 MiB and in 1 MiB
 *     build/bench/bench_budget long             T = 10,000,000 by `bptt grad --memory 96M` from files (some minutes, 80 MB of disk) */
#include <bptt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../src/model/network.h"

enum { SYMBOLS = 65, HIDDEN = 128, RUNS = 5 };

struct budget_case { const char *cell; long batch, steps, plain_steps; size_t budget; double share; double most; };

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int compare(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return a < b ? -1 : a > b;
}

static double median(double *values, int n)
{
    qsort(values, (size_t)n, sizeof *values, compare);
    return values[n / 2];
}

static void give_up(const bptt_error *error)
{
    fprintf(stderr, "bench_budget: %s\n", error->text);
    exit(1);
}

static bptt_model *make_model(const char *name)
{
    bptt_error error = {0};
    bptt_cell *cell;
    bptt_model *model;
    bptt_model_config config = bptt_model_defaults();
    if (bptt_cell_open(name, &cell, &error))
        give_up(&error);
    config.cell = cell;
    config.vocabulary = SYMBOLS;
    config.hidden = HIDDEN;
    if (bptt_model_new(&config, &model, &error))
        give_up(&error);
    bptt_cell_free(cell);
    return model;
}

static int32_t *make_tokens(long n)
{
    int32_t *token = malloc((size_t)n * sizeof *token);
    unsigned long state = 1;
    for (long i = 0; token && i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        token[i] = (int32_t)((state >> 33) % SYMBOLS);
    }
    if (!token)
        exit(1);
    return token;
}

/* ---- one network ---- */

static void open_network(struct network *net, const bptt_model *model, long steps, long batch, size_t memory)
{
    bptt_error error = {0};
    struct network_config config = {.steps = steps, .batch = batch, .threads = 1, .gradients = 1, .memory = memory};
    if (network_new(net, model, &config, &error) || network_allocate(net, &error))
        give_up(&error);
    network_load(net);
}

/* The budget of a whole run in which so many bytes are left for recorded steps and kept states. */
static size_t whole_budget(const bptt_model *model, long steps, long batch, size_t bytes)
{
    bptt_error error = {0};
    struct network net;
    struct network_config config = {.steps = steps, .batch = batch, .threads = 1, .gradients = 1};
    if (network_new(&net, model, &config, &error))
        give_up(&error);
    size_t recorded = (size_t)(net.schedule.layout.rows + 1) * net.axis.record_bytes, fixed = net.plan.total - recorded;
    network_free(&net);
    return fixed + bytes;
}

static double run(struct network *net, long steps, const int32_t *token)
{
    bptt_error error = {0};
    struct window window = {.steps = steps, .token = token, .target = token + 1, .element_size = 4};
    double start = seconds();
    network_reset(net);
    network_clear_gradients(net);
    if (network_gradient(net, &window, &error))
        give_up(&error);
    return (seconds() - start) / (double)steps;
}

static void measure(const struct budget_case *c)
{
    bptt_model *model = make_model(c->cell);
    struct network plain, tight;
    int32_t *token = make_tokens(c->steps * c->batch + 1);
    double ratio[RUNS];
    int runs = c->steps > 100000 ? 3 : RUNS;
    open_network(&plain, model, c->plain_steps, c->batch, 0);
    size_t full = (size_t)(c->steps + 1) * plain.axis.record_bytes, budget = c->budget ? c->budget : (size_t)(c->share * (double)full);
    open_network(&tight, model, c->steps, c->batch, whole_budget(model, c->steps, c->batch, budget));
    run(&plain, c->plain_steps, token);
    for (int i = 0; i < runs; i++) {
        double base = 0, spent;
        int repeats = (int)(200000 / (c->plain_steps * c->batch)) + 1;
        for (int k = 0; k < repeats; k++)
            base += run(&plain, c->plain_steps, token) / repeats;
        spent = 0;
        repeats = (int)(200000 / (c->steps * c->batch)) + 1;
        for (int k = 0; k < repeats; k++)
            spent += run(&tight, c->steps, token) / repeats;
        ratio[i] = spent / base;
    }
    struct forecast cost = (schedule_start(&tight.schedule, c->steps, (struct random_stream){0}, 0), schedule_forecast(&tight.schedule));
    printf("%-6s %5ld %9ld %10.3f %9.2f %% %8ld %8ld %9.3f %9.3f %9.2f\n", c->cell, c->batch, c->steps, (double)budget / 1048576,
           100 * (double)budget / (double)full, tight.schedule.layout.rows, tight.schedule.layout.slots, cost.slow_down,
           median(ratio, runs), c->most);
    network_free(&plain);
    network_free(&tight);
    free(token);
    bptt_model_free(model);
}

/* ---- ten million steps, from files ---- */

static void write_tokens(const char *path, const int32_t *token, long count, long steps)
{
    FILE *file = fopen(path, "wb");
    char header[129];
    int length = snprintf(header, sizeof header, "%c%s%c%c%c%c{'descr': '<i4', 'fortran_order': False, 'shape': (%ld, 1), }", 0x93, "NUMPY", 1,
                          0, 118, 0, steps);
    memset(header + length, ' ', sizeof header - 2 - (size_t)length);
    header[127] = '\n';
    int good = file && fwrite(header, 1, 128, file) == 128;
    for (long left = steps; left > 0 && good; left -= count)
        good = fwrite(token, sizeof *token, (size_t)(left < count ? left : count), file) == (size_t)(left < count ? left : count);
    if (!file || fclose(file) || !good) {
        fprintf(stderr, "bench_budget: %s: cannot write\n", path);
        exit(1);
    }
}

static void run_long(const char *x, const char *y, const char *out)
{
    bptt_error error = {0};
    bptt_model *model = make_model("lstm");
    bptt_run_options options = bptt_run_defaults();
    bptt_gradient_files files = bptt_gradient_files_defaults();
    double loss;
    files.input = x;
    files.target = y;
    files.out = out;
    options.memory = 96 << 20;
    options.threads = 1;
    if (bptt_gradient_stream(model, &files, &loss, NULL, &options, &error))
        give_up(&error);
    bptt_model_free(model);
}

static double plain_seconds(void)
{
    enum { STEPS = 20000 };
    struct network plain;
    bptt_model *model = make_model("lstm");
    int32_t *token = make_tokens(STEPS + 1);
    double time[RUNS];
    open_network(&plain, model, STEPS, 1, 0);
    run(&plain, STEPS, token);
    for (int i = 0; i < RUNS; i++)
        time[i] = run(&plain, STEPS, token);
    network_free(&plain);
    free(token);
    bptt_model_free(model);
    return median(time, RUNS);
}

static void measure_long(void)
{
    const long steps = 10000000, count = 1 << 16;
    char folder[] = "/tmp/bptt-budget-XXXXXX", x[64], y[64], out[64];
    int32_t *token = make_tokens(count + 1);
    if (!mkdtemp(folder))
        exit(1);
    snprintf(x, sizeof x, "%s/x.npy", folder);
    snprintf(y, sizeof y, "%s/y.npy", folder);
    snprintf(out, sizeof out, "%s/g.safetensors", folder);
    write_tokens(x, token, count, steps);
    write_tokens(y, token + 1, count, steps);
    free(token);
    double before = plain_seconds(), start = seconds();
    struct rusage usage;
    int status;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        run_long(x, y, out);
        _exit(0);
    }
    if (child < 0 || wait4(child, &status, 0, &usage) != child || status)
        exit(1);
    double spent = (seconds() - start) / (double)steps, after = plain_seconds();
    printf("lstm, batch 1, %ld steps from files: largest resident %.1f MiB, %.2f times the time per step of an unbudgeted run of 20,000\n", steps,
           (double)usage.ru_maxrss / 1024, spent / (0.5 * (before + after)));
    unlink(x);
    unlink(y);
    unlink(out);
    rmdir(folder);
}

int main(int argc, char **argv)
{
    static const struct budget_case cases[] = {
        {"lstm", 1, 1000, 1000, 0, 0.05, 1.33},     {"lstm", 16, 1000, 1000, 0, 0.05, 1.33},
        {"gru", 1, 1000, 1000, 0, 0.05, 1.33},      {"lstm", 1, 1000000, 20000, 8 << 20, 0, 1.40},
        {"lstm", 1, 1000000, 20000, 1 << 20, 0, 1.80},
    };
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 1 && !strcmp(argv[1], "long")) {
        measure_long();
        return 0;
    }
    printf("%-6s %5s %9s %10s %11s %8s %8s %9s %9s %9s\n", "cell", "batch", "steps", "MiB", "of full", "rows", "kept", "predicted",
           "measured", "asked");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (argc < 2 || atoi(argv[1]) == (int)i)
            measure(&cases[i]);
    return 0;
}
