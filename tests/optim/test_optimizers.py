"""SGD, Adam and AdamW: PyTorch's formulas over steps, groups, frozen parameters, exact resume."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastcnn import nn, optim
from fastcnn.nn import Parameter

MAKERS: list[tuple[str, Callable[..., optim.Optimizer]]] = [
    ("plain", lambda p: optim.SGD(p, lr=0.1)),
    ("momentum", lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01)),
    ("dampened", lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.5)),
    ("nesterov", lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True)),
    ("adam", lambda p: optim.Adam(p, lr=0.1, weight_decay=0.01)),
    ("adamw", lambda p: optim.AdamW(p, lr=0.1, weight_decay=0.1)),
    ("rmsprop", lambda p: optim.RMSprop(p, lr=0.1, weight_decay=0.01)),
    ("rmsprop momentum", lambda p: optim.RMSprop(p, lr=0.1, momentum=0.9)),
]
every = pytest.mark.parametrize("make", [m for _, m in MAKERS], ids=[n for n, _ in MAKERS])


def parameters(seed: int = 0, dtype: Any = np.float64) -> list[Parameter]:
    rng = np.random.default_rng(seed)
    shapes = {"conv.weight": (3, 2, 5, 5), "conv.bias": (3,), "fc.weight": (4, 7)}
    return [Parameter(rng.standard_normal(s).astype(dtype), name=n) for n, s in shapes.items()]


def train(optimizer: optim.Optimizer, params: list[Parameter], steps: range) -> None:
    for step in steps:
        rng = np.random.default_rng([7, step])
        for p in params:
            p.grad = rng.standard_normal(p.data.shape).astype(p.data.dtype)
        optimizer.step()


def sgd_by_hand(p: np.ndarray, grads: list, lr: float, momentum=0.0, dampening=0.0, wd=0.0, nesterov=False):  # fmt: skip  # noqa: E501
    velocity = None
    for grad in grads:
        g = grad + wd * p
        if momentum:
            first = velocity is None
            velocity = g if first else momentum * velocity + (1 - dampening) * g
            g = g + momentum * velocity if nesterov else velocity
        p = p - lr * g
    return p


def adam_by_hand(p: np.ndarray, grads: list, lr: float, betas=(0.9, 0.999), eps=1e-8, wd=0.0, decoupled=False):  # fmt: skip  # noqa: E501
    m = v = np.zeros_like(p)
    for t, grad in enumerate(grads, 1):
        if decoupled:
            p = p * (1 - lr * wd)
        g = grad if decoupled else grad + wd * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        p = p - lr * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    return p


@pytest.mark.parametrize(
    ("make", "by_hand"),
    [
        (lambda p: optim.SGD(p, 0.1), lambda p, g: sgd_by_hand(p, g, 0.1)),
        (
            lambda p: optim.SGD(p, 0.1, 0.9, 0.5, 0.01),
            lambda p, g: sgd_by_hand(p, g, 0.1, 0.9, 0.5, 0.01),
        ),
        (
            lambda p: optim.SGD(p, 0.1, 0.9, weight_decay=0.01, nesterov=True),
            lambda p, g: sgd_by_hand(p, g, 0.1, 0.9, 0.0, 0.01, True),
        ),
        (lambda p: optim.Adam(p), lambda p, g: adam_by_hand(p, g, 1e-3)),
        (
            lambda p: optim.Adam(p, 0.1, (0.5, 0.75), 1e-3, 0.1),
            lambda p, g: adam_by_hand(p, g, 0.1, (0.5, 0.75), 1e-3, 0.1),
        ),
        (
            lambda p: optim.AdamW(p),
            lambda p, g: adam_by_hand(p, g, 1e-3, wd=0.01, decoupled=True),
        ),
    ],
)
def test_formulas_and_defaults(make: Callable, by_hand: Callable):
    """Five steps, written out; the first velocity is the gradient, undampened, as in PyTorch."""
    [p] = parameters()[:1]
    rng = np.random.default_rng(1)
    grads = [rng.standard_normal(p.data.shape) for _ in range(5)]
    expected = by_hand(p.data.copy(), grads)
    start = p.data.copy()
    optimizer = make([p])
    for grad in grads:
        p.grad = grad
        optimizer.step()
    np.testing.assert_allclose(p.data, expected, rtol=1e-12, atol=1e-14)
    assert np.all(p.data != start)


@every
def test_update_is_in_place_and_leaves_the_gradient(make: Callable):
    params = parameters()
    arrays = [p.data for p in params]
    optimizer = make(params)
    train(optimizer, params, range(1))
    assert all(p.data is a for p, a in zip(params, arrays, strict=True))
    rng = np.random.default_rng([7, 0])
    for p in params:
        np.testing.assert_array_equal(p.grad, rng.standard_normal(p.data.shape))


@every
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_resume_is_exact(make: Callable, dtype: Any):
    """Ten steps, or four, a state that went through JSON and copies, and six: the same bits."""
    whole = parameters(dtype=dtype)
    train(make(whole), whole, range(10))

    first = parameters(dtype=dtype)
    optimizer = make(first)
    train(optimizer, first, range(4))
    optimizer.lr = 0.1
    saved = through_json(optimizer.state_dict())
    train(optimizer, first, range(4, 6))  # must not change what was saved
    second = parameters(dtype=dtype)
    train(make(second), second, range(4))  # the weights that a checkpoint would bring back
    optimizer = type(optimizer)(second, lr=0.7)
    optimizer.load_state_dict(saved)
    train(optimizer, second, range(4, 10))
    for a, b in zip(whole, second, strict=True):
        assert a.data.tobytes() == b.data.tobytes()


def through_json(tree: Any) -> Any:
    """Everything but arrays as a checkpoint file would hold it."""
    if isinstance(tree, np.ndarray):
        return tree
    if isinstance(tree, dict):
        return {key: through_json(value) for key, value in tree.items()}
    return json.loads(json.dumps(tree))


def test_frozen_parameters_and_missing_gradients_are_left_alone():
    class Bare:
        """The least that an optimizer asks for."""

        def __init__(self, requires_grad: bool, grad: np.ndarray | None) -> None:
            self.data, self.name, self.grad = np.ones(3), "", grad
            self.requires_grad = requires_grad

    frozen, missing, normal = Bare(False, np.ones(3)), Bare(True, None), Bare(True, np.ones(3))
    optimizer = optim.SGD([frozen, missing, normal], lr=0.5, momentum=0.9, weight_decay=0.1)
    optimizer.step()
    np.testing.assert_array_equal(frozen.data, np.ones(3))
    np.testing.assert_array_equal(missing.data, np.ones(3))
    assert (normal.data < 1).all()
    assert [*optimizer.state_dict()["state"]] == ["#0", "#1", "#2"]
    optimizer.zero_grad()
    assert normal.grad is None


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.SGD(p, lr=0.5, momentum=0.9, weight_decay=0.1),
        lambda p: optim.Adam(p, lr=0.5, weight_decay=0.1),
        lambda p: optim.AdamW(p, lr=0.5),
    ],
)
def test_a_branch_that_got_no_gradient_is_not_decayed(make):
    """Two heads, trained one at a time: the other stays as it is, its momentum too."""
    heads = {"a": (nn.Linear(3, 2, seed=1), "x"), "b": (nn.Linear(3, 2, seed=2), "x")}
    net = nn.Graph("x", heads, ("a", "b"))
    optimizer = make(net.parameters())
    x = np.ones((4, 3), np.float32)
    for trained, other in (("a", "b"), ("b", "a"), ("a", "b")):
        before = net.state_dict()
        y, ctx = net.forward(x)
        optimizer.zero_grad()
        net.backward({trained: np.ones_like(y[trained])}, ctx)
        optimizer.step()
        after = net.state_dict()
        for name in ("weight", "bias"):
            assert (after[f"{trained}.{name}"] != before[f"{trained}.{name}"]).all()
            np.testing.assert_array_equal(after[f"{other}.{name}"], before[f"{other}.{name}"])


def test_sgd_of_many_is_that_of_each_though_some_begin_later():
    def parameters():
        return [nn.Parameter(np.arange(3.0) + i, name=str(i)) for i in range(3)]

    numbers = {"lr": 0.5, "momentum": 0.5, "dampening": 0.25, "weight_decay": 0.1}
    together, apart = parameters(), parameters()
    one, many = optim.SGD(together, **numbers), [optim.SGD([p], **numbers) for p in apart]
    for ready in ((0,), (0, 1), (1, 2), (0, 1, 2)):
        for params in (together, apart):
            for i, p in enumerate(params):
                p.grad = np.array([1.0, -2.0, 3.0]) * (i + 1) if i in ready else None
        one.step()
        for optimizer in many:
            optimizer.step()
        for a, b in zip(together, apart, strict=True):
            np.testing.assert_array_equal(a.data, b.data)


def test_an_update_of_one_s_own_replaces_that_of_sgd():
    class Signs(optim.SGD):
        def update(self, param, grad, state, lr):
            super().update(param, np.sign(grad), state, lr)

    w = nn.Parameter(np.array([1.0, 1.0]))
    w.grad = np.array([8.0, -8.0])
    Signs([w], lr=0.25).step()
    np.testing.assert_array_equal(w.data, [0.75, 1.25])
    optimizer, seen = optim.SGD([w], lr=0.25), []
    optimizer.update = lambda *given: seen.append(given)
    optimizer.step()
    assert len(seen) == 1


def test_groups_have_rates_of_their_own():
    a, b, c = parameters()
    optimizer = optim.SGD([{"params": [a], "lr": 0.5}, {"params": [b]}, c], lr=0.1)
    before = [p.data.copy() for p in (a, b, c)]
    for factor in (1.0, 0.5):
        optimizer.lr = 0.1 * factor
        for p in (a, b, c):
            p.grad = np.ones_like(p.data)
        optimizer.step()
    for p, old, rate in zip((a, b, c), before, (0.5, 0.1, 0.1), strict=True):
        np.testing.assert_allclose(p.data, old - 1.5 * rate, rtol=1e-13)
    fresh = optim.SGD([a, b, c], lr=1.0)
    fresh.load_state_dict(optimizer.state_dict())
    assert fresh.lr == 0.05
    assert fresh.state_dict()["rates"] == {"conv.weight": 5.0, "conv.bias": 1.0, "fc.weight": 1.0}


def test_equal_names_get_places_instead():
    params = [Parameter(np.ones(2), name="w"), Parameter(np.ones(2), name="w"), Parameter(np.ones(2), name="b")]  # fmt: skip  # noqa: E501
    assert [*optim.Adam(params).state_dict()["state"]] == ["#0", "#1", "b"]


def test_repr_says_what_it_does():
    text = repr(optim.SGD(parameters(), lr=0.1, momentum=0.9))
    assert text.startswith("SGD(3 parameters, lr=0.1, momentum=0.9")


def damage(state: dict, how: str) -> None:
    slot = state["state"]["fc.weight"]
    if how == "class":
        state["optimizer"] = "SGD"
    elif how == "missing key":
        del state["settings"]
    elif how == "missing parameter":
        del state["state"]["conv.bias"]
    elif how == "unknown parameter":
        state["state"]["other"] = {}
    elif how == "shape":
        slot["m"] = slot["m"].T
    elif how == "dtype":
        slot["v"] = slot["v"].astype(np.float32)
    elif how == "no array":
        slot["m"] = [1.0]
    elif how == "step":
        slot["step"] = -1
    elif how == "lr":
        state["lr"] = float("nan")
    elif how == "rate":
        state["rates"]["conv.bias"] = "1"
    elif how == "setting":
        state["settings"]["betas"] = [0.9, 2.0]
    elif how == "settings":
        state["settings"] = ["betas"]
    elif how == "slot":
        del slot["v"]


@pytest.mark.parametrize(
    "how",
    [
        "class", "missing key", "missing parameter", "unknown parameter", "shape", "dtype",
        "no array", "step", "lr", "rate", "setting", "settings", "slot",
    ],
)  # fmt: skip
def test_a_state_that_does_not_fit_changes_nothing(how: str):
    params = parameters()
    optimizer = optim.Adam(params, lr=0.1)
    train(optimizer, params, range(2))
    bad = optimizer.state_dict()
    bad["lr"] = 0.2
    damage(bad, how)
    before = optimizer.state_dict()
    with pytest.raises(ValueError, match=r"^Adam(\.load_state_dict)?: expected"):
        optimizer.load_state_dict(bad)
    after = optimizer.state_dict()
    for name, slot in before["state"].items():
        assert slot["step"] == after["state"][name]["step"]
        np.testing.assert_array_equal(slot["m"], after["state"][name]["m"])
    assert {**after, "state": 0} == {**before, "state": 0}


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.AdamW])
def test_bad_arguments(make: Callable):
    params = parameters()
    for bad in (params[0], np.ones(3), None, "w", {"w": params[0]}, [np.ones(3)], [1]):
        with pytest.raises(TypeError, match="expected param"):
            make(bad, lr=0.1)
    with pytest.raises(ValueError, match="at least one parameter"):
        make([], lr=0.1)
    with pytest.raises(ValueError, match="each parameter once"):
        make([*params, params[0]], lr=0.1)
    for bad in ({"params": params, "momentum": 0.5}, {"lr": 0.1}):
        with pytest.raises(ValueError, match="expected a group with 'params'"):
            make([bad], lr=0.1)
    with pytest.raises(ValueError, match="a group has an lr of its own"):
        make([{"params": params, "lr": 0.1}], lr=0)
    for bad in (-1, float("nan"), "0.1", None):
        with pytest.raises(ValueError, match="expected lr to be a finite number >= 0"):
            make(params, lr=bad)
        optimizer = make(params, lr=0.1)
        with pytest.raises(ValueError, match="expected lr to be a finite number >= 0"):
            optimizer.lr = bad
    with pytest.raises(ValueError, match="expected weight_decay"):
        make(params, lr=0.1, weight_decay=-1)


def test_bad_settings():
    params = parameters()
    for bad in ({"momentum": -1}, {"dampening": None}):
        with pytest.raises(ValueError, match="SGD: expected"):
            optim.SGD(params, lr=0.1, **bad)
    for bad in ({}, {"momentum": 0.9, "dampening": 0.1}):
        with pytest.raises(ValueError, match="expected momentum > 0 and dampening == 0"):
            optim.SGD(params, lr=0.1, nesterov=True, **bad)
    for bad in ({"betas": (0.9, 1.0)}, {"betas": 0.9}, {"eps": -1}):
        with pytest.raises(ValueError, match="AdamW: expected"):
            optim.AdamW(params, **bad)


def test_an_optimizer_of_one_s_own():
    class Sign(optim.Optimizer):
        """Step by the sign of the gradient."""

        def update(self, param, grad, state, lr):
            param -= lr * np.sign(grad)

    [p] = parameters()[:1]
    old, p.grad = p.data.copy(), np.full_like(p.data, -3.0)
    Sign([p], lr=0.5).step()
    np.testing.assert_allclose(p.data, old + 0.5)
    with pytest.raises(NotImplementedError, match="Optimizer has no update"):
        optim.Optimizer([p], lr=0.5).step()
