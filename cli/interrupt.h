/* interrupt.h - Ctrl-C and SIGTERM: the first one asks to stop, so that the run can be saved; the second one ends the
 * program as if nobody had asked. */
#ifndef BPTT_CLI_INTERRUPT_H
#define BPTT_CLI_INTERRUPT_H

void interrupt_catch(void);
int interrupt_asked(void);

#endif
