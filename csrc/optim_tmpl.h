/* optim_tmpl.h - fused parameter updates; compiled per tier and real type. */

#define OPTIM_KERNELS { 0 }
