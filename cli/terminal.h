/* terminal.h - what is at the other end of a stream. */
#ifndef BPTT_CLI_TERMINAL_H
#define BPTT_CLI_TERMINAL_H

#include <stdio.h>

struct terminal {
    int present;    /* it is a terminal that can go back to the line's beginning */
    int colour;     /* colours are welcome (NO_COLOR, TERM=dumb) */
    int unicode;    /* the locale says UTF-8 */
};
struct terminal terminal_look(FILE *stream);
int terminal_width(FILE *stream);  /* columns now; 80 where it cannot be told */

#endif
