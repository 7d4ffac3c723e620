/* plan.c - bptt plan: where the memory of a run would go, what its schedule costs, and the schedule itself, before it starts. */
#include <bptt.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "json.h"
#include "kernels.h"
#include "options.h"
#include "say.h"

struct plan_values {
    bptt_train_config config;
    int64_t tokens;
    const char *svg;
    int list, json, quiet;
};
#define AT(field) offsetof(struct plan_values, field)

static const struct option_choice optimizers[] = {
    {"sgd", BPTT_SGD}, {"rmsprop", BPTT_RMSPROP}, {"adam", BPTT_ADAM}, {"adamw", BPTT_ADAMW}, {0}};

static const struct option options[] = {
    {"Model", "cell", OPTION_TEXT, AT(config.cell), "NAME|FILE",
     .help = "a cell that `bptt cells` lists, or a .cell file"},
    {"Model", "tokens", OPTION_COUNT, AT(tokens), "V", .help = "different symbols in the text", .low = 1, .high = 1e7},
    {"Model", "hidden", OPTION_COUNT, AT(config.hidden), "N", .help = "units of each layer", .low = 1, .high = 65536},
    {"Model", "layers", OPTION_COUNT, AT(config.layers), "N", .help = "layers", .low = 1, .high = 64},
    {"Model", "embedding", OPTION_COUNT, AT(config.embedding), "N", .help = "width of the embedding", .high = 65536,
     .zero = "as --hidden"},
    {"Model", "dim", OPTION_TEXT, AT(config.dims), "P=64,...", .help = "further sizes of the cell",
     .zero = "the cell's own"},
    {"Model", "tied", OPTION_FLAG, AT(config.tied), .help = "the output layer's weight is the embedding's"},
    {"Training", "batch", OPTION_COUNT, AT(config.trainer.batch), "N", .help = "rows side by side", .low = 1,
     .high = 65536},
    {"Training", "length", OPTION_COUNT, AT(config.trainer.length), "N", .help = "steps of a window", .low = 1,
     .high = 1e7},
    {"Training", "gradient", OPTION_TEXT, AT(config.trainer.gradient), "STRATEGY",
     .help = "full, segments:K, truncated:k1,k2, random:P, adaptive:D, rtrl, snap1, rflo or uoro; docs/strategies.md tells them apart"},
    {"Training", "precision", OPTION_CHOICE, AT(config.trainer.precision), .choices = training_precisions,
     .help = "bf16: weights and what is stored in bfloat16, half the bytes; sums and updates in single precision"},
    {"Training", "memory", OPTION_BYTES, AT(config.trainer.memory), "BYTES",
     .help = "of the whole process, as 64M; the gradient keeps its bits, a small budget costs forward steps",
     .zero = "no limit"},
    {"Training", "spill", OPTION_TEXT, AT(config.trainer.spill), "DIR", .help = "with --memory: kept states may lie on disk there",
     .zero = "none"},
    {"Training", "optimizer", OPTION_CHOICE, AT(config.trainer.optimizer), .choices = optimizers, .help = "the rule"},
    {"Training", "dropout", OPTION_NUMBER, AT(config.trainer.dropout), "P", .help = "drop values between layers",
     .high = 0.99, .zero = "none"},
    {"Training", "dropout-state", OPTION_NUMBER, AT(config.trainer.dropout_state), "P",
     .help = "drop values of the state", .high = 0.99, .zero = "none"},
    {"Training", "threads", OPTION_INT, AT(config.trainer.threads), "N", .help = "workers", .high = 1024,
     .zero = "one per processor"},
    {"Reports", "list", OPTION_FLAG, AT(list), .help = "every action of one window's schedule, a line each"},
    {"Reports", "svg", OPTION_TEXT, AT(svg), "FILE", .help = "the schedule as a picture in a file", .zero = "none"},
    {"Reports", "json", OPTION_FLAG, AT(json), .help = "bytes and steps as one JSON object"},
    {"Reports", "quiet", OPTION_FLAG, AT(quiet), .help = "the total alone, in bytes"},
    {0},
};

struct row { const char *name, *what; int64_t value; };

enum { BYTES = 12, STEPS = 9 };

static void byte_rows(const bptt_plan *plan, struct row rows[BYTES])
{
    const struct row all[BYTES] = {
        {"parameters", "the model's weights", plan->parameters},
        {"gradients", "their gradients", plan->gradients},
        {"optimizer", "the optimiser's moments", plan->optimizer},
        {"recorded", "what the backward pass needs of the forward one", plan->recorded},
        {"states", "states of the recorded steps, kept ones, and those carried between windows", plan->states},
        {"scratch", "working space", plan->scratch},
        {"packed", "weights in the kernels' order", plan->packed},
        {"data", "rows on their way from and to files", plan->data},
        {"influence", "forward mode: how the state depends on each parameter", plan->influence},
        {"program", "with a budget: what the process takes besides", plan->program},
        {"total", "", plan->total},
        {"disk", "kept states in --spill", plan->disk},
    };
    for (int i = 0; i < BYTES; i++)
        rows[i] = all[i];
}

static void step_rows(const bptt_plan *plan, struct row rows[STEPS])
{
    const struct row all[STEPS] = {
        {"steps", "steps of a window", plan->steps},
        {"rows", "steps that are recorded at once", plan->rows},
        {"kept", "states kept in memory", plan->kept},
        {"spilled", "states kept on disk", plan->spilled},
        {"advanced", "steps run forward and not recorded", plan->advanced},
        {"recorded_steps", "steps run forward and recorded", plan->recorded_steps},
        {"reversed", "steps run backward", plan->reversed},
        {"updates", "updates of the parameters", plan->updates},
        {"forward_steps", "forward steps in all", plan->advanced + plan->recorded_steps},
    };
    for (int i = 0; i < STEPS; i++)
        rows[i] = all[i];
}

static void show_json(const bptt_plan *plan, const bptt_model *model, int precision)
{
    struct emit emit = {.out = stdout};
    struct row bytes[BYTES], steps[STEPS];
    byte_rows(plan, bytes);
    step_rows(plan, steps);
    emit_open(&emit, NULL, '{');
    for (int i = 0; i < BYTES; i++)
        emit_whole(&emit, bytes[i].name, bytes[i].value);
    emit_open(&emit, "schedule", '{');
    for (int i = 0; i < STEPS; i++)
        emit_whole(&emit, steps[i].name, steps[i].value);
    emit_number(&emit, "slow_down", plan->slow_down);
    emit_close(&emit, '}');
    emit_kernels(&emit, model, precision);
    emit_whole(&emit, "threads", plan->threads);
    emit_whole(&emit, "scan_workers", plan->scan_workers);
    emit_flag(&emit, "scan_units", plan->scan_units);
    emit_close(&emit, '}');
}

static void show_text(const bptt_plan *plan, const bptt_model_info *info, const struct plan_values *values)
{
    struct row bytes[BYTES], steps[STEPS];
    byte_rows(plan, bytes);
    step_rows(plan, steps);
    printf("%s, %s parameters; windows of %lld steps and %lld rows; %s\n", info->cell_name, say_count(info->parameters).text,
           (long long)values->config.trainer.length, (long long)values->config.trainer.batch, values->config.trainer.gradient);
    for (int i = 0; i < BYTES; i++)
        if (bytes[i].value)
            printf("  %-14s %12s  %s\n", bytes[i].name, say_bytes(bytes[i].value).text, bytes[i].what);
    printf("one window:\n");
    for (int i = 0; i < STEPS; i++)
        if (steps[i].value)
            printf("  %-14s %12s  %s\n", steps[i].name, say_count(steps[i].value).text, steps[i].what);
    printf("  %-14s %11.2fx  against all recorded, by these steps (a backward one as two forward ones)\n", "time", plan->slow_down);
}

static void say_run(const bptt_model *model, int precision, const bptt_plan *plan)
{
    say_kernels(stdout, model, precision);
    say_scan(stdout, plan->threads, plan->scan_workers, plan->scan_units);
}

static int write_text(const char *path, const char *text, bptt_error *error)
{
    FILE *file = fopen(path, "w");
    int good = file && fputs(text, file) >= 0;
    if (file)
        good &= fclose(file) == 0;
    if (!good)
        snprintf(error->text, sizeof error->text, "%s: cannot write: %s", path, strerror(errno));
    return good ? BPTT_OK : (error->code = BPTT_ERROR_FILE);
}

static int write_picture(const bptt_model *model, const struct plan_values *values, bptt_error *error)
{
    char *text = NULL;
    if (!values->svg)
        return BPTT_OK;
    int status = bptt_trainer_schedule(model, &values->config.trainer, "svg", 0, &text, error);
    if (status == BPTT_OK)
        status = write_text(values->svg, text, error);
    bptt_free(text);
    return status;
}

static int show_schedule(const bptt_model *model, const struct plan_values *values, bptt_error *error)
{
    enum { COLUMNS = 78 };
    char *text = NULL;
    int status = bptt_trainer_schedule(model, &values->config.trainer, values->list ? "list" : "picture", COLUMNS, &text, error);
    if (text)
        printf("\n%s", text);
    bptt_free(text);
    return status;
}

static int show(const bptt_model *model, const bptt_plan *plan, const bptt_model_info *info, const struct plan_values *values,
                bptt_error *error)
{
    int status = write_picture(model, values, error);
    if (status != BPTT_OK)
        return status;
    if (values->json)
        show_json(plan, model, values->config.trainer.precision);
    else if (values->quiet)
        printf("%lld\n", (long long)plan->total);
    else
        show_text(plan, info, values);
    if (!values->json && !values->quiet)
        say_run(model, values->config.trainer.precision, plan);
    return values->json || values->quiet ? status : show_schedule(model, values, error);
}

static bptt_model_config model_config(const struct plan_values *values, const bptt_cell *cell)
{
    bptt_model_config config = bptt_model_defaults();
    config.cell = cell;
    config.vocabulary = values->tokens;
    config.inputs = values->config.embedding;
    config.hidden = values->config.hidden;
    config.layers = values->config.layers;
    config.loss = BPTT_CROSS_ENTROPY;
    config.head = 1;
    config.tied = values->config.tied;
    config.dims = values->config.dims;
    return config;
}

static int plan_run(const struct command *command, int argc, char **argv)
{
    struct plan_values values = {.config = bptt_train_defaults(), .tokens = 256};
    struct parsed parsed = options_parse(command, argc, argv, &values);
    if (parsed.stop)
        return parsed.status;
    bptt_error error = {0};
    bptt_cell *cell = NULL;
    bptt_model *model = NULL;
    bptt_model_info info = {0};
    bptt_plan plan = {0};
    int status = bptt_cell_open(values.config.cell, &cell, &error);
    if (status == BPTT_OK) {
        bptt_model_config config = model_config(&values, cell);
        status = bptt_model_new(&config, &model, &error);
    }
    if (status == BPTT_OK)
        status = bptt_model_describe(model, &info, &error);
    if (status == BPTT_OK)
        status = bptt_trainer_plan(model, &values.config.trainer, &plan, &error);
    if (status == BPTT_OK)
        status = show(model, &plan, &info, &values, &error);
    bptt_model_free(model);
    bptt_cell_free(cell);
    return status == BPTT_OK ? STATUS_DONE : say_error(command, &error);
}

const struct command plan_command = {
    .name = "plan",
    .arguments = "",
    .summary = "memory, time and schedule of a run, before it starts",
    .about = "Where the memory of a training run with these options would go, how many steps its schedule takes, and a picture "
             "of it: time downwards, steps of the window to the right.",
    .examples = "  bptt plan --hidden 1024 --layers 2 --length 500\n"
                "  bptt plan --hidden 128 --batch 1 --length 1M --memory 24M\n"
                "  bptt plan --length 60 --gradient truncated:10,30 --list\n",
    .options = options,
    .run = plan_run,
};
