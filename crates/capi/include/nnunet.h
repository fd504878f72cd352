/* nnU-Net models for programs in C: load a model, segment files or arrays.
 *
 * `cargo build --release -p nnunet-capi` makes target/release/libnnunet_c, shared and static; the static one
 * also needs -lpthread -ldl -lm on Linux.
 *
 * Every function may be called from any thread; one model is used by one call at a time, further calls
 * wait. Texts are UTF-8. Axis order of arrays is (z, y, x), x fastest, with the channel in front;
 * spacings are in mm in the same order. */
#ifndef NNUNET_H
#define NNUNET_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t nnunet_status;
#define NNUNET_OK 0
/* nnunet_last_error says what went wrong and what to do. */
#define NNUNET_FAILED 1
/* The progress callback asked to stop. */
#define NNUNET_STOPPED 2

/* A loaded model. */
typedef struct nnunet_model nnunet_model;

/* How a model predicts. Fill it with nnunet_default_options first. */
typedef struct nnunet_options {
    /* Threads; 0: all cores. */
    uint32_t threads;
    /* Distance of neighbouring tiles as a share of the tile, above 0 and at most 1. */
    double step_size;
    /* Not 0: average over mirrored inputs, along the axes the model allows; up to 8 times slower. */
    int32_t mirroring;
} nnunet_options;

/* Called with the network passes done so far and their total, one call at a time, maybe from other threads
 * than the one that asked for the prediction. Anything but 0 as result stops the prediction. The callback
 * must not use the model that is predicting: that call would wait for the prediction to end. */
typedef int32_t (*nnunet_progress)(void *user, uint64_t done, uint64_t total);

/* Name and version of the library. Never freed. */
const char *nnunet_version(void);

/* What the last call in this thread that failed says. Valid until the next call in this thread; "" if
 * none has failed. */
const char *nnunet_last_error(void);

void nnunet_default_options(nnunet_options *options);

/* Loads the model in `folder` (TRAINER__PLANS__CONFIGURATION with plans.json, dataset.json and
 * fold_X/checkpoint_final.pth), all folds that are there. `options` may be NULL. On success *model is to
 * be freed with nnunet_model_free. Second stages of cascades are not for this interface. */
nnunet_status nnunet_model_load(const char *folder, const nnunet_options *options, nnunet_model **model);

/* Frees a model; NULL is ignored. */
void nnunet_model_free(nnunet_model *model);

/* Image channels that the model expects; 0 for NULL. */
size_t nnunet_model_channels(const nnunet_model *model);

/* Segments one case: `inputs` are the files of its channels in order, `output` is the segmentation's file,
 * with the file ending of the model. `progress` may be NULL. */
nnunet_status nnunet_predict_file(nnunet_model *model, const char *const *inputs, size_t input_count,
                                  const char *output, nnunet_progress progress, void *user);

/* Segments an array of `channels` x shape[0] x shape[1] x shape[2] intensities and writes
 * shape[0] x shape[1] x shape[2] labels. `progress` may be NULL. */
nnunet_status nnunet_predict_array(nnunet_model *model, const float *voxels, size_t channels,
                                   const size_t shape[3], const double spacing[3], uint16_t *labels,
                                   nnunet_progress progress, void *user);

#ifdef __cplusplus
}
#endif

#endif
