/* trainer.h - a trainer's inside, for checkpoints: a network, the optimiser's memory, and the count of updates. */
#ifndef BPTT_TRAIN_TRAINER_H
#define BPTT_TRAIN_TRAINER_H

#include "../model/network.h"

struct bptt_trainer {
    bptt_model *model;
    bptt_trainer_config config;
    struct network net;
    size_t first_region, second_region, partial_region, eval_region;
    float *first, *second;                 /* moments, laid out as the parameters; NULL where the rule has none */
    double *partial;                       /* sums of squares by chunk */
    void ***eval_state;                    /* carried states of bptt_trainer_loss */
    int64_t window;                        /* windows seen: the index of dropout masks */
    int64_t updates;                       /* of the moments: their bias corrections */
};

/* As bptt_trainer_loss, for a window of `steps` <= length. */
int trainer_loss(struct bptt_trainer *trainer, const void *x, const void *y, long steps, int reset, double *loss,
                 bptt_error *error);

#endif
