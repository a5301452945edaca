"""gradcheck must fail on wrong layers, each in its own way, and name the element."""

import numpy as np
import pytest

from fastcnn import nn, testing

X = np.random.default_rng(0).normal(size=(3, 4))


class Square(nn.Layer):
    """w * x^2, with one thing wrong at a time."""

    def __init__(self, fault=""):
        self.fault = fault
        self.w = nn.Parameter(np.array([1.5, -0.5, 2.0, 1.0], np.float32))

    def forward(self, x):
        y = self.w.data * x**2
        if self.fault == "writes x":
            x += 1
        return y, x

    def backward(self, dy, ctx):
        dw = (dy * ctx**2).sum(0)
        if self.fault == "one element of dw":
            dw[2] += 1e-3
        if self.fault == "assigns dw":
            self.w.grad = dw
        elif self.fault == "ignores frozen":
            self.w.grad += dw
        else:
            self.w.add_grad(dw)
        dx = 2 * dy * self.w.data * ctx
        if self.fault == "one element of dx":
            dx[1, 2] *= 1.001
        if self.fault == "NaN":
            dx[0, 3] = np.nan
        if self.fault == "writes dy":
            dy *= 2
        return dx[:, :2] if self.fault == "shape" else dx


def test_a_right_layer_passes_and_is_left_alone():
    layer = Square()
    x = X.copy()
    testing.gradcheck(layer, x)
    assert layer.w.data.dtype == np.float32 and not layer.w.grad.any()
    assert (x == X).all()


@pytest.mark.parametrize(
    "fault, message",
    [
        ("one element of dx", r"worst at x\[1, 2\]: backward gives .*, central differences"),
        ("one element of dw", r"worst at w\[2\]"),
        ("assigns dw", r"worst at w\["),
        ("NaN", r"worst at x\[0, 3\]: backward gives nan"),
        ("shape", r"expected the gradient of x to have shape \(3, 4\), got \(3, 2\)"),
        ("writes x", "wrote to x or dy"),
        ("writes dy", "wrote to x or dy"),
    ],
)
def test_a_wrong_layer_fails(fault, message):
    with pytest.raises(AssertionError, match=message):
        testing.gradcheck(Square(fault), X)


def test_a_frozen_parameter_that_gets_a_gradient_fails():
    right, wrong = Square(), Square("ignores frozen")
    right.w.requires_grad = wrong.w.requires_grad = False
    testing.gradcheck(right, X)
    with pytest.raises(AssertionError, match="frozen w got a gradient"):
        testing.gradcheck(wrong, X)


def test_a_fault_deep_in_a_net_is_named():
    net = nn.Sequential(fc=nn.Linear(4, 4, seed=0), bad=Square("one element of dw"))
    with pytest.raises(AssertionError, match=r"Sequential.*worst at bad.w\[2\]"):
        testing.gradcheck(net, X)


def test_several_inputs_are_named():
    class Wrong(nn.Add):
        def backward(self, dy, ctx):
            return dy, 2 * dy

    with pytest.raises(AssertionError, match=r"worst at x\[1\]\["):
        testing.gradcheck(Wrong(), (X, X))
    both = nn.Graph(("a", "b"), {"sum": (Wrong(), "a", "b")}, outputs=("sum", "a"))
    with pytest.raises(AssertionError, match=r"worst at x\['b'\]\["):
        testing.gradcheck(both, {"a": X, "b": X})


def test_wrong_losses_fail():
    testing.gradcheck_loss(lambda p, t: (float((p**2).sum()), 2 * p), X, None)
    with pytest.raises(AssertionError, match=r"worst at prediction\["):
        testing.gradcheck_loss(lambda p, t: (float((p**2).sum()), 2.01 * p), X, None)

    def writes(p, t):
        p *= 2
        return float(p.sum()), np.ones_like(p)

    with pytest.raises(AssertionError, match="wrote to the prediction"):
        testing.gradcheck_loss(writes, X, None)
