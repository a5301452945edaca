"""Fused SGD and Adam steps against the reference and the textbook, in place, on odd sizes."""

import itertools

import numpy as np
import pytest
from helpers import THREADS, assert_close, assert_same, assert_same_bits, integers, layouts, normal

import fastcnn
from fastcnn import ops, reference

SIZES = [(0,), (1,), (3,), (7,), (8,), (9,), (17,), (120, 84), (16385,), (6, 1, 5, 5)]
TOLERANCE = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 4e-15}

SGD = [
    {"lr": 0.1},
    {"lr": 0.1, "weight_decay": 0.01},
    {"lr": 0.1, "momentum": 0.9},
    {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4},
    {"lr": 0.05, "momentum": 0.5, "dampening": 0.25},
]
ADAM = [
    {"lr": 0.001},
    {"lr": 0.1, "betas": (0.5, 0.75), "eps": 1e-3, "weight_decay": 0.1},
    {"lr": 0.1, "weight_decay": 0.1, "decoupled": True},
    {"lr": 0.01, "betas": [0.0, 0.0]},
]


@pytest.mark.parametrize("shape", SIZES, ids=str)
@pytest.mark.parametrize("numbers", SGD, ids=str)
def test_sgd_matches_reference(
    numbers: dict, shape: tuple, rng: np.random.Generator, dtype: np.dtype
):
    param, velocity = normal(rng, shape, dtype), np.zeros(shape, dtype)
    expected, expected_velocity = param.copy(), velocity.copy()
    for _ in range(4):
        grad = normal(rng, shape, dtype)
        state = (velocity, expected_velocity) if "momentum" in numbers else (None, None)
        assert ops.sgd_update(param, grad, state[0], **numbers) is None
        reference.sgd_update(expected, grad, state[1], **numbers)
    assert_close(param, expected, TOLERANCE[dtype])
    if "momentum" in numbers:
        assert_close(velocity, expected_velocity, TOLERANCE[dtype])


@pytest.mark.parametrize("shape", SIZES, ids=str)
@pytest.mark.parametrize("numbers", ADAM, ids=str)
def test_adam_matches_reference(
    numbers: dict, shape: tuple, rng: np.random.Generator, dtype: np.dtype
):
    param, m, v = normal(rng, shape, dtype), np.zeros(shape, dtype), np.zeros(shape, dtype)
    expected, expected_m, expected_v = param.copy(), m.copy(), v.copy()
    for step in range(1, 5):
        grad = normal(rng, shape, dtype)
        assert ops.adam_update(param, grad, m, v, step=step, **numbers) is None
        reference.adam_update(expected, grad, expected_m, expected_v, step=step, **numbers)
    tolerance = 4 * TOLERANCE[dtype]
    assert_close(param, expected, tolerance)
    assert_close(m, expected_m, tolerance)
    assert_close(v, expected_v, tolerance)


def test_a_wrong_element_is_seen(rng: np.random.Generator):
    param = normal(rng, (50,), np.float32)
    grad, expected = normal(rng, (50,), np.float32), param.copy()
    ops.sgd_update(param, grad, None, lr=0.1)
    reference.sgd_update(expected, grad, None, lr=0.1)
    param[17] += 1e-5
    with pytest.raises(AssertionError):
        assert_close(param, expected, TOLERANCE[param.dtype])


def test_sgd_is_exact_on_powers_of_two(rng: np.random.Generator, dtype: np.dtype):
    param, grad, velocity = (integers(rng, (999,), dtype) for _ in range(3))
    p, v = param.copy(), velocity.copy()
    ops.sgd_update(p, grad, v, lr=0.25, momentum=0.5, dampening=0.5, weight_decay=2, nesterov=True)
    g = grad + 2 * param
    expected = 0.5 * velocity + 0.5 * g
    assert_same(v, expected)
    assert_same(p, param - 0.25 * (g + 0.5 * expected))


def test_adam_by_hand():
    """Two steps of algorithm 1, in Python floats."""
    lr, b1, b2, eps = 0.1, 0.9, 0.999, 1e-8
    p, m, v = 1.0, 0.0, 0.0
    param, m_array, v_array = np.array([p]), np.zeros(1), np.zeros(1)
    for t, g in enumerate([3.0, -1.0], 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        p -= lr * (m / (1 - b1**t)) / ((v / (1 - b2**t)) ** 0.5 + eps)
        ops.adam_update(param, np.array([g]), m_array, v_array, step=t, lr=lr)
    np.testing.assert_allclose([param[0], m_array[0], v_array[0]], [p, m, v], rtol=1e-14)


def test_many_steps_do_not_overflow(dtype: np.dtype):
    param, m, v = np.ones(5, dtype), np.zeros(5, dtype), np.zeros(5, dtype)
    ops.adam_update(param, np.ones(5, dtype), m, v, step=2**31 - 1, lr=0.1)
    assert np.isfinite(param).all() and (param < 1).all()


def test_nan_stays_visible(rng: np.random.Generator, dtype: np.dtype):
    grad = normal(rng, (40,), dtype)
    grad[33] = np.nan
    only_there = np.arange(40) == 33
    for update in (
        lambda p: ops.sgd_update(p, grad, np.zeros_like(p), lr=0.1, momentum=0.9),
        lambda p: ops.adam_update(p, grad, np.zeros_like(p), np.zeros_like(p), step=1, lr=0.1),
    ):
        param = normal(rng, (40,), dtype)
        update(param)
        np.testing.assert_array_equal(np.isnan(param), only_there)


def test_same_bits_at_any_thread_count(rng: np.random.Generator, dtype: np.dtype):
    start, grad = normal(rng, (700, 999), dtype), normal(rng, (700, 999), dtype)
    results = []
    for n in THREADS:
        with fastcnn.threads(n):
            arrays = [start.copy() for _ in range(2)] + [np.zeros_like(start) for _ in range(3)]
            a, b, velocity, m, v = arrays
            ops.sgd_update(a, grad, velocity, lr=0.1, momentum=0.9, nesterov=True)
            ops.adam_update(b, grad, m, v, step=1, lr=0.1)
            results.append(arrays)
    for arrays in results[1:]:
        for got, first in zip(arrays, results[0], strict=True):
            assert_same_bits(got, first)


def test_gradient_layouts(rng: np.random.Generator, dtype: np.dtype):
    start, grad = normal(rng, (6, 5, 3, 3), dtype), normal(rng, (6, 5, 3, 3), dtype)
    expected = start.copy()
    ops.sgd_update(expected, grad, None, lr=0.1)
    for other in layouts(grad).values():
        param = start.copy()
        ops.sgd_update(param, other, None, lr=0.1)
        assert_same_bits(param, expected)


def test_sgd_of_several_parameters_is_that_of_each():
    rng = np.random.default_rng(3)
    shapes, rates = [(4, 5), (0,), (7,), (3, 2, 2)], [0.1, 0.2, 0.3, 0.4]
    params, grads, velocities = (
        [rng.standard_normal(s).astype(np.float32) for s in shapes] for _ in range(3)
    )
    velocities[2] = velocities[2].astype(np.float64)
    params[2], grads[2] = params[2].astype(np.float64), grads[2].astype(np.float64)
    numbers = {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01, "nesterov": True}
    expected = [(p.copy(), v.copy()) for p, v in zip(params, velocities, strict=True)]
    plain = [(p.copy(), v.copy()) for p, v in expected]
    for (p, v), g, rate in zip(expected, grads, rates, strict=True):
        ops.sgd_update(p, g, v, lr=rate, **numbers)
    reference.sgd_update([p for p, _ in plain], grads, [v for _, v in plain], lr=rates, **numbers)
    grads[3] = np.asfortranarray(grads[3])  # one that must be copied
    ops.sgd_update(params, grads, velocities, lr=rates, **numbers)
    for p, v, (ep, ev), (pp, pv) in zip(params, velocities, expected, plain, strict=True):
        assert_same_bits(p, ep)
        assert_same_bits(v, ev)
        np.testing.assert_allclose(p, pp, 1e-5)
        np.testing.assert_allclose(v, pv, 1e-5)
    ops.sgd_update(params, grads, None, lr=0.5)
    for p, (ep, _), g in zip(params, expected, grads, strict=True):
        ops.sgd_update(ep, g, None, lr=0.5)
        assert_same_bits(p, ep)


def test_sgd_of_several_changes_none_if_one_does_not_fit():
    def arrays() -> list[np.ndarray]:
        return [np.ones(3, np.float32), np.ones(4, np.float32)]

    good = arrays()
    bad = [
        (
            {"grad": [np.ones(3, np.float32), np.ones(5, np.float32)]},
            ValueError,
            r"grad\[1\].shape",
        ),
        ({"grad": arrays()[:1]}, ValueError, "expected grad to be a list of 2, got 1"),
        ({"velocity": good[0]}, ValueError, "expected velocity to be a list of 2, got ndarray"),
        ({"velocity": [*arrays()[:1], None]}, ValueError, r"expected velocity\[1\] to be an array"),
        ({"lr": [0.1]}, ValueError, "expected lr to be a list of 2, got 1"),
        ({"lr": [0.1, -1.0]}, ValueError, "lr"),
        ({"param": [good[0], [1.0]]}, TypeError, r"expected param\[1\] to be an ndarray, got list"),
    ]
    for change, error, message in bad:
        given = {"param": good, "grad": arrays(), "velocity": arrays(), "lr": 0.1} | change
        with pytest.raises(error, match=message):
            ops.sgd_update(
                given["param"], given["grad"], given["velocity"], lr=given["lr"], momentum=0.9
            )
        for library in (ops, reference):
            if "lr" in change and library is reference and len(change["lr"]) == 2:
                continue  # the twin does not check numbers
            with pytest.raises(error, match=message.replace(r"\[1\]", r".*")):
                library.sgd_update(
                    given["param"], given["grad"], given["velocity"], lr=given["lr"], momentum=0.9
                )
            for a, b in zip(good, arrays(), strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("which", ["param", "velocity", "m", "v"])
def test_what_is_changed_in_place_must_allow_it(which: str):
    def call(array: np.ndarray) -> None:
        good = {name: np.zeros((4, 5), np.float32) for name in ("param", "grad", "m", "v")}
        good["velocity"] = np.zeros((4, 5), np.float32)
        arrays = {**good, which: array}
        if which in ("m", "v"):
            ops.adam_update(
                arrays["param"], arrays["grad"], arrays["m"], arrays["v"], step=1, lr=0.1
            )
        else:
            ops.sgd_update(arrays["param"], arrays["grad"], arrays["velocity"], lr=0.1)

    ok = np.zeros((4, 5), np.float32)
    readonly = ok.copy()
    readonly.flags.writeable = False
    misaligned = np.zeros(ok.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(4, 5)
    for bad in (readonly, misaligned, np.asfortranarray(np.zeros((4, 5), np.float32)), ok[:, ::-1]):
        with pytest.raises(ValueError, match=rf"expected {which} to be C-contiguous, aligned and"):
            call(bad)
    with pytest.raises(TypeError, match=rf"expected {which} to be an ndarray, got tuple"):
        call((0.0,))
    with pytest.raises(TypeError, match=rf"expected {which} to be float32"):
        call(ok.astype(int))
    if which != "param":
        with pytest.raises(TypeError, match=rf"expected {which} to be float32 like param"):
            call(ok.astype(np.float64))
        with pytest.raises(ValueError, match=rf"expected {which}.shape == \(4, 5\)"):
            call(ok[:3])
    call(ok)


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        *itertools.product(["lr", "momentum", "weight_decay"], [-1, np.nan, np.inf, "1", None]),
        *itertools.product(["dampening"], [np.nan, np.inf, "1", None, True]),
    ],
)
def test_bad_numbers_of_sgd(name: str, bad: object):
    param = np.zeros(3, np.float32)
    with pytest.raises(ValueError, match=rf"^sgd_update: expected {name} to be a finite number"):
        ops.sgd_update(param, param, param.copy(), **{"lr": 0.1, name: bad})


def test_momentum_needs_a_velocity():
    param = np.zeros(3, np.float32)
    with pytest.raises(ValueError, match="expected velocity to be an array, since momentum is"):
        ops.sgd_update(param, param, None, lr=0.1, momentum=0.9)


@pytest.mark.parametrize("step", [0, -1, 2**31, 2**62, 1.0, None, True])
def test_bad_step(step: object):
    a = [np.zeros(3, np.float32) for _ in range(4)]
    with pytest.raises(ValueError, match=r"^adam_update: expected step"):
        ops.adam_update(*a, step=step, lr=0.1)


@pytest.mark.parametrize(
    "betas", [(0.9,), 0.9, (0.9, 1.0), (-0.1, 0.9), (0.9, np.nan), "ab", None, (0.9, 0.9, 0.9)]
)
def test_bad_betas(betas: object):
    a = [np.zeros(3, np.float32) for _ in range(4)]
    with pytest.raises(ValueError, match=r"^adam_update: expected betas to be"):
        ops.adam_update(*a, step=1, lr=0.1, betas=betas)


def test_bad_gradient():
    param = np.zeros((3, 4), np.float32)
    with pytest.raises(ValueError, match=r"expected grad.shape == \(3, 4\) \(that of param\)"):
        ops.sgd_update(param, param.T, None, lr=0.1)
    with pytest.raises(TypeError, match="expected grad to be float32"):
        ops.sgd_update(param, param.astype(np.float64), None, lr=0.1)
