/* plan.c - entry points of the plan family: checks the steps, lays them out in memory, runs them.
 *
 * Nothing is kept between calls: a layout is found anew from the steps and the size of the batch,
 * which costs well under a microsecond a step.
 */
#include "plan.h"

#include "dispatch.h"
#include "sizes.h"
#include "threads.h"

#include <math.h>

/* ---- checks ---- */

static int is_conv(const fc_plan_step *s) {
    return s->kind == FC_PLAN_CONV || s->kind == FC_PLAN_CONV_POOL;
}
static int has_params(const fc_plan_step *s) { return is_conv(s) || s->kind == FC_PLAN_LINEAR; }

/* The size of a stride-1 convolution's output along one axis. */
static int64_t conv_out(int64_t size, int64_t before, int64_t after, int64_t kernel) {
    return size + before + after - kernel + 1;
}

static fc_status check_step(const fc_plan_step *s) {
    const int64_t most = INT32_MAX;
    if ((int)s->kind < 0 || s->kind >= FC_PLAN_KINDS) return FC_ERROR_UNSUPPORTED;
    const int64_t sizes[] = {s->c, s->h, s->w, s->k, s->oh, s->ow, s->kh, s->kw};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (sizes[i] < 1 || sizes[i] > most) return FC_ERROR_SHAPE;
    if (fc_mul(fc_mul(s->c, s->h), s->w) < 0) return FC_ERROR_OVERFLOW;
    if (fc_mul(fc_mul(s->k, s->oh), s->ow) < 0) return FC_ERROR_OVERFLOW;
    int fits = 0;
    switch (s->kind) {
    case FC_PLAN_CONV:
    case FC_PLAN_CONV_POOL: {
        const int64_t pads[] = {s->pad_top, s->pad_bottom, s->pad_left, s->pad_right};
        for (int i = 0; i < 4; i++) /* beyond kernel - 1 the backward pass would have to crop */
            if (pads[i] < 0 || pads[i] > (i < 2 ? s->kh : s->kw) - 1) return FC_ERROR_SHAPE;
        int64_t oh = conv_out(s->h, s->pad_top, s->pad_bottom, s->kh);
        int64_t ow = conv_out(s->w, s->pad_left, s->pad_right, s->kw);
        int64_t pool = s->kind == FC_PLAN_CONV_POOL ? 2 : 1;
        fits = oh >= pool && ow >= pool && s->oh == oh / pool && s->ow == ow / pool;
        break;
    }
    case FC_PLAN_MAX_POOL:
    case FC_PLAN_AVG_POOL:
        fits = s->k == s->c && s->oh == s->h / s->kh && s->ow == s->w / s->kw;
        break;
    case FC_PLAN_LINEAR:
        fits = s->h == 1 && s->w == 1 && s->oh == 1 && s->ow == 1;
        break;
    case FC_PLAN_ACTIVATION:
        if (s->activation != FC_RELU && s->activation != FC_SIGMOID && s->activation != FC_TANH)
            return FC_ERROR_UNSUPPORTED;
        fits = s->k == s->c && s->oh == s->h && s->ow == s->w;
        break;
    default:
        break;
    }
    return fits ? FC_OK : FC_ERROR_SHAPE;
}

static fc_status check_chain(const fc_plan_desc *d) {
    if (d->n_steps < 1 || d->n_steps > FC_PLAN_MOST_STEPS) return FC_ERROR_SHAPE;
    for (int i = 0; i < d->n_steps; i++) {
        const fc_plan_step *s = &d->steps[i], *last = s - 1;
        fc_status status = check_step(s);
        if (status != FC_OK) return status;
        if (i == 0) continue;
        int fits = s->kind == FC_PLAN_LINEAR
                       ? s->c == last->k * last->oh * last->ow
                       : s->c == last->k && s->h == last->oh && s->w == last->ow;
        if (!fits) return FC_ERROR_SHAPE;
    }
    return FC_OK;
}

/* ---- memory ---- */

enum {
    ALIGNED = 64 / sizeof(float), /* reals that are whole cache lines */
    EXACT = 1 << 24               /* places up to here can be kept as reals */
};

/* The next `count` (-1: too many) of what *used counts; *used becomes -1 when it overflows. */
static int64_t take(int64_t *used, int64_t count) {
    int64_t at = *used;
    *used = fc_add(*used, count);
    return at;
}

static int64_t vectors(int64_t reals, int64_t lanes) {
    return reals < 0 ? -1 : fc_ceil_div(reals, lanes);
}

/* Makes *most at least `size`, -1 if either is. */
static void largest(int64_t *most, int64_t size) {
    *most = *most < 0 || size < 0 ? -1 : fc_max(*most, size);
}

static int64_t volume(const plan_tensor *t) { return fc_mul(fc_mul(t->c, t->hp), t->wp); }

static plan_tensor bordered(int64_t c, int64_t h, int64_t w, int64_t top, int64_t bottom,
                            int64_t left, int64_t right) {
    return (plan_tensor){c, h, w, top, left, h + top + bottom, w + left + right, 0};
}

/* c x h x w values that step i reads, with the zero border that it wants. In-place activations hand
 * the wish of the step after them on. */
static plan_tensor value_tensor(const fc_plan_desc *d, int i, int64_t c, int64_t h, int64_t w) {
    const fc_plan_step *reader = &d->steps[i], *end = d->steps + d->n_steps;
    while (reader < end && reader->kind == FC_PLAN_ACTIVATION) reader++;
    if (reader == end || !is_conv(reader)) return bordered(c, h, w, 0, 0, 0, 0);
    return bordered(c, h, w, reader->pad_top, reader->pad_bottom, reader->pad_left,
                    reader->pad_right);
}

/* The gradient of step i's output, with the border that step i's backward pass reads: a plain
 * convolution makes dx by a convolution of dy padded with kernel - 1 - padding. */
static plan_tensor gradient_tensor(const fc_plan_desc *d, int i) {
    const fc_plan_step *s = &d->steps[i], *reader = s;
    while (reader > d->steps && reader->kind == FC_PLAN_ACTIVATION) reader--;
    if (reader->kind != FC_PLAN_CONV) return bordered(s->k, s->oh, s->ow, 0, 0, 0, 0);
    return bordered(s->k, s->oh, s->ow, reader->kh - 1 - reader->pad_top,
                    reader->kh - 1 - reader->pad_bottom, reader->kw - 1 - reader->pad_left,
                    reader->kw - 1 - reader->pad_right);
}

/* An activation overwrites its input, unless somebody still needs that in the backward pass. */
static int in_place(const fc_plan_desc *d, int i) {
    const fc_plan_step *s = &d->steps[i];
    if (s->kind != FC_PLAN_ACTIVATION || i == 0) return s->kind == FC_PLAN_ACTIVATION;
    return s[-1].kind != FC_PLAN_ACTIVATION && s[-1].kind != FC_PLAN_CONV_POOL;
}

static void lay_out_patch(plan_stage *g, int64_t lanes, int64_t *scratch) {
    const fc_plan_step *s = g->step;
    plan_patch *p = &g->patch;
    int64_t row = s->kw * s->c;
    p->stack = fc_max(1, fc_min(lanes / row, s->kh));
    p->rows = fc_ceil_div(s->kh, p->stack);
    p->vectors = fc_ceil_div(row * p->stack, lanes);
    p->pixel = s->c * p->stack;
    p->pitch = fc_mul(g->x.wp, p->pixel);
    p->image = fc_add(fc_round_up(fc_mul(g->x.hp, p->pitch), lanes), p->vectors * lanes);
    p->map = fc_round_up(fc_mul(s->k, fc_mul(s->oh, s->ow)), lanes);
    g->dw_pitch = p->vectors * lanes;
    /* Of one lane where each window's, or filter's, gradients start in a list (int64), where
     * windows or filters are, and that list, gradients and places (int32); of each lane its image,
     * its dy and where each of them goes; then dx. Loads and stores may go a vector further. */
    int64_t windows = fc_mul(s->oh, s->ow), most = fc_max(windows, s->k);
    int64_t list = fc_add(fc_round_up(fc_mul(s->k, windows), lanes), lanes);
    p->lists = fc_add(fc_mul(2, fc_add(most, 1)), fc_round_up(most, lanes));
    p->lists = fc_round_up(fc_add(p->lists, fc_mul(2, list)), ALIGNED);
    int64_t reals = fc_add(p->lists, fc_mul(lanes, fc_add(p->image, fc_mul(2, p->map))));
    if (g->needs_dx) {
        int64_t wide = fc_round_up(fc_mul(s->kw + 1, s->c), lanes);
        int64_t plane = fc_mul(g->x.hp, fc_mul(g->x.wp, s->c));
        int64_t filters = fc_mul(fc_mul(2, s->k), fc_mul(s->kh + 2, wide));
        reals = fc_add(reals, fc_mul(lanes, fc_add(fc_round_up(plane, lanes), wide)));
        if (filters > EXACT) reals = -1;
    }
    if (p->image > EXACT) reals = -1;
    reals = fc_add(reals, lanes);
    largest(scratch, reals);
}

/* Vectors that a block's pixels take when they are transformed. */
static int64_t winograd_pixels(const fc_plan_step *s) {
    int64_t rows = 2 * s->oh + s->kh - 1;
    return fc_mul(PLAN_WINO_PRODUCTS, fc_mul(rows, fc_mul(s->c, s->ow)));
}

/* Whether a convolution's rows of five taps go by F(2,5), a pooling window's two columns a tile. It
 * takes three products for five. Of the transforms, that of a sum's result costs as much as the
 * products of three terms, of which it has c * kh, and that of the pixels serves k filters. Windows
 * are taken by fives, of which a fifth may be done twice; the pixels are to stay in the cache. */
static int winograd_pays(const fc_plan_step *s) {
    enum { MOST_PIXELS = 8192 };
    int64_t pixels = winograd_pixels(s), done = fc_round_up(s->ow, PLAN_WINO_WINDOWS);
    return s->kind == FC_PLAN_CONV_POOL && s->kw == 5 && s->c * s->kh >= 16 && s->k >= 8 &&
           s->ow >= PLAN_WINO_WINDOWS && 4 * done <= 5 * s->ow && pixels >= 0 &&
           pixels <= MOST_PIXELS;
}

/* The pixels, and the products of a row of pooling windows. */
static void lay_out_winograd(const fc_plan_step *s, int64_t lanes, int64_t *scratch) {
    int64_t products = fc_mul(2 * PLAN_WINO_PRODUCTS, fc_mul(s->k, s->ow));
    largest(scratch, fc_mul(lanes, fc_add(winograd_pixels(s), products)));
}

/* Where a stage keeps what is not a value of the block: weights for its kernels, sums, rows. */
static void lay_out_weights(plan_layout *l, plan_stage *g, int training, int update_rows,
                            int64_t *arena) {
    const fc_plan_step *s = g->step;
    int64_t lanes = l->lanes, images = fc_mul(l->blocks, lanes);
    if (is_conv(s)) {
        int64_t weights = fc_mul(fc_mul(s->k, s->c), fc_mul(s->kh, s->kw));
        if (g->winograd) { /* six products for five taps, filters in whole vectors */
            int64_t pitch = fc_round_up(s->k, lanes);
            weights = fc_mul(fc_mul(pitch, s->c), fc_mul(s->kh, PLAN_WINO_PRODUCTS));
        }
        g->packed = take(arena, vectors(weights, lanes));
        if (g->needs_dx && s->kind == FC_PLAN_CONV)
            g->packed_back = take(arena, vectors(weights, lanes));
        if (g->needs_dx && s->kind == FC_PLAN_CONV_POOL) {
            /* twice, kh rows between two of zeros: see plan_sparse_tmpl.h */
            int64_t row = vectors(fc_mul(s->kw + 1, s->c), lanes);
            *arena = fc_round_up(*arena, vectors(ALIGNED, lanes));
            g->packed_back = take(arena, fc_mul(fc_mul(2, s->k), fc_mul(s->kh + 2, row)));
        }
        if (g->backward) {
            int64_t rows = s->kind == FC_PLAN_CONV ? s->kh : g->patch.rows;
            g->dw = take(&l->sums_each, fc_mul(s->k, fc_mul(rows, g->dw_pitch)));
            g->db = take(&l->sums_each, fc_round_up(s->k, lanes));
            g->items = s->k;
        }
    } else if (s->kind == FC_PLAN_LINEAR && training && g->backward) {
        g->rows_x = take(&l->shared, fc_mul(images, fc_round_up(s->c, lanes)));
        g->rows_dy = take(&l->shared, fc_mul(images, fc_round_up(s->k, lanes)));
        g->items = fc_ceil_div(s->k, update_rows);
    }
}

static int64_t update_scratch(const plan_stage *g, const plan_kernels *k) {
    const fc_plan_step *s = g->step;
    if (s->kind == FC_PLAN_LINEAR)
        return fc_add(k->update_scratch, fc_mul(k->update_rows, fc_round_up(s->c, k->lanes)));
    return is_conv(s) ? fc_mul(s->c, fc_mul(s->kh, s->kw)) : 0;
}

/* Multiply-adds of vectors for a single image, where a block takes one for each weight and pixel:
 * four vectors of pixels at once, and linear weights that are turned, which costs as much again. */
static double image_vectors(const plan_stage *g, double weights, int64_t lanes) {
    const fc_plan_step *s = g->step;
    if (s->kind == FC_PLAN_LINEAR) return 2 * weights / (double)lanes;
    int64_t rows = (s->kind == FC_PLAN_CONV_POOL ? 2 : 1) * s->oh;
    return weights * 4 * ceil((double)rows * (double)g->x.wp / (4 * (double)lanes));
}

static fc_status lay_out(const fc_plan_desc *d, const plan_kernels *k, int64_t n, int training,
                         plan_layout *l) {
    fc_status status = check_chain(d);
    if (status != FC_OK) return status;
    if (n < 0) return FC_ERROR_SHAPE;
    int64_t scratch = 0, arena = 0; /* arena in vectors */
    double block_work = 0, image_work = 0;
    int trains = 0;
    *l = (plan_layout){.n_stages = d->n_steps, .first = d->n_steps, .n = n, .lanes = k->lanes};
    l->blocks = fc_ceil_div(n, l->lanes);
    l->chunks = fc_min(l->blocks, PLAN_CHUNKS);
    plan_tensor value = value_tensor(d, 0, d->steps->c, d->steps->h, d->steps->w);
    plan_tensor gradient = bordered(1, 1, 1, 0, 0, 0, 0);
    value.at = take(&arena, volume(&value));
    l->input = value;
    for (int i = 0; i < d->n_steps; i++) {
        const fc_plan_step *s = &d->steps[i];
        plan_stage *g = &l->stages[i];
        int here = training && has_params(s) && (s->train_weight || s->train_bias);
        *g = (plan_stage){.step = s, .x = value, .dx = gradient};
        g->needs_dx = trains;
        trains |= here;
        g->backward = trains;
        if (trains && l->first == d->n_steps) l->first = i;
        g->y = value_tensor(d, i + 1, s->k, s->oh, s->ow);
        if (in_place(d, i)) g->y.at = value.at;
        else g->y.at = take(&arena, volume(&g->y));
        if (s->kind == FC_PLAN_CONV_POOL || s->kind == FC_PLAN_MAX_POOL)
            g->best = take(&arena, volume(&g->y));
        if (trains) {
            g->dy = gradient_tensor(d, i);
            if (g->needs_dx && s->kind == FC_PLAN_ACTIVATION) g->dy.at = gradient.at;
            else g->dy.at = take(&arena, volume(&g->dy));
        }
        g->dw_pitch = s->kw * s->c;
        if (is_conv(s) && !training) /* of a single image, channels that are made at once */
            largest(&scratch, fc_add(fc_mul(fc_min(s->k, k->channels), fc_mul(value.hp, value.wp)),
                                     2 * l->lanes));
        if (s->kind == FC_PLAN_CONV_POOL && trains) lay_out_patch(g, l->lanes, &scratch);
        g->winograd = training && winograd_pays(s);
        if (g->winograd) lay_out_winograd(s, l->lanes, &scratch);
        if (s->kind == FC_PLAN_LINEAR && g->needs_dx) largest(&scratch, fc_mul(s->c, l->lanes));
        lay_out_weights(l, g, training, k->update_rows, &arena);
        l->items += g->items;
        if (g->items > 0) largest(&scratch, update_scratch(g, k));
        double weights = (double)s->k * (double)s->c * (double)s->kh * (double)s->kw;
        double pixels = (double)s->oh * (double)s->ow * (s->kind == FC_PLAN_CONV_POOL ? 4 : 1);
        if (has_params(s)) {
            l->work += (training ? 3 : 1) * (double)n * weights * pixels;
            block_work += weights * pixels;
            image_work += image_vectors(g, weights, l->lanes);
        }
        value = g->y;
        gradient = g->dy;
    }
    /* an image by itself has more beside its multiply-adds: about half as much as these */
    l->few = (int64_t)fmin(2 * block_work / (3 * fmax(image_work, 1)), (double)l->lanes);
    l->output = value;
    l->output_gradient = gradient;
    l->scratch = fc_round_up(fc_mul(arena, l->lanes), ALIGNED);
    l->arena = fc_round_up(fc_add(l->scratch, scratch), ALIGNED);
    l->sums_each = fc_round_up(l->sums_each, ALIGNED);
    l->sums = take(&l->shared, fc_mul(l->chunks, l->sums_each));
    l->shared = fc_round_up(l->shared, ALIGNED);
    return l->arena < 0 || l->shared < 0 ? FC_ERROR_OVERFLOW : FC_OK;
}

/* ---- running ---- */

static int threads_for(const plan_layout *l, int n_threads) {
    return (int)fc_max(1, fc_min(fc_threads_for(l->work, n_threads), fc_max(l->chunks, l->items)));
}

static int64_t notes_bytes(const plan_layout *l) { /* losses and counts */
    return fc_round_up(fc_mul(8, fc_add(fc_mul(l->blocks, l->lanes), l->blocks)), 64);
}

fc_status fc_plan_workspace_bytes(const fc_plan_desc *d, int64_t n, int training, int n_threads,
                                  size_t *bytes) {
    const fc_kernels *k = fc_kernels_for(d->dtype);
    plan_layout l;
    if (k == NULL) return FC_ERROR_UNSUPPORTED;
    fc_status status = lay_out(d, &k->plan, n, training, &l);
    if (status != FC_OK) return status;
    int64_t size = d->dtype == FC_FLOAT32 ? 4 : 8;
    int64_t reals = fc_add(l.shared, fc_mul(threads_for(&l, n_threads), l.arena));
    int64_t all = fc_add(notes_bytes(&l), fc_mul(size, reals));
    if (all < 0 || (uint64_t)all > SIZE_MAX) return FC_ERROR_OVERFLOW;
    *bytes = (size_t)all;
    return FC_OK;
}

static plan_run prepare(const fc_plan_desc *d, const plan_layout *l, const fc_plan_param *params,
                        const fc_plan_batch *batch, void *workspace) {
    char *at = (char *)workspace + notes_bytes(l);
    int64_t size = d->dtype == FC_FLOAT32 ? 4 : 8;
    double *losses = workspace;
    return (plan_run){
        .layout = l,
        .params = params,
        .batch = batch,
        .losses = losses,
        .correct = (int64_t *)(losses + l->blocks * l->lanes),
        .shared = at,
        .arenas = at + size * l->shared,
    };
}

fc_status fc_plan_infer(const fc_plan_desc *d, const fc_plan_param *params, int64_t n,
                        const void *x, void *y, void *workspace, int n_threads) {
    const fc_kernels *k = fc_kernels_for(d->dtype);
    plan_layout l;
    if (k == NULL) return FC_ERROR_UNSUPPORTED;
    fc_status status = lay_out(d, &k->plan, n, 0, &l);
    if (status != FC_OK || n == 0) return status;
    fc_plan_batch batch = {.n = n, .x = x};
    plan_run r = prepare(d, &l, params, &batch, workspace);
    r.y = y;
    k->plan.chunks(&r, threads_for(&l, n_threads));
    return FC_OK;
}

fc_status fc_plan_train(const fc_plan_desc *d, const fc_plan_param *params,
                        const fc_plan_update *update, fc_plan_batch *batch, void *workspace,
                        int n_threads) {
    const fc_kernels *k = fc_kernels_for(d->dtype);
    plan_layout l;
    if (k == NULL) return FC_ERROR_UNSUPPORTED;
    fc_status status = lay_out(d, &k->plan, batch->n, 1, &l);
    if (status != FC_OK) return status;
    if (batch->n == 0) return FC_ERROR_SHAPE;
    if (batch->loss == FC_LOSS_CROSS_ENTROPY && batch->labels == NULL) return FC_ERROR_VALUE;
    if (batch->labels == NULL && batch->targets == NULL) return FC_ERROR_VALUE;
    int64_t classes = l.output.c * l.output.h * l.output.w;
    for (int64_t i = 0; batch->labels != NULL && i < batch->n; i++)
        if (batch->labels[i] < 0 || batch->labels[i] >= classes) return FC_ERROR_VALUE;

    plan_run r = prepare(d, &l, params, batch, workspace);
    r.update = update;
    r.training = 1;
    int threads = threads_for(&l, n_threads);
    k->plan.chunks(&r, threads);
    batch->loss_sum = 0;
    batch->correct = 0;
    for (int64_t i = 0; i < batch->n; i++) batch->loss_sum += r.losses[i];
    for (int64_t i = 0; i < l.blocks; i++) batch->correct += r.correct[i];
    if (isfinite(batch->loss_sum)) k->plan.update(&r, threads);
    return FC_OK;
}
