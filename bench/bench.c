/* bench.c - bptt beside its peers: oneDNN (C interface), PyTorch (a process of its own), naive loops. One row per case. Results
 * are compared before anything is timed; contenders take turns, and medians count. Speeds stand beside the peak, and times
 * beside the roof, that the same run measures. Run it from the top of the sources, on a quiet machine.
 *
 *     build/bench/bench [--cases PATTERN] [--threads 1,2] [--peers onednn,torch,naive] [--seconds S] [--csv FILE] [--quick]
 *
 *     --cases    only these: gradient/CELL-H-B-T, zoo/CELL-H-B-T, stream/CELL-H, text/CELL-H-B-T, bf16/CELL-H-B-T and
 *                bf16/stream-CELL-H (beside single precision), budget/CELL-H-B-T-SHARE (of the memory, beside all of it); a shell
 *                pattern, in which * stands for slashes too: '*lstm-512*'
 *     --peers    only these, "none" for none; default: all that are present (for oneDNN: present when bench was built)
 *     --seconds  to spend on each contender of a case (2); --quick: 0.3
 *     --csv      write the rows as CSV, with version and machine in each; one line a case and contender */
#include <bptt.h>
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contest.h"
#include "machine.h"

enum { MOST = 4, MOST_THREADS = 8, MOST_RESULTS = 256 };

struct options { const char *cases, *csv, *peers; int threads[MOST_THREADS], thread_counts; double seconds; };

/* A peer's time and ours, of one row of gradients. */
struct result { char name[48]; int threads; const char *peer; double seconds, ours; };

struct bench {
    struct options options;
    struct machine machine;
    struct torch *torch;
    FILE *csv;
    struct result result[MOST_RESULTS];
    int results;
};

/* A case as it is reported. Its contenders' times come from the race; ours is the first. */
struct row {
    const char *name;
    int threads;
    double work;                           /* of one run, in what `unit` counts; "" for none */
    const char *unit;
    double operations;                     /* of one run, 0: nothing that the peak would bound */
    double roof;                           /* seconds that a run must take here, and what stands in its way */
    const char *roof_name;
    double of_lstm;                        /* the zoo: speed as a part of lstm's; 0: none */
    struct contender contender[MOST];
    int count;
};

/* ---- reporting ---- */

/* A rate as GFLOP/s, GB/s or plain. */
static double in_units(double rate, const char *unit)
{
    return unit[0] == 'G' ? 1e-9 * rate : rate;
}

static void print_peer(const struct row *row, const double *seconds, const char *name)
{
    for (int i = 1; i < row->count; i++)
        if (!strcmp(row->contender[i].name, name)) {
            printf(" %10.4g %6.2f", 1e3 * seconds[i], seconds[i] / seconds[0]);
            return;
        }
    printf(" %10s %6s", "absent", "");
}

static void print_beside_itself(const struct row *row, const double *seconds)
{
    const struct contender *c = row->contender;
    printf(" %.2f of its speed in full (%.4g ms)", seconds[1] / seconds[0], 1e3 * seconds[1]);
    if (c[0].bytes > 0)
        printf(", %.1f of %.1f MiB", c[0].bytes / 1048576, c[1].bytes / 1048576);
}

static void print_row(const struct bench *bench, const struct row *row, const double *seconds)
{
    const double peak = bench->machine.peak[row->threads > 1];
    printf("%-28s %3d %10.4g %10.4g %-8s", row->name, row->threads, 1e3 * seconds[0],
           in_units(row->work / seconds[0], row->unit), row->unit);
    if (row->operations > 0)
        printf(" %4.0f %%", 100 * row->operations / seconds[0] / peak);
    else
        printf(" %6s", "");
    if (row->roof > 0)
        printf(" %-5s %3.0f %%", row->roof_name, 100 * row->roof / seconds[0]);
    else
        printf(" %11s", "");
    if (!strcmp(row->contender[row->count - 1].name, "itself")) {
        print_beside_itself(row, seconds);
    } else {
        print_peer(row, seconds, "oneDNN");
        print_peer(row, seconds, "PyTorch");
        print_peer(row, seconds, "naive");
    }
    printf("\n");
    fflush(stdout);
}

static void print_heading(void)
{
    printf("%-28s %3s %10s %10s %-8s %6s %11s %10s %6s %10s %6s %10s %6s\n", "case", "thr", "ms", "speed", "", "peak",
           "of roof", "oneDNN ms", "ratio", "PyTorch ms", "ratio", "naive ms", "ratio");
}

static void write_row(const struct bench *bench, const struct row *row, const double *seconds)
{
    const struct machine *m = &bench->machine;
    double peak = m->peak[row->threads > 1];
    for (int i = 0; i < row->count; i++) {
        fprintf(bench->csv, "%s,\"%s\",%s,%.1f,%s,%d,%s,", bptt_version(), m->name, m->isa, 1e-9 * peak, row->name,
                row->threads, row->contender[i].name);
        fprintf(bench->csv, "%.5g,%.5g,%s,%.3f,%s,%.3f,%.3f,%.0f\n", 1e3 * seconds[i], in_units(row->work / seconds[i], row->unit),
                row->unit, row->operations / seconds[i] / peak, row->roof_name ? row->roof_name : "", row->roof / seconds[i],
                row->of_lstm > 0 ? row->of_lstm : seconds[i] / seconds[0], row->contender[i].bytes);
    }
    fflush(bench->csv);
}

/* Races the row's contenders, reports, closes them; their times go out. */
static void finish(struct bench *bench, struct row *row, double *seconds)
{
    contest_race(row->contender, row->count, bench->options.seconds, seconds);
    machine_remeasure(&bench->machine);
    print_row(bench, row, seconds);
    if (bench->csv)
        write_row(bench, row, seconds);
    for (int i = 0; i < row->count; i++)
        if (row->contender[i].close)
            row->contender[i].close(row->contender[i].state);
}

static int wanted(const struct bench *bench, const char *name)
{
    return !fnmatch(bench->options.cases, name, 0);
}

static int peer_wanted(const struct bench *bench, const char *peer)
{
    return !!strstr(bench->options.peers, peer);
}

/* ---- the summary of gradients ---- */

static void remember(struct bench *bench, const struct row *row, const double *seconds)
{
    for (int i = 1; i < row->count && bench->results < MOST_RESULTS; i++) {
        struct result *r = &bench->result[bench->results++];
        *r = (struct result){.threads = row->threads, .peer = row->contender[i].name, .seconds = seconds[i],
                             .ours = seconds[0]};
        snprintf(r->name, sizeof r->name, "%s", row->name);
    }
}

/* The same case and peer, each side with the number of threads that suits it. */
static struct result best_of_threads(const struct bench *bench, const struct result *one)
{
    struct result best = *one;
    for (const struct result *r = bench->result; r < bench->result + bench->results; r++) {
        if (strcmp(r->name, one->name) || strcmp(r->peer, one->peer))
            continue;
        best.seconds = r->seconds < best.seconds ? r->seconds : best.seconds;
        best.ours = r->ours < best.ours ? r->ours : best.ours;
    }
    return best;
}

/* threads 0: the better number on each side. */
static void summarise(const struct bench *bench, const char *peer, int threads)
{
    double sum = 0, least = INFINITY;
    const char *where = "";
    int count = 0;
    for (const struct result *r = bench->result; r < bench->result + bench->results; r++) {
        struct result taken = threads ? *r : best_of_threads(bench, r);
        if (strcmp(r->peer, peer) || r->threads != (threads ? threads : bench->options.threads[0]))
            continue;
        double ratio = taken.seconds / taken.ours;
        sum += log(ratio);
        where = ratio < least ? r->name : where;
        least = ratio < least ? ratio : least;
        count++;
    }
    if (count)
        printf("# gradients beside %s, %s: geometric mean %.2f over %d cases, least %.2f at %s\n", peer,
               threads == 1 ? "1 thread" : threads ? "2 threads" : "best of threads", exp(sum / count), count, least, where);
}

static void summarise_all(const struct bench *bench)
{
    static const char *const peers[] = {"oneDNN", "PyTorch"};
    for (int i = 0; i < 2; i++)
        for (int threads = 0; threads <= 2; threads++)
            summarise(bench, peers[i], threads);
}

/* ---- gradients ---- */

/* Multiply-adds of the matrices counted as two: forward once, backward once for the inputs and once for the weights. */
static double operations(const struct problem *p, long elements)
{
    return 6.0 * (double)elements * (double)p->batch * (double)p->steps;
}

/* What must be read again at each step comes from the nearest memory that holds it. */
static enum level level_of(const struct machine *machine, double bytes)
{
    int level = LEVEL_L1;
    while (level < LEVEL_DRAM && bytes > 2 * (double)machine->bytes[level])
        level++;
    return (enum level)level;
}

/* A third of the operations are products with the state, which cannot be gathered over time: those read the recurrent matrix
 * once a step and direction, each thread its share. The rest is bounded by the peak alone. */
static void find_roof(const struct bench *bench, struct row *row, double matrix_bytes, long steps)
{
    double peak = bench->machine.peak[row->threads > 1], share = matrix_bytes / row->threads;
    enum level level = level_of(&bench->machine, share);
    double product = row->operations / 3 / peak, reading = 2 * (double)steps * share / bench->machine.bandwidth[level];
    row->roof = 2 * row->operations / 3 / peak + (product > reading ? product : reading);
    row->roof_name = product > reading ? "peak" : level_name[level];
}

/* The naive loop runs as many of the steps as take about a second, and ours as many to be compared with it. */
static void add_naive(struct row *row, const struct problem *problem, struct problem *shorter)
{
    struct contender ours, *naive = &row->contender[row->count];
    long steps = (long)((double)problem->steps * 5e8 / row->operations);
    *shorter = *problem;
    shorter->steps = steps < 1 ? 1 : steps < problem->steps ? steps : problem->steps;
    ours_open(&ours, shorter);
    row->count += naive_open(naive, shorter);
    contest_check(shorter, &ours, naive);
    ours.close(ours.state);
    naive->share = (double)shorter->steps / (double)problem->steps;
}

static void run_gradient(struct bench *bench, const char *name, struct problem *problem)
{
    struct row row = {.name = name, .threads = problem->threads, .unit = "GFLOP/s"};
    struct problem shorter;
    double seconds[MOST];
    long matrix = gate_count(problem) * problem->hidden * problem->hidden;
    row.work = row.operations = operations(problem, 2 * matrix);
    find_roof(bench, &row, 4.0 * (double)matrix, problem->steps);
    row.count = ours_open(row.contender, problem);
    if (peer_wanted(bench, "onednn"))
        row.count += onednn_open(&row.contender[row.count], problem);
    if (peer_wanted(bench, "torch"))
        row.count += torch_open(&row.contender[row.count], bench->torch, problem);
    for (int i = 1; i < row.count; i++)
        contest_check(problem, &row.contender[0], &row.contender[i]);
    if (peer_wanted(bench, "naive") && problem->threads == 1)
        add_naive(&row, problem, &shorter);
    finish(bench, &row, seconds);
    remember(bench, &row, seconds);
}

static void run_gradients(struct bench *bench)
{
    static const struct { long hidden, batch, steps; } size[] = {
        {32, 1, 1000}, {128, 1, 1000}, {64, 32, 100}, {256, 32, 100}, {512, 32, 100}, {512, 64, 256}, {1024, 32, 64},
    };
    static const char *const cells[] = {"rnn", "lstm", "gru"};
    for (size_t s = 0; s < sizeof size / sizeof *size; s++)
        for (int c = 0; c < 3; c++)
            for (int t = 0; t < bench->options.thread_counts; t++) {
                char name[80];
                snprintf(name, sizeof name, "gradient/%s-%ld-%ld-%ld", cells[c], size[s].hidden, size[s].batch, size[s].steps);
                if (!wanted(bench, name))
                    continue;
                struct problem problem = problem_make(cells[c], size[s].hidden, size[s].batch, size[s].steps,
                                                      bench->options.threads[t]);
                run_gradient(bench, name, &problem);
                problem_free(&problem);
            }
}

/* ---- the zoo: every cell beside lstm, on one thread ---- */

static bptt_cell_info describe(const char *name, long hidden)
{
    bptt_error error = {0};
    bptt_cell *cell;
    bptt_cell_info info;
    if (bptt_cell_open(name, &cell, &error) || bptt_cell_describe(cell, hidden, hidden, &info, &error)) {
        fprintf(stderr, "bench: %s\n", error.text);
        exit(1);
    }
    bptt_cell_free(cell);
    return info;
}

/* Those of the equations, a matrix that is used twice counted twice; three times as many with the gradient. */
static double window_operations(const struct problem *p, const bptt_cell_info *info)
{
    return 3.0 * (double)info->flops * (double)(p->batch * p->steps);
}

/* Values that a cell without a recurrent matrix moves through memory at least: inputs, outputs and their gradients once, what
 * is recorded out and in again. */
static double bytes_moved(const struct problem *p, const bptt_cell_info *info)
{
    return 4.0 * (double)(p->batch * p->steps) * (double)(4 * p->hidden + 2 * info->recorded);
}

static void run_zoo_cell(struct bench *bench, const char *name, struct problem *cell, struct problem *lstm)
{
    struct row row = {.name = name, .threads = 1, .unit = "GFLOP/s"};
    struct contender other;
    double seconds[2];
    bptt_cell_info info = describe(cell->cell, cell->hidden);
    ours_open(&row.contender[0], cell);
    ours_open(&other, lstm);
    row.work = window_operations(cell, &info);
    contest_race((struct contender[]){row.contender[0], other}, 2, bench->options.seconds, seconds);
    bptt_cell_info of_lstm = describe(lstm->cell, lstm->hidden);
    double rate = row.work / seconds[0], lstm_rate = window_operations(lstm, &of_lstm) / seconds[1];
    printf("%-28s %3d %10.4g %10.4g %-8s %4.0f %% %6.2f of lstm's", name, 1, 1e3 * seconds[0], 1e-9 * rate, row.unit,
           100 * rate / bench->machine.peak[0], rate / lstm_rate);
    if (info.elementwise_recurrence)
        printf(" %8.2f GB/s moved", 1e-9 * bytes_moved(cell, &info) / seconds[0]);
    printf("\n");
    row.count = 1;
    row.operations = row.work;
    row.of_lstm = rate / lstm_rate;
    if (bench->csv)
        write_row(bench, &row, seconds);
    row.contender[0].close(row.contender[0].state);
    other.close(other.state);
}

static void run_zoo(struct bench *bench)
{
    static const struct { long hidden, batch, steps; } size[] = {{128, 16, 100}, {512, 32, 100}};
    for (size_t s = 0; s < sizeof size / sizeof *size; s++)
        for (size_t i = 0; i < bptt_cell_count(); i++) {
            char name[96];
            snprintf(name, sizeof name, "zoo/%s-%ld-%ld-%ld", bptt_cell_name(i), size[s].hidden, size[s].batch, size[s].steps);
            if (!wanted(bench, name))
                continue;
            struct problem cell = problem_make(bptt_cell_name(i), size[s].hidden, size[s].batch, size[s].steps, 1);
            struct problem lstm = problem_make("lstm", size[s].hidden, size[s].batch, size[s].steps, 1);
            run_zoo_cell(bench, name, &cell, &lstm);
            problem_free(&cell);
            problem_free(&lstm);
        }
}

/* ---- streaming ---- */

static void run_stream(struct bench *bench, const char *name, const char *cell, long hidden)
{
    char command[40];
    struct problem problem = problem_make(cell, hidden, 1, 1, 1);
    struct row row = {.name = name, .threads = 1, .unit = "GB/s"};
    row.work = 8.0 * (double)(gate_count(&problem) * hidden * hidden);
    enum level level = level_of(&bench->machine, row.work);
    row.roof = row.work / bench->machine.bandwidth[level];
    row.roof_name = level_name[level];
    problem_zero_states(&problem);
    row.count = ours_open_stream(row.contender, &problem);
    if (peer_wanted(bench, "onednn"))
        row.count += onednn_open_forward(&row.contender[row.count], &problem);
    if (row.count > 1)
        contest_check(&problem, &row.contender[0], &row.contender[1]);
    snprintf(command, sizeof command, "stream %s %ld", cell, hidden);
    if (peer_wanted(bench, "torch"))
        row.count += torch_open_other(&row.contender[row.count], bench->torch, command);
    finish(bench, &row, (double[MOST]){0});
    problem_free(&problem);
}

static void run_streams(struct bench *bench)
{
    static const char *const cells[] = {"lstm", "gru"};
    static const long hidden[] = {32, 128, 512};
    for (int c = 0; c < 2; c++)
        for (int h = 0; h < 3; h++) {
            char name[40];
            snprintf(name, sizeof name, "stream/%s-%ld", cells[c], hidden[h]);
            if (wanted(bench, name))
                run_stream(bench, name, cells[c], hidden[h]);
        }
}

/* ---- text ---- */

static void run_text(struct bench *bench)
{
    const long hidden = 128, batch = 32, steps = 100, symbols = 65;
    for (int t = 0; t < bench->options.thread_counts && wanted(bench, "text/lstm-128-32-100"); t++) {
        struct row row = {.name = "text/lstm-128-32-100", .threads = bench->options.threads[t], .unit = "chars/s"};
        char command[80];
        row.work = (double)(batch * steps);
        row.count = ours_open_text(row.contender, hidden, batch, steps, symbols, row.threads);
        snprintf(command, sizeof command, "text %ld %ld %ld %ld %d", hidden, batch, steps, symbols, row.threads);
        if (peer_wanted(bench, "torch"))
            row.count += torch_open_other(&row.contender[row.count], bench->torch, command);
        finish(bench, &row, (double[MOST]){0});
    }
}

/* ---- bptt beside itself: in bfloat16, and with a part of the memory ---- */

/* The same problem without what makes it special. */
static struct problem in_full(const struct problem *problem)
{
    struct problem full = *problem;
    full.precision = 0;
    full.record_share = 0;
    return full;
}

static void run_beside_itself(struct bench *bench, const char *name, struct problem *problem)
{
    struct row row = {.name = name, .threads = problem->threads, .unit = "GFLOP/s"};
    struct problem full = in_full(problem);
    row.work = row.operations = operations(problem, 2 * gate_count(problem) * problem->hidden * problem->hidden);
    row.count = ours_open(&row.contender[0], problem) + ours_open(&row.contender[1], &full);
    row.contender[1].name = "itself";
    contest_check(problem, &row.contender[0], &row.contender[1]);
    finish(bench, &row, (double[MOST]){0});
    problem_free(problem);
}

static void run_stream_beside_itself(struct bench *bench, const char *name, struct problem *problem)
{
    struct row row = {.name = name, .threads = 1, .unit = "GB/s"};
    struct problem full = in_full(problem);
    row.work = 4.0 * (double)(gate_count(problem) * problem->hidden * problem->hidden);
    problem_zero_states(problem);
    row.count = ours_open_stream(&row.contender[0], problem) + ours_open_stream(&row.contender[1], &full);
    row.contender[1].name = "itself";
    contest_check(problem, &row.contender[0], &row.contender[1]);
    finish(bench, &row, (double[MOST]){0});
    problem_free(problem);
}

static void run_bfloat16(struct bench *bench)
{
    static const struct { const char *cell; long hidden, batch, steps; } size[] = {
        {"lstm", 128, 1, 1000}, {"lstm", 512, 32, 100}, {"lstm", 512, 64, 256}, {"gru", 512, 64, 256}};
    static const long streams[] = {32, 128, 512};
    char name[80];
    for (size_t s = 0; s < sizeof size / sizeof *size; s++) {
        snprintf(name, sizeof name, "bf16/%s-%ld-%ld-%ld", size[s].cell, size[s].hidden, size[s].batch, size[s].steps);
        for (int t = 0; t < bench->options.thread_counts && wanted(bench, name); t++) {
            struct problem problem = problem_make(size[s].cell, size[s].hidden, size[s].batch, size[s].steps, bench->options.threads[t]);
            problem.precision = BPTT_BF16;
            run_beside_itself(bench, name, &problem);
        }
    }
    for (size_t s = 0; s < sizeof streams / sizeof *streams; s++) {
        snprintf(name, sizeof name, "bf16/stream-lstm-%ld", streams[s]);
        struct problem problem = problem_make("lstm", streams[s], 1, 1, 1);
        problem.precision = BPTT_BF16;
        if (wanted(bench, name))
            run_stream_beside_itself(bench, name, &problem);
        else
            problem_free(&problem);
    }
}

static void run_budgets(struct bench *bench)
{
    static const long batch[] = {1, 16};
    static const int percent[] = {50, 20, 10, 5};
    for (int b = 0; b < 2; b++)
        for (int i = 0; i < 4; i++) {
            char name[80];
            snprintf(name, sizeof name, "budget/lstm-128-%ld-1000-%d%%", batch[b], percent[i]);
            if (!wanted(bench, name))
                continue;
            struct problem problem = problem_make("lstm", 128, batch[b], 1000, 1);
            problem.record_share = 0.01 * percent[i];
            run_beside_itself(bench, name, &problem);
        }
}

/* ---- the program ---- */

static void print_machine(const struct bench *bench)
{
    const struct machine *m = &bench->machine;
    const char *torch = torch_version(bench->torch);
    printf("# %s, %s, bptt %s; oneDNN %s, PyTorch %s\n", m->name, m->isa, bptt_version(),
           *onednn_version() ? onednn_version() : "absent", *torch ? torch : "absent");
    printf("# peak %.1f GFLOP/s on one thread, %.1f on two; reading:", 1e-9 * m->peak[0], 1e-9 * m->peak[1]);
    for (int i = 0; i < LEVELS; i++)
        printf(" %s %.1f", level_name[i], 1e-9 * m->bandwidth[i]);
    printf(" GB/s, DRAM on two threads %.1f\n", 1e-9 * m->bandwidth_two);
    double load;
    if (getloadavg(&load, 1) == 1)
        printf("# load before this run: %.2f%s\n", load, load > 0.5 ? "; figures from a busy machine are worth little" : "");
}

static int usage(void)
{
    fputs("usage: bench [--cases PATTERN] [--threads 1,2] [--peers onednn,torch,naive] [--seconds S] [--csv FILE] [--quick]\n",
          stderr);
    return 2;
}

static int read_threads(struct options *options, const char *text)
{
    options->thread_counts = 0;
    for (char *end; *text; text = *end == ',' ? end + 1 : end) {
        long threads = strtol(text, &end, 10);
        if (end == text || (*end && *end != ',') || threads < 1 || threads > 1024 || options->thread_counts == MOST_THREADS)
            return 0;
        options->threads[options->thread_counts++] = (int)threads;
    }
    return options->thread_counts > 0;
}

static int read_option(struct options *options, const char *name, const char *value)
{
    if (!strcmp(name, "--cases"))
        options->cases = value;
    else if (!strcmp(name, "--csv"))
        options->csv = value;
    else if (!strcmp(name, "--peers"))
        options->peers = value;
    else if (!strcmp(name, "--seconds"))
        return (options->seconds = atof(value)) > 0;
    else
        return !strcmp(name, "--threads") && read_threads(options, value);
    return 1;
}

static int read_options(struct options *options, int argc, char **argv)
{
    *options = (struct options){.cases = "*", .peers = "onednn,torch,naive", .threads = {1, 2}, .thread_counts = 2,
                                .seconds = 2};
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--quick"))
            options->seconds = 0.3;
        else if (i + 1 == argc || !read_option(options, argv[i], argv[i + 1]))
            return 0;
        else
            i++;
    }
    return 1;
}

static FILE *open_csv(const char *path)
{
    FILE *file = fopen(path, "w");
    if (!file) {
        fprintf(stderr, "bench: %s: cannot be written\n", path);
        exit(1);
    }
    fputs("version,machine,isa,peak_gflops,case,threads,contender,ms,speed,unit,of_peak,roof,of_roof,ratio,bytes\n", file);
    return file;
}

int main(int argc, char **argv)
{
    struct bench bench = {0};
    if (!read_options(&bench.options, argc, argv))
        return usage();
    if (bench.options.csv)
        bench.csv = open_csv(bench.options.csv);
    if (peer_wanted(&bench, "torch"))
        bench.torch = torch_start();
    machine_measure(&bench.machine);
    print_machine(&bench);
    print_heading();
    run_gradients(&bench);
    summarise_all(&bench);
    run_zoo(&bench);
    run_streams(&bench);
    run_text(&bench);
    run_bfloat16(&bench);
    run_budgets(&bench);
    torch_stop(bench.torch);
    return bench.csv && fclose(bench.csv);
}
