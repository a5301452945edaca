/* cpu.h - what the processor can do, and its floating-point mode. */
#ifndef FC_CPU_H
#define FC_CPU_H

#include <stdint.h>

/* Feature flags; a bit is set only if the OS saves the registers too. */
enum { FC_CPU_AVX2 = 1, FC_CPU_AVX512 = 2, FC_CPU_NEON = 4 };
unsigned fc_cpu_flags(void);

/* Subnormal numbers are a hundred times slower than others on many processors and mean nothing
 * in a CNN: kernels flush them to zero, then put the caller's mode back. */
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
typedef unsigned fc_fpmode;
static inline fc_fpmode fc_flush_subnormals(void) {
    fc_fpmode saved = _mm_getcsr();
    _mm_setcsr(saved | 0x8040u); /* FTZ (bit 15) and DAZ (bit 6) */
    return saved;
}
static inline void fc_restore_fpmode(fc_fpmode saved) { _mm_setcsr(saved); }
#elif defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
typedef uint64_t fc_fpmode;
static inline fc_fpmode fc_flush_subnormals(void) {
    fc_fpmode saved;
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved));
    __asm__ volatile("msr fpcr, %0" : : "r"(saved | (UINT64_C(1) << 24))); /* FZ */
    return saved;
}
static inline void fc_restore_fpmode(fc_fpmode saved) {
    __asm__ volatile("msr fpcr, %0" : : "r"(saved));
}
#else
typedef int fc_fpmode;
static inline fc_fpmode fc_flush_subnormals(void) { return 0; }
static inline void fc_restore_fpmode(fc_fpmode saved) { (void)saved; }
#endif

#endif
