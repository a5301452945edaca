/* linear.h - the linear family's functions in a tier's table. */
#ifndef FC_LINEAR_H
#define FC_LINEAR_H

#include "fastcnn.h"

typedef struct {
    int unused;
} linear_kernels;

#endif
