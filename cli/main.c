/* main.c - the program bptt: finds the command and hands over. Exit status: 0 done, 1 the input or the run failed,
 * 2 wrong usage. */
#include <bptt.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "options.h"

static const struct command *const commands[] = {
    &train_command, &eval_command,  &sample_command, &init_command, &run_command,
    &grad_command,  &check_command, &cells_command,  &cell_command, &plan_command,
    &horizon_command, &compare_command, &inspect_command, &report_command, &graph_command, &bench_command,
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void print_help(FILE *out)
{
    fputs("bptt - recurrent networks by backpropagation through time\n\n"
          "Usage: bptt COMMAND [arguments] [options]\n\n", out);
    for (int i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-8s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\nbptt COMMAND --help tells more about one; bptt --version says which bptt this is.\n"
          "To begin:  bptt train book.txt\n", out);
}

static const struct command *find_command(const char *name)
{
    for (int i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    }
    return NULL;
}

static int unknown_command(const char *name)
{
    const struct command *nearest = NULL;
    int smallest = 1000;
    for (int i = 0; i < COMMANDS; i++) {
        int distance = word_distance(name, commands[i]->name);
        if (word_is_near(name, commands[i]->name, distance) && distance < smallest) {
            smallest = distance;
            nearest = commands[i];
        }
    }
    if (nearest)
        fprintf(stderr, "bptt: unknown command %s; did you mean %s?\n", name, nearest->name);
    else
        fprintf(stderr, "bptt: unknown command %s; bptt --help lists them\n", name);
    return STATUS_USAGE;
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return STATUS_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--version") == 0 || strcmp(name, "version") == 0) {
        printf("bptt %s\n", bptt_version());
        return STATUS_DONE;
    }
    int asks = strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0;
    if (asks && argc == 2) {
        print_help(stdout);
        return STATUS_DONE;
    }
    const struct command *command = find_command(asks ? argv[2] : name);
    if (!command)
        return unknown_command(asks ? argv[2] : name);
    char help[] = "--help";
    char *only_help[] = {help};
    return asks ? command->run(command, 1, only_help) : command->run(command, argc - 2, argv + 2);
}

/* A result that could not be written (a full disk behind a redirection) is a failure. */
int main(int argc, char **argv)
{
    int status = dispatch(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "bptt: cannot write standard output: %s\n", strerror(errno));
        return status ? status : STATUS_FAILED;
    }
    return status;
}
