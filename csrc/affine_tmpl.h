/* affine_tmpl.h - images through an affine map, resampled bilinearly; compiled per tier and real
 * type.
 *
 * An image's planes are copied into a border of `fill`: one row and column before the image, two
 * behind. Places are clamped to -1..h and -1..w, where only the border counts, so no place needs a
 * test. Vectors lie along the output's columns: places, then indices (whole numbers, kept as reals)
 * and weights are computed once for all channels, and the four neighbours gathered. A task is one
 * image.
 */
#include "simd_index.h"

typedef struct {
    const fc_affine_desc *d;
    const real *x;
    const double *matrix;
    real *y;
    char *planes;
    int64_t bytes, height, width; /* of the bordered planes */
} affine_arg;

/* The planes of one image, in their border. */
static void affine_border(const affine_arg *a, const real *x, real *planes) {
    const fc_affine_desc *d = a->d;
    real fill = (real)d->fill;
    for (int64_t c = 0; c < d->c; c++)
        for (int64_t i = -1; i < d->h + 2; i++, planes += a->width) {
            int inside = i >= 0 && i < d->h;
            planes[0] = planes[d->w + 1] = planes[d->w + 2] = fill;
            if (inside) memcpy(planes + 1, x + (c * d->h + i) * d->w, (size_t)d->w * sizeof(real));
            else
                for (int64_t j = 1; j <= d->w; j++) planes[j] = fill;
        }
}

/* In the border's coordinates, one further than the image's; NaN becomes 0. */
INLINE vr affine_place(vr columns, real per_column, real start, int64_t size) {
    vr p = v_fma(columns, v_set1(per_column), v_set1(start));
    return v_min(v_max(p, v_zero()), v_set1((real)(size + 1)));
}

INLINE vr affine_between(vr a, vr b, vr weight) { return v_fma(weight, v_sub(b, a), a); }

static void affine_task(void *arg, int64_t n, int thread) {
    const affine_arg *a = arg;
    const fc_affine_desc *d = a->d;
    const double *m = a->matrix + 6 * n;
    real *planes = (real *)(a->planes + thread * a->bytes);
    int64_t plane = a->height * a->width, out_plane = d->oh * d->ow;
    affine_border(a, a->x + n * d->c * d->h * d->w, planes);
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
                vr upper = affine_between(v_gather(p, index), v_gather(p + 1, index), right_weight);
                vr lower = affine_between(v_gather(p + a->width, index),
                                          v_gather(p + a->width + 1, index), right_weight);
                v_storen(row + c * out_plane + j, affine_between(upper, lower, low_weight),
                         d->ow - j);
            }
        }
    }
}

/* A pixel is worth some ten multiply-adds. */
static void affine_forward(const fc_affine_desc *d, const void *x, const double *matrix, void *y,
                           void *workspace, int n_threads) {
    affine_arg a = {
        .d = d, .x = x, .matrix = matrix, .y = y, .planes = workspace,
        .bytes = fc_affine_image_bytes(d),
        .height = d->h + FC_AFFINE_BORDER, .width = d->w + FC_AFFINE_BORDER,
    };
    double work = 10.0 * (double)(d->n * d->c) * (double)(d->h * d->w + d->oh * d->ow);
    fc_parallel(d->n, fc_threads_for(work, n_threads), affine_task, &a);
}

#define AFFINE_KERNELS {.forward = affine_forward}
