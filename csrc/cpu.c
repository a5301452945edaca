/* cpu.c - cpuid and xgetbv on x86-64; NEON is part of every aarch64. */
#include "cpu.h"

#if defined(__x86_64__) || defined(_M_X64)

#ifdef _MSC_VER
#include <intrin.h>
static void cpuid(unsigned leaf, unsigned sub, unsigned r[4]) {
    __cpuidex((int *)r, (int)leaf, (int)sub);
}
static uint64_t xcr0(void) { return _xgetbv(0); }
#else
#include <cpuid.h>
static void cpuid(unsigned leaf, unsigned sub, unsigned r[4]) {
    __cpuid_count(leaf, sub, r[0], r[1], r[2], r[3]);
}
static uint64_t xcr0(void) {
    unsigned lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}
#endif

unsigned fc_cpu_flags(void) {
    unsigned r[4], flags = 0;
    cpuid(0, 0, r);
    if (r[0] < 7) return 0;
    cpuid(1, 0, r);
    int osxsave = r[2] >> 27 & 1, avx = r[2] >> 28 & 1, fma = r[2] >> 12 & 1;
    if (!osxsave || !avx || !fma) return 0;
    uint64_t saved = xcr0();
    cpuid(7, 0, r);
    int avx2 = r[1] >> 5 & 1, avx512f = r[1] >> 16 & 1;
    if (avx2 && (saved & 0x6) == 0x6) flags |= FC_CPU_AVX2;       /* XMM, YMM */
    if (avx2 && avx512f && (saved & 0xe6) == 0xe6) flags |= FC_CPU_AVX512; /* + masks, ZMM */
    return flags;
}

#elif defined(__aarch64__) || defined(_M_ARM64)
unsigned fc_cpu_flags(void) { return FC_CPU_NEON; }
#else
unsigned fc_cpu_flags(void) { return 0; }
#endif
