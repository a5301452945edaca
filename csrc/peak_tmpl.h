/* peak_tmpl.h - multiply-adds in registers alone, the most that a processor can do of them: the
 * bound that benchmarks set beside direct convolutions; compiled per tier and real type.
 */

/* More than a processor has in flight, of which each waits for the one before it in its chain. */
enum { PEAK_CHAINS = N_REGISTERS * 3 / 4 };

/* At least n multiply-adds of a lane. Each halves the distance of its chain's value from 1; returns
 * the mean of all values. */
static double multiply_adds(int64_t n) {
    vr value[PEAK_CHAINS], half = v_keep(v_set1((real)0.5));
    UNROLL for (int i = 0; i < PEAK_CHAINS; i++) value[i] = v_set1((real)i); /* no two are one */
    for (int64_t k = 0; k < n; k += PEAK_CHAINS * VL)
        UNROLL for (int i = 0; i < PEAK_CHAINS; i++) value[i] = v_fma(value[i], half, half);
    real sum = 0;
    for (int i = 0; i < PEAK_CHAINS; i++) sum += v_hsum(value[i]);
    return (double)sum / (PEAK_CHAINS * VL);
}
