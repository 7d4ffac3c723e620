/* model_file.h - models and checkpoints as safetensors with bptt's JSON beside the tensors. */
#ifndef BPTT_FILE_MODEL_FILE_H
#define BPTT_FILE_MODEL_FILE_H

#include "../model/model.h"

/* Writes the model; `extra` (borrowed, NULL: none) adds tensors, their names starting with "optimizer." or "state.";
 * `training` (NULL: none) is a JSON object kept as it is. */
int model_file_save(const bptt_model *model, const bptt_arrays *extra, const char *training, const char *path,
                    bptt_error *error);

/* Reads one. With extra or training not NULL they receive what the file has (owned; empty or NULL if it has none). */
int model_file_load(const char *path, bptt_model **model, bptt_arrays *extra, char **training, bptt_error *error);

#endif
