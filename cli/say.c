/* say.c - see say.h. */
#include "say.h"

#include <math.h>
#include <string.h>

int say_error(const struct command *command, const bptt_error *error)
{
    fflush(stdout);
    fprintf(stderr, "bptt %s: %s\n", command->name, error->text);
    return STATUS_FAILED;
}

struct said say_count(int64_t count)
{
    struct said said;
    char digits[32];
    int length = snprintf(digits, sizeof digits, "%lld", (long long)count);
    int used = 0;
    for (int i = 0; i < length; i++) {
        said.text[used++] = digits[i];
        int left = length - 1 - i;
        if (left > 0 && left % 3 == 0 && digits[i] != '-')
            said.text[used++] = ',';
    }
    said.text[used] = 0;
    return said;
}

struct said say_bytes(int64_t bytes)
{
    static const char *const unit[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    struct said said;
    double value = (double)bytes;
    int i = 0;
    while (value >= 1024 && i < 6) {
        value /= 1024;
        i++;
    }
    snprintf(said.text, sizeof said.text, "%.*f %s", i > 0 && value < 100 ? 1 : 0, value, unit[i]);
    return said;
}

struct said say_time(double seconds)
{
    struct said said;
    if (!(seconds >= 0) || seconds > 1e8) {
        snprintf(said.text, sizeof said.text, "-");
        return said;
    }
    long whole = lround(seconds);
    if (whole < 60)
        snprintf(said.text, sizeof said.text, "%ld s", whole);
    else if (whole < 3600)
        snprintf(said.text, sizeof said.text, "%ld:%02ld", whole / 60, whole % 60);
    else
        snprintf(said.text, sizeof said.text, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
    return said;
}

double nats_to_bits(double nats)
{
    return nats / log(2);
}

static void print_word(FILE *out, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=:,+%@";
    if (*word && word[strspn(word, plain)] == 0) {
        fprintf(out, " %s", word);
        return;
    }
    fputs(" '", out);
    for (; *word; word++) {
        if (*word == '\'')
            fputs("'\\''", out);
        else
            fputc(*word, out);
    }
    fputc('\'', out);
}

void say_command(FILE *out, const char *command, int argc, char **argv, const char *more)
{
    fprintf(out, "bptt %s", command);
    for (int i = 0; i < argc; i++)
        print_word(out, argv[i]);
    if (more)
        print_word(out, more);
    fputc('\n', out);
}
