/* test_memory.c - the program's memory while it trains is what the plan said, within 5 % and 16 MiB: the promise of
 * `bptt plan`, measured by the operating system as the largest resident size of this process. */
#include <bptt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tap.h"

static void write_text(const char *path, size_t length)
{
    FILE *file = fopen(path, "w");
    unsigned state = 1;
    for (size_t i = 0; file && i < length; i++) {
        state = state * 1664525u + 1013904223u;
        fputc("abcdefgh ijklm.\n"[state >> 28], file);
    }
    if (file)
        fclose(file);
}

/* Sanitizers keep memory of their own: there is nothing to measure then. */
static int is_sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return 1;
#else
    return 0;
#endif
}

/* A run of its own within a budget: the largest resident size in KiB, or -1. */
static long resident_within(const char *text, const char *model, int64_t budget)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        bptt_error error = {0};
        bptt_train_config config = bptt_train_defaults();
        config.files = &text;
        config.file_count = 1;
        config.hidden = 128;
        config.trainer.batch = 2;
        config.trainer.length = 6000;
        config.trainer.memory = budget;
        config.steps = 2;
        config.out = model;
        _exit(bptt_train(&config, NULL, NULL, NULL, &error) == BPTT_OK ? 0 : 1);
    }
    int status;
    struct rusage usage;
    if (child < 0 || wait4(child, &status, 0, &usage) != child || status != 0)
        return -1;
    return usage.ru_maxrss;
}

static void test_budgets(const char *text, const char *model)
{
    static const int64_t budgets[] = {24, 32, 48};
    for (size_t i = 0; i < sizeof budgets / sizeof *budgets; i++) {
        long resident = resident_within(text, model, budgets[i] << 20);
        tap_ok(resident > 0 && resident <= budgets[i] << 10, "a budget of %d MiB: resident at most %.1f MiB", (int)budgets[i],
               (double)resident / 1024);
    }
}

int main(void)
{
    if (is_sanitized()) {
        tap_skip("sanitizers keep memory of their own", "memory while training");
        return tap_done();
    }
    char folder[] = "/tmp/bptt-memory-XXXXXX", text[64], model[64], command[128];
    if (!mkdtemp(folder))
        return 1;
    snprintf(text, sizeof text, "%s/text", folder);
    snprintf(model, sizeof model, "%s/model", folder);
    write_text(text, 300000);
    test_budgets(text, model);
    const char *files[] = {text};
    bptt_error error = {0};
    bptt_train_config config = bptt_train_defaults();
    bptt_train_result result;
    config.files = files;
    config.file_count = 1;
    config.hidden = 384;
    config.layers = 2;
    config.trainer.batch = 48;
    config.trainer.length = 200;
    config.trainer.dropout = 0.1;
    config.steps = 2;
    config.out = model;
    int status = bptt_train(&config, NULL, NULL, &result, &error);
    tap_ok(status == BPTT_OK, "a run trains: %s", error.text);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double resident = (double)usage.ru_maxrss * 1024, planned = (double)result.planned_bytes;
    tap_note("planned %.1f MiB, resident at most %.1f MiB", planned / 1048576, resident / 1048576);
    tap_ok(planned > 100e6, "the run is large enough to tell");
    tap_ok(resident <= planned * 1.05 + 16 * 1048576.0, "at most the plan and 5 %% and 16 MiB");
    tap_ok(resident >= planned * 0.6, "and not a plan of much more than is used");
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (system(command))
        tap_note("could not remove %s", folder);
    return tap_done();
}
