/* harness.c - guarded arrays and checks; harness.h explains them. */
#define _DEFAULT_SOURCE
#include "harness.h"
#include "harness_main.h"

#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MOST_BLOCKS = 64, CANARY_BYTES = 256 };
static const unsigned char CANARY = 0xA5;

typedef struct {
    unsigned char *map; /* what munmap or free gets */
    size_t map_bytes;   /* 0: from malloc */
    unsigned char *data;
    size_t bytes;
    unsigned char *first, *last; /* the writable pages: CANARY but for data; NULL with malloc */
    uint64_t sum;                /* of an input's bytes */
    int is_input;
} block;

static struct {
    const setting *s;
    char name[256];
    uint64_t random;
    unsigned mode;
    block blocks[MOST_BLOCKS];
    int n_blocks;
} now;
static long n_checks, n_failures, n_cases;
static int use_malloc;

/* ---- floating-point mode ---- */

#if defined(__x86_64__)
#include <immintrin.h>
static unsigned fp_mode(void) { return _mm_getcsr() & 0xffc0u; } /* without the sticky flags */
#elif defined(__aarch64__)
static unsigned fp_mode(void) {
    uint64_t v;
    __asm__ volatile("mrs %0, fpcr" : "=r"(v));
    return (unsigned)v;
}
#else
static unsigned fp_mode(void) { return 0; }
#endif

/* ---- reports ---- */

static void fail(const char *what, const char *format, ...) {
    n_failures++;
    if (n_failures > 40) return;
    printf("FAILED %s [%s %s, %d threads, %s]: %s: ", now.name, fc_isa_name(fc_isa_active()),
           now.s->dtype == FC_FLOAT32 ? "float32" : "float64", now.s->threads,
           now.s->where == AT_END ? "at end" : "at start", what);
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    fflush(stdout);
}

static void on_fault(int signal) {
    (void)signal;
    const char *isa = fc_isa_name(fc_isa_active());
    const char *parts[] = {"FAULT: access outside an array in ", now.name, " on ", isa, "\n"};
    for (int i = 0; i < 5; i++)
        if (write(1, parts[i], strlen(parts[i])) < 0) break;
    _exit(3);
}

void harness_start(int from_malloc) {
    use_malloc = from_malloc;
    if (!use_malloc) {
        signal(SIGSEGV, on_fault);
        signal(SIGBUS, on_fault);
    }
}
long harness_cases(void) { return n_cases; }
long harness_checks(void) { return n_checks; }
long harness_failures(void) { return n_failures; }

/* ---- random integers: splitmix64 ---- */

static uint64_t next_random(void) {
    uint64_t z = now.random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int64_t random_int(int64_t lo, int64_t hi) {
    return lo + (int64_t)(next_random() % (uint64_t)(hi - lo + 1));
}

/* ---- cases ---- */

void begin(const setting *s, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(now.name, sizeof now.name, format, args);
    va_end(args);
    now.s = s;
    now.random = 1469598103934665603u;
    for (const char *c = now.name; *c; c++)
        now.random = (now.random ^ (unsigned char)*c) * 1099511628211u;
    now.n_blocks = 0;
    now.mode = fp_mode();
    n_cases++;
}

static uint64_t sum_of(const block *b) {
    uint64_t sum = 1469598103934665603u;
    for (size_t i = 0; i < b->bytes; i++) sum = (sum ^ b->data[i]) * 1099511628211u;
    return sum;
}

void end(void) {
    n_checks++;
    if (fp_mode() != now.mode) fail("floating-point mode", "%x became %x", now.mode, fp_mode());
    for (int i = 0; i < now.n_blocks; i++) {
        block *b = &now.blocks[i];
        for (unsigned char *c = b->first; c < b->last; c++) {
            if (c == b->data) c += b->bytes;
            if (c < b->last && *c != CANARY) {
                fail("canary", "array %d was written %s", i,
                     c < b->data ? "before its start" : "past its end");
                break;
            }
        }
        if (b->is_input && sum_of(b) != b->sum) fail("input", "array %d was written", i);
        if (b->map_bytes) munmap(b->map, b->map_bytes);
        else free(b->map);
    }
    now.n_blocks = 0;
}

/* ---- arrays ---- */

static block *new_block(size_t bytes, size_t alignment) {
    if (now.n_blocks == MOST_BLOCKS) {
        fprintf(stderr, "harness: more than %d arrays in one case\n", MOST_BLOCKS);
        exit(2);
    }
    block *b = &now.blocks[now.n_blocks++];
    *b = (block){.bytes = bytes};
    if (use_malloc) {
        size_t padded = (bytes + alignment - 1) / alignment * alignment;
        b->map = alignment > 16 ? aligned_alloc(alignment, padded ? padded : alignment)
                                : malloc(bytes);
        b->data = b->map;
        return b;
    }
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t inside = (bytes + CANARY_BYTES + alignment + page - 1) / page * page;
    b->map_bytes = inside + 2 * page;
    b->map = mmap(NULL, b->map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned char *first = b->map + page, *last = first + inside;
    if (b->map == MAP_FAILED || mprotect(first, inside, PROT_READ | PROT_WRITE) != 0) {
        perror("harness: mmap");
        exit(2);
    }
    memset(first, CANARY, inside);
    b->first = first;
    b->last = last;
    b->data = first;
    if (now.s->where == AT_END) {
        b->data = last - bytes;
        b->data -= (uintptr_t)b->data % alignment;
    }
    return b;
}

static size_t item_bytes(void) { return now.s->dtype == FC_FLOAT32 ? 4 : 8; }

static void put(void *array, int64_t i, double value) {
    if (now.s->dtype == FC_FLOAT32) ((float *)array)[i] = (float)value;
    else ((double *)array)[i] = value;
}

double at(const void *array, int64_t i) {
    return now.s->dtype == FC_FLOAT32 ? (double)((const float *)array)[i]
                                      : ((const double *)array)[i];
}

void *copy_of(const double *values, int64_t n) {
    block *b = new_block((size_t)n * item_bytes(), item_bytes());
    for (int64_t i = 0; i < n; i++) put(b->data, i, values[i]);
    b->is_input = 1;
    b->sum = sum_of(b);
    return b->data;
}

static void *copy_of_bytes(const void *values, size_t bytes, size_t alignment) {
    block *b = new_block(bytes, alignment);
    if (bytes > 0) memcpy(b->data, values, bytes);
    b->is_input = 1;
    b->sum = sum_of(b);
    return b->data;
}

int32_t *copy_of_int(const int32_t *values, int64_t n) {
    return copy_of_bytes(values, (size_t)n * sizeof *values, sizeof *values);
}

int64_t *copy_of_int64(const int64_t *values, int64_t n) {
    return copy_of_bytes(values, (size_t)n * sizeof *values, sizeof *values);
}

void *input(int64_t n) {
    double *values = zeros(n);
    for (int64_t i = 0; i < n; i++) values[i] = (double)random_int(-4, 4);
    return copy_of(values, n);
}

void *output(int64_t n) {
    block *b = new_block((size_t)n * item_bytes(), item_bytes());
    for (int64_t i = 0; i < n; i++) put(b->data, i, NAN);
    return b->data;
}

double *output_double(int64_t n) {
    block *b = new_block((size_t)n * sizeof(double), sizeof(double));
    double *values = (double *)(void *)b->data;
    for (int64_t i = 0; i < n; i++) values[i] = NAN;
    return values;
}

int32_t *output_int(int64_t n) {
    block *b = new_block((size_t)n * 4, 4);
    if (n > 0) memset(b->data, 0xA5, (size_t)n * 4);
    return (int32_t *)(void *)b->data;
}

void *workspace(int64_t bytes) {
    block *b = new_block((size_t)bytes, 64);
    if (bytes > 0) memset(b->data, 0xFF, (size_t)bytes); /* all ones: a NaN in both dtypes */
    return b->data;
}

double *zeros(int64_t n) {
    block *b = &now.blocks[now.n_blocks++];
    *b = (block){.map = calloc((size_t)n + 1, sizeof(double))};
    return (double *)(void *)b->map;
}

double *values_of(const void *array, int64_t n) {
    double *values = zeros(n);
    for (int64_t i = 0; i < n; i++) values[i] = at(array, i);
    return values;
}

/* ---- checks ---- */

void expect_true(int truth, const char *what) {
    n_checks++;
    if (!truth) fail(what, "does not hold");
}

void expect_status(fc_status got, fc_status expected, const char *what) {
    n_checks++;
    if (got != expected) fail(what, "expected status %d, got %d", (int)expected, (int)got);
}

/* 1 if the element is as expected; else reports it. */
static int is_close(double got, double expected, double tolerance, int64_t i, const char *what) {
    int close = isnan(expected) ? isnan(got)
                                : fabs(got - expected) <= tolerance * (1.0 + fabs(expected)) ||
                                      got == expected; /* infinities */
    if (!close) fail(what, "element %lld: expected %.17g, got %.17g", (long long)i, expected, got);
    return close;
}

void expect_close(const void *got, const double *expected, int64_t n, double tolerance,
                  const char *what) {
    n_checks++;
    for (int64_t i = 0; i < n; i++)
        if (!is_close(at(got, i), expected[i], tolerance, i, what)) return;
}

void expect_near(const void *got, const double *expected, int64_t n, double tolerance,
                 const char *what) {
    double largest = 0.0;
    n_checks++;
    for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs(expected[i]));
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(at(got, i) - expected[i]) <= tolerance * largest)) {
            fail(what, "element %lld: expected about %.9g, got %.9g", (long long)i, expected[i],
                 at(got, i));
            return;
        }
}

void expect_close_double(const double *got, const double *expected, int64_t n, double tolerance,
                         const char *what) {
    n_checks++;
    for (int64_t i = 0; i < n; i++)
        if (!is_close(got[i], expected[i], tolerance, i, what)) return;
}

void expect_equal(const void *got, const double *expected, int64_t n, const char *what) {
    expect_close(got, expected, n, 0.0, what);
}

void expect_equal_int(const int32_t *got, const int32_t *expected, int64_t n, const char *what) {
    n_checks++;
    for (int64_t i = 0; i < n; i++)
        if (got[i] != expected[i]) {
            fail(what, "element %lld: expected %d, got %d", (long long)i, (int)expected[i],
                 (int)got[i]);
            return;
        }
}
