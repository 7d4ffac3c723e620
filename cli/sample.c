/* sample.c - bptt sample: text from a model, symbol by symbol, shown as it is drawn. */
#include <bptt.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "json.h"
#include "options.h"
#include "say.h"

struct sample_values {
    bptt_sample_options options;
    int json, quiet;
};
#define AT(field) offsetof(struct sample_values, field)

static const struct option options[] = {
    {"Options", "prompt", OPTION_TEXT, AT(options.prompt), "TEXT", .help = "begin after this text", .zero = "none"},
    {"Options", "length", OPTION_COUNT, AT(options.length), "N", .help = "symbols to draw"},
    {"Options", "temperature", OPTION_NUMBER, AT(options.temperature), "X",
     .help = "below 1 bolder choices become rarer; 0 draws the most likely symbol always", .high = 100},
    {"Options", "top-k", OPTION_COUNT, AT(options.top_k), "N",
     .help = "draw from the N most likely symbols", .zero = "all"},
    {"Options", "top-p", OPTION_NUMBER, AT(options.top_p), "P",
     .help = "draw from the most likely symbols that make up P",
     .high = 1},
    {"Options", "seed", OPTION_SEED, AT(options.seed), "N", .help = "of the drawing"},
    {"Options", "json", OPTION_FLAG, AT(json), .help = "prompt and text as one JSON object"},
    {"Options", "quiet", OPTION_FLAG, AT(quiet), .help = "the drawn text alone, without the prompt before it"},
    {0},
};

/* The text drawn so far: kept for --json, shown at once otherwise. */
struct drawn {
    char *text;
    size_t length, capacity;
    const char *prompt;        /* not shown yet */
    int keep, failed;
    char last;
};

static int keep_text(struct drawn *drawn, const char *text, size_t length)
{
    if (drawn->length + length + 1 > drawn->capacity) {
        size_t capacity = 2 * drawn->capacity + length + 64;
        char *larger = realloc(drawn->text, capacity);
        if (!larger) {
            drawn->failed = 1;
            return 1;
        }
        drawn->text = larger;
        drawn->capacity = capacity;
    }
    memcpy(drawn->text + drawn->length, text, length);
    drawn->length += length;
    drawn->text[drawn->length] = 0;
    return 0;
}

static int on_text(const char *text, size_t length, void *user)
{
    struct drawn *drawn = user;
    if (drawn->keep && keep_text(drawn, text, length))
        return 1;
    if (drawn->prompt) {                   /* only now: the model may not know its symbols */
        fputs(drawn->prompt, stdout);
        drawn->prompt = NULL;
    }
    if (!drawn->keep) {
        fwrite(text, 1, length, stdout);
        fflush(stdout);
    }
    if (length > 0)
        drawn->last = text[length - 1];
    return ferror(stdout);
}

static int draw(const bptt_model *model, const struct sample_values *values, struct drawn *drawn, bptt_error *error)
{
    drawn->keep = values->json;
    drawn->prompt = values->json || values->quiet ? NULL : values->options.prompt;
    int status = bptt_sample(model, &values->options, on_text, drawn, error);
    if (!values->json && status == BPTT_OK && drawn->last != '\n')
        putchar('\n');
    return status;
}

static void emit_sample(const struct sample_values *values, const struct drawn *drawn)
{
    struct emit emit = {.out = stdout};
    emit_open(&emit, NULL, '{');
    emit_text(&emit, "prompt", values->options.prompt ? values->options.prompt : "");
    emit_text(&emit, "text", drawn->text ? drawn->text : "");
    emit_whole(&emit, "length", values->options.length);
    emit_number(&emit, "temperature", values->options.temperature);
    emit_close(&emit, '}');
}

static int sample(const struct command *command, int argc, char **argv)
{
    struct sample_values values = {.options = bptt_sample_defaults()};
    struct parsed parsed = options_parse(command, argc, argv, &values);
    if (parsed.stop)
        return parsed.status;
    bptt_error error = {0};
    bptt_model *model = NULL;
    struct drawn drawn = {0};
    int status = bptt_model_load(parsed.arguments[0], &model, &error);
    if (status == BPTT_OK)
        status = draw(model, &values, &drawn, &error);
    bptt_model_free(model);
    if (status == BPTT_OK && values.json)
        emit_sample(&values, &drawn);
    free(drawn.text);
    return status == BPTT_OK ? STATUS_DONE : say_error(command, &error);
}

const struct command sample_command = {
    .name = "sample",
    .arguments = "MODEL",
    .least = 1,
    .most = 1,
    .summary = "draw text from a model",
    .about = "Draws text from a trained model, symbol by symbol.",
    .examples = "  bptt sample book.safetensors --length 500 --temperature 0.8\n"
                "  bptt sample book.safetensors --prompt 'It was' --top-p 0.9 --seed 7\n",
    .options = options,
    .run = sample,
};
