/* What all operators need: errors in one line, checked tensors and attributes, memory, the layout of tiles. */
#ifndef TRIMFIT_SUPPORT_H
#define TRIMFIT_SUPPORT_H

#include "kernels.h"
#include "ort.h"

/* Leave with the status of `expression` unless it succeeded. */
#define TRY(expression)                                  \
    do {                                                 \
        OrtStatus *status_of_try = (expression);         \
        if (status_of_try) return status_of_try;         \
    } while (0)

/* "trimfit OPERATOR: got WHAT NUMBER, expected EXPECTED". */
OrtStatus *wrong(const OrtApi *, const char *operator_name, const char *what, int64_t number, const char *expected);
/* The same of a row, and without a number. */
OrtStatus *wrong_row(const OrtApi *, const char *operator_name, const char *what, int64_t number, int64_t row,
                     const char *expected);
OrtStatus *wrong_kind(const OrtApi *, const char *operator_name, const char *what, const char *expected);
OrtStatus *no_kernels(const OrtApi *, const char *operator_name);

enum { MOST_RANK = 8 };

typedef struct {
    void *data;
    OrtElement type;
    int64_t dims[MOST_RANK];
    size_t rank;
    int64_t elements;
} Tensor;

OrtStatus *tensor_of(const OrtApi *, const OrtValue *, Tensor *);
OrtStatus *input_tensor(const OrtApi *, const OrtKernelContext *, size_t index, Tensor *);
/* A constant input of this type and rank. */
OrtStatus *constant_tensor(const OrtApi *, const OrtKernelInfo *, const char *operator_name, size_t index,
                           OrtElement, size_t rank, Tensor *);
OrtStatus *output_data(const OrtApi *, OrtKernelContext *, const int64_t *dims, size_t rank, float **data);

/* An attribute, or `fallback` where it is missing. */
int64_t attribute_int(const OrtApi *, const OrtKernelInfo *, const char *name, int64_t fallback);
/* The index of a string attribute's value in `choices` (NULL ends them); the first where it is missing; -1: none. */
int attribute_choice(const OrtApi *, const OrtKernelInfo *, const char *name, const char *const *choices);

typedef struct {
    const OrtApi *api;
    OrtAllocator *allocator;
} Memory;

/* 64-byte aligned, or NULL. */
void *memory_new(const Memory *, size_t bytes);
void memory_free(const Memory *, void *);

/* How the tokens of a batch lie in tiles. */
typedef struct {
    int64_t sequences, tokens, tiles; /* tiles of one sequence */
    int lanes;
} Layout;

Layout layout_of(int64_t sequences, int64_t tokens);

/* Where 16 lanes of all tiles of a batch are; at the end of a sequence they hold fewer tokens. */
typedef struct {
    int64_t tile, lane;          /* of the batch, of the tile */
    int64_t first_token, tokens; /* of the batch */
} Strip;

int64_t strips_of(const Layout *);
Strip strip_at(const Layout *, size_t index);
/* Whether a tensor is [sequences][tiles][features][lanes]; fills `layout` but for `tokens`. */
int is_tiled(const Tensor *, int64_t features, Layout *);

typedef void (*Task)(void *data, size_t index);
OrtStatus *parallel(const OrtApi *, const OrtKernelContext *, Task, int64_t total, void *data);

#endif
