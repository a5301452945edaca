/* conv2d_epilogue_tmpl.h - what becomes of a convolution's sums on their way to y: a residual is
 * added, ReLU applied, while they are in registers or in the first-level cache; compiled per tier
 * and real type.
 *
 * The sums are first rounded as they would be in y, then go through the vector operations of
 * pointwise_tmpl.h: the same bits as adding and ReLU done apart. Each element of y is finished
 * once, its residual read just before: so the residual may be y itself.
 */

typedef struct {
    int used, relu;
    const real *y, *residual; /* of one shape; the residual may be NULL */
} conv_epilogue;

static conv_epilogue conv_epilogue_of(const fc_conv2d_inference *how, const void *y) {
    return (conv_epilogue){how->relu || how->residual != NULL, how->relu, y, how->residual};
}

/* n lanes of sums that belong at `to` in y. */
INLINE vr epilogue_apply(conv_epilogue e, vr sums, const real *to, int64_t n) {
    if (e.residual != NULL) sums = v_add(sums, v_loadn(e.residual + (to - e.y), n));
    return e.relu ? v_relu(sums) : sums;
}

/* Starts loading the residual of to[0..n): a tile takes a short piece of each of many planes, which
 * the hardware does not see coming. */
INLINE void epilogue_prefetch(const conv_epilogue *e, const real *to, int64_t n) {
    if (e->residual == NULL) return;
    prefetch_piece(e->residual + (to - e->y), n);
}

/* to[0..n) of y, from their sums. */
INLINE void epilogue_store(const conv_epilogue *epilogue, real *to, const real *sums, int64_t n) {
    conv_epilogue e = *epilogue; /* vectors may alias anything: kept out of memory */
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        v_store(to + i, epilogue_apply(e, v_load(sums + i), to + i, VL));
    if (i < n)
        v_storen(to + i, epilogue_apply(e, v_loadn(sums + i, n - i), to + i, n - i), n - i);
}
