/* The library's one entry: onnxruntime's SessionOptions.register_custom_ops_library calls RegisterCustomOps. */
#include "operators.h"
#include "support.h"

OrtElement output_is_float(const OrtCustomOp *op, size_t index) { return (void)op, (void)index, ORT_FLOAT; }
size_t one_output(const OrtCustomOp *op) { return (void)op, 1; }
OrtCharacteristic is_required(const OrtCustomOp *op, size_t index) { return (void)op, (void)index, ORT_REQUIRED; }
const char *on_cpu(const OrtCustomOp *op) { return (void)op, (const char *)0; }
int default_memory(const OrtCustomOp *op, size_t index) { return (void)op, (void)index, ORT_MEMORY_DEFAULT; }
int first_version(const OrtCustomOp *op) { return (void)op, 1; }
int any_later_version(const OrtCustomOp *op) { return (void)op, 0x7fffffff; }
int not_variadic(const OrtCustomOp *op) { return (void)op, 0; }

/* One domain for all sessions of the process, never released: it must outlive the last of them. */
static OrtStatus *shared_domain(const OrtApi *api, OrtCustomOpDomain **domain) {
    static OrtCustomOpDomain *shared = 0;
    static const OrtCustomOp *const operators[] = {&sparse_linear,    &sparse_linear_int8,
                                                   &tile_operator,    &untile_operator,
                                                   &tiled_add_layer_normalization, &tiled_attention,
                                                   &tiled_self_attention};
    OrtStatus *status = 0;
    *domain = __atomic_load_n(&shared, __ATOMIC_ACQUIRE);
    if (*domain) return 0;
    TRY(ort_create_domain(api, "trimfit", domain));
    for (size_t i = 0; !status && i < sizeof operators / sizeof *operators; i++)
        status = ort_domain_add(api, *domain, operators[i]);
    if (status) ort_release_domain(api, *domain);
    else __atomic_store_n(&shared, *domain, __ATOMIC_RELEASE); /* threads that meet here make one each: both work */
    return status;
}

enum { ANY_API = 1 }; /* of which an older runtime has at least the entry that makes a status */

__attribute__((visibility("default"))) OrtStatus *RegisterCustomOps(OrtSessionOptions *options, const OrtApiBase *base) {
    const OrtApi *api = base->get_api(ORT_API_VERSION);
    if (!api) {
        api = base->get_api(ANY_API);
        return api ? ort_create_status(api, ORT_FAIL, "trimfit operators: got an onnxruntime older than 1.18, expected "
                                                      "1.18 or later: pip install -U onnxruntime")
                   : 0;
    }
    OrtCustomOpDomain *domain = 0;
    OrtStatus *status = shared_domain(api, &domain);
    return status ? status : ort_add_domain(api, options, domain);
}
