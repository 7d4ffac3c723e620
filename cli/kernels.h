/* kernels.h - what each layer of a model runs on, and why on nothing faster: for --verbose, `bptt plan` and `bptt bench`. */
#ifndef BPTT_CLI_KERNELS_H
#define BPTT_CLI_KERNELS_H

#include <bptt.h>
#include <stdio.h>

#include "json.h"
#include "options.h"

/* What --precision may be: of a run or a gradient, and of training. */
extern const struct option_choice run_precisions[], training_precisions[];

void say_kernels(FILE *out, const bptt_model *model, int precision);              /* layers that run alike share their lines */
void say_scan(FILE *out, int threads, int workers, int units);                    /* how a step's work is shared out */
void emit_kernels(struct emit *emit, const bptt_model *model, int precision);     /* "kernels": one object a layer */

#endif
