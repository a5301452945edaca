"""Stateless array functions on the compiled kernels: check, allocate, call.

NCHW, float32 (tuned) or float64; any strided or read-only array is accepted. Each function has a
naive twin of the same name and signature in `fastcnn.reference`.
"""

from .activation import relu

__all__ = ["relu"]
