/* model.h - a model: cells stacked in layers, an embedding below, a head above, and their parameters in one block.
 *
 *     tokens [T, B] -> embed.weight [V, E] -> layer 0 .. L-1 -> head.weight [O, D], head.bias [O] -> o [T, B, O]
 *
 * All parameters stand one behind the other in `data`, in the order of `tensor`. Within a layer the matrices stand in the
 * order in which the backward program joins them (time/layer.h), which is not the order of the equations: files name them. */
#ifndef BPTT_MODEL_MODEL_H
#define BPTT_MODEL_MODEL_H

#include "../base/random.h"
#include "../cell/cell.h"
#include "../time/layer.h"

struct tensor {
    char name[112];                        /* as in the file: layers.0.W_i, head.weight, ... */
    int layer, param;                      /* of a cell; layer -1: embedding or head */
    int rank;
    long shape[2];
    long offset, count;                    /* elements in data */
};

struct bptt_model {
    struct bptt_cell *cell;                /* a reference */
    long inputs, vocabulary, hidden, layers, outputs;
    int loss, head, tied, orthogonal;
    double forget_bias;
    uint64_t seed;
    char *dims;                            /* overrides of the cell's sizes, owned; NULL: none */
    long **size;                           /* by layer: the cell's dimensions */
    struct slot **slot;                    /* by layer: the cell's parameters */
    struct tensor *tensor;
    int tensors;
    long embed_offset, head_offset, bias_offset;       /* -1: there is none. Tied: head_offset == embed_offset */
    long top;                              /* D: width of the top layer's output */
    float *data;
    long count;
    struct arena arena;
    /* what files carry along */
    char *vocabulary_json;                 /* data/vocabulary.h writes and reads it; owned; NULL: none */
    char symbols[16];                      /* "chars", "bytes", "words" or "" */
    int64_t step;
    double valid_loss;
};

/* Shapes and offsets, so that the count is known; then memory for the values, zeroed. */
int model_shape(const bptt_model_config *config, bptt_model **model, bptt_error *error);
int model_allocate(bptt_model *model, bptt_error *error);
/* The start of every parameter, each from a stream of its own name. */
int model_initialise(bptt_model *model, bptt_error *error);
const struct tensor *model_tensor(const bptt_model *model, const char *name);     /* NULL if there is none */

#endif
