/* pointwise.h - the pointwise family's functions in a tier's table. */
#ifndef FC_POINTWISE_H
#define FC_POINTWISE_H

#include "fastcnn.h"

typedef struct {
    void (*relu_forward)(int64_t n, const void *x, void *y, int n_threads);
} pointwise_kernels;

#endif
