/* pointwise.h - the pointwise family's functions in a tier's table. */
#ifndef FC_POINTWISE_H
#define FC_POINTWISE_H

#include "fastcnn.h"

typedef struct {
    void (*activation_forward)(fc_activation f, int64_t n, double parameter, const void *x,
                               void *y, int n_threads);
    void (*activation_backward)(fc_activation f, int64_t n, double parameter, const void *dy,
                                const void *saved, void *dx, int n_threads);
    void (*prelu_forward)(const fc_prelu_desc *d, const void *x, const void *slopes, void *y,
                          int n_threads);
    void (*prelu_backward)(const fc_prelu_desc *d, const void *dy, const void *x,
                           const void *slopes, void *dx, void *dslopes, double *sums,
                           int n_threads);
    void (*dropout)(int64_t n, double p, uint64_t seed, const void *x, void *y, int n_threads);
    void (*add)(int64_t n, int relu, const void *a, const void *b, void *y, int n_threads);
    void (*softmax_forward)(const fc_softmax *d, const void *x, void *y, int n_threads);
    void (*softmax_backward)(const fc_softmax *d, const void *dy, const void *y, void *dx,
                             int n_threads);
    void (*softmax_cross_entropy)(int64_t n, int64_t c, double scale, const void *x,
                                  const int64_t *targets, void *dx, double *losses, int n_threads);
    void (*mse)(int64_t n, double scale, const void *x, const void *target, void *gradient,
                double *sums, int n_threads);
} pointwise_kernels;

#endif
