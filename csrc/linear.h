/* linear.h - the linear family's functions in a tier's table. */
#ifndef FC_LINEAR_H
#define FC_LINEAR_H

#include "fastcnn.h"

typedef struct {
    int64_t (*gemm_scratch_bytes)(void); /* of one thread */
    void (*gemm)(const fc_gemm_desc *d, const void *a, const void *b, void *c, void *workspace,
                 int n_threads);
    void (*forward)(const fc_linear_desc *d, const void *x, const void *w, const void *b, void *y,
                    void *workspace, int n_threads);
    void (*backward_input)(const fc_linear_desc *d, const void *dy, const void *w, void *dx,
                           void *workspace, int n_threads);
    void (*backward_weight)(const fc_linear_desc *d, const void *dy, const void *x, void *dw,
                            void *db, void *workspace, int n_threads);
} linear_kernels;

#endif
