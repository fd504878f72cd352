/* Uses every function of nnunet.h. Arguments: model folder, input image, output image, and z y x of a raw
 * float image (native byte order) with its file; prints the number of foreground voxels of the array. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nnunet.h"

#define CHECK(condition)                                                                          \
    do {                                                                                          \
        if (!(condition)) {                                                                       \
            fprintf(stderr, "line %d: %s: %s\n", __LINE__, #condition, nnunet_last_error());      \
            return 1;                                                                             \
        }                                                                                         \
    } while (0)

struct counter {
    uint64_t calls, done, total;
    int stop;
};

static int32_t count(void *user, uint64_t done, uint64_t total) {
    struct counter *counter = user;
    counter->calls++;
    counter->done = done;
    counter->total = total;
    return counter->stop;
}

int main(int argc, char **argv) {
    CHECK(argc == 8);
    CHECK(strncmp(nnunet_version(), "nnunet ", 7) == 0);
    CHECK(nnunet_last_error()[0] == '\0');

    nnunet_model *model = NULL;
    CHECK(nnunet_model_load("/nowhere", NULL, &model) == NNUNET_FAILED);
    CHECK(model == NULL && strstr(nnunet_last_error(), "/nowhere") != NULL);
    CHECK(nnunet_model_load(NULL, NULL, &model) == NNUNET_FAILED);
    CHECK(nnunet_model_channels(NULL) == 0);

    nnunet_options options;
    nnunet_default_options(&options);
    CHECK(options.step_size == 0.5 && options.mirroring == 1);
    options.mirroring = 0;
    options.threads = 2;
    options.step_size = 2.0;
    CHECK(nnunet_model_load(argv[1], &options, &model) == NNUNET_FAILED);
    options.step_size = 0.5;
    CHECK(nnunet_model_load(argv[1], &options, &model) == NNUNET_OK);
    CHECK(nnunet_model_channels(model) == 1);

    const char *inputs[1] = {argv[2]};
    struct counter counter = {0, 0, 0, 0};
    CHECK(nnunet_predict_file(model, inputs, 1, argv[3], count, &counter) == NNUNET_OK);
    CHECK(counter.calls > 1 && counter.done == counter.total && counter.total > 0);
    CHECK(nnunet_predict_file(model, inputs, 0, argv[3], NULL, NULL) == NNUNET_FAILED);
    inputs[0] = "/nowhere/image.nii.gz";
    CHECK(nnunet_predict_file(model, inputs, 1, argv[3], NULL, NULL) == NNUNET_FAILED);
    CHECK(strstr(nnunet_last_error(), "/nowhere/image.nii.gz") != NULL);

    size_t shape[3] = {strtoul(argv[4], NULL, 10), strtoul(argv[5], NULL, 10), strtoul(argv[6], NULL, 10)};
    double spacing[3] = {1.0, 1.0, 1.0};
    size_t voxels = shape[0] * shape[1] * shape[2];
    float *image = malloc(voxels * sizeof *image);
    uint16_t *labels = malloc(voxels * sizeof *labels);
    FILE *file = fopen(argv[7], "rb");
    CHECK(image && labels && file && fread(image, sizeof *image, voxels, file) == voxels);
    fclose(file);
    CHECK(nnunet_predict_array(model, image, 1, shape, spacing, labels, NULL, NULL) == NNUNET_OK);
    size_t foreground = 0;
    for (size_t i = 0; i < voxels; i++) foreground += labels[i] != 0;
    printf("%zu\n", foreground);

    counter = (struct counter){0, 0, 0, 1};
    CHECK(nnunet_predict_array(model, image, 1, shape, spacing, labels, count, &counter) == NNUNET_STOPPED);
    CHECK(counter.calls <= 2);
    spacing[1] = 0.0;
    CHECK(nnunet_predict_array(model, image, 1, shape, spacing, labels, NULL, NULL) == NNUNET_FAILED);
    CHECK(strstr(nnunet_last_error(), "spacing") != NULL);

    free(image);
    free(labels);
    nnunet_model_free(model);
    nnunet_model_free(NULL);
    return 0;
}
