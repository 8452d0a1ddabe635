/* One SIMD register of the instruction set that the including file is compiled for, with GCC/Clang vector extensions. */
#ifndef TRIMFIT_VECTOR_H
#define TRIMFIT_VECTOR_H

#include <stddef.h>
#include <stdint.h>

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX2__)
#define LANES 8
#else
#define LANES 4
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

/* Aligned like one element: where memory is better aligned than that, the same instructions are as fast. */
typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

ALWAYS_INLINE vec load(const float *p) { return *(const vec *)p; }
ALWAYS_INLINE void store(float *p, vec x) { *(vec *)p = x; }
ALWAYS_INLINE vec splat(float x) {
    vec v;
    UNROLL for (int i = 0; i < LANES; i++) v[i] = x;
    return v;
}

/* Where the mask (all ones or all zeros in a lane) is set `a`, else `b`. */
ALWAYS_INLINE vec choose(ivec mask, vec a, vec b) { return (vec)(((ivec)a & mask) | ((ivec)b & ~mask)); }
ALWAYS_INLINE vec maximum(vec a, vec b) { return choose(a > b, a, b); }
ALWAYS_INLINE vec magnitude(vec a) { return (vec)((ivec)a & 0x7fffffff); }

#define ROUNDER 12582912.0f /* 1.5 x 2^23: adding it leaves the nearest integer in the low bits, |x| < 2^22 */

/* The nearest integer, ties to even; lanes that are not finite give any number. */
ALWAYS_INLINE ivec nearest(vec x) { return (ivec)(x + ROUNDER) - (ivec)splat(ROUNDER); }

/* e^x to 2 units in the last place: Cody-Waite reduction and the degree 6 polynomial of Cephes' expf (Moshier 1989). */
ALWAYS_INLINE vec exponential(vec x) {
    x = choose(x < -87.3f, splat(-87.3f), x);
    x = choose(x > 88.3f, splat(88.3f), x);
    vec n = (x * 1.44269504f + ROUNDER) - ROUNDER;
    vec r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    vec p = splat(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    return p * (vec)((nearest(n) + 127) << 23);
}

/* x (1 + erf(x / sqrt 2)) / 2, with erf to 1.5e-7: Abramowitz and Stegun 1964, 7.1.26. */
ALWAYS_INLINE vec gelu(vec x) {
    vec z = magnitude(x) * 0.70710678f;
    vec t = 1.0f / (z * 0.3275911f + 1.0f);
    vec p = splat(1.061405429f);
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    vec half_tail = 0.5f * (p * t * exponential(-z * z)); /* (1 - erf z) / 2 */
    return x * choose(x < 0.0f, half_tail, 1.0f - half_tail);
}

ALWAYS_INLINE vec relu(vec x) { return choose(x < 0.0f, splat(0.0f), x); }

#endif
