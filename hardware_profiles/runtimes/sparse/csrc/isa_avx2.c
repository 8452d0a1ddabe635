/* AVX2 and FMA (Haswell, Zen and later): pairs of products are summed in 16 bits, which |x| <= 127, |w| <= 127 fits. */
#define KERNELS kernels_avx2
#define ISA "avx2"
#define INT8_OFFSET 0

#include <immintrin.h>

#include "vector.h"

/* |x| unsigned times w with the sign of x. */
ALWAYS_INLINE ivec dot4(ivec sums, ivec weight, ivec x) {
    __m256i w = _mm256_sign_epi8((__m256i)weight, (__m256i)x);
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8((__m256i)x), w);
    return sums + (ivec)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

#include "kernels.inc"
