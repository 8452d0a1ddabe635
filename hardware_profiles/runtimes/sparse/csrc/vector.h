/* One SIMD register of the instruction set that the including file is compiled for, with GCC/Clang vector extensions. */
#ifndef TRIMFIT_VECTOR_H
#define TRIMFIT_VECTOR_H

#include <stddef.h>
#include <stdint.h>

#if defined(__AVX512F__)
#include <immintrin.h>
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

/* Hides from the compiler where a value came from: it then stays in its register and is not loaded again. */
#if defined(__x86_64__)
#define KEEP(x) __asm__("" : "+v"(x))
#else
#define KEEP(x) __asm__("" : "+w"(x))
#endif

typedef float vec4 __attribute__((vector_size(16), aligned(4), may_alias));

/* `i` in every lane, in a register, as `pick` wants it. */
ALWAYS_INLINE ivec number(int i) {
    ivec v = {0};
    v += i;
    KEEP(v);
    return v;
}

/* Lane i of four in every lane; `is_i` is number(i). With AVX-512 one permutation: Intel's CPUs do few others beside
 * 512-bit multiplications. */
ALWAYS_INLINE vec pick(vec4 x, int i, ivec is_i) {
#if LANES == 16
    return (void)i, (vec)_mm512_permutexvar_ps((__m512i)is_i, _mm512_castps128_ps512((__m128)x));
#else
    vec v;
    UNROLL for (int l = 0; l < LANES; l++) v[l] = x[i];
    return (void)is_i, v;
#endif
}

/* Where the mask (all ones or all zeros in a lane) is set `a`, else `b`. */
ALWAYS_INLINE vec choose(ivec mask, vec a, vec b) { return (vec)(((ivec)a & mask) | ((ivec)b & ~mask)); }
ALWAYS_INLINE vec maximum(vec a, vec b) { return choose(a > b, a, b); }
ALWAYS_INLINE vec magnitude(vec a) { return (vec)((ivec)a & 0x7fffffff); }

#define ROUNDER 12582912.0f /* 1.5 x 2^23: adding it leaves the nearest integer in the low bits, |x| < 2^22 */

/* The nearest integer, ties to even; lanes that are not finite give any number. */
ALWAYS_INLINE ivec nearest(vec x) { return (ivec)(x + ROUNDER) - (ivec)splat(ROUNDER); }

/* The polynomials below were fitted by least squares, reweighted until the largest error was everywhere the same. */

/* 2^y, y held to -126..126: with y = n + r, |r| <= 1/2, 2^r as a polynomial with a relative error of 2e-9. */
ALWAYS_INLINE vec power_of_two(vec y) {
    y = choose(y < -126.0f, splat(-126.0f), y);
    y = choose(y > 126.0f, splat(126.0f), y);
    vec r = y - ((y + ROUNDER) - ROUNDER);
    vec p = splat(1.53458083e-4f);
    p = p * r + 1.33999312e-3f;
    p = p * r + 9.61848897e-3f;
    p = p * r + 5.55032878e-2f;
    p = p * r + 2.40226469e-1f;
    p = p * r + 6.93147206e-1f;
    p = p * r + 1.0f;
    return p * (vec)((nearest(y) + 127) << 23);
}

#define LOG2_E 1.44269504f

ALWAYS_INLINE vec exponential(vec x) { return power_of_two(x * LOG2_E); }

/* x (1 + erf(x / sqrt 2)) / 2 to 7e-7. With z = |x| the tail (1 - erf(z / sqrt 2)) / 2 is e^(-z^2 / 2) times a smooth
 * function, erfcx(z / sqrt 2) / 2, here a polynomial on 0..6; beyond, the tail is below 1e-9
 * and taken as 0, which also makes the values of infinities those of the formula. */
ALWAYS_INLINE vec gelu(vec x) {
    vec z = magnitude(x);
    vec p = splat(-5.23239037e-6f);
    p = p * z + 1.08320504e-4f;
    p = p * z - 9.94965349e-4f;
    p = p * z + 5.45119008e-3f;
    p = p * z - 2.04165423e-2f;
    p = p * z + 5.7431263e-2f;
    p = p * z - 1.30448694e-1f;
    p = p * z + 2.49321269e-1f;
    p = p * z - 3.98866967e-1f;
    p = p * z + 4.99998587e-1f;
    vec tail = choose(z < 6.0f, p * power_of_two(z * z * (-0.5f * LOG2_E)), splat(0.0f));
    return x * choose(x < 0.0f, tail, 1.0f - tail);
}

ALWAYS_INLINE vec relu(vec x) { return choose(x < 0.0f, splat(0.0f), x); }

#endif
