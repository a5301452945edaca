/* vmath_tmpl.h - exp and what follows from it, on vectors; compiled per tier and real type.
 *
 * exp(x) = 2^n * exp(r) with n = round(x / ln 2) and |r| <= ln(2) / 2, where ln 2 is subtracted in
 * two parts (Cody and Waite) and exp(r) - 1 is a polynomial: Cephes' for float, Taylor's up to
 * r^13 / 13! for double. The error is at most two units in the last place; exp(-inf) = 0,
 * exp(inf) = inf, NaN stays NaN.
 *
 * A vector's exp is one long chain, of which few fit in a processor's queue: so v_exps and the
 * others take up to TOGETHER vectors through every step, in place.
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
enum { EXP_DEGREE = sizeof EXP_POLY / sizeof EXP_POLY[0] }; /* even: they go in pairs */

/* 2^n for an integer-valued n whose result is a normal number: n + MAGIC + BIAS holds n + BIAS in
 * its lowest bits, which are then moved to the exponent's place. */
INLINE vr v_pow2(vr n) { return v_shift_exponent(v_add(n, v_set1(EXP_MAGIC + EXP_BIAS))); }

/* exp(a) = 2^n * (1 + q); a within [EXP_LOWEST, EXP_HIGHEST] or NaN. The polynomial is one of r^2
 * whose coefficients are of degree 1 in r, which makes its chain shorter. */
INLINE void v_exp_parts(const int vectors, const vr *a, vr *n, vr *q) {
    vr magic = v_set1(EXP_MAGIC), r[TOGETHER], square[TOGETHER];
    EACH(k, vectors) n[k] = v_fma(a[k], v_set1((real)1.44269504088896340736), magic);
    EACH(k, vectors) n[k] = v_sub(n[k], magic);
    EACH(k, vectors) r[k] = v_fma(n[k], v_set1(-LN2_HI), a[k]);
    EACH(k, vectors) r[k] = v_fma(n[k], v_set1(-LN2_LO), r[k]);
    EACH(k, vectors) square[k] = v_mul(r[k], r[k]);
    EACH(i, EXP_DEGREE / 2) {
        vr high = v_set1(EXP_POLY[2 * i]), low = v_set1(EXP_POLY[2 * i + 1]);
        EACH(k, vectors) {
            vr pair = v_fma(high, r[k], low);
            q[k] = i == 0 ? pair : v_fma(q[k], square[k], pair);
        }
    }
    EACH(k, vectors) q[k] = v_fma(q[k], square[k], r[k]);
}

/* a = exp(a) */
INLINE void v_exps(const int vectors, vr *a) {
    vr n[TOGETHER], q[TOGETHER], half[TOGETHER], shifted = v_set1(EXP_MAGIC + EXP_BIAS);
    /* v_max and v_min give their second operand when one is NaN. */
    EACH(k, vectors) a[k] = v_max(v_set1(EXP_LOWEST), a[k]);
    EACH(k, vectors) a[k] = v_min(v_set1(EXP_HIGHEST), a[k]);
    v_exp_parts(vectors, a, n, q);
    /* In two steps, because 2^n alone may be no normal number where exp(a) is one: by `half` of n,
     * which becomes 2^half in place, and by the rest. */
    EACH(k, vectors) half[k] = v_fma(n[k], v_set1((real)0.5), shifted);
    EACH(k, vectors) n[k] = v_sub(n[k], v_sub(half[k], shifted));
    EACH(k, vectors) half[k] = v_shift_exponent(half[k]);
    EACH(k, vectors) a[k] = v_mul(v_fma(half[k], q[k], half[k]), v_pow2(n[k]));
}

/* a = exp(a) - 1 for a <= 0 or NaN; it keeps its digits near zero. */
INLINE void v_expm1s(const int vectors, vr *a) {
    vr n[TOGETHER], q[TOGETHER];
    /* From here on it is -1 to the last digit, and 2^n is still normal. */
    EACH(k, vectors) a[k] = v_max(v_set1((real)-44.0), a[k]);
    v_exp_parts(vectors, a, n, q);
    EACH(k, vectors) n[k] = v_pow2(n[k]);
    EACH(k, vectors) a[k] = v_fma(n[k], q[k], v_sub(n[k], v_set1(1)));
}

/* a = tanh(a); tanh|a| = -e / (2 + e) with e = exp(-2|a|) - 1. */
INLINE void v_tanhs(const int vectors, vr *a) {
    vr e[TOGETHER];
    EACH(k, vectors) e[k] = v_mul(v_abs(a[k]), v_set1(-2));
    v_expm1s(vectors, e);
    EACH(k, vectors) a[k] = v_copysign(v_div(e[k], v_add(v_set1(2), e[k])), a[k]);
}

/* a = 1 / (1 + exp(-a)) */
INLINE void v_sigmoids(const int vectors, vr *a) {
    EACH(k, vectors) a[k] = v_sub(v_zero(), a[k]);
    v_exps(vectors, a);
    EACH(k, vectors) a[k] = v_div(v_set1(1), v_add(v_set1(1), a[k]));
}

INLINE vr v_exp(vr a) { return v_exps(1, &a), a; }
INLINE vr v_tanh(vr a) { return v_tanhs(1, &a), a; }
INLINE vr v_sigmoid(vr a) { return v_sigmoids(1, &a), a; }
