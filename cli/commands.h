/* commands.h - what a command is to main and to the help: a description and a function. One file per command defines
 * one of these; main.c lists them. */
#ifndef BPTT_CLI_COMMANDS_H
#define BPTT_CLI_COMMANDS_H

enum { STATUS_DONE = 0, STATUS_FAILED = 1, STATUS_USAGE = 2 };

struct option;

struct command {
    const char *name;
    const char *arguments;          /* as in the usage line: "MODEL FILE..." */
    int least, most;                /* how many of them */
    const char *summary;            /* one line */
    const char *about;              /* a paragraph for --help, or NULL */
    const char *examples;           /* lines for --help, or NULL */
    const struct option *options;   /* ends with a row without a name */
    int (*run)(const struct command *command, int argc, char **argv); /* argv without the command's name */
};

extern const struct command train_command;
extern const struct command eval_command;
extern const struct command sample_command;
extern const struct command init_command;
extern const struct command run_command;
extern const struct command grad_command;
extern const struct command check_command;
extern const struct command cells_command;
extern const struct command cell_command;
extern const struct command plan_command;
extern const struct command horizon_command;
extern const struct command compare_command;
extern const struct command graph_command;
extern const struct command bench_command;
extern const struct command inspect_command;
extern const struct command report_command;

#endif
