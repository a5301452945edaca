/* linear_tmpl.h - fully connected layers: a small GEMM; compiled per tier and real type. */

#define LINEAR_KERNELS { 0 }
