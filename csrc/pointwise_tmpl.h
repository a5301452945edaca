/* pointwise_tmpl.h - activations over n contiguous reals; compiled per tier and real type.
 *
 * An activation is two small functions on vectors, forward and backward, and a row in the tables
 * at the end. Work is cut into chunks of FC_CHUNK reals, so that a chunk boundary never moves with
 * the number of threads. Softmax and the losses are in softmax_tmpl.h.
 */
#include "vmath_tmpl.h"

/* ---- the functions: y of some vectors in place of x; dx from dy and what forward saved (y, or x
 * for leaky ReLU and ELU) ---- */

INLINE void relu_y(const int vectors, vr *x, vr p) {
    (void)p;
    EACH(k, vectors) x[k] = v_relu(x[k]);
}
INLINE vr relu_dx(vr dy, vr y, vr p) {
    (void)p;
    return v_select(v_or(v_gt(y, v_zero()), v_isnan(y)), dy, v_zero());
}
INLINE void leaky_y(const int vectors, vr *x, vr slope) {
    EACH(k, vectors) x[k] = v_select(v_gt(x[k], v_zero()), x[k], v_mul(x[k], slope));
}
INLINE vr leaky_dx(vr dy, vr x, vr slope) {
    return v_select(v_gt(x, v_zero()), dy, v_mul(dy, slope));
}
INLINE void sigmoid_y(const int vectors, vr *x, vr p) { (void)p, v_sigmoids(vectors, x); }
INLINE vr sigmoid_dx(vr dy, vr y, vr p) {
    (void)p;
    return v_mul(dy, v_mul(y, v_sub(v_set1(1), y)));
}
INLINE void tanh_y(const int vectors, vr *x, vr p) { (void)p, v_tanhs(vectors, x); }
INLINE vr tanh_dx(vr dy, vr y, vr p) {
    (void)p;
    return v_mul(dy, v_mul(v_sub(v_set1(1), y), v_add(v_set1(1), y)));
}
INLINE void elu_y(const int vectors, vr *x, vr alpha) {
    vr below[TOGETHER];
    EACH(k, vectors) below[k] = v_min(v_zero(), x[k]); /* v_min gives the second if one is NaN */
    v_expm1s(vectors, below);
    EACH(k, vectors) x[k] = v_select(v_gt(x[k], v_zero()), x[k], v_mul(below[k], alpha));
}
INLINE vr elu_dx(vr dy, vr x, vr alpha) {
    vr slope = v_mul(v_exp(v_min(v_zero(), x)), alpha);
    return v_select(v_gt(x, v_zero()), dy, v_mul(slope, dy));
}
INLINE void step_y(const int vectors, vr *x, vr p) {
    (void)p;
    EACH(k, vectors) {
        vr low = v_select(v_isnan(x[k]), x[k], v_zero());
        x[k] = v_select(v_gt(x[k], v_zero()), v_set1(1), low);
    }
}

/* ---- the loops over a chunk, into which a function is inlined ---- */

typedef struct {
    int64_t n;
    real parameter;
    const real *dy; /* backward only */
    const real *x;  /* forward: x; backward: what was saved */
    real *out;
    int stream; /* the results go past the caches */
} map_arg;

/* n elements, or VL if there are more. */
INLINE void map_some(const map_arg *a, int64_t i, int64_t n,
                     void (*f)(const int vectors, vr *x, vr p)) {
    vr y = v_loadn(a->x + i, n);
    f(1, &y, v_set1(a->parameter));
    v_storen(a->out + i, y, n);
}

INLINE void map_forward(const map_arg *a, int64_t item,
                        void (*f)(const int vectors, vr *x, vr p)) {
    int64_t i = item * FC_CHUNK, to = fc_min(i + FC_CHUNK, a->n);
    int64_t first = v_unaligned(a->out + i, to - i);
    vr p = v_set1(a->parameter);
    if (first > 0) map_some(a, i, first, f);
    int stream = stream_from(a->out + i + first, a->stream);
    for (i += first; i + TOGETHER * VL <= to; i += TOGETHER * VL) {
        vr y[TOGETHER];
        EACH(k, TOGETHER) y[k] = v_load(a->x + i + k * VL);
        f(TOGETHER, y, p);
        put_together(a->out + i, y, stream);
    }
    for (; i < to; i += VL) map_some(a, i, to - i, f);
    if (stream) stream_fence();
}

INLINE void map_backward(const map_arg *a, int64_t item, vr (*f)(vr dy, vr x, vr p)) {
    int64_t i = item * FC_CHUNK, to = fc_min(i + FC_CHUNK, a->n);
    int64_t n = v_unaligned(a->out + i, to - i);
    vr p = v_set1(a->parameter);
    if (n > 0) v_storen(a->out + i, f(v_loadn(a->dy + i, n), v_loadn(a->x + i, n), p), n);
    int stream = stream_from(a->out + i + n, a->stream);
    for (i += n; i + TOGETHER * VL <= to; i += TOGETHER * VL) {
        vr y[TOGETHER];
        EACH(k, TOGETHER) y[k] = f(v_load(a->dy + i + k * VL), v_load(a->x + i + k * VL), p);
        put_together(a->out + i, y, stream);
    }
    for (; i + VL <= to; i += VL) v_store(a->out + i, f(v_load(a->dy + i), v_load(a->x + i), p));
    n = to - i;
    if (n > 0) v_storen(a->out + i, f(v_loadn(a->dy + i, n), v_loadn(a->x + i, n), p), n);
    if (stream) stream_fence();
}

static void relu_forward(void *a, int64_t i, int t) { (void)t, map_forward(a, i, relu_y); }
static void relu_backward(void *a, int64_t i, int t) { (void)t, map_backward(a, i, relu_dx); }
static void leaky_forward(void *a, int64_t i, int t) { (void)t, map_forward(a, i, leaky_y); }
static void leaky_backward(void *a, int64_t i, int t) { (void)t, map_backward(a, i, leaky_dx); }
static void sigmoid_forward(void *a, int64_t i, int t) { (void)t, map_forward(a, i, sigmoid_y); }
static void sigmoid_backward(void *a, int64_t i, int t) { (void)t, map_backward(a, i, sigmoid_dx); }
static void tanh_forward(void *a, int64_t i, int t) { (void)t, map_forward(a, i, tanh_y); }
static void tanh_backward(void *a, int64_t i, int t) { (void)t, map_backward(a, i, tanh_dx); }
static void elu_forward(void *a, int64_t i, int t) { (void)t, map_forward(a, i, elu_y); }
static void elu_backward(void *a, int64_t i, int t) { (void)t, map_backward(a, i, elu_dx); }
static void step_forward(void *a, int64_t i, int t) { (void)t, map_forward(a, i, step_y); }

/* In the order of fc_activation; the cost is forward's, in multiply-adds an element. */
static const struct {
    fc_task forward, backward;
    double cost;
} ACTIVATIONS[] = {
    [FC_RELU] = {relu_forward, relu_backward, 2 * FC_MOVED},
    [FC_LEAKY_RELU] = {leaky_forward, leaky_backward, 2 * FC_MOVED},
    [FC_SIGMOID] = {sigmoid_forward, sigmoid_backward, 4 * FC_MOVED},
    [FC_TANH] = {tanh_forward, tanh_backward, 4 * FC_MOVED},
    [FC_ELU] = {elu_forward, elu_backward, 4 * FC_MOVED},
    [FC_STEP] = {step_forward, NULL, 2 * FC_MOVED},
};

static void activation_forward(fc_activation f, int64_t n, double parameter, const void *x,
                               void *y, int n_threads) {
    map_arg a = {n, (real)parameter, NULL, x, y, stream_worth(y, n, x, NULL)};
    int threads = fc_threads_for(ACTIVATIONS[f].cost * (double)n, n_threads);
    fc_parallel_shares(fc_ceil_div(n, FC_CHUNK), threads, ACTIVATIONS[f].forward, &a);
}

static void activation_backward(fc_activation f, int64_t n, double parameter, const void *dy,
                                const void *saved, void *dx, int n_threads) {
    map_arg a = {n, (real)parameter, dy, saved, dx, stream_worth(dx, n, dy, saved)};
    int threads = fc_threads_for(3 * FC_MOVED * (double)n, n_threads);
    fc_parallel_shares(fc_ceil_div(n, FC_CHUNK), threads, ACTIVATIONS[f].backward, &a);
}

/* ---- sums: the loop of a backward pass, which has two inputs as well ---- */

INLINE vr add_y(vr a, vr b, vr p) { return (void)p, v_add(a, b); }
INLINE vr add_relu_y(vr a, vr b, vr p) { return (void)p, v_relu(v_add(a, b)); }

static void add_plain(void *a, int64_t i, int t) { (void)t, map_backward(a, i, add_y); }
static void add_relu(void *a, int64_t i, int t) { (void)t, map_backward(a, i, add_relu_y); }

static void add(int64_t n, int relu, const void *a, const void *b, void *y, int n_threads) {
    map_arg arg = {n, 0, a, b, y, stream_worth(y, n, a, b)};
    int threads = fc_threads_for(3 * FC_MOVED * (double)n, n_threads);
    fc_parallel_shares(fc_ceil_div(n, FC_CHUNK), threads, relu ? add_relu : add_plain, &arg);
}

#include "dropout_tmpl.h"
#include "prelu_tmpl.h"
#include "softmax_tmpl.h"

#define POINTWISE_KERNELS                                                       \
    {                                                                           \
        .activation_forward = activation_forward,                               \
        .activation_backward = activation_backward,                             \
        .prelu_forward = prelu_forward,                                         \
        .prelu_backward = prelu_backward,                                       \
        .dropout = dropout,                                                     \
        .add = add,                                                             \
        .softmax_forward = softmax_forward,                                     \
        .softmax_backward = softmax_backward,                                   \
        .softmax_cross_entropy = softmax_cross_entropy,                         \
        .mse = mse,                                                             \
    }
