/* Tile, Untile, TiledAddLayerNormalization, TiledAttention, TiledSelfAttention: what keeps activations in tiles. */
#include "operators.h"
#include "support.h"

typedef struct {
    const char *name;
    Memory memory;
    const Kernels *kernels;
    int64_t heads;
    float scale; /* of the attention scores; epsilon of the normalisation */
} Tiled;

static void destroy(void *kernel) {
    Memory memory = ((Tiled *)kernel)->memory;
    memory_free(&memory, kernel);
    ort_release_allocator(memory.api, memory.allocator);
}

static OrtStatus *create(const char *name, const char *attribute, const OrtApi *api, const OrtKernelInfo *info, void **kernel) {
    Memory memory = {api, 0};
    float scale = 0;
    const Kernels *kernels = kernels_for_this_cpu();
    if (!kernels) return no_kernels(api, name);
    if (attribute) TRY(ort_attribute_float(api, info, attribute, &scale));
    TRY(ort_allocator(api, info, &memory.allocator));
    Tiled *t = memory_new(&memory, sizeof(Tiled));
    if (!t) {
        ort_release_allocator(api, memory.allocator);
        return wrong_kind(api, name, "no memory", "some for its state");
    }
    *t = (Tiled){name, memory, kernels, attribute_int(api, info, "heads", 0), scale};
    *kernel = t;
    return 0;
}

static OrtStatus *tiled_output(const Tiled *t, OrtKernelContext *context, const Layout *l, int64_t features, float **out) {
    int64_t dims[] = {l->sequences, l->tiles, features, l->lanes};
    return output_data(t->memory.api, context, dims, 4, out);
}

/* Tasks of one strip each; none for a tensor without features, which has no memory to point to. */
static int64_t work_of(const Layout *l, int64_t features) { return features ? strips_of(l) : 0; }

/* -- Tile, Untile ------------------------------------------------------------------------------------------------ */

typedef struct {
    const Kernels *kernels;
    Layout layout;
    int64_t features;
    float *rows, *tiles;
} Move;

static void tile_task(void *data, size_t index) {
    const Move *m = data;
    Strip s = strip_at(&m->layout, index);
    m->kernels->tile(m->rows + s.first_token * m->features, m->features, s.tokens, m->features,
                     m->tiles + s.tile * m->features * m->layout.lanes + s.lane, m->layout.lanes);
}

static void untile_task(void *data, size_t index) {
    const Move *m = data;
    Strip s = strip_at(&m->layout, index);
    m->kernels->untile(m->tiles + s.tile * m->features * m->layout.lanes + s.lane, m->features,
                       m->rows + s.first_token * m->features, m->features, s.tokens, m->layout.lanes);
}

static OrtStatus *compute_tile(void *kernel, OrtKernelContext *context) {
    const Tiled *t = kernel;
    const OrtApi *api = t->memory.api;
    Tensor x;
    TRY(input_tensor(api, context, 0, &x));
    if (x.rank != 3) return wrong(api, t->name, "X of rank", (int64_t)x.rank, "3");
    Move m = {t->kernels, layout_of(x.dims[0], x.dims[1]), x.dims[2], x.data, 0};
    TRY(tiled_output(t, context, &m.layout, m.features, &m.tiles));
    return parallel(api, context, tile_task, work_of(&m.layout, m.features), &m);
}

/* The layout of tiles [B][n][features][lanes] whose tokens a mask [B][T] counts. */
static OrtStatus *masked_layout(const Tiled *t, const Tensor *x, const Tensor *mask, Layout *layout) {
    const OrtApi *api = t->memory.api;
    Layout given;
    if (x->rank != 4 || !is_tiled(x, x->dims[2], &given)) return wrong(api, t->name, "input of rank", (int64_t)x->rank, "tiles");
    if (mask->rank != 2) return wrong(api, t->name, "attention_mask of rank", (int64_t)mask->rank, "2");
    *layout = layout_of(mask->dims[0], mask->dims[1]);
    if (layout->sequences != given.sequences || layout->tiles != given.tiles || layout->lanes != given.lanes)
        return wrong(api, t->name, "tiles of lanes", given.lanes, "those of attention_mask");
    return 0;
}

static OrtStatus *compute_untile(void *kernel, OrtKernelContext *context) {
    const Tiled *t = kernel;
    const OrtApi *api = t->memory.api;
    Tensor x, mask;
    TRY(input_tensor(api, context, 0, &x));
    TRY(input_tensor(api, context, 1, &mask));
    Move m = {.kernels = t->kernels, .tiles = x.data};
    TRY(masked_layout(t, &x, &mask, &m.layout));
    m.features = x.dims[2];
    int64_t dims[] = {m.layout.sequences, m.layout.tokens, m.features};
    TRY(output_data(api, context, dims, 3, &m.rows));
    return parallel(api, context, untile_task, work_of(&m.layout, m.features), &m);
}

/* -- TiledAddLayerNormalization ----------------------------------------------------------------------------------- */

typedef struct {
    const Tiled *operator;
    Layout layout;
    int64_t features;
    const float *x, *residual, *gamma, *beta;
    float *out;
} Normalise;

static void normalise_task(void *data, size_t index) {
    const Normalise *n = data;
    Strip s = strip_at(&n->layout, index);
    int64_t at = s.tile * n->features * n->layout.lanes + s.lane;
    n->operator->kernels->add_layer_norm(n->x + at, n->residual + at, n->features, n->gamma, n->beta, n->operator->scale,
                                         n->out + at, n->layout.lanes);
}

static OrtStatus *compute_normalise(void *kernel, OrtKernelContext *context) {
    const Tiled *t = kernel;
    const OrtApi *api = t->memory.api;
    Tensor x, residual, gamma, beta;
    Layout layout, other;
    TRY(input_tensor(api, context, 0, &x));
    TRY(input_tensor(api, context, 1, &residual));
    TRY(input_tensor(api, context, 2, &gamma));
    TRY(input_tensor(api, context, 3, &beta));
    if (!is_tiled(&x, gamma.elements, &layout)) return wrong(api, t->name, "X of rank", (int64_t)x.rank, "tiles as wide as gamma");
    if (!is_tiled(&residual, gamma.elements, &other) || residual.elements != x.elements || other.lanes != layout.lanes)
        return wrong(api, t->name, "residual with elements", residual.elements, "the shape of X");
    if (beta.elements != gamma.elements) return wrong(api, t->name, "beta of length", beta.elements, "that of gamma");
    Normalise n = {t, layout, gamma.elements, x.data, residual.data, gamma.data, beta.data, 0};
    TRY(tiled_output(t, context, &layout, n.features, &n.out));
    return parallel(api, context, normalise_task, work_of(&layout, n.features), &n);
}

/* -- TiledAttention ------------------------------------------------------------------------------------------------ */

typedef struct {
    const Tiled *operator;
    Layout layout;
    int64_t features, tile_features; /* of one head; from one tile of the inputs to the next */
    const float *queries, *keys, *values;
    const int64_t *mask;
    float *out;
    volatile int out_of_memory;
} Attend;

/* One head of one tile of queries. */
static void attend_task(void *data, size_t index) {
    Attend *a = data;
    const Tiled *t = a->operator;
    const Layout *l = &a->layout;
    int64_t tile = (int64_t)index % l->tiles, head = (int64_t)index / l->tiles % t->heads;
    int64_t sequence = (int64_t)index / l->tiles / t->heads;
    int64_t stride = a->tile_features * l->lanes, mine = head * a->features * l->lanes;
    int64_t first = sequence * l->tiles * stride + mine;
    float *out = a->out + (sequence * l->tiles + tile) * t->heads * a->features * l->lanes + mine;
    float *scores = memory_new(&t->memory, (size_t)(l->tokens * l->lanes) * sizeof(float));
    if (!scores) {
        a->out_of_memory = 1;
        return;
    }
    const int64_t *mask = a->mask + sequence * l->tokens;
    Head h = {a->keys + first, a->values + first, mask, l->tokens, a->features, (size_t)stride, t->scale};
    t->kernels->attention(a->queries + first + tile * stride, &h, scores, out, l->lanes);
    memory_free(&t->memory, scores);
}

/* `a` has its inputs; `features` are those of all heads. */
static OrtStatus *attend(Attend *a, OrtKernelContext *context, int64_t features) {
    const Tiled *t = a->operator;
    const OrtApi *api = t->memory.api;
    if (t->heads < 1 || features < t->heads || features % t->heads)
        return wrong(api, t->name, "heads", t->heads, "a divisor of Q's features");
    a->features = features / t->heads;
    TRY(tiled_output(t, context, &a->layout, features, &a->out));
    TRY(parallel(api, context, attend_task, a->layout.sequences * t->heads * a->layout.tiles, a));
    return a->out_of_memory ? wrong(api, t->name, "tokens", a->layout.tokens, "enough memory for them") : 0;
}

static OrtStatus *compute_attention(void *kernel, OrtKernelContext *context) {
    const Tiled *t = kernel;
    const OrtApi *api = t->memory.api;
    Tensor in[4];
    Layout other;
    for (size_t i = 0; i < 4; i++) TRY(input_tensor(api, context, i, &in[i]));
    Attend a = {.operator= t, .queries = in[0].data, .keys = in[1].data, .values = in[2].data, .mask = in[3].data};
    TRY(masked_layout(t, &in[0], &in[3], &a.layout));
    a.tile_features = in[0].dims[2];
    for (size_t i = 1; i < 3; i++) {
        if (!is_tiled(&in[i], a.tile_features, &other) || in[i].elements != in[0].elements || other.lanes != a.layout.lanes)
            return wrong(api, t->name, "another shape for input", (int64_t)i, "that of Q");
    }
    return attend(&a, context, a.tile_features);
}

/* Queries, keys and values one after another in the features of one tensor. */
static OrtStatus *compute_self_attention(void *kernel, OrtKernelContext *context) {
    const Tiled *t = kernel;
    const OrtApi *api = t->memory.api;
    Tensor x, mask;
    TRY(input_tensor(api, context, 0, &x));
    TRY(input_tensor(api, context, 1, &mask));
    Attend a = {.operator= t, .queries = x.data, .mask = mask.data};
    TRY(masked_layout(t, &x, &mask, &a.layout));
    a.tile_features = x.dims[2];
    if (a.tile_features % 3) return wrong(api, t->name, "features", a.tile_features, "a multiple of 3");
    a.keys = a.queries + a.tile_features / 3 * a.layout.lanes;
    a.values = a.queries + a.tile_features / 3 * 2 * a.layout.lanes;
    return attend(&a, context, a.tile_features / 3);
}

/* -- what onnxruntime asks ------------------------------------------------------------------------------------------ */

static const char *name_tile(const OrtCustomOp *op) { return (void)op, "Tile"; }
static const char *name_untile(const OrtCustomOp *op) { return (void)op, "Untile"; }
static const char *name_normalise(const OrtCustomOp *op) { return (void)op, "TiledAddLayerNormalization"; }
static const char *name_attention(const OrtCustomOp *op) { return (void)op, "TiledAttention"; }
static const char *name_self_attention(const OrtCustomOp *op) { return (void)op, "TiledSelfAttention"; }

static size_t one_input(const OrtCustomOp *op) { return (void)op, 1; }
static size_t two_inputs(const OrtCustomOp *op) { return (void)op, 2; }
static size_t four_inputs(const OrtCustomOp *op) { return (void)op, 4; }

static OrtElement all_float(const OrtCustomOp *op, size_t index) { return (void)op, (void)index, ORT_FLOAT; }
static OrtElement mask_second(const OrtCustomOp *op, size_t index) { return (void)op, index == 1 ? ORT_INT64 : ORT_FLOAT; }
static OrtElement attention_type(const OrtCustomOp *op, size_t index) { return (void)op, index == 3 ? ORT_INT64 : ORT_FLOAT; }

static OrtStatus *create_move(const OrtCustomOp *op, const OrtApi *api, const OrtKernelInfo *info, void **kernel) {
    return create(op->get_name(op), 0, api, info, kernel);
}
static OrtStatus *create_normalise(const OrtCustomOp *op, const OrtApi *api, const OrtKernelInfo *info, void **kernel) {
    return create(op->get_name(op), "epsilon", api, info, kernel);
}
static OrtStatus *create_attention(const OrtCustomOp *op, const OrtApi *api, const OrtKernelInfo *info, void **kernel) {
    return create(op->get_name(op), "scale", api, info, kernel);
}

const OrtCustomOp tile_operator = {OPERATOR_COMMON, .get_name = name_tile, .get_input_type = all_float,
                                   .get_input_count = one_input, .create_kernel_v2 = create_move,
                                   .compute_v2 = compute_tile, .destroy = destroy};
const OrtCustomOp untile_operator = {OPERATOR_COMMON, .get_name = name_untile, .get_input_type = mask_second,
                                     .get_input_count = two_inputs, .create_kernel_v2 = create_move,
                                     .compute_v2 = compute_untile, .destroy = destroy};
const OrtCustomOp tiled_add_layer_normalization = {
    OPERATOR_COMMON, .get_name = name_normalise, .get_input_type = all_float, .get_input_count = four_inputs,
    .create_kernel_v2 = create_normalise, .compute_v2 = compute_normalise, .destroy = destroy};
const OrtCustomOp tiled_attention = {OPERATOR_COMMON, .get_name = name_attention, .get_input_type = attention_type,
                                     .get_input_count = four_inputs, .create_kernel_v2 = create_attention,
                                     .compute_v2 = compute_attention, .destroy = destroy};
const OrtCustomOp tiled_self_attention = {
    OPERATOR_COMMON, .get_name = name_self_attention, .get_input_type = mask_second, .get_input_count = two_inputs,
    .create_kernel_v2 = create_attention, .compute_v2 = compute_self_attention, .destroy = destroy};
