"""No argument of the convolution family can crash it: what does not fit is refused and named."""

import math

import numpy as np
import pytest
from helpers import conv2d_by_single_numbers
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fastcnn import _checks, ops

X, W, B = np.ones((2, 4, 8, 8)), np.ones((6, 2, 3, 3)), np.ones(6)
DY = np.ones((2, 6, 6, 6))
REFUSALS = (ValueError, TypeError, MemoryError)
HUGE = 2**31 - 1
BOTH = np.ones(256)

SIZES = [0, -1, HUGE, 2**31, 2**31 + 1, -(2**31), 2**32, 2**62, -(2**62), 2**63, 2**64]
ODDITIES = [1.5, math.nan, "3", b"1", None, True, (), (1,), (1, 2, 3), [[1, 2]], {}, object()]
ARGUMENT = st.one_of(
    st.sampled_from([1, 2, (1, 2), [2, 1], np.int64(1), np.array([1, 2])]),
    st.sampled_from(SIZES),
    st.sampled_from(ODDITIES),
    st.tuples(st.sampled_from([1, *SIZES]), st.sampled_from([1, *SIZES])),
)


def fits_in_memory(*shape: int) -> bool:
    """Neither refused by arithmetic alone nor small: such a result would really be allocated."""
    return math.prod(shape) <= 2**22 or math.prod(shape) * 8 > 2**62


@settings(max_examples=400)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "stride": ARGUMENT,
            "padding": st.one_of(ARGUMENT, st.sampled_from(["same", "valid", "full", ((1, 2), 3)])),
            "dilation": ARGUMENT,
        },
    ),
    st.one_of(st.just(1), ARGUMENT),
    st.sampled_from(["zeros", "zeros", "replicate", "mirror", "", None, 1]),
    st.sampled_from(["auto", "direct", "im2col", "fft", "", None, 0]),
)
def test_options_are_obeyed_or_refused(geometry, groups, padding_mode, algorithm):
    """Numbers of any size give the exact result or an error."""
    x, w = X + np.arange(8), np.ones((6, 4, 3, 2))
    try:
        win = _checks.window("test", (8, 8), (3, 2), **geometry)
    except REFUSALS:
        win = None
    if win is not None:
        assume(fits_in_memory(2, 6, *win.out) and fits_in_memory(2, 4, 3, 2, *win.out))

    def call():
        others = {"groups": groups, "padding_mode": padding_mode, "algorithm": algorithm}
        return ops.conv2d(x, w, B, **geometry, **others)

    right = isinstance(groups, (int, np.integer)) and groups == 1 and groups is not True
    right = right and padding_mode in ("zeros", "replicate")
    right = right and algorithm in ("auto", "direct", "im2col")
    if win is None or not right:
        with pytest.raises(REFUSALS):
            call()
        return
    try:
        y = call()
    except MemoryError:
        assert max(*win.padding, *win.dilation) >= HUGE
        return
    assert y.shape == (2, 6, *win.out)
    if y.size < 2000:
        top_left = win.padding[0], win.padding[2]
        expected = conv2d_by_single_numbers(
            x, w, B, win.out, stride=win.stride, dilation=win.dilation,
            top_left=top_left, padding_mode=padding_mode,
        )  # fmt: skip
        np.testing.assert_array_equal(y, expected)


SHAPE = st.one_of(
    st.tuples(*[st.sampled_from([1, 2, 3, 4, 6, 8, *SIZES])] * 4),
    st.tuples(*[st.one_of(st.sampled_from([2, 4, 8]), st.sampled_from(ODDITIES))] * 4),
    st.sampled_from([None, 4, "abcd", (), (2, 4, 8), (2, 4, 8, 8, 1), np.array(3.0), object()]),
)


@settings(max_examples=300)
@given(SHAPE)
def test_shapes_given_as_arguments_are_obeyed_or_refused(shape):
    calls = [
        lambda: ops.conv2d_backward_input(DY, W, shape, groups=2),
        lambda: ops.conv2d_backward_input(DY, W, shape, groups=2, stride=HUGE, padding=HUGE),
        lambda: ops.conv2d_backward_weight(DY, X, shape, groups=2)[0],
        lambda: ops.conv2d_backward_weight(DY, X, shape, stride=HUGE, padding=HUGE)[0],
        lambda: ops.col2im(np.ones((2, 36, 36)), shape, 3),
        lambda: ops.col2im(np.ones((2, 36, 1)), shape, 3, stride=HUGE),
    ]
    for call in calls:
        try:
            result = call()
        except REFUSALS:
            continue
        assert result.shape == tuple(shape)


@settings(max_examples=300)
@given(ARGUMENT, st.booleans(), st.sampled_from([0, 1, HUGE]), st.sampled_from([1, HUGE]))
def test_kernel_sizes_are_obeyed_or_refused(kernel_size, one_channel, padding, stride):
    x = X[:, :1] if one_channel else X
    try:
        win = _checks.window("test", (8, 8), kernel_size, padding=padding, stride=stride)
    except REFUSALS:
        win = None
    if win is not None:
        assume(fits_in_memory(*x.shape[:2], *win.kernel, *win.out))
    try:
        cols = ops.im2col(x, kernel_size, padding=padding, stride=stride)
    except REFUSALS:
        return
    assert win is not None
    assert cols.shape == (2, x.shape[1] * math.prod(win.kernel), math.prod(win.out))


@pytest.mark.parametrize("name", ["stride", "padding", "dilation"])
@pytest.mark.parametrize("true", [True, (1, True), np.array([True, True])])
def test_true_is_refused_after_one_was_taken(name, true):
    """True == 1, but what is remembered for 1 does not serve it."""
    for one in (1, (1, 1)):
        _checks.window("test", (8, 8), 3, **{name: one})
    with pytest.raises(ValueError, match="integer"):
        _checks.window("test", (8, 8), 3, **{name: true})


# Calls whose one flaw is named by the message.
CALLS = {
    "channels": (
        lambda: ops.conv2d(np.ones((4, 12, 28, 28)), np.ones((4, 8, 3, 3)), groups=2),
        r"^conv2d: expected x\.shape\[1\] == groups \* w\.shape\[1\] \(2\*8\), "
        r"got x\.shape=\(4, 12, 28, 28\)",
    ),
    "output channels": (
        lambda: ops.conv2d(X, np.ones((5, 2, 3, 3)), groups=2),
        r"^conv2d: expected w\.shape\[0\] .*groups.*2.*got w\.shape=\(5, 2, 3, 3\)",
    ),
    "x dimensions": (
        lambda: ops.conv2d(X[0], W),
        r"^conv2d: expected x .* 4 dimensions.*\(4, 8, 8\)",
    ),
    "w dimensions": (lambda: ops.conv2d(X, W[0]), r"^conv2d: expected w .* 4 dimensions"),
    "bias": (lambda: ops.conv2d(X, W, B[:5], groups=2), r"^conv2d: expected b\.shape == \(6,\)"),
    "bias dimensions": (
        lambda: ops.conv2d(X, W, B[:, None], groups=2),
        r"^conv2d: expected b .*1 dimension",
    ),
    "window": (
        lambda: ops.conv2d(X, np.ones((6, 4, 11, 3))),
        r"^conv2d: the window does not fit.*padding 2 or H >= 11 would fit",
    ),
    "empty kernel": (lambda: ops.conv2d(X, np.ones((6, 4, 0, 3))), r"^conv2d: expected kernel"),
    "padding name": (
        lambda: ops.conv2d(X, W, groups=2, padding="full"),
        r"^conv2d: expected padding 'valid' or 'same', got 'full'",
    ),
    "padding mode": (
        lambda: ops.conv2d(X, W, groups=2, padding_mode="mirror"),
        r"^conv2d: expected padding_mode .*'zeros'.*'replicate'.*got 'mirror'",
    ),
    "algorithm": (
        lambda: ops.conv2d(X, W, groups=2, algorithm="fft"),
        r"^conv2d: expected algorithm .*'auto'.*got 'fft'",
    ),
    "dy": (
        lambda: ops.conv2d_backward_input(DY, W, X.shape, groups=2, padding=1),
        r"^conv2d_backward_input: expected dy\.shape == \(2, 6, 8, 8\)",
    ),
    "dy of weights": (
        lambda: ops.conv2d_backward_weight(DY, X, W.shape, groups=2, stride=2),
        r"^conv2d_backward_weight: expected dy\.shape == \(2, 6, 3, 3\)",
    ),
    "input_shape": (
        lambda: ops.conv2d_backward_input(DY, W, X.shape[1:], groups=2),
        r"^conv2d_backward_input: expected input_shape",
    ),
    "weight_shape": (
        lambda: ops.conv2d_backward_weight(DY, X, (6, 2, 3), groups=2),
        r"^conv2d_backward_weight: expected weight_shape",
    ),
    "nothing to replicate": (
        lambda: ops.conv2d(np.ones((1, 1, 0, 3)), np.ones((1, 1, 1, 1)), padding=1,
                           padding_mode="replicate"),
        r"^conv2d: ",
    ),
    "cols": (
        lambda: ops.col2im(np.ones((2, 36, 35)), X.shape, 3),
        r"^col2im: expected cols\.shape == \(2, 36, 36\)",
    ),
    "out shape": (
        lambda: ops.conv2d(X, W, groups=2, out=np.empty((2, 6, 6, 5))),
        r"^conv2d: expected out .*\(2, 6, 6, 6\)",
    ),
    "out dtype": (
        lambda: ops.conv2d(X, W, groups=2, out=np.empty((2, 6, 6, 6), np.float32)),
        r"^conv2d: expected out .*float64",
    ),
    "out layout": (
        lambda: ops.conv2d(X, W, groups=2, out=np.empty((2, 6, 6, 12))[..., ::2]),
        r"^conv2d: expected out to be C-contiguous",
    ),
    "out read-only": (
        lambda: ops.conv2d(X, W, groups=2, out=np.broadcast_to(0.0, (2, 6, 6, 6))),
        r"^conv2d: expected out to be .*writeable",
    ),
    "out is x": (
        lambda: ops.conv2d(X, np.ones((4, 4, 1, 1)), out=X),
        r"^conv2d: expected out to share no memory with the inputs",
    ),
    "out holds w": (
        lambda: ops.conv2d(X[:1], BOTH[:16].reshape(4, 4, 1, 1), out=BOTH.reshape(1, 4, 8, 8)),
        r"^conv2d: expected out to share no memory",
    ),
    "out of dx is dy": (
        lambda: ops.conv2d_backward_input(X, np.ones((4, 4, 1, 1)), X.shape, out=X),
        r"^conv2d_backward_input: expected out to share no memory",
    ),
    "out of dx": (
        lambda: ops.conv2d_backward_input(DY, W, X.shape, groups=2, out=np.empty((2, 4, 8, 7))),
        r"^conv2d_backward_input: expected out .*\(2, 4, 8, 8\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("call", "message"), CALLS.values(), ids=CALLS.keys())
def test_messages_say_what_was_expected_and_what_came(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "wrong", [np.int64, np.float16, np.complex128, np.bool_, object, np.dtype(">f8"), "U3"]
)
def test_other_dtypes_are_refused(wrong):
    x, w, b, dy = (a.astype(wrong) for a in (X, W, B, DY))
    for call in (
        lambda: ops.conv2d(x, W, groups=2),
        lambda: ops.conv2d(X, w, groups=2),
        lambda: ops.conv2d(X, W, b, groups=2),
        lambda: ops.conv2d_backward_input(dy, W, X.shape, groups=2),
        lambda: ops.conv2d_backward_weight(DY, x, W.shape, groups=2),
        lambda: ops.im2col(x, 3),
        lambda: ops.col2im(ops.im2col(X, 3).astype(wrong), X.shape, 3),
    ):
        with pytest.raises(TypeError, match="float32"):
            call()


def test_dtypes_are_not_mixed():
    narrow = [a.astype(np.float32) for a in (X, W, B, DY)]
    for call in (
        lambda: ops.conv2d(X, narrow[1], groups=2),
        lambda: ops.conv2d(X, W, narrow[2], groups=2),
        lambda: ops.conv2d_backward_input(DY, narrow[1], X.shape, groups=2),
        lambda: ops.conv2d_backward_weight(DY, narrow[0], W.shape, groups=2),
    ):
        with pytest.raises(TypeError, match="float64 like the first array, got float32"):
            call()


def test_lists_are_taken_as_arrays():
    y = ops.conv2d(X.tolist(), W.tolist(), B.tolist(), groups=2, algorithm="direct")
    assert y.tolist() == [[[[19.0] * 6] * 6] * 6] * 2
