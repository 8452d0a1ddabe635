/* SparseLinear and SparseLinearInt8: Y = activation(X W^T + bias) with W [rows, in_features] sparse. */
#include "operators.h"
#include "support.h"

/* 128 columns of 64 lanes fill 32 KB of the first-level cache. Where rows have less than FEW entries in such a block,
 * starting and ending them takes the time: then blocks are wider. */
enum { DEFAULT_BLOCK = 128, DEFAULT_BLOCK_OF_FEW = 192, FEW = 10, DEFAULT_CHUNK = 384 };

typedef struct {
    const char *name;
    Memory memory;
    const Kernels *kernels;
    Plan plan;
    void *plan_memory;
    float *bias, *row_scales;  /* [rows]; row_scales only with int8 */
    int32_t *start;            /* [rows] int8: what undoes the offset of the activations */
    int64_t in_features;
    Activation activation;
    int is_int8, tiled_in, tiled_out;
} Linear;

/* One call: where each tile's activations are, as rows or tiles of floats, and as int8. */
typedef struct {
    const Linear *linear;
    Layout layout;
    const float *rows_in;
    float *tiles_in, *out;
    int32_t *quantised;
    float *token_scales;
    volatile int out_of_memory;
} Call;

/* -- creation ----------------------------------------------------------------------------------------------- */

static OrtStatus *check_values(const OrtApi *api, const Linear *l, const Tensor *values, const Sparse *matrix) {
    if (l->is_int8) {
        if (values->dims[1] != 4) return wrong(api, l->name, "blocks of", values->dims[1], "4 values");
        const int8_t *weights = values->data;
        for (int64_t i = 0; i < values->elements; i++)
            if (weights[i] == -128) return wrong(api, l->name, "weight", -128, "-127 to 127");
    }
    Fault fault = plan_check(matrix);
    if (!fault.what) return 0;
    return wrong_row(api, l->name, fault.what, fault.got, fault.row,
                     "counts that sum up to the values, columns ascending below in_features");
}

static OrtStatus *read_matrix(const OrtApi *api, const OrtKernelInfo *info, const Linear *l, Sparse *m) {
    Tensor values, columns, counts;
    TRY(constant_tensor(api, info, l->name, 1, l->is_int8 ? ORT_INT8 : ORT_FLOAT, l->is_int8 ? 2 : 1, &values));
    TRY(constant_tensor(api, info, l->name, 2, ORT_UINT16, 1, &columns));
    TRY(constant_tensor(api, info, l->name, 3, ORT_INT32, 1, &counts));
    if (values.dims[0] != columns.dims[0]) return wrong(api, l->name, "columns of length", columns.dims[0], "as many as values");
    if (columns.elements > INT32_MAX) return wrong(api, l->name, "values of length", columns.elements, "less than 2^31");
    int64_t width = l->is_int8 ? (l->in_features + 3) / 4 : l->in_features;
    /* also the most that int8 products of 255 x 127 may be summed up in 32 bits */
    if (l->in_features < 1 || l->in_features > PLAN_MOST) return wrong(api, l->name, "in_features", l->in_features, "1 to 65536 columns");
    *m = (Sparse){values.data, columns.data, counts.data, columns.elements, counts.elements, width};
    return check_values(api, l, &values, m);
}

static int64_t within(int64_t value, int64_t most) { return value < 1 ? 1 : value > most ? most : value; }

static OrtStatus *build_plan(const OrtApi *api, const OrtKernelInfo *info, Linear *l, const Sparse *m) {
    int64_t block = attribute_int(api, info, "block", 0), chunk = attribute_int(api, info, "chunk", 0);
    int few = m->entries * DEFAULT_BLOCK < FEW * m->rows * m->width;
    block = within(block > 0 ? block : few ? DEFAULT_BLOCK_OF_FEW : DEFAULT_BLOCK, m->width);
    chunk = within(chunk > 0 ? chunk : DEFAULT_CHUNK, within(m->rows, PLAN_MOST));
    /* No more segments than the file has numbers, or a small one could ask for any amount of memory. */
    while ((m->width + block - 1) / block * ((m->rows + chunk - 1) / chunk) > m->rows + m->entries) {
        block = within(2 * block, m->width);
        chunk = within(2 * chunk, within(m->rows, PLAN_MOST));
    }
    l->plan_memory = memory_new(&l->memory, plan_bytes(m, block, chunk));
    void *work = memory_new(&l->memory, plan_work_bytes(block, chunk));
    if (l->plan_memory && work) l->plan = plan_build(m, block, chunk, l->plan_memory, work);
    memory_free(&l->memory, work);
    return l->plan_memory && work ? 0 : wrong(api, l->name, "values of length", m->entries, "enough memory for them");
}

/* Copies of the constants: an initializer's memory is not promised to outlive the session's creation. */
static OrtStatus *copy_constants(const OrtApi *api, const OrtKernelInfo *info, Linear *l, const Sparse *m) {
    Tensor bias, scales = {0};
    if (l->is_int8) TRY(constant_tensor(api, info, l->name, 4, ORT_FLOAT, 1, &scales));
    TRY(constant_tensor(api, info, l->name, l->is_int8 ? 5 : 4, ORT_FLOAT, 1, &bias));
    if (bias.elements != m->rows) return wrong(api, l->name, "bias of length", bias.elements, "one for each row");
    if (l->is_int8 && scales.elements != m->rows)
        return wrong(api, l->name, "scales of length", scales.elements, "one for each row");
    size_t bytes = ((size_t)m->rows * sizeof(float) + 63) & ~(size_t)63;
    char *memory = memory_new(&l->memory, 3 * bytes);
    if (!memory) return wrong(api, l->name, "rows", m->rows, "enough memory for them");
    l->bias = (float *)memory, l->row_scales = (float *)(memory + bytes), l->start = (int32_t *)(memory + 2 * bytes);
    const int8_t *weight = (const int8_t *)m->weights;
    for (int64_t row = 0; row < m->rows; row++) {
        l->bias[row] = ((const float *)bias.data)[row];
        l->row_scales[row] = l->is_int8 ? ((const float *)scales.data)[row] : 1.0f;
        int32_t sum = 0;
        for (int64_t i = 0; l->is_int8 && i < 4 * (int64_t)m->counts[row]; i++) sum += *weight++;
        l->start[row] = -sum * l->kernels->int8_offset;
    }
    return 0;
}

static OrtStatus *read_attributes(const OrtApi *api, const OrtKernelInfo *info, Linear *l) {
    static const char *const activations[] = {"none", "gelu", "relu", 0}, *const layouts[] = {"rows", "tiles", 0};
    int activation = attribute_choice(api, info, "activation", activations);
    l->tiled_in = attribute_choice(api, info, "input_layout", layouts);
    l->tiled_out = attribute_choice(api, info, "output_layout", layouts);
    l->in_features = attribute_int(api, info, "in_features", 0);
    if (activation < 0) return wrong_kind(api, l->name, "another activation", "none, gelu or relu");
    if (l->tiled_in < 0 || l->tiled_out < 0) return wrong_kind(api, l->name, "another layout", "rows or tiles");
    if (l->tiled_in && !l->tiled_out) 
        return wrong_kind(api, l->name, "input_layout tiles with output_layout rows", "tiles for both, and Untile behind");
    l->activation = (Activation)activation;
    return 0;
}

static OrtStatus *create_parts(const OrtApi *api, const OrtKernelInfo *info, Linear *l) {
    Sparse matrix;
    if (!l->kernels) return no_kernels(api, l->name);
    TRY(read_attributes(api, info, l));
    TRY(read_matrix(api, info, l, &matrix));
    TRY(build_plan(api, info, l, &matrix));
    return copy_constants(api, info, l, &matrix);
}

static void destroy(void *kernel) {
    Linear *l = kernel;
    Memory memory = l->memory;
    memory_free(&memory, l->bias);
    memory_free(&memory, l->plan_memory);
    memory_free(&memory, l);
    ort_release_allocator(memory.api, memory.allocator);
}

static OrtStatus *create(const char *name, int is_int8, const OrtApi *api, const OrtKernelInfo *info, void **kernel) {
    Memory memory = {api, 0};
    TRY(ort_allocator(api, info, &memory.allocator));
    Linear *l = memory_new(&memory, sizeof(Linear));
    if (!l) {
        ort_release_allocator(api, memory.allocator);
        return wrong_kind(api, name, "no memory", "some for its state");
    }
    *l = (Linear){.name = name, .memory = memory, .kernels = kernels_for_this_cpu(), .is_int8 = is_int8};
    OrtStatus *status = create_parts(api, info, l);
    if (status) destroy(l);
    else *kernel = l;
    return status;
}

/* -- a call --------------------------------------------------------------------------------------------------- */

static const float *tile_at(const Call *c, int64_t tile) {
    return c->tiles_in + tile * c->linear->in_features * c->layout.lanes;
}

static size_t quantised_at(const Call *c, int64_t tile) { return (size_t)(tile * c->linear->plan.width * c->layout.lanes); }

static void tile_task(void *data, size_t index) {
    const Call *c = data;
    Strip s = strip_at(&c->layout, index);
    int64_t features = c->linear->in_features;
    c->linear->kernels->tile(c->rows_in + s.first_token * features, features, s.tokens, features,
                             c->tiles_in + s.tile * features * c->layout.lanes + s.lane, c->layout.lanes);
}

static void quantise_task(void *data, size_t index) {
    const Call *c = data;
    Strip s = strip_at(&c->layout, index);
    c->linear->kernels->quantise(tile_at(c, s.tile) + s.lane, c->linear->in_features,
                                 c->quantised + quantised_at(c, s.tile) + s.lane,
                                 c->token_scales + s.tile * c->layout.lanes + s.lane, c->layout.lanes);
}

static void int8_chunk(const Call *c, int64_t tile, int64_t chunk, int64_t rows, int32_t *sums, float *y) {
    const Linear *l = c->linear;
    int64_t first = chunk * l->plan.chunk;
    l->kernels->multiply_int8(&l->plan, (size_t)chunk, c->quantised + quantised_at(c, tile), sums, l->start + first,
                              c->layout.lanes);
    l->kernels->dequantise(sums, rows, c->token_scales + tile * c->layout.lanes, l->row_scales + first,
                           l->bias + first, y, c->layout.lanes);
}

/* One chunk of rows times one tile; tiles of a chunk follow one another, while its weights are in the caches. */
static void multiply_task(void *data, size_t index) {
    Call *c = data;
    const Linear *l = c->linear;
    int lanes = c->layout.lanes;
    int64_t tiles = c->layout.sequences * c->layout.tiles, tile = (int64_t)index % tiles, chunk = (int64_t)index / tiles;
    int64_t first = chunk * l->plan.chunk, left = l->plan.rows - first;
    int64_t rows = left < l->plan.chunk ? left : l->plan.chunk;
    size_t size = (size_t)(rows * lanes) * sizeof(float);
    char *scratch = l->tiled_out && !l->is_int8 ? 0 : memory_new(&l->memory, 2 * size);
    if (!scratch && (!l->tiled_out || l->is_int8)) {
        c->out_of_memory = 1;
        return;
    }
    float *y = l->tiled_out ? c->out + (tile * l->plan.rows + first) * lanes : (float *)scratch;
    if (l->is_int8) int8_chunk(c, tile, chunk, rows, (int32_t *)(scratch + size), y);
    else l->kernels->multiply(&l->plan, (size_t)chunk, tile_at(c, tile), y, l->bias + first, lanes);
    if (l->activation) l->kernels->activate(y, (size_t)(rows * lanes), l->activation);
    if (!l->tiled_out) {
        for (int lane = 0; lane < lanes; lane += STRIP) {
            Strip s = strip_at(&c->layout, (size_t)((tile * lanes + lane) / STRIP));
            l->kernels->untile(y + lane, rows, c->out + s.first_token * l->plan.rows + first, l->plan.rows, s.tokens, lanes);
        }
    }
    memory_free(&l->memory, scratch);
}

static OrtStatus *run(Call *c, const OrtKernelContext *context, float *tiles, int32_t *quantised) {
    const Linear *l = c->linear;
    const OrtApi *api = l->memory.api;
    int64_t total = c->layout.sequences * c->layout.tiles;
    if (tiles) {
        c->tiles_in = tiles;
        TRY(parallel(api, context, tile_task, strips_of(&c->layout), c));
    }
    if (l->is_int8) {
        c->quantised = quantised;
        c->token_scales = (float *)(quantised + quantised_at(c, total));
        TRY(parallel(api, context, quantise_task, strips_of(&c->layout), c));
    }
    TRY(parallel(api, context, multiply_task, total * l->plan.chunks, c));
    return c->out_of_memory ? wrong(api, l->name, "rows", l->plan.rows, "enough memory for them") : 0;
}

static OrtStatus *run_with_memory(Call *c, const OrtKernelContext *context) {
    const Linear *l = c->linear;
    size_t floats = (size_t)(c->layout.sequences * c->layout.tiles * c->layout.lanes) * sizeof(float);
    float *tiles = l->tiled_in ? 0 : memory_new(&l->memory, floats * (size_t)l->in_features);
    int32_t *quantised = l->is_int8 ? memory_new(&l->memory, floats * (size_t)(l->plan.width + 1)) : 0;
    OrtStatus *status;
    if ((!tiles && !l->tiled_in) || (!quantised && l->is_int8))
        status = wrong(l->memory.api, l->name, "tokens", c->layout.tokens, "enough memory for them");
    else status = run(c, context, tiles, quantised);
    memory_free(&l->memory, quantised);
    memory_free(&l->memory, tiles);
    return status;
}

/* The layout of the input and the dimensions of the output. */
static OrtStatus *shapes(const Linear *l, const Tensor *x, Layout *layout, int64_t *dims, size_t *rank) {
    const OrtApi *api = l->memory.api;
    if (l->tiled_in) {
        if (!is_tiled(x, l->in_features, layout)) return wrong(api, l->name, "X of rank", (int64_t)x->rank, "tiles of in_features");
    } else {
        int64_t last = x->rank ? x->dims[x->rank - 1] : 0;
        if (last != l->in_features) return wrong(api, l->name, "X with features", last, "in_features");
        if (l->tiled_out && x->rank != 3) return wrong(api, l->name, "X of rank", (int64_t)x->rank, "3 for tiles");
        *layout = l->tiled_out ? layout_of(x->dims[0], x->dims[1]) : layout_of(1, x->elements / last);
    }
    *rank = l->tiled_out ? 4 : x->rank;
    if (l->tiled_out) dims[0] = layout->sequences, dims[1] = layout->tiles, dims[2] = l->plan.rows, dims[3] = layout->lanes;
    else {
        for (size_t i = 0; i + 1 < x->rank; i++) dims[i] = x->dims[i];
        dims[x->rank - 1] = l->plan.rows;
    }
    return 0;
}

static OrtStatus *compute(void *kernel, OrtKernelContext *context) {
    const Linear *l = kernel;
    Call c = {.linear = l};
    Tensor x;
    int64_t dims[MOST_RANK];
    size_t rank = 0;
    TRY(input_tensor(l->memory.api, context, 0, &x));
    TRY(shapes(l, &x, &c.layout, dims, &rank));
    TRY(output_data(l->memory.api, context, dims, rank, &c.out));
    c.rows_in = l->tiled_in ? 0 : x.data;
    c.tiles_in = l->tiled_in ? x.data : 0;
    return run_with_memory(&c, context);
}

/* -- what onnxruntime asks ------------------------------------------------------------------------------------- */

static const char *name_fp32(const OrtCustomOp *op) { return (void)op, "SparseLinear"; }
static const char *name_int8(const OrtCustomOp *op) { return (void)op, "SparseLinearInt8"; }
static size_t inputs_fp32(const OrtCustomOp *op) { return (void)op, 5; }
static size_t inputs_int8(const OrtCustomOp *op) { return (void)op, 6; }

static OrtElement type_fp32(const OrtCustomOp *op, size_t index) {
    static const OrtElement types[] = {ORT_FLOAT, ORT_FLOAT, ORT_UINT16, ORT_INT32, ORT_FLOAT};
    return (void)op, types[index];
}

static OrtElement type_int8(const OrtCustomOp *op, size_t index) {
    static const OrtElement types[] = {ORT_FLOAT, ORT_INT8, ORT_UINT16, ORT_INT32, ORT_FLOAT, ORT_FLOAT};
    return (void)op, types[index];
}

static OrtStatus *create_fp32(const OrtCustomOp *op, const OrtApi *api, const OrtKernelInfo *info, void **kernel) {
    return (void)op, create("SparseLinear", 0, api, info, kernel);
}

static OrtStatus *create_int8(const OrtCustomOp *op, const OrtApi *api, const OrtKernelInfo *info, void **kernel) {
    return (void)op, create("SparseLinearInt8", 1, api, info, kernel);
}

const OrtCustomOp sparse_linear = {OPERATOR_COMMON, .get_name = name_fp32, .get_input_type = type_fp32,
                                   .get_input_count = inputs_fp32, .create_kernel_v2 = create_fp32,
                                   .compute_v2 = compute, .destroy = destroy};
const OrtCustomOp sparse_linear_int8 = {OPERATOR_COMMON, .get_name = name_int8, .get_input_type = type_int8,
                                        .get_input_count = inputs_int8, .create_kernel_v2 = create_int8,
                                        .compute_v2 = compute, .destroy = destroy};
