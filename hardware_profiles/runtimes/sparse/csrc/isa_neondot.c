/* aarch64 with the dot product instructions (Cortex-A75, Neoverse N1 and later). */
#define KERNELS kernels_neondot
#define ISA "neondot"
#define INT8_OFFSET 0

#include <arm_neon.h>

#include "vector.h"

ALWAYS_INLINE ivec dot4(ivec sums, ivec weight, ivec x) {
    return (ivec)vdotq_s32((int32x4_t)sums, (int8x16_t)weight, (int8x16_t)x);
}

#include "kernels.inc"
