/* AVX-512 without VNNI (Skylake-X): pairs of products are summed in 16 bits, which |x| <= 127, |w| <= 127 fits. */
#define KERNELS kernels_avx512
#define ISA "avx512"
#define INT8_OFFSET 0

#include <immintrin.h>

#include "vector.h"

/* |x| unsigned times w with the sign of x. */
ALWAYS_INLINE ivec dot4(ivec sums, ivec weight, ivec x) {
    __m512i w = (__m512i)weight, signs = (__m512i)x;
    w = _mm512_mask_sub_epi8(w, _mm512_movepi8_mask(signs), _mm512_setzero_si512(), w);
    __m512i pairs = _mm512_maddubs_epi16(_mm512_abs_epi8(signs), w);
    return sums + (ivec)_mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
}

#include "kernels.inc"
