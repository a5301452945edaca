/* sizes.h - overflow-checked arithmetic on sizes, used wherever a size comes from a descriptor. */
#ifndef FC_SIZES_H
#define FC_SIZES_H

#include <stdint.h>

#define FC_SIZE_MAX INT64_MAX

/* Products and sums of non-negative sizes; -1, which is sticky, stands for "does not fit". */
static inline int64_t fc_mul(int64_t a, int64_t b) {
    if (a < 0 || b < 0) return -1;
    if (a != 0 && b > FC_SIZE_MAX / a) return -1;
    return a * b;
}
static inline int64_t fc_add(int64_t a, int64_t b) {
    if (a < 0 || b < 0 || a > FC_SIZE_MAX - b) return -1;
    return a + b;
}
static inline int64_t fc_round_up(int64_t a, int64_t multiple) {
    a = fc_add(a, multiple - 1);
    return a < 0 ? -1 : a / multiple * multiple;
}

static inline int64_t fc_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t fc_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t fc_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

#endif
