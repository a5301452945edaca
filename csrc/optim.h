/* optim.h - the optim family's functions in a tier's table. */
#ifndef FC_OPTIM_H
#define FC_OPTIM_H

#include "fastcnn.h"

typedef struct {
    void (*sgd_update)(const fc_sgd_desc *d, void *param, const void *grad, void *velocity,
                       int n_threads);
    void (*adam_update)(const fc_adam_desc *d, void *param, const void *grad, void *m, void *v,
                        int n_threads);
} optim_kernels;

#endif
