"""Algorithm 4-1 of the lectures: stochastic gradient descent for a deep multi-layer perceptron.

Written twice: `step_literally`, number by number as the lecture has it, and `step_vectorised`, the
same by matrix products. A layer's weights are one matrix U (n_out, n_in + 1); column 0 is the bias,
which a first element of 1 in each input multiplies. With tau the logistic function, o the last
layer's output and y the target, the loss of a mini-batch is the mean of ``1/2 ||o - y||**2``:

    s_j = sum over i of u_ji z_i                  z_j = tau(s_j)
    delta_k = tau'(s_k) (o_k - y_k)               of the last layer
    delta_j = tau'(s_j) sum over p of delta_p u_pj    of one before it, p in the next
    u_ji <- u_ji - rate * mean over the batch of delta_j z_i

Nets of `fastcnn.nn` do it with kernels; this is to read.
"""

import math
from collections.abc import Sequence

import numpy as np

from .._checks import Array


def _tau(s: float) -> float:
    return 1 / (1 + math.exp(-s))


def step_literally(u: Sequence[Array], x: Array, y: Array, rate: float) -> list[Array]:
    """One mini-batch, number by number.

    Parameters
    ----------
    u : sequence of ndarray
        The layers' weights, (n_out, n_in + 1) each.
    x, y : ndarray
        The mini-batch: inputs (N, n_in) and targets (N, n_out).
    rate : float
        Learning rate.

    Returns
    -------
    list of ndarray
        The weights after the step.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.models.algorithm_4_1 import step_literally
    >>> step_literally([np.zeros((1, 2))], np.array([[2.0]]), np.array([[1.0]]), 8.0)
    [array([[1., 2.]])]
    """
    change = [np.zeros_like(layer) for layer in u]
    for sample, target in zip(x, y, strict=True):
        z = [[1.0, *map(float, sample)]]
        for layer in u:  # forward
            s = [sum(layer[j, i] * z[-1][i] for i in range(len(z[-1]))) for j in range(len(layer))]
            z.append([1.0, *map(_tau, s)])
        o = z[-1][1:]
        delta = [o[k] * (1 - o[k]) * (o[k] - target[k]) for k in range(len(o))]
        for at in reversed(range(len(u))):  # backward
            for j in range(len(delta)):
                for i in range(len(z[at])):
                    change[at][j, i] += delta[j] * z[at][i]
            below = z[at][1:]
            delta = [
                below[i]
                * (1 - below[i])
                * sum(delta[p] * u[at][p, i + 1] for p in range(len(delta)))
                for i in range(len(below))
            ]
    return [layer - rate * sums / len(x) for layer, sums in zip(u, change, strict=True)]


def step_vectorised(u: Sequence[Array], x: Array, y: Array, rate: float) -> list[Array]:
    """The same for the whole mini-batch at once, a matrix product a layer.

    Parameters
    ----------
    u, x, y, rate
        As for `step_literally`.

    Returns
    -------
    list of ndarray
        The weights after the step.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.models.algorithm_4_1 import step_literally, step_vectorised
    >>> rng = np.random.default_rng(0)
    >>> u = [rng.normal(size=(3, 5)), rng.normal(size=(2, 4))]
    >>> x, y = rng.normal(size=(6, 4)), rng.random((6, 2))
    >>> pairs = zip(step_literally(u, x, y, 0.5), step_vectorised(u, x, y, 0.5))
    >>> all(np.allclose(a, b, rtol=1e-12) for a, b in pairs)
    True
    """
    ones = np.ones((len(x), 1), x.dtype)
    z = [np.hstack([ones, x])]
    for layer in u:
        z.append(np.hstack([ones, 1 / (1 + np.exp(-(z[-1] @ layer.T)))]))
    o = z[-1][:, 1:]
    delta = o * (1 - o) * (o - y)
    after = []
    for layer, below in zip(reversed(u), reversed(z[:-1]), strict=True):
        after.append(layer - rate * (delta.T @ below) / len(x))
        inner = below[:, 1:]
        delta = inner * (1 - inner) * (delta @ layer[:, 1:])
    return after[::-1]
