/* plan.c - bptt plan: where the memory of a training run would go, before it starts. */
#include <bptt.h>
#include <stddef.h>
#include <stdio.h>

#include "commands.h"
#include "json.h"
#include "options.h"
#include "say.h"

struct plan_values {
    bptt_train_config config;
    int64_t tokens;
    int json, quiet;
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
     .help = "how the gradient is computed: full"},
    {"Training", "optimizer", OPTION_CHOICE, AT(config.trainer.optimizer), .choices = optimizers, .help = "the rule"},
    {"Training", "dropout", OPTION_NUMBER, AT(config.trainer.dropout), "P", .help = "drop values between layers",
     .high = 0.99, .zero = "none"},
    {"Training", "dropout-state", OPTION_NUMBER, AT(config.trainer.dropout_state), "P",
     .help = "drop values of the state", .high = 0.99, .zero = "none"},
    {"Training", "threads", OPTION_INT, AT(config.trainer.threads), "N", .help = "workers", .high = 1024,
     .zero = "one per processor"},
    {"Reports", "json", OPTION_FLAG, AT(json), .help = "the bytes as one JSON object"},
    {"Reports", "quiet", OPTION_FLAG, AT(quiet), .help = "the total alone, in bytes"},
    {0},
};

static void show(const bptt_plan *plan, const bptt_model_info *info, const struct plan_values *values)
{
    const struct { const char *name, *what; int64_t bytes; } rows[] = {
        {"parameters", "the model's weights", plan->parameters},
        {"gradients", "their gradients", plan->gradients},
        {"optimizer", "the optimiser's moments", plan->optimizer},
        {"recorded", "what the backward pass needs of the forward one", plan->recorded},
        {"states", "states kept at the edges of windows", plan->states},
        {"scratch", "working space", plan->scratch},
        {"packed", "weights in the kernels' order", plan->packed},
        {"total", "", plan->total},
    };
    enum { ROWS = sizeof rows / sizeof rows[0] };
    struct emit emit = {.out = stdout};
    if (values->json) {
        emit_open(&emit, NULL, '{');
        for (int i = 0; i < ROWS; i++)
            emit_whole(&emit, rows[i].name, rows[i].bytes);
        emit_close(&emit, '}');
    } else if (values->quiet) {
        printf("%lld\n", (long long)plan->total);
    } else {
        printf("%s, %s parameters; windows of %lld steps and %lld rows\n", info->cell_name,
               say_count(info->parameters).text, (long long)values->config.trainer.length,
               (long long)values->config.trainer.batch);
        for (int i = 0; i < ROWS; i++)
            printf("  %-12s %12s  %s\n", rows[i].name, say_bytes(rows[i].bytes).text, rows[i].what);
    }
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
        show(&plan, &info, &values);
    bptt_model_free(model);
    bptt_cell_free(cell);
    return status == BPTT_OK ? STATUS_DONE : say_error(command, &error);
}

const struct command plan_command = {
    .name = "plan",
    .arguments = "",
    .summary = "the memory of a training run, before it starts",
    .about = "Where the memory of a training run with these options would go.",
    .examples = "  bptt plan --hidden 1024 --layers 2 --length 500\n",
    .options = options,
    .run = plan_run,
};
