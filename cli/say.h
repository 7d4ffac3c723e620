/* say.h - what all commands say alike: errors, quantities, words of a command line. */
#ifndef BPTT_CLI_SAY_H
#define BPTT_CLI_SAY_H

#include <bptt.h>
#include <stdio.h>

#include "commands.h"

/* "bptt COMMAND: what went wrong" on standard error; returns the exit status. */
int say_error(const struct command *command, const bptt_error *error);

/* Short texts for people, returned by value. */
struct said { char text[48]; };
struct said say_count(int64_t count);      /* 1234567 as 1,234,567 */
struct said say_bytes(int64_t bytes);      /* 12.3 MiB */
struct said say_time(double seconds);      /* 42 s, 3:07, 1:02:03 */

double nats_to_bits(double nats);

/* The words as one command line that a shell reads back as the same words. */
void say_command(FILE *out, const char *command, int argc, char **argv, const char *more);

#endif
