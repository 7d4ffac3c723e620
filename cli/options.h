/* options.h - one table of options per command, from which come parsing, the defaults shown, the help text and
 * the naming of the nearest option when one is unknown. A row says where its value lies in the command's own struct of
 * values; the struct holds the defaults when parsing begins. */
#ifndef BPTT_CLI_OPTIONS_H
#define BPTT_CLI_OPTIONS_H

#include <stddef.h>
#include <stdio.h>

#include "commands.h"

enum option_type {
    OPTION_FLAG,   /* int: --name sets 1, --no-name sets 0 */
    OPTION_INT,    /* int */
    OPTION_COUNT,  /* int64_t; 20k is 20000, 3M three millions */
    OPTION_BYTES,  /* int64_t; 64M is 64 * 1024 * 1024, more than 0 */
    OPTION_SEED,   /* uint64_t */
    OPTION_NUMBER, /* double, finite */
    OPTION_TEXT,   /* const char * */
    OPTION_CHOICE  /* int, given by name */
};

struct option_choice { const char *name; int value; };

struct option {
    const char *group;                    /* heading in the help; rows of one group stand together */
    const char *name;                     /* without the dashes */
    enum option_type type;
    size_t offset;                        /* of the value */
    const char *value;                    /* what stands for the value in the help: "N", "FILE" */
    const char *help;
    double low, high;                     /* of numbers, both ends allowed; high 0: no upper end */
    const struct option_choice *choices;  /* ends with a row without a name */
    const char *zero;                     /* what 0 (or no text) means, shown in place of such a default */
};

struct parsed {
    int stop;                /* help was shown, or the usage was wrong (and said so): return `status` */
    int status;
    int count;               /* of arguments that are no options */
    char **arguments;        /* borrowed from argv */
};
struct parsed options_parse(const struct command *command, int argc, char **argv, void *values);

/* "bptt COMMAND: MESSAGE" on standard error, in one line; returns STATUS_USAGE. */
int usage_error(const struct command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Edits of one letter (insert, delete, replace, swap neighbours) that turn one word into the other. */
int word_distance(const char *a, const char *b);

/* Whether a word of that distance is near enough to be meant, or known begins with typed. */
int word_is_near(const char *typed, const char *known, int distance);

void help_print(const struct command *command, const void *values, FILE *out);

#endif
