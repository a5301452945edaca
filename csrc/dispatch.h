/* dispatch.h - the table of kernels that each tier provides, one for float and one for double.
 *
 * A family's templates (<family>_tmpl.h) are compiled once per tier and real type by isa_<tier>.c
 * and end in a static table of that family's functions; fc_kernels gathers the families.
 */
#ifndef FC_DISPATCH_H
#define FC_DISPATCH_H

#include "fastcnn.h"

#include "affine.h"
#include "batch_norm.h"
#include "conv2d.h"
#include "linear.h"
#include "lrn.h"
#include "optim.h"
#include "plan.h"
#include "pointwise.h"
#include "pool2d.h"

typedef struct {
    affine_kernels affine;
    batch_norm_kernels batch_norm;
    conv2d_kernels conv2d;
    linear_kernels linear;
    lrn_kernels lrn;
    double (*multiply_adds)(int64_t n);
    optim_kernels optim;
    plan_kernels plan;
    pointwise_kernels pointwise;
    pool2d_kernels pool2d;
} fc_kernels;

/* The active tier's table, or NULL for a dtype this build does not know. */
const fc_kernels *fc_kernels_for(fc_dtype dtype);

#endif
