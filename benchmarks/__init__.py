"""Every kernel on named layers of real nets: verified first, then timed beside its peers.

shapes.py       the named layers; pure data, shared with the tests
numpy_blas.py   the same operations in plain NumPy: im2col + BLAS, strided windows
peers.py        who computes what: fastcnn, naive, NumPy + BLAS, PyTorch in both layouts
timing.py       interleaved measurement, and the check that outputs agree
bench_*.py      pytest-benchmark suites (`make bench`)
peers_table.py  the markdown table of ratios (`make bench-peers`)
"""
