/* affine_tmpl.h - images through an affine map, resampled bilinearly; compiled per tier and real
 * type.
 *
 * An image's planes are copied into a border of `fill`: one row and column before the image, two
 * behind, which is made once for the images of a task. Places are clamped to -1..h and -1..w, where
 * only the border counts, so no place needs a test. Vectors lie along the output's columns: places,
 * then indices (whole numbers, kept as reals) and weights are computed once for all channels, and
 * the four neighbours gathered. A task is a few images.
 */
#include "simd_index.h"

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

/* p[i] and p[i + 1] lane by lane; pairs of floats are loaded as one, which halves the loads. */
INLINE void affine_pairs(const real *p, vr i, vr *left, vr *right) {
#if defined(FC_TIER_AVX512) && !defined(FC_REAL_F64)
    __m512i index = _mm512_cvttps_epi32(i), none = _mm512_setzero_si512();
    __m256i low = _mm512_castsi512_si256(index), high = _mm512_extracti64x4_epi64(index, 1);
    vr a = _mm512_castsi512_ps(_mm512_mask_i32gather_epi64(none, 0xff, low, p, 4));
    vr b = _mm512_castsi512_ps(_mm512_mask_i32gather_epi64(none, 0xff, high, p, 4));
    *left = v_even(a, b), *right = v_odd(a, b);
#elif defined(FC_TIER_AVX2) && !defined(FC_REAL_F64)
    __m256i index = _mm256_cvttps_epi32(i);
    __m128i low = _mm256_castsi256_si128(index), high = _mm256_extracti128_si256(index, 1);
    vr a = _mm256_castsi256_ps(_mm256_i32gather_epi64((const void *)p, low, 4));
    vr b = _mm256_castsi256_ps(_mm256_i32gather_epi64((const void *)p, high, 4));
    *left = v_even(a, b), *right = v_odd(a, b);
#else
    *left = v_gather(p, i), *right = v_gather(p + 1, i);
#endif
}

/* In the border's coordinates, one further than the image's; NaN becomes 0. */
INLINE vr affine_place(vr columns, real per_column, real start, int64_t size) {
    vr p = v_fma(columns, v_set1(per_column), v_set1(start));
    return v_min(v_max(p, v_zero()), v_set1((real)(size + 1)));
}

INLINE vr affine_between(vr a, vr b, vr weight) { return v_fma(weight, v_sub(b, a), a); }

static void affine_image(const affine_arg *a, int64_t n, real *planes) {
    const fc_affine_desc *d = a->d;
    const double *m = a->matrix + 6 * n;
    int64_t plane = a->height * a->width, out_plane = d->oh * d->ow;
    affine_copy(a, a->x + n * d->c * d->h * d->w, planes);
    vr lanes = v_lanes(), width = v_set1((real)a->width);
    for (int64_t i = 0; i < d->oh; i++) {
        real x0 = (real)(m[1] * (double)i + m[2] + 1), y0 = (real)(m[4] * (double)i + m[5] + 1);
        real *row = a->y + n * d->c * out_plane + i * d->ow;
        for (int64_t j = 0; j < d->ow; j += VL) {
            vr columns = v_add(lanes, v_set1((real)j));
            vr px = affine_place(columns, (real)m[0], x0, d->w);
            vr py = affine_place(columns, (real)m[3], y0, d->h);
            vr left = v_trunc(px), top = v_trunc(py);
            vr right_weight = v_sub(px, left), low_weight = v_sub(py, top);
            vr index = v_fma(top, width, left);
            for (int64_t c = 0; c < d->c; c++) {
                const real *p = planes + c * plane;
                vr left_pixel, right_pixel;
                affine_pairs(p, index, &left_pixel, &right_pixel);
                vr upper = affine_between(left_pixel, right_pixel, right_weight);
                affine_pairs(p + a->width, index, &left_pixel, &right_pixel);
                vr lower = affine_between(left_pixel, right_pixel, right_weight);
                v_storen(row + c * out_plane + j, affine_between(upper, lower, low_weight),
                         d->ow - j);
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
