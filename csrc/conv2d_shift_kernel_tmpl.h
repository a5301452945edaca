/* conv2d_shift_kernel_tmpl.h - the micro-kernels of direct convolution (conv2d_direct_tmpl.h): a
 * tile of output channels x vectors of pixels in registers; compiled per tier and real type.
 */

/* Bytes that weights are asked for in advance: those of a layer with many channels and few pixels
 * come from memory. */
enum { AHEAD = 2048 };

/* Rows of out are asked for before their sums, which take longer than memory. Those of few taps do
 * not: they ask for what the next tile will store, this far behind. */
enum { FEW_TAPS = 128 };
INLINE int64_t stores_ahead(int64_t taps) { return taps < FEW_TAPS ? NR : 0; }

/* Meanwhile the kernel asks for what will be packed later, step reals apart, one cache line in
 * AHEAD_TAPS taps: many at once would hold up the kernel's own loads. A tap of 8 x 3 vectors takes
 * two to four times as long as one of 6 x 2, and a channel of a tile has three times the lines. */
#if defined(FC_TIER_AVX512)
enum { AHEAD_TAPS = 2 };
#else
enum { AHEAD_TAPS = 8 };
#endif
typedef struct {
    const real *at;
    int64_t step;
} shift_ahead;

/* Of tap k, the pixels are at b + shift[k], or, without shifts, in line k behind b. init: MR rows
 * of sums so far, init_row apart, or, with init_row 0, one bias a row. */
typedef void (*shift_kernel)(int64_t n, const real *a, const real *b, const int32_t *shift,
                             const real *init, int64_t init_row, real *out, int64_t out_row,
                             shift_ahead ahead);

INLINE void shift_tap(const int mr, const int nv, const real *a, const real *p,
                      vr acc[MR_MAX][NV_MAX]) {
    vr pixel[NV_MAX];
    UNROLL for (int j = 0; j < nv; j++) pixel[j] = v_load(p + j * VL);
    UNROLL for (int i = 0; i < mr; i++) {
        vr weight = v_set1(a[i]);
        UNROLL for (int j = 0; j < nv; j++) acc[i][j] = v_fma(weight, pixel[j], acc[i][j]);
    }
}

INLINE void shift_two_taps(const int mr, const int nv, const real *a, const real *p, const real *q,
                           vr acc[MR_MAX][NV_MAX]) {
    UNROLL for (int i = 0; i < 2 * mr * (int)sizeof(real); i += 64)
        PREFETCH((const char *)a + AHEAD + i);
    shift_tap(mr, nv, a, p, acc);
    shift_tap(mr, nv, a + mr, q, acc);
}

/* Instructions, not multiply-adds, are what a processor has too few slots for: so two
 * taps share the loop and the prefetch, and lines need no table. */
INLINE void shift_tile(const int lines, const int mr, const int nv, int64_t n, const real *a,
                       const real *b, const int32_t *shift, const real *init, int64_t init_row,
                       real *out, int64_t out_row, shift_ahead ahead) {
    vr acc[MR_MAX][NV_MAX];
    UNROLL for (int i = 0; i < mr; i++) {
        UNROLL for (int j = 0; j < nv; j++) {
            acc[i][j] = init_row ? v_load(init + i * init_row + j * VL) : v_set1(init[i]);
        }
    }
    const real *stored = out + stores_ahead(n);
    UNROLL for (int i = 0; i < mr; i++) prefetch_piece(stored + i * out_row, nv * VL);
    int64_t k = 0;
    while (lines && k + AHEAD_TAPS <= n) {
        int64_t end = k + AHEAD_TAPS;
        PREFETCH_L2(ahead.at);
        ahead.at += ahead.step;
        NO_UNROLL for (; k < end; k += 2, a += 2 * mr, b += 2 * NR)
            shift_two_taps(mr, nv, a, b, b + NR, acc);
    }
    for (; k + 2 <= n; k += 2, a += 2 * mr, b += lines ? 2 * NR : 0)
        shift_two_taps(mr, nv, a, lines ? b : b + shift[k], lines ? b + NR : b + shift[k + 1], acc);
    if (k < n) shift_tap(mr, nv, a, lines ? b : b + shift[k], acc);
    UNROLL for (int i = 0; i < mr; i++) {
        UNROLL for (int j = 0; j < nv; j++) v_store(out + i * out_row + j * VL, acc[i][j]);
    }
}

/* shift_6x2 has shifts, line_6x2 lines. */
#define SHIFT_KERNEL(name, lines, mr, nv)                                                       \
    static void name##_##mr##x##nv(int64_t n, const real *a, const real *b,                     \
                                   const int32_t *shift, const real *init, int64_t init_row,    \
                                   real *out, int64_t out_row, shift_ahead ahead) {             \
        shift_tile(lines, mr, nv, n, a, b, shift, init, init_row, out, out_row, ahead);         \
    }
#define SHIFT_KERNELS_OF(mr, nv) SHIFT_KERNEL(shift, 0, mr, nv) SHIFT_KERNEL(line, 1, mr, nv)
#if N_REGISTERS == 32
#define SHIFT_ROW(mr) SHIFT_KERNELS_OF(mr, 1) SHIFT_KERNELS_OF(mr, 2) SHIFT_KERNELS_OF(mr, 3)
#define SHIFT_NAMES(name, mr) {name##_##mr##x1, name##_##mr##x2, name##_##mr##x3},
SHIFT_ROW(7) SHIFT_ROW(8)
#define SHIFT_LONG_NAMES(name) SHIFT_NAMES(name, 7) SHIFT_NAMES(name, 8)
#else
#define SHIFT_ROW(mr) SHIFT_KERNELS_OF(mr, 1) SHIFT_KERNELS_OF(mr, 2)
#define SHIFT_NAMES(name, mr) {name##_##mr##x1, name##_##mr##x2},
#define SHIFT_LONG_NAMES(name)
#endif
SHIFT_ROW(1) SHIFT_ROW(2) SHIFT_ROW(3) SHIFT_ROW(4) SHIFT_ROW(5) SHIFT_ROW(6)
#define SHIFT_TABLE(name)                                                                \
    {SHIFT_NAMES(name, 1) SHIFT_NAMES(name, 2) SHIFT_NAMES(name, 3) SHIFT_NAMES(name, 4) \
     SHIFT_NAMES(name, 5) SHIFT_NAMES(name, 6) SHIFT_LONG_NAMES(name)}
static const shift_kernel SHIFT_KERNELS[2][MR_MAX][NV_MAX] = {SHIFT_TABLE(shift),
                                                             SHIFT_TABLE(line)};
