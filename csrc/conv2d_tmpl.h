/* conv2d_tmpl.h - the conv2d family, compiled per tier and real type. */

#include "conv2d_epilogue_tmpl.h"
#include "conv2d_pack_tmpl.h"
#include "outer_tmpl.h"

#include "conv2d_direct_tmpl.h"
#include "conv2d_lanes_tmpl.h"
#include "conv2d_weight_tmpl.h"
#include "depthwise_pack_tmpl.h"
#include "depthwise_window_tmpl.h"

#include "depthwise_narrow_tmpl.h"

#include "depthwise_tiles_tmpl.h"

#include "depthwise_tmpl.h"
#include "depthwise_weight_tmpl.h"
#include "im2col_tmpl.h"
#include "winograd_transform_tmpl.h"

#include "winograd_strip_tmpl.h"

#include "conv2d_few_tmpl.h"
#include "winograd_tmpl.h"
#include "winograd_weight_tmpl.h"

#include "conv2d_dilated_tmpl.h"

#include "conv2d_strided_tmpl.h"

/* Each pass: Winograd where it serves the shape (or its phases), else the direct kernels, which are
 * others for depthwise convolutions and for many small images. */

/* A multiply-add here takes about a fifth of the time that fc_threads_for reckons with; where there
 * are few to a pixel, moving the pixels takes longer. */
static int conv2d_threads(const fc_conv2d_desc *d, int n_threads) {
    double n = (double)d->n, out = n * d->k * d->oh * d->ow, in = n * d->c * d->h * d->w;
    double work = 0.2 * out * (d->c / d->groups) * d->kh * d->kw;
    return fc_threads_for(fmax(work, FC_MOVED * (in + out)), n_threads);
}

static int64_t conv2d_forward_workspace(const fc_conv2d_desc *d, int prepared, int n_threads) {
    wino_run wino;
    if (wino_forward_run(&wino, d, 0, prepared))
        return wino_layout(&wino, prepared, NULL, n_threads);
    dilated_run dilated;
    if (dilated_plan(&dilated, d, WINO_FORWARD))
        return dilated_layout(&dilated, prepared, NULL, n_threads);
    strided_run strided;
    if (strided_plan(&strided, d, WINO_FORWARD))
        return strided_layout(&strided, prepared, NULL, n_threads);
    depthwise_run depthwise;
    if (depthwise_plan(&depthwise, d, 0)) return depthwise_layout(&depthwise, NULL, n_threads);
    few_run few;
    if (prepared && few_plan(&few, d)) return few_layout(&few, NULL, n_threads);
    lanes_run lanes;
    if (!prepared && lanes_plan(&lanes, d, 0)) return lanes_layout(&lanes, NULL, n_threads);
    direct_run direct;
    direct_forward_run(&direct, d);
    direct_plan(&direct, prepared);
    return direct_layout(&direct, prepared, NULL, n_threads);
}

static void conv2d_forward(const fc_conv2d_desc *d, const fc_conv2d_inference *how, const void *x,
                           const void *w, const void *b, void *y, void *workspace,
                           int n_threads) {
    n_threads = conv2d_threads(d, n_threads);
    conv_epilogue epilogue = conv_epilogue_of(how, y);
    wino_run wino;
    if (wino_forward_run(&wino, d, 0, how->prepared != NULL)) {
        wino.epilogue = epilogue;
        wino_execute(&wino, x, w, how->prepared, b, y, workspace, n_threads);
        return;
    }
    dilated_run dilated;
    if (dilated_plan(&dilated, d, WINO_FORWARD)) {
        dilated_execute(&dilated, x, w, how->prepared, b, epilogue, y, workspace, n_threads);
        return;
    }
    strided_run strided;
    if (strided_plan(&strided, d, WINO_FORWARD)) {
        strided_execute(&strided, x, w, how->prepared, b, epilogue, y, workspace, n_threads);
        return;
    }
    depthwise_run depthwise;
    if (depthwise_plan(&depthwise, d, 0)) {
        depthwise.epilogue = epilogue;
        depthwise_execute(&depthwise, x, w, b, y, workspace, n_threads);
        return;
    }
    few_run few;
    if (how->prepared != NULL && few_plan(&few, d)) {
        few.epilogue = epilogue;
        few_execute(&few, x, how->prepared, b, y, workspace, n_threads);
        return;
    }
    lanes_run lanes;
    if (how->prepared == NULL && lanes_plan(&lanes, d, 0)) {
        lanes.epilogue = epilogue;
        lanes_execute(&lanes, x, w, b, y, workspace, n_threads);
        return;
    }
    direct_run direct;
    direct_forward_run(&direct, d);
    direct.epilogue = epilogue;
    direct_execute(&direct, x, w, how->prepared, b, y, workspace, n_threads);
}

/* Depthwise kernels read w as it is. */
static int64_t conv2d_prepared_bytes(const fc_conv2d_desc *d) {
    wino_run wino;
    dilated_run dilated;
    const fc_conv2d_desc *of = dilated_plan(&dilated, d, WINO_FORWARD) ? &dilated.sub : d;
    if (wino_forward_run(&wino, of, 0, 1)) return wino_prepared_bytes(&wino);
    strided_run strided;
    if (strided_plan(&strided, d, WINO_FORWARD)) return strided_prepared_bytes(&strided);
    depthwise_run depthwise;
    if (depthwise_plan(&depthwise, d, 0)) return 0;
    few_run few;
    if (few_plan(&few, d)) return few_prepared_bytes(&few);
    direct_run direct;
    direct_forward_run(&direct, d);
    direct_plan(&direct, 1);
    return direct_prepared_bytes(&direct);
}

static void conv2d_prepare(const fc_conv2d_desc *d, const void *w, void *prepared,
                           int n_threads) {
    wino_run wino;
    depthwise_run depthwise;
    few_run few;
    direct_run direct;
    dilated_run dilated;
    strided_run strided;
    const fc_conv2d_desc *of = dilated_plan(&dilated, d, WINO_FORWARD) ? &dilated.sub : d;
    if (wino_forward_run(&wino, of, 0, 1)) {
        wino_prepare(&wino, w, prepared, n_threads);
    } else if (strided_plan(&strided, d, WINO_FORWARD)) {
        strided_prepare(&strided, w, prepared, n_threads);
    } else if (depthwise_plan(&depthwise, d, 0)) {
        return;
    } else if (few_plan(&few, d)) {
        few_prepare(&few, w, prepared, n_threads);
    } else {
        direct_forward_run(&direct, d);
        direct_plan(&direct, 1);
        direct_prepare(&direct, w, prepared, n_threads);
    }
}

static int64_t conv2d_backward_input_workspace(const fc_conv2d_desc *d, int n_threads) {
    wino_run wino;
    if (wino_forward_run(&wino, d, 1, 0)) return wino_layout(&wino, 0, NULL, n_threads);
    dilated_run dilated;
    if (dilated_plan(&dilated, d, WINO_BACKWARD_INPUT))
        return dilated_layout(&dilated, 0, NULL, n_threads);
    depthwise_run depthwise;
    if (depthwise_plan(&depthwise, d, 1)) return depthwise_layout(&depthwise, NULL, n_threads);
    lanes_run lanes;
    if (lanes_plan(&lanes, d, 1)) return lanes_layout(&lanes, NULL, n_threads);
    direct_run direct;
    direct_backward_run(&direct, d);
    direct_plan(&direct, 0);
    return direct_layout(&direct, 0, NULL, n_threads);
}

static void conv2d_backward_input(const fc_conv2d_desc *d, const void *dy, const void *w,
                                  const void *b, void *dx, void *workspace, int n_threads) {
    n_threads = conv2d_threads(d, n_threads);
    wino_run wino;
    if (wino_forward_run(&wino, d, 1, 0)) {
        wino_execute(&wino, dy, w, NULL, b, dx, workspace, n_threads);
        return;
    }
    dilated_run dilated;
    if (dilated_plan(&dilated, d, WINO_BACKWARD_INPUT)) {
        dilated_execute(&dilated, dy, w, NULL, b, (conv_epilogue){0}, dx, workspace, n_threads);
        return;
    }
    depthwise_run depthwise;
    if (depthwise_plan(&depthwise, d, 1)) {
        depthwise_execute(&depthwise, dy, w, b, dx, workspace, n_threads);
        return;
    }
    lanes_run lanes;
    if (lanes_plan(&lanes, d, 1)) {
        lanes_execute(&lanes, dy, w, b, dx, workspace, n_threads);
        return;
    }
    direct_run direct;
    direct_backward_run(&direct, d);
    direct_execute(&direct, dy, w, NULL, b, dx, workspace, n_threads);
}

static int64_t conv2d_backward_weight_workspace(const fc_conv2d_desc *d, int n_threads) {
    wino_weight_run wino;
    if (wino_weight_run_of(&wino, d)) return wino_weight_layout(&wino, NULL, n_threads);
    dilated_run dilated;
    if (dilated_plan(&dilated, d, WINO_BACKWARD_WEIGHT))
        return dilated_layout(&dilated, 0, NULL, n_threads);
    strided_run strided;
    if (strided_plan(&strided, d, WINO_BACKWARD_WEIGHT))
        return strided_layout(&strided, 0, NULL, n_threads);
    depthwise_weight_run depthwise;
    if (depthwise_weight_plan(&depthwise, d))
        return depthwise_weight_layout(&depthwise, NULL, n_threads);
    weight_run direct;
    weight_plan(&direct, d);
    return weight_layout(&direct, NULL, n_threads);
}

static void conv2d_backward_weight(const fc_conv2d_desc *d, const void *dy, const void *x, void *dw,
                                   void *db, void *workspace, int n_threads) {
    n_threads = conv2d_threads(d, n_threads);
    wino_weight_run wino;
    if (wino_weight_run_of(&wino, d)) {
        wino_weight_execute(&wino, dy, x, dw, db, workspace, n_threads);
        return;
    }
    dilated_run dilated;
    if (dilated_plan(&dilated, d, WINO_BACKWARD_WEIGHT)) {
        dilated_weight_execute(&dilated, dy, x, dw, db, workspace, n_threads);
        return;
    }
    strided_run strided;
    if (strided_plan(&strided, d, WINO_BACKWARD_WEIGHT)) {
        strided_weight_execute(&strided, dy, x, dw, db, workspace, n_threads);
        return;
    }
    depthwise_weight_run depthwise;
    if (depthwise_weight_plan(&depthwise, d)) {
        depthwise_weight_execute(&depthwise, dy, x, dw, db, workspace, n_threads);
        return;
    }
    weight_run direct;
    weight_plan(&direct, d);
    weight_execute(&direct, dy, x, dw, db, workspace, n_threads);
}

#define CONV2D_KERNELS                                                                 \
    {                                                                                  \
        .forward_workspace = conv2d_forward_workspace, .forward = conv2d_forward,      \
        .prepared_bytes = conv2d_prepared_bytes, .prepare = conv2d_prepare,            \
        .backward_input_workspace = conv2d_backward_input_workspace,                   \
        .backward_input = conv2d_backward_input,                                       \
        .backward_weight_workspace = conv2d_backward_weight_workspace,                 \
        .backward_weight = conv2d_backward_weight, .im2col = im2col, .col2im = col2im, \
    }
