/* pool2d.h - the pool2d family's functions in a tier's table. */
#ifndef FC_POOL2D_H
#define FC_POOL2D_H

#include "fastcnn.h"

typedef struct {
    int unused;
} pool2d_kernels;

#endif
