/* fastcnn.h - the only public header of the C core.
 *
 * Every entry point is fc_<op>_<pass>[_<wrt>](descriptor, inputs, outputs, workspace, n_threads).
 * It validates the descriptor, returns a status, and never prints, exits or allocates: scratch is
 * the caller's, its size told by fc_<op>_<pass>_workspace_bytes. Arrays are C-contiguous (NCHW) of
 * the descriptor's dtype, with natural alignment; a workspace is aligned to 64 bytes.
 * Outputs are write-only. Results have the same bits at any n_threads >= 1.
 *
 * Dimensions: N images, C input channels, H W input size, K output channels, KH KW kernel size,
 * OH OW output size.
 */
#ifndef FASTCNN_H
#define FASTCNN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    FC_OK = 0,
    FC_ERROR_SHAPE = 1,       /* a descriptor's sizes do not fit each other */
    FC_ERROR_OVERFLOW = 2,    /* a size computation left the range of int64 or size_t */
    FC_ERROR_UNSUPPORTED = 3, /* an enum value this build does not know */
    FC_ERROR_VALUE = 4        /* an input value is outside its range (labels, indices) */
} fc_status;

typedef enum { FC_FLOAT32 = 0, FC_FLOAT64 = 1 } fc_dtype;

/* ---- instruction-set tiers: chosen once, at import (dispatch.c, cpu.c) ---- */

int fc_isa_count(void);              /* tiers known to the sources, in rising preference */
const char *fc_isa_name(int i);      /* "scalar", "neon", "avx2", "avx512" */
int fc_isa_available(int i);         /* built in, and the processor and OS support it */
int fc_isa_active(void);             /* index of the tier in use */
fc_status fc_isa_select(int i);      /* to be called before any kernel, from one thread */

/* ---- threads (threads.c) ---- */

int fc_has_openmp(void);
void fc_threads_pause(void);         /* release the OpenMP pool; call before fork() */

/* ---- conv2d (conv2d.c) ---- */

/* ---- pool2d (pool2d.c) ---- */

/* ---- linear (linear.c) ---- */

/* ---- pointwise: activations, softmax, losses (pointwise.c) ---- */

/* y = max(x, 0), with NaN kept; n elements. y may be x itself. */
fc_status fc_relu_forward(fc_dtype dtype, int64_t n, const void *x, void *y, int n_threads);

/* ---- optim (optim.c) ---- */

#ifdef __cplusplus
}
#endif
#endif
