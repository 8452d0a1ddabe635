#include "support.h"

typedef struct {
    char line[256];
    size_t length;
} Text;

static void add_text(Text *t, const char *more) {
    while (*more && t->length < sizeof t->line - 1) t->line[t->length++] = *more++;
    t->line[t->length] = 0;
}

static void add_number(Text *t, int64_t number) {
    char digits[24], *at = digits + sizeof digits - 1;
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    *at = 0;
    do *--at = (char)('0' + rest % 10);
    while (rest /= 10);
    if (number < 0) *--at = '-';
    add_text(t, at);
}

static Text beginning(const char *operator_name, const char *what) {
    Text t = {{0}, 0};
    add_text(&t, "trimfit ");
    add_text(&t, operator_name);
    add_text(&t, ": got ");
    add_text(&t, what);
    return t;
}

static OrtStatus *ended(const OrtApi *api, Text *t, const char *expected) {
    add_text(t, ", expected ");
    add_text(t, expected);
    return ort_create_status(api, ORT_INVALID_ARGUMENT, t->line);
}

static void add_number_after(Text *t, const char *word, int64_t number) {
    add_text(t, word);
    add_number(t, number);
}

OrtStatus *wrong(const OrtApi *api, const char *operator_name, const char *what, int64_t number, const char *expected) {
    Text t = beginning(operator_name, what);
    add_number_after(&t, " ", number);
    return ended(api, &t, expected);
}

OrtStatus *wrong_row(const OrtApi *api, const char *operator_name, const char *what, int64_t number, int64_t row,
                     const char *expected) {
    Text t = beginning(operator_name, what);
    add_number_after(&t, " ", number);
    add_number_after(&t, " at row ", row);
    return ended(api, &t, expected);
}

OrtStatus *wrong_kind(const OrtApi *api, const char *operator_name, const char *what, const char *expected) {
    Text t = beginning(operator_name, what);
    return ended(api, &t, expected);
}

OrtStatus *no_kernels(const OrtApi *api, const char *operator_name) {
    return wrong_kind(api, operator_name, "a CPU without AVX2 and FMA", "one with them: use the runtime onnxruntime-cpu");
}

static const char *type_name(OrtElement type) {
    return type == ORT_FLOAT ? "float32" : type == ORT_INT8 ? "int8" : type == ORT_UINT16 ? "uint16" : "int32";
}

OrtStatus *tensor_of(const OrtApi *api, const OrtValue *value, Tensor *t) {
    OrtTensorInfo *info = 0;
    TRY(ort_tensor_info(api, value, &info));
    OrtStatus *status = ort_element_type(api, info, &t->type);
    if (!status) status = ort_rank(api, info, &t->rank);
    if (!status && t->rank <= MOST_RANK) status = ort_dimensions(api, info, t->dims, t->rank);
    ort_release_tensor_info(api, info);
    if (status) return status;
    if (t->rank > MOST_RANK) return wrong(api, "operator", "a tensor of rank", (int64_t)t->rank, "at most 8");
    t->elements = 1;
    for (size_t i = 0; i < t->rank; i++) t->elements *= t->dims[i];
    return ort_tensor_data(api, value, &t->data);
}

OrtStatus *input_tensor(const OrtApi *api, const OrtKernelContext *context, size_t index, Tensor *t) {
    const OrtValue *value = 0;
    TRY(ort_input(api, context, index, &value));
    return tensor_of(api, value, t);
}

OrtStatus *constant_tensor(const OrtApi *api, const OrtKernelInfo *info, const char *operator_name, size_t index,
                           OrtElement type, size_t rank, Tensor *t) {
    const OrtValue *value = 0;
    int is_constant = 0;
    TRY(ort_constant_input(api, info, index, &is_constant, &value));
    if (!is_constant || !value)
        return wrong(api, operator_name, "a computed tensor as input", (int64_t)index, "a constant initializer");
    TRY(tensor_of(api, value, t));
    if (t->type != type) return wrong(api, operator_name, "another element type for input", (int64_t)index, type_name(type));
    if (t->rank != rank)
        return wrong(api, operator_name, "an initializer of rank", (int64_t)t->rank, rank == 1 ? "1" : "2");
    return 0;
}

OrtStatus *output_data(const OrtApi *api, OrtKernelContext *context, const int64_t *dims, size_t rank, float **data) {
    OrtValue *value = 0;
    void *memory = 0;
    TRY(ort_output(api, context, 0, dims, rank, &value));
    TRY(ort_tensor_data(api, value, &memory));
    *data = memory;
    return 0;
}

int64_t attribute_int(const OrtApi *api, const OrtKernelInfo *info, const char *name, int64_t fallback) {
    int64_t value = fallback;
    OrtStatus *missing = ort_attribute_int(api, info, name, &value);
    if (missing) ort_release_status(api, missing);
    return missing ? fallback : value;
}

int attribute_choice(const OrtApi *api, const OrtKernelInfo *info, const char *name, const char *const *choices) {
    char value[16] = {0};
    size_t size = 0;
    OrtStatus *missing = ort_attribute_string(api, info, name, 0, &size); /* asks for the size alone */
    if (missing) ort_release_status(api, missing);
    if (missing) return 0;
    if (size > sizeof value) return -1;
    OrtStatus *failed = ort_attribute_string(api, info, name, value, &size);
    if (failed) ort_release_status(api, failed);
    for (int i = 0; !failed && choices[i]; i++)
        if (same(value, choices[i])) return i;
    return -1;
}

/* The allocator promises no alignment; what it gave is kept in front of what is handed out. */
void *memory_new(const Memory *m, size_t bytes) {
    void *given = 0;
    OrtStatus *status = ort_alloc(m->api, m->allocator, bytes + 128, &given);
    if (status) ort_release_status(m->api, status);
    if (status || !given) return 0;
    uintptr_t aligned = ((uintptr_t)given + sizeof(void *) + 63) & ~(uintptr_t)63;
    ((void **)aligned)[-1] = given;
    return (void *)aligned;
}

void memory_free(const Memory *m, void *memory) {
    if (!memory) return;
    OrtStatus *status = ort_free(m->api, m->allocator, ((void **)memory)[-1]);
    if (status) ort_release_status(m->api, status);
}

enum { MOST_LANES = 64 };

Layout layout_of(int64_t sequences, int64_t tokens) {
    int64_t tiles = (tokens + MOST_LANES - 1) / MOST_LANES;
    int64_t share = tiles ? (tokens + tiles - 1) / tiles : STRIP;
    return (Layout){sequences, tokens, tiles, (int)((share + STRIP - 1) / STRIP * STRIP)};
}

int64_t strips_of(const Layout *l) { return l->sequences * l->tiles * (l->lanes / STRIP); }

Strip strip_at(const Layout *l, size_t index) {
    int64_t at = (int64_t)index * STRIP, tile = at / l->lanes, lane = at % l->lanes;
    int64_t token = tile % l->tiles * l->lanes + lane, left = l->tokens - token;
    int64_t sequence = tile / l->tiles;
    return (Strip){tile, lane, sequence * l->tokens + token, left < 0 ? 0 : left < STRIP ? left : STRIP};
}

int is_tiled(const Tensor *t, int64_t features, Layout *l) {
    if (t->rank != 4 || t->dims[2] != features) return 0;
    if (t->dims[3] < STRIP || t->dims[3] > MOST_LANES || t->dims[3] % STRIP) return 0;
    *l = (Layout){t->dims[0], 0, t->dims[1], (int)t->dims[3]};
    return 1;
}

OrtStatus *parallel(const OrtApi *api, const OrtKernelContext *context, Task task, int64_t total, void *data) {
    if (total > 1) return ort_parallel_for(api, context, task, (size_t)total, 0, data);
    if (total == 1) task(data, 0);
    return 0;
}
