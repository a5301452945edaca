/* conv2d.h - the conv2d family's functions in a tier's table. */
#ifndef FC_CONV2D_H
#define FC_CONV2D_H

#include "fastcnn.h"

typedef struct {
    int unused;
} conv2d_kernels;

#endif
