"""Losses: values, gradients, one-hot targets, and what they refuse."""

import numpy as np
import pytest
from helpers import assert_close, assert_same

from fastcnn import nn, testing

TARGETS = np.array([0, 2, 1, 2])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradients(rng, reduction):
    p = rng.normal(size=(4, 3))
    testing.gradcheck_loss(nn.CrossEntropyLoss(reduction), p, TARGETS)
    testing.gradcheck_loss(nn.MSELoss(reduction), p, rng.normal(size=(4, 3)))
    testing.gradcheck_loss(nn.MSELoss(reduction), p, TARGETS)


def test_cross_entropy_by_its_formula(rng):
    p = rng.normal(size=(4, 3))
    probability = np.exp(p) / np.exp(p).sum(1, keepdims=True)
    expected = -np.log(probability[np.arange(4), TARGETS])
    assert nn.CrossEntropyLoss()(p, TARGETS)[0] == pytest.approx(expected.mean())
    value, gradient = nn.CrossEntropyLoss("sum")(p, TARGETS)
    assert value == pytest.approx(expected.sum())
    assert_close(gradient, probability - np.eye(3)[TARGETS], 1e-12)


def test_mse_by_its_formula(rng):
    p, t = rng.normal(size=(2, 5, 3))
    value, gradient = nn.MSELoss()(p, t)
    assert value == pytest.approx(((p - t) ** 2).mean())
    assert_close(gradient, 2 * (p - t) / p.size, 1e-12)
    assert nn.MSELoss("sum")(p, t)[0] == pytest.approx(((p - t) ** 2).sum())


def test_mse_of_classes_is_that_of_one_hot_vectors(rng):
    p = rng.normal(size=(4, 3)).astype(np.float32)
    value, gradient = nn.MSELoss()(p, TARGETS)
    expected, expected_gradient = nn.MSELoss()(p, np.eye(3, dtype=np.float32)[TARGETS])
    assert value == expected
    assert_same(gradient, expected_gradient)


@pytest.mark.parametrize("loss", [nn.MSELoss(), nn.CrossEntropyLoss()])
@pytest.mark.parametrize("targets", [[0, 1], [0, 1, 3, 0], [0, -1, 1, 0]])
def test_bad_classes(loss, targets):
    with pytest.raises(ValueError, match="expected"):
        loss(np.zeros((4, 3)), np.array(targets))


def test_bad_reduction_and_repr():
    for loss in (nn.MSELoss, nn.CrossEntropyLoss):
        assert repr(loss("sum")) == f"{loss.__name__}(reduction='sum')"
        with pytest.raises(ValueError, match="'mean' or 'sum'"):
            loss("median")
