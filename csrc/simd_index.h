/* simd_index.h - index vectors, and the shuffles between a row and its even and odd elements, for
 * every tier; beside simd.h, for the families that need them.
 *
 *   vi   VL signed integers as wide as a real, so that masks (vm) fit both; in memory they are
 *        int32, which is what vi_load and vi_store convert from and to; sums wrap around
 *
 * The ..._range functions touch lanes from..to-1 only, where from and to may lie beyond the vector
 * on either side; p is where lane 0 would be. Loads give `fill` in the other lanes.
 * v_trunc drops what is behind the point; v_gather(p, i) is p[i] lane by lane, for whole numbers
 * i that are kept as reals.
 * A v_part is such a range of lanes, made once for many loads; v_load_part and vi_load_part give
 * zero in the others.
 * v_pick_even and v_pick_odd give the even and the odd elements of two vectors as v_even and v_odd
 * do, but in whatever order is cheap; v_order and vi_order turn that order into the right one, and
 * back.
 * v_pack(a, b, to_a, to_b) writes the lanes of a, and those of b as int32, in which a is not zero
 * (NaN is not), side by side, and returns how many these are. There b is a whole number. It may
 * write up to VL of each.
 * v_permute(a, i) and vi_permute(a, i) give lane i[k] of a in lane k.
 * v_add_where(m, a, b) is a + b where m, else a (or a + 0). v_unordered(a, b): either is NaN.
 */
#ifndef FC_SIMD_INDEX_H
#define FC_SIMD_INDEX_H

#include "simd.h"

INLINE int64_t lane_clamp(int64_t n) { return n < 0 ? 0 : n < VL ? n : VL; }

#if defined(FC_TIER_AVX512)
/* ------------------------------------------------------------------ AVX-512F */
typedef __m512i vi;
INLINE vm v_range(int64_t from, int64_t to) {
    return (vm)(v_first(lane_clamp(to)) & ~v_first(lane_clamp(from)));
}
#ifdef FC_REAL_F64
#define V(op) _mm512_##op##_epi64
#define PICK(...) _mm512_setr_epi64(__VA_ARGS__)
#define EVEN_PICK PICK(0, 2, 4, 6, 8, 10, 12, 14)
#define ODD_PICK PICK(1, 3, 5, 7, 9, 11, 13, 15)
INLINE vi vi_lanes(void) { return PICK(0, 1, 2, 3, 4, 5, 6, 7); }
INLINE vi vi_load(const int32_t *p) {
    return _mm512_cvtepi32_epi64(_mm256_loadu_si256((const __m256i *)p));
}
INLINE void vi_store(int32_t *p, vi a) {
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi64_epi32(a));
}
INLINE vi vi_load_range(const int32_t *p, int64_t from, int64_t to, int32_t fill) {
    __m512i a = _mm512_mask_loadu_epi32(_mm512_set1_epi32(fill), v_range(from, to), p);
    return _mm512_cvtepi32_epi64(_mm512_castsi512_si256(a));
}
INLINE void vi_store_range(int32_t *p, vi a, int64_t from, int64_t to) {
    _mm512_mask_cvtepi64_storeu_epi32(p, v_range(from, to), a);
}
#else
#define V(op) _mm512_##op##_epi32
#define PICK(...) _mm512_setr_epi32(__VA_ARGS__)
#define EVEN_PICK PICK(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
#define ODD_PICK PICK(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)
INLINE vi vi_lanes(void) { return PICK(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }
INLINE vi vi_load(const int32_t *p) { return _mm512_loadu_si512(p); }
INLINE void vi_store(int32_t *p, vi a) { _mm512_storeu_si512(p, a); }
INLINE vi vi_load_range(const int32_t *p, int64_t from, int64_t to, int32_t fill) {
    return _mm512_mask_loadu_epi32(_mm512_set1_epi32(fill), v_range(from, to), p);
}
INLINE void vi_store_range(int32_t *p, vi a, int64_t from, int64_t to) {
    _mm512_mask_storeu_epi32(p, v_range(from, to), a);
}
#endif
INLINE vr v_load_range(const real *p, int64_t from, int64_t to, real fill) {
    return I(mask_loadu)(v_set1(fill), v_range(from, to), p);
}
INLINE void v_store_range(real *p, vr a, int64_t from, int64_t to) {
    I(mask_storeu)(p, v_range(from, to), a);
}
INLINE vi vi_set1(int64_t a) { return V(set1)(a); }
INLINE vi vi_add(vi a, vi b) { return V(add)(a, b); }
INLINE vi vi_sub(vi a, vi b) { return V(sub)(a, b); }
INLINE vi vi_select(vm m, vi yes, vi no) { return V(mask_blend)(m, no, yes); }
#ifdef FC_REAL_F64
INLINE vm vi_eq(vi a, vi b) { return _mm512_cmpeq_epi64_mask(a, b); }
INLINE vm vi_gt(vi a, vi b) { return _mm512_cmpgt_epi64_mask(a, b); }
#else
INLINE vm vi_eq(vi a, vi b) { return _mm512_cmpeq_epi32_mask(a, b); }
INLINE vm vi_gt(vi a, vi b) { return _mm512_cmpgt_epi32_mask(a, b); }
#endif
INLINE vr v_add_where(vm m, vr a, vr b) { return I(mask_add)(a, m, a, b); }
INLINE vm v_ge(vr a, vr b) { return M(cmp)(a, b, _CMP_GE_OQ); }
INLINE vm v_unordered(vr a, vr b) { return M(cmp)(a, b, _CMP_UNORD_Q); }
INLINE int v_all(vm m) { return m == (vm)-1; }
INLINE int v_any(vm m) { return m != 0; }
INLINE vr v_even(vr a, vr b) { return I(permutex2var)(a, EVEN_PICK, b); }
INLINE vr v_odd(vr a, vr b) { return I(permutex2var)(a, ODD_PICK, b); }
typedef vm v_part;
INLINE v_part v_part_of(int64_t from, int64_t to) { return v_range(from, to); }
INLINE vr v_load_part(const real *p, v_part m) { return I(maskz_loadu)(m, p); }
INLINE vi vi_load_part(const int32_t *p, v_part m) {
#ifdef FC_REAL_F64
    return _mm512_cvtepi32_epi64(_mm512_castsi512_si256(_mm512_maskz_loadu_epi32(m, p)));
#else
    return _mm512_maskz_loadu_epi32(m, p);
#endif
}

#elif defined(FC_TIER_AVX2)
/* ------------------------------------------------------------------ AVX2 */
typedef __m256i vi;
INLINE __m256i v_range(int64_t from, int64_t to) {
    return _mm256_andnot_si256(v_first(lane_clamp(from)), v_first(lane_clamp(to)));
}
#ifdef FC_REAL_F64
#define V(op) _mm256_##op##_epi64
#define AS_REAL(a) _mm256_castsi256_pd(a)
#define AS_INT(a) _mm256_castpd_si256(a)
INLINE vi vi_set1(int64_t a) { return _mm256_set1_epi64x(a); }
INLINE vi vi_lanes(void) { return _mm256_setr_epi64x(0, 1, 2, 3); }
INLINE __m128i vi_range(int64_t from, int64_t to) {
    const int32_t *first = v_mask_table + 8 - lane_clamp(from);
    const int32_t *last = v_mask_table + 8 - lane_clamp(to);
    return _mm_andnot_si128(_mm_loadu_si128((const __m128i *)first),
                            _mm_loadu_si128((const __m128i *)last));
}
INLINE __m128i vi_narrow(vi a) {
    vi pick = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
    return _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(a, pick));
}
INLINE vi vi_load(const int32_t *p) {
    return _mm256_cvtepi32_epi64(_mm_loadu_si128((const __m128i *)p));
}
INLINE vi vi_load_range(const int32_t *p, int64_t from, int64_t to, int32_t fill) {
    __m128i m = vi_range(from, to), a = _mm_maskload_epi32(p, m);
    return _mm256_cvtepi32_epi64(_mm_blendv_epi8(_mm_set1_epi32(fill), a, m));
}
INLINE void vi_store(int32_t *p, vi a) { _mm_storeu_si128((__m128i *)p, vi_narrow(a)); }
INLINE void vi_store_range(int32_t *p, vi a, int64_t from, int64_t to) {
    if (from > 0) _mm_maskstore_epi32(p, vi_range(from, to), vi_narrow(a));
    else if (to >= VL) vi_store(p, a);
    else if (to > 0) store_words4(p, vi_narrow(a), to);
}
INLINE vr v_pairs(vr a) { return _mm256_permute4x64_pd(a, 0xd8); }
INLINE vr v_even(vr a, vr b) { return v_pairs(_mm256_unpacklo_pd(a, b)); }
INLINE vr v_odd(vr a, vr b) { return v_pairs(_mm256_unpackhi_pd(a, b)); }
#else
#define V(op) _mm256_##op##_epi32
#define AS_REAL(a) _mm256_castsi256_ps(a)
#define AS_INT(a) _mm256_castps_si256(a)
INLINE vi vi_set1(int64_t a) { return _mm256_set1_epi32((int32_t)a); }
INLINE vi vi_lanes(void) { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
INLINE vi vi_load(const int32_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
INLINE void vi_store(int32_t *p, vi a) { _mm256_storeu_si256((__m256i *)p, a); }
INLINE vi vi_load_range(const int32_t *p, int64_t from, int64_t to, int32_t fill) {
    __m256i m = v_range(from, to);
    return _mm256_blendv_epi8(_mm256_set1_epi32(fill), _mm256_maskload_epi32(p, m), m);
}
INLINE void vi_store_range(int32_t *p, vi a, int64_t from, int64_t to) {
    if (from > 0) _mm256_maskstore_epi32(p, v_range(from, to), a);
    else if (to >= VL) vi_store(p, a);
    else if (to > 0) store_words(p, a, to);
}
INLINE vr v_pairs(vr a) {
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(a), 0xd8));
}
INLINE vr v_even(vr a, vr b) { return v_pairs(_mm256_shuffle_ps(a, b, 0x88)); }
INLINE vr v_odd(vr a, vr b) { return v_pairs(_mm256_shuffle_ps(a, b, 0xdd)); }
#endif
INLINE vr v_load_range(const real *p, int64_t from, int64_t to, real fill) {
    __m256i m = v_range(from, to);
    return I(blendv)(v_set1(fill), I(maskload)(p, m), AS_REAL(m));
}
INLINE void v_store_range(real *p, vr a, int64_t from, int64_t to) {
    if (from > 0) I(maskstore)(p, v_range(from, to), a);
    else if (to > 0) v_storen(p, a, to);
}
INLINE vi vi_add(vi a, vi b) { return V(add)(a, b); }
INLINE vi vi_sub(vi a, vi b) { return V(sub)(a, b); }
INLINE vm vi_eq(vi a, vi b) { return AS_REAL(V(cmpeq)(a, b)); }
INLINE vm vi_gt(vi a, vi b) { return AS_REAL(V(cmpgt)(a, b)); }
INLINE vi vi_select(vm m, vi yes, vi no) { return AS_INT(v_select(m, AS_REAL(yes), AS_REAL(no))); }
INLINE vr v_add_where(vm m, vr a, vr b) { return v_add(a, I(and)(m, b)); }
INLINE vm v_ge(vr a, vr b) { return I(cmp)(a, b, _CMP_GE_OQ); }
INLINE vm v_unordered(vr a, vr b) { return I(cmp)(a, b, _CMP_UNORD_Q); }
INLINE int v_all(vm m) { return I(movemask)(m) == (1 << VL) - 1; }
INLINE int v_any(vm m) { return I(movemask)(m) != 0; }
typedef __m256i v_part;
INLINE v_part v_part_of(int64_t from, int64_t to) { return v_range(from, to); }
INLINE vr v_load_part(const real *p, v_part m) { return I(maskload)(p, m); }
INLINE vi vi_load_part(const int32_t *p, v_part m) {
#ifdef FC_REAL_F64
    return _mm256_cvtepi32_epi64(_mm_maskload_epi32(p, vi_narrow(m)));
#else
    return _mm256_maskload_epi32(p, m);
#endif
}

#elif defined(FC_TIER_NEON)
/* ------------------------------------------------------------------ NEON (aarch64) */
#ifdef FC_REAL_F64
#define V(op) v##op##q_s64
typedef int64x2_t vi;
INLINE vi vi_set1(int64_t a) { return vdupq_n_s64(a); }
INLINE vi vi_load(const int32_t *p) { return vmovl_s32(vld1_s32(p)); }
INLINE void vi_store(int32_t *p, vi a) { vst1_s32(p, vmovn_s64(a)); }
INLINE vi vi_select(vm m, vi yes, vi no) { return vbslq_s64(m, yes, no); }
INLINE vr v_add_where(vm m, vr a, vr b) {
    return v_add(a, vreinterpretq_f64_u64(vandq_u64(m, vreinterpretq_u64_f64(b))));
}
INLINE int v_all(vm m) { return (vgetq_lane_u64(m, 0) & vgetq_lane_u64(m, 1)) != 0; }
INLINE int v_any(vm m) { return (vgetq_lane_u64(m, 0) | vgetq_lane_u64(m, 1)) != 0; }
#else
#define V(op) v##op##q_s32
typedef int32x4_t vi;
INLINE vi vi_set1(int64_t a) { return vdupq_n_s32((int32_t)a); }
INLINE vi vi_load(const int32_t *p) { return vld1q_s32(p); }
INLINE void vi_store(int32_t *p, vi a) { vst1q_s32(p, a); }
INLINE vi vi_select(vm m, vi yes, vi no) { return vbslq_s32(m, yes, no); }
INLINE vr v_add_where(vm m, vr a, vr b) {
    return v_add(a, vreinterpretq_f32_u32(vandq_u32(m, vreinterpretq_u32_f32(b))));
}
INLINE int v_all(vm m) { return vminvq_u32(m) != 0; }
INLINE int v_any(vm m) { return vmaxvq_u32(m) != 0; }
#endif
INLINE vi vi_lanes(void) {
    static const int32_t lanes[4] = {0, 1, 2, 3};
    return vi_load(lanes);
}
INLINE vi vi_add(vi a, vi b) { return V(add)(a, b); }
INLINE vi vi_sub(vi a, vi b) { return V(sub)(a, b); }
INLINE vm vi_eq(vi a, vi b) { return V(ceq)(a, b); }
INLINE vm vi_gt(vi a, vi b) { return V(cgt)(a, b); }
INLINE vm v_ge(vr a, vr b) { return I(cge)(a, b); }
INLINE vm v_unordered(vr a, vr b) { return v_or(v_isnan(a), v_isnan(b)); }
INLINE vr v_even(vr a, vr b) { return I(uzp1)(a, b); }
INLINE vr v_odd(vr a, vr b) { return I(uzp2)(a, b); }

#else
/* ------------------------------------------------------------------ scalar: plain C */
typedef vm vi;
INLINE vi vi_set1(int64_t a) { vi r = {0}; LANES LANE(r, i) = (lane_mask)a; return r; }
INLINE vi vi_lanes(void) { vi r = {0}; LANES LANE(r, i) = i; return r; }
INLINE vi vi_load(const int32_t *p) { vi r = {0}; LANES LANE(r, i) = p[i]; return r; }
INLINE void vi_store(int32_t *p, vi a) { LANES p[i] = (int32_t)LANE(a, i); }
/* Indices that a caller made up may overflow; like the vector tiers these then wrap. */
INLINE vi vi_add(vi a, vi b) { return (vi)((vb)a + (vb)b); }
INLINE vi vi_sub(vi a, vi b) { return (vi)((vb)a - (vb)b); }
INLINE vm vi_eq(vi a, vi b) { return FROM_COMPARISON(a == b); }
INLINE vm vi_gt(vi a, vi b) { return FROM_COMPARISON(a > b); }
INLINE vi vi_select(vm m, vi yes, vi no) { return (m & yes) | (~m & no); }
INLINE vr v_add_where(vm m, vr a, vr b) { return a + v_select(m, b, v_zero()); }
INLINE vm v_ge(vr a, vr b) { return FROM_COMPARISON(a >= b); }
INLINE vm v_unordered(vr a, vr b) { return v_or(v_isnan(a), v_isnan(b)); }
INLINE int v_all(vm m) { int all = 1; LANES all &= LANE(m, i) != 0; return all; }
INLINE int v_any(vm m) { int any = 0; LANES any |= LANE(m, i) != 0; return any; }
INLINE vr v_even(vr a, vr b) {
    vr r = {0};
    LANES LANE(r, i) = 2 * i < VL ? LANE(a, 2 * i % VL) : LANE(b, 2 * i % VL);
    return r;
}
INLINE vr v_odd(vr a, vr b) {
    vr r = {0};
    LANES LANE(r, i) = 2 * i + 1 < VL ? LANE(a, (2 * i + 1) % VL) : LANE(b, (2 * i + 1) % VL);
    return r;
}
#endif

#if !defined(FC_TIER_AVX512) && !defined(FC_TIER_AVX2)
/* NEON and plain C have no masked loads and stores: lane by lane. */
INLINE vr v_load_range(const real *p, int64_t from, int64_t to, real fill) {
    real t[VL];
    for (int i = 0; i < VL; i++) t[i] = i >= from && i < to ? p[i] : fill;
    return v_load(t);
}
INLINE void v_store_range(real *p, vr a, int64_t from, int64_t to) {
    real t[VL];
    v_store(t, a);
    for (int64_t i = lane_clamp(from); i < lane_clamp(to); i++) p[i] = t[i];
}
INLINE vi vi_load_range(const int32_t *p, int64_t from, int64_t to, int32_t fill) {
    int32_t t[VL];
    for (int i = 0; i < VL; i++) t[i] = i >= from && i < to ? p[i] : fill;
    return vi_load(t);
}
INLINE void vi_store_range(int32_t *p, vi a, int64_t from, int64_t to) {
    int32_t t[VL];
    vi_store(t, a);
    for (int64_t i = lane_clamp(from); i < lane_clamp(to); i++) p[i] = t[i];
}
typedef struct { int64_t from, to; } v_part;
INLINE v_part v_part_of(int64_t from, int64_t to) { return (v_part){from, to}; }
INLINE vr v_load_part(const real *p, v_part m) {
    if (m.from <= 0 && m.to >= VL) return v_load(p);
    return v_load_range(p, m.from, m.to, 0);
}
INLINE vi vi_load_part(const int32_t *p, v_part m) {
    if (m.from <= 0 && m.to >= VL) return vi_load(p);
    return vi_load_range(p, m.from, m.to, 0);
}
#endif

#if defined(FC_TIER_AVX2)
#ifdef FC_REAL_F64
INLINE vr v_pick_even(vr a, vr b) { return _mm256_unpacklo_pd(a, b); }
INLINE vr v_pick_odd(vr a, vr b) { return _mm256_unpackhi_pd(a, b); }
#else
INLINE vr v_pick_even(vr a, vr b) { return _mm256_shuffle_ps(a, b, 0x88); }
INLINE vr v_pick_odd(vr a, vr b) { return _mm256_shuffle_ps(a, b, 0xdd); }
#endif
INLINE vr v_order(vr a) { return v_pairs(a); }
INLINE vi vi_order(vi a) { return AS_INT(v_pairs(AS_REAL(a))); }
#else
INLINE vr v_pick_even(vr a, vr b) { return v_even(a, b); }
INLINE vr v_pick_odd(vr a, vr b) { return v_odd(a, b); }
INLINE vr v_order(vr a) { return a; }
INLINE vi vi_order(vi a) { return a; }
#endif

/* b where m, else a; for 0 <= a <= b. */
#if defined(FC_TIER_AVX2) && !defined(FC_REAL_F64)
INLINE vi vi_raise(vm m, vi a, vi b) { return _mm256_max_epi32(a, _mm256_and_si256(AS_INT(m), b)); }
#else
INLINE vi vi_raise(vm m, vi a, vi b) { return vi_select(m, b, a); }
#endif
#if defined(FC_TIER_AVX512) || (defined(FC_TIER_AVX2) && !defined(FC_REAL_F64))
INLINE vi vi_max(vi a, vi b) { return V(max)(a, b); }
INLINE vi vi_min(vi a, vi b) { return V(min)(a, b); }
#else
INLINE vi vi_max(vi a, vi b) { return vi_select(vi_gt(a, b), a, b); }
INLINE vi vi_min(vi a, vi b) { return vi_select(vi_gt(a, b), b, a); }
#endif

#if defined(FC_TIER_AVX512)
INLINE vr v_permute(vr a, vi i) { return I(permutexvar)(i, a); }
INLINE vi vi_permute(vi a, vi i) { return V(permutexvar)(i, a); }
#elif defined(FC_TIER_AVX2)
#ifdef FC_REAL_F64
INLINE vi vi_permute(vi a, vi i) { /* by halves of lanes: 2 i and 2 i + 1 */
    vi even = _mm256_slli_epi64(i, 1);
    vi odd = _mm256_slli_epi64(vi_add(even, vi_set1(1)), 32);
    return _mm256_permutevar8x32_epi32(a, _mm256_or_si256(even, odd));
}
#else
INLINE vi vi_permute(vi a, vi i) { return _mm256_permutevar8x32_epi32(a, i); }
#endif
INLINE vr v_permute(vr a, vi i) { return AS_REAL(vi_permute(AS_INT(a), i)); }
#else
INLINE vr v_permute(vr a, vi i) {
    real from[VL], to[VL];
    int32_t lanes[VL];
    v_store(from, a);
    vi_store(lanes, i);
    UNROLL for (int k = 0; k < VL; k++) to[k] = from[lanes[k]];
    return v_load(to);
}
INLINE vi vi_permute(vi a, vi i) {
    int32_t from[VL], lanes[VL], to[VL];
    vi_store(from, a);
    vi_store(lanes, i);
    UNROLL for (int k = 0; k < VL; k++) to[k] = from[lanes[k]];
    return vi_load(to);
}
#endif

/* 0, 1, 2, ... */
INLINE vr v_lanes(void) {
    real t[VL];
    UNROLL for (int i = 0; i < VL; i++) t[i] = (real)i;
    return v_load(t);
}

#if defined(FC_TIER_AVX512)
INLINE vr v_trunc(vr a) { return I(roundscale)(a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC); }
#ifdef FC_REAL_F64
INLINE vr v_gather(const real *p, vr i) {
    return _mm512_mask_i32gather_pd(v_zero(), (vm)-1, _mm512_cvttpd_epi32(i), p, 8);
}
#else
INLINE vr v_gather(const real *p, vr i) {
    return _mm512_mask_i32gather_ps(v_zero(), (vm)-1, _mm512_cvttps_epi32(i), p, 4);
}
#endif
#elif defined(FC_TIER_AVX2)
INLINE vr v_trunc(vr a) { return I(round)(a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC); }
#ifdef FC_REAL_F64
INLINE vr v_gather(const real *p, vr i) {
    return _mm256_i32gather_pd(p, _mm256_cvttpd_epi32(i), 8);
}
#else
INLINE vr v_gather(const real *p, vr i) {
    return _mm256_i32gather_ps(p, _mm256_cvttps_epi32(i), 4);
}
#endif
#else
#if defined(FC_TIER_NEON)
INLINE vr v_trunc(vr a) { return I(rnd)(a); }
#else
INLINE vr v_trunc(vr a) { LANES LANE(a, i) = (real)(int32_t)LANE(a, i); return a; }
#endif
INLINE vr v_gather(const real *p, vr i) {
    real t[VL];
    v_store(t, i);
    UNROLL for (int k = 0; k < VL; k++) t[k] = p[(int32_t)t[k]];
    return v_load(t);
}
#endif

#if defined(FC_TIER_AVX512)
INLINE int64_t v_pack(vr a, vr b, real *to_a, int32_t *to_b) {
    vm here = M(cmp)(a, v_zero(), _CMP_NEQ_UQ);
    v_store(to_a, I(maskz_compress)(here, a));
#ifdef FC_REAL_F64
    __m256i whole = _mm512_cvttpd_epi32(I(maskz_compress)(here, b));
    _mm256_storeu_si256((__m256i *)to_b, whole);
#else
    vi_store(to_b, _mm512_cvttps_epi32(I(maskz_compress)(here, b)));
#endif
    return _mm_popcnt_u32(here);
}
#elif defined(FC_TIER_AVX2) && !defined(FC_REAL_F64)
/* Entry m has the numbers of the bits that are set in m, the lowest first, one a byte; then 0. */
#define BIT_OF(m, b) ((uint64_t)((m) >> (b) & 1))
#define WITH(m, b, above) ((uint64_t)(above) << 8 * BIT_OF(m, b) | BIT_OF(m, b) * (b))
#define UPPER_LANES_OF(m) WITH(m, 4, WITH(m, 5, WITH(m, 6, WITH(m, 7, 0))))
#define LANES_OF(m) WITH(m, 0, WITH(m, 1, WITH(m, 2, WITH(m, 3, UPPER_LANES_OF(m)))))
#define LANES_OF_4(m) LANES_OF(m), LANES_OF((m) + 1), LANES_OF((m) + 2), LANES_OF((m) + 3)
#define LANES_OF_16(m) LANES_OF_4(m), LANES_OF_4((m) + 4), LANES_OF_4((m) + 8), LANES_OF_4((m) + 12)
#define LANES_OF_64(m) \
    LANES_OF_16(m), LANES_OF_16((m) + 16), LANES_OF_16((m) + 32), LANES_OF_16((m) + 48)
static const uint64_t v_pack_table[256] = {
    LANES_OF_64(0), LANES_OF_64(64), LANES_OF_64(128), LANES_OF_64(192),
};
#undef BIT_OF
#undef WITH
INLINE int64_t v_pack(vr a, vr b, real *to_a, int32_t *to_b) {
    unsigned here = (unsigned)I(movemask)(I(cmp)(a, v_zero(), _CMP_NEQ_UQ));
    __m256i from = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(v_pack_table + here)));
    v_store(to_a, _mm256_permutevar8x32_ps(a, from));
    vi_store(to_b, _mm256_cvttps_epi32(_mm256_permutevar8x32_ps(b, from)));
    return _mm_popcnt_u32(here);
}
#else
INLINE int64_t v_pack(vr a, vr b, real *to_a, int32_t *to_b) {
    real lanes_a[VL], lanes_b[VL];
    int64_t n = 0;
    v_store(lanes_a, a);
    v_store(lanes_b, b);
    for (int i = 0; i < VL; i++) {
        to_a[n] = lanes_a[i];
        to_b[n] = lanes_a[i] != 0 ? (int32_t)lanes_b[i] : 0;
        n += lanes_a[i] != 0;
    }
    return n;
}
#endif

#endif
