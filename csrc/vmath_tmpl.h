/* vmath_tmpl.h - exp and what follows from it, on vectors; compiled per tier and real type.
 *
 * exp(x) = 2^n * exp(r) with n = round(x / ln 2) and |r| <= ln(2) / 2, where ln 2 is subtracted in
 * two parts (Cody and Waite) and exp(r) - 1 is a polynomial: Cephes' for float, Taylor's up to
 * r^13 / 13! for double. The error is at most two units in the last place; exp(-inf) = 0,
 * exp(inf) = inf, NaN stays NaN.
 */
#ifdef FC_REAL_F64
#define EXP_MAGIC 6755399441055744.0 /* 1.5 * 2^52: adding it rounds to an integer */
#define EXP_BIAS 1023
#define EXP_LOWEST (real)(-746.0)  /* exp is 0 below */
#define EXP_HIGHEST (real)(710.0)  /* and inf above */
#define LN2_HI 6.93145751953125e-1 /* few enough bits that n * LN2_HI is exact */
#define LN2_LO 1.42860682030941723212e-6
static const real EXP_POLY[] = {
    1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320,
    1.0 / 5040,       1.0 / 720,       1.0 / 120,      1.0 / 24,      1.0 / 6,      1.0 / 2,
};
#else
#define EXP_MAGIC 12582912.0f /* 1.5 * 2^23 */
#define EXP_BIAS 127
#define EXP_LOWEST (-104.0f)
#define EXP_HIGHEST 89.0f
#define LN2_HI 0.693359375f
#define LN2_LO (-2.12194440e-4f)
static const real EXP_POLY[] = {
    1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
    4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f,
};
#endif
enum { EXP_DEGREE = sizeof EXP_POLY / sizeof EXP_POLY[0] };

INLINE vr v_round(vr a) { return v_sub(v_add(a, v_set1(EXP_MAGIC)), v_set1(EXP_MAGIC)); }

/* 2^n for an integer-valued n whose result is a normal number: n + MAGIC + BIAS holds n + BIAS in
 * its lowest bits, which are then moved to the exponent's place. */
INLINE vr v_pow2(vr n) { return v_shift_exponent(v_add(n, v_set1(EXP_MAGIC + EXP_BIAS))); }

/* exp(a) = 2^n * (1 + q); a within [EXP_LOWEST, EXP_HIGHEST] or NaN. */
INLINE void v_exp_parts(vr a, vr *n, vr *q) {
    *n = v_round(v_mul(a, v_set1((real)1.44269504088896340736)));
    vr r = v_fma(*n, v_set1(-LN2_HI), a);
    r = v_fma(*n, v_set1(-LN2_LO), r);
    vr p = v_set1(EXP_POLY[0]);
    UNROLL for (int i = 1; i < EXP_DEGREE; i++) p = v_fma(p, r, v_set1(EXP_POLY[i]));
    *q = v_fma(v_mul(p, r), r, r);
}

INLINE vr v_exp(vr a) {
    /* v_max and v_min give their second operand when one is NaN. */
    a = v_min(v_set1(EXP_HIGHEST), v_max(v_set1(EXP_LOWEST), a));
    vr n, q;
    v_exp_parts(a, &n, &q);
    /* In two steps, because 2^n alone may be no normal number where exp(a) is one. */
    vr half = v_round(v_mul(n, v_set1((real)0.5)));
    vr scaled = v_mul(v_add(v_set1(1), q), v_pow2(half));
    return v_mul(scaled, v_pow2(v_sub(n, half)));
}

/* tanh|a| = -e / (2 + e) with e = exp(-2|a|) - 1, which keeps its digits near zero. */
INLINE vr v_tanh(vr a) {
    vr n, q;
    vr twice = v_mul(v_abs(a), v_set1(-2));
    /* From here on tanh is 1 to the last digit, and 2^n is still normal. */
    v_exp_parts(v_max(v_set1((real)-44.0), twice), &n, &q);
    vr scale = v_pow2(n);
    vr e = v_fma(scale, q, v_sub(scale, v_set1(1)));
    return v_copysign(v_div(e, v_add(v_set1(2), e)), a);
}

INLINE vr v_sigmoid(vr a) {
    return v_div(v_set1(1), v_add(v_set1(1), v_exp(v_sub(v_zero(), a))));
}
