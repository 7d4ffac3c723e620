/* picture.h - an unrolled graph to look at: as SVG (picture.c), for Graphviz and as characters (sketch.c). */
#ifndef BPTT_STUDY_PICTURE_H
#define BPTT_STUDY_PICTURE_H

#include "../base/error.h"
#include "../base/text.h"

int picture_svg(const bptt_graph *graph, struct text *out, bptt_error *error);
/* As text of XML. */
void picture_escape(const char *text, size_t length, struct text *out);

#endif
