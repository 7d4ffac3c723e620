/* init.c - bptt init: an untrained model file, for `run` and `grad` and to begin from elsewhere. */
#include <bptt.h>
#include <stddef.h>
#include <stdio.h>

#include "commands.h"
#include "json.h"
#include "options.h"
#include "say.h"

struct init_values {
    bptt_model_config config;
    const char *cell, *out;
    int json, quiet;
};
#define AT(field) offsetof(struct init_values, field)

static const struct option_choice losses[] = {{"mse", BPTT_MSE}, {"cross-entropy", BPTT_CROSS_ENTROPY}, {0}};
static const struct option_choice heads[] = {{"linear", 1}, {"none", 0}, {0}};

static const struct option options[] = {
    {"Model", "cell", OPTION_TEXT, AT(cell), "NAME|FILE", .help = "a cell that `bptt cells` lists, or a .cell file"},
    {"Model", "inputs", OPTION_COUNT, AT(config.inputs), "N",
     .help = "features per step; with --tokens the width of the embedding", .high = 1e6,
     .zero = "with --tokens: as --hidden"},
    {"Model", "tokens", OPTION_COUNT, AT(config.vocabulary), "V", .help = "inputs are tokens 0 to V - 1", .high = 1e7,
     .zero = "inputs are numbers"},
    {"Model", "hidden", OPTION_COUNT, AT(config.hidden), "N", .help = "units of each layer", .low = 1, .high = 65536},
    {"Model", "layers", OPTION_COUNT, AT(config.layers), "N", .help = "layers", .low = 1, .high = 64},
    {"Model", "outputs", OPTION_COUNT, AT(config.outputs), "N", .help = "outputs per step", .high = 1e7,
     .zero = "as --tokens"},
    {"Model", "loss", OPTION_CHOICE, AT(config.loss), .choices = losses, .help = "what training makes small"},
    {"Model", "head", OPTION_CHOICE, AT(config.head), .choices = heads,
     .help = "none: the top layer's output is the model's"},
    {"Model", "dim", OPTION_TEXT, AT(config.dims), "P=64,...",
     .help = "further sizes of the cell", .zero = "the cell's own"},
    {"Start", "tied", OPTION_FLAG, AT(config.tied), .help = "the output layer's weight is the embedding's"},
    {"Start", "orthogonal", OPTION_FLAG, AT(config.orthogonal), .help = "recurrent matrices start orthogonal"},
    {"Start", "forget-bias", OPTION_NUMBER, AT(config.forget_bias), "X",
     .help = "added to the start of the forget gate's bias",
     .low = -100, .high = 100},
    {"Start", "seed", OPTION_SEED, AT(config.seed), "N", .help = "of the random start"},
    {"Output", "out", OPTION_TEXT, AT(out), "FILE", .help = "the model file"},
    {"Output", "json", OPTION_FLAG, AT(json), .help = "a description of the model as one JSON object"},
    {"Output", "quiet", OPTION_FLAG, AT(quiet), .help = "errors alone"},
    {0},
};

static void emit_model(const bptt_model_info *info, const char *out)
{
    struct emit emit = {.out = stdout};
    emit_open(&emit, NULL, '{');
    emit_text(&emit, "out", out);
    emit_text(&emit, "cell", info->cell_name);
    emit_text(&emit, "kernel", info->kernel);
    emit_whole(&emit, "inputs", info->inputs);
    emit_whole(&emit, "tokens", info->vocabulary);
    emit_whole(&emit, "hidden", info->hidden);
    emit_whole(&emit, "layers", info->layers);
    emit_whole(&emit, "outputs", info->outputs);
    emit_whole(&emit, "parameters", info->parameters);
    emit_text(&emit, "loss", info->loss == BPTT_MSE ? "mse" : "cross-entropy");
    emit_text(&emit, "head", info->head ? "linear" : "none");
    emit_close(&emit, '}');
}

static int check_sizes(const struct command *command, const struct init_values *values)
{
    const bptt_model_config *config = &values->config;
    if (!values->out)
        return usage_error(command, "needs --out FILE");
    if (config->inputs == 0 && config->vocabulary == 0)
        return usage_error(command, "needs --inputs N (features per step) or --tokens V");
    if (config->outputs == 0 && config->vocabulary == 0 && config->head)
        return usage_error(command, "needs --outputs N, or --head none");
    return STATUS_DONE;
}

static int make(struct init_values *values, bptt_error *error)
{
    bptt_cell *cell = NULL;
    bptt_model *model = NULL;
    bptt_model_info info = {0};
    int status = bptt_cell_open(values->cell, &cell, error);
    values->config.cell = cell;
    if (status == BPTT_OK)
        status = bptt_model_new(&values->config, &model, error);
    if (status == BPTT_OK)
        status = bptt_model_describe(model, &info, error);
    if (status == BPTT_OK)
        status = bptt_model_save(model, values->out, error);
    if (status == BPTT_OK && values->json)
        emit_model(&info, values->out);
    else if (status == BPTT_OK && !values->quiet)
        printf("wrote %s: %s, %lld %s of %lld, %s parameters\n", values->out, info.cell_name, (long long)info.layers,
               info.layers == 1 ? "layer" : "layers", (long long)info.hidden, say_count(info.parameters).text);
    bptt_model_free(model);
    bptt_cell_free(cell);
    return status;
}

static int init(const struct command *command, int argc, char **argv)
{
    struct init_values values = {.config = bptt_model_defaults(), .cell = bptt_train_defaults().cell};
    struct parsed parsed = options_parse(command, argc, argv, &values);
    if (parsed.stop)
        return parsed.status;
    int status = check_sizes(command, &values);
    if (status != STATUS_DONE)
        return status;
    bptt_error error = {0};
    return make(&values, &error) == BPTT_OK ? STATUS_DONE : say_error(command, &error);
}

const struct command init_command = {
    .name = "init",
    .arguments = "",
    .summary = "write an untrained model file",
    .about = "Writes an untrained model file (safetensors, the configuration in its metadata).",
    .examples = "  bptt init --cell lstm --inputs 3 --hidden 64 --outputs 1 --loss mse --out m.safetensors\n"
                "  bptt init --cell gru --tokens 256 --hidden 128 --layers 2 --out m.safetensors\n",
    .options = options,
    .run = init,
};
