/* AVX-512 with VNNI (Cascade Lake, Zen 4 and later): unsigned activations times signed weights in one instruction. */
#define KERNELS kernels_avx512vnni
#define ISA "avx512vnni"
#define INT8_OFFSET 128

#include <immintrin.h>

#include "vector.h"

ALWAYS_INLINE ivec dot4(ivec sums, ivec weight, ivec x) {
    return (ivec)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)x, (__m512i)weight);
}

#include "kernels.inc"
