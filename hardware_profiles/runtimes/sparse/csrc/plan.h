/* Plan: a sparse matrix in the order in which the kernels walk it.
 *
 * The columns are cut into blocks, so that the activations of one block stay in the first-level cache, and the rows
 * into chunks, one task each. Within a (chunk, block) segment rows are sorted by their number of entries: the inner
 * loop then runs equally long for many rows in a row, which a branch predictor learns. Four rows of equal length are
 * worked on together: their entries are interleaved, so that one load brings the columns of four.
 */
#ifndef TRIMFIT_PLAN_H
#define TRIMFIT_PLAN_H

#include <stddef.h>
#include <stdint.h>

/* A matrix in compressed rows. An entry is one weight: the bits of a float, or four int8 of a 1x4 block. */
typedef struct {
    const uint32_t *weights; /* [entries] */
    const uint16_t *columns; /* [entries] ascending within a row */
    const int32_t *counts;   /* [rows] entries of each row */
    int64_t entries, rows;
    int64_t width;           /* number of columns: weights, or 1x4 blocks, side by side */
} Sparse;

typedef struct {
    uint32_t length; /* entries of each of these rows */
    uint32_t rows;
} Run;

typedef struct {
    uint32_t first_run, runs, first_row, first_entry;
} Segment;

typedef struct {
    int64_t rows, width, block, chunk, blocks, chunks;
    Segment *segments; /* [chunks x blocks] */
    Run *runs;
    uint16_t *row_ids; /* within the chunk; every row is in the first block's segment, even without entries */
    uint16_t *columns; /* within the block, [entries] */
    uint32_t *weights; /* [entries] */
} Plan;

enum { PLAN_GROUP = 4 }; /* rows whose entries are interleaved; what is left of a run comes one by one */
enum { PLAN_MOST = 65536 }; /* columns, and rows of a chunk: what 16 bits index */

/* What is wrong with a matrix: `what` is NULL where nothing is. */
typedef struct {
    const char *what;
    int64_t row, got;
} Fault;

/* Checks everything that the kernels later rely on without looking. */
Fault plan_check(const Sparse *matrix);

/* Bytes that `plan_build` needs at `memory`, and at `work`, for a checked matrix. */
size_t plan_bytes(const Sparse *matrix, int64_t block, int64_t chunk);
size_t plan_work_bytes(int64_t block, int64_t chunk);

/* Lays a checked matrix out; `block` and `chunk` are at least 1 and at most PLAN_MOST. `memory` belongs to the plan. */
Plan plan_build(const Sparse *matrix, int64_t block, int64_t chunk, void *memory, void *work);

#endif
