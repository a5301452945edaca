/* conv2d_tmpl.h - the conv2d family, compiled per tier and real type. */

#include "conv2d_pack_tmpl.h"

#include "conv2d_direct_tmpl.h"
#include "conv2d_weight_tmpl.h"
#include "im2col_tmpl.h"

#define CONV2D_KERNELS                                                                 \
    {                                                                                  \
        .forward_workspace = conv2d_forward_workspace, .forward = conv2d_forward,      \
        .backward_input_workspace = conv2d_backward_input_workspace,                   \
        .backward_input = conv2d_backward_input,                                       \
        .backward_weight_workspace = conv2d_backward_weight_workspace,                 \
        .backward_weight = conv2d_backward_weight, .im2col = im2col, .col2im = col2im, \
    }
