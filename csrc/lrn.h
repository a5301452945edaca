/* lrn.h - the lrn family's functions in a tier's table. */
#ifndef FC_LRN_H
#define FC_LRN_H

#include "fastcnn.h"

enum { FC_LRN_ROW = 2048 }; /* bytes of one channel of a block of pixels */

typedef struct {
    void (*forward)(const fc_lrn_desc *d, const void *x, void *y, int n_threads);
    void (*backward)(const fc_lrn_desc *d, const void *dy, const void *x, void *dx,
                     void *workspace, int n_threads);
} lrn_kernels;

#endif
