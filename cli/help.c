/* help.c - `bptt COMMAND --help` from the command's description and its table of options. */
#include <stdint.h>
#include <string.h>

#include "options.h"

enum { INDENT = 28, WIDTH = 100 };

/* `text` from column `column` on, wrapped at words, further lines indented. */
static void print_wrapped(FILE *out, const char *text, int indent, int column)
{
    while (*text) {
        size_t word = strcspn(text, " ");
        if (column > indent && column + 1 + (int)word > WIDTH) {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            fputc(' ', out);
            column++;
        }
        fwrite(text, 1, word, out);
        column += (int)word;
        text += word;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

/* The way an option is written: "--hidden N", "--optimizer sgd|adam", "--[no-]orthogonal". */
static int print_form(FILE *out, const struct option *option, int default_is_on)
{
    if (option->type == OPTION_FLAG)
        return fprintf(out, "  --%s%s", default_is_on ? "[no-]" : "", option->name);
    int column = fprintf(out, "  --%s ", option->name);
    if (option->type != OPTION_CHOICE)
        return column + fprintf(out, "%s", option->value);
    for (const struct option_choice *choice = option->choices; choice->name; choice++)
        column += fprintf(out, "%s%s", choice == option->choices ? "" : "|", choice->name);
    return column;
}

static const char *choice_name(const struct option_choice *choice, int value)
{
    while (choice->name && choice->value != value)
        choice++;
    return choice->name;
}

/* The default as a text, or "" where there is none worth showing. */
static void default_text(const struct option *option, const void *at, char *text, size_t size)
{
    const char *name = NULL;
    int zero = 0;
    text[0] = 0;
    switch (option->type) {
    case OPTION_FLAG: name = *(const int *)at ? "on" : NULL; break;
    case OPTION_INT:
        zero = *(const int *)at == 0;
        snprintf(text, size, "%d", *(const int *)at);
        break;
    case OPTION_BYTES:
    case OPTION_COUNT:
        zero = *(const int64_t *)at == 0;
        snprintf(text, size, "%lld", (long long)*(const int64_t *)at);
        break;
    case OPTION_SEED: snprintf(text, size, "%llu", (unsigned long long)*(const uint64_t *)at); break;
    case OPTION_NUMBER:
        zero = *(const double *)at == 0;
        snprintf(text, size, "%g", *(const double *)at);
        break;
    case OPTION_TEXT:
        name = *(const char *const *)at;
        zero = !name;
        break;
    case OPTION_CHOICE: name = choice_name(option->choices, *(const int *)at); break;
    }
    if (zero && option->zero)
        name = option->zero;
    if (name)
        snprintf(text, size, "%s", name);
}

static void print_option(FILE *out, const struct option *option, const void *values)
{
    char text[512];
    char value[128];
    const void *at = (const char *)values + option->offset;
    default_text(option, at, value, sizeof value);
    int column = print_form(out, option, option->type == OPTION_FLAG && value[0]);
    snprintf(text, sizeof text, "%s%s%s%s", option->help, value[0] ? " (default: " : "", value, value[0] ? ")" : "");
    if (column + 2 > INDENT) {
        fputc('\n', out);
        column = 0;
    }
    fprintf(out, "%*s", INDENT - column, "");
    print_wrapped(out, text, INDENT, INDENT);
}

void help_print(const struct command *command, const void *values, FILE *out)
{
    fprintf(out, "Usage: bptt %s %s%s[options]\n\n", command->name, command->arguments, *command->arguments ? " " : "");
    print_wrapped(out, command->about ? command->about : command->summary, 0, 0);
    const char *group = "";
    for (const struct option *option = command->options; option->name; option++) {
        if (strcmp(option->group, group) != 0)
            fprintf(out, "\n%s\n", option->group);
        group = option->group;
        print_option(out, option, values);
    }
    if (command->examples)
        fprintf(out, "\nExamples\n%s", command->examples);
}
