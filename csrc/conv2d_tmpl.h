/* conv2d_tmpl.h - convolution and its backward passes; compiled per tier and real type. */

#define CONV2D_KERNELS { 0 }
