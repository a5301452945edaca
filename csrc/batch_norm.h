/* batch_norm.h - the batch_norm family's functions in a tier's table. */
#ifndef FC_BATCH_NORM_H
#define FC_BATCH_NORM_H

#include "fastcnn.h"

typedef struct {
    void (*inference)(const fc_batch_norm_desc *d, double eps, const void *x, const void *gamma,
                      const void *beta, const void *mean, const void *var, void *y, int n_threads);
    void (*forward)(const fc_batch_norm_desc *d, double eps, const void *x, const void *gamma,
                    const void *beta, const void *residual, int relu, void *y, double *mean,
                    double *inv_std, int n_threads);
    void (*backward)(const fc_batch_norm_desc *d, const void *dy, const void *y, const void *x,
                     const void *gamma, const double *mean, const double *inv_std, void *dz,
                     void *dx, void *dgamma, void *dbeta, int n_threads);
    void (*channel_sums)(const fc_batch_norm_desc *d, const void *x, void *sums, int n_threads);
} batch_norm_kernels;

#endif
