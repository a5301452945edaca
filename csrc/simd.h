/* simd.h - one small vector vocabulary for every tier and for float and double.
 *
 * The including file defines FC_TIER_<NAME> and, for double, FC_REAL_F64. It gets
 *   real   float or double            VL  lanes of a vector       vr  a vector of VL reals
 *   vm     a mask of VL lanes
 * and the functions below. Loads and stores need no alignment. v_fma(a, b, c) is a * b + c, fused
 * on every tier but scalar. v_zip_lo and v_zip_hi interleave the lower and the upper halves of two
 * vectors; v_shift_exponent shifts a lane's lowest bits up to where the exponent is.
 */
#ifndef FC_SIMD_H
#define FC_SIMD_H

#include "dispatch.h"
#include "sizes.h"
#include "threads.h"

#include <math.h>
#include <string.h>

#if defined(__GNUC__) || defined(__clang__)
#define INLINE static inline __attribute__((always_inline, unused))
#define UNUSED __attribute__((unused))
#else
#define INLINE static __forceinline
#define UNUSED
#endif
/* Fully unroll the next loop, whose bound is a compile-time constant; or keep it as it is. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#define NO_UNROLL _Pragma("clang loop unroll(disable)")
#elif defined(__GNUC__)
#define UNROLL _Pragma("GCC unroll 64")
#define NO_UNROLL _Pragma("GCC unroll 1")
#else
#define UNROLL
#define NO_UNROLL
#endif

#if defined(__GNUC__) || defined(__clang__)
#define PREFETCH(p) __builtin_prefetch(p)
#define PREFETCH_L2(p) __builtin_prefetch(p, 0, 2) /* not into the first-level cache */
#else
#define PREFETCH(p) ((void)(p))
#define PREFETCH_L2(p) ((void)(p))
#endif

/* Vectors that loops over long arrays take through each step together: loads in a row, before any
 * of the stores, come faster from the outer caches, and long chains of operations overlap. */
enum { TOGETHER = 4 };
/* A step for k = 0 .. n - 1. */
#define EACH(k, n) UNROLL for (int k = 0; k < (n); k++)

/* Starts loading n bytes from p on; returns their end. Into the second-level cache, many more lines
 * can be on their way at a time. */
INLINE const char *prefetch_bytes(const void *p, int64_t n) {
    const char *from = p;
    for (int64_t at = 0; at < n; at += 64) PREFETCH(from + at);
    return from + n;
}
INLINE const char *prefetch_bytes_l2(const void *p, int64_t n) {
    const char *from = p;
    for (int64_t at = 0; at < n; at += 64) PREFETCH_L2(from + at);
    return from + n;
}

#ifdef FC_REAL_F64
typedef double real;
#define REAL_DTYPE FC_FLOAT64
#define EXPONENT_SHIFT 52 /* bits below the exponent */
#else
typedef float real;
#define REAL_DTYPE FC_FLOAT32
#define EXPONENT_SHIFT 23
#endif

enum { LINE = 64 / (int)sizeof(real) }; /* reals of a cache line */

/* Starts loading p[0..n), a piece of a row that is gone through from left to right. It may begin
 * and end within a cache line: the first is there already, since the piece to the left ended in
 * it; the last is not. */
INLINE void prefetch_piece(const real *p, int64_t n) {
    for (int64_t at = 0; at < n; at += LINE)
        PREFETCH(p + (at + LINE < n ? at + LINE : n) - 1);
}

#if defined(FC_TIER_AVX512)
/* ------------------------------------------------------------------ AVX-512F */
#include <immintrin.h>
#define N_REGISTERS 32
#ifdef FC_REAL_F64
#define VL 8
#define I(op) _mm512_##op##_pd
#define M(op) _mm512_##op##_pd_mask
typedef __m512d vr;
typedef __mmask8 vm;
#else
#define VL 16
#define I(op) _mm512_##op##_ps
#define M(op) _mm512_##op##_ps_mask
typedef __m512 vr;
typedef __mmask16 vm;
#endif
INLINE vm v_first(int64_t n) { return (vm)((1u << (n < VL ? n : VL)) - 1u); }
INLINE vr v_zero(void) { return I(setzero)(); }
INLINE vr v_set1(real a) { return I(set1)(a); }
INLINE vr v_load(const real *p) { return I(loadu)(p); }
INLINE vr v_loadn(const real *p, int64_t n) { return I(maskz_loadu)(v_first(n), p); }
INLINE void v_store(real *p, vr a) { I(storeu)(p, a); }
INLINE void v_storen(real *p, vr a, int64_t n) { I(mask_storeu)(p, v_first(n), a); }
#define HAS_STREAM 1
INLINE void v_stream(real *p, vr a) { I(stream)(p, a); }
INLINE void stream_fence(void) { _mm_sfence(); }
INLINE vr v_add(vr a, vr b) { return I(add)(a, b); }
INLINE vr v_sub(vr a, vr b) { return I(sub)(a, b); }
INLINE vr v_mul(vr a, vr b) { return I(mul)(a, b); }
INLINE vr v_div(vr a, vr b) { return I(div)(a, b); }
INLINE vr v_sqrt(vr a) { return I(sqrt)(a); }
INLINE vr v_fma(vr a, vr b, vr c) { return I(fmadd)(a, b, c); }
INLINE vr v_max(vr a, vr b) { return I(max)(a, b); }
INLINE vr v_min(vr a, vr b) { return I(min)(a, b); }
INLINE vm v_gt(vr a, vr b) { return M(cmp)(a, b, _CMP_GT_OQ); }
INLINE vm v_isnan(vr a) { return M(cmp)(a, a, _CMP_UNORD_Q); }
INLINE vm v_or(vm a, vm b) { return (vm)(a | b); }
INLINE vm v_andnot(vm a, vm b) { return (vm)(~a & b); } /* (not a) and b */
INLINE vr v_select(vm m, vr yes, vr no) { return I(mask_blend)(m, no, yes); }
#ifdef FC_REAL_F64
#define SIGN_SELECT(s, a, b) \
    _mm512_castsi512_pd(_mm512_ternarylogic_epi64(_mm512_castpd_si512(s), \
        _mm512_castpd_si512(a), _mm512_castpd_si512(b), 0xca))
INLINE vr v_shift_exponent(vr a) {
    return _mm512_castsi512_pd(_mm512_slli_epi64(_mm512_castpd_si512(a), EXPONENT_SHIFT));
}
INLINE vr v_zip_lo(vr a, vr b) {
    return _mm512_permutex2var_pd(a, _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11), b);
}
INLINE vr v_zip_hi(vr a, vr b) {
    return _mm512_permutex2var_pd(a, _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15), b);
}
#else
#define SIGN_SELECT(s, a, b) \
    _mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_castps_si512(s), \
        _mm512_castps_si512(a), _mm512_castps_si512(b), 0xca))
INLINE vr v_shift_exponent(vr a) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(a), EXPONENT_SHIFT));
}
INLINE vr v_zip_lo(vr a, vr b) {
    return _mm512_permutex2var_ps(
        a, _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), b);
}
INLINE vr v_zip_hi(vr a, vr b) {
    return _mm512_permutex2var_ps(
        a, _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31), b);
}
#endif
INLINE vr v_copysign(vr a, vr sign) { return SIGN_SELECT(v_set1((real)-0.0), sign, a); }

#elif defined(FC_TIER_AVX2)
/* ------------------------------------------------------------------ AVX2 + FMA */
#include <immintrin.h>
#define N_REGISTERS 16
static const int32_t v_mask_table[16] UNUSED = {-1, -1, -1, -1, -1, -1, -1, -1};
/* The first n of eight (or of four) 32-bit words: a masked store takes some processors several
 * times as long as these. */
INLINE void store_words4(void *to, __m128i a, int64_t n) {
    if (n & 2) {
        _mm_storel_epi64((__m128i *)to, a);
        to = (int32_t *)to + 2;
        a = _mm_unpackhi_epi64(a, a);
    }
    int32_t word = _mm_cvtsi128_si32(a);
    if (n & 1) memcpy(to, &word, sizeof word);
}
INLINE void store_words(void *to, __m256i a, int64_t n) {
    __m128i low = _mm256_castsi256_si128(a);
    if (n & 4) {
        _mm_storeu_si128((__m128i *)to, low);
        to = (int32_t *)to + 4;
        low = _mm256_extracti128_si256(a, 1);
    }
    store_words4(to, low, n);
}
#ifdef FC_REAL_F64
#define VL 4
#define I(op) _mm256_##op##_pd
typedef __m256d vr;
typedef __m256d vm;
INLINE __m256i v_first(int64_t n) {
    return _mm256_loadu_si256((const __m256i *)(v_mask_table + 8 - 2 * (n < VL ? n : VL)));
}
#else
#define VL 8
#define I(op) _mm256_##op##_ps
typedef __m256 vr;
typedef __m256 vm;
INLINE __m256i v_first(int64_t n) {
    return _mm256_loadu_si256((const __m256i *)(v_mask_table + 8 - (n < VL ? n : VL)));
}
#endif
INLINE vr v_zero(void) { return I(setzero)(); }
INLINE vr v_set1(real a) { return I(set1)(a); }
INLINE vr v_load(const real *p) { return I(loadu)(p); }
INLINE vr v_loadn(const real *p, int64_t n) {
    return n >= VL ? v_load(p) : I(maskload)(p, v_first(n));
}
INLINE void v_store(real *p, vr a) { I(storeu)(p, a); }
INLINE void v_storen(real *p, vr a, int64_t n) {
    if (n >= VL) v_store(p, a);
#ifdef FC_REAL_F64
    else store_words(p, _mm256_castpd_si256(a), 2 * n);
#else
    else store_words(p, _mm256_castps_si256(a), n);
#endif
}
INLINE vr v_add(vr a, vr b) { return I(add)(a, b); }
INLINE vr v_sub(vr a, vr b) { return I(sub)(a, b); }
INLINE vr v_mul(vr a, vr b) { return I(mul)(a, b); }
INLINE vr v_div(vr a, vr b) { return I(div)(a, b); }
INLINE vr v_sqrt(vr a) { return I(sqrt)(a); }
INLINE vr v_fma(vr a, vr b, vr c) { return I(fmadd)(a, b, c); }
INLINE vr v_max(vr a, vr b) { return I(max)(a, b); }
INLINE vr v_min(vr a, vr b) { return I(min)(a, b); }
INLINE vm v_gt(vr a, vr b) { return I(cmp)(a, b, _CMP_GT_OQ); }
INLINE vm v_isnan(vr a) { return I(cmp)(a, a, _CMP_UNORD_Q); }
INLINE vm v_or(vm a, vm b) { return I(or)(a, b); }
INLINE vm v_andnot(vm a, vm b) { return I(andnot)(a, b); }
INLINE vr v_select(vm m, vr yes, vr no) { return I(blendv)(no, yes, m); }
INLINE vr v_copysign(vr a, vr sign) {
    vr s = v_set1((real)-0.0);
    return I(or)(I(and)(s, sign), I(andnot)(s, a));
}
#ifdef FC_REAL_F64
INLINE vr v_shift_exponent(vr a) {
    return _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(a), EXPONENT_SHIFT));
}
INLINE vr v_zip_lo(vr a, vr b) {
    return _mm256_permute2f128_pd(_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b), 0x20);
}
INLINE vr v_zip_hi(vr a, vr b) {
    return _mm256_permute2f128_pd(_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b), 0x31);
}
#else
INLINE vr v_shift_exponent(vr a) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(a), EXPONENT_SHIFT));
}
INLINE vr v_zip_lo(vr a, vr b) {
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x20);
}
INLINE vr v_zip_hi(vr a, vr b) {
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x31);
}
#endif

#elif defined(FC_TIER_NEON)
/* ------------------------------------------------------------------ NEON (aarch64) */
#include <arm_neon.h>
#define N_REGISTERS 32
#ifdef FC_REAL_F64
#define VL 2
#define I(op) v##op##q_f64
#define U(op) v##op##q_u64
typedef float64x2_t vr;
typedef uint64x2_t vm;
INLINE vm v_isnan(vr a) { return veorq_u64(vceqq_f64(a, a), vdupq_n_u64(UINT64_MAX)); }
INLINE vr v_set1(real a) { return vdupq_n_f64(a); }
#else
#define VL 4
#define I(op) v##op##q_f32
#define U(op) v##op##q_u32
typedef float32x4_t vr;
typedef uint32x4_t vm;
INLINE vm v_isnan(vr a) { return vmvnq_u32(vceqq_f32(a, a)); }
INLINE vr v_set1(real a) { return vdupq_n_f32(a); }
#endif
INLINE vr v_zero(void) { return v_set1(0); }
INLINE vr v_load(const real *p) { return I(ld1)(p); }
INLINE void v_store(real *p, vr a) { I(st1)(p, a); }
INLINE vr v_add(vr a, vr b) { return I(add)(a, b); }
INLINE vr v_sub(vr a, vr b) { return I(sub)(a, b); }
INLINE vr v_mul(vr a, vr b) { return I(mul)(a, b); }
INLINE vr v_div(vr a, vr b) { return I(div)(a, b); }
INLINE vr v_sqrt(vr a) { return I(sqrt)(a); }
INLINE vr v_fma(vr a, vr b, vr c) { return I(fma)(c, a, b); }
INLINE vm v_gt(vr a, vr b) { return I(cgt)(a, b); }
INLINE vm v_or(vm a, vm b) { return U(orr)(a, b); }
INLINE vm v_andnot(vm a, vm b) { return U(bic)(b, a); }
INLINE vr v_select(vm m, vr yes, vr no) { return I(bsl)(m, yes, no); }
/* x86 semantics: the second operand where the comparison is false (NaN included). */
INLINE vr v_max(vr a, vr b) { return v_select(I(cgt)(a, b), a, b); }
INLINE vr v_min(vr a, vr b) { return v_select(I(clt)(a, b), a, b); }
#ifdef FC_REAL_F64
INLINE vr v_copysign(vr a, vr sign) { return v_select(vdupq_n_u64(UINT64_C(1) << 63), sign, a); }
INLINE vr v_shift_exponent(vr a) {
    return vreinterpretq_f64_u64(vshlq_n_u64(vreinterpretq_u64_f64(a), EXPONENT_SHIFT));
}
#else
INLINE vr v_copysign(vr a, vr sign) { return v_select(vdupq_n_u32(UINT32_C(1) << 31), sign, a); }
INLINE vr v_shift_exponent(vr a) {
    return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(a), EXPONENT_SHIFT));
}
#endif
INLINE vr v_zip_lo(vr a, vr b) { return I(zip1)(a, b); }
INLINE vr v_zip_hi(vr a, vr b) { return I(zip2)(a, b); }

#else
/* ------------------------------------------------------------------ scalar: plain C */
/* Where the compiler has vector types, small ones, which it turns into what its baseline has; else
 * single numbers. The same expressions are written for both. */
#define N_REGISTERS 16
#ifdef FC_REAL_F64
typedef int64_t lane_mask;
typedef uint64_t lane_bits;
#else
typedef int32_t lane_mask;
typedef uint32_t lane_bits;
#endif
#if (defined(__GNUC__) || defined(__clang__)) && !defined(FC_NO_VECTOR_TYPES)
enum { VL = 16 / sizeof(real) };
#define LANE(a, i) (a)[i]
typedef real vr __attribute__((vector_size(16)));
typedef lane_mask vm __attribute__((vector_size(16))); /* every bit of a lane, or none */
typedef lane_bits vb __attribute__((vector_size(16)));
#define FROM_COMPARISON(m) ((vm)(m))
#else
enum { VL = 1 };
#define LANE(a, i) (a)
typedef real vr;
typedef lane_mask vm;
typedef lane_bits vb;
#define FROM_COMPARISON(m) (-(vm)(m))
#endif
#define LANES UNROLL for (int i = 0; i < VL; i++)
INLINE vb v_bits(vr a) { vb r; memcpy(&r, &a, sizeof r); return r; }
INLINE vr v_of_bits(vb a) { vr r; memcpy(&r, &a, sizeof r); return r; }
INLINE vr v_set1(real a) { return a - (vr){0}; }
INLINE vr v_zero(void) { return v_set1(0); }
INLINE vr v_load(const real *p) { vr r; memcpy(&r, p, sizeof r); return r; }
INLINE void v_store(real *p, vr a) { memcpy(p, &a, sizeof a); }
INLINE vr v_add(vr a, vr b) { return a + b; }
INLINE vr v_sub(vr a, vr b) { return a - b; }
INLINE vr v_mul(vr a, vr b) { return a * b; }
INLINE vr v_div(vr a, vr b) { return a / b; }
INLINE vr v_sqrt(vr a) { LANES LANE(a, i) = (real)sqrt((double)LANE(a, i)); return a; }
INLINE vr v_fma(vr a, vr b, vr c) { return c + a * b; }
INLINE vm v_gt(vr a, vr b) { return FROM_COMPARISON(a > b); }
INLINE vm v_isnan(vr a) { return FROM_COMPARISON(a != a); }
INLINE vm v_or(vm a, vm b) { return a | b; }
INLINE vm v_andnot(vm a, vm b) { return ~a & b; }
INLINE vr v_select(vm m, vr yes, vr no) {
    return v_of_bits(((vb)m & v_bits(yes)) | (~(vb)m & v_bits(no)));
}
/* x86 semantics: the second operand where the comparison is false (NaN included). */
INLINE vr v_max(vr a, vr b) { return v_select(v_gt(a, b), a, b); }
INLINE vr v_min(vr a, vr b) { return v_select(v_gt(b, a), a, b); }
INLINE vr v_copysign(vr a, vr sign) {
    return v_select((vm)v_bits(v_set1((real)-0.0)), sign, a);
}
INLINE vr v_shift_exponent(vr a) { return v_of_bits(v_bits(a) << EXPONENT_SHIFT); }
INLINE vr v_zip_lo(vr a, vr b) {
    vr r = {0};
    LANES LANE(r, i) = i % 2 ? LANE(b, i / 2) : LANE(a, i / 2);
    return r;
}
INLINE vr v_zip_hi(vr a, vr b) {
    vr r = {0};
    LANES LANE(r, i) = i % 2 || VL == 1 ? LANE(b, (VL + i) / 2) : LANE(a, (VL + i) / 2);
    return r;
}
#endif

#if !defined(FC_TIER_AVX512) && !defined(FC_TIER_AVX2)
/* NEON and plain C have no masked loads and stores. */
INLINE vr v_loadn(const real *p, int64_t n) {
    if (n >= VL) return v_load(p);
    real t[VL] = {0};
    for (int64_t i = 0; i < n && i < VL; i++) t[i] = p[i];
    return v_load(t);
}
INLINE void v_storen(real *p, vr a, int64_t n) {
    if (n >= VL) {
        v_store(p, a);
        return;
    }
    real t[VL];
    v_store(t, a);
    for (int64_t i = 0; i < n && i < VL; i++) p[i] = t[i];
}
#endif

INLINE vr v_abs(vr a) { return v_copysign(a, v_zero()); }

/* max(a, 0); v_max gives its second operand when either is NaN, so NaN stays visible. */
INLINE vr v_relu(vr a) { return v_max(v_zero(), a); }

/* ---- transposing: row i, lane j becomes row j, lane i ---- */
#if defined(FC_TIER_AVX2) || defined(FC_TIER_AVX512)
/* A vector's pieces are of 128 bits, within which shuffles are cheap: squares of PIECE rows and
 * lanes are transposed first, then whole pieces change places. */
enum { PIECE = 16 / (int)sizeof(real), PIECES = VL / PIECE };
/* The squares, side by side, of PIECE rows. */
INLINE void v_transpose_squares(const vr *in, vr *out) {
#ifdef FC_REAL_F64
    out[0] = I(unpacklo)(in[0], in[1]);
    out[1] = I(unpackhi)(in[0], in[1]);
#else
    vr a = I(unpacklo)(in[0], in[2]), b = I(unpackhi)(in[0], in[2]);
    vr c = I(unpacklo)(in[1], in[3]), d = I(unpackhi)(in[1], in[3]);
    out[0] = I(unpacklo)(a, c);
    out[1] = I(unpackhi)(a, c);
    out[2] = I(unpacklo)(b, d);
    out[3] = I(unpackhi)(b, d);
#endif
}
INLINE void v_transpose(vr r[VL]) {
    vr t[VL];
    UNROLL for (int i = 0; i < VL; i += PIECE) v_transpose_squares(r + i, t + i);
    UNROLL for (int i = 0; i < PIECE; i++) {
#ifdef FC_TIER_AVX512
#ifdef FC_REAL_F64
#define PICK_PIECES _mm512_shuffle_f64x2 /* two of each operand: 0x88 the even, 0xdd the odd */
#else
#define PICK_PIECES _mm512_shuffle_f32x4
#endif
        vr a = t[i], b = t[i + PIECE], c = t[i + 2 * PIECE], d = t[i + 3 * PIECE];
        vr ab_even = PICK_PIECES(a, b, 0x88), ab_odd = PICK_PIECES(a, b, 0xdd);
        vr cd_even = PICK_PIECES(c, d, 0x88), cd_odd = PICK_PIECES(c, d, 0xdd);
        r[i] = PICK_PIECES(ab_even, cd_even, 0x88);
        r[i + PIECE] = PICK_PIECES(ab_odd, cd_odd, 0x88);
        r[i + 2 * PIECE] = PICK_PIECES(ab_even, cd_even, 0xdd);
        r[i + 3 * PIECE] = PICK_PIECES(ab_odd, cd_odd, 0xdd);
#else
        r[i] = I(permute2f128)(t[i], t[i + PIECE], 0x20);
        r[i + PIECE] = I(permute2f128)(t[i], t[i + PIECE], 0x31);
#endif
    }
}
/* PIECE reals each from p, p + apart, ..., side by side. */
INLINE vr v_load_piece(const real *p, int64_t apart) {
#define LOAD_PIECE(i) _mm_loadu_ps((const float *)(p + (i) * apart))
#ifdef FC_TIER_AVX512
    __m512 v = _mm512_castps128_ps512(LOAD_PIECE(0));
    v = _mm512_mask_broadcast_f32x4(v, 0x00f0, LOAD_PIECE(1));
    v = _mm512_mask_broadcast_f32x4(v, 0x0f00, LOAD_PIECE(2));
    v = _mm512_mask_broadcast_f32x4(v, 0xf000, LOAD_PIECE(3));
#else
    __m256 v = _mm256_castps128_ps256(LOAD_PIECE(0));
    v = _mm256_insertf128_ps(v, LOAD_PIECE(1), 1);
#endif
    vr r;
    memcpy(&r, &v, sizeof r); /* the same bits, as reals */
    return r;
}
/* The first n * PIECE lanes of VL rows that are `row` reals apart in memory, transposed. Loads put
 * the pieces where they belong, so that half the shuffles are left. All the pieces of PIECES rows
 * are loaded before the next rows': rows may share the sets of the first-level cache. */
INLINE void v_load_transposed(const int n, const real *from, int64_t row, vr *r) {
    vr t[VL];
    UNROLL for (int i = 0; i < PIECE; i++)
        UNROLL for (int k = 0; k < n; k++)
            t[k * PIECE + i] = v_load_piece(from + i * row + k * PIECE, PIECE * row);
    UNROLL for (int k = 0; k < n; k++) v_transpose_squares(t + k * PIECE, r + k * PIECE);
}
#else
enum { PIECE = VL, PIECES = 1 };
/* log2(VL) rounds of zipping row i with row i + VL/2. */
INLINE void v_transpose(vr r[VL]) {
    UNROLL for (int round = 1; round < VL; round *= 2) {
        vr t[VL];
        UNROLL for (int i = 0; i < VL / 2; i++) {
            t[2 * i] = v_zip_lo(r[i], r[i + VL / 2]);
            t[2 * i + 1] = v_zip_hi(r[i], r[i + VL / 2]);
        }
        UNROLL for (int i = 0; i < VL; i++) r[i] = t[i];
    }
}
INLINE void v_load_transposed(const int n, const real *from, int64_t row, vr *r) {
    (void)n; /* 1 */
    UNROLL for (int i = 0; i < VL; i++) r[i] = v_load(from + i * row);
    v_transpose(r);
}
#endif

#if defined(__GNUC__) && !defined(__clang__) && (defined(FC_TIER_AVX512) || defined(FC_TIER_AVX2))
#define FROM_NOWHERE(how, a) __asm__("" : how(a)) /* GCC forgets where a's value came from */
#else
#define FROM_NOWHERE(how, a) (void)0
#endif
/* `a`, loaded once and kept in its register: where it is used twice or more, GCC may make a load of
 * each use (a multiply-add's memory operand), and a processor loads no more vectors at a time than
 * it multiplies. */
INLINE vr v_keep(vr a) {
    FROM_NOWHERE("+v", a);
    return a;
}
/* The same place, as an address of its own: where a loop reads rows of vectors, GCC would keep an
 * index for each of them, and run out of registers. */
INLINE const real *v_keep_place(const real *p) {
    FROM_NOWHERE("+r", p);
    return p;
}

/* The lanes' sum, in a fixed order: pairs at a distance of VL/2, VL/4, ... */
INLINE real v_hsum(vr a) {
    real t[VL];
    v_store(t, a);
    UNROLL for (int half = VL / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) t[i] += t[i + half];
    return t[0];
}

/* Of n elements from p on, those before a multiple of the vector's size: elementwise work that
 * begins with them has its vectors in whole cache lines. Large blocks of the C library, and so
 * NumPy's large arrays, begin 16 bytes off, where half of all vectors of 32 bytes, and all of 64,
 * would lie in two lines. 0 where n is too small for it to pay. Not for sums, whose order may not
 * follow from an address. */
INLINE int64_t v_unaligned(const real *p, int64_t n) {
    int64_t over = (int64_t)((uintptr_t)p / sizeof(real) % VL);
    return over > 0 && n >= 64 * VL ? VL - over : 0;
}

/* ---- results that go past the caches ----
 *
 * A store has its line of memory loaded first, as if only some of it changed. Results that, with
 * what they are made of, fill the last cache of many processors are better sent off as they are:
 * of a copy, two thirds of the traffic. Only where a vector is a whole line: AVX2's halves of lines
 * gained as well in batch norm and sums, but lost elsewhere. */
#ifndef HAS_STREAM
#define HAS_STREAM 0
INLINE void v_stream(real *p, vr a) { v_store(p, a); }
INLINE void stream_fence(void) {}
#endif
#ifndef FC_STREAM_FROM
#define FC_STREAM_FROM (16 << 20) /* bytes; BIG in tests/ops/test_alignment.py is just above */
#endif

/* 1 if n results are to go past the caches. Not in place, where they have been loaded already. */
INLINE int stream_worth(const real *out, int64_t n, const real *in, const real *also) {
    return HAS_STREAM && n >= FC_STREAM_FROM / (int64_t)sizeof(real) && out != in && out != also;
}
/* 1 if they can, in whole vectors from p on: see v_unaligned. */
INLINE int stream_from(const real *p, int worth) {
    return worth && (uintptr_t)p % (VL * sizeof(real)) == 0;
}
/* A step's results. If they are streamed, other threads may read them after stream_fence. */
INLINE void put_together(real *p, const vr a[TOGETHER], int stream) {
    if (stream) {
        EACH(k, TOGETHER) v_stream(p + k * VL, a[k]);
    } else {
        EACH(k, TOGETHER) v_store(p + k * VL, a[k]);
    }
}

#endif
