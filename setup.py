"""Builds the one extension module, fastcnn._kernels, from csrc/ (C11) and bindings/ (Cython).

The C core is compiled once per instruction-set tier and real type: every ``csrc/isa_<tier>.c``
includes the same kernel templates and is built with that tier's own flags, first for float, then
(with FC_REAL_F64) for double. A tier whose flags the compiler does not know is dropped. Threads are
our own (csrc/thread_pool.c) where there are POSIX threads, else OpenMP's, else there are none:
whichever probe program first compiles, links and runs. ``fastcnn.show_config()`` shows both.

Environment: FASTCNN_THREADS=pool, openmp or none chooses the threads; FASTCNN_TIERS=scalar,avx2
limits the tiers; FASTCNN_CFLAGS adds flags (sanitizers, -g). A change of any of these recompiles
what it must.

Built and tested with GCC on x86-64 Linux; the C core also with GCC for aarch64 under qemu. The
lines for MSVC and for Apple clang are written by the book and have not been run.
"""

import hashlib
import os
import platform
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
MSVC = sys.platform == "win32"
# -ffp-contract=off: a product and a sum are fused only where the source says v_fma, so that every
# compiler gives the same bits. -g0 overrides the -g of some Pythons: half of the wheel's size.
BASE_FLAGS = (
    ["/O2", "/std:c11", "/fp:precise"]
    if MSVC
    else [
        *("-O3", "-std=c11", "-g0", "-Wall", "-Wextra"),
        *("-fvisibility=hidden", "-ffp-contract=off"),
    ]
)
# GCC spends minutes on combining the instructions of the scalar tier's long functions.
SCALAR_FLAGS = ["-O1", "--param=max-combine-insns=2"]
X86_TIERS = {
    "avx2": ["/arch:AVX2"] if MSVC else ["-mavx2", "-mfma"],
    "avx512": ["/arch:AVX512"] if MSVC else ["-mavx512f", "-mfma"],
}
ARM_TIERS: dict[str, list[str]] = {"neon": []}

POOL_PROBE = """
#include <pthread.h>
#include <stdatomic.h>
static atomic_int n;
static void *count(void *unused) { n++; return unused; }
int main(void) {
    pthread_t thread;
    if (pthread_create(&thread, 0, count, 0) != 0 || pthread_join(thread, 0) != 0) return 1;
    return n == 1 ? 0 : 1;
}
"""
OPENMP_PROBE = """
#include <omp.h>
int main(void) {
    int n = 0;
    #pragma omp parallel num_threads(2) reduction(+:n)
    n += 1;
    return n >= 1 && omp_get_max_threads() >= 1 ? 0 : 1;
}
"""
TIER_PROBES = {
    "avx2": "#include <immintrin.h>\n__m256 f(__m256 a) { return _mm256_fmadd_ps(a, a, a); }",
    "avx512": "#include <immintrin.h>\n__m512 f(__m512 a) { return _mm512_fmadd_ps(a, a, a); }",
    "neon": "#include <arm_neon.h>\nfloat64x2_t f(float64x2_t a) { return vfmaq_f64(a, a, a); }",
}


def target_machine():
    """The machine that is built for, in lower case: another than ours when cross-compiling."""
    archflags = os.environ.get("ARCHFLAGS", "")  # macOS: "-arch arm64"
    if archflags.count("-arch") == 1:
        return archflags.split("-arch")[1].split()[0].lower()
    return os.environ.get("_PYTHON_HOST_PLATFORM", platform.machine()).lower()


def cross_compiling():
    return "_PYTHON_HOST_PLATFORM" in os.environ


class Build(build_ext):
    """build_ext that compiles the C core itself: per-file flags, in parallel, only what changed."""

    def _try(self, code, compile_flags, link_flags=None):
        """True if `code` compiles with the flags (and, given link flags, links and runs)."""
        with tempfile.TemporaryDirectory() as tmp:
            source = Path(tmp, "probe.c")
            source.write_text(code)
            try:
                objects = self.compiler.compile(
                    [str(source)], output_dir=tmp, extra_postargs=compile_flags
                )
                if link_flags is not None:
                    self.compiler.link_executable(
                        objects, "probe", output_dir=tmp, extra_postargs=link_flags
                    )
                    if not cross_compiling():
                        subprocess.run([str(Path(tmp, "probe"))], check=True, timeout=60)
            except Exception:
                return False
        return True

    def _threads(self):
        """(compile flags, link flags) for threads, or empty lists where there are none."""
        wanted = os.environ.get("FASTCNN_THREADS", "any")
        if wanted not in ("any", "pool", "openmp", "none"):
            raise SystemExit(f"FASTCNN_THREADS: expected pool, openmp or none, got {wanted!r}")
        flags = ["-pthread"]
        if wanted in ("any", "pool") and not MSVC and self._try(POOL_PROBE, flags, flags):
            return [*flags, "-DFC_THREAD_POOL"], flags
        if wanted in ("any", "openmp"):
            for compile_flags, link_flags in self._openmp_flags():
                if self._try(OPENMP_PROBE, compile_flags, link_flags):
                    return compile_flags, link_flags
        if wanted != "none":
            print("fastcnn: no threads work with this compiler; building serial kernels")
        return [], []

    @staticmethod
    def _openmp_flags():
        """(compile flags, link flags) to try."""
        candidates = [(["/openmp"], [])] if MSVC else [(["-fopenmp"], ["-fopenmp"])]
        if sys.platform == "darwin":  # Apple clang: libomp comes from Homebrew
            for prefix in ("/opt/homebrew/opt/libomp", "/usr/local/opt/libomp"):
                candidates.append(
                    (
                        ["-Xpreprocessor", "-fopenmp", f"-I{prefix}/include"],
                        [f"-L{prefix}/lib", "-lomp"],
                    )
                )
        return candidates

    def _tiers(self):
        """The tiers to build, with their flags."""
        machine = target_machine()
        known: dict[str, list[str]] = {}
        if "arm64" in machine or "aarch64" in machine:
            known = ARM_TIERS
        elif "x86_64" in machine or "amd64" in machine:
            known = X86_TIERS
        wanted = os.environ.get("FASTCNN_TIERS")
        tiers = {"scalar": SCALAR_FLAGS if self._try("", SCALAR_FLAGS) else []}
        names = [n for n in known if wanted is None or n in wanted.split(",")]
        for name in names:
            if self._try(TIER_PROBES[name], known[name]):
                tiers[name] = known[name]
            else:
                print(f"fastcnn: tier {name} is dropped, the compiler does not know it")
        return tiers

    def build_extension(self, ext):
        threads_compile, threads_link = self._threads()
        tiers = self._tiers()
        extra = os.environ.get("FASTCNN_CFLAGS", "").split()

        jobs = []  # (source, flags, macros)
        for source in sorted((ROOT / "csrc").glob("*.c")):
            tier = source.stem.removeprefix("isa_") if source.stem.startswith("isa_") else None
            if tier not in (None, *tiers):
                continue
            flags = BASE_FLAGS + threads_compile + tiers.get(tier, []) + extra
            if tier is None:
                jobs.append((source, flags, [(f"FC_HAVE_{t.upper()}", None) for t in tiers]))
            else:  # the templates, for float and for double
                jobs.append((source, flags, []))
                jobs.append((source, flags, [("FC_REAL_F64", None)]))

        with ThreadPoolExecutor(self._jobs()) as pool:
            ext.extra_objects = list(pool.map(self._compile_one, jobs))
        include_numpy_and_cythonize(ext)
        ext.extra_compile_args = [f for f in BASE_FLAGS if f not in ("-Wall", "-Wextra")] + extra
        ext.extra_link_args = threads_link + [f for f in extra if f.startswith("-fsanitize")]
        # Relink when an object is newer than the module, or when it was linked from others.
        module = self.get_ext_fullpath(ext.name)
        recipe = repr((module, ext.extra_objects, ext.extra_link_args))
        linked = ROOT / "build" / "core" / f"{Path(module).name}.linked"
        stale = max(_mtime(o) for o in ext.extra_objects) > _mtime(module)
        if stale or not linked.exists() or linked.read_text() != recipe:
            self.force = True
        super().build_extension(ext)
        linked.write_text(recipe)

    def _compile_one(self, job):
        """The object file of one (source, flags, macros), compiled only if something changed."""
        source, flags, macros = job
        relative = str(source.relative_to(ROOT))
        # The folder's name holds the flags, so objects of another configuration are never reused.
        compiler = getattr(self.compiler, "compiler_so", None)
        recipe = repr((compiler, flags, macros, target_machine()))
        key = hashlib.sha256(recipe.encode()).hexdigest()[:12]
        # Not self.build_temp: an editable install would get a fresh one each time.
        folder = ROOT / "build" / "core" / key
        [target] = self.compiler.object_filenames([relative], output_dir=str(folder))
        newest = max(_mtime(p) for p in (source, Path(__file__), *(ROOT / "csrc").glob("*.h")))
        if self.force or _mtime(target) < newest:
            [target] = self.compiler.compile(
                [relative],
                output_dir=str(folder),
                macros=macros,
                include_dirs=[str(ROOT / "csrc")],
                extra_postargs=flags,
            )
        return target

    @staticmethod
    def _jobs():
        """How many compilers to run at once: the processors that this process may use."""
        if MSVC:  # distutils' MSVCCompiler is set up at its first call, not safely from threads
            return 1
        try:
            return len(os.sched_getaffinity(0))
        except AttributeError:
            return os.cpu_count() or 1


def _mtime(path):
    return Path(path).stat().st_mtime if Path(path).exists() else 0.0


def include_numpy_and_cythonize(ext):
    """Cython and NumPy are needed here alone: metadata and the sdist are made without them."""
    import numpy
    from Cython.Build import cythonize

    ext.include_dirs += [numpy.get_include(), str(ROOT / "csrc")]
    [compiled] = cythonize(
        [ext],
        build_dir="build/cython",
        compiler_directives={"language_level": "3", "boundscheck": False, "wraparound": False},
    )
    ext.sources = compiled.sources


setup(
    ext_modules=[
        Extension(
            "fastcnn._kernels",
            ["bindings/_kernels.pyx"],
            depends=[f"bindings/{p.name}" for p in sorted((ROOT / "bindings").glob("*.pxi"))],
            define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
        )
    ],
    cmdclass={"build_ext": Build},
)
