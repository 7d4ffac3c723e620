/* train.c - bptt train: the options fill a bptt_train_config, bptt_train does the work, its events are shown. */
#include <bptt.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "interrupt.h"
#include "json.h"
#include "kernels.h"
#include "options.h"
#include "progress.h"
#include "say.h"

struct train_values {
    bptt_train_config config;
    const char *valid;         /* a share or a file: see read_valid */
    const char *report;        /* a page kept current; NULL: none */
    int interpret, json, quiet, verbose;
};
#define AT(field) offsetof(struct train_values, field)

static const struct option_choice symbols[] = {
    {"chars", BPTT_CHARS}, {"bytes", BPTT_BYTES}, {"words", BPTT_WORDS}, {0}};
static const struct option_choice windows[] = {{"stream", 0}, {"random", 1}, {0}};
static const struct option_choice optimizers[] = {
    {"sgd", BPTT_SGD}, {"rmsprop", BPTT_RMSPROP}, {"adam", BPTT_ADAM}, {"adamw", BPTT_ADAMW}, {0}};
static const struct option_choice schedules[] = {{"constant", BPTT_CONSTANT}, {"cosine", BPTT_COSINE},
                                                 {"step", BPTT_STEP},         {"plateau", BPTT_PLATEAU}, {0}};

static const char limits[] = "Limits: the first one reached ends the run; without any it takes some thousand steps";

static const struct option options[] = {
    {"Data", "symbols", OPTION_CHOICE, AT(config.symbols), .choices = symbols, .help = "how text becomes symbols"},
    {"Data", "max-words", OPTION_COUNT, AT(config.max_words), "N",
     .help = "with words: the most frequent ones are known, the rest is <unk>", .low = 1},
    {"Data", "valid", OPTION_TEXT, AT(valid), "SHARE|FILE",
     .help = "hold out this share of the end, 0 to 0.5, or use a file"},
    {"Data", "windows", OPTION_CHOICE, AT(config.random_windows), .choices = windows,
     .help = "streams carry the state from window to window; random windows begin anew"},

    {"Model", "cell", OPTION_TEXT, AT(config.cell), "NAME|FILE",
     .help = "a cell that `bptt cells` lists, or a .cell file"},
    {"Model", "hidden", OPTION_COUNT, AT(config.hidden), "N", .help = "units of each layer", .low = 1, .high = 65536},
    {"Model", "layers", OPTION_COUNT, AT(config.layers), "N", .help = "layers", .low = 1, .high = 64},
    {"Model", "embedding", OPTION_COUNT, AT(config.embedding), "N", .help = "width of the embedding", .high = 65536,
     .zero = "as --hidden"},
    {"Model", "dim", OPTION_TEXT, AT(config.dims), "P=64,...",
     .help = "further sizes of the cell", .zero = "the cell's own"},
    {"Model", "tied", OPTION_FLAG, AT(config.tied), .help = "the output layer's weight is the embedding's"},
    {"Model", "orthogonal", OPTION_FLAG, AT(config.orthogonal), .help = "recurrent matrices start orthogonal"},
    {"Model", "forget-bias", OPTION_NUMBER, AT(config.forget_bias), "X",
     .help = "added to the start of the forget gate's bias",
     .low = -100, .high = 100},
    {"Model", "interpret", OPTION_FLAG, AT(interpret),
     .help = "run a cell file through the interpreter, without the C compiler"},

    {"Gradient", "batch", OPTION_COUNT, AT(config.trainer.batch), "N",
     .help = "rows side by side", .low = 1, .high = 65536},
    {"Gradient", "length", OPTION_COUNT, AT(config.trainer.length), "N",
     .help = "steps of a window, over which the gradient flows",
     .low = 1, .high = 1e7},
    {"Gradient", "gradient", OPTION_TEXT, AT(config.trainer.gradient), "STRATEGY",
     .help = "full, segments:K, truncated:k1,k2, random:P, adaptive:D, rtrl, snap1, rflo or uoro; docs/strategies.md tells them apart"},
    {"Gradient", "precision", OPTION_CHOICE, AT(config.trainer.precision), .choices = training_precisions,
     .help = "bf16: weights and what is stored in bfloat16, half the bytes; sums and updates in single precision"},
    {"Gradient", "memory", OPTION_BYTES, AT(config.trainer.memory), "BYTES",
     .help = "of the whole process, as 64M; the gradient keeps its bits, a small budget costs forward steps",
     .zero = "no limit"},
    {"Gradient", "spill", OPTION_TEXT, AT(config.trainer.spill), "DIR", .help = "with --memory: kept states may lie on disk there",
     .zero = "none"},
    {"Gradient", "freeze", OPTION_TEXT, AT(config.trainer.freeze), "NAME,...",
     .help = "parameters that are not trained, by their names in the model file", .zero = "none"},
    {"Gradient", "clip", OPTION_NUMBER, AT(config.trainer.clip_norm), "X",
     .help = "clip the norm of the whole gradient",
     .zero = "never"},
    {"Gradient", "clip-value", OPTION_NUMBER, AT(config.trainer.clip_value), "X",
     .help = "clip each element of the gradient",
     .zero = "never"},
    {"Gradient", "dropout", OPTION_NUMBER, AT(config.trainer.dropout), "P",
     .help = "drop values between layers", .high = 0.99,
     .zero = "none"},
    {"Gradient", "dropout-state", OPTION_NUMBER, AT(config.trainer.dropout_state), "P",
     .help = "drop values of the state, the same ones at every step of a window", .high = 0.99, .zero = "none"},

    {"Updates", "optimizer", OPTION_CHOICE, AT(config.trainer.optimizer), .choices = optimizers, .help = "the rule"},
    {"Updates", "lr", OPTION_NUMBER, AT(config.trainer.rate), "X", .help = "learning rate", .high = 1000},
    {"Updates", "momentum", OPTION_NUMBER, AT(config.trainer.momentum), "X", .help = "of sgd", .high = 1},
    {"Updates", "beta1", OPTION_NUMBER, AT(config.trainer.beta1), "X", .help = "adam: decay of the mean", .high = 1},
    {"Updates", "beta2", OPTION_NUMBER, AT(config.trainer.beta2), "X",
     .help = "adam, rmsprop: decay of the squares", .high = 1},
    {"Updates", "epsilon", OPTION_NUMBER, AT(config.trainer.epsilon), "X",
     .help = "adam, rmsprop: added to the root", .high = 1},
    {"Updates", "weight-decay", OPTION_NUMBER, AT(config.trainer.weight_decay), "X",
     .help = "decay of the weights", .high = 1000},
    {"Updates", "schedule", OPTION_CHOICE, AT(config.schedule), .choices = schedules, .help = "of the learning rate"},
    {"Updates", "warmup", OPTION_COUNT, AT(config.warmup), "N", .help = "steps over which the rate rises from 0"},
    {"Updates", "final-lr", OPTION_NUMBER, AT(config.final_rate), "SHARE",
     .help = "cosine: share of the rate left at the end",
     .high = 1},
    {"Updates", "decay", OPTION_NUMBER, AT(config.decay), "X",
     .help = "step, plateau: the rate is multiplied by this", .high = 1},
    {"Updates", "decay-every", OPTION_COUNT, AT(config.decay_every), "N", .help = "step: after so many steps"},
    {"Updates", "patience", OPTION_INT, AT(config.patience), "N",
     .help = "plateau: after so many validations without progress"},
    {"Updates", "backtrack", OPTION_FLAG, AT(config.backtrack),
     .help = "when the loss is not finite, go back to the last checkpoint at half the rate"},

    {limits, "steps", OPTION_COUNT, AT(config.steps), "N", .help = "updates",
     .zero = "no limit"},
    {limits, "epochs", OPTION_NUMBER, AT(config.epochs), "X",
     .help = "passes over the text", .zero = "no limit"},
    {limits, "minutes", OPTION_NUMBER, AT(config.minutes), "X",
     .help = "of the clock",
     .zero = "no limit"},
    {limits, "early-stop", OPTION_INT, AT(config.early_stop), "N",
     .help = "validations without progress", .zero = "no limit"},

    {"Files", "out", OPTION_TEXT, AT(config.out), "FILE",
     .help = "the model, the best by validation; FILE.ckpt to go on from",
     .zero = "the text's name with .safetensors"},
    {"Files", "checkpoint-every", OPTION_COUNT, AT(config.checkpoint_every), "N", .help = "steps between checkpoints",
     .zero = "every two minutes"},
    {"Files", "resume", OPTION_FLAG, AT(config.resume), .help = "go on from what --out left, to the same bits"},

    {"Reports", "valid-every", OPTION_COUNT, AT(config.valid_every), "N", .help = "steps between validations",
     .zero = "so that they take a few percent of the time"},
    {"Reports", "sample-every", OPTION_COUNT, AT(config.sample_every), "N",
     .help = "steps between samples", .zero = "never"},
    {"Reports", "sample-length", OPTION_COUNT, AT(config.sample_length), "N", .help = "symbols of a sample", .low = 1},
    {"Reports", "report", OPTION_TEXT, AT(report), "FILE", .help = "keep a page of pictures current there, as bptt report draws it",
     .zero = "none"},
    {"Reports", "watch", OPTION_COUNT, AT(config.watch), "N",
     .help = "steps between looks at the gradient by lag, the step Jacobian, gates and updates (OUT.jsonl); warns early",
     .zero = "never"},
    {"Reports", "json", OPTION_FLAG, AT(json), .help = "one JSON object a line for each event, the result last"},
    {"Reports", "quiet", OPTION_FLAG, AT(quiet), .help = "errors alone (with --json: and the result)"},
    {"Reports", "verbose", OPTION_FLAG, AT(verbose), .help = "also rates, norms, saved files, and what each layer runs on"},

    {"Circumstances", "seed", OPTION_SEED, AT(config.seed), "N", .help = "of all random numbers"},
    {"Circumstances", "threads", OPTION_INT, AT(config.trainer.threads), "N",
     .help = "workers; the result has the same bits for any number", .high = 1024, .zero = "one per processor"},
    {0},
};

static const char examples[] =
    "  bptt train book.txt\n"
    "  bptt train book.txt --cell gru --hidden 512 --layers 2 --dropout 0.3 --minutes 60 --out book.safetensors\n"
    "  bptt train book.txt --steps 20k --schedule cosine --sample-every 500\n"
    "  bptt train book.txt --out book.safetensors --resume      (what Ctrl-C left)\n";

/* ---- events ---- */

struct show {
    const struct train_values *values;
    struct progress progress;
    struct emit emit;
    double reported_at;        /* seconds of the run when the page was written last */
    int report_failed;         /* said once */
};

static const char *event_name(int kind)
{
    switch (kind) {
    case BPTT_EVENT_START: return "start";
    case BPTT_EVENT_STEP: return "step";
    case BPTT_EVENT_VALID: return "valid";
    case BPTT_EVENT_SAMPLE: return "sample";
    case BPTT_EVENT_SAVED: return "saved";
    case BPTT_EVENT_NOTE: return "note";
    case BPTT_EVENT_WARNING: return "warning";
    default: return "end";
    }
}

static void emit_event(struct emit *emit, const bptt_event *event, int precision)
{
    emit_open(emit, NULL, '{');
    emit_text(emit, "event", event_name(event->kind));
    emit_whole(emit, "step", event->step);
    emit_number(emit, "epoch", event->epoch);
    emit_number(emit, "seconds", event->seconds);
    if (event->kind == BPTT_EVENT_STEP || event->kind == BPTT_EVENT_VALID) {
        emit_number(emit, "loss", event->loss);
        emit_number(emit, "bits", nats_to_bits(event->loss));
    }
    if (event->kind == BPTT_EVENT_STEP) {
        emit_whole(emit, "steps", event->steps);
        emit_number(emit, "step_loss", event->step_loss);
        emit_number(emit, "norm", event->norm);
        emit_number(emit, "rate", event->rate);
        emit_number(emit, "tokens_per_second", event->tokens_per_second);
        emit_number(emit, "seconds_left", event->seconds_left);
    }
    if (event->kind == BPTT_EVENT_VALID)
        emit_flag(emit, "best", event->best);
    if (event->text)
        emit_text(emit, "text", event->text);
    if (event->model)
        emit_kernels(emit, event->model, precision);
    emit_close(emit, '}');
}

/* The run goes on without its page: a full disk there costs no training. */
static void write_report(struct show *show)
{
    bptt_error error = {0};
    if (show->report_failed || bptt_report_write(&show->values->config.out, 1, show->values->report, &error) == BPTT_OK)
        return;
    show->report_failed = 1;
    fprintf(stderr, "bptt train: no report: %s; training goes on\n", error.text);
}

static void keep_report(struct show *show, const bptt_event *event)
{
    enum { SECONDS_APART = 5 };
    if (event->kind != BPTT_EVENT_VALID || event->seconds < show->reported_at + SECONDS_APART)
        return;
    show->reported_at = event->seconds;
    write_report(show);
}

static int on_event(const bptt_event *event, void *user)
{
    struct show *show = user;
    const struct train_values *values = show->values;
    if (values->report)
        keep_report(show, event);
    if (values->json && !values->quiet && event->kind != BPTT_EVENT_END)
        emit_event(&show->emit, event, values->config.trainer.precision);
    else if (!values->json && !values->quiet)
        progress_show(&show->progress, event);
    return interrupt_asked();
}

/* ---- the result ---- */

static void emit_result(struct emit *emit, const bptt_train_result *result, const char *out, int interrupted)
{
    emit_open(emit, NULL, '{');
    emit_text(emit, "event", "end");
    emit_text(emit, "reason", interrupted ? "interrupted" : result->reason);
    emit_whole(emit, "step", result->step);
    emit_number(emit, "epochs", result->epochs);
    emit_number(emit, "seconds", result->seconds);
    emit_whole(emit, "tokens", result->tokens);
    emit_number(emit, "train_loss", result->train_loss);
    emit_number(emit, "valid_loss", result->valid_loss);
    emit_number(emit, "best_valid_loss", result->best_valid_loss);
    emit_whole(emit, "best_step", result->best_step);
    emit_whole(emit, "parameters", result->parameters);
    emit_whole(emit, "planned_bytes", result->planned_bytes);
    emit_text(emit, "out", out);
    emit_close(emit, '}');
}

static void print_result(const bptt_train_result *result, const char *out)
{
    printf("done (%s): %s steps, %.2f epochs, %s; training loss %.4f", result->reason, say_count(result->step).text,
           result->epochs, say_time(result->seconds).text, result->train_loss);
    if (!isnan(result->best_valid_loss))
        printf(", best validation loss %.4f (%.3f bits) at step %lld", result->best_valid_loss,
               nats_to_bits(result->best_valid_loss), (long long)result->best_step);
    printf("\nwrote %s; go on with: bptt sample %s\n", out, out);
}

/* ---- the command ---- */

/* --valid is a share of the text, or else a file. */
static int read_valid(const struct command *command, struct train_values *values)
{
    if (!values->valid)
        return STATUS_DONE;
    char *end;
    double share = strtod(values->valid, &end);
    if (end == values->valid || *end) {
        values->config.valid_file = values->valid;
        return STATUS_DONE;
    }
    if (!(share >= 0 && share <= 0.5))
        return usage_error(command, "--valid %s: a share must be from 0 to 0.5; anything else names a file",
                           values->valid);
    values->config.valid = share;
    return STATUS_DONE;
}

/* book.txt gives book.safetensors, here rather than beside the text, which may lie where nothing can be written. */
static void name_model(const char *text, char *out, size_t size)
{
    const char *slash = strrchr(text, '/');
    const char *base = slash ? slash + 1 : text;
    const char *dot = strrchr(base, '.');
    int length = dot && dot != base ? (int)(dot - base) : (int)strlen(base);
    snprintf(out, size, "%.*s.safetensors", length, base);
}

static int has_word(int argc, char **argv, const char *word)
{
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], word) == 0)
            return 1;
    }
    return 0;
}

/* The same words again and --resume; `words` is the command line as it was typed. */
static void say_how_to_go_on(const bptt_train_result *result, int argc, char **words)
{
    fprintf(stderr, "bptt train: stopped after step %lld; everything is saved. To go on:\n  ", (long long)result->step);
    say_command(stderr, "train", argc, words, has_word(argc, words, "--resume") ? NULL : "--resume");
}

static int train_files(const struct command *command, struct train_values *values, int argc, char **words)
{
    struct show show = {.values = values, .emit = {.out = stdout}};
    bptt_train_result result = {0};
    bptt_error error = {0};
    progress_open(&show.progress, stdout, values->verbose, values->config.trainer.precision);
    interrupt_catch();
    int status = bptt_train(&values->config, on_event, &show, &result, &error);
    progress_close(&show.progress);
    int interrupted = status == BPTT_INTERRUPTED;
    if (values->report && (status == BPTT_OK || interrupted || status == BPTT_ERROR_NOT_FINITE))
        write_report(&show);
    if (status != BPTT_OK && !interrupted)
        return say_error(command, &error);
    if (values->json)
        emit_result(&show.emit, &result, values->config.out, interrupted);
    else if (!values->quiet && !interrupted)
        print_result(&result, values->config.out);
    if (interrupted)
        say_how_to_go_on(&result, argc, words);
    return interrupted ? STATUS_FAILED : STATUS_DONE;
}

static int train(const struct command *command, int argc, char **argv)
{
    char share[32];
    char out[4096];
    struct train_values values = {.config = bptt_train_defaults()};
    snprintf(share, sizeof share, "%g", values.config.valid);
    values.valid = share;
    char **words = malloc(((size_t)argc + 1) * sizeof *words); /* parsing reorders argv */
    if (!words)
        return usage_error(command, "out of memory");
    memcpy(words, argv, (size_t)argc * sizeof *words);
    struct parsed parsed = options_parse(command, argc, argv, &values);
    int status = parsed.status;
    if (!parsed.stop)
        status = read_valid(command, &values);
    if (!parsed.stop && status == STATUS_DONE) {
        values.config.files = (const char *const *)parsed.arguments;
        values.config.file_count = (size_t)parsed.count;
        values.config.compile = !values.interpret;
        if (!values.config.out) {
            name_model(parsed.arguments[0], out, sizeof out);
            values.config.out = out;
        }
        status = train_files(command, &values, argc, words);
    }
    free(words);
    return status;
}

const struct command train_command = {
    .name = "train",
    .arguments = "FILE...",
    .least = 1,
    .most = 1 << 20,
    .summary = "train a model on text",
    .about = "Trains a model on text: one or more files, joined. Shows the loss as it falls, keeps checkpoints, and "
             "ends at the first limit reached. Ctrl-C saves and says how to go on.",
    .examples = examples,
    .options = options,
    .run = train,
};
