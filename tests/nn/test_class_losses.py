"""Losses of classes: options of cross-entropy, likelihood, probabilities, focal losses."""

import numpy as np
import pytest
from helpers import assert_close, assert_same

from fastcnn import nn, plan, testing

ROWS = ((6, 4), np.array([0, 3, 1, 1, 2, 0]))
PIXELS = ((2, 3, 2, 2), np.array([[[0, 1], [2, 2]], [[1, 1], [0, 2]]]))
BOTH = pytest.mark.parametrize(("shape", "classes"), [ROWS, PIXELS], ids=["rows", "pixels"])
REDUCTIONS = pytest.mark.parametrize("reduction", ["mean", "sum"])


def weights(shape):
    return np.linspace(0.5, 2, shape[1])


def log_softmax(x):
    return x - np.log(np.exp(x).sum(1, keepdims=True))


def of_the_right(x, classes):
    """The number of the right class, in the order of `classes`."""
    return np.take_along_axis(x, classes[:, None], 1)[:, 0]


@BOTH
@REDUCTIONS
def test_gradients(rng, shape, classes, reduction):
    x = rng.normal(size=shape)
    w, p = weights(shape), np.exp(log_softmax(rng.normal(size=shape)))
    for loss, target in [
        (nn.CrossEntropyLoss(reduction, weight=w), classes),
        (nn.CrossEntropyLoss(reduction, label_smoothing=0.1), classes),
        (nn.CrossEntropyLoss(reduction, weight=w, label_smoothing=0.3, unit="bits"), classes),
        (nn.CrossEntropyLoss(reduction, weight=w), p),
        (nn.FocalLoss(reduction=reduction), classes),
        (nn.FocalLoss(0.5, w, reduction), classes),
        (nn.FocalLoss(0.0, reduction=reduction), classes),
        (nn.NLLLoss(reduction, weight=w), classes),
    ]:
        testing.gradcheck_loss(loss, x, target)
    for unit in ("nats", "bits"):
        q = np.exp(log_softmax(x))
        loss = nn.ProbabilityCrossEntropyLoss(reduction, unit=unit)
        testing.gradcheck_loss(loss, q, classes)
        testing.gradcheck_loss(loss, q, p)
    answers = (p > 0.3).astype(int)
    for gamma, alpha in ((2, None), (2, 0.25), (0, None), (0.5, 0.9)):
        testing.gradcheck_loss(nn.BinaryFocalLoss(gamma, alpha, reduction), x, answers)


@BOTH
def test_cross_entropy_by_its_formula(rng, shape, classes):
    x, w, e = rng.normal(size=shape), weights(shape), 0.2
    nll = -log_softmax(x)
    right, wt = of_the_right(nll, classes), w[classes]
    column = w.reshape(-1, *(1,) * (len(shape) - 2))
    spread = (column * nll).sum(1) / shape[1]
    for loss, expected in [
        (nn.CrossEntropyLoss(), right.mean()),
        (nn.CrossEntropyLoss(weight=w), (wt * right).sum() / wt.sum()),
        (nn.CrossEntropyLoss("sum", weight=w), (wt * right).sum()),
        (nn.CrossEntropyLoss(label_smoothing=e), ((1 - e) * right + e * nll.mean(1)).mean()),
        (
            nn.CrossEntropyLoss(weight=w, label_smoothing=e),
            ((1 - e) * wt * right + e * spread).sum() / wt.sum(),
        ),
        (nn.CrossEntropyLoss(unit="bits"), right.mean() / np.log(2)),
        (nn.NLLLoss(), None),
    ]:
        if expected is not None:
            assert loss(x, classes)[0] == pytest.approx(expected, rel=1e-13)
    assert nn.NLLLoss()(log_softmax(x), classes)[0] == pytest.approx(right.mean())
    assert nn.FocalLoss(0)(x, classes)[0] == pytest.approx(right.mean())


def test_the_general_path_is_the_kernel_s(rng, dtype):
    """Rows, and the same rows as pixels of one image."""
    shape, classes = ROWS
    x = rng.normal(size=shape).astype(dtype)
    value, gradient = nn.CrossEntropyLoss()(x, classes)
    one_hot = np.eye(4, dtype=dtype)[classes]
    pixels = np.ascontiguousarray(x.T)[None, :, :, None]
    for got, dx in (
        nn.CrossEntropyLoss()(x, one_hot),
        nn.CrossEntropyLoss()(pixels, classes[None, :, None]),
        nn.CrossEntropyLoss(weight=np.ones(4))(x, classes),
    ):
        assert got == pytest.approx(value, rel=1e-6)
        assert dx.dtype == dtype
        dx = dx[0, :, :, 0].T if dx.ndim == 4 else dx
        assert_close(np.ascontiguousarray(dx), gradient, 1e-6)


@pytest.mark.parametrize(("p", "expected"), [(0.9, 0.00105), (0.6, 0.0817), (0.1, 1.865)])
def test_focal_loss_by_hand(p, expected):
    logits = np.log([[p, 1 - p]])
    assert nn.FocalLoss()(logits, np.array([0]))[0] == pytest.approx(expected, rel=5e-3)
    logit = np.array([np.log(p / (1 - p))])
    assert nn.BinaryFocalLoss()(logit, np.array([1]))[0] == pytest.approx(expected, rel=5e-3)
    assert nn.BinaryFocalLoss()(-logit, np.array([0]))[0] == pytest.approx(expected, rel=5e-3)
    weighted = nn.FocalLoss(alpha=[3.0, 1.0])(logits, np.array([0]))[0]
    assert weighted == pytest.approx(3 * expected, rel=5e-3)
    assert nn.BinaryFocalLoss(alpha=0.25)(-logit, np.array([0]))[0] == pytest.approx(
        0.75 * expected, rel=5e-3
    )


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_certain_scores_stay_finite(gamma, dtype):
    x = np.array([[200.0, -200.0], [-200.0, 200.0]], dtype)
    for loss, target in (
        (nn.FocalLoss(gamma), np.array([0, 0])),
        (nn.BinaryFocalLoss(gamma), np.array([[1, 0], [1, 0]])),
    ):
        value, gradient = loss(x, target)
        assert np.isfinite(value) and value > 1
        assert np.isfinite(gradient).all()
        assert abs(gradient[0]).max() < 1e-40 and abs(gradient[1]).max() > 0.2


INF = np.inf


def test_a_class_ruled_out_costs_nothing_where_it_is_not_asked_for(dtype):
    """A logit of -inf, on every path as in the kernel."""
    x = np.array([[-INF, 1, 2], [0, -INF, 1], [-INF, 1.5, 0.5]], dtype)
    classes = np.array([1, 2, 2])
    value, gradient = nn.CrossEntropyLoss()(x, classes)
    assert 0 < value < 1 and np.isfinite(gradient).all()
    pixels, rows = np.ascontiguousarray(x.T)[None, :, :, None], np.eye(3, dtype=dtype)[classes]
    for got, dx in (
        nn.CrossEntropyLoss(weight=np.ones(3))(x, classes),
        nn.CrossEntropyLoss()(x, rows),
        nn.CrossEntropyLoss()(pixels, classes[None, :, None]),
        nn.FocalLoss(0.0)(x, classes),
    ):
        assert got == pytest.approx(value, rel=1e-6)
        dx = dx[0, :, :, 0].T if dx.ndim == 4 else dx
        assert_close(np.ascontiguousarray(dx), gradient, 1e-6)
    bits, _ = nn.CrossEntropyLoss(unit="bits")(x, classes)
    assert bits == pytest.approx(value / np.log(2), rel=1e-6)
    assert nn.NLLLoss()(x, classes)[0] == pytest.approx(-(1 + 1 + 0.5) / 3)


@pytest.mark.parametrize(
    "loss",
    [nn.CrossEntropyLoss(), nn.CrossEntropyLoss(label_smoothing=0.1), nn.FocalLoss()],
    ids=str,
)
def test_a_class_ruled_out_and_asked_for_is_infinite_with_a_finite_gradient(loss):
    value, gradient = loss(np.array([[-INF, 1.0, 2.0]]), np.array([0]))
    assert value == INF and np.isfinite(gradient).all() and gradient[0, 0] < 0
    value, gradient = nn.BinaryFocalLoss()(np.array([-INF]), np.array([1]))
    assert value == INF and gradient == -1


def test_probabilities_of_zero():
    loss = nn.ProbabilityCrossEntropyLoss()
    assert loss(np.array([[0.0, 1.0]]), np.array([1]))[0] == 0.0
    assert loss(np.array([[0.0, 1.0]]), np.array([0]))[0] == np.inf
    uniform = np.full((1, 4), 0.25)
    assert nn.ProbabilityCrossEntropyLoss(unit="bits")(uniform, uniform)[0] == 2.0


def test_nothing_to_average():
    for loss in (nn.CrossEntropyLoss(label_smoothing=0.1), nn.FocalLoss(), nn.NLLLoss()):
        value, gradient = loss(np.zeros((0, 3)), np.zeros(0, int))
        assert value == 0.0 and gradient.shape == (0, 3)


def test_block_plans_take_plain_cross_entropy_alone():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3, seed=0))
    plain = plan.compile(net, (1, 2, 2), loss=nn.CrossEntropyLoss())
    assert isinstance(plain, plan.BlockPlan)
    for options in ({"weight": [1, 2, 3]}, {"label_smoothing": 0.1}, {"unit": "bits"}):
        other = plan.compile(net, (1, 2, 2), loss=nn.CrossEntropyLoss(**options))
        assert isinstance(other, plan.LayerPlan)


def test_inputs_stay_as_they_are(rng):
    x, t = rng.normal(size=(3, 4)), np.array([0, 1, 2])
    kept = x.copy()
    x.flags.writeable = t.flags.writeable = False
    for loss in (nn.CrossEntropyLoss(label_smoothing=0.1), nn.FocalLoss(), nn.NLLLoss()):
        loss(x, t)
    assert_same(x, kept)


X = np.zeros((2, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.CrossEntropyLoss("max"), "'mean' or 'sum'"),
        (lambda: nn.CrossEntropyLoss(unit="hartleys"), "'nats' or 'bits'"),
        (lambda: nn.CrossEntropyLoss(label_smoothing=1.5), r"in 0\.\.1"),
        (lambda: nn.CrossEntropyLoss(weight=[1, -1]), "finite numbers >= 0"),
        (lambda: nn.CrossEntropyLoss(weight=[1, 2])(X, np.array([0, 1])), "each of 3 classes"),
        (lambda: nn.CrossEntropyLoss(label_smoothing=0.1)(X, np.array([0, 3])), r"0\.\.2, got 0"),
        (lambda: nn.CrossEntropyLoss()(X, np.zeros((2, 4))), r"probabilities of shape \(2, 3\)"),
        (lambda: nn.NLLLoss()(X, np.array([0])), r"classes of shape \(2,\)"),
        (lambda: nn.NLLLoss()(np.zeros(3), np.array([0])), r"\(N, C, ...\)"),
        (lambda: nn.ProbabilityCrossEntropyLoss()(X - 1, np.array([0, 0])), r"in 0\.\.1"),
        (lambda: nn.FocalLoss(-1), "gamma"),
        (lambda: nn.FocalLoss(2, [1.0])(X, np.array([0, 0])), "alpha for each of 3"),
        (lambda: nn.BinaryFocalLoss(alpha=2), r"alpha in 0\.\.1"),
        (lambda: nn.BinaryFocalLoss()(X, np.full((2, 3), 2)), "targets 0 or 1"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_focal_loss_wants_classes():
    with pytest.raises(TypeError, match="integer classes"):
        nn.FocalLoss()(X, X)


def test_reprs():
    for text in (
        "CrossEntropyLoss(reduction='mean', weight=[1.0, 2.0], label_smoothing=0.1, unit='bits')",
        "NLLLoss(reduction='sum')",
        "ProbabilityCrossEntropyLoss(reduction='mean', unit='bits')",
        "FocalLoss(gamma=2, alpha=[1.0, 2.0], reduction='mean')",
        "BinaryFocalLoss(gamma=1, alpha=0.25, reduction='mean')",
    ):
        name, arguments = text[:-1].split("(", 1)
        options = dict(
            weight=[1, 2], label_smoothing=0.1, unit="bits", reduction="mean", gamma=2, alpha=0.25
        )
        if name == "NLLLoss":
            options["reduction"] = "sum"
        if name == "FocalLoss":
            options["alpha"] = [1, 2]
        if name == "BinaryFocalLoss":
            options["gamma"] = 1
        given = {k: v for k, v in options.items() if f"{k}=" in arguments}
        assert repr(getattr(nn, name)(**given)) == text
