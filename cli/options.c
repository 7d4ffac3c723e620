/* options.c - parsing by the table. Options and arguments may stand in any order; `--name value` and `--name=value`
 * are the same; `--` ends the options. The first thing wrong is said in one line and ends the parsing. */
#include "options.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int usage_error(const struct command *command, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "bptt %s: ", command->name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return STATUS_USAGE;
}

/* ---- the nearest known word ---- */

static int least(int a, int b)
{
    return a < b ? a : b;
}

int word_distance(const char *a, const char *b)
{
    enum { LONGEST = 40 };
    int rows[3][LONGEST + 1];
    int *before = rows[0];
    int *last = rows[1];
    int *now = rows[2];
    int m = (int)strlen(a);
    int n = (int)strlen(b);
    if (n > LONGEST || m > LONGEST)
        return LONGEST;
    for (int j = 0; j <= n; j++)
        last[j] = j;
    for (int i = 1; i <= m; i++) {
        now[0] = i;
        for (int j = 1; j <= n; j++) {
            now[j] = least(least(last[j], now[j - 1]) + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], before[j - 2] + 1);
        }
        int *oldest = before;
        before = last;
        last = now;
        now = oldest;
    }
    return last[n];
}

int word_is_near(const char *typed, const char *known, int distance)
{
    size_t length = strlen(typed);
    if (length >= 3 && strncmp(typed, known, length) == 0)
        return 1;
    return distance <= (length <= 4 ? 1 : length <= 7 ? 2 : 3);
}

static const struct option *nearest_option(const struct option *options, const char *typed)
{
    const struct option *nearest = NULL;
    int smallest = 1000;
    for (const struct option *option = options; option->name; option++) {
        int distance = word_distance(typed, option->name);
        if (word_is_near(typed, option->name, distance) && distance < smallest) {
            smallest = distance;
            nearest = option;
        }
    }
    return nearest;
}

static int unknown_option(const struct command *command, const char *typed)
{
    const struct option *nearest = nearest_option(command->options, typed);
    if (nearest)
        return usage_error(command, "unknown option --%s; did you mean --%s?", typed, nearest->name);
    return usage_error(command, "unknown option --%s; bptt %s --help lists them", typed, command->name);
}

/* ---- values ---- */

static int bad_range(const struct command *command, const struct option *option, const char *text)
{
    if (option->high > 0)
        return usage_error(command, "--%s %s: must be from %.15g to %.15g", option->name, text, option->low,
                           option->high);
    return usage_error(command, "--%s %s: must be at least %.15g", option->name, text, option->low);
}

static int in_range(const struct option *option, double value)
{
    return value >= option->low && (option->high <= 0 || value <= option->high);
}

/* 12, 20k, 3M: the digits and the suffix; 0 when it is none of these or does not fit. */
static int read_whole(const char *text, int64_t *value)
{
    char *end;
    errno = 0;
    long long digits = strtoll(text, &end, 10);
    if (errno || end == text)
        return 0;
    int64_t scale = 1;
    if (*end == 'k' || *end == 'M' || *end == 'G')
        scale = *end == 'k' ? 1000 : *end == 'M' ? 1000000 : 1000000000;
    if (scale > 1)
        end++;
    return *end == 0 && !__builtin_mul_overflow((int64_t)digits, scale, value);
}

static int set_whole(const struct command *command, const struct option *option, const char *text, void *at)
{
    int64_t value;
    if (!read_whole(text, &value))
        return usage_error(command, "--%s %s: not a whole number (as 200, 20k or 3M)", option->name, text);
    if (!in_range(option, (double)value))
        return bad_range(command, option, text);
    if (option->type == OPTION_COUNT)
        *(int64_t *)at = value;
    else if (value < INT32_MIN || value > INT32_MAX)
        return bad_range(command, option, text);
    else
        *(int *)at = (int)value;
    return STATUS_DONE;
}

/* 4096, 512K, 64M, 2G: bytes; 0 when it is none of these or does not fit. */
static int read_bytes(const char *text, int64_t *value)
{
    static const char suffixes[] = "KMGT";
    char *end;
    errno = 0;
    long long digits = strtoll(text, &end, 10);
    if (errno || end == text)
        return 0;
    const char *suffix = *end ? strchr(suffixes, *end) : NULL;
    if (*end && (!suffix || end[1]))
        return 0;
    int shift = suffix ? 10 * (int)(suffix - suffixes + 1) : 0;
    return !__builtin_mul_overflow((int64_t)digits, (int64_t)1 << shift, value);
}

static int set_bytes(const struct command *command, const struct option *option, const char *text, void *at)
{
    int64_t value;
    if (!read_bytes(text, &value))
        return usage_error(command, "--%s %s: not a number of bytes (as 4096, 512K, 64M or 2G)", option->name, text);
    if (value <= 0)
        return usage_error(command, "--%s %s: must be more than 0", option->name, text);
    *(int64_t *)at = value;
    return STATUS_DONE;
}

static int set_seed(const struct command *command, const struct option *option, const char *text, void *at)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-')
        return usage_error(command, "--%s %s: not a whole number from 0 to 2^64 - 1", option->name, text);
    *(uint64_t *)at = value;
    return STATUS_DONE;
}

static int set_number(const struct command *command, const struct option *option, const char *text, void *at)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value))
        return usage_error(command, "--%s %s: not a number", option->name, text);
    if (!in_range(option, value))
        return bad_range(command, option, text);
    *(double *)at = value;
    return STATUS_DONE;
}

static int set_choice(const struct command *command, const struct option *option, const char *text, void *at)
{
    char known[256] = "";
    size_t length = 0;
    for (const struct option_choice *choice = option->choices; choice->name; choice++) {
        if (strcmp(choice->name, text) == 0) {
            *(int *)at = choice->value;
            return STATUS_DONE;
        }
        length += (size_t)snprintf(known + length, sizeof known - length, "%s%s", length ? ", " : "", choice->name);
        if (length >= sizeof known)
            length = sizeof known - 1;
    }
    return usage_error(command, "--%s %s: must be one of %s", option->name, text, known);
}

static int set_value(const struct command *command, const struct option *option, const char *text, void *values)
{
    void *at = (char *)values + option->offset;
    switch (option->type) {
    case OPTION_INT:
    case OPTION_COUNT: return set_whole(command, option, text, at);
    case OPTION_BYTES: return set_bytes(command, option, text, at);
    case OPTION_SEED: return set_seed(command, option, text, at);
    case OPTION_NUMBER: return set_number(command, option, text, at);
    case OPTION_CHOICE: return set_choice(command, option, text, at);
    case OPTION_TEXT: *(const char **)at = text; return STATUS_DONE;
    case OPTION_FLAG: break;
    }
    return usage_error(command, "--%s takes no value", option->name);
}

/* ---- the command line ---- */

static const struct option *find_option(const struct option *options, const char *name, size_t length)
{
    for (const struct option *option = options; option->name; option++) {
        if (strlen(option->name) == length && strncmp(option->name, name, length) == 0)
            return option;
    }
    return NULL;
}

/* --no-NAME, for flags; sets it and says whether there is one. */
static int clear_flag(const struct command *command, const char *name, void *values)
{
    if (strncmp(name, "no-", 3) != 0)
        return 0;
    const struct option *option = find_option(command->options, name + 3, strlen(name + 3));
    if (!option || option->type != OPTION_FLAG)
        return 0;
    *(int *)((char *)values + option->offset) = 0;
    return 1;
}

/* One option at argv[*i], and its value where that is the next word; moves *i to the last word used. */
static int parse_option(const struct command *command, int argc, char **argv, int *i, void *values)
{
    const char *name = argv[*i] + 2;
    size_t length = strcspn(name, "=");
    const struct option *option = find_option(command->options, name, length);
    if (!option && clear_flag(command, name, values))
        return STATUS_DONE;
    if (!option) {
        char typed[64];
        snprintf(typed, sizeof typed, "%.*s", (int)(length < 60 ? length : 60), name);
        return unknown_option(command, typed);
    }
    if (name[length] == '=')
        return set_value(command, option, name + length + 1, values);
    if (option->type == OPTION_FLAG) {
        *(int *)((char *)values + option->offset) = 1;
        return STATUS_DONE;
    }
    if (*i + 1 >= argc)
        return usage_error(command, "--%s needs a value: --%s %s", option->name, option->name, option->value);
    return set_value(command, option, argv[++*i], values);
}

/* Help is asked for: before anything is set, so that it shows the defaults. */
static int asks_for_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return 1;
    }
    return 0;
}

static int check_count(const struct command *command, const struct parsed *parsed)
{
    if (parsed->count < command->least)
        return usage_error(command, "needs %s; usage: bptt %s %s [options]", command->arguments, command->name,
                           command->arguments);
    if (parsed->count > command->most)
        return usage_error(command, "one argument too many: %s", parsed->arguments[command->most]);
    return STATUS_DONE;
}

struct parsed options_parse(const struct command *command, int argc, char **argv, void *values)
{
    struct parsed parsed = {.arguments = argv};
    if (asks_for_help(argc, argv)) {
        help_print(command, values, stdout);
        parsed.stop = 1;
        return parsed;
    }
    int only_arguments = 0;
    for (int i = 0; i < argc && !parsed.status; i++) {
        if (only_arguments || argv[i][0] != '-' || argv[i][1] == 0)
            argv[parsed.count++] = argv[i];
        else if (strcmp(argv[i], "--") == 0)
            only_arguments = 1;
        else if (argv[i][1] != '-')
            parsed.status = usage_error(command, "unknown option %s; options begin with two dashes", argv[i]);
        else
            parsed.status = parse_option(command, argc, argv, &i, values);
    }
    if (!parsed.status)
        parsed.status = check_count(command, &parsed);
    parsed.stop = parsed.status != STATUS_DONE;
    return parsed;
}
