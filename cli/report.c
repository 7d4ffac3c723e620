/* report.c - bptt report: training runs as one page, and each picture as a file. Pictures are written by the library; a
 * program of the machine makes PNG of them, where there is one. */
#include <bptt.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "commands.h"
#include "json.h"
#include "options.h"
#include "say.h"

struct report_values {
    const char *out, *svg, *png;
    int json, quiet;
};
#define AT(field) offsetof(struct report_values, field)

static const struct option options[] = {
    {"Reports", "out", OPTION_TEXT, AT(out), "FILE", .help = "the page", .zero = "the first run's name with .html"},
    {"Reports", "svg", OPTION_TEXT, AT(svg), "DIR", .help = "each picture as a file in this folder, which is made",
     .zero = "none"},
    {"Reports", "png", OPTION_TEXT, AT(png), "DIR",
     .help = "each picture as PNG, through rsvg-convert, inkscape or chromium, whichever is here", .zero = "none"},
    {"Reports", "json", OPTION_FLAG, AT(json), .help = "the verdicts and what was written as one JSON object"},
    {"Reports", "quiet", OPTION_FLAG, AT(quiet), .help = "errors alone"},
    {0},
};

/* ---- files ---- */

static int fail_path(bptt_error *error, const char *path, const char *what)
{
    error->code = BPTT_ERROR_FILE;
    snprintf(error->file, sizeof error->file, "%.200s", path);
    snprintf(error->text, sizeof error->text, "%.1000s: cannot %s: %.100s", path, what, strerror(errno));
    return error->code;
}

static int write_file(const char *path, const char *text, bptt_error *error)
{
    FILE *file = fopen(path, "w");
    if (!file)
        return fail_path(error, path, "write the picture");
    int bad = fputs(text, file) == EOF;
    bad |= fclose(file) != 0;
    return bad ? fail_path(error, path, "write the picture") : BPTT_OK;
}

static int make_folder(const char *path, bptt_error *error)
{
    return mkdir(path, 0777) && errno != EEXIST ? fail_path(error, path, "make the folder") : BPTT_OK;
}

/* ---- PNG ---- */

enum { CONVERTERS = 5, WORDS = 8 };
static const char *const converter[CONVERTERS] = {"rsvg-convert", "inkscape", "chromium", "chromium-browser", "google-chrome"};

/* Whether a program of this name lies in one of the folders of PATH. */
static int is_here(const char *name)
{
    char path[4096];
    for (const char *at = getenv("PATH"); at && *at; at += strcspn(at, ":"), at += *at == ':') {
        snprintf(path, sizeof path, "%.*s/%s", (int)strcspn(at, ":"), at, name);
        if (access(path, X_OK) == 0)
            return 1;
    }
    return 0;
}

static int find_converter(void)
{
    for (int i = 0; i < CONVERTERS; i++)
        if (is_here(converter[i]))
            return i;
    return -1;
}

static void run_converter(int which, const char *svg, const char *png)
{
    char out[4200], address[4200], folder[4096];
    snprintf(out, sizeof out, "%s%s", which == 1 ? "--export-filename=" : "--screenshot=", png);
    snprintf(address, sizeof address, "file://%s/%s", *svg == '/' ? "" : getcwd(folder, sizeof folder), svg);
    if (which == 0)
        execlp(converter[0], converter[0], "--zoom", "2", "--output", png, svg, (char *)NULL);
    else if (which == 1)
        execlp(converter[1], converter[1], out, "--export-width=880", svg, (char *)NULL);
    else
        execlp(converter[which], converter[which], "--headless", "--no-sandbox", "--disable-gpu", "--window-size=880,608",
               out, address, (char *)NULL);
}

static int convert(int which, const char *svg, const char *png, bptt_error *error)
{
    int state = 0;
    fflush(NULL);
    pid_t child = fork();
    if (child < 0)
        return fail_path(error, png, "start the converter");
    if (child == 0) {
        int nowhere = open("/dev/null", O_WRONLY);
        dup2(nowhere, STDOUT_FILENO);
        dup2(nowhere, STDERR_FILENO);
        run_converter(which, svg, png);
        _exit(127);
    }
    while (waitpid(child, &state, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(state) && WEXITSTATUS(state) == 0 && access(png, R_OK) == 0)
        return BPTT_OK;
    error->code = BPTT_ERROR_FILE;
    snprintf(error->text, sizeof error->text, "%.600s: %s could not make it of %.600s", png, converter[which], svg);
    return error->code;
}

/* ---- pictures ---- */

static int write_picture(const bptt_report *report, size_t index, const struct report_values *values, int which,
                         bptt_error *error)
{
    char path[4096], png[4096], *svg = NULL;
    const char *name = bptt_report_picture_name(report, index);
    snprintf(path, sizeof path, "%s/%s.svg", values->svg ? values->svg : values->png, name);
    int status = bptt_report_picture(report, index, &svg, error);
    if (status == BPTT_OK)
        status = write_file(path, svg, error);
    bptt_free(svg);
    if (status != BPTT_OK || !values->png)
        return status;
    snprintf(png, sizeof png, "%s/%s.png", values->png, name);
    status = convert(which, path, png, error);
    if (!values->svg)
        unlink(path);
    return status;
}

static int write_pictures(const bptt_report *report, const struct report_values *values, size_t *written, bptt_error *error)
{
    int which = values->png ? find_converter() : 0, status = BPTT_OK;
    if (which < 0) {
        error->code = BPTT_ERROR_FILE;
        snprintf(error->text, sizeof error->text,
                 "--png needs rsvg-convert (Debian: librsvg2-bin), inkscape or chromium, and none is here; --svg needs "
                 "nothing");
        return error->code;
    }
    if (values->svg)
        status = make_folder(values->svg, error);
    if (status == BPTT_OK && values->png)
        status = make_folder(values->png, error);
    for (size_t i = 0; i < bptt_report_picture_count(report) && status == BPTT_OK; i++) {
        if (bptt_report_picture_missing(report, i))
            continue;
        status = write_picture(report, i, values, which, error);
        *written += status == BPTT_OK;
    }
    return status;
}

/* ---- what is said ---- */

static int say_verdicts(const bptt_report *report, struct emit *emit, bptt_error *error)
{
    int status = BPTT_OK;
    for (size_t r = 0; r < bptt_report_run_count(report) && status == BPTT_OK; r++) {
        bptt_report_run run;
        status = bptt_report_verdict(report, r, &run, error);
        if (status != BPTT_OK)
            return status;
        if (!emit) {
            printf("%s: %s, step %s\n", run.name, run.verdict, say_count(run.step).text);
            continue;
        }
        emit_open(emit, NULL, '{');
        emit_text(emit, "name", run.name);
        emit_text(emit, "verdict", run.verdict);
        emit_whole(emit, "level", run.level);
        emit_whole(emit, "step", run.step);
        emit_whole(emit, "broken_lines", run.broken_lines);
        emit_close(emit, '}');
    }
    return status;
}

static int say_all(const bptt_report *report, const struct report_values *values, const char *out, size_t written,
                   bptt_error *error)
{
    struct emit emit = {.out = stdout};
    int status = BPTT_OK;
    if (values->json) {
        emit_open(&emit, NULL, '{');
        emit_open(&emit, "runs", '[');
        status = say_verdicts(report, &emit, error);
        emit_close(&emit, ']');
        emit_text(&emit, "page", out);
        emit_whole(&emit, "pictures", (int64_t)written);
        emit_close(&emit, '}');
        return status;
    }
    if (values->quiet)
        return status;
    status = say_verdicts(report, NULL, error);
    if (written)
        printf("wrote %zu pictures to %s\n", written, values->svg ? values->svg : values->png);
    printf("wrote %s; open it in any browser\n", out);
    return status;
}

/* ---- the command ---- */

static int report_runs(const struct parsed *parsed, const struct report_values *values, const char *out, bptt_error *error)
{
    const char *const *runs = (const char *const *)parsed->arguments;
    bptt_report *report = NULL;
    size_t written = 0;
    int status = bptt_report_read(runs, (size_t)parsed->count, &report, error);
    if (status == BPTT_OK)
        status = bptt_report_write(runs, (size_t)parsed->count, out, error);
    if (status == BPTT_OK && (values->svg || values->png))
        status = write_pictures(report, values, &written, error);
    if (status == BPTT_OK)
        status = say_all(report, values, out, written, error);
    bptt_report_free(report);
    return status;
}

/* runs/a.safetensors.jsonl gives a.html, here. */
static void name_page(const char *run, char *out, size_t size)
{
    size_t length = strlen(run);
    while (length > 1 && run[length - 1] == '/')
        length--;
    const char *base = run + length;
    while (base > run && base[-1] != '/')
        base--;
    length -= (size_t)(base - run);
    static const char *const endings[] = {".jsonl", ".safetensors"};
    for (int i = 0; i < 2; i++) {
        size_t ending = strlen(endings[i]);
        if (length > ending && !strncmp(base + length - ending, endings[i], ending))
            length -= ending;
    }
    int is_folder = length == 0 || base[0] == '.';
    snprintf(out, size, "%.*s.html", is_folder ? 6 : (int)length, is_folder ? "report" : base);
}

static int report(const struct command *command, int argc, char **argv)
{
    struct report_values values = {0};
    char out[4096];
    bptt_error error = {0};
    struct parsed parsed = options_parse(command, argc, argv, &values);
    if (parsed.stop)
        return parsed.status;
    name_page(parsed.arguments[0], out, sizeof out);
    int status = report_runs(&parsed, &values, values.out ? values.out : out, &error);
    return status == BPTT_OK ? STATUS_DONE : say_error(command, &error);
}

const struct command report_command = {
    .name = "report",
    .arguments = "RUN...",
    .least = 1,
    .most = 32,
    .summary = "training runs as one page: is it healthy, and what to change",
    .about = "Draws what a run measured as one HTML page that needs nothing else: a verdict with what to try, curves of "
             "loss, rates and norms, the gradient through time (from runs with --watch), samples and settings. RUN is a "
             "model, the .jsonl file beside it, or a folder of them; several are drawn over each other.",
    .examples = "  bptt report book.safetensors\n"
                "  bptt report runs/ --out compare.html\n"
                "  bptt report book.safetensors --svg pictures --quiet\n",
    .options = options,
    .run = report,
};
