/* eval.c - bptt eval: the loss of a model on text it was not trained on. */
#include <bptt.h>
#include <stddef.h>
#include <stdio.h>

#include "commands.h"
#include "json.h"
#include "kernels.h"
#include "options.h"
#include "say.h"

struct eval_values {
    int64_t batch;
    int threads, json, quiet, verbose;
};
#define AT(field) offsetof(struct eval_values, field)

static const struct option options[] = {
    {"Options", "batch", OPTION_COUNT, AT(batch), "N",
     .help = "read the text as so many streams side by side; 1 is exact",
     .low = 1, .high = 65536},
    {"Options", "threads", OPTION_INT, AT(threads), "N", .help = "workers", .high = 1024, .zero = "one per processor"},
    {"Options", "json", OPTION_FLAG, AT(json), .help = "the result as one JSON object"},
    {"Options", "quiet", OPTION_FLAG, AT(quiet), .help = "the loss alone, as a number"},
    {"Options", "verbose", OPTION_FLAG, AT(verbose), .help = "what each layer runs on, on standard error"},
    {0},
};

static void emit_result(const bptt_eval_result *result)
{
    struct emit emit = {.out = stdout};
    emit_open(&emit, NULL, '{');
    emit_number(&emit, "loss", result->loss);
    emit_number(&emit, "bits", result->bits);
    emit_number(&emit, "perplexity", result->perplexity);
    emit_whole(&emit, "tokens", result->tokens);
    emit_close(&emit, '}');
}

static int eval(const struct command *command, int argc, char **argv)
{
    struct eval_values values = {.batch = 1};
    struct parsed parsed = options_parse(command, argc, argv, &values);
    if (parsed.stop)
        return parsed.status;
    bptt_error error = {0};
    bptt_model *model = NULL;
    bptt_eval_result result = {0};
    int status = bptt_model_load(parsed.arguments[0], &model, &error);
    if (status == BPTT_OK && values.verbose)
        say_kernels(stderr, model, BPTT_F32);
    if (status == BPTT_OK)
        status = bptt_eval(model, (const char *const *)parsed.arguments + 1, (size_t)parsed.count - 1, values.batch,
                           values.threads, &result, &error);
    bptt_model_free(model);
    if (status != BPTT_OK)
        return say_error(command, &error);
    if (values.json)
        emit_result(&result);
    else if (values.quiet)
        printf("%.6f\n", result.loss);
    else
        printf("loss %.4f nats per symbol, %.4f bits, perplexity %.3f, over %s symbols\n", result.loss, result.bits,
               result.perplexity, say_count(result.tokens).text);
    return STATUS_DONE;
}

const struct command eval_command = {
    .name = "eval",
    .arguments = "MODEL FILE...",
    .least = 2,
    .most = 1 << 20,
    .summary = "the loss of a model on text",
    .about = "Loss of a model on text it was not trained on (files are joined), in nats and bits per symbol.",
    .examples = "  bptt eval book.safetensors sequel.txt\n"
                "  bptt eval book.safetensors sequel.txt --batch 32 --json\n",
    .options = options,
    .run = eval,
};
