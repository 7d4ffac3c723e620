/* inspect.h - an inspection as JSON (inspect_json.c) and as tables and small plots for people (inspect_text.c). */
#ifndef BPTT_CLI_INSPECT_H
#define BPTT_CLI_INSPECT_H

#include <bptt.h>

void inspect_emit(const bptt_inspect_report *report);
void inspect_print(const bptt_inspect_report *report);

#endif
