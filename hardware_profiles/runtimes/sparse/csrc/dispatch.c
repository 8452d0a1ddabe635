#include "kernels.h"

char *getenv(const char *name);

int same(const char *a, const char *b) {
    while (*a && *a == *b) a++, b++;
    return *a == *b;
}

#if defined(__x86_64__)
#include <cpuid.h>

enum { BIT_FMA = 1 << 12, BIT_OSXSAVE = 1 << 27, BIT_AVX2 = 1 << 5, BIT_VNNI = 1 << 11 };
enum { BITS_AVX512 = 1 << 16 | 1 << 17 | 1 << 30 | (int)(1u << 31) }; /* F, DQ, BW, VL */
enum { STATE_AVX = 0x6, STATE_AVX512 = 0xe6 };                         /* registers that the system saves */

static uint32_t saved_state(void) {
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

/* Best first; those that the CPU lacks are NULL. */
static void list(const Kernels *found[3]) {
    uint32_t a, b, c, d, features;
    if (!__get_cpuid(1, &a, &b, &features, &d) || !(features & BIT_OSXSAVE) || !(features & BIT_FMA)) return;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return;
    uint32_t state = saved_state();
    if (!(b & BIT_AVX2) || (state & STATE_AVX) != STATE_AVX) return;
    found[2] = &kernels_avx2;
    if ((b & (uint32_t)BITS_AVX512) != (uint32_t)BITS_AVX512 || (state & STATE_AVX512) != STATE_AVX512) return;
    found[1] = &kernels_avx512;
    if (c & BIT_VNNI) found[0] = &kernels_avx512vnni;
}

#elif defined(__aarch64__)
enum { AT_HWCAP = 16, HWCAP_ASIMDDP = 1 << 20 };
unsigned long getauxval(unsigned long type);

static void list(const Kernels *found[3]) {
    found[1] = &kernels_neon;
    if (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) found[0] = &kernels_neondot;
}
#endif

const Kernels *kernels_for_this_cpu(void) {
    const Kernels *found[3] = {0, 0, 0}, *best = 0;
    const char *wanted = getenv("TRIMFIT_ISA");
    list(found);
    for (int i = 0; i < 3; i++) {
        if (found[i] && !best) best = found[i];
        if (found[i] && wanted && same(found[i]->name, wanted)) return found[i];
    }
    return best;
}
