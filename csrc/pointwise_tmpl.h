/* pointwise_tmpl.h - activations and losses over n contiguous reals; compiled per tier and real
 * type. Work is cut into chunks of CHUNK reals, so a chunk boundary never moves with the number of
 * threads.
 */
#define CHUNK 16384

typedef struct {
    int64_t n;
    const real *x;
    real *y;
} unary_arg;

static void relu_forward_chunk(void *p, int64_t item, int thread) {
    (void)thread;
    const unary_arg *a = p;
    int64_t from = item * CHUNK, to = fc_min(from + CHUNK, a->n), i = from;
    /* v_max(0, x) gives its second operand when either is NaN, so NaN stays visible. */
    for (; i + VL <= to; i += VL) v_store(a->y + i, v_max(v_zero(), v_load(a->x + i)));
    if (i < to) v_storen(a->y + i, v_max(v_zero(), v_loadn(a->x + i, to - i)), to - i);
}

static void relu_forward(int64_t n, const void *x, void *y, int n_threads) {
    unary_arg a = {n, x, y};
    fc_parallel(fc_ceil_div(n, CHUNK), fc_threads_for((double)n, n_threads), relu_forward_chunk, &a);
}

#define POINTWISE_KERNELS { .relu_forward = relu_forward }
