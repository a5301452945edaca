/* plan_tmpl.h - runs a plan: a whole net forward, backward and updated, in two parallel loops;
 * compiled per tier and real type. plan.h tells how the data lie.
 *
 * First loop, over chunks of blocks of VL images: each block goes forward through all stages,
 * through the loss, and backward, while it is in the cache. Second loop, over rows of weights:
 * gradients are finished - a linear layer's as one matrix product over the batch, a convolution's
 * by adding the chunks' sums up as a tree - and used at once by the optimizer, while they are in
 * the cache.
 *
 * Blocks and chunks are cut by the size of the batch alone, and all sums run in a fixed order, so
 * the bits are the same at any number of threads. An image has a lane for itself, or where a batch
 * leaves most lanes empty, all of them: its outputs depend on no other image.
 */
#include "simd_index.h"

#include "plan_conv_tmpl.h"
#include "plan_winograd_tmpl.h"
#include "plan_sparse_tmpl.h"
#include "plan_layers_tmpl.h"
#include "plan_image_tmpl.h"

/* ---- in and out ---- */

/* Images first..first + VL - 1, row by row, into lanes. Where the batch ends, its last image fills
 * the lanes that are left: their gradients are zero, whatever they hold. */
static void plan_load(const plan_run *r, int64_t block, real *arena) {
    const plan_tensor *t = &r->layout->input;
    int64_t size = t->c * t->h * t->w, last = r->layout->n - 1;
    const real *x = r->batch->x, *image[VL];
    for (int l = 0; l < VL; l++) image[l] = x + fc_min(block * VL + l, last) * size;
    int64_t rows = t->c * t->h, width = t->w;
    if (!tensor_has_border(t)) width = size, rows = 1;
    plan_zero_border(t, arena);
    for (int64_t row = 0; row < rows; row++) {
        real *to = arena + tensor_inside(t, row / t->h, row % t->h, 0);
        for (int64_t i = 0; i < width; i += VL) {
            vr v[VL];
            int64_t n = fc_min(width - i, VL);
            if (n == VL)
                UNROLL for (int l = 0; l < VL; l++) v[l] = v_load(image[l] + row * width + i);
            else
                for (int l = 0; l < VL; l++) v[l] = v_loadn(image[l] + row * width + i, n);
            v_transpose(v);
            for (int64_t j = 0; j < n; j++) v_store(to + (i + j) * VL, v[j]);
        }
    }
}

static void plan_store(const plan_run *r, int64_t block, int64_t lanes, const real *arena) {
    const plan_tensor *t = &r->layout->output;
    int64_t features = t->c * t->h * t->w;
    real *y = (real *)r->y + block * VL * features;
    for (int64_t i = 0; i < features; i += VL) {
        vr v[VL];
        int64_t n = fc_min(features - i, VL);
        for (int64_t j = 0; j < VL; j++)
            v[j] = j < n ? v_load(arena + (t->at + i + j) * VL) : v_zero();
        v_transpose(v);
        for (int64_t l = 0; l < lanes; l++) v_storen(y + l * features + i, v[l], n);
    }
}

/* ---- first loop: blocks forward and backward ---- */

static void plan_forward(const plan_run *r, int64_t block, real *arena) {
    for (int i = 0; i < r->layout->n_stages; i++) {
        const plan_stage *g = &r->layout->stages[i];
        const fc_plan_param *p = &r->params[2 * i];
        switch (g->step->kind) {
        case FC_PLAN_CONV: plan_conv_forward(g, p[1].data, arena); break;
        case FC_PLAN_CONV_POOL:
            if (plan_winograd_used(r, g)) plan_winograd_forward(r, g, p[1].data, arena);
            else plan_conv_pool_forward(r, g, p[1].data, arena);
            break;
        case FC_PLAN_MAX_POOL: plan_max_pool_forward(r, g, arena); break;
        case FC_PLAN_AVG_POOL: plan_avg_pool_forward(g, arena); break;
        case FC_PLAN_LINEAR: plan_linear_forward(r, g, block, p, arena); break;
        case FC_PLAN_ACTIVATION: plan_activation_forward(g, arena); break;
        default: break;
        }
    }
}

static void plan_backward(const plan_run *r, int64_t block, real *sums, real *arena) {
    for (int i = r->layout->n_stages - 1; i >= r->layout->first; i--) {
        const plan_stage *g = &r->layout->stages[i];
        const fc_plan_param *p = &r->params[2 * i];
        switch (g->step->kind) {
        case FC_PLAN_CONV: plan_conv_backward(g, sums, arena); break;
        case FC_PLAN_CONV_POOL: plan_conv_pool_backward(r, g, sums, arena); break;
        case FC_PLAN_MAX_POOL:
        case FC_PLAN_AVG_POOL: plan_pool_backward(g, arena); break;
        case FC_PLAN_LINEAR: plan_linear_backward(r, g, block, p, arena); break;
        case FC_PLAN_ACTIVATION: plan_activation_backward(g, arena); break;
        default: break;
        }
    }
}

/* Each thread has its own: written anew each step, it is not to be in other cores' caches. */
static void plan_pack(const plan_run *r, real *arena) {
    for (int i = 0; i < r->layout->n_stages; i++) {
        const plan_stage *g = &r->layout->stages[i];
        const real *w = r->params[2 * i].data;
        real *to = arena + g->packed * VL, *back = arena + g->packed_back * VL;
        if (g->step->kind != FC_PLAN_CONV && g->step->kind != FC_PLAN_CONV_POOL) continue;
        if (plan_winograd_used(r, g)) plan_winograd_pack(g->step, w, to);
        else conv_pack(g->step, w, to);
        if (!g->needs_dx) continue;
        if (g->step->kind == FC_PLAN_CONV) conv_pack_back(g->step, w, back);
        else sparse_pack(g->step, w, back);
    }
}

static void plan_chunk(void *arg, int64_t chunk, int thread) {
    plan_run *r = arg;
    const plan_layout *p = r->layout;
    real *arena = (real *)r->arenas + thread * p->arena;
    real *sums = (real *)r->shared + p->sums + chunk * p->sums_each;
    if (!r->packed[thread]) plan_pack(r, arena);
    r->packed[thread] = 1;
    if (r->training) memset(sums, 0, (size_t)p->sums_each * sizeof(real));
    int64_t from = chunk * p->blocks / p->chunks, to = (chunk + 1) * p->blocks / p->chunks;
    for (int64_t block = from; block < to; block++) {
        int64_t lanes = fc_min(p->n - block * VL, VL);
        if (!r->training && lanes <= p->few) {
            for (int64_t l = 0; l < lanes; l++) plan_image(r, block * VL + l, arena);
            continue;
        }
        plan_load(r, block, arena);
        plan_forward(r, block, arena);
        if (r->training) {
            plan_loss_block(r, block, lanes, arena);
            plan_backward(r, block, sums, arena);
        } else {
            plan_store(r, block, lanes, arena);
        }
    }
}

static void plan_chunks(plan_run *r, int n_threads) {
    fc_parallel_shares(r->layout->chunks, n_threads, plan_chunk, r);
}

/* ---- second loop: gradients finished and used ---- */

/* Elements at..at + n - 1 of a parameter; gradient is p->grad + at where there is no optimizer. */
static void plan_use(const fc_plan_update *u, const fc_plan_param *p, int64_t at, int64_t n,
                     const real *gradient) {
    real *param = (real *)p->data + at, *first = p->state[0], *second = p->state[1];
    if (u->rule == FC_UPDATE_SGD) {
        fc_sgd_desc d = u->sgd;
        d.n = n;
        sgd_update(&d, param, gradient, first ? first + at : NULL, 1);
    } else if (u->rule == FC_UPDATE_ADAM) {
        fc_adam_desc d = u->adam;
        d.n = n;
        adam_update(&d, param, gradient, first + at, second + at, 1);
    }
}

/* Chunk c + step is added to chunk c for c = 0, 2 step, ..., step = 1, 2, 4, ...; count reals from
 * `at` of the sums; the result is in chunk 0. */
static real *plan_join(const plan_run *r, int64_t at, int64_t count) {
    const plan_layout *p = r->layout;
    real *sums = (real *)r->shared + p->sums + at;
    for (int64_t step = 1; step < p->chunks; step *= 2)
        for (int64_t c = 0; c + step < p->chunks; c += 2 * step) {
            real *a = sums + c * p->sums_each, *b = a + step * p->sums_each;
            for (int64_t i = 0; i < count; i += VL) {
                int64_t n = count - i;
                v_storen(a + i, v_add(v_loadn(a + i, n), v_loadn(b + i, n)), n);
            }
        }
    return sums;
}

/* Output channel k of a convolution. */
static void plan_update_conv(const plan_run *r, const plan_stage *g, const fc_plan_param *p,
                             int64_t k, real *scratch) {
    const fc_plan_step *s = g->step;
    int sparse = s->kind == FC_PLAN_CONV_POOL, none = r->update->rule == FC_UPDATE_NONE;
    int64_t stack = sparse ? g->patch.stack : 1, rows = sparse ? g->patch.rows : s->kh;
    int64_t count = rows * g->dw_pitch, size = s->c * s->kh * s->kw;
    if (s->train_weight) {
        const real *sum = plan_join(r, g->dw + k * count, count);
        real *dw = none ? (real *)p[0].grad + k * size : scratch, *to = dw;
        for (int64_t c = 0; c < s->c; c++)
            for (int64_t y = 0; y < s->kh; y++)
                for (int64_t x = 0; x < s->kw; x++)
                    *to++ = sum[y / stack * g->dw_pitch + (x * stack + y % stack) * s->c + c];
        plan_use(r->update, &p[0], k * size, size, dw);
    }
    if (s->train_bias && p[1].data != NULL) {
        real *db = plan_join(r, g->db + k, 1);
        if (none) ((real *)p[1].grad)[k] = *db;
        plan_use(r->update, &p[1], k, 1, db);
    }
}

/* UPDATE_ROWS rows of a linear layer's weight: dw = dy^T x over the whole batch. */
#define UPDATE_ROWS (4 * GEMM_MR)

static void plan_update_linear(const plan_run *r, const plan_stage *g, const fc_plan_param *p,
                               int64_t item, real *scratch) {
    const fc_plan_step *s = g->step;
    int64_t images = r->layout->blocks * VL, row = item * UPDATE_ROWS;
    int64_t rows = fc_min(s->k - row, UPDATE_ROWS), x_stride = fc_round_up(s->c, VL);
    int64_t dy_stride = fc_round_up(s->k, VL);
    const real *x = (const real *)r->shared + g->rows_x;
    const real *dy = (const real *)r->shared + g->rows_dy + row;
    int none = r->update->rule == FC_UPDATE_NONE;
    if (s->train_weight) {
        real *dw = none ? (real *)p[0].grad + row * s->c : scratch + GEMM_SCRATCH;
        gemm_problem product = {
            .m = rows, .n = s->c, .k = images, .a = dy, .a_row = 1, .a_col = dy_stride,
            .b = x, .b_row = x_stride, .b_col = 1, .c = dw, .c_row = s->c, .c_col = 1,
            .claim = none ? NULL : (real *)p[0].data + row * s->c,
        };
        gemm_tile(&product, 0, 0, rows, s->c, scratch);
        plan_use(r->update, &p[0], row * s->c, rows * s->c, dw);
    }
    if (s->train_bias && p[1].data != NULL) {
        real own[UPDATE_ROWS], *db = none ? (real *)p[1].grad + row : own;
        for (int64_t o = 0; o < rows; o += VL) {
            int64_t n = fc_min(rows - o, VL);
            vr sum = v_zero();
            for (int64_t i = 0; i < images; i++)
                sum = v_add(sum, v_loadn(dy + i * dy_stride + o, n));
            v_storen(db + o, sum, n);
        }
        plan_use(r->update, &p[1], row, rows, db);
    }
}

static void plan_update_task(void *arg, int64_t item, int thread) {
    const plan_run *r = arg;
    const plan_layout *p = r->layout;
    real *scratch = (real *)r->arenas + thread * p->arena + p->scratch;
    int i = 0;
    while (item >= p->stages[i].items) item -= p->stages[i++].items;
    const plan_stage *g = &p->stages[i];
    if (g->step->kind == FC_PLAN_LINEAR)
        plan_update_linear(r, g, &r->params[2 * i], item, scratch);
    else
        plan_update_conv(r, g, &r->params[2 * i], item, scratch);
}

static void plan_update(const plan_run *r, int n_threads) {
    fc_parallel_shares(r->layout->items, n_threads, plan_update_task, (void *)r);
}

#define PLAN_KERNELS                    \
    {                                   \
        .lanes = VL,                    \
        .channels = CONV_OB,            \
        .update_rows = UPDATE_ROWS,     \
        .update_scratch = GEMM_SCRATCH, \
        .chunks = plan_chunks,          \
        .update = plan_update,          \
    }
