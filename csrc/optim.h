/* optim.h - the optim family's functions in a tier's table. */
#ifndef FC_OPTIM_H
#define FC_OPTIM_H

#include "fastcnn.h"

typedef struct {
    int unused;
} optim_kernels;

#endif
