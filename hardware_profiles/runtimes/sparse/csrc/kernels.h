/* Kernels: the loops that are compiled once for every instruction set.
 *
 * Activations lie in tiles: float [features][lanes], one token a lane, lanes = 16, 32, 48 or 64, so that one weight
 * is multiplied with many tokens at a time. Best 64-byte aligned. What a padding lane holds never reaches another lane.
 * A strip is 16 neighbouring lanes of a tile: the kernels that say so work on one, given its first lane.
 */
#ifndef TRIMFIT_KERNELS_H
#define TRIMFIT_KERNELS_H

#include "plan.h"

enum { STRIP = 16 };

typedef enum { ACTIVATION_NONE, ACTIVATION_GELU, ACTIVATION_RELU } Activation;

/* The keys and values of one head of one sequence, and how its tiles follow one another. */
typedef struct {
    const float *keys, *values; /* first tile, at the head's first feature */
    const int64_t *mask;        /* [tokens] 0: hidden */
    int64_t tokens, features;   /* of the sequence, of the head */
    size_t tile_stride;         /* floats from one tile to the next */
    float scale;
} Head;

typedef struct {
    const char *name;

    /* y = start + W x for one chunk of rows: x [width][lanes], y [chunk rows][lanes], start [chunk rows]. */
    void (*multiply)(const Plan *, size_t chunk, const void *x, void *y, const void *start, int lanes);
    /* The same with int8 in 1x4 blocks: x int8 [width][lanes][4] as `quantise` leaves it, y and start int32. */
    void (*multiply_int8)(const Plan *, size_t chunk, const void *x, void *y, const void *start, int lanes);
    int32_t int8_offset; /* what `quantise` adds to every activation */

    /* strip = rows [tokens][stride], at most 16 tokens; those that are missing are 0. */
    void (*tile)(const float *rows, int64_t stride, int64_t tokens, int64_t features, float *strip, int lanes);
    /* rows [tokens][stride] = strip. */
    void (*untile)(const float *strip, int64_t features, float *rows, int64_t stride, int64_t tokens, int lanes);
    /* x [count] = activation(x), count a multiple of 16. */
    void (*activate)(float *x, size_t count, Activation);
    /* A strip of int8 [ceil(features / 4)][lanes][4], symmetric with a scale for each of its tokens. */
    void (*quantise)(const float *strip, int64_t features, int32_t *quantised, float *scales, int lanes);
    /* y [rows][lanes] = sums x token scale x row scale + bias. */
    void (*dequantise)(const int32_t *sums, int64_t rows, const float *token_scales, const float *row_scales,
                       const float *bias, float *y, int lanes);
    /* A strip of y = layer normalisation over features of x + residual. */
    void (*add_layer_norm)(const float *x, const float *residual, int64_t features, const float *gamma,
                           const float *beta, float epsilon, float *y, int lanes);
    /* out [features][lanes] = softmax(scale q^T k) v; `scores` has room for [tokens][lanes]. */
    void (*attention)(const float *queries, const Head *, float *scores, float *out, int lanes);
} Kernels;

/* The best that this CPU runs, or what the environment variable TRIMFIT_ISA names if it does. */
const Kernels *kernels_for_this_cpu(void);
/* Whether two names are equal, where there is no libc. */
int same(const char *a, const char *b);

extern const Kernels kernels_avx2, kernels_avx512, kernels_avx512vnni, kernels_neon, kernels_neondot;

#endif
