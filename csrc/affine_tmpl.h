/* affine_tmpl.h - images through an affine map, resampled bilinearly; compiled per tier and real
 * type.
 *
 * An image's planes are copied into a border of `fill`: one row and column before the image, two
 * behind, which is made once for the images of a task. Places are clamped to -1..h and -1..w, where
 * only the border counts, so no place needs a test. Vectors lie along the output's columns: places,
 * then indices (whole numbers) and weights are computed once for all channels, and the four
 * neighbours fetched. A shift by whole pixels is a copy. A task is a few images.
 */
#include "simd_index.h"

enum { AFFINE_RUN = 8 }; /* vectors of a row whose indices are found before the first is used */

typedef struct {
    const fc_affine_desc *d;
    const real *x;
    const double *matrix;
    real *y;
    char *planes;
    int64_t bytes, height, width; /* of the bordered planes */
    int64_t block;                /* images of a task */
} affine_arg;

/* A border of `fill` everywhere; images only ever overwrite its inside. */
static void affine_border(const affine_arg *a, real *planes) {
    real fill = (real)a->d->fill;
    for (int64_t i = 0; i < a->d->c * a->height * a->width; i++) planes[i] = fill;
}

static void affine_copy(const affine_arg *a, const real *x, real *planes) {
    const fc_affine_desc *d = a->d;
    for (int64_t c = 0; c < d->c; c++)
        for (int64_t i = 0; i < d->h; i++, x += d->w) {
            real *row = planes + (c * a->height + i + 1) * a->width + 1;
            for (int64_t j = 0; j < d->w; j += VL)
                v_storen(row + j, v_loadn(x + j, d->w - j), d->w - j);
        }
}

/* Where the left upper neighbours are, and those at p[index] and p[index + 1], lane by
 * lane. Pairs of floats are loaded as one, one by one: gathers take several times as
 * long on many processors. */
#if (defined(FC_TIER_AVX512) || defined(FC_TIER_AVX2)) && !defined(FC_REAL_F64)
typedef struct {
    int32_t at[VL];
} affine_index;

INLINE __m256 affine_four(const real *p, const int32_t *at) {
    __m128 a = _mm_castsi128_ps(_mm_loadl_epi64((const __m128i *)(p + at[0])));
    __m128 b = _mm_castsi128_ps(_mm_loadl_epi64((const __m128i *)(p + at[2])));
    a = _mm_loadh_pi(a, (const __m64 *)(p + at[1]));
    return _mm256_set_m128(_mm_loadh_pi(b, (const __m64 *)(p + at[3])), a);
}

#ifdef FC_TIER_AVX512
INLINE affine_index affine_index_of(vr index) {
    affine_index i;
    _mm512_storeu_si512(i.at, _mm512_cvttps_epi32(index));
    return i;
}
INLINE vr affine_eight(const real *p, const int32_t *at) {
    __m512d low = _mm512_castps_pd(_mm512_castps256_ps512(affine_four(p, at)));
    return _mm512_castpd_ps(
        _mm512_insertf64x4(low, _mm256_castps_pd(affine_four(p, at + 4)), 1));
}
#define AFFINE_HALF affine_eight
#else
INLINE affine_index affine_index_of(vr index) {
    affine_index i;
    _mm256_storeu_si256((__m256i *)i.at, _mm256_cvttps_epi32(index));
    return i;
}
#define AFFINE_HALF affine_four
#endif

INLINE void affine_pairs(const real *p, const affine_index *i, vr *left, vr *right) {
    vr a = AFFINE_HALF(p, i->at), b = AFFINE_HALF(p, i->at + VL / 2);
    *left = v_even(a, b), *right = v_odd(a, b);
}
#else
typedef vr affine_index;
INLINE affine_index affine_index_of(vr index) { return index; }
INLINE void affine_pairs(const real *p, const affine_index *i, vr *left, vr *right) {
    *left = v_gather(p, *i), *right = v_gather(p + 1, *i);
}
#endif

/* In the border's coordinates, one further than the image's; NaN becomes 0. */
INLINE vr affine_place(vr columns, real per_column, real start, int64_t size) {
    vr p = v_fma(columns, v_set1(per_column), v_set1(start));
    return v_min(v_max(p, v_zero()), v_set1((real)(size + 1)));
}

INLINE vr affine_between(vr a, vr b, vr weight) { return v_fma(weight, v_sub(b, a), a); }

/* Whether the map only moves the image, by whole pixels. */
static int affine_is_shift(const double *m) {
    return m[0] == 1 && m[1] == 0 && m[3] == 0 && m[4] == 1 && fabs(m[2]) < INT32_MAX &&
           fabs(m[5]) < INT32_MAX && m[2] == trunc(m[2]) && m[5] == trunc(m[5]);
}

/* Then no value is computed anew: rows are copied. */
static void affine_shift(const affine_arg *a, int64_t n) {
    const fc_affine_desc *d = a->d;
    const double *m = a->matrix + 6 * n;
    int64_t across = fc_max(-d->ow, fc_min((int64_t)m[2], d->w)); /* further is the same */
    int64_t down = fc_max(-d->oh, fc_min((int64_t)m[5], d->h));
    for (int64_t c = n * d->c; c < (n + 1) * d->c; c++) {
        for (int64_t i = 0; i < d->oh; i++) {
            int64_t y = i + down, inside = y >= 0 && y < d->h ? d->w : 0; /* columns there are */
            const real *from = a->x + (c * d->h + y) * d->w + across;
            real *row = a->y + (c * d->oh + i) * d->ow;
            for (int64_t j = 0; j < d->ow; j += VL) {
                int64_t at = across + j;
                v_storen(row + j, v_load_range(from + j, -at, inside - at, (real)d->fill),
                         d->ow - j);
            }
        }
    }
}

static void affine_image(const affine_arg *a, int64_t n, real *planes) {
    const fc_affine_desc *d = a->d;
    const double *m = a->matrix + 6 * n;
    if (affine_is_shift(m)) {
        affine_shift(a, n);
        return;
    }
    int64_t plane = a->height * a->width, out_plane = d->oh * d->ow;
    affine_copy(a, a->x + n * d->c * d->h * d->w, planes);
    vr lanes = v_lanes(), width = v_set1((real)a->width);
    affine_index index[AFFINE_RUN];
    vr right_weight[AFFINE_RUN], low_weight[AFFINE_RUN];
    for (int64_t i = 0; i < d->oh; i++) {
        real x0 = (real)(m[1] * (double)i + m[2] + 1), y0 = (real)(m[4] * (double)i + m[5] + 1);
        real *row = a->y + n * d->c * out_plane + i * d->ow;
        for (int64_t j0 = 0; j0 < d->ow; j0 += AFFINE_RUN * VL) {
            int64_t vectors = fc_min(AFFINE_RUN, fc_ceil_div(d->ow - j0, VL));
            for (int64_t k = 0; k < vectors; k++) {
                vr columns = v_add(lanes, v_set1((real)(j0 + k * VL)));
                vr px = affine_place(columns, (real)m[0], x0, d->w);
                vr py = affine_place(columns, (real)m[3], y0, d->h);
                vr left = v_trunc(px), top = v_trunc(py);
                right_weight[k] = v_sub(px, left), low_weight[k] = v_sub(py, top);
                index[k] = affine_index_of(v_fma(top, width, left));
            }
            for (int64_t c = 0; c < d->c; c++) {
                const real *p = planes + c * plane;
                for (int64_t k = 0; k < vectors; k++) {
                    int64_t j = j0 + k * VL;
                    vr left_pixel, right_pixel;
                    affine_pairs(p, &index[k], &left_pixel, &right_pixel);
                    vr upper = affine_between(left_pixel, right_pixel, right_weight[k]);
                    affine_pairs(p + a->width, &index[k], &left_pixel, &right_pixel);
                    vr lower = affine_between(left_pixel, right_pixel, right_weight[k]);
                    v_storen(row + c * out_plane + j, affine_between(upper, lower, low_weight[k]),
                             d->ow - j);
                }
            }
        }
    }
}

static void affine_task(void *arg, int64_t item, int thread) {
    const affine_arg *a = arg;
    real *planes = (real *)(a->planes + thread * a->bytes);
    affine_border(a, planes);
    int64_t last = fc_min((item + 1) * a->block, a->d->n);
    for (int64_t n = item * a->block; n < last; n++) affine_image(a, n, planes);
}

/* A pixel is worth some ten multiply-adds. */
static void affine_forward(const fc_affine_desc *d, const void *x, const double *matrix, void *y,
                           void *workspace, int n_threads) {
    affine_arg a = {
        .d = d, .x = x, .matrix = matrix, .y = y, .planes = workspace,
        .bytes = fc_affine_image_bytes(d),
        .block = fc_max(1, fc_min(16, 16384 / (d->c * d->h * d->w + 1))),
        .height = d->h + FC_AFFINE_BORDER, .width = d->w + FC_AFFINE_BORDER,
    };
    double work = 10.0 * (double)(d->n * d->c) * (double)(d->h * d->w + d->oh * d->ow);
    fc_parallel(fc_ceil_div(d->n, a.block), fc_threads_for(work, n_threads), affine_task, &a);
}

#define AFFINE_KERNELS {.forward = affine_forward}
