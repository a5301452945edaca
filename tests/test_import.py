"""`import fastcnn` changes nothing: no file, network, thread or floating-point mode is touched.

Each check runs in a fresh interpreter. NumPy is imported before the watch begins: what is asked is
what fastcnn adds.
"""

import ctypes.util
import os
import platform
import subprocess
import sys
import textwrap

import pytest


def run(code: str, **env: str) -> str:
    """Standard output of `code` in a fresh interpreter; its error output on failure."""
    done = subprocess.run(
        [sys.executable, "-B", "-W", "error", "-c", textwrap.dedent(code)],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


WATCH = """
    import sys, numpy
    events = []
    FOREIGN = ("socket.", "subprocess.", "os.system", "os.fork", "os.exec", "os.posix_spawn",
               "os.mkdir", "os.remove", "os.rename", "os.chdir",
               "os.putenv", "urllib.", "tempfile.")
    def watch(event, args):
        if event == "open" or event.startswith(FOREIGN):
            events.append((event, str(args[0]) if args else ""))
    sys.addaudithook(watch)
    {action}
    for event, what in events:
        print(event, what)
"""


def test_import_opens_only_modules() -> None:
    lines = run(WATCH.format(action="import fastcnn")).splitlines()
    assert any("fastcnn" in line for line in lines), "the watch saw nothing"
    strange = [
        line
        for line in lines
        if not (line.startswith("open ") and line.endswith((".py", ".pyc", ".so", ".pyd")))
    ]
    assert strange == []


@pytest.mark.parametrize(
    ("action", "event"),
    [
        ("open(sys.executable, 'rb').close()", "open"),
        ("import socket; socket.socket().close()", "socket."),
        ("import subprocess; subprocess.run([sys.executable, '-c', ''])", "subprocess."),
    ],
)
def test_the_watch_sees(action: str, event: str) -> None:
    assert any(line.startswith(event) for line in run(WATCH.format(action=action)).splitlines())


def test_import_loads_numpy_and_fastcnn_only() -> None:
    loaded = run("""
        import sys, numpy
        before = set(sys.modules)
        import fastcnn
        new = {name.partition(".")[0] for name in set(sys.modules) - before}
        print(*sorted(new - sys.stdlib_module_names))
    """).split()
    # Cython's runtime registers helpers of its own; they come with the extension module.
    assert [name for name in loaded if not name.startswith(("_cython", "cython_runtime"))] == [
        "fastcnn"
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_import_starts_no_thread() -> None:
    before, after, with_one_more = run("""
        import os, threading, numpy
        print(len(os.listdir("/proc/self/task")))
        import fastcnn
        print(len(os.listdir("/proc/self/task")))
        stop = threading.Event()
        threading.Thread(target=stop.wait).start()
        print(len(os.listdir("/proc/self/task")))
        stop.set()
    """).split()
    assert before == after
    assert int(with_one_more) == int(after) + 1, "the count does not see a thread"


# glibc's fenv_t ends with MXCSR on x86-64 and holds FPCR first on aarch64; the mask leaves out the
# sticky exception flags.
FENV = """
    import ctypes, ctypes.util, sys
    libm = ctypes.CDLL(ctypes.util.find_library("m"))
    def mode():
        environment = (ctypes.c_uint32 * 16)()
        libm.fegetenv(environment)
        return {expression}
"""
FENV_MODES = {"x86_64": "environment[7] & 0xffc0", "aarch64": "environment[0]"}
needs_fenv = pytest.mark.skipif(
    sys.platform != "linux"
    or platform.machine() not in FENV_MODES
    or ctypes.util.find_library("m") is None,
    reason="reads glibc's fenv_t",
)


def fenv() -> str:
    return FENV.format(expression=FENV_MODES[platform.machine()])


@needs_fenv
def test_import_and_use_keep_the_floating_point_mode() -> None:
    before, after_import, after_use, product = run(
        fenv()
        + """
    import numpy as np
    print(mode())
    import fastcnn
    print(mode())
    x = np.full(100_000, 0.5, np.float32)
    for n in (1, 2):
        with fastcnn.threads(n):
            fastcnn.ops.relu(x)
    print(mode())
    print(sys.float_info.min * 0.5)
    """
    ).split()
    assert before == after_import == after_use
    assert float(product) > 0.0, "subnormals are flushed in the caller"


@needs_fenv
def test_the_floating_point_check_sees() -> None:
    before, after = run(
        fenv()
        + """
    print(mode())
    libm.fesetround({"x86_64": 0xc00, "aarch64": 0xc00000}[__import__("platform").machine()])
    print(mode())
    """
    ).split()
    assert before != after


def test_subpackages_load_on_first_use() -> None:
    out = run("""
        import sys, fastcnn
        assert "fastcnn.ops" not in sys.modules
        fastcnn.ops.relu
        assert "fastcnn.ops" in sys.modules
        print(set(fastcnn._SUBPACKAGES) <= set(dir(fastcnn)))
    """)
    assert out == "True\n"


def test_unknown_attribute() -> None:
    import fastcnn

    with pytest.raises(AttributeError, match="nonesuch"):
        fastcnn.nonesuch  # noqa: B018
