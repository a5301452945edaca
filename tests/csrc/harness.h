/* harness.h - what the tests of the C core share: guarded arrays, exact comparison, the setting.
 *
 * A family's file check_<family>.c defines one function check_<family>(const setting *s), which
 * loops over nasty shapes and, for each, calls begin(), makes arrays, calls entry points, compares
 * with a naive loop and calls end(). main.c calls it for every tier x dtype x thread count x
 * placement. To add a family: write that file and add its line to FAMILIES in main.c.
 *
 * Inputs hold small random integers, so sums are exact in float and in any order, and results are
 * compared for equality. Outputs are filled with NaN beforehand. Each array either ends at a
 * protected page (AT_END) or starts behind one (AT_START), so that one element read or written too
 * far faults; on the other side lies a canary, which end() checks. Under ASan and valgrind arrays
 * come from malloc instead, where those tools watch every byte.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include "fastcnn.h"

#include <stddef.h>
#include <stdint.h>

typedef enum { AT_END, AT_START, PLACEMENTS } placement;

typedef struct {
    fc_dtype dtype;
    int threads;
    placement where;
} setting;

/* Start a case: names it, printf style, for messages. The name also seeds its random numbers. */
void begin(const setting *s, const char *format, ...);
/* Finish it: checks canaries, that no input was written, and the floating-point mode; frees. */
void end(void);

/* Arrays of the setting's dtype; they live until end(). */
void *input(int64_t n);                      /* random integers in -4..4 */
void *output(int64_t n);                     /* NaN */
int32_t *output_int(int64_t n);              /* a pattern that is no sensible value */
void *workspace(int64_t bytes);              /* aligned to 64, filled with NaN */
void *copy_of(const double *values, int64_t n); /* an input of the given values */
/* The same for arrays whose type does not follow the setting. */
int32_t *copy_of_int(const int32_t *values, int64_t n);
int64_t *copy_of_int64(const int64_t *values, int64_t n);
double *output_double(int64_t n);            /* NaN */

/* Plain memory for naive loops, zeroed; freed by end(). */
double *zeros(int64_t n);

/* Element i of an array of the setting's dtype. */
double at(const void *array, int64_t i);
/* The elements as doubles. */
double *values_of(const void *array, int64_t n);

/* A random integer in lo..hi. */
int64_t random_int(int64_t lo, int64_t hi);

/* The checks. Each counts; a failure is reported with the case's name, and the run goes on. */
void expect_status(fc_status got, fc_status expected, const char *what);
void expect_equal(const void *got, const double *expected, int64_t n, const char *what);
void expect_close(const void *got, const double *expected, int64_t n, double tolerance,
                  const char *what);
/* Within tolerance times the largest expected magnitude. */
void expect_near(const void *got, const double *expected, int64_t n, double tolerance,
                 const char *what);
void expect_close_double(const double *got, const double *expected, int64_t n, double tolerance,
                         const char *what);
void expect_equal_int(const int32_t *got, const int32_t *expected, int64_t n, const char *what);
void expect_true(int truth, const char *what);

#endif
