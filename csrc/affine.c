/* affine.c - entry points of the affine family: validate, pick the tier's table, call. */
#include "dispatch.h"
#include "sizes.h"

enum { MOST_PIXELS = 1 << 24 }; /* of a bordered plane: float counts no further */

int64_t fc_affine_image_bytes(const fc_affine_desc *d) {
    int64_t plane = fc_mul(fc_add(d->h, FC_AFFINE_BORDER), fc_add(d->w, FC_AFFINE_BORDER));
    if (plane > MOST_PIXELS) return -1;
    return fc_round_up(fc_mul(fc_mul(plane, d->c), 8), 64);
}

static fc_status check(const fc_affine_desc *d) {
    if (fc_kernels_for(d->dtype) == NULL) return FC_ERROR_UNSUPPORTED;
    if (d->n < 0 || d->c < 0 || d->h < 1 || d->w < 1 || d->oh < 0 || d->ow < 0)
        return FC_ERROR_SHAPE;
    int64_t in = fc_mul(fc_mul(fc_mul(fc_mul(d->n, d->c), d->h), d->w), 8);
    int64_t out = fc_mul(fc_mul(fc_mul(fc_mul(d->n, d->c), d->oh), fc_add(d->ow, 64)), 8);
    return in < 0 || out < 0 || fc_affine_image_bytes(d) < 0 ? FC_ERROR_OVERFLOW : FC_OK;
}

fc_status fc_affine_workspace_bytes(const fc_affine_desc *d, int n_threads, int64_t *bytes) {
    fc_status status = check(d);
    if (status != FC_OK) return status;
    *bytes = fc_mul(fc_affine_image_bytes(d), n_threads);
    return *bytes < 0 ? FC_ERROR_OVERFLOW : FC_OK;
}

fc_status fc_affine(const fc_affine_desc *d, const void *x, const double *matrix, void *y,
                    void *workspace, int n_threads) {
    fc_status status = check(d);
    if (status == FC_OK)
        fc_kernels_for(d->dtype)->affine.forward(d, x, matrix, y, workspace, n_threads);
    return status;
}
