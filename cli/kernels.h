/* kernels.h - what each layer of a model runs on, and why on nothing faster: for --verbose, `bptt plan` and `bptt bench`. */
#ifndef BPTT_CLI_KERNELS_H
#define BPTT_CLI_KERNELS_H

#include <bptt.h>
#include <stdio.h>

#include "json.h"

void say_kernels(FILE *out, const bptt_model *model, int precision);              /* layers that run alike share their lines */
void say_scan(FILE *out, int threads, int workers, int units);                    /* how a step's work is shared out */
void emit_kernels(struct emit *emit, const bptt_model *model, int precision);     /* "kernels": one object a layer */

#endif
