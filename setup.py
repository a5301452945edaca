"""Builds the one extension module, fastcnn._kernels, from csrc/ (C11) and bindings/ (Cython).

The C core is compiled once per instruction-set tier and real type: every ``csrc/isa_<tier>.c``
includes the same kernel templates and is built with that tier's own flags, first for float, then
(with FC_REAL_F64) for double. A tier whose flags the compiler does not know is dropped. OpenMP is
used when a probe program compiles, links and runs with it, else the build is serial; both facts
are compiled in and shown by ``fastcnn.show_config()``.

Environment: FASTCNN_OPENMP=0 builds without OpenMP; FASTCNN_TIERS=scalar,avx2 limits the tiers;
FASTCNN_CFLAGS adds flags (sanitizers, -g).
"""

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
BASE_FLAGS = ["/O2", "/std:c11"] if MSVC else ["-O3", "-std=c11", "-Wall", "-Wextra", "-fvisibility=hidden"]
X86_TIERS = {
    "avx2": ["/arch:AVX2"] if MSVC else ["-mavx2", "-mfma"],
    "avx512": ["/arch:AVX512"] if MSVC else ["-mavx512f", "-mfma"],
}
ARM_TIERS: dict[str, list[str]] = {"neon": []}

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
                    subprocess.run([str(Path(tmp, "probe"))], check=True, timeout=60)
            except Exception:
                return False
        return True

    def _openmp(self):
        """(compile flags, link flags) for OpenMP, or empty lists where it does not work."""
        if os.environ.get("FASTCNN_OPENMP") == "0":
            return [], []
        candidates = [(["/openmp"], [])] if MSVC else [(["-fopenmp"], ["-fopenmp"])]
        if sys.platform == "darwin":  # Apple clang: libomp comes from Homebrew
            for prefix in ("/opt/homebrew/opt/libomp", "/usr/local/opt/libomp"):
                candidates.append((
                    ["-Xpreprocessor", "-fopenmp", f"-I{prefix}/include"],
                    [f"-L{prefix}/lib", "-lomp"],
                ))
        for compile_flags, link_flags in candidates:
            if self._try(OPENMP_PROBE, compile_flags, link_flags):
                return compile_flags, link_flags
        print("fastcnn: OpenMP does not work with this compiler; building serial kernels")
        return [], []

    def _tiers(self):
        """The tiers to build besides scalar, with their flags."""
        machine = os.environ.get("_PYTHON_HOST_PLATFORM", platform.machine()).lower()
        known = ARM_TIERS if ("arm64" in machine or "aarch64" in machine) else X86_TIERS
        wanted = os.environ.get("FASTCNN_TIERS")
        names = [n for n in known if wanted is None or n in wanted.split(",")]
        tiers = {}
        for name in names:
            if self._try(TIER_PROBES[name], known[name]):
                tiers[name] = known[name]
            else:
                print(f"fastcnn: tier {name} is dropped, the compiler does not know it")
        return tiers

    def build_extension(self, ext):
        openmp_compile, openmp_link = self._openmp()
        tiers = self._tiers()
        extra = os.environ.get("FASTCNN_CFLAGS", "").split()
        have = [(f"FC_HAVE_{t.upper()}", None) for t in tiers]
        include = [str(ROOT / "csrc")]
        headers = [p.stat().st_mtime for p in (ROOT / "csrc").glob("*.h")]
        newest_header = max([*headers, Path(__file__).stat().st_mtime])

        jobs = []  # (source, object folder, flags, macros)
        for source in sorted((ROOT / "csrc").glob("*.c")):
            tier = source.stem.removeprefix("isa_") if source.stem.startswith("isa_") else None
            if tier not in (None, "scalar", *tiers):
                continue
            flags = BASE_FLAGS + openmp_compile + tiers.get(tier, []) + extra
            variants = [("c", have)]
            if tier is not None:  # the templates, for float and for double
                variants = [("f32", []), ("f64", [("FC_REAL_F64", None)])]
            for folder, macros in variants:
                jobs.append((source, Path(self.build_temp, folder), flags, macros))

        def compile_one(job):
            source, folder, flags, macros = job
            [target] = self.compiler.object_filenames([str(source.relative_to(ROOT))], output_dir=str(folder))
            done = Path(target)
            if not (self.force or not done.exists()
                    or done.stat().st_mtime < max(newest_header, source.stat().st_mtime)):
                return target
            [target] = self.compiler.compile(
                [str(source.relative_to(ROOT))], output_dir=str(folder), macros=macros,
                include_dirs=include, extra_postargs=flags,
            )
            return target

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            ext.extra_objects = list(pool.map(compile_one, jobs))
        ext.include_dirs += include
        ext.extra_compile_args = [f for f in BASE_FLAGS if f not in ("-Wall", "-Wextra")] + extra
        ext.extra_link_args = openmp_link + [f for f in extra if f.startswith("-fsanitize")]
        self.force = self.force or any(  # relink when an object is newer than the module
            Path(o).stat().st_mtime > self._mtime(self.get_ext_fullpath(ext.name))
            for o in ext.extra_objects
        )
        super().build_extension(ext)

    @staticmethod
    def _mtime(path):
        return Path(path).stat().st_mtime if Path(path).exists() else 0.0


def extensions():
    import numpy
    from Cython.Build import cythonize

    ext = Extension(
        "fastcnn._kernels",
        ["bindings/_kernels.pyx"],
        depends=[str(p.relative_to(ROOT)) for p in (ROOT / "bindings").glob("*.pxi")],
        include_dirs=[numpy.get_include()],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
    )
    return cythonize(
        [ext], build_dir="build/cython",
        compiler_directives={"language_level": "3", "boundscheck": False, "wraparound": False},
    )


setup(ext_modules=extensions(), cmdclass={"build_ext": Build})
