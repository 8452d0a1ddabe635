/* The part of onnxruntime's C ABI that the operators use, declared by hand: its wheel ships no headers.
 *
 * OrtApi is a table of function pointers that only ever grows, so an entry's place is part of the ABI. Places and
 * signatures: onnxruntime_c_api.h, "struct OrtApi" and "struct OrtCustomOp".
 */
#ifndef TRIMFIT_ORT_H
#define TRIMFIT_ORT_H

#include <stddef.h>
#include <stdint.h>

#define ORT_API_VERSION 18 /* onnxruntime 1.18: KernelInfoGetAllocator is the newest entry used */

enum { ORT_FAIL = 1, ORT_INVALID_ARGUMENT = 2, ORT_INVALID_GRAPH = 10 };
enum { ORT_MEMORY_DEFAULT = 0 };

typedef enum { ORT_ANY = 0, ORT_FLOAT = 1, ORT_INT8 = 3, ORT_UINT16 = 4, ORT_INT32 = 6, ORT_INT64 = 7 } OrtElement;
typedef enum { ORT_REQUIRED = 0 } OrtCharacteristic;

typedef struct OrtStatus OrtStatus;
typedef struct OrtValue OrtValue;
typedef struct OrtTensorInfo OrtTensorInfo;
typedef struct OrtKernelInfo OrtKernelInfo;
typedef struct OrtKernelContext OrtKernelContext;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtCustomOpDomain OrtCustomOpDomain;
typedef struct OrtAllocator OrtAllocator;
typedef struct OrtApi OrtApi; /* never complete: entries are reached by place */
typedef struct OrtCustomOp OrtCustomOp;

typedef struct {
    const OrtApi *(*get_api)(uint32_t version);
    const char *(*get_version_string)(void);
} OrtApiBase;

struct OrtCustomOp {
    uint32_t version;
    void *(*create_kernel)(const OrtCustomOp *, const OrtApi *, const OrtKernelInfo *);
    const char *(*get_name)(const OrtCustomOp *);
    const char *(*get_execution_provider)(const OrtCustomOp *);
    OrtElement (*get_input_type)(const OrtCustomOp *, size_t index);
    size_t (*get_input_count)(const OrtCustomOp *);
    OrtElement (*get_output_type)(const OrtCustomOp *, size_t index);
    size_t (*get_output_count)(const OrtCustomOp *);
    void (*compute)(void *kernel, OrtKernelContext *);
    void (*destroy)(void *kernel);
    OrtCharacteristic (*get_input_characteristic)(const OrtCustomOp *, size_t index);
    OrtCharacteristic (*get_output_characteristic)(const OrtCustomOp *, size_t index);
    int (*get_input_memory_type)(const OrtCustomOp *, size_t index);
    int (*get_variadic_input_min_arity)(const OrtCustomOp *);
    int (*get_variadic_input_homogeneity)(const OrtCustomOp *);
    int (*get_variadic_output_min_arity)(const OrtCustomOp *);
    int (*get_variadic_output_homogeneity)(const OrtCustomOp *);
    OrtStatus *(*create_kernel_v2)(const OrtCustomOp *, const OrtApi *, const OrtKernelInfo *, void **kernel);
    OrtStatus *(*compute_v2)(void *kernel, OrtKernelContext *);
    OrtStatus *(*infer_output_shape)(const OrtCustomOp *, void *context);
    int (*get_start_version)(const OrtCustomOp *);
    int (*get_end_version)(const OrtCustomOp *);
    size_t (*get_may_inplace)(int **input, int **output);
    void (*release_may_inplace)(int *input, int *output);
    size_t (*get_alias_map)(int **input, int **output);
    void (*release_alias_map)(int *input, int *output);
};

/* The entry of `api` at a place, as a function of this type. */
#define ORT_AT(place, type) ((type)((void (*const *)(void))api)[place])

static inline OrtStatus *ort_create_status(const OrtApi *api, int code, const char *message) {
    return ORT_AT(0, OrtStatus * (*)(int, const char *))(code, message);
}
static inline OrtStatus *ort_create_domain(const OrtApi *api, const char *name, OrtCustomOpDomain **domain) {
    return ORT_AT(26, OrtStatus * (*)(const char *, OrtCustomOpDomain **))(name, domain);
}
static inline OrtStatus *ort_domain_add(const OrtApi *api, OrtCustomOpDomain *domain, const OrtCustomOp *op) {
    return ORT_AT(27, OrtStatus * (*)(OrtCustomOpDomain *, const OrtCustomOp *))(domain, op);
}
static inline OrtStatus *ort_add_domain(const OrtApi *api, OrtSessionOptions *options, OrtCustomOpDomain *domain) {
    return ORT_AT(28, OrtStatus * (*)(OrtSessionOptions *, OrtCustomOpDomain *))(options, domain);
}
static inline OrtStatus *ort_tensor_data(const OrtApi *api, const OrtValue *value, void **data) {
    return ORT_AT(51, OrtStatus * (*)(const OrtValue *, void **))(value, data);
}
static inline OrtStatus *ort_element_type(const OrtApi *api, const OrtTensorInfo *info, OrtElement *type) {
    return ORT_AT(60, OrtStatus * (*)(const OrtTensorInfo *, OrtElement *))(info, type);
}
static inline OrtStatus *ort_rank(const OrtApi *api, const OrtTensorInfo *info, size_t *rank) {
    return ORT_AT(61, OrtStatus * (*)(const OrtTensorInfo *, size_t *))(info, rank);
}
static inline OrtStatus *ort_dimensions(const OrtApi *api, const OrtTensorInfo *info, int64_t *dims, size_t rank) {
    return ORT_AT(62, OrtStatus * (*)(const OrtTensorInfo *, int64_t *, size_t))(info, dims, rank);
}
static inline OrtStatus *ort_tensor_info(const OrtApi *api, const OrtValue *value, OrtTensorInfo **info) {
    return ORT_AT(65, OrtStatus * (*)(const OrtValue *, OrtTensorInfo **))(value, info);
}
static inline OrtStatus *ort_alloc(const OrtApi *api, OrtAllocator *allocator, size_t size, void **memory) {
    return ORT_AT(75, OrtStatus * (*)(OrtAllocator *, size_t, void **))(allocator, size, memory);
}
static inline OrtStatus *ort_free(const OrtApi *api, OrtAllocator *allocator, void *memory) {
    return ORT_AT(76, OrtStatus * (*)(OrtAllocator *, void *))(allocator, memory);
}
static inline OrtStatus *ort_attribute_float(const OrtApi *api, const OrtKernelInfo *info, const char *name, float *out) {
    return ORT_AT(85, OrtStatus * (*)(const OrtKernelInfo *, const char *, float *))(info, name, out);
}
static inline OrtStatus *ort_attribute_int(const OrtApi *api, const OrtKernelInfo *info, const char *name, int64_t *out) {
    return ORT_AT(86, OrtStatus * (*)(const OrtKernelInfo *, const char *, int64_t *))(info, name, out);
}
static inline OrtStatus *ort_attribute_string(const OrtApi *api, const OrtKernelInfo *info, const char *name, char *out,
                                              size_t *size) {
    return ORT_AT(87, OrtStatus * (*)(const OrtKernelInfo *, const char *, char *, size_t *))(info, name, out, size);
}
static inline OrtStatus *ort_input(const OrtApi *api, const OrtKernelContext *context, size_t index, const OrtValue **out) {
    return ORT_AT(90, OrtStatus * (*)(const OrtKernelContext *, size_t, const OrtValue **))(context, index, out);
}
static inline OrtStatus *ort_output(const OrtApi *api, OrtKernelContext *context, size_t index, const int64_t *dims,
                                    size_t rank, OrtValue **out) {
    return ORT_AT(91, OrtStatus * (*)(OrtKernelContext *, size_t, const int64_t *, size_t, OrtValue **))(
        context, index, dims, rank, out);
}
static inline void ort_release_status(const OrtApi *api, OrtStatus *status) {
    ORT_AT(93, void (*)(OrtStatus *))(status);
}
static inline void ort_release_tensor_info(const OrtApi *api, OrtTensorInfo *info) {
    ORT_AT(99, void (*)(OrtTensorInfo *))(info);
}
static inline void ort_release_domain(const OrtApi *api, OrtCustomOpDomain *domain) {
    ORT_AT(101, void (*)(OrtCustomOpDomain *))(domain);
}
static inline void ort_release_allocator(const OrtApi *api, OrtAllocator *allocator) {
    ORT_AT(132, void (*)(OrtAllocator *))(allocator);
}
static inline OrtStatus *ort_constant_input(const OrtApi *api, const OrtKernelInfo *info, size_t index, int *is_constant,
                                            const OrtValue **out) {
    return ORT_AT(249, OrtStatus * (*)(const OrtKernelInfo *, size_t, int *, const OrtValue **))(info, index,
                                                                                                is_constant, out);
}
static inline OrtStatus *ort_parallel_for(const OrtApi *api, const OrtKernelContext *context,
                                          void (*task)(void *, size_t), size_t total, size_t batches, void *data) {
    return ORT_AT(274, OrtStatus * (*)(const OrtKernelContext *, void (*)(void *, size_t), size_t, size_t, void *))(
        context, task, total, batches, data);
}
static inline OrtStatus *ort_allocator(const OrtApi *api, const OrtKernelInfo *info, OrtAllocator **out) {
    return ORT_AT(278, OrtStatus * (*)(const OrtKernelInfo *, int, OrtAllocator **))(info, ORT_MEMORY_DEFAULT, out);
}

#endif
