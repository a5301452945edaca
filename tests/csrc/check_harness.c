/* check_harness.c - the harness itself: each kind of mistake must be caught. */
#define _DEFAULT_SOURCE
#include "harness.h"
#include "harness_main.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { N = 5 };

static void wrong_element(float *x, float *y) { (void)x, y[3] = 99.0f; }
static void missing_element(float *x, float *y) { y[2] = y[0] - y[0] + x[0] / 0.0f - x[0] / 0.0f; }
static void written_input(float *x, float *y) { (void)y, x[1] += 1.0f; }
static void write_before(float *x, float *y) { (void)x, y[-1] = 0.0f; }
static void write_after(float *x, float *y) { (void)x, y[N] = 0.0f; }
static void read_before(float *x, float *y) { y[0] = x[0] + 0.0f * ((volatile float *)x)[-1]; }
static void read_after(float *x, float *y) { y[0] = x[0] + 0.0f * ((volatile float *)x)[N]; }
static void change_mode(float *x, float *y) {
    (void)x, (void)y;
#if defined(__x86_64__)
    _mm_setcsr(_mm_getcsr() | 0x8000u);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)1 << 24));
#else
    y[0] = 99.0f;
#endif
}
static void nothing(float *x, float *y) { (void)x, (void)y; }

static const struct {
    const char *name;
    void (*make)(float *x, float *y);
    placement where;
    int caught;
} MISTAKES[] = {
    {"none", nothing, AT_END, 0},
    {"wrong element", wrong_element, AT_END, 1},
    {"element left NaN", missing_element, AT_END, 1},
    {"input written", written_input, AT_END, 1},
    {"write past the end, page", write_after, AT_END, 1},
    {"write past the end, canary", write_after, AT_START, 1},
    {"write before the start, canary", write_before, AT_END, 1},
    {"write before the start, page", write_before, AT_START, 1},
    {"read past the end", read_after, AT_END, 1},
    {"read before the start", read_before, AT_START, 1},
    {"floating-point mode changed", change_mode, AT_END, 1},
};

/* Copies x to y, then makes the mistake; returns 1 if it was noticed. */
static int run(size_t i) {
    setting s = {FC_FLOAT32, 1, MISTAKES[i].where};
    begin(&s, "mistake: %s", MISTAKES[i].name);
    float *x = input(N), *y = output(N);
    double *expected = values_of(x, N);
    for (int j = 0; j < N; j++) y[j] = x[j];
    MISTAKES[i].make(x, y);
    expect_equal(y, expected, N, "y");
    end();
    return harness_failures() != 0;
}

int check_harness(void) {
    int failed = 0;
    for (size_t i = 0; i < sizeof MISTAKES / sizeof MISTAKES[0]; i++) {
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            if (freopen("/dev/null", "w", stdout) == NULL) _exit(9);
            _exit(run(i));
        }
        int status = 0;
        waitpid(child, &status, 0);
        int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        int caught = code == 1 || code == 3; /* a failed check, or a fault */
        int right = caught == MISTAKES[i].caught && (caught || code == 0);
        printf("%-34s %s\n", MISTAKES[i].name,
               right ? (caught ? "caught" : "passes") : "NOT CAUGHT");
        failed += !right;
    }
    return failed != 0;
}
