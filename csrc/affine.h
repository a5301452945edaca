/* affine.h - the affine family's functions in a tier's table. */
#ifndef FC_AFFINE_H
#define FC_AFFINE_H

#include "fastcnn.h"

/* Bytes of the bordered planes of one image; a multiple of a cache line. -1: does not fit. */
int64_t fc_affine_image_bytes(const fc_affine_desc *d);

typedef struct {
    void (*forward)(const fc_affine_desc *d, const void *x, const double *matrix, void *y,
                    void *workspace, int n_threads);
} affine_kernels;

#endif
