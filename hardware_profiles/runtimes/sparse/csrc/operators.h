/* The operators of the domain "trimfit", and what all of them answer alike. */
#ifndef TRIMFIT_OPERATORS_H
#define TRIMFIT_OPERATORS_H

#include "ort.h"

extern const OrtCustomOp sparse_linear, sparse_linear_int8, tile_operator, untile_operator,
    tiled_add_layer_normalization, tiled_attention, tiled_self_attention;

OrtElement output_is_float(const OrtCustomOp *, size_t index);
size_t one_output(const OrtCustomOp *);
OrtCharacteristic is_required(const OrtCustomOp *, size_t index);
const char *on_cpu(const OrtCustomOp *);
int default_memory(const OrtCustomOp *, size_t index);
int first_version(const OrtCustomOp *);
int any_later_version(const OrtCustomOp *);
int not_variadic(const OrtCustomOp *);

#define OPERATOR_COMMON                                                                                              \
    .version = ORT_API_VERSION, .get_execution_provider = on_cpu, .get_output_type = output_is_float,                \
    .get_output_count = one_output, .get_input_characteristic = is_required,                                         \
    .get_output_characteristic = is_required, .get_input_memory_type = default_memory,                               \
    .get_variadic_input_min_arity = not_variadic, .get_variadic_input_homogeneity = not_variadic,                    \
    .get_variadic_output_min_arity = not_variadic, .get_variadic_output_homogeneity = not_variadic,                  \
    .get_start_version = first_version, .get_end_version = any_later_version

#endif
