/* isa_avx2.c - every kernel template, compiled for the avx2 tier: once for float, and once with
 * FC_REAL_F64 for double. */
#define FC_TIER_AVX2
#include "simd.h"

#include "affine_tmpl.h"
#include "conv2d_tmpl.h"
#include "linear_tmpl.h"
#include "lrn_tmpl.h"
#include "optim_tmpl.h"
#include "peak_tmpl.h"
#include "pointwise_tmpl.h"
#include "pool2d_tmpl.h"

/* built on the others */
#include "batch_norm_tmpl.h"
#include "plan_tmpl.h"

#ifdef FC_REAL_F64
#define TABLE fc_kernels_avx2_f64
#else
#define TABLE fc_kernels_avx2_f32
#endif

const fc_kernels TABLE = {
    .affine = AFFINE_KERNELS,
    .batch_norm = BATCH_NORM_KERNELS,
    .conv2d = CONV2D_KERNELS,
    .linear = LINEAR_KERNELS,
    .lrn = LRN_KERNELS,
    .multiply_adds = multiply_adds,
    .optim = OPTIM_KERNELS,
    .plan = PLAN_KERNELS,
    .pointwise = POINTWISE_KERNELS,
    .pool2d = POOL2D_KERNELS,
};
