/* Any aarch64. */
#define KERNELS kernels_neon
#define ISA "neon"
#define INT8_OFFSET 0

#include <arm_neon.h>

#include "vector.h"

ALWAYS_INLINE ivec dot4(ivec sums, ivec weight, ivec x) {
    int8x16_t w = (int8x16_t)weight, a = (int8x16_t)x;
    int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(a)), high = vmull_high_s8(w, a);
    return sums + (ivec)vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high));
}

#include "kernels.inc"
