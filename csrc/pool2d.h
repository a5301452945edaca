/* pool2d.h - the pool2d family's inside: the problem in axes, and the functions in a tier's table.
 *
 * Every pass is a loop over the rows of its output, y or dx, each written once, whole, by one task:
 * backward gathers instead of scattering, so nothing is zeroed beforehand, and overlapping windows
 * are summed in reading order of the windows. Indices come from outside: they are compared with
 * places, and none is ever used as an address.
 */
#ifndef FC_POOL2D_H
#define FC_POOL2D_H

#include "fastcnn.h"

typedef struct {
    int64_t from, to;
} pool_range;

typedef struct {
    int64_t size, out;
    int64_t kernel, stride, dilation;
    int64_t before, after; /* padding */
    int stride_shift;      /* log2(stride), or -1 if it is no power of two: divisions are slow */
    pool_range inside;     /* outputs whose whole window lies in the image */
} pool_axis;

typedef struct {
    int64_t planes;        /* n * c */
    pool_axis h, w;
    int count_include_pad;
    int equal_divisors;    /* every window of an average has the divisor h.kernel * w.kernel */
    int32_t ramp[16];      /* i * w.stride: first columns of consecutive windows */
} pool_problem;

typedef struct {
    void (*max_forward)(const pool_problem *p, const void *x, void *y, int32_t *indices,
                        int n_threads);
    /* Returns 0 if some index is no element of its window (dx is then of no use), else 1. */
    int (*max_backward)(const pool_problem *p, const void *dy, const int32_t *indices, void *dx,
                        int n_threads);
    void (*avg_forward)(const pool_problem *p, const void *x, void *y, int n_threads);
    void (*avg_backward)(const pool_problem *p, const void *dy, void *dx, int n_threads);
    void (*global_avg_forward)(int64_t planes, int64_t size, const void *x, void *y,
                               int n_threads);
    void (*global_avg_backward)(int64_t planes, int64_t size, const void *dy, void *dx,
                                int n_threads);
} pool2d_kernels;

#endif
