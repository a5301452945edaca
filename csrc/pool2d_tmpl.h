/* pool2d_tmpl.h - max and average pooling and their backward passes; compiled per tier and real type. */

#define POOL2D_KERNELS { 0 }
