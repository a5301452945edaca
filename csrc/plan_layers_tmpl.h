/* plan_layers_tmpl.h - a plan's pools, activations, linear layers and losses on a block of images,
 * one image a vector lane; included by plan_tmpl.h.
 */

/* ---- pools: windows kh x kw side by side ---- */

/* The first NaN wins, else the first of equal maxima; best holds its number in the window. */
static void plan_max_pool_forward(const plan_run *r, const plan_stage *g, real *arena) {
    const fc_plan_step *s = g->step;
    const plan_tensor *x = &g->x, *y = &g->y;
    plan_zero_border(y, arena);
    for (int64_t c = 0; c < y->c; c++)
        for (int64_t row = 0; row < y->h; row++)
            for (int64_t col = 0; col < y->w; col++) {
                const real *window = arena + tensor_inside(x, c, row * s->kh, col * s->kw);
                vr most = v_load(window), at = v_zero();
                for (int64_t i = 1; i < s->kh * s->kw; i++) {
                    vr v = v_load(window + (i / s->kw * x->wp + i % s->kw) * VL);
                    vm stays = still_most(most, v);
                    most = v_select(stays, most, v);
                    at = v_select(stays, at, v_set1((real)i));
                }
                int64_t to = tensor_inside(y, c, row, col);
                v_store(arena + to, most);
                if (r->training) v_store(arena + to + (g->best - y->at) * VL, at);
            }
}

static void plan_avg_pool_forward(const plan_stage *g, real *arena) {
    const fc_plan_step *s = g->step;
    const plan_tensor *x = &g->x, *y = &g->y;
    vr size = v_set1((real)(s->kh * s->kw));
    plan_zero_border(y, arena);
    for (int64_t c = 0; c < y->c; c++)
        for (int64_t row = 0; row < y->h; row++)
            for (int64_t col = 0; col < y->w; col++) {
                const real *window = arena + tensor_inside(x, c, row * s->kh, col * s->kw);
                vr sum = v_zero();
                for (int64_t ky = 0; ky < s->kh; ky++)
                    for (int64_t kx = 0; kx < s->kw; kx++)
                        sum = v_add(sum, v_load(window + (ky * x->wp + kx) * VL));
                v_store(arena + tensor_inside(y, c, row, col), v_div(sum, size));
            }
}

/* Elements that no window covers get zero first. */
static void plan_pool_backward(const plan_stage *g, real *arena) {
    const fc_plan_step *s = g->step;
    const plan_tensor *dx = &g->dx, *dy = &g->dy, *y = &g->y;
    int largest = s->kind == FC_PLAN_MAX_POOL;
    vr size = v_set1((real)(s->kh * s->kw));
    if (s->h % s->kh != 0 || s->w % s->kw != 0)
        memset(arena + dx->at * VL, 0, (size_t)(dx->c * dx->hp * dx->wp) * VL * sizeof(real));
    for (int64_t c = 0; c < dy->c; c++)
        for (int64_t row = 0; row < dy->h; row++)
            for (int64_t col = 0; col < dy->w; col++) {
                vr one = v_load(arena + tensor_inside(dy, c, row, col)), at = v_zero();
                if (largest)
                    at = v_load(arena + tensor_inside(y, c, row, col) + (g->best - y->at) * VL);
                else
                    one = v_div(one, size);
                for (int64_t i = 0; i < s->kh * s->kw; i++) {
                    int64_t h = row * s->kh + i / s->kw, w = col * s->kw + i % s->kw;
                    vr number = v_set1((real)i);
                    vm here = v_andnot(v_or(v_gt(at, number), v_gt(number, at)), v_ge(at, at));
                    v_store(arena + tensor_inside(dx, c, h, w),
                            largest ? v_select(here, one, v_zero()) : one);
                }
            }
}

/* ---- activations, row by row: borders stay zero ---- */

INLINE void activation_rows(const plan_tensor *from, const plan_tensor *saved,
                            const plan_tensor *to, real *arena, vr (*f)(vr a, vr y, vr p)) {
    for (int64_t c = 0; c < to->c; c++)
        for (int64_t row = 0; row < to->h; row++) {
            const real *a = arena + tensor_inside(from, c, row, 0);
            const real *y = arena + tensor_inside(saved, c, row, 0);
            real *out = arena + tensor_inside(to, c, row, 0);
            for (int64_t i = 0; i < to->w * VL; i += VL)
                v_store(out + i, f(v_load(a + i), v_load(y + i), v_zero()));
        }
}
INLINE vr relu_forward_of(vr x, vr y, vr p) { return (void)y, (void)p, v_relu(x); }
INLINE vr sigmoid_forward_of(vr x, vr y, vr p) { return (void)y, (void)p, v_sigmoid(x); }
INLINE vr tanh_forward_of(vr x, vr y, vr p) { return (void)y, (void)p, v_tanh(x); }

static void plan_activation_forward(const plan_stage *g, real *arena) {
    if (g->y.at != g->x.at) plan_zero_border(&g->y, arena);
    if (g->step->activation == FC_RELU)
        activation_rows(&g->x, &g->x, &g->y, arena, relu_forward_of);
    else if (g->step->activation == FC_SIGMOID)
        activation_rows(&g->x, &g->x, &g->y, arena, sigmoid_forward_of);
    else
        activation_rows(&g->x, &g->x, &g->y, arena, tanh_forward_of);
}

static void plan_activation_backward(const plan_stage *g, real *arena) {
    if (g->step->activation == FC_RELU)
        activation_rows(&g->dy, &g->y, &g->dx, arena, relu_dx);
    else if (g->step->activation == FC_SIGMOID)
        activation_rows(&g->dy, &g->y, &g->dx, arena, sigmoid_dx);
    else
        activation_rows(&g->dy, &g->y, &g->dx, arena, tanh_dx);
}

/* ---- linear layers ---- */

#define LINEAR_ROWS 8 /* outputs at once: enough to hide the latency of a multiply-add */

/* y[rows] = start + sum over n of w[row][i] * x[i], w with any strides. */
INLINE void linear_rows(const int rows, int64_t n, const real *w, int64_t w_row, int64_t w_col,
                        const real *start, const real *x, real *y) {
    vr sum[LINEAR_ROWS];
    UNROLL for (int o = 0; o < rows; o++) sum[o] = start ? v_set1(start[o]) : v_zero();
    for (int64_t i = 0; i < n; i++, w += w_col, x += VL) {
        vr v = v_load(x);
        UNROLL for (int o = 0; o < rows; o++) sum[o] = v_fma(v_set1(w[o * w_row]), v, sum[o]);
    }
    UNROLL for (int o = 0; o < rows; o++) v_store(y + o * VL, sum[o]);
}

static void linear_forward_all(int64_t n_out, int64_t n_in, const real *w, const real *b,
                               const real *x, real *y) {
    int64_t o = 0;
    for (; o + LINEAR_ROWS <= n_out; o += LINEAR_ROWS)
        linear_rows(LINEAR_ROWS, n_in, w + o * n_in, n_in, 1, b ? b + o : NULL, x, y + o * VL);
    for (; o + 2 <= n_out; o += 2)
        linear_rows(2, n_in, w + o * n_in, n_in, 1, b ? b + o : NULL, x, y + o * VL);
    for (; o < n_out; o++)
        linear_rows(1, n_in, w + o * n_in, n_in, 1, b ? b + o : NULL, x, y + o * VL);
}

/* dx of some vectors of inputs, of LINEAR_IMAGES images at a time. Here the inputs are in lanes, as
 * they lie in w: with images in lanes each multiply-add would need a weight loaded for itself. A
 * transpose then puts the images back into lanes. */
enum { LINEAR_VECTORS = 3, LINEAR_IMAGES = VL < N_REGISTERS / 4 ? VL : N_REGISTERS / 4 };
INLINE void linear_inputs(const int vectors, int64_t n_out, int64_t n_in, const real *w,
                          const real *dy, real *dx) {
    real rows[VL][LINEAR_VECTORS * VL];
    for (int first = 0; first < VL; first += LINEAR_IMAGES) {
        const real *row = w, *of_images = dy + first;
        vr sum[LINEAR_IMAGES][LINEAR_VECTORS];
        UNROLL for (int l = 0; l < LINEAR_IMAGES; l++)
            UNROLL for (int j = 0; j < vectors; j++) sum[l][j] = v_zero();
        for (int64_t o = 0; o < n_out; o++, row += n_in, of_images += VL) {
            vr v[LINEAR_VECTORS];
            UNROLL for (int j = 0; j < vectors; j++) v[j] = v_keep(v_load(row + j * VL));
            UNROLL for (int l = 0; l < LINEAR_IMAGES; l++) {
                vr one = v_keep(v_set1(of_images[l]));
                UNROLL for (int j = 0; j < vectors; j++) sum[l][j] = v_fma(one, v[j], sum[l][j]);
            }
        }
        UNROLL for (int l = 0; l < LINEAR_IMAGES; l++)
            UNROLL for (int j = 0; j < vectors; j++) v_store(rows[first + l] + j * VL, sum[l][j]);
    }
    for (int j = 0; j < vectors; j++) {
        vr v[VL];
        UNROLL for (int l = 0; l < VL; l++) v[l] = v_load(rows[l] + j * VL);
        v_transpose(v);
        UNROLL for (int l = 0; l < VL; l++) v_store(dx + (j * VL + l) * VL, v[l]);
    }
}

static void linear_backward_all(int64_t n_out, int64_t n_in, const real *w, const real *dy,
                                real *dx) {
    enum { WIDE = LINEAR_VECTORS * VL };
    int64_t i = 0;
    for (; i + WIDE <= n_in; i += WIDE)
        linear_inputs(LINEAR_VECTORS, n_out, n_in, w + i, dy, dx + i * VL);
    for (; i + 2 * VL <= n_in; i += 2 * VL) linear_inputs(2, n_out, n_in, w + i, dy, dx + i * VL);
    for (; i < n_in && n_in >= VL; i += VL) { /* the last vector starts earlier */
        int64_t at = fc_min(i, n_in - VL);
        linear_inputs(1, n_out, n_in, w + at, dy, dx + at * VL);
    }
    for (; i < n_in; i++) linear_rows(1, n_out, w + i, 1, n_in, NULL, dy, dx + i * VL);
}

/* Vectors side by side into the insides of a tensor. */
static void plan_spread(const plan_tensor *t, const real *from, real *arena) {
    for (int64_t c = 0; c < t->c; c++)
        for (int64_t y = 0; y < t->h; y++, from += t->w * VL)
            memcpy(arena + tensor_inside(t, c, y, 0), from, (size_t)(t->w * VL) * sizeof(real));
}

static void plan_linear_forward(const plan_run *r, const plan_stage *g, int64_t block,
                                const fc_plan_param *p, real *arena) {
    const fc_plan_step *s = g->step;
    const real *x = arena + g->x.at * VL;
    linear_forward_all(s->k, s->c, p[0].data, p[1].data, x, arena + g->y.at * VL);
    if (!g->backward) return;
    int64_t stride = fc_round_up(s->c, VL);
    lanes_to_rows(s->c, x, (real *)r->shared + g->rows_x + block * VL * stride, stride);
}

static void plan_linear_backward(const plan_run *r, const plan_stage *g, int64_t block,
                                 const fc_plan_param *p, real *arena) {
    const fc_plan_step *s = g->step;
    const real *dy = arena + g->dy.at * VL;
    int64_t stride = fc_round_up(s->k, VL);
    lanes_to_rows(s->k, dy, (real *)r->shared + g->rows_dy + block * VL * stride, stride);
    if (!g->needs_dx) return;
    int bordered = tensor_has_border(&g->dx);
    real *dx = arena + (bordered ? r->layout->scratch : g->dx.at * VL);
    linear_backward_all(s->k, s->c, p[0].data, dy, dx);
    if (bordered) plan_spread(&g->dx, dx, arena);
}

/* ---- losses: logits or predictions [c] of VL images, of which `lanes` are wanted ---- */

static void cross_entropy_block(const plan_run *r, int64_t classes, int64_t first, int64_t lanes,
                                const real *x, real *dx) {
    vr most = v_set1(-INFINITY), sum = v_zero();
    for (int64_t c = 0; c < classes; c++) most = v_max(most, v_load(x + c * VL));
    for (int64_t c = 0; c < classes; c++) {
        vr e = v_exp(v_sub(v_load(x + c * VL), most));
        v_store(dx + c * VL, e);
        sum = v_add(sum, e);
    }
    real sums[VL], mosts[VL], factors[VL], scale = (real)r->batch->scale;
    v_store(sums, sum);
    v_store(mosts, most);
    for (int64_t l = 0; l < VL; l++) factors[l] = l < lanes ? scale / sums[l] : 0;
    vr factor = v_load(factors);
    for (int64_t c = 0; c < classes; c++)
        v_store(dx + c * VL, v_mul(v_load(dx + c * VL), factor));
    for (int64_t l = 0; l < lanes; l++) {
        int64_t at = r->batch->labels[first + l] * VL + l;
        r->losses[first + l] = log((double)sums[l]) - ((double)x[at] - (double)mosts[l]);
        dx[at] -= scale;
    }
}

static void mse_block(const plan_run *r, int64_t features, int64_t first, int64_t lanes,
                      const real *x, real *dx) {
    const real *targets = r->batch->targets;
    real scale = (real)(2 * r->batch->scale);
    memset(dx, 0, (size_t)(features * VL) * sizeof(real));
    for (int64_t l = 0; l < lanes; l++) {
        const int64_t *label = r->batch->labels ? r->batch->labels + first + l : NULL;
        double sum = 0;
        for (int64_t c = 0; c < features; c++) {
            real target = label ? c == *label : targets[(first + l) * features + c];
            real difference = x[c * VL + l] - target;
            sum += (double)difference * difference;
            dx[c * VL + l] = difference * scale;
        }
        r->losses[first + l] = sum;
    }
}

/* Images whose largest output, the first of equal ones, is at their label. */
static int64_t correct_in_block(const plan_run *r, int64_t classes, int64_t first, int64_t lanes,
                                const real *x) {
    vr most = v_load(x), at = v_zero();
    for (int64_t c = 1; c < classes; c++) {
        vr v = v_load(x + c * VL);
        vm stays = still_most(most, v);
        most = v_select(stays, most, v);
        at = v_select(stays, at, v_set1((real)c));
    }
    real found[VL];
    int64_t correct = 0;
    v_store(found, at);
    for (int64_t l = 0; l < lanes; l++)
        correct += (int64_t)found[l] == r->batch->labels[first + l];
    return correct;
}

static void plan_loss_block(const plan_run *r, int64_t block, int64_t lanes, real *arena) {
    const plan_layout *p = r->layout;
    const plan_tensor *t = &p->output_gradient;
    const real *x = arena + p->output.at * VL;
    int64_t features = p->output.c * p->output.h * p->output.w, first = block * VL;
    int bordered = tensor_has_border(t);
    real *dx = arena + (bordered ? p->scratch : t->at * VL);
    r->correct[block] = r->batch->labels ? correct_in_block(r, features, first, lanes, x) : 0;
    if (r->batch->loss == FC_LOSS_CROSS_ENTROPY)
        cross_entropy_block(r, features, first, lanes, x, dx);
    else
        mse_block(r, features, first, lanes, x, dx);
    if (bordered) plan_spread(t, dx, arena);
}
